//! A network namespace for the test that asks, which ends with its thread.

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Moves this thread into a network namespace of its own.
pub(crate) fn alone() {
    // SAFETY: no memory or descriptor table is taken apart; only the thread's view of the network changes.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("these tests run as root");
}
