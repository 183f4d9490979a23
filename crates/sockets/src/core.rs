//! What blocking and async datagram sockets of all kinds share: calls that never wait.

use std::{
    io,
    net::{Shutdown, SocketAddr},
    task::{Context, Poll},
};

use bytes::Bytes;
use rumpnet_proto::Errno;
use rumpnet_stack::{
    Datagram, Endpoint, QueuedError, Readiness, SendInfo, SocketId, SocketOption, SocketSettings, Stack,
    UdpSend, time::Instant,
};

use crate::{Interest, Meta, Net, ToSocketAddrs, Train, block::Block};

/// An open datagram socket, closed when it is dropped.
pub(crate) struct Udp<N: Net> {
    net: N,
    id: SocketId,
    endpoint: Endpoint,
    block: Block,
}

impl<N: Net> Udp<N> {
    pub(crate) fn bind(net: &N, local: impl ToSocketAddrs) -> io::Result<Self> {
        Self::bind_with(net, local, &[])
    }

    pub(crate) fn bind_with(
        net: &N,
        local: impl ToSocketAddrs,
        options: &[SocketOption],
    ) -> io::Result<Self> {
        let local = local.to_socket_addr()?;
        let socket = Self::open(net, Endpoint::Udp, Stack::udp_open)?;
        options.iter().try_for_each(|option| socket.set_option(*option))?;
        socket.bind_to(local)?;
        Ok(socket)
    }

    /// A socket that is neither bound nor connected yet.
    pub(crate) fn open(
        net: &N,
        endpoint: fn(SocketId) -> Endpoint,
        open: impl FnOnce(&mut Stack) -> Result<SocketId, Errno>,
    ) -> io::Result<Self> {
        let id = net.enter(|stack, _| open(stack)).map_err(N::error)?;
        Ok(Self { net: net.clone(), id, endpoint: endpoint(id), block: Block::default() })
    }

    pub(crate) fn bind_to(&self, local: SocketAddr) -> io::Result<()> {
        self.call(|stack, _| stack.udp_bind(self.id, local)).map(drop)
    }

    pub(crate) fn bind_any(net: &N, interface: &str, port: u16) -> io::Result<Self> {
        let socket = Self::open(net, Endpoint::Udp, Stack::udp_open)?;
        socket.call(|stack, _| stack.udp_bind_any(socket.id, interface, port))?;
        Ok(socket)
    }

    pub(crate) const fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    pub(crate) const fn net(&self) -> &N {
        &self.net
    }

    fn call<R>(&self, call: impl FnOnce(&mut Stack, Instant) -> Result<R, Errno>) -> io::Result<R> {
        self.net.enter(call).map_err(N::error)
    }

    pub(crate) fn connect(&self, remote: impl ToSocketAddrs) -> io::Result<()> {
        let remote = remote.to_socket_addr()?;
        self.call(|stack, _| stack.udp_connect(self.id, remote))
    }

    pub(crate) fn disconnect(&self) -> io::Result<()> {
        self.call(|stack, _| stack.udp_disconnect(self.id))
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.call(|stack, now| stack.udp_shutdown(now, self.id, crate::shutdown_of(how)))
    }

    pub(crate) fn send(&self, payload: &[u8], destination: Option<SocketAddr>) -> io::Result<usize> {
        self.send_info(payload, destination, SendInfo::default())
    }

    pub(crate) fn send_info(
        &self,
        payload: &[u8],
        destination: Option<SocketAddr>,
        info: SendInfo,
    ) -> io::Result<usize> {
        let send = UdpSend { payload: self.block.copy(payload), destination, info, ..UdpSend::default() };
        self.call(|stack, now| stack.udp_send(now, self.id, [send]))?;
        Ok(payload.len())
    }

    pub(crate) fn send_from(&self, payload: &[u8], from: SocketAddr, to: SocketAddr) -> io::Result<usize> {
        let (destination, source) = (Some(to), Some(from));
        let send = UdpSend { payload: self.block.copy(payload), destination, source, ..UdpSend::default() };
        self.call(|stack, now| stack.udp_send(now, self.id, [send]))?;
        Ok(payload.len())
    }

    pub(crate) fn send_train(&self, payload: Bytes, segment: u16, to: Option<SocketAddr>) -> io::Result<()> {
        let send = UdpSend { payload, segment: Some(segment), destination: to, ..UdpSend::default() };
        self.call(|stack, now| stack.udp_send(now, self.id, [send])).map(drop)
    }

    /// Sends datagrams in one call; those of equal length in a row leave as one train.
    pub(crate) fn send_batch(&self, payloads: &[&[u8]], to: Option<SocketAddr>) -> io::Result<usize> {
        let mut trains = Vec::new();
        let mut counts = Vec::new();
        for run in payloads.chunk_by(|one, next| one.len() == next.len() && !one.is_empty()) {
            let len = run[0].len();
            for part in run.chunks(datagrams_in_train(len)) {
                let segment = (part.len() > 1).then_some(len as u16);
                let payload =
                    if part.len() > 1 { Bytes::from(part.concat()) } else { self.block.copy(part[0]) };
                trains.push(UdpSend { payload, segment, destination: to, ..UdpSend::default() });
                counts.push(part.len());
            }
        }
        let sent = self.call(|stack, now| stack.udp_send(now, self.id, trains))?;
        Ok(counts[..sent].iter().sum())
    }

    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Meta)> {
        let datagram = self.call(|stack, _| stack.udp_receive(self.id, false))?;
        Ok(copied(&datagram, buffer))
    }

    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<(usize, Meta)> {
        let datagram = self.call(|stack, _| stack.udp_peek(self.id))?;
        Ok(copied(&datagram, buffer))
    }

    pub(crate) fn receive_train(&self, buffer: &mut [u8]) -> io::Result<(usize, usize, Meta)> {
        let datagram = self.call(|stack, _| stack.udp_receive(self.id, true))?;
        let segment = datagram.segment.map_or_else(|| datagram.payload.len(), usize::from);
        let (len, meta) = copied(&datagram, buffer);
        Ok((len, segment, meta))
    }

    pub(crate) fn receive_error(&self) -> io::Result<QueuedError> {
        self.call(|stack, _| stack.udp_receive_error(self.id))
    }

    pub(crate) fn receive_trains(&self, out: &mut Vec<Train>, limit: usize) -> io::Result<usize> {
        let mut datagrams = Vec::new();
        let count = self.call(|stack, _| stack.udp_receive_batch(self.id, &mut datagrams, limit))?;
        out.extend(datagrams.into_iter().map(Train::from));
        Ok(count)
    }

    pub(crate) fn addresses(&self) -> io::Result<(Option<SocketAddr>, Option<SocketAddr>)> {
        self.call(|stack, _| stack.udp_addresses(self.id))
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.addresses()?.0.ok_or_else(|| N::error(Errno::Inval))
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.addresses()?.1.ok_or_else(|| N::error(Errno::NotConn))
    }

    pub(crate) fn set_option(&self, option: SocketOption) -> io::Result<()> {
        self.call(|stack, _| stack.udp_set_option(self.id, option))
    }

    pub(crate) fn settings(&self) -> io::Result<SocketSettings> {
        self.call(|stack, _| stack.udp_settings(self.id))
    }

    pub(crate) fn bind_device(&self, interface: Option<&str>) -> io::Result<()> {
        self.call(|stack, _| {
            let index = interface.map_or(Ok(0), |name| stack.interface_index(name).map_err(|_| Errno::NoDev));
            stack.udp_set_option(self.id, SocketOption::Interface(index?))
        })
    }

    pub(crate) fn path_mtu(&self) -> io::Result<u32> {
        self.call(|stack, now| stack.path_mtu(now, self.endpoint()))
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.call(|stack, _| stack.udp_take_error(self.id))?.map(N::error))
    }

    pub(crate) fn readiness(&self) -> Readiness {
        self.net.enter(|stack, _| stack.readiness(self.endpoint()))
    }

    /// Calls once, and once more after registering if it would block, since readiness may come in between.
    pub(crate) fn poll_when<R>(
        &self,
        cx: &Context<'_>,
        interest: Interest,
        mut call: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
        self.net.register(self.endpoint, interest, cx.waker());
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            result => Poll::Ready(result),
        }
    }

    pub(crate) fn is_ready(&self, interest: Interest) -> bool {
        interest.is_met(self.readiness())
    }
}

impl<N: Net> Drop for Udp<N> {
    fn drop(&mut self) {
        // It cannot be closed twice, since this is the only place that closes it.
        let _closed = self.net.enter(|stack, _| stack.udp_close(self.id));
        self.net.forget(self.endpoint());
    }
}

/// How many datagrams of `len` bytes one super-frame carries: 64 KiB, and no more segments than Linux accepts (UDP_MAX_SEGMENTS).
const fn datagrams_in_train(len: usize) -> usize {
    const MAX_BYTES: usize = 65_507;
    const MAX_SEGMENTS: usize = 128;
    match len {
        0 => 1,
        len if len > MAX_BYTES / 2 => 1,
        len if MAX_BYTES / len > MAX_SEGMENTS => MAX_SEGMENTS,
        len => MAX_BYTES / len,
    }
}

/// Copies what fits; the rest of a longer datagram is lost, as recvfrom(2) loses it.
fn copied(datagram: &Datagram, buffer: &mut [u8]) -> (usize, Meta) {
    (datagram.payload.copy_to(buffer), Meta::from(datagram))
}
