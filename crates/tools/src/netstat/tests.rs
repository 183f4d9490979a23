//! netstat as a whole, with a scripted kernel.

use rumpnet_proto::{ControlError, Counter, DropReason, Errno, InterfaceFlags, Operation, RouteReport};
use serde_json::json;

use super::*;
use crate::scripted::{Said, Script, lo0, virt0};

type Answer = Result<Reply, ControlError>;

#[track_caller]
fn said(line: &str, calls: impl IntoIterator<Item = (Request, Answer)>) -> Said {
    Script::new(calls).said(&line.split_whitespace().collect::<Vec<_>>())
}

fn counted() -> [(Request, Answer); 1] {
    let counters = vec![(Counter::IpReceived, 8), (Counter::UdpSent, 2)];
    [(Request::Statistics, Ok(Reply::Statistics { counters, drops: vec![(DropReason::Ipv4Checksum, 3)] }))]
}

fn interfaces() -> [(Request, Answer); 1] {
    let mut virt = virt0();
    virt.counters.input_packets = 12;
    virt.counters.input_bytes = 1008;
    virt.counters.output_errors = 1;
    virt.drops = vec![(DropReason::LinkRunt, 2), (DropReason::Ipv4Checksum, 3)];
    virt.flags -= InterfaceFlags::UP;
    let page = Reply::Interfaces { interfaces: vec![lo0(), virt], next: None };
    [(Request::Interfaces { from: 0, reset: false }, Ok(page))]
}

#[test]
fn statistics_are_listed_by_protocol_with_what_never_happened() {
    let text = said("netstat -s", counted()).out;
    for line in [
        "ip:\n",
        "\t8 IP packets received\n",
        "\t0 IP packets reassembled\n",
        "udp:\n",
        "\t2 UDP datagrams sent\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(text.contains("\t3 dropped: IPv4 header checksum wrong\n"), "{text}");
}

#[test]
fn a_second_s_leaves_out_what_never_happened() {
    let text = said("netstat -ss", counted()).out;
    let expected = "ip:\n\t8 IP packets received\n\t3 dropped: IPv4 header checksum wrong\nudp:\n\t2 UDP datagrams sent\n";
    assert_eq!(text, expected);
}

#[test]
fn one_protocol_is_listed_and_an_unknown_one_is_named() {
    let text = said("netstat -s -p udp", counted()).out;
    assert!(text.starts_with("udp:\n") && !text.contains("ip:\n"), "{text}");
    let bogus = said("netstat -p bogus", []);
    assert_eq!(bogus.err, "netstat: bogus: unknown or uninstrumented protocol\n");
}

#[test]
fn interfaces_have_a_line_and_one_for_each_address() {
    let text = said("netstat -in", interfaces()).out;
    assert_eq!(
        text,
        "Name  Mtu   Network       Address              Ipkts Ierrs    Opkts Oerrs Colls\n\
         lo0   33624 <Link>                                 0     0        0     0     0\n\
         lo0   33624 127/8         127.0.0.1                0     0        0     0     0\n\
         virt0* 1500  <Link>        b2:0a:5c:7d:01:9e       12     0        0     1     0\n\
         virt0* 1500  10.0.0/24     10.0.0.2                12     0        0     1     0\n"
            .replace("Name  ", "Name   ")
            .replace("lo0   ", "lo0    ")
    );
    let text = said("netstat -ibd", interfaces()).out;
    assert!(text.contains("Ibytes") && text.contains("Colls Drops\n"), "{text}");
    assert!(text.contains("    1008     0        0     1     0     5\n"), "{text}");
}

#[test]
fn one_interface_is_listed_by_name() {
    let page = Reply::Interfaces { interfaces: vec![virt0()], next: None };
    let call = (Request::Interface { name: "virt0".into(), reset: false }, Ok(page));
    let text = said("netstat -I virt0", [call]).out;
    assert!(text.contains("virt0 1500  10.0.0/24     10.0.0.2 "), "{text}");
    let error = ControlError::new(Operation::InterfaceStatus, "bogus0", Errno::Nxio);
    let call = (Request::Interface { name: "bogus0".into(), reset: false }, Err(error));
    let said = said("netstat -nI bogus0", [call]);
    assert_eq!(said.err, "netstat: SIOCGIFFLAGS bogus0: Device not configured\n");
}

#[test]
fn routes_are_those_of_route() {
    let destination = ("10.0.0.0".parse().unwrap(), 24);
    let route = RouteReport {
        destination,
        gateway: None,
        interface: "virt0".parse().unwrap(),
        kind: rumpnet_proto::RouteKind::Forward,
        origin: rumpnet_proto::RouteOrigin::Connected,
        mtu: None,
        hop_count: 0,
        expires: None,
    };
    let table = Reply::Routes { routes: vec![route], next: None };
    let calls = || interfaces().into_iter().chain([(Request::Routes { after: None }, Ok(table.clone()))]);
    let text = said("netstat -rn", calls()).out;
    assert!(text.contains("10.0.0/24          link#2             U "), "{text}");
    assert_eq!(said("netstat -rn -f inet6", calls()).out, "Routing tables\n");
}

#[test]
fn what_is_not_listed_is_refused() {
    for line in ["netstat -ai", "netstat -f inet", "netstat -rs", "netstat -r -f appletalk"] {
        let said = said(line, []);
        assert_eq!((said.status, said.out.as_str()), (Status::FAILURE, ""), "{line}");
    }
}

#[test]
fn the_json_has_counters_by_name() {
    let report = said("netstat -ss --json", counted()).json();
    let ip = json!({
        "name": "ip",
        "counters": [{"name": "IpReceived", "text": "IP packets received", "count": 8}],
        "drops": [{"name": "Ipv4Checksum", "text": "IPv4 header checksum wrong", "count": 3}],
    });
    assert_eq!(report["protocols"][0], ip);
    let report = said("netstat -i --json", interfaces()).json();
    assert_eq!(report.pointer("/interfaces/1/input/packets"), Some(&json!(12)));
}
