#![no_std]
#![forbid(unsafe_code)]
//! The vocabulary of control: what the tools can ask of a kernel, and what it answers.
//!
//! [`Request`] and [`Reply`] are the same values for a call in process and for one that crosses a UNIX socket
//! ([`codec`]). [`Errno`] carries NetBSD's names and texts; [`counters`] names every statistic and every reason for a
//! dropped packet. There is no state and no I/O here.

extern crate alloc;

pub mod codec;
pub mod counters;
mod errno;
mod group;
mod interface;
mod monitor;
mod name;
mod nearest;
mod neighbor;
pub mod passed;
mod request;
mod route;
mod socket;
pub mod sysctl;
pub mod topology;

pub use counters::{Counter, DropReason};
pub use errno::Errno;
pub use group::{
    FilterMode, GroupChange, GroupInterface, GroupReport, Membership, MulticastOption, MulticastSettings,
    SourceFilter,
};
pub use interface::{
    AddressFlags, AddressReport, BusReport, Capabilities, InterfaceCounters, InterfaceFlags, InterfaceReport,
    LinkKind, LinkState, Media,
};
pub use monitor::{Change, LinkName, RouteEvent, RouteNews};
pub use name::{CloneName, InterfaceName};
pub use nearest::nearest;
pub use neighbor::{NeighborReport, NeighborState};
pub use request::{
    AddressChange, CaptureOptions, ControlError, CreateOptions, EchoData, EchoOptions, EchoOutcome,
    EchoReply, KernelInfo, Message, NeighborChange, Operation, Probe, Reply, Request, Severity,
};
pub use route::{NextHop, RouteAttributes, RouteKind, RouteOrigin, RouteReport};
pub use socket::{ConnectionReport, SocketReport, TcpState, TrafficReport, Transport};
