//! Captures of what passes a kernel's interfaces, or of what it drops.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use rumpnet_proto::{CaptureOptions, ControlError, Operation, Reply, Request};
use rumpnet_sockets::Interest;
use rumpnet_stack::{Captured, slab::Key};

use crate::{Kernel, pcapng::Writer, wait::Deadline};

/// An open capture; closed when it is dropped.
#[derive(Debug)]
pub struct Capture {
    kernel: Kernel,
    options: CaptureOptions,
    key: Key,
    open: bool,
}

impl Kernel {
    /// Starts a capture. ENXIO for an interface that is not there, EMFILE if too many captures are open.
    pub fn open_capture(&self, options: CaptureOptions) -> Result<Capture, ControlError> {
        match self.control(Request::CaptureOpen(options.clone()))? {
            Reply::Capture { capture } => {
                Ok(Capture { kernel: self.clone(), options, key: Key::from(capture), open: true })
            }
            _ => Err(Self::unexpected(Operation::Capture)),
        }
    }
}

impl Capture {
    /// Its number, by which [`Request::CaptureClose`] ends it.
    pub fn id(&self) -> u64 {
        self.key.into()
    }

    /// What has been captured since the last call, waiting for the first packet: empty after `patience`, none once the
    /// capture is complete and everything was taken, or closed.
    pub fn next(&mut self, patience: Option<Duration>) -> Option<Vec<Captured>> {
        let mut packets = Vec::new();
        let mut goes_on = true;
        let Self { kernel, key, .. } = &*self;
        let shared = &kernel.shared;
        let came = shared.wait(
            Deadline::after(patience),
            |waker| shared.lock().captures.register(*key, Interest::Readable, waker),
            || {
                goes_on = shared.enter(|stack, _| stack.capture_read(*key, &mut packets));
                !goes_on || !packets.is_empty()
            },
        );
        if came && packets.is_empty() && !goes_on { None } else { Some(packets) }
    }

    /// Writes what it takes as pcapng, until it is complete or the patience is over: none for neither, zero for what is there already. How
    /// many packets it took, and how many it lost.
    pub fn write_to(mut self, out: &mut impl Write, patience: Option<Duration>) -> io::Result<(u64, u64)> {
        let mut writer = Writer::new(&self.kernel, &self.options);
        out.write_all(&writer.take())?;
        let end = patience.map(|patience| Instant::now() + patience);
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let Some(packets) = self.next(left) else { break };
            packets.iter().for_each(|packet| writer.add(packet));
            out.write_all(&writer.take())?;
            if packets.is_empty() {
                break;
            }
        }
        let (captured, overruns) = self.close().map_err(io::Error::other)?;
        writer.end(overruns);
        out.write_all(&writer.take())?;
        Ok((captured, overruns))
    }

    /// Ends it; how many packets it took, and how many it lost because it was read too slowly.
    pub fn close(mut self) -> Result<(u64, u64), ControlError> {
        self.open = false;
        match self.kernel.control(Request::CaptureClose { capture: self.id() })? {
            Reply::CaptureEnded { captured, overruns } => Ok((captured, overruns)),
            _ => Err(Kernel::unexpected(Operation::Capture)),
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if self.open {
            // It may have been closed by its number.
            let _closed = self.kernel.control(Request::CaptureClose { capture: self.id() });
        }
    }
}
