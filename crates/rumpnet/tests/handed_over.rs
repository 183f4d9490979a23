//! A tap that was handed over is open elsewhere, too, and must be let go of without help from close(2): alone in its process, whose pollers it looks into.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    time::Duration,
};

use rumpnet::{Kernel, UdpSocket};
use rumpnet_host::{Tap, TapOptions, namespace::enter_own_network};

/// How many descriptors all pollers of this process poll.
fn polled() -> usize {
    let entries = fs::read_dir("/proc/self/fdinfo").expect("procfs");
    // What was closed in the meantime polls nothing.
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    texts.map(|text| text.lines().filter(|line| line.starts_with("tfd:")).count()).sum()
}

/// An interface comes, a thread waits in the reader's seat for nothing, and the interface goes.
fn cycle(kernel: &Kernel) {
    kernel.create("virt0").expect("these tests need root");
    kernel.add_address("virt0", "10.0.0.2/24".parse().expect("a prefix")).expect("free");
    let socket = UdpSocket::bind(kernel, "10.0.0.2:9").expect("free");
    socket.set_read_timeout(Some(Duration::from_millis(1))).expect("not zero");
    socket.recv_from(&mut [0; 8]).expect_err("nobody sends");
    drop(socket);
    kernel.destroy("virt0").expect("there");
}

#[test]
fn no_poller_keeps_a_tap_that_was_handed_over_and_let_go() {
    enter_own_network().expect("these tests need root");
    let tap = Tap::open(&TapOptions::new("tap0")).expect("these tests need root");
    let end = format!("fd:{}", tap.as_fd().as_raw_fd());
    let kernel = Kernel::builder().host_end("virt0", &end).boot().expect("boots");
    cycle(&kernel);
    let seated = polled();
    // Each time it gets another number.
    let mut numbers = Vec::new();
    for _ in 0..3 {
        numbers.push(fs::File::open("/dev/null").expect("there"));
        cycle(&kernel);
    }
    assert_eq!(polled(), seated);
}
