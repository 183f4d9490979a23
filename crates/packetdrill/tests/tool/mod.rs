//! What the packetdrill tool does with the library: loads it, asks for the one symbol, and calls through the table; and a peer of TCP.

#![allow(dead_code, reason = "each test file uses its part of the fixture")]

use std::{
    ffi::{CStr, CString, c_int, c_longlong, c_void},
    fs,
    mem::MaybeUninit,
    net::SocketAddrV4,
    path::PathBuf,
    ptr,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use rumpnet_packetdrill::Interface;
use rumpnet_wire::{
    ipv4,
    tcp::{Flags, Header, Seq},
};

/// The stack, at the port that scripts bind to, and its peer.
pub(crate) const LOCAL: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::new(192, 168, 0, 1), 8080);
pub(crate) const REMOTE: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::new(192, 0, 2, 1), 41_000);

/// A loaded library with its table filled.
#[derive(Clone, Copy)]
pub(crate) struct Tool {
    pub(crate) table: Interface,
}

// SAFETY: the table is entered by two threads, as the tool does; the library says that it may be.
unsafe impl Send for Tool {}

/// Begins a call in a second thread, and returns once that thread sleeps in it, as the tool makes sure of it before it goes on.
pub(crate) fn begin<R: Send + 'static>(call: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R> {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        // SAFETY: a call without arguments.
        tell.send(unsafe { libc::gettid() }).expect("somebody listens");
        call()
    });
    let state = format!("/proc/self/task/{}/stat", told.recv().expect("the thread begins"));
    let sleeps = || fs::read_to_string(&state).is_ok_and(|stat| stat.contains(") S "));
    while !thread.is_finished() && !sleeps() {
        thread::yield_now();
    }
    thread
}

/// What a call answered: the number, or errno.
pub(crate) type Outcome<T> = Result<T, c_int>;

/// The cdylib that was built with this test, beside it.
fn library() -> PathBuf {
    let program = std::env::current_exe().expect("the path of this test");
    let beside = program.parent().expect("a folder");
    [beside, beside.parent().expect("a folder above")]
        .map(|folder| folder.join("librumpnet_packetdrill.so"))
        .into_iter()
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .max()
        .expect("the library is built with its tests")
        .1
}

pub(crate) fn checked<T: TryInto<i64> + Copy>(answer: T) -> Outcome<T> {
    if answer.try_into().ok() == Some(-1) {
        Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    } else {
        Ok(answer)
    }
}

impl Tool {
    /// Loads the library as the tool does, and has the table filled by flags.
    pub(crate) fn load(flags: &str) -> Self {
        type Begin = unsafe extern "C" fn(*const std::ffi::c_char, *mut Interface);
        let path = CString::new(library().into_os_string().into_encoded_bytes()).expect("a path");
        let flags = CString::new(flags).expect("no zero inside");
        let mut table = MaybeUninit::uninit();
        // SAFETY: the library is our own and stays loaded; the symbol has this type, and fills the table.
        unsafe {
            let library =
                libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL | libc::RTLD_NODELETE);
            assert!(!library.is_null(), "{:?}", CStr::from_ptr(libc::dlerror()));
            let symbol = libc::dlsym(library, c"packetdrill_interface_init".as_ptr());
            assert!(!symbol.is_null(), "the library exports its one symbol");
            std::mem::transmute::<*mut c_void, Begin>(symbol)(flags.as_ptr(), table.as_mut_ptr());
            Self { table: table.assume_init() }
        }
    }

    pub(crate) fn free(self) {
        // SAFETY: the tests end with this.
        unsafe { (self.table.free)(self.table.userdata) }
    }

    pub(crate) fn socket(&self, kind: c_int) -> Outcome<c_int> {
        // SAFETY: a call with numbers only.
        checked(unsafe { (self.table.socket)(self.table.userdata, libc::AF_INET, kind, 0) })
    }

    pub(crate) fn bind(&self, number: c_int, address: SocketAddrV4) -> Outcome<c_int> {
        let address = sockaddr(address);
        // SAFETY: the address is there, with its length.
        checked(unsafe {
            (self.table.bind)(
                self.table.userdata,
                number,
                (&raw const address).cast(),
                size_of_val(&address) as u32,
            )
        })
    }

    pub(crate) fn connect(&self, number: c_int, address: SocketAddrV4) -> Outcome<c_int> {
        let address = sockaddr(address);
        // SAFETY: the address is there, with its length.
        checked(unsafe {
            (self.table.connect)(
                self.table.userdata,
                number,
                (&raw const address).cast(),
                size_of_val(&address) as u32,
            )
        })
    }

    pub(crate) fn listen(&self, number: c_int) -> Outcome<c_int> {
        // SAFETY: a call with numbers only.
        checked(unsafe { (self.table.listen)(self.table.userdata, number, 8) })
    }

    pub(crate) fn accept(&self, number: c_int) -> Outcome<c_int> {
        // SAFETY: no address is wanted.
        checked(unsafe { (self.table.accept)(self.table.userdata, number, ptr::null_mut(), ptr::null_mut()) })
    }

    pub(crate) fn read(&self, number: c_int, len: usize) -> Outcome<Vec<u8>> {
        let mut bytes = vec![0; len];
        // SAFETY: there is room for `len` bytes.
        let count = checked(unsafe {
            (self.table.read)(self.table.userdata, number, bytes.as_mut_ptr().cast(), len)
        })?;
        bytes.truncate(count as usize);
        Ok(bytes)
    }

    pub(crate) fn write(&self, number: c_int, bytes: &[u8]) -> Outcome<isize> {
        // SAFETY: the bytes are there.
        checked(unsafe {
            (self.table.write)(self.table.userdata, number, bytes.as_ptr().cast(), bytes.len())
        })
    }

    pub(crate) fn close(&self, number: c_int) -> Outcome<c_int> {
        // SAFETY: a call with numbers only.
        checked(unsafe { (self.table.close)(self.table.userdata, number) })
    }

    pub(crate) fn set_nonblocking(&self, number: c_int) {
        let flags = (libc::O_RDWR | libc::O_NONBLOCK) as usize;
        // SAFETY: a call with numbers only.
        assert_eq!(unsafe { (self.table.fcntl)(self.table.userdata, number, libc::F_SETFL, flags) }, 0);
    }

    pub(crate) fn poll(&self, number: c_int, events: i16, timeout: c_int) -> Outcome<(c_int, i16)> {
        let mut record = libc::pollfd { fd: number, events, revents: 0 };
        // SAFETY: there is one record.
        let ready = checked(unsafe { (self.table.poll)(self.table.userdata, &raw mut record, 1, timeout) })?;
        Ok((ready, record.revents))
    }

    pub(crate) fn option(&self, number: c_int, level: c_int, name: c_int) -> Outcome<Vec<u8>> {
        let mut bytes = vec![0_u8; 512];
        let mut len = bytes.len() as u32;
        // SAFETY: there is room for `len` bytes.
        checked(unsafe {
            (self.table.getsockopt)(
                self.table.userdata,
                number,
                level,
                name,
                bytes.as_mut_ptr().cast(),
                &raw mut len,
            )
        })?;
        bytes.truncate(len as usize);
        Ok(bytes)
    }

    pub(crate) fn set_option(
        &self,
        number: c_int,
        level: c_int,
        name: c_int,
        value: &[u8],
    ) -> Outcome<c_int> {
        // SAFETY: the value is there, with its length.
        checked(unsafe {
            (self.table.setsockopt)(
                self.table.userdata,
                number,
                level,
                name,
                value.as_ptr().cast(),
                value.len() as u32,
            )
        })
    }

    pub(crate) fn ioctl(&self, number: c_int, request: u64) -> Outcome<c_int> {
        let mut value: c_int = -7;
        // SAFETY: these requests write an `int`.
        checked(unsafe {
            (self.table.ioctl)(self.table.userdata, number, request, (&raw mut value).cast())
        })?;
        Ok(value)
    }

    /// A packet arrives.
    pub(crate) fn inject(&self, packet: &[u8]) {
        // SAFETY: the bytes are there.
        let answer =
            unsafe { (self.table.netdev_send)(self.table.userdata, packet.as_ptr().cast(), packet.len()) };
        assert_eq!(answer, 0);
    }

    /// A segment of the peer arrives.
    pub(crate) fn hear(&self, flags: Flags, sequence: u32, acknowledgment: u32, payload: &[u8]) {
        let header = Header {
            sequence: Seq(sequence),
            acknowledgment: Seq(acknowledgment),
            ..Header::new(0, 0, flags)
        };
        self.hear_with(header, payload);
    }

    pub(crate) fn hear_with(&self, header: Header, payload: &[u8]) {
        let mut packet = vec![0; Header::MAX_PACKET_HEADERS + payload.len()];
        let len = header.emit_between(REMOTE, LOCAL, payload, &mut packet).expect("room");
        self.inject(&packet[..len]);
    }

    /// The next packet that is sent, and when in microseconds; empty if none ever will be.
    pub(crate) fn next_packet(&self) -> (i64, Vec<u8>) {
        let mut packet = vec![0_u8; 65_536];
        let (mut count, mut time): (usize, c_longlong) = (packet.len(), 0);
        // SAFETY: there is room for `count` bytes.
        let answer = unsafe {
            (self.table.netdev_receive)(
                self.table.userdata,
                packet.as_mut_ptr().cast(),
                &raw mut count,
                &raw mut time,
            )
        };
        assert_eq!(answer, 0);
        packet.truncate(count);
        (time, packet)
    }

    /// The next segment with payload.
    pub(crate) fn next_payload(&self) -> (Header, Vec<u8>) {
        loop {
            let (_, header, payload) = self.next_segment();
            if !payload.is_empty() {
                return (header, payload);
            }
        }
    }

    /// The next segment that is sent, with its time in microseconds and its payload.
    pub(crate) fn next_segment(&self) -> (i64, Header, Vec<u8>) {
        let (time, packet) = self.next_packet();
        let (_, segment) = ipv4::Header::parse(&packet).expect("a packet");
        let (header, payload) = Header::parse(segment).expect("a segment");
        (time, header, payload.to_vec())
    }

    pub(crate) fn sleep(&self, micros: u32) {
        // SAFETY: a call with numbers only.
        assert_eq!(unsafe { (self.table.usleep)(self.table.userdata, micros) }, 0);
    }

    /// The clock, in microseconds.
    pub(crate) fn now(&self) -> i64 {
        let mut time = libc::timeval { tv_sec: 0, tv_usec: 0 };
        // SAFETY: there is room for the time, and no zone is wanted.
        let answer =
            unsafe { (self.table.gettimeofday)(self.table.userdata, &raw mut time, ptr::null_mut()) };
        assert_eq!(answer, 0);
        time.tv_sec * 1_000_000 + time.tv_usec
    }

    /// A listener at 3, a connection to it at 4, and what the peer must acknowledge next; the peer's next number is 101.
    pub(crate) fn connected(&self) -> (c_int, c_int, u32) {
        let listener = self.socket(libc::SOCK_STREAM).expect("room");
        self.bind(listener, LOCAL).expect("free");
        self.listen(listener).expect("bound");
        self.hear(Flags::SYN, 100, 0, b"");
        let (_, header, _) = self.next_segment();
        let next = header.sequence.0.wrapping_add(1);
        self.hear(Flags::ACK, 101, next, b"");
        (listener, self.accept(listener).expect("a connection"), next)
    }
}

pub(crate) fn sockaddr(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    }
}

/// An `int` of an option.
pub(crate) fn int(bytes: &[u8]) -> c_int {
    c_int::from_ne_bytes(*bytes.first_chunk().expect("four bytes"))
}
