//! Reading a bus: what comes, in order, from a file whose contents are anybody's.
//!
//! Bytes are copied out first and judged then, and a second look at the state tells whether they were overwritten meanwhile. Who is
//! too slow goes on with the oldest record that is kept, and counts what it has missed; what makes no sense is counted, too, and left out.

use std::{io, ops::Range};

use rumpnet_wire::{
    Malformed,
    bus::{MARKS, MARKS_AT, Mark, RING, RING_AT, Record, STATE_AT, State},
};

use super::Sent;

/// Looks at a state that is being written; a write takes less than a microsecond.
const LOOKS: u32 = 64;

/// Attempts to read before somebody who is overtaken each time gives way to others.
const ATTEMPTS: u32 = 4;

/// What bytes are read from.
pub trait Source {
    /// Reads at an offset; fewer bytes than asked for only at the end.
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize>;
}

impl Source for [u8] {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let from = usize::try_from(at).map_or(self.len(), |at| at.min(self.len()));
        let len = bytes.len().min(self.len() - from);
        bytes[..len].copy_from_slice(&self[from..from + len]);
        Ok(len)
    }
}

/// Why nothing can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The file has no state that makes sense: it was cut off, or overwritten by something else.
    Spoilt,
    /// The file cannot be read.
    Failed(io::ErrorKind),
}

/// Somebody who reads a bus: how far it has come, and what it has missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reader {
    position: u64,
    /// Records before that.
    count: u64,
    overruns: u64,
    spoilt: u64,
}

/// Whole records that were read, one after the other.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    bytes: &'a [u8],
    at: usize,
    position: u64,
}

impl Reader {
    /// A reader of what comes from now on; one of a spoilt file begins when it makes sense again.
    pub fn from_now(source: &(impl Source + ?Sized)) -> Self {
        let state = state(source).unwrap_or_default();
        Self { position: state.tail, count: state.count, ..Self::default() }
    }

    /// A reader of all that is kept, and then of what comes.
    pub fn from_oldest(source: &(impl Source + ?Sized)) -> Self {
        let Ok(state) = state(source) else { return Self::default() };
        let oldest = oldest(source, &state, state.safe());
        Self { position: oldest.position, count: oldest.count, ..Self::default() }
    }

    /// Goes on with what comes from now on.
    pub fn resume(&mut self, source: &(impl Source + ?Sized)) {
        let state = state(source).unwrap_or_default();
        (self.position, self.count) = (state.tail, state.count);
    }

    /// Passes frames of one's own, if they are the next, without reading them.
    pub const fn pass(&mut self, sent: &Sent) {
        if self.position == sent.position {
            (self.position, self.count) = (sent.after.tail, sent.after.count);
        }
    }

    /// Where it goes on.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Records that were overwritten before they were read.
    pub const fn overruns(&self) -> u64 {
        self.overruns
    }

    /// Places where the ring made no sense.
    pub const fn spoilt(&self) -> u64 {
        self.spoilt
    }

    /// Whether there is something to read, or the file makes no sense.
    pub fn has_news(&self, source: &(impl Source + ?Sized)) -> Result<bool, Fault> {
        Ok(state(source)?.tail != self.position)
    }

    /// Reads what has come, as many whole records as fit into the buffer; `MAX_RECORD` bytes are needed for progress. No records are no
    /// error.
    pub fn read<'a>(
        &mut self,
        source: &(impl Source + ?Sized),
        buffer: &'a mut [u8],
    ) -> Result<Batch<'a>, Fault> {
        let position = self.position;
        for _ in 0..ATTEMPTS {
            let before = state(source)?;
            if before.tail == self.position {
                break;
            }
            if !self.is_kept(&before) {
                self.jump(source, &before);
                continue;
            }
            let wanted = (before.tail - self.position).min(buffer.len() as u64) as usize;
            let read = read_ring(source, self.position, &mut buffer[..wanted])?;
            let after = state(source)?;
            if !self.is_kept(&after) {
                self.jump(source, &after);
                continue;
            }
            let position = self.position;
            let whole = self.take(&buffer[..read]);
            if whole > 0 {
                return Ok(Batch { bytes: &buffer[..whole], at: 0, position });
            }
            // Behind a record that makes no sense the next one cannot be told from anything.
            self.spoilt += 1;
            self.skip(source, &after);
        }
        Ok(Batch { bytes: &[], at: 0, position })
    }

    /// Whether what comes next is there, and certainly not overwritten.
    const fn is_kept(&self, state: &State) -> bool {
        state.safe() <= self.position && self.position <= state.tail
    }

    /// Moves past the whole records at the front of `bytes`, and returns their length.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while let Ok((record, _, behind)) = Record::parse(rest, self.position)
            && record.count == self.count
        {
            self.position += (rest.len() - behind.len()) as u64;
            self.count = self.count.wrapping_add(1);
            rest = behind;
        }
        bytes.len() - rest.len()
    }

    /// Goes on with the oldest record that is kept, and counts those that were missed.
    fn jump(&mut self, source: &(impl Source + ?Sized), state: &State) {
        if state.tail < self.position {
            // The file was begun anew, and what there was since is unknown.
            self.spoilt += 1;
            (self.position, self.count) = (state.tail, state.count);
            return;
        }
        let oldest = oldest(source, state, state.safe());
        self.overruns = self.overruns.saturating_add(oldest.count.saturating_sub(self.count));
        (self.position, self.count) = (oldest.position, oldest.count);
    }

    /// Goes on behind what makes no sense.
    fn skip(&mut self, source: &(impl Source + ?Sized), state: &State) {
        let next = oldest(source, state, self.position + 1);
        (self.position, self.count) = (next.position, next.count);
    }
}

impl<'a> Batch<'a> {
    /// All bytes of the records.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl Iterator for Batch<'_> {
    /// A record, and where in the bytes its frame lies.
    type Item = (Record, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.bytes[self.at..];
        let (record, frame, behind) = Record::parse(rest, self.position + self.at as u64).ok()?;
        let start = self.at + Record::LEN;
        self.at += rest.len() - behind.len();
        Some((record, start..start + frame.len()))
    }
}

/// The state of a bus. One that is being written at this moment is looked at again.
pub(super) fn state(source: &(impl Source + ?Sized)) -> Result<State, Fault> {
    for _ in 0..LOOKS {
        let mut bytes = [0; State::LEN];
        let read = source.read_at(&mut bytes, STATE_AT).map_err(|error| Fault::Failed(error.kind()))?;
        match State::parse(&bytes[..read]) {
            Ok(state) => return Ok(state),
            Err(Malformed::Checksum) => std::hint::spin_loop(),
            Err(_) => break,
        }
    }
    Err(Fault::Spoilt)
}

/// The marks of a bus that make sense.
pub(super) fn marks(source: &(impl Source + ?Sized)) -> impl Iterator<Item = Mark> {
    let mut bytes = [0; MARKS * Mark::LEN];
    let read = source.read_at(&mut bytes, MARKS_AT).unwrap_or(0);
    (0..MARKS).filter_map(move |place| {
        let bytes = bytes[..read].get(place * Mark::LEN..)?;
        Mark::parse(bytes, place).ok()
    })
}

/// The first marked record at `from` or behind it, or else the end of what there is.
fn oldest(source: &(impl Source + ?Sized), state: &State, from: u64) -> Mark {
    let end = Mark { position: state.tail, count: state.count };
    let kept = marks(source).filter(|mark| from <= mark.position && mark.position <= state.tail);
    kept.min_by_key(|mark| mark.position).unwrap_or(end)
}

/// Reads at a position of the ring, around its end if need be; fewer bytes than asked for if the file was cut off.
fn read_ring(source: &(impl Source + ?Sized), position: u64, bytes: &mut [u8]) -> Result<usize, Fault> {
    let failed = |error: io::Error| Fault::Failed(error.kind());
    let place = position % RING;
    let here = bytes.len().min((RING - place) as usize);
    let read = source.read_at(&mut bytes[..here], RING_AT + place).map_err(failed)?;
    if read < here {
        return Ok(read);
    }
    Ok(here + source.read_at(&mut bytes[here..], RING_AT).map_err(failed)?)
}
