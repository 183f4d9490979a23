//! IPv4 and ICMP in worlds: RFC 791, RFC 792, RFC 1122.

mod support;

use std::net::Ipv4Addr;

use rumpnet_sim::{
    Config, SocketOption,
    proto::{Counter, DropReason, EchoOutcome},
    scenario,
    wire::{
        ethernet::{Address, EtherType},
        icmpv4::{Message, TimeExceededCode, UnreachableCode},
        ip::Protocol,
        ipv4,
    },
};
use support::{
    A, Pair, S, S_LINK, Visited, bound, datagram, echo_request, frame, header, icmps, ms, packet, packets,
    ping, ping_with, secs, udp_packet,
};

#[test]
fn the_time_to_live_is_the_kernels_unless_a_socket_says_otherwise() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let sender = bound(&visited.a, "10.0.0.1:9");
        let sent = || {
            sender.send_to(b"x", (S, 9)).expect("known");
            world.run_until_idle();
            packets(&visited.stranger.heard())[0].0.ttl
        };
        assert_eq!(sent(), 64);
        visited.a.sysctl("net.inet.ip.ttl", Some(33)).expect("in range");
        assert_eq!(sent(), 33);
        sender.set_option(SocketOption::Ttl(7)).expect("in range");
        assert_eq!(sent(), 7);
    });
}

#[test]
fn headers_of_what_is_sent_are_as_the_rfc_has_them() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let sender = bound(&visited.a, "10.0.0.1:9");
        let mut identifications = Vec::new();
        for size in [0, 1, 1472] {
            sender.send_to(&vec![7; size], (S, 10)).expect("known");
            world.run_until_idle();
            // The parser has checked version, lengths and checksum.
            let (header, payload) = packets(&visited.stranger.heard()).remove(0);
            assert_eq!((header.source, header.destination, header.protocol), (A, S, Protocol::UDP));
            assert_eq!((usize::from(header.total_len), payload.len()), (28 + size, 8 + size));
            assert_eq!((header.dont_fragment, header.is_fragment(), header.tos), (true, false, 0));
            identifications.push(header.identification);
        }
        identifications.dedup();
        assert_eq!(identifications.len(), 3, "RFC 6864: each its own");
    });
}

#[test]
fn options_that_concern_routers_are_passed_over() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let mut options = ipv4::Options::default();
        options.push(&ipv4::IpOption::RouterAlert(0)).expect("room");
        let echo = echo_request(S, A, b"data");
        let icmp = &echo[ipv4::Header::LEN..];
        let plain = header(S, A, Protocol::ICMP, icmp.len());
        let total_len = plain.total_len + 4;
        let heard = visited.say(world, &packet(&ipv4::Header { options, total_len, ..plain }, icmp));
        assert_eq!(icmps(&heard), [Message::EchoReply { identifier: 7, sequence: 1 }]);
    });
}

#[test]
fn a_large_datagram_crosses_a_bad_cable_in_fragments_that_come_in_any_order() {
    scenario(|world| {
        let pair = Pair::new(world);
        let (sender, receiver) = (bound(&pair.a, "10.0.0.1:9"), bound(&pair.b, "10.0.0.2:9"));
        receiver.set_read_timeout(Some(secs(2))).expect("not zero");
        sender.send_to(b"hello", "10.0.0.2:9").expect("queued");
        receiver.recv(&mut [0; 8]).expect("over a good cable");
        pair.cable.set(|conditions| {
            (conditions.latency, conditions.jitter) = (ms(5), ms(5));
            (conditions.reordering, conditions.duplication) = (0.3, 0.2);
            conditions.reordering_delay = ms(4);
        });
        let mut buffer = vec![0; 65_536];
        for size in [1473, 9000, 30_000, 65_507] {
            let payload: Vec<u8> = (0..size).map(|place| (place % 251) as u8).collect();
            sender.send_to(&payload, "10.0.0.2:9").expect("room");
            let len = receiver.recv(&mut buffer).expect("it comes together");
            assert_eq!(&buffer[..len], &payload[..], "{size} bytes");
        }
        assert_eq!(pair.b.counter(Counter::IpReassembled), 4);
        assert!(pair.cable.counters().reordered > 0 && pair.cable.counters().duplicated > 0);
    });
}

#[test]
fn a_lost_fragment_loses_its_datagram_and_the_sender_hears_of_it() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let whole = datagram((S, 9), (A, 9), &[0; 100]);
        let plain = header(S, A, Protocol::UDP, 80);
        let first = packet(&ipv4::Header { more_fragments: true, ..plain }, &whole[..80]);
        assert_eq!(visited.say(world, &first), []);
        world.run_for(secs(120));
        let heard = icmps(&visited.stranger.heard());
        assert_eq!(heard, [Message::TimeExceeded { code: TimeExceededCode::REASSEMBLY }]);
        assert_eq!(visited.a.drops(DropReason::Ipv4FragmentTimeout), 1);
    });
}

#[test]
fn a_flood_of_first_fragments_holds_no_more_than_the_limit() {
    scenario(|world| {
        let config = Config { fragment_datagrams: 8, ..Config::default() };
        let a = world.host_with("a", config);
        let cable = world.cable();
        let virt = a.interface("virt0").address("10.0.0.1/24");
        cable.connect(&virt);
        let stranger = world.stranger(&cable);
        let link = virt.link_address().expect("Ethernet");
        let plain = header(S, A, Protocol::UDP, 80);
        for identification in 0..1000 {
            let fragment = packet(&ipv4::Header { more_fragments: true, identification, ..plain }, &[0; 80]);
            stranger.send(frame(link, S_LINK, EtherType::IPV4, &fragment));
        }
        world.run_until_idle();
        assert_eq!(a.drops(DropReason::Ipv4FragmentLimit), 992);
        world.run_for(secs(120));
        assert_eq!(a.drops(DropReason::Ipv4FragmentTimeout), 8, "every fragment is accounted for");
    });
}

#[test]
fn martians_are_dropped_by_what_makes_them_martians() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let sources = [[127, 0, 0, 1], [0, 0, 0, 0], [255, 255, 255, 255], [224, 0, 0, 1], [10, 0, 0, 255]];
        for (number, source) in (1..).zip(sources) {
            assert_eq!(visited.say(world, &echo_request(source.into(), A, b"")), []);
            assert_eq!(visited.a.drops(DropReason::Ipv4SourceInvalid), number, "{source:?}");
        }
        assert_eq!(visited.say(world, &echo_request(S, Ipv4Addr::LOCALHOST, b"")), []);
        assert_eq!(visited.a.drops(DropReason::Ipv4DestinationInvalid), 1);
        assert_eq!(visited.say(world, &echo_request(S, Ipv4Addr::new(10, 0, 0, 77), b"")), []);
        assert_eq!(visited.a.drops(DropReason::Ipv4NotForUs), 1);
    });
}

#[test]
fn a_unicast_packet_in_a_broadcast_frame_is_not_answered() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let echo = echo_request(S, A, b"");
        visited.stranger.send(frame(Address::BROADCAST, S_LINK, EtherType::IPV4, &echo));
        world.run_until_idle();
        assert_eq!(visited.stranger.heard(), []);
        assert_eq!(visited.a.drops(DropReason::Ipv4DestinationInvalid), 1);
    });
}

#[test]
fn an_echo_of_any_size_comes_back_with_its_data() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.cable.set(|conditions| conditions.latency = ms(3));
        ping(world, &pair.a, "10.0.0.2");
        for size in [0, 1, 56, 1472, 1473, 65_507] {
            let replies = ping_with(world, &pair.a, "10.0.0.2", size, None);
            assert_eq!(replies.len(), 1, "{size}");
            assert_eq!(
                (replies[0].outcome, replies[0].rtt_ns),
                (EchoOutcome::Reply, Some(6_000_000)),
                "{size}"
            );
        }
        let answered = pair.b.counter(Counter::IcmpEchoRequests);
        assert_eq!((answered, pair.a.counter(Counter::IcmpEchoReplies)), (7, 7));
    });
}

#[test]
fn duplicated_and_corrupted_echoes_are_told_apart() {
    scenario(|world| {
        let pair = Pair::new(world);
        ping(world, &pair.a, "10.0.0.2");
        pair.cable.set_from(&pair.virt_b, |conditions| conditions.duplication = 1.0);
        let outcomes: Vec<_> = ping(world, &pair.a, "10.0.0.2").iter().map(|reply| reply.outcome).collect();
        assert_eq!(outcomes, [EchoOutcome::Reply, EchoOutcome::Duplicate]);
    });
}

#[test]
fn an_echo_to_all_is_answered_only_where_that_is_switched_on() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let all = Ipv4Addr::new(10, 0, 0, 255);
        let ask = || {
            let echo = echo_request(S, all, b"");
            visited.stranger.send(frame(Address::BROADCAST, S_LINK, EtherType::IPV4, &echo));
            world.run_until_idle();
            packets(&visited.stranger.heard())
        };
        assert_eq!(ask(), []);
        assert_eq!(visited.a.drops(DropReason::IcmpBroadcastEcho), 1);
        visited.a.sysctl("net.inet.icmp.bmcastecho", Some(1)).expect("a variable");
        let answers = ask();
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].0.source, A, "from its own address");
    });
}

#[test]
fn a_port_without_a_socket_is_unreachable_and_the_error_quotes_the_packet() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let sent = udp_packet((S, 5), (A, 6), &[7; 1000]);
        let heard = visited.say(world, &sent);
        let unreachable = Message::DestinationUnreachable { code: UnreachableCode::PORT, next_hop_mtu: 0 };
        assert_eq!(icmps(&heard), [unreachable]);
        let (header, payload) = packets(&heard).remove(0);
        assert_eq!((header.source, header.destination), (A, S));
        assert_eq!(header.total_len, 576, "as much as RFC 1812 4.3.2.3 allows");
        assert_eq!(payload[8..], sent[..576 - 28]);
    });
}

#[test]
fn no_error_is_sent_about_errors_groups_or_later_fragments() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let heard = visited.say(world, &udp_packet((S, 5), (A, 6), b""));
        let (_, error) = packets(&heard).remove(0);
        let about_error = packet(&header(S, A, Protocol::ICMP, error.len()), &error);
        assert_eq!(visited.say(world, &about_error), []);
        for all in [[10, 0, 0, 255], [255, 255, 255, 255], [224, 0, 0, 1]] {
            let datagram = udp_packet((S, 5), (all.into(), 6), b"");
            let to = if all[0] == 224 { Address::multicast_v4(all.into()) } else { Address::BROADCAST };
            visited.stranger.send(frame(to, S_LINK, EtherType::IPV4, &datagram));
            world.run_until_idle();
            assert_eq!(visited.stranger.heard(), [], "{all:?}");
        }
        assert_eq!(visited.a.drops(DropReason::UdpNoSocket), 4);
        assert_eq!(visited.a.counter(Counter::IcmpErrorsSent), 1);
    });
}

#[test]
fn errors_are_sent_no_faster_than_the_limit_and_go_on_in_the_next_second() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        visited.a.sysctl("net.inet.icmp.errppslimit", Some(10)).expect("a variable");
        let sent = udp_packet((S, 5), (A, 6), b"");
        let burst = || (0..50).map(|_| visited.say(world, &sent).len()).sum::<usize>();
        assert_eq!(burst(), 10);
        assert_eq!(visited.a.drops(DropReason::IcmpRateLimited), 40);
        world.run_for(secs(1));
        assert_eq!(burst(), 10);
    });
}

#[test]
fn a_protocol_that_nobody_speaks_is_unreachable() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let heard = visited.say(world, &packet(&header(S, A, Protocol(99), 4), b"what"));
        let unreachable =
            Message::DestinationUnreachable { code: UnreachableCode::PROTOCOL, next_hop_mtu: 0 };
        assert_eq!(icmps(&heard), [unreachable]);
        assert_eq!(visited.a.drops(DropReason::Ipv4UnknownProtocol), 1);
    });
}

#[test]
fn garbage_at_line_rate_for_a_minute_harms_nobody() {
    // once: the garbage comes from a generator of the test's own.
    let world = rumpnet_sim::World::new(5);
    world.keep_for_capture(0);
    let visited = Visited::new(&world);
    visited.introduce(&world);
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let good = echo_request(S, A, &[7; 64]);
    // A thousand frames a second: headers that are nearly right reach further than noise.
    for _ in 0..60 {
        for number in 0..1000_u64 {
            let mut bytes = frame(visited.link(), S_LINK, EtherType::IPV4, &good);
            for _ in 0..1 + number % 8 {
                let place = random() as usize % bytes.len();
                bytes[place] = random() as u8;
            }
            bytes.truncate(random() as usize % (bytes.len() + 40));
            visited.stranger.send(bytes);
        }
        world.run_for(secs(1));
    }
    // The stranger did not answer when it was asked whether it is still there.
    visited.introduce(&world);
    let heard = visited.say(&world, &good);
    assert_eq!(icmps(&heard).len(), 1, "it answers as before");
    let seen: u64 = visited.a.all_drops().iter().map(|(_, count)| count).sum();
    assert!(seen > 40_000, "{:?}", visited.a.all_drops());
}
