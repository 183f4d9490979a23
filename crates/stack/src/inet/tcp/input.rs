//! What comes in: RFC 9293 section 3.10.7, in its order, with the defences of RFC 5961 and PAWS (RFC 7323 section 5).

use rumpnet_proto::{DropReason, Errno};
use rumpnet_wire::tcp::{Flags, Seq};

use super::{
    acknowledge::AckValidity,
    connection::{AckDue, Connection, State},
    segment::Segment,
};
use crate::{
    buffer::Payload,
    time::{Duration, Instant},
};

/// How long an acknowledgment may wait for data to travel with.
const DELAYED_ACK: Duration = Duration::from_millis(40);
/// Twice the maximum segment lifetime, as Linux has it.
pub(super) const TIME_WAIT: Duration = Duration::from_secs(60);
/// Between two answers to segments without text that cannot be right, so that two sides which disagree about their numbers do not
/// answer each other for ever (RFC 5961 section 7; as Linux has it).
const ANSWER_INTERVAL: Duration = Duration::from_millis(500);
/// After so long TS.Recent is not believed any more (RFC 7323 section 5.5).
const TIMESTAMP_LIFETIME: Duration = Duration::from_secs(24 * 24 * 3600);

/// What a segment calls for beyond what it changed in the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was taken.
    Accepted,
    /// It was taken, and the connection is established now; what it bore beyond that may have been dropped.
    Established(Option<DropReason>),
    /// It is dropped, for this reason; an acknowledgment may be owed.
    Drop(DropReason),
    /// It is dropped, and not answered, since one like it was a moment ago.
    Spare(DropReason),
    /// It is dropped, and answered with a reset of its own numbers.
    Reset(DropReason),
    /// It is dropped, and answered with a challenge (RFC 5961), which is limited in rate.
    Challenge(DropReason),
}

impl Connection {
    /// A segment of this connection has come in; keeping its payload pins so many bytes.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        segment: &Segment,
        payload: (Payload, usize),
        offset: u32,
    ) -> Verdict {
        self.last_heard = now;
        self.keepalive_probes = 0;
        match self.state {
            State::SynSent => self.receive_in_syn_sent(now, segment, offset),
            State::Closed => Verdict::Reset(DropReason::TcpNoConnection),
            _ => {
                let before = self.rcv_nxt;
                let verdict = self.receive_synchronized(now, segment, payload);
                self.note_received(self.rcv_nxt - before);
                verdict
            }
        }
    }

    /// Section 3.10.7.3.
    fn receive_in_syn_sent(&mut self, now: Instant, segment: &Segment, offset: u32) -> Verdict {
        let acks = segment.has(Flags::ACK);
        if acks
            && (segment.acknowledgment.is_at_or_before(self.iss)
                || segment.acknowledgment.is_after(self.snd_nxt))
        {
            let reason = DropReason::TcpAckUnacceptable;
            return if segment.has(Flags::RST) { Verdict::Drop(reason) } else { Verdict::Reset(reason) };
        }
        if segment.has(Flags::RST) {
            if acks {
                self.end(Some(Errno::ConnRefused));
            }
            return if acks { Verdict::Accepted } else { Verdict::Drop(DropReason::TcpResetUnacceptable) };
        }
        if !segment.has(Flags::SYN) {
            return Verdict::Drop(DropReason::TcpUnexpected);
        }
        self.learn_from_syn((segment.sequence, segment.window), &segment.options, offset, now);
        if !acks {
            // Both sides opened at once.
            self.state = State::SynReceived;
            self.syn_due = true;
            self.snd_wnd = segment.window.into();
            return Verdict::Accepted;
        }
        self.hear_ecn_answer(segment);
        self.on_acknowledgment(now, segment);
        self.take_syn_window(segment);
        self.state = State::Established;
        self.ack = AckDue::Now;
        Verdict::Established(None)
    }

    /// The window of a SYN is not scaled.
    fn take_syn_window(&mut self, segment: &Segment) {
        self.snd_wnd = segment.window.into();
        self.max_window = self.max_window.max(self.snd_wnd);
        (self.snd_wl1, self.snd_wl2) = (segment.sequence, segment.acknowledgment);
    }

    /// Section 3.10.7.4.
    fn receive_synchronized(
        &mut self,
        now: Instant,
        segment: &Segment,
        payload: (Payload, usize),
    ) -> Verdict {
        if self.state == State::SynReceived && is_repeated_syn(self.rcv_nxt, segment) {
            return self.receive_repeated_syn(segment);
        }
        if let Some(verdict) = self.determine_refusal(now, segment) {
            return verdict;
        }
        if segment.has(Flags::RST) {
            return self.receive_reset(segment);
        }
        if segment.has(Flags::SYN) {
            // On a synchronised connection it is challenged (RFC 5961 section 4.2).
            return Verdict::Challenge(DropReason::TcpSynUnacceptable);
        }
        if !segment.has(Flags::ACK) {
            return Verdict::Drop(DropReason::TcpUnexpected);
        }
        let was_embryo = self.state == State::SynReceived;
        if was_embryo {
            let good = segment.acknowledgment.is_after(self.snd_una)
                && segment.acknowledgment.is_at_or_before(self.snd_nxt);
            if !good {
                return Verdict::Reset(DropReason::TcpAckUnacceptable);
            }
            if self.settings.tuning.defer_accept > 0 && self.defers(segment) {
                return Verdict::Accepted;
            }
            self.state = State::Established;
            self.syn_due = false;
            self.snd_wnd = u32::from(segment.window) << self.snd_wscale;
            self.snd_wl2 = segment.acknowledgment;
        }
        match self.determine_ack_validity(segment.acknowledgment) {
            AckValidity::Impossible => return Verdict::Challenge(DropReason::TcpAckUnacceptable),
            AckValidity::Old => {}
            AckValidity::Good => self.on_acknowledgment(now, segment),
        }
        // Not before: the clock of somebody who has only guessed a number would make those of the peer old.
        self.remember_timestamp(now, segment);
        self.follow_our_fin(now);
        if self.orphan && segment.len > 0 && segment.end().is_after(self.rcv_nxt) {
            // Nobody will read it (RFC 9293 section 3.6.1, RFC 2525 section 2.17).
            self.end(Some(Errno::ConnReset));
            return Verdict::Reset(DropReason::TcpClosed);
        }
        self.note_fin(segment);
        let taken = self.receive_data(now, segment, payload);
        self.receive_fin(now, segment);
        match taken {
            _ if was_embryo => Verdict::Established(taken.err()),
            Err(reason) => Verdict::Drop(reason),
            Ok(()) => Verdict::Accepted,
        }
    }

    /// Timestamps and numbers outside of what can be (steps 0 and 1). What is refused is acknowledged, unless it is a reset.
    fn determine_refusal(&mut self, now: Instant, segment: &Segment) -> Option<Verdict> {
        let owes = !segment.has(Flags::RST);
        let refused = |connection: &mut Self, reason| {
            if owes && segment.len == 0 && !connection.may_answer(now) {
                return Some(Verdict::Spare(reason));
            }
            if owes {
                connection.ack = AckDue::Now;
            }
            Some(Verdict::Drop(reason))
        };
        if self.timestamps.is_some() && segment.options.timestamps.is_none() && owes {
            // Silently (RFC 7323 section 3.2).
            return Some(Verdict::Drop(DropReason::TcpTimestampOld));
        }
        if self.is_old_by_timestamp(now, segment) && owes {
            return refused(self, DropReason::TcpTimestampOld);
        }
        let window = self.receive_window();
        if is_acceptable(self.rcv_nxt, window, segment) {
            return None;
        }
        let (start, end) = (segment.sequence, segment.end());
        if segment.space() > 0 && end.is_at_or_before(self.rcv_nxt) {
            // It came before: said with a D-SACK, so that the sender learns that it was needless.
            if self.sack_permitted && segment.len > 0 {
                self.reassembly.get_or_insert_default().set_duplicate(start, end);
            }
            if self.state == State::TimeWait {
                self.deadlines.end = Some(now + TIME_WAIT);
            }
            // Two sides that repeat themselves to each other would else never hear what the other acknowledges.
            self.receive_acknowledgment_alone(now, segment);
            return refused(self, DropReason::TcpDuplicate);
        }
        // The same for what only reaches beyond a closed window.
        if start == self.rcv_nxt {
            self.receive_acknowledgment_alone(now, segment);
        }
        refused(self, DropReason::TcpOutOfWindow)
    }

    /// Whether a segment that cannot be right may be answered again; then the next ones must wait.
    pub(super) fn may_answer(&mut self, now: Instant) -> bool {
        let may = now >= self.silent_until;
        if may {
            self.silent_until = now + ANSWER_INTERVAL;
        }
        may
    }

    /// The acknowledgment of a segment whose text is refused still counts.
    fn receive_acknowledgment_alone(&mut self, now: Instant, segment: &Segment) {
        if segment.has(Flags::ACK)
            && !segment.has(Flags::SYN)
            && !segment.has(Flags::RST)
            && self.state != State::SynReceived
            && self.determine_ack_validity(segment.acknowledgment) == AckValidity::Good
        {
            self.on_acknowledgment(now, segment);
            self.follow_our_fin(now);
        }
    }

    /// PAWS.
    fn is_old_by_timestamp(&self, now: Instant, segment: &Segment) -> bool {
        let (Some(state), Some(timestamps)) = (self.timestamps, segment.options.timestamps) else {
            return false;
        };
        let older = (timestamps.value.wrapping_sub(state.recent) as i32) < 0;
        older && now - state.recent_at < TIMESTAMP_LIFETIME
    }

    /// TS.Recent follows segments that hold the last acknowledged number (RFC 7323 section 4.3).
    fn remember_timestamp(&mut self, now: Instant, segment: &Segment) {
        let (Some(state), Some(timestamps)) = (&mut self.timestamps, segment.options.timestamps) else {
            return;
        };
        let newer = (timestamps.value.wrapping_sub(state.recent) as i32) >= 0;
        if newer && segment.sequence.is_at_or_before(self.last_ack_sent) {
            state.recent = timestamps.value;
            state.recent_at = now;
        }
    }

    /// A reset counts only at the very number that is expected; elsewhere in the window it is challenged (RFC 5961 section 3.2).
    fn receive_reset(&mut self, segment: &Segment) -> Verdict {
        if segment.sequence != self.rcv_nxt {
            return Verdict::Challenge(DropReason::TcpResetUnacceptable);
        }
        let error = match self.state {
            State::SynReceived => Some(Errno::ConnRefused),
            State::TimeWait => None,
            State::CloseWait => Some(Errno::Pipe),
            _ => Some(Errno::ConnReset),
        };
        self.end(error);
        Verdict::Accepted
    }

    /// The SYN that began this came again: our SYN-ACK was lost, or both sides opened at once and this is the other's SYN-ACK.
    fn receive_repeated_syn(&mut self, segment: &Segment) -> Verdict {
        if segment.has(Flags::ACK) && segment.acknowledgment == self.snd_nxt {
            self.syn_due = false;
            return self.finish_simultaneous_open(segment);
        }
        self.syn_due = true;
        Verdict::Drop(DropReason::TcpDuplicate)
    }

    fn finish_simultaneous_open(&mut self, segment: &Segment) -> Verdict {
        let now = self.last_heard;
        self.on_acknowledgment(now, segment);
        self.take_syn_window(segment);
        self.state = State::Established;
        self.ack = AckDue::Now;
        Verdict::Established(None)
    }

    /// The acknowledgment may have been that of our FIN.
    fn follow_our_fin(&mut self, now: Instant) {
        if !self.fin_sent || self.snd_una != self.snd_nxt {
            return;
        }
        match self.state {
            State::FinWait1 => {
                self.state = State::FinWait2;
                if self.orphan {
                    // Nobody waits for the peer's FIN but we ourselves (tcp(7), tcp_fin_timeout).
                    self.deadlines.end = Some(self.fin_wait_end(now));
                }
            }
            State::Closing => self.begin_time_wait(now),
            State::LastAck => self.end(None),
            _ => {}
        }
    }

    pub(super) fn begin_time_wait(&mut self, now: Instant) {
        self.state = State::TimeWait;
        self.deadlines = super::connection::Deadlines { end: Some(now + TIME_WAIT), ..self.deadlines };
        self.deadlines.retransmit = None;
        self.deadlines.keepalive = None;
    }

    /// Step 7: the segment's text, cut to the window.
    fn receive_data(
        &mut self,
        now: Instant,
        segment: &Segment,
        (payload, pins): (Payload, usize),
    ) -> Result<(), DropReason> {
        if segment.has(Flags::URG) {
            self.receive_urgent_pointer(segment);
        }
        if segment.len == 0 {
            return Ok(());
        }
        if !matches!(self.state, State::Established | State::FinWait1 | State::FinWait2) {
            return Err(DropReason::TcpClosed);
        }
        self.receive_mark(segment);
        let (start, payload) = self.cut_to_window(segment, payload);
        if payload.is_empty() {
            // All of it lies beyond the peer's FIN.
            self.ack = AckDue::Now;
            return Err(DropReason::TcpClosed);
        }
        if start != self.rcv_nxt {
            self.note_early(segment);
            self.ack = AckDue::Now;
            if self.allowed == 0 {
                // As if it had never come: it is not reported.
                return Err(DropReason::TcpMemoryFull);
            }
            let kept = self.reassembly.get_or_insert_default().insert(start, &payload, pins);
            return if kept { Ok(()) } else { Err(DropReason::TcpReassemblyFull) };
        }
        let (payload, pins) = match self.determine_keepable(payload, pins) {
            Ok(kept) => kept,
            Err(reason) => {
                self.ack = AckDue::Now;
                return Err(reason);
            }
        };
        let filled = self.reassembly.as_ref().is_some_and(|ranges| !ranges.is_empty());
        self.accept(payload, pins);
        while let Some((more, pins)) =
            self.reassembly.as_mut().and_then(|ranges| ranges.next_in_order(self.rcv_nxt))
        {
            self.accept(more, pins);
        }
        if self.reassembly.as_ref().is_some_and(|ranges| !ranges.has_news()) {
            self.reassembly = None;
        }
        self.owe_acknowledgment(now, segment, filled);
        Ok(())
    }

    /// What of a segment is new and within the window.
    fn cut_to_window(&mut self, segment: &Segment, payload: Payload) -> (Seq, Payload) {
        let start = segment.sequence.later(self.rcv_nxt);
        if segment.sequence.is_before(self.rcv_nxt) && self.sack_permitted {
            let known = self.rcv_nxt;
            self.reassembly.get_or_insert_default().set_duplicate(segment.sequence, known);
        }
        let skip = (start - segment.sequence).min(segment.len);
        let right = self.rcv_nxt + self.receive_window();
        let right = self.fin_at.map_or(right, |fin| fin.earlier(right));
        let end = (segment.sequence + segment.len).earlier(right);
        let keep = if end.is_after(start) { end - start } else { 0 };
        if skip == 0 && keep == segment.len {
            return (start, payload);
        }
        (start, payload.slice(skip as usize..(skip + keep) as usize))
    }

    /// The next bytes of the stream.
    fn accept(&mut self, payload: Payload, pins: usize) {
        let len = payload.len() as u32;
        self.rcv_nxt += len;
        if self.allowed == u32::MAX {
            self.opened = self.opened.max(u16::MAX.into()).saturating_add(2 * len);
        }
        if self.read_shut {
            return;
        }
        self.received.push(payload, pins);
    }

    /// Every second full segment is acknowledged at once (RFC 9293 section 3.8.6.3), the first ones and those around a gap each.
    fn owe_acknowledgment(&mut self, now: Instant, segment: &Segment, filled: bool) {
        let owed = self.rcv_nxt - self.last_ack_sent;
        let quick = self.quick_acks > 0;
        self.quick_acks = self.quick_acks.saturating_sub(1);
        let full = segment.gso_size.map_or(self.mss, u32::from);
        if filled || quick || owed >= 2 * full || self.reassembly.is_some() {
            self.ack = AckDue::Now;
        } else if self.ack == AckDue::No {
            self.ack = AckDue::Delayed;
            self.deadlines.ack = Some(now + DELAYED_ACK);
        }
    }

    /// Where the peer's FIN stands, known before it is its turn: what lies beyond is nothing that a peer can have said.
    fn note_fin(&mut self, segment: &Segment) {
        let fin = segment.sequence + segment.len;
        let within = fin.is_at_or_before(self.rcv_nxt + self.receive_window());
        if !segment.has(Flags::FIN) || self.fin_at.is_some() || !within {
            return;
        }
        self.fin_at = Some(fin);
        if let Some(ranges) = &mut self.reassembly {
            ranges.cut(fin);
        }
    }

    /// Step 8: the peer has no more to say, once all that it said has come.
    fn receive_fin(&mut self, now: Instant, segment: &Segment) {
        if self.fin_at != Some(self.rcv_nxt) {
            if segment.has(Flags::FIN) {
                // It is out of order (RFC 5681 section 4.2).
                self.ack = AckDue::Now;
            }
            return;
        }
        self.rcv_nxt += 1;
        self.rcv_adv = self.rcv_adv.later(self.rcv_nxt);
        match self.state {
            State::Established if segment.len == 0 && self.ack != AckDue::Now => {
                // Mostly our own end follows at once and says it, too: a segment less, and a peer that is woken once (as on Linux).
                self.ack = AckDue::Delayed;
                self.deadlines.ack = Some(now + DELAYED_ACK);
            }
            _ => self.ack = AckDue::Now,
        }
        match self.state {
            State::Established | State::SynReceived => self.state = State::CloseWait,
            State::FinWait1 => self.state = State::Closing,
            State::FinWait2 => self.begin_time_wait(now),
            _ => {}
        }
    }
}

/// The peer's SYN has the number just before the window.
fn is_repeated_syn(rcv_nxt: Seq, segment: &Segment) -> bool {
    segment.has(Flags::SYN) && !segment.has(Flags::RST) && segment.sequence + 1 == rcv_nxt
}

/// The four cases of section 3.10.7.4, step 1.
fn is_acceptable(rcv_nxt: Seq, window: u32, segment: &Segment) -> bool {
    let (start, space) = (segment.sequence, segment.space());
    match (space, window) {
        (0, 0) => start == rcv_nxt,
        (0, window) => start.is_within(rcv_nxt, window),
        (_, 0) => false,
        (space, window) => {
            start.is_within(rcv_nxt, window) || (start + (space - 1)).is_within(rcv_nxt, window)
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use super::*;
    use crate::inet::tcp::segment::SegmentOptions;

    fn segment(sequence: u32, len: u32) -> Segment {
        Segment {
            foreign: false,
            source: SocketAddr::from(([10, 0, 0, 1], 1)),
            destination: SocketAddr::from(([10, 0, 0, 2], 2)),
            interface: 1,
            sequence: Seq(sequence),
            acknowledgment: Seq(0),
            flags: Flags::ACK,
            window: 0,
            urgent: 0,
            len,
            gso_size: None,
            options: SegmentOptions::default(),
            ecn: rumpnet_wire::ip::Ecn::NotCapable,
        }
    }

    #[test]
    fn acceptance_is_the_table_of_rfc_9293() {
        let cases = [
            (100, 0, 0, true),
            (101, 0, 0, false),
            (100, 0, 10, true),
            (109, 0, 10, true),
            (110, 0, 10, false),
            (99, 0, 10, false),
            (100, 1, 0, false),
            (95, 5, 10, false),
            (95, 6, 10, true),
            (109, 50, 10, true),
            (110, 50, 10, false),
        ];
        for (sequence, len, window, acceptable) in cases {
            let segment = segment(sequence, len);
            assert_eq!(is_acceptable(Seq(100), window, &segment), acceptable, "{sequence} {len} {window}");
        }
    }
}
