//! Asks a kernel in another process, over the UNIX socket of its server.
//!
//! A [`Client`] sends a [`Request`] and waits for its answer, no longer than its patience, so that a hung server is a time-out
//! and not a hung program. What goes wrong with the conversation itself is a [`ControlError`] of [`Operation::Server`] that names
//! the server's URL.
//!
//! *Not* here: where the URL comes from (the environment is read by the command), and any look into requests and replies.

mod address;
mod capture;
mod monitor;
mod wait;

use std::{
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileTypeExt,
    },
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rumpnet_host::{HostError, unix::Connection};
use rumpnet_proto::{
    ControlError, Errno, Operation, Reply, Request,
    codec::{self, Answer, Call, MAX_MESSAGE},
};

pub use address::{Address, AddressError};
pub use capture::RemoteCapture;
pub use monitor::RemoteMonitor;
pub(crate) use wait::deadline_after;
use wait::{Waited, left, wait_readable};

/// How long an answer is waited for unless the caller says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The number of an answer that is to no call, but says why the server ends the conversation.
pub(crate) const NO_CALL: u32 = 0;

/// Between two tries to connect to a server whose queue of newcomers is full; the host cannot tell when it no longer is.
const PAUSE: Duration = Duration::from_millis(10);

/// A conversation with a server.
pub struct Client {
    address: Address,
    socket: Connection,
    patience: Duration,
    /// The number of the last call. Held while a call is under way: one at a time.
    last: Mutex<u32>,
}

impl Client {
    /// Connects to a server; this and every later call wait for at most `patience`, such as [`PATIENCE`].
    ///
    /// ENOENT: there is no socket. ECONNREFUSED: nobody listens at it. EACCES: it belongs to another user. ETIMEDOUT: the server takes no
    /// connections.
    pub fn connect(address: &Address, patience: Duration) -> Result<Self, ControlError> {
        let until = Instant::now() + patience;
        let socket = loop {
            match Connection::connect(address.path()) {
                Ok(socket) => break socket,
                Err(error) if is_full(&error) && !left(until).is_zero() => thread::sleep(PAUSE),
                Err(error) => return Err(determine_refusal(address, patience, error)),
            }
        };
        let client = Self { address: address.clone(), socket, patience, last: Mutex::new(NO_CALL) };
        if let Some(host) = address.host() {
            let host = host.to_owned();
            client.call(Request::Enter { host }).map_err(|error| ControlError {
                operation: Operation::Server,
                object: address.to_string(),
                ..error
            })?;
        }
        Ok(client)
    }

    /// The server's address.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Asks, and waits for the answer.
    ///
    /// Beside what the kernel refuses: ETIMEDOUT after the client's patience, ECONNRESET if the server ends in mid-call,
    /// EMSGSIZE for a request that no message holds, EPROTO if the server speaks another version.
    pub fn call(&self, request: Request) -> Result<Reply, ControlError> {
        self.call_with(request, &[], None)
    }

    /// Asks, and waits for the answer and for the descriptor that comes with it.
    pub(crate) fn call_for_descriptor(
        &self,
        request: Request,
    ) -> Result<(Reply, Option<OwnedFd>), ControlError> {
        self.exchange(request, &[], None)
    }

    /// Asks, and waits for the answer or until `interrupt` is readable: EINTR. The answer is passed over when it comes.
    pub fn call_until(&self, request: Request, interrupt: BorrowedFd<'_>) -> Result<Reply, ControlError> {
        self.call_with(request, &[], Some(interrupt))
    }

    /// Asks with descriptors for the server.
    fn call_with(
        &self,
        request: Request,
        descriptors: &[BorrowedFd<'_>],
        interrupt: Option<BorrowedFd<'_>>,
    ) -> Result<Reply, ControlError> {
        self.exchange(request, descriptors, interrupt).map(|(reply, _)| reply)
    }

    fn exchange(
        &self,
        request: Request,
        descriptors: &[BorrowedFd<'_>],
        interrupt: Option<BorrowedFd<'_>>,
    ) -> Result<(Reply, Option<OwnedFd>), ControlError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = last.checked_add(1).unwrap_or(NO_CALL + 1);
        let until = Instant::now() + self.patience + own_wait(&request);
        let message = codec::encode(&Call { id: *last, request }).map_err(|errno| self.refuse(errno))?;
        let sent = self.socket.send_by(&message, descriptors, deadline_after(self.patience));
        match sent.map_err(io::Error::from) {
            // The server may have said why it ends the conversation before it went.
            Err(error) if is_gone(&error) => self.await_answer(*last, until, None),
            Err(error) => Err(self.broken(&error)),
            Ok(()) => self.await_answer(*last, until, interrupt),
        }
    }

    /// The answer to call `id`; answers to calls that were given up are passed over.
    fn await_answer(
        &self,
        id: u32,
        until: Instant,
        interrupt: Option<BorrowedFd<'_>>,
    ) -> Result<(Reply, Option<OwnedFd>), ControlError> {
        let mut buffer = vec![0; MAX_MESSAGE];
        loop {
            let waited = wait_readable(self.socket.as_fd(), interrupt, Some(left(until)));
            match waited.map_err(|error| self.broken(&error))? {
                Waited::Ready => {}
                Waited::TimedOut => return Err(self.timed_out()),
                Waited::Interrupted => return Err(self.refuse(Errno::Intr)),
            }
            let (answer, descriptor) = self.next_answer(&mut buffer)?;
            match answer.result {
                Err(error) if answer.id == NO_CALL => return Err(self.ended(error)),
                result if answer.id == id => return result.map(|reply| (reply, descriptor)),
                _ => {}
            }
        }
    }

    /// An answer, and what came with it; an answer that was given up takes its descriptor along.
    fn next_answer(&self, buffer: &mut [u8]) -> Result<(Answer, Option<OwnedFd>), ControlError> {
        let received = self.socket.receive(buffer, 1).map_err(io::Error::from);
        let message = match received {
            // That our call was not read is told first; behind it there may be the server's word why.
            Err(error) if is_gone(&error) => self.socket.receive(buffer, 1).map_err(io::Error::from),
            received => received,
        };
        let message = message.map_err(|error| self.broken(&error))?;
        if message.len == 0 {
            return Err(self.gone());
        }
        let answer = codec::decode(&buffer[..message.len]).map_err(|errno| self.misunderstood(errno))?;
        Ok((answer, message.descriptors.into_iter().next()))
    }

    fn refuse(&self, errno: Errno) -> ControlError {
        ControlError::new(Operation::Server, self.address.to_string(), errno)
    }

    fn timed_out(&self) -> ControlError {
        timed_out(&self.address, self.patience)
    }

    fn gone(&self) -> ControlError {
        self.refuse(Errno::ConnReset).with_hint("the server is gone")
    }

    fn misunderstood(&self, errno: Errno) -> ControlError {
        self.refuse(errno).with_hint("the server speaks another version")
    }

    /// The server's own word why it ends the conversation.
    fn ended(&self, error: ControlError) -> ControlError {
        ControlError { object: self.address.to_string(), ..error }
    }

    fn broken(&self, error: &io::Error) -> ControlError {
        match error.kind() {
            _ if is_gone(error) => self.gone(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.timed_out(),
            _ => self.refuse(Errno::Io).with_hint(error.to_string()),
        }
    }
}

/// How long a request itself asks to be kept waiting.
const fn own_wait(request: &Request) -> Duration {
    match request {
        Request::EchoReceive { timeout_ns, .. } => Duration::from_nanos(*timeout_ns),
        _ => Duration::ZERO,
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

fn kind(error: &HostError) -> io::ErrorKind {
    io::Error::from_raw_os_error(error.errno).kind()
}

fn is_full(error: &HostError) -> bool {
    kind(error) == io::ErrorKind::WouldBlock
}

/// Whether a socket's file is there; what cannot be looked at is taken for one.
fn is_socket(address: &Address) -> bool {
    fs::metadata(address.path()).map_or(true, |found| found.file_type().is_socket())
}

fn timed_out(address: &Address, patience: Duration) -> ControlError {
    let hint = format!("the server does not answer within {} s", patience.as_secs_f32());
    ControlError::new(Operation::Server, address.to_string(), Errno::TimedOut).with_hint(hint)
}

/// Why a connection could not be made, with what helps.
fn determine_refusal(address: &Address, patience: Duration, error: HostError) -> ControlError {
    let refuse = |errno| ControlError::new(Operation::Server, address.to_string(), errno);
    match kind(&error) {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            refuse(Errno::NoEnt).with_hint("no server there; start one with `rump server`")
        }
        io::ErrorKind::ConnectionRefused if !is_socket(address) => {
            refuse(Errno::ConnRefused).with_hint("what is there is no socket")
        }
        io::ErrorKind::ConnectionRefused => {
            refuse(Errno::ConnRefused).with_hint("the server is gone and has left its socket; start one anew")
        }
        io::ErrorKind::PermissionDenied => {
            refuse(Errno::Acces).with_hint("a server answers the user who runs it, and root")
        }
        io::ErrorKind::WouldBlock => timed_out(address, patience),
        _ => refuse(Errno::Io).with_hint(error.to_string()),
    }
}
