//! Redirects obeyed, and refused when they cannot be right (RFC 1122 section 3.2.2.2), and the rates of ICMP errors.

mod support;

use std::net::Ipv4Addr;

use rumpnet_sim::{
    World,
    proto::{Counter, DropReason},
    scenario,
    wire::{
        checksum::Sum,
        ethernet::{Address, EtherType, Header},
        icmpv4::{Message, RedirectCode},
        ip::Protocol,
    },
};
use support::{
    A, S, S_LINK, Visited, arp_frame, bound, frame, header, icmps, packet, request, secs, udp_packet,
};

/// Another router on the link, and a destination far away.
const BETTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 8);
const BETTER_LINK: Address = Address([2, 0, 0, 0, 0, 8]);
const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A redirect from `router` to `gateway` about a datagram that `source` sent far away.
fn redirect(router: Ipv4Addr, gateway: Ipv4Addr, source: Ipv4Addr) -> Vec<u8> {
    redirect_about(router, gateway, &udp_packet((source, 9), (FAR, 9), b""))
}

fn redirect_about(router: Ipv4Addr, gateway: Ipv4Addr, quoted: &[u8]) -> Vec<u8> {
    let message = Message::Redirect { code: RedirectCode::HOST, gateway };
    let mut sum = Sum::new();
    sum.add(quoted);
    let icmp = [&message.to_bytes(sum)[..], quoted].concat();
    packet(&header(router, A, Protocol::ICMP, icmp.len()), &icmp)
}

/// A host whose router is the stranger; a better one is known by its link address.
fn routed(world: &World) -> Visited {
    let visited = Visited::new(world);
    visited.a.sh("route add default 10.0.0.9").ok();
    visited.a.sh(&format!("arp -s 10.0.0.8 {BETTER_LINK}")).ok();
    visited.introduce(world);
    visited
}

/// Where a datagram to the far host goes now.
fn next_hop(world: &World, visited: &Visited) -> Address {
    visited.stranger.send(arp_frame(visited.link(), request(S_LINK, S, A)));
    world.run_until_idle();
    visited.stranger.heard();
    bound(&visited.a, "0.0.0.0:0").send_to(b"x", (FAR, 9)).expect("a route");
    world.run_until_idle();
    let heard = visited.stranger.heard();
    let headers = heard.iter().map(|heard| Header::parse(&heard.bytes).expect("a frame").0);
    headers
        .filter(|header| header.ethertype == EtherType::IPV4)
        .map(|header| header.destination)
        .next()
        .expect("sent")
}

#[test]
fn a_redirect_of_our_router_is_obeyed_for_its_time() {
    scenario(|world| {
        let visited = routed(world);
        assert_eq!(next_hop(world, &visited), S_LINK);
        assert_eq!(visited.say(world, &redirect(S, BETTER, A)), []);
        assert_eq!(visited.a.counter(Counter::RedirectsObeyed), 1);
        assert_eq!(next_hop(world, &visited), BETTER_LINK);
        let shown = visited.a.sh("route -n show").out;
        assert!(shown.contains("192.0.2.1          10.0.0.8           UGHD"), "{shown}");
        let told = visited.a.sh("route get 192.0.2.1").out;
        assert!(told.contains("DYNAMIC") && told.ends_with("       600 \n"), "{told}");
        world.run_for(secs(599));
        assert_eq!(next_hop(world, &visited), BETTER_LINK);
        world.run_for(secs(1));
        assert_eq!(next_hop(world, &visited), S_LINK);
        assert!(!visited.a.sh("route -n show").out.contains("192.0.2.1"));
    });
}

#[test]
fn a_route_learned_anew_lives_its_whole_time_and_gives_way_to_one_by_hand() {
    scenario(|world| {
        let visited = routed(world);
        visited.a.sh("sysctl -w net.inet.icmp.redirtimeout=60").ok();
        visited.say(world, &redirect(S, BETTER, A));
        world.run_for(secs(50));
        // The better router knows yet another one, which we ask from now on.
        visited.say(world, &redirect(BETTER, S, A));
        assert_eq!(visited.a.counter(Counter::RedirectsObeyed), 2);
        world.run_for(secs(20));
        assert!(
            visited.a.sh("route -n show").out.contains("UGHD"),
            "the first one's time is over, not its own"
        );
        visited.a.sh("route add 192.0.2.1 10.0.0.8").ok();
        world.run_for(secs(100));
        assert!(visited.a.sh("route get 192.0.2.1").out.contains("<UP,GATEWAY,HOST,DONE,STATIC>"));
        visited.say(world, &redirect(BETTER, S, A));
        assert_eq!(visited.a.drops(DropReason::IcmpRedirectRefused), 1, "what was said by hand stays");
    });
}

#[test]
fn a_redirect_that_cannot_be_right_is_refused() {
    scenario(|world| {
        let visited = routed(world);
        let foreign = Ipv4Addr::new(172, 16, 0, 1);
        let refused = [
            ("from a host that is not our router", redirect(Ipv4Addr::new(10, 0, 0, 7), BETTER, A)),
            ("to a router that is not on our link", redirect(S, foreign, A)),
            ("to ourselves", redirect(S, A, A)),
            ("about a packet that is not ours", redirect(S, BETTER, S)),
            ("without a packet", redirect_about(S, BETTER, b"")),
            ("about half a header", redirect_about(S, BETTER, &udp_packet((A, 9), (FAR, 9), b"")[..12])),
        ];
        for (number, (what, packet)) in (1..).zip(&refused) {
            visited.say(world, packet);
            assert_eq!(visited.a.drops(DropReason::IcmpRedirectRefused), number, "{what}");
        }
        for (number, switch) in
            (7..).zip(["net.inet.icmp.rediraccept=0", "net.inet.icmp.rediraccept=1 net.inet.ip.forwarding=1"])
        {
            switch.split(' ').for_each(|word| {
                visited.a.sh(&format!("sysctl -w {word}")).ok();
            });
            visited.say(world, &redirect(S, BETTER, A));
            assert_eq!(visited.a.drops(DropReason::IcmpRedirectRefused), number, "{switch}");
        }
        assert_eq!(visited.a.counter(Counter::RedirectsObeyed), 0);
        assert_eq!(next_hop(world, &visited), S_LINK);
    });
}

#[test]
fn a_route_with_a_shorter_time_goes_before_those_that_were_learned_earlier() {
    scenario(|world| {
        let visited = routed(world);
        visited.say(world, &redirect(S, BETTER, A));
        visited.a.sh("sysctl -w net.inet.icmp.redirtimeout=10").ok();
        let quoted = udp_packet((A, 9), (Ipv4Addr::new(198, 51, 100, 1), 9), b"");
        visited.say(world, &redirect_about(S, BETTER, &quoted));
        world.run_for(secs(11));
        let shown = visited.a.sh("route -n show").out;
        assert!(shown.contains("192.0.2.1") && !shown.contains("198.51.100.1"), "{shown}");
    });
}

#[test]
fn a_flood_of_redirects_leaves_a_bounded_number_of_routes() {
    scenario(|world| {
        let visited = routed(world);
        for low in 0..300_u16 {
            let [high, low] = low.to_be_bytes();
            let quoted = udp_packet((A, 9), (Ipv4Addr::new(198, 51, high, low), 9), b"");
            visited.say(world, &redirect_about(S, BETTER, &quoted));
        }
        let routes = visited.a.sh("route -n show").out.matches("UGHD").count();
        assert_eq!((routes, visited.a.counter(Counter::RedirectsEvicted)), (256, 44));
        world.run_for(secs(601));
        assert_eq!(visited.a.sh("route -n show").out.matches("UGHD").count(), 0);
    });
}

#[test]
fn one_peer_gets_so_many_errors_and_another_still_gets_some() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        visited.a.sh("sysctl -w net.inet.icmp.errpplimit=5").ok();
        let link = visited.link();
        let ask = |from: Ipv4Addr, link_address: Address| {
            visited.stranger.send(arp_frame(link, request(link_address, from, A)));
            (0..20).for_each(|_| {
                let datagram = udp_packet((from, 9), (A, 9), b"x");
                visited.stranger.send(frame(link, link_address, EtherType::IPV4, &datagram));
            });
            world.run_until_idle();
            icmps(&visited.stranger.heard()).len()
        };
        assert_eq!(ask(S, S_LINK), 5);
        assert_eq!(ask(BETTER, BETTER_LINK), 5);
        assert_eq!(visited.a.drops(DropReason::IcmpRateLimited), 30);
    });
}
