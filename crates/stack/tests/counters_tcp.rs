//! Every counter and every reason of TCP, raised by segments made by hand.

use rumpnet_proto::{Counter, DropReason, Errno, Request, TrafficReport};
use rumpnet_stack::{
    Config, Endpoint, MemoryLimits, MtuDiscovery, Offloads, PortConfig, Shutdown, SocketId, time::Duration,
};
use rumpnet_wire::{
    arp::Operation,
    ethernet::{self, EtherType},
    icmpv4::{Message, UnreachableCode},
    ip::Protocol,
    ipv4,
    tcp::{Flags, Header, Options, SackBlock, SackBlocks, Seq, TcpOption, Timestamps},
};

mod outside;

use outside::{OUR_MAC, OURS, Outside, THEIRS, header, message, packet, quiet};

const DELIVERED: [Counter; 2] = [Counter::IpReceived, Counter::IpDelivered];
const ARRIVED: [Counter; 3] = [Counter::IpReceived, Counter::IpDelivered, Counter::TcpReceived];
const LEFT: [Counter; 2] = [Counter::TcpSent, Counter::IpSent];
const RESET: [Counter; 2] = [Counter::TcpResetsSent, Counter::IpSent];

/// A listener at port 80, and a stranger's connection with it at which he speaks the next number.
struct Peer {
    outside: Outside,
    listener: SocketId,
    socket: Option<SocketId>,
    port: u16,
    /// His next number, and ours.
    seq: u32,
    ack: u32,
    options: Options,
}

/// A segment's header from the stranger.
fn head(port: u16, seq: u32, ack: u32, flags: Flags) -> Header {
    Header { sequence: Seq(seq), acknowledgment: Seq(ack), ..Header::new(port, 80, flags) }
}

/// Its bytes, with a good checksum.
fn bytes(head: &Header, payload: &[u8]) -> Vec<u8> {
    let network = header(Protocol::TCP, 0);
    let mut packet = vec![0; Header::MAX_PACKET_HEADERS + payload.len()];
    let len = head.emit_packet(network, payload, &mut packet).expect("room");
    packet[network.header_len()..len].to_vec()
}

fn frame(segment: &[u8]) -> Vec<u8> {
    outside::ipv4(header(Protocol::TCP, 0), segment)
}

/// The TCP header of a frame that we sent.
fn read(frame: &[u8]) -> Header {
    let (_, rest) = ethernet::Header::parse(frame).expect("a frame");
    let (header, rest) = ipv4::Header::parse(rest).expect("a packet");
    Header::parse(&rest[..header.payload_len()]).expect("a segment").0
}

fn all(parts: &[&[Counter]]) -> Vec<Counter> {
    parts.concat()
}

impl Peer {
    fn listening(config: Config) -> Self {
        Self::at(Outside::with(config, PortConfig::ethernet(OUR_MAC)))
    }

    fn at(mut outside: Outside) -> Self {
        let listener = outside.stack.tcp_open().expect("room");
        outside.stack.tcp_bind(listener, ([0, 0, 0, 0], 80).into()).expect("free");
        outside.stack.tcp_listen(listener, 4).expect("bound");
        Self { outside, listener, socket: None, port: 5000, seq: 1000, ack: 0, options: Options::EMPTY }
    }

    /// A connection whose SYN had these options.
    fn connected_with(options: &[TcpOption<'_>]) -> Self {
        Self::listening(quiet()).connect(options)
    }

    fn connect(self, options: &[TcpOption<'_>]) -> Self {
        let mut peer = self;
        options.iter().for_each(|option| peer.options.push(option).expect("room"));
        let syn = Header { options: peer.options, ..head(5000, 999, 0, Flags::SYN) };
        peer.outside.receive(frame(&bytes(&syn, b"")));
        let answer = read(peer.outside.sent().first().expect("an answer"));
        assert_eq!(answer.flags, Flags::SYN | Flags::ACK);
        peer.ack = answer.sequence.0.wrapping_add(1);
        peer.say(Flags::ACK, b"");
        peer.socket = Some(peer.outside.stack.tcp_accept(peer.listener).expect("connected").0);
        peer.outside.forget();
        peer
    }

    fn connected() -> Self {
        Self::connected_with(&[])
    }

    fn socket(&self) -> SocketId {
        self.socket.expect("connected")
    }

    /// The stranger's next segment, with what may be different in it.
    fn say_with(&mut self, flags: Flags, payload: &[u8], change: impl FnOnce(&mut Header)) {
        let mut head = head(self.port, self.seq, self.ack, flags);
        if !self.options.as_bytes().is_empty() {
            head.options = self.options;
        }
        change(&mut head);
        self.outside.receive(frame(&bytes(&head, payload)));
    }

    fn say(&mut self, flags: Flags, payload: &[u8]) {
        self.say_with(flags, payload, |_| ());
        self.seq += payload.len() as u32;
    }

    fn send(&mut self, payload: &'static [u8]) {
        let (now, socket) = (self.outside.now, self.socket());
        self.outside.stack.tcp_send(now, socket, payload.into()).expect("room");
    }
}

#[test]
fn a_handshake_data_and_the_answer_are_counted() {
    let mut peer = Peer::listening(quiet());
    peer.outside.forget();
    peer.outside.receive(frame(&bytes(&head(5000, 999, 0, Flags::SYN), b"")));
    peer.ack = read(&peer.outside.sent()[0]).sequence.0.wrapping_add(1);
    peer.outside.raises(&all(&[&ARRIVED, &LEFT]), &[]);
    peer.say(Flags::ACK, b"");
    peer.outside.raises(&all(&[&ARRIVED, &[Counter::TcpAccepted]]), &[]);
    peer.say(Flags::ACK | Flags::PSH, b"hello");
    assert_eq!(peer.outside.sent().len(), 1, "the first segments are acknowledged at once");
    peer.outside.raises(&all(&[&ARRIVED, &LEFT]), &[]);
}

#[test]
fn our_own_attempt_is_counted_when_it_begins_and_when_it_is_answered() {
    let mut outside = Outside::new();
    let socket = outside.stack.tcp_open().expect("room");
    outside.stack.tcp_connect(outside.now, socket, (THEIRS, 5000).into()).expect("reachable");
    outside.raises(&[Counter::TcpConnecting], &[]);
    let syn = read(&outside.sent()[0]);
    outside.raises(&LEFT, &[]);
    let mut answer = head(5000, 7, syn.sequence.0.wrapping_add(1), Flags::SYN | Flags::ACK);
    answer.destination_port = syn.source_port;
    outside.receive(frame(&bytes(&answer, b"")));
    outside.raises(&all(&[&ARRIVED, &[Counter::TcpConnected]]), &[]);
    outside.sent();
    outside.raises(&LEFT, &[]);
}

#[test]
fn headers_that_cannot_be_are_told_apart() {
    let mut peer = Peer::connected();
    let good = bytes(&head(5000, peer.seq, peer.ack, Flags::ACK), b"x");
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bad = good.clone();
        change(&mut bad);
        frame(&bad)
    };
    for (frame, reason) in [
        (frame(&good[..19]), DropReason::TcpMalformed),
        (changed(&|bad| bad[12] = 0x40), DropReason::TcpMalformed),
        (changed(&|bad| bad[12] = 0xf0), DropReason::TcpMalformed),
        (changed(&|bad| bad[20] ^= 1), DropReason::TcpChecksum),
    ] {
        peer.outside.receive(frame);
        peer.outside.raises(&ARRIVED, &[reason]);
    }
    peer.say_with(Flags::ACK, b"", |head| head.source_port = 0);
    peer.outside.raises(&ARRIVED, &[DropReason::TcpMalformed]);
}

#[test]
fn what_belongs_to_nothing_is_answered_with_a_reset_but_a_reset_is_not() {
    let mut peer = Peer::listening(quiet());
    peer.outside.forget();
    for (flags, port) in [(Flags::SYN, 81), (Flags::ACK, 81), (Flags::ACK, 80)] {
        peer.say_with(flags, b"", |head| head.destination_port = port);
        peer.outside.raises(&all(&[&ARRIVED, &RESET]), &[DropReason::TcpNoConnection]);
    }
    peer.say_with(Flags::RST, b"", |head| head.destination_port = 81);
    peer.outside.raises(&ARRIVED, &[DropReason::TcpNoConnection]);
    peer.say(Flags::FIN, b"");
    peer.outside.raises(&ARRIVED, &[DropReason::TcpUnexpected]);
}

#[test]
fn a_reset_counts_at_the_expected_number_only_and_a_late_syn_never() {
    let mut peer = Peer::connected();
    peer.say_with(Flags::RST, b"", |head| head.sequence += 1);
    peer.outside.sent();
    let challenged = all(&[&ARRIVED, &[Counter::TcpChallengesSent], &LEFT]);
    peer.outside.raises(&challenged, &[DropReason::TcpResetUnacceptable]);
    peer.outside.wait(1);
    peer.say(Flags::SYN, b"");
    peer.outside.sent();
    peer.outside.raises(&challenged, &[DropReason::TcpSynUnacceptable]);
    peer.outside.wait(1);
    peer.say_with(Flags::ACK, b"", |head| head.acknowledgment += 1);
    peer.outside.sent();
    peer.outside.raises(&challenged, &[DropReason::TcpAckUnacceptable]);
    peer.say(Flags::RST, b"");
    peer.outside.raises(&ARRIVED, &[]);
}

#[test]
fn one_connection_is_challenged_twice_a_second_at_most() {
    let mut peer = Peer::connected();
    peer.say(Flags::SYN, b"");
    peer.outside.sent();
    peer.outside.forget();
    peer.say(Flags::SYN, b"");
    assert!(peer.outside.sent().is_empty());
    let spared = all(&[&ARRIVED, &[Counter::TcpAnswersSpared]]);
    peer.outside.raises(&spared, &[DropReason::TcpSynUnacceptable]);
}

#[test]
fn two_sides_that_disagree_about_their_numbers_do_not_answer_each_other_for_ever() {
    let mut peer = Peer::connected();
    let stray = |peer: &mut Peer| peer.say_with(Flags::ACK, b"", |head| head.sequence += 0x4000_0000);
    stray(&mut peer);
    peer.outside.sent();
    peer.outside.raises(&all(&[&ARRIVED, &LEFT]), &[DropReason::TcpOutOfWindow]);
    stray(&mut peer);
    assert!(peer.outside.sent().is_empty());
    let spared = all(&[&ARRIVED, &[Counter::TcpAnswersSpared]]);
    peer.outside.raises(&spared, &[DropReason::TcpOutOfWindow]);
    // Text is not part of such a quarrel, and he who sent it waits for its acknowledgment.
    peer.say_with(Flags::ACK, b"x", |head| head.sequence += 0x4000_0000);
    peer.outside.sent();
    peer.outside.raises(&all(&[&ARRIVED, &LEFT]), &[DropReason::TcpOutOfWindow]);
}

#[test]
fn challenges_of_all_connections_are_limited_in_rate_and_nobody_can_tell_where() {
    let mut peer = Peer::listening(quiet());
    let mut limits = Vec::new();
    for second in 0..3 {
        let mut sent = 0;
        for number in 0..1600 {
            let port = 1000 + second * 1600 + number;
            let syn = Header { source_port: port, ..head(port, 999, 0, Flags::SYN) };
            peer.outside.receive(frame(&bytes(&syn, b"")));
            let ack = read(&peer.outside.sent()[0]).sequence.0.wrapping_add(1);
            peer.outside.receive(frame(&bytes(&head(port, 1000, ack, Flags::ACK), b"")));
            peer.outside.stack.tcp_accept(peer.listener).expect("connected");
            peer.outside.receive(frame(&bytes(&head(port, 1000, ack, Flags::SYN), b"")));
            sent += peer.outside.sent().len();
        }
        assert!((500..1500).contains(&sent), "{sent}");
        limits.push(sent);
        peer.outside.wait(1);
    }
    assert!(limits.iter().any(|limit| *limit != limits[0]), "{limits:?}");
    assert!(peer.outside.stack.counter(Counter::TcpChallengesSpared) > 0);
}

#[test]
fn a_peer_that_acknowledges_none_of_many_small_segments_gets_no_more() {
    let mut peer = Peer::connected_with(&[TcpOption::MaximumSegmentSize(1460)]);
    peer.options = Options::EMPTY;
    let (now, socket) = (peer.outside.now, peer.socket());
    peer.outside.stack.tcp_set_option(now, socket, rumpnet_stack::TcpOption::NoDelay(true)).expect("known");
    let room = rumpnet_stack::TcpOption::SendBuffer(1 << 20);
    peer.outside.stack.tcp_set_option(now, socket, room).expect("in range");
    for _ in 0..9000 {
        peer.send(b"x");
        peer.outside.sent();
    }
    let info = peer.outside.stack.tcp_info(socket).expect("connected");
    assert_eq!(info.path.in_flight, 8192);
    assert!(peer.outside.stack.counter(Counter::TcpScoreboardFull) > 0);
}

#[test]
fn what_came_before_and_what_lies_outside_of_the_window_is_dropped_and_acknowledged() {
    let mut peer = Peer::connected();
    peer.say(Flags::ACK, b"hello");
    peer.outside.forget();
    peer.say_with(Flags::ACK, b"hello", |head| head.sequence = Seq(1000));
    peer.outside.sent();
    peer.outside.raises(&all(&[&ARRIVED, &LEFT]), &[DropReason::TcpDuplicate]);
    peer.say_with(Flags::ACK, b"x", |head| head.sequence += 0x4000_0000);
    peer.outside.sent();
    peer.outside.raises(&all(&[&ARRIVED, &LEFT]), &[DropReason::TcpOutOfWindow]);
    peer.say(Flags::PSH, b"");
    peer.outside.raises(&ARRIVED, &[DropReason::TcpUnexpected]);
}

#[test]
fn the_acknowledgment_in_a_repeated_segment_counts() {
    let mut peer = Peer::connected();
    peer.say(Flags::ACK, b"hello");
    peer.send(b"answer");
    peer.outside.forget();
    // He repeats himself, since our acknowledgment was lost, but has heard us.
    peer.say_with(Flags::ACK, b"hello", |head| {
        head.sequence = Seq(1000);
        head.acknowledgment += 6;
    });
    peer.outside.sent();
    peer.outside.raises(&all(&[&ARRIVED, &LEFT]), &[DropReason::TcpDuplicate]);
    let info = peer.outside.stack.tcp_info(peer.socket()).expect("connected");
    assert_eq!(info.path.in_flight, 0, "nothing is to be sent again");
}

#[test]
fn data_with_sack_blocks_still_fits_the_path() {
    let port = PortConfig { offloads: Offloads::NONE, ..PortConfig::ethernet(OUR_MAC) };
    let agreed = [TcpOption::MaximumSegmentSize(1460), TcpOption::SackPermitted];
    let mut peer = Peer::at(Outside::with(quiet(), port)).connect(&agreed);
    peer.options = Options::EMPTY;
    for gap in [10, 30] {
        peer.say_with(Flags::ACK, b"x", |head| head.sequence += gap);
    }
    peer.outside.forget();
    peer.send(&[7; 4000]);
    let sent = peer.outside.sent();
    // Two blocks and their head take twenty bytes from the payload of a full segment.
    let lens: Vec<_> = sent.iter().map(Vec::len).collect();
    assert_eq!(lens[..2], [1514, 1514]);
    assert_eq!(read(&sent[0]).options.as_bytes().len(), 20);
    assert_eq!(peer.outside.stack.drops(DropReason::Ipv4MessageSize), 0);
}

#[test]
fn urgent_pointers_that_are_new_and_those_that_were_displaced_are_counted() {
    let mut peer = Peer::connected();
    let urgent = Flags::ACK | Flags::URG;
    let say = |peer: &mut Peer, pointer| peer.say_with(urgent, b"", |head| head.urgent = pointer);
    say(&mut peer, 100);
    peer.outside.raises(&all(&[&ARRIVED, &[Counter::TcpUrgentReceived]]), &[]);
    say(&mut peer, 100);
    peer.outside.raises(&ARRIVED, &[]);
    say(&mut peer, 101);
    let both = [Counter::TcpUrgentReceived, Counter::TcpUrgentDisplaced];
    peer.outside.raises(&all(&[&ARRIVED, &both]), &[]);
}

#[test]
fn what_lies_beyond_a_fin_is_nothing_that_the_peer_said() {
    for early in [true, false] {
        let mut peer = Peer::connected();
        let beyond = |peer: &mut Peer| peer.say_with(Flags::ACK, b"beyond", |head| head.sequence += 10);
        if early {
            beyond(&mut peer);
        }
        // "hello" is missing, then come "world" and the FIN, in whose place "beyond" would begin.
        peer.say_with(Flags::ACK | Flags::FIN, b"world", |head| head.sequence += 5);
        if !early {
            beyond(&mut peer);
            assert_eq!(peer.outside.stack.drops(DropReason::TcpClosed), 1);
        }
        peer.say(Flags::ACK, b"hello");
        let (now, socket) = (peer.outside.now, peer.socket());
        let heard = peer.outside.stack.tcp_receive(now, socket, 100).expect("there");
        assert_eq!(&heard.to_bytes()[..], b"helloworld");
        let end = peer.outside.stack.tcp_receive(now, socket, 100).expect("the end");
        assert!(end.is_empty());
        // The FIN is acknowledged, and nothing beyond.
        let sent = peer.outside.sent();
        assert_eq!(read(sent.last().expect("an answer")).acknowledgment, Seq(1011));
    }
}

#[test]
fn an_old_timestamp_is_refused() {
    let now = TcpOption::Timestamps(Timestamps { value: 5000, echo: 0 });
    let mut peer = Peer::connected_with(&[now]);
    let old = TcpOption::Timestamps(Timestamps { value: 4999, echo: 0 });
    peer.options = Options::EMPTY;
    peer.options.push(&old).expect("room");
    peer.say(Flags::ACK, b"x");
    peer.outside.sent();
    peer.outside.raises(&all(&[&ARRIVED, &LEFT]), &[DropReason::TcpTimestampOld]);
}

#[test]
fn data_for_a_socket_that_is_closed_resets_its_sender() {
    let mut peer = Peer::connected();
    peer.outside.stack.tcp_close(peer.outside.now, peer.socket()).expect("open");
    peer.outside.forget();
    peer.say(Flags::ACK, b"anybody?");
    peer.outside.raises(&all(&[&ARRIVED, &RESET]), &[DropReason::TcpClosed]);
}

#[test]
fn too_many_gaps_are_refused() {
    let mut peer = Peer::connected();
    for number in 0..256 {
        peer.say_with(Flags::ACK, b"x", |head| head.sequence += 2 + 2 * number);
    }
    peer.outside.forget();
    peer.say_with(Flags::ACK, b"x", |head| head.sequence += 2000);
    peer.outside.sent();
    peer.outside.raises(&all(&[&ARRIVED, &LEFT]), &[DropReason::TcpReassemblyFull]);
}

#[test]
fn a_full_listener_turns_connections_away() {
    let mut peer = Peer::listening(quiet());
    for port in 6000..6004 {
        peer.outside.receive(frame(&bytes(&head(port, 999, 0, Flags::SYN), b"")));
        let answer = read(peer.outside.sent().first().expect("an answer"));
        let ack = answer.sequence.0.wrapping_add(1);
        peer.outside.receive(frame(&bytes(&head(port, 1000, ack, Flags::ACK), b"")));
    }
    peer.outside.forget();
    peer.port = 7000;
    peer.say(Flags::SYN, b"");
    peer.outside.raises(&ARRIVED, &[DropReason::TcpListenQueueFull]);
}

#[test]
fn too_many_handshakes_are_answered_with_cookies() {
    let mut peer = Peer::listening(quiet());
    for port in 6000..6016 {
        peer.port = port;
        peer.say(Flags::SYN, b"");
    }
    peer.outside.sent();
    peer.outside.forget();
    peer.port = 7000;
    peer.say(Flags::SYN, b"");
    peer.outside.raises(&all(&[&ARRIVED, &[Counter::TcpCookiesSent, Counter::IpSent]]), &[]);
}

#[test]
fn what_is_not_acknowledged_is_sent_again_when_its_time_is_out() {
    let mut peer = Peer::connected();
    peer.send(b"hello");
    peer.outside.sent();
    peer.outside.raises(&LEFT, &[]);
    peer.outside.wait(2);
    assert_eq!(peer.outside.sent().len(), 1);
    // After 200, 400 and 800 ms, in which nobody pulled the port.
    let expired = [Counter::TcpTimeouts; 3];
    peer.outside.raises(&all(&[&LEFT, &expired, &[Counter::TcpRetransmitted]]), &[]);
}

#[test]
fn a_time_out_that_an_older_echo_shows_to_be_needless_is_taken_back() {
    let stamp = |value, echo| TcpOption::Timestamps(Timestamps { value, echo });
    let mut peer = Peer::connected_with(&[stamp(5000, 0)]);
    peer.send(b"hello");
    let sent = read(&peer.outside.sent()[0]).options.timestamps().expect("agreed on").value;
    peer.outside.wait(1);
    let again = read(&peer.outside.sent()[0]).options.timestamps().expect("agreed on").value;
    assert!(again.wrapping_sub(sent) < 1 << 20 && again != sent);
    peer.outside.forget();
    peer.ack += 5;
    peer.options = Options::EMPTY;
    peer.options.push(&stamp(5001, sent)).expect("room");
    peer.say(Flags::ACK, b"");
    peer.outside.raises(&all(&[&ARRIVED, &[Counter::TcpUndoneByEcho]]), &[]);
}

#[test]
fn a_time_out_whose_repetition_came_twice_is_taken_back() {
    let mut peer = Peer::connected_with(&[TcpOption::SackPermitted]);
    peer.send(b"hello");
    peer.outside.sent();
    peer.outside.wait(1);
    assert_eq!(peer.outside.sent().len(), 1);
    peer.outside.forget();
    let mut blocks = SackBlocks::default();
    blocks.push(SackBlock { left: Seq(peer.ack), right: Seq(peer.ack + 5) }).expect("room");
    peer.ack += 5;
    peer.options = Options::EMPTY;
    peer.options.push(&TcpOption::Sack(blocks)).expect("room");
    peer.say(Flags::ACK, b"");
    peer.outside
        .raises(&all(&[&ARRIVED, &[Counter::TcpDuplicatesReported, Counter::TcpUndoneByDuplicates]]), &[]);
}

#[test]
fn a_time_out_after_which_new_data_arrives_is_taken_back() {
    let mut peer = Peer::connected();
    peer.send(&[7; 60_000]);
    peer.outside.sent();
    peer.outside.expire();
    peer.outside.sent();
    peer.outside.forget();
    peer.ack += 1460;
    peer.say(Flags::ACK, b"");
    peer.outside.sent();
    peer.outside.forget();
    peer.ack += 1460;
    peer.say(Flags::ACK, b"");
    peer.outside.raises(&all(&[&ARRIVED, &[Counter::TcpUndoneByNewData]]), &[]);
}

#[test]
fn a_connection_that_has_lost_its_way_says_so_and_waits() {
    let mut peer = Peer::connected();
    peer.send(b"hello");
    peer.outside.control(Request::DeleteAddress { name: "virt0".into(), address: Some(OURS.into()) });
    peer.outside.forget();
    assert!(peer.outside.sent().is_empty());
    peer.outside.wait(2);
    assert!(peer.outside.stack.counter(Counter::TcpUnroutable) > 0);
}

#[test]
fn a_close_with_unread_data_and_an_abort_are_resets() {
    let mut peer = Peer::connected();
    peer.say(Flags::ACK, b"never read");
    peer.outside.forget();
    peer.outside.stack.tcp_close(peer.outside.now, peer.socket()).expect("open");
    let reset = read(&peer.outside.sent()[0]);
    assert_eq!((reset.flags, reset.sequence), (Flags::RST | Flags::ACK, Seq(peer.ack)));
    peer.outside.raises(&RESET, &[]);
}

#[test]
fn a_path_that_is_too_narrow_is_followed_without_a_time_out() {
    let mut peer = Peer::connected_with(&[TcpOption::MaximumSegmentSize(1460)]);
    peer.options = Options::EMPTY;
    peer.send(&[7; 1460]);
    let sent = peer.outside.sent();
    assert_eq!(sent[0].len(), 14 + 1500);
    let quote = &sent[0][14..14 + 28];
    let kind =
        Message::DestinationUnreachable { code: UnreachableCode::FRAGMENTATION_NEEDED, next_hop_mtu: 1000 };
    peer.outside.forget();
    let error = packet(header(Protocol::ICMP, 0), &message(kind, quote));
    peer.outside.receive(outside::to_us(EtherType::IPV4, &error));
    let heard = [Counter::IcmpReceived, Counter::IcmpErrorsReceived, Counter::IpPathMtuLearned];
    peer.outside.raises(&all(&[&DELIVERED, &heard]), &[]);
    let again: u64 = peer.outside.sent().len() as u64;
    assert!(again >= 1);
    assert_eq!(peer.outside.stack.counter(Counter::TcpTimeouts), 0);
    assert_eq!(peer.outside.stack.tcp_info(peer.socket()).expect("connected").path.mss, 960);
    peer.outside.stack.tcp_shutdown(peer.outside.now, peer.socket(), Shutdown::Both).expect("connected");
}

#[test]
fn a_connection_that_lives_tries_the_larger_again_after_ten_minutes() {
    let mut peer = Peer::connected_with(&[TcpOption::MaximumSegmentSize(1460)]);
    peer.options = Options::EMPTY;
    let kind =
        Message::DestinationUnreachable { code: UnreachableCode::FRAGMENTATION_NEEDED, next_hop_mtu: 1000 };
    let path_mtu = |peer: &mut Peer| {
        let (now, socket) = (peer.outside.now, peer.socket());
        peer.outside.stack.path_mtu(now, Endpoint::Tcp(socket))
    };
    let sends = |peer: &mut Peer| {
        peer.send(&[7; 1460]);
        peer.outside.sent()
    };
    let is_acknowledged = |peer: &mut Peer| {
        peer.ack += 1460;
        peer.say(Flags::ACK, b"");
        peer.outside.stack.tcp_info(peer.socket()).expect("connected").path.mss
    };
    let sent = sends(&mut peer);
    let error = packet(header(Protocol::ICMP, 0), &message(kind, &sent[0][14..14 + 28]));
    peer.outside.receive(outside::to_us(EtherType::IPV4, &error));
    assert_eq!((is_acknowledged(&mut peer), path_mtu(&mut peer)), (960, Ok(1000)));
    peer.outside.wait(590);
    sends(&mut peer);
    assert_eq!((is_acknowledged(&mut peer), path_mtu(&mut peer)), (960, Ok(1000)));
    peer.outside.wait(10);
    // The neighbour is known as fresh as at first.
    peer.outside.receive(outside::arp(Operation::Request, THEIRS, OURS));
    sends(&mut peer);
    assert_eq!((is_acknowledged(&mut peer), path_mtu(&mut peer)), (1460, Ok(1500)));
    // If it is still too much, the path says so again.
    let sent = sends(&mut peer);
    let error = packet(header(Protocol::ICMP, 0), &message(kind, &sent[0][14..14 + 28]));
    peer.outside.receive(outside::to_us(EtherType::IPV4, &error));
    assert_eq!((is_acknowledged(&mut peer), path_mtu(&mut peer)), (960, Ok(1000)));
    assert_eq!(path_mtu(&mut Peer::connected()), Ok(1500));
    let listener = peer.listener;
    let now = peer.outside.now;
    assert_eq!(peer.outside.stack.path_mtu(now, Endpoint::Tcp(listener)), Err(Errno::NotConn));
}

#[test]
fn without_path_mtu_discovery_segments_may_be_fragmented_and_no_error_narrows_them() {
    let fragments = |peer: &mut Peer| {
        peer.send(&[7; 1460]);
        let sent = peer.outside.sent();
        peer.ack += 1460;
        peer.say(Flags::ACK, b"");
        (
            !ipv4::Header::parse(&sent[0][14..]).expect("a packet").0.dont_fragment,
            sent[0][14..14 + 28].to_vec(),
        )
    };
    let mss = TcpOption::MaximumSegmentSize(1460);
    let mut peer = Peer::listening(Config { mtu_discovery: false, ..quiet() }).connect(&[mss]);
    peer.options = Options::EMPTY;
    peer.send(&[7; 1460]);
    let quote = peer.outside.sent()[0][14..14 + 28].to_vec();
    let kind =
        Message::DestinationUnreachable { code: UnreachableCode::FRAGMENTATION_NEEDED, next_hop_mtu: 1000 };
    let error = packet(header(Protocol::ICMP, 0), &message(kind, &quote));
    peer.outside.receive(outside::to_us(EtherType::IPV4, &error));
    assert_eq!(peer.outside.stack.tcp_info(peer.socket()).expect("connected").path.mss, 1460);
    peer.ack += 1460;
    peer.say(Flags::ACK, b"");
    assert!(fragments(&mut peer).0);
    let mut peer = Peer::connected_with(&[mss]);
    peer.options = Options::EMPTY;
    assert!(!fragments(&mut peer).0);
    let (now, socket) = (peer.outside.now, peer.socket());
    let dont = rumpnet_stack::TcpOption::MtuDiscovery(MtuDiscovery::Dont);
    peer.outside.stack.tcp_set_option(now, socket, dont).expect("connected");
    assert!(fragments(&mut peer).0);
    assert_eq!(peer.outside.stack.tcp_settings(socket).expect("open").mtu_discovery, MtuDiscovery::Dont);
}

#[test]
fn the_next_connection_to_the_same_destination_begins_with_what_is_known_of_its_path() {
    let narrow = |mtu| Message::DestinationUnreachable {
        code: UnreachableCode::FRAGMENTATION_NEEDED,
        next_hop_mtu: mtu,
    };
    let mss = TcpOption::MaximumSegmentSize(1460);
    let mut peer = Peer::listening(Config { path_mtus: 0, ..quiet() }).connect(&[mss]);
    peer.options = Options::EMPTY;
    peer.send(&[7; 1460]);
    let quote = peer.outside.sent()[0][14..14 + 28].to_vec();
    let error = packet(header(Protocol::ICMP, 0), &message(narrow(1000), &quote));
    peer.outside.receive(outside::to_us(EtherType::IPV4, &error));
    assert_eq!(peer.outside.stack.counter(Counter::IpPathMtuLearned), 1);
    assert_eq!(peer.outside.stack.counter(Counter::IpPathMtuEvicted), 1, "there is room for none");

    let mut peer = Peer::listening(Config { path_mtus: 1, ..quiet() }).connect(&[mss]);
    peer.options = Options::EMPTY;
    peer.send(&[7; 1460]);
    let quote = peer.outside.sent()[0][14..14 + 28].to_vec();
    let error = packet(header(Protocol::ICMP, 0), &message(narrow(1000), &quote));
    peer.outside.receive(outside::to_us(EtherType::IPV4, &error));
    peer.port = 5001;
    peer.seq = 999;
    let syn = Header { options: peer.options, ..head(5001, 999, 0, Flags::SYN) };
    let mut syn = syn;
    syn.options.push(&mss).expect("room");
    peer.outside.sent();
    peer.outside.receive(frame(&bytes(&syn, b"")));
    let sent = peer.outside.sent();
    let answer = read(sent.last().expect("an answer"));
    let told = answer.options.iter().next().expect("options").expect("well formed");
    assert_eq!(told, mss, "what we tell is of our link");
    (peer.seq, peer.ack) = (1000, answer.sequence.0.wrapping_add(1));
    peer.say(Flags::ACK, b"");
    peer.socket = Some(peer.outside.stack.tcp_accept(peer.listener).expect("connected").0);
    peer.outside.forget();
    peer.send(&[7; 2000]);
    let sent = peer.outside.sent();
    assert_eq!(read(&sent[0]).source_port, 80);
    assert_eq!(peer.outside.stack.tcp_info(peer.socket()).expect("connected").path.mss, 960);
}

/// A connection with a kernel whose sockets may hold 12,000 bytes; pressure begins above 8,000.
fn poor() -> Peer {
    let memory = MemoryLimits::up_to(12_000);
    let options = [TcpOption::MaximumSegmentSize(1460), TcpOption::SackPermitted];
    let mut peer = Peer::listening(Config { memory, ..quiet() }).connect(&options);
    peer.options = Options::EMPTY;
    peer
}

#[test]
fn data_without_memory_is_refused_once_all_early_data_was_given_up() {
    let mut peer = poor();
    let text = [7; 1000];
    let counts = |peer: &Peer| {
        let stack = &peer.outside.stack;
        let counted = [Counter::MemoryPressure, Counter::TcpPruned].map(|counter| stack.counter(counter));
        (counted, stack.drops(DropReason::TcpMemoryFull))
    };
    for early in [20_000, 22_000, 24_000] {
        peer.say_with(Flags::ACK, &text, |head| head.sequence += early);
    }
    // Each holds 150 bytes beside its text.
    for (said, counted) in [(3, ([0, 0], 0)), (4, ([1, 0], 0)), (4, ([1, 3000], 0)), (1, ([1, 3000], 1))] {
        for _ in 0..said {
            peer.say(Flags::ACK, &text);
        }
        assert_eq!(counts(&peer), counted);
    }
    let told = read(peer.outside.sent().last().expect("an acknowledgment"));
    assert_eq!(told.acknowledgment.0, 1000 + 11_000, "all but the last");
    assert_eq!(told.options.as_bytes(), b"", "what was given up is not reported (RFC 2018 section 8)");
    // What comes early is refused, too, until somebody reads.
    peer.say_with(Flags::ACK, &text, |head| head.sequence += 5000);
    assert_eq!(counts(&peer), ([1, 3000], 2));
    let (now, socket) = (peer.outside.now, peer.socket());
    assert_eq!(peer.outside.stack.tcp_receive(now, socket, 99_999).expect("there").len(), 11_000);
    // At the most it was what the connection held, and a refused segment that the capture of drops kept.
    peer.outside.captured();
    assert_eq!(peer.outside.stack.memory(), (0, 12_650 + 1054));
    peer.seq -= 1000;
    peer.say(Flags::ACK, &text);
    assert_eq!(peer.outside.stack.tcp_receive(now, socket, 99_999).expect("there").len(), 1000);
}

#[test]
fn a_writer_without_memory_is_held_back_and_goes_on_when_there_is_some() {
    let mut peer = poor();
    let (now, socket) = (peer.outside.now, peer.socket());
    let text = bytes::Bytes::from_static(&[7; 100_000]);
    assert_eq!(peer.outside.stack.tcp_send(now, socket, text.clone()), Ok(12_000));
    assert_eq!(peer.outside.stack.tcp_send(now, socket, text), Err(rumpnet_proto::Errno::Again));
    assert_eq!(peer.outside.stack.counter(Counter::TcpWritersHeldBack), 1);
    let writable = |peer: &Peer| peer.outside.stack.readiness(rumpnet_stack::Endpoint::Tcp(socket)).writable;
    assert!(!writable(&peer));
    peer.outside.sent();
    while peer.outside.stack.next_event().is_some() {}
    peer.ack = peer.ack.wrapping_add(10_000);
    peer.say(Flags::ACK, b"");
    assert!(writable(&peer));
    let news: Vec<_> = std::iter::from_fn(|| peer.outside.stack.next_event()).collect();
    assert_eq!(news, [rumpnet_stack::Event::Socket(rumpnet_stack::Endpoint::Tcp(socket))]);
}

#[test]
fn what_a_connection_has_sent_and_received_is_told_as_linux_counts_it() {
    let options = [TcpOption::MaximumSegmentSize(1460), TcpOption::SackPermitted];
    let mut peer = Peer::connected_with(&options);
    peer.options = Options::EMPTY;
    let told = |peer: &Peer| peer.outside.stack.tcp_info(peer.socket()).expect("connected").path.traffic;
    let first = TrafficReport { segments_received: 2, delivered: 1, ..TrafficReport::default() };
    assert_eq!(told(&peer), first, "the handshake");
    peer.send(&[7; 4000]);
    peer.outside.sent();
    peer.outside.now += Duration::from_millis(10);
    // All but the first segment have come.
    let mut blocks = SackBlocks::default();
    blocks.push(SackBlock { left: Seq(peer.ack + 1460), right: Seq(peer.ack + 4000) }).expect("room");
    let mut sack = Options::EMPTY;
    [TcpOption::Nop, TcpOption::Nop, TcpOption::Sack(blocks)]
        .iter()
        .for_each(|option| sack.push(option).expect("room"));
    peer.say_with(Flags::ACK, b"", |head| head.options = sack);
    peer.outside.now += Duration::from_millis(10);
    peer.outside.stack.on_timeout(peer.outside.now);
    peer.outside.sent();
    let now = told(&peer);
    assert_eq!((now.bytes_sent, now.bytes_retransmitted, now.bytes_acked), (5460, 1460, 0));
    assert_eq!((now.segments_sent, now.data_segments_sent, now.delivered), (4, 4, 3));
    assert_eq!((now.busy_ns, now.window_limited_ns, now.buffer_limited_ns), (20_000_000, 0, 0));
    peer.ack += 4000;
    peer.say(Flags::ACK, b"");
    let now = told(&peer);
    assert_eq!((now.bytes_acked, now.delivered, now.delivery_rate), (4000, 4, 200_000));
    // What comes before its turn is counted as it comes, and received when the gap is filled; the end of the stream is one more.
    peer.seq += 3;
    peer.say(Flags::ACK, b"defg");
    assert_eq!((told(&peer).bytes_received, told(&peer).out_of_order), (0, 1));
    peer.seq -= 7;
    peer.say(Flags::ACK, b"abc");
    peer.seq += 4;
    peer.say(Flags::ACK | Flags::FIN, b"");
    peer.outside.now += Duration::from_secs(1);
    peer.outside.sent();
    let now = told(&peer);
    assert_eq!((now.bytes_received, now.data_segments_received, now.segments_received), (8, 2, 7));
    assert_eq!((now.busy_ns, now.bytes_sent), (20_000_000, 5460), "nothing is to be sent");
}

#[test]
fn a_sender_knows_whether_the_window_or_its_own_buffer_held_it_back() {
    let told = |peer: &Peer| peer.outside.stack.tcp_info(peer.socket()).expect("connected").path.traffic;
    let mut peer = Peer::connected_with(&[TcpOption::MaximumSegmentSize(1000)]);
    peer.options = Options::EMPTY;
    peer.say_with(Flags::ACK, b"", |head| head.window = 1000);
    peer.send(&[7; 3000]);
    peer.outside.sent();
    peer.outside.now += Duration::from_millis(7);
    peer.ack += 1000;
    peer.say(Flags::ACK, b"");
    peer.outside.sent();
    assert_eq!((told(&peer).busy_ns, told(&peer).window_limited_ns), (7_000_000, 7_000_000));
    peer.ack += 2000;
    peer.say(Flags::ACK, b"");
    let socket = peer.socket();
    let small = rumpnet_stack::TcpOption::SendBuffer(2048);
    peer.outside.stack.tcp_set_option(peer.outside.now, socket, small).expect("connected");
    peer.send(&[7; 2048]);
    peer.outside.sent();
    peer.outside.now += Duration::from_millis(5);
    peer.ack += 2048;
    peer.say(Flags::ACK, b"");
    assert_eq!(told(&peer).buffer_limited_ns, 5_000_000);
    assert_eq!(told(&peer).busy_ns, 12_000_000);
}
