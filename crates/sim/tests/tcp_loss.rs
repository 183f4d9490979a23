//! How much a stream keeps of a bad cable: beside what Linux was measured to keep of the same (docs/notes/loss.md), and beside another stream.

mod support;

use std::{cell::Cell, rc::Rc, time::Duration};

use rumpnet_sim::{Conditions, Offloads, World, future, proto::Counter, scenario};
use support::{B, Pair, ms, secs};

/// A stream that is written to for ever: how many bytes have arrived.
fn stream(world: &World, pair: &Pair, port: u16) -> Rc<Cell<u64>> {
    let listener = future::TcpListener::bind(&pair.b, (B, port)).expect("free");
    let client = pair.a.clone();
    let _writer = pair.a.spawn(async move {
        let stream = future::TcpStream::connect(&client, (B, port)).await.expect("answered");
        let block = [0x55; 65_536];
        while stream.write_all(&block).await.is_ok() {}
    });
    let arrived = Rc::new(Cell::new(0));
    let count = Rc::clone(&arrived);
    let _reader = pair.b.spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut buffer = vec![0; 65_536];
        while let Ok(len @ 1..) = stream.read(&mut buffer).await {
            count.set(count.get() + len as u64);
        }
    });
    world.run_for(Duration::ZERO);
    arrived
}

/// Two hosts on a cable with these conditions in both directions; nothing is sent in one piece that is longer than a segment.
fn pair(world: &World, conditions: Conditions) -> Pair {
    let pair = Pair::new(world);
    world.keep_for_capture(1 << 16);
    pair.cable.set_offloads(Offloads::NONE).set(|present| *present = conditions);
    pair
}

/// Mbit/s that arrive of one stream in `span`, after two seconds.
fn rate(world: &World, pair: &Pair, span: Duration) -> f64 {
    let arrived = stream(world, pair, 80);
    world.run_for(secs(2));
    let before = arrived.get();
    world.run_for(span);
    (arrived.get() - before) as f64 * 8.0 / span.as_secs_f64() / 1e6
}

const CLEAN: Conditions = Conditions { latency: Duration::from_millis(10), ..Conditions::PERFECT };

#[test]
fn at_a_loss_in_a_thousand_or_a_hundred_a_stream_keeps_what_linux_keeps() {
    // What Linux 6.18 kept with CUBIC, in Mbit/s: medians of the quietest series of the bench's rows `loss-send` and `heavy-loss-send`.
    for (loss, linux, span) in [(0.001, 21.7, secs(8)), (0.01, 6.1, secs(25))] {
        scenario(|world| {
            let pair = pair(world, Conditions { loss, ..CLEAN });
            let kept = rate(world, &pair, span);
            assert!(kept >= 0.9 * linux, "{kept} Mbit/s of Linux's {linux} at a loss of {loss}");
        });
    }
}

#[test]
fn three_in_a_hundred_overtaken_frames_take_a_tenth_at_most() {
    // Undisturbed, 47.8 Mbit/s of payload fit; Linux kept as much of the same (row `overtaken-send`).
    let narrow = Conditions { bandwidth: Some(50_000_000), queue: Some(200), ..CLEAN };
    for delay in [ms(2), ms(15)] {
        scenario(|world| {
            let pair = pair(world, Conditions { reordering: 0.03, reordering_delay: delay, ..narrow });
            let kept = rate(world, &pair, secs(3));
            assert!(kept >= 0.9 * 47.8, "{kept} Mbit/s with {delay:?}");
            let grounds = [Counter::TcpUndoneByEcho, Counter::TcpUndoneByDuplicates];
            let undone: u64 = grounds.iter().map(|ground| pair.a.counter(*ground)).sum();
            assert!(undone > 0, "what was taken for a loss was found to be late");
        });
    }
}

/// Jain's index of fairness: 1 if all are equal, 1/n if one has everything.
fn fairness(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    sum * sum / (shares.len() as f64 * squares)
}

#[test]
fn two_streams_share_a_narrow_way_fairly_though_one_was_there_before() {
    scenario(|world| {
        let narrow = Conditions { bandwidth: Some(10_000_000), queue: Some(30), latency: ms(20), ..CLEAN };
        let pair = pair(world, narrow);
        let first = stream(world, &pair, 80);
        world.run_for(secs(4));
        let second = stream(world, &pair, 81);
        world.run_for(secs(10));
        let before = [first.get(), second.get()];
        world.run_for(secs(20));
        let shares =
            [first.get() - before[0], second.get() - before[1]].map(|bytes| bytes as f64 * 8.0 / 20e6);
        let index = fairness(&shares);
        assert!(index >= 0.9, "{index}: {shares:?} Mbit/s");
        assert!(shares.iter().sum::<f64>() >= 9.0, "{shares:?} Mbit/s of ten");
    });
}

#[test]
fn slow_start_ends_before_a_long_queue_overflows() {
    scenario(|world| {
        // A queue of four round trips: without a look at round trips, slow start would fill it (RFC 9406).
        let long = Conditions { bandwidth: Some(20_000_000), queue: Some(600), latency: ms(40), ..CLEAN };
        let pair = pair(world, long);
        let arrived = stream(world, &pair, 80);
        world.run_for(secs(4));
        assert_eq!(pair.cable.counters().queue_full, 0, "nothing was dropped");
        assert_eq!(pair.a.counter(Counter::TcpRetransmitted), 0);
        assert!(arrived.get() > 6_000_000, "{} bytes in four seconds of 2.5 MB/s", arrived.get());
    });
}
