//! Captures: copies of packets that pass an interface, or that were dropped, kept until a reader takes them.
//!
//! A capture's queue is bounded; what arrives while it is full is counted as an overrun. Writing pcapng is the
//! reader's business. `link` feeds what passes, [`crate::context::Context`] what is dropped.

use alloc::{collections::VecDeque, vec::Vec};

use bytes::Bytes;
use rumpnet_proto::DropReason;
use rumpnet_wire::pcapng;

use crate::{
    buffer::{Checksum, GsoKind, Offload},
    context::Event,
    slab::{Key, Slab},
    time::Instant,
};

/// Which way a captured packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Received.
    In,
    /// Sent.
    Out,
}

/// A captured packet.
#[derive(Clone, Debug)]
pub struct Captured {
    /// When it passed.
    pub time: Instant,
    /// The index of its interface.
    pub interface: u32,
    /// Which way it went.
    pub direction: Direction,
    /// Why it was dropped, if it was.
    pub reason: Option<DropReason>,
    /// Its bytes, cut to the capture's length.
    pub bytes: Bytes,
    /// Its length before it was cut.
    pub original_len: u32,
    /// What it leaves to the hardware: its checksum, and segmentation for a super-frame.
    pub offload: Offload,
}

/// What is known of a packet besides its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passing {
    pub(crate) time: Instant,
    pub(crate) interface: u32,
    pub(crate) direction: Direction,
    pub(crate) reason: Option<DropReason>,
    pub(crate) offload: Offload,
}

impl From<Offload> for pcapng::Offload {
    /// What a reader must know so as not to take an unfinished checksum or a super-frame for a fault.
    fn from(offload: Offload) -> Self {
        Self {
            checksum_not_ready: matches!(offload.checksum, Checksum::Partial { .. }),
            checksum_valid: offload.checksum == Checksum::Verified,
            tcp_segmentation: offload.gso.is_some_and(|gso| gso.kind != GsoKind::Udp),
        }
    }
}

/// What to capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    /// One interface by index, or all.
    pub(crate) interface: Option<u32>,
    /// Only dropped packets.
    pub(crate) drops: bool,
    /// Bytes kept of each packet.
    pub(crate) snap_len: u32,
    /// Packets after which it ends.
    pub(crate) count: u64,
}

struct Capture {
    filter: Filter,
    queue: VecDeque<Captured>,
    queued_bytes: usize,
    announced: bool,
    captured: u64,
    overruns: u64,
}

/// All captures of a kernel.
pub(crate) struct Captures {
    open: Slab<Capture>,
    /// Packets, and bytes, that wait for one reader.
    queue_limit: (u32, u32),
}

/// The most captures open at once.
const MAX_CAPTURES: u32 = 64;

impl Captures {
    pub(crate) fn new(queue_limit: (u32, u32)) -> Self {
        Self { open: Slab::new(MAX_CAPTURES), queue_limit }
    }

    pub(crate) fn open(&mut self, filter: Filter) -> Option<Key> {
        let (queue, queued_bytes, announced) = (VecDeque::new(), 0, false);
        let capture = Capture { filter, queue, queued_bytes, announced, captured: 0, overruns: 0 };
        self.open.insert(capture).ok()
    }

    /// Ends a capture; returns how many packets its reader took, and how many were lost, those that still waited among them.
    pub(crate) fn close(&mut self, key: Key) -> Option<(u64, u64)> {
        self.open.remove(key).map(|capture| {
            let waiting = capture.queue.len() as u64;
            (capture.captured - waiting, capture.overruns + waiting)
        })
    }

    /// Moves what has been captured to `out`; false once the capture is complete or closed.
    pub(crate) fn read(&mut self, key: Key, out: &mut Vec<Captured>) -> bool {
        let Some(capture) = self.open.value_mut(key) else { return false };
        capture.announced = false;
        capture.queued_bytes = 0;
        out.extend(capture.queue.drain(..));
        !capture.is_complete()
    }

    pub(crate) fn want_passing(&self, interface: u32) -> bool {
        !self.open.is_empty() && self.open.iter().any(|(_, capture)| capture.filter.matches(interface, false))
    }

    pub(crate) fn want_drops(&self, interface: u32) -> bool {
        !self.open.is_empty() && self.open.iter().any(|(_, capture)| capture.filter.matches(interface, true))
    }

    /// Gives a packet to every capture that wants it.
    pub(crate) fn take<'a>(
        &mut self,
        passing: Passing,
        slices: impl Iterator<Item = &'a [u8]>,
        events: &mut VecDeque<Event>,
    ) {
        let Passing { time, interface, direction, reason, offload } = passing;
        let wanting = |capture: &&Capture| {
            capture.filter.matches(interface, reason.is_some()) && !capture.is_complete()
        };
        let wanted = self.open.iter().map(|(_, capture)| capture).filter(wanting);
        let Some(longest) = wanted.map(|capture| capture.filter.snap_len as usize).max() else { return };
        let (whole, original_len) = copied(slices, longest);
        let limit = self.queue_limit;
        self.open.values_mut(|key, capture| {
            if !wanting(&&*capture) {
                return;
            }
            let bytes = whole.slice(..whole.len().min(capture.filter.snap_len as usize));
            let packet = Captured { time, interface, direction, reason, bytes, original_len, offload };
            if capture.push(packet, whole.len(), limit) {
                events.push_back(Event::Capture(key));
            }
        });
    }
}

impl Capture {
    const fn is_complete(&self) -> bool {
        self.captured >= self.filter.count
    }

    /// Keeps a packet or counts an overrun; true if the reader must be told.
    ///
    /// It is charged `pinned` bytes, which it may share with other captures.
    fn push(&mut self, packet: Captured, pinned: usize, (packets, bytes): (u32, u32)) -> bool {
        if self.queue.len() >= packets as usize || self.queued_bytes + pinned > bytes as usize {
            self.overruns += 1;
            return false;
        }
        self.queued_bytes += pinned;
        self.queue.push_back(packet);
        self.captured += 1;
        !core::mem::replace(&mut self.announced, true)
    }
}

/// At most `longest` bytes of a packet, and its whole length.
fn copied<'a>(slices: impl Iterator<Item = &'a [u8]>, longest: usize) -> (Bytes, u32) {
    let (mut bytes, mut len) = (Vec::new(), 0);
    for slice in slices {
        let room = longest - bytes.len();
        bytes.extend_from_slice(&slice[..slice.len().min(room)]);
        len += slice.len();
    }
    (bytes.into(), len as u32)
}

impl Filter {
    fn matches(&self, interface: u32, dropped: bool) -> bool {
        self.drops == dropped && self.interface.is_none_or(|wanted| wanted == interface)
    }
}
