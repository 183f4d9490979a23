//! The example of an axum server on each kind of link: kept connections, curl, and an end that answers what was asked.

use std::{
    io::{self, Read as _, Write},
    net::TcpStream,
    os::fd::{AsFd as _, AsRawFd as _},
    process::Command,
    thread::{self, JoinHandle},
    time::Duration,
};

use rumpnet::Kernel;
use rumpnet_host::{Tap, TapOptions, namespace::enter_own_network};

#[expect(dead_code, reason = "its main is for the command line")]
#[path = "../examples/axum.rs"]
mod example;

const PATIENCE: Duration = Duration::from_secs(20);
const SERVER: &str = "10.0.0.2:80";

/// Runs a program in this thread's namespace, and what it said.
#[track_caller]
fn run(words: &str) -> String {
    let (program, arguments) = words.split_once(' ').expect("a program and its arguments");
    let ran = Command::new(program).args(arguments.split(' ')).output();
    let ran = ran.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    assert!(ran.status.success(), "{words}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("text")
}

/// The example's server in a thread, whose runtime is its own.
fn serving(kernel: Kernel) -> JoinHandle<Result<(), String>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    thread::spawn(move || runtime.block_on(example::serve(kernel)).map_err(|error| error.to_string()))
}

/// What the host's sockets find of the server at the other end of its tap.
fn assert_that_the_host_is_served(server: JoinHandle<Result<(), String>>) {
    let connect = || {
        let stream = TcpStream::connect(SERVER)?;
        stream.set_read_timeout(Some(PATIENCE)).map(|()| stream)
    };
    let mut kept = example::connect_patiently(connect).expect("it listens");
    for _ in 0..3 {
        assert_eq!(example::get(&mut kept, "/").expect("kept open"), "hello");
    }
    assert_eq!(run("curl -sS --max-time 20 http://10.0.0.2/ http://10.0.0.2/"), "hellohello");
    let mut asking = connect().expect("it listens");
    let last = example::get(&mut asking, "/stop").expect("answered though the server ends");
    assert_eq!(last.len(), 140_000);
    assert!(last.ends_with("the last words"));
    // A connection that is kept ends with the server, in order.
    assert_eq!(kept.read(&mut [0]).expect("no reset"), 0);
    let said = kept.write_all(b"GET / HTTP/1.1\r\n\r\n").and_then(|()| kept.read(&mut [0]));
    assert!(matches!(said, Ok(0) | Err(_)), "nobody answers any more");
    server.join().expect("no panic").expect("nothing is lost");
    let nobody = TcpStream::connect_timeout(&SERVER.parse().expect("an address"), Duration::from_millis(200));
    assert!(nobody.is_err(), "the address is gone with its kernel");
}

#[test]
fn the_host_is_served_over_a_tap_that_is_named() {
    enter_own_network().expect("these tests need root");
    run("ip tuntap add dev tap0 mode tap");
    run("ip addr add 10.0.0.1/24 dev tap0");
    run("ip link set tap0 up");
    assert_that_the_host_is_served(serving(example::kernel_on("tap0").expect("these tests need root")));
}

#[test]
fn the_host_is_served_over_a_tap_that_is_a_descriptor() {
    enter_own_network().expect("these tests need root");
    let tap = Tap::open(&TapOptions::new("tap0")).expect("these tests need root");
    run("ip addr add 10.0.0.1/24 dev tap0");
    let end = format!("fd:{}", tap.as_fd().as_raw_fd());
    assert_that_the_host_is_served(serving(example::kernel_on(&end).expect("open")));
}

#[test]
fn a_kernel_is_served_over_a_channel() -> io::Result<()> {
    let (kernel, other) =
        example::kernel_on_channel().map_err(|error| io::Error::other(error.to_string()))?;
    let server = serving(kernel);
    assert_eq!(example::ask(other)?, "hello, hello, and 140000 bytes of last words");
    server.join().expect("no panic").expect("nothing is lost");
    Ok(())
}
