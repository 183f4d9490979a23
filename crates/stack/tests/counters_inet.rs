//! Every counter and every reason of IPv4, ICMP and UDP, raised by packets from outside and by senders inside.

use rumpnet_proto::{
    Counter, DropReason, EchoOptions, Errno, InterfaceFlags, Reply, Request, RouteAttributes,
};
use rumpnet_stack::{Config, PortConfig, SocketOption, slab::Key};
use rumpnet_wire::{
    ethernet::{self, EtherType},
    icmpv4::{Message, UnreachableCode},
    ip::Protocol,
    ipv4::{self as format, IpOption, Options},
};

mod outside;

use outside::{
    OUR_MAC, OURS, Outside, THEIR_MAC, THEIRS, altered, datagram, frame, header, ipv4, message, packet, quiet,
};

const DELIVERED: [Counter; 2] = [Counter::IpReceived, Counter::IpDelivered];

/// What an error that we send is counted as, beside what caused it.
const ERROR_SENT: [Counter; 3] = [Counter::IcmpErrorsSent, Counter::IcmpSent, Counter::IpSent];

fn options(push: &[IpOption<'_>]) -> Options {
    let mut options = Options::default();
    push.iter().for_each(|option| options.push(option).expect("room"));
    options
}

/// A good packet, to be spoiled.
fn good() -> Vec<u8> {
    ipv4(header(Protocol::UDP, 0), &datagram(9, b"x"))
}

#[test]
fn headers_that_cannot_be_are_told_apart() {
    let mut outside = Outside::new();
    let short = |len: usize| good()[..14 + len].to_vec();
    let wrong_sum = || {
        let mut frame = good();
        frame[14 + 10] ^= 1;
        frame
    };
    for (frame, reason) in [
        (short(0), DropReason::Ipv4Truncated),
        (short(19), DropReason::Ipv4Truncated),
        (short(28), DropReason::Ipv4Truncated),
        (altered(good(), |header| header[0] = 0x55), DropReason::Ipv4Version),
        (altered(good(), |header| header[0] = 0x44), DropReason::Ipv4HeaderLength),
        (wrong_sum(), DropReason::Ipv4Checksum),
    ] {
        outside.receive(frame);
        outside.raises(&[Counter::IpReceived], &[reason]);
    }
}

#[test]
fn addresses_that_cannot_be_are_told_apart() {
    let mut outside = Outside::new();
    let from = |source: [u8; 4]| {
        ipv4(format::Header { source: source.into(), ..header(Protocol::UDP, 0) }, &datagram(9, b"x"))
    };
    let to =
        |destination: [u8; 4]| format::Header { destination: destination.into(), ..header(Protocol::UDP, 0) };
    for source in [[224, 0, 0, 1], [255; 4], [0, 0, 0, 1], [127, 0, 0, 1], [10, 0, 0, 255], [10, 0, 0, 1]] {
        outside.receive(from(source));
        outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4SourceInvalid]);
    }
    outside.receive(ipv4(to([127, 0, 0, 1]), &datagram(9, b"x")));
    outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4DestinationInvalid]);
    outside.receive(ipv4(to([10, 0, 0, 77]), &datagram(9, b"x")));
    outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4NotForUs]);
    let unicast = packet(header(Protocol::UDP, 0), &datagram(9, b"x"));
    outside.receive(frame(ethernet::Address::BROADCAST, THEIR_MAC, EtherType::IPV4, &unicast));
    outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4DestinationInvalid]);
}

#[test]
fn source_routes_and_malformed_options_are_refused() {
    let mut outside = Outside::new();
    let unknown = options(&[IpOption::Unknown { kind: 0x83, data: &[4, 10, 0, 0, 3] }]);
    outside
        .receive(ipv4(format::Header { options: unknown, ..header(Protocol::UDP, 0) }, &datagram(9, b"x")));
    let told = [&[Counter::IpReceived][..], &ERROR_SENT].concat();
    outside.raises(&told, &[DropReason::Ipv4SourceRoute]);
    let mut packet = packet(
        format::Header { options: options(&[IpOption::RouterAlert(0)]), ..header(Protocol::UDP, 0) },
        &datagram(9, b"x"),
    );
    // The option's length says more than the header has.
    packet[21] = 40;
    packet[10..12].fill(0);
    let sum = rumpnet_wire::checksum::of(&packet[..24]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    outside.receive(outside::to_us(EtherType::IPV4, &packet));
    outside.raises(&told, &[DropReason::Ipv4Options]);
    // Of what was sent to all nobody is told.
    let everybody = [10, 0, 0, 255].into();
    outside.receive(ipv4(
        format::Header { options: unknown, destination: everybody, ..header(Protocol::UDP, 0) },
        b"",
    ));
    outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4SourceRoute]);
}

#[test]
fn the_time_and_masks_are_told_to_those_who_may_know() {
    let mut outside = Outside::new();
    let icmp = [&DELIVERED[..], &[Counter::IcmpReceived]].concat();
    let time = message(Message::TimestampRequest { identifier: 1, sequence: 1 }, &[0; 12]);
    let mask = message(Message::AddressMaskRequest { identifier: 1, sequence: 1 }, &[0; 4]);
    let all = format::Header { destination: [10, 0, 0, 255].into(), ..header(Protocol::ICMP, 0) };
    let answered = |counter| [&icmp[..], &[counter, Counter::IcmpSent, Counter::IpSent]].concat();
    let set = |outside: &mut Outside, name: &str, value| {
        outside.control(Request::Sysctl { name: name.into(), value: Some(value) });
    };
    outside.receive(ipv4(header(Protocol::ICMP, 0), &time));
    outside.raises(&answered(Counter::IcmpTimestampRequests), &[]);
    for refused in [ipv4(all, &time), ipv4(header(Protocol::ICMP, 0), &mask)] {
        outside.receive(refused);
        outside.raises(&icmp, &[DropReason::IcmpQueryRefused]);
    }
    outside.receive(ipv4(
        header(Protocol::ICMP, 0),
        &message(Message::TimestampRequest { identifier: 1, sequence: 1 }, &[0; 11]),
    ));
    outside.raises(&icmp, &[DropReason::IcmpTruncated]);
    set(&mut outside, "net.inet.icmp.tstamprepl", 0);
    set(&mut outside, "net.inet.icmp.maskrepl", 1);
    outside.receive(ipv4(header(Protocol::ICMP, 0), &time));
    outside.raises(&icmp, &[DropReason::IcmpQueryRefused]);
    outside.receive(ipv4(header(Protocol::ICMP, 0), &mask));
    outside.raises(&answered(Counter::IcmpMaskRequests), &[]);
}

#[test]
fn a_protocol_that_nobody_speaks_is_answered_with_unreachable() {
    let mut outside = Outside::new();
    outside.receive(ipv4(header(Protocol(99), 0), b"what"));
    outside.raises(&[&DELIVERED[..], &ERROR_SENT].concat(), &[DropReason::Ipv4UnknownProtocol]);
}

#[test]
fn a_datagram_is_counted_on_its_way_to_a_socket() {
    let mut outside = Outside::new();
    outside.udp(9);
    outside.receive(good());
    outside.raises(&[&DELIVERED[..], &[Counter::UdpReceived, Counter::UdpDelivered]].concat(), &[]);
    let everybody = format::Header { destination: [255; 4].into(), ..header(Protocol::UDP, 0) };
    // Without a checksum, since its destination is another one.
    let mut unsummed = datagram(9, b"x");
    unsummed[6..8].fill(0);
    outside.receive(frame(
        ethernet::Address::BROADCAST,
        THEIR_MAC,
        EtherType::IPV4,
        &packet(everybody, &unsummed),
    ));
    let many = [Counter::UdpReceived, Counter::UdpBroadcastReceived, Counter::UdpDelivered];
    outside.raises(&[&DELIVERED[..], &many].concat(), &[]);
}

#[test]
fn datagrams_that_cannot_be_delivered_are_told_apart() {
    let mut outside = Outside::new();
    let udp = |payload: &[u8]| ipv4(header(Protocol::UDP, 0), payload);
    let changed = |place: usize, octet: u8| {
        let mut datagram = datagram(9, b"x");
        datagram[place] = octet;
        datagram
    };
    let received = [&DELIVERED[..], &[Counter::UdpReceived]].concat();
    for (frame, reason) in [
        (udp(&datagram(9, b"x")[..7]), DropReason::UdpTruncated),
        (udp(&changed(5, 7)), DropReason::UdpLength),
        (udp(&changed(5, 10)), DropReason::UdpLength),
        (udp(&changed(8, b'y')), DropReason::UdpChecksum),
    ] {
        outside.receive(frame);
        outside.raises(&received, &[reason]);
    }
    outside.receive(good());
    outside.raises(&[&received[..], &ERROR_SENT].concat(), &[DropReason::UdpNoSocket]);
}

#[test]
fn a_socket_that_is_full_loses_what_comes_last() {
    let mut outside = Outside::new();
    let socket = outside.udp(9);
    outside.stack.udp_set_option(socket, SocketOption::ReceiveBuffer(256)).expect("in range");
    let big = ipv4(header(Protocol::UDP, 0), &datagram(9, &[7; 250]));
    outside.receive(big.clone());
    outside.forget();
    outside.receive(big);
    let received = [&DELIVERED[..], &[Counter::UdpReceived]].concat();
    outside.raises(&received, &[DropReason::UdpSocketFull]);
    assert!(outside.stack.udp_receive(socket, false).is_ok());
}

#[test]
fn a_datagram_without_memory_is_dropped_unless_its_queue_is_empty() {
    let memory = rumpnet_stack::MemoryLimits { low: 0, pressure: 0, max: 1 };
    let mut outside = Outside::with(Config { memory, ..quiet() }, PortConfig::ethernet(OUR_MAC));
    let socket = outside.udp(9);
    outside.forget();
    let received = [&DELIVERED[..], &[Counter::UdpReceived]].concat();
    let datagram = || ipv4(header(Protocol::UDP, 0), &datagram(9, b"one"));
    outside.receive(datagram());
    outside.raises(&[&received[..], &[Counter::UdpDelivered, Counter::MemoryPressure]].concat(), &[]);
    outside.receive(datagram());
    outside.raises(&received, &[DropReason::UdpMemoryFull]);
    assert!(outside.stack.udp_receive(socket, false).is_ok());
    assert_eq!(outside.stack.memory().0, 0);
}

#[test]
fn an_echo_request_is_answered_unless_it_asks_all() {
    let mut outside = Outside::new();
    let ask = message(Message::EchoRequest { identifier: 1, sequence: 2 }, b"data");
    let icmp = [&DELIVERED[..], &[Counter::IcmpReceived]].concat();
    outside.receive(ipv4(header(Protocol::ICMP, 0), &ask));
    let answered = [Counter::IcmpEchoRequests, Counter::IcmpSent, Counter::IpSent];
    outside.raises(&[&icmp[..], &answered].concat(), &[]);
    let everybody = format::Header { destination: [10, 0, 0, 255].into(), ..header(Protocol::ICMP, 0) };
    outside.receive(ipv4(everybody, &ask));
    outside.raises(&icmp, &[DropReason::IcmpBroadcastEcho]);
}

#[test]
fn messages_that_nobody_waits_for_are_told_apart() {
    let mut outside = Outside::new();
    let icmp = [&DELIVERED[..], &[Counter::IcmpReceived]].concat();
    let mut spoiled = message(Message::EchoRequest { identifier: 1, sequence: 2 }, b"data");
    spoiled[8] ^= 1;
    for (payload, reason) in [
        (spoiled.clone(), DropReason::IcmpChecksum),
        (spoiled[..7].to_vec(), DropReason::IcmpTruncated),
        (message(Message::RouterSolicitation, b""), DropReason::IcmpUnknownType),
    ] {
        outside.receive(ipv4(header(Protocol::ICMP, 0), &payload));
        outside.raises(&icmp, &[reason]);
    }
    let reply = message(Message::EchoReply { identifier: 1, sequence: 2 }, b"data");
    outside.receive(ipv4(header(Protocol::ICMP, 0), &reply));
    outside.raises(&[&icmp[..], &[Counter::IcmpEchoReplies]].concat(), &[DropReason::IcmpNoSocket]);
}

#[test]
fn an_error_about_nothing_that_we_sent_is_dropped() {
    let mut outside = Outside::new();
    let unreachable = Message::DestinationUnreachable { code: UnreachableCode::PORT, next_hop_mtu: 0 };
    let quoted = packet(
        format::Header { source: OURS, destination: THEIRS, ..header(Protocol::UDP, 0) },
        &datagram(9, b"x"),
    );
    let errors = [&DELIVERED[..], &[Counter::IcmpReceived, Counter::IcmpErrorsReceived]].concat();
    for quote in [&quoted[..], &quoted[..21], b""] {
        outside.receive(ipv4(header(Protocol::ICMP, 0), &message(unreachable, quote)));
        outside.raises(&errors, &[DropReason::IcmpNoSocket]);
    }
    let socket = outside.stack.udp_open().expect("room");
    outside.stack.udp_bind(socket, (OURS, 5000).into()).expect("free");
    outside.stack.udp_connect(socket, (THEIRS, 9).into()).expect("a route");
    outside.receive(ipv4(header(Protocol::ICMP, 0), &message(unreachable, &quoted)));
    outside.raises(&errors, &[]);
    assert_eq!(outside.stack.udp_take_error(socket), Ok(Some(Errno::ConnRefused)));
}

#[test]
fn errors_are_sent_no_faster_than_the_limit() {
    let config = Config { icmp_errors_per_second: 2, ..quiet() };
    let mut outside = Outside::with(config, PortConfig::ethernet(OUR_MAC));
    (0..2).for_each(|_| outside.receive(good()));
    outside.forget();
    outside.receive(good());
    let received = [&DELIVERED[..], &[Counter::UdpReceived]].concat();
    outside.raises_unseen(&received, &[DropReason::UdpNoSocket, DropReason::IcmpRateLimited]);
    outside.wait(2);
    outside.receive(good());
    outside.captured();
    outside.raises_unseen(&[&received[..], &ERROR_SENT].concat(), &[DropReason::UdpNoSocket]);
}

#[test]
fn an_answer_without_a_way_back_is_counted() {
    let mut outside = Outside::new();
    let foreign = format::Header { source: [192, 0, 2, 1].into(), ..header(Protocol::ICMP, 0) };
    let ask = message(Message::EchoRequest { identifier: 1, sequence: 2 }, b"data");
    outside.receive(ipv4(foreign, &ask));
    let counters = [&DELIVERED[..], &[Counter::IcmpReceived, Counter::IcmpEchoRequests]].concat();
    outside.raises_unseen(&counters, &[DropReason::Ipv4NoRoute]);
}

#[test]
fn sends_without_a_way_are_counted() {
    let mut outside = Outside::new();
    let socket = outside.udp(9);
    assert_eq!(outside.send(socket, 1, [192, 0, 2, 1].into()), Err(Errno::HostUnreach));
    outside.raises_unseen(&[], &[DropReason::Ipv4NoRoute]);
    outside.control(Request::DeleteAddress { name: "virt0".into(), address: None });
    let via = rumpnet_proto::NextHop::Interface("virt0".into());
    outside.control(Request::AddRoute {
        destination: (THEIRS.into(), 24),
        via,
        attributes: RouteAttributes::default(),
    });
    assert_eq!(outside.send(socket, 1, THEIRS), Err(Errno::AddrNotAvail));
    outside.raises_unseen(&[], &[DropReason::Ipv4NoAddress]);
    outside.set_flags(InterfaceFlags::empty(), InterfaceFlags::UP);
    assert_eq!(outside.send(socket, 1, THEIRS), Err(Errno::NetDown));
    outside.raises_unseen(&[], &[DropReason::LinkDown]);
}

#[test]
fn a_packet_too_large_is_cut_or_refused() {
    let mut outside = Outside::new();
    let socket = outside.udp(9);
    outside.send(socket, 3000, THEIRS).expect("sent");
    let parts = [Counter::IpFragmentsSent; 3];
    outside.raises(&[&parts[..], &[Counter::IpFragmented, Counter::IpSent, Counter::UdpSent]].concat(), &[]);
    let train = rumpnet_stack::UdpSend {
        payload: vec![7; 5000].into(),
        segment: Some(2000),
        destination: Some((THEIRS, 9).into()),
        source: None,
        info: Default::default(),
    };
    assert_eq!(outside.stack.udp_send(outside.now, socket, [train]), Err(Errno::MsgSize));
    outside.raises(&[], &[DropReason::Ipv4MessageSize]);
}

fn fragment(identification: u16, offset: u16, more_fragments: bool, payload: &[u8]) -> Vec<u8> {
    let fragment_offset = offset;
    ipv4(
        format::Header { identification, fragment_offset, more_fragments, ..header(Protocol::UDP, 0) },
        payload,
    )
}

#[test]
fn fragments_are_counted_whatever_becomes_of_them() {
    let config = Config { fragment_datagrams: 1, ..quiet() };
    let mut outside = Outside::with(config, PortConfig::ethernet(OUR_MAC));
    outside.udp(9);
    let arrived = [Counter::IpReceived, Counter::IpFragmentsReceived];
    let whole = datagram(9, &[7; 16]);
    outside.receive(fragment(1, 0, true, &whole[..16]));
    outside.raises(&arrived, &[]);
    outside.receive(fragment(1, 0, true, &whole[..16]));
    outside.raises(&arrived, &[DropReason::Ipv4FragmentDuplicate]);
    outside.receive(fragment(1, 16, false, &whole[16..]));
    let complete =
        [Counter::IpReassembled, Counter::IpDelivered, Counter::UdpReceived, Counter::UdpDelivered];
    outside.raises(&[&arrived[..], &complete].concat(), &[]);
    outside.receive(fragment(2, 0, true, &[7; 15]));
    outside.raises(&arrived, &[DropReason::Ipv4FragmentMalformed]);
    outside.receive(fragment(3, 0, true, &[7; 16]));
    outside.receive(fragment(3, 8, true, &[8; 16]));
    outside.captured();
    outside.raises_unseen(&[arrived, arrived].concat(), &[DropReason::Ipv4FragmentOverlap; 2]);
    outside.receive(fragment(4, 8, true, &[7; 16]));
    outside.receive(fragment(5, 8, true, &[7; 16]));
    outside.raises_unseen(&[arrived, arrived].concat(), &[DropReason::Ipv4FragmentLimit]);
    outside.wait(31);
    outside.raises_unseen(&[], &[DropReason::Ipv4FragmentTimeout]);
}

/// Opens an echo session to the stranger and sends a request; its identifier, from the frame.
fn echo(outside: &mut Outside) -> (Key, u16) {
    let options = EchoOptions { size: 0, ..EchoOptions::to(THEIRS.into()) };
    let Reply::Echo { echo, .. } = outside.control(Request::EchoOpen(options)) else { panic!("a session") };
    outside.control(Request::EchoSend { echo, sequence: 1 });
    let frame = outside.sent().pop().expect("a request");
    (echo.into(), u16::from_be_bytes([frame[38], frame[39]]))
}

#[test]
fn replies_to_an_echo_session_are_counted_and_kept_to_a_limit() {
    let mut outside = Outside::new();
    let (session, identifier) = echo(&mut outside);
    outside.forget();
    let reply =
        ipv4(header(Protocol::ICMP, 0), &message(Message::EchoReply { identifier, sequence: 1 }, b""));
    let counters = [&DELIVERED[..], &[Counter::IcmpReceived, Counter::IcmpEchoReplies]].concat();
    outside.receive(reply.clone());
    outside.raises(&counters, &[]);
    (1..1024).for_each(|_| outside.receive(reply.clone()));
    outside.forget();
    outside.receive(reply);
    outside.raises_unseen(&counters, &[DropReason::EchoSocketFull]);
    assert_eq!(outside.stack.echo_receive(session).map(|replies| replies.len()), Ok(1024));
}
