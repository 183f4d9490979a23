//! Sockets: datagram sockets and echo sessions, and how received packets find them.
//!
//! A socket is named by its [`SocketId`]. Every call answers with NetBSD's errno(2); readiness is news
//! ([`crate::Event::Socket`]), one entry a socket however much happened.

mod demux;
mod echo;
mod udp;

use alloc::{collections::VecDeque, vec::Vec};
use core::net::SocketAddr;

use rumpnet_proto::{Counter, DropReason, Errno};

use crate::{
    buffer::{Charge, Payload, Received},
    config::Config,
    context::{Context, Event},
    endpoint::Endpoint,
    inet::{
        Delivery, Inet,
        icmp::{ErrorKind, ErrorReport, Offender, errno_of},
        ipv4::Audience,
        path_mtu::{MtuDiscovery, determine_told},
    },
    link::{Link, NO_INTERFACE},
    random::Random,
    reuse::Uses,
    slab::{Key, Slab},
    time::Instant,
};
use demux::Demux;
use echo::EchoSessions;
use udp::UdpSocket;

pub use udp::{SocketOption, UdpSend};

/// The name of a socket; it is never used again for another one.
pub type SocketId = Key;

/// A received datagram, or a train of datagrams from one sender.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// The payload of all datagrams of the train.
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
    udp: Slab<UdpSocket>,
    demux: Demux,
    /// What addresses are taken, and by what.
    uses: Uses,
    pub(crate) echo: EchoSessions,
    /// Sockets that packets woke, so that one batch makes one event each.
    dirty: VecDeque<SocketId>,
}

impl Sockets {
    pub(crate) fn new(config: &Config, random: &mut Random) -> Self {
        Self {
            udp: Slab::new(config.sockets),
            demux: Demux::new(random),
            uses: Uses::default(),
            echo: EchoSessions::new(),
            dirty: VecDeque::new(),
        }
    }

    /// What the Internet layer has for a socket; the cursor of `packet` is past the transport header.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        delivery: Delivery,
        packet: &mut Received,
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
                    return self.queue_for_all(cx, packet, &about);
                }
                let foreign = audience == Audience::Foreign;
                match self.demux.find(destination, source, (interface, foreign)) {
                    Some(id) => self.queue(cx, id, packet, about),
                    None => refuse(cx, link, inet, (interface, audience), packet),
                }
            }
            Delivery::EchoReply { source, identifier, sequence, ttl, interface } => {
                if !self.echo.on_reply(cx, (source, identifier, sequence), ttl, packet) {
                    cx.drop_received(interface, DropReason::IcmpNoSocket, packet);
                }
            }
            // TCP has sockets of its own; the stack hands its segments there.
            Delivery::Tcp(_) => {}
            Delivery::Error { report, interface } => {
                if !self.on_error(cx, link, inet, &report) {
                    cx.drop_received(interface, DropReason::IcmpNoSocket, packet);
                }
            }
        }
    }

    /// What was sent to many is for every socket that is bound to it; each has its part of the same bytes.
    fn queue_for_all(&mut self, cx: &mut Context, packet: &Received, about: &Datagram) {
        let mut all = self.demux.find_all(about.destination, about.interface);
        all.sort_unstable();
        if all.is_empty() {
            return cx.drop_received(about.interface, DropReason::UdpNoSocket, packet);
        }
        all.into_iter().for_each(|id| self.queue(cx, id, &mut packet.clone(), about.clone()));
    }

    #[inline]
    fn queue(&mut self, cx: &mut Context, id: SocketId, packet: &mut Received, about: Datagram) {
        let Some(socket) = self.udp.value_mut(id) else { return };
        // An empty datagram is not free either.
        let pinned = packet.pinned() + size_of::<Datagram>();
        if !socket.has_room(pinned) {
            socket.receive_drops += 1;
            return cx.drop_received(about.interface, DropReason::UdpSocketFull, packet);
        }
        if cx.memory_is_full() && !socket.is_empty() {
            socket.receive_drops += 1;
            return cx.drop_received(about.interface, DropReason::UdpMemoryFull, packet);
        }
        cx.add(Counter::UdpDelivered, packet.segments(0) as u64);
        let payload = core::mem::take(packet).into_payload();
        if socket.push(cx, Datagram { payload, ..about }, pinned) {
            self.dirty.push_back(id);
        }
    }

    /// An ICMP error says that it concerns something that we sent; false if it does not.
    fn on_error(&mut self, cx: &mut Context, link: &Link, inet: &mut Inet, report: &ErrorReport) -> bool {
        match report.offender {
            Offender::Udp { source, destination } => {
                let narrow = (report.kind, report.code) == (3, 4);
                let learned = narrow && self.learn_path_mtu(cx, link, inet, (source, destination), report);
                // Only a connected socket hears of errors (RFC 1122 section 4.1.3.3).
                let Some(id) = self.demux.find_connected(source, destination) else { return learned };
                let fragments =
                    self.udp.value(id).is_some_and(|socket| socket.mtu_discovery == MtuDiscovery::Dont);
                if !(narrow && fragments) {
                    self.set_error(id, errno_of(report.kind, report.code));
                }
                true
            }
            Offender::Echo { destination, identifier, sequence } => {
                self.echo.on_error(cx, (destination, identifier, sequence), report)
            }
            // The stack has asked TCP, and no socket of today sends anything else.
            Offender::Tcp { .. } | Offender::Other { .. } => false,
        }
    }

    /// A datagram of a socket of ours, by its addresses, did not fit its path. Whether that was news.
    fn learn_path_mtu(
        &self,
        cx: &mut Context,
        link: &Link,
        inet: &mut Inet,
        (source, destination): (SocketAddr, SocketAddr),
        report: &ErrorReport,
    ) -> bool {
        // What nobody can have sent is a forgery (RFC 5927).
        if !cx.config.mtu_discovery || self.demux.find(source, destination, (NO_INTERFACE, false)).is_none() {
            return false;
        }
        let Ok(path) = inet.determine_path(cx, link, destination.ip(), Some(source.ip())) else {
            return false;
        };
        let mtu = determine_told(report.next_hop_mtu, report.len.into());
        let narrower = mtu < inet.path_mtu(cx, destination.ip(), path.mtu);
        if narrower {
            inet.learn_path_mtu(cx, destination.ip(), mtu);
        }
        narrower
    }

    /// A neighbour did not answer.
    pub(crate) fn on_unreachable(&mut self, ids: Vec<SocketId>) {
        ids.into_iter().for_each(|id| self.set_error(id, Some(Errno::HostUnreach)));
    }

    /// The kernel ends: some of its sockets learn of it, from a place on, which is moved; false if that was all.
    pub(crate) fn end_some(&mut self, next: &mut u32) -> bool {
        let end = self.udp.places().min(next.saturating_add(ENDED_AT_ONCE));
        for place in *next..end {
            let id = self.udp.key_at(place);
            id.into_iter().for_each(|id| self.set_error(id, Some(Errno::NetDown)));
        }
        *next = end;
        end < self.udp.places()
    }

    fn set_error(&mut self, id: SocketId, errno: Option<Errno>) {
        if let (Some(socket), Some(errno)) = (self.udp.value_mut(id), errno)
            && socket.set_error(errno)
        {
            self.dirty.push_back(id);
        }
    }

    /// A frame charged to a socket has left, or was dropped.
    pub(crate) fn on_sent(&mut self, charge: Charge) {
        if self.udp.value_mut(charge.socket).is_some_and(|socket| socket.on_sent(charge.bytes)) {
            self.dirty.push_back(charge.socket);
        }
    }

    /// Turns what woke sockets into events, at the end of a call.
    pub(crate) fn announce(&mut self, cx: &mut Context) {
        while let Some(id) = self.dirty.pop_front() {
            if self.udp.contains(id) {
                cx.events.push_back(Event::Socket(Endpoint::Udp(id)));
            }
        }
    }

    /// The news of a socket was taken; what happens from now on is news again.
    pub(crate) fn on_told(&mut self, id: SocketId) {
        if let Some(socket) = self.udp.value_mut(id) {
            socket.announced = false;
        }
    }

    /// Sockets open.
    pub(crate) const fn len(&self) -> u32 {
        self.udp.len()
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
