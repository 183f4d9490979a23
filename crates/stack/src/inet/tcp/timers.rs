//! What time does to a connection: retransmission, probes, delayed acknowledgments, keepalive, the end.

use rumpnet_proto::Errno;

use super::{
    connection::{AckDue, Connection, State},
    recovery::{Doubt, Phase},
    rtt::MAX_RTO,
};
use crate::time::{Duration, Instant};

/// Retransmissions of a SYN-ACK (tcp_synack_retries).
const SYN_ACK_RETRIES: u8 = 5;
/// Retransmissions of data (tcp_retries2).
const RETRIES: u8 = 15;
/// The same when nobody holds the connection any more (tcp_orphan_retries).
const ORPHAN_RETRIES: u8 = 8;
/// Probes of a closed window for an orphan when its memory is wanted by others.
const ORPHAN_PROBES: u8 = 3;
/// For so long a cork holds data back (tcp(7)).
const CORK_PATIENCE: Duration = Duration::from_millis(200);

impl Connection {
    /// Something of this connection may be due.
    pub(super) fn on_timer(&mut self, now: Instant) {
        let due = |deadline: &mut Option<_>| deadline.take_if(|at| *at <= now).is_some();
        if due(&mut self.deadlines.end) {
            return self.end(None);
        }
        if due(&mut self.deadlines.ack) && self.ack == AckDue::Delayed {
            self.ack = AckDue::Now;
            // A peer that must wait for its acknowledgments is slow: it gets them at once for a while.
            self.quick_acks = self.quick_acks.max(1);
        }
        self.waits_for_pace &= self.paced_until > now;
        self.overdue |= due(&mut self.deadlines.cork);
        if due(&mut self.deadlines.reorder) {
            self.on_reorder_timer(now);
        }
        if due(&mut self.deadlines.probe) && !self.board.is_empty() {
            self.tail_probe = true;
            // The last resort is waited for anew (RFC 8985 section 7.3).
            self.deadlines.retransmit = Some(self.retransmission_deadline(now));
        }
        if due(&mut self.deadlines.retransmit) {
            self.on_retransmission_timer(now);
        }
        if due(&mut self.deadlines.keepalive) {
            self.on_keepalive_timer(now);
        }
    }

    /// RACK looks again.
    fn on_reorder_timer(&mut self, now: Instant) {
        let in_flight = self.in_flight();
        let in_recovery = !matches!(self.phase, Phase::Open);
        let found = self.rack.detect(now, &mut self.board, &self.rtt, in_recovery, self.mss);
        self.deadlines.reorder = found.look_again;
        if found.lost > 0 && !in_recovery {
            self.begin_recovery(now, in_flight);
        }
    }

    /// RFC 6298 section 5: all that is not known to have arrived is lost, and sent again from the start.
    fn on_retransmission_timer(&mut self, now: Instant) {
        if self.is_held_by_window() {
            self.window_probe = self.snd_wnd == 0;
            if self.window_probe && self.snd_up.is_some() {
                // A probe lies before the window; that there is urgent data is said at its edge.
                self.owe_now();
            }
            self.overdue = self.snd_wnd > 0;
            self.rtt.back_off();
            self.deadlines.retransmit = Some(self.retransmission_deadline(now));
            return self.give_up_if_hopeless(now);
        }
        if self.board.is_empty() {
            return;
        }
        self.rtt.back_off();
        self.expirations = self.expirations.saturating_add(1);
        if self.has_given_up(now) {
            return self.end(Some(self.soft_error.unwrap_or(Errno::TimedOut)));
        }
        self.deadlines.retransmit = Some(self.retransmission_deadline(now));
        if matches!(self.state, State::SynSent | State::SynReceived) {
            self.syn_due = self.repeats_syn();
            return;
        }
        self.lose_everything(now);
    }

    /// All that is under way is lost, unless the next acknowledgments show that it was only late.
    fn lose_everything(&mut self, now: Instant) {
        let in_flight = self.in_flight();
        // A peer that has SACKed what it then dropped shows it by never acknowledging the first segment.
        if self.board.first().is_some_and(|first| first.sacked) {
            self.board.forget_sacks();
        }
        self.board.mark_lost(|_| true);
        let first = !matches!(self.phase, Phase::Loss { .. });
        if matches!(self.phase, Phase::Open) {
            self.begin_undo();
        } else if first {
            // A time-out in the midst of recovery is believed.
            self.undo = None;
        }
        if first {
            self.congestion.on_timeout(now, in_flight, self.mss);
        }
        self.congestion.window_mut().cwnd = self.mss;
        self.note_reduction();
        let doubt = Some(Doubt { probed: false }).filter(|_| matches!(self.phase, Phase::Open));
        self.phase = Phase::Loss { recover: self.snd_nxt, doubt };
        (self.tail_probe, self.probed, self.free_segments) = (false, None, 0);
        self.deadlines.probe = None;
        self.deadlines.reorder = None;
        self.duplicate_acks = 0;
    }

    fn has_given_up(&self, now: Instant) -> bool {
        let limit = match self.state {
            State::SynSent => self.settings.tuning.syn_count,
            State::SynReceived => SYN_ACK_RETRIES,
            _ if self.orphan => ORPHAN_RETRIES,
            _ => RETRIES,
        };
        self.expirations > limit || self.is_out_of_patience(now)
    }

    fn is_out_of_patience(&self, now: Instant) -> bool {
        self.settings.user_timeout().is_some_and(|limit| now - self.waiting_since >= limit)
    }

    /// A peer whose window stays closed is patient company, but an orphan's is not waited for without end; nor for long when it holds memory
    /// of which nobody else gets more than is guaranteed (tcp(7), tcp_mem), though its peer may answer for ever.
    fn give_up_if_hopeless(&mut self, now: Instant) {
        let silent = now - self.last_heard > MAX_RTO * 4;
        let short = self.allowed <= self.guaranteed() && self.rtt.backoff() > ORPHAN_PROBES;
        let hopeless = if self.orphan { silent || short } else { silent && self.rtt.backoff() > RETRIES };
        if self.is_out_of_patience(now) || hopeless {
            self.end(Some(Errno::TimedOut));
        }
    }

    fn on_keepalive_timer(&mut self, now: Instant) {
        if !self.settings.keepalive || !matches!(self.state, State::Established | State::CloseWait) {
            return;
        }
        let idle = now - self.last_heard;
        if idle < self.settings.keepalive_idle.span() {
            self.deadlines.keepalive = Some(self.last_heard + self.settings.keepalive_idle.span());
            return;
        }
        if self.keepalive_probes >= self.settings.keepalive_count {
            return self.end(Some(Errno::TimedOut));
        }
        self.keepalive_probes += 1;
        self.keepalive_probe = true;
        self.deadlines.keepalive = Some(now + self.settings.keepalive_interval.span());
    }

    /// Keepalive begins, or ends, with its option or with the connection.
    pub(super) fn arm_keepalive(&mut self) {
        let wanted = self.settings.keepalive && matches!(self.state, State::Established | State::CloseWait);
        self.deadlines.keepalive = wanted.then(|| self.last_heard + self.settings.keepalive_idle.span());
    }

    /// A window that holds data back is probed in time, and a cork holds for a while only.
    pub(super) fn arm_persistence(&mut self, now: Instant) {
        let corked = self.is_corked() && !self.overdue && self.has_unsent() && !self.fin_wanted;
        if !corked {
            self.deadlines.cork = None;
        } else if self.deadlines.cork.is_none() {
            self.deadlines.cork = Some(now + CORK_PATIENCE);
        }
        if self.is_held_by_window() && self.deadlines.retransmit.is_none() {
            self.waiting_since = now;
            self.deadlines.retransmit = Some(self.retransmission_deadline(now));
        }
    }
}
