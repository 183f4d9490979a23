//! What ifconfig(8) and sysctl(8) ask of interfaces, and what these report.

use rumpnet_proto::{
    AddressFlags, Capabilities, CaptureOptions, Counter, DropReason, Errno, InterfaceFlags, InterfaceReport,
    LinkState, Reply, Request,
    sysctl::{self, Variable},
};
use rumpnet_stack::{
    Config, Direction, Event, Notice, Stack,
    buffer::{Checksum, Gso, GsoKind, Offload},
    slab::Key,
    time::Instant,
};
use rumpnet_wire::{
    arp::Operation,
    ethernet::{self, EtherType},
    ip::Protocol,
    pcapng,
};

mod outside;

use outside::{OUR_MAC, OURS, Outside, THEIR_MAC, THEIRS, arp, datagram, frame, header, ipv4};

fn report(outside: &mut Outside, reset: bool) -> InterfaceReport {
    let request = Request::Interface { name: "virt0".into(), reset };
    let Reply::Interfaces { mut interfaces, .. } = outside.control(request) else { panic!("a report") };
    interfaces.remove(0)
}

#[track_caller]
fn refused(outside: &mut Outside, request: Request) -> Errno {
    outside.stack.control(outside.now, request).expect_err("a bad request").errno
}

fn events(outside: &mut Outside) -> Vec<Event> {
    std::iter::from_fn(|| outside.stack.next_event()).collect()
}

#[test]
fn an_interface_counts_what_passes_and_what_does_not() {
    let mut outside = Outside::new();
    report(&mut outside, true);
    outside.receive(arp(Operation::Request, THEIRS, OURS));
    outside.receive(frame(ethernet::Address::BROADCAST, THEIR_MAC, EtherType::ARP, &[0; 28]));
    outside.receive(vec![0; 9]);
    outside.receive(outside::to_us(EtherType(0x1234), &[0; 46]));
    let report = report(&mut outside, true);
    let counted = report.counters;
    assert_eq!((counted.input_packets, counted.input_bytes), (4, 42 + 42 + 9 + 60));
    assert_eq!((counted.input_multicasts, counted.input_errors, counted.unknown_protocol), (1, 1, 1));
    assert_eq!((counted.output_packets, counted.output_bytes), (1, 42));
    let drops =
        [(DropReason::LinkRunt, 1), (DropReason::LinkUnknownProtocol, 1), (DropReason::ArpMalformed, 1)];
    assert_eq!(report.drops, drops);
    let after = self::report(&mut outside, false);
    assert_eq!((after.counters, after.drops), (Default::default(), vec![]), "they were reset");
}

#[test]
fn a_super_frame_counts_as_the_packets_it_stands_for() {
    let mut outside = Outside::new();
    outside.udp(9);
    report(&mut outside, true);
    let gso = Some(Gso { kind: GsoKind::Udp, size: 400, ecn: false, fixed_identification: false });
    let train = ipv4(header(Protocol::UDP, 0), &datagram(9, &[7; 1200]));
    outside.receive_as(train, Offload { gso, ..Offload::default() });
    let counted = report(&mut outside, false).counters;
    assert_eq!((counted.input_packets, counted.input_bytes), (3, 3 * (14 + 20 + 8 + 400)));
    let payload = vec![7; 1200].into();
    let send = rumpnet_stack::UdpSend {
        payload,
        segment: Some(400),
        destination: Some((THEIRS, 9).into()),
        source: None,
        info: Default::default(),
    };
    let socket = outside.udp(10);
    outside.stack.udp_send(outside.now, socket, [send]).expect("sent");
    let counted = report(&mut outside, false).counters;
    assert_eq!((counted.output_packets, counted.output_bytes), (3, 3 * (14 + 20 + 8 + 400)));
}

#[test]
fn a_link_that_goes_and_returns_is_told_once_and_its_addresses_are_tried_anew() {
    let mut outside = Outside::new();
    events(&mut outside);
    for _ in 0..3 {
        outside.stack.set_link_state(outside.now, 0, LinkState::Down);
    }
    let told = events(&mut outside);
    assert!(
        matches!(told[..], [Event::Notice(Notice::LinkState { state: LinkState::Down, .. })]),
        "{told:?}"
    );
    let report_down = report(&mut outside, false);
    assert_eq!(
        (report_down.link_state, report_down.addresses[0].flags),
        (LinkState::Down, AddressFlags::DETACHED)
    );
    outside.forget();
    outside.stack.set_link_state(outside.now, 0, LinkState::Up);
    assert_eq!(report(&mut outside, false).addresses[0].flags, AddressFlags::empty());
    outside.raises(&[Counter::ArpAnnouncementsSent], &[]);
    assert_eq!(events(&mut outside).len(), 1);
}

#[test]
fn up_and_down_are_told_to_the_far_end_once_per_change() {
    let mut outside = Outside::new();
    events(&mut outside);
    for _ in 0..2 {
        outside.set_flags(InterfaceFlags::empty(), InterfaceFlags::UP);
    }
    assert_eq!(events(&mut outside), [Event::PortUp { port: 0, up: false }]);
    assert!(!report(&mut outside, false).flags.contains(InterfaceFlags::RUNNING));
    outside.set_flags(InterfaceFlags::UP, InterfaceFlags::empty());
    assert_eq!(events(&mut outside), [Event::PortUp { port: 0, up: true }]);
}

#[test]
fn an_mtu_beyond_the_links_is_refused_and_changes_nothing() {
    let mut outside = Outside::new();
    events(&mut outside);
    for mtu in [0, 67, 65_522, u32::MAX] {
        assert_eq!(refused(&mut outside, Request::SetMtu { name: "virt0".into(), mtu }), Errno::Inval);
    }
    assert_eq!((report(&mut outside, false).mtu, events(&mut outside)), (1500, vec![]));
    for mtu in [68, 65_521] {
        outside.control(Request::SetMtu { name: "virt0".into(), mtu });
        assert_eq!(events(&mut outside), [Event::PortMtu { port: 0, mtu }]);
    }
}

#[test]
fn flags_that_belong_to_the_kernel_are_refused() {
    let mut outside = Outside::new();
    let before = report(&mut outside, false).flags;
    for flag in [InterfaceFlags::RUNNING, InterfaceFlags::BROADCAST, InterfaceFlags::LOOPBACK] {
        for (set, clear) in [(flag, InterfaceFlags::empty()), (InterfaceFlags::empty(), flag)] {
            let request = Request::SetFlags { name: "virt0".into(), set, clear };
            assert_eq!(refused(&mut outside, request), Errno::Inval);
        }
    }
    assert_eq!(report(&mut outside, false).flags, before);
}

#[test]
fn a_capability_that_the_link_lacks_is_refused() {
    let mut outside = Outside::new();
    let enable = Capabilities::from_bits_retain(1);
    let request = Request::SetCapabilities { name: "lo0".into(), enable, disable: Capabilities::empty() };
    assert_eq!(refused(&mut outside, request), Errno::Inval);
}

#[test]
fn another_link_address_is_announced_and_answered_to() {
    let mut outside = Outside::new();
    let other = ethernet::Address([0xb2, 0x0a, 0, 0, 0, 2]);
    let add = |active| Request::AddLinkAddress { name: "virt0".into(), address: other, active };
    outside.control(add(false));
    assert_eq!(refused(&mut outside, add(false)), Errno::Exist);
    outside.raises(&[], &[]);
    outside.control(add(true));
    outside.raises(&[Counter::ArpAnnouncementsSent], &[]);
    let report = report(&mut outside, false);
    assert_eq!((report.link_address, report.inactive_link_addresses), (Some(other), vec![OUR_MAC]));
    outside.receive(arp(Operation::Request, THEIRS, OURS));
    outside.raises(&[], &[DropReason::LinkNotForUs]);
    let delete = |address| Request::DeleteLinkAddress { name: "virt0".into(), address };
    assert_eq!(refused(&mut outside, delete(other)), Errno::Busy);
    outside.control(delete(OUR_MAC));
    assert_eq!(refused(&mut outside, delete(OUR_MAC)), Errno::AddrNotAvail);
}

#[test]
fn a_variable_out_of_range_is_refused_and_keeps_its_value() {
    let mut outside = Outside::new();
    let sysctl = |name: &str, value| Request::Sysctl { name: name.into(), value };
    for (name, bad, errno) in [
        ("net.inet.ip.ttl", 0, Errno::Inval),
        ("net.inet.ip.ttl", 256, Errno::Inval),
        ("net.inet.ip.dad_optimistic", 2, Errno::Inval),
        ("net.inet.icmp.errppslimit", -1, Errno::Inval),
        ("net.inet.ip.forwarding", 2, Errno::Inval),
    ] {
        let before = outside.control(sysctl(name, None));
        assert_eq!(refused(&mut outside, sysctl(name, Some(bad))), errno, "{name}={bad}");
        assert_eq!(outside.control(sysctl(name, None)), before);
    }
    assert_eq!(refused(&mut outside, sysctl("net.inet.nonsense", None)), Errno::NoEnt);
    assert_eq!(outside.control(sysctl("net.inet.ip.ttl", Some(9))), Reply::Value(64));
    assert_eq!(outside.control(sysctl("net.inet.ip.ttl", None)), Reply::Value(9));
}

#[test]
fn every_variable_that_is_named_can_be_read() {
    let mut outside = Outside::new();
    let Reply::Names(names) = outside.control(Request::SysctlNames) else { panic!("names") };
    assert!(names.is_sorted() && names.contains(&"net.inet.ip.ttl".into()));
    for name in names {
        let read = outside.control(Request::Sysctl { name: name.clone(), value: None });
        assert!(matches!(read, Reply::Value(_)), "{name}");
    }
}

#[test]
fn every_variable_has_the_default_and_the_range_that_are_documented() {
    let mut stack = Stack::boot(Config::default(), [7; 16], Instant::ZERO);
    let mut ask =
        |name: &str, value| stack.control(Instant::ZERO, Request::Sysctl { name: name.into(), value });
    for variable in sysctl::VARIABLES {
        let Variable { name, default, range, .. } = *variable;
        assert_eq!(ask(name, None), Ok(Reply::Value(default)), "{name}");
        let Some((least, greatest)) = range else {
            let error = ask(name, Some(0)).expect_err("it is only measured");
            assert_eq!((error.errno, error.hint.as_deref()), (Errno::Perm, Some("it is only measured")));
            continue;
        };
        // The limits of memory are in order only where they are.
        if !name.contains(".mem_") {
            assert_eq!(ask(name, Some(least)), Ok(Reply::Value(default)), "{name}");
            assert_eq!(ask(name, Some(greatest)), Ok(Reply::Value(least)), "{name}");
        }
        for beyond in [least - 1, greatest + 1] {
            let error = ask(name, Some(beyond)).expect_err("it is beyond the range");
            assert_eq!((error.errno, error.hint), (Errno::Inval, variable.takes()), "{name}");
        }
    }
}

#[test]
fn strict_waiting_keeps_an_address_out_of_use_until_it_was_probed() {
    let mut outside = Outside::new();
    for (name, value) in [("net.inet.ip.dad_optimistic", 0), ("net.inet.ip.dad_count", 3)] {
        outside.control(Request::Sysctl { name: name.into(), value: Some(value) });
    }
    outside.add_address([10, 0, 0, 2].into());
    outside.forget();
    outside.receive(arp(Operation::Request, THEIRS, [10, 0, 0, 2].into()));
    outside.raises(&[Counter::ArpRequestsReceived], &[DropReason::ArpNotForUs]);
    outside.wait(10);
    outside.forget();
    outside.receive(arp(Operation::Request, THEIRS, [10, 0, 0, 2].into()));
    outside.raises(&[Counter::ArpRequestsReceived, Counter::ArpRepliesSent], &[]);
}

#[test]
fn what_the_host_dropped_before_us_is_told_as_drops_of_the_input_queue() {
    let mut outside = Outside::new();
    assert_eq!(report(&mut outside, false).host_drops, None);
    outside.stack.report_host_drops(0, 7);
    let report = report(&mut outside, true);
    assert_eq!((report.host_drops, report.counters.input_queue_drops), (Some(7), 7));
}

#[test]
fn a_capture_says_what_a_super_frame_leaves_to_the_hardware() {
    let mut outside = Outside::new();
    let options = CaptureOptions { interface: Some("virt0".into()), ..Default::default() };
    let Reply::Capture { capture } = outside.control(Request::CaptureOpen(options)) else {
        panic!("a capture")
    };
    let gso = Some(Gso { kind: GsoKind::Tcp4, size: 1448, ecn: false, fixed_identification: false });
    let partial = Checksum::Partial { start: 34, offset: 16 };
    let received = [
        Offload { checksum: partial, gso },
        Offload { checksum: Checksum::Verified, gso: None },
        Offload::default(),
    ];
    for offload in received {
        outside.receive_as(ipv4(header(Protocol::TCP, 4000), &[0; 4000]), offload);
    }
    let mut packets = Vec::new();
    outside.stack.capture_read(Key::from(capture), &mut packets);
    let came = packets.iter().filter(|packet| packet.direction == Direction::In);
    let said: Vec<pcapng::Offload> = came.map(|packet| packet.offload.into()).collect();
    let nothing = pcapng::Offload::default();
    let expected = [
        pcapng::Offload { checksum_not_ready: true, tcp_segmentation: true, ..nothing },
        pcapng::Offload { checksum_valid: true, ..nothing },
        nothing,
    ];
    assert_eq!(said, expected);
}
