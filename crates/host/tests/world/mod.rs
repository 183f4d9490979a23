//! A network namespace for the test that asks, which ends with its thread, and the host's own tools inside it.

// Each test file has its own copy and uses a part of it.
#![allow(dead_code)]

use std::{
    os::fd::AsFd,
    process::{Command, Output},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
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
