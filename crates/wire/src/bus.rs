//! The file of a bus: a header, and a ring of records, each a frame with its virtio-net header, time and sender.
//!
//! ```text
//! 0     signature, length of the ring                     written once
//! 64    state: news, tail, count, reserved, time, …       written with every frame, last
//! 1024  marks: where the first record of each segment of the ring begins
//! 4096  the ring; the byte at position P lies at 4096 + P modulo its length
//! ```
//!
//! Positions count the bytes that were ever written and never wrap; records begin at multiples of eight and may cross the end of
//! the ring. A record bears its own position, so that what is left of an older one is not taken for it. Numbers are little-endian.
//! Everything here is input: whoever may write to the file may write anything.

use crate::bytes::{array, fixed, put};
use crate::{Malformed, virtio};

/// What the file of a bus begins with; the last character is the version of the format.
pub const SIGNATURE: [u8; 8] = *b"RUMPBUS1";

/// Where the state lies.
pub const STATE_AT: u64 = 64;
/// Where the marks lie.
pub const MARKS_AT: u64 = 1024;
/// Where the ring lies.
pub const RING_AT: u64 = 4096;
/// Bytes of the ring. Small frames take twice their length, so that at least 1 MiB of frames is kept of whatever size.
pub const RING: u64 = 4 * 1024 * 1024;
/// Bytes of the file.
pub const FILE_LEN: u64 = RING_AT + RING;

/// Bytes of the ring that have one mark.
pub const SEGMENT: u64 = 64 * 1024;
/// Marks.
pub const MARKS: usize = (RING / SEGMENT) as usize;

/// The longest frame, in bytes: a super-frame of 64 KiB with its headers.
pub const MAX_FRAME: usize = 65_600;
/// The most bytes that a record takes.
pub const MAX_RECORD: usize = record_len(MAX_FRAME);

/// How far a writer says in advance that it will overwrite, so that it need not say so for each frame.
pub const ADVANCE: u64 = 4 * SEGMENT;

/// Bytes after which a writer says what it has written, and lets others have their turn.
pub const TURN: u64 = 4 * SEGMENT;

/// The farthest that writing may have gone beyond the tail.
const AHEAD: u64 = TURN + MAX_RECORD as u64 + ADVANCE;

/// Bytes that a record of a frame takes, padding included.
pub const fn record_len(frame: usize) -> usize {
    Record::LEN + frame.next_multiple_of(8)
}

/// The fixed beginning of the file.
pub fn preamble() -> [u8; 16] {
    let mut out = [0; 16];
    put(&mut out, 0, SIGNATURE);
    put(&mut out, 8, RING.to_le_bytes());
    out
}

/// Whether a file that begins so is a bus of this format.
pub fn is_preamble(bytes: &[u8]) -> bool {
    bytes.starts_with(&preamble())
}

/// How far the bus has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The position behind the last record.
    pub tail: u64,
    /// Records ever written.
    pub count: u64,
    /// Up to where writing may have gone: what lies more than a ring before that is, or is being, overwritten.
    pub reserved: u64,
    /// The time of the last record: nanoseconds since 1970.
    pub time_ns: u64,
    /// The number of the last segment that was marked, plus one.
    pub marked: u64,
}

impl State {
    /// Bytes of a state.
    pub const LEN: usize = 56;

    /// The state as it is stored. It begins with the low word of the count, which whoever waits for news watches, and ends with a check.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        put(&mut out, 0, self.news().to_le_bytes());
        put(&mut out, 8, self.tail.to_le_bytes());
        put(&mut out, 16, self.count.to_le_bytes());
        put(&mut out, 24, self.reserved.to_le_bytes());
        put(&mut out, 32, self.time_ns.to_le_bytes());
        put(&mut out, 40, self.marked.to_le_bytes());
        put(&mut out, 48, self.check().to_le_bytes());
        out
    }

    /// Reads a state. `Checksum` if it is half of one and half of another, `Value` if it cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (bytes, _) = fixed::<{ Self::LEN }>(bytes)?;
        let number = |at| u64::from_le_bytes(array(bytes, at));
        let state = Self {
            tail: number(8),
            count: number(16),
            reserved: number(24),
            time_ns: number(32),
            marked: number(40),
        };
        if number(48) != state.check() || number(0) != u64::from(state.news()) {
            return Err(Malformed::Checksum);
        }
        let possible = state.tail.is_multiple_of(8)
            && state.tail <= state.reserved
            && state.reserved - state.tail <= AHEAD
            && state.reserved <= FARTHEST;
        if possible { Ok(state) } else { Err(Malformed::Value) }
    }

    /// The state of a bus whose state was lost: ahead of the last mark that is known, and of where it would have come at a gigabyte a second
    /// since 1970, so that nothing that was written is taken for new.
    pub fn begun_anew(last: Option<Mark>, time_ns: u64) -> Self {
        let last = last.filter(|mark| mark.position < FARTHEST / 2).unwrap_or_default();
        let tail = (last.position + 2 * RING).max(time_ns >> 10).next_multiple_of(8);
        Self { tail, count: last.count.wrapping_add(1), reserved: tail, time_ns, marked: tail / SEGMENT }
    }

    /// The time of the next record: now, but not before the last one, unless that one is from a future that is none.
    pub const fn next_time(&self, now_ns: u64) -> u64 {
        if self.time_ns > now_ns && self.time_ns - now_ns < FUTURE_NS { self.time_ns } else { now_ns }
    }

    /// The word that changes with every record.
    pub const fn news(&self) -> u32 {
        self.count as u32
    }

    /// The lowest position that is certainly whole.
    pub const fn safe(&self) -> u64 {
        self.reserved.saturating_sub(RING)
    }

    /// A number that follows from all others, to tell a state that was read while it was written.
    fn check(&self) -> u64 {
        let numbers = [self.tail, self.count, self.reserved, self.time_ns, self.marked];
        numbers.iter().fold(MIX, |sum, number| (sum ^ number).wrapping_mul(MIX).rotate_left(29))
    }
}

/// No bus comes so far: at 100 Gbit/s it takes a decade.
const FARTHEST: u64 = 1 << 62;

/// How far the clocks of two processes of one host may seem to be apart, in nanoseconds.
const FUTURE_NS: u64 = 1_000_000_000;

/// An odd number with bits everywhere.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Where the first record of a segment begins, and which one it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The position.
    pub position: u64,
    /// Records before it.
    pub count: u64,
}

impl Mark {
    /// Bytes of a mark.
    pub const LEN: usize = 24;

    /// The place of the mark of the segment that a position is in.
    pub const fn place(position: u64) -> usize {
        (position / SEGMENT % MARKS as u64) as usize
    }

    /// The mark as it is stored.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        put(&mut out, 0, self.position.to_le_bytes());
        put(&mut out, 8, self.count.to_le_bytes());
        put(&mut out, 16, self.check().to_le_bytes());
        out
    }

    /// Reads the mark at a place; `Checksum` if nothing was ever marked there, or it is half of one and half of another.
    pub fn parse(bytes: &[u8], place: usize) -> Result<Self, Malformed> {
        let (bytes, _) = fixed::<{ Self::LEN }>(bytes)?;
        let number = |at| u64::from_le_bytes(array(bytes, at));
        let mark = Self { position: number(0), count: number(8) };
        let possible = mark.position.is_multiple_of(8) && Self::place(mark.position) == place;
        if number(16) == mark.check() && possible { Ok(mark) } else { Err(Malformed::Checksum) }
    }

    const fn check(&self) -> u64 {
        (self.position ^ MIX).wrapping_mul(MIX).rotate_left(29) ^ self.count
    }
}

/// What stands before a frame in the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub position: u64,
    /// Records before it.
    pub count: u64,
    /// When it was sent: nanoseconds since 1970.
    pub time_ns: u64,
    /// Who sent it, a number that is drawn anew by each member.
    pub sender: u64,
    /// Bytes of the frame.
    pub len: u32,
    /// What is left to do to it.
    pub offload: [u8; virtio::Header::LEN],
}

impl Record {
    /// Bytes of it, without the frame.
    pub const LEN: usize = 48;

    /// It as it is stored.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        put(&mut out, 0, (self.position ^ MIX).to_le_bytes());
        put(&mut out, 8, self.count.to_le_bytes());
        put(&mut out, 16, self.time_ns.to_le_bytes());
        put(&mut out, 24, self.sender.to_le_bytes());
        put(&mut out, 32, self.len.to_le_bytes());
        put(&mut out, 36, self.offload);
        out
    }

    /// Reads the record at a position, and the frame behind it; the rest begins with the next record.
    ///
    /// `Truncated` if the bytes end before it does, `Value` if it is not the record of that position, `Length` if no frame is so long.
    pub fn parse(bytes: &[u8], position: u64) -> Result<(Self, &[u8], &[u8]), Malformed> {
        let (header, rest) = fixed::<{ Self::LEN }>(bytes)?;
        let number = |at| u64::from_le_bytes(array(header, at));
        let record = Self {
            position: number(0) ^ MIX,
            count: number(8),
            time_ns: number(16),
            sender: number(24),
            len: u32::from_le_bytes(array(header, 32)),
            offload: array(header, 36),
        };
        if record.position != position {
            return Err(Malformed::Value);
        }
        let len =
            usize::try_from(record.len).ok().filter(|len| *len <= MAX_FRAME).ok_or(Malformed::Length)?;
        let (padded, rest) = rest.split_at_checked(len.next_multiple_of(8)).ok_or(Malformed::Truncated)?;
        Ok((record, &padded[..len], rest))
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_state_reads_back_and_a_changed_one_does_not(tail in 0..FARTHEST / 8, count: u64, ahead in 0..ADVANCE, at in 0..State::LEN, bit in 0..8u8) {
            let state = State { tail: tail * 8, count, reserved: tail * 8 + ahead, time_ns: count ^ 7, marked: tail };
            prop_assume!(state.reserved <= FARTHEST);
            let mut bytes = state.to_bytes();
            prop_assert_eq!(State::parse(&bytes), Ok(state));
            bytes[at] ^= 1 << bit;
            prop_assert!(State::parse(&bytes).is_err());
        }

        #[test]
        fn a_mark_reads_back_at_its_place_alone(position in 0..FARTHEST / 8, count: u64) {
            let mark = Mark { position: position * 8, count };
            let place = Mark::place(mark.position);
            prop_assert_eq!(Mark::parse(&mark.to_bytes(), place), Ok(mark));
            prop_assert!(Mark::parse(&mark.to_bytes(), (place + 1) % MARKS).is_err());
        }

        #[test]
        fn a_record_reads_back_at_its_position_alone(position: u64, sender: u64, frame in prop::collection::vec(any::<u8>(), 0..100)) {
            let record = Record { position, sender, len: frame.len() as u32, ..Record::default() };
            let mut bytes: Vec<u8> = record.to_bytes().to_vec();
            bytes.extend(&frame);
            bytes.resize(record_len(frame.len()), 0);
            prop_assert_eq!(Record::parse(&bytes[..bytes.len() - 1], position).is_ok(), false);
            bytes.push(9);
            prop_assert_eq!(Record::parse(&bytes, position), Ok((record, &frame[..], &[9][..])));
            prop_assert_eq!(Record::parse(&bytes, position ^ 8), Err(Malformed::Value));
        }
    }

    #[test]
    fn nothing_in_a_file_of_zeros_is_taken_for_anything() {
        assert!(State::parse(&[0; State::LEN]).is_err());
        assert!(Mark::parse(&[0; Mark::LEN], 0).is_err());
        assert!(Record::parse(&[0; 100], 0).is_err());
        assert!(!is_preamble(&[0; 64]));
    }

    #[test]
    fn a_record_that_says_it_is_longer_than_any_frame_is_refused() {
        let record = Record { len: MAX_FRAME as u32 + 1, ..Record::default() };
        assert_eq!(Record::parse(&record.to_bytes(), 0), Err(Malformed::Length));
    }

    #[test]
    fn the_parts_of_the_file_do_not_overlap() {
        assert!(16 <= STATE_AT && STATE_AT + State::LEN as u64 <= MARKS_AT);
        assert!(MARKS_AT + (MARKS * Mark::LEN) as u64 <= RING_AT);
        // Of the smallest frames that there are, 1 MiB is left when all is reserved that ever is.
        let kept = RING - AHEAD - SEGMENT - MAX_RECORD as u64;
        assert!(kept * 42 / record_len(42) as u64 >= 1024 * 1024);
    }
}
