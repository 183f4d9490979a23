//! Reports to text, against the layout of NetBSD 10.

use rumpnet_proto::{AddressFlags, Capabilities, DropReason, InterfaceReport, LinkState};

use super::*;
use crate::scripted::{address, lo0, virt0};

fn shown(report: InterfaceReport, view: View) -> String {
    interface(&report.into(), view)
}

#[test]
fn an_interface_reads_as_netbsd_10_prints_it() {
    let mut report = virt0();
    report.addresses.push(address("10.0.0.3", 24, Some("10.0.0.255")));
    report.addresses[1].flags = AddressFlags::TENTATIVE;
    report.addresses.push(address("fe80::b00a:5cff:fe7d:19e", 64, None));
    assert_eq!(
        shown(report, View::default()),
        "virt0: flags=0x8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> mtu 1500\n\
         \taddress: b2:0a:5c:7d:01:9e\n\
         \tlinkstate: up\n\
         \tinet6 fe80::b00a:5cff:fe7d:19e%virt0/64 flags 0 scopeid 0x2\n\
         \tinet 10.0.0.2/24 broadcast 10.0.0.255 flags 0\n\
         \tinet 10.0.0.3/24 broadcast 10.0.0.255 flags 0x1<TENTATIVE>\n"
    );
}

#[test]
fn the_loopback_has_neither_link_address_nor_link_state() {
    let mut report = lo0();
    report.addresses.insert(0, address("::1", 128, None));
    report.addresses[0].flags = AddressFlags::NODAD;
    assert_eq!(
        shown(report, View::default()),
        "lo0: flags=0x8049<UP,LOOPBACK,RUNNING,MULTICAST> mtu 33624\n\
         \tinet6 ::1/128 flags 0x20<NODAD>\n\
         \tinet 127.0.0.1/8 flags 0\n"
    );
}

#[test]
fn capabilities_are_broken_into_lines_as_netbsd_breaks_them() {
    let mut report = virt0();
    let netbsd = Capabilities::LRO | Capabilities::USO4 | Capabilities::USO6;
    report.capabilities = Capabilities::all().difference(netbsd);
    report.addresses.clear();
    let lines = "\tcapabilities=0x7ff80<TSO4,IP4CSUM_Rx,IP4CSUM_Tx,TCP4CSUM_Rx>\n\
                 \tcapabilities=0x7ff80<TCP4CSUM_Tx,UDP4CSUM_Rx,UDP4CSUM_Tx,TCP6CSUM_Rx>\n\
                 \tcapabilities=0x7ff80<TCP6CSUM_Tx,UDP6CSUM_Rx,UDP6CSUM_Tx,TSO6>\n\
                 \tenabled=0\n\
                 \taddress:";
    let text = shown(report.clone(), View::default());
    assert!(text.contains(lines), "{text}");
    report.enabled = Capabilities::TSO4;
    let text = shown(report, View::default());
    assert!(text.contains("\tenabled=0x80<TSO4>\n"), "{text}");
}

#[test]
fn metric_and_inactive_link_addresses_have_their_places() {
    let mut report = virt0();
    report.metric = 3;
    report.link_state = LinkState::Down;
    report.inactive_link_addresses = vec!["02:00:00:00:00:99".parse().unwrap()];
    assert_eq!(
        shown(report, View::default()),
        "virt0: flags=0x8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> metric 3 mtu 1500\n\
         \taddress: b2:0a:5c:7d:01:9e\n\
         \tlinkstate: down\n\
         \tlink 02:00:00:00:00:99\n\
         \tinet 10.0.0.2/24 broadcast 10.0.0.255 flags 0\n"
    );
}

#[test]
fn a_far_end_stands_where_the_link_is_point_to_point() {
    let mut report = lo0();
    report.addresses[0].peer = Some("127.0.0.2".parse().unwrap());
    assert!(shown(report, View::default()).contains("\tinet 127.0.0.1/8 -> 127.0.0.2 flags 0\n"));
}

#[test]
fn address_flags_have_the_numbers_of_their_family() {
    let mut report = virt0();
    report.addresses[0].flags = AddressFlags::DUPLICATED | AddressFlags::DETACHED;
    report.addresses.push(address("2001:db8::1", 64, None));
    report.addresses[1].flags = AddressFlags::TENTATIVE | AddressFlags::DETACHED;
    let text = shown(report, View { lifetimes: true, ..View::default() });
    assert!(text.contains("flags 0x6<DUPLICATED,DETACHED>\n"), "{text}");
    assert!(text.contains("flags 0xa<TENTATIVE,DETACHED> pltime infty vltime infty\n"), "{text}");
}

#[test]
fn a_family_limits_the_addresses_that_are_shown() {
    let mut report = virt0();
    report.addresses.push(address("2001:db8::1", 64, None));
    let only = |family| shown(report.clone(), View { family: Some(family), ..View::default() });
    assert!(only(Family::Inet).contains("\tinet ") && !only(Family::Inet).contains("inet6"));
    assert!(only(Family::Inet6).contains("\tinet6 ") && !only(Family::Inet6).contains("\tinet "));
    assert!(!only(Family::Link).contains("inet"));
}

#[test]
fn counters_omit_what_never_happened_and_know_the_singular() {
    let mut report = virt0();
    report.counters.input_packets = 12;
    report.counters.input_bytes = 1008;
    report.counters.output_packets = 1;
    report.counters.output_bytes = 1;
    report.counters.output_multicasts = 1;
    let view = View { counters: true, ..View::default() };
    let text = shown(report.clone(), view);
    assert!(text.contains("\tinput: 12 packets, 1008 bytes\n"), "{text}");
    assert!(text.contains("\toutput: 1 packet, 1 byte, 1 multicast\n"), "{text}");
    assert!(text.contains("\thost: tap0\n"), "the host has told nothing: {text}");
    report.counters.input_errors = 2;
    report.counters.input_queue_drops = 1;
    report.counters.unknown_protocol = 5;
    report.counters.collisions = 7;
    report.drops = vec![(DropReason::LinkRunt, 2)];
    report.host_drops = Some(9);
    let text = shown(report, view);
    assert!(text.contains("1008 bytes, 2 errors, 1 queue drop, 5 unknown protocol\n"), "{text}");
    assert!(text.contains("1 multicast, 7 collisions\n"), "{text}");
    assert!(text.contains("\tdropped: 2 frame shorter than its link header\n"), "{text}");
    assert!(text.contains("\thost: tap0, 9 packets dropped there\n"), "{text}");
}

#[test]
fn byte_counts_are_rounded_as_humanize_number_rounds() {
    let cases = [
        (0, "0"),
        (1, "1"),
        (999, "999"),
        (1000, "1.0K"),
        (1536, "1.5K"),
        (10_189, "10K"),
        (1_048_576, "1.0M"),
        (123_456_789, "118M"),
        (u64::MAX, "16E"),
    ];
    for (count, text) in cases {
        assert_eq!(humanize(count), text, "{count}");
    }
    assert_eq!(bytes(1, true), "1 byte");
    assert_eq!(bytes(2048, true), "2.0K bytes");
}
