//! What both versions of the Internet Protocol share: protocol numbers, prefixes, congestion marks and the
//! pseudo-header of the transports.

mod cidr;

use core::fmt;
use core::net::IpAddr;

use crate::checksum::Sum;

pub use cidr::{Cidr, CidrParseError};

/// The protocol of a packet's payload, also an IPv6 next header (IANA "Protocol Numbers").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Protocol(pub u8);

impl Protocol {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: Self = Self(0);
    /// Internet Control Message Protocol for IPv4.
    pub const ICMP: Self = Self(1);
    /// Internet Group Management Protocol.
    pub const IGMP: Self = Self(2);
    /// IPv4 in IP.
    pub const IPV4: Self = Self(4);
    /// Transmission Control Protocol.
    pub const TCP: Self = Self(6);
    /// User Datagram Protocol.
    pub const UDP: Self = Self(17);
    /// IPv6 in IP.
    pub const IPV6: Self = Self(41);
    /// IPv6 routing header.
    pub const ROUTING: Self = Self(43);
    /// IPv6 fragment header.
    pub const FRAGMENT: Self = Self(44);
    /// Internet Control Message Protocol for IPv6.
    pub const ICMPV6: Self = Self(58);
    /// IPv6: nothing follows.
    pub const NO_NEXT_HEADER: Self = Self(59);
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: Self = Self(60);
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Protocol({self})")
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ICMP => f.write_str("icmp"),
            Self::IGMP => f.write_str("igmp"),
            Self::TCP => f.write_str("tcp"),
            Self::UDP => f.write_str("udp"),
            Self::ICMPV6 => f.write_str("icmp6"),
            Self(number) => write!(f, "{number}"),
        }
    }
}

/// The congestion mark in the lower two bits of a traffic class (RFC 3168 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Ecn {
    /// The transport does not take marks.
    NotCapable = 0,
    /// The transport takes marks; also the identifier of scalable congestion control (RFC 9331).
    Capable1 = 1,
    /// The transport takes marks.
    Capable0 = 2,
    /// A router on the path was congested.
    CongestionExperienced = 3,
}

impl Ecn {
    /// The mark in a traffic class octet.
    #[inline]
    pub const fn of(traffic_class: u8) -> Self {
        match traffic_class & 3 {
            0 => Self::NotCapable,
            1 => Self::Capable1,
            2 => Self::Capable0,
            _ => Self::CongestionExperienced,
        }
    }

    /// The traffic class with this mark in place of its own.
    #[inline]
    pub const fn applied_to(self, traffic_class: u8) -> u8 {
        traffic_class & !3 | self as u8
    }
}

/// The version of a packet, 4 or 6, read from its first half octet; nothing else.
#[inline]
pub fn version(packet: &[u8]) -> Option<u8> {
    packet.first().map(|first| first >> 4).filter(|version| matches!(version, 4 | 6))
}

/// The sum over the pseudo-header that TCP, UDP and ICMPv6 include in their checksums (RFC 9293
/// section 3.1, RFC 768, RFC 8200 section 8.1).
///
/// `len` counts the transport header and its payload. Both addresses are of one family.
#[inline]
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: Protocol, len: u32) -> Sum {
    let mut sum = Sum::new();
    sum.add_address(source).add_address(destination).add_u16(u16::from(protocol.0)).add_u32(len);
    sum
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn a_pseudo_header_sums_its_fields() {
        let sum = pseudo_header(
            Ipv4Addr::new(10, 9, 0, 1).into(),
            Ipv4Addr::new(10, 9, 0, 2).into(),
            Protocol::UDP,
            13,
        );
        assert_eq!(sum.fold(), 0x0a09 + 0x0001 + 0x0a09 + 0x0002 + 17 + 13);
    }

    #[test]
    fn an_ipv6_pseudo_header_counts_a_length_beyond_sixteen_bits() {
        let (source, destination) = (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::UNSPECIFIED.into());
        assert_eq!(pseudo_header(source, destination, Protocol::TCP, 0x0002_0003).fold(), 1 + 6 + 2 + 3);
    }

    #[test]
    fn a_congestion_mark_replaces_only_its_bits() {
        for mark in [Ecn::NotCapable, Ecn::Capable0, Ecn::Capable1, Ecn::CongestionExperienced] {
            assert_eq!(Ecn::of(mark.applied_to(0xb9)), mark);
            assert_eq!(mark.applied_to(0xb9) >> 2, 0xb9 >> 2);
        }
    }

    #[test]
    fn a_version_is_four_six_or_none() {
        assert_eq!(version(&[0x45]), Some(4));
        assert_eq!(version(&[0x60]), Some(6));
        assert_eq!(version(&[0x50]), None);
        assert_eq!(version(&[]), None);
    }

    #[test]
    fn protocols_print_their_names_or_numbers() {
        assert_eq!(Protocol::ICMP.to_string(), "icmp");
        assert_eq!(Protocol(99).to_string(), "99");
    }
}
