//! Socket calls of scripts, with the symbols that the tool knows, on the world's own.

use std::net::SocketAddr;

use bytes::Bytes;
use rumpnet_packetdrill::{Patience, Refusal, name as name_of};

use crate::{
    parse::{Argument, Call},
    wire::{REMOTE, stream},
    world::{Progress, World},
};

/// What a call returned: a number, or an error.
pub(crate) type Outcome = Result<i64, Refusal>;

/// Symbols of Linux; a new one is a line here.
const SYMBOLS: &[(&str, i32)] = &[
    ("SOCK_STREAM", libc::SOCK_STREAM),
    ("IPPROTO_TCP", libc::IPPROTO_TCP),
    ("SOL_SOCKET", libc::SOL_SOCKET),
    ("SOL_TCP", libc::IPPROTO_TCP),
    ("SOL_IP", libc::IPPROTO_IP),
    ("SO_ERROR", libc::SO_ERROR),
    ("SO_KEEPALIVE", libc::SO_KEEPALIVE),
    ("SO_LINGER", libc::SO_LINGER),
    ("SO_OOBINLINE", libc::SO_OOBINLINE),
    ("SO_RCVBUF", libc::SO_RCVBUF),
    ("SO_REUSEADDR", libc::SO_REUSEADDR),
    ("SO_REUSEPORT", libc::SO_REUSEPORT),
    ("SO_SNDBUF", libc::SO_SNDBUF),
    ("TCP_CONGESTION", libc::TCP_CONGESTION),
    ("TCP_CORK", libc::TCP_CORK),
    ("SO_RCVLOWAT", libc::SO_RCVLOWAT),
    ("TCP_DEFER_ACCEPT", libc::TCP_DEFER_ACCEPT),
    ("TCP_FASTOPEN", libc::TCP_FASTOPEN),
    ("TCP_FASTOPEN_CONNECT", libc::TCP_FASTOPEN_CONNECT),
    ("TCP_KEEPCNT", libc::TCP_KEEPCNT),
    ("TCP_KEEPIDLE", libc::TCP_KEEPIDLE),
    ("TCP_KEEPINTVL", libc::TCP_KEEPINTVL),
    ("TCP_LINGER2", libc::TCP_LINGER2),
    ("TCP_MD5SIG", libc::TCP_MD5SIG),
    ("TCP_NOTSENT_LOWAT", libc::TCP_NOTSENT_LOWAT),
    ("TCP_SYNCNT", libc::TCP_SYNCNT),
    ("TCP_WINDOW_CLAMP", libc::TCP_WINDOW_CLAMP),
    ("TCP_MAXSEG", libc::TCP_MAXSEG),
    ("TCP_NODELAY", libc::TCP_NODELAY),
    ("TCP_QUICKACK", libc::TCP_QUICKACK),
    ("TCP_USER_TIMEOUT", libc::TCP_USER_TIMEOUT),
    ("IP_TOS", libc::IP_TOS),
    ("IP_TTL", libc::IP_TTL),
    ("MSG_DONTWAIT", libc::MSG_DONTWAIT),
    ("MSG_MORE", libc::MSG_MORE),
    ("MSG_OOB", libc::MSG_OOB),
    ("MSG_PEEK", libc::MSG_PEEK),
    ("MSG_TRUNC", libc::MSG_TRUNC),
    ("MSG_WAITALL", libc::MSG_WAITALL),
    ("F_GETFL", libc::F_GETFL),
    ("F_SETFL", libc::F_SETFL),
    ("O_NONBLOCK", libc::O_NONBLOCK),
    ("O_RDWR", libc::O_RDWR),
    ("SIOCATMARK", 0x8905),
    ("SIOCINQ", libc::FIONREAD as i32),
    ("FIONREAD", libc::FIONREAD as i32),
    ("SHUT_RD", libc::SHUT_RD),
    ("SHUT_WR", libc::SHUT_WR),
    ("SHUT_RDWR", libc::SHUT_RDWR),
    ("POLLIN", libc::POLLIN as i32),
    ("POLLPRI", libc::POLLPRI as i32),
    ("POLLOUT", libc::POLLOUT as i32),
    ("POLLERR", libc::POLLERR as i32),
    ("POLLHUP", libc::POLLHUP as i32),
    ("POLLRDHUP", libc::POLLRDHUP as i32),
];

/// The number that an argument is, be it made of symbols.
fn number_of(argument: Option<&Argument>) -> Result<i64, String> {
    match argument {
        Some(Argument::Number(number)) => Ok(*number),
        Some(Argument::Names(names)) => names.iter().try_fold(0, |all, name| {
            let known = SYMBOLS.iter().find(|(known, _)| known == name);
            let (_, number) = known.ok_or_else(|| format!("no symbol is called `{name}`"))?;
            Ok(all | i64::from(*number))
        }),
        other => Err(format!("{other:?} is not a number")),
    }
}

impl Call {
    /// Whether a call returned what the script says.
    pub(crate) fn check(&self, outcome: Outcome) -> Result<(), String> {
        let good = match (&outcome, &self.errno) {
            (Ok(value), None) => *value == self.result,
            (Err(error), Some(expected)) => name_of(*error) == *expected,
            _ => false,
        };
        let told = outcome.map_err(name_of);
        if good { Ok(()) } else { Err(format!("{told:?} from {}", self.name)) }
    }

    fn number(&self, index: usize) -> Result<i64, String> {
        number_of(self.arguments.get(index)).map_err(|reason| format!("argument {index}: {reason}"))
    }

    /// The descriptor that a call is about.
    pub(crate) fn descriptor(&self) -> Result<i32, String> {
        Ok(self.number(0)? as i32)
    }

    /// How many bytes it is to move.
    pub(crate) fn asked(&self) -> Result<i64, String> {
        self.number(2)
    }

    /// An option's value in memory: `[7]`, `{onoff=1, linger=0}`, `"reno"`.
    fn value(&self, index: usize) -> Result<Vec<u8>, String> {
        let ints = |values: &[i64]| values.iter().flat_map(|value| (*value as i32).to_ne_bytes()).collect();
        match self.arguments.get(index) {
            Some(Argument::List(values)) => Ok(ints(&[number_of(values.first())?])),
            Some(Argument::Text(text)) => Ok(text.clone().into_bytes()),
            Some(Argument::Record(fields)) => {
                let values: Result<Vec<i64>, String> =
                    fields.iter().map(|(_, value)| number_of(Some(value))).collect();
                Ok(ints(&values?))
            }
            other => Err(format!("{other:?} is not the value of an option")),
        }
    }
}

impl World {
    /// Makes a call once; an `Err` of the outside is a script that makes no sense.
    pub(crate) fn call(&mut self, call: &Call) -> Result<Outcome, String> {
        match call.name.as_str() {
            "socket" => {
                let (kind, protocol) = (call.number(1)? as i32, call.number(2)? as i32);
                return Ok(self.open(|world| world.socket(libc::AF_INET, kind, protocol)));
            }
            "poll" => return self.poll(call),
            _ => {}
        }
        let number = call.descriptor()?;
        let drill = &mut self.drill;
        Ok(match call.name.as_str() {
            "bind" => {
                let local = SocketAddr::from((drill.local(), self.numbers.local_port));
                drill.bind(number, local).map(|()| 0)
            }
            "listen" => drill.listen(number, call.number(1)? as i32).map(|()| 0),
            "accept" => {
                let accepted = self.open(|world| world.accept(number).map(|(accepted, _)| accepted));
                accepted.inspect(|accepted| self.follow(*accepted as i32))
            }
            "connect" => self.connect(number),
            "read" => self.read(number, call.number(2)? as usize, 0)?,
            "recv" => self.read(number, call.number(2)? as usize, call.number(3)? as i32)?,
            "write" => self.write(number, call.number(2)? as usize, 0),
            "send" | "sendto" => self.write(number, call.number(2)? as usize, call.number(3)? as i32),
            "shutdown" => drill.shutdown(number, call.number(1)? as i32).map(|()| 0),
            "close" => drill.close(number).map(|()| 0),
            "fcntl" => {
                let argument = if call.arguments.len() > 2 { call.number(2)? } else { 0 };
                drill.fcntl(number, call.number(1)? as i32, argument).map(i64::from)
            }
            "setsockopt" => {
                let (level, name) = (call.number(1)? as i32, call.number(2)? as i32);
                drill.set_option(number, level, name, &call.value(3)?).map(|()| 0)
            }
            "getsockopt" => self.check_option(call, number)?,
            "ioctl" => self.check_control(call, number)?,
            other => return Err(format!("no call is named `{other}`")),
        })
    }

    /// Whether a call may wait for what it wants.
    pub(crate) fn may_wait(&self, call: &Call) -> Result<bool, String> {
        let flags =
            if matches!(call.name.as_str(), "recv" | "send" | "sendto") { call.number(3)? as i32 } else { 0 };
        let never = if call.name == "recv" { libc::MSG_DONTWAIT | libc::MSG_OOB } else { libc::MSG_DONTWAIT };
        let patience = self.drill.patience(call.descriptor()?, false, flags & never != 0);
        Ok(patience.is_ok_and(|patience| patience != Patience::None))
    }

    /// A call that opens a descriptor.
    fn open(
        &mut self,
        call: impl FnOnce(&mut rumpnet_packetdrill::World) -> Result<i32, Refusal>,
    ) -> Outcome {
        let opened = call(&mut self.drill)?;
        self.progress.insert(opened, Progress::default());
        Ok(opened.into())
    }

    fn connect(&mut self, number: i32) -> Outcome {
        self.follow(number);
        self.drill.connect(number, (REMOTE, 8080).into())?;
        self.numbers.fresh = true;
        Err(Refusal(libc::EINPROGRESS))
    }

    /// Reads, and checks that the bytes are those of the stream.
    fn read(&mut self, number: i32, limit: usize, flags: i32) -> Result<Outcome, String> {
        let first = self.remote_syn.wrapping_add(1);
        let passed = self.passed_by(number, flags);
        let bytes = match self.drill.receive(number, limit, flags) {
            Ok(taken) => taken.bytes,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let progress = self.progress.entry(number).or_default();
        let from = progress.read + passed;
        if bytes != stream(first.wrapping_add(from), bytes.len()) {
            return Err("bytes that are not those of the stream".into());
        }
        if flags & (libc::MSG_PEEK | libc::MSG_OOB) == 0 && !bytes.is_empty() {
            progress.read = from + bytes.len() as u32;
        }
        Ok(Ok(bytes.len() as i64))
    }

    /// Bytes of the stream that a read passes over: before the urgent byte if that is wanted, else the urgent byte itself if the read begins at it.
    fn passed_by(&mut self, number: i32, flags: i32) -> u32 {
        let Ok(id) = self.drill.socket_id(number) else { return 0 };
        let stack = self.drill.stack();
        let inline = stack.tcp_settings(id).is_ok_and(|settings| settings.urgent_inline);
        match stack.tcp_urgent_ahead(id) {
            Ok(Some(ahead)) if flags & libc::MSG_OOB != 0 => ahead,
            Ok(Some(0)) if !inline => 1,
            _ => 0,
        }
    }

    fn write(&mut self, number: i32, len: usize, flags: i32) -> Outcome {
        let progress = self.progress.entry(number).or_default();
        let bytes = Bytes::from(stream(1 + progress.written, len));
        let count = self.drill.send(number, bytes, flags, None)?;
        progress.written += count as u32;
        Ok(count as i64)
    }

    /// getsockopt, whose value must be that of the list; an error's name may stand where its number does: `[ECONNRESET]`.
    fn check_option(&mut self, call: &Call, number: i32) -> Result<Outcome, String> {
        let (level, name) = (call.number(1)? as i32, call.number(2)? as i32);
        let bytes = match self.drill.option(number, level, name) {
            Ok(bytes) => bytes,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(Argument::List(values)) = call.arguments.get(3) else {
            return Err("`[...]` expected".into());
        };
        let told = i32::from_ne_bytes(*bytes.first_chunk().ok_or("a short value")?);
        let agrees = match values.first() {
            Some(Argument::Names(names)) if names[0].starts_with('E') => name_of(Refusal(told)) == names[0],
            expected => number_of(expected)? == i64::from(told),
        };
        if agrees { Ok(Ok(0)) } else { Err(format!("the value {told} ({})", name_of(Refusal(told)))) }
    }

    /// ioctl of a queue's length: `ioctl(4, SIOCINQ, [100]) = 0`.
    fn check_control(&mut self, call: &Call, number: i32) -> Result<Outcome, String> {
        let told = match self.drill.ioctl(number, call.number(1)? as u64, 0) {
            Ok(told) => told,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(Argument::List(values)) = call.arguments.get(2) else {
            return Err("`[...]` expected".into());
        };
        let expected = number_of(values.first())?;
        let agrees = told == rumpnet_packetdrill::Control::Number(expected as i32);
        if agrees { Ok(Ok(0)) } else { Err(format!("{told:?}, not {expected}")) }
    }

    /// poll without waiting: `poll([{fd=4, events=POLLIN, revents=POLLIN}], 1, 0) = 1`.
    fn poll(&mut self, call: &Call) -> Result<Outcome, String> {
        let Some(Argument::List(list)) = call.arguments.first() else { return Err("a list expected".into()) };
        let mut ready = 0;
        for entry in list {
            let Argument::Record(fields) = entry else { return Err("a record expected".into()) };
            let field = |wanted: &str| {
                number_of(fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value))
            };
            let (number, asked) = (field("fd")? as i32, field("events")?);
            let always = i64::from(libc::POLLERR | libc::POLLHUP);
            let told = match self.drill.readiness(number) {
                Ok(told) => i64::from(told) & (asked | always),
                Err(_) => libc::POLLNVAL.into(),
            };
            if told != field("revents")? {
                return Err(format!("{told:#x} of descriptor {number}"));
            }
            ready += i64::from(told != 0);
        }
        Ok(Ok(ready))
    }
}
