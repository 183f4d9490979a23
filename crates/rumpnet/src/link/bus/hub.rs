//! A hub of this process, found by its name: what one member sends, all others hear, and nothing is lost.
//!
//! Frames pass as they are, with their offloads, and payload is shared. Each member has a bounded queue; while one is full, nobody
//! else's frame is taken, and its sender is told when there is room. Who leaves, or is down, holds nobody back. There is no thread
//! here: whoever reads is told by its doorbell, once for all frames that wait.

use std::{
    collections::{HashMap, VecDeque},
    io, mem,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak},
};

use rumpnet_stack::buffer::{Frame, Received};

use crate::reactor::Doorbell;

/// Frames that wait for one member.
const QUEUE: usize = 1024;

/// Bytes that wait for one member.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// The hubs of this process; each lives as long as it has members.
static HUBS: LazyLock<Mutex<HashMap<String, Weak<Hub>>>> = LazyLock::new(Mutex::default);

/// A hub.
pub(super) struct Hub {
    name: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    members: Vec<Option<Place>>,
    free: Vec<usize>,
    /// How many members wait until there is room for what they send.
    waiting: usize,
}

/// One member's place.
struct Place {
    frames: VecDeque<Received>,
    bytes: usize,
    doorbell: Doorbell,
    /// Whether it hears anything: its interface is up.
    listening: bool,
    /// It was refused for want of room.
    waits: bool,
}

/// A membership; it ends when this is dropped.
pub(super) struct Member {
    hub: Arc<Hub>,
    number: usize,
}

impl Hub {
    /// The hub of that name, made if nobody is on it.
    pub(super) fn named(name: &str) -> Arc<Self> {
        let mut hubs = lock(&HUBS);
        if let Some(hub) = hubs.get(name).and_then(Weak::upgrade) {
            return hub;
        }
        let hub = Arc::new(Self { name: name.to_owned(), state: Mutex::default() });
        hubs.insert(name.to_owned(), Arc::downgrade(&hub));
        hub
    }

    /// A new member, who hears nothing yet.
    pub(super) fn join(self: &Arc<Self>, doorbell: Doorbell) -> Member {
        let place = Place { frames: VecDeque::new(), bytes: 0, doorbell, listening: false, waits: false };
        let mut state = lock(&self.state);
        let number = state.free.pop().unwrap_or(state.members.len());
        if number == state.members.len() {
            state.members.push(None);
        }
        state.members[number] = Some(place);
        Member { hub: self.clone(), number }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let mut hubs = lock(&HUBS);
        // Somebody may have made another one of this name in the meantime.
        if hubs.get(&self.name).is_some_and(|hub| hub.strong_count() == 0) {
            hubs.remove(&self.name);
        }
    }
}

impl Member {
    /// Gives a frame to all others that listen; WouldBlock if one of them has no room, to be told by the doorbell when it has.
    pub(super) fn send(&self, frame: &Frame) -> io::Result<()> {
        let mut state = lock(&self.hub.state);
        if state.listeners_beside(self.number).any(|place| place.is_full()) {
            state.set_waiting(self.number);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut frame = Some(Received::from(Frame { charge: None, ..frame.clone() }));
        let mut told = Vec::new();
        let mut listeners = state.listeners_beside(self.number).peekable();
        while let Some(place) = listeners.next() {
            // The last one is given what is left, so that two members copy nothing twice.
            let next = if listeners.peek().is_some() { frame.clone() } else { frame.take() };
            if place.frames.is_empty() {
                told.push(place.doorbell.clone());
            }
            place.push(next.expect("it is given away last"));
        }
        drop(listeners);
        drop(state);
        told.iter().for_each(Doorbell::ring);
        Ok(())
    }

    /// Appends up to `limit` frames that have come.
    pub(super) fn receive(&self, limit: usize, out: &mut Vec<Received>) {
        let mut state = lock(&self.hub.state);
        let place = state.place(self.number);
        let count = place.frames.len().min(limit);
        let before = out.len();
        out.extend(place.frames.drain(..count));
        place.bytes -= out[before..].iter().map(Received::len).sum::<usize>();
        if place.is_half_empty() {
            tell(state.take_waiting(), state);
        }
    }

    /// Whether it hears what others send; what waits for one that does not is lost.
    pub(super) fn set_listening(&self, listening: bool) {
        let mut state = lock(&self.hub.state);
        let place = state.place(self.number);
        place.listening = listening;
        if !listening {
            place.clear();
            tell(state.take_waiting(), state);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = lock(&self.hub.state);
        let left = state.members[self.number].take();
        state.waiting -= usize::from(left.as_ref().is_some_and(|place| place.waits));
        state.free.push(self.number);
        tell(state.take_waiting(), state);
    }
}

impl State {
    fn place(&mut self, number: usize) -> &mut Place {
        self.members[number].as_mut().expect("a member has its place until it is dropped")
    }

    fn listeners_beside(&mut self, number: usize) -> impl Iterator<Item = &mut Place> {
        let others = self.members.iter_mut().enumerate().filter(move |(other, _)| *other != number);
        others.filter_map(|(_, place)| place.as_mut()).filter(|place| place.listening)
    }

    fn set_waiting(&mut self, number: usize) {
        let before = mem::replace(&mut self.place(number).waits, true);
        self.waiting += usize::from(!before);
    }

    /// The doorbells of those who wait for room, who wait no more.
    fn take_waiting(&mut self) -> Vec<Doorbell> {
        if mem::take(&mut self.waiting) == 0 {
            return Vec::new();
        }
        let places = self.members.iter_mut().flatten();
        places.filter_map(|place| mem::take(&mut place.waits).then(|| place.doorbell.clone())).collect()
    }
}

impl Place {
    fn is_full(&self) -> bool {
        self.frames.len() >= QUEUE || self.bytes >= QUEUE_BYTES
    }

    fn is_half_empty(&self) -> bool {
        self.frames.len() <= QUEUE / 2 && self.bytes <= QUEUE_BYTES / 2
    }

    fn push(&mut self, frame: Received) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }
}

/// Rings after the lock is left, for the last owner of a port may be found by it.
fn tell(doorbells: Vec<Doorbell>, state: MutexGuard<'_, State>) {
    drop(state);
    doorbells.iter().for_each(Doorbell::ring);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
