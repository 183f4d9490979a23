//! The whole stack under scripts of frames, socket calls, requests and time.
//!
//! The laws: nothing panics; every frame that comes in is counted once ([`crate::ledger`]); queues and tables keep their
//! limits; what is sent is well formed; time goes on; and the same script gives the same output twice.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use rumpnet_proto::{
    AddressChange, Capabilities, CaptureOptions, ControlError, Counter, EchoData, EchoOptions, GroupChange,
    GroupInterface, InterfaceFlags, LinkKind, LinkState, Membership, MulticastOption, NeighborChange,
    NextHop, Probe, Reply, Request, RouteAttributes, SourceFilter, codec,
};
use rumpnet_stack::{
    Config, Endpoint, Offloads, PortConfig, ReversePath, SocketOption, Stack, UdpSend,
    buffer::{Checksum, Frame, Received},
    slab::Key,
    time::{Duration, Instant},
};
use rumpnet_wire::{checksum, ethernet, ip, ip::Protocol, ipv4};

use crate::{
    frames,
    ledger::Ledger,
    script::{GROUP, Script},
};

/// The most sockets, captures or sessions that a script holds.
const MOST: usize = 6;

/// A stack under test.
struct World {
    stack: Stack,
    now: Instant,
    sockets: Vec<Key>,
    echoes: Vec<u64>,
    captures: Vec<u64>,
    /// Ports without Ethernet; one that is closed may be another's later.
    plain: BTreeSet<u32>,
    /// Everything that it gave, for comparing two runs.
    output: DefaultHasher,
}

/// Runs a script, and every so often once more.
pub fn stack(data: &[u8]) {
    let first = run(data);
    if data.len().is_multiple_of(16) {
        assert_eq!(first, run(data), "the same inputs, another output");
    }
}

/// What a script makes the stack say, as a number.
fn run(data: &[u8]) -> u64 {
    let mut script = Script(data);
    let mut world = World::new(script.byte());
    while !script.is_empty() {
        world.step(&mut script);
        world.check();
    }
    world.end();
    world.output.finish()
}

fn config(kind: u8) -> Config {
    Config {
        neighbors: 4,
        sockets: 4,
        groups: 8,
        group_sources: 3,
        interfaces: 4,
        addresses: 6,
        routes: 8,
        fragment_datagrams: 2,
        fragment_bytes: 8192,
        fragment_datagrams_per_peer: 1,
        echo_window: 4,
        icmp_mask_reply: kind & 128 != 0,
        port_queue: 8,
        capture_queue: 8,
        udp_receive_bytes: 4096,
        udp_send_bytes: 8192,
        dad_count: kind & 3,
        dad_optimistic: kind & 4 == 0,
        icmp_broadcast_echo: kind & 8 != 0,
        forwarding: kind & 32 != 0,
        reverse_path: if kind & 64 == 0 { ReversePath::Off } else { ReversePath::Strict },
        ..Config::tiny()
    }
}

impl World {
    /// `virt0` at port 0 with 10.0.0.1/24, `tun0` at port 1 with 10.1.0.1.
    fn new(kind: u8) -> Self {
        let stack = Stack::boot(config(kind), [kind; 16], Instant::ZERO);
        let (now, output) = (Instant::ZERO, DefaultHasher::new());
        let (sockets, echoes, captures) = (Vec::new(), Vec::new(), Vec::new());
        let plain = BTreeSet::new();
        let mut world = Self { stack, now, sockets, echoes, captures, plain, output };
        let offloads = if kind & 16 == 0 { Offloads::ALL } else { Offloads::NONE };
        let mac = ethernet::Address([0xb2, 0x0a, 0, 0, 0, 1]);
        let virt = PortConfig { offloads, ..PortConfig::ethernet(mac) };
        let tun = PortConfig { kind: LinkKind::Ip, link_address: None, ..virt.clone() };
        for (name, port) in [("virt0", virt), ("tun0", tun)] {
            world.create(name, port).expect("there is room for two");
        }
        world.address("virt0", [10, 0, 0, 1], None);
        world.address("tun0", [10, 1, 0, 1], Some([10, 1, 0, 2]));
        if kind & 32 != 0 {
            world.make_router();
        }
        world
    }

    /// Routes over both links, a neighbour that is known, and a socket with a peer: what a forged packet may meet on its way.
    fn make_router(&mut self) {
        let by = |gateway: [u8; 4]| NextHop::Gateway(gateway.into());
        for (destination, via) in [
            (([192, 0, 2, 0], 24), NextHop::Interface("tun0".into())),
            (([198, 51, 100, 0], 24), by([10, 0, 0, 9])),
            (([0, 0, 0, 0], 0), by([10, 0, 0, 10])),
        ] {
            let destination = (destination.0.into(), destination.1);
            let attributes = RouteAttributes::default();
            self.control(Request::AddRoute { destination, via, attributes });
        }
        self.control(Request::AddNeighbor(NeighborChange {
            address: [10, 0, 0, 9].into(),
            link_address: ethernet::Address([2, 0, 0, 0, 0, 9]),
            temporary: false,
            published: false,
        }));
        self.control(Request::EchoOpen(EchoOptions::to([10, 0, 0, 9].into())));
        if let Ok(id) = self.stack.udp_open() {
            self.sockets.push(id);
            let bound = self.stack.udp_bind(id, ([10, 0, 0, 1], 9).into());
            let peer = self.stack.udp_connect(id, ([10, 0, 0, 9], 9).into());
            format!("{bound:?} {peer:?}").hash(&mut self.output);
        }
    }

    fn create(&mut self, name: &str, config: PortConfig) -> Result<u32, ControlError> {
        let is_plain = config.kind == LinkKind::Ip;
        let port = self.stack.create_interface(self.now, name, config)?;
        self.plain.remove(&port);
        self.plain.extend(is_plain.then_some(port));
        Ok(port)
    }

    fn address(&mut self, name: &str, address: [u8; 4], peer: Option<[u8; 4]>) {
        let (address, peer) = (address.into(), peer.map(Into::into));
        let change = AddressChange { address, prefix_len: Some(24), broadcast: None, peer, alias: true };
        self.control(Request::AddAddress { name: name.into(), change });
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 12 {
            0..=4 => self.receive(script),
            5 => {
                let request = request(script);
                self.control(request);
            }
            6 => {
                let len = usize::from(script.byte());
                let message = [&codec::VERSION.to_be_bytes()[..], script.take(len)].concat();
                if let Ok(request) = codec::decode(&message) {
                    self.control(request);
                }
            }
            7 | 8 => self.call(script),
            9 => self.wait(script.byte()),
            10 => self.pull(script.byte()),
            _ => self.far_end(script),
        }
    }

    fn receive(&mut self, script: &mut Script<'_>) {
        self.settle();
        let port = u32::from(script.byte() > 200);
        let (bytes, offload) = frames::frame(script, port == 0);
        let shown = bytes.clone();
        let before = Ledger::of(&self.stack);
        self.stack.receive(self.now, port, [Received::new(bytes.into(), offload)]);
        Ledger::check_one(&before, &self.stack, &|| format!("port {port}, {offload:?}, {shown:02x?}"));
    }

    fn control(&mut self, request: Request) {
        let answer = self.stack.control(self.now, request);
        format!("{answer:?}").hash(&mut self.output);
        match answer {
            Ok(Reply::Echo { echo, .. }) => self.echoes.push(echo),
            Ok(Reply::Capture { capture }) => self.captures.push(capture),
            _ => {}
        }
        while self.echoes.len() > MOST {
            let echo = self.echoes.remove(0);
            let _gone = self.stack.control(self.now, Request::EchoClose { echo });
        }
        while self.captures.len() > MOST {
            let capture = self.captures.remove(0);
            let _gone = self.stack.control(self.now, Request::CaptureClose { capture });
        }
    }

    /// A socket call.
    fn call(&mut self, script: &mut Script<'_>) {
        let (call, which) = (script.byte(), usize::from(script.byte()));
        if call % 8 == 0 {
            self.sockets.extend(self.stack.udp_open());
        }
        let Some(&id) = self.sockets.get(which % self.sockets.len().max(1)) else { return };
        let (address, port) = (script.address(), script.one_of(&[9, 10, 0, 49_152, 7]));
        let to = (address, port).into();
        match call % 8 {
            1 if which & 128 != 0 => {
                format!("{:?}", self.stack.udp_bind_any(id, "virt0", port)).hash(&mut self.output);
            }
            0 | 1 => format!("{:?}", self.stack.udp_bind(id, to)).hash(&mut self.output),
            2 => format!("{:?}", self.stack.udp_connect(id, to)).hash(&mut self.output),
            3 | 4 => {
                let segment = (call & 128 != 0).then(|| script.word() % 1500);
                let destination = (call & 64 == 0).then_some(to);
                let source = (call & 32 != 0).then_some((address, 53).into());
                let send = UdpSend {
                    payload: script.data().into(),
                    segment,
                    destination,
                    source,
                    info: Default::default(),
                };
                let batch = std::iter::repeat_n(send, 1 + usize::from(call >> 3 & 3));
                format!("{:?}", self.stack.udp_send(self.now, id, batch)).hash(&mut self.output);
            }
            5 => {
                let received = self.stack.udp_receive(id, call & 128 != 0);
                if let Ok(datagram) = received {
                    datagram.payload.to_bytes().hash(&mut self.output);
                }
            }
            6 if which & 128 != 0 => self.group(id, script),
            6 => {
                let value = u32::from(script.word());
                let options = [
                    SocketOption::Broadcast(value & 1 != 0),
                    SocketOption::Ttl(value as u8),
                    SocketOption::Tos(value as u8),
                    SocketOption::ReceiveBuffer(value),
                    SocketOption::SendBuffer(value),
                    SocketOption::BindAny(value & 1 != 0),
                ];
                let _refused = self.stack.udp_set_option(id, script.one_of(&options));
            }
            _ => {
                let _closed = self.stack.udp_close(id);
                self.sockets.retain(|other| *other != id);
            }
        }
    }

    /// A change of a membership, or an option about groups.
    fn group(&mut self, id: Key, script: &mut Script<'_>) {
        let socket = Endpoint::Udp(id);
        let (source, other) = (script.address(), script.address());
        let interface = script.one_of(&[
            GroupInterface::Unspecified,
            GroupInterface::Index(2),
            GroupInterface::Index(3),
            GroupInterface::Address(other),
        ]);
        let membership = match script.byte() % 12 {
            0..=2 => Membership::Join,
            3 => Membership::Leave,
            4 => Membership::JoinSource(source),
            5 => Membership::LeaveSource(source),
            6 => Membership::Block(source),
            7 => Membership::Unblock(source),
            8 => Membership::Filter(SourceFilter::include([source, other])),
            9 => Membership::Filter(SourceFilter::exclude([source])),
            number => {
                let is_even = other.octets()[3].is_multiple_of(2);
                let option = script.one_of(&[
                    MulticastOption::Interface(interface),
                    MulticastOption::Ttl(number),
                    MulticastOption::Ttl(0),
                    MulticastOption::Loop(is_even),
                    MulticastOption::All(is_even),
                ]);
                format!("{:?}", self.stack.set_multicast_option(socket, option)).hash(&mut self.output);
                return;
            }
        };
        let group = script.one_of(&[GROUP, [239, 1, 2, 4].into(), [224, 0, 0, 1].into(), source]);
        let change = GroupChange { group, interface, membership };
        format!("{:?}", self.stack.change_group(self.now, socket, &change)).hash(&mut self.output);
    }

    /// Time passes: from a millisecond to a day.
    fn wait(&mut self, steps: u8) {
        let end = self.now + Duration::from_millis(1 << (steps % 27));
        for _ in 0..1000 {
            let Some(next) = self.stack.next_deadline().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.stack.on_timeout(self.now);
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

    /// Takes frames from both ports, and all that is news.
    fn pull(&mut self, frames: u8) {
        for port in [0, 1] {
            for _ in 0..frames {
                let Some(frame) = self.stack.next_frame(port) else { break };
                let forwards = self.stack.counter(Counter::IpForwarded) > 0;
                check_sent(&frame, !self.plain.contains(&port), forwards);
                frame.to_vec().hash(&mut self.output);
            }
        }
        while self.stack.next_ready_port().is_some() {}
        while let Some(event) = self.stack.next_event() {
            format!("{event:?}").hash(&mut self.output);
        }
    }

    /// What the far end and the shell do.
    fn far_end(&mut self, script: &mut Script<'_>) {
        let port = u32::from(script.byte() % 3);
        match script.byte() % 8 {
            0 => {
                let state = script.one_of(&[LinkState::Up, LinkState::Down, LinkState::Unknown]);
                self.stack.set_link_state(self.now, port, state);
            }
            1 => {
                if let Some(frame) = self.stack.next_frame(port) {
                    self.stack.on_send_failed(self.now, port, &frame);
                }
            }
            2 => self.stack.report_host_drops(port, script.word().into()),
            3 => {
                let gone = self.stack.destroy_interface(self.now, script.one_of(&["tun0", "virt0", "lo0"]));
                format!("{gone:?}").hash(&mut self.output);
            }
            4 => {
                let mac = ethernet::Address([0xb2, 0x0a, 0, 0, 0, 1]);
                let config = PortConfig { mtu: 1500, ..PortConfig::ethernet(mac) };
                let config = match port {
                    1 => PortConfig { kind: LinkKind::Ip, link_address: None, ..config },
                    _ => config,
                };
                let name = ["virt0", "tun0", "virt3"][port as usize % 3];
                let made = self.create(name, config);
                format!("{made:?}").hash(&mut self.output);
            }
            5 => {
                let mut captured = Vec::new();
                self.captures.iter().for_each(|capture| {
                    self.stack.capture_read(Key::from(*capture), &mut captured);
                });
                captured.len().hash(&mut self.output);
            }
            6 => {
                let sequence = script.word() % 4;
                for echo in self.echoes.clone() {
                    self.control(Request::EchoSend { echo, sequence });
                }
            }
            _ => {
                for echo in &self.echoes {
                    format!("{:?}", self.stack.echo_receive(Key::from(*echo))).hash(&mut self.output);
                }
            }
        }
    }

    /// Limits hold at any time.
    fn check(&mut self) {
        let config = self.stack.config().clone();
        for port in 0..4 {
            // A super-frame that is being cut stands for all its segments.
            assert!(self.stack.queued_frames(port) <= config.port_queue as usize + 65_536);
        }
        assert!(self.stack.socket_count() <= config.sockets);
        let now = self.now;
        if let Ok(Reply::Groups { groups, .. }) = self.stack.control(now, Request::Groups { after: None }) {
            // Each interface is in that of all hosts, whatever the limit.
            assert!(groups.len() <= (config.groups + config.interfaces) as usize);
        }
        if let Ok(Reply::Neighbors { neighbors, .. }) =
            self.stack.control(now, Request::Neighbors { after: None })
        {
            assert!(neighbors.len() <= config.neighbors as usize);
            assert!(neighbors.iter().all(|entry| entry.waiting <= config.neighbor_queue));
        }
    }

    /// A minute after the end nothing is kept that came from outside.
    fn end(&mut self) {
        self.pull(255);
        for _ in 0..5 {
            self.wait(14);
        }
        Ledger::check_fragments(&self.stack);
        Counter::ALL.iter().for_each(|counter| self.stack.counter(*counter).hash(&mut self.output));
    }
}

/// What leaves is within the rules of its link: whole headers with good checksums.
fn check_sent(frame: &Frame, is_ethernet: bool, forwards: bool) {
    let bytes = frame.to_vec();
    let packet = if is_ethernet {
        let (header, packet) = ethernet::Header::parse(&bytes).expect("a whole Ethernet header");
        assert_eq!(header.source.0[..2], [0xb2, 0x0a], "frames of ours have our address");
        if header.ethertype != ethernet::EtherType::IPV4 {
            return;
        }
        packet
    } else {
        &bytes[..]
    };
    let parsed = ipv4::Header::parse(packet);
    let (header, payload) =
        parsed.unwrap_or_else(|fault| panic!("no whole IPv4 packet: {fault:?}, {bytes:02x?}"));
    assert!(frame.offload.gso.is_some() || packet.len() == usize::from(header.total_len));
    let is_whole = !header.is_fragment() && frame.offload.checksum == Checksum::Verified;
    // What is forwarded is as its sender made it.
    let is_whole = is_whole && !forwards;
    if header.protocol == Protocol::UDP && is_whole && payload[6..8] != [0, 0] {
        let (from, to) = (header.source.into(), header.destination.into());
        let pseudo = ip::pseudo_header(from, to, Protocol::UDP, payload.len() as u32);
        assert!(checksum::verify(pseudo, payload), "a UDP checksum: {bytes:02x?}");
    }
    if header.protocol == Protocol::IGMP && is_whole {
        assert!(checksum::verify(checksum::Sum::new(), payload), "an IGMP checksum: {bytes:02x?}");
        assert!(header.ttl == 1 && header.destination.is_multicast(), "{bytes:02x?}");
    }
    if header.protocol == Protocol::ICMP && is_whole {
        assert!(checksum::verify(checksum::Sum::new(), payload), "an ICMP checksum: {bytes:02x?}");
    }
}

/// A request that may well succeed.
fn request(script: &mut Script<'_>) -> Request {
    let kind = script.byte();
    let name = || String::from(["virt0", "tun0", "lo0", "lo1"][usize::from(kind >> 6)]);
    let address = script.address().into();
    let prefix_len = script.byte() % 34;
    match kind % 23 {
        0 => Request::AddAddress {
            name: name(),
            change: AddressChange {
                address,
                prefix_len: Some(prefix_len),
                broadcast: None,
                peer: None,
                alias: script.byte() > 99,
            },
        },
        1 => Request::DeleteAddress { name: name(), address: Some(address) },
        2 => Request::AddNeighbor(NeighborChange {
            address,
            link_address: script.station(),
            temporary: prefix_len & 1 != 0,
            published: prefix_len & 2 != 0,
        }),
        3 => Request::DeleteNeighbor { address },
        4 => Request::FlushNeighbors { permanent: prefix_len & 1 != 0 },
        5 => Request::AddRoute {
            destination: (address, prefix_len),
            via: NextHop::Interface(name()),
            attributes: RouteAttributes::default(),
        },
        6 => Request::AddRoute {
            destination: (address, prefix_len),
            via: NextHop::Gateway(script.address().into()),
            attributes: RouteAttributes::default(),
        },
        7 => Request::DeleteRoute { destination: (address, prefix_len), gateway: None },
        8 => Request::SetFlags { name: name(), set: flags(prefix_len), clear: InterfaceFlags::empty() },
        9 => Request::SetFlags { name: name(), set: InterfaceFlags::empty(), clear: flags(prefix_len) },
        10 => Request::SetMtu { name: name(), mtu: script.one_of(&[68, 100, 576, 1500, 9000, 65_521]) },
        11 => {
            let capabilities = Capabilities::from_bits_truncate(1 << (prefix_len % 32));
            Request::SetCapabilities { name: name(), enable: Capabilities::empty(), disable: capabilities }
        }
        12 | 13 => Request::EchoOpen(echo(script, address, prefix_len)),
        14 => Request::Interfaces { from: 0, reset: prefix_len & 1 != 0 },
        15 => Request::Routes { after: None },
        16 => Request::Statistics,
        17 => Request::AddLinkAddress {
            name: name(),
            address: ethernet::Address([0xb2, 0x0a, 0, 0, 0, prefix_len]),
            active: script.byte() & 1 != 0,
        },
        18 => Request::CreateInterface { name: "lo1".into(), options: Default::default() },
        19 => Request::DestroyInterface { name: "lo1".into() },
        20 => Request::CaptureOpen(CaptureOptions {
            interface: None,
            drops: prefix_len & 1 != 0,
            snap_len: Some(prefix_len.into()),
            count: None,
        }),
        21 => Request::Sysctl {
            name: script.one_of(&SYSCTLS).into(),
            value: Some(i64::from(script.byte() as i8)),
        },
        _ => Request::Cloners,
    }
}

/// An echo session of any kind.
fn echo(script: &mut Script<'_>, destination: std::net::IpAddr, ttl: u8) -> EchoOptions {
    let (size, how) = (u16::from(script.byte()) * 7, script.byte());
    let data = match how % 3 {
        0 => EchoData::Places,
        1 => EchoData::Random,
        _ => EchoData::Pattern(vec![how; usize::from(how >> 6)]),
    };
    EchoOptions {
        probe: if how & 1 == 0 { Probe::Echo } else { Probe::Udp { port: 33_434 } },
        ttl: Some(ttl),
        size,
        data,
        tos: how,
        dont_fragment: how & 2 != 0,
        record_route: how & 4 != 0,
        direct: how & 8 != 0,
        loops: how & 16 != 0,
        ..EchoOptions::to(destination)
    }
}

const SYSCTLS: [&str; 8] = [
    "net.inet.ip.ttl",
    "net.inet.ip.dad_count",
    "net.inet.ip.dad_optimistic",
    "net.inet.icmp.bmcastecho",
    "net.inet.icmp.errppslimit",
    "net.inet.udp.recvspace",
    "net.inet.arp.keep",
    "net.inet.ip.forwarding",
];

fn flags(kind: u8) -> InterfaceFlags {
    match kind % 4 {
        0 => InterfaceFlags::UP,
        1 => InterfaceFlags::NOARP,
        2 => InterfaceFlags::PROMISC,
        _ => InterfaceFlags::LINK0,
    }
}
