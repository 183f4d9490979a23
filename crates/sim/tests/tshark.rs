//! What simulated worlds put on their cables, read by tshark: nothing malformed, no wrong checksum.
//!
//! Whatever tshark calls malformed counts, and every error of its experts, to which wrong checksums belong. Their warnings and notes do not: they are
//! about conversations (repeated segments, resets, closed windows), which these worlds have on purpose.

mod support;

use std::{path::PathBuf, process::Command};

use rumpnet_sim::{
    Offloads, SocketOption, UdpSocket, World,
    wire::{ethernet::EtherType, ip::Protocol},
};
use support::{
    A, Pair, S, S_LINK, Visited, bound, echo_request, frame, header, ms, packet, secs, udp_packet,
};

/// A file that is gone when the test is over.
struct Capture(PathBuf);

impl Capture {
    fn of(world: &World, name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rumpnet-sim-{}-{name}.pcapng", std::process::id()));
        world.capture(&path).expect("a writable directory");
        Self(path)
    }

    fn tshark(&self, words: &[&str]) -> String {
        let path = self.0.to_str().expect("a plain path");
        let mut command = Command::new("tshark");
        command.args(["-r", path]);
        for layer in ["ip", "tcp", "udp"] {
            command.args(["-o", &format!("{layer}.check_checksum:TRUE")]);
        }
        let output = command.args(words).output().expect("tshark is there: apt-get install tshark");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Fails if tshark finds anything wrong, or not every one of the protocols.
    #[track_caller]
    fn is_sound(&self, protocols: &[&str]) {
        let wrong = "_ws.malformed || _ws.expert.severity == \"Error\"";
        let found = self.tshark(&["-Y", wrong, "-V"]);
        assert!(found.is_empty(), "{found}");
        let seen = self.tshark(&["-T", "fields", "-e", "frame.protocols"]);
        for protocol in protocols {
            let is_of = |line: &str| line.split(':').any(|layer| layer == *protocol);
            assert!(seen.lines().any(is_of), "no {protocol} among {} packets", seen.lines().count());
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _kept = std::fs::remove_file(&self.0);
    }
}

#[test]
fn everything_of_two_hosts_on_a_bad_cable_is_well_formed() {
    // once: what is read is the capture.
    let world = World::new(7);
    let pair = Pair::new(&world);
    pair.cable.set_offloads(Offloads::NONE);
    pair.cable.set(|conditions| {
        (conditions.latency, conditions.jitter) = (ms(2), ms(1));
        (conditions.loss, conditions.duplication) = (0.02, 0.02);
    });
    let listener = rumpnet_sim::TcpListener::bind(&pair.b, "10.0.0.2:80").expect("free");
    let host = pair.a.clone();
    let sender = pair.a.spawn(async move {
        let stream = rumpnet_sim::future::TcpStream::connect(&host, "10.0.0.2:80").await.expect("answered");
        let data = vec![7; 300_000];
        let mut rest = &data[..];
        while !rest.is_empty() {
            let written = stream.write(rest).await.expect("open");
            rest = &rest[written..];
        }
    });
    let (mut stream, _) = listener.accept().expect("connected");
    std::io::copy(&mut stream, &mut std::io::sink()).expect("open");
    world.block_on(sender);
    let _refused = rumpnet_sim::TcpStream::connect(&pair.a, "10.0.0.2:81");
    let (sender, receiver) = (bound(&pair.a, "10.0.0.1:9"), bound(&pair.b, "10.0.0.2:9"));
    for size in [0, 1, 1472, 1473, 9000, 65_507] {
        sender.send_to(&vec![7; size], "10.0.0.2:9").expect("room");
        world.run_for(secs(1));
    }
    sender.set_option(SocketOption::Broadcast(true)).expect("settable");
    sender.send_to(b"all", "10.0.0.255:9").expect("a route");
    drop(receiver);
    sender.send_to(b"nobody", "10.0.0.2:9").expect("room");
    world.run_for(secs(1));
    for words in ["ping -c 5 -i 0.1 -s 5000 10.0.0.2", "ping -c 3 -R -P 10.0.0.2", "ping -c 1 -w 5 10.0.0.77"]
    {
        pair.a.sh(words);
    }
    let group: UdpSocket = bound(&pair.b, "0.0.0.0:5400");
    group
        .join_multicast_v4(std::net::Ipv4Addr::new(239, 1, 2, 3), std::net::Ipv4Addr::new(10, 0, 0, 2))
        .expect("a group");
    sender.send_to(b"some", "239.1.2.3:5400").expect("a route");
    world.run_for(secs(30));
    Capture::of(&world, "pair").is_sound(&["arp", "ip", "icmp", "udp", "tcp", "igmp"]);
}

#[test]
fn everything_that_routers_pass_on_and_say_is_well_formed() {
    // once: what is read is the capture.
    let world = World::new(8);
    let [left, router, right] = ["left", "router", "right"].map(|name| world.host(name));
    let cables = [world.cable(), world.cable()];
    cables[0].connect(&left.interface("virt0").address("10.0.0.1/24"));
    cables[0].connect(&router.interface("virt0").address("10.0.0.254/24"));
    cables[1].connect(&router.interface("virt1").address("10.0.1.254/24").mtu(900));
    cables[1].connect(&right.interface("virt0").address("10.0.1.1/24").mtu(900));
    for cable in &cables {
        cable.set_offloads(Offloads::NONE);
    }
    left.sh("route add default 10.0.0.254").ok();
    right.sh("route add default 10.0.1.254").ok();
    router.sh("route add 10.9.0.0/24 10.0.0.9").ok();
    router.sh("sysctl -w net.inet.ip.forwarding=1").ok();
    world.run_for(secs(20));
    for words in [
        "ping -c 2 -R 10.0.1.1",
        "ping -c 1 -s 4000 10.0.1.1",
        "ping -c 1 -D -s 1400 10.0.1.1",
        "traceroute -q 1 10.0.1.1",
        "traceroute -I -q 1 10.0.1.1",
        "traceroute -P -q 1 10.0.1.1",
        "traceroute -q 1 192.0.2.1",
        "ping -c 1 -w 5 10.0.1.77",
        "ping -c 1 -w 5 10.9.0.1",
    ] {
        left.sh(words);
    }
    Capture::of(&world, "routers").is_sound(&["arp", "ip", "icmp", "udp"]);
}

#[test]
fn what_answers_garbage_is_well_formed() {
    // once: what is read is the capture.
    let world = World::new(9);
    let visited = Visited::new(&world);
    visited.introduce(&world);
    visited.a.sh("sysctl -w net.inet.icmp.maskrepl=1").ok();
    // Only what the host itself says is kept: the stranger's own frames are bad on purpose.
    let mut said = Vec::new();
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let good = [
        echo_request(S, A, &[7; 64]),
        udp_packet((S, 5), (A, 6), &[7; 700]),
        packet(&header(S, A, Protocol(99), 4), b"what"),
    ];
    for number in 0..4000_u64 {
        let mut bytes = good[number as usize % 3].clone();
        for _ in 0..number % 4 {
            // Of the header, so that errors quote nothing that is malformed behind it.
            let place = random() as usize % 9;
            bytes[place] = random() as u8;
        }
        // Options that are nearly right reach further than a wrong checksum.
        let len = (usize::from(bytes[0] & 15) * 4).clamp(20, bytes.len());
        bytes[10..12].fill(0);
        let sum = rumpnet_sim::wire::checksum::of(&bytes[..len]);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        visited.stranger.send(frame(visited.link(), S_LINK, EtherType::IPV4, &bytes));
        if number % 100 == 0 {
            world.run_for(secs(1));
            said.extend(visited.stranger.heard());
            // It does not answer when it is asked whether it is still there.
            visited.introduce(&world);
        }
    }
    world.run_for(secs(60));
    said.extend(visited.stranger.heard());
    assert!(said.len() > 1000, "{}", said.len());
    // Told again in a world of its own, where nobody else speaks.
    // once: what is told was recorded, and nothing in this world decides anything.
    let quiet = World::new(10);
    let cable = quiet.cable();
    cable.connect(&quiet.host("a").interface("virt0").up());
    let teller = quiet.stranger(&cable);
    for heard in said {
        teller.send(heard.bytes.to_vec());
    }
    quiet.run_for(secs(1));
    Capture::of(&quiet, "answers").is_sound(&["ip", "icmp"]);
}
