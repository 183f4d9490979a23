//! Any-address sockets: flows to addresses that are not ours, held until somebody decides, and datagrams answered from where they went.

use std::net::{Ipv4Addr, SocketAddr};

use rumpnet_proto::{Counter, DropReason, Errno, Request};
use rumpnet_stack::{Config, Endpoint, Flow, SocketId, SocketOption, TcpOption, UdpSend};
use rumpnet_wire::{
    checksum::Sum,
    ethernet,
    icmpv4::Message,
    ip::{self, Protocol},
    ipv4,
    tcp::{Flags, Header, Seq},
};

mod outside;

use outside::{OURS, Outside, THEIRS, header, quiet};

/// An address that is nobody's here.
const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
const FOREIGN: [Counter; 3] = [Counter::IpReceived, Counter::IpForeign, Counter::TcpReceived];
const RESET: [Counter; 2] = [Counter::TcpResetsSent, Counter::IpSent];

fn segment(to: Ipv4Addr, (from_port, port): (u16, u16), seq: u32, ack: u32, flags: Flags) -> Vec<u8> {
    let head = Header { sequence: Seq(seq), acknowledgment: Seq(ack), ..Header::new(from_port, port, flags) };
    let pseudo = ip::pseudo_header(THEIRS.into(), to.into(), Protocol::TCP, head.header_len() as u32);
    let head = head.with_checksum(pseudo, Sum::new());
    let mut bytes = vec![0; head.header_len()];
    head.emit(&mut bytes).expect("room");
    outside::ipv4(ipv4::Header { destination: to, ..header(Protocol::TCP, 0) }, &bytes)
}

fn syn(to: Ipv4Addr, port: u16) -> Vec<u8> {
    segment(to, (5000, port), 999, 0, Flags::SYN)
}

/// Where a frame that we sent comes from, and its segment.
fn read(frame: &[u8]) -> (Ipv4Addr, Header) {
    let (_, rest) = ethernet::Header::parse(frame).expect("a frame");
    let (header, rest) = ipv4::Header::parse(rest).expect("a packet");
    (header.source, Header::parse(&rest[..header.payload_len()]).expect("a segment").0)
}

fn listening(port: u16) -> (Outside, SocketId) {
    let mut outside = Outside::with(quiet(), rumpnet_stack::PortConfig::ethernet(outside::OUR_MAC));
    let listener = outside.stack.tcp_open().expect("room");
    outside.stack.tcp_listen_any(listener, "virt0", port, 2).expect("free");
    outside.forget();
    (outside, listener)
}

fn hold(outside: &mut Outside, listener: SocketId) -> SocketId {
    outside.receive(syn(FAR, 443));
    let (flow, about) = outside.stack.tcp_next_flow(listener).expect("a request");
    assert_eq!(about, Flow { peer: (THEIRS, 5000).into(), original: (FAR, 443).into() });
    outside.forget();
    flow
}

#[test]
fn a_request_is_held_without_an_answer_and_its_repetition_is_no_second_event() {
    let (mut outside, listener) = listening(0);
    outside.receive(syn(FAR, 443));
    outside.raises(&[FOREIGN.as_slice(), &[Counter::TcpFlowsHeld]].concat(), &[]);
    outside.receive(syn(FAR, 443));
    outside.raises(&FOREIGN, &[DropReason::TcpFlowHeld]);
    assert!(outside.sent().is_empty());
    let news: Vec<_> = std::iter::from_fn(|| outside.stack.next_event()).collect();
    let of_it =
        |event: &&rumpnet_stack::Event| **event == rumpnet_stack::Event::Socket(Endpoint::Tcp(listener));
    assert_eq!(news.iter().filter(of_it).count(), 1);
    assert!(outside.stack.tcp_next_flow(listener).is_ok());
    assert_eq!(outside.stack.tcp_next_flow(listener), Err(Errno::Again));
    outside.receive(syn(FAR, 443));
    assert_eq!(outside.stack.tcp_next_flow(listener), Err(Errno::Again), "nor after it was taken");
}

#[test]
fn an_accepted_flow_speaks_from_the_address_that_was_asked_for() {
    let (mut outside, listener) = listening(0);
    let flow = hold(&mut outside, listener);
    outside.stack.tcp_admit(outside.now, flow).expect("held");
    outside.raises(&[Counter::TcpFlowsAccepted], &[]);
    let (source, answer) = read(&outside.sent()[0]);
    assert_eq!((source, answer.flags), (FAR, Flags::SYN | Flags::ACK));
    assert_eq!(answer.acknowledgment, Seq(1000));
    outside.forget();
    assert!(!outside.stack.readiness(Endpoint::Tcp(flow)).writable);
    let ack = answer.sequence.0.wrapping_add(1);
    outside.receive(segment(FAR, (5000, 443), 1000, ack, Flags::ACK));
    outside.raises(&[FOREIGN.as_slice(), &[Counter::TcpAccepted]].concat(), &[]);
    assert!(outside.stack.readiness(Endpoint::Tcp(flow)).writable);
    let addresses = outside.stack.tcp_addresses(flow).expect("open");
    assert_eq!(addresses, (Some((FAR, 443).into()), Some((THEIRS, 5000).into())));
    // It lives on without its listener, and hears its peer.
    outside.stack.tcp_close(outside.now, listener).expect("open");
    outside.forget();
    outside.receive(segment(FAR, (5000, 443), 1000, ack, Flags::ACK | Flags::FIN));
    outside.raises(&FOREIGN, &[]);
    outside.receive(syn(FAR, 444));
    outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4NotForUs]);
    outside.stack.tcp_close(outside.now, flow).expect("open");
    assert_eq!(read(outside.sent().last().expect("a FIN")).0, FAR);
    outside.receive(segment(FAR, (5000, 443), 1001, ack.wrapping_add(1), Flags::ACK));
    outside.forget();
    outside.receive(syn(FAR, 443));
    outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4NotForUs]);
}

#[test]
fn a_flow_is_reset_as_if_the_address_had_refused_it() {
    let (mut outside, listener) = listening(0);
    let flow = hold(&mut outside, listener);
    outside.stack.tcp_refuse(outside.now, flow).expect("held");
    outside.raises(&[RESET.as_slice(), &[Counter::TcpFlowsReset]].concat(), &[]);
    let (source, answer) = read(&outside.sent()[0]);
    assert_eq!((source, answer.flags, answer.acknowledgment), (FAR, Flags::RST | Flags::ACK, Seq(1000)));
    assert_eq!(outside.stack.tcp_refuse(outside.now, flow), Err(Errno::BadF));
}

#[test]
fn a_dropped_flow_is_not_answered_and_comes_anew() {
    let (mut outside, listener) = listening(0);
    let flow = hold(&mut outside, listener);
    outside.stack.tcp_close(outside.now, flow).expect("held");
    outside.raises(&[Counter::TcpFlowsDropped], &[]);
    assert!(outside.sent().is_empty());
    hold(&mut outside, listener);
}

#[test]
fn with_as_many_held_as_may_be_the_next_request_is_the_victim_and_no_cookie_is_sent() {
    let (mut outside, listener) = listening(0);
    for port in [1, 2] {
        outside.receive(syn(FAR, port));
    }
    outside.forget();
    outside.receive(syn(FAR, 3));
    outside.raises(&FOREIGN, &[DropReason::TcpListenQueueFull]);
    assert!(outside.sent().is_empty());
    // A decision makes room.
    let (flow, _) = outside.stack.tcp_next_flow(listener).expect("a request");
    outside.receive(syn(FAR, 3));
    outside.raises(&FOREIGN, &[DropReason::TcpListenQueueFull]);
    outside.stack.tcp_admit(outside.now, flow).expect("held");
    outside.forget();
    outside.receive(syn(FAR, 3));
    outside.raises(&[FOREIGN.as_slice(), &[Counter::TcpFlowsHeld]].concat(), &[]);
}

#[test]
fn a_request_that_nobody_decides_on_is_dropped_in_time() {
    let (mut outside, listener) = listening(0);
    outside.receive(syn(FAR, 1));
    outside.stack.tcp_next_flow(listener).expect("a request");
    let flow = hold(&mut outside, listener);
    let before = outside.stack.socket_count();
    outside.wait(131);
    outside.raises(&[Counter::TcpFlowsExpired; 2], &[]);
    assert!(outside.stack.readiness(Endpoint::Tcp(flow)).error);
    assert_eq!(outside.stack.tcp_admit(outside.now, flow), Err(Errno::TimedOut));
    assert_eq!(outside.stack.socket_count(), before, "both were taken");
    outside.receive(syn(FAR, 443));
    outside.raises(&[FOREIGN.as_slice(), &[Counter::TcpFlowsHeld]].concat(), &[]);
    outside.wait(131);
    assert_eq!(outside.stack.tcp_next_flow(listener), Err(Errno::Again), "nobody had taken it");
    assert_eq!(outside.stack.socket_count(), before);
}

#[test]
fn a_peer_takes_its_request_back_with_the_right_reset_alone() {
    let (mut outside, listener) = listening(0);
    let flow = hold(&mut outside, listener);
    outside.receive(segment(FAR, (5000, 443), 1001, 0, Flags::RST));
    outside.raises(&FOREIGN, &[DropReason::TcpResetUnacceptable]);
    outside.receive(segment(FAR, (5000, 443), 1000, 0, Flags::FIN));
    outside.raises(&FOREIGN, &[DropReason::TcpUnexpected]);
    outside.receive(segment(FAR, (5000, 443), 1000, 7, Flags::ACK));
    outside.raises(&[FOREIGN.as_slice(), &RESET].concat(), &[DropReason::TcpNoConnection]);
    outside.receive(segment(FAR, (5000, 443), 1000, 0, Flags::RST));
    outside.raises(&[FOREIGN.as_slice(), &[Counter::TcpFlowsAbandoned]].concat(), &[]);
    assert_eq!(outside.stack.tcp_admit(outside.now, flow), Err(Errno::ConnAborted));
    outside.stack.tcp_close(outside.now, flow).expect("open until it is closed");
    hold(&mut outside, listener);
}

#[test]
fn sockets_bound_to_what_is_asked_for_win_and_our_own_addresses_are_any_too() {
    let (mut outside, any) = listening(0);
    let listener = outside.stack.tcp_open().expect("room");
    outside.stack.tcp_bind(listener, ([0, 0, 0, 0], 80).into()).expect("free");
    outside.stack.tcp_listen(listener, 4).expect("bound");
    outside.receive(syn(OURS, 80));
    assert_eq!(outside.stack.tcp_next_flow(any), Err(Errno::Again));
    outside.receive(syn(OURS, 81));
    assert!(outside.stack.tcp_next_flow(any).is_ok());
    // A socket at all of our addresses is at no foreign one.
    outside.receive(syn(FAR, 80));
    assert!(outside.stack.tcp_next_flow(any).is_ok());
}

#[test]
fn a_listener_to_one_port_leaves_the_others_alone() {
    let (mut outside, any) = listening(443);
    outside.receive(syn(FAR, 80));
    outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4NotForUs]);
    assert!(outside.sent().is_empty());
    let other = outside.stack.tcp_open().expect("room");
    assert_eq!(outside.stack.tcp_listen_any(other, "virt0", 443, 1), Err(Errno::AddrInUse));
    assert_eq!(outside.stack.tcp_listen_any(other, "virt7", 1, 1), Err(Errno::Nxio));
    outside.stack.tcp_listen_any(other, "virt0", 0, 1).expect("another port");
    assert_eq!(outside.stack.tcp_listen_any(other, "virt0", 1, 1), Err(Errno::Inval));
    outside.receive(syn(FAR, 443));
    assert!(outside.stack.tcp_next_flow(any).is_ok());
    outside.receive(syn(FAR, 80));
    assert!(outside.stack.tcp_next_flow(other).is_ok());
}

#[test]
fn what_no_host_has_and_what_other_protocols_say_is_not_taken() {
    let (mut outside, listener) = listening(0);
    outside.receive(syn(Ipv4Addr::new(0, 1, 2, 3), 80));
    outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4NotForUs]);
    let to_far = |protocol| ipv4::Header { destination: FAR, ..header(protocol, 0) };
    let ping = outside::message(Message::EchoRequest { identifier: 1, sequence: 1 }, b"");
    for (protocol, payload) in [(Protocol(99), &b"?"[..]), (Protocol::ICMP, &ping)] {
        outside.receive(outside::ipv4(to_far(protocol), payload));
        outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4NotForUs]);
    }
    // Whoever has an address there may be concerned by an error, and by nothing else.
    hold(&mut outside, listener);
    for (protocol, payload, more) in
        [(Protocol(99), &b"?"[..], None), (Protocol::ICMP, &ping, Some(Counter::IcmpReceived))]
    {
        outside.receive(outside::ipv4(to_far(protocol), payload));
        let heard = [Counter::IpReceived, Counter::IpForeign].into_iter().chain(more).collect::<Vec<_>>();
        outside.raises(&heard, &[DropReason::Ipv4NotForUs]);
    }
    assert!(outside.sent().is_empty());
}

#[test]
fn a_listener_whose_interface_goes_hears_nothing_more_and_says_so() {
    let (mut outside, listener) = listening(0);
    let flow = hold(&mut outside, listener);
    let udp = outside.stack.udp_open().expect("room");
    outside.stack.udp_bind_any(udp, "virt0", 0).expect("free");
    outside.stack.destroy_interface(outside.now, "virt0").expect("there");
    outside.wait(1);
    assert_eq!(outside.stack.tcp_next_flow(listener), Err(Errno::Nxio));
    assert!(outside.stack.readiness(Endpoint::Tcp(listener)).readable);
    assert_eq!(outside.stack.udp_receive(udp, false).expect_err("deaf"), Errno::Nxio);
    assert_eq!(outside.stack.tcp_admit(outside.now, flow), Err(Errno::HostUnreach));
    for socket in [listener, flow] {
        outside.stack.tcp_close(outside.now, socket).expect("open");
    }
    outside.stack.udp_close(udp).expect("open");
}

#[test]
fn a_full_table_of_sockets_holds_nothing() {
    let config = Config { sockets: 1, ..quiet() };
    let mut outside = Outside::with(config, rumpnet_stack::PortConfig::ethernet(outside::OUR_MAC));
    let listener = outside.stack.tcp_open().expect("room");
    outside.stack.tcp_listen_any(listener, "virt0", 0, 9).expect("free");
    outside.forget();
    outside.receive(syn(FAR, 80));
    outside.raises(&FOREIGN, &[DropReason::TcpListenQueueFull]);
}

#[test]
fn a_kernel_that_ends_drops_what_waits_and_admits_nothing() {
    let (mut outside, listener) = listening(0);
    outside.receive(syn(FAR, 1));
    outside.stack.tcp_next_flow(listener).expect("a request");
    let flow = hold(&mut outside, listener);
    outside.stack.tcp_close(outside.now, listener).expect("open");
    outside.stack.tcp_drain(outside.now);
    assert_eq!(outside.stack.tcp_admit(outside.now, flow), Err(Errno::ConnAborted));
}

#[test]
fn a_connection_from_a_foreign_address_hears_its_answer() {
    let mut outside = Outside::new();
    let socket = outside.stack.tcp_open().expect("room");
    let from = SocketAddr::from((FAR, 7000));
    assert_eq!(outside.stack.tcp_bind(socket, from), Err(Errno::AddrNotAvail));
    outside.stack.tcp_set_option(outside.now, socket, TcpOption::BindAny(true)).expect("not bound");
    let nobodys = SocketAddr::from(([224, 0, 0, 1], 7000));
    assert_eq!(outside.stack.tcp_bind(socket, nobodys), Err(Errno::AddrNotAvail));
    outside.stack.tcp_bind(socket, from).expect("any will do");
    let late = outside.stack.tcp_set_option(outside.now, socket, TcpOption::BindAny(false));
    assert_eq!(late, Err(Errno::Inval));
    outside.stack.tcp_connect(outside.now, socket, (THEIRS, 5000).into()).expect("reachable");
    let (source, syn) = read(&outside.sent()[0]);
    assert_eq!(source, FAR);
    outside.forget();
    let ack = syn.sequence.0.wrapping_add(1);
    outside.receive(segment(FAR, (5000, 7000), 7, ack, Flags::SYN | Flags::ACK));
    outside.raises(&[FOREIGN.as_slice(), &[Counter::TcpConnected]].concat(), &[]);
    outside
        .stack
        .tcp_set_option(outside.now, socket, TcpOption::Linger(Some(rumpnet_stack::time::Duration::ZERO)))
        .expect("open");
    outside.stack.tcp_close(outside.now, socket).expect("open");
    outside.forget();
    outside.receive(segment(FAR, (5000, 7000), 8, ack, Flags::ACK));
    outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4NotForUs]);
}

/// A datagram from the stranger's port 7 to an address and port.
fn datagram(to: Ipv4Addr, port: u16) -> Vec<u8> {
    let (from, at) = (SocketAddr::from((THEIRS, 7)), SocketAddr::from((to, port)));
    let head = rumpnet_wire::udp::Header {
        source_port: from.port(),
        destination_port: at.port(),
        length: 9,
        checksum: 0,
    };
    let bytes = [&head.to_bytes()[..], b"?"].concat();
    outside::ipv4(ipv4::Header { destination: to, ..header(Protocol::UDP, 0) }, &bytes)
}

#[test]
fn a_datagram_to_any_address_is_heard_and_answered_from_there() {
    let mut outside = Outside::new();
    let socket = outside.stack.udp_open().expect("room");
    outside.stack.udp_bind_any(socket, "virt0", 0).expect("free");
    outside.forget();
    outside.receive(datagram(FAR, 53));
    let heard = [Counter::IpReceived, Counter::IpForeign, Counter::UdpReceived, Counter::UdpDelivered];
    outside.raises(&heard, &[]);
    let asked = outside.stack.udp_receive(socket, false).expect("heard");
    assert_eq!((asked.source, asked.destination), ((THEIRS, 7).into(), (FAR, 53).into()));
    let answer = |source: Option<SocketAddr>| UdpSend {
        payload: b"!"[..].into(),
        segment: None,
        destination: Some(asked.source),
        source,
        info: Default::default(),
    };
    let now = outside.now;
    for nobodys in [None, Some(([255; 4], 53).into()), Some((FAR, 0).into())] {
        let refused = outside.stack.udp_send(now, socket, [answer(nobodys)]);
        assert_eq!(refused, Err(Errno::AddrNotAvail), "{nobodys:?}");
    }
    outside.stack.udp_send(now, socket, [answer(Some(asked.destination))]).expect("a way back");
    let frame = outside.sent().pop().expect("an answer");
    let (_, packet) = ethernet::Header::parse(&frame).expect("a frame");
    let (head, rest) = ipv4::Header::parse(packet).expect("a packet");
    assert_eq!((head.source, &rest[..2]), (FAR, &53_u16.to_be_bytes()[..]));
    assert_eq!(outside.stack.udp_connect(socket, (THEIRS, 7).into()), Err(Errno::OpNotSupp));
    let ordinary = outside.udp(99);
    let refused = outside.stack.udp_send(now, ordinary, [answer(Some(asked.destination))]);
    assert_eq!(refused, Err(Errno::Inval), "an ordinary socket speaks for itself");
}

#[test]
fn datagram_sockets_bound_to_what_a_datagram_is_for_win() {
    let mut outside = Outside::new();
    let any = outside.stack.udp_open().expect("room");
    outside.stack.udp_bind_any(any, "virt0", 53).expect("free");
    let ordinary = outside.udp(53);
    outside.receive(datagram(OURS, 53));
    assert!(outside.stack.udp_receive(ordinary, false).is_ok());
    outside.receive(datagram(FAR, 53));
    assert!(outside.stack.udp_receive(any, false).is_ok());
    outside.forget();
    outside.receive(datagram(FAR, 54));
    outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4NotForUs]);
    let other = outside.stack.udp_open().expect("room");
    assert_eq!(outside.stack.udp_bind_any(other, "virt0", 53), Err(Errno::AddrInUse));
    outside.stack.udp_close(any).expect("open");
    outside.forget();
    outside.receive(datagram(FAR, 53));
    outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4NotForUs]);
}

#[test]
fn a_datagram_socket_at_a_foreign_address_hears_it_by_every_interface() {
    let mut outside = Outside::new();
    let socket = outside.stack.udp_open().expect("room");
    let at = SocketAddr::from((FAR, 53));
    assert_eq!(outside.stack.udp_bind(socket, at), Err(Errno::AddrNotAvail));
    outside.stack.udp_set_option(socket, SocketOption::BindAny(true)).expect("not bound");
    outside.stack.udp_bind(socket, at).expect("any will do");
    assert_eq!(outside.stack.udp_set_option(socket, SocketOption::BindAny(false)), Err(Errno::Inval));
    outside.receive(datagram(FAR, 53));
    assert!(outside.stack.udp_receive(socket, false).is_ok());
    outside.stack.udp_close(socket).expect("open");
    outside.forget();
    outside.receive(datagram(FAR, 53));
    outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4NotForUs]);
}

#[test]
fn fragments_for_a_foreign_address_are_put_together_while_somebody_wants_them() {
    let mut outside = Outside::new();
    let socket = outside.stack.udp_open().expect("room");
    outside.stack.udp_bind_any(socket, "virt0", 0).expect("free");
    let halves = |outside: &mut Outside, between: &dyn Fn(&mut Outside)| {
        let whole = [&[0, 7, 0, 53, 0, 24, 0, 0][..], &[b'x'; 16]].concat();
        for (first, bytes) in [(true, &whole[..16]), (false, &whole[16..])] {
            let fragment_offset = if first { 0 } else { 16 };
            let head = ipv4::Header {
                destination: FAR,
                more_fragments: first,
                fragment_offset,
                ..header(Protocol::UDP, 0)
            };
            outside.receive(outside::ipv4(head, bytes));
            if first {
                between(outside);
            }
        }
    };
    halves(&mut outside, &|_| ());
    assert_eq!(outside.stack.udp_receive(socket, false).expect("heard").payload.len(), 16);
    // The second half is for us no more once its socket is gone.
    outside.forget();
    halves(&mut outside, &|outside| outside.stack.udp_close(socket).expect("open"));
    outside.raises(
        &[Counter::IpReceived, Counter::IpReceived, Counter::IpFragmentsReceived],
        &[DropReason::Ipv4NotForUs],
    );
}

#[test]
fn netstat_shows_what_is_held() {
    let (mut outside, listener) = listening(0);
    hold(&mut outside, listener);
    let rumpnet_proto::Reply::Sockets { sockets, .. } = outside.control(Request::Sockets { after: None })
    else {
        panic!("no sockets")
    };
    let held = sockets.iter().find(|socket| socket.remote.is_some()).expect("shown");
    assert_eq!(
        (held.local, held.state),
        (Some((FAR, 443).into()), Some(rumpnet_proto::TcpState::SynReceived))
    );
}

#[test]
fn an_error_about_what_was_sent_from_a_foreign_address_reaches_its_connection() {
    let mut outside = Outside::new();
    let socket = outside.stack.tcp_open().expect("room");
    outside.stack.tcp_set_option(outside.now, socket, TcpOption::BindAny(true)).expect("not bound");
    outside.stack.tcp_bind(socket, (FAR, 7000).into()).expect("any will do");
    outside.stack.tcp_connect(outside.now, socket, (THEIRS, 5000).into()).expect("reachable");
    let syn = outside.sent().pop().expect("a SYN");
    let code = rumpnet_wire::icmpv4::UnreachableCode::PORT;
    let error = outside::message(
        Message::DestinationUnreachable { code, next_hop_mtu: 0 },
        &syn[ethernet::Header::LEN..],
    );
    outside.receive(outside::ipv4(ipv4::Header { destination: FAR, ..header(Protocol::ICMP, 0) }, &error));
    assert_eq!(outside.stack.tcp_take_error(socket), Ok(Some(Errno::ConnRefused)));
}

#[test]
fn a_router_forwards_what_no_any_address_socket_wants() {
    let config = Config { forwarding: true, ..quiet() };
    let mut outside = Outside::with(config, rumpnet_stack::PortConfig::ethernet(outside::OUR_MAC));
    let listener = outside.stack.tcp_open().expect("room");
    outside.stack.tcp_listen_any(listener, "virt0", 443, 2).expect("free");
    outside.forget();
    hold(&mut outside, listener);
    outside.receive(syn(FAR, 80));
    assert_eq!(outside.stack.drops(DropReason::Ipv4NotForUs), 0);
    assert_eq!(outside.stack.tcp_next_flow(listener), Err(Errno::Again));
    assert!(outside.stack.drops(DropReason::Ipv4Unroutable) > 0, "there is no way to it");
}

#[test]
fn at_the_end_of_a_kernel_whoever_waits_learns_of_it() {
    let (mut outside, any) = listening(0);
    let flow = hold(&mut outside, any);
    let listener = outside.stack.tcp_open().expect("room");
    outside.stack.tcp_listen(listener, 4).expect("a free port");
    let udp = outside.udp(9);
    let mut progress = rumpnet_stack::Resets::default();
    while outside.stack.tcp_reset_some(outside.now, &mut progress) {}
    let late = outside.stack.tcp_open().expect("room");
    assert_eq!(outside.stack.tcp_connect(outside.now, late, (THEIRS, 9).into()), Err(Errno::NetDown));
    assert_eq!(outside.stack.tcp_listen(late, 1), Err(Errno::NetDown));
    assert_eq!(outside.stack.tcp_accept(listener), Err(Errno::NetDown));
    assert_eq!(outside.stack.tcp_next_flow(any), Err(Errno::NetDown));
    assert_eq!(outside.stack.tcp_admit(outside.now, flow), Err(Errno::ConnAborted));
    assert_eq!(outside.stack.udp_receive(udp, false).expect_err("over"), Errno::NetDown);
    for socket in [any, listener] {
        assert!(outside.stack.readiness(Endpoint::Tcp(socket)).readable);
        outside.stack.tcp_close(outside.now, socket).expect("open");
    }
    outside.forget();
    outside.receive(syn(FAR, 443));
    outside.raises(&[Counter::IpReceived], &[DropReason::Ipv4NotForUs]);
}
