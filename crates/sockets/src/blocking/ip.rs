//! Raw IP and ICMP sockets for threads.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::mode::Mode;
use crate::{
    Interest,
    calls::without_port,
    handle::{DatagramHandle as _, DatagramWait as _, Datagrams, SocketKind, WaitDatagrams},
};

/// A raw IP socket whose calls wait in place; [`crate::RawSocket`] says what it is.
pub struct RawSocket<N: Datagrams> {
    udp: Arc<N::Udp>,
    mode: Arc<Mode>,
}

/// An ICMP socket whose calls wait in place; [`crate::IcmpSocket`] says what it is.
pub struct IcmpSocket<N: Datagrams> {
    udp: Arc<N::Udp>,
    mode: Arc<Mode>,
}

impl<N: WaitDatagrams> RawSocket<N> {
    /// socket(2): hears from now on. Protocol 255 hears nothing and sends whole packets. EPROTONOSUPPORT for protocol 0, ENFILE or ENOBUFS beyond a limit.
    pub fn open(net: &N, protocol: u8) -> io::Result<Self> {
        let udp = N::Udp::open(net, SocketKind::Raw { protocol })?;
        Ok(Self { udp: Arc::new(udp), mode: Arc::default() })
    }

    /// bind(2): hears what is for this address alone, and sends from it. AddrNotAvailable for what is not the kernel's.
    pub fn bind(&self, local: IpAddr) -> io::Result<()> {
        self.udp.bind_to(without_port(local))
    }

    /// The same socket for async code.
    pub fn to_async(&self) -> crate::RawSocket<N> {
        crate::RawSocket::from_core(self.udp.clone())
    }
}

impl<N: WaitDatagrams> IcmpSocket<N> {
    /// socket(2). ENFILE beyond the limit.
    pub fn open(net: &N) -> io::Result<Self> {
        let udp = N::Udp::open(net, SocketKind::Icmp)?;
        Ok(Self { udp: Arc::new(udp), mode: Arc::default() })
    }

    /// bind(2): the address to send from, and in place of a port the identifier, or 0 for one that is free. AddrInUse, AddrNotAvailable.
    pub fn bind(&self, local: IpAddr, identifier: u16) -> io::Result<()> {
        self.udp.bind_to(SocketAddr::new(local, identifier))
    }

    /// The same socket for async code.
    pub fn to_async(&self) -> crate::IcmpSocket<N> {
        crate::IcmpSocket::from_core(self.udp.clone())
    }
}

macro_rules! ip_sockets {
    ($($name:ident)*) => {$(
        impl<N: WaitDatagrams> $name<N> {
            /// Another handle on the same socket.
            pub fn try_clone(&self) -> io::Result<Self> {
                Ok(Self { udp: self.udp.clone(), mode: self.mode.clone() })
            }

            /// connect(2): fixes the peer, of whom alone it hears. No packet is sent.
            pub fn connect(&self, remote: IpAddr) -> io::Result<()> {
                self.udp.connect(without_port(remote))
            }

            /// Sends to `to`.
            pub fn send_to(&self, payload: &[u8], to: IpAddr) -> io::Result<usize> {
                self.when(Interest::Writable, || self.udp.send(payload, Some(without_port(to))))
            }

            /// Receives, and tells from whom; what does not fit into `buffer` is lost.
            pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, IpAddr)> {
                let (len, meta) = self.recv_meta(buffer)?;
                Ok((len, meta.source.ip()))
            }

            waiting_calls!();
            datagram_calls!();
        }
    )*};
}

ip_sockets!(RawSocket IcmpSocket);
