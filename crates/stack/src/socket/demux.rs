//! Which datagram socket a packet is for: connected, then bound to the address, then bound to the port alone.
//!
//! Each step is one look-up in a hash table, whatever the number of sockets.

use core::net::{IpAddr, SocketAddr};

use hashbrown::HashMap;

use super::SocketId;
use crate::random::{Random, TableHasher};

/// The tables.
pub(super) struct Demux {
    connected: HashMap<(SocketAddr, SocketAddr), SocketId, TableHasher>,
    /// The socket at each local address; none where it hears its peer alone.
    bound: HashMap<SocketAddr, Option<SocketId>, TableHasher>,
    /// How many sockets use each port, by any address.
    ports: HashMap<u16, u32, TableHasher>,
}

impl Demux {
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            connected: HashMap::with_hasher(random.table_hasher()),
            bound: HashMap::with_hasher(random.table_hasher()),
            ports: HashMap::with_hasher(random.table_hasher()),
        }
    }

    /// The socket for a datagram to `local` from `remote`.
    pub(super) fn find(&self, local: SocketAddr, remote: SocketAddr) -> Option<SocketId> {
        self.find_connected(local, remote)
            .or_else(|| self.bound.get(&local).copied().flatten())
            .or_else(|| self.bound.get(&any(local)).copied().flatten())
    }

    pub(super) fn find_connected(&self, local: SocketAddr, remote: SocketAddr) -> Option<SocketId> {
        if self.connected.is_empty() { None } else { self.connected.get(&(local, remote)).copied() }
    }

    /// Whether a socket may be bound here: neither the address nor, for the unspecified one, the port is taken.
    pub(super) fn is_free(&self, local: SocketAddr) -> bool {
        if local.ip().is_unspecified() {
            return !self.ports.contains_key(&local.port());
        }
        !self.bound.contains_key(&local) && !self.bound.contains_key(&any(local))
    }

    pub(super) fn bind(&mut self, local: SocketAddr, id: SocketId) {
        self.reserve(local, Some(id));
    }

    fn reserve(&mut self, local: SocketAddr, hears_all: Option<SocketId>) {
        self.bound.insert(local, hears_all);
        *self.ports.entry(local.port()).or_insert(0) += 1;
    }

    pub(super) fn unbind(&mut self, local: SocketAddr) {
        self.bound.remove(&local);
        if let Some(users) = self.ports.get_mut(&local.port()) {
            *users -= 1;
            if *users == 0 {
                self.ports.remove(&local.port());
            }
        }
    }

    /// Binds a socket to hear its peer alone.
    pub(super) fn connect(&mut self, local: SocketAddr, remote: SocketAddr, id: SocketId) {
        self.reserve(local, None);
        self.connected.insert((local, remote), id);
    }

    /// Makes a connected socket hear everybody again.
    pub(super) fn disconnect(&mut self, local: SocketAddr, remote: SocketAddr, id: SocketId) {
        self.connected.remove(&(local, remote));
        self.bound.insert(local, Some(id));
    }
}

fn any(local: SocketAddr) -> SocketAddr {
    let ip = match local.ip() {
        IpAddr::V4(_) => IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, local.port())
}
