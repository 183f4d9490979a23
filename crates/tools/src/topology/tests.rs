//! Topology files: what they say, and what is said of mistakes in them.

use rumpnet_proto::NextHop;

use super::*;

fn read(text: &str) -> Topology {
    parse("labs/office.toml", text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// The mistakes of a file, one a line.
fn refused(text: &str) -> String {
    parse("office.toml", text).expect_err("it has a mistake").to_string()
}

const OFFICE: &str = r#"
[lab]
routes = "auto"

[bus.lan]
prefix = "192.168.1.0/24"
latency = "200 us"

[bus.uplink]
prefix = "10.0.0.0/30"
loss = "1 %"

[host.router]
forwarding = true
bus0 = { bus = "lan", address = "+1" }
bus1 = { bus = "uplink", latency = "5 ms" }

[host.pc]
count = 3
bus0 = { bus = "lan" }

[host.server]
sysctl.net.inet.ip.ttl = 32
bus0 = { bus = "uplink", mtu = 1400 }

[[check]]
host = "pc"
run = "ping -c 1 {server}"
output = "1 packets received"
"#;

#[test]
fn a_file_says_buses_hosts_and_checks() {
    let lab = read(OFFICE);
    assert_eq!(lab.name, "office");
    let names: Vec<_> = lab.hosts.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(names, ["router", "pc1", "pc2", "pc3", "server"]);
    assert_eq!(lab.buses[0].conditions.latency_ns, 200_000);
    assert_eq!(lab.buses[1].conditions.loss_ppm, 10_000);
    let own = lab.hosts[0].interfaces[1].conditions.expect("it has its own");
    assert_eq!((own.latency_ns, own.loss_ppm), (5_000_000, 10_000), "its own over those of its bus");
    assert_eq!(lab.hosts[4].sysctls, [("net.inet.ip.ttl".to_owned(), 32)]);
    assert_eq!(lab.hosts[4].interfaces[0].mtu, Some(1400));
    assert_eq!(lab.checks.len(), 3);
    assert_eq!(lab.checks[2].name, "pc3: ping -c 1 10.0.0.2");
    assert_eq!((lab.checks[2].host, lab.checks[2].limit_ns), (3, 10_000_000_000));
}

/// The addresses of all interfaces, host by host.
fn addresses(lab: &Topology) -> Vec<String> {
    let interfaces = lab.hosts.iter().flat_map(|host| &host.interfaces);
    interfaces.flat_map(|interface| &interface.addresses).map(ToString::to_string).collect()
}

#[test]
fn addresses_are_said_counted_or_taken_from_what_is_free() {
    assert_eq!(
        addresses(&read(OFFICE)),
        [
            "192.168.1.1/24",
            "10.0.0.1/30",
            "192.168.1.2/24",
            "192.168.1.3/24",
            "192.168.1.4/24",
            "10.0.0.2/30"
        ]
    );
    let lab = read(
        r#"
        [bus.a]
        [host.pc]
        count = 2
        bus0 = { bus = "a", address = ["10.0.0.9/24", "10.1.0.0/16"] }
        [host.one]
        bus0 = { bus = "a", address = [] }
        "#,
    );
    assert_eq!(addresses(&lab), ["10.0.0.9/24", "10.1.0.1/16", "10.0.0.10/24", "10.1.0.2/16"]);
}

#[test]
fn repeated_hosts_are_spread_over_repeated_buses() {
    let lab = read(
        r#"
        [bus.lan]
        count = 2
        prefix = "10.0.0.0/24"
        [bus.core]
        prefix = "10.255.0.0/16"
        [host.router]
        count = 2
        bus0 = { bus = "lan", address = "+1" }
        bus1 = { bus = "core" }
        [host.pc]
        count = 4
        bus0 = { bus = "lan" }
        "#,
    );
    let buses: Vec<_> = lab.buses.iter().map(|bus| bus.name.as_str()).collect();
    assert_eq!(buses, ["lan1", "lan2", "core"]);
    let of = |name: &str| {
        let host = lab.hosts.iter().find(|host| host.name == name).expect("a host of the lab");
        host.interfaces
            .iter()
            .map(|one| format!("{}: {}", lab.buses[one.bus].name, one.addresses[0]))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("router2"), ["lan2: 10.0.1.1/24", "core: 10.255.0.2/16"]);
    assert_eq!([of("pc2"), of("pc3")], [["lan1: 10.0.0.3/24"], ["lan2: 10.0.1.2/24"]]);
}

/// The routes of a host, as `destination via`.
fn routes(lab: &Topology, name: &str) -> Vec<String> {
    let host = lab.hosts.iter().find(|host| host.name == name).expect("a host of the lab");
    let via = |via: &NextHop| match via {
        NextHop::Gateway(address) => address.to_string(),
        NextHop::Interface(name) => name.clone(),
    };
    host.routes.iter().map(|route| format!("{} {}", route.destination, via(&route.via))).collect()
}

#[test]
fn routes_to_everywhere_are_found_by_the_fewest_routers() {
    let lab = read(
        r#"
        lab.routes = "auto"
        bus.a.prefix = "10.0.1.0/24"
        bus.b.prefix = "10.0.2.0/24"
        bus.c.prefix = "10.0.3.0/24"
        host.ab = { forwarding = true, bus0 = { bus = "a" }, bus1 = { bus = "b" } }
        host.bc = { forwarding = true, bus0 = { bus = "b" }, bus1 = { bus = "c" } }
        host.pc.bus0.bus = "c"
        host.set = { bus0 = { bus = "c" }, routes = {} }
        "#,
    );
    assert_eq!(routes(&lab, "ab"), ["10.0.3.0/24 10.0.2.2"]);
    assert_eq!(routes(&lab, "bc"), ["10.0.1.0/24 10.0.2.1"]);
    assert_eq!(routes(&lab, "pc"), ["0.0.0.0/0 10.0.3.1"]);
    assert!(routes(&lab, "set").is_empty(), "who says his own routes is given no others");
}

#[test]
fn routes_lead_to_addresses_hosts_interfaces_or_nowhere() {
    let lab = read(
        r#"
        bus.a.prefix = "10.0.0.0/24"
        host.router = { bus0 = { bus = "a", address = "+9" } }
        [host.pc]
        bus0 = { bus = "a" }
        routes = { default = "router", "10.9.0.0/16" = "10.0.0.7", "10.8.0.0/16" = "reject", "10.7.0.1" = "bus0" }
        "#,
    );
    assert_eq!(
        routes(&lab, "pc"),
        ["0.0.0.0/0 10.0.0.9", "10.9.0.0/16 10.0.0.7", "10.8.0.0/16 lo0", "10.7.0.1/32 bus0"]
    );
}

#[test]
fn a_check_of_a_group_with_a_group_is_one_for_each_pair() {
    let lab = read(
        r#"
        bus.a.prefix = "10.0.0.0/24"
        host.pc = { count = 3, bus0 = { bus = "a" } }
        [[check]]
        host = "pc"
        run = ["ping", "-c", "1", "{pc.bus0}"]
        limit = "2 s"
        "#,
    );
    let lines: Vec<_> = lab.checks.iter().map(|check| (check.host, check.words[3].as_str())).collect();
    assert_eq!(
        lines,
        [
            (0, "10.0.0.2"),
            (0, "10.0.0.3"),
            (1, "10.0.0.1"),
            (1, "10.0.0.3"),
            (2, "10.0.0.1"),
            (2, "10.0.0.2")
        ]
    );
    assert!(lab.checks.iter().all(|check| check.limit_ns == 2_000_000_000));
}

/// A file whose every line is right, to which a test adds one that is not.
const RIGHT: &str = r#"[bus.lan]
prefix = "10.0.0.0/24"
[host.router]
bus0 = { bus = "lan", address = "10.0.0.1/24" }
"#;

/// Lines added to that file, and what is said of the line with the mistake, which is the last.
const MISTAKES: &[(&str, &str)] = &[
    // Keys and names that are not there.
    ("[hsot.pc]", "unknown key `hsot` in the file (did you mean `host`?)"),
    ("[bus.b]\nlatencey = \"1 ms\"", "unknown key `latencey` in bus `b` (did you mean `latency`?)"),
    ("[host.pc]\nforwading = true", "unknown key `forwading` in host `pc` (did you mean `forwarding`?)"),
    ("[host.pc]\nbus0 = { bus = \"lna\" }", "unknown bus `lna` (did you mean `lan`?)"),
    (
        "[host.pc]\nbus0 = { bus = \"lan\", adress = \"+2\" }",
        "unknown key `adress` in `bus0` of host `pc` (did you mean `address`?)",
    ),
    (
        "[[check]]\nrun = \"ping 10.0.0.1\"\nhost = \"rounter\"",
        "unknown host `rounter` (did you mean `router`?)",
    ),
    (
        "[[check]]\nhost = \"router\"\nrun = \"ping {rooter}\"",
        "unknown host `rooter` (did you mean `router`?)",
    ),
    ("[[check]]\nhost = \"router\"\nrun = \"pnig 10.0.0.1\"", "unknown tool `pnig` (did you mean `ping`?)"),
    (
        "[host.pc]\nbus0 = { bus = \"lan\" }\nroutes.default = \"ruoter\"",
        "unknown host `ruoter` (did you mean `router`?)",
    ),
    // Names that are there already, or are none.
    ("[host.router]", "duplicate key"),
    ("[host.route]\ncount = 2\n[host.route1]", "there is a host `route1` already, by line 5"),
    ("[host.\"a b\"]", "`a b` is no name of a host"),
    (
        "[host.eth]\neth0 = { bus = \"lan\" }",
        "host `eth`: `eth0` is no interface on a bus; these are bus<n>, such as bus0",
    ),
    ("[host.pc]\nbus00 = { bus = \"lan\" }", "`bus00` is no name of an interface"),
    // Interfaces and addresses.
    ("[host.pc]\nbus0 = {}", "`bus0` of host `pc` is on no bus; say `bus = \"NAME\"`"),
    (
        "[host.pc]\nbus0 = { bus = \"lan\", address = \"10.0.0.1/24\" }",
        "10.0.0.1 on bus `lan` is that of `router` already, by line 4",
    ),
    (
        "[host.pc]\nbus0 = { bus = \"lan\", address = \"10.0.0.9\" }",
        "`10.0.0.9` is not an address with the length of its prefix",
    ),
    (
        "[host.pc]\nbus0 = { bus = \"lan\", address = \"10.0.0.9/33\" }",
        "is not an address with the length of its prefix",
    ),
    (
        "[host.pc]\nbus0 = { bus = \"lan\", address = \"10.0.0.255/24\" }",
        "no address of its network for `pc`",
    ),
    (
        "[host.pc]\nbus0 = { bus = \"lan\", address = \"+255\" }",
        "10.0.0.0/24 has no address number 255 for `pc`",
    ),
    ("[host.pc]\nbus0 = { bus = \"lan\", address = \"fe80::1/64\" }", "fe80::1 is of IPv6"),
    ("[bus.b]\n[host.pc]\nbus0 = { bus = \"b\", address = \"+1\" }", "bus `b` has no prefix"),
    ("[host.pc]\ncount = 300\n[host.pc.bus0]\nbus = \"lan\"", "has no address left on bus `lan` for `pc254`"),
    (
        "[bus.b]\ncount = 3\n[host.pc]\nbus0 = { bus = \"b\" }",
        "1 host cannot be on the 3 buses of `b`; name one of them, such as `b1`",
    ),
    ("[host.pc]\nbus0 = { bus = \"lan\", link = \"01:00:00:00:00:01\" }", "is not one station's"),
    (
        "[host.pc]\nbus0 = { bus = \"lan\", mtu = 40 }",
        "`mtu` of `bus0` of host `pc` is 40, and must be 68 to 65521",
    ),
    (
        "[host.pc]\nsysctl.net.inet.ip.tll = 3",
        "unknown variable `net.inet.ip.tll` (did you mean `net.inet.ip.ttl`?)",
    ),
    ("[host.pc]\nsysctl.\"net.inet.ip.ttl\" = 300", "`net.inet.ip.ttl` is 300, and it takes 1 to 255"),
    ("[host.pc]\nsysctl.\"net.inet.ip.ttl\" = \"3\"", "`net.inet.ip.ttl` must be a whole number, not a text"),
    // Buses.
    (
        "[bus.b]\nprefix = \"10.1.0.1/24\"",
        "10.1.0.1/24 has bits behind its prefix; the network is 10.1.0.0/24",
    ),
    ("[bus.b]\nprefix = 7", "`prefix` of bus `b` must be a text, not a whole number"),
    ("[bus.b]\nlatency = \"5\"", "`5` is not a time with its unit"),
    ("[bus.b]\nbandwidth = \"5 MB\"", "`5 MB` is not a rate with its unit"),
    ("[bus.b]\nloss = 2", "`loss` of bus `b` must be a share of 0 to 1"),
    ("[bus.b]\ncount = 0", "`count` of bus `b` is 0, and must be 1 to 100000"),
    // Routes.
    (
        "[host.pc]\nbus0 = { bus = \"lan\" }\nroutes.default = \"10.9.0.1\"",
        "10.9.0.1 is in no network of `pc`",
    ),
    (
        "[bus.b]\n[host.pc]\nbus0 = { bus = \"b\", address = \"10.1.0.1/24\" }\nroutes.default = \"router\"",
        "`pc` shares no bus with `router`",
    ),
    (
        "[host.pc]\nbus0 = { bus = \"lan\" }\nroutes.\"10.1.0.1/24\" = \"router\"",
        "10.1.0.1/24 has bits behind its prefix",
    ),
    (
        "[host.pc]\nbus0 = { bus = \"lan\" }\nroutes.everywhere = \"router\"",
        "`everywhere` is no destination of a route",
    ),
    // Checks.
    ("[[check]]\nrun = \"ping 10.0.0.1\"", "check number 1 says no `host`"),
    ("[[check]]\nhost = \"router\"", "check number 1 has nothing to `run`"),
    ("[[check]]\nhost = \"router\"\nrun = \"ping {router\"", "has a `{` without its `}`"),
    ("[[check]]\nhost = \"router\"\nrun = \"ping {router.bus7}\"", "`router` has no address on `bus7`"),
    (
        "[[check]]\nhost = \"router\"\nrun = \"ping 10.0.0.1\"\nstatus = 256",
        "`status` of check number 1 is 256, and must be 0 to 255",
    ),
    // The file.
    ("[lab]\nroutes = \"some\"", "`routes` of [lab] is `some`, and must be `auto` or `none`"),
    ("lab 7", "expected"),
];

#[test]
fn every_mistake_is_told_with_its_line_and_what_was_perhaps_meant() {
    read(RIGHT);
    for (added, expected) in MISTAKES {
        let said = refused(&format!("{RIGHT}{added}\n"));
        assert!(said.contains(expected), "{added}\n  said: {said}");
        let lines: Vec<_> =
            (5..5 + added.lines().count()).map(|line| format!("office.toml:{line}:")).collect();
        assert!(lines.iter().any(|line| said.contains(line)), "{added}\n  said: {said}");
    }
}

#[test]
fn several_mistakes_are_told_at_once_and_no_more_than_can_be_read() {
    let said = refused("[bus.a]\nx = 1\n[host.b]\ny = 2\n");
    assert_eq!(said.lines().count(), 2, "{said}");
    let many: String = (0..100).map(|number| format!("wrong{number} = 1\n")).collect();
    assert_eq!(refused(&many).lines().count(), 20);
}

#[test]
fn a_lab_without_hosts_and_a_file_without_end_are_refused() {
    assert_eq!(refused(""), "office.toml:1:1: a lab needs a host: [host.NAME]");
    assert!(refused(&" ".repeat(FILE_LIMIT + 1)).contains("are too long"));
    assert!(refused("host.pc.count = 100000\nhost.more.count = 1").contains("more than 100000"));
}

#[test]
fn whatever_stands_in_a_file_is_read_or_refused() {
    for cut in 0..OFFICE.len() {
        // It may be right or wrong, and must only come to an end.
        let _judged = parse("office.toml", &OFFICE[..cut]);
        let _judged = parse("office.toml", &OFFICE[cut..]);
    }
}
