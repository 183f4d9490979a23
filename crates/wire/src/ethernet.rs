//! Ethernet II (RFC 894) and the 802.1Q tag.
//!
//! A [`Header`] is the fourteen octets in front of every frame; the frame check sequence is the business of
//! the wire below and never seen here. A type below 0x0600 is an 802.3 length, see [`EtherType::is_length`].

pub mod vlan;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use crate::bytes::{array, fixed, put, u16_at, write};
use crate::{Malformed, TooShort};

/// The header of an Ethernet II frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Who shall receive the frame.
    pub destination: Address,
    /// Who sent it.
    pub source: Address,
    /// What the payload is.
    pub ethertype: EtherType,
}

impl Header {
    /// Octets of the header.
    pub const LEN: usize = 14;

    /// Splits a frame into its header and payload, padding included.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (h, rest) = fixed::<{ Self::LEN }>(bytes)?;
        let destination = Address(array(h, 0));
        let source = Address(array(h, 6));
        Ok((Self { destination, source, ethertype: EtherType(u16_at(h, 12)) }, rest))
    }

    /// Octets that [`emit`](Self::emit) writes.
    pub const fn header_len(&self) -> usize {
        Self::LEN
    }

    /// The header as it travels.
    #[inline]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        put(&mut out, 0, self.destination.0);
        put(&mut out, 6, self.source.0);
        put(&mut out, 12, self.ethertype.0.to_be_bytes());
        out
    }

    /// Writes the header to the front of `out`.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, TooShort> {
        write(out, &self.to_bytes())
    }
}

/// The protocol of a frame's payload (IANA "ETHER TYPES").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EtherType(pub u16);

impl EtherType {
    /// Internet Protocol version 4.
    pub const IPV4: Self = Self(0x0800);
    /// Address Resolution Protocol.
    pub const ARP: Self = Self(0x0806);
    /// 802.1Q customer tag.
    pub const VLAN: Self = Self(0x8100);
    /// Internet Protocol version 6.
    pub const IPV6: Self = Self(0x86dd);
    /// 802.1ad service tag.
    pub const SERVICE_VLAN: Self = Self(0x88a8);

    /// Whether the field is an 802.3 length rather than a type (802.3 section 3.2.6).
    pub const fn is_length(self) -> bool {
        self.0 < 0x0600
    }
}

impl fmt::Debug for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EtherType({self})")
    }
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:04x}", self.0)
    }
}

/// A MAC address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Address(pub [u8; 6]);

impl Address {
    /// Octets of an address.
    pub const LEN: usize = 6;
    /// Every station.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// No station: all zeros.
    pub const UNSPECIFIED: Self = Self([0; 6]);

    /// Whether the group bit is set: multicast, broadcast among it.
    #[inline]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 0x01 != 0
    }

    /// Whether it is the address of every station.
    #[inline]
    pub const fn is_broadcast(self) -> bool {
        matches!(self.0, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
    }

    /// Whether it is all zeros.
    #[inline]
    pub const fn is_unspecified(self) -> bool {
        matches!(self.0, [0, 0, 0, 0, 0, 0])
    }

    /// Whether it may be a station's own: neither a group nor all zeros.
    #[inline]
    pub const fn is_unicast(self) -> bool {
        !self.is_multicast() && !self.is_unspecified()
    }

    /// Whether it is locally administered rather than assigned by a vendor.
    #[inline]
    pub const fn is_local(self) -> bool {
        self.0[0] & 0x02 != 0
    }

    /// The group that carries an IPv4 multicast address: its lower 23 bits (RFC 1112 section 6.4).
    pub const fn multicast_v4(group: Ipv4Addr) -> Self {
        let [_, b, c, d] = group.octets();
        Self([0x01, 0x00, 0x5e, b & 0x7f, c, d])
    }

    /// The group that carries an IPv6 multicast address: its last four octets (RFC 2464 section 7).
    pub const fn multicast_v6(group: Ipv6Addr) -> Self {
        let [.., a, b, c, d] = group.octets();
        Self([0x33, 0x33, a, b, c, d])
    }

    /// The group that carries a multicast address of either family.
    pub const fn multicast(group: IpAddr) -> Self {
        match group {
            IpAddr::V4(group) => Self::multicast_v4(group),
            IpAddr::V6(group) => Self::multicast_v6(group),
        }
    }

    /// The interface identifier of an IPv6 address made from this one (RFC 4291 appendix A).
    pub const fn modified_eui64(self) -> [u8; 8] {
        let [a, b, c, d, e, f] = self.0;
        [a ^ 0x02, b, c, 0xff, 0xfe, d, e, f]
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A text is not a MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressParseError;

impl fmt::Display for AddressParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a link-layer address")
    }
}

impl core::error::Error for AddressParseError {}

impl FromStr for Address {
    type Err = AddressParseError;

    /// Reads six groups of one or two hexadecimal digits, each but the last followed by `:`, `-`, `.` or,
    /// after two digits, nothing: what NetBSD's `ether_aton_r` accepts.
    fn from_str(text: &str) -> Result<Self, AddressParseError> {
        let mut rest = text.as_bytes();
        let mut address = [0; 6];
        for (group, octet) in address.iter_mut().enumerate() {
            *octet = take_digit(&mut rest).ok_or(AddressParseError)?;
            if let Some(digit) = take_digit(&mut rest) {
                *octet = *octet << 4 | digit;
            }
            if let ([b':' | b'-' | b'.', after @ ..], 0..5) = (rest, group) {
                rest = after;
            }
        }
        if rest.is_empty() { Ok(Self(address)) } else { Err(AddressParseError) }
    }
}

/// Takes one hexadecimal digit from the front, if there is one.
fn take_digit(text: &mut &[u8]) -> Option<u8> {
    let (&first, rest) = text.split_first()?;
    let digit = char::from(first).to_digit(16)?;
    *text = rest;
    Some(digit as u8)
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use proptest::prelude::*;

    use super::*;
    use crate::strategies::{assert_inverse, emitted, mac, octets};

    proptest! {
        #[test]
        fn an_emitted_header_parses_back(
            destination in mac(), source in mac(), ethertype in any::<u16>(), payload in octets(64),
        ) {
            let header = Header { destination, source, ethertype: EtherType(ethertype) };
            let bytes = emitted(header.header_len(), |out| header.emit(out));
            assert_inverse(&header, bytes, &payload, Header::parse);
        }

        #[test]
        fn an_address_reads_back_as_it_is_printed(address in mac()) {
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }

        #[test]
        fn no_text_breaks_the_address_reader(text in ".{0,24}") {
            let _ = text.parse::<Address>();
        }
    }

    #[test]
    fn a_runt_is_truncated() {
        assert_eq!(Header::parse(&[0; 13]), Err(Malformed::Truncated));
    }

    #[test]
    fn an_address_is_read_as_ether_aton_reads_it() {
        let expected = Ok(Address([0x0a, 0xb, 0, 0xd, 0xe, 0xf]));
        for text in ["a:b:0:d:e:f", "0a:0b:00:0d:0e:0f", "0A-0B-00-0D-0E-0F", "0a.b.0.d.e.f", "0a0b000d0e0f"]
        {
            assert_eq!(text.parse::<Address>(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "a",
            "a:b:c:d:e",
            "a:b:c:d:e:",
            "a:b:c:d:e:f:",
            "a:b:c:d:e:f:1",
            "a::c:d:e:f",
            "g:b:c:d:e:f",
            "aaa:b:c:d:e:f:0",
            " a:b:c:d:e:f",
            "a:b:c:d:e:é",
        ] {
            assert_eq!(text.parse::<Address>(), Err(AddressParseError), "{text}");
        }
    }

    #[test]
    fn groups_map_to_their_ethernet_addresses() {
        let v4 = Address::multicast_v4(Ipv4Addr::new(224, 129, 2, 3));
        let v6 = Address::multicast_v6("ff02::1:ff00:a".parse().unwrap());
        assert_eq!(v4.to_string(), "01:00:5e:01:02:03");
        assert_eq!(v6.to_string(), "33:33:ff:00:00:0a");
        assert!(v4.is_multicast() && v6.is_multicast());
        assert_eq!(Address::multicast(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1))).0, [1, 0, 0x5e, 0, 0, 1]);
    }

    #[test]
    fn kinds_of_address_are_told_apart() {
        assert!(Address::BROADCAST.is_broadcast() && Address::BROADCAST.is_multicast());
        assert!(!Address::BROADCAST.is_unicast() && !Address::UNSPECIFIED.is_unicast());
        assert!(Address::UNSPECIFIED.is_unspecified());
        let local = Address([0xb2, 0x0a, 0, 0, 0, 1]);
        assert!(local.is_unicast() && local.is_local() && !local.is_broadcast());
        assert!(!Address([0x00, 0x1b, 0x21, 0, 0, 1]).is_local());
    }

    #[test]
    fn an_interface_identifier_has_the_universal_bit_flipped() {
        let address = Address([0x02, 0, 0, 0, 0, 0x0a]);
        assert_eq!(address.modified_eui64(), [0, 0, 0, 0xff, 0xfe, 0, 0, 0x0a]);
    }

    #[test]
    fn a_small_type_is_a_length() {
        assert!(EtherType(0x05dc).is_length() && !EtherType(0x0600).is_length());
        assert_eq!(EtherType::IPV4.to_string(), "0x0800");
    }
}
