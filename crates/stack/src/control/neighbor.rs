//! The neighbour table: what arp(8) shows and changes.

use alloc::vec::Vec;
use core::net::IpAddr;

use rumpnet_proto::{
    ControlError, Counter, DropReason, Errno, NeighborChange, NeighborReport, Operation, Reply,
};

use super::{PAGE, refuse};
use crate::{
    Stack,
    inet::neighbor::{Inserted, Listing, TableFull},
};

impl Stack {
    pub(super) fn neighbors(&self, after: Option<(u32, IpAddr)>) -> Reply {
        let mut next = None;
        let mut neighbors = Vec::new();
        for (key, entry) in self.inet.neighbors.list_after(after) {
            if neighbors.len() == PAGE {
                break;
            }
            if let Some(interface) = self.link.interfaces.by_index(key.0) {
                neighbors.push(self.neighbor_report(interface.name, key.1, &entry));
            }
            next = Some(key);
        }
        let more = neighbors.len() == PAGE;
        Reply::Neighbors { neighbors, next: next.filter(|_| more) }
    }

    pub(super) fn neighbor_report(
        &self,
        interface: rumpnet_proto::InterfaceName,
        address: IpAddr,
        entry: &Listing,
    ) -> NeighborReport {
        NeighborReport {
            address,
            link_address: entry.link_address,
            interface,
            state: entry.state,
            published: entry.published,
            expires_in_ns: entry.expires.map(|expires| (expires - self.cx.now).as_nanos()),
            waiting: entry.waiting,
        }
    }

    pub(super) fn add_neighbor(&mut self, change: &NeighborChange) -> Result<(), ControlError> {
        let object = alloc::format!("{}", change.address);
        let index = self.interface_towards(change.address).map_err(refuse(Operation::Neighbor, &object))?;
        let key = (index, change.address);
        let NeighborChange { link_address, temporary, published, .. } = *change;
        let set = self.inet.neighbors.insert_static(self.cx.now, key, link_address, temporary, published);
        let Inserted { released, dropped, evicted } =
            set.map_err(|TableFull| ControlError::new(Operation::Neighbor, object, Errno::NoBufs))?;
        self.cx.add(Counter::NeighborEvicted, u64::from(evicted));
        dropped.iter().for_each(|frame| self.cx.drop_sent(index, DropReason::NeighborQueueFull, frame));
        let to = crate::link::LinkDestination {
            address: change.link_address,
            ethertype: rumpnet_wire::ethernet::EtherType::IPV4,
        };
        for frame in released {
            let _counted = self.link.send(&mut self.cx, index, to, frame);
        }
        Ok(())
    }

    /// The Ethernet interface whose subnet an address lies in; ESRCH if none, as arp(8) says for hosts off the net.
    fn interface_towards(&self, address: IpAddr) -> Result<u32, Errno> {
        let route = self
            .inet
            .routes
            .lookup(address)
            .filter(|route| route.hop.gateway.is_none())
            .ok_or(Errno::Srch)?;
        let interface = self.link.interfaces.by_index(route.hop.interface).ok_or(Errno::Srch)?;
        if interface.link_address.is_some() { Ok(route.hop.interface) } else { Err(Errno::Srch) }
    }

    pub(super) fn delete_neighbor(&mut self, address: IpAddr) -> Result<(), ControlError> {
        let object = alloc::format!("{address}");
        let interfaces = self.link.interfaces.starting_at(1).map(|interface| interface.index);
        let index = interfaces.into_iter().find(|index| self.inet.neighbors.contains((*index, address)));
        let key = (index.ok_or(Errno::NoEnt).map_err(refuse(Operation::Neighbor, &object))?, address);
        let packets = self.inet.neighbors.remove(key).unwrap_or_default();
        packets.iter().for_each(|frame| self.cx.drop_sent(key.0, DropReason::NeighborUnreachable, frame));
        Ok(())
    }

    /// Removes a page of neighbours and returns how many those were.
    pub(super) fn flush_neighbors(&mut self, permanent: bool) -> i64 {
        let listed = self.inet.neighbors.list_after(None);
        let wanted = listed.filter(|(_, entry)| permanent || !entry.is_permanent()).map(|(key, _)| key);
        let keys: Vec<_> = wanted.take(PAGE).collect();
        for key in &keys {
            let packets = self.inet.neighbors.remove(*key).unwrap_or_default();
            packets.iter().for_each(|frame| self.cx.drop_sent(key.0, DropReason::NeighborUnreachable, frame));
        }
        keys.len() as i64
    }
}
