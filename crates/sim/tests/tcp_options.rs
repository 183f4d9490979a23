//! What TCP's less common calls and options do, in worlds.

mod support;

use std::{
    io::{ErrorKind, Read as _, Write as _},
    time::Duration,
};

use rumpnet_sim::{TcpListener, TcpStream, scenario};
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
