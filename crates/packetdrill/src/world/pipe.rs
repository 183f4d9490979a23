//! Pipes, and what moves bytes between them and sockets: pipe(2) and splice(2).

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    World,
    descriptor::{Descriptor, Object},
};
use crate::refusal::{Answer, Refusal};

/// Bytes that a pipe holds, as Linux's do.
const CAPACITY: usize = 65_536;

/// One end of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PipeEnd {
    pub(super) pipe: usize,
    pub(super) writes: bool,
}

#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    has_reader: bool,
    has_writer: bool,
}

/// All pipes.
#[derive(Default)]
pub(super) struct Pipes(Vec<Pipe>);

impl Pipes {
    fn open(&mut self) -> usize {
        let fresh = Pipe { bytes: VecDeque::new(), has_reader: true, has_writer: true };
        match self.0.iter().position(|pipe| !pipe.has_reader && !pipe.has_writer) {
            Some(free) => {
                self.0[free] = fresh;
                free
            }
            None => {
                self.0.push(fresh);
                self.0.len() - 1
            }
        }
    }

    pub(super) fn close(&mut self, end: PipeEnd) {
        let pipe = &mut self.0[end.pipe];
        *(if end.writes { &mut pipe.has_writer } else { &mut pipe.has_reader }) = false;
    }

    /// Bytes in a pipe.
    pub(super) fn len(&self, end: PipeEnd) -> usize {
        self.0[end.pipe].bytes.len()
    }

    /// Whether its other end is open.
    pub(super) fn is_joined(&self, end: PipeEnd) -> bool {
        let pipe = &self.0[end.pipe];
        if end.writes { pipe.has_reader } else { pipe.has_writer }
    }

    /// Room in a pipe.
    pub(super) fn room(&self, end: PipeEnd) -> usize {
        CAPACITY - self.len(end)
    }

    /// Up to `limit` bytes, left in the pipe; none at the end. EAGAIN while there is nothing.
    fn peek(&self, end: PipeEnd, limit: usize) -> Answer<Bytes> {
        if end.writes {
            return Err(Refusal::BAD_DESCRIPTOR);
        }
        let pipe = &self.0[end.pipe];
        if pipe.bytes.is_empty() && pipe.has_writer && limit > 0 {
            return Err(Refusal::AGAIN);
        }
        Ok(pipe.bytes.iter().copied().take(limit).collect())
    }

    fn consume(&mut self, end: PipeEnd, count: usize) {
        self.0[end.pipe].bytes.drain(..count);
    }

    /// Room for a writer: EPIPE without a reader, EAGAIN when it is full.
    fn check_room(&self, end: PipeEnd) -> Answer<usize> {
        if !end.writes {
            return Err(Refusal::BAD_DESCRIPTOR);
        }
        match self.room(end) {
            _ if !self.is_joined(end) => Err(Refusal(libc::EPIPE)),
            0 => Err(Refusal::AGAIN),
            room => Ok(room),
        }
    }
}

impl World {
    /// pipe(2): the end to read from, and the end to write to.
    pub fn pipe(&mut self) -> Answer<[i32; 2]> {
        self.descriptors.check_room(2)?;
        let pipe = self.pipes.open();
        Ok([false, true].map(|writes| {
            self.descriptors.insert(Descriptor::new(Object::Pipe(PipeEnd { pipe, writes }), false))
        }))
    }

    pub(super) fn read_pipe(&mut self, end: PipeEnd, limit: usize) -> Answer<Bytes> {
        let bytes = self.pipes.peek(end, limit)?;
        self.pipes.consume(end, bytes.len());
        self.descriptors.on_pipe_news(end.pipe);
        Ok(bytes)
    }

    pub(super) fn write_pipe(&mut self, end: PipeEnd, bytes: &[u8]) -> Answer<usize> {
        let room = self.pipes.check_room(end)?;
        let taken = &bytes[..bytes.len().min(room)];
        self.pipes.0[end.pipe].bytes.extend(taken);
        self.descriptors.on_pipe_news(end.pipe);
        Ok(taken.len())
    }

    /// splice(2) without offsets: moves up to `limit` bytes; 0 at the end of what is read. EINVAL unless one side is a pipe and the other another
    /// pipe or a socket of a stream.
    pub fn splice(&mut self, from: i32, to: i32, limit: usize) -> Answer<usize> {
        let source = &self.descriptors.find(from)?.object;
        let sink = &self.descriptors.find(to)?.object;
        match (source, sink) {
            (Object::Pipe(source), Object::Pipe(sink)) if source.pipe != sink.pipe => {
                let (source, sink) = (*source, *sink);
                let room = self.pipes.check_room(sink)?;
                let bytes = self.read_pipe(source, limit.min(room))?;
                self.write_pipe(sink, &bytes)
            }
            (Object::Pipe(source), Object::Tcp(_)) => {
                let source = *source;
                let bytes = self.pipes.peek(source, limit)?;
                if bytes.is_empty() {
                    return Ok(0);
                }
                let taken = self.send(to, bytes, 0, None)?;
                self.pipes.consume(source, taken);
                self.descriptors.on_pipe_news(source.pipe);
                Ok(taken)
            }
            (Object::Tcp(_), Object::Pipe(sink)) => {
                let sink = *sink;
                let room = self.pipes.check_room(sink)?;
                let taken = self.receive(from, limit.min(room), 0)?;
                self.write_pipe(sink, &taken.bytes)
            }
            _ => Err(Refusal::INVALID),
        }
    }
}
