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
