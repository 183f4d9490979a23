#![forbid(unsafe_code)]
//! Socket types over whatever runs a stack: a reactor on a host, or a simulation in virtual time.
//!
//! [`Net`] is the handle: it enters the stack and keeps wakers. [`UdpSocket`], [`RawSocket`], [`IcmpSocket`], [`TcpListener`] and [`TcpStream`] are async
//! and have the shape of tokio's; those in [`blocking`] have the shape of `std`'s. `rumpnet` and `rumpnet-sim` name their instances of them, so that a
//! program generic over [`Net`] runs in both worlds. There is no runtime, thread or operating system here.

mod addresses;
mod block;
#[macro_use]
mod calls;
#[macro_use]
mod groups;
#[macro_use]
mod packet;
pub mod blocking;
mod core;
mod datagram;
mod debug;
mod handle;
mod ip;
mod tcp;
mod udp;
mod wakers;

use std::{io, task::Waker, time::Duration};

use rumpnet_proto::Errno;
use rumpnet_stack::{Endpoint, Stack, time::Instant};

pub use addresses::ToSocketAddrs;
pub use block::Block;
pub use datagram::{Meta, Train};
pub use groups::Named;
pub use handle::{DatagramHandle, DatagramWait, Datagrams, SocketKind, WaitDatagrams};
pub use ip::{IcmpSocket, RawSocket};
pub use packet::PacketSocket;
pub use tcp::handle::{Streams, TcpHandle, TcpWait, WaitStreams};
pub use tcp::{
    Flow, FlowListener, OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, TcpListener, TcpSocket,
    TcpStream, WriteHalf,
};
pub use udp::UdpSocket;
pub use wakers::{Interest, Wakers};

/// A handle on a running stack; clones are handles on the same one.
pub trait Net: Clone + 'static {
    /// Enters the stack. What the call caused has left by ports, and wakers have been called, before or soon after it returns.
    fn enter<R>(&self, call: impl FnOnce(&mut Stack, Instant) -> R) -> R;

    /// Calls `waker` once, as soon as the socket's readiness may have changed in the way asked for.
    fn register(&self, socket: Endpoint, interest: Interest, waker: &Waker);

    /// The socket is closed: whoever waits for it is woken, and its wakers are forgotten.
    fn forget(&self, socket: Endpoint);

    /// A socket whose closing waits (SO_LINGER) is being closed: returns when its peer has acknowledged everything, or after `patience`.
    ///
    /// A world in which nobody waits in place returns at once, and the rest is sent in the background.
    fn linger(&self, _socket: Endpoint, _patience: Duration) {}

    /// An errno as this world's `io::Error`.
    fn error(errno: Errno) -> io::Error {
        io::Error::new(kind_of(errno), errno.text())
    }
}

/// A [`Net`] whose callers may wait in place.
pub trait Wait: Net {
    /// Waits until the socket's readiness may have changed in the way asked for since `ready` last said no.
    ///
    /// Returns when `ready` says yes; TimedOut after `patience`.
    fn wait(
        &self,
        socket: Endpoint,
        interest: Interest,
        patience: Option<Duration>,
        ready: &mut dyn FnMut() -> bool,
    ) -> io::Result<()>;
}

/// What [`Net::linger`] is where callers may wait in place.
pub fn linger<N: Wait>(net: &N, socket: Endpoint, patience: Duration) {
    // Whether all is delivered or patience has ended: the socket is closed now.
    let _either = blocking::wait(net, socket, Interest::Delivered, Some(patience));
}

/// The stack's word for a direction of shutdown(2).
const fn shutdown_of(how: std::net::Shutdown) -> rumpnet_stack::Shutdown {
    match how {
        std::net::Shutdown::Read => rumpnet_stack::Shutdown::Read,
        std::net::Shutdown::Write => rumpnet_stack::Shutdown::Write,
        std::net::Shutdown::Both => rumpnet_stack::Shutdown::Both,
    }
}

/// The kind of error that `std` gives for an errno.
pub const fn kind_of(errno: Errno) -> io::ErrorKind {
    use io::ErrorKind as Kind;
    match errno {
        Errno::Perm | Errno::Acces => Kind::PermissionDenied,
        Errno::NoEnt => Kind::NotFound,
        Errno::Intr => Kind::Interrupted,
        Errno::TooBig => Kind::ArgumentListTooLong,
        Errno::NoMem => Kind::OutOfMemory,
        Errno::Busy => Kind::ResourceBusy,
        Errno::Exist => Kind::AlreadyExists,
        Errno::Inval => Kind::InvalidInput,
        Errno::NoSpc => Kind::StorageFull,
        Errno::Pipe => Kind::BrokenPipe,
        Errno::Again => Kind::WouldBlock,
        Errno::AddrInUse => Kind::AddrInUse,
        Errno::AddrNotAvail => Kind::AddrNotAvailable,
        Errno::NetDown => Kind::NetworkDown,
        Errno::NetUnreach => Kind::NetworkUnreachable,
        Errno::ConnAborted => Kind::ConnectionAborted,
        Errno::ConnReset => Kind::ConnectionReset,
        Errno::NotConn => Kind::NotConnected,
        Errno::TimedOut => Kind::TimedOut,
        Errno::ConnRefused => Kind::ConnectionRefused,
        Errno::HostUnreach => Kind::HostUnreachable,
        Errno::NoSys | Errno::OpNotSupp => Kind::Unsupported,
        _ => Kind::Other,
    }
}
