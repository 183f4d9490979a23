//! Bulk data over bad cables: every transfer arrives byte for byte, in both directions at once, and in bearable time.

mod support;

use std::time::Duration;

use rumpnet_sim::{
    Conditions, Host, Offloads, TcpOption, World, future, now, proto::Counter, scenario, sleep, timeout,
};
use support::{Pair, ms, secs};

/// Bytes that tell where they belong.
fn data(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|place| (place * 31 + place / 251) as u8 ^ seed).collect()
}

async fn write(stream: &future::TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.expect("the peer reads");
    stream.shutdown(std::net::Shutdown::Write).expect("connected");
}

async fn read(stream: &future::TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.expect("the end comes");
    all
}

/// So many bytes there and back at once; how long it took.
async fn exchange(client_at: Host, server_at: Host, len: usize) -> Duration {
    let listener = future::TcpListener::bind(&server_at, "10.0.0.2:80").expect("free");
    let client = future::TcpStream::connect(&client_at, "10.0.0.2:80").await.expect("answered");
    let (server, _) = listener.accept().await.expect("a connection");
    let began = now();
    let ends = [(client, client_at, 1, 2), (server, server_at, 2, 1)];
    let tasks = ends.map(|(stream, at, mine, theirs)| {
        let writer = stream.clone();
        let written = at.spawn(async move { write(&writer, &data(len, mine)).await });
        let read =
            at.spawn(async move { assert!(read(&stream).await == data(len, theirs), "byte for byte") });
        (written, read)
    });
    for (written, read) in tasks {
        written.await;
        read.await;
    }
    now() - began
}

/// Runs an exchange over a cable: how long it took, and how often something was sent again.
fn run(world: &World, len: usize, offloads: Offloads, conditions: Conditions) -> (Duration, u64) {
    let pair = Pair::new(world);
    world.keep_for_capture(1 << 20);
    pair.cable.set_offloads(offloads).set(|present| *present = conditions);
    let (client, server) = (pair.a.clone(), pair.b.clone());
    let took = world.block_on(async move {
        timeout(secs(3600), exchange(client, server, len)).await.expect("it does not stand still")
    });
    // Time in TIME-WAIT, and whatever else a connection may leave behind.
    world.run_for(secs(600));
    for host in [&pair.a, &pair.b] {
        assert_eq!(host.stack(|stack, _| stack.socket_count()), 0, "nothing is left");
    }
    let repeated = [&pair.a, &pair.b].map(|host| host.counter(Counter::TcpRetransmitted));
    (took, repeated.iter().sum())
}

/// A cable of so many bits per second.
fn cable(bandwidth: u64, latency: Duration) -> Conditions {
    Conditions { bandwidth: Some(bandwidth), latency, ..Conditions::PERFECT }
}

/// Transfers over every latency with every loss, at one bandwidth.
fn any_latency_with_any_loss(bandwidth: u64, len: usize) {
    for latency in [0, 10, 75, 150, 300] {
        for loss in [0.0, 0.01, 0.05, 0.1] {
            scenario(|world| {
                let conditions = Conditions { loss, ..cable(bandwidth, ms(latency)) };
                let (took, repeated) = run(world, len, Offloads::NONE, conditions);
                // Slow start doubles ten segments every round trip, and one more ends it.
                let rounds = (len as f64 / 14_480.0).log2().ceil().max(0.0) as u32 + 3;
                let ideal = conditions.sending_time(len * 11 / 10) + rounds * 2 * conditions.latency;
                if loss == 0.0 {
                    // On a slow link the first window outlasts the patience of each end's tail probe.
                    let probes = if bandwidth == 1_000_000 { 2 } else { 0 };
                    assert!(repeated <= probes, "nothing is lost, and {repeated} were sent twice");
                    assert!(
                        took <= ideal + ms(50),
                        "{bandwidth} bit/s, {latency} ms: {took:?} over {ideal:?}"
                    );
                }
                assert!(took <= 30 * ideal + secs(2), "{bandwidth} bit/s, {latency} ms, {loss}: {took:?}");
            });
        }
    }
}

#[test]
fn every_byte_arrives_at_a_megabit() {
    any_latency_with_any_loss(1_000_000, 100_000);
}

#[test]
fn every_byte_arrives_at_a_hundred_megabits() {
    any_latency_with_any_loss(100_000_000, 1_000_000);
}

#[test]
fn every_byte_arrives_at_ten_gigabits() {
    any_latency_with_any_loss(10_000_000_000, 2_000_000);
}

#[test]
fn every_byte_arrives_at_forty_gigabits() {
    any_latency_with_any_loss(40_000_000_000, 1_000_000);
}

#[test]
fn super_frames_that_are_lost_whole_are_made_good() {
    for loss in [0.0, 0.01, 0.05] {
        scenario(|world| {
            run(world, 5_000_000, Offloads::ALL, Conditions { loss, ..cable(10_000_000_000, ms(5)) });
        });
    }
}

#[test]
fn duplicates_flipped_bits_and_overtaking_change_no_byte() {
    let quiet = cable(100_000_000, ms(10));
    for conditions in [
        Conditions { duplication: 0.1, ..quiet },
        Conditions { corruption: 0.02, ..quiet },
        Conditions { reordering: 0.05, reordering_delay: ms(3), ..quiet },
        Conditions { reordering: 0.3, reordering_delay: ms(30), ..quiet },
        Conditions { jitter: ms(20), ..quiet },
        Conditions {
            loss: 0.02,
            duplication: 0.05,
            corruption: 0.01,
            reordering: 0.1,
            reordering_delay: ms(5),
            jitter: ms(5),
            ..quiet
        },
    ] {
        scenario(|world| {
            let (took, _) = run(world, 500_000, Offloads::NONE, conditions);
            assert!(took < secs(60), "{conditions:?}: {took:?}");
        });
    }
}

#[test]
fn overtaking_alone_causes_few_repetitions() {
    scenario(|world| {
        let overtaken =
            Conditions { reordering: 0.05, reordering_delay: ms(3), ..cable(100_000_000, ms(10)) };
        let (_, repeated) = run(world, 2_000_000, Offloads::NONE, overtaken);
        // Of some 2,800 segments; RACK waits a quarter of a round trip once it has seen it (RFC 8985 section 6.2).
        assert!(repeated <= 30, "{repeated} repetitions");
    });
}

#[test]
fn a_queue_on_the_way_that_overflows_slows_both_ends_down_and_loses_nothing() {
    scenario(|world| {
        let modem = Conditions { queue: Some(20), ..cable(10_000_000, ms(20)) };
        let (took, repeated) = run(world, 1_000_000, Offloads::NONE, modem);
        assert!(repeated > 0, "slow start overshoots such a queue");
        assert!(took < secs(5), "{took:?} for what takes a second");
    });
}

#[test]
fn an_mtu_that_changes_in_mid_flow_changes_no_byte() {
    let quiet = cable(20_000_000, ms(5));
    let bad = Conditions {
        loss: 0.02,
        duplication: 0.02,
        corruption: 0.01,
        reordering: 0.05,
        reordering_delay: ms(3),
        ..quiet
    };
    for (conditions, limit) in [(quiet, secs(10)), (bad, secs(60))] {
        scenario(|world| {
            let pair = Pair::new(world);
            world.keep_for_capture(1 << 16);
            pair.cable.set_offloads(Offloads::NONE).set(|present| *present = conditions);
            let (client, server) = (pair.a.clone(), pair.b.clone());
            let done = pair.a.spawn(async move { exchange(client, server, 2_000_000).await });
            for mtu in [1000, 1500, 576, 9000, 1400] {
                world.run_for(ms(150));
                pair.virt_a.mtu(mtu);
                pair.virt_b.mtu(mtu);
            }
            assert!(world.block_on(done) < limit);
        });
    }
}

#[test]
fn readers_that_stop_for_long_lose_no_byte_on_bad_cables() {
    for loss in [0.0, 0.05, 0.1] {
        scenario(|world| {
            let pair = Pair::new(world);
            world.keep_for_capture(1 << 16);
            let conditions = Conditions { loss, corruption: loss / 10.0, ..cable(100_000_000, ms(20)) };
            pair.cable.set_offloads(Offloads::NONE).set(|present| *present = conditions);
            let (client_at, server_at) = (pair.a.clone(), pair.b.clone());
            let listener = future::TcpListener::bind(&server_at, "10.0.0.2:80").expect("free");
            listener.set_option(TcpOption::ReceiveBuffer(65_536)).expect("open");
            let sender = pair.a.spawn(async move {
                let stream = future::TcpStream::connect(&client_at, "10.0.0.2:80").await.expect("answered");
                write(&stream, &data(600_000, 3)).await;
            });
            let reader = pair.b.spawn(async move {
                let (stream, _) = listener.accept().await.expect("a connection");
                let (mut all, mut buffer) = (Vec::new(), vec![0; 40_000]);
                // The window is closed each time, for longer and longer.
                for pause in 0.. {
                    let len = stream.read(&mut buffer).await.expect("open");
                    if len == 0 {
                        break;
                    }
                    all.extend_from_slice(&buffer[..len]);
                    if pause < 8 {
                        sleep(secs(1 << pause)).await;
                    }
                }
                assert!(all == data(600_000, 3), "byte for byte");
            });
            world.block_on(async move {
                timeout(secs(3600), async move {
                    reader.await;
                    sender.await;
                })
                .await
                .expect("it goes on when the reader does")
            });
            world.run_for(secs(600));
            for host in [&pair.a, &pair.b] {
                assert_eq!(host.stack(|stack, _| stack.socket_count()), 0, "nothing is left");
            }
        });
    }
}

/// Numbers without order, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    /// A probability up to a tenth, or none.
    fn chance(&mut self) -> f64 {
        if self.throw(2) == 0 { 0.0 } else { self.throw(100) as f64 / 1000.0 }
    }

    fn conditions(&mut self) -> Conditions {
        Conditions {
            latency: ms(self.throw(300)),
            jitter: ms(self.throw(30)),
            bandwidth: [None, Some(1_000_000), Some(10_000_000), Some(1_000_000_000), Some(40_000_000_000)]
                [self.throw(5) as usize],
            queue: [None, Some(10), Some(100)][self.throw(3) as usize],
            loss: self.chance(),
            duplication: self.chance(),
            reordering: self.chance(),
            reordering_delay: ms(1 + self.throw(50)),
            corruption: self.chance() / 4.0,
            mtu: None,
        }
    }
}

#[test]
fn on_cables_of_any_kind_every_byte_arrives_and_nothing_is_left() {
    for seed in 0..100 {
        scenario(|world| {
            let mut dice = Dice(seed);
            let conditions = dice.conditions();
            let len = dice.throw(200_000) as usize;
            let offloads = if dice.throw(2) == 0 { Offloads::ALL } else { Offloads::NONE };
            let (took, _) = run(world, len, offloads, conditions);
            assert!(took < secs(600), "{seed}: {took:?} for {len} bytes over {conditions:?}");
        });
    }
}
