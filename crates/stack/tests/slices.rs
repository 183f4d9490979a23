//! What touches many connections goes in slices: one call visits a bounded number, says that it is due again at once, and the rest follows.
//!
//! Work is counted in connections, never in time.

use std::net::{Ipv4Addr, SocketAddrV4};

use rumpnet_proto::{
    AddressChange, Counter, DropReason, InterfaceFlags, LinkKind, NextHop, Reply, Request, RouteAttributes,
};
use rumpnet_stack::{
    Config, Event, Offloads, PortConfig, Resets, SocketId, Stack, Undelivered,
    buffer::{Offload, Received},
    time::{Duration, Instant},
};
use rumpnet_wire::{
    ethernet, ipv4,
    tcp::{Flags, Header, Seq},
};

const OURS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 80);
const NOW: Instant = Instant::from_secs(1);
/// Connections of every test here, and how many of them one call may visit.
const MANY: usize = 1000;
const SLICE: usize = 64;

/// A host with two plain IP links; our address is on the second, the peers' network is reached by the first.
fn host(backlog: u32) -> (Stack, SocketId) {
    let mut stack = Stack::boot(Config::default(), [7; 16], NOW);
    for name in ["tun0", "tun1"] {
        let mac = ethernet::Address([0; 6]);
        let port = PortConfig {
            kind: LinkKind::Ip,
            link_address: None,
            offloads: Offloads::NONE,
            ..PortConfig::ethernet(mac)
        };
        stack.create_interface(NOW, name, port).expect("a fresh stack has room");
        let (name, set, clear) = (name.into(), InterfaceFlags::UP, InterfaceFlags::empty());
        stack.control(NOW, Request::SetFlags { name, set, clear }).expect("there");
    }
    let (address, peer) = ((*OURS.ip()).into(), Some([10, 0, 0, 2].into()));
    let change = AddressChange { address, prefix_len: None, broadcast: None, peer, alias: false };
    stack.control(NOW, Request::AddAddress { name: "tun1".into(), change }).expect("a good address");
    for (destination, name) in
        [((Ipv4Addr::new(172, 16, 0, 0).into(), 12), "tun0"), ((Ipv4Addr::UNSPECIFIED.into(), 0), "tun1")]
    {
        let via = NextHop::Interface(name.into());
        stack
            .control(NOW, Request::AddRoute { destination, via, attributes: RouteAttributes::default() })
            .expect("a good route");
    }
    let listener = stack.tcp_open().expect("room");
    stack.tcp_bind(listener, OURS.into()).expect("free");
    stack.tcp_listen(listener, backlog).expect("bound");
    (stack, listener)
}

fn peer(number: usize) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(172, 16, 0, 1), 1024 + number as u16)
}

fn hear(stack: &mut Stack, from: SocketAddrV4, flags: Flags, (sequence, acknowledgment): (u32, u32)) {
    let header =
        Header { sequence: Seq(sequence), acknowledgment: Seq(acknowledgment), ..Header::new(0, 0, flags) };
    let mut bytes = vec![0; Header::MAX_PACKET_HEADERS];
    let len = header.emit_between(from, OURS, b"", &mut bytes).expect("room");
    bytes.truncate(len);
    stack.receive(NOW, 0, [Received::new(bytes.into(), Offload::default())]);
}

/// What a port has to send.
fn sent(stack: &mut Stack, port: u32) -> Vec<Header> {
    while stack.next_ready_port().is_some() {}
    let frames = std::iter::from_fn(|| stack.next_frame(port));
    frames
        .map(|frame| {
            let packet = frame.to_vec();
            let (_, segment) = ipv4::Header::parse(&packet).expect("a packet");
            Header::parse(segment).expect("a segment").0
        })
        .collect()
}

/// Opens connections by handshakes; the numbers that we expect next.
fn open_many(stack: &mut Stack) -> Vec<u32> {
    (0..MANY)
        .map(|number| {
            hear(stack, peer(number), Flags::SYN, (1000, 0));
            let next = sent(stack, 0)[0].sequence.0.wrapping_add(1);
            hear(stack, peer(number), Flags::ACK, (1001, next));
            next
        })
        .collect()
}

fn accept_many(stack: &mut Stack, listener: SocketId) -> Vec<SocketId> {
    (0..MANY).map(|_| stack.tcp_accept(listener).expect("it waits").0).collect()
}

/// Calls again while that is due at once, each time with at most a slice of progress; how many calls it took.
fn carry_on(stack: &mut Stack, mut progress: impl FnMut(&mut Stack) -> usize) -> usize {
    let (mut calls, mut before) = (0, progress(stack));
    while stack.next_deadline() == Some(NOW) {
        stack.on_timeout(NOW);
        let after = progress(stack);
        assert!(after.abs_diff(before) <= SLICE, "{} visited by one call", after.abs_diff(before));
        (calls, before) = (calls + 1, after);
    }
    calls
}

#[test]
fn a_listener_that_is_closed_has_what_waits_reset_a_slice_a_call() {
    let (mut stack, listener) = host(MANY as u32);
    open_many(&mut stack);
    assert_eq!(stack.socket_count() as usize, MANY + 1);
    stack.tcp_close(NOW, listener).expect("open");
    assert!(stack.socket_count() as usize >= MANY - SLICE);
    let mut resets = sent(&mut stack, 0).len();
    let calls = carry_on(&mut stack, |stack| {
        resets += sent(stack, 0).iter().filter(|header| header.flags.contains(Flags::RST)).count();
        stack.socket_count() as usize
    });
    assert_eq!((stack.socket_count(), resets), (0, MANY));
    assert!(calls >= MANY / SLICE - 1, "{calls}");
}

#[test]
fn the_end_of_a_kernel_tells_a_slice_of_connections_a_call_and_lets_nobody_in_meanwhile() {
    let (mut stack, listener) = host(MANY as u32);
    let numbers = open_many(&mut stack);
    accept_many(&mut stack, listener);
    stack.tcp_drain(NOW);
    hear(&mut stack, peer(MANY), Flags::SYN, (1, 0));
    assert_eq!(stack.drops(DropReason::TcpListenQueueFull), 1);
    let mut fins = 0;
    carry_on(&mut stack, |stack| {
        fins += sent(stack, 0).iter().filter(|header| header.flags.contains(Flags::FIN)).count();
        stack.tcp_undrained()
    });
    assert_eq!((stack.tcp_undrained(), fins), (MANY, MANY));
    let drained = |stack: &mut Stack| {
        std::iter::from_fn(|| stack.next_event()).filter(|event| *event == Event::Drained).count()
    };
    assert_eq!(drained(&mut stack), 0);
    for (number, next) in numbers.into_iter().enumerate() {
        hear(&mut stack, peer(number), Flags::ACK, (1001, next.wrapping_add(1)));
    }
    assert_eq!((stack.tcp_undrained(), drained(&mut stack)), (0, 1));
}

#[test]
fn a_kernel_without_connections_is_drained_at_once() {
    let (mut stack, _) = host(1);
    stack.tcp_drain(NOW);
    assert_eq!(stack.tcp_undrained(), 0);
    assert!(std::iter::from_fn(|| stack.next_event()).any(|event| event == Event::Drained));
}

#[test]
fn all_connections_are_reset_a_slice_a_call_and_what_is_lost_is_counted() {
    let (mut stack, listener) = host(MANY as u32);
    open_many(&mut stack);
    for socket in accept_many(&mut stack, listener) {
        stack.tcp_send(NOW, socket, b"unsent"[..].into()).expect("room");
    }
    let mut progress = Resets::default();
    let mut before = 0;
    let mut calls = 1;
    while stack.tcp_reset_some(NOW, &mut progress) {
        let resets = stack.counter(Counter::TcpResetsSent) as usize;
        assert!(resets - before <= SLICE, "{} visited by one call", resets - before);
        sent(&mut stack, 0);
        (before, calls) = (resets, calls + 1);
    }
    assert_eq!(progress.undelivered, Undelivered { connections: MANY as u32, bytes: 6 * MANY as u64 });
    assert_eq!(stack.counter(Counter::TcpResetsSent), MANY as u64);
    assert!(calls >= MANY / SLICE, "{calls}");
}

#[test]
fn connections_of_a_port_that_is_gone_find_another_way_a_slice_a_call() {
    let (mut stack, listener) = host(MANY as u32);
    open_many(&mut stack);
    for socket in accept_many(&mut stack, listener) {
        stack.tcp_send(NOW, socket, b"still here"[..].into()).expect("room");
    }
    // All of them wait for the first port to be pulled, which is destroyed instead.
    stack.destroy_interface(NOW, "tun0").expect("there");
    let mut elsewhere = 0;
    carry_on(&mut stack, |stack| {
        elsewhere += sent(stack, 1).len();
        elsewhere
    });
    // Whoever looked before the old route was forgotten tries again when its timer says so.
    let end = NOW + Duration::from_secs(5);
    while let Some(next) = stack.next_deadline().filter(|next| *next < end) {
        stack.on_timeout(next);
        elsewhere += sent(&mut stack, 1).len();
    }
    assert!(elsewhere >= MANY, "{elsewhere}");
}

#[test]
fn a_page_of_a_dump_looks_at_so_many_places_whoever_is_there() {
    let (mut stack, _) = host(1);
    let opened: Vec<SocketId> = (0..20_000).map(|_| stack.tcp_open().expect("room")).collect();
    let (last, others) = opened.split_last().expect("some");
    others.iter().for_each(|socket| stack.tcp_close(NOW, *socket).expect("open"));
    stack.tcp_bind(*last, SocketAddrV4::new(*OURS.ip(), 81).into()).expect("free");
    let (mut after, mut pages, mut found) = (None, 0, Vec::new());
    loop {
        let Ok(Reply::Sockets { sockets, next }) = stack.control(NOW, Request::Sockets { after }) else {
            panic!("sockets are always told")
        };
        pages += 1;
        found.extend(sockets.into_iter().filter_map(|socket| socket.local));
        let Some(next) = next else { break };
        assert!(Some(next) > after, "a dump goes on");
        after = Some(next);
    }
    assert_eq!(found.iter().map(|local| local.port()).collect::<Vec<_>>(), [80, 81]);
    assert_eq!(pages, 5, "20,001 places, 4,096 a page");
}
