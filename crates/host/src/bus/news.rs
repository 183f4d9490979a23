//! Waiting for news on a bus: a futex on the word of its file that changes with every frame.
//!
//! A page of the file is mapped for its address alone. Nothing here ever reads it: the host's kernel compares the word, and answers
//! EFAULT where a process that read it would get a signal, because somebody has cut the file off.

use std::{fs::File, io, num::NonZeroU32, ptr, sync::atomic::AtomicU32, thread, time::Duration};

use rumpnet_wire::bus::STATE_AT;
use rustix::{
    io::Errno,
    mm::{MapFlags, ProtFlags, mmap, munmap},
    thread::futex,
    time::Timespec,
};

use super::lock::PLACES;

/// Bytes mapped: those that the word lies in.
const MAPPED: usize = 4096;

/// How long somebody sleeps who waits for a word that is not there.
const BROKEN: Duration = Duration::from_millis(100);

/// The address of the word.
#[derive(Debug)]
pub(super) struct News(*mut libc::c_void);

// SAFETY: the pointer is an address that the host's kernel is told, in calls that any thread may make at any time.
unsafe impl Send for News {}
// SAFETY: as above; nothing is read or written through it.
unsafe impl Sync for News {}

impl News {
    /// Maps the beginning of a file.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe { mmap(ptr::null_mut(), MAPPED, ProtFlags::READ, MapFlags::SHARED, file, 0) }?;
        Ok(Self(start))
    }

    /// Waits while the word is `seen`, in a member's place or among all who have none.
    pub(super) fn wait(&self, seen: u32, place: Option<u32>, patience: Option<Duration>) {
        let until = patience.map(deadline);
        let bits = NonZeroU32::new(1 << place.unwrap_or(PLACES)).expect("a bit is not zero");
        let waited = futex::wait_bitset(self.word(), futex::Flags::empty(), seen, until.as_ref(), bits);
        if waited == Err(Errno::FAULT) {
            thread::sleep(patience.map_or(BROKEN, |patience| patience.min(BROKEN)));
        }
    }

    /// Wakes all who wait, but for the member in one place.
    pub(super) fn wake(&self, place: Option<u32>) {
        self.wake_bits(!place.map_or(0, |place| 1 << place));
    }

    /// Wakes the member in a place, or all who have none.
    pub(super) fn wake_own(&self, place: Option<u32>) {
        self.wake_bits(1 << place.unwrap_or(PLACES));
    }

    fn wake_bits(&self, bits: u32) {
        let bits = NonZeroU32::new(bits).expect("one bit of 32 is missing at most");
        // Without a file nobody waits.
        let _woken = futex::wake_bitset(self.word(), futex::Flags::empty(), i32::MAX as u32, bits);
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: the address is within the mapping, which lives as long as `self`, and aligned. What lies there may change or go
        // at any time, but nobody loads or stores through this reference: it is passed to futex(2) as an address.
        unsafe { &*self.0.cast::<u8>().add(STATE_AT as usize).cast::<AtomicU32>() }
    }
}

impl Drop for News {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference into it outlives `self`.
        let unmapped = unsafe { munmap(self.0, MAPPED) };
        debug_assert!(unmapped.is_ok(), "what was mapped can be unmapped");
    }
}

/// So long from now, by the clock that futex(2) takes.
fn deadline(patience: Duration) -> Timespec {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = Duration::new(now.tv_sec as u64, now.tv_nsec as u32);
    let until = now.saturating_add(patience);
    Timespec { tv_sec: until.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: until.subsec_nanos().into() }
}
