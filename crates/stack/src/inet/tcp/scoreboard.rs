//! What is under way: each stretch that was sent, when, and what became of it. The ground for SACK (RFC 2018, RFC 6675) and
//! RACK (RFC 8985).
//!
//! A record stands for what left as one super-frame; it is split where an acknowledgment or a SACK block ends inside of
//! it. Numbers include SYN and FIN.

use alloc::collections::VecDeque;

use rumpnet_wire::tcp::{SackBlock, Seq};

use crate::time::Instant;

/// One stretch of the stream that was sent and is not acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) start: Seq,
    pub(crate) end: Seq,
    /// When it was sent last.
    pub(crate) at: Instant,
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

    /// New data was sent.
    pub(crate) fn on_sent(&mut self, start: Seq, end: Seq, now: Instant) {
        self.in_flight += end - start;
        self.records.push_back(Sent { start, end, at: now, transmissions: 1, sacked: false, lost: false });
    }

    /// The stretch was sent again: whatever of it was lost is on the path anew.
    pub(crate) fn on_retransmitted(&mut self, start: Seq, end: Seq, now: Instant) {
        self.split_at(start);
        self.split_at(end);
        for sent in &mut self.records {
            if sent.sacked || sent.start.is_before(start) || sent.end.is_after(end) {
                continue;
            }
            if sent.lost {
                sent.lost = false;
                self.in_flight += sent.len();
            }
            sent.at = now;
            sent.transmissions = sent.transmissions.saturating_add(1);
        }
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
            if !sent.lost {
                self.in_flight -= sent.len();
            }
            each(sent);
        }
    }

    /// A block that the peer has; `each` is told of what was not known to have arrived.
    pub(crate) fn sack(&mut self, block: SackBlock, mut each: impl FnMut(Sent)) {
        self.split_at(block.left);
        self.split_at(block.right);
        let Self { records, in_flight, sacked } = self;
        for sent in records.iter_mut() {
            if sent.sacked || sent.start.is_before(block.left) || sent.end.is_after(block.right) {
                continue;
            }
            each(*sent);
            if !sent.lost {
                *in_flight -= sent.len();
            }
            sent.sacked = true;
            sent.lost = false;
            *sacked += sent.len();
        }
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
            self.in_flight += sent.end - sent.start;
        }
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
        let first = self.records.iter().find(|sent| sent.lost)?;
        let mut end = first.end;
        let following = self.records.iter().skip_while(|sent| sent.start != first.end);
        for sent in following.take_while(|sent| sent.lost) {
            end = sent.end;
        }
        Some((first.start, first.start + (end - first.start).min(limit)))
    }

    pub(crate) fn has_lost(&self) -> bool {
        self.records.iter().any(|sent| sent.lost)
    }

    /// Makes `place` a boundary between records, if it lies inside of one.
    fn split_at(&mut self, place: Seq) {
        let inside = |sent: &Sent| sent.start.is_before(place) && sent.end.is_after(place);
        let Some(index) = self.records.iter().position(inside) else { return };
        let front = self.records[index];
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
        board.on_sent(Seq(0), Seq(1000), Instant::ZERO);
        board.on_sent(Seq(1000), Seq(2000), Instant::ZERO);
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
            board.on_sent(Seq(start), Seq(start + 1000), Instant::ZERO);
        }
        board.sack(block(2000, 3000), |_| ());
        assert_eq!(board.mark_lost(|sent| sent.end.is_before(Seq(3000))), 2000);
        assert_eq!(board.next_lost(u32::MAX), Some((Seq(0), Seq(2000))));
        assert_eq!(board.next_lost(500), Some((Seq(0), Seq(500))));
        board.on_retransmitted(Seq(0), Seq(500), Instant::from_secs(1));
        assert_eq!(board.next_lost(u32::MAX), Some((Seq(500), Seq(2000))));
        assert_eq!(board.in_flight(), 1500);
    }

    #[test]
    fn without_sack_the_first_segment_is_lost() {
        let mut board = Scoreboard::default();
        board.on_sent(Seq(0), Seq(9000), Instant::ZERO);
        assert_eq!(board.mark_first_lost(1000), 1000);
        assert_eq!((board.next_lost(u32::MAX), board.in_flight()), (Some((Seq(0), Seq(1000))), 8000));
    }

    proptest! {
        #[test]
        fn the_account_of_bytes_is_always_that_of_the_records(
            base: u32,
            steps in prop::collection::vec((0u8..5, 0u32..5000, 1u32..3000), 0..60),
        ) {
            let mut board = Scoreboard::default();
            let (mut una, mut nxt) = (Seq(base), Seq(base));
            for (kind, place, len) in steps {
                let at = una + place % (nxt - una).max(1);
                let end = (at + len).earlier(nxt);
                match kind {
                    0 => {
                        board.on_sent(nxt, nxt + len, Instant::ZERO);
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
                            board.on_retransmitted(start, end, Instant::ZERO);
                        }
                    }
                }
                let sum = |wanted: fn(&Sent) -> bool| board.iter().filter(|sent| wanted(sent)).map(Sent::len).sum::<u32>();
                prop_assert_eq!(board.in_flight(), sum(|sent| !sent.sacked && !sent.lost));
                prop_assert_eq!(board.sacked(), sum(|sent| sent.sacked));
                prop_assert_eq!(board.iter().map(Sent::len).sum::<u32>(), nxt - una);
            }
        }
    }
}
