//! Two stacks whose ports are joined by hand: the calls that every shell makes, and nothing else.

use rumpnet_proto::{
    AddressChange, Capabilities, Counter, DropReason, EchoOptions, EchoOutcome, Errno, InterfaceFlags, Reply,
    Request,
};
use rumpnet_stack::{
    Config, Endpoint, Offloads, PortConfig, SocketOption, Stack, UdpSend,
    buffer::Received,
    slab::Key,
    time::{Duration, Instant},
};
use rumpnet_wire::ethernet;

struct Pair {
    stacks: [Stack; 2],
    now: Instant,
}

fn address(host: u8) -> std::net::IpAddr {
    std::net::Ipv4Addr::new(10, 0, 0, host).into()
}

fn host(number: u8, offloads: Offloads) -> Stack {
    let mut stack = Stack::boot(Config::default(), [number; 16], Instant::ZERO);
    let link_address = ethernet::Address([0xb2, 0x0a, 0, 0, 0, number]);
    let port = PortConfig { offloads, ..PortConfig::ethernet(link_address) };
    assert_eq!(stack.create_interface(Instant::ZERO, "virt0", port), Ok(0));
    let change = AddressChange {
        address: address(number),
        prefix_len: Some(24),
        broadcast: None,
        peer: None,
        alias: false,
    };
    stack
        .control(Instant::ZERO, Request::AddAddress { name: "virt0".into(), change })
        .expect("a good address");
    stack
}

impl Pair {
    fn new(offloads: Offloads) -> Self {
        Self { stacks: [host(1, offloads), host(2, offloads)], now: Instant::ZERO }
    }

    /// Carries frames until no port has any.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            for from in 0..2 {
                while let Some(frame) = self.stacks[from].next_frame(0) {
                    self.stacks[1 - from].receive(self.now, 0, [Received::from(frame)]);
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn run_until(&mut self, end: Instant) {
        self.settle();
        while let Some(next) =
            self.stacks.iter().filter_map(Stack::next_deadline).min().filter(|next| *next <= end)
        {
            self.now = self.now.max(next);
            self.stacks.iter_mut().for_each(|stack| stack.on_timeout(self.now));
            self.settle();
        }
        self.now = end;
    }
}

fn echo(stack: &mut Stack, now: Instant, to: std::net::IpAddr, size: u16) -> u64 {
    let options = EchoOptions { size, ..EchoOptions::to(to) };
    let Ok(Reply::Echo { echo, .. }) = stack.control(now, Request::EchoOpen(options)) else {
        panic!("no session")
    };
    stack.control(now, Request::EchoSend { echo, sequence: 1 }).expect("sent");
    echo
}

#[test]
fn an_echo_finds_its_way_through_arp_and_back() {
    for size in [0, 56, 1472, 1473, 65_507] {
        let mut pair = Pair::new(Offloads::ALL);
        let session = echo(&mut pair.stacks[0], pair.now, address(2), size);
        pair.settle();
        let replies = pair.stacks[0].echo_receive(Key::from(session)).expect("open");
        let outcomes: Vec<_> = replies.iter().map(|reply| (reply.outcome, reply.size, reply.ttl)).collect();
        assert_eq!(outcomes, [(EchoOutcome::Reply, size.saturating_add(8), 64)], "{size} bytes");
        assert_eq!(pair.stacks[1].counter(Counter::IcmpEchoRequests), 1);
    }
}

#[test]
fn an_echo_to_ourselves_stays_inside() {
    let mut pair = Pair::new(Offloads::ALL);
    for to in [address(1), std::net::Ipv4Addr::LOCALHOST.into()] {
        let session = echo(&mut pair.stacks[0], pair.now, to, 56);
        let replies = pair.stacks[0].echo_receive(Key::from(session)).expect("open");
        assert_eq!(replies.len(), 1, "{to}");
    }
}

fn datagrams(payload: &'static [u8], segment: Option<u16>, to: std::net::SocketAddr) -> [UdpSend; 1] {
    [UdpSend {
        payload: bytes::Bytes::from_static(payload),
        segment,
        destination: Some(to),
        source: None,
        info: Default::default(),
    }]
}

#[test]
fn a_train_crosses_whole_where_both_ends_can_and_in_pieces_where_not() {
    for (offloads, trains) in [(Offloads::ALL, 1), (Offloads::NONE, 3)] {
        let mut pair = Pair::new(offloads);
        let receiver = pair.stacks[1].udp_open().expect("room");
        let to = pair.stacks[1].udp_bind(receiver, (address(2), 9).into()).expect("free");
        let sender = pair.stacks[0].udp_open().expect("room");
        let sent = pair.stacks[0].udp_send(pair.now, sender, datagrams(b"abcabcab", Some(3), to));
        assert_eq!(sent, Ok(1));
        pair.settle();
        let mut received = Vec::new();
        assert_eq!(pair.stacks[1].udp_receive_batch(receiver, &mut received, 16), Ok(trains));
        let bytes: Vec<u8> = received.iter().flat_map(|datagram| datagram.payload.to_bytes()).collect();
        assert_eq!(bytes, b"abcabcab");
        assert_eq!(pair.stacks[0].counter(Counter::UdpSent), 3);
        let dropped = DropReason::ALL.iter().filter(|reason| pair.stacks[1].drops(**reason) > 0);
        // The other host's probe of its own address.
        assert_eq!(dropped.copied().collect::<Vec<_>>(), [DropReason::ArpNotForUs]);
    }
}

#[test]
fn a_port_whose_far_end_changes_cuts_trains_from_then_on_and_forgets_no_choice_of_the_user() {
    let mut pair = Pair::new(Offloads::ALL);
    let to = (address(2), 9).into();
    let sender = pair.stacks[0].udp_open().expect("room");
    let segmented = |pair: &mut Pair| {
        pair.stacks[0].udp_send(pair.now, sender, datagrams(b"abcabcab", Some(3), to)).expect("sent");
        pair.settle();
        pair.stacks[0].counter(Counter::SegmentedInSoftware)
    };
    assert_eq!(segmented(&mut pair), 0);
    pair.stacks[0].set_offloads(0, Offloads::NONE);
    assert_eq!(segmented(&mut pair), 1);
    pair.stacks[0].set_offloads(0, Offloads::ALL);
    assert_eq!(segmented(&mut pair), 1);
    let (enable, disable) = (Capabilities::empty(), Capabilities::USO4);
    let request = Request::SetCapabilities { name: "virt0".into(), enable, disable };
    pair.stacks[0].control(pair.now, request).expect("a capability it has");
    pair.stacks[0].set_offloads(0, Offloads::ALL);
    assert_eq!(segmented(&mut pair), 2);
}

#[test]
fn a_train_is_received_one_by_one_as_well() {
    let mut pair = Pair::new(Offloads::ALL);
    let receiver = pair.stacks[1].udp_open().expect("room");
    let to = pair.stacks[1].udp_bind(receiver, (address(2), 9).into()).expect("free");
    let sender = pair.stacks[0].udp_open().expect("room");
    pair.stacks[0].udp_send(pair.now, sender, datagrams(b"abcabcab", Some(3), to)).expect("sent");
    pair.settle();
    let mut one = || pair.stacks[1].udp_receive(receiver, false).map(|datagram| datagram.payload.to_bytes());
    assert_eq!([one(), one(), one()], [Ok("abc".into()), Ok("abc".into()), Ok("ab".into())]);
    assert_eq!(one(), Err(Errno::Again));
}

#[test]
fn a_connected_socket_hears_that_nobody_listens() {
    let mut pair = Pair::new(Offloads::ALL);
    let socket = pair.stacks[0].udp_open().expect("room");
    pair.stacks[0].udp_connect(socket, (address(2), 7).into()).expect("a route");
    let send = UdpSend {
        payload: bytes::Bytes::from_static(b"x"),
        segment: None,
        destination: None,
        source: None,
        info: Default::default(),
    };
    pair.stacks[0].udp_send(pair.now, socket, [send]).expect("sent");
    pair.settle();
    assert_eq!(pair.stacks[1].drops(DropReason::UdpNoSocket), 1);
    assert_eq!(pair.stacks[0].udp_receive(socket, false).map(|_| ()), Err(Errno::ConnRefused));
}

#[test]
fn a_broadcast_needs_leave() {
    let mut pair = Pair::new(Offloads::ALL);
    let receiver = pair.stacks[1].udp_open().expect("room");
    pair.stacks[1].udp_bind(receiver, ([0, 0, 0, 0], 9).into()).expect("free");
    let sender = pair.stacks[0].udp_open().expect("room");
    for to in [([255, 255, 255, 255], 9).into(), ([10, 0, 0, 255], 9).into()] {
        pair.stacks[0].udp_set_option(sender, SocketOption::Broadcast(false)).expect("known");
        assert_eq!(pair.stacks[0].udp_send(pair.now, sender, datagrams(b"x", None, to)), Err(Errno::Acces));
        pair.stacks[0].udp_set_option(sender, SocketOption::Broadcast(true)).expect("known");
        pair.stacks[0].udp_send(pair.now, sender, datagrams(b"x", None, to)).expect("sent");
        pair.settle();
        assert_eq!(pair.stacks[1].udp_receive(receiver, false).map(|datagram| datagram.payload.len()), Ok(1));
    }
}

#[test]
fn an_address_is_probed_three_times_and_announced_twice_but_usable_at_once() {
    let mut pair = Pair::new(Offloads::ALL);
    assert_eq!(pair.stacks[0].counter(Counter::ArpProbesSent), 1);
    let session = echo(&mut pair.stacks[0], pair.now, address(2), 56);
    pair.settle();
    assert_eq!(pair.stacks[0].echo_receive(Key::from(session)).expect("open").len(), 1);
    pair.run_until(Instant::ZERO + Duration::from_secs(20));
    assert_eq!(pair.stacks[0].counter(Counter::ArpProbesSent), 3);
    assert_eq!(pair.stacks[0].counter(Counter::ArpAnnouncementsSent), 2);
}

#[test]
fn a_neighbour_that_is_silent_makes_the_sender_hear_host_unreachable() {
    let mut pair = Pair::new(Offloads::ALL);
    let socket = pair.stacks[0].udp_open().expect("room");
    pair.stacks[0]
        .udp_send(pair.now, socket, datagrams(b"x", None, (address(77), 9).into()))
        .expect("queued");
    pair.run_until(Instant::ZERO + Duration::from_secs(4));
    assert_eq!(pair.stacks[0].drops(DropReason::NeighborUnreachable), 1);
    assert_eq!(pair.stacks[0].udp_take_error(socket), Ok(Some(Errno::HostUnreach)));
}

#[test]
fn a_destroyed_interface_takes_its_addresses_and_routes_along() {
    let mut pair = Pair::new(Offloads::ALL);
    let stack = &mut pair.stacks[0];
    assert_eq!(stack.destroy_interface(pair.now, "virt0"), Ok(Some(0)));
    assert_eq!(stack.destroy_interface(pair.now, "virt0").map_err(|error| error.errno), Err(Errno::Nxio));
    assert_eq!(stack.destroy_interface(pair.now, "lo0").map_err(|error| error.errno), Err(Errno::Perm));
    let Ok(Reply::Routes { routes, .. }) = stack.control(pair.now, Request::Routes { after: None }) else {
        panic!()
    };
    assert_eq!(routes.len(), 1, "127/8 alone is left: {routes:?}");
    let socket = stack.udp_open().expect("room");
    let sent = stack.udp_send(pair.now, socket, datagrams(b"x", None, (address(2), 9).into()));
    assert_eq!(sent, Err(Errno::HostUnreach));
}

#[test]
fn an_interface_that_is_down_says_so() {
    let mut pair = Pair::new(Offloads::ALL);
    let (set, clear) = (InterfaceFlags::empty(), InterfaceFlags::UP);
    pair.stacks[0]
        .control(pair.now, Request::SetFlags { name: "virt0".into(), set, clear })
        .expect("may go down");
    let socket = pair.stacks[0].udp_open().expect("room");
    let sent = pair.stacks[0].udp_send(pair.now, socket, datagrams(b"x", None, (address(2), 9).into()));
    assert_eq!(sent, Err(Errno::NetDown));
}

#[test]
fn a_connected_socket_hears_its_peer_alone() {
    let mut pair = Pair::new(Offloads::ALL);
    let receiver = pair.stacks[1].udp_open().expect("room");
    let to = pair.stacks[1].udp_bind(receiver, (address(2), 9).into()).expect("free");
    pair.stacks[1].udp_connect(receiver, (address(1), 5000).into()).expect("a route");
    for (port, heard) in [(5000, true), (5001, false)] {
        let sender = pair.stacks[0].udp_open().expect("room");
        pair.stacks[0].udp_bind(sender, (address(1), port).into()).expect("free");
        pair.stacks[0].udp_send(pair.now, sender, datagrams(b"x", None, to)).expect("sent");
        pair.settle();
        assert_eq!(pair.stacks[1].udp_receive(receiver, false).is_ok(), heard, "from port {port}");
    }
    assert_eq!(pair.stacks[1].drops(DropReason::UdpNoSocket), 1);
}

#[test]
fn room_in_the_send_buffer_comes_back_however_a_datagram_ends() {
    let mut pair = Pair::new(Offloads::NONE);
    let sender = pair.stacks[0].udp_open().expect("room");
    pair.stacks[0].udp_set_option(sender, SocketOption::SendBuffer(8000)).expect("in range");
    let big: &'static [u8] = &[7; 5000];
    for (host, ends) in [(2, "sent in fragments"), (77, "given up with its neighbour"), (2, "sent again")] {
        let to = (address(host), 9).into();
        assert_eq!(pair.stacks[0].udp_send(pair.now, sender, datagrams(big, None, to)), Ok(1), "{ends}");
        assert_eq!(pair.stacks[0].udp_send(pair.now, sender, datagrams(big, None, to)), Err(Errno::Again));
        assert!(!pair.stacks[0].readiness(Endpoint::Udp(sender)).writable, "a sender that was refused waits");
        pair.run_until(pair.now + Duration::from_secs(5));
        assert!(pair.stacks[0].readiness(Endpoint::Udp(sender)).writable, "{ends}");
        let _pending = pair.stacks[0].udp_take_error(sender);
        assert_eq!(
            pair.stacks[0].udp_send(pair.now, sender, datagrams(&[], None, to)).is_ok(),
            host == 2,
            "{ends}"
        );
        pair.settle();
    }
}

#[test]
fn loopback_addresses_from_a_wire_are_dropped() {
    let mut pair = Pair::new(Offloads::ALL);
    let sender = pair.stacks[0].udp_open().expect("room");
    pair.stacks[0].udp_send(pair.now, sender, datagrams(b"x", None, (address(2), 9).into())).expect("sent");
    pair.settle();
    pair.stacks[0].udp_send(pair.now, sender, datagrams(b"x", None, (address(2), 9).into())).expect("sent");
    let frame = pair.stacks[0].next_frame(0).expect("resolved").to_vec();
    // Source and destination lie at bytes 26 and 30 of the frame; the header checksum at 24 is mended.
    for (place, reason) in [(26, DropReason::Ipv4SourceInvalid), (30, DropReason::Ipv4DestinationInvalid)] {
        let mut frame = frame.clone();
        frame[place] = 127;
        frame[24..26].fill(0);
        let checksum = rumpnet_wire::checksum::of(&frame[14..34]);
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        let received = Received::new(frame.into(), rumpnet_stack::buffer::Offload::default());
        pair.stacks[1].receive(pair.now, 0, [received]);
        assert_eq!(pair.stacks[1].drops(reason), 1, "{reason}");
    }
}
