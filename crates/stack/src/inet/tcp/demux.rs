//! Finding the connection or the listener of a segment, and ports that are free. Neither depends on how many there are.

use alloc::collections::BTreeMap;
use core::{
    hash::BuildHasher as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use hashbrown::HashTable;

use crate::{
    random::{PeerTableHasher, Random},
    slab::Key,
};

/// The first of the ports that are given to connections that name none (RFC 6056 section 3.2).
const FIRST_EPHEMERAL: u16 = 49_152;
const EPHEMERAL: u16 = 16_384;
/// The highest address, which ends the range of a port's.
const LAST: Ipv6Addr = Ipv6Addr::new(0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff);

/// The local and the remote address of a connection.
pub(super) type Pair = (SocketAddr, SocketAddr);

/// Who has which addresses.
pub(super) struct Demux {
    /// By local and remote address, which stand in the connections alone; peers fill it.
    connections: HashTable<Key>,
    hasher: PeerTableHasher,
    /// Sockets that hold a local address without a peer: bound or listening.
    bound: BTreeMap<(u16, IpAddr), Key>,
    /// Listeners to any address, by interface and port; those of port 0 hear any port.
    any: BTreeMap<(u32, u16), Key>,
}

impl Demux {
    pub(super) fn new(random: &mut Random) -> Self {
        let hasher = PeerTableHasher::new(random.next_seed());
        Self { connections: HashTable::new(), hasher, bound: BTreeMap::new(), any: BTreeMap::new() }
    }

    /// The connection of a pair of addresses; `pair_of` tells those of a key.
    pub(super) fn connection(&self, pair: Pair, pair_of: impl Fn(Key) -> Option<Pair>) -> Option<Key> {
        let hash = self.hasher.hash_one(pair);
        self.connections.find(hash, |key| pair_of(*key) == Some(pair)).copied()
    }

    /// Who is bound to an address, exactly or by all of ours; a foreign one is none of those.
    pub(super) fn bound(&self, local: SocketAddr, foreign: bool) -> Option<Key> {
        let at = |address| self.bound.get(&(local.port(), address)).copied();
        at(local.ip()).or_else(|| at(any(local.ip())).filter(|_| !foreign))
    }

    /// Who listens to any address at a port that a segment came for by an interface.
    pub(super) fn any(&self, interface: u32, port: u16) -> Option<Key> {
        self.any.get(&(interface, port)).or_else(|| self.any.get(&(interface, 0))).copied()
    }

    /// Lets a listener hear any address; false if there is one at that port already.
    pub(super) fn bind_any(&mut self, interface: u32, port: u16, key: Key) -> bool {
        let free = !self.any.contains_key(&(interface, port));
        if free {
            self.any.insert((interface, port), key);
        }
        free
    }

    pub(super) fn unbind_any(&mut self, interface: u32, port: u16) {
        self.any.remove(&(interface, port));
    }

    /// One of the listeners to any address by an interface; none if there are no more.
    pub(super) fn next_any(&self, interface: u32) -> Option<Key> {
        self.any.range((interface, 0)..=(interface, u16::MAX)).next().map(|(_, key)| *key)
    }

    /// Whether nobody holds an address that `local` would collide with.
    pub(super) fn is_free(&self, local: SocketAddr) -> bool {
        let (port, wanted) = (local.port(), local.ip());
        if wanted.is_unspecified() {
            let all = (port, IpAddr::V4(Ipv4Addr::UNSPECIFIED))..=(port, IpAddr::V6(LAST));
            return self.bound.range(all).next().is_none();
        }
        let is_bound = |address| self.bound.contains_key(&(port, address));
        !is_bound(wanted) && !is_bound(any(wanted))
    }

    pub(super) fn bind(&mut self, local: SocketAddr, key: Key) {
        self.bound.insert((local.port(), local.ip()), key);
    }

    pub(super) fn unbind(&mut self, local: SocketAddr) {
        self.bound.remove(&(local.port(), local.ip()));
    }

    /// Enters a connection that `pair_of` knows already.
    pub(super) fn connect(&mut self, pair: Pair, key: Key, pair_of: impl Fn(Key) -> Option<Pair>) {
        let Self { connections, hasher, .. } = self;
        let hash_of = |known: &Key| pair_of(*known).map_or(0, |pair| hasher.hash_one(pair));
        connections.insert_unique(hasher.hash_one(pair), key, hash_of);
    }

    /// Takes a connection out, whether it is still known elsewhere or not.
    pub(super) fn disconnect(&mut self, pair: Pair, key: Key) {
        let hash = self.hasher.hash_one(pair);
        if let Ok(entry) = self.connections.find_entry(hash, |known| *known == key) {
            entry.remove();
        }
    }

    /// A port for a socket that names none, from a random place on (RFC 6056 section 3.3.2): `is_usable` decides.
    pub(super) fn ephemeral(random: &mut Random, mut is_usable: impl FnMut(u16) -> bool) -> Option<u16> {
        let first = random.below(EPHEMERAL.into()) as u16;
        (0..EPHEMERAL).map(|step| FIRST_EPHEMERAL + (first + step) % EPHEMERAL).find(|port| is_usable(*port))
    }
}

const fn any(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}
