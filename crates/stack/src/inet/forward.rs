//! Forwarding: packets of others on their way (RFC 1812 section 5.2).
//!
//! [`Inet::forward`] is given a packet that is for nobody here, its cursor at the network header. It goes on as it is, a super-frame
//! whole with its offload, or it is dropped with a reason, of which its sender is told what RFC 1812 wants him to know.
//!
//! Not here: whether a packet is ours ([`super::ipv4`]), and which route is the best ([`super::route`]).

use core::net::{IpAddr, Ipv4Addr};

use rumpnet_proto::{Counter, DropReason, Errno};
use rumpnet_wire::{checksum, ip::Protocol, ipv4::Header};

use super::{
    Inet,
    icmp::ErrorKind,
    options::determine_option_fault,
    route::{Chosen, Path, Scope},
};
use crate::{
    buffer::{Frame, Headers, Payload, Received},
    config::ReversePath,
    context::Context,
    link::{Incoming, Link, offload, segment},
};

/// Where the time to live and the checksum lie in a header (RFC 791 section 3.1).
const TTL: usize = 8;
const CHECKSUM: usize = 10;
/// Bytes of a packet that are copied: the longest headers of IPv4 and TCP, with room for Ethernet's and a tag before them.
const INLINE: usize = 120;

/// What becomes of a packet for another host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passage {
    /// It goes on by this path; its sender hears of a better router if there is one.
    Send { path: Path, better: Option<Ipv4Addr> },
    /// It is dropped, and nobody is told.
    Drop(DropReason),
    /// It is dropped, and its sender is told why.
    Refuse(DropReason, ErrorKind),
}

impl Inet {
    /// A packet for another host has come in, its cursor at the network header.
    pub(super) fn forward(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        incoming: &Incoming,
        header: &Header,
        packet: &mut Received,
    ) {
        match self.determine_passage(cx, link, incoming, header, (wire_len(packet), ports(header, packet))) {
            Passage::Drop(reason) => cx.drop_received(incoming.interface, reason, packet),
            Passage::Refuse(reason, error) => {
                if reason == DropReason::Ipv4Unroutable {
                    cx.tell_of_miss(header.destination.into(), Errno::HostUnreach);
                }
                cx.drop_received(incoming.interface, reason, packet);
                self.send_icmp_error(cx, link, error, packet);
            }
            Passage::Send { path, better } => {
                if let Some(gateway) = better {
                    self.send_icmp_error(cx, link, ErrorKind::Redirect(gateway), packet);
                }
                cx.count(Counter::IpForwarded);
                if self.pass_on(cx, link, &path, header, packet) == Err(Errno::HostDown) {
                    // The neighbour has just been asked for in vain.
                    self.send_icmp_error(cx, link, ErrorKind::HostUnreachable, packet);
                }
            }
        }
    }

    /// A broadcast to one of our networks from another: it goes there too, if that is wished for (RFC 2644).
    pub(super) fn forward_broadcast(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        incoming: &Incoming,
        header: &Header,
        packet: &Received,
    ) {
        let wanted = cx.config.forwarding && cx.config.directed_broadcast && !incoming.looped;
        if !wanted || header.destination.is_multicast() || header.destination.is_broadcast() {
            return;
        }
        let passage =
            self.determine_passage(cx, link, incoming, header, (wire_len(packet), ports(header, packet)));
        if let Passage::Send { path, .. } = passage
            && path.interface != incoming.interface
        {
            cx.count(Counter::IpForwarded);
            let _counted = self.pass_on(cx, link, &path, header, packet);
        }
    }

    fn determine_passage(
        &self,
        cx: &Context,
        link: &Link,
        incoming: &Incoming,
        header: &Header,
        (wire_len, ports): (usize, u32),
    ) -> Passage {
        if incoming.to_group || !is_routable(header.source) || !is_routable(header.destination) {
            return Passage::Drop(DropReason::Ipv4NotForwardable);
        }
        if let Some((reason, error)) = determine_option_fault(&header.options) {
            return Passage::Refuse(reason, error);
        }
        if header.ttl <= 1 {
            return Passage::Refuse(DropReason::Ipv4TtlExceeded, ErrorKind::TransitTimeExceeded);
        }
        let destination = IpAddr::V4(header.destination);
        let flow = || self.routes.flow((header.source, header.destination, header.protocol.0, ports));
        let chosen = match self.determine_next_hop(link, destination, None, flow) {
            Ok(Chosen { scope: Scope::Nobody, .. }) => return Passage::Drop(DropReason::Ipv4Blackhole),
            Ok(chosen) => chosen,
            Err(_) if self.routes.lookup(destination).is_some() => {
                return Passage::Refuse(DropReason::Ipv4Reject, ErrorKind::HostUnreachable);
            }
            Err(_) => return Passage::Refuse(DropReason::Ipv4Unroutable, ErrorKind::NetUnreachable),
        };
        let Chosen { interface: index, next_hop, scope, mtu } = chosen;
        let Some(interface) = link.interfaces.by_index(index).filter(|interface| interface.is_up()) else {
            return Passage::Refuse(DropReason::Ipv4Unroutable, ErrorKind::NetUnreachable);
        };
        let mtu = mtu.map_or(interface.mtu, |mtu| mtu.min(interface.mtu));
        if header.dont_fragment && wire_len > mtu as usize {
            let mtu = mtu.min(u16::MAX.into()) as u16;
            return Passage::Refuse(DropReason::Ipv4TooLongToForward, ErrorKind::FragmentationNeeded(mtu));
        }
        let source = IpAddr::V4(header.source);
        let path = Path { interface: index, next_hop, source, mtu, scope };
        let better = self.better_router(cx, incoming, header, &path);
        Passage::Send { path, better }
    }

    /// The router that the sender might have asked itself, since it is on the same link as he (RFC 1812 section 5.2.7.2).
    fn better_router(
        &self,
        cx: &Context,
        incoming: &Incoming,
        header: &Header,
        path: &Path,
    ) -> Option<Ipv4Addr> {
        if !cx.config.redirects || path.interface != incoming.interface || path.scope != Scope::Unicast {
            return None;
        }
        let to_sender = self.routes.lookup(IpAddr::V4(header.source))?;
        let is_neighbor = to_sender.hop.interface == incoming.interface && to_sender.hop.gateway.is_none();
        match path.next_hop {
            IpAddr::V4(gateway) if is_neighbor => Some(gateway),
            _ => None,
        }
    }

    /// Whether a source is one that may come by this interface (RFC 3704): as strictly as the configuration asks.
    pub(super) fn is_source_plausible(&self, cx: &Context, incoming: &Incoming, source: Ipv4Addr) -> bool {
        if incoming.looped || cx.config.reverse_path == ReversePath::Off || source.is_unspecified() {
            return true;
        }
        let route = self.routes.lookup(IpAddr::V4(source));
        route.is_some_and(|route| {
            cx.config.reverse_path == ReversePath::Loose
                || route.hops().iter().any(|hop| hop.interface == incoming.interface)
        })
    }

    /// The packet goes to the link: as it is, or in fragments.
    fn pass_on(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        path: &Path,
        header: &Header,
        packet: &Received,
    ) -> Result<(), Errno> {
        let too_long = wire_len(packet) > path.mtu as usize;
        let mut frame = outgoing(packet, header.header_len());
        let head = &mut frame.headers.as_mut_slice()[..header.header_len()];
        if !header.options.is_empty() {
            self.stamp(cx, path, None, &mut head[Header::LEN..]);
        }
        head[TTL] = header.ttl - 1;
        head[CHECKSUM..CHECKSUM + 2].fill(0);
        let sum = checksum::of(head);
        head[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
        if too_long {
            return self.forward_in_fragments(cx, link, path, frame);
        }
        self.send_on_link(cx, link, path, frame)
    }

    /// What does not fit falls apart: a super-frame into its segments, and each into fragments.
    #[cold]
    fn forward_in_fragments(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        path: &Path,
        mut frame: Frame,
    ) -> Result<(), Errno> {
        if frame.offload.gso.is_none() {
            return self.fragment_frame(cx, link, path, frame);
        }
        let segments = match segment::segments(&mut frame, 0) {
            Ok(segments) => segments,
            Err(reason) => {
                cx.drop_sent(path.interface, reason, &frame);
                return Err(Errno::MsgSize);
            }
        };
        segments.into_iter().try_for_each(|segment| self.fragment_frame(cx, link, path, segment))
    }

    /// Takes the header off again, so that each fragment gets its own.
    fn fragment_frame(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        path: &Path,
        frame: Frame,
    ) -> Result<(), Errno> {
        let head = frame.headers.as_slice();
        let (header, rest) = Header::parse_quoted(head).expect("it is the header that was just written");
        let len = header.header_len();
        let headers = Headers::copy_from(rest).expect("a part of the headers fits where all of them did");
        let frame = Frame { headers, offload: frame.offload.without_front(len), ..frame };
        self.send_fragments(cx, link, path, &header, frame)
    }
}

/// Bytes of the longest packet that it is on a wire.
fn wire_len(packet: &Received) -> usize {
    packet.offload.gso.map_or(packet.len(), |gso| offload::longest_segment(packet, gso))
}

/// Both ports of a packet that has some, which tell its flow from others between the same hosts; fragments of one packet keep together.
fn ports(header: &Header, packet: &Received) -> u32 {
    let has_ports = matches!(header.protocol, Protocol::TCP | Protocol::UDP);
    if !has_ports || header.more_fragments || header.fragment_offset != 0 {
        return 0;
    }
    let ports = packet.bytes().get(header.header_len()..).and_then(<[u8]>::first_chunk::<4>);
    ports.map_or(0, |ports| u32::from_be_bytes(*ports))
}

/// Its headers inline, so that they can be changed and every receiver finds them in one piece; the rest is shared.
fn outgoing(packet: &Received, header_len: usize) -> Frame {
    let first = packet.bytes();
    // Of a super-frame exactly what each segment repeats; a short packet goes wholly.
    let inline = packet.offload.gso.map_or(INLINE, |gso| offload::segments(packet, gso, 0).1);
    let inline = inline.clamp(header_len, INLINE).min(first.len());
    let headers = Headers::copy_from(&first[..inline]).expect("two headers of sixty bytes fit");
    let offload = packet.offload.without_front(packet.cursor());
    let payload = if inline < packet.len() { packet.payload_from(inline) } else { Payload::Empty };
    Frame { headers, payload, offload, charge: None }
}

/// Addresses that routers pass on: not those of a link, of nobody, or of no use (RFC 1812 section 5.3.7, RFC 3927 section 7).
fn is_routable(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first != 0 && first < 240 && !address.is_loopback() && !address.is_link_local() && !address.is_multicast()
}
