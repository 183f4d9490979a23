//! Binding a socket to a path: private from the first moment, past a dead server's file, not past a live one's.

use std::{os::fd::OwnedFd, path::Path, thread, time::Duration};

use rustix::{
    fs::{FileType, FlockOperation, Mode, OFlags, fchmod, flock, lstat, open, unlink},
    io::{Errno, Result},
    net::{AddressFamily, SocketAddrUnix, SocketType, bind as bind_socket, connect, listen, socket_with},
};

use super::{FLAGS, Listener};

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 128;

/// How often the directory's lock is tried, and how long between.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// Binds and listens.
pub(super) fn bind(path: &Path) -> Result<Listener> {
    let address = SocketAddrUnix::new(path)?;
    let fd = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
    // The file gets the socket's own mode, less the umask, which belongs to the whole process and stays as it is.
    fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
    // Until we listen we look dead to a newcomer; under the lock it waits, and two of them do not both find an old
    // server dead, so that one removes the other's file.
    let _lock = lock(path);
    match bind_socket(&fd, &address) {
        Err(Errno::ADDRINUSE) => take_over(&fd, &address, path)?,
        bound => bound?,
    }
    listen(&fd, BACKLOG)?;
    Ok(Listener { fd, path: path.to_owned(), file: file(path)? })
}

/// Removes the file of a dead server and binds in its place.
fn take_over(fd: &OwnedFd, address: &SocketAddrUnix, path: &Path) -> Result<()> {
    if is_live(address, path)? {
        return Err(Errno::ADDRINUSE);
    }
    match unlink(path) {
        Ok(()) | Err(Errno::NOENT) => bind_socket(fd, address),
        Err(error) => Err(error),
    }
}

/// Whether a server answers there, or whatever is there is none of ours to remove.
fn is_live(address: &SocketAddrUnix, path: &Path) -> Result<bool> {
    match lstat(path) {
        Ok(status) if FileType::from_raw_mode(status.st_mode) != FileType::Socket => return Ok(true),
        Err(Errno::NOENT) => return Ok(false),
        found => found?,
    };
    let probe = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
    // Anything but this refusal comes from somebody: a full backlog, another type of socket, another user.
    Ok(!matches!(connect(&probe, address), Err(Errno::CONNREFUSED | Errno::NOENT)))
}

/// An exclusive lock on the directory of `path`, which ends with the descriptor.
///
/// None where the directory may not be read or somebody keeps it locked: the lock narrows a race, and is no right.
fn lock(path: &Path) -> Option<OwnedFd> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let fd = open(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    for _ in 0..ATTEMPTS {
        match flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::AGAIN) => thread::sleep(PAUSE),
            locked => return locked.ok().map(|()| fd),
        }
    }
    None
}

/// The device and inode of a file.
pub(super) fn file(path: &Path) -> Result<(u64, u64)> {
    lstat(path).map(|status| (status.st_dev, status.st_ino))
}
