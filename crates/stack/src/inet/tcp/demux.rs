//! Finding the connection or the listener of a segment, which does not depend on how many there are.

use alloc::{collections::BTreeMap, vec::Vec};
use core::{
    hash::BuildHasher as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use hashbrown::HashTable;

use crate::{
    random::{PeerTableHasher, Random},
    slab::Key,
};

/// The local and the remote address of a connection.
pub(super) type Pair = (SocketAddr, SocketAddr);

/// Who has which addresses.
pub(super) struct Demux {
    /// By local and remote address, which stand in the connections alone; peers fill it.
    connections: HashTable<Key>,
    hasher: PeerTableHasher,
    /// Listeners at each address; several share its connections.
    listeners: BTreeMap<(u16, IpAddr), Vec<Key>>,
    /// Listeners to any address, by interface and port; those of port 0 hear any port.
    any: BTreeMap<(u32, u16), Key>,
}

impl Demux {
    pub(super) fn new(random: &mut Random) -> Self {
        let hasher = PeerTableHasher::new(random.next_seed());
        Self { connections: HashTable::new(), hasher, listeners: BTreeMap::new(), any: BTreeMap::new() }
    }

    /// The connection of a pair of addresses; `pair_of` tells those of a key.
    pub(super) fn connection(&self, pair: Pair, pair_of: impl Fn(Key) -> Option<Pair>) -> Option<Key> {
        let hash = self.hasher.hash_one(pair);
        self.connections.find(hash, |key| pair_of(*key) == Some(pair)).copied()
    }

    /// Who listens at an address, exactly or at all of ours, of which a foreign one is none. Several listeners share flows by their hash.
    pub(super) fn listener(&self, local: SocketAddr, foreign: bool, flow: impl Fn() -> u64) -> Option<Key> {
        let at = |address| self.listeners.get(&(local.port(), address));
        let group = at(local.ip()).or_else(|| at(any(local.ip())).filter(|_| !foreign))?;
        match group[..] {
            [only] => Some(only),
            _ => group.get((flow() % group.len() as u64) as usize).copied(),
        }
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

    /// A listener hears any address no more; false if it did not.
    pub(super) fn unbind_any(&mut self, interface: u32, port: u16, key: Key) -> bool {
        let heard = self.any.get(&(interface, port)) == Some(&key);
        if heard {
            self.any.remove(&(interface, port));
        }
        heard
    }

    /// One of the listeners to any address by an interface; none if there are no more.
    pub(super) fn next_any(&self, interface: u32) -> Option<Key> {
        self.any.range((interface, 0)..=(interface, u16::MAX)).next().map(|(_, key)| *key)
    }

    pub(super) fn listen(&mut self, local: SocketAddr, key: Key) {
        self.listeners.entry((local.port(), local.ip())).or_default().push(key);
    }

    pub(super) fn stop_listening(&mut self, local: SocketAddr, key: Key) {
        let place = (local.port(), local.ip());
        if let Some(group) = self.listeners.get_mut(&place) {
            group.retain(|other| *other != key);
            if group.is_empty() {
                self.listeners.remove(&place);
            }
        }
    }

    /// Enters a connection that `pair_of` knows already.
    pub(super) fn connect(&mut self, pair: Pair, key: Key, pair_of: impl Fn(Key) -> Option<Pair>) {
        let Self { connections, hasher, .. } = self;
        let hash_of = |known: &Key| pair_of(*known).map_or(0, |pair| hasher.hash_one(pair));
        connections.insert_unique(hasher.hash_one(pair), key, hash_of);
    }

    /// Takes a connection out, whether it is still known elsewhere or not; false if it was out already.
    pub(super) fn disconnect(&mut self, pair: Pair, key: Key) -> bool {
        let hash = self.hasher.hash_one(pair);
        self.connections.find_entry(hash, |known| *known == key).map(|entry| entry.remove()).is_ok()
    }
}

const fn any(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}
