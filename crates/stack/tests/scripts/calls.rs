//! Socket calls of scripts, with Linux's names, on the stack's own.

use std::net::SocketAddr;

use bytes::Bytes;
use rumpnet_proto::Errno;
use rumpnet_stack::{Endpoint, Shutdown, TcpOption, time::Duration};

use crate::{
    parse::{Argument, Call},
    wire::{LOCAL, REMOTE, stream},
    world::{Descriptor, World},
};

/// What a call returned: a number, or an error's name.
pub(crate) type Outcome = Result<i64, &'static str>;

impl Call {
    /// Whether a call returned what the script says.
    pub(crate) fn check(&self, outcome: Outcome) -> Result<(), String> {
        let good = match (&outcome, &self.errno) {
            (Ok(value), None) => *value == self.result,
            (Err(error), Some(expected)) => error == expected,
            _ => false,
        };
        if good { Ok(()) } else { Err(format!("{outcome:?} from {}", self.name)) }
    }

    fn number(&self, index: usize) -> Result<i64, String> {
        match self.arguments.get(index) {
            Some(Argument::Number(number)) => Ok(*number),
            other => Err(format!("argument {index} is {other:?}, not a number")),
        }
    }

    fn names(&self, index: usize) -> Vec<&str> {
        match self.arguments.get(index) {
            Some(Argument::Names(names)) => names.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// `[7]`: a value in memory, or the first of a record's fields.
    fn value(&self, index: usize) -> Result<i64, String> {
        let inner = match self.arguments.get(index) {
            Some(Argument::List(values)) => values.first(),
            other => other,
        };
        match inner {
            Some(Argument::Number(number)) => Ok(*number),
            other => Err(format!("argument {index} is {other:?}, not a value")),
        }
    }

    /// A field of a record, such as `{onoff=1, linger=0}`.
    fn field(&self, index: usize, wanted: &str) -> Option<i64> {
        let Some(Argument::Record(fields)) = self.arguments.get(index) else { return None };
        fields.iter().find_map(|(name, value)| match value {
            Argument::Number(number) if name == wanted => Some(*number),
            _ => None,
        })
    }
}

const fn name_of(error: Errno) -> &'static str {
    match error {
        // Linux has one name for both.
        Errno::Again => "EAGAIN",
        error => error.name(),
    }
}

impl World {
    /// Makes a call; an `Err` of the outside is a script that makes no sense.
    pub(crate) fn call(&mut self, call: &Call) -> Result<Outcome, String> {
        if call.name == "socket" {
            return self.open(call);
        }
        if call.name == "poll" {
            return self.poll(call);
        }
        let number = call.number(0)?;
        let Some(descriptor) = self.descriptors.get(&number).copied() else {
            return Ok(Err("EBADF"));
        };
        let socket = descriptor.socket;
        let outcome: Result<i64, Errno> = match call.name.as_str() {
            "bind" => {
                let port =
                    if call.arguments.len() > 3 { call.number(3)? as u16 } else { self.numbers.local_port };
                self.stack.tcp_bind(socket, (LOCAL, port).into()).map(|_| 0)
            }
            "listen" => self.stack.tcp_listen(socket, call.number(1)? as u32).map(|()| 0),
            "accept" => self.accept(call, descriptor),
            "connect" => return Ok(self.connect(call, descriptor)),
            "read" | "recv" => return self.read(call, number, call.number(2)? as usize),
            "write" | "send" | "sendto" => self.write(call, number)?,
            "shutdown" => {
                let how = match call.names(1)[..] {
                    ["SHUT_RD"] => Shutdown::Read,
                    ["SHUT_WR"] => Shutdown::Write,
                    _ => Shutdown::Both,
                };
                self.stack.tcp_shutdown(self.now, socket, how).map(|()| 0)
            }
            "close" => {
                self.descriptors.remove(&number);
                self.stack.tcp_close(self.now, socket).map(|()| 0)
            }
            // Whether a call waits is told by its time.
            "fcntl" => return Ok(Ok(call.result.max(0))),
            "setsockopt" => self.set_option(call, descriptor)?,
            "getsockopt" => return self.option(call, descriptor),
            other => return Err(format!("no call is named `{other}`")),
        };
        Ok(outcome.map_err(name_of))
    }

    /// The descriptor that the script wants, if it is free.
    fn open(&mut self, call: &Call) -> Result<Outcome, String> {
        let descriptor = match self.stack.tcp_open() {
            Ok(socket) => Descriptor { socket, written: 0, read: 0 },
            Err(error) => return Ok(Err(name_of(error))),
        };
        if self.descriptors.insert(call.result, descriptor).is_some() {
            return Err("this descriptor is open".into());
        }
        Ok(Ok(call.result))
    }

    fn accept(&mut self, call: &Call, listener: Descriptor) -> Result<i64, Errno> {
        let (socket, _) = self.stack.tcp_accept(listener.socket)?;
        self.subject = Some(socket);
        let descriptor = Descriptor { socket, written: 0, read: 0 };
        self.descriptors.insert(call.result, descriptor);
        Ok(call.result)
    }

    fn connect(&mut self, call: &Call, descriptor: Descriptor) -> Outcome {
        let Descriptor { socket, .. } = descriptor;
        self.subject = Some(socket);
        let port = match call.arguments.get(3) {
            Some(Argument::Number(port)) => *port as u16,
            _ => 8080,
        };
        let remote: SocketAddr = (REMOTE, port).into();
        match self.stack.tcp_connect(self.now, socket, remote) {
            Ok(()) => {
                self.numbers.fresh = true;
                Err("EINPROGRESS")
            }
            Err(error) => Err(name_of(error)),
        }
    }

    /// Whether a connection that a call waits for is there, or failed.
    pub(crate) fn connected(&mut self, call: &Call) -> Option<Outcome> {
        let Descriptor { socket, .. } = *self.descriptors.get(&call.number(0).ok()?)?;
        if !self.stack.readiness(Endpoint::Tcp(socket)).writable {
            return None;
        }
        Some(match self.stack.tcp_take_error(socket) {
            Ok(None) => Ok(0),
            Ok(Some(error)) | Err(error) => Err(name_of(error)),
        })
    }

    /// Reads, and checks that the bytes are those of the stream.
    fn read(&mut self, call: &Call, number: i64, limit: usize) -> Result<Outcome, String> {
        let first = self.remote_syn.wrapping_add(1);
        let Some(descriptor) = self.descriptors.get_mut(&number) else { return Ok(Err("EBADF")) };
        let peeks = call.names(3).contains(&"MSG_PEEK");
        let taken = if peeks {
            self.stack.tcp_peek(descriptor.socket, limit)
        } else {
            self.stack.tcp_receive(self.now, descriptor.socket, limit)
        };
        let bytes = match taken {
            Ok(payload) => payload.to_bytes(),
            Err(error) => return Ok(Err(name_of(error))),
        };
        if bytes != stream(first.wrapping_add(descriptor.read), bytes.len()) {
            return Err("bytes that are not those of the stream".into());
        }
        if !peeks {
            descriptor.read += bytes.len() as u32;
        }
        Ok(Ok(bytes.len() as i64))
    }

    fn write(&mut self, call: &Call, number: i64) -> Result<Result<i64, Errno>, String> {
        let len = call.number(2)? as usize;
        let Some(descriptor) = self.descriptors.get_mut(&number) else { return Ok(Err(Errno::BadF)) };
        let bytes = Bytes::from(stream(1 + descriptor.written, len));
        let sent = self.stack.tcp_send(self.now, descriptor.socket, bytes);
        if let Ok(count) = sent {
            descriptor.written += count as u32;
        }
        Ok(sent.map(|count| count as i64))
    }

    fn set_option(&mut self, call: &Call, descriptor: Descriptor) -> Result<Result<i64, Errno>, String> {
        let seconds = |value: i64| Duration::from_secs(value.max(0) as u64);
        let name = call.names(2).first().copied().unwrap_or_default().to_owned();
        if name == "SO_REUSEADDR" {
            return Ok(Ok(0));
        }
        let option = match name.as_str() {
            "SO_LINGER" => {
                let abort = call.field(3, "onoff") == Some(1) && call.field(3, "linger") == Some(0);
                TcpOption::AbortOnClose(abort)
            }
            "TCP_CONGESTION" => TcpOption::Reno(call.value(3).is_ok_and(|value| value == 1)),
            other => {
                let value = call.value(3)?;
                match other {
                    "TCP_NODELAY" => TcpOption::NoDelay(value != 0),
                    "TCP_CORK" => TcpOption::Cork(value != 0),
                    "SO_KEEPALIVE" => TcpOption::KeepAlive(value != 0),
                    "TCP_KEEPIDLE" => TcpOption::KeepIdle(seconds(value)),
                    "TCP_KEEPINTVL" => TcpOption::KeepInterval(seconds(value)),
                    "TCP_KEEPCNT" => TcpOption::KeepCount(value as u8),
                    "TCP_USER_TIMEOUT" => TcpOption::UserTimeout(Duration::from_millis(value as u64)),
                    "IP_TTL" => TcpOption::Ttl(value as u8),
                    "IP_TOS" => TcpOption::Tos(value as u8),
                    "SO_RCVBUF" => TcpOption::ReceiveBuffer(value as u32),
                    "SO_SNDBUF" => TcpOption::SendBuffer(value as u32),
                    _ => return Err(format!("no option is called `{other}`")),
                }
            }
        };
        Ok(self.stack.tcp_set_option(self.now, descriptor.socket, option).map(|()| 0))
    }

    /// getsockopt of SO_ERROR; the error's name stands where its number does: `[ECONNRESET]`.
    fn option(&mut self, call: &Call, descriptor: Descriptor) -> Result<Outcome, String> {
        if call.names(2)[..] != ["SO_ERROR"] {
            return Err("only SO_ERROR is asked for".into());
        }
        let pending = match self.stack.tcp_take_error(descriptor.socket) {
            Ok(pending) => pending.map_or("0", name_of),
            Err(error) => return Ok(Err(name_of(error))),
        };
        let expected = match call.arguments.get(3) {
            Some(Argument::List(values)) => match values.first() {
                Some(Argument::Names(names)) => names[0].clone(),
                Some(Argument::Number(number)) => number.to_string(),
                _ => return Err("an error expected".into()),
            },
            _ => return Err("`[...]` expected".into()),
        };
        if expected == pending { Ok(Ok(0)) } else { Err(format!("{pending} pending")) }
    }

    /// poll of one socket, without waiting: `poll([{fd=4, events=POLLIN, revents=POLLIN}], 1, 0) = 1`.
    fn poll(&mut self, call: &Call) -> Result<Outcome, String> {
        let Some(Argument::List(list)) = call.arguments.first() else { return Err("a list expected".into()) };
        let mut ready = 0;
        for entry in list {
            let Argument::Record(fields) = entry else { return Err("a record expected".into()) };
            let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
            let Some(Argument::Number(number)) = field("fd") else { return Err("`fd` expected".into()) };
            let Some(descriptor) = self.descriptors.get(number) else { return Ok(Err("EBADF")) };
            let state = self.stack.readiness(Endpoint::Tcp(descriptor.socket));
            let asked = names_of(field("events"));
            let mut found = Vec::new();
            for (name, holds) in [("POLLIN", state.readable), ("POLLOUT", state.writable)] {
                if holds && asked.contains(&name) {
                    found.push(name);
                }
            }
            for (name, holds) in [("POLLERR", state.error), ("POLLHUP", state.closed)] {
                if holds {
                    found.push(name);
                }
            }
            let expected = names_of(field("revents"));
            if found != expected {
                return Err(format!("{found:?} of descriptor {number}"));
            }
            ready += i64::from(!found.is_empty());
        }
        Ok(Ok(ready))
    }
}

fn names_of(argument: Option<&Argument>) -> Vec<&str> {
    match argument {
        Some(Argument::Names(names)) => names.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}
