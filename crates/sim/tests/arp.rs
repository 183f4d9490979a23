//! ARP and address conflict detection in worlds: RFC 826, RFC 5227, and the limits of the neighbour cache.

mod support;

use std::{net::Ipv4Addr, time::Duration};

use rumpnet_sim::{
    Config, Host, Verdict, World,
    buffer::{Offload, Received},
    proto::{
        AddressFlags, Counter, DropReason, NeighborChange, NeighborReport, NeighborState, Reply, Request,
    },
    scenario,
    wire::{
        arp,
        ethernet::{Address, EtherType, Header},
    },
};
use support::{
    A, B, Pair, S, S_LINK, Visited, arp_frame, arps, bound, ms, ping, reply, request, secs, udp_packet,
};

fn neighbors(host: &Host) -> Vec<NeighborReport> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let Ok(Reply::Neighbors { neighbors, next }) = host.control(Request::Neighbors { after }) else {
            panic!("neighbours are listed")
        };
        all.extend(neighbors);
        after = next;
        if after.is_none() {
            return all;
        }
    }
}

fn link_of(host: &Host, address: Ipv4Addr) -> Option<Address> {
    neighbors(host).into_iter().find(|neighbor| neighbor.address == address)?.link_address
}

fn flags_of(visited: &Visited) -> AddressFlags {
    visited.virt.report().addresses[0].flags
}

#[test]
fn one_exchange_teaches_both_sides() {
    scenario(|world| {
        let pair = Pair::new(world);
        let before = pair.b.counter(Counter::ArpRequestsSent);
        assert_eq!(ping(world, &pair.a, "10.0.0.2").len(), 1);
        assert_eq!(link_of(&pair.a, B), pair.virt_b.link_address());
        assert_eq!(link_of(&pair.b, A), pair.virt_a.link_address());
        assert_eq!(pair.b.counter(Counter::ArpRequestsSent), before, "who was asked need not ask");
        assert_eq!(pair.a.counter(Counter::ArpRepliesReceived), 1);
    });
}

#[test]
fn a_request_is_a_broadcast_and_its_answer_a_unicast() {
    scenario(|world| {
        let visited = Visited::new(world);
        let sender = bound(&visited.a, "10.0.0.1:9");
        sender.send_to(b"x", (S, 9)).expect("queued");
        world.run_until_idle();
        let heard = visited.stranger.heard();
        let (header, _) = Header::parse(&heard[0].bytes).expect("a frame");
        assert_eq!((header.destination, header.ethertype), (Address::BROADCAST, EtherType::ARP));
        assert_eq!(arps(&heard), [request(visited.link(), A, S)]);
        visited.stranger.send(arp_frame(Address::BROADCAST, request(S_LINK, S, A)));
        world.run_until_idle();
        let heard = visited.stranger.heard();
        assert_eq!(arps(&heard), [reply(visited.link(), A, S_LINK, S)]);
        assert!(heard[0].bytes.starts_with(&S_LINK.0));
        // The request made the stranger known, and what waited for it leaves.
        assert_eq!(support::packets(&heard).len(), 1);
    });
}

#[test]
fn nobody_is_learned_from_what_was_said_to_others_or_was_not_asked_for() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.stranger.send(arp_frame(Address::BROADCAST, request(S_LINK, S, B)));
        visited.stranger.send(arp_frame(visited.link(), reply(S_LINK, S, visited.link(), A)));
        world.run_until_idle();
        assert_eq!(neighbors(&visited.a), []);
        visited.introduce(world);
        assert_eq!(link_of(&visited.a, S), Some(S_LINK));
    });
}

#[test]
fn what_is_known_is_brought_up_to_date_by_anyone_and_counted() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let moved = Address([2, 0, 0, 0, 0, 77]);
        visited.stranger.send(arp_frame(Address::BROADCAST, request(moved, S, S)));
        world.run_until_idle();
        assert_eq!(link_of(&visited.a, S), Some(moved));
        assert_eq!(visited.a.counter(Counter::ArpMoved), 1);
    });
}

#[test]
fn an_address_is_probed_three_times_and_announced_twice_at_the_times_of_the_rfc() {
    scenario(|world| {
        let a = world.host("a");
        let cable = world.cable();
        let stranger = world.stranger(&cable);
        let virt = a.interface("virt0");
        cable.connect(&virt.address("10.0.0.1/24"));
        world.run_for(secs(30));
        let heard = stranger.heard();
        let packets = arps(&heard);
        let kinds: Vec<_> = packets.iter().map(arp::Packet::is_probe).collect();
        assert_eq!(kinds, [true, true, true, false, false]);
        assert!(packets[3..].iter().all(arp::Packet::is_announcement));
        assert!(packets.iter().all(|packet| packet.target_protocol == A));
        let pauses: Vec<_> = heard.windows(2).map(|pair| pair[1].time - pair[0].time).collect();
        // PROBE_MIN to PROBE_MAX, ANNOUNCE_WAIT, ANNOUNCE_INTERVAL.
        assert!(pauses[..2].iter().all(|pause| (secs(1)..=secs(2)).contains(pause)), "{pauses:?}");
        assert_eq!(pauses[2..], [secs(2), secs(2)]);
    });
}

#[test]
fn an_address_that_somebody_has_is_lost_to_him_and_answered_for_no_more() {
    scenario(|world| {
        let pair = Pair::new(world);
        let c = world.host("c").interface("virt0").address("10.0.0.1/24");
        pair.cable.connect(&c);
        world.run_for(secs(10));
        assert_eq!(c.report().addresses[0].flags, AddressFlags::DUPLICATED);
        assert!(pair.virt_a.report().addresses[0].flags.is_empty(), "who was first keeps it");
        let answered = c.host().counter(Counter::ArpRepliesSent);
        assert_eq!(ping(world, &pair.b, "10.0.0.1").len(), 1);
        assert_eq!(c.host().counter(Counter::ArpRepliesSent), answered);
        assert_eq!(link_of(&pair.b, A), pair.virt_a.link_address());
    });
}

#[test]
fn two_that_probe_for_one_address_at_once_both_lose_it() {
    scenario(|world| {
        let cable = world.cable();
        cable.cut();
        let ends = ["a", "b"].map(|name| world.host(name).interface("virt0").address("10.0.0.1/24"));
        ends.iter().for_each(|end| drop(cable.connect(end)));
        cable.set(|conditions| conditions.latency = ms(1));
        cable.mend();
        world.run_for(secs(10));
        for end in &ends {
            assert_eq!(end.report().addresses[0].flags, AddressFlags::DUPLICATED, "{end}");
        }
    });
}

#[test]
fn an_address_in_use_is_defended_but_once_in_ten_seconds() {
    scenario(|world| {
        let visited = Visited::new(world);
        let conflict = || {
            visited.stranger.send(arp_frame(Address::BROADCAST, request(S_LINK, A, A)));
            world.run_until_idle();
            arps(&visited.stranger.heard())
        };
        assert_eq!(conflict(), [request(visited.link(), A, A)], "an announcement");
        world.run_for(secs(9));
        assert_eq!(conflict(), []);
        world.run_for(secs(2));
        assert_eq!(conflict().len(), 1);
        let counted = [Counter::ArpConflicts, Counter::ArpDefended].map(|counter| visited.a.counter(counter));
        assert_eq!(counted, [3, 2]);
        assert!(flags_of(&visited).is_empty());
    });
}

#[test]
fn an_address_may_be_used_at_once_unless_strict_waiting_is_asked_for() {
    for (optimistic, waits) in [(1, false), (0, true)] {
        scenario(|world| {
            let a = world.host("a");
            a.sysctl("net.inet.ip.dad_optimistic", Some(optimistic)).expect("a variable");
            let cable = world.cable();
            let stranger = world.stranger(&cable);
            cable.connect(&a.interface("virt0").address("10.0.0.1/24"));
            let answers = || {
                stranger.heard();
                stranger.send(arp_frame(Address::BROADCAST, request(S_LINK, S, A)));
                world.run_until_idle();
                let heard = arps(&stranger.heard());
                heard.iter().filter(|packet| packet.operation == arp::Operation::Reply).count()
            };
            assert_eq!(answers(), usize::from(!waits), "optimistic {optimistic}");
            world.run_for(secs(7));
            assert_eq!(answers(), 1);
        });
    }
}

#[test]
fn without_probes_an_address_is_only_announced() {
    scenario(|world| {
        let a = world.host("a");
        a.sysctl("net.inet.ip.dad_count", Some(0)).expect("a variable");
        let cable = world.cable();
        let stranger = world.stranger(&cable);
        cable.connect(&a.interface("virt0").address("10.0.0.1/24"));
        world.run_for(secs(10));
        let announced: Vec<_> = arps(&stranger.heard()).iter().map(arp::Packet::is_announcement).collect();
        assert_eq!(announced, [true, true]);
    });
}

#[test]
fn a_link_that_comes_back_is_probed_anew() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.cable.cut();
        assert!(flags_of(&visited).contains(AddressFlags::DETACHED));
        visited.cable.mend();
        assert!(flags_of(&visited).contains(AddressFlags::TENTATIVE));
        world.run_for(secs(20));
        assert_eq!(arps(&visited.stranger.heard()).iter().filter(|packet| packet.is_probe()).count(), 3);
        assert!(flags_of(&visited).is_empty());
    });
}

fn set_neighbor(host: &Host, address: Ipv4Addr, link_address: Address, published: bool) {
    let change = NeighborChange { address: address.into(), link_address, temporary: false, published };
    host.control(Request::AddNeighbor(change)).expect("an address on the link");
}

#[test]
fn a_published_entry_is_answered_for_with_its_own_link_address() {
    scenario(|world| {
        let visited = Visited::new(world);
        let absent = Address([2, 0, 0, 0, 0, 50]);
        set_neighbor(&visited.a, Ipv4Addr::new(10, 0, 0, 50), absent, true);
        visited.stranger.send(arp_frame(Address::BROADCAST, request(S_LINK, S, [10, 0, 0, 50].into())));
        world.run_until_idle();
        assert_eq!(arps(&visited.stranger.heard()), [reply(absent, [10, 0, 0, 50].into(), S_LINK, S)]);
        assert_eq!(visited.a.counter(Counter::ArpProxied), 1);
    });
}

#[test]
fn an_entry_set_by_hand_is_moved_by_nobody_and_asked_for_by_nobody() {
    scenario(|world| {
        let visited = Visited::new(world);
        set_neighbor(&visited.a, S, S_LINK, false);
        let imposter = Address([2, 0, 0, 0, 0, 66]);
        visited.stranger.send(arp_frame(Address::BROADCAST, request(imposter, S, A)));
        world.run_for(secs(5000));
        assert_eq!(link_of(&visited.a, S), Some(S_LINK));
        assert_eq!(visited.a.counter(Counter::ArpRefused), 1);
        assert_eq!(visited.a.counter(Counter::ArpRequestsSent), 0);
    });
}

#[test]
fn a_silent_neighbour_is_asked_three_times_and_then_left_alone_for_a_while() {
    scenario(|world| {
        let visited = Visited::new(world);
        let sender = bound(&visited.a, "10.0.0.1:9");
        sender.send_to(b"x", (S, 9)).expect("queued");
        world.run_for(secs(10));
        let asked: Vec<Duration> = visited.stranger.heard().iter().map(|heard| heard.time).collect();
        assert_eq!(asked, [secs(20), secs(21), secs(22)]);
        assert_eq!(visited.a.drops(DropReason::NeighborUnreachable), 1);
        let _pending = sender.take_error();
        assert!(sender.send_to(b"x", (S, 9)).is_err(), "it is down");
        world.run_for(secs(20));
        sender.send_to(b"x", (S, 9)).expect("queued anew");
        world.run_until_idle();
        assert_eq!(visited.stranger.heard().len(), 1);
    });
}

#[test]
fn only_so_many_packets_wait_for_a_neighbour_and_the_oldest_goes() {
    scenario(|world| {
        let a = world.host_with("a", Config { neighbor_queue: 3, ..Config::default() });
        let cable = world.cable();
        cable.connect(&a.interface("virt0").address("10.0.0.1/24"));
        let stranger = world.stranger(&cable);
        let sender = bound(&a, "10.0.0.1:9");
        for number in 0..5_u8 {
            sender.send_to(&[number], (S, 9)).expect("queued");
        }
        assert_eq!(a.drops(DropReason::NeighborQueueFull), 2);
        world.run_until_idle();
        stranger.heard();
        stranger.send(arp_frame(Address::BROADCAST, request(S_LINK, S, A)));
        world.run_until_idle();
        let payloads: Vec<u8> =
            support::packets(&stranger.heard()).iter().map(|(_, bytes)| bytes[8]).collect();
        assert_eq!(payloads, [2, 3, 4]);
    });
}

#[test]
fn a_neighbour_in_use_is_confirmed_by_unicast_before_it_lapses_and_no_packet_waits() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.a.sysctl("net.inet.arp.keep", Some(60)).expect("a variable");
        let (sender, receiver) = (bound(&pair.a, "10.0.0.1:9"), bound(&pair.b, "10.0.0.2:9"));
        let broadcasts = std::rc::Rc::new(std::cell::Cell::new(0));
        sender.send_to(b"x", "10.0.0.2:9").expect("queued");
        world.run_until_idle();
        let seen = broadcasts.clone();
        pair.cable.rule(move |passing| {
            seen.set(seen.get() + u32::from(passing.bytes.starts_with(&[0xff; 6])));
            Verdict::Pass
        });
        pair.cable.set(|conditions| conditions.latency = ms(5));
        for _ in 0..300 {
            let start = world.now();
            sender.send_to(b"x", "10.0.0.2:9").expect("room");
            receiver.set_nonblocking(false).expect("always");
            while receiver.recv(&mut [0; 8]).is_ok() && world.now() == start {}
            assert_eq!(world.now() - start, ms(5), "it never waits for ARP");
            world.run_for(secs(1) - ms(5));
        }
        assert!(pair.a.counter(Counter::ArpRequestsSent) >= 4);
        assert_eq!(broadcasts.get(), 0);
        assert_eq!(neighbors(&pair.a)[0].state, NeighborState::Reachable);
    });
}

/// A flood straight into the port: requests from as many addresses, all of them for us.
fn flood(world: &World, visited: &Visited, addresses: u32) {
    let to = visited.link();
    let flooded = |number: u32| {
        let [_, b, c, d] = number.to_be_bytes();
        let link = Address([2, 1, 0, b, c, d]);
        let frame = arp_frame(to, request(link, Ipv4Addr::new(10, 100 + b, c, d), A));
        Received::new(frame.into(), Offload::default())
    };
    for first in (0..addresses).step_by(4096) {
        let batch = (first..addresses.min(first + 4096)).map(flooded);
        visited.a.stack(|stack, now| stack.receive(now, 0, batch));
        // The answers leave by the cable.
        world.run_for(ms(1));
    }
}

#[test]
fn a_flood_from_a_million_addresses_displaces_nothing_but_itself() {
    // once: a million frames take seconds, and the same frames in small numbers are in scenarios.
    let world = World::new(1);
    world.keep_for_capture(0);
    let visited = Visited::new(&world);
    visited.virt.address("10.1.0.1/8");
    visited.introduce(&world);
    // A conversation makes an entry a used one.
    let (sender, limit) = (bound(&visited.a, "10.0.0.1:9"), Config::default().neighbors as usize);
    sender.send_to(b"x", (S, 9)).expect("known");
    flood(&world, &visited, 1_000_000);
    assert_eq!(link_of(&visited.a, S), Some(S_LINK));
    assert_eq!(neighbors(&visited.a).len(), limit);
    let evicted = visited.a.counter(Counter::NeighborEvicted);
    assert_eq!(evicted, 1_000_001 - limit as u64);
    world.run_until_idle();
    visited.stranger.heard();
    sender.send_to(b"y", (S, 9)).expect("still known");
    world.run_until_idle();
    assert_eq!(support::packets(&visited.stranger.heard()).len(), 1, "and used without asking");
}

#[test]
fn a_table_full_of_entries_set_by_hand_takes_no_other() {
    scenario(|world| {
        let a = world.host_with("a", Config { neighbors: 4, ..Config::default() });
        let cable = world.cable();
        cable.connect(&a.interface("virt0").address("10.0.0.1/24"));
        let stranger = world.stranger(&cable);
        for number in 100..104 {
            set_neighbor(&a, [10, 0, 0, number].into(), Address([2, 0, 0, 0, 0, number]), false);
        }
        let error = bound(&a, "10.0.0.1:9").send_to(b"x", (S, 9)).expect_err("no room for a neighbour");
        assert_eq!(error.to_string(), rumpnet_sim::proto::Errno::NoBufs.text());
        assert_eq!(a.drops(DropReason::NeighborTableFull), 1);
        let link = a.interface("virt0").link_address().expect("Ethernet");
        stranger.send(arp_frame(link, request(S_LINK, S, A)));
        world.run_until_idle();
        assert_eq!(neighbors(&a).len(), 4);
        stranger.send(support::frame(link, S_LINK, EtherType::IPV4, &udp_packet((S, 1), (A, 9), b"")));
        world.run_until_idle();
    });
}
