//! Taking back a reduction of the window that was needless: what was believed to be lost had only been late.
//!
//! Three things show it: an acknowledgment that echoes a clock older than the first repetition (Eifel, RFC 3522), D-SACKs for all that was
//! repeated (RFC 3708), and new data that arrives before anything repeated could have (F-RTO, RFC 5682, whose steps are in `acknowledge`). Then the whole state of
//! congestion control is again what it was (RFC 4015, RFC 9438 section 4.9), only that windows which grew since stay as great.
//!
//! Not here: waiting longer the next time, which is [`super::rack`]'s.

use alloc::{boxed::Box, vec::Vec};

use rumpnet_proto::Counter;
use rumpnet_wire::tcp::{SackBlock, Seq};

use super::{congestion::Algorithm, connection::Connection, recovery::Phase, segment::Segment};

/// Stretches repeated that are remembered; where there are more, D-SACKs tell nothing.
const MAX_REPEATED: usize = 64;

/// What showed that a reduction was needless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ground {
    /// The echo of an older clock.
    Echo,
    /// D-SACKs for every repetition.
    Duplicates,
    /// New data arrived after a time-out.
    NewData,
}

impl Ground {
    /// What counts it. Linux has TCPFullUndo, TCPPartialUndo and TCPLossUndo for the first, TCPDSACKUndo and TCPSpuriousRTOs for the others.
    pub(super) const fn counter(self) -> Counter {
        match self {
            Self::Echo => Counter::TcpUndoneByEcho,
            Self::Duplicates => Counter::TcpUndoneByDuplicates,
            Self::NewData => Counter::TcpUndoneByNewData,
        }
    }
}

/// What a reduction can be taken back to, and what was repeated since.
#[derive(Debug)]
pub(super) struct Undo {
    prior: Algorithm,
    /// Our clock when the first repetition left, as the peer would echo it.
    first_repeated: Option<u32>,
    /// What was repeated, once each, and was not yet reported to be needless.
    repeated: Vec<(Seq, Seq)>,
    /// Whether anything was repeated at all.
    repeats: bool,
    /// Something was repeated twice, or there was too much to remember: D-SACKs tell nothing (RFC 3708 section 2).
    uncountable: bool,
    /// The episode is over, and what is sent from here on is not of it.
    ends: Option<Seq>,
}

impl Undo {
    const fn new(prior: Algorithm) -> Self {
        Self {
            prior,
            first_repeated: None,
            repeated: Vec::new(),
            repeats: false,
            uncountable: false,
            ends: None,
        }
    }

    fn on_repeated(&mut self, from: Seq, to: Seq, clock: Option<u32>) {
        if !self.repeats {
            (self.repeats, self.first_repeated) = (true, clock);
        }
        let meets = |known: &(Seq, Seq)| known.0.is_before(to) && known.1.is_after(from);
        self.uncountable |= self.repeated.len() >= MAX_REPEATED || self.repeated.iter().any(meets);
        if !self.uncountable {
            self.repeated.push((from, to));
        }
    }

    /// The peer has got this twice; a copy that the path made is of nothing that was repeated.
    fn on_duplicate(&mut self, block: SackBlock) {
        let mut left = Vec::with_capacity(self.repeated.len());
        for &(from, to) in &self.repeated {
            if block.left.is_at_or_after(to) || block.right.is_at_or_before(from) {
                left.push((from, to));
                continue;
            }
            if block.left.is_after(from) {
                left.push((from, block.left));
            }
            if block.right.is_before(to) {
                left.push((block.right, to));
            }
        }
        // One who reports crumbs would else make us remember as many holes.
        self.uncountable |= left.len() > 2 * MAX_REPEATED;
        self.repeated = if self.uncountable { Vec::new() } else { left };
    }

    /// Congestion control as it was (RFC 9438 section 4.9), but for a window that is greater by now.
    fn restore(&self, cwnd: u32) -> Algorithm {
        let mut restored = self.prior;
        let window = restored.window_mut();
        window.cwnd = window.cwnd.max(cwnd);
        restored
    }

    /// Whether every repetition is known to have been needless.
    const fn is_all_needless(&self) -> bool {
        self.repeats && !self.uncountable && self.repeated.is_empty()
    }

    /// Whether an acknowledgment with this echo is of what was sent before the first repetition: either there was none, or the clock is older.
    fn is_too_early(&self, echo: Option<u32>) -> bool {
        match (self.repeats, self.first_repeated, echo) {
            (false, ..) => true,
            (true, Some(first), Some(echo)) => (echo.wrapping_sub(first) as i32) < 0,
            _ => false,
        }
    }
}

impl Connection {
    /// The window is about to be reduced for a loss: that can be taken back.
    pub(super) fn begin_undo(&mut self) {
        self.undo = Some(Box::new(Undo::new(self.congestion)));
    }

    /// Something was sent again.
    pub(super) fn note_repetition(&mut self, from: Seq, to: Seq, clock: Option<u32>) {
        if let Some(undo) = self.undo.as_mut().filter(|_| !matches!(self.phase, Phase::Open)) {
            undo.on_repeated(from, to, clock);
        }
    }

    /// The recovery is over; what D-SACKs say of it may yet come, for a round trip.
    pub(super) fn end_undo(&mut self) {
        let snd_nxt = self.snd_nxt;
        if let Some(undo) = &mut self.undo {
            undo.ends = Some(snd_nxt);
        }
    }

    /// What an acknowledgment, which moved `snd_una` or not, says of the last reduction.
    pub(super) fn consider_undo(&mut self, segment: &Segment, advanced: bool, duplicate: Option<SackBlock>) {
        let in_doubt = !matches!(self.phase, Phase::Open);
        let echo = self.timestamps.and(segment.options.timestamps).map(|timestamps| timestamps.echo);
        let Some(undo) = &mut self.undo else { return };
        if let Some(block) = duplicate {
            undo.on_duplicate(block);
            if undo.is_all_needless() {
                return self.undo_reduction(Ground::Duplicates);
            }
        }
        if advanced && in_doubt && undo.is_too_early(echo) {
            return self.undo_reduction(Ground::Echo);
        }
        if undo.ends.is_some_and(|end| segment.acknowledgment.is_after(end)) {
            self.undo = None;
        }
    }

    /// The last reduction was needless: nothing is lost, and the window is what it was.
    pub(super) fn undo_reduction(&mut self, ground: Ground) {
        let Some(undo) = self.undo.take() else { return };
        self.congestion = undo.restore(self.congestion.window().cwnd);
        if ground != Ground::NewData && matches!(self.phase, Phase::Recovery { .. }) {
            self.rack.on_reordering();
        }
        self.board.forget_losses();
        (self.phase, self.free_segments, self.duplicate_acks) = (Phase::Open, 0, 0);
        self.undone = Some(ground);
        self.note_undone();
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::{
        inet::tcp::congestion::Acked,
        time::{Duration, Instant},
    };

    fn undo() -> Undo {
        Undo::new(Algorithm::named("cubic", 1000).expect("known"))
    }

    const fn block(left: u32, right: u32) -> SackBlock {
        SackBlock { left: Seq(left), right: Seq(right) }
    }

    #[test]
    fn cubics_curve_is_again_what_it_was_and_a_greater_window_stays() {
        let mut cubic = Algorithm::named("cubic", 1000).expect("known");
        cubic.window_mut().cwnd = 100_000;
        cubic.on_congestion(Instant::ZERO, 100_000, 1000);
        // An epoch, its W_max and its K.
        cubic.on_acked(&Acked {
            now: Instant::from_millis(100),
            bytes: 1000,
            mss: 1000,
            rtt: None,
            srtt: Duration::from_millis(100),
            limited: true,
            round: false,
        });
        let before = format!("{cubic:?}");
        let undo = Undo::new(cubic);
        cubic.on_congestion(Instant::from_millis(200), 70_000, 1000);
        assert_ne!(format!("{cubic:?}"), before);
        assert_eq!(format!("{:?}", undo.restore(cubic.window().cwnd)), before);
        assert_eq!(undo.restore(200_000).window().cwnd, 200_000);
    }

    #[test]
    fn every_repetition_must_be_reported_and_copies_that_the_path_made_do_not_count() {
        let mut undo = undo();
        undo.on_repeated(Seq(0), Seq(3000), None);
        undo.on_repeated(Seq(5000), Seq(6000), None);
        for (left, right) in [(1000, 2000), (3000, 4000), (0, 1000), (5000, 6000)] {
            undo.on_duplicate(block(left, right));
            assert!(!undo.is_all_needless(), "{left}");
        }
        undo.on_duplicate(block(2000, 3000));
        assert!(undo.is_all_needless());
    }

    #[test]
    fn what_was_repeated_twice_or_not_remembered_tells_nothing() {
        let mut twice = undo();
        twice.on_repeated(Seq(0), Seq(1000), None);
        twice.on_repeated(Seq(500), Seq(1500), None);
        twice.on_duplicate(block(0, 2000));
        assert!(!twice.is_all_needless());
        let mut many = undo();
        (0..=MAX_REPEATED as u32)
            .for_each(|number| many.on_repeated(Seq(2 * number), Seq(2 * number + 1), None));
        many.on_duplicate(block(0, 1000));
        assert!(!many.is_all_needless());
    }

    #[test]
    fn crumbs_are_not_remembered_without_end() {
        let mut undo = undo();
        undo.on_repeated(Seq(0), Seq(60_000), None);
        for left in (0..60_000).step_by(2) {
            undo.on_duplicate(block(left, left + 1));
            assert!(undo.repeated.len() <= 2 * MAX_REPEATED, "{left}");
        }
        undo.on_duplicate(block(0, 60_000));
        assert!(!undo.is_all_needless());
    }

    #[test]
    fn an_echo_counts_if_it_is_older_than_the_first_repetition_even_across_the_wrap() {
        let mut undo = undo();
        assert!(undo.is_too_early(None), "nothing was repeated");
        undo.on_repeated(Seq(0), Seq(1000), Some(3));
        undo.on_repeated(Seq(1000), Seq(2000), Some(90));
        for (echo, early) in
            [(Some(2), true), (Some(u32::MAX), true), (Some(3), false), (Some(4), false), (None, false)]
        {
            assert_eq!(undo.is_too_early(echo), early, "{echo:?}");
        }
    }
}
