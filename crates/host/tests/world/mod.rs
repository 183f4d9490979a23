//! A network namespace for the test that asks, which ends with its thread, and the host's own tools inside it.

// Each test file has its own copy and uses a part of it.
#![allow(dead_code)]

pub(crate) mod frames;

use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd},
    process::{Command, Output},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags, open},
    thread::{UnshareFlags, unshare_unsafe},
};

/// Moves this thread into a network namespace of its own.
pub(crate) fn alone() {
    // SAFETY: no memory or descriptor table is taken apart; only the thread's view of the network changes.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("these tests run as root");
}

/// Runs a program of the host in this thread's namespaces; it has to succeed. Returns what it prints.
pub(crate) fn run(program: &str, words: &[&str]) -> String {
    let output = attempt(program, words);
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a program of the host in this thread's namespaces.
pub(crate) fn attempt(program: &str, words: &[&str]) -> Output {
    Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// Whether a descriptor is ready now.
pub(crate) fn is_ready(fd: impl AsFd, wanted: PollFlags) -> bool {
    is_ready_within(fd, wanted, 0)
}

/// Whether a descriptor becomes ready within so many seconds.
pub(crate) fn is_ready_within(fd: impl AsFd, wanted: PollFlags, seconds: i64) -> bool {
    let fd = fd.as_fd();
    let mut waiting = [PollFd::new(&fd, wanted)];
    poll(&mut waiting, Some(&Timespec { tv_sec: seconds, tv_nsec: 0 })).expect("it can be polled");
    waiting[0].revents().intersects(wanted)
}

/// Gives this thread its own `/dev/net`, empty; other threads go on seeing the host's.
pub(crate) fn own_nodes() {
    // SAFETY: no memory or descriptor table is taken apart; only the thread's view of the file system changes.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.expect("these tests run as root");
    run("mount", &["--make-rprivate", "/"]);
    run("mount", &["-t", "tmpfs", "-o", "mode=755", "none", "/dev/net"]);
}

/// Puts the tun driver's node there with these permissions.
pub(crate) fn node(mode: &str) {
    run("mknod", &["-m", mode, "/dev/net/tun", "c", "10", "200"]);
}

/// The user that [`without_privilege`] becomes.
pub(crate) const USER: u32 = 61_000;

/// Makes this thread alone an ordinary user's, without capabilities.
pub(crate) fn without_privilege() {
    // SAFETY: both calls take numbers. Not the C library's, which would change every thread of the process.
    let changed = unsafe {
        libc::syscall(libc::SYS_setresgid, USER, USER, USER)
            | libc::syscall(libc::SYS_setresuid, USER, USER, USER)
    };
    assert_eq!(changed, 0, "these tests run as root");
}

/// A descriptor of the tun driver, attached with these flags and name, or not at all.
pub(crate) fn raw_tap(attach: Option<(&str, libc::c_int)>) -> OwnedFd {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let fd = open("/dev/net/tun", flags, Mode::empty()).expect("/dev/net/tun is there");
    if let Some((name, flags)) = attach {
        // SAFETY: zeros are valid in a `struct ifreq`.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_name.iter_mut().zip(name.bytes()).for_each(|(place, byte)| *place = byte as libc::c_char);
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        // SAFETY: TUNSETIFF reads and writes a `struct ifreq`.
        assert_eq!(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &mut request) }, 0);
    }
    fd
}

/// The octets of the header in front of each frame of a tap.
pub(crate) fn header_len(tap: &OwnedFd) -> libc::c_int {
    let mut len = 0;
    // SAFETY: TUNGETVNETHDRSZ writes one int.
    assert_eq!(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNGETVNETHDRSZ, &mut len) }, 0);
    len
}
