//! UDP sockets (RFC 768, udp(4)): bind, connect, send, receive, options.
//!
//! A receive queue is charged what its datagrams pin of memory. A train of equal datagrams from one sender (UDP
//! segmentation offload) is one entry, and can be taken whole or one by one.

use alloc::{collections::VecDeque, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use rumpnet_proto::{Counter, Errno, SocketReport, Transport};
use rumpnet_wire::{ip::Protocol, ipv4::Options};

use super::{Datagram, SocketId, Sockets};
use crate::{
    buffer::{Charge, Payload},
    context::Context,
    endpoint::Readiness,
    foreign::may_be_held,
    inet::{
        Inet,
        ipv4::Outgoing,
        path_mtu::MtuDiscovery,
        route::{Path, Scope, reason_of},
        udp,
    },
    link::{Link, NO_INTERFACE},
    reuse::{Reuse, Standing},
};

/// One UDP socket.
pub(super) struct UdpSocket {
    local: Option<SocketAddr>,
    /// The interface by which it hears any address.
    any: Option<u32>,
    remote: Option<SocketAddr>,
    receive_queue: VecDeque<(Datagram, usize)>,
    receive_bytes: usize,
    /// What of the memory of all sockets it is charged for.
    charged: u32,
    receive_limit: usize,
    pub(super) receive_drops: u64,
    send_bytes: usize,
    send_limit: usize,
    /// Whether a send was refused for want of room, so that room is news.
    send_waits: bool,
    error: Option<Errno>,
    ttl: Option<u8>,
    tos: u8,
    may_broadcast: bool,
    /// Whether it may have an address that is not ours.
    bind_any: bool,
    pub(super) mtu_discovery: MtuDiscovery,
    /// Who may share its address.
    reuse: Reuse,
    /// Whether it stands in the dirty list, or its news was not taken yet.
    pub(super) announced: bool,
}

/// An option of a UDP socket, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketOption {
    /// SO_BROADCAST: whether broadcasts may be sent.
    Broadcast(bool),
    /// IP_TTL: time to live of what is sent, 1..=255.
    Ttl(u8),
    /// IP_TOS: type of service of what is sent.
    Tos(u8),
    /// SO_RCVBUF: memory that received datagrams may pin, in bytes.
    ReceiveBuffer(u32),
    /// SO_SNDBUF: payload that may wait to be sent, in bytes.
    SendBuffer(u32),
    /// SO_BINDANY, IP_TRANSPARENT: whether it may be bound to an address that is not ours; before it is bound.
    BindAny(bool),
    /// IP_MTU_DISCOVER; `Dont` unless it is set.
    MtuDiscovery(MtuDiscovery),
    /// SO_REUSEADDR: whether others that say so too may be bound where it is; of those at one address the last hears.
    ReuseAddress(bool),
    /// SO_REUSEPORT: whether others that say so too may be bound where it is, and share what comes by the hash of the flow.
    ReusePort(bool),
}

/// A datagram to be sent, or a train of datagrams to one destination.
#[derive(Clone, Debug)]
pub struct UdpSend {
    /// The payload of all of them.
    pub payload: Bytes,
    /// Payload bytes of each but the last, if it is a train.
    pub segment: Option<u16>,
    /// To whom; the connected peer if absent.
    pub destination: Option<SocketAddr>,
    /// From whom, which an any-address socket alone may say; its port, of the address that reaches the destination, if absent.
    pub source: Option<SocketAddr>,
}

/// The first of the ports that are given to sockets that name none (IANA's dynamic ports, RFC 6056 section 3.2).
const FIRST_EPHEMERAL: u16 = 49_152;
const EPHEMERAL: u32 = 16_384;

/// What a waiting frame holds beside its payload, in bytes. With it a socket's buffer is full before the queue of a port is,
/// so that a sender of small datagrams waits instead of being refused.
const FRAME_COST: usize = 512;

/// The least buffers that a socket may be given, in bytes.
const MIN_BUFFER: u32 = 256;
/// The greatest, in bytes (kern.sbmax).
const MAX_BUFFER: u32 = 64 * 1024 * 1024;

impl UdpSocket {
    /// Whether a datagram that pins so many bytes may be queued; an empty queue takes any.
    pub(super) fn has_room(&self, pinned: usize) -> bool {
        self.receive_queue.is_empty() || self.receive_bytes + pinned <= self.receive_limit
    }

    /// Queues a datagram; true if the socket must be announced.
    pub(super) fn push(&mut self, cx: &mut Context, datagram: Datagram, pinned: usize) -> bool {
        self.receive_bytes += pinned;
        self.receive_queue.push_back((datagram, pinned));
        self.account(cx);
        !core::mem::replace(&mut self.announced, true)
    }

    /// Whether a datagram may be queued when there is no memory: an empty queue takes any.
    pub(super) fn is_empty(&self) -> bool {
        self.receive_queue.is_empty()
    }

    fn account(&mut self, cx: &mut Context) {
        cx.recharge(&mut self.charged, self.receive_bytes);
    }

    pub(super) fn set_error(&mut self, errno: Errno) -> bool {
        self.error = Some(errno);
        !core::mem::replace(&mut self.announced, true)
    }

    /// A frame of `bytes` has left; true if somebody waits for the room.
    pub(super) fn on_sent(&mut self, bytes: u32) -> bool {
        self.send_bytes = self.send_bytes.saturating_sub(bytes as usize);
        let room = self.send_bytes <= self.send_limit / 2;
        room && core::mem::take(&mut self.send_waits) && !core::mem::replace(&mut self.announced, true)
    }

    /// Takes a datagram, or one datagram of a train.
    fn pop(&mut self, whole_trains: bool) -> Option<Datagram> {
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

    const fn standing(&self) -> Standing {
        Standing { reuse: self.reuse, listening: false, connected: self.remote.is_some() }
    }

    /// The address that is held for it as if it were ours.
    fn held_address(&self) -> Option<SocketAddr> {
        self.local.filter(|local| self.bind_any && !local.ip().is_unspecified())
    }

    fn readiness(&self) -> Readiness {
        Readiness {
            readable: !self.receive_queue.is_empty() || self.error.is_some(),
            // Whoever was refused for want of room waits for the news of it, and must not be told that there is some.
            writable: !self.send_waits && self.send_bytes < self.send_limit,
            error: self.error.is_some(),
            ..Readiness::default()
        }
    }

    fn set_option(&mut self, option: SocketOption) -> Result<(), Errno> {
        match option {
            SocketOption::Broadcast(on) => self.may_broadcast = on,
            SocketOption::Ttl(0) => return Err(Errno::Inval),
            SocketOption::Ttl(ttl) => self.ttl = Some(ttl),
            SocketOption::Tos(tos) => self.tos = tos,
            SocketOption::ReceiveBuffer(bytes) => {
                self.receive_limit = bytes.clamp(MIN_BUFFER, MAX_BUFFER) as usize
            }
            // What is held for an address is let go by the same rule.
            SocketOption::BindAny(_) if self.local.is_some() => return Err(Errno::Inval),
            SocketOption::BindAny(on) => self.bind_any = on,
            SocketOption::MtuDiscovery(how) => self.mtu_discovery = how,
            SocketOption::ReuseAddress(on) => self.reuse.set_address(on),
            SocketOption::ReusePort(on) => self.reuse.set_port(on),
            SocketOption::SendBuffer(bytes) => self.send_limit = bytes.clamp(MIN_BUFFER, MAX_BUFFER) as usize,
        }
        Ok(())
    }
}

impl Sockets {
    /// A new UDP socket; ENFILE beyond the limit.
    pub(crate) fn open_udp(&mut self, cx: &Context) -> Result<SocketId, Errno> {
        let socket = UdpSocket {
            local: None,
            any: None,
            remote: None,
            receive_queue: VecDeque::new(),
            receive_bytes: 0,
            charged: 0,
            receive_limit: cx.config.udp_receive_bytes as usize,
            receive_drops: 0,
            send_bytes: 0,
            send_limit: cx.config.udp_send_bytes as usize,
            send_waits: false,
            error: None,
            ttl: None,
            tos: 0,
            may_broadcast: false,
            bind_any: false,
            mtu_discovery: MtuDiscovery::Dont,
            reuse: Reuse::default(),
            announced: false,
        };
        self.udp.insert(socket).map_err(|_| Errno::NFile)
    }

    /// bind(2): EINVAL if bound already, EADDRNOTAVAIL for an address that is not ours, EADDRINUSE.
    pub(crate) fn bind_udp(
        &mut self,
        cx: &mut Context,
        inet: &Inet,
        id: SocketId,
        local: SocketAddr,
    ) -> Result<SocketAddr, Errno> {
        let socket = self.udp.value(id).ok_or(Errno::BadF)?;
        if socket.local.is_some() {
            return Err(Errno::Inval);
        }
        let IpAddr::V4(address) = local.ip() else { return Err(Errno::AfNoSupport) };
        let usable = (socket.bind_any && may_be_held(local.ip()))
            || address.is_unspecified()
            || address.is_loopback()
            || address.is_multicast()
            || inet.addresses.is_ours(local.ip())
            || inet.addresses.is_broadcast(local.ip());
        if !usable {
            return Err(Errno::AddrNotAvail);
        }
        let local = self.determine_local(cx, local, socket.reuse)?;
        if let Some(socket) = self.udp.value_mut(id) {
            socket.local = Some(local);
        }
        self.move_in(cx, id);
        Ok(local)
    }

    /// Lets a socket hear every unicast datagram, and every broadcast that nobody else wants, that comes by an interface to a port, or for 0 to
    /// any. EINVAL if bound already, EADDRINUSE.
    pub(crate) fn bind_udp_any(
        &mut self,
        cx: &mut Context,
        id: SocketId,
        interface: u32,
        port: u16,
    ) -> Result<(), Errno> {
        let socket = self.udp.value_mut(id).ok_or(Errno::BadF)?;
        if socket.local.is_some() {
            return Err(Errno::Inval);
        }
        if !self.demux.bind_any(interface, port, id) {
            return Err(Errno::AddrInUse);
        }
        socket.local = Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
        socket.any = Some(interface);
        cx.foreign.hear(interface, Protocol::UDP, port);
        Ok(())
    }

    /// An interface is gone: one of the sockets that hear any address by it is bound no more, and learns why; false if there is none.
    pub(crate) fn deafen_next(&mut self, cx: &mut Context, interface: u32) -> bool {
        let Some(id) = self.demux.next_any(interface) else { return false };
        self.unbind_any(cx, id);
        self.set_error(id, Some(Errno::Nxio));
        true
    }

    fn unbind_any(&mut self, cx: &mut Context, id: SocketId) {
        let Some(socket) = self.udp.value_mut(id) else { return };
        if let Some(interface) = socket.any.take()
            && let Some(local) = socket.local.take()
        {
            self.demux.unbind_any(interface, local.port());
            cx.foreign.unhear(interface, Protocol::UDP, local.port());
        }
    }

    /// The port wanted, or a free one drawn at random (RFC 6056 section 3.3.2).
    fn determine_local(
        &self,
        cx: &mut Context,
        local: SocketAddr,
        reuse: Reuse,
    ) -> Result<SocketAddr, Errno> {
        if local.port() != 0 {
            return if self.uses.permits(local, reuse) { Ok(local) } else { Err(Errno::AddrInUse) };
        }
        let first = cx.random.below(EPHEMERAL);
        (0..EPHEMERAL)
            .map(|step| FIRST_EPHEMERAL + ((first + step) % EPHEMERAL) as u16)
            .map(|port| SocketAddr::new(local.ip(), port))
            .find(|candidate| self.uses.permits(*candidate, Reuse::default()))
            .ok_or(Errno::AddrNotAvail)
    }

    /// connect(2): binds if need be, to the address that reaches the peer.
    pub(crate) fn connect_udp(
        &mut self,
        cx: &mut Context,
        link: &Link,
        inet: &Inet,
        id: SocketId,
        remote: SocketAddr,
    ) -> Result<(), Errno> {
        let socket = self.udp.value(id).ok_or(Errno::BadF)?;
        if socket.any.is_some() {
            return Err(Errno::OpNotSupp);
        }
        if remote.port() == 0 || remote.ip().is_unspecified() {
            return Err(Errno::AddrNotAvail);
        }
        let bound = socket.local.map(|local| local.ip()).filter(|ip| !ip.is_unspecified());
        let path = determine_allowed_path(cx, link, inet, remote.ip(), bound, socket.may_broadcast)?;
        let port = match socket.local {
            Some(local) => local.port(),
            None => {
                self.bind_udp(cx, inet, id, SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0))?.port()
            }
        };
        self.move_out(cx, id);
        if let Some(socket) = self.udp.value_mut(id) {
            socket.local = Some(SocketAddr::new(path.source, port));
            socket.remote = Some(remote);
        }
        self.move_in(cx, id);
        Ok(())
    }

    /// A socket has its address from now on: it stands in the way of others, and hears.
    fn move_in(&mut self, cx: &mut Context, id: SocketId) {
        let Some(socket) = self.udp.value(id) else { return };
        let Some(local) = socket.local.filter(|_| socket.any.is_none()) else { return };
        self.uses.add(local, socket.standing());
        match socket.remote {
            Some(remote) => self.demux.connect(local, remote, id),
            None => self.demux.bind(local, id, socket.reuse.port()),
        }
        socket.held_address().into_iter().for_each(|address| cx.foreign.hold(Protocol::UDP, address));
    }

    /// The reverse, before anything of that is changed.
    fn move_out(&mut self, cx: &mut Context, id: SocketId) {
        let Some(socket) = self.udp.value(id) else { return };
        let Some(local) = socket.local.filter(|_| socket.any.is_none()) else { return };
        self.uses.remove(local, socket.standing());
        self.demux.unbind(local, socket.remote, id);
        socket.held_address().into_iter().for_each(|address| cx.foreign.release(Protocol::UDP, address));
    }

    /// Sends as many of `batch` as there is room for, and returns how many; the error is that of the first, if it failed.
    ///
    /// EDESTADDRREQ, EISCONN, EACCES (broadcast without leave), EMSGSIZE, EAGAIN (no room), what routing and the link refuse.
    pub(crate) fn send_udp(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        id: SocketId,
        batch: impl Iterator<Item = UdpSend>,
    ) -> Result<usize, Errno> {
        let mut path = None;
        let mut sent = 0;
        for send in batch {
            match self.send_one(cx, link, inet, id, send, &mut path) {
                Ok(()) => sent += 1,
                Err(errno) if sent == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(sent)
    }

    fn send_one(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        id: SocketId,
        send: UdpSend,
        known: &mut Option<(SocketAddr, Path)>,
    ) -> Result<(), Errno> {
        let socket = self.udp.value_mut(id).ok_or(Errno::BadF)?;
        if let Some(errno) = socket.error.take() {
            return Err(errno);
        }
        let destination = determine_destination(socket, &send)?;
        let datagrams = determine_size(&send)?;
        let cost = send.payload.len() + FRAME_COST;
        if socket.send_bytes + cost > socket.send_limit && socket.send_bytes > 0 {
            socket.send_waits = true;
            return Err(Errno::Again);
        }
        let named = determine_source(socket, &send)?;
        let bound = named.or(socket.local).map(|local| local.ip()).filter(|ip| !ip.is_unspecified());
        let may_broadcast = socket.may_broadcast;
        let path = match *known {
            Some((to, path)) if to == destination && bound.is_none_or(|bound| bound == path.source) => path,
            _ => determine_allowed_path(cx, link, inet, destination.ip(), bound, may_broadcast)
                .inspect_err(|errno| count_refusal(cx, *errno))?,
        };
        *known = Some((destination, path));
        let port = match named.or(socket.local) {
            Some(local) => local.port(),
            None => {
                self.bind_udp(cx, inet, id, SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0))?.port()
            }
        };
        let socket = self.udp.value_mut(id).ok_or(Errno::BadF)?;
        let mut frame =
            udp::build(SocketAddr::new(path.source, port), destination, send.payload.into(), send.segment);
        if path.scope != Scope::Own {
            socket.send_bytes += cost;
            frame.charge = Some(Charge { socket: id, bytes: cost as u32 });
        }
        let outgoing = Outgoing {
            protocol: Protocol::UDP,
            destination: destination.ip(),
            ttl: socket.ttl.unwrap_or(if path.scope == Scope::Multicast { 1 } else { cx.config.ttl }),
            tos: socket.tos,
            dont_fragment: determine_dont_fragment(socket.mtu_discovery, frame.len(), &path),
            transport_len: rumpnet_wire::udp::Header::LEN,
            options: Options::EMPTY,
        };
        // What is refused below was dropped there, and its charge is given back when the call ends.
        inet.send(cx, link, &path, &outgoing, frame)?;
        cx.add(Counter::UdpSent, datagrams as u64);
        Ok(())
    }

    /// recv(2): the next datagram; EAGAIN if there is none, or the pending error.
    pub(crate) fn receive_udp(
        &mut self,
        cx: &mut Context,
        id: SocketId,
        whole_trains: bool,
    ) -> Result<Datagram, Errno> {
        let socket = self.udp.value_mut(id).ok_or(Errno::BadF)?;
        if let Some(datagram) = socket.pop(whole_trains) {
            socket.account(cx);
            return Ok(datagram);
        }
        Err(socket.error.take().unwrap_or(Errno::Again))
    }

    /// As [`Self::receive_udp`] until `limit` are taken or none is left; returns how many.
    pub(crate) fn receive_udp_batch(
        &mut self,
        cx: &mut Context,
        id: SocketId,
        out: &mut Vec<Datagram>,
        limit: usize,
    ) -> Result<usize, Errno> {
        out.push(self.receive_udp(cx, id, true)?);
        let socket = self.udp.value_mut(id).ok_or(Errno::BadF)?;
        let before = out.len();
        out.extend(core::iter::from_fn(|| socket.pop(true)).take(limit.saturating_sub(1)));
        socket.account(cx);
        Ok(1 + out.len() - before)
    }

    /// The next datagram without taking it (MSG_PEEK).
    pub(crate) fn peek_udp(&self, id: SocketId) -> Result<Datagram, Errno> {
        let socket = self.udp.value(id).ok_or(Errno::BadF)?;
        let (front, _) = socket.receive_queue.front().ok_or_else(|| socket.error.unwrap_or(Errno::Again))?;
        let first = front.segment.map_or(usize::MAX, usize::from);
        Ok(Datagram { payload: front.payload.slice(0..first), segment: None, ..front.clone() })
    }

    /// Closes a socket; what it has queued to receive is lost, what waits at a port is still sent.
    pub(crate) fn close_udp(&mut self, cx: &mut Context, id: SocketId) -> Result<(), Errno> {
        self.move_out(cx, id);
        self.unbind_any(cx, id);
        let mut socket = self.udp.remove(id).ok_or(Errno::BadF)?;
        cx.recharge(&mut socket.charged, 0);
        Ok(())
    }

    /// The local and the remote address.
    pub(crate) fn udp_addresses(
        &self,
        id: SocketId,
    ) -> Result<(Option<SocketAddr>, Option<SocketAddr>), Errno> {
        self.udp.value(id).map(|socket| (socket.local, socket.remote)).ok_or(Errno::BadF)
    }

    /// Sets an option; EINVAL for an impossible value.
    pub(crate) fn set_udp_option(
        &mut self,
        cx: &mut Context,
        id: SocketId,
        option: SocketOption,
    ) -> Result<(), Errno> {
        // Who may share its address is counted where it is.
        let moves = matches!(option, SocketOption::ReuseAddress(_) | SocketOption::ReusePort(_));
        if moves {
            self.move_out(cx, id);
        }
        let set = self.udp.value_mut(id).ok_or(Errno::BadF)?.set_option(option);
        if moves {
            self.move_in(cx, id);
        }
        set
    }

    /// getsockopt(2) of IP_MTU_DISCOVER.
    pub(crate) fn udp_mtu_discovery(&self, id: SocketId) -> Result<MtuDiscovery, Errno> {
        self.udp.value(id).map(|socket| socket.mtu_discovery).ok_or(Errno::BadF)
    }

    /// getsockopt(2) of IP_MTU: what the path of a connected socket carries, as far as it is known. ENOTCONN, and what routing says.
    pub(crate) fn udp_path_mtu(
        &self,
        cx: &Context,
        link: &Link,
        inet: &Inet,
        id: SocketId,
    ) -> Result<u32, Errno> {
        let socket = self.udp.value(id).ok_or(Errno::BadF)?;
        let remote = socket.remote.ok_or(Errno::NotConn)?.ip();
        let local = socket.local.map(|local| local.ip());
        Ok(determine_allowed_path(cx, link, inet, remote, local, true)?.mtu)
    }

    /// Takes the pending error (SO_ERROR).
    pub(crate) fn take_udp_error(&mut self, id: SocketId) -> Result<Option<Errno>, Errno> {
        Ok(self.udp.value_mut(id).ok_or(Errno::BadF)?.error.take())
    }

    /// Places of sockets, taken or free.
    pub(crate) const fn places(&self) -> u32 {
        self.udp.places()
    }

    /// The socket at a place.
    pub(crate) fn report_at(&self, place: u32) -> Option<SocketReport> {
        let socket = self.udp.value(self.udp.key_at(place)?)?;
        Some(SocketReport {
            transport: Transport::Udp,
            local: socket.local,
            remote: socket.remote,
            receive_queue: socket.receive_bytes as u32,
            send_queue: socket.send_bytes as u32,
            receive_drops: socket.receive_drops,
            state: None,
            connection: None,
        })
    }

    /// What a socket is ready for; one that is closed is ready for everything.
    pub(crate) fn readiness(&self, id: SocketId) -> Readiness {
        let closed = Readiness { readable: true, writable: true, closed: true, ..Readiness::default() };
        self.udp.value(id).map_or(closed, UdpSocket::readiness)
    }
}

/// A path that the socket may use: broadcasts need leave.
fn determine_allowed_path(
    cx: &Context,
    link: &Link,
    inet: &Inet,
    destination: IpAddr,
    source: Option<IpAddr>,
    may_broadcast: bool,
) -> Result<Path, Errno> {
    if destination.is_ipv6() {
        return Err(Errno::AfNoSupport);
    }
    let mut path = inet.determine_path(cx, link, destination, source)?;
    path.mtu = inet.path_mtu(cx, destination, path.mtu);
    if path.scope == Scope::Broadcast && !may_broadcast { Err(Errno::Acces) } else { Ok(path) }
}

/// Whether a packet of a socket bears DF: one that is fragmented here does not.
const fn determine_dont_fragment(discovery: MtuDiscovery, len: usize, path: &Path) -> bool {
    match discovery {
        MtuDiscovery::Want => len + rumpnet_wire::ipv4::Header::LEN <= path.mtu as usize,
        MtuDiscovery::Do => true,
        MtuDiscovery::Dont => false,
    }
}

/// A datagram that finds no way is counted like one that is dropped on it; what its sender may not do is not.
fn count_refusal(cx: &mut Context, errno: Errno) {
    if !matches!(errno, Errno::Acces | Errno::AfNoSupport) {
        cx.count_drop(NO_INTERFACE, reason_of(errno));
    }
}

fn determine_destination(socket: &UdpSocket, send: &UdpSend) -> Result<SocketAddr, Errno> {
    match (socket.remote, send.destination) {
        (Some(_), Some(_)) => Err(Errno::IsConn),
        (Some(remote), None) => Ok(remote),
        (None, Some(destination)) if destination.port() == 0 => Err(Errno::AddrNotAvail),
        (None, Some(destination)) => Ok(destination),
        (None, None) => Err(Errno::DestAddrReq),
    }
}

/// From whom a datagram says that it is: EINVAL for a socket that may not say it, EADDRNOTAVAIL for what no host has, and for a socket of any port
/// that says nothing.
fn determine_source(socket: &UdpSocket, send: &UdpSend) -> Result<Option<SocketAddr>, Errno> {
    match send.source {
        Some(_) if socket.any.is_none() => Err(Errno::Inval),
        Some(source) if source.port() == 0 || !may_be_held(source.ip()) => Err(Errno::AddrNotAvail),
        None if socket.local.is_some_and(|local| local.port() == 0) => Err(Errno::AddrNotAvail),
        source => Ok(source),
    }
}

/// How many datagrams it is; EMSGSIZE if it does not fit one packet, EINVAL for a segment size of 0.
fn determine_size(send: &UdpSend) -> Result<usize, Errno> {
    if send.payload.len() > udp::MAX_PAYLOAD {
        return Err(Errno::MsgSize);
    }
    match send.segment {
        Some(0) => Err(Errno::Inval),
        Some(size) => Ok(send.payload.len().div_ceil(usize::from(size)).max(1)),
        None => Ok(1),
    }
}
