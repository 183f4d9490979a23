//! UDP sockets for threads, shaped as `std::net`'s.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use rumpnet_stack::SocketOption;

use super::mode::Mode;
use crate::{
    Interest, Meta, ToSocketAddrs, Train,
    handle::{DatagramHandle as _, DatagramWait as _, Datagrams, WaitDatagrams},
};

/// A UDP socket whose calls wait in place.
pub struct UdpSocket<N: Datagrams> {
    udp: Arc<N::Udp>,
    mode: Arc<Mode>,
}

impl<N: WaitDatagrams> UdpSocket<N> {
    /// socket(2) and bind(2). AddrNotAvailable for an address that is not the kernel's, AddrInUse, ENFILE beyond the limit.
    pub fn bind(net: &N, local: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(Self { udp: Arc::new(N::Udp::bind(net, local)?), mode: Arc::new(Mode::default()) })
    }

    /// As [`Self::bind`], with options that must be set before: SO_REUSEADDR, SO_REUSEPORT, SO_BINDANY.
    pub fn bind_with(net: &N, local: impl ToSocketAddrs, options: &[SocketOption]) -> io::Result<Self> {
        Ok(Self { udp: Arc::new(N::Udp::bind_with(net, local, options)?), mode: Arc::default() })
    }

    /// A socket that hears every datagram that comes by an interface to any unicast address, the kernel's or not, at `port`, or with 0 at any
    /// (IP_TRANSPARENT); sockets bound to what a datagram is for win. [`Meta::destination`] says whom it was for, and `send_from`
    /// answers from there. ENXIO without that interface, AddrInUse, ENFILE beyond the limit.
    pub fn bind_any(net: &N, interface: &str, port: u16) -> io::Result<Self> {
        Ok(Self { udp: Arc::new(N::Udp::bind_any(net, interface, port)?), mode: Arc::default() })
    }

    /// Another handle on the same socket.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { udp: self.udp.clone(), mode: self.mode.clone() })
    }

    /// The same socket for async code.
    pub fn to_async(&self) -> crate::UdpSocket<N> {
        crate::UdpSocket::from_core(self.udp.clone())
    }

    /// connect(2): fixes the peer. No packet is sent.
    pub fn connect(&self, remote: impl ToSocketAddrs) -> io::Result<()> {
        self.udp.connect(remote)
    }

    /// Sends a datagram to `to`.
    pub fn send_to(&self, payload: &[u8], to: impl ToSocketAddrs) -> io::Result<usize> {
        let to = to.to_socket_addr()?;
        self.when(Interest::Writable, || self.udp.send(payload, Some(to)))
    }

    /// Sends a datagram to `to` as if from `from`, be that an address of the kernel's or not. InvalidInput unless the socket is [`Self::bind_any`]'s,
    /// AddrNotAvailable for a source that no host has.
    pub fn send_from(&self, payload: &[u8], from: SocketAddr, to: SocketAddr) -> io::Result<usize> {
        self.when(Interest::Writable, || self.udp.send_from(payload, from, to))
    }

    /// Sends a train: datagrams of `segment` bytes each, the last one may be shorter, in one super-frame (UDP_SEGMENT).
    ///
    /// The bytes are not copied.
    pub fn send_train(&self, payload: Bytes, segment: u16, to: Option<SocketAddr>) -> io::Result<()> {
        self.when(Interest::Writable, || self.udp.send_train(payload.clone(), segment, to))
    }

    /// Sends many datagrams and returns how many there was room for, at least one; equal ones in a row leave as one train.
    pub fn send_batch(&self, payloads: &[&[u8]], to: Option<SocketAddr>) -> io::Result<usize> {
        self.when(Interest::Writable, || self.udp.send_batch(payloads, to))
    }

    /// Receives a datagram; what does not fit into `buffer` is lost.
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (len, meta) = self.recv_meta(buffer)?;
        Ok((len, meta.source))
    }

    /// Receives a train in one piece (UDP_GRO): the bytes of all its datagrams, how many of them each but the last has, and what is known of
    /// it. What does not fit into `buffer` is lost.
    pub fn recv_train(&self, buffer: &mut [u8]) -> io::Result<(usize, usize, Meta)> {
        self.when(Interest::Readable, || self.udp.receive_train(buffer))
    }

    /// Receives up to `limit` trains without copying them, at least one.
    pub fn recv_trains(&self, out: &mut Vec<Train>, limit: usize) -> io::Result<usize> {
        self.when(Interest::Readable, || self.udp.receive_trains(out, limit))
    }

    /// Looks at the next datagram without taking it (MSG_PEEK).
    pub fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (len, meta) = self.peek_meta(buffer)?;
        Ok((len, meta.source))
    }

    /// Whether broadcasts may be sent (SO_BROADCAST).
    pub fn set_broadcast(&self, may: bool) -> io::Result<()> {
        self.set_option(SocketOption::Broadcast(may))
    }

    /// The time to live of what is sent (IP_TTL), 1 to 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let ttl = u8::try_from(ttl).map_err(|_| N::Udp::error(rumpnet_proto::Errno::Inval))?;
        self.set_option(SocketOption::Ttl(ttl))
    }

    waiting_calls!();
    datagram_calls!();
}
