//! Threads that wait in calls read their kernel's links themselves, and nothing is missed whoever reads.

use std::{
    io::ErrorKind,
    net::UdpSocket as HostSocket,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rumpnet::{Kernel, UdpSocket};
use rumpnet_host::namespace::enter_own_network;

/// A wake-up that is lost costs this, and the test with it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs ip(8) in this thread's namespace.
#[track_caller]
fn ip(words: &str) {
    let ran =
        Command::new("ip").args(words.split_whitespace()).output().expect("ip is there (package iproute2)");
    assert!(ran.status.success(), "ip {words}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// An interface `virt<unit>` of 10.0.<unit>.2, whose other end is the host's of 10.0.<unit>.1.
fn add_interface(kernel: &Kernel, unit: u8) {
    let name = format!("virt{unit}");
    kernel.create(&name).expect("these tests need root");
    kernel.add_address(&name, format!("10.0.{unit}.2/24").parse().expect("a prefix")).expect("free");
    ip(&format!("addr add 10.0.{unit}.1/24 dev tap{unit}"));
}

fn kernel() -> Kernel {
    enter_own_network().expect("these tests need root");
    let kernel = Kernel::boot().expect("boots");
    add_interface(&kernel, 0);
    kernel
}

/// A socket of the kernel that sends back whatever comes, on a thread of its own, until it is sent nothing.
fn echo(kernel: &Kernel, port: u16) -> thread::JoinHandle<()> {
    let socket =
        UdpSocket::bind(kernel, ("0.0.0.0:0".parse::<std::net::SocketAddr>().expect("one").ip(), port))
            .expect("free");
    thread::spawn(move || {
        let mut buffer = [0; 64];
        loop {
            let (len, from) = socket.recv_from(&mut buffer).expect("no error");
            socket.send_to(&buffer[..len], from).expect("room");
            if len == 0 {
                return;
            }
        }
    })
}

/// Asks so often, one question at a time, and then ends the answerer.
fn ask(unit: u8, port: u16, questions: u32) {
    let socket = HostSocket::bind((format!("10.0.{unit}.1").as_str(), 0)).expect("free");
    socket.connect((format!("10.0.{unit}.2").as_str(), port)).expect("a route");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let mut buffer = [0; 64];
    for question in 0..questions {
        socket.send(&question.to_be_bytes()).expect("sent");
        let len = socket.recv(&mut buffer).expect("an answer, whoever reads it");
        assert_eq!(buffer[..len], question.to_be_bytes());
    }
    socket.send(&[]).expect("sent");
    assert_eq!(socket.recv(&mut buffer).expect("an answer"), 0);
}

/// So many conversations at once, each side of each on a thread of its own.
fn converse(kernel: &Kernel, conversations: u16, questions: u32) {
    let answerers: Vec<_> = (0..conversations).map(|number| echo(kernel, 1000 + number)).collect();
    thread::scope(|scope| {
        for number in 0..conversations {
            scope.spawn(move || ask(0, 1000 + number, questions));
        }
    });
    answerers.into_iter().for_each(|answerer| answerer.join().expect("no panic"));
}

#[test]
fn one_thread_that_waits_is_never_forgotten() {
    converse(&kernel(), 1, 5000);
}

#[test]
fn threads_that_wait_read_for_each_other() {
    let kernel = kernel();
    converse(&kernel, 2, 2000);
    converse(&kernel, 8, 1000);
}

#[test]
fn a_seat_that_is_taken_and_left_all_the_time_misses_nothing() {
    let kernel = kernel();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for restless in 0..3 {
            let socket = UdpSocket::bind(&kernel, "10.0.0.2:0").expect("free");
            let over = &over;
            scope.spawn(move || {
                socket.set_read_timeout(Some(Duration::from_micros(50 + 70 * restless))).expect("not zero");
                while !over.load(Ordering::Relaxed) {
                    let nothing = socket.recv(&mut [0; 8]).expect_err("nobody sends to it");
                    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
                }
            });
        }
        converse(&kernel, 1, 3000);
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_link_that_threads_have_read_is_read_when_none_of_them_waits_any_more() {
    let kernel = kernel();
    let ours = UdpSocket::bind(&kernel, "0.0.0.0:7").expect("free");
    ours.set_nonblocking(true).expect("a mode");
    let host = HostSocket::bind("10.0.0.1:0").expect("free");
    host.connect("10.0.0.2:7").expect("a route");
    for _ in 0..20 {
        converse(&kernel, 4, 200);
        host.send(&[1]).expect("sent");
        // Nobody waits in a call: the reactor must find it, wherever it was a moment ago.
        let until = Instant::now() + PATIENCE;
        while ours.recv(&mut [0; 8]).is_err() {
            assert!(Instant::now() < until, "a frame that nobody reads");
            thread::yield_now();
        }
    }
}

#[test]
fn a_thread_in_the_seat_is_woken_by_others_and_by_its_time_out() {
    let kernel = kernel();
    let (ours, other) = (
        UdpSocket::bind(&kernel, "127.0.0.1:7").expect("free"),
        UdpSocket::bind(&kernel, "127.0.0.1:8").expect("free"),
    );
    other.connect("127.0.0.1:7").expect("a route");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            for number in 0..2000u32 {
                let mut buffer = [0; 8];
                assert_eq!(ours.recv(&mut buffer).expect("it is sent"), 4);
                assert_eq!(buffer[..4], number.to_be_bytes());
                ours.send_to(&[], "127.0.0.1:8").expect("room");
            }
        });
        other.set_read_timeout(Some(PATIENCE)).expect("not zero");
        for number in 0..2000u32 {
            other.send(&number.to_be_bytes()).expect("room");
            other.recv(&mut [0; 8]).expect("a receipt");
        }
        waiting.join().expect("no panic");
    });
    let (patience, began) = (Duration::from_millis(30), Instant::now());
    ours.set_read_timeout(Some(patience)).expect("not zero");
    assert_eq!(ours.recv(&mut [0; 8]).expect_err("nobody sends").kind(), ErrorKind::WouldBlock);
    assert!(began.elapsed() >= patience);
}

#[test]
fn links_may_come_and_go_while_a_thread_sits() {
    let kernel = kernel();
    let answerers = [echo(&kernel, 1000), echo(&kernel, 1001), echo(&kernel, 1002)];
    ask(0, 1000, 100);
    add_interface(&kernel, 1);
    ask(1, 1001, 100);
    kernel.destroy("virt0").expect("there");
    ask(1, 1002, 100);
    answerers.into_iter().for_each(|answerer| answerer.join().expect("no panic"));
}
