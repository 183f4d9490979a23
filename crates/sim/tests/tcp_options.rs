//! What TCP's less common calls and options do, in worlds.

mod support;

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    time::Duration,
};

use rumpnet_sim::{
    Offloads, TcpListener, TcpOption, TcpStream, Verdict, World, future, proto::Counter, scenario,
};
use support::{Pair, ms, secs};

const SERVER: &str = "10.0.0.2:80";

/// A connection from `a` to `b`: both ends.
fn connected(pair: &Pair) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(&pair.b, SERVER).expect("free");
    let client = TcpStream::connect(&pair.a, SERVER).expect("answered");
    let (server, _) = listener.accept().expect("a connection");
    (client, server)
}

#[test]
fn a_task_waits_for_an_urgent_byte_while_another_reads_the_stream() {
    scenario(|world| {
        let pair = Pair::new(world);
        let (mut client, server) = connected(&pair);
        let (urgent, reader) = (server.to_async(), server.to_async());
        let waits = pair.b.spawn(async move {
            let first = urgent.recv_urgent().await.expect("open");
            (first, urgent.recv_urgent().await.expect("open"))
        });
        let reads = pair.b.spawn(async move {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).await.expect("the end comes");
            all
        });
        client.write_all(b"stream ").expect("room");
        assert_eq!(client.send_urgent(b"urgent!").expect("room"), 7);
        world.run_for(ms(10));
        client.write_all(b" more").expect("room");
        drop(client);
        world.run_for(secs(1));
        assert_eq!(world.block_on(waits), (Some(b'!'), None), "the byte, and the end");
        assert_eq!(world.block_on(reads), b"stream urgent more");
    });
}

#[test]
fn a_thread_waits_for_an_urgent_byte_and_its_patience_ends() {
    scenario(|world| {
        let pair = Pair::new(world);
        let (client, mut server) = connected(&pair);
        server.set_read_timeout(Some(Duration::from_millis(50))).expect("not zero");
        assert_eq!(server.wait_urgent().expect_err("none comes").kind(), ErrorKind::WouldBlock);
        assert_eq!(server.recv_urgent().expect_err("none was announced").kind(), ErrorKind::InvalidInput);
        client.send_urgent(b"abc").expect("room");
        server.wait_urgent().expect("it comes");
        assert_eq!(server.urgent_ahead().expect("connected"), Some(2));
        assert!(!server.at_mark().expect("connected"));
        let mut buffer = [0; 9];
        assert_eq!(server.read(&mut buffer).expect("there"), 2, "up to the mark");
        assert!(server.at_mark().expect("connected"));
        assert_eq!(server.recv_urgent().expect("there"), Some(b'c'));
        (&client).write_all(b"x").expect("room");
        assert_eq!(server.read(&mut buffer).expect("it comes"), 1, "what follows the mark");
        server.set_urgent_inline(true).expect("open");
        assert!(server.urgent_inline().expect("open"));
        client.send_urgent(b"d").expect("room");
        server.wait_urgent().expect("it comes");
        assert_eq!(server.recv_urgent().expect_err("it is in line").kind(), ErrorKind::InvalidInput);
        drop(client);
        assert_eq!(server.read(&mut buffer).expect("there"), 1, "in line");
        assert_eq!(buffer[0], b'd');
        server.wait_urgent().expect("the end has come");
    });
}

#[test]
fn what_is_to_be_followed_waits_for_what_follows() {
    scenario(|world| {
        let pair = Pair::new(world);
        let (mut client, mut server) = connected(&pair);
        assert_eq!(client.send_more(b"head ").expect("room"), 5);
        world.run_for(ms(100));
        server.set_nonblocking(true).expect("open");
        let mut buffer = [0; 99];
        assert_eq!(server.read(&mut buffer).expect_err("it waits").kind(), ErrorKind::WouldBlock);
        client.write_all(b"tail").expect("room");
        world.run_for(ms(1));
        assert_eq!(server.read(&mut buffer).expect("both"), 9);
        let (write, read) = (client.to_async(), server.to_async());
        let task = pair.a.spawn(async move { write.send_more(b"alone").await });
        assert_eq!(world.block_on(task).expect("room"), 5);
        world.run_for(ms(201));
        assert_eq!(read.try_read(&mut buffer).expect("its time is over"), 5);
    });
}

/// How long a call takes in the world's time.
fn taken(world: &World, call: impl FnOnce()) -> Duration {
    let began = world.now();
    call();
    world.now() - began
}

#[test]
fn closing_waits_for_the_peer_as_long_as_it_was_told_to() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.cable.set(|conditions| conditions.latency = ms(50));
        let (mut client, mut server) = connected(&pair);
        client.set_linger(Some(Duration::from_secs(2))).expect("open");
        assert_eq!(client.linger().expect("open"), Some(Duration::from_secs(2)));
        client.write_all(&[7; 5000]).expect("room");
        let span = taken(world, || drop(client));
        assert!(span >= ms(100) && span < ms(200), "{span:?}: a round trip");
        let mut all = Vec::new();
        server.read_to_end(&mut all).expect("the end comes");
        assert_eq!(all.len(), 5000);

        let (mut client, server) = connected(&pair);
        server.set_option(TcpOption::ReceiveBuffer(2048)).expect("open");
        client.set_linger(Some(Duration::from_secs(2))).expect("open");
        client.set_option(TcpOption::SendBuffer(8_000_000)).expect("open");
        client.write_all(&vec![7; 4_000_000]).expect("room");
        let span = taken(world, || drop(client));
        assert_eq!(span, Duration::from_secs(2), "nobody reads");
        drop(server);
    });
}

/// Something done to a stream.
type Change<'a> = &'a dyn Fn(&TcpStream) -> io::Result<()>;

#[test]
fn closing_does_not_wait_unless_a_thread_wants_it_to() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.cable.set(|conditions| conditions.latency = ms(50));
        let plain = |client: &TcpStream| client.set_linger(None);
        let nonblocking = |client: &TcpStream| client.set_nonblocking(true);
        let other = |client: &TcpStream| {
            drop(client.to_async());
            Ok(())
        };
        let changes: [Change<'_>; 3] = [&plain, &nonblocking, &other];
        for change in changes {
            let (mut client, mut server) = connected(&pair);
            client.set_linger(Some(Duration::from_secs(2))).expect("open");
            client.write_all(b"said").expect("room");
            change(&client).expect("open");
            assert_eq!(taken(world, || drop(client)), Duration::ZERO);
            let mut all = Vec::new();
            server.read_to_end(&mut all).expect("the rest comes in the background");
            assert_eq!(all, b"said");
        }
        // Unread data resets, and there is nothing to wait for.
        let (client, mut server) = connected(&pair);
        server.write_all(b"unread").expect("room");
        world.run_for(ms(60));
        client.set_linger(Some(Duration::from_secs(2))).expect("open");
        assert_eq!(taken(world, || drop(client)), Duration::ZERO);
        assert_eq!(server.read(&mut [0; 9]).expect_err("reset").kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_task_learns_whether_its_peer_has_got_everything() {
    scenario(|world| {
        let pair = Pair::new(world);
        let (client, mut server) = connected(&pair);
        let task = pair.a.spawn({
            let client = client.to_async();
            async move {
                client.write_all(b"all of it").await.expect("room");
                client.close().await
            }
        });
        world.block_on(task).expect("acknowledged");
        let mut all = Vec::new();
        server.read_to_end(&mut all).expect("the end comes");
        assert_eq!(all, b"all of it");
        let (client, server) = connected(&pair);
        (&client).write_all(b"never read").expect("room");
        world.run_for(ms(1));
        let closing = client.to_async();
        let task = pair.a.spawn(async move { closing.close().await });
        server.abort().expect("open");
        let error = world.block_on(task).expect_err("reset before the end was acknowledged");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

/// Writes the mark of congestion on every so manieth segment with data that is capable of it (RFC 3168 section 5), as a router does.
fn mark_every(pair: &Pair, nth: u32) -> std::rc::Rc<std::cell::Cell<u32>> {
    let marked = std::rc::Rc::new(std::cell::Cell::new(0));
    let (count, seen) = (marked.clone(), std::cell::Cell::new(0));
    pair.cable.set_offloads(Offloads::NONE);
    pair.cable.rule(move |passing| {
        let is_capable =
            passing.bytes.len() > 14 + 20 && passing.bytes[12..14] == [8, 0] && passing.bytes[15] & 3 == 2;
        if !is_capable {
            return Verdict::Pass;
        }
        seen.set(seen.get() + 1);
        if seen.get() % nth != 0 {
            return Verdict::Pass;
        }
        count.set(count.get() + 1);
        let mut bytes = passing.bytes.to_vec();
        bytes[15] |= 3;
        // The header's sum of one more in its first word is one less (RFC 1624).
        bytes[24..26].fill(0);
        let sum = rumpnet_sim::wire::checksum::of(&bytes[14..34]);
        bytes[24..26].copy_from_slice(&sum.to_be_bytes());
        Verdict::Replace(vec![bytes.into()])
    });
    marked
}

#[test]
fn a_cable_that_marks_slows_its_sender_without_losing_a_byte_and_all_of_it_is_counted() {
    scenario(|world| {
        let pair = Pair::new(world);
        pair.cable.set(|conditions| conditions.latency = ms(5));
        pair.a.sysctl("net.inet.tcp.ecn.enable", Some(1)).expect("known");
        let marked = mark_every(&pair, 40);
        let (a, b) = (pair.a.clone(), pair.b.clone());
        let (sent, received) = world.block_on(async move {
            let listener = future::TcpListener::bind(&b, SERVER).expect("free");
            let client = future::TcpStream::connect(&a, SERVER).await.expect("answered");
            let (server, _) = listener.accept().await.expect("a connection");
            let writer = client.clone();
            drop(
                a.spawn(async move { writer.write_all(&vec![7; 1_000_000]).await.expect("the peer reads") }),
            );
            let mut all = vec![0; 1_000_000];
            server.read_exact(&mut all).await.expect("all comes");
            assert!(all.iter().all(|byte| *byte == 7));
            (client.info().expect("connected").path, server.info().expect("connected").path)
        });
        assert!(sent.ecn && received.ecn);
        assert!(marked.get() > 5);
        assert_eq!(received.traffic.marks_received, u64::from(marked.get()));
        assert_eq!(pair.b.counter(Counter::TcpMarksReceived), u64::from(marked.get()));
        assert_eq!(sent.traffic.bytes_retransmitted, 0, "nothing was lost");
        let told = &sent.traffic;
        assert!(told.reductions_by_marks > 0 && told.reductions_by_marks <= u64::from(marked.get()));
        assert!(told.echoes_received >= told.reductions_by_marks && told.delivered_marked > 0);
        assert_eq!(pair.a.counter(Counter::TcpEchoesReceived), told.echoes_received);
        assert_eq!(pair.a.counter(Counter::TcpReducedByMarks), told.reductions_by_marks);
        assert!(sent.ssthresh.is_some());
    });
}

#[test]
fn marks_are_asked_for_agreed_to_or_neither_as_the_variable_says() {
    let agreed = |ours: i64, theirs: i64| {
        let told = std::rc::Rc::new(std::cell::Cell::new([false; 2]));
        let heard = told.clone();
        scenario(move |world| {
            let pair = Pair::new(world);
            pair.a.sysctl("net.inet.tcp.ecn.enable", Some(ours)).expect("known");
            pair.b.sysctl("net.inet.tcp.ecn.enable", Some(theirs)).expect("known");
            let listener = TcpListener::bind(&pair.b, SERVER).expect("free");
            let client = TcpStream::connect(&pair.a, SERVER).expect("answered");
            let (server, _) = listener.accept().expect("a connection");
            heard.set([&client, &server].map(|end| end.info().expect("connected").path.ecn));
        });
        told.get()
    };
    for (ours, theirs, both) in
        [(1, 1, true), (1, 2, true), (1, 0, false), (2, 1, false), (2, 2, false), (0, 1, false)]
    {
        assert_eq!(agreed(ours, theirs), [both; 2], "{ours} asks {theirs}");
    }
}
