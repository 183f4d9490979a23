//! Putting frames on a bus: under its lock, the record first and then the state that says it is there.
//!
//! Whoever dies in between leaves bytes behind the tail, which the next one overwrites.

use std::{
    fs::File,
    io::{self, IoSlice},
    os::{fd::AsFd as _, unix::fs::FileExt as _},
};

use rumpnet_wire::{
    bus::{
        ADVANCE, FILE_LEN, MARKS_AT, MAX_FRAME, Mark, RING, RING_AT, Record, SEGMENT, STATE_AT, State,
        record_len,
    },
    virtio,
};
use rustix::io::{Errno, pwritev};

use super::{BusFile, lock, reader, wall_clock, write_start};

/// Attempts to take the lock from somebody who has a frame to write, before the caller is told to wait.
const ATTEMPTS: u32 = 32;

/// The most pieces of a frame that are written together.
const PIECES: usize = 80;

impl BusFile {
    /// Puts a frame on the bus: what is left to do to it, and its bytes in pieces. Returns when it was sent.
    ///
    /// `WouldBlock` while somebody else writes, `EMSGSIZE` for a frame that is too long, and what the file refuses.
    pub fn send(&self, offload: &virtio::Header, frame: &[&[u8]]) -> io::Result<u64> {
        self.send_at(None, offload, frame)
    }

    /// As [`Self::send`], with the time of a frame that was sent before, on another wire; nanoseconds since 1970.
    pub fn send_at(
        &self,
        time_ns: Option<u64>,
        offload: &virtio::Header,
        frame: &[&[u8]],
    ) -> io::Result<u64> {
        let len: usize = frame.iter().map(|piece| piece.len()).sum();
        if len > MAX_FRAME {
            return Err(Errno::MSGSIZE.into());
        }
        let held = self.try_lock()?.ok_or(io::ErrorKind::WouldBlock)?;
        let state = self.sound_state()?;
        let time_ns = time_ns.unwrap_or_else(|| state.next_time(wall_clock()));
        let record = Record {
            position: state.tail,
            count: state.count,
            time_ns,
            sender: self.sender,
            len: len as u32,
            offload: offload.to_bytes(),
        };
        self.append(state, &record, frame)?;
        drop(held);
        self.news.wake(self.place);
        Ok(time_ns)
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

    fn append(&self, state: State, record: &Record, frame: &[&[u8]]) -> io::Result<()> {
        let tail = state.tail + record_len(record.len as usize) as u64;
        // What will be overwritten is given up before it is.
        let reserved = if tail > state.reserved { state.tail + ADVANCE } else { state.reserved };
        if reserved > state.reserved {
            self.write_state(&State { reserved, ..state })?;
        }
        let (count, time_ns) = (state.count.wrapping_add(1), record.time_ns.max(state.time_ns));
        let mut after = State { tail, count, reserved, time_ns, ..state };
        let header = record.to_bytes();
        let mut pieces = Vec::with_capacity(frame.len() + 1);
        pieces.push(&header[..]);
        pieces.extend(frame);
        // The file may end here.
        let padding = [0; 8];
        pieces.push(&padding[..(record.len.next_multiple_of(8) - record.len) as usize]);
        write_ring(&self.file, state.tail, &mut pieces)?;
        let segment = state.tail / SEGMENT + 1;
        if segment > state.marked {
            after.marked = segment;
            let mark = Mark { position: state.tail, count: state.count };
            let place = (Mark::place(state.tail) * Mark::LEN) as u64;
            self.file.write_all_at(&mark.to_bytes(), MARKS_AT + place)?;
        }
        self.write_state(&after)
    }

    fn write_state(&self, state: &State) -> io::Result<()> {
        self.file.write_all_at(&state.to_bytes(), STATE_AT)
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
