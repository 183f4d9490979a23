//! What a cable does to frames, seen by a program at either end.

mod support;

use std::time::Duration;

use rumpnet_sim::{
    Conditions, Offloads, SocketOption, Verdict,
    proto::{Counter, DropReason, LinkState},
    scenario,
};
use support::{Pair, bound, ms, ping, secs};

/// Sends `count` numbered datagrams of `size` bytes, and returns the numbers that arrive with the times at which they do.
fn transfer(world: &rumpnet_sim::World, pair: &Pair, count: u16, size: usize) -> Vec<(u16, Duration)> {
    let receiver = bound(&pair.b, "10.0.0.2:9");
    let sender = bound(&pair.a, "10.0.0.1:9");
    receiver.set_read_timeout(Some(secs(5))).expect("not zero");
    let start = world.now();
    for number in 0..count {
        let mut payload = vec![0; size];
        payload[..2].copy_from_slice(&number.to_be_bytes());
        sender.send_to(&payload, "10.0.0.2:9").expect("room");
    }
    let mut buffer = [0; 2];
    std::iter::from_fn(|| receiver.recv_from(&mut buffer).ok().map(|_| u16::from_be_bytes(buffer)))
        .map(|number| (number, world.now() - start))
        .collect()
}

/// A pair that knows each other's link addresses, so that only data cross from now on.
fn acquainted(world: &rumpnet_sim::World) -> Pair {
    let pair = Pair::new(world);
    assert_eq!(transfer(world, &pair, 1, 2).len(), 1);
    pair
}

fn numbers(arrivals: &[(u16, Duration)]) -> Vec<u16> {
    arrivals.iter().map(|(number, _)| *number).collect()
}

#[test]
fn latency_is_exact_and_a_perfect_cable_takes_no_time() {
    scenario(|world| {
        let pair = acquainted(world);
        assert_eq!(transfer(world, &pair, 1, 10), [(0, Duration::ZERO)]);
        pair.cable.set(|conditions| conditions.latency = ms(30));
        assert_eq!(transfer(world, &pair, 1, 10), [(0, ms(30))]);
    });
}

#[test]
fn jitter_delays_but_does_not_reorder() {
    scenario(|world| {
        let pair = acquainted(world);
        pair.cable.set(|conditions| (conditions.latency, conditions.jitter) = (ms(10), ms(10)));
        let arrivals = transfer(world, &pair, 50, 10);
        assert_eq!(numbers(&arrivals), (0..50).collect::<Vec<_>>());
        assert!(arrivals.iter().all(|(_, at)| (ms(10)..=ms(20)).contains(at)), "{arrivals:?}");
        assert!(arrivals.iter().any(|(_, at)| *at > ms(11)));
    });
}

#[test]
fn bandwidth_spaces_frames_by_their_length_and_holds_the_sender_back() {
    scenario(|world| {
        let pair = acquainted(world);
        // 958 bytes and 42 of headers are 8,000 bits, which take 8 ms each.
        pair.cable.set(|conditions| conditions.bandwidth = Some(1_000_000));
        let arrivals = transfer(world, &pair, 20, 958);
        let expected: Vec<_> = (0..20).map(|number| (number, ms(8) * (u32::from(number) + 1))).collect();
        assert_eq!(arrivals, expected);
        assert_eq!(pair.cable.counters().queue_full, 0);
    });
}

#[test]
fn a_queue_in_the_cable_overflows_and_counts_it() {
    scenario(|world| {
        let pair = acquainted(world);
        pair.cable.set(|conditions| (conditions.bandwidth, conditions.queue) = (Some(1_000_000), Some(4)));
        let arrivals = transfer(world, &pair, 20, 958);
        assert_eq!(numbers(&arrivals), [0, 1, 2, 3, 4], "one is sent while four wait");
        assert_eq!(pair.cable.counters().queue_full, 15);
    });
}

#[test]
fn a_port_that_is_held_back_fills_its_own_queue() {
    scenario(|world| {
        let pair = acquainted(world);
        pair.cable.set(|conditions| conditions.bandwidth = Some(1_000_000));
        let sender = bound(&pair.a, "10.0.0.1:9");
        // The port shall be full before the socket is.
        sender.set_option(SocketOption::SendBuffer(8 << 20)).expect("in range");
        let sent = (0..1100).take_while(|_| sender.send_to(&[0; 100], "10.0.0.2:9").is_ok()).count();
        assert_eq!(sent, 1025, "one frame on the wire, and the queue of 1024");
        assert_eq!(pair.a.drops(DropReason::LinkQueueFull), 1);
    });
}

#[test]
fn loss_and_duplication_befall_about_as_many_as_their_probability_says() {
    scenario(|world| {
        let pair = acquainted(world);
        pair.cable.set(|conditions| conditions.loss = 0.2);
        let arrived = transfer(world, &pair, 500, 10).len() as u64;
        assert_eq!(arrived + pair.cable.counters().lost, 500);
        assert!((350..450).contains(&arrived), "{arrived}");
        pair.cable.set(|conditions| (conditions.loss, conditions.duplication) = (0.0, 0.2));
        let arrived = transfer(world, &pair, 500, 10).len() as u64;
        assert_eq!(arrived, 500 + pair.cable.counters().duplicated);
        assert!((550..650).contains(&arrived), "{arrived}");
    });
}

#[test]
fn a_frame_that_is_held_back_is_overtaken_by_those_behind_it() {
    scenario(|world| {
        let pair = acquainted(world);
        pair.cable.set(|conditions| {
            (conditions.reordering, conditions.bandwidth) = (0.1, Some(10_000_000));
            conditions.reordering_delay = ms(3);
        });
        let arrived = numbers(&transfer(world, &pair, 100, 958));
        let mut sorted = arrived.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_ne!(arrived, sorted);
        assert!(pair.cable.counters().reordered > 0);
    });
}

#[test]
fn a_flipped_bit_never_reaches_a_program() {
    scenario(|world| {
        let pair = acquainted(world);
        assert_eq!(pair.cable.offloads(), Offloads::ALL);
        pair.cable.set(|conditions| conditions.corruption = 0.5);
        assert_eq!(pair.cable.offloads(), Offloads::NONE, "checksums are complete on a wire that corrupts");
        let sender = bound(&pair.a, "10.0.0.1:9");
        let receiver = bound(&pair.b, "10.0.0.2:9");
        let payload: Vec<u8> = (0..100).collect();
        let drops = || pair.b.all_drops().iter().map(|(_, count)| count).sum::<u64>();
        let before = drops();
        for _ in 0..400 {
            sender.send_to(&payload, "10.0.0.2:9").expect("room");
        }
        receiver.set_read_timeout(Some(ms(1))).expect("not zero");
        let mut buffer = [0; 200];
        let mut intact = 0;
        while let Ok((len, from)) = receiver.recv_from(&mut buffer) {
            assert_eq!((&buffer[..len], from.to_string().as_str()), (&payload[..], "10.0.0.1:9"));
            intact += 1;
        }
        let corrupted = pair.cable.counters().corrupted;
        assert!(corrupted > 100);
        assert_eq!(intact + drops() - before, 400, "{:?}", pair.b.all_drops());
        assert!(pair.b.drops(DropReason::UdpChecksum) > 0 && pair.b.drops(DropReason::Ipv4Checksum) > 0);
    });
}

#[test]
fn what_is_longer_than_the_cables_mtu_is_a_counted_drop() {
    scenario(|world| {
        let pair = acquainted(world);
        pair.cable.set(|conditions| conditions.mtu = Some(1000));
        assert_eq!(transfer(world, &pair, 1, 972).len(), 1, "1000 bytes with its headers");
        assert_eq!(transfer(world, &pair, 1, 973).len(), 0);
        assert_eq!(pair.cable.counters().oversize, 1);
    });
}

#[test]
fn a_receiver_with_a_smaller_mtu_counts_what_is_too_long_for_it() {
    scenario(|world| {
        let pair = acquainted(world);
        pair.virt_b.mtu(1000);
        assert_eq!(transfer(world, &pair, 1, 1400).len(), 0);
        assert_eq!(pair.b.drops(DropReason::LinkOversize), 1);
    });
}

#[test]
fn a_super_frame_is_too_long_where_its_segments_are() {
    scenario(|world| {
        let pair = acquainted(world);
        pair.virt_b.mtu(1000);
        let (sender, receiver) = (bound(&pair.a, "10.0.0.1:9"), bound(&pair.b, "10.0.0.2:9"));
        // With 28 bytes of headers, segments of 972 bytes just fit.
        for (segment, oversize) in [(972, 0), (973, 1)] {
            let train = vec![7; 3000].into();
            sender.send_train(train, segment, Some(([10, 0, 0, 2], 9).into())).expect("room");
            world.run_until_idle();
            assert_eq!(pair.b.drops(DropReason::LinkOversize), oversize, "{segment}");
        }
        assert_eq!(receiver.recv(&mut [0; 2000]).expect("the first train"), 972);
    });
}

#[test]
fn a_cut_cable_takes_the_carrier_and_what_is_under_way_and_heals_when_mended() {
    scenario(|world| {
        let pair = acquainted(world);
        pair.cable.set(|conditions| conditions.latency = ms(10));
        let sender = bound(&pair.a, "10.0.0.1:5000");
        sender.send_to(b"x", "10.0.0.2:9").expect("room");
        world.run_for(ms(5));
        pair.cable.cut();
        world.run_for(ms(50));
        assert_eq!(pair.cable.counters().cut, 1);
        for interface in [&pair.virt_a, &pair.virt_b] {
            assert_eq!(interface.report().link_state, LinkState::Down);
        }
        let told = |host: &rumpnet_sim::Host, text: &str| {
            host.messages().iter().filter(|message| message.text.ends_with(text)).count()
        };
        assert_eq!(told(&pair.a, "link state DOWN"), 1, "once a change");
        pair.cable.mend();
        drop(sender);
        world.run_for(secs(20));
        assert_eq!(pair.virt_a.report().link_state, LinkState::Up);
        assert_eq!(transfer(world, &pair, 3, 10).len(), 3);
    });
}

#[test]
fn a_one_way_fault_silences_one_end_and_leaves_the_carrier() {
    scenario(|world| {
        let pair = acquainted(world);
        pair.cable.cut_from(&pair.virt_b);
        assert_eq!(transfer(world, &pair, 3, 10).len(), 3, "what is known is still said");
        assert_eq!(ping(world, &pair.a, "10.0.0.2"), []);
        assert_eq!(pair.virt_a.report().link_state, LinkState::Up);
        pair.cable.mend();
        assert_eq!(ping(world, &pair.a, "10.0.0.2").len(), 1);
    });
}

#[test]
fn conditions_may_differ_by_direction() {
    scenario(|world| {
        let pair = acquainted(world);
        pair.cable.set_from(&pair.virt_a, |conditions| conditions.latency = ms(40));
        pair.cable
            .set_from(&pair.virt_b, |conditions| *conditions = Conditions { latency: ms(2), ..*conditions });
        let round_trips: Vec<_> = ping(world, &pair.a, "10.0.0.2").iter().map(|reply| reply.rtt_ns).collect();
        assert_eq!(round_trips, [Some(42_000_000)]);
    });
}

#[test]
fn an_interface_that_goes_down_takes_the_other_ends_carrier() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.virt_a.down();
        assert_eq!(pair.virt_b.report().link_state, LinkState::Down);
        pair.virt_a.up();
        assert_eq!(pair.virt_b.report().link_state, LinkState::Up);
    });
}

#[test]
fn rules_drop_delay_and_replace_what_they_choose_until_they_are_lifted() {
    scenario(|world| {
        let pair = acquainted(world);
        pair.cable.set_offloads(Offloads::NONE);
        let number = |bytes: &[u8]| u16::from_be_bytes([bytes[42], bytes[43]]);
        let rule = pair.cable.rule(move |passing| {
            assert_eq!(passing.from, "a/virt0");
            match number(passing.bytes) {
                1 => Verdict::Drop,
                2 => Verdict::Delay(ms(50)),
                3 => {
                    let twin = bytes::Bytes::copy_from_slice(passing.bytes);
                    Verdict::Replace(vec![twin.clone(), twin])
                }
                _ => Verdict::Pass,
            }
        });
        let expected = [(0, ms(0)), (3, ms(0)), (3, ms(0)), (4, ms(0)), (2, ms(50))];
        assert_eq!(transfer(world, &pair, 5, 10), expected);
        let counters = pair.cable.counters();
        assert_eq!((counters.ruled_out, counters.replaced), (1, 1));
        rule.lift();
        assert_eq!(transfer(world, &pair, 5, 10).len(), 5);
    });
}

#[test]
fn ends_agree_on_what_all_of_them_can_do_and_software_does_the_rest() {
    scenario(|world| {
        let pair = acquainted(world);
        let sender = bound(&pair.a, "10.0.0.1:9");
        let receiver = bound(&pair.b, "10.0.0.2:9");
        let train = || sender.send_train(vec![7; 3000].into(), 1000, Some(([10, 0, 0, 2], 9).into()));
        let trains = || {
            world.run_until_idle();
            let mut trains = Vec::new();
            receiver.recv_trains(&mut trains, 16).map(|_| trains.len()).expect("something")
        };
        train().expect("room");
        assert_eq!(trains(), 1, "a super-frame crosses whole");
        assert_eq!(pair.a.counter(Counter::SegmentedInSoftware), 0);
        pair.virt_b.set_offloads(Offloads { uso4: false, ..Offloads::ALL });
        train().expect("room");
        assert_eq!(trains(), 3);
        assert_eq!(pair.a.counter(Counter::SegmentedInSoftware), 1);
        assert_eq!(pair.a.counter(Counter::ChecksummedInSoftware), 0);
        pair.cable.set_offloads(Offloads::NONE);
        sender.send_to(b"x", "10.0.0.2:9").expect("room");
        assert_eq!(trains(), 1);
        assert_eq!(pair.a.counter(Counter::ChecksummedInSoftware), 1);
    });
}

#[test]
fn a_hub_lets_all_hear_and_each_take_what_is_its_own() {
    scenario(|world| {
        let hub = world.cable();
        let hosts: Vec<_> = (1..=5).map(|number| world.host(&format!("h{number}"))).collect();
        for (number, host) in (1..).zip(&hosts) {
            hub.connect(&host.interface("virt0").address(&format!("10.0.0.{number}/24")));
        }
        world.run_for(secs(20));
        assert_eq!(ping(world, &hosts[0], "10.0.0.5").len(), 1);
        assert_eq!(hosts[4].counter(Counter::IcmpEchoRequests), 1);
        assert!(hosts[1].drops(DropReason::LinkNotForUs) >= 2);
    });
}

#[test]
fn plain_ip_links_carry_packets_without_ethernet() {
    scenario(|world| {
        let (a, b) = (world.host("a"), world.host("b"));
        let cable = world.cable();
        cable.connect(&a.interface("tun0").address("10.9.0.1/24"));
        cable.connect(&b.interface("tun0").address("10.9.0.2/24"));
        assert_eq!(ping(world, &a, "10.9.0.2").len(), 1);
        assert_eq!(b.counter(Counter::ArpRequestsReceived), 0);
        assert_eq!(cable.counters().sent, 2);
    });
}

#[test]
#[should_panic(expected = "carries Ethernet frames, but b/tun0 does not")]
fn ethernet_and_plain_ip_do_not_fit_together() {
    // once: it panics.
    let world = rumpnet_sim::World::new(1);
    let cable = world.cable();
    cable.connect(&world.host("a").interface("virt0"));
    cable.connect(&world.host("b").interface("tun0"));
}

#[test]
fn an_interface_without_a_cable_refuses_what_it_is_given() {
    scenario(|world| {
        let a = world.host("a");
        let virt = a.interface("virt0").address("10.0.0.1/24");
        assert_eq!(virt.report().link_state, LinkState::Down);
        a.sysctl("net.inet.ip.dad_count", Some(0)).expect("a variable");
        let sender = bound(&a, "0.0.0.0:9");
        let _refused = sender.send_to(b"x", "10.0.0.7:9");
        world.run_for(secs(1));
        assert!(a.drops(DropReason::LinkSendFailed) > 0, "{:?}", a.all_drops());
    });
}

#[test]
fn a_plug_can_be_moved_to_another_cable() {
    scenario(|world| {
        let pair = acquainted(world);
        let other = world.cable();
        let c = world.host("c").interface("virt0").address("10.0.0.3/24");
        other.connect(&c);
        other.connect(&pair.virt_a);
        assert_eq!(pair.virt_b.report().link_state, LinkState::Down);
        world.run_for(secs(20));
        assert_eq!(ping(world, &pair.a, "10.0.0.3").len(), 1);
        other.disconnect(&pair.virt_a);
        assert_eq!(c.report().link_state, LinkState::Down);
    });
}
