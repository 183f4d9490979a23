//! Raw IP sockets (raw(7) of Linux, ip(4) of NetBSD): every packet of a protocol, with its IP header, after the kernel has had it.
//!
//! Each socket that a packet fits gets a copy: the address that it is bound to, its peer and its interface, and for ICMP its filter, decide. What
//! is sent gets an IP header, or has one (IP_HDRINCL), of which the checksum and the length are always ours, and the source and the
//! identification if they are 0. A header that its user wrote is never fragmented.

use core::net::{IpAddr, SocketAddr};

use alloc::vec::Vec;
use rumpnet_proto::{Counter, DropReason, Errno};
use rumpnet_wire::{ethernet, ip::Protocol, ipv4};

use super::{
    Datagram, SocketId, Sockets,
    datagram::{Kind, Raw, Socket},
    send::{UdpSend, cost_of},
};
use crate::{
    buffer::{Checksum, Frame, Offload, Payload, Received},
    context::Context,
    inet::{Inet, raw::RawCopy, route::Path},
    link::Link,
};

/// Bytes of a VLAN tag, which a link may add.
const VLAN_TAG: usize = 4;
/// The most that an IP packet carries behind a header without options, in bytes.
const MAX_PAYLOAD: usize = u16::MAX as usize - ipv4::Header::LEN;

/// Whether a packet can be sent: EMSGSIZE beyond what IP carries, EINVAL for a header that is none, or for a train.
pub(super) fn determine_size(raw: Raw, send: &UdpSend) -> Result<(), Errno> {
    let len = send.payload.len();
    if send.segment.is_some() {
        return Err(Errno::Inval);
    }
    if !raw.header_included {
        return if len > MAX_PAYLOAD { Err(Errno::MsgSize) } else { Ok(()) };
    }
    if len > usize::from(u16::MAX) {
        return Err(Errno::MsgSize);
    }
    let header_len = send.payload.first().map_or(0, |first| usize::from(first & 15) * 4);
    if header_len < ipv4::Header::LEN || header_len > len { Err(Errno::Inval) } else { Ok(()) }
}

impl Sockets {
    #[expect(clippy::too_many_arguments, reason = "a packet and its way are all of these")]
    pub(super) fn send_raw(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        id: SocketId,
        raw: Raw,
        send: UdpSend,
        (destination, path): (SocketAddr, &Path),
    ) -> Result<(), Errno> {
        let cost = cost_of(&send);
        if raw.header_included {
            let mut frame = Frame::from_bytes(&send.payload, ethernet::Header::LEN + VLAN_TAG);
            let socket = self.all.value_mut(id).ok_or(Errno::BadF)?;
            socket.charge(id, &mut frame, cost, path);
            inet.send_included(cx, link, path, frame)?;
        } else {
            let outer = ethernet::Header::LEN + VLAN_TAG + ipv4::Header::MAX_LEN;
            let frame = Frame::from_bytes(&send.payload, outer);
            let way = (destination.ip(), path);
            self.send_frame(cx, link, inet, id, (frame, cost), &send.info, (raw.protocol, 0), way)?;
        }
        cx.count(Counter::RawSent);
        Ok(())
    }

    /// A packet for this host, of a protocol that raw sockets hear. Whether one of them takes it.
    pub(crate) fn receive_raw(&mut self, cx: &mut Context, inet: &Inet, copy: RawCopy) -> bool {
        let RawCopy { interface, header, packet } = copy;
        let protocol = header.protocol.0;
        let first = packet.bytes().get(header.header_len()).copied();
        let sockets = self.raw.range((protocol, FIRST)..=(protocol, LAST)).map(|(_, id)| *id);
        let takes =
            |id: &SocketId| self.all.value(*id).is_some_and(|socket| socket.takes(interface, &header, first));
        let (group, source) = (IpAddr::V4(header.destination), IpAddr::V4(header.source));
        let wants = |id: &SocketId| inet.admits(*id, interface, group, source);
        let takers: Vec<_> = sockets.filter(takes).filter(wants).collect();
        if takers.is_empty() {
            return false;
        }
        let about = Datagram {
            payload: Payload::Empty,
            segment: None,
            source: SocketAddr::new(IpAddr::V4(header.source), 0),
            destination: SocketAddr::new(IpAddr::V4(header.destination), 0),
            interface,
            ttl: header.ttl,
            tos: header.tos,
            received: cx.now,
        };
        let packet = finished(packet);
        takers.into_iter().for_each(|id| self.queue(cx, id, &mut packet.clone(), about.clone()));
        true
    }

    /// Raw sockets of the protocol of a packet that went from one of our addresses to another.
    pub(super) fn raw_senders(
        &self,
        protocol: Protocol,
        source: IpAddr,
        destination: IpAddr,
    ) -> Vec<SocketId> {
        let sockets = self.raw.range((protocol.0, FIRST)..=(protocol.0, LAST)).map(|(_, id)| *id);
        let sent = |id: &SocketId| {
            self.all.value(*id).is_some_and(|socket| {
                let peer = socket.remote.map(|remote| remote.ip());
                socket.bound_ip().is_none_or(|bound| bound == source)
                    && peer.is_none_or(|peer| peer == destination)
            })
        };
        sockets.filter(sent).collect()
    }
}

/// Bounds of the sockets of one protocol.
const FIRST: SocketId = SocketId { index: 0, generation: 0 };
const LAST: SocketId = SocketId { index: u32::MAX, generation: u32::MAX };

impl Socket {
    /// Whether a raw socket takes a packet, the first byte of whose payload tells the type if it is of ICMP.
    fn takes(&self, interface: u32, header: &ipv4::Header, first: Option<u8>) -> bool {
        let Kind::Raw(raw) = self.kind else { return false };
        let filtered = raw.protocol == Protocol::ICMP
            && first.is_some_and(|kind| kind < 32 && raw.icmp_filter & 1 << kind != 0);
        // Who names no protocol hears none.
        !filtered
            && raw.protocol != Protocol(u8::MAX)
            && self.interface.is_none_or(|bound| bound == interface)
            && self.bound_ip().is_none_or(|bound| bound == IpAddr::V4(header.destination))
            && self.remote.is_none_or(|remote| remote.ip() == IpAddr::V4(header.source))
    }
}

/// A packet as a wire would have brought it: what its sender left of its checksum is computed, unless it is a super-frame.
fn finished(packet: Received) -> Received {
    let Checksum::Partial { start, offset } = packet.offload.checksum else { return packet };
    let cursor = packet.cursor();
    let mut whole: Vec<u8> = packet.whole().flatten().copied().collect();
    let (start, place) = (usize::from(start), usize::from(start) + usize::from(offset));
    if packet.offload.gso.is_none() && place + 2 <= whole.len() {
        let sum = rumpnet_wire::checksum::Sum::new().add(&whole[start..]).finish_nonzero();
        whole[place..place + 2].copy_from_slice(&sum.to_be_bytes());
    }
    let mut finished = Received::new(whole.into(), Offload::default());
    finished.advance(cursor);
    finished
}

/// Why a datagram that has no room is dropped, by the kind of its socket.
pub(super) const fn full_reason(kind: Kind, memory: bool) -> DropReason {
    match (kind, memory) {
        (Kind::Udp, false) => DropReason::UdpSocketFull,
        (Kind::Udp, true) => DropReason::UdpMemoryFull,
        (_, false) => DropReason::RawSocketFull,
        (_, true) => DropReason::RawMemoryFull,
    }
}
