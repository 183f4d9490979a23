//! What is under way: each stretch that was sent, when, and what became of it. The ground for SACK (RFC 2018, RFC 6675) and
//! RACK (RFC 8985).
//!
//! A record stands for what left as one super-frame; it is split where an acknowledgment ends inside of it, and for a SACK block
//! between its segments only, so that a peer which reports single bytes makes no more records than there were segments.
//! Numbers include SYN and FIN.

use alloc::collections::VecDeque;

use rumpnet_wire::tcp::{SackBlock, Seq};

use crate::time::Instant;

/// Records kept at most: what an acknowledgment may cost grows with them.
pub(super) const MAX_RECORDS: usize = 8192;

/// One stretch of the stream that was sent and is not acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) start: Seq,
    pub(crate) end: Seq,
    /// When it was sent last.
    pub(crate) at: Instant,
    /// Payload bytes of its full segments.
    pub(crate) size: u16,
    /// How often it was sent.
    pub(crate) transmissions: u8,
    pub(crate) sacked: bool,
    pub(crate) lost: bool,
}

/// All of them, in the order of their numbers, without gaps.
#[derive(Debug, Default)]
pub(crate) struct Scoreboard {
    records: VecDeque<Sent>,
    /// Bytes believed to be on the path: neither acknowledged, nor SACKed, nor lost.
    in_flight: u32,
    sacked: u32,
    lost: u32,
}

impl Sent {
    pub(crate) fn len(&self) -> u32 {
        self.end - self.start
    }

    pub(crate) const fn was_retransmitted(&self) -> bool {
        self.transmissions > 1
    }
}

impl Scoreboard {
    pub(crate) const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    pub(crate) const fn sacked(&self) -> u32 {
        self.sacked
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How many records there are.
    pub(crate) fn count(&self) -> u32 {
        self.records.len() as u32
    }

    /// Whether no more may be sent until something is acknowledged.
    pub(crate) fn is_full(&self) -> bool {
        self.records.len() >= MAX_RECORDS
    }

    #[cfg(test)]
    fn iter(&self) -> impl Iterator<Item = &Sent> {
        self.records.iter()
    }

    pub(crate) fn first(&self) -> Option<&Sent> {
        self.records.front()
    }

    pub(crate) fn last(&self) -> Option<&Sent> {
        self.records.back()
    }

    /// New data was sent, in segments of `size`.
    pub(crate) fn on_sent(&mut self, start: Seq, end: Seq, size: u16, now: Instant) {
        self.in_flight += end - start;
        let sent = Sent { start, end, at: now, size, transmissions: 1, sacked: false, lost: false };
        self.records.push_back(sent);
    }

    /// The stretch was sent again, in segments of `size`: whatever of it was lost is on the path anew, as one record.
    pub(crate) fn on_retransmitted(&mut self, start: Seq, end: Seq, size: u16, now: Instant) {
        self.split_at(start);
        self.split_at(end);
        let within = self.place_of(start)..self.place_of(end);
        let mut kept = within.start;
        for index in within.clone() {
            let mut sent = self.records[index];
            if !sent.sacked {
                if sent.lost {
                    (self.in_flight, self.lost) = (self.in_flight + sent.len(), self.lost - sent.len());
                }
                let transmissions = sent.transmissions.saturating_add(1);
                sent = Sent { at: now, size, transmissions, lost: false, ..sent };
            }
            let joins = kept > within.start && !sent.sacked && !self.records[kept - 1].sacked;
            if joins {
                let before = &mut self.records[kept - 1];
                before.end = sent.end;
                before.transmissions = before.transmissions.max(sent.transmissions);
            } else {
                self.records[kept] = sent;
                kept += 1;
            }
        }
        self.records.drain(kept..within.end);
    }

    /// Everything before `acknowledgment` arrived; `each` is told of what was not known to have.
    pub(crate) fn acknowledge(&mut self, acknowledgment: Seq, mut each: impl FnMut(Sent)) {
        self.split_at(acknowledgment);
        while let Some(sent) = self.records.front().copied() {
            if sent.end.is_after(acknowledgment) {
                break;
            }
            self.records.pop_front();
            if sent.sacked {
                self.sacked -= sent.len();
                continue;
            }
            if sent.lost {
                self.lost -= sent.len();
            } else {
                self.in_flight -= sent.len();
            }
            each(sent);
        }
    }

    /// A block that the peer has; `each` is told of what was not known to have arrived.
    ///
    /// Where the block ends inside of a segment, all of that segment counts as missing.
    pub(crate) fn sack(&mut self, block: SackBlock, mut each: impl FnMut(Sent)) {
        let Some(left) = self.cut(block.left, true) else { return };
        let Some(right) = self.cut(block.right, false) else { return };
        let Self { records, in_flight, sacked, lost } = self;
        for sent in records.range_mut(left..right.max(left)).filter(|sent| !sent.sacked) {
            each(*sent);
            let from = if sent.lost { &mut *lost } else { &mut *in_flight };
            *from -= sent.len();
            (sent.sacked, sent.lost) = (true, false);
            *sacked += sent.len();
        }
    }

    /// Splits the record around `place` at the next boundary of its segments, or at the last one; the index of the record that begins
    /// there. None if there are too many records to split one.
    fn cut(&mut self, place: Seq, next: bool) -> Option<usize> {
        let index = self.place_of(place);
        let Some(sent) = self.records.get(index).filter(|sent| sent.start.is_before(place)) else {
            return Some(index);
        };
        let size = u32::from(sent.size).max(1);
        let segments = (place - sent.start) / size;
        let inside = !(place - sent.start).is_multiple_of(size);
        let boundary = sent.start + (segments + u32::from(inside && next)) * size;
        if boundary.is_at_or_after(sent.end) {
            return Some(index + 1);
        }
        if boundary == sent.start {
            return Some(index);
        }
        if self.is_full() {
            return None;
        }
        self.split_at(boundary);
        Some(index + 1)
    }

    /// Marks as lost what `is_lost` says of those not known to have arrived; how many bytes.
    pub(crate) fn mark_lost(&mut self, mut is_lost: impl FnMut(&Sent) -> bool) -> u32 {
        let mut bytes = 0;
        for sent in self.records.iter_mut().filter(|sent| !sent.sacked && !sent.lost) {
            if is_lost(sent) {
                sent.lost = true;
                bytes += sent.len();
            }
        }
        self.in_flight -= bytes;
        self.lost += bytes;
        bytes
    }

    /// The first `len` bytes that are not known to have arrived are lost: all that a peer without SACK lets us know.
    pub(crate) fn mark_first_lost(&mut self, len: u32) -> u32 {
        let Some(first) = self.records.iter().find(|sent| !sent.sacked).map(|sent| sent.start) else {
            return 0;
        };
        let end = first + len;
        self.split_at(end);
        self.mark_lost(|sent| sent.end.is_at_or_before(end))
    }

    /// Nothing is lost: what was believed to be is on the path.
    pub(crate) fn forget_losses(&mut self) {
        for sent in self.records.iter_mut().filter(|sent| sent.lost) {
            sent.lost = false;
        }
        self.in_flight += core::mem::take(&mut self.lost);
    }

    /// The peer may have dropped what it had SACKed (RFC 2018 section 8).
    pub(crate) fn forget_sacks(&mut self) {
        for sent in self.records.iter_mut().filter(|sent| sent.sacked) {
            sent.sacked = false;
            self.sacked -= sent.len();
            self.in_flight += sent.len();
        }
    }

    /// The first lost stretch, at most `limit` bytes of it: from where to where.
    pub(crate) fn next_lost(&self, limit: u32) -> Option<(Seq, Seq)> {
        if self.lost == 0 {
            return None;
        }
        let mut rest = self.records.iter().skip_while(|sent| !sent.lost);
        let first = rest.next()?;
        let mut end = first.end;
        for sent in rest.take_while(|sent| sent.lost && sent.start - first.start < limit) {
            end = sent.end;
        }
        Some((first.start, first.start + (end - first.start).min(limit)))
    }

    pub(crate) const fn has_lost(&self) -> bool {
        self.lost > 0
    }

    /// The index of the record that holds `place`; past the last one for what follows all of them.
    fn place_of(&self, place: Seq) -> usize {
        self.records.partition_point(|sent| sent.end.is_at_or_before(place))
    }

    /// Makes `place` a boundary between records, if it lies inside of one.
    fn split_at(&mut self, place: Seq) {
        let index = self.place_of(place);
        let Some(front) = self.records.get(index).copied().filter(|sent| sent.start.is_before(place)) else {
            return;
        };
        self.records[index].start = place;
        self.records.insert(index, Sent { end: place, ..front });
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    fn block(left: u32, right: u32) -> SackBlock {
        SackBlock { left: Seq(left), right: Seq(right) }
    }

    #[test]
    fn what_arrives_in_pieces_is_told_in_pieces_and_only_once() {
        let mut board = Scoreboard::default();
        board.on_sent(Seq(0), Seq(1000), 500, Instant::ZERO);
        board.on_sent(Seq(1000), Seq(2000), 500, Instant::ZERO);
        let mut told = Vec::new();
        board.sack(block(500, 1500), |sent| told.push((sent.start.0, sent.end.0)));
        assert_eq!((told, board.in_flight(), board.sacked()), (vec![(500, 1000), (1000, 1500)], 1000, 1000));
        let mut told = Vec::new();
        board.acknowledge(Seq(1700), |sent| told.push((sent.start.0, sent.end.0)));
        assert_eq!((told, board.in_flight(), board.sacked()), (vec![(0, 500), (1500, 1700)], 300, 0));
    }

    #[test]
    fn lost_stretches_are_retransmitted_in_order_and_joined() {
        let mut board = Scoreboard::default();
        for start in [0, 1000, 2000, 3000] {
            board.on_sent(Seq(start), Seq(start + 1000), 1000, Instant::ZERO);
        }
        board.sack(block(2000, 3000), |_| ());
        assert_eq!(board.mark_lost(|sent| sent.end.is_before(Seq(3000))), 2000);
        assert_eq!(board.next_lost(u32::MAX), Some((Seq(0), Seq(2000))));
        assert_eq!(board.next_lost(500), Some((Seq(0), Seq(500))));
        board.on_retransmitted(Seq(0), Seq(500), 1000, Instant::from_secs(1));
        assert_eq!(board.next_lost(u32::MAX), Some((Seq(500), Seq(2000))));
        assert_eq!(board.in_flight(), 1500);
    }

    #[test]
    fn a_block_that_ends_inside_of_segments_counts_only_those_that_are_whole() {
        let mut board = Scoreboard::default();
        board.on_sent(Seq(0), Seq(3500), 1000, Instant::ZERO);
        let mut told = Vec::new();
        board.sack(block(1, 999), |sent| told.push((sent.start.0, sent.end.0)));
        board.sack(block(500, 2700), |sent| told.push((sent.start.0, sent.end.0)));
        // The last segment is short.
        board.sack(block(3000, 3500), |sent| told.push((sent.start.0, sent.end.0)));
        assert_eq!((told, board.sacked()), (vec![(1000, 2000), (3000, 3500)], 1500));
    }

    #[test]
    fn a_peer_that_reports_every_other_byte_makes_no_more_records_than_segments() {
        let mut board = Scoreboard::default();
        board.on_sent(Seq(0), Seq(60_000), 1000, Instant::ZERO);
        for left in (0..60_000).step_by(2) {
            board.sack(block(left, left + 1), |_| unreachable!("no segment is whole"));
        }
        assert!(board.iter().count() <= 60);
    }

    #[test]
    fn records_are_limited_and_a_block_that_would_make_more_waits() {
        let mut board = Scoreboard::default();
        for number in 0..MAX_RECORDS as u32 {
            assert!(!board.is_full());
            board.on_sent(Seq(2 * number), Seq(2 * number + 2), 1, Instant::ZERO);
        }
        assert!(board.is_full());
        board.sack(block(0, 1), |_| unreachable!("it would split a record"));
        board.sack(block(0, 2), |_| ());
        assert_eq!((board.iter().count(), board.sacked()), (MAX_RECORDS, 2));
    }

    #[test]
    fn what_is_sent_again_together_is_one_record() {
        let mut board = Scoreboard::default();
        for start in [0, 1000, 2000] {
            board.on_sent(Seq(start), Seq(start + 1000), 1000, Instant::ZERO);
        }
        board.mark_lost(|_| true);
        board.on_retransmitted(Seq(500), Seq(3000), 1000, Instant::from_secs(1));
        let records: Vec<_> =
            board.iter().map(|sent| (sent.start.0, sent.end.0, sent.transmissions)).collect();
        assert_eq!((records, board.in_flight()), (vec![(0, 500, 1), (500, 3000, 2)], 2500));
    }

    #[test]
    fn without_sack_the_first_segment_is_lost() {
        let mut board = Scoreboard::default();
        board.on_sent(Seq(0), Seq(9000), 1000, Instant::ZERO);
        assert_eq!(board.mark_first_lost(1000), 1000);
        assert_eq!((board.next_lost(u32::MAX), board.in_flight()), (Some((Seq(0), Seq(1000))), 8000));
    }

    proptest! {
        #[test]
        fn the_account_of_bytes_is_always_that_of_the_records(
            base: u32,
            size in 1u16..2000,
            steps in prop::collection::vec((0u8..5, 0u32..5000, 1u32..3000), 0..60),
        ) {
            let mut board = Scoreboard::default();
            let (mut una, mut nxt) = (Seq(base), Seq(base));
            for (kind, place, len) in steps {
                let at = una + place % (nxt - una).max(1);
                let end = (at + len).earlier(nxt);
                match kind {
                    0 => {
                        board.on_sent(nxt, nxt + len, size, Instant::ZERO);
                        nxt += len;
                    }
                    1 if at.is_before(nxt) => {
                        board.acknowledge(at, |_| ());
                        una = at;
                    }
                    2 if at.is_before(end) => board.sack(SackBlock { left: at, right: end }, |_| ()),
                    3 => {
                        board.mark_lost(|sent| sent.start.is_before(at));
                    }
                    _ => {
                        if let Some((start, end)) = board.next_lost(len) {
                            board.on_retransmitted(start, end, size, Instant::ZERO);
                        }
                    }
                }
                let sum = |wanted: fn(&Sent) -> bool| board.iter().filter(|sent| wanted(sent)).map(Sent::len).sum::<u32>();
                prop_assert_eq!(board.in_flight(), sum(|sent| !sent.sacked && !sent.lost));
                prop_assert_eq!(board.sacked(), sum(|sent| sent.sacked));
                prop_assert_eq!(board.lost, sum(|sent| sent.lost));
                prop_assert_eq!(board.iter().map(Sent::len).sum::<u32>(), nxt - una);
            }
        }
    }
}
