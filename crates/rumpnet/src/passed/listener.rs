//! Connections of a listener, each passed to its client with a descriptor of its own.
//!
//! A few wait on the listener's descriptor; the others wait in the kernel, as many as listen(2) allows. Copies of the descriptor take each its
//! own, since each is one message.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd as _, OwnedFd},
};

use rumpnet_host::unix::pair::{self, Pair};
use rumpnet_proto::{Errno, passed::Accepted};
use rumpnet_sockets::{Interest, Net as _};
use rumpnet_stack::{Endpoint, SocketId};

use super::{Allowance, Joint, LISTENER_BUFFER, Role, Share, State, Turn, stream::Stream};
use crate::errno;

/// A listener's work.
#[derive(Default)]
pub(super) struct Listening {
    /// A connection for which there was no room on the descriptor.
    waiting: Option<(Accepted, OwnedFd)>,
}

/// Why no more connections are passed.
enum Halt {
    /// None has come, or there is no room on the descriptor.
    Waits {
        /// Whether room on the descriptor is what is waited for.
        for_room: bool,
    },
    /// There is no socket left for one.
    Starves,
    /// The listener is no more, for this reason.
    Ends(Option<Errno>),
}

impl Joint {
    /// listen(2): connections go to the descriptor from now on, which stays unwritable.
    pub(crate) fn listen(&self, id: SocketId, backlog: u32) -> Result<(), Errno> {
        let mut state = self.state();
        self.kernel.enter(|stack, _| stack.tcp_listen(id, backlog))?;
        if !matches!(state.role, Role::Listening(_)) {
            if let Some(ours) = &state.ours {
                pair::set_send_buffer(ours, LISTENER_BUFFER).map_err(|error| errno::of_io(&error))?;
            }
            state.role = Role::Listening(Listening::default());
            // Now its closing is heard of.
            state.theirs = None;
        }
        drop(state);
        self.ring();
        Ok(())
    }

    /// Passes on what has been accepted.
    pub(super) fn pass_connections(&self, state: &mut State) -> Turn {
        if self.is_hung_up() {
            self.end(state, None);
            return Turn::default();
        }
        let Endpoint::Tcp(id) = self.endpoint else { return Turn::default() };
        let Role::Listening(listening) = &mut state.role else { return Turn::default() };
        let Some(ours) = &state.ours else { return Turn::default() };
        match self.pass_all(id, listening, ours) {
            Halt::Waits { for_room } => self.await_room(state, for_room),
            Halt::Starves => self.share.starve(&self.this),
            Halt::Ends(error) => self.end(state, error),
        }
        Turn::default()
    }

    fn pass_all(&self, id: SocketId, listening: &mut Listening, ours: &OwnedFd) -> Halt {
        loop {
            if let Some((accepted, descriptor)) = &listening.waiting {
                let bytes = accepted.to_bytes();
                match pair::send_with(ours, &[IoSlice::new(&bytes)], Some(descriptor.as_fd())) {
                    Ok(_) => listening.waiting = None,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return Halt::Waits { for_room: true };
                    }
                    Err(_) => return Halt::Ends(None),
                }
            }
            let readable = self.call(Interest::Readable, |stack, _| {
                if stack.readiness(self.endpoint).readable { Ok(()) } else { Err(Errno::Again) }
            });
            if readable.is_err() {
                return Halt::Waits { for_room: false };
            }
            match self.accept(id) {
                Ok(accepted) => listening.waiting = Some(accepted),
                // The peer has gone meanwhile.
                Err(Errno::Again | Errno::ConnAborted) => {}
                Err(Errno::MFile | Errno::NFile | Errno::NoBufs) => return Halt::Starves,
                Err(error) => return Halt::Ends(Some(error)),
            }
        }
    }

    /// Everything that a connection needs is there before it is taken.
    fn accept(&self, id: SocketId) -> Result<(Accepted, OwnedFd), Errno> {
        let prepared = Prepared::new(self)?;
        let (socket, peer) = self.kernel.enter(|stack, _| stack.tcp_accept(id))?;
        let Prepared { pair, allowance } = prepared;
        let state = State::of(Role::Stream(Stream::default()), None, 0, allowance);
        let share = &self.share;
        let joint = Self::join(&self.kernel, share, Endpoint::Tcp(socket), pair.ours, state)?;
        Ok((Accepted { socket: joint.number, peer }, pair.theirs))
    }
}

/// What a connection needs beside itself.
struct Prepared {
    pair: Pair,
    allowance: Allowance,
}

impl Prepared {
    fn new(listener: &Joint) -> Result<Self, Errno> {
        let allowance = Share::allow(&listener.share, &listener.kernel)?;
        let prepare = || {
            let pair = Pair::stream()?;
            allowance.give_buffers(&pair)?;
            Ok::<_, io::Error>(pair)
        };
        let pair = prepare().map_err(|error| errno::of_io(&error))?;
        Ok(Self { pair, allowance })
    }
}
