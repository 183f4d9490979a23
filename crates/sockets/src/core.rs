//! What a blocking and an async UDP socket share: calls that never wait.

use std::{io, net::SocketAddr};

use bytes::Bytes;
use rumpnet_proto::Errno;
use rumpnet_stack::{Datagram, Endpoint, Readiness, SocketId, SocketOption, Stack, UdpSend, time::Instant};

use crate::{Interest, Meta, Net, ToSocketAddrs, Train, block::Block};

/// An open UDP socket, closed when it is dropped.
pub(crate) struct Udp<N: Net> {
    net: N,
    id: SocketId,
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
        let id = net.enter(|stack, _| stack.udp_open()).map_err(N::error)?;
        let socket = Self { net: net.clone(), id, block: Block::default() };
        options.iter().try_for_each(|option| socket.set_option(*option))?;
        socket.call(|stack, _| stack.udp_bind(id, local))?;
        Ok(socket)
    }

    pub(crate) fn bind_any(net: &N, interface: &str, port: u16) -> io::Result<Self> {
        let id = net.enter(|stack, _| stack.udp_open()).map_err(N::error)?;
        let socket = Self { net: net.clone(), id, block: Block::default() };
        socket.call(|stack, _| stack.udp_bind_any(id, interface, port))?;
        Ok(socket)
    }

    pub(crate) const fn endpoint(&self) -> Endpoint {
        Endpoint::Udp(self.id)
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

    pub(crate) fn send(&self, payload: &[u8], destination: Option<SocketAddr>) -> io::Result<usize> {
        let send = UdpSend { payload: self.block.copy(payload), segment: None, destination, source: None };
        self.call(|stack, now| stack.udp_send(now, self.id, [send]))?;
        Ok(payload.len())
    }

    pub(crate) fn send_from(&self, payload: &[u8], from: SocketAddr, to: SocketAddr) -> io::Result<usize> {
        let (destination, source) = (Some(to), Some(from));
        let send = UdpSend { payload: self.block.copy(payload), segment: None, destination, source };
        self.call(|stack, now| stack.udp_send(now, self.id, [send]))?;
        Ok(payload.len())
    }

    pub(crate) fn send_train(&self, payload: Bytes, segment: u16, to: Option<SocketAddr>) -> io::Result<()> {
        let send = UdpSend { payload, segment: Some(segment), destination: to, source: None };
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
                trains.push(UdpSend { payload, segment, destination: to, source: None });
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

    pub(crate) fn path_mtu(&self) -> io::Result<u32> {
        self.call(|stack, now| stack.path_mtu(now, self.endpoint()))
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.call(|stack, _| stack.udp_take_error(self.id))?.map(N::error))
    }

    pub(crate) fn readiness(&self) -> Readiness {
        self.net.enter(|stack, _| stack.readiness(self.endpoint()))
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
