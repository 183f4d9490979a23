//! TCP (RFC 9293) with timestamps and window scaling (RFC 7323), SACK (RFC 2018), RACK-TLP (RFC 8985), PRR (RFC 9937) and CUBIC
//! (RFC 9438).
//!
//! [`Tcp`] holds every socket of the protocol: bound, listening, connected. A segment is read in [`segment`], finds its
//! connection in `demux`, and is judged in `input`; what may be sent is asked of a connection when its port has room (`output`).
//! News for users are the keys of sockets whose readiness may have changed.
//!
//! Not here: probing for the path MTU.

mod acknowledge;
mod chores;
mod congestion;
mod connection;
mod cookie;
mod demux;
mod drain;
mod ecn;
mod errors;
mod flow;
mod input;
mod listen;
mod memory;
mod options;
mod output;
mod pacing;
mod rack;
mod reassembly;
mod receive_queue;
mod recovery;
mod report;
mod rtt;
mod scoreboard;
pub(crate) mod segment;
mod send_queue;
mod tenancy;
mod timers;
mod traffic;
mod tuning;
mod undo;
mod urgent;
mod user;

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::{hash::Hasher as _, net::SocketAddr, num::NonZeroU8};

use rumpnet_proto::{Counter, DropReason, Errno};
use rumpnet_wire::{
    ip::Protocol,
    ipv4,
    tcp::{Flags, Options, Seq},
};
use siphasher::sip::SipHasher24;

use crate::{
    buffer::{Payload, Received},
    config::Config,
    context::{Context, Event, Timer},
    endpoint::Endpoint,
    inet::{Inet, ipv4::Outgoing, route::Path},
    link::Link,
    random::{Random, Seed},
    reuse::{Reuse, Uses},
    slab::{Key, Slab},
    time::{Duration, Instant},
};
use chores::Chores;
use connection::{Connection, Millis};
use demux::{Demux, Pair};
use flow::Held;
use input::Verdict;
use listen::Listener;
use memory::Shortage;
use receive_queue::SLICE_COST;
use segment::{Outline, Segment};

pub(crate) use connection::{Settings, State};
pub use drain::{Resets, Undelivered};
pub use flow::Flow;
pub use options::{Absent, TcpOption, TcpSettings};
pub use report::{TcpInfo, TcpQueues};
pub use tuning::Tuning;
pub use user::{SendMode, Shutdown};

/// Challenges sent in a second (RFC 5961 section 7): so many and, at random, up to as many again and once more, because a stranger
/// who knew the number could find out by counting whether his guesses at others' connections were challenged (CVE-2016-5696).
const CHALLENGES_PER_SECOND: u32 = 500;

/// A TCP socket.
enum Socket {
    /// Neither listening nor connected; perhaps bound.
    Idle {
        local: Option<SocketAddr>,
        settings: Box<Settings>,
    },
    Listener(Box<Listener>),
    /// A connection request to an any-address listener, not decided yet.
    Held(Box<Held>),
    Connection(Box<Connection>),
}

/// All TCP sockets of a kernel.
pub(crate) struct Tcp {
    sockets: Slab<Socket>,
    demux: Demux,
    /// What addresses are taken, and by what.
    uses: Uses,
    /// The kernel is over: nobody connects or listens any more.
    over: bool,
    /// Connections that may have something to send, by port; those of the loopback come last.
    ready: Vec<VecDeque<Key>>,
    looped: VecDeque<Key>,
    /// Sockets whose readiness may have changed.
    news: Vec<Key>,
    chores: Chores,
    shortage: Shortage,
    secret: Seed,
    /// The second, and how many challenges are left in it.
    challenges: (u64, u32),
    defaults: Settings,
}

impl Tcp {
    pub(crate) fn new(config: &Config, random: &mut Random) -> Self {
        Self {
            sockets: Slab::new(config.sockets),
            demux: Demux::new(random),
            uses: Uses::default(),
            over: false,
            ready: Vec::new(),
            looped: VecDeque::new(),
            news: Vec::new(),
            chores: Chores::default(),
            shortage: Shortage::default(),
            secret: random.next_seed(),
            challenges: (0, 0),
            defaults: Settings {
                no_delay: false,
                cork: false,
                keepalive: false,
                keepalive_idle: Millis::of(Duration::from_secs(7200)),
                keepalive_interval: Millis::of(Duration::from_secs(75)),
                keepalive_count: 9,
                user_timeout: Millis::of(Duration::ZERO),
                urgent_inline: false,
                linger_ms: Settings::NO_LINGER,
                ttl: None,
                tos: 0,
                receive_limit: config.tcp_receive_bytes,
                send_limit: config.tcp_send_bytes,
                send_most: config.tcp_send_most_bytes.max(config.tcp_send_bytes),
                receive_fixed: false,
                paced: config.tcp_pacing,
                max_pacing_rate: pacing::UNLIMITED,
                reno: false,
                ecn: config.tcp_ecn,
                bind_any: false,
                reuse: Reuse::default(),
                may_fragment: false,
                tuning: Tuning::DEFAULT,
            },
        }
    }

    fn connection_mut(&mut self, key: Key) -> Option<&mut Connection> {
        match self.sockets.value_mut(key)? {
            Socket::Connection(connection) => Some(connection),
            _ => None,
        }
    }

    fn connection(&self, key: Key) -> Option<&Connection> {
        match self.sockets.value(key)? {
            Socket::Connection(connection) => Some(connection),
            _ => None,
        }
    }

    /// The connection of a pair of addresses.
    fn find(&self, pair: Pair) -> Option<Key> {
        self.demux.connection(pair, |key| pair_of(&self.sockets, key))
    }

    /// Lets segments find a connection.
    fn enter_connection(&mut self, cx: &mut Context, key: Key) {
        let Self { sockets, demux, .. } = self;
        if let Some(pair) = pair_of(sockets, key) {
            demux.connect(pair, key, |known| pair_of(sockets, known));
        }
        self.move_in(cx, key);
    }

    /// A segment has come in; the cursor of `packet` is at its payload.
    pub(crate) fn receive(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        segment: &Segment,
        packet: &mut Received,
    ) {
        let pair = (segment.destination, segment.source);
        let found = self.find(pair).filter(|key| !self.gives_way(cx, *key, segment));
        let Some(key) = found else {
            return self.receive_for_nobody(cx, link, inet, segment, packet);
        };
        if self.is_held(key) {
            return self.receive_for_held(cx, link, inet, key, segment, packet);
        }
        if self.has_no_place(key, segment) {
            return cx.drop_received(segment.interface, DropReason::TcpListenQueueFull, packet);
        }
        if segment.len > 0 {
            self.make_room(cx);
        }
        let offset = self.timestamp_offset(pair.0, pair.1);
        let allowance = cx.allowance();
        let Some(connection) = self.connection_mut(key) else { return };
        connection.allowed = allowance;
        let (before, mark) = (connection.readiness(), connection.urgent);
        let counts = connection.event_counts();
        connection.note_arriving(segment);
        // What is refused is shown whole to captures of drops, so the packet is kept until the verdict.
        let payload = packet.clone().into_payload();
        let pins = packet.pinned() + SLICE_COST * payload.slices().len();
        let verdict = connection.receive(cx.now, segment, (payload, pins), offset);
        let changed = connection.readiness() != before || segment.len > 0;
        let undone = connection.undone.take();
        connection.event_counts().count_since(counts, cx);
        undone.into_iter().for_each(|ground| cx.count(ground.counter()));
        match verdict {
            Verdict::Accepted => {}
            Verdict::Established(_) if self.has_lost_its_listener(key) => {
                cx.drop_received(segment.interface, DropReason::TcpNoConnection, packet);
                self.send_reset(cx, link, inet, segment);
                return self.remove(cx, key);
            }
            Verdict::Established(dropped) => {
                dropped.into_iter().for_each(|reason| cx.drop_received(segment.interface, reason, packet));
                self.on_established(cx, key);
            }
            Verdict::Drop(reason) => cx.drop_received(segment.interface, reason, packet),
            Verdict::Spare(reason) => {
                cx.count(Counter::TcpAnswersSpared);
                cx.drop_received(segment.interface, reason, packet);
            }
            Verdict::Reset(reason) => {
                cx.drop_received(segment.interface, reason, packet);
                self.send_reset(cx, link, inet, segment);
            }
            Verdict::Challenge(reason) => {
                cx.drop_received(segment.interface, reason, packet);
                self.challenge(cx, key);
            }
        }
        if segment.has(Flags::URG) {
            self.count_urgent(cx, key, mark);
        }
        if changed {
            self.tell(key);
        }
        self.settle(cx, link, inet, key);
    }

    /// An old connection in TIME-WAIT makes way for a new one of the same addresses (RFC 6191).
    fn gives_way(&mut self, cx: &mut Context, key: Key, segment: &Segment) -> bool {
        let Some(connection) = self.connection(key) else { return false };
        let opens = segment.has(Flags::SYN) && !segment.has(Flags::ACK) && !segment.has(Flags::RST);
        let gives = connection.state == State::TimeWait && opens && connection.is_older_than(segment);
        if gives && let Some(connection) = self.connection_mut(key) {
            // Its user, if there is one, may still read what has come.
            connection.end(None);
            self.account(cx, key);
            self.settle_closed(cx, key);
        }
        gives
    }

    /// No connection has these addresses: a listener may, else the sender is told so (RFC 9293 section 3.10.7.1).
    fn receive_for_nobody(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        segment: &Segment,
        packet: &Received,
    ) {
        let flow = || self.hash(b'l', segment.destination, segment.source);
        let bound = self.demux.listener(segment.destination, segment.foreign, flow);
        let any = || self.demux.any(segment.interface, segment.destination.port());
        match bound.or_else(any) {
            // A router that does not forward has nothing to say of what is not for it.
            None if segment.foreign => {
                cx.drop_received(segment.interface, DropReason::TcpNoConnection, packet)
            }
            Some(key) if !segment.has(Flags::RST) => {
                self.receive_for_listener(cx, link, inet, key, segment, packet);
            }
            _ => {
                cx.drop_received(segment.interface, DropReason::TcpNoConnection, packet);
                if !segment.has(Flags::RST) {
                    self.send_reset(cx, link, inet, segment);
                }
            }
        }
    }

    /// A reset in answer to a segment that belongs to nothing: with the numbers that its sender expects.
    fn send_reset(&mut self, cx: &mut Context, link: &mut Link, inet: &mut Inet, segment: &Segment) {
        let (sequence, acknowledgment, flags) = if segment.has(Flags::ACK) {
            (segment.acknowledgment, Seq(0), Flags::RST)
        } else {
            (Seq(0), segment.end(), Flags::RST | Flags::ACK)
        };
        let outline = Outline {
            source: segment.destination,
            destination: segment.source,
            sequence,
            acknowledgment,
            flags,
            window: 0,
            urgent: 0,
            options: Options::EMPTY,
        };
        let path = inet.determine_path(cx, link, outline.destination.ip(), Some(outline.source.ip()));
        let Ok(path) = path else { return cx.count(Counter::TcpUnroutable) };
        cx.count(Counter::TcpResetsSent);
        let _counted = emit(cx, link, inet, &path, &outline, Payload::Empty, None);
    }

    /// An acknowledgment that makes an honest peer repeat itself with the right numbers.
    fn challenge(&mut self, cx: &mut Context, key: Key) {
        let now = cx.now;
        if self.challenges.0 != now.as_secs() {
            let more = cx.random.below(2 * CHALLENGES_PER_SECOND);
            self.challenges = (now.as_secs(), CHALLENGES_PER_SECOND + more);
        }
        let Some(connection) = self.connection_mut(key) else { return };
        if !connection.may_answer(now) {
            return cx.count(Counter::TcpAnswersSpared);
        }
        let Some(left) = self.challenges.1.checked_sub(1) else {
            return cx.count(Counter::TcpChallengesSpared);
        };
        self.challenges.1 = left;
        cx.count(Counter::TcpChallengesSent);
        if let Some(connection) = self.connection_mut(key) {
            connection.owe_now();
        }
    }

    /// After anything that changed a connection: its timer, its place among those that may send, its end.
    fn settle(&mut self, cx: &mut Context, link: &mut Link, inet: &Inet, key: Key) {
        self.follow_drain(cx, key);
        self.account(cx, key);
        self.cut_time_wait(cx, key);
        let now = cx.now;
        let Some(connection) = self.connection_mut(key) else { return };
        if connection.state == State::Closed {
            return self.settle_closed(cx, key);
        }
        connection.arm_persistence(now);
        connection.follow_wait(now);
        if connection.has_something_to_send() && !connection.listed {
            let path_remote = connection.remote.ip();
            let path = inet.determine_path(cx, link, path_remote, Some(connection.local.ip()));
            let Ok(path) = path else {
                // Without a way it is tried again when its timer says so.
                return self.rearm(cx, key);
            };
            let known = inet.path_mtus.find(now, path_remote).filter(|_| cx.config.mtu_discovery);
            let Some(connection) = self.connection_mut(key) else { return };
            connection.follow_path(now, path.mtu, known);
            let port = link.interfaces.by_index(path.interface).and_then(|found| found.port);
            connection.listed = true;
            self.list(link, port, key);
        }
        self.rearm(cx, key);
    }

    /// When most places are taken, those in TIME-WAIT that nobody holds are the first for whom there is none (as with tcp_max_tw_buckets), once
    /// they have said what they owe: else one peer could take all places for a minute.
    fn cut_time_wait(&mut self, cx: &mut Context, key: Key) {
        let is_crowded = self.sockets.len() > self.sockets.limit() / 4 * 3;
        let waits = |found: &Connection| {
            found.orphan && found.state == State::TimeWait && found.ack != connection::AckDue::Now
        };
        if is_crowded && self.connection(key).is_some_and(waits) {
            cx.count(Counter::TcpTimeWaitsCut);
            self.remove(cx, key);
        }
    }

    /// A closed connection gives its addresses back; it stays for its user until he closes it, too.
    fn settle_closed(&mut self, cx: &mut Context, key: Key) {
        let Some(connection) = self.connection_mut(key) else { return };
        let (local, remote, orphan) = (connection.local, connection.remote, connection.orphan);
        let embryo = connection.listener.is_some();
        let tenancy = connection.tenancy();
        let timer = connection.timer.take();
        timer.map(|timer| cx.timers.cancel(timer));
        // It may have been here before: its user can still touch it.
        if self.demux.disconnect((local, remote), key) {
            self.move_out(cx, Some(tenancy));
        }
        if orphan || embryo {
            self.remove(cx, key);
        } else {
            self.tell(key);
        }
    }

    fn list(&mut self, link: &mut Link, port: Option<u32>, key: Key) {
        let Some(port) = port else { return self.looped.push_back(key) };
        let place = port as usize;
        if self.ready.len() <= place {
            self.ready.resize_with(place + 1, VecDeque::new);
        }
        self.ready[place].push_back(key);
        link.ports.rouse(port);
    }

    /// The connection's one timer at its earliest deadline; moving it later is a store.
    fn rearm(&mut self, cx: &mut Context, key: Key) {
        let Some(connection) = self.connection_mut(key) else { return };
        match (connection.timer, connection.earliest_deadline()) {
            (Some(timer), Some(deadline)) if cx.timers.reset(timer, deadline) => {}
            (_, Some(deadline)) => {
                connection.timer = Some(cx.timers.insert(Timer::Connection(key), deadline));
            }
            (Some(timer), None) => {
                cx.timers.cancel(timer);
                connection.timer = None;
            }
            (None, None) => {}
        }
    }

    /// A connection's deadline has come.
    pub(crate) fn on_timer(&mut self, cx: &mut Context, link: &mut Link, inet: &Inet, key: Key) {
        let now = cx.now;
        if self.is_held(key) {
            return self.on_held_too_long(cx, key);
        }
        let allowance = cx.allowance();
        let Some(connection) = self.connection_mut(key) else { return };
        (connection.timer, connection.allowed) = (None, allowance);
        let before = (connection.readiness(), connection.expirations);
        connection.on_timer(now);
        let after = (connection.readiness(), connection.expirations);
        if after.1 > before.1 {
            cx.count(Counter::TcpTimeouts);
        }
        if after.0 != before.0 {
            self.tell(key);
        }
        self.settle(cx, link, inet, key);
    }

    /// One transmission for a port goes to the link; false if no connection has any.
    pub(crate) fn send_next(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        port: u32,
    ) -> bool {
        loop {
            let Some(key) = self.ready.get_mut(port as usize).and_then(VecDeque::pop_front) else {
                return false;
            };
            if self.transmit(cx, link, inet, key) {
                // Fair by transmissions: it comes again after the others.
                self.ready[port as usize].push_back(key);
                return true;
            }
        }
    }

    /// The same for connections to ourselves, which have no port to be pulled.
    pub(crate) fn send_next_looped(&mut self, cx: &mut Context, link: &mut Link, inet: &mut Inet) -> bool {
        while let Some(key) = self.looped.pop_front() {
            if self.transmit(cx, link, inet, key) {
                self.looped.push_back(key);
                return true;
            }
        }
        false
    }

    /// Whether connections to ourselves have something to send.
    pub(crate) fn has_looped(&self) -> bool {
        !self.looped.is_empty()
    }

    /// Sends what a connection may send next; false if it is nothing, and the connection is off its list.
    fn transmit(&mut self, cx: &mut Context, link: &mut Link, inet: &mut Inet, key: Key) -> bool {
        let (now, allowance) = (cx.now, cx.allowance());
        let Some(connection) = self.connection_mut(key) else { return false };
        connection.allowed = allowance;
        let Some(transmission) = connection.determine_transmission(now) else {
            // Whatever it still has waits for an acknowledgment, a window or a timer.
            connection.listed = false;
            let full = connection.board.is_full() && connection.has_unsent();
            connection.arm_persistence(now);
            connection.follow_wait(now);
            if full {
                cx.count(Counter::TcpScoreboardFull);
            }
            self.rearm(cx, key);
            return false;
        };
        let (local, remote) = (connection.local, connection.remote);
        let Ok(path) = inet.determine_path(cx, link, remote.ip(), Some(local.ip())) else {
            connection.listed = false;
            cx.count(Counter::TcpUnroutable);
            connection.delay_without_way(now);
            self.rearm(cx, key);
            return false;
        };
        let size = connection.segment_size();
        let (outline, payload) = connection.build(now, transmission);
        connection.note_leaving(now, transmission, payload.len() as u32, size);
        let limits = Limits {
            size,
            ttl: connection.settings.ttl.map(NonZeroU8::get),
            tos: connection.type_of_service(transmission),
            may_fragment: connection.settings.may_fragment,
        };
        let told = connection.settings.tuning.unsent_low_water != u32::MAX && connection.has_sent_enough();
        if told {
            self.tell(key);
        }
        if let output::Transmission::Data { again: true, .. } = transmission {
            cx.count(Counter::TcpRetransmitted);
        }
        cx.add(Counter::TcpSent, (payload.len() as u64).div_ceil(size.into()).max(1));
        let sent = emit(cx, link, inet, &path, &outline, payload, Some(limits));
        if sent == Err(Errno::HostDown) {
            // The neighbour has just been asked for in vain.
            self.on_silent_neighbor(cx, link, inet, key);
            return true;
        }
        self.cut_time_wait(cx, key);
        self.rearm(cx, key);
        true
    }

    /// The readiness of a socket may have changed; said once until the news was heard.
    fn tell(&mut self, key: Key) {
        let told = match self.sockets.value_mut(key) {
            Some(Socket::Connection(connection)) => &mut connection.announced,
            Some(Socket::Listener(listener)) => &mut listener.announced,
            Some(Socket::Held(held)) => &mut held.announced,
            Some(Socket::Idle { .. }) | None => return,
        };
        if !core::mem::replace(told, true) {
            self.news.push(key);
        }
    }

    /// Turns the news into events, at the end of a call.
    pub(crate) fn announce(&mut self, cx: &mut Context) {
        self.wake_waiting(cx);
        cx.events.extend(self.news.drain(..).map(|key| Event::Socket(Endpoint::Tcp(key))));
    }

    /// The news of a socket was heard.
    pub(crate) fn on_told(&mut self, key: Key) {
        match self.sockets.value_mut(key) {
            Some(Socket::Connection(connection)) => connection.announced = false,
            Some(Socket::Listener(listener)) => listener.announced = false,
            Some(Socket::Held(held)) => held.announced = false,
            Some(Socket::Idle { .. }) | None => {}
        }
    }

    /// Forgets a socket, with its timer and addresses.
    fn remove(&mut self, cx: &mut Context, key: Key) {
        let removed = self.sockets.remove(key);
        self.move_out(cx, removed.as_ref().and_then(Socket::tenancy));
        match removed {
            Some(Socket::Connection(mut connection)) => {
                self.release(cx, key, &mut connection);
                connection.timer.map(|timer| cx.timers.cancel(timer));
                if connection.state != State::Closed {
                    self.demux.disconnect((connection.local, connection.remote), key);
                }
                self.on_embryo_gone(key, connection.listener);
                if connection.draining {
                    self.on_drained(cx);
                }
            }
            Some(Socket::Listener(listener)) => self.on_listener_gone(cx, key, &listener),
            Some(Socket::Held(held)) => self.on_held_gone(cx, key, &held),
            Some(Socket::Idle { .. }) | None => {}
        }
    }

    /// The initial number of a connection: a clock and a keyed hash of its addresses (RFC 6528).
    fn initial_sequence(&self, now: Instant, local: SocketAddr, remote: SocketAddr) -> Seq {
        let clock = (now.as_nanos() / 4000) as u32;
        Seq(clock.wrapping_add(self.hash(b'i', local, remote) as u32))
    }

    fn timestamp_offset(&self, local: SocketAddr, remote: SocketAddr) -> u32 {
        self.hash(b't', local, remote) as u32
    }

    fn hash(&self, purpose: u8, local: SocketAddr, remote: SocketAddr) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write_u8(purpose);
        write_pair(&mut hasher, local, remote);
        hasher.finish()
    }
}

/// Both addresses into a hash.
fn write_pair(hasher: &mut SipHasher24, local: SocketAddr, remote: SocketAddr) {
    for address in [local, remote] {
        match address {
            SocketAddr::V4(address) => hasher.write(&address.ip().octets()),
            SocketAddr::V6(address) => hasher.write(&address.ip().octets()),
        }
        hasher.write_u16(address.port());
    }
}

/// The addresses of a connection.
fn pair_of(sockets: &Slab<Socket>, key: Key) -> Option<Pair> {
    match sockets.value(key)? {
        Socket::Connection(connection) => Some((connection.local, connection.remote)),
        Socket::Held(held) => Some((held.syn.destination, held.syn.source)),
        Socket::Idle { .. } | Socket::Listener(_) => None,
    }
}

/// How a segment travels.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Payload bytes of a segment.
    size: u32,
    ttl: Option<u8>,
    tos: u8,
    /// Whether routers may fragment it.
    may_fragment: bool,
}

impl Limits {
    /// Segments of a size, and otherwise as the kernel sends them.
    const fn of_size(size: u32) -> Self {
        Self { size, ttl: None, tos: 0, may_fragment: false }
    }
}

/// Puts a segment on its way, unless it is refused below, where that is counted; a lost one is sent again.
fn emit(
    cx: &mut Context,
    link: &mut Link,
    inet: &mut Inet,
    path: &Path,
    outline: &Outline,
    payload: Payload,
    limits: Option<Limits>,
) -> Result<(), Errno> {
    let Limits { size, ttl, tos, may_fragment } = limits.unwrap_or(Limits::of_size(u32::MAX));
    let frame = outline.build(payload, size);
    let outgoing = Outgoing {
        protocol: Protocol::TCP,
        destination: outline.destination.ip(),
        ttl: ttl.unwrap_or(cx.config.ttl),
        tos,
        dont_fragment: cx.config.mtu_discovery && !may_fragment,
        transport_len: frame.headers.len(),
        options: ipv4::Options::EMPTY,
    };
    inet.send(cx, link, path, &outgoing, frame)
}
