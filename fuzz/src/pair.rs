//! Two stacks on an arbitrary cable: delays, losses, duplicates, reorderings, damage and changing MTUs, under calls of users at either end.
//!
//! The laws: nothing panics; each frame that comes in is accounted for once; what is read is what the other end wrote, from its beginning and without a gap,
//! and an end of a stream comes after all of it; who has something to deliver has a deadline; and once the cable is good and everybody closes,
//! every connection is whole or was given up with an error, and nothing is left of any.

use std::{collections::BTreeMap, net::Ipv4Addr};

use rumpnet_proto::{AddressChange, Errno, LinkKind, NextHop, Request, TcpState};
use rumpnet_stack::{
    Config, EcnMode, Offloads, PortConfig, Shutdown, SocketId, Stack, TcpOption as Setting,
    buffer::{Frame, Received},
    time::{Duration, Instant},
};
use rumpnet_wire::ethernet;

use crate::{ledger::Ledger, script::Script};

const HOSTS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 1, 0, 2)];
const LISTEN_PORT: u16 = 80;
/// The first client's port; each has its own, by which its peer knows it.
const FIRST_PORT: u16 = 5000;
const CONNECTIONS: usize = 6;
/// What a cable holds at most; it loses what is too much.
const CABLE_FRAMES: usize = 400;

/// What befalls frames in one direction; chances are of 256.
#[derive(Clone, Copy, Default)]
struct Conditions {
    loss: u8,
    duplication: u8,
    damage: u8,
    delay: Duration,
    jitter: u8,
}

/// One end of a connection, as its user knows it.
#[derive(Clone, Copy)]
struct End {
    socket: SocketId,
    written: u32,
    read: u32,
    /// The user has seen the end of the stream, or asked not to see more of it.
    ended: bool,
    /// No more is written.
    finished: bool,
    /// It was given up with an error.
    failed: bool,
}

/// A connection: the client's host, and its ends by host as long as they are open.
struct Connection {
    client: usize,
    ends: [Option<End>; 2],
    /// What was written by either side, kept when it closes.
    written: [u32; 2],
    /// Somebody closed before he had seen everything, so that the other may be reset.
    hasty: bool,
}

struct World {
    stacks: [Stack; 2],
    listeners: [SocketId; 2],
    now: Instant,
    /// Frames under way, by the time of their arrival and then in the order in which they were sent.
    cable: BTreeMap<(Instant, u64), (usize, Frame)>,
    sent: u64,
    conditions: [Conditions; 2],
    dice: u64,
    connections: Vec<Connection>,
}

/// Runs a script.
pub fn tcp_pair(data: &[u8]) {
    let mut script = Script(data);
    let mut world = World::new(script.byte());
    while !script.is_empty() {
        world.act(&mut script);
        world.settle();
        world.check_deadlines();
    }
    world.end();
}

/// The byte at a place of the stream that one host of a connection writes.
fn stream(connection: usize, from: usize, start: u32, len: usize) -> Vec<u8> {
    let salt = (connection as u32 * 2 + from as u32).wrapping_mul(0x9e37_79b9);
    let byte = |place: u32| (place.wrapping_add(salt).wrapping_mul(2_654_435_761) >> 24) as u8;
    (0..len as u32).map(|place| byte(start.wrapping_add(place))).collect()
}

fn boot(host: usize, kind: u8) -> (Stack, SocketId) {
    let config = Config {
        sockets: 32,
        tcp_ecn: if kind & 2 != 0 { EcnMode::Ask } else { EcnMode::Agree },
        ..Config::tiny()
    };
    let mut stack = Stack::boot(config, [kind ^ host as u8; 16], Instant::ZERO);
    let offloads = if kind & 1 == 0 { Offloads::NONE } else { Offloads::ALL };
    let port = PortConfig {
        kind: LinkKind::Ip,
        link_address: None,
        offloads,
        ..PortConfig::ethernet(ethernet::Address([0; 6]))
    };
    stack.create_interface(Instant::ZERO, "tun0", port).expect("there is room for one");
    let (address, peer) = (HOSTS[host].into(), Some(HOSTS[1 - host].into()));
    let change = AddressChange { address, prefix_len: None, broadcast: None, peer, alias: false };
    stack
        .control(Instant::ZERO, Request::AddAddress { name: "tun0".into(), change })
        .expect("a good address");
    let via = NextHop::Interface("tun0".into());
    let destination = (HOSTS[1 - host].into(), 32);
    let route = Request::AddRoute { destination, via, attributes: Default::default() };
    // The peer's address may have brought its route along.
    let _there_already = stack.control(Instant::ZERO, route);
    let listener = stack.tcp_open().expect("room");
    stack.tcp_bind(listener, (HOSTS[host], LISTEN_PORT).into()).expect("free");
    stack.tcp_listen(listener, 4).expect("bound");
    (stack, listener)
}

impl End {
    const fn new(socket: SocketId) -> Self {
        Self { socket, written: 0, read: 0, ended: false, finished: false, failed: false }
    }
}

impl World {
    fn new(kind: u8) -> Self {
        let [(first, one), (second, other)] = [boot(0, kind), boot(1, kind)];
        let delay = Duration::from_millis(1);
        Self {
            stacks: [first, second],
            listeners: [one, other],
            now: Instant::from_secs(1),
            cable: BTreeMap::new(),
            sent: 0,
            conditions: [Conditions { delay, ..Conditions::default() }; 2],
            dice: u64::from(kind) << 32 | 0x2545_f491,
            connections: Vec::new(),
        }
    }

    /// Chance, by an xorshift of its own, so that a script need not have a byte for every frame.
    fn roll(&mut self) -> u8 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 40) as u8
    }

    fn act(&mut self, script: &mut Script<'_>) {
        match script.byte() % 16 {
            0..=3 => self.pass(Duration::from_millis(1 << (script.byte() % 18))),
            4 | 5 => self.connect(usize::from(script.byte() & 1)),
            6 => self.accept_all(),
            7 => {
                let (direction, conditions) = (usize::from(script.byte() & 1), conditions(script));
                self.conditions[direction] = conditions;
            }
            8 => self.set_mtu(usize::from(script.byte() & 1), 68 + u32::from(script.word() % 1433)),
            _ => self.call(script),
        }
    }

    fn set_mtu(&mut self, host: usize, mtu: u32) {
        let request = Request::SetMtu { name: "tun0".into(), mtu };
        self.stacks[host].control(self.now, request).expect("an MTU within the link's");
    }

    fn connect(&mut self, client: usize) {
        if self.connections.len() == CONNECTIONS {
            return;
        }
        let stack = &mut self.stacks[client];
        let port = FIRST_PORT + self.connections.len() as u16;
        let Ok(socket) = stack.tcp_open() else { return };
        stack.tcp_bind(socket, (HOSTS[client], port).into()).expect("each port is used once");
        let remote = (HOSTS[1 - client], LISTEN_PORT).into();
        stack.tcp_connect(self.now, socket, remote).expect("there is a way");
        let mut ends = [None; 2];
        ends[client] = Some(End::new(socket));
        self.connections.push(Connection { client, ends, written: [0; 2], hasty: false });
    }

    fn accept_all(&mut self) {
        for host in 0..2 {
            while let Ok((socket, peer)) = self.stacks[host].tcp_accept(self.listeners[host]) {
                let number = usize::from(peer.port() - FIRST_PORT);
                let connection = &mut self.connections[number];
                assert!(connection.client != host && connection.ends[host].is_none(), "accepted twice");
                connection.ends[host] = Some(End::new(socket));
            }
        }
    }

    /// A call of a user, if his end is there.
    fn call(&mut self, script: &mut Script<'_>) {
        let (whose, call, value) = (script.byte(), script.byte(), script.word());
        let (number, host) = (usize::from(whose >> 1) % CONNECTIONS, usize::from(whose & 1));
        let open = self.connections.get(number).and_then(|connection| connection.ends[host]);
        let Some(end) = open else { return };
        match call % 8 {
            0..=2 => self.write(number, host, usize::from(value) % 30_000),
            3 | 4 => self.read(number, host, value.into()),
            5 => {
                let how = script.one_of(&[Shutdown::Write, Shutdown::Write, Shutdown::Read, Shutdown::Both]);
                self.shut_down(number, host, how);
            }
            6 if value > 50_000 => self.close(number, host),
            _ => {
                let span = Duration::from_millis(value.into());
                let on = value & 1 != 0;
                let settings = [
                    Setting::NoDelay(on),
                    Setting::Cork(on),
                    Setting::KeepAlive(on),
                    Setting::KeepIdle(span),
                    Setting::UserTimeout(span),
                    Setting::ReceiveBuffer(value.into()),
                    Setting::SendBuffer(value.into()),
                ];
                let setting = script.one_of(&settings);
                let _refused = self.stacks[host].tcp_set_option(self.now, end.socket, setting);
            }
        }
    }

    fn end_mut(&mut self, number: usize, host: usize) -> Option<&mut End> {
        self.connections.get_mut(number)?.ends[host].as_mut()
    }

    fn write(&mut self, number: usize, host: usize, len: usize) {
        let Some(end) = self.connections[number].ends[host] else { return };
        let bytes = stream(number, host, end.written, len);
        let sent = self.stacks[host].tcp_send(self.now, end.socket, bytes.into());
        let Some(end) = self.connections[number].ends[host].as_mut() else { return };
        match sent {
            Ok(count) => {
                assert!(!end.finished, "written after the end");
                end.written += count as u32;
                self.connections[number].written[host] = end.written;
            }
            Err(Errno::Again | Errno::NotConn | Errno::Pipe) => {}
            Err(_) => end.failed = true,
        }
    }

    /// Reads, and finds what the other end wrote.
    fn read(&mut self, number: usize, host: usize, limit: usize) {
        let Some(end) = self.connections[number].ends[host] else { return };
        if end.ended || limit == 0 {
            return;
        }
        let received = self.stacks[host].tcp_receive(self.now, end.socket, limit);
        let theirs = self.connections[number].written[1 - host];
        let Some(end) = self.end_mut(number, host) else { return };
        match received {
            Ok(payload) if payload.is_empty() => {
                end.ended = true;
                assert!(end.failed || end.read == theirs, "the end after {} of {theirs} bytes", end.read);
            }
            Ok(payload) => {
                let bytes = payload.to_bytes();
                let expected = stream(number, 1 - host, end.read, bytes.len());
                assert!(bytes == expected, "not the peer's bytes at {}", end.read);
                end.read += bytes.len() as u32;
                assert!(end.read <= theirs, "more than was written");
            }
            Err(Errno::Again | Errno::NotConn) => {}
            Err(_) => end.failed = true,
        }
    }

    fn shut_down(&mut self, number: usize, host: usize, how: Shutdown) {
        let Some(end) = self.connections[number].ends[host] else { return };
        let shut = self.stacks[host].tcp_shutdown(self.now, end.socket, how);
        if shut.is_ok()
            && let Some(end) = self.end_mut(number, host)
        {
            end.finished |= how != Shutdown::Read;
            end.ended |= how != Shutdown::Write;
        }
    }

    fn close(&mut self, number: usize, host: usize) {
        let Some(end) = self.connections[number].ends[host].take() else { return };
        let stack = &mut self.stacks[host];
        let connected = stack.tcp_info(end.socket).is_ok_and(|info| info.state != TcpState::SynSent);
        let given_up = stack.tcp_take_error(end.socket) != Ok(None);
        let owes = stack.tcp_queues(end.socket).is_ok_and(|queues| queues.unacknowledged > 0);
        // Its FIN may be given up before it has arrived.
        let impatient = stack.tcp_settings(end.socket).is_ok_and(|settings| settings.user_timeout.is_some());
        let gives_up = given_up || impatient;
        // Unread data, or what still comes, is answered with a reset; who gave up says nothing that could not be lost, and so does an orphan.
        self.connections[number].hasty |= !end.ended || end.failed || gives_up || owes || !connected;
        stack.tcp_close(self.now, end.socket).expect("it is open");
    }

    /// Takes what is sent, and lets the cable do its worst.
    fn pull(&mut self) {
        for from in 0..2 {
            while self.stacks[from].next_event().is_some() {}
            while self.stacks[from].next_ready_port().is_some() {}
            let mut count = 0;
            while let Some(frame) = self.stacks[from].next_frame(0) {
                count += 1;
                assert!(count < 100_000, "it sends without end");
                self.send(from, frame);
            }
        }
    }

    fn send(&mut self, from: usize, frame: Frame) {
        let Conditions { loss, duplication, damage, delay, jitter } = self.conditions[from];
        if self.roll() < loss || self.cable.len() >= CABLE_FRAMES {
            return;
        }
        let copies = if self.roll() < duplication { 2 } else { 1 };
        for _ in 0..copies {
            let mut copy = frame.clone();
            if self.roll() < damage {
                // Whatever it hits in the headers, a checksum or a length finds it.
                let bit = usize::from(self.roll()) % (copy.headers.len() * 8);
                copy.headers.as_mut_slice()[bit / 8] ^= 1 << (bit % 8);
                copy.offload = Default::default();
            }
            let late = Duration::from_micros(u64::from(self.roll()) * u64::from(jitter) * 50);
            self.sent += 1;
            self.cable.insert((self.now + delay + late, self.sent), (1 - from, copy));
        }
    }

    /// Runs what is next until then; false if nothing is.
    fn step(&mut self, until: Instant) -> bool {
        self.pull();
        let arrival = self.cable.keys().next().map(|(at, _)| *at);
        let deadline = self.stacks.iter().filter_map(Stack::next_deadline).min();
        let Some(next) = arrival.into_iter().chain(deadline).min().filter(|next| *next <= until) else {
            return false;
        };
        self.now = self.now.max(next);
        while let Some(entry) = self.cable.first_entry()
            && entry.key().0 <= self.now
        {
            let (to, frame) = entry.remove();
            self.receive(to, frame);
        }
        for stack in &mut self.stacks {
            if stack.next_deadline().is_some_and(|deadline| deadline <= self.now) {
                stack.on_timeout(self.now);
            }
        }
        true
    }

    /// A frame arrives, and is accounted for exactly once.
    fn receive(&mut self, to: usize, frame: Frame) {
        let stack = &mut self.stacks[to];
        let before = Ledger::of(stack);
        stack.receive(self.now, 0, [Received::from(frame)]);
        Ledger::check_one(&before, stack, &String::new);
        self.pull();
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..1000 {
            if !self.step(end) {
                break;
            }
        }
        self.now = self.now.max(end);
        self.settle();
    }

    /// Runs what is due now, which must come to an end.
    fn settle(&mut self) {
        self.pull();
        for host in 0..2 {
            let mut calls = 0;
            while self.stacks[host].next_deadline().is_some_and(|deadline| deadline <= self.now) {
                self.stacks[host].on_timeout(self.now);
                calls += 1;
                assert!(calls < 10_000, "the deadline stays in the past");
            }
        }
        self.pull();
    }

    /// Who has something to deliver has a time at which he will try again.
    fn check_deadlines(&self) {
        let open = self.connections.iter().flat_map(|connection| connection.ends.iter().enumerate());
        for (host, end) in open.filter_map(|(host, end)| Some((host, end.as_ref()?))) {
            let stack = &self.stacks[host];
            let state = stack.tcp_info(end.socket).map(|info| info.state);
            let queues = stack.tcp_queues(end.socket).unwrap_or_default();
            let waits = queues.unacknowledged > 0 && state.is_ok_and(|state| state != TcpState::Closed);
            assert!(
                !waits || stack.next_deadline().is_some(),
                "{} bytes and no deadline",
                queues.unacknowledged
            );
        }
    }

    /// The cable becomes good, everybody reads and writes to the end and closes: nothing may be left.
    fn end(&mut self) {
        let delay = Duration::from_millis(1);
        self.conditions = [Conditions { delay, ..Conditions::default() }; 2];
        for host in 0..2 {
            self.set_mtu(host, 1500);
        }
        let end = self.now + Duration::from_secs(3 * 3600);
        while self.now < end {
            self.accept_all();
            for (number, host) in (0..self.connections.len()).flat_map(|number| [(number, 0), (number, 1)]) {
                self.finish(number, host);
            }
            self.settle();
            self.check_deadlines();
            let idle = self.connections.iter().all(|connection| connection.ends.iter().all(Option::is_none));
            if idle && self.stacks.iter().all(|stack| stack.socket_count() == 1) && self.cable.is_empty() {
                return;
            }
            if !self.step(end) {
                break;
            }
        }
        for (number, connection) in self.connections.iter().enumerate() {
            for (host, end) in
                connection.ends.iter().enumerate().filter_map(|(host, end)| Some((host, end.as_ref()?)))
            {
                let state = self.stacks[host].tcp_info(end.socket).map(|info| info.state);
                let theirs = connection.written[1 - host];
                panic!(
                    "connection {number} at host {host} is {state:?} after {} of {theirs} bytes",
                    end.read
                );
            }
        }
        let left: Vec<u32> = self.stacks.iter().map(Stack::socket_count).collect();
        panic!("{left:?} sockets are left, of which one each listens");
    }

    /// Brings one end further on its way out.
    fn finish(&mut self, number: usize, host: usize) {
        self.read(number, host, 1 << 20);
        let Some(end) = self.connections[number].ends[host] else { return };
        if !end.finished {
            // Nothing must keep the last bytes back.
            let _refused = self.stacks[host].tcp_set_option(self.now, end.socket, Setting::Cork(false));
            self.shut_down(number, host, Shutdown::Write);
        }
        let closed = self.stacks[host].tcp_info(end.socket).is_ok_and(|info| info.state == TcpState::Closed);
        // A reset that was lost is repeated only when something is sent to him who is gone.
        let connection = &self.connections[number];
        let alone = connection.hasty && connection.ends[1 - host].is_none();
        let owes = self.stacks[host].tcp_queues(end.socket).is_ok_and(|queues| queues.unacknowledged > 0);
        if (end.ended && end.finished && !owes) || end.failed || closed || alone {
            self.close(number, host);
        }
    }
}

fn conditions(script: &mut Script<'_>) -> Conditions {
    Conditions {
        loss: script.byte() / 2,
        duplication: script.byte() / 4,
        damage: script.byte() / 8,
        delay: Duration::from_millis(u64::from(script.byte()) + 1),
        jitter: script.byte(),
    }
}
