//! ICMP (RFC 792, RFC 1122 section 3.2.2): echo, and the errors that we send and that concern us.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use rumpnet_proto::{Counter, DropReason, Errno};
use rumpnet_wire::{
    checksum::Sum,
    icmpv4::{Message, RedirectCode, TimeExceededCode, UnreachableCode},
    ip::Protocol,
    ipv4::{Header, Options},
    udp,
};

use super::{
    Delivery, Inet, Unclaimed,
    ipv4::{Audience, Outgoing},
    route::reason_of,
};
use crate::{
    buffer::{Checksum, Frame, Payload, Received},
    context::Context,
    link::{Link, NO_INTERFACE},
};

/// An error that we send about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// Nobody listens at that port.
    PortUnreachable,
    /// Nobody speaks that protocol.
    ProtocolUnreachable,
    /// A packet's fragments did not all come in time.
    ReassemblyTimeExceeded,
    /// No route leads there.
    NetUnreachable,
    /// The last router found no such host.
    HostUnreachable,
    /// A packet that may not be fragmented does not fit the next link, whose MTU this is.
    FragmentationNeeded(u16),
    /// Nobody here follows source routes.
    SourceRouteFailed,
    /// A packet was too long on its way.
    TransitTimeExceeded,
    /// An option is malformed; the octet of the header where it begins.
    ParameterProblem { pointer: u8 },
    /// Another router on the sender's link is nearer to the destination.
    Redirect(Ipv4Addr),
}

/// An ICMP error about a packet that we sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ErrorReport {
    /// Who sent the error.
    pub(crate) from: Ipv4Addr,
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) ttl: u8,
    /// The MTU of the link that it did not fit, if the error is about that and says so.
    pub(crate) next_hop_mtu: u16,
    /// How long what we had sent was.
    pub(crate) len: u16,
    /// What we had sent.
    pub(crate) offender: Offender,
}

/// The packet an error is about, as far as it is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offender {
    Udp {
        source: SocketAddr,
        destination: SocketAddr,
    },
    Echo {
        destination: IpAddr,
        identifier: u16,
        sequence: u16,
    },
    /// A segment, and the number that it begins with.
    Tcp {
        source: SocketAddr,
        destination: SocketAddr,
        sequence: u32,
    },
    /// A packet of another protocol, which a raw socket can have sent. Whoever wants more of it finds the whole quote in the packet that is handed
    /// along with the report, its cursor at the ICMP header.
    Other {
        protocol: Protocol,
        source: IpAddr,
        destination: IpAddr,
    },
}

/// The largest ICMP error, so that it crosses every path unfragmented (RFC 1812 section 4.3.2.3).
const MAX_ERROR: usize = 576;
/// Of a type of service: the part that is no precedence and no congestion mark (RFC 1349).
const SERVICE: u8 = 0x1c;
/// The precedence of errors: internetwork control (RFC 1812 section 4.3.2.5).
const CONTROL: u8 = 0xc0;

impl Inet {
    /// An ICMP message for us, its cursor at the ICMP header.
    pub(super) fn receive_icmp(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        interface: u32,
        header: &Header,
        packet: &mut Received,
        audience: Audience,
    ) -> Option<Delivery> {
        cx.count(Counter::IcmpReceived);
        let message = match parse(packet) {
            Ok(message) => message,
            Err(reason) => {
                cx.drop_received(interface, reason, packet);
                return None;
            }
        };
        let refused = match message {
            // Of what is not for us, only errors may concern us: they are about what we sent from foreign addresses.
            _ if audience == Audience::Foreign && !is_error(&message) => DropReason::Ipv4NotForUs,
            Message::EchoRequest { .. }
            | Message::TimestampRequest { .. }
            | Message::AddressMaskRequest { .. } => {
                match self.answer_query(cx, link, (interface, audience), header, message, packet) {
                    Ok(()) => return None,
                    Err(reason) => reason,
                }
            }
            Message::EchoReply { identifier, sequence } => {
                cx.count(Counter::IcmpEchoReplies);
                packet.advance(Message::LEN);
                let source = IpAddr::V4(header.source);
                return Some(Delivery::EchoReply {
                    source,
                    identifier,
                    sequence,
                    ttl: header.ttl,
                    options: header.options,
                    interface,
                });
            }
            Message::Redirect { gateway, .. } => {
                if self.obey_redirect(cx, link, interface, header, gateway, packet) {
                    return None;
                }
                DropReason::IcmpRedirectRefused
            }
            message if is_error(&message) => {
                cx.count(Counter::IcmpErrorsReceived);
                match determine_report(header, packet) {
                    Some(report) => return Some(Delivery::Error { report, interface }),
                    None => DropReason::IcmpNoSocket,
                }
            }
            _ => {
                let reason = DropReason::IcmpUnknownType;
                return Some(Delivery::Unclaimed(Unclaimed { interface, audience, reason }));
            }
        };
        cx.drop_received(interface, refused, packet);
        None
    }

    /// Sends an ICMP message; what cannot be sent is counted below.
    pub(super) fn send_icmp(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        source: Option<IpAddr>,
        outgoing: &Outgoing,
        message: Frame,
    ) {
        let path = match self.determine_path(cx, link, outgoing.destination, source) {
            Ok(path) => path,
            Err(errno) => return cx.count_drop(NO_INTERFACE, reason_of(errno)),
        };
        cx.count(Counter::IcmpSent);
        let _counted = self.send(cx, link, &path, outgoing, message);
    }

    /// Whether an error can be sent to this source: it is neither nobody nor many (RFC 1812 section 4.3.2.7).
    fn is_one_host(&self, source: Ipv4Addr) -> bool {
        let is_group = source.is_multicast() || source.is_broadcast();
        !source.is_unspecified() && !is_group && !self.addresses.is_broadcast(IpAddr::V4(source))
    }

    /// Tells the sender of a packet, whose network header is marked, what is wrong with it.
    ///
    /// Never about errors, fragments but the first, groups or impossible sources (RFC 1122 section 3.2.2), nor too often.
    pub(crate) fn send_icmp_error(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        kind: ErrorKind,
        packet: &Received,
    ) {
        let quote = quote(packet, cx.config.icmp_return_bytes);
        let Ok((header, _)) = Header::parse_quoted(&quote) else { return };
        let quotes_error = header.protocol == Protocol::ICMP && !is_query(quote.get(header.header_len()));
        let concerns_one = self.is_one_host(header.source) && self.is_one_host(header.destination);
        if header.fragment_offset != 0 || quotes_error || !concerns_one {
            return;
        }
        let limits = (cx.config.icmp_errors_per_second, cx.config.icmp_errors_per_peer);
        if !self.error_budget.may_send(cx.now, header.source, limits) {
            return cx.count_drop(NO_INTERFACE, DropReason::IcmpRateLimited);
        }
        cx.count(Counter::IcmpErrorsSent);
        if matches!(kind, ErrorKind::Redirect(_)) {
            cx.count(Counter::IcmpRedirectsSent);
        }
        let unreachable = |code| Message::DestinationUnreachable { code, next_hop_mtu: 0 };
        let message = match kind {
            ErrorKind::ProtocolUnreachable => unreachable(UnreachableCode::PROTOCOL),
            ErrorKind::PortUnreachable => unreachable(UnreachableCode::PORT),
            ErrorKind::NetUnreachable => unreachable(UnreachableCode::NETWORK),
            ErrorKind::HostUnreachable => unreachable(UnreachableCode::HOST),
            ErrorKind::SourceRouteFailed => unreachable(UnreachableCode::SOURCE_ROUTE_FAILED),
            ErrorKind::FragmentationNeeded(next_hop_mtu) => {
                Message::DestinationUnreachable { code: UnreachableCode::FRAGMENTATION_NEEDED, next_hop_mtu }
            }
            ErrorKind::ReassemblyTimeExceeded => Message::TimeExceeded { code: TimeExceededCode::REASSEMBLY },
            ErrorKind::TransitTimeExceeded => Message::TimeExceeded { code: TimeExceededCode::TTL },
            ErrorKind::ParameterProblem { pointer } => Message::ParameterProblem { code: 0, pointer },
            ErrorKind::Redirect(gateway) => Message::Redirect { code: RedirectCode::HOST, gateway },
        };
        let source = Some(IpAddr::V4(header.destination)).filter(|address| self.addresses.is_ours(*address));
        let tos = CONTROL | header.tos & SERVICE;
        let outgoing = outgoing(header.source.into(), cx.config.ttl, tos);
        self.send_icmp(cx, link, source, &outgoing, build(message, quote.into()));
    }
}

/// Whether an ICMP message of this kind asks or answers: about errors, and about what is unknown, no error is sent.
fn is_query(kind: Option<&u8>) -> bool {
    matches!(kind, Some(0 | 8 | 9 | 10 | 13..=18))
}

/// What an echo or an error says in its IP header.
pub(crate) const fn outgoing(destination: IpAddr, ttl: u8, tos: u8) -> Outgoing {
    Outgoing {
        protocol: Protocol::ICMP,
        destination,
        ttl,
        tos,
        dont_fragment: false,
        transport_len: Message::LEN,
        options: Options::EMPTY,
    }
}

/// A message with its data and a full checksum, which no link computes for ICMP.
pub(crate) fn build(message: Message, data: Payload) -> Frame {
    let mut frame = Frame { payload: data, ..Frame::default() };
    let mut sum = Sum::new();
    frame.payload.slices().iter().for_each(|slice| {
        sum.add(slice);
    });
    let room = frame.headers.prepend(Message::LEN).expect("an ICMP header fits an empty frame");
    room.copy_from_slice(&message.to_bytes(sum));
    frame.offload.checksum = Checksum::Verified;
    frame
}

fn parse(packet: &Received) -> Result<Message, DropReason> {
    let Ok((message, _)) = Message::parse_unverified(packet.bytes()) else {
        return Err(DropReason::IcmpTruncated);
    };
    if packet.offload.checksum == Checksum::Unverified {
        let mut sum = Sum::new();
        packet.slices().for_each(|slice| {
            sum.add(slice);
        });
        if sum.finish() != 0 {
            return Err(DropReason::IcmpChecksum);
        }
    }
    Ok(message)
}

/// Whether a message is about a packet of its receiver's.
const fn is_error(message: &Message) -> bool {
    matches!(
        message,
        Message::DestinationUnreachable { .. }
            | Message::TimeExceeded { .. }
            | Message::ParameterProblem { .. }
    )
}

/// What a received error is about, if it quotes a packet that a socket of ours can have sent.
fn determine_report(header: &Header, packet: &Received) -> Option<ErrorReport> {
    // The quote may lie in further slices; no more than an error's length of it matters.
    let bytes: Vec<u8> = packet.slices().flatten().copied().take(MAX_ERROR).collect();
    let (kind, code) = (*bytes.first()?, *bytes.get(1)?);
    let quoted = bytes.get(Message::LEN..)?;
    let next_hop_mtu = u16::from_be_bytes([bytes[6], bytes[7]]);
    let (original, _) = Header::parse_quoted(quoted).ok()?;
    let offender = determine_offender(quoted)?;
    let len = original.total_len;
    Some(ErrorReport { from: header.source, kind, code, ttl: header.ttl, next_hop_mtu, len, offender })
}

/// Which of our packets begins with these bytes.
pub(super) fn determine_offender(packet: &[u8]) -> Option<Offender> {
    let (original, transport) = Header::parse_quoted(packet).ok()?;
    let (source, destination) = (IpAddr::V4(original.source), IpAddr::V4(original.destination));
    Some(match original.protocol {
        Protocol::TCP => {
            // An error quotes no more than ports and number for sure (RFC 792).
            let [s0, s1, d0, d1, number @ ..] = *transport.first_chunk::<8>()?;
            Offender::Tcp {
                source: SocketAddr::new(source, u16::from_be_bytes([s0, s1])),
                destination: SocketAddr::new(destination, u16::from_be_bytes([d0, d1])),
                sequence: u32::from_be_bytes(number),
            }
        }
        Protocol::UDP => {
            let (udp, _) = udp::Header::parse_quoted(transport).ok()?;
            Offender::Udp {
                source: SocketAddr::new(source, udp.source_port),
                destination: SocketAddr::new(destination, udp.destination_port),
            }
        }
        Protocol::ICMP => match Message::parse_unverified(transport).ok()?.0 {
            Message::EchoRequest { identifier, sequence } => {
                Offender::Echo { destination, identifier, sequence }
            }
            _ => Offender::Other { protocol: Protocol::ICMP, source, destination },
        },
        protocol => Offender::Other { protocol, source, destination },
    })
}

/// The errno that a received ICMP error means to a socket (RFC 1122 sections 4.1.3.3 and 4.2.3.9); none of a type that is no error.
pub(crate) const fn errno_of(kind: u8, code: u8) -> Option<Errno> {
    match (kind, code) {
        (3, 2 | 3) => Some(Errno::ConnRefused),
        (3, 4) => Some(Errno::MsgSize),
        // No route to a network, or none that is allowed, or none for this type of service.
        (3, 0 | 6 | 9 | 11) => Some(Errno::NetUnreach),
        // A failed source route, an isolated source and prohibitions among them.
        (3, _) => Some(Errno::HostUnreach),
        // A loop of routers, or fragments that were lost.
        (11, _) => Some(Errno::HostUnreach),
        (12, _) => Some(Errno::NoProtoOpt),
        _ => None,
    }
}

/// As much of the offending packet as an error carries: its IP header, and up to `returned` bytes behind that (net.inet.icmp.returndatabytes).
fn quote(packet: &Received, returned: u16) -> Bytes {
    let head = packet.from_network().next().and_then(<[u8]>::first).map_or(0, |first| first & 15);
    let room = (MAX_ERROR - Header::LEN - Message::LEN).min(usize::from(head) * 4 + usize::from(returned));
    let mut bytes = Vec::with_capacity(room);
    for slice in packet.from_network() {
        let left = room - bytes.len();
        bytes.extend_from_slice(&slice[..slice.len().min(left)]);
    }
    bytes.into()
}
