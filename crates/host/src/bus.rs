//! Buses in files: any number of processes of one host put frames into a ring, and each reads all of them (docs/adr/0017).
//!
//! The file is never mapped to be read or written, only to give waits for news an address that all processes share: whatever its
//! other users do to it, such as to cut it off, is an error or nonsense that is read, never a signal. Writers exclude each other by a
//! lock that the host's kernel takes from a process that dies, and a record that was not finished is not there. [`Reader`] is
//! free of I/O, and takes a file of any contents.

mod lock;
mod news;
mod reader;
mod writer;

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
    time::Duration,
};

use rumpnet_wire::bus::{self, FILE_LEN, STATE_AT, State};
use rustix::io::Errno;

pub use reader::{Batch, Fault, Reader, Source};
pub use writer::{Sent, Turn};

use crate::{clock, entropy};

/// The rights of a file that is made: its owner alone may use the bus, until somebody says otherwise with chmod(1).
const MODE: u32 = 0o600;

/// How long somebody who holds the lock is waited for when a bus is attached to: he has a frame to write, or a file to lay out.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest pause between two attempts to take the lock.
const PAUSE: Duration = Duration::from_millis(1);

/// A bus in a file.
#[derive(Debug)]
pub struct BusFile {
    file: File,
    news: news::News,
    /// Who we are among its members.
    sender: u64,
    /// Which of the members' places we hold, if one was free.
    place: Option<u32>,
}

/// How a bus shall be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read and write; a file that is not there is made.
    Member,
    /// To read what is there and what comes.
    Reader,
}

impl BusFile {
    /// Opens the bus at a path. `ENOEXEC` if the file is something else, `EBUSY` if somebody holds its lock for seconds.
    pub fn open(path: &Path, access: Access) -> io::Result<Self> {
        let file = open(path, access)?;
        if !file.metadata()?.is_file() {
            return Err(Errno::NOEXEC.into());
        }
        match access {
            Access::Member => lay_out(&file)?,
            Access::Reader if is_bus(&file)? => {}
            Access::Reader => return Err(Errno::NOEXEC.into()),
        }
        let place = if access == Access::Member { lock::take_place(&file)? } else { None };
        let news = news::News::of(&file)?;
        let sender = u64::from_ne_bytes(entropy::random()?);
        Ok(Self { file, news, sender, place })
    }

    /// The number that marks records of ours.
    pub const fn sender(&self) -> u64 {
        self.sender
    }

    /// A reader of what comes from now on, or of all that is kept.
    pub fn reader(&self, kept: bool) -> Reader {
        if kept { Reader::from_oldest(self) } else { Reader::from_now(self) }
    }

    /// How far the bus has come.
    pub fn state(&self) -> Result<State, Fault> {
        reader::state(self)
    }

    /// The word to wait upon: it changes with every frame.
    pub fn news(&self) -> u32 {
        let mut word = [0; 4];
        // Of a file that was cut off nothing is read, and nothing is new in it.
        let _none = self.file.read_at(&mut word, STATE_AT);
        u32::from_le_bytes(word)
    }

    /// Waits until the word is another than `seen`, or somebody wakes; at most for `patience`. May end for no reason.
    pub fn wait(&self, seen: u32, patience: Option<Duration>) {
        self.news.wait(seen, self.place, patience);
    }

    /// Ends our own wait, and perhaps that of others, who find nothing.
    pub fn wake_own(&self) {
        self.news.wake_own(self.place);
    }
}

impl Source for BusFile {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < bytes.len() {
            match self.file.read_at(&mut bytes[read..], at + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }
}

fn open(path: &Path, access: Access) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).mode(MODE);
    if access == Access::Member {
        options.write(true).create(true).truncate(false);
    }
    // A pipe of that name would make us wait, and a terminal be ours.
    options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options.open(path).map_err(|error| match error.raw_os_error() {
        Some(libc::EISDIR | libc::ENXIO) => Errno::NOEXEC.into(),
        Some(libc::ENAMETOOLONG) => Errno::TOOBIG.into(),
        _ => error,
    })
}

fn is_bus(file: &File) -> io::Result<bool> {
    let mut start = [0; 16];
    let read = file.read_at(&mut start, 0)?;
    Ok(bus::is_preamble(&start[..read]))
}

/// Makes a new file a bus, and completes one whose maker died over it.
fn lay_out(file: &File) -> io::Result<()> {
    let _held = take(file)?;
    if !is_bus(file)? {
        if !is_nothing(file)? {
            return Err(Errno::NOEXEC.into());
        }
        write_start(file, &State { time_ns: wall_clock(), ..State::default() })?;
    }
    if file.metadata()?.len() < FILE_LEN {
        file.set_len(FILE_LEN)?;
    }
    Ok(())
}

/// What a bus begins with. The signature comes last: a file that has it has a state.
fn write_start(file: &File, state: &State) -> io::Result<()> {
    file.write_all_at(&state.to_bytes(), STATE_AT)?;
    file.write_all_at(&bus::preamble(), 0)
}

/// Whether a file is empty, or was being made a bus: no longer than the state, and without any beginning.
fn is_nothing(file: &File) -> io::Result<bool> {
    let mut start = [0; STATE_AT as usize];
    let read = file.read_at(&mut start, 0)?;
    let short = file.metadata()?.len() <= STATE_AT + State::LEN as u64;
    Ok(short && start[..read].iter().all(|byte| *byte == 0))
}

/// Takes the lock, waiting for whoever holds it.
fn take(file: &File) -> io::Result<lock::Held<'_>> {
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(held) = lock::try_take(file)? {
            return Ok(held);
        }
        if std::time::Instant::now() >= end {
            return Err(Errno::BUSY.into());
        }
        std::thread::sleep(PAUSE);
    }
}

/// Nanoseconds since 1970.
fn wall_clock() -> u64 {
    (clock::wall_offset() + i128::from(clock::monotonic())).clamp(0, u64::MAX.into()) as u64
}

#[cfg(test)]
mod tests;
