//! The tools on simulated hosts: what a user types, in virtual time.

mod support;

use rumpnet_sim::{proto::Counter, scenario, wire::pcapng};
use support::{Pair, bound, ms, secs};

#[test]
fn ifconfig_configures_what_cables_wait_for() {
    scenario(|world| {
        let (a, b) = (world.host("a"), world.host("b"));
        let cable = world.cable().connect_when_created(&a, "virt0").connect_when_created(&b, "virt7");
        a.sh("ifconfig virt0 create").ok();
        a.sh("ifconfig virt0 inet 10.0.0.1/24").ok();
        b.sh("ifconfig virt7 create").ok();
        assert!(a.sh("ifconfig virt0").ok().contains("linkstate: down"), "nobody is up at the other end");
        b.sh("ifconfig virt7 inet 10.0.0.2 netmask 255.255.255.0").ok();
        let report = a.sh("ifconfig virt0").ok();
        assert!(report.contains("linkstate: up"), "{report}");
        assert!(report.contains("inet 10.0.0.1/24 broadcast 10.0.0.255"), "{report}");
        a.sh("ping -c 1 10.0.0.2").ok();
        b.sh("ifconfig virt7 down").ok();
        assert!(a.sh("ifconfig virt0").ok().contains("linkstate: down"));
        b.sh("ifconfig virt7 destroy").ok();
        assert_eq!(b.sh("ifconfig -l").ok().trim(), "lo0");
        assert!(cable.counters().delivered > 0);
    });
}

#[test]
fn ping_takes_its_times_from_the_world() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.cable.set(|conditions| conditions.latency = ms(21));
        pair.a.sh("ping -c 1 10.0.0.2").ok();
        let start = world.now();
        let said = pair.a.sh("ping -c 3 10.0.0.2").ok();
        assert!(said.contains("64 bytes from 10.0.0.2: icmp_seq=2 ttl=64 time=42.000000 ms"), "{said}");
        assert!(said.contains("3 packets transmitted, 3 packets received, 0.0% packet loss"), "{said}");
        assert_eq!(world.now() - start, secs(2) + ms(42));
    });
}

#[test]
fn ping_counts_what_a_bad_cable_loses_and_doubles() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.a.sh("ping -c 1 10.0.0.2").ok();
        pair.cable.set_from(&pair.virt_b, |conditions| conditions.duplication = 1.0);
        let said = pair.a.sh("ping -c 3 10.0.0.2").ok();
        // Both answers to a request come at the same time, and are read together.
        assert!(said.contains("3 packets received, +3 duplicates"), "{said}");
        pair.cable.cut_from(&pair.virt_b);
        let said = pair.a.sh("ping -c 3 10.0.0.2");
        assert_eq!(said.status, 2);
        assert!(said.out.contains("100.0% packet loss"), "{}", said.out);
    });
}

#[test]
fn a_ping_without_end_ends_when_the_user_says_so() {
    scenario(|world| {
        let pair = Pair::new(world);
        let ping = pair.a.start("ping 10.0.0.2");
        world.run_for(secs(100) - ms(500));
        ping.interrupt();
        let said = world.block_on(ping).ok();
        assert!(said.contains("100 packets transmitted, 100 packets received"), "{said}");
    });
}

#[test]
fn arp_shows_sets_and_removes_neighbours() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.a.sh("ping -c 1 10.0.0.2").ok();
        let learned = pair.a.sh("arp -a").ok();
        assert!(learned.contains("(10.0.0.2) at b2:0a:00:01:00:00 on virt0"), "{learned}");
        pair.a.sh("arp -d 10.0.0.2").ok();
        assert_eq!(pair.a.sh("arp -a").ok().trim(), "");
        pair.a.sh("arp -s 10.0.0.9 02:00:00:00:00:09").ok();
        assert!(pair.a.sh("arp -a").ok().contains("permanent"));
    });
}

#[test]
fn netstat_shows_the_counters_that_a_test_asserts_on() {
    scenario(|world| {
        let pair = Pair::new(world);
        bound(&pair.a, "10.0.0.1:9").send_to(b"x", "10.0.0.2:9").expect("queued");
        world.run_until_idle();
        let statistics = pair.b.sh("netstat -s").ok();
        assert_eq!(pair.b.counter(Counter::UdpReceived), 1);
        assert!(statistics.contains("\t1 UDP datagrams received\n"), "{statistics}");
        assert!(
            statistics.contains("\t1 dropped: UDP datagram to a port without a socket\n"),
            "{statistics}"
        );
    });
}

#[test]
fn a_capture_to_a_file_is_pcapng_with_the_times_of_the_world() {
    scenario(|world| {
        let pair = Pair::new(world);
        let path = std::env::temp_dir().join(format!("rumpnet-tools-{}.pcapng", std::process::id()));
        let capture = pair.a.start(&format!("tcpdump -i virt0 -c 2 -w {}", path.display()));
        pair.a.sh("ping -c 1 10.0.0.2").ok();
        assert_eq!(world.block_on(capture).status, 0);
        let file = std::fs::read(&path).expect("written");
        std::fs::remove_file(&path).expect("it is ours");
        let times: Vec<_> = pcapng::blocks(&file)
            .filter_map(|block| match block.expect("well formed") {
                pcapng::Block::Packet(packet) => Some(packet.time_ns),
                _ => None,
            })
            .collect();
        assert_eq!(times, [20_000_000_000; 2]);
    });
}

#[test]
fn a_refused_change_is_told_and_changes_nothing() {
    scenario(|world| {
        let pair = Pair::new(world);
        let before = pair.a.sh("ifconfig -a").ok();
        for line in [
            "ifconfig nope0",
            "ifconfig virt0 mtu 20",
            "ifconfig lo0 destroy",
            "ifconfig virt0 inet 10.0.0.999",
        ] {
            assert!(!pair.a.sh(line).refused().is_empty(), "{line}");
        }
        assert_eq!(pair.a.sh("ifconfig -a").ok(), before);
    });
}
