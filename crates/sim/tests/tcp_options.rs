//! What TCP's less common calls and options do, in worlds.

mod support;

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    time::Duration,
};

use rumpnet_sim::{TcpListener, TcpOption, TcpStream, World, scenario};
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
