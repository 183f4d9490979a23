//! What idle connections cost in memory, and what a busy one costs beside them: `cargo bench -p rumpnet-stack --bench connections`.
//!
//! Every connection is opened by a handshake on the wire with a scripted peer. Memory is what the process has resident.

mod fixture;

use std::{net::SocketAddrV4, time::Instant as Clock};

use rumpnet_stack::{SocketId, Stack};
use rumpnet_wire::tcp::Flags;

use fixture::{NOW, host, open, packet, peer};

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("procfs");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}

/// Nanoseconds for each small segment of a busy connection: received, acknowledged, read.
fn busy(stack: &mut Stack, from: SocketAddrV4, next: u32, id: SocketId) -> f64 {
    const ROUNDS: u32 = 100_000;
    let payload = [7; 64];
    let began = Clock::now();
    for round in 0..ROUNDS {
        let segment = packet(from, 1001 + round * 64, next, Flags::ACK, &payload);
        stack.receive(NOW, 0, [segment]);
        assert_eq!(stack.tcp_receive(NOW, id, 1 << 16).expect("it came").len(), payload.len());
        while stack.next_frame(0).is_some() {}
        while stack.next_event().is_some() {}
    }
    began.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
}

fn main() {
    let (mut stack, listener) = host();
    let (next, id) = open(&mut stack, listener, peer(0));
    let alone = busy(&mut stack, peer(0), next, id);
    println!("{:<40} {alone:8.0} ns", "a segment, alone");
    let (before, mut open_ones) = (resident(), 1);
    for count in [1_000, 10_000, 100_000, 1_000_000] {
        let began = Clock::now();
        let opened = count - open_ones;
        for number in open_ones..count {
            open(&mut stack, listener, peer(number));
        }
        open_ones = count;
        let each = (resident() - before) / count as usize;
        let handshake = began.elapsed().as_nanos() as f64 / f64::from(opened);
        println!(
            "{:<40} {each:8} bytes, opened in {handshake:.0} ns each",
            format!("{count} idle connections: each")
        );
    }
    let (next, id) = open(&mut stack, listener, peer(open_ones));
    let beside = busy(&mut stack, peer(open_ones), next, id);
    println!("{:<40} {beside:8.0} ns, {:.2} of alone", "a segment, beside a million", beside / alone);
}
