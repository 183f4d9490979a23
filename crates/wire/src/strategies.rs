//! Values for property tests: addresses of every kind, and the two laws that every format keeps.

use std::vec::Vec;

use core::fmt::Debug;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::ethernet::Address;
use crate::{Malformed, TooShort};

/// Any MAC address.
pub(crate) fn mac() -> impl Strategy<Value = Address> {
    any::<[u8; 6]>().prop_map(Address)
}

/// Any IPv4 address.
pub(crate) fn ipv4() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from_bits)
}

/// Any IPv6 address.
pub(crate) fn ipv6() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(Ipv6Addr::from_bits)
}

/// Any address of either family.
pub(crate) fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![ipv4().prop_map(IpAddr::V4), ipv6().prop_map(IpAddr::V6)]
}

/// Octets, up to `max` of them.
pub(crate) fn octets(max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=max)
}

/// What a value writes of itself: the stated length, and nothing at all where there is less room.
pub(crate) fn emitted(len: usize, emit: impl Fn(&mut [u8]) -> Result<usize, TooShort>) -> Vec<u8> {
    let mut cramped = std::vec![0xa5; len.saturating_sub(1)];
    if len > 0 {
        assert_eq!(emit(&mut cramped), Err(TooShort));
        assert!(cramped.iter().all(|octet| *octet == 0xa5), "a refused emit wrote");
    }
    let mut roomy = std::vec![0xa5; len + 3];
    assert_eq!(emit(&mut roomy), Ok(len));
    assert!(roomy[len..].iter().all(|octet| *octet == 0xa5), "emit wrote past its length");
    roomy.truncate(len);
    roomy
}

/// That what a value wrote reads back as the value, with what was put behind it as the rest, and that no
/// shorter piece of the header does.
pub(crate) fn assert_inverse<T: PartialEq + Debug>(
    value: &T,
    header: Vec<u8>,
    rest: &[u8],
    parse: impl Fn(&[u8]) -> Result<(T, &[u8]), Malformed>,
) {
    let whole = [&header, rest].concat();
    let (parsed, after) = parse(&whole).expect("what was emitted parses");
    assert_eq!((&parsed, after), (value, rest));
    for len in 0..header.len() {
        assert!(parse(&header[..len]).map_or(true, |(shorter, _)| shorter != *value), "cut to {len}");
    }
}
