//! Kernels of one process on hubs: everything is heard by all, nothing is lost, and nobody who is gone holds anybody back.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use rumpnet::{
    Config, Errno, Kernel, TcpListener, TcpStream, UdpSocket,
    proto::{CreateOptions, EchoOptions, EchoOutcome, LinkState, Reply, Request},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A kernel with `bus0` on a bus.
fn member(bus: &str, address: &str) -> Kernel {
    let kernel = Kernel::builder().config(Config::tiny()).boot().expect("boots");
    join(&kernel, "bus0", bus, address);
    kernel
}

fn join(kernel: &Kernel, interface: &str, bus: &str, address: &str) {
    kernel.create_with(interface, &CreateOptions::default()).expect("room");
    kernel.set_link_string(interface, Some(bus)).expect("a bus");
    kernel.add_address(interface, address.parse().expect("a prefix")).expect("free");
}

fn ping(kernel: &Kernel, destination: Ipv4Addr) -> Vec<EchoOutcome> {
    let options = EchoOptions::to(destination.into());
    let Ok(Reply::Echo { echo, .. }) = kernel.control(Request::EchoOpen(options)) else {
        panic!("no session")
    };
    kernel.control(Request::EchoSend { echo, sequence: 7 }).expect("sent");
    let timeout_ns = PATIENCE.as_nanos() as u64;
    let received = kernel.control(Request::EchoReceive { echo, timeout_ns });
    let Ok(Reply::EchoReplies(replies)) = received else { panic!("no answer: {received:?}") };
    kernel.control(Request::EchoClose { echo }).expect("open until now");
    replies.iter().map(|reply| reply.outcome).collect()
}

#[test]
fn all_members_of_a_hub_ping_each_other() {
    let members: Vec<Kernel> =
        (1..=4).map(|number| member("mem:all-ping", &format!("10.0.0.{number}/24"))).collect();
    for from in &members {
        for number in 1..=4 {
            assert_eq!(ping(from, [10, 0, 0, number].into()), [EchoOutcome::Reply]);
        }
    }
    let report = members[0].interface("bus0").expect("it is there");
    assert_eq!(report.link_state, LinkState::Up);
}

#[test]
fn a_stream_between_two_of_three_members_arrives_whole() {
    let (one, two) = (member("mem:stream", "10.0.0.1/24"), member("mem:stream", "10.0.0.2/24"));
    let _listener_only = member("mem:stream", "10.0.0.3/24");
    let listener = TcpListener::bind(&two, "10.0.0.2:9").expect("free");
    let sender = thread::spawn(move || {
        let mut stream = TcpStream::connect(&one, "10.0.0.2:9").expect("answered");
        for number in 0..256u32 {
            stream.write_all(&[number as u8; 64 * 1024]).expect("taken");
        }
        (one, stream)
    });
    let (mut stream, _) = listener.accept().expect("asked");
    let mut piece = vec![0; 64 * 1024];
    for number in 0..256u32 {
        stream.read_exact(&mut piece).expect("comes");
        assert!(piece.iter().all(|byte| *byte == number as u8));
    }
    drop(sender.join().expect("no panic"));
}

#[test]
fn a_full_member_holds_its_sender_back_and_nothing_is_lost() {
    let one = member("mem:full", "10.0.0.1/24");
    let two = Kernel::builder().driven().boot().expect("boots");
    join(&two, "bus0", "mem:full", "10.0.0.2/24");
    let here = UdpSocket::bind(&one, "10.0.0.1:0").expect("free");
    let there = UdpSocket::bind(&two, "10.0.0.2:9").expect("free");
    there.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let to: SocketAddr = ([10, 0, 0, 2], 9).into();
    here.send_to(&[0; 4], to).expect("sent");
    assert_eq!(there.recv(&mut [0; 9]).expect("the neighbour is known now"), 4);
    // More than the hub holds for one member, while that one looks at nothing.
    let sender = thread::spawn(move || {
        for number in 1..3000u32 {
            here.send_to(&number.to_be_bytes(), to).expect("taken, sooner or later");
        }
        one
    });
    let mut expected = 1;
    while expected < 3000 {
        let mut bytes = [0; 4];
        there.recv(&mut bytes).expect("nothing is lost");
        assert_eq!(u32::from_be_bytes(bytes), expected);
        expected += 1;
    }
    drop(sender.join().expect("no panic"));
}

#[test]
fn a_member_that_is_gone_or_down_holds_nobody_back() {
    let (one, two) = (member("mem:gone", "10.0.0.1/24"), member("mem:gone", "10.0.0.2/24"));
    let idle = Kernel::builder().driven().boot().expect("boots");
    join(&idle, "bus0", "mem:gone", "10.0.0.3/24");
    // Nobody runs that kernel: its queue fills, and then nothing goes on.
    let here = UdpSocket::bind(&one, "10.0.0.1:0").expect("free");
    here.set_nonblocking(true).expect("always");
    let to: SocketAddr = ([10, 0, 0, 2], 9).into();
    let end = Instant::now() + PATIENCE;
    while here.send_to(&[0; 4], to).is_ok() {
        assert!(Instant::now() < end, "a hub is bounded");
    }
    drop(idle);
    assert_eq!(ping(&one, [10, 0, 0, 2].into()), [EchoOutcome::Reply]);
    drop(two);
}

#[test]
fn hubs_of_other_names_and_those_that_died_have_nothing_in_common() {
    let one = member("mem:mine", "10.0.0.1/24");
    let two = member("mem:yours", "10.0.0.2/24");
    let options = EchoOptions { size: 8, ..EchoOptions::to([10, 0, 0, 2].into()) };
    let Ok(Reply::Echo { echo, .. }) = one.control(Request::EchoOpen(options)) else { panic!("no session") };
    one.control(Request::EchoSend { echo, sequence: 1 }).expect("sent");
    let silence = one.control(Request::EchoReceive { echo, timeout_ns: 50_000_000 });
    assert_eq!(silence, Ok(Reply::EchoReplies(Vec::new())));
    two.destroy("bus0").expect("it is there");
    join(&two, "bus0", "mem:mine", "10.0.0.2/24");
    assert_eq!(ping(&two, [10, 0, 0, 1].into()), [EchoOutcome::Reply]);
}

#[test]
fn link_strings_are_refused_as_shmifs_are() {
    let kernel = Kernel::boot().expect("boots");
    let options = CreateOptions { host_end: Some("tap7".into()), ..CreateOptions::default() };
    assert_eq!(kernel.create_with("bus0", &options).map_err(|error| error.errno), Err(Errno::Inval));
    kernel.create_with("bus0", &CreateOptions::default()).expect("room");
    let set = |string| kernel.set_link_string("bus0", string).map_err(|error| error.errno);
    assert_eq!(set(None), Err(Errno::NoEnt));
    assert_eq!(kernel.set_up("bus0", true).map_err(|error| error.errno), Err(Errno::Nxio));
    assert_eq!(set(Some("mem:refused")), Ok(()));
    assert_eq!(set(Some("mem:refused")), Err(Errno::Busy));
    kernel.set_up("bus0", true).expect("on a bus");
    assert_eq!(set(None), Err(Errno::Busy));
    kernel.set_up("bus0", false).expect("it is there");
    assert_eq!(set(None), Ok(()));
    assert_eq!(kernel.interface("bus0").expect("it is there").link_state, LinkState::Down);
}
