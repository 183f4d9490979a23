//! What datagram sockets are made of in each world: calls that never wait, and news of when they would not. What TCP sockets are made of is in
//! `tcp::handle`.
//!
//! A world whose callers reach a stack ([`Net`]) has its own ([`crate::core`]); one that reaches a kernel in another process brings another
//! (docs/adr/0018).

use std::{
    io,
    net::{Ipv4Addr, Shutdown, SocketAddr},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
pub use rumpnet_proto::passed::SocketKind;
use rumpnet_proto::{Errno, GroupChange, GroupInterface, MulticastOption, MulticastSettings, SourceFilter};
use rumpnet_stack::{QueuedError, SendInfo, SocketOption, SocketSettings};

use crate::{Interest, Meta, Net, ToSocketAddrs, Train, Wait, core::Udp};

/// A world that has datagram sockets; clones are the same world.
pub trait Datagrams: Clone + 'static {
    /// A datagram socket of it, of any kind.
    type Udp: DatagramHandle<World = Self>;
}

/// [`Datagrams`] whose callers may wait in place.
pub trait WaitDatagrams: Datagrams<Udp: DatagramWait> {}

impl<D: Datagrams<Udp: DatagramWait>> WaitDatagrams for D {}

impl<N: Net> Datagrams for N {
    type Udp = Udp<N>;
}

/// A datagram socket of any kind, closed when it is dropped. No call waits: one that would answers WouldBlock.
pub trait DatagramHandle: Sized + 'static {
    /// Where it is.
    type World;

    /// An errno as this world's error.
    fn error(errno: Errno) -> io::Error;
    /// socket(2) of any kind but a stream.
    fn open(world: &Self::World, kind: SocketKind) -> io::Result<Self>;
    /// bind(2).
    fn bind_to(&self, local: SocketAddr) -> io::Result<()>;
    /// Hears every datagram that comes by an interface, at a port or at any.
    fn bind_any_to(&self, interface: &str, port: u16) -> io::Result<()>;
    /// SO_BINDTODEVICE.
    fn bind_device(&self, interface: Option<&str>) -> io::Result<()>;
    /// connect(2).
    fn connect_to(&self, remote: SocketAddr) -> io::Result<()>;
    /// connect(2) to AF_UNSPEC.
    fn disconnect(&self) -> io::Result<()>;
    /// shutdown(2).
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
    /// sendmsg(2).
    fn send_info(&self, payload: &[u8], to: Option<SocketAddr>, info: SendInfo) -> io::Result<usize>;
    /// Sends as if from `from`.
    fn send_from(&self, payload: &[u8], from: SocketAddr, to: SocketAddr) -> io::Result<usize>;
    /// UDP_SEGMENT.
    fn send_train(&self, payload: Bytes, segment: u16, to: Option<SocketAddr>) -> io::Result<()>;
    /// sendmmsg(2).
    fn send_batch(&self, payloads: &[&[u8]], to: Option<SocketAddr>) -> io::Result<usize>;
    /// recvmsg(2).
    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Meta)>;
    /// recvmsg(2) with MSG_PEEK.
    fn peek(&self, buffer: &mut [u8]) -> io::Result<(usize, Meta)>;
    /// recvmsg(2) with UDP_GRO: bytes, bytes of each datagram but the last, and what is known.
    fn receive_train(&self, buffer: &mut [u8]) -> io::Result<(usize, usize, Meta)>;
    /// Up to `limit` trains.
    fn receive_trains(&self, out: &mut Vec<Train>, limit: usize) -> io::Result<usize>;
    /// recvmsg(2) with MSG_ERRQUEUE.
    fn receive_error(&self) -> io::Result<QueuedError>;
    /// getsockname(2).
    fn local_addr(&self) -> io::Result<SocketAddr>;
    /// getpeername(2).
    fn peer_addr(&self) -> io::Result<SocketAddr>;
    /// setsockopt(2).
    fn set_option(&self, option: SocketOption) -> io::Result<()>;
    /// getsockopt(2).
    fn settings(&self) -> io::Result<SocketSettings>;
    /// Joins or leaves a group, or changes whose packets to it are wanted.
    fn change_group(&self, change: &GroupChange) -> io::Result<()>;
    /// IP_MSFILTER.
    fn group_filter(&self, group: Ipv4Addr, interface: GroupInterface) -> io::Result<SourceFilter>;
    /// How packets to groups are sent and heard.
    fn set_multicast_option(&self, option: MulticastOption) -> io::Result<()>;
    /// The same, as it is.
    fn multicast_settings(&self) -> io::Result<MulticastSettings>;
    /// IP_MTU.
    fn path_mtu(&self) -> io::Result<u32>;
    /// SO_ERROR.
    fn take_error(&self) -> io::Result<Option<io::Error>>;
    /// Whether a call would not wait.
    fn is_ready(&self, interest: Interest) -> bool;
    /// Calls `waker` once, as soon as that may have changed.
    fn register(&self, interest: Interest, waker: &Waker);

    /// socket(2) and bind(2) of UDP.
    fn bind(world: &Self::World, local: impl ToSocketAddrs) -> io::Result<Self> {
        Self::bind_with(world, local, &[])
    }

    /// The same with options that must be set before.
    fn bind_with(
        world: &Self::World,
        local: impl ToSocketAddrs,
        options: &[SocketOption],
    ) -> io::Result<Self> {
        let local = local.to_socket_addr()?;
        let socket = Self::open(world, SocketKind::Datagram)?;
        options.iter().try_for_each(|option| socket.set_option(*option))?;
        socket.bind_to(local)?;
        Ok(socket)
    }

    /// socket(2) of UDP, bound to an interface.
    fn bind_any(world: &Self::World, interface: &str, port: u16) -> io::Result<Self> {
        let socket = Self::open(world, SocketKind::Datagram)?;
        socket.bind_any_to(interface, port)?;
        Ok(socket)
    }

    /// connect(2).
    fn connect(&self, remote: impl ToSocketAddrs) -> io::Result<()> {
        self.connect_to(remote.to_socket_addr()?)
    }

    /// sendto(2).
    fn send(&self, payload: &[u8], to: Option<SocketAddr>) -> io::Result<usize> {
        self.send_info(payload, to, SendInfo::default())
    }

    /// Calls once, and once more after registering if it would block, since readiness may come in between.
    fn poll_when<R>(
        &self,
        cx: &Context<'_>,
        interest: Interest,
        mut call: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
        self.register(interest, cx.waker());
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            result => Poll::Ready(result),
        }
    }
}

/// A [`DatagramHandle`] whose callers may wait in place.
pub trait DatagramWait: DatagramHandle {
    /// Waits until a call may not wait any more; TimedOut after `patience`.
    fn wait(&self, interest: Interest, patience: Option<Duration>) -> io::Result<()>;
}

impl<N: Wait> DatagramWait for Udp<N> {
    fn wait(&self, interest: Interest, patience: Option<Duration>) -> io::Result<()> {
        crate::blocking::wait(self.net(), self.endpoint(), interest, patience)
    }
}
