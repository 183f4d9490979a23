//! The library as the packetdrill tool uses it: loaded, driven through the table of C functions, from two threads, in virtual time.

mod tool;

use std::{
    ffi::{c_int, c_void},
    ptr,
    time::Instant,
};

use rumpnet_wire::tcp::Flags;
use tool::{LOCAL, REMOTE, Tool, begin, checked, int};

const MINUTE: i64 = 60_000_000;

#[test]
fn descriptors_begin_at_three_and_the_lowest_free_one_is_taken() {
    let tool = Tool::load("");
    assert_eq!([0, 1, 2].map(|_| tool.socket(libc::SOCK_STREAM)), [Ok(3), Ok(4), Ok(5)]);
    assert_eq!(tool.close(4), Ok(0));
    assert_eq!(tool.close(4), Err(libc::EBADF));
    assert_eq!(tool.socket(libc::SOCK_DGRAM | libc::SOCK_NONBLOCK), Ok(4));
    let mut opened = 3;
    while tool.socket(libc::SOCK_STREAM).is_ok() {
        opened += 1;
    }
    assert_eq!((opened, tool.socket(libc::SOCK_STREAM)), (1024, Err(libc::EMFILE)));
    tool.free();
}

#[test]
fn a_handshake_data_both_ways_and_an_end() {
    let tool = Tool::load("");
    let (listener, connection, next) = tool.connected();
    assert_eq!((listener, connection), (3, 4));
    tool.hear(Flags::ACK | Flags::PSH, 101, next, b"hello");
    assert_eq!(tool.ioctl(connection, libc::FIONREAD), Ok(5));
    assert_eq!(tool.read(connection, 3), Ok(b"hel".to_vec()));
    assert_eq!(tool.read(connection, 100), Ok(b"lo".to_vec()));
    assert_eq!(tool.write(connection, b"answer"), Ok(6));
    assert_eq!(tool.ioctl(connection, libc::TIOCOUTQ), Ok(6));
    let (header, payload) = tool.next_payload();
    assert_eq!((header.acknowledgment.0, &payload[..]), (106, &b"answer"[..]));
    assert_eq!((header.source_port, header.destination_port), (LOCAL.port(), REMOTE.port()));
    tool.hear(Flags::ACK | Flags::FIN, 106, next + 6, b"");
    assert_eq!(tool.ioctl(connection, libc::TIOCOUTQ), Ok(0));
    assert_eq!(tool.read(connection, 100), Ok(Vec::new()));
    assert_eq!(tool.close(connection), Ok(0));
    tool.free();
}

#[test]
fn a_blocking_read_in_a_second_thread_ends_at_the_moment_its_data_arrives() {
    let tool = Tool::load("");
    let (_, connection, next) = tool.connected();
    let begun = tool.now();
    let reader = begin(move || (tool.read(connection, 100), tool.now()));
    tool.sleep(7_000_000);
    tool.hear(Flags::ACK | Flags::PSH, 101, next, b"late");
    tool.sleep(9_000_000);
    let (read, ended) = reader.join().expect("the reader returns");
    assert_eq!(read, Ok(b"late".to_vec()));
    // What is read first after the call is when it ended, not when the host let the thread run.
    assert!((7_000_000..7_000_100).contains(&(ended - begun)), "{}", ended - begun);
    assert!(tool.now() - begun >= 16_000_000);
    tool.free();
}

#[test]
fn a_blocking_connect_waits_for_its_answer_and_one_that_may_not_does_not() {
    let tool = Tool::load("");
    let socket = tool.socket(libc::SOCK_STREAM).expect("room");
    tool.bind(socket, LOCAL).expect("free");
    let caller = begin(move || tool.connect(socket, REMOTE));
    let (_, syn, _) = tool.next_segment();
    assert_eq!(syn.flags, Flags::SYN);
    tool.sleep(100_000);
    tool.hear(Flags::SYN | Flags::ACK, 500, syn.sequence.0.wrapping_add(1), b"");
    assert_eq!(caller.join().expect("the caller returns"), Ok(0));
    let hasty = tool.socket(libc::SOCK_STREAM | libc::SOCK_NONBLOCK).expect("room");
    assert_eq!(tool.connect(hasty, REMOTE), Err(libc::EINPROGRESS));
    assert_eq!(tool.poll(hasty, libc::POLLOUT, 0), Ok((0, 0)));
    tool.free();
}

#[test]
fn a_refused_connection_is_econnrefused() {
    let tool = Tool::load("");
    let socket = tool.socket(libc::SOCK_STREAM).expect("room");
    tool.bind(socket, LOCAL).expect("free");
    let caller = begin(move || tool.connect(socket, REMOTE));
    let (_, syn, _) = tool.next_segment();
    tool.hear(Flags::RST | Flags::ACK, 0, syn.sequence.0.wrapping_add(1), b"");
    assert_eq!(caller.join().expect("the caller returns"), Err(libc::ECONNREFUSED));
    tool.free();
}

#[test]
fn retransmissions_double_through_thousands_of_virtual_seconds_in_no_time() {
    let tool = Tool::load("");
    let (_, connection, _) = tool.connected();
    let real = Instant::now();
    tool.write(connection, b"nobody listens").expect("room");
    let (begun, _, _) = tool.next_segment();
    let mut spans = Vec::new();
    let mut last = begun;
    loop {
        let (time, packet) = tool.next_packet();
        if packet.is_empty() {
            break;
        }
        spans.push(time - last);
        last = time;
    }
    assert!(spans.len() >= 8 && last - begun > 10 * MINUTE, "{spans:?}");
    // After the first, a tail probe, each is twice the one before, up to two minutes.
    assert!(spans[2..].windows(2).all(|pair| pair[1] == (2 * pair[0]).min(2 * MINUTE)), "{spans:?}");
    assert_eq!(
        int(&tool.option(connection, libc::SOL_SOCKET, libc::SO_ERROR).expect("a number")),
        libc::ETIMEDOUT
    );
    // The last second of it is the library's wait for a thread that might still come.
    assert!(real.elapsed().as_secs() < 30, "{:?}", real.elapsed());
    tool.free();
}

#[test]
fn a_wait_with_a_limit_ends_when_virtual_time_says_so() {
    let tool = Tool::load("");
    let (_, connection, _) = tool.connected();
    let limit = [3_i64, 500_000].map(i64::to_ne_bytes).concat();
    tool.set_option(connection, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &limit).expect("a good value");
    assert_eq!(tool.option(connection, libc::SOL_SOCKET, libc::SO_RCVTIMEO), Ok(limit));
    let begun = tool.now();
    let reader = begin(move || (tool.read(connection, 9), tool.now()));
    let poller = begin(move || (tool.poll(connection, libc::POLLIN, 8_000), tool.now()));
    tool.sleep(9_000_000);
    let (read, ended) = reader.join().expect("the reader returns");
    assert_eq!((read, (ended - begun) / 1000), (Err(libc::EAGAIN), 3_500));
    let (polled, ended) = poller.join().expect("the poller returns");
    assert_eq!((polled, (ended - begun) / 1000), (Ok((0, 0)), 8_000));
    tool.free();
}

#[test]
fn poll_tells_input_output_ends_and_unknown_descriptors() {
    let tool = Tool::load("");
    let (listener, connection, next) = tool.connected();
    let all = libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP;
    assert_eq!(tool.poll(listener, all, 0), Ok((0, 0)));
    assert_eq!(tool.poll(connection, all, 0), Ok((1, libc::POLLOUT)));
    assert_eq!(tool.poll(99, all, 0), Ok((1, libc::POLLNVAL)));
    assert_eq!(tool.poll(-1, all, 0), Ok((0, 0)));
    tool.hear(Flags::ACK | Flags::FIN, 101, next, b"last");
    assert_eq!(tool.poll(connection, all, -1), Ok((1, all)));
    tool.hear(Flags::RST, 106, 0, b"");
    let (_, told) = tool.poll(connection, libc::POLLIN, 0).expect("an answer");
    assert_eq!(told & libc::POLLHUP, libc::POLLHUP);
    let fresh = tool.socket(libc::SOCK_STREAM).expect("room");
    assert_eq!(tool.poll(fresh, all, 0), Ok((1, libc::POLLOUT | libc::POLLHUP)));
    tool.free();
}

/// Waits at an event queue without waiting.
fn told(tool: Tool, queue: c_int) -> Vec<(u32, u64)> {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 4];
    // SAFETY: there is room for four events.
    let count =
        checked(unsafe { (tool.table.epoll_wait)(tool.table.userdata, queue, events.as_mut_ptr(), 4, 0) });
    events[..count.expect("an answer") as usize].iter().map(|event| (event.events, event.u64)).collect()
}

#[test]
fn event_queues_tell_levels_edges_and_single_shots() {
    let tool = Tool::load("");
    let (_, connection, next) = tool.connected();
    let control = |queue, operation, events: c_int| {
        let mut event = libc::epoll_event { events: events as u32, u64: 0xfeed };
        // SAFETY: the event is there.
        checked(unsafe {
            (tool.table.epoll_ctl)(tool.table.userdata, queue, operation, connection, &raw mut event)
        })
    };
    // SAFETY: a call with numbers only.
    let queue = checked(unsafe { (tool.table.epoll_create)(tool.table.userdata, 1) }).expect("room");
    assert_eq!(control(queue, libc::EPOLL_CTL_MOD, libc::EPOLLIN), Err(libc::ENOENT));
    assert_eq!(control(queue, libc::EPOLL_CTL_ADD, libc::EPOLLIN), Ok(0));
    assert_eq!(control(queue, libc::EPOLL_CTL_ADD, libc::EPOLLIN), Err(libc::EEXIST));
    assert_eq!(control(connection, libc::EPOLL_CTL_ADD, libc::EPOLLIN), Err(libc::EINVAL));
    assert_eq!(told(tool, queue), []);
    tool.hear(Flags::ACK | Flags::PSH, 101, next, b"one");
    let input = (libc::EPOLLIN as u32, 0xfeed);
    assert_eq!([told(tool, queue), told(tool, queue)], [[input], [input]], "a level is told again");
    control(queue, libc::EPOLL_CTL_MOD, libc::EPOLLIN | libc::EPOLLET).expect("known");
    assert_eq!(told(tool, queue), [input]);
    assert_eq!(told(tool, queue), [], "an edge is told once");
    tool.hear(Flags::ACK | Flags::PSH, 104, next, b"two");
    assert_eq!(told(tool, queue), [input], "and again when more has come");
    control(queue, libc::EPOLL_CTL_MOD, libc::EPOLLIN | libc::EPOLLONESHOT).expect("known");
    assert_eq!(told(tool, queue), [input]);
    tool.hear(Flags::ACK | Flags::PSH, 107, next, b"three");
    assert_eq!(told(tool, queue), [], "one shot is one");
    control(queue, libc::EPOLL_CTL_DEL, 0).expect("known");
    assert_eq!(tool.close(queue), Ok(0));
    tool.free();
}

#[test]
fn pipes_carry_bytes_and_splice_moves_them_to_and_from_a_connection() {
    let tool = Tool::load("");
    let (_, connection, next) = tool.connected();
    let mut ends: [c_int; 2] = [0; 2];
    // SAFETY: there is room for two numbers.
    checked(unsafe { (tool.table.pipe)(tool.table.userdata, ends.as_mut_ptr()) }).expect("room");
    let splice = |from, to, len| {
        // SAFETY: no offsets are given.
        checked(unsafe {
            (tool.table.splice)(tool.table.userdata, from, ptr::null_mut(), to, ptr::null_mut(), len, 0)
        })
    };
    assert_eq!(tool.write(ends[1], b"through a pipe"), Ok(14));
    assert_eq!(tool.poll(ends[0], libc::POLLIN, 0), Ok((1, libc::POLLIN)));
    assert_eq!(splice(ends[0], connection, 7), Ok(7));
    assert_eq!(tool.next_segment().2, b"through");
    assert_eq!(tool.read(ends[0], 100), Ok(b" a pipe".to_vec()));
    tool.hear(Flags::ACK | Flags::PSH, 101, next + 7, b"and back");
    assert_eq!(splice(connection, ends[1], 100), Ok(8));
    assert_eq!(tool.read(ends[0], 100), Ok(b"and back".to_vec()));
    assert_eq!(splice(connection, connection, 1), Err(libc::EINVAL));
    let mut offset = 0;
    // SAFETY: the offset is there.
    let refused = checked(unsafe {
        (tool.table.splice)(tool.table.userdata, ends[0], &raw mut offset, connection, ptr::null_mut(), 1, 0)
    });
    assert_eq!(refused, Err(libc::ESPIPE));
    tool.set_nonblocking(ends[0]);
    assert_eq!(tool.read(ends[0], 1), Err(libc::EAGAIN));
    assert_eq!(tool.write(ends[0], b"x"), Err(libc::EBADF));
    tool.close(ends[1]).expect("open");
    assert_eq!(tool.read(ends[0], 1), Ok(Vec::new()));
    tool.free();
}

#[test]
fn tcp_info_has_linuxs_layout() {
    let tool = Tool::load("");
    let (listener, connection, next) = tool.connected();
    tool.write(connection, &[7; 3000]).expect("room");
    tool.next_segment();
    tool.sleep(50_000);
    tool.hear(Flags::ACK, 101, next + 536, b"");
    let info = tool.option(connection, libc::IPPROTO_TCP, libc::TCP_INFO).expect("a record");
    let word = |offset: usize| u32::from_ne_bytes(*info[offset..].first_chunk().expect("four bytes"));
    assert_eq!((info.len(), info[0]), (248, 1), "TCP_ESTABLISHED");
    assert_eq!(word(144), 0, "tcpi_notsent_bytes: all are under way");
    assert_eq!(word(16), 536, "tcpi_snd_mss: the peer named none");
    assert_eq!(word(76), 0x7fff_ffff, "tcpi_snd_ssthresh");
    assert_eq!(word(80), 11, "tcpi_snd_cwnd: one more for the segment acknowledged");
    assert_eq!(word(24), 5, "tcpi_unacked");
    assert_eq!((word(120), word(200)), (536, 3000), "tcpi_bytes_acked, tcpi_bytes_sent");
    assert_eq!((word(156), word(192)), (6, 2), "tcpi_data_segs_out, tcpi_delivered");
    let mtu = |socket| tool.option(socket, libc::IPPROTO_IP, libc::IP_MTU);
    assert_eq!(mtu(connection), Ok(1500_i32.to_ne_bytes().to_vec()));
    assert_eq!(mtu(listener), Err(libc::ENOTCONN));
    let how = libc::IP_PMTUDISC_DONT.to_ne_bytes();
    tool.set_option(connection, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, &how).expect("a good value");
    assert_eq!(tool.option(connection, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER), Ok(how.to_vec()));
    let listening = tool.option(listener, libc::IPPROTO_TCP, libc::TCP_INFO).expect("a record");
    assert_eq!(listening[0], 10, "TCP_LISTEN");
    tool.free();
}

#[test]
fn options_have_linuxs_numbers_and_those_that_are_not_there_are_refused() {
    let tool = Tool::load("");
    let socket = tool.socket(libc::SOCK_STREAM).expect("room");
    let one = 1_i32.to_ne_bytes();
    tool.set_option(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, &one).expect("a good value");
    assert_eq!(tool.option(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY), Ok(one.to_vec()));
    tool.set_option(socket, libc::IPPROTO_TCP, libc::TCP_CONGESTION, b"reno").expect("known");
    assert_eq!(
        tool.option(socket, libc::IPPROTO_TCP, libc::TCP_CONGESTION),
        Ok(b"reno\0\0\0\0\0\0\0\0\0\0\0\0".to_vec())
    );
    for (name, errno) in [(&b"bbr"[..], libc::ENOPROTOOPT), (b"vegas", libc::ENOENT)] {
        assert_eq!(tool.set_option(socket, libc::IPPROTO_TCP, libc::TCP_CONGESTION, name), Err(errno));
    }
    assert_eq!(tool.set_option(socket, libc::IPPROTO_TCP, libc::TCP_MD5SIG, &one), Err(libc::ENOPROTOOPT));
    assert_eq!(tool.option(socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN), Err(libc::ENOPROTOOPT));
    assert_eq!(tool.set_option(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, b"x"), Err(libc::EINVAL));
    assert_eq!(int(&tool.option(socket, libc::SOL_SOCKET, libc::SO_TYPE).expect("known")), libc::SOCK_STREAM);
    assert_eq!(tool.set_option(9, libc::SOL_SOCKET, libc::SO_KEEPALIVE, &one), Err(libc::EBADF));
    tool.free();
}

#[test]
fn two_listeners_share_a_port_when_both_say_so() {
    let tool = Tool::load("");
    let one = 1_i32.to_ne_bytes();
    let sockets = [0, 1].map(|_| tool.socket(libc::SOCK_STREAM).expect("room"));
    tool.set_option(sockets[0], libc::SOL_SOCKET, libc::SO_REUSEPORT, &one).expect("a good value");
    tool.bind(sockets[0], LOCAL).expect("free");
    tool.listen(sockets[0]).expect("bound");
    assert_eq!(tool.bind(sockets[1], LOCAL), Err(libc::EADDRINUSE));
    tool.set_option(sockets[1], libc::SOL_SOCKET, libc::SO_REUSEPORT, &one).expect("a good value");
    assert_eq!(tool.option(sockets[1], libc::SOL_SOCKET, libc::SO_REUSEPORT), Ok(one.to_vec()));
    assert_eq!(tool.option(sockets[1], libc::SOL_SOCKET, libc::SO_REUSEADDR), Ok(vec![0; 4]));
    assert_eq!(tool.bind(sockets[1], LOCAL), Ok(0));
    assert_eq!(tool.listen(sockets[1]), Ok(0));
    tool.free();
}

#[test]
fn only_ipv4_is_there_and_the_rest_says_so() {
    let tool = Tool::load("");
    let socket = |domain, kind, protocol| {
        // SAFETY: a call with numbers only.
        checked(unsafe { (tool.table.socket)(tool.table.userdata, domain, kind, protocol) })
    };
    assert_eq!(socket(libc::AF_INET6, libc::SOCK_STREAM, 0), Err(libc::EAFNOSUPPORT));
    assert_eq!(socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_UDP), Err(libc::EPROTONOSUPPORT));
    assert_eq!(socket(libc::AF_INET, libc::SOCK_RAW, 1), Err(libc::ESOCKTNOSUPPORT));
    assert_eq!(socket(libc::AF_INET, 77, 0), Err(libc::EINVAL));
    tool.free();
}

#[test]
fn a_call_ends_with_ebadf_when_its_descriptor_is_closed_and_free_ends_all_that_wait() {
    let tool = Tool::load("");
    let (listener, connection, _) = tool.connected();
    let reader = begin(move || tool.read(connection, 1));
    let accepter = begin(move || tool.accept(listener));
    tool.close(connection).expect("open");
    tool.sleep(1_000);
    assert_eq!(reader.join().expect("the reader returns"), Err(libc::EBADF));
    tool.free();
    assert_eq!(accepter.join().expect("the accepter returns"), Err(libc::EINTR));
}

#[test]
fn flags_set_the_address_and_unknown_ones_make_every_call_einval() {
    let tool = Tool::load("local=10.9.8.7/24,gateway=10.9.8.1");
    let socket = tool.socket(libc::SOCK_STREAM).expect("room");
    assert_eq!(tool.bind(socket, LOCAL), Err(libc::EADDRNOTAVAIL));
    assert_eq!(tool.bind(socket, "10.9.8.7:80".parse().expect("an address")), Ok(0));
    tool.free();
    let refused = Tool::load("colour=green");
    assert_eq!(refused.socket(libc::SOCK_STREAM), Err(libc::EINVAL));
    assert_eq!(refused.close(3), Err(libc::EINVAL));
    refused.free();
}

#[test]
fn looking_at_the_clock_takes_a_microsecond_so_that_a_loop_of_looks_ends() {
    let tool = Tool::load("");
    let begun = tool.now();
    let mut looks = 1;
    while tool.now() < begun + 20 {
        looks += 1;
    }
    assert_eq!(looks, 20);
    tool.free();
}

#[test]
fn a_second_thread_writes_more_than_fits_as_the_first_makes_room() {
    let tool = Tool::load("");
    let (_, connection, next) = tool.connected();
    tool.set_option(connection, libc::SOL_SOCKET, libc::SO_SNDBUF, &4096_i32.to_ne_bytes()).expect("good");
    let writer = begin(move || tool.write(connection, &[9; 20_000]));
    let mut arrived = 0;
    while arrived < 20_000 {
        let (_, header, payload) = tool.next_segment();
        arrived = arrived.max(header.sequence.0.wrapping_sub(next) + payload.len() as u32);
        tool.hear(Flags::ACK, 101, next + arrived, b"");
    }
    assert_eq!(writer.join().expect("the writer returns"), Ok(20_000));
    tool.free();
}

#[test]
fn messages_are_scattered_and_datagrams_keep_their_bounds() {
    let tool = Tool::load("");
    let socket = tool.socket(libc::SOCK_DGRAM | libc::SOCK_NONBLOCK).expect("room");
    tool.bind(socket, LOCAL).expect("free");
    let peer = tool::sockaddr(REMOTE);
    let sent = checked(
        // SAFETY: the bytes and the address are there.
        unsafe {
            (tool.table.sendto)(
                tool.table.userdata,
                socket,
                c"datagram".as_ptr().cast(),
                8,
                0,
                (&raw const peer).cast(),
                size_of_val(&peer) as u32,
            )
        },
    );
    assert_eq!(sent, Ok(8));
    let (_, mut packet) = tool.next_packet();
    assert_eq!(&packet[28..], b"datagram");
    // The echo: addresses and ports are turned, which leaves the sums as they are.
    for (one, other, len) in [(12, 16, 4), (20, 22, 2)] {
        (0..len).for_each(|at| packet.swap(one + at, other + at));
    }
    tool.inject(&packet);
    let (mut first, mut second, mut name) = ([0_u8; 3], [0_u8; 3], tool::sockaddr(LOCAL));
    let mut pieces = [&mut first, &mut second]
        .map(|piece| libc::iovec { iov_base: piece.as_mut_ptr().cast(), iov_len: 3 });
    // SAFETY: a record of zeros is an empty one.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut name).cast::<c_void>();
    message.msg_namelen = size_of_val(&name) as u32;
    (message.msg_iov, message.msg_iovlen) = (pieces.as_mut_ptr(), 2);
    // SAFETY: the record, its pieces and its address are there.
    let received = checked(unsafe { (tool.table.recvmsg)(tool.table.userdata, socket, &raw mut message, 0) });
    assert_eq!((received, &first, &second), (Ok(6), b"dat", b"agr"));
    assert_eq!((message.msg_flags, u16::from_be(name.sin_port)), (libc::MSG_TRUNC, REMOTE.port()));
    assert_eq!(tool.read(socket, 10), Err(libc::EAGAIN), "the rest of a datagram is gone");
    tool.free();
}
