//! Raw, ICMP and packet sockets, pktinfo, kept errors and trains in worlds (net/net t_raw, t_pktinfo, t_bind, t_udp, net/bpf t_bpf of NetBSD's tests).

mod support;

use std::{io::ErrorKind, net::IpAddr};

use rumpnet_sim::{
    Captured, Direction, ErrorOrigin, PacketOption, RawSocket, SendInfo, SocketOption, UdpSocket, future,
    proto::{Counter, DropReason, InterfaceFlags},
    scenario, sleep,
    wire::{checksum::Sum, ethernet, icmpv4::Message, ip::Protocol, ipv4},
};
use support::{Pair, bound, ms};

fn literal(text: &str) -> IpAddr {
    text.parse().expect("a literal")
}

fn echo(sequence: u16) -> Vec<u8> {
    Message::EchoRequest { identifier: 0, sequence }.to_bytes(Sum::new()).to_vec()
}

#[test]
fn tasks_that_wait_for_raw_and_icmp_sockets_are_woken_by_what_they_hear() {
    scenario(|world| {
        let pair = Pair::new(world);
        let raw = future::RawSocket::open(&pair.b, 1).expect("room");
        let heard = pair.b.spawn(async move {
            let mut buffer = [0; 99];
            let (len, from) = raw.recv_from(&mut buffer).await.expect("an echo request");
            let (_, message) = ipv4::Header::parse(&buffer[..len]).expect("the IP header comes first");
            (from, message[0])
        });
        let pinged = pair.a.block_on({
            let a = pair.a.clone();
            async move {
                sleep(ms(10)).await;
                let socket = future::IcmpSocket::open(&a).expect("room");
                socket.send_to(&echo(7), literal("10.0.0.2")).await.expect("sent");
                let mut buffer = [0; 99];
                let (len, from) = socket.recv_from(&mut buffer).await.expect("answered");
                (
                    Message::parse(&buffer[..len]).expect("good").0,
                    from,
                    socket.local_addr().expect("bound").port(),
                )
            }
        });
        let (message, from, identifier) = pinged;
        assert_eq!((message, from), (Message::EchoReply { identifier, sequence: 7 }, literal("10.0.0.2")));
        assert_eq!(world.block_on(heard), (literal("10.0.0.1"), 8));
        assert_eq!(pair.b.counter(Counter::RawDelivered), 1);
    });
}

#[test]
fn a_protocol_is_refused_until_a_raw_socket_speaks_it() {
    scenario(|world| {
        let pair = Pair::new(world);
        let sender = RawSocket::open(&pair.a, 89).expect("room");
        sender.connect(literal("10.0.0.2")).expect("reachable");
        sender.send(b"hello").expect("sent");
        let refused = sender.recv(&mut [0; 9]).expect_err("nobody speaks it");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(pair.b.drops(DropReason::Ipv4UnknownProtocol), 1);
        let listener = RawSocket::open(&pair.b, 89).expect("room");
        sender.send(b"hello").expect("sent");
        let mut buffer = [0; 99];
        let len = listener.recv(&mut buffer).expect("heard");
        assert_eq!(&buffer[20..len], b"hello");
        assert_eq!(pair.b.drops(DropReason::Ipv4UnknownProtocol), 1);
    });
}

#[test]
fn a_datagram_tells_where_it_came_in_and_an_answer_goes_by_what_it_names() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.virt_b.address("10.0.0.22/24");
        let server = bound(&pair.b, "0.0.0.0:7");
        let client = bound(&pair.a, "10.0.0.1:5000");
        client.send_to(b"?", "10.0.0.22:7").expect("queued");
        let (_, meta) = server.recv_meta(&mut [0; 9]).expect("a question");
        assert_eq!((meta.destination.ip(), meta.ttl, meta.len), (literal("10.0.0.22"), 64, 1));
        let info = SendInfo {
            interface: Some(meta.interface),
            source: Some(meta.destination.ip()),
            ttl: Some(3),
            tos: Some(0x20),
        };
        server.send_info(b"!", Some(meta.source), info).expect("queued");
        let (_, meta) = client.recv_meta(&mut [0; 9]).expect("an answer");
        assert_eq!((meta.source, meta.ttl, meta.tos), ("10.0.0.22:7".parse().expect("literal"), 3, 0x20));
    });
}

#[test]
fn a_task_that_waits_for_errors_is_woken_by_one_and_told_its_cause() {
    scenario(|world| {
        let pair = Pair::new(world);
        let a = pair.a.clone();
        let told = pair.a.block_on(async move {
            let socket = future::UdpSocket::bind(&a, "0.0.0.0:0").expect("free");
            socket.set_option(SocketOption::ReceiveErrors(true)).expect("known");
            assert_eq!(socket.recv_error().expect_err("none yet").kind(), ErrorKind::WouldBlock);
            socket.send_to(b"anybody?", "10.0.0.2:9").await.expect("queued");
            socket.error_queued().await.expect("open");
            socket.recv_error().expect("kept")
        });
        assert_eq!(
            (told.origin, told.offender),
            (ErrorOrigin::Icmp { kind: 3, code: 3 }, Some(literal("10.0.0.2")))
        );
        assert_eq!(&told.payload[..], b"anybody?");
    });
}

#[test]
fn a_train_is_read_in_one_piece_with_the_length_of_its_parts() {
    scenario(|world| {
        let pair = Pair::new(world);
        let server = bound(&pair.b, "10.0.0.2:7");
        let client = bound(&pair.a, "10.0.0.1:5000");
        let payload: Vec<u8> = (0..250).collect();
        client
            .send_train(payload.clone().into(), 100, Some("10.0.0.2:7".parse().expect("literal")))
            .expect("queued");
        let (mut buffer, mut got) = ([0; 1000], Vec::new());
        // However the cable has carried it: as one train, or as datagrams.
        while got.len() < payload.len() {
            let (len, segment, meta) = server.recv_train(&mut buffer).expect("a train");
            assert!(segment <= 100 && meta.len == len, "{segment}");
            got.extend_from_slice(&buffer[..len]);
        }
        assert_eq!(got, payload);
    });
}

#[test]
fn a_socket_of_one_interface_is_deaf_to_the_others() {
    scenario(|world| {
        let pair = Pair::new(world);
        let client = bound(&pair.a, "10.0.0.1:5000");
        let (here, elsewhere) = (bound_to(&pair.b, "virt0"), bound_to(&pair.b, "lo0"));
        client.send_to(b"?", "10.0.0.2:7").expect("queued");
        here.recv(&mut [0; 9]).expect("by virt0");
        world.run_until_idle();
        elsewhere.set_nonblocking(true).expect("always");
        assert_eq!(elsewhere.recv(&mut [0; 9]).expect_err("not by lo0").kind(), ErrorKind::WouldBlock);
        assert_eq!(
            here.bind_device(Some("virt9")).expect_err("absent").to_string(),
            "Operation not supported by device"
        );
    });
}

fn bound_to(host: &rumpnet_sim::Host, interface: &str) -> UdpSocket {
    let index = host.stack(|stack, _| stack.interface_index(interface)).expect("there");
    UdpSocket::bind_with(host, "0.0.0.0:7", &[SocketOption::Interface(index)])
        .expect("free on this interface")
}

#[test]
fn a_packet_written_to_a_down_interface_is_refused_and_to_an_up_one_received_by_its_neighbour() {
    scenario(|world| {
        let pair = Pair::new(world);
        let socket = rumpnet_sim::PacketSocket::open(&pair.a).expect("room");
        let to_all = [&[0xff; 6][..], &[0; 6], b"\x12\x34what nobody speaks"].concat();
        assert_eq!(socket.send(&to_all).expect_err("no interface").to_string(), "Device not configured");
        assert_eq!(socket.attach("virt9").expect_err("absent").to_string(), "Device not configured");
        socket.attach("virt0").expect("there");
        pair.virt_a.down();
        assert_eq!(socket.send(&to_all).expect_err("down").kind(), ErrorKind::NetworkDown);
        assert_eq!(socket.send(&[2; 1515]).expect_err("down comes first").kind(), ErrorKind::NetworkDown);
        pair.virt_a.up();
        assert_eq!(socket.send(&[2; 1515]).expect_err("too long").to_string(), "Message too long");
        let listener = future::PacketSocket::open(&pair.b).expect("room");
        listener.attach("virt0").expect("there");
        listener.set_option(PacketOption::Direction(Some(Direction::In))).expect("possible");
        let heard = pair.b.spawn(async move {
            let mut heard: Vec<Captured> = Vec::new();
            while !heard.iter().any(|one| one.bytes[12..14] == [0x12, 0x34]) {
                listener.recv(&mut heard).await.expect("a frame");
            }
            heard.pop().expect("the last one")
        });
        socket.send(&to_all).expect("up");
        let heard = world.block_on(heard);
        assert_eq!(&heard.bytes[14..], b"what nobody speaks");
        let source = ethernet::Header::parse(&heard.bytes).expect("a frame").0.source;
        assert!(!source.is_multicast() && source.0 != [0; 6], "the interface's own: {source}");
        assert_eq!(pair.b.drops(DropReason::LinkUnknownProtocol), 1);
    });
}

#[test]
fn netstat_and_ss_show_raw_and_icmp_sockets() {
    scenario(|world| {
        let pair = Pair::new(world);
        let icmp = rumpnet_sim::IcmpSocket::open(&pair.a).expect("room");
        icmp.bind(literal("10.0.0.1"), 77).expect("free");
        let raw = RawSocket::open(&pair.a, 89).expect("room");
        raw.connect(literal("10.0.0.2")).expect("reachable");
        let _of_icmp = RawSocket::open(&pair.a, Protocol::ICMP.0).expect("room");
        let shown = pair.a.sh("netstat -an").out;
        let lines: Vec<String> =
            shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for wanted in ["icmp 0 0 10.0.0.1.77 *.*", "icmp 0 0 *.* *.*", "raw 0 0 10.0.0.1.* 10.0.0.2.*"] {
            assert!(lines.iter().any(|line| line == wanted), "{wanted}: {shown}");
        }
        let shown = pair.a.sh("ss -a -w").out;
        assert_eq!(shown.lines().count(), 4, "{shown}");
        let shown = pair.a.sh("ss -a -u").out;
        assert_eq!(shown.lines().count(), 1, "{shown}");
    });
}

#[test]
fn an_interface_that_is_watched_says_so() {
    scenario(|world| {
        let pair = Pair::new(world);
        let socket = rumpnet_sim::PacketSocket::open(&pair.a).expect("room");
        socket.attach("virt0").expect("there");
        socket.set_option(PacketOption::Promiscuous(true)).expect("attached");
        assert!(pair.a.sh("ifconfig virt0").out.contains("PROMISC"));
        drop(socket);
        assert!(!pair.a.sh("ifconfig virt0").out.contains("PROMISC"));
        assert_eq!(InterfaceFlags::PROMISC.bits(), 0x100);
    });
}
