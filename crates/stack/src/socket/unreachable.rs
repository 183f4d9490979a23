//! Errors that concern datagram sockets: what ICMP says of their packets, and neighbours that do not answer.
//!
//! A socket with a peer hears of every error (RFC 1122 section 4.1.3.3). One that keeps errors (IP_RECVERR) hears of those of all its packets, with
//! their causes.

use core::net::{IpAddr, SocketAddr};

use alloc::vec::Vec;
use bytes::Bytes;
use rumpnet_proto::{Counter, Errno};
use rumpnet_wire::{icmpv4::Message, ip::Protocol, ipv4, udp};

use super::{
    SocketId, Sockets,
    datagram::{Kind, Socket},
    errors::{ErrorOrigin, QueuedError},
};
use crate::{
    buffer::Received,
    context::Context,
    inet::{
        Inet,
        icmp::{ErrorReport, Offender, errno_of},
        path_mtu::{MtuDiscovery, determine_told},
    },
    link::Link,
};

/// ICMP's types of errors: destination unreachable and parameter problem; the third one, time exceeded, is nothing particular.
const UNREACHABLE: u8 = 3;
const PARAMETER_PROBLEM: u8 = 12;
/// The code of an unreachable destination that a packet is too long for.
const NARROW: (u8, u8) = (UNREACHABLE, 4);

impl Socket {
    /// Takes the pending error.
    pub(super) const fn take_error(&mut self) -> Option<Errno> {
        self.error.take()
    }
}

impl Sockets {
    /// An ICMP error says that it concerns something that we sent; false if it does not. The cursor of `packet` is at its ICMP header.
    pub(super) fn on_error(
        &mut self,
        cx: &mut Context,
        link: &Link,
        inet: &mut Inet,
        (report, interface): (&ErrorReport, u32),
        packet: &Received,
    ) -> bool {
        match report.offender {
            Offender::Udp { source, destination } => {
                if self.echo.on_udp_error(cx, (source, destination), report) {
                    return true;
                }
                let narrow = (report.kind, report.code) == NARROW;
                let learned =
                    narrow && self.learn_path_mtu(cx, link, inet, (source, destination), (report, interface));
                let Some(id) = self.demux.find(source, destination, (interface, false)) else {
                    return learned;
                };
                self.tell(cx, id, report, packet, destination) || learned
            }
            Offender::Echo { destination, identifier, sequence } => {
                self.echo.on_error(cx, (destination, identifier, sequence), report)
                    || self
                        .identifiers
                        .get(&identifier)
                        .copied()
                        .is_some_and(|id| self.tell(cx, id, report, packet, SocketAddr::new(destination, 0)))
            }
            // The stack has asked TCP, and raw sockets of whatever protocol.
            Offender::Tcp { .. } | Offender::Other { .. } => false,
        }
    }

    /// Tells raw sockets of an ICMP error about a packet of their protocol. Whether one of them wants to know.
    pub(crate) fn on_raw_error(&mut self, cx: &mut Context, report: &ErrorReport, packet: &Received) -> bool {
        let Some(sent) = determine_sent(packet) else { return false };
        let (protocol, source, destination) = (sent.protocol, sent.source.into(), sent.destination.into());
        if !cx.raw.are_heard(protocol.0) && !cx.raw.are_heard(u8::MAX) {
            return false;
        }
        let mut told = false;
        let mut senders = self.raw_senders(protocol, source, destination);
        if protocol != Protocol(u8::MAX) {
            // Who writes headers himself may have sent any protocol.
            senders.extend(self.raw_senders(Protocol(u8::MAX), source, destination));
        }
        for id in senders {
            told |= self.tell(cx, id, report, packet, SocketAddr::new(destination, 0));
        }
        told
    }

    /// Tells a socket of an ICMP error about one of its packets, if it hears of it: it has a peer, or keeps errors.
    fn tell(
        &mut self,
        cx: &mut Context,
        id: SocketId,
        report: &ErrorReport,
        packet: &Received,
        destination: SocketAddr,
    ) -> bool {
        let Some(socket) = self.all.value(id) else { return false };
        let fragments = socket.mtu_discovery == MtuDiscovery::Dont;
        if (report.kind, report.code) == NARROW && fragments {
            return socket.remote.is_some();
        }
        if socket.errors.is_none() {
            let concerns = socket.remote.is_some();
            if concerns {
                self.set_error(id, errno_of(report.kind, report.code));
            }
            return concerns;
        }
        let error = QueuedError {
            errno: cause_of(report),
            origin: ErrorOrigin::Icmp { kind: report.kind, code: report.code },
            info: determine_info(report, packet),
            offender: Some(IpAddr::V4(report.from)),
            destination,
            payload: quoted(packet, socket.kind),
            received: cx.now,
        };
        self.keep_error(cx, id, error);
        true
    }

    /// Keeps an error for a socket that wants their causes; it is the pending one, too.
    pub(super) fn keep_error(&mut self, cx: &mut Context, id: SocketId, error: QueuedError) {
        let Some(socket) = self.all.value_mut(id) else { return };
        let errno = error.errno;
        let local = error.origin == ErrorOrigin::Local;
        let Some(errors) = &mut socket.errors else { return };
        let kept = errors.push(error, socket.receive_limit);
        cx.count(if kept { Counter::SocketErrorsKept } else { Counter::SocketErrorsLost });
        socket.account(cx);
        // What a call itself is told is not pending, too.
        if local {
            if socket.must_announce() {
                self.dirty.push_back(id);
            }
        } else {
            self.set_error(id, Some(errno));
        }
    }

    /// A datagram of a socket of ours, by its addresses, did not fit its path. Whether that was news.
    fn learn_path_mtu(
        &self,
        cx: &mut Context,
        link: &Link,
        inet: &mut Inet,
        (source, destination): (SocketAddr, SocketAddr),
        (report, interface): (&ErrorReport, u32),
    ) -> bool {
        // What nobody can have sent is a forgery (RFC 5927).
        if !cx.config.mtu_discovery || self.demux.find(source, destination, (interface, false)).is_none() {
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
    pub(crate) fn on_unreachable(&mut self, cx: &mut Context, ids: Vec<SocketId>) {
        for id in ids {
            let destination = self.all.value(id).and_then(|socket| socket.remote);
            let nobody = SocketAddr::new(IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), 0);
            self.keep_local_error(cx, id, destination.unwrap_or(nobody), Errno::HostUnreach, 0);
            self.set_error(id, Some(Errno::HostUnreach));
        }
    }
}

/// The header of the packet that an error quotes; the cursor is at its ICMP header.
fn determine_sent(packet: &Received) -> Option<ipv4::Header> {
    let quote: Vec<u8> =
        packet.slices().flatten().copied().skip(Message::LEN).take(ipv4::Header::MAX_LEN).collect();
    Some(ipv4::Header::parse_quoted(&quote).ok()?.0)
}

/// What an error is to a socket that keeps errors, by Linux's table of codes.
const fn cause_of(report: &ErrorReport) -> Errno {
    match (report.kind, report.code) {
        (UNREACHABLE, 2) => Errno::NoProtoOpt,
        (UNREACHABLE, 5) => Errno::OpNotSupp,
        (UNREACHABLE, 7) => Errno::HostDown,
        (PARAMETER_PROBLEM, _) => Errno::Proto,
        (kind, code) => match errno_of(kind, code) {
            Some(errno) => errno,
            None => Errno::HostUnreach,
        },
    }
}

/// The MTU or the octet that an error names.
fn determine_info(report: &ErrorReport, packet: &Received) -> u32 {
    match (report.kind, report.code) {
        NARROW => report.next_hop_mtu.into(),
        (PARAMETER_PROBLEM, _) => packet.bytes().get(4).copied().unwrap_or_default().into(),
        _ => 0,
    }
}

/// What of a datagram an error quotes: of UDP the payload, of ICMP the message, of raw sockets what follows the IP header, or all of it.
fn quoted(packet: &Received, kind: Kind) -> Bytes {
    /// No error of ours is longer, and nothing longer is kept.
    const MOST: usize = 576;
    let bytes: Vec<u8> = packet.slices().flatten().copied().skip(Message::LEN).take(MOST).collect();
    let header_len = ipv4::Header::parse_quoted(&bytes).map_or(0, |(header, _)| header.header_len());
    let skipped = match kind {
        Kind::Udp => header_len + udp::Header::LEN,
        Kind::Raw(raw) if raw.header_included => 0,
        Kind::Raw(_) | Kind::Icmp => header_len,
    };
    let bytes = Bytes::from(bytes);
    bytes.slice(skipped.min(bytes.len())..)
}
