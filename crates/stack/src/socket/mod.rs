//! Sockets: datagram sockets of UDP, raw IP and ICMP, and echo sessions, and how received packets find them.
//!
//! A socket is named by its [`SocketId`]. Every call answers with NetBSD's errno(2); readiness is news
//! ([`crate::Event::Socket`]), one entry a socket however much happened.

mod bind;
mod datagram;
mod demux;
mod echo;
mod errors;
mod icmp;
mod options;
mod path;
mod raw;
mod receive;
mod send;
mod unreachable;
mod uses;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::net::SocketAddr;

use rumpnet_proto::{Counter, DropReason, Errno};

use crate::{
    buffer::{Charge, Payload, Received},
    config::Config,
    context::{Context, Event},
    inet::{Delivery, Inet, icmp::ErrorKind, ipv4::Audience},
    link::Link,
    random::Random,
    slab::{Key, Slab},
    time::Instant,
};
use datagram::{Kind, Socket};
use demux::Demux;
use echo::EchoSessions;
use uses::PortUses;

pub use errors::{ErrorOrigin, QueuedError};
pub use options::{SocketOption, SocketSettings};
pub use send::{SendInfo, UdpSend};

/// The name of a socket; it is never used again for another one.
pub type SocketId = Key;

/// A received datagram, or a train of datagrams from one sender.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// The payload of all datagrams of the train. Of a raw socket it begins with the IP header, of an ICMP socket with the ICMP header.
    pub payload: Payload,
    /// Payload bytes of each but the last, if it is a train.
    pub segment: Option<u16>,
    /// Who sent it.
    pub source: SocketAddr,
    /// To which of our addresses, or to which group; with an any-address socket it may be no address of ours.
    pub destination: SocketAddr,
    /// The interface it came by.
    pub interface: u32,
    /// Its time to live on arrival.
    pub ttl: u8,
    /// Its type of service.
    pub tos: u8,
    /// When it came.
    pub received: Instant,
}

/// Sockets that one call tells of the end of their kernel.
const ENDED_AT_ONCE: u32 = 64;

/// All sockets of a kernel.
pub(crate) struct Sockets {
    all: Slab<Socket>,
    demux: Demux,
    /// What addresses are taken, and by what.
    uses: PortUses,
    /// The ICMP socket of each identifier in use.
    identifiers: BTreeMap<u16, SocketId>,
    /// Raw sockets by protocol.
    raw: BTreeSet<(u8, SocketId)>,
    pub(crate) echo: EchoSessions,
    /// Sockets that packets woke, so that one batch makes one event each.
    dirty: VecDeque<SocketId>,
}

impl Sockets {
    pub(crate) fn new(config: &Config, random: &mut Random) -> Self {
        Self {
            all: Slab::new(config.sockets),
            demux: Demux::new(random),
            uses: PortUses::default(),
            identifiers: BTreeMap::new(),
            raw: BTreeSet::new(),
            echo: EchoSessions::new(config),
            dirty: VecDeque::new(),
        }
    }

    /// What the Internet layer has for a socket; the cursor of `packet` is past the transport header. `taken` if raw sockets have a copy already.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        delivery: Delivery,
        packet: &mut Received,
        taken: bool,
    ) {
        match delivery {
            Delivery::Udp { interface, source, destination, audience, ttl, tos } => {
                let about = Datagram {
                    payload: Payload::Empty,
                    segment: packet.offload.gso.map(|gso| gso.size),
                    source,
                    destination,
                    interface,
                    ttl,
                    tos,
                    received: cx.now,
                };
                if audience == Audience::Many {
                    return self.queue_for_all(cx, inet, packet, &about);
                }
                let foreign = audience == Audience::Foreign;
                match self.demux.find(destination, source, (interface, foreign)) {
                    Some(id) => self.queue(cx, id, packet, about),
                    None => refuse(cx, link, inet, (interface, audience), packet),
                }
            }
            Delivery::EchoReply { source, identifier, sequence, ttl, options, interface } => {
                let heard = self.echo.on_reply(cx, (source, identifier, sequence), (ttl, &options), packet)
                    || self.receive_echo_reply(cx, packet, interface);
                if !heard && !taken {
                    cx.drop_received(interface, DropReason::IcmpNoSocket, packet);
                }
            }
            // TCP has sockets of its own; the stack hands its segments there.
            Delivery::Tcp(_) => {}
            Delivery::Error { report, interface } => {
                if !self.on_error(cx, link, inet, (&report, interface), packet) && !taken {
                    cx.drop_received(interface, DropReason::IcmpNoSocket, packet);
                }
            }
            Delivery::Unclaimed(_) if taken => {}
            Delivery::Unclaimed(unclaimed) => inet.refuse_unclaimed(cx, link, unclaimed, packet),
        }
    }

    /// What was sent to many is for every socket that is bound to it, and wants it of this source; each has its part of the same bytes.
    fn queue_for_all(&mut self, cx: &mut Context, inet: &Inet, packet: &Received, about: &Datagram) {
        let Datagram { source, destination, interface, .. } = *about;
        let mut all = self.demux.find_all(destination, source, interface);
        all.sort_unstable();
        let found = !all.is_empty();
        all.retain(|id| inet.admits(*id, interface, destination.ip(), source.ip()));
        if found && all.is_empty() {
            return cx.drop_received(interface, DropReason::UdpSourceFiltered, packet);
        }
        if all.is_empty() {
            return cx.drop_received(about.interface, DropReason::UdpNoSocket, packet);
        }
        all.into_iter().for_each(|id| self.queue(cx, id, &mut packet.clone(), about.clone()));
    }

    #[inline]
    fn queue(&mut self, cx: &mut Context, id: SocketId, packet: &mut Received, about: Datagram) {
        let Some(socket) = self.all.value_mut(id) else { return };
        // An empty datagram is not free either.
        let pinned = packet.pinned() + size_of::<Datagram>();
        let no_memory = cx.memory_is_full() && !socket.is_empty();
        if no_memory || !socket.has_room(pinned) {
            let no_memory = no_memory && socket.has_room(pinned);
            socket.receive_drops += 1;
            return cx.drop_received(about.interface, raw::full_reason(socket.kind, no_memory), packet);
        }
        match socket.kind {
            Kind::Udp => cx.add(Counter::UdpDelivered, packet.segments(0) as u64),
            Kind::Raw(_) => cx.count(Counter::RawDelivered),
            Kind::Icmp => cx.count(Counter::IcmpSocketDelivered),
        }
        let payload = core::mem::take(packet).into_payload();
        if socket.push(cx, Datagram { payload, ..about }, pinned) {
            self.dirty.push_back(id);
        }
    }

    /// The kernel ends: some of its sockets learn of it, from a place on, which is moved; false if that was all.
    pub(crate) fn end_some(&mut self, next: &mut u32) -> bool {
        let end = self.all.places().min(next.saturating_add(ENDED_AT_ONCE));
        for place in *next..end {
            let id = self.all.key_at(place);
            id.into_iter().for_each(|id| self.set_error(id, Some(Errno::NetDown)));
        }
        *next = end;
        end < self.all.places()
    }

    fn set_error(&mut self, id: SocketId, errno: Option<Errno>) {
        if let (Some(socket), Some(errno)) = (self.all.value_mut(id), errno)
            && socket.set_error(errno)
        {
            self.dirty.push_back(id);
        }
    }

    /// A frame charged to a socket has left, or was dropped.
    pub(crate) fn on_sent(&mut self, charge: Charge) {
        if self.all.value_mut(charge.socket).is_some_and(|socket| socket.on_sent(charge.bytes)) {
            self.dirty.push_back(charge.socket);
        }
    }

    /// Turns what woke sockets into events, at the end of a call.
    pub(crate) fn announce(&mut self, cx: &mut Context) {
        while let Some(id) = self.dirty.pop_front() {
            if let Some(socket) = self.all.value(id) {
                cx.events.push_back(Event::Socket(socket.endpoint(id)));
            }
        }
    }

    /// The news of a socket was taken; what happens from now on is news again.
    pub(crate) fn on_told(&mut self, id: SocketId) {
        if let Some(socket) = self.all.value_mut(id) {
            socket.announced = false;
        }
    }

    /// Whether a socket is open.
    pub(crate) fn contains(&self, id: SocketId) -> bool {
        self.all.contains(id)
    }

    /// Sockets open.
    pub(crate) const fn len(&self) -> u32 {
        self.all.len()
    }
}

/// Nobody listens there: counted, and said to the sender unless it asked somebody else.
fn refuse(
    cx: &mut Context,
    link: &mut Link,
    inet: &mut Inet,
    (interface, audience): (u32, Audience),
    packet: &Received,
) {
    if audience == Audience::Foreign {
        return cx.drop_received(interface, DropReason::Ipv4NotForUs, packet);
    }
    cx.drop_received(interface, DropReason::UdpNoSocket, packet);
    if audience == Audience::Us {
        inet.send_icmp_error(cx, link, ErrorKind::PortUnreachable, packet);
    }
}
