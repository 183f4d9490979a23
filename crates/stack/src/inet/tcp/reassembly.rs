//! Data that came before its turn: kept by slices until the gap before it is filled, and reported as SACK blocks.
//!
//! Ranges never overlap; where a segment repeats what is there, what is there stays (the bytes must be the same, RFC 9293
//! section 3.10.7.4). The block that changed last is reported first (RFC 2018 section 4), and a duplicate before all
//! others (RFC 2883).

use alloc::vec::Vec;

use rumpnet_wire::tcp::{SackBlock, Seq};

use crate::buffer::Payload;

/// Ranges kept at most; a peer that makes more gaps loses its newest segments.
const MAX_RANGES: usize = 256;

/// One range of bytes.
#[derive(Debug)]
struct Range {
    start: Seq,
    payload: Payload,
    len: u32,
    /// Bytes of memory that it holds.
    pins: usize,
    /// When it last changed; the highest is the most recent.
    changed: u64,
}

/// The ranges beyond `rcv_nxt`, in the order of their numbers.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    ranges: Vec<Range>,
    /// Of all ranges.
    len: usize,
    pinned: usize,
    changes: u64,
    /// A range that came twice, to be reported once.
    duplicate: Option<SackBlock>,
}

impl Range {
    fn end(&self) -> Seq {
        self.start + self.len
    }
}

impl Reassembly {
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Bytes of the stream that the ranges hold.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory that the ranges hold.
    pub(crate) const fn pinned(&self) -> usize {
        self.pinned
    }

    /// Keeps a segment that begins past `rcv_nxt` and pins so many bytes; false if there are too many gaps to keep it.
    pub(crate) fn insert(&mut self, start: Seq, payload: &Payload, mut pins: usize) -> bool {
        let end = start + payload.len() as u32;
        self.note_duplicate(start, end);
        self.changes += 1;
        let fresh = self.uncovered(start, end);
        if self.ranges.len() + fresh.len() > MAX_RANGES {
            return false;
        }
        for (from, to) in fresh {
            let part = payload.slice((from - start) as usize..(to - start) as usize);
            self.len += part.len();
            self.pinned += pins;
            let (len, changed) = (to - from, self.changes);
            // All parts share what the first is charged.
            let pins = core::mem::take(&mut pins);
            self.ranges.push(Range { start: from, len, payload: part, pins, changed });
        }
        self.ranges.sort_by(|one, other| one.start.distance_from(other.start).cmp(&0));
        self.join();
        true
    }

    /// What of a segment is not there yet; the ranges that it meets count as changed.
    fn uncovered(&mut self, start: Seq, end: Seq) -> Vec<(Seq, Seq)> {
        let mut fresh = Vec::new();
        let mut at = start;
        for range in &mut self.ranges {
            if range.start.is_at_or_after(end) || range.end().is_at_or_before(at) {
                continue;
            }
            if range.start.is_after(at) {
                fresh.push((at, range.start));
            }
            at = range.end();
            range.changed = self.changes;
        }
        if at.is_before(end) {
            fresh.push((at, end));
        }
        fresh
    }

    /// Makes one range of those that touch.
    fn join(&mut self) {
        let mut joined: Vec<Range> = Vec::with_capacity(self.ranges.len());
        for range in self.ranges.drain(..) {
            match joined.last_mut() {
                Some(last) if last.end() == range.start => {
                    last.payload.append(range.payload);
                    last.len += range.len;
                    last.pins += range.pins;
                    last.changed = last.changed.max(range.changed);
                }
                _ => joined.push(range),
            }
        }
        self.ranges = joined;
    }

    /// Remembers what of a segment came before, for a D-SACK block.
    fn note_duplicate(&mut self, start: Seq, end: Seq) {
        let covered =
            self.ranges.iter().find(|range| range.start.is_before(end) && range.end().is_after(start));
        if let Some(range) = covered {
            self.duplicate =
                Some(SackBlock { left: range.start.later(start), right: range.end().earlier(end) });
        }
    }

    /// A segment before `rcv_nxt` came again.
    pub(crate) const fn set_duplicate(&mut self, start: Seq, end: Seq) {
        self.duplicate = Some(SackBlock { left: start, right: end });
    }

    /// The payload that the byte of a number is in, and its place there.
    pub(crate) fn payload_at(&self, at: Seq) -> Option<(&Payload, usize)> {
        let range = self.ranges.iter().find(|range| at.is_within(range.start, range.len))?;
        Some((&range.payload, (at - range.start) as usize))
    }

    /// Gives up the ranges furthest from their turn, until so many bytes of memory are free; returns the bytes of the stream that went.
    ///
    /// They were reported, and are not any more: the sender must keep what is not acknowledged (RFC 2018 section 8).
    pub(crate) fn prune(&mut self, memory: usize) -> u64 {
        let (goal, before) = (self.pinned.saturating_sub(memory), self.len);
        while self.pinned > goal
            && let Some(last) = self.ranges.pop()
        {
            self.forget(&last);
        }
        (before - self.len) as u64
    }

    /// Gives up what lies at or beyond `end`.
    pub(crate) fn cut(&mut self, end: Seq) {
        while let Some(last) = self.ranges.pop_if(|range| range.end().is_after(end)) {
            self.forget(&last);
            if last.start.is_before(end) {
                let len = end - last.start;
                let kept = Range { payload: last.payload.slice(0..len as usize), len, ..last };
                self.len += len as usize;
                self.pinned += kept.pins;
                self.ranges.push(kept);
            }
        }
    }

    const fn forget(&mut self, range: &Range) {
        self.len -= range.len as usize;
        self.pinned -= range.pins;
    }

    /// What follows `rcv_nxt` without a gap now, taken out, and what it pins; none while the gap is there.
    pub(crate) fn next_in_order(&mut self, rcv_nxt: Seq) -> Option<(Payload, usize)> {
        let front = self.ranges.first()?;
        if front.start.is_after(rcv_nxt) {
            return None;
        }
        let front = self.ranges.remove(0);
        self.forget(&front);
        let skip = (rcv_nxt - front.start).min(front.len);
        if skip == front.len {
            return self.next_in_order(rcv_nxt);
        }
        Some((front.payload.slice(skip as usize..front.len as usize), front.pins))
    }

    /// The blocks to report, the most telling first, at most `limit`; a duplicate is reported once.
    pub(crate) fn blocks(&mut self, limit: usize) -> impl Iterator<Item = SackBlock> {
        let duplicate = self.duplicate.take();
        let mut order: Vec<&Range> = self.ranges.iter().collect();
        order.sort_by_key(|range| core::cmp::Reverse(range.changed));
        let blocks: Vec<_> =
            order.into_iter().map(|range| SackBlock { left: range.start, right: range.end() }).collect();
        duplicate.into_iter().chain(blocks).take(limit)
    }

    /// How many blocks there are to report.
    pub(crate) fn count(&self) -> usize {
        self.ranges.len() + usize::from(self.duplicate.is_some())
    }

    /// Whether there is anything to report.
    pub(crate) fn has_news(&self) -> bool {
        self.duplicate.is_some() || !self.ranges.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn part(stream: &[u8], start: usize, end: usize) -> Payload {
        Payload::from(Bytes::copy_from_slice(&stream[start..end]))
    }

    fn blocks(reassembly: &mut Reassembly) -> Vec<(u32, u32)> {
        reassembly.blocks(4).map(|block| (block.left.0, block.right.0)).collect()
    }

    #[test]
    fn the_block_that_changed_last_is_reported_first() {
        let stream = vec![7; 1000];
        let mut reassembly = Reassembly::default();
        for (start, end) in [(100, 200), (300, 400), (500, 600), (400, 450)] {
            assert!(reassembly.insert(Seq(start), &part(&stream, start as usize, end as usize), 0));
        }
        assert_eq!(blocks(&mut reassembly), [(300, 450), (500, 600), (100, 200)]);
    }

    #[test]
    fn a_duplicate_is_reported_once_and_first() {
        let stream = vec![7; 1000];
        let mut reassembly = Reassembly::default();
        reassembly.insert(Seq(100), &part(&stream, 100, 200), 0);
        reassembly.insert(Seq(150), &part(&stream, 150, 250), 0);
        assert_eq!(blocks(&mut reassembly), [(150, 200), (100, 250)]);
        assert_eq!(blocks(&mut reassembly), [(100, 250)]);
    }

    #[test]
    fn too_many_gaps_are_refused() {
        let mut reassembly = Reassembly::default();
        let one = || Payload::from(Bytes::from_static(b"x"));
        for number in 0..MAX_RANGES as u32 {
            assert!(reassembly.insert(Seq(2 * number), &one(), 0));
        }
        assert!(!reassembly.insert(Seq(100_000), &one(), 0));
    }

    proptest! {
        #[test]
        fn any_order_of_any_pieces_gives_the_stream_across_the_wrap(
            base: u32,
            mut pieces in prop::collection::vec((0usize..300, 1usize..120), 1..40),
        ) {
            let stream: Vec<u8> = (0..420u32).map(|place| (place * 7) as u8).collect();
            let mut reassembly = Reassembly::default();
            let mut covered = vec![false; stream.len()];
            for (start, len) in pieces.drain(..) {
                let end = start + len;
                reassembly.insert(Seq(base.wrapping_add(start as u32)), &part(&stream, start, end), 1);
                covered[start..end].fill(true);
            }
            let mut at = 0;
            while at < stream.len() {
                match reassembly.next_in_order(Seq(base.wrapping_add(at as u32))) {
                    Some((payload, _)) => {
                        let bytes = payload.to_bytes();
                        prop_assert_eq!(&bytes[..], &stream[at..at + bytes.len()]);
                        prop_assert!(covered[at..at + bytes.len()].iter().all(|there| *there));
                        at += bytes.len();
                    }
                    None => {
                        prop_assert!(!covered[at]);
                        at += 1;
                    }
                }
            }
            prop_assert!(reassembly.is_empty());
            prop_assert_eq!((reassembly.len(), reassembly.pinned()), (0, 0));
        }
    }
}
