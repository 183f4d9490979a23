//! Going to the background: the parent stays until the child can be reached, and ends with what the child says.

use std::{fs, fs::File, io::Read, os::fd::OwnedFd};

use rustix::{
    fs::{Mode, OFlags, open},
    io::{Errno, Result, write},
    pipe::{PipeFlags, pipe_with},
    process::{Pid, WaitOptions, setsid, waitpid},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
};

use crate::ioctl::last;

/// Which of the two we are now.
#[derive(Debug)]
pub enum Background {
    /// The one that was called, and waits.
    Parent(Parent),
    /// The one that stays.
    Child(Child),
}

/// The one that was called.
#[derive(Debug)]
pub struct Parent {
    pipe: OwnedFd,
    child: Pid,
}

/// The one that stays, in a session of its own, still with the terminal to complain to.
#[derive(Debug)]
pub struct Child(OwnedFd);

/// Splits the process in two, before it binds or locks anything: that is the child's, and would go with the parent.
///
/// `EBUSY` if there are several threads: only the calling one would go on in the child.
pub fn fork_to_background() -> Result<Background> {
    if fs::read_dir("/proc/self/task").map_or(0, Iterator::count) != 1 {
        return Err(Errno::BUSY);
    }
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    // SAFETY: there is one thread, so that no lock can be held by one that the child lacks.
    let child = unsafe { libc::fork() };
    match Pid::from_raw(child) {
        None => {
            drop(reader);
            setsid()?;
            Ok(Background::Child(Child(writer)))
        }
        Some(_) if child < 0 => Err(last()),
        Some(child) => Ok(Background::Parent(Parent { pipe: reader, child })),
    }
}

impl Parent {
    /// Waits until the child says how it went, and returns that; if it died without a word, what it died of, as a
    /// shell would put it.
    pub fn wait(self) -> u8 {
        let mut status = [0];
        match File::from(self.pipe).read_exact(&mut status) {
            Ok(()) => status[0],
            Err(_) => death_of(self.child),
        }
    }

    /// The number of the child.
    pub fn child(&self) -> u32 {
        self.child.as_raw_nonzero().get().unsigned_abs()
    }
}

fn death_of(child: Pid) -> u8 {
    loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Err(Errno::INTR) => {}
            Ok(Some((_, status))) => {
                let code =
                    status.exit_status().or_else(|| status.terminating_signal().map(|signal| signal + 128));
                // It said nothing, so whatever it ended with, it did not go well.
                return code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(1);
            }
            _ => return 1,
        }
    }
}

impl Child {
    /// Tells the parent that all is well, and lets go of the terminal.
    pub fn ready(self) -> Result<()> {
        let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        self.tell(0)
    }

    /// Tells the parent that it went wrong, and with which status to end.
    pub fn failed(self, status: u8) -> Result<()> {
        self.tell(status.max(1))
    }

    fn tell(self, status: u8) -> Result<()> {
        match write(&self.0, &[status]) {
            // Nobody waits any more, and nothing is wrong with us.
            Ok(_) | Err(Errno::PIPE) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
