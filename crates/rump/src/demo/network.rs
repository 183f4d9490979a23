//! The network of the demo: which addresses, and whether the host has them already.

use std::net::{IpAddr, Ipv4Addr};

use rumpnet::wire::ip::Cidr;
use rumpnet_host::netlink::{HostAddress, HostRoute};

/// Private networks (RFC 1918), the first of which is taken that the host does not know.
const CANDIDATES: &[[u8; 3]] = &[
    [10, 0, 0],
    [10, 73, 0],
    [10, 173, 0],
    [172, 31, 73],
    [172, 20, 173],
    [192, 168, 73],
    [192, 168, 173],
    [192, 168, 231],
];

/// The two ends of the demo's cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    /// The kernel's address.
    pub(super) address: Cidr,
    /// The host's address.
    pub(super) host: Cidr,
}

/// What the host has already, as networks and in words.
#[derive(Default)]
pub(super) struct Known(Vec<(Cidr, String)>);

impl Known {
    /// From the host's addresses and routes; a default route is no overlap.
    pub(super) fn new(addresses: &[HostAddress], routes: &[HostRoute]) -> Self {
        let addresses = addresses.iter().filter_map(|known| {
            let network = Cidr::new(known.address, known.prefix_len)?;
            Some((network.network(), format!("address {network}")))
        });
        let routes = routes.iter().filter(|route| route.prefix_len > 0).filter_map(|route| {
            let network = Cidr::new(route.destination, route.prefix_len)?;
            Some((network.network(), format!("route to {network}")))
        });
        Self(addresses.chain(routes).collect())
    }

    /// What of the host a network would overlap with, in words.
    pub(super) fn overlap(&self, network: Cidr) -> Option<&str> {
        let network = network.network();
        let found = self
            .0
            .iter()
            .find(|(known, _)| known.contains(network.address()) || network.contains(known.address()));
        found.map(|(_, words)| words.as_str())
    }
}

impl Network {
    /// What the user wants; an address that he leaves out is the first other one of the network.
    pub(super) fn wanted(address: Option<Cidr>, host: Option<Cidr>) -> Result<Option<Self>, String> {
        let (address, host) = match (address, host) {
            (None, None) => return Ok(None),
            (Some(address), Some(host)) => (address, host),
            (Some(address), None) => (address, neighbor(address)?),
            (None, Some(host)) => (neighbor(host)?, host),
        };
        if address.address() == host.address() || !address.contains(host.address()) {
            return Err(format!("{address} and {host}: not two addresses of one network"));
        }
        if !address.address().is_ipv4() {
            return Err(format!("{address}: not an IPv4 address"));
        }
        Ok(Some(Self { address, host }))
    }

    /// The first candidate that does not overlap, with what the ones before it overlap with.
    pub(super) fn free(known: &Known) -> Result<(Self, Vec<String>), String> {
        let mut told = Vec::new();
        for base in CANDIDATES {
            let network = Self::of(*base);
            match known.overlap(network.address) {
                None => return Ok((network, told)),
                Some(words) => {
                    told.push(format!("{} overlaps with the host's {words}", network.address.network()))
                }
            }
        }
        Err("every private network of ours overlaps with one of the host's: choose one with --address and --host-address".to_owned())
    }

    fn of([a, b, c]: [u8; 3]) -> Self {
        let end = |d| Cidr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), 24).expect("24 bits of 32");
        Self { address: end(2), host: end(1) }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::of(CANDIDATES[0])
    }
}

/// Another address of the same network.
fn neighbor(one: Cidr) -> Result<Cidr, String> {
    let (IpAddr::V4(address), IpAddr::V4(base)) = (one.address(), one.network().address()) else {
        return Err(format!("{one}: not an IPv4 address"));
    };
    let first = base.to_bits().checked_add(1);
    let candidates = first.into_iter().chain(first.and_then(|first| first.checked_add(1)));
    let other =
        candidates.map(Ipv4Addr::from_bits).find(|other| *other != address && one.contains((*other).into()));
    let other = other.and_then(|other| Cidr::new(other.into(), one.prefix_len()));
    other.ok_or_else(|| format!("{one}: no room for a second address; give --address and --host-address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().expect("a network")
    }

    fn known(addresses: &[&str], routes: &[&str]) -> Known {
        let addresses: Vec<_> = addresses
            .iter()
            .map(|text| HostAddress {
                index: 1,
                address: cidr(text).address(),
                prefix_len: cidr(text).prefix_len(),
            })
            .collect();
        let routes: Vec<_> = routes
            .iter()
            .map(|text| HostRoute {
                destination: cidr(text).address(),
                prefix_len: cidr(text).prefix_len(),
                gateway: None,
                index: None,
                table: 254,
            })
            .collect();
        Known::new(&addresses, &routes)
    }

    #[test]
    fn a_host_that_knows_nothing_gets_the_first_network() {
        let (network, told) = Network::free(&known(&["127.0.0.1/8"], &["0.0.0.0/0"])).expect("free");
        assert_eq!((network, told.len()), (Network::default(), 0));
    }

    #[test]
    fn an_overlapping_address_or_route_makes_it_take_another_and_say_so() {
        for known in
            [known(&["10.0.0.77/24"], &[]), known(&["10.0.0.9/32"], &[]), known(&[], &["10.0.0.0/16"])]
        {
            let (network, told) = Network::free(&known).expect("free");
            assert_eq!(network.address, cidr("10.73.0.2/24"));
            assert!(told[0].contains("10.0.0.0/24 overlaps with the host's"), "{told:?}");
        }
        let (network, told) = Network::free(&known(&[], &["10.0.0.0/8"])).expect("free");
        assert_eq!((network.host, told.len()), (cidr("172.31.73.1/24"), 3));
    }

    #[test]
    fn a_host_that_knows_everything_is_told_what_to_do() {
        let everything = known(&[], &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]);
        assert!(Network::free(&everything).is_err_and(|reason| reason.contains("--host-address")));
    }

    #[test]
    fn what_is_left_out_is_completed_and_nonsense_is_refused() {
        let wanted =
            |address: Option<&str>, host: Option<&str>| Network::wanted(address.map(cidr), host.map(cidr));
        assert_eq!(wanted(None, None), Ok(None));
        let completed = |address, host| wanted(address, host).expect("sense").expect("wanted");
        assert_eq!(completed(Some("10.9.0.1/24"), None).host, cidr("10.9.0.2/24"));
        assert_eq!(completed(Some("10.9.0.7/24"), None).host, cidr("10.9.0.1/24"));
        assert_eq!(completed(None, Some("10.9.0.1/30")).address, cidr("10.9.0.2/30"));
        for (address, host) in [
            (Some("10.9.0.1/32"), None),
            (Some("10.9.0.1/24"), Some("10.9.0.1/24")),
            (Some("10.9.0.1/24"), Some("10.8.0.1/24")),
            (Some("fd00::1/64"), None),
        ] {
            assert!(wanted(address, host).is_err(), "{address:?} {host:?}");
        }
    }
}
