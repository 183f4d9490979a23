//! Addresses of interfaces: add, replace, delete, and the connected routes that come and go with them.

use core::net::{IpAddr, Ipv4Addr};

use rumpnet_proto::{AddressChange, ControlError, Errno, LinkKind, Operation, RouteOrigin};

use super::refuse;
use crate::{
    Stack,
    inet::{
        address::{InterfaceAddress, Place},
        route::Route,
    },
};

impl Stack {
    pub(super) fn add_address(&mut self, name: &str, change: &AddressChange) -> Result<(), Errno> {
        let interface = self.link.interfaces.by_name(name)?;
        let index = interface.index;
        if change.address.is_ipv6() {
            return Err(Errno::AfNoSupport);
        }
        if change.address.is_multicast() || change.address == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Err(Errno::Inval);
        }
        let can_broadcast = interface.kind == LinkKind::Ethernet;
        if change.broadcast.is_some() && !can_broadcast || change.peer.is_some() && can_broadcast {
            return Err(Errno::Inval);
        }
        let entry = InterfaceAddress::from_change(change, can_broadcast)?;
        let was_up = interface.is_up();
        interface.may_come_up()?;
        self.replace_address(index, entry, change)?;
        self.inet.report_groups_again(&mut self.cx, index);
        if was_up {
            self.inet.start_conflict_detection(&mut self.cx, &mut self.link, index, change.address);
        } else {
            self.set_up(index, true);
        }
        Ok(())
    }

    /// Adds an entry, in place of one with the same address, and of the primary one unless it is an alias.
    fn replace_address(
        &mut self,
        index: u32,
        entry: InterfaceAddress,
        change: &AddressChange,
    ) -> Result<(), Errno> {
        let same_family = |entry: &&InterfaceAddress| entry.address.is_ipv4() == change.address.is_ipv4();
        let primary = self.inet.addresses.of(index).find(same_family).map(|entry| entry.address);
        // One that is there already changes where it stands.
        let known = self.inet.addresses.place_of(index, change.address);
        let place = if change.alias { known.unwrap_or(Place::Last) } else { Place::First };
        let replaced = if change.alias { None } else { primary };
        self.remove_address(index, change.address);
        if let Some(primary) = replaced {
            self.remove_address(index, primary);
        }
        let network = entry.network();
        self.inet.addresses.insert(index, entry, place)?;
        let route = Route::connected(index);
        if self.inet.routes.exact(network.0, network.1).is_none() {
            self.inet.routes.insert(network.0, network.1, route);
        }
        Ok(())
    }

    /// Removes an address with its timer and its route, which an address of another interface may inherit.
    fn remove_address(&mut self, index: u32, address: IpAddr) -> bool {
        let Some(entry) = self.inet.addresses.remove(index, address) else { return false };
        if let Some(timer) = entry.timer {
            self.cx.timers.cancel(timer);
        }
        if entry.counted {
            self.inet.addresses.set_ours(address, false);
        }
        let network = entry.network();
        let mine = |route: &Route| route.origin == RouteOrigin::Connected && route.hop.interface == index;
        if self.inet.routes.exact(network.0, network.1).is_some_and(mine) {
            self.inet.routes.remove(network.0, network.1);
            if let Some(heir) = self.inet.addresses.heir_of(network) {
                let route = Route::connected(heir);
                self.inet.routes.insert(network.0, network.1, route);
            }
        }
        true
    }

    pub(super) fn delete_address(&mut self, name: &str, address: Option<IpAddr>) -> Result<(), ControlError> {
        let found = self.link.interfaces.by_name(name);
        let index = found.map_err(refuse(Operation::DeleteAddress, name))?.index;
        let primary = self.inet.addresses.of(index).next().map(|entry| entry.address);
        let none = || ControlError::new(Operation::PrimaryAddress, name, Errno::AddrNotAvail);
        let address = address.or(primary).ok_or_else(none)?;
        if self.remove_address(index, address) {
            self.inet.report_groups_again(&mut self.cx, index);
            return Ok(());
        }
        Err(ControlError::new(Operation::DeleteAddress, name, Errno::AddrNotAvail))
    }

    /// Removes one address of an interface, or one route by it if it has no more; false if nothing is left.
    pub(super) fn remove_next_address(&mut self, index: u32) -> bool {
        let next = self.inet.addresses.of(index).next().map(|entry| entry.address);
        match next {
            Some(address) => self.remove_address(index, address),
            // Routes by gateways on this link have lost their way.
            None => {
                let is_gone = |index| self.link.interfaces.by_index(index).is_none();
                self.inet.routes.remove_some_of_gone(index, is_gone)
            }
        }
    }

    /// 127.0.0.1/8 on `lo0`.
    pub(super) fn add_loopback_address(&mut self) -> Result<(), Errno> {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let change = AddressChange { address, prefix_len: Some(8), broadcast: None, peer: None, alias: true };
        self.add_address("lo0", &change)
    }
}
