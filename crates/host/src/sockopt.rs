//! Socket options that rustix lacks, or whose answers it trusts more than the kernel deserves.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::{Errno, Result};

use crate::ioctl::last;

/// Who is at the far end of a local socket. The process is zero where it is in a namespace that we do not see.
pub(crate) fn peer_credentials(fd: BorrowedFd<'_>) -> Result<libc::ucred> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    let place = (&raw mut peer).cast();
    // SAFETY: the kernel writes at most `len` octets, which is what `peer` holds, and any octets are valid in it.
    let returned =
        unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, place, &mut len) };
    if returned < 0 {
        return Err(last());
    }
    if len as usize == size_of::<libc::ucred>() { Ok(peer) } else { Err(Errno::INVAL) }
}
