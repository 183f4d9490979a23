//! A listener for async code.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use rumpnet_stack::TcpOption;

use super::{
    TcpStream,
    core::BACKLOG,
    handle::{Streams, TcpHandle as _},
    options::listener_options,
};
use crate::{Interest, ToSocketAddrs};

/// A listening TCP socket. Clones are the same socket; it is closed with the last of them, and what waits to be accepted is reset.
pub struct TcpListener<N: Streams> {
    pub(super) tcp: Arc<N::Tcp>,
}

impl<N: Streams> Clone for TcpListener<N> {
    fn clone(&self) -> Self {
        Self { tcp: self.tcp.clone() }
    }
}

impl<N: Streams> TcpListener<N> {
    /// socket(2), bind(2) with SO_REUSEADDR, and listen(2). AddrNotAvailable for an address that is not the kernel's, AddrInUse, ENFILE beyond the limit.
    pub fn bind(net: &N, local: impl ToSocketAddrs) -> io::Result<Self> {
        let tcp = N::Tcp::open(net)?;
        // As `std` has it: connections of an earlier listener are not in the way.
        tcp.set_option(TcpOption::ReuseAddress(true))?;
        tcp.bind(local.to_socket_addr()?)?;
        tcp.listen(BACKLOG)?;
        Ok(Self::from_core(Arc::new(tcp)))
    }

    pub(crate) const fn from_core(tcp: Arc<N::Tcp>) -> Self {
        Self { tcp }
    }

    /// The socket of this world that it is a handle on.
    pub fn socket(&self) -> &N::Tcp {
        &self.tcp
    }

    /// Waits for a connection, and says whose it is.
    pub async fn accept(&self) -> io::Result<(TcpStream<N>, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// A connection, and whose it is; WouldBlock if none waits.
    pub fn try_accept(&self) -> io::Result<(TcpStream<N>, SocketAddr)> {
        let (tcp, peer) = self.tcp.accept()?;
        Ok((TcpStream::from_core(Arc::new(tcp)), peer))
    }

    /// A connection, and whose it is; the task is woken when one waits.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream<N>, SocketAddr)>> {
        self.tcp.poll_when(cx, Interest::Readable, || self.try_accept())
    }

    listener_options!();
}
