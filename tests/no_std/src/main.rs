//! A program without the standard library that boots a stack and lets it answer an ARP and an echo request.
//!
//! It has nothing but a bump allocator over a static array and three functions of the C library, which an embedded
//! system would bring itself. A dependency that pulled in `std` would not link here: there would be two panic
//! handlers. It prints the memory it took, and its exit status is 0 if every answer was right.
//! `cargo xtask no-std` builds and runs it.

#![no_std]
#![no_main]

extern crate alloc;

mod arena;
mod host;

use alloc::{format, vec::Vec};
use core::net::Ipv4Addr;

use bytes::Bytes;
use rumpnet_proto::{AddressChange, Request};
use rumpnet_stack::buffer::{Offload, Received};
use rumpnet_stack::time::Instant;
use rumpnet_stack::{Config, Offloads, PortConfig, Stack};
use rumpnet_wire::checksum::Sum;
use rumpnet_wire::ethernet::{self, EtherType};
use rumpnet_wire::ip::Protocol;
use rumpnet_wire::{Malformed, arp, icmpv4, ipv4};

const OURS: (ethernet::Address, Ipv4Addr) =
    (ethernet::Address([0xb2, 0x0a, 0, 0, 0, 2]), Ipv4Addr::new(10, 0, 0, 2));
const PEER: (ethernet::Address, Ipv4Addr) =
    (ethernet::Address([0xb2, 0x0a, 0, 0, 0, 1]), Ipv4Addr::new(10, 0, 0, 1));

/// Where the C runtime starts the program.
// SAFETY: the runtime calls `main` by this name, once, and no other function of the program has it.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    let (mut stack, port) = boot();
    let booted = arena::used();
    resolve(&mut stack, port);
    echo(&mut stack, port, b"no standard library");
    host::print(&format!(
        "a stack without std answered: {} bytes of memory to boot, {} in all\n",
        booted,
        arena::used()
    ));
    0
}

/// A tiny kernel with one address on one port whose far end can do nothing for it.
fn boot() -> (Stack, u32) {
    let now = Instant::ZERO;
    let mut stack = Stack::boot(Config::tiny(), [7; 16], now);
    let config = PortConfig { offloads: Offloads::NONE, ..PortConfig::ethernet(OURS.0) };
    let port = stack.create_interface(now, "virt0", config).expect("an interface");
    let change = AddressChange {
        address: OURS.1.into(),
        prefix_len: Some(24),
        broadcast: None,
        peer: None,
        alias: false,
    };
    stack.control(now, Request::AddAddress { name: "virt0".into(), change }).expect("an address");
    sent(&mut stack, port);
    (stack, port)
}

/// Asks for the stack's MAC address.
fn resolve(stack: &mut Stack, port: u32) {
    let request = arp::Packet {
        operation: arp::Operation::Request,
        sender_hardware: PEER.0,
        sender_protocol: PEER.1,
        target_hardware: ethernet::Address::UNSPECIFIED,
        target_protocol: OURS.1,
    };
    receive(stack, port, ethernet::Address::BROADCAST, EtherType::ARP, &request.to_bytes());
    let answers = sent(stack, port);
    let [answer] = &answers[..] else { panic!("{} answers to an ARP request", answers.len()) };
    let (header, payload) = ethernet::Header::parse(answer).expect("an Ethernet frame");
    assert_eq!((header.destination, header.source, header.ethertype), (PEER.0, OURS.0, EtherType::ARP));
    let (reply, _) = arp::Packet::parse(payload).expect("an ARP packet");
    assert_eq!(reply.operation, arp::Operation::Reply);
    assert_eq!((reply.sender_hardware, reply.sender_protocol), OURS);
    assert_eq!((reply.target_hardware, reply.target_protocol), PEER);
}

/// Sends an echo request and expects its data back.
fn echo(stack: &mut Stack, port: u32, data: &[u8]) {
    let request = icmpv4::Message::EchoRequest { identifier: 0x1234, sequence: 1 };
    let message = [&request.to_bytes(*Sum::new().add(data)), data].concat();
    let plain = ipv4::Header::new(PEER.1, OURS.1, Protocol::ICMP, message.len());
    let header = ipv4::Header { identification: 1, dont_fragment: false, ..plain };
    let mut packet = alloc::vec![0; ipv4::Header::LEN];
    header.emit(&mut packet).expect("the room of a header");
    packet.extend(message);
    receive(stack, port, OURS.0, EtherType::IPV4, &packet);
    let answers = sent(stack, port);
    let [answer] = &answers[..] else { panic!("{} answers to an echo request", answers.len()) };
    assert_eq!(echo_reply(answer), Ok((OURS.1, PEER.1, 0x1234, 1, data)));
}

/// Source, destination, identifier, sequence and data of an echo reply, all checksums verified.
fn echo_reply(frame: &[u8]) -> Result<(Ipv4Addr, Ipv4Addr, u16, u16, &[u8]), Malformed> {
    let (_, packet) = ethernet::Header::parse(frame)?;
    let (header, message) = ipv4::Header::parse(packet)?;
    match icmpv4::Message::parse(message)? {
        (icmpv4::Message::EchoReply { identifier, sequence }, data) => {
            Ok((header.source, header.destination, identifier, sequence, data))
        }
        _ => Err(Malformed::Value),
    }
}

/// Gives the stack a frame of the peer.
fn receive(
    stack: &mut Stack,
    port: u32,
    destination: ethernet::Address,
    ethertype: EtherType,
    payload: &[u8],
) {
    let header = ethernet::Header { destination, source: PEER.0, ethertype };
    let frame = Bytes::from([&header.to_bytes(), payload].concat());
    stack.receive(Instant::ZERO, port, [Received::new(frame, Offload::default())]);
}

/// All frames that wait at a port.
fn sent(stack: &mut Stack, port: u32) -> Vec<Vec<u8>> {
    core::iter::from_fn(|| stack.next_frame(port)).map(|frame| frame.to_vec()).collect()
}
