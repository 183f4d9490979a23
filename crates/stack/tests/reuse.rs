//! Sockets that share an address: what each of them hears, and options that change while they are bound.

use rumpnet_proto::{Counter, Errno};
use rumpnet_stack::{SocketId, SocketOption, TcpOption};

mod outside;

use outside::{OUR_MAC, Outside};

fn shared(outside: &mut Outside, port: u16) -> SocketId {
    let socket = outside.stack.udp_open().expect("room");
    outside.stack.udp_set_option(socket, SocketOption::ReuseAddress(true)).expect("known");
    outside.stack.udp_bind(socket, ([0, 0, 0, 0], port).into()).expect("together");
    socket
}

#[test]
fn a_broadcast_reaches_every_socket_that_is_bound_to_it() {
    let mut outside = Outside::new();
    let sockets = [shared(&mut outside, 9), shared(&mut outside, 9)];
    let other = shared(&mut outside, 10);
    outside.forget();
    let to_all = outside::altered(
        outside::ipv4(outside::header(rumpnet_wire::ip::Protocol::UDP, 0), &[0, 7, 0, 9, 0, 9, 0, 0, b'!']),
        |header| header[16..20].copy_from_slice(&[255; 4]),
    );
    let frame = [&[255; 6][..], &to_all[6..]].concat();
    assert_ne!(frame[..6], OUR_MAC.0);
    outside.receive(frame);
    let came =
        [Counter::IpReceived, Counter::IpDelivered, Counter::UdpReceived, Counter::UdpBroadcastReceived];
    outside.raises(&[&came[..], &[Counter::UdpDelivered; 2]].concat(), &[]);
    for socket in sockets {
        assert_eq!(outside.stack.udp_receive(socket, false).expect("heard").payload.to_bytes(), b"!"[..]);
    }
    assert_eq!(outside.stack.udp_receive(other, false).expect_err("another port"), Errno::Again);
}

#[test]
fn an_option_that_changes_counts_from_then_on_and_nothing_is_left_of_what_is_closed() {
    let mut outside = Outside::new();
    let (first, second) = (outside.stack.tcp_open().expect("room"), outside.stack.tcp_open().expect("room"));
    let (now, at) = (outside.now, ([0, 0, 0, 0], 80).into());
    outside.stack.tcp_bind(first, at).expect("free");
    outside.stack.tcp_set_option(now, second, TcpOption::ReusePort(true)).expect("known");
    assert_eq!(outside.stack.tcp_bind(second, at), Err(Errno::AddrInUse));
    outside.stack.tcp_set_option(now, first, TcpOption::ReusePort(true)).expect("known");
    outside.stack.tcp_bind(second, at).expect("now both say so");
    outside.stack.tcp_listen(first, 1).expect("shared");
    outside.stack.tcp_set_option(now, first, TcpOption::ReusePort(false)).expect("known");
    assert_eq!(outside.stack.tcp_listen(second, 1), Err(Errno::AddrInUse));
    outside.stack.tcp_close(now, first).expect("open");
    outside.stack.tcp_listen(second, 1).expect("alone");
    outside.stack.tcp_close(now, second).expect("open");
    let third = outside.stack.tcp_open().expect("room");
    outside.stack.tcp_bind(third, at).expect("nothing is left");
}
