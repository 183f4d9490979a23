//! Acknowledgments: what arrived, what is lost, and what that does to the window (RFC 9293, 5681, 6675, 8985, 9937).

use rumpnet_wire::tcp::{SackBlock, Seq};

use super::{
    congestion::Acked,
    connection::{Connection, State},
    rack::{self, Detection},
    recovery::{Phase, Prr},
    scoreboard::Sent,
    segment::Segment,
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
        let in_flight_before = self.board.in_flight();
        let mut tally = Tally::default();
        let (rack, rtt) = (&mut self.rack, &self.rtt);
        self.board.acknowledge(acknowledgment, |sent| {
            rack.on_delivered(now, &sent, rtt);
            tally.add(now, &sent);
        });
        let duplicate = self.receive_sack(now, segment, &mut tally);
        self.forget_acknowledged(acknowledgment);
        self.measure(now, segment, advanced, &tally);
        self.update_send_window(segment);
        if advanced > 0 {
            self.duplicate_acks = 0;
            self.rtt.forget_back_off();
        }
        let lost = self.look_for_losses(now, segment, advanced);
        self.follow_tail_probe(now, segment, advanced, duplicate, in_flight_before);
        self.follow_phase(now, acknowledgment, advanced, tally.bytes, lost, in_flight_before, &tally);
        self.rearm_retransmission(now, advanced > 0);
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

    /// SACK blocks, and the duplicate that the first of them may report (RFC 2883); whether it did.
    fn receive_sack(&mut self, now: Instant, segment: &Segment, tally: &mut Tally) -> bool {
        if !self.sack_permitted {
            return false;
        }
        let blocks = segment.options.sack;
        let blocks = blocks.as_slice();
        let is_duplicate = |first: &SackBlock| {
            let inside = |other: &SackBlock| {
                first.left.is_at_or_after(other.left) && first.right.is_at_or_before(other.right)
            };
            first.right.is_at_or_before(segment.acknowledgment) || blocks.get(1).is_some_and(inside)
        };
        let duplicate = blocks.first().is_some_and(is_duplicate);
        if duplicate {
            self.rack.on_duplicate(self.snd_una, self.snd_nxt);
        }
        for block in blocks.iter().skip(usize::from(duplicate)) {
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

    /// What became of a probe of the tail (RFC 8985 section 7.4.2): one that mended a loss means congestion.
    fn follow_tail_probe(
        &mut self,
        now: Instant,
        segment: &Segment,
        advanced: u32,
        duplicate: bool,
        in_flight_before: u32,
    ) {
        let Some((end, again)) = self.probed else { return };
        if segment.acknowledgment.is_before(end) {
            return;
        }
        let repeats = advanced == 0 && segment.len == 0 && segment.options.sack.as_slice().is_empty();
        let mended = again && !duplicate && segment.acknowledgment.is_after(end);
        if mended && matches!(self.phase, Phase::Open) {
            self.congestion.on_congestion(now, in_flight_before, self.mss);
            let window = self.congestion.window_mut();
            window.cwnd = window.ssthresh;
        }
        if !again || duplicate || mended || repeats {
            self.probed = None;
        }
    }

    /// A round trip: by our own record of what was sent once, else by the peer's echo of our clock.
    fn measure(&mut self, now: Instant, segment: &Segment, advanced: u32, tally: &Tally) {
        if let Some(sample) = tally.rtt {
            self.rtt.measure(now, sample);
        } else if advanced > 0
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
    pub(super) fn update_send_window(&mut self, segment: &Segment) {
        let newer = self.snd_wl1.is_before(segment.sequence)
            || (self.snd_wl1 == segment.sequence && self.snd_wl2.is_at_or_before(segment.acknowledgment));
        if !newer {
            return;
        }
        let was_closed = self.snd_wnd == 0;
        self.snd_wnd = u32::from(segment.window) << self.snd_wscale;
        self.max_window = self.max_window.max(self.snd_wnd);
        (self.snd_wl1, self.snd_wl2) = (segment.sequence, segment.acknowledgment);
        if was_closed && self.snd_wnd > 0 && self.board.is_empty() {
            self.deadlines.retransmit = None;
            self.rtt.forget_back_off();
        }
    }

    /// What is lost now: by RACK, or by duplicates from a peer that does not SACK.
    fn look_for_losses(&mut self, now: Instant, segment: &Segment, advanced: u32) -> u32 {
        let in_recovery = !matches!(self.phase, Phase::Open);
        if self.sack_permitted {
            let Detection { lost, look_again } =
                self.rack.detect(now, &mut self.board, &self.rtt, in_recovery, self.mss);
            self.deadlines.reorder = look_again;
            return lost;
        }
        let is_duplicate = advanced == 0 && segment.space() == 0 && !self.board.is_empty();
        self.duplicate_acks += u32::from(is_duplicate);
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
            Phase::Recovery { recover, .. } | Phase::Loss { recover } => {
                acknowledgment.is_at_or_after(recover)
            }
        };
        if recovered {
            if matches!(self.phase, Phase::Recovery { .. }) {
                let window = self.congestion.window_mut();
                window.cwnd = window.ssthresh;
                self.rack.on_recovered();
            }
            self.phase = Phase::Open;
        }
        if lost > 0 && matches!(self.phase, Phase::Open) {
            self.begin_recovery(now, in_flight_before);
        }
        let in_flight = self.board.in_flight();
        match &mut self.phase {
            Phase::Recovery { prr, .. } => {
                prr.on_acked(delivered, in_flight, self.mss, advanced > 0 && lost == 0)
            }
            Phase::Open | Phase::Loss { .. } if advanced > 0 => {
                self.grow(now, advanced, in_flight_before, tally)
            }
            Phase::Open | Phase::Loss { .. } => {}
        }
    }

    /// A loss was found: the window is reduced once for all of a window's losses.
    pub(super) fn begin_recovery(&mut self, now: Instant, in_flight_before: u32) {
        self.congestion.on_congestion(now, in_flight_before, self.mss);
        let ssthresh = self.congestion.window().ssthresh;
        let prr = Prr::begin(in_flight_before, ssthresh, self.mss);
        self.phase = Phase::Recovery { recover: self.snd_nxt, prr };
        self.probed = None;
        self.deadlines.probe = None;
    }

    fn grow(&mut self, now: Instant, advanced: u32, in_flight_before: u32, tally: &Tally) {
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
            self.deadlines.retransmit = Some(now + self.rtt.rto());
        }
        self.arm_tail_probe(now);
    }

    /// A probe of the tail is due some time after the last segment (RFC 8985 section 7.2).
    pub(super) fn arm_tail_probe(&mut self, now: Instant) {
        let probes = self.sack_permitted
            && self.probed.is_none()
            && matches!(self.phase, Phase::Open)
            && matches!(
                self.state,
                State::Established | State::CloseWait | State::FinWait1 | State::LastAck | State::Closing
            );
        self.deadlines.probe = probes
            .then(|| now + rack::probe_timeout(&self.rtt, self.board.in_flight(), self.mss, MAX_ACK_DELAY));
    }
}

/// What one acknowledgment delivered.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    bytes: u32,
    /// The least round trip of what was sent once, none after what was sent again (Karn).
    rtt: Option<Duration>,
}

impl Tally {
    fn add(&mut self, now: Instant, sent: &Sent) {
        self.bytes += sent.len();
        if !sent.was_retransmitted() {
            let took = now - sent.at;
            self.rtt = Some(self.rtt.map_or(took, |least| least.min(took)));
        }
    }
}
