//! The virtio-net header and the stack's description of what is left to do: the same thing in two vocabularies.

use rumpnet_stack::buffer::{Checksum, Frame, Gso, GsoKind, Offload};
use rumpnet_wire::virtio::{Flags, GsoType, Header};

/// What the header of a received frame says; lies in it are the stack's to find.
pub(crate) fn to_offload(header: &Header) -> Offload {
    let checksum = if header.flags.contains(Flags::NEEDS_CSUM) {
        Checksum::Partial { start: header.csum_start, offset: header.csum_offset }
    } else if header.flags.contains(Flags::DATA_VALID) {
        Checksum::Verified
    } else {
        Checksum::Unverified
    };
    let gso = |kind| Some(Gso { kind, size: header.gso_size, ecn: header.ecn, fixed_identification: false });
    let gso = match header.gso_type {
        GsoType::None => None,
        GsoType::Tcp4 => gso(GsoKind::Tcp4),
        GsoType::Tcp6 => gso(GsoKind::Tcp6),
        GsoType::UdpL4 => gso(GsoKind::Udp),
        // One datagram over IP fragments is never granted to us; a size of 0 makes it a counted lie.
        GsoType::Udp => Some(Gso { kind: GsoKind::Udp, size: 0, ecn: false, fixed_identification: false }),
    };
    Offload { checksum, gso }
}

/// The description of a frame that nobody can read, which the stack counts as a lie.
pub(crate) const fn impossible() -> Offload {
    Offload {
        checksum: Checksum::Unverified,
        gso: Some(Gso { kind: GsoKind::Udp, size: 0, ecn: false, fixed_identification: false }),
    }
}

/// The header that goes before a frame.
pub(crate) fn to_header(frame: &Frame) -> Header {
    let mut header = Header::default();
    match frame.offload.checksum {
        Checksum::Partial { start, offset } => {
            header.flags = Flags::NEEDS_CSUM;
            header.csum_start = start;
            header.csum_offset = offset;
        }
        Checksum::Verified => header.flags = Flags::DATA_VALID,
        Checksum::Unverified => {}
    }
    if let Some(gso) = frame.offload.gso {
        header.gso_type = match gso.kind {
            GsoKind::Tcp4 => GsoType::Tcp4,
            GsoKind::Tcp6 => GsoType::Tcp6,
            GsoKind::Udp => GsoType::UdpL4,
        };
        header.ecn = gso.ecn;
        header.gso_size = gso.size;
        header.hdr_len = frame.headers.len() as u16;
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(offload: Offload) -> Frame {
        Frame { offload, ..Frame::default() }
    }

    #[test]
    fn what_a_header_says_is_what_was_described() {
        for kind in [GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::Udp] {
            let offload = Offload {
                checksum: Checksum::Partial { start: 34, offset: 16 },
                gso: Some(Gso { kind, size: 1448, ecn: true, fixed_identification: false }),
            };
            assert_eq!(to_offload(&to_header(&frame(offload))), offload);
        }
        for checksum in [Checksum::Verified, Checksum::Unverified] {
            let offload = Offload { checksum, gso: None };
            assert_eq!(to_offload(&to_header(&frame(offload))), offload);
        }
    }

    #[test]
    fn a_datagram_over_fragments_is_never_taken_for_a_train() {
        let header = Header { gso_type: GsoType::Udp, gso_size: 1480, ..Header::default() };
        assert_eq!(to_offload(&header).gso.map(|gso| gso.size), Some(0));
    }
}
