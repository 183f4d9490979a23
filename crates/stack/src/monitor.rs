//! Monitors of routes: what happened to routes, neighbours, addresses and interfaces, kept until a reader takes it.
//!
//! A monitor's queue is bounded; what happens while it is full is lost, and how much that was is told in its place. What changes in a
//! table is noted there ([`crate::journal`]); the rest is told by who causes it.

use alloc::{collections::VecDeque, vec::Vec};

use rumpnet_proto::{RouteEvent, RouteNews};

use crate::{
    context::Event,
    slab::{Key, Slab},
    time::Instant,
};

/// The most monitors open at once.
const MAX_MONITORS: u32 = 64;

#[derive(Default)]
struct Monitor {
    queue: VecDeque<RouteNews>,
    announced: bool,
    /// Events lost since the last one in the queue.
    losing: u64,
    overruns: u64,
}

/// All monitors of a kernel.
pub(crate) struct Monitors {
    open: Slab<Monitor>,
    /// Events that wait for one reader.
    limit: u32,
    booted: Instant,
}

impl Monitors {
    pub(crate) fn new(limit: u32, booted: Instant) -> Self {
        Self { open: Slab::new(MAX_MONITORS), limit, booted }
    }

    /// Whether anybody wants to know.
    #[inline]
    pub(crate) const fn are_open(&self) -> bool {
        !self.open.is_empty()
    }

    pub(crate) fn open(&mut self) -> Option<Key> {
        self.open.insert(Monitor::default()).ok()
    }

    /// Ends a monitor; how many events were lost, those that nobody took among them.
    pub(crate) fn close(&mut self, key: Key) -> Option<u64> {
        self.open.remove(key).map(|monitor| monitor.overruns + monitor.queue.len() as u64)
    }

    /// Moves what has happened to `out`; false once the monitor is closed.
    pub(crate) fn read(&mut self, key: Key, out: &mut Vec<RouteNews>) -> bool {
        let Some(monitor) = self.open.value_mut(key) else { return false };
        monitor.announced = false;
        out.extend(monitor.queue.drain(..));
        true
    }

    /// Tells every monitor of something.
    pub(crate) fn tell(&mut self, now: Instant, event: &RouteEvent, events: &mut VecDeque<Event>) {
        let Self { open, limit, booted } = self;
        let news = RouteNews { time_ns: (now - *booted).as_nanos(), event: event.clone() };
        open.values_mut(|key, monitor| {
            if monitor.push(&news, *limit as usize) {
                events.push_back(Event::Monitor(key));
            }
        });
    }
}

impl Monitor {
    /// Keeps an event or counts it as lost; true if the reader must be told.
    fn push(&mut self, news: &RouteNews, limit: usize) -> bool {
        // What was lost takes a place of its own, so that there must be room for both.
        if self.queue.len() + usize::from(self.losing > 0) >= limit {
            self.losing += 1;
            self.overruns += 1;
            return false;
        }
        if self.losing > 0 {
            let events = core::mem::take(&mut self.losing);
            self.queue.push_back(RouteNews { event: RouteEvent::Lost { events }, ..*news });
        }
        self.queue.push_back(news.clone());
        !core::mem::replace(&mut self.announced, true)
    }
}
