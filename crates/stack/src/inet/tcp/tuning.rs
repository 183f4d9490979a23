//! The less common options of a socket (tcp(7), socket(7)): what they are, what may be set, and what they change.
//!
//! Option by option, beside Linux and NetBSD, they are in `docs/notes/tcp-options.md`.

use rumpnet_proto::Errno;
use rumpnet_wire::tcp::Flags;
use serde::{Deserialize, Serialize};

use super::{
    connection::{AckDue, Connection, HEADERS, MAX_WINDOW, State},
    options::TcpOption,
    segment::Segment,
};
use crate::time::{Duration, Instant};

/// Segments acknowledged at once after TCP_QUICKACK, as at the start.
const QUICK_ACKS: u8 = 16;
/// The least and the greatest segment that may be asked for (TCP_MIN_MSS and MAX_TCP_WINDOW of Linux).
const SEGMENTS: core::ops::RangeInclusive<u16> = 88..=32_767;
/// The greatest number of SYNs (MAX_TCP_SYNCNT).
const MAX_SYNS: u8 = 127;
/// The longest that an orphan may stay in FIN-WAIT-2 (TCP_FIN_TIMEOUT_MAX).
const MAX_FIN_WAIT: Duration = Duration::from_secs(120);

/// Options that few set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuning {
    /// TCP_LINGER2: how many seconds a connection that nobody holds waits for the peer's FIN; of no time, it is forgotten at once.
    pub fin_wait_secs: u32,
    /// TCP_WINDOW_CLAMP: the greatest window to be advertised, in bytes.
    pub window_clamp: u32,
    /// TCP_NOTSENT_LOWAT: a socket is writable while fewer bytes than these wait to be sent for the first time.
    pub unsent_low_water: u32,
    /// SO_RCVLOWAT: a socket is readable when so many bytes have come.
    pub receive_low_water: u32,
    /// TCP_MAXSEG: payload bytes of a segment at most, both ways; 0 is what the link carries.
    pub max_segment: u16,
    /// TCP_SYNCNT: how often a SYN is repeated before its user is told (tcp_syn_retries); after 6 times the last wait ends at 127 s.
    pub syn_count: u8,
    /// TCP_DEFER_ACCEPT, in SYN-ACKs: so often at most, a connection is given to a listener's user only with its first data.
    pub defer_accept: u8,
}

impl Tuning {
    /// Payload bytes of a segment on a path of this MTU, options not counted.
    pub(super) fn segment_on(&self, mtu: u32) -> u32 {
        let fits = mtu.saturating_sub(HEADERS);
        if self.max_segment == 0 { fits } else { fits.min(self.max_segment.into()) }
    }

    pub(super) const DEFAULT: Self = Self {
        fin_wait_secs: 60,
        window_clamp: MAX_WINDOW,
        unsent_low_water: u32::MAX,
        receive_low_water: 1,
        max_segment: 0,
        syn_count: 6,
        defer_accept: 0,
    };

    /// TCP_DEFER_ACCEPT as a span: what so many SYN-ACKs cover.
    pub fn defer_span(&self) -> Duration {
        waits().take(self.defer_accept.into()).fold(Duration::ZERO, |all, wait| all + wait)
    }

    /// EINVAL for a value out of range, ENOPROTOOPT for what is not there.
    pub(super) fn set(&mut self, option: TcpOption) -> Result<(), Errno> {
        match option {
            TcpOption::MaxSegment(size) if size == 0 || SEGMENTS.contains(&size) => self.max_segment = size,
            TcpOption::SynCount(count) if (1..=MAX_SYNS).contains(&count) => self.syn_count = count,
            TcpOption::DeferAccept(span) => self.defer_accept = syn_acks_in(span),
            TcpOption::FinWait(span) => self.fin_wait_secs = span.min(MAX_FIN_WAIT).as_secs() as u32,
            TcpOption::WindowClamp(bytes) if bytes > 0 => self.window_clamp = bytes.clamp(1152, MAX_WINDOW),
            TcpOption::UnsentLowWater(0) => self.unsent_low_water = u32::MAX,
            TcpOption::UnsentLowWater(bytes) => self.unsent_low_water = bytes,
            TcpOption::ReceiveLowWater(bytes) => {
                self.receive_low_water = bytes.clamp(1, MAX_WINDOW / 2);
            }
            TcpOption::Absent(_) => return Err(Errno::NoProtoOpt),
            _ => return Err(Errno::Inval),
        }
        Ok(())
    }
}

/// How many SYN-ACKs leave in a span: after 1, 2, 4 … seconds (secs_to_retrans() of Linux).
fn syn_acks_in(span: Duration) -> u8 {
    let mut left = span;
    let needed = waits().take_while(|wait| {
        let more = !left.is_zero();
        left = left.saturating_sub(*wait);
        more
    });
    needed.take(u8::MAX.into()).count() as u8
}

/// How long each SYN-ACK is waited for.
fn waits() -> impl Iterator<Item = Duration> {
    (0..u32::from(u8::MAX))
        .map(|number| (Duration::from_secs(1) * (1 << number.min(7))).min(super::rtt::MAX_RTO))
}

impl Connection {
    /// After an option was set on a connection: what of it holds at once.
    pub(super) fn follow_tuning(&mut self, option: TcpOption) {
        let tuning = self.settings.tuning;
        match option {
            // As on NetBSD, what is agreed on can only be lowered.
            TcpOption::MaxSegment(size) if size > 0 => self.mss = self.mss.min(size.into()),
            TcpOption::WindowClamp(_) => self.receive_limit = self.receive_limit.min(tuning.window_clamp),
            // What is waited for must fit.
            TcpOption::ReceiveLowWater(bytes) => {
                self.receive_limit = self.receive_limit.max(bytes.saturating_mul(2).min(tuning.window_clamp));
            }
            TcpOption::QuickAck(on) => {
                self.quick_acks = if on { QUICK_ACKS } else { 0 };
                if on && self.ack == AckDue::Delayed {
                    self.owe_now();
                }
            }
            _ => {}
        }
    }

    /// Whether enough has come for a reader that wants so much at once, or nothing more can come.
    pub(super) fn has_enough(&self) -> bool {
        let len = self.readable_len();
        let wanted = self.settings.tuning.receive_low_water as usize;
        if len >= wanted || len == 0 {
            return len >= wanted;
        }
        // A mark is where a read ends; a closed window, an error and the end of the stream are where no more will come.
        self.urgent.is_some()
            || self.error.is_some()
            || self.state == State::Closed
            || self.is_at_end()
            || self.receive_window() < self.mss
    }

    /// Whether so little is unsent that a writer should be woken (TCP_NOTSENT_LOWAT).
    pub(super) fn has_sent_enough(&self) -> bool {
        let limit = self.settings.tuning.unsent_low_water;
        limit == u32::MAX || self.unsent() < limit
    }

    /// Whether the last acknowledgment of a handshake waits for data (TCP_DEFER_ACCEPT): a while later our SYN-ACK is repeated, and is the last
    /// one to be answered in vain.
    pub(super) fn defers(&mut self, segment: &Segment) -> bool {
        let says_nothing = segment.len == 0 && !segment.has(Flags::FIN);
        let limit = self.settings.tuning.defer_accept;
        self.deferred = self.listener.is_some()
            && says_nothing
            && self.expirations < limit
            && self.deadlines.retransmit.is_some();
        self.deferred
    }

    /// Whether a SYN-ACK is repeated now, or spared since it was answered.
    pub(super) const fn repeats_syn(&self) -> bool {
        !self.deferred || self.expirations >= self.settings.tuning.defer_accept
    }

    /// When a connection that nobody holds gives up on the peer's FIN.
    pub(super) fn fin_wait_end(&self, now: Instant) -> Instant {
        now + Duration::from_secs(self.settings.tuning.fin_wait_secs.into())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::options::Absent, *};

    #[test]
    fn a_span_covers_as_many_syn_acks_as_on_linux() {
        for (seconds, count) in
            [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (247, 8), (248, 9), (10_000, 90)]
        {
            assert_eq!(syn_acks_in(Duration::from_secs(seconds)), count, "{seconds}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused_and_odd_ones_brought_into_it() {
        let mut tuning = Tuning::DEFAULT;
        for wrong in [
            TcpOption::MaxSegment(87),
            TcpOption::MaxSegment(40_000),
            TcpOption::SynCount(0),
            TcpOption::SynCount(128),
            TcpOption::WindowClamp(0),
        ] {
            assert_eq!(tuning.set(wrong), Err(Errno::Inval), "{wrong:?}");
        }
        assert_eq!(tuning, Tuning::DEFAULT);
        for absent in Absent::ALL {
            assert_eq!(tuning.set(TcpOption::Absent(*absent)), Err(Errno::NoProtoOpt), "{absent:?}");
        }
        tuning.set(TcpOption::WindowClamp(1)).expect("raised");
        tuning.set(TcpOption::FinWait(Duration::MAX)).expect("lowered");
        tuning.set(TcpOption::ReceiveLowWater(0)).expect("raised");
        assert_eq!((tuning.window_clamp, tuning.fin_wait_secs, tuning.receive_low_water), (1152, 120, 1));
    }
}
