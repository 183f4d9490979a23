//! The end of a kernel: what was sent is delivered, with the end of each stream; what cannot be is reset, and counted.

use alloc::{collections::BTreeSet, vec::Vec};

use rumpnet_proto::{Counter, Errno};

use super::{
    Socket, Tcp,
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

impl Tcp {
    /// Nobody can connect any more, and every connection ends its stream. [`Event::Drained`] says when all peers have it.
    pub(crate) fn drain(&mut self, cx: &mut Context, link: &mut Link, inet: &mut Inet) {
        for key in self.keys(|socket| matches!(socket, Socket::Listener(_))) {
            self.reset_waiting(cx, link, inet, key);
            if let Some(Socket::Listener(listener)) = self.sockets.value_mut(key) {
                listener.backlog = 0;
            }
        }
        let connections = self.keys(|socket| matches!(socket, Socket::Connection(_)));
        self.draining = Some(connections.iter().copied().collect());
        for key in connections {
            if let Some(connection) = self.connection_mut(key) {
                connection.fin_wanted = true;
            }
            self.tell(key);
            self.settle(cx, link, inet, key);
            self.follow_drain(cx, key);
        }
        self.end_drain(cx);
    }

    /// How many connections are still to be drained.
    pub(crate) fn undrained(&self) -> usize {
        self.draining.as_ref().map_or(0, BTreeSet::len)
    }

    /// Something may have ended the part of a connection.
    pub(super) fn follow_drain(&mut self, cx: &mut Context, key: Key) {
        if self.draining.is_none() || self.connection(key).is_some_and(|found| !found.is_drained()) {
            return;
        }
        let took = self.draining.as_mut().is_some_and(|draining| draining.remove(&key));
        if took {
            self.end_drain(cx);
        }
    }

    fn end_drain(&mut self, cx: &mut Context) {
        if self.draining.as_ref().is_some_and(BTreeSet::is_empty) {
            cx.events.push_back(Event::Drained);
        }
    }

    /// Resets every connection; what its peer has not acknowledged is lost, and told.
    pub(crate) fn reset_all(&mut self, cx: &mut Context, link: &mut Link, inet: &mut Inet) -> Undelivered {
        let mut undelivered = Undelivered::default();
        for key in self.keys(|socket| matches!(socket, Socket::Connection(_))) {
            let Some(connection) = self.connection(key).filter(|found| found.state != State::Closed) else {
                continue;
            };
            if connection.owes_its_peer() {
                undelivered.connections += 1;
                undelivered.bytes += connection.queue.len() as u64;
                cx.count(Counter::TcpUndelivered);
            }
            self.end_with_reset(cx, link, inet, key);
        }
        undelivered
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
            let _counted = emit(cx, link, inet, &path, &outline, Payload::Empty, Some((mss, None, 0)));
        }
    }

    fn keys(&self, wanted: impl Fn(&Socket) -> bool) -> Vec<Key> {
        self.sockets.iter().filter(|(_, socket)| wanted(socket)).map(|(key, _)| key).collect()
    }
}

impl Connection {
    /// Whether the peer has acknowledged all that it will ever get.
    fn is_drained(&self) -> bool {
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
