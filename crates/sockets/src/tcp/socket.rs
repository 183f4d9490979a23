//! A TCP socket that is neither listening nor connected yet, to be given options first.

use std::{future::poll_fn, io, net::SocketAddr, sync::Arc};

use rumpnet_stack::{TcpOption, TcpSettings};

use super::{
    TcpListener, TcpStream,
    handle::{Streams, TcpHandle as _, TcpWait},
};
use crate::{Interest, ToSocketAddrs, blocking};

/// A TCP socket that will listen or connect.
pub struct TcpSocket<N: Streams> {
    tcp: N::Tcp,
}

impl<N: Streams> TcpSocket<N> {
    /// socket(2). ENFILE beyond the limit.
    pub fn new(net: &N) -> io::Result<Self> {
        Ok(Self { tcp: N::Tcp::open(net)? })
    }

    /// The socket of this world that it is a handle on.
    pub const fn socket(&self) -> &N::Tcp {
        &self.tcp
    }

    /// bind(2). AddrNotAvailable for an address that is not the kernel's, AddrInUse.
    pub fn bind(&self, local: impl ToSocketAddrs) -> io::Result<()> {
        self.tcp.bind(local.to_socket_addr()?)
    }

    /// The address bound; InvalidInput without one.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Whether others that say so too may be bound where it is, unless they listen (SO_REUSEADDR).
    pub fn set_reuseaddr(&self, reuseaddr: bool) -> io::Result<()> {
        self.set_option(TcpOption::ReuseAddress(reuseaddr))
    }

    /// Whether SO_REUSEADDR is set.
    pub fn reuseaddr(&self) -> io::Result<bool> {
        Ok(self.settings()?.reuse_address)
    }

    /// Whether others that say so too may be bound where it is, and share its connections by the hash of their addresses (SO_REUSEPORT).
    pub fn set_reuseport(&self, reuseport: bool) -> io::Result<()> {
        self.set_option(TcpOption::ReusePort(reuseport))
    }

    /// Whether SO_REUSEPORT is set.
    pub fn reuseport(&self) -> io::Result<bool> {
        Ok(self.settings()?.reuse_port)
    }

    /// setsockopt(2).
    pub fn set_option(&self, option: TcpOption) -> io::Result<()> {
        self.tcp.set_option(option)
    }

    /// getsockopt(2): all options at once.
    pub fn settings(&self) -> io::Result<TcpSettings> {
        self.tcp.settings()
    }

    /// listen(2): so many connections may wait to be accepted, 1 to 4,096.
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener<N>> {
        self.tcp.listen(backlog)?;
        Ok(TcpListener::from_core(Arc::new(self.tcp)))
    }

    /// connect(2). ConnectionRefused, TimedOut, HostUnreachable, NetworkUnreachable.
    pub async fn connect(self, remote: impl ToSocketAddrs) -> io::Result<TcpStream<N>> {
        self.tcp.connect(remote.to_socket_addr()?)?;
        poll_fn(|cx| self.tcp.poll_when(cx, Interest::Writable, || self.tcp.connected())).await?;
        Ok(TcpStream::from_core(Arc::new(self.tcp)))
    }

    /// As [`Self::listen`], for threads.
    pub fn listen_blocking(self, backlog: u32) -> io::Result<blocking::TcpListener<N>>
    where
        N::Tcp: TcpWait,
    {
        self.tcp.listen(backlog)?;
        Ok(blocking::TcpListener::from_core(Arc::new(self.tcp)))
    }

    /// As [`Self::connect`], waiting in place.
    pub fn connect_blocking(self, remote: impl ToSocketAddrs) -> io::Result<blocking::TcpStream<N>>
    where
        N::Tcp: TcpWait,
    {
        blocking::TcpStream::connect_from(self.tcp, remote.to_socket_addr()?, None)
    }
}
