//! Destinations as route(8) reads them: `default`, hosts, networks with a length, a mask, or neither.

use core::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use rumpnet_wire::ip::Cidr;

use super::wrong;
use crate::failure::Failure;

/// A destination and how the user named it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) prefix: (IpAddr, u8),
    is_host: bool,
}

impl Destination {
    pub(super) const fn is_host(&self) -> bool {
        self.is_host
    }

    /// How `route get` repeats it.
    pub(super) fn address_name(&self) -> String {
        let (address, len) = self.prefix;
        if len == 0 { "default".into() } else { address.to_string() }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, len) = self.prefix;
        match (self.is_host, len) {
            (true, _) => write!(f, "host {address}"),
            (false, 0) => write!(f, "net default"),
            (false, _) => write!(f, "net {address}"),
        }
    }
}

/// What the options say of a destination.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) net: bool,
    pub(super) host: bool,
    len: Option<u8>,
}

impl Wanted {
    pub(super) fn set_mask(&mut self, word: &str) -> Result<(), Failure> {
        let hexadecimal = |digits: &str| u32::from_str_radix(digits, 16).ok().map(Ipv4Addr::from);
        let mask = word.strip_prefix("0x").map_or_else(|| word.parse().ok(), hexadecimal);
        let any = Ipv4Addr::UNSPECIFIED.into();
        let cidr = mask.and_then(|mask| Cidr::from_netmask(any, mask.into()));
        self.len = Some(cidr.ok_or_else(|| bad(word))?.prefix_len());
        Ok(())
    }

    pub(super) fn set_len(&mut self, word: &str) -> Result<(), Failure> {
        self.len = Some(word.parse().map_err(|_| bad(word))?);
        Ok(())
    }
}

fn bad(word: &str) -> Failure {
    Failure::Refused(format!("{word}: bad value"))
}

/// Reads a destination.
pub(super) fn parse(word: &str, wanted: &Wanted) -> Result<Destination, Failure> {
    if wanted.net && wanted.host {
        return Err(wrong("-net and -host exclude each other".into()));
    }
    if word == "default" {
        return Ok(Destination { prefix: (Ipv4Addr::UNSPECIFIED.into(), 0), is_host: false });
    }
    let (address, in_word) = match word.split_once('/') {
        Some((address, len)) => (address, Some(len.parse::<u8>().map_err(|_| bad(word))?)),
        None => (word, None),
    };
    let address = parse_address(address).ok_or_else(|| bad(word))?;
    let len = match (in_word.or(wanted.len), address) {
        (Some(len), _) => len,
        (None, IpAddr::V4(address)) if !wanted.host && (wanted.net || is_network(address)) => {
            class_len(address)
        }
        (None, IpAddr::V4(_)) => 32,
        (None, IpAddr::V6(_)) => 128,
    };
    let network = Cidr::new(address, len).ok_or_else(|| bad(word))?.network();
    let is_host = network.is_host() && !wanted.net;
    if wanted.host && !is_host {
        return Err(wrong(format!("{word}: -host with a prefix")));
    }
    Ok(Destination { prefix: (network.address(), len), is_host })
}

/// An address; one of IPv4 may leave out octets at its end that are zero, as `10.0.0` in `10.0.0/24`.
fn parse_address(word: &str) -> Option<IpAddr> {
    if word.contains(':') {
        return word.parse().ok();
    }
    let mut octets = [0; 4];
    for (place, part) in word.split('.').enumerate() {
        *octets.get_mut(place)? = part.parse().ok()?;
    }
    Some(IpAddr::V4(octets.into()))
}

/// The length that an address has by its class (RFC 791 section 3.2).
const fn class_len(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        _ => 24,
    }
}

/// Whether its host part is zero.
fn is_network(address: Ipv4Addr) -> bool {
    address.to_bits().checked_shl(class_len(address).into()) == Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(word: &str) -> String {
        let destination = parse(word, &Wanted::default()).unwrap_or_else(|_| panic!("{word}"));
        format!("{destination} /{}", destination.prefix.1)
    }

    #[test]
    fn a_destination_is_read_as_netbsds_route_reads_it() {
        for (word, read) in [
            ("default", "net default /0"),
            ("10.0.0.1", "host 10.0.0.1 /32"),
            ("10.0.0.0/24", "net 10.0.0.0 /24"),
            ("10.0.0/24", "net 10.0.0.0 /24"),
            ("10", "net 10.0.0.0 /8"),
            ("192.168.5", "net 192.168.5.0 /24"),
            ("172.16.0.0", "net 172.16.0.0 /16"),
            ("192.168.5.7/24", "net 192.168.5.0 /24"),
            ("192.168.5.7/32", "host 192.168.5.7 /32"),
            ("2001:db8::/32", "net 2001:db8:: /32"),
            ("2001:db8::1", "host 2001:db8::1 /128"),
        ] {
            assert_eq!(parsed(word), read, "{word}");
        }
    }

    #[test]
    fn options_say_what_a_bare_address_is() {
        let net = Wanted { net: true, ..Wanted::default() };
        assert_eq!(parse("10.1.2.3", &net).unwrap().prefix, ("10.0.0.0".parse().unwrap(), 8));
        let host = Wanted { host: true, ..Wanted::default() };
        assert_eq!(parse("10.0.0.0", &host).unwrap().prefix, ("10.0.0.0".parse().unwrap(), 32));
        assert!(parse("10.0.0.0/8", &host).is_err());
        assert!(parse("10.0.0.0", &Wanted { net: true, ..host }).is_err());
        let mut masked = Wanted::default();
        masked.set_mask("255.255.255.0").unwrap();
        assert_eq!(parse("192.168.7.0", &masked).unwrap().prefix.1, 24);
        masked.set_mask("0xffff0000").unwrap();
        assert_eq!(parse("192.168.7.0", &masked).unwrap().prefix, ("192.168.0.0".parse().unwrap(), 16));
    }

    #[test]
    fn bad_values_are_named() {
        for word in
            ["foo", "", "10.0.0.0.0", "10.0.0.0/33", "10.0.0.0/x", "300.1.2.3", "2001:db8::/129", "1..2"]
        {
            let failure = parse(word, &Wanted::default()).unwrap_err();
            assert_eq!(failure, Failure::Refused(format!("{word}: bad value")), "{word}");
        }
        assert!(Wanted::default().set_mask("255.0.255.0").is_err());
        assert!(Wanted::default().set_len("many").is_err());
    }
}
