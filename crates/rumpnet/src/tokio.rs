//! Sockets in the very shapes of tokio's, for programs that use it. They work on any runtime, and never wait in a drop.

use std::{
    io,
    net::SocketAddr,
    ops::Deref,
    task::{Context, Poll, ready},
};

use ::tokio::io::ReadBuf;

use crate::{Interest, Kernel, ToSocketAddrs, future};

/// A UDP socket, as `tokio::net::UdpSocket` but for the kernel that it is bound on.
///
/// Calls that are the same in [`future::UdpSocket`] are found there.
#[derive(Clone)]
pub struct UdpSocket(future::UdpSocket);

impl UdpSocket {
    /// socket(2) and bind(2). AddrNotAvailable for an address that is not the kernel's, AddrInUse.
    pub async fn bind(kernel: &Kernel, local: impl ToSocketAddrs) -> io::Result<Self> {
        future::UdpSocket::bind(kernel, local).map(Self)
    }

    /// connect(2): fixes the peer. No packet is sent.
    pub async fn connect(&self, remote: impl ToSocketAddrs) -> io::Result<()> {
        self.0.connect(remote)
    }

    /// Receives a datagram into what is left of `buffer`, and says who sent it.
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        let (len, from) = ready!(self.0.poll_recv_from(cx, buffer.initialize_unfilled()))?;
        buffer.advance(len);
        Poll::Ready(Ok(from))
    }

    /// Receives a datagram of the connected peer into what is left of `buffer`.
    pub fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_recv_from(cx, buffer).map_ok(drop)
    }

    /// Whether a receive call would not wait; the task is woken when it would not.
    pub fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready(cx, Interest::Readable)
    }

    /// Whether a send call would not wait; the task is woken when it would not.
    pub fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready(cx, Interest::Writable)
    }
}

impl Deref for UdpSocket {
    type Target = future::UdpSocket;

    fn deref(&self) -> &future::UdpSocket {
        &self.0
    }
}
