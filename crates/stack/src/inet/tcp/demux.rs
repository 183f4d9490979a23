//! Finding the connection or the listener of a segment, and ports that are free. Neither depends on how many there are.

use alloc::collections::BTreeMap;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hashbrown::HashMap;

use crate::{
    random::{PeerTableHasher, Random},
    slab::Key,
};

/// The first of the ports that are given to connections that name none (RFC 6056 section 3.2).
const FIRST_EPHEMERAL: u16 = 49_152;
const EPHEMERAL: u16 = 16_384;
/// The highest address, which ends the range of a port's.
const LAST: Ipv6Addr = Ipv6Addr::new(0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff);

/// Who has which addresses.
pub(super) struct Demux {
    /// By local and remote address; peers fill it.
    connections: HashMap<(SocketAddr, SocketAddr), Key, PeerTableHasher>,
    /// Sockets that hold a local address without a peer: bound or listening.
    bound: BTreeMap<(u16, IpAddr), Key>,
}

impl Demux {
    pub(super) fn new(random: &mut Random) -> Self {
        let hasher = PeerTableHasher::new(random.next_seed());
        Self { connections: HashMap::with_hasher(hasher), bound: BTreeMap::new() }
    }

    pub(super) fn connection(&self, local: SocketAddr, remote: SocketAddr) -> Option<Key> {
        self.connections.get(&(local, remote)).copied()
    }

    /// Who is bound to an address, exactly or by any.
    pub(super) fn bound(&self, local: SocketAddr) -> Option<Key> {
        let at = |address| self.bound.get(&(local.port(), address)).copied();
        at(local.ip()).or_else(|| at(any(local.ip())))
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

    pub(super) fn connect(&mut self, local: SocketAddr, remote: SocketAddr, key: Key) {
        self.connections.insert((local, remote), key);
    }

    pub(super) fn disconnect(&mut self, local: SocketAddr, remote: SocketAddr) {
        self.connections.remove(&(local, remote));
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
