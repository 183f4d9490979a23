//! Segmentation and checksums in software, for ports whose far end does neither: the one place where super-frames fall apart.
//!
//! Headers are copied and mended for each segment (RFC 791, RFC 9293, RFC 768); payload is shared. Input is a frame of
//! our own stack or one that passed [`super::offload`]; one whose headers make no sense is cut as if it had none.

use rumpnet_wire::{checksum, checksum::Sum, ethernet, ip, ip::Protocol};

use crate::buffer::{Checksum, Frame, Gso, GsoKind, Offload};

/// Where a frame's headers lie, in bytes from its front.
#[derive(Clone, Copy)]
struct Layout {
    network: usize,
    transport: usize,
    ipv6: bool,
}

/// TCP flags that only the last segment keeps (FIN, PSH), and that only the first one keeps (CWR).
const FIN_PSH: u8 = 0x09;
const CWR: u8 = 0x80;
/// Where TCP's sequence number and flags lie in its header.
const TCP_SEQUENCE: usize = 4;
const TCP_FLAGS: usize = 13;
const TCP_CHECKSUM: usize = 16;
const UDP_LENGTH: usize = 4;
const UDP_CHECKSUM: usize = 6;

/// The segments that a super-frame stands for, each with all its checksums; `header_len` is that of the link.
pub(crate) fn segments(frame: Frame, header_len: usize) -> impl Iterator<Item = Frame> {
    let gso = frame.offload.gso.unwrap_or(Gso { kind: GsoKind::Udp, size: u16::MAX, ecn: false });
    let size = usize::from(gso.size.max(1));
    let count = frame.payload.len().div_ceil(size).max(1);
    let layout = layout(frame.headers.as_slice(), header_len);
    (0..count).map(move |number| {
        let payload = frame.payload.slice(number * size..(number + 1) * size);
        let mut segment = Frame {
            headers: frame.headers.clone(),
            payload,
            offload: Offload::default(),
            owner: frame.owner,
        };
        if let Some(layout) = layout {
            mend(&mut segment, layout, gso.kind, number, number + 1 == count, size);
        }
        segment
    })
}

/// Completes a partial checksum; the frame is then ready for any wire.
pub(crate) fn complete_checksum(frame: &mut Frame) {
    let Checksum::Partial { start, offset } = core::mem::take(&mut frame.offload.checksum) else { return };
    let (start, place) = (usize::from(start), usize::from(start) + usize::from(offset));
    let mut sum = Sum::new();
    sum.add(frame.headers.as_slice().get(start..).unwrap_or_default());
    frame.payload.slices().iter().for_each(|slice| {
        sum.add(slice);
    });
    // A computed 0 is sent as all ones, which UDP demands and the others allow (RFC 768, RFC 1624 section 3).
    let bytes = sum.finish_nonzero().to_be_bytes();
    if let Some(room) = frame.headers.as_mut_slice().get_mut(place..place + 2) {
        room.copy_from_slice(&bytes);
    }
}

fn layout(headers: &[u8], header_len: usize) -> Option<Layout> {
    let tagged = header_len == ethernet::Header::LEN && headers.get(12..14) == Some(&[0x81, 0x00]);
    let network = header_len + if tagged { 4 } else { 0 };
    let first = *headers.get(network)?;
    match first >> 4 {
        4 => Some(Layout { network, transport: network + usize::from(first & 15) * 4, ipv6: false }),
        6 => Some(Layout { network, transport: network + 40, ipv6: true }),
        _ => None,
    }
    .filter(|layout| layout.transport + 8 <= headers.len())
}

/// Makes the headers of segment `number` those of a packet of its own.
fn mend(segment: &mut Frame, layout: Layout, kind: GsoKind, number: usize, last: bool, size: usize) {
    let len = segment.len();
    let headers = segment.headers.as_mut_slice();
    let transport_len = len - layout.transport;
    if layout.ipv6 {
        headers[layout.network + 4..][..2].copy_from_slice(&(transport_len as u16).to_be_bytes());
    } else {
        mend_ipv4(&mut headers[layout.network..layout.transport], len - layout.network, number);
    }
    let transport = &mut headers[layout.transport..];
    let place = match kind {
        GsoKind::Udp => {
            transport[UDP_LENGTH..][..2].copy_from_slice(&(transport_len as u16).to_be_bytes());
            UDP_CHECKSUM
        }
        GsoKind::Tcp4 | GsoKind::Tcp6 => {
            mend_tcp(transport, number, last, size);
            TCP_CHECKSUM
        }
    };
    if place + 2 > transport.len() {
        return;
    }
    let pseudo = pseudo_header(headers, layout, kind, transport_len).fold();
    headers[layout.transport + place..][..2].copy_from_slice(&pseudo.to_be_bytes());
    segment.offload.checksum = Checksum::Partial { start: layout.transport as u16, offset: place as u16 };
    complete_checksum(segment);
}

/// Length, one identification for each segment (RFC 6864), checksum.
fn mend_ipv4(header: &mut [u8], total_len: usize, number: usize) {
    header[2..4].copy_from_slice(&(total_len as u16).to_be_bytes());
    let identification = u16::from_be_bytes([header[4], header[5]]).wrapping_add(number as u16);
    header[4..6].copy_from_slice(&identification.to_be_bytes());
    header[10..12].fill(0);
    let sum = checksum::of(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn mend_tcp(header: &mut [u8], number: usize, last: bool, size: usize) {
    if header.len() <= TCP_FLAGS {
        return;
    }
    let field: &mut [u8] = &mut header[TCP_SEQUENCE..TCP_SEQUENCE + 4];
    let sequence =
        u32::from_be_bytes([field[0], field[1], field[2], field[3]]).wrapping_add((number * size) as u32);
    field.copy_from_slice(&sequence.to_be_bytes());
    if !last {
        header[TCP_FLAGS] &= !FIN_PSH;
    }
    if number > 0 {
        header[TCP_FLAGS] &= !CWR;
    }
}

fn pseudo_header(headers: &[u8], layout: Layout, kind: GsoKind, len: usize) -> Sum {
    let protocol = if kind == GsoKind::Udp { Protocol::UDP } else { Protocol::TCP };
    let at = |from: usize, len: usize| &headers[layout.network + from..][..len];
    if layout.ipv6 {
        let address = |from| <[u8; 16]>::try_from(at(from, 16)).expect("sixteen bytes were cut");
        ip::pseudo_header(address(8).into(), address(24).into(), protocol, len as u32)
    } else {
        let address = |from| <[u8; 4]>::try_from(at(from, 4)).expect("four bytes were cut");
        ip::pseudo_header(address(12).into(), address(16).into(), protocol, len as u32)
    }
}
