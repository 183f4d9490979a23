//! IPv4 input and output (RFC 791, RFC 1122 section 3).
//!
//! Input ends in a transport's parser; output begins with a [`Path`] and ends at the link or in the neighbour cache.
//! Packets for other hosts go to [`super::forward`], unless any-address sockets take them.

use core::net::{IpAddr, Ipv4Addr};

use rumpnet_proto::{Counter, DropReason, Errno};
use rumpnet_wire::{
    Malformed, checksum,
    ethernet::{self, EtherType},
    ip::Protocol,
    ipv4::{Header, Options},
};

use super::{
    Delivery, Inet, Unclaimed,
    fragment::{self, GivenUp, Input},
    icmp::ErrorKind,
    options::determine_option_fault,
    route::{Path, Scope},
};
use crate::{
    buffer::{Frame, Offload, Payload, Received},
    context::Context,
    link::{Incoming, Link, LinkDestination, segment::complete_checksum},
};

/// What the IPv4 header of an outgoing packet shall say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing {
    pub(crate) protocol: Protocol,
    pub(crate) destination: IpAddr,
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
    pub(crate) dont_fragment: bool,
    /// Bytes of transport header at the front of the frame, repeated in each segment of a super-frame.
    pub(crate) transport_len: usize,
    /// Options, of which those that record route or time begin with us.
    pub(crate) options: Options,
}

/// What a packet's header calls for.
enum Disposition {
    /// It is not for us, or broken.
    Drop(DropReason),
    /// It is broken, and its sender is told why.
    Refuse(DropReason, ErrorKind),
    /// It is for another host, and we are a router.
    Forward,
    /// It is a fragment for us.
    Reassemble,
    /// It is for us, or taken for somebody else.
    Deliver(Audience),
}

/// Whom a packet is for that we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// One of our addresses.
    Us,
    /// A group or a broadcast address.
    Many,
    /// An address that is not ours, for which a socket takes packets.
    Foreign,
}

impl Inet {
    /// An IPv4 packet has come in.
    #[inline]
    pub(super) fn receive_ipv4(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        incoming: &Incoming,
        packet: &mut Received,
    ) -> Option<Delivery> {
        let Incoming { interface, .. } = *incoming;
        cx.count(Counter::IpReceived);
        let header = match parse(packet) {
            Ok(header) => header,
            Err(reason) => {
                cx.drop_received(interface, reason, packet);
                return None;
            }
        };
        packet.truncate(usize::from(header.total_len));
        packet.mark_network();
        match self.determine_disposition(cx, &header, incoming, packet) {
            Disposition::Forward => {
                self.forward(cx, link, incoming, &header, packet);
                None
            }
            Disposition::Drop(reason) => {
                cx.drop_received(interface, reason, packet);
                None
            }
            Disposition::Refuse(reason, error) => {
                cx.drop_received(interface, reason, packet);
                self.send_icmp_error(cx, link, error, packet);
                None
            }
            Disposition::Reassemble => self.reassemble(cx, link, interface, &header, packet),
            Disposition::Deliver(audience) => {
                if audience == Audience::Many {
                    self.forward_broadcast(cx, link, incoming, &header, packet);
                }
                self.deliver(cx, link, interface, &header, packet, audience)
            }
        }
    }

    #[inline]
    fn determine_disposition(
        &self,
        cx: &Context,
        header: &Header,
        incoming: &Incoming,
        packet: &Received,
    ) -> Disposition {
        let foreign = !incoming.looped;
        let source = IpAddr::V4(header.source);
        // A packet of ours that comes back, or one that would make us answer ourselves, is nobody's.
        let is_own = foreign && self.addresses.is_ours(source);
        let is_martian = is_martian_source(header.source, foreign) && !is_unaddressed_igmp(header);
        if is_martian || is_own || self.addresses.is_broadcast(source) {
            return Disposition::Drop(DropReason::Ipv4SourceInvalid);
        }
        if !self.is_source_plausible(cx, incoming, header.source) {
            return Disposition::Drop(DropReason::Ipv4ReversePath);
        }
        // 127/8 stays inside a host (RFC 1122 section 3.2.1.3).
        if foreign && header.destination.is_loopback() {
            return Disposition::Drop(DropReason::Ipv4DestinationInvalid);
        }
        if let Some(reason) = self.determine_group_refusal(cx, header, incoming) {
            return Disposition::Drop(reason);
        }
        let port = determine_port(header, packet);
        let Some(audience) = self.determine_audience(cx, incoming.interface, header, port) else {
            let forwards = cx.config.forwarding && foreign;
            return if forwards { Disposition::Forward } else { Disposition::Drop(DropReason::Ipv4NotForUs) };
        };
        // A unicast packet in a broadcast frame is not to be answered (RFC 1122 section 3.3.6).
        if incoming.to_group && audience != Audience::Many {
            return Disposition::Drop(DropReason::Ipv4DestinationInvalid);
        }
        match determine_option_fault(&header.options) {
            Some((reason, error)) if audience == Audience::Us => Disposition::Refuse(reason, error),
            Some((reason, _)) => Disposition::Drop(reason),
            None if header.more_fragments || header.fragment_offset != 0 => Disposition::Reassemble,
            None => Disposition::Deliver(audience),
        }
    }

    /// Whom a packet is for; none if it is neither for us nor for a socket that takes what is not.
    #[inline]
    fn determine_audience(
        &self,
        cx: &Context,
        interface: u32,
        header: &Header,
        port: Option<u16>,
    ) -> Option<Audience> {
        let destination = IpAddr::V4(header.destination);
        if self.addresses.is_ours(destination) || header.destination.is_loopback() {
            return Some(Audience::Us);
        }
        if self.is_to_many(header) {
            return Some(Audience::Many);
        }
        cx.foreign.admits(interface, destination, header.protocol, port).then_some(Audience::Foreign)
    }

    /// A whole packet that we take: to the transport it names.
    fn deliver(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        interface: u32,
        header: &Header,
        packet: &mut Received,
        audience: Audience,
    ) -> Option<Delivery> {
        let foreign = audience == Audience::Foreign;
        cx.count(if foreign { Counter::IpForeign } else { Counter::IpDelivered });
        if !foreign {
            self.offer_raw(cx, interface, header, packet);
        }
        packet.advance(header.header_len());
        match header.protocol {
            Protocol::UDP => super::udp::receive(cx, interface, header, packet, audience),
            Protocol::TCP if audience != Audience::Many => {
                super::tcp::segment::receive(cx, interface, header, packet, foreign)
            }
            Protocol::ICMP => self.receive_icmp(cx, link, interface, header, packet, audience),
            Protocol::IGMP if !foreign => self.receive_igmp(cx, link, interface, header, packet, audience),
            // Nobody can be connected with many (RFC 1122 section 4.2.3.10).
            Protocol::TCP => {
                cx.drop_received(interface, DropReason::TcpToMany, packet);
                None
            }
            _ if foreign => {
                cx.drop_received(interface, DropReason::Ipv4NotForUs, packet);
                None
            }
            _ => {
                let reason = DropReason::Ipv4UnknownProtocol;
                Some(Delivery::Unclaimed(Unclaimed { interface, audience, reason }))
            }
        }
    }

    /// Nobody wants a packet: it is counted, and its sender told if nobody here speaks its protocol.
    pub(crate) fn refuse_unclaimed(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        unclaimed: Unclaimed,
        packet: &Received,
    ) {
        let Unclaimed { interface, audience, reason } = unclaimed;
        cx.drop_received(interface, reason, packet);
        if reason != DropReason::Ipv4UnknownProtocol {
            return;
        }
        if let Some(statistics) = cx.statistics.interface_mut(interface) {
            statistics.counters.unknown_protocol += 1;
        }
        if audience == Audience::Us {
            self.send_icmp_error(cx, link, ErrorKind::ProtocolUnreachable, packet);
        }
    }

    fn reassemble(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        interface: u32,
        header: &Header,
        packet: &mut Received,
    ) -> Option<Delivery> {
        cx.count(Counter::IpFragmentsReceived);
        let mut fragment = packet.clone();
        fragment.advance(header.header_len());
        let outcome = self.reassembly.receive(cx.now, interface, header, &fragment.into_payload());
        outcome.given_up.iter().for_each(|given_up| count_given_up(cx, given_up));
        match outcome.input {
            Input::Kept => None,
            Input::Dropped(reason) => {
                cx.drop_received(interface, reason, packet);
                None
            }
            Input::Complete { header, payload } => {
                cx.count(Counter::IpReassembled);
                *packet = rebuilt(&header, &payload);
                // Whoever wanted the first fragment may have left meanwhile.
                let Some(audience) =
                    self.determine_audience(cx, interface, &header, determine_port(&header, packet))
                else {
                    cx.drop_received(interface, DropReason::Ipv4NotForUs, packet);
                    return None;
                };
                self.deliver(cx, link, interface, &header, packet, audience)
            }
        }
    }

    /// Datagrams whose fragments never came: their senders are told if the first one did (RFC 1122 section 3.3.2).
    pub(super) fn on_fragment_timer(&mut self, cx: &mut Context, link: &mut Link) {
        while let Some(expired) = self.reassembly.next_expired(cx.now) {
            count_given_up(cx, &expired.given_up);
            if let Some((header, payload)) = expired.first
                && !self.is_to_many(&header)
            {
                let packet = rebuilt(&header, &payload);
                self.send_icmp_error(cx, link, ErrorKind::ReassemblyTimeExceeded, &packet);
            }
        }
    }

    /// Why a packet to a group is not for us, if it is to one (RFC 1112 section 7.2).
    fn determine_group_refusal(
        &self,
        cx: &Context,
        header: &Header,
        incoming: &Incoming,
    ) -> Option<DropReason> {
        let group = header.destination;
        if !group.is_multicast() {
            return None;
        }
        let source = (header.protocol != Protocol::IGMP).then_some(header.source);
        let reason = self.multicast.determine_refusal((incoming.interface, group), source)?;
        // What is of one link alone no router passes on, whatever its time to live (RFC 5771 section 4).
        let of_link = matches!(group.octets(), [224, 0, 0, _]) || header.ttl <= 1 || incoming.looped;
        let misses_router = cx.config.forwarding && !of_link && reason == DropReason::Ipv4GroupNotJoined;
        Some(if misses_router { DropReason::Ipv4MulticastNotForwarded } else { reason })
    }

    fn is_to_many(&self, header: &Header) -> bool {
        header.destination.is_multicast() || self.addresses.is_broadcast(IpAddr::V4(header.destination))
    }

    /// Sends a transport packet, whose header is already in the frame, along a path.
    ///
    /// EMSGSIZE if it exceeds the MTU and may not be fragmented or is too long for IPv4; what the link or a neighbour refuse.
    #[inline]
    pub(crate) fn send(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        path: &Path,
        outgoing: &Outgoing,
        mut frame: Frame,
    ) -> Result<(), Errno> {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (path.source, outgoing.destination) else {
            cx.drop_sent(path.interface, DropReason::Ipv6Unsupported, &frame);
            return Err(Errno::AfNoSupport);
        };
        let header_len = Header::LEN + outgoing.options.as_bytes().len();
        let len = header_len + frame.len();
        let wire_len =
            frame.offload.gso.map_or(len, |gso| header_len + outgoing.transport_len + usize::from(gso.size));
        if len > usize::from(u16::MAX)
            || (wire_len > path.mtu as usize && (outgoing.dont_fragment || frame.offload.gso.is_some()))
        {
            cx.drop_sent(path.interface, DropReason::Ipv4MessageSize, &frame);
            return Err(Errno::MsgSize);
        }
        let mut header = Header {
            tos: outgoing.tos,
            total_len: len as u16,
            identification: self
                .identifications
                .next((source, destination, outgoing.protocol), frame.segments()),
            dont_fragment: outgoing.dont_fragment,
            more_fragments: false,
            fragment_offset: 0,
            ttl: outgoing.ttl,
            protocol: outgoing.protocol,
            source,
            destination,
            options: outgoing.options,
        };
        if !header.options.is_empty() {
            self.stamp_own(cx, path, &mut header);
        }
        cx.count(Counter::IpSent);
        let whole = || {
            let mut whole = frame.clone();
            prepend(&header, &mut whole);
            whole
        };
        if !self.goes_beyond(cx, link, path, (destination, header.ttl), whole) {
            cx.released.extend(frame.charge);
            return Ok(());
        }
        if wire_len > path.mtu as usize {
            return self.send_fragments(cx, link, path, &header, frame);
        }
        prepend(&header, &mut frame);
        self.send_on_link(cx, link, path, frame)
    }

    /// Whether a packet leaves the kernel. One to a group that we are in ourselves comes back, too, as if it had come whole by the interface
    /// that it leaves by; without time to live it does no more than that (RFC 1112 section 6.1).
    pub(super) fn goes_beyond(
        &self,
        cx: &mut Context,
        link: &mut Link,
        path: &Path,
        (group, ttl): (Ipv4Addr, u8),
        packet: impl FnOnce() -> Frame,
    ) -> bool {
        let Scope::Multicast { loops } = path.scope else { return true };
        if loops && self.multicast.is_joined(path.interface, group) {
            let copy = Frame { charge: None, ..packet() };
            let looped = link.loop_back(cx, path.interface, EtherType::IPV4, &copy);
            cx.add(Counter::IpMulticastLooped, looped.into());
        }
        if ttl == 0 {
            cx.count(Counter::IpMulticastKept);
        }
        ttl > 0
    }

    pub(super) fn send_fragments(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        path: &Path,
        header: &Header,
        mut frame: Frame,
    ) -> Result<(), Errno> {
        if let Err(reason) = complete_checksum(&mut frame) {
            cx.drop_sent(path.interface, reason, &frame);
            return Err(Errno::Inval);
        }
        let parts = match fragment::fragments(header, &frame, path.mtu) {
            Ok(parts) => parts,
            Err(reason) => {
                cx.drop_sent(path.interface, reason, &frame);
                return Err(Errno::MsgSize);
            }
        };
        cx.count(Counter::IpFragmented);
        for (header, mut frame) in parts {
            cx.count(Counter::IpFragmentsSent);
            prepend(&header, &mut frame);
            self.send_on_link(cx, link, path, frame)?;
        }
        Ok(())
    }

    #[inline]
    pub(super) fn send_on_link(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        path: &Path,
        frame: Frame,
    ) -> Result<(), Errno> {
        let resolves = link
            .interfaces
            .by_index(path.interface)
            .is_some_and(|interface| interface.link_address.is_some());
        let address = match path.scope {
            Scope::Unicast if resolves => {
                return self.send_to_neighbor(cx, link, (path.interface, path.next_hop), frame);
            }
            Scope::Nobody => {
                cx.drop_sent(path.interface, DropReason::Ipv4Blackhole, &frame);
                return Ok(());
            }
            Scope::Own | Scope::Unicast | Scope::Broadcast => ethernet::Address::BROADCAST,
            Scope::Multicast { .. } => match path.next_hop {
                IpAddr::V4(group) => ethernet::Address::multicast_v4(group),
                IpAddr::V6(group) => ethernet::Address::multicast_v6(group),
            },
        };
        link.send(cx, path.interface, LinkDestination { address, ethertype: EtherType::IPV4 }, frame)
    }
}

/// The packet's header, checked against its length and its checksum.
fn parse(packet: &Received) -> Result<Header, DropReason> {
    let bytes = packet.bytes();
    let first = *bytes.first().ok_or(DropReason::Ipv4Truncated)?;
    if first >> 4 != 4 {
        return Err(DropReason::Ipv4Version);
    }
    let (header, _) = Header::parse_quoted(bytes).map_err(|fault| match fault {
        Malformed::Truncated => DropReason::Ipv4Truncated,
        _ => DropReason::Ipv4HeaderLength,
    })?;
    if checksum::of(&bytes[..header.header_len()]) != 0 {
        return Err(DropReason::Ipv4Checksum);
    }
    // The payload may lie in further slices, so the length is held against all of them.
    if usize::from(header.total_len) > packet.len() { Err(DropReason::Ipv4Truncated) } else { Ok(header) }
}

/// The port that a whole packet is for, if its protocol has any.
fn determine_port(header: &Header, packet: &Received) -> Option<u16> {
    let whole = !header.more_fragments && header.fragment_offset == 0;
    let has_ports = whole && matches!(header.protocol, Protocol::TCP | Protocol::UDP);
    let ports = packet.bytes().get(header.header_len()..)?.first_chunk::<4>().filter(|_| has_ports)?;
    Some(u16::from_be_bytes([ports[2], ports[3]]))
}

/// Sources that no host on a wire has (RFC 1122 section 3.2.1.3, RFC 6890).
fn is_martian_source(source: Ipv4Addr, foreign: bool) -> bool {
    source.is_multicast()
        || source.is_broadcast()
        || source.octets()[0] == 0
        || (foreign && source.is_loopback())
}

/// Whoever has no address yet may speak of groups all the same (RFC 3376 section 4.2.13, RFC 4541 section 2.1.1).
fn is_unaddressed_igmp(header: &Header) -> bool {
    header.source.is_unspecified() && header.protocol == Protocol::IGMP && header.destination.is_multicast()
}

/// Each fragment that was held in vain is a packet dropped.
fn count_given_up(cx: &mut Context, given_up: &GivenUp) {
    (0..given_up.fragments).for_each(|_| cx.count_drop(given_up.interface, given_up.reason));
}

/// A packet made of a header and reassembled payload, in one piece.
fn rebuilt(header: &Header, payload: &Payload) -> Received {
    let mut whole = alloc::vec![0; header.header_len() + payload.len()];
    let (head, tail) = whole.split_at_mut(header.header_len());
    header.emit(head).expect("the room has the header's length");
    payload.copy_to(tail);
    Received::new(whole.into(), Offload::default())
}

fn prepend(header: &Header, frame: &mut Frame) {
    let len = header.header_len();
    let room = frame.headers.prepend(len).expect("transport headers leave room for an IPv4 header");
    header.emit(room).expect("the room has the header's length");
    frame.offload = frame.offload.with_front(len);
}
