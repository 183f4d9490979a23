//! Acknowledgments: what arrived, what is lost, and what that does to the window (RFC 9293, 5681, 6675, 8985, 9937).

use rumpnet_wire::tcp::{Flags, SackBlock, Seq};

use super::{
    congestion::Acked,
    connection::{Connection, State},
    rack::{self, Detection},
    recovery::{Doubt, Phase, Prr},
    scoreboard::Sent,
    segment::Segment,
    undo::Ground,
};
use crate::time::{Duration, Instant};

/// Duplicate acknowledgments that mean a loss, from a peer without SACK.
const DUP_THRESH: u32 = 3;
/// The longest that a peer holds an acknowledgment back.
const MAX_ACK_DELAY: Duration = Duration::from_millis(200);

/// Whether an acknowledgment number can be right (RFC 9293 section 3.10.7.4, RFC 5961 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckValidity {
    /// It acknowledges something new, or repeats the last one.
    Good,
    /// It is old; what else the segment says may still count.
    Old,
    /// It is of data never sent, or too old to be of this connection: to be challenged.
    Impossible,
}

impl Connection {
    pub(super) fn determine_ack_validity(&self, acknowledgment: Seq) -> AckValidity {
        if acknowledgment.is_after(self.snd_nxt) {
            AckValidity::Impossible
        } else if acknowledgment.is_at_or_after(self.snd_una) {
            AckValidity::Good
        } else if acknowledgment.is_at_or_after(self.snd_una - self.max_window) {
            AckValidity::Old
        } else {
            AckValidity::Impossible
        }
    }

    /// A good acknowledgment has come in.
    pub(super) fn on_acknowledgment(&mut self, now: Instant, segment: &Segment) {
        let acknowledgment = segment.acknowledgment;
        let advanced = acknowledgment - self.snd_una;
        let in_flight_before = self.in_flight();
        let mut tally = Tally::default();
        let (rack, rtt) = (&mut self.rack, &self.rtt);
        self.board.acknowledge(acknowledgment, |sent| {
            rack.on_delivered(now, &sent, rtt);
            tally.add(now, &sent);
        });
        let duplicate = self.receive_sack(now, segment, &mut tally);
        self.forget_acknowledged(acknowledgment);
        self.measure(now, segment, advanced, &tally);
        let moved = self.update_send_window(segment);
        if advanced > 0 {
            (self.expirations, self.waiting_since) = (0, now);
            self.soft_error = None;
        }
        if self.snd_wnd == 0 {
            // As long as a peer with a closed window answers, the connection lives (RFC 9293 section 3.8.6.1, MUST-37).
            self.expirations = 0;
        }
        self.follow_tail_probe(now, segment, (advanced, in_flight_before), duplicate.is_some());
        if !self.sack_permitted {
            let repeats = advanced == 0 && segment.space() == 0 && !moved && !self.board.is_empty();
            self.count_duplicates(advanced, repeats, &mut tally);
        }
        self.consider_undo(segment, advanced > 0, duplicate);
        self.test_timeout(advanced, acknowledgment);
        let lost = self.look_for_losses(now, advanced);
        if !segment.has(Flags::SYN) {
            self.receive_echo(now, segment, in_flight_before);
        }
        self.follow_phase(now, acknowledgment, advanced, tally.bytes, lost, in_flight_before, &tally);
        self.rearm_retransmission(now, advanced > 0);
        self.note_delivered(now, advanced, (tally.bytes, tally.segments), self.heard_echo());
    }

    /// The queue, and our SYN and FIN, up to `acknowledgment`.
    fn forget_acknowledged(&mut self, acknowledgment: Seq) {
        let mut bytes = acknowledgment - self.snd_una;
        if self.snd_una == self.iss && bytes > 0 {
            bytes -= 1;
            self.begin_with_care();
        }
        // What exceeds the queue is our FIN.
        self.queue.acknowledge(bytes as usize);
        self.snd_una = acknowledgment;
        if self.snd_up.is_some() {
            self.forget_sent_mark();
        }
    }

    /// Our SYN was acknowledged. If it had to be repeated, the path may be slow or full (RFC 6298 section 5.7, RFC 5681 section 3.1; one loss is
    /// forgiven, RFC 6928 section 2).
    fn begin_with_care(&mut self) {
        let repeated = self.rtt.backoff();
        if repeated > 0 {
            self.rtt.fall_back();
        }
        if repeated > 1 {
            self.congestion.window_mut().cwnd = self.mss;
        }
    }

    /// SACK blocks, and the duplicate that the first of them may report (RFC 2883).
    ///
    /// The duplicate.
    fn receive_sack(&mut self, now: Instant, segment: &Segment, tally: &mut Tally) -> Option<SackBlock> {
        if !self.sack_permitted {
            return None;
        }
        let blocks = segment.options.sack;
        let blocks = blocks.as_slice();
        let is_duplicate = |first: &SackBlock| {
            let inside = |other: &SackBlock| {
                first.left.is_at_or_after(other.left) && first.right.is_at_or_before(other.right)
            };
            first.right.is_at_or_before(segment.acknowledgment) || blocks.get(1).is_some_and(inside)
        };
        let duplicate = blocks.first().copied().filter(is_duplicate);
        if duplicate.is_some() {
            self.note_duplicate();
            self.rack.on_duplicate(self.snd_una, self.snd_nxt);
        }
        // In the order of their numbers, so that their own order does not look like reordering on the path.
        let mut ordered = segment.options.sack;
        let ordered = ordered.as_mut_slice();
        ordered.sort_unstable_by(|one, other| one.left.distance_from(other.left).cmp(&0));
        for block in ordered.iter().filter(|block| Some(**block) != duplicate) {
            let possible = block.left.is_before(block.right)
                && block.left.is_at_or_after(segment.acknowledgment)
                && block.right.is_at_or_before(self.snd_nxt);
            if possible {
                let (rack, rtt) = (&mut self.rack, &self.rtt);
                self.board.sack(*block, |sent| {
                    rack.on_delivered(now, &sent, rtt);
                    tally.add(now, &sent);
                });
            }
        }
        duplicate
    }

    /// Without SACK each duplicate acknowledgment stands for a segment that left the network (RFC 5681 section 3.2, RFC 9937 section 6.1).
    fn count_duplicates(&mut self, advanced: u32, repeats: bool, tally: &mut Tally) {
        if repeats {
            // No more segments can have arrived than are under way, whatever the peer says (as Linux limits them).
            let under_way = self.board.count() + (self.snd_nxt - self.snd_una) / self.mss;
            if self.duplicate_acks < under_way {
                self.duplicate_acks += 1;
                tally.bytes += self.mss;
            }
        } else if advanced > 0 {
            let known = self.duplicate_acks * self.mss;
            tally.bytes = tally.bytes.saturating_sub(known).max(self.mss);
            // The first segment of what is acknowledged was the missing one, the others had been counted.
            let counted = advanced.div_ceil(self.mss).saturating_sub(1);
            let recovers = matches!(self.phase, Phase::Recovery { .. });
            self.duplicate_acks = if recovers { self.duplicate_acks.saturating_sub(counted) } else { 0 };
        }
    }

    /// Bytes believed to be on the path.
    pub(super) fn in_flight(&self) -> u32 {
        self.board.in_flight().saturating_sub(self.duplicate_acks.saturating_mul(self.mss))
    }

    /// What the acknowledgment says of a tail probe: one that repaired a loss is congestion all the same (RFC 8985 section 7.4.2).
    fn follow_tail_probe(
        &mut self,
        now: Instant,
        segment: &Segment,
        (advanced, in_flight_before): (u32, u32),
        needless: bool,
    ) {
        let Some((end, again)) = self.probed else { return };
        if segment.acknowledgment.is_before(end) {
            return;
        }
        if again && !needless && segment.acknowledgment.is_after(end) {
            if matches!(self.phase, Phase::Open) {
                self.congestion.on_congestion(now, in_flight_before, self.mss);
                self.undo = None;
            }
            self.probed = None;
        } else if !again || needless || (advanced == 0 && segment.space() == 0) {
            self.probed = None;
        }
    }

    /// F-RTO (RFC 5682 section 2.1): whether the time-out was spurious.
    fn test_timeout(&mut self, advanced: u32, acknowledgment: Seq) {
        let Phase::Loss { recover, doubt: Some(doubt) } = self.phase else { return };
        if acknowledgment.is_at_or_after(recover) {
            // Steps 2a and 3: everything has arrived, and nothing can be told.
            self.phase = Phase::Loss { recover, doubt: None };
        } else if !doubt.probed && advanced > 0 && self.has_unsent() && self.snd_wnd > 0 {
            // Step 2b: new data, nothing again.
            self.board.forget_losses();
            self.free_segments = 2;
            self.phase = Phase::Loss { recover, doubt: Some(Doubt { probed: true }) };
        } else if doubt.probed && advanced > 0 {
            // Step 3b: it was.
            self.undo_reduction(Ground::NewData);
        } else {
            // Steps 2a and 3a: it was not.
            if doubt.probed {
                self.board.mark_lost(|sent| sent.end.is_at_or_before(recover));
                self.congestion.window_mut().cwnd = 3 * self.mss;
            }
            (self.phase, self.free_segments) = (Phase::Loss { recover, doubt: None }, 0);
        }
    }

    /// A round trip: by our own record of what was sent once, else by the peer's echo of our clock.
    fn measure(&mut self, now: Instant, segment: &Segment, advanced: u32, tally: &Tally) {
        if let Some(sample) = tally.rtt {
            self.rtt.measure(now, sample);
        } else if advanced > 0
            && tally.bytes > 0
            && let (Some(state), Some(echoed)) = (self.timestamps, segment.options.timestamps)
        {
            let clock = (now.as_millis() as u32).wrapping_add(state.offset);
            let took = clock.wrapping_sub(echoed.echo);
            if took < 1 << 24 {
                self.rtt.measure(now, Duration::from_millis(took.into()));
            }
        }
    }

    /// SND.WND, if the segment is not older than the one it was last taken from.
    ///
    /// True if it changed.
    pub(super) fn update_send_window(&mut self, segment: &Segment) -> bool {
        let newer = self.snd_wl1.is_before(segment.sequence)
            || (self.snd_wl1 == segment.sequence && self.snd_wl2.is_at_or_before(segment.acknowledgment));
        if !newer {
            return false;
        }
        let before = self.snd_wnd;
        self.snd_wnd = u32::from(segment.window) << self.snd_wscale;
        self.max_window = self.max_window.max(self.snd_wnd);
        (self.snd_wl1, self.snd_wl2) = (segment.sequence, segment.acknowledgment);
        if before == 0 && self.snd_wnd > 0 && self.board.is_empty() {
            self.deadlines.retransmit = None;
            self.rtt.forget_back_off();
        }
        self.snd_wnd != before
    }

    /// What is lost now: by RACK, or by duplicates from a peer that does not SACK.
    fn look_for_losses(&mut self, now: Instant, advanced: u32) -> u32 {
        let in_recovery = !matches!(self.phase, Phase::Open);
        if self.sack_permitted {
            let Detection { lost, look_again } =
                self.rack.detect(now, &mut self.board, &self.rtt, in_recovery, self.mss);
            self.deadlines.reorder = look_again;
            return lost;
        }
        let partial =
            matches!(self.phase, Phase::Recovery { recover, .. } if self.snd_una.is_before(recover));
        if (self.duplicate_acks == DUP_THRESH && !in_recovery) || (partial && advanced > 0) {
            return self.board.mark_first_lost(self.mss);
        }
        0
    }

    /// What the acknowledgment does to the phase and to the window.
    #[allow(clippy::too_many_arguments, reason = "each is another fact of one acknowledgment")]
    fn follow_phase(
        &mut self,
        now: Instant,
        acknowledgment: Seq,
        advanced: u32,
        delivered: u32,
        lost: u32,
        in_flight_before: u32,
        tally: &Tally,
    ) {
        let recovered = match self.phase {
            Phase::Open => false,
            Phase::Recovery { recover, .. } | Phase::Loss { recover, .. } => {
                acknowledgment.is_at_or_after(recover)
            }
        };
        if recovered {
            if matches!(self.phase, Phase::Recovery { .. }) {
                let window = self.congestion.window_mut();
                window.cwnd = window.ssthresh;
                self.rack.on_recovered();
            }
            self.end_undo();
            self.duplicate_acks = 0;
            self.phase = Phase::Open;
        }
        if lost > 0 && matches!(self.phase, Phase::Open) {
            self.begin_recovery(now, in_flight_before);
        }
        let in_flight = self.in_flight();
        match &mut self.phase {
            Phase::Recovery { prr, .. } => {
                prr.on_acked(delivered, in_flight, self.mss, advanced > 0 && lost == 0)
            }
            Phase::Open | Phase::Loss { doubt: None | Some(Doubt { probed: false, .. }), .. }
                if advanced > 0 =>
            {
                self.grow(now, advanced, in_flight_before, tally)
            }
            Phase::Open | Phase::Loss { .. } => {}
        }
    }

    /// A loss was found: the window is reduced once for all of a window's losses.
    pub(super) fn begin_recovery(&mut self, now: Instant, in_flight_before: u32) {
        self.begin_undo();
        self.congestion.on_congestion(now, in_flight_before, self.mss);
        let ssthresh = self.congestion.window().ssthresh;
        let prr = Prr::begin(in_flight_before, ssthresh, self.mss);
        self.phase = Phase::Recovery { recover: self.snd_nxt, prr };
        self.probed = None;
        self.deadlines.probe = None;
        self.note_reduction();
    }

    fn grow(&mut self, now: Instant, advanced: u32, in_flight_before: u32, tally: &Tally) {
        if self.heard_echo() {
            return;
        }
        let window = self.congestion.window();
        // In slow start a window counts as used when half of it was (RFC 7661 section 4.1, as Linux has it).
        let used = if window.in_slow_start() { in_flight_before.saturating_mul(2) } else { in_flight_before };
        let limited = self.cwnd_limited || used >= window.cwnd;
        let round = self.snd_una.is_after(self.round_end);
        if round {
            self.round_end = self.snd_nxt;
            self.cwnd_limited = false;
        }
        self.congestion.on_acked(&Acked {
            now,
            bytes: advanced,
            mss: self.mss,
            rtt: tally.rtt,
            srtt: self.rtt.smoothed().unwrap_or_default(),
            limited,
            round,
        });
    }

    /// The time-outs of what is still under way.
    pub(super) fn rearm_retransmission(&mut self, now: Instant, advanced: bool) {
        if self.board.is_empty() {
            self.deadlines.retransmit = None;
            self.deadlines.probe = None;
            self.deadlines.reorder = None;
            return;
        }
        if advanced || self.deadlines.retransmit.is_none() {
            self.deadlines.retransmit = Some(self.retransmission_deadline(now));
        }
        self.arm_tail_probe(now);
    }

    /// A probe of the tail is due some time after the last segment (RFC 8985 section 7.2).
    pub(super) fn arm_tail_probe(&mut self, now: Instant) {
        let probes = self.sack_permitted
            && matches!(self.phase, Phase::Open)
            && self.probed.is_none()
            && self.board.sacked() == 0
            && matches!(
                self.state,
                State::Established | State::CloseWait | State::FinWait1 | State::LastAck | State::Closing
            );
        let wait = rack::probe_timeout(&self.rtt, self.board.in_flight(), self.mss, MAX_ACK_DELAY);
        // No later than the time-out, in whose place it comes then.
        let due = self.deadlines.retransmit.map_or(now + wait, |timeout| timeout.min(now + wait));
        self.deadlines.probe = probes.then_some(due);
    }

    /// When what is sent now is to be sent again, or the user's patience ends.
    pub(super) fn retransmission_deadline(&self, now: Instant) -> Instant {
        let due = now + self.rtt.rto();
        let patience = self.settings.user_timeout().map(|limit| (self.waiting_since + limit).max(now));
        patience.map_or(due, |end| due.min(end))
    }
}

/// What one acknowledgment delivered.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    bytes: u32,
    segments: u32,
    /// The least round trip of what was sent once, none after what was sent again (Karn).
    rtt: Option<Duration>,
}

impl Tally {
    fn add(&mut self, now: Instant, sent: &Sent) {
        self.bytes += sent.len();
        self.segments += sent.len().div_ceil(u32::from(sent.size).max(1));
        if !sent.was_retransmitted() {
            let took = now - sent.at;
            self.rtt = Some(self.rtt.map_or(took, |least| least.min(took)));
        }
    }
}
