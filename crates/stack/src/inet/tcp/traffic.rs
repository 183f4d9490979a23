//! What a connection has sent and received, and what kept it from sending more (TCP_INFO, RFC 4898), counted as Linux counts it.
//!
//! The record is made when the first data flows, so that a connection which only waits pays for a place of it alone.

use alloc::boxed::Box;

use rumpnet_proto::{Counter, TrafficReport};
use rumpnet_wire::tcp::{Flags, Seq};

use super::{
    connection::{Connection, State},
    output::Transmission,
    segment::Segment,
};
use crate::{
    context::Context,
    time::{Duration, Instant},
};

/// What a connection that has data to send waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Wait {
    /// It has none.
    #[default]
    Idle,
    /// For the path.
    Path,
    /// For the peer's window.
    Window,
    /// For its writer, who waits for room in the buffer.
    Buffer,
}

/// The account of a connection on which data has flowed.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    told: TrafficReport,
    wait: Wait,
    since: Instant,
    /// The round trip of which the delivery rate is taken: where it ends, when it began, and what was delivered before.
    round: (Seq, Instant, u64),
    /// Bytes known to have arrived, in order or not.
    arrived: u64,
    /// Segments sent again, D-SACKs, and reductions of the window taken back.
    retransmitted: u32,
    duplicates: u32,
    undone: u32,
    /// Until when the path is believed to be narrower than the link.
    narrow_until: Option<Instant>,
}

/// What of a connection the counters of its kernel follow: D-SACKs, marks, their echoes, and what they reduced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EventCounts([u64; 4]);

impl EventCounts {
    const COUNTERS: [Counter; 4] = [
        Counter::TcpDuplicatesReported,
        Counter::TcpMarksReceived,
        Counter::TcpEchoesReceived,
        Counter::TcpReducedByMarks,
    ];

    /// Counts what has happened since `before`.
    pub(super) fn count_since(self, before: Self, cx: &mut Context) {
        if self != before {
            let pairs = self.0.into_iter().zip(before.0);
            let counted = Self::COUNTERS.into_iter().zip(pairs);
            counted.for_each(|(counter, (now, then))| cx.add(counter, now - then));
        }
    }
}

impl Connection {
    /// The account as it is now.
    pub(super) fn traffic_report(&self, now: Instant) -> TrafficReport {
        let Some(traffic) = self.traffic.as_deref() else { return self.first_traffic() };
        let mut told = traffic.told.clone();
        add_wait(&mut told, traffic.wait, now - traffic.since);
        told
    }

    /// What was sent and received before any data was.
    fn first_traffic(&self) -> TrafficReport {
        let answered = self.snd_una != self.iss;
        TrafficReport {
            // The SYN of a connection that the peer began is not counted, as on Linux.
            bytes_acked: u64::from(answered && !self.passive),
            delivered: answered.into(),
            segments_sent: self.first_segments.0.into(),
            segments_received: self.first_segments.1.into(),
            ..TrafficReport::default()
        }
    }

    fn traffic_mut(&mut self) -> &mut Traffic {
        if self.traffic.is_none() {
            let told = self.first_traffic();
            self.traffic = Some(Box::new(Traffic { told, ..Traffic::default() }));
        }
        self.traffic.as_mut().expect("made just now")
    }

    /// Something leaves, with so much payload in segments of `size`.
    pub(super) fn note_leaving(&mut self, now: Instant, transmission: Transmission, len: u32, size: u32) {
        // A SYN-ACK belongs to no connection yet, as on Linux.
        if self.state == State::SynReceived && transmission == Transmission::Syn {
            return;
        }
        let count = len.div_ceil(size).max(1);
        if self.traffic.is_none() && len == 0 && self.first_segments.0 < u8::MAX {
            self.first_segments.0 += 1;
            return;
        }
        let (next, starts) = (self.snd_nxt, self.board.count() == 1);
        let traffic = self.traffic_mut();
        traffic.told.segments_sent += u64::from(count);
        if let Transmission::Data { again, .. } = transmission
            && len > 0
        {
            traffic.told.data_segments_sent += u64::from(count);
            traffic.told.bytes_sent += u64::from(len);
            if again {
                traffic.told.bytes_retransmitted += u64::from(len);
            } else if starts {
                traffic.round = (next, now, traffic.arrived);
            }
        }
    }

    /// A segment of this connection has come in.
    pub(super) fn note_arriving(&mut self, segment: &Segment) {
        if self.state == State::SynReceived && segment.has(Flags::SYN) {
            return;
        }
        if self.traffic.is_none() && segment.len == 0 && self.first_segments.1 < u8::MAX {
            self.first_segments.1 += 1;
            return;
        }
        let count = segment.gso_size.map_or(1, |size| segment.len.div_ceil(size.max(1).into()).max(1));
        let traffic = self.traffic_mut();
        traffic.told.segments_received += u64::from(count);
        if segment.len > 0 {
            traffic.told.data_segments_received += u64::from(count);
        }
    }

    /// What of the stream has come in, in order.
    pub(super) fn note_received(&mut self, bytes: u32) {
        if let Some(traffic) = self.traffic.as_mut() {
            traffic.told.bytes_received += u64::from(bytes);
        }
    }

    /// A segment has come before its turn.
    pub(super) fn note_early(&mut self, segment: &Segment) {
        let count = segment.gso_size.map_or(1, |size| segment.len.div_ceil(size.max(1).into()).max(1));
        self.traffic_mut().told.out_of_order += u64::from(count);
    }

    /// An acknowledgment has advanced so far, and says that so many bytes and segments have arrived.
    pub(super) fn note_delivered(
        &mut self,
        now: Instant,
        advanced: u32,
        (bytes, segments): (u32, u32),
        echoes: bool,
    ) {
        let (una, next) = (self.snd_una, self.snd_nxt);
        // The SYN of a connection that the peer began is not counted.
        let counted = advanced.saturating_sub((self.passive && una - advanced == self.iss).into());
        let Some(traffic) = self.traffic.as_mut() else { return };
        traffic.told.bytes_acked += u64::from(counted);
        traffic.told.delivered += u64::from(segments);
        if echoes {
            traffic.told.delivered_marked += u64::from(segments);
        }
        traffic.arrived += u64::from(bytes);
        let (end, began, before) = traffic.round;
        if advanced > 0 && una.is_at_or_after(end) {
            let took = (now - began).as_nanos().max(1);
            let rate = u128::from(traffic.arrived - before) * 1_000_000_000 / u128::from(took);
            traffic.told.delivery_rate = u64::try_from(rate).unwrap_or(u64::MAX);
            traffic.round = (next, now, traffic.arrived);
        }
    }

    /// Something was sent again, in so many segments.
    pub(super) fn note_repeated(&mut self, segments: u32) {
        // What a peer may only pretend to want costs nothing more.
        if self.state != State::SynReceived {
            let retransmitted = &mut self.traffic_mut().retransmitted;
            *retransmitted = retransmitted.saturating_add(segments);
        }
    }

    /// What it waits for may have changed.
    pub(super) fn follow_wait(&mut self, now: Instant) {
        if self.traffic.is_none() {
            return;
        }
        let wait = self.determine_wait();
        let Some(traffic) = self.traffic.as_mut() else { return };
        traffic.settle(now);
        traffic.wait = wait;
    }

    fn determine_wait(&self) -> Wait {
        let unsent = self.unsent();
        if self.queue.len() == 0 && self.board.is_empty() {
            Wait::Idle
        } else if unsent > 0 && self.is_held_by_peer(unsent) {
            Wait::Window
        } else if unsent == 0 && !self.has_room_to_write(self.send_limit()) && self.may_send() {
            Wait::Buffer
        } else {
            Wait::Path
        }
    }

    /// Whether the path would carry a segment that the peer has no room for.
    fn is_held_by_peer(&self, unsent: u32) -> bool {
        let wanted = unsent.min(self.segment_size());
        let window = self.snd_wnd.saturating_sub(self.snd_nxt - self.snd_una);
        window < wanted && self.cwnd().saturating_sub(self.in_flight()) >= wanted
    }

    pub(super) fn event_counts(&self) -> EventCounts {
        self.traffic.as_ref().map_or_else(EventCounts::default, |traffic| {
            let told = &traffic.told;
            let marks = [told.marks_received, told.echoes_received, told.reductions_by_marks];
            EventCounts([traffic.duplicates.into(), marks[0], marks[1], marks[2]])
        })
    }

    /// Segments sent again since the connection began.
    pub(super) fn retransmitted(&self) -> u64 {
        self.traffic.as_ref().map_or(0, |traffic| traffic.retransmitted.into())
    }

    /// Segments that the peer has reported to have come twice.
    pub(super) fn duplicates(&self) -> u32 {
        self.traffic.as_ref().map_or(0, |traffic| traffic.duplicates)
    }

    /// Reductions of the window that were taken back.
    pub(super) fn undone_count(&self) -> u32 {
        self.traffic.as_ref().map_or(0, |traffic| traffic.undone)
    }

    pub(super) fn narrow_until(&self) -> Option<Instant> {
        self.traffic.as_ref().and_then(|traffic| traffic.narrow_until)
    }

    pub(super) fn set_narrow_until(&mut self, until: Option<Instant>) {
        self.traffic_mut().narrow_until = until;
    }

    pub(super) fn note_duplicate(&mut self) {
        let duplicates = &mut self.traffic_mut().duplicates;
        *duplicates = duplicates.saturating_add(1);
    }

    pub(super) fn note_undone(&mut self) {
        let undone = &mut self.traffic_mut().undone;
        *undone = undone.saturating_add(1);
    }

    pub(super) fn note_mark(&mut self) {
        self.traffic_mut().told.marks_received += 1;
    }

    pub(super) fn note_echo(&mut self, reduces: bool) {
        let told = &mut self.traffic_mut().told;
        told.echoes_received += 1;
        told.reductions_by_marks += u64::from(reduces);
    }
}

impl Traffic {
    /// The time until now belongs to what was waited for.
    fn settle(&mut self, now: Instant) {
        add_wait(&mut self.told, self.wait, now - self.since);
        self.since = now;
    }
}

const fn add_wait(told: &mut TrafficReport, wait: Wait, span: Duration) {
    let nanos = span.as_nanos();
    match wait {
        Wait::Idle => return,
        Wait::Path => {}
        Wait::Window => told.window_limited_ns += nanos,
        Wait::Buffer => told.buffer_limited_ns += nanos,
    }
    told.busy_ns += nanos;
}
