//! A bus in a file whose contents are anybody's: the reader goes on, stays within what it has read, and never goes back without a word.

use std::{cell::RefCell, io};

use rumpnet_host::bus::{Fault, Reader, Source};
use rumpnet_wire::bus::{
    self, FILE_LEN, MARKS, MARKS_AT, MAX_FRAME, MAX_RECORD, Mark, RING, RING_AT, Record, STATE_AT, State,
};

use crate::script::Script;

/// A file of zeros but for what was written into it, the latest over what was before.
#[derive(Default)]
struct Patched {
    patches: RefCell<Vec<(u64, Vec<u8>)>>,
    len: u64,
}

impl Patched {
    fn write(&self, at: u64, bytes: &[u8]) {
        self.patches.borrow_mut().push((at, bytes.to_vec()));
    }
}

impl Source for Patched {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let len = (bytes.len() as u64).min(self.len.saturating_sub(at)) as usize;
        bytes[..len].fill(0);
        for (start, patch) in self.patches.borrow().iter() {
            let from = start.max(&at);
            let to = (start + patch.len() as u64).min(at + len as u64);
            if from < &to {
                let piece = &patch[(from - start) as usize..(to - start) as usize];
                bytes[(from - at) as usize..(to - at) as usize].copy_from_slice(piece);
            }
        }
        Ok(len)
    }
}

/// Reads the input as a script of writes to the file and of reads by a reader.
pub fn bus(data: &[u8]) {
    let mut script = Script(data);
    let mut file = Patched { len: FILE_LEN, ..Patched::default() };
    file.write(0, &bus::preamble());
    let mut reader = Reader::from_now(&file);
    let mut buffer = vec![0; MAX_RECORD];
    let mut steps = 0;
    while !script.is_empty() && steps < 200 {
        steps += 1;
        match script.byte() % 10 {
            0 => file.write(place(&mut script), script.take(40)),
            1 => file.write(STATE_AT, &state(&mut script).to_bytes()),
            2 => write_mark(&file, &mut script),
            3..=5 => append(&file, &mut script),
            6 => file.len = u64::from(script.word()) << 7,
            7 => file.len = FILE_LEN,
            8 => {
                reader =
                    if script.byte() & 1 == 0 { Reader::from_oldest(&file) } else { Reader::from_now(&file) }
            }
            _ => read(&mut reader, &file, &mut buffer),
        }
    }
    // Whatever the file says, reading it ends.
    for _ in 0..MARKS + 200 {
        let before = reader;
        read(&mut reader, &file, &mut buffer);
        if reader == before {
            return;
        }
    }
    panic!("a file that nobody changes is news for ever: {reader:?}");
}

fn place(script: &mut Script<'_>) -> u64 {
    (u64::from(script.word()) << 8 | u64::from(script.byte())) % FILE_LEN
}

/// A position near the beginning, near where the ring wraps, or anywhere.
fn position(script: &mut Script<'_>) -> u64 {
    let near = u64::from(script.word());
    match script.byte() % 4 {
        0 => near * 8,
        1 => (RING - 4096) + near * 8,
        2 => (near << 40) & !7,
        _ => near,
    }
}

fn state(script: &mut Script<'_>) -> State {
    let tail = position(script);
    let reserved = tail.saturating_add(u64::from(script.word()) * 8);
    State { tail, count: u64::from(script.byte()), reserved, time_ns: 0, marked: u64::from(script.byte()) }
}

fn write_mark(file: &Patched, script: &mut Script<'_>) {
    let mark = Mark { position: position(script), count: u64::from(script.byte()) };
    file.write(MARKS_AT + (Mark::place(mark.position) * Mark::LEN) as u64, &mark.to_bytes());
}

/// A record as a member writes it, perhaps with a lie about its length.
fn append(file: &Patched, script: &mut Script<'_>) {
    let mut bytes = [0; State::LEN];
    let read = file.read_at(&mut bytes, STATE_AT).expect("it never fails");
    let Ok(state) = State::parse(&bytes[..read]) else {
        return file.write(STATE_AT, &State::default().to_bytes());
    };
    let frame = script.take(usize::from(script.0.first().copied().unwrap_or_default()));
    let lie = u32::from(script.byte() == 255) * 9;
    let len = frame.len() as u32 + lie;
    let record = Record { position: state.tail, count: state.count, len, ..Record::default() };
    let whole = [&record.to_bytes()[..], frame].concat();
    let at = state.tail % RING;
    let here = whole.len().min((RING - at) as usize);
    file.write(RING_AT + at, &whole[..here]);
    file.write(RING_AT, &whole[here..]);
    let tail = state.tail + bus::record_len(frame.len()) as u64;
    let (count, reserved) = (state.count.wrapping_add(1), state.reserved.max(tail));
    file.write(STATE_AT, &State { tail, count, reserved, ..state }.to_bytes());
}

/// One read, and what must be true of it.
fn read(reader: &mut Reader, file: &Patched, buffer: &mut [u8]) {
    let before = *reader;
    match reader.read(file, buffer) {
        Ok(batch) => {
            let bytes = batch.bytes();
            let mut end = 0;
            for (record, frame) in batch {
                assert!(
                    frame.start >= end + Record::LEN && frame.end <= bytes.len(),
                    "frames lie side by side"
                );
                assert_eq!((frame.len(), record.len as usize <= MAX_FRAME), (record.len as usize, true));
                end = frame.end;
            }
        }
        Err(Fault::Spoilt) => assert_eq!(*reader, before, "where nothing makes sense nobody goes on"),
        Err(Fault::Failed(kind)) => panic!("a file in memory cannot fail: {kind}"),
    }
    assert!(reader.overruns() >= before.overruns() && reader.spoilt() >= before.spoilt());
    if reader.position() < before.position() {
        assert!(reader.spoilt() > before.spoilt(), "going back is counted");
    }
}
