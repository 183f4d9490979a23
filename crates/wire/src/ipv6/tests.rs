//! The IPv6 header: inverse, cut to its length, refused where it lies.

use proptest::prelude::*;

use super::*;
use crate::strategies::{assert_inverse, emitted, ipv6, octets};

proptest! {
    #[test]
    fn an_emitted_header_parses_back(
        traffic_class: u8, flow_label in 0..1u32 << 20, next_header: u8, hop_limit: u8,
        source in ipv6(), destination in ipv6(), payload in octets(99),
    ) {
        let header = Header {
            traffic_class, flow_label, payload_len: payload.len() as u16, next_header: Protocol(next_header),
            hop_limit, source, destination,
        };
        let bytes = emitted(header.header_len(), |out| header.emit(out));
        assert_inverse(&header, bytes, &payload, Header::parse);
    }
}

fn plain() -> Header {
    Header {
        traffic_class: 0xb9,
        flow_label: 0xfff_ffff,
        payload_len: 2,
        next_header: Protocol::UDP,
        hop_limit: 64,
        source: Ipv6Addr::LOCALHOST,
        destination: Ipv6Addr::LOCALHOST,
    }
}

#[test]
fn link_padding_is_cut_and_a_missing_end_noticed() {
    let bytes = [&plain().to_bytes()[..], b"hi.padding"].concat();
    assert_eq!(Header::parse(&bytes).unwrap().1, b"hi");
    assert_eq!(Header::parse(&bytes[..41]), Err(Malformed::Truncated));
    assert_eq!(Header::parse_quoted(&bytes[..41]).unwrap().1, b"h");
}

#[test]
fn another_version_is_refused() {
    let mut bytes = plain().to_bytes();
    bytes[0] = 0x45;
    assert_eq!(Header::parse(&bytes), Err(Malformed::Version));
}

#[test]
fn a_flow_label_does_not_spill_into_the_traffic_class() {
    assert_eq!(plain().to_bytes()[..4], [0x6b, 0x9f, 0xff, 0xff]);
    assert_eq!((plain().dscp(), plain().ecn()), (46, Ecn::Capable1));
}
