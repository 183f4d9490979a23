//! Finding the connection or the listener of a segment, and ports that are free. Neither depends on how many there are.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hashbrown::HashMap;

use crate::{
    random::{PeerTableHasher, Random},
    slab::Key,
};

/// The first of the ports that are given to connections that name none (RFC 6056 section 3.2).
const FIRST_EPHEMERAL: u16 = 49_152;
const EPHEMERAL: u16 = 16_384;

/// Who has which addresses.
pub(super) struct Demux {
    /// By local and remote address; peers fill it.
    connections: HashMap<(SocketAddr, SocketAddr), Key, PeerTableHasher>,
    /// Sockets that hold a local address without a peer: bound or listening.
    bound: HashMap<SocketAddr, Key, PeerTableHasher>,
    /// How many hold a port, with or without a peer.
    ports: HashMap<u16, u32, PeerTableHasher>,
}

impl Demux {
    pub(super) fn new(random: &mut Random) -> Self {
        let mut hasher = || PeerTableHasher::new(random.next_seed());
        Self {
            connections: HashMap::with_hasher(hasher()),
            bound: HashMap::with_hasher(hasher()),
            ports: HashMap::with_hasher(hasher()),
        }
    }

    pub(super) fn connection(&self, local: SocketAddr, remote: SocketAddr) -> Option<Key> {
        self.connections.get(&(local, remote)).copied()
    }

    /// Who is bound to an address, exactly or by any.
    pub(super) fn bound(&self, local: SocketAddr) -> Option<Key> {
        let exact = self.bound.get(&local).copied();
        exact.or_else(|| self.bound.get(&SocketAddr::new(any(local.ip()), local.port())).copied())
    }

    /// Whether nobody holds an address that `local` would collide with.
    pub(super) fn is_free(&self, local: SocketAddr) -> bool {
        if !self.ports.contains_key(&local.port()) {
            return true;
        }
        // The rare case: somebody has the port, perhaps at another address.
        let collides = |other: &SocketAddr| {
            other.port() == local.port()
                && (other.ip() == local.ip() || other.ip().is_unspecified() || local.ip().is_unspecified())
        };
        !self.bound.keys().any(collides)
    }

    pub(super) fn bind(&mut self, local: SocketAddr, key: Key) {
        self.bound.insert(local, key);
        *self.ports.entry(local.port()).or_insert(0) += 1;
    }

    pub(super) fn unbind(&mut self, local: SocketAddr) {
        if self.bound.remove(&local).is_some() {
            self.release(local.port());
        }
    }

    pub(super) fn connect(&mut self, local: SocketAddr, remote: SocketAddr, key: Key) {
        self.connections.insert((local, remote), key);
        *self.ports.entry(local.port()).or_insert(0) += 1;
    }

    pub(super) fn disconnect(&mut self, local: SocketAddr, remote: SocketAddr) {
        if self.connections.remove(&(local, remote)).is_some() {
            self.release(local.port());
        }
    }

    fn release(&mut self, port: u16) {
        if let Some(count) = self.ports.get_mut(&port) {
            *count -= 1;
            if *count == 0 {
                self.ports.remove(&port);
            }
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
