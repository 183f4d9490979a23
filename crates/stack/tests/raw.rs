//! Raw IP and ICMP sockets: what they hear, what they may send, what they are refused (raw(7), icmp(7), ip(4)).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rumpnet_proto::{Counter, DropReason, Errno, Reply, Request, Transport};
use rumpnet_stack::{
    Config, Datagram, Endpoint, PortConfig, SocketId, SocketOption, UdpSend,
    buffer::{Checksum, Offload},
};
use rumpnet_wire::{checksum, icmpv4::Message, ip::Protocol, ipv4};

mod outside;

use outside::{OUR_MAC, OURS, Outside, THEIRS, datagram, header, ipv4, message, quiet};

const OSPF: Protocol = Protocol(89);

fn at(address: Ipv4Addr) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(address), 0)
}

fn to(payload: &[u8], destination: Ipv4Addr) -> [UdpSend; 1] {
    [UdpSend { payload: payload.to_vec().into(), destination: Some(at(destination)), ..UdpSend::default() }]
}

fn heard(outside: &mut Outside, socket: SocketId) -> Vec<Datagram> {
    std::iter::from_fn(|| outside.stack.udp_receive(socket, false).ok()).collect()
}

fn bytes(datagram: &Datagram) -> Vec<u8> {
    datagram.payload.to_bytes().to_vec()
}

/// The IPv4 packet in a frame that was sent, its header and what it carries.
fn packet_in(frame: &[u8]) -> (ipv4::Header, Vec<u8>) {
    assert_eq!(checksum::of(&frame[14..34]), 0, "the header's checksum is right");
    let (header, payload) = ipv4::Header::parse(&frame[14..]).expect("a good header");
    (header, payload.to_vec())
}

#[test]
fn each_raw_socket_that_a_packet_fits_gets_a_copy_with_its_ip_header() {
    let mut outside = Outside::new();
    let open = |outside: &mut Outside, protocol: u8| outside.stack.raw_open(protocol).expect("room");
    let [any, bound, connected, elsewhere, other] =
        [89, 89, 89, 89, 90].map(|protocol| open(&mut outside, protocol));
    outside.add_address([10, 0, 0, 5].into());
    outside.stack.udp_bind(bound, at(OURS)).expect("ours");
    outside.stack.udp_bind(elsewhere, at([10, 0, 0, 5].into())).expect("ours");
    outside.stack.udp_connect(connected, at(THEIRS)).expect("reachable");
    outside.forget();
    let sent = ipv4(header(OSPF, 0), b"hello");
    outside.receive(sent.clone());
    for socket in [any, bound, connected] {
        let all = heard(&mut outside, socket);
        assert_eq!(all.len(), 1);
        assert_eq!(bytes(&all[0]), sent[14..], "from the IP header on, as it came");
        assert_eq!((all[0].source, all[0].destination), (at(THEIRS), at(OURS)));
    }
    assert!(heard(&mut outside, elsewhere).is_empty() && heard(&mut outside, other).is_empty());
    use Counter::{IpDelivered, IpReceived};
    let raw = Counter::RawDelivered;
    outside.raises(&[IpReceived, IpDelivered, raw, raw, raw], &[]);
    assert!(outside.sent().is_empty(), "nobody is told that the protocol is unknown");
    // To a protocol that raw sockets speak, but none of them wants this packet.
    outside.stack.udp_close(any).expect("open");
    outside.stack.udp_bind(connected, at(OURS)).expect_err("it has a peer");
    let stranger = ipv4::Header { source: [10, 0, 0, 8].into(), ..header(OSPF, 0) };
    outside.stack.udp_close(bound).expect("open");
    outside.receive(ipv4(stranger, b"hello"));
    assert_eq!(outside.stack.drops(DropReason::Ipv4UnknownProtocol), 1);
}

#[test]
fn raw_sockets_hear_icmp_after_it_was_answered_and_types_that_nobody_knows() {
    let mut outside = Outside::new();
    let raw = outside.stack.raw_open(1).expect("room");
    let picky = outside.stack.raw_open(1).expect("room");
    // All but echo replies.
    outside.stack.udp_set_option(picky, SocketOption::IcmpFilter(!1)).expect("a raw socket of ICMP");
    let echo = |message: Message| ipv4(header(Protocol::ICMP, 0), &outside::message(message, b"data"));
    outside.forget();
    outside.receive(echo(Message::EchoRequest { identifier: 1, sequence: 2 }));
    assert_eq!(outside.sent().len(), 1, "the kernel answers");
    outside.receive(echo(Message::EchoReply { identifier: 1, sequence: 2 }));
    outside.receive(echo(Message::RouterSolicitation));
    let types = |all: Vec<Datagram>| all.iter().map(|one| bytes(one)[20]).collect::<Vec<_>>();
    assert_eq!(types(heard(&mut outside, raw)), [8, 0, 10]);
    assert_eq!(types(heard(&mut outside, picky)), [0]);
    assert_eq!(outside.stack.drops(DropReason::IcmpNoSocket), 0, "the reply was taken");
    assert_eq!(outside.stack.drops(DropReason::IcmpUnknownType), 0, "so was the solicitation");
    let settings = outside.stack.udp_settings(picky).expect("open");
    assert_eq!((settings.icmp_filter, settings.header_included), (Some(!1), Some(false)));
    let other = outside.stack.raw_open(89).expect("room");
    let filter = SocketOption::IcmpFilter(1);
    assert_eq!(outside.stack.udp_set_option(other, filter), Err(Errno::OpNotSupp));
    let udp = outside.udp(9);
    for option in [filter, SocketOption::HeaderIncluded(true)] {
        assert_eq!(outside.stack.udp_set_option(udp, option), Err(Errno::NoProtoOpt));
    }
}

#[test]
fn a_raw_socket_of_udp_hears_what_a_udp_socket_hears_with_its_checksum_computed() {
    let mut outside = Outside::new();
    let (raw, udp) = (outside.stack.raw_open(17).expect("room"), outside.udp(9));
    let mut frame = ipv4(header(Protocol::UDP, 0), &datagram(9, b"hello"));
    let whole = frame.clone();
    // As a neighbour that leaves checksums to the hardware sends it: the pseudo-header alone is summed.
    let partial = rumpnet_wire::ip::pseudo_header(THEIRS.into(), OURS.into(), Protocol::UDP, 13).fold();
    frame[40..42].copy_from_slice(&partial.to_be_bytes());
    let checksum = Checksum::Partial { start: 34, offset: 6 };
    outside.receive_as(frame, Offload { checksum, gso: None });
    assert_eq!(bytes(&heard(&mut outside, udp)[0]), b"hello");
    assert_eq!(bytes(&heard(&mut outside, raw)[0]), whole[14..]);
}

#[test]
fn what_a_raw_socket_sends_gets_an_ip_header_and_the_options_of_the_socket() {
    let mut outside = Outside::new();
    let raw = outside.stack.raw_open(89).expect("room");
    let now = outside.now;
    assert_eq!(outside.stack.udp_send(now, raw, [UdpSend::default()]), Err(Errno::DestAddrReq));
    for option in [SocketOption::Ttl(7), SocketOption::Tos(0x10)] {
        outside.stack.udp_set_option(raw, option).expect("possible");
    }
    outside.forget();
    outside.stack.udp_send(now, raw, to(b"payload", THEIRS)).expect("sent");
    outside.raises(&[Counter::IpSent, Counter::RawSent], &[]);
    outside.stack.udp_send(now, raw, to(&[7; 3000], THEIRS)).expect("in fragments");
    outside.stack.udp_connect(raw, at(THEIRS)).expect("reachable");
    let send = UdpSend { payload: b"to its peer".to_vec().into(), ..UdpSend::default() };
    outside.stack.udp_send(now, raw, [send]).expect("sent");
    let sent = outside.sent();
    let (first, payload) = packet_in(&sent[0]);
    assert_eq!((first.protocol, first.source, first.destination), (OSPF, OURS, THEIRS));
    assert_eq!((first.ttl, first.tos, first.dont_fragment), (7, 0x10, true), "DF, as Linux's default has it");
    assert_eq!(payload, b"payload");
    assert_eq!(sent.len(), 1 + 3 + 1);
    assert_eq!(packet_in(&sent[4]).1, b"to its peer");
    let too_long = outside.stack.udp_send(now, raw, to(&[0; 65_516], THEIRS));
    assert_eq!(too_long, Err(Errno::MsgSize));
    assert_eq!(outside.stack.udp_send(now, raw, to(b"all", [10, 0, 0, 255].into())), Err(Errno::Acces));
}

#[test]
fn of_a_header_that_its_user_wrote_length_checksum_and_what_is_zero_are_written() {
    let mut outside = Outside::new();
    let raw = outside.stack.raw_open(255).expect("room");
    assert_eq!(outside.stack.udp_settings(raw).expect("open").header_included, Some(true));
    let written =
        ipv4::Header { ttl: 3, tos: 4, identification: 0, source: Ipv4Addr::UNSPECIFIED, ..header(OSPF, 0) };
    let mut packet = vec![0; 20];
    ipv4::Header { destination: [192, 0, 2, 1].into(), ..written }.emit(&mut packet).expect("room");
    packet[2..4].copy_from_slice(&[0xff, 0xff]);
    packet[10..12].copy_from_slice(&[1, 2]);
    packet.extend_from_slice(b"hello");
    let now = outside.now;
    outside.stack.udp_send(now, raw, to(&packet, THEIRS)).expect("sent");
    packet[12..16].copy_from_slice(&[10, 9, 8, 7]);
    packet[4..6].copy_from_slice(&[1, 2]);
    outside.stack.udp_send(now, raw, to(&packet, THEIRS)).expect("sent");
    let sent = outside.sent();
    let (first, payload) = packet_in(&sent[0]);
    assert_eq!((first.total_len, first.source, first.ttl, first.tos), (25, OURS, 3, 4));
    assert_eq!(
        first.destination,
        Ipv4Addr::from([192, 0, 2, 1]),
        "it goes to its neighbour as it was written"
    );
    assert_eq!(payload, b"hello");
    let second = packet_in(&sent[1]).0;
    assert_eq!((second.source, second.identification), (Ipv4Addr::from([10, 9, 8, 7]), 0x0102));
    // What is no header, and what does not fit.
    for (bytes, refusal) in [
        (&packet[..19], Errno::Inval),
        (&[0x44; 30][..], Errno::Inval),
        (&[0x4f; 40][..], Errno::Inval),
        (&[&packet[..], &[0; 1500]].concat()[..], Errno::MsgSize),
    ] {
        assert_eq!(outside.stack.udp_send(now, raw, to(bytes, THEIRS)), Err(refusal));
    }
    outside.receive(ipv4(header(Protocol(255), 0), b"x"));
    assert!(heard(&mut outside, raw).is_empty(), "it hears nothing");
}

#[test]
fn a_raw_socket_that_is_full_loses_what_comes_last() {
    let mut outside = Outside::new();
    let raw = outside.stack.raw_open(89).expect("room");
    outside.stack.udp_set_option(raw, SocketOption::ReceiveBuffer(256)).expect("possible");
    outside.forget();
    for _ in 0..2 {
        outside.receive(ipv4(header(OSPF, 0), &[7; 200]));
    }
    use Counter::{IpDelivered, IpReceived, RawDelivered};
    let counters = [IpReceived, IpReceived, IpDelivered, IpDelivered, RawDelivered];
    outside.raises(&counters, &[DropReason::RawSocketFull]);
    assert_eq!(heard(&mut outside, raw).len(), 1);
}

#[test]
fn a_packet_for_a_raw_socket_is_dropped_where_there_is_no_memory() {
    let mut outside = Outside::new();
    let raw = outside.stack.raw_open(89).expect("room");
    outside.receive(ipv4(header(OSPF, 0), &[7; 200]));
    for name in ["net.inet.tcp.mem_low", "net.inet.tcp.mem_pressure", "net.inet.tcp.mem_max"] {
        outside.control(Request::Sysctl { name: name.into(), value: Some(1) });
    }
    outside.receive(ipv4(header(OSPF, 0), &[7; 200]));
    assert_eq!(outside.stack.drops(DropReason::RawMemoryFull), 1);
    assert_eq!(heard(&mut outside, raw).len(), 1);
}

#[test]
fn raw_sockets_have_a_limit_and_a_protocol() {
    let config = Config { raw_sockets: 2, ..quiet() };
    let mut outside = Outside::with(config, PortConfig::ethernet(OUR_MAC));
    assert_eq!(outside.stack.raw_open(0), Err(Errno::ProtoNoSupport));
    let first = outside.stack.raw_open(1).expect("room");
    outside.stack.raw_open(1).expect("room");
    assert_eq!(outside.stack.raw_open(2), Err(Errno::NoBufs));
    outside.stack.udp_close(first).expect("open");
    let last = outside.stack.raw_open(2).expect("room again");
    let foreign = outside.stack.udp_bind(last, at([10, 0, 0, 77].into()));
    assert_eq!(foreign, Err(Errno::AddrNotAvail));
    for address in [OURS, [10, 0, 0, 255].into(), [224, 0, 0, 5].into()] {
        outside.stack.udp_bind(last, at(address)).expect("a raw socket may be bound again");
    }
    let Reply::Sockets { sockets, .. } = outside.control(Request::Sockets { after: None }) else { panic!() };
    let transports: Vec<_> = sockets.iter().map(|socket| socket.transport).collect();
    assert_eq!(transports, [Transport::Raw(2), Transport::Raw(1)]);
}

#[test]
fn an_icmp_socket_sends_echo_requests_alone_and_hears_the_replies_to_its_identifier() {
    let mut outside = Outside::new();
    let socket = outside.stack.icmp_open().expect("room");
    let now = outside.now;
    let request = message(Message::EchoRequest { identifier: 77, sequence: 5 }, b"data");
    outside.forget();
    outside.stack.udp_send(now, socket, to(&request, THEIRS)).expect("an echo request");
    outside.raises(&[Counter::IpSent, Counter::IcmpSocketSent], &[]);
    let identifier = outside.stack.udp_addresses(socket).expect("open").0.expect("bound by now").port();
    let sent = packet_in(&outside.sent()[0]).1;
    let (message_sent, data) = Message::parse(&sent).expect("its checksum is right");
    assert_eq!((message_sent, data), (Message::EchoRequest { identifier, sequence: 5 }, &b"data"[..]));
    let reply = message(Message::EchoReply { identifier, sequence: 5 }, b"data");
    outside.forget();
    outside.receive(ipv4(header(Protocol::ICMP, 0), &reply));
    use Counter::{IcmpEchoReplies, IcmpReceived, IpDelivered, IpReceived};
    let delivered = Counter::IcmpSocketDelivered;
    outside.raises(&[IpReceived, IpDelivered, IcmpReceived, IcmpEchoReplies, delivered], &[]);
    let all = heard(&mut outside, socket);
    assert_eq!((all.len(), bytes(&all[0]), all[0].source), (1, reply, at(THEIRS)));
    let others = message(Message::EchoReply { identifier: identifier.wrapping_add(1), sequence: 5 }, b"");
    outside.receive(ipv4(header(Protocol::ICMP, 0), &others));
    assert_eq!(outside.stack.drops(DropReason::IcmpNoSocket), 1);
    for refused in [&request[..7], &sent_of(Message::EchoReply { identifier, sequence: 1 })[..], b""] {
        assert_eq!(outside.stack.udp_send(now, socket, to(refused, THEIRS)), Err(Errno::Inval));
    }
    assert_eq!(outside.stack.udp_send(now, socket, to(&[8; 65_516], THEIRS)), Err(Errno::MsgSize));
}

fn sent_of(what: Message) -> Vec<u8> {
    message(what, b"data")
}

#[test]
fn an_identifier_is_of_one_icmp_socket_or_echo_session() {
    let mut outside = Outside::new();
    let [first, second] = [0; 2].map(|_| outside.stack.icmp_open().expect("room"));
    let bind = |outside: &mut Outside, socket, identifier| {
        outside.stack.udp_bind(socket, SocketAddr::new(OURS.into(), identifier))
    };
    assert_eq!(bind(&mut outside, first, 7), Ok(SocketAddr::new(OURS.into(), 7)));
    assert_eq!(bind(&mut outside, second, 7), Err(Errno::AddrInUse));
    assert_eq!(bind(&mut outside, first, 8), Err(Errno::Inval));
    for group in [[10, 0, 0, 255], [224, 0, 0, 1], [10, 0, 0, 99]] {
        let bound = outside.stack.udp_bind(second, SocketAddr::new(group.into(), 0));
        assert_eq!(bound, Err(Errno::AddrNotAvail), "{group:?}");
    }
    outside.stack.udp_close(first).expect("open");
    assert!(bind(&mut outside, second, 7).is_ok());
    // Every other identifier taken, one that names none is told so.
    let taken: Vec<_> = (1..=u16::MAX).filter(|identifier| *identifier != 7).collect();
    for identifier in taken {
        let socket = outside.stack.icmp_open().expect("room");
        bind(&mut outside, socket, identifier).expect("free");
    }
    let last = outside.stack.icmp_open().expect("room");
    outside.forget();
    assert_eq!(bind(&mut outside, last, 0), Err(Errno::AddrInUse));
    outside.raises(&[Counter::PortsExhausted], &[]);
    assert!(outside.stack.readiness(Endpoint::Icmp(last)).writable);
}

#[test]
fn what_a_raw_socket_sends_to_this_host_arrives_like_any_other_packet() {
    let mut outside = Outside::new();
    let (raw, whole, udp) = (outside.stack.raw_open(17), outside.stack.raw_open(255), outside.udp(9));
    let now = outside.now;
    let mut segment = datagram(9, &[7; 500]);
    // Over IPv4 a datagram may do without a checksum.
    segment[6..8].fill(0);
    outside.stack.udp_send(now, raw.expect("room"), to(&segment, OURS)).expect("sent");
    let written = ipv4::Header { source: OURS, ..header(Protocol::UDP, segment.len()) };
    let packet = outside::packet(written, &segment);
    outside.stack.udp_send(now, whole.expect("room"), to(&packet, OURS)).expect("sent");
    for _ in 0..2 {
        let one = outside.stack.udp_receive(udp, false).expect("received");
        assert_eq!((bytes(&one), one.source.ip()), (vec![7; 500], OURS.into()));
    }
}
