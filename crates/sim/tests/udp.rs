//! UDP sockets and the loopback in worlds: RFC 768, RFC 1122 section 4.1, udp(4).

mod support;

use std::{io::ErrorKind, net::Ipv4Addr, time::Duration};

use rumpnet_sim::{
    Offloads, SocketOption, UdpSocket, future,
    proto::{Counter, DropReason},
    scenario, sleep, timeout,
    wire::{
        icmpv4::{Message, UnreachableCode},
        ip::Protocol,
    },
};
use support::{A, Pair, S, Visited, bound, header, ms, packet, packets, secs, udp_packet};

#[test]
fn an_address_is_bound_once_and_only_if_it_is_ours() {
    scenario(|world| {
        let pair = Pair::new(world);
        let bind = |local: &str| UdpSocket::bind(&pair.a, local).map_err(|error| error.kind());
        let first = bind("10.0.0.1:9").expect("free");
        assert_eq!(bind("10.0.0.1:9").err(), Some(ErrorKind::AddrInUse));
        assert_eq!(bind("10.0.0.77:9").err(), Some(ErrorKind::AddrNotAvailable));
        assert_eq!(bind("localhost:9").err(), Some(ErrorKind::InvalidInput));
        drop(first);
        assert!(bind("10.0.0.1:9").is_ok(), "a closed socket leaves its address");
        let (one, two) = (bind("10.0.0.1:0").expect("a port"), bind("10.0.0.1:0").expect("a port"));
        let ports = [&one, &two].map(|socket| socket.local_addr().expect("bound").port());
        assert!(ports.iter().all(|port| *port >= 49_152) && ports[0] != ports[1], "{ports:?}");
    });
}

#[test]
fn a_socket_bound_to_the_wildcard_hears_every_address_and_answers_from_the_right_one() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.virt_b.address("10.0.0.22/24");
        let server = bound(&pair.b, "0.0.0.0:7");
        let client = bound(&pair.a, "10.0.0.1:0");
        for to in [[10, 0, 0, 2], [10, 0, 0, 22]] {
            client.send_to(b"?", (Ipv4Addr::from(to), 7)).expect("queued");
            let (_, meta) = server.recv_meta(&mut [0; 8]).expect("a datagram");
            assert_eq!(meta.destination, (to, 7).into());
        }
    });
}

#[test]
fn a_connected_socket_hears_its_peer_and_errors_about_it() {
    scenario(|world| {
        let pair = Pair::new(world);
        let client = bound(&pair.a, "10.0.0.1:5000");
        client.connect("10.0.0.2:7").expect("a route");
        client.send(b"anybody?").expect("queued");
        let refused = client.recv(&mut [0; 8]).expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(pair.b.drops(DropReason::UdpNoSocket), 1);
        let server = bound(&pair.b, "10.0.0.2:7");
        let other = bound(&pair.b, "10.0.0.2:8");
        other.send_to(b"no", "10.0.0.1:5000").expect("queued");
        server.send_to(b"yes", "10.0.0.1:5000").expect("queued");
        let mut buffer = [0; 8];
        let len = client.recv(&mut buffer).expect("a datagram");
        assert_eq!(&buffer[..len], b"yes");
        assert_eq!(pair.a.drops(DropReason::UdpNoSocket), 1);
    });
}

#[test]
fn an_unconnected_socket_is_not_told_of_errors() {
    scenario(|world| {
        let pair = Pair::new(world);
        let client = bound(&pair.a, "10.0.0.1:5000");
        client.send_to(b"anybody?", "10.0.0.2:7").expect("queued");
        world.run_until_idle();
        assert_eq!(pair.a.counter(Counter::IcmpErrorsReceived), 1);
        assert!(client.take_error().expect("open").is_none());
    });
}

#[test]
fn errors_of_routers_reach_the_socket_as_their_errno() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let client = bound(&visited.a, "10.0.0.1:5000");
        client.connect((S, 7)).expect("a route");
        let kinds = [
            (UnreachableCode::HOST, ErrorKind::HostUnreachable),
            (UnreachableCode::NETWORK, ErrorKind::NetworkUnreachable),
            (UnreachableCode::PORT, ErrorKind::ConnectionRefused),
        ];
        for (code, kind) in kinds {
            client.send(b"x").expect("known");
            world.run_until_idle();
            let (sent, payload) = packets(&visited.stranger.heard()).remove(0);
            let quote = packet(&sent, &payload);
            let mut sum = rumpnet_sim::wire::checksum::Sum::new();
            sum.add(&quote);
            let message = Message::DestinationUnreachable { code, next_hop_mtu: 0 };
            let error = [&message.to_bytes(sum)[..], &quote].concat();
            visited.say(world, &packet(&header(S, A, Protocol::ICMP, error.len()), &error));
            let heard = client.recv(&mut [0; 8]).expect_err("an error waits");
            assert_eq!(heard.kind(), kind, "{code:?}");
        }
    });
}

#[test]
fn a_silent_neighbour_is_host_unreachable_to_whoever_sent() {
    scenario(|world| {
        let pair = Pair::new(world);
        let client = bound(&pair.a, "10.0.0.1:5000");
        client.send_to(b"x", "10.0.0.77:7").expect("queued");
        world.run_for(secs(5));
        let error = client.take_error().expect("open").expect("pending");
        assert_eq!(error.kind(), ErrorKind::HostUnreachable);
    });
}

#[test]
fn what_has_no_way_is_refused_at_once() {
    scenario(|world| {
        let pair = Pair::new(world);
        let client = bound(&pair.a, "0.0.0.0:0");
        let refused = |to: &str| client.send_to(b"x", to).map_err(|error| error.kind()).expect_err("refused");
        assert_eq!(refused("192.0.2.1:7"), ErrorKind::HostUnreachable);
        assert_eq!(refused("10.0.0.255:7"), ErrorKind::PermissionDenied);
        assert_eq!(
            client.send(b"x").map_err(|error| error.to_string()).err().as_deref(),
            Some("Destination address required")
        );
        pair.virt_a.down();
        assert_eq!(refused("10.0.0.2:7"), ErrorKind::NetworkDown);
    });
}

#[test]
fn a_broadcast_reaches_every_host_on_the_link() {
    scenario(|world| {
        let pair = Pair::new(world);
        let c = world.host("c");
        pair.cable.connect(&c.interface("virt0").address("10.0.0.3/24"));
        let listeners = [bound(&pair.b, "0.0.0.0:9"), bound(&c, "0.0.0.0:9")];
        let sender = bound(&pair.a, "10.0.0.1:9");
        sender.set_broadcast(true).expect("open");
        for to in ["10.0.0.255:9", "255.255.255.255:9"] {
            sender.send_to(b"all", to).expect("leave");
            for listener in &listeners {
                assert_eq!(listener.recv(&mut [0; 8]).expect("a datagram"), 3, "{to}");
            }
        }
        assert_eq!(pair.b.counter(Counter::UdpBroadcastReceived), 2);
    });
}

#[test]
fn a_full_receive_buffer_drops_what_comes_last_and_counts_it() {
    scenario(|world| {
        let pair = Pair::new(world);
        let receiver = bound(&pair.b, "10.0.0.2:9");
        receiver.set_option(SocketOption::ReceiveBuffer(8192)).expect("in range");
        let sender = bound(&pair.a, "10.0.0.1:9");
        for number in 0..20_u8 {
            sender.send_to(&[number; 1000], "10.0.0.2:9").expect("room");
        }
        world.run_until_idle();
        let dropped = pair.b.drops(DropReason::UdpSocketFull);
        assert!((10..20).contains(&dropped), "{dropped}");
        receiver.set_nonblocking(true).expect("always");
        let mut buffer = [0; 1000];
        let kept: Vec<u8> =
            std::iter::from_fn(|| receiver.recv(&mut buffer).ok().map(|_| buffer[0])).collect();
        assert_eq!(kept, (0..20 - dropped as u8).collect::<Vec<_>>());
    });
}

#[test]
fn a_sender_waits_for_room_and_nothing_it_sends_is_lost() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.cable.set(|conditions| conditions.bandwidth = Some(8_000_000));
        let sender = future::UdpSocket::bind(&pair.a, "10.0.0.1:9").expect("free");
        sender.set_option(SocketOption::SendBuffer(10_000)).expect("in range");
        let receiver = future::UdpSocket::bind(&pair.b, "10.0.0.2:9").expect("free");
        let received = pair.b.spawn(async move {
            let mut buffer = [0; 1000];
            for number in 0..200_u8 {
                receiver.recv(&mut buffer).await.expect("open");
                assert_eq!(buffer[0], number);
            }
            rumpnet_sim::now()
        });
        let start = world.now();
        drop(pair.a.spawn(async move {
            for number in 0..200_u8 {
                sender.send_to(&[number; 958], "10.0.0.2:9").await.expect("room in time");
            }
        }));
        // Thousand-byte frames leave one a millisecond, after ARP.
        let took = world.block_on(received) - start;
        assert!((ms(200)..ms(201)).contains(&took), "{took:?}");
        assert_eq!(pair.a.drops(DropReason::LinkQueueFull), 0);
    });
}

#[test]
fn trains_arrive_whole_or_in_pieces_and_read_the_same() {
    for offloads in [Offloads::ALL, Offloads::NONE] {
        scenario(|world| {
            let pair = Pair::new(world);
            pair.cable.set_offloads(offloads);
            let (sender, receiver) = (bound(&pair.a, "10.0.0.1:9"), bound(&pair.b, "10.0.0.2:9"));
            let payload: Vec<u8> = (0..10_500).map(|place| (place / 1000) as u8).collect();
            sender.send_train(payload.into(), 1000, Some(([10, 0, 0, 2], 9).into())).expect("room");
            let mut buffer = [0; 2000];
            for number in 0..11 {
                let len = receiver.recv(&mut buffer).expect("a datagram");
                assert_eq!((len, buffer[0]), (if number < 10 { 1000 } else { 500 }, number));
            }
            assert_eq!(pair.a.counter(Counter::UdpSent), 11);
            for counter in [Counter::UdpReceived, Counter::UdpDelivered] {
                assert_eq!(pair.b.counter(counter), 11, "{counter} of {offloads:?}");
            }
        });
    }
}

#[test]
fn a_batch_of_equal_datagrams_leaves_as_one_train() {
    scenario(|world| {
        let pair = Pair::new(world);
        let (sender, receiver) = (bound(&pair.a, "10.0.0.1:9"), bound(&pair.b, "10.0.0.2:9"));
        let payloads: Vec<&[u8]> = vec![b"aaaa", b"bbbb", b"cccc", b"dd"];
        let to = Some(([10, 0, 0, 2], 9).into());
        assert_eq!(sender.send_batch(&payloads, to).expect("room"), 4);
        world.run_until_idle();
        let mut trains = Vec::new();
        assert_eq!(receiver.recv_trains(&mut trains, 16).expect("trains"), 2);
    });
}

#[test]
fn waiting_ends_when_the_patience_does() {
    scenario(|world| {
        let host = world.host("a");
        let socket = bound(&host, "127.0.0.1:9");
        socket.set_read_timeout(Some(ms(700))).expect("not zero");
        let error = socket.recv(&mut [0; 8]).expect_err("nothing comes");
        assert_eq!((error.kind(), world.now()), (ErrorKind::WouldBlock, ms(700)));
    });
}

#[test]
fn looking_at_a_datagram_leaves_it_there() {
    scenario(|world| {
        let host = world.host("a");
        let socket = bound(&host, "127.0.0.1:9");
        socket.send_to(b"me", "127.0.0.1:9").expect("room");
        let mut buffer = [0; 1];
        assert_eq!(socket.peek_from(&mut buffer).expect("there").0, 1, "what does not fit is not counted");
        assert_eq!(socket.recv(&mut [0; 8]).expect("still there"), 2);
    });
}

#[test]
fn the_loopback_needs_no_cable_and_no_arp() {
    scenario(|world| {
        let host = world.host("a");
        host.interface("virt0").address("10.0.0.1/24");
        let server = future::UdpSocket::bind(&host, "0.0.0.0:7").expect("free");
        drop(host.spawn(async move {
            let mut buffer = [0; 64];
            loop {
                let (len, from) = server.recv_from(&mut buffer).await.expect("open");
                server.send_to(&buffer[..len], from).await.expect("room");
            }
        }));
        for to in ["127.0.0.1:7", "127.9.9.9:7"] {
            let client = bound(&host, "127.0.0.1:0");
            client.send_to(b"self", to).expect("room");
            assert_eq!(client.recv(&mut [0; 8]).expect("an answer"), 4, "{to}");
        }
        assert_eq!(host.counter(Counter::ArpRequestsSent), 0);
        assert_eq!(world.now(), Duration::ZERO);
    });
}

#[test]
fn packets_to_our_own_address_stay_inside() {
    scenario(|world| {
        let pair = Pair::new(world);
        let sent = pair.cable.counters().sent;
        let (server, client) = (bound(&pair.a, "10.0.0.1:7"), bound(&pair.a, "10.0.0.1:8"));
        client.send_to(b"self", "10.0.0.1:7").expect("room");
        assert_eq!(server.recv(&mut [0; 8]).expect("a datagram"), 4);
        assert_eq!(pair.cable.counters().sent, sent);
    });
}

#[test]
fn a_task_that_waits_for_a_socket_is_woken_by_each_datagram() {
    scenario(|world| {
        let pair = Pair::new(world);
        let (sender, receiver) = (
            future::UdpSocket::bind(&pair.a, "10.0.0.1:9").expect("free"),
            future::UdpSocket::bind(&pair.b, "10.0.0.2:9").expect("free"),
        );
        drop(pair.a.spawn(async move {
            for number in 0..5 {
                sleep(ms(100)).await;
                sender.send_to(&[number], "10.0.0.2:9").await.expect("room");
            }
        }));
        let heard = pair.b.block_on(async move {
            let mut heard = Vec::new();
            let mut buffer = [0; 1];
            while let Ok(Ok(_)) = timeout(secs(1), receiver.recv(&mut buffer)).await {
                heard.push(buffer[0]);
            }
            heard
        });
        assert_eq!(heard, [0, 1, 2, 3, 4]);
    });
}

#[test]
fn a_checksum_of_zero_is_no_checksum_and_any_other_must_be_right() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let receiver = bound(&visited.a, "10.0.0.1:9");
        let good = udp_packet((S, 5), (A, 9), b"hello");
        visited.say(world, &good);
        assert_eq!(receiver.recv(&mut [0; 8]).expect("a datagram"), 5);
        let mut wrong = good;
        wrong[26] = 1;
        visited.say(world, &wrong);
        assert_eq!(visited.a.drops(DropReason::UdpChecksum), 1);
    });
}
