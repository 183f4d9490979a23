//! route as a whole, with a scripted kernel; layout and refusals are those of NetBSD's transcripts.

use rumpnet_proto::{Reply, RouteOrigin, RouteReport};
use serde_json::json;

use super::*;
use crate::scripted::{Said, Script, lo0, virt0};

type Answer = Result<Reply, ControlError>;

#[track_caller]
fn said(line: &str, calls: impl IntoIterator<Item = (Request, Answer)>) -> Said {
    Script::new(calls).said(&line.split_whitespace().collect::<Vec<_>>())
}

fn route(destination: &str, len: u8, gateway: Option<&str>, interface: &str) -> RouteReport {
    RouteReport {
        destination: (destination.parse().unwrap(), len),
        gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        interface: interface.parse().unwrap(),
        kind: RouteKind::Forward,
        origin: RouteOrigin::Static,
        mtu: None,
        hop_count: 0,
        expires: None,
    }
}

fn dump() -> [(Request, Answer); 3] {
    let first = vec![
        route("0.0.0.0", 0, Some("10.0.0.1"), "virt0"),
        route("10.0.0.0", 24, None, "virt0"),
        route("127.0.0.0", 8, None, "lo0"),
    ];
    let second = vec![
        route("192.168.6.6", 32, Some("10.0.0.1"), "virt0"),
        route("172.16.0.0", 12, Some("10.0.0.1"), "virt0"),
        route("2001:db8::", 32, None, "virt0"),
    ];
    let next = Some(first[2].destination);
    let interfaces = Reply::Interfaces { interfaces: vec![lo0(), virt0()], next: None };
    [
        (Request::Interfaces { from: 0, reset: false }, Ok(interfaces)),
        (Request::Routes { after: None }, Ok(Reply::Routes { routes: first, next })),
        (Request::Routes { after: next }, Ok(Reply::Routes { routes: second, next: None })),
    ]
}

fn refused(errno: Errno) -> Answer {
    Err(ControlError::new(Operation::Route, "0.0.0.0/0", errno))
}

fn add(destination: &str, len: u8, gateway: &str) -> Request {
    let via = NextHop::Gateway(gateway.parse().unwrap());
    Request::AddRoute {
        destination: (destination.parse().unwrap(), len),
        via,
        attributes: RouteAttributes::default(),
    }
}

fn delete(destination: &str, len: u8) -> Request {
    Request::DeleteRoute { destination: (destination.parse().unwrap(), len), gateway: None }
}

#[test]
fn routes_are_shown_as_netbsds_route_shows_them() {
    let shown = said("route -n show -inet", dump()).out;
    assert_eq!(
        shown,
        "Routing tables\n\
         \n\
         Internet:\n\
         Destination        Gateway            Flags    Refs      Use    Mtu Interface\n\
         default            10.0.0.1           UG          -        -      -  virt0\n\
         10.0.0/24          link#2             U           -        -      -  virt0\n\
         127/8              link#1             U           -        -      -  lo0\n\
         192.168.6.6        10.0.0.1           UGH         -        -      -  virt0\n\
         172.16/12          10.0.0.1           UG          -        -      -  virt0\n"
    );
    let both = said("route show", dump()).out;
    assert!(both.starts_with(&shown) && both.contains("\nInternet6:\n"), "{both}");
    assert!(!said("route show -inet6", dump()).out.contains("Internet:\n"));
}

#[test]
fn a_route_is_added_and_said() {
    for (line, request, text) in [
        (
            "route -n add default 10.0.0.1",
            add("0.0.0.0", 0, "10.0.0.1"),
            "add net default: gateway 10.0.0.1\n",
        ),
        (
            "route add -net 192.168.5.0/24 10.0.0.1",
            add("192.168.5.0", 24, "10.0.0.1"),
            "add net 192.168.5.0: gateway 10.0.0.1\n",
        ),
        (
            "route add -host 192.168.6.6 10.0.0.1",
            add("192.168.6.6", 32, "10.0.0.1"),
            "add host 192.168.6.6: gateway 10.0.0.1\n",
        ),
        (
            "route add -net 192.168.7.0 -netmask 255.255.255.0 10.0.0.99",
            add("192.168.7.0", 24, "10.0.0.99"),
            "add net 192.168.7.0: gateway 10.0.0.99\n",
        ),
        ("route -q add 10.9.0.0 10.0.0.1 -prefixlen 16", add("10.9.0.0", 16, "10.0.0.1"), ""),
    ] {
        let said = said(line, [(request, Ok(Reply::Done))]);
        assert_eq!(
            (said.status, said.out.as_str(), said.err.as_str()),
            (Status::SUCCESS, text, ""),
            "{line}"
        );
    }
}

#[test]
fn a_route_may_lead_to_a_link() {
    let via = NextHop::Interface("virt0".into());
    let request = Request::AddRoute {
        destination: ("10.5.0.0".parse().unwrap(), 16),
        via,
        attributes: RouteAttributes::default(),
    };
    let said = said("route add 10.5.0.0/16 -interface virt0", [(request, Ok(Reply::Done))]);
    assert_eq!(said.out, "add net 10.5.0.0: gateway virt0\n");
}

#[test]
fn refusals_are_said_twice_as_netbsds_route_does() {
    let line = "route -n add default 10.0.0.1";
    let exists = said(line, [(add("0.0.0.0", 0, "10.0.0.1"), refused(Errno::Exist))]);
    assert_eq!(exists.status, Status::FAILURE);
    assert_eq!(exists.err, "route: writing to routing socket: File exists\n");
    assert_eq!(exists.out, "add net default: gateway 10.0.0.1: File exists\n");
    let absent = said("route delete -host 192.168.6.6", [(delete("192.168.6.6", 32), refused(Errno::Srch))]);
    assert_eq!(absent.err, "route: writing to routing socket: not in table\n");
    assert_eq!(absent.out, "delete host 192.168.6.6: not in table\n");
}

#[test]
fn a_route_is_deleted_with_or_without_its_gateway() {
    for (line, gateway) in
        [("route delete default", None), ("route delete default 10.0.0.1", Some("10.0.0.1"))]
    {
        let gateway = gateway.map(|gateway| gateway.parse().unwrap());
        let request = Request::DeleteRoute { destination: ("0.0.0.0".parse().unwrap(), 0), gateway };
        let said = said(line, [(request, Ok(Reply::Done))]);
        assert_eq!((said.status, said.out.as_str()), (Status::SUCCESS, "delete net default\n"));
    }
}

#[test]
fn words_that_make_no_sense_are_refused() {
    for (line, complaint) in [
        ("route bogus", "route: botched keyword: bogus"),
        ("route add foo", "route: foo: bad value"),
        ("route add default", "route: net default: a gateway or an interface is missing"),
        ("route add", "route: a destination is missing"),
        ("route add default 10.0.0.1 10.0.0.2", "route: 10.0.0.2: not expected here"),
        ("route add default me", "route: me: bad value"),
        ("route add default 10.0.0.1 -frob", "route: botched keyword: -frob"),
        ("route add default 10.0.0.1 -mtu much", "route: much: bad value"),
        ("route change default", "route: net default: a gateway or an interface is missing"),
        ("route add default -interface", "route: -interface: its argument is missing"),
        ("route show all", "route: all: not expected here"),
    ] {
        let said = said(line, []);
        assert_eq!((said.status, said.out.as_str()), (Status::FAILURE, ""), "{line}");
        assert_eq!(said.err.lines().next(), Some(complaint), "{line}");
    }
    assert_eq!(said("route", []).status, Status::FAILURE);
}

#[test]
fn the_json_lists_routes_and_refusals() {
    let report = said("route show --json", dump()).json();
    let first = json!({
        "destination": "0.0.0.0", "prefix_bits": 0, "gateway": "10.0.0.1", "interface": "virt0",
        "interface_index": 2, "flags": "UG", "mtu": null,
    });
    assert_eq!(report["routes"][0], first);
    assert_eq!(report["routes"].as_array().map(Vec::len), Some(6));
    let refused = said("route delete default --json", [(delete("0.0.0.0", 0), refused(Errno::Srch))]);
    assert_eq!(refused.json()["error"]["errno"], json!("ESRCH"));
}

#[test]
fn modifiers_say_what_becomes_of_packets() {
    let gateway = || NextHop::Gateway("10.0.0.1".parse().unwrap());
    let plain = RouteAttributes::default();
    for (words, attributes) in [
        ("-reject", RouteAttributes { kind: RouteKind::Reject, ..plain }),
        ("-blackhole", RouteAttributes { kind: RouteKind::Blackhole, ..plain }),
        ("-mtu 1400 -hopcount 3", RouteAttributes { mtu: Some(1400), hop_count: 3, ..plain }),
        ("-mpath", RouteAttributes { multipath: true, ..plain }),
    ] {
        let destination = ("192.168.9.0".parse().unwrap(), 24);
        let request = Request::AddRoute { destination, via: gateway(), attributes };
        let said =
            said(&format!("route -n add -net 192.168.9.0/24 10.0.0.1 {words}"), [(request, Ok(Reply::Done))]);
        assert_eq!(said.out, "add net 192.168.9.0: gateway 10.0.0.1\n", "{words}");
    }
    let request = Request::ChangeRoute {
        destination: ("0.0.0.0".parse().unwrap(), 0),
        via: NextHop::Gateway("10.0.0.9".parse().unwrap()),
        attributes: plain,
    };
    let changed = said("route -n change default 10.0.0.9", [(request, Ok(Reply::Done))]);
    assert_eq!(changed.out, "change net default: gateway 10.0.0.9\n");
}

#[test]
fn the_route_to_a_destination_is_told_as_netbsds_route_tells_it() {
    let asked = |address: &str, len| Request::Route { destination: (address.parse().unwrap(), len) };
    let found = |route| Ok(Reply::Route { route, source: Some("10.0.0.2".parse().unwrap()) });
    let metrics = " recvpipe  sendpipe  ssthresh  rtt,msec    rttvar  hopcount      mtu     expire\n       \
                   0         0         0         0         0         0         0         0 \n";
    let default = route("0.0.0.0", 0, Some("10.0.0.1"), "virt0");
    assert_eq!(
        said("route -n get 8.8.8.8", [(asked("8.8.8.8", None), found(default.clone()))]).out,
        format!(
            "   route to: 8.8.8.8\ndestination: default\n       mask: default\n    gateway: 10.0.0.1\n \
             local addr: 10.0.0.2\n  interface: virt0\n      flags: <UP,GATEWAY,DONE,STATIC>\n{metrics}"
        )
    );
    let by_name = said("route -n get default", [(asked("0.0.0.0", Some(0)), found(default))]).out;
    assert!(by_name.starts_with("   route to: default\ndestination: default\n"), "{by_name}");
    let connected = RouteReport { origin: RouteOrigin::Connected, ..route("10.0.0.0", 24, None, "virt0") };
    assert_eq!(
        said("route get 10.0.0.77", [(asked("10.0.0.77", None), found(connected))]).out,
        format!(
            "   route to: 10.0.0.77\ndestination: 10.0.0.0\n       mask: 255.255.255.0\n local addr: 10.0.0.2\n  \
             interface: virt0\n      flags: <UP,DONE,CONNECTED>\n{metrics}"
        )
    );
    let host =
        RouteReport { kind: RouteKind::Reject, mtu: Some(1400), ..route("192.168.6.6", 32, None, "lo0") };
    let told = said("route get 192.168.6.6", [(asked("192.168.6.6", None), found(host.clone()))]).out;
    assert!(!told.contains("mask") && told.contains("<UP,HOST,REJECT,DONE,STATIC>"), "{told}");
    assert!(told.ends_with("      1400         0 \n"), "{told}");
    let json = said("route get 192.168.6.6 --json", [(asked("192.168.6.6", None), found(host))]).json();
    assert_eq!((&json["mtu"], &json["flags"][2]), (&json!(1400), &json!("REJECT")));
    let missing = said("route -n get 8.8.8.8", [(asked("8.8.8.8", None), refused(Errno::Srch))]);
    assert_eq!(
        (missing.err.as_str(), missing.status),
        ("route: writing to routing socket: not in table\n", Status::FAILURE)
    );
}

#[test]
fn flush_removes_what_leads_to_routers_and_leaves_the_links() {
    let removed = [("0.0.0.0", 0), ("192.168.6.6", 32), ("172.16.0.0", 12)].map(|(destination, len)| {
        let gateway = Some("10.0.0.1".parse().unwrap());
        (Request::DeleteRoute { destination: (destination.parse().unwrap(), len), gateway }, Ok(Reply::Done))
    });
    let calls = || dump().into_iter().skip(1).chain(removed.clone());
    assert_eq!(
        said("route flush", calls()).out,
        "default              10.0.0.1             done\n\
         192.168.6.6          10.0.0.1             done\n\
         172.16/12            10.0.0.1             done\n"
    );
    assert_eq!(said("route -q flush -inet", calls()).out, "");
}

#[test]
fn the_table_has_a_letter_for_each_kind() {
    let with = |kind, origin| RouteReport {
        kind,
        origin,
        mtu: Some(1400),
        ..route("192.168.6.6", 32, Some("10.0.0.1"), "virt0")
    };
    for (kind, origin, flags) in [
        (RouteKind::Reject, RouteOrigin::Static, "UGHR"),
        (RouteKind::Blackhole, RouteOrigin::Static, "UGHB"),
        (RouteKind::Forward, RouteOrigin::Redirect, "UGHD"),
    ] {
        let [interfaces, ..] = dump();
        let routes = Reply::Routes { routes: vec![with(kind, origin)], next: None };
        let shown = said("route -n show", [interfaces, (Request::Routes { after: None }, Ok(routes))]).out;
        let row = format!("192.168.6.6        10.0.0.1           {flags:<6}      -        -   1400  virt0\n");
        assert!(shown.ends_with(&row), "{shown}");
    }
}
