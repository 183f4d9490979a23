//! TCP between two stacks over a wire that can lose, in virtual time: what every transfer must keep to.

use std::net::SocketAddr;

use bytes::Bytes;
use rumpnet_proto::{AddressChange, Errno, Reply, Request, SocketReport, TcpState};
use rumpnet_stack::{
    Config, Endpoint, Offloads, PortConfig, Shutdown, SocketId, Stack,
    buffer::{Frame, Received},
    time::{Duration, Instant},
};
use rumpnet_wire::ethernet;

/// Two hosts, 10.0.0.1 and 10.0.0.2, on a wire with latency.
struct Pair {
    stacks: [Stack; 2],
    now: Instant,
    latency: Duration,
    /// Frames under way, with the time of their arrival and their receiver.
    wire: std::collections::VecDeque<(Instant, usize, Frame)>,
    /// Which frame, counted from 0 in each direction, is lost.
    loses: fn(usize, usize) -> bool,
    sent: [usize; 2],
}

const HOSTS: [[u8; 4]; 2] = [[10, 0, 0, 1], [10, 0, 0, 2]];

fn host(number: usize, offloads: Offloads) -> Stack {
    let mut stack = Stack::boot(Config::default(), [number as u8; 16], Instant::ZERO);
    let link_address = ethernet::Address([0xb2, 0x0a, 0, 0, 0, number as u8 + 1]);
    let port = PortConfig { offloads, ..PortConfig::ethernet(link_address) };
    stack.create_interface(Instant::ZERO, "virt0", port).expect("a fresh stack has room");
    let change = AddressChange {
        address: std::net::IpAddr::from(HOSTS[number]),
        prefix_len: Some(24),
        broadcast: None,
        peer: None,
        alias: false,
    };
    let request = Request::AddAddress { name: "virt0".into(), change };
    stack.control(Instant::ZERO, request).expect("a good address");
    stack
}

impl Pair {
    fn new(offloads: Offloads, loses: fn(usize, usize) -> bool) -> Self {
        Self {
            stacks: [host(0, offloads), host(1, offloads)],
            now: Instant::from_secs(10),
            latency: Duration::from_millis(5),
            wire: std::collections::VecDeque::new(),
            loses,
            sent: [0; 2],
        }
    }

    fn pull(&mut self) {
        for from in 0..2 {
            while self.stacks[from].next_ready_port().is_some() {}
            while let Some(frame) = self.stacks[from].next_frame(0) {
                let number = self.sent[from];
                self.sent[from] += 1;
                if !(self.loses)(from, number) {
                    self.wire.push_back((self.now + self.latency, 1 - from, frame));
                }
            }
            while self.stacks[from].next_event().is_some() {}
        }
    }

    /// Runs what is next; false if nothing is.
    fn step(&mut self) -> bool {
        self.pull();
        let arrival = self.wire.front().map(|(at, ..)| *at);
        let deadline = self.stacks.iter().filter_map(Stack::next_deadline).min();
        let Some(next) = arrival.into_iter().chain(deadline).min() else { return false };
        self.now = self.now.max(next);
        while let Some((_, to, frame)) = self.wire.pop_front_if(|(at, ..)| *at <= self.now) {
            self.stacks[to].receive(self.now, 0, [Received::from(frame)]);
            self.pull();
        }
        for stack in &mut self.stacks {
            if stack.next_deadline().is_some_and(|deadline| deadline <= self.now) {
                stack.on_timeout(self.now);
            }
        }
        true
    }

    fn run_until(&mut self, mut holds: impl FnMut(&mut [Stack; 2]) -> bool) {
        let end = self.now + Duration::from_secs(600);
        while !holds(&mut self.stacks) {
            assert!(self.step() && self.now < end, "it never happens");
        }
    }

    fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end && self.step() {}
        self.now = self.now.max(end);
    }

    /// A connection from the first host to a listener on the second: both ends of it.
    fn connect(&mut self) -> (SocketId, SocketId) {
        let listener = self.stacks[1].tcp_open().expect("room");
        let address = SocketAddr::from((HOSTS[1], 80));
        self.stacks[1].tcp_bind(listener, address).expect("free");
        self.stacks[1].tcp_listen(listener, 8).expect("bound");
        let client = self.stacks[0].tcp_open().expect("room");
        self.stacks[0].tcp_connect(self.now, client, address).expect("reachable");
        let mut server = None;
        self.run_until(|stacks| {
            server = server.or_else(|| stacks[1].tcp_accept(listener).ok());
            server.is_some() && stacks[0].readiness(Endpoint::Tcp(client)).writable
        });
        assert_eq!(self.stacks[0].tcp_take_error(client), Ok(None));
        (client, server.expect("accepted").0)
    }

    /// Sends `data` one way, and returns it as it was received; the receiver has seen the end.
    fn transfer(&mut self, from: usize, sender: SocketId, receiver: SocketId, data: &[u8]) -> Vec<u8> {
        let (mut left, mut got, mut ended) = (Bytes::copy_from_slice(data), Vec::new(), false);
        let mut now = self.now;
        let end = self.now + Duration::from_secs(3600);
        while !ended {
            while !left.is_empty() {
                match self.stacks[from].tcp_send(now, sender, left.clone()) {
                    Ok(count) => drop(left.split_to(count)),
                    Err(Errno::Again) => break,
                    Err(error) => panic!("{error}"),
                }
                if left.is_empty() {
                    self.stacks[from].tcp_shutdown(now, sender, Shutdown::Write).expect("connected");
                }
            }
            assert!(self.step() && self.now < end, "the transfer stands still at {} bytes", got.len());
            now = self.now;
            loop {
                match self.stacks[1 - from].tcp_receive(now, receiver, 1 << 20) {
                    Ok(payload) if payload.is_empty() => {
                        ended = true;
                        break;
                    }
                    Ok(payload) => got.extend_from_slice(&payload.to_bytes()),
                    Err(Errno::Again) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        got
    }
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|place| (place * 31 + place / 251) as u8).collect()
}

fn never(_from: usize, _number: usize) -> bool {
    false
}

#[test]
fn a_stream_arrives_whole_in_either_direction_with_offloads_and_without() {
    for offloads in [Offloads::ALL, Offloads::NONE] {
        for from in [0, 1] {
            let mut pair = Pair::new(offloads, never);
            let (client, server) = pair.connect();
            let (sender, receiver) = if from == 0 { (client, server) } else { (server, client) };
            let sent = data(3_000_000);
            assert!(pair.transfer(from, sender, receiver, &sent) == sent);
            let retransmitted = pair.stacks[from].counter(rumpnet_proto::Counter::TcpRetransmitted);
            assert_eq!(retransmitted, 0, "nothing is lost, and nothing is sent twice");
        }
    }
}

#[test]
fn a_stream_arrives_whole_whatever_one_frame_is_lost() {
    const LOSES: [fn(usize, usize) -> bool; 8] = [
        |from, number| from == 0 && number == 0,
        |from, number| from == 0 && number == 1,
        |from, number| from == 1 && number == 1,
        |from, number| from == 0 && number == 2,
        |from, number| from == 0 && number == 5,
        |from, number| from == 0 && number == 30,
        |from, number| from == 1 && number == 7,
        |from, number| from == 1 && number == 20,
    ];
    for (case, loses) in LOSES.into_iter().enumerate() {
        let mut pair = Pair::new(Offloads::NONE, loses);
        let (client, server) = pair.connect();
        let sent = data(200_000);
        assert!(pair.transfer(0, client, server, &sent) == sent, "case {case}");
    }
}

#[test]
fn a_stream_arrives_whole_through_steady_loss_in_both_directions() {
    const LOSES: [fn(usize, usize) -> bool; 4] = [
        |_, number| number % 100 == 99,
        |_, number| number % 10 == 9,
        |from, number| from == 0 && number % 7 < 2,
        |from, number| (number * 2_654_435_761 + from).is_multiple_of(5),
    ];
    for (case, loses) in LOSES.into_iter().enumerate() {
        for offloads in [Offloads::ALL, Offloads::NONE] {
            let mut pair = Pair::new(offloads, loses);
            let (client, server) = pair.connect();
            let sent = data(500_000);
            assert!(pair.transfer(0, client, server, &sent) == sent, "case {case}");
        }
    }
}

#[test]
fn both_ends_close_and_nothing_is_left_after_time_wait() {
    let mut pair = Pair::new(Offloads::ALL, never);
    let (client, server) = pair.connect();
    pair.stacks[0].tcp_close(pair.now, client).expect("open");
    let now = pair.now;
    let mut closed = false;
    pair.run_until(|stacks| {
        let at_end = stacks[1].tcp_receive(now, server, 9).is_ok_and(|payload| payload.is_empty());
        if at_end && !closed {
            stacks[1].tcp_close(now, server).expect("open");
            closed = true;
        }
        closed
    });
    pair.run_for(Duration::from_secs(1));
    assert_eq!(
        (pair.stacks[0].socket_count(), pair.stacks[1].socket_count()),
        (1, 1),
        "TIME-WAIT, and the listener"
    );
    pair.run_for(Duration::from_secs(61));
    assert_eq!((pair.stacks[0].socket_count(), pair.stacks[1].socket_count()), (0, 1));
}

#[test]
fn a_port_without_a_listener_refuses_and_a_silent_host_times_out() {
    let mut pair = Pair::new(Offloads::ALL, never);
    let client = pair.stacks[0].tcp_open().expect("room");
    pair.stacks[0].tcp_connect(pair.now, client, (HOSTS[1], 81).into()).expect("reachable");
    pair.run_until(|stacks| stacks[0].readiness(Endpoint::Tcp(client)).error);
    assert_eq!(pair.stacks[0].tcp_take_error(client), Ok(Some(Errno::ConnRefused)));
    let mut pair = Pair::new(Offloads::ALL, |from, number| from == 1 && number > 3);
    let client = pair.stacks[0].tcp_open().expect("room");
    pair.stacks[0].tcp_connect(pair.now, client, (HOSTS[1], 81).into()).expect("reachable");
    let began = pair.now;
    pair.run_until(|stacks| stacks[0].readiness(Endpoint::Tcp(client)).error);
    let error = pair.stacks[0].tcp_take_error(client);
    assert!(matches!(error, Ok(Some(Errno::TimedOut | Errno::ConnRefused))), "{error:?}");
    assert!(pair.now - began <= Duration::from_secs(128));
}

#[test]
fn a_reader_that_stops_stops_the_sender_and_goes_on_with_it() {
    let mut pair = Pair::new(Offloads::ALL, never);
    let (client, server) = pair.connect();
    let sent = data(20_000_000);
    let mut left = Bytes::from(sent.clone());
    for _ in 0..3000 {
        if let Ok(count) = pair.stacks[0].tcp_send(pair.now, client, left.clone()) {
            left.advance_by(count);
        }
        pair.step();
    }
    pair.run_for(Duration::from_secs(100));
    let held = receive_queue(&mut pair.stacks[1], pair.now);
    assert!(held <= 1 << 20, "the window holds the sender back at {held}");
    let mut got = Vec::new();
    let now = pair.now;
    while let Ok(payload) = pair.stacks[1].tcp_receive(now, server, 1 << 20) {
        got.extend_from_slice(&payload.to_bytes());
    }
    let before = sent.len() - left.len();
    let rest = pair.transfer(0, client, server, &left);
    got.extend(rest);
    assert!(got == sent, "{before} of {} sent before", sent.len());
}

/// What the connection of a host holds for its reader, as netstat shows it.
fn receive_queue(stack: &mut Stack, now: Instant) -> u32 {
    let dump = stack.control(now, Request::Sockets { after: None });
    let Ok(Reply::Sockets { sockets, next: None }) = dump else { panic!("a short dump: {dump:?}") };
    let connected = |socket: &&SocketReport| socket.state == Some(TcpState::Established);
    sockets.iter().find(connected).expect("a connection").receive_queue
}

trait AdvanceBy {
    fn advance_by(&mut self, count: usize);
}

impl AdvanceBy for Bytes {
    fn advance_by(&mut self, count: usize) {
        drop(self.split_to(count));
    }
}

#[test]
fn both_ends_of_one_host_talk_over_its_loopback() {
    let mut stack = host(0, Offloads::ALL);
    let now = Instant::from_secs(1);
    let listener = stack.tcp_open().expect("room");
    let address = stack.tcp_bind(listener, "127.0.0.1:0".parse().expect("a literal")).expect("free");
    stack.tcp_listen(listener, 1).expect("bound");
    let client = stack.tcp_open().expect("room");
    stack.tcp_connect(now, client, address).expect("reachable");
    let (server, peer) = stack.tcp_accept(listener).expect("connected within the call");
    assert_eq!(Some(peer), stack.tcp_addresses(client).expect("open").0);
    assert_eq!(stack.tcp_send(now, client, Bytes::from_static(b"hello")), Ok(5));
    let payload = stack.tcp_receive(now, server, 99).expect("arrived within the call");
    assert_eq!(&payload.to_bytes()[..], b"hello");
}
