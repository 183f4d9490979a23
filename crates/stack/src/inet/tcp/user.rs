//! What users ask: socket(2), bind(2), listen(2), connect(2), accept(2), send(2), recv(2), shutdown(2), close(2), options.

use alloc::boxed::Box;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use rumpnet_proto::{Counter, Errno};
use rumpnet_wire::tcp::{Flags, Options};

use super::{
    Limits, Socket, Tcp,
    connection::{AckDue, Connection, State},
    emit,
    listen::Listener,
    report::TcpInfo,
    segment::{Outline, Segment},
};
use crate::{
    buffer::Payload,
    context::Context,
    endpoint::Readiness,
    foreign::may_be_held,
    inet::{Inet, route::Scope},
    link::Link,
    slab::Key,
    time::{Duration, Instant},
};

/// Which direction is shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Nothing more will be read; what comes is discarded.
    Read,
    /// Nothing more will be written: a FIN follows what was.
    Write,
    /// Both.
    Both,
}

/// How something is sent (the flags of send(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendMode {
    /// MSG_OOB: the last byte is urgent.
    pub urgent: bool,
    /// MSG_MORE: more follows, so that less than a full segment waits for it, but for 200 ms at most.
    pub more: bool,
}

impl Connection {
    /// An acknowledgment leaves at the next chance.
    pub(super) const fn owe_now(&mut self) {
        self.ack = AckDue::Now;
    }

    /// Whether asking for a transmission may give one.
    pub(super) fn has_something_to_send(&self) -> bool {
        self.syn_due
            || self.ack == AckDue::Now
            || self.tail_probe
            || self.window_probe
            || self.keepalive_probe
            || self.queue.len() > 0
            || (self.fin_wanted && !self.fin_sent)
            || self.board.has_lost()
    }

    /// There is no way to the peer now: as if what would have been sent was lost.
    pub(super) fn delay_without_way(&mut self, now: Instant) {
        (self.tail_probe, self.window_probe, self.keepalive_probe) = (false, false, false);
        if self.ack == AckDue::Now {
            self.ack = AckDue::No;
        }
        if self.deadlines.retransmit.is_none() {
            self.deadlines.retransmit = Some(self.retransmission_deadline(now));
        }
    }

    /// Whether a SYN begins a new connection beside this one in TIME-WAIT (RFC 6191, RFC 9293 section 3.6.1).
    pub(super) fn is_older_than(&self, segment: &Segment) -> bool {
        match (self.timestamps, segment.options.timestamps) {
            (Some(state), Some(timestamps)) if timestamps.value != state.recent => {
                (timestamps.value.wrapping_sub(state.recent) as i32) > 0
            }
            _ => segment.sequence.is_after(self.rcv_nxt),
        }
    }

    /// Our clock in a first SYN, before the peer's is known.
    pub(super) const fn first_timestamp(&self, now: Instant) -> rumpnet_wire::tcp::Timestamps {
        rumpnet_wire::tcp::Timestamps {
            value: (now.as_millis() as u32).wrapping_add(self.first_offset),
            echo: 0,
        }
    }

    /// What an acknowledgment of everything would allow: the window has grown by what is worth telling.
    fn owes_window_update(&self) -> bool {
        let promised = if self.rcv_adv.is_after(self.rcv_nxt) { self.rcv_adv - self.rcv_nxt } else { 0 };
        let window = self.receive_window();
        window > promised
            && window - promised >= self.mss.min(self.receive_limit / 2)
            && window / 2 >= promised
            && matches!(self.state, State::Established | State::FinWait1 | State::FinWait2)
    }

    /// The receive buffer follows what the user drains in a round trip (dynamic right-sizing).
    fn follow_reader(&mut self, now: Instant, taken: usize) {
        self.drained = self.drained.saturating_add(taken as u32);
        let round = self.rtt.smoothed().unwrap_or(Duration::from_millis(50)).max(Duration::from_millis(1));
        if now - self.drained_since < round {
            return;
        }
        let wanted = self.drained.saturating_mul(2).min(self.settings.tuning.window_clamp);
        if !self.settings.receive_fixed && wanted > self.receive_limit && self.allowed == u32::MAX {
            self.receive_limit = wanted;
        }
        (self.drained, self.drained_since) = (0, now);
    }
}

impl Tcp {
    /// socket(2); ENFILE beyond the limit.
    pub(crate) fn open(&mut self, cx: &Context) -> Result<Key, Errno> {
        self.defaults.follow(&cx.config);
        let socket = Socket::Idle { local: None, settings: Box::new(self.defaults) };
        self.sockets.insert(socket).map_err(|_| Errno::NFile)
    }

    /// bind(2). EINVAL if bound already, EADDRNOTAVAIL, EADDRINUSE, EAFNOSUPPORT.
    pub(crate) fn bind(
        &mut self,
        cx: &mut Context,
        inet: &Inet,
        key: Key,
        wanted: SocketAddr,
    ) -> Result<SocketAddr, Errno> {
        let Some(Socket::Idle { local: None, settings }) = self.sockets.value(key) else {
            return Err(if self.sockets.contains(key) { Errno::Inval } else { Errno::BadF });
        };
        let reuse = settings.reuse;
        let IpAddr::V4(address) = wanted.ip() else { return Err(Errno::AfNoSupport) };
        let own = address.is_unspecified() || address.is_loopback() || inet.addresses.is_ours(wanted.ip());
        if !(own || settings.bind_any && may_be_held(wanted.ip())) {
            return Err(Errno::AddrNotAvail);
        }
        let bound = if wanted.port() == 0 {
            let first = cx.random.next_u64() as u16;
            let port = self.uses.next_free(wanted.ip(), first).ok_or(Errno::AddrInUse);
            SocketAddr::new(wanted.ip(), port.inspect_err(|_| cx.count(Counter::PortsExhausted))?)
        } else {
            wanted
        };
        if !self.uses.permits(bound, reuse) {
            return Err(Errno::AddrInUse);
        }
        if let Some(Socket::Idle { local, .. }) = self.sockets.value_mut(key) {
            *local = Some(bound);
        }
        self.move_in(cx, key);
        Ok(bound)
    }

    /// listen(2): binds to a free port if need be. EINVAL if connected, EADDRINUSE if another listens there.
    pub(crate) fn listen(
        &mut self,
        cx: &mut Context,
        inet: &Inet,
        key: Key,
        backlog: u32,
    ) -> Result<(), Errno> {
        if self.over {
            return Err(Errno::NetDown);
        }
        let backlog = backlog.clamp(1, 4096);
        match self.sockets.value_mut(key).ok_or(Errno::BadF)? {
            Socket::Listener(listener) => {
                listener.backlog = backlog;
                return Ok(());
            }
            Socket::Connection(_) | Socket::Held(_) => return Err(Errno::Inval),
            Socket::Idle { local: Some(_), .. } => {}
            Socket::Idle { local: None, .. } => {
                self.bind(cx, inet, key, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
            }
        }
        let tenancy = self.sockets.value(key).and_then(Socket::tenancy);
        self.move_out(cx, tenancy);
        let heard = self.begin_to_listen(key, backlog);
        self.move_in(cx, key);
        heard
    }

    /// A bound socket listens, unless another does that it would share connections with.
    fn begin_to_listen(&mut self, key: Key, backlog: u32) -> Result<(), Errno> {
        let Some(socket) = self.sockets.value_mut(key) else { return Err(Errno::BadF) };
        let Socket::Idle { local: Some(local), settings } = socket else { return Err(Errno::Inval) };
        let (local, settings) = (*local, **settings);
        if !self.uses.permits(local, settings.reuse) {
            return Err(Errno::AddrInUse);
        }
        *socket = Socket::Listener(Box::new(Listener::new(local, None, settings, backlog)));
        self.demux.listen(local, key);
        Ok(())
    }

    /// connect(2): sends a SYN; writable, or in error, when it is answered. EISCONN, EALREADY, EOPNOTSUPP, EADDRINUSE, what routing
    /// says.
    pub(crate) fn connect(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &Inet,
        key: Key,
        remote: SocketAddr,
    ) -> Result<(), Errno> {
        if self.over {
            return Err(Errno::NetDown);
        }
        let (bound, settings) = match self.sockets.value(key).ok_or(Errno::BadF)? {
            Socket::Idle { local, settings } => (*local, **settings),
            Socket::Listener(_) => return Err(Errno::OpNotSupp),
            Socket::Connection(connection) if connection.state == State::SynSent => {
                return Err(Errno::Already);
            }
            Socket::Connection(_) | Socket::Held(_) => return Err(Errno::IsConn),
        };
        if !remote.is_ipv4() {
            return Err(Errno::AfNoSupport);
        }
        if remote.port() == 0 || remote.ip().is_unspecified() {
            return Err(Errno::AddrNotAvail);
        }
        let source = bound.map(|local| local.ip()).filter(|ip| !ip.is_unspecified());
        let path = inet.determine_path(cx, link, remote.ip(), source);
        let path = path.inspect_err(|errno| cx.tell_of_miss(remote.ip(), *errno))?;
        if !matches!(path.scope, Scope::Own | Scope::Unicast) {
            return Err(Errno::NetUnreach);
        }
        let port = match bound {
            Some(local) => local.port(),
            None => {
                let port = self.determine_port(&mut cx.random, path.source, remote);
                port.ok_or(Errno::AddrNotAvail).inspect_err(|_| cx.count(Counter::PortsExhausted))?
            }
        };
        let local = SocketAddr::new(path.source, port);
        if self.find((local, remote)).is_some() {
            return Err(Errno::AddrInUse);
        }
        let tenancy = self.sockets.value(key).and_then(Socket::tenancy);
        self.move_out(cx, tenancy);
        let iss = self.initial_sequence(cx.now, local, remote);
        let mut connection = Connection::new(local, remote, State::SynSent, settings, iss, path.mtu, cx.now);
        connection.first_offset = self.timestamp_offset(local, remote);
        if let Some(socket) = self.sockets.value_mut(key) {
            *socket = Socket::Connection(Box::new(connection));
        }
        self.enter_connection(cx, key);
        cx.count(Counter::TcpConnecting);
        self.settle(cx, link, inet, key);
        Ok(())
    }

    /// accept(2): a connection and its peer. EAGAIN if none waits, ENETDOWN if the kernel has ended, EINVAL if not listening.
    pub(crate) fn accept(&mut self, key: Key) -> Result<(Key, SocketAddr), Errno> {
        let Socket::Listener(listener) = self.sockets.value_mut(key).ok_or(Errno::BadF)? else {
            return Err(Errno::Inval);
        };
        let none = listener.deaf.unwrap_or(Errno::Again);
        let accepted = listener.accepted.pop_front().ok_or(none)?;
        let connection = self.connection_mut(accepted).ok_or(Errno::ConnAborted)?;
        connection.listener = None;
        Ok((accepted, connection.remote))
    }

    /// send(2): appends as much as there is room for, and returns how much. EAGAIN without room, EPIPE after a shutdown,
    /// ENOTCONN, and the error that ended the connection.
    pub(crate) fn send(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &Inet,
        key: Key,
        mut bytes: Bytes,
        how: SendMode,
    ) -> Result<usize, Errno> {
        let (now, allowance, left) = (cx.now, cx.allowance(), cx.memory_left());
        let connection = self.connection_for_io(key)?;
        connection.allowed = allowance;
        if let Some(error) = connection.error.take() {
            return Err(error);
        }
        match connection.state {
            State::SynSent | State::SynReceived => return Err(Errno::Again),
            _ if !connection.may_send() => return Err(Errno::Pipe),
            _ => {}
        }
        let room = connection.room_to_write(left);
        if room == 0 {
            self.account(cx, key);
            return Err(Errno::Again);
        }
        bytes.truncate(room);
        let len = bytes.len();
        if connection.board.is_empty() && now - connection.last_sent > connection.rtt.rto() {
            connection.congestion.on_idle(connection.mss);
        }
        connection.queue.push(bytes);
        connection.more = how.more;
        if how.urgent && len > 0 {
            connection.mark_urgent();
        }
        self.settle(cx, link, inet, key);
        Ok(len)
    }

    /// recv(2): up to `limit` bytes, shared; none at the end of the stream. EAGAIN if nothing has come.
    pub(crate) fn receive_data(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &Inet,
        key: Key,
        limit: usize,
    ) -> Result<Payload, Errno> {
        let now = cx.now;
        let connection = self.connection_for_io(key)?;
        if connection.has_enough() {
            let payload = connection.take_received(limit);
            connection.follow_reader(now, payload.len());
            self.account(cx, key);
            let connection = self.connection_for_io(key)?;
            if connection.owes_window_update() {
                connection.owe_now();
                self.settle(cx, link, inet, key);
            }
            return Ok(payload);
        }
        connection.nothing_to_read()
    }

    /// recv(2) with MSG_PEEK.
    pub(crate) fn peek_data(&mut self, key: Key, limit: usize) -> Result<Payload, Errno> {
        let connection = self.connection_for_io(key)?;
        if connection.has_enough() {
            return Ok(connection.peek_received(limit));
        }
        connection.nothing_to_read()
    }

    pub(super) fn connection_for_io(&mut self, key: Key) -> Result<&mut Connection, Errno> {
        match self.sockets.value_mut(key).ok_or(Errno::BadF)? {
            Socket::Connection(connection) => Ok(connection),
            _ => Err(Errno::NotConn),
        }
    }

    /// shutdown(2). ENOTCONN.
    pub(crate) fn shut_down(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &Inet,
        key: Key,
        how: Shutdown,
    ) -> Result<(), Errno> {
        let connection = self.connection_for_io(key)?;
        if matches!(connection.state, State::SynSent | State::Closed) {
            return Err(Errno::NotConn);
        }
        if how != Shutdown::Write {
            connection.read_shut = true;
            connection.received.clear();
            connection.urgent = None;
        }
        if how != Shutdown::Read {
            connection.fin_wanted = true;
        }
        self.tell(key);
        self.settle(cx, link, inet, key);
        Ok(())
    }

    /// close(2): what was sent still goes, and a FIN; but a connection with unread data is reset (RFC 2525 section 2.17).
    pub(crate) fn close(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        key: Key,
    ) -> Result<(), Errno> {
        match self.sockets.value_mut(key).ok_or(Errno::BadF)? {
            Socket::Idle { .. } => self.remove(cx, key),
            Socket::Held(_) => self.drop_held(cx, key),
            Socket::Listener(_) => {
                self.abandon_waiting(key);
                self.remove(cx, key);
            }
            Socket::Connection(connection) => match connection.state {
                State::Closed => self.remove(cx, key),
                State::SynSent => self.remove(cx, key),
                _ if connection.has_unread() || connection.settings.linger() == Some(Duration::ZERO) => {
                    self.abort(cx, link, inet, key);
                }
                _ => {
                    connection.orphan = true;
                    connection.fin_wanted = true;
                    let waits = connection.state == State::FinWait2;
                    if waits {
                        connection.deadlines.end = Some(connection.fin_wait_end(cx.now));
                    }
                    self.settle(cx, link, inet, key);
                }
            },
        }
        Ok(())
    }

    /// How long close(2) shall wait for the peer to acknowledge everything (SO_LINGER); none if it would have nothing to wait for.
    pub(crate) fn linger(&self, key: Key) -> Option<Duration> {
        let connection = self.connection(key)?;
        let span = connection.settings.linger().filter(|span| !span.is_zero())?;
        (!connection.is_drained() && !connection.has_unread()).then_some(span)
    }

    /// Resets a connection and forgets it.
    pub(super) fn abort(&mut self, cx: &mut Context, link: &mut Link, inet: &mut Inet, key: Key) {
        let Some(connection) = self.connection(key) else { return };
        let (outline, mss) = (connection.reset(), connection.mss);
        let says = !matches!(connection.state, State::TimeWait | State::Closed);
        self.remove(cx, key);
        let path = inet.determine_path(cx, link, outline.destination.ip(), Some(outline.source.ip()));
        if let Ok(path) = path
            && says
        {
            cx.count(Counter::TcpResetsSent);
            let _counted = emit(cx, link, inet, &path, &outline, Payload::Empty, Some(Limits::of_size(mss)));
        }
    }

    /// getsockname(2) and getpeername(2).
    pub(crate) fn addresses(&self, key: Key) -> Result<(Option<SocketAddr>, Option<SocketAddr>), Errno> {
        Ok(match self.sockets.value(key).ok_or(Errno::BadF)? {
            Socket::Idle { local, .. } => (*local, None),
            Socket::Listener(listener) => (Some(listener.local), None),
            Socket::Held(held) => (Some(held.syn.destination), Some(held.syn.source)),
            Socket::Connection(connection) => {
                let connected = connection.state != State::SynSent;
                (Some(connection.local), connected.then_some(connection.remote))
            }
        })
    }

    /// getsockopt(2) of SO_ERROR: takes the pending error.
    pub(crate) fn take_error(&mut self, key: Key) -> Result<Option<Errno>, Errno> {
        if !self.sockets.contains(key) {
            return Err(Errno::BadF);
        }
        Ok(self.connection_mut(key).and_then(|connection| connection.error.take()))
    }

    /// getsockopt(2) of TCP_INFO. ENOTCONN.
    pub(crate) fn info(&self, now: Instant, key: Key) -> Result<TcpInfo, Errno> {
        let connection = self.connection(key).ok_or(Errno::NotConn)?;
        Ok(TcpInfo { state: connection.state, path: connection.path_report(now) })
    }

    /// poll(2) on one socket; one that is closed is ready for everything.
    pub(crate) fn readiness(&self, key: Key) -> Readiness {
        match self.sockets.value(key) {
            Some(Socket::Connection(connection)) => connection.readiness(),
            Some(Socket::Listener(listener)) => {
                let readable =
                    !listener.accepted.is_empty() || !listener.flows.is_empty() || listener.deaf.is_some();
                Readiness { readable, ..Readiness::default() }
            }
            Some(Socket::Held(held)) => held.readiness(),
            Some(Socket::Idle { .. }) => Readiness { readable: true, writable: true, ..Readiness::default() },
            None => Readiness { readable: true, writable: true, closed: true, ..Readiness::default() },
        }
    }

    /// Sockets open.
    pub(crate) const fn len(&self) -> u32 {
        self.sockets.len()
    }
}

impl Connection {
    /// Why there is nothing to read: the end, an error, or nothing yet.
    fn nothing_to_read(&mut self) -> Result<Payload, Errno> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if self.is_at_end() || self.state == State::Closed {
            return Ok(Payload::Empty);
        }
        if self.state == State::SynSent { Err(Errno::NotConn) } else { Err(Errno::Again) }
    }

    /// A reset that the peer must believe.
    pub(super) fn reset(&self) -> Outline {
        Outline {
            source: self.local,
            destination: self.remote,
            sequence: self.snd_nxt,
            acknowledgment: self.rcv_nxt,
            flags: Flags::RST | Flags::ACK,
            window: 0,
            urgent: 0,
            options: Options::EMPTY,
        }
    }
}
