//! Pacing: what may leave is spread over the round trip instead of leaving in bursts (as Linux's own pacing without a queueing discipline).
//!
//! The rate follows the window: twice of what it carries in a round trip while it is being opened, 120 % of it afterwards, so that pacing never is
//! what limits a flow; a user may set a limit (SO_MAX_PACING_RATE). Acknowledgments, SYNs and probes are not paced.

use super::connection::Connection;
use crate::time::{Duration, Instant};

/// As a rate, no limit.
pub(super) const UNLIMITED: u64 = u64::MAX;
/// Of what the window carries in a round trip, in per cent: while it is being opened (tcp_pacing_ss_ratio), and afterwards
/// (tcp_pacing_ca_ratio).
const OPENING: u64 = 200;
const STEADY: u64 = 120;
/// What leaves in one piece is what the rate carries in this time (tcp_pacing_shift).
const PIECE: Duration = Duration::from_millis(1);

impl Connection {
    /// Bytes per second at which data leaves; none if it is not paced.
    pub(super) fn pacing_rate(&self) -> Option<u64> {
        let limit = self.settings.max_pacing_rate;
        if !self.settings.paced && limit == UNLIMITED {
            return None;
        }
        let window = self.congestion.window();
        let under_way = u64::from(window.cwnd.max(self.in_flight()));
        let percent = if window.cwnd < window.ssthresh / 2 { OPENING } else { STEADY };
        let followed = self.rtt.smoothed().filter(|srtt| !srtt.is_zero()).map_or(UNLIMITED, |srtt| {
            (u128::from(under_way * percent / 100) * 1_000_000_000 / u128::from(srtt.as_nanos())) as u64
        });
        Some(followed.min(limit)).filter(|rate| *rate != UNLIMITED)
    }

    /// Whether data must wait for its turn.
    pub(super) fn determine_pause(&mut self, now: Instant) -> bool {
        self.waits_for_pace = self.paced_until > now && (self.has_unsent() || self.board.has_lost());
        self.waits_for_pace
    }

    /// When something is due next, the turn of paced data included.
    pub(super) fn earliest_deadline(&self) -> Option<Instant> {
        let turn = self.waits_for_pace.then_some(self.paced_until);
        self.deadlines.earliest().into_iter().chain(turn).min()
    }

    /// Bytes that leave in one piece when data is paced: at least two segments, so that every second one has its acknowledgment.
    pub(super) fn paced_burst(&self, rate: u64) -> u32 {
        let carried = rate / (1_000_000_000 / PIECE.as_nanos());
        u32::try_from(carried).unwrap_or(u32::MAX).max(2 * self.mss)
    }

    /// So many bytes leave now: when the next ones may.
    ///
    /// Up to half of the pause is forgiven for having been late, so that timers that are a little late do not slow a flow down.
    pub(super) fn pace(&mut self, now: Instant, len: u32) {
        let Some(rate) = self.pacing_rate() else { return };
        let nanos = u64::from(len) * 1_000_000_000 / rate.max(1);
        let late = (now - self.paced_until).as_nanos().min(nanos / 2);
        self.paced_until = self.paced_until.max(now) + Duration::from_nanos(nanos - late);
    }
}
