//! Any-address listeners (IP_TRANSPARENT): connection requests to whatever address, held until somebody decides.
//!
//! A SYN that such a listener hears becomes a [`Held`] socket: nothing is answered, and nothing but the SYN is kept, until the user
//! admits it, and it becomes a connection in SYN-RECEIVED, or refuses it with a reset, or closes it as if it had never come. Its peer
//! repeats the SYN meanwhile, and may take it back. Cookies have no place here, since what they leave out is the very thing to decide upon.

use alloc::boxed::Box;
use core::net::{Ipv4Addr, SocketAddr};

use rumpnet_proto::{Counter, DropReason, Errno};
use rumpnet_wire::{ip::Protocol, tcp::Flags};

use super::{Socket, Tcp, connection::Settings, listen::Listener, segment::Segment};
use crate::{
    buffer::Received,
    context::{Context, Timer},
    endpoint::Readiness,
    inet::Inet,
    link::Link,
    slab::Key,
    time::Duration,
    timer::TimerId,
};

/// For so long a request is held: as long as a Linux peer repeats it (tcp_syn_retries), with a little more.
const PATIENCE: Duration = Duration::from_secs(130);

/// Who wants to connect to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Who asks.
    pub peer: SocketAddr,
    /// For which address, ours or not.
    pub original: SocketAddr,
}

/// A connection request that waits for a decision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// As it came the last time.
    pub(super) syn: Segment,
    pub(super) settings: Settings,
    listener: Key,
    /// Why there is nothing left to decide, if the peer or time has done so.
    pub(super) ended: Option<Errno>,
    timer: Option<TimerId>,
    /// Whether somebody has taken it from its listener.
    taken: bool,
    /// Whether news of it wait to be heard.
    pub(super) announced: bool,
}

impl Held {
    /// Ready for whatever is wanted once there is nothing left to decide.
    pub(super) const fn readiness(&self) -> Readiness {
        let ended = self.ended.is_some();
        Readiness {
            readable: ended,
            writable: ended,
            error: ended,
            ended,
            closed: ended,
            urgent: false,
            delivered: ended,
            queued_errors: false,
        }
    }
}

impl Tcp {
    /// listen(2) to any address, by an interface, at a port or for 0 at any. EINVAL if bound, connected or listening, EADDRINUSE.
    pub(crate) fn listen_any(
        &mut self,
        cx: &mut Context,
        key: Key,
        interface: u32,
        port: u16,
        backlog: u32,
    ) -> Result<(), Errno> {
        let socket = self.sockets.value_mut(key).ok_or(Errno::BadF)?;
        let Socket::Idle { local: None, settings } = socket else { return Err(Errno::Inval) };
        if !self.demux.bind_any(interface, port, key) {
            return Err(Errno::AddrInUse);
        }
        let settings = Settings { bind_any: true, ..**settings };
        let local = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let listener = Listener::new(local, Some(interface), settings, backlog.clamp(1, 4096));
        *socket = Socket::Listener(Box::new(listener));
        cx.foreign.hear(interface, Protocol::TCP, port);
        Ok(())
    }

    pub(super) fn is_held(&self, key: Key) -> bool {
        matches!(self.sockets.value(key), Some(Socket::Held(_)))
    }

    fn held_mut(&mut self, key: Key) -> Option<&mut Held> {
        match self.sockets.value_mut(key)? {
            Socket::Held(held) => Some(held),
            _ => None,
        }
    }

    /// Holds a SYN for its listener; false if that one holds enough, or there are too many sockets.
    pub(super) fn hold(&mut self, cx: &mut Context, listener: Key, syn: &Segment) -> bool {
        let Some(queue) = self.listener_mut(listener).filter(|queue| !queue.holds_enough()) else {
            return false;
        };
        let held = Held {
            syn: *syn,
            settings: queue.settings,
            listener,
            ended: None,
            timer: None,
            taken: false,
            announced: false,
        };
        let Ok(key) = self.sockets.insert(Socket::Held(Box::new(held))) else { return false };
        let timer = cx.timers.insert(Timer::Connection(key), cx.now + PATIENCE);
        self.held_mut(key).into_iter().for_each(|held| held.timer = Some(timer));
        self.enter_connection(cx, key);
        if let Some(queue) = self.listener_mut(listener) {
            queue.held += 1;
            queue.flows.push_back(key);
        }
        cx.count(Counter::TcpFlowsHeld);
        self.tell(listener);
        true
    }

    /// A segment of a flow that is held: its SYN again, a reset that takes it back, or nonsense, which is answered as a listener does.
    pub(super) fn receive_for_held(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        key: Key,
        segment: &Segment,
        packet: &Received,
    ) {
        let Some(held) = self.held_mut(key) else { return };
        let (resets, acks) = (segment.has(Flags::RST), segment.has(Flags::ACK));
        let reason = match (resets, acks, segment.has(Flags::SYN)) {
            (true, ..) if segment.sequence == held.syn.sequence + 1 => {
                cx.count(Counter::TcpFlowsAbandoned);
                return self.end_held(cx, key, Errno::ConnAborted);
            }
            (true, ..) => DropReason::TcpResetUnacceptable,
            (_, true, _) => DropReason::TcpNoConnection,
            (.., true) => {
                held.syn = *segment;
                DropReason::TcpFlowHeld
            }
            _ => DropReason::TcpUnexpected,
        };
        cx.drop_received(segment.interface, reason, packet);
        if acks && !resets {
            self.send_reset(cx, link, inet, segment);
        }
    }

    /// Nobody has decided in time.
    pub(super) fn on_held_too_long(&mut self, cx: &mut Context, key: Key) {
        self.held_mut(key).into_iter().for_each(|held| held.timer = None);
        cx.count(Counter::TcpFlowsExpired);
        self.end_held(cx, key, Errno::TimedOut);
    }

    /// There is nothing left to decide: what nobody has taken goes, and whoever has taken it learns of it.
    fn end_held(&mut self, cx: &mut Context, key: Key, reason: Errno) {
        let Some(held) = self.held_mut(key).copied() else { return };
        if !held.taken {
            return self.remove(cx, key);
        }
        let tenancy = self.sockets.value(key).and_then(Socket::tenancy);
        self.move_out(cx, tenancy);
        self.on_held_gone(cx, key, &held);
        if let Some(held) = self.held_mut(key) {
            (held.ended, held.timer) = (Some(reason), None);
        }
        self.tell(key);
    }

    fn leave_listener(&mut self, key: Key, listener: Key, taken: bool) {
        let Some(listener) = self.listener_mut(listener) else { return };
        listener.held = listener.held.saturating_sub(1);
        // It was taken, or it is mostly the oldest that goes.
        if listener.flows.front() == Some(&key) {
            listener.flows.pop_front();
        } else if !taken {
            listener.flows.retain(|flow| *flow != key);
        }
    }

    /// A held request has left the table, or waits there without its addresses for its user to close it.
    pub(super) fn on_held_gone(&mut self, cx: &mut Context, key: Key, held: &Held) {
        if held.ended.is_some() {
            return;
        }
        held.timer.map(|timer| cx.timers.cancel(timer));
        self.demux.disconnect((held.syn.destination, held.syn.source), key);
        self.leave_listener(key, held.listener, held.taken);
    }

    /// A listener has left the table.
    pub(super) fn on_listener_gone(&mut self, cx: &mut Context, key: Key, listener: &Listener) {
        let Some(interface) = listener.any else {
            return self.demux.stop_listening(listener.local, key);
        };
        let port = listener.local.port();
        if self.demux.unbind_any(interface, port, key) {
            cx.foreign.unhear(interface, Protocol::TCP, port);
        }
    }

    /// Nobody will be heard any more, at the end of the kernel: whoever waits for a request learns of it, and of those that he has not decided on.
    pub(super) fn end_waiting(&mut self, cx: &mut Context, key: Key) {
        if let Some(listener) = self.listener_mut(key) {
            listener.deaf = Some(Errno::NetDown);
            self.tell(key);
        } else if self.is_held(key) {
            self.end_held(cx, key, Errno::ConnAborted);
        }
    }

    /// An interface is gone: one of the listeners to any address by it hears nothing any more; false if there is none.
    pub(crate) fn deafen_next(&mut self, cx: &mut Context, interface: u32) -> bool {
        let Some(key) = self.demux.next_any(interface) else { return false };
        if let Some(listener) = self.listener_mut(key) {
            let port = listener.local.port();
            listener.deaf = Some(Errno::Nxio);
            self.demux.unbind_any(interface, port, key);
            cx.foreign.unhear(interface, Protocol::TCP, port);
        }
        self.tell(key);
        true
    }

    /// The oldest request that nobody has taken. EAGAIN if there is none, ENXIO or ENETDOWN if there will be none, EINVAL of another socket.
    pub(crate) fn next_flow(&mut self, key: Key) -> Result<(Key, Flow), Errno> {
        let listener = match self.sockets.value_mut(key).ok_or(Errno::BadF)? {
            Socket::Listener(listener) if listener.any.is_some() => listener,
            _ => return Err(Errno::Inval),
        };
        let none = listener.deaf.unwrap_or(Errno::Again);
        let flow = listener.flows.pop_front().ok_or(none)?;
        let held = self.held_mut(flow).ok_or(Errno::ConnAborted)?;
        held.taken = true;
        Ok((flow, Flow { peer: held.syn.source, original: held.syn.destination }))
    }

    /// Answers a held request: it is a connection from now on, writable when its handshake is complete, as after connect(2). EINVAL if
    /// it is not held, ECONNABORTED or ETIMEDOUT if its peer or time was faster, what routing says.
    pub(crate) fn admit(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &Inet,
        key: Key,
    ) -> Result<(), Errno> {
        let (syn, settings, listener) = self.undecided(key)?;
        if self.is_draining() {
            return Err(Errno::ConnAborted);
        }
        let path = inet.determine_path(cx, link, syn.source.ip(), Some(syn.destination.ip()))?;
        let connection = self.embryo(cx.now, settings, path.mtu, &syn);
        let timer = self.held_mut(key).and_then(|held| held.timer.take());
        timer.map(|timer| cx.timers.cancel(timer));
        let tenancy = self.sockets.value(key).and_then(Socket::tenancy);
        self.move_out(cx, tenancy);
        if let Some(socket) = self.sockets.value_mut(key) {
            // It keeps its place, by which segments find it.
            *socket = Socket::Connection(Box::new(connection));
        }
        self.move_in(cx, key);
        self.leave_listener(key, listener, true);
        cx.count(Counter::TcpFlowsAccepted);
        self.settle(cx, link, inet, key);
        Ok(())
    }

    /// Answers a held request with a reset, and forgets it. Errors as those of [`Self::admit`].
    pub(crate) fn refuse(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        key: Key,
    ) -> Result<(), Errno> {
        let (syn, ..) = self.undecided(key)?;
        self.remove(cx, key);
        cx.count(Counter::TcpFlowsReset);
        self.send_reset(cx, link, inet, &syn);
        Ok(())
    }

    fn undecided(&self, key: Key) -> Result<(Segment, Settings, Key), Errno> {
        match self.sockets.value(key).ok_or(Errno::BadF)? {
            Socket::Held(held) => match held.ended {
                None => Ok((held.syn, held.settings, held.listener)),
                Some(reason) => Err(reason),
            },
            _ => Err(Errno::Inval),
        }
    }

    /// Forgets a held request as if it had never come; repeated, it comes anew.
    pub(super) fn drop_held(&mut self, cx: &mut Context, key: Key) {
        if self.undecided(key).is_ok() {
            cx.count(Counter::TcpFlowsDropped);
        }
        self.remove(cx, key);
    }
}
