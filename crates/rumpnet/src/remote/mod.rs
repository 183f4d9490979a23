//! A kernel in another process, with the API of one in this process: [`Kernel::control`] and the socket types of this crate.
//!
//! [`crate::Kernel::connect`] reaches the server. A socket is a real descriptor ([`Tcp`] and its like show it), whose data needs no system call of
//! ours to be relayed; everything else is a request. What the descriptor alone says in each phase, and what a request adds, is in
//! docs/notes/passed-sockets.md.
//!
//! When the server dies, calls on its sockets answer NotConnected. With a [`Reconnect`] policy a later request reaches the next server at the
//! same place; sockets of the former one stay dead.

mod control;
mod datagram;
mod tcp;
mod watched;

use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rumpnet_proto::{
    ControlError, Errno, Operation, Reply, Request,
    passed::{SocketKind, SocketReply, SocketRequest},
};
pub use rumpnet_sockets::{DatagramHandle, DatagramWait, TcpHandle, TcpWait};
use rumpnet_sockets::{Datagrams, Streams};

use crate::{
    client::{Address, Client, PATIENCE},
    errno,
};
pub use datagram::Datagram;
pub use tcp::Tcp;

/// By how much the pause between two tries to reach a server grows, and to what.
const PAUSE_STEP: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A TCP connection for threads, shaped as [`std::net::TcpStream`].
pub type TcpStream = rumpnet_sockets::blocking::TcpStream<Kernel>;

/// A listening TCP socket for threads, shaped as [`std::net::TcpListener`].
pub type TcpListener = rumpnet_sockets::blocking::TcpListener<Kernel>;

/// A TCP socket that is neither listening nor connected yet, to be given options first.
pub type TcpSocket = rumpnet_sockets::TcpSocket<Kernel>;

/// A UDP socket for threads, shaped as [`std::net::UdpSocket`].
pub type UdpSocket = rumpnet_sockets::blocking::UdpSocket<Kernel>;

/// A raw IP socket for threads.
pub type RawSocket = rumpnet_sockets::blocking::RawSocket<Kernel>;

/// An ICMP socket for threads: echo without privilege.
pub type IcmpSocket = rumpnet_sockets::blocking::IcmpSocket<Kernel>;

/// Sockets for async code, on any runtime.
pub mod future {
    /// A UDP socket, shaped as tokio's.
    pub type UdpSocket = rumpnet_sockets::UdpSocket<super::Kernel>;

    /// A raw IP socket.
    pub type RawSocket = rumpnet_sockets::RawSocket<super::Kernel>;

    /// An ICMP socket: echo without privilege.
    pub type IcmpSocket = rumpnet_sockets::IcmpSocket<super::Kernel>;

    /// A listening TCP socket, shaped as tokio's.
    pub type TcpListener = rumpnet_sockets::TcpListener<super::Kernel>;

    /// A TCP connection, shaped as tokio's.
    pub type TcpStream = rumpnet_sockets::TcpStream<super::Kernel>;

    /// The half of a connection that reads.
    pub type OwnedReadHalf = rumpnet_sockets::OwnedReadHalf<super::Kernel>;

    /// The half of a connection that writes.
    pub type OwnedWriteHalf = rumpnet_sockets::OwnedWriteHalf<super::Kernel>;
}

/// What is done when the server is gone and a request is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reconnect {
    /// The request fails, and every later one.
    #[default]
    Never,
    /// One try to reach a new server.
    Once,
    /// Tries for so long, with pauses that grow from 0.1 s to 10 s.
    For(Duration),
    /// Tries until there is one.
    Forever,
}

impl std::str::FromStr for Reconnect {
    type Err = String;

    /// `never`, `once`, `forever`, or a number of seconds.
    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "never" => Ok(Self::Never),
            "once" => Ok(Self::Once),
            "forever" => Ok(Self::Forever),
            word => match word.parse() {
                Ok(seconds) => Ok(Self::For(Duration::from_secs(seconds))),
                Err(_) => Err(format!("{word}: neither never, once, forever nor a number of seconds")),
            },
        }
    }
}

/// How a kernel in another process shall be reached.
#[derive(Debug)]
pub struct Builder {
    patience: Duration,
    reconnect: Reconnect,
}

impl Default for Builder {
    fn default() -> Self {
        Self { patience: PATIENCE, reconnect: Reconnect::Never }
    }
}

impl Builder {
    /// How long an answer is waited for; [`PATIENCE`] otherwise.
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// What is done when the server is gone; [`Reconnect::Never`] otherwise.
    pub const fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// Connects to the server at `url`, `unix://PATH`.
    ///
    /// EINVAL for a malformed URL, ENOENT, ECONNREFUSED, EACCES, ETIMEDOUT as [`Client::connect`].
    pub fn connect(self, url: &str) -> Result<Kernel, ControlError> {
        let malformed = |error: crate::client::AddressError| {
            ControlError::new(Operation::Server, url, Errno::Inval).with_hint(error.to_string())
        };
        let address: Address = url.parse().map_err(malformed)?;
        self.connect_to(&address)
    }

    /// Connects to the server at `address`.
    pub fn connect_to(self, address: &Address) -> Result<Kernel, ControlError> {
        let client = Client::connect(address, self.patience)?;
        let link = Link { client: Some(Arc::new(client)), epoch: 0 };
        let Self { patience, reconnect } = self;
        let shared = Shared { address: address.clone(), patience, reconnect, link: Mutex::new(link) };
        Ok(Kernel { shared: Arc::new(shared) })
    }
}

/// A kernel in another process. Clones are handles on the same conversation with its server.
///
/// A process that forks makes a conversation of its own before it asks for anything: the parent's answers would come to either. Descriptors
/// of sockets can be used by both.
#[derive(Clone)]
pub struct Kernel {
    shared: Arc<Shared>,
}

struct Shared {
    address: Address,
    patience: Duration,
    reconnect: Reconnect,
    link: Mutex<Link>,
}

/// The conversation, if there is one.
struct Link {
    client: Option<Arc<Client>>,
    /// Grows with each new conversation: sockets are of one of them.
    epoch: u64,
}

/// A socket as its server knows it.
#[derive(Clone, Copy, Debug)]
struct Place {
    epoch: u64,
    number: u64,
}

impl crate::Kernel {
    /// Reaches a kernel in another process, whose server is at `url`, `unix://PATH`: [`remote::Kernel`](Kernel).
    ///
    /// EINVAL for a malformed URL, ENOENT: there is no socket. ECONNREFUSED: nobody listens at it. EACCES: it belongs to another user.
    /// ETIMEDOUT: the server takes no connections. [`Builder`] has more to say.
    pub fn connect(url: &str) -> Result<Kernel, ControlError> {
        Kernel::builder().connect(url)
    }
}

impl Kernel {
    /// Says how to reach one.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where its server is.
    pub fn address(&self) -> &Address {
        &self.shared.address
    }

    /// Asks, and waits for the answer. Beside what the kernel refuses, errors are those of [`Client::call`].
    ///
    /// If the server is gone, the policy says whether the request is sent once more, to the next server.
    pub fn control(&self, request: Request) -> Result<Reply, ControlError> {
        self.shared.call(request).map(|(reply, _, _)| reply)
    }

    /// A new socket: its place and its descriptor.
    fn open(&self, kind: SocketKind) -> io::Result<(Place, OwnedFd)> {
        match self.shared.call(Request::Socket(SocketRequest::Open(kind))).map_err(as_io)? {
            (Reply::Socket(SocketReply::Opened { socket: number }), Some(descriptor), epoch) => {
                Ok((Place { epoch, number }, descriptor))
            }
            // A server sends the descriptor along; this process may have no room for it.
            (Reply::Socket(SocketReply::Opened { .. }), None, _) => Err(error(Errno::MFile)),
            _ => Err(error(Errno::Proto)),
        }
    }

    /// Asks about a socket of the conversation that it was made in. NotConnected if that has ended.
    fn ask(&self, place: Place, request: SocketRequest) -> io::Result<Option<SocketReply>> {
        let Some(client) = self.shared.link().client_of(place.epoch) else {
            return Err(error(Errno::NotConn));
        };
        match client.call(Request::Socket(request)) {
            Ok(Reply::Done) => Ok(None),
            Ok(Reply::Socket(reply)) => Ok(Some(reply)),
            Ok(_) => Err(error(Errno::Proto)),
            Err(refusal) => {
                if is_lost(&refusal) {
                    self.shared.link().lose(place.epoch);
                }
                Err(as_io(refusal))
            }
        }
    }

    /// The error that a socket ended with, or has.
    fn error_of(&self, place: Place) -> io::Result<Option<io::Error>> {
        match self.ask(place, SocketRequest::TakeError { socket: place.number })? {
            Some(SocketReply::Error(errno)) => Ok(errno.map(error)),
            _ => Err(error(Errno::Proto)),
        }
    }
}

impl Streams for Kernel {
    type Tcp = Tcp;
}

impl Datagrams for Kernel {
    type Udp = Datagram;
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("remote::Kernel").field(&self.shared.address.to_string()).finish()
    }
}

impl Shared {
    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and once more if the server is gone and the policy finds another.
    fn call(&self, request: Request) -> Result<(Reply, Option<OwnedFd>, u64), ControlError> {
        let (client, epoch) = self.client()?;
        match client.call_for_descriptor(request.clone()) {
            Err(error) if is_lost(&error) => {
                self.link().lose(epoch);
                if self.reconnect == Reconnect::Never {
                    return Err(error);
                }
                let (client, epoch) = self.client()?;
                client.call_for_descriptor(request).map(|(reply, descriptor)| (reply, descriptor, epoch))
            }
            answer => answer.map(|(reply, descriptor)| (reply, descriptor, epoch)),
        }
    }

    /// The conversation, begun anew if the last one has ended and the policy says so.
    fn client(&self) -> Result<(Arc<Client>, u64), ControlError> {
        let mut link = self.link();
        if let Some(client) = &link.client {
            return Ok((Arc::clone(client), link.epoch));
        }
        let client = Arc::new(self.find_server()?);
        link.epoch += 1;
        link.client = Some(Arc::clone(&client));
        Ok((client, link.epoch))
    }

    /// Tries to reach a server for as long as the policy says.
    fn find_server(&self) -> Result<Client, ControlError> {
        let patience = match self.reconnect {
            Reconnect::Never => return Err(self.gone()),
            Reconnect::Once => Some(Duration::ZERO),
            Reconnect::For(span) => Some(span),
            Reconnect::Forever => None,
        };
        let (begun, mut pause) = (Instant::now(), PAUSE_STEP);
        loop {
            let refusal = match Client::connect(&self.address, self.patience) {
                Ok(client) => return Ok(client),
                Err(refusal) => refusal,
            };
            if patience.is_some_and(|patience| begun.elapsed() + pause > patience) {
                return Err(refusal);
            }
            // A server that is started later cannot be waited for otherwise.
            thread::sleep(pause);
            pause = (pause + PAUSE_STEP).min(LONGEST_PAUSE);
        }
    }

    fn gone(&self) -> ControlError {
        let object = self.address.to_string();
        ControlError::new(Operation::Server, object, Errno::NotConn).with_hint("the server is gone")
    }
}

impl Link {
    fn client_of(&self, epoch: u64) -> Option<Arc<Client>> {
        self.client.clone().filter(|_| epoch == self.epoch)
    }

    /// The conversation has ended.
    fn lose(&mut self, epoch: u64) {
        if epoch == self.epoch {
            self.client = None;
        }
    }
}

/// Whether there is no server any more.
fn is_lost(error: &ControlError) -> bool {
    error.operation == Operation::Server
        && matches!(error.errno, Errno::ConnReset | Errno::NotConn | Errno::NoEnt | Errno::ConnRefused)
}

/// An errno as the host's.
fn error(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno::to_host(errno))
}

/// A refusal as a socket's call tells it: that the server is gone is NotConnected.
fn as_io(refusal: ControlError) -> io::Error {
    error(if is_lost(&refusal) { Errno::NotConn } else { refusal.errno })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_as_it_is_written_in_the_environment() {
        assert_eq!("never".parse(), Ok(Reconnect::Never));
        assert_eq!("once".parse(), Ok(Reconnect::Once));
        assert_eq!("forever".parse(), Ok(Reconnect::Forever));
        assert_eq!("30".parse(), Ok(Reconnect::For(Duration::from_secs(30))));
        assert!("".parse::<Reconnect>().is_err() && "-1".parse::<Reconnect>().is_err());
    }
}
