//! Routes, and the path that a packet takes: by which interface, to which next hop, from which address.

use alloc::collections::BTreeSet;
use core::net::{IpAddr, Ipv4Addr};

use rumpnet_proto::{DropReason, Errno, InterfaceFlags, LinkKind};

use super::{
    Inet,
    prefix::{Match, PrefixTable},
};
use crate::{context::Context, link::Link};

/// Where packets to a destination go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) interface: u32,
    pub(crate) gateway: Option<IpAddr>,
    /// Whether it came with an address and goes with it.
    pub(crate) connected: bool,
}

/// All routes: by destination, and by the interface with which they go.
#[derive(Default)]
pub(crate) struct Routes {
    table: PrefixTable<Route>,
    by_interface: BTreeSet<(u32, IpAddr, u8)>,
}

impl Routes {
    /// Adds a route in place of one with the same destination, whose address has no bits beyond its length.
    pub(crate) fn insert(&mut self, network: IpAddr, length: u8, route: Route) {
        self.remove(network, length);
        self.by_interface.insert((route.interface, network, length));
        self.table.insert(network, length, route);
    }

    pub(crate) fn remove(&mut self, network: IpAddr, length: u8) -> Option<Route> {
        let route = self.table.remove(network, length)?;
        self.by_interface.remove(&(route.interface, network, length));
        Some(route)
    }

    /// Removes one route by an interface; none if there are no more.
    pub(crate) fn remove_next_by(&mut self, interface: u32) -> Option<Route> {
        let first = (interface, IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let &(by, network, length) = self.by_interface.range(first..).next()?;
        if by == interface { self.remove(network, length) } else { None }
    }

    pub(crate) fn exact(&self, network: IpAddr, length: u8) -> Option<&Route> {
        self.table.exact(network, length)
    }

    /// The route to an address, by longest match.
    pub(crate) fn lookup(&self, address: IpAddr) -> Option<&Route> {
        self.table.lookup(address)
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Routes in their order, from the start or after one already seen.
    pub(crate) fn list_after(&self, after: Option<(IpAddr, u8)>) -> impl Iterator<Item = Match<'_, Route>> {
        let (first, rest) = match after {
            None => (Some(self.table.iter()), None),
            Some((network, length)) => (None, Some(self.table.iter_after(network, length))),
        };
        first.into_iter().flatten().chain(rest.into_iter().flatten())
    }
}

/// Who shall get a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// We ourselves.
    Own,
    /// One other host.
    Unicast,
    /// All hosts of a link.
    Broadcast,
    /// A group.
    Multicast,
}

/// The way of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) interface: u32,
    pub(crate) next_hop: IpAddr,
    pub(crate) source: IpAddr,
    pub(crate) mtu: u32,
    pub(crate) scope: Scope,
}

/// What a packet without a path is counted as.
pub(crate) const fn reason_of(errno: Errno) -> DropReason {
    match errno {
        Errno::NetDown => DropReason::LinkDown,
        Errno::AddrNotAvail => DropReason::Ipv4NoAddress,
        _ => DropReason::Ipv4NoRoute,
    }
}

impl Inet {
    /// The way to `destination`, from `source` if one is wanted.
    ///
    /// EHOSTUNREACH without a route, ENETDOWN if the interface is down, EADDRNOTAVAIL without an address to send from.
    pub(crate) fn determine_path(
        &self,
        cx: &Context,
        link: &Link,
        destination: IpAddr,
        source: Option<IpAddr>,
    ) -> Result<Path, Errno> {
        let (index, next_hop, scope) = self.determine_next_hop(link, destination, source)?;
        let interface = link.interfaces.by_index(index).ok_or(Errno::Nxio)?;
        if !interface.is_up() {
            return Err(Errno::NetDown);
        }
        let chosen = match (source, scope) {
            (Some(source), _) => Some(source),
            (None, Scope::Own) => Some(destination),
            (None, _) => self.addresses.source_for(index, next_hop, cx.config.dad_optimistic),
        };
        let source = chosen.ok_or(Errno::AddrNotAvail)?;
        Ok(Path { interface: index, next_hop, source, mtu: interface.mtu, scope })
    }

    pub(super) fn determine_next_hop(
        &self,
        link: &Link,
        destination: IpAddr,
        source: Option<IpAddr>,
    ) -> Result<(u32, IpAddr, Scope), Errno> {
        if self.addresses.is_ours(destination) || destination.is_loopback() {
            return Ok((self.loopback(link)?, destination, Scope::Own));
        }
        let limited = destination == IpAddr::V4(Ipv4Addr::BROADCAST);
        if limited || destination.is_multicast() {
            let index = self.interface_for_group(link, source, limited).ok_or(Errno::NetUnreach)?;
            return Ok((index, destination, if limited { Scope::Broadcast } else { Scope::Multicast }));
        }
        let route = self.routes.lookup(destination).ok_or(Errno::HostUnreach)?;
        let broadcasts = |entry: &super::address::InterfaceAddress| entry.broadcast == Some(destination);
        if self.addresses.is_broadcast(destination) && self.addresses.of(route.interface).any(broadcasts) {
            return Ok((route.interface, destination, Scope::Broadcast));
        }
        Ok((route.interface, route.gateway.unwrap_or(destination), Scope::Unicast))
    }

    /// The loopback that packets to ourselves take: the first one that is up.
    fn loopback(&self, link: &Link) -> Result<u32, Errno> {
        let is_loopback = |kind| matches!(kind, LinkKind::Loopback);
        let mut loopbacks = link.interfaces.starting_at(1).filter(|interface| is_loopback(interface.kind));
        loopbacks.find(|interface| interface.is_up()).map(|interface| interface.index).ok_or(Errno::NetDown)
    }

    /// The interface for a group or a limited broadcast: the source's, else the default route's, else the first that can.
    fn interface_for_group(&self, link: &Link, source: Option<IpAddr>, broadcast: bool) -> Option<u32> {
        if let Some(source) = source {
            return self.addresses.interface_of(source);
        }
        let needed = if broadcast { InterfaceFlags::BROADCAST } else { InterfaceFlags::MULTICAST };
        let able = |index: &u32| {
            link.interfaces.by_index(*index).is_some_and(|interface| {
                let usable = interface.is_up() && !matches!(interface.kind, LinkKind::Loopback);
                usable && interface.flags.contains(needed) && self.addresses.of(*index).next().is_some()
            })
        };
        let default = self.routes.lookup(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).map(|route| route.interface);
        default
            .filter(able)
            .or_else(|| link.interfaces.starting_at(1).map(|interface| interface.index).find(able))
    }
}
