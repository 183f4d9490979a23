//! What blocking and async datagram sockets of all kinds share: calls that never wait.

use std::{
    io,
    net::{Ipv4Addr, Shutdown, SocketAddr},
    task::Waker,
};

use bytes::Bytes;
use rumpnet_proto::{Errno, GroupChange, GroupInterface, MulticastOption, MulticastSettings, SourceFilter};
use rumpnet_stack::{
    Datagram, Endpoint, QueuedError, Readiness, SendInfo, SocketId, SocketOption, SocketSettings, Stack,
    UdpSend, time::Instant,
};

use crate::{
    Interest, Meta, Net, Train,
    block::Block,
    handle::{DatagramHandle, SocketKind},
};

/// An open datagram socket, closed when it is dropped.
pub struct Udp<N: Net> {
    net: N,
    id: SocketId,
    endpoint: Endpoint,
    block: Block,
}

impl<N: Net> Udp<N> {
    pub(crate) const fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    pub(crate) const fn net(&self) -> &N {
        &self.net
    }

    fn call<R>(&self, call: impl FnOnce(&mut Stack, Instant) -> Result<R, Errno>) -> io::Result<R> {
        self.net.enter(call).map_err(N::error)
    }

    pub(crate) fn addresses(&self) -> io::Result<(Option<SocketAddr>, Option<SocketAddr>)> {
        self.call(|stack, _| stack.udp_addresses(self.id))
    }

    pub(crate) fn readiness(&self) -> Readiness {
        self.net.enter(|stack, _| stack.readiness(self.endpoint()))
    }
}

impl<N: Net> DatagramHandle for Udp<N> {
    type World = N;

    fn error(errno: Errno) -> io::Error {
        N::error(errno)
    }

    fn open(net: &N, kind: SocketKind) -> io::Result<Self> {
        let opened = net.enter(|stack, _| match kind {
            SocketKind::Datagram => stack.udp_open().map(|id| (id, Endpoint::Udp(id))),
            SocketKind::Raw { protocol } => stack.raw_open(protocol).map(|id| (id, Endpoint::Raw(id))),
            SocketKind::Icmp => stack.icmp_open().map(|id| (id, Endpoint::Icmp(id))),
            SocketKind::Stream => Err(Errno::ProtoNoSupport),
        });
        let (id, endpoint) = opened.map_err(N::error)?;
        Ok(Self { net: net.clone(), id, endpoint, block: Block::default() })
    }

    fn bind_any_to(&self, interface: &str, port: u16) -> io::Result<()> {
        self.call(|stack, _| stack.udp_bind_any(self.id, interface, port))
    }

    fn connect_to(&self, remote: SocketAddr) -> io::Result<()> {
        self.call(|stack, _| stack.udp_connect(self.id, remote))
    }

    fn bind_to(&self, local: SocketAddr) -> io::Result<()> {
        self.call(|stack, _| stack.udp_bind(self.id, local)).map(drop)
    }

    fn bind_device(&self, interface: Option<&str>) -> io::Result<()> {
        self.call(|stack, _| {
            let index = interface.map_or(Ok(0), |name| stack.interface_index(name).map_err(|_| Errno::NoDev));
            stack.udp_set_option(self.id, SocketOption::Interface(index?))
        })
    }

    fn disconnect(&self) -> io::Result<()> {
        self.call(|stack, _| stack.udp_disconnect(self.id))
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.call(|stack, now| stack.udp_shutdown(now, self.id, crate::shutdown_of(how)))
    }

    fn send_info(
        &self,
        payload: &[u8],
        destination: Option<SocketAddr>,
        info: SendInfo,
    ) -> io::Result<usize> {
        let send = UdpSend { payload: self.block.copy(payload), destination, info, ..UdpSend::default() };
        self.call(|stack, now| stack.udp_send(now, self.id, [send]))?;
        Ok(payload.len())
    }

    fn send_from(&self, payload: &[u8], from: SocketAddr, to: SocketAddr) -> io::Result<usize> {
        let (destination, source) = (Some(to), Some(from));
        let send = UdpSend { payload: self.block.copy(payload), destination, source, ..UdpSend::default() };
        self.call(|stack, now| stack.udp_send(now, self.id, [send]))?;
        Ok(payload.len())
    }

    fn send_train(&self, payload: Bytes, segment: u16, to: Option<SocketAddr>) -> io::Result<()> {
        let send = UdpSend { payload, segment: Some(segment), destination: to, ..UdpSend::default() };
        self.call(|stack, now| stack.udp_send(now, self.id, [send])).map(drop)
    }

    fn send_batch(&self, payloads: &[&[u8]], to: Option<SocketAddr>) -> io::Result<usize> {
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

    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Meta)> {
        let datagram = self.call(|stack, _| stack.udp_receive(self.id, false))?;
        Ok(copied(&datagram, buffer))
    }

    fn peek(&self, buffer: &mut [u8]) -> io::Result<(usize, Meta)> {
        let datagram = self.call(|stack, _| stack.udp_peek(self.id))?;
        Ok(copied(&datagram, buffer))
    }

    fn receive_train(&self, buffer: &mut [u8]) -> io::Result<(usize, usize, Meta)> {
        let datagram = self.call(|stack, _| stack.udp_receive(self.id, true))?;
        let segment = datagram.segment.map_or_else(|| datagram.payload.len(), usize::from);
        let (len, meta) = copied(&datagram, buffer);
        Ok((len, segment, meta))
    }

    fn receive_trains(&self, out: &mut Vec<Train>, limit: usize) -> io::Result<usize> {
        let mut datagrams = Vec::new();
        let count = self.call(|stack, _| stack.udp_receive_batch(self.id, &mut datagrams, limit))?;
        out.extend(datagrams.into_iter().map(Train::from));
        Ok(count)
    }

    fn receive_error(&self) -> io::Result<QueuedError> {
        self.call(|stack, _| stack.udp_receive_error(self.id))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.addresses()?.0.ok_or_else(|| N::error(Errno::Inval))
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.addresses()?.1.ok_or_else(|| N::error(Errno::NotConn))
    }

    fn set_option(&self, option: SocketOption) -> io::Result<()> {
        self.call(|stack, _| stack.udp_set_option(self.id, option))
    }

    fn settings(&self) -> io::Result<SocketSettings> {
        self.call(|stack, _| stack.udp_settings(self.id))
    }

    fn path_mtu(&self) -> io::Result<u32> {
        self.call(|stack, now| stack.path_mtu(now, self.endpoint()))
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.call(|stack, _| stack.udp_take_error(self.id))?.map(N::error))
    }

    fn is_ready(&self, interest: Interest) -> bool {
        interest.is_met(self.readiness())
    }

    fn change_group(&self, change: &GroupChange) -> io::Result<()> {
        self.call(|stack, now| stack.change_group(now, self.endpoint, change))
    }

    fn group_filter(&self, group: Ipv4Addr, interface: GroupInterface) -> io::Result<SourceFilter> {
        self.call(|stack, _| stack.group_filter(self.endpoint, group, interface))
    }

    fn set_multicast_option(&self, option: MulticastOption) -> io::Result<()> {
        self.call(|stack, _| stack.set_multicast_option(self.endpoint, option))
    }

    fn multicast_settings(&self) -> io::Result<MulticastSettings> {
        self.call(|stack, _| stack.multicast_settings(self.endpoint))
    }

    fn register(&self, interest: Interest, waker: &Waker) {
        self.net.register(self.endpoint, interest, waker);
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
