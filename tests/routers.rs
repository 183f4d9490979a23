//! Linux as host and as router beside the kernel: what crosses us and what crosses it, and what each says of the rest.
//!
//! `left` 10.0.0.1 – virt0 10.0.0.254 the kernel 10.0.1.254 virt1 – 10.0.1.1 `right` 10.2.0.254 – 10.2.0.1 `far`; left's and right's links are
//! a veth that is bridged with the kernel's tap.

mod support;

use support::{Namespace, Server, eventually, require};

/// The namespaces of the hosts beside that of the kernel.
struct Net {
    middle: Namespace,
    left: Namespace,
    right: Namespace,
    far: Namespace,
}

/// How many bytes a stream has that crosses us.
const STREAM: usize = 20_000_000;

impl Net {
    fn new() -> Self {
        let [middle, left, right, far] = std::array::from_fn(|_| Namespace::new());
        let net = Self { middle, left, right, far };
        for (number, end) in [&net.left, &net.right].into_iter().enumerate() {
            let line = format!(
                "ip link add br{number} type bridge && ip link set br{number} up
                 ip link add port{number} type veth peer name eth0 netns {}
                 ip link set port{number} master br{number} up",
                end.name()
            );
            net.middle.sh(&line).ok();
        }
        net.right.sh(&format!("ip link add eth1 type veth peer name eth0 netns {}", net.far.name())).ok();
        for (end, lines) in [
            (&net.left, "ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up; ip route add default via 10.0.0.254"),
            (
                &net.right,
                "ip addr add 10.0.1.1/24 dev eth0; ip addr add 10.2.0.254/24 dev eth1; ip link set eth0 up; ip link set eth1 up
                 ip route add default via 10.0.1.254; echo 1 > /proc/sys/net/ipv4/ip_forward
                 echo 0 > /proc/sys/net/ipv4/icmp_ratelimit",
            ),
            (&net.far, "ip addr add 10.2.0.1/24 dev eth0; ip link set eth0 up; ip route add default via 10.2.0.254"),
        ] {
            end.sh(&format!("set -e; echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; {lines}")).ok();
        }
        net
    }

    /// The kernel, a router between both sides that knows the way to `far`.
    fn router(&self) -> Server<'_> {
        let server = Server::start(&self.middle, &[]);
        for number in 0..2 {
            server.rump(&format!("ifconfig virt{number} create")).ok();
            server.rump(&format!("ifconfig virt{number} inet 10.0.{number}.254/24")).ok();
            self.middle.sh(&format!("ip link set tap{number} master br{number}")).ok();
        }
        server.rump("route add 10.2.0.0/24 10.0.1.1").ok();
        server.rump("sysctl -w net.inet.ip.forwarding=1").ok();
        eventually("the far end answers", || self.left.sh("ping -c 1 -W 1 10.2.0.1").status == 0);
        server
    }
}

/// A counter of `netstat -s`.
fn counter(server: &Server<'_>, name: &str) -> u64 {
    let report: serde_json::Value =
        serde_json::from_str(&server.rump("netstat -s --json").ok()).expect("a report");
    let protocols = report["protocols"].as_array().expect("a list");
    let lists = protocols.iter().flat_map(|protocol| [&protocol["counters"], &protocol["drops"]]);
    let mut counters = lists.flat_map(|list| list.as_array().into_iter().flatten());
    let found = counters.find(|counter| counter["name"] == name);
    found.and_then(|counter| counter["count"].as_u64()).unwrap_or(0)
}

/// Sends a stream from one host to another, byte-exact.
fn stream(from: &Namespace, to: &Namespace, address: &str) {
    let server = format!(
        "import hashlib, socket
s = socket.create_server(('{address}', 8080))
print('ready', flush=True)
c, _ = s.accept()
h, n = hashlib.sha256(), 0
while d := c.recv(1 << 20):
    h.update(d); n += len(d)
print(n, h.hexdigest())"
    );
    let client = format!(
        "import hashlib, socket
d = bytes(i * i % 251 for i in range(251)) * ({STREAM} // 251 + 1)
d = d[:{STREAM}]
c = socket.create_connection(('{address}', 8080), 20)
c.setsockopt(socket.IPPROTO_TCP, 13, b'cubic')
c.sendall(d); c.shutdown(socket.SHUT_WR)
c.recv(1)
print(len(d), hashlib.sha256(d).hexdigest())"
    );
    std::thread::scope(|scope| {
        let received = scope.spawn(|| to.python(&server));
        eventually("somebody listens", || to.sh("ss -ltn | grep -q :8080").status == 0);
        let sent = from.python(&client).ok();
        let received = received.join().expect("it ran").ok();
        assert_eq!(received.trim_start_matches("ready\n"), sent);
    });
}

#[test]
fn hosts_of_two_links_reach_each_other_through_us() {
    require("ping", "iputils-ping");
    let net = Net::new();
    let server = net.router();
    let said = net.left.sh("ping -c 3 -i 0.05 -W 2 10.0.1.1").ok();
    assert!(said.contains("ttl=63") && said.contains(" 0% packet loss"), "{said}");
    net.right.sh("ping -c 3 -i 0.05 -W 2 10.0.0.1").ok();
    let large = net.left.sh("ping -c 2 -i 0.05 -W 2 -s 30000 10.0.1.1").ok();
    assert!(large.contains(" 0% packet loss"), "{large}");
    let before = counter(&server, "IpForwarded");
    stream(&net.left, &net.right, "10.0.1.1");
    let packets = counter(&server, "IpForwarded") - before;
    // Acknowledgments among them; as segments it would be fourteen thousand of data alone.
    assert!(packets < 8000, "super-frames cross whole: {packets} packets");
    stream(&net.right, &net.left, "10.0.0.1");
}

#[test]
fn linuxs_traceroute_finds_us_on_the_way() {
    require("traceroute", "traceroute");
    let net = Net::new();
    let server = net.router();
    for options in ["", "-I", "-T -p 9"] {
        let said = net.left.sh(&format!("traceroute -n -q 2 -w 2 {options} 10.2.0.1")).ok();
        let hops: Vec<&str> =
            said.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!(hops, ["10.0.0.254", "10.0.1.1", "10.2.0.1"], "{options}: {said}");
        assert!(!said.contains('!'), "{said}");
    }
    assert!(counter(&server, "Ipv4TtlExceeded") >= 6);
    // Where no route leads, and nobody answers.
    let nowhere = net.left.sh("traceroute -n -q 1 -w 2 192.0.2.1").ok();
    assert!(nowhere.contains("10.0.0.254") && nowhere.contains("!N"), "{nowhere}");
    let silent = net.left.sh("traceroute -n -q 1 -w 4 10.0.1.77").ok();
    assert!(silent.contains("10.0.0.254") && silent.contains("!H"), "{silent}");
}

#[test]
fn our_traceroute_finds_linux_on_the_way() {
    let net = Net::new();
    let server = net.router();
    for options in ["-n", "-n -I"] {
        let said = server.rump(&format!("traceroute {options} -q 2 -w 2 10.2.0.1"));
        assert_eq!(said.status, 0, "{}", said.err);
        let hops: Vec<&str> = said.out.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!(hops, ["10.0.1.1", "10.2.0.1"], "{options}: {}", said.out);
        assert!(said.out.matches(" ms").count() == 4 && !said.out.contains('*'), "{}", said.out);
    }
    net.right.sh("ip route add prohibit 192.0.2.0/25; ip route add unreachable 192.0.2.128/25").ok();
    server.rump("route add 192.0.2.0/24 10.0.1.1").ok();
    assert!(server.rump("traceroute -n -q 1 192.0.2.1").ok().contains("!X"));
    assert!(server.rump("traceroute -n -q 1 192.0.2.129").ok().contains("!H"));
    net.right.sh("ip link set eth1 mtu 1000").ok();
    net.far.sh("ip link set eth0 mtu 1000").ok();
    let shrunk = server.rump("traceroute -P -n -q 1 -w 2 10.2.0.1").ok();
    assert!(
        shrunk.contains("fragmentation required and DF set, next hop MTU = 1000\n 10.2.0.1  "),
        "{shrunk}"
    );
}

#[test]
fn a_link_that_is_too_narrow_is_told_of_with_its_mtu_both_ways() {
    require("ping", "iputils-ping");
    let net = Net::new();
    let server = net.router();
    server.rump("ifconfig virt1 mtu 1200").ok();
    net.right.sh("ip link set eth0 mtu 1200").ok();
    // The tap's MTU follows, and with it the bridge's.
    let refused = net.left.sh("ping -c 1 -W 2 -M do -s 1400 10.0.1.1");
    assert!(refused.out.contains("From 10.0.0.254") && refused.out.contains("mtu = 1200"), "{}", refused.out);
    let learned = net.left.sh("ip route get 10.0.1.1").ok();
    assert!(learned.contains("mtu 1200"), "{learned}");
    let cut = net.left.sh("ip route flush cache; ping -c 2 -i 0.05 -W 2 -M dont -s 4000 10.0.1.1").ok();
    assert!(cut.contains(" 0% packet loss"), "{cut}");
    assert!(counter(&server, "IpFragmented") >= 3);
    stream(&net.left, &net.right, "10.0.1.1");
    // And we hear it from Linux.
    net.right.sh("ip link set eth1 mtu 1000").ok();
    net.far.sh("ip link set eth0 mtu 1000").ok();
    let told = server.rump("ping -c 1 -D -s 1100 10.2.0.1").out;
    assert!(told.contains("from 10.0.1.1: Fragmentation needed and DF set (next hop MTU 1000)"), "{told}");
}

#[test]
fn linux_and_we_record_each_others_routes() {
    require("ping", "iputils-ping");
    let net = Net::new();
    let server = net.router();
    let route = |said: &str| -> Vec<String> {
        let lines = said.lines().skip_while(|line| !line.starts_with("RR:"));
        let addresses = lines.take_while(|line| line.starts_with("RR:") || line.starts_with('\t'));
        addresses.map(|line| line.trim_start_matches("RR:").trim().to_owned()).collect()
    };
    let theirs = net.left.sh("ping -n -R -c 1 -W 2 10.2.0.1").ok();
    let through = [
        "10.0.0.1",
        "10.0.1.254",
        "10.2.0.254",
        "10.2.0.1",
        "10.2.0.1",
        "10.0.1.1",
        "10.0.0.254",
        "10.0.0.1",
    ];
    // Linux names the far end twice, once for each way.
    let found = route(&theirs);
    assert!(found == through || found == [&through[..3], &through[4..]].concat(), "{theirs}");
    let us = route(&net.left.sh("ping -n -R -c 1 -W 2 10.0.0.254").ok());
    assert_eq!(us[..2], ["10.0.0.1", "10.0.0.254"], "{us:?}");
    let ours = route(&server.rump("ping -R -c 1 10.2.0.1").ok());
    assert_eq!(ours[..2], ["10.0.1.254", "10.2.0.254"], "{ours:?}");
    assert_eq!(ours.last().map(String::as_str), Some("10.0.1.1"), "{ours:?}");
    // Times, too: of each hop that the request passes.
    let times = net.left.sh("ping -n -T tsandaddr -c 1 -W 2 10.0.1.1").ok();
    assert!(
        times.contains("10.0.0.1") && times.contains("10.0.1.254") && times.contains("10.0.1.1"),
        "{times}"
    );
}

#[test]
fn a_better_router_is_told_of_and_believed_both_ways() {
    require("ping", "iputils-ping");
    let net = Net::new();
    let server = net.router();
    // A third host on the left link, a router to a network of its own.
    let other = Namespace::new();
    let line = format!(
        "ip link add port2 type veth peer name eth0 netns {} && ip link set port2 master br0 up",
        other.name()
    );
    net.middle.sh(&line).ok();
    other
        .sh("set -e; ip addr add 10.0.0.253/24 dev eth0; ip addr add 10.9.0.1/32 dev lo; ip link set eth0 up
             ip route add default via 10.0.0.254")
        .ok();
    server.rump("route add 10.9.0.0/24 10.0.0.253").ok();
    net.left
        .sh("for f in all eth0; do echo 1 > /proc/sys/net/ipv4/conf/$f/accept_redirects; echo 0 > /proc/sys/net/ipv4/conf/$f/secure_redirects; done")
        .ok();
    net.left.sh("ping -c 2 -i 0.2 -W 2 10.9.0.1").ok();
    assert!(counter(&server, "IcmpRedirectsSent") > 0);
    eventually("Linux has followed", || {
        net.left.sh("ping -c 1 -W 1 10.9.0.1");
        net.left.sh("ip route get 10.9.0.1").ok().contains("via 10.0.0.253")
    });
    // The other way round: we are a host, and Linux knows better.
    server.rump("sysctl -w net.inet.ip.forwarding=0").ok();
    server.rump("route delete 10.9.0.0/24").ok();
    server.rump("route add default 10.0.0.1").ok();
    net.left
        .sh("set -e; echo 1 > /proc/sys/net/ipv4/ip_forward; for f in all eth0; do echo 1 > /proc/sys/net/ipv4/conf/$f/send_redirects; done
             ip route flush cache; ip route add 10.9.0.0/24 via 10.0.0.253")
        .ok();
    assert!(server.rump("route -n get 10.9.0.1").ok().contains("gateway: 10.0.0.1\n"));
    eventually("we have followed", || {
        server.rump("ping -c 1 -w 1 10.9.0.1");
        server.rump("route -n get 10.9.0.1").ok().contains("gateway: 10.0.0.253")
    });
    assert!(server.rump("ping -c 1 -w 2 10.9.0.1").ok().contains(" 0.0% packet loss"));
}

/// Checksums and segmentation are done by who sends, so that a capture has them.
const NO_OFFLOAD: &str = r#"
import array, fcntl, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for command in (0x17, 0x1f, 0x24, 0x15):
    data = array.array("B", struct.pack("II", command, 0))
    try:
        fcntl.ioctl(s, 0x8946, struct.pack("16sP", b"eth0", data.buffer_info()[0]))
    except OSError as error:
        assert error.errno == 95, error
"#;

#[test]
fn tshark_finds_nothing_malformed_in_what_crosses_us() {
    require("tshark", "tshark");
    require("traceroute", "traceroute");
    let net = Net::new();
    let server = net.router();
    for (number, end) in [&net.left, &net.right].into_iter().enumerate() {
        end.python(NO_OFFLOAD).ok();
        server.rump(&format!("ifconfig virt{number} -tso4 -tcp4csum -udp4csum -ip4csum -lro")).ok();
    }
    let path = std::env::temp_dir().join(format!("rumpnet-routers-{}.pcapng", server.pid()));
    let path = path.to_str().expect("a plain path").to_owned();
    let during = "ping -c 3 -i 0.05 -W 2 10.2.0.1; ping -c 1 -W 2 -s 9000 10.2.0.1; ping -n -R -c 1 -W 2 10.2.0.1
         ping -n -T tsandaddr -c 1 -W 2 10.2.0.1; traceroute -n -q 1 -w 2 10.2.0.1; traceroute -n -q 1 -w 2 -I 10.2.0.1
         traceroute -n -q 1 -w 2 192.0.2.1; traceroute -n -q 1 -w 4 10.0.1.77; ping -c 1 -W 2 10.0.0.254
         echo word | timeout 2 python3 -c 'import socket; socket.create_connection((\"10.2.0.1\", 8081), 2).sendall(bytes(100000))'";
    net.far
        .sh("timeout 60 python3 -c 'import socket
s = socket.create_server((\"10.2.0.1\", 8081))
while True:
    c, _ = s.accept()
    while c.recv(65536): pass' >/dev/null 2>&1 &")
        .ok();
    let rump = env!("CARGO_BIN_EXE_rump");
    let capture = format!(
        "RUMP_SERVER={} timeout -s INT 60 {rump} tcpdump -w {path} & capture=$!
         while ! [ -s {path} ]; do sleep 0.01; done
         ip netns exec {} sh -c \"$DURING\" >/dev/null 2>&1
         RUMP_SERVER={} {rump} ping -c 1 -R 10.2.0.1 >/dev/null; RUMP_SERVER={} {rump} traceroute -I -q 1 10.2.0.1 >/dev/null 2>&1
         kill -INT $capture; wait $capture",
        server.url(),
        net.left.name(),
        server.url(),
        server.url()
    );
    let mut command = net.middle.command("timeout");
    command.args(["110", "sh", "-c", &capture]).env("DURING", during);
    let output = command.output().expect("timeout is there (package coreutils)");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("packets captured"), "{text}");
    let checks = "-o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE -o udp.check_checksum:TRUE";
    let seen = net
        .middle
        .sh(&format!("tshark -r {path} {checks} -T fields -e _ws.col.Protocol | sort | uniq -c"))
        .ok();
    for protocol in ["ICMP", "TCP", "UDP", "ARP"] {
        assert!(seen.contains(protocol), "{protocol}: {seen}");
    }
    // What is malformed, and every error of the experts, wrong checksums among them. Their warnings and notes are about conversations.
    let bad = net
        .middle
        .sh(&format!(
            "tshark -r {path} {checks} -Y '_ws.malformed || _ws.expert.severity == \"Error\"' -V | head -200"
        ))
        .ok();
    assert!(bad.is_empty(), "{bad}");
    let _removed = std::fs::remove_file(path);
}
