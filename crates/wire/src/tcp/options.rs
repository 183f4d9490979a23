//! TCP options (RFC 9293 section 3.2, RFC 7323, RFC 2018, RFC 5482, RFC 7413, RFC 2385, RFC 5925).
//!
//! [`Options`] keeps the octets in their order, so that what was parsed can be sent again unchanged;
//! [`Options::iter`] reads them one by one and [`Options::push`] adds one. As other stacks do, a receiver reads
//! up to the first malformed option and keeps the segment.

use core::fmt;

use crate::bytes::{Inline, array, next_option, put, u16_at, u32_at};
use crate::tcp::Seq;
use crate::{Malformed, TooShort};

/// The options of a segment, in their order, kept as they travel.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Options(Inline);

/// Two NOPs in front of a timestamp option: the layout that nearly every segment of every stack has
/// (RFC 7323 appendix A).
const ALIGNED_TIMESTAMPS: [u8; 4] = [kind::NOP, kind::NOP, kind::TIMESTAMPS, 10];

impl Options {
    /// The most octets that a header has room for.
    pub const MAX_LEN: usize = Inline::MAX;
    /// Without any option.
    pub const EMPTY: Self = Self(Inline::EMPTY);

    /// Options from a header; they are judged when iterated.
    #[inline]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TooShort> {
        Inline::copy(bytes).map(Self)
    }

    /// Timestamps alone, aligned by two NOPs: twelve octets.
    #[inline]
    pub fn from_timestamps(timestamps: Timestamps) -> Self {
        let mut options = [0; 12];
        put(&mut options, 0, ALIGNED_TIMESTAMPS);
        put(&mut options, 4, timestamps.to_bytes());
        Inline::copy(&options).map(Self).unwrap_or_default()
    }

    /// The options as they travel, padded to a multiple of four.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.padded()
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// The options one by one, up to the end of the list or the first malformed one.
    #[inline]
    pub fn iter(&self) -> OptionsIter<'_> {
        OptionsIter { rest: self.as_bytes() }
    }

    /// The timestamps, found at once where they stand alone.
    #[inline]
    pub fn timestamps(&self) -> Option<Timestamps> {
        match self.as_bytes() {
            bytes if bytes.len() == 12 && bytes[..4] == ALIGNED_TIMESTAMPS => {
                Some(Timestamps::from_bytes(array(bytes, 4)))
            }
            _ => self.iter().map_while(Result::ok).find_map(|option| match option {
                TcpOption::Timestamps(timestamps) => Some(timestamps),
                _ => None,
            }),
        }
    }

    /// The selective acknowledgment blocks, none if the option is missing.
    pub fn sack_blocks(&self) -> SackBlocks {
        let blocks = self.iter().map_while(Result::ok).find_map(|option| match option {
            TcpOption::Sack(blocks) => Some(blocks),
            _ => None,
        });
        blocks.unwrap_or_default()
    }

    /// Adds an option behind the others, or refuses it for lack of room.
    ///
    /// Nothing is aligned by itself: push [`TcpOption::Nop`] where the layout wants it.
    pub fn push(&mut self, option: &TcpOption<'_>) -> Result<(), TooShort> {
        match option {
            TcpOption::EndOfList => self.0.append(&[&[kind::END_OF_LIST]]),
            TcpOption::Nop => self.0.append(&[&[kind::NOP]]),
            TcpOption::MaximumSegmentSize(size) => {
                self.push_data(kind::MAXIMUM_SEGMENT_SIZE, &size.to_be_bytes())
            }
            TcpOption::WindowScale(shift) => self.push_data(kind::WINDOW_SCALE, &[*shift]),
            TcpOption::SackPermitted => self.push_data(kind::SACK_PERMITTED, &[]),
            TcpOption::Sack(blocks) => {
                let mut data = [0; SackBlocks::MAX * SackBlock::LEN];
                self.push_data(kind::SACK, blocks.write(&mut data))
            }
            TcpOption::Timestamps(timestamps) => self.push_data(kind::TIMESTAMPS, &timestamps.to_bytes()),
            TcpOption::UserTimeout { minutes, value } => {
                let field = u16::from(*minutes) << 15 | value & 0x7fff;
                self.push_data(kind::USER_TIMEOUT, &field.to_be_bytes())
            }
            TcpOption::FastOpen(cookie) => self.push_data(kind::FAST_OPEN, cookie),
            TcpOption::Md5(digest) => self.push_data(kind::MD5, *digest),
            TcpOption::Unknown { kind, data } => self.push_data(*kind, data),
        }
    }

    /// Adds an option with a length octet.
    fn push_data(&mut self, kind: u8, data: &[u8]) -> Result<(), TooShort> {
        let len = u8::try_from(2 + data.len()).map_err(|_| TooShort)?;
        self.0.append(&[&[kind, len], data])
    }
}

impl<'a> IntoIterator for &'a Options {
    type Item = Result<TcpOption<'a>, Malformed>;
    type IntoIter = OptionsIter<'a>;

    fn into_iter(self) -> OptionsIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Iterator over [`Options`].
#[derive(Clone, Debug)]
pub struct OptionsIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for OptionsIter<'a> {
    type Item = Result<TcpOption<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed =
            next_option(self.rest).and_then(|(kind, data, rest)| Ok((TcpOption::parse(kind, data)?, rest)));
        self.rest = match parsed {
            Err(_) | Ok((TcpOption::EndOfList, _)) => &[],
            Ok((_, rest)) => rest,
        };
        Some(parsed.map(|(option, _)| option))
    }
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpOption<'a> {
    /// Nothing follows.
    EndOfList,
    /// One octet of padding.
    Nop,
    /// The largest segment that the sender takes, in octets of data; on a SYN only.
    MaximumSegmentSize(u16),
    /// Bits by which the sender's windows are shifted; on a SYN only. More than 14 count as 14.
    WindowScale(u8),
    /// The sender takes selective acknowledgments; on a SYN only.
    SackPermitted,
    /// Selective acknowledgments.
    Sack(SackBlocks),
    /// Timestamps.
    Timestamps(Timestamps),
    /// How long unacknowledged data may wait (RFC 5482).
    UserTimeout {
        /// Whether the value counts minutes rather than seconds.
        minutes: bool,
        /// 0 to 32767.
        value: u16,
    },
    /// Fast open: an empty cookie asks for one, others are 4 to 16 octets (RFC 7413 section 4.1.1).
    FastOpen(&'a [u8]),
    /// Signature of the segment (RFC 2385).
    Md5(&'a [u8; 16]),
    /// Any other, without its kind and length octets.
    Unknown {
        /// The kind.
        kind: u8,
        /// At most 38 octets.
        data: &'a [u8],
    },
}

/// Kinds (IANA "TCP Option Kind Numbers").
mod kind {
    pub(super) const END_OF_LIST: u8 = 0;
    pub(super) const NOP: u8 = 1;
    pub(super) const MAXIMUM_SEGMENT_SIZE: u8 = 2;
    pub(super) const WINDOW_SCALE: u8 = 3;
    pub(super) const SACK_PERMITTED: u8 = 4;
    pub(super) const SACK: u8 = 5;
    pub(super) const TIMESTAMPS: u8 = 8;
    pub(super) const MD5: u8 = 19;
    pub(super) const USER_TIMEOUT: u8 = 28;
    pub(super) const FAST_OPEN: u8 = 34;
}

impl<'a> TcpOption<'a> {
    /// The option of a kind with its data; a known kind with a foreign length is malformed.
    fn parse(kind: u8, data: &'a [u8]) -> Result<Self, Malformed> {
        Ok(match (kind, data.len()) {
            (kind::END_OF_LIST, _) => Self::EndOfList,
            (kind::NOP, _) => Self::Nop,
            (kind::MAXIMUM_SEGMENT_SIZE, 2) => Self::MaximumSegmentSize(u16_at(data, 0)),
            (kind::WINDOW_SCALE, 1) => Self::WindowScale(data[0]),
            (kind::SACK_PERMITTED, 0) => Self::SackPermitted,
            (kind::SACK, 8 | 16 | 24 | 32) => Self::Sack(SackBlocks::read(data)),
            (kind::TIMESTAMPS, 8) => Self::Timestamps(Timestamps::from_bytes(array(data, 0))),
            (kind::USER_TIMEOUT, 2) => {
                let field = u16_at(data, 0);
                Self::UserTimeout { minutes: field & 0x8000 != 0, value: field & 0x7fff }
            }
            (kind::FAST_OPEN, 0 | 4 | 6 | 8 | 10 | 12 | 14 | 16) => Self::FastOpen(data),
            (kind::MD5, _) => Self::Md5(data.try_into().map_err(|_| Malformed::Option)?),
            (kind::MAXIMUM_SEGMENT_SIZE..=kind::SACK, _)
            | (kind::TIMESTAMPS | kind::USER_TIMEOUT | kind::FAST_OPEN, _) => return Err(Malformed::Option),
            _ => Self::Unknown { kind, data },
        })
    }
}

/// The timestamps option (RFC 7323 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamps {
    /// The sender's clock.
    pub value: u32,
    /// The receiver's clock as the sender last saw it; counts with ACK only.
    pub echo: u32,
}

impl Timestamps {
    #[inline]
    fn to_bytes(self) -> [u8; 8] {
        let mut out = [0; 8];
        put(&mut out, 0, self.value.to_be_bytes());
        put(&mut out, 4, self.echo.to_be_bytes());
        out
    }

    #[inline]
    fn from_bytes(bytes: [u8; 8]) -> Self {
        Self { value: u32_at(&bytes, 0), echo: u32_at(&bytes, 4) }
    }
}

/// A range of octets that arrived out of order: from `left` up to but without `right`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SackBlock {
    /// The first octet of the range.
    pub left: Seq,
    /// The octet after the last.
    pub right: Seq,
}

impl SackBlock {
    const LEN: usize = 8;
}

/// One to four ranges (RFC 2018 section 3), the newest first; none is [`SackBlocks::default`].
#[derive(Clone, Copy, Default)]
pub struct SackBlocks {
    blocks: [SackBlock; Self::MAX],
    len: u8,
}

impl SackBlocks {
    /// The most ranges that the options have room for; three beside timestamps.
    pub const MAX: usize = 4;

    /// The ranges.
    pub fn as_slice(&self) -> &[SackBlock] {
        &self.blocks[..usize::from(self.len)]
    }

    /// The ranges, to be put into another order.
    pub fn as_mut_slice(&mut self) -> &mut [SackBlock] {
        &mut self.blocks[..usize::from(self.len)]
    }

    /// Adds a range, unless four are there.
    pub fn push(&mut self, block: SackBlock) -> Result<(), TooShort> {
        *self.blocks.get_mut(usize::from(self.len)).ok_or(TooShort)? = block;
        self.len += 1;
        Ok(())
    }

    /// Reads whole ranges, at most four.
    fn read(data: &[u8]) -> Self {
        data.chunks_exact(SackBlock::LEN)
            .map(|block| SackBlock { left: Seq(u32_at(block, 0)), right: Seq(u32_at(block, 4)) })
            .collect()
    }

    /// Writes the ranges and gives the octets they take.
    fn write<'o>(&self, out: &'o mut [u8; Self::MAX * SackBlock::LEN]) -> &'o [u8] {
        for (block, room) in self.as_slice().iter().zip(out.chunks_exact_mut(SackBlock::LEN)) {
            put(room, 0, block.left.0.to_be_bytes());
            put(room, 4, block.right.0.to_be_bytes());
        }
        &out[..self.as_slice().len() * SackBlock::LEN]
    }
}

impl FromIterator<SackBlock> for SackBlocks {
    /// Takes the first four.
    fn from_iter<I: IntoIterator<Item = SackBlock>>(blocks: I) -> Self {
        let mut all = Self::default();
        for (slot, block) in all.blocks.iter_mut().zip(blocks) {
            *slot = block;
            all.len += 1;
        }
        all
    }
}

impl PartialEq for SackBlocks {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for SackBlocks {}

impl fmt::Debug for SackBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}
