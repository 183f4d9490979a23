//! One stack and a host made by hand that sends it fragments.

use std::net::Ipv4Addr;

use rumpnet_proto::{AddressChange, DropReason, Request};
use rumpnet_stack::buffer::{Offload, Received};
use rumpnet_stack::time::{Duration, Instant};
use rumpnet_stack::{Config, PortConfig, Stack};
use rumpnet_wire::icmpv4::{Message, TimeExceededCode};
use rumpnet_wire::ip::Protocol;
use rumpnet_wire::{arp, ethernet, ipv4};

const OURS: (ethernet::Address, Ipv4Addr) =
    (ethernet::Address([0xb2, 0x0a, 0, 0, 0, 1]), Ipv4Addr::new(10, 0, 0, 1));
const THEIRS: (ethernet::Address, Ipv4Addr) =
    (ethernet::Address([0xb2, 0x0a, 0, 0, 0, 9]), Ipv4Addr::new(10, 0, 0, 9));

/// A stack that has heard of the other host by being asked for its own address.
fn stack() -> Stack {
    let mut stack = Stack::boot(Config::default(), [7; 16], Instant::ZERO);
    stack.create_interface(Instant::ZERO, "virt0", PortConfig::ethernet(OURS.0)).expect("room");
    let address = OURS.1.into();
    let change = AddressChange { address, prefix_len: Some(24), broadcast: None, peer: None, alias: false };
    stack
        .control(Instant::ZERO, Request::AddAddress { name: "virt0".into(), change })
        .expect("a good address");
    let request = arp::Packet {
        operation: arp::Operation::Request,
        sender_hardware: THEIRS.0,
        sender_protocol: THEIRS.1,
        target_hardware: ethernet::Address([0; 6]),
        target_protocol: OURS.1,
    };
    receive(&mut stack, Instant::ZERO, ethernet::EtherType::ARP, &request.to_bytes());
    stack
}

fn receive(stack: &mut Stack, now: Instant, ethertype: ethernet::EtherType, packet: &[u8]) {
    let header = ethernet::Header { destination: OURS.0, source: THEIRS.0, ethertype };
    let frame = [&header.to_bytes()[..], packet].concat();
    stack.receive(now, 0, [Received::new(frame.into(), Offload::default())]);
}

/// A fragment of a UDP datagram, at an offset.
fn fragment(fragment_offset: u16, more_fragments: bool, payload: &[u8]) -> Vec<u8> {
    let header = ipv4::Header {
        tos: 0,
        total_len: (ipv4::Header::LEN + payload.len()) as u16,
        identification: 99,
        dont_fragment: false,
        more_fragments,
        fragment_offset,
        ttl: 64,
        protocol: Protocol::UDP,
        source: THEIRS.1,
        destination: OURS.1,
        options: ipv4::Options::default(),
    };
    let mut packet = vec![0; ipv4::Header::LEN];
    header.emit(&mut packet).expect("room");
    [packet, payload.to_vec()].concat()
}

/// The ICMP messages that the stack sends until `end`, with their data.
fn messages_until(stack: &mut Stack, end: Instant) -> Vec<(Message, Vec<u8>)> {
    let mut messages = vec![];
    loop {
        while let Some(frame) = stack.next_frame(0) {
            let bytes = frame.to_vec();
            let (ethernet, rest) = ethernet::Header::parse(&bytes).expect("Ethernet");
            if ethernet.ethertype == ethernet::EtherType::IPV4 {
                let (_, rest) = ipv4::Header::parse(rest).expect("IPv4");
                let (message, data) = Message::parse(rest).expect("ICMP");
                messages.push((message, data.to_vec()));
            }
        }
        match stack.next_deadline().filter(|next| *next <= end) {
            Some(next) => stack.on_timeout(next),
            None => return messages,
        }
    }
}

#[test]
fn the_sender_of_a_first_fragment_is_told_when_the_others_never_come() {
    let mut stack = stack();
    let first = fragment(0, true, &[5; 1480]);
    receive(&mut stack, Instant::ZERO, ethernet::EtherType::IPV4, &first);
    assert_eq!(messages_until(&mut stack, Instant::from_millis(29_999)), []);
    let messages = messages_until(&mut stack, Instant::from_secs(30));
    let [(Message::TimeExceeded { code: TimeExceededCode::REASSEMBLY }, quoted)] = &messages[..] else {
        panic!("{messages:?}")
    };
    assert_eq!(quoted[..28], first[..28]);
    assert_eq!(stack.drops(DropReason::Ipv4FragmentTimeout), 1);
}

#[test]
fn nobody_is_told_when_the_first_fragment_never_came_and_each_fragment_is_counted() {
    let mut stack = stack();
    for offset in [1480, 2960] {
        receive(&mut stack, Instant::ZERO, ethernet::EtherType::IPV4, &fragment(offset, true, &[5; 1480]));
    }
    let end = Instant::ZERO + Duration::from_secs(31);
    assert_eq!(messages_until(&mut stack, end), []);
    assert_eq!(stack.drops(DropReason::Ipv4FragmentTimeout), 2);
}

#[test]
fn fragments_that_overlap_are_all_counted() {
    let mut stack = stack();
    receive(&mut stack, Instant::ZERO, ethernet::EtherType::IPV4, &fragment(0, true, &[5; 1480]));
    receive(&mut stack, Instant::ZERO, ethernet::EtherType::IPV4, &fragment(1472, false, &[6; 80]));
    assert_eq!(stack.drops(DropReason::Ipv4FragmentOverlap), 2);
    assert_eq!(messages_until(&mut stack, Instant::from_secs(60)), []);
}
