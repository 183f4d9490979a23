//! Routes: add, delete, list.

use alloc::vec::Vec;
use core::net::IpAddr;

use rumpnet_proto::{ControlError, Errno, NextHop, Operation, Reply, RouteReport};
use rumpnet_wire::ip::Cidr;

use super::{PAGE, refuse};
use crate::{Stack, inet::route::Route};

impl Stack {
    /// EINVAL for a prefix longer than its family, EEXIST, ENETUNREACH for a gateway that is not on a link, ENOBUFS beyond the limit.
    pub(super) fn add_route(&mut self, destination: (IpAddr, u8), via: &NextHop) -> Result<(), ControlError> {
        let object = alloc::format!("{}/{}", destination.0, destination.1);
        self.insert_route(destination, via).map_err(refuse(Operation::Route, &object))
    }

    fn insert_route(&mut self, (address, prefix_len): (IpAddr, u8), via: &NextHop) -> Result<(), Errno> {
        let network = Cidr::new(address, prefix_len).ok_or(Errno::Inval)?.network().address();
        if self.inet.routes.exact(network, prefix_len).is_some() {
            return Err(Errno::Exist);
        }
        if self.inet.routes.len() >= self.cx.config.routes as usize {
            return Err(Errno::NoBufs);
        }
        let route = match via {
            NextHop::Interface(name) => {
                let interface = self.link.interfaces.by_name(name)?.index;
                Route { interface, gateway: None, connected: false }
            }
            NextHop::Gateway(gateway) => {
                if gateway.is_ipv4() != address.is_ipv4() {
                    return Err(Errno::AfNoSupport);
                }
                let link = self.inet.routes.lookup(*gateway).filter(|route| route.gateway.is_none());
                let interface = link.ok_or(Errno::NetUnreach)?.interface;
                Route { interface, gateway: Some(*gateway), connected: false }
            }
        };
        self.inet.routes.insert(network, prefix_len, route);
        Ok(())
    }

    /// ESRCH if there is no such route.
    pub(super) fn delete_route(&mut self, (address, prefix_len): (IpAddr, u8)) -> Result<(), ControlError> {
        let object = alloc::format!("{address}/{prefix_len}");
        let network = Cidr::new(address, prefix_len).ok_or(Errno::Inval).map(|cidr| cidr.network().address());
        let network = network.map_err(refuse(Operation::Route, &object))?;
        let removed = self.inet.routes.remove(network, prefix_len);
        removed.map(|_| ()).ok_or(Errno::Srch).map_err(refuse(Operation::Route, &object))
    }

    pub(super) fn routes(&self, after: Option<(IpAddr, u8)>) -> Reply {
        let mut routes: Vec<RouteReport> = Vec::new();
        for found in self.inet.routes.list_after(after).take(PAGE) {
            if let Some(interface) = self.link.interfaces.by_index(found.value.interface) {
                let (destination, gateway) = ((found.network, found.length), found.value.gateway);
                routes.push(RouteReport { destination, gateway, interface: interface.name });
            }
        }
        let last = routes.last().map(|route| route.destination);
        Reply::Routes { next: last.filter(|_| routes.len() == PAGE), routes }
    }
}
