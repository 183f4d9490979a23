//! Why a call is refused, in Linux's numbers: what C sees as errno.

use std::ffi::c_int;

use rumpnet_proto::Errno;

/// An error number of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub c_int);

/// What a call answers.
pub type Answer<T> = Result<T, Refusal>;

impl Refusal {
    /// The call would wait.
    pub const AGAIN: Self = Self(libc::EAGAIN);
    /// There is no such descriptor.
    pub const BAD_DESCRIPTOR: Self = Self(libc::EBADF);
    /// A pointer leads nowhere.
    pub const FAULT: Self = Self(libc::EFAULT);
    /// Somebody ended the wait.
    pub const INTERRUPTED: Self = Self(libc::EINTR);
    /// An argument makes no sense.
    pub const INVALID: Self = Self(libc::EINVAL);
}

macro_rules! numbers {
    ($($errno:ident $number:ident;)*) => {
        impl From<Errno> for Refusal {
            fn from(errno: Errno) -> Self {
                Self(match errno { $(Errno::$errno => libc::$number,)* })
            }
        }

        /// The symbol of a number; its decimals where there is none.
        pub fn name(refusal: Refusal) -> String {
            match refusal.0 {
                $(libc::$number => stringify!($number).into(),)*
                libc::EFAULT => "EFAULT".into(),
                libc::ESPIPE => "ESPIPE".into(),
                libc::ELOOP => "ELOOP".into(),
                libc::EDOM => "EDOM".into(),
                other => other.to_string(),
            }
        }
    };
}

rumpnet_proto::for_each_errno!(numbers);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errno_has_linuxs_number_and_keeps_its_name() {
        for errno in Errno::ALL {
            assert_eq!(name(Refusal::from(*errno)), errno.name());
        }
        assert_eq!(Refusal::from(Errno::Again), Refusal(11));
    }
}
