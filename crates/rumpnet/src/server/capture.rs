//! A capture on its way to a client: packets out of the kernel, pcapng into the pipe that the client passed.
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
use rumpnet_proto::{CaptureOptions, ControlError, Errno, Operation, Reply, Request};

use crate::{Capture, Kernel, pcapng::Writer};

/// As much as a pipe that is said to be writable takes without making the writer wait (PIPE_BUF).
const CHUNK: usize = 4096;

const PIPE: u64 = 0;
/// Room to write.
const ROOM: Interest = Interest { readable: false, writable: true };

/// A capture on its way to a client.
pub(super) struct Stream {
    kernel: Kernel,
    id: u64,
    options: CaptureOptions,
    is_cancelled: AtomicBool,
    is_written: AtomicBool,
    poller: Poller,
    /// Packets taken and lost, once the capture has ended.
    counts: Mutex<Option<(u64, u64)>>,
}

impl Stream {
    /// Starts a capture; [`Self::run`] writes what it takes.
    pub(super) fn open(kernel: &Kernel, options: CaptureOptions) -> Result<(Self, Capture), ControlError> {
        let poller = Poller::new().map_err(|_| ControlError::new(Operation::Capture, "", Errno::MFile))?;
        let capture = kernel.open_capture(options.clone())?;
        let stream = Self {
            kernel: kernel.clone(),
            id: capture.id(),
            options,
            is_cancelled: AtomicBool::new(false),
            is_written: AtomicBool::new(false),
            poller,
            counts: Mutex::new(None),
        };
        Ok((stream, capture))
    }

    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// Whether everything is written that ever will be.
    pub(super) fn is_written(&self) -> bool {
        self.is_written.load(Ordering::Acquire)
    }

    /// Writes until the capture is complete or closed, or nobody wants it.
    pub(super) fn run(&self, capture: Capture, pipe: &OwnedFd) {
        self.write(capture, pipe);
        self.is_written.store(true, Ordering::Release);
    }

    fn write(&self, mut capture: Capture, pipe: &OwnedFd) {
        // What cannot be waited for, a plain file, is always writable.
        let is_pipe = self.poller.add(pipe.as_fd(), PIPE, ROOM).is_ok();
        let Ok(file) = pipe.try_clone().map(File::from) else { return self.cancel() };
        let mut writer = Writer::new(&self.kernel, &self.options);
        let mut out = Out { stream: self, file, is_pipe };
        let mut result = out.write_all(&writer.take());
        while result.is_ok()
            && let Some(batch) = capture.next(None)
        {
            // Each packet is let go when it is written, so that a slow reader's batch is not kept twice.
            result = batch.into_iter().try_for_each(|packet| {
                writer.add(&packet);
                if writer.is_worth_writing() { out.write_all(&writer.take()) } else { Ok(()) }
            });
            result = result.and_then(|()| out.write_all(&writer.take()));
        }
        let (_, overruns) = self.finish();
        if result.is_ok() {
            writer.end(overruns);
            // A reader who has gone now has missed nothing but the statistics.
            let _gone = out.write_all(&writer.take());
        }
    }

    /// Ends the capture if it has not ended; packets taken and lost.
    pub(super) fn finish(&self) -> (u64, u64) {
        let mut counts = self.counts();
        *counts.get_or_insert_with(|| match self.kernel.control(Request::CaptureClose { capture: self.id }) {
            Ok(Reply::CaptureEnded { captured, overruns }) => (captured, overruns),
            _ => (0, 0),
        })
    }

    /// Ends the capture, and the writing even of what is captured already.
    pub(super) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Release);
        self.poller.wake();
        self.finish();
    }

    fn counts(&self) -> MutexGuard<'_, Option<(u64, u64)>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the pipe takes [`CHUNK`] bytes, or the capture is cancelled.
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
