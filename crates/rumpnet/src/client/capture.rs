//! A capture of a kernel in another process: a stream of pcapng out of a pipe.

use std::{
    io::{self, PipeReader, Read},
    os::fd::{AsFd, BorrowedFd},
};

use rumpnet_proto::{CaptureOptions, ControlError, Errno, Operation, Reply, Request};

use super::{
    Client,
    wait::{Waited, wait_readable},
};

/// A capture under way. Reading it gives pcapng until the capture is complete; dropping it ends it.
pub struct RemoteCapture<'client> {
    client: &'client Client,
    id: u64,
    pipe: PipeReader,
}

impl Client {
    /// Starts a capture, whose pcapng the server writes to a pipe.
    ///
    /// ENXIO: no such interface. EMFILE: too many captures.
    pub fn capture(&self, options: CaptureOptions) -> Result<RemoteCapture<'_>, ControlError> {
        let (pipe, far_end) = io::pipe().map_err(|error| self.broken(&error))?;
        match self.call_with(Request::CaptureOpen(options), &[far_end.as_fd()], None)? {
            Reply::Capture { capture: id } => Ok(RemoteCapture { client: self, id, pipe }),
            _ => Err(self.refuse(Errno::Proto)),
        }
    }
}

impl RemoteCapture<'_> {
    /// Waits until there is something to read, the end included; false if `interrupt` is readable instead.
    pub fn wait(&self, interrupt: Option<BorrowedFd<'_>>) -> io::Result<bool> {
        Ok(wait_readable(self.pipe.as_fd(), interrupt, None)? == Waited::Ready)
    }

    /// Ends the capture: how many packets it took, and how many it lost because they were not read fast enough. What was captured before
    /// can still be read.
    pub fn close(&self) -> Result<(u64, u64), ControlError> {
        match self.client.call(Request::CaptureClose { capture: self.id })? {
            Reply::CaptureEnded { captured, overruns } => Ok((captured, overruns)),
            _ => Err(ControlError::new(Operation::Capture, "", Errno::Proto)),
        }
    }
}

impl Read for RemoteCapture<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pipe.read(buffer)
    }
}
