//! Captures: copies of packets that pass an interface, or that were dropped, kept until a reader takes them.
//!
//! A capture's queue is bounded and charged to the memory of all socket buffers; what arrives while it is full, or while that is used up, is counted as an
//! overrun. Writing pcapng is the reader's business. `link` feeds what passes, [`crate::context::Context`] what is dropped. A packet
//! socket ([`crate::packet`]) is a capture with a few more wishes.

use alloc::{collections::VecDeque, vec::Vec};

use bytes::Bytes;
use rumpnet_proto::{DropReason, Errno};
use rumpnet_wire::pcapng;

use crate::{
    bpf::Program,
    buffer::{Checksum, GsoKind, Offload},
    config::Config,
    context::{Event, NO_INTERFACE},
    endpoint::{Endpoint, Readiness},
    memory::{Memory, MemoryLimits},
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
    /// Whether it is for another station, and its interface not promiscuous.
    pub(crate) foreign: bool,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    /// One interface by index, or all.
    pub(crate) interface: Option<u32>,
    /// Only dropped packets.
    pub(crate) drops: bool,
    /// Bytes kept of each packet.
    pub(crate) snap_len: u32,
    /// Packets after which it ends.
    pub(crate) count: u64,
    /// What decides of each packet, if not all are wanted.
    pub(crate) program: Option<Program>,
    /// Whether those for other stations are wanted.
    pub(crate) foreign: bool,
    /// The one direction wanted.
    pub(crate) direction: Option<Direction>,
}

/// What a packet socket has beside a capture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wishes {
    /// Whether a single packet makes it readable, or only a buffer that is half full (BIOCIMMEDIATE).
    pub(crate) immediate: bool,
    /// Whether its user writes the source address of frames (BIOCSHDRCMPLT).
    pub(crate) header_complete: bool,
    /// Whether it holds its interface promiscuous (BIOCPROMISC).
    pub(crate) promiscuous: bool,
    /// Its interface is gone, and its reader does not know.
    pub(crate) error: Option<Errno>,
}

/// One capture.
pub(crate) struct Capture {
    pub(crate) filter: Filter,
    /// Of a packet socket.
    pub(crate) wishes: Option<Wishes>,
    queue: VecDeque<Captured>,
    queued_bytes: usize,
    /// What of the memory of all sockets it is charged for.
    charged: u32,
    /// Bytes that may wait.
    pub(crate) limit: u32,
    announced: bool,
    /// Packets that its program was asked about.
    pub(crate) received: u64,
    pub(crate) captured: u64,
    pub(crate) overruns: u64,
}

/// All captures of a kernel.
pub(crate) struct Captures {
    open: Slab<Capture>,
    /// Packets, and bytes, that wait for one reader.
    queue_limit: (u32, u32),
}

/// The memory that captures share with all socket buffers.
pub(crate) type Budget<'a> = (&'a mut Memory, &'a MemoryLimits);

/// What showing a packet has come to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown {
    /// Captures that had no room for it.
    pub(crate) overruns: u64,
    /// Whether memory has come under pressure.
    pub(crate) pressure: bool,
}

impl Captures {
    pub(crate) fn new(config: &Config) -> Self {
        let queue_limit = (config.capture_queue, config.capture_bytes);
        Self { open: Slab::new(config.captures), queue_limit }
    }

    pub(crate) fn open(&mut self, filter: Filter, wishes: Option<Wishes>) -> Option<Key> {
        let capture = Capture {
            filter,
            wishes,
            queue: VecDeque::new(),
            queued_bytes: 0,
            charged: 0,
            limit: self.queue_limit.1,
            announced: false,
            received: 0,
            captured: 0,
            overruns: 0,
        };
        self.open.insert(capture).ok()
    }

    /// Ends a capture; returns how many packets its reader took, and how many were lost, those that still waited among them.
    pub(crate) fn close(&mut self, key: Key, (memory, limits): Budget<'_>) -> Option<(u64, u64)> {
        let mut capture = self.open.remove(key)?;
        memory.recharge(limits, &mut capture.charged, 0);
        let waiting = capture.queue.len() as u64;
        Some((capture.captured - waiting, capture.overruns + waiting))
    }

    /// Moves what has been captured to `out`; false once the capture is complete or closed.
    pub(crate) fn read(&mut self, key: Key, out: &mut Vec<Captured>, (memory, limits): Budget<'_>) -> bool {
        let Some(capture) = self.open.value_mut(key) else { return false };
        capture.announced = false;
        capture.queued_bytes = 0;
        memory.recharge(limits, &mut capture.charged, 0);
        out.extend(capture.queue.drain(..));
        !capture.is_complete()
    }

    /// The capture under a packet socket. EBADF.
    pub(crate) fn socket(&self, key: Key) -> Result<(&Capture, Wishes), Errno> {
        let capture = self.open.value(key).ok_or(Errno::BadF)?;
        Ok((capture, capture.wishes.ok_or(Errno::BadF)?))
    }

    /// The same, to be changed.
    pub(crate) fn socket_mut(&mut self, key: Key) -> Result<(&mut Filter, &mut Wishes, &mut u32), Errno> {
        let Capture { filter, wishes, limit, .. } = self.open.value_mut(key).ok_or(Errno::BadF)?;
        Ok((filter, wishes.as_mut().ok_or(Errno::BadF)?, limit))
    }

    /// What waits, and what was counted, is forgotten, as when a packet socket gets another interface or program.
    pub(crate) fn reset(&mut self, key: Key, (memory, limits): Budget<'_>) {
        let Some(capture) = self.open.value_mut(key) else { return };
        capture.queue.clear();
        capture.queued_bytes = 0;
        capture.announced = false;
        memory.recharge(limits, &mut capture.charged, 0);
        (capture.received, capture.captured, capture.overruns) = (0, 0, 0);
    }

    /// An interface is gone: its captures are complete, and its packet sockets learn of it.
    pub(crate) fn on_interface_gone(&mut self, interface: u32, events: &mut VecDeque<Event>) {
        self.open.values_mut(|key, capture| {
            if capture.filter.interface != Some(interface) {
                return;
            }
            match &mut capture.wishes {
                Some(wishes) => {
                    wishes.error = Some(Errno::Nxio);
                    wishes.promiscuous = false;
                    capture.filter.interface = Some(NO_INTERFACE);
                }
                None => capture.filter.count = capture.captured,
            }
            events.push_back(capture.event(key));
        });
    }

    /// The kernel ends: whoever reads a packet socket learns of it.
    pub(crate) fn end(&mut self, events: &mut VecDeque<Event>) {
        self.open.values_mut(|key, capture| {
            if let Some(wishes) = &mut capture.wishes {
                wishes.error = Some(Errno::NetDown);
                events.push_back(capture.event(key));
            }
        });
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
        (memory, limits): Budget<'_>,
    ) -> Shown {
        let slices: Vec<&[u8]> = slices.collect();
        let mut wanted = Vec::new();
        self.open.values_mut(|key, capture| {
            let len = capture.determine_wanted(&passing, &slices);
            if len > 0 {
                wanted.push((key, len as usize));
            }
        });
        let mut shown = Shown::default();
        let Some(longest) = wanted.iter().map(|(_, len)| *len).max() else { return shown };
        let (whole, original_len) = copied(&slices, longest);
        let Passing { time, interface, direction, reason, offload, .. } = passing;
        for (key, len) in wanted {
            let Some(capture) = self.open.value_mut(key) else { continue };
            // As of a socket, an empty queue takes one whatever there is of memory.
            let no_memory = memory.is_full(limits) && !capture.queue.is_empty();
            if no_memory || !capture.has_room(whole.len(), self.queue_limit.0) {
                capture.overruns += 1;
                shown.overruns += 1;
                continue;
            }
            let bytes = whole.slice(..whole.len().min(len));
            let packet = Captured { time, interface, direction, reason, bytes, original_len, offload };
            if capture.push(packet, whole.len()) {
                events.push_back(capture.event(key));
            }
            shown.pressure |= memory.recharge(limits, &mut capture.charged, capture.queued_bytes);
        }
        shown
    }

    /// What a packet socket is ready for; one that is closed is ready for everything.
    pub(crate) fn readiness(&self, key: Key) -> Readiness {
        let closed = Readiness { readable: true, writable: true, closed: true, ..Readiness::default() };
        let Ok((capture, wishes)) = self.socket(key) else { return closed };
        Readiness {
            readable: wishes.error.is_some() || capture.is_worth_reading(),
            writable: true,
            error: wishes.error.is_some(),
            ..Readiness::default()
        }
    }
}

impl Capture {
    const fn is_complete(&self) -> bool {
        self.captured >= self.filter.count
    }

    /// Packets that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    const fn event(&self, key: Key) -> Event {
        match self.wishes {
            Some(_) => Event::Socket(Endpoint::Packet(key)),
            None => Event::Capture(key),
        }
    }

    /// How many bytes of a packet it wants; 0 if it does not want it.
    fn determine_wanted(&mut self, passing: &Passing, slices: &[&[u8]]) -> u32 {
        let filter = &self.filter;
        let fits = filter.matches(passing.interface, passing.reason.is_some())
            && filter.direction.is_none_or(|direction| direction == passing.direction)
            && (filter.foreign || !passing.foreign)
            && !self.is_complete();
        if !fits {
            return 0;
        }
        self.received += 1;
        let wanted = self.filter.program.as_ref().map_or(u32::MAX, |program| program.run(slices));
        wanted.min(self.filter.snap_len)
    }

    /// It is charged `pinned` bytes for a packet, which it may share with other captures.
    fn has_room(&self, pinned: usize, packets: u32) -> bool {
        self.queue.len() < packets as usize && self.queued_bytes + pinned <= self.limit as usize
    }

    /// Keeps a packet; true if the reader must be told.
    fn push(&mut self, packet: Captured, pinned: usize) -> bool {
        self.queued_bytes += pinned;
        self.queue.push_back(packet);
        self.captured += 1;
        self.is_worth_reading() && !core::mem::replace(&mut self.announced, true)
    }

    /// Whether its reader wants to be woken for what waits.
    fn is_worth_reading(&self) -> bool {
        let immediate = self.wishes.is_none_or(|wishes| wishes.immediate);
        let half_full = self.queued_bytes * 2 >= self.limit as usize;
        !self.queue.is_empty() && (immediate || half_full || self.is_complete())
    }
}

/// At most `longest` bytes of a packet, and its whole length.
fn copied(slices: &[&[u8]], longest: usize) -> (Bytes, u32) {
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
