//! Links: interfaces, the ports behind them, Ethernet, plain IP links and the loopback.
//!
//! [`Link::receive`] turns a frame from a port into an [`Incoming`] packet for the network layer, or drops it with a
//! reason; [`Link::send`] puts a packet into the queue of an interface's port. Nothing here knows addresses above the link.

pub(crate) mod coalesce;
mod ether;
pub(crate) mod interface;
pub(crate) mod offload;
pub(crate) mod port;
pub(crate) mod segment;

use alloc::collections::VecDeque;
use core::net::Ipv4Addr;

use rumpnet_proto::{Capabilities, DropReason, Errno, LinkKind};
use rumpnet_wire::{
    ethernet::{self, EtherType},
    ipv4,
};

use crate::{
    buffer::{Frame, Offload, Received},
    capture::{Direction, Passing},
    context::Context,
    time::Instant,
};
use coalesce::Coalescer;
use interface::{Interface, InterfaceTable};
use port::Ports;

/// The most packets that wait on all loopbacks together.
const LOOPBACK_QUEUE: usize = 1024;

pub(crate) use crate::context::NO_INTERFACE;

/// The link layer of a kernel.
pub(crate) struct Link {
    pub(crate) interfaces: InterfaceTable,
    pub(crate) ports: Ports,
    loopback: VecDeque<(u32, EtherType, Received)>,
}

/// What the network layer is told of a packet whose cursor is at the network header.
pub(crate) struct Incoming {
    /// The interface it came by.
    pub(crate) interface: u32,
    pub(crate) ethertype: EtherType,
    /// Whether it was sent to a group or to all at the link layer.
    pub(crate) to_group: bool,
    /// Whether we sent it ourselves.
    pub(crate) looped: bool,
}

/// Where a packet goes on its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkDestination {
    pub(crate) address: ethernet::Address,
    pub(crate) ethertype: EtherType,
}

impl Link {
    pub(crate) const fn new(interfaces: u32) -> Self {
        Self { interfaces: InterfaceTable::new(interfaces), ports: Ports::new(), loopback: VecDeque::new() }
    }

    /// A frame has come in by a port: what the network layer shall see of it, if anything.
    #[inline]
    pub(crate) fn receive(&mut self, cx: &mut Context, port: u32, frame: &mut Received) -> Option<Incoming> {
        let Some(index) = self.ports.get(port).map(|port| port.interface) else {
            cx.count_drop(NO_INTERFACE, DropReason::LinkNoPort);
            return None;
        };
        let interface = self.interfaces.by_index_mut(index)?;
        count_received(cx, index, frame, interface.header_len());
        if cx.captures.want_passing(index) {
            let foreign = ether::is_foreign(interface, frame);
            cx.show(
                Passing { foreign, ..passing(cx.now, index, Direction::In, frame.offload) },
                frame.whole(),
            );
        }
        match interface.kind {
            LinkKind::Ethernet => ether::receive(cx, interface, frame),
            LinkKind::Ip | LinkKind::Loopback => receive_ip(cx, interface, frame),
        }
    }

    /// Where a frame that has come in by a port seems to go; nothing in it has been checked.
    pub(crate) fn destination(&self, port: u32, frame: &Received) -> Option<Ipv4Addr> {
        let interface = self.interfaces.by_index(self.ports.get(port)?.interface)?;
        let packet = frame.bytes().get(interface.header_len()..)?;
        ipv4::destination(packet)
    }

    /// What merges a batch of a port, if its user wants that.
    pub(crate) fn coalescer(&self, port: u32) -> Option<Coalescer> {
        let interface = self.interfaces.by_index(self.ports.get(port)?.interface)?;
        interface.enabled.contains(Capabilities::LRO).then(|| Coalescer::new(interface.header_len()))
    }

    /// Sends a packet by an interface; `to` is ignored on links without Ethernet but for its protocol.
    ///
    /// ENETDOWN if the interface is down, ENOBUFS if its queue is full; either way the frame is counted as dropped.
    pub(crate) fn send(
        &mut self,
        cx: &mut Context,
        index: u32,
        to: LinkDestination,
        mut frame: Frame,
    ) -> Result<(), Errno> {
        let Some(interface) = self.interfaces.by_index(index) else { return Err(Errno::Nxio) };
        if interface.kind == LinkKind::Ethernet {
            ether::encapsulate(interface, to, &mut frame);
        }
        self.send_framed(cx, index, to, frame)
    }

    /// Sends a frame that has its link header, or a packet by a link that has none. ENXIO, and what [`Self::send`] says.
    pub(crate) fn send_framed(
        &mut self,
        cx: &mut Context,
        index: u32,
        to: LinkDestination,
        frame: Frame,
    ) -> Result<(), Errno> {
        let Some(interface) = self.interfaces.by_index(index) else { return Err(Errno::Nxio) };
        if !interface.is_up() {
            cx.drop_sent(index, DropReason::LinkDown, &frame);
            return Err(Errno::NetDown);
        }
        if interface.is_unplugged() {
            cx.drop_sent(index, DropReason::LinkNoCarrier, &frame);
            return Err(Errno::NetDown);
        }
        let full = self.loopback.len() >= LOOPBACK_QUEUE;
        let refusal = match interface.port {
            Some(port) => self.ports.determine_refusal(cx, port, frame.len()),
            None => full.then_some(DropReason::LoopbackQueueFull),
        };
        if let Some(reason) = refusal {
            cx.drop_sent(index, reason, &frame);
            return Err(Errno::NoBufs);
        }
        note_sent(cx, interface, to, &frame);
        let Some(port) = interface.port else {
            self.send_to_self(index, to.ethertype, &frame);
            return Ok(());
        };
        self.ports.push(port, frame);
        Ok(())
    }

    #[cold]
    fn send_to_self(&mut self, index: u32, ethertype: EtherType, frame: &Frame) {
        self.loopback.push_back((index, ethertype, Received::from(frame.clone())));
    }

    /// A copy of a packet that leaves by an interface comes back by it; true if it does.
    pub(crate) fn loop_back(
        &mut self,
        cx: &mut Context,
        index: u32,
        ethertype: EtherType,
        frame: &Frame,
    ) -> bool {
        // What goes to a loopback comes back anyway.
        let leaves = |interface: &Interface| interface.kind != LinkKind::Loopback && interface.is_up();
        if !self.interfaces.by_index(index).is_some_and(leaves) {
            return false;
        }
        let room = self.loopback.len() < LOOPBACK_QUEUE;
        if room {
            self.send_to_self(index, ethertype, frame);
        } else {
            cx.drop_sent(index, DropReason::LoopbackQueueFull, frame);
        }
        room
    }

    /// The next packet that was sent to ourselves.
    pub(crate) fn next_looped(&mut self, cx: &mut Context) -> Option<(Incoming, Received)> {
        let (interface, ethertype, packet) = self.loopback.pop_front()?;
        // What comes back by an interface with a port never was on its link.
        let passes = self.interfaces.by_index(interface).is_none_or(|interface| interface.port.is_none());
        if passes {
            count_received(cx, interface, &packet, 0);
        }
        if passes && cx.captures.want_passing(interface) {
            let passing = passing(cx.now, interface, Direction::In, packet.offload);
            cx.show(passing, packet.whole());
        }
        Some((Incoming { interface, ethertype, to_group: false, looped: true }, packet))
    }

    /// Whether packets to ourselves wait.
    pub(crate) fn has_looped(&self) -> bool {
        !self.loopback.is_empty()
    }
}

/// A packet from a link without Ethernet: its first byte tells the protocol.
fn receive_ip(cx: &mut Context, interface: &Interface, packet: &Received) -> Option<Incoming> {
    let index = interface.index;
    let ethertype = match packet.bytes().first().map(|first| first >> 4) {
        Some(4) => EtherType::IPV4,
        Some(6) => EtherType::IPV6,
        Some(_) => return ether::refuse(cx, index, DropReason::LinkUnknownProtocol, packet),
        None => return ether::refuse(cx, index, DropReason::LinkRunt, packet),
    };
    if let Some(reason) = ether::determine_fault(interface, packet, ethertype) {
        return ether::refuse(cx, index, reason, packet);
    }
    Some(Incoming { interface: index, ethertype, to_group: false, looped: false })
}

/// A packet that passes without having been dropped.
const fn passing(time: Instant, interface: u32, direction: Direction, offload: Offload) -> Passing {
    Passing { time, interface, direction, reason: None, offload, foreign: false }
}

/// A super-frame counts as the packets that its sender would have put on a wire, headers and all.
fn count_received(cx: &mut Context, index: u32, packet: &Received, link_len: usize) {
    let Some(statistics) = cx.statistics.interface_mut(index) else { return };
    let (segments, headers) = match packet.offload.gso {
        Some(gso) => offload::segments(packet, gso, link_len),
        None => (1, 0),
    };
    statistics.counters.input_packets += segments as u64;
    statistics.counters.input_bytes += (packet.len() + (segments - 1) * headers) as u64;
}

/// Shows a frame that is sent to captures, and counts it.
fn note_sent(cx: &mut Context, interface: &Interface, to: LinkDestination, frame: &Frame) {
    let index = interface.index;
    if cx.captures.want_passing(index) {
        let slices = core::iter::once(frame.headers.as_slice());
        let slices = slices.chain(frame.payload.slices().iter().map(|slice| &slice[..]));
        cx.show(passing(cx.now, index, Direction::Out, frame.offload), slices);
    }
    let multicast = interface.kind == LinkKind::Ethernet && to.address.is_multicast();
    count_sent(cx, index, frame, interface.header_len(), multicast);
}

fn count_sent(cx: &mut Context, index: u32, frame: &Frame, header_len: usize, multicast: bool) {
    let Some(statistics) = cx.statistics.interface_mut(index) else { return };
    let segments = frame.segments() as u64;
    statistics.counters.output_packets += segments;
    statistics.counters.output_bytes +=
        (frame.len() + (segments as usize - 1) * (frame.headers.len().max(header_len))) as u64;
    statistics.counters.output_multicasts += u64::from(multicast);
}
