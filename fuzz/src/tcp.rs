//! TCP under scripts of segments, user calls, ICMP errors and time, from an established connection on.
//!
//! The laws: nothing panics and time goes on; sockets keep their limit; what is sent has a good checksum and the bytes that the user gave at
//! that number; what the user reads is the peer's stream from its beginning, whatever numbers, overlaps and options came.

use std::net::Ipv4Addr;

use rumpnet_proto::{AddressChange, LinkKind, NextHop, Request, RouteAttributes, TcpState};
use rumpnet_stack::{
    Config, EcnMode, Offloads, PortConfig, SendMode, Shutdown, SocketId, Stack, TcpOption as Setting,
    buffer::{Offload, Received},
    time::{Duration, Instant},
};
use rumpnet_wire::{
    checksum::{self, Sum},
    ethernet,
    icmpv4::{Message, UnreachableCode},
    ip::{self, Protocol},
    ipv4,
    tcp::{Flags, Header, Options, SackBlock, Seq, TcpOption, Timestamps},
};

use crate::script::Script;

const OURS: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const THEIRS: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
/// What the peer asks for of an any-address listener.
const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The peer's initial number, near the wrap.
const IRS: u32 = 0xffff_f000;
const SOCKETS: u32 = 8;
/// No receive buffer grows beyond this.
const MOST_BUFFERED: usize = 17 * 1024 * 1024;

/// A stack, a listener, and one connection of which everything is known.
struct World {
    stack: Stack,
    /// The connection's local address.
    at: Ipv4Addr,
    now: Instant,
    listener: SocketId,
    socket: Option<SocketId>,
    /// Our initial number, the numbers after what was last sent by us and by the peer.
    iss: u32,
    ours: u32,
    theirs: u32,
    /// Bytes that the user has read and given.
    read: u32,
    written: u32,
    /// Our latest timestamp.
    clock: u32,
}

/// Runs a script.
pub fn tcp_stack(data: &[u8]) {
    let mut script = Script(data);
    let Some(mut world) = World::connected(script.byte()) else { return };
    while !script.is_empty() {
        world.step(&mut script);
        world.settle();
        world.pull();
        assert!(world.stack.socket_count() <= SOCKETS);
    }
    world.pass(25);
}

/// Bytes of payload of the segments of a train.
const TRAIN: usize = 300;

/// A segment of the peer.
fn segment(header: Header, mark: u8, payload: &[u8]) -> Received {
    let network = ipv4::Header { tos: mark, ..ipv4::Header::new(THEIRS, OURS, Protocol::TCP, 0) };
    let mut bytes = vec![0; Header::MAX_PACKET_HEADERS + payload.len()];
    let len = header.emit_packet(network, payload, &mut bytes).expect("there is room for the packet");
    bytes.truncate(len);
    Received::new(bytes.into(), Offload::default())
}

/// The byte of either stream at a place.
const fn byte(place: u32) -> u8 {
    (place.wrapping_mul(2_654_435_761) >> 24) as u8
}

fn stream(from: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|place| byte(from.wrapping_add(place))).collect()
}

fn boot(kind: u8) -> Stack {
    let config = Config {
        sockets: SOCKETS,
        tcp_ecn: if kind & 64 != 0 { EcnMode::Ask } else { EcnMode::Agree },
        ..Config::tiny()
    };
    let mut stack = Stack::boot(config, [kind; 16], Instant::ZERO);
    let mac = ethernet::Address([0xb2, 0x0a, 0, 0, 0, 1]);
    let offloads = if kind & 32 == 0 { Offloads::NONE } else { Offloads::ALL };
    let port = PortConfig { kind: LinkKind::Ip, link_address: None, offloads, ..PortConfig::ethernet(mac) };
    stack.create_interface(Instant::ZERO, "tun0", port).expect("there is room for one");
    let (address, peer) = (OURS.into(), Some(THEIRS.into()));
    let change = AddressChange { address, prefix_len: None, broadcast: None, peer, alias: false };
    stack
        .control(Instant::ZERO, Request::AddAddress { name: "tun0".into(), change })
        .expect("a good address");
    let via = NextHop::Interface("tun0".into());
    let route =
        Request::AddRoute { destination: (THEIRS.into(), 32), via, attributes: RouteAttributes::default() };
    // The peer's address may have brought its route along.
    let _there_already = stack.control(Instant::ZERO, route);
    stack
}

impl World {
    /// After a handshake, whose options are the bits of `kind`; its highest bit makes the listener one to any address.
    fn connected(kind: u8) -> Option<Self> {
        let mut stack = boot(kind);
        let listener = stack.tcp_open().ok()?;
        let at = if kind & 128 == 0 { OURS } else { FAR };
        if at == OURS {
            stack.tcp_bind(listener, (OURS, 80).into()).ok()?;
            stack.tcp_listen(listener, 2).ok()?;
        } else {
            stack.tcp_listen_any(listener, "tun0", 0, 2).ok()?;
        }
        let (iss, ours, theirs) = (0, 0, IRS.wrapping_add(1));
        let now = Instant::from_secs(1);
        let mut world =
            Self { stack, at, now, listener, socket: None, iss, ours, theirs, read: 0, written: 0, clock: 0 };
        let mut options = Options::EMPTY;
        for (bit, option) in [
            (1, TcpOption::MaximumSegmentSize(1000)),
            (2, TcpOption::SackPermitted),
            (4, TcpOption::WindowScale(7)),
            (8, TcpOption::Timestamps(Timestamps { value: 1, echo: 0 })),
        ] {
            if kind & bit != 0 {
                options.push(&option).ok()?;
            }
        }
        let ecn = if kind & 16 == 0 { Flags::NONE } else { Flags::ECE | Flags::CWR };
        world.say(Flags::SYN | ecn, IRS, 0, 60_000, options, 0, 0);
        if at == FAR {
            let (flow, _) = world.stack.tcp_next_flow(listener).ok()?;
            world.stack.tcp_admit(now, flow).ok()?;
            world.socket = Some(flow);
        }
        world.pull();
        let mut options = Options::EMPTY;
        if kind & 8 != 0 {
            options = Options::from_timestamps(Timestamps { value: 2, echo: world.clock });
        }
        world.say(Flags::ACK, world.theirs, world.ours, 60_000, options, 0, 0);
        if at == OURS {
            world.socket = world.stack.tcp_accept(listener).ok().map(|(socket, _)| socket);
        }
        assert!(world.socket.is_some(), "the handshake is complete");
        Some(world)
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 8 {
            0..=3 => self.hear(script),
            4 | 5 => self.call(script),
            6 => self.pass(script.byte() % 24),
            _ => self.complain(script),
        }
    }

    /// A segment, whose numbers are near those that matter.
    fn hear(&mut self, script: &mut Script<'_>) {
        let flags = match script.byte() {
            common @ 0..160 => {
                [Flags::ACK, Flags::ACK | Flags::PSH, Flags::ACK | Flags::FIN][usize::from(common) % 3]
            }
            any => Flags(u16::from(any) << 1 | u16::from(script.byte() & 1)),
        };
        let offset = offset(script);
        let sequence = self.theirs.wrapping_add(offset);
        let acknowledgment = self.ours.wrapping_add(self::offset(script));
        let len = usize::from(script.byte()) * 5;
        let window = script.word();
        let options = self.options(script);
        self.say(flags, sequence, acknowledgment, window, options, len, script.byte() & 3);
        if offset == 0 && flags.contains(Flags::ACK) {
            self.theirs = self.theirs.wrapping_add(len as u32);
        }
    }

    fn options(&self, script: &mut Script<'_>) -> Options {
        let mut options = Options::EMPTY;
        let kind = script.byte();
        if kind & 1 != 0 {
            let value = u32::from(script.byte());
            options = Options::from_timestamps(Timestamps {
                value,
                echo: self.clock.wrapping_sub(u32::from(kind)),
            });
        }
        if kind & 2 != 0 {
            let left = self.ours.wrapping_add(offset(script));
            let block = SackBlock { left: Seq(left), right: Seq(left.wrapping_add(script.word().into())) };
            let blocks = [block, SackBlock { left: Seq(left.wrapping_sub(500)), right: Seq(left) }];
            let _no_room = options.push(&TcpOption::Sack(blocks.into_iter().collect()));
        }
        if kind & 4 != 0 {
            let _no_room = options.push(&TcpOption::Unknown { kind: script.byte(), data: script.take(3) });
        }
        options
    }

    #[expect(clippy::too_many_arguments, reason = "a segment is all of these")]
    fn say(
        &mut self,
        flags: Flags,
        sequence: u32,
        acknowledgment: u32,
        window: u16,
        options: Options,
        len: usize,
        mark: u8,
    ) {
        let first = sequence.wrapping_add(u32::from(flags.contains(Flags::SYN)));
        let payload = stream(first.wrapping_sub(IRS), len);
        let header = Header {
            sequence: Seq(sequence),
            acknowledgment: Seq(acknowledgment),
            window,
            options,
            ..Header::new(5000, 80, flags)
        };
        // What is long comes as a train, which is merged before TCP sees it.
        let last = Flags::FIN | Flags::PSH;
        let size = if flags.without(last) == Flags::ACK { TRAIN } else { usize::MAX };
        let count = payload.len().div_ceil(size).max(1);
        let batch: Vec<Received> = (0..count)
            .map(|number| {
                let start = number * size.min(payload.len());
                let part = &payload[start..payload.len().min(start.saturating_add(size))];
                let flags = if number + 1 == count { flags } else { flags.without(last) };
                segment(
                    Header { sequence: Seq(sequence.wrapping_add(start as u32)), flags, ..header },
                    mark,
                    part,
                )
            })
            .collect();
        self.stack.receive(self.now, 0, batch);
    }

    fn receive(&mut self, source: Ipv4Addr, protocol: Protocol, tos: u8, payload: &[u8]) {
        let bytes = packet(source, self.at, protocol, tos, payload);
        self.stack.receive(self.now, 0, [Received::new(bytes.into(), Offload::default())]);
    }

    /// An ICMP error about something that we may have sent.
    fn complain(&mut self, script: &mut Script<'_>) {
        let sequence = self.ours.wrapping_add(offset(script)).to_be_bytes();
        let quoted = [&[0, 80, 0x13, 0x88][..], &sequence].concat();
        let quoted = packet(self.at, THEIRS, Protocol::TCP, 0, &quoted);
        let code = UnreachableCode(script.byte() % 14);
        let message = Message::DestinationUnreachable { code, next_hop_mtu: script.word() };
        let mut sum = Sum::new();
        sum.add(&quoted);
        self.receive(THEIRS, Protocol::ICMP, 0, &[&message.to_bytes(sum)[..], &quoted].concat());
    }

    fn call(&mut self, script: &mut Script<'_>) {
        let (call, value) = (script.byte(), script.word());
        if call % 8 == 7 && self.at == FAR {
            return self.decide(value);
        }
        if call % 8 == 7 {
            let accepted = self.stack.tcp_accept(self.listener);
            return accepted
                .map_or((), |(other, _)| self.stack.tcp_close(self.now, other).unwrap_or_default());
        }
        let Some(socket) = self.socket else { return };
        match call % 8 {
            0 | 1 => {
                let bytes = stream(self.written + 1, usize::from(value) % 20_000);
                let how = SendMode { urgent: value > 60_000, more: value & 2 != 0 };
                let sent = self.stack.tcp_send_as(self.now, socket, bytes.into(), how);
                self.written += sent.unwrap_or(0) as u32;
            }
            2 => self.read(socket, value.into()),
            3 => {
                let _none = self.stack.tcp_receive_urgent(socket, value & 1 != 0);
                self.read(socket, value.into());
            }
            4 => {
                let how = script.one_of(&[Shutdown::Read, Shutdown::Write, Shutdown::Both]);
                let _unconnected = self.stack.tcp_shutdown(self.now, socket, how);
            }
            5 if value > 60_000 => {
                let _closed = self.stack.tcp_close(self.now, socket);
                self.socket = None;
            }
            _ => {
                let span = Duration::from_millis(value.into());
                let on = value & 1 != 0;
                let settings = [
                    Setting::NoDelay(on),
                    Setting::Cork(on),
                    Setting::KeepAlive(on),
                    Setting::KeepIdle(span),
                    Setting::KeepInterval(span),
                    Setting::KeepCount(value as u8),
                    Setting::UserTimeout(span),
                    Setting::Linger(on.then_some(span)),
                    Setting::UrgentInline(on),
                    Setting::ReceiveBuffer(value.into()),
                    Setting::SendBuffer(value.into()),
                    Setting::Tos(value as u8),
                ];
                let _refused = self.stack.tcp_set_option(self.now, socket, script.one_of(&settings));
            }
        }
    }

    /// Another flow asks for whatever address, and the oldest one held is admitted, refused, or dropped.
    fn decide(&mut self, value: u16) {
        let header = Header {
            source_port: 6000 + value % 4,
            destination_port: value.max(1),
            sequence: Seq(value.into()),
            acknowledgment: Seq(0),
            flags: if value & 64 == 0 { Flags::SYN } else { Flags::RST },
            window: value,
            checksum: 0,
            urgent: 0,
            options: Options::EMPTY,
        };
        let pseudo = ip::pseudo_header(THEIRS.into(), FAR.into(), Protocol::TCP, Header::LEN as u32);
        let mut bytes = vec![0; Header::LEN];
        header.with_checksum(pseudo, Sum::new()).emit(&mut bytes).expect("the room has the header's length");
        self.receive(THEIRS, Protocol::TCP, 0, &bytes);
        let Ok((flow, _)) = self.stack.tcp_next_flow(self.listener) else { return };
        let _late = match value >> 8 & 3 {
            0 => self.stack.tcp_admit(self.now, flow),
            1 => self.stack.tcp_refuse(self.now, flow),
            _ => Ok(()),
        };
        let _refused = self.stack.tcp_close(self.now, flow);
    }

    /// Reads, and finds the peer's stream.
    fn read(&mut self, socket: SocketId, limit: usize) {
        let held = self.stack.tcp_peek(socket, usize::MAX).map_or(0, |payload| payload.len());
        assert!(held <= MOST_BUFFERED, "{held} bytes wait");
        let Ok(payload) = self.stack.tcp_receive(self.now, socket, limit) else { return };
        let bytes = payload.to_bytes();
        // Urgent bytes may have been left out before it.
        let here = |skipped: &u32| bytes == stream(1 + self.read + skipped, bytes.len());
        let skipped = (0..64).find(here);
        self.read += skipped.unwrap_or_else(|| panic!("not the peer's bytes at {}", self.read));
        self.read += bytes.len() as u32;
    }

    /// Time passes: up to some hours.
    fn pass(&mut self, steps: u8) {
        let end = self.now + Duration::from_millis(1 << steps);
        for _ in 0..2000 {
            let Some(next) = self.stack.next_deadline().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.stack.on_timeout(self.now);
            self.pull();
        }
        self.now = end;
        self.settle();
    }

    /// Runs what is due now, which must come to an end.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            match self.stack.next_deadline() {
                Some(next) if next <= self.now => self.stack.on_timeout(self.now),
                _ => return,
            }
        }
        panic!("the deadline stays in the past");
    }

    /// Takes what is sent, and looks at it.
    fn pull(&mut self) {
        while self.stack.next_event().is_some() {}
        while self.stack.next_ready_port().is_some() {}
        let mut sent = 0;
        while let Some(frame) = self.stack.next_frame(0) {
            sent += 1;
            assert!(sent < 100_000, "it sends without end");
            self.look_at(&frame.to_vec(), frame.offload == Offload::default() || frame.offload.gso.is_none());
        }
    }

    fn look_at(&mut self, bytes: &[u8], whole: bool) {
        let (network, segment) = ipv4::Header::parse(bytes).expect("a whole packet");
        if network.protocol != Protocol::TCP {
            return;
        }
        let (header, payload) = Header::parse(segment).expect("a whole segment");
        let pseudo =
            ip::pseudo_header(network.source.into(), THEIRS.into(), Protocol::TCP, segment.len() as u32);
        // A partial checksum holds the pseudo-header alone.
        let partial = header.checksum == pseudo.fold();
        assert!(!whole || partial || checksum::verify(pseudo, segment), "a checksum: {bytes:02x?}");
        if let Some(timestamps) = header.options.timestamps() {
            self.clock = timestamps.value;
        }
        if header.flags.contains(Flags::SYN) && self.iss == 0 {
            self.iss = header.sequence.0;
            self.ours = self.iss.wrapping_add(1);
        }
        if !self.is_alive() || header.flags.contains(Flags::RST) || header.flags.contains(Flags::SYN) {
            return;
        }
        let place = header.sequence.0.wrapping_sub(self.iss);
        assert!(payload == stream(place, payload.len()), "not the user's bytes at {place}");
        let end = header.sequence.0.wrapping_add(payload.len() as u32);
        if Seq(end).is_after(Seq(self.ours)) {
            self.ours = end;
        }
    }

    /// Whether the one connection is there still, so that what is sent is of it.
    fn is_alive(&self) -> bool {
        let info = self.socket.and_then(|socket| self.stack.tcp_info(socket).ok());
        info.is_some_and(|info| !matches!(info.state, TcpState::Closed | TcpState::TimeWait))
    }
}

/// A distance from a number that matters: none mostly.
fn offset(script: &mut Script<'_>) -> u32 {
    match script.byte() {
        0..128 => 0,
        near @ 128..192 => u32::from(near).wrapping_sub(160),
        far @ 192..224 => (u32::from(far).wrapping_sub(208)).wrapping_mul(500),
        wild @ 224..248 => u32::from(wild - 223).wrapping_mul(0x0aaa_aaab),
        _ => u32::from(script.word()) << 16 | u32::from(script.word()),
    }
}

fn packet(source: Ipv4Addr, destination: Ipv4Addr, protocol: Protocol, tos: u8, payload: &[u8]) -> Vec<u8> {
    let header = ipv4::Header { tos, ..ipv4::Header::new(source, destination, protocol, payload.len()) };
    let mut bytes = vec![0; ipv4::Header::LEN];
    header.emit(&mut bytes).expect("the room has the header's length");
    bytes.extend_from_slice(payload);
    bytes
}
