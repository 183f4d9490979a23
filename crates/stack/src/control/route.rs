//! Routes: add, change, delete, find, list.

use alloc::vec::Vec;
use core::net::IpAddr;

use rumpnet_proto::{
    ControlError, Errno, NextHop, Operation, Reply, RouteAttributes, RouteOrigin, RouteReport,
};
use rumpnet_wire::ip::Cidr;

use super::{PAGE, refuse};
use crate::{
    Stack,
    inet::route::{Hop, Route},
};

/// The least MTU of a path: every host takes packets of 68 bytes (RFC 791).
const MIN_MTU: u32 = 68;

impl Stack {
    /// EINVAL for a prefix longer than its family or an MTU below 68, EEXIST, ENETUNREACH for a gateway that is not on a link, ENOBUFS
    /// beyond the limit; ESRCH if a further next hop is for a route that is not there.
    pub(super) fn add_route(
        &mut self,
        destination: (IpAddr, u8),
        via: &NextHop,
        attributes: &RouteAttributes,
    ) -> Result<(), ControlError> {
        let object = name_of(destination);
        self.insert_route(destination, via, attributes).map_err(refuse(Operation::Route, &object))
    }

    fn insert_route(
        &mut self,
        destination: (IpAddr, u8),
        via: &NextHop,
        attributes: &RouteAttributes,
    ) -> Result<(), Errno> {
        let (network, len) = network_of(destination)?;
        // What a redirect has taught gives way to what is said by hand.
        let known =
            self.inet.routes.exact(network, len).is_some_and(|route| route.origin != RouteOrigin::Redirect);
        if known && !attributes.multipath {
            return Err(Errno::Exist);
        }
        let hop = self.determine_hop(network, via)?;
        if known {
            return self.inet.routes.add_hop(network, len, hop);
        }
        if self.inet.routes.len() >= self.cx.config.routes as usize {
            return Err(Errno::NoBufs);
        }
        self.inet.routes.insert(network, len, determine_route(hop, attributes)?);
        Ok(())
    }

    /// ESRCH if there is no such route; else as [`Stack::add_route`].
    pub(super) fn change_route(
        &mut self,
        destination: (IpAddr, u8),
        via: &NextHop,
        attributes: &RouteAttributes,
    ) -> Result<(), ControlError> {
        let object = name_of(destination);
        let mut change = || {
            let (network, len) = network_of(destination)?;
            self.inet.routes.exact(network, len).ok_or(Errno::Srch)?;
            let hop = self.determine_hop(network, via)?;
            self.inet.routes.insert(network, len, determine_route(hop, attributes)?);
            Ok(())
        };
        change().map_err(refuse(Operation::Route, &object))
    }

    fn determine_hop(&self, destination: IpAddr, via: &NextHop) -> Result<Hop, Errno> {
        match via {
            NextHop::Interface(name) => {
                Ok(Hop { interface: self.link.interfaces.by_name(name)?.index, gateway: None })
            }
            NextHop::Gateway(gateway) if gateway.is_ipv4() != destination.is_ipv4() => {
                Err(Errno::AfNoSupport)
            }
            NextHop::Gateway(gateway) => {
                let link = self.inet.routes.lookup(*gateway).filter(|route| route.hop.gateway.is_none());
                let interface = link.ok_or(Errno::NetUnreach)?.hop.interface;
                Ok(Hop { interface, gateway: Some(*gateway) })
            }
        }
    }

    /// ESRCH if there is no such route, or no such next hop of it.
    pub(super) fn delete_route(
        &mut self,
        destination: (IpAddr, u8),
        gateway: Option<IpAddr>,
    ) -> Result<(), ControlError> {
        let object = name_of(destination);
        let (network, len) = network_of(destination).map_err(refuse(Operation::Route, &object))?;
        // As on BSD, a gateway tells only several next hops apart.
        let several = self.inet.routes.exact(network, len).is_some_and(|route| route.hops().len() > 1);
        let goes = |hop: &Hop| !several || gateway.is_none() || hop.gateway == gateway;
        let removed = self.inet.routes.remove_hops(network, len, goes);
        removed.then_some(()).ok_or(Errno::Srch).map_err(refuse(Operation::Route, &object))
    }

    /// The route to an address, or to exactly a network. ESRCH if there is none.
    pub(super) fn route(&self, (address, len): (IpAddr, Option<u8>)) -> Result<Reply, ControlError> {
        let found = match len {
            Some(len) => network_of((address, len)).ok().and_then(|(network, len)| {
                self.inet.routes.exact(network, len).map(|route| ((network, len), route))
            }),
            None => self.inet.routes.find(address),
        };
        let object = alloc::format!("{address}");
        let none = || refuse(Operation::Route, &object)(Errno::Srch);
        let (destination, route) = found.ok_or_else(none)?;
        let next_hop = route.hop.gateway.unwrap_or(address);
        let source =
            self.inet.addresses.source_for(route.hop.interface, next_hop, self.cx.config.dad_optimistic);
        let route = self.route_report(destination, route, route.hop).ok_or_else(none)?;
        Ok(Reply::Route { route, source })
    }

    /// A page holds all next hops of its last route.
    pub(super) fn routes(&self, after: Option<(IpAddr, u8)>) -> Reply {
        let mut routes: Vec<RouteReport> = Vec::new();
        let mut next = None;
        for found in self.inet.routes.list_after(after) {
            let destination = (found.network, found.length);
            let hops = found.value.hops().iter();
            routes.extend(hops.filter_map(|hop| self.route_report(destination, found.value, *hop)));
            if routes.len() >= PAGE {
                next = Some(destination);
                break;
            }
        }
        Reply::Routes { next, routes }
    }

    fn route_report(&self, destination: (IpAddr, u8), route: &Route, hop: Hop) -> Option<RouteReport> {
        let interface = self.link.interfaces.by_index(hop.interface)?.name;
        Some(route.report(destination, hop, interface, self.cx.now))
    }
}

fn name_of((address, len): (IpAddr, u8)) -> alloc::string::String {
    alloc::format!("{address}/{len}")
}

/// Without bits beyond its length. EINVAL if that is longer than its family.
fn network_of((address, len): (IpAddr, u8)) -> Result<(IpAddr, u8), Errno> {
    Ok((Cidr::new(address, len).ok_or(Errno::Inval)?.network().address(), len))
}

fn determine_route(hop: Hop, attributes: &RouteAttributes) -> Result<Route, Errno> {
    let RouteAttributes { kind, mtu, hop_count, .. } = *attributes;
    if mtu.is_some_and(|mtu| mtu < MIN_MTU) {
        return Err(Errno::Inval);
    }
    let mut route = Route::by(hop, RouteOrigin::Static);
    (route.kind, route.mtu, route.hop_count) = (kind, mtu, hop_count);
    Ok(route)
}
