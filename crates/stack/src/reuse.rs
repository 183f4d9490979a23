//! Who may be bound where: SO_REUSEADDR and SO_REUSEPORT.
//!
//! Two sockets of one protocol collide if their ports are equal and their addresses are, or one of them has all addresses. From socket(7),
//! ip(7), tcp(7) and udp(7) of Linux and setsockopt(2) and ip(4) of FreeBSD and NetBSD; what a socket in the first column is to one that is bound after it:
//!
//! | there is | and binds | neither option | SO_REUSEADDR on both | SO_REUSEPORT on both |
//! |---|---|---|---|---|
//! | any socket | another port, or another specific address | yes | yes | yes |
//! | TCP, bound | a colliding address | EADDRINUSE | yes, but the second to listen: EADDRINUSE | yes |
//! | TCP, listening | a colliding address | EADDRINUSE | EADDRINUSE (BSD: yes, if the two differ) | yes; connections are shared by their hash |
//! | TCP, connected or in TIME-WAIT, its listener gone | a colliding address | EADDRINUSE | yes | yes |
//! | UDP, bound to one address | all addresses, or the reverse | EADDRINUSE | yes; the more specific one hears | yes |
//! | UDP, bound or connected | the same address | EADDRINUSE | yes, the last one hears (BSD: EADDRINUSE) | yes; datagrams are shared by their hash |
//!
//! An option on one of the two alone is none: so it is on Linux; BSD looks at the one that binds only. Where they differ it is as on Linux. The
//! two options do not add up to one: both sockets must have the same one. Linux shares a port among sockets of one user alone (FreeBSD: of one
//! user, or of root); a kernel here has one user. A connection has the options of its listener. Broadcasts and multicasts reach every socket that is bound
//! to what they are for.
//!
//! [`Uses`] counts, so that a question costs the same whatever is bound. Not here: which of several sockets a packet is for.

use alloc::collections::BTreeMap;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::numbers::{self, Numbers};

/// The first of the ports that are given to sockets that name none (IANA's dynamic ports, RFC 6056 section 3.2).
pub(crate) const FIRST_EPHEMERAL: u16 = 49_152;

/// The two options, in one byte, since every connection has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reuse(u8);

impl Reuse {
    /// Neither.
    #[cfg(test)]
    pub(crate) const NONE: Self = Self(0);
    const ADDRESS: u8 = 1;
    const PORT: u8 = 2;

    /// SO_REUSEADDR.
    pub(crate) const fn address(self) -> bool {
        self.0 & Self::ADDRESS != 0
    }

    /// SO_REUSEPORT.
    pub(crate) const fn port(self) -> bool {
        self.0 & Self::PORT != 0
    }

    pub(crate) const fn set_address(&mut self, on: bool) {
        self.0 = self.0 & !Self::ADDRESS | (on as u8 * Self::ADDRESS);
    }

    pub(crate) const fn set_port(&mut self, on: bool) {
        self.0 = self.0 & !Self::PORT | (on as u8 * Self::PORT);
    }
}

/// How a socket stands in the way of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) reuse: Reuse,
    pub(crate) listening: bool,
    /// Whether it has a peer, so that its address is taken with that peer alone.
    pub(crate) connected: bool,
}

/// How many sockets are somewhere, and how many of them would not let others be there whose options are such.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Use {
    all: u32,
    unconnected: u32,
    against_address: u32,
    against_port: u32,
    against_both: u32,
}

/// What addresses the sockets of a protocol have.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    /// By port, and by address or for all of them together.
    at: BTreeMap<(u16, Option<IpAddr>), Use>,
    /// The ports that are taken at each address, or at any.
    taken: BTreeMap<Option<IpAddr>, Numbers>,
}

const ALL: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl Use {
    fn change(&mut self, standing: Standing, step: impl Fn(&mut u32)) {
        let address = !standing.reuse.address() || standing.listening;
        let port = !standing.reuse.port();
        let counts = [
            (&mut self.all, true),
            (&mut self.unconnected, !standing.connected),
            (&mut self.against_address, address),
            (&mut self.against_port, port),
            (&mut self.against_both, address && port),
        ];
        counts.into_iter().filter(|(_, counts)| *counts).for_each(|(count, _)| step(count));
    }

    const fn permits(&self, reuse: Reuse) -> bool {
        let against = match (reuse.address(), reuse.port()) {
            (false, false) => self.all,
            (true, false) => self.against_address,
            (false, true) => self.against_port,
            (true, true) => self.against_both,
        };
        against == 0
    }
}

impl Uses {
    /// A socket has an address from now on.
    pub(crate) fn add(&mut self, local: SocketAddr, standing: Standing) {
        for address in [Some(local.ip()), None] {
            let at = self.at.entry((local.port(), address)).or_default();
            at.change(standing, |count| *count += 1);
            if at.all == 1 {
                self.taken.entry(address).or_default().insert(local.port());
            }
        }
    }

    /// A socket that stood so has its address no more.
    pub(crate) fn remove(&mut self, local: SocketAddr, standing: Standing) {
        for address in [Some(local.ip()), None] {
            let place = (local.port(), address);
            let Some(at) = self.at.get_mut(&place) else { continue };
            at.change(standing, |count| *count -= 1);
            if at.all == 0 {
                self.at.remove(&place);
                self.leave(local.port(), address);
            }
        }
    }

    fn leave(&mut self, port: u16, address: Option<IpAddr>) {
        if let Some(taken) = self.taken.get_mut(&address) {
            taken.remove(port);
            if taken.is_empty() {
                self.taken.remove(&address);
            }
        }
    }

    /// The ports that nobody can be bound to beside an address.
    pub(crate) fn taken_beside(&self, address: IpAddr) -> impl Iterator<Item = &Numbers> + Clone {
        places(address).into_iter().filter_map(|address| self.taken.get(&address))
    }

    /// A port that nobody has at an address, whatever his options, from a random place on (RFC 6056 section 3.3.1).
    pub(crate) fn next_free(&self, address: IpAddr, first: u16) -> Option<u16> {
        numbers::next_free(self.taken_beside(address), FIRST_EPHEMERAL, first)
    }

    /// Whether a socket with these options may be bound to an address.
    pub(crate) fn permits(&self, local: SocketAddr, reuse: Reuse) -> bool {
        self.colliding(local).all(|at| at.permits(reuse))
    }

    /// Whether no socket without a peer is bound to an address, so that a connection may have it with any peer.
    pub(crate) fn is_free_to_connect(&self, local: SocketAddr) -> bool {
        self.colliding(local).all(|at| at.unconnected == 0)
    }

    fn colliding(&self, local: SocketAddr) -> impl Iterator<Item = &Use> {
        places(local.ip()).into_iter().filter_map(move |address| self.at.get(&(local.port(), address)))
    }
}

/// Where those are that collide with an address.
fn places(address: IpAddr) -> [Option<IpAddr>; 2] {
    if address.is_unspecified() { [None; 2] } else { [Some(address), Some(ALL)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEITHER: Reuse = Reuse(0);
    const ADDRESS: Reuse = Reuse(1);
    const PORT: Reuse = Reuse(2);
    const BOTH: Reuse = Reuse(3);

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn standing(reuse: Reuse, listening: bool) -> Standing {
        Standing { reuse, listening, connected: false }
    }

    /// Whether a second socket may be bound beside a first one.
    fn beside(first: (&str, Standing), second: (&str, Reuse)) -> bool {
        let mut uses = Uses::default();
        uses.add(at(first.0), first.1);
        let permitted = uses.permits(at(second.0), second.1);
        uses.remove(at(first.0), first.1);
        assert!(uses.at.is_empty() && uses.taken.is_empty(), "nothing is left of it");
        permitted
    }

    #[test]
    fn other_ports_and_other_addresses_never_collide() {
        for second in ["10.0.0.1:81", "10.0.0.2:80"] {
            assert!(beside(("10.0.0.1:80", standing(NEITHER, true)), (second, NEITHER)), "{second}");
        }
    }

    #[test]
    fn colliding_sockets_need_the_same_option_on_both() {
        for (first, second) in [
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("10.0.0.1:80", "0.0.0.0:80"),
            ("0.0.0.0:80", "10.0.0.1:80"),
            ("0.0.0.0:80", "0.0.0.0:80"),
        ] {
            for (one, other, permitted) in [
                (NEITHER, NEITHER, false),
                (NEITHER, ADDRESS, false),
                (ADDRESS, NEITHER, false),
                (ADDRESS, ADDRESS, true),
                (PORT, PORT, true),
                (PORT, NEITHER, false),
                (NEITHER, PORT, false),
                (ADDRESS, PORT, false),
                (BOTH, ADDRESS, true),
                (BOTH, PORT, true),
                (PORT, BOTH, true),
            ] {
                let told = beside((first, standing(one, false)), (second, other));
                assert_eq!(told, permitted, "{first} {one:?}, {second} {other:?}");
            }
        }
    }

    #[test]
    fn a_listener_is_passed_by_so_reuseport_alone() {
        for (one, other, permitted) in
            [(ADDRESS, ADDRESS, false), (PORT, PORT, true), (BOTH, ADDRESS, false), (BOTH, BOTH, true)]
        {
            assert_eq!(beside(("0.0.0.0:80", standing(one, true)), ("10.0.0.1:80", other)), permitted);
        }
    }

    #[test]
    fn a_connection_leaves_its_address_to_other_connections() {
        let mut uses = Uses::default();
        let connected = Standing { reuse: NEITHER, listening: false, connected: true };
        uses.add(at("10.0.0.1:50000"), connected);
        assert!(uses.is_free_to_connect(at("10.0.0.1:50000")));
        assert!(!uses.permits(at("0.0.0.0:50000"), ADDRESS), "but not to be bound");
        uses.add(at("10.0.0.1:50000"), standing(NEITHER, false));
        assert!(!uses.is_free_to_connect(at("10.0.0.1:50000")));
    }
}
