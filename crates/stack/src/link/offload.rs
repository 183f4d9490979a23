//! The far side's offload description is input like any other: what contradicts the frame is a named drop.

use rumpnet_proto::DropReason;
use rumpnet_wire::{ethernet::EtherType, ip::Protocol};

use crate::buffer::{Checksum, GsoKind, Received};

/// The most segments that a super-frame may stand for (Linux's UDP_MAX_SEGMENTS; TCP's are bounded by 64 KiB at an MSS of 64 or more).
const MAX_SEGMENTS: usize = 1024;

/// Whether the frame, whose next bytes are a network header announced as `ethertype`, is as its offload header says.
///
/// Checked are: the checksum's place, the segment size, the number of segments, and the kind against the protocols.
pub(crate) fn determine_offload_fault(packet: &Received, ethertype: EtherType) -> Option<DropReason> {
    if let Checksum::Partial { start, offset } = packet.offload.checksum {
        let end = packet.cursor() + packet.len();
        let place = usize::from(start) + usize::from(offset) + 2;
        if usize::from(start) < packet.cursor() || place > end {
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
