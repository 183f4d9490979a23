//! Every counter and every reason of the link layer and of ARP, raised by frames from outside.

use rumpnet_proto::{Capabilities, Counter, DropReason, Errno, InterfaceFlags, NeighborChange, Request};
use rumpnet_stack::{
    Config, Event, Notice, Offloads, PortConfig, UdpSend,
    buffer::{Checksum, Gso, GsoKind, Offload, Received},
};
use rumpnet_wire::{arp::Operation, ethernet, ethernet::EtherType, ip::Protocol};

mod outside;

use outside::{
    OUR_MAC, OURS, Outside, THEIR_MAC, THEIRS, arp, arp_from, datagram, frame, header, ipv4, quiet, to_us,
};

fn host(number: u8) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::new(10, 0, 0, number)
}

#[test]
fn a_frame_to_an_interface_that_is_down_is_dropped() {
    let mut outside = Outside::new();
    outside.set_flags(InterfaceFlags::empty(), InterfaceFlags::UP);
    outside.receive(arp(Operation::Request, THEIRS, OURS));
    outside.raises(&[], &[DropReason::LinkDown]);
}

#[test]
fn a_frame_for_a_port_that_does_not_exist_is_counted() {
    let mut outside = Outside::new();
    outside.stack.receive(outside.now, 9, [Received::new(vec![0; 60].into(), Offload::default())]);
    outside.raises_unseen(&[], &[DropReason::LinkNoPort]);
}

#[test]
fn what_waits_at_a_port_is_dropped_when_its_interface_goes() {
    let mut outside = Outside::new();
    outside.receive(arp(Operation::Request, THEIRS, OURS));
    outside.stack.destroy_interface(outside.now, "virt0").expect("it is there");
    outside.raises(&[Counter::ArpRequestsReceived, Counter::ArpRepliesSent], &[DropReason::LinkNoPort]);
}

#[test]
fn a_runt_is_counted_and_dropped() {
    let mut outside = Outside::new();
    for len in 0..14 {
        outside.receive(to_us(EtherType::IPV4, &[])[..len].to_vec());
        outside.raises(&[], &[DropReason::LinkRunt]);
    }
}

#[test]
fn a_frame_longer_than_the_mtu_is_dropped_whole() {
    let mut outside = Outside::new();
    outside.receive(to_us(EtherType::IPV4, &[0x45; 1501]));
    let shown: Vec<_> = outside.captured().iter().map(|packet| (packet.reason, packet.bytes.len())).collect();
    assert_eq!(shown, [(Some(DropReason::LinkOversize), 1515)], "the frame as it came");
    outside.raises_unseen(&[], &[DropReason::LinkOversize]);
}

#[test]
fn frames_for_others_and_for_groups_that_nobody_joined_are_dropped() {
    let mut outside = Outside::new();
    let to = |octets| frame(ethernet::Address(octets), THEIR_MAC, EtherType::IPV4, &[0x45; 20]);
    outside.receive(to([2, 0, 0, 0, 0, 77]));
    outside.raises(&[], &[DropReason::LinkNotForUs]);
    outside.receive(to([1, 0, 0x5e, 1, 2, 3]));
    outside.raises(&[], &[DropReason::LinkMulticastNotJoined]);
    outside.set_flags(InterfaceFlags::PROMISC, InterfaceFlags::empty());
    outside.receive(to([1, 0, 0x5e, 1, 2, 3]));
    outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4Checksum]);
}

#[test]
fn a_group_as_source_is_dropped() {
    let mut outside = Outside::new();
    outside.receive(frame(OUR_MAC, ethernet::Address([1; 6]), EtherType::IPV4, &[0x45; 20]));
    outside.raises(&[], &[DropReason::LinkSourceInvalid]);
}

#[test]
fn a_stranger_with_our_link_address_is_counted_each_time_and_reported_once() {
    let mut outside = Outside::new();
    while outside.stack.next_event().is_some() {}
    for _ in 0..3 {
        outside.receive(frame(ethernet::Address::BROADCAST, OUR_MAC, EtherType::ARP, &[0; 28]));
        outside.raises(&[Counter::OwnLinkAddressSeen], &[DropReason::LinkSourceOurs]);
    }
    let notices = std::iter::from_fn(|| outside.stack.next_event())
        .filter(|event| matches!(event, Event::Notice(Notice::LinkAddressConflict { .. })));
    assert_eq!(notices.count(), 1);
}

#[test]
fn protocols_that_nobody_speaks_are_told_apart() {
    let mut outside = Outside::new();
    for (ethertype, reason) in [
        (EtherType(0x1234), DropReason::LinkUnknownProtocol),
        (EtherType::VLAN, DropReason::LinkVlan),
        (EtherType::IPV6, DropReason::Ipv6Unsupported),
    ] {
        outside.receive(to_us(ethertype, &[0; 46]));
        outside.raises(&[], &[reason]);
    }
}

#[test]
fn a_full_port_drops_what_comes_last() {
    let config = Config { port_queue: 2, ..quiet() };
    let mut outside = Outside::with(config, PortConfig::ethernet(OUR_MAC));
    for _ in 0..3 {
        outside.receive(arp(Operation::Request, THEIRS, OURS));
    }
    let (asked, answered) = ([Counter::ArpRequestsReceived; 3], [Counter::ArpRepliesSent; 3]);
    outside.raises(&[asked, answered].concat(), &[DropReason::LinkQueueFull]);
    assert_eq!(outside.sent().len(), 2);
}

#[test]
fn a_frame_that_the_far_end_refuses_is_counted() {
    let mut outside = Outside::new();
    outside.receive(arp(Operation::Request, THEIRS, OURS));
    let frame = outside.stack.next_frame(0).expect("an answer");
    outside.stack.on_send_failed(outside.now, 0, &frame);
    outside.raises(&[Counter::ArpRequestsReceived, Counter::ArpRepliesSent], &[DropReason::LinkSendFailed]);
}

#[test]
fn lies_of_an_offload_header_are_told_apart() {
    let mut outside = Outside::new();
    let gso = |kind, size| Offload {
        gso: Some(Gso { kind, size, ecn: false, fixed_identification: false }),
        ..Offload::default()
    };
    let partial = |start, offset| Offload { checksum: Checksum::Partial { start, offset }, gso: None };
    for (offload, reason) in [
        (partial(34, 2000), DropReason::OffloadChecksumRange),
        (partial(u16::MAX, u16::MAX), DropReason::OffloadChecksumRange),
        (partial(3, 6), DropReason::OffloadChecksumRange),
        (partial(14, 0), DropReason::OffloadChecksumRange),
        (partial(33, 6), DropReason::OffloadChecksumRange),
        (gso(GsoKind::Udp, 0), DropReason::OffloadGsoSize),
        (gso(GsoKind::Tcp4, 500), DropReason::OffloadGsoKind),
        (gso(GsoKind::Tcp6, 500), DropReason::OffloadGsoKind),
        (gso(GsoKind::Udp, 1), DropReason::OffloadSegments),
    ] {
        outside.receive_as(ipv4(header(Protocol::UDP, 0), &datagram(9, &[0; 1400])), offload);
        outside.raises(&[], &[reason]);
    }
}

#[test]
fn a_loopback_that_is_full_drops_and_says_so() {
    let mut outside = Outside::new();
    let socket = outside.udp(9);
    let to = Some((OURS, 10).into());
    let send = || UdpSend {
        payload: vec![7; 1].into(),
        segment: None,
        destination: to,
        source: None,
        info: Default::default(),
    };
    let sent = outside.stack.udp_send(outside.now, socket, (0..1025).map(|_| send()));
    assert_eq!(sent, Ok(1024), "as many as the queue holds");
    assert_eq!(outside.stack.drops(DropReason::LoopbackQueueFull), 1);
}

#[test]
fn software_does_what_the_far_end_cannot() {
    let port = PortConfig { offloads: Offloads::NONE, ..PortConfig::ethernet(OUR_MAC) };
    let mut outside = Outside::with(quiet(), port);
    let socket = outside.udp(9);
    outside.send(socket, 5, THEIRS).expect("sent");
    assert_eq!(outside.sent().len(), 1);
    outside.raises(&[Counter::IpSent, Counter::UdpSent, Counter::ChecksummedInSoftware], &[]);
    let train = UdpSend {
        payload: vec![7; 5].into(),
        segment: Some(2),
        destination: Some((THEIRS, 9).into()),
        source: None,
        info: Default::default(),
    };
    outside.stack.udp_send(outside.now, socket, [train]).expect("sent");
    assert_eq!(outside.sent().len(), 3);
    outside.raises(
        &[
            Counter::IpSent,
            Counter::UdpSent,
            Counter::UdpSent,
            Counter::UdpSent,
            Counter::SegmentedInSoftware,
        ],
        &[],
    );
}

#[test]
fn an_offload_that_was_switched_off_is_done_in_software() {
    let mut outside = Outside::new();
    let socket = outside.udp(9);
    let disable = Capabilities::UDP4CSUM_TX;
    let enable = Capabilities::empty();
    outside.control(Request::SetCapabilities { name: "virt0".into(), enable, disable });
    outside.send(socket, 5, THEIRS).expect("sent");
    outside.sent();
    outside.raises(&[Counter::IpSent, Counter::UdpSent, Counter::ChecksummedInSoftware], &[]);
}

#[test]
fn a_request_for_us_is_answered_and_one_for_another_is_not() {
    let mut outside = Outside::new();
    outside.receive(arp(Operation::Request, THEIRS, OURS));
    outside.raises(&[Counter::ArpRequestsReceived, Counter::ArpRepliesSent], &[]);
    outside.receive(arp(Operation::Request, THEIRS, host(77)));
    outside.raises(&[Counter::ArpRequestsReceived], &[DropReason::ArpNotForUs]);
    outside.receive(arp(Operation::Request, THEIRS, THEIRS));
    outside.raises(&[Counter::ArpRequestsReceived], &[]);
}

#[test]
fn a_published_address_is_answered_for() {
    let mut outside = Outside::new();
    let published =
        NeighborChange { address: host(50).into(), link_address: OUR_MAC, temporary: false, published: true };
    outside.control(Request::AddNeighbor(published));
    outside.receive(arp(Operation::Request, THEIRS, host(50)));
    outside.raises(&[Counter::ArpRequestsReceived, Counter::ArpProxied], &[]);
    let sent = outside.sent();
    assert_eq!(sent[0][22..32], [0xb2, 0x0a, 0, 0, 0, 1, 10, 0, 0, 50], "the entry's addresses");
    outside.receive(arp_from(Operation::Request, (ethernet::Address([2, 0, 0, 0, 0, 66]), host(50)), OURS));
    let counters = [Counter::ArpRequestsReceived, Counter::ArpRefused, Counter::ArpRepliesSent];
    outside.raises(&counters, &[]);
}

#[test]
fn nonsense_in_arp_is_told_apart() {
    let mut outside = Outside::new();
    let mut tokens = arp(Operation::Request, THEIRS, OURS);
    tokens.truncate(41);
    outside.receive(tokens);
    outside.raises(&[], &[DropReason::ArpMalformed]);
    outside.receive(arp(Operation::Other(9), THEIRS, OURS));
    outside.raises(&[], &[DropReason::ArpMalformed]);
    for sender in [[224, 0, 0, 1], [255, 255, 255, 255], [127, 0, 0, 1]] {
        outside.receive(arp(Operation::Request, sender.into(), OURS));
        outside.raises(&[Counter::ArpRequestsReceived], &[DropReason::ArpSenderInvalid]);
    }
    let group = (ethernet::Address([1; 6]), THEIRS);
    outside.receive(arp_from(Operation::Reply, group, OURS));
    outside.raises(&[Counter::ArpRepliesReceived], &[DropReason::ArpSenderInvalid]);
    outside.set_flags(InterfaceFlags::NOARP, InterfaceFlags::empty());
    outside.receive(arp(Operation::Request, THEIRS, OURS));
    outside.raises(&[Counter::ArpRequestsReceived], &[DropReason::ArpDisabled]);
}

#[test]
fn a_host_with_our_address_is_answered_once_in_ten_seconds() {
    let mut outside = Outside::new();
    outside.receive(arp(Operation::Reply, OURS, host(3)));
    outside.raises(&[Counter::ArpRepliesReceived, Counter::ArpConflicts, Counter::ArpDefended], &[]);
    outside.receive(arp(Operation::Reply, OURS, host(3)));
    outside.raises(&[Counter::ArpRepliesReceived, Counter::ArpConflicts], &[]);
    outside.wait(11);
    outside.receive(arp(Operation::Request, OURS, host(3)));
    outside.raises(&[Counter::ArpRequestsReceived, Counter::ArpConflicts, Counter::ArpDefended], &[]);
}

#[test]
fn an_address_is_probed_and_announced_and_lost_to_whoever_has_it() {
    let mut outside = Outside::with(Config::default(), PortConfig::ethernet(OUR_MAC));
    outside.add_address(host(2));
    outside.raises(&[Counter::ArpProbesSent], &[]);
    outside.wait(10);
    let (probes, announcements) = ([Counter::ArpProbesSent; 2], [Counter::ArpAnnouncementsSent; 2]);
    outside.raises(&[probes, announcements].concat(), &[]);
    outside.add_address(host(3));
    outside.receive(arp(Operation::Reply, host(3), host(3)));
    outside.raises(&[Counter::ArpProbesSent, Counter::ArpRepliesReceived, Counter::ArpConflicts], &[]);
    outside.receive(arp(Operation::Request, THEIRS, host(3)));
    outside.raises(&[Counter::ArpRequestsReceived], &[DropReason::ArpNotForUs]);
}

#[test]
fn a_neighbour_that_moves_is_counted() {
    let mut outside = Outside::new();
    let elsewhere = (ethernet::Address([2, 0, 0, 0, 0, 10]), THEIRS);
    outside.receive(arp_from(Operation::Reply, elsewhere, OURS));
    outside.raises(&[Counter::ArpRepliesReceived, Counter::ArpMoved], &[]);
}

#[test]
fn packets_for_a_neighbour_that_is_asked_for_wait_in_a_bounded_queue_and_die_with_it() {
    let mut outside = Outside::with(Config { neighbor_queue: 2, ..quiet() }, PortConfig::ethernet(OUR_MAC));
    let socket = outside.udp(9);
    for _ in 0..3 {
        assert_eq!(outside.send(socket, 1, host(77)), Ok(1));
    }
    let (ip, udp) = ([Counter::IpSent; 3], [Counter::UdpSent; 3]);
    let sent = [&ip[..], &udp[..], &[Counter::ArpRequestsSent]].concat();
    outside.raises(&sent, &[DropReason::NeighborQueueFull]);
    outside.wait(5);
    outside.raises(&[Counter::ArpRequestsSent; 2], &[DropReason::NeighborUnreachable; 2]);
    assert_eq!(outside.stack.udp_take_error(socket), Ok(Some(Errno::HostUnreach)));
    assert_eq!(outside.send(socket, 1, host(77)), Err(Errno::HostDown));
    outside.raises(&[Counter::IpSent], &[DropReason::NeighborUnreachable]);
}

#[test]
fn a_full_neighbour_table_evicts_what_is_least_used_but_never_what_was_set_by_hand() {
    let mut outside = Outside::with(Config { neighbors: 2, ..quiet() }, PortConfig::ethernet(OUR_MAC));
    let by_hand = |number| NeighborChange {
        address: host(number).into(),
        link_address: THEIR_MAC,
        temporary: false,
        published: false,
    };
    outside.control(Request::AddNeighbor(by_hand(21)));
    outside.raises(&[], &[]);
    outside.control(Request::AddNeighbor(by_hand(22)));
    outside.raises(&[Counter::NeighborEvicted], &[]);
    let socket = outside.udp(9);
    assert_eq!(outside.send(socket, 1, host(77)), Err(Errno::NoBufs));
    outside.raises(&[Counter::IpSent], &[DropReason::NeighborTableFull]);
}
