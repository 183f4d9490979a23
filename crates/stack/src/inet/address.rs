//! The addresses of all interfaces: which are ours, which are broadcasts, and which to send from.

use alloc::{collections::BTreeMap, vec::Vec};
use core::net::{IpAddr, Ipv4Addr};

use hashbrown::HashMap;
use rumpnet_proto::{AddressChange, AddressFlags, AddressReport, Change, Errno};
use rumpnet_wire::ip::Cidr;

use crate::{
    journal::Journal,
    random::{Random, TableHasher},
    time::Instant,
    timer::TimerId,
};

/// One address of an interface.
#[derive(Clone, Debug)]
pub(crate) struct InterfaceAddress {
    pub(crate) address: IpAddr,
    pub(crate) prefix_len: u8,
    pub(crate) broadcast: Option<IpAddr>,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) flags: AddressFlags,
    /// Probes of conflict detection still to be sent (RFC 5227 section 2.1).
    pub(crate) probes_left: u8,
    /// Announcements still to be sent (RFC 5227 section 2.3).
    pub(crate) announcements_left: u8,
    /// When a conflict was last answered (RFC 5227 section 2.4).
    pub(crate) defended: Option<Instant>,
    pub(crate) timer: Option<TimerId>,
    /// Whether it stands in the set of our addresses.
    pub(crate) counted: bool,
    /// The flags that monitors know of.
    told: AddressFlags,
}

/// Where an address stands among those of its interface; the first is the primary one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    First,
    Last,
    /// Where one stood that it takes the place of.
    At(i64),
}

/// All addresses of a kernel.
pub(crate) struct Addresses {
    /// By interface, in the order in which they were given.
    entries: BTreeMap<(u32, i64), InterfaceAddress>,
    /// The place of each address in that order, for each interface that has it.
    places: BTreeMap<(IpAddr, u32), i64>,
    /// How many addresses of each interface lie in each subnet.
    networks: BTreeMap<((IpAddr, u8), u32), u32>,
    /// How many interfaces have each usable address.
    ours: HashMap<IpAddr, u32, TableHasher>,
    /// How many interfaces have each broadcast address.
    broadcasts: HashMap<IpAddr, u32, TableHasher>,
    /// The last address that became ours, which is mostly the one that packets are for.
    recent: Option<IpAddr>,
    /// A bit for the low six bits of each address that ever was ours, to spare look-ups.
    our_bits: u64,
    /// The same for each broadcast address.
    broadcast_bits: u64,
    count: u32,
    limit: u32,
    pub(crate) journal: Journal<AddressNote>,
}

/// What has become of an address of an interface.
pub(crate) type AddressNote = (Change, u32, AddressReport);

impl InterfaceAddress {
    /// The address that a request describes; EINVAL if its parts contradict each other.
    pub(crate) fn from_change(change: &AddressChange, can_broadcast: bool) -> Result<Self, Errno> {
        let address = change.address;
        let prefix_len = change.prefix_len.unwrap_or_else(|| default_prefix_len(address));
        let cidr = Cidr::new(address, prefix_len).ok_or(Errno::Inval)?;
        let same_family = |other: &IpAddr| other.is_ipv4() == address.is_ipv4();
        if !change.broadcast.iter().chain(&change.peer).all(same_family) {
            return Err(Errno::Inval);
        }
        let default_broadcast = cidr.broadcast().map(IpAddr::V4);
        let broadcast = change.broadcast.or(default_broadcast).filter(|_| can_broadcast);
        Ok(Self {
            address,
            prefix_len,
            broadcast,
            peer: change.peer,
            flags: AddressFlags::empty(),
            probes_left: 0,
            announcements_left: 0,
            defended: None,
            timer: None,
            counted: false,
            told: AddressFlags::empty(),
        })
    }

    /// The subnet it lies in, or its peer alone.
    pub(crate) fn network(&self) -> (IpAddr, u8) {
        match self.peer {
            Some(peer) => (peer, if peer.is_ipv4() { 32 } else { 128 }),
            None => (self.cidr().network().address(), self.prefix_len),
        }
    }

    fn cidr(&self) -> Cidr {
        Cidr::new(self.address, self.prefix_len).expect("checked when the address was added")
    }

    /// Whether packets may be sent from it and received to it.
    pub(crate) fn is_usable(&self, optimistic: bool) -> bool {
        let waiting = self.flags.contains(AddressFlags::TENTATIVE) && !optimistic;
        !waiting && !self.flags.contains(AddressFlags::DUPLICATED)
    }

    fn report(&self) -> AddressReport {
        let Self { address, prefix_len, broadcast, peer, flags, .. } = *self;
        AddressReport { address, prefix_len, broadcast, peer, flags }
    }
}

/// Classful for IPv4, as NetBSD takes it; 64 for IPv6.
pub(crate) const fn default_prefix_len(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(address) => match address.octets()[0] {
            0..=127 => 8,
            128..=191 => 16,
            _ => 24,
        },
        IpAddr::V6(_) => 64,
    }
}

impl Addresses {
    pub(crate) fn new(limit: u32, random: &mut Random) -> Self {
        let (ours, broadcasts) = (random.table_hasher(), random.table_hasher());
        Self {
            entries: BTreeMap::new(),
            places: BTreeMap::new(),
            networks: BTreeMap::new(),
            ours: HashMap::with_hasher(ours),
            broadcasts: HashMap::with_hasher(broadcasts),
            recent: None,
            our_bits: 0,
            broadcast_bits: 0,
            count: 0,
            limit,
            journal: Journal::new(),
        }
    }

    /// The addresses of an interface, in the order in which they were given.
    pub(crate) fn of(&self, interface: u32) -> impl Iterator<Item = &InterfaceAddress> {
        self.entries.range((interface, i64::MIN)..=(interface, i64::MAX)).map(|(_, entry)| entry)
    }

    pub(crate) fn find(&self, interface: u32, address: IpAddr) -> Option<&InterfaceAddress> {
        self.entries.get(&(interface, *self.places.get(&(address, interface))?))
    }

    pub(crate) fn find_mut(&mut self, interface: u32, address: IpAddr) -> Option<&mut InterfaceAddress> {
        self.entries.get_mut(&(interface, *self.places.get(&(address, interface))?))
    }

    /// What ifconfig(8) shows.
    pub(crate) fn reports(&self, interface: u32) -> Vec<AddressReport> {
        self.of(interface).map(InterfaceAddress::report).collect()
    }

    /// Where an address of an interface stands.
    pub(crate) fn place_of(&self, interface: u32, address: IpAddr) -> Option<Place> {
        self.places.get(&(address, interface)).copied().map(Place::At)
    }

    /// Adds an address at a place that is free; ENOBUFS beyond the limit.
    pub(crate) fn insert(
        &mut self,
        interface: u32,
        entry: InterfaceAddress,
        place: Place,
    ) -> Result<(), Errno> {
        if self.count >= self.limit {
            return Err(Errno::NoBufs);
        }
        self.count += 1;
        if let Some(broadcast) = entry.broadcast {
            self.broadcast_bits |= low_bit(broadcast);
            *self.broadcasts.entry(broadcast).or_insert(0) += 1;
        }
        let mut of_interface = self.entries.range((interface, i64::MIN)..=(interface, i64::MAX));
        let place = match place {
            Place::First => of_interface.next().map_or(0, |((_, first), _)| first - 1),
            Place::Last => of_interface.next_back().map_or(0, |((_, last), _)| last + 1),
            Place::At(place) => place,
        };
        self.places.insert((entry.address, interface), place);
        *self.networks.entry((entry.network(), interface)).or_insert(0) += 1;
        self.journal.note(|| (Change::Added, interface, entry.report()));
        self.entries.insert((interface, place), entry);
        Ok(())
    }

    pub(crate) fn remove(&mut self, interface: u32, address: IpAddr) -> Option<InterfaceAddress> {
        let place = self.places.remove(&(address, interface))?;
        let entry = self.entries.remove(&(interface, place))?;
        let network = (entry.network(), interface);
        if let Some(users) = self.networks.get_mut(&network) {
            *users -= 1;
            if *users == 0 {
                self.networks.remove(&network);
            }
        }
        self.count -= 1;
        if let Some(broadcast) = entry.broadcast {
            release(&mut self.broadcasts, broadcast);
        }
        self.journal.note(|| (Change::Deleted, interface, entry.report()));
        Some(entry)
    }

    /// Keeps the set of our addresses in step with the state of one.
    pub(crate) fn follow(&mut self, interface: u32, address: IpAddr, optimistic: bool) {
        let Some(entry) = self.find_mut(interface, address) else { return };
        let report =
            (core::mem::replace(&mut entry.told, entry.flags) != entry.flags).then(|| entry.report());
        let usable = entry.is_usable(optimistic);
        if core::mem::replace(&mut entry.counted, usable) != usable {
            self.set_ours(address, usable);
        }
        report.into_iter().for_each(|report| self.note_flags(interface, report));
    }

    /// Flags that change while an address is being added are a part of that.
    fn note_flags(&mut self, interface: u32, report: AddressReport) {
        match self.journal.last_mut() {
            Some((Change::Added | Change::Changed, index, last))
                if (*index, last.address) == (interface, report.address) =>
            {
                *last = report;
            }
            _ => self.journal.note(|| (Change::Changed, interface, report)),
        }
    }

    /// Makes an address ours, or no longer ours.
    pub(crate) fn set_ours(&mut self, address: IpAddr, ours: bool) {
        if ours {
            *self.ours.entry(address).or_insert(0) += 1;
            self.recent = Some(address);
            self.our_bits |= low_bit(address);
        } else {
            release(&mut self.ours, address);
            self.recent = None;
        }
    }

    /// Whether packets to this address are for us.
    #[inline]
    pub(crate) fn is_ours(&self, address: IpAddr) -> bool {
        self.recent == Some(address)
            || (self.our_bits & low_bit(address) != 0 && self.ours.contains_key(&address))
    }

    /// Whether this is the broadcast address of one of our subnets, or of all.
    #[inline]
    pub(crate) fn is_broadcast(&self, address: IpAddr) -> bool {
        address == IpAddr::V4(Ipv4Addr::BROADCAST)
            || (self.broadcast_bits & low_bit(address) != 0 && self.broadcasts.contains_key(&address))
    }

    /// The first interface that has this address.
    pub(crate) fn interface_of(&self, address: IpAddr) -> Option<u32> {
        self.places.range((address, 0)..=(address, u32::MAX)).next().map(|((_, index), _)| *index)
    }

    /// Which of an interface's addresses to send from: one in the next hop's subnet, else the first; one of another interface if it has none of its
    /// own, as on an unnumbered link (RFC 1812 section 2.2.7).
    pub(crate) fn source_for(&self, interface: u32, next_hop: IpAddr, optimistic: bool) -> Option<IpAddr> {
        let usable = |entry: &&InterfaceAddress| {
            entry.is_usable(optimistic) && entry.address.is_ipv4() == next_hop.is_ipv4()
        };
        let near =
            |entry: &&InterfaceAddress| entry.peer == Some(next_hop) || entry.cidr().contains(next_hop);
        let addresses = || self.of(interface).filter(usable);
        let own = addresses().find(near).or_else(|| addresses().next());
        own.or_else(|| self.lent(usable)).map(|entry| entry.address)
    }

    /// The first address of any interface that others know.
    fn lent(&self, usable: impl Fn(&&InterfaceAddress) -> bool) -> Option<&InterfaceAddress> {
        self.entries.values().filter(usable).find(|entry| !entry.address.is_loopback())
    }

    /// Whether an address lies in a subnet of an interface, or is the far end of its link.
    pub(crate) fn is_near(&self, interface: u32, address: IpAddr) -> bool {
        self.of(interface).any(|entry| entry.peer == Some(address) || entry.cidr().contains(address))
    }

    /// The interface whose link a host is on, by the smallest of our subnets that it lies in.
    pub(crate) fn interface_near(&self, host: IpAddr) -> Option<u32> {
        let width: u8 = if host.is_ipv4() { 32 } else { 128 };
        let network = |len| Cidr::new(host, len).map(|cidr| (cidr.network().address(), len));
        (0..=width).rev().filter_map(network).find_map(|network| self.heir_of(network))
    }

    /// Another interface with an address in this subnet, to take over its route.
    pub(crate) fn heir_of(&self, network: (IpAddr, u8)) -> Option<u32> {
        self.networks.range((network, 0)..=(network, u32::MAX)).next().map(|((_, index), _)| *index)
    }
}

/// The bit of an address in [`Addresses::broadcast_bits`].
const fn low_bit(address: IpAddr) -> u64 {
    let last = match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    };
    1 << (last & 63)
}

fn release(table: &mut HashMap<IpAddr, u32, TableHasher>, address: IpAddr) {
    if let Some(users) = table.get_mut(&address) {
        *users -= 1;
        if *users == 0 {
            table.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        Addresses::new(8, &mut Random::new([0; 16]))
    }

    fn entry(text: &str, prefix_len: Option<u8>) -> InterfaceAddress {
        let address = text.parse().expect("an address");
        let change = AddressChange { address, prefix_len, broadcast: None, peer: None, alias: true };
        InterfaceAddress::from_change(&change, true).expect("consistent")
    }

    #[test]
    fn an_address_without_a_mask_is_classful() {
        let lens =
            ["10.0.0.1", "172.16.0.1", "192.168.1.1", "fe80::1"].map(|text| entry(text, None).prefix_len);
        assert_eq!(lens, [8, 16, 24, 64]);
    }

    #[test]
    fn the_broadcast_address_defaults_to_the_all_ones_host_part() {
        let entry = entry("10.1.2.3", Some(24));
        assert_eq!(entry.broadcast, Some("10.1.2.255".parse().expect("an address")));
        assert_eq!(entry.network(), ("10.1.2.0".parse().expect("an address"), 24));
    }

    #[test]
    fn a_prefix_longer_than_its_family_is_invalid() {
        let address = "10.0.0.1".parse().expect("an address");
        let change =
            AddressChange { address, prefix_len: Some(33), broadcast: None, peer: None, alias: true };
        assert_eq!(InterfaceAddress::from_change(&change, true).map(|_| ()), Err(Errno::Inval));
    }

    #[test]
    fn the_source_lies_in_the_next_hops_subnet_if_one_does() {
        let mut table = addresses();
        table.insert(2, entry("10.0.0.2", Some(24)), Place::Last).expect("room");
        table.insert(2, entry("10.1.0.2", Some(24)), Place::Last).expect("room");
        let source = |hop: &str| {
            table.source_for(2, hop.parse().expect("an address"), true).map(|a| alloc::format!("{a}"))
        };
        assert_eq!(source("10.1.0.9").as_deref(), Some("10.1.0.2"));
        assert_eq!(source("192.0.2.1").as_deref(), Some("10.0.0.2"));
        assert_eq!(source("2001:db8::1"), None);
    }

    #[test]
    fn an_interface_without_an_address_borrows_one_that_others_know() {
        let mut table = addresses();
        table.insert(1, entry("127.0.0.1", Some(8)), Place::Last).expect("room");
        let hop = "10.0.0.9".parse().expect("an address");
        assert_eq!(table.source_for(3, hop, true), None);
        table.insert(2, entry("192.0.2.7", Some(24)), Place::Last).expect("room");
        assert_eq!(table.source_for(3, hop, true), Some("192.0.2.7".parse().expect("an address")));
    }

    #[test]
    fn an_address_on_two_interfaces_is_ours_until_both_lose_it() {
        let mut table = addresses();
        let address = "10.0.0.2".parse().expect("an address");
        table.set_ours(address, true);
        table.set_ours(address, true);
        table.set_ours(address, false);
        assert!(table.is_ours(address));
        table.set_ours(address, false);
        assert!(!table.is_ours(address));
    }

    #[test]
    fn addresses_beyond_the_limit_are_refused() {
        let mut table = Addresses::new(1, &mut Random::new([0; 16]));
        table.insert(1, entry("10.0.0.1", None), Place::Last).expect("room");
        assert_eq!(table.insert(1, entry("10.0.0.2", None), Place::Last), Err(Errno::NoBufs));
    }
}
