//! UDP sockets for async code, shaped as tokio's; they need no runtime, only somebody who polls.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use rumpnet_stack::SocketOption;

use crate::{
    Interest, Meta, ToSocketAddrs, Train,
    handle::{DatagramHandle as _, Datagrams},
};

/// A UDP socket. Clones are the same socket; it is closed with the last of them.
pub struct UdpSocket<N: Datagrams> {
    udp: Arc<N::Udp>,
}

impl<N: Datagrams> Clone for UdpSocket<N> {
    fn clone(&self) -> Self {
        Self { udp: self.udp.clone() }
    }
}

impl<N: Datagrams> UdpSocket<N> {
    /// socket(2) and bind(2). AddrNotAvailable for an address that is not the kernel's, AddrInUse, ENFILE beyond the limit.
    pub fn bind(net: &N, local: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(Self { udp: Arc::new(N::Udp::bind(net, local)?) })
    }

    /// As [`Self::bind`], with options that must be set before: SO_REUSEADDR, SO_REUSEPORT, SO_BINDANY.
    pub fn bind_with(net: &N, local: impl ToSocketAddrs, options: &[SocketOption]) -> io::Result<Self> {
        Ok(Self { udp: Arc::new(N::Udp::bind_with(net, local, options)?) })
    }

    /// A socket that hears every datagram that comes by an interface to any unicast address, the kernel's or not, at `port`, or with 0 at any
    /// (IP_TRANSPARENT); sockets bound to what a datagram is for win. [`Meta::destination`] says whom it was for, and `send_from`
    /// answers from there. ENXIO without that interface, AddrInUse, ENFILE beyond the limit.
    pub fn bind_any(net: &N, interface: &str, port: u16) -> io::Result<Self> {
        Ok(Self { udp: Arc::new(N::Udp::bind_any(net, interface, port)?) })
    }

    pub(crate) const fn from_core(udp: Arc<N::Udp>) -> Self {
        Self { udp }
    }

    /// connect(2): fixes the peer. No packet is sent.
    pub fn connect(&self, remote: impl ToSocketAddrs) -> io::Result<()> {
        self.udp.connect(remote)
    }

    /// Sends a datagram to `to`, waiting for room.
    pub async fn send_to(&self, payload: &[u8], to: impl ToSocketAddrs) -> io::Result<usize> {
        let to = to.to_socket_addr()?;
        self.when(Interest::Writable, || self.udp.send(payload, Some(to))).await
    }

    /// Sends a datagram to `to` as if from `from`, be that an address of the kernel's or not. InvalidInput unless the socket is [`Self::bind_any`]'s,
    /// AddrNotAvailable for a source that no host has.
    pub async fn send_from(&self, payload: &[u8], from: SocketAddr, to: SocketAddr) -> io::Result<usize> {
        self.when(Interest::Writable, || self.udp.send_from(payload, from, to)).await
    }

    /// Sends a train: datagrams of `segment` bytes each, the last one may be shorter, in one super-frame (UDP_SEGMENT).
    ///
    /// The bytes are not copied.
    pub async fn send_train(&self, payload: Bytes, segment: u16, to: Option<SocketAddr>) -> io::Result<()> {
        self.when(Interest::Writable, || self.udp.send_train(payload.clone(), segment, to)).await
    }

    /// Sends many datagrams and returns how many there was room for, at least one; equal ones in a row leave as one train.
    pub async fn send_batch(&self, payloads: &[&[u8]], to: Option<SocketAddr>) -> io::Result<usize> {
        self.when(Interest::Writable, || self.udp.send_batch(payloads, to)).await
    }

    /// Receives a datagram; what does not fit into `buffer` is lost.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (len, meta) = self.recv_meta(buffer).await?;
        Ok((len, meta.source))
    }

    /// Receives a train in one piece (UDP_GRO): the bytes of all its datagrams, how many of them each but the last has, and what is known of
    /// it. What does not fit into `buffer` is lost.
    pub async fn recv_train(&self, buffer: &mut [u8]) -> io::Result<(usize, usize, Meta)> {
        self.when(Interest::Readable, || self.udp.receive_train(buffer)).await
    }

    /// Receives up to `limit` trains without copying them, at least one.
    pub async fn recv_trains(&self, out: &mut Vec<Train>, limit: usize) -> io::Result<usize> {
        self.when(Interest::Readable, || self.udp.receive_trains(out, limit)).await
    }

    /// Looks at the next datagram without taking it (MSG_PEEK).
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (len, meta) = self.peek_meta(buffer).await?;
        Ok((len, meta.source))
    }

    /// Receives a datagram if there is one; WouldBlock otherwise.
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (len, meta) = self.udp.receive(buffer)?;
        Ok((len, meta.source))
    }

    /// Sends a datagram if there is room; WouldBlock otherwise.
    pub fn try_send_to(&self, payload: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.udp.send(payload, Some(to))
    }

    /// Receives into `buffer`; the task is woken when there is something.
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let (len, meta) = ready!(self.udp.poll_when(cx, Interest::Readable, || self.udp.receive(buffer)))?;
        Poll::Ready(Ok((len, meta.source)))
    }

    /// Sends a datagram; the task is woken when there is room.
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        payload: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.udp.poll_when(cx, Interest::Writable, || self.udp.send(payload, Some(to)))
    }

    async_calls!();
    datagram_calls!();
}
