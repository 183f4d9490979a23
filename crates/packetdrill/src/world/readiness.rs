//! What descriptors are ready for: poll(2) and epoll(7), with level, edge and one shot.

use std::collections::BTreeMap;

use rumpnet_proto::TcpState;
use rumpnet_stack::{Endpoint, SocketId};

use super::{
    World,
    descriptor::{Descriptor, Object},
};
use crate::refusal::{Answer, Refusal};

/// What is told though nobody asked.
const ALWAYS: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;
/// Event queues within event queues, at most; a deeper one is a loop.
const DEPTH: u32 = 5;

/// What an event queue shall watch a descriptor for (struct epoll_event).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Events, and EPOLLET and EPOLLONESHOT.
    pub events: u32,
    /// What is told back with them.
    pub data: u64,
}

struct Watch {
    interest: Interest,
    /// The news that were told last; for edges.
    told: Option<u64>,
    /// Its one shot was fired.
    spent: bool,
}

/// An event queue.
#[derive(Default)]
pub(super) struct Epoll {
    watched: BTreeMap<i32, Watch>,
    /// After whom the next round begins, so that nobody is told late for ever.
    turn: i32,
}

impl Epoll {
    pub(super) fn forget(&mut self, number: i32) {
        self.watched.remove(&number);
    }
}

impl World {
    /// What a descriptor is ready for, in the bits that poll(2) and epoll(7) share.
    pub fn readiness(&self, number: i32) -> Answer<u32> {
        let descriptor = self.descriptors.find(number)?;
        Ok(self.events_of(descriptor, 0) as u32)
    }

    fn events_of(&self, descriptor: &Descriptor, depth: u32) -> i32 {
        let told = |state: bool, bits: i32| if state { bits } else { 0 };
        const INPUT: i32 = libc::EPOLLIN | libc::EPOLLRDNORM;
        const OUTPUT: i32 = libc::EPOLLOUT | libc::EPOLLWRNORM;
        match &descriptor.object {
            Object::Tcp(id) => self.stream_events(descriptor, *id),
            Object::Udp(id) => {
                let state = self.stack.readiness(Endpoint::Udp(*id));
                told(state.readable, INPUT) | told(state.writable, OUTPUT) | told(state.error, libc::EPOLLERR)
            }
            Object::Pipe(end) if end.writes => {
                told(self.pipes.room(*end) >= libc::PIPE_BUF, OUTPUT)
                    | told(!self.pipes.is_joined(*end), libc::EPOLLERR)
            }
            Object::Pipe(end) => {
                told(self.pipes.len(*end) > 0, INPUT) | told(!self.pipes.is_joined(*end), libc::EPOLLHUP)
            }
            Object::Epoll(epoll) => {
                let any = depth < DEPTH
                    && epoll
                        .watched
                        .iter()
                        .any(|(number, watch)| self.ready_events(*number, watch, depth + 1) != 0);
                told(any, INPUT)
            }
        }
    }

    /// As Linux's tcp_poll(): a socket that is not connected has hung up, one whose peer has ended says so.
    fn stream_events(&self, descriptor: &Descriptor, id: SocketId) -> i32 {
        let told = |state: bool, bits: i32| if state { bits } else { 0 };
        if !descriptor.connected && !descriptor.listening {
            return libc::EPOLLOUT | libc::EPOLLWRNORM | libc::EPOLLHUP;
        }
        let state = self.stack.readiness(Endpoint::Tcp(id));
        let connection = self.stack.tcp_info(id).map(|info| info.state);
        let ended = matches!(
            connection,
            Ok(TcpState::CloseWait
                | TcpState::LastAck
                | TcpState::Closing
                | TcpState::TimeWait
                | TcpState::Closed)
        );
        let both_ended = matches!(
            connection,
            Ok(TcpState::LastAck | TcpState::Closing | TcpState::TimeWait | TcpState::Closed)
        );
        told(state.readable, libc::EPOLLIN | libc::EPOLLRDNORM)
            | told(state.writable, libc::EPOLLOUT | libc::EPOLLWRNORM)
            | told(state.urgent, libc::EPOLLPRI)
            | told(state.error, libc::EPOLLERR)
            | told(ended, libc::EPOLLRDHUP)
            | told(state.closed || both_ended, libc::EPOLLHUP)
    }

    /// What of an interest is to be told now.
    fn ready_events(&self, number: i32, watch: &Watch, depth: u32) -> u32 {
        let Ok(descriptor) = self.descriptors.find(number) else { return 0 };
        let edge = watch.interest.events & libc::EPOLLET as u32 != 0;
        if watch.spent || (edge && watch.told == Some(descriptor.news)) {
            return 0;
        }
        self.events_of(descriptor, depth) as u32 & (watch.interest.events | ALWAYS)
    }

    /// epoll_create(2).
    pub fn epoll_create(&mut self) -> Answer<i32> {
        self.descriptors.check_room(1)?;
        Ok(self.descriptors.insert(Descriptor::new(Object::Epoll(Epoll::default()), false)))
    }

    /// epoll_ctl(2). EBADF, EEXIST, ENOENT, EINVAL (itself, an unknown operation, what is no event queue), ELOOP.
    pub fn epoll_ctl(&mut self, queue: i32, operation: i32, number: i32, interest: Interest) -> Answer<()> {
        let watched = self.descriptors.find(number)?;
        let loops = matches!(watched.object, Object::Epoll(_)) && self.reaches(number, queue, 0);
        let Object::Epoll(epoll) = &mut self.descriptors.find_mut(queue)?.object else {
            return Err(Refusal::INVALID);
        };
        if queue == number {
            return Err(Refusal::INVALID);
        }
        let known = epoll.watched.contains_key(&number);
        let watch = Watch { interest, told: None, spent: false };
        match operation {
            libc::EPOLL_CTL_ADD if known => Err(Refusal(libc::EEXIST)),
            libc::EPOLL_CTL_ADD if loops => Err(Refusal(libc::ELOOP)),
            libc::EPOLL_CTL_ADD => {
                epoll.watched.insert(number, watch);
                Ok(())
            }
            libc::EPOLL_CTL_MOD | libc::EPOLL_CTL_DEL if !known => Err(Refusal(libc::ENOENT)),
            libc::EPOLL_CTL_MOD => {
                epoll.watched.insert(number, watch);
                Ok(())
            }
            libc::EPOLL_CTL_DEL => {
                epoll.watched.remove(&number);
                Ok(())
            }
            _ => Err(Refusal::INVALID),
        }
    }

    /// Whether a queue watches another, be it through others.
    fn reaches(&self, from: i32, wanted: i32, depth: u32) -> bool {
        let Ok(Descriptor { object: Object::Epoll(epoll), .. }) = self.descriptors.find(from) else {
            return false;
        };
        depth >= DEPTH
            || epoll
                .watched
                .keys()
                .any(|number| *number == wanted || self.reaches(*number, wanted, depth + 1))
    }

    /// epoll_wait(2): up to `limit` events with their data. EAGAIN while there is none.
    pub fn epoll_wait(&mut self, queue: i32, limit: usize) -> Answer<Vec<Interest>> {
        let Object::Epoll(epoll) = &self.descriptors.find(queue)?.object else {
            return Err(Refusal::INVALID);
        };
        let after = epoll.watched.range(epoll.turn.saturating_add(1)..);
        let round = after.chain(epoll.watched.range(..=epoll.turn));
        let ready: Vec<(i32, Interest)> = round
            .map(|(number, watch)| {
                let events = self.ready_events(*number, watch, 0);
                (*number, Interest { events, data: watch.interest.data })
            })
            .filter(|(_, interest)| interest.events != 0)
            .take(limit)
            .collect();
        for (number, _) in &ready {
            self.note_told(queue, *number);
        }
        if ready.is_empty() {
            Err(Refusal::AGAIN)
        } else {
            Ok(ready.into_iter().map(|(_, told)| told).collect())
        }
    }

    fn note_told(&mut self, queue: i32, number: i32) {
        let news = self.descriptors.find(number).map_or(0, |descriptor| descriptor.news);
        if let Ok(Descriptor { object: Object::Epoll(epoll), .. }) = self.descriptors.find_mut(queue)
            && let Some(watch) = epoll.watched.get_mut(&number)
        {
            watch.told = Some(news);
            watch.spent = watch.interest.events & libc::EPOLLONESHOT as u32 != 0;
            epoll.turn = number;
        }
    }
}
