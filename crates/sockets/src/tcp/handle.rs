//! What TCP sockets are made of in each world: calls that never wait, and news of when they would not.
//!
//! The types of this crate are written over [`TcpHandle`] alone. A world whose callers reach a stack ([`Net`]) has its own
//! ([`super::core`]); one that reaches a kernel in another process brings another (docs/adr/0018).

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{Shutdown, SocketAddr},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use rumpnet_proto::Errno;
use rumpnet_stack::{SendMode, TcpInfo, TcpOption, TcpSettings, buffer::Payload};

use super::core::Tcp;
use crate::{Interest, Net, Wait};

/// A world that has TCP sockets; clones are the same world.
pub trait Streams: Clone + 'static {
    /// A TCP socket of it.
    type Tcp: TcpHandle<World = Self>;
}

/// [`Streams`] whose callers may wait in place.
pub trait WaitStreams: Streams<Tcp: TcpWait> {}

impl<S: Streams<Tcp: TcpWait>> WaitStreams for S {}

impl<N: Net> Streams for N {
    type Tcp = Tcp<N>;
}

/// A TCP socket of any kind, closed when it is dropped. No call waits: one that would answers WouldBlock.
pub trait TcpHandle: Sized + 'static {
    /// Where it is.
    type World;

    /// An errno as this world's error.
    fn error(errno: Errno) -> io::Error;
    /// socket(2).
    fn open(world: &Self::World) -> io::Result<Self>;
    /// bind(2).
    fn bind(&self, local: SocketAddr) -> io::Result<()>;
    /// listen(2).
    fn listen(&self, backlog: u32) -> io::Result<()>;
    /// connect(2): begins.
    fn connect(&self, remote: SocketAddr) -> io::Result<()>;
    /// What the connection that was begun came to.
    fn connected(&self) -> io::Result<()>;
    /// accept(2): a connection and its peer.
    fn accept(&self) -> io::Result<(Self, SocketAddr)>;
    /// send(2) with flags: how much there was room for.
    fn send_as(&self, payload: &[u8], how: SendMode) -> io::Result<usize>;
    /// writev(2).
    fn send_vectored(&self, payloads: &[IoSlice<'_>]) -> io::Result<usize>;
    /// send(2) of bytes that need not be copied.
    fn send_bytes(&self, bytes: Bytes) -> io::Result<usize>;
    /// recv(2); 0 at the end of the stream.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize>;
    /// readv(2).
    fn receive_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize>;
    /// recv(2) of up to `limit` bytes that need not be copied.
    fn receive_slices(&self, limit: usize) -> io::Result<Payload>;
    /// recv(2) with MSG_PEEK.
    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize>;
    /// recv(2) with MSG_OOB.
    fn receive_urgent(&self) -> io::Result<Option<u8>>;
    /// Bytes before the urgent one.
    fn urgent_ahead(&self) -> io::Result<Option<u32>>;
    /// shutdown(2).
    fn shut_down(&self, how: Shutdown) -> io::Result<()>;
    /// Whether closing may wait (SO_LINGER).
    fn let_linger(&self, may: bool);
    /// Whether the peer has acknowledged everything, our end of the stream included; the error that ended the connection.
    fn delivered(&self) -> io::Result<()>;
    /// getsockname(2).
    fn local_addr(&self) -> io::Result<SocketAddr>;
    /// getpeername(2).
    fn peer_addr(&self) -> io::Result<SocketAddr>;
    /// setsockopt(2).
    fn set_option(&self, option: TcpOption) -> io::Result<()>;
    /// getsockopt(2).
    fn settings(&self) -> io::Result<TcpSettings>;
    /// TCP_INFO.
    fn info(&self) -> io::Result<TcpInfo>;
    /// IP_MTU.
    fn path_mtu(&self) -> io::Result<u32>;
    /// SO_ERROR.
    fn take_error(&self) -> io::Result<Option<io::Error>>;
    /// Whether a call would not wait.
    fn is_ready(&self, interest: Interest) -> bool;
    /// Calls `waker` once, as soon as that may have changed.
    fn register(&self, interest: Interest, waker: &Waker);

    /// send(2).
    fn send(&self, payload: &[u8]) -> io::Result<usize> {
        self.send_as(payload, SendMode::default())
    }

    /// IP_TTL, 1 to 255.
    fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let ttl = u8::try_from(ttl).map_err(|_| Self::error(Errno::Inval))?;
        self.set_option(TcpOption::Ttl(ttl))
    }

    /// Calls once, and once more after registering if it would block, since readiness may come in between.
    fn poll_when<R>(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        mut call: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
        self.register(interest, cx.waker());
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            result => Poll::Ready(result),
        }
    }

    /// Whether the socket is ready; the task is woken when it is.
    fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<()>> {
        self.register(interest, cx.waker());
        if self.is_ready(interest) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

/// A [`TcpHandle`] whose callers may wait in place.
pub trait TcpWait: TcpHandle {
    /// Waits until a call may not wait any more; TimedOut after `patience`.
    fn wait(&self, interest: Interest, patience: Option<Duration>) -> io::Result<()>;
}

impl<N: Wait> TcpWait for Tcp<N> {
    fn wait(&self, interest: Interest, patience: Option<Duration>) -> io::Result<()> {
        crate::blocking::wait(self.net(), self.endpoint(), interest, patience)
    }
}
