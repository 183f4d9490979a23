//! Paths that a socket narrows: by one interface alone (SO_BINDTODEVICE, IP_PKTINFO), or past no router (SO_DONTROUTE).
//!
//! As on Linux, an interface that is named without a route by it is taken to have the destination on its link.

use core::net::{IpAddr, Ipv4Addr};

use rumpnet_proto::{Errno, RouteKind};

use super::{
    Inet,
    route::{Hop, Path, Scope},
};
use crate::{context::Context, link::Link};

/// What of all ways may be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Via {
    /// The one interface that may be used.
    pub(crate) interface: Option<u32>,
    /// Whether no router may.
    pub(crate) direct: bool,
}

impl Inet {
    /// The way to `destination` within `via`, from `source` if one is wanted.
    ///
    /// ENODEV for an interface that is not there, ENETUNREACH if only a router would reach it, and what [`Self::determine_path`] says.
    pub(crate) fn determine_path_via(
        &self,
        cx: &Context,
        link: &Link,
        destination: IpAddr,
        source: Option<IpAddr>,
        via: Via,
    ) -> Result<Path, Errno> {
        let Some(index) = via.interface else {
            return self.determine_direct_path(cx, link, destination, source, via.direct);
        };
        let interface = link.interfaces.by_index(index).ok_or(Errno::NoDev)?;
        if self.addresses.is_ours(destination) || destination.is_loopback() {
            return self.determine_path(cx, link, destination, source);
        }
        if !interface.is_up() {
            return Err(Errno::NetDown);
        }
        let (next_hop, scope, mtu) = self.determine_hop_by(index, destination, via.direct)?;
        let mtu = mtu.map_or(interface.mtu, |mtu| mtu.min(interface.mtu));
        let own = || self.addresses.source_for(index, next_hop, cx.config.dad_optimistic);
        let source = source.or_else(own).ok_or(Errno::AddrNotAvail)?;
        Ok(Path { interface: index, next_hop, source, mtu, scope })
    }

    /// The way to a destination, if it is to be a direct one past routes that say otherwise: by the interface whose subnet it lies in.
    fn determine_direct_path(
        &self,
        cx: &Context,
        link: &Link,
        destination: IpAddr,
        source: Option<IpAddr>,
        direct: bool,
    ) -> Result<Path, Errno> {
        let path = self.determine_path(cx, link, destination, source);
        let is_routed = |path: &Path| path.scope == Scope::Unicast && path.next_hop != destination;
        if !direct || path.as_ref().is_ok_and(|path| !is_routed(path)) {
            return path;
        }
        let index = self.addresses.interface_near(destination).ok_or(Errno::NetUnreach)?;
        let interface = link.interfaces.by_index(index).filter(|interface| interface.is_up());
        let interface = interface.ok_or(Errno::NetDown)?;
        let own = || self.addresses.source_for(index, destination, cx.config.dad_optimistic);
        let source = source.or_else(own).ok_or(Errno::AddrNotAvail)?;
        Ok(Path {
            interface: index,
            next_hop: destination,
            source,
            mtu: interface.mtu,
            scope: Scope::Unicast,
        })
    }

    /// The next hop to a destination by one interface, whom it reaches, and the MTU of the route.
    fn determine_hop_by(
        &self,
        index: u32,
        destination: IpAddr,
        direct: bool,
    ) -> Result<(IpAddr, Scope, Option<u32>), Errno> {
        if destination == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Ok((destination, Scope::Broadcast, None));
        }
        if destination.is_multicast() {
            return Ok((destination, Scope::Multicast { loops: true }, None));
        }
        if self.addresses.of(index).any(|entry| entry.broadcast == Some(destination)) {
            return Ok((destination, Scope::Broadcast, None));
        }
        let fits = |hop: &&Hop| hop.interface == index && !(direct && hop.gateway.is_some());
        let route = self.routes.longest(destination, |route| route.hops().iter().any(|hop| fits(&hop)));
        let Some(route) = route else { return Ok((destination, Scope::Unicast, None)) };
        let gateway = route.hops().iter().find(fits).and_then(|hop| hop.gateway);
        match route.kind {
            RouteKind::Forward => Ok((gateway.unwrap_or(destination), Scope::Unicast, route.mtu)),
            RouteKind::Blackhole => Ok((destination, Scope::Nobody, route.mtu)),
            RouteKind::Reject => Err(Errno::HostUnreach),
        }
    }
}
