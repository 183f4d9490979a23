//! What blocking and async TCP sockets share: calls that never wait.
//!
//! Payload is copied outside of the stack's lock: a write copies and then hands over, a read detaches slices and then copies.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{Shutdown, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    task::Waker,
};

use bytes::Bytes;
use rumpnet_proto::Errno;
use rumpnet_stack::{
    Endpoint, Flow, Readiness, SendMode, SocketId, Stack, TcpInfo, TcpOption, TcpSettings, buffer::Payload,
    time::Instant,
};

use super::handle::TcpHandle;
use crate::{
    Interest, Net,
    block::{BLOCK, Block},
};

/// Connections that may wait to be accepted, unless somebody says otherwise; as tokio has it.
pub(crate) const BACKLOG: u32 = 1024;
/// Blocks that one call copies at most before it hands them over.
const BLOCKS_AT_ONCE: usize = 4;

/// An open TCP socket of any kind, closed when it is dropped.
pub struct Tcp<N: Net> {
    net: N,
    id: SocketId,
    block: Block,
    /// The last send found no room: it is asked for before anything is copied again.
    full: AtomicBool,
    /// Closing may wait (SO_LINGER): only threads hold it, and their calls wait.
    may_linger: AtomicBool,
}

impl<N: Net> Tcp<N> {
    fn of(net: &N, id: SocketId) -> Self {
        Self {
            net: net.clone(),
            id,
            block: Block::default(),
            full: AtomicBool::new(false),
            may_linger: AtomicBool::new(false),
        }
    }

    /// Before it is closed: waits until the peer has everything, if that is wanted and allowed.
    fn linger(&self) {
        if !self.may_linger.load(Ordering::Relaxed) {
            return;
        }
        let span = self.net.enter(|stack, _| stack.tcp_linger(self.id));
        if let Some(span) = span
            && self.shut_down(Shutdown::Write).is_ok()
        {
            self.net.linger(self.endpoint(), span.into());
        }
    }

    pub(crate) const fn endpoint(&self) -> Endpoint {
        Endpoint::Tcp(self.id)
    }

    pub(crate) const fn net(&self) -> &N {
        &self.net
    }

    fn call<R>(&self, call: impl FnOnce(&mut Stack, Instant) -> Result<R, Errno>) -> io::Result<R> {
        self.net.enter(call).map_err(N::error)
    }

    pub(crate) fn listen_any(&self, interface: &str, port: u16, backlog: u32) -> io::Result<()> {
        self.call(|stack, _| stack.tcp_listen_any(self.id, interface, port, backlog))
    }

    pub(crate) fn next_flow(&self) -> io::Result<(Self, Flow)> {
        let (id, flow) = self.call(|stack, _| stack.tcp_next_flow(self.id))?;
        Ok((Self::of(&self.net, id), flow))
    }

    /// Answers a request that is held.
    pub(crate) fn admit(&self) -> io::Result<()> {
        self.call(|stack, now| stack.tcp_admit(now, self.id))
    }

    /// Answers a request that is held with a reset.
    pub(crate) fn refuse(&self) -> io::Result<()> {
        self.call(|stack, now| stack.tcp_refuse(now, self.id))
    }

    fn send_pieces<'a>(&self, pieces: impl Iterator<Item = &'a [u8]>, how: SendMode) -> io::Result<usize> {
        if self.full.load(Ordering::Relaxed) && !self.is_ready(Interest::Writable) {
            return Err(N::error(Errno::Again));
        }
        let (mut copies, mut len) = (Vec::with_capacity(BLOCKS_AT_ONCE), 0);
        for piece in pieces {
            if len + piece.len() > BLOCKS_AT_ONCE * BLOCK {
                break;
            }
            len += piece.len();
            copies.push(self.block.copy(piece));
        }
        self.hand_over(copies, how)
    }

    fn hand_over(&self, pieces: impl IntoIterator<Item = Bytes>, how: SendMode) -> io::Result<usize> {
        let sent = self.call(|stack, now| {
            let mut sent = 0;
            for piece in pieces {
                let len = piece.len();
                match stack.tcp_send_as(now, self.id, piece, how) {
                    Ok(taken) => {
                        sent += taken;
                        if taken < len {
                            break;
                        }
                    }
                    // The next call says why.
                    Err(_) if sent > 0 => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(sent)
        });
        let full = matches!(&sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        self.full.store(full, Ordering::Relaxed);
        sent
    }

    fn addresses(&self) -> io::Result<(Option<SocketAddr>, Option<SocketAddr>)> {
        self.call(|stack, _| stack.tcp_addresses(self.id))
    }

    pub(crate) fn readiness(&self) -> Readiness {
        self.net.enter(|stack, _| stack.readiness(self.endpoint()))
    }
}

impl<N: Net> TcpHandle for Tcp<N> {
    type World = N;

    fn error(errno: Errno) -> io::Error {
        N::error(errno)
    }

    fn open(net: &N) -> io::Result<Self> {
        let id = net.enter(|stack, _| stack.tcp_open()).map_err(N::error)?;
        Ok(Self::of(net, id))
    }

    fn bind(&self, local: SocketAddr) -> io::Result<()> {
        self.call(|stack, _| stack.tcp_bind(self.id, local)).map(drop)
    }

    fn listen(&self, backlog: u32) -> io::Result<()> {
        self.call(|stack, _| stack.tcp_listen(self.id, backlog))
    }

    fn connect(&self, remote: SocketAddr) -> io::Result<()> {
        self.call(|stack, now| stack.tcp_connect(now, self.id, remote))
    }

    fn connected(&self) -> io::Result<()> {
        self.call(|stack, _| {
            let readiness = stack.readiness(self.endpoint());
            if !Interest::Writable.is_met(readiness) {
                return Err(Errno::Again);
            }
            match stack.tcp_take_error(self.id)? {
                Some(error) => Err(error),
                None if readiness.closed => Err(Errno::ConnAborted),
                None => Ok(()),
            }
        })
    }

    fn accept(&self) -> io::Result<(Self, SocketAddr)> {
        let (id, peer) = self.call(|stack, _| stack.tcp_accept(self.id))?;
        Ok((Self::of(&self.net, id), peer))
    }

    fn send_as(&self, payload: &[u8], how: SendMode) -> io::Result<usize> {
        self.send_pieces(payload.chunks(BLOCK), how)
    }

    fn send_vectored(&self, payloads: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send_pieces(payloads.iter().flat_map(|payload| payload.chunks(BLOCK)), SendMode::default())
    }

    fn send_bytes(&self, bytes: Bytes) -> io::Result<usize> {
        self.hand_over([bytes], SendMode::default())
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.receive_slices(buffer.len())?.copy_to(buffer))
    }

    fn receive_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let payload = self.receive_slices(buffers.iter().map(|buffer| buffer.len()).sum())?;
        let mut copied = 0;
        for buffer in buffers {
            copied += payload.slice(copied..payload.len()).copy_to(buffer);
        }
        Ok(copied)
    }

    fn receive_slices(&self, limit: usize) -> io::Result<Payload> {
        if limit == 0 {
            return Ok(Payload::Empty);
        }
        self.call(|stack, now| stack.tcp_receive(now, self.id, limit))
    }

    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        Ok(self.call(|stack, _| stack.tcp_peek(self.id, buffer.len()))?.copy_to(buffer))
    }

    fn receive_urgent(&self) -> io::Result<Option<u8>> {
        self.call(|stack, _| stack.tcp_receive_urgent(self.id, false))
    }

    fn urgent_ahead(&self) -> io::Result<Option<u32>> {
        self.call(|stack, _| stack.tcp_urgent_ahead(self.id))
    }

    fn shut_down(&self, how: Shutdown) -> io::Result<()> {
        self.call(|stack, now| stack.tcp_shutdown(now, self.id, crate::shutdown_of(how)))
    }

    fn let_linger(&self, may: bool) {
        self.may_linger.store(may, Ordering::Relaxed);
    }

    fn delivered(&self) -> io::Result<()> {
        self.call(|stack, _| {
            if !stack.readiness(self.endpoint()).delivered {
                return Err(Errno::Again);
            }
            stack.tcp_take_error(self.id)?.map_or(Ok(()), Err)
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.addresses()?.0.ok_or_else(|| N::error(Errno::Inval))
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.addresses()?.1.ok_or_else(|| N::error(Errno::NotConn))
    }

    fn set_option(&self, option: TcpOption) -> io::Result<()> {
        self.call(|stack, now| stack.tcp_set_option(now, self.id, option))
    }

    fn settings(&self) -> io::Result<TcpSettings> {
        self.call(|stack, _| stack.tcp_settings(self.id))
    }

    fn info(&self) -> io::Result<TcpInfo> {
        self.call(|stack, _| stack.tcp_info(self.id))
    }

    fn path_mtu(&self) -> io::Result<u32> {
        self.call(|stack, now| stack.path_mtu(now, self.endpoint()))
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.call(|stack, _| stack.tcp_take_error(self.id))?.map(N::error))
    }

    fn is_ready(&self, interest: Interest) -> bool {
        interest.is_met(self.readiness())
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        self.net.register(self.endpoint(), interest, waker);
    }
}

impl<N: Net> Drop for Tcp<N> {
    fn drop(&mut self) {
        self.linger();
        // It cannot be closed twice, since this is the only place that closes it.
        let _closed = self.net.enter(|stack, now| stack.tcp_close(now, self.id));
        self.net.forget(self.endpoint());
    }
}
