//! Who may be bound where among datagram sockets, of which some are bound to an interface, too (SO_BINDTODEVICE).
//!
//! Two sockets of different interfaces never collide, as on Linux; one without an interface collides with those of every interface.

use alloc::collections::BTreeMap;
use core::net::{IpAddr, SocketAddr};

use crate::{
    numbers,
    reuse::{FIRST_EPHEMERAL, Reuse, Standing, Uses},
};

/// What addresses the sockets have, by interface.
#[derive(Debug, Default)]
pub(super) struct PortUses {
    /// Of those without an interface.
    free: Uses,
    /// Of all those with one.
    bound: Uses,
    /// The same, each by itself.
    at: BTreeMap<u32, (Uses, u32)>,
}

impl PortUses {
    /// A socket has an address from now on.
    pub(super) fn add(&mut self, local: SocketAddr, interface: Option<u32>, standing: Standing) {
        let Some(index) = interface else { return self.free.add(local, standing) };
        self.bound.add(local, standing);
        let (uses, count) = self.at.entry(index).or_default();
        uses.add(local, standing);
        *count += 1;
    }

    /// A socket that stood so has its address no more.
    pub(super) fn remove(&mut self, local: SocketAddr, interface: Option<u32>, standing: Standing) {
        let Some(index) = interface else { return self.free.remove(local, standing) };
        self.bound.remove(local, standing);
        if let Some((uses, count)) = self.at.get_mut(&index) {
            uses.remove(local, standing);
            *count -= 1;
            if *count == 0 {
                self.at.remove(&index);
            }
        }
    }

    /// Whether a socket with these options may be bound to an address.
    pub(super) fn permits(&self, local: SocketAddr, interface: Option<u32>, reuse: Reuse) -> bool {
        self.beside(interface).all(|uses| uses.permits(local, reuse))
    }

    /// A port that nobody has beside whom a socket would be bound, from a random place on.
    pub(super) fn next_free(&self, address: IpAddr, interface: Option<u32>, first: u16) -> Option<u16> {
        let taken = self.beside(interface).flat_map(|uses| uses.taken_beside(address));
        numbers::next_free(taken, FIRST_EPHEMERAL, first)
    }

    /// All with whom a socket of an interface, or of none, can collide.
    fn beside(&self, interface: Option<u32>) -> impl Iterator<Item = &Uses> + Clone {
        let others = match interface {
            None => Some(&self.bound),
            Some(index) => self.at.get(&index).map(|(uses, _)| uses),
        };
        core::iter::once(&self.free).chain(others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDING: Standing = Standing { reuse: Reuse::NONE, listening: false, connected: false };

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn sockets_of_different_interfaces_never_collide() {
        let mut uses = PortUses::default();
        uses.add(at("0.0.0.0:53"), Some(2), STANDING);
        let permits = |uses: &PortUses, local, interface| uses.permits(at(local), interface, Reuse::NONE);
        assert!(permits(&uses, "0.0.0.0:53", Some(3)));
        assert!(!permits(&uses, "0.0.0.0:53", Some(2)));
        assert!(!permits(&uses, "10.0.0.1:53", None), "one without an interface collides with all");
        uses.remove(at("0.0.0.0:53"), Some(2), STANDING);
        assert!(permits(&uses, "10.0.0.1:53", None));
        assert!(uses.at.is_empty());
    }

    #[test]
    fn a_port_is_free_if_nobody_has_it_beside_whom_it_would_be() {
        let mut uses = PortUses::default();
        uses.add(at("0.0.0.0:49152"), Some(2), STANDING);
        uses.add(at("10.0.0.1:49153"), None, STANDING);
        let next = |interface, address: [u8; 4]| uses.next_free(address.into(), interface, 0);
        assert_eq!(next(None, [0, 0, 0, 0]), Some(49_154));
        assert_eq!(next(None, [10, 0, 0, 2]), Some(49_153));
        assert_eq!(next(Some(3), [10, 0, 0, 1]), Some(49_152));
    }
}
