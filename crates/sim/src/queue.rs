//! What will happen, in order: by time, and at one time in the order in which it was put here.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use rumpnet_stack::time::Instant;

/// A queue of things with their times.
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    sequence: u64,
}

struct Entry<T> {
    at: Instant,
    sequence: u64,
    what: T,
}

impl<T> Queue<T> {
    /// An empty queue.
    pub(crate) const fn new() -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0 }
    }

    /// Puts something at its time.
    pub(crate) fn push(&mut self, at: Instant, what: T) {
        self.sequence += 1;
        self.heap.push(Reverse(Entry { at, sequence: self.sequence, what }));
    }

    /// When the first thing happens.
    pub(crate) fn next_time(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// Takes the first thing, if it happens no later than `limit`.
    pub(crate) fn pop_until(&mut self, limit: Instant) -> Option<(Instant, T)> {
        self.next_time().filter(|at| *at <= limit)?;
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.what))
    }

    /// Takes the first thing, if it happens at this time and is what is wanted.
    pub(crate) fn pop_wanted(&mut self, at: Instant, wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        self.heap.peek().filter(|Reverse(entry)| entry.at == at && wanted(&entry.what))?;
        self.heap.pop().map(|Reverse(entry)| entry.what)
    }
}

impl<T> Entry<T> {
    const fn key(&self) -> (Instant, u64) {
        (self.at, self.sequence)
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_by_time_and_at_one_time_in_the_order_they_were_put() {
        let mut queue = Queue::new();
        let at = Instant::from_nanos;
        for (time, what) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b')] {
            queue.push(at(time), what);
        }
        assert_eq!(queue.pop_until(at(2)), None);
        let drawn: String = std::iter::from_fn(|| queue.pop_until(at(5))).map(|(_, what)| what).collect();
        assert_eq!(drawn, "abcd");
        assert_eq!(queue.next_time(), None);
    }
}
