//! Cutting and putting together against each other, and against those who cut to deceive.

use alloc::vec;

use proptest::prelude::*;

use super::*;

fn header(len: usize) -> Header {
    Header {
        tos: 0,
        total_len: (Header::LEN + len) as u16,
        identification: 7,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: Protocol::UDP,
        source: Ipv4Addr::new(10, 0, 0, 1),
        destination: Ipv4Addr::new(10, 0, 0, 2),
        options: Options::default(),
    }
}

/// Data in which no two places of a fragment's distance look alike.
fn data(len: usize) -> Vec<u8> {
    (0..len).map(|place| (place % 251) as u8).collect()
}

fn pieces(len: usize, mtu: u32) -> Vec<(Header, Payload)> {
    let frame = Frame { payload: Bytes::from(data(len)).into(), ..Frame::default() };
    let parts = fragments(&header(len), &frame, mtu).unwrap();
    parts.map(|(header, frame)| (header, frame.payload)).collect()
}

fn limited(bytes: u32, datagrams: u32) -> Reassembly {
    Reassembly::new(Limits { bytes, datagrams, of_peer: datagrams })
}

fn roomy() -> Reassembly {
    limited(1 << 20, 8)
}

fn receive(reassembly: &mut Reassembly, (header, payload): &(Header, Payload)) -> Outcome {
    reassembly.receive(Instant::ZERO, 1, header, payload)
}

/// The bytes of the packet, or none while it is not complete.
fn whole(outcome: Outcome) -> Option<Vec<u8>> {
    match outcome.input {
        Input::Complete { payload, .. } => Some(payload.to_bytes().to_vec()),
        Input::Kept | Input::Dropped(DropReason::Ipv4FragmentDuplicate) => None,
        Input::Dropped(reason) => panic!("{reason:?}"),
    }
}

fn refused(outcome: &Outcome) -> Option<DropReason> {
    match outcome.input {
        Input::Dropped(reason) => Some(reason),
        _ => None,
    }
}

fn given_up(fragments: u32, reason: DropReason) -> GivenUp {
    GivenUp { interface: 1, fragments, reason }
}

fn is_empty(reassembly: &Reassembly) -> bool {
    let lists = (reassembly.datagrams.len(), reassembly.order.len(), reassembly.peers.len());
    (reassembly.charged, lists) == (0, (0, 0, 0))
}

#[test]
fn fragments_fit_the_mtu_and_come_together_in_any_order() {
    for (len, mtu) in [(1481, 1500), (4000, 576), (65_515, 1500), (100, 68)] {
        let mut parts = pieces(len, mtu);
        assert!(parts.iter().all(|(header, _)| u32::from(header.total_len) <= mtu));
        parts.reverse();
        let mut reassembly = roomy();
        let complete = parts.iter().find_map(|part| whole(receive(&mut reassembly, part)));
        assert_eq!(complete, Some(data(len)));
        assert!(is_empty(&reassembly));
    }
}

#[test]
fn the_packet_has_the_header_of_the_first_fragment() {
    let mut parts = pieces(3000, 1500);
    parts[0].0.ttl = 3;
    parts.rotate_left(1);
    let mut reassembly = roomy();
    let outcome = parts.iter().map(|part| receive(&mut reassembly, part)).last().unwrap();
    let Input::Complete { header, .. } = outcome.input else { panic!("complete") };
    assert_eq!((header.ttl, header.total_len, header.is_fragment()), (3, 3020, false));
}

#[test]
fn inline_headers_stay_inline_and_payload_is_shared() {
    let payload = Bytes::from(data(3000));
    let range = payload.as_ptr_range();
    let headers = Headers::copy_from(b"8 bytes!").unwrap();
    let frame = Frame { headers, payload: payload.into(), ..Frame::default() };
    let parts: Vec<_> = fragments(&header(3008), &frame, 1500).unwrap().collect();
    let lens: Vec<_> = parts.iter().map(|(_, part)| (part.headers.len(), part.payload.len())).collect();
    assert_eq!(lens, [(8, 1472), (0, 1480), (0, 48)]);
    assert!(parts.iter().all(|(_, part)| range.contains(&part.payload.slices()[0].as_ptr())));
    let small: Vec<_> =
        fragments(&header(3008), &frame, 28).unwrap().take(2).map(|(_, part)| part.to_vec()).collect();
    assert_eq!(small, [b"8 bytes!".to_vec(), data(8)]);
}

#[test]
fn a_fragment_can_be_cut_again() {
    let again = |(header, payload): (Header, Payload)| {
        let frame = Frame { payload, ..Frame::default() };
        fragments(&header, &frame, 300)
            .unwrap()
            .map(|(header, frame)| (header, frame.payload))
            .collect::<Vec<_>>()
    };
    let parts: Vec<_> = pieces(4000, 1500).into_iter().flat_map(again).collect();
    assert_eq!(parts.iter().filter(|(header, _)| !header.more_fragments).count(), 1);
    let mut reassembly = roomy();
    assert_eq!(parts.iter().find_map(|part| whole(receive(&mut reassembly, part))), Some(data(4000)));
}

#[test]
fn later_fragments_carry_only_the_options_that_are_copied() {
    let mut options = Options::default();
    options.push(&IpOption::RouterAlert(0)).unwrap();
    options.push(&IpOption::Unknown { kind: 7 | 0x20, data: &[0; 6] }).unwrap();
    let header = Header { options, ..header(3000) };
    let frame = Frame { payload: Bytes::from(data(3000)).into(), ..Frame::default() };
    let parts: Vec<_> = fragments(&header, &frame, 1500).unwrap().collect();
    assert_eq!(parts[0].0.options, options);
    for (header, part) in &parts[1..] {
        assert_eq!(header.options.iter().collect::<Vec<_>>(), [Ok(IpOption::RouterAlert(0))]);
        assert_eq!(usize::from(header.total_len), header.header_len() + part.len());
    }
}

#[test]
fn an_mtu_without_room_is_refused() {
    let frame = Frame { payload: Bytes::from(data(100)).into(), ..Frame::default() };
    assert!(fragments(&header(100), &frame, 27).is_err_and(|reason| reason == DropReason::Ipv4MessageSize));
    assert_eq!(fragments(&header(100), &frame, 28).map(Iterator::count), Ok(13));
}

#[test]
fn an_overlap_costs_the_whole_datagram() {
    let parts = pieces(4000, 1500);
    for (offset, len) in [(1472, 1480), (1472, 8), (0, 1480), (0, 1488), (8, 16)] {
        let mut reassembly = roomy();
        receive(&mut reassembly, &parts[0]);
        let evil = Header { fragment_offset: offset, more_fragments: true, ..header(0) };
        let outcome = receive(&mut reassembly, &(evil, Bytes::from(vec![0xee; len]).into()));
        assert_eq!(refused(&outcome), Some(DropReason::Ipv4FragmentOverlap), "{offset}+{len}");
        assert_eq!(outcome.given_up, [given_up(1, DropReason::Ipv4FragmentOverlap)]);
        assert!(is_empty(&reassembly));
    }
}

#[test]
fn fragments_that_disagree_on_the_end_cost_the_whole_datagram() {
    let end = |offset, more_fragments, len| {
        let header = Header { fragment_offset: offset, more_fragments, ..header(0) };
        (header, Payload::from(Bytes::from(data(len))))
    };
    let stories = [
        [end(800, false, 80), end(800, false, 88)],
        [end(800, false, 80), end(880, true, 80)],
        [end(800, true, 80), end(800, false, 80)],
        [end(800, true, 80), end(400, false, 80)],
        [end(800, false, 80), end(800, true, 80)],
    ];
    for story in stories {
        let mut reassembly = roomy();
        assert_eq!(whole(receive(&mut reassembly, &story[0])), None);
        assert_eq!(refused(&receive(&mut reassembly, &story[1])), Some(DropReason::Ipv4FragmentOverlap));
        assert!(is_empty(&reassembly));
    }
}

#[test]
fn an_exact_duplicate_is_refused_and_changes_nothing() {
    let parts = pieces(4000, 1500);
    let mut reassembly = roomy();
    receive(&mut reassembly, &parts[2]);
    let charged = reassembly.charged;
    for _ in 0..3 {
        let outcome = receive(&mut reassembly, &parts[2]);
        assert_eq!(refused(&outcome), Some(DropReason::Ipv4FragmentDuplicate));
        assert!(outcome.given_up.is_empty());
    }
    assert_eq!(reassembly.charged, charged);
}

#[test]
fn a_datagram_that_takes_too_long_is_given_up_and_quoted_if_its_first_fragment_came() {
    let parts = pieces(4000, 1500);
    let mut reassembly = roomy();
    reassembly.receive(Instant::ZERO, 3, &parts[0].0, &parts[0].1);
    reassembly.receive(Instant::from_secs(29), 4, &parts[1].0, &parts[1].1);
    let other = Header { identification: 8, ..parts[1].0 };
    reassembly.receive(Instant::from_secs(1), 5, &other, &parts[1].1);
    assert_eq!(reassembly.next_deadline(), Some(Instant::from_secs(30)));
    assert!(reassembly.next_expired(Instant::from_secs(30) - Duration::from_nanos(1)).is_none());
    let expired = reassembly.next_expired(Instant::from_secs(30)).unwrap();
    let reason = DropReason::Ipv4FragmentTimeout;
    assert_eq!(expired.given_up, GivenUp { interface: 3, fragments: 2, reason });
    let (header, payload) = expired.first.unwrap();
    assert_eq!((header, payload.to_bytes()), (parts[0].0, parts[0].1.to_bytes()));
    assert!(reassembly.next_expired(Instant::from_secs(30)).is_none());
    let expired = reassembly.next_expired(Instant::from_secs(31)).unwrap();
    assert_eq!(expired.given_up, GivenUp { interface: 5, fragments: 1, reason });
    assert!(expired.first.is_none() && is_empty(&reassembly) && reassembly.next_deadline().is_none());
}

#[test]
fn the_oldest_datagram_makes_room_and_a_flood_does_not_starve_whole_ones() {
    let mut reassembly = limited(20_000, 4);
    let parts = pieces(4000, 1500);
    let (mut lost, mut complete) = (0, 0);
    for identification in 0..1_000 {
        let stray = Header { identification: 1_000 + identification, ..parts[1].0 };
        let outcome = reassembly.receive(Instant::ZERO, 1, &stray, &parts[1].1);
        lost += outcome.given_up.iter().map(|given_up| given_up.fragments).sum::<u32>();
        for part in &parts {
            let header = Header { identification, ..part.0 };
            let outcome = reassembly.receive(Instant::ZERO, 1, &header, &part.1);
            lost += outcome.given_up.iter().map(|given_up| given_up.fragments).sum::<u32>();
            complete += usize::from(whole(outcome).is_some());
        }
        assert!(reassembly.charged <= 20_000 && reassembly.datagrams.len() <= 4);
    }
    assert_eq!(complete, 1_000);
    let left: usize = reassembly.datagrams.values().map(|datagram| datagram.parts.len()).sum();
    assert_eq!(lost as usize + left, 1_000);
}

#[test]
fn a_datagram_larger_than_the_budget_is_refused_with_all_its_fragments() {
    let mut reassembly = limited(4_000, 4);
    let parts = pieces(8000, 1500);
    let outcomes: Vec<_> = parts.iter().take(3).map(|part| receive(&mut reassembly, part)).collect();
    assert_eq!(refused(&outcomes[2]), Some(DropReason::Ipv4FragmentLimit));
    assert_eq!(outcomes[2].given_up, [given_up(2, DropReason::Ipv4FragmentLimit)]);
    assert!(is_empty(&reassembly));
}

#[test]
fn a_datagram_in_too_many_fragments_is_given_up() {
    let mut reassembly = roomy();
    let parts = pieces(MAX_FRAGMENTS * 8 + 8, 28);
    let (last, most) = parts.split_last().unwrap();
    assert!(most.iter().all(|part| whole(receive(&mut reassembly, part)).is_none()));
    let outcome = receive(&mut reassembly, last);
    assert_eq!(refused(&outcome), Some(DropReason::Ipv4FragmentLimit));
    assert_eq!(outcome.given_up, [given_up(MAX_FRAGMENTS as u32, DropReason::Ipv4FragmentLimit)]);
}

#[test]
fn what_cannot_be_a_fragment_of_anything_is_malformed() {
    let part = |offset, more_fragments, protocol, len| {
        let header = Header { fragment_offset: offset, more_fragments, protocol, ..header(0) };
        (header, Payload::from(Bytes::from(data(len))))
    };
    let impossible = [
        ("past 64 KiB", part(65_528, false, Protocol::UDP, 8)),
        ("not in units of eight", part(0, true, Protocol::UDP, 9)),
        ("empty", part(8, true, Protocol::UDP, 0)),
        ("empty at the end", part(8, false, Protocol::UDP, 0)),
        ("hides TCP's flags", part(0, true, Protocol::TCP, 8)),
        ("overwrites TCP's flags", part(8, true, Protocol::TCP, 80)),
    ];
    for (what, part) in impossible {
        let mut reassembly = roomy();
        assert_eq!(
            refused(&receive(&mut reassembly, &part)),
            Some(DropReason::Ipv4FragmentMalformed),
            "{what}"
        );
        assert!(is_empty(&reassembly));
    }
    let possible = part(0, true, Protocol::TCP, 16);
    assert_eq!(refused(&receive(&mut roomy(), &possible)), None);
}

#[test]
fn a_packet_that_its_first_header_makes_too_long_is_malformed() {
    let mut parts = pieces(65_515, 1500);
    parts[0].0.options = Options::from_bytes(&[1; 8]).unwrap();
    let mut reassembly = roomy();
    let outcome = parts.iter().map(|part| receive(&mut reassembly, part)).last().unwrap();
    assert_eq!(refused(&outcome), Some(DropReason::Ipv4FragmentMalformed));
    assert_eq!(outcome.given_up, [given_up(parts.len() as u32 - 1, DropReason::Ipv4FragmentMalformed)]);
    assert!(is_empty(&reassembly));
}

#[test]
fn one_marked_fragment_marks_the_packet_and_a_mix_that_no_router_makes_is_refused() {
    let marked = |marks: [u8; 3]| {
        let mut reassembly = roomy();
        let parts = pieces(4000, 1500).into_iter().zip(marks);
        let outcomes = parts
            .map(|((header, payload), tos)| receive(&mut reassembly, &(Header { tos, ..header }, payload)));
        match outcomes.last().unwrap().input {
            Input::Complete { header, .. } => Some(header.tos),
            _ => None,
        }
    };
    assert_eq!(marked([0xb8, 0xb8, 0xb8]), Some(0xb8));
    assert_eq!(marked([0xba, 0xbb, 0xba]), Some(0xbb));
    assert_eq!(marked([0xba, 0xb9, 0xba]), Some(0xba));
    assert_eq!(marked([0xb8, 0xbb, 0xb8]), None);
    assert_eq!(marked([0xb8, 0xba, 0xb8]), None);
}

#[test]
fn a_fragment_pins_none_of_the_buffer_it_came_in() {
    let buffer = Bytes::from(vec![0; 65_536]);
    let range = buffer.as_ptr_range();
    let mut reassembly = roomy();
    let header = Header { more_fragments: true, ..header(0) };
    receive(&mut reassembly, &(header, buffer.slice(100..108).into()));
    let datagram = reassembly.datagrams.values().next().unwrap();
    assert!(!range.contains(&datagram.parts[&0].as_ptr()));
}

/// A claim on some units of a small datagram, the content being one byte all over.
#[derive(Clone, Copy, Debug)]
struct Claim {
    start: usize,
    units: usize,
    last: bool,
    content: u8,
}

fn claim() -> impl Strategy<Value = Claim> {
    (0_usize..6, 1_usize..4, prop::bool::weighted(0.3), 0_u8..2)
        .prop_map(|(start, units, last, content)| Claim { start, units, last, content })
}

/// What a list of claims that were kept amounts to, found out the slow way.
fn is_complete(kept: &[Claim]) -> bool {
    let Some(end) = kept.iter().find(|claim| claim.last).map(|claim| claim.start + claim.units) else {
        return false;
    };
    (0..end).all(|unit| kept.iter().any(|claim| (claim.start..claim.start + claim.units).contains(&unit)))
}

fn contradicts(kept: &[Claim], new: Claim) -> bool {
    let end = |claim: &Claim| claim.start + claim.units;
    kept.iter().any(|old| {
        let same =
            (old.start, old.units, old.last, old.content) == (new.start, new.units, new.last, new.content);
        let overlap = old.start < end(&new) && new.start < end(old);
        let ends = (old.last && end(&new) > end(old)) || (new.last && end(old) > end(&new));
        let twice = old.last && new.last && end(old) != end(&new);
        !same && (overlap || ends || twice)
    })
}

#[test]
fn a_sender_with_its_share_loses_its_own_oldest_and_nobody_elses() {
    let mut reassembly = Reassembly::new(Limits { bytes: 1 << 20, datagrams: 8, of_peer: 2 });
    let (first, payload) = pieces(4000, 1500).remove(0);
    let mut begin = |host: u8, identification: u16| {
        let source = Ipv4Addr::new(10, 0, 0, host);
        let fragment = (Header { source, identification, ..first }, payload.clone());
        receive(&mut reassembly, &fragment).given_up
    };
    assert_eq!([begin(9, 1), begin(1, 1), begin(1, 2)], [vec![], vec![], vec![]]);
    for identification in 3..100 {
        assert_eq!(begin(1, identification), [given_up(1, DropReason::Ipv4FragmentLimit)]);
    }
    let rest = pieces(4000, 1500).into_iter().skip(1);
    let others = rest.map(|(header, payload)| {
        let header = Header { source: Ipv4Addr::new(10, 0, 0, 9), identification: 1, ..header };
        (header, payload)
    });
    let complete = others.filter_map(|part| whole(receive(&mut reassembly, &part))).next();
    assert_eq!(complete, Some(data(4000)), "another sender's datagram is untouched");
    assert_eq!(reassembly.datagrams.len(), 2);
}

proptest! {
    #[test]
    fn any_cut_in_any_order_with_any_repetition_comes_together(
        len in 9_usize..6000,
        mtus in (28_u32..1500, 28_u32..1500),
        seed in any::<u64>(),
    ) {
        let mtus = [mtus.0.max(len as u32 / 60 + 28), mtus.1.max(len as u32 / 60 + 28)];
        let again = |(header, payload): (Header, Payload)| {
            let frame = Frame { payload, ..Frame::default() };
            fragments(&header, &frame, mtus[1]).unwrap().map(|(header, frame)| (header, frame.payload)).collect::<Vec<_>>()
        };
        let mut parts: Vec<_> = pieces(len, mtus[0]).into_iter().flat_map(again).collect();
        prop_assume!(parts.len() > 1 && parts.len() <= MAX_FRAGMENTS);
        let mut noise = seed | 1;
        let mut next = |below: usize| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (noise >> 33) as usize % below
        };
        (1..parts.len()).rev().for_each(|place| parts.swap(place, next(place + 1)));
        let mut reassembly = roomy();
        let (last, most) = parts.split_last().unwrap();
        for place in 0..most.len() {
            prop_assert_eq!(whole(receive(&mut reassembly, &most[place])), None);
            prop_assert_eq!(whole(receive(&mut reassembly, &most[next(place + 1)])), None);
        }
        prop_assert_eq!(whole(receive(&mut reassembly, last)), Some(data(len)));
        prop_assert!(is_empty(&reassembly));
    }

    #[test]
    fn it_agrees_with_a_list_of_claims(claims in prop::collection::vec(claim(), 0..40)) {
        let mut reassembly = roomy();
        let mut kept: Vec<Claim> = vec![];
        for claim in claims {
            let Claim { start, units, last, content } = claim;
            let header = Header { fragment_offset: (start * 8) as u16, more_fragments: !last, ..header(0) };
            let outcome = receive(&mut reassembly, &(header, Bytes::from(vec![content; units * 8]).into()));
            let held = reassembly.datagrams.values().map(|datagram| datagram.parts.len()).sum::<usize>();
            if contradicts(&kept, claim) {
                prop_assert_eq!(refused(&outcome), Some(DropReason::Ipv4FragmentOverlap));
                prop_assert_eq!(outcome.given_up, [given_up(kept.len() as u32, DropReason::Ipv4FragmentOverlap)]);
                kept.clear();
                continue;
            }
            let is_new = !kept.iter().any(|old| old.start == start);
            if is_new {
                kept.push(claim);
            }
            if is_complete(&kept) {
                let complete = matches!(outcome.input, Input::Complete { .. });
                prop_assert!(complete);
                kept.clear();
            } else {
                prop_assert_eq!(matches!(outcome.input, Input::Kept), is_new);
                prop_assert_eq!(held, kept.len());
            }
        }
    }

    #[test]
    fn limits_hold_and_every_fragment_is_accounted_for(
        fragments in prop::collection::vec((0_u16..6, 0_usize..12, 0_usize..300, any::<bool>(), 0_u64..20), 0..200),
    ) {
        let mut reassembly = limited(3_000, 3);
        let (mut now, mut given, mut back) = (Instant::ZERO, 0, 0);
        for (identification, start, len, more_fragments, seconds) in fragments {
            now += Duration::from_secs(seconds);
            while let Some(expired) = reassembly.next_expired(now) {
                back += expired.given_up.fragments;
            }
            let before: usize = reassembly.datagrams.values().map(|datagram| datagram.parts.len()).sum();
            let header = Header { identification, fragment_offset: (start * 8) as u16, more_fragments, ..header(0) };
            let outcome = reassembly.receive(now, 1, &header, &Bytes::from(data(len)).into());
            let lost: u32 = outcome.given_up.iter().map(|given_up| given_up.fragments).sum();
            let after: usize = reassembly.datagrams.values().map(|datagram| datagram.parts.len()).sum();
            match outcome.input {
                Input::Complete { .. } => prop_assert!(after <= before),
                Input::Dropped(_) => prop_assert_eq!(after, before - lost as usize),
                Input::Kept => prop_assert_eq!(after, before + 1 - lost as usize),
            }
            given += 1;
            back += lost;
            prop_assert!(reassembly.charged <= 3_000 && reassembly.datagrams.len() <= 3);
            let cost: usize = reassembly.datagrams.values().map(Datagram::cost).sum();
            prop_assert_eq!(reassembly.charged, cost);
            prop_assert_eq!(reassembly.order.len(), reassembly.datagrams.len());
        }
        prop_assert!(back <= given);
    }
}
