#![forbid(unsafe_code)]
//! A world of stacks joined by cables, in virtual time: protocols and programs are tested here, without privilege and without
//! waiting.
//!
//! A [`World`] has [`Host`]s, each a whole kernel, whose [`Interface`]s are joined by [`Cable`]s with faults of every kind
//! ([`Conditions`], [rules](Cable::rule), cuts). User code runs on hosts as async tasks ([`Host::spawn`]) with [`sleep`],
//! [`timeout`] and [sockets](future::UdpSocket); a [`Stranger`] speaks raw frames from outside. Everything random follows from the seed, and [`scenario()`]
//! proves it by running a test twice.
//!
//! ```
//! use std::time::Duration;
//! use rumpnet_sim::{future, scenario};
//!
//! scenario(|world| {
//!     let (a, b) = (world.host("a"), world.host("b"));
//!     let cable = world.cable().set(|conditions| conditions.latency = Duration::from_millis(5));
//!     cable.connect(&a.interface("virt0").address("10.0.0.1/24"));
//!     cable.connect(&b.interface("virt0").address("10.0.0.2/24"));
//!     let server = future::UdpSocket::bind(&b, "10.0.0.2:7").unwrap();
//!     let client = future::UdpSocket::bind(&a, "10.0.0.1:0").unwrap();
//!     a.spawn(async move { client.send_to(b"hello", "10.0.0.2:7").await });
//!     let heard = b.block_on(async move { server.recv_from(&mut [0; 16]).await.unwrap().0 });
//!     assert_eq!(heard, 5);
//! });
//! ```
//!
//! Not here: the real clock, threads, an async runtime, and hash order.

mod cable;
mod conditions;
mod control;
mod core;
mod host;
mod interface;
mod lab;
mod queue;
mod random;
mod recording;
mod scenario;
mod shared;
mod stranger;
mod task;
mod tool;
mod trace;
mod world;

pub use cable::{Cable, CableCounters, LooseCable, Passing, RuleHandle, Verdict};
pub use conditions::Conditions;
pub use host::{
    Flow, FlowListener, Host, IcmpSocket, PacketSocket, RawSocket, TcpListener, TcpSocket, TcpStream,
    UdpSocket, future,
};
pub use interface::Interface;
pub use lab::{Judged, Lab};
pub use scenario::{assert_deterministic, scenario};
pub use stranger::{Heard, Stranger};
pub use task::{Elapsed, JoinHandle, Sleep, now, sleep, timeout};
pub use tool::{Running, Said};
pub use world::World;

pub use rumpnet_proto as proto;
pub use rumpnet_sockets::{Meta, Named, ToSocketAddrs, Train};
pub use rumpnet_stack::{
    Absent, Captured, Config, Direction, ErrorOrigin, LinkType, MemoryLimits, MtuDiscovery, Offloads,
    PacketOption, PacketStatistics, QueuedError, SendInfo, SocketOption, SocketSettings, TcpInfo, TcpOption,
    TcpSettings, Tuning, bpf, buffer,
};
pub use rumpnet_tools::topology;
pub use rumpnet_wire as wire;

/// The guide's examples, so that they stay true.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/simulation.md")]
struct Guide;
