//! The Internet checksum (RFC 1071): a sum over any chain of slices, and its incremental update (RFC 1624).
//!
//! [`Sum`] accumulates; slices of odd length may stand anywhere in the chain, because the sum remembers on
//! which half of a 16-bit word it stopped. Values are numbers in host order: write them with `to_be_bytes`.
//!
//! The long loop adds whole 64-bit words in two sets of lanes, the words themselves and their upper halves,
//! which is plain arithmetic that the compiler turns into vector instructions on every target.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::bytes::array;

/// A running one's complement sum of 16-bit words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// The words seen so far, added as native-endian numbers and folded to 32 bits at most.
    native: u64,
    /// Whether an odd number of octets was added, so that the next one is the lower half of its word.
    odd: bool,
}

impl Sum {
    /// The sum of nothing.
    pub const fn new() -> Self {
        Self { native: 0, odd: false }
    }

    /// Adds octets where the last call stopped, as if all slices were one.
    #[inline]
    pub fn add(&mut self, bytes: &[u8]) -> &mut Self {
        self.add_sum(Self { native: sum_native(bytes), odd: bytes.len() % 2 == 1 })
    }

    /// Adds a number as a word of its own.
    ///
    /// After an odd number of octets the word still counts as aligned, as a field of a pseudo-header does.
    #[inline]
    pub fn add_u16(&mut self, word: u16) -> &mut Self {
        self.native += u64::from(word.to_be());
        self
    }

    /// Adds a 32-bit number as two words.
    #[inline]
    pub fn add_u32(&mut self, number: u32) -> &mut Self {
        self.native += u64::from(number.to_be());
        self
    }

    /// Adds an address of either family.
    #[inline]
    pub fn add_address(&mut self, address: IpAddr) -> &mut Self {
        match address {
            IpAddr::V4(address) => self.add_u32(address.to_bits()),
            IpAddr::V6(address) => {
                self.native += u64::from(fold32(sum_native(&address.octets())));
                self
            }
        }
    }

    /// Adds the sum of other octets where the last call stopped, as if they had been added here.
    #[inline]
    pub fn add_sum(&mut self, other: Self) -> &mut Self {
        let sum = fold32(other.native);
        self.native += u64::from(if self.odd { u32::from(fold(sum.into()).swap_bytes()) } else { sum });
        self.odd ^= other.odd;
        self
    }

    /// The sum in 16 bits, not complemented: what a partial checksum (virtio's NEEDS_CSUM) starts from.
    #[inline]
    pub fn fold(&self) -> u16 {
        u16::from_be(fold(self.native))
    }

    /// The checksum: the complement of the sum.
    #[inline]
    pub fn finish(&self) -> u16 {
        !self.fold()
    }

    /// The checksum as UDP sends it, where zero means that there is none (RFC 768).
    #[inline]
    pub fn finish_nonzero(&self) -> u16 {
        match self.finish() {
            0 => 0xffff,
            checksum => checksum,
        }
    }

    /// Whether what was added, checksum field included, is intact.
    #[inline]
    pub fn is_valid(&self) -> bool {
        self.fold() == 0xffff
    }
}

/// The checksum of one slice.
#[inline]
pub fn of(bytes: &[u8]) -> u16 {
    !u16::from_be(fold(sum_native(bytes)))
}

/// Whether `bytes`, checksum field included, are intact under a pseudo-header ([`crate::ip::pseudo_header`],
/// or [`Sum::new`] for protocols without one).
#[inline]
pub fn verify(pseudo_header: Sum, bytes: &[u8]) -> bool {
    let mut sum = pseudo_header;
    sum.add(bytes).is_valid()
}

/// The checksum after one 16-bit word has changed (RFC 1624 equation 3).
#[inline]
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u64::from(!checksum) + u64::from(!old) + u64::from(new))
}

/// The checksum after two adjacent words have changed: a sequence number, a timestamp.
#[inline]
pub fn update_u32(checksum: u16, old: u32, new: u32) -> u16 {
    !fold(u64::from(!checksum) + u64::from(!old) + u64::from(new))
}

/// The checksum after an IPv4 address has changed, in a header or a pseudo-header.
#[inline]
pub fn update_ipv4(checksum: u16, old: Ipv4Addr, new: Ipv4Addr) -> u16 {
    update_u32(checksum, old.to_bits(), new.to_bits())
}

/// The checksum after an IPv6 address has changed in a pseudo-header.
#[inline]
pub fn update_ipv6(checksum: u16, old: Ipv6Addr, new: Ipv6Addr) -> u16 {
    let words = old.segments().into_iter().zip(new.segments());
    words.fold(checksum, |checksum, (old, new)| update(checksum, old, new))
}

/// Adds all octets as native-endian words. Any sum of 16-bit words, in whatever grouping, folds to the same
/// result (RFC 1071 section 2), so 64 bits are taken at a time.
#[inline]
fn sum_native(bytes: &[u8]) -> u64 {
    if bytes.len() < 2 * BLOCK { sum_short(bytes) } else { sum_long(bytes) }
}

/// Octets that one turn of the long loop takes.
const BLOCK: usize = 64;

/// Blocks after which the lanes are emptied, long before the count of words could pass 2^32.
const BLOCKS_PER_RUN: usize = 1 << 20;

/// The sum of a header: a few words and a tail.
#[inline]
fn sum_short(bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<4>();
    let sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let mut last = [0; 4];
    last[..tail.len()].copy_from_slice(tail);
    sum + u64::from(u32::from_ne_bytes(last))
}

/// The sum of a payload.
#[inline(never)]
fn sum_long(bytes: &[u8]) -> u64 {
    let (blocks, tail) = bytes.as_chunks::<BLOCK>();
    let runs: u64 = blocks.chunks(BLOCKS_PER_RUN).map(|run| u64::from(fold32(sum_blocks(run)))).sum();
    runs + sum_short(tail)
}

/// Adds each 64-bit word to its lane, wrapping, and its upper half to another.
///
/// The upper halves cannot overflow, and knowing their sum the carries lost by the wrapping lane come back:
/// the lower halves' sum is `words - (upper << 32)`, exact because it too is below 2^64.
fn sum_blocks(blocks: &[[u8; BLOCK]]) -> u64 {
    const LANES: usize = BLOCK / 8;
    let (mut words, mut upper) = ([0u64; LANES], [0u64; LANES]);
    for block in blocks {
        for lane in 0..LANES {
            let word = u64::from_ne_bytes(array(block, lane * 8));
            words[lane] = words[lane].wrapping_add(word);
            upper[lane] += word >> 32;
        }
    }
    let halves = |(words, upper): (u64, u64)| {
        let lower = words.wrapping_sub(upper << 32);
        u64::from(fold32(lower)) + u64::from(fold32(upper))
    };
    words.into_iter().zip(upper).map(halves).sum()
}

/// A sum in 32 bits, with the carries added back.
#[inline]
fn fold32(sum: u64) -> u32 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    ((sum & 0xffff_ffff) + (sum >> 32)) as u32
}

/// A sum in 16 bits, with the carries added back.
#[inline]
fn fold(sum: u64) -> u16 {
    let sum = u64::from(fold32(sum));
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests;
