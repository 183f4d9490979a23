//! What a hop costs a router, in nanoseconds, with a handful of routes and with a million: `cargo bench -p rumpnet-stack --bench forwarding`.
//!
//! The table is shaped as an Internet table: more than half of its networks have 24 bits, most others 20 to 23, and they lie scattered
//! over the addresses of version 4. Packets of 64 bytes on the wire come in by one port in batches, as a card would have put them into
//! memory, and leave by the other: to destinations drawn from all networks, each another one, and to a mix in which a few get most.
//! The look-up alone is timed beside it, once where each may begin before the one before it has ended, as processors do it, and once where
//! each waits, and eight at a time as a batch is looked ahead. Building a batch is not timed. Of each figure the best of ten parts is told,
//! since what others do to the caches of a shared machine is not what is to be known. With numbers as arguments only tables of so many routes are tried.

use std::{hint::black_box, net::Ipv4Addr, time::Duration, time::Instant as Clock};

use bytes::Bytes;
use rumpnet_proto::{AddressChange, DropReason, NeighborChange, NextHop, Request, RouteAttributes};
use rumpnet_stack::{
    Config, PortConfig, Stack,
    buffer::{Checksum, Offload, Received},
    prefix::PrefixTable,
    time::Instant,
};
use rumpnet_wire::{
    ethernet::{self, EtherType},
    ip::Protocol,
    ipv4,
};

const BATCH: usize = 64;
/// Next hops of all routes.
const GATEWAYS: u8 = 16;
/// Bytes of a frame without its check sequence, and those of the payload in it.
const FRAME: usize = 64 - 4;
const PAYLOAD: usize = FRAME - 14 - 20;
/// Destinations that are drawn before the clock runs.
const DRAWN: usize = 1 << 21;

const fn mac(number: u8) -> ethernet::Address {
    ethernet::Address([0xb2, 0x0a, 0, 0, 0, number])
}

const fn gateway(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 1, 2 + number % GATEWAYS)
}

/// A router between 10.0.0.0/24 and 10.0.1.0/24, where the next routers are known.
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
    for number in 0..GATEWAYS {
        let (address, link_address) = (gateway(number).into(), mac(9 + number));
        let change = NeighborChange { address, link_address, temporary: false, published: false };
        ask(&mut stack, Request::AddNeighbor(change));
    }
    // What a new interface says of itself.
    while stack.next_frame(1).is_some() {}
    stack
}

fn ask(stack: &mut Stack, request: Request) {
    stack.control(Instant::ZERO, request).expect("a good request");
}

/// Numbers without order, the same in each run (splitmix64).
struct Noise(u64);

impl Noise {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    const fn below(&mut self, bound: usize) -> usize {
        ((self.next() as u128 * bound as u128) >> 64) as usize
    }
}

/// Lengths with their shares in a thousand, about as a route collector's table of 2024 has them.
const LENGTHS: [(u8, usize); 13] = [
    (24, 605),
    (23, 95),
    (22, 110),
    (21, 50),
    (20, 45),
    (19, 28),
    (18, 15),
    (17, 9),
    (16, 15),
    (15, 3),
    (14, 2),
    (13, 1),
    (12, 22),
];

fn draw_length(noise: &mut Noise) -> u8 {
    let mut place = noise.below(1000);
    for (length, share) in LENGTHS {
        if place < share {
            return length;
        }
        place -= share;
    }
    24
}

/// So many different networks in 1.0.0.0 to 223.255.255.255, outside of 10/8 and 127/8; a third lies in blocks that others lie in, too.
fn networks(count: usize) -> Vec<(Ipv4Addr, u8)> {
    let (mut noise, mut all, mut seen) = (Noise(7), Vec::new(), std::collections::HashSet::new());
    while all.len() < count {
        let length = draw_length(&mut noise);
        let drawn = match all.len() {
            near @ 1.. if noise.below(3) == 0 => {
                let (block, _): (Ipv4Addr, u8) = all[noise.below(near)];
                block.to_bits() ^ noise.below(1 << 14) as u32
            }
            _ => noise.next() as u32,
        };
        let network = Ipv4Addr::from_bits(drawn & (u32::MAX << (32 - length)));
        // Without 10/8, 127/8, and what contains addresses of a link.
        let is_public = matches!(network.octets()[0], 1..=9 | 11..=126 | 128..=168 | 170..=223);
        if is_public && seen.insert((network, length)) {
            all.push((network, length));
        }
    }
    all
}

/// Adds the routes one by one; how long that took.
fn load(stack: &mut Stack, networks: &[(Ipv4Addr, u8)]) -> Duration {
    let mut noise = Noise(11);
    let start = Clock::now();
    for (address, length) in networks {
        let via = NextHop::Gateway(gateway(noise.below(GATEWAYS.into()) as u8).into());
        let destination = ((*address).into(), *length);
        ask(stack, Request::AddRoute { destination, via, attributes: RouteAttributes::default() });
    }
    start.elapsed()
}

/// An address in a network that is drawn: any with the same chance, or with `mixed` mostly one of a few.
fn destinations(networks: &[(Ipv4Addr, u8)], mixed: bool) -> Vec<Ipv4Addr> {
    let mut noise = Noise(13);
    let few = networks.len().min(1000);
    let draw = |_| {
        let among = if mixed && noise.below(10) > 0 { few } else { networks.len() };
        let (network, length) = networks[noise.below(among)];
        Ipv4Addr::from_bits(network.to_bits() | noise.next() as u32 & !(u32::MAX << (32 - length)))
    };
    (0..DRAWN).map(draw).collect()
}

/// Appends a frame to an address.
fn append(out: &mut Vec<u8>, destination: Ipv4Addr) {
    let link = ethernet::Header { destination: mac(0), source: mac(8), ethertype: EtherType::IPV4 };
    let plain = ipv4::Header::new(Ipv4Addr::new(10, 0, 0, 9), destination, Protocol::UDP, PAYLOAD);
    let mut head = [0; ipv4::Header::LEN];
    plain.emit(&mut head).expect("the room has the header's length");
    out.extend_from_slice(&link.to_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(&[0; PAYLOAD]);
}

fn batch(destinations: &[Ipv4Addr]) -> Vec<Received> {
    let mut bytes = Vec::with_capacity(destinations.len() * FRAME);
    destinations.iter().for_each(|destination| append(&mut bytes, *destination));
    let (bytes, offload) = (Bytes::from(bytes), Offload { checksum: Checksum::Verified, gso: None });
    (0..destinations.len())
        .map(|at| Received::new(bytes.slice(at * FRAME..(at + 1) * FRAME), offload))
        .collect()
}

/// Nanoseconds of a hop.
fn forward(stack: &mut Stack, destinations: &[Ipv4Addr]) -> f64 {
    best_part(destinations, |some| {
        let (mut passed, mut took) = (0, Duration::ZERO);
        for some in some.chunks_exact(BATCH) {
            let batch = batch(some);
            let start = Clock::now();
            stack.receive(Instant::ZERO, 0, batch);
            while let Some(frame) = stack.next_frame(1) {
                passed += 1;
                black_box(frame.len());
            }
            took += start.elapsed();
        }
        let left: Vec<_> = DropReason::ALL.iter().filter(|reason| stack.drops(**reason) > 0).collect();
        assert_eq!(passed, some.len(), "every packet goes on, but for {left:?}");
        took
    })
}

/// What one destination of a part costs, in nanoseconds, of the part that costs least.
fn best_part(destinations: &[Ipv4Addr], mut cost: impl FnMut(&[Ipv4Addr]) -> Duration) -> f64 {
    let part = destinations.len() / 10 / BATCH * BATCH;
    let each = destinations.chunks_exact(part).map(|some| cost(some).as_nanos() as f64 / part as f64);
    each.fold(f64::INFINITY, f64::min)
}

/// A table of numbers alone.
fn table(networks: &[(Ipv4Addr, u8)]) -> PrefixTable<u32> {
    let mut table = PrefixTable::new();
    for (number, (network, length)) in (0..).zip(networks) {
        table.insert((*network).into(), *length, number % u32::from(GATEWAYS));
    }
    table
}

/// Looks each up, beginning at once or, to `wait`, when the one before has ended.
fn look_up(table: &PrefixTable<u32>, destinations: &[Ipv4Addr], wait: bool) -> Duration {
    let (mut sum, mut last) = (0_u32, 0);
    let start = Clock::now();
    for destination in destinations {
        // The found numbers are small, so that this changes no address, but needs them.
        let address = Ipv4Addr::from_bits(destination.to_bits() ^ (last >> 31));
        let found = *table.lookup(address.into()).expect("all destinations are in the table");
        sum = sum.wrapping_add(found);
        last = if wait { found } else { 0 };
    }
    black_box(sum);
    start.elapsed()
}

/// The same, eight at a time.
fn look_up_together(table: &PrefixTable<u32>, destinations: &[Ipv4Addr]) -> Duration {
    let mut sum = 0_u32;
    let start = Clock::now();
    for some in destinations.as_chunks::<8>().0 {
        for found in table.lookup_all(some) {
            sum = sum.wrapping_add(*found.expect("all destinations are in the table"));
        }
    }
    black_box(sum);
    start.elapsed()
}

fn main() {
    println!(
        "{:>9} {:>12} {:>8} {:>12} {:>10} {:>8} {:>8} {:>10} {:>12}",
        "routes",
        "destinations",
        "load s",
        "table bytes",
        "ns look-up",
        "waiting",
        "of eight",
        "ns a hop",
        "packets/s"
    );
    let wanted: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    for count in [8, 100_000, 1_000_000] {
        if !wanted.is_empty() && !wanted.contains(&count) {
            continue;
        }
        let networks = networks(count);
        let mut stack = router();
        let took = load(&mut stack, &networks).as_secs_f64();
        let table = table(&networks);
        for (name, mixed) in [("random", false), ("mixed", true)] {
            let destinations = destinations(&networks, mixed);
            let bytes = table.heap_bytes();
            let [alone, waiting] =
                [false, true].map(|wait| best_part(&destinations, |some| look_up(&table, some, wait)));
            let together = best_part(&destinations, |some| look_up_together(&table, some));
            let hop = forward(&mut stack, &destinations);
            let rate = 1e9 / hop;
            println!(
                "{count:>9} {name:>12} {took:>8.2} {bytes:>12} {alone:>10.1} {waiting:>8.1} {together:>8.1} {hop:>10.1} {rate:>12.0}"
            );
        }
    }
}
