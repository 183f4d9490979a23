//! Options of datagram sockets and what they do: kept errors, interfaces, sources, ends, ports.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rumpnet_proto::{AddressChange, Counter, DropReason, Errno, NextHop, Request, RouteAttributes};
use rumpnet_stack::{
    Endpoint, ErrorOrigin, MtuDiscovery, PortConfig, QueuedError, SendInfo, Shutdown, SocketId, SocketOption,
    UdpSend, buffer::Received,
};
use rumpnet_wire::{
    ethernet::{self, EtherType},
    icmpv4::{Message, TimeExceededCode, UnreachableCode},
    ip::Protocol,
    ipv4,
};

mod outside;

use outside::{OURS, Outside, THEIRS, arp, datagram, frame, header, ipv4, message};

const OTHER_MAC: ethernet::Address = ethernet::Address([0xb2, 0x0a, 0, 0, 0, 2]);

/// A datagram to the stranger's port 9.
fn send(outside: &mut Outside, socket: SocketId, payload: &[u8], info: SendInfo) -> Result<usize, Errno> {
    let destination = Some((THEIRS, 9).into());
    let send = UdpSend { payload: payload.to_vec().into(), destination, info, ..UdpSend::default() };
    outside.stack.udp_send(outside.now, socket, [send])
}

/// An ICMP error about the last packet that was sent.
fn complain(outside: &mut Outside, sent: &[u8], about: Message) {
    let quote = &sent[14..];
    outside.receive(ipv4(header(Protocol::ICMP, 0), &message(about, quote)));
}

fn set(outside: &mut Outside, socket: SocketId, option: SocketOption) {
    outside.stack.udp_set_option(socket, option).expect("possible");
}

#[test]
fn a_socket_that_keeps_errors_is_told_of_each_its_cause_and_what_it_is_about() {
    let mut outside = Outside::new();
    let socket = outside.udp(4000);
    set(&mut outside, socket, SocketOption::ReceiveErrors(true));
    assert_eq!(outside.stack.udp_receive_error(socket), Err(Errno::Again));
    let unreachable = |code, next_hop_mtu| Message::DestinationUnreachable { code, next_hop_mtu };
    let cases = [
        (unreachable(UnreachableCode::PORT, 0), Errno::ConnRefused, (3, 3), 0),
        (unreachable(UnreachableCode::PROTOCOL, 0), Errno::NoProtoOpt, (3, 2), 0),
        (unreachable(UnreachableCode::HOST, 0), Errno::HostUnreach, (3, 1), 0),
        (unreachable(UnreachableCode::SOURCE_ROUTE_FAILED, 0), Errno::OpNotSupp, (3, 5), 0),
        (unreachable(UnreachableCode::FRAGMENTATION_NEEDED, 900), Errno::MsgSize, (3, 4), 900),
        (Message::TimeExceeded { code: TimeExceededCode::TTL }, Errno::HostUnreach, (11, 0), 0),
        (Message::ParameterProblem { code: 0, pointer: 8 }, Errno::Proto, (12, 0), 8),
    ];
    for (about, errno, (kind, code), info) in cases {
        assert_eq!(send(&mut outside, socket, b"question", SendInfo::default()), Ok(1));
        let sent = outside.sent().remove(0);
        complain(&mut outside, &sent, about);
        let ready = outside.stack.readiness(Endpoint::Udp(socket));
        assert!(ready.queued_errors && ready.error, "{about:?}");
        assert_eq!(outside.stack.udp_take_error(socket), Ok(Some(errno)), "though it has no peer");
        let wanted = QueuedError {
            errno,
            origin: ErrorOrigin::Icmp { kind, code },
            info,
            offender: Some(THEIRS.into()),
            destination: (THEIRS, 9).into(),
            payload: b"question".to_vec().into(),
            received: outside.now,
        };
        assert_eq!(outside.stack.udp_receive_error(socket), Ok(wanted));
        assert!(!outside.stack.readiness(Endpoint::Udp(socket)).queued_errors);
    }
    // An error that this kernel finds is kept and told to the call; it is not pending then.
    set(&mut outside, socket, SocketOption::MtuDiscovery(MtuDiscovery::Do));
    let too_long = send(&mut outside, socket, &[0; 1473], SendInfo::default());
    assert_eq!(too_long, Err(Errno::MsgSize));
    let local = outside.stack.udp_receive_error(socket).expect("kept");
    assert_eq!((local.origin, local.info, local.offender), (ErrorOrigin::Local, 900, None), "the path's MTU");
    assert_eq!(outside.stack.udp_take_error(socket), Ok(None));
}

#[test]
fn errors_that_nobody_reads_are_kept_up_to_the_receive_buffer_and_counted_beyond() {
    let mut outside = Outside::new();
    let socket = outside.udp(4000);
    set(&mut outside, socket, SocketOption::ReceiveErrors(true));
    set(&mut outside, socket, SocketOption::ReceiveBuffer(1000));
    send(&mut outside, socket, &[7; 300], SendInfo::default()).expect("sent");
    let sent = outside.sent().remove(0);
    let port = Message::DestinationUnreachable { code: UnreachableCode::PORT, next_hop_mtu: 0 };
    for _ in 0..10 {
        complain(&mut outside, &sent, port);
    }
    let kept = outside.stack.counter(Counter::SocketErrorsKept);
    assert_eq!((kept, outside.stack.counter(Counter::SocketErrorsLost)), (2, 8));
    assert!(outside.stack.memory().0 > 600, "they are charged");
    outside.stack.udp_receive_error(socket).expect("kept");
    assert_eq!(outside.stack.udp_take_error(socket), Ok(Some(Errno::ConnRefused)), "the next one is pending");
    set(&mut outside, socket, SocketOption::ReceiveErrors(false));
    assert_eq!(outside.stack.udp_receive_error(socket), Err(Errno::Again));
    assert_eq!(outside.stack.memory().0, 0);
}

#[test]
fn raw_and_icmp_sockets_hear_of_errors_about_their_packets() {
    let mut outside = Outside::new();
    let raw = outside.stack.raw_open(89).expect("room");
    let whole = outside.stack.raw_open(255).expect("room");
    let icmp = outside.stack.icmp_open().expect("room");
    for socket in [raw, whole, icmp] {
        set(&mut outside, socket, SocketOption::ReceiveErrors(true));
    }
    let exceeded = Message::TimeExceeded { code: TimeExceededCode::TTL };
    let to = |payload: &[u8]| UdpSend {
        payload: payload.to_vec().into(),
        destination: Some((THEIRS, 0).into()),
        ..UdpSend::default()
    };
    let now = outside.now;
    outside.stack.udp_send(now, raw, [to(b"hello")]).expect("sent");
    let sent = outside.sent().remove(0);
    complain(&mut outside, &sent, exceeded);
    assert_eq!(&outside.stack.udp_receive_error(raw).expect("told").payload[..], b"hello");
    assert_eq!(outside.stack.udp_receive_error(whole).expect("told").payload, sent[14..], "header and all");
    let request = message(Message::EchoRequest { identifier: 1, sequence: 9 }, b"data");
    outside.stack.udp_send(now, icmp, [to(&request)]).expect("sent");
    let sent = outside.sent().remove(0);
    complain(&mut outside, &sent, exceeded);
    let told = outside.stack.udp_receive_error(icmp).expect("told");
    assert_eq!((told.payload, told.errno), (sent[34..].to_vec().into(), Errno::HostUnreach));
    assert_eq!(outside.stack.drops(DropReason::IcmpNoSocket), 0);
}

/// A second interface, `virt1`, with an address of its own.
fn with_second(address: [u8; 4]) -> Outside {
    let mut outside = Outside::new();
    outside.stack.create_interface(outside.now, "virt1", PortConfig::ethernet(OTHER_MAC)).expect("room");
    let change = AddressChange {
        address: address.into(),
        prefix_len: Some(24),
        broadcast: None,
        peer: None,
        alias: true,
    };
    outside.control(Request::AddAddress { name: "virt1".into(), change });
    outside.wait(10);
    while outside.stack.next_frame(1).is_some() {}
    outside.forget();
    outside
}

#[test]
fn a_socket_bound_to_an_interface_hears_and_speaks_by_it_alone() {
    let mut outside = with_second([10, 0, 1, 1]);
    let index = |outside: &Outside, name: &str| outside.stack.interface_index(name).expect("there");
    let (first, second) = (index(&outside, "virt0"), index(&outside, "virt1"));
    let open = |outside: &mut Outside, interface: u32| {
        let socket = outside.stack.udp_open().expect("room");
        outside.stack.udp_set_option(socket, SocketOption::Interface(interface)).expect("there");
        outside.stack.udp_bind(socket, ([0, 0, 0, 0], 53).into()).map(|_| socket)
    };
    let [one, two] = [first, second].map(|interface| open(&mut outside, interface).expect("free"));
    assert_eq!(open(&mut outside, second), Err(Errno::AddrInUse));
    assert_eq!(outside.stack.udp_set_option(one, SocketOption::Interface(99)), Err(Errno::NoDev));
    outside.receive(ipv4(header(Protocol::UDP, 0), &datagram(53, b"by virt0")));
    let by_second = frame(
        OTHER_MAC,
        outside::THEIR_MAC,
        EtherType::IPV4,
        &outside::packet(header(Protocol::UDP, 0), &datagram(53, b"by virt1")),
    );
    outside.stack.receive(outside.now, 1, [Received::new(by_second.into(), Default::default())]);
    for (socket, payload, interface) in [(one, b"by virt0", first), (two, b"by virt1", second)] {
        let heard = outside.stack.udp_receive(socket, false).expect("a datagram");
        assert_eq!((&heard.payload.to_bytes()[..], heard.interface), (&payload[..], interface));
        assert_eq!(outside.stack.udp_receive(socket, false).err(), Some(Errno::Again));
    }
    // What the first network has is taken to be on the second link, for who is bound to that.
    send(&mut outside, two, b"x", SendInfo::default()).expect("asked for by ARP");
    assert!(outside.stack.next_frame(0).is_none());
    assert_eq!(outside.stack.next_frame(1).expect("a question").to_vec()[12..14], [8, 6]);
    // Bound to no interface any more it would stand in nobody's way who is.
    set(&mut outside, one, SocketOption::Interface(0));
    outside.receive(ipv4(header(Protocol::UDP, 0), &datagram(53, b"any")));
    assert!(outside.stack.udp_receive(one, false).is_ok());
}

#[test]
fn one_call_may_name_interface_source_time_to_live_and_type_of_service() {
    let mut outside = with_second([10, 0, 1, 1]);
    outside.add_address([10, 0, 0, 3].into());
    outside.forget();
    let socket = outside.udp(4000);
    let second = outside.stack.interface_index("virt1").expect("there");
    let from = |address: [u8; 4]| SendInfo { source: Some(address.into()), ..SendInfo::default() };
    let info = SendInfo { ttl: Some(9), tos: Some(0x20), ..from([10, 0, 0, 3]) };
    send(&mut outside, socket, b"x", info).expect("sent");
    let sent = outside.sent().remove(0);
    let (told, _) = ipv4::Header::parse(&sent[14..]).expect("good");
    assert_eq!((told.source, told.ttl, told.tos), (Ipv4Addr::from([10, 0, 0, 3]), 9, 0x20));
    send(&mut outside, socket, b"x", SendInfo::default()).expect("sent");
    let sent = outside.sent().remove(0);
    let (told, _) = ipv4::Header::parse(&sent[14..]).expect("good");
    assert_eq!((told.source, told.ttl, told.tos), (OURS, 64, 0), "the next call is as the socket says");
    let by = |interface| SendInfo { interface: Some(interface), ..SendInfo::default() };
    assert_eq!(send(&mut outside, socket, b"x", from([10, 0, 0, 77])), Err(Errno::NetUnreach));
    assert_eq!(send(&mut outside, socket, b"x", by(99)), Err(Errno::NoDev));
    let zero = SendInfo { ttl: Some(0), ..SendInfo::default() };
    assert_eq!(send(&mut outside, socket, b"x", zero), Err(Errno::Inval));
    send(&mut outside, socket, b"x", by(second)).expect("on the link of virt1");
    assert!(outside.stack.next_frame(1).is_some());
    let first = outside.stack.interface_index("virt0").expect("there");
    set(&mut outside, socket, SocketOption::Interface(first));
    assert_eq!(send(&mut outside, socket, b"x", by(second)), Err(Errno::Inval), "two at once");
}

#[test]
fn a_socket_that_passes_by_routers_reaches_its_links_alone() {
    let mut outside = Outside::new();
    let via = NextHop::Gateway(THEIRS.into());
    let attributes = RouteAttributes::default();
    outside.control(Request::AddRoute { destination: ([192, 0, 2, 0].into(), 24), via, attributes });
    let socket = outside.udp(4000);
    set(&mut outside, socket, SocketOption::DontRoute(true));
    let to = |address: [u8; 4]| [UdpSend { destination: Some((address, 9).into()), ..UdpSend::default() }];
    let now = outside.now;
    assert_eq!(outside.stack.udp_send(now, socket, to([192, 0, 2, 1])), Err(Errno::NetUnreach));
    assert_eq!(outside.stack.udp_send(now, socket, to([10, 0, 0, 9])), Ok(1));
    set(&mut outside, socket, SocketOption::DontRoute(false));
    assert_eq!(outside.stack.udp_send(now, socket, to([192, 0, 2, 1])), Ok(1));
}

#[test]
fn a_socket_that_was_shut_down_reads_the_rest_and_then_nothing_and_writes_no_more() {
    let mut outside = Outside::new();
    let socket = outside.udp(4000);
    let now = outside.now;
    assert_eq!(outside.stack.udp_shutdown(now, socket, Shutdown::Read), Err(Errno::NotConn));
    let socket = outside.udp(4001);
    outside.stack.udp_connect(socket, (THEIRS, 5000).into()).expect("reachable");
    outside.receive(ipv4(header(Protocol::UDP, 0), &datagram(4001, b"before")));
    while outside.stack.next_event().is_some() {}
    outside.stack.udp_shutdown(now, socket, Shutdown::Both).expect("connected");
    assert!(outside.stack.next_event().is_some(), "whoever waits is woken");
    let read =
        |outside: &mut Outside| outside.stack.udp_receive(socket, false).map(|one| one.payload.to_bytes());
    assert_eq!(read(&mut outside), Ok(b"before".to_vec().into()));
    assert_eq!(read(&mut outside), Ok(Default::default()));
    assert!(outside.stack.readiness(Endpoint::Udp(socket)).readable);
    let nothing = [UdpSend::default()];
    assert_eq!(outside.stack.udp_send(now, socket, nothing), Err(Errno::Pipe));
}

#[test]
fn a_socket_without_its_peer_has_what_it_was_bound_to() {
    let mut outside = Outside::new();
    let free = |local: [u8; 4], port: u16| SocketAddr::new(IpAddr::from(local), port);
    for (bound, left) in [
        (Some(free([0, 0, 0, 0], 4000)), Some(free([0, 0, 0, 0], 4000))),
        (Some(free([10, 0, 0, 1], 4001)), Some(free([10, 0, 0, 1], 4001))),
        (None, None),
    ] {
        let socket = outside.stack.udp_open().expect("room");
        if let Some(bound) = bound {
            outside.stack.udp_bind(socket, bound).expect("free");
        }
        outside.stack.udp_connect(socket, (THEIRS, 9).into()).expect("reachable");
        let port = outside.stack.udp_addresses(socket).expect("open").0.expect("bound").port();
        outside.stack.udp_disconnect(socket).expect("open");
        assert_eq!(outside.stack.udp_addresses(socket), Ok((left, None)));
        outside.receive(ipv4(header(Protocol::UDP, 0), &datagram(port, b"from anybody")));
        assert_eq!(outside.stack.udp_receive(socket, false).is_ok(), left.is_some());
        outside.stack.udp_disconnect(socket).expect("nothing to do");
        // A call may name whom it is for though the socket has a peer, as on Linux.
        outside.stack.udp_connect(socket, (THEIRS, 9).into()).expect("again");
        let other = [UdpSend { destination: Some(([10, 0, 0, 8], 7).into()), ..UdpSend::default() }];
        assert_eq!(outside.stack.udp_send(outside.now, socket, other), Ok(1));
    }
}

#[test]
fn whoever_names_no_port_is_told_when_there_is_none() {
    let mut outside = Outside::new();
    let bind = |outside: &mut Outside, address: Ipv4Addr, port: u16| {
        let socket = outside.stack.udp_open().expect("room");
        (socket, outside.stack.udp_bind(socket, (address, port).into()))
    };
    let mut seen = std::collections::BTreeSet::new();
    let mut last = None;
    for _ in 0..16_384 {
        let (socket, bound) = bind(&mut outside, Ipv4Addr::UNSPECIFIED, 0);
        seen.insert(bound.expect("one is left").port());
        last = Some(socket);
    }
    assert_eq!((seen.len(), seen.first()), (16_384, Some(&49_152)));
    outside.forget();
    for address in [Ipv4Addr::UNSPECIFIED, OURS] {
        assert_eq!(bind(&mut outside, address, 0).1, Err(Errno::AddrInUse));
    }
    outside.raises(&[Counter::PortsExhausted; 2], &[]);
    let idle = outside.stack.udp_open().expect("room");
    assert_eq!(outside.stack.udp_connect(idle, (THEIRS, 9).into()), Err(Errno::AddrNotAvail));
    assert_eq!(send(&mut outside, idle, b"x", SendInfo::default()), Err(Errno::AddrNotAvail));
    assert!(bind(&mut outside, OURS, 1000).1.is_ok(), "a port below is a matter of its own");
    outside.stack.udp_close(last.expect("the last one")).expect("open");
    assert!(bind(&mut outside, OURS, 0).1.is_ok());
}

#[test]
fn a_tcp_connection_without_a_port_is_told_when_its_peer_has_all() {
    let mut outside = Outside::new();
    outside.receive(arp(rumpnet_wire::arp::Operation::Request, THEIRS, OURS));
    for _ in 0..16_384 {
        let socket = outside.stack.tcp_open().expect("room");
        outside.stack.tcp_connect(outside.now, socket, (THEIRS, 9).into()).expect("a port");
    }
    let socket = outside.stack.tcp_open().expect("room");
    let before = outside.stack.counter(Counter::PortsExhausted);
    let refused = outside.stack.tcp_connect(outside.now, socket, (THEIRS, 9).into());
    assert_eq!(refused, Err(Errno::AddrNotAvail));
    assert_eq!(outside.stack.counter(Counter::PortsExhausted), before + 1);
    outside
        .stack
        .tcp_connect(outside.now, socket, (THEIRS, 10).into())
        .expect("another peer, a port that others have");
}
