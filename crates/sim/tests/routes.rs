//! Routes, source addresses, several interfaces, groups, and frames of every length, in worlds.

mod support;

use std::net::Ipv4Addr;

use rumpnet_sim::{
    World,
    proto::{Counter, DropReason, NextHop, Request, RouteAttributes},
    scenario,
    wire::{
        ethernet::{Address, EtherType, Header},
        icmpv4::Message,
    },
};
use support::{
    A, Pair, S, S_LINK, Visited, arp_frame, arps, bound, echo_request, frame, icmps, packets, ping, request,
    secs, udp_packet,
};

#[test]
fn what_lies_beyond_the_link_goes_to_the_router() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.a.sh("route add default 10.0.0.9").ok();
        let sender = bound(&visited.a, "0.0.0.0:9");
        sender.send_to(b"far", "192.0.2.1:9").expect("a route");
        world.run_until_idle();
        assert_eq!(
            arps(&visited.stranger.heard()),
            [request(visited.link(), A, S)],
            "the router is asked for"
        );
        visited.stranger.send(arp_frame(Address::BROADCAST, request(S_LINK, S, A)));
        world.run_until_idle();
        let heard = visited.stranger.heard();
        let (header, _) = packets(&heard).remove(0);
        assert_eq!((header.source, header.destination), (A, Ipv4Addr::new(192, 0, 2, 1)));
        let sent =
            heard.iter().find(|heard| heard.bytes[12..14] == EtherType::IPV4.0.to_be_bytes()).expect("sent");
        assert_eq!(Header::parse(&sent.bytes).expect("a frame").0.destination, S_LINK);
        visited.a.sh("route delete default").ok();
        assert!(sender.send_to(b"far", "192.0.2.1:9").is_err());
    });
}

#[test]
fn the_longest_prefix_decides() {
    scenario(|world| {
        let host = world.host("a");
        let (near, far) = (world.cable(), world.cable());
        near.connect(&host.interface("virt0").address("10.0.0.1/8"));
        far.connect(&host.interface("virt1").address("10.9.0.1/16"));
        let (one, other) = (world.stranger(&near), world.stranger(&far));
        world.run_for(secs(20));
        let asked = |to: &str| {
            one.heard();
            other.heard();
            bound(&host, "0.0.0.0:0").send_to(b"x", to).expect("a route");
            world.run_until_idle();
            [arps(&one.heard()), arps(&other.heard())]
                .map(|packets| packets.first().map(|arp| arp.sender_protocol))
        };
        assert_eq!(asked("10.1.2.3:9"), [Some(A), None]);
        assert_eq!(
            asked("10.9.2.3:9"),
            [None, Some(Ipv4Addr::new(10, 9, 0, 1))],
            "and the source is that link's"
        );
    });
}

#[test]
fn each_interface_has_its_own_address_and_answers_on_it() {
    scenario(|world| {
        let [left, middle, right] = ["left", "middle", "right"].map(|name| world.host(name));
        let cables = [world.cable(), world.cable()];
        cables[0].connect(&left.interface("virt0").address("10.0.0.1/24"));
        cables[0].connect(&middle.interface("virt0").address("10.0.0.2/24"));
        cables[1].connect(&middle.interface("virt1").address("10.0.1.2/24"));
        cables[1].connect(&right.interface("virt0").address("10.0.1.3/24"));
        assert_eq!(ping(world, &left, "10.0.0.2").len(), 1);
        assert_eq!(ping(world, &right, "10.0.1.2").len(), 1);
        // Nobody forwards who was not asked to.
        left.control(Request::AddRoute {
            destination: ([10, 0, 1, 0].into(), 24),
            via: NextHop::Gateway([10, 0, 0, 2].into()),
            attributes: RouteAttributes::default(),
        })
        .expect("a router on the link");
        assert_eq!(ping(world, &left, "10.0.1.3"), []);
        assert_eq!(middle.drops(DropReason::Ipv4NotForUs), 1);
        assert_eq!(middle.sysctl("net.inet.ip.forwarding", None).expect("there"), 0);
        assert_eq!(
            ping(world, &left, "10.0.1.2").len(),
            1,
            "an address of the router is reached by any interface"
        );
    });
}

#[test]
fn an_address_that_goes_takes_its_route_along() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.a.sh("ifconfig virt0 inet 10.0.0.1 delete").ok();
        assert!(bound(&pair.a, "0.0.0.0:9").send_to(b"x", "10.0.0.2:9").is_err());
        pair.virt_a.address("10.0.0.11/24");
        assert_eq!(ping(world, &pair.a, "10.0.0.2").len(), 1);
        assert_eq!(ping(world, &pair.b, "10.0.0.1"), []);
        assert_eq!(ping(world, &pair.b, "10.0.0.11").len(), 1);
    });
}

#[test]
fn all_hosts_hear_their_group_and_no_other() {
    scenario(|world| {
        let visited = Visited::new(world);
        let receiver = bound(&visited.a, "0.0.0.0:9");
        let say = |group: [u8; 4]| {
            let packet = udp_packet((S, 5), (group.into(), 9), b"all");
            let to = Address::multicast_v4(group.into());
            visited.stranger.send(frame(to, S_LINK, EtherType::IPV4, &packet));
            world.run_until_idle();
        };
        say([224, 0, 0, 1]);
        assert_eq!(receiver.recv(&mut [0; 8]).expect("for all hosts"), 3);
        say([224, 0, 0, 99]);
        assert_eq!(visited.a.drops(DropReason::LinkMulticastNotJoined), 1);
        assert_eq!(visited.a.counter(Counter::UdpDelivered), 1);
    });
}

/// Sends a frame of every length that there is, and some that there are not.
fn every_length(world: &World, visited: &Visited) {
    let echo = echo_request(S, A, &vec![7; 65_507]);
    let whole = frame(visited.link(), S_LINK, EtherType::IPV4, &echo);
    let longest = [whole, vec![0; 100]].concat();
    for len in (0..2000).chain((2000..65_549).step_by(997)).chain([65_535, 65_548, 65_549]) {
        visited.stranger.send(longest[..len].to_vec());
        if len % 500 == 0 {
            world.run_until_idle();
        }
    }
    world.run_until_idle();
}

#[test]
fn frames_of_every_length_are_counted_and_harm_nobody() {
    scenario(|world| {
        world.keep_for_capture(0);
        let visited = Visited::new(world);
        visited.introduce(world);
        every_length(world, &visited);
        assert_eq!(visited.a.drops(DropReason::LinkRunt), 14);
        // Of 14 to 1514 bytes: the header is all there, and the packet it speaks of is not.
        assert_eq!(visited.a.drops(DropReason::Ipv4Truncated), 1501);
        assert!(visited.a.drops(DropReason::LinkOversize) > 500);
        let heard = visited.say(world, &echo_request(S, A, b"still there?"));
        assert_eq!(icmps(&heard), [Message::EchoReply { identifier: 7, sequence: 1 }]);
    });
}
