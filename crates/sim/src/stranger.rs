//! Strangers: ends of cables at which a test itself speaks, byte by byte.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use rumpnet_stack::{
    Offloads,
    buffer::{Checksum, Offload, Received},
    time::Instant,
};

use crate::shared::{Shared, since_start};

/// Frames kept for a stranger who does not look; more are counted, and lost.
const LIMIT: usize = 65_536;

/// A stranger's frames.
#[derive(Default)]
pub(crate) struct StrangerState {
    /// Its cable, and which end of it.
    pub(crate) plug: (usize, usize),
    heard: VecDeque<Heard>,
    missed: u64,
    waiting: Option<Waker>,
}

impl StrangerState {
    /// Keeps a frame; returns who is to be woken for it.
    pub(crate) fn push(&mut self, time: Instant, frame: Received) -> Option<Waker> {
        if self.heard.len() >= LIMIT {
            self.missed += 1;
            return None;
        }
        let offload = frame.offload;
        let bytes = frame.into_payload().to_bytes();
        self.heard.push_back(Heard { time: since_start(time), bytes, offload });
        self.waiting.take()
    }
}

/// A frame that a stranger has heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When, since the world began.
    pub time: Duration,
    /// Its bytes.
    pub bytes: Bytes,
    /// What its sender left undone.
    pub offload: Offload,
}

/// A stranger on a cable: sends any bytes, and hears everything that others send. Clones are the same stranger.
#[derive(Clone)]
pub struct Stranger {
    pub(crate) shared: Rc<Shared>,
    pub(crate) number: usize,
}

impl Stranger {
    /// Sends a frame as it is; its checksums are not looked at on the way.
    pub fn send(&self, frame: impl Into<Bytes>) {
        self.send_with(frame, Offload::default());
    }

    /// Sends a frame with an offload description, as a virtio-net header would carry it; it may be a lie.
    pub fn send_with(&self, frame: impl Into<Bytes>, offload: Offload) {
        let frame = Received::new(frame.into(), offload);
        let headers = headers_len(&frame);
        self.shared.with(|core| {
            let (cable, end) = core.strangers[self.number].plug;
            core.give_bytes(cable, end, frame, headers);
        });
    }

    /// Declares what this end can do; the ends of the cable agree anew.
    pub fn set_offloads(&self, offloads: Offloads) {
        self.shared.with(|core| {
            let (cable, end) = core.strangers[self.number].plug;
            core.cables[cable].ends[end].offloads = offloads;
            core.follow_offloads(cable);
        });
    }

    /// Whether this end is there, as the carrier of the others tells them.
    pub fn set_up(&self, up: bool) {
        self.shared.with(|core| {
            let (cable, end) = core.strangers[self.number].plug;
            core.cables[cable].ends[end].up = up;
            core.follow_carrier(cable);
            core.settle_all();
        });
    }

    /// Takes all frames heard since this was last asked.
    pub fn heard(&self) -> Vec<Heard> {
        self.shared.with(|core| core.strangers[self.number].heard.drain(..).collect())
    }

    /// Waits for a frame.
    pub fn next(&self) -> impl Future<Output = Heard> + use<> {
        let (shared, number) = (Rc::clone(&self.shared), self.number);
        poll_fn(move |cx| {
            shared.with(|core| match core.strangers[number].heard.pop_front() {
                Some(heard) => Poll::Ready(heard),
                None => {
                    core.strangers[number].waiting = Some(cx.waker().clone());
                    Poll::Pending
                }
            })
        })
    }

    /// Frames lost because nobody asked for those before: more than 65,536 waited.
    pub fn missed(&self) -> u64 {
        self.shared.with(|core| core.strangers[self.number].missed)
    }
}

/// Bytes of headers that each segment of a super-frame repeats, taken to be UDP's unless the checksum lies where TCP's does.
fn headers_len(frame: &Received) -> usize {
    match frame.offload.checksum {
        Checksum::Partial { start, offset: 16 } => usize::from(start) + 20,
        Checksum::Partial { start, .. } => usize::from(start) + 8,
        _ => 42,
    }
}
