//! What idle connections cost in memory, and what a busy one costs beside them: `cargo bench -p rumpnet-stack --bench connections`.
//!
//! Every connection is opened by a handshake on the wire with a scripted peer. Memory is what the process has resident.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Instant as Clock,
};

use bytes::Bytes;
use rumpnet_proto::{AddressChange, LinkKind, Request};
use rumpnet_stack::{
    Config, PortConfig, SocketId, Stack,
    buffer::{Checksum, Offload, Received},
    time::Instant,
};
use rumpnet_wire::{
    checksum, ethernet,
    ip::Protocol,
    ipv4,
    tcp::{Flags, Header, Options, Seq, TcpOption},
};

const OURS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 80);
const NOW: Instant = Instant::from_secs(1);

fn host() -> (Stack, SocketId) {
    let mut stack = Stack::boot(Config::default(), [7; 16], NOW);
    let port = PortConfig {
        kind: LinkKind::Ip,
        link_address: None,
        ..PortConfig::ethernet(ethernet::Address([0xb2, 0x0a, 0, 0, 0, 1]))
    };
    stack.create_interface(NOW, "tun0", port).expect("a fresh stack has room");
    let change = AddressChange {
        address: (*OURS.ip()).into(),
        prefix_len: Some(8),
        broadcast: None,
        peer: None,
        alias: false,
    };
    stack.control(NOW, Request::AddAddress { name: "tun0".into(), change }).expect("a good address");
    let listener = stack.tcp_open().expect("room");
    stack.tcp_bind(listener, OURS.into()).expect("free");
    stack.tcp_listen(listener, 1024).expect("bound");
    (stack, listener)
}

/// Peer number `number`: an address of 10/8 that is not ours.
fn peer(number: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(0x0a01_0000 + number / 4), 1024 + (number % 4) as u16)
}

fn packet(from: SocketAddrV4, sequence: u32, acknowledgment: u32, flags: Flags, payload: &[u8]) -> Received {
    let mut options = Options::EMPTY;
    if flags.contains(Flags::SYN) {
        options.push(&TcpOption::MaximumSegmentSize(1460)).expect("room");
    }
    let header = Header {
        source_port: from.port(),
        destination_port: OURS.port(),
        sequence: Seq(sequence),
        acknowledgment: Seq(acknowledgment),
        flags,
        window: 65_535,
        checksum: 0,
        urgent: 0,
        options,
    };
    let len = ipv4::Header::LEN + header.header_len() + payload.len();
    let network = ipv4::Header {
        tos: 0,
        total_len: len as u16,
        identification: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: Protocol::TCP,
        source: *from.ip(),
        destination: *OURS.ip(),
        options: ipv4::Options::default(),
    };
    let mut bytes = vec![0; len];
    network.emit(&mut bytes).expect("room");
    header.emit(&mut bytes[ipv4::Header::LEN..]).expect("room");
    bytes[len - payload.len()..].copy_from_slice(payload);
    assert_eq!(checksum::of(&bytes[..ipv4::Header::LEN]), 0);
    Received::new(Bytes::from(bytes), Offload { checksum: Checksum::Verified, gso: None })
}

/// Opens a connection from `from` by a handshake; the number that we expect next, and the connection.
fn open(stack: &mut Stack, listener: SocketId, from: SocketAddrV4) -> (u32, SocketId) {
    stack.receive(NOW, 0, [packet(from, 1000, 0, Flags::SYN, b"")]);
    let answer = stack.next_frame(0).expect("a SYN-ACK").to_vec();
    let (header, _) = Header::parse(&answer[ipv4::Header::LEN..]).expect("our own segment");
    let next = header.sequence.0.wrapping_add(1);
    stack.receive(NOW, 0, [packet(from, 1001, next, Flags::ACK, b"")]);
    while stack.next_frame(0).is_some() {}
    while stack.next_event().is_some() {}
    (next, stack.tcp_accept(listener).expect("established").0)
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("procfs");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}

/// Nanoseconds for each small segment of a busy connection: received, acknowledged, read.
fn busy(stack: &mut Stack, from: SocketAddrV4, next: u32, id: SocketId) -> f64 {
    const ROUNDS: u32 = 100_000;
    let payload = [7; 64];
    let began = Clock::now();
    for round in 0..ROUNDS {
        let segment = packet(from, 1001 + round * 64, next, Flags::ACK, &payload);
        stack.receive(NOW, 0, [segment]);
        assert_eq!(stack.tcp_receive(NOW, id, 1 << 16).expect("it came").len(), payload.len());
        while stack.next_frame(0).is_some() {}
        while stack.next_event().is_some() {}
    }
    began.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
}

fn main() {
    let (mut stack, listener) = host();
    let (next, id) = open(&mut stack, listener, peer(0));
    let alone = busy(&mut stack, peer(0), next, id);
    println!("{:<40} {alone:8.0} ns", "a segment, alone");
    let (before, mut open_ones) = (resident(), 1);
    for count in [1_000, 10_000, 100_000, 1_000_000] {
        let began = Clock::now();
        let opened = count - open_ones;
        for number in open_ones..count {
            open(&mut stack, listener, peer(number));
        }
        open_ones = count;
        let each = (resident() - before) / count as usize;
        let handshake = began.elapsed().as_nanos() as f64 / f64::from(opened);
        println!(
            "{:<40} {each:8} bytes, opened in {handshake:.0} ns each",
            format!("{count} idle connections: each")
        );
    }
    let (next, id) = open(&mut stack, listener, peer(open_ones));
    let beside = busy(&mut stack, peer(open_ones), next, id);
    println!("{:<40} {beside:8.0} ns, {:.2} of alone", "a segment, beside a million", beside / alone);
}
