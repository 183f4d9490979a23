//! Servers and clients in one process: limits, waits, captures, ends. No privilege and no interface of the host is needed.

use std::{
    io::{PipeReader, Read, Write},
    net::IpAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rumpnet::{
    Config, Errno, Kernel,
    client::{Address, Client, PATIENCE},
    proto::{
        CaptureOptions, Change, EchoOptions, NextHop, Reply, Request, RouteAttributes, RouteEvent, RouteNews,
        codec,
    },
    server::{Limits, Listener, Server},
    wire::pcapng::{self, Block},
};
use rumpnet_host::unix::Connection;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A kernel that is served, and its socket's place.
struct Served {
    kernel: Kernel,
    server: Option<Server>,
    address: Address,
    directory: PathBuf,
}

impl Served {
    fn new(limits: Limits) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("rumpnet-serving-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a temporary directory");
        let kernel = Kernel::builder().config(Config::tiny()).boot().expect("it boots");
        let address = Address::at(directory.join("s")).expect("a short path");
        let listener = Listener::bind(address.path()).expect("a free path");
        let server = Server::start(listener, kernel.clone(), limits).expect("it starts");
        Self { kernel, server: Some(server), address, directory }
    }

    fn client(&self) -> Client {
        Client::connect(&self.address, PATIENCE).expect("it listens")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.server.take());
        let _kept = std::fs::remove_dir_all(&self.directory);
    }
}

fn echo_options() -> EchoOptions {
    let destination = "127.0.0.1".parse().expect("an address");
    EchoOptions::to(destination)
}

fn open_echo(client: &Client) -> Result<u64, Errno> {
    match client.call(Request::EchoOpen(echo_options())) {
        Ok(Reply::Echo { echo, .. }) => Ok(echo),
        Ok(reply) => panic!("{reply:?}"),
        Err(error) => Err(error.errno),
    }
}

fn errno(result: Result<Reply, rumpnet::ControlError>) -> Option<Errno> {
    result.err().map(|error| error.errno)
}

const LO: fn() -> CaptureOptions =
    || CaptureOptions { interface: Some("lo0".into()), ..CaptureOptions::default() };

#[test]
fn a_client_beyond_its_limits_is_refused_and_others_are_not() {
    let limits = Limits { echo_sessions: 2, captures: 1, ..Limits::default() };
    let served = Served::new(limits);
    let client = served.client();
    let first = open_echo(&client).expect("room");
    open_echo(&client).expect("room");
    assert_eq!(open_echo(&client), Err(Errno::MFile));
    let capture = client.capture(LO()).expect("room");
    assert_eq!(client.capture(LO()).err().map(|error| error.errno), Some(Errno::MFile));
    open_echo(&served.client()).expect("another client has room of its own");
    client.call(Request::EchoClose { echo: first }).expect("it is open");
    open_echo(&client).expect("room again");
    capture.close().expect("it is open");
    client.capture(LO()).expect("room again");
}

#[test]
fn an_interrupted_wait_leaves_the_conversation_usable_and_waits_are_bounded() {
    let served = Served::new(Limits { waiting_calls: 1, ..Limits::default() });
    let client = served.client();
    let echo = open_echo(&client).expect("room");
    let (interrupt, mut interrupter) = std::io::pipe().expect("a pipe");
    interrupter.write_all(b"x").expect("room");
    let wait = || Request::EchoReceive { echo, timeout_ns: 60_000_000_000 };
    assert_eq!(errno(client.call_until(wait(), interrupt.as_fd())), Some(Errno::Intr));
    // That call still waits in the server.
    assert_eq!(errno(client.call(wait())), Some(Errno::Again));
    let begun = Instant::now();
    assert_eq!(client.call(Request::EchoClose { echo }), Ok(Reply::Done));
    assert_eq!(errno(client.call(wait())), Some(Errno::BadF));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn replies_are_waited_for_and_come() {
    let served = Served::new(Limits::default());
    let client = served.client();
    let echo = open_echo(&client).expect("room");
    client.call(Request::EchoSend { echo, sequence: 1 }).expect("it is sent");
    match client.call(Request::EchoReceive { echo, timeout_ns: 5_000_000_000 }) {
        Ok(Reply::EchoReplies(replies)) => assert_eq!(replies.len(), 1),
        other => panic!("{other:?}"),
    }
    match client.call(Request::EchoReceive { echo, timeout_ns: 1_000_000 }) {
        Ok(Reply::EchoReplies(replies)) => assert!(replies.is_empty()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_another_client_opened_is_out_of_reach() {
    let served = Served::new(Limits::default());
    let (one, other) = (served.client(), served.client());
    let echo = open_echo(&one).expect("room");
    let capture = one.capture(LO()).expect("room");
    for request in [
        Request::EchoSend { echo, sequence: 1 },
        Request::EchoReceive { echo, timeout_ns: 0 },
        Request::EchoClose { echo },
    ] {
        assert_eq!(errno(other.call(request)), Some(Errno::BadF));
    }
    for number in 0..100 {
        assert_eq!(errno(other.call(Request::CaptureClose { capture: number })), Some(Errno::BadF));
    }
    capture.close().expect("it is still open");
    assert_eq!(errno(one.call(Request::CaptureOpen(LO()))), Some(Errno::BadF), "without a pipe");
}

fn route_to(last: u8) -> Request {
    let via = NextHop::Interface("lo0".into());
    let destination = ([192, 0, 2, last].into(), 32);
    Request::AddRoute { destination, via, attributes: RouteAttributes::default() }
}

fn destination(news: &RouteNews) -> Option<IpAddr> {
    match &news.event {
        RouteEvent::Route { change: Change::Added, route, .. } => Some(route.destination.0),
        _ => None,
    }
}

#[test]
fn a_monitor_tells_its_client_what_others_change() {
    let served = Served::new(Limits::default());
    let (client, other) = (served.client(), served.client());
    let mut monitor = client.monitor().expect("room");
    for last in 1..=3 {
        other.call(route_to(last)).expect("a good route");
        let news = monitor.next(None).expect("the server is there").expect("it goes on");
        assert_eq!(destination(&news), Some([192, 0, 2, last].into()));
    }
    let (interrupt, mut interrupter) = std::io::pipe().expect("a pipe");
    interrupter.write_all(b"x").expect("room");
    assert_eq!(monitor.next(Some(interrupt.as_fd())), Ok(None));
    assert_eq!(monitor.close(), Ok(0));
    assert_eq!(errno(client.call(Request::MonitorOpen)), Some(Errno::BadF), "without a pipe");
    for number in 0..100 {
        assert_eq!(errno(other.call(Request::MonitorClose { monitor: number })), Some(Errno::BadF));
    }
}

#[test]
fn captures_and_monitors_of_a_client_are_counted_together_and_end_with_it() {
    let served = Served::new(Limits { captures: 2, ..Limits::default() });
    let client = served.client();
    let (_capture, _monitor) = (client.capture(LO()).expect("room"), client.monitor().expect("room"));
    assert_eq!(errno(client.monitor().map(|_| Reply::Done)), Some(Errno::MFile));
    assert_eq!(errno(client.capture(LO()).map(|_| Reply::Done)), Some(Errno::MFile));
    drop((_capture, _monitor));
    drop(client);
    // Sixty-four monitors are all that a kernel has: those of clients that have gone leave room.
    for _ in 0..70 {
        let client = served.client();
        let monitor = loop {
            match client.monitor() {
                Ok(monitor) => break monitor,
                Err(error) => assert_eq!(error.errno, Errno::MFile, "its thread has still to end"),
            }
        };
        drop(monitor);
    }
}

#[test]
fn a_monitor_in_process_waits_for_what_happens_and_ends_when_it_is_closed() {
    let kernel = rumpnet::Kernel::builder().boot().expect("boots");
    let mut monitor = kernel.open_monitor().expect("room");
    assert_eq!(monitor.next(Some(Duration::from_millis(1))), Some(Vec::new()));
    let other = kernel.clone();
    let adder = std::thread::spawn(move || other.control(route_to(9)));
    let news = monitor.next(None).expect("it goes on");
    assert_eq!(news.iter().find_map(destination), Some([192, 0, 2, 9].into()));
    adder.join().expect("it ends").expect("a good route");
    let (number, other) = (monitor.id(), kernel.clone());
    let closer = std::thread::spawn(move || other.control(Request::MonitorClose { monitor: number }));
    assert_eq!(monitor.next(None), None);
    assert_eq!(closer.join().expect("it ends"), Ok(Reply::MonitorEnded { overruns: 0 }));
    assert_eq!(kernel.open_monitor().expect("room").close(), Ok(0));
}

#[test]
fn a_capture_streams_until_its_count_and_then_tells_its_counts() {
    let served = Served::new(Limits::default());
    let client = served.client();
    let echo = open_echo(&client).expect("room");
    let mut capture = client.capture(CaptureOptions { count: Some(3), ..LO() }).expect("room");
    for sequence in 0..4 {
        client.call(Request::EchoSend { echo, sequence }).expect("it is sent");
    }
    let mut bytes = Vec::new();
    capture.read_to_end(&mut bytes).expect("the pipe ends");
    assert_eq!(capture.close(), Ok((3, 0)));
    let blocks: Vec<_> = pcapng::blocks(&bytes).map(|block| block.expect("well formed")).collect();
    let packets = blocks.iter().filter(|block| matches!(block, Block::Packet(_))).count();
    assert_eq!(packets, 3);
    assert!(matches!(blocks[0], Block::Section(_)));
    assert!(matches!(blocks[1], Block::Interface(interface) if interface.name == Some("lo0")));
    assert!(matches!(blocks.last(), Some(Block::Statistics(statistics)) if statistics.delivered == Some(3)));
}

#[test]
fn a_reader_that_is_slow_is_overrun_and_nobody_waits_for_him() {
    let served = Served::new(Limits::default());
    let (client, other) = (served.client(), served.client());
    let mut capture = client.capture(LO()).expect("room");
    let options = EchoOptions { size: 1400, ..echo_options() };
    let Ok(Reply::Echo { echo, .. }) = served.kernel.control(Request::EchoOpen(options)) else {
        panic!("there is room")
    };
    // More than a pipe and the kernel's queue hold.
    for sequence in 0..500 {
        served.kernel.control(Request::EchoSend { echo, sequence }).expect("it is sent");
    }
    other.call(Request::Kernel).expect("it is answered");
    let (captured, overruns) = capture.close().expect("it is open");
    assert!(captured > 0 && overruns > 0, "{captured} {overruns}");
    let mut bytes = Vec::new();
    capture.read_to_end(&mut bytes).expect("the pipe ends");
    let blocks: Vec<_> = pcapng::blocks(&bytes).map(|block| block.expect("well formed")).collect();
    let packets = blocks.iter().filter(|block| matches!(block, Block::Packet(_))).count() as u64;
    assert_eq!(packets, captured, "what is said to be captured is written");
    assert_eq!(captured + overruns, 2000, "requests and replies pass the loopback twice");
    let last = blocks.last().expect("blocks");
    assert!(
        matches!(last, Block::Statistics(statistics) if statistics.overruns == Some(overruns)),
        "{last:?}"
    );
}

/// A client that does not behave as ours does.
struct RawClient(Connection);

impl RawClient {
    fn call(&self, id: u32, request: Request, descriptors: &[BorrowedFd<'_>]) -> Result<Reply, Errno> {
        let message = codec::encode(&codec::Call { id, request }).expect("it fits a message");
        self.0.send_by(&message, descriptors, u64::MAX).expect("the server reads");
        let mut buffer = vec![0; codec::MAX_MESSAGE];
        let len = self.0.receive_by(&mut buffer, 0, u64::MAX).expect("the server answers").len;
        let answer: codec::Answer = codec::decode(&buffer[..len]).expect("it is an answer");
        answer.result.map_err(|error| error.errno)
    }
}

#[test]
fn captures_closed_before_they_are_read_are_bounded_and_end_with_their_client() {
    let served = Served::new(Limits { captures: 2, ..Limits::default() });
    let client = RawClient(Connection::connect(served.address.path()).expect("it listens"));
    // Nobody ever reads, so that each capture stays on its way.
    let (reader, mut pipe) = std::io::pipe().expect("a pipe");
    pipe.write_all(&[0; 65_536]).expect("a pipe holds so much");
    let open_and_close = |id| -> Result<(), Errno> {
        let opened = client.call(id, Request::CaptureOpen(LO()), &[pipe.as_fd()])?;
        let Reply::Capture { capture } = opened else { panic!("{opened:?}") };
        client.call(id + 1, Request::CaptureClose { capture }, &[]).map(drop)
    };
    let outcomes: Vec<_> = (1..=5).map(|round| open_and_close(2 * round)).collect();
    assert_eq!(outcomes, [Ok(()), Ok(()), Ok(()), Ok(()), Err(Errno::MFile)]);
    drop((client, pipe));
    let patience = Instant::now() + Duration::from_secs(10);
    while holders(&reader) > 1 {
        assert!(Instant::now() < patience, "the server still holds the pipe");
        std::thread::yield_now();
    }
}

/// How many descriptors of this process are ends of a pipe.
fn holders(pipe: &PipeReader) -> usize {
    let directory = std::path::Path::new("/proc/self/fd");
    let wanted = std::fs::read_link(directory.join(pipe.as_raw_fd().to_string())).expect("it is open");
    let open = std::fs::read_dir(directory).expect("this is Linux");
    open.flatten().filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|end| end == wanted)).count()
}

#[test]
fn stopping_ends_every_wait_and_removes_the_socket() {
    let mut served = Served::new(Limits::default());
    let (waiting, idle) = (served.client(), served.client());
    let echo = open_echo(&waiting).expect("room");
    let waiter = std::thread::spawn(move || {
        waiting
            .call(Request::EchoReceive { echo, timeout_ns: 3_600_000_000_000 })
            .err()
            .map(|error| error.errno)
    });
    idle.call(Request::Kernel).expect("it is answered");
    let begun = Instant::now();
    served.server.take().into_iter().for_each(Server::stop);
    let ended = waiter.join().expect("it returns");
    assert!(matches!(ended, Some(Errno::BadF | Errno::ConnReset)), "{ended:?}");
    assert_eq!(errno(idle.call(Request::Kernel)), Some(Errno::ConnReset));
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(!served.address.path().exists());
    let refused = Client::connect(&served.address, PATIENCE).err().map(|error| error.errno);
    assert_eq!(refused, Some(Errno::NoEnt));
}
