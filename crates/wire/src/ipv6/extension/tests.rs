//! Extension headers: inverse, walked in order, ended by fragments and nonsense.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::strategies::{assert_inverse, emitted, octets};

proptest! {
    #[test]
    fn an_emitted_options_header_parses_back(next_header: u8, units in 0..5u16, rest in octets(9)) {
        let header = OptionsHeader { next_header: Protocol(next_header), options_len: units * 8 + 6 };
        let bytes = emitted(header.header_len(), |out| header.emit(out));
        let rest = [std::vec![0; header.options_len.into()], rest].concat();
        assert_inverse(&header, bytes, &rest, OptionsHeader::parse);
    }

    #[test]
    fn an_emitted_routing_header_parses_back(
        next_header: u8, units in 0..5u16, kind: u8, segments_left: u8, rest in octets(9),
    ) {
        let next_header = Protocol(next_header);
        let header = Routing { next_header, data_len: units * 8 + 4, kind, segments_left };
        let bytes = emitted(header.header_len(), |out| header.emit(out));
        let rest = [std::vec![0; header.data_len.into()], rest].concat();
        assert_inverse(&header, bytes, &rest, Routing::parse);
    }

    #[test]
    fn an_emitted_fragment_header_parses_back(
        next_header: u8, offset in 0..0x2000u16, more: bool, identification: u32, rest in octets(9),
    ) {
        let next_header = Protocol(next_header);
        let header = Fragment { next_header, offset: offset * 8, more, identification };
        let bytes = emitted(header.header_len(), |out| header.emit(out));
        assert_inverse(&header, bytes, &rest, Fragment::parse);
    }

    #[test]
    fn an_emitted_option_parses_back(
        which in 0..5u8, padding: u8, value: u16, octets_32: u32, data in octets(255), rest in octets(9),
    ) {
        let option = match which {
            0 => HeaderOption::Pad1,
            1 => HeaderOption::PadN(padding),
            2 => HeaderOption::RouterAlert(value),
            3 => HeaderOption::JumboPayload(octets_32),
            _ => HeaderOption::Unknown { kind: 0x80 | (padding & 0x1f), data: &data },
        };
        let bytes = emitted(option.header_len(), |out| option.emit(out));
        let whole = [bytes, rest.clone()].concat();
        prop_assert_eq!(HeaderOption::parse(&whole), Ok((option, &rest[..])));
    }

    #[test]
    fn a_walk_through_nonsense_ends(next: u8, payload in octets(300)) {
        let mut chain = Extensions::new(Protocol(next), &payload);
        prop_assert!(chain.by_ref().count() <= payload.len() / 8 + 1);
        prop_assert!(chain.offset() <= payload.len());
    }
}

/// Hop-by-hop with a router alert, an unknown destination option, a route, an atomic fragment, then UDP.
fn chain() -> Vec<u8> {
    let mut bytes = std::vec![60, 0, 5, 2, 0, 0, 1, 0];
    bytes.extend([43, 0, 0x9e, 4, 1, 2, 3, 4]);
    bytes.extend([44, 0, 253, 1, 9, 9, 9, 9]);
    bytes.extend([17, 0, 0, 0, 0, 0, 0, 7]);
    bytes.extend(b"datagram");
    bytes
}

#[test]
fn a_chain_is_walked_to_its_upper_layer() {
    let bytes = chain();
    let mut extensions = Extensions::new(Protocol::HOP_BY_HOP, &bytes);
    let walked: Vec<_> = extensions.by_ref().map(Result::unwrap).collect();
    let [
        Extension::HopByHop(hop),
        Extension::DestinationOptions(options),
        Extension::Routing(route, data),
        Extension::Fragment(fragment),
    ] = walked[..]
    else {
        panic!("{walked:?}");
    };
    let hop: Vec<_> = hop.iter().map(Result::unwrap).collect();
    assert_eq!(hop, [HeaderOption::RouterAlert(0), HeaderOption::PadN(0)]);
    let unknown = options.into_iter().next().unwrap().unwrap();
    assert_eq!(unknown, HeaderOption::Unknown { kind: 0x9e, data: &[1, 2, 3, 4] });
    assert_eq!((route.kind, route.segments_left, data), (253, 1, &[9; 4][..]));
    assert!(fragment.is_atomic());
    assert_eq!(extensions.upper(), (Protocol::UDP, &b"datagram"[..]));
    assert_eq!(extensions.offset(), 32);
}

#[test]
fn a_fragment_of_a_larger_packet_ends_the_walk() {
    let bytes = [60, 0, 0, 1, 0, 0, 0, 7, 60, 0, 1, 4, 0, 0, 0, 0];
    let mut extensions = Extensions::new(Protocol::FRAGMENT, &bytes);
    assert!(matches!(extensions.next(), Some(Ok(Extension::Fragment(Fragment { more: true, .. })))));
    assert_eq!(extensions.next(), None);
    assert_eq!(extensions.upper(), (Protocol::DESTINATION_OPTIONS, &bytes[8..]));
}

#[test]
fn a_header_longer_than_the_packet_ends_the_walk() {
    let bytes = chain();
    let mut extensions = Extensions::new(Protocol::HOP_BY_HOP, &bytes[..7]);
    assert_eq!(extensions.next(), Some(Err(Malformed::Truncated)));
    assert_eq!(extensions.next(), None);
    let long = [17, 9, 0, 0, 0, 0, 0, 0];
    assert_eq!(Extensions::new(Protocol::ROUTING, &long).next(), Some(Err(Malformed::Truncated)));
}

#[test]
fn malformed_options_end_their_list() {
    for bytes in [&[5][..], &[5, 2, 0], &[5, 1, 0], &[0xc2, 2, 0, 0], &[1, 9]] {
        let read: Vec<_> = HeaderOptions(bytes).iter().collect();
        assert_eq!(read, [Err(Malformed::Option)], "{bytes:?}");
    }
}

#[test]
fn the_upper_bits_of_an_option_say_what_to_do_with_it() {
    let action = |kind| HeaderOption::Unknown { kind, data: &[] }.unknown_action();
    assert_eq!(action(0x1e), UnknownAction::Skip);
    assert_eq!(action(0x5e), UnknownAction::Discard);
    assert_eq!(action(0x9e), UnknownAction::Report);
    assert_eq!(action(0xde), UnknownAction::ReportIfUnicast);
    assert_eq!(HeaderOption::Pad1.unknown_action(), UnknownAction::Skip);
}

#[test]
fn an_option_that_cannot_state_its_length_is_refused() {
    let option = HeaderOption::Unknown { kind: 0x1e, data: &[0; 256] };
    assert_eq!(option.emit(&mut [0; 300]), Err(TooShort));
}
