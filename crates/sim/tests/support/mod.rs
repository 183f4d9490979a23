//! Fixtures of the world tests: two hosts on a cable, and frames made by hand.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of the fixtures")]

use std::{net::Ipv4Addr, time::Duration};

use rumpnet_sim::{
    Cable, Heard, Host, Interface, Stranger, UdpSocket, World,
    proto::{EchoOptions, EchoReply, Reply, Request},
    wire::{
        arp, checksum,
        ethernet::{self, EtherType},
        icmpv4::Message,
        ip::Protocol,
        ipv4, udp,
    },
};

pub const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// The stranger's own addresses.
pub const S: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
pub const S_LINK: ethernet::Address = ethernet::Address([2, 0, 0, 0, 0, 9]);

pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Two hosts, `a` with 10.0.0.1/24 and `b` with 10.0.0.2/24, on a cable; both are done with conflict detection.
pub struct Pair {
    pub a: Host,
    pub b: Host,
    pub cable: Cable,
    pub virt_a: Interface,
    pub virt_b: Interface,
}

impl Pair {
    pub fn new(world: &World) -> Self {
        let (a, b) = (world.host("a"), world.host("b"));
        let cable = world.cable();
        let (virt_a, virt_b) = (a.interface("virt0"), b.interface("virt0"));
        cable.connect(&virt_a.address("10.0.0.1/24"));
        cable.connect(&virt_b.address("10.0.0.2/24"));
        world.run_for(secs(20));
        Self { a, b, cable, virt_a, virt_b }
    }
}

/// One host, `a` with 10.0.0.1/24, and a stranger on its cable; conflict detection is over.
pub struct Visited {
    pub a: Host,
    pub cable: Cable,
    pub virt: Interface,
    pub stranger: Stranger,
}

impl Visited {
    pub fn new(world: &World) -> Self {
        let a = world.host("a");
        let cable = world.cable();
        let virt = a.interface("virt0");
        cable.connect(&virt.address("10.0.0.1/24"));
        let stranger = world.stranger(&cable);
        world.run_for(secs(20));
        stranger.heard();
        Self { a, cable, virt, stranger }
    }

    pub fn link(&self) -> ethernet::Address {
        self.virt.link_address().expect("Ethernet")
    }

    /// Makes the stranger known to the host, by asking it for its own address.
    pub fn introduce(&self, world: &World) {
        self.stranger.send(arp_frame(self.link(), request(S_LINK, S, A)));
        world.run_until_idle();
        self.stranger.heard();
    }

    /// Sends an IPv4 packet from the stranger to the host, and returns what the host answers.
    pub fn say(&self, world: &World, packet: &[u8]) -> Vec<Heard> {
        self.stranger.send(frame(self.link(), S_LINK, EtherType::IPV4, packet));
        world.run_until_idle();
        self.stranger.heard()
    }
}

/// Sends an echo request and waits a second for what comes back.
pub fn ping(world: &World, host: &Host, to: &str) -> Vec<EchoReply> {
    ping_with(world, host, to, 56, None)
}

/// As [`ping`], with a size and a time to live.
pub fn ping_with(world: &World, host: &Host, to: &str, size: u16, ttl: Option<u8>) -> Vec<EchoReply> {
    let destination = to.parse().expect("an address");
    let options = EchoOptions { ttl, size, ..EchoOptions::to(destination) };
    let Ok(Reply::Echo { echo, .. }) = host.control(Request::EchoOpen(options)) else {
        panic!("no way to {to}")
    };
    let _refused = host.control(Request::EchoSend { echo, sequence: 1 });
    world.run_for(secs(1));
    let Ok(Reply::EchoReplies(replies)) = host.control(Request::EchoReceive { echo, timeout_ns: 0 }) else {
        panic!("an open session can be read")
    };
    host.control(Request::EchoClose { echo }).expect("open until now");
    replies
}

/// A blocking socket.
pub fn bound(host: &Host, local: &str) -> UdpSocket {
    UdpSocket::bind(host, local).expect("a free address of this host")
}

pub fn frame(
    to: ethernet::Address,
    from: ethernet::Address,
    ethertype: EtherType,
    payload: &[u8],
) -> Vec<u8> {
    let header = ethernet::Header { destination: to, source: from, ethertype };
    [&header.to_bytes()[..], payload].concat()
}

pub const fn request(from: ethernet::Address, sender: Ipv4Addr, target: Ipv4Addr) -> arp::Packet {
    arp::Packet {
        operation: arp::Operation::Request,
        sender_hardware: from,
        sender_protocol: sender,
        target_hardware: ethernet::Address::UNSPECIFIED,
        target_protocol: target,
    }
}

pub const fn reply(
    from: ethernet::Address,
    sender: Ipv4Addr,
    to: ethernet::Address,
    target: Ipv4Addr,
) -> arp::Packet {
    arp::Packet {
        operation: arp::Operation::Reply,
        sender_hardware: from,
        sender_protocol: sender,
        target_hardware: to,
        target_protocol: target,
    }
}

pub fn arp_frame(to: ethernet::Address, packet: arp::Packet) -> Vec<u8> {
    frame(to, packet.sender_hardware, EtherType::ARP, &packet.to_bytes())
}

/// The ARP packets among what was heard.
pub fn arps(heard: &[Heard]) -> Vec<arp::Packet> {
    let packets = heard.iter().filter_map(|heard| {
        let (header, rest) = ethernet::Header::parse(&heard.bytes).ok()?;
        (header.ethertype == EtherType::ARP).then(|| arp::Packet::parse(rest).expect("well formed").0)
    });
    packets.collect()
}

pub fn header(from: Ipv4Addr, to: Ipv4Addr, protocol: Protocol, len: usize) -> ipv4::Header {
    let plain = ipv4::Header::new(from, to, protocol, len);
    ipv4::Header { identification: 77, dont_fragment: false, ..plain }
}

pub fn packet(header: &ipv4::Header, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; header.header_len()];
    header.emit(&mut bytes).expect("the room has the header's length");
    bytes.extend_from_slice(payload);
    bytes
}

pub fn datagram(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let length = (udp::Header::LEN + payload.len()) as u16;
    let header = udp::Header { source_port: from.1, destination_port: to.1, length, checksum: 0 };
    [&header.to_bytes()[..], payload].concat()
}

/// A UDP packet without a checksum, which RFC 768 allows.
pub fn udp_packet(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let datagram = datagram(from, to, payload);
    packet(&header(from.0, to.0, Protocol::UDP, datagram.len()), &datagram)
}

pub fn echo_request(from: Ipv4Addr, to: Ipv4Addr, data: &[u8]) -> Vec<u8> {
    let mut sum = checksum::Sum::new();
    sum.add(data);
    let message = Message::EchoRequest { identifier: 7, sequence: 1 };
    let icmp = [&message.to_bytes(sum)[..], data].concat();
    packet(&header(from, to, Protocol::ICMP, icmp.len()), &icmp)
}

/// The IPv4 packets among what was heard, as header and payload.
pub fn packets(heard: &[Heard]) -> Vec<(ipv4::Header, Vec<u8>)> {
    let packets = heard.iter().filter_map(|heard| {
        let (header, rest) = ethernet::Header::parse(&heard.bytes).ok()?;
        (header.ethertype == EtherType::IPV4).then(|| {
            let (header, payload) = ipv4::Header::parse(rest).expect("well formed");
            (header, payload[..header.payload_len()].to_vec())
        })
    });
    packets.collect()
}

/// The ICMP messages among what was heard.
pub fn icmps(heard: &[Heard]) -> Vec<Message> {
    let payloads = packets(heard).into_iter().filter(|(header, _)| header.protocol == Protocol::ICMP);
    payloads.map(|(_, payload)| Message::parse(&payload).expect("well formed").0).collect()
}
