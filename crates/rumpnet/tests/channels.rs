//! Kernels in process, joined by channels: attached to the reactor, driven by a loop, held by a program at the other end.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use rumpnet::{
    Bytes, Config, Errno, Kernel, UdpSocket,
    buffer::{Frame, Headers},
    link::channel,
    proto::{
        CaptureOptions, Counter, DropReason, EchoOptions, EchoOutcome, LinkState, Reply, Request, Severity,
    },
    wire::{arp, ethernet},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Two kernels on one channel, 10.0.0.1 and 10.0.0.2.
fn neighbours() -> [Kernel; 2] {
    let kernels = [Kernel::boot().expect("boots"), Kernel::boot().expect("boots")];
    join(&kernels);
    kernels
}

fn join(kernels: &[Kernel; 2]) {
    let (one, two) = channel::pair();
    for (number, (kernel, end)) in (1..).zip(kernels.iter().zip([one, two])) {
        kernel.attach("virt0", Box::new(end), None).expect("a fresh kernel has room");
        kernel.add_address("virt0", format!("10.0.0.{number}/24").parse().expect("a prefix")).expect("free");
    }
}

fn ping(kernel: &Kernel, destination: Ipv4Addr) -> EchoOutcome {
    let options = EchoOptions::to(destination.into());
    let Ok(Reply::Echo { echo, .. }) = kernel.control(Request::EchoOpen(options)) else {
        panic!("no session")
    };
    kernel.control(Request::EchoSend { echo, sequence: 7 }).expect("sent");
    let timeout_ns = PATIENCE.as_nanos() as u64;
    let received = kernel.control(Request::EchoReceive { echo, timeout_ns });
    let Ok(Reply::EchoReplies(replies)) = received else { panic!("no answer: {received:?}") };
    kernel.control(Request::EchoClose { echo }).expect("open until now");
    assert_eq!((replies.len(), replies[0].sequence), (1, 7));
    replies[0].outcome
}

#[test]
fn kernels_on_one_channel_ping_each_other_and_themselves() {
    let [one, two] = neighbours();
    assert_eq!(ping(&one, [10, 0, 0, 2].into()), EchoOutcome::Reply);
    assert_eq!(ping(&two, [10, 0, 0, 1].into()), EchoOutcome::Reply);
    assert_eq!(ping(&one, Ipv4Addr::LOCALHOST), EchoOutcome::Reply);
}

#[test]
fn datagrams_and_trains_arrive_with_their_senders() {
    let [one, two] = neighbours();
    let here = UdpSocket::bind(&one, "10.0.0.1:0").expect("free");
    let there = UdpSocket::bind(&two, "0.0.0.0:9").expect("free");
    there.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let to: SocketAddr = ([10, 0, 0, 2], 9).into();
    here.send_to(b"alone", to).expect("sent");
    let mut buffer = [0; 100];
    let (len, from) = there.recv_from(&mut buffer).expect("arrives");
    assert_eq!((&buffer[..len], from), (&b"alone"[..], here.local_addr().expect("bound")));
    let train: Vec<u8> = (0..100u16).flat_map(|number| [number as u8; 50]).collect();
    here.send_train(Bytes::from(train), 50, Some(to)).expect("sent");
    let mut trains = Vec::new();
    there.recv_trains(&mut trains, 1).expect("arrives whole");
    assert_eq!((trains[0].datagrams(), trains[0].len()), (100, 5000));
    assert_eq!(trains[0].datagram(99).to_bytes(), Bytes::from(vec![99; 50]));
    here.send_batch(&[b"aa", b"bb", b"c"], Some(to)).expect("sent");
    let one_by_one: Vec<_> = (0..3).map(|_| there.recv(&mut buffer).expect("arrives")).collect();
    assert_eq!(one_by_one, [2, 2, 1]);
}

#[test]
fn calls_that_would_wait_say_so_and_errors_have_the_hosts_numbers() {
    let [one, _two] = neighbours();
    let socket = UdpSocket::bind(&one, "10.0.0.1:9").expect("free");
    let taken = UdpSocket::bind(&one, "10.0.0.1:9").map(drop).expect_err("taken");
    assert_eq!((taken.kind(), taken.raw_os_error()), (io::ErrorKind::AddrInUse, Some(libc::EADDRINUSE)));
    let foreign = UdpSocket::bind(&one, "10.9.9.9:9").map(drop).expect_err("not ours");
    assert_eq!(foreign.raw_os_error(), Some(libc::EADDRNOTAVAIL));
    socket.set_read_timeout(Some(Duration::from_millis(5))).expect("not zero");
    assert_eq!(socket.recv(&mut [0; 9]).expect_err("silence").kind(), io::ErrorKind::WouldBlock);
    socket.set_nonblocking(true).expect("always");
    assert_eq!(socket.recv(&mut [0; 9]).expect_err("silence").raw_os_error(), Some(libc::EAGAIN));
    socket.set_nonblocking(false).expect("always");
    assert_eq!(
        socket.send_to(b"x", "192.0.2.1:9").expect_err("no route").raw_os_error(),
        Some(libc::EHOSTUNREACH)
    );
    // The port is closed there, and only a connected socket hears of it.
    socket.connect("10.0.0.2:9").expect("reachable");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    socket.send(b"x").expect("sent");
    assert_eq!(socket.recv(&mut [0; 9]).expect_err("refused").kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_program_can_be_the_other_end_of_a_virt() {
    let kernel = Kernel::boot().expect("boots");
    let (end, program) = channel::pair();
    kernel.attach("virt0", Box::new(end), None).expect("room");
    kernel.add_address("virt0", "10.0.0.2/24".parse().expect("a prefix")).expect("free");
    let mine = ethernet::Address([2, 0, 0, 0, 0, 9]);
    let question = arp::Packet {
        operation: arp::Operation::Request,
        sender_hardware: mine,
        sender_protocol: [10, 0, 0, 9].into(),
        target_hardware: ethernet::Address([0; 6]),
        target_protocol: [10, 0, 0, 2].into(),
    };
    let header = ethernet::Header {
        destination: ethernet::Address::BROADCAST,
        source: mine,
        ethertype: ethernet::EtherType::ARP,
    };
    let bytes = [&header.to_bytes()[..], &question.to_bytes()[..]].concat();
    let headers = Headers::copy_from(&bytes).expect("short");
    program.try_send(Frame { headers, ..Frame::default() }).expect("room");
    let end = Instant::now() + PATIENCE;
    let answer = loop {
        let frame = program.recv_timeout(end - Instant::now()).expect("an answer").to_vec();
        let (header, rest) = ethernet::Header::parse(&frame).expect("a frame");
        let (packet, _) = arp::Packet::parse(rest).expect("ARP only: nobody else speaks");
        if packet.operation == arp::Operation::Reply {
            assert_eq!(header.destination, mine);
            break packet;
        }
    };
    assert_eq!(answer.sender_protocol, Ipv4Addr::new(10, 0, 0, 2));
    drop(program);
    let down = || kernel.interface("virt0").expect("there").link_state == LinkState::Down;
    assert!(eventually(down), "the link is down when its other end is gone");
}

#[test]
fn a_driven_kernel_moves_only_when_it_is_turned_and_its_descriptor_says_when() {
    let driven = Kernel::builder().driven().boot().expect("boots");
    let other = Kernel::boot().expect("boots");
    let (here, there) = channel::pair();
    driven.attach("virt0", Box::new(here), None).expect("room");
    driven.add_address("virt0", "10.0.0.1/24".parse().expect("a prefix")).expect("free");
    other.attach("virt0", Box::new(there), None).expect("room");
    other.add_address("virt0", "10.0.0.2/24".parse().expect("a prefix")).expect("free");
    let socket = UdpSocket::bind(&driven, "10.0.0.1:9").expect("free");
    socket.set_nonblocking(true).expect("always");
    let sender = UdpSocket::bind(&other, "10.0.0.2:0").expect("free");
    sender.send_to(b"x", "10.0.0.1:9").expect("sent");
    assert_eq!(socket.recv(&mut [0; 9]).expect_err("not turned").kind(), io::ErrorKind::WouldBlock);
    let end = Instant::now() + PATIENCE;
    while socket.recv(&mut [0; 9]).is_err() {
        assert!(Instant::now() < end, "turning delivers");
        driven.turn(Some(Duration::from_millis(100)));
    }
    // A call that waits turns the kernel itself.
    socket.set_nonblocking(false).expect("always");
    sender.send_to(b"y", "10.0.0.1:9").expect("sent");
    assert_eq!(socket.recv(&mut [0; 9]).expect("turned by the call"), 1);
    assert!(driven.as_fd().try_clone_to_owned().is_ok());
}

/// Counts its calls.
#[derive(Default)]
struct Calls(AtomicU64);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[test]
fn an_async_receiver_is_woken_by_the_datagram_it_waits_for() {
    let [one, two] = neighbours();
    let receiver = rumpnet::future::UdpSocket::bind(&two, "10.0.0.2:9").expect("free");
    let calls = Arc::new(Calls::default());
    let waker = Waker::from(calls.clone());
    let mut cx = Context::from_waker(&waker);
    let mut buffer = [0; 9];
    assert!(receiver.poll_recv_from(&mut cx, &mut buffer).is_pending());
    let sender = UdpSocket::bind(&one, "10.0.0.1:0").expect("free");
    sender.send_to(b"x", "10.0.0.2:9").expect("sent");
    assert!(eventually(|| calls.0.load(Ordering::Acquire) > 0), "the task is woken");
    assert!(matches!(receiver.poll_recv_from(&mut cx, &mut buffer), Poll::Ready(Ok((1, _)))));
}

#[test]
fn a_flood_that_nobody_reads_is_bounded_and_counted() {
    let [one, two] = neighbours();
    // The flood shall not have to wait for address resolution, whose queue is short.
    ping(&one, [10, 0, 0, 2].into());
    let receiver = UdpSocket::bind(&two, "10.0.0.2:9").expect("free");
    let sender = UdpSocket::bind(&one, "10.0.0.1:0").expect("free");
    let limit = u64::from(Config::default().udp_receive_bytes);
    let payload = [0; 1000];
    let count = 3 * limit / 1000;
    for _ in 0..count {
        sender.send_to(&payload, "10.0.0.2:9").expect("a sender waits for room and is not refused");
    }
    let ended = || two.counter(Counter::UdpDelivered) + two.drops(DropReason::UdpSocketFull) == count;
    assert!(eventually(ended), "every datagram is delivered or counted");
    assert!(two.drops(DropReason::UdpSocketFull) > 0);
    receiver.set_nonblocking(true).expect("always");
    let mut read = 0;
    while receiver.recv(&mut [0; 1000]).is_ok() {
        read += 1;
    }
    assert_eq!(read, two.counter(Counter::UdpDelivered));
    assert!(read * 1000 <= limit);
}

#[test]
fn a_capture_gives_what_passes_until_it_is_complete() {
    let [one, _two] = neighbours();
    let options =
        CaptureOptions { interface: Some("virt0".into()), count: Some(2), ..CaptureOptions::default() };
    let mut capture = one.open_capture(options).expect("there");
    ping(&one, [10, 0, 0, 2].into());
    let mut packets = Vec::new();
    while let Some(more) = capture.next(Some(PATIENCE)) {
        assert!(!more.is_empty(), "something passes in time");
        packets.extend(more);
    }
    assert_eq!(packets.len(), 2);
    assert_eq!(capture.close().expect("open").0, 2);
    let missing = CaptureOptions { interface: Some("virt9".into()), ..CaptureOptions::default() };
    assert_eq!(one.open_capture(missing).map(drop).expect_err("not there").errno, Errno::Nxio);
}

#[test]
fn what_happens_is_reported_once_and_halting_ends_the_wait() {
    let [one, _two] = neighbours();
    let created =
        |kernel: &Kernel| kernel.messages(0).iter().filter(|line| line.text.contains("virt0")).count();
    assert_eq!(created(&one), 1, "{:?}", one.messages(0));
    one.log(Severity::Info, "said");
    assert_eq!(one.messages(0).last().map(|last| last.text.clone()), Some("said".into()));
    assert!(!one.wait_halt(Some(Duration::ZERO)));
    let waiter = one.clone();
    let thread = std::thread::spawn(move || waiter.wait_halt(Some(PATIENCE)));
    one.control(Request::Halt).expect("always");
    assert!(thread.join().expect("no panic"));
}

#[test]
fn the_last_handle_takes_the_kernel_with_it() {
    let kernel = Kernel::boot().expect("boots");
    let (end, program) = channel::pair();
    kernel.attach("virt0", Box::new(end), None).expect("room");
    kernel.add_address("virt0", "10.0.0.2/24".parse().expect("a prefix")).expect("free");
    let socket = UdpSocket::bind(&kernel, "10.0.0.2:9").expect("free");
    drop(kernel);
    assert!(socket.local_addr().is_ok(), "a socket is a handle, too");
    drop(socket);
    let gone = || matches!(program.try_recv(), Err(error) if error.kind() == io::ErrorKind::BrokenPipe);
    assert!(eventually(gone), "the link is closed");
}

#[test]
fn interfaces_are_made_and_destroyed_on_links_of_their_kind_only() {
    let kernel = Kernel::boot().expect("boots");
    let (ethernet, _far) = channel::pair();
    let refused = kernel.attach("tun0", Box::new(ethernet), None).expect_err("of the other kind");
    assert_eq!(refused.errno, Errno::Inval);
    let (packets, far) = channel::ip_pair();
    kernel.attach("tun0", Box::new(packets), None).expect("of its kind");
    let (again, _far) = channel::ip_pair();
    assert_eq!(kernel.attach("tun0", Box::new(again), None).expect_err("there already").errno, Errno::Exist);
    kernel.destroy("tun0").expect("there");
    assert_eq!(far.try_recv().expect_err("closed").kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(kernel.destroy("tun0").expect_err("gone").errno, Errno::Nxio);
    assert_eq!(kernel.destroy("lo0").expect_err("never").errno, Errno::Perm);
}

/// Waits for what the reactor does, for as long as it may take on a busy machine.
fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}
