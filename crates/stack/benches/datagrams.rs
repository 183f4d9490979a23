//! What one datagram costs inside the stack, in nanoseconds: `cargo bench -p rumpnet-stack`.

use std::{net::SocketAddr, time::Instant as Clock};

use bytes::Bytes;
use rumpnet_proto::{AddressChange, Request};
use rumpnet_stack::{
    Config, PortConfig, Stack, UdpSend,
    buffer::{Checksum, Offload, Received},
    time::Instant,
};
use rumpnet_wire::ethernet;

const ROUNDS: usize = 20_000;
const BATCH: usize = 64;

fn host(number: u8) -> Stack {
    let mut stack = Stack::boot(Config::default(), [number; 16], Instant::ZERO);
    let port = PortConfig::ethernet(ethernet::Address([0xb2, 0x0a, 0, 0, 0, number]));
    stack.create_interface(Instant::ZERO, "virt0", port).expect("a fresh stack has room");
    let address = std::net::Ipv4Addr::new(10, 0, 0, number).into();
    let change = AddressChange { address, prefix_len: Some(24), broadcast: None, peer: None, alias: false };
    stack
        .control(Instant::ZERO, Request::AddAddress { name: "virt0".into(), change })
        .expect("a good address");
    stack
}

fn settle(stacks: &mut [Stack; 2]) {
    for from in [0, 1, 0, 1] {
        while let Some(frame) = stacks[from].next_frame(0) {
            stacks[1 - from].receive(Instant::ZERO, 0, [Received::from(frame)]);
        }
    }
}

fn report(what: &str, start: Clock, count: usize) {
    println!("{what:40} {:8.1} ns", start.elapsed().as_nanos() as f64 / count as f64);
}

fn main() {
    let mut stacks = [host(1), host(2)];
    let receiver = stacks[1].udp_open().expect("room");
    let to: SocketAddr = stacks[1].udp_bind(receiver, ([10, 0, 0, 2], 9).into()).expect("free");
    let sender = stacks[0].udp_open().expect("room");
    let payload = Bytes::from(vec![7; 64]);
    let send = || UdpSend {
        payload: payload.clone(),
        segment: None,
        destination: Some(to),
        source: None,
        info: Default::default(),
    };
    stacks[0].udp_send(Instant::ZERO, sender, [send()]).expect("sent");
    settle(&mut stacks);
    stacks[1].udp_receive(receiver, false).expect("arrived");
    stacks[0].udp_send(Instant::ZERO, sender, [send()]).expect("sent");
    let frame = stacks[0].next_frame(0).expect("resolved");

    let start = Clock::now();
    for _ in 0..ROUNDS {
        stacks[0].udp_send(Instant::ZERO, sender, (0..BATCH).map(|_| send())).expect("sent");
        while stacks[0].next_frame(0).is_some() {}
    }
    report("send 64 bytes, pull the frame", start, ROUNDS * BATCH);

    let bytes = Bytes::from(frame.to_vec());
    let offload = Offload { checksum: Checksum::Verified, gso: None };
    let mut out = Vec::new();
    let start = Clock::now();
    for _ in 0..ROUNDS {
        let batch = (0..BATCH).map(|_| Received::new(Bytes::copy_from_slice(&bytes), offload));
        stacks[1].receive(Instant::ZERO, 0, batch);
        while stacks[1].udp_receive_batch(receiver, &mut out, BATCH).is_ok() {}
        out.clear();
    }
    report("copy in, receive 64 bytes, take it", start, ROUNDS * BATCH);
}
