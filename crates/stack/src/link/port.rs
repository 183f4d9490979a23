//! Ports: where frames leave the stack for a tap, a cable or a channel, and from where they come.
//!
//! A port holds a bounded queue that the shell empties with [`crate::Stack::next_frame`]. It knows what its far end
//! can do; whatever that lacks is done here in software, in one place, as the last thing before the wire.

use alloc::{
    collections::{BTreeSet, VecDeque},
    vec::Vec,
};

use rumpnet_proto::{Capabilities, Counter, DropReason, LinkKind, LinkState};
use rumpnet_wire::ethernet;

use super::segment::{self, Segments};
use crate::{
    buffer::{Checksum, Frame, GsoKind},
    context::Context,
};

/// What the far end of a port does for us, and we need not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// It takes and gives frames whose transport checksum is partial.
    pub checksum: bool,
    /// TCP over IPv4 super-frames.
    pub tso4: bool,
    /// TCP over IPv6 super-frames.
    pub tso6: bool,
    /// UDP over IPv4 super-frames.
    pub uso4: bool,
    /// UDP over IPv6 super-frames.
    pub uso6: bool,
}

impl Offloads {
    /// All of them.
    pub const ALL: Self = Self { checksum: true, tso4: true, tso6: true, uso4: true, uso6: true };
    /// None of them.
    pub const NONE: Self = Self { checksum: false, tso4: false, tso6: false, uso4: false, uso6: false };

    /// The capabilities that an interface over such a port shows; coalescing of what is received is our own doing, and always there.
    pub fn capabilities(self) -> Capabilities {
        let checksums = Capabilities::IP4CSUM_RX
            | Capabilities::IP4CSUM_TX
            | Capabilities::TCP4CSUM_RX
            | Capabilities::TCP4CSUM_TX
            | Capabilities::UDP4CSUM_RX
            | Capabilities::UDP4CSUM_TX
            | Capabilities::TCP6CSUM_RX
            | Capabilities::TCP6CSUM_TX
            | Capabilities::UDP6CSUM_RX
            | Capabilities::UDP6CSUM_TX;
        let table = [
            (self.checksum, checksums),
            (self.tso4, Capabilities::TSO4),
            (self.tso6, Capabilities::TSO6),
            (self.uso4, Capabilities::USO4),
            (self.uso6, Capabilities::USO6),
        ];
        table.iter().filter(|(able, _)| *able).fold(Capabilities::LRO, |all, (_, some)| all | *some)
    }
}

/// A new interface's port, as the shell describes it.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// Whether frames carry Ethernet headers; [`LinkKind::Loopback`] is not a port.
    pub kind: LinkKind,
    /// What the far end can do.
    pub offloads: Offloads,
    /// Our link address, on Ethernet.
    pub link_address: Option<ethernet::Address>,
    /// The MTU to begin with, in bytes.
    pub mtu: u32,
    /// The greatest MTU that the far end takes.
    pub max_mtu: u32,
    /// Whether the far end is there.
    pub link_state: LinkState,
    /// What the far end is called, such as `tap0`.
    pub host_end: Option<alloc::string::String>,
}

impl PortConfig {
    /// An Ethernet port over a far end that can do everything and is there.
    pub const fn ethernet(link_address: ethernet::Address) -> Self {
        Self {
            kind: LinkKind::Ethernet,
            offloads: Offloads::ALL,
            link_address: Some(link_address),
            mtu: 1500,
            max_mtu: 65_521,
            link_state: LinkState::Up,
            host_end: None,
        }
    }
}

/// One port.
pub(crate) struct Port {
    pub(crate) interface: u32,
    header_len: usize,
    offloads: Offloads,
    /// What the user left switched on of them.
    enabled: Offloads,
    queue: VecDeque<Frame>,
    /// What is left of a super-frame that the far end could not take whole.
    segments: Option<Segments>,
    queued_bytes: usize,
    /// Whether it stands in the list of ports with something to send.
    ready: bool,
}

/// All ports, and which of them have something to send.
pub(crate) struct Ports {
    ports: Vec<Option<Port>>,
    /// Numbers below the length of `ports` that are free.
    free: BTreeSet<u32>,
    /// May name a port that was closed since.
    ready: VecDeque<u32>,
}

impl Port {
    fn new(interface: u32, header_len: usize, offloads: Offloads) -> Self {
        Self {
            interface,
            header_len,
            offloads,
            enabled: offloads,
            queue: VecDeque::new(),
            segments: None,
            queued_bytes: 0,
            ready: false,
        }
    }

    /// Whether the far end takes a frame as it is.
    fn is_finished(&self, frame: &Frame) -> bool {
        frame.offload.gso.is_none_or(|gso| self.may_leave_segmentation(frame, gso.kind))
            && (self.may_leave_checksum() || !matches!(frame.offload.checksum, Checksum::Partial { .. }))
    }

    /// Does to a frame what the far end cannot; none if it fell into segments, or could not be helped and is dropped.
    fn finish(&mut self, cx: &mut Context, mut frame: Frame) -> Option<Frame> {
        if let Some(gso) = frame.offload.gso
            && !self.may_leave_segmentation(&frame, gso.kind)
        {
            cx.count(Counter::SegmentedInSoftware);
            match segment::segments(&mut frame, self.header_len) {
                Ok(segments) => self.segments = Some(segments),
                Err(reason) => cx.drop_sent(self.interface, reason, &frame),
            }
            return None;
        }
        if matches!(frame.offload.checksum, Checksum::Partial { .. }) && !self.may_leave_checksum() {
            cx.count(Counter::ChecksummedInSoftware);
            if let Err(reason) = segment::complete_checksum(&mut frame) {
                cx.drop_sent(self.interface, reason, &frame);
                return None;
            }
        }
        Some(frame)
    }

    fn may_leave_checksum(&self) -> bool {
        self.enabled.checksum
    }

    fn may_leave_segmentation(&self, frame: &Frame, kind: GsoKind) -> bool {
        let ipv6 = frame.headers.as_slice().get(self.header_len).is_some_and(|first| first >> 4 == 6);
        match (kind, ipv6) {
            (GsoKind::Tcp4, _) => self.enabled.tso4,
            (GsoKind::Tcp6, _) => self.enabled.tso6,
            (GsoKind::Udp, false) => self.enabled.uso4,
            (GsoKind::Udp, true) => self.enabled.uso6,
        }
    }
}

impl Ports {
    pub(crate) const fn new() -> Self {
        Self { ports: Vec::new(), free: BTreeSet::new(), ready: VecDeque::new() }
    }

    /// The lowest free port number is taken.
    pub(crate) fn open(&mut self, interface: u32, header_len: usize, offloads: Offloads) -> u32 {
        let port = Port::new(interface, header_len, offloads);
        if let Some(number) = self.free.pop_first() {
            self.ports[number as usize] = Some(port);
            return number;
        }
        self.ports.push(Some(port));
        self.ports.len() as u32 - 1
    }

    /// Closes a port and gives back what was still to be sent.
    pub(crate) fn close(&mut self, port: u32) -> impl Iterator<Item = Frame> {
        let closed = self.ports.get_mut(port as usize).and_then(Option::take);
        if closed.is_some() {
            self.free.insert(port);
        }
        closed.into_iter().flat_map(|port| port.segments.into_iter().flatten().chain(port.queue))
    }

    pub(crate) fn get(&self, port: u32) -> Option<&Port> {
        self.ports.get(port as usize)?.as_ref()
    }

    /// What the far end can do has changed; [`Self::enable`] follows.
    pub(crate) fn set_offloads(&mut self, port: u32, offloads: Offloads) {
        if let Some(port) = self.ports.get_mut(port as usize).and_then(Option::as_mut) {
            port.offloads = offloads;
        }
    }

    /// Follows the capabilities that the user left switched on.
    pub(crate) fn enable(&mut self, port: u32, enabled: Capabilities) {
        let Some(port) = self.ports.get_mut(port as usize).and_then(Option::as_mut) else { return };
        let tx = Capabilities::TCP4CSUM_TX | Capabilities::UDP4CSUM_TX;
        port.enabled = Offloads {
            checksum: port.offloads.checksum && enabled.contains(tx),
            tso4: port.offloads.tso4 && enabled.contains(Capabilities::TSO4),
            tso6: port.offloads.tso6 && enabled.contains(Capabilities::TSO6),
            uso4: port.offloads.uso4 && enabled.contains(Capabilities::USO4),
            uso6: port.offloads.uso6 && enabled.contains(Capabilities::USO6),
        };
    }

    /// Why a frame of so many bytes cannot be queued, if it cannot.
    pub(crate) fn determine_refusal(&self, cx: &Context, port: u32, bytes: usize) -> Option<DropReason> {
        let Some(open) = self.get(port) else { return Some(DropReason::LinkNoPort) };
        let full = open.queue.len() >= cx.config.port_queue as usize
            || open.queued_bytes + bytes > cx.config.port_queue_bytes as usize;
        full.then_some(DropReason::LinkQueueFull)
    }

    /// Queues a frame that was not refused.
    #[inline]
    pub(crate) fn push(&mut self, port: u32, frame: Frame) {
        let Some(open) = self.ports.get_mut(port as usize).and_then(Option::as_mut) else { return };
        open.queued_bytes += frame.len();
        open.queue.push_back(frame);
        if !core::mem::replace(&mut open.ready, true) {
            self.ready.push_back(port);
        }
    }

    /// The next frame for the wire of `port`, with software doing what the far end cannot.
    #[inline]
    pub(crate) fn next_frame(&mut self, cx: &mut Context, port: u32) -> Option<Frame> {
        let open = self.ports.get_mut(port as usize)?.as_mut()?;
        loop {
            if let Some(segment) = open.segments.as_mut().and_then(Iterator::next) {
                return Some(segment);
            }
            let frame = open.queue.front()?;
            open.queued_bytes -= frame.len();
            if open.is_finished(frame) {
                // A frame is large, and moving it is most of what happens here.
                return open.queue.pop_front();
            }
            if let Some(frame) = open.queue.pop_front().and_then(|frame| open.finish(cx, frame)) {
                return Some(frame);
            }
        }
    }

    /// Names a port for which something waits above the link.
    pub(crate) fn rouse(&mut self, port: u32) {
        if let Some(open) = self.ports.get_mut(port as usize).and_then(Option::as_mut)
            && !core::mem::replace(&mut open.ready, true)
        {
            self.ready.push_back(port);
        }
    }

    /// A port was emptied, here and above: it is named again when something comes.
    pub(crate) fn set_idle(&mut self, port: u32) {
        if let Some(open) = self.ports.get_mut(port as usize).and_then(Option::as_mut) {
            open.ready = false;
        }
    }

    /// A port that has something to send and was not yet named; it is named again only when it was emptied in between.
    pub(crate) fn next_ready(&mut self) -> Option<u32> {
        loop {
            let port = self.ready.pop_front()?;
            if self.get(port).is_some_and(|open| open.ready) {
                return Some(port);
            }
        }
    }

    /// Frames that wait at a port.
    pub(crate) fn queued(&self, port: u32) -> usize {
        self.get(port)
            .map_or(0, |open| open.queue.len() + open.segments.as_ref().map_or(0, ExactSizeIterator::len))
    }
}
