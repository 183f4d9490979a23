//! Big-endian fields in byte slices: the few lines that every format shares.
//!
//! [`fixed`] splits a header of known size off its input, so that the parsers index arrays whose bounds the
//! compiler has checked. [`Inline`] keeps up to forty octets of options by value.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::{Malformed, TooShort};

/// Splits the first `N` octets off `bytes`.
#[inline]
pub(crate) fn fixed<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), Malformed> {
    bytes.split_first_chunk().ok_or(Malformed::Truncated)
}

/// Splits `len` octets off `bytes`.
#[inline]
pub(crate) fn split(bytes: &[u8], len: usize) -> Result<(&[u8], &[u8]), Malformed> {
    bytes.split_at_checked(len).ok_or(Malformed::Truncated)
}

/// The `N` octets at `at`; the caller's arrays and offsets are constants, so the bound is known.
#[inline(always)]
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// The 16-bit number at `at`.
#[inline(always)]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array(bytes, at))
}

/// The 32-bit number at `at`.
#[inline(always)]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

/// The IPv4 address at `at`.
#[inline(always)]
pub(crate) fn ipv4_at(bytes: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::from(array::<4>(bytes, at))
}

/// The IPv6 address at `at`.
#[inline(always)]
pub(crate) fn ipv6_at(bytes: &[u8], at: usize) -> Ipv6Addr {
    Ipv6Addr::from(array::<16>(bytes, at))
}

/// Writes a field at `at`.
#[inline(always)]
pub(crate) fn put<const N: usize>(out: &mut [u8], at: usize, field: [u8; N]) {
    out[at..at + N].copy_from_slice(&field);
}

/// Copies a finished header to the front of `out`, whole or not at all.
#[inline]
pub(crate) fn write(out: &mut [u8], header: &[u8]) -> Result<usize, TooShort> {
    out.get_mut(..header.len()).ok_or(TooShort)?.copy_from_slice(header);
    Ok(header.len())
}

/// Up to forty octets of options, held by value: the most that a 4-bit header length leaves room for.
///
/// Octets beyond `len` are zero, so that padding to a multiple of four reads as End of Option List.
#[derive(Clone, Copy)]
pub(crate) struct Inline {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl Inline {
    /// The most octets that fit.
    pub(crate) const MAX: usize = 40;

    /// Without any option.
    pub(crate) const EMPTY: Self = Self { bytes: [0; Self::MAX], len: 0 };

    /// A copy of `bytes`, or nothing when they are too many.
    #[inline]
    pub(crate) fn copy(bytes: &[u8]) -> Result<Self, TooShort> {
        let mut options = Self::EMPTY;
        options.append(&[bytes])?;
        Ok(options)
    }

    /// Adds the parts of one option, all or none of them.
    #[inline]
    pub(crate) fn append(&mut self, parts: &[&[u8]]) -> Result<(), TooShort> {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let end = usize::from(self.len) + total;
        let mut room = self.bytes.get_mut(usize::from(self.len)..end).ok_or(TooShort)?;
        for part in parts {
            let (here, after) = room.split_at_mut(part.len());
            here.copy_from_slice(part);
            room = after;
        }
        self.len = end as u8;
        Ok(())
    }

    /// The options, padded with zeros to a multiple of four.
    #[inline]
    pub(crate) fn padded(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len).next_multiple_of(4)]
    }
}

impl PartialEq for Inline {
    fn eq(&self, other: &Self) -> bool {
        self.padded() == other.padded()
    }
}

impl Eq for Inline {}

impl Default for Inline {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// One option of the kind-length-data form that IPv4 and TCP share, or a single octet for kinds 0 and 1.
///
/// Gives the kind, its data and what follows it.
#[inline]
pub(crate) fn next_option(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), Malformed> {
    let (&kind, rest) = bytes.split_first().ok_or(Malformed::Truncated)?;
    if kind <= 1 {
        return Ok((kind, &[], rest));
    }
    let len = usize::from(*rest.first().ok_or(Malformed::Option)?);
    let data = bytes.get(2..len).ok_or(Malformed::Option)?;
    Ok((kind, data, &bytes[len..]))
}
