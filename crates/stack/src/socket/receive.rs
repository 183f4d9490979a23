//! Receiving by datagram sockets: what a program takes out of their queues.

use alloc::vec::Vec;
use core::net::SocketAddr;

use rumpnet_proto::{Errno, SocketReport, Transport};

use super::{Datagram, SocketId, Sockets, datagram::Kind, errors::QueuedError, path::determine_allowed_path};
use crate::{
    context::Context,
    endpoint::Readiness,
    inet::{Inet, tcp::Shutdown},
    link::Link,
};

impl Sockets {
    /// recv(2): the next datagram; EAGAIN if there is none, or the pending error.
    pub(crate) fn receive_udp(
        &mut self,
        cx: &mut Context,
        id: SocketId,
        whole_trains: bool,
    ) -> Result<Datagram, Errno> {
        let socket = self.all.value_mut(id).ok_or(Errno::BadF)?;
        if let Some(datagram) = socket.pop(whole_trains) {
            socket.account(cx);
            return Ok(datagram);
        }
        let empty = socket.determine_empty(cx);
        socket.take_error();
        empty
    }

    /// As [`Self::receive_udp`] until `limit` are taken or none is left; returns how many.
    pub(crate) fn receive_udp_batch(
        &mut self,
        cx: &mut Context,
        id: SocketId,
        out: &mut Vec<Datagram>,
        limit: usize,
    ) -> Result<usize, Errno> {
        out.push(self.receive_udp(cx, id, true)?);
        let socket = self.all.value_mut(id).ok_or(Errno::BadF)?;
        let before = out.len();
        out.extend(core::iter::from_fn(|| socket.pop(true)).take(limit.saturating_sub(1)));
        socket.account(cx);
        Ok(1 + out.len() - before)
    }

    /// The next datagram without taking it (MSG_PEEK).
    pub(crate) fn peek_udp(&self, cx: &Context, id: SocketId) -> Result<Datagram, Errno> {
        let socket = self.all.value(id).ok_or(Errno::BadF)?;
        socket.front().map_or_else(|| socket.determine_empty(cx), Ok)
    }

    /// The next error with its cause (MSG_ERRQUEUE). EAGAIN if there is none.
    pub(crate) fn receive_error(&mut self, cx: &mut Context, id: SocketId) -> Result<QueuedError, Errno> {
        let socket = self.all.value_mut(id).ok_or(Errno::BadF)?;
        let error = socket.errors.as_mut().and_then(super::errors::ErrorQueue::pop).ok_or(Errno::Again)?;
        // The error that is pending is the next one that is kept, as on Linux.
        socket.error = socket.errors.as_ref().and_then(super::errors::ErrorQueue::next_errno);
        socket.account(cx);
        Ok(error)
    }

    /// shutdown(2). ENOTCONN without a peer, though it takes effect all the same, as on Linux.
    pub(crate) fn shut_down(&mut self, id: SocketId, how: Shutdown) -> Result<(), Errno> {
        let socket = self.all.value_mut(id).ok_or(Errno::BadF)?;
        let done = socket.shut_down(how);
        if socket.must_announce() {
            self.dirty.push_back(id);
        }
        done
    }

    /// The local and the remote address.
    pub(crate) fn udp_addresses(
        &self,
        id: SocketId,
    ) -> Result<(Option<SocketAddr>, Option<SocketAddr>), Errno> {
        self.all.value(id).map(|socket| (socket.local, socket.remote)).ok_or(Errno::BadF)
    }

    /// getsockopt(2) of IP_MTU: what the path of a connected socket carries, as far as it is known. ENOTCONN, and what routing says.
    pub(crate) fn udp_path_mtu(
        &self,
        cx: &Context,
        link: &Link,
        inet: &Inet,
        id: SocketId,
    ) -> Result<u32, Errno> {
        let socket = self.all.value(id).ok_or(Errno::BadF)?;
        let remote = socket.remote.ok_or(Errno::NotConn)?.ip();
        match determine_allowed_path(cx, link, inet, (id, socket), remote) {
            Ok(path) => Ok(path.mtu),
            Err(errno) => Err(errno),
        }
    }

    /// Takes the pending error (SO_ERROR).
    pub(crate) fn take_udp_error(&mut self, id: SocketId) -> Result<Option<Errno>, Errno> {
        Ok(self.all.value_mut(id).ok_or(Errno::BadF)?.take_error())
    }

    /// Places of sockets, taken or free.
    pub(crate) const fn places(&self) -> u32 {
        self.all.places()
    }

    /// The socket at a place.
    pub(crate) fn report_at(&self, place: u32) -> Option<SocketReport> {
        let socket = self.all.value(self.all.key_at(place)?)?;
        Some(SocketReport {
            transport: match socket.kind {
                Kind::Udp => Transport::Udp,
                Kind::Icmp => Transport::Icmp,
                Kind::Raw(raw) => Transport::Raw(raw.protocol.0),
            },
            local: socket.local,
            remote: socket.remote,
            receive_queue: socket.received_bytes() as u32,
            send_queue: socket.send_bytes as u32,
            receive_drops: socket.receive_drops,
            state: None,
            connection: None,
        })
    }

    /// What a socket is ready for; one that is closed is ready for everything.
    pub(crate) fn readiness(&self, id: SocketId) -> Readiness {
        let closed = Readiness { readable: true, writable: true, closed: true, ..Readiness::default() };
        self.all.value(id).map_or(closed, super::datagram::Socket::readiness)
    }
}
