//! What all datagram sockets have: addresses, queues with their limits, errors and options.
//!
//! UDP, raw IP and ICMP sockets are one [`Socket`] each, told apart by its [`Kind`]. A receive queue is charged what its datagrams pin of memory.
//! Not here: which socket a packet is for, and how each kind sends.

use alloc::collections::VecDeque;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use rumpnet_proto::Errno;
use rumpnet_wire::ip::Protocol;

use super::{Datagram, errors::ErrorQueue};
use crate::{
    buffer::Payload,
    context::Context,
    endpoint::{Endpoint, Readiness},
    inet::{Inet, path_mtu::MtuDiscovery, tcp::Shutdown},
    reuse::{Reuse, Standing},
    slab::Key,
};

/// What a socket is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A UDP socket.
    Udp,
    /// A raw IP socket.
    Raw(Raw),
    /// An ICMP socket, which has an identifier where others have a port.
    Icmp,
}

/// What a raw socket has of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) protocol: Protocol,
    /// Whether its user writes the IP header (IP_HDRINCL).
    pub(super) header_included: bool,
    /// ICMP types that it does not want, a bit each (ICMP_FILTER).
    pub(super) icmp_filter: u32,
}

/// What of its address a socket was given by bind(2), which stays when it is disconnected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) address: bool,
    pub(super) port: bool,
}

/// One datagram socket.
pub(super) struct Socket {
    pub(super) kind: Kind,
    pub(super) local: Option<SocketAddr>,
    pub(super) named: Named,
    /// The interface by which it hears any address.
    pub(super) any: Option<u32>,
    pub(super) remote: Option<SocketAddr>,
    /// The one interface that it speaks and hears by (SO_BINDTODEVICE).
    pub(super) interface: Option<u32>,
    receive_queue: VecDeque<(Datagram, usize)>,
    receive_bytes: usize,
    /// What of the memory of all sockets it is charged for.
    pub(super) charged: u32,
    pub(super) receive_limit: usize,
    pub(super) receive_drops: u64,
    pub(super) send_bytes: usize,
    pub(super) send_limit: usize,
    /// Whether a send was refused for want of room, so that room is news.
    pub(super) send_waits: bool,
    pub(super) error: Option<Errno>,
    /// Errors with their causes, if somebody wants them (IP_RECVERR).
    pub(super) errors: Option<ErrorQueue>,
    pub(super) ttl: Option<u8>,
    pub(super) tos: u8,
    pub(super) may_broadcast: bool,
    /// Whether it may have an address that is not ours.
    pub(super) bind_any: bool,
    /// Whether routers are passed by (SO_DONTROUTE).
    pub(super) direct: bool,
    pub(super) mtu_discovery: MtuDiscovery,
    /// Who may share its address.
    pub(super) reuse: Reuse,
    /// Whether it reads, and writes, no more (shutdown(2)).
    pub(super) read_ended: bool,
    pub(super) write_ended: bool,
    /// Whether it stands in the dirty list, or its news was not taken yet.
    pub(super) announced: bool,
}

impl Socket {
    pub(super) fn new(cx: &Context, kind: Kind) -> Self {
        let mut reuse = Reuse::default();
        // As on Linux: there is nothing at which raw sockets could collide.
        reuse.set_address(matches!(kind, Kind::Raw(_)));
        Self {
            kind,
            local: None,
            named: Named::default(),
            any: None,
            remote: None,
            interface: None,
            receive_queue: VecDeque::new(),
            receive_bytes: 0,
            charged: 0,
            receive_limit: cx.config.udp_receive_bytes as usize,
            receive_drops: 0,
            send_bytes: 0,
            send_limit: cx.config.udp_send_bytes as usize,
            send_waits: false,
            error: None,
            errors: None,
            ttl: None,
            tos: 0,
            may_broadcast: false,
            bind_any: false,
            direct: false,
            mtu_discovery: if cx.config.mtu_discovery { MtuDiscovery::Want } else { MtuDiscovery::Dont },
            reuse,
            read_ended: false,
            write_ended: false,
            announced: false,
        }
    }

    /// Whether its user writes the IP header, and so may say what he likes.
    pub(super) const fn writes_header(&self) -> bool {
        matches!(self.kind, Kind::Raw(Raw { header_included: true, .. }))
    }

    /// Its name outside.
    pub(super) const fn endpoint(&self, id: Key) -> Endpoint {
        match self.kind {
            Kind::Udp => Endpoint::Udp(id),
            Kind::Raw(_) => Endpoint::Raw(id),
            Kind::Icmp => Endpoint::Icmp(id),
        }
    }

    /// Whether a datagram that pins so many bytes may be queued; an empty queue takes any.
    pub(super) fn has_room(&self, pinned: usize) -> bool {
        self.receive_queue.is_empty() || self.receive_bytes + pinned <= self.receive_limit
    }

    /// Queues a datagram; true if the socket must be announced.
    pub(super) fn push(&mut self, cx: &mut Context, datagram: Datagram, pinned: usize) -> bool {
        self.receive_bytes += pinned;
        self.receive_queue.push_back((datagram, pinned));
        self.account(cx);
        self.must_announce()
    }

    /// Whether a datagram may be queued when there is no memory: an empty queue takes any.
    pub(super) fn is_empty(&self) -> bool {
        self.receive_queue.is_empty()
    }

    /// Tells the budget of all sockets what this one holds.
    pub(super) fn account(&mut self, cx: &mut Context) {
        let errors = self.errors.as_ref().map_or(0, ErrorQueue::bytes);
        cx.recharge(&mut self.charged, self.receive_bytes + errors);
    }

    /// Something has happened to it: true if it must be announced.
    pub(super) const fn must_announce(&mut self) -> bool {
        !core::mem::replace(&mut self.announced, true)
    }

    pub(super) const fn set_error(&mut self, errno: Errno) -> bool {
        self.error = Some(errno);
        self.must_announce()
    }

    /// A frame of `bytes` has left; true if somebody waits for the room.
    pub(super) fn on_sent(&mut self, bytes: u32) -> bool {
        self.send_bytes = self.send_bytes.saturating_sub(bytes as usize);
        let room = self.send_bytes <= self.send_limit / 2;
        room && core::mem::take(&mut self.send_waits) && self.must_announce()
    }

    /// Whether `cost` more bytes may wait to be sent; if not, room will be news.
    pub(super) const fn may_send(&mut self, cost: usize) -> bool {
        let full = self.send_bytes + cost > self.send_limit && self.send_bytes > 0;
        self.send_waits |= full;
        !full
    }

    /// Takes a datagram, or one datagram of a train.
    pub(super) fn pop(&mut self, whole_trains: bool) -> Option<Datagram> {
        let (front, _) = self.receive_queue.front_mut()?;
        if let Some(segment) = front.segment.filter(|_| !whole_trains)
            && front.payload.len() > usize::from(segment)
        {
            let mut one = Datagram { payload: Payload::Empty, segment: None, ..front.clone() };
            one.payload = front.payload.slice(0..usize::from(segment));
            front.payload = front.payload.slice(usize::from(segment)..usize::MAX);
            return Some(one);
        }
        let (mut datagram, pinned) = self.receive_queue.pop_front()?;
        self.receive_bytes -= pinned;
        if !whole_trains {
            datagram.segment = None;
        }
        Some(datagram)
    }

    /// The next datagram, which stays.
    pub(super) fn front(&self) -> Option<Datagram> {
        let (front, _) = self.receive_queue.front()?;
        let first = front.segment.map_or(usize::MAX, usize::from);
        Some(Datagram { payload: front.payload.slice(0..first), segment: None, ..front.clone() })
    }

    /// What a receive call comes to that finds the queue empty: the pending error, the end of what shutdown(2) has ended, or EAGAIN.
    pub(super) fn determine_empty(&self, cx: &Context) -> Result<Datagram, Errno> {
        match self.error {
            Some(errno) => Err(errno),
            None if self.read_ended => Ok(Datagram::end(cx.now)),
            None => Err(Errno::Again),
        }
    }

    /// Bytes of memory that what waits to be read pins.
    pub(super) const fn received_bytes(&self) -> usize {
        self.receive_bytes
    }

    pub(super) const fn standing(&self) -> Standing {
        Standing { reuse: self.reuse, listening: false, connected: self.remote.is_some() }
    }

    /// The address that is held for it as if it were ours.
    pub(super) fn held_address(&self) -> Option<SocketAddr> {
        self.local.filter(|local| self.bind_any && !local.ip().is_unspecified())
    }

    /// The address that it is bound to, if that is not all of them.
    pub(super) fn bound_ip(&self) -> Option<IpAddr> {
        self.local.map(|local| local.ip()).filter(|ip| !ip.is_unspecified())
    }

    /// The address that it sends from, if it was bound to one that a host can have: none to a group or to all.
    pub(super) fn source_ip(&self, inet: &Inet) -> Option<IpAddr> {
        self.bound_ip().filter(|ip| !ip.is_multicast() && !inet.addresses.is_broadcast(*ip))
    }

    pub(super) fn readiness(&self) -> Readiness {
        Readiness {
            readable: !self.receive_queue.is_empty() || self.error.is_some() || self.read_ended,
            // Whoever was refused for want of room waits for the news of it, and must not be told that there is some.
            writable: (!self.send_waits && self.send_bytes < self.send_limit) || self.write_ended,
            error: self.error.is_some(),
            queued_errors: self.errors.as_ref().is_some_and(|errors| !errors.is_empty()),
            ended: self.read_ended,
            ..Readiness::default()
        }
    }

    /// shutdown(2): ENOTCONN without a peer, though it takes effect all the same, as on Linux.
    pub(super) fn shut_down(&mut self, how: Shutdown) -> Result<(), Errno> {
        self.read_ended |= matches!(how, Shutdown::Read | Shutdown::Both);
        self.write_ended |= matches!(how, Shutdown::Write | Shutdown::Both);
        if self.remote.is_some() { Ok(()) } else { Err(Errno::NotConn) }
    }

    /// What it is bound to when it has no peer any more: what a bind call has named, and the port with it.
    pub(super) fn address_without_peer(&self) -> Option<SocketAddr> {
        let local = self.local.filter(|_| self.named.address || self.named.port)?;
        let ip = if self.named.address { local.ip() } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
        Some(SocketAddr::new(ip, local.port()))
    }
}

impl Datagram {
    /// What a receive call gives after the end: nothing, from nobody.
    const fn end(now: crate::time::Instant) -> Self {
        let nobody = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Self {
            payload: Payload::Empty,
            segment: None,
            source: nobody,
            destination: nobody,
            interface: 0,
            ttl: 0,
            tos: 0,
            received: now,
        }
    }
}
