//! What a tool is given: a kernel to ask, a clock, and a place to write to.
//!
//! A tool knows neither the host nor a runtime. On the command line every future of a console is ready when it returns,
//! so that polling the tool once runs it to its end; in a simulation virtual time drives it (docs/adr/0003).

use core::{future::Future, time::Duration};

use rumpnet_proto::{CaptureOptions, ControlError, Reply, Request};

/// The reader of a tool's output is gone; a tool that meets this ends without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// What a capture came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureSummary {
    /// Packets written.
    pub captured: u64,
    /// Packets lost because their reader was slow.
    pub overruns: u64,
}

/// The surroundings of a tool.
pub trait Console {
    /// Asks the kernel.
    fn call(&self, request: Request) -> impl Future<Output = Result<Reply, ControlError>>;

    /// Captures as pcapng to the file `path`, or to standard output if it is `-`, until the capture is complete, the
    /// reader is gone or the user interrupts.
    fn capture(
        &self,
        options: CaptureOptions,
        path: &str,
    ) -> impl Future<Output = Result<CaptureSummary, ControlError>>;

    /// A path from the root, of one that is meant where the tool runs; or why there is none.
    fn absolute(&self, path: &str) -> Result<String, String> {
        Ok(path.into())
    }

    /// Waits so long, or until the user interrupts.
    fn sleep(&self, span: Duration) -> impl Future<Output = ()>;

    /// The time since an origin of the console's own choice; never goes back.
    fn now(&self) -> Duration;

    /// How many columns and rows the terminal has; none where there is none that a tool may draw on and hear keys from.
    fn screen(&self) -> Option<(u16, u16)> {
        None
    }

    /// Waits for a key that the user presses, at most so long.
    fn key(&self, span: Duration) -> impl Future<Output = Option<char>> {
        async move {
            self.sleep(span).await;
            None
        }
    }

    /// Whether the user wants the tool to end (SIGINT).
    fn is_interrupted(&self) -> bool;

    /// Writes to standard output at once.
    fn print(&self, text: &str) -> Result<(), Closed>;

    /// Writes to standard error at once.
    fn complain(&self, text: &str);
}
