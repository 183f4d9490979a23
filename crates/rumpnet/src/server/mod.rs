//! Serves a kernel to other processes, at a UNIX SOCK_SEQPACKET socket.
//!
//! [`Server::start`] answers at a [`Listener`] until [`Server::stop`]. One thread takes connections and watches for clients and
//! readers of captures that go; each client has a thread of its own, so that a slow or dead one keeps nobody waiting. What
//! a client opened (echo sessions, captures, sockets) is closed when it goes, but for sockets whose descriptors it has passed on. Everything is
//! bounded by [`Limits`].
//!
//! *Not* here: what requests mean ([`crate::Kernel::control`]), how messages are encoded (`rumpnet_proto::codec`), and how the socket
//! is taken (`rumpnet_host::unix`).

mod lab;
mod owned;
mod session;
mod sockets;
mod stream;
mod watch;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use rumpnet_host::readiness::Poller;
pub use rumpnet_host::unix::Listener;

use crate::{Kernel, Lab, passed::Share};
use session::Session;
use watch::{LISTENER, Watched};

/// How long [`Server::stop`] lets clients finish the calls that are under way.
const FAREWELL: Duration = Duration::from_secs(2);

/// Stack of each thread. Nothing here recurses, and answers are built on the heap.
const STACK_BYTES: usize = 128 * 1024;

/// What clients may use of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Clients connected; a further one is told ENFILE.
    pub clients: usize,
    /// Calls of one client that wait in the kernel at once; a further one is refused with EAGAIN.
    pub waiting_calls: usize,
    /// Echo sessions of one client; a further one is refused with EMFILE.
    pub echo_sessions: usize,
    /// Captures and monitors of one client, and as many again that are closed and not read yet; a further one is refused with EMFILE.
    pub captures: usize,
    /// Sockets of one client; a further one is refused with EMFILE, and a connection waits for one to be closed.
    pub sockets: usize,
    /// Octets that the descriptors of one client's sockets may hold on their way, all together. What is left decides how much a new one may
    /// hold; with too little it is refused with ENOBUFS.
    pub socket_octets: usize,
    /// How long a client may leave its answers unread before it is given up.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 256,
            waiting_calls: 8,
            echo_sessions: 32,
            captures: 8,
            sockets: 1024,
            socket_octets: 256 * 1024 * 1024,
            patience: Duration::from_secs(10),
        }
    }
}

/// A kernel being served. Dropping it stops it.
pub struct Server {
    shared: Arc<Shared>,
    watch: Option<JoinHandle<()>>,
}

/// What all threads of a server use.
struct Shared {
    kernel: Kernel,
    /// The lab whose hosts clients may enter, if there is one.
    lab: Option<Arc<Lab>>,
    limits: Limits,
    clients: Mutex<Clients>,
    /// Signalled when a client has ended.
    ended: Condvar,
    poller: Poller,
}

/// The clients connected, and who is watched for going.
#[derive(Default)]
struct Clients {
    /// The last number given, to a session or a capture.
    last: u64,
    sessions: BTreeMap<u64, Arc<Session>>,
    watched: BTreeMap<u64, Watched>,
    /// The sockets of clients, also of those who have gone and passed them on.
    shares: Vec<Arc<Share>>,
    stopping: bool,
}

impl Server {
    /// Begins to answer at a socket.
    pub fn start(listener: Listener, kernel: Kernel, limits: Limits) -> io::Result<Self> {
        Self::start_with(listener, kernel, None, limits)
    }

    /// Begins to answer for a lab: at `unix://PATH#HOST` for each of its hosts, and at `unix://PATH` for `kernel`, which is on none of its
    /// buses and stands for the whole.
    pub fn start_lab(listener: Listener, kernel: Kernel, lab: Arc<Lab>, limits: Limits) -> io::Result<Self> {
        Self::start_with(listener, kernel, Some(lab), limits)
    }

    fn start_with(
        listener: Listener,
        kernel: Kernel,
        lab: Option<Arc<Lab>>,
        limits: Limits,
    ) -> io::Result<Self> {
        let poller = Poller::new()?;
        let clients = Mutex::new(Clients { last: LISTENER, ..Clients::default() });
        let shared = Arc::new(Shared { kernel, lab, limits, clients, ended: Condvar::new(), poller });
        let watched = Arc::clone(&shared);
        let watch = spawn("rump-server", move || watch::run(&watched, &listener))?;
        Ok(Self { shared, watch: Some(watch) })
    }

    /// Stops: the socket is removed, calls under way are answered, then clients are cut off.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(watch) = self.watch.take() else { return };
        self.shared.clients().stopping = true;
        self.shared.poller.wake();
        // It panics on nothing that a client does; if it did, there is nothing left to stop.
        let _ended = watch.join();
        self.shared.dismiss_clients();
        let shares = std::mem::take(&mut self.shared.clients().shares);
        shares.iter().for_each(|share| share.close_all());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the clients finish what is under way, then cuts them off.
    fn dismiss_clients(&self) {
        for session in self.sessions() {
            session.close_all(self);
            session.hang_up_after_this_call();
        }
        let waited =
            self.ended.wait_timeout_while(self.clients(), FAREWELL, |clients| !clients.sessions.is_empty());
        // With it the lock is given back.
        drop(waited);
        self.sessions().iter().for_each(|session| session.hang_up());
    }

    fn sessions(&self) -> Vec<Arc<Session>> {
        self.clients().sessions.values().cloned().collect()
    }

    /// A client has ended by itself or was given up.
    fn forget(&self, number: u64) {
        self.clients().sessions.remove(&number);
        self.ended.notify_all();
    }
}

/// Starts a thread with a small stack; EAGAIN if the host has no more.
fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(body)
}
