//! Sockets in the very shapes of tokio's, for programs that use it. They work on any runtime, and never wait in a drop.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    ops::Deref,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{Interest, Kernel, ToSocketAddrs, future};

/// Sockets that tokio has no shape for.
pub use future::{IcmpSocket, PacketSocket, RawSocket};

/// A UDP socket, as `tokio::net::UdpSocket` but for the kernel that it is bound on.
///
/// Calls that are the same in [`future::UdpSocket`] are found there.
#[derive(Clone, Debug)]
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

/// A listening TCP socket, as `tokio::net::TcpListener` but for the kernel that it is bound on.
///
/// Calls that are the same in [`future::TcpListener`] are found there.
#[derive(Clone, Debug)]
pub struct TcpListener(future::TcpListener);

impl TcpListener {
    /// socket(2), bind(2) and listen(2). AddrNotAvailable for an address that is not the kernel's, AddrInUse.
    pub async fn bind(kernel: &Kernel, local: impl ToSocketAddrs) -> io::Result<Self> {
        future::TcpListener::bind(kernel, local).map(Self)
    }

    /// Waits for a connection, and says whose it is.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((TcpStream(stream), peer))
    }

    /// A connection, and whose it is; the task is woken when one waits.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.0.poll_accept(cx).map_ok(|(stream, peer)| (TcpStream(stream), peer))
    }
}

impl From<future::TcpListener> for TcpListener {
    fn from(listener: future::TcpListener) -> Self {
        Self(listener)
    }
}

impl Deref for TcpListener {
    type Target = future::TcpListener;

    fn deref(&self) -> &future::TcpListener {
        &self.0
    }
}

/// A TCP connection, as `tokio::net::TcpStream` but for the kernel that it is on.
///
/// Calls that are the same in [`future::TcpStream`] are found there.
#[derive(Debug)]
pub struct TcpStream(future::TcpStream);

impl TcpStream {
    /// socket(2) and connect(2). ConnectionRefused, TimedOut, HostUnreachable, NetworkUnreachable.
    pub async fn connect(kernel: &Kernel, remote: impl ToSocketAddrs) -> io::Result<Self> {
        future::TcpStream::connect(kernel, remote).await.map(Self)
    }

    /// A half that reads and one that writes; dropping the latter ends the stream that the peer reads.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let (read, write) = self.0.into_split();
        (OwnedReadHalf(read), OwnedWriteHalf(write))
    }
}

impl From<future::TcpStream> for TcpStream {
    fn from(stream: future::TcpStream) -> Self {
        Self(stream)
    }
}

/// The half of a connection that reads, as `tokio::net::tcp::OwnedReadHalf`.
#[derive(Debug)]
pub struct OwnedReadHalf(future::OwnedReadHalf);

/// The half of a connection that writes, as `tokio::net::tcp::OwnedWriteHalf`; dropping it ends the stream that the peer reads.
#[derive(Debug)]
pub struct OwnedWriteHalf(future::OwnedWriteHalf);

impl OwnedReadHalf {
    /// Puts two halves of one connection together again; they come back if they are of two.
    pub fn reunite(self, other: OwnedWriteHalf) -> Result<TcpStream, (Self, OwnedWriteHalf)> {
        let whole = self.0.reunite(other.0);
        whole.map(TcpStream).map_err(|halves| (Self(halves.0), OwnedWriteHalf(halves.1)))
    }
}

macro_rules! streams {
    ($($name:ident)*) => {$(
        impl Deref for $name {
            type Target = future::TcpStream;

            fn deref(&self) -> &future::TcpStream {
                &self.0
            }
        }
    )*};
}

macro_rules! readers {
    ($($name:ident)*) => {$(
        impl AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let len = ready!(self.0.poll_read(cx, buffer.initialize_unfilled()))?;
                buffer.advance(len);
                Poll::Ready(Ok(()))
            }
        }
    )*};
}

macro_rules! writers {
    ($($name:ident)*) => {$(
        impl AsyncWrite for $name {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, payload: &[u8]) -> Poll<io::Result<usize>> {
                self.0.poll_write(cx, payload)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                payloads: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.0.poll_write_vectored(cx, payloads)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.0.poll_shutdown(cx)
            }
        }
    )*};
}

streams!(TcpStream OwnedReadHalf OwnedWriteHalf);
readers!(TcpStream OwnedReadHalf);
writers!(TcpStream OwnedWriteHalf);
