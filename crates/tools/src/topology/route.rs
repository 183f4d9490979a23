//! Routes: those that the file says, and those to all networks where it asks for them.

use core::net::{IpAddr, Ipv4Addr};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rumpnet_proto::{
    NextHop, RouteKind,
    topology::{Host, Route, Topology},
};
use rumpnet_wire::ip::Cidr;

use super::{
    address::required_v4,
    host::{FORWARDING, Hosts},
    mistake::{Notes, Span},
    section::Placed,
};

/// Gives the hosts their routes.
pub(super) fn assign(hosts: &Hosts<'_>, auto: bool, topology: &mut Topology, notes: &Notes<'_>) {
    let mut said = BTreeSet::new();
    for routes in &hosts.routes {
        for host in routes.group.first..routes.group.first + routes.group.count {
            said.insert(host);
            for (destination, at, via) in &routes.entries {
                if let Some(route) = determine(host, destination, at, via, hosts, topology, notes) {
                    topology.hosts[host].routes.push(route);
                }
            }
        }
    }
    if auto {
        assign_all(&said, topology);
    }
}

/// A route as it is written.
fn determine(
    host: usize,
    destination: &str,
    at: &Span,
    via: &Placed<&str>,
    hosts: &Hosts<'_>,
    topology: &Topology,
    notes: &Notes<'_>,
) -> Option<Route> {
    let destination = determine_destination(destination, at, notes)?;
    let kind = match via.value {
        "reject" => RouteKind::Reject,
        "blackhole" => RouteKind::Blackhole,
        _ => RouteKind::Forward,
    };
    if kind != RouteKind::Forward {
        return Some(Route { destination, via: NextHop::Interface("lo0".to_owned()), kind });
    }
    let ours = &topology.hosts[host];
    if ours.interfaces.iter().any(|interface| interface.name.as_str() == via.value) {
        return Some(Route { destination, via: NextHop::Interface(via.value.to_owned()), kind });
    }
    let gateway = match via.value.parse::<IpAddr>() {
        Ok(address) => {
            let address = required_v4(address, &via.at, notes)?;
            if !is_on_a_link(ours, address) {
                notes.add(&via.at, format!("{address} is in no network of `{}`", ours.name));
                return None;
            }
            address
        }
        Err(_) => {
            let named = hosts.names.find(via.value, "host", &via.at, notes)?;
            let found = hosts.names.places(named).find_map(|other| shared(host, other, topology));
            if found.is_none() {
                notes.add(&via.at, format!("`{}` shares no bus with `{}`", ours.name, via.value));
            }
            found?
        }
    };
    Some(Route { destination, via: NextHop::Gateway(gateway.into()), kind })
}

/// `default`, a network, or an address.
fn determine_destination(text: &str, at: &Span, notes: &Notes<'_>) -> Option<Cidr> {
    if text == "default" {
        return Some(default());
    }
    let host = || text.parse::<IpAddr>().map(Cidr::host);
    let Ok(cidr) = text.parse::<Cidr>().or_else(|_| host()) else {
        let message = format!(
            "`{text}` is no destination of a route: `default`, a network such as 10.0.0.0/8, or an address"
        );
        notes.add(at, message);
        return None;
    };
    required_v4(cidr.address(), at, notes)?;
    if cidr.network() != cidr {
        notes.add(at, format!("{cidr} has bits behind its prefix; the network is {}", cidr.network()));
        return None;
    }
    Some(cidr)
}

fn default() -> Cidr {
    Cidr::new(Ipv4Addr::UNSPECIFIED.into(), 0).expect("any family has a prefix of no bits")
}

fn is_on_a_link(host: &Host, address: Ipv4Addr) -> bool {
    let networks = host.interfaces.iter().flat_map(|interface| &interface.addresses);
    networks.into_iter().any(|network| network.contains(address.into()))
}

/// An address of another host on a bus that both are on, in a network that both have there.
fn shared(host: usize, other: usize, topology: &Topology) -> Option<Ipv4Addr> {
    if host == other {
        return None;
    }
    let (ours, theirs) = (&topology.hosts[host], &topology.hosts[other]);
    ours.interfaces.iter().find_map(|ours| {
        let on_it = theirs.interfaces.iter().filter(|theirs| theirs.bus == ours.bus);
        let addresses = on_it.flat_map(|theirs| &theirs.addresses).map(Cidr::address);
        let mut near =
            addresses.filter(|address| ours.addresses.iter().any(|network| network.contains(*address)));
        near.find_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    })
}

/// What is needed to find a way from bus to bus.
struct Map {
    /// By bus: the routers there.
    routers: Vec<Vec<usize>>,
    /// By bus: the networks of all addresses there.
    networks: Vec<BTreeSet<Cidr>>,
}

/// Gives hosts of whose routes the file says nothing the shortest ones: routers to every network, others by the nearest router.
fn assign_all(said: &BTreeSet<usize>, topology: &mut Topology) {
    let map = Map::of(topology);
    for host in (0..topology.hosts.len()).filter(|host| !said.contains(host)) {
        let routes = if is_router(&topology.hosts[host]) {
            map.routes(host, topology)
        } else {
            map.default_route(host, topology).into_iter().collect()
        };
        topology.hosts[host].routes = routes;
    }
}

pub(super) fn is_router(host: &Host) -> bool {
    host.sysctls.iter().rev().find(|(name, _)| name == FORWARDING).is_some_and(|(_, value)| *value != 0)
}

impl Map {
    fn of(topology: &Topology) -> Self {
        let mut map = Self {
            routers: vec![Vec::new(); topology.buses.len()],
            networks: topology.buses.iter().map(|bus| bus.prefix.into_iter().collect()).collect(),
        };
        for (number, host) in topology.hosts.iter().enumerate() {
            for interface in &host.interfaces {
                if is_router(host) {
                    map.routers[interface.bus].push(number);
                }
                map.networks[interface.bus].extend(interface.addresses.iter().map(Cidr::network));
            }
        }
        map
    }

    /// By the first router on a bus of the host's.
    fn default_route(&self, host: usize, topology: &Topology) -> Option<Route> {
        let buses = topology.hosts[host].interfaces.iter().map(|interface| interface.bus);
        let mut routers = buses.flat_map(|bus| &self.routers[bus]);
        let gateway = routers.find_map(|router| shared(host, *router, topology))?;
        Some(Route {
            destination: default(),
            via: NextHop::Gateway(gateway.into()),
            kind: RouteKind::Forward,
        })
    }

    /// The fewest routers on the way to each network: a walk over the buses, nearest first.
    fn routes(&self, host: usize, topology: &Topology) -> Vec<Route> {
        let ours = &topology.hosts[host];
        let mut seen: BTreeMap<usize, Option<Ipv4Addr>> =
            ours.interfaces.iter().map(|interface| (interface.bus, None)).collect();
        let mut known: BTreeSet<Cidr> =
            ours.interfaces.iter().flat_map(|interface| &interface.addresses).map(Cidr::network).collect();
        let mut queue: VecDeque<usize> = ours.interfaces.iter().map(|interface| interface.bus).collect();
        let mut routes = Vec::new();
        while let Some(bus) = queue.pop_front() {
            let by = seen[&bus];
            for router in self.routers[bus].iter().filter(|router| **router != host) {
                let Some(gateway) = by.or_else(|| shared(host, *router, topology)) else { continue };
                for interface in &topology.hosts[*router].interfaces {
                    if seen.contains_key(&interface.bus) {
                        continue;
                    }
                    seen.insert(interface.bus, Some(gateway));
                    queue.push_back(interface.bus);
                    for network in
                        self.networks[interface.bus].iter().filter(|network| known.insert(**network))
                    {
                        let via = NextHop::Gateway(gateway.into());
                        routes.push(Route { destination: *network, via, kind: RouteKind::Forward });
                    }
                }
            }
        }
        routes
    }
}
