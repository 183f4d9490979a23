//! Putting frames on a bus: under its lock, the records first and then the state that says they are there.
//!
//! Whoever dies in between leaves bytes behind the tail, which the next one overwrites.

use std::{
    fs::File,
    io::{self, IoSlice},
    os::{fd::AsFd as _, unix::fs::FileExt as _},
};

use rumpnet_wire::{
    bus::{
        ADVANCE, FILE_LEN, MARKS_AT, MAX_FRAME, Mark, RING, RING_AT, Record, SEGMENT, STATE_AT, State, TURN,
        record_len,
    },
    virtio,
};
use rustix::io::{Errno, pwritev};

use super::{BusFile, lock, reader, wall_clock, write_start};

/// Attempts to take the lock from somebody who has frames to write, before the caller is told to wait.
const ATTEMPTS: u32 = 32;

/// The most pieces that are written together.
const PIECES: usize = 80;

/// Where frames were put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The position of the first.
    pub(super) position: u64,
    /// The state behind the last.
    pub(super) after: State,
}

/// The turn of one member: what it puts on the bus is there when [`Self::finish`] was called, all of it or nothing.
#[derive(Debug)]
pub struct Turn<'a> {
    bus: &'a BusFile,
    _held: lock::Held<'a>,
    /// What the file says.
    told: State,
    /// What it will say.
    state: State,
    marks: Vec<Mark>,
}

impl BusFile {
    /// Puts a frame on the bus: what is left to do to it, and its bytes in pieces.
    ///
    /// `WouldBlock` while somebody else writes, `EMSGSIZE` for a frame that is too long, and what the file refuses.
    pub fn send(&self, offload: &virtio::Header, frame: &[&[u8]]) -> io::Result<Sent> {
        let mut turn = self.begin()?;
        turn.push(None, offload, frame)?;
        turn.finish()
    }

    /// Begins to put frames on the bus; `WouldBlock` while somebody else does.
    pub fn begin(&self) -> io::Result<Turn<'_>> {
        let held = self.try_lock()?.ok_or(io::ErrorKind::WouldBlock)?;
        let state = self.sound_state()?;
        Ok(Turn { bus: self, _held: held, told: state, state, marks: Vec::new() })
    }

    /// Begins a bus anew whose file others have spoilt. Somebody else who writes is trusted to have done so.
    pub fn restore(&self) -> io::Result<()> {
        match self.try_lock()? {
            Some(_held) => self.sound_state().map(drop),
            None => Ok(()),
        }
    }

    /// Whether the lock is free now; whoever was told to wait asks this from time to time.
    pub fn is_free(&self) -> bool {
        // A file that cannot be locked at all gives its error to who sends.
        lock::try_take(&self.file).map_or(true, |held| held.is_some())
    }

    fn try_lock(&self) -> io::Result<Option<lock::Held<'_>>> {
        for _ in 0..ATTEMPTS {
            if let Some(held) = lock::try_take(&self.file)? {
                return Ok(Some(held));
            }
            std::thread::yield_now();
        }
        Ok(None)
    }

    /// The state, under the lock. One that makes no sense, since somebody has spoilt it, is replaced by one that is ahead of all that was.
    fn sound_state(&self) -> io::Result<State> {
        if let Ok(state) = reader::state(self) {
            return Ok(state);
        }
        let last = reader::marks(self).max_by_key(|mark| mark.position);
        let state = State::begun_anew(last, wall_clock());
        write_start(&self.file, &state)?;
        self.file.set_len(FILE_LEN)?;
        Ok(state)
    }

    fn write_state(&self, state: &State) -> io::Result<()> {
        self.file.write_all_at(&state.to_bytes(), STATE_AT)
    }
}

impl Turn<'_> {
    /// Whether others should have their turn.
    pub const fn is_long(&self) -> bool {
        self.state.tail - self.told.tail >= TURN
    }

    /// Adds a frame; one that was sent before on another wire may bear its own time, in nanoseconds since 1970.
    pub fn push(
        &mut self,
        time_ns: Option<u64>,
        offload: &virtio::Header,
        frame: &[&[u8]],
    ) -> io::Result<()> {
        let len: usize = frame.iter().map(|piece| piece.len()).sum();
        if len > MAX_FRAME {
            return Err(Errno::MSGSIZE.into());
        }
        let State { tail: position, count, .. } = self.state;
        let time_ns = time_ns.unwrap_or_else(|| self.state.next_time(wall_clock()));
        let (sender, offload) = (self.bus.sender, offload.to_bytes());
        let record = Record { position, count, time_ns, sender, len: len as u32, offload };
        let tail = position + record_len(len) as u64;
        self.reserve(tail)?;
        let (header, padding) = (record.to_bytes(), [0; 8]);
        let mut pieces = Vec::with_capacity(frame.len() + 2);
        pieces.push(&header[..]);
        pieces.extend(frame);
        // The file may end here.
        pieces.push(&padding[..len.next_multiple_of(8) - len]);
        write_ring(&self.bus.file, position, &mut pieces)?;
        let segment = position / SEGMENT + 1;
        if segment > self.state.marked {
            self.marks.push(Mark { position, count });
            self.state.marked = segment;
        }
        let (count, time_ns) = (count.wrapping_add(1), time_ns.max(self.state.time_ns));
        self.state = State { tail, count, time_ns, ..self.state };
        Ok(())
    }

    /// What will be overwritten is given up before it is.
    fn reserve(&mut self, tail: u64) -> io::Result<()> {
        if tail > self.state.reserved {
            self.state.reserved = self.state.tail + ADVANCE;
            self.told.reserved = self.state.reserved;
            self.bus.write_state(&self.told)?;
        }
        Ok(())
    }

    /// Says that the frames are there.
    pub fn finish(self) -> io::Result<Sent> {
        for mark in &self.marks {
            let place = (Mark::place(mark.position) * Mark::LEN) as u64;
            self.bus.file.write_all_at(&mark.to_bytes(), MARKS_AT + place)?;
        }
        self.bus.write_state(&self.state)?;
        let (bus, sent) = (self.bus, Sent { position: self.told.tail, after: self.state });
        // Who is woken finds the lock free.
        drop(self);
        bus.news.wake(bus.place);
        Ok(sent)
    }
}

/// Writes pieces at a position of the ring, around its end if they reach it.
fn write_ring(file: &File, position: u64, pieces: &mut Vec<&[u8]>) -> io::Result<()> {
    let place = position % RING;
    let behind = split_off(pieces, (RING - place) as usize);
    write_pieces(file, RING_AT + place, pieces)?;
    write_pieces(file, RING_AT, &behind)
}

/// What of the pieces lies behind the first `len` bytes.
fn split_off<'a>(pieces: &mut Vec<&'a [u8]>, len: usize) -> Vec<&'a [u8]> {
    let mut left = len;
    for (number, piece) in pieces.iter_mut().enumerate() {
        if piece.len() > left {
            let (here, there) = piece.split_at(left);
            *piece = here;
            let mut behind = pieces.split_off(number + 1);
            behind.insert(0, there);
            return behind;
        }
        left -= piece.len();
    }
    Vec::new()
}

/// Writes all of the pieces, gathered where the host takes them in one call.
fn write_pieces(file: &File, mut at: u64, pieces: &[&[u8]]) -> io::Result<()> {
    for some in pieces.chunks(PIECES) {
        let slices: Vec<IoSlice<'_>> = some.iter().map(|piece| IoSlice::new(piece)).collect();
        let wanted: usize = some.iter().map(|piece| piece.len()).sum();
        let written = match pwritev(file.as_fd(), &slices, at) {
            Ok(written) => written,
            Err(Errno::INTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        if written < wanted {
            // Rare: a disk that is nearly full. What is left is written in one piece.
            file.write_all_at(&some.concat()[written..], at + written as u64)?;
        }
        at += wanted as u64;
    }
    Ok(())
}
