//! Queues and tables keep their limits, and no call does more the more there is.

use rumpnet_proto::{
    AddressChange, CaptureOptions, Counter, DropReason, EchoOptions, Errno, NextHop, Reply, Request,
    RouteAttributes,
};
use rumpnet_stack::{
    Config, Endpoint, Event, PortConfig, Stack,
    buffer::{Gso, GsoKind, Offload},
    slab::Key,
    time::Instant,
};
use rumpnet_wire::{arp::Operation, ethernet, ip::Protocol};

mod outside;

use outside::{OUR_MAC, OURS, Outside, THEIRS, arp, datagram, header, ipv4, quiet};

fn mac(number: u16) -> ethernet::Address {
    let [high, low] = number.to_be_bytes();
    ethernet::Address([0xb2, 0x0a, 1, 0, high, low])
}

#[test]
fn a_sender_of_small_datagrams_waits_before_its_port_refuses_them() {
    for config in [Config::tiny(), Config::server()] {
        let mut outside = Outside::with(config, PortConfig::ethernet(OUR_MAC));
        let socket = outside.udp(9);
        let refusal = (0..2000).find_map(|_| outside.send(socket, 1, THEIRS).err());
        assert_eq!(refusal, Some(Errno::Again));
        assert_eq!(outside.stack.drops(DropReason::LinkQueueFull), 0);
        outside.sent();
        outside.send(socket, 1, THEIRS).expect("what has left is charged no more");
    }
}

#[test]
fn a_socket_is_news_once_until_its_news_is_taken() {
    let mut outside = Outside::new();
    let socket = outside.udp(9);
    while outside.stack.next_event().is_some() {}
    for _ in 0..100 {
        outside.receive(ipv4(header(Protocol::UDP, 0), &datagram(9, b"x")));
    }
    assert_eq!(outside.stack.next_event(), Some(Event::Socket(Endpoint::Udp(socket))));
    assert_eq!(outside.stack.next_event(), None);
    outside.receive(ipv4(header(Protocol::UDP, 0), &datagram(9, b"x")));
    assert_eq!(outside.stack.next_event(), Some(Event::Socket(Endpoint::Udp(socket))));
}

#[test]
fn notices_that_nobody_takes_are_lost_and_counted() {
    let mut outside = Outside::new();
    while outside.stack.next_event().is_some() {}
    for _ in 0..1024 {
        outside.control(Request::CreateInterface { name: "lo1".into(), options: Default::default() });
        outside.control(Request::DestroyInterface { name: "lo1".into() });
    }
    assert_eq!(outside.stack.counter(Counter::NoticesLost), 1024);
    assert_eq!(std::iter::from_fn(|| outside.stack.next_event()).count(), 1024);
    outside.control(Request::CreateInterface { name: "lo1".into(), options: Default::default() });
    assert!(matches!(outside.stack.next_event(), Some(Event::Notice(_))));
}

#[test]
fn a_capture_is_charged_what_it_keeps_of_each_packet() {
    for (snap_len, taken, lost) in [(Some(64), 100, 0), (None, 7, 93)] {
        let config = Config { capture_bytes: 10_000, ..quiet() };
        let mut outside = Outside::with(config, PortConfig::ethernet(OUR_MAC));
        let options = CaptureOptions { snap_len, interface: Some("virt0".into()), ..Default::default() };
        let Reply::Capture { capture } = outside.control(Request::CaptureOpen(options)) else { panic!() };
        for _ in 0..100 {
            outside.receive(outside::to_us(ethernet::EtherType(0x1234), &[7; 1400]));
        }
        let mut packets = Vec::new();
        assert!(outside.stack.capture_read(Key::from(capture), &mut packets));
        assert!(packets.iter().all(|packet| packet.original_len == 1414));
        let kept: usize = packets.iter().map(|packet| packet.bytes.len()).sum();
        assert_eq!((packets.len(), kept <= 10_000), (taken, true));
        let ended = outside.control(Request::CaptureClose { capture });
        assert_eq!(ended, Reply::CaptureEnded { captured: taken as u64, overruns: lost });
    }
}

#[test]
fn an_interface_with_a_thousand_addresses_and_routes_goes_in_slices() {
    let mut outside = Outside::new();
    for number in 0..1000_u16 {
        let [high, low] = number.to_be_bytes();
        outside.add_address([10, 1, high, low].into());
        let via = NextHop::Interface("virt0".into());
        outside.control(Request::AddRoute {
            destination: ([172, 16, high, low].into(), 32),
            via,
            attributes: RouteAttributes::default(),
        });
    }
    outside.stack.destroy_interface(outside.now, "virt0").expect("it is there");
    let mut calls = 0;
    while outside.stack.next_deadline() == Some(outside.now) {
        outside.stack.on_timeout(outside.now);
        calls += 1;
    }
    assert!(calls >= 2000 / 64, "a slice a call: {calls}");
    let Reply::Routes { routes, .. } = outside.control(Request::Routes { after: None }) else { panic!() };
    assert_eq!(routes.len(), 1, "127/8 alone is left: {routes:?}");
}

#[test]
fn a_packet_by_an_interface_that_is_going_has_no_way() {
    let mut outside = Outside::new();
    for number in 0..200 {
        outside.add_address([10, 1, 0, number].into());
    }
    let socket = outside.udp(9);
    outside.stack.destroy_interface(outside.now, "virt0").expect("it is there");
    assert!(outside.send(socket, 1, THEIRS).is_err());
    assert!(
        outside.stack.drops(DropReason::Ipv4NoRoute) + outside.stack.drops(DropReason::Ipv4NoAddress) > 0
    );
}

#[test]
fn numbers_of_ports_and_interfaces_are_used_again_among_a_thousand() {
    let mut stack = Stack::boot(quiet(), [7; 16], Instant::ZERO);
    for number in 0..1000 {
        let port = PortConfig::ethernet(mac(number));
        let name = format!("virt{number}");
        assert_eq!(stack.create_interface(Instant::ZERO, &name, port), Ok(u32::from(number)));
    }
    for number in [500, 3] {
        assert_eq!(stack.destroy_interface(Instant::ZERO, &format!("virt{number}")), Ok(Some(number)));
    }
    for (name, number) in [("virt2000", 3), ("virt2001", 500), ("virt2002", 1000)] {
        let port = PortConfig::ethernet(mac(2000));
        assert_eq!(stack.create_interface(Instant::ZERO, name, port), Ok(number));
    }
}

#[test]
fn a_port_that_was_closed_while_it_was_ready_is_not_named() {
    let mut outside = Outside::new();
    outside.receive(arp(Operation::Request, THEIRS, OURS));
    outside.stack.destroy_interface(outside.now, "virt0").expect("it is there");
    outside.stack.create_interface(outside.now, "virt0", PortConfig::ethernet(OUR_MAC)).expect("room");
    assert_eq!(outside.stack.next_ready_port(), None);
}

#[test]
fn addresses_keep_their_order_and_the_first_is_the_primary() {
    let mut outside = Outside::new();
    let add = |outside: &mut Outside, last, alias| {
        let address = std::net::Ipv4Addr::new(10, 0, 0, last).into();
        let change = AddressChange { address, prefix_len: Some(24), broadcast: None, peer: None, alias };
        outside.stack.control(outside.now, Request::AddAddress { name: "virt0".into(), change })
    };
    // The last two are there already: an address that is added again stays where it is.
    for (last, alias) in [(2, true), (3, true), (4, true), (5, false), (3, true), (5, true)] {
        add(&mut outside, last, alias).expect("room");
    }
    let Reply::Interfaces { interfaces, .. } =
        outside.control(Request::Interface { name: "virt0".into(), reset: false })
    else {
        panic!()
    };
    let shown: Vec<_> = interfaces[0].addresses.iter().map(|entry| entry.address.to_string()).collect();
    assert_eq!(shown, ["10.0.0.5", "10.0.0.2", "10.0.0.3", "10.0.0.4"]);
}

#[test]
fn tables_refuse_what_is_beyond_their_limits_and_keep_what_they_have() {
    let config = Config { interfaces: 2, addresses: 3, routes: 4, sockets: 1, ..quiet() };
    let mut outside = Outside::with(config, PortConfig::ethernet(OUR_MAC));
    let refused = |outside: &mut Outside, request| {
        outside.stack.control(outside.now, request).map_err(|error| error.errno).expect_err("no room")
    };
    let create = Request::CreateInterface { name: "lo1".into(), options: Default::default() };
    assert_eq!(refused(&mut outside, create), Errno::NoMem);
    outside.add_address([10, 0, 0, 2].into());
    let address = [10, 0, 0, 3].into();
    let change = AddressChange { address, prefix_len: Some(24), broadcast: None, peer: None, alias: true };
    assert_eq!(refused(&mut outside, Request::AddAddress { name: "virt0".into(), change }), Errno::NoBufs);
    let route = |last| Request::AddRoute {
        destination: ([192, 0, 2, last].into(), 32),
        via: NextHop::Interface("virt0".into()),
        attributes: RouteAttributes::default(),
    };
    outside.control(route(1));
    outside.control(route(2));
    assert_eq!(refused(&mut outside, route(3)), Errno::NoBufs);
    outside.udp(9);
    assert_eq!(outside.stack.udp_open(), Err(Errno::NFile));
    outside.receive(arp(Operation::Request, THEIRS, OURS));
    assert_eq!(outside.sent().len(), 2, "an announcement of the second address, and the answer");
}

#[test]
fn empty_datagrams_are_charged_too() {
    let config = Config { udp_receive_bytes: 20_000, ..quiet() };
    let mut outside = Outside::with(config, PortConfig::ethernet(OUR_MAC));
    outside.udp(9);
    let empty = ipv4(header(Protocol::UDP, 0), &datagram(9, b""));
    (0..400).for_each(|_| outside.receive(empty.clone()));
    let kept = outside.stack.counter(Counter::UdpDelivered);
    assert!((50..150).contains(&kept), "{kept} of 400, whose frames are 42 bytes each");
    assert_eq!(outside.stack.drops(DropReason::UdpSocketFull), 400 - kept);
}

#[test]
fn captures_and_echo_sessions_have_their_limits() {
    let mut outside = Outside::new();
    let open = Request::CaptureOpen(CaptureOptions::default());
    // One is the fixture's.
    (1..64).for_each(|_| {
        outside.control(open.clone());
    });
    let refused = outside.stack.control(outside.now, open).map_err(|error| error.errno);
    assert_eq!(refused, Err(Errno::MFile));
    let options = EchoOptions { size: 0, ..EchoOptions::to(THEIRS.into()) };
    (0..1024).for_each(|_| {
        outside.control(Request::EchoOpen(options.clone()));
    });
    let refused = outside.stack.control(outside.now, Request::EchoOpen(options)).map_err(|error| error.errno);
    assert_eq!(refused, Err(Errno::NFile));
}

#[test]
fn a_train_larger_than_the_buffer_is_taken_when_that_is_empty_and_dropped_when_not() {
    let config = Config { udp_receive_bytes: 4096, ..quiet() };
    let mut outside = Outside::with(config, PortConfig::ethernet(OUR_MAC));
    let socket = outside.udp(9);
    let gso = Some(Gso { kind: GsoKind::Udp, size: 1400, ecn: false, fixed_identification: false });
    let train = ipv4(header(Protocol::UDP, 0), &datagram(9, &[7; 14_000]));
    for _ in 0..2 {
        outside.receive_as(train.clone(), Offload { gso, ..Offload::default() });
    }
    assert_eq!(outside.stack.counter(Counter::UdpDelivered), 10);
    assert_eq!(outside.stack.drops(DropReason::UdpSocketFull), 1);
    let whole = outside.stack.udp_receive(socket, true).expect("the first");
    assert_eq!((whole.payload.len(), whole.segment), (14_000, Some(1400)));
    assert!(!outside.stack.readiness(Endpoint::Udp(socket)).readable);
}
