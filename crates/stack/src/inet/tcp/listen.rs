//! Listeners: connections on their way to be accepted, and those that wait for it.

use alloc::{boxed::Box, collections::VecDeque};
use core::{net::SocketAddr, num::NonZeroU8};

use rumpnet_proto::{Counter, DropReason, Errno};
use rumpnet_wire::tcp::Flags;

use super::{
    Limits, Socket, Tcp,
    connection::{Connection, Settings, State},
    cookie::{self, Subject},
    emit,
    output::Transmission,
    segment::{Segment, SegmentOptions},
};
use crate::{
    buffer::Received,
    config::EcnMode,
    context::Context,
    inet::Inet,
    link::Link,
    slab::Key,
    time::{Duration, Instant},
};

/// For so long after the last cookie an acknowledgment may bring one back.
const COOKIES_COME_BACK: Duration = Duration::from_secs(128);
/// The MSS that a SYN without the option means.
const UNTOLD_MSS: u16 = 536;

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) local: SocketAddr,
    /// The interface by which it hears any address; without one its `local` is bound.
    pub(super) any: Option<u32>,
    pub(super) settings: Settings,
    /// Connections that wait to be accepted, the oldest first.
    pub(super) accepted: VecDeque<Key>,
    /// Requests to an any-address listener that nobody has taken yet, the oldest first.
    pub(super) flows: VecDeque<Key>,
    /// Those, and the ones that were taken and are not decided.
    pub(super) held: u32,
    /// Why it will hear nothing any more: its interface is gone, or the kernel is.
    pub(super) deaf: Option<Errno>,
    /// Handshakes under way.
    pub(super) embryos: u32,
    pub(super) backlog: u32,
    /// When a SYN was last answered with a cookie.
    pub(super) cookie_sent: Option<Instant>,
    /// Whether news of it wait to be heard.
    pub(super) announced: bool,
}

impl Listener {
    pub(super) const fn new(local: SocketAddr, any: Option<u32>, settings: Settings, backlog: u32) -> Self {
        Self {
            local,
            any,
            settings,
            accepted: VecDeque::new(),
            flows: VecDeque::new(),
            held: 0,
            deaf: None,
            embryos: 0,
            backlog,
            cookie_sent: None,
            announced: false,
        }
    }

    /// Nobody accepts what waits.
    fn has_no_place(&self) -> bool {
        self.accepted.len() as u32 >= self.backlog
    }

    /// As many requests are held as may be; the next one is the victim, and its peer will repeat it.
    pub(super) const fn holds_enough(&self) -> bool {
        self.held >= self.backlog
    }

    /// More handshakes are under way than can come to anything soon: perhaps forged ones.
    fn is_flooded(&self) -> bool {
        self.embryos >= self.backlog.saturating_mul(2).max(16)
    }

    /// Whether a cookie may come back now.
    fn expects_cookies(&self, now: Instant) -> bool {
        self.cookie_sent.is_some_and(|sent| now - sent < COOKIES_COME_BACK)
    }
}

/// What is counted of the handshake when a connection begins: the SYN, but not our answer to it, as on Linux.
const FIRST_SEGMENTS: (u8, u8) = (0, 1);

impl Tcp {
    pub(super) fn is_listener(&self, key: Key) -> bool {
        matches!(self.sockets.value(key), Some(Socket::Listener(_)))
    }

    pub(super) fn listener_mut(&mut self, key: Key) -> Option<&mut Listener> {
        match self.sockets.value_mut(key)? {
            Socket::Listener(listener) => Some(listener),
            _ => None,
        }
    }

    /// Section 3.10.7.2 of RFC 9293.
    pub(super) fn receive_for_listener(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        listener: Key,
        segment: &Segment,
        packet: &Received,
    ) {
        let redeems = segment.has(Flags::ACK) && !segment.has(Flags::SYN);
        if redeems && self.redeem_cookie(cx, inet, link, listener, segment) {
            return self.receive(cx, link, inet, segment, &mut packet.clone());
        }
        if segment.has(Flags::ACK) {
            cx.drop_received(segment.interface, DropReason::TcpNoConnection, packet);
            return self.send_reset(cx, link, inet, segment);
        }
        if !segment.has(Flags::SYN) {
            return cx.drop_received(segment.interface, DropReason::TcpUnexpected, packet);
        }
        let ending = self.is_draining();
        let Some(queue) = self.listener_mut(listener) else { return };
        if queue.any.is_some() {
            if ending || !self.hold(cx, listener, segment) {
                cx.drop_received(segment.interface, DropReason::TcpListenQueueFull, packet);
            }
            return;
        }
        let (full, flooded) = (ending || queue.has_no_place(), queue.is_flooded());
        if flooded && !full {
            return self.send_cookie(cx, link, inet, listener, segment);
        }
        if full || !self.begin_handshake(cx, link, inet, listener, segment) {
            cx.drop_received(segment.interface, DropReason::TcpListenQueueFull, packet);
        }
    }

    /// A connection in SYN-RECEIVED; false if there is no room for it, or no way back.
    fn begin_handshake(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        listener: Key,
        segment: &Segment,
    ) -> bool {
        let (local, remote) = (segment.destination, segment.source);
        let Ok(path) = inet.determine_path(cx, link, remote.ip(), Some(local.ip())) else { return false };
        let Some(settings) = self.listener_mut(listener).map(|listener| listener.settings) else {
            return false;
        };
        let mut connection = self.embryo(cx.now, settings, path.mtu, segment);
        connection.listener = Some(listener);
        let Ok(key) = self.sockets.insert(Socket::Connection(Box::new(connection))) else { return false };
        self.enter_connection(cx, key);
        if let Some(listener) = self.listener_mut(listener) {
            listener.embryos += 1;
        }
        self.settle(cx, link, inet, key);
        true
    }

    /// The connection in SYN-RECEIVED that a SYN begins.
    pub(super) fn embryo(&self, now: Instant, settings: Settings, mtu: u32, syn: &Segment) -> Connection {
        let (local, remote) = (syn.destination, syn.source);
        let iss = self.initial_sequence(now, local, remote);
        let offset = self.timestamp_offset(local, remote);
        let mut connection = Connection::new(local, remote, State::SynReceived, settings, iss, mtu, now);
        connection.learn_from_syn((syn.sequence, syn.window), &syn.options, offset, now);
        connection.agree_on_ecn(syn);
        connection.passive = true;
        connection.first_segments = FIRST_SEGMENTS;
        connection
    }

    /// Answers a SYN without keeping anything of it: as the connection would that it asks for, but with a cookie for its number.
    fn send_cookie(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        listener: Key,
        segment: &Segment,
    ) {
        let (local, remote) = (segment.destination, segment.source);
        let Ok(path) = inet.determine_path(cx, link, remote.ip(), Some(local.ip())) else {
            return cx.count(Counter::TcpUnroutable);
        };
        let now = cx.now;
        let Some(queue) = self.listener_mut(listener) else { return };
        queue.cookie_sent = Some(now);
        let settings = queue.settings;
        let subject = Subject { local, remote, sequence: segment.sequence };
        let mss = segment.options.mss.unwrap_or(UNTOLD_MSS);
        let cookie = cookie::bake(&self.secret, now, &subject, mss);
        let mut answer = Connection::new(local, remote, State::SynReceived, settings, cookie, path.mtu, now);
        let offset = self.marked_offset(now, segment);
        // Without timestamps nothing would remind us of the other options.
        let plain = SegmentOptions { mss: Some(mss), ..SegmentOptions::default() };
        let options = offset.map_or(plain, |_| segment.options);
        answer.learn_from_syn((segment.sequence, segment.window), &options, offset.unwrap_or(0), now);
        if offset.is_some() {
            answer.agree_on_ecn(segment);
        }
        let (outline, payload) = answer.build(now, Transmission::Syn);
        cx.count(Counter::TcpCookiesSent);
        let limits = Limits {
            size: u32::MAX,
            ttl: settings.ttl.map(NonZeroU8::get),
            tos: answer.type_of_service(Transmission::Syn),
            may_fragment: settings.may_fragment,
        };
        // What is refused below was counted there; the peer will ask again.
        let _refused = emit(cx, link, inet, &path, &outline, payload, Some(limits));
    }

    /// What is added to our clock so that a peer with timestamps will remind us of its SYN's options.
    fn marked_offset(&self, now: Instant, segment: &Segment) -> Option<u32> {
        segment.options.timestamps?;
        let clock = now.as_millis() as u32;
        let marked = cookie::mark(clock, &segment.options, segment.has(Flags::ECE | Flags::CWR));
        let offset = self.timestamp_offset(segment.destination, segment.source);
        Some(offset.wrapping_add(marked.wrapping_sub(clock)))
    }

    /// An acknowledgment may bring a cookie back: then the connection is as if its handshake had been kept. False if it does not.
    fn redeem_cookie(
        &mut self,
        cx: &mut Context,
        inet: &Inet,
        link: &Link,
        listener: Key,
        segment: &Segment,
    ) -> bool {
        let (now, ending) = (cx.now, self.is_draining());
        let Some(queue) = self.listener_mut(listener) else { return false };
        if ending || queue.has_no_place() || !queue.expects_cookies(now) {
            return false;
        }
        let settings = queue.settings;
        let (local, remote) = (segment.destination, segment.source);
        let subject = Subject { local, remote, sequence: segment.sequence - 1 };
        let cookie = segment.acknowledgment - 1;
        let Some(mss) = cookie::check(&self.secret, now, &subject, cookie) else {
            cx.count(Counter::TcpCookiesRefused);
            return false;
        };
        let Ok(path) = inet.determine_path(cx, link, remote.ip(), Some(local.ip())) else { return false };
        let mut connection =
            Connection::new(local, remote, State::SynReceived, settings, cookie, path.mtu, now);
        self.recall_options(&mut connection, segment, mss);
        connection.passive = true;
        connection.first_segments = FIRST_SEGMENTS;
        connection.syn_due = false;
        connection.snd_nxt = cookie + 1;
        connection.advertise(true);
        connection.listener = Some(listener);
        let Ok(key) = self.sockets.insert(Socket::Connection(Box::new(connection))) else { return false };
        self.enter_connection(cx, key);
        if let Some(listener) = self.listener_mut(listener) {
            listener.embryos += 1;
        }
        cx.count(Counter::TcpCookiesAccepted);
        true
    }

    /// What the cookie and the echo of our clock in `segment` tell of the SYN.
    fn recall_options(&self, connection: &mut Connection, segment: &Segment, mss: u16) {
        let offset = self.timestamp_offset(connection.local, connection.remote);
        let timestamps = segment.options.timestamps;
        let told = timestamps.map(|timestamps| cookie::recall(timestamps.echo.wrapping_sub(offset)));
        let options = SegmentOptions {
            mss: Some(mss),
            window_scale: told.and_then(|told| told.window_scale),
            sack_permitted: told.is_some_and(|told| told.sack_permitted),
            timestamps,
            ..SegmentOptions::default()
        };
        let now = connection.last_heard;
        connection.learn_from_syn((segment.sequence - 1, segment.window), &options, offset, now);
        let agrees = connection.settings.ecn != EcnMode::Off;
        connection.marks.agreed = agrees && told.is_some_and(|told| told.ecn);
    }

    /// Whether a connection came by a listener that was closed since.
    pub(super) fn has_lost_its_listener(&self, key: Key) -> bool {
        self.connection(key)
            .and_then(|connection| connection.listener)
            .is_some_and(|listener| !self.is_listener(listener))
    }

    /// Whether a segment would complete a handshake for which nobody has room. It is as if it had been lost: our SYN-ACK is repeated.
    pub(super) fn has_no_place(&self, key: Key, segment: &Segment) -> bool {
        let Some(connection) = self.connection(key).filter(|found| found.state == State::SynReceived) else {
            return false;
        };
        let listener = connection.listener.and_then(|listener| self.sockets.value(listener));
        let full = matches!(listener, Some(Socket::Listener(listener)) if self.is_draining() || listener.has_no_place());
        full && segment.has(Flags::ACK) && !segment.has(Flags::RST)
    }

    /// A handshake is complete: one that came by a listener waits to be accepted.
    pub(super) fn on_established(&mut self, cx: &mut Context, key: Key) {
        let Some(connection) = self.connection_mut(key) else { return };
        connection.arm_keepalive();
        match connection.listener {
            None if connection.passive => cx.count(Counter::TcpAccepted),
            None => cx.count(Counter::TcpConnected),
            Some(listener) => {
                cx.count(Counter::TcpAccepted);
                if let Some(listener) = self.listener_mut(listener) {
                    listener.embryos -= 1;
                    listener.accepted.push_back(key);
                }
                self.tell(listener);
            }
        }
        self.tell(key);
    }

    /// A connection that nobody has accepted is gone.
    pub(super) fn on_embryo_gone(&mut self, key: Key, listener: Option<Key>) {
        let Some(listener) = listener.and_then(|listener| self.listener_mut(listener)) else { return };
        let waiting = listener.accepted.len();
        listener.accepted.retain(|accepted| *accepted != key);
        if listener.accepted.len() == waiting {
            listener.embryos = listener.embryos.saturating_sub(1);
        }
    }
}
