//! Hosts: a stack with a name, user code on it, and what can be asked of it.

use std::{fmt, future::Future, io, rc::Rc, task::Waker, time::Duration};

use rumpnet_proto::{ControlError, Counter, DropReason, Message, Reply, Request};
use rumpnet_sockets::{Interest, Net, Wait};
use rumpnet_stack::{Endpoint, Stack, time::Instant};

use crate::{Interface, JoinHandle, shared::Shared, task};

/// A host of a [`World`](crate::World). Clones are the same host.
#[derive(Clone)]
pub struct Host {
    pub(crate) shared: Rc<Shared>,
    pub(crate) number: usize,
}

impl Host {
    /// Its name.
    pub fn name(&self) -> Rc<str> {
        self.shared.with(|core| Rc::clone(&core.hosts[self.number].name))
    }

    /// The interface of that name; one that is new is made now, with nothing plugged in. `virt<n>` is Ethernet, `tun<n>` plain IP, and
    /// `bus<n>` is Ethernet once it has a link string.
    ///
    /// # Panics
    ///
    /// If no such interface can be made.
    pub fn interface(&self, name: &str) -> Interface {
        Interface::of(self, name)
    }

    /// Starts a task on this host. It runs when the world does, and a panic in it fails the test with host and time.
    pub fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        self.shared.tasks.spawn(self.name(), future)
    }

    /// Runs the world until a future on this host is ready, and returns what it came to.
    ///
    /// # Panics
    ///
    /// As [`World::block_on`](crate::World::block_on).
    pub fn block_on<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> T {
        crate::world::block_on(&self.shared, self.name(), future)
    }

    /// A counter of its kernel.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.shared.with(|core| core.hosts[self.number].stack.counter(counter))
    }

    /// Packets that its kernel has dropped for a reason.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.shared.with(|core| core.hosts[self.number].stack.drops(reason))
    }

    /// Packets that its kernel has dropped for any reason.
    pub fn all_drops(&self) -> Vec<(DropReason, u64)> {
        let drops = DropReason::ALL.iter().map(|reason| (*reason, self.drops(*reason)));
        drops.filter(|(_, count)| *count > 0).collect()
    }

    /// Reads, and if `value` is given sets, a sysctl(7) variable; returns what it was.
    pub fn sysctl(&self, name: &str, value: Option<i64>) -> Result<i64, ControlError> {
        match self.control(Request::Sysctl { name: name.to_owned(), value })? {
            Reply::Value(before) => Ok(before),
            other => unreachable!("a variable is answered with a value, not {other:?}"),
        }
    }

    /// What its kernel has reported, as dmesg shows it: the latest 1,024 messages.
    pub fn messages(&self) -> Vec<Message> {
        self.shared.with(|core| core.hosts[self.number].messages.iter().cloned().collect())
    }

    /// Asks its kernel something. Nothing is waited for: echo replies that have not come are not in the answer.
    pub fn control(&self, request: Request) -> Result<Reply, ControlError> {
        crate::control::answer(self, request)
    }

    /// Calls the stack itself, for what has no other way.
    pub fn stack<R>(&self, call: impl FnOnce(&mut Stack, Instant) -> R) -> R {
        self.shared.with(|core| core.call(self.number, call))
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Host").field(&self.name()).finish()
    }
}

impl Net for Host {
    fn enter<R>(&self, call: impl FnOnce(&mut Stack, Instant) -> R) -> R {
        self.stack(call)
    }

    fn register(&self, socket: Endpoint, interest: Interest, waker: &Waker) {
        self.shared.with(|core| core.hosts[self.number].sockets.register(socket, interest, waker));
    }

    fn forget(&self, socket: Endpoint) {
        self.shared.with(|core| core.forget_socket(self.number, socket));
    }

    fn linger(&self, socket: Endpoint, patience: Duration) {
        rumpnet_sockets::linger(self, socket, patience);
    }
}

impl Wait for Host {
    /// Runs the world meanwhile, which only the test itself can do: inside a task, use the async sockets.
    fn wait(
        &self,
        _socket: Endpoint,
        _interest: Interest,
        patience: Option<Duration>,
        ready: &mut dyn FnMut() -> bool,
    ) -> io::Result<()> {
        if task::is_inside() {
            return Err(io::Error::other("a blocking call inside a task would stop the world"));
        }
        let limit = patience.map_or(Instant::MAX, |span| self.shared.now() + span.into());
        if self.shared.drive(limit, ready) {
            return Ok(());
        }
        if patience.is_none() {
            return Err(io::Error::other("nothing is left to happen, and the socket is still not ready"));
        }
        self.shared.advance_to(limit);
        Err(io::ErrorKind::TimedOut.into())
    }
}

/// A UDP socket on a [`Host`] for the test itself, as `rumpnet::UdpSocket` is one on a kernel: while it waits, the world runs.
pub type UdpSocket = rumpnet_sockets::blocking::UdpSocket<Host>;

/// A raw IP socket on a [`Host`] for the test itself.
pub type RawSocket = rumpnet_sockets::blocking::RawSocket<Host>;

/// An ICMP socket on a [`Host`] for the test itself.
pub type IcmpSocket = rumpnet_sockets::blocking::IcmpSocket<Host>;

/// A packet socket on a [`Host`] for the test itself.
pub type PacketSocket = rumpnet_sockets::blocking::PacketSocket<Host>;

/// A listening TCP socket on a [`Host`] for the test itself.
pub type TcpListener = rumpnet_sockets::blocking::TcpListener<Host>;

/// A TCP connection on a [`Host`] for the test itself.
pub type TcpStream = rumpnet_sockets::blocking::TcpStream<Host>;

/// A TCP socket on a [`Host`] that is neither listening nor connected yet, to be given options first.
pub type TcpSocket = rumpnet_sockets::TcpSocket<Host>;

/// A TCP socket for threads that hears connection requests to any address.
pub type FlowListener = rumpnet_sockets::blocking::FlowListener<Host>;

/// A connection request to whatever address, held until the program decides.
pub type Flow = rumpnet_sockets::Flow<Host>;

/// Sockets for tasks.
pub mod future {
    /// A TCP socket that hears connection requests to any address.
    pub type FlowListener = rumpnet_sockets::FlowListener<crate::Host>;

    /// A listening TCP socket on a host for async code.
    pub type TcpListener = rumpnet_sockets::TcpListener<crate::Host>;

    /// A TCP connection on a host for async code.
    pub type TcpStream = rumpnet_sockets::TcpStream<crate::Host>;

    /// The half of a connection that reads.
    pub type OwnedReadHalf = rumpnet_sockets::OwnedReadHalf<crate::Host>;

    /// The half of a connection that writes.
    pub type OwnedWriteHalf = rumpnet_sockets::OwnedWriteHalf<crate::Host>;

    /// A packet socket on a host for async code.
    pub type PacketSocket = rumpnet_sockets::PacketSocket<crate::Host>;

    /// A raw IP socket on a host for async code.
    pub type RawSocket = rumpnet_sockets::RawSocket<crate::Host>;

    /// An ICMP socket on a host for async code.
    pub type IcmpSocket = rumpnet_sockets::IcmpSocket<crate::Host>;

    /// A UDP socket on a host for async code, as `rumpnet::future::UdpSocket` is one on a kernel.
    pub type UdpSocket = rumpnet_sockets::UdpSocket<crate::Host>;
}
