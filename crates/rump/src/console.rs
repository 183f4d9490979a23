//! The command line as a tool's console: a kernel elsewhere or in this process, the terminal, the clock.
//!
//! Every future is ready when it returns, so that polling a tool once runs it to its end (docs/adr/0003).

use std::{
    cell::OnceCell,
    fs::File,
    future::Future,
    io::{self, ErrorKind, Read, Write},
    os::fd::{AsFd, BorrowedFd},
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant, SystemTime},
};

use rumpnet::{
    Kernel,
    client::{Address, Client},
};
use rumpnet_host::{
    readiness::{Interest, Poller},
    terminal::Keys,
};
use rumpnet_proto::{CaptureOptions, ControlError, Errno, Operation, Reply, Request, RouteNews};
use rumpnet_tools::{CaptureSummary, Closed, Console, Heard};

use crate::{interrupt::Interrupt, output};

/// Octets of a capture taken at once.
const PIECE: usize = 64 * 1024;

/// What is waited for where a key is.
const KEY: u64 = 0;
const INTERRUPT: u64 = 1;

/// Whom the tools ask.
pub(crate) enum Asked {
    /// A server; connected to by the first call, so that a tool's help needs none.
    Server {
        /// Where it is.
        address: Address,
        /// How long it is waited for.
        patience: Duration,
        /// The conversation.
        client: OnceCell<Client>,
    },
    /// A kernel of this process.
    Kernel(Kernel),
    /// Nobody, which is enough for a tool's help.
    Nobody,
}

/// The command line.
pub(crate) struct Terminal {
    asked: Asked,
    begun: Instant,
    interrupt: Interrupt,
    /// The keys of the terminal, from when a tool first wants to draw on it.
    keys: OnceCell<Option<Keys>>,
}

impl Terminal {
    /// Tools ask the server at `address`.
    pub(crate) fn of_server(address: Address, patience: Duration, interrupt: Interrupt) -> Self {
        let asked = Asked::Server { address, patience, client: OnceCell::new() };
        Self { asked, begun: Instant::now(), interrupt, keys: OnceCell::new() }
    }

    /// Tools ask a kernel of this process.
    pub(crate) fn of_kernel(kernel: Kernel, interrupt: Interrupt) -> Self {
        Self { asked: Asked::Kernel(kernel), begun: Instant::now(), interrupt, keys: OnceCell::new() }
    }

    /// Tools have nobody to ask, and say what they could.
    pub(crate) fn of_nobody() -> Self {
        Self {
            asked: Asked::Nobody,
            begun: Instant::now(),
            interrupt: Interrupt::default(),
            keys: OnceCell::new(),
        }
    }

    /// Waits for a key, at most so long or until the user interrupts. A terminal that is gone wants the end.
    fn wait_for_key(&self, span: Duration) -> Option<char> {
        let Some(Some(keys)) = self.keys.get() else {
            self.wait(span);
            return None;
        };
        let waited = Poller::new().and_then(|poller| {
            poller.add(keys.as_fd(), KEY, Interest::READABLE)?;
            if let Some(interrupt) = self.interrupt.descriptor() {
                poller.add(interrupt, INTERRUPT, Interest::READABLE)?;
            }
            let mut events = Vec::with_capacity(2);
            poller.wait(&mut events, Some(span))?;
            Ok(events.iter().any(|event| event.token == KEY))
        });
        waited.unwrap_or(true).then(|| keys.next().map_or('q', char::from))
    }

    fn ask(&self, request: Request) -> Result<Reply, ControlError> {
        match &self.asked {
            Asked::Kernel(kernel) => kernel.control(request),
            _ => match (self.client()?, self.interrupt.descriptor(), &request) {
                (client, Some(interrupt), Request::EchoReceive { .. }) => {
                    let answer = client.call_until(request, interrupt);
                    // Whoever waits for replies and is interrupted has got none.
                    answer.or_else(|error| match error.errno {
                        Errno::Intr => Ok(Reply::EchoReplies(Vec::new())),
                        _ => Err(error),
                    })
                }
                (client, ..) => client.call(request),
            },
        }
    }

    fn client(&self) -> Result<&Client, ControlError> {
        match &self.asked {
            Asked::Server { address, patience, client } => match client.get() {
                Some(connected) => Ok(connected),
                None => {
                    let connected = Client::connect(address, *patience)?;
                    Ok(client.get_or_init(|| connected))
                }
            },
            Asked::Kernel(_) | Asked::Nobody => {
                Err(ControlError::new(Operation::Server, "", Errno::OpNotSupp))
            }
        }
    }

    fn copy(&self, options: CaptureOptions, path: &str) -> Result<CaptureSummary, ControlError> {
        let unwritable = |error: io::Error| {
            ControlError::new(Operation::Capture, path, Errno::Io).with_hint(error.to_string())
        };
        let mut out: Box<dyn Write> = match path {
            "-" => Box::new(io::stdout().lock()),
            path => Box::new(File::create(path).map_err(unwritable)?),
        };
        let mut capture = self.client()?.capture(options)?;
        let mut piece = vec![0; PIECE];
        let mut interrupt = self.interrupt.descriptor();
        let mut counts = None;
        loop {
            if !capture.wait(interrupt).map_err(unwritable)? {
                // What was captured before is still to come; then the pipe ends.
                counts = Some(capture.close()?);
                interrupt = None;
                continue;
            }
            let length = capture.read(&mut piece).map_err(unwritable)?;
            if length == 0 {
                break;
            }
            match out.write_all(&piece[..length]).and_then(|()| out.flush()) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                Err(error) => return Err(unwritable(error)),
            }
        }
        let (captured, overruns) = counts.map_or_else(|| capture.close(), Ok)?;
        Ok(CaptureSummary { captured, overruns })
    }

    fn wait(&self, span: Duration) {
        let until = Instant::now() + span;
        let Some(interrupt) = self.interrupt.descriptor() else { return std::thread::sleep(span) };
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || is_readable(interrupt, left) {
                return;
            }
        }
    }
}

/// Waits until a descriptor has something to read, at most so long.
pub(crate) fn is_readable(descriptor: BorrowedFd<'_>, patience: Duration) -> bool {
    let waited = Poller::new().and_then(|poller| {
        poller.add(descriptor, 0, Interest::READABLE)?;
        let mut events = Vec::with_capacity(1);
        poller.wait(&mut events, Some(patience))?;
        Ok(!events.is_empty())
    });
    // Without descriptors or memory for waiting there is no going on.
    waited.unwrap_or(true)
}

impl Console for Terminal {
    async fn call(&self, request: Request) -> Result<Reply, ControlError> {
        self.ask(request)
    }

    async fn capture(&self, options: CaptureOptions, path: &str) -> Result<CaptureSummary, ControlError> {
        self.copy(options, path)
    }

    async fn monitor(&self, mut each: impl FnMut(RouteNews) -> Heard) -> Result<u64, ControlError> {
        let mut monitor = self.client()?.monitor()?;
        while let Some(news) = monitor.next(self.interrupt.descriptor())? {
            if each(news) == Heard::Enough {
                break;
            }
        }
        monitor.close()
    }

    fn read(&self, path: &str) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    }

    fn since_1970(&self) -> Duration {
        SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
    }

    fn absolute(&self, path: &str) -> Result<String, String> {
        let absolute = std::path::absolute(path).map_err(|error| error.to_string())?;
        absolute.into_os_string().into_string().map_err(|_| "the directory's name is not text".into())
    }

    async fn sleep(&self, span: Duration) {
        self.wait(span);
    }

    fn screen(&self) -> Option<(u16, u16)> {
        self.keys.get_or_init(Keys::take).as_ref()?.screen()
    }

    async fn key(&self, span: Duration) -> Option<char> {
        self.wait_for_key(span)
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn is_interrupted(&self) -> bool {
        self.interrupt.descriptor().is_some_and(|interrupt| is_readable(interrupt, Duration::ZERO))
    }

    fn print(&self, text: &str) -> Result<(), Closed> {
        output::print(text)
    }

    fn complain(&self, text: &str) {
        output::complain(text);
    }
}

/// Runs a tool, all of whose futures are ready when they return.
pub(crate) fn run<T>(tool: impl Future<Output = T>) -> Option<T> {
    match pin!(tool).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(ended) => Some(ended),
        Poll::Pending => None,
    }
}
