//! Sending by datagram sockets: to whom, from where, by which way, and UDP's part of it.

use core::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use rumpnet_proto::{Counter, Errno};
use rumpnet_wire::{ip::Protocol, ipv4::Options};

use super::{
    SocketId, Sockets,
    datagram::{Kind, Socket},
    errors::{ErrorOrigin, QueuedError},
    path::{determine_dont_fragment, determine_path},
};
use crate::{
    buffer::{Charge, Frame},
    context::Context,
    foreign::may_be_held,
    inet::{
        Inet,
        ipv4::Outgoing,
        route::{Path, Scope, reason_of},
        udp,
        via::Via,
    },
    link::{Link, NO_INTERFACE},
};

/// A datagram to be sent, or a train of datagrams to one destination.
#[derive(Clone, Debug, Default)]
pub struct UdpSend {
    /// The payload of all of them. Of a raw socket it begins after the IP header, or with it (IP_HDRINCL); of an ICMP socket with the ICMP header.
    pub payload: Bytes,
    /// Payload bytes of each but the last, if it is a train.
    pub segment: Option<u16>,
    /// To whom; the connected peer if absent. Of what is not UDP the port is of no meaning.
    pub destination: Option<SocketAddr>,
    /// From whom, which an any-address socket alone may say; its port, of the address that reaches the destination, if absent.
    pub source: Option<SocketAddr>,
    /// What else this call says.
    pub info: SendInfo,
}

/// What one call says in place of the socket's options (the ancillary data of `sendmsg`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendInfo {
    /// The index of the interface to send by (IP_PKTINFO).
    pub interface: Option<u32>,
    /// Which of our addresses to send from (IP_PKTINFO).
    pub source: Option<IpAddr>,
    /// The time to live, 1..=255 (IP_TTL).
    pub ttl: Option<u8>,
    /// The type of service (IP_TOS).
    pub tos: Option<u8>,
}

/// What a waiting frame holds beside its payload, in bytes. With it a socket's buffer is full before the queue of a port is,
/// so that a sender of small datagrams waits instead of being refused.
const FRAME_COST: usize = 512;

/// The way of the datagram before, for others of a batch: to whom, by what wish, and which it was.
pub(super) type Known = Option<(SocketAddr, SendInfo, Path)>;

impl Sockets {
    /// Sends as many of `batch` as there is room for, and returns how many; the error is that of the first, if it failed.
    ///
    /// EDESTADDRREQ, EPIPE (shut down), EACCES (broadcast without leave), EMSGSIZE, EAGAIN (no room), EINVAL for an impossible wish, ENODEV for an
    /// interface that is not there, what routing and the link refuse.
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
        known: &mut Known,
    ) -> Result<(), Errno> {
        let socket = self.all.value_mut(id).ok_or(Errno::BadF)?;
        if let Some(errno) = socket.take_error() {
            return Err(errno);
        }
        if socket.write_ended {
            return Err(Errno::Pipe);
        }
        let destination = determine_destination(socket, &send)?;
        let size = match socket.kind {
            Kind::Udp => determine_size(&send),
            Kind::Raw(raw) => super::raw::determine_size(raw, &send),
            Kind::Icmp => super::icmp::determine_size(&send),
        };
        if size == Err(Errno::MsgSize) {
            self.keep_local_error(cx, id, destination, Errno::MsgSize, 0);
        }
        size?;
        let socket = self.all.value_mut(id).ok_or(Errno::BadF)?;
        let cost = send.payload.len() + FRAME_COST;
        if !socket.may_send(cost) {
            return Err(Errno::Again);
        }
        let path = self.determine_way(cx, link, inet, id, &send, destination, known)?;
        let sent = match self.all.value(id).ok_or(Errno::BadF)?.kind {
            Kind::Udp => self.send_datagram(cx, link, inet, id, send, (destination, &path)),
            Kind::Raw(raw) => self.send_raw(cx, link, inet, id, raw, send, (destination, &path)),
            Kind::Icmp => self.send_echo(cx, link, inet, id, send, (destination, &path)),
        };
        if sent == Err(Errno::MsgSize) {
            self.keep_local_error(cx, id, destination, Errno::MsgSize, path.mtu);
        }
        sent
    }

    /// The way of a datagram, which is that of the one before if nothing is different.
    #[expect(clippy::too_many_arguments, reason = "what a way depends on")]
    fn determine_way(
        &self,
        cx: &mut Context,
        link: &Link,
        inet: &Inet,
        id: SocketId,
        send: &UdpSend,
        destination: SocketAddr,
        known: &mut Known,
    ) -> Result<Path, Errno> {
        let socket = self.all.value(id).ok_or(Errno::BadF)?;
        let named = determine_source(inet, socket, send)?;
        if send.info.ttl == Some(0) {
            return Err(Errno::Inval);
        }
        let bound = named.or_else(|| socket.source_ip(inet));
        if let Some((to, info, path)) = known
            && *to == destination
            && *info == send.info
            && bound.is_none_or(|bound| bound == path.source)
        {
            return Ok(*path);
        }
        let via = determine_via(socket, send)?;
        let ways = (destination.ip(), bound);
        let path = determine_path(cx, link, inet, id, ways, via, socket.may_broadcast)
            .inspect_err(|errno| count_refusal(cx, destination.ip(), *errno))?;
        *known = Some((destination, send.info, path));
        Ok(path)
    }

    fn send_datagram(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        id: SocketId,
        send: UdpSend,
        (destination, path): (SocketAddr, &Path),
    ) -> Result<(), Errno> {
        let socket = self.all.value(id).ok_or(Errno::BadF)?;
        let port = match send.source.or(socket.local) {
            Some(local) => local.port(),
            None => self.bind_by_itself(cx, inet, id)?.port(),
        };
        let datagrams = datagrams(&send);
        let cost = send.payload.len() + FRAME_COST;
        let source = SocketAddr::new(path.source, port);
        let frame = udp::build(source, destination, send.payload.into(), send.segment);
        let transport = (Protocol::UDP, rumpnet_wire::udp::Header::LEN);
        self.send_frame(cx, link, inet, id, (frame, cost), &send.info, transport, (destination.ip(), path))?;
        cx.add(Counter::UdpSent, datagrams as u64);
        Ok(())
    }

    /// Hands a packet, whose IP header is still to be written, to the Internet layer at its socket's charge.
    #[expect(clippy::too_many_arguments, reason = "a packet is all of these")]
    pub(super) fn send_frame(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        id: SocketId,
        (mut frame, cost): (Frame, usize),
        info: &SendInfo,
        (protocol, transport_len): (Protocol, usize),
        (destination, path): (IpAddr, &Path),
    ) -> Result<(), Errno> {
        let socket = self.all.value_mut(id).ok_or(Errno::BadF)?;
        socket.charge(id, &mut frame, cost, path);
        let outgoing = Outgoing {
            protocol,
            destination,
            ttl: info.ttl.unwrap_or_else(|| match path.scope {
                Scope::Multicast { .. } => inet.multicast_settings(id).ttl,
                _ => socket.ttl.unwrap_or(cx.config.ttl),
            }),
            tos: info.tos.unwrap_or(socket.tos),
            dont_fragment: determine_dont_fragment(socket.mtu_discovery, frame.len(), path),
            transport_len,
            options: Options::EMPTY,
        };
        // What is refused below was dropped there, and its charge is given back when the call ends.
        inet.send(cx, link, path, &outgoing, frame)
    }

    /// An error that this kernel has found, for a socket that wants the causes of errors.
    pub(super) fn keep_local_error(
        &mut self,
        cx: &mut Context,
        id: SocketId,
        destination: SocketAddr,
        errno: Errno,
        info: u32,
    ) {
        let (origin, offender, payload, received) = (ErrorOrigin::Local, None, Bytes::new(), cx.now);
        self.keep_error(
            cx,
            id,
            QueuedError { errno, origin, info, offender, destination, payload, received },
        );
    }
}

impl Socket {
    /// Charges a frame to the socket until it has left; what stays in this host is received at once.
    pub(super) fn charge(&mut self, id: SocketId, frame: &mut Frame, cost: usize, path: &Path) {
        if path.scope != Scope::Own {
            self.send_bytes += cost;
            frame.charge = Some(Charge { socket: id, bytes: cost as u32 });
        }
    }
}

/// What a datagram costs of its socket's send buffer.
pub(super) const fn cost_of(send: &UdpSend) -> usize {
    send.payload.len() + FRAME_COST
}

/// A datagram that finds no way is counted like one that is dropped on it; what its sender may not do is not.
fn count_refusal(cx: &mut Context, destination: IpAddr, errno: Errno) {
    if !matches!(errno, Errno::Acces | Errno::AfNoSupport | Errno::NoDev) {
        cx.count_drop(NO_INTERFACE, reason_of(errno));
        cx.tell_of_miss(destination, errno);
    }
}

/// To whom a datagram goes: whom the call names, as on Linux even if the socket has a peer.
fn determine_destination(socket: &Socket, send: &UdpSend) -> Result<SocketAddr, Errno> {
    match (socket.remote, send.destination) {
        (_, Some(destination)) if socket.kind == Kind::Udp && destination.port() == 0 => {
            Err(Errno::AddrNotAvail)
        }
        (_, Some(destination)) => Ok(destination),
        (Some(remote), None) => Ok(remote),
        (None, None) => Err(Errno::DestAddrReq),
    }
}

/// The interface that the call names, if it is not the socket's in any case: EINVAL if they differ.
fn determine_via(socket: &Socket, send: &UdpSend) -> Result<Via, Errno> {
    let interface = match (socket.interface, send.info.interface) {
        (Some(bound), Some(wanted)) if bound != wanted => return Err(Errno::Inval),
        (bound, wanted) => bound.or(wanted),
    };
    Ok(Via { interface, direct: socket.direct })
}

/// From whom a datagram says that it is: EINVAL for a socket that may not say it; ENETUNREACH, as on Linux, for an address that is not ours;
/// EADDRNOTAVAIL for what no host has, and for a socket of any port that says nothing.
fn determine_source(inet: &Inet, socket: &Socket, send: &UdpSend) -> Result<Option<IpAddr>, Errno> {
    if let Some(wanted) = send.info.source {
        let ours = inet.addresses.is_ours(wanted) || wanted.is_loopback();
        let own = ours || (socket.bind_any && may_be_held(wanted)) || socket.writes_header();
        return if own { Ok(Some(wanted)) } else { Err(Errno::NetUnreach) };
    }
    match send.source {
        Some(_) if socket.any.is_none() => Err(Errno::Inval),
        Some(source) if source.port() == 0 || !may_be_held(source.ip()) => Err(Errno::AddrNotAvail),
        None if socket.any.is_some() && socket.local.is_some_and(|local| local.port() == 0) => {
            Err(Errno::AddrNotAvail)
        }
        source => Ok(source.map(|source| source.ip())),
    }
}

/// Whether it fits one packet: EMSGSIZE; EINVAL for a segment size of 0.
fn determine_size(send: &UdpSend) -> Result<(), Errno> {
    match send.segment {
        _ if send.payload.len() > udp::MAX_PAYLOAD => Err(Errno::MsgSize),
        Some(0) => Err(Errno::Inval),
        _ => Ok(()),
    }
}

/// How many datagrams it is.
fn datagrams(send: &UdpSend) -> usize {
    send.segment.map_or(1, |size| send.payload.len().div_ceil(usize::from(size)).max(1))
}
