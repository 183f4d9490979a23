//! The tools against a running kernel: captures that tshark understands, pings of those who do not answer, JSON.

mod support;

use support::{Namespace, Said, Server, eventually, require};

fn up(namespace: &Namespace) -> Server<'_> {
    let server = Server::start(namespace, &[]);
    server.rump("ifconfig virt0 create").ok();
    server.rump("ifconfig virt0 inet 10.0.0.2/24").ok();
    namespace.sh("ip addr add 10.0.0.1/24 dev tap0").ok();
    server
}

/// Captures to a file while something happens.
fn capture(namespace: &Namespace, server: &Server<'_>, words: &str, during: &str) -> (String, Said) {
    let path = std::env::temp_dir().join(format!("rumpnet-capture-{}.pcapng", server.pid()));
    let path = path.to_str().expect("a plain path").to_owned();
    let rump = env!("CARGO_BIN_EXE_rump");
    let line = format!(
        "RUMP_SERVER={} timeout 20 {rump} tcpdump {words} -w {path} & capture=$!
         while ! [ -s {path} ]; do sleep 0.01; done
         {during} >/dev/null
         wait $capture",
        server.url()
    );
    (path, namespace.sh(&line))
}

/// Fields of each packet of a capture, as tshark reads them.
fn tshark(namespace: &Namespace, path: &str, fields: &[&str]) -> Vec<Vec<String>> {
    require("tshark", "tshark");
    let fields: String = fields.iter().map(|field| format!(" -e {field}")).collect();
    let said = namespace.sh(&format!("tshark -r {path} -T fields{fields}")).ok();
    said.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

#[test]
fn a_capture_has_names_times_and_directions_that_tshark_reads() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    namespace.sh("ping -c 1 -W 2 10.0.0.2").ok();
    let (path, said) = capture(&namespace, &server, "-i virt0 -c 8", "ping -c 5 -i 0.05 -W 2 10.0.0.2");
    assert_eq!((said.status, said.out.as_str()), (0, ""), "{}", said.err);
    assert_eq!(said.err, "8 packets captured\n0 packets dropped by kernel\n");
    let fields = ["frame.interface_name", "frame.packet_flags_direction", "frame.time_epoch", "icmp.type"];
    let packets = tshark(&namespace, &path, &fields);
    assert_eq!(packets.len(), 8);
    let now = namespace.sh("date +%s").ok().trim().parse::<f64>().expect("a number");
    let mut before = 0.0;
    for packet in &packets {
        let [interface, direction, time, icmp] = &packet[..] else { panic!("{packet:?}") };
        assert_eq!(interface, "virt0");
        let time: f64 = time.parse().expect("seconds");
        assert!((now - time).abs() < 60.0, "{time} is not now: {now}");
        assert!(time >= before, "times go on");
        before = time;
        match icmp.as_str() {
            "8" => assert!(direction.ends_with('1'), "a request comes in: {direction}"),
            "0" => assert!(direction.ends_with('2'), "a reply goes out: {direction}"),
            _ => {}
        }
    }
    assert!(packets.iter().any(|packet| packet[3] == "8") && packets.iter().any(|packet| packet[3] == "0"));
    let _removed = std::fs::remove_file(path);
}

#[test]
fn a_capture_of_drops_has_the_reason_as_comment() {
    let namespace = Namespace::new();
    // The host's own IPv6 would be dropped first.
    namespace.sh("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6").ok();
    let server = up(&namespace);
    namespace.sh("ping -c 1 -W 2 10.0.0.2").ok();
    let program = "python3 -c 'import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((\"tap0\", 0))
s.send(b\"\\x02\" + bytes(4) + b\"\\x09\" + b\"\\x02\" + bytes(4) + b\"\\x01\" + b\"\\x08\\x00\" + bytes(46))'";
    let (path, said) = capture(&namespace, &server, "-i virt0 --drops -c 1", program);
    assert_eq!(said.status, 0, "{}", said.err);
    let packets = tshark(&namespace, &path, &["frame.comment", "frame.interface_name"]);
    assert_eq!(packets, [["unicast frame for another station", "virt0"]]);
    let _removed = std::fs::remove_file(path);
}

#[test]
fn a_capture_goes_down_a_pipe_and_ends_with_its_reader() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    let rump = env!("CARGO_BIN_EXE_rump");
    let line = format!(
        "export RUMP_SERVER={}
         ping -i 0.02 -c 200 10.0.0.2 >/dev/null & ping=$!
         timeout 20 {rump} tcpdump -w - 2>/dev/null | head -c 28 | od -An -tx1 -N4
         kill $ping",
        server.url()
    );
    let said = namespace.sh(&line);
    assert_eq!(said.out.trim(), "0a 0d 0d 0a", "{}", said.err);
}

#[test]
fn a_ping_that_nobody_answers_says_so_by_status_2() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    let said = server.rump("ping -c 2 -i 0.05 -W 0.2 10.0.0.77");
    assert_eq!(said.status, 2, "{}", said.err);
    assert!(
        said.out.contains("2 packets transmitted, 0 packets received, 100.0% packet loss"),
        "{}",
        said.out
    );
    let said = server.rump("ping -c 1 8.8.8.8");
    assert_eq!((said.status, said.err.as_str()), (2, "ping: sendto: No route to host\n"));
}

#[test]
fn a_flood_of_our_own_loses_nothing() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    let said = server.rump("ping -q -f -c 2000 -s 1400 10.0.0.1").ok();
    assert!(said.contains("2000 packets transmitted, 2000 packets received, 0.0% packet loss"), "{said}");
}

#[test]
fn addresses_neighbours_and_routes_are_set_shown_and_refused() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    let said = server.rump("ifconfig virt0 10.0.0.9 alias");
    assert_eq!((said.status, said.out.as_str()), (0, ""));
    assert_eq!(said.err, "ifconfig: 10.0.0.9: no mask given, took that of its class: 255.0.0.0 (/8)\n");
    let absent = server.rump("ifconfig virt0 inet 9.9.9.9 delete").refused();
    assert_eq!(absent, "ifconfig: SIOCDIFADDR: Can't assign requested address\n");
    server.rump("ifconfig virt0 inet 10.0.0.9 -alias").ok();
    server.rump("arp -s 10.0.0.50 02:11:22:33:44:55").ok();
    let shown = server.rump("arp -an").ok();
    assert!(shown.contains("? (10.0.0.50) at 02:11:22:33:44:55 on virt0 permanent\n"), "{shown}");
    let off_net = server.rump("arp -s 10.9.9.50 02:11:22:33:44:55").refused();
    assert_eq!(off_net, "arp: writing to routing socket: No such process\n");
    server.rump("arp -d -a").ok();
    assert_eq!(server.rump("arp -an").ok(), "");
    assert_eq!(server.rump("route add default 10.0.0.1").ok(), "add net default: gateway 10.0.0.1\n");
    let routes = server.rump("netstat -rn").ok();
    assert!(routes.contains("default            10.0.0.1           UG "), "{routes}");
    let exists = server.rump("route add default 10.0.0.1").refused();
    assert_eq!(exists, "route: writing to routing socket: File exists\n");
}

#[test]
fn what_virt_does_not_have_is_refused_in_netbsds_words() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    for (words, text) in [
        ("media autoselect", "SIOCGIFMEDIA: Inappropriate ioctl for device"),
        ("linkstr bus", "SIOCSLINKSTR: Inappropriate ioctl for device"),
        ("vlan 3 vlanif virt1", "valid only with vlan(4) interfaces"),
        ("inet 10.0.0.2/33", "paddr_match: prefixlen_to_mask(2, 33): Invalid argument"),
    ] {
        assert_eq!(server.rump(&format!("ifconfig virt0 {words}")).refused(), format!("ifconfig: {text}\n"));
    }
    let loopback = server.rump("ifconfig lo0 lro").refused();
    assert_eq!(loopback, "ifconfig: SIOCSIFCAP: Invalid argument\n");
}

#[test]
fn capabilities_are_switched_off_and_on_under_traffic() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    server.rump("ifconfig virt0 -tso4 -tso6 -ip4csum -udp4csum -tcp4csum -uso4").ok();
    let shown = server.rump("ifconfig virt0").ok();
    assert!(!shown.lines().any(|line| line.contains("enabled") && line.contains("TSO4")), "{shown}");
    namespace.sh("ping -c 2 -i 0.05 -W 2 -s 8000 10.0.0.2").ok();
    server.rump("ifconfig virt0 tso4 ip4csum udp4csum tcp4csum").ok();
    namespace.sh("ping -c 2 -i 0.05 -W 2 -s 8000 10.0.0.2").ok();
}

#[test]
fn statistics_and_counters_are_seen_and_zeroed() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    namespace.sh("ping -c 3 -i 0.05 -W 2 10.0.0.2").ok();
    let statistics = server.rump("netstat -s -p icmp").ok();
    assert!(statistics.contains("\t3 ICMP echo requests answered\n"), "{statistics}");
    let before = server.rump("ifconfig -z virt0").ok();
    assert!(!before.contains("\tinput: 0 packets"), "{before}");
    eventually("the counters are zero once nothing passes", || {
        server.rump("ifconfig -z virt0").ok().contains("\tinput: 0 packets, 0 bytes\n")
    });
}

#[test]
fn an_error_is_json_too_and_keeps_its_status() {
    let namespace = Namespace::new();
    let server = Server::start(&namespace, &[]);
    let said = server.rump("ifconfig --json virt9");
    assert_eq!((said.status, said.err.as_str()), (1, ""));
    let error: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(error.pointer("/error/errno"), Some(&"ENXIO".into()), "{error}");
}

#[test]
fn a_kind_that_there_is_not_is_refused_with_those_that_there_are() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    for name in ["bridge0", "eth0", "virt"] {
        let refused = server.rump(&format!("ifconfig {name} create")).refused();
        assert!(refused.starts_with("ifconfig: SIOCIFCREATE: Invalid argument ("), "{refused}");
        assert!(refused.contains("ifconfig -C"), "{refused}");
    }
    assert_eq!(server.rump("ifconfig -C").ok(), "bus shmif virt tun lo\n");
}

#[test]
fn a_halted_server_is_gone() {
    let namespace = Namespace::new();
    let server = Server::start(&namespace, &[]);
    server.rump("halt").ok();
    eventually("nobody answers", || server.rump("ifconfig -l").status == 1);
    assert!(server.rump("ifconfig -l").refused().contains("rump client"), "named");
}

#[test]
fn a_tool_whose_reader_is_gone_says_nothing() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    let rump = env!("CARGO_BIN_EXE_rump");
    let line = format!("RUMP_SERVER={} {rump} ping -i 0.01 -c 100 10.0.0.1 | head -n 2", server.url());
    let said = namespace.sh(&line);
    assert_eq!(said.out.lines().count(), 2, "{}", said.out);
    assert_eq!(said.err, "");
}

#[test]
fn an_interrupted_ping_prints_its_statistics() {
    let namespace = Namespace::new();
    let server = up(&namespace);
    let rump = env!("CARGO_BIN_EXE_rump");
    let line = format!(
        "RUMP_SERVER={} timeout --preserve-status -s INT 1 {rump} ping -i 0.1 10.0.0.1",
        server.url()
    );
    let said = namespace.sh(&line);
    assert_eq!(said.status, 0, "{}", said.err);
    assert!(said.out.contains("\n----10.0.0.1 PING Statistics----\n"), "{}", said.out);
    assert!(said.out.contains("packets received, 0.0% packet loss\nround-trip"), "{}", said.out);
}
