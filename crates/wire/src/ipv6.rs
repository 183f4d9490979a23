//! The IPv6 header (RFC 8200 section 3) and, in [`extension`], what may follow it.

pub mod extension;

use core::net::Ipv6Addr;

use crate::bytes::{fixed, ipv6_at, put, u16_at, u32_at, write};
use crate::ip::{Ecn, Protocol};
use crate::{Malformed, TooShort};

/// The header of an IPv6 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Differentiated services code point and congestion mark.
    pub traffic_class: u8,
    /// What the packets of one flow have in common: 20 bits.
    pub flow_label: u32,
    /// Octets after the header, extension headers among them.
    pub payload_len: u16,
    /// What the payload starts with.
    pub next_header: Protocol,
    /// Hops that the packet may still take.
    pub hop_limit: u8,
    /// Who sent it.
    pub source: Ipv6Addr,
    /// Who shall receive it.
    pub destination: Ipv6Addr,
}

impl Header {
    /// Octets of the header.
    pub const LEN: usize = 40;
    /// What every link must carry without fragmentation (RFC 8200 section 5).
    pub const MINIMUM_MTU: usize = 1280;

    /// Splits a packet into its header and payload, cut to the stated length.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (header, rest) = Self::parse_quoted(bytes)?;
        Ok((header, rest.get(..usize::from(header.payload_len)).ok_or(Malformed::Truncated)?))
    }

    /// The header of a packet of which only the front is there, as ICMPv6 errors quote it, and that front of
    /// the payload.
    #[inline]
    pub fn parse_quoted(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (h, rest) = fixed::<{ Self::LEN }>(bytes)?;
        let first = u32_at(h, 0);
        if first >> 28 != 6 {
            return Err(Malformed::Version);
        }
        let header = Self {
            traffic_class: (first >> 20) as u8,
            flow_label: first & 0x000f_ffff,
            payload_len: u16_at(h, 4),
            next_header: Protocol(h[6]),
            hop_limit: h[7],
            source: ipv6_at(h, 8),
            destination: ipv6_at(h, 24),
        };
        Ok((header, &rest[..rest.len().min(usize::from(header.payload_len))]))
    }

    /// Octets that [`emit`](Self::emit) writes.
    pub const fn header_len(&self) -> usize {
        Self::LEN
    }

    /// The header as it travels; bits beyond the flow label's width are not sent.
    #[inline]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0x000f_ffff;
        let mut out = [0; Self::LEN];
        put(&mut out, 0, first.to_be_bytes());
        put(&mut out, 4, self.payload_len.to_be_bytes());
        put(&mut out, 6, [self.next_header.0, self.hop_limit]);
        put(&mut out, 8, self.source.octets());
        put(&mut out, 24, self.destination.octets());
        out
    }

    /// Writes the header to the front of `out`.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, TooShort> {
        write(out, &self.to_bytes())
    }

    /// Differentiated services code point, 0 to 63.
    #[inline]
    pub const fn dscp(&self) -> u8 {
        self.traffic_class >> 2
    }

    /// The congestion mark.
    #[inline]
    pub const fn ecn(&self) -> Ecn {
        Ecn::of(self.traffic_class)
    }
}

#[cfg(test)]
mod tests;
