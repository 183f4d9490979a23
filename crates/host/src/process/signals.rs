//! Signals as a descriptor, to be waited for beside all others: signalfd(2).

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, Result, read};

use crate::ioctl::last;

/// A signal that a server is told with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// The request to end.
    Terminate,
    /// The terminal went away, or: read your configuration again.
    HangUp,
}

const ALL: [(Signal, libc::c_int); 3] =
    [(Signal::Interrupt, libc::SIGINT), (Signal::Terminate, libc::SIGTERM), (Signal::HangUp, libc::SIGHUP)];

/// Signals that no longer end the process, and can be read here.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Takes all of [`Signal`] from this thread and from those that it starts later. Those that run already keep theirs.
    pub fn take() -> Result<Self> {
        let set = all();
        // SAFETY: the set is initialised, and no old one is asked for. The call changes this thread's mask alone.
        let errno = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
        if errno != 0 {
            return Err(Errno::from_raw_os_error(errno));
        }
        // SAFETY: the set is initialised; -1 asks for a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(last());
        }
        // SAFETY: the call has just made it, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next signal that came, if one did.
    pub fn receive(&self) -> Result<Option<Signal>> {
        let mut information = [0; size_of::<libc::signalfd_siginfo>()];
        match read(&self.0, &mut information) {
            // The number comes first.
            Ok(_) => {
                let number =
                    i32::from_ne_bytes([information[0], information[1], information[2], information[3]]);
                Ok(ALL.iter().find(|(_, known)| *known == number).map(|(signal, _)| *signal))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn all() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set, which the calls after it rely on; the numbers are signals.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for (_, number) in ALL {
            libc::sigaddset(set.as_mut_ptr(), number);
        }
        set.assume_init()
    }
}

/// Lets a write to a closed pipe fail with `EPIPE`, and not end the process.
pub fn ignore_broken_pipe() {
    // SAFETY: no function of ours is installed.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_and_do_not_end_the_process() {
        let signals = Signals::take().unwrap();
        assert_eq!(signals.receive(), Ok(None));
        for (signal, number) in ALL {
            // SAFETY: the number is a signal, and it goes to this thread, which has it blocked.
            unsafe { libc::pthread_kill(libc::pthread_self(), number) };
            assert_eq!(signals.receive(), Ok(Some(signal)));
        }
        assert_eq!(signals.receive(), Ok(None));
    }

    #[test]
    fn a_broken_pipe_is_an_error_and_no_death() {
        ignore_broken_pipe();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(reader);
        assert_eq!(rustix::io::write(&writer, b"x"), Err(Errno::PIPE));
    }
}
