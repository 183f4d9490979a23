//! Every counter and every reason of groups and IGMP, raised by packets from outside and by senders inside.

use std::net::Ipv4Addr;

use rumpnet_proto::{
    Counter, DropReason, Errno, GroupChange, GroupInterface, InterfaceFlags, Membership, MulticastOption,
    Request, SourceFilter,
};
use rumpnet_stack::{Config, Endpoint, PortConfig, slab::Key};
use rumpnet_wire::{
    checksum::Sum,
    ethernet::{self, EtherType},
    igmp::Message,
    ip::Protocol,
    ipv4::{self as format, IpOption, Options},
    multicast::QueryExtension,
};

mod outside;

use outside::{OUR_MAC, OURS, Outside, THEIR_MAC, THEIRS, datagram, frame, header, packet, quiet};

const ALL: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
const G: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const RECEIVED: [Counter; 2] = [Counter::IpReceived, Counter::IpDelivered];
const HEARD: [Counter; 3] = [Counter::IpReceived, Counter::IpDelivered, Counter::IgmpReceived];

/// A packet to a group, in the frame that its group maps to.
fn to_group(header: format::Header, payload: &[u8]) -> Vec<u8> {
    let to = ethernet::Address::multicast_v4(header.destination);
    frame(to, THEIR_MAC, EtherType::IPV4, &packet(header, payload))
}

fn igmp_header(to: Ipv4Addr) -> format::Header {
    let mut options = Options::default();
    options.push(&IpOption::RouterAlert(0)).expect("room");
    format::Header { destination: to, ttl: 1, options, ..header(Protocol::IGMP, 0) }
}

fn message(message: Message, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; message.header_len()];
    message.emit(*Sum::new().add(data), &mut bytes).expect("room");
    [&bytes[..], data].concat()
}

fn query_v2(group: Ipv4Addr, max_response: u8) -> Vec<u8> {
    message(Message::Query { max_response, group, extension: None }, &[])
}

fn query_v3(group: Ipv4Addr, sources: &[Ipv4Addr]) -> Vec<u8> {
    let data: Vec<u8> = sources.iter().flat_map(|source| source.octets()).collect();
    let extension =
        QueryExtension { suppress: false, robustness: 2, interval_code: 125, sources: sources.len() as u16 };
    message(Message::Query { max_response: 10, group, extension: Some(extension) }, &data)
}

fn change(outside: &mut Outside, socket: Key, group: Ipv4Addr, membership: Membership) -> Result<(), Errno> {
    let change = GroupChange { group, interface: GroupInterface::Unspecified, membership };
    outside.stack.change_group(outside.now, Endpoint::Udp(socket), &change)
}

/// A stack with a socket at port 9 that is in the group, of which it has told.
fn joined() -> (Outside, Key) {
    let mut outside = Outside::new();
    let socket = outside.udp(9);
    change(&mut outside, socket, G, Membership::Join).expect("a group");
    outside.wait(20);
    outside.forget();
    (outside, socket)
}

#[test]
fn a_datagram_to_a_group_is_refused_at_the_step_that_does_not_want_it() {
    let (mut outside, socket) = joined();
    let to = |destination| format::Header { destination, ttl: 3, ..header(Protocol::UDP, 0) };
    let mut plain = datagram(9, b"x");
    plain[6..8].fill(0);
    outside.receive(to_group(to(G), &plain));
    let delivered = [Counter::UdpReceived, Counter::UdpBroadcastReceived, Counter::UdpDelivered];
    outside.raises(&[&RECEIVED[..], &delivered].concat(), &[]);
    outside.receive(to_group(to(Ipv4Addr::new(239, 1, 2, 4)), &plain));
    outside.raises(&[], &[DropReason::LinkMulticastNotJoined]);
    // The same Ethernet address, another group.
    let twin = Ipv4Addr::new(224, 1, 2, 3);
    outside.receive(to_group(to(twin), &plain));
    outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4GroupNotJoined]);
    outside.control(Request::Sysctl { name: "net.inet.ip.forwarding".into(), value: Some(1) });
    outside.receive(to_group(to(twin), &plain));
    outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4MulticastNotForwarded]);
    outside.receive(to_group(format::Header { ttl: 1, ..to(twin) }, &plain));
    outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4GroupNotJoined]);
    change(&mut outside, socket, G, Membership::Block(THEIRS)).expect("joined");
    outside.wait(20);
    outside.forget();
    outside.receive(to_group(to(G), &plain));
    outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4GroupSourceFiltered]);
    // Another socket, at another port, wants that source.
    let other = outside.udp(10);
    change(&mut outside, other, G, Membership::Join).expect("a group");
    outside.wait(20);
    outside.forget();
    outside.receive(to_group(to(G), &plain));
    let arrived = [&RECEIVED[..], &delivered[..2]].concat();
    outside.raises(&arrived, &[DropReason::UdpSourceFiltered]);
}

#[test]
fn with_promiscuity_frames_of_all_groups_pass_and_packets_do_not() {
    let (mut outside, _) = joined();
    outside.set_flags(InterfaceFlags::PROMISC, InterfaceFlags::empty());
    outside.receive(to_group(
        format::Header { destination: [239, 9, 9, 9].into(), ..header(Protocol::UDP, 0) },
        b"",
    ));
    outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4GroupNotJoined]);
}

#[test]
fn tcp_is_not_spoken_with_groups() {
    let (mut outside, _) = joined();
    outside.receive(to_group(format::Header { destination: G, ..header(Protocol::TCP, 0) }, &[0; 20]));
    outside.raises(&RECEIVED, &[DropReason::TcpToMany]);
    let socket = outside.stack.tcp_open().expect("room");
    assert_eq!(outside.stack.tcp_connect(outside.now, socket, (G, 80).into()), Err(Errno::NetUnreach));
    let endpoint = Endpoint::Tcp(socket);
    let join = GroupChange { group: G, interface: GroupInterface::Unspecified, membership: Membership::Join };
    assert_eq!(outside.stack.change_group(outside.now, endpoint, &join), Err(Errno::Proto));
    assert_eq!(outside.stack.multicast_settings(endpoint), Err(Errno::Proto));
}

#[test]
fn messages_that_are_not_to_be_believed_are_told_apart() {
    let (mut outside, _) = joined();
    let good = || igmp_header(ALL);
    let bare = || format::Header { options: Options::default(), ..good() };
    let spoiled = || {
        let mut query = query_v3(Ipv4Addr::UNSPECIFIED, &[]);
        query[1] ^= 1;
        query
    };
    let report = |group| message(Message::ReportV2 { group }, &[]);
    let ten = message(Message::Query { max_response: 10, group: [0; 4].into(), extension: None }, &[0; 2]);
    let general = || query_v3(Ipv4Addr::UNSPECIFIED, &[]);
    for (header, message, reason) in [
        (good(), vec![0x11, 0, 0, 0], DropReason::IgmpTruncated),
        (good(), ten, DropReason::IgmpTruncated),
        (good(), spoiled(), DropReason::IgmpChecksum),
        (format::Header { ttl: 2, ..good() }, general(), DropReason::IgmpTtl),
        (bare(), general(), DropReason::IgmpNoRouterAlert),
        (bare(), query_v2(Ipv4Addr::UNSPECIFIED, 10), DropReason::IgmpNoRouterAlert),
        (igmp_header(G), general(), DropReason::IgmpDestinationInvalid),
        (good(), query_v3(THEIRS, &[]), DropReason::IgmpGroupInvalid),
        (good(), message(Message::Leave { group: G }, &[]), DropReason::IgmpForRouters),
        (good(), message(Message::ReportV3 { records: 0 }, &[]), DropReason::IgmpForRouters),
        (
            good(),
            message(Message::Unknown { kind: 0x13, code: 1, content: [0; 4] }, &[]),
            DropReason::IgmpUnknownType,
        ),
        (format::Header { destination: G, ..bare() }, report(G), DropReason::IgmpNoRouterAlert),
        (good(), report(G), DropReason::IgmpDestinationInvalid),
        (igmp_header(G), report(OURS), DropReason::IgmpGroupInvalid),
        (
            format::Header { source: [10, 9, 9, 9].into(), ..igmp_header(G) },
            report(G),
            DropReason::IgmpSourceInvalid,
        ),
        (
            format::Header { source: [0; 4].into(), ..igmp_header(G) },
            report(G),
            DropReason::IgmpSourceInvalid,
        ),
    ] {
        outside.receive(to_group(header, &message));
        outside.raises(&HEARD, &[reason]);
    }
}

#[test]
fn a_query_is_counted_by_its_version_and_answered_once() {
    let (mut outside, _) = joined();
    outside.receive(to_group(igmp_header(ALL), &query_v3(Ipv4Addr::UNSPECIFIED, &[])));
    outside.raises(&[&HEARD[..], &[Counter::IgmpQueriesReceived]].concat(), &[]);
    outside.wait(2);
    outside.raises(&[Counter::IgmpReportsSent, Counter::IpSent], &[]);
    let many: Vec<_> = (0..200).map(|last| Ipv4Addr::new(192, 0, 2, last)).collect();
    outside.receive(to_group(igmp_header(G), &query_v3(G, &many)));
    outside
        .raises(&[&HEARD[..], &[Counter::IgmpQueriesReceived, Counter::IgmpQueriesOverflowed]].concat(), &[]);
    outside.wait(2);
    outside.raises(&[Counter::IgmpReportsSent, Counter::IpSent], &[]);
    outside.receive(to_group(igmp_header(ALL), &query_v2(Ipv4Addr::UNSPECIFIED, 100)));
    outside.raises(
        &[&HEARD[..], &[Counter::IgmpQueriesReceived, Counter::IgmpOlderQueriesReceived]].concat(),
        &[],
    );
    outside.wait(11);
    outside.raises(&[Counter::IgmpReportsSent, Counter::IpSent], &[]);
}

#[test]
fn in_version_two_anothers_report_spares_ours_and_the_last_to_speak_takes_it_back() {
    let (mut outside, socket) = joined();
    let general = || to_group(igmp_header(ALL), &query_v2(Ipv4Addr::UNSPECIFIED, 100));
    outside.receive(general());
    // The walk that gives each group its time.
    outside.expire();
    outside.forget();
    outside.receive(to_group(igmp_header(G), &message(Message::ReportV2 { group: G }, &[])));
    outside
        .raises(&[&HEARD[..], &[Counter::IgmpReportsReceived, Counter::IgmpReportsSuppressed]].concat(), &[]);
    outside.wait(11);
    outside.raises(&[], &[]);
    outside.receive(general());
    outside.wait(11);
    outside.forget();
    change(&mut outside, socket, G, Membership::Leave).expect("joined");
    outside.wait(1);
    outside.raises(&[Counter::IgmpLeavesSent, Counter::IpSent], &[]);
}

#[test]
fn what_is_sent_to_a_group_of_ours_comes_back_and_without_life_does_not_leave() {
    let (mut outside, socket) = joined();
    assert_eq!(outside.send(socket, 3, G), Ok(1));
    let delivered =
        [Counter::UdpReceived, Counter::UdpBroadcastReceived, Counter::UdpDelivered, Counter::UdpSent];
    let looped = [&RECEIVED[..], &delivered, &[Counter::IpSent, Counter::IpMulticastLooped]].concat();
    outside.raises(&looped, &[]);
    assert_eq!(outside.sent().len(), 1);
    outside.stack.set_multicast_option(Endpoint::Udp(socket), MulticastOption::Ttl(0)).expect("open");
    assert_eq!(outside.send(socket, 3, G), Ok(1));
    outside.raises(&[&looped[..], &[Counter::IpMulticastKept]].concat(), &[]);
    assert_eq!(outside.sent().len(), 0);
    outside.stack.set_multicast_option(Endpoint::Udp(socket), MulticastOption::Loop(false)).expect("open");
    assert_eq!(outside.send(socket, 3, G), Ok(1));
    outside.raises(&[Counter::UdpSent, Counter::IpSent, Counter::IpMulticastKept], &[]);
}

#[test]
fn memberships_end_at_their_limits() {
    let config = Config { groups: 5, memberships: 2, group_sources: 2, ..quiet() };
    let mut outside = Outside::with(config, PortConfig::ethernet(OUR_MAC));
    let group = |last| Ipv4Addr::new(239, 0, 0, last);
    let (one, two) = (outside.udp(9), outside.udp(10));
    assert_eq!(change(&mut outside, one, group(1), Membership::Join), Ok(()));
    assert_eq!(change(&mut outside, one, group(2), Membership::Join), Ok(()));
    assert_eq!(change(&mut outside, one, group(3), Membership::Join), Err(Errno::NoBufs), "of one socket");
    // The group of all hosts is there twice: on the loopback, and here.
    assert_eq!(change(&mut outside, two, group(3), Membership::Join), Ok(()));
    assert_eq!(change(&mut outside, two, group(4), Membership::Join), Err(Errno::NoBufs), "of the kernel");
    assert_eq!(change(&mut outside, two, group(1), Membership::Join), Ok(()), "which is there already");
    let source = |last| Ipv4Addr::new(10, 0, 0, last);
    assert_eq!(change(&mut outside, one, group(1), Membership::Block(source(7))), Ok(()));
    assert_eq!(change(&mut outside, one, group(1), Membership::Block(source(8))), Ok(()));
    assert_eq!(change(&mut outside, one, group(1), Membership::Block(source(9))), Err(Errno::NoBufs));
    let three = SourceFilter::include([source(1), source(2), source(3)]);
    assert_eq!(change(&mut outside, one, group(1), Membership::Filter(three)), Err(Errno::NoBufs));
}

#[test]
fn a_closed_socket_and_a_gone_interface_leave_nothing_behind() {
    let (mut outside, socket) = joined();
    (0..200).for_each(|last| {
        change(&mut outside, socket, Ipv4Addr::new(239, 7, 7, last), Membership::Join).expect("room");
    });
    outside.wait(20);
    outside.stack.udp_close(socket).expect("open");
    outside.wait(20);
    let rumpnet_proto::Reply::Groups { groups, next: None } =
        outside.control(Request::Groups { after: None })
    else {
        panic!("groups")
    };
    assert_eq!(groups.iter().map(|group| group.group).collect::<Vec<_>>(), [ALL, ALL]);
    let other = outside.udp(11);
    change(&mut outside, other, G, Membership::Join).expect("a group");
    let index = GroupInterface::Index(2);
    outside
        .stack
        .set_multicast_option(Endpoint::Udp(other), MulticastOption::Interface(index))
        .expect("there");
    outside.stack.destroy_interface(outside.now, "virt0").expect("there");
    outside.wait(20);
    assert_eq!(outside.stack.multicast_settings(Endpoint::Udp(other)), Ok(Default::default()));
    assert_eq!(change(&mut outside, other, G, Membership::Leave), Err(Errno::NoDev));
}
