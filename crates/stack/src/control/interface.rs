//! Interfaces: create, destroy, report, flags, MTU, metric, capabilities, link addresses, link state.

use alloc::{string::String, vec::Vec};

use hashbrown::HashMap;
use rumpnet_proto::{
    AddressFlags, Capabilities, CloneName, ControlError, DropReason, Errno, InterfaceCounters,
    InterfaceFlags, InterfaceName, InterfaceReport, LinkKind, LinkName, LinkState, Operation, Reply,
    RouteEvent,
};
use rumpnet_wire::ethernet;

use super::{PAGE, refuse};
use crate::{
    Stack,
    context::{Event, Notice},
    link::{
        interface::Interface,
        port::{Offloads, PortConfig},
    },
    time::Instant,
};

/// The cloners, most recently registered first, as ifconfig -C lists them.
const CLONERS: [(&str, LinkKind); 5] = [
    ("bus", LinkKind::Ethernet),
    ("shmif", LinkKind::Ethernet),
    ("virt", LinkKind::Ethernet),
    ("tun", LinkKind::Ip),
    ("lo", LinkKind::Loopback),
];

pub(super) fn cloners() -> Reply {
    Reply::Names(CLONERS.iter().map(|(name, _)| String::from(*name)).collect())
}

impl Stack {
    /// Whether an interface of this name could be created now, and what kind it would be.
    ///
    /// EINVAL for a name that no cloner takes, EEXIST, ENOMEM when the table is full.
    pub fn may_create(&self, name: &str) -> Result<LinkKind, ControlError> {
        self.determine_clone(name).map(|(_, kind)| kind).map_err(refuse(Operation::CreateInterface, name))
    }

    fn determine_clone(&self, name: &str) -> Result<(InterfaceName, LinkKind), Errno> {
        let clone = CloneName::parse(name)?;
        let (_, kind) = CLONERS.iter().find(|(prefix, _)| *prefix == clone.prefix).ok_or(Errno::Inval)?;
        let name = clone.interface_name()?;
        if self.link.interfaces.by_name(name.as_str()).is_ok() {
            return Err(Errno::Exist);
        }
        self.link.interfaces.free_index()?;
        Ok((name, *kind))
    }

    /// Makes an interface whose far end is held by the caller, and returns its port.
    ///
    /// As [`Self::may_create`]; EINVAL also if the kind of the port is not the cloner's.
    pub fn create_interface(
        &mut self,
        now: Instant,
        name: &str,
        port: PortConfig,
    ) -> Result<u32, ControlError> {
        self.enter(now);
        self.create_with_port(name, port).map_err(refuse(Operation::CreateInterface, name))
    }

    fn create_with_port(&mut self, name: &str, config: PortConfig) -> Result<u32, Errno> {
        let is_bus = CloneName::parse(name).is_ok_and(|clone| clone.is_bus());
        let (name, kind) = self.determine_clone(name)?;
        let valid_address = match config.link_address {
            Some(address) => !address.is_multicast() && !address.is_unspecified(),
            None => kind != LinkKind::Ethernet,
        };
        if kind != config.kind || kind == LinkKind::Loopback || !valid_address {
            return Err(Errno::Inval);
        }
        let index = self.link.interfaces.free_index()?;
        let mut interface = Interface::new(name, index, kind);
        let port = self.link.ports.open(index, interface.header_len(), config.offloads);
        interface.mtu = config.mtu;
        interface.mtu_range.1 = config.max_mtu;
        interface.link_address = config.link_address;
        interface.capabilities = config.offloads.capabilities();
        interface.enabled = interface.capabilities;
        interface.link_state = config.link_state;
        interface.carrier = config.link_state;
        interface.bus = is_bus.then(Default::default);
        interface.host_end = config.host_end;
        interface.port = Some(port);
        interface.groups = HashMap::with_hasher(self.cx.random.table_hasher());
        self.insert(interface);
        Ok(port)
    }

    fn insert(&mut self, interface: Interface) {
        self.cx.statistics.open_interface(interface.index);
        let notice = Notice::Created { interface: interface.name, link_address: interface.link_address };
        let index = interface.index;
        let link = LinkName { name: interface.name, index };
        self.link.interfaces.insert(interface);
        self.inet.join_all_hosts(&mut self.cx, &mut self.link, index);
        self.cx.notice(notice);
        self.cx.tell(|| RouteEvent::Arrival { link });
    }

    /// `lo0`, which every kernel is born with.
    pub(crate) fn configure_loopback(&mut self) {
        let (name, _) = self.determine_clone("lo0").expect("an empty table takes lo0");
        let mut interface = Interface::loopback(name, 1);
        interface.flags |= InterfaceFlags::UP | InterfaceFlags::RUNNING;
        self.cx.statistics.open_interface(interface.index);
        let index = interface.index;
        self.link.interfaces.insert(interface);
        self.inet.join_all_hosts(&mut self.cx, &mut self.link, index);
        self.add_loopback_address().expect("an empty table takes 127.0.0.1");
    }

    pub(super) fn create_loopback(&mut self, name: &str) -> Result<(), ControlError> {
        let (clone, kind) = self.determine_clone(name).map_err(refuse(Operation::CreateInterface, name))?;
        if kind != LinkKind::Loopback {
            return Err(ControlError::new(Operation::CreateInterface, name, Errno::OpNotSupp));
        }
        let index = self.link.interfaces.free_index().map_err(refuse(Operation::CreateInterface, name))?;
        self.insert(Interface::loopback(clone, index));
        Ok(())
    }

    /// Removes an interface with all that hangs on it, and returns its port, whose far end the caller closes.
    ///
    /// EINVAL if no cloner takes the name, ENXIO if there is no such interface, EPERM for `lo0`.
    pub fn destroy_interface(&mut self, now: Instant, name: &str) -> Result<Option<u32>, ControlError> {
        self.enter(now);
        let port = self.destroy(name).map_err(refuse(Operation::DestroyInterface, name));
        self.leave();
        port
    }

    pub(super) fn destroy_portless(&mut self, name: &str) -> Result<(), ControlError> {
        let has_port = self.link.interfaces.by_name(name).is_ok_and(|interface| interface.port.is_some());
        let operation = Operation::DestroyInterface;
        if has_port {
            return Err(ControlError::new(operation, name, Errno::OpNotSupp));
        }
        self.destroy(name).map(|_| ()).map_err(refuse(operation, name))
    }

    fn destroy(&mut self, name: &str) -> Result<Option<u32>, Errno> {
        let clone = CloneName::parse(name)?;
        if !CLONERS.iter().any(|(prefix, _)| *prefix == clone.prefix) {
            return Err(Errno::Inval);
        }
        let interface = self.link.interfaces.by_name(name)?;
        if interface.name.as_str() == "lo0" {
            return Err(Errno::Perm);
        }
        let (index, port) = (interface.index, interface.port);
        self.forget(index);
        if let Some(port) = port {
            self.discard_queue(index, port);
            self.tcp.on_port_closed(port);
        }
        self.cx.captures.on_interface_gone(index, &mut self.cx.events);
        if let Some(interface) = self.link.interfaces.remove(index) {
            self.cx.notice(Notice::Destroyed { interface: interface.name });
            self.departed.insert(index, interface.name);
            let link = LinkName { name: interface.name, index };
            self.cx.tell(|| RouteEvent::Departure { link });
        }
        self.cx.statistics.close_interface(index);
        Ok(port)
    }

    /// What still waited at a closed port is dropped, and its senders get their room back.
    fn discard_queue(&mut self, index: u32, port: u32) {
        let frames: Vec<_> = self.link.ports.close(port).collect();
        for frame in frames {
            self.cx.drop_sent(index, DropReason::LinkNoPort, &frame);
        }
    }

    pub(super) fn interfaces(&mut self, from: u32, reset: bool) -> Reply {
        let mut indices: Vec<u32> =
            self.link.interfaces.starting_at(from).take(PAGE + 1).map(|i| i.index).collect();
        let next = if indices.len() > PAGE { indices.pop() } else { None };
        let interfaces = indices.into_iter().filter_map(|index| self.report(index, reset)).collect();
        Reply::Interfaces { interfaces, next }
    }

    pub(super) fn interface(&mut self, name: &str, reset: bool) -> Result<Reply, Errno> {
        let index = self.link.interfaces.by_name(name)?.index;
        let interfaces = self.report(index, reset).into_iter().collect();
        Ok(Reply::Interfaces { interfaces, next: None })
    }

    fn report(&mut self, index: u32, reset: bool) -> Option<InterfaceReport> {
        let interface = self.link.interfaces.by_index(index)?;
        let statistics = self.cx.statistics.interface_mut(index)?;
        let dropped = |reason: &DropReason| (*reason, statistics.drops[*reason as usize]);
        let report = InterfaceReport {
            name: interface.name,
            index,
            kind: interface.kind,
            flags: interface.shown_flags(),
            mtu: interface.mtu,
            metric: interface.metric,
            capabilities: interface.capabilities,
            enabled: interface.enabled,
            link_address: interface.link_address,
            inactive_link_addresses: interface.inactive_link_addresses.clone(),
            link_state: interface.link_state,
            addresses: self.inet.addresses.reports(index),
            counters: InterfaceCounters {
                // The one queue before us is the host's.
                input_queue_drops: statistics.host_drops.unwrap_or(0),
                ..statistics.counters
            },
            drops: DropReason::ALL.iter().map(dropped).filter(|(_, count)| *count > 0).collect(),
            host_drops: statistics.host_drops,
            host_end: interface.host_end.clone(),
            bus: interface.bus.clone(),
        };
        if reset {
            *statistics = crate::context::InterfaceStatistics {
                host_drops: statistics.host_drops,
                ..Default::default()
            };
        }
        Some(report)
    }

    pub(super) fn set_flags(
        &mut self,
        name: &str,
        set: InterfaceFlags,
        clear: InterfaceFlags,
    ) -> Result<(), Errno> {
        if set.union(clear).intersects(InterfaceFlags::CANTCHANGE - InterfaceFlags::PROMISC) {
            return Err(Errno::Inval);
        }
        let interface = self.link.interfaces.by_name_mut(name)?;
        let (before, was_up) = (interface.flags, interface.is_up());
        if set.contains(InterfaceFlags::UP) {
            interface.may_come_up()?;
        }
        interface.flags = (interface.flags - clear) | set;
        let (index, is_up) = (interface.index, interface.is_up());
        if was_up != is_up {
            self.set_up(index, is_up);
        } else if before != interface.flags {
            self.tell_of_link(index);
        }
        Ok(())
    }

    /// Brings an interface up or down: RUNNING follows, the far end's carrier too, addresses are tried anew or detached.
    pub(super) fn set_up(&mut self, index: u32, up: bool) {
        let Some(interface) = self.link.interfaces.by_index_mut(index) else { return };
        interface.flags.set(InterfaceFlags::UP | InterfaceFlags::RUNNING, up);
        if let Some(port) = interface.port {
            self.cx.events.push_back(Event::PortUp { port, up });
        }
        let link_up = interface.link_state != LinkState::Down;
        self.tell_of_link(index);
        self.follow_link(index, up && link_up);
    }

    /// Addresses of a link that came back are tried anew, those of a link that went are detached.
    fn follow_link(&mut self, index: u32, present: bool) {
        let addresses: Vec<_> = self.inet.addresses.of(index).map(|entry| entry.address).collect();
        for address in addresses {
            if present {
                self.inet.start_conflict_detection(&mut self.cx, &mut self.link, index, address);
            } else if let Some(entry) = self.inet.addresses.find_mut(index, address) {
                entry.flags.insert(AddressFlags::DETACHED);
            }
        }
        self.inet.on_group_link(&mut self.cx, index, present);
        if !present {
            self.forget(index);
        }
    }

    /// The far end of a port appeared or went away; reported once per change.
    pub fn set_link_state(&mut self, now: Instant, port: u32, state: LinkState) {
        self.enter(now);
        let index = self.link.ports.get(port).map(|port| port.interface);
        let Some(interface) = index.and_then(|index| self.link.interfaces.by_index_mut(index)) else {
            return;
        };
        interface.carrier = state;
        let index = interface.index;
        self.follow_carrier(index);
        self.leave();
    }

    /// The link state of an interface is its far end's, unless it was pulled out of its bus; addresses follow it.
    pub(super) fn follow_carrier(&mut self, index: u32) {
        let Some(interface) = self.link.interfaces.by_index_mut(index) else { return };
        let state = if interface.is_unplugged() { LinkState::Down } else { interface.carrier };
        let before = core::mem::replace(&mut interface.link_state, state);
        if before == state {
            return;
        }
        let (name, up) = (interface.name, interface.is_up());
        self.cx.notice(Notice::LinkState { interface: name, state });
        self.tell_of_link(index);
        if up && (before == LinkState::Down) != (state == LinkState::Down) {
            self.follow_link(index, state != LinkState::Down);
        }
    }

    /// The far end of a port can do other things from now on: another one was plugged in, or it was reconfigured.
    ///
    /// What the user has switched off stays off; what is new begins switched on.
    pub fn set_offloads(&mut self, port: u32, offloads: Offloads) {
        let index = self.link.ports.get(port).map(|port| port.interface);
        let Some(interface) = index.and_then(|index| self.link.interfaces.by_index_mut(index)) else {
            return;
        };
        let switched_off = interface.capabilities - interface.enabled;
        interface.capabilities = offloads.capabilities();
        interface.enabled = interface.capabilities - switched_off;
        self.link.ports.set_offloads(port, offloads);
        self.link.ports.enable(port, interface.enabled);
    }

    /// What the host says it dropped because this port was not read in time.
    pub fn report_host_drops(&mut self, port: u32, drops: u64) {
        let index = self.link.ports.get(port).map(|port| port.interface);
        if let Some(statistics) = index.and_then(|index| self.cx.statistics.interface_mut(index)) {
            statistics.host_drops = Some(drops);
        }
    }

    pub(super) fn set_mtu(&mut self, name: &str, mtu: u32) -> Result<(), Errno> {
        let interface = self.link.interfaces.by_name_mut(name)?;
        let (least, greatest) = interface.mtu_range;
        if mtu < least || mtu > greatest {
            return Err(Errno::Inval);
        }
        interface.mtu = mtu;
        if let Some(port) = interface.port {
            self.cx.events.push_back(Event::PortMtu { port, mtu });
        }
        Ok(())
    }

    pub(super) fn set_metric(&mut self, name: &str, metric: u32) -> Result<(), Errno> {
        self.link.interfaces.by_name_mut(name)?.metric = metric;
        Ok(())
    }

    pub(super) fn set_capabilities(
        &mut self,
        name: &str,
        enable: Capabilities,
        disable: Capabilities,
    ) -> Result<(), Errno> {
        let interface = self.link.interfaces.by_name_mut(name)?;
        if !interface.capabilities.contains(enable.union(disable)) {
            return Err(Errno::Inval);
        }
        interface.enabled = interface.enabled.difference(disable).union(enable);
        if let Some(port) = interface.port {
            self.link.ports.enable(port, interface.enabled);
        }
        Ok(())
    }

    pub(super) fn add_link_address(
        &mut self,
        name: &str,
        address: ethernet::Address,
        active: bool,
    ) -> Result<(), Errno> {
        let interface = self.link.interfaces.by_name_mut(name)?;
        if interface.kind != LinkKind::Ethernet || address.is_multicast() || address.is_unspecified() {
            return Err(Errno::Inval);
        }
        if interface.link_address == Some(address) {
            return Ok(());
        }
        let known = interface.inactive_link_addresses.iter().position(|other| *other == address);
        match (active, known) {
            (false, None) => interface.inactive_link_addresses.push(address),
            (false, Some(_)) => return Err(Errno::Exist),
            (true, _) => {
                known.map(|place| interface.inactive_link_addresses.remove(place));
                let before = interface.link_address.replace(address);
                interface.inactive_link_addresses.extend(before);
                interface.stranger_reported = false;
                let index = interface.index;
                self.inet.announce_all(&mut self.cx, &mut self.link, index);
            }
        }
        Ok(())
    }

    pub(super) fn delete_link_address(
        &mut self,
        name: &str,
        address: ethernet::Address,
    ) -> Result<(), Errno> {
        let interface = self.link.interfaces.by_name_mut(name)?;
        if interface.link_address == Some(address) {
            return Err(Errno::Busy);
        }
        let place = interface.inactive_link_addresses.iter().position(|other| *other == address);
        interface.inactive_link_addresses.remove(place.ok_or(Errno::AddrNotAvail)?);
        Ok(())
    }

    /// Forgets the neighbours of an interface, and if it is gone its addresses and routes too, a slice in each call from now on.
    fn forget(&mut self, index: u32) {
        if !self.forgetting.contains(&index) {
            self.forgetting.push_back(index);
        }
    }

    /// A socket that hears any address by an interface that is gone hears nothing any more.
    fn deafen_next(&mut self, index: u32) -> bool {
        let Self { cx, tcp, sockets, .. } = self;
        sockets.deafen_next(cx, index) || tcp.deafen_next(cx, index)
    }

    /// A group by an interface that is gone is nobody's any more.
    fn leave_next_group(&mut self, index: u32) -> bool {
        let Self { cx, link, inet, .. } = self;
        inet.forget_next_group(cx, link, index)
    }

    /// A slice of what [`Self::forget`] began.
    pub(crate) fn forget_some(&mut self) {
        let Some(&index) = self.forgetting.front() else { return };
        let gone = self.link.interfaces.by_index(index).is_none();
        for _ in 0..FORGOTTEN_AT_ONCE {
            if gone
                && (self.remove_next_address(index)
                    || self.deafen_next(index)
                    || self.leave_next_group(index))
            {
                continue;
            }
            let Some(packets) = self.inet.neighbors.remove_next_of(index) else {
                self.forgetting.pop_front();
                // While its name is still known.
                self.tell_changes();
                self.departed.remove(&index);
                self.link.interfaces.release(index);
                return;
            };
            packets.iter().for_each(|frame| self.cx.drop_sent(index, DropReason::NeighborUnreachable, frame));
        }
    }
}

/// Addresses, routes and neighbours forgotten in one call, so that it holds no lock for long.
const FORGOTTEN_AT_ONCE: usize = 64;
