//! Sockets that are ended from another thread in the middle of a call: every call comes back, with the same answer whoever was faster.
//!
//! Each case runs many times. In every second round the other thread waits a moment, so that the call is under way; what is asserted does not depend on it.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::Shutdown,
    sync::mpsc::channel as messages,
    thread,
    time::Duration,
};

use rumpnet::{Bytes, FlowListener, Kernel, TcpListener, TcpStream, UdpSocket, link::channel};

const PATIENCE: Duration = Duration::from_secs(20);
const ROUNDS: usize = 20;
const SERVER: &str = "10.0.0.2:80";

fn neighbours() -> [Kernel; 2] {
    let kernels = [Kernel::boot().expect("boots"), Kernel::boot().expect("boots")];
    let (one, two) = channel::pair();
    for (number, (kernel, end)) in (1..).zip(kernels.iter().zip([one, two])) {
        kernel.attach("virt0", Box::new(end), None).expect("a fresh kernel has room");
        kernel.add_address("virt0", format!("10.0.0.{number}/24").parse().expect("a prefix")).expect("free");
    }
    kernels
}

fn connected(kernels: &[Kernel; 2]) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(&kernels[1], SERVER).expect("free");
    let client = TcpStream::connect(&kernels[0], SERVER).expect("answered");
    (client, listener.accept().expect("a connection").0)
}

/// Runs a call in a thread of its own while `end` happens, and returns what it came to; a call that never comes back fails the test.
fn ended<R: Send + 'static>(
    round: usize,
    call: impl FnOnce() -> R + Send + 'static,
    end: impl FnOnce(),
) -> R {
    let (told, hears) = messages();
    thread::spawn(move || told.send(call()));
    if round % 2 == 1 {
        thread::sleep(Duration::from_millis(3));
    }
    end();
    hears.recv_timeout(PATIENCE).expect("the call comes back")
}

/// Writes until something happens.
fn fill(mut stream: &TcpStream) -> io::Error {
    loop {
        if let Err(error) = stream.write(&[7; 10_000]) {
            return error;
        }
    }
}

#[test]
fn a_read_ends_when_another_thread_shuts_the_direction_down() {
    let kernels = neighbours();
    let (mut kept, mut rounds) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        for how in [Shutdown::Read, Shutdown::Both] {
            let (client, server) = connected(&kernels);
            let mut reader = client.try_clone().expect("another handle");
            let read =
                ended(round, move || reader.read(&mut [0; 9]), || client.shutdown(how).expect("connected"));
            assert_eq!(read.expect("the end of the stream"), 0);
            kept.push(server);
            rounds += 1;
        }
    }
    assert_eq!(rounds, 2 * ROUNDS);
}

#[test]
fn a_write_without_room_ends_when_another_thread_shuts_the_direction_down() {
    let kernels = neighbours();
    for round in 0..ROUNDS {
        for how in [Shutdown::Write, Shutdown::Both] {
            let (client, _server) = connected(&kernels);
            let writer = client.try_clone().expect("another handle");
            let error = ended(round, move || fill(&writer), || client.shutdown(how).expect("connected"));
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        }
    }
}

#[test]
fn what_was_handed_over_before_a_shutdown_in_mid_write_arrives_whole() {
    let kernels = neighbours();
    for round in 0..4 {
        let (client, mut server) = connected(&kernels);
        let writer = client.try_clone().expect("another handle");
        let write = move || {
            let mut written = 0;
            loop {
                match writer.write_bytes(&Bytes::from_static(&[7; 10_000])) {
                    Ok(len) => written += len,
                    Err(_) => return written,
                }
            }
        };
        let written = ended(round, write, || client.shutdown(Shutdown::Write).expect("connected"));
        let mut read = Vec::new();
        server.set_read_timeout(Some(PATIENCE)).expect("not zero");
        assert_eq!(server.read_to_end(&mut read).expect("the end comes"), written);
    }
}

#[test]
fn every_waiting_call_comes_back_when_its_kernel_is_ended() {
    for round in 0..6 {
        let refused = |result: io::Result<()>| {
            let kind = result.expect_err("the kernel is gone").kind();
            assert_ne!(kind, ErrorKind::WouldBlock, "round {round}");
        };
        let [one, two] = neighbours();
        let listener = TcpListener::bind(&one, "10.0.0.1:80").expect("free");
        refused(ended(round, move || listener.accept().map(drop), || one.shutdown()));
        drop(two);

        let [one, two] = neighbours();
        let flows = FlowListener::bind(&one, "virt0", 0).expect("free");
        refused(ended(round, move || flows.accept().map(drop), || one.shutdown()));
        drop(two);

        let [one, two] = neighbours();
        let socket = UdpSocket::bind(&one, "10.0.0.1:9").expect("free");
        refused(ended(round, move || socket.recv(&mut [0]).map(drop), || one.shutdown()));
        drop(two);

        // Nobody answers there, and nobody is asked twice within the time that this takes.
        let [one, two] = neighbours();
        let kernel = one.clone();
        refused(ended(
            round,
            move || TcpStream::connect(&kernel, "10.0.0.77:80").map(drop),
            || one.shutdown(),
        ));
        drop(two);

        let kernels = neighbours();
        let (mut client, _server) = connected(&kernels);
        let read = ended(round, move || client.read(&mut [0]), || kernels[0].shutdown());
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");

        let kernels = neighbours();
        let (client, _server) = connected(&kernels);
        ended(round, move || fill(&client), || kernels[0].shutdown());
    }
}

#[test]
fn a_peer_that_resets_ends_every_call_under_way() {
    let kernels = neighbours();
    for round in 0..ROUNDS {
        let (client, server) = connected(&kernels);
        let mut reader = client.try_clone().expect("another handle");
        let writer = client.try_clone().expect("another handle");
        let both = move || {
            let write = thread::spawn(move || fill(&writer));
            let read = reader.read(&mut [0]);
            (read.map(drop), write.join().expect("no panic"))
        };
        let (read, written) = ended(round, both, || server.abort().expect("connected"));
        // An error is told once, and the other call finds the connection over.
        let told = [read.err().map(|error| error.kind()), Some(written.kind())];
        assert!(told.contains(&Some(ErrorKind::ConnectionReset)), "{told:?}");
        assert!(matches!(told[0], None | Some(ErrorKind::ConnectionReset)), "{told:?}");
        assert!(matches!(told[1], Some(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)), "{told:?}");
    }
}

#[test]
fn calls_for_any_address_end_with_their_interface() {
    for round in 0..6 {
        let [one, _two] = neighbours();
        let flows = FlowListener::bind(&one, "virt0", 0).expect("free");
        let error = ended(round, move || flows.accept().map(drop), || one.destroy("virt0").expect("there"));
        assert_eq!(error.expect_err("deaf").raw_os_error(), Some(libc::ENXIO));

        // Datagram sockets likewise: what waits is woken by what another thread does.
        let [one, _two] = neighbours();
        let any = UdpSocket::bind_any(&one, "virt0", 0).expect("free");
        let error = ended(round, move || any.recv(&mut [0]), || one.destroy("virt0").expect("there"));
        assert_eq!(error.expect_err("deaf").raw_os_error(), Some(libc::ENXIO));
    }
}

#[test]
fn handles_dropped_by_many_threads_at_once_close_once() {
    let kernels = neighbours();
    for _ in 0..ROUNDS {
        let (client, mut server) = connected(&kernels);
        let handles: Vec<_> = (0..8).map(|_| client.try_clone().expect("another handle")).collect();
        drop(client);
        thread::scope(|scope| handles.into_iter().for_each(|handle| drop(scope.spawn(move || drop(handle)))));
        server.set_read_timeout(Some(PATIENCE)).expect("not zero");
        assert_eq!(server.read(&mut [0]).expect("an end, no reset"), 0);
    }
}
