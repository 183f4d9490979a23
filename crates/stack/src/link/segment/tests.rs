//! Every segment is taken apart again by the parsers, which know nothing of segmentation.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use rumpnet_wire::ipv6::extension::OptionsHeader;
use rumpnet_wire::tcp::{Header as Tcp, Seq};

use super::*;
use crate::buffer::Gso;

const V4: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 1));
const V6: (Ipv6Addr, Ipv6Addr) =
    (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1));
const FIRST_SEQUENCE: u32 = 0xffff_ff00;
const FIRST_IDENTIFICATION: u16 = 0xfffe;

/// How a super-frame looks.
#[derive(Clone, Copy, Debug)]
struct Shape {
    kind: GsoKind,
    ipv6: bool,
    /// Bytes of link header, and VLAN tags after it.
    link_len: usize,
    tags: usize,
    /// Bytes of IPv4 options, or whether there is an IPv6 extension header.
    extra: usize,
    tcp_options: usize,
    size: u16,
    /// Where the bytes are cut into inline headers and payload slices.
    inline: usize,
    slice: usize,
}

const PLAIN: Shape = Shape {
    kind: GsoKind::Tcp4,
    ipv6: false,
    link_len: 14,
    tags: 0,
    extra: 0,
    tcp_options: 12,
    size: 1448,
    inline: 66,
    slice: 4096,
};

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
}

fn tcp_header(shape: Shape, flags: Flags) -> Vec<u8> {
    let options = tcp::Options::from_bytes(&vec![1; shape.tcp_options]).unwrap();
    let header = Tcp {
        source_port: 1000,
        destination_port: 80,
        sequence: Seq(FIRST_SEQUENCE),
        acknowledgment: Seq(7),
        flags,
        window: 500,
        checksum: 0x1234,
        urgent: 0,
        options,
    };
    let mut bytes = vec![0; header.header_len()];
    header.emit(&mut bytes).unwrap();
    bytes
}

fn transport(shape: Shape, flags: Flags, payload: &[u8]) -> Vec<u8> {
    let mut bytes = match shape.kind {
        GsoKind::Udp => {
            let length = (udp::Header::LEN + payload.len()) as u16;
            udp::Header { source_port: 53, destination_port: 5353, length, checksum: 0x1234 }
                .to_bytes()
                .to_vec()
        }
        _ => tcp_header(shape, flags),
    };
    bytes.extend_from_slice(payload);
    bytes
}

fn network(shape: Shape, segment: &[u8]) -> Vec<u8> {
    let protocol = if shape.kind == GsoKind::Udp { Protocol::UDP } else { Protocol::TCP };
    let mut bytes;
    if shape.ipv6 {
        let next_header = if shape.extra > 0 { Protocol::DESTINATION_OPTIONS } else { protocol };
        let extension = OptionsHeader { next_header: protocol, options_len: 6 }.to_bytes();
        let extension: Vec<u8> = extension.into_iter().chain([1, 4, 0, 0, 0, 0]).collect();
        let extension = if shape.extra > 0 { &extension[..] } else { &[] };
        let header = ipv6::Header {
            traffic_class: 0,
            flow_label: 7,
            payload_len: (extension.len() + segment.len()) as u16,
            next_header,
            hop_limit: 64,
            source: V6.0,
            destination: V6.1,
        };
        bytes = header.to_bytes().to_vec();
        bytes.extend_from_slice(extension);
    } else {
        let header = ipv4::Header {
            tos: 0,
            total_len: (20 + shape.extra + segment.len()) as u16,
            identification: FIRST_IDENTIFICATION,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol,
            source: V4.0,
            destination: V4.1,
            options: ipv4::Options::from_bytes(&vec![1; shape.extra]).unwrap(),
        };
        bytes = vec![0; header.header_len()];
        header.emit(&mut bytes).unwrap();
    }
    bytes.extend_from_slice(segment);
    bytes
}

fn link(shape: Shape, packet: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    if shape.link_len > 0 {
        bytes.extend([2; 12]);
        (0..shape.tags).for_each(|_| bytes.extend([0x81, 0x00, 0x00, 0x05]));
        bytes.extend(if shape.ipv6 { EtherType::IPV6 } else { EtherType::IPV4 }.0.to_be_bytes());
    }
    bytes.extend_from_slice(packet);
    bytes
}

fn framed(shape: Shape, bytes: &[u8]) -> Frame {
    let (inline, rest) = bytes.split_at(shape.inline.min(bytes.len()).min(HEADER_ROOM));
    let mut payload = Payload::Empty;
    rest.chunks(shape.slice).for_each(|chunk| payload.push(Bytes::copy_from_slice(chunk)));
    let gso = Gso { kind: shape.kind, size: shape.size, ecn: false, fixed_identification: false };
    let headers = Headers::copy_from(inline).unwrap();
    Frame { headers, payload, offload: Offload { gso: Some(gso), ..Offload::default() }, charge: None }
}

fn super_frame(shape: Shape, flags: Flags, payload: &[u8]) -> Frame {
    framed(shape, &link(shape, &network(shape, &transport(shape, flags, payload))))
}

/// A segment as its receiver sees it, every checksum and length verified.
fn opened(shape: Shape, frame: &Frame) -> (u16, Option<Tcp>, Vec<u8>) {
    let bytes = frame.to_vec();
    let packet = &bytes[if shape.link_len > 0 { 14 + 4 * shape.tags } else { 0 }..];
    let (identification, protocol, addresses, segment) = if shape.ipv6 {
        let (header, rest) = ipv6::Header::parse(packet).unwrap();
        assert_eq!(rest.len(), packet.len() - 40);
        let mut extensions = Extensions::new(header.next_header, rest);
        assert!(extensions.all(|extension| extension.is_ok()));
        let (protocol, segment) = extensions.upper();
        (0, protocol, (V6.0.into(), V6.1.into()), segment)
    } else {
        let (header, rest) = ipv4::Header::parse(packet).unwrap();
        assert_eq!(usize::from(header.total_len), packet.len());
        (header.identification, header.protocol, (V4.0.into(), V4.1.into()), rest)
    };
    let pseudo = ip::pseudo_header(addresses.0, addresses.1, protocol, segment.len() as u32);
    assert!(checksum::verify(pseudo, segment), "transport checksum");
    if shape.kind == GsoKind::Udp {
        let (header, payload) = udp::Header::parse(segment).unwrap();
        assert_eq!(usize::from(header.length), segment.len());
        return (identification, None, payload.to_vec());
    }
    let (header, payload) = Tcp::parse(segment).unwrap();
    (identification, Some(header), payload.to_vec())
}

fn check(shape: Shape, len: usize) {
    let sent = data(len);
    let flags = Flags::ACK | Flags::PSH | Flags::FIN | Flags::CWR;
    let frames = segments(&mut super_frame(shape, flags, &sent), shape.link_len).unwrap();
    let count = frames.len();
    assert_eq!(count, len.div_ceil(shape.size.into()).max(1));
    let mut received = vec![];
    for (number, frame) in frames.enumerate() {
        assert_eq!(frame.offload, Offload { checksum: Checksum::Verified, gso: None });
        let (identification, header, payload) = opened(shape, &frame);
        let last = number + 1 == count;
        assert!(last || payload.len() == usize::from(shape.size));
        if !shape.ipv6 {
            assert_eq!(identification, FIRST_IDENTIFICATION.wrapping_add(number as u16));
        }
        if let Some(header) = header {
            assert_eq!(header.sequence.0, FIRST_SEQUENCE.wrapping_add(received.len() as u32));
            assert_eq!(header.flags.intersects(Flags::FIN | Flags::PSH), last);
            assert_eq!(header.flags.contains(Flags::CWR), number == 0);
            assert!(header.flags.contains(Flags::ACK));
        }
        received.extend(payload);
    }
    assert_eq!(received, sent);
}

#[test]
fn a_tcp_super_frame_falls_into_segments_that_a_receiver_accepts() {
    check(PLAIN, 64_000);
    check(Shape { kind: GsoKind::Tcp6, ipv6: true, inline: 86, ..PLAIN }, 64_000);
}

#[test]
fn a_udp_super_frame_falls_into_datagrams_that_a_receiver_accepts() {
    check(Shape { kind: GsoKind::Udp, inline: 42, ..PLAIN }, 64_000);
    check(Shape { kind: GsoKind::Udp, ipv6: true, inline: 62, ..PLAIN }, 64_000);
}

#[test]
fn a_super_frame_of_one_segment_or_of_no_payload_is_one_frame() {
    check(PLAIN, 1448);
    check(PLAIN, 1);
    check(PLAIN, 0);
}

#[test]
fn payload_is_shared_not_copied() {
    let mut frame = super_frame(PLAIN, Flags::ACK, &data(4096));
    let Payload::One(slice) = &frame.payload else { panic!("one slice") };
    let range = slice.as_ptr_range();
    let socket = crate::slab::Key { index: 1, generation: 2 };
    frame.charge = Some(crate::buffer::Charge { socket, bytes: 4096 });
    let segments: Vec<_> = segments(&mut frame, 14).unwrap().collect();
    for segment in &segments {
        let Payload::One(slice) = &segment.payload else { panic!("one slice") };
        assert!(range.contains(&slice.as_ptr()));
    }
    assert_eq!(segments.iter().filter(|segment| segment.charge.is_some()).count(), 1);
    assert!(segments.last().is_some_and(|last| last.charge.is_some()));
}

#[test]
fn a_udp_datagram_without_checksum_stays_without() {
    let mut bytes = super_frame(Shape { kind: GsoKind::Udp, ..PLAIN }, Flags::NONE, &data(3000)).to_vec();
    bytes[40..42].fill(0);
    let frame = framed(Shape { kind: GsoKind::Udp, inline: 42, ..PLAIN }, &bytes);
    assert!(
        segments(&mut frame.clone(), 14).unwrap().all(|segment| segment.headers.as_slice()[40..] == [0, 0])
    );
    let checksum = Checksum::Partial { start: 34, offset: 6 };
    let mut partial = Frame { offload: Offload { checksum, ..frame.offload }, ..frame };
    assert!(segments(&mut partial, 14).unwrap().all(|segment| segment.headers.as_slice()[40..] != [0, 0]));
}

#[test]
fn what_is_not_what_it_says_comes_back_with_the_reason() {
    let refused = |mut frame: Frame| segments(&mut frame, 14).map(|_| ());
    let good = super_frame(PLAIN, Flags::ACK, &data(3000));
    let none = Frame { offload: Offload::default(), ..good.clone() };
    assert_eq!(refused(none), Err(DropReason::OffloadGsoKind));
    for kind in [GsoKind::Tcp6, GsoKind::Udp] {
        let gso = Some(Gso { kind, size: 1000, ecn: false, fixed_identification: false });
        let frame = Frame { offload: Offload { gso, ..Offload::default() }, ..good.clone() };
        assert_eq!(refused(frame), Err(DropReason::OffloadGsoKind));
    }
    let gso = Some(Gso { kind: GsoKind::Tcp4, size: 0, ecn: false, fixed_identification: false });
    let frame = Frame { offload: Offload { gso, ..Offload::default() }, ..good.clone() };
    assert_eq!(refused(frame), Err(DropReason::OffloadGsoSize));
    let mut fragment = good.to_vec();
    fragment[14 + 6] = 0x20;
    assert_eq!(refused(framed(PLAIN, &fragment)), Err(DropReason::OffloadGsoKind));
    for len in 0..66 {
        assert_eq!(
            refused(framed(PLAIN, &good.to_vec()[..len])),
            Err(DropReason::OffloadGsoKind),
            "{len} bytes"
        );
    }
}

#[test]
fn segments_longer_than_ip_can_say_are_refused() {
    let mut frame =
        framed(Shape { size: u16::MAX, ..PLAIN }, &super_frame(PLAIN, Flags::ACK, &data(3000)).to_vec());
    let mut long = frame.clone();
    long.payload.append(Bytes::from(data(65_000)).into());
    assert_eq!(segments(&mut frame, 14).unwrap().len(), 1);
    assert_eq!(segments(&mut long, 14).map(|_| ()), Err(DropReason::OffloadGsoSize));
}

/// A frame whose transport checksum field holds the pseudo-header's sum, as virtio has it.
fn partial(shape: Shape, payload: &[u8]) -> Frame {
    let mut bytes = super_frame(shape, Flags::ACK, payload).to_vec();
    let (start, offset) = (14 + 20, if shape.kind == GsoKind::Udp { 6 } else { 16 });
    let protocol = if shape.kind == GsoKind::Udp { Protocol::UDP } else { Protocol::TCP };
    let len = (bytes.len() - start) as u32;
    let sum = ip::pseudo_header(V4.0.into(), V4.1.into(), protocol, len).fold();
    put(&mut bytes, start + offset, sum);
    let checksum = Checksum::Partial { start: start as u16, offset: offset as u16 };
    Frame { offload: Offload { checksum, gso: None }, ..framed(shape, &bytes) }
}

#[test]
fn a_partial_checksum_is_completed_wherever_it_lies() {
    for kind in [GsoKind::Tcp4, GsoKind::Udp] {
        for inline in [0, 1, 14, 34, 41, 51, 66, 100, 138] {
            for slice in [1, 3, 1000] {
                let shape = Shape { kind, inline, slice, ..PLAIN };
                let mut frame = partial(shape, &data(501));
                let len = frame.len();
                assert_eq!(complete_checksum(&mut frame), Ok(()));
                assert_eq!((frame.offload.checksum, frame.len()), (Checksum::Verified, len));
                assert_eq!(opened(shape, &frame).2, data(501));
            }
        }
    }
}

#[test]
fn a_checksum_that_is_not_partial_is_left_alone() {
    let mut frame = super_frame(PLAIN, Flags::ACK, b"x");
    let before = frame.to_vec();
    assert_eq!(complete_checksum(&mut frame), Ok(()));
    assert_eq!((frame.to_vec(), frame.offload.checksum), (before, Checksum::Unverified));
}

#[test]
fn a_checksum_beyond_the_frame_is_refused() {
    let frame = partial(PLAIN, b"x");
    for (start, offset) in [(0, 66), (66, 0), (67, u16::MAX), (u16::MAX, u16::MAX)] {
        let checksum = Checksum::Partial { start, offset };
        let mut lying = Frame { offload: Offload { checksum, gso: None }, ..frame.clone() };
        assert_eq!(complete_checksum(&mut lying), Err(DropReason::OffloadChecksumRange), "{start}+{offset}");
    }
    let checksum = Checksum::Partial { start: 65, offset: 0 };
    let mut last = Frame { offload: Offload { checksum, gso: None }, ..frame };
    assert_eq!(complete_checksum(&mut last), Ok(()));
}

fn shape() -> impl Strategy<Value = Shape> {
    let kinds = [(GsoKind::Tcp4, false), (GsoKind::Tcp6, true), (GsoKind::Udp, false), (GsoKind::Udp, true)];
    let links = [(0, 0), (14, 0), (14, 1), (14, 2)];
    let layout = (prop::sample::select(kinds.to_vec()), prop::sample::select(links.to_vec()));
    (layout, 0_usize..=5, 0_usize..=5, 1_u16..3000, 0_usize..138, 1_usize..5000).prop_map(
        |(((kind, ipv6), (link_len, tags)), extra, options, size, inline, slice)| Shape {
            kind,
            ipv6,
            link_len,
            tags,
            extra: extra * 4,
            tcp_options: options * 4,
            size,
            inline,
            slice,
        },
    )
}

proptest! {
    #[test]
    fn any_shape_of_super_frame_falls_into_good_segments(shape in shape(), len in 0_usize..20_000) {
        check(shape, len);
    }

    #[test]
    fn garbage_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        shape in shape(),
        start: u16,
        offset: u16,
    ) {
        let mut frame = framed(shape, &bytes);
        frame.offload.checksum = Checksum::Partial { start: start % 400, offset: offset % 400 };
        if let Ok(segments) = segments(&mut frame.clone(), shape.link_len) {
            segments.for_each(drop);
        }
        let _refused_or_not = complete_checksum(&mut frame);
    }

    #[test]
    fn a_damaged_super_frame_never_panics(shape in shape(), len in 0_usize..3000, at: prop::sample::Index, with: u8) {
        let mut bytes = super_frame(shape, Flags::ACK, &data(len)).to_vec();
        let at = at.index(bytes.len().min(120));
        bytes[at] = with;
        if let Ok(segments) = segments(&mut framed(shape, &bytes), shape.link_len) {
            segments.for_each(drop);
        }
    }
}
