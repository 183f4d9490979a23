//! The thread that carries: it reads what the ends send, asks the cable what befalls it, and delivers in time.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io::IoSlice,
    num::NonZeroU64,
    os::fd::AsFd,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rumpnet_host::{HEADER_LEN, Tap};
use rumpnet_sim::LooseCable;
use rumpnet_wire::pcapng::Direction;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::setpriority_process,
    thread::set_current_timer_slack,
};

use crate::{Shared, lock};

/// Room for the longest frame that an interface without offloads sends.
const BUFFER: usize = HEADER_LEN + 65_536;
/// Frames read from one end before the other has its turn.
const BATCH: usize = 64;
/// How soon it is seen that the cable is to be taken away.
const PATIENCE: Duration = Duration::from_millis(20);

/// A frame under way; the earliest comes first, and of equals the one that was sent first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    at: Duration,
    number: u64,
    to: usize,
    intact: bool,
    frame: Bytes,
}

/// The carrying thread.
pub(crate) struct Carrier {
    ends: [Tap; 2],
    shared: Arc<Shared>,
    cable: LooseCable,
    begun: Instant,
    under_way: BinaryHeap<Reverse<Arrival>>,
    number: u64,
    buffer: Vec<u8>,
}

impl Carrier {
    pub(crate) fn new(ends: [Tap; 2], shared: Arc<Shared>, cable: LooseCable) -> Self {
        let buffer = vec![0; BUFFER];
        Self { ends, shared, cable, begun: Instant::now(), under_way: BinaryHeap::new(), number: 0, buffer }
    }

    /// Carries until the cable is taken away.
    pub(crate) fn run(mut self) {
        // Without it, every sleep lasts some 50 µs longer; where it is refused, frames are as much later.
        let _refused = set_current_timer_slack(NonZeroU64::new(1));
        // Delays are to be the cable's and not those of a busy host.
        let _refused = setpriority_process(None, -20);
        while !self.shared.ends.load(Ordering::Relaxed) {
            self.wait();
            if let Some(conditions) = lock(&self.shared.change).take() {
                (0..2).for_each(|end| self.cable.set_from(end, conditions));
            }
            (0..2).for_each(|end| self.take_up(end));
            self.deliver();
            *lock(&self.shared.counters) = self.cable.counters();
        }
    }

    /// Until an end sends, or a frame is due.
    fn wait(&self) {
        let due =
            self.under_way.peek().map_or(PATIENCE, |next| next.0.at.saturating_sub(self.begun.elapsed()));
        let due = due.min(PATIENCE);
        let timeout = Timespec { tv_sec: 0, tv_nsec: due.subsec_nanos().into() };
        let [one, other] = &self.ends;
        let mut ends = [one, other].map(|end| PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN));
        // An interrupted wait is a short one.
        let _interrupted = poll(&mut ends, Some(&timeout));
    }

    /// Reads what an end has sent.
    fn take_up(&mut self, end: usize) {
        for _ in 0..BATCH {
            let Ok(len) = self.ends[end].read(&mut self.buffer) else { return };
            let frame = Bytes::copy_from_slice(&self.buffer[HEADER_LEN.min(len)..len]);
            self.send(end, frame);
        }
    }

    fn send(&mut self, end: usize, frame: Bytes) {
        let now = self.begun.elapsed();
        if end == 0 {
            self.record(now, Direction::Outbound, &frame);
        }
        let before = self.cable.counters().corrupted;
        let arrivals = self.cable.send(now, end, frame);
        let intact = self.cable.counters().corrupted == before;
        for (at, frame) in arrivals {
            self.number += 1;
            let arrival = Arrival { at, number: self.number, to: 1 - end, intact, frame };
            self.under_way.push(Reverse(arrival));
        }
    }

    /// Writes what is due.
    fn deliver(&mut self) {
        let now = self.begun.elapsed();
        while self.under_way.peek().is_some_and(|next| next.0.at <= now) {
            let Some(Reverse(arrival)) = self.under_way.pop() else { return };
            if arrival.to == 0 && arrival.intact {
                self.record(now, Direction::Inbound, &arrival.frame);
            }
            let slices = [IoSlice::new(&[0; HEADER_LEN]), IoSlice::new(&arrival.frame)];
            let refused = self.ends[arrival.to].writev(&slices).is_err();
            let mut punctuality = lock(&self.shared.punctuality);
            punctuality.frames += 1;
            punctuality.late += now - arrival.at;
            punctuality.latest = punctuality.latest.max(now - arrival.at);
            punctuality.refused += u64::from(refused);
        }
    }

    fn record(&self, at: Duration, direction: Direction, frame: &[u8]) {
        if let Some(capture) = &mut *lock(&self.shared.capture) {
            capture.add(at, direction, frame);
        }
    }
}
