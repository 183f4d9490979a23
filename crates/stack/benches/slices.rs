//! How long the longest call takes while something touches 100,000 connections: `cargo bench -p rumpnet-stack --bench slices`.
//!
//! Every call is a hold of the lock in a kernel. The work is done in slices (`inet/tcp/chores.rs`); what is printed is the longest call, the 99th of
//! a hundred and the median, how many there were, and the whole. On a busy machine the longest is one that another program interrupted.

mod fixture;

use std::time::{Duration, Instant as Clock};

use fixture::{NOW, host, open, packet, peer};
use rumpnet_proto::{Reply, Request};
use rumpnet_stack::{Resets, SocketId, Stack};
use rumpnet_wire::tcp::{Flags, Header};

const MANY: u32 = 100_000;
/// The greatest backlog.
const BACKLOG: u32 = 4096;

/// Calls until nothing is left, each timed; between them frames leave and news are heard, as a shell does it in calls of their own.
fn measure(name: &str, stack: &mut Stack, mut call: impl FnMut(&mut Stack, usize) -> bool) {
    let mut spans = Vec::new();
    loop {
        let begun = Clock::now();
        let more = call(stack, spans.len());
        spans.push(begun.elapsed());
        pull(stack);
        if !more {
            break;
        }
    }
    spans.sort();
    let micros = |span: Duration| span.as_secs_f64() * 1e6;
    let place = |part: usize| micros(spans[(spans.len() - 1) * part / 100]);
    println!(
        "{name:<36} longest {:>7.1} us, 99 % {:>6.1} us, median {:>6.1} us, {:>6} calls, {:>8.1} ms in all",
        place(100),
        place(99),
        place(50),
        spans.len(),
        micros(spans.iter().sum()) / 1e3
    );
}

fn pull(stack: &mut Stack) {
    while stack.next_ready_port().is_some() {}
    while stack.next_frame(0).is_some() {}
    while stack.next_event().is_some() {}
}

fn full() -> (Stack, SocketId, Vec<SocketId>) {
    let (mut stack, listener) = host();
    let opened = (0..MANY).map(|number| open(&mut stack, listener, peer(number)).1).collect();
    (stack, listener, opened)
}

/// Runs what is due at once, after a first call.
fn carry_on(name: &str, stack: &mut Stack, first: impl Fn(&mut Stack)) {
    measure(name, stack, |stack, calls| {
        if calls == 0 {
            first(stack)
        } else {
            stack.on_timeout(NOW)
        }
        stack.next_deadline() == Some(NOW)
    });
}

fn main() {
    let (mut stack, listener, _) = full();
    let mut after = None;
    measure("a dump of all sockets", &mut stack, |stack, _| {
        let Ok(Reply::Sockets { next, .. }) = stack.control(NOW, Request::Sockets { after }) else {
            return false;
        };
        after = next;
        next.is_some()
    });
    stack.tcp_listen(listener, BACKLOG).expect("it listens");
    for number in MANY..MANY + BACKLOG {
        stack.receive(NOW, 0, [packet(peer(number), 1000, 0, Flags::SYN, b"")]);
        let answer = stack.next_frame(0).expect("a SYN-ACK").to_vec();
        let (header, _) = Header::parse(&answer[20..]).expect("our own segment");
        let next = header.sequence.0.wrapping_add(1);
        stack.receive(NOW, 0, [packet(peer(number), 1001, next, Flags::ACK, b"")]);
    }
    pull(&mut stack);
    carry_on("a listener with 4,096 waiting closed", &mut stack, |stack| {
        stack.tcp_close(NOW, listener).expect("open");
    });
    carry_on("every connection told to end", &mut stack, |stack| stack.tcp_drain(NOW));
    let mut progress = Resets::default();
    measure("every connection reset", &mut stack, |stack, _| stack.tcp_reset_some(NOW, &mut progress));
    let (mut stack, _, opened) = full();
    for socket in opened {
        stack.tcp_send(NOW, socket, b"x"[..].into()).expect("room");
    }
    carry_on("the interface of all destroyed", &mut stack, |stack| {
        stack.destroy_interface(NOW, "tun0").expect("there");
    });
}
