//! TCP between a kernel on a tap and the host's own stack, each test in a network namespace of its own.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpListener as HostListener, TcpStream as HostStream},
    process::Command,
    thread,
    time::Duration,
};

use rumpnet::{
    Bytes, Kernel, TcpListener, TcpStream, Undelivered,
    proto::{Capabilities, Counter},
};
use rumpnet_host::namespace::enter_own_network;

const PATIENCE: Duration = Duration::from_secs(60);
const OURS: &str = "10.0.0.2:80";
const HOSTS: &str = "10.0.0.1:80";

/// Runs ip(8) in this thread's namespace.
#[track_caller]
fn ip(words: &str) {
    let ran =
        Command::new("ip").args(words.split_whitespace()).output().expect("ip is there (package iproute2)");
    assert!(ran.status.success(), "ip {words}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// A kernel of 10.0.0.2 on `virt0`, whose other end is the host's of 10.0.0.1.
fn kernel() -> Kernel {
    enter_own_network().expect("these tests need root");
    let kernel = Kernel::boot().expect("boots");
    kernel.create("virt0").expect("these tests need root");
    settle(kernel)
}

fn settle(kernel: Kernel) -> Kernel {
    kernel.add_address("virt0", "10.0.0.2/24".parse().expect("a prefix")).expect("free");
    ip("addr add 10.0.0.1/24 dev tap0");
    kernel
}

/// Bytes that tell where they belong.
fn data(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|place| (place * 31 + place / 251) as u8 ^ seed).collect()
}

/// A stream of either side.
trait Stream: Read + Write + Send + Sized + 'static {
    fn another(&self) -> Self;
    fn end(&self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn another(&self) -> Self {
        self.set_read_timeout(Some(PATIENCE)).expect("not zero");
        self.set_write_timeout(Some(PATIENCE)).expect("not zero");
        self.try_clone().expect("open")
    }

    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Stream for HostStream {
    fn another(&self) -> Self {
        self.set_read_timeout(Some(PATIENCE)).expect("not zero");
        self.set_write_timeout(Some(PATIENCE)).expect("not zero");
        self.try_clone().expect("open")
    }

    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

fn read_to_end(mut stream: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("the end comes");
    all
}

/// `len` bytes each way at once, and the end of both.
fn exchange(one: impl Stream, other: impl Stream, len: usize) {
    fn run(mut stream: impl Stream, len: usize, mine: u8, theirs: u8) {
        let reader = stream.another();
        let read = thread::spawn(move || assert!(read_to_end(reader) == data(len, theirs), "byte for byte"));
        stream.write_all(&data(len, mine)).expect("the peer reads");
        stream.end().expect("connected");
        read.join().expect("all arrives");
    }
    let far = thread::spawn(move || run(other, len, 2, 1));
    run(one, len, 1, 2);
    far.join().expect("all arrives");
}

/// A connection that the host begins: our end and its.
fn from_the_host(kernel: &Kernel) -> (TcpStream, HostStream) {
    let listener = TcpListener::bind(kernel, OURS).expect("free");
    let theirs = HostStream::connect(OURS).expect("we listen");
    (listener.accept().expect("a connection").0, theirs)
}

/// A connection that we begin.
fn from_us(kernel: &Kernel) -> (TcpStream, HostStream) {
    let listener = HostListener::bind(HOSTS).expect("free");
    let ours = TcpStream::connect(kernel, HOSTS).expect("the host listens");
    (ours, listener.accept().expect("a connection").0)
}

/// Our end and the host's of a new connection.
type Connect = fn(&Kernel) -> (TcpStream, HostStream);

const ROLES: [Connect; 2] = [from_the_host, from_us];

#[test]
fn fifty_megabytes_pass_each_way_in_both_roles() {
    let kernel = kernel();
    for connect in ROLES {
        let (ours, theirs) = connect(&kernel);
        exchange(ours, theirs, 50_000_000);
    }
}

#[test]
fn without_offloads_as_many_pass() {
    let kernel = kernel();
    let all = kernel.interface("virt0").expect("there").capabilities;
    kernel.set_capabilities("virt0", Capabilities::empty(), all).expect("known");
    for connect in ROLES {
        let (ours, theirs) = connect(&kernel);
        exchange(ours, theirs, 50_000_000);
    }
    assert!(kernel.counter(Counter::SegmentedInSoftware) > 0);
}

#[test]
fn questions_of_a_byte_are_answered_one_by_one() {
    let kernel = kernel();
    for connect in ROLES {
        let (mut ours, mut theirs) = connect(&kernel);
        ours.set_nodelay(true).expect("open");
        let echo = thread::spawn(move || {
            let mut byte = [0];
            while ours.read(&mut byte).expect("open") > 0 {
                ours.write_all(&byte).expect("open");
            }
        });
        for number in 0..=255 {
            theirs.write_all(&[number]).expect("open");
            let mut byte = [0];
            theirs.read_exact(&mut byte).expect("answered");
            assert_eq!(byte, [number]);
        }
        drop(theirs);
        echo.join().expect("it ends with its peer");
    }
}

#[test]
fn two_hundred_connections_at_once_keep_their_streams_apart() {
    let kernel = kernel();
    let listener = TcpListener::bind(&kernel, OURS).expect("free");
    let clients: Vec<_> = (0..200u8)
        .map(|seed| {
            thread::spawn(move || {
                let mut stream = HostStream::connect(OURS).expect("we listen");
                stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
                stream.write_all(&data(20_000, seed)).expect("open");
                stream.shutdown(Shutdown::Write).expect("open");
                assert!(read_to_end(stream) == data(20_000, seed), "the echo of {seed}");
            })
        })
        .collect();
    let servers: Vec<_> = listener
        .incoming()
        .take(200)
        .map(|stream| {
            thread::spawn(move || {
                let mut stream = stream.expect("a connection");
                let said = read_to_end(&stream);
                stream.write_all(&said).expect("open");
            })
        })
        .collect();
    servers.into_iter().chain(clients).for_each(|thread| thread.join().expect("served"));
}

#[test]
fn either_side_may_end_first_and_still_hear_the_other() {
    let kernel = kernel();
    for connect in ROLES {
        let (mut ours, theirs) = connect(&kernel);
        theirs.shutdown(Shutdown::Write).expect("open");
        assert_eq!(ours.read(&mut [0; 9]).expect("the end"), 0);
        let reader = thread::spawn(move || read_to_end(theirs) == data(1_000_000, 7));
        ours.write_all(&data(1_000_000, 7)).expect("the host still reads");
        drop(ours);
        assert!(reader.join().expect("read"));
        let (ours, mut theirs) = connect(&kernel);
        ours.shutdown(Shutdown::Write).expect("open");
        assert_eq!(theirs.read(&mut [0; 9]).expect("the end"), 0);
        let writer = thread::spawn(move || theirs.write_all(&data(1_000_000, 8)).expect("we still read"));
        assert!(read_to_end(&ours) == data(1_000_000, 8));
        writer.join().expect("written");
        assert_eq!((&ours).write(b"x").expect_err("ended").kind(), ErrorKind::BrokenPipe);
    }
}

#[test]
fn resets_reach_the_other_side() {
    let kernel = kernel();
    for connect in ROLES {
        let (ours, mut theirs) = connect(&kernel);
        ours.abort().expect("open");
        let error = theirs.read(&mut [0; 9]).expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let (mut ours, theirs) = connect(&kernel);
        ours.write_all(b"never read").expect("open");
        let mut peeked = [0; 9];
        while theirs.peek(&mut peeked).expect("open") == 0 {}
        // Unread data makes the host reset, too.
        drop(theirs);
        let error = ours.read(&mut [0; 9]).expect_err("reset");
        assert_eq!(
            (error.kind(), error.raw_os_error()),
            (ErrorKind::ConnectionReset, Some(libc::ECONNRESET))
        );
        assert_eq!(ours.read(&mut [0; 9]).expect("told once"), 0);
        assert_eq!(ours.write(b"x").expect_err("over").raw_os_error(), Some(libc::EPIPE));
        let (ours, mut theirs) = connect(&kernel);
        theirs.write_all(b"never read").expect("open");
        while ours.peek(&mut peeked).expect("open") == 0 {}
        drop(ours);
        assert_eq!(theirs.read(&mut [0; 9]).expect_err("reset").kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn nobody_listens_on_either_side() {
    let kernel = kernel();
    assert_eq!(HostStream::connect(OURS).expect_err("closed").kind(), ErrorKind::ConnectionRefused);
    let refused = TcpStream::connect(&kernel, HOSTS).map(drop).expect_err("closed");
    assert_eq!(refused.raw_os_error(), Some(libc::ECONNREFUSED));
    let nowhere = TcpStream::connect(&kernel, "192.0.2.1:80").map(drop).expect_err("no route");
    assert_eq!(nowhere.raw_os_error(), Some(libc::EHOSTUNREACH));
    let silent = TcpStream::connect(&kernel, "10.0.0.77:80").map(drop).expect_err("nobody has that address");
    assert_eq!(silent.raw_os_error(), Some(libc::EHOSTUNREACH));
    let patience = Duration::from_millis(50);
    let hurried = TcpStream::connect_timeout(&kernel, &([10, 0, 0, 78], 80).into(), patience).map(drop);
    assert_eq!(hurried.expect_err("too soon").kind(), ErrorKind::TimedOut);
}

#[test]
fn calls_that_would_wait_say_so_and_time_outs_end_them() {
    let kernel = kernel();
    let (mut ours, theirs) = from_us(&kernel);
    ours.set_read_timeout(Some(Duration::from_millis(20))).expect("not zero");
    assert_eq!(ours.read(&mut [0; 9]).expect_err("silence").raw_os_error(), Some(libc::EAGAIN));
    ours.set_nonblocking(true).expect("always");
    assert_eq!(ours.read(&mut [0; 9]).expect_err("silence").kind(), ErrorKind::WouldBlock);
    let full = loop {
        match ours.write(&[7; 65_536]) {
            Ok(count) => assert!(count > 0),
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    ours.set_nonblocking(false).expect("always");
    ours.set_write_timeout(Some(Duration::from_millis(300))).expect("not zero");
    // The host's buffers take some megabytes before they are full.
    let refused = (0..10_000).find_map(|_| ours.write(&[7; 65_536]).err()).expect("no room in the end");
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    let listener = TcpListener::bind(&kernel, OURS).expect("free");
    listener.set_nonblocking(true).expect("always");
    assert_eq!(listener.accept().map(drop).expect_err("nobody").kind(), ErrorKind::WouldBlock);
    drop(theirs);
}

#[test]
fn slices_are_borrowed_and_handed_over_without_a_copy() {
    let kernel = kernel();
    let (ours, mut theirs) = from_us(&kernel);
    let sent = Bytes::from(data(3_000_000, 5));
    let all = sent.clone();
    let reader = thread::spawn(move || {
        let mut got = vec![0; all.len()];
        theirs.read_exact(&mut got).expect("all arrives");
        assert!(got == all);
        theirs.write_all(&all).expect("open");
    });
    let mut left = sent.clone();
    while !left.is_empty() {
        let taken = ours.write_bytes(&left).expect("open");
        drop(left.split_to(taken));
    }
    let mut got = Vec::new();
    while got.len() < sent.len() {
        let payload = ours.read_slices(1 << 20).expect("open");
        assert!(!payload.is_empty(), "no end comes");
        payload.slices().iter().for_each(|slice| got.extend_from_slice(slice));
    }
    assert!(got == sent);
    reader.join().expect("all arrives");
}

/// Fails unless a program is there.
#[track_caller]
fn require(program: &str, package: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    assert!(is_there, "{program} is missing (package {package})");
}

#[test]
fn curl_gets_a_page_from_a_server_of_ours() {
    require("curl", "curl");
    let kernel = kernel();
    let listener = TcpListener::bind(&kernel, OURS).expect("free");
    let server = thread::spawn(move || {
        for stream in listener.incoming().take(3) {
            let mut stream = stream.expect("a connection");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request");
                request.extend(byte);
            }
            assert!(request.starts_with(b"GET /hello HTTP/1.1\r\n"));
            let page = "hello\n".repeat(100_000);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", page.len());
            stream.write_all(head.as_bytes()).expect("open");
            stream.write_all(page.as_bytes()).expect("open");
        }
    });
    for _ in 0..3 {
        let ran = Command::new("curl").args(["-sS", "--max-time", "30", "http://10.0.0.2/hello"]).output();
        let ran = ran.expect("it was there");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(ran.stdout.len(), 600_000);
    }
    server.join().expect("served");
}

#[test]
fn a_shutdown_with_patience_loses_nothing() {
    let kernel = kernel();
    let (mut ours, theirs) = from_the_host(&kernel);
    let reader = thread::spawn(move || {
        // The reader is late, so that much still waits when the kernel is told to end.
        thread::sleep(Duration::from_millis(300));
        read_to_end(theirs)
    });
    let sent = data(10_000_000, 3);
    let writer = thread::spawn(move || {
        ours.write_all(&sent).expect("room in the end");
        drop(ours);
        sent
    });
    let sent = writer.join().expect("written");
    assert_eq!(kernel.shutdown_within(PATIENCE), Undelivered::default());
    drop(kernel);
    assert!(reader.join().expect("the end comes") == sent);
}

#[test]
fn what_cannot_be_delivered_in_time_is_reset_counted_and_told() {
    let kernel = kernel();
    let (mut ours, mut theirs) = from_us(&kernel);
    ours.set_write_timeout(Some(Duration::from_millis(300))).expect("not zero");
    // The host's buffers are filled, and nobody reads them.
    (0..10_000).find_map(|_| ours.write(&[7; 65_536]).err()).expect("no room in the end");
    let undelivered = kernel.shutdown_within(Duration::from_millis(300));
    assert!(undelivered.connections == 1 && undelivered.bytes > 0, "{undelivered:?}");
    assert_eq!(kernel.counter(Counter::TcpUndelivered), 1);
    let said = format!("1 connections were reset with {} bytes undelivered", undelivered.bytes);
    assert!(kernel.messages(0).iter().any(|line| line.text == said), "{:?}", kernel.messages(0));
    assert_eq!(ours.write(b"x").expect_err("over").kind(), ErrorKind::ConnectionAborted);
    drop((ours, kernel));
    let mut all = Vec::new();
    assert_eq!(theirs.read_to_end(&mut all).expect_err("reset").kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_shutdown_without_patience_resets_its_peers() {
    let kernel = kernel();
    let (_ours, mut theirs) = from_us(&kernel);
    kernel.shutdown();
    theirs.set_read_timeout(Some(PATIENCE)).expect("not zero");
    assert_eq!(theirs.read(&mut [0; 9]).expect_err("reset").kind(), ErrorKind::ConnectionReset);
}

#[test]
fn the_last_handle_resets_its_peers() {
    let kernel = kernel();
    let (ours, mut theirs) = from_us(&kernel);
    drop(kernel);
    thread::spawn(move || drop(ours)).join().expect("no drop waits");
    // The stream was ended properly, but not acknowledged before the kernel was gone, or it was reset: never silence.
    theirs.set_read_timeout(Some(PATIENCE)).expect("not zero");
    match theirs.read(&mut [0; 9]) {
        Ok(len) => assert_eq!(len, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}
