//! Multicast groups: reports, queries and their timers in all versions, and which socket hears what.

use std::{net::Ipv4Addr, time::Duration};

use rumpnet_sim::{
    Config, Heard, Host, UdpSocket, World,
    proto::{Counter, DropReason, GroupInterface, InterfaceFlags, Request, SourceFilter},
    scenario,
    wire::{
        checksum::Sum,
        ethernet::{self, EtherType},
        igmp::Message,
        ip::Protocol,
        ipv4::{self, IpOption, Options},
        multicast::{QueryExtension, RecordKind, Records},
    },
};

mod support;

use support::{A, B, Pair, S, S_LINK, Visited, bound, frame, header, ms, packet, secs, udp_packet};

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const ALL: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
const REPORTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
const ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
const G: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const H: Ipv4Addr = Ipv4Addr::new(239, 4, 5, 6);

use RecordKind::{
    AllowNewSources as Allow, BlockOldSources as Block, ChangeToExclude as ToEx, ChangeToInclude as ToIn,
    ModeIsExclude as IsEx, ModeIsInclude as IsIn,
};

/// What a host said of its groups: when, to whom, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    time: Duration,
    to: Ipv4Addr,
    from: Ipv4Addr,
    message: Message,
    records: Vec<(RecordKind, Ipv4Addr, Vec<Ipv4Addr>)>,
}

/// What was said of groups, in frames and packets as RFC 3376 section 4 wants them.
fn said(heard: &[Heard]) -> Vec<Said> {
    heard.iter().filter_map(said_in).collect()
}

fn said_in(heard: &Heard) -> Option<Said> {
    let (link, rest) = ethernet::Header::parse(&heard.bytes).expect("a frame");
    let (header, payload) =
        (link.ethertype == EtherType::IPV4).then(|| ipv4::Header::parse(rest).expect("well formed"))?;
    if header.protocol != Protocol::IGMP {
        return None;
    }
    assert_eq!(link.destination, ethernet::Address::multicast_v4(header.destination));
    assert_eq!((header.ttl, header.tos), (1, 0xc0));
    assert_eq!(header.options.iter().next(), Some(Ok(IpOption::RouterAlert(0))));
    let (message, data) = Message::parse(payload).expect("a good checksum");
    let count = if let Message::ReportV3 { records } = message { records } else { 0 };
    let records = Records::<Ipv4Addr>::new(count, data).map(|record| record.expect("whole"));
    let records =
        records.map(|(record, sources)| (record.kind, record.group, sources.iter().collect())).collect();
    Some(Said { time: heard.time, to: header.destination, from: header.source, message, records })
}

/// The records of all reports.
fn records(heard: &[Heard]) -> Vec<(RecordKind, Ipv4Addr, Vec<Ipv4Addr>)> {
    said(heard).into_iter().flat_map(|said| said.records).collect()
}

fn source(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

/// A socket at port 9 of all addresses that is in a group.
fn joined(host: &Host, group: Ipv4Addr) -> UdpSocket {
    let socket = bound(host, "0.0.0.0:0");
    socket.join_multicast_v4(group, ANY).expect("a group");
    socket
}

/// Waits so long and returns what the stranger heard.
fn after(world: &World, visited: &Visited, wait: Duration) -> Vec<Heard> {
    world.run_for(wait);
    visited.stranger.heard()
}

/// A query from the stranger.
fn query(visited: &Visited, to: Ipv4Addr, message: Message, sources: &[Ipv4Addr]) {
    let data: Vec<u8> = sources.iter().flat_map(|source| source.octets()).collect();
    let mut bytes = vec![0; message.header_len()];
    message.emit(*Sum::new().add(&data), &mut bytes).expect("room");
    bytes.extend(data);
    let mut options = Options::default();
    options.push(&IpOption::RouterAlert(0)).expect("room");
    let plain = header(S, to, Protocol::IGMP, bytes.len() + 4);
    let packet = packet(&ipv4::Header { ttl: 1, options, ..plain }, &bytes);
    visited.stranger.send(frame(ethernet::Address::multicast_v4(to), S_LINK, EtherType::IPV4, &packet));
}

/// A version 3 query with so many tenths of a second to answer.
fn query_v3(visited: &Visited, group: Ipv4Addr, max_response: u8, robustness: u8, sources: &[Ipv4Addr]) {
    let extension =
        QueryExtension { suppress: false, robustness, interval_code: 125, sources: sources.len() as u16 };
    let to = if group.is_unspecified() { ALL } else { group };
    query(visited, to, Message::Query { max_response, group, extension: Some(extension) }, sources);
}

fn query_older(visited: &Visited, group: Ipv4Addr, max_response: u8) {
    let to = if group.is_unspecified() { ALL } else { group };
    query(visited, to, Message::Query { max_response, group, extension: None }, &[]);
}

#[test]
fn a_join_and_a_leave_are_each_told_at_once_and_once_more_within_a_second() {
    scenario(|world| {
        let visited = Visited::new(world);
        let began = world.now();
        let socket = joined(&visited.a, G);
        let told = said(&after(world, &visited, secs(30)));
        assert_eq!(told.len(), 2, "{told:?}");
        for report in &told {
            assert_eq!((report.to, report.from), (REPORTS, A));
            assert_eq!(report.records, [(ToEx, G, vec![])]);
        }
        assert!(told[0].time - began < ms(2) && told[1].time - told[0].time <= secs(1), "{told:?}");
        socket.leave_multicast_v4(G, ANY).expect("joined");
        assert_eq!(records(&after(world, &visited, secs(30))), [(ToIn, G, vec![]), (ToIn, G, vec![])]);
    });
}

#[test]
fn only_what_the_sum_of_all_sockets_wants_is_told() {
    scenario(|world| {
        let visited = Visited::new(world);
        let one = joined(&visited.a, G);
        after(world, &visited, secs(5));
        let two = joined(&visited.a, G);
        assert_eq!(records(&after(world, &visited, secs(5))), [], "it was joined before");
        one.block_source_v4(&source(7), &G, ANY).expect("joined");
        assert_eq!(records(&after(world, &visited, secs(5))), [], "the other one wants it");
        two.block_source_v4(&source(7), &G, ANY).expect("joined");
        assert_eq!(records(&after(world, &visited, secs(5))), vec![(Block, G, vec![source(7)]); 2]);
        drop(one);
        assert_eq!(records(&after(world, &visited, secs(5))), []);
        two.unblock_source_v4(&source(7), &G, ANY).expect("blocked");
        assert_eq!(records(&after(world, &visited, secs(5))), vec![(Allow, G, vec![source(7)]); 2]);
        drop(two);
        assert_eq!(records(&after(world, &visited, secs(5))), vec![(ToIn, G, vec![]); 2], "closed");
    });
}

#[test]
fn sources_are_joined_and_left_one_by_one() {
    scenario(|world| {
        let visited = Visited::new(world);
        let socket = bound(&visited.a, "0.0.0.0:9");
        socket.join_ssm_v4(&source(7), &G, ANY).expect("room");
        assert_eq!(records(&after(world, &visited, secs(5))), vec![(Allow, G, vec![source(7)]); 2]);
        socket.set_source_filter_v4(&G, ANY, SourceFilter::include([source(8), source(9)])).expect("joined");
        let told = records(&after(world, &visited, secs(5)));
        let once = [(Allow, G, vec![source(8), source(9)]), (Block, G, vec![source(7)])];
        assert_eq!(told, [once.clone(), once].concat());
        socket.set_source_filter_v4(&G, ANY, SourceFilter::exclude([source(8)])).expect("joined");
        assert_eq!(records(&after(world, &visited, secs(5))), vec![(ToEx, G, vec![source(8)]); 2]);
        assert_eq!(socket.source_filter_v4(&G, ANY).expect("joined"), SourceFilter::exclude([source(8)]));
        socket.set_source_filter_v4(&G, ANY, SourceFilter::default()).expect("joined");
        assert_eq!(records(&after(world, &visited, secs(5))), vec![(ToIn, G, vec![]); 2]);
        assert!(socket.source_filter_v4(&G, ANY).is_err());
    });
}

#[test]
fn a_querier_says_how_often_changes_are_told() {
    scenario(|world| {
        let visited = Visited::new(world);
        query_v3(&visited, ANY, 10, 5, &[]);
        after(world, &visited, secs(5));
        let _socket = joined(&visited.a, G);
        assert_eq!(records(&after(world, &visited, secs(10))), vec![(ToEx, G, vec![]); 5]);
    });
}

#[test]
fn changes_while_one_is_still_being_told_go_along_with_it() {
    scenario(|world| {
        let visited = Visited::new(world);
        let socket = joined(&visited.a, G);
        world.run_for(ms(1));
        socket.block_source_v4(&source(7), &G, ANY).expect("joined");
        let told = records(&after(world, &visited, secs(5)));
        // The mode has still to be told once, with the sources as they are by then; the source then once more.
        assert_eq!(told, [(ToEx, G, vec![]), (ToEx, G, vec![source(7)]), (Block, G, vec![source(7)])]);
    });
}

#[test]
fn a_general_query_is_answered_once_for_all_groups_within_its_time() {
    scenario(|world| {
        let visited = Visited::new(world);
        let (_one, two) = (joined(&visited.a, G), bound(&visited.a, "0.0.0.0:9"));
        two.join_ssm_v4(&source(7), &H, ANY).expect("room");
        two.join_multicast_v4(ALL, ANY).expect("also that one");
        after(world, &visited, secs(10));
        let began = world.now();
        query_v3(&visited, ANY, 100, 2, &[]);
        query_v3(&visited, ANY, 100, 2, &[]);
        let told = said(&after(world, &visited, secs(60)));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].time - began <= secs(10), "{told:?}");
        assert_eq!(told[0].records, [(IsEx, G, vec![]), (IsIn, H, vec![source(7)])], "and none of all hosts");
    });
}

#[test]
fn answers_come_at_random_times() {
    scenario(|world| {
        let visited = Visited::new(world);
        let _socket = joined(&visited.a, G);
        after(world, &visited, secs(10));
        let mut waits: Vec<_> = (0..20)
            .map(|_| {
                let began = world.now();
                query_v3(&visited, ANY, 100, 2, &[]);
                said(&after(world, &visited, secs(11)))[0].time - began
            })
            .collect();
        waits.sort_unstable();
        assert!(waits[19] <= secs(10) && waits[0] < secs(3) && waits[19] > secs(7), "{waits:?}");
    });
}

#[test]
fn a_query_about_a_group_is_answered_for_it_and_one_about_sources_for_those_wanted() {
    scenario(|world| {
        let visited = Visited::new(world);
        let socket = joined(&visited.a, G);
        socket.block_source_v4(&source(7), &G, ANY).expect("joined");
        after(world, &visited, secs(10));
        query_v3(&visited, G, 10, 2, &[]);
        assert_eq!(records(&after(world, &visited, secs(2))), [(IsEx, G, vec![source(7)])]);
        query_v3(&visited, G, 10, 2, &[source(7), source(8)]);
        query_v3(&visited, G, 10, 2, &[source(9)]);
        assert_eq!(records(&after(world, &visited, secs(2))), [(IsIn, G, vec![source(8), source(9)])]);
        query_v3(&visited, G, 10, 2, &[source(7)]);
        assert_eq!(records(&after(world, &visited, secs(2))), [], "nothing of it is wanted");
        // A general answer that comes sooner spares it.
        query_v3(&visited, ANY, 1, 2, &[]);
        query_v3(&visited, G, 255, 2, &[]);
        assert_eq!(records(&after(world, &visited, secs(3600))), [(IsEx, G, vec![source(7)])]);
        assert_eq!(visited.a.drops(DropReason::LinkMulticastNotJoined), 0);
    });
}

#[test]
fn a_version_two_querier_is_answered_in_its_version_until_it_is_silent_for_long_enough() {
    scenario(|world| {
        let visited = Visited::new(world);
        let socket = joined(&visited.a, G);
        after(world, &visited, secs(10));
        let heard = world.now();
        query_older(&visited, ANY, 100);
        let told = said(&after(world, &visited, secs(20)));
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].to, told[0].message), (G, Message::ReportV2 { group: G }));
        assert!(told[0].time - heard <= secs(10));
        socket.join_multicast_v4(H, ANY).expect("room");
        let told = said(&after(world, &visited, secs(20)));
        assert!(told.iter().all(|report| report.message == Message::ReportV2 { group: H } && report.to == H));
        assert!(told.len() == 2 && told[1].time - told[0].time <= secs(10), "{told:?}");
        socket.leave_multicast_v4(H, ANY).expect("joined");
        let told = said(&after(world, &visited, secs(20)));
        assert_eq!(
            told.iter().map(|said| (said.to, said.message)).collect::<Vec<_>>(),
            [(ROUTERS, Message::Leave { group: H })]
        );
        // Older Version Querier Present: 2 times 125 s, and 10 s (RFC 3376 section 8.12).
        world.run_for(heard + secs(259) - world.now());
        query_v3(&visited, G, 1, 2, &[]);
        assert_eq!(said(&after(world, &visited, ms(500)))[0].message, Message::ReportV2 { group: G });
        world.run_for(secs(1));
        query_v3(&visited, G, 1, 2, &[]);
        assert_eq!(records(&after(world, &visited, secs(1))), [(IsEx, G, vec![])]);
    });
}

#[test]
fn a_version_one_querier_is_answered_in_its_version_and_hears_of_no_leave() {
    scenario(|world| {
        let visited = Visited::new(world);
        let socket = joined(&visited.a, G);
        after(world, &visited, secs(10));
        query_older(&visited, ANY, 0);
        // A later version 2 query changes nothing while the other counts as present.
        world.run_for(secs(20));
        query_older(&visited, ANY, 100);
        let told = said(&after(world, &visited, secs(20)));
        assert_eq!(told.len(), 2);
        assert!(
            told.iter().all(|said| said.message == Message::ReportV1 { group: G } && said.to == G),
            "{told:?}"
        );
        socket.leave_multicast_v4(G, ANY).expect("joined");
        assert_eq!(said(&after(world, &visited, secs(20))), []);
        world.run_for(secs(240));
        query_older(&visited, ANY, 1);
        world.run_for(ms(500));
        socket.join_multicast_v4(G, ANY).expect("room");
        assert_eq!(said(&after(world, &visited, secs(1)))[0].message, Message::ReportV2 { group: G });
    });
}

#[test]
fn a_change_of_version_forgets_what_was_about_to_be_said() {
    scenario(|world| {
        let visited = Visited::new(world);
        let _socket = joined(&visited.a, G);
        after(world, &visited, secs(10));
        query_v3(&visited, ANY, 255, 2, &[]);
        world.run_for(ms(10));
        query_older(&visited, G, 1);
        let told = said(&after(world, &visited, secs(4000)));
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].message, Message::ReportV2 { group: G });
    });
}

#[test]
fn groups_are_told_again_when_the_link_comes_back_and_when_the_address_changes() {
    scenario(|world| {
        let visited = Visited::new(world);
        let _socket = joined(&visited.a, G);
        after(world, &visited, secs(10));
        visited.a.sh("ifconfig virt0 down").ok();
        let _meanwhile = bound(&visited.a, "0.0.0.0:0").join_multicast_v4(H, GroupInterface::Index(2));
        assert_eq!(said(&after(world, &visited, secs(10))), []);
        visited.a.sh("ifconfig virt0 up").ok();
        assert_eq!(records(&after(world, &visited, secs(10))), vec![(ToEx, G, vec![]); 2]);
        visited.stranger.set_up(false);
        after(world, &visited, secs(10));
        visited.stranger.set_up(true);
        assert_eq!(records(&after(world, &visited, secs(10))), vec![(ToEx, G, vec![]); 2], "the carrier too");
        visited.a.sh("ifconfig virt0 inet 10.0.0.77/24").ok();
        let told = said(&after(world, &visited, secs(10)));
        assert!(told.len() == 2 && told.iter().all(|said| said.from == source(77)), "{told:?}");
        visited.a.sh("ifconfig virt0 inet 10.0.0.77 delete").ok();
        let told = said(&after(world, &visited, secs(10)));
        assert!(
            told.len() == 2 && told.iter().all(|said| said.from == ANY),
            "whoever has no address: {told:?}"
        );
    });
}

#[test]
fn ten_thousand_groups_are_told_and_answered_in_slices() {
    // once: 10,000 groups are many frames.
    let world = World::new(3);
    let config = Config { dad_count: 0, ..Config::default() };
    let a = world.host_with("a", config);
    let cable = world.cable();
    let virt = a.interface("virt0");
    cable.connect(&virt.address("10.0.0.1/24"));
    let stranger = world.stranger(&cable);
    let visited = Visited { a, cable, virt, stranger };
    world.run_for(secs(20));
    visited.stranger.heard();
    let group = |number: u32| Ipv4Addr::from(0xef00_0000 + number);
    let sockets: Vec<_> = (0..10).map(|_| bound(&visited.a, "0.0.0.0:0")).collect();
    for number in 0..10_000 {
        sockets[number as usize % 10].join_multicast_v4(group(number), ANY).expect("room");
    }
    let told = records(&after(&world, &visited, secs(10)));
    assert_eq!(told.len(), 20_000, "each twice");
    query_v3(&visited, ANY, 10, 2, &[]);
    let answered = said(&after(&world, &visited, secs(5)));
    let mut groups: Vec<_> =
        answered.iter().flat_map(|said| said.records.iter().map(|record| record.1)).collect();
    groups.dedup();
    assert_eq!(groups, (0..10_000).map(group).collect::<Vec<_>>());
    assert!(answered.len() < 100, "{} reports", answered.len());
    let hearer = bound(&visited.a, "0.0.0.0:9");
    let packet = udp_packet((S, 5), (group(9_999), 9), b"last");
    let to = ethernet::Address::multicast_v4(group(9_999));
    visited.stranger.send(frame(to, S_LINK, EtherType::IPV4, &packet));
    assert_eq!(hearer.recv(&mut [0; 8]).expect("of the last group"), 4);
    query_older(&visited, ANY, 100);
    let told = said(&after(&world, &visited, secs(12)));
    assert_eq!(told.len(), 10_000, "one by one in version 2");
    drop(sockets);
    let told = said(&after(&world, &visited, secs(12)));
    assert_eq!(told.iter().filter(|said| matches!(said.message, Message::Leave { .. })).count(), 10_000);
}

/// The stranger sends to a group at port 9.
fn tell(world: &World, visited: &Visited, from: Ipv4Addr, group: Ipv4Addr, payload: &[u8]) {
    let packet = udp_packet((from, 5), (group, 9), payload);
    visited.stranger.send(frame(ethernet::Address::multicast_v4(group), S_LINK, EtherType::IPV4, &packet));
    world.run_until_idle();
}

/// What waits in a socket, without waiting for more.
fn waiting(socket: &UdpSocket) -> Vec<Vec<u8>> {
    socket.set_nonblocking(true).expect("a switch");
    let mut buffer = [0; 2048];
    std::iter::from_fn(|| socket.recv(&mut buffer).ok().map(|len| buffer[..len].to_vec())).collect()
}

fn sharing(host: &Host, local: &str) -> UdpSocket {
    let option = rumpnet_sim::SocketOption::ReuseAddress(true);
    UdpSocket::bind_with(host, local, &[option]).expect("an address to be shared")
}

#[test]
fn a_datagram_goes_to_every_socket_that_wants_it_of_its_source() {
    scenario(|world| {
        let visited = Visited::new(world);
        let [member, filtered, picky, bystander, deaf, of_group] =
            ["0.0.0.0:9", "0.0.0.0:9", "0.0.0.0:9", "0.0.0.0:9", "0.0.0.0:9", "239.1.2.3:9"]
                .map(|local| sharing(&visited.a, local));
        member.join_multicast_v4(G, ANY).expect("a group");
        filtered.join_multicast_v4(G, ANY).expect("a group");
        filtered.block_source_v4(&source(7), &G, ANY).expect("joined");
        picky.join_ssm_v4(&source(7), &G, ANY).expect("room");
        // Linux's IP_MULTICAST_ALL is on, so that who joins nothing hears what others join.
        assert!(bystander.multicast_all_v4().expect("a switch"));
        deaf.set_multicast_all_v4(false).expect("a switch");
        tell(world, &visited, source(7), G, b"seven");
        tell(world, &visited, source(8), G, b"eight");
        let (seven, eight) = (b"seven".to_vec(), b"eight".to_vec());
        assert_eq!(waiting(&member), [seven.clone(), eight.clone()]);
        assert_eq!(waiting(&filtered), std::slice::from_ref(&eight));
        assert_eq!(waiting(&picky), std::slice::from_ref(&seven));
        assert_eq!(waiting(&bystander), [seven.clone(), eight.clone()]);
        assert_eq!(waiting(&of_group), [seven, eight]);
        assert_eq!(waiting(&deaf), Vec::<Vec<u8>>::new());
    });
}

#[test]
fn a_socket_bound_to_a_group_hears_its_peer_there_and_sends_from_an_address_of_its_own() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let socket = sharing(&visited.a, "239.1.2.3:9");
        socket.join_multicast_v4(G, ANY).expect("a group");
        socket.send_to(b"x", (S, 5)).expect("a way");
        let sent = support::packets(&after(world, &visited, ms(1)));
        assert!(
            sent.iter().any(|(header, _)| header.protocol == Protocol::UDP && header.source == A),
            "{sent:?}"
        );
        socket.connect((S, 5)).expect("a way");
        tell(world, &visited, S, G, b"peer");
        tell(world, &visited, source(8), G, b"other");
        assert_eq!(waiting(&socket), [b"peer".to_vec()]);
    });
}

#[test]
fn what_is_sent_to_a_group_is_heard_by_members_here_and_there_and_needs_no_membership() {
    scenario(|world| {
        let pair = Pair::new(world);
        let here = sharing(&pair.a, "0.0.0.0:9");
        let there = bound(&pair.b, "0.0.0.0:9");
        here.join_multicast_v4(G, ANY).expect("a group");
        there.join_multicast_v4(G, ANY).expect("a group");
        world.run_for(secs(1));
        let sender = bound(&pair.a, "0.0.0.0:0");
        assert_eq!(
            (sender.multicast_ttl_v4().expect("set"), sender.multicast_loop_v4().expect("set")),
            (1, true)
        );
        sender.send_to(b"to both", (G, 9)).expect("no membership is needed");
        let (mut buffer, _) = ([0; 64], world.run_for(ms(10)));
        let (len, meta) = there.recv_meta(&mut buffer).expect("it came");
        assert_eq!(
            (&buffer[..len], meta.ttl, meta.source.ip(), meta.destination),
            (&b"to both"[..], 1, A.into(), (G, 9).into())
        );
        assert_eq!(waiting(&here), [b"to both".to_vec()]);
        // A train, as one super-frame, and a datagram that falls apart into fragments.
        sender.send_train(vec![7; 5000].into(), 1000, Some((G, 9).into())).expect("room");
        sender.send_to(&[8; 4000], (G, 9)).expect("room");
        world.run_for(ms(10));
        for socket in [&here, &there] {
            socket.set_nonblocking(true).expect("a switch");
            let mut buffer = [0; 8192];
            let lens: Vec<_> = std::iter::from_fn(|| socket.recv(&mut buffer).ok()).collect();
            assert_eq!(lens, [1000, 1000, 1000, 1000, 1000, 4000]);
        }
        sender.set_multicast_loop_v4(false).expect("a switch");
        sender.send_to(b"there alone", (G, 9)).expect("room");
        world.run_for(ms(10));
        assert_eq!((waiting(&here).len(), waiting(&there).len()), (0, 1));
        sender.set_multicast_loop_v4(true).expect("a switch");
        sender.set_multicast_ttl_v4(0).expect("a number");
        sender.send_to(b"here alone", (G, 9)).expect("room");
        world.run_for(ms(10));
        assert_eq!((waiting(&here).len(), waiting(&there).len()), (1, 0));
    });
}

/// A router between two links, and a stranger on one of them.
#[test]
fn a_router_passes_no_group_on_and_counts_what_a_multicast_router_would() {
    scenario(|world| {
        let visited = Visited::new(world);
        let b = world.host("b");
        let cable = world.cable();
        cable.connect(&visited.a.interface("virt1").address("10.0.1.1/24"));
        cable.connect(&b.interface("virt0").address("10.0.1.2/24"));
        visited.a.sysctl("net.inet.ip.forwarding", Some(1)).expect("a variable");
        let (set, clear) = (InterfaceFlags::PROMISC, InterfaceFlags::empty());
        visited.a.control(Request::SetFlags { name: "virt0".into(), set, clear }).expect("a flag");
        world.run_for(secs(20));
        let far = bound(&b, "0.0.0.0:9");
        far.join_multicast_v4(G, ANY).expect("a group");
        world.run_for(secs(2));
        tell(world, &visited, S, G, b"x");
        tell(world, &visited, S, Ipv4Addr::new(224, 0, 0, 99), b"x");
        assert_eq!(waiting(&far).len(), 0);
        assert_eq!(visited.a.drops(DropReason::Ipv4MulticastNotForwarded), 1);
        assert_eq!(visited.a.drops(DropReason::Ipv4GroupNotJoined), 1);
        assert_eq!(visited.a.counter(Counter::IpForwarded), 0);
    });
}

#[test]
fn the_interface_is_the_chosen_one_or_that_of_the_route() {
    scenario(|world| {
        let visited = Visited::new(world);
        let cable = world.cable();
        cable.connect(&visited.a.interface("virt1").address("10.0.1.1/24"));
        let other = world.stranger(&cable);
        world.run_for(secs(20));
        other.heard();
        let socket = bound(&visited.a, "0.0.0.0:0");
        let packets = |heard: &[Heard]| {
            support::packets(heard).into_iter().filter(|(header, _)| header.protocol == Protocol::UDP).count()
        };
        let send = |socket: &UdpSocket| {
            socket.send_to(b"x", (G, 9)).expect("a way");
            world.run_until_idle();
            (packets(&visited.stranger.heard()), packets(&other.heard()))
        };
        assert_eq!(send(&socket), (1, 0), "the first");
        visited.a.sh("route add -net 239.0.0.0/8 10.0.1.9").ok();
        assert_eq!(send(&socket), (0, 1), "the route's");
        socket.set_multicast_if_v4(A).expect("an address of ours");
        assert_eq!(socket.multicast_if_v4().expect("set"), GroupInterface::Address(A));
        assert_eq!(send(&socket), (1, 0), "the chosen one");
        socket.set_multicast_if_v4(ANY).expect("back");
        socket.join_multicast_v4(H, ANY).expect("a group");
        world.run_for(secs(5));
        assert_eq!(records(&other.heard()), vec![(ToEx, H, vec![]); 2], "joined by the route's");
        socket.join_multicast_v4(H, A).expect("by another interface");
        world.run_for(secs(5));
        assert_eq!(records(&visited.stranger.heard()), vec![(ToEx, H, vec![]); 2]);
        assert!(socket.set_multicast_if_v4(B).is_err(), "no address of ours");
    });
}
