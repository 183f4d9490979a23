//! Datagram, raw, ICMP and packet sockets under scripts of calls, options, BPF programs and frames.
//!
//! The laws: nothing panics; a program that was found good ends, however it is run; sockets and captures keep their limits; when all are closed the
//! buffers hold nothing; time goes on; and the same script gives the same output twice.

use std::hash::{DefaultHasher, Hash, Hasher};

use rumpnet_proto::{AddressChange, Request};
use rumpnet_stack::{
    Config, Direction, Endpoint, MtuDiscovery, PacketOption, PortConfig, SendInfo, Shutdown, SocketOption,
    Stack, UdpSend,
    bpf::{Instruction, MAX_INSTRUCTIONS, Program},
    buffer::Received,
    slab::Key,
    time::{Duration, Instant},
};
use rumpnet_wire::ethernet;

use crate::{frames, script::Script};

/// What a socket of each kind may hold, in bytes.
const BUFFER: u32 = 4096;

struct World {
    stack: Stack,
    now: Instant,
    sockets: Vec<Key>,
    packets: Vec<Key>,
    output: DefaultHasher,
}

/// Runs a script, and every so often once more.
pub fn sockets(data: &[u8]) {
    let first = run(data);
    if data.len().is_multiple_of(16) {
        assert_eq!(first, run(data), "the same inputs, another output");
    }
}

/// Makes a program of the octets and runs it over the rest, cut at two places.
pub fn bpf(data: &[u8]) {
    let mut script = Script(data);
    let count = usize::from(script.byte() % 32);
    let Some(program) = program(&mut script, count) else { return };
    let packet = script.0;
    let cut = usize::from(script.byte()).min(packet.len());
    let whole = program.run(&[packet]);
    assert_eq!(whole, program.run(&[&packet[..cut], &[], &packet[cut..]]), "a packet in pieces is another");
}

/// A program of so many instructions, most of which mean something.
fn program(script: &mut Script<'_>, count: usize) -> Option<Program> {
    const CODES: [u16; 24] = [
        0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x00, 0x01, 0x60, 0x61, 0x02, 0x03, 0x80, 0xb1, 0x04, 0x3c, 0x9c,
        0x6c, 0x15, 0x25, 0x45, 0x05, 0x07, 0x87,
    ];
    let mut instructions: Vec<_> = (0..count.min(MAX_INSTRUCTIONS - 1))
        .map(|_| {
            let any = script.byte();
            let code = if any < 200 { CODES[usize::from(any) % CODES.len()] } else { script.word() };
            let (jt, jf, wide) = (script.byte() % 8, script.byte() % 8, script.byte() > 240);
            let k = if wide { u32::from(script.word()) << 16 } else { script.byte().into() };
            Instruction { code, jt, jf, k }
        })
        .collect();
    instructions.push(Instruction { code: if count % 2 == 0 { 0x16 } else { 0x06 }, jt: 0, jf: 0, k: 96 });
    Program::new(&instructions).ok()
}

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

impl World {
    /// `virt0` with 10.0.0.1/24, and the loopback.
    fn new(kind: u8) -> Self {
        let config = Config {
            sockets: 6,
            raw_sockets: 3,
            captures: 3,
            capture_queue: 8,
            capture_bytes: BUFFER,
            udp_receive_bytes: BUFFER,
            udp_send_bytes: BUFFER,
            port_queue: 8,
            dad_count: 0,
            mtu_discovery: kind & 1 == 0,
            icmp_broadcast_echo: kind & 2 == 0,
            ..Config::tiny()
        };
        let mut stack = Stack::boot(config, [kind; 16], Instant::ZERO);
        let mac = ethernet::Address([0xb2, 0x0a, 0, 0, 0, 1]);
        stack.create_interface(Instant::ZERO, "virt0", PortConfig::ethernet(mac)).expect("there is room");
        let change = AddressChange {
            address: [10, 0, 0, 1].into(),
            prefix_len: Some(24),
            broadcast: None,
            peer: None,
            alias: true,
        };
        stack.control(Instant::ZERO, Request::AddAddress { name: "virt0".into(), change }).expect("free");
        let (sockets, packets, output) = (Vec::new(), Vec::new(), DefaultHasher::new());
        Self { stack, now: Instant::ZERO, sockets, packets, output }
    }

    fn note(&mut self, said: impl std::fmt::Debug) {
        format!("{said:?}").hash(&mut self.output);
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 8 {
            0 => self.open(script.byte()),
            1..=3 => self.call(script),
            4 => self.packet_call(script),
            5 | 6 => {
                let (bytes, offload) = frames::frame(script, true);
                self.stack.receive(self.now, 0, [Received::new(bytes.into(), offload)]);
            }
            _ => self.wait(script.byte()),
        }
    }

    fn open(&mut self, kind: u8) {
        let opened = match kind % 5 {
            0 => self.stack.udp_open(),
            1 => self.stack.icmp_open(),
            2 => self.stack.raw_open(255),
            3 => self.stack.raw_open(kind / 5),
            _ => {
                let opened = self.stack.packet_open();
                self.packets.extend(opened);
                return self.note(opened.is_ok());
            }
        };
        self.sockets.extend(opened);
        self.note(opened.is_ok());
    }

    fn call(&mut self, script: &mut Script<'_>) {
        let (call, which) = (script.byte(), usize::from(script.byte()));
        let Some(&id) = self.sockets.get(which % self.sockets.len().max(1)) else { return };
        let to = (script.address(), script.one_of(&[9, 10, 0, 49_152, 7])).into();
        match call % 12 {
            0 => {
                let bound = self.stack.udp_bind(id, to);
                self.note(bound);
            }
            1 => {
                let connected = self.stack.udp_connect(id, to);
                self.note(connected);
            }
            2 => {
                let left = self.stack.udp_disconnect(id);
                self.note(left);
            }
            3 => {
                let how = script.one_of(&[Shutdown::Read, Shutdown::Write, Shutdown::Both]);
                let ended = self.stack.udp_shutdown(self.now, id, how);
                self.note(ended);
            }
            4..=6 => self.send(script, id, to, call),
            7 => {
                let received = self.stack.udp_receive(id, call & 128 != 0);
                self.note(received.map(|one| (one.payload.to_bytes(), one.source)));
            }
            8 => {
                let kept = self.stack.udp_receive_error(id);
                self.note(kept);
            }
            9 | 10 => {
                let option = option(script);
                let set = self.stack.udp_set_option(id, option);
                let settings = self.stack.udp_settings(id);
                self.note((set, settings));
            }
            _ => {
                let closed = self.stack.udp_close(id);
                self.sockets.retain(|other| *other != id);
                self.note(closed);
            }
        }
    }

    fn send(&mut self, script: &mut Script<'_>, id: Key, to: std::net::SocketAddr, call: u8) {
        let said = script.byte();
        let info = SendInfo {
            interface: (said & 1 != 0).then_some(u32::from(said >> 6)),
            source: (said & 2 != 0).then(|| script.address().into()),
            ttl: (said & 4 != 0).then_some(said),
            tos: (said & 8 != 0).then_some(said),
        };
        let mut payload = script.data();
        if said & 16 != 0 && payload.len() > 20 {
            // What looks like an IP header, or an echo request.
            payload[..2].copy_from_slice(if said & 32 != 0 { &[0x45, 0] } else { &[8, 0] });
        }
        let segment = (call & 128 != 0).then(|| script.word() % 1500);
        let destination = (call & 64 == 0).then_some(to);
        let send = UdpSend { payload: payload.into(), segment, destination, source: None, info };
        let sent = self.stack.udp_send(self.now, id, [send]);
        self.note(sent);
    }

    fn packet_call(&mut self, script: &mut Script<'_>) {
        let (call, which) = (script.byte(), usize::from(script.byte()));
        let Some(&id) = self.packets.get(which % self.packets.len().max(1)) else { return };
        match call % 8 {
            0 => {
                let name = script.one_of(&["virt0", "lo0", "virt9"]);
                let attached = self.stack.packet_attach(id, name);
                self.note(attached);
            }
            1 => {
                let count = usize::from(script.byte() % 16);
                let filter = program(script, count);
                let set = self.stack.packet_set_filter(id, filter);
                self.note(set);
            }
            2 | 3 => {
                let bytes = script.data();
                let sent = self.stack.packet_send(self.now, id, bytes.into());
                self.note(sent);
            }
            4 => {
                let mut read = Vec::new();
                let taken = self.stack.packet_read(id, &mut read);
                self.note((taken, read.iter().map(|one| one.bytes.clone()).collect::<Vec<_>>()));
            }
            5 | 6 => {
                let value = u32::from(script.word());
                let option = script.one_of(&[
                    PacketOption::Promiscuous(value & 1 != 0),
                    PacketOption::Immediate(value & 1 != 0),
                    PacketOption::HeaderComplete(value & 1 != 0),
                    PacketOption::Direction((value & 1 != 0).then_some(Direction::In)),
                    PacketOption::SnapLength(value),
                    PacketOption::BufferLength(value),
                ]);
                let set = self.stack.packet_set_option(id, option);
                self.note((set, self.stack.packet_statistics(id)));
            }
            _ => {
                let closed = self.stack.packet_close(id);
                self.packets.retain(|other| *other != id);
                self.note(closed);
            }
        }
    }

    /// Time passes, and what waits at the port leaves.
    fn wait(&mut self, steps: u8) {
        let end = self.now + Duration::from_millis(1 << (steps % 16));
        for _ in 0..1000 {
            let Some(next) = self.stack.next_deadline().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.stack.on_timeout(self.now);
        }
        self.now = end;
        while let Some(frame) = self.stack.next_frame(0) {
            frame.to_vec().hash(&mut self.output);
        }
        while let Some(event) = self.stack.next_event() {
            self.note(event);
        }
    }

    fn check(&self) {
        assert!(self.stack.socket_count() <= self.stack.config().sockets, "more sockets than there may be");
        for id in &self.packets {
            let ready = self.stack.readiness(Endpoint::Packet(*id));
            assert!(ready.writable && !ready.closed, "an open packet socket");
        }
    }

    /// When all is closed and gone, nothing is held.
    fn end(&mut self) {
        for id in std::mem::take(&mut self.sockets) {
            self.stack.udp_close(id).expect("open until now");
        }
        for id in std::mem::take(&mut self.packets) {
            self.stack.packet_close(id).expect("open until now");
        }
        self.wait(15);
        assert_eq!(self.stack.memory().0, 0, "closed sockets hold memory");
        assert_eq!(self.stack.socket_count(), 0);
    }
}

fn option(script: &mut Script<'_>) -> SocketOption {
    let value = u32::from(script.word());
    let on = value & 1 != 0;
    script.one_of(&[
        SocketOption::Broadcast(on),
        SocketOption::Ttl(value as u8),
        SocketOption::Tos(value as u8),
        SocketOption::ReceiveBuffer(value),
        SocketOption::SendBuffer(value),
        SocketOption::BindAny(on),
        SocketOption::MtuDiscovery(MtuDiscovery::Dont),
        SocketOption::MtuDiscovery(MtuDiscovery::Do),
        SocketOption::ReuseAddress(on),
        SocketOption::ReusePort(on),
        SocketOption::DontRoute(on),
        SocketOption::Interface(value % 4),
        SocketOption::ReceiveErrors(true),
        SocketOption::ReceiveErrors(on),
        SocketOption::HeaderIncluded(on),
        SocketOption::IcmpFilter(value),
    ])
}
