#![forbid(unsafe_code)]
//! A network kernel in this process, joined to the host's network by taps.
//!
//! [`Kernel::boot`] boots one, [`Kernel::create`] gives it `virt<n>` on the host's `tap<n>`, and [`TcpListener`], [`TcpStream`] and
//! [`UdpSocket`] are sockets of it.
//! [`link`] has the far sides: a tap, a channel whose other end is this program, or a [`link::Link`] of one's own.
//!
//! Start with `kernel`; `shared` has the one way into a stack, `reactor` the loop that reads links and runs timers.

mod appetite;
mod capture;
pub mod client;
mod clock;
mod closing;
mod control;
mod deference;
mod drain;
mod errno;
mod host_end;
mod identity;
mod kernel;
mod lab;
pub mod link;
mod log;
mod monitor;
mod net;
mod passed;
mod pcapng;
mod pool;
mod port;
mod reactor;
pub mod remote;
mod seat;
pub mod server;
mod shared;
#[cfg(feature = "tokio")]
pub mod tokio;
mod typed;
mod wait;
mod watch;

pub use bytes::Bytes;
pub use capture::Capture;
pub use kernel::{Builder, Kernel};
pub use lab::{Lab, LabError};
pub use monitor::Monitor;
pub use pool::{Buffer, Pool};
pub use reactor::Doorbell;
pub use rumpnet_proto::{self as proto, ControlError, Errno};
pub use rumpnet_sockets::{Interest, Meta, Named, ToSocketAddrs, Train};
pub use rumpnet_stack::{
    Absent, Captured, Config, Direction, ErrorOrigin, LinkType, MtuDiscovery, Offloads, PacketOption,
    PacketStatistics, QueuedError, Seed, SendInfo, SocketOption, SocketSettings, TcpInfo, TcpOption,
    TcpSettings, Tuning, Undelivered, bpf, buffer, time,
};
pub use rumpnet_wire as wire;

/// A UDP socket for threads, shaped as [`std::net::UdpSocket`].
pub type UdpSocket = rumpnet_sockets::blocking::UdpSocket<Kernel>;

/// A raw IP socket for threads: every packet of a protocol, with its IP header.
pub type RawSocket = rumpnet_sockets::blocking::RawSocket<Kernel>;

/// An ICMP socket for threads: echo without privilege.
pub type IcmpSocket = rumpnet_sockets::blocking::IcmpSocket<Kernel>;

/// A packet socket for threads: what passes an interface, and frames put on its link.
pub type PacketSocket = rumpnet_sockets::blocking::PacketSocket<Kernel>;

/// A listening TCP socket for threads, shaped as [`std::net::TcpListener`].
pub type TcpListener = rumpnet_sockets::blocking::TcpListener<Kernel>;

/// A TCP connection for threads, shaped as [`std::net::TcpStream`].
pub type TcpStream = rumpnet_sockets::blocking::TcpStream<Kernel>;

/// A TCP socket that is neither listening nor connected yet, to be given options first.
pub type TcpSocket = rumpnet_sockets::TcpSocket<Kernel>;

/// A TCP socket for threads that hears connection requests to any address.
pub type FlowListener = rumpnet_sockets::blocking::FlowListener<Kernel>;

/// A connection request to whatever address, held until the program decides.
pub type Flow = rumpnet_sockets::Flow<Kernel>;

/// Sockets for async code, on any runtime.
pub mod future {
    /// A TCP socket that hears connection requests to any address.
    pub type FlowListener = rumpnet_sockets::FlowListener<crate::Kernel>;

    /// A listening TCP socket, shaped as tokio's.
    pub type TcpListener = rumpnet_sockets::TcpListener<crate::Kernel>;

    /// A TCP connection, shaped as tokio's.
    pub type TcpStream = rumpnet_sockets::TcpStream<crate::Kernel>;

    /// The half of a connection that reads.
    pub type OwnedReadHalf = rumpnet_sockets::OwnedReadHalf<crate::Kernel>;

    /// The half of a connection that writes.
    pub type OwnedWriteHalf = rumpnet_sockets::OwnedWriteHalf<crate::Kernel>;

    /// A packet socket.
    pub type PacketSocket = rumpnet_sockets::PacketSocket<crate::Kernel>;

    /// A raw IP socket.
    pub type RawSocket = rumpnet_sockets::RawSocket<crate::Kernel>;

    /// An ICMP socket: echo without privilege.
    pub type IcmpSocket = rumpnet_sockets::IcmpSocket<crate::Kernel>;

    /// A UDP socket, shaped as tokio's.
    pub type UdpSocket = rumpnet_sockets::UdpSocket<crate::Kernel>;
}
