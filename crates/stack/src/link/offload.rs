//! The far side's offload description is input like any other: what contradicts the frame is a named drop.

use rumpnet_proto::DropReason;
use rumpnet_wire::{ethernet::EtherType, ip::Protocol, ipv6, udp};

use crate::buffer::{Checksum, Gso, GsoKind, Received};

/// The most segments that a super-frame may stand for (Linux's UDP_MAX_SEGMENTS; TCP's are bounded by 64 KiB at an MSS of 64 or more).
const MAX_SEGMENTS: usize = 1024;

/// Whether the frame, whose next bytes are a network header announced as `ethertype`, is as its offload header says.
///
/// Checked are: the checksum's place, the segment size, the number of segments, and the kind against the protocols.
pub(crate) fn determine_offload_fault(packet: &Received, ethertype: EtherType) -> Option<DropReason> {
    if let Checksum::Partial { start, offset } = packet.offload.checksum {
        let end = packet.cursor() + packet.len();
        let place = usize::from(start) + usize::from(offset) + 2;
        // Nothing of the network header is anybody's to change.
        if usize::from(start) < packet.cursor() + network_len(packet, ethertype) || place > end {
            return Some(DropReason::OffloadChecksumRange);
        }
    }
    let gso = packet.offload.gso?;
    if gso.size == 0 {
        return Some(DropReason::OffloadGsoSize);
    }
    if !kind_fits(gso.kind, ethertype, packet.bytes()) {
        return Some(DropReason::OffloadGsoKind);
    }
    if packet.len().div_ceil(usize::from(gso.size)) > MAX_SEGMENTS {
        return Some(DropReason::OffloadSegments);
    }
    None
}

/// Bytes of the network header that the packet says it has.
fn network_len(packet: &Received, ethertype: EtherType) -> usize {
    match ethertype {
        EtherType::IPV4 => packet.bytes().first().map_or(0, |first| usize::from(first & 15) * 4),
        EtherType::IPV6 => ipv6::Header::LEN,
        _ => 0,
    }
}

/// How many packets a super-frame whose first byte is its link header says it stands for, and the bytes of headers in each.
pub(crate) fn segments(packet: &Received, gso: Gso, link_len: usize) -> (usize, usize) {
    let network = packet.bytes().get(link_len..).unwrap_or_default();
    let network_len = match network.first() {
        Some(first) if first >> 4 == 4 => usize::from(first & 15) * 4,
        _ => ipv6::Header::LEN,
    };
    let transport_len = match gso.kind {
        GsoKind::Udp => udp::Header::LEN,
        GsoKind::Tcp4 | GsoKind::Tcp6 => {
            network.get(network_len + 12).map_or(0, |offset| usize::from(offset >> 4) * 4)
        }
    };
    let headers = (link_len + network_len + transport_len).min(packet.len());
    let payload = packet.len() - headers;
    (payload.div_ceil(usize::from(gso.size).max(1)).max(1), headers)
}

/// Bytes of the longest packet that a super-frame says it stands for; its next bytes are the network header.
pub(crate) fn longest_segment(packet: &Received, gso: Gso) -> usize {
    let (_, headers) = segments(packet, gso, 0);
    packet.len().min(headers + usize::from(gso.size))
}

fn kind_fits(kind: GsoKind, ethertype: EtherType, network: &[u8]) -> bool {
    let protocol = match ethertype {
        EtherType::IPV4 => network.get(9),
        EtherType::IPV6 => network.get(6),
        _ => None,
    };
    match (kind, protocol.map(|number| Protocol(*number))) {
        (GsoKind::Tcp4, Some(Protocol::TCP)) => ethertype == EtherType::IPV4,
        (GsoKind::Tcp6, Some(Protocol::TCP)) => ethertype == EtherType::IPV6,
        (GsoKind::Udp, Some(Protocol::UDP)) => true,
        _ => false,
    }
}
