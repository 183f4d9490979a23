//! The memory of all sockets together: it is bounded, nothing fails for want of it, and everybody makes progress.

mod support;

use std::{cell::Cell, rc::Rc, time::Duration};

use rumpnet_sim::{
    Config, Host, MemoryLimits, SocketOption, TcpOption, World, future,
    proto::{Counter, DropReason},
    scenario, sleep, timeout,
};
use support::{Pair, bound, ms, secs};

const MIB: u64 = 1024 * 1024;

/// Two hosts as [`Pair::new`] makes them, whose sockets may hold so much.
fn pair(world: &World, limits_of_a: MemoryLimits, limits_of_b: MemoryLimits) -> Pair {
    let config = |memory| Config { memory, tcp_receive_bytes: 16 * MIB as u32, ..Config::default() };
    world.host_with("a", config(limits_of_a));
    world.host_with("b", config(limits_of_b));
    Pair::new(world)
}

/// Bytes that tell where they belong.
fn data(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|place| ((place + seed) * 31 + place / 251) as u8).collect()
}

/// Lets a task write a stream and end it.
fn write(at: &Host, stream: future::TcpStream, bytes: Vec<u8>) {
    drop(at.spawn(async move {
        stream.write_all(&bytes).await.expect("the peer reads in the end");
        stream.shutdown(std::net::Shutdown::Write).expect("connected");
    }));
}

/// So many connections from `a` to `b`, in the order in which they were accepted.
async fn connections(a: Host, b: Host, count: usize) -> Vec<(future::TcpStream, future::TcpStream)> {
    let listener = future::TcpListener::bind(&b, "10.0.0.2:80").expect("free");
    let mut all = Vec::new();
    for _ in 0..count {
        let client = future::TcpStream::connect(&a, "10.0.0.2:80").await.expect("answered");
        all.push((client, listener.accept().await.expect("a connection").0));
    }
    all
}

/// Reads a stream to its end in small pieces, with pauses.
async fn read_slowly(stream: future::TcpStream, first: Duration, pause: Duration) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), vec![0; 16 * 1024]);
    sleep(first).await;
    loop {
        match stream.read(&mut piece).await.expect("the end comes") {
            0 => return all,
            len => all.extend_from_slice(&piece[..len]),
        }
        sleep(pause).await;
    }
}

fn used(host: &Host) -> u64 {
    host.stack(|stack, _| stack.memory().0)
}

fn peak(host: &Host) -> u64 {
    host.stack(|stack, _| stack.memory().1)
}

/// Transfers of `len` bytes each over so many connections at once, to slow readers; all is given back in the end.
fn slow_readers(world: &World, pair: &Pair, count: usize, len: usize) {
    world.set_patience(u64::MAX);
    let (a, b) = (pair.a.clone(), pair.b.clone());
    world.block_on(async move {
        let mut readers = Vec::new();
        for (place, (client, server)) in
            connections(a.clone(), b.clone(), count).await.into_iter().enumerate()
        {
            write(&a, client, data(len, place));
            readers.push(b.spawn(async move {
                let got = read_slowly(server, secs(5), ms(50)).await;
                assert!(got == data(len, place), "byte for byte");
            }));
        }
        for reader in readers {
            timeout(secs(3600), reader).await.expect("it does not stand still");
        }
    });
    world.run_for(secs(600));
    assert_eq!((used(&pair.a), used(&pair.b)), (0, 0), "all was given back");
}

#[test]
fn a_thousand_slow_readers_hold_what_the_budget_says_and_each_gets_every_byte() {
    // once: a thousand transfers take their time.
    let world = World::new(1);
    let limits = MemoryLimits::up_to(64 * MIB);
    let pair = pair(&world, Config::default().memory, limits);
    pair.cable.set(|conditions| conditions.latency = ms(1));
    slow_readers(&world, &pair, 1000, 160_000);
    // Beside the budget there is what each is guaranteed, two segments or 4 KiB with what goes with them.
    assert!(peak(&pair.b) <= limits.max + 1000 * 8 * 1024, "{}", peak(&pair.b));
    assert!(peak(&pair.b) > limits.pressure, "or nothing was tested");
    assert!(pair.b.counter(Counter::MemoryPressure) > 0);
    for reason in [DropReason::TcpReassemblyFull, DropReason::TcpOutOfWindow] {
        assert_eq!(pair.b.drops(reason), 0, "{reason}");
    }
}

#[test]
fn writers_wait_for_a_budget_and_are_woken_when_there_is_room() {
    scenario(|world| {
        let limits = MemoryLimits::up_to(2 * MIB);
        let pair = pair(world, limits, Config::default().memory);
        pair.cable.set(|conditions| {
            (conditions.latency, conditions.bandwidth) = (ms(20), Some(100_000_000));
        });
        slow_readers(world, &pair, 50, 300_000);
        // A write may exceed what was allowed when it was made by what a socket is guaranteed.
        assert!(peak(&pair.a) <= limits.max + 50 * 8 * 1024, "{}", peak(&pair.a));
        assert!(pair.a.counter(Counter::TcpWritersHeldBack) > 0);
    });
}

#[test]
fn one_that_all_wait_for_goes_on_though_the_others_hold_everything() {
    scenario(|world| {
        let limits = MemoryLimits::up_to(MIB);
        let pair = pair(world, Config::default().memory, limits);
        let (a, b) = (pair.a.clone(), pair.b.clone());
        let held = Rc::new(Cell::new(0));
        let seen = held.clone();
        world.block_on(async move {
            let mut all = connections(a.clone(), b.clone(), 20).await;
            let (client, server) = all.pop().expect("twenty");
            for (place, (client, _)) in all.iter().enumerate() {
                write(&a, client.clone(), data(200_000, place));
            }
            sleep(secs(2)).await;
            seen.set(used(&b));
            // The readers of nineteen wait for the end of the twentieth, for which there is nothing but what it is guaranteed.
            write(&a, client, data(200_000, 99));
            let got = timeout(secs(600), read_slowly(server, ms(0), ms(0))).await.expect("it goes on");
            assert!(got == data(200_000, 99), "byte for byte");
            for (place, (_, server)) in all.into_iter().enumerate() {
                let got = timeout(secs(600), read_slowly(server, ms(0), ms(0))).await;
                assert!(got.expect("it goes on") == data(200_000, place), "byte for byte");
            }
        });
        assert!(held.get() >= limits.max, "there was nothing left: {}", held.get());
    });
}

#[test]
fn two_sockets_of_one_kernel_do_not_wait_for_each_others_memory() {
    scenario(|world| {
        let pair = pair(world, MemoryLimits::up_to(64 * 1024), Config::default().memory);
        let a = pair.a.clone();
        world.block_on(async move {
            let listener = future::TcpListener::bind(&a, "127.0.0.1:80").expect("free");
            let client = future::TcpStream::connect(&a, "127.0.0.1:80").await.expect("answered");
            let (server, _) = listener.accept().await.expect("a connection");
            write(&a, client, data(3_000_000, 1));
            let got = timeout(secs(600), read_slowly(server, ms(0), ms(0))).await.expect("it goes on");
            assert!(got == data(3_000_000, 1), "byte for byte");
        });
    });
}

#[test]
fn early_data_is_given_up_for_what_comes_in_order_and_is_sent_again() {
    scenario(|world| {
        let limits = MemoryLimits::up_to(2 * MIB);
        let pair = pair(world, Config::default().memory, limits);
        pair.cable.set(|conditions| {
            (conditions.latency, conditions.loss) = (ms(10), 0.02);
            conditions.bandwidth = Some(200_000_000);
        });
        pair.cable.set_offloads(rumpnet_sim::Offloads::NONE);
        slow_readers(world, &pair, 40, 400_000);
        assert!(peak(&pair.b) <= limits.max + 40 * 8 * 1024, "{}", peak(&pair.b));
        assert!(pair.b.counter(Counter::TcpPruned) > 0);
    });
}

#[test]
fn datagrams_that_nobody_reads_count_and_a_stream_goes_on_beside_them() {
    scenario(|world| {
        let limits = MemoryLimits::up_to(MIB);
        let pair = pair(world, Config::default().memory, limits);
        let deaf: Vec<_> =
            (0..4).map(|place| bound(&pair.b, &format!("10.0.0.2:{}", 1000 + place))).collect();
        let sender = bound(&pair.a, "10.0.0.1:1000");
        sender.set_option(SocketOption::SendBuffer(8 << 20)).expect("in range");
        for round in 0..2000 {
            sender
                .send_to(
                    &[7; 1400],
                    ("10.0.0.2".parse::<std::net::IpAddr>().expect("good"), 1000 + round % 4),
                )
                .expect("room");
            world.run_for(ms(1));
        }
        assert!(pair.b.drops(DropReason::UdpMemoryFull) > 0);
        assert!(used(&pair.b) <= limits.max + 2048, "{}", used(&pair.b));
        let (a, b) = (pair.a.clone(), pair.b.clone());
        world.block_on(async move {
            let (client, server) = connections(a.clone(), b, 1).await.remove(0);
            write(&a, client, data(100_000, 1));
            let got = timeout(secs(600), read_slowly(server, ms(0), ms(0))).await.expect("it goes on");
            assert!(got == data(100_000, 1), "byte for byte");
        });
        drop(deaf);
        world.run_for(secs(100));
        assert_eq!(used(&pair.b), 0);
    });
}

#[test]
fn a_sysctl_that_raises_the_budget_wakes_who_waits_for_it() {
    scenario(|world| {
        let limits = MemoryLimits::up_to(64 * 1024);
        let pair = pair(world, limits, Config::default().memory);
        let (a, b) = (pair.a.clone(), pair.b.clone());
        let (client, _server) = world.block_on(async move { connections(a, b, 1).await.remove(0) });
        // The peer's window closes, and what is written waits in the buffer.
        pair.cable.cut();
        let writer = pair.a.spawn({
            let client = client.clone();
            async move {
                let mut taken = 0;
                while taken < 200_000 {
                    taken += client.write(&[7; 10_000]).await.expect("connected");
                }
            }
        });
        world.run_for(secs(5));
        assert!(!writer.is_finished());
        assert_eq!(pair.a.counter(Counter::TcpWritersHeldBack), 1);
        pair.a.sysctl("net.inet.tcp.mem_max", Some(64 << 20)).expect("known");
        pair.a.sysctl("net.inet.tcp.mem_pressure", Some(32 << 20)).expect("below the greatest");
        world.run_for(ms(1));
        assert!(writer.is_finished(), "at once, without a word from the peer");
    });
}

#[test]
fn the_send_buffer_follows_the_path_unless_it_was_set() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.cable.set(|conditions| {
            (conditions.latency, conditions.bandwidth) = (ms(50), Some(500_000_000));
        });
        let (a, b) = (pair.a.clone(), pair.b.clone());
        world.block_on(async move {
            for (place, fixed) in [None, Some(100_000)].into_iter().enumerate() {
                let address = format!("10.0.0.2:{}", 80 + place);
                let listener = future::TcpListener::bind(&b, &*address).expect("free");
                let client = future::TcpStream::connect(&a, &*address).await.expect("answered");
                let (server, _) = listener.accept().await.expect("a connection");
                if let Some(bytes) = fixed {
                    client.set_option(TcpOption::SendBuffer(bytes)).expect("in range");
                }
                let before = client.settings().expect("open").send_buffer;
                assert_eq!(before, fixed.unwrap_or_else(|| Config::default().tcp_send_bytes));
                let len = fixed.map_or(20_000_000, |_| 1_000_000);
                write(&a, client.clone(), data(len, 1));
                let got = read_slowly(server, ms(0), ms(0)).await;
                assert!(got == data(len, 1), "byte for byte");
                let (after, path) =
                    (client.settings().expect("open").send_buffer, client.info().expect("open").path);
                match fixed {
                    Some(bytes) => assert_eq!(after, bytes),
                    None => assert_eq!(after, (2 * path.cwnd).min(Config::default().tcp_send_most_bytes)),
                }
            }
        });
    });
}
