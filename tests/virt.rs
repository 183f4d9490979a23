//! `virt<n>` against the host's own stack, as virt(4) and tap(4) describe it: create, use, misuse, destroy.

mod support;

use support::{Namespace, Server, eventually, require};

fn up<'a>(namespace: &'a Namespace) -> Server<'a> {
    let server = Server::start(namespace, &[]);
    server.rump("ifconfig virt0 create").ok();
    server.rump("ifconfig virt0 inet 10.0.0.2/24").ok();
    namespace.sh("ip addr add 10.0.0.1/24 dev tap0").ok();
    server
}

#[test]
fn create_makes_the_tap_of_its_number_and_destroy_removes_both() {
    let namespace = Namespace::new();
    let server = Server::start(&namespace, &[]);
    for (virt, tap) in [("virt0", "tap0"), ("virt7", "tap7"), ("virt99999", "tap99999")] {
        server.rump(&format!("ifconfig {virt} create")).ok();
        let link = namespace.sh(&format!("ip link show {tap}")).ok();
        assert!(link.contains("UP"), "{link}");
        server.rump(&format!("ifconfig {virt} destroy")).ok();
        assert_ne!(namespace.sh(&format!("ip link show {tap}")).status, 0);
        let gone = server.rump(&format!("ifconfig {virt}")).refused();
        assert!(gone.contains(&format!("SIOCGIFFLAGS {virt}: Device not configured")), "{gone}");
    }
}

#[test]
fn a_tap_that_existed_before_is_left_as_it_was() {
    let namespace = Namespace::new();
    namespace.sh("ip tuntap add dev tap0 mode tap && ip link set tap0 mtu 1400").ok();
    // Which queue discipline it has is the host's own affair once it was up.
    let before = namespace.sh("ip -o link show tap0 | sed 's/qdisc.*//'").ok();
    let server = Server::start(&namespace, &[]);
    server.rump("ifconfig virt0 create").ok();
    server.rump("ifconfig virt0 destroy").ok();
    let after = namespace.sh("ip -o link show tap0 | sed 's/qdisc.*//'").ok();
    assert_eq!(before.replace(",NO-CARRIER", ""), after.replace(",NO-CARRIER", ""));
}

#[test]
fn unit_names_are_read_as_numbers_and_named_canonically() {
    let namespace = Namespace::new();
    let server = Server::start(&namespace, &[]);
    server.rump("ifconfig virt01 create").ok();
    assert_eq!(server.rump("ifconfig -l").ok().trim(), "lo0 virt1");
    let exists = server.rump("ifconfig virt1 create").refused();
    assert!(exists.contains("SIOCIFCREATE: File exists"), "{exists}");
    for name in ["foo0", "virt", "virt-1", "virt0x", "virtual0", "virt2147483647", "virt99999999999"] {
        let refused = server.rump(&format!("ifconfig {name} create")).refused();
        assert!(refused.contains("SIOCIFCREATE: Invalid argument"), "{name}: {refused}");
    }
}

#[test]
fn a_busy_tap_names_its_holder() {
    let namespace = Namespace::new();
    let first = Server::start(&namespace, &[]);
    first.rump("ifconfig virt0 create").ok();
    let second = Server::start(&namespace, &[]);
    let refused = second.rump("ifconfig virt0 create").refused();
    assert!(refused.contains("SIOCIFCREATE: Device busy"), "{refused}");
    assert!(refused.contains("rump"), "the holder is named: {refused}");
    assert_eq!(second.rump("ifconfig -l").ok().trim(), "lo0");
}

#[test]
fn a_name_that_is_not_a_tap_is_refused_as_invalid() {
    let namespace = Namespace::new();
    namespace.sh("ip tuntap add dev tap3 mode tun && ip link add tap4 type bridge").ok();
    let server = Server::start(&namespace, &[]);
    for virt in ["virt3", "virt4"] {
        let refused = server.rump(&format!("ifconfig {virt} create")).refused();
        assert!(refused.contains("SIOCIFCREATE: Invalid argument"), "{virt}: {refused}");
    }
}

#[test]
fn flags_and_layout_are_netbsds() {
    let namespace = Namespace::new();
    let server = Server::start(&namespace, &[]);
    server.rump("ifconfig virt0 create").ok();
    let born = server.rump("ifconfig virt0").ok();
    assert!(born.starts_with("virt0: flags=0x8802<BROADCAST,SIMPLEX,MULTICAST> mtu 1500\n"), "{born}");
    assert!(born.contains("\taddress: b2:0a:"), "{born}");
    server.rump("ifconfig virt0 inet 10.0.0.2/24").ok();
    let up = server.rump("ifconfig virt0").ok();
    assert!(up.starts_with("virt0: flags=0x8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> mtu 1500\n"), "{up}");
    assert!(up.contains("\tinet 10.0.0.2/24 broadcast 10.0.0.255 flags 0"), "{up}");
}

#[test]
fn link_addresses_of_three_hundred_units_differ() {
    let namespace = Namespace::new();
    let server = Server::start(&namespace, &[]);
    let mut seen = std::collections::BTreeSet::new();
    for unit in 0..300 {
        server.rump(&format!("ifconfig virt{unit} create")).ok();
    }
    for line in server.rump("ifconfig -a").ok().lines().filter(|line| line.contains("address: ")) {
        assert!(line.contains("address: b2:0a:"), "{line}");
        assert!(seen.insert(line.to_owned()), "twice: {line}");
    }
    assert_eq!(seen.len(), 300);
}

#[test]
fn the_host_pings_the_kernel_and_the_kernel_the_host() {
    require("ping", "iputils-ping");
    require("arping", "iputils-arping");
    let namespace = Namespace::new();
    let server = up(&namespace);
    namespace.sh("ping -c 3 -i 0.05 -W 2 10.0.0.2").ok();
    namespace.sh("ping -c 2 -i 0.05 -W 2 -s 8000 10.0.0.2").ok();
    namespace.sh("arping -c 2 -w 3 -I tap0 10.0.0.2").ok();
    let said = server.rump("ping -c 3 -i 0.05 10.0.0.1").ok();
    assert!(said.contains("3 packets transmitted, 3 packets received, 0.0% packet loss"), "{said}");
    let neighbours = server.rump("arp -a").ok();
    assert!(neighbours.contains("(10.0.0.1) at "), "{neighbours}");
}

#[test]
fn a_flood_of_pings_loses_nothing() {
    require("ping", "iputils-ping");
    let namespace = Namespace::new();
    let _server = up(&namespace);
    let said = namespace.sh("ping -q -f -c 50000 -w 30 10.0.0.2").ok();
    assert!(said.contains("50000 packets transmitted, 50000 received, 0% packet loss"), "{said}");
}

#[test]
fn mtu_is_bounded_and_the_tap_follows_it() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    for mtu in [68, 1400, 1500, 9000, 65_521] {
        server.rump(&format!("ifconfig virt0 mtu {mtu}")).ok();
        eventually("the tap has the MTU", || {
            namespace.sh("cat /sys/class/net/tap0/mtu").ok().trim() == mtu.to_string()
        });
    }
    for mtu in ["0", "1", "67", "65522", "65536"] {
        let refused = server.rump(&format!("ifconfig virt0 mtu {mtu}")).refused();
        assert!(refused.contains("SIOCSIFMTU: Invalid argument"), "{refused}");
    }
    namespace.sh("ping -c 1 -W 2 -s 60000 10.0.0.2").ok();
}

#[test]
fn a_tap_that_goes_down_and_up_again_is_noticed_and_recovers() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    let state = |wanted: &str| server.rump("ifconfig virt0").ok().contains(&format!("linkstate: {wanted}"));
    namespace.sh("ip link set tap0 down").ok();
    eventually("the link is down", || state("down"));
    let refused = || server.interface("virt0").pointer("/interfaces/0/output/errors").cloned();
    let before = refused();
    assert!(before.is_some());
    assert_ne!(server.rump("ping -c 1 -w 2 10.0.0.1").status, 0);
    assert_ne!(refused(), before, "what the host refuses is counted");
    namespace.sh("ip link set tap0 up").ok();
    eventually("the link is up", || state("up"));
    eventually("pings are answered", || namespace.sh("ping -c 1 -W 1 10.0.0.2").status == 0);
    let told = server.rump("dmesg").ok();
    let lines = told.lines().filter(|line| line.contains("virt0") && line.contains("link")).count();
    assert!((2..=6).contains(&lines), "told once per change: {told}");
}

#[test]
fn a_tap_that_went_down_among_more_news_than_the_host_keeps_is_down() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    namespace.sh(&format!("kill -STOP {}", server.pid())).ok();
    let flood = "for mtu in $(seq 1000 1999); do echo link set tap0 mtu $mtu; done | ip -b -";
    namespace.sh(flood).ok();
    namespace.sh("ip link set tap0 down").ok();
    namespace.sh(&format!("kill -CONT {}", server.pid())).ok();
    eventually("the link is down", || server.rump("ifconfig virt0").ok().contains("linkstate: down"));
    // Nothing older comes after it.
    server.rump("ping -c 1 -w 1 10.0.0.1");
    assert!(server.rump("ifconfig virt0").ok().contains("linkstate: down"));
}

#[test]
fn a_tap_deleted_under_a_kernel_is_noticed_and_virt_can_be_made_again() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    namespace.sh("ip link delete tap0").ok();
    eventually("the link is down", || server.rump("ifconfig virt0").ok().contains("linkstate: down"));
    server.rump("ifconfig virt0 destroy").ok();
    server.rump("ifconfig virt0 create").ok();
    server.rump("ifconfig virt0 inet 10.0.0.2/24").ok();
    namespace.sh("ip addr add 10.0.0.1/24 dev tap0").ok();
    namespace.sh("ping -c 1 -W 2 10.0.0.2").ok();
}

#[test]
fn a_deleted_tap_that_is_made_anew_carries_frames_again() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    server.rump("ifconfig virt0 mtu 1400").ok();
    for round in 1..=3 {
        namespace.sh("ip link delete tap0").ok();
        eventually("the link is down", || server.rump("ifconfig virt0").ok().contains("linkstate: down"));
        namespace.sh("ip tuntap add tap0 mode tap").ok();
        namespace.sh("ip addr add 10.0.0.1/24 dev tap0 && ip link set tap0 up").ok();
        eventually("the link is up", || server.rump("ifconfig virt0").ok().contains("linkstate: up"));
        eventually("pings are answered", || namespace.sh("ping -c 1 -W 1 10.0.0.2").status == 0);
        assert!(server.rump("ping -c 1 -w 5 10.0.0.1").ok().contains(" 0.0% packet loss"));
        eventually("the MTU is ours", || namespace.sh("ip link show tap0").ok().contains("mtu 1400"));
        let told = server.rump("dmesg").ok();
        assert_eq!(told.matches("attached again").count(), round, "{told}");
    }
    // What somebody else made stays.
    server.rump("ifconfig virt0 destroy").ok();
    namespace.sh("ip link show tap0").ok();
}

#[test]
fn a_tap_that_was_in_another_namespace_for_a_while_is_up_again() {
    let (namespace, other) = (Namespace::new(), Namespace::new());
    let server = up(&namespace);
    let state = |wanted: &str| server.rump("ifconfig virt0").ok().contains(&format!("linkstate: {wanted}"));
    namespace.sh(&format!("ip link set tap0 netns {}", other.name())).ok();
    eventually("the link is down", || state("down"));
    // One of its old name here is not ours.
    namespace.sh("ip tuntap add tap0 mode tap && ip link set tap0 up && ip link delete tap0").ok();
    other.sh(&format!("ip link set tap0 netns {}", namespace.name())).ok();
    namespace.sh("ip link set tap0 up && ip addr add 10.0.0.1/24 dev tap0").ok();
    eventually("the link is up", || state("up"));
    namespace.sh("ping -c 1 -W 2 10.0.0.2").ok();
    assert!(!server.rump("dmesg").ok().contains("attached again"));
}

#[test]
fn what_the_host_dropped_shows_in_a_listing_and_of_one_interface() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    server.rump("ifconfig virt1 create").ok();
    namespace.sh("ping -c 1 -W 2 10.0.0.2").ok();
    namespace.sh(&format!("kill -STOP {}", server.pid())).ok();
    let flood = r#"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(4000):
    s.sendto(b"x", ("10.0.0.2", 9))
"#;
    namespace.python(flood).ok();
    namespace.sh(&format!("kill -CONT {}", server.pid())).ok();
    for words in ["ifconfig -v -a", "ifconfig -v virt0"] {
        let said = server.rump(words).ok();
        assert!(said.contains("host: tap0, ") && said.contains(" packets dropped there"), "{words}: {said}");
        assert!(!said.contains("host: tap0, 0 packets"), "{words}: {said}");
    }
}

#[test]
fn a_descriptor_of_a_running_interface_is_not_taken_for_an_inherited_one() {
    let namespace = Namespace::new();
    let ends: Vec<String> = (3..64).map(|number| format!("--tap=virt{number}=fd:{number}")).collect();
    let server = Server::start(&namespace, &ends.iter().map(String::as_str).collect::<Vec<_>>());
    server.rump("ifconfig virt0 create").ok();
    server.rump("ifconfig virt0 inet 10.0.0.2/24").ok();
    namespace.sh("ip addr add 10.0.0.1/24 dev tap0").ok();
    let descriptors = format!("/proc/{}/fd", server.pid());
    let is_tap = |number: &u32| {
        let end = std::fs::read_link(format!("{descriptors}/{number}"));
        end.is_ok_and(|end| end.ends_with("tun"))
    };
    let number = (3..64).find(is_tap).expect("virt0 has a tap");
    let refused = server.rump(&format!("ifconfig virt{number} create")).refused();
    assert!(refused.contains("Device busy") && refused.contains("the end of virt0"), "{refused}");
    namespace.sh("ping -c 1 -W 2 10.0.0.2").ok();
}

#[test]
fn a_tap_renamed_under_a_kernel_is_still_its_own() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    namespace.sh("ip link set tap0 down && ip link set tap0 name mine && ip link set mine up").ok();
    namespace.sh("ip tuntap add tap0 mode tap").ok();
    server.rump("ifconfig virt0 mtu 1400").ok();
    assert!(namespace.sh("ip link show mine").ok().contains("mtu 1400"));
    assert!(namespace.sh("ip link show tap0").ok().contains("mtu 1500"));
    namespace.sh("ip addr replace 10.0.0.1/24 dev mine").ok();
    eventually("pings are answered", || namespace.sh("ping -c 1 -W 1 10.0.0.2").status == 0);
}

#[test]
fn a_server_killed_without_a_word_is_replaced_at_once() {
    let namespace = Namespace::new();
    let mut server = up(&namespace);
    server.kill_and_restart();
    server.rump("ifconfig virt0 create").ok();
    server.rump("ifconfig virt0 inet 10.0.0.2/24").ok();
    namespace.sh("ip addr replace 10.0.0.1/24 dev tap0").ok();
    namespace.sh("ping -c 1 -W 2 10.0.0.2").ok();
}

#[test]
fn frames_of_every_length_and_garbage_leave_the_kernel_answering() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    server.rump("ifconfig virt0 mtu 65521").ok();
    let report = server.rump("ifconfig virt0").ok();
    let mac = report
        .lines()
        .find_map(|line| line.trim().strip_prefix("address: "))
        .expect("an address")
        .replace(':', "");
    let program = format!(
        r#"
import os, socket, random
random.seed(7)
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("tap0", 0))
head = bytes.fromhex("{mac}") + bytes.fromhex("020000000001")
sent = 0
for size in (14, 15, 42, 60, 1514, 1515, 1518, 9018, 65535):
    for kind in (b"\x08\x00", b"\x08\x06", b"\x81\x00", b"\x86\xdd", b"\x12\x34"):
        frame = (head + kind + random.randbytes(70000))[:size]
        try:
            s.send(frame); sent += 1
        except OSError as error:
            assert error.errno in (90, 22), error
for _ in range(20000):
    s.send(head + random.choice([b"\x08\x00\x45", b"\x08\x06", b"\x08\x00\x46"]) + random.randbytes(random.randrange(0, 200)))
    sent += 1
print(sent)
"#
    );
    let sent: u64 = namespace.python(&program).ok().trim().parse().expect("a number");
    assert!(sent > 20_000);
    namespace.sh("ping -c 1 -W 2 10.0.0.2").ok();
    let counted = server.interface("virt0");
    let number = |place: &str| counted.pointer(place).and_then(serde_json::Value::as_u64).unwrap_or(0);
    let input = number("/interfaces/0/input/packets");
    let dropped = number("/interfaces/0/host_dropped_packets");
    // How many come in before the tap's queue is full is a matter of who gets the CPU; none is unaccounted for.
    assert!(input > 0 && input + dropped >= sent, "{sent} sent: {counted}");
}
