#![forbid(unsafe_code)]
//! A network kernel in this process, joined to the host's network by taps.
//!
//! [`Kernel::boot`] boots one, [`Kernel::create`] gives it `virt<n>` on the host's `tap<n>`, and [`UdpSocket`] is a socket of it.
//! [`link`] has the far sides: a tap, a channel whose other end is this program, or a [`link::Link`] of one's own.
//!
//! Start with `kernel`; `shared` has the one way into a stack, `reactor` the loop that reads links and runs timers.

mod appetite;
mod capture;
pub mod client;
mod clock;
mod closing;
mod control;
mod errno;
mod host_end;
mod identity;
mod kernel;
pub mod link;
mod log;
mod net;
mod pool;
mod port;
mod reactor;
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
pub use pool::{Buffer, Pool};
pub use reactor::Doorbell;
pub use rumpnet_proto::{self as proto, ControlError, Errno};
pub use rumpnet_sockets::{Interest, Meta, ToSocketAddrs, Train};
pub use rumpnet_stack::{Captured, Config, Direction, Offloads, Seed, SocketOption, buffer, time};
pub use rumpnet_wire as wire;

/// A UDP socket for threads, shaped as [`std::net::UdpSocket`].
pub type UdpSocket = rumpnet_sockets::blocking::UdpSocket<Kernel>;

/// Sockets for async code, on any runtime.
pub mod future {
    /// A UDP socket, shaped as tokio's.
    pub type UdpSocket = rumpnet_sockets::UdpSocket<crate::Kernel>;
}
