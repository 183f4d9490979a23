//! Control requests as methods: what [`Kernel::control`] does, with arguments and results of their own types.

use std::net::IpAddr;

use rumpnet_proto::{
    AddressChange, Capabilities, ControlError, Counter, CreateOptions, DropReason, InterfaceFlags,
    InterfaceReport, Message, NeighborChange, NeighborReport, NextHop, Operation, Reply, Request,
    RouteAttributes, RouteReport,
};
use rumpnet_wire::{ethernet, ip::Cidr};

use crate::Kernel;

impl Kernel {
    fn done(&self, request: Request) -> Result<(), ControlError> {
        self.control(request).map(drop)
    }

    /// Makes an interface; `virt<n>` on the host's `tap<n>` (SIOCIFCREATE).
    pub fn create(&self, name: &str) -> Result<(), ControlError> {
        self.create_with(name, &CreateOptions::default())
    }

    /// The names of the cloners, most recently registered first.
    pub fn cloners(&self) -> Result<Vec<String>, ControlError> {
        match self.control(Request::Cloners)? {
            Reply::Names(names) => Ok(names),
            _ => Err(Self::unexpected(Operation::CreateInterface)),
        }
    }

    /// All interfaces, by index.
    pub fn interfaces(&self) -> Result<Vec<InterfaceReport>, ControlError> {
        let mut all = Vec::new();
        let mut from = Some(0);
        while let Some(first) = from {
            let Reply::Interfaces { interfaces, next } =
                self.control(Request::Interfaces { from: first, reset: false })?
            else {
                return Err(Self::unexpected(Operation::InterfaceStatus));
            };
            all.extend(interfaces);
            from = next;
        }
        Ok(all)
    }

    /// One interface; ENXIO if it is not there.
    pub fn interface(&self, name: &str) -> Result<InterfaceReport, ControlError> {
        match self.control(Request::Interface { name: name.into(), reset: false })? {
            Reply::Interfaces { mut interfaces, .. } if !interfaces.is_empty() => Ok(interfaces.remove(0)),
            _ => Err(Self::unexpected(Operation::InterfaceStatus)),
        }
    }

    /// Sets and clears flags (SIOCSIFFLAGS).
    pub fn set_flags(
        &self,
        name: &str,
        set: InterfaceFlags,
        clear: InterfaceFlags,
    ) -> Result<(), ControlError> {
        self.done(Request::SetFlags { name: name.into(), set, clear })
    }

    /// Brings an interface up or down.
    pub fn set_up(&self, name: &str, up: bool) -> Result<(), ControlError> {
        let (set, clear) = (InterfaceFlags::UP, InterfaceFlags::empty());
        if up { self.set_flags(name, set, clear) } else { self.set_flags(name, clear, set) }
    }

    /// Changes the MTU, in bytes (SIOCSIFMTU); the host's end follows.
    pub fn set_mtu(&self, name: &str, mtu: u32) -> Result<(), ControlError> {
        self.done(Request::SetMtu { name: name.into(), mtu })
    }

    /// Switches capabilities on and off (SIOCSIFCAP).
    pub fn set_capabilities(
        &self,
        name: &str,
        enable: Capabilities,
        disable: Capabilities,
    ) -> Result<(), ControlError> {
        self.done(Request::SetCapabilities { name: name.into(), enable, disable })
    }

    /// Adds an address with its prefix, and brings the interface up (SIOCAIFADDR).
    pub fn add_address(&self, name: &str, address: Cidr) -> Result<(), ControlError> {
        let change = AddressChange {
            address: address.address(),
            prefix_len: Some(address.prefix_len()),
            broadcast: None,
            peer: None,
            alias: true,
        };
        self.done(Request::AddAddress { name: name.into(), change })
    }

    /// Removes an address (SIOCDIFADDR); EADDRNOTAVAIL if the interface has it not.
    pub fn delete_address(&self, name: &str, address: IpAddr) -> Result<(), ControlError> {
        self.done(Request::DeleteAddress { name: name.into(), address: Some(address) })
    }

    /// Makes a link address the one in use (SIOCALIFADDR).
    pub fn set_link_address(&self, name: &str, address: ethernet::Address) -> Result<(), ControlError> {
        self.done(Request::AddLinkAddress { name: name.into(), address, active: true })
    }

    /// All neighbours.
    pub fn neighbors(&self) -> Result<Vec<NeighborReport>, ControlError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let Reply::Neighbors { neighbors, next } = self.control(Request::Neighbors { after })? else {
                return Err(Self::unexpected(Operation::Neighbor));
            };
            all.extend(neighbors);
            after = next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    /// Sets a neighbour by hand (arp -s).
    pub fn add_neighbor(&self, change: NeighborChange) -> Result<(), ControlError> {
        self.done(Request::AddNeighbor(change))
    }

    /// Forgets a neighbour (arp -d).
    pub fn delete_neighbor(&self, address: IpAddr) -> Result<(), ControlError> {
        self.done(Request::DeleteNeighbor { address })
    }

    /// All routes.
    pub fn routes(&self) -> Result<Vec<RouteReport>, ControlError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let Reply::Routes { routes, next } = self.control(Request::Routes { after })? else {
                return Err(Self::unexpected(Operation::Route));
            };
            all.extend(routes);
            after = next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    /// Adds a route; EEXIST if there is one to that destination.
    pub fn add_route(&self, destination: Cidr, via: NextHop) -> Result<(), ControlError> {
        let destination = (destination.address(), destination.prefix_len());
        self.done(Request::AddRoute { destination, via, attributes: RouteAttributes::default() })
    }

    /// Removes a route; ESRCH if there is none.
    pub fn delete_route(&self, destination: Cidr) -> Result<(), ControlError> {
        let destination = (destination.address(), destination.prefix_len());
        self.done(Request::DeleteRoute { destination, gateway: None })
    }

    /// A counter of the whole kernel.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.shared.lock().stack.counter(counter)
    }

    /// How many packets the kernel has dropped for a reason.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.shared.lock().stack.drops(reason)
    }

    /// The value of a variable by its sysctl(7) name; ENOENT for one that is not there.
    pub fn sysctl(&self, name: &str) -> Result<i64, ControlError> {
        self.sysctl_value(name, None)
    }

    /// Sets a variable and returns its value before.
    pub fn set_sysctl(&self, name: &str, value: i64) -> Result<i64, ControlError> {
        self.sysctl_value(name, Some(value))
    }

    fn sysctl_value(&self, name: &str, value: Option<i64>) -> Result<i64, ControlError> {
        match self.control(Request::Sysctl { name: name.into(), value })? {
            Reply::Value(value) => Ok(value),
            _ => Err(Self::unexpected(Operation::Sysctl)),
        }
    }

    /// What the kernel has reported, from message number `since` on, a page of them.
    pub fn messages(&self, since: u64) -> Vec<Message> {
        self.shared.log.page(since).0
    }
}
