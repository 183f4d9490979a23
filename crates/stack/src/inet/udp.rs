//! UDP's format (RFC 768): checking what comes in, and the header of what goes out. Sockets are in [`crate::socket`].

use core::net::{IpAddr, SocketAddr};

use rumpnet_proto::{Counter, DropReason};
use rumpnet_wire::{ip, ip::Protocol, ipv4, udp::Header};

use super::{Delivery, ipv4::Audience};
use crate::{
    buffer::{Checksum, Frame, Gso, GsoKind, Offload, Payload, Received},
    context::Context,
};

/// The most payload that one datagram over IPv4 carries, in bytes.
pub(crate) const MAX_PAYLOAD: usize = 65_535 - ipv4::Header::LEN - Header::LEN;

/// A UDP packet for us, its cursor at the UDP header.
#[inline]
pub(super) fn receive(
    cx: &mut Context,
    interface: u32,
    network: &ipv4::Header,
    packet: &mut Received,
    audience: Audience,
) -> Option<Delivery> {
    let datagrams = packet.segments(Header::LEN) as u64;
    cx.add(Counter::UdpReceived, datagrams);
    if audience == Audience::Many {
        cx.add(Counter::UdpBroadcastReceived, datagrams);
    }
    let (source, destination) = (IpAddr::V4(network.source), IpAddr::V4(network.destination));
    match determine_ports(packet, source, destination) {
        Err(reason) => {
            cx.drop_received(interface, reason, packet);
            None
        }
        Ok((source_port, destination_port)) => Some(Delivery::Udp {
            interface,
            source: SocketAddr::new(source, source_port),
            destination: SocketAddr::new(destination, destination_port),
            audience,
            ttl: network.ttl,
            tos: network.tos,
        }),
    }
}

/// Checks length and checksum; cuts padding.
fn determine_ports(
    packet: &mut Received,
    source: IpAddr,
    destination: IpAddr,
) -> Result<(u16, u16), DropReason> {
    let Ok((header, _)) = Header::parse_quoted(packet.bytes()) else { return Err(DropReason::UdpTruncated) };
    // A super-frame's length field speaks of the whole.
    let len = usize::from(header.length);
    if len < Header::LEN || len > packet.len() {
        return Err(DropReason::UdpLength);
    }
    packet.truncate(len);
    if packet.offload.checksum == Checksum::Unverified && header.checksum != 0 {
        verify(packet, source, destination)?;
    }
    packet.advance(Header::LEN);
    Ok((header.source_port, header.destination_port))
}

fn verify(packet: &Received, source: IpAddr, destination: IpAddr) -> Result<(), DropReason> {
    let mut sum = ip::pseudo_header(source, destination, Protocol::UDP, packet.len() as u32);
    packet.slices().for_each(|slice| {
        sum.add(slice);
    });
    if sum.finish() == 0 { Ok(()) } else { Err(DropReason::UdpChecksum) }
}

/// A datagram, or a train of them with `segment` bytes of payload each, behind a UDP header whose checksum is partial.
pub(crate) fn build(
    source: SocketAddr,
    destination: SocketAddr,
    payload: Payload,
    segment: Option<u16>,
) -> Frame {
    let length = Header::LEN + payload.len();
    let pseudo = ip::pseudo_header(source.ip(), destination.ip(), Protocol::UDP, length as u32);
    let header = Header {
        source_port: source.port(),
        destination_port: destination.port(),
        length: length as u16,
        checksum: pseudo.fold(),
    };
    let gso = segment.filter(|size| payload.len() > usize::from(*size)).map(|size| Gso {
        kind: GsoKind::Udp,
        size,
        ecn: false,
        fixed_identification: false,
    });
    let mut frame = Frame { payload, ..Frame::default() };
    let room = frame.headers.prepend(Header::LEN).expect("a UDP header fits an empty frame");
    room.copy_from_slice(&header.to_bytes());
    frame.offload =
        Offload { checksum: Checksum::Partial { start: 0, offset: Header::CHECKSUM_OFFSET as u16 }, gso };
    frame
}
