//! The kernel's errors in the host's numbers, and the host's errors in the kernel's: the edge where both meet.

use std::io;

use rumpnet_proto::Errno;

macro_rules! numbers {
    ($($errno:ident $number:ident;)*) => {
        /// The host's number of an errno.
        pub(crate) const fn to_host(errno: Errno) -> i32 {
            match errno { $(Errno::$errno => libc::$number,)* }
        }

        /// The errno of a host's number; EIO for one that NetBSD does not have.
        pub(crate) const fn from_host(number: i32) -> Errno {
            match number { $(libc::$number => Errno::$errno,)* _ => Errno::Io }
        }
    };
}

rumpnet_proto::for_each_errno!(numbers);

/// The errno of an I/O error of the host.
pub(crate) fn of_io(error: &io::Error) -> Errno {
    match (error.raw_os_error(), error.kind()) {
        (Some(number), _) => from_host(number),
        (None, io::ErrorKind::Unsupported) => Errno::OpNotSupp,
        (None, io::ErrorKind::ResourceBusy) => Errno::Busy,
        (None, _) => Errno::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errno_has_a_number_of_the_host_and_comes_back_from_it() {
        for errno in Errno::ALL {
            assert_eq!(from_host(to_host(*errno)), *errno);
        }
        assert_eq!(from_host(libc::ENOTUNIQ), Errno::Io);
    }
}
