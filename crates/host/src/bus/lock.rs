//! Locks on ranges of a bus's file, of the kind that belongs to an open file (fcntl(2), F_OFD_SETLK).
//!
//! The host's kernel lets go of them when the file is closed, so that nobody who dies holds anything, at whatever instruction.
//! They need a file that is open for writing: who may only read a bus cannot stop it. The ranges lie far behind the end of the file.

use std::{fs::File, io, os::fd::AsRawFd as _};

use rustix::io::Errno;

/// Where the ranges lie: the writer's first, then the members' places.
const RANGES_AT: i64 = 1 << 48;

/// Places for members; who has one is not woken by what it sends itself. The last bit is everybody else's.
pub(super) const PLACES: u32 = 31;

/// The right to write; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Held<'a>(&'a File);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Unlocking what is locked cannot fail.
        let _unlocked = set(self.0, libc::F_UNLCK, 0);
    }
}

/// Takes the right to write; none if somebody else has it.
pub(super) fn try_take(file: &File) -> io::Result<Option<Held<'_>>> {
    Ok(set(file, libc::F_WRLCK, 0)?.then_some(Held(file)))
}

/// Takes one of the members' places, for as long as the file is open; none if all are taken.
pub(super) fn take_place(file: &File) -> io::Result<Option<u32>> {
    for place in 0..PLACES {
        if set(file, libc::F_WRLCK, 1 + i64::from(place))? {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// Locks or unlocks one range without waiting; false if another open file has it.
fn set(file: &File, kind: libc::c_int, range: i64) -> io::Result<bool> {
    // SAFETY: a `struct flock` is plain numbers, for which zeros are valid.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = RANGES_AT + range;
    lock.l_len = 1;
    loop {
        // SAFETY: the descriptor is open as long as `file` is borrowed, and the command takes a pointer to a `struct flock`, which
        // lives until the call returns and is only read by it.
        let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
        if result == 0 {
            return Ok(true);
        }
        match Errno::from_io_error(&io::Error::last_os_error()) {
            Some(Errno::AGAIN | Errno::ACCESS) => return Ok(false),
            Some(Errno::INTR) => {}
            Some(errno) => return Err(errno.into()),
            None => return Err(Errno::IO.into()),
        }
    }
}
