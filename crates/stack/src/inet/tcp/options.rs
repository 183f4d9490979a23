//! Options of sockets: what a user may set (setsockopt(2)), and what is in force (getsockopt(2)).

use core::num::NonZeroU8;

use rumpnet_proto::Errno;
use serde::{Deserialize, Serialize};

use super::{
    Socket, Tcp,
    connection::{Connection, Millis, State},
    pacing::UNLIMITED,
    tuning::Tuning,
};
use crate::{
    context::Context,
    inet::{Inet, path_mtu::MtuDiscovery},
    link::Link,
    slab::Key,
    time::Duration,
};

/// An option of a TCP socket, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TcpOption {
    /// TCP_NODELAY: small segments do not wait for the acknowledgment of others.
    NoDelay(bool),
    /// TCP_CORK: only full segments leave.
    Cork(bool),
    /// SO_KEEPALIVE.
    KeepAlive(bool),
    /// TCP_KEEPIDLE.
    KeepIdle(Duration),
    /// TCP_KEEPINTVL.
    KeepInterval(Duration),
    /// TCP_KEEPCNT, at least 1.
    KeepCount(u8),
    /// TCP_USER_TIMEOUT; zero is the system's own.
    UserTimeout(Duration),
    /// TCP_MAXSEG: payload bytes of a segment at most, both ways, 88 to 32,767; 0 is what the link carries. A connection's can only be lowered.
    MaxSegment(u16),
    /// TCP_SYNCNT: how often a SYN is repeated, 1 to 127.
    SynCount(u8),
    /// TCP_DEFER_ACCEPT: for how long an accepted connection waits for its first data before it is given to the listener's user.
    DeferAccept(Duration),
    /// TCP_LINGER2: how long a closed connection waits for the peer's FIN, 120 s at most.
    FinWait(Duration),
    /// TCP_WINDOW_CLAMP: the greatest window to be advertised, in bytes.
    WindowClamp(u32),
    /// TCP_QUICKACK: the next segments are acknowledged at once, or not; ENOTCONN without a connection.
    QuickAck(bool),
    /// TCP_NOTSENT_LOWAT: writable only while fewer bytes are unsent; 0 takes it back.
    UnsentLowWater(u32),
    /// SO_RCVLOWAT: readable only when so many bytes have come. A receive call that finds fewer answers EAGAIN.
    ReceiveLowWater(u32),
    /// What is not there: ENOPROTOOPT.
    Absent(Absent),
    /// SO_OOBINLINE: urgent data stays in the stream.
    UrgentInline(bool),
    /// SO_LINGER: how long closing waits for the peer to have everything; with no time it resets the connection.
    Linger(Option<Duration>),
    /// IP_TTL, 1 to 255.
    Ttl(u8),
    /// IP_TOS.
    Tos(u8),
    /// SO_RCVBUF, in bytes.
    ReceiveBuffer(u32),
    /// SO_SNDBUF, in bytes.
    SendBuffer(u32),
    /// SO_MAX_PACING_RATE: data is paced, at this many bytes per second at most; `u64::MAX` lifts the limit.
    MaxPacingRate(u64),
    /// TCP_CONGESTION: NewReno instead of CUBIC; before the connection only.
    Reno(bool),
    /// SO_BINDANY, IP_TRANSPARENT: whether it may be bound to an address that is not ours; before it is bound.
    BindAny(bool),
    /// IP_MTU_DISCOVER; DF is borne by what is sent unless it is `Dont`, and the segments follow the path in any case.
    MtuDiscovery(MtuDiscovery),
    /// SO_REUSEADDR: whether others that say so too may be bound where it is, unless they listen.
    ReuseAddress(bool),
    /// SO_REUSEPORT: whether others that say so too may be bound where it is, and share its connections.
    ReusePort(bool),
}

/// Options of other systems that are refused with ENOPROTOOPT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Absent {
    /// TCP_CONGESTION of `bbr`.
    Bbr,
    /// Accurate ECN (RFC 9768).
    AccurateEcn,
    /// TCP_FASTOPEN, TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_KEY (RFC 7413).
    FastOpen,
    /// IP_MTU_DISCOVER of IP_PMTUDISC_PROBE, and probing by packets (RFC 4821, RFC 8899).
    PathMtuProbing,
    /// TCP_MD5SIG (RFC 2385).
    Md5Signature,
    /// TCP_AO_ADD_KEY and its kin (RFC 5925).
    AuthenticationOption,
}

impl Absent {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Bbr,
        Self::AccurateEcn,
        Self::FastOpen,
        Self::PathMtuProbing,
        Self::Md5Signature,
        Self::AuthenticationOption,
    ];
}

/// The options in force on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpSettings {
    /// TCP_NODELAY.
    pub no_delay: bool,
    /// TCP_CORK.
    pub cork: bool,
    /// SO_KEEPALIVE.
    pub keepalive: bool,
    /// TCP_KEEPIDLE.
    pub keepalive_idle: Duration,
    /// TCP_KEEPINTVL.
    pub keepalive_interval: Duration,
    /// TCP_KEEPCNT.
    pub keepalive_count: u8,
    /// TCP_USER_TIMEOUT; none is the system's own.
    pub user_timeout: Option<Duration>,
    /// SO_OOBINLINE.
    pub urgent_inline: bool,
    /// SO_LINGER.
    pub linger: Option<Duration>,
    /// IP_TTL.
    pub ttl: u8,
    /// IP_TOS.
    pub tos: u8,
    /// SO_RCVBUF as it is now: it follows the path unless it was set.
    pub receive_buffer: u32,
    /// SO_SNDBUF as it is now: it follows the path unless it was set.
    pub send_buffer: u32,
    /// SO_MAX_PACING_RATE in bytes per second; none without a limit.
    pub max_pacing_rate: Option<u64>,
    /// TCP_CONGESTION: NewReno instead of CUBIC.
    pub reno: bool,
    /// IP_MTU_DISCOVER: `Want` or `Dont`; a stream's segments follow the path, so that `Do` is the same as `Want`.
    pub mtu_discovery: MtuDiscovery,
    /// SO_REUSEADDR.
    pub reuse_address: bool,
    /// SO_REUSEPORT.
    pub reuse_port: bool,
    /// What few set.
    pub tuning: Tuning,
    /// Whether it listens (SO_ACCEPTCONN).
    pub listening: bool,
}

/// The least buffer that a socket may be given.
const MIN_BUFFER: u32 = 2048;
/// The greatest.
const MAX_BUFFER: u32 = 64 * 1024 * 1024;

impl Tcp {
    /// setsockopt(2). EINVAL for an impossible value, or one that comes too late.
    pub(crate) fn set_option(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &Inet,
        key: Key,
        option: TcpOption,
    ) -> Result<(), Errno> {
        let unbound = matches!(self.sockets.value(key), Some(Socket::Idle { local: None, .. }));
        let (settings, connected) = match self.sockets.value_mut(key).ok_or(Errno::BadF)? {
            Socket::Idle { settings, .. } => (&mut **settings, false),
            Socket::Listener(listener) => (&mut listener.settings, false),
            Socket::Held(held) => (&mut held.settings, false),
            Socket::Connection(connection) => (&mut connection.settings, true),
        };
        match option {
            TcpOption::ReuseAddress(on) => self.set_reuse(cx, key, |reuse| reuse.set_address(on)),
            TcpOption::ReusePort(on) => self.set_reuse(cx, key, |reuse| reuse.set_port(on)),
            TcpOption::NoDelay(on) => settings.no_delay = on,
            TcpOption::Cork(on) => settings.cork = on,
            TcpOption::KeepAlive(on) => settings.keepalive = on,
            TcpOption::KeepIdle(span) if !span.is_zero() => settings.keepalive_idle = Millis::of(span),
            TcpOption::KeepInterval(span) if !span.is_zero() => {
                settings.keepalive_interval = Millis::of(span)
            }
            TcpOption::KeepCount(count) if count > 0 => settings.keepalive_count = count,
            TcpOption::UserTimeout(span) => settings.user_timeout = Millis::of(span),
            TcpOption::UrgentInline(on) => settings.urgent_inline = on,
            TcpOption::Linger(span) => settings.set_linger(span),
            TcpOption::Ttl(ttl) if ttl > 0 => settings.ttl = NonZeroU8::new(ttl),
            TcpOption::Tos(tos) => settings.tos = tos,
            TcpOption::ReceiveBuffer(bytes) => {
                settings.receive_limit = bytes.clamp(MIN_BUFFER, MAX_BUFFER);
                settings.receive_fixed = true;
            }
            TcpOption::SendBuffer(bytes) => {
                settings.send_limit = bytes.clamp(MIN_BUFFER, MAX_BUFFER);
                settings.send_most = settings.send_limit;
            }
            // What is held for an address is let go by the same rule.
            TcpOption::BindAny(on) if unbound => settings.bind_any = on,
            TcpOption::MtuDiscovery(how) => settings.may_fragment = how == MtuDiscovery::Dont,
            TcpOption::MaxPacingRate(rate) if rate > 0 => settings.max_pacing_rate = rate,
            TcpOption::Reno(on) if !connected => settings.reno = on,
            TcpOption::Reno(_) | TcpOption::BindAny(_) => return Err(Errno::Inval),
            TcpOption::QuickAck(_) if connected => {}
            TcpOption::QuickAck(_) => return Err(Errno::NotConn),
            other => settings.tuning.set(other)?,
        }
        if let Some(connection) = self.connection_mut(key) {
            let settings = &connection.settings;
            connection.receive_limit =
                connection.receive_limit.max(settings.receive_limit).min(settings.tuning.window_clamp);
            connection.follow_tuning(option);
            connection.arm_keepalive();
            self.settle(cx, link, inet, key);
        }
        Ok(())
    }

    /// getsockopt(2) of IP_MTU: what the path of a connection carries, as far as it is known. ENOTCONN without one, and what routing says.
    pub(crate) fn path_mtu(&self, cx: &Context, link: &Link, inet: &Inet, key: Key) -> Result<u32, Errno> {
        let connection = match self.sockets.value(key).ok_or(Errno::BadF)? {
            Socket::Connection(connection) if connection.state != State::Closed => connection,
            _ => return Err(Errno::NotConn),
        };
        let (local, remote) = (connection.local.ip(), connection.remote.ip());
        let path = inet.determine_path(cx, link, remote, Some(local))?;
        Ok(inet.path_mtu(cx, remote, path.mtu))
    }

    /// getsockopt(2): all at once.
    pub(crate) fn settings(&self, cx: &Context, key: Key) -> Result<TcpSettings, Errno> {
        let settings = match self.sockets.value(key).ok_or(Errno::BadF)? {
            Socket::Idle { settings, .. } => settings,
            Socket::Listener(listener) => &listener.settings,
            Socket::Held(held) => &held.settings,
            Socket::Connection(connection) => &connection.settings,
        };
        let connection = self.connection(key);
        Ok(TcpSettings {
            no_delay: settings.no_delay,
            cork: settings.cork,
            keepalive: settings.keepalive,
            keepalive_idle: settings.keepalive_idle.span(),
            keepalive_interval: settings.keepalive_interval.span(),
            keepalive_count: settings.keepalive_count,
            user_timeout: settings.user_timeout(),
            urgent_inline: settings.urgent_inline,
            linger: settings.linger(),
            ttl: settings.ttl.map_or(cx.config.ttl, NonZeroU8::get),
            tos: settings.tos,
            receive_buffer: connection.map_or(settings.receive_limit, |found| found.receive_limit),
            send_buffer: connection.map_or(settings.send_limit, Connection::send_limit),
            max_pacing_rate: Some(settings.max_pacing_rate).filter(|rate| *rate != UNLIMITED),
            reno: settings.reno,
            mtu_discovery: if settings.may_fragment { MtuDiscovery::Dont } else { MtuDiscovery::Want },
            reuse_address: settings.reuse.address(),
            reuse_port: settings.reuse.port(),
            tuning: settings.tuning,
            listening: matches!(self.sockets.value(key), Some(Socket::Listener(_))),
        })
    }
}
