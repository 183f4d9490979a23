//! Segments and their options: inverse, refused where they lie, read as far as they make sense.

use std::format;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::checksum;
use crate::ip::{Protocol, pseudo_header};
use crate::strategies::{assert_inverse, emitted, ip, octets};

/// An option with its data owned.
#[derive(Clone, Debug)]
enum Owned {
    Plain(TcpOption<'static>),
    FastOpen(Vec<u8>),
    Md5([u8; 16]),
    Unknown(u8, Vec<u8>),
}

impl Owned {
    fn borrow(&self) -> TcpOption<'_> {
        match self {
            Self::Plain(option) => *option,
            Self::FastOpen(cookie) => TcpOption::FastOpen(cookie),
            Self::Md5(digest) => TcpOption::Md5(digest),
            Self::Unknown(kind, data) => TcpOption::Unknown { kind: *kind, data },
        }
    }
}

fn sack_blocks() -> impl Strategy<Value = SackBlocks> {
    vec(any::<(u32, u32)>(), 1..=4).prop_map(|blocks| {
        blocks.into_iter().map(|(left, right)| SackBlock { left: Seq(left), right: Seq(right) }).collect()
    })
}

fn option() -> impl Strategy<Value = Owned> {
    prop_oneof![
        Just(Owned::Plain(TcpOption::Nop)),
        Just(Owned::Plain(TcpOption::SackPermitted)),
        any::<u16>().prop_map(|size| Owned::Plain(TcpOption::MaximumSegmentSize(size))),
        any::<u8>().prop_map(|shift| Owned::Plain(TcpOption::WindowScale(shift))),
        sack_blocks().prop_map(|blocks| Owned::Plain(TcpOption::Sack(blocks))),
        any::<(u32, u32)>()
            .prop_map(|(value, echo)| Owned::Plain(TcpOption::Timestamps(Timestamps { value, echo }))),
        (any::<bool>(), 0..0x8000u16)
            .prop_map(|(minutes, value)| Owned::Plain(TcpOption::UserTimeout { minutes, value })),
        (prop_oneof![Just(0), 2..=8usize]).prop_map(|half| Owned::FastOpen(std::vec![half as u8; half * 2])),
        any::<[u8; 16]>().prop_map(Owned::Md5),
        (100u8.., octets(9)).prop_map(|(kind, data)| Owned::Unknown(kind, data)),
    ]
}

/// As many of some options as fit, and which those are.
fn options() -> impl Strategy<Value = (Options, Vec<Owned>)> {
    vec(option(), 0..8).prop_map(|all| {
        let mut options = Options::EMPTY;
        let fitting = all.into_iter().filter(|option| options.push(&option.borrow()).is_ok()).collect();
        (options, fitting)
    })
}

prop_compose! {
    fn header()(
        source_port: u16, destination_port: u16, sequence: u32, acknowledgment: u32, flags in 0..0x200u16,
        window: u16, checksum: u16, urgent: u16, (options, _) in options(),
    ) -> Header {
        Header {
            source_port, destination_port, sequence: Seq(sequence), acknowledgment: Seq(acknowledgment),
            flags: Flags(flags), window, checksum, urgent, options,
        }
    }
}

proptest! {
    #[test]
    fn an_emitted_header_parses_back(header in header(), payload in octets(99)) {
        let bytes = emitted(header.header_len(), |out| header.emit(out));
        assert_inverse(&header, bytes, &payload, Header::parse);
    }

    #[test]
    fn its_checksum_verifies(header in header(), source in ip(), destination in ip(), payload in octets(99)) {
        let len = header.header_len() + payload.len();
        let pseudo = pseudo_header(source, destination, Protocol::TCP, len as u32);
        let header = header.with_checksum(pseudo, *Sum::new().add(&payload));
        let segment = [emitted(header.header_len(), |out| header.emit(out)), payload].concat();
        prop_assert!(checksum::verify(pseudo, &segment));
    }

    #[test]
    fn pushed_options_are_read_in_their_order((options, pushed) in options()) {
        let read: Vec<_> = options.iter().map(Result::unwrap).collect();
        let expected: Vec<_> = pushed.iter().map(Owned::borrow).collect();
        prop_assert_eq!(&read[..expected.len()], expected);
        let padding = &read[pushed.len()..];
        prop_assert!(matches!(padding, [] | [TcpOption::EndOfList]), "{:?}", padding);
    }

    #[test]
    fn any_options_travel_unchanged(bytes in octets(40)) {
        let options = Options::from_bytes(&bytes).unwrap();
        prop_assert_eq!(&options.as_bytes()[..bytes.len()], &bytes);
        prop_assert!(options.iter().count() <= bytes.len() + 1);
        let _ = (options.timestamps(), options.sack_blocks(), format!("{options:?}"));
    }

    #[test]
    fn timestamps_are_found_wherever_they_stand((options, pushed) in options()) {
        let first = pushed.iter().find_map(|option| match option.borrow() {
            TcpOption::Timestamps(timestamps) => Some(timestamps),
            _ => None,
        });
        prop_assert_eq!(options.timestamps(), first);
    }

    #[test]
    fn of_two_numbers_less_than_half_the_circle_apart_one_is_before_the_other(a: u32, by in 1..0x8000_0000u32) {
        let (earlier, later) = (Seq(a), Seq(a) + by);
        prop_assert!(earlier.is_before(later) && later.is_after(earlier));
        prop_assert!(!later.is_before(earlier) && !earlier.is_after(later));
        prop_assert_eq!((earlier.earlier(later), earlier.later(later)), (earlier, later));
        prop_assert_eq!((later.earlier(earlier), later.later(earlier)), (earlier, later));
        prop_assert_eq!(later - earlier, by);
        prop_assert_eq!(later - by, earlier);
        prop_assert_eq!(earlier.distance_from(later), -(by as i32));
    }
}

fn plain() -> Header {
    Header {
        source_port: 1,
        destination_port: 2,
        sequence: Seq(3),
        acknowledgment: Seq(4),
        flags: Flags::ACK,
        window: 5,
        checksum: 6,
        urgent: 0,
        options: Options::EMPTY,
    }
}

#[test]
fn data_offsets_that_lie_are_refused() {
    let mut bytes = emitted(20, |out| plain().emit(out));
    bytes[12] = 0x40;
    assert_eq!(Header::parse(&bytes), Err(Malformed::Length));
    bytes[12] = 0x60;
    assert_eq!(Header::parse(&bytes), Err(Malformed::Truncated));
    assert_eq!(Header::parse(&bytes[..19]), Err(Malformed::Truncated));
}

#[test]
fn reserved_bits_are_neither_read_nor_sent() {
    let mut bytes = emitted(20, |out| plain().emit(out));
    bytes[12] |= 0x0e;
    assert_eq!(Header::parse(&bytes).unwrap().0, plain());
    let spilling = Header { flags: Flags(0xfe10), ..plain() };
    assert_eq!(emitted(20, |out| spilling.emit(out))[12..14], [0x50, 0x10]);
}

#[test]
fn malformed_options_end_the_list_and_keep_what_came_before() {
    for bytes in [
        [2, 3, 0, 0],
        [2, 5, 0, 0],
        [3, 2, 0, 0],
        [4, 3, 0, 0],
        [5, 4, 0, 0],
        [5, 2, 0, 0],
        [8, 4, 0, 0],
        [19, 4, 0, 0],
        [28, 3, 0, 0],
        [34, 3, 0, 0],
        [34, 4, 0, 0],
        [254, 0, 0, 0],
        [254, 1, 0, 0],
        [254, 9, 0, 0],
    ] {
        let options = Options::from_bytes(&[&[1, 1, 1, 1], &bytes[..]].concat()).unwrap();
        let read: Vec<_> = options.iter().collect();
        assert_eq!(read[..4], [Ok(TcpOption::Nop); 4]);
        assert_eq!(read[4..], [Err(Malformed::Option)], "{bytes:?}");
        assert_eq!(options.timestamps(), None);
    }
    assert_eq!(Options::from_bytes(&[1, 1, 1, 8]).unwrap().iter().last(), Some(Err(Malformed::Option)));
}

#[test]
fn timestamps_alone_take_the_layout_of_rfc_7323() {
    let timestamps = Timestamps { value: 0x0102_0304, echo: 0x0506_0708 };
    let options = Options::from_timestamps(timestamps);
    assert_eq!(options.as_bytes(), [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(options.timestamps(), Some(timestamps));
}

#[test]
fn four_sack_blocks_fit_and_a_fifth_does_not() {
    let block = |n| SackBlock { left: Seq(n), right: Seq(n + 1) };
    let mut blocks: SackBlocks = (0..9).map(block).collect();
    assert_eq!(blocks.as_slice(), [block(0), block(1), block(2), block(3)]);
    assert_eq!(blocks.push(block(4)), Err(TooShort));
    let mut options = Options::EMPTY;
    options.push(&TcpOption::Sack(blocks)).unwrap();
    assert_eq!(options.sack_blocks(), blocks);
    assert_eq!(Options::EMPTY.sack_blocks(), SackBlocks::default());
}

#[test]
fn options_that_do_not_fit_change_nothing() {
    let mut options = Options::EMPTY;
    options.push(&TcpOption::Unknown { kind: 253, data: &[7; 37] }).unwrap();
    let before = options;
    assert_eq!(options.push(&TcpOption::SackPermitted), Err(TooShort));
    assert_eq!(options.push(&TcpOption::Unknown { kind: 253, data: &[0; 255] }), Err(TooShort));
    assert_eq!(options, before);
}

#[test]
fn a_window_contains_its_start_and_not_its_end() {
    let start = Seq(u32::MAX - 1);
    assert!(start.is_within(start, 4) && (start + 3).is_within(start, 4));
    assert!(!(start + 4).is_within(start, 4) && !(start - 1).is_within(start, 4));
    assert!(!start.is_within(start, 0));
    assert!(start.is_at_or_before(start) && start.is_at_or_after(start));
}

#[test]
fn flags_print_as_tcpdump_prints_them() {
    assert_eq!(format!("{:?}", Flags::SYN | Flags::ACK), "S.");
    assert_eq!(format!("{:?}", Flags::NONE), "none");
    assert_eq!(format!("{:?}", Flags::ALL), "FSRP.UEWe");
    assert_eq!(Flags::ALL.without(Flags::SYN.union(Flags::FIN)).0, 0x1fc);
    assert!(Flags::SYN.intersects(Flags::SYN | Flags::FIN) && !Flags::SYN.contains(Flags::SYN | Flags::FIN));
}
