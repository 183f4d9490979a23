//! The frames that bare loops on the raw tap write, and their answers to those they read.
//!
//! Addresses are those of [`crate::namespace`]. Nothing is checked that a loop does not need.

use std::net::Ipv4Addr;

use rumpnet_wire::{
    arp,
    ethernet::{self, EtherType},
    ip::{self, Protocol},
    ipv4, udp,
    virtio::{Flags, GsoType, Header},
};

use crate::{
    kernel_socket::PORT,
    namespace::{HOST, HOST_LINK, PEER, PEER_LINK},
};

/// Bytes before the payload of a UDP frame.
const UDP_HEADERS: usize = ethernet::Header::LEN + ipv4::Header::LEN + udp::Header::LEN;

/// A UDP frame to the host's socket behind its virtio header, with the checksum left to the host as the stack leaves it.
///
/// With `segment` it is a super-frame of datagrams of so many bytes.
pub(crate) fn udp_to_host(payload: usize, segment: Option<usize>) -> (Header, Vec<u8>) {
    let mut frame = vec![0x55; UDP_HEADERS + payload];
    let link = ethernet::Header {
        destination: ethernet::Address(HOST_LINK),
        source: ethernet::Address(PEER_LINK),
        ethertype: EtherType::IPV4,
    };
    let transport_len = udp::Header::LEN + payload;
    let (source, destination) = (Ipv4Addr::from(PEER), Ipv4Addr::from(HOST));
    let network = ipv4::Header::new(source, destination, Protocol::UDP, transport_len);
    let pseudo = ip::pseudo_header(source.into(), destination.into(), Protocol::UDP, transport_len as u32);
    let transport = udp::Header {
        source_port: PORT,
        destination_port: PORT,
        length: transport_len as u16,
        checksum: pseudo.fold(),
    };
    emit(&mut frame, &link, &network);
    frame[34..UDP_HEADERS].copy_from_slice(&transport.to_bytes());
    let virtio = Header {
        flags: Flags::NEEDS_CSUM,
        gso_type: segment.map_or(GsoType::None, |_| GsoType::UdpL4),
        hdr_len: UDP_HEADERS as u16,
        gso_size: segment.unwrap_or(0) as u16,
        csum_start: 34,
        csum_offset: udp::Header::CHECKSUM_OFFSET as u16,
        ..Header::default()
    };
    (virtio, frame)
}

/// Writes both headers to the front of `frame`.
pub(crate) fn emit(frame: &mut [u8], link: &ethernet::Header, network: &ipv4::Header) {
    let (ethernet, rest) = frame.split_at_mut(ethernet::Header::LEN);
    link.emit(ethernet).expect("there is room for the header");
    network.emit(rest).expect("there is room for the header");
}

/// The answer to a request for the link address of the far end, if `frame` is one.
pub(crate) fn arp_reply(frame: &[u8]) -> Option<Vec<u8>> {
    let (link, rest) = ethernet::Header::parse(frame).ok()?;
    if link.ethertype != EtherType::ARP {
        return None;
    }
    let (request, _) = arp::Packet::parse(rest).ok()?;
    if request.target_protocol != Ipv4Addr::from(PEER) || request.operation != arp::Operation::Request {
        return None;
    }
    let own = ethernet::Address(PEER_LINK);
    let reply = arp::Packet {
        operation: arp::Operation::Reply,
        sender_hardware: own,
        sender_protocol: request.target_protocol,
        target_hardware: request.sender_hardware,
        target_protocol: request.sender_protocol,
    };
    let link = ethernet::Header { destination: link.source, source: own, ethertype: EtherType::ARP };
    let mut out = vec![0; ethernet::Header::LEN + arp::Packet::LEN];
    link.emit(&mut out).expect("there is room for the header");
    reply.emit(&mut out[ethernet::Header::LEN..]).expect("there is room for the packet");
    Some(out)
}

/// Turns an echo request into its reply in place, by swapping addresses; false if `frame` is none.
pub(crate) fn turn_echo(frame: &mut [u8]) -> bool {
    let is_request = frame.len() >= 42 && frame[12..14] == [8, 0] && frame[23] == 1 && frame[34] == 8;
    if is_request {
        swap(frame, 0, 6, 6);
        swap(frame, 26, 30, 4);
        let checksum = u16::from_be_bytes([frame[36], frame[37]]);
        let updated = rumpnet_wire::checksum::update(checksum, 0x0800, 0x0000);
        frame[34] = 0;
        frame[36..38].copy_from_slice(&updated.to_be_bytes());
    }
    is_request
}

fn swap(frame: &mut [u8], one: usize, other: usize, len: usize) {
    (0..len).for_each(|at| frame.swap(one + at, other + at));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_to_the_host_parses_back() {
        let (virtio, frame) = udp_to_host(1000, Some(100));
        assert_eq!((virtio.gso_size, virtio.csum_start), (100, 34));
        let (network, rest) = ipv4::Header::parse(&frame[14..]).expect("a header and its checksum");
        assert_eq!(network.payload_len(), rest.len());
        let (transport, payload) = udp::Header::parse(rest).expect("a header");
        assert_eq!((transport.destination_port, payload.len()), (PORT, 1000));
    }

    #[test]
    fn an_echo_request_is_turned_and_its_checksum_stays_right() {
        let message = crate::kernel_socket::echo_request(7);
        let mut frame = vec![0; 34];
        frame[0] = 1;
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[23] = 1;
        frame[26] = 9;
        frame.extend_from_slice(&message);
        assert!(turn_echo(&mut frame));
        assert_eq!((frame[6], frame[30], frame[34]), (1, 9, 0));
        assert_eq!(rumpnet_wire::checksum::of(&frame[34..]), 0);
        assert!(!turn_echo(&mut frame), "a reply is no request");
    }
}
