//! ARP (RFC 826): who answers for an address, and what is learned from what others say.
//!
//! The neighbour cache keeps what is known ([`super::neighbor`]); conflict detection is in [`super::conflict`].

use core::net::{IpAddr, Ipv4Addr};

use rumpnet_proto::{Counter, DropReason, Errno, LinkName, RouteEvent};
use rumpnet_wire::{
    arp::{Operation, Packet},
    ethernet::{self, EtherType},
    ipv4::Header,
};

use super::{
    Inet,
    icmp::{ErrorKind, determine_offender},
    neighbor::{Evidence, Resolve, TimeoutAction},
};
use crate::{
    buffer::{Frame, Headers, Received},
    context::Context,
    link::{Link, LinkDestination, interface::Interface},
};

/// What an ARP packet calls for.
enum Disposition {
    /// It is nonsense, or none of our business.
    Drop(DropReason),
    /// Someone else uses one of our addresses.
    Conflict { address: Ipv4Addr },
    /// Learn from it, and answer it if it is a request and `answer` names the address to answer for.
    Accept { answer: Option<Answer>, to_us: bool },
}

/// For whom a request is answered.
#[derive(Clone, Copy)]
enum Answer {
    Own,
    Published(ethernet::Address),
}

impl Inet {
    /// An ARP packet has come in.
    pub(super) fn receive_arp(&mut self, cx: &mut Context, link: &mut Link, index: u32, received: &Received) {
        let Ok((packet, _)) = Packet::parse(received.bytes()) else {
            return cx.drop_received(index, DropReason::ArpMalformed, received);
        };
        match packet.operation {
            Operation::Request => cx.count(Counter::ArpRequestsReceived),
            Operation::Reply => cx.count(Counter::ArpRepliesReceived),
            Operation::Other(_) => {
                return cx.drop_received(index, DropReason::ArpMalformed, received);
            }
        }
        match self.determine_arp_disposition(link, index, &packet) {
            Disposition::Drop(reason) => cx.drop_received(index, reason, received),
            Disposition::Conflict { address } => {
                self.on_conflict(cx, link, index, address, packet.sender_hardware);
            }
            Disposition::Accept { answer, to_us } => {
                self.learn_from(cx, link, index, &packet, to_us);
                // An announcement asks nothing (RFC 5227 section 3).
                let asks = packet.operation == Operation::Request
                    && packet.sender_protocol != packet.target_protocol;
                match answer {
                    Some(answer) if asks => self.answer_arp(cx, link, index, &packet, answer),
                    None if asks => cx.drop_received(index, DropReason::ArpNotForUs, received),
                    _ => {}
                }
            }
        }
    }

    fn determine_arp_disposition(&self, link: &Link, index: u32, packet: &Packet) -> Disposition {
        let Some(interface) = link.interfaces.by_index(index) else {
            return Disposition::Drop(DropReason::LinkNoPort);
        };
        if !interface.resolves() {
            return Disposition::Drop(DropReason::ArpDisabled);
        }
        if packet.sender_hardware.is_multicast() || is_no_host(packet.sender_protocol) {
            return Disposition::Drop(DropReason::ArpSenderInvalid);
        }
        let own = |address: Ipv4Addr| self.addresses.find(index, IpAddr::V4(address));
        if own(packet.sender_protocol).is_some() {
            return Disposition::Conflict { address: packet.sender_protocol };
        }
        let target = packet.target_protocol;
        let probe = packet.sender_protocol.is_unspecified();
        match own(target) {
            // Two hosts that probe for the same address at once both lose it (RFC 5227 section 2.1.1).
            Some(entry) if probe && entry.probes_left > 0 => Disposition::Conflict { address: target },
            Some(entry) if self.addresses.is_ours(entry.address) => {
                Disposition::Accept { answer: Some(Answer::Own), to_us: true }
            }
            Some(_) => Disposition::Drop(DropReason::ArpNotForUs),
            None => match self.neighbors.published((index, IpAddr::V4(target))) {
                Some(address) => {
                    Disposition::Accept { answer: Some(Answer::Published(address)), to_us: false }
                }
                None => Disposition::Accept { answer: None, to_us: false },
            },
        }
    }

    /// RFC 826: what is in the cache is brought up to date by anyone; something new is kept only if we were addressed.
    fn learn_from(&mut self, cx: &mut Context, link: &mut Link, index: u32, packet: &Packet, to_us: bool) {
        if packet.sender_protocol.is_unspecified() {
            return;
        }
        let evidence = match packet.operation {
            Operation::Reply => Evidence::Reply,
            _ if to_us => Evidence::Request,
            _ => Evidence::Overheard,
        };
        let key = (index, IpAddr::V4(packet.sender_protocol));
        let learned = self.neighbors.learn(cx.now, key, packet.sender_hardware, evidence);
        if learned.refused {
            cx.count(Counter::ArpRefused);
        }
        if learned.moved.is_some() {
            cx.count(Counter::ArpMoved);
        }
        cx.add(Counter::NeighborEvicted, u64::from(learned.evicted));
        let to = LinkDestination { address: packet.sender_hardware, ethertype: EtherType::IPV4 };
        for frame in learned.released {
            // The link has counted what it could not take.
            let _dropped: Result<(), Errno> = link.send(cx, index, to, frame);
        }
    }

    fn answer_arp(&self, cx: &mut Context, link: &mut Link, index: u32, request: &Packet, answer: Answer) {
        let ours = link.interfaces.by_index(index).and_then(|interface| interface.link_address);
        let hardware = match (answer, ours) {
            (Answer::Published(address), _) => address,
            (Answer::Own, Some(ours)) => ours,
            (Answer::Own, None) => return,
        };
        cx.count(match answer {
            Answer::Own => Counter::ArpRepliesSent,
            Answer::Published(_) => Counter::ArpProxied,
        });
        let reply = Packet {
            operation: Operation::Reply,
            sender_hardware: hardware,
            sender_protocol: request.target_protocol,
            target_hardware: request.sender_hardware,
            target_protocol: request.sender_protocol,
        };
        send_arp(cx, link, index, request.sender_hardware, &reply);
    }

    /// Asks for the link address of `target`, of the station `at` that had it last or of all.
    fn request_arp(
        &self,
        cx: &mut Context,
        link: &mut Link,
        key: (u32, IpAddr),
        at: Option<ethernet::Address>,
    ) {
        let (index, IpAddr::V4(target)) = key else { return };
        let Some(source) = self.addresses.source_for(index, key.1, cx.config.dad_optimistic) else { return };
        let (Some(hardware), IpAddr::V4(source)) =
            (link.interfaces.by_index(index).and_then(|interface| interface.link_address), source)
        else {
            return;
        };
        cx.count(Counter::ArpRequestsSent);
        let request = Packet {
            operation: Operation::Request,
            sender_hardware: hardware,
            sender_protocol: source,
            target_hardware: ethernet::Address([0; 6]),
            target_protocol: target,
        };
        send_arp(cx, link, index, at.unwrap_or(ethernet::Address::BROADCAST), &request);
    }

    /// Sends an IP packet to a neighbour, or keeps it until the neighbour's link address is known.
    #[inline]
    pub(super) fn send_to_neighbor(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        key: (u32, IpAddr),
        frame: Frame,
    ) -> Result<(), Errno> {
        if let Some(address) = self.neighbors.lookup(cx.now, key) {
            return link.send(cx, key.0, LinkDestination { address, ethertype: EtherType::IPV4 }, frame);
        }
        self.send_when_resolved(cx, link, key, frame)
    }

    #[cold]
    fn send_when_resolved(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        key: (u32, IpAddr),
        frame: Frame,
    ) -> Result<(), Errno> {
        match self.neighbors.resolve(cx.now, key, frame) {
            Resolve::Known { address, packet } => {
                link.send(cx, key.0, LinkDestination { address, ethertype: EtherType::IPV4 }, packet)
            }
            Resolve::Queued { ask, dropped, evicted } => {
                cx.add(Counter::NeighborEvicted, u64::from(evicted));
                dropped.iter().for_each(|frame| cx.drop_sent(key.0, DropReason::NeighborQueueFull, frame));
                if ask {
                    self.request_arp(cx, link, key, None);
                }
                Ok(())
            }
            Resolve::Unreachable { packet } => {
                cx.drop_sent(key.0, DropReason::NeighborUnreachable, &packet);
                Err(Errno::HostDown)
            }
            Resolve::TableFull { packet } => {
                cx.drop_sent(key.0, DropReason::NeighborTableFull, &packet);
                Err(Errno::NoBufs)
            }
        }
    }

    /// Some neighbour is due: ask again, give up, or forget.
    pub(super) fn on_neighbor_timer(&mut self, cx: &mut Context, link: &mut Link) {
        for _ in 0..NEIGHBORS_AT_ONCE {
            let Some((key, action)) = self.neighbors.next_timeout(cx.now) else { return };
            match action {
                TimeoutAction::Ask { at } => self.request_arp(cx, link, key, at),
                TimeoutAction::GiveUp { packets } => {
                    let link_name = |found: &Interface| LinkName { name: found.name, index: key.0 };
                    let asked_on = link.interfaces.by_index(key.0).map(link_name);
                    cx.tell(|| RouteEvent::Miss { destination: key.1, link: asked_on });
                    packets
                        .iter()
                        .for_each(|frame| cx.drop_sent(key.0, DropReason::NeighborUnreachable, frame));
                    self.unreachable
                        .extend(packets.iter().filter_map(|frame| frame.charge).map(|charge| charge.socket));
                    let of_tcp = |frame: &Frame| determine_offender(frame.headers.as_slice());
                    self.undelivered.extend(packets.iter().filter_map(of_tcp));
                    packets.into_iter().for_each(|frame| self.tell_of_missing_host(cx, link, frame));
                }
                TimeoutAction::Forget => {}
            }
        }
    }

    /// A packet that was forwarded to a neighbour which did not answer: its sender hears of it.
    fn tell_of_missing_host(&mut self, cx: &mut Context, link: &mut Link, frame: Frame) {
        let source = Header::parse_quoted(frame.headers.as_slice()).map(|(header, _)| header.source);
        if source.is_ok_and(|source| !self.addresses.is_ours(source.into())) {
            self.send_icmp_error(cx, link, ErrorKind::HostUnreachable, &Received::from(frame));
        }
    }
}

/// Neighbours looked at in one call, so that mass expiry holds no lock for long.
const NEIGHBORS_AT_ONCE: usize = 64;

/// Puts an ARP packet on the link; one that the link drops is counted there.
pub(super) fn send_arp(
    cx: &mut Context,
    link: &mut Link,
    index: u32,
    to: ethernet::Address,
    packet: &Packet,
) {
    let headers =
        Headers::copy_from(&packet.to_bytes()).expect("an ARP packet is shorter than the room for headers");
    let frame = Frame { headers, ..Frame::default() };
    let _counted = link.send(cx, index, LinkDestination { address: to, ethertype: EtherType::ARP }, frame);
}

/// An address that no single host has.
fn is_no_host(address: Ipv4Addr) -> bool {
    address.is_multicast() || address.is_broadcast() || address.is_loopback()
}
