//! Arguments that no sane program passes: null where something must be, numbers that are no descriptors, flags and lengths at random. Every call
//! answers, with -1 and errno or without; nothing panics, and nothing is written where it was not asked for.

mod tool;

use std::{
    ffi::{c_int, c_ulong, c_void},
    ptr,
};

use proptest::prelude::*;
use rumpnet_wire::tcp::Flags;
use tool::{LOCAL, REMOTE, Tool, checked, sockaddr};

/// Room that calls may write to; behind it is a guard.
const ROOM: usize = 512;
const GUARD: [u8; 64] = [0xa5; 64];

/// One call's arguments, whatever the call makes of them.
#[derive(Clone, Debug)]
struct Arguments {
    call: u8,
    number: c_int,
    other: c_int,
    first: c_int,
    second: c_int,
    len: usize,
    null: bool,
    /// A second pointer is null.
    blank: bool,
}

fn arguments() -> impl Strategy<Value = Arguments> {
    let number = || prop_oneof![4 => 3..9_i32, 1 => any::<i32>()];
    let word = || {
        prop_oneof![
            4 => -2..32_i32,
            1 => any::<i32>(),
            1 => prop::sample::select(vec![libc::FIONREAD as i32, libc::TIOCOUTQ as i32, libc::TCP_INFO, 0x894b]),
        ]
    };
    (any::<u8>(), number(), number(), word(), word(), 0..=ROOM, any::<u8>(), any::<u8>()).prop_map(
        |(call, number, other, first, second, len, null, blank)| Arguments {
            call: call % 32,
            number,
            other,
            first,
            second,
            len,
            null: null < 32,
            blank: blank < 32,
        },
    )
}

/// Memory of the caller's, with a guard behind it.
struct Memory(Box<[u8; ROOM + GUARD.len()]>);

impl Memory {
    fn new() -> Self {
        let mut bytes = [7; ROOM + GUARD.len()];
        bytes[ROOM..].copy_from_slice(&GUARD);
        Self(Box::new(bytes))
    }

    fn pointer(&mut self, null: bool) -> *mut c_void {
        if null { ptr::null_mut() } else { self.0.as_mut_ptr().cast() }
    }

    fn check(&self) {
        assert_eq!(self.0[ROOM..], GUARD, "something was written behind the room");
    }
}

/// Makes a call. None of them waits: sockets and pipes are all made not to.
#[rustfmt::skip]
fn make(tool: &Tool, with: &Arguments) -> i64 {
    let Arguments { number, other, first, second, len, null, blank, .. } = *with;
    let (mut memory, mut address) = (Memory::new(), sockaddr(if first % 2 == 0 { LOCAL } else { REMOTE }));
    let (mut name_len, name_room) = (size_of_val(&address) as u32, size_of_val(&address) as u32);
    let (table, data) = (&tool.table, tool.table.userdata);
    let pointer = memory.pointer(null);
    let name: *mut libc::sockaddr = if blank { ptr::null_mut() } else { (&raw mut address).cast() };
    let mut pieces = [libc::iovec { iov_base: pointer, iov_len: len / 2 }, libc::iovec { iov_base: memory.pointer(blank), iov_len: len - len / 2 }];
    let list = if blank { ptr::null_mut() } else { pieces.as_mut_ptr() };
    let count = first.min(2);
    // SAFETY: a record of zeros is an empty one.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen, message.msg_name, message.msg_namelen) = (list, 2, name.cast(), name_room);
    let record: *mut libc::msghdr = if null { ptr::null_mut() } else { &raw mut message };
    let mut polled = [libc::pollfd { fd: number, events: first as i16, revents: 0 }, libc::pollfd { fd: other, events: second as i16, revents: 0 }];
    let mut told = [libc::epoll_event { events: first as u32, u64: 1 }; 2];
    let mut option_len = len as u32;
    let (mut packet_len, mut time) = (len, 0);
    let mut offset = 0;
    // SAFETY: every pointer is null or leads to room of the length that is passed with it.
    let answer = unsafe { match with.call {
        0 => (table.socket)(data, if blank { first } else { libc::AF_INET }, (second & 3) | libc::SOCK_NONBLOCK, if null { first } else { 0 }).into(),
        1 => (table.bind)(data, number, name, if null { second as u32 % name_room } else { name_room }).into(),
        2 => (table.listen)(data, number, first).into(),
        3 => {
            let accepted = (table.accept)(data, number, name, if null { ptr::null_mut() } else { &raw mut name_len });
            if accepted >= 0 { tool.set_nonblocking(accepted); }
            accepted.into()
        }
        4 => (table.connect)(data, number, name, name_room).into(),
        5 => (table.read)(data, number, pointer, len) as i64,
        6 => (table.readv)(data, number, list, count) as i64,
        7 => (table.recv)(data, number, pointer, len, first) as i64,
        8 => (table.recvfrom)(data, number, pointer, len, first, name, if null { ptr::null_mut() } else { &raw mut name_len }) as i64,
        9 => (table.recvmsg)(data, number, record, second) as i64,
        10 => (table.write)(data, number, pointer, len) as i64,
        11 => (table.writev)(data, number, list, count) as i64,
        12 => (table.send)(data, number, pointer, len, first) as i64,
        13 => (table.sendto)(data, number, pointer, len, first, name, name_room) as i64,
        14 => (table.sendmsg)(data, number, record, second) as i64,
        15 => (table.fcntl)(data, number, if first == libc::F_SETFL { libc::F_GETFL } else { first }, second as usize).into(),
        16 => (table.ioctl)(data, number, if first as u64 == libc::FIONBIO { 0 } else { first as c_ulong }, pointer).into(),
        17 => (table.close)(data, number).into(),
        18 => (table.shutdown)(data, number, first).into(),
        19 => (table.getsockopt)(data, number, first, second, pointer, if blank { ptr::null_mut() } else { &raw mut option_len }).into(),
        20 => (table.setsockopt)(data, number, first, second, pointer, len as u32).into(),
        21 => (table.poll)(data, if null { ptr::null_mut() } else { polled.as_mut_ptr() }, if blank { libc::nfds_t::MAX } else { 2 }, 0).into(),
        22 | 31 => (table.netdev_send)(data, pointer, len).into(),
        23 => {
            // Something is always sent: a segment to nobody is answered.
            tool.hear(Flags::ACK, 1, 1, b"");
            (table.netdev_receive)(data, pointer, if blank { ptr::null_mut() } else { &raw mut packet_len }, &raw mut time).into()
        }
        24 => (table.usleep)(data, second as u32 % 1_000_000).into(),
        25 => (table.gettimeofday)(data, if null { ptr::null_mut() } else { memory.0.as_mut_ptr().cast() }, ptr::null_mut()).into(),
        26 => (table.epoll_create)(data, first).into(),
        27 => (table.epoll_ctl)(data, number, first & 3, other, if null { ptr::null_mut() } else { told.as_mut_ptr() }).into(),
        28 => (table.epoll_wait)(data, number, if null { ptr::null_mut() } else { told.as_mut_ptr() }, first.min(2), 0).into(),
        29 => {
            let mut ends = [0; 2];
            let opened = (table.pipe)(data, if null { ptr::null_mut() } else { ends.as_mut_ptr() });
            if opened == 0 { ends.iter().for_each(|end| tool.set_nonblocking(*end)); }
            opened.into()
        }
        _ => (table.splice)(data, number, if null { &raw mut offset } else { ptr::null_mut() }, other, ptr::null_mut(), len, (second & 15) as u32) as i64,
    } };
    memory.check();
    answer
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_call_with_any_arguments_answers(calls in prop::collection::vec(arguments(), 1..150)) {
        let tool = Tool::load("");
        for with in &calls {
            let answer = make(&tool, with);
            prop_assert!(answer >= -1, "{with:?} answered {answer}");
            if answer == -1 {
                prop_assert!(checked(answer).is_err_and(|errno| errno > 0), "{with:?} has no errno");
            }
        }
        tool.free();
    }
}

#[test]
fn null_pointers_are_efault_where_something_must_be_there() {
    let tool = Tool::load("");
    let (_, connection, next) = tool.connected();
    tool.hear(Flags::ACK | Flags::PSH, 101, next, b"something to read");
    tool.set_nonblocking(connection);
    let (table, data) = (&tool.table, tool.table.userdata);
    // SAFETY: null is what is tried.
    let answers = unsafe {
        [
            checked((table.read)(data, connection, ptr::null_mut(), 5)),
            checked((table.write)(data, connection, ptr::null(), 5)),
            checked((table.readv)(data, connection, ptr::null(), 1)),
            checked((table.recvmsg)(data, connection, ptr::null_mut(), 0)),
            checked((table.sendmsg)(data, connection, ptr::null(), 0)),
            checked((table.bind)(data, connection, ptr::null(), 16) as isize),
            checked((table.getsockopt)(data, connection, 1, libc::SO_TYPE, ptr::null_mut(), ptr::null_mut())
                as isize),
            checked((table.setsockopt)(data, connection, 1, libc::SO_KEEPALIVE, ptr::null(), 4) as isize),
            checked((table.poll)(data, ptr::null_mut(), 1, 0) as isize),
            checked((table.ioctl)(data, connection, libc::FIONREAD, ptr::null_mut()) as isize),
            checked((table.netdev_send)(data, ptr::null(), 40) as isize),
            checked((table.netdev_receive)(data, ptr::null_mut(), ptr::null_mut(), ptr::null_mut()) as isize),
            checked((table.pipe)(data, ptr::null_mut()) as isize),
        ]
    };
    assert_eq!(answers, [Err(libc::EFAULT); 13]);
    assert_eq!(tool.read(connection, 100), Ok(b"something to read".to_vec()), "and nothing is lost by it");
    tool.free();
}
