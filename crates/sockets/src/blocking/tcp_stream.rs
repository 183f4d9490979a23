//! A connection for threads.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use rumpnet_proto::Errno;
use rumpnet_stack::{SendMode, buffer::Payload};

use super::mode::Mode;
use crate::{
    Interest, ToSocketAddrs,
    tcp::{
        handle::{TcpHandle as _, TcpWait as _, WaitStreams},
        options::stream_options,
    },
};

/// A TCP connection whose calls wait in place.
///
/// Closing sends what was written and the end of the stream, in the background; a connection with data that nobody has read is reset.
pub struct TcpStream<N: WaitStreams> {
    tcp: Arc<N::Tcp>,
    mode: Arc<Mode>,
}

impl<N: WaitStreams> TcpStream<N> {
    /// socket(2) and connect(2). ConnectionRefused, TimedOut, HostUnreachable, NetworkUnreachable, ENFILE beyond the limit.
    pub fn connect(net: &N, remote: impl ToSocketAddrs) -> io::Result<Self> {
        Self::connect_from(N::Tcp::open(net)?, remote.to_socket_addr()?, None)
    }

    /// The same, waiting at most so long: TimedOut. InvalidInput for a zero span, as `std` has it.
    pub fn connect_timeout(net: &N, remote: &SocketAddr, patience: Duration) -> io::Result<Self> {
        if patience.is_zero() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a time-out cannot be zero"));
        }
        Self::connect_from(N::Tcp::open(net)?, *remote, Some(patience))
    }

    pub(crate) fn connect_from(
        tcp: N::Tcp,
        remote: SocketAddr,
        patience: Option<Duration>,
    ) -> io::Result<Self> {
        tcp.connect(remote)?;
        Self::connected_by(tcp, patience)
    }

    /// Waits for the end of a handshake.
    pub(crate) fn connected_by(tcp: N::Tcp, patience: Option<Duration>) -> io::Result<Self> {
        tcp.wait(Interest::Writable, patience)?;
        tcp.connected()?;
        Ok(Self::from_core(Arc::new(tcp)))
    }

    pub(crate) fn from_core(tcp: Arc<N::Tcp>) -> Self {
        tcp.let_linger(true);
        Self { tcp, mode: Arc::default() }
    }

    /// The socket of this world that it is a handle on.
    pub fn socket(&self) -> &N::Tcp {
        &self.tcp
    }

    /// Another handle on the same socket.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { tcp: self.tcp.clone(), mode: self.mode.clone() })
    }

    /// The same socket for async code. Closing it does not wait from now on (SO_LINGER).
    pub fn to_async(&self) -> crate::TcpStream<N> {
        self.tcp.let_linger(false);
        crate::TcpStream::from_core(self.tcp.clone())
    }

    /// Looks at what has come without taking it (MSG_PEEK).
    pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.when(Interest::Readable, || self.tcp.peek(buffer))
    }

    /// Takes up to `limit` bytes that have come, waiting for some, without copying them; none at the end of the stream.
    ///
    /// The slices hold the link's buffers until they are dropped.
    pub fn read_slices(&self, limit: usize) -> io::Result<Payload> {
        self.when(Interest::Readable, || self.tcp.receive_slices(limit))
    }

    /// Hands over as many bytes as there is room for, at least one, and returns how many; they are not copied.
    pub fn write_bytes(&self, bytes: &Bytes) -> io::Result<usize> {
        self.when(Interest::Writable, || self.tcp.send_bytes(bytes.clone()))
    }

    /// Writes as much as there is room for, at least a byte, the last of which is urgent (MSG_OOB).
    pub fn send_urgent(&self, payload: &[u8]) -> io::Result<usize> {
        self.when(Interest::Writable, || {
            self.tcp.send_as(payload, SendMode { urgent: true, ..SendMode::default() })
        })
    }

    /// Writes as much as there is room for, at least a byte; more follows, so that less than a full segment waits for it (MSG_MORE), 200 ms at most.
    pub fn send_more(&self, payload: &[u8]) -> io::Result<usize> {
        let how = SendMode { more: true, ..SendMode::default() };
        self.when(Interest::Writable, || self.tcp.send_as(payload, how))
    }

    /// Takes the urgent byte out of band (recv(2) with MSG_OOB); it never waits. As on Linux InvalidInput if none was announced, if it was
    /// read already or if urgent data comes in line, WouldBlock if it is still on its way, none if the stream has ended before it.
    pub fn recv_urgent(&self) -> io::Result<Option<u8>> {
        self.tcp.receive_urgent()
    }

    /// Waits until an urgent byte has come, or the end of the stream, or the read time-out: WouldBlock (poll(2) with POLLPRI).
    pub fn wait_urgent(&self) -> io::Result<()> {
        self.when(Interest::Urgent, || {
            let here = self.tcp.is_ready(Interest::Urgent);
            if here { Ok(()) } else { Err(N::Tcp::error(Errno::Again)) }
        })
    }

    fn when<R>(&self, interest: Interest, call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        self.mode.when_tcp(&*self.tcp, interest, call)
    }

    /// Whether calls answer WouldBlock instead of waiting; nor does closing wait then (SO_LINGER).
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.mode.set_nonblocking(nonblocking);
        self.tcp.let_linger(!nonblocking);
        Ok(())
    }

    waiting_options!();
    stream_options!();
}

impl<N: WaitStreams> Read for &TcpStream<N> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.when(Interest::Readable, || self.tcp.receive(buffer))
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.when(Interest::Readable, || self.tcp.receive_vectored(buffers))
    }
}

impl<N: WaitStreams> Write for &TcpStream<N> {
    fn write(&mut self, payload: &[u8]) -> io::Result<usize> {
        self.when(Interest::Writable, || self.tcp.send(payload))
    }

    fn write_vectored(&mut self, payloads: &[IoSlice<'_>]) -> io::Result<usize> {
        self.when(Interest::Writable, || self.tcp.send_vectored(payloads))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<N: WaitStreams> Read for TcpStream<N> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }
}

impl<N: WaitStreams> Write for TcpStream<N> {
    fn write(&mut self, payload: &[u8]) -> io::Result<usize> {
        (&*self).write(payload)
    }

    fn write_vectored(&mut self, payloads: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(payloads)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
