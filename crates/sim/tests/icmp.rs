//! ICMP in worlds: what errors quote and to whom they go, what they mean to sockets, the time, masks, and fragments that lie (RFC 792, RFC 1122, RFC 1812).

mod support;

use std::{io::ErrorKind, net::Ipv4Addr};

use rumpnet_sim::{
    Heard, World,
    proto::{Counter, DropReason},
    scenario,
    wire::{
        ethernet::{Address, EtherType},
        icmpv4::{Message, TimeExceededCode, Timestamps, UnreachableCode},
        ip::Protocol,
        ipv4::{self, IpOption, Options},
    },
};
use support::{
    A, Pair, S, S_LINK, Visited, bound, datagram, echo_request, frame, header, icmps, ms, packet, packets,
    secs, udp_packet,
};

fn icmp(message: Message, data: &[u8]) -> Vec<u8> {
    let mut sum = rumpnet_sim::wire::checksum::Sum::new();
    sum.add(data);
    let bytes = [&message.to_bytes(sum)[..], data].concat();
    packet(&header(S, A, Protocol::ICMP, bytes.len()), &bytes)
}

/// A datagram with options to the visited host.
fn with_options(options: &[u8], to: Ipv4Addr) -> Vec<u8> {
    let options = Options::from_bytes(options).expect("room");
    let plain = header(S, to, Protocol::UDP, 8);
    let total_len = plain.total_len + options.as_bytes().len() as u16;
    packet(&ipv4::Header { options, total_len, ..plain }, &datagram((S, 9), (to, 9), b""))
}

#[test]
fn errors_quote_as_much_as_is_wished() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let quoted = |len: usize| {
            let heard = visited.say(world, &udp_packet((S, 5), (A, 6), &vec![7; len]));
            let (header, payload) = packets(&heard).remove(0);
            assert_eq!(usize::from(header.total_len), 20 + payload.len());
            payload.len() - Message::LEN - ipv4::Header::LEN
        };
        assert_eq!([quoted(1000), quoted(100)], [528, 108]);
        for (bytes, expected) in [(8, [8, 8]), (164, [164, 108])] {
            visited.a.sh(&format!("sysctl -w net.inet.icmp.returndatabytes={bytes}")).ok();
            assert_eq!([quoted(1000), quoted(100)], expected);
        }
        for bytes in [7, 529] {
            let line = format!("sysctl -w net.inet.icmp.returndatabytes={bytes}");
            assert_ne!(visited.a.sh(&line).status, 0, "{bytes}");
        }
    });
}

#[test]
fn errors_have_the_precedence_of_control_and_the_service_of_their_offender() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let datagram = datagram((S, 5), (A, 6), b"");
        for (tos, expected) in [(0, 0xc0), (0x13, 0xd0), (0xff, 0xdc)] {
            let plain = header(S, A, Protocol::UDP, datagram.len());
            let heard = visited.say(world, &packet(&ipv4::Header { tos, ..plain }, &datagram));
            assert_eq!(packets(&heard)[0].0.tos, expected);
        }
    });
}

#[test]
fn options_that_are_wrong_are_pointed_at_and_source_routes_refused() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        for (options, pointer) in
            [(&[1, 1, 7, 1][..], 23), (&[7, 7, 3, 0, 0, 0, 0, 0], 22), (&[68, 8, 5, 2, 0, 0, 0, 0], 23)]
        {
            let heard = icmps(&visited.say(world, &with_options(options, A)));
            assert_eq!(heard, [Message::ParameterProblem { code: 0, pointer }], "{options:?}");
        }
        let refused =
            Message::DestinationUnreachable { code: UnreachableCode::SOURCE_ROUTE_FAILED, next_hop_mtu: 0 };
        for kind in [131, 137] {
            let route = [kind, 7, 4, 10, 0, 0, 77, 0];
            assert_eq!(icmps(&visited.say(world, &with_options(&route, A))), [refused]);
        }
        assert_eq!(visited.a.drops(DropReason::Ipv4Options), 3);
        assert_eq!(visited.a.drops(DropReason::Ipv4SourceRoute), 2);
        let all = frame(
            Address::BROADCAST,
            S_LINK,
            EtherType::IPV4,
            &with_options(&[7, 1, 0, 0], [10, 0, 0, 255].into()),
        );
        visited.stranger.send(all);
        world.run_until_idle();
        assert_eq!(visited.stranger.heard(), [], "of what was sent to all nobody is told");
    });
}

#[test]
fn unknown_options_are_passed_over() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let socket = bound(&visited.a, "10.0.0.1:9");
        for options in
            [&[130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &[136, 4, 0, 1], &[0x1e, 2, 0, 0], &[1, 1, 1, 0]]
        {
            visited.say(world, &with_options(options, A));
            assert_eq!(socket.recv(&mut [0; 4]).expect("it came"), 0, "{options:?}");
        }
    });
}

#[test]
fn an_echo_brings_back_what_was_recorded_with_our_mark() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let echo = echo_request(S, A, b"data");
        // Route and time are ours to mark; a security label and the router alert are not for the way back.
        let times = [68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        let bytes = [&[7, 11, 8, 10, 9, 9, 9, 0, 0, 0, 0, 1][..], &times, &[148, 4, 0, 0]].concat();
        let options = Options::from_bytes(&bytes).expect("room");
        let plain = header(S, A, Protocol::ICMP, echo.len() - 20);
        let asked = ipv4::Header { options, total_len: plain.total_len + 28, ..plain };
        let (answer, payload) = packets(&visited.say(world, &packet(&asked, &echo[20..]))).remove(0);
        assert_eq!(&payload[8..], b"data");
        let found: Vec<_> = answer.options.iter().map(|option| option.expect("well formed")).collect();
        let IpOption::RecordRoute(route) = found[0] else { panic!("{found:?}") };
        assert_eq!((route.pointer, route.slots), (12, &[10, 9, 9, 9, 10, 0, 0, 1][..]));
        let IpOption::Timestamp { pointer, slots, .. } = found[1] else { panic!("{found:?}") };
        assert_eq!((pointer, &slots[..4]), (13, &[10, 0, 0, 1][..]));
        let time = u32::from_be_bytes([slots[4], slots[5], slots[6], slots[7]]);
        assert_eq!(
            u128::from(time & 0x7fff_ffff),
            world.now().as_millis(),
            "milliseconds, not from midnight"
        );
        assert!(
            time >> 31 == 1 && found[2..].iter().all(|option| *option == IpOption::EndOfList),
            "{found:?}"
        );
    });
}

#[test]
fn the_time_and_masks_are_told_as_far_as_they_are_to_be() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let asked = Timestamps { originate: 7, receive: 0, transmit: 0 };
        let request = icmp(Message::TimestampRequest { identifier: 3, sequence: 4 }, &asked.to_bytes());
        let (_, answer) = packets(&visited.say(world, &request)).remove(0);
        let (message, data) = Message::parse(&answer).expect("well formed");
        assert_eq!(message, Message::TimestampReply { identifier: 3, sequence: 4 });
        let (times, _) = Timestamps::parse(data).expect("three times");
        assert_eq!((times.originate, times.receive), (7, times.transmit));
        assert_eq!(u128::from(times.receive & 0x7fff_ffff), world.now().as_millis());
        let mask = icmp(Message::AddressMaskRequest { identifier: 3, sequence: 4 }, &[0; 4]);
        assert_eq!(visited.say(world, &mask), [], "a mask is told only where that is switched on");
        visited.a.sh("sysctl -w net.inet.icmp.maskrepl=1").ok();
        let (_, answer) = packets(&visited.say(world, &mask)).remove(0);
        assert_eq!(answer[8..], [255, 255, 255, 0]);
        visited.a.sh("sysctl -w net.inet.icmp.tstamprepl=0").ok();
        assert_eq!(visited.say(world, &request), []);
        assert_eq!(visited.a.drops(DropReason::IcmpQueryRefused), 2);
    });
}

/// An error about the last packet that the stranger has heard.
fn error_about(heard: &[Heard], message: Message) -> Vec<u8> {
    let (sent, payload) = packets(heard).remove(0);
    icmp(message, &packet(&sent, &payload))
}

/// Every error with what it means to a socket.
fn meanings() -> Vec<(Message, ErrorKind)> {
    use ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    let unreachable = |code| Message::DestinationUnreachable { code: UnreachableCode(code), next_hop_mtu: 0 };
    let network = [0, 6, 9, 11].map(|code| (unreachable(code), NetworkUnreachable));
    let host = [1, 5, 7, 8, 10, 12, 13, 14, 15].map(|code| (unreachable(code), HostUnreachable));
    let refused = [2, 3].map(|code| (unreachable(code), ConnectionRefused));
    let lost = [TimeExceededCode::TTL, TimeExceededCode::REASSEMBLY]
        .map(|code| (Message::TimeExceeded { code }, HostUnreachable));
    [&network[..], &host, &refused, &lost].concat()
}

#[test]
fn every_error_reaches_the_sockets_that_it_concerns_as_its_errno() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let client = bound(&visited.a, "10.0.0.1:5000");
        client.connect((S, 7)).expect("a route");
        for (message, kind) in meanings() {
            client.send(b"x").expect("known");
            world.run_until_idle();
            let error = error_about(&visited.stranger.heard(), message);
            visited.say(world, &error);
            assert_eq!(client.recv(&mut [0; 8]).expect_err("an error waits").kind(), kind, "{message:?}");
        }
        client.send(b"x").expect("known");
        world.run_until_idle();
        visited.say(
            world,
            &error_about(&visited.stranger.heard(), Message::ParameterProblem { code: 0, pointer: 20 }),
        );
        assert!(client.recv(&mut [0; 8]).is_err());
        // One without a peer has nobody of whom an error could speak.
        let other = bound(&visited.a, "10.0.0.1:5001");
        other.send_to(b"x", (S, 7)).expect("known");
        world.run_until_idle();
        visited.say(world, &error_about(&visited.stranger.heard(), meanings()[0].0));
        assert!(other.take_error().expect("open").is_none());
    });
}

#[test]
fn a_connection_attempt_ends_with_the_errno_of_the_error() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        for (message, kind) in meanings() {
            let host = visited.a.clone();
            let attempt = visited.a.spawn(async move {
                rumpnet_sim::future::TcpStream::connect(&host, (S, 80))
                    .await
                    .map(|_| ())
                    .map_err(|error| error.kind())
            });
            world.run_for(ms(10));
            let error = error_about(&visited.stranger.heard(), message);
            visited.say(world, &error);
            assert_eq!(world.block_on(attempt), Err(kind), "{message:?}");
        }
    });
}

#[test]
fn fragments_that_lie_are_refused_and_whole_ones_still_come_through() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let socket = bound(&visited.a, "10.0.0.1:9");
        let whole = datagram((S, 9), (A, 9), &[7; 72]);
        let fragment = |identification: u16, offset: u16, more_fragments: bool, payload: &[u8]| {
            let plain = header(S, A, Protocol::UDP, payload.len());
            let header = ipv4::Header { identification, fragment_offset: offset, more_fragments, ..plain };
            visited.say(world, &packet(&header, payload));
        };
        // The ping of death: the last fragment reaches beyond what a packet can be.
        fragment(1, 65_520, false, &[0; 100]);
        // A tiny fragment, and one of no whole units.
        fragment(2, 8, true, &[]);
        fragment(2, 8, true, &[0; 9]);
        assert_eq!(visited.a.drops(DropReason::Ipv4FragmentMalformed), 3);
        // Overlap: the second would overwrite what the first has said, and both are given up.
        fragment(3, 0, true, &whole[..40]);
        fragment(3, 32, false, &whole[32..]);
        assert_eq!(visited.a.drops(DropReason::Ipv4FragmentOverlap), 2);
        // A bomb of first fragments from one sender, behind a half that waits for its other.
        fragment(4, 0, true, &whole[..40]);
        fragment(4, 40, false, &whole[40..]);
        assert_eq!(socket.recv(&mut [0; 128]).expect("it is whole"), 72);
        (100..400).for_each(|identification| fragment(identification, 0, true, &whole[..40]));
        assert_eq!(
            visited.a.drops(DropReason::Ipv4FragmentLimit),
            300 - 64,
            "no more than a sender's share waits"
        );
        fragment(500, 40, false, &whole[40..]);
        fragment(500, 0, true, &whole[..40]);
        assert_eq!(socket.recv(&mut [0; 128]).expect("it is whole"), 72);
        // Who sent first fragments is told that the others did not come, at the rate of errors.
        world.run_for(secs(31));
        let told = icmps(&visited.stranger.heard());
        assert!(
            told.iter()
                .all(|message| *message == Message::TimeExceeded { code: TimeExceededCode::REASSEMBLY })
        );
        assert!(!told.is_empty() && told.len() <= 100, "{}", told.len());
    });
}

#[test]
fn a_sysctl_bounds_the_datagrams_being_put_together() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        visited.a.sh("sysctl -w net.inet.ip.maxfragpackets=0").ok();
        let plain = header(S, A, Protocol::UDP, 40);
        let first =
            packet(&ipv4::Header { more_fragments: true, ..plain }, &datagram((S, 9), (A, 9), &[7; 32]));
        visited.say(world, &first);
        assert_eq!(visited.a.drops(DropReason::Ipv4FragmentLimit), 1);
    });
}

#[test]
fn a_flood_of_pings_of_any_size_loses_nothing_and_harms_nobody() {
    scenario(|world: &World| {
        let pair = Pair::new(world);
        pair.a.sh("ping -c 1 10.0.0.2").ok();
        for size in [56, 1472, 1473, 8000, 65_507] {
            let said = pair.a.sh(&format!("ping -q -f -c 50 -s {size} 10.0.0.2")).ok();
            assert!(said.contains("50 packets transmitted, 50 packets received, 0.0% packet loss"), "{said}");
        }
        assert_eq!(pair.b.counter(Counter::IcmpEchoRequests), 251);
    });
}

#[test]
fn identifications_of_two_destinations_do_not_tell_of_each_other() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let socket = bound(&visited.a, "10.0.0.1:9");
        let next = || {
            socket.send_to(b"x", (S, 9)).expect("known");
            world.run_until_idle();
            packets(&visited.stranger.heard()).remove(0).0.identification
        };
        let before = next();
        // What is sent to others in between, as an idle scan would have it counted.
        visited.a.sh("ping -c 9 -i 0.1 -W 0.1 10.0.0.255");
        visited.stranger.heard();
        assert_eq!(next(), before.wrapping_add(1));
    });
}
