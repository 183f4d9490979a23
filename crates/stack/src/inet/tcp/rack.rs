//! RACK: what was sent long enough before something that arrived is lost (RFC 8985 section 6). The tail loss probe's time, too.

use rumpnet_wire::tcp::Seq;

use super::{
    rtt::RoundTrip,
    scoreboard::{Scoreboard, Sent},
};
use crate::time::{Duration, Instant};

/// Duplicate acknowledgments, or SACKed segments, after which reordering is no excuse unless it was seen.
const DUP_THRESH: u32 = 3;
/// The least time before a probe of the tail, as Linux has it: on a fast path a busy peer may well take so long.
const MIN_PROBE_TIMEOUT: Duration = Duration::from_millis(2);
/// Round trips for which a widened window is kept.
const REO_PERSIST: u8 = 16;

/// What RACK remembers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rack {
    /// When the latest segment that is known to have arrived was sent, its end, and its round trip.
    xmit_ts: Instant,
    end_seq: Seq,
    rtt: Duration,
    known: bool,
    /// The highest number that is known to have arrived.
    fack: Seq,
    reordering_seen: bool,
    reo_wnd_mult: u8,
    reo_wnd_persist: u8,
    /// Where the round ends in which the window was last widened.
    dsack_round: Option<Seq>,
}

/// What a look at the scoreboard came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Detection {
    /// Bytes newly marked as lost.
    pub(crate) lost: u32,
    /// When to look again.
    pub(crate) look_again: Option<Instant>,
}

impl Rack {
    pub(crate) const fn new(iss: Seq) -> Self {
        Self {
            xmit_ts: Instant::ZERO,
            end_seq: iss,
            rtt: Duration::ZERO,
            known: false,
            fack: iss,
            reordering_seen: false,
            reo_wnd_mult: 1,
            reo_wnd_persist: REO_PERSIST,
            dsack_round: None,
        }
    }

    /// Something arrived (steps 1 to 3).
    pub(crate) fn on_delivered(&mut self, now: Instant, sent: &Sent, rtt: &RoundTrip) {
        if sent.end.is_after(self.fack) {
            self.fack = sent.end;
        } else if sent.end.is_before(self.fack) && !sent.was_retransmitted() {
            self.reordering_seen = true;
        }
        let took = now - sent.at;
        // The acknowledgment of an earlier transmission came after the segment was sent again.
        let is_spurious = sent.was_retransmitted() && rtt.minimum().is_some_and(|least| took < least);
        if is_spurious {
            return;
        }
        if !self.known || sent_after(sent.at, sent.end, self.xmit_ts, self.end_seq) {
            (self.xmit_ts, self.end_seq, self.rtt, self.known) = (sent.at, sent.end, took, true);
        }
    }

    /// A D-SACK says that a retransmission was needless: wait longer (step 4).
    pub(crate) fn on_duplicate(&mut self, snd_una: Seq, snd_nxt: Seq) {
        if self.dsack_round.is_none_or(|end| snd_una.is_at_or_after(end)) {
            self.dsack_round = Some(snd_nxt);
            self.reo_wnd_mult = self.reo_wnd_mult.saturating_add(1);
            self.reo_wnd_persist = REO_PERSIST;
            self.reordering_seen = true;
        }
    }

    /// What was believed to be lost was only late.
    pub(crate) const fn on_reordering(&mut self) {
        self.reordering_seen = true;
    }

    /// Whether segments were seen to overtake each other.
    pub(crate) const fn has_seen_reordering(&self) -> bool {
        self.reordering_seen
    }

    /// A recovery has ended: a widened window is given up after some of them.
    pub(crate) const fn on_recovered(&mut self) {
        self.reo_wnd_persist = self.reo_wnd_persist.saturating_sub(1);
        if self.reo_wnd_persist == 0 {
            self.reo_wnd_mult = 1;
            self.reo_wnd_persist = REO_PERSIST;
        }
    }

    fn reo_wnd(&self, board: &Scoreboard, rtt: &RoundTrip, in_recovery: bool, mss: u32) -> Duration {
        if !self.reordering_seen && (in_recovery || board.sacked() >= DUP_THRESH * mss) {
            return Duration::ZERO;
        }
        let quarter = rtt.minimum().unwrap_or_default() / 4;
        (quarter * u32::from(self.reo_wnd_mult)).min(rtt.smoothed().unwrap_or_default())
    }

    /// Marks what is lost (step 5).
    pub(crate) fn detect(
        &self,
        now: Instant,
        board: &mut Scoreboard,
        rtt: &RoundTrip,
        in_recovery: bool,
        mss: u32,
    ) -> Detection {
        if !self.known {
            return Detection::default();
        }
        let patience = self.rtt + self.reo_wnd(board, rtt, in_recovery, mss);
        let mut look_again: Option<Instant> = None;
        let lost = board.mark_lost(|sent| {
            if !sent_after(self.xmit_ts, self.end_seq, sent.at, sent.end) {
                return false;
            }
            let due = sent.at + patience;
            if due > now {
                look_again = Some(look_again.map_or(due, |other| other.max(due)));
            }
            due <= now
        });
        Detection { lost, look_again }
    }
}

fn sent_after(at: Instant, end: Seq, other_at: Instant, other_end: Seq) -> bool {
    at > other_at || (at == other_at && end.is_after(other_end))
}

/// After how long without news the last segment is sent again as a probe (RFC 8985 section 7.2).
pub(crate) fn probe_timeout(rtt: &RoundTrip, flight: u32, mss: u32, max_ack_delay: Duration) -> Duration {
    let Some(srtt) = rtt.smoothed() else { return Duration::from_secs(1) };
    let delayed = if flight <= mss { max_ack_delay } else { Duration::ZERO };
    (srtt * 2 + delayed).max(MIN_PROBE_TIMEOUT).min(rtt.rto())
}

#[cfg(test)]
mod tests {
    use rumpnet_wire::tcp::SackBlock;

    use super::*;

    const MSS: u32 = 1000;
    const MS: fn(u64) -> Instant = Instant::from_millis;

    fn measured(ms: u64) -> RoundTrip {
        let mut rtt = RoundTrip::new();
        rtt.measure(Instant::ZERO, Duration::from_millis(ms));
        rtt
    }

    /// Five segments sent a millisecond apart.
    fn board() -> Scoreboard {
        let mut board = Scoreboard::default();
        for number in 0..5u32 {
            board.on_sent(Seq(number * MSS), Seq((number + 1) * MSS), MSS as u16, MS(number.into()));
        }
        board
    }

    fn sack(rack: &mut Rack, board: &mut Scoreboard, now: Instant, left: u32, right: u32, rtt: &RoundTrip) {
        let block = SackBlock { left: Seq(left * MSS), right: Seq(right * MSS) };
        board.sack(block, |sent| rack.on_delivered(now, &sent, rtt));
    }

    #[test]
    fn a_hole_is_lost_a_quarter_round_trip_after_what_was_sent_later_arrived() {
        let (mut rack, mut board, rtt) = (Rack::new(Seq(0)), board(), measured(100));
        sack(&mut rack, &mut board, MS(101), 1, 2, &rtt);
        let look = rack.detect(MS(101), &mut board, &rtt, false, MSS);
        // Segment 0 left at 0; round trip 100 and a quarter of it.
        assert_eq!(look, Detection { lost: 0, look_again: Some(MS(125)) });
        let look = rack.detect(MS(125), &mut board, &rtt, false, MSS);
        assert_eq!(look, Detection { lost: MSS, look_again: None });
        assert_eq!(board.next_lost(u32::MAX), Some((Seq(0), Seq(MSS))));
    }

    #[test]
    fn three_segments_above_a_hole_are_enough_unless_reordering_was_seen() {
        let (mut rack, mut board, rtt) = (Rack::new(Seq(0)), board(), measured(100));
        sack(&mut rack, &mut board, MS(103), 1, 4, &rtt);
        assert_eq!(rack.detect(MS(103), &mut board, &rtt, false, MSS).lost, MSS);
        let (mut rack, mut board) = (Rack::new(Seq(0)), self::board());
        sack(&mut rack, &mut board, MS(103), 2, 4, &rtt);
        sack(&mut rack, &mut board, MS(103), 1, 2, &rtt);
        assert_eq!(rack.detect(MS(103), &mut board, &rtt, false, MSS).lost, 0);
    }

    #[test]
    fn what_was_sent_after_the_latest_arrival_is_never_lost() {
        let (mut rack, mut board, rtt) = (Rack::new(Seq(0)), board(), measured(100));
        sack(&mut rack, &mut board, MS(101), 1, 2, &rtt);
        rack.detect(MS(900), &mut board, &rtt, false, MSS);
        assert_eq!(board.in_flight(), 3 * MSS);
    }

    #[test]
    fn the_probe_waits_two_round_trips_and_for_a_delayed_acknowledgment_of_a_single_segment() {
        let rtt = measured(100);
        let delay = Duration::from_millis(200);
        assert_eq!(probe_timeout(&rtt, 5 * MSS, MSS, delay), Duration::from_millis(200));
        assert_eq!(probe_timeout(&rtt, MSS, MSS, delay), rtt.rto());
        assert_eq!(probe_timeout(&RoundTrip::new(), MSS, MSS, delay), Duration::from_secs(1));
    }
}
