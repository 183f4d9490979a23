//! Descriptors: small numbers from 3 on, the lowest that is free, as a program finds them after its three standard ones.

use std::collections::BTreeMap;

use rumpnet_stack::{Endpoint, Shutdown, SocketId, time::Duration};

use super::{World, pipe::PipeEnd, readiness::Epoll};
use crate::refusal::{Answer, Refusal};

/// The first number.
const FIRST: i32 = 3;
/// Descriptors at most, as many as Linux gives a process by default.
const LIMIT: usize = 1024;

/// What a descriptor stands for.
pub(super) enum Object {
    Tcp(SocketId),
    Udp(SocketId),
    Pipe(PipeEnd),
    Epoll(Epoll),
}

/// An open descriptor.
pub(super) struct Descriptor {
    pub(super) object: Object,
    /// O_NONBLOCK.
    pub(super) nonblocking: bool,
    /// FD_CLOEXEC, which is kept and given back; nothing is ever executed.
    pub(super) close_on_exec: bool,
    pub(super) receive_timeout: Option<Duration>,
    pub(super) send_timeout: Option<Duration>,
    /// listen(2) was called.
    pub(super) listening: bool,
    /// connect(2) was called.
    pub(super) connected: bool,
    /// How often something happened to it, for those who ask for edges.
    pub(super) news: u64,
}

/// How long a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Not at all.
    None,
    /// So long.
    Span(Duration),
    /// For ever.
    Forever,
}

/// All of them.
#[derive(Default)]
pub(super) struct Descriptors {
    table: Vec<Option<Descriptor>>,
    by_endpoint: BTreeMap<Endpoint, i32>,
}

impl Descriptor {
    pub(super) const fn new(object: Object, nonblocking: bool) -> Self {
        Self {
            object,
            nonblocking,
            close_on_exec: false,
            receive_timeout: None,
            send_timeout: None,
            listening: false,
            connected: false,
            news: 0,
        }
    }

    pub(super) const fn endpoint(&self) -> Option<Endpoint> {
        match self.object {
            Object::Tcp(id) => Some(Endpoint::Tcp(id)),
            Object::Udp(id) => Some(Endpoint::Udp(id)),
            _ => None,
        }
    }

    /// The socket of TCP; EOPNOTSUPP for one of UDP, ENOTSOCK for what is none.
    pub(super) const fn tcp(&self) -> Answer<SocketId> {
        match self.object {
            Object::Tcp(id) => Ok(id),
            Object::Udp(_) => Err(Refusal(libc::EOPNOTSUPP)),
            _ => Err(Refusal(libc::ENOTSOCK)),
        }
    }
}

impl Descriptors {
    /// Whether one more may be opened; EMFILE.
    pub(super) fn check_room(&self, more: usize) -> Answer<()> {
        let open = self.table.iter().flatten().count();
        if open + more <= LIMIT { Ok(()) } else { Err(Refusal(libc::EMFILE)) }
    }

    /// The lowest free number is taken.
    pub(super) fn insert(&mut self, descriptor: Descriptor) -> i32 {
        let free = self.table.iter().position(Option::is_none).unwrap_or(self.table.len());
        if free == self.table.len() {
            self.table.push(None);
        }
        let number = FIRST + free as i32;
        if let Some(endpoint) = descriptor.endpoint() {
            self.by_endpoint.insert(endpoint, number);
        }
        self.table[free] = Some(descriptor);
        number
    }

    pub(super) fn remove(&mut self, number: i32) -> Answer<Descriptor> {
        let place = place(number)?;
        let descriptor = self.table.get_mut(place).and_then(Option::take).ok_or(Refusal::BAD_DESCRIPTOR)?;
        if let Some(endpoint) = descriptor.endpoint() {
            self.by_endpoint.remove(&endpoint);
        }
        // An event queue forgets what is closed.
        for epoll in self.table.iter_mut().flatten() {
            if let Object::Epoll(epoll) = &mut epoll.object {
                epoll.forget(number);
            }
        }
        Ok(descriptor)
    }

    pub(super) fn find(&self, number: i32) -> Answer<&Descriptor> {
        self.table.get(place(number)?).and_then(Option::as_ref).ok_or(Refusal::BAD_DESCRIPTOR)
    }

    pub(super) fn find_mut(&mut self, number: i32) -> Answer<&mut Descriptor> {
        self.table.get_mut(place(number)?).and_then(Option::as_mut).ok_or(Refusal::BAD_DESCRIPTOR)
    }

    /// Something has happened to a socket.
    pub(super) fn on_news(&mut self, endpoint: Endpoint) {
        if let Some(number) = self.by_endpoint.get(&endpoint)
            && let Ok(descriptor) = self.find_mut(*number)
        {
            descriptor.news += 1;
        }
    }

    /// Something has happened to a pipe.
    pub(super) fn on_pipe_news(&mut self, pipe: usize) {
        for descriptor in self.table.iter_mut().flatten() {
            if matches!(descriptor.object, Object::Pipe(end) if end.pipe == pipe) {
                descriptor.news += 1;
            }
        }
    }
}

fn place(number: i32) -> Answer<usize> {
    usize::try_from(number - FIRST.min(number))
        .ok()
        .filter(|_| number >= FIRST)
        .ok_or(Refusal::BAD_DESCRIPTOR)
}

impl World {
    /// How long a call that reads from (or writes to) a descriptor may wait; `dont_wait` is MSG_DONTWAIT.
    pub fn patience(&self, number: i32, writes: bool, dont_wait: bool) -> Answer<Patience> {
        let descriptor = self.descriptors.find(number)?;
        let limit = if writes { descriptor.send_timeout } else { descriptor.receive_timeout };
        Ok(match limit {
            _ if descriptor.nonblocking || dont_wait => Patience::None,
            Some(span) => Patience::Span(span),
            None => Patience::Forever,
        })
    }

    /// Before close(2): how long it shall wait (SO_LINGER), the stream being ended; [`Self::delivered`] says when it is over.
    pub fn linger(&mut self, number: i32) -> Answer<Option<Duration>> {
        let descriptor = self.descriptors.find(number)?;
        let Object::Tcp(id) = descriptor.object else { return Ok(None) };
        let span = self.stack.tcp_linger(id).filter(|_| !descriptor.nonblocking);
        if span.is_some() {
            self.stack.tcp_shutdown(self.now, id, Shutdown::Write)?;
            self.settle();
        }
        Ok(span)
    }

    /// Whether the peer has acknowledged all of a stream; EAGAIN while it has not.
    pub fn delivered(&mut self, number: i32) -> Answer<()> {
        let id = self.descriptors.find(number)?.tcp()?;
        if self.stack.readiness(Endpoint::Tcp(id)).delivered { Ok(()) } else { Err(Refusal::AGAIN) }
    }

    /// close(2): the rest of a stream and its end still go.
    pub fn close(&mut self, number: i32) -> Answer<()> {
        let descriptor = self.descriptors.remove(number)?;
        let closed = match descriptor.object {
            Object::Tcp(id) => self.stack.tcp_close(self.now, id).map_err(Refusal::from),
            Object::Udp(id) => self.stack.udp_close(id).map_err(Refusal::from),
            Object::Pipe(end) => {
                self.pipes.close(end);
                self.descriptors.on_pipe_news(end.pipe);
                Ok(())
            }
            Object::Epoll(_) => Ok(()),
        };
        self.settle();
        closed
    }
}
