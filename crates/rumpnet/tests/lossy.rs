//! TCP between a kernel on a tap and the host's own stack, over a bad cable between two namespaces.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener as HostListener, TcpStream as HostStream},
    process::Command,
    sync::{Barrier, mpsc},
    thread,
    time::{Duration, Instant},
};

use rumpnet::{
    Kernel, TcpListener, TcpStream,
    proto::{Counter, DropReason, Reply, Request, SocketReport, TcpState},
};
use rumpnet_cable::{TapCable, bridged_end, host_end, use_cubic};
use rumpnet_host::namespace::enter_own_network;
use rumpnet_sim::Conditions;

const PATIENCE: Duration = Duration::from_secs(60);
const OURS: ([u8; 4], u16) = ([10, 0, 0, 2], 80);
const HOSTS: ([u8; 4], u16) = ([10, 0, 0, 1], 80);

/// What befalls a frame in either direction of most of these tests.
const BAD: Conditions = Conditions {
    latency: Duration::from_millis(2),
    loss: 0.005,
    reordering: 0.01,
    reordering_delay: Duration::from_millis(3),
    duplication: 0.01,
    corruption: 0.005,
    ..Conditions::PERFECT
};

/// A kernel of 10.0.0.2, the host's of 10.0.0.1 in this thread's namespace, and the cable between them.
struct Link {
    kernel: Kernel,
    cable: TapCable,
    /// The namespace of the kernel's tap lasts as long as the thread that waits for its end.
    _namespace: mpsc::Sender<()>,
}

/// Lays a cable with these conditions in both directions.
fn link(seed: u64, conditions: Conditions) -> Link {
    enter_own_network().expect("these tests need root");
    let near = host_end("10.0.0.1/24").expect("these tests need root, and ip(8) of package iproute2");
    let (made, far) = mpsc::channel();
    let (namespace, leave) = mpsc::channel::<()>();
    thread::spawn(move || {
        enter_own_network().expect("these tests need root");
        let kernel = Kernel::boot().expect("boots");
        kernel.create("virt0").expect("these tests need root");
        kernel.add_address("virt0", "10.0.0.2/24".parse().expect("a prefix")).expect("free");
        made.send((kernel, bridged_end("tap0").expect("a bridge"))).expect("awaited");
        let _over = leave.recv();
    });
    let (kernel, far) = far.recv().expect("a kernel");
    let cable = TapCable::lay([far, near], seed, [conditions; 2]).expect("a thread");
    Link { kernel, cable, _namespace: namespace }
}

/// Bytes that tell where they belong.
fn data(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|place| (place * 31 + place / 251 + seed * 7 + seed / 256) as u8).collect()
}

/// A stream of either side.
trait Stream: Read + Write + Send + Sized + 'static {
    fn patient(self) -> Self;
    fn another(&self) -> Self;
    fn end(&self);
}

macro_rules! stream {
    ($kind:ty) => {
        impl Stream for $kind {
            fn patient(self) -> Self {
                self.set_read_timeout(Some(PATIENCE)).expect("not zero");
                self.set_write_timeout(Some(PATIENCE)).expect("not zero");
                self
            }

            fn another(&self) -> Self {
                self.try_clone().expect("open")
            }

            fn end(&self) {
                self.shutdown(Shutdown::Write).expect("connected");
            }
        }
    };
}

stream!(TcpStream);
stream!(HostStream);

fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("the end comes");
    all
}

/// A connection of the host's to us.
fn host_connect() -> io::Result<HostStream> {
    let stream = HostStream::connect(SocketAddr::from(OURS))?;
    use_cubic(&stream)?;
    Ok(stream)
}

/// A listener of the host's.
fn host_listen() -> HostListener {
    let listener = HostListener::bind(SocketAddr::from(HOSTS)).expect("free");
    use_cubic(&listener).expect("these tests need root");
    listener
}

/// A connection that the host begins: our end and its.
fn from_the_host(kernel: &Kernel) -> (TcpStream, HostStream) {
    let listener = TcpListener::bind(kernel, SocketAddr::from(OURS)).expect("free");
    let theirs = host_connect().expect("we listen");
    (listener.accept().expect("a connection").0.patient(), theirs.patient())
}

/// A connection that we begin.
fn from_us(kernel: &Kernel) -> (TcpStream, HostStream) {
    let listener = host_listen();
    let ours = TcpStream::connect(kernel, SocketAddr::from(HOSTS)).expect("the host listens");
    (ours.patient(), listener.accept().expect("a connection").0.patient())
}

/// Our end and the host's of a new connection.
type Connect = fn(&Kernel) -> (TcpStream, HostStream);

const ROLES: [Connect; 2] = [from_the_host, from_us];

/// `len` bytes each way at once, and the end of both.
fn exchange(one: impl Stream, other: impl Stream, len: usize) {
    fn run(mut stream: impl Stream, len: usize, mine: usize, theirs: usize) {
        let mut reader = stream.another();
        let read = thread::spawn(move || {
            assert!(read_to_end(&mut reader) == data(len, theirs), "byte for byte");
        });
        stream.write_all(&data(len, mine)).expect("the peer reads");
        stream.end();
        read.join().expect("all arrives");
    }
    let far = thread::spawn(move || run(other, len, 2, 1));
    run(one, len, 1, 2);
    far.join().expect("all arrives");
}

/// Our sockets.
fn sockets(kernel: &Kernel) -> Vec<SocketReport> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let reply = kernel.control(Request::Sockets { after }).expect("always");
        let Reply::Sockets { sockets, next } = reply else { panic!("{reply:?}") };
        all.extend(sockets);
        if next.is_none() {
            return all;
        }
        after = next;
    }
}

/// The states of the host's TCP sockets, but for those that are over.
fn states_of_the_host() -> Vec<String> {
    let ran = Command::new("ss").args(["-Htan"]).output().expect("ss is there (package iproute2)");
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let states = text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned);
    states.filter(|state| state != "TIME-WAIT").collect()
}

impl Link {
    /// Waits until nothing is left of any connection on either side, and nothing has happened that cannot be.
    #[track_caller]
    fn is_left_cleanly(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let ours: Vec<_> = sockets(&self.kernel).into_iter().filter_map(|socket| socket.state).collect();
            let ours: Vec<_> = ours.into_iter().filter(|state| *state != TcpState::TimeWait).collect();
            let theirs = states_of_the_host();
            if ours.is_empty() && theirs.is_empty() {
                break;
            }
            assert!(Instant::now() < until, "left behind: {ours:?}, by the host {theirs:?}");
            thread::sleep(Duration::from_millis(20));
        }
        for reason in IMPOSSIBLE {
            assert_eq!(self.kernel.drops(*reason), 0, "{reason}");
        }
        for counter in [Counter::TcpUndelivered, Counter::TcpUnroutable, Counter::TcpScoreboardFull] {
            assert_eq!(self.kernel.counter(counter), 0, "{counter}");
        }
        let (sent, again) =
            (self.kernel.counter(Counter::TcpSent), self.kernel.counter(Counter::TcpRetransmitted));
        assert!(again * 4 <= sent, "{again} of {sent} sent again");
    }
}

/// What neither losses nor copies nor flipped bits can bring about.
const IMPOSSIBLE: &[DropReason] = &[
    DropReason::TcpAckUnacceptable,
    DropReason::TcpReassemblyFull,
    DropReason::OffloadChecksumRange,
    DropReason::OffloadGsoSize,
    DropReason::OffloadGsoKind,
    DropReason::OffloadSegments,
    DropReason::LinkSendFailed,
    DropReason::LinkQueueFull,
    DropReason::Ipv4FragmentMalformed,
];

#[test]
fn every_byte_arrives_over_a_bad_cable_in_both_roles() {
    let link = link(1, BAD);
    for connect in ROLES {
        let (ours, theirs) = connect(&link.kernel);
        exchange(ours, theirs, 3_000_000);
    }
    let counters = link.cable.counters();
    let befallen = [counters.lost, counters.reordered, counters.duplicated, counters.corrupted];
    assert!(befallen.iter().all(|count| *count > 0), "{counters:?}");
    assert!(link.kernel.counter(Counter::TcpRetransmitted) > 0);
    assert!(link.kernel.drops(DropReason::TcpChecksum) > 0, "flipped bits are found");
    link.is_left_cleanly();
}

#[test]
fn questions_are_answered_one_by_one_over_a_bad_cable() {
    fn answer(mut stream: impl Stream) {
        let mut question = [0; 100];
        while stream.read_exact(&mut question).is_ok() {
            stream.write_all(&question).expect("open");
        }
    }
    fn ask(mut stream: impl Stream) {
        for number in 0..100 {
            let question = data(100, number);
            stream.write_all(&question).expect("open");
            let mut echo = [0; 100];
            stream.read_exact(&mut echo).expect("answered");
            assert!(echo[..] == question, "question {number}");
        }
    }
    let link = link(2, BAD);
    for connect in ROLES {
        let (ours, theirs) = connect(&link.kernel);
        let answering = thread::spawn(move || answer(ours));
        ask(theirs);
        answering.join().expect("it ends with its peer");
        let (ours, theirs) = connect(&link.kernel);
        let answering = thread::spawn(move || answer(theirs));
        ask(ours);
        answering.join().expect("it ends with its peer");
    }
    link.is_left_cleanly();
}

/// Threads of either side that share the thousand connections.
const WORKERS: usize = 100;
/// Connections of each.
const SHARE: usize = 10;
/// Bytes that each connection carries there and back.
const SAID: usize = 3000;

/// Opens so many connections, and uses them only when everybody has all of his.
fn ask_at_once<S: Stream>(connect: impl Fn() -> io::Result<S> + Sync) {
    let all_open = Barrier::new(WORKERS);
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (connect, all_open) = (&connect, &all_open);
            scope.spawn(move || {
                let said = |number| data(SAID, worker * SHARE + number);
                let mut streams: Vec<S> = Vec::new();
                for number in 0..SHARE {
                    let mut stream = connect().expect("somebody listens").patient();
                    // A first byte, so that a lost end of the handshake does not look like a path of seconds.
                    stream.write_all(&said(number)[..1]).expect("open");
                    streams.push(stream);
                }
                all_open.wait();
                for (number, stream) in streams.iter_mut().enumerate() {
                    stream.write_all(&said(number)[1..]).expect("open");
                    stream.end();
                }
                for (number, stream) in streams.iter_mut().enumerate() {
                    let echo = read_to_end(stream);
                    assert!(echo == said(number), "the echo of {worker}/{number}");
                }
            });
        }
    });
}

/// Takes what everybody has to say and says it back.
fn answer_all<S: Stream>(accept: impl Fn() -> io::Result<S> + Sync) {
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let streams: Vec<S> = (0..SHARE).map(|_| accept().expect("a connection").patient()).collect();
                for mut stream in streams {
                    let said = read_to_end(&mut stream);
                    stream.write_all(&said).expect("open");
                }
            });
        }
    });
}

#[test]
fn a_thousand_connections_that_the_host_begins_keep_their_streams_apart() {
    let link = link(3, BAD);
    let listener = TcpListener::bind(&link.kernel, SocketAddr::from(OURS)).expect("free");
    let serving = thread::spawn(move || answer_all(|| listener.accept().map(|(stream, _)| stream)));
    ask_at_once(host_connect);
    serving.join().expect("served");
    assert_eq!(link.kernel.counter(Counter::TcpAccepted), 1000);
    link.is_left_cleanly();
}

#[test]
fn a_thousand_connections_that_we_begin_keep_their_streams_apart() {
    let link = link(6, BAD);
    let listener = host_listen();
    let serving = thread::spawn(move || answer_all(|| listener.accept().map(|(stream, _)| stream)));
    ask_at_once(|| TcpStream::connect(&link.kernel, SocketAddr::from(HOSTS)));
    serving.join().expect("served");
    assert_eq!(link.kernel.counter(Counter::TcpConnected), 1000);
    link.is_left_cleanly();
}

#[test]
fn either_side_ends_first_or_aborts_over_a_bad_cable() {
    fn half_close(first: impl Stream, mut other: impl Stream) {
        let mut reader = first.another();
        first.end();
        assert_eq!(other.read(&mut [0; 9]).expect("the end"), 0);
        let writer = thread::spawn(move || {
            other.write_all(&data(100_000, 7)).expect("it is still read");
        });
        assert!(read_to_end(&mut reader) == data(100_000, 7));
        writer.join().expect("written");
    }
    /// The reset may be lost; then the next words are answered with another.
    fn hears_of_it(mut stream: impl Stream) {
        let until = Instant::now() + PATIENCE;
        let error = loop {
            match stream.write(b"is anybody there?") {
                Ok(_) => thread::sleep(Duration::from_millis(2)),
                Err(error) => break error,
            }
            assert!(Instant::now() < until, "nobody says that it is over");
        };
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    }
    let link = link(4, BAD);
    for connect in ROLES {
        for _ in 0..5 {
            let (ours, theirs) = connect(&link.kernel);
            half_close(ours, theirs);
            let (ours, theirs) = connect(&link.kernel);
            half_close(theirs, ours);
            let (ours, theirs) = connect(&link.kernel);
            ours.abort().expect("open");
            hears_of_it(theirs);
            let (ours, theirs) = connect(&link.kernel);
            (&theirs).write_all(b"x").expect("open");
            while ours.peek(&mut [0]).expect("open") == 0 {}
            (&ours).write_all(b"never read").expect("open");
            while theirs.peek(&mut [0]).expect("open") == 0 {}
            // What is unread makes the host reset.
            drop(theirs);
            hears_of_it(ours);
        }
    }
    link.is_left_cleanly();
}

/// Fails unless a program is there.
#[track_caller]
fn require(program: &str, package: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    assert!(is_there, "{program} is missing (package {package})");
}

/// How many frames of a recording a filter of tshark finds.
fn found(file: &std::path::Path, filter: &str) -> Vec<String> {
    let ran = Command::new("tshark")
        .args(["-n", "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-r"])
        .arg(file)
        .args(["-Y", filter])
        .output()
        .expect("it was there");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8_lossy(&ran.stdout).lines().map(str::to_owned).collect()
}

/// What no frame of ours may be, whatever befalls frames on the way: the recording has all that we heard.
const NEVER: &str = "ip.src == 10.0.0.2 && (_ws.malformed || tcp.checksum.status == 0 || ip.checksum.status == 0 \
     || tcp.analysis.ack_lost_segment || tcp.analysis.lost_segment || tcp.analysis.zero_window \
     || tcp.options.mss_val > 1460 || tcp.len > 1460 || tcp.analysis.reused_ports)";

#[test]
fn tshark_finds_nothing_wrong_with_what_we_send_over_a_bad_cable() {
    require("tshark", "tshark");
    // Without flipped bits, which would be in the recording or not as chance has it.
    let link = link(5, Conditions { corruption: 0.0, ..BAD });
    link.cable.begin_capture();
    for connect in ROLES {
        let (ours, theirs) = connect(&link.kernel);
        exchange(ours, theirs, 1_000_000);
    }
    link.is_left_cleanly();
    let file = std::env::temp_dir().join(format!("rumpnet-lossy-{}.pcapng", std::process::id()));
    std::fs::write(&file, link.cable.end_capture()).expect("room");
    let (ours, repeated) = ("ip.src == 10.0.0.2 && tcp", "ip.src == 10.0.0.2 && tcp.analysis.retransmission");
    let [all, repeated, wrong] = [ours, repeated, NEVER].map(|filter| found(&file, filter));
    std::fs::remove_file(&file).expect("it was written");
    assert!(all.len() > 1000 && !repeated.is_empty(), "{} of {}", repeated.len(), all.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}
