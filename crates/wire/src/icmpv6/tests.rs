//! Messages of ICMPv6, neighbour and listener discovery among them: inverse, and verified with their
//! addresses.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::multicast::QueryExtension;
use crate::ndp::{NeighborFlags, RouterFlags};
use crate::strategies::{assert_inverse, emitted, ipv6, octets};

fn ndp_message() -> impl Strategy<Value = ndp::Message> {
    prop_oneof![
        Just(ndp::Message::RouterSolicitation),
        any::<(u8, u8, u16, u32, u32)>().prop_map(
            |(hop_limit, flags, router_lifetime, reachable_time, retransmit_timer)| {
                let flags = RouterFlags(flags);
                ndp::Message::RouterAdvertisement {
                    hop_limit,
                    flags,
                    router_lifetime,
                    reachable_time,
                    retransmit_timer,
                }
            }
        ),
        ipv6().prop_map(|target| ndp::Message::NeighborSolicitation { target }),
        (any::<u8>(), ipv6()).prop_map(|(flags, target)| ndp::Message::NeighborAdvertisement {
            flags: NeighborFlags(flags),
            target
        }),
        (ipv6(), ipv6()).prop_map(|(target, destination)| ndp::Message::Redirect { target, destination }),
    ]
}

/// A listener's message; a version 2 query claims no sources, since none follow.
fn mld_message() -> impl Strategy<Value = mld::Message> {
    let extension = (any::<bool>(), 0..8u8, any::<u8>()).prop_map(|(suppress, robustness, interval_code)| {
        QueryExtension { suppress, robustness, interval_code, sources: 0 }
    });
    prop_oneof![
        (any::<u16>(), ipv6(), prop::option::of(extension)).prop_map(|(max_response, group, extension)| {
            mld::Message::Query { max_response, group, extension }
        }),
        ipv6().prop_map(|group| mld::Message::Report { group }),
        ipv6().prop_map(|group| mld::Message::Done { group }),
        any::<u16>().prop_map(|records| mld::Message::ReportV2 { records }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let numbers = any::<(u16, u16)>;
    prop_oneof![
        any::<u8>().prop_map(|code| Message::DestinationUnreachable { code: UnreachableCode(code) }),
        any::<u32>().prop_map(|mtu| Message::PacketTooBig { mtu }),
        any::<u8>().prop_map(|code| Message::TimeExceeded { code }),
        any::<(u8, u32)>()
            .prop_map(|(code, pointer)| Message::ParameterProblem { code: ParameterCode(code), pointer }),
        numbers().prop_map(|(identifier, sequence)| Message::EchoRequest { identifier, sequence }),
        numbers().prop_map(|(identifier, sequence)| Message::EchoReply { identifier, sequence }),
        ndp_message().prop_map(Message::Ndp),
        mld_message().prop_map(Message::Mld),
        (150u8.., any::<u8>(), any::<[u8; 4]>()).prop_map(|(kind, code, content)| Message::Unknown {
            kind,
            code,
            content
        }),
    ]
}

proptest! {
    #[test]
    fn an_emitted_message_parses_back(
        message in message(), source in ipv6(), destination in ipv6(), data in octets(60),
    ) {
        // Four octets behind a version 1 query would make it one of version 2.
        let query_v1 = matches!(message, Message::Mld(mld::Message::Query { extension: None, .. }));
        let data = if query_v1 { &data[..data.len().min(3)] } else { &data[..] };
        let sum = *Sum::new().add(data);
        let emit = |out: &mut [u8]| message.emit(source, destination, sum, data.len(), out);
        let bytes = emitted(message.header_len(), emit);
        assert_inverse(&message, bytes, data, |bytes| Message::parse(source, destination, bytes));
    }

    #[test]
    fn a_message_for_another_address_is_noticed(message in message(), destination in ipv6(), bit in 0..128u32) {
        let source = Ipv6Addr::LOCALHOST;
        let bytes = emitted(message.header_len(), |out| message.emit(source, destination, Sum::new(), 0, out));
        let other = Ipv6Addr::from_bits(destination.to_bits() ^ 1 << bit);
        prop_assert_eq!(Message::parse(source, other, &bytes), Err(Malformed::Checksum));
        prop_assert_eq!(Message::parse(source, destination, &bytes), Ok((message, &[][..])));
    }
}

#[test]
fn errors_are_told_from_informational_messages() {
    let errors: Vec<_> =
        (0..=255u8).filter(|kind| Message::from_fields(*kind, 0, [0; 4]).is_error()).collect();
    assert_eq!(errors, (0..128).collect::<Vec<_>>());
    assert!(!Message::Ndp(ndp::Message::RouterSolicitation).is_error());
}

#[test]
fn discovery_with_a_foreign_code_is_unknown() {
    let bytes = [135, 1, 0, 0, 1, 2, 3, 4];
    let unknown = Message::Unknown { kind: 135, code: 1, content: [1, 2, 3, 4] };
    assert_eq!(Message::parse_unverified(&bytes), Ok((unknown, &[][..])));
}

#[test]
fn discovery_without_its_addresses_is_truncated() {
    for (kind, short) in [(130, 23), (131, 23), (132, 23), (134, 15), (135, 23), (136, 23), (137, 39)] {
        let mut bytes = [0; 40];
        bytes[0] = kind;
        assert_eq!(Message::parse_unverified(&bytes[..short]), Err(Malformed::Truncated), "{kind}");
        assert!(Message::parse_unverified(&bytes[..short + 1]).is_ok(), "{kind}");
    }
}

#[test]
fn a_listener_query_that_claims_more_sources_than_it_has_is_truncated() {
    let mut bytes = [0; 43];
    (bytes[0], bytes[27]) = (130, 1);
    assert_eq!(Message::parse_unverified(&bytes), Err(Malformed::Truncated));
}

#[test]
fn a_listener_time_beyond_fifteen_bits_is_a_floating_point_number() {
    assert_eq!(mld::decode_max_response(0x7fff), 0x7fff);
    assert_eq!(mld::decode_max_response(0x8000), 0x8000);
    assert_eq!(mld::decode_max_response(0xffff), 0x1fff << 10);
}
