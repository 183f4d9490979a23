//! What goes out: the question what may be sent now is apart from building it, and is asked when a port has room.
//!
//! A port pulls a connection until it has nothing more to send ([`Connection::determine_transmission`]), so that windows are
//! judged at the last moment. A transmission may be a super-frame of up to 64 KiB.

use rumpnet_wire::tcp::{Flags, Options, SackBlocks, Seq, TcpOption};

use super::{
    connection::{AckDue, Connection, MAX_WINDOW, State},
    recovery::Phase,
    segment::Outline,
};
use crate::{
    buffer::{MAX_SLICES, Payload},
    time::{Duration, Instant},
};

/// Payload bytes of the longest super-frame: an IPv4 packet less the longest headers.
const MAX_PAYLOAD: u32 = 65_535 - 20 - 60;

/// For how long a super-frame may occupy the path.
const BURST: Duration = Duration::from_millis(1);
/// Peers with a round trip shorter than this are in the same house.
const NEARBY: Duration = Duration::from_micros(500);

/// What is to be sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transmission {
    /// SYN, or SYN-ACK.
    Syn,
    /// `len` bytes of the queue from `from` on, and then our FIN.
    Data { from: Seq, len: u32, fin: bool, again: bool },
    /// An acknowledgment alone.
    Acknowledgment,
    /// A segment before the window, to which the peer answers: a probe of a closed window, or keepalive.
    Probe,
}

impl Connection {
    /// What may be sent now, if anything.
    pub(super) fn determine_transmission(&mut self, now: Instant) -> Option<Transmission> {
        if self.syn_due {
            return Some(Transmission::Syn);
        }
        if matches!(self.state, State::SynSent | State::Closed) {
            return None;
        }
        let waits = self.determine_pause(now);
        self.determine_tail_probe()
            .or_else(|| if waits { None } else { self.determine_repetition() })
            .or_else(|| if waits { None } else { self.determine_data() })
            .or_else(|| {
                (self.snd_up.is_some() && self.ack == AckDue::Now).then_some(Transmission::Acknowledgment)
            })
            .or_else(|| (self.window_probe || self.keepalive_probe).then_some(Transmission::Probe))
            .or_else(|| (self.ack == AckDue::Now).then_some(Transmission::Acknowledgment))
    }

    /// Payload bytes of a full segment now: the MSS has room for timestamps, SACK blocks take their place from the payload.
    pub(super) fn segment_size(&self) -> u32 {
        let blocks = self.sack_blocks();
        if blocks == 0 { self.mss } else { self.mss.saturating_sub(4 + 8 * blocks as u32).max(32) }
    }

    /// How many blocks the next segment reports.
    fn sack_blocks(&self) -> usize {
        let told = self.reassembly.as_ref().filter(|_| self.sack_permitted);
        told.map_or(0, |ranges| ranges.count().min(if self.timestamps.is_some() { 3 } else { 4 }))
    }

    /// One segment to be answered: new data if the peer has room for it, else the last that was sent (RFC 8985 section 7.3).
    fn determine_tail_probe(&self) -> Option<Transmission> {
        let last = self.board.last().filter(|_| self.tail_probe)?;
        let size = self.segment_size();
        let unsent = self.unsent();
        let len = unsent.min(size);
        if len > 0 && len <= self.send_window_left() {
            let fin = self.fin_wanted && len == unsent;
            return Some(Transmission::Data { from: self.snd_nxt, len, fin, again: false });
        }
        Some(self.repetition(last.start.later(last.end - size), last.end))
    }

    /// What of the peer's window is not used.
    fn send_window_left(&self) -> u32 {
        self.snd_wnd.saturating_sub(self.snd_nxt - self.snd_una)
    }

    /// What is lost and may be sent again.
    fn determine_repetition(&self) -> Option<Transmission> {
        let room = self.cwnd().saturating_sub(self.in_flight());
        let limit = room.min(self.pacing_rate().map_or_else(|| self.longest(), |_| self.burst()));
        let (from, to) = self.board.next_lost(limit.max(self.segment_size()))?;
        let is_first = self.in_flight() == 0;
        if room < (to - from).min(self.segment_size()) && !is_first {
            return None;
        }
        let limit = if is_first { limit.max(self.segment_size()) } else { limit };
        Some(self.repetition(from, to.earlier(from + limit)))
    }

    fn repetition(&self, from: Seq, to: Seq) -> Transmission {
        let fin = self.fin_sent && to.is_after(self.queue_end());
        let len = to - from - u32::from(fin);
        Transmission::Data { from, len, fin, again: true }
    }

    /// The number after the last byte of the queue.
    pub(super) fn queue_end(&self) -> Seq {
        let syn = u32::from(self.snd_una == self.iss);
        self.snd_una + syn + self.queue.len() as u32
    }

    /// New data, within the windows, in full segments where it can (RFC 9293 section 3.8.6.2.1).
    fn determine_data(&mut self) -> Option<Transmission> {
        if self.state == State::SynReceived || self.fin_sent {
            return None;
        }
        let left = self.queue_end() - self.snd_nxt;
        let fin_next = self.fin_wanted;
        if left == 0 && !fin_next || self.board.is_full() {
            return None;
        }
        let free = u32::from(self.free_segments) * self.mss;
        let room = self.cwnd().saturating_sub(self.in_flight()).max(free);
        let usable = left.min(self.send_window_left()).min(self.burst());
        if room < usable.min(self.segment_size()) || (left > 0 && room == 0) {
            self.cwnd_limited = true;
            return None;
        }
        let len = self.determine_length(left, usable.min(room), room < usable)?;
        let fin = fin_next && len == left;
        (len > 0 || fin).then_some(Transmission::Data { from: self.snd_nxt, len, fin, again: false })
    }

    /// Bytes that leave in one piece: what the path carries in a millisecond, so that on a slow one an acknowledgment does not wait behind a long
    /// super-frame. A peer nearby gets the longest (as Linux sizes them).
    fn burst(&self) -> u32 {
        let longest = self.longest();
        if let Some(rate) = self.pacing_rate() {
            return longest.min(self.paced_burst(rate));
        }
        let Some(srtt) = self.rtt.smoothed() else { return longest };
        if srtt < NEARBY || self.snd_up.is_some() {
            return longest;
        }
        // In slow start twice as much is on its way a round trip later.
        let carried = u64::from(self.cwnd()) * 2 * BURST.as_nanos() / srtt.as_nanos().max(1);
        (carried.min(MAX_PAYLOAD.into()) as u32).max(2 * self.mss)
    }

    /// Bytes that may leave in one piece. An urgent pointer counts from the segment that it is in, so that each of them has its own.
    fn longest(&self) -> u32 {
        if self.snd_up.is_some() { self.segment_size() } else { MAX_PAYLOAD }
    }

    /// How many of `usable` bytes leave now: whole segments, and a remainder only if nothing speaks against it.
    fn determine_length(&mut self, left: u32, usable: u32, limited: bool) -> Option<u32> {
        let whole = usable - usable % self.segment_size();
        self.cwnd_limited |= limited;
        if usable == left && self.may_send_remainder(left % self.segment_size()) {
            return Some(usable);
        }
        if whole > 0 {
            return Some(whole);
        }
        // A window that will never hold a full segment is used when half of the greatest one is open.
        (usable > 0 && usable < left && (usable >= self.max_window / 2 || self.overdue)).then_some(usable)
    }

    /// Nagle's algorithm in Minshall's variant, and corks.
    fn may_send_remainder(&self, remainder: u32) -> bool {
        if remainder == 0 || self.fin_wanted || self.snd_up.is_some() {
            return true;
        }
        if self.is_corked() {
            return self.overdue;
        }
        self.settings.no_delay || self.board.is_empty() || self.snd_sml.is_at_or_before(self.snd_una)
    }

    /// Bytes that were never sent.
    pub(super) fn unsent(&self) -> u32 {
        if self.fin_sent { 0 } else { self.queue_end() - self.snd_nxt }
    }

    /// Whether data waits that was never sent.
    pub(super) fn has_unsent(&self) -> bool {
        self.queue_end() != self.snd_nxt && !self.fin_sent
    }

    /// Whether data waits that a closed or silly window holds back, with nothing under way to hear from.
    pub(super) fn is_held_by_window(&self) -> bool {
        let narrow = self.snd_wnd < self.queue_end() - self.snd_nxt;
        let held = narrow || !self.is_corked() && !self.fin_wanted;
        held && self.has_unsent()
            && self.board.is_empty()
            && !self.waits_for_pace
            && !self.syn_due
            && !matches!(self.state, State::SynSent | State::SynReceived)
    }

    /// The segment of a transmission, and what sending it changes.
    pub(super) fn build(&mut self, now: Instant, transmission: Transmission) -> (Outline, Payload) {
        let (sequence, flags, payload) = match transmission {
            Transmission::Syn => (self.iss, self.syn_flags(), Payload::Empty),
            Transmission::Data { from, len, fin, again } => self.build_data(now, from, len, fin, again),
            Transmission::Acknowledgment => (self.snd_nxt, Flags::ACK, Payload::Empty),
            Transmission::Probe => (self.snd_una - 1, Flags::ACK, Payload::Empty),
        };
        let flags = match transmission {
            Transmission::Syn => flags,
            _ => flags | self.ecn_flags(transmission),
        };
        let options =
            if transmission == Transmission::Syn { self.syn_options(now) } else { self.options(now) };
        let window = self.advertise(transmission == Transmission::Syn);
        let (urg, urgent) = self.urgent_pointer(sequence);
        let outline = Outline {
            source: self.local,
            destination: self.remote,
            sequence,
            acknowledgment: if flags.contains(Flags::ACK) { self.rcv_nxt } else { Seq(0) },
            flags: flags | urg,
            window,
            urgent,
            options,
        };
        self.note_sent(now, transmission);
        (outline, payload)
    }

    fn syn_flags(&self) -> Flags {
        let asks = self.state == State::SynSent;
        let flags = if asks { Flags::SYN } else { Flags::SYN | Flags::ACK };
        flags | self.ecn_setup_flags(asks)
    }

    fn build_data(
        &mut self,
        now: Instant,
        from: Seq,
        len: u32,
        fin: bool,
        again: bool,
    ) -> (Seq, Flags, Payload) {
        let size = self.segment_size();
        let offset = from - self.snd_una;
        let payload = self.queue.slice(offset as usize, len as usize, MAX_SLICES);
        let len = payload.len() as u32;
        let complete = from + len == self.queue_end();
        let fin = fin && complete;
        let end = from + len + u32::from(fin);
        self.pace(now, len);
        let mut flags = Flags::ACK;
        if fin {
            flags |= Flags::FIN;
        }
        if complete && len > 0 {
            flags |= Flags::PSH;
        }
        if again {
            self.board.on_retransmitted(from, end, size.min(u16::MAX.into()) as u16, now);
            self.note_repeated(len.div_ceil(size).max(1));
            let clock = self.timestamp(now).map(|timestamps| timestamps.value);
            self.note_repetition(from, end, clock);
        } else {
            if self.board.is_empty() {
                self.waiting_since = now;
            }
            self.board.on_sent(from, end, size.min(u16::MAX.into()) as u16, now);
            self.snd_nxt = end;
            let segments = (end - from).div_ceil(self.mss).min(255) as u8;
            self.free_segments = self.free_segments.saturating_sub(segments);
            (self.overdue, self.deadlines.cork) = (false, None);
            if !len.is_multiple_of(size) {
                self.snd_sml = end;
            }
        }
        if fin && !self.fin_sent {
            self.fin_sent = true;
            self.on_fin_sent();
        }
        if let Phase::Recovery { prr, .. } = &mut self.phase {
            prr.on_sent(end - from);
        }
        (from, flags, payload)
    }

    fn on_fin_sent(&mut self) {
        self.state = match self.state {
            State::CloseWait => State::LastAck,
            _ => State::FinWait1,
        };
    }

    /// What follows from having sent: timers, and nothing owed.
    fn note_sent(&mut self, now: Instant, transmission: Transmission) {
        match transmission {
            Transmission::Syn => {
                self.syn_due = false;
                if self.board.is_empty() {
                    self.waiting_since = now;
                    self.board.on_sent(self.iss, self.iss + 1, 1, now);
                    self.snd_nxt = self.iss + 1;
                } else {
                    self.note_repeated(1);
                    self.board.on_retransmitted(self.iss, self.iss + 1, 1, now);
                }
                self.deadlines.retransmit = Some(self.retransmission_deadline(now));
            }
            Transmission::Data { again, .. } => {
                if core::mem::take(&mut self.tail_probe) {
                    self.probed = Some((self.snd_nxt, again));
                }
                if self.deadlines.retransmit.is_none() {
                    self.deadlines.retransmit = Some(self.retransmission_deadline(now));
                }
                self.arm_tail_probe(now);
                self.last_sent = now;
            }
            Transmission::Probe => (self.window_probe, self.keepalive_probe) = (false, false),
            Transmission::Acknowledgment => {}
        }
        if self.state != State::SynSent {
            self.ack = AckDue::No;
            self.deadlines.ack = None;
            self.last_ack_sent = self.rcv_nxt;
        }
    }

    /// The window field, and the right edge that it promises. A SYN's is not scaled (RFC 7323 section 2.2).
    pub(super) fn advertise(&mut self, syn: bool) -> u16 {
        let window = self.receive_window().min(MAX_WINDOW);
        let shift = if syn { 0 } else { self.rcv_wscale };
        let field = (window >> shift).min(u16::MAX.into());
        self.rcv_adv = self.rcv_adv.later(self.rcv_nxt + (field << shift));
        field as u16
    }

    /// The options of a SYN, in the order in which Linux sends them.
    fn syn_options(&self, now: Instant) -> Options {
        let mut options = Options::EMPTY;
        let answers = self.state != State::SynSent;
        let mss = self.link_mss;
        let mut push =
            |option: &TcpOption<'_>| options.push(option).expect("a SYN's options fit forty bytes");
        push(&TcpOption::MaximumSegmentSize(mss));
        let timestamps = if answers { self.timestamp(now) } else { Some(self.first_timestamp(now)) };
        let sack = !answers || self.sack_permitted;
        match (timestamps, sack) {
            (Some(timestamps), true) => {
                push(&TcpOption::SackPermitted);
                push(&TcpOption::Timestamps(timestamps));
            }
            (Some(timestamps), false) => {
                push(&TcpOption::Nop);
                push(&TcpOption::Nop);
                push(&TcpOption::Timestamps(timestamps));
            }
            (None, true) => {
                push(&TcpOption::Nop);
                push(&TcpOption::Nop);
                push(&TcpOption::SackPermitted);
            }
            (None, false) => {}
        }
        if !answers || self.rcv_wscale > 0 {
            push(&TcpOption::Nop);
            push(&TcpOption::WindowScale(super::connection::WINDOW_SHIFT));
        }
        options
    }

    fn options(&mut self, now: Instant) -> Options {
        let timestamps = self.timestamp(now);
        let mut options = timestamps.map_or(Options::EMPTY, Options::from_timestamps);
        let count = self.sack_blocks();
        let Some(ranges) = self.reassembly.as_deref_mut().filter(|_| count > 0) else { return options };
        let mut blocks = SackBlocks::default();
        for block in ranges.blocks(count) {
            blocks.push(block).expect("no more were asked for than there is room");
        }
        for option in [TcpOption::Nop, TcpOption::Nop, TcpOption::Sack(blocks)] {
            options.push(&option).expect("timestamps leave room for three blocks");
        }
        options
    }
}
