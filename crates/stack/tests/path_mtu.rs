//! Datagrams and the MTU of their path: what ICMP tells is remembered for all sockets, fits what leaves, and is forgotten in time.

use rumpnet_proto::{Counter, DropReason, Errno, Reply, Request};
use rumpnet_stack::{Endpoint, MtuDiscovery, SocketId, SocketOption};
use rumpnet_wire::{
    arp::Operation,
    ethernet::EtherType,
    icmpv4::{Message, UnreachableCode},
    ip::Protocol,
    ipv4, udp,
};

mod outside;

use outside::{OURS, Outside, THEIRS, header, message, packet};

/// A router says that a packet of ours is too long.
fn refuse(outside: &mut Outside, quote: &[u8], next_hop_mtu: u16) {
    let kind = Message::DestinationUnreachable { code: UnreachableCode::FRAGMENTATION_NEEDED, next_hop_mtu };
    let error = packet(header(Protocol::ICMP, 0), &message(kind, quote));
    outside.receive(outside::to_us(EtherType::IPV4, &error));
}

fn set(outside: &mut Outside, socket: SocketId, how: MtuDiscovery) {
    outside.stack.udp_set_option(socket, SocketOption::MtuDiscovery(how)).expect("open");
}

/// The IP headers of what has left.
fn left(outside: &mut Outside) -> Vec<ipv4::Header> {
    let read = |frame: &Vec<u8>| ipv4::Header::parse(&frame[14..]).expect("a packet").0;
    outside.sent().iter().map(read).collect()
}

/// A socket whose datagram of 1,200 bytes was too long for a path of 1,000.
fn narrowed() -> (Outside, SocketId) {
    let mut outside = Outside::new();
    let socket = outside.udp(4000);
    set(&mut outside, socket, MtuDiscovery::Do);
    outside.send(socket, 1200, THEIRS).expect("it fits the link");
    let sent = outside.sent();
    assert!(ipv4::Header::parse(&sent[0][14..]).expect("a packet").0.dont_fragment);
    refuse(&mut outside, &sent[0][14..14 + 28], 1000);
    outside.forget();
    (outside, socket)
}

#[test]
fn a_datagram_that_must_not_be_fragmented_is_refused_if_the_path_is_known_to_be_narrower() {
    let (mut outside, socket) = narrowed();
    assert_eq!(outside.send(socket, 1200, THEIRS), Err(Errno::MsgSize));
    assert_eq!(outside.send(socket, 972, THEIRS), Ok(1));
    let sent = left(&mut outside);
    assert!(sent.len() == 1 && sent[0].dont_fragment && sent[0].total_len == 1000);
    // Of another destination nothing is known.
    outside.wait(600);
    assert_eq!(outside.send(socket, 1200, THEIRS), Ok(1), "after ten minutes the larger is tried");
    assert_eq!(outside.stack.counter(Counter::IpPathMtuLearned), 1);
}

#[test]
fn a_datagram_that_may_be_fragmented_leaves_in_pieces_that_fit_the_path() {
    for how in [MtuDiscovery::Want, MtuDiscovery::Dont] {
        let (mut outside, socket) = narrowed();
        set(&mut outside, socket, how);
        assert_eq!(outside.send(socket, 1200, THEIRS), Ok(1));
        assert_eq!(outside.send(socket, 100, THEIRS), Ok(1));
        let sent = left(&mut outside);
        assert_eq!(sent.len(), 3);
        assert!(sent.iter().all(|header| header.total_len <= 1000));
        let whole = how == MtuDiscovery::Want;
        assert_eq!([&sent[0], &sent[1], &sent[2]].map(|header| header.dont_fragment), [false, false, whole]);
        assert_eq!(outside.stack.udp_mtu_discovery(socket), Ok(how));
    }
}

#[test]
fn a_connected_socket_can_ask_what_its_path_carries_and_learns_of_an_error() {
    let (mut outside, unconnected) = narrowed();
    let path_mtu = |outside: &mut Outside, socket| outside.stack.path_mtu(outside.now, Endpoint::Udp(socket));
    assert_eq!(path_mtu(&mut outside, unconnected), Err(Errno::NotConn));
    let socket = outside.udp(4001);
    outside.stack.udp_connect(socket, (THEIRS, 9).into()).expect("reachable");
    assert_eq!(path_mtu(&mut outside, socket), Ok(1000));
    let datagram = udp::Header { source_port: 4001, destination_port: 9, length: 808, checksum: 0 };
    let ours = ipv4::Header { source: OURS, destination: THEIRS, ..header(Protocol::UDP, 808) };
    let quote = packet(ours, &[&datagram.to_bytes()[..], &[7; 800]].concat());
    // Where fragments leave it is no error of the socket's.
    set(&mut outside, socket, MtuDiscovery::Dont);
    refuse(&mut outside, &quote, 800);
    assert_eq!(path_mtu(&mut outside, socket), Ok(800));
    assert_eq!(outside.stack.udp_take_error(socket), Ok(None));
    set(&mut outside, socket, MtuDiscovery::Do);
    refuse(&mut outside, &quote, 0);
    assert_eq!(outside.stack.udp_take_error(socket), Ok(Some(Errno::MsgSize)));
    assert_eq!(path_mtu(&mut outside, socket), Ok(576), "the plateau below 828 bytes");
    // A path does not become wider by being told so, nor narrower than what is believed.
    refuse(&mut outside, &quote, 1400);
    assert_eq!(path_mtu(&mut outside, socket), Ok(576));
    refuse(&mut outside, &quote, 68);
    assert_eq!(path_mtu(&mut outside, socket), Ok(552));
    outside.wait(600);
    assert_eq!(path_mtu(&mut outside, socket), Ok(1500));
}

#[test]
fn what_no_socket_of_ours_can_have_sent_is_not_believed() {
    let mut outside = Outside::new();
    let socket = outside.udp(4000);
    outside.send(socket, 1200, THEIRS).expect("it fits the link");
    let mut quote = outside.sent()[0][14..14 + 28].to_vec();
    quote[20..22].copy_from_slice(&4001_u16.to_be_bytes());
    outside.forget();
    refuse(&mut outside, &quote, 1000);
    let heard =
        [Counter::IpReceived, Counter::IpDelivered, Counter::IcmpReceived, Counter::IcmpErrorsReceived];
    outside.raises(&heard, &[DropReason::IcmpNoSocket]);
}

#[test]
fn sysctl_says_whether_paths_are_asked_for_and_for_how_long_they_are_believed() {
    let variable = |outside: &mut Outside, name: &str, value| {
        let Reply::Value(value) = outside.control(Request::Sysctl { name: name.into(), value }) else {
            panic!("another reply")
        };
        value
    };
    let (mut outside, socket) = narrowed();
    assert_eq!(variable(&mut outside, "net.inet.ip.mtudisc", Some(0)), 1);
    assert_eq!(outside.send(socket, 1200, THEIRS), Ok(1), "what was known is not asked for");
    assert_eq!(variable(&mut outside, "net.inet.ip.mtudisc", Some(1)), 0);
    assert_eq!(outside.send(socket, 1200, THEIRS), Err(Errno::MsgSize));
    assert_eq!(variable(&mut outside, "net.inet.ip.mtudisctimeout", Some(5)), 600);
    outside.wait(600);
    // The neighbour is known as fresh as at first.
    outside.receive(outside::arp(Operation::Request, THEIRS, OURS));
    outside.sent();
    outside.send(socket, 1200, THEIRS).expect("tried again");
    let sent = outside.sent();
    let packet = sent.last().expect("sent");
    refuse(&mut outside, &packet[14..14 + 28], 1000);
    assert_eq!(outside.send(socket, 1200, THEIRS), Err(Errno::MsgSize));
    outside.wait(5);
    assert_eq!(outside.send(socket, 1200, THEIRS), Ok(1));
}
