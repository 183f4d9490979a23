//! What a socket has of an address: how it stands in the way of others ([`crate::reuse`]), and whether packets for it are taken though it is not ours
//! ([`crate::foreign`]). Both are kept by the same rule, from what a socket is.

use core::net::{IpAddr, SocketAddr};

use rumpnet_wire::ip::Protocol;

use super::{
    Socket, Tcp,
    connection::{Connection, Settings, State},
};
use crate::{
    context::Context,
    random::Random,
    reuse::{FIRST_EPHEMERAL, Reuse, Standing},
    slab::Key,
};

/// A socket's part in an address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tenancy {
    local: SocketAddr,
    /// None for what is not decided yet.
    standing: Option<Standing>,
    foreign: bool,
}

impl Tenancy {
    fn of(local: SocketAddr, settings: &Settings, (listening, connected): (bool, bool)) -> Self {
        let standing = Some(Standing { reuse: settings.reuse, listening, connected });
        Self { local, standing, foreign: settings.bind_any && !local.ip().is_unspecified() }
    }
}

impl Connection {
    pub(super) fn tenancy(&self) -> Tenancy {
        Tenancy::of(self.local, &self.settings, (false, true))
    }
}

impl Socket {
    /// None for a socket that has no address, or none any more.
    pub(super) fn tenancy(&self) -> Option<Tenancy> {
        match self {
            Self::Idle { local, settings } => local.map(|local| Tenancy::of(local, settings, (false, false))),
            Self::Listener(listener) if listener.any.is_some() => None,
            Self::Listener(listener) => Some(Tenancy::of(listener.local, &listener.settings, (true, false))),
            Self::Held(held) if held.ended.is_some() => None,
            Self::Held(held) => {
                let tenancy = Tenancy::of(held.syn.destination, &held.settings, (false, true));
                Some(Tenancy { standing: None, ..tenancy })
            }
            Self::Connection(connection) => (connection.state != State::Closed).then(|| connection.tenancy()),
        }
    }
}

/// The ports that connections get which name none.
const EPHEMERAL: u16 = u16::MAX - FIRST_EPHEMERAL + 1;
/// Of those that others have, so many are tried in one call, so that none holds the kernel for long; the next call begins at another place.
const PORTS_AT_ONCE: u16 = 1024;

impl Tcp {
    /// A port for a connection to `remote` that names none (RFC 6056 section 3.3.1): one that nobody has at its address, else one that others have who
    /// have other peers.
    pub(super) fn determine_port(
        &self,
        random: &mut Random,
        source: IpAddr,
        remote: SocketAddr,
    ) -> Option<u16> {
        let first = random.next_u64() as u16;
        if let Some(port) = self.uses.next_free(source, first) {
            return Some(port);
        }
        let ports = (0..PORTS_AT_ONCE).map(|step| FIRST_EPHEMERAL + first.wrapping_add(step) % EPHEMERAL);
        ports.into_iter().find(|port| {
            let local = SocketAddr::new(source, *port);
            self.find((local, remote)).is_none() && self.uses.is_free_to_connect(local)
        })
    }

    /// A socket has its address from now on.
    pub(super) fn move_in(&mut self, cx: &mut Context, key: Key) {
        let Some(tenancy) = self.sockets.value(key).and_then(Socket::tenancy) else { return };
        tenancy.standing.into_iter().for_each(|standing| self.uses.add(tenancy.local, standing));
        if tenancy.foreign {
            cx.foreign.hold(Protocol::TCP, tenancy.local);
        }
    }

    /// A socket gives up what it had, if it had anything.
    pub(super) fn move_out(&mut self, cx: &mut Context, tenancy: Option<Tenancy>) {
        let Some(tenancy) = tenancy else { return };
        tenancy.standing.into_iter().for_each(|standing| self.uses.remove(tenancy.local, standing));
        if tenancy.foreign {
            cx.foreign.release(Protocol::TCP, tenancy.local);
        }
    }

    /// Changes the options of a socket that say who may share its address.
    pub(super) fn set_reuse(&mut self, cx: &mut Context, key: Key, change: impl FnOnce(&mut Reuse)) {
        let tenancy = self.sockets.value(key).and_then(Socket::tenancy);
        self.move_out(cx, tenancy);
        match self.sockets.value_mut(key) {
            Some(Socket::Idle { settings, .. }) => change(&mut settings.reuse),
            Some(Socket::Listener(listener)) => change(&mut listener.settings.reuse),
            Some(Socket::Held(held)) => change(&mut held.settings.reuse),
            Some(Socket::Connection(connection)) => change(&mut connection.settings.reuse),
            None => {}
        }
        self.move_in(cx, key);
    }
}
