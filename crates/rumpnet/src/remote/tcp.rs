//! A TCP socket of a kernel in another process: a descriptor for its data, and requests for the rest.

use std::{
    io::{self, ErrorKind, IoSlice, IoSliceMut},
    net::{Shutdown, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use rumpnet_host::unix::pair;
use rumpnet_proto::{
    Errno, codec,
    passed::{Accepted, SocketKind, SocketReply, SocketRequest},
};
use rumpnet_sockets::{Interest, TcpHandle, TcpWait};
use rumpnet_stack::{SendMode, TcpInfo, TcpOption, TcpSettings, buffer::Payload};

use super::{Kernel, Place, error, watched::Watched};

/// The most that is read at once where the caller brings no buffer.
const PIECE: usize = 64 * 1024;

/// A TCP socket of a kernel in another process.
///
/// Its descriptor ([`AsFd`]) can be read, written, polled, duplicated, inherited and passed on; the connection lives as long as a copy of it is open,
/// whoever holds it.
pub struct Tcp {
    kernel: Kernel,
    place: Place,
    end: OwnedFd,
    phase: AtomicU8,
    /// The end of the stream has been read, and it was no error.
    at_end: AtomicBool,
    watched: OnceLock<Option<Watched>>,
}

/// What the descriptor is good for.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    Idle,
    Connecting,
    Connected,
    Listening,
}

impl Tcp {
    const fn of(kernel: Kernel, place: Place, end: OwnedFd, phase: Phase) -> Self {
        let (phase, at_end) = (AtomicU8::new(phase as u8), AtomicBool::new(false));
        Self { kernel, place, end, phase, at_end, watched: OnceLock::new() }
    }

    fn is_in(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Acquire) == phase as u8
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    fn ask(&self, request: impl FnOnce(u64) -> SocketRequest) -> io::Result<Option<SocketReply>> {
        self.kernel.ask(self.place, request(self.place.number))
    }

    fn done(&self, request: impl FnOnce(u64) -> SocketRequest) -> io::Result<()> {
        self.ask(request).map(drop)
    }

    fn addresses(&self) -> io::Result<(Option<SocketAddr>, Option<SocketAddr>)> {
        match self.ask(|socket| SocketRequest::Addresses { socket })? {
            Some(SocketReply::Addresses { local, remote }) => Ok((local, remote)),
            _ => Err(error(Errno::Proto)),
        }
    }

    /// What the descriptor answered, said as the socket would say it: why the connection has ended is known to the server.
    fn explain(&self, failure: io::Error) -> io::Error {
        match failure.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected => {
                match self.kernel.error_of(self.place) {
                    Ok(Some(reason)) | Err(reason) => reason,
                    Ok(None) => failure,
                }
            }
            _ => failure,
        }
    }

    /// The end of the stream, if it is one and not a failure.
    fn read_end(&self) -> io::Result<usize> {
        if !self.at_end.load(Ordering::Relaxed) {
            if let Some(reason) = self.kernel.error_of(self.place)? {
                return Err(reason);
            }
            self.at_end.store(true, Ordering::Relaxed);
        }
        Ok(0)
    }

    fn receive_into(&self, slices: &mut [IoSliceMut<'_>], peek: bool) -> io::Result<usize> {
        if self.is_in(Phase::Idle) || self.is_in(Phase::Listening) {
            return Err(error(Errno::NotConn));
        }
        if slices.iter().all(|slice| slice.is_empty()) {
            return Ok(0);
        }
        match pair::receive_with(&self.end, slices, peek) {
            Ok(received) if received.len == 0 => self.read_end(),
            Ok(received) => Ok(received.len),
            Err(failure) => Err(self.explain(failure)),
        }
    }

    fn value<T: serde::de::DeserializeOwned>(&self, reply: Option<SocketReply>) -> io::Result<T> {
        match reply {
            Some(SocketReply::Value(bytes)) => codec::decode(&bytes).map_err(error),
            _ => Err(error(Errno::Proto)),
        }
    }

    fn watched(&self) -> Option<&Watched> {
        // Without a reactor nobody could be woken: the task is at once, for ever, and its call says why.
        self.watched.get_or_init(|| Watched::new(&self.end).ok()).as_ref()
    }
}

impl AsFd for Tcp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

impl TcpHandle for Tcp {
    type World = Kernel;

    fn error(errno: Errno) -> io::Error {
        error(errno)
    }

    fn open(kernel: &Kernel) -> io::Result<Self> {
        let (place, end) = kernel.open(SocketKind::Stream)?;
        Ok(Self::of(kernel.clone(), place, end, Phase::Idle))
    }

    fn bind(&self, local: SocketAddr) -> io::Result<()> {
        self.done(|socket| SocketRequest::Bind { socket, local })
    }

    fn listen(&self, backlog: u32) -> io::Result<()> {
        self.done(|socket| SocketRequest::Listen { socket, backlog })?;
        self.enter(Phase::Listening);
        Ok(())
    }

    fn connect(&self, remote: SocketAddr) -> io::Result<()> {
        self.done(|socket| SocketRequest::Connect { socket, remote })?;
        self.enter(Phase::Connecting);
        Ok(())
    }

    fn connected(&self) -> io::Result<()> {
        if !self.is_ready(Interest::Writable) {
            return Err(error(Errno::Again));
        }
        if let Some(failure) = pair::take_error(&self.end)? {
            return Err(self.explain(failure));
        }
        self.enter(Phase::Connected);
        Ok(())
    }

    fn accept(&self) -> io::Result<(Self, SocketAddr)> {
        if !self.is_in(Phase::Listening) {
            return Err(error(Errno::Inval));
        }
        let mut record = [0; Accepted::LEN];
        let received = pair::receive_with(&self.end, &mut [IoSliceMut::new(&mut record)], false)
            .map_err(|failure| self.explain(failure))?;
        if received.len == 0 {
            return Err(self.explain(ErrorKind::NotConnected.into()));
        }
        let accepted = Accepted::from_bytes(&record[..received.len]).ok_or_else(|| error(Errno::Proto))?;
        // Without room for it here, the connection is closed.
        let end = received.descriptor.ok_or_else(|| error(Errno::MFile))?;
        let place = Place { number: accepted.socket, ..self.place };
        Ok((Self::of(self.kernel.clone(), place, end, Phase::Connected), accepted.peer))
    }

    fn send_as(&self, payload: &[u8], how: SendMode) -> io::Result<usize> {
        if how != SendMode::default() {
            return Err(error(Errno::OpNotSupp));
        }
        self.send_vectored(&[IoSlice::new(payload)])
    }

    fn send_vectored(&self, payloads: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.is_in(Phase::Idle) || self.is_in(Phase::Listening) {
            return Err(error(Errno::Pipe));
        }
        pair::send(&self.end, payloads).map_err(|failure| self.explain(failure))
    }

    fn send_bytes(&self, bytes: Bytes) -> io::Result<usize> {
        self.send_vectored(&[IoSlice::new(&bytes)])
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive_into(&mut [IoSliceMut::new(buffer)], false)
    }

    fn receive_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.receive_into(buffers, false)
    }

    fn receive_slices(&self, limit: usize) -> io::Result<Payload> {
        let mut buffer = vec![0; limit.min(PIECE)];
        let len = self.receive(&mut buffer)?;
        buffer.truncate(len);
        let mut payload = Payload::Empty;
        payload.push(Bytes::from(buffer));
        Ok(payload)
    }

    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive_into(&mut [IoSliceMut::new(buffer)], true)
    }

    /// EOPNOTSUPP: a local socket has no mark that goes with its bytes.
    fn receive_urgent(&self) -> io::Result<Option<u8>> {
        Err(error(Errno::OpNotSupp))
    }

    fn urgent_ahead(&self) -> io::Result<Option<u32>> {
        Err(error(Errno::OpNotSupp))
    }

    fn shut_down(&self, how: Shutdown) -> io::Result<()> {
        if !self.is_in(Phase::Connected) {
            return Err(error(Errno::NotConn));
        }
        pair::shut_down(&self.end, how)
    }

    /// Closing never waits.
    fn let_linger(&self, _may: bool) {}

    /// EOPNOTSUPP: the descriptor does not say.
    fn delivered(&self) -> io::Result<()> {
        Err(error(Errno::OpNotSupp))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.addresses()?.0.ok_or_else(|| error(Errno::Inval))
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.addresses()?.1.ok_or_else(|| error(Errno::NotConn))
    }

    fn set_option(&self, option: TcpOption) -> io::Result<()> {
        if matches!(option, TcpOption::Linger(Some(span)) if !span.is_zero()) {
            return Err(error(Errno::NoProtoOpt));
        }
        let option = codec::encode(&option).map_err(error)?;
        self.done(|socket| SocketRequest::SetOption { socket, option })
    }

    fn settings(&self) -> io::Result<TcpSettings> {
        let reply = self.ask(|socket| SocketRequest::Settings { socket })?;
        self.value(reply)
    }

    fn info(&self) -> io::Result<TcpInfo> {
        let reply = self.ask(|socket| SocketRequest::Info { socket })?;
        self.value(reply)
    }

    fn path_mtu(&self) -> io::Result<u32> {
        match self.ask(|socket| SocketRequest::PathMtu { socket })? {
            Some(SocketReply::PathMtu(mtu)) => Ok(mtu),
            _ => Err(error(Errno::Proto)),
        }
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.kernel.error_of(self.place)
    }

    fn is_ready(&self, interest: Interest) -> bool {
        let polled = pair::wait(&self.end, true, true, Some(Duration::ZERO)).unwrap_or_default();
        polled.failed
            || polled.hung_up
            || match interest {
                Interest::Readable => polled.readable,
                Interest::Writable => polled.writable,
                Interest::Urgent => polled.ended,
                Interest::Delivered | Interest::QueuedError => false,
            }
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        match self.watched() {
            Some(watched) => watched.register(interest, waker),
            None => waker.wake_by_ref(),
        }
    }
}

impl TcpWait for Tcp {
    fn wait(&self, interest: Interest, patience: Option<Duration>) -> io::Result<()> {
        let writable = interest == Interest::Writable;
        let polled = pair::wait(&self.end, !writable, writable, patience)?;
        if polled == pair::Polled::default() { Err(error(Errno::TimedOut)) } else { Ok(()) }
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        if let Some(Some(watched)) = self.watched.get() {
            watched.forget(&self.end);
        }
        // Until it is connected or listens, the server does not hear of the descriptor's closing.
        if self.is_in(Phase::Idle) || self.is_in(Phase::Connecting) {
            let _closed = self.done(|socket| SocketRequest::Close { socket });
        }
    }
}
