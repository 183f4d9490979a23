//! Datagram sockets of a kernel in another process: UDP, raw IP and ICMP against the host's own stack, each test in a network of its own.

mod remote_world;

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket as HostSocket},
    os::fd::AsFd,
    time::Duration,
};

use remote_world::{HOSTS, PATIENCE, Site, eventually, ip};
use rumpnet::{
    Bytes, Interest, SocketOption,
    proto::{DropReason, passed::DatagramHeader},
    remote::UdpSocket,
};
use rumpnet_host::unix::pair;
use rumpnet_sockets::{DatagramWait as _, WaitDatagrams, blocking};

const OURS: &str = "10.0.0.2";

fn host_socket() -> HostSocket {
    let host = HostSocket::bind((HOSTS, 0)).expect("free");
    host.set_read_timeout(Some(PATIENCE)).expect("not zero");
    host
}

fn kind<T>(result: io::Result<T>) -> String {
    format!("{:?}", result.map(drop).map_err(|error| error.raw_os_error()))
}

/// The same calls of the same types in every world; what they saw.
fn program<N: WaitDatagrams>(net: &N) -> io::Result<Vec<String>> {
    let mut saw = Vec::new();
    let host = host_socket();
    let to = host.local_addr()?;
    let ours = blocking::UdpSocket::bind(net, (OURS, 9))?;
    ours.set_read_timeout(Some(PATIENCE))?;
    saw.push(format!("{}", ours.local_addr()?));
    saw.push(kind(blocking::UdpSocket::bind(net, (OURS, 9))));
    saw.push(kind(blocking::UdpSocket::bind(net, "10.0.0.77:9")));
    ours.send_to(b"question", to)?;
    let mut buffer = vec![0; 70_000];
    let (len, from) = host.recv_from(&mut buffer)?;
    saw.push(format!("{:?} of {from}", &buffer[..len]));
    host.send_to(b"a long answer", from)?;
    saw.push(format!("{:?}", ours.peek_from(&mut buffer)?.1 == to));
    let mut short = [0; 6];
    let (len, meta) = ours.recv_meta(&mut short)?;
    saw.push(format!(
        "{len} of {} {short:?} to {} ttl {} tos {}",
        meta.len, meta.destination, meta.ttl, meta.tos
    ));
    let long: Vec<u8> = (0..65_507u32).map(|place| place as u8).collect();
    ours.send_to(&long, to)?;
    saw.push(format!("{}", host.recv(&mut buffer)? == long.len() && buffer[..long.len()] == long[..]));
    host.send_to(&long, from)?;
    saw.push(format!("{}", ours.recv(&mut buffer)? == long.len() && buffer[..long.len()] == long[..]));
    saw.push(kind(ours.send_to(&[0; 65_508], to)));
    ours.send_train(Bytes::from(long[..5000].to_vec()), 1000, Some(to))?;
    for part in long[..5000].chunks(1000) {
        let len = host.recv(&mut buffer)?;
        saw.push(format!("{}", &buffer[..len] == part));
    }
    saw.push(format!("{}", ours.send_batch(&[b"one", b"two"], Some(to))?));
    saw.push(format!("{} {}", host.recv(&mut buffer)?, host.recv(&mut buffer)?));
    host.send_to(b"", from)?;
    saw.push(format!("{:?}", ours.recv_from(&mut buffer)?.0));
    connected(net, &mut saw)?;
    options(&ours, &mut saw)?;
    Ok(saw)
}

fn connected<N: WaitDatagrams>(net: &N, saw: &mut Vec<String>) -> io::Result<()> {
    let ours = blocking::UdpSocket::bind(net, (OURS, 0))?;
    ours.set_read_timeout(Some(PATIENCE))?;
    saw.push(kind(ours.peer_addr()));
    ours.connect((HOSTS, 1))?;
    saw.push(format!("{} {}", ours.peer_addr()?, ours.path_mtu()?));
    ours.send(b"nobody is there")?;
    saw.push(kind(ours.recv(&mut [0; 8])));
    ours.disconnect()?;
    saw.push(kind(ours.peer_addr()));
    Ok(())
}

fn options<N: WaitDatagrams>(ours: &blocking::UdpSocket<N>, saw: &mut Vec<String>) -> io::Result<()> {
    ours.set_ttl(9)?;
    ours.set_option(SocketOption::Tos(0x20))?;
    let settings = ours.settings()?;
    saw.push(format!("ttl {} tos {}", settings.ttl, settings.tos));
    saw.push(kind(ours.set_ttl(0)));
    let group = Ipv4Addr::new(239, 1, 2, 3);
    ours.join_multicast_v4(group, Ipv4Addr::UNSPECIFIED)?;
    saw.push(kind(ours.join_multicast_v4(group, Ipv4Addr::UNSPECIFIED)));
    ours.set_multicast_ttl_v4(3)?;
    saw.push(format!(
        "{} {:?}",
        ours.multicast_ttl_v4()?,
        ours.source_filter_v4(&group, Ipv4Addr::UNSPECIFIED).is_ok()
    ));
    saw.push(kind(ours.bind_device(Some("virt7"))));
    ours.set_nonblocking(true)?;
    saw.push(kind(ours.recv(&mut [0; 8])));
    Ok(())
}

#[test]
fn one_program_of_datagrams_sees_the_same_of_a_kernel_in_this_process_and_in_another() {
    let site = Site::new();
    let here = program(&site.kernel).expect("no error that it does not expect");
    let there = program(&site.client()).expect("no error that it does not expect");
    assert_eq!(here, there);
    assert_eq!(here.len(), 27);
}

/// An echo request of ICMP without its checksum, which the kernel writes.
fn echo_request(identifier: u16) -> Vec<u8> {
    [&[8, 0, 0, 0][..], &identifier.to_be_bytes(), &[0, 1], b"data of a ping"].concat()
}

fn pings<N: WaitDatagrams>(net: &N) -> io::Result<Vec<String>> {
    let mut saw = Vec::new();
    let (host, mut buffer) = (HOSTS.parse::<IpAddr>().expect("a literal"), [0; 200]);
    let icmp = blocking::IcmpSocket::open(net)?;
    icmp.set_read_timeout(Some(PATIENCE))?;
    icmp.bind(OURS.parse().expect("a literal"), 77)?;
    icmp.send_to(&echo_request(0), host)?;
    let (len, from) = icmp.recv_from(&mut buffer)?;
    saw.push(format!("{from} {:?}", &buffer[..2]));
    saw.push(format!("{:?}", buffer[4..len] == [&77u16.to_be_bytes()[..], &echo_request(0)[6..]].concat()));
    let raw = blocking::RawSocket::open(net, 253)?;
    raw.set_read_timeout(Some(Duration::from_millis(20)))?;
    saw.push(kind(raw.recv_from(&mut buffer)));
    raw.set_read_timeout(Some(PATIENCE))?;
    saw.push(kind(blocking::RawSocket::open(net, 0)));
    raw.send_to(b"experimental", OURS.parse().expect("a literal"))?;
    let (len, from) = raw.recv_from(&mut buffer)?;
    saw.push(format!("{from} {} {:?}", buffer[9], &buffer[20..len]));
    Ok(saw)
}

#[test]
fn raw_and_icmp_sockets_see_the_same_of_a_kernel_in_this_process_and_in_another() {
    let site = Site::new();
    let here = pings(&site.kernel).expect("no error that it does not expect");
    assert_eq!(here, pings(&site.client()).expect("no error that it does not expect"));
    assert_eq!(here.len(), 5);
}

#[test]
fn who_does_not_read_loses_datagrams_in_the_kernel_and_nothing_else() {
    let site = Site::new();
    let ours = UdpSocket::bind(&site.client(), (OURS, 9)).expect("free");
    let host = host_socket();
    let sender = std::thread::spawn({
        let host = host.try_clone().expect("open");
        move || (0..20_000u32).for_each(|number| drop(host.send_to(&[number as u8; 1400], (OURS, 9))))
    });
    sender.join().expect("no panic");
    eventually("the buffer is full", || site.kernel.drops(DropReason::UdpSocketFull) > 0);
    let mut buffer = [0; 2000];
    ours.set_read_timeout(Some(Duration::from_millis(200))).expect("not zero");
    let mut read = 0;
    while ours.recv(&mut buffer).is_ok() {
        read += 1;
    }
    assert!((100..20_000).contains(&read), "{read}");
    host.send_to(b"and on", (OURS, 9)).expect("sent");
    ours.set_read_timeout(Some(PATIENCE)).expect("not zero");
    assert_eq!(ours.recv(&mut buffer).ok(), Some(6));
}

#[test]
fn what_is_no_datagram_on_a_descriptor_is_dropped() {
    let site = Site::new();
    let ours = UdpSocket::bind(&site.client(), (OURS, 9)).expect("free");
    let host = host_socket();
    let end = ours.socket().as_fd();
    let mut malformed = DatagramHeader::default().to_bytes();
    malformed[0] = 5;
    for message in [&b"x"[..], &[0; DatagramHeader::LEN - 1], &malformed, &[0xff; 60_000]] {
        pair::send(end, &[io::IoSlice::new(message)]).expect("room");
    }
    // Without a destination there is nowhere to go, which is an error of the call, not of the conversation.
    pair::send(end, &[io::IoSlice::new(&DatagramHeader::default().to_bytes())]).expect("room");
    ours.socket().wait(Interest::Readable, Some(PATIENCE)).expect("the error comes");
    let error = ours.send_to(b"x", host.local_addr().expect("bound")).expect_err("told by the next call");
    assert_eq!(error.raw_os_error(), Some(libc::EDESTADDRREQ));
    ours.send_to(b"and on", host.local_addr().expect("bound")).expect("sent");
    assert_eq!(host.recv(&mut [0; 60]).ok(), Some(6));
}

#[test]
fn a_datagram_socket_is_closed_with_the_last_copy_of_its_descriptor() {
    let site = Site::new();
    let ours = UdpSocket::bind(&site.client(), (OURS, 9)).expect("free");
    let copy = ours.socket().as_fd().try_clone_to_owned().expect("open");
    drop(ours);
    let taken = rumpnet::UdpSocket::bind(&site.kernel, (OURS, 9)).expect_err("the copy holds it");
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    drop(copy);
    eventually("it is free", || rumpnet::UdpSocket::bind(&site.kernel, (OURS, 9)).is_ok());
}

#[test]
fn any_address_is_heard_and_answered_from() {
    let site = Site::new();
    ip("route add 10.9.0.0/16 via 10.0.0.2");
    let ours = UdpSocket::bind_any(&site.client(), "virt0", 53).expect("the interface is there");
    ours.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let host = host_socket();
    host.send_to(b"who", "10.9.8.7:53").expect("sent");
    let mut buffer = [0; 16];
    let (_, meta) = ours.recv_meta(&mut buffer).expect("it comes");
    let wanted: SocketAddr = "10.9.8.7:53".parse().expect("a literal");
    assert_eq!(meta.destination, wanted);
    ours.send_from(b"me", wanted, meta.source).expect("sent");
    assert_eq!(host.recv_from(&mut buffer).ok(), Some((2, wanted)));
}
