//! Ethernet input and output: which frames are for us, and the header of those we send.
//!
//! The order of the checks is that of NetBSD's ether_input(9): up, length, source, destination, protocol.

use rumpnet_proto::{Counter, DropReason, InterfaceFlags, LinkKind};
use rumpnet_wire::ethernet::{EtherType, Header};

use super::{Incoming, LinkDestination, interface::Interface, offload};
use crate::{
    buffer::{Frame, Received},
    context::{Context, Notice},
};

/// A frame has come in by an Ethernet port.
#[inline]
pub(super) fn receive(cx: &mut Context, interface: &mut Interface, frame: &mut Received) -> Option<Incoming> {
    let index = interface.index;
    let Ok((header, _)) = Header::parse(frame.bytes()) else {
        return refuse(cx, index, DropReason::LinkRunt, frame);
    };
    frame.advance(Header::LEN);
    let fault = determine_address_fault(interface, &header)
        .or_else(|| determine_fault(interface, frame, header.ethertype))
        .or_else(|| determine_protocol_fault(header.ethertype));
    if let Some(reason) = fault {
        note_fault(cx, interface, reason);
        return refuse(cx, index, reason, frame);
    }
    let to_group = header.destination.is_multicast();
    if to_group && let Some(statistics) = cx.statistics.interface_mut(index) {
        statistics.counters.input_multicasts += 1;
    }
    Some(Incoming { interface: index, ethertype: header.ethertype, to_group, looped: false })
}

/// What is wrong with the addresses of a frame, if anything.
fn determine_address_fault(interface: &Interface, header: &Header) -> Option<DropReason> {
    if !interface.is_up() {
        return Some(DropReason::LinkDown);
    }
    if interface.is_unplugged() {
        return Some(DropReason::LinkNoCarrier);
    }
    if header.source.is_multicast() {
        return Some(DropReason::LinkSourceInvalid);
    }
    let ours = interface.link_address;
    if Some(header.source) == ours {
        return Some(DropReason::LinkSourceOurs);
    }
    if Some(header.destination) == ours || header.destination.is_broadcast() {
        return None;
    }
    if header.destination.is_multicast() {
        return (!interface.wants_group(header.destination)).then_some(DropReason::LinkMulticastNotJoined);
    }
    // In promiscuous mode only captures see what is for others.
    Some(DropReason::LinkNotForUs)
}

/// What is wrong with a packet whatever its link, if anything; the cursor is past the link header.
pub(super) fn determine_fault(
    interface: &Interface,
    packet: &Received,
    ethertype: EtherType,
) -> Option<DropReason> {
    if !interface.is_up() {
        return Some(DropReason::LinkDown);
    }
    let wire_len = packet.offload.gso.map_or(packet.len(), |gso| offload::longest_segment(packet, gso));
    // A tagged frame is 4 bytes longer than the MTU says, on hardware too.
    let tag = if ethertype == EtherType::VLAN { 4 } else { 0 };
    if wire_len > interface.mtu as usize + tag {
        return Some(DropReason::LinkOversize);
    }
    offload::determine_offload_fault(packet, ethertype)
}

/// Whether a frame that has come in is for another station, so that only who is promiscuous sees it.
pub(super) fn is_foreign(interface: &Interface, frame: &Received) -> bool {
    if interface.kind != LinkKind::Ethernet || interface.is_promiscuous() {
        return false;
    }
    let Ok((header, _)) = Header::parse(frame.bytes()) else { return false };
    !header.destination.is_multicast() && Some(header.destination) != interface.link_address
}

fn determine_protocol_fault(ethertype: EtherType) -> Option<DropReason> {
    match ethertype {
        EtherType::IPV4 | EtherType::ARP => None,
        EtherType::IPV6 => Some(DropReason::Ipv6Unsupported),
        EtherType::VLAN => Some(DropReason::LinkVlan),
        _ => Some(DropReason::LinkUnknownProtocol),
    }
}

/// A stranger with our address is counted, and reported once.
fn note_fault(cx: &mut Context, interface: &mut Interface, reason: DropReason) {
    if reason != DropReason::LinkSourceOurs {
        return;
    }
    cx.count(Counter::OwnLinkAddressSeen);
    if !core::mem::replace(&mut interface.stranger_reported, true)
        && let Some(address) = interface.link_address
    {
        cx.notice(Notice::LinkAddressConflict { interface: interface.name, address });
    }
}

/// Drops a frame on input, and keeps the counters that ifconfig(8) shows.
pub(super) fn refuse(cx: &mut Context, index: u32, reason: DropReason, frame: &Received) -> Option<Incoming> {
    cx.drop_received(index, reason, frame);
    let statistics = cx.statistics.interface_mut(index)?;
    match reason {
        DropReason::LinkUnknownProtocol | DropReason::Ipv6Unsupported | DropReason::LinkVlan => {
            statistics.counters.unknown_protocol += 1;
        }
        DropReason::LinkNotForUs
        | DropReason::LinkMulticastNotJoined
        | DropReason::LinkDown
        | DropReason::LinkNoCarrier => {}
        _ => statistics.counters.input_errors += 1,
    }
    None
}

/// Puts the Ethernet header before a packet.
pub(super) fn encapsulate(interface: &Interface, to: LinkDestination, frame: &mut Frame) {
    let source =
        interface.link_address.expect("an Ethernet interface has a link address from its creation on");
    let header = Header { destination: to.address, source, ethertype: to.ethertype };
    let room = frame.headers.prepend(Header::LEN).expect("network headers leave room for an Ethernet header");
    room.copy_from_slice(&header.to_bytes());
    frame.offload = frame.offload.with_front(Header::LEN);
}

impl Interface {
    /// Whether neighbours on this link are found by asking.
    pub(crate) const fn resolves(&self) -> bool {
        matches!(self.kind, LinkKind::Ethernet) && !self.flags.contains(InterfaceFlags::NOARP)
    }
}
