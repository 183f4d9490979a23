//! Flows to any address: connection requests that are held until the program decides (IP_TRANSPARENT).
//!
//! Not here: datagrams to any address, which are [`crate::UdpSocket::bind_any`]'s.

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
    core::{BACKLOG, Tcp},
    handle::TcpHandle as _,
    options::listener_options,
};
use crate::{Interest, Net, Wait, blocking};

/// A TCP socket that hears every connection request that comes by an interface, whatever address it is for.
///
/// Sockets that are bound to what is asked for win. Clones are the same socket; when it is closed, what nobody has taken is dropped.
pub struct FlowListener<N: Net> {
    pub(crate) tcp: Arc<Tcp<N>>,
}

impl<N: Net> Clone for FlowListener<N> {
    fn clone(&self) -> Self {
        Self { tcp: self.tcp.clone() }
    }
}

impl<N: Net> FlowListener<N> {
    /// Hears requests for `port`, or with 0 for any port. ENXIO without that interface, AddrInUse, ENFILE beyond the limit.
    ///
    /// 1,024 of them are held at most, for 130 seconds; while there are so many, further ones are dropped, and their peers repeat them.
    pub fn bind(net: &N, interface: &str, port: u16) -> io::Result<Self> {
        let tcp = Tcp::open(net)?;
        tcp.listen_any(interface, port, BACKLOG)?;
        Ok(Self { tcp: Arc::new(tcp) })
    }

    /// Waits for a request. ENXIO once the interface is gone.
    pub async fn accept(&self) -> io::Result<Flow<N>> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// A request; WouldBlock if none waits.
    pub fn try_accept(&self) -> io::Result<Flow<N>> {
        let (tcp, flow) = self.tcp.next_flow()?;
        Ok(Flow { tcp, flow })
    }

    /// A request; the task is woken when one waits.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Flow<N>>> {
        self.tcp.poll_when(cx, Interest::Readable, || self.try_accept())
    }

    listener_options!();
}

/// A connection request that has not been answered: to be accepted, reset, or dropped as if it had never come.
///
/// Its peer repeats a request that was dropped, which is then a new one.
pub struct Flow<N: Net> {
    tcp: Tcp<N>,
    flow: rumpnet_stack::Flow,
}

impl<N: Net> Flow<N> {
    /// Who asks.
    pub const fn peer(&self) -> SocketAddr {
        self.flow.peer
    }

    /// For which address; it will be the stream's local one.
    pub const fn original(&self) -> SocketAddr {
        self.flow.original
    }

    /// setsockopt(2), before the answer.
    pub fn set_option(&self, option: TcpOption) -> io::Result<()> {
        self.tcp.set_option(option)
    }

    /// Answers, and waits for the end of the handshake. ConnectionAborted if the peer took its request back, TimedOut if it was held too long or
    /// the peer is silent.
    pub async fn accept(self) -> io::Result<TcpStream<N>> {
        self.tcp.admit()?;
        poll_fn(|cx| self.tcp.poll_when(cx, Interest::Writable, || self.tcp.connected())).await?;
        Ok(TcpStream::from_core(Arc::new(self.tcp)))
    }

    /// As [`Self::accept`], waiting in place.
    pub fn accept_blocking(self) -> io::Result<blocking::TcpStream<N>>
    where
        N: Wait,
    {
        self.tcp.admit()?;
        blocking::TcpStream::connected_by(self.tcp, None)
    }

    /// Answers with a reset: the peer's connect fails with ConnectionRefused. Errors as those of [`Self::accept`].
    pub fn reset(self) -> io::Result<()> {
        self.tcp.refuse()
    }
}
