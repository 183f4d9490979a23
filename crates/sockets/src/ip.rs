//! Raw IP and ICMP sockets for async code; those for threads are in [`crate::blocking`].

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::{
    Interest,
    calls::without_port,
    handle::{DatagramHandle as _, Datagrams, SocketKind},
};

/// A raw IP socket (raw(7)): every packet of a protocol to this host, with its IP header, after the kernel has had it.
///
/// What is sent gets an IP header, unless [`rumpnet_stack::SocketOption::HeaderIncluded`] says that it has one: of that the length and the checksum are put
/// right, and the source and the identification if they are 0. Clones are the same socket; it is closed with the last of them.
pub struct RawSocket<N: Datagrams> {
    udp: Arc<N::Udp>,
}

/// An ICMP socket (icmp(7), SOCK_DGRAM of IPPROTO_ICMP): echo without privilege.
///
/// It sends echo requests, from the ICMP header on, and receives the replies to them. The identifier, which it has in place of a port, and the checksum are
/// written by the kernel. Clones are the same socket; it is closed with the last of them.
pub struct IcmpSocket<N: Datagrams> {
    udp: Arc<N::Udp>,
}

impl<N: Datagrams> RawSocket<N> {
    /// socket(2): hears from now on. Protocol 255 hears nothing and sends whole packets. EPROTONOSUPPORT for protocol 0, ENFILE or ENOBUFS beyond a limit.
    pub fn open(net: &N, protocol: u8) -> io::Result<Self> {
        Ok(Self { udp: Arc::new(N::Udp::open(net, SocketKind::Raw { protocol })?) })
    }

    /// bind(2): hears what is for this address alone, and sends from it. AddrNotAvailable for what is not the kernel's.
    pub fn bind(&self, local: IpAddr) -> io::Result<()> {
        self.udp.bind_to(without_port(local))
    }
}

impl<N: Datagrams> IcmpSocket<N> {
    /// socket(2). ENFILE beyond the limit.
    pub fn open(net: &N) -> io::Result<Self> {
        Ok(Self { udp: Arc::new(N::Udp::open(net, SocketKind::Icmp)?) })
    }

    /// bind(2): the address to send from, and in place of a port the identifier, or 0 for one that is free. AddrInUse, AddrNotAvailable.
    pub fn bind(&self, local: IpAddr, identifier: u16) -> io::Result<()> {
        self.udp.bind_to(SocketAddr::new(local, identifier))
    }
}

macro_rules! ip_sockets {
    ($($name:ident)*) => {$(
        impl<N: Datagrams> Clone for $name<N> {
            fn clone(&self) -> Self {
                Self { udp: self.udp.clone() }
            }
        }

        impl<N: Datagrams> $name<N> {
            pub(crate) const fn from_core(udp: Arc<N::Udp>) -> Self {
                Self { udp }
            }

            /// connect(2): fixes the peer, of whom alone it hears. No packet is sent.
            pub fn connect(&self, remote: IpAddr) -> io::Result<()> {
                self.udp.connect(without_port(remote))
            }

            /// Sends to `to`, waiting for room.
            pub async fn send_to(&self, payload: &[u8], to: IpAddr) -> io::Result<usize> {
                self.when(Interest::Writable, || self.udp.send(payload, Some(without_port(to)))).await
            }

            /// Receives, and tells from whom; what does not fit into `buffer` is lost.
            pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, IpAddr)> {
                let (len, meta) = self.recv_meta(buffer).await?;
                Ok((len, meta.source.ip()))
            }

            /// Receives if there is something; WouldBlock otherwise.
            pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, IpAddr)> {
                let (len, meta) = self.udp.receive(buffer)?;
                Ok((len, meta.source.ip()))
            }

            /// Sends if there is room; WouldBlock otherwise.
            pub fn try_send_to(&self, payload: &[u8], to: IpAddr) -> io::Result<usize> {
                self.udp.send(payload, Some(without_port(to)))
            }

            async_calls!();
            datagram_calls!();
        }
    )*};
}

ip_sockets!(RawSocket IcmpSocket);
