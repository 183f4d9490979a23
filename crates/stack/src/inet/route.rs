//! Routes, and the path that a packet takes: by which interface, to which next hop, from which address.

mod table;

use alloc::boxed::Box;
use core::net::{IpAddr, Ipv4Addr};

use rumpnet_proto::{
    DropReason, Errno, InterfaceFlags, InterfaceName, LinkKind, RouteKind, RouteOrigin, RouteReport,
};

use super::Inet;
use crate::{context::Context, link::Link, time::Instant};
pub(crate) use table::Routes;

/// Next hops that a route has at most.
const MAX_HOPS: usize = 16;

/// A next hop: a router, or the link itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Hop {
    pub(crate) interface: u32,
    pub(crate) gateway: Option<IpAddr>,
}

/// Where packets to a destination go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Route {
    /// The first next hop; most routes have no other.
    pub(crate) hop: Hop,
    /// All of them where there are several, so that flows are spread.
    hops: Option<Box<[Hop]>>,
    pub(crate) kind: RouteKind,
    pub(crate) origin: RouteOrigin,
    /// The greatest packet that its path carries, if that was said.
    pub(crate) mtu: Option<u32>,
    pub(crate) hop_count: u32,
    /// When it goes by itself.
    pub(crate) expires: Option<Instant>,
}

impl Route {
    /// A route to the hosts on a link, which came with an address.
    pub(crate) const fn connected(interface: u32) -> Self {
        Self::by(Hop { interface, gateway: None }, RouteOrigin::Connected)
    }

    /// A route without anything particular.
    pub(crate) const fn by(hop: Hop, origin: RouteOrigin) -> Self {
        Self { hop, hops: None, kind: RouteKind::Forward, origin, mtu: None, hop_count: 0, expires: None }
    }

    /// What is told of it to users, by one of its next hops.
    pub(crate) fn report(
        &self,
        destination: (IpAddr, u8),
        hop: Hop,
        interface: InterfaceName,
        now: Instant,
    ) -> RouteReport {
        RouteReport {
            destination,
            gateway: hop.gateway,
            interface,
            kind: self.kind,
            origin: self.origin,
            mtu: self.mtu,
            hop_count: self.hop_count,
            expires: self.expires.map(|at| (at - now).as_secs() as u32),
        }
    }

    /// All next hops.
    pub(crate) fn hops(&self) -> &[Hop] {
        match &self.hops {
            Some(hops) => hops,
            None => core::slice::from_ref(&self.hop),
        }
    }

    /// Adds a next hop. EEXIST if it is there, ENOBUFS if there are too many.
    fn add(&mut self, hop: Hop) -> Result<(), Errno> {
        if self.hops().contains(&hop) {
            return Err(Errno::Exist);
        }
        if self.hops().len() >= MAX_HOPS {
            return Err(Errno::NoBufs);
        }
        self.hops = Some(self.hops().iter().copied().chain([hop]).collect());
        Ok(())
    }

    /// The route without some of its next hops; none if there is no other.
    fn without(mut self, goes: impl Fn(&Hop) -> bool) -> Option<Self> {
        let mut left = self.hops().to_vec();
        left.retain(|hop| !goes(hop));
        self.hop = *left.first()?;
        self.hops = (left.len() > 1).then(|| left.into());
        Some(self)
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
    /// A group, and if we are in it and `loops` a copy for ourselves.
    Multicast {
        /// Whether a copy is for ourselves.
        loops: bool,
    },
    /// Nobody: what is sent there vanishes.
    Nobody,
}

/// A next hop that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) interface: u32,
    pub(super) next_hop: IpAddr,
    pub(super) scope: Scope,
    /// The MTU that the route has beside its interface's.
    pub(super) mtu: Option<u32>,
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
    /// EHOSTUNREACH without a route, ENETDOWN if the interface is down, EADDRNOTAVAIL without an address to send from, or with a loopback address to
    /// send to others from.
    pub(crate) fn determine_path(
        &self,
        cx: &Context,
        link: &Link,
        destination: IpAddr,
        source: Option<IpAddr>,
    ) -> Result<Path, Errno> {
        let flow = || self.routes.flow(destination);
        let chosen = self.determine_next_hop(link, destination, source, flow)?;
        let Chosen { interface: index, next_hop, scope, .. } = chosen;
        let interface = link.interfaces.by_index(index).ok_or(Errno::Nxio)?;
        if !interface.is_up() {
            return Err(Errno::NetDown);
        }
        let mtu = chosen.mtu.map_or(interface.mtu, |mtu| mtu.min(interface.mtu));
        let source = match (source, scope) {
            (Some(source), _) => Some(source),
            (None, Scope::Own) => Some(destination),
            (None, _) => self.addresses.source_for(index, next_hop, cx.config.dad_optimistic),
        };
        let source = source.ok_or(Errno::AddrNotAvail)?;
        // 127/8 never leaves a host (RFC 1122 section 3.2.1.3).
        if source.is_loopback() && scope != Scope::Own && !matches!(interface.kind, LinkKind::Loopback) {
            return Err(Errno::AddrNotAvail);
        }
        Ok(Path { interface: index, next_hop, source, mtu, scope })
    }

    /// The next hop to a destination; `flow` is a number of the flow, by which one of several is chosen.
    pub(super) fn determine_next_hop(
        &self,
        link: &Link,
        destination: IpAddr,
        source: Option<IpAddr>,
        flow: impl FnOnce() -> u64,
    ) -> Result<Chosen, Errno> {
        let direct = |interface, scope| Chosen { interface, next_hop: destination, scope, mtu: None };
        if self.addresses.is_ours(destination) || destination.is_loopback() {
            return Ok(direct(self.loopback(link)?, Scope::Own));
        }
        let limited = destination == IpAddr::V4(Ipv4Addr::BROADCAST);
        if limited || destination.is_multicast() {
            let index = self.interface_for_group(link, destination, source).ok_or(Errno::NetUnreach)?;
            let scope = if limited { Scope::Broadcast } else { Scope::Multicast { loops: true } };
            return Ok(direct(index, scope));
        }
        let route = self.routes.lookup(destination).ok_or(Errno::HostUnreach)?;
        let Hop { interface, gateway } = self.choose_hop(link, route, flow);
        let broadcasts = |entry: &super::address::InterfaceAddress| entry.broadcast == Some(destination);
        if self.addresses.is_broadcast(destination) && self.addresses.of(interface).any(broadcasts) {
            return Ok(direct(interface, Scope::Broadcast));
        }
        let scope = match route.kind {
            RouteKind::Forward => Scope::Unicast,
            RouteKind::Blackhole => Scope::Nobody,
            RouteKind::Reject => return Err(Errno::HostUnreach),
        };
        Ok(Chosen { interface, next_hop: gateway.unwrap_or(destination), scope, mtu: route.mtu })
    }

    /// One of a route's next hops for a flow, of those whose interfaces are up: the one with the greatest hash of both, so that the others
    /// keep their flows when one goes (rendezvous hashing).
    fn choose_hop(&self, link: &Link, route: &Route, flow: impl FnOnce() -> u64) -> Hop {
        let Some(hops) = &route.hops else { return route.hop };
        let flow = flow();
        let is_up = |hop: &&Hop| link.interfaces.by_index(hop.interface).is_some_and(|found| found.is_up());
        let weight = |hop: &&Hop| self.routes.flow((flow, hop.interface, hop.gateway));
        *hops.iter().filter(is_up).max_by_key(weight).unwrap_or(&route.hop)
    }

    /// The loopback that packets to ourselves take: the first one that is up.
    fn loopback(&self, link: &Link) -> Result<u32, Errno> {
        let is_loopback = |kind| matches!(kind, LinkKind::Loopback);
        let mut loopbacks = link.interfaces.starting_at(1).filter(|interface| is_loopback(interface.kind));
        loopbacks.find(|interface| interface.is_up()).map(|interface| interface.index).ok_or(Errno::NetDown)
    }

    /// The interface for a group or a limited broadcast: the source's, else the one of the route to it, else the first that can. By the loopback it goes
    /// only where a route says so that is not the default one.
    fn interface_for_group(&self, link: &Link, destination: IpAddr, source: Option<IpAddr>) -> Option<u32> {
        if let Some(source) = source {
            return self.addresses.interface_of(source);
        }
        let needed = if destination == IpAddr::V4(Ipv4Addr::BROADCAST) {
            InterfaceFlags::BROADCAST
        } else {
            InterfaceFlags::MULTICAST
        };
        let able = |index: &u32| {
            link.interfaces.by_index(*index).is_some_and(|interface| {
                let usable = interface.is_up() && !matches!(interface.kind, LinkKind::Loopback);
                usable && interface.flags.contains(needed) && self.addresses.of(*index).next().is_some()
            })
        };
        let routed = self.routes.find(destination);
        if let Some(((_, 1..), route)) = routed {
            return (route.kind == RouteKind::Forward).then_some(route.hop.interface);
        }
        routed
            .map(|(_, route)| route.hop.interface)
            .filter(able)
            .or_else(|| link.interfaces.starting_at(1).map(|interface| interface.index).find(able))
    }
}
