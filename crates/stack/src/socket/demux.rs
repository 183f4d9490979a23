//! Which datagram socket a packet is for: connected, then bound to the address, then bound to the port alone, then one that hears any
//! address.
//!
//! Each step is one look-up in a hash table, or two if there are sockets bound to an interface (SO_BINDTODEVICE), whatever the number of sockets; those
//! of the interface are asked first.

use alloc::{collections::BTreeMap, vec::Vec};
use core::{
    hash::BuildHasher as _,
    net::{IpAddr, SocketAddr},
};

use hashbrown::HashMap;

use super::SocketId;
use crate::{
    link::NO_INTERFACE,
    random::{Random, TableHasher},
};

/// The tables.
pub(super) struct Demux {
    /// By both addresses, and by the interface or 0 for all.
    connected: HashMap<(SocketAddr, SocketAddr, u32), SocketId, TableHasher>,
    /// The sockets at each local address, and interface or 0, that hear everybody, in the order in which they came, and whether they share what comes.
    bound: HashMap<(SocketAddr, u32), Vec<(SocketId, bool)>, TableHasher>,
    /// How many are bound to an interface.
    at_interfaces: u32,
    /// Sockets that hear any address, by interface and port; those of port 0 hear any port.
    any: BTreeMap<(u32, u16), SocketId>,
}

impl Demux {
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            connected: HashMap::with_hasher(random.table_hasher()),
            bound: HashMap::with_hasher(random.table_hasher()),
            at_interfaces: 0,
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
        self.find_connected(local, remote, interface)
            .or_else(|| self.find_bound(local, interface, (local, remote)))
            .or_else(|| if foreign { None } else { self.find_bound(any(local), interface, (local, remote)) })
            .or_else(|| self.find_any(interface, local.port()))
    }

    /// The places of sockets that hear an interface.
    fn places(&self, interface: u32) -> impl Iterator<Item = u32> {
        let own = (self.at_interfaces > 0 && interface != NO_INTERFACE).then_some(interface);
        own.into_iter().chain([NO_INTERFACE])
    }

    /// The one bound to an address; of several the last, unless they share by the hash of the flow.
    fn find_bound(&self, at: SocketAddr, interface: u32, flow: (SocketAddr, SocketAddr)) -> Option<SocketId> {
        let group = self.places(interface).find_map(|place| self.bound.get(&(at, place)))?;
        match group[..] {
            [(only, _)] => Some(only),
            [.., (_, true)] => {
                let hash = self.bound.hasher().hash_one(flow);
                group.get((hash % group.len() as u64) as usize).map(|(id, _)| *id)
            }
            _ => group.last().map(|(id, _)| *id),
        }
    }

    /// All that are bound to a group or a broadcast address, or to all addresses, and the one connected from there with its sender; else the one that
    /// hears any.
    pub(super) fn find_all(&self, local: SocketAddr, remote: SocketAddr, interface: u32) -> Vec<SocketId> {
        let groups = [local, any(local)]
            .into_iter()
            .flat_map(|at| self.places(interface).map(move |place| (at, place)));
        let bound = groups.filter_map(|key| self.bound.get(&key)).flatten();
        let connected = self.find_connected(local, remote, interface);
        let mut all: Vec<_> = bound.map(|(id, _)| *id).chain(connected).collect();
        if all.is_empty() {
            all.extend(self.find_any(interface, local.port()));
        }
        all
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

    pub(super) fn find_connected(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        interface: u32,
    ) -> Option<SocketId> {
        if self.connected.is_empty() {
            return None;
        }
        self.places(interface).find_map(|place| self.connected.get(&(local, remote, place)).copied())
    }

    /// Lets a socket hear everybody at an address, alone, or in place of those before it, or sharing with them.
    pub(super) fn bind(&mut self, local: SocketAddr, interface: u32, id: SocketId, shares: bool) {
        self.at_interfaces += u32::from(interface != NO_INTERFACE);
        self.bound.entry((local, interface)).or_default().push((id, shares));
    }

    /// A socket hears nothing any more at an address where it heard everybody, or a peer.
    pub(super) fn unbind(
        &mut self,
        local: SocketAddr,
        remote: Option<SocketAddr>,
        interface: u32,
        id: SocketId,
    ) {
        self.at_interfaces -= u32::from(interface != NO_INTERFACE);
        if let Some(remote) = remote {
            let pair = (local, remote, interface);
            if self.connected.get(&pair) == Some(&id) {
                self.connected.remove(&pair);
            }
        } else if let Some(group) = self.bound.get_mut(&(local, interface)) {
            group.retain(|(other, _)| *other != id);
            if group.is_empty() {
                self.bound.remove(&(local, interface));
            }
        }
    }

    /// Lets a socket hear its peer alone; of several with one peer the last does.
    pub(super) fn connect(&mut self, local: SocketAddr, remote: SocketAddr, interface: u32, id: SocketId) {
        self.at_interfaces += u32::from(interface != NO_INTERFACE);
        self.connected.insert((local, remote, interface), id);
    }
}

fn any(local: SocketAddr) -> SocketAddr {
    let ip = match local.ip() {
        IpAddr::V4(_) => IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, local.port())
}
