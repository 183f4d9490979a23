//! Sockets of a kernel that other processes hold: each is joined to our end of a pair of local sockets, whose other end was passed.
//!
//! A [`Joint`] moves data between the two ([`stream`], [`datagrams`]), or passes on connections ([`listener`]). It does so on the reactor's
//! thread, when its end or its rump socket has news, a bounded amount at a time, in the turn of its client's [`Share`]. What one side does
//! not take stays at the other: no more is taken from the pair than the send queue takes, and no more from the receive queue than the pair.
//! When the last copy of the other end is closed, the rump socket is (docs/adr/0018, docs/notes/passed-sockets.md).
//!
//! *Not* here: what clients ask about sockets (`server::sockets`), and their side of it ([`crate::remote`]).

mod datagrams;
mod listener;
mod share;
mod stream;

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
};

use rumpnet_host::{
    readiness::{Event, Interest as Readiness},
    unix::pair::{self, Pair},
};
use rumpnet_proto::{Errno, passed::SocketKind};
use rumpnet_sockets::{Interest, Net as _};
use rumpnet_stack::{Endpoint, SocketId, Stack, time::Instant};

use crate::{Kernel, errno, reactor::News};
use datagrams::Datagrams;
use listener::Listening;
pub(crate) use share::{Allowance, Share};
use stream::Stream;

/// Octets that a joint moves each way before others have their turn.
const QUANTUM: usize = 256 * 1024;

/// Room for connections that wait to be accepted on a listener's descriptor: a dozen of them. The others wait in the kernel.
const LISTENER_BUFFER: usize = 8 * 1024;

/// A rump socket and our end of its pair.
pub(crate) struct Joint {
    this: Weak<Self>,
    /// By which its client names it.
    pub(crate) number: u64,
    pub(crate) kernel: Kernel,
    pub(crate) endpoint: Endpoint,
    share: Arc<Share>,
    /// The reactor's token of our end; `usize::MAX` without one.
    token: AtomicUsize,
    /// Whether it waits for its turn already.
    queued: AtomicBool,
    /// There may be something to read at our end.
    readable: AtomicBool,
    /// All copies of the other end are closed, or both directions are.
    hung_up: AtomicBool,
    state: Mutex<State>,
    waker: Waker,
}

/// What the lock covers; it is held for system calls on our end, never on another's.
pub(crate) struct State {
    /// Our end, until it is closed.
    ours: Option<OwnedFd>,
    /// The other end, for as long as its buffer is ours to change. While we hold it, nobody hears of its closing.
    theirs: Option<OwnedFd>,
    /// Octets of ours that keep the other end full.
    filled: usize,
    role: Role,
    /// Why it ended; taken once.
    failure: Option<Errno>,
    /// Whether the reactor tells of room at our end.
    awaits_room: bool,
    /// What our client's share was charged.
    allowance: Allowance,
}

/// What a joint does.
enum Role {
    /// Neither connected nor listening.
    Idle,
    /// Its handshake is under way.
    Connecting,
    /// Connections go to its client.
    Listening(Listening),
    /// Bytes go both ways.
    Stream(Stream),
    /// Datagrams go both ways.
    Datagrams(Datagrams),
    /// It has ended.
    Over,
}

/// What a turn has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Turn {
    /// Octets moved.
    moved: usize,
    /// Whether there is more to do at once.
    again: bool,
}

/// Rings a joint when its rump socket has news.
struct Bell(Weak<Joint>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if let Some(joint) = self.0.upgrade() {
            joint.ring();
        }
    }
}

impl News for Joint {
    fn on_event(&self, event: Event) {
        if event.readable || event.failed {
            self.readable.store(true, Ordering::Release);
        }
        if event.failed {
            self.hung_up.store(true, Ordering::Release);
        }
        self.ring();
    }
}

impl Joint {
    /// socket(2) for a client: the joint, and the descriptor to be passed.
    ///
    /// EMFILE beyond the client's sockets or without descriptors, ENOBUFS beyond its buffers, ENFILE beyond the kernel's sockets.
    pub(crate) fn open(
        kernel: &Kernel,
        share: &Arc<Share>,
        kind: SocketKind,
    ) -> Result<(Arc<Self>, OwnedFd), Errno> {
        let allowance = share.allow(kernel)?;
        let pair = match kind {
            SocketKind::Stream => Pair::stream(),
            _ => Pair::messages(),
        };
        let pair = pair.map_err(|error| errno::of_io(&error))?;
        let passed = pair.theirs.try_clone().map_err(|error| errno::of_io(&error))?;
        let (endpoint, role, filled) = match kind {
            SocketKind::Stream => {
                let filled = pair.fill().map_err(|error| errno::of_io(&error))?;
                (Endpoint::Tcp(kernel.enter(|stack, _| stack.tcp_open())?), Role::Idle, filled)
            }
            kind => {
                allowance.give_buffers(&pair).map_err(|error| errno::of_io(&error))?;
                (open_datagrams(kernel, kind)?, Role::Datagrams(Datagrams::default()), 0)
            }
        };
        let theirs = (kind == SocketKind::Stream).then_some(pair.theirs);
        let joint =
            Self::join(kernel, share, endpoint, pair.ours, State::of(role, theirs, filled, allowance))?;
        Ok((joint, passed))
    }

    fn join(
        kernel: &Kernel,
        share: &Arc<Share>,
        endpoint: Endpoint,
        ours: OwnedFd,
        state: State,
    ) -> Result<Arc<Self>, Errno> {
        let number = share.next_number();
        let joint = Arc::new_cyclic(|this: &Weak<Self>| Self {
            this: this.clone(),
            number,
            kernel: kernel.clone(),
            endpoint,
            share: Arc::clone(share),
            token: AtomicUsize::new(usize::MAX),
            queued: AtomicBool::new(false),
            readable: AtomicBool::new(false),
            hung_up: AtomicBool::new(false),
            state: Mutex::new(State { ours: Some(ours), ..state }),
            waker: Waker::from(Arc::new(Bell(this.clone()))),
        });
        // If it cannot be watched, the rump socket goes with it.
        joint.watch().map_err(|error| errno::of_io(&error))?;
        share.adopt(&joint);
        joint.ring();
        Ok(joint)
    }

    fn watch(&self) -> io::Result<()> {
        let state = self.state();
        let Some(ours) = &state.ours else { return Ok(()) };
        let whose: Weak<dyn News> = self.this.clone();
        let token = self.kernel.shared.reactor.watch_news(ours, Readiness::READABLE, whose)?;
        self.token.store(token, Ordering::Release);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives it a turn.
    pub(crate) fn ring(&self) {
        if !self.queued.swap(true, Ordering::AcqRel)
            && let Some(this) = self.this.upgrade()
        {
            self.share.push(this);
            self.kernel.shared.reactor.ring_share(&self.share);
        }
    }

    /// Its turn, on the reactor's thread.
    fn turn(&self) -> Turn {
        self.queued.store(false, Ordering::Release);
        let mut state = self.state();
        let state = &mut *state;
        match &mut state.role {
            Role::Idle if self.is_hung_up() => self.end(state, None),
            Role::Idle | Role::Over => {}
            Role::Connecting => self.await_connection(state),
            Role::Listening(_) => return self.pass_connections(state),
            Role::Stream(_) => return self.move_bytes(state),
            Role::Datagrams(_) => return self.move_datagrams(state),
        }
        Turn { moved: 0, again: matches!(state.role, Role::Stream(_)) }
    }

    /// Its socket, if it is one of datagrams.
    pub(crate) const fn datagram_socket(&self) -> Option<SocketId> {
        match self.endpoint {
            Endpoint::Udp(id) | Endpoint::Raw(id) | Endpoint::Icmp(id) => Some(id),
            Endpoint::Tcp(_) | Endpoint::Packet(_) => None,
        }
    }

    fn is_hung_up(&self) -> bool {
        self.hung_up.load(Ordering::Acquire)
    }

    /// Calls the stack; an answer of EAGAIN has the joint rung when it would be another.
    fn call<R>(
        &self,
        interest: Interest,
        call: impl FnOnce(&mut Stack, Instant) -> Result<R, Errno>,
    ) -> Result<R, Errno> {
        self.kernel.shared.enter_core(|core, now| {
            let result = call(&mut core.stack, now);
            if matches!(result, Err(Errno::Again)) {
                core.sockets.register(self.endpoint, interest, &self.waker);
            }
            result
        })
    }

    /// Whether the reactor shall tell of room at our end.
    fn await_room(&self, state: &mut State, wanted: bool) {
        if std::mem::replace(&mut state.awaits_room, wanted) != wanted
            && let Some(ours) = &state.ours
        {
            let interest = if wanted { Readiness::BOTH } else { Readiness::READABLE };
            self.kernel.shared.reactor.modify_news(ours, self.token.load(Ordering::Acquire), interest);
        }
    }

    /// Ends it: our end is closed, and the rump socket as close(2) closes it. Who asks is told `failure`.
    fn end(&self, state: &mut State, failure: Option<Errno>) {
        if matches!(state.role, Role::Over) {
            return;
        }
        state.role = Role::Over;
        state.failure = failure;
        state.theirs = None;
        if let Some(ours) = state.ours.take() {
            self.kernel.shared.reactor.forget_news(&ours, self.token.swap(usize::MAX, Ordering::AcqRel));
        }
        self.close_socket();
        // Its wakers go with it, but for the lock that is held here.
        self.kernel.forget(self.endpoint);
        self.share.on_ended(self, failure.is_some(), &mut state.allowance);
    }

    fn close_socket(&self) {
        // It cannot be closed twice, since it is once over.
        let _closed = self.kernel.enter(|stack, now| match self.endpoint {
            Endpoint::Tcp(id) => stack.tcp_close(now, id),
            Endpoint::Udp(id) | Endpoint::Raw(id) | Endpoint::Icmp(id) => stack.udp_close(id),
            Endpoint::Packet(id) => stack.packet_close(id),
        });
    }

    /// Its client wants it closed, whoever holds copies of its descriptor.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        self.end(&mut state, None);
    }

    /// Its client is gone: from now on it ends when the last copy of its descriptor is closed.
    pub(crate) fn let_go(&self) {
        self.state().theirs = None;
    }

    /// Takes the error that it ended with, or that its socket has.
    pub(crate) fn take_error(&self) -> Result<Option<Errno>, Errno> {
        let mut state = self.state();
        if matches!(state.role, Role::Over) {
            return Ok(state.failure.take());
        }
        self.kernel.enter(|stack, _| match self.endpoint {
            Endpoint::Tcp(id) => stack.tcp_take_error(id),
            Endpoint::Udp(id) | Endpoint::Raw(id) | Endpoint::Icmp(id) => stack.udp_take_error(id),
            Endpoint::Packet(_) => Ok(None),
        })
    }

    /// Whether its end is closed, which the lock need not be asked.
    fn token_is_gone(&self) -> bool {
        self.token.load(Ordering::Acquire) == usize::MAX
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state().role, Role::Over)
    }
}

fn open_datagrams(kernel: &Kernel, kind: SocketKind) -> Result<Endpoint, Errno> {
    kernel.enter(|stack, _| match kind {
        SocketKind::Raw { protocol } => stack.raw_open(protocol).map(Endpoint::Raw),
        SocketKind::Icmp => stack.icmp_open().map(Endpoint::Icmp),
        SocketKind::Datagram | SocketKind::Stream => stack.udp_open().map(Endpoint::Udp),
    })
}

/// Connecting.
impl Joint {
    /// connect(2) of a stream; it does not wait.
    pub(crate) fn connect(&self, id: SocketId, remote: std::net::SocketAddr) -> Result<(), Errno> {
        let mut state = self.state();
        self.kernel.enter(|stack, now| stack.tcp_connect(now, id, remote))?;
        state.role = Role::Connecting;
        drop(state);
        self.ring();
        Ok(())
    }

    /// Becomes a stream, or ends, when the handshake is over.
    fn await_connection(&self, state: &mut State) {
        if self.is_hung_up() {
            return self.end(state, None);
        }
        let Endpoint::Tcp(id) = self.endpoint else { return };
        let outcome = self.call(Interest::Writable, |stack, _| {
            let readiness = stack.readiness(self.endpoint);
            if !Interest::Writable.is_met(readiness) {
                return Err(Errno::Again);
            }
            match stack.tcp_take_error(id)? {
                Some(error) => Err(error),
                None if readiness.closed => Err(Errno::ConnAborted),
                None => Ok(()),
            }
        });
        match outcome.and_then(|()| state.become_stream().map_err(|error| errno::of_io(&error))) {
            Ok(()) | Err(Errno::Again) => {}
            // What fills the other end was not read, so that closing ours is a reset to it.
            Err(error) => self.end(state, Some(error)),
        }
    }
}

impl State {
    const fn of(role: Role, theirs: Option<OwnedFd>, filled: usize, allowance: Allowance) -> Self {
        Self { ours: None, theirs, filled, role, failure: None, awaits_room: false, allowance }
    }

    /// The other end has room from now on, and its closing is heard of.
    fn become_stream(&mut self) -> io::Result<()> {
        if let (Some(ours), Some(theirs)) = (&self.ours, &self.theirs) {
            pair::drain(ours, std::mem::take(&mut self.filled))?;
            self.allowance.give(theirs)?;
            self.allowance.give(ours)?;
        }
        self.theirs = None;
        self.role = Role::Stream(Stream::default());
        Ok(())
    }
}

impl Drop for Joint {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !matches!(state.role, Role::Over) {
            // Its server is gone with all that it had; the descriptor's holder sees the end.
            if let Some(ours) = state.ours.take() {
                self.kernel.shared.reactor.forget_news(&ours, *self.token.get_mut());
            }
            self.close_socket();
        }
    }
}
