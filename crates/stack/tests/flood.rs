//! A flood of a million forged SYNs (RFC 4987), with an honest client in the middle of it.

use std::net::Ipv4Addr;

use bytes::Bytes;
use rumpnet_proto::{AddressChange, Counter, Errno, LinkKind, Request, RouteAttributes};
use rumpnet_stack::{
    Config, EcnMode, Endpoint, Offloads, PortConfig, SocketId, Stack,
    buffer::{Offload, Received},
    time::{Duration, Instant},
};
use rumpnet_wire::{
    ethernet,
    ip::Protocol,
    ipv4,
    tcp::{Flags, Header, Options, Seq, TcpOption},
};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const FLOOD: u32 = 1_000_000;
const BACKLOG: u32 = 64;

/// A host behind a plain IP link to `peer`, with a way to everybody.
fn host(config: Config, own: Ipv4Addr, peer: Ipv4Addr) -> Stack {
    let mut stack = Stack::boot(config, own.octets().repeat(4).try_into().expect("16"), Instant::ZERO);
    let mac = ethernet::Address([0xb2, 0x0a, 0, 0, 0, 1]);
    let port = PortConfig {
        kind: LinkKind::Ip,
        link_address: None,
        offloads: Offloads::NONE,
        ..PortConfig::ethernet(mac)
    };
    stack.create_interface(Instant::ZERO, "tun0", port).expect("room");
    let change = AddressChange {
        address: own.into(),
        prefix_len: None,
        broadcast: None,
        peer: Some(peer.into()),
        alias: false,
    };
    stack.control(Instant::ZERO, Request::AddAddress { name: "tun0".into(), change }).expect("good");
    let via = rumpnet_proto::NextHop::Interface("tun0".into());
    let route = Request::AddRoute {
        destination: (Ipv4Addr::UNSPECIFIED.into(), 0),
        via,
        attributes: RouteAttributes::default(),
    };
    stack.control(Instant::ZERO, route).expect("good");
    stack
}

/// A segment from anywhere, its checksum right.
fn segment(source: (Ipv4Addr, u16), flags: Flags, sequence: u32, acknowledgment: u32) -> Vec<u8> {
    segment_with(source, flags, sequence, acknowledgment, &[TcpOption::MaximumSegmentSize(1460)])
}

fn segment_with(
    source: (Ipv4Addr, u16),
    flags: Flags,
    sequence: u32,
    acknowledgment: u32,
    told: &[TcpOption<'_>],
) -> Vec<u8> {
    let mut options = Options::EMPTY;
    told.iter().for_each(|option| options.push(option).expect("fits"));
    let header = Header {
        sequence: Seq(sequence),
        acknowledgment: Seq(acknowledgment),
        options,
        ..Header::new(source.1, 80, flags)
    };
    let mut bytes = vec![0; Header::MAX_PACKET_HEADERS];
    let network = ipv4::Header::new(source.0, SERVER, Protocol::TCP, 0);
    let len = header.emit_packet(network, b"", &mut bytes).expect("room");
    bytes.truncate(len);
    bytes
}

struct World {
    server: Stack,
    client: Stack,
    now: Instant,
    listener: SocketId,
}

impl World {
    fn new() -> Self {
        Self::with(Config::default())
    }

    /// The same with a client that is configured so.
    fn with(client: Config) -> Self {
        let (mut server, client) = (host(Config::default(), SERVER, CLIENT), host(client, CLIENT, SERVER));
        let listener = server.tcp_open().expect("room");
        server.tcp_bind(listener, (SERVER, 80).into()).expect("free");
        server.tcp_listen(listener, BACKLOG).expect("bound");
        Self { server, client, now: Instant::from_secs(1000), listener }
    }

    fn inject(&mut self, bytes: Vec<u8>) {
        self.server.receive(self.now, 0, [Received::new(bytes.into(), Offload::default())]);
    }

    /// Carries frames between both hosts; those to forged addresses vanish. The number of those.
    fn carry(&mut self) -> u32 {
        let mut vanished = 0;
        loop {
            let to_server = next(&mut self.client);
            if let Some(frame) = &to_server {
                self.inject(frame.clone());
            }
            let from_server = next(&mut self.server);
            match &from_server {
                Some(frame) if frame[16..20] == CLIENT.octets() => {
                    let frame = Received::new(frame.clone().into(), Offload::default());
                    self.client.receive(self.now, 0, [frame]);
                }
                Some(_) => vanished += 1,
                None if to_server.is_none() => return vanished,
                None => {}
            }
        }
    }

    fn pass(&mut self, span: Duration) {
        self.now += span;
        self.server.on_timeout(self.now);
        self.client.on_timeout(self.now);
    }

    /// An honest connection: it is made, accepted, and carries a word.
    fn serve_one(&mut self) {
        let client = self.client.tcp_open().expect("room");
        self.client.tcp_connect(self.now, client, (SERVER, 80).into()).expect("a way");
        self.carry();
        assert!(self.client.readiness(Endpoint::Tcp(client)).writable, "connected within the flood");
        assert_eq!(self.client.tcp_send(self.now, client, Bytes::from_static(b"hello")), Ok(5));
        self.carry();
        let (server, _) = self.server.tcp_accept(self.listener).expect("waiting");
        let word = self.server.tcp_receive(self.now, server, 99).expect("there");
        assert_eq!(&word.to_bytes()[..], b"hello");
        let path = self.server.tcp_info(server).expect("connected").path;
        assert!(path.sack && path.timestamps, "{path:?}");
        assert_eq!((path.window_scale, path.mss), ((8, 8), 1448));
        // Without the scale it would be 255.
        assert!(path.send_window > 65_000, "{path:?}");
        // A marked clock is no measure: no time has passed.
        assert!(path.rtt_ns.is_none_or(|(rtt, _)| rtt == 0), "{path:?}");
        self.client.tcp_close(self.now, client).expect("open");
        self.carry();
        self.server.tcp_close(self.now, server).expect("open");
        self.carry();
    }
}

fn next(stack: &mut Stack) -> Option<Vec<u8>> {
    while stack.next_event().is_some() {}
    while stack.next_ready_port().is_some() {}
    stack.next_frame(0).map(|frame| frame.to_vec())
}

#[test]
fn a_million_forged_requests_keep_nobody_out_and_cost_no_memory() {
    // once: a million segments take their time, and nothing random is in them.
    let mut world = World::new();
    let mut most = 0;
    for number in 0..FLOOD {
        let source = Ipv4Addr::from(0x0b00_0000 + number);
        world.inject(segment((source, 1024 + number as u16 % 60_000), Flags::SYN, number, 0));
        world.carry();
        most = most.max(world.server.socket_count());
        if number % 100_000 == 50_000 {
            world.serve_one();
            world.pass(Duration::from_secs(10));
        }
    }
    // The listener, twice its backlog of handshakes, and the honest ones.
    assert!(most <= 1 + 2 * BACKLOG + 10, "{most} sockets");
    assert!(world.server.counter(Counter::TcpCookiesSent) > u64::from(FLOOD) / 2);
    assert!(world.server.counter(Counter::TcpCookiesAccepted) >= 8, "the honest ones came by cookies");
    assert_eq!(world.server.counter(Counter::TcpCookiesRefused), 0);
}

/// A world whose listener answers with cookies from now on.
fn flooded(client: Config) -> World {
    let mut world = World::with(client);
    for number in 0..3 * BACKLOG {
        world.inject(segment((Ipv4Addr::from(0x0b00_0000 + number), 9), Flags::SYN, number, 0));
    }
    world.carry();
    world
}

#[test]
fn a_peer_without_timestamps_gets_a_segment_size_and_nothing_else() {
    // once: everything in it is asserted.
    let mut world = flooded(Config::default());
    let options = [
        TcpOption::MaximumSegmentSize(1220),
        TcpOption::SackPermitted,
        TcpOption::Nop,
        TcpOption::WindowScale(7),
    ];
    world.inject(segment_with((CLIENT, 9), Flags::SYN, 7, 0, &options));
    let answer = std::iter::from_fn(|| next(&mut world.server)).last().expect("an answer");
    let answer = Header::parse(&answer[ipv4::Header::LEN..]).expect("a segment").0;
    assert_eq!((answer.flags, answer.options.as_bytes().len()), (Flags::SYN | Flags::ACK, 4));
    world.inject(segment((CLIENT, 9), Flags::ACK, 8, answer.sequence.0.wrapping_add(1)));
    let (server, _) = world.server.tcp_accept(world.listener).expect("established");
    let path = world.server.tcp_info(server).expect("connected").path;
    assert_eq!((path.sack, path.timestamps, path.window_scale, path.mss), (false, false, (0, 0), 1220));
    assert_eq!(world.server.counter(Counter::TcpCookiesAccepted), 1);
}

#[test]
fn a_cookie_remembers_that_congestion_marks_were_agreed_on() {
    // once: everything in it is asserted.
    for (tcp_ecn, mark) in [(EcnMode::Off, 0), (EcnMode::Agree, 0), (EcnMode::Ask, 2)] {
        let mut world = flooded(Config { tcp_ecn, ..Config::default() });
        let client = world.client.tcp_open().expect("room");
        world.client.tcp_connect(world.now, client, (SERVER, 80).into()).expect("a way");
        world.carry();
        assert_eq!(world.server.counter(Counter::TcpCookiesAccepted), 1);
        let (server, _) = world.server.tcp_accept(world.listener).expect("established");
        world.server.tcp_send(world.now, server, Bytes::from_static(b"hello")).expect("room");
        let frame = next(&mut world.server).expect("data");
        assert_eq!(frame[1] & 3, mark, "ECT(0) in data if both take part");
    }
}

#[test]
fn a_cookie_that_was_not_given_opens_nothing() {
    // once: everything in it is asserted.
    let mut world = flooded(Config::default());
    assert!(world.server.counter(Counter::TcpCookiesSent) > 0);
    for guess in 0..100 {
        world.inject(segment((Ipv4Addr::new(12, 0, 0, 1), 9), Flags::ACK, 1, guess << 20));
    }
    world.carry();
    assert_eq!(world.server.counter(Counter::TcpCookiesRefused), 100);
    assert_eq!(world.server.tcp_accept(world.listener), Err(Errno::Again));
}
