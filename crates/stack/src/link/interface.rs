//! Interfaces and the table that holds them, by index and by name.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use hashbrown::HashMap;
use rumpnet_proto::{
    BusReport, Capabilities, Errno, InterfaceFlags, InterfaceName, LinkKind, LinkState, Media,
};
use rumpnet_wire::ethernet;

use crate::random::TableHasher;

/// The MTU of the loopback, in bytes, as NetBSD's.
pub(crate) const LOOPBACK_MTU: u32 = 33_624;

/// One interface.
pub(crate) struct Interface {
    pub(crate) name: InterfaceName,
    /// Counted from 1 in order of creation; the lowest free one is taken.
    pub(crate) index: u32,
    pub(crate) kind: LinkKind,
    pub(crate) flags: InterfaceFlags,
    pub(crate) mtu: u32,
    /// The MTUs that the link allows.
    pub(crate) mtu_range: (u32, u32),
    pub(crate) metric: u32,
    pub(crate) link_address: Option<ethernet::Address>,
    pub(crate) inactive_link_addresses: Vec<ethernet::Address>,
    pub(crate) capabilities: Capabilities,
    pub(crate) enabled: Capabilities,
    pub(crate) link_state: LinkState,
    /// The port its frames leave by; none for the loopback.
    pub(crate) port: Option<u32>,
    /// Multicast addresses that pass, and how many groups are behind each.
    pub(crate) groups: HashMap<ethernet::Address, u32, TableHasher>,
    pub(crate) host_end: Option<String>,
    /// The bus that it stands on, if it is of that kind.
    pub(crate) bus: Option<BusReport>,
    /// What the far end said last of its state; while an interface is pulled out of its bus, its own link state is another.
    pub(crate) carrier: LinkState,
    /// Whether a stranger with our link address was reported.
    pub(crate) stranger_reported: bool,
    /// How many packet sockets want to see what is for other stations.
    pub(crate) watchers: u32,
}

impl Interface {
    /// The loopback of this index.
    pub(crate) fn loopback(name: InterfaceName, index: u32) -> Self {
        Self {
            flags: InterfaceFlags::LOOPBACK | InterfaceFlags::MULTICAST,
            mtu: LOOPBACK_MTU,
            mtu_range: (68, 65_535),
            link_state: LinkState::Unknown,
            ..Self::new(name, index, LinkKind::Loopback)
        }
    }

    /// An interface of `kind` that is down and has nothing.
    pub(crate) fn new(name: InterfaceName, index: u32, kind: LinkKind) -> Self {
        Self {
            name,
            index,
            kind,
            flags: Self::born_with(kind),
            mtu: 1500,
            mtu_range: (68, 65_521),
            metric: 0,
            link_address: None,
            inactive_link_addresses: Vec::new(),
            capabilities: Capabilities::empty(),
            enabled: Capabilities::empty(),
            link_state: LinkState::Unknown,
            port: None,
            groups: HashMap::with_hasher(TableHasher::with_seed(index.into())),
            host_end: None,
            bus: None,
            carrier: LinkState::Unknown,
            stranger_reported: false,
            watchers: 0,
        }
    }

    /// Its flags as they are shown: with PROMISC while a packet socket asks for that.
    pub(crate) fn shown_flags(&self) -> InterfaceFlags {
        let watched = if self.watchers > 0 { InterfaceFlags::PROMISC } else { InterfaceFlags::empty() };
        self.flags | watched
    }

    /// Whether captures see what is for other stations.
    pub(crate) fn is_promiscuous(&self) -> bool {
        self.shown_flags().contains(InterfaceFlags::PROMISC)
    }

    const fn born_with(kind: LinkKind) -> InterfaceFlags {
        match kind {
            LinkKind::Ethernet => {
                InterfaceFlags::BROADCAST.union(InterfaceFlags::SIMPLEX).union(InterfaceFlags::MULTICAST)
            }
            LinkKind::Ip => InterfaceFlags::POINTOPOINT.union(InterfaceFlags::MULTICAST),
            LinkKind::Loopback => InterfaceFlags::LOOPBACK.union(InterfaceFlags::MULTICAST),
        }
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.flags.contains(InterfaceFlags::UP)
    }

    /// Whether it may be brought up: ENXIO as long as it has no bus to stand on.
    pub(crate) fn may_come_up(&self) -> Result<(), Errno> {
        match &self.bus {
            Some(BusReport { link_string: None, .. }) => Err(Errno::Nxio),
            _ => Ok(()),
        }
    }

    /// Whether it was pulled out of its bus.
    pub(crate) fn is_unplugged(&self) -> bool {
        self.bus.as_ref().is_some_and(|bus| bus.media == Media::None)
    }

    /// Bytes of link header before each packet.
    pub(crate) const fn header_len(&self) -> usize {
        match self.kind {
            LinkKind::Ethernet => ethernet::Header::LEN,
            LinkKind::Ip | LinkKind::Loopback => 0,
        }
    }

    /// Whether frames to this multicast address are for us.
    pub(crate) fn wants_group(&self, group: ethernet::Address) -> bool {
        self.shown_flags().intersects(InterfaceFlags::ALLMULTI | InterfaceFlags::PROMISC)
            || self.groups.contains_key(&group)
    }

    /// One more group, or one less, is behind a multicast address, which passes as long as there is any.
    pub(crate) fn pass(&mut self, group: ethernet::Address, joined: bool) {
        if joined {
            *self.groups.entry(group).or_insert(0) += 1;
        } else if let Some(behind) = self.groups.get_mut(&group) {
            *behind -= 1;
            if *behind == 0 {
                self.groups.remove(&group);
            }
        }
    }
}

/// All interfaces.
pub(crate) struct InterfaceTable {
    by_index: Vec<Option<Box<Interface>>>,
    by_name: BTreeMap<InterfaceName, u32>,
    /// Indices of interfaces that are gone but for what is still being forgotten of them.
    retired: BTreeSet<u32>,
    /// Indices that were used and are free again.
    free: BTreeSet<u32>,
    limit: u32,
}

impl InterfaceTable {
    pub(crate) const fn new(limit: u32) -> Self {
        Self {
            by_index: Vec::new(),
            by_name: BTreeMap::new(),
            retired: BTreeSet::new(),
            free: BTreeSet::new(),
            limit,
        }
    }

    /// The index that the next interface will have; ENOMEM when the table is full.
    pub(crate) fn free_index(&self) -> Result<u32, Errno> {
        if self.by_name.len() >= self.limit as usize {
            return Err(Errno::NoMem);
        }
        Ok(self.free.first().copied().unwrap_or(self.by_index.len() as u32 + 1))
    }

    pub(crate) fn insert(&mut self, interface: Interface) {
        let place = interface.index as usize - 1;
        self.free.remove(&interface.index);
        if self.by_index.len() <= place {
            self.by_index.resize_with(place + 1, || None);
        }
        self.by_name.insert(interface.name, interface.index);
        self.by_index[place] = Some(Box::new(interface));
    }

    /// Removes an interface; its index is not used again until [`Self::release`].
    pub(crate) fn remove(&mut self, index: u32) -> Option<Interface> {
        let interface = self.by_index.get_mut(index.checked_sub(1)? as usize)?.take()?;
        self.by_name.remove(&interface.name);
        self.retired.insert(index);
        Some(*interface)
    }

    /// Nothing is left of a removed interface.
    pub(crate) fn release(&mut self, index: u32) {
        if self.retired.remove(&index) {
            self.free.insert(index);
        }
    }

    pub(crate) fn by_index(&self, index: u32) -> Option<&Interface> {
        self.by_index.get(index.checked_sub(1)? as usize)?.as_deref()
    }

    pub(crate) fn by_index_mut(&mut self, index: u32) -> Option<&mut Interface> {
        self.by_index.get_mut(index.checked_sub(1)? as usize)?.as_deref_mut()
    }

    /// ENXIO if there is no such interface; `virt00` is not `virt0` here, since only creation reads numbers.
    pub(crate) fn by_name(&self, name: &str) -> Result<&Interface, Errno> {
        self.index_of(name).and_then(|index| self.by_index(index)).ok_or(Errno::Nxio)
    }

    pub(crate) fn by_name_mut(&mut self, name: &str) -> Result<&mut Interface, Errno> {
        self.index_of(name).and_then(|index| self.by_index_mut(index)).ok_or(Errno::Nxio)
    }

    fn index_of(&self, name: &str) -> Option<u32> {
        self.by_name.get(&name.parse().ok()?).copied()
    }

    /// Interfaces from index `from` on, in the order of their indices.
    pub(crate) fn starting_at(&self, from: u32) -> impl Iterator<Item = &Interface> {
        self.by_index.iter().skip(from.saturating_sub(1) as usize).flatten().map(|interface| &**interface)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> InterfaceTable {
        let mut table = InterfaceTable::new(3);
        for name in ["lo0", "virt0", "virt1"] {
            let index = table.free_index().expect("room");
            table.insert(Interface::loopback(name.parse().expect("a name"), index));
        }
        table
    }

    #[test]
    fn the_lowest_index_is_used_again_once_nothing_is_left_of_its_interface() {
        let mut table = table();
        assert_eq!(table.free_index(), Err(Errno::NoMem));
        assert!(table.remove(2).is_some());
        assert_eq!(table.free_index(), Ok(4));
        table.release(2);
        assert_eq!(table.free_index(), Ok(2));
        assert!(table.by_name("virt0").is_err());
        assert_eq!(table.by_name("virt1").map(|interface| interface.index), Ok(3));
    }

    #[test]
    fn only_a_joined_group_is_wanted_unless_all_are() {
        let group = ethernet::Address([1, 0, 0x5e, 0, 0, 1]);
        let mut interface = Interface::new("virt0".parse().expect("a name"), 1, LinkKind::Ethernet);
        assert!(!interface.wants_group(group));
        interface.flags |= InterfaceFlags::ALLMULTI;
        assert!(interface.wants_group(group));
        interface.flags -= InterfaceFlags::ALLMULTI;
        interface.pass(group, true);
        interface.pass(group, true);
        interface.pass(group, false);
        assert!(interface.wants_group(group), "another group is behind the same address");
        interface.pass(group, false);
        assert!(!interface.wants_group(group));
    }
}
