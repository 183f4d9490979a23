//! Worlds in which everything goes wrong: nothing is lost without a count, nobody panics, and all heal.

mod support;

use rumpnet_sim::{
    CableCounters, Conditions, Host, World,
    buffer::{Checksum, Gso, GsoKind, Offload},
    future,
    proto::{Counter, DropReason, InterfaceFlags},
    scenario, sleep,
    wire::ethernet::EtherType,
};
use support::{A, Pair, S, S_LINK, Visited, bound, frame, ms, ping, secs, udp_packet};

/// What was given to a cable of two ends, and what became of it.
const fn balance(counters: &CableCounters) -> (u64, u64) {
    let CableCounters { sent, delivered, cut, lost, oversize, queue_full, ruled_out, duplicated, .. } =
        *counters;
    (sent + duplicated, delivered + cut + lost + oversize + queue_full + ruled_out)
}

/// Packets that a host has seen end: delivered, answered or dropped.
fn datagrams_ended(host: &Host) -> u64 {
    let drops =
        [DropReason::UdpChecksum, DropReason::UdpLength, DropReason::UdpNoSocket, DropReason::UdpSocketFull];
    host.counter(Counter::UdpDelivered) + drops.iter().map(|reason| host.drops(*reason)).sum::<u64>()
}

#[test]
fn every_frame_on_a_bad_cable_is_accounted_for() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.cable.set(|conditions| {
            *conditions = Conditions {
                latency: ms(5),
                jitter: ms(5),
                bandwidth: Some(20_000_000),
                queue: Some(20),
                loss: 0.05,
                duplication: 0.05,
                reordering: 0.05,
                reordering_delay: ms(3),
                corruption: 0.05,
                mtu: Some(1400),
            }
        });
        let receiver = bound(&pair.b, "10.0.0.2:9");
        let sender = future::UdpSocket::bind(&pair.a, "10.0.0.1:9").expect("free");
        drop(pair.a.spawn(async move {
            for number in 0..2000_usize {
                // Now and then the neighbour is lost, and with it what waits for it.
                let _refused = sender.send_to(&vec![7; number * 37 % 1472], "10.0.0.2:9").await;
                sleep(ms((number % 3) as u64)).await;
            }
        }));
        for _ in 0..5 {
            world.run_for(ms(300));
            pair.cable.cut();
            world.run_for(ms(50));
            pair.cable.mend();
        }
        world.run_for(secs(30));
        let counters = pair.cable.counters();
        let (given, ended) = balance(&counters);
        assert_eq!(given, ended, "{counters:?}");
        let all = [counters.cut, counters.lost, counters.oversize, counters.duplicated, counters.corrupted];
        assert!(all.iter().all(|count| *count > 0), "{counters:?}");
        assert_eq!(pair.b.counter(Counter::UdpReceived), datagrams_ended(&pair.b));
        drop(receiver);
    });
}

#[test]
fn a_network_that_was_shaken_heals_by_itself() {
    scenario(|world| {
        let hub = world.cable();
        let hosts: Vec<_> = (1..=6).map(|number| world.host(&format!("h{number}"))).collect();
        let mut interfaces = Vec::new();
        for (number, host) in (1..).zip(&hosts) {
            interfaces.push(host.interface("virt0").address(&format!("10.0.0.{number}/24")));
            hub.connect(&interfaces[number - 1]);
        }
        hub.set(|conditions| (conditions.loss, conditions.jitter) = (0.3, ms(20)));
        for round in 0..30 {
            let (one, other) = (round % 6, (round * 5 + 1) % 6);
            interfaces[one].down();
            hub.cut_from(&interfaces[other]);
            ping(world, &hosts[(round + 2) % 6], &format!("10.0.0.{}", one + 1));
            interfaces[one].up();
            hub.disconnect(&interfaces[other]);
            hub.connect(&interfaces[other]);
        }
        hub.mend();
        hub.set(|conditions| *conditions = Conditions::PERFECT);
        world.run_for(secs(30));
        for host in &hosts {
            for number in 1..=6 {
                assert_eq!(ping(world, host, &format!("10.0.0.{number}")).len(), 1, "{host:?} to {number}");
            }
            let up = host.interface("virt0").report().flags;
            assert!(up.contains(InterfaceFlags::UP | InterfaceFlags::RUNNING));
        }
    });
}

#[test]
fn offload_headers_that_lie_are_dropped_and_truth_goes_on() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let receiver = bound(&visited.a, "10.0.0.1:9");
        let bytes = frame(visited.link(), S_LINK, EtherType::IPV4, &udp_packet((S, 5), (A, 9), b"hello"));
        let checksum = |start, offset| Offload { checksum: Checksum::Partial { start, offset }, gso: None };
        let gso = |kind, size| Offload {
            checksum: Checksum::Partial { start: 34, offset: 6 },
            gso: Some(Gso { kind, size, ecn: false, fixed_identification: false }),
        };
        let lies = [
            (checksum(60_000, 6), DropReason::OffloadChecksumRange),
            (checksum(34, 60_000), DropReason::OffloadChecksumRange),
            (checksum(0, 6), DropReason::OffloadChecksumRange),
            (gso(GsoKind::Udp, 0), DropReason::OffloadGsoSize),
            (gso(GsoKind::Tcp4, 1000), DropReason::OffloadGsoKind),
            (gso(GsoKind::Tcp6, 1000), DropReason::OffloadGsoKind),
        ];
        for (lie, reason) in lies {
            let before = visited.a.drops(reason);
            visited.stranger.send_with(bytes.clone(), lie);
            world.run_until_idle();
            assert_eq!(visited.a.drops(reason), before + 1, "{lie:?}");
        }
        visited.stranger.send_with(bytes, checksum(34, 6));
        assert_eq!(receiver.recv(&mut [0; 8]).expect("a true one"), 5);
    });
}

#[test]
#[should_panic(expected = "the world runs in circles: 10001 things have happened at 0.000000s")]
fn programs_that_answer_each_other_for_ever_are_found_out() {
    // once: it panics.
    let world = World::new(1);
    world.set_patience(10_000);
    let host = world.host("a");
    for (local, remote) in [("127.0.0.1:1", "127.0.0.1:2"), ("127.0.0.1:2", "127.0.0.1:1")] {
        let socket = future::UdpSocket::bind(&host, local).expect("free");
        drop(host.spawn(async move {
            let mut buffer = [0; 8];
            loop {
                socket.send_to(b"x", remote).await.expect("room");
                socket.recv(&mut buffer).await.expect("open");
            }
        }));
    }
    world.run_until_idle();
}

#[test]
fn an_interface_is_destroyed_and_made_a_hundred_times_in_the_midst_of_traffic() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.cable.set(|conditions| conditions.latency = ms(1));
        let receiver = bound(&pair.b, "10.0.0.2:9");
        for _ in 0..100 {
            let sender = bound(&pair.a, "0.0.0.0:9");
            let sent = (0..10).filter(|_| sender.send_to(b"x", "10.0.0.2:9").is_ok()).count();
            assert_eq!(sent, 10);
            world.run_for(ms(3));
            pair.virt_a.destroy();
            world.run_for(ms(3));
            pair.a.sh("ifconfig virt0 create").ok();
            pair.virt_a.address("10.0.0.1/24");
        }
        assert!(pair.b.counter(Counter::UdpDelivered) > 900);
        assert_eq!(pair.virt_a.report().counters.input_errors, 0);
        drop(receiver);
    });
}
