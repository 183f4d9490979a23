//! The IPv4 header (RFC 791) with its options.

mod options;
mod passage;

use core::net::Ipv4Addr;

use crate::bytes::{fixed, ipv4_at, put, split, u16_at};
use crate::ip::{Ecn, Protocol};
use crate::{Malformed, TooShort, checksum};

pub use options::{IpOption, Options, OptionsIter, Route};
pub use passage::{Stamp, find_fault, stamp};

/// The header of an IPv4 packet. Its checksum is verified by [`parse`](Self::parse) and computed by
/// [`emit`](Self::emit), so it is no field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Type of service: differentiated services code point and congestion mark (RFC 2474, RFC 3168).
    pub tos: u8,
    /// Octets of header and payload.
    pub total_len: u16,
    /// What the fragments of one packet have in common.
    pub identification: u16,
    /// Routers shall not fragment the packet.
    pub dont_fragment: bool,
    /// Another fragment follows this one.
    pub more_fragments: bool,
    /// Where the payload belongs in the whole, in octets: a multiple of eight up to 65528.
    pub fragment_offset: u16,
    /// Hops that the packet may still take.
    pub ttl: u8,
    /// What the payload is.
    pub protocol: Protocol,
    /// Who sent it.
    pub source: Ipv4Addr,
    /// Who shall receive it.
    pub destination: Ipv4Addr,
    /// Up to forty octets of options, mostly none.
    pub options: Options,
}

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

impl Header {
    /// Octets of the header without options.
    pub const LEN: usize = 20;
    /// Octets of the longest header.
    pub const MAX_LEN: usize = 60;

    /// Splits a packet into its header and payload, after checking version, lengths and checksum.
    ///
    /// The payload is cut to the total length, so that link padding is gone.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let parsed = Self::parse_unverified(bytes)?;
        let header = &bytes[..parsed.0.header_len()];
        if checksum::of(header) == 0 { Ok(parsed) } else { Err(Malformed::Checksum) }
    }

    /// A whole packet with so many octets of payload: a time to live of 64, not to be fragmented, no options. More payload than
    /// the length field can say is left to whoever emits it to refuse.
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: Protocol, payload_len: usize) -> Self {
        Self {
            tos: 0,
            total_len: u16::try_from(Self::LEN + payload_len).unwrap_or(u16::MAX),
            identification: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol,
            source,
            destination,
            options: Options::default(),
        }
    }

    /// As [`parse`](Self::parse), without the checksum: for packets quoted in ICMP errors, and where the link
    /// has verified it.
    #[inline]
    pub fn parse_unverified(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (header, rest) = Self::parse_quoted(bytes)?;
        let payload_len = usize::from(header.total_len) - header.header_len();
        Ok((header, rest.get(..payload_len).ok_or(Malformed::Truncated)?))
    }

    /// The header of a packet of which only the front is there, as ICMP errors quote it (RFC 792), and that
    /// front of the payload. The checksum is not verified.
    pub fn parse_quoted(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (h, rest) = fixed::<{ Self::LEN }>(bytes)?;
        if h[0] >> 4 != 4 {
            return Err(Malformed::Version);
        }
        let header_len = usize::from(h[0] & 15) * 4;
        let total_len = u16_at(h, 2);
        if header_len < Self::LEN || usize::from(total_len) < header_len {
            return Err(Malformed::Length);
        }
        let (options, rest) = split(rest, header_len - Self::LEN)?;
        let options = Options::from_bytes(options).map_err(|TooShort| Malformed::Length)?;
        let rest = &rest[..rest.len().min(usize::from(total_len) - header_len)];
        Ok((Self::from_fixed(h, total_len, options), rest))
    }

    /// The fields of the fixed part.
    #[inline(always)]
    fn from_fixed(h: &[u8; Self::LEN], total_len: u16, options: Options) -> Self {
        let fragment = u16_at(h, 6);
        Self {
            tos: h[1],
            total_len,
            identification: u16_at(h, 4),
            dont_fragment: fragment & DONT_FRAGMENT != 0,
            more_fragments: fragment & MORE_FRAGMENTS != 0,
            fragment_offset: (fragment & OFFSET_MASK) * 8,
            ttl: h[8],
            protocol: Protocol(h[9]),
            source: ipv4_at(h, 12),
            destination: ipv4_at(h, 16),
            options,
        }
    }

    /// Octets that [`emit`](Self::emit) writes: 20 to 60.
    #[inline]
    pub fn header_len(&self) -> usize {
        Self::LEN + self.options.as_bytes().len()
    }

    /// Octets after the header.
    #[inline]
    pub fn payload_len(&self) -> usize {
        usize::from(self.total_len).saturating_sub(self.header_len())
    }

    /// Writes the header with its checksum to the front of `out`.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, TooShort> {
        let options = self.options.as_bytes();
        let len = Self::LEN + options.len();
        let out = out.get_mut(..len).ok_or(TooShort)?;
        put(out, 0, self.fixed_bytes(len));
        out[Self::LEN..].copy_from_slice(options);
        let checksum = checksum::of(out);
        put(out, 10, checksum.to_be_bytes());
        Ok(len)
    }

    /// The fixed part with a checksum of zero.
    #[inline(always)]
    fn fixed_bytes(&self, header_len: usize) -> [u8; Self::LEN] {
        let fragment = (self.fragment_offset / 8)
            | if self.dont_fragment { DONT_FRAGMENT } else { 0 }
            | if self.more_fragments { MORE_FRAGMENTS } else { 0 };
        let mut h = [0; Self::LEN];
        put(&mut h, 0, [0x40 | (header_len / 4) as u8, self.tos]);
        put(&mut h, 2, self.total_len.to_be_bytes());
        put(&mut h, 4, self.identification.to_be_bytes());
        put(&mut h, 6, fragment.to_be_bytes());
        put(&mut h, 8, [self.ttl, self.protocol.0]);
        put(&mut h, 12, self.source.octets());
        put(&mut h, 16, self.destination.octets());
        h
    }

    /// Differentiated services code point, 0 to 63.
    #[inline]
    pub const fn dscp(&self) -> u8 {
        self.tos >> 2
    }

    /// The congestion mark.
    #[inline]
    pub const fn ecn(&self) -> Ecn {
        Ecn::of(self.tos)
    }

    /// Whether this is a part of a larger packet.
    #[inline]
    pub const fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }
}

/// The destination of what looks like an IPv4 packet, of which nothing else has been looked at.
#[inline]
pub fn destination(bytes: &[u8]) -> Option<Ipv4Addr> {
    let (header, _) = fixed::<{ Header::LEN }>(bytes).ok()?;
    (header[0] >> 4 == 4).then(|| ipv4_at(header, 16))
}

#[cfg(test)]
mod tests;
