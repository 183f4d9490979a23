//! Which datagram socket a packet is for: connected, then bound to the address, then bound to the port alone, then one that hears any
//! address.
//!
//! Each step is one look-up in a hash table, whatever the number of sockets.

use alloc::collections::BTreeMap;
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
    /// Sockets that hear any address, by interface and port; those of port 0 hear any port.
    any: BTreeMap<(u32, u16), SocketId>,
}

impl Demux {
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            connected: HashMap::with_hasher(random.table_hasher()),
            bound: HashMap::with_hasher(random.table_hasher()),
            ports: HashMap::with_hasher(random.table_hasher()),
            any: BTreeMap::new(),
        }
    }

    /// The socket for a datagram to `local` from `remote`, which came by an interface; a port of all our addresses is none of a foreign one.
    pub(super) fn find(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        (interface, foreign): (u32, bool),
    ) -> Option<SocketId> {
        self.find_connected(local, remote)
            .or_else(|| self.bound.get(&local).copied().flatten())
            .or_else(|| self.bound.get(&any(local)).copied().flatten().filter(|_| !foreign))
            .or_else(|| self.find_any(interface, local.port()))
    }

    fn find_any(&self, interface: u32, port: u16) -> Option<SocketId> {
        if self.any.is_empty() {
            return None;
        }
        self.any.get(&(interface, port)).or_else(|| self.any.get(&(interface, 0))).copied()
    }

    /// Lets a socket hear any address; false if there is one at that port already.
    pub(super) fn bind_any(&mut self, interface: u32, port: u16, id: SocketId) -> bool {
        let free = !self.any.contains_key(&(interface, port));
        if free {
            self.any.insert((interface, port), id);
        }
        free
    }

    pub(super) fn unbind_any(&mut self, interface: u32, port: u16) {
        self.any.remove(&(interface, port));
    }

    /// One of the sockets that hear any address by an interface; none if there are no more.
    pub(super) fn next_any(&self, interface: u32) -> Option<SocketId> {
        self.any.range((interface, 0)..=(interface, u16::MAX)).next().map(|(_, id)| *id)
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
