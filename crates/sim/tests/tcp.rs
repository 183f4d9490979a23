//! TCP in worlds: how connections begin and end, and what their ends are told when something goes wrong (RFC 9293, tcp(4)).

mod support;

use std::{
    io::{ErrorKind, IoSlice, IoSliceMut, Read as _, Write as _},
    net::Shutdown,
    time::Duration,
};

use rumpnet_sim::{
    Absent, Config, TcpListener, TcpOption, TcpSocket, TcpStream, Verdict, future, now,
    proto::{Counter, DropReason, TcpState},
    scenario, sleep,
    wire::{
        checksum::Sum,
        icmpv4::{Message, UnreachableCode},
        ip::Protocol,
    },
};
use support::{A, Pair, S, Visited, header, ms, packet, packets, secs};

const SERVER: &str = "10.0.0.2:80";

/// A connection from `a` to `b`: both ends.
fn connected(pair: &Pair) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(&pair.b, SERVER).expect("free");
    let client = TcpStream::connect(&pair.a, SERVER).expect("answered");
    let (server, _) = listener.accept().expect("a connection");
    (client, server)
}

fn sockets(pair: &Pair) -> [u32; 2] {
    [&pair.a, &pair.b].map(|host| host.stack(|stack, _| stack.socket_count()))
}

#[test]
fn a_question_is_answered_and_both_ends_read_the_end() {
    scenario(|world| {
        let pair = Pair::new(world);
        let listener = TcpListener::bind(&pair.b, SERVER).expect("free");
        let mut client = TcpStream::connect(&pair.a, SERVER).expect("answered");
        let (mut server, peer) = listener.accept().expect("a connection");
        assert_eq!(peer, client.local_addr().expect("connected"));
        assert_eq!(server.peer_addr().expect("connected"), peer);
        client.write_all(b"question").expect("room");
        client.shutdown(Shutdown::Write).expect("connected");
        let mut asked = String::new();
        server.read_to_string(&mut asked).expect("the end comes");
        assert_eq!(asked, "question");
        server.write_all(b"answer").expect("room");
        drop(server);
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("the end comes");
        assert_eq!(answer, "answer");
        drop((client, listener));
        world.run_for(secs(61));
        assert_eq!(sockets(&pair), [0, 0]);
    });
}

#[test]
fn a_closed_port_refuses_and_an_address_that_nobody_has_is_unreachable() {
    scenario(|world| {
        let pair = Pair::new(world);
        let refused = |to: &str| TcpStream::connect(&pair.a, to).map(drop).expect_err("no listener").kind();
        assert_eq!(refused("10.0.0.2:81"), ErrorKind::ConnectionRefused);
        assert_eq!(refused("192.0.2.1:80"), ErrorKind::HostUnreachable);
        let began = world.now();
        assert_eq!(refused("10.0.0.77:80"), ErrorKind::HostUnreachable);
        assert!(world.now() - began < secs(5), "as long as the neighbour is asked for");
        assert_eq!(refused("10.0.0.77:80"), ErrorKind::HostUnreachable);
        assert_eq!(refused("localhost:80"), ErrorKind::InvalidInput);
        assert_eq!(sockets(&pair), [0, 0]);
    });
}

#[test]
fn a_silent_host_times_out_after_six_repetitions_and_a_hurried_caller_before() {
    scenario(|world| {
        let pair = Pair::new(world);
        // The neighbour is known, and then nothing comes back.
        drop(TcpStream::connect(&pair.a, "10.0.0.2:81"));
        pair.cable.cut_from(&pair.virt_b);
        let began = world.now();
        let hurried = TcpStream::connect_timeout(&pair.a, &([10, 0, 0, 2], 80).into(), ms(1500)).map(drop);
        assert_eq!(hurried.expect_err("too soon").kind(), ErrorKind::TimedOut);
        assert_eq!(world.now() - began, ms(1500));
        let began = world.now();
        let error = TcpStream::connect(&pair.a, SERVER).map(drop).expect_err("silence");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        // 1 + 2 + 4 + 8 + 16 + 32 + 64 seconds, as on Linux.
        assert_eq!((world.now() - began).as_secs(), 127);
    });
}

#[test]
fn each_direction_is_ended_by_itself() {
    scenario(|world| {
        let pair = Pair::new(world);
        for swapped in [false, true] {
            let (client, server) = connected(&pair);
            let (mut one, mut other) = if swapped { (server, client) } else { (client, server) };
            one.shutdown(Shutdown::Write).expect("connected");
            assert_eq!(other.read(&mut [0; 8]).expect("the end"), 0);
            assert_eq!(one.write(b"x").expect_err("ended").kind(), ErrorKind::BrokenPipe);
            for _ in 0..3 {
                other.write_all(b"still here").expect("the other direction lives");
                world.run_for(secs(100));
                let mut heard = [0; 10];
                one.read_exact(&mut heard).expect("heard");
                assert_eq!(&heard, b"still here");
            }
            other.shutdown(Shutdown::Write).expect("connected");
            assert_eq!(one.read(&mut [0; 8]).expect("the end"), 0);
        }
    });
}

#[test]
fn both_may_end_at_once() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.cable.set(|conditions| conditions.latency = ms(20));
        let (client, server) = connected(&pair);
        client.shutdown(Shutdown::Write).expect("connected");
        server.shutdown(Shutdown::Write).expect("connected");
        world.run_for(secs(1));
        let states = [&client, &server].map(|stream| stream.info().expect("there").state);
        assert_eq!(states, [TcpState::TimeWait; 2]);
        drop((client, server));
        world.run_for(secs(61));
        assert_eq!(sockets(&pair), [0, 0]);
    });
}

#[test]
fn unread_data_and_aborts_reset_the_peer() {
    scenario(|world| {
        let pair = Pair::new(world);
        let (mut client, server) = connected(&pair);
        client.write_all(b"never read").expect("room");
        world.run_for(ms(1));
        drop(server);
        assert_eq!(client.read(&mut [0; 8]).expect_err("reset").kind(), ErrorKind::ConnectionReset);
        assert_eq!(client.read(&mut [0; 8]).expect("told once"), 0);
        assert_eq!(client.write(b"x").expect_err("over").kind(), ErrorKind::BrokenPipe);
        drop(client);
        let (client, mut server) = connected(&pair);
        assert_eq!(client.linger().expect("open"), None);
        client.abort().expect("open");
        assert_eq!(server.read(&mut [0; 8]).expect_err("reset").kind(), ErrorKind::ConnectionReset);
        drop(server);
        assert_eq!(pair.a.counter(Counter::TcpResetsSent) + pair.b.counter(Counter::TcpResetsSent), 2);
        drop(client_without_server(&pair));
        world.run_for(secs(1));
        assert_eq!(sockets(&pair), [0, 0]);
    });
}

/// A connection whose listener is closed before it was accepted.
fn client_without_server(pair: &Pair) -> TcpStream {
    let listener = TcpListener::bind(&pair.b, SERVER).expect("free");
    let mut client = TcpStream::connect(&pair.a, SERVER).expect("answered");
    drop(listener);
    assert_eq!(client.read(&mut [0; 8]).expect_err("reset").kind(), ErrorKind::ConnectionReset);
    client
}

#[test]
fn a_peer_that_stops_reading_stops_the_writer_and_probes_find_when_it_goes_on() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.cable.set(|conditions| conditions.latency = ms(5));
        let (mut client, mut server) = connected(&pair);
        client.set_write_timeout(Some(secs(10))).expect("not zero");
        let data: Vec<u8> = (0..20_000_000u32).map(|place| (place * 7) as u8).collect();
        let mut sent = 0;
        let full = loop {
            match client.write(&data[sent..]) {
                Ok(len) => sent += len,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        let limits = Config::default();
        assert!(
            sent <= (limits.tcp_receive_bytes + limits.tcp_send_most_bytes) as usize,
            "{sent} bytes taken"
        );
        assert_eq!(client.info().expect("connected").path.send_window, 0);
        // An hour later it still lives, and goes on when the reader does, though the news that the window is open may be lost.
        world.run_for(secs(3600));
        let rule = pair.cable.rule(|_| Verdict::Drop);
        let mut got = vec![0; 1_000_000];
        server.read_exact(&mut got).expect("there");
        world.run_for(secs(1));
        rule.lift();
        let writer = pair.a.spawn({
            let (client, rest) = (client.to_async(), data[sent..].to_vec());
            async move { client.write_all(&rest).await.expect("there is room in the end") }
        });
        let mut rest = vec![0; data.len() - got.len()];
        server.read_exact(&mut rest).expect("all arrives");
        got.extend(rest);
        assert!(got == data, "byte for byte");
        assert!(writer.is_finished());
    });
}

#[test]
fn a_cable_that_is_cut_in_mid_flow_and_mended_delays_and_loses_nothing() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.cable.set(|conditions| {
            conditions.bandwidth = Some(10_000_000);
            conditions.latency = ms(10);
        });
        let (client, server) = connected(&pair);
        let data: Vec<u8> = (0..3_000_000u32).map(|place| (place / 3) as u8).collect();
        let (writer, sent) = (client.to_async(), data.clone());
        let written = pair.a.spawn(async move {
            writer.write_all(&sent).await.expect("room in the end");
            writer.shutdown(Shutdown::Write).expect("connected");
        });
        let reader = server.to_async();
        let read = pair.b.spawn(async move {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).await.expect("the end comes");
            all
        });
        for pause in [ms(100), secs(3), secs(40)] {
            world.run_for(ms(300));
            pair.cable.cut();
            world.run_for(pause);
            pair.cable.mend();
        }
        let began = world.now();
        assert!(world.block_on(read) == data, "byte for byte");
        world.block_on(written);
        // After 40 s of silence the time-out is some 25 to 50 s long.
        assert!(world.now() - began < secs(60), "{:?}", world.now() - began);
    });
}

#[test]
fn a_peer_that_is_gone_for_good_is_given_up_and_the_writer_is_told() {
    scenario(|world| {
        let pair = Pair::new(world);
        let (mut client, server) = connected(&pair);
        pair.cable.cut_from(&pair.virt_b);
        client.write_all(b"anybody?").expect("room");
        let began = world.now();
        let error = client.read(&mut [0; 8]).expect_err("nobody");
        // Neighbours fall silent, too, and are the better reason.
        assert!(matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::HostUnreachable), "{error}");
        let took = world.now() - began;
        assert!(took > secs(800) && took < secs(1100), "fifteen repetitions: {took:?}");
        drop((client, server));
        let (mut client, _server) = {
            pair.cable.mend();
            connected(&pair)
        };
        client.set_option(TcpOption::UserTimeout(Duration::from_secs(10).into())).expect("open");
        pair.cable.cut_from(&pair.virt_b);
        client.write_all(b"anybody?").expect("room");
        let began = world.now();
        client.read(&mut [0; 8]).expect_err("nobody");
        let took = world.now() - began;
        assert!(took >= secs(10) && took < secs(25), "the user's own time-out: {took:?}");
    });
}

#[test]
fn keepalive_finds_a_dead_peer_and_leaves_a_living_one() {
    scenario(|world| {
        let pair = Pair::new(world);
        let (mut client, server) = connected(&pair);
        client.set_keepalive(true).expect("open");
        for option in [
            TcpOption::KeepIdle(Duration::from_secs(60).into()),
            TcpOption::KeepInterval(Duration::from_secs(10).into()),
            TcpOption::KeepCount(3),
        ] {
            client.set_option(option).expect("a good value");
        }
        assert!(client.keepalive().expect("open"));
        world.run_for(secs(3600));
        assert_eq!(client.info().expect("connected").state, TcpState::Established);
        pair.cable.cut_from(&pair.virt_b);
        let began = world.now();
        assert_eq!(client.read(&mut [0; 8]).expect_err("dead").kind(), ErrorKind::TimedOut);
        let took = world.now() - began;
        assert!(took >= secs(80) && took <= secs(91), "60 s and three times 10: {took:?}");
        drop(server);
    });
}

#[test]
fn a_full_accept_queue_turns_newcomers_away_until_there_is_room() {
    scenario(|world| {
        let pair = Pair::new(world);
        let socket = TcpSocket::new(&pair.b).expect("room");
        socket.bind(SERVER).expect("free");
        let listener = socket.listen_blocking(3).expect("bound");
        let clients: Vec<_> = (0..6)
            .map(|_| {
                let host = pair.a.clone();
                pair.a.spawn(async move { future::TcpStream::connect(&host, SERVER).await })
            })
            .collect();
        world.run_for(ms(900));
        // All were answered, but only so many wait; the acknowledgments of the others were not heard (as on Linux).
        assert!(clients.iter().all(|client| client.is_finished()));
        assert_eq!(pair.b.drops(DropReason::TcpListenQueueFull), 3);
        listener.set_nonblocking(true).expect("always");
        let mut accepted: Vec<_> = std::iter::from_fn(|| listener.accept().ok()).collect();
        assert_eq!(accepted.len(), 3);
        listener.set_nonblocking(false).expect("always");
        for _ in 0..3 {
            accepted.push(listener.accept().expect("when they are asked again"));
        }
        // A queue that is full before it begins does not answer at all.
        for _ in 0..3 {
            drop(TcpStream::connect(&pair.a, SERVER).expect("room"));
        }
        let patience = ms(500);
        let turned_away =
            TcpStream::connect_timeout(&pair.a, &([10, 0, 0, 2], 80).into(), patience).map(drop);
        assert_eq!(turned_away.expect_err("no answer").kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn a_thousand_connections_at_once_keep_their_streams_apart() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.cable.set(|conditions| {
            conditions.latency = ms(2);
            conditions.loss = 0.01;
        });
        let listener = future::TcpListener::bind(&pair.b, SERVER).expect("free");
        let host = pair.b.clone();
        let served = pair.b.spawn(async move {
            for _ in 0..1000 {
                let (stream, _) = listener.accept().await.expect("a connection");
                let _echo = host.spawn(async move {
                    let mut said = Vec::new();
                    stream.read_to_end(&mut said).await.expect("the end comes");
                    stream.write_all(&said).await.expect("open");
                });
            }
        });
        let clients: Vec<_> = (0..1000u32)
            .map(|number| {
                let host = pair.a.clone();
                pair.a.spawn(async move {
                    let stream = future::TcpStream::connect(&host, SERVER).await.expect("answered");
                    let said: Vec<u8> = (0..3000).map(|place| (place * number) as u8).collect();
                    stream.write_all(&said).await.expect("open");
                    stream.shutdown(Shutdown::Write).expect("open");
                    let mut echo = Vec::new();
                    stream.read_to_end(&mut echo).await.expect("the end comes");
                    assert!(echo == said, "the echo of {number}");
                })
            })
            .collect();
        world.block_on(served);
        for client in clients {
            world.block_on(client);
        }
        world.run_for(secs(200));
        assert_eq!(sockets(&pair), [0, 0]);
    });
}

#[test]
fn options_are_kept_and_impossible_ones_refused() {
    scenario(|world| {
        let pair = Pair::new(world);
        let listener = TcpListener::bind(&pair.b, SERVER).expect("free");
        listener.set_ttl(9).expect("a good value");
        let client = TcpStream::connect(&pair.a, SERVER).expect("answered");
        let (server, _) = listener.accept().expect("a connection");
        assert_eq!(server.ttl().expect("open"), 9, "inherited");
        client.set_nodelay(true).expect("open");
        assert!(client.nodelay().expect("open") && !server.nodelay().expect("open"));
        for ttl in [0, 256] {
            assert_eq!(client.set_ttl(ttl).expect_err("impossible").kind(), ErrorKind::InvalidInput);
        }
        for time in [Some(Duration::from_secs(1)), None, Some(Duration::ZERO)] {
            client.set_linger(time).expect("open");
            assert_eq!(client.linger().expect("open"), time);
        }
        for absent in Absent::ALL {
            client.set_option(TcpOption::Absent(*absent)).expect_err("not here");
        }
        let error = client.set_option(TcpOption::Reno(true)).expect_err("too late");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let socket = TcpSocket::new(&pair.a).expect("room");
        socket.set_option(TcpOption::Reno(true)).expect("in time");
        socket.bind("10.0.0.1:4000").expect("free");
        let reno = socket.connect_blocking(SERVER).expect("answered");
        assert_eq!(reno.local_addr().expect("bound"), ([10, 0, 0, 1], 4000).into());
        assert_eq!(reno.info().expect("connected").path.congestion, "reno");
        assert!(client.take_error().expect("open").is_none());
    });
}

#[test]
fn looking_vectors_and_halves_read_the_same_stream() {
    scenario(|world| {
        let pair = Pair::new(world);
        let (mut client, mut server) = connected(&pair);
        let count = client.write_vectored(&[IoSlice::new(b"one "), IoSlice::new(b"two ")]).expect("room");
        assert_eq!(count, 8);
        client.write_all(b"three").expect("room");
        world.run_for(ms(1));
        let mut looked = [0; 6];
        assert_eq!(server.peek(&mut looked).expect("there"), 6);
        assert_eq!(&looked, b"one tw");
        let (mut head, mut tail) = ([0; 3], [0; 99]);
        let len = server
            .read_vectored(&mut [IoSliceMut::new(&mut head), IoSliceMut::new(&mut tail)])
            .expect("there");
        assert_eq!((&head[..], &tail[..len - 3]), (&b"one"[..], &b" two three"[..]));
        let (read, write) = client.to_async().into_split();
        let (other_read, other_write) = server.to_async().into_split();
        let (read, write) = read.reunite(write).expect("of one connection").into_split();
        let error = read.reunite(other_write).expect_err("of two connections");
        assert_eq!(error.to_string(), "the halves are not of one connection");
        // The other handles live, but the half that writes is gone.
        drop(write);
        assert_eq!(world.block_on(async move { other_read.read(&mut [0; 9]).await }).expect("the end"), 0);
        drop((client, server));
    });
}

#[test]
fn a_task_that_waits_is_woken_by_data_by_room_and_by_the_end() {
    scenario(|world| {
        let pair = Pair::new(world);
        let (client, server) = {
            let (client, server) = connected(&pair);
            (client.to_async(), server.to_async())
        };
        let reader = pair.b.spawn(async move {
            server.readable().await.expect("open");
            let first = now();
            let mut all = Vec::new();
            server.read_to_end(&mut all).await.expect("the end comes");
            (first, now(), all.len())
        });
        let began = world.now();
        let writer = pair.a.spawn(async move {
            sleep(secs(1)).await;
            client.writable().await.expect("room");
            client.write_all(&[7; 9_000_000]).await.expect("room in the end");
            sleep(secs(1)).await;
        });
        let (first, last, len) = world.block_on(reader);
        world.block_on(writer);
        assert_eq!(len, 9_000_000);
        assert!(first - began >= secs(1) && last - began >= secs(2));
    });
}

#[test]
fn errors_from_the_path_end_an_attempt_and_are_only_remembered_by_a_connection() {
    scenario(|world| {
        let visited = Visited::new(world);
        visited.introduce(world);
        let host = visited.a.clone();
        let attempt =
            visited.a.spawn(async move { future::TcpStream::connect(&host, (S, 80)).await.map(drop) });
        world.run_until_idle();
        let (sent, payload) = packets(&visited.stranger.heard()).remove(0);
        let quote = packet(&sent, &payload);
        let error = |quote: &[u8]| {
            let mut sum = Sum::new();
            sum.add(quote);
            let message = Message::DestinationUnreachable { code: UnreachableCode::HOST, next_hop_mtu: 0 };
            let error = [&message.to_bytes(sum)[..], quote].concat();
            packet(&header(S, A, Protocol::ICMP, error.len()), &error)
        };
        let mut forged = quote.clone();
        // The number that the quoted segment begins with.
        forged[24] ^= 1;
        visited.say(world, &error(&forged));
        assert_eq!(visited.a.drops(DropReason::IcmpNoSocket), 1);
        assert!(!attempt.is_finished(), "a forger does not know the number");
        visited.say(world, &error(&quote));
        let refused = world.block_on(attempt).expect_err("unreachable");
        assert_eq!(refused.kind(), ErrorKind::HostUnreachable);
    });
}
