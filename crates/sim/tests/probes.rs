//! ping and traceroute in worlds with routers: what records of the route say, where probes die, and what comes of every code.

mod support;

use std::net::Ipv4Addr;

use rumpnet_sim::{
    Cable, Host, Stranger, World,
    proto::{Counter, DropReason},
    scenario,
    wire::{
        ethernet::EtherType,
        icmpv4::{Message, UnreachableCode},
        ip::Protocol,
    },
};
use support::{A, Visited, ms, packet, packets, secs};

/// `hosts[0]` 10.0.0.1 – `r1` – 10.0.1.0/24 – `r2` – 10.0.2.1 `hosts[1]`; cables from left to right, a millisecond each.
struct Chain {
    hosts: [Host; 2],
    routers: [Host; 2],
    cables: [Cable; 3],
}

impl Chain {
    fn new(world: &World) -> Self {
        let [left, r1, r2, right] = ["left", "r1", "r2", "right"].map(|name| world.host(name));
        let cables = [world.cable(), world.cable(), world.cable()];
        for cable in &cables {
            cable.set(|conditions| conditions.latency = ms(1));
        }
        cables[0].connect(&left.interface("virt0").address("10.0.0.1/24"));
        cables[0].connect(&r1.interface("virt0").address("10.0.0.254/24"));
        cables[1].connect(&r1.interface("virt1").address("10.0.1.1/24"));
        cables[1].connect(&r2.interface("virt0").address("10.0.1.2/24"));
        cables[2].connect(&r2.interface("virt1").address("10.0.2.254/24"));
        cables[2].connect(&right.interface("virt0").address("10.0.2.1/24"));
        for (host, gateway) in
            [(&left, "10.0.0.254"), (&r1, "10.0.1.2"), (&r2, "10.0.1.1"), (&right, "10.0.2.254")]
        {
            host.sh(&format!("route add default {gateway}")).ok();
        }
        for router in [&r1, &r2] {
            router.sh("sysctl -w net.inet.ip.forwarding=1").ok();
        }
        world.run_for(secs(20));
        left.sh("ping -c 1 10.0.2.1").ok();
        Self { hosts: [left, right], routers: [r1, r2], cables }
    }
}

#[test]
fn a_recorded_route_names_everybody_there_and_back() {
    scenario(|world| {
        let chain = Chain::new(world);
        let said = chain.hosts[0].sh("ping -c 2 -R 10.0.2.1").ok();
        // The sender, both routers by the side they send from, the other end, and the routers on the way back.
        let route = ["10.0.0.1", "10.0.1.1", "10.0.2.254", "10.0.2.1", "10.0.1.2", "10.0.0.254"];
        assert!(said.contains(&format!("RR: \t{}\n", route.join("\n\t"))), "{said}");
        assert!(said.contains("icmp_seq=1 ttl=62 time=6.000000 ms\t(same route)\n"), "{said}");
    });
}

#[test]
fn a_route_longer_than_its_record_is_recorded_as_far_as_there_is_room() {
    scenario(|world| {
        let chain = Chain::new(world);
        // To a router itself and back there is no more than that.
        let near = chain.hosts[0].sh("ping -c 1 -R 10.0.0.254").ok();
        assert!(near.contains("RR: \t10.0.0.1\n\t10.0.0.254\n"), "{near}");
        let own = chain.hosts[0].sh("ping -c 1 -R 127.0.0.1").ok();
        assert!(own.contains("RR: \t127.0.0.1\n\t127.0.0.1\n"), "{own}");
    });
}

#[test]
fn data_of_any_kind_come_back_as_they_were_sent() {
    scenario(|world| {
        let chain = Chain::new(world);
        for options in ["-p ff00a", "-P", "-P -s 5000 -R", "-p 0 -s 0", "-t 10 -T 9 -D", "-l 3 -i 0.1"] {
            let said = chain.hosts[0].sh(&format!("ping -c 3 {options} 10.0.2.1")).ok();
            assert!(said.contains("3 packets transmitted, 3 packets received, 0.0% packet loss"), "{said}");
        }
    });
}

#[test]
fn what_a_ping_was_told_to_be_is_what_arrives() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        visited.a.sh("ping -c 1 -W 0.1 -p 0102 -s 5 -t b8 -T 7 -D -R 10.0.0.9");
        let (header, payload) = packets(&visited.stranger.heard()).remove(0);
        assert_eq!((header.tos, header.ttl, header.dont_fragment), (0xb8, 7, true));
        assert_eq!(payload[8..], [1, 2, 1, 2, 1]);
        assert_eq!(header.options.as_bytes()[..8], [7, 39, 8, 10, 0, 0, 1, 0]);
        visited.a.sh("ping -c 1 -W 0.1 -P -s 64 10.0.0.9");
        visited.a.sh("ping -c 1 -W 0.1 -P -s 64 10.0.0.9");
        let random = packets(&visited.stranger.heard());
        assert_ne!(random[0].1[8..], random[1].1[8..], "each ping draws its own");
    });
}

#[test]
fn a_probe_without_fragments_hears_the_mtu_of_the_path_and_no_route_is_asked_with_r() {
    scenario(|world| {
        let chain = Chain::new(world);
        chain.routers[0].sh("ifconfig virt1 mtu 900").ok();
        chain.routers[1].sh("ifconfig virt0 mtu 900").ok();
        let said = chain.hosts[0].sh("ping -c 1 -D -s 1000 10.0.2.1").out;
        let told = "from 10.0.0.254: Fragmentation needed and DF set (next hop MTU 900) for icmp_seq=0\n";
        assert!(said.contains(told), "{said}");
        assert!(chain.hosts[0].sh("ping -c 1 -s 1000 10.0.2.1").ok().contains(" 0.0% packet loss"));
        let far = chain.hosts[0].sh("ping -c 1 -r 10.0.2.1");
        assert_eq!(far.err, "ping: sendto: Network is unreachable\n");
        chain.hosts[0].sh("route delete default").ok();
        chain.hosts[0].sh("route delete 10.0.0.0/24").ok();
        assert!(chain.hosts[0].sh("ping -c 1 -W 1 10.0.0.254").err.contains("No route to host"));
        assert!(chain.hosts[0].sh("ping -c 1 -r 10.0.0.254").ok().contains(" 0.0% packet loss"));
    });
}

#[test]
fn a_ping_sends_from_the_address_that_is_wanted() {
    scenario(|world| {
        let chain = Chain::new(world);
        let r1 = &chain.routers[0];
        assert!(r1.sh("ping -c 1 -I 10.0.0.254 10.0.2.1").ok().contains(" 0.0% packet loss"));
        let report = r1.sh("ping --json -c 1 -I 10.0.0.254 10.0.2.1").ok();
        assert!(report.contains("\"source\": \"10.0.0.254\""), "{report}");
        let strange = r1.sh("ping -c 1 -I 10.9.9.9 10.0.2.1").refused();
        assert_eq!(strange, "ping: sendto 10.0.2.1: Can't assign requested address\n");
    });
}

#[test]
fn a_trace_names_the_routers_on_the_way() {
    scenario(|world| {
        let chain = Chain::new(world);
        for (options, hops) in [("-n", [2, 4, 6]), ("-n -I", [2, 4, 6])] {
            let said = chain.hosts[0].sh(&format!("traceroute {options} -q 2 10.0.2.1"));
            let lines = [(1, "10.0.0.254", hops[0]), (2, "10.0.1.2", hops[1]), (3, "10.0.2.1", hops[2])]
                .map(|(ttl, from, time)| format!(" {ttl}  {from}  {time}.000 ms  {time}.000 ms\n"));
            assert_eq!(said.out, lines.concat(), "{options}");
            assert_eq!(said.err, "traceroute to 10.0.2.1 (10.0.2.1), 64 hops max, 40 byte packets\n");
        }
    });
}

#[test]
fn a_trace_through_a_silent_router_has_stars_in_its_place() {
    scenario(|world| {
        let chain = Chain::new(world);
        chain.routers[1].sh("sysctl -w net.inet.icmp.errppslimit=0").ok();
        let said = chain.hosts[0].sh("traceroute -w 1 -q 1 -n 10.0.2.1").out;
        assert_eq!(said, " 1  10.0.0.254  2.000 ms\n 2  *\n 3  10.0.2.1  6.000 ms\n");
        // What came too late for its hop is no answer to the next one.
        chain.cables[0].set(|conditions| conditions.latency = ms(600));
        let late = chain.hosts[0].sh("traceroute -w 1 -q 1 -m 2 -n 10.0.2.1").out;
        assert_eq!(late, " 1  *\n 2  *\n");
    });
}

#[test]
fn a_trace_shrinks_its_probes_to_what_the_path_carries() {
    scenario(|world| {
        let chain = Chain::new(world);
        chain.routers[0].sh("ifconfig virt1 mtu 900").ok();
        chain.routers[1].sh("ifconfig virt1 mtu 600").ok();
        let said = chain.hosts[0].sh("traceroute -P -n -q 1 10.0.2.1").out;
        let told = |mtu| format!("\nfragmentation required and DF set, next hop MTU = {mtu}\n");
        let expected = format!(
            " 1  10.0.0.254  2.000 ms\n 2 {} 10.0.1.2  4.000 ms\n 3 {} 10.0.2.1  6.000 ms\n",
            told(900),
            told(600)
        );
        assert_eq!(said, expected);
        let whole = chain.hosts[0].sh("traceroute -F -n -q 2 10.0.2.1 1000").out;
        assert_eq!(whole.lines().last(), Some(" 2  10.0.0.254  2.000 ms !F  2.000 ms !F"), "{whole}");
    });
}

/// A router that refuses everything with a code, heard by whoever asks by it.
fn refuse(world: &World, visited: &Visited, router: &Stranger, code: u8) {
    world.run_for(ms(10));
    for (header, payload) in packets(&router.heard()) {
        let quote = packet(&header, &payload);
        let mut sum = rumpnet_sim::wire::checksum::Sum::new();
        sum.add(&quote);
        let message = Message::DestinationUnreachable { code: UnreachableCode(code), next_hop_mtu: 0 };
        let error = [&message.to_bytes(sum)[..], &quote].concat();
        let from = Ipv4Addr::new(10, 0, 0, 9);
        let answer = packet(&support::header(from, A, Protocol::ICMP, error.len()), &error);
        router.send(support::frame(visited.link(), support::S_LINK, EtherType::IPV4, &answer));
    }
}

#[test]
fn every_code_of_unreachable_has_its_sign() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        visited.a.sh("route add default 10.0.0.9").ok();
        let signs =
            ["!N", "!H", "!P", "", "!F", "!S", "!<6>", "!<7>", "!<8>", "!<9>", "!<10>", "!<11>", "!<12>"];
        for (code, sign) in (0..).zip(signs.into_iter().chain(["!X", "!<14>", "!<15>"])) {
            let trace = visited.a.start("traceroute -n -q 1 -m 1 192.0.2.1");
            refuse(world, &visited, &visited.stranger, code);
            let said = world.block_on(trace).out;
            let sign = if sign.is_empty() { String::new() } else { format!(" {sign}") };
            assert!(
                said.starts_with(" 1  10.0.0.9  ") && said.ends_with(&format!(" ms{sign}\n")),
                "{code}: {said}"
            );
        }
    });
}

#[test]
fn what_no_session_sent_is_nobodys_answer() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let trace = visited.a.start("traceroute -n -q 1 -m 1 -w 1 10.0.0.9");
        world.run_for(ms(10));
        let (header, payload) = packets(&visited.stranger.heard()).remove(0);
        let before = visited.a.drops(DropReason::IcmpNoSocket);
        // Forged: the quote names another destination, or another port of ours, or a port below the first.
        for (place, value) in [(0, 9), (1, 1), (2, 0)] {
            let (mut header, mut payload) = (header, payload.clone());
            match place {
                0 => header.destination = Ipv4Addr::new(10, 0, 0, value),
                place => payload[place] ^= value.max(1),
            }
            header.destination = if place == 0 { Ipv4Addr::new(10, 0, 0, 77) } else { header.destination };
            let quote = packet(&header, &payload);
            let mut sum = rumpnet_sim::wire::checksum::Sum::new();
            sum.add(&quote);
            let message = Message::DestinationUnreachable { code: UnreachableCode::PORT, next_hop_mtu: 0 };
            let error = [&message.to_bytes(sum)[..], &quote].concat();
            visited.say(world, &packet(&support::header(support::S, A, Protocol::ICMP, error.len()), &error));
        }
        assert_eq!(world.block_on(trace).out, " 1  *\n");
        assert!(visited.a.drops(DropReason::IcmpNoSocket) >= before + 2);
        assert_eq!(visited.a.counter(Counter::IcmpErrorsReceived), 3);
    });
}

#[test]
fn a_ping_of_a_group_hears_the_others_and_ourselves_unless_it_is_told_not_to() {
    scenario(|world| {
        let pair = support::Pair::new(world);
        for host in [&pair.a, &pair.b] {
            host.sh("sysctl -w net.inet.icmp.bmcastecho=1").ok();
        }
        // Everybody is in 224.0.0.1.
        let both = pair.a.sh("ping -c 2 -W 1 -I 10.0.0.1 224.0.0.1").out;
        assert!(both.contains("from 10.0.0.1:") && both.contains("from 10.0.0.2:"), "{both}");
        let others = pair.a.sh("ping -L -c 2 -W 1 -I 10.0.0.1 224.0.0.1").out;
        assert!(!others.contains("from 10.0.0.1:") && others.contains("from 10.0.0.2:"), "{others}");
    });
}
