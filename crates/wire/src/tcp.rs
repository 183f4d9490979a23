//! The TCP header (RFC 9293 section 3.1) with its options.
//!
//! Sequence arithmetic is [`Seq`]; it compares within half the number space and has no order beyond that.

mod options;
mod packet;
mod seq;

use core::fmt;
use core::ops::{BitOr, BitOrAssign};

use crate::bytes::{fixed, put, split, u16_at, u32_at};
use crate::checksum::Sum;
use crate::{Malformed, TooShort};

pub use options::{Options, OptionsIter, SackBlock, SackBlocks, TcpOption, Timestamps};
pub use seq::Seq;

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// The number of the first octet of the payload, or of the SYN.
    pub sequence: Seq,
    /// The next number that the sender expects; counts with [`Flags::ACK`] only.
    pub acknowledgment: Seq,
    /// The control bits.
    pub flags: Flags,
    /// The room in the sender's buffer, not scaled.
    pub window: u16,
    /// The checksum as it travels.
    pub checksum: u16,
    /// Where urgent data ends, counted from `sequence`; counts with [`Flags::URG`] only.
    pub urgent: u16,
    /// Up to forty octets of options.
    pub options: Options,
}

impl Header {
    /// Octets of the header without options.
    pub const LEN: usize = 20;
    /// Octets of the longest header.
    pub const MAX_LEN: usize = 60;
    /// Where the checksum stands: virtio's `csum_offset`.
    pub const CHECKSUM_OFFSET: usize = 16;

    /// Splits a packet's payload into the header and the segment's data.
    ///
    /// The checksum needs the pseudo-header: see [`crate::checksum::verify`] with
    /// [`crate::ip::pseudo_header`], over all of `bytes`.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (h, rest) = fixed::<{ Self::LEN }>(bytes)?;
        let header_len = usize::from(h[12] >> 4) * 4;
        let options_len = header_len.checked_sub(Self::LEN).ok_or(Malformed::Length)?;
        let (options, payload) = split(rest, options_len)?;
        let options = Options::from_bytes(options).map_err(|TooShort| Malformed::Length)?;
        let header = Self {
            source_port: u16_at(h, 0),
            destination_port: u16_at(h, 2),
            sequence: Seq(u32_at(h, 4)),
            acknowledgment: Seq(u32_at(h, 8)),
            flags: Flags(u16_at(h, 12) & Flags::ALL.0),
            window: u16_at(h, 14),
            checksum: u16_at(h, 16),
            urgent: u16_at(h, 18),
            options,
        };
        Ok((header, payload))
    }

    /// Octets that [`emit`](Self::emit) writes: 20 to 60.
    #[inline]
    pub fn header_len(&self) -> usize {
        Self::LEN + self.options.as_bytes().len()
    }

    /// Writes the header, checksum as it stands, to the front of `out`.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, TooShort> {
        let options = self.options.as_bytes();
        let len = Self::LEN + options.len();
        let out = out.get_mut(..len).ok_or(TooShort)?;
        put(out, 0, self.fixed_bytes(len));
        out[Self::LEN..].copy_from_slice(options);
        Ok(len)
    }

    /// The fixed part.
    #[inline(always)]
    fn fixed_bytes(&self, header_len: usize) -> [u8; Self::LEN] {
        let offset_and_flags = (header_len as u16 / 4) << 12 | self.flags.0 & Flags::ALL.0;
        let mut h = [0; Self::LEN];
        put(&mut h, 0, self.source_port.to_be_bytes());
        put(&mut h, 2, self.destination_port.to_be_bytes());
        put(&mut h, 4, self.sequence.0.to_be_bytes());
        put(&mut h, 8, self.acknowledgment.0.to_be_bytes());
        put(&mut h, 12, offset_and_flags.to_be_bytes());
        put(&mut h, 14, self.window.to_be_bytes());
        put(&mut h, 16, self.checksum.to_be_bytes());
        put(&mut h, 18, self.urgent.to_be_bytes());
        h
    }

    /// The header with the checksum of itself, its pseudo-header and its payload.
    #[inline]
    pub fn with_checksum(self, mut pseudo_header: Sum, payload: Sum) -> Self {
        let blank = Self { checksum: 0, ..self };
        let fixed = blank.fixed_bytes(self.header_len());
        let checksum = pseudo_header.add(&fixed).add(self.options.as_bytes()).add_sum(payload).finish();
        Self { checksum, ..self }
    }
}

/// The control bits of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// No bit.
    pub const NONE: Self = Self(0);
    /// The sender has no more data.
    pub const FIN: Self = Self(0x001);
    /// Numbers are to be synchronised.
    pub const SYN: Self = Self(0x002);
    /// The connection is refused or gone.
    pub const RST: Self = Self(0x004);
    /// The data shall reach the application.
    pub const PSH: Self = Self(0x008);
    /// The acknowledgment number counts.
    pub const ACK: Self = Self(0x010);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x020);
    /// Echo of congestion (RFC 3168).
    pub const ECE: Self = Self(0x040);
    /// The sender has reduced its window (RFC 3168).
    pub const CWR: Self = Self(0x080);
    /// Accurate ECN, once a nonce sum (RFC 9768).
    pub const AE: Self = Self(0x100);
    /// Every bit that has a name.
    pub const ALL: Self = Self(0x1ff);

    /// Whether all bits of `other` are set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The bits of both.
    #[inline]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits of `self` that are not in `other`.
    #[inline]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Flags {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for Flags {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl fmt::Debug for Flags {
    /// One letter a bit, as tcpdump prints them; `none` without any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.write_str("none");
        }
        let letters = "FSRP.UEWe".chars().enumerate();
        letters.filter(|(bit, _)| self.0 >> bit & 1 == 1).try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}

#[cfg(test)]
mod tests;
