//! Options and modes by Linux's numbers: getsockopt(2), setsockopt(2), fcntl(2), ioctl(2).
//!
//! An option that the stack does not have is refused with ENOPROTOOPT.

use rumpnet_proto::TcpState;
use rumpnet_stack::{
    Absent, Endpoint, MtuDiscovery, SocketId, SocketOption, TcpOption, TcpSettings, time::Duration,
};

use super::{World, descriptor::Object, info};
use crate::refusal::{Answer, Refusal};

/// ioctl(2): bytes to read, bytes not acknowledged, bytes not sent, and whether calls wait.
const SIOCINQ: u64 = libc::FIONREAD;
const SIOCOUTQ: u64 = libc::TIOCOUTQ;
const SIOCOUTQNSD: u64 = 0x894b;
/// Whether the next byte is the urgent one (sockatmark(3)).
const SIOCATMARK: u64 = 0x8905;
const FIONBIO: u64 = libc::FIONBIO;

const NO_SUCH_OPTION: Refusal = Refusal(libc::ENOPROTOOPT);

/// What ioctl(2) answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// An `int` is written where the argument points.
    Number(i32),
    /// Nothing is.
    Done,
}

/// Whether ioctl(2) reads an `int` where its argument points.
pub(crate) const fn is_ioctl_with_input(request: u64) -> bool {
    request == FIONBIO
}

/// An `int` of an option's value; EINVAL if it is shorter.
fn int(value: &[u8]) -> Answer<i32> {
    let bytes = value.first_chunk().ok_or(Refusal::INVALID)?;
    Ok(i32::from_ne_bytes(*bytes))
}

/// A positive `int`.
fn positive(value: &[u8]) -> Answer<u32> {
    u32::try_from(int(value)?).ok().filter(|number| *number > 0).ok_or(Refusal::INVALID)
}

/// An `int` that is not negative.
fn size(value: &[u8]) -> Answer<u32> {
    u32::try_from(int(value)?).map_err(|_| Refusal::INVALID)
}

fn byte(value: &[u8]) -> Answer<u8> {
    u8::try_from(int(value)?).map_err(|_| Refusal::INVALID)
}

/// A `struct timeval` of SO_RCVTIMEO and SO_SNDTIMEO; zero is without a limit. EDOM for microseconds out of range.
fn timeval(value: &[u8]) -> Answer<Option<Duration>> {
    let field = |place: usize| -> Answer<i64> {
        let bytes = value.get(place * 8..).and_then(|rest| rest.first_chunk()).ok_or(Refusal::INVALID)?;
        Ok(i64::from_ne_bytes(*bytes))
    };
    let (seconds, micros) = (field(0)?, field(1)?);
    if !(0..1_000_000).contains(&micros) {
        return Err(Refusal(libc::EDOM));
    }
    // As Linux: less than nothing is to wait not at all, which is as short as we can.
    let span = Duration::from_micros(
        (seconds.max(0) as u64).saturating_mul(1_000_000).saturating_add(micros as u64),
    );
    Ok(if seconds < 0 { Some(Duration::from_nanos(1)) } else { Some(span).filter(|span| !span.is_zero()) })
}

fn timeval_bytes(limit: Option<Duration>) -> Vec<u8> {
    let micros = limit.map_or(0, Duration::as_micros);
    [(micros / 1_000_000) as i64, (micros % 1_000_000) as i64].map(i64::to_ne_bytes).concat()
}

/// SO_LINGER's `struct linger`.
fn linger(value: &[u8]) -> Answer<TcpOption> {
    let (onoff, seconds) = (int(value)?, int(value.get(4..).ok_or(Refusal::INVALID)?)?);
    let span = Duration::from_secs(seconds.max(0) as u64);
    Ok(TcpOption::Linger((onoff != 0).then_some(span)))
}

/// A socket option of TCP for a number and its value.
fn tcp_option(level: i32, name: i32, value: &[u8]) -> Answer<TcpOption> {
    let seconds = |value: &[u8]| positive(value).map(|seconds| Duration::from_secs(seconds.into()));
    Ok(match (level, name) {
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => TcpOption::KeepAlive(int(value)? != 0),
        (libc::SOL_SOCKET, libc::SO_LINGER) => linger(value)?,
        (libc::SOL_SOCKET, libc::SO_REUSEADDR) => TcpOption::ReuseAddress(int(value)? != 0),
        (libc::SOL_SOCKET, libc::SO_REUSEPORT) => TcpOption::ReusePort(int(value)? != 0),
        (libc::SOL_SOCKET, libc::SO_OOBINLINE) => TcpOption::UrgentInline(int(value)? != 0),
        // Linux doubles what is asked for, to pay for its own records; tcp(7).
        (libc::SOL_SOCKET, libc::SO_RCVBUF) => TcpOption::ReceiveBuffer(positive(value)?),
        (libc::SOL_SOCKET, libc::SO_SNDBUF) => TcpOption::SendBuffer(positive(value)?),
        (libc::IPPROTO_TCP, libc::TCP_NODELAY) => TcpOption::NoDelay(int(value)? != 0),
        (libc::IPPROTO_TCP, libc::TCP_CORK) => TcpOption::Cork(int(value)? != 0),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE) => TcpOption::KeepIdle(seconds(value)?),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL) => TcpOption::KeepInterval(seconds(value)?),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT) => TcpOption::KeepCount(byte(value)?),
        (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT) => {
            let millis = u64::try_from(int(value)?).map_err(|_| Refusal::INVALID)?;
            TcpOption::UserTimeout(Duration::from_millis(millis))
        }
        (libc::IPPROTO_TCP, libc::TCP_CONGESTION) => {
            let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
            match &value[..end] {
                b"reno" => TcpOption::Reno(true),
                b"cubic" => TcpOption::Reno(false),
                b"bbr" => TcpOption::Absent(Absent::Bbr),
                _ => return Err(Refusal(libc::ENOENT)),
            }
        }
        (libc::IPPROTO_IP, libc::IP_TRANSPARENT) => TcpOption::BindAny(int(value)? != 0),
        (libc::SOL_SOCKET, libc::SO_RCVLOWAT) => TcpOption::ReceiveLowWater(size(value)?),
        (libc::IPPROTO_TCP, libc::TCP_MAXSEG) => {
            TcpOption::MaxSegment(u16::try_from(int(value)?).map_err(|_| Refusal::INVALID)?)
        }
        (libc::IPPROTO_TCP, libc::TCP_SYNCNT) => TcpOption::SynCount(byte(value)?),
        (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT) => {
            TcpOption::DeferAccept(Duration::from_secs(int(value)?.max(0) as u64))
        }
        (libc::IPPROTO_TCP, libc::TCP_LINGER2) => TcpOption::FinWait(match int(value)? {
            // Zero is the default; less is not at all.
            0 => Duration::from_secs(60),
            seconds => Duration::from_secs(seconds.max(0) as u64),
        }),
        (libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP) => TcpOption::WindowClamp(size(value)?),
        (libc::IPPROTO_TCP, libc::TCP_QUICKACK) => TcpOption::QuickAck(int(value)? != 0),
        (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT) => TcpOption::UnsentLowWater(size(value)?),
        (libc::IPPROTO_TCP, libc::TCP_FASTOPEN | libc::TCP_FASTOPEN_CONNECT) => {
            TcpOption::Absent(Absent::FastOpen)
        }
        (libc::IPPROTO_TCP, libc::TCP_MD5SIG) => TcpOption::Absent(Absent::Md5Signature),
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER) => match int(value)? {
            libc::IP_PMTUDISC_PROBE => TcpOption::Absent(Absent::PathMtuProbing),
            how => TcpOption::MtuDiscovery(mtu_discovery(how)?),
        },
        (libc::IPPROTO_IP, libc::IP_TTL) => TcpOption::Ttl(byte(value)?),
        (libc::IPPROTO_IP, libc::IP_TOS) => TcpOption::Tos(byte(value)?),
        _ => return Err(NO_SUCH_OPTION),
    })
}

/// A value of IP_MTU_DISCOVER; EINVAL for what is none.
const fn mtu_discovery(value: i32) -> Answer<MtuDiscovery> {
    Ok(match value {
        libc::IP_PMTUDISC_DONT => MtuDiscovery::Dont,
        libc::IP_PMTUDISC_WANT => MtuDiscovery::Want,
        libc::IP_PMTUDISC_DO => MtuDiscovery::Do,
        _ => return Err(Refusal::INVALID),
    })
}

const fn mtu_discovery_number(how: MtuDiscovery) -> i32 {
    match how {
        MtuDiscovery::Dont => libc::IP_PMTUDISC_DONT,
        MtuDiscovery::Want => libc::IP_PMTUDISC_WANT,
        MtuDiscovery::Do => libc::IP_PMTUDISC_DO,
    }
}

fn udp_option(level: i32, name: i32, value: &[u8]) -> Answer<SocketOption> {
    Ok(match (level, name) {
        (libc::SOL_SOCKET, libc::SO_BROADCAST) => SocketOption::Broadcast(int(value)? != 0),
        (libc::SOL_SOCKET, libc::SO_REUSEADDR) => SocketOption::ReuseAddress(int(value)? != 0),
        (libc::SOL_SOCKET, libc::SO_REUSEPORT) => SocketOption::ReusePort(int(value)? != 0),
        (libc::IPPROTO_IP, libc::IP_TRANSPARENT) => SocketOption::BindAny(int(value)? != 0),
        (libc::SOL_SOCKET, libc::SO_RCVBUF) => SocketOption::ReceiveBuffer(positive(value)?),
        (libc::SOL_SOCKET, libc::SO_SNDBUF) => SocketOption::SendBuffer(positive(value)?),
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER) => match int(value)? {
            libc::IP_PMTUDISC_PROBE => return Err(NO_SUCH_OPTION),
            how => SocketOption::MtuDiscovery(mtu_discovery(how)?),
        },
        (libc::IPPROTO_IP, libc::IP_TTL) => SocketOption::Ttl(byte(value)?),
        (libc::IPPROTO_IP, libc::IP_TOS) => SocketOption::Tos(byte(value)?),
        _ => return Err(NO_SUCH_OPTION),
    })
}

/// The name of the algorithm, in the 16 bytes that Linux has for it (TCP_CA_NAME_MAX).
fn congestion(settings: TcpSettings) -> Vec<u8> {
    let name = if settings.reno { "reno" } else { "cubic" };
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

impl World {
    /// setsockopt(2).
    pub fn set_option(&mut self, number: i32, level: i32, name: i32, value: &[u8]) -> Answer<()> {
        let descriptor = self.descriptors.find_mut(number)?;
        match (level, name) {
            _ if descriptor.endpoint().is_none() => return Err(Refusal(libc::ENOTSOCK)),
            (libc::SOL_SOCKET, libc::SO_RCVTIMEO) => {
                descriptor.receive_timeout = timeval(value)?;
                return Ok(());
            }
            (libc::SOL_SOCKET, libc::SO_SNDTIMEO) => {
                descriptor.send_timeout = timeval(value)?;
                return Ok(());
            }
            _ => {}
        }
        match descriptor.object {
            Object::Tcp(id) => {
                self.stack.tcp_set_option(self.now, id, tcp_option(level, name, value)?)?;
            }
            Object::Udp(id) => self.stack.udp_set_option(id, udp_option(level, name, value)?)?,
            _ => {}
        }
        self.settle();
        Ok(())
    }

    /// getsockopt(2): the value's bytes, which the caller cuts to the room that there is.
    pub fn option(&mut self, number: i32, level: i32, name: i32) -> Answer<Vec<u8>> {
        let descriptor = self.descriptors.find(number)?;
        let listening = descriptor.listening;
        let endpoint = descriptor.endpoint().ok_or(Refusal(libc::ENOTSOCK))?;
        let is_stream = matches!(endpoint, Endpoint::Tcp(_));
        let number = |value: i32| Ok(value.to_ne_bytes().to_vec());
        match (level, name) {
            (libc::SOL_SOCKET, libc::SO_ERROR) => return number(self.take_error(endpoint)?),
            (libc::SOL_SOCKET, libc::SO_RCVTIMEO) => return Ok(timeval_bytes(descriptor.receive_timeout)),
            (libc::SOL_SOCKET, libc::SO_SNDTIMEO) => return Ok(timeval_bytes(descriptor.send_timeout)),
            (libc::SOL_SOCKET, libc::SO_ACCEPTCONN) => return number(listening.into()),
            (libc::SOL_SOCKET, libc::SO_DOMAIN) => return number(libc::AF_INET),
            (libc::SOL_SOCKET, libc::SO_TYPE) => {
                return number(if is_stream { libc::SOCK_STREAM } else { libc::SOCK_DGRAM });
            }
            (libc::SOL_SOCKET, libc::SO_PROTOCOL) => {
                return number(if is_stream { libc::IPPROTO_TCP } else { libc::IPPROTO_UDP });
            }
            (libc::IPPROTO_IP, libc::IP_MTU) => {
                return number(self.stack.path_mtu(self.now, endpoint)? as i32);
            }
            _ => {}
        }
        let id = match endpoint {
            Endpoint::Tcp(id) => id,
            Endpoint::Udp(id) if (level, name) == (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER) => {
                return number(mtu_discovery_number(self.stack.udp_mtu_discovery(id)?));
            }
            _ => return Err(NO_SUCH_OPTION),
        };
        if (level, name) == (libc::IPPROTO_TCP, libc::TCP_INFO) {
            let state = if listening { TcpState::Listen } else { TcpState::Closed };
            let queues = self.stack.tcp_queues(id)?;
            return Ok(self
                .stack
                .tcp_info(id)
                .map_or_else(|_| info::of_state(state), |told| info::info_record(&told, queues))
                .to_vec());
        }
        self.tcp_setting(id, level, name)
    }

    fn tcp_setting(&self, id: SocketId, level: i32, name: i32) -> Answer<Vec<u8>> {
        let settings = self.stack.tcp_settings(id)?;
        let seconds = |span: Duration| span.as_secs() as i32;
        let value = match (level, name) {
            (libc::SOL_SOCKET, libc::SO_LINGER) => {
                let span = settings.linger.map_or(0, |span| span.as_secs() as i32);
                return Ok([i32::from(settings.linger.is_some()), span].map(i32::to_ne_bytes).concat());
            }
            (libc::IPPROTO_TCP, libc::TCP_CONGESTION) => return Ok(congestion(settings)),
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => settings.keepalive.into(),
            (libc::SOL_SOCKET, libc::SO_REUSEADDR) => settings.reuse_address.into(),
            (libc::SOL_SOCKET, libc::SO_REUSEPORT) => settings.reuse_port.into(),
            (libc::SOL_SOCKET, libc::SO_OOBINLINE) => settings.urgent_inline.into(),
            (libc::SOL_SOCKET, libc::SO_RCVBUF) => settings.receive_buffer as i32,
            (libc::SOL_SOCKET, libc::SO_SNDBUF) => settings.send_buffer as i32,
            (libc::IPPROTO_TCP, libc::TCP_NODELAY) => settings.no_delay.into(),
            (libc::IPPROTO_TCP, libc::TCP_CORK) => settings.cork.into(),
            (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE) => seconds(settings.keepalive_idle),
            (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL) => seconds(settings.keepalive_interval),
            (libc::IPPROTO_TCP, libc::TCP_KEEPCNT) => settings.keepalive_count.into(),
            (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT) => {
                settings.user_timeout.map_or(0, Duration::as_millis) as i32
            }
            (libc::IPPROTO_TCP, libc::TCP_MAXSEG) => {
                self.stack.tcp_info(id).map_or(536, |told| told.path.mss as i32)
            }
            (libc::SOL_SOCKET, libc::SO_RCVLOWAT) => settings.tuning.receive_low_water as i32,
            (libc::IPPROTO_TCP, libc::TCP_SYNCNT) => settings.tuning.syn_count.into(),
            (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT) => settings.tuning.defer_span().as_secs() as i32,
            (libc::IPPROTO_TCP, libc::TCP_LINGER2) => settings.tuning.fin_wait_secs as i32,
            (libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP) => settings.tuning.window_clamp as i32,
            (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT) => settings.tuning.unsent_low_water as i32,
            (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER) => mtu_discovery_number(settings.mtu_discovery),
            (libc::IPPROTO_IP, libc::IP_TTL) => settings.ttl.into(),
            (libc::IPPROTO_IP, libc::IP_TOS) => settings.tos.into(),
            _ => return Err(NO_SUCH_OPTION),
        };
        Ok(value.to_ne_bytes().to_vec())
    }

    fn take_error(&mut self, endpoint: Endpoint) -> Answer<i32> {
        let error = match endpoint {
            Endpoint::Tcp(id) => self.stack.tcp_take_error(id)?,
            Endpoint::Udp(id) | Endpoint::Raw(id) | Endpoint::Icmp(id) => self.stack.udp_take_error(id)?,
            Endpoint::Packet(_) => None,
        };
        Ok(error.map_or(0, |error| Refusal::from(error).0))
    }

    /// fcntl(2): F_GETFL, F_SETFL, F_GETFD and F_SETFD; EINVAL for what is not there.
    pub fn fcntl(&mut self, number: i32, command: i32, argument: i64) -> Answer<i32> {
        let descriptor = self.descriptors.find_mut(number)?;
        match command {
            libc::F_GETFL => {
                let access = match descriptor.object {
                    Object::Pipe(end) if end.writes => libc::O_WRONLY,
                    Object::Pipe(_) => libc::O_RDONLY,
                    _ => libc::O_RDWR,
                };
                Ok(access | if descriptor.nonblocking { libc::O_NONBLOCK } else { 0 })
            }
            // What of the flags cannot be changed is passed over, as on Linux.
            libc::F_SETFL => {
                descriptor.nonblocking = argument & i64::from(libc::O_NONBLOCK) != 0;
                Ok(0)
            }
            libc::F_GETFD => Ok(if descriptor.close_on_exec { libc::FD_CLOEXEC } else { 0 }),
            libc::F_SETFD => {
                descriptor.close_on_exec = argument & i64::from(libc::FD_CLOEXEC) != 0;
                Ok(0)
            }
            _ => Err(Refusal::INVALID),
        }
    }

    /// ioctl(2): SIOCINQ (FIONREAD), SIOCOUTQ (TIOCOUTQ), SIOCOUTQNSD, SIOCATMARK and FIONBIO, whose `int` is `input`; ENOTTY for what is not there, EINVAL of a
    /// listener's queues.
    pub fn ioctl(&mut self, number: i32, request: u64, input: i32) -> Answer<Control> {
        let descriptor = self.descriptors.find_mut(number)?;
        if request == FIONBIO {
            descriptor.nonblocking = input != 0;
            return Ok(Control::Done);
        }
        let listening = descriptor.listening;
        let count = match descriptor.object {
            Object::Tcp(_) if listening && matches!(request, SIOCINQ | SIOCOUTQ | SIOCOUTQNSD) => {
                return Err(Refusal::INVALID);
            }
            Object::Tcp(id) if request == SIOCATMARK => {
                usize::from(self.stack.tcp_urgent_ahead(id) == Ok(Some(0)))
            }
            Object::Tcp(id) => {
                let queues = self.stack.tcp_queues(id)?;
                match request {
                    SIOCINQ => queues.received,
                    SIOCOUTQ => queues.unacknowledged,
                    SIOCOUTQNSD => queues.unsent,
                    _ => return Err(Refusal(libc::ENOTTY)),
                }
            }
            Object::Udp(id) if request == SIOCINQ => {
                self.stack.udp_peek(id).map_or(0, |datagram| datagram.payload.len())
            }
            Object::Pipe(end) if request == SIOCINQ => self.pipes.len(end),
            _ => return Err(Refusal(libc::ENOTTY)),
        };
        Ok(Control::Number(i32::try_from(count).unwrap_or(i32::MAX)))
    }
}
