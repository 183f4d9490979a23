//! Whether a busy stream notices who else is there: `cargo bench -p rumpnet-stack --bench beside`.
//!
//! The same stream is received alone and beside 10,000 idle listeners and 100,000 idle connections. Instructions and cache misses are
//! counted by valgrind(1)'s cachegrind, which simulates the caches, so that neither noise nor a machine without counters matters. What is printed
//! is the difference of a long and a short run, which leaves out how everything was set up.

mod fixture;

use std::process::Command;

use bytes::Bytes;
use rumpnet_stack::{SocketId, Stack, buffer::Received, time::Duration};
use rumpnet_wire::tcp::Flags;

use fixture::{NOW, OURS, append, host, open, peer, received};

/// Bytes of a segment, and segments of a batch.
const SEGMENT: usize = 1448;
const BATCH: u32 = 32;
/// Batches of the short run; the long one has twice as many.
const ROUNDS: u32 = 1000;
/// What is idle beside the stream.
const LISTENERS: u16 = 10_000;
const CONNECTIONS: u32 = 100_000;
/// The most that the stream may notice.
const LIMIT: f64 = 1.03;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["stream", company, rounds] => stream(company == "beside", rounds.parse().expect("a number")),
        _ => compare(),
    }
}

/// Receives a stream, as a shell would make it: batches, reads, acknowledgments pulled, deadlines asked for.
fn stream(beside: bool, rounds: u32) {
    let (mut stack, listener) = host();
    let (next, id) = open(&mut stack, listener, peer(0));
    if beside {
        add_company(&mut stack, listener);
    }
    let (payload, mut now) = ([7; SEGMENT], NOW);
    let mut buffer = vec![0; BATCH as usize * SEGMENT];
    for round in 0..rounds {
        now += Duration::from_micros(20);
        stack.receive(now, 0, batch(round, next, &payload));
        let read = stack.tcp_receive(now, id, 1 << 20).expect("it came");
        assert_eq!(read.copy_to(&mut buffer), buffer.len());
        while stack.next_frame(0).is_some() {}
        while stack.next_event().is_some() {}
        if stack.next_deadline().is_some_and(|deadline| deadline <= now) {
            stack.on_timeout(now);
        }
    }
}

/// A batch in one piece of memory, so that it does not matter how scattered the heap is.
fn batch(round: u32, acknowledgment: u32, payload: &[u8]) -> Vec<Received> {
    let mut bytes = Vec::with_capacity(BATCH as usize * (SEGMENT + 40));
    for segment in 0..BATCH {
        let number = 1001u32.wrapping_add((round * BATCH + segment) * SEGMENT as u32);
        append(&mut bytes, peer(0), number, acknowledgment, Flags::ACK, payload);
    }
    let (bytes, len) = (Bytes::from(bytes), SEGMENT + 40);
    (0..BATCH as usize).map(|at| received(bytes.slice(at * len..(at + 1) * len))).collect()
}

fn add_company(stack: &mut Stack, listener: SocketId) {
    for port in 0..LISTENERS {
        let socket = stack.tcp_open().expect("room");
        stack.tcp_bind(socket, (*OURS.ip(), 10_000 + port).into()).expect("free");
        stack.tcp_listen(socket, 16).expect("bound");
    }
    for number in 1..=CONNECTIONS {
        let _idle = open(stack, listener, peer(number));
    }
}

/// Prints what a byte costs alone and in company, and fails if that differs by too much.
fn compare() {
    let [alone, beside] = ["alone", "beside"].map(cost);
    for (at, name) in ["instructions", "first-level data misses", "last-level data misses"].iter().enumerate()
    {
        // A stream that stays in the cache misses nothing, and nothing can be divided by.
        let quotient = (beside[at] + 1e-4) / (alone[at] + 1e-4);
        println!("{name:<28} {:9.4} a byte alone, {:9.4} in company: {quotient:.4}", alone[at], beside[at]);
        assert!(quotient <= LIMIT, "a busy stream notices who is idle beside it");
    }
}

/// Instructions and misses a byte.
fn cost(company: &str) -> [f64; 3] {
    let [short, long] = [ROUNDS, 2 * ROUNDS].map(|rounds| counted(company, rounds));
    let bytes = f64::from(ROUNDS * BATCH) * SEGMENT as f64;
    std::array::from_fn(|at| (long[at] as f64 - short[at] as f64) / bytes)
}

fn counted(company: &str, rounds: u32) -> [u64; 3] {
    let program = std::env::current_exe().expect("procfs");
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=yes", "--cachegrind-out-file=/dev/null"])
        .arg(program)
        .args(["stream", company, &rounds.to_string()])
        .output()
        .expect("valgrind is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    ["I   refs:", "D1  misses:", "LLd misses:"].map(|key| number_after(&said, key))
}

/// The number behind a key in what cachegrind says: `==7== D1  misses:  1,234  (…`.
fn number_after(said: &str, key: &str) -> u64 {
    let (_, rest) = said.split_once(key).unwrap_or_else(|| panic!("no {key} in {said}"));
    let word = rest.split_whitespace().next().unwrap_or_default();
    word.replace(',', "").parse().expect("a number")
}
