//! Kernels on taps of the host, against the host's own stack, each test in a network namespace of its own.

use std::{
    net::UdpSocket as HostSocket,
    os::fd::{AsFd as _, AsRawFd as _},
    process::Command,
    time::{Duration, Instant},
};

use rumpnet::{
    Bytes, Errno, Kernel, UdpSocket,
    proto::{Capabilities, CreateOptions, LinkState},
};
use rumpnet_host::{Tap, TapOptions, namespace::enter_own_network};

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs ip(8) in this thread's namespace.
#[track_caller]
fn ip(words: &str) {
    let ran =
        Command::new("ip").args(words.split_whitespace()).output().expect("ip is there (package iproute2)");
    assert!(ran.status.success(), "ip {words}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// A kernel of 10.0.0.2 on `virt0`, whose other end is the host's of 10.0.0.1.
fn kernel(host_end: &str) -> Kernel {
    let kernel = Kernel::builder().host_end("virt0", host_end).boot().expect("boots");
    kernel.create("virt0").expect("these tests need root");
    kernel.add_address("virt0", "10.0.0.2/24".parse().expect("a prefix")).expect("free");
    kernel
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn is_there(name: &str) -> bool {
    Command::new("ip").args(["link", "show", name]).output().is_ok_and(|ran| ran.status.success())
}

/// Datagrams and super-frames in both directions between a kernel and a socket of the host.
fn assert_that_datagrams_pass(kernel: &Kernel) {
    let ours = UdpSocket::bind(kernel, "10.0.0.2:9");
    let ours = ours.unwrap_or_else(|error| panic!("{error}: {:?}", kernel.messages(0)));
    ours.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let host = HostSocket::bind("10.0.0.1:0").expect("free");
    host.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let to = host.local_addr().expect("bound");
    let mut buffer = [0; 65_536];
    host.send_to(b"there", "10.0.0.2:9").expect("sent");
    let (len, from) = ours.recv_from(&mut buffer).expect("arrives");
    assert_eq!((&buffer[..len], from), (&b"there"[..], to));
    ours.send_to(b"and back", from).expect("sent");
    assert_eq!(host.recv(&mut buffer).expect("arrives"), 8);
    let long: Vec<u8> = (0..20_000u32).map(|place| place as u8).collect();
    host.send_to(&long, "10.0.0.2:9").expect("sent in fragments");
    assert_eq!(ours.recv(&mut buffer).expect("comes together"), long.len());
    assert!(buffer[..long.len()] == long[..]);
    ours.send_to(&long, to).expect("sent in fragments");
    assert_eq!(host.recv(&mut buffer).expect("comes together"), long.len());
    assert!(buffer[..long.len()] == long[..]);
    ours.send_train(Bytes::from(long.clone()), 1000, Some(to)).expect("sent");
    for part in long.chunks(1000) {
        let len = host.recv(&mut buffer).expect("every datagram of the train");
        assert!(&buffer[..len] == part);
    }
}

#[test]
fn datagrams_fragments_and_trains_pass_between_the_kernel_and_the_host() {
    enter_own_network().expect("these tests need root");
    let kernel = kernel("tap0");
    ip("addr add 10.0.0.1/24 dev tap0");
    assert_that_datagrams_pass(&kernel);
    let capabilities = kernel.interface("virt0").expect("there").enabled;
    assert!(capabilities.contains(Capabilities::TSO4 | Capabilities::USO4), "{capabilities:?}");
}

#[test]
fn a_tap_that_a_program_opens_itself_can_be_given_to_a_kernel() {
    enter_own_network().expect("these tests need root");
    let tap = rumpnet::link::tap("tap0").expect("free");
    assert_eq!(rumpnet::link::tap("tap0").err().map(|error| error.errno), Some(Errno::Busy));
    let kernel = Kernel::boot().expect("boots");
    kernel.attach("virt0", tap, None).expect("free");
    kernel.add_address("virt0", "10.0.0.2/24".parse().expect("a prefix")).expect("free");
    ip("addr add 10.0.0.1/24 dev tap0");
    assert_that_datagrams_pass(&kernel);
}

#[test]
fn a_packet_socket_on_a_veth_end_does_the_same() {
    enter_own_network().expect("these tests need root");
    ip("link add ours type veth peer name theirs");
    ip("addr add 10.0.0.1/24 dev theirs");
    ip("link set ours up");
    ip("link set theirs up");
    assert_that_datagrams_pass(&kernel("packet:ours"));
}

#[test]
fn without_offloads_everything_is_done_in_software_and_passes_too() {
    enter_own_network().expect("these tests need root");
    let kernel = kernel("tap0");
    ip("addr add 10.0.0.1/24 dev tap0");
    let all = kernel.interface("virt0").expect("there").capabilities;
    kernel.set_capabilities("virt0", Capabilities::empty(), all).expect("known");
    assert_that_datagrams_pass(&kernel);
}

#[test]
fn a_tap_made_beforehand_is_used_by_another_name_and_stays() {
    enter_own_network().expect("these tests need root");
    ip("tuntap add dev mine mode tap");
    let kernel = Kernel::boot().expect("boots");
    let options = CreateOptions { host_end: Some("mine".into()), ..CreateOptions::default() };
    kernel.create_with("virt0", &options).expect("free");
    assert_eq!(kernel.interface("virt0").expect("there").host_end.as_deref(), Some("mine"));
    kernel.destroy("virt0").expect("there");
    assert!(is_there("mine"));
}

#[test]
fn carrier_follows_our_will_and_link_state_the_hosts() {
    enter_own_network().expect("these tests need root");
    let kernel = kernel("tap0");
    ip("addr add 10.0.0.1/24 dev tap0");
    let state = || kernel.interface("virt0").expect("there").link_state;
    eventually("the host sees a carrier", || ip_says("tap0", "LOWER_UP"));
    kernel.set_up("virt0", false).expect("there");
    eventually("the host sees none", || ip_says("tap0", "NO-CARRIER"));
    kernel.set_up("virt0", true).expect("there");
    eventually("the host sees it again", || ip_says("tap0", "LOWER_UP"));
    ip("link set tap0 down");
    eventually("the link is down", || state() == LinkState::Down);
    ip("link set tap0 up");
    eventually("the link is up", || state() == LinkState::Up);
    assert_that_datagrams_pass(&kernel);
    let told = kernel.messages(0).iter().filter(|line| line.text.contains("link")).count();
    assert!((2..=4).contains(&told), "once per change: {:?}", kernel.messages(0));
}

fn ip_says(name: &str, word: &str) -> bool {
    let ran =
        Command::new("ip").args(["link", "show", name]).output().expect("ip is there (package iproute2)");
    String::from_utf8_lossy(&ran.stdout).contains(word)
}

#[test]
fn a_deleted_tap_is_noticed_and_its_interface_can_be_destroyed_and_made_again() {
    enter_own_network().expect("these tests need root");
    let kernel = kernel("tap0");
    ip("link delete tap0");
    eventually("the link is down", || {
        kernel.interface("virt0").expect("there").link_state == LinkState::Down
    });
    kernel.destroy("virt0").expect("there");
    kernel.create("virt0").expect("free");
    assert!(is_there("tap0"));
}

#[test]
fn refusals_of_the_host_carry_its_errno_and_leave_nothing_behind() {
    enter_own_network().expect("these tests need root");
    ip("tuntap add dev tap5 mode tun");
    ip("link add tap6 type bridge");
    let _holder = kernel("tap0");
    let other = Kernel::boot().expect("boots");
    for (name, errno) in [("virt0", Errno::Busy), ("virt5", Errno::Inval), ("virt6", Errno::Inval)] {
        let error = other.create(name).expect_err("refused");
        assert_eq!(error.errno, errno, "{name}: {error}");
        assert!(error.hint.is_some(), "{error}");
    }
    let options = CreateOptions { host_end: Some("fd:9999".into()), ..CreateOptions::default() };
    assert_eq!(other.create_with("virt7", &options).expect_err("not open").errno, Errno::BadF);
    assert_eq!(other.interfaces().expect("lo0").len(), 1);
}

#[test]
fn a_tap_handed_over_from_another_network_namespace_carries_datagrams() {
    enter_own_network().expect("these tests need root");
    let tap = Tap::open(&TapOptions::new("tap0")).expect("these tests need root");
    ip("addr add 10.0.0.1/24 dev tap0");
    let number = tap.as_fd().as_raw_fd();
    let elsewhere = std::thread::spawn(move || {
        enter_own_network().expect("these tests need root");
        kernel(&format!("fd:{number}"))
    });
    let kernel = elsewhere.join().expect("boots");
    assert_that_datagrams_pass(&kernel);
    assert_eq!(kernel.interface("virt0").expect("there").link_state, LinkState::Up);
}

#[test]
fn a_hundred_kernels_share_the_reactor_and_take_their_taps_with_them() {
    enter_own_network().expect("these tests need root");
    let kernels: Vec<Kernel> = (0..100)
        .map(|number| {
            let kernel = Kernel::builder().config(rumpnet::Config::tiny()).boot().expect("boots");
            kernel.create(&format!("virt{number}")).expect("these tests need root");
            kernel
        })
        .collect();
    let mut addresses: Vec<_> = kernels
        .iter()
        .enumerate()
        .map(|(number, kernel)| kernel.interface(&format!("virt{number}")).expect("there").link_address)
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 100, "no two link addresses are alike");
    drop(kernels);
    eventually("all taps are gone", || (0..100).all(|number| !is_there(&format!("tap{number}"))));
}

#[test]
fn a_million_frames_pass_each_way_and_every_one_is_accounted_for() {
    const FRAMES: u64 = 1_000_000;
    const HOST_RECEIVED: (&str, usize) = ("RX:", 1);
    const HOST_DROPPED: (&str, usize) = ("TX:", 3);
    enter_own_network().expect("these tests need root");
    let kernel = kernel("tap0");
    ip("addr add 10.0.0.1/24 dev tap0");
    let host = HostSocket::bind("10.0.0.1:0").expect("free");
    let to = host.local_addr().expect("bound");
    let ours = UdpSocket::bind(&kernel, "10.0.0.2:9").expect("free");
    // Both ends know each other before the count.
    host.send_to(b"x", "10.0.0.2:9").expect("sent");
    ours.set_read_timeout(Some(PATIENCE)).expect("not zero");
    ours.recv(&mut [0; 9]).expect("arrives");
    let counters = || kernel.interface("virt0").expect("there").counters;
    let before = counters();
    // Lengths alternate, so that each datagram is a frame of its own.
    let batch: [&[u8]; 50] = std::array::from_fn(|number| &[7; 65][number % 2..]);
    let mut sent = 0;
    while sent < FRAMES {
        sent += ours.send_batch(&batch, Some(to)).expect("a full link makes the sender wait") as u64;
    }
    eventually("all have left", || counters().output_packets - before.output_packets >= sent);
    let host_received = statistic(HOST_RECEIVED);
    assert!(host_received >= sent, "{host_received} of {sent}");
    let (before, dropped_before) = (counters().input_packets, statistic(HOST_DROPPED));
    for number in 0..FRAMES as usize {
        host.send_to(batch[number % 2], "10.0.0.2:9").expect("sent");
    }
    let arrived = || counters().input_packets - before + statistic(HOST_DROPPED) - dropped_before;
    eventually("each has arrived, or was dropped by the host and counted", || arrived() >= FRAMES);
    assert!(arrived() < FRAMES + 100, "a few more are the neighbours' talk");
}

/// A counter of the host's end of the tap, as ip(8) shows it: a direction, and the place in its line.
fn statistic((direction, place): (&str, usize)) -> u64 {
    let ran = Command::new("ip")
        .args(["-s", "link", "show", "tap0"])
        .output()
        .expect("ip is there (package iproute2)");
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    let numbers = text.lines().skip_while(|line| !line.trim_start().starts_with(direction)).nth(1);
    let number = numbers.and_then(|line| line.split_whitespace().nth(place));
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("another layout: {text}"))
}
