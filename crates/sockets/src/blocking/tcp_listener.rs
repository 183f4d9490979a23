//! A listener for threads.

use std::{io, net::SocketAddr, sync::Arc};

use rumpnet_stack::TcpOption;

use super::{TcpStream, mode::Mode};
use crate::{
    Interest, ToSocketAddrs,
    tcp::{
        core::BACKLOG,
        handle::{TcpHandle as _, WaitStreams},
        options::listener_options,
    },
};

/// A listening TCP socket whose calls wait in place; when it is closed, what waits to be accepted is reset.
pub struct TcpListener<N: WaitStreams> {
    tcp: Arc<N::Tcp>,
    mode: Arc<Mode>,
}

impl<N: WaitStreams> TcpListener<N> {
    /// socket(2), bind(2) with SO_REUSEADDR, and listen(2). AddrNotAvailable for an address that is not the kernel's, AddrInUse, ENFILE beyond the limit.
    pub fn bind(net: &N, local: impl ToSocketAddrs) -> io::Result<Self> {
        let tcp = N::Tcp::open(net)?;
        // As `std` has it: connections of an earlier listener are not in the way.
        tcp.set_option(TcpOption::ReuseAddress(true))?;
        tcp.bind(local.to_socket_addr()?)?;
        tcp.listen(BACKLOG)?;
        Ok(Self::from_core(Arc::new(tcp)))
    }

    pub(crate) fn from_core(tcp: Arc<N::Tcp>) -> Self {
        Self { tcp, mode: Arc::default() }
    }

    /// Waits for a connection, and says whose it is.
    pub fn accept(&self) -> io::Result<(TcpStream<N>, SocketAddr)> {
        let accept = || self.tcp.accept();
        let (tcp, peer) = self.mode.when_tcp(&*self.tcp, Interest::Readable, accept)?;
        Ok((TcpStream::from_core(Arc::new(tcp)), peer))
    }

    /// Connection after connection; it never ends.
    pub const fn incoming(&self) -> Incoming<'_, N> {
        Incoming(self)
    }

    /// The socket of this world that it is a handle on.
    pub fn socket(&self) -> &N::Tcp {
        &self.tcp
    }

    /// Another handle on the same socket.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { tcp: self.tcp.clone(), mode: self.mode.clone() })
    }

    /// The same socket for async code.
    pub fn to_async(&self) -> crate::TcpListener<N> {
        crate::TcpListener::from_core(self.tcp.clone())
    }

    /// Whether accepting answers WouldBlock instead of waiting. Connections do not inherit it.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.mode.set_nonblocking(nonblocking);
        Ok(())
    }

    listener_options!();
}

/// The connections of a listener, as they come.
pub struct Incoming<'a, N: WaitStreams>(&'a TcpListener<N>);

impl<N: WaitStreams> Iterator for Incoming<'_, N> {
    type Item = io::Result<TcpStream<N>>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.accept().map(|(stream, _)| stream))
    }
}
