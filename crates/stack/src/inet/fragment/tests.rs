use alloc::vec;

use bytes::Bytes;
use rumpnet_wire::{ip::Protocol, ipv4::Options};

use super::*;

fn header(total: usize) -> Header {
    Header {
        tos: 0,
        total_len: (Header::LEN + total) as u16,
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

fn pieces(len: usize, mtu: u32) -> Vec<(Header, Payload)> {
    let bytes: Vec<u8> = (0..len).map(|place| place as u8).collect();
    let frame = Frame { payload: Bytes::from(bytes).into(), ..Frame::default() };
    fragments(&header(len), frame, mtu).into_iter().map(|(header, frame)| (header, frame.payload)).collect()
}

fn whole(input: Input) -> Option<Vec<u8>> {
    match input {
        Input::Complete { payload, .. } => Some(payload.to_bytes().to_vec()),
        _ => None,
    }
}

#[test]
fn fragments_fit_the_mtu_and_come_together_in_any_order() {
    for (len, mtu) in [(1481, 1500), (4000, 576), (65_515, 1500), (100, 68)] {
        let mut parts = pieces(len, mtu);
        assert!(parts.iter().all(|(header, _)| u32::from(header.total_len) <= mtu));
        parts.reverse();
        let mut reassembly = Reassembly::new(1 << 20, 8);
        let mut results = parts
            .into_iter()
            .map(|(header, part)| whole(reassembly.receive(Instant::ZERO, 1, &header, part)));
        let complete = results.find_map(|result| result).expect("the last one completes");
        assert_eq!(complete, (0..len).map(|place| place as u8).collect::<Vec<_>>());
        assert_eq!((reassembly.held, reassembly.datagrams.len()), (0, 0));
    }
}

#[test]
fn an_overlap_costs_the_whole_datagram() {
    let parts = pieces(3000, 1500);
    let mut reassembly = Reassembly::new(1 << 20, 8);
    let (first, second) = (parts[0].clone(), parts[1].clone());
    assert!(matches!(reassembly.receive(Instant::ZERO, 1, &first.0, first.1), Input::Kept));
    let mut evil = second.0;
    evil.fragment_offset -= 8;
    let answer = reassembly.receive(Instant::ZERO, 1, &evil, second.1);
    assert!(matches!(answer, Input::Dropped(DropReason::Ipv4FragmentOverlap)));
    assert_eq!(reassembly.held, 0);
}

#[test]
fn an_exact_duplicate_changes_nothing() {
    let parts = pieces(3000, 1500);
    let mut reassembly = Reassembly::new(1 << 20, 8);
    for _ in 0..3 {
        let (header, part) = parts[0].clone();
        assert!(matches!(reassembly.receive(Instant::ZERO, 1, &header, part), Input::Kept));
    }
    assert_eq!(reassembly.held, parts[0].1.len());
}

#[test]
fn a_datagram_that_takes_too_long_is_given_up() {
    let parts = pieces(3000, 1500);
    let mut reassembly = Reassembly::new(1 << 20, 8);
    reassembly.receive(Instant::ZERO, 3, &parts[0].0, parts[0].1.clone());
    assert_eq!(reassembly.next_deadline(), Some(Instant::ZERO + TIMEOUT));
    assert_eq!(reassembly.next_expired(Instant::ZERO), None);
    assert_eq!(reassembly.next_expired(Instant::ZERO + TIMEOUT), Some(3));
    assert_eq!((reassembly.next_deadline(), reassembly.held), (None, 0));
}

#[test]
fn memory_and_datagrams_are_limited() {
    let mut reassembly = Reassembly::new(4000, 2);
    for identification in 0..100 {
        let (mut header, part) = pieces(3000, 1500)[0].clone();
        header.identification = identification;
        reassembly.receive(
            Instant::ZERO + Duration::from_millis(u64::from(identification)),
            1,
            &header,
            part,
        );
        assert!(reassembly.held <= 4000 && reassembly.datagrams.len() <= 2);
    }
}

#[test]
fn a_fragment_past_64_kib_or_of_an_odd_length_is_malformed() {
    let mut reassembly = Reassembly::new(1 << 20, 8);
    let mut far = header(8);
    far.fragment_offset = 65_528;
    far.more_fragments = true;
    let odd = Header { more_fragments: true, ..header(9) };
    for (header, len) in [(far, 8), (odd, 9)] {
        let answer = reassembly.receive(Instant::ZERO, 1, &header, Bytes::from(vec![0; len]).into());
        assert!(matches!(answer, Input::Dropped(DropReason::Ipv4FragmentMalformed)));
    }
}
