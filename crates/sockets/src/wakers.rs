//! Who waits for which socket.

use std::{collections::BTreeMap, task::Waker};

use rumpnet_stack::{Endpoint, Readiness};

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// That a receive call would not wait.
    Readable,
    /// That a send call would not wait.
    Writable,
    /// That an urgent byte has come, or that none can come any more.
    Urgent,
    /// That the peer has acknowledged everything.
    Delivered,
    /// That an error waits with its cause.
    QueuedError,
}

impl Interest {
    /// Whether `readiness` satisfies it; errors satisfy everybody.
    pub const fn is_met(self, readiness: Readiness) -> bool {
        readiness.error
            || readiness.closed
            || match self {
                Self::Readable => readiness.readable,
                Self::Writable => readiness.writable,
                Self::Delivered => readiness.delivered,
                Self::QueuedError => readiness.queued_errors,
                Self::Urgent => readiness.urgent || readiness.ended,
            }
    }
}

/// The wakers of a kernel's sockets. A waker is called once and must be registered anew.
#[derive(Debug)]
pub struct Wakers<K = Endpoint> {
    waiting: BTreeMap<K, Vec<(Interest, Waker)>>,
}

impl<K> Default for Wakers<K> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new() }
    }
}

impl<K: Ord + Copy> Wakers<K> {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self { waiting: BTreeMap::new() }
    }

    /// Remembers a waker; one that would wake the same task for the same interest is not kept twice.
    pub fn register(&mut self, socket: K, interest: Interest, waker: &Waker) {
        let waiting = self.waiting.entry(socket).or_default();
        if !waiting.iter().any(|(other, known)| *other == interest && known.will_wake(waker)) {
            waiting.push((interest, waker.clone()));
        }
    }

    /// Moves to `out` the wakers of those whose interest `readiness` meets.
    pub fn take_met(&mut self, socket: K, readiness: Readiness, out: &mut Vec<Waker>) {
        let Some(waiting) = self.waiting.get_mut(&socket) else { return };
        out.extend(
            waiting.extract_if(.., |(interest, _)| interest.is_met(readiness)).map(|(_, waker)| waker),
        );
        if waiting.is_empty() {
            self.waiting.remove(&socket);
        }
    }

    /// Moves to `out` everybody who waits for a socket.
    pub fn take_all(&mut self, socket: K, out: &mut Vec<Waker>) {
        out.extend(self.waiting.remove(&socket).into_iter().flatten().map(|(_, waker)| waker));
    }

    /// Whether nobody waits for anything.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use rumpnet_stack::slab::Key;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_those_are_woken_whose_interest_is_met_and_only_once() {
        let (reader, writer) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let socket = Endpoint::Udp(Key { index: 0, generation: 0 });
        let mut wakers = Wakers::new();
        for _ in 0..2 {
            wakers.register(socket, Interest::Readable, &Waker::from(reader.clone()));
            wakers.register(socket, Interest::Writable, &Waker::from(writer.clone()));
        }
        let readable = Readiness { readable: true, ..Readiness::default() };
        for _ in 0..2 {
            let mut met = Vec::new();
            wakers.take_met(socket, readable, &mut met);
            met.into_iter().for_each(Waker::wake);
        }
        assert_eq!((reader.0.load(Ordering::Relaxed), writer.0.load(Ordering::Relaxed)), (1, 0));
        let mut rest = Vec::new();
        wakers.take_all(socket, &mut rest);
        assert_eq!((rest.len(), wakers.is_empty()), (1, true));
    }
}
