//! Error numbers by their POSIX names, with NetBSD's numbers and texts (errno(2)).
//!
//! A kernel answers with these; the mapping to the host's own numbers belongs to the edge, in `rumpnet`.

use core::fmt;

use serde::{Deserialize, Serialize};

macro_rules! errnos {
    ($($variant:ident $name:literal $number:literal $text:literal;)*) => {
        /// Why a call was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Errno {
            $(#[doc = concat!($name, ": ", $text, ".")] $variant,)*
        }

        impl Errno {
            /// Every error, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// NetBSD's number.
            pub const fn number(self) -> u16 {
                match self { $(Self::$variant => $number),* }
            }

            /// The symbol, such as `ENXIO`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// NetBSD's text, such as `Device not configured`.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

errnos! {
    Perm "EPERM" 1 "Operation not permitted";
    NoEnt "ENOENT" 2 "No such file or directory";
    Srch "ESRCH" 3 "No such process";
    Intr "EINTR" 4 "Interrupted system call";
    Io "EIO" 5 "Input/output error";
    Nxio "ENXIO" 6 "Device not configured";
    TooBig "E2BIG" 7 "Argument list too long";
    NoExec "ENOEXEC" 8 "Exec format error";
    BadF "EBADF" 9 "Bad file descriptor";
    NoMem "ENOMEM" 12 "Cannot allocate memory";
    Acces "EACCES" 13 "Permission denied";
    Busy "EBUSY" 16 "Device busy";
    Exist "EEXIST" 17 "File exists";
    NoDev "ENODEV" 19 "Operation not supported by device";
    Inval "EINVAL" 22 "Invalid argument";
    NFile "ENFILE" 23 "Too many open files in system";
    MFile "EMFILE" 24 "Too many open files";
    NoTty "ENOTTY" 25 "Inappropriate ioctl for device";
    NoSpc "ENOSPC" 28 "No space left on device";
    Pipe "EPIPE" 32 "Broken pipe";
    Range "ERANGE" 34 "Result too large or too small";
    Again "EAGAIN" 35 "Resource temporarily unavailable";
    InProgress "EINPROGRESS" 36 "Operation now in progress";
    Already "EALREADY" 37 "Operation already in progress";
    NotSock "ENOTSOCK" 38 "Socket operation on non-socket";
    DestAddrReq "EDESTADDRREQ" 39 "Destination address required";
    MsgSize "EMSGSIZE" 40 "Message too long";
    NoProtoOpt "ENOPROTOOPT" 42 "Protocol option not available";
    ProtoNoSupport "EPROTONOSUPPORT" 43 "Protocol not supported";
    OpNotSupp "EOPNOTSUPP" 45 "Operation not supported";
    AfNoSupport "EAFNOSUPPORT" 47 "Address family not supported by protocol family";
    AddrInUse "EADDRINUSE" 48 "Address already in use";
    AddrNotAvail "EADDRNOTAVAIL" 49 "Can't assign requested address";
    NetDown "ENETDOWN" 50 "Network is down";
    NetUnreach "ENETUNREACH" 51 "Network is unreachable";
    ConnAborted "ECONNABORTED" 53 "Software caused connection abort";
    ConnReset "ECONNRESET" 54 "Connection reset by peer";
    NoBufs "ENOBUFS" 55 "No buffer space available";
    IsConn "EISCONN" 56 "Socket is already connected";
    NotConn "ENOTCONN" 57 "Socket is not connected";
    TimedOut "ETIMEDOUT" 60 "Operation timed out";
    ConnRefused "ECONNREFUSED" 61 "Connection refused";
    HostDown "EHOSTDOWN" 64 "Host is down";
    HostUnreach "EHOSTUNREACH" 65 "No route to host";
    NoSys "ENOSYS" 78 "Function not implemented";
    Proto "EPROTO" 96 "Protocol error";
}

/// Calls a macro with every error and its symbol, for those that know an operating system's numbers of them.
#[macro_export]
macro_rules! for_each_errno {
    ($numbers:ident) => {
        $numbers! {
            Perm EPERM; NoEnt ENOENT; Srch ESRCH; Intr EINTR; Io EIO; Nxio ENXIO; TooBig E2BIG; NoExec ENOEXEC; BadF EBADF; NoMem ENOMEM;
            Acces EACCES; Busy EBUSY; Exist EEXIST; NoDev ENODEV; Inval EINVAL; NFile ENFILE; MFile EMFILE; NoTty ENOTTY;
            NoSpc ENOSPC; Pipe EPIPE; Range ERANGE; Again EAGAIN; InProgress EINPROGRESS; Already EALREADY; NotSock ENOTSOCK;
            DestAddrReq EDESTADDRREQ; MsgSize EMSGSIZE; NoProtoOpt ENOPROTOOPT; ProtoNoSupport EPROTONOSUPPORT;
            OpNotSupp EOPNOTSUPP; AfNoSupport EAFNOSUPPORT; AddrInUse EADDRINUSE; AddrNotAvail EADDRNOTAVAIL;
            NetDown ENETDOWN; NetUnreach ENETUNREACH; ConnAborted ECONNABORTED; ConnReset ECONNRESET; NoBufs ENOBUFS;
            IsConn EISCONN; NotConn ENOTCONN; TimedOut ETIMEDOUT; ConnRefused ECONNREFUSED; HostDown EHOSTDOWN;
            HostUnreach EHOSTUNREACH; NoSys ENOSYS; Proto EPROTO;
        }
    };
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl core::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_are_netbsds() {
        assert_eq!((Errno::Nxio.number(), Errno::Nxio.text()), (6, "Device not configured"));
        assert_eq!((Errno::Again.number(), Errno::Again.name()), (35, "EAGAIN"));
        assert_eq!(Errno::AddrNotAvail.text(), "Can't assign requested address");
    }

    #[test]
    fn no_two_errors_share_a_number() {
        assert!(Errno::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
    }
}
