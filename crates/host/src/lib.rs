//! Hypercalls: what rumpnet asks of the Linux kernel under it, in plain types.
//!
//! The tap and the packet socket that carry frames, the clock, entropy, readiness, local sockets and the host's own
//! interfaces; the file that a bus is. Nothing here knows of the stack: frames are octets behind a virtio-net header. This is the only
//! crate with `unsafe`, and every block of it says why it is sound.

pub mod bus;
pub mod clock;
pub mod device;
pub mod entropy;
pub mod error;
pub mod framing;
pub mod holder;
pub mod interface;
pub mod machine;
pub mod namespace;
pub mod netlink;
pub mod packet;
pub mod process;
pub mod readiness;
pub mod tap;
pub mod terminal;
pub mod unix;

mod ioctl;
mod sockopt;

pub use device::FrameDevice;
pub use error::{HostError, IoFailure, Operation};
pub use framing::{Framing, HEADER_LEN};
pub use packet::{PacketOptions, PacketSocket};
pub use tap::{Granted, Layer, Tap, TapOptions};
