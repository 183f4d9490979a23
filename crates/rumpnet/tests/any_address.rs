//! Any-address sockets between kernels: the example, flows decided by threads and tasks, datagrams answered from where they went.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    thread,
    time::Duration,
};

use rumpnet::{
    FlowListener, Kernel, TcpListener, TcpOption, TcpSocket, TcpStream, UdpSocket,
    link::channel,
    proto::{Counter, NextHop},
};

#[path = "../examples/tun2socks.rs"]
mod tun2socks;

const PATIENCE: Duration = Duration::from_secs(20);
const FAR: &str = "192.0.2.80:443";

/// A machine, and the router that all of its packets go to.
fn machine_and_router() -> [Kernel; 2] {
    let kernels = [Kernel::boot().expect("boots"), Kernel::boot().expect("boots")];
    let (one, two) = channel::pair();
    for (number, (kernel, end)) in (1..).zip(kernels.iter().zip([one, two])) {
        kernel.attach("virt0", Box::new(end), None).expect("a fresh kernel has room");
        kernel.add_address("virt0", format!("10.0.0.{number}/24").parse().expect("a prefix")).expect("free");
    }
    let gateway = NextHop::Gateway("10.0.0.2".parse().expect("an address"));
    kernels[0].add_route("0.0.0.0/0".parse().expect("a prefix"), gateway).expect("no other");
    kernels
}

#[test]
fn every_flow_of_a_machine_goes_through_a_socks_proxy_or_is_refused_as_the_proxy_refuses_it() {
    tun2socks::main().expect("the example runs");
}

#[test]
fn a_connect_is_answered_only_when_its_flow_is_accepted() {
    let [machine, router] = machine_and_router();
    let flows = FlowListener::bind(&router, "virt0", 0).expect("free");
    let far: SocketAddr = FAR.parse().expect("an address");
    let client = thread::spawn(move || TcpStream::connect(&machine, far).map(|stream| (stream, machine)));
    let flow = flows.accept().expect("a request");
    assert_eq!(flow.original(), far);
    assert!(!client.is_finished(), "nothing has been answered");
    assert_eq!(router.counter(Counter::TcpSent), 0);
    flow.set_option(TcpOption::NoDelay(true)).expect("before the answer");
    let mut stream = flow.accept_blocking().expect("the handshake ends");
    let (mut client, _machine) = client.join().expect("no panic").expect("answered");
    assert_eq!(client.peer_addr().expect("connected"), far);
    assert_eq!(stream.local_addr().expect("connected"), far);
    assert_eq!(stream.peer_addr().expect("connected"), client.local_addr().expect("connected"));
    assert!(stream.nodelay().expect("open"));
    // The connection outlives its listener.
    drop(flows);
    client.write_all(b"question").expect("room");
    let mut asked = [0; 8];
    stream.read_exact(&mut asked).expect("arrives");
    assert_eq!(&asked, b"question");
}

#[test]
fn a_reset_flow_is_a_refused_connect_and_a_dropped_one_a_connect_that_comes_again() {
    let [machine, router] = machine_and_router();
    let flows = FlowListener::bind(&router, "virt0", 443).expect("free");
    let attempt = thread::spawn(move || TcpStream::connect(&machine, FAR).map(drop));
    drop(flows.accept().expect("a request"));
    flows.accept().expect("the same again, a second later").reset().expect("held");
    let refused = attempt.join().expect("no panic").expect_err("reset");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(router.counter(Counter::TcpFlowsDropped), 1);
    flows.set_nonblocking(true).expect("always");
    assert_eq!(flows.accept().map(drop).expect_err("none").kind(), io::ErrorKind::WouldBlock);
    let taken = FlowListener::bind(&router, "virt0", 443).map(drop).expect_err("taken");
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    let nowhere = FlowListener::bind(&router, "virt9", 443).map(drop).expect_err("not there");
    assert_eq!(nowhere.raw_os_error(), Some(libc::ENXIO));
}

#[test]
fn a_router_speaks_to_a_machine_in_anothers_name() {
    let [machine, router] = machine_and_router();
    let listener = TcpListener::bind(&machine, "10.0.0.1:80").expect("free");
    let socket = TcpSocket::new(&router).expect("room");
    socket.set_option(TcpOption::BindAny(true)).expect("not bound");
    socket.bind("198.51.100.7:1234").expect("any will do");
    let mut stream = socket.connect_blocking("10.0.0.1:80").expect("answered");
    let (mut accepted, peer) = listener.accept().expect("a connection");
    assert_eq!(peer, "198.51.100.7:1234".parse().expect("an address"));
    accepted.write_all(b"hello").expect("room");
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).expect("arrives");
    assert_eq!(&heard, b"hello");
}

#[test]
fn a_datagram_is_answered_by_whom_it_asked() {
    let [machine, router] = machine_and_router();
    let any = UdpSocket::bind_any(&router, "virt0", 0).expect("free");
    any.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let resolver: SocketAddr = "192.0.2.53:53".parse().expect("an address");
    let client = UdpSocket::bind(&machine, "10.0.0.1:0").expect("free");
    client.connect(resolver).expect("a way there");
    client.set_read_timeout(Some(PATIENCE)).expect("not zero");
    client.send(b"who?").expect("sent");
    let mut buffer = [0; 9];
    let (len, meta) = any.recv_meta(&mut buffer).expect("arrives");
    assert_eq!((&buffer[..len], meta.destination), (&b"who?"[..], resolver));
    any.send_from(b"me", meta.destination, meta.source).expect("a way back");
    assert_eq!(client.recv(&mut buffer).expect("from whom it was asked"), 2);
}
