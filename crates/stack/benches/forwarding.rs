//! What a hop costs a router, in nanoseconds, with ten routes and with a million: `cargo bench -p rumpnet-stack --bench forwarding`.
//!
//! Packets of 64 bytes on the wire come in by one port in batches and leave by the other, to destinations spread over all routes.

use std::{net::Ipv4Addr, time::Instant as Clock};

use bytes::Bytes;
use rumpnet_proto::{AddressChange, NeighborChange, NextHop, Request, RouteAttributes};
use rumpnet_stack::{
    Config, PortConfig, Stack,
    buffer::{Checksum, Offload, Received},
    time::Instant,
};
use rumpnet_wire::{
    ethernet::{self, EtherType},
    ip::Protocol,
    ipv4,
};

const ROUNDS: usize = 20_000;
const BATCH: usize = 64;
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
/// Payload of a packet whose frame has 64 bytes with its check sequence.
const PAYLOAD: usize = 64 - 4 - 14 - 20;

const fn mac(number: u8) -> ethernet::Address {
    ethernet::Address([0xb2, 0x0a, 0, 0, 0, number])
}

/// A router between 10.0.0.0/24 and 10.0.1.0/24, where the next router is known.
fn router() -> Stack {
    let config = Config { forwarding: true, dad_count: 0, ..Config::default() };
    let mut stack = Stack::boot(config, [1; 16], Instant::ZERO);
    for (number, name) in [(0, "virt0"), (1, "virt1")] {
        stack.create_interface(Instant::ZERO, name, PortConfig::ethernet(mac(number))).expect("room");
        let address = Ipv4Addr::new(10, 0, number, 1).into();
        let change =
            AddressChange { address, prefix_len: Some(24), broadcast: None, peer: None, alias: false };
        ask(&mut stack, Request::AddAddress { name: name.into(), change });
    }
    let change =
        NeighborChange { address: GATEWAY.into(), link_address: mac(9), temporary: false, published: false };
    ask(&mut stack, Request::AddNeighbor(change));
    // What a new interface says of itself.
    while stack.next_frame(1).is_some() {}
    stack
}

fn ask(stack: &mut Stack, request: Request) {
    stack.control(Instant::ZERO, request).expect("a good request");
}

/// The `number`th of many networks of 20 to 24 bits, as an Internet table has them.
fn network(number: u32) -> (Ipv4Addr, u8) {
    let place = number.wrapping_mul(0x9e37_79b1);
    let length = 20 + (place % 5) as u8;
    let bits = (0x1400_0000 + (number << 8)) & (u32::MAX << (32 - length));
    (Ipv4Addr::from_bits(bits), length)
}

fn load(stack: &mut Stack, routes: u32) -> u32 {
    let mut loaded = 0;
    for (address, length) in (0..routes).map(network) {
        let via = NextHop::Gateway(GATEWAY.into());
        let request = Request::AddRoute {
            destination: (address.into(), length),
            via,
            attributes: RouteAttributes::default(),
        };
        loaded += u32::from(stack.control(Instant::ZERO, request).is_ok());
    }
    loaded
}

/// A frame to an address somewhere in the networks.
fn frame(number: u32, routes: u32) -> Vec<u8> {
    let (network, _) = network(number.wrapping_mul(2_654_435_761) % routes);
    let destination = Ipv4Addr::from_bits(network.to_bits() | 1);
    let link = ethernet::Header { destination: mac(0), source: mac(8), ethertype: EtherType::IPV4 };
    let source = Ipv4Addr::new(10, 0, 0, 9);
    let plain = ipv4::Header::new(source, destination, Protocol::UDP, PAYLOAD);
    let header = ipv4::Header { identification: 1, dont_fragment: false, ..plain };
    let mut head = [0; 20];
    header.emit(&mut head).expect("the room has the header's length");
    [&link.to_bytes()[..], &head, &[0; PAYLOAD]].concat()
}

fn main() {
    println!("{:>10} {:>12} {:>10} {:>14}", "routes", "load s", "ns a hop", "packets/s");
    for routes in [10, 1_000_000] {
        let mut stack = router();
        let start = Clock::now();
        let loaded = load(&mut stack, routes);
        let took = start.elapsed().as_secs_f64();
        let frames: Vec<Bytes> = (0..65_536).map(|number| frame(number, routes).into()).collect();
        let offload = Offload { checksum: Checksum::Verified, gso: None };
        let mut passed = 0;
        let start = Clock::now();
        for round in 0..ROUNDS {
            let first = round * BATCH % frames.len();
            let batch = frames[first..first + BATCH].iter();
            stack.receive(Instant::ZERO, 0, batch.map(|frame| Received::new(frame.clone(), offload)));
            while stack.next_frame(1).is_some() {
                passed += 1;
            }
        }
        assert_eq!(passed, ROUNDS * BATCH, "every packet goes on");
        let each = start.elapsed().as_nanos() as f64 / passed as f64;
        println!("{loaded:>10} {took:>12.2} {each:>10.1} {:>14.0}", 1e9 / each);
    }
}
