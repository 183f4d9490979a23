//! A stream between two stacks in one thread: what the stack itself costs, with no host below it.
//!
//! The cable is the simulator's, which adds a few hundred nanoseconds a frame. With offloads a super-frame crosses whole, without
//! them every segment is cut, summed, verified and received by itself.

use std::{cell::Cell, rc::Rc, time::Duration};

use nix::time::{ClockId, clock_gettime};
use rumpnet::Bytes;
use rumpnet_sim::{Host, Offloads, World, future};

use crate::{Failure, Figures};

/// Bytes of a write and at most of a read.
const BLOCK: usize = 256 * 1024;
/// Bytes that warm everything up, and that are counted, in steps.
const WARM: u64 = 64 << 20;
const COUNTED: u64 = 1 << 30;
/// What an MTU of 1500 leaves after headers with timestamps.
const SEGMENT: u64 = 1448;
/// How long a frame takes: a cable without any latency gives no round trip to measure.
const LATENCY: Duration = Duration::from_micros(20);

/// Measures with offloads, without, and without what the receiver merges too.
pub(crate) fn run() -> Result<Figures, Failure> {
    let whole = stream(Offloads::ALL, true, COUNTED)?;
    let cut = stream(Offloads::NONE, true, COUNTED / 4)?;
    let alone = stream(Offloads::NONE, false, COUNTED / 4)?;
    let gbit = |seconds_per_byte: f64| 8.0 / seconds_per_byte / 1e9;
    Ok(Figures::from([
        ("super_frames_gbit_per_second".into(), gbit(whole)),
        ("super_frames_ns_per_segment".into(), whole * SEGMENT as f64 * 1e9),
        ("segments_gbit_per_second".into(), gbit(cut)),
        ("segments_ns_per_segment".into(), cut * SEGMENT as f64 * 1e9),
        ("not_coalesced_ns_per_segment".into(), alone * SEGMENT as f64 * 1e9),
    ]))
}

/// Seconds for a byte.
fn stream(offloads: Offloads, coalesce: bool, counted: u64) -> Result<f64, Failure> {
    // once: it is measured.
    let world = World::new(1);
    world.keep_for_capture(0);
    world.set_patience(u64::MAX);
    let (a, b) = (world.host("a"), world.host("b"));
    let cable = world.cable();
    cable.set(|conditions| conditions.latency = LATENCY);
    cable.connect(&a.interface("virt0").address("10.0.0.1/24"));
    cable.connect(&b.interface("virt0").address("10.0.0.2/24"));
    cable.set_offloads(offloads);
    if !coalesce {
        b.sh("ifconfig virt0 -lro").ok();
    }
    world.run_for(Duration::from_secs(20));
    let arrived = Rc::new(Cell::new(0));
    let reader = read(&b, &arrived);
    let writer = write(&a);
    let limit = Duration::from_secs(3600);
    if !world.run_until(|| arrived.get() >= WARM, limit) {
        return Err("the stream never came".into());
    }
    let (begun, before) = (processor_time()?, arrived.get());
    if !world.run_until(|| arrived.get() >= before + counted, limit) {
        return Err("the stream ended early".into());
    }
    let seconds = (processor_time()? - begun).as_secs_f64() / (arrived.get() - before) as f64;
    drop((reader, writer));
    Ok(seconds)
}

/// What this thread has had of a CPU: nobody else is waited for, so that it is all that passes but what others take away.
fn processor_time() -> Result<Duration, Failure> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// A task that reads without copying and counts.
fn read(host: &Host, arrived: &Rc<Cell<u64>>) -> rumpnet_sim::JoinHandle<()> {
    let listener = future::TcpListener::bind(host, "10.0.0.2:9").expect("a port of a fresh host is free");
    let arrived = arrived.clone();
    host.spawn(async move {
        let Ok((stream, _)) = listener.accept().await else { return };
        while let Ok(payload) = stream.read_slices(BLOCK).await {
            arrived.set(arrived.get() + payload.len() as u64);
        }
    })
}

/// A task that writes without copying, for ever.
fn write(host: &Host) -> rumpnet_sim::JoinHandle<()> {
    let net = host.clone();
    host.spawn(async move {
        let Ok(stream) = future::TcpStream::connect(&net, "10.0.0.2:9").await else { return };
        let block = Bytes::from(vec![0x55; BLOCK]);
        while stream.write_bytes(block.clone()).await.is_ok() {}
    })
}
