//! A connection: its variables, by the names of RFC 9293 section 3.3.1, and what a user may ask of it.
//!
//! What comes in is judged in `input`, acknowledgments in `acknowledge`, what goes out in `output`, time in `timers`. Here is what they share.

use alloc::boxed::Box;
use core::{net::SocketAddr, num::NonZeroU8};

use rumpnet_proto::Errno;
use rumpnet_wire::tcp::{Seq, Timestamps};

use super::{
    congestion::Algorithm,
    ecn::Marks,
    rack::Rack,
    reassembly::Reassembly,
    receive_queue::ReceiveQueue,
    recovery::Phase,
    rtt::RoundTrip,
    scoreboard::Scoreboard,
    segment::SegmentOptions,
    send_queue::SendQueue,
    traffic::Traffic,
    tuning::Tuning,
    undo::{Ground, Undo},
    urgent::Mark,
};
use crate::{
    buffer::Payload,
    config::{Config, EcnMode},
    endpoint::Readiness,
    reuse::Reuse,
    slab::Key,
    time::{Duration, Instant},
    timer::TimerId,
};

/// The MSS of a peer that names none (RFC 9293 section 3.7.1).
pub(super) const DEFAULT_MSS: u16 = 536;
/// Headers without options.
pub(super) const HEADERS: u32 = 40;
/// Bytes of the timestamp option with its padding.
pub(super) const TIMESTAMPS_LEN: u32 = 12;
/// The window shift that we offer: 65,535 << 8 is just below 16 MiB.
pub(super) const WINDOW_SHIFT: u8 = 8;
/// The greatest receive window.
pub(super) const MAX_WINDOW: u32 = 65_535 << WINDOW_SHIFT;

/// Where a connection stands (RFC 9293 section 3.3.2); in LISTEN is a [`super::listen::Listener`], not a connection.
pub(crate) use rumpnet_proto::TcpState as State;

/// Whether an acknowledgment is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckDue {
    No,
    /// With the next data, or when its timer says so.
    Delayed,
    Now,
}

/// What the peer's timestamps are for (RFC 7323).
#[derive(Clone, Copy, Debug)]
pub(super) struct TimestampState {
    /// TS.Recent, and when it was set.
    pub(super) recent: u32,
    pub(super) recent_at: Instant,
    /// What is added to the clock, so that it does not tell when we booted.
    pub(super) offset: u32,
}

/// When something is due.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deadlines {
    /// Retransmission, or the next probe of a closed window.
    pub(super) retransmit: Option<Instant>,
    /// Tail loss probe.
    pub(super) probe: Option<Instant>,
    /// RACK's next look.
    pub(super) reorder: Option<Instant>,
    /// A delayed acknowledgment.
    pub(super) ack: Option<Instant>,
    /// Keepalive.
    pub(super) keepalive: Option<Instant>,
    /// The end of a cork's patience.
    pub(super) cork: Option<Instant>,
    /// The end of TIME-WAIT, or of an orphan's patience in FIN-WAIT-2.
    pub(super) end: Option<Instant>,
}

impl Deadlines {
    pub(super) fn earliest(&self) -> Option<Instant> {
        let all = [self.retransmit, self.probe, self.reorder, self.ack, self.keepalive, self.cork, self.end];
        all.into_iter().flatten().min()
    }
}

/// A span as options keep it: in milliseconds, rounded up, so that only nothing is nothing; 49 days at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Millis(u32);

impl Millis {
    pub(super) fn of(span: Duration) -> Self {
        Self(u32::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX))
    }

    pub(super) const fn span(self) -> Duration {
        Duration::from_millis(self.0 as u64)
    }
}

/// Options that a user sets, and that an accepted connection inherits from its listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) no_delay: bool,
    pub(crate) cork: bool,
    pub(crate) keepalive: bool,
    pub(crate) keepalive_idle: Millis,
    pub(crate) keepalive_interval: Millis,
    pub(crate) keepalive_count: u8,
    /// TCP_USER_TIMEOUT; none if zero.
    pub(crate) user_timeout: Millis,
    /// SO_OOBINLINE: the urgent byte stays in the stream.
    pub(crate) urgent_inline: bool,
    /// SO_LINGER: how long closing waits; for no time it resets.
    pub(crate) linger_ms: u32,
    pub(crate) ttl: Option<NonZeroU8>,
    pub(crate) tos: u8,
    pub(crate) receive_limit: u32,
    /// The send buffer to begin with, and the greatest that it may grow to with the path; both are the same if the user fixed it.
    pub(crate) send_limit: u32,
    pub(crate) send_most: u32,
    /// Whether data is paced, and the greatest rate in bytes per second.
    pub(crate) paced: bool,
    pub(crate) max_pacing_rate: u64,
    /// Whether the user fixed the receive buffer, so that it does not follow the path.
    pub(crate) receive_fixed: bool,
    pub(crate) reno: bool,
    /// Who may ask for explicit congestion notification.
    pub(crate) ecn: EcnMode,
    /// Whether its address may be one that is not ours.
    pub(crate) bind_any: bool,
    /// Whether routers may fragment what is sent (IP_MTU_DISCOVER).
    pub(crate) may_fragment: bool,
    /// Who may share its address.
    pub(crate) reuse: Reuse,
    pub(crate) tuning: Tuning,
}

impl Settings {
    /// The value of `linger_ms` that stands for none.
    pub(super) const NO_LINGER: u32 = u32::MAX;

    pub(super) fn user_timeout(&self) -> Option<Duration> {
        Some(self.user_timeout.span()).filter(|span| !span.is_zero())
    }

    pub(super) fn linger(&self) -> Option<Duration> {
        let set = self.linger_ms != Self::NO_LINGER;
        set.then(|| Duration::from_millis(self.linger_ms.into()))
    }

    pub(super) fn set_linger(&mut self, span: Option<Duration>) {
        self.linger_ms = span.map_or(Self::NO_LINGER, |span| Millis::of(span).0.min(Self::NO_LINGER - 1));
    }

    /// What sysctl(8) may have changed since the last socket was opened.
    pub(super) fn follow(&mut self, config: &Config) {
        self.receive_limit = config.tcp_receive_bytes;
        self.send_limit = config.tcp_send_bytes;
        self.send_most = config.tcp_send_most_bytes.max(config.tcp_send_bytes);
        self.ecn = config.tcp_ecn;
        self.paced = config.tcp_pacing;
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) state: State,
    pub(crate) settings: Settings,
    /// The listener that will accept it.
    pub(crate) listener: Option<Key>,
    /// Whether the peer began it.
    pub(crate) passive: bool,
    /// Nobody holds it any more.
    pub(crate) orphan: bool,
    /// At the end of the kernel: its peer has not got everything yet.
    pub(super) draining: bool,
    pub(crate) error: Option<Errno>,
    /// What the path said last; the reason if the connection times out.
    pub(super) soft_error: Option<Errno>,
    /// Whether it stands in the list of its port.
    pub(super) listed: bool,
    /// Whether news of it wait to be heard.
    pub(super) announced: bool,
    /// What it is charged for, in bytes of memory, and the greatest that one of its buffers may be now beyond what is guaranteed.
    pub(super) charged: u32,
    pub(super) allowed: u32,
    /// Whether it stands in the list of those whose writers wait for memory, and of those that may be pruned.
    pub(super) awaits_memory: bool,
    pub(super) prunable: bool,
    pub(super) timer: Option<TimerId>,
    pub(super) deadlines: Deadlines,

    // Sending.
    pub(super) iss: Seq,
    pub(super) snd_una: Seq,
    pub(super) snd_nxt: Seq,
    pub(super) snd_wnd: u32,
    pub(super) snd_wl1: Seq,
    pub(super) snd_wl2: Seq,
    /// The greatest window that the peer ever offered.
    pub(super) max_window: u32,
    pub(super) snd_wscale: u8,
    /// The end of the last segment that was smaller than the MSS (Minshall's variant of Nagle's algorithm).
    pub(super) snd_sml: Seq,
    /// Payload bytes of a full segment.
    pub(super) mss: u32,
    pub(super) queue: SendQueue,
    /// The last acknowledgment of the handshake has come, and data is waited for.
    pub(super) deferred: bool,
    /// More was promised to follow, as if corked.
    pub(super) more: bool,
    /// The end of what is urgent of it (SND.UP).
    pub(super) snd_up: Option<Seq>,
    /// A FIN follows the queue.
    pub(super) fin_wanted: bool,
    pub(super) fin_sent: bool,
    /// What a cork or a silly window holds back has waited long enough.
    pub(super) overdue: bool,
    /// A SYN or SYN-ACK is to be sent (again).
    pub(super) syn_due: bool,
    pub(super) board: Scoreboard,
    pub(super) rack: Rack,
    pub(super) rtt: RoundTrip,
    pub(super) congestion: Algorithm,
    pub(super) phase: Phase,
    /// What the last reduction of the window can be taken back to, and why it was, until that is counted.
    pub(super) undo: Option<Box<Undo>>,
    pub(super) undone: Option<Ground>,
    /// What was sent and received, once data has flowed; and the segments before, sent and received.
    pub(super) traffic: Option<Box<Traffic>>,
    pub(super) first_segments: (u8, u8),
    /// Explicit congestion notification.
    pub(super) marks: Marks,
    /// Duplicate acknowledgments of a peer without SACK.
    pub(super) duplicate_acks: u32,
    /// Retransmission time-outs in a row.
    pub(super) expirations: u8,
    /// Since when something is unacknowledged, or held back by a closed window.
    pub(super) waiting_since: Instant,
    /// New segments that may leave whatever the congestion window says (RFC 5682 section 2.1).
    pub(super) free_segments: u8,
    /// The last segment is to be sent again as a probe of the tail.
    pub(super) tail_probe: bool,
    /// Where a probe of the tail ended that is not accounted for yet, and whether it was a repetition (TLP.end_seq, TLP.is_retrans).
    pub(super) probed: Option<(Seq, bool)>,
    /// A closed window is to be probed.
    pub(super) window_probe: bool,
    pub(super) keepalive_probe: bool,
    pub(super) keepalive_probes: u8,
    /// The window was what stopped the sender.
    pub(super) cwnd_limited: bool,
    /// Where the present round trip of congestion control ends.
    pub(super) round_end: Seq,
    pub(super) last_sent: Instant,
    /// Until when paced data waits, and whether there is some that does.
    pub(super) paced_until: Instant,
    pub(super) waits_for_pace: bool,
    pub(super) last_heard: Instant,

    // Receiving.
    pub(super) rcv_nxt: Seq,
    /// The right edge that was advertised; it never moves back.
    pub(super) rcv_adv: Seq,
    pub(super) rcv_wscale: u8,
    pub(super) last_ack_sent: Seq,
    pub(super) ack: AckDue,
    /// Until when segments that cannot be right are not answered again.
    pub(super) silent_until: Instant,
    /// Full segments that are acknowledged at once after the start.
    pub(super) quick_acks: u8,
    pub(super) received: ReceiveQueue,
    pub(super) receive_limit: u32,
    /// What the window has opened to: it grows with what comes, so that no more is promised than a peer has shown to have use for.
    pub(super) opened: u32,
    pub(super) reassembly: Option<Box<Reassembly>>,
    /// Where the peer's urgent data ends, unless all of it was read (RCV.UP).
    pub(super) urgent: Option<Mark>,
    /// The number of the peer's FIN, once seen.
    pub(super) fin_at: Option<Seq>,
    pub(super) read_shut: bool,
    /// Bytes that the user took in the present round trip, when it began, and what it was the last time (receive autotuning).
    pub(super) drained: u32,
    pub(super) drained_since: Instant,

    // Agreed on with the SYNs.
    /// What fits our link, which we tell the peer.
    pub(super) link_mss: u16,
    /// What is added to the clock in our timestamps before the peer's are known.
    pub(super) first_offset: u32,
    pub(super) peer_mss: u16,
    pub(super) sack_permitted: bool,
    pub(super) timestamps: Option<TimestampState>,
}

impl Connection {
    /// A connection that has sent and received nothing yet.
    // long: one line a variable of RFC 9293 section 3.3.1 and its extensions.
    pub(super) fn new(
        local: SocketAddr,
        remote: SocketAddr,
        state: State,
        settings: Settings,
        iss: Seq,
        path_mtu: u32,
        now: Instant,
    ) -> Self {
        let mss = settings.tuning.segment_on(path_mtu).max(u32::from(DEFAULT_MSS).min(64));
        let congestion = Algorithm::named(if settings.reno { "reno" } else { "cubic" }, mss);
        Self {
            local,
            remote,
            state,
            settings,
            listener: None,
            passive: false,
            orphan: false,
            draining: false,
            error: None,
            soft_error: None,
            listed: false,
            announced: false,
            charged: 0,
            allowed: u32::MAX,
            awaits_memory: false,
            prunable: false,
            timer: None,
            deadlines: Deadlines::default(),
            iss,
            snd_una: iss,
            snd_nxt: iss,
            snd_wnd: 0,
            snd_wl1: Seq(0),
            snd_wl2: Seq(0),
            max_window: 0,
            snd_wscale: 0,
            snd_sml: iss,
            mss,
            queue: SendQueue::default(),
            deferred: false,
            more: false,
            snd_up: None,
            fin_wanted: false,
            fin_sent: false,
            overdue: false,
            syn_due: true,
            board: Scoreboard::default(),
            rack: Rack::new(iss),
            rtt: RoundTrip::new(),
            congestion: congestion.expect("both names are known"),
            phase: Phase::Open,
            undo: None,
            undone: None,
            traffic: None,
            first_segments: (0, 0),
            marks: Marks::default(),
            duplicate_acks: 0,
            expirations: 0,
            waiting_since: now,
            free_segments: 0,
            tail_probe: false,
            probed: None,
            window_probe: false,
            keepalive_probe: false,
            keepalive_probes: 0,
            cwnd_limited: false,
            round_end: iss,
            last_sent: now,
            paced_until: Instant::ZERO,
            waits_for_pace: false,
            last_heard: now,
            rcv_nxt: Seq(0),
            rcv_adv: Seq(0),
            rcv_wscale: WINDOW_SHIFT,
            last_ack_sent: Seq(0),
            ack: AckDue::No,
            silent_until: Instant::ZERO,
            quick_acks: 16,
            received: ReceiveQueue::default(),
            receive_limit: settings.receive_limit.min(settings.tuning.window_clamp),
            opened: if settings.receive_fixed { u32::MAX } else { 0 },
            reassembly: None,
            urgent: None,
            fin_at: None,
            read_shut: false,
            drained: 0,
            drained_since: now,
            link_mss: mss.min(u16::MAX.into()) as u16,
            first_offset: 0,
            peer_mss: DEFAULT_MSS,
            sack_permitted: true,
            timestamps: None,
        }
    }

    /// What the peer's SYN says: its number and window, and the options that both sides know.
    pub(super) fn learn_from_syn(
        &mut self,
        (sequence, window): (Seq, u16),
        options: &SegmentOptions,
        offset: u32,
        now: Instant,
    ) {
        self.rcv_nxt = sequence + 1;
        self.rcv_adv = self.rcv_nxt;
        self.last_ack_sent = self.rcv_nxt;
        self.snd_wl1 = sequence;
        self.max_window = self.max_window.max(window.into());
        self.peer_mss = options.mss.unwrap_or(DEFAULT_MSS).max(64);
        self.sack_permitted = options.sack_permitted;
        match options.window_scale {
            Some(shift) => self.snd_wscale = shift,
            None => (self.snd_wscale, self.rcv_wscale) = (0, 0),
        }
        self.timestamps = options.timestamps.map(|Timestamps { value, .. }| TimestampState {
            recent: value,
            recent_at: now,
            offset,
        });
        self.settle_mss(self.mss + HEADERS);
        *self.congestion.window_mut() = super::congestion::Window::initial(self.mss);
    }

    /// Follows the path's MTU: a segment fits it with its options, and the peer's MSS.
    pub(super) fn settle_mss(&mut self, path_mtu: u32) {
        let options = if self.timestamps.is_some() { TIMESTAMPS_LEN } else { 0 };
        let fits = self.settings.tuning.segment_on(path_mtu).min(self.peer_mss.into());
        self.mss = fits.saturating_sub(options).max(32);
    }

    /// Bytes of a full packet.
    pub(super) const fn packet_len(&self) -> u32 {
        let options = if self.timestamps.is_some() { TIMESTAMPS_LEN } else { 0 };
        self.mss + HEADERS + options
    }

    /// Our own link has become narrower: what is sent from now on fits it. A wider one may be followed by a narrow path, and changes nothing.
    pub(super) fn fit_link(&mut self, mtu: u32) {
        let options = if self.timestamps.is_some() { TIMESTAMPS_LEN } else { 0 };
        self.mss = self.mss.min(mtu.saturating_sub(HEADERS + options).max(32));
    }

    /// The window that may be under way now.
    pub(super) const fn cwnd(&self) -> u32 {
        match &self.phase {
            Phase::Recovery { prr, .. } => prr.cwnd(),
            Phase::Open | Phase::Loss { .. } => self.congestion.window().cwnd,
        }
    }

    /// The window to advertise, in bytes: never less than was promised, and grown only by what is worth it (RFC 9293
    /// section 3.8.6.2.2).
    pub(super) fn receive_window(&self) -> u32 {
        let (early, pinned) =
            self.reassembly.as_ref().map_or((0, 0), |ranges| (ranges.len(), ranges.pinned()));
        // Three quarters of what is pinned may be headers and the like; segments of a few bytes pin more.
        let held = (self.received.len() + early).max((self.received.pinned() + pinned) / 4);
        // Without scaling, 65,535 is all that can be said.
        let most = usize::from(u16::MAX) << self.rcv_wscale;
        let limit = self.receive_limit.min(self.allowed.max(self.guaranteed()));
        let opens = self.opened.max(u32::from(u16::MAX)) as usize;
        let free = (limit as usize).saturating_sub(held).min(most).min(opens) as u32;
        let promised = self.rcv_adv - self.rcv_nxt;
        let promised = if self.rcv_adv.is_after(self.rcv_nxt) { promised } else { 0 };
        let worth = self.mss.min(self.receive_limit / 2);
        if free >= promised + worth { free } else { promised }
    }

    /// Whether only full segments leave.
    pub(super) const fn is_corked(&self) -> bool {
        self.settings.cork || self.more
    }

    /// The send buffer, in bytes: twice what may be under way, so that a round trip's worth waits while another travels (as Linux has it).
    pub(super) fn send_limit(&self) -> u32 {
        self.send_limit_of_path().min(self.allowed.max(self.guaranteed()))
    }

    /// The same if there were memory without end.
    pub(super) fn send_limit_of_path(&self) -> u32 {
        let window = self.congestion.window();
        // What a loss takes for a moment is not taken from the writer.
        let known = if window.ssthresh == u32::MAX { 0 } else { window.ssthresh };
        let follows = window.cwnd.max(known).saturating_mul(2);
        self.settings.send_limit.max(follows.min(self.settings.send_most))
    }

    /// A writer is woken for what is worth it: a third of the buffer, as on Linux.
    pub(super) fn has_room_to_write(&self, limit: u32) -> bool {
        self.queue.held() <= limit as usize / 3 * 2
    }

    /// Whether the user may still send.
    pub(super) const fn may_send(&self) -> bool {
        matches!(self.state, State::SynSent | State::SynReceived | State::Established | State::CloseWait)
            && !self.fin_wanted
    }

    /// Whether everything the peer will ever send was received.
    pub(super) fn is_at_end(&self) -> bool {
        self.read_shut || self.fin_at.is_some_and(|fin| self.rcv_nxt.is_after(fin))
    }

    pub(crate) fn readiness(&self) -> Readiness {
        let connected = !matches!(self.state, State::SynSent | State::SynReceived);
        let dead = self.state == State::Closed;
        let room = self.has_room_to_write(self.send_limit());
        Readiness {
            readable: connected && (self.has_enough() || self.is_at_end()) || dead || self.error.is_some(),
            writable: connected && (room && self.has_sent_enough() || !self.may_send())
                || dead
                || self.error.is_some(),
            error: self.error.is_some(),
            closed: dead,
            urgent: self.has_urgent(),
            ended: self.is_at_end(),
            delivered: self.is_drained(),
            queued_errors: false,
        }
    }

    /// Takes up to `limit` bytes that have come in, in order, and not beyond urgent data.
    pub(super) fn take_received(&mut self, limit: usize) -> Payload {
        let limit = if self.urgent.is_some() { self.pass_mark(limit) } else { limit };
        self.received.take(limit)
    }

    /// The same without taking it (MSG_PEEK).
    pub(super) fn peek_received(&self, limit: usize) -> Payload {
        let (passed, left) = self.look_past_mark(limit);
        self.received.peek(passed, left)
    }

    /// It is over: buffers go, the reason stays for the user to read.
    pub(super) fn end(&mut self, error: Option<Errno>) {
        self.state = State::Closed;
        self.error = self.error.or(error);
        self.queue.clear();
        self.board = Scoreboard::default();
        self.reassembly = None;
        self.undo = None;
        self.deadlines = Deadlines::default();
        self.ack = AckDue::No;
        self.syn_due = false;
        self.tail_probe = false;
        self.window_probe = false;
        self.keepalive_probe = false;
    }

    /// Our clock as the peer sees it, in milliseconds (RFC 7323 section 5.4).
    pub(super) fn timestamp(&self, now: Instant) -> Option<Timestamps> {
        let state = self.timestamps?;
        Some(Timestamps { value: (now.as_millis() as u32).wrapping_add(state.offset), echo: state.recent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_leaves_room_in_a_kibibyte_for_its_place_its_address_and_its_timer() {
        assert!(size_of::<Connection>() <= 816, "{}", size_of::<Connection>());
    }
}
