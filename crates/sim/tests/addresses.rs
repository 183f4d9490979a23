//! Addresses of interfaces in worlds: given twice, on two interfaces, several of one interface, point to point, and borrowed.

mod support;

use std::io::ErrorKind;

use rumpnet_sim::{
    Host, Stranger, World,
    proto::DropReason,
    scenario,
    wire::{
        ethernet::{Address, EtherType},
        ipv4,
    },
};
use support::{A, Pair, S, S_LINK, Visited, arps, bound, echo_request, frame, packets, request, secs};

fn answers(host: &Host, to: &str) -> bool {
    host.sh(&format!("ping -c 1 -W 1 {to}")).status == 0
}

#[test]
fn the_same_address_twice_is_one_and_goes_at_once() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.a.sh("ifconfig virt0 inet 10.0.0.1/24 alias").ok();
        assert_eq!(pair.a.sh("ifconfig virt0").ok().matches("10.0.0.1/24").count(), 1);
        assert!(answers(&pair.b, "10.0.0.1"));
        pair.a.sh("ifconfig virt0 inet 10.0.0.1 delete").ok();
        let gone = pair.a.sh("ifconfig virt0 inet 10.0.0.1 delete").refused();
        assert!(gone.contains("SIOCDIFADDR: Can't assign requested address"), "{gone}");
        assert!(!pair.a.sh("route -n show").out.contains("10.0.0/24"), "its route went along");
        assert!(!answers(&pair.b, "10.0.0.1"));
    });
}

#[test]
fn addresses_and_subnets_of_one_interface_are_told_apart() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.a.sh("ifconfig virt0 inet 10.1.0.1/16 alias").ok();
        pair.a.sh("ifconfig virt0 inet 10.0.0.11/24 alias").ok();
        pair.b.sh("ifconfig virt0 inet 10.1.0.2/16 alias").ok();
        world.run_for(secs(20));
        let receiver = bound(&pair.b, "0.0.0.0:9");
        let sender = bound(&pair.a, "0.0.0.0:0");
        // Each subnet is reached from the address in it, the first of its own.
        for (to, from) in [("10.1.0.2:9", [10, 1, 0, 1]), ("10.0.0.2:9", [10, 0, 0, 1])] {
            sender.send_to(b"x", to).expect("a route");
            assert_eq!(
                receiver.recv_from(&mut [0; 4]).expect("it came").1.ip(),
                std::net::IpAddr::from(from)
            );
        }
        assert!(["10.0.0.1", "10.0.0.11", "10.1.0.1"].iter().all(|address| answers(&pair.b, address)));
        pair.a.sh("ifconfig virt0 inet 10.0.0.1 delete").ok();
        assert!(answers(&pair.b, "10.0.0.11"), "another address of the subnet keeps its route");
    });
}

#[test]
fn an_address_on_two_interfaces_is_there_until_both_have_lost_it() {
    scenario(|world| {
        let pair = Pair::new(world);
        let (c, cable) = (world.host("c"), world.cable());
        cable.connect(&pair.a.interface("virt1").address("10.0.0.1/24"));
        cable.connect(&c.interface("virt0").address("10.0.0.3/24"));
        world.run_for(secs(20));
        // Asked on each link for itself; the subnet's route leads by the first one.
        assert!(answers(&pair.b, "10.0.0.1"));
        pair.a.sh("route add -host 10.0.0.3 -interface virt1").ok();
        assert!(answers(&c, "10.0.0.1"));
        pair.a.sh("ifconfig virt0 inet 10.0.0.1 delete").ok();
        assert!(answers(&c, "10.0.0.1"), "and the other interface has its subnet from now on");
        assert!(pair.a.sh("route -n get 10.0.0.99").ok().contains("interface: virt1"));
        pair.a.sh("ifconfig virt1 inet 10.0.0.1 delete").ok();
        assert!(!answers(&c, "10.0.0.1"));
        let refused = pair.a.sh("ping -c 1 -I 10.0.0.1 127.0.0.1").refused();
        assert!(refused.contains("Can't assign requested address"), "{refused}");
    });
}

#[test]
fn a_point_to_point_link_has_an_address_at_each_end() {
    scenario(|world| {
        let (a, b, cable) = (world.host("a"), world.host("b"), world.cable());
        cable.connect(&a.interface("tun0")).connect(&b.interface("tun0"));
        a.sh("ifconfig tun0 10.0.0.1 10.9.0.2").ok();
        b.sh("ifconfig tun0 10.9.0.2 10.0.0.1").ok();
        let shown = a.sh("ifconfig tun0").ok();
        assert!(
            shown.contains("POINTOPOINT") && shown.contains("inet 10.0.0.1/8 -> 10.9.0.2 flags 0"),
            "{shown}"
        );
        assert!(answers(&a, "10.9.0.2") && answers(&b, "10.0.0.1"));
        // The route is one to the other end alone, whatever the mask says.
        assert!(a.sh("ping -c 1 10.0.0.7").err.contains("No route to host"));
        let broadcast = a.sh("ifconfig tun0 10.0.0.1 10.9.0.2 10.0.0.255").refused();
        assert_eq!(broadcast, "ifconfig: not a broadcast interface\n");
        a.sh("ifconfig tun0 inet 10.0.0.1 delete").ok();
        assert!(!answers(&b, "10.0.0.1"));
    });
}

#[test]
fn of_an_interface_that_can_broadcast_the_second_word_is_a_mask() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.a.sh("ifconfig virt0 10.0.0.1 255.255.0.0").ok();
        assert!(pair.a.sh("ifconfig virt0").ok().contains("inet 10.0.0.1/16 broadcast 10.0.255.255"));
        let refused = pair.a.sh("ifconfig virt0 10.0.0.1 10.0.0.2").refused();
        assert_eq!(refused, "ifconfig: netmask 10.0.0.2: Invalid argument (it has holes)\n");
    });
}

#[test]
fn unnumbered_links_borrow_the_address_that_the_router_is_known_by() {
    scenario(|world| {
        let hosts @ [left, r1, r2, right] = &["left", "r1", "r2", "right"].map(|name| world.host(name));
        let cables = [world.cable(), world.cable(), world.cable()];
        cables[0].connect(&left.interface("virt0").address("10.0.1.1/24"));
        cables[0].connect(&r1.interface("virt0").address("10.0.1.254/24"));
        cables[1].connect(&r1.interface("tun0").up()).connect(&r2.interface("tun0").up());
        cables[2].connect(&r2.interface("virt0").address("10.0.2.254/24"));
        cables[2].connect(&right.interface("virt0").address("10.0.2.1/24"));
        for (host, route) in hosts.iter().zip([
            "default 10.0.1.254",
            "10.0.2.0/24 -interface tun0",
            "10.0.1.0/24 -interface tun0",
            "default 10.0.2.254",
        ]) {
            host.sh(&format!("route add {route}")).ok();
        }
        [r1, r2].iter().for_each(|router| {
            router.sh("sysctl -w net.inet.ip.forwarding=1").ok();
        });
        world.run_for(secs(20));
        let traced = left.sh("traceroute -n -q 1 10.0.2.1").out;
        let hops: Vec<_> = traced.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!(hops, ["10.0.1.254", "10.0.2.254", "10.0.2.1"], "{traced}");
        let routed = left.sh("ping -c 1 -R 10.0.2.1").ok();
        let route = ["10.0.1.1", "10.0.1.254", "10.0.2.254", "10.0.2.1", "10.0.2.254", "10.0.1.254"];
        assert!(routed.contains(&route.join("\n\t")), "{routed}");
    });
}

#[test]
fn hosts_with_nothing_but_their_own_address_reach_each_other_over_a_link() {
    scenario(|world| {
        let (a, b, cable) = (world.host("a"), world.host("b"), world.cable());
        cable.connect(&a.interface("virt0").address("10.0.0.1/32"));
        cable.connect(&b.interface("virt0").address("192.0.2.7/32"));
        world.run_for(secs(20));
        a.sh("route add -host 192.0.2.7 -interface virt0").ok();
        b.sh("route add -host 10.0.0.1 -interface virt0").ok();
        assert!(answers(&a, "192.0.2.7") && answers(&b, "10.0.0.1"));
        // Such a host is a router for the rest, too.
        a.sh("route add default 192.0.2.7").ok();
        b.sh("sysctl -w net.inet.ip.forwarding=1").ok();
        assert!(a.sh("ping -c 1 8.8.8.8").out.contains("from 192.0.2.7: Destination Net Unreachable"));
    });
}

/// What a stranger hears of a host's packets, ARP left out.
fn heard(world: &World, stranger: &Stranger) -> Vec<ipv4::Header> {
    world.run_until_idle();
    packets(&stranger.heard()).into_iter().map(|(header, _)| header).collect()
}

#[test]
fn loopback_addresses_never_leave() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let socket = bound(&visited.a, "127.0.0.1:9");
        let refused = socket.send_to(b"x", (S, 9)).expect_err("refused");
        assert_eq!(refused.kind(), ErrorKind::AddrNotAvailable);
        assert!(socket.connect((S, 9)).is_err());
        assert!(rumpnet_sim::TcpStream::connect(&visited.a, "127.0.0.1:80").is_err());
        let pinged = visited.a.sh("ping -c 1 -I 127.0.0.1 10.0.0.9").refused();
        assert!(pinged.contains("Can't assign requested address"), "{pinged}");
        visited.a.sh("sysctl -w net.inet.ip.forwarding=1").ok();
        for (from, to) in [(S, [127, 0, 0, 1]), (A, [127, 9, 9, 9])] {
            let packet = echo_request(from, to.into(), b"");
            visited.stranger.send(frame(visited.link(), S_LINK, EtherType::IPV4, &packet));
        }
        assert_eq!(heard(world, &visited.stranger), []);
        let drops = visited.a.drops(DropReason::Ipv4DestinationInvalid)
            + visited.a.drops(DropReason::Ipv4SourceInvalid);
        assert_eq!(drops, 2);
        visited
            .stranger
            .send(support::arp_frame(Address::BROADCAST, request(S_LINK, S, [127, 0, 0, 1].into())));
        world.run_until_idle();
        assert_eq!(arps(&visited.stranger.heard()), [], "and nobody asks for them on a wire");
    });
}
