//! The console of a check: a kernel of this process, output that is kept, and an end when its time is over.

use std::{
    cell::RefCell,
    fs::File,
    io,
    time::{Duration, Instant},
};

use rumpnet::Kernel;
use rumpnet_proto::{CaptureOptions, ControlError, Errno, Operation, Reply, Request};
use rumpnet_tools::{CaptureSummary, Closed, Console};

/// A console for one run of one tool.
pub(super) struct Kept<'kernel> {
    kernel: &'kernel Kernel,
    begun: Instant,
    end: Instant,
    out: RefCell<String>,
    err: RefCell<String>,
}

impl<'kernel> Kept<'kernel> {
    pub(super) fn new(kernel: &'kernel Kernel, end: Instant) -> Self {
        Self { kernel, begun: Instant::now(), end, out: RefCell::default(), err: RefCell::default() }
    }

    /// What the tool wrote to standard output and to standard error.
    pub(super) fn said(self) -> (String, String) {
        (self.out.into_inner(), self.err.into_inner())
    }

    fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    fn write_capture(&self, options: CaptureOptions, path: &str) -> Result<CaptureSummary, ControlError> {
        let unwritable = |error: io::Error| {
            ControlError::new(Operation::Capture, path, Errno::Io).with_hint(error.to_string())
        };
        if path == "-" {
            return Err(ControlError::new(Operation::Capture, path, Errno::OpNotSupp)
                .with_hint("a check has no standard output for a capture; name a file"));
        }
        let mut file = File::create(path).map_err(unwritable)?;
        let capture = self.kernel.open_capture(options)?;
        let (captured, overruns) = capture.write_to(&mut file, Some(self.left())).map_err(unwritable)?;
        Ok(CaptureSummary { captured, overruns })
    }
}

impl Console for Kept<'_> {
    async fn call(&self, request: Request) -> Result<Reply, ControlError> {
        match request {
            Request::EchoReceive { echo, timeout_ns } => {
                let left = u64::try_from(self.left().as_nanos()).unwrap_or(u64::MAX);
                self.kernel.control(Request::EchoReceive { echo, timeout_ns: timeout_ns.min(left) })
            }
            request => self.kernel.control(request),
        }
    }

    async fn capture(&self, options: CaptureOptions, path: &str) -> Result<CaptureSummary, ControlError> {
        self.write_capture(options, path)
    }

    async fn sleep(&self, span: Duration) {
        std::thread::sleep(span.min(self.left()));
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn is_interrupted(&self) -> bool {
        self.left().is_zero()
    }

    fn print(&self, text: &str) -> Result<(), Closed> {
        self.out.borrow_mut().push_str(text);
        Ok(())
    }

    fn complain(&self, text: &str) {
        self.err.borrow_mut().push_str(text);
    }
}
