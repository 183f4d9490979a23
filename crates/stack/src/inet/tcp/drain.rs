//! The end of a kernel: what was sent is delivered, with the end of each stream; what cannot be is reset, and counted.

use rumpnet_proto::{Counter, Errno};

use super::{
    Limits, Socket, Tcp,
    chores::VISITED_AT_ONCE,
    connection::{Connection, State},
    emit,
};
use crate::{
    buffer::Payload,
    context::{Context, Event},
    inet::Inet,
    link::Link,
    slab::Key,
};

/// What a kernel's end has left undelivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undelivered {
    /// Connections whose peers have not acknowledged all of their stream.
    pub connections: u32,
    /// Bytes of theirs.
    pub bytes: u64,
}

/// How far [`crate::Stack::tcp_reset_some`] has come, and what it has found undelivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resets {
    /// The place of the next socket to be looked at.
    next: u32,
    /// The same of datagram sockets.
    pub(crate) next_datagrams: u32,
    /// What was lost so far.
    pub undelivered: Undelivered,
}

/// The end of a kernel, under way.
pub(super) struct Drain {
    /// The next place to be visited first, and the one after the last.
    next: u32,
    end: u32,
    /// Connections visited whose peers have not got everything.
    left: usize,
    told: bool,
}

impl Drain {
    /// Whether every connection has been told to end.
    pub(super) const fn is_begun(&self) -> bool {
        self.next >= self.end
    }
}

impl Tcp {
    /// Nobody can connect any more, and every connection ends its stream, a slice in each call from now on. [`Event::Drained`] says when all peers
    /// have it.
    pub(crate) fn drain(&mut self) {
        if self.chores.drain.is_none() {
            self.chores.drain = Some(Drain { next: 0, end: self.sockets.places(), left: 0, told: false });
        }
    }

    /// Whether nobody can connect any more.
    pub(super) const fn is_draining(&self) -> bool {
        self.chores.drain.is_some()
    }

    /// How many connections are still to be drained, as far as they have been counted: at least one until all have.
    pub(crate) fn undrained(&self) -> usize {
        let left = |drain: &Drain| drain.left.max(usize::from(!drain.is_begun()));
        self.chores.drain.as_ref().map_or(0, left)
    }

    /// Tells some connections to end their streams.
    pub(super) fn visit_for_drain(&mut self, cx: &mut Context, link: &mut Link, inet: &Inet, budget: u32) {
        let Some(drain) = self.chores.drain.as_mut().filter(|drain| !drain.is_begun()) else { return };
        let places = drain.next..drain.end.min(drain.next + budget);
        drain.next = places.end;
        for place in places {
            let Some(key) = self.sockets.key_at(place) else { continue };
            match self.sockets.value_mut(key) {
                Some(Socket::Listener(_)) => self.abandon_waiting(key),
                Some(Socket::Connection(connection)) => {
                    (connection.fin_wanted, connection.draining) = (true, true);
                    self.chores.drain.iter_mut().for_each(|drain| drain.left += 1);
                    self.tell(key);
                    self.settle(cx, link, inet, key);
                }
                Some(Socket::Idle { .. } | Socket::Held(_)) | None => {}
            }
        }
        self.end_drain(cx);
    }

    /// Something may have ended the part of a connection.
    pub(super) fn follow_drain(&mut self, cx: &mut Context, key: Key) {
        let Some(connection) = self.connection_mut(key) else { return };
        if connection.draining && connection.is_drained() {
            connection.draining = false;
            self.on_drained(cx);
        }
    }

    /// A connection that was to be drained has ended its part, or is gone.
    pub(super) fn on_drained(&mut self, cx: &mut Context) {
        self.chores.drain.iter_mut().for_each(|drain| drain.left -= 1);
        self.end_drain(cx);
    }

    fn end_drain(&mut self, cx: &mut Context) {
        if let Some(drain) = &mut self.chores.drain
            && drain.left == 0
            && drain.is_begun()
            && !core::mem::replace(&mut drain.told, true)
        {
            cx.events.push_back(Event::Drained);
        }
    }

    /// Resets some connections; what their peers have not acknowledged is lost, and told. False when all have been looked at.
    pub(crate) fn reset_some(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        progress: &mut Resets,
    ) -> bool {
        self.over = true;
        let end = self.sockets.places().min(progress.next.saturating_add(VISITED_AT_ONCE));
        for place in progress.next..end {
            let Some(key) = self.sockets.key_at(place) else { continue };
            let Some(connection) = self.connection(key) else {
                self.end_waiting(cx, key);
                continue;
            };
            if connection.state == State::Closed {
                continue;
            }
            if connection.owes_its_peer() {
                progress.undelivered.connections += 1;
                progress.undelivered.bytes += connection.queue.len() as u64;
                cx.count(Counter::TcpUndelivered);
            }
            self.end_with_reset(cx, link, inet, key);
        }
        progress.next = end;
        end < self.sockets.places()
    }

    /// Resets a connection; its user, if he is still there, is told.
    fn end_with_reset(&mut self, cx: &mut Context, link: &mut Link, inet: &mut Inet, key: Key) {
        let Some(connection) = self.connection_mut(key) else { return };
        let (outline, mss) = (connection.reset(), connection.mss);
        let says = !matches!(connection.state, State::TimeWait | State::SynSent);
        connection.end(Some(Errno::ConnAborted));
        self.settle_closed(cx, key);
        let path = inet.determine_path(cx, link, outline.destination.ip(), Some(outline.source.ip()));
        if let Ok(path) = path
            && says
        {
            cx.count(Counter::TcpResetsSent);
            let _counted = emit(cx, link, inet, &path, &outline, Payload::Empty, Some(Limits::of_size(mss)));
        }
    }
}

impl Connection {
    /// Whether the peer has acknowledged all that it will ever get.
    pub(super) fn is_drained(&self) -> bool {
        match self.state {
            State::Closed | State::TimeWait | State::SynSent => true,
            _ => self.fin_sent && self.snd_una == self.snd_nxt,
        }
    }

    /// Whether something of the stream, be it its promised end, has not arrived for sure.
    fn owes_its_peer(&self) -> bool {
        self.queue.len() > 0 || (self.fin_wanted && !self.is_drained())
    }
}
