//! The sum against the definition, against the numbers of the RFCs, and against itself cut into pieces.

use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::strategies::{ip, ipv4, ipv6, octets};

/// RFC 1071 section 4.1, word for word: two octets at a time, the last one padded, carries added back.
fn by_definition(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Octets that are likely to carry: mostly ones and zeros.
fn carrying_octets(max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![3 => Just(0xff), 1 => Just(0), 1 => any::<u8>()], 0..=max)
}

proptest! {
    #[test]
    fn the_sum_is_that_of_the_definition(bytes in octets(700)) {
        prop_assert_eq!(Sum::new().add(&bytes).fold(), by_definition(&bytes));
        prop_assert_eq!(of(&bytes), !by_definition(&bytes));
    }

    #[test]
    fn carries_are_not_lost(bytes in carrying_octets(700)) {
        prop_assert_eq!(Sum::new().add(&bytes).fold(), by_definition(&bytes));
    }

    /// NetBSD's in_cksum test: every way to split a buffer over a chain gives the same sum.
    #[test]
    fn a_chain_sums_like_one_slice(bytes in carrying_octets(400), cuts in vec(0..400usize, 0..6)) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        let (mut chain, mut joined, mut start) = (Sum::new(), Sum::new(), 0);
        for end in cuts.into_iter().chain([bytes.len()]) {
            chain.add(&bytes[start..end]);
            joined.add_sum(*Sum::new().add(&bytes[start..end]));
            start = end;
        }
        prop_assert_eq!(chain.fold(), by_definition(&bytes));
        prop_assert_eq!(joined.fold(), by_definition(&bytes));
    }

    #[test]
    fn a_slice_sums_alike_at_every_alignment(bytes in octets(200), shift in 0..16usize) {
        let mut shifted = std::vec![0; shift];
        shifted.extend(&bytes);
        prop_assert_eq!(of(&shifted[shift..]), of(&bytes));
    }

    #[test]
    fn numbers_sum_like_their_octets(word: u16, number: u32, address in ip()) {
        let mut octets = [&word.to_be_bytes()[..], &number.to_be_bytes()].concat();
        match address {
            IpAddr::V4(address) => octets.extend(address.octets()),
            IpAddr::V6(address) => octets.extend(address.octets()),
        }
        let sum = Sum::new().add_u16(word).add_u32(number).add_address(address).fold();
        prop_assert_eq!(sum, by_definition(&octets));
    }

    #[test]
    fn what_was_summed_verifies_until_a_bit_flips(mut bytes in vec(any::<u8>(), 2..120), bit: usize) {
        bytes[..2].fill(0);
        let checksum = of(&bytes);
        bytes[..2].copy_from_slice(&checksum.to_be_bytes());
        prop_assert!(verify(Sum::new(), &bytes));
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!verify(Sum::new(), &bytes));
    }

    #[test]
    fn an_update_is_the_sum_of_the_new_octets(mut bytes in vec(any::<u8>(), 4..60), at: usize, new: u16) {
        bytes[0] = 0x45;
        let at = 2 + at % ((bytes.len() - 2) / 2) * 2;
        let (before, old) = (of(&bytes), u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
        prop_assert_eq!(update(before, old, new), of(&bytes));
    }

    #[test]
    fn an_update_of_an_address_is_the_sum_of_the_new_one(old4 in ipv4(), new4 in ipv4(), old6 in ipv6(), new6 in ipv6()) {
        let with = |address: &[u8]| of(&[&[0x45, 0, 0, 99], address].concat());
        prop_assert_eq!(update_ipv4(with(&old4.octets()), old4, new4), with(&new4.octets()));
        prop_assert_eq!(update_ipv6(with(&old6.octets()), old6, new6), with(&new6.octets()));
    }
}

#[test]
fn the_example_of_rfc_1071_section_3_sums_to_ddf2() {
    let octets = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(Sum::new().add(&octets).fold(), 0xddf2);
    assert_eq!(of(&octets), 0x220d);
}

#[test]
fn the_example_of_rfc_1624_section_4_updates_to_0000() {
    assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
}

#[test]
fn nothing_sums_to_zero() {
    assert_eq!(Sum::new().fold(), 0);
    assert_eq!(of(&[]), 0xffff);
    assert_eq!(Sum::default().finish_nonzero(), 0xffff);
}

#[test]
fn a_checksum_of_zero_is_sent_as_all_ones_where_zero_means_none() {
    let mut sum = Sum::new();
    sum.add(&[0xff, 0xff]);
    assert_eq!((sum.finish(), sum.finish_nonzero()), (0, 0xffff));
}

#[test]
fn every_length_up_to_several_blocks_is_summed_whole() {
    let bytes: Vec<u8> = (0..1000u32).map(|n| (n * 131 % 255) as u8 | 1).collect();
    for len in 0..=bytes.len() {
        assert_eq!(of(&bytes[..len]), !by_definition(&bytes[..len]), "{len} octets");
    }
}

#[test]
fn a_large_buffer_of_ones_does_not_overflow_its_lanes() {
    let bytes = std::vec![0xff; (BLOCKS_PER_RUN + 3) * BLOCK + 1];
    let mut sum = Sum::new();
    for _ in 0..3 {
        sum.add(&bytes);
    }
    // Full words are zero in one's complement; three odd lengths leave a lone ff at 0, 1 and 0 modulo two.
    assert_eq!(sum.fold(), by_definition(&[0xff, 0xff, 0xff]));
}
