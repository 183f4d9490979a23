//! A connection for async code.

use std::{
    future::poll_fn,
    io::{self, IoSlice, IoSliceMut},
    net::Shutdown,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use rumpnet_stack::{SendMode, buffer::Payload};

use super::{
    TcpSocket,
    handle::{Streams, TcpHandle as _},
    options::stream_options,
    split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf},
};
use crate::{Interest, ToSocketAddrs};

/// A TCP connection. Clones are the same socket; it is closed with the last of them.
///
/// Closing sends what was written and the end of the stream, in the background; a connection with data that nobody has read is reset.
pub struct TcpStream<N: Streams> {
    pub(super) tcp: Arc<N::Tcp>,
}

impl<N: Streams> Clone for TcpStream<N> {
    fn clone(&self) -> Self {
        Self { tcp: self.tcp.clone() }
    }
}

impl<N: Streams> TcpStream<N> {
    /// socket(2) and connect(2). ConnectionRefused, TimedOut, HostUnreachable, NetworkUnreachable, ENFILE beyond the limit.
    pub async fn connect(net: &N, remote: impl ToSocketAddrs) -> io::Result<Self> {
        TcpSocket::new(net)?.connect(remote).await
    }

    pub(crate) const fn from_core(tcp: Arc<N::Tcp>) -> Self {
        Self { tcp }
    }

    /// The socket of this world that it is a handle on.
    pub fn socket(&self) -> &N::Tcp {
        &self.tcp
    }

    /// Reads what has come, at least a byte, waiting for it; 0 at the end of the stream.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buffer)).await
    }

    /// Fills `buffer`; UnexpectedEof if the stream ends before.
    pub async fn read_exact(&self, buffer: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => filled += len,
            }
        }
        Ok(())
    }

    /// Appends all that comes until the end of the stream, and returns how much it was.
    pub async fn read_to_end(&self, out: &mut Vec<u8>) -> io::Result<usize> {
        let before = out.len();
        loop {
            let payload = self.read_slices(usize::MAX).await?;
            if payload.is_empty() {
                return Ok(out.len() - before);
            }
            payload.slices().iter().for_each(|slice| out.extend_from_slice(slice));
        }
    }

    /// Takes up to `limit` bytes that have come, waiting for some, without copying them; none at the end of the stream.
    ///
    /// The slices hold the link's buffers until they are dropped.
    pub async fn read_slices(&self, limit: usize) -> io::Result<Payload> {
        poll_fn(|cx| self.tcp.poll_when(cx, Interest::Readable, || self.tcp.receive_slices(limit))).await
    }

    /// Looks at what has come without taking it (MSG_PEEK).
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_peek(cx, buffer)).await
    }

    /// Writes as much as there is room for, at least a byte, waiting for it.
    pub async fn write(&self, payload: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_write(cx, payload)).await
    }

    /// Writes everything.
    pub async fn write_all(&self, payload: &[u8]) -> io::Result<()> {
        let mut left = payload;
        while !left.is_empty() {
            let sent = self.write(left).await?;
            left = &left[sent..];
        }
        Ok(())
    }

    /// Writes everything; the bytes are handed over, not copied.
    pub async fn write_bytes(&self, bytes: Bytes) -> io::Result<()> {
        let mut left = bytes;
        while !left.is_empty() {
            let call = || self.tcp.send_bytes(left.clone());
            let sent = poll_fn(|cx| self.tcp.poll_when(cx, Interest::Writable, call)).await?;
            drop(left.split_to(sent));
        }
        Ok(())
    }

    /// Writes as much as there is room for, at least a byte, the last of which is urgent (MSG_OOB).
    pub async fn send_urgent(&self, payload: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.tcp.poll_when(cx, Interest::Writable, || self.try_send_urgent(payload))).await
    }

    /// Writes as much as there is room for, at least a byte; more follows, so that less than a full segment waits for it (MSG_MORE), 200 ms at most.
    pub async fn send_more(&self, payload: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.tcp.poll_when(cx, Interest::Writable, || self.try_send_more(payload))).await
    }

    /// The same; WouldBlock if there is no room.
    pub fn try_send_more(&self, payload: &[u8]) -> io::Result<usize> {
        self.tcp.send_as(payload, SendMode { more: true, ..SendMode::default() })
    }

    /// Ends our stream and waits until the peer has acknowledged all of it, as closing with SO_LINGER does for threads; then this handle is
    /// dropped. The error that ended the connection before, such as ConnectionReset or TimedOut.
    ///
    /// Whoever gives up waiting loses nothing: the rest is sent in the background.
    pub async fn close(self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)?;
        poll_fn(|cx| self.tcp.poll_when(cx, Interest::Delivered, || self.tcp.delivered())).await
    }

    /// Waits for an urgent byte and takes it out of band; none if the stream ends without one. InvalidInput if urgent data comes in line.
    pub async fn recv_urgent(&self) -> io::Result<Option<u8>> {
        if self.urgent_inline()? {
            return self.try_recv_urgent();
        }
        poll_fn(|cx| self.poll_ready(cx, Interest::Urgent)).await?;
        match self.try_recv_urgent() {
            // The end has come, and nothing urgent before it.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(None),
            result => result,
        }
    }

    /// Takes the urgent byte out of band (recv(2) with MSG_OOB). As on Linux InvalidInput if none was announced, if it was read already or
    /// if urgent data comes in line, WouldBlock if it is still on its way, none if the stream has ended before it.
    pub fn try_recv_urgent(&self) -> io::Result<Option<u8>> {
        self.tcp.receive_urgent()
    }

    /// Writes as much as there is room for, the last byte urgent; WouldBlock if there is none.
    pub fn try_send_urgent(&self, payload: &[u8]) -> io::Result<usize> {
        self.tcp.send_as(payload, SendMode { urgent: true, ..SendMode::default() })
    }

    /// Reads what has come; WouldBlock if nothing has.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.receive(buffer)
    }

    /// Reads what has come into several buffers; WouldBlock if nothing has.
    pub fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.tcp.receive_vectored(buffers)
    }

    /// Takes what has come without copying it; WouldBlock if nothing has.
    pub fn try_read_slices(&self, limit: usize) -> io::Result<Payload> {
        self.tcp.receive_slices(limit)
    }

    /// Writes as much as there is room for; WouldBlock if there is none.
    pub fn try_write(&self, payload: &[u8]) -> io::Result<usize> {
        self.tcp.send(payload)
    }

    /// Writes several buffers as far as there is room; WouldBlock if there is none.
    pub fn try_write_vectored(&self, payloads: &[IoSlice<'_>]) -> io::Result<usize> {
        self.tcp.send_vectored(payloads)
    }

    /// Hands over as many bytes as there is room for, and returns how many; WouldBlock if there is none.
    pub fn try_write_bytes(&self, bytes: Bytes) -> io::Result<usize> {
        self.tcp.send_bytes(bytes)
    }

    /// Reads what has come; the task is woken when something does.
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.tcp.poll_when(cx, Interest::Readable, || self.tcp.receive(buffer))
    }

    /// Looks at what has come; the task is woken when something does.
    pub fn poll_peek(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.tcp.poll_when(cx, Interest::Readable, || self.tcp.peek(buffer))
    }

    /// Writes as much as there is room for; the task is woken when there is some.
    pub fn poll_write(&self, cx: &mut Context<'_>, payload: &[u8]) -> Poll<io::Result<usize>> {
        self.tcp.poll_when(cx, Interest::Writable, || self.tcp.send(payload))
    }

    /// Writes several buffers as far as there is room; the task is woken when there is some.
    pub fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        payloads: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.tcp.poll_when(cx, Interest::Writable, || self.tcp.send_vectored(payloads))
    }

    /// Ends the stream that the peer reads. It never waits, and a connection that is over is none to complain about.
    pub fn poll_shutdown(&self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self.tcp.shut_down(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        })
    }

    /// Waits until a read would not wait.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_ready(cx, Interest::Readable)).await
    }

    /// Waits until a write would not wait.
    pub async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_ready(cx, Interest::Writable)).await
    }

    /// Whether the socket is ready; the task is woken when it is.
    pub fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<()>> {
        self.tcp.poll_ready(cx, interest)
    }

    /// A half that reads and one that writes, borrowed.
    pub const fn split(&mut self) -> (ReadHalf<'_, N>, WriteHalf<'_, N>) {
        (ReadHalf::new(self), WriteHalf::new(self))
    }

    /// A half that reads and one that writes; dropping the latter ends the stream that the peer reads.
    pub fn into_split(self) -> (OwnedReadHalf<N>, OwnedWriteHalf<N>) {
        (OwnedReadHalf::new(self.clone()), OwnedWriteHalf::new(self))
    }

    stream_options!();
}
