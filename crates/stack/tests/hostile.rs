//! Peers that keep to no rule: what they send costs them alone.
//!
//! Not here: each counter and reason by itself (`counters_tcp`), floods (`flood`).

use rumpnet_proto::{Counter, Errno, Request};
use rumpnet_stack::{Config, MemoryLimits, PortConfig, Shutdown, SocketId, TcpOption as Setting};
use rumpnet_wire::{
    arp, ethernet,
    ip::Protocol,
    ipv4,
    tcp::{Flags, Header, Options, Seq, TcpOption, Timestamps},
};

mod outside;

use outside::{OUR_MAC, OURS, Outside, THEIRS, header, quiet};

/// A listener at port 80, and a stranger who talks to it by hand.
struct Stranger {
    outside: Outside,
    listener: SocketId,
    /// Handshakes that he has begun; each is further on in the space of numbers.
    knocks: u32,
}

/// One of his connections: his next number and ours, and what every segment of it bears.
#[derive(Clone, Copy)]
struct Line {
    port: u16,
    seq: u32,
    ack: u32,
    options: Options,
}

/// The TCP header of a frame that we sent.
fn read(frame: &[u8]) -> Header {
    let (_, rest) = ethernet::Header::parse(frame).expect("a frame");
    let (header, rest) = ipv4::Header::parse(rest).expect("a packet");
    Header::parse(&rest[..header.payload_len()]).expect("a segment").0
}

impl Stranger {
    fn new(config: Config) -> Self {
        let mut outside = Outside::with(config, PortConfig::ethernet(OUR_MAC));
        let listener = outside.stack.tcp_open().expect("room");
        outside.stack.tcp_bind(listener, ([0, 0, 0, 0], 80).into()).expect("free");
        outside.stack.tcp_listen(listener, 4).expect("bound");
        outside.forget();
        Self { outside, listener, knocks: 0 }
    }

    /// The first two segments of a handshake.
    fn knock(&mut self, port: u16, options: &[TcpOption<'_>]) -> Line {
        let mut told = Options::EMPTY;
        options.iter().for_each(|option| told.push(option).expect("room"));
        let seq = 1000 + self.knocks * 10_000;
        self.knocks += 1;
        let mut line = Line { port, seq, ack: 0, options: told };
        self.outside.forget();
        self.say(&line, Flags::SYN, b"", |head| head.sequence = Seq(seq - 1));
        let answer = read(self.outside.sent().first().expect("an answer"));
        line.ack = answer.sequence.0.wrapping_add(1);
        line
    }

    fn connect(&mut self, port: u16, options: &[TcpOption<'_>]) -> (Line, SocketId) {
        let line = self.knock(port, options);
        self.say(&line, Flags::ACK, b"", |_| ());
        let (socket, _) = self.outside.stack.tcp_accept(self.listener).expect("connected");
        self.outside.forget();
        (line, socket)
    }

    fn say(&mut self, line: &Line, flags: Flags, payload: &[u8], change: impl FnOnce(&mut Header)) {
        let mut head = Header {
            sequence: Seq(line.seq),
            acknowledgment: Seq(line.ack),
            options: line.options,
            ..Header::new(line.port, 80, flags)
        };
        change(&mut head);
        let network = header(Protocol::TCP, 0);
        let mut packet = vec![0; Header::MAX_PACKET_HEADERS + payload.len()];
        let len = head.emit_packet(network, payload, &mut packet).expect("room");
        self.outside.receive(outside::ipv4(network, &packet[network.header_len()..len]));
    }
}

#[test]
fn a_connection_that_was_reset_gives_its_address_back_once() {
    let mut stranger = Stranger::new(quiet());
    let (line, socket) = stranger.connect(5000, &[]);
    stranger.say(&line, Flags::RST, b"", |_| ());
    let stack = &mut stranger.outside.stack;
    for on in [true, false] {
        stack.tcp_set_option(stranger.outside.now, socket, Setting::NoDelay(on)).expect("still open");
    }
    let second = stack.tcp_open().expect("room");
    assert_eq!(stack.tcp_bind(second, ([0, 0, 0, 0], 80).into()), Err(Errno::AddrInUse), "one listens there");
}

#[test]
fn a_handshake_completed_by_data_that_cannot_be_kept_is_accepted_all_the_same() {
    let memory = MemoryLimits { low: 0, pressure: 0, max: 1 };
    let mut stranger = Stranger::new(Config { memory, ..quiet() });
    let (line, _hoarder) = stranger.connect(5000, &[]);
    stranger.say(&line, Flags::ACK, b"unread", |_| ());
    let late = stranger.knock(5001, &[]);
    stranger.outside.forget();
    stranger.say(&late, Flags::ACK, b"early", |head| head.sequence += 100);
    assert_eq!(stranger.outside.stack.counter(Counter::TcpAccepted), 2);
    assert!(stranger.outside.stack.tcp_accept(stranger.listener).is_ok());
}

#[test]
fn a_peer_without_sack_that_repeats_itself_for_ever_overflows_nothing() {
    let mut stranger = Stranger::new(quiet());
    stranger.outside.control(Request::SetMtu { name: "virt0".into(), mtu: 65_521 });
    let (line, socket) = stranger.connect(5000, &[TcpOption::MaximumSegmentSize(65_481)]);
    let sent = stranger.outside.stack.tcp_send(stranger.outside.now, socket, vec![7; 60_000].into());
    assert_eq!(sent, Ok(60_000));
    stranger.outside.sent();
    for _ in 0..66_000 {
        stranger.say(&line, Flags::ACK, b"", |head| head.window = 65_535);
        stranger.outside.sent();
    }
    stranger.say(&line, Flags::ACK, b"", |head| head.acknowledgment += 1000);
    assert_eq!(stranger.outside.stack.tcp_queues(socket).expect("open").unacknowledged, 59_000);
}

#[test]
fn a_clock_beside_an_impossible_acknowledgment_is_not_believed() {
    let mut stranger = Stranger::new(quiet());
    let clock = |value| Timestamps { value, echo: 0 };
    let (mut line, socket) = stranger.connect(5000, &[TcpOption::Timestamps(clock(1000))]);
    // Of somebody who has guessed a number of the window, but not ours.
    stranger.say(&line, Flags::ACK, b"forged", |head| {
        head.options = Options::from_timestamps(clock(1 << 30));
        head.acknowledgment += 1_000_000;
    });
    line.options = Options::from_timestamps(clock(1001));
    stranger.say(&line, Flags::ACK, b"honest", |_| ());
    let stack = &mut stranger.outside.stack;
    let received = stack.tcp_receive(stranger.outside.now, socket, 100).map(|payload| payload.to_bytes());
    assert_eq!(received.as_deref(), Ok(&b"honest"[..]));
}

#[test]
fn a_new_connection_in_the_place_of_one_in_time_wait_leaves_what_was_not_read() {
    let mut stranger = Stranger::new(quiet());
    let (mut line, socket) = stranger.connect(5000, &[]);
    stranger.outside.stack.tcp_shutdown(stranger.outside.now, socket, Shutdown::Write).expect("connected");
    assert!(read(&stranger.outside.sent()[0]).flags.contains(Flags::FIN));
    line.ack = line.ack.wrapping_add(1);
    stranger.say(&line, Flags::ACK | Flags::FIN, b"last words", |_| ());
    let again = stranger.knock(5000, &[]);
    assert_eq!(again.port, 5000);
    let stack = &mut stranger.outside.stack;
    let received = stack.tcp_receive(stranger.outside.now, socket, 100).map(|payload| payload.to_bytes());
    assert_eq!(received.as_deref(), Ok(&b"last words"[..]));
}

#[test]
fn what_was_left_to_a_peer_who_never_opens_his_window_goes_when_memory_is_short() {
    let memory = MemoryLimits { low: 10_000, pressure: 20_000, max: 30_000 };
    let mut stranger = Stranger::new(Config { memory, ..quiet() });
    let (line, socket) = stranger.connect(5000, &[]);
    stranger.say(&line, Flags::ACK, b"", |head| head.window = 0);
    while stranger.outside.stack.tcp_send(stranger.outside.now, socket, vec![7; 1000].into()).is_ok() {}
    stranger.outside.stack.tcp_close(stranger.outside.now, socket).expect("open");
    let (mut other, _) = stranger.connect(5001, &[]);
    for _ in 0..4 {
        stranger.say(&other, Flags::ACK, &[7; 1000], |_| ());
        other.seq += 1000;
    }
    let left = memory.max - stranger.outside.stack.memory().0;
    assert!(left < 8000, "{left} would be enough for others");
    // Each probe is answered, so that he is not silent.
    for _ in 0..100 {
        stranger.outside.receive(outside::arp(arp::Operation::Request, THEIRS, OURS));
        stranger.outside.wait(10);
        let sent = stranger.outside.sent();
        let segments = sent.iter().filter(|frame| frame[12..14] == [8, 0]).map(|frame| read(frame));
        if segments.filter(|head| head.destination_port == 5000).count() > 0 {
            stranger.say(&line, Flags::ACK, b"", |head| head.window = 0);
        }
    }
    let (used, _) = stranger.outside.stack.memory();
    assert!(used < memory.low + 10_000, "{used}");
}

#[test]
fn connections_in_time_wait_leave_room_for_new_ones() {
    let mut stranger = Stranger::new(Config { sockets: 64, ..quiet() });
    for port in 6000..6100 {
        let (mut line, socket) = stranger.connect(port, &[]);
        stranger.outside.stack.tcp_close(stranger.outside.now, socket).expect("open");
        stranger.outside.sent();
        line.ack = line.ack.wrapping_add(1);
        stranger.say(&line, Flags::ACK | Flags::FIN, b"", |_| ());
        let last = read(stranger.outside.sent().first().expect("an acknowledgment of the FIN"));
        assert_eq!((last.flags, last.acknowledgment), (Flags::ACK, Seq(line.seq + 1)));
    }
    let stack = &stranger.outside.stack;
    let cut = stack.counter(Counter::TcpTimeWaitsCut);
    assert_eq!((u64::from(stack.socket_count()) + cut, cut > 0), (101, true));
}
