//! What a tool is given: a kernel to ask, a clock, and a place to write to.
//!
//! A tool knows neither the host nor a runtime. On the command line every future of a console is ready when it returns,
//! so that polling the tool once runs it to its end; in a simulation virtual time drives it (docs/adr/0003).

use core::{future::Future, time::Duration};

use rumpnet_proto::{CaptureOptions, ControlError, Errno, Operation, Reply, Request, RouteNews};

/// The reader of a tool's output is gone; a tool that meets this ends without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// What a listener says of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// He wants to hear more.
    More,
    /// He has heard enough.
    Enough,
}

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

    /// Tells what happens to routes, neighbours, addresses and interfaces, as it happens, until `each` has heard enough, the kernel ends or the
    /// user interrupts. How much was lost, because it was not heard fast enough; EOPNOTSUPP where nobody can wait.
    fn monitor(
        &self,
        _each: impl FnMut(RouteNews) -> Heard,
    ) -> impl Future<Output = Result<u64, ControlError>> {
        core::future::ready(Err(ControlError::new(Operation::Monitor, "", Errno::OpNotSupp)))
    }

    /// The text of a file, or why there is none.
    fn read(&self, _path: &str) -> Result<String, String> {
        Err("there are no files here".into())
    }

    /// The time by the calendar, as the span since 1970.
    fn since_1970(&self) -> Duration {
        self.now()
    }

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
