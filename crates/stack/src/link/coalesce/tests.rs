//! What is merged is taken apart again and compared with what came.

use alloc::{vec, vec::Vec};

use proptest::prelude::*;
use rumpnet_wire::tcp::{Header, Options, Seq};

use super::*;
use crate::{
    buffer::{Frame, Headers},
    link::segment,
};

/// Bytes of link header before each packet.
const LINK: usize = 14;

/// A segment as a peer would send it.
#[derive(Clone, Debug)]
struct Shape {
    flow: u8,
    sequence: u32,
    len: usize,
    flags: Flags,
    identification: u16,
    dont_fragment: bool,
    acknowledgment: u32,
    window: u16,
    tos: u8,
    ttl: u8,
    /// The value in its timestamp option.
    timestamp: u8,
    urgent: u16,
    /// Bytes of padding after the packet.
    padding: usize,
    /// Where the frame falls into two pieces after its headers, if it does.
    cut: Option<usize>,
}

const PLAIN: Shape = Shape {
    flow: 1,
    sequence: 0xffff_f000,
    len: 1000,
    flags: Flags::ACK,
    identification: 0xfffd,
    dont_fragment: true,
    acknowledgment: 7,
    window: 500,
    tos: 0,
    ttl: 64,
    timestamp: 1,
    urgent: 0,
    padding: 0,
    cut: None,
};

/// The `number`th of a train of equal segments.
fn nth(number: u16) -> Shape {
    let sequence = PLAIN.sequence.wrapping_add(u32::from(number) * PLAIN.len as u32);
    Shape { sequence, identification: PLAIN.identification.wrapping_add(number), ..PLAIN }
}

fn bytes(shape: &Shape) -> Vec<u8> {
    let options = [1, 1, 8, 10, 0, 0, 0, shape.timestamp, 0, 0, 0, 1];
    let transport = Header {
        source_port: 1000 + u16::from(shape.flow),
        destination_port: 80,
        sequence: Seq(shape.sequence),
        acknowledgment: Seq(shape.acknowledgment),
        flags: shape.flags,
        window: shape.window,
        checksum: 0,
        urgent: shape.urgent,
        options: Options::from_bytes(&options).expect("twelve bytes"),
    };
    let payload: Vec<u8> = (0..shape.len).map(|at| (at as u32 ^ shape.sequence) as u8).collect();
    let network = ipv4::Header {
        tos: shape.tos,
        total_len: (52 + shape.len) as u16,
        identification: shape.identification,
        dont_fragment: shape.dont_fragment,
        more_fragments: false,
        fragment_offset: 0,
        ttl: shape.ttl,
        protocol: Protocol::TCP,
        source: [10, 0, 0, 9].into(),
        destination: [10, 0, 0, 1].into(),
        options: ipv4::Options::default(),
    };
    let mut sum = checksum::Sum::new();
    sum.add(&payload);
    let pseudo = ip::pseudo_header(
        network.source.into(),
        network.destination.into(),
        Protocol::TCP,
        (32 + shape.len) as u32,
    );
    let mut frame = vec![0; LINK + 52];
    frame[LINK - 2] = 8;
    network.emit(&mut frame[LINK..]).expect("room");
    transport.with_checksum(pseudo, sum).emit(&mut frame[LINK + 20..]).expect("room");
    frame.extend(payload);
    frame.resize(frame.len() + shape.padding, 0);
    frame
}

fn frame(shape: &Shape) -> Received {
    let bytes = Bytes::from(bytes(shape));
    match shape.cut.map(|cut| LINK + 52 + cut) {
        Some(cut) if cut < bytes.len() => {
            Received::with_payload(bytes.slice(..cut), bytes.slice(cut..).into(), Offload::default())
        }
        _ => Received::new(bytes, Offload::default()),
    }
}

/// What becomes of a batch, and how many trains and segments were merged.
fn coalesced(batch: impl IntoIterator<Item = Received>) -> (Vec<Received>, (u64, u64)) {
    let mut out = Vec::new();
    let mut coalescer = Coalescer::new(LINK);
    batch.into_iter().for_each(|frame| coalescer.offer(frame, |frame| out.push(frame)));
    let tally = coalescer.flush(|frame| out.push(frame));
    (out, tally)
}

fn whole(frame: &Received) -> Vec<u8> {
    frame.whole().flatten().copied().collect()
}

/// The frames that a segmenter makes of one.
fn taken_apart(frame: &Received) -> Vec<Vec<u8>> {
    let bytes = whole(frame);
    if frame.offload.gso.is_none() {
        return vec![bytes];
    }
    let mut whole = Frame {
        headers: Headers::copy_from(&bytes[..LINK]).expect("room"),
        payload: Bytes::copy_from_slice(&bytes[LINK..]).into(),
        offload: frame.offload,
        charge: None,
    };
    segment::segments(&mut whole, LINK).expect("a train").map(|frame| frame.to_vec()).collect()
}

/// How many frames are left of two segments.
fn left_of(first: &Shape, second: &Shape) -> usize {
    let (frames, _) = coalesced([frame(first), frame(second)]);
    let apart: Vec<Vec<u8>> = frames.iter().flat_map(taken_apart).collect();
    assert_eq!(apart, [bytes(first), bytes(second)], "{first:?} {second:?}");
    frames.len()
}

#[test]
fn segments_that_follow_each_other_become_one_whose_checksum_is_left_to_do() {
    let (frames, tally) = coalesced((0..44).map(|number| frame(&nth(number))));
    assert_eq!((frames.len(), tally), (1, (1, 44)));
    let gso = frames[0].offload.gso.expect("a super-frame");
    assert_eq!((gso.kind, gso.size, gso.fixed_identification), (GsoKind::Tcp4, 1000, false));
    assert_eq!(frames[0].offload.checksum, Checksum::Partial { start: 34, offset: 16 });
    let sent: Vec<Vec<u8>> = (0..44).map(|number| bytes(&nth(number))).collect();
    assert_eq!(taken_apart(&frames[0]), sent);
}

#[test]
fn a_short_segment_and_one_that_is_pushed_end_a_train_and_are_its_last() {
    for last in [Shape { len: 10, ..nth(1) }, Shape { flags: Flags::ACK | Flags::PSH, ..nth(1) }] {
        let sequence = last.sequence.wrapping_add(last.len as u32);
        let batch =
            [nth(0), last, Shape { sequence, ..nth(2) }, Shape { sequence: sequence + 1000, ..nth(3) }];
        let (frames, tally) = coalesced(batch.iter().map(frame));
        assert_eq!((frames.len(), tally), (2, (2, 4)));
        let apart: Vec<Vec<u8>> = frames.iter().flat_map(taken_apart).collect();
        assert_eq!(apart, batch.iter().map(bytes).collect::<Vec<_>>());
    }
}

#[test]
fn what_differs_in_anything_that_a_segmenter_would_not_write_is_not_merged() {
    assert_eq!(left_of(&nth(0), &nth(1)), 1);
    let others = [
        Shape { acknowledgment: 8, ..nth(1) },
        Shape { window: 501, ..nth(1) },
        Shape { tos: 3, ..nth(1) },
        Shape { ttl: 63, ..nth(1) },
        Shape { timestamp: 2, ..nth(1) },
        Shape { urgent: 1, ..nth(1) },
        Shape { dont_fragment: false, ..nth(1) },
        Shape { identification: 77, ..nth(1) },
        Shape { sequence: PLAIN.sequence, ..nth(1) },
        Shape { sequence: PLAIN.sequence.wrapping_add(1001), ..nth(1) },
        Shape { len: 1001, ..nth(1) },
        Shape { len: 0, ..nth(1) },
        Shape { flow: 2, ..nth(1) },
        Shape { padding: 4, ..nth(1) },
        Shape { flags: Flags::ACK | Flags::URG, ..nth(1) },
        Shape { flags: Flags::ACK | Flags::CWR, ..nth(1) },
        Shape { flags: Flags::ACK | Flags::ECE, ..nth(1) },
        Shape { flags: Flags::ACK | Flags::RST, ..nth(1) },
        Shape { flags: Flags::ACK | Flags::SYN, ..nth(1) },
        Shape { flags: Flags::NONE, ..nth(1) },
    ];
    for other in &others {
        assert_eq!(left_of(&nth(0), other), 2, "{other:?}");
    }
    for flags in [Flags::PSH, Flags::FIN, Flags::URG, Flags::CWR, Flags::SYN, Flags::RST] {
        assert_eq!(left_of(&Shape { flags: Flags::ACK | flags, ..nth(0) }, &nth(1)), 2, "{flags:?}");
    }
}

#[test]
fn identifications_may_all_be_the_same_where_nothing_may_be_fragmented() {
    let fixed = |number| Shape { identification: 0, ..nth(number) };
    let (frames, _) = coalesced((0..5).map(|number| frame(&fixed(number))));
    assert_eq!(frames.len(), 1);
    assert_eq!(taken_apart(&frames[0]), (0..5).map(|number| bytes(&fixed(number))).collect::<Vec<_>>());
    let (frames, _) =
        coalesced([frame(&fixed(0)), frame(&fixed(1)), frame(&Shape { identification: 2, ..nth(2) })]);
    assert_eq!(frames.len(), 2, "the third begins to count");
    let may = |number| Shape { dont_fragment: false, ..fixed(number) };
    assert_eq!(left_of(&may(0), &may(1)), 2);
}

#[test]
fn a_wrong_checksum_is_left_for_the_layers_that_count_it() {
    for at in [LINK + 10, LINK + 36, LINK + 60] {
        let mut broken = bytes(&nth(1));
        broken[at] ^= 1;
        let broken = Received::new(broken.into(), Offload::default());
        let (frames, tally) = coalesced([frame(&nth(0)), broken.clone(), frame(&nth(2))]);
        assert_eq!((frames.len(), tally), (3, (0, 0)));
        assert_eq!(whole(&frames[1]), whole(&broken));
        assert_eq!(frames[1].offload.checksum, Checksum::Unverified);
    }
}

#[test]
fn flows_keep_their_order_and_more_of_them_than_there_is_room_for_only_end_trains_early() {
    for flows in [2, FLOWS as u8, FLOWS as u8 + 1] {
        let sent: Vec<Shape> =
            (0..10).flat_map(|number| (0..flows).map(move |flow| Shape { flow, ..nth(number) })).collect();
        let (frames, (trains, _)) = coalesced(sent.iter().map(frame));
        assert_eq!(trains, if usize::from(flows) > FLOWS { 0 } else { u64::from(flows) });
        for flow in 0..flows {
            let of = |bytes: &Vec<u8>| bytes[LINK + 21] == (1000 + u16::from(flow)) as u8;
            let came: Vec<Vec<u8>> = frames.iter().flat_map(taken_apart).filter(of).collect();
            assert_eq!(came, sent.iter().map(bytes).filter(of).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_train_ends_before_it_is_longer_than_a_packet_can_be() {
    let (frames, _) = coalesced((0..70).map(|number| frame(&nth(number))));
    assert_eq!(frames.len(), 2);
    assert!(frames.iter().all(|frame| frame.len() - LINK <= 65_535));
    assert_eq!(frames.iter().flat_map(taken_apart).count(), 70);
}

#[test]
fn what_is_no_segment_goes_past_in_its_place() {
    let arp = Received::new(Bytes::from(vec![8; 60]), Offload::default());
    let mut fragment = bytes(&nth(1));
    fragment[LINK + 6] |= 0x20;
    let fragment = Received::new(fragment.into(), Offload::default());
    let short = Received::new(Bytes::from_static(&[1; 20]), Offload::default());
    let empty = Received::new(Bytes::new(), Offload::default());
    let (frames, tally) = coalesced([frame(&nth(0)), arp, fragment, short, empty, frame(&nth(1))]);
    assert_eq!((frames.len(), tally), (5, (1, 2)));
    assert!(frames[4].offload.gso.is_some(), "the train is the last to be finished");
}

/// Segments of three flows, most of which follow their forerunner, and some of which are unlike it in one way.
fn batches() -> impl Strategy<Value = Vec<Shape>> {
    let deviation = (0..24u8, any::<u8>(), 0..3u8, proptest::option::of(0..1200usize));
    proptest::collection::vec(deviation, 1..80).prop_map(|deviations| {
        let mut last = [1, 2, 3].map(|flow| Shape { flow, ..PLAIN });
        deviations
            .into_iter()
            .map(|(way, value, flow, cut)| {
                let shape = &mut last[usize::from(flow)];
                shape.sequence = shape.sequence.wrapping_add(shape.len as u32);
                shape.identification = shape.identification.wrapping_add(1);
                (shape.len, shape.flags, shape.padding, shape.cut) = (PLAIN.len, Flags::ACK, 0, cut);
                match way {
                    0 => shape.len = usize::from(value) * 5,
                    1 => shape.flags = Flags(u16::from(value)),
                    2 => shape.identification = value.into(),
                    3 => shape.acknowledgment = value.into(),
                    4 => shape.window = value.into(),
                    5 => shape.tos = value,
                    6 => shape.ttl = value,
                    7 => shape.timestamp = value,
                    8 => shape.sequence = shape.sequence.wrapping_sub(value.into()),
                    9 => shape.padding = usize::from(value % 8),
                    10 => shape.dont_fragment = !shape.dont_fragment,
                    11 => shape.flags = Flags::ACK | Flags::PSH,
                    _ => {}
                }
                shape.clone()
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn whatever_is_merged_falls_into_the_same_frames_again(sent in batches()) {
        let (frames, _) = coalesced(sent.iter().map(frame));
        for flow in 1..=3u8 {
            let of = |bytes: &Vec<u8>| bytes[LINK + 21] == (1000 + u16::from(flow)) as u8;
            let came: Vec<Vec<u8>> = frames.iter().flat_map(taken_apart).filter(of).collect();
            prop_assert_eq!(came, sent.iter().map(bytes).filter(of).collect::<Vec<_>>());
        }
    }
}
