//! Multicast between a kernel on a tap and the host: its bridge, which asks who listens and forwards by the answers, and its sockets.

use std::{
    net::{Ipv4Addr, UdpSocket as HostSocket},
    process::Command,
    time::{Duration, Instant},
};

use rumpnet::{
    Kernel, UdpSocket,
    proto::{Counter, DropReason, SourceFilter},
};
use rumpnet_host::namespace::enter_own_network;
use rumpnet_sim::{
    World,
    wire::{
        checksum::Sum,
        ethernet::{Address, EtherType, Header as LinkHeader},
        igmp::Message,
        ip::Protocol,
        ipv4::{Header, IpOption, Options},
        multicast::QueryExtension,
    },
};
use rustix::net::sockopt::set_ip_add_source_membership;

const PATIENCE: Duration = Duration::from_secs(30);
const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const HOSTS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const G: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);

/// Runs a program in this thread's namespace, and returns what it prints.
#[track_caller]
fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a program");
    let ran = Command::new(program).args(words).output().expect("it is there (package iproute2)");
    assert!(ran.status.success(), "{line}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Fails unless a program is there.
#[track_caller]
fn require(program: &str, package: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    assert!(is_there, "{program} is missing (package {package})");
}

/// A kernel of 10.0.0.2 behind a port of the host's bridge, which is 10.0.0.1, snoops, and asks every second in this version.
fn behind_bridge(version: u8) -> Kernel {
    require("bridge", "iproute2");
    enter_own_network().expect("these tests need root");
    let kernel = Kernel::builder().host_end("virt0", "tap0").boot().expect("boots");
    kernel.create("virt0").expect("these tests need root");
    run(&format!(
        "ip link add br0 type bridge mcast_snooping 1 mcast_igmp_version {version} mcast_query_interval 100 \
         mcast_query_response_interval 50 mcast_startup_query_interval 100 mcast_membership_interval 300 \
         mcast_last_member_interval 20 mcast_querier 1"
    ));
    run("ip link set tap0 master br0");
    run("ip addr add 10.0.0.1/24 dev br0");
    run("ip link set br0 up");
    run("ip route add 224.0.0.0/4 dev br0");
    kernel.add_address("virt0", "10.0.0.2/24".parse().expect("a prefix")).expect("free");
    kernel
}

/// Whether the bridge forwards a group to our port.
fn is_open(group: Ipv4Addr) -> bool {
    run("bridge mdb show dev br0")
        .lines()
        .any(|line| line.contains("port tap0") && line.contains(&format!("grp {group} ")))
}

fn member(kernel: &Kernel) -> UdpSocket {
    let socket = UdpSocket::bind(kernel, "0.0.0.0:9").expect("free");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    socket
}

/// Sends from the host to a group of which nobody is a member, then to one that the socket hears; true if the bridge kept the first to itself.
fn is_kept(kernel: &Kernel, host: &HostSocket, socket: &UdpSocket) -> bool {
    let before = kernel.drops(DropReason::LinkMulticastNotJoined);
    host.send_to(b"nobody's", "239.9.9.9:9").expect("a route");
    host.send_to(b"mark", (G, 9)).expect("a route");
    assert_eq!(socket.recv(&mut [0; 64]).expect("it is a member"), 4);
    kernel.drops(DropReason::LinkMulticastNotJoined) == before
}

fn the_bridge_follows(version: u8) -> Kernel {
    let kernel = behind_bridge(version);
    let (socket, host) = (member(&kernel), HostSocket::bind((HOSTS, 0)).expect("free"));
    socket.join_multicast_v4(G, ANY).expect("a group");
    eventually("our report opens the port", || is_open(G));
    eventually("what nobody joined is not forwarded", || is_kept(&kernel, &host, &socket));
    // The bridge forgets a member after three seconds who does not answer.
    let asked = kernel.counter(Counter::IgmpQueriesReceived);
    eventually("it asks again and again", || kernel.counter(Counter::IgmpQueriesReceived) >= asked + 6);
    assert!(is_open(G), "and we answer: {}", run("bridge mdb show dev br0"));
    socket.leave_multicast_v4(G, ANY).expect("joined");
    let left = Instant::now();
    eventually("our leave closes the port", || !is_open(G));
    assert!(left.elapsed() < Duration::from_millis(2500), "not by its own timer: {:?}", left.elapsed());
    kernel
}

#[test]
fn the_hosts_bridge_follows_our_joins_and_leaves_in_version_three() {
    let kernel = the_bridge_follows(3);
    assert_eq!(kernel.counter(Counter::IgmpOlderQueriesReceived), 0);
    assert_eq!(kernel.counter(Counter::IgmpLeavesSent), 0);
}

#[test]
fn the_hosts_bridge_follows_our_joins_and_leaves_in_version_two() {
    let kernel = the_bridge_follows(2);
    assert!(kernel.counter(Counter::IgmpOlderQueriesReceived) > 0);
    assert_eq!(kernel.counter(Counter::IgmpLeavesSent), 1);
}

#[test]
fn sources_are_told_apart_by_the_host_and_by_us() {
    let kernel = behind_bridge(3);
    let stranger = Ipv4Addr::new(10, 0, 0, 77);
    let (socket, host) = (member(&kernel), HostSocket::bind((HOSTS, 0)).expect("free"));
    let [of_host, of_stranger] = [1, 2].map(|last| Ipv4Addr::new(232, 1, 1, last));
    socket.join_ssm_v4(&HOSTS, &of_host, ANY).expect("room");
    socket.join_ssm_v4(&stranger, &of_stranger, ANY).expect("room");
    eventually("the port is open for both", || is_open(of_host) && is_open(of_stranger));
    host.send_to(b"unwanted", (of_stranger, 9)).expect("a route");
    host.send_to(b"wanted", (of_host, 9)).expect("a route");
    let mut buffer = [0; 64];
    let (len, from) = socket.recv_from(&mut buffer).expect("a source that is wanted");
    assert_eq!((&buffer[..len], from.ip()), (&b"wanted"[..], HOSTS.into()));
    // And the other way: two sockets of the host, of which one wants what comes from us.
    let [wants, refuses] = [OURS, stranger].map(|source| {
        let socket = HostSocket::bind((ANY, 0)).expect("free");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("not zero");
        set_ip_add_source_membership(&socket, &of_host, &HOSTS, &source).expect("room");
        socket
    });
    let port = |socket: &HostSocket| socket.local_addr().expect("bound").port();
    eventually("the host hears us", || {
        socket.send_to(b"unwanted", (of_host, port(&refuses))).expect("room");
        socket.send_to(b"from us", (of_host, port(&wants))).expect("room");
        wants.recv(&mut [0; 64]).is_ok_and(|len| len == 7)
    });
    socket.send_to(b"mark", (HOSTS, port(&refuses))).expect("room");
    refuses.set_read_timeout(Some(PATIENCE)).expect("not zero");
    assert_eq!(refuses.recv(&mut [0; 64]).expect("to it alone"), 4, "nothing came before");
}

#[test]
fn members_on_both_sides_hear_trains_and_fragments() {
    let kernel = behind_bridge(3);
    let (socket, host) = (member(&kernel), HostSocket::bind((ANY, 9)).expect("free"));
    host.set_read_timeout(Some(PATIENCE)).expect("not zero");
    host.set_multicast_loop_v4(false).expect("a switch");
    socket.set_multicast_loop_v4(false).expect("a switch");
    socket.join_multicast_v4(G, ANY).expect("a group");
    host.join_multicast_v4(&G, &HOSTS).expect("a group");
    eventually("the port is open", || is_open(G));
    eventually("the host is a member", || run("bridge mdb show dev br0").contains("port br0 grp 239.1.2.3"));
    let mut buffer = [0; 65_536];
    socket.send_train(vec![7; 20_000].into(), 1000, Some((G, 9).into())).expect("room");
    for _ in 0..20 {
        assert_eq!(host.recv(&mut buffer).expect("every datagram of the train"), 1000);
    }
    socket.send_to(&[8; 10_000], (G, 9)).expect("room");
    assert_eq!(host.recv(&mut buffer).expect("comes together"), 10_000);
    host.send_to(&[9; 10_000], (G, 9)).expect("a route");
    assert_eq!(socket.recv(&mut buffer).expect("comes together"), 10_000);
}

/// What a socket can be told about a group, and both of its sources.
const CHANGES: usize = 12;

/// Linux's answers to every three changes in a row, as errno, by its own numbers for the options (linux/in.h).
const LINUX: &str = r#"
import itertools, socket, struct
g, a, s = [socket.inet_aton(x) for x in ("239.1.2.3", "10.0.0.1", "10.0.0.7")], None, None
G, A, S, T = map(socket.inet_aton, ("239.1.2.3", "10.0.0.1", "10.0.0.7", "10.0.0.8"))
def filter(mode, *sources):
    return 41, G + A + struct.pack("II", mode, len(sources)) + b"".join(sources)
changes = [
    (35, G + A), (36, G + A), (39, G + A + S), (39, G + A + T), (40, G + A + S), (38, G + A + S),
    (37, G + A + S), (38, G + A + T), filter(1), filter(1, S, T), filter(0), filter(0, S),
]
for three in itertools.product(changes, repeat=3):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answers = []
        for option, value in three:
            try:
                sock.setsockopt(socket.IPPROTO_IP, option, value)
                answers.append(0)
            except OSError as error:
                answers.append(error.errno)
        print(*answers)
"#;

fn change(socket: &UdpSocket, number: usize) -> i32 {
    let [s, t] = [7, 8].map(|last| Ipv4Addr::new(10, 0, 0, last));
    let filter = |filter| socket.set_source_filter_v4(&G, OURS, filter);
    let changed = match number {
        0 => socket.join_multicast_v4(G, OURS),
        1 => socket.leave_multicast_v4(G, OURS),
        2 => socket.join_ssm_v4(&s, &G, OURS),
        3 => socket.join_ssm_v4(&t, &G, OURS),
        4 => socket.leave_ssm_v4(&s, &G, OURS),
        5 => socket.block_source_v4(&s, &G, OURS),
        6 => socket.unblock_source_v4(&s, &G, OURS),
        7 => socket.block_source_v4(&t, &G, OURS),
        8 => filter(SourceFilter::include([])),
        9 => filter(SourceFilter::include([s, t])),
        10 => filter(SourceFilter::exclude([])),
        _ => filter(SourceFilter::exclude([s])),
    };
    changed.map_or_else(|error| error.raw_os_error().expect("the host's number"), |()| 0)
}

#[test]
fn every_three_changes_in_a_row_are_answered_as_linux_answers_them() {
    require("python3", "python3");
    let kernel = behind_bridge(3);
    let ran = Command::new("python3").args(["-c", LINUX]).output().expect("it was there");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let answers = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(answers.lines().count(), CHANGES.pow(3));
    for (place, linux) in answers.lines().enumerate() {
        let three = [place / (CHANGES * CHANGES), place / CHANGES % CHANGES, place % CHANGES];
        let socket = UdpSocket::bind(&kernel, "0.0.0.0:0").expect("free");
        let ours = three.map(|number| change(&socket, number).to_string());
        assert_eq!(ours.join(" "), linux, "{three:?}");
    }
}

#[test]
fn what_cannot_be_joined_is_refused_as_linux_refuses_it() {
    let kernel = behind_bridge(3);
    kernel.set_sysctl("net.inet.igmp.max_memberships", 20).expect("a variable");
    let (ours, host) = (member(&kernel), HostSocket::bind((ANY, 0)).expect("free"));
    let nowhere = Ipv4Addr::new(192, 0, 2, 1);
    let errno = |result: std::io::Result<()>| result.err().and_then(|error| error.raw_os_error());
    for (group, (our_interface, hosts_interface)) in [
        (nowhere, (OURS, HOSTS)),
        (ANY, (OURS, HOSTS)),
        (G, (nowhere, nowhere)),
        (G, (ANY, ANY)),
        (G, (OURS, HOSTS)),
    ] {
        let joined =
            (ours.join_multicast_v4(group, our_interface), host.join_multicast_v4(&group, &hosts_interface));
        assert_eq!(errno(joined.0), errno(joined.1), "{group} by {our_interface}");
    }
    for last in 0..20 {
        let group = Ipv4Addr::new(239, 7, 7, last);
        let joined = (ours.join_multicast_v4(group, OURS), host.join_multicast_v4(&group, &HOSTS));
        assert_eq!(errno(joined.0), errno(joined.1), "number {last}");
    }
    let left = (ours.leave_multicast_v4(nowhere, OURS), host.leave_multicast_v4(&nowhere, &HOSTS));
    assert_eq!(errno(left.0), errno(left.1));
    let left = (ours.leave_multicast_v4(G, nowhere), host.leave_multicast_v4(&G, &nowhere));
    assert_eq!(errno(left.0), errno(left.1));
}

/// A query as a router sends it, whole in its frame.
fn query(max_response: u8, version_3: bool) -> Vec<u8> {
    let extension = QueryExtension { suppress: false, robustness: 2, interval_code: 125, sources: 0 };
    let message = Message::Query { max_response, group: ANY, extension: version_3.then_some(extension) };
    let mut bytes = vec![0; message.header_len()];
    message.emit(Sum::new(), &mut bytes).expect("room");
    let all = Ipv4Addr::new(224, 0, 0, 1);
    let mut options = Options::default();
    options.push(&IpOption::RouterAlert(0)).expect("room");
    let plain = Header::new(Ipv4Addr::new(10, 0, 0, 9), all, Protocol::IGMP, bytes.len() + 4);
    let header = Header { ttl: 1, tos: 0xc0, options, ..plain };
    let mut packet = vec![0; header.header_len()];
    header.emit(&mut packet).expect("room");
    let link = LinkHeader {
        destination: Address::multicast_v4(all),
        source: Address([2, 0, 0, 0, 0, 9]),
        ethertype: EtherType::IPV4,
    };
    [&link.to_bytes()[..], &packet, &bytes].concat()
}

/// Fields of the packets of a capture that a filter of tshark finds.
fn tshark(file: &std::path::Path, filter: &str) -> Vec<String> {
    let ran = Command::new("tshark")
        .args(["-n", "-o", "ip.check_checksum:TRUE", "-r"])
        .arg(file)
        .args(["-Y", filter, "-T", "fields", "-e", "igmp.version", "-e", "igmp.type"])
        .output()
        .expect("it was there");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8_lossy(&ran.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn tshark_reads_what_we_say_in_every_version_and_finds_nothing_wrong_with_it() {
    require("tshark", "tshark");
    // once: what is looked at is the file that tshark reads.
    let world = World::new(11);
    let (a, cable) = (world.host("a"), world.cable());
    cable.connect(&a.interface("virt0").address("10.0.0.1/24"));
    let stranger = world.stranger(&cable);
    world.run_for(Duration::from_secs(20));
    let socket = rumpnet_sim::UdpSocket::bind(&a, "0.0.0.0:9").expect("free");
    socket.join_multicast_v4(G, ANY).expect("a group");
    socket.join_ssm_v4(&OURS, &Ipv4Addr::new(232, 1, 1, 1), ANY).expect("room");
    for (max_response, version_3) in [(10, true), (10, false), (0, false)] {
        stranger.send(query(max_response, version_3));
        world.run_for(Duration::from_secs(30));
    }
    // Version 1 hears of no leave; the querier is gone after a while, and version 2 comes back.
    world.run_for(Duration::from_secs(300));
    stranger.send(query(10, false));
    world.run_for(Duration::from_secs(30));
    drop(socket);
    world.run_for(Duration::from_secs(30));
    let file = std::env::temp_dir().join(format!("rumpnet-igmp-{}.pcapng", std::process::id()));
    world.capture(&file).expect("room");
    let said = tshark(&file, "igmp && ip.src == 10.0.0.1");
    let wrong = tshark(
        &file,
        "igmp && (_ws.malformed || igmp.checksum.status == 0 || ip.checksum.status == 0 || _ws.expert.severity >= 0x600000)",
    );
    std::fs::remove_file(&file).expect("it was written");
    for line in ["3\t0x22", "2\t0x16", "1\t0x12", "2\t0x17"] {
        assert!(said.iter().any(|said| said == line), "{line}: {said:?}");
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
