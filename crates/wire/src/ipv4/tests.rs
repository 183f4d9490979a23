//! Headers and options of IPv4: inverse, refused where they lie, and the offsets that errors point to.

use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::strategies::{assert_inverse, emitted, ipv4, octets};

/// An option that fits, owned: pushed into the options that it belongs to.
#[derive(Clone, Debug)]
enum Owned {
    Nop,
    RecordRoute(u8, Vec<u8>),
    LooseSourceRoute(u8, Vec<u8>),
    StrictSourceRoute(u8, Vec<u8>),
    Timestamp(u8, u8, u8, Vec<u8>),
    RouterAlert(u16),
    Unknown(u8, Vec<u8>),
}

impl Owned {
    fn borrow(&self) -> IpOption<'_> {
        let route = |pointer: &u8, slots| Route { pointer: *pointer, slots };
        match self {
            Self::Nop => IpOption::Nop,
            Self::RecordRoute(pointer, slots) => IpOption::RecordRoute(route(pointer, slots)),
            Self::LooseSourceRoute(pointer, slots) => IpOption::LooseSourceRoute(route(pointer, slots)),
            Self::StrictSourceRoute(pointer, slots) => IpOption::StrictSourceRoute(route(pointer, slots)),
            Self::Timestamp(pointer, overflow, flag, slots) => {
                IpOption::Timestamp { pointer: *pointer, overflow: *overflow, flag: *flag, slots }
            }
            Self::RouterAlert(value) => IpOption::RouterAlert(*value),
            Self::Unknown(kind, data) => IpOption::Unknown { kind: *kind, data },
        }
    }
}

fn option() -> impl Strategy<Value = Owned> {
    prop_oneof![
        Just(Owned::Nop),
        (any::<u8>(), octets(12)).prop_map(|(pointer, slots)| Owned::RecordRoute(pointer, slots)),
        (any::<u8>(), octets(12)).prop_map(|(pointer, slots)| Owned::LooseSourceRoute(pointer, slots)),
        (any::<u8>(), octets(12)).prop_map(|(pointer, slots)| Owned::StrictSourceRoute(pointer, slots)),
        (any::<u8>(), 0..16u8, 0..16u8, octets(12))
            .prop_map(|(pointer, overflow, flag, slots)| Owned::Timestamp(pointer, overflow, flag, slots)),
        any::<u16>().prop_map(Owned::RouterAlert),
        (200u8.., octets(12)).prop_map(|(kind, data)| Owned::Unknown(kind, data)),
    ]
}

/// As many of some options as fit, and how many those are.
fn options() -> impl Strategy<Value = (Options, Vec<Owned>)> {
    vec(option(), 0..8).prop_map(|all| {
        let mut options = Options::EMPTY;
        let fitting = all.into_iter().filter(|option| options.push(&option.borrow()).is_ok()).collect();
        (options, fitting)
    })
}

prop_compose! {
    fn header()(
        tos: u8, identification: u16, dont_fragment: bool, more_fragments: bool, offset in 0..0x2000u16, ttl: u8,
        protocol: u8, source in ipv4(), destination in ipv4(), (options, _) in options(),
    ) -> Header {
        Header {
            tos, total_len: 0, identification, dont_fragment, more_fragments, fragment_offset: offset * 8, ttl,
            protocol: Protocol(protocol), source, destination, options,
        }
    }
}

proptest! {
    #[test]
    fn an_emitted_header_parses_back(header in header(), payload in octets(99)) {
        let header = Header { total_len: (header.header_len() + payload.len()) as u16, ..header };
        let bytes = emitted(header.header_len(), |out| header.emit(out));
        prop_assert_eq!(header.payload_len(), payload.len());
        assert_inverse(&header, bytes, &payload, Header::parse);
    }

    #[test]
    fn pushed_options_are_read_in_their_order((options, pushed) in options()) {
        let read: Vec<_> = options.iter().map(Result::unwrap).collect();
        let expected: Vec<_> = pushed.iter().map(Owned::borrow).collect();
        prop_assert_eq!(&read[..expected.len()], expected);
        let padding = &read[pushed.len()..];
        prop_assert!(matches!(padding, [] | [IpOption::EndOfList]), "{:?}", padding);
    }

    #[test]
    fn any_options_travel_unchanged(bytes in octets(40)) {
        let options = Options::from_bytes(&bytes).unwrap();
        prop_assert_eq!(&options.as_bytes()[..bytes.len()], &bytes);
        prop_assert!(options.as_bytes()[bytes.len()..].iter().all(|octet| *octet == 0));
        prop_assert!(options.iter().count() <= bytes.len() + 1);
    }

    #[test]
    fn a_flipped_bit_of_the_header_is_noticed(header in header(), bit: usize) {
        let header = Header { total_len: header.header_len() as u16, ..header };
        let mut bytes = emitted(header.header_len(), |out| header.emit(out));
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Header::parse(&bytes).is_err());
    }
}

fn plain() -> Header {
    Header {
        tos: 0,
        total_len: 20,
        identification: 1,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: Protocol::UDP,
        source: Ipv4Addr::new(10, 0, 0, 1),
        destination: Ipv4Addr::new(10, 0, 0, 2),
        options: Options::EMPTY,
    }
}

fn bytes_of(header: Header) -> Vec<u8> {
    emitted(header.header_len(), |out| header.emit(out))
}

#[test]
fn link_padding_is_cut_from_the_payload() {
    let bytes = [bytes_of(Header { total_len: 22, ..plain() }), b"hi.padding".to_vec()].concat();
    assert_eq!(Header::parse(&bytes).unwrap().1, b"hi");
}

#[test]
fn headers_that_lie_are_refused_by_what_they_lie_about() {
    type Lie = fn(&mut Vec<u8>);
    let cases: [(&str, Malformed, Lie); 7] = [
        ("version 5", Malformed::Version, |b| b[0] = 0x55),
        ("header of 16 octets", Malformed::Length, |b| b[0] = 0x44),
        ("header longer than the packet", Malformed::Length, |b| b[0] = 0x46),
        ("total below the header", Malformed::Length, |b| b[3] = 19),
        ("total beyond the bytes", Malformed::Truncated, |b| b[3] = 21),
        ("wrong checksum", Malformed::Checksum, |b| b[8] = 63),
        ("cut short", Malformed::Truncated, |b| b.truncate(19)),
    ];
    for (name, expected, lie) in cases {
        let mut bytes = bytes_of(plain());
        lie(&mut bytes);
        assert_eq!(Header::parse(&bytes), Err(expected), "{name}");
    }
}

#[test]
fn a_quoted_packet_may_miss_its_end_and_its_checksum() {
    let header = Header { total_len: 1500, ..plain() };
    let mut bytes = [bytes_of(header), b"8 octets".to_vec()].concat();
    bytes[10] ^= 0xff;
    assert_eq!(Header::parse_quoted(&bytes), Ok((header, &b"8 octets"[..])));
    assert_eq!(Header::parse_unverified(&bytes), Err(Malformed::Truncated));
}

#[test]
fn a_fragment_is_known_by_its_offset_or_its_flag() {
    assert!(!plain().is_fragment());
    assert!(Header { more_fragments: true, ..plain() }.is_fragment());
    assert!(Header { fragment_offset: 8, ..plain() }.is_fragment());
}

#[test]
fn a_traffic_class_has_two_parts() {
    let header = Header { tos: 0xb9, ..plain() };
    assert_eq!((header.dscp(), header.ecn()), (46, Ecn::Capable1));
}

#[test]
fn malformed_options_end_the_list_and_tell_where_they_stand() {
    for (name, bytes) in [
        ("length zero", &[1, 1, 7, 0][..]),
        ("length one", &[1, 1, 7, 1]),
        ("beyond the end", &[1, 1, 7, 9]),
        ("a route without a pointer", &[1, 1, 7, 2]),
        ("a timestamp without its state", &[1, 1, 68, 3, 5]),
        ("a router alert of one octet", &[1, 1, 148, 3, 0]),
    ] {
        let options = Options::from_bytes(bytes).unwrap();
        let mut iter = options.iter();
        assert_eq!((iter.next(), iter.next()), (Some(Ok(IpOption::Nop)), Some(Ok(IpOption::Nop))), "{name}");
        assert_eq!(iter.offset(), 22, "{name}");
        assert_eq!((iter.next(), iter.next()), (Some(Err(Malformed::Option)), None), "{name}");
    }
    let without_length = Options::from_bytes(&[1, 1, 1, 7]).unwrap();
    assert_eq!(without_length.iter().last(), Some(Err(Malformed::Option)));
}

#[test]
fn nothing_is_read_behind_the_end_of_the_list() {
    let options = Options::from_bytes(&[1, 0, 148, 4]).unwrap();
    let read: Vec<_> = options.iter().collect();
    assert_eq!(read, [Ok(IpOption::Nop), Ok(IpOption::EndOfList)]);
}

#[test]
fn options_that_do_not_fit_change_nothing() {
    let mut options = Options::EMPTY;
    options.push(&IpOption::Unknown { kind: 200, data: &[7; 36] }).unwrap();
    let before = options;
    assert_eq!(options.push(&IpOption::RouterAlert(0)), Err(TooShort));
    assert_eq!(options.push(&IpOption::Unknown { kind: 200, data: &[0; 300] }), Err(TooShort));
    assert_eq!(options, before);
    assert_eq!(Options::from_bytes(&[1; 41]), Err(TooShort));
}

#[test]
fn a_route_knows_its_next_slot() {
    let slots = [10, 0, 0, 1, 10, 0, 0, 2];
    let next = |pointer| Route { pointer, slots: &slots }.next_slot();
    assert_eq!([next(0), next(4), next(8), next(12), next(6)], [None, Some(0), Some(1), None, None]);
    let all: Vec<_> = Route { pointer: 4, slots: &slots }.addresses().map(|a| a.octets()[3]).collect();
    assert_eq!(all, [1, 2]);
}

#[test]
fn the_copied_flag_follows_rfc_791() {
    let route = Route { pointer: 4, slots: &[] };
    assert!(IpOption::LooseSourceRoute(route).is_copied() && IpOption::StrictSourceRoute(route).is_copied());
    assert!(IpOption::Unknown { kind: 130, data: &[] }.is_copied() && IpOption::RouterAlert(0).is_copied());
    assert!(!IpOption::RecordRoute(route).is_copied() && !IpOption::Nop.is_copied());
    assert!(!IpOption::Timestamp { pointer: 5, overflow: 0, flag: 0, slots: &[] }.is_copied());
}
