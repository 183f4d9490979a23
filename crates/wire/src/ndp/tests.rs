//! Options of neighbour discovery: inverse, padded, refused where their length is not their kind's.

use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::TooShort;
use crate::ethernet::Address;
use crate::ip::Cidr;
use crate::multicast::{Addresses, emit_addresses};
use crate::strategies::{emitted, ipv6, mac, octets};

fn prefix() -> impl Strategy<Value = Cidr> {
    (ipv6(), 0..=128u8).prop_map(|(address, len)| Cidr::new(address.into(), len).unwrap())
}

fn preference() -> impl Strategy<Value = RouterPreference> {
    (0..4u8).prop_map(RouterPreference::from_bits)
}

/// Options without borrowed data.
fn plain_option() -> impl Strategy<Value = NdpOption<'static>> {
    prop_oneof![
        mac().prop_map(NdpOption::SourceLinkAddress),
        mac().prop_map(NdpOption::TargetLinkAddress),
        any::<u32>().prop_map(NdpOption::Mtu),
        (prefix(), any::<(bool, bool, u32, u32)>()).prop_map(
            |(prefix, (on_link, autonomous, valid, preferred))| {
                NdpOption::PrefixInformation(PrefixInformation {
                    prefix,
                    on_link,
                    autonomous,
                    valid_lifetime: valid,
                    preferred_lifetime: preferred,
                })
            }
        ),
        (prefix(), preference(), any::<u32>()).prop_map(|(prefix, preference, lifetime)| {
            NdpOption::RouteInformation(RouteInformation { prefix: prefix.network(), preference, lifetime })
        }),
    ]
}

/// The one option in `bytes`.
fn read(bytes: &[u8]) -> NdpOption<'_> {
    let (option, rest) = NdpOption::parse(bytes).unwrap();
    assert!(rest.is_empty());
    option
}

proptest! {
    #[test]
    fn an_emitted_option_parses_back(option in plain_option(), rest in octets(9)) {
        let bytes = emitted(option.header_len(), |out| option.emit(out));
        prop_assert_eq!(bytes.len() % 8, 0);
        let whole = [bytes, rest.clone()].concat();
        prop_assert_eq!(NdpOption::parse(&whole), Ok((option, &rest[..])));
    }

    #[test]
    fn an_emitted_option_with_data_parses_back(
        units in 0..9usize, data in vec(any::<u8>(), 80), servers in vec(ipv6(), 1..5), lifetime: u32, which in 0..5u8,
    ) {
        let mut addresses = [0; 80];
        let len = emit_addresses(&servers, &mut addresses).unwrap();
        let option = match which {
            0 => NdpOption::Nonce(&data[..units * 8 + 6]),
            1 => NdpOption::Unknown { kind: 200, data: &data[..units * 8 + 6] },
            2 => NdpOption::RedirectedHeader(&data[..units * 8]),
            3 => NdpOption::DnsSearchList { lifetime, names: &data[..units * 8 + 8] },
            _ => NdpOption::RecursiveDnsServers { lifetime, servers: Addresses::new(&addresses[..len]) },
        };
        let bytes = emitted(option.header_len(), |out| option.emit(out));
        prop_assert_eq!(read(&bytes), option);
    }

    #[test]
    fn nonsense_ends_the_options(bytes in octets(200)) {
        prop_assert!(Options::new(&bytes).count() <= bytes.len() / 8 + 1);
    }
}

#[test]
fn data_is_padded_to_eight_octets() {
    let option = NdpOption::Nonce(&[7; 7]);
    let bytes = emitted(16, |out| option.emit(out));
    assert_eq!(bytes[..2], [14, 2]);
    assert_eq!(read(&bytes), NdpOption::Nonce(&[7, 7, 7, 7, 7, 7, 7, 0, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn options_of_a_foreign_length_end_the_list() {
    for (kind, units) in
        [(1, 2), (2, 3), (3, 1), (3, 3), (5, 2), (24, 4), (25, 1), (25, 2), (31, 1), (200, 0)]
    {
        let mut bytes = [0; 64];
        (bytes[0], bytes[1]) = (kind, units);
        let read: Vec<_> = Options::new(&bytes).collect();
        assert_eq!(read, [Err(Malformed::Option)], "kind {kind} of {units} units");
    }
    assert_eq!(NdpOption::parse(&[1, 1, 0, 0, 0, 0, 0]), Err(Malformed::Option));
    assert_eq!(NdpOption::parse(&[1]), Err(Malformed::Option));
}

#[test]
fn a_prefix_longer_than_an_address_is_refused() {
    let mut bytes = [0; 32];
    (bytes[0], bytes[1], bytes[2]) = (3, 4, 129);
    assert_eq!(NdpOption::parse(&bytes), Err(Malformed::Option));
}

#[test]
fn a_route_prefix_is_cut_to_the_octets_it_needs() {
    for (prefix, len) in
        [("::/0", 8), ("2001:db8::/32", 16), ("2001:db8::/64", 16), ("2001:db8::8000/113", 24)]
    {
        let prefix = prefix.parse().unwrap();
        let route = RouteInformation { prefix, preference: RouterPreference::High, lifetime: 600 };
        assert_eq!(NdpOption::RouteInformation(route).header_len(), len, "{prefix}");
    }
    let too_short_for_65_bits = [24, 2, 65, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(NdpOption::parse(&too_short_for_65_bits), Err(Malformed::Option));
}

#[test]
fn an_option_that_cannot_state_its_length_is_refused() {
    let data = [0; 3000];
    assert_eq!(NdpOption::Nonce(&data).emit(&mut [0; 4000]), Err(TooShort));
}

#[test]
fn a_solicited_node_group_ends_in_the_last_24_bits() {
    let group = solicited_node("fd00:9::1234:5678:9abc".parse().unwrap());
    assert_eq!(group, "ff02::1:ff78:9abc".parse::<Ipv6Addr>().unwrap());
    assert_eq!(Address::multicast_v6(group).0, [0x33, 0x33, 0xff, 0x78, 0x9a, 0xbc]);
}

#[test]
fn flags_are_told_apart() {
    let flags = NeighborFlags::SOLICITED.union(NeighborFlags::OVERRIDE);
    assert!(flags.contains(NeighborFlags::SOLICITED) && !flags.contains(NeighborFlags::ROUTER));
    let flags = RouterFlags(0x98);
    assert!(flags.contains(RouterFlags::MANAGED) && !flags.contains(RouterFlags::OTHER));
    assert_eq!(flags.preference(), RouterPreference::Low);
    assert!(
        RouterPreference::Low < RouterPreference::Medium && RouterPreference::Medium < RouterPreference::High
    );
}
