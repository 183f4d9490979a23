//! A router between two links: what crosses it and how, and what it says of the rest (RFC 1812 section 5).

mod support;

use std::{io::Read as _, net::Ipv4Addr, time::Duration};

use rumpnet_sim::{
    Cable, Host, Interface, Offloads, Stranger, TcpListener, World,
    proto::{Counter, DropReason},
    scenario,
    wire::{
        checksum,
        ethernet::{Address, EtherType, Header},
        icmpv4::{Message, RedirectCode, TimeExceededCode, UnreachableCode},
        ip::{self, Protocol},
        ipv4::{self, IpOption},
        tcp,
    },
};
use support::{
    S, S_LINK, arp_frame, bound, echo_request, frame, header, icmps, packet, packets, ping, ping_with,
    request, secs, udp_packet,
};

/// The router's address on the left, and a host on the right.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
const RIGHT: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);

/// `left` 10.0.0.1 and a stranger on one cable, `right` 10.0.1.1 on the other, and a router between them.
struct Routed {
    left: Host,
    router: Host,
    right: Host,
    cables: [Cable; 2],
    /// Of the router: to the left and to the right.
    ports: [Interface; 2],
    stranger: Stranger,
}

impl Routed {
    fn new(world: &World) -> Self {
        let [left, router, right] = ["left", "router", "right"].map(|name| world.host(name));
        let cables = [world.cable(), world.cable()];
        let ports = [
            router.interface("virt0").address("10.0.0.254/24"),
            router.interface("virt1").address("10.0.1.254/24"),
        ];
        cables[0].connect(&left.interface("virt0").address("10.0.0.1/24")).connect(&ports[0]);
        cables[1].connect(&ports[1]).connect(&right.interface("virt0").address("10.0.1.1/24"));
        router.sysctl("net.inet.ip.forwarding", Some(1)).expect("a switch");
        left.sh("route add default 10.0.0.254").ok();
        right.sh("route add default 10.0.1.254").ok();
        let stranger = world.stranger(&cables[0]);
        stranger.set_offloads(Offloads::ALL);
        world.run_for(secs(20));
        let routed = Self { left, router, right, cables, ports, stranger };
        assert_eq!(ping(world, &routed.left, "10.0.1.1").len(), 1, "everybody knows everybody");
        routed.stranger.heard();
        routed
    }

    /// A packet from the stranger to the router, and what it answers.
    fn say(&self, world: &World, packet: &[u8]) -> Vec<Message> {
        let link = self.ports[0].link_address().expect("Ethernet");
        self.stranger.send(arp_frame(Address::BROADCAST, request(S_LINK, S, ROUTER)));
        self.stranger.send(frame(link, S_LINK, EtherType::IPV4, packet));
        world.run_for(secs(5));
        icmps(&self.stranger.heard())
    }
}

const fn unreachable(code: UnreachableCode) -> Message {
    Message::DestinationUnreachable { code, next_hop_mtu: 0 }
}

#[test]
fn packets_cross_a_router_and_live_a_hop_less() {
    scenario(|world| {
        let routed = Routed::new(world);
        let forwarded = routed.router.counter(Counter::IpForwarded);
        let replies = ping(world, &routed.left, "10.0.1.1");
        assert_eq!(replies.iter().map(|reply| reply.ttl).collect::<Vec<_>>(), [63]);
        assert_eq!(routed.router.counter(Counter::IpForwarded) - forwarded, 2);
        let receiver = bound(&routed.right, "0.0.0.0:9");
        bound(&routed.left, "0.0.0.0:0").send_to(b"across", "10.0.1.1:9").expect("a route");
        let mut buffer = [0; 16];
        let (len, from) = receiver.recv_from(&mut buffer).expect("it came");
        assert_eq!((&buffer[..len], from.ip()), (&b"across"[..], [10, 0, 0, 1].into()));
    });
}

#[test]
fn a_router_that_is_told_not_to_forward_does_not() {
    scenario(|world| {
        let routed = Routed::new(world);
        routed.router.sh("sysctl -w net.inet.ip.forwarding=0").ok();
        assert_eq!(ping(world, &routed.left, "10.0.1.1"), []);
        assert_eq!(routed.router.drops(DropReason::Ipv4NotForUs), 1);
    });
}

#[test]
fn a_stream_crosses_as_super_frames() {
    scenario(|world| {
        let routed = Routed::new(world);
        let sent = copy_stream(world, &routed, 1 << 20);
        let frames = routed.cables[1].counters().delivered;
        assert!(frames < 200, "{frames} frames for {sent} bytes");
    });
}

/// A stream from the left to the right, byte-exact; how many bytes it had.
fn copy_stream(world: &World, routed: &Routed, len: usize) -> usize {
    let listener = TcpListener::bind(&routed.right, "0.0.0.0:80").expect("free");
    let sent: Vec<u8> = (0..len).map(|place| (place / 251) as u8).collect();
    let (left, right_sent) = (routed.left.clone(), sent.clone());
    let sender = routed.left.spawn(async move {
        use rumpnet_sim::future;
        let stream = future::TcpStream::connect(&left, (RIGHT, 80)).await.expect("answered");
        let mut rest = &right_sent[..];
        while !rest.is_empty() {
            let written = stream.write(rest).await.expect("open");
            rest = &rest[written..];
        }
    });
    let (mut stream, _) = listener.accept().expect("connected");
    let mut received = Vec::new();
    stream.read_to_end(&mut received).expect("open");
    world.block_on(sender);
    assert!(received == sent, "every byte in its place");
    received.len()
}

#[test]
fn a_port_without_offload_on_the_far_side_gets_segments() {
    scenario(|world| {
        let routed = Routed::new(world);
        routed.cables[1].set_offloads(Offloads::NONE);
        copy_stream(world, &routed, 1 << 20);
        assert!(routed.router.counter(Counter::SegmentedInSoftware) > 0);
    });
}

#[test]
fn a_narrow_link_behind_a_router_narrows_the_stream() {
    scenario(|world| {
        let routed = Routed::new(world);
        routed.ports[1].mtu(900);
        copy_stream(world, &routed, 200_000);
        assert!(routed.router.drops(DropReason::Ipv4TooLongToForward) > 0);
        assert_eq!(routed.router.counter(Counter::IpFragmented), 0);
    });
}

#[test]
fn a_packet_that_may_not_be_fragmented_is_refused_with_the_mtu() {
    scenario(|world| {
        let routed = Routed::new(world);
        routed.ports[1].mtu(900);
        let payload = [7; 1000];
        let whole = ipv4::Header { dont_fragment: true, ..header(S, RIGHT, Protocol::UDP, payload.len()) };
        let refusal = Message::DestinationUnreachable {
            code: UnreachableCode::FRAGMENTATION_NEEDED,
            next_hop_mtu: 900,
        };
        assert_eq!(routed.say(world, &packet(&whole, &payload)), [refusal]);
    });
}

#[test]
fn what_may_be_fragmented_crosses_in_pieces_and_again_in_smaller_ones() {
    scenario(|world| {
        let routed = Routed::new(world);
        routed.ports[1].mtu(900);
        routed.right.sh("ifconfig virt0 mtu 900").ok();
        // 4000 bytes leave the left in three fragments, and the router cuts each in two.
        let replies = ping_with(world, &routed.left, "10.0.1.1", 4000, None);
        assert_eq!(replies.len(), 1);
        assert_eq!(routed.router.counter(Counter::IpFragmented), 3);
        assert_eq!(routed.right.counter(Counter::IpReassembled), 1);
    });
}

#[test]
fn a_packet_whose_time_is_over_is_told_of_and_the_last_hop_is_counted() {
    scenario(|world| {
        let routed = Routed::new(world);
        let dying = |ttl| {
            let datagram = udp_packet((S, 9), (RIGHT, 9), b"x");
            packet(
                &ipv4::Header { ttl, ..header(S, RIGHT, Protocol::UDP, datagram.len() - 20) },
                &datagram[20..],
            )
        };
        let told = [Message::TimeExceeded { code: TimeExceededCode::TTL }];
        assert_eq!(routed.say(world, &dying(1)), told);
        assert_eq!(routed.say(world, &dying(0)), told);
        assert_eq!(routed.router.drops(DropReason::Ipv4TtlExceeded), 2);
        // traceroute -I: of a dying request, which is no error, its sender hears, too.
        let mut request = echo_request(S, RIGHT, b"");
        request[8] = 1;
        let sum = checksum::of(&[&request[..10], &[0; 2], &request[12..20]].concat());
        request[10..12].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(routed.say(world, &request), told);
        // It arrives, and is refused there.
        assert_eq!(routed.say(world, &dying(2)), [unreachable(UnreachableCode::PORT)]);
    });
}

#[test]
fn where_no_route_leads_and_who_does_not_answer_is_told() {
    scenario(|world| {
        let routed = Routed::new(world);
        let to = |destination: [u8; 4]| udp_packet((S, 9), (destination.into(), 9), b"x");
        assert_eq!(routed.say(world, &to([192, 0, 2, 1])), [unreachable(UnreachableCode::NETWORK)]);
        assert_eq!(routed.router.drops(DropReason::Ipv4Unroutable), 1);
        let silent = [10, 0, 1, 77];
        assert_eq!(routed.say(world, &to(silent)), [unreachable(UnreachableCode::HOST)]);
        assert_eq!(
            routed.say(world, &to(silent)),
            [unreachable(UnreachableCode::HOST)],
            "while it is known to be silent, at once"
        );
        assert_eq!(routed.router.drops(DropReason::NeighborUnreachable), 2);
        routed.ports[1].down();
        assert_eq!(routed.say(world, &to(RIGHT.octets())), [unreachable(UnreachableCode::NETWORK)]);
        assert_eq!(routed.router.drops(DropReason::Ipv4Unroutable), 2);
    });
}

#[test]
fn what_no_router_passes_on_stays_where_it_is() {
    scenario(|world| {
        let routed = Routed::new(world);
        let refused = [
            udp_packet((S, 9), ([240, 0, 0, 1].into(), 9), b"class E"),
            udp_packet((S, 9), ([169, 254, 1, 1].into(), 9), b"of a link"),
            udp_packet(([169, 254, 1, 1].into(), 9), (RIGHT, 9), b"from a link"),
            udp_packet(([241, 0, 0, 1].into(), 9), (RIGHT, 9), b"from class E"),
        ];
        let before = routed.router.counter(Counter::IpForwarded);
        for (number, packet) in (1..).zip(refused) {
            assert_eq!(routed.say(world, &packet), []);
            assert_eq!(routed.router.drops(DropReason::Ipv4NotForwardable), number);
        }
        let broadcast = frame(
            Address::BROADCAST,
            S_LINK,
            EtherType::IPV4,
            &udp_packet((S, 9), (RIGHT, 9), b"to all of the link"),
        );
        routed.stranger.send(broadcast);
        world.run_until_idle();
        assert_eq!(routed.router.drops(DropReason::Ipv4NotForwardable), 5);
        assert_eq!(routed.router.counter(Counter::IpForwarded), before);
    });
}

#[test]
fn source_routes_and_broken_options_are_refused_and_said_so() {
    scenario(|world| {
        let routed = Routed::new(world);
        let with = |options: &[u8]| {
            let options = ipv4::Options::from_bytes(options).expect("room");
            let total_len = (20 + options.as_bytes().len() + 8) as u16;
            let header = ipv4::Header { options, total_len, ..header(S, RIGHT, Protocol::UDP, 8) };
            packet(&header, &[0; 8])
        };
        let loose = [131, 7, 4, 10, 0, 1, 9, 0];
        assert_eq!(routed.say(world, &with(&loose)), [unreachable(UnreachableCode::SOURCE_ROUTE_FAILED)]);
        assert_eq!(routed.router.drops(DropReason::Ipv4SourceRoute), 1);
        let broken = [1, 1, 7, 1];
        let pointed = Message::ParameterProblem { code: 0, pointer: 23 };
        assert_eq!(routed.say(world, &with(&broken)), [pointed]);
        assert_eq!(routed.router.drops(DropReason::Ipv4Options), 1);
    });
}

#[test]
fn a_router_writes_its_address_where_the_route_is_recorded() {
    scenario(|world| {
        let routed = Routed::new(world);
        let far = world.stranger(&routed.cables[1]);
        let mut options = ipv4::Options::default();
        let route = ipv4::Route { pointer: 4, slots: &[0; 8] };
        options.push(&IpOption::RecordRoute(route)).expect("room");
        let total_len = (20 + options.as_bytes().len() + 8) as u16;
        let header = ipv4::Header { options, total_len, ..header(S, RIGHT, Protocol::UDP, 8) };
        routed.say(world, &packet(&header, &[0; 8]));
        let (passed, _) = packets(&far.heard()).remove(0);
        let Some(Ok(IpOption::RecordRoute(route))) = passed.options.iter().next() else {
            panic!("{passed:?}")
        };
        assert_eq!((route.pointer, route.slots), (8, &[10, 0, 1, 254, 0, 0, 0, 0][..]));
    });
}

#[test]
fn a_sender_with_a_better_router_on_his_link_hears_of_it() {
    scenario(|world| {
        let routed = Routed::new(world);
        routed.router.sh("route add -net 192.0.2.0/24 10.0.0.1").ok();
        let better = Message::Redirect { code: RedirectCode::HOST, gateway: Ipv4Addr::new(10, 0, 0, 1) };
        let strays = || udp_packet((S, 9), ([192, 0, 2, 1].into(), 9), b"x");
        let answers = routed.say(world, &strays());
        assert_eq!(answers.first(), Some(&better), "and the packet goes on all the same");
        assert_eq!(routed.router.counter(Counter::IcmpRedirectsSent), 1);
        routed.router.sh("sysctl -w net.inet.icmp.errpplimit=0").ok();
        routed.say(world, &strays());
        assert_eq!(
            routed.router.counter(Counter::IcmpRedirectsSent),
            1,
            "what is not sent for its rate does not count"
        );
        routed.router.sh("sysctl -w net.inet.icmp.errpplimit=100").ok();
        routed.router.sh("sysctl -w net.inet.ip.redirect=0").ok();
        assert!(!routed.say(world, &strays()).contains(&better));
    });
}

#[test]
fn sources_are_believed_as_strictly_as_is_asked() {
    scenario(|world| {
        let routed = Routed::new(world);
        let from = |source: [u8; 4]| udp_packet((source.into(), 9), (RIGHT, 9), b"x");
        let dropped = || routed.router.drops(DropReason::Ipv4ReversePath);
        let (wrong_side, nowhere) = ([10, 0, 1, 5], [192, 0, 2, 1]);
        for (mode, expected) in [(0, [0, 0]), (1, [1, 2]), (2, [2, 3])] {
            routed.router.sysctl("net.inet.ip.rpfilter", Some(mode)).expect("known");
            let counted = [wrong_side, nowhere].map(|source| {
                routed.say(world, &from(source));
                dropped()
            });
            assert_eq!(counted, expected, "mode {mode}");
        }
        assert_eq!(ping(world, &routed.left, "10.0.1.1").len(), 1);
        assert!(routed.router.sysctl("net.inet.ip.rpfilter", Some(3)).is_err());
    });
}

#[test]
fn broadcasts_to_a_network_cross_only_if_that_is_wished() {
    scenario(|world| {
        let routed = Routed::new(world);
        let receiver = bound(&routed.right, "0.0.0.0:9");
        receiver.set_read_timeout(Some(Duration::from_secs(1))).expect("settable");
        let to_all = || udp_packet((S, 9), ([10, 0, 1, 255].into(), 9), b"all");
        routed.say(world, &to_all());
        assert!(receiver.recv_from(&mut [0; 8]).is_err());
        routed.router.sh("sysctl -w net.inet.ip.directed-broadcast=1").ok();
        routed.say(world, &to_all());
        assert_eq!(receiver.recv_from(&mut [0; 8]).expect("it came").0, 3);
        let own = udp_packet((S, 9), ([10, 0, 0, 255].into(), 9), b"own");
        let before = routed.router.counter(Counter::IpForwarded);
        routed.say(world, &own);
        assert_eq!(routed.router.counter(Counter::IpForwarded), before, "it is there already");
    });
}

#[test]
fn a_route_may_refuse_swallow_or_be_narrower_than_its_link() {
    scenario(|world| {
        let routed = Routed::new(world);
        for (network, what) in
            [("192.0.2.0/24", "-reject"), ("198.51.100.0/24", "-blackhole"), ("203.0.113.0/24", "-mtu 600")]
        {
            routed.router.sh(&format!("route add -net {network} 10.0.1.1 {what}")).ok();
        }
        let to = |destination: [u8; 4]| udp_packet((S, 9), (destination.into(), 9), b"x");
        assert_eq!(routed.say(world, &to([192, 0, 2, 1])), [unreachable(UnreachableCode::HOST)]);
        assert_eq!(routed.router.drops(DropReason::Ipv4Reject), 1);
        assert_eq!(routed.say(world, &to([198, 51, 100, 1])), []);
        assert_eq!(routed.router.drops(DropReason::Ipv4Blackhole), 1);
        let narrow = Ipv4Addr::new(203, 0, 113, 1);
        let whole = ipv4::Header { dont_fragment: true, ..header(S, narrow, Protocol::UDP, 700) };
        let refusal = Message::DestinationUnreachable {
            code: UnreachableCode::FRAGMENTATION_NEEDED,
            next_hop_mtu: 600,
        };
        assert_eq!(routed.say(world, &packet(&whole, &[0; 700])), [refusal]);
        // The same to its own programs.
        let socket = bound(&routed.router, "0.0.0.0:0");
        let refused = socket.send_to(b"x", "192.0.2.1:9").expect_err("rejected");
        assert_eq!(refused.kind(), std::io::ErrorKind::HostUnreachable);
        socket.send_to(b"x", "198.51.100.1:9").expect("taken, and gone");
        assert_eq!(routed.router.drops(DropReason::Ipv4Blackhole), 2);
        let fragmented = routed.router.counter(Counter::IpFragmented);
        socket.send_to(&[7; 700], "203.0.113.1:9").expect("in fragments");
        assert_eq!(routed.router.counter(Counter::IpFragmented), fragmented + 1);
    });
}

/// Sends a datagram of each of many flows through the router, and returns for each the link address that it left to.
fn next_hops(world: &World, routed: &Routed, far: &Stranger) -> Vec<Address> {
    far.heard();
    (0..64)
        .map(|port| {
            let flow = udp_packet((S, 2000 + port), ([192, 0, 2, 1].into(), 9), b"x");
            routed.say(world, &flow);
            let heard = far.heard();
            let frames = heard.iter().map(|frame| Header::parse(&frame.bytes).expect("a frame").0);
            let mut packets = frames.filter(|header| header.ethertype == EtherType::IPV4);
            packets.next().expect("it went on").destination
        })
        .collect()
}

#[test]
fn flows_are_spread_over_several_gateways_and_keep_theirs_when_another_goes() {
    scenario(|world| {
        let routed = Routed::new(world);
        let far = world.stranger(&routed.cables[1]);
        let gateways = [1, 2, 3].map(|number| {
            let link = Address([2, 0, 0, 0, 1, number]);
            routed.router.sh(&format!("arp -s 10.0.1.{} {link}", 100 + number)).ok();
            routed.router.sh(&format!("route add -mpath 192.0.2.0/24 10.0.1.{}", 100 + number)).ok();
            link
        });
        let spread = next_hops(world, &routed, &far);
        for gateway in gateways {
            let count = spread.iter().filter(|hop| **hop == gateway).count();
            assert!((8..40).contains(&count), "{count} of 64 flows by {gateway}");
        }
        assert_eq!(next_hops(world, &routed, &far), spread, "a flow stays on its way");
        assert_eq!(routed.router.sh("route -n show").out.matches("192.0.2").count(), 3);
        routed.router.sh("route delete 192.0.2.0/24 10.0.1.102").ok();
        let left = next_hops(world, &routed, &far);
        for (before, after) in spread.iter().zip(&left) {
            assert_ne!(*after, gateways[1]);
            assert!(
                *before == gateways[1] || before == after,
                "only flows of the gateway that went have moved"
            );
        }
        let twice = routed.router.sh("route add -mpath 192.0.2.0/24 10.0.1.101");
        assert!(twice.err.contains("File exists"), "{}", twice.err);
        for number in [101, 103] {
            routed.router.sh(&format!("route delete 192.0.2.0/24 10.0.1.{number}")).ok();
        }
        assert!(routed.router.sh("route delete 192.0.2.0/24").err.contains("not in table"));
    });
}

#[test]
fn a_change_of_route_takes_effect_at_once_on_sockets_that_are_connected() {
    scenario(|world| {
        let routed = Routed::new(world);
        let far = world.stranger(&routed.cables[1]);
        for number in [1, 2] {
            let link = Address([2, 0, 0, 0, 1, number]);
            routed.router.sh(&format!("arp -s 10.0.1.{} {link}", 100 + number)).ok();
        }
        routed.router.sh("route add 192.0.2.0/24 10.0.1.101").ok();
        let socket = bound(&routed.router, "0.0.0.0:0");
        socket.connect("192.0.2.1:9").expect("a route");
        let sent_to = || {
            far.heard();
            socket.send(b"x").expect("a route");
            world.run_until_idle();
            let heard = far.heard();
            heard
                .iter()
                .map(|frame| Header::parse(&frame.bytes).expect("a frame").0.destination)
                .collect::<Vec<_>>()
        };
        assert_eq!(sent_to(), [Address([2, 0, 0, 0, 1, 1])]);
        routed.router.sh("route change 192.0.2.0/24 10.0.1.102").ok();
        assert_eq!(sent_to(), [Address([2, 0, 0, 0, 1, 2])]);
        routed.router.sh("route change 192.0.2.0/24 10.0.1.102 -blackhole").ok();
        assert_eq!(sent_to(), []);
        let found = routed.router.sh("route get 192.0.2.7").out;
        assert!(found.contains("flags: <UP,GATEWAY,DONE,STATIC,BLACKHOLE>"), "{found}");
        routed.router.sh("route delete 192.0.2.0/24").ok();
        assert!(socket.send(b"x").is_err());
        assert!(routed.router.sh("route change 192.0.2.0/24 10.0.1.102").err.contains("not in table"));
    });
}

#[test]
fn an_interface_that_goes_takes_its_next_hops_along_and_leaves_the_others() {
    scenario(|world| {
        let routed = Routed::new(world);
        routed.router.sh("route add -mpath 192.0.2.0/24 10.0.1.101").ok();
        routed.router.sh("route add -mpath 192.0.2.0/24 10.0.0.101").ok();
        routed.ports[1].destroy();
        world.run_for(secs(1));
        let shown = routed.router.sh("route -n show").out;
        assert!(shown.contains("10.0.0.101") && !shown.contains("10.0.1.101"), "{shown}");
        routed.router.sh("route flush").ok();
        assert!(!routed.router.sh("route -n show").out.contains("10.0.0.101"));
    });
}

/// A host whose segments the router merges.
const NEAR: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 9);

/// The `number`th of a train of TCP segments from a host of its own link, each with an identification of its own.
fn segment_of_train(number: u16) -> Vec<u8> {
    let payload: Vec<u8> = (0..1000_u32).map(|at| (at ^ u32::from(number)) as u8).collect();
    let transport = tcp::Header {
        source_port: 4000,
        destination_port: 80,
        sequence: tcp::Seq(1000 * u32::from(number)),
        acknowledgment: tcp::Seq(1),
        flags: tcp::Flags::ACK,
        window: 1000,
        checksum: 0,
        urgent: 0,
        options: tcp::Options::EMPTY,
    };
    let len = transport.header_len() + payload.len();
    let pseudo = ip::pseudo_header(NEAR.into(), RIGHT.into(), Protocol::TCP, len as u32);
    let mut sum = checksum::Sum::new();
    sum.add(&payload);
    let mut bytes = vec![0; transport.header_len()];
    transport.with_checksum(pseudo, sum).emit(&mut bytes).expect("room");
    bytes.extend(payload);
    let network = ipv4::Header {
        dont_fragment: true,
        identification: 500 + number,
        ..header(NEAR, RIGHT, Protocol::TCP, len)
    };
    packet(&network, &bytes)
}

#[test]
fn a_train_that_was_merged_on_its_way_in_leaves_as_the_segments_that_came() {
    scenario(|world| {
        let routed = Routed::new(world);
        let far = world.stranger(&routed.cables[1]);
        let cable = world.cable();
        let port = routed.router.interface("virt2").address("10.0.2.254/24");
        cable.connect(&port);
        // Alone with the router on a cable, so that its segments come in one batch.
        let near = world.stranger(&cable);
        world.run_for(secs(20));
        far.heard();
        let link = port.link_address().expect("Ethernet");
        for number in 0..5 {
            near.send(frame(link, S_LINK, EtherType::IPV4, &segment_of_train(number)));
        }
        world.run_until_idle();
        assert_eq!(routed.router.counter(Counter::CoalescedSegments), 5);
        let passed = packets(&far.heard()).into_iter().filter(|(header, _)| header.destination == RIGHT);
        let came = (0..5).map(|number| {
            let bytes = segment_of_train(number);
            let (header, payload) = ipv4::Header::parse(&bytes).expect("well formed");
            (ipv4::Header { ttl: header.ttl - 1, ..header }, payload.to_vec())
        });
        assert_eq!(passed.collect::<Vec<_>>(), came.collect::<Vec<_>>());
    });
}
