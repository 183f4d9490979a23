//! Packet sockets (bpf(4)): what they hear, what they send, what they hold, what they are refused.

use rumpnet_proto::{CaptureOptions, Counter, DropReason, Errno, InterfaceFlags, Reply, Request};
use rumpnet_stack::{
    Captured, Config, Direction, Endpoint, Event, LinkType, PacketOption, PacketStatistics, PortConfig,
    SocketId,
    bpf::{Instruction, Program},
    slab::Key,
};
use rumpnet_wire::{arp, ethernet, ethernet::EtherType, ip::Protocol};

mod outside;

use outside::{OUR_MAC, OURS, Outside, THEIR_MAC, THEIRS, arp, datagram, frame, header, ipv4, quiet, to_us};

fn attached(outside: &mut Outside) -> SocketId {
    let socket = outside.stack.packet_open().expect("room");
    outside.stack.packet_attach(socket, "virt0").expect("there");
    socket
}

fn heard(outside: &mut Outside, socket: SocketId) -> Vec<Captured> {
    let mut packets = Vec::new();
    match outside.stack.packet_read(socket, &mut packets) {
        Ok(count) => assert_eq!(count, packets.len()),
        Err(errno) => assert_eq!(errno, Errno::Again),
    }
    packets
}

fn set(outside: &mut Outside, socket: SocketId, option: PacketOption) {
    outside.stack.packet_set_option(socket, option).expect("possible");
}

fn flags(outside: &mut Outside) -> InterfaceFlags {
    let request = Request::Interface { name: "virt0".into(), reset: false };
    let Reply::Interfaces { interfaces, .. } = outside.control(request) else { panic!() };
    interfaces[0].flags
}

/// A program that wants 60 bytes of ARP, and nothing else.
fn only_arp() -> Program {
    let insn = |code, jt, jf, k| Instruction { code, jt, jf, k };
    Program::new(&[insn(0x28, 0, 0, 12), insn(0x15, 0, 1, 0x806), insn(0x06, 0, 0, 60), insn(0x06, 0, 0, 0)])
        .expect("good")
}

#[test]
fn a_packet_socket_hears_what_its_program_wants_of_its_interface_and_as_much() {
    let mut outside = Outside::new();
    let idle = outside.stack.packet_open().expect("room");
    let socket = attached(&mut outside);
    assert_eq!(outside.stack.packet_link_type(socket), Ok(LinkType::Ethernet));
    outside.stack.packet_set_filter(socket, Some(only_arp())).expect("good");
    outside.receive(ipv4(header(Protocol::UDP, 0), &datagram(9, b"x")));
    let mut question = arp(arp::Operation::Request, THEIRS, OURS);
    question.resize(100, 0);
    outside.receive(question.clone());
    let all = heard(&mut outside, socket);
    let told: Vec<_> = all.iter().map(|one| (one.direction, one.bytes.len(), one.original_len)).collect();
    assert_eq!(told, [(Direction::In, 60, 100), (Direction::Out, 42, 42)], "the question and our answer");
    assert_eq!(all[0].bytes, question[..60]);
    assert_eq!(all[0].time, outside.now);
    let statistics = PacketStatistics { received: 4, dropped: 0, captured: 2 };
    assert_eq!(outside.stack.packet_statistics(socket), Ok(statistics), "two of them UDP and its refusal");
    set(&mut outside, socket, PacketOption::SnapLength(20));
    set(&mut outside, socket, PacketOption::Direction(Some(Direction::In)));
    outside.receive(question.clone());
    let all = heard(&mut outside, socket);
    assert_eq!((all.len(), all[0].bytes.len()), (1, 20));
    outside.receive(question.clone());
    outside.stack.packet_set_filter(socket, None).expect("none is good");
    assert!(heard(&mut outside, socket).is_empty(), "another program, and nothing of before");
    assert_eq!(outside.stack.packet_statistics(socket), Ok(PacketStatistics::default()));
    outside.receive(to_us(EtherType(0x1234), b"what nobody speaks"));
    assert_eq!(heard(&mut outside, socket).len(), 1);
    assert_eq!(outside.stack.packet_read(idle, &mut Vec::new()), Err(Errno::Nxio), "it has no interface");
    let zero = outside.stack.packet_set_option(socket, PacketOption::SnapLength(0));
    assert_eq!(zero, Err(Errno::Inval));
    assert_eq!(outside.stack.packet_attach(idle, "virt9"), Err(Errno::Nxio));
}

#[test]
fn a_write_on_a_down_interface_is_refused_and_leaks_nothing() {
    let mut outside = Outside::new();
    let socket = outside.stack.packet_open().expect("room");
    let frame = to_us(EtherType(0x1234), &[7; 100]);
    let now = outside.now;
    let send = |outside: &mut Outside| outside.stack.packet_send(now, socket, frame.clone().into());
    assert_eq!(send(&mut outside), Err(Errno::Nxio));
    outside.stack.packet_attach(socket, "virt0").expect("there");
    outside.set_flags(InterfaceFlags::empty(), InterfaceFlags::UP);
    outside.forget();
    let memory = outside.stack.memory().0;
    for _ in 0..1000 {
        assert_eq!(send(&mut outside), Err(Errno::NetDown));
    }
    outside.raises(&[], &[DropReason::LinkDown; 1000]);
    assert_eq!((outside.sent().len(), outside.stack.memory().0), (0, memory));
    outside.set_flags(InterfaceFlags::UP, InterfaceFlags::empty());
    outside.sent();
    send(&mut outside).expect("up again");
    assert_eq!(outside.sent().len(), 1);
}

#[test]
fn a_write_that_is_too_long_or_has_no_link_header_is_refused() {
    let mut outside = Outside::new();
    let socket = attached(&mut outside);
    let now = outside.now;
    let mut send = |len: usize| outside.stack.packet_send(now, socket, vec![2; len].into());
    for len in [0, 1, 13, 1515, 65_600] {
        assert_eq!(send(len), Err(Errno::MsgSize), "{len}");
    }
    for len in [14, 1514] {
        assert_eq!(send(len), Ok(()), "{len}");
    }
    assert_eq!(outside.sent().iter().map(Vec::len).collect::<Vec<_>>(), [14, 1514]);
}

#[test]
fn the_source_of_what_is_sent_is_the_interfaces_unless_its_user_writes_it() {
    let mut outside = Outside::new();
    let socket = attached(&mut outside);
    let written = frame(ethernet::Address::BROADCAST, THEIR_MAC, EtherType(0x1234), b"hello");
    let now = outside.now;
    outside.forget();
    outside.stack.packet_send(now, socket, written.clone().into()).expect("sent");
    outside.raises(&[Counter::PacketSocketSent], &[]);
    set(&mut outside, socket, PacketOption::HeaderComplete(true));
    outside.stack.packet_send(now, socket, written.clone().into()).expect("sent");
    let sent = outside.sent();
    assert_eq!(
        (&sent[0][6..12], &sent[0][..6], &sent[0][12..]),
        (&OUR_MAC.0[..], &written[..6], &written[12..])
    );
    assert_eq!(sent[1], written);
    let all = heard(&mut outside, socket);
    assert_eq!((all.len(), all[1].direction), (2, Direction::Out), "it sees what it sends");
    // A queue that is full is said so.
    let refusal =
        (0..2000).find_map(|_| outside.stack.packet_send(now, socket, written.clone().into()).err());
    assert_eq!(refusal, Some(Errno::NoBufs));
}

#[test]
fn what_is_for_other_stations_is_seen_by_who_is_promiscuous() {
    let mut outside = Outside::new();
    let [socket, other] = [attached(&mut outside), attached(&mut outside)];
    let stranger = frame(ethernet::Address([2, 0, 0, 0, 0, 5]), THEIR_MAC, EtherType::IPV4, b"for another");
    outside.receive(stranger.clone());
    assert!(heard(&mut outside, socket).is_empty());
    let plain = outside.stack.packet_open().expect("room");
    let unattached = outside.stack.packet_set_option(plain, PacketOption::Promiscuous(true));
    assert_eq!(unattached, Err(Errno::Nxio));
    set(&mut outside, socket, PacketOption::Promiscuous(true));
    set(&mut outside, other, PacketOption::Promiscuous(true));
    assert!(flags(&mut outside).contains(InterfaceFlags::PROMISC));
    outside.receive(stranger.clone());
    assert_eq!(heard(&mut outside, socket).len(), 1);
    outside.stack.packet_close(socket).expect("open");
    assert!(flags(&mut outside).contains(InterfaceFlags::PROMISC), "the other one still is");
    set(&mut outside, other, PacketOption::Promiscuous(false));
    assert!(!flags(&mut outside).contains(InterfaceFlags::PROMISC));
    heard(&mut outside, other);
    outside.receive(stranger);
    assert!(heard(&mut outside, other).is_empty());
}

#[test]
fn a_socket_that_is_not_immediate_is_ready_when_its_buffer_is_half_full() {
    let mut outside = Outside::new();
    let socket = outside.stack.packet_open().expect("room");
    set(&mut outside, socket, PacketOption::BufferLength(1000));
    outside.stack.packet_attach(socket, "virt0").expect("there");
    set(&mut outside, socket, PacketOption::Immediate(false));
    while outside.stack.next_event().is_some() {}
    let ready = |outside: &Outside| outside.stack.readiness(Endpoint::Packet(socket)).readable;
    for number in 0..15 {
        outside.receive(to_us(EtherType(0x1234), &[7; 86]));
        assert_eq!(ready(&outside), number >= 4, "{number}");
    }
    let news = std::iter::from_fn(|| outside.stack.next_event());
    let news = news.filter(|event| *event == Event::Socket(Endpoint::Packet(socket)));
    assert_eq!(news.count(), 1, "it is news once until it is read");
    let statistics = PacketStatistics { received: 15, dropped: 5, captured: 10 };
    assert_eq!(outside.stack.packet_statistics(socket), Ok(statistics));
    assert_eq!(outside.stack.counter(Counter::CaptureOverruns), 5);
    assert_eq!(heard(&mut outside, socket).len(), 10);
    outside.receive(to_us(EtherType(0x1234), &[7; 86]));
    assert_eq!(
        (ready(&outside), heard(&mut outside, socket).len()),
        (false, 1),
        "who asks gets what there is"
    );
    set(&mut outside, socket, PacketOption::Immediate(true));
    outside.receive(to_us(EtherType(0x1234), &[7; 86]));
    assert!(ready(&outside));
    outside.stack.packet_flush(socket).expect("open");
    assert!(!ready(&outside));
}

#[test]
fn buffers_and_the_number_of_captures_have_limits() {
    let config = Config { captures: 3, capture_bytes: 5000, ..quiet() };
    let mut outside = Outside::with(config, PortConfig::ethernet(OUR_MAC));
    let [first, second] =
        [0; 2].map(|_| outside.stack.packet_open().expect("room beside the fixture's capture"));
    assert_eq!(outside.stack.packet_open(), Err(Errno::MFile));
    let refused = outside.stack.control(outside.now, Request::CaptureOpen(CaptureOptions::default()));
    assert_eq!(refused.expect_err("no room").errno, Errno::MFile);
    for (asked, given) in [(0, 32), (1000, 1000), (u32::MAX, 5000)] {
        set(&mut outside, first, PacketOption::BufferLength(asked));
        assert_eq!(outside.stack.packet_buffer_length(first), Ok(given));
    }
    outside.stack.packet_attach(first, "virt0").expect("there");
    let late = outside.stack.packet_set_option(first, PacketOption::BufferLength(64));
    assert_eq!(late, Err(Errno::Inval));
    outside.stack.packet_close(second).expect("open");
    assert_eq!(outside.stack.packet_close(second), Err(Errno::BadF));
    assert!(outside.stack.packet_open().is_ok());
}

#[test]
fn what_captures_hold_is_of_the_memory_of_all_sockets() {
    let mut outside = Outside::new();
    let socket = attached(&mut outside);
    for _ in 0..10 {
        outside.receive(to_us(EtherType(0x1234), &[7; 986]));
    }
    assert_eq!(outside.stack.memory().0, 20_000, "with what the fixture's capture of drops holds");
    outside.captured();
    assert_eq!(outside.stack.memory().0, 10_000);
    for name in ["net.inet.tcp.mem_low", "net.inet.tcp.mem_pressure", "net.inet.tcp.mem_max"] {
        outside.control(Request::Sysctl { name: name.into(), value: Some(10_000) });
    }
    outside.receive(to_us(EtherType(0x1234), &[7; 986]));
    assert_eq!(outside.stack.packet_statistics(socket).expect("open").dropped, 1);
    assert_eq!(heard(&mut outside, socket).len(), 10);
    assert_eq!(outside.captured().len(), 1, "a queue that is empty takes one all the same");
    assert_eq!(outside.stack.memory().0, 0);
    outside.receive(to_us(EtherType(0x1234), &[7; 986]));
    outside.stack.packet_close(socket).expect("open");
    outside.captured();
    assert_eq!(outside.stack.memory().0, 0, "what is closed holds nothing");
}

#[test]
fn whoever_listens_to_an_interface_learns_that_it_is_gone() {
    let mut outside = Outside::new();
    let socket = attached(&mut outside);
    set(&mut outside, socket, PacketOption::Promiscuous(true));
    let options = CaptureOptions { interface: Some("virt0".into()), ..CaptureOptions::default() };
    let Reply::Capture { capture } = outside.control(Request::CaptureOpen(options)) else { panic!() };
    while outside.stack.next_event().is_some() {}
    outside.stack.destroy_interface(outside.now, "virt0").expect("there");
    let events: Vec<_> = std::iter::from_fn(|| outside.stack.next_event()).collect();
    assert!(events.contains(&Event::Socket(Endpoint::Packet(socket))));
    assert!(events.contains(&Event::Capture(Key::from(capture))));
    assert!(!outside.stack.capture_read(Key::from(capture), &mut Vec::new()), "it is complete");
    for _ in 0..2 {
        assert_eq!(outside.stack.packet_read(socket, &mut Vec::new()), Err(Errno::Nxio));
    }
    assert_eq!(outside.stack.packet_link_type(socket), Err(Errno::Nxio));
    // Another interface in its place is another interface.
    outside.stack.create_interface(outside.now, "virt1", PortConfig::ethernet(OUR_MAC)).expect("room");
    outside.receive(to_us(EtherType(0x1234), b"x"));
    assert_eq!(outside.stack.packet_read(socket, &mut Vec::new()), Err(Errno::Nxio));
    outside.stack.packet_attach(socket, "virt1").expect("there");
}

#[test]
fn a_packet_written_on_the_loopback_is_received_there() {
    let mut outside = Outside::new();
    let socket = outside.stack.packet_open().expect("room");
    outside.stack.packet_attach(socket, "lo0").expect("there");
    assert_eq!(outside.stack.packet_link_type(socket), Ok(LinkType::Raw));
    let udp = outside.udp(9);
    let payload = datagram(9, b"hello");
    let loopback = rumpnet_wire::ipv4::Header { source: [127, 0, 0, 1].into(), ..header(Protocol::UDP, 0) };
    let mut packet = outside::packet(loopback, &payload);
    // Over IPv4 a datagram may do without a checksum.
    packet[26..28].fill(0);
    let now = outside.now;
    outside.forget();
    outside.stack.packet_send(now, socket, packet.into()).expect("up");
    use Counter::{IpDelivered, IpReceived, PacketSocketSent, UdpDelivered, UdpReceived};
    outside.raises(&[IpReceived, IpDelivered, UdpReceived, UdpDelivered, PacketSocketSent], &[]);
    assert_eq!(&outside.stack.udp_receive(udp, false).expect("received").payload.to_bytes()[..], b"hello");
    let ways: Vec<_> = heard(&mut outside, socket).iter().map(|one| one.direction).collect();
    assert_eq!(ways, [Direction::Out, Direction::In]);
    for (bytes, refusal) in [
        (vec![0x75; 30], Errno::AfNoSupport),
        (Vec::new(), Errno::MsgSize),
        (vec![0x45; 33_625], Errno::MsgSize),
    ] {
        assert_eq!(outside.stack.packet_send(now, socket, bytes.into()), Err(refusal));
    }
}
