//! A capture or a monitor on its way to a client: packets or events out of the kernel, pcapng or messages into the pipe that the client passed.
//!
//! A slow reader stops the writing thread, never the kernel: what the kernel's bounded queue cannot hold is counted as overruns.

use std::{
    fs::File,
    io::{self, ErrorKind, Write},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rumpnet_host::readiness::{Interest, Poller, write_now};
use rumpnet_proto::{CaptureOptions, ControlError, Reply, Request, codec};

use crate::{Capture, Kernel, Monitor, pcapng::Writer};

/// As much as a pipe that is said to be writable takes without making the writer wait (PIPE_BUF).
const CHUNK: usize = 4096;

const PIPE: u64 = 0;
/// Room to write.
const ROOM: Interest = Interest { readable: false, writable: true };

/// What a stream is, by the kernel's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Id {
    Capture(u64),
    Monitor(u64),
}

/// What a stream is made of.
pub(super) trait Source: Send + 'static {
    /// The first words.
    fn begin(&mut self) -> Vec<u8>;

    /// Waits, and writes what has come; false when no more will come.
    fn write_next(&mut self, out: &mut dyn Write) -> io::Result<bool>;

    /// The last words, with what was lost.
    fn end(&mut self, overruns: u64) -> Vec<u8>;
}

/// A capture with its form.
pub(super) struct Captured {
    capture: Capture,
    writer: Writer,
}

impl Captured {
    pub(super) fn open(kernel: &Kernel, options: &CaptureOptions) -> Result<(Id, Self), ControlError> {
        let capture = kernel.open_capture(options.clone())?;
        Ok((Id::Capture(capture.id()), Self { capture, writer: Writer::new(kernel, options) }))
    }
}

impl Source for Captured {
    fn begin(&mut self) -> Vec<u8> {
        self.writer.take()
    }

    fn write_next(&mut self, out: &mut dyn Write) -> io::Result<bool> {
        let Self { capture, writer } = self;
        let Some(batch) = capture.next(None) else { return Ok(false) };
        // Each packet is let go when it is written, so that a slow reader's batch is not kept twice.
        batch.into_iter().try_for_each(|packet| {
            writer.add(&packet);
            if writer.is_worth_writing() { out.write_all(&writer.take()) } else { Ok(()) }
        })?;
        out.write_all(&writer.take())?;
        Ok(true)
    }

    fn end(&mut self, overruns: u64) -> Vec<u8> {
        self.writer.end(overruns);
        self.writer.take()
    }
}

impl Source for Monitor {
    fn begin(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn write_next(&mut self, out: &mut dyn Write) -> io::Result<bool> {
        let Some(batch) = self.next(None) else { return Ok(false) };
        let mut bytes = Vec::new();
        for news in batch {
            codec::append(&mut bytes, &news).map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
        }
        out.write_all(&bytes)?;
        Ok(true)
    }

    fn end(&mut self, _overruns: u64) -> Vec<u8> {
        Vec::new()
    }
}

/// Something on its way to a client.
pub(super) struct Stream {
    kernel: Kernel,
    id: Id,
    is_cancelled: AtomicBool,
    is_written: AtomicBool,
    poller: Poller,
    /// What was taken and what was lost, once it has ended.
    counts: Mutex<Option<(u64, u64)>>,
}

impl Stream {
    /// For what was opened under this number; [`Self::run`] writes what it takes. EMFILE.
    pub(super) fn new(kernel: &Kernel, id: Id) -> io::Result<Self> {
        Ok(Self {
            kernel: kernel.clone(),
            id,
            is_cancelled: AtomicBool::new(false),
            is_written: AtomicBool::new(false),
            poller: Poller::new()?,
            counts: Mutex::new(None),
        })
    }

    pub(super) const fn id(&self) -> Id {
        self.id
    }

    /// Whether everything is written that ever will be.
    pub(super) fn is_written(&self) -> bool {
        self.is_written.load(Ordering::Acquire)
    }

    /// Writes until the source has ended or is closed, or nobody wants it.
    pub(super) fn run(&self, source: impl Source, pipe: &OwnedFd) {
        self.write(source, pipe);
        self.is_written.store(true, Ordering::Release);
    }

    fn write(&self, mut source: impl Source, pipe: &OwnedFd) {
        // What cannot be waited for, a plain file, is always writable.
        let is_pipe = self.poller.add(pipe.as_fd(), PIPE, ROOM).is_ok();
        let Ok(file) = pipe.try_clone().map(File::from) else { return self.cancel() };
        let mut out = Out { stream: self, file, is_pipe };
        let mut goes_on = out.write_all(&source.begin()).map(|()| true);
        while let Ok(true) = goes_on {
            goes_on = source.write_next(&mut out);
        }
        let (_, overruns) = self.finish();
        if goes_on.is_ok() {
            // A reader who has gone now has missed nothing but the statistics.
            let _gone = out.write_all(&source.end(overruns));
        }
    }

    /// Ends it if it has not ended; what was taken and what was lost.
    pub(super) fn finish(&self) -> (u64, u64) {
        let mut counts = self.counts();
        let close = match self.id {
            Id::Capture(capture) => Request::CaptureClose { capture },
            Id::Monitor(monitor) => Request::MonitorClose { monitor },
        };
        *counts.get_or_insert_with(|| match self.kernel.control(close) {
            Ok(Reply::CaptureEnded { captured, overruns }) => (captured, overruns),
            Ok(Reply::MonitorEnded { overruns }) => (0, overruns),
            _ => (0, 0),
        })
    }

    /// Ends it, and the writing even of what was taken already.
    pub(super) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Release);
        self.poller.wake();
        self.finish();
    }

    fn counts(&self) -> MutexGuard<'_, Option<(u64, u64)>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the pipe takes [`CHUNK`] bytes, or the stream is cancelled.
    fn wait_for_room(&self) -> io::Result<()> {
        let mut events = Vec::with_capacity(1);
        while !self.is_cancelled.load(Ordering::Acquire) {
            self.poller.wait(&mut events, None)?;
            if !events.is_empty() {
                return Ok(());
            }
        }
        Err(ErrorKind::BrokenPipe.into())
    }
}

/// The pipe, written as its reader makes room.
struct Out<'stream> {
    stream: &'stream Stream,
    file: File,
    is_pipe: bool,
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_pipe {
            self.stream.wait_for_room()?;
        }
        loop {
            let chunk = &bytes[..bytes.len().min(CHUNK)];
            match if self.is_pipe { write_now(&self.file, chunk) } else { self.file.write(chunk) } {
                // Somebody else filled it first.
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.is_pipe => {
                    self.stream.wait_for_room()?
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
