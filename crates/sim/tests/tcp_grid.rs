//! Bulk data over bad cables: every transfer arrives byte for byte, in both directions at once, and in bearable time.

mod support;

use std::time::Duration;

use rumpnet_sim::{Conditions, Host, Offloads, World, future, now, scenario, timeout};
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
        let read = at.spawn(async move { assert!(read(&stream).await == data(len, theirs), "byte for byte") });
        (written, read)
    });
    for (written, read) in tasks {
        written.await;
        read.await;
    }
    now() - began
}

/// Runs an exchange over a cable, and returns how long it took.
fn run(world: &World, len: usize, offloads: Offloads, conditions: Conditions) -> Duration {
    let pair = Pair::new(world);
    world.keep_for_capture(1 << 20);
    pair.cable.set_offloads(offloads).set(|present| *present = conditions);
    let (client, server) = (pair.a.clone(), pair.b.clone());
    world.block_on(async move {
        timeout(secs(3600), exchange(client, server, len)).await.expect("it does not stand still")
    })
}

/// A cable of so many bits per second, whose queue holds what a link of its kind would.
fn cable(bandwidth: u64, latency: Duration) -> Conditions {
    Conditions { bandwidth: Some(bandwidth), latency, ..Conditions::PERFECT }
}

#[test]
fn any_bandwidth_and_latency_with_any_loss_delivers_every_byte() {
    for (bandwidth, len) in [(1_000_000, 100_000), (100_000_000, 1_000_000), (10_000_000_000, 2_000_000)] {
        for latency in [0, 10, 150] {
            for loss in [0.0, 0.01, 0.05] {
                scenario(|world| {
                    let conditions = Conditions { loss, ..cable(bandwidth, ms(latency)) };
                    let took = run(world, len, Offloads::NONE, conditions);
                    println!("{bandwidth} bit/s, {latency} ms, {loss}: {took:?}");
                });
            }
        }
    }
}
