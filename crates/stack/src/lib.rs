#![no_std]
#![forbid(unsafe_code)]
//! The rump kernel itself, as one plain value: no I/O, clock, thread or log.
//!
//! A [`Stack`] is given frames ([`Stack::receive`]), requests ([`Stack::control`]), socket calls and the time; it gives
//! frames ([`Stack::next_frame`]), news ([`Stack::next_event`]) and the time when it must be called again
//! ([`Stack::next_deadline`]). The same inputs give the same outputs, byte for byte. Who runs it, a thread on a host or a
//! simulation, is not its concern.
//!
//! Layers are folders, and arrows point down: `socket` → `inet` → `link` → `rumpnet-wire`. What a layer has to say upward is a returned value.

extern crate alloc;

#[cfg(test)]
extern crate std;

pub mod bpf;
pub mod buffer;
mod capture;
mod config;
mod context;
mod control;
mod endpoint;
mod foreign;
mod inet;
mod intake;
mod journal;
mod link;
mod memory;
mod monitor;
mod numbers;
mod packet;
mod protocols;
mod random;
mod reuse;
pub mod slab;
mod socket;
pub mod time;
pub mod timer;

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use core::net::SocketAddr;

use bytes::Bytes;
use rumpnet_proto::{
    ControlError, Counter, DropReason, EchoReply, Errno, InterfaceName, Reply, Request, RouteNews,
};

pub use capture::{Captured, Direction};
pub use config::{Config, EcnMode, ReversePath};
pub use context::{Event, Notice};
pub use endpoint::{Endpoint, Readiness};
pub use inet::tcp::{
    Absent, Flow, Resets, SendMode, Shutdown, TcpInfo, TcpOption, TcpQueues, TcpSettings, Tuning, Undelivered,
};
pub use inet::{neighbor, path_mtu::MtuDiscovery, prefix};
pub use link::port::{Offloads, PortConfig};
pub use memory::MemoryLimits;
pub use packet::{LinkType, PacketOption, PacketStatistics};
pub use random::Seed;
pub use socket::{
    Datagram, ErrorOrigin, QueuedError, SendInfo, SocketId, SocketOption, SocketSettings, UdpSend,
};

use buffer::{Frame, Payload, Received};
use context::{Context, Timer};
use inet::{Delivery, Inet, tcp::Tcp};
use link::Link;
use random::Random;
use slab::Key;
use socket::Sockets;
use time::Instant;

/// Timers that one call runs, so that mass expiry holds no lock for long; what is left is due at once.
const TIMERS_AT_ONCE: u32 = 256;
/// Packets to ourselves that one call delivers, so that two sockets cannot keep a call for ever.
const LOOPED_AT_ONCE: usize = 256;

/// A network kernel.
pub struct Stack {
    cx: Context,
    link: Link,
    inet: Inet,
    tcp: Tcp,
    sockets: Sockets,
    /// Interfaces of which something is being forgotten, a slice a call.
    forgetting: VecDeque<u32>,
    /// The names of those that are gone.
    departed: BTreeMap<u32, InterfaceName>,
}

impl Stack {
    /// Boots a kernel at `now`: `lo0` is up with 127.0.0.1/8. Everything random in it comes from `seed`.
    pub fn boot(config: Config, seed: Seed, now: Instant) -> Self {
        let mut random = Random::new(seed);
        let inet = Inet::new(&config, &mut random);
        let tcp = Tcp::new(&config, &mut random);
        let sockets = Sockets::new(&config, &mut random);
        let link = Link::new(config.interfaces);
        let mut stack = Self {
            cx: Context::new(config, random, now),
            link,
            inet,
            tcp,
            sockets,
            forgetting: VecDeque::new(),
            departed: BTreeMap::new(),
        };
        stack.configure_loopback();
        stack
    }

    /// Runs what is due. To be called when [`Self::next_deadline`] has come; calling earlier does no harm.
    pub fn on_timeout(&mut self, now: Instant) {
        self.enter(now);
        let mut budget = TIMERS_AT_ONCE;
        while let Some(timer) = self.cx.timers.expired(now, &mut budget) {
            let Self { cx, link, inet, tcp, .. } = self;
            match timer {
                Timer::Connection(key) => tcp.on_timer(cx, link, inet, key),
                timer => inet.on_timer(cx, link, timer),
            }
            let unreachable = core::mem::take(&mut self.inet.unreachable);
            self.sockets.on_unreachable(&mut self.cx, unreachable);
            self.tell_undelivered();
        }
        self.leave();
    }

    /// Segments that a silent neighbour did not get.
    fn tell_undelivered(&mut self) {
        let Self { cx, link, inet, tcp, .. } = self;
        for offender in core::mem::take(&mut inet.undelivered) {
            tcp.on_undelivered(cx, link, inet, offender);
        }
    }

    /// When [`Self::on_timeout`] must be called next; it changes with every call that takes `&mut self`.
    pub fn next_deadline(&self) -> Option<Instant> {
        let unfinished = self.link.has_looped()
            || self.tcp.has_looped()
            || self.tcp.has_chores()
            || self.tcp.has_unasked(&self.cx)
            || self.inet.multicast.has_leaving()
            || !self.forgetting.is_empty();
        if unfinished { Some(self.cx.now) } else { self.cx.timers.next_deadline() }
    }

    /// A port that has frames to send; each is named once until it has been emptied with [`Self::next_frame`].
    pub fn next_ready_port(&mut self) -> Option<u32> {
        self.link.ports.next_ready()
    }

    /// The next frame for the far end of a port, within what that end can do.
    pub fn next_frame(&mut self, port: u32) -> Option<Frame> {
        let Self { cx, link, inet, tcp, .. } = self;
        let mut frame = link.ports.next_frame(cx, port);
        while frame.is_none() && tcp.send_next(cx, link, inet, port) {
            frame = link.ports.next_frame(cx, port);
        }
        if frame.is_none() {
            link.ports.set_idle(port);
        }
        if let Some(charge) = frame.as_ref().and_then(|frame| frame.charge) {
            self.sockets.on_sent(charge);
            self.sockets.announce(&mut self.cx);
        }
        frame
    }

    /// Frames that wait at a port.
    pub fn queued_frames(&self, port: u32) -> usize {
        self.link.ports.queued(port)
    }

    /// The far end of a port refused a frame.
    pub fn on_send_failed(&mut self, now: Instant, port: u32, frame: &Frame) {
        self.enter(now);
        let Some(interface) = self.link.ports.get(port).map(|port| port.interface) else { return };
        if let Some(statistics) = self.cx.statistics.interface_mut(interface) {
            statistics.counters.output_errors += 1;
        }
        // Its charge was given back when the port was pulled.
        let frame = Frame { charge: None, ..frame.clone() };
        self.cx.drop_sent(interface, DropReason::LinkSendFailed, &frame);
    }

    /// The next news for whoever runs this stack.
    pub fn next_event(&mut self) -> Option<Event> {
        let event = self.cx.events.pop_front()?;
        match event {
            Event::Socket(Endpoint::Udp(id) | Endpoint::Raw(id) | Endpoint::Icmp(id)) => {
                self.sockets.on_told(id);
            }
            Event::Socket(Endpoint::Tcp(id)) => self.tcp.on_told(id),
            Event::Notice(_) => self.cx.notices -= 1,
            _ => {}
        }
        Some(event)
    }

    /// Answers a control request.
    ///
    /// Interfaces with ports are made by [`Self::create_interface`] and removed by [`Self::destroy_interface`], since
    /// their far ends belong to the shell; so do [`Request::Kernel`], [`Request::Halt`] and [`Request::Messages`], and they are refused here with
    /// EOPNOTSUPP.
    pub fn control(&mut self, now: Instant, request: Request) -> Result<Reply, ControlError> {
        self.enter(now);
        let answer = self.answer(request);
        self.leave();
        answer
    }

    /// Counts what the shell has seen.
    pub const fn count(&mut self, counter: Counter) {
        self.cx.count(counter);
    }

    /// A counter's value.
    pub const fn counter(&self, counter: Counter) -> u64 {
        self.cx.statistics.counter(counter)
    }

    /// How many packets were dropped for a reason.
    pub const fn drops(&self, reason: DropReason) -> u64 {
        self.cx.statistics.drops(reason)
    }

    /// The limits in force.
    pub const fn config(&self) -> &Config {
        &self.cx.config
    }

    /// What the buffers of all sockets hold now, and the most that they ever held, in bytes.
    pub const fn memory(&self) -> (u64, u64) {
        (self.cx.memory.used(), self.cx.memory.peak())
    }

    /// Sockets open.
    pub const fn socket_count(&self) -> u32 {
        self.sockets.len() + self.tcp.len()
    }

    fn enter(&mut self, now: Instant) {
        self.cx.now = self.cx.now.max(now);
    }

    /// What every call ends with: packets to ourselves, timers, and news of sockets.
    fn leave(&mut self) {
        self.forget_some();
        let Self { cx, link, inet, tcp, sockets, .. } = self;
        inet.leave_some(cx, link);
        tcp.carry_on(cx, link, inet);
        for _ in 0..LOOPED_AT_ONCE {
            let Some((incoming, mut packet)) = link.next_looped(cx) else {
                if tcp.send_next_looped(cx, link, inet) {
                    continue;
                }
                break;
            };
            let delivery = inet.receive(cx, link, &incoming, &mut packet);
            Self::deliver(cx, link, inet, tcp, sockets, delivery, &mut packet);
        }
        inet.rearm(cx);
        if self.cx.monitors.are_open() {
            self.tell_changes();
        }
        let Self { cx, tcp, sockets, .. } = self;
        while let Some(charge) = cx.released.pop() {
            sockets.on_sent(charge);
        }
        sockets.announce(cx);
        tcp.announce(cx);
    }

    /// Hands what the Internet layer delivers to the transport that it is of.
    #[inline]
    fn deliver(
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        tcp: &mut Tcp,
        sockets: &mut Sockets,
        delivery: Option<Delivery>,
        packet: &mut Received,
    ) {
        // Raw sockets have their copies first, so that it is known whether anybody wanted the packet.
        let mut taken = inet.raw_copy.take().is_some_and(|copy| sockets.receive_raw(cx, inet, *copy));
        let Some(delivery) = delivery else { return };
        if let Delivery::Error { report, .. } = &delivery {
            taken |= sockets.on_raw_error(cx, report, packet);
        }
        match delivery {
            Delivery::Tcp(segment) => tcp.receive(cx, link, inet, &segment, packet),
            Delivery::Error { report, .. } if tcp.on_error(cx, link, inet, &report) => {}
            delivery => sockets.receive(cx, link, inet, delivery, packet, taken),
        }
    }
}

/// Datagram sockets: UDP, raw IP and ICMP. They differ in how they are opened, and in what their payload begins with.
impl Stack {
    /// socket(2): a UDP socket; ENFILE beyond the limit.
    pub fn udp_open(&mut self) -> Result<SocketId, Errno> {
        self.sockets.open_udp(&self.cx)
    }

    /// socket(2): a raw IP socket, which hears every packet of a protocol from now on. EPROTONOSUPPORT for protocol 0, ENFILE beyond the limit of
    /// sockets, ENOBUFS beyond that of raw ones.
    pub fn raw_open(&mut self, protocol: u8) -> Result<SocketId, Errno> {
        self.sockets.open_raw(&mut self.cx, protocol)
    }

    /// socket(2): an ICMP socket, for echo without privilege; ENFILE beyond the limit.
    pub fn icmp_open(&mut self) -> Result<SocketId, Errno> {
        self.sockets.open_icmp(&self.cx)
    }

    /// bind(2): returns the address bound. EINVAL, EADDRNOTAVAIL, EADDRINUSE, EAFNOSUPPORT. In place of a port an ICMP socket has an identifier, and a
    /// raw socket nothing.
    pub fn udp_bind(&mut self, id: SocketId, local: SocketAddr) -> Result<SocketAddr, Errno> {
        self.sockets.bind_udp(&mut self.cx, &self.inet, id, local)
    }

    /// Lets a socket hear every datagram that comes by an interface to any unicast address, ours or not, at a port, or for 0 at any; sockets
    /// bound to what a datagram is for win. It answers from whatever address it names. EINVAL if bound already, ENXIO, EADDRINUSE.
    pub fn udp_bind_any(&mut self, id: SocketId, interface: &str, port: u16) -> Result<(), Errno> {
        let index = self.link.interfaces.by_name(interface)?.index;
        self.sockets.bind_udp_any(&mut self.cx, id, index, port)
    }

    /// connect(2). EADDRNOTAVAIL, EHOSTUNREACH, ENETDOWN, EACCES (a broadcast without SO_BROADCAST).
    pub fn udp_connect(&mut self, id: SocketId, remote: SocketAddr) -> Result<(), Errno> {
        self.sockets.connect_udp(&mut self.cx, &self.link, &self.inet, id, remote)
    }

    /// connect(2) to AF_UNSPEC: the socket has no peer any more, and no address but what a bind call named.
    pub fn udp_disconnect(&mut self, id: SocketId) -> Result<(), Errno> {
        self.sockets.disconnect_udp(&mut self.cx, id)
    }

    /// shutdown(2). ENOTCONN without a peer, though it takes effect all the same, as on Linux.
    pub fn udp_shutdown(&mut self, now: Instant, id: SocketId, how: Shutdown) -> Result<(), Errno> {
        self.enter(now);
        let done = self.sockets.shut_down(id, how);
        self.leave();
        done
    }

    /// recvmsg(2) with MSG_ERRQUEUE: the next error with its cause; EAGAIN if there is none.
    pub fn udp_receive_error(&mut self, id: SocketId) -> Result<QueuedError, Errno> {
        self.sockets.receive_error(&mut self.cx, id)
    }

    /// sendmmsg(2): sends as many as there is room for and returns how many; an error only if the first failed. EAGAIN
    /// leaves a wake-up armed.
    pub fn udp_send(
        &mut self,
        now: Instant,
        id: SocketId,
        batch: impl IntoIterator<Item = UdpSend>,
    ) -> Result<usize, Errno> {
        self.enter(now);
        let Self { cx, link, inet, sockets, .. } = self;
        let sent = sockets.send_udp(cx, link, inet, id, batch.into_iter());
        self.leave();
        sent
    }

    /// recvfrom(2): one datagram, or a whole train if wanted; EAGAIN if there is none.
    pub fn udp_receive(&mut self, id: SocketId, whole_trains: bool) -> Result<Datagram, Errno> {
        self.sockets.receive_udp(&mut self.cx, id, whole_trains)
    }

    /// recvmmsg(2): up to `limit` datagrams or trains; EAGAIN if there is none.
    pub fn udp_receive_batch(
        &mut self,
        id: SocketId,
        out: &mut Vec<Datagram>,
        limit: usize,
    ) -> Result<usize, Errno> {
        self.sockets.receive_udp_batch(&mut self.cx, id, out, limit)
    }

    /// recvfrom(2) with MSG_PEEK.
    pub fn udp_peek(&self, id: SocketId) -> Result<Datagram, Errno> {
        self.sockets.peek_udp(&self.cx, id)
    }

    /// close(2).
    pub fn udp_close(&mut self, id: SocketId) -> Result<(), Errno> {
        self.inet.forget_member(id);
        self.sockets.close_udp(&mut self.cx, id)
    }

    /// getsockname(2) and getpeername(2).
    pub fn udp_addresses(&self, id: SocketId) -> Result<(Option<SocketAddr>, Option<SocketAddr>), Errno> {
        self.sockets.udp_addresses(id)
    }

    /// setsockopt(2).
    pub fn udp_set_option(&mut self, id: SocketId, option: SocketOption) -> Result<(), Errno> {
        self.sockets.set_udp_option(&mut self.cx, &self.link, id, option)
    }

    /// getsockopt(2): the options in force.
    pub fn udp_settings(&self, id: SocketId) -> Result<SocketSettings, Errno> {
        self.sockets.settings(&self.cx, id)
    }

    /// if_nametoindex(3). ENXIO for an interface that is not there.
    pub fn interface_index(&self, name: &str) -> Result<u32, Errno> {
        self.link.interfaces.by_name(name).map(|interface| interface.index)
    }

    /// getsockopt(2) of SO_ERROR: takes the pending error.
    pub fn udp_take_error(&mut self, id: SocketId) -> Result<Option<Errno>, Errno> {
        self.sockets.take_udp_error(id)
    }

    /// getsockopt(2) of IP_MTU: what the path of a connected socket carries, in bytes, as far as it is known. ENOTCONN, and what routing says.
    pub fn path_mtu(&mut self, now: Instant, endpoint: Endpoint) -> Result<u32, Errno> {
        self.enter(now);
        let Self { cx, link, inet, .. } = self;
        match endpoint {
            Endpoint::Udp(id) | Endpoint::Raw(id) | Endpoint::Icmp(id) => {
                self.sockets.udp_path_mtu(cx, link, inet, id)
            }
            Endpoint::Tcp(id) => self.tcp.path_mtu(cx, link, inet, id),
            Endpoint::Packet(_) => Err(Errno::NoProtoOpt),
        }
    }

    /// getsockopt(2) of IP_MTU_DISCOVER on a UDP socket; a TCP socket's is in [`Self::tcp_settings`].
    pub fn udp_mtu_discovery(&self, id: SocketId) -> Result<MtuDiscovery, Errno> {
        self.udp_settings(id).map(|settings| settings.mtu_discovery)
    }

    /// poll(2) on one socket.
    pub fn readiness(&self, endpoint: Endpoint) -> Readiness {
        match endpoint {
            Endpoint::Udp(id) | Endpoint::Raw(id) | Endpoint::Icmp(id) => self.sockets.readiness(id),
            Endpoint::Tcp(id) => self.tcp.readiness(id),
            Endpoint::Packet(id) => self.cx.captures.readiness(id),
        }
    }
}

/// TCP sockets. A call that would wait answers EAGAIN, and readiness is news.
impl Stack {
    /// socket(2): a TCP socket; ENFILE beyond the limit.
    pub fn tcp_open(&mut self) -> Result<SocketId, Errno> {
        self.tcp.open(&self.cx)
    }

    /// bind(2): returns the address bound. EINVAL, EADDRNOTAVAIL, EADDRINUSE, EAFNOSUPPORT.
    pub fn tcp_bind(&mut self, id: SocketId, local: SocketAddr) -> Result<SocketAddr, Errno> {
        self.tcp.bind(&mut self.cx, &self.inet, id, local)
    }

    /// listen(2): so many connections may wait to be accepted. EINVAL if connected.
    pub fn tcp_listen(&mut self, id: SocketId, backlog: u32) -> Result<(), Errno> {
        self.tcp.listen(&mut self.cx, &self.inet, id, backlog)
    }

    /// listen(2) to every connection request that comes by an interface to any address, ours or not, at a port, or for 0 at any; sockets bound to
    /// what is asked for win. So many requests may be held: [`Self::tcp_next_flow`]. EINVAL if bound already, ENXIO, EADDRINUSE.
    pub fn tcp_listen_any(
        &mut self,
        id: SocketId,
        interface: &str,
        port: u16,
        backlog: u32,
    ) -> Result<(), Errno> {
        let index = self.link.interfaces.by_name(interface)?.index;
        self.tcp.listen_any(&mut self.cx, id, index, port, backlog)
    }

    /// The next request that an any-address listener holds, unanswered: to be admitted, refused, or closed as if it had never come. EAGAIN,
    /// ENXIO if the interface is gone, EINVAL of another socket.
    pub fn tcp_next_flow(&mut self, id: SocketId) -> Result<(SocketId, Flow), Errno> {
        self.tcp.next_flow(id)
    }

    /// Answers a held request; it is a connection, writable, or in error, when its handshake is complete. ECONNABORTED if the peer took it
    /// back, ETIMEDOUT if it was held too long, EINVAL if it is not held, what routing says.
    pub fn tcp_admit(&mut self, now: Instant, flow: SocketId) -> Result<(), Errno> {
        self.in_tcp(now, |tcp, cx, link, inet| tcp.admit(cx, link, inet, flow))
    }

    /// Answers a held request with a reset; its socket is closed. Errors as those of [`Self::tcp_admit`].
    pub fn tcp_refuse(&mut self, now: Instant, flow: SocketId) -> Result<(), Errno> {
        self.in_tcp(now, |tcp, cx, link, inet| tcp.refuse(cx, link, inet, flow))
    }

    /// connect(2): begins; the socket is writable, or in error, when it is answered.
    pub fn tcp_connect(&mut self, now: Instant, id: SocketId, remote: SocketAddr) -> Result<(), Errno> {
        self.in_tcp(now, |tcp, cx, link, inet| tcp.connect(cx, link, inet, id, remote))
    }

    /// accept(2): a connection and its peer. EAGAIN, EINVAL if not listening.
    pub fn tcp_accept(&mut self, id: SocketId) -> Result<(SocketId, SocketAddr), Errno> {
        self.tcp.accept(id)
    }

    /// send(2): takes as much as there is room for and returns how much; the bytes are not copied. EAGAIN, EPIPE, ENOTCONN.
    pub fn tcp_send(&mut self, now: Instant, id: SocketId, bytes: Bytes) -> Result<usize, Errno> {
        self.tcp_send_as(now, id, bytes, SendMode::default())
    }

    /// send(2) with flags.
    pub fn tcp_send_as(
        &mut self,
        now: Instant,
        id: SocketId,
        bytes: Bytes,
        how: SendMode,
    ) -> Result<usize, Errno> {
        self.in_tcp(now, |tcp, cx, link, inet| tcp.send(cx, link, inet, id, bytes, how))
    }

    /// recv(2) with MSG_OOB, and MSG_PEEK to `keep` the byte. It never waits: EINVAL if nothing urgent was announced, if it was read, or if
    /// urgent data comes in line; EAGAIN if the byte is still on its way; none if the stream has ended before it.
    pub fn tcp_receive_urgent(&mut self, id: SocketId, keep: bool) -> Result<Option<u8>, Errno> {
        self.tcp.receive_urgent(id, keep)
    }

    /// Bytes that are to be read before the urgent one, 0 at the mark (sockatmark(3)); none without a mark. ENOTCONN.
    pub fn tcp_urgent_ahead(&self, id: SocketId) -> Result<Option<u32>, Errno> {
        self.tcp.urgent_ahead(id)
    }

    /// recv(2): up to `limit` bytes, shared; none at the end of the stream. EAGAIN, ENOTCONN.
    pub fn tcp_receive(&mut self, now: Instant, id: SocketId, limit: usize) -> Result<Payload, Errno> {
        self.in_tcp(now, |tcp, cx, link, inet| tcp.receive_data(cx, link, inet, id, limit))
    }

    /// recv(2) with MSG_PEEK.
    pub fn tcp_peek(&mut self, id: SocketId, limit: usize) -> Result<Payload, Errno> {
        self.tcp.peek_data(id, limit)
    }

    /// shutdown(2). ENOTCONN.
    pub fn tcp_shutdown(&mut self, now: Instant, id: SocketId, how: Shutdown) -> Result<(), Errno> {
        self.in_tcp(now, |tcp, cx, link, inet| tcp.shut_down(cx, link, inet, id, how))
    }

    /// How long close(2) shall wait until the peer has acknowledged everything (SO_LINGER); none if there is nothing to wait for.
    ///
    /// Whoever waits ends the stream with [`Self::tcp_shutdown`], waits for [`Readiness::delivered`], and closes then in any case.
    pub fn tcp_linger(&self, id: SocketId) -> Option<time::Duration> {
        self.tcp.linger(id)
    }

    /// close(2): what was sent still goes, and a FIN; a connection with unread data is reset.
    pub fn tcp_close(&mut self, now: Instant, id: SocketId) -> Result<(), Errno> {
        self.in_tcp(now, |tcp, cx, link, inet| tcp.close(cx, link, inet, id))
    }

    /// getsockname(2) and getpeername(2).
    pub fn tcp_addresses(&self, id: SocketId) -> Result<(Option<SocketAddr>, Option<SocketAddr>), Errno> {
        self.tcp.addresses(id)
    }

    /// setsockopt(2).
    pub fn tcp_set_option(&mut self, now: Instant, id: SocketId, option: TcpOption) -> Result<(), Errno> {
        self.in_tcp(now, |tcp, cx, link, inet| tcp.set_option(cx, link, inet, id, option))
    }

    /// getsockopt(2): the options in force.
    pub fn tcp_settings(&self, id: SocketId) -> Result<TcpSettings, Errno> {
        self.tcp.settings(&self.cx, id)
    }

    /// getsockopt(2) of SO_ERROR: takes the pending error.
    pub fn tcp_take_error(&mut self, id: SocketId) -> Result<Option<Errno>, Errno> {
        self.tcp.take_error(id)
    }

    /// getsockopt(2) of TCP_INFO. ENOTCONN.
    pub fn tcp_info(&self, id: SocketId) -> Result<TcpInfo, Errno> {
        self.tcp.info(self.cx.now, id)
    }

    /// Bytes that wait in a socket, either way.
    pub fn tcp_queues(&self, id: SocketId) -> Result<TcpQueues, Errno> {
        self.tcp.queues(id)
    }

    /// The kernel ends: nobody can connect any more, and every connection ends its stream, as shutdown(2) does, a slice of them in each call from now on.
    ///
    /// [`Event::Drained`] says when all peers have acknowledged all.
    pub fn tcp_drain(&mut self, now: Instant) {
        self.in_tcp(now, |tcp, _, _, _| tcp.drain());
    }

    /// Connections that [`Self::tcp_drain`] has still to deliver.
    pub fn tcp_undrained(&self) -> usize {
        self.tcp.undrained()
    }

    /// The kernel is over: resets a slice of all connections, notes what peers have not acknowledged, and tells whoever waits at a listener or a
    /// datagram socket with ENETDOWN; false when all have been looked at, else it is to be called
    /// again with the same progress.
    pub fn tcp_reset_some(&mut self, now: Instant, progress: &mut Resets) -> bool {
        let more = self.in_tcp(now, |tcp, cx, link, inet| tcp.reset_some(cx, link, inet, progress));
        let more = more || self.sockets.end_some(&mut progress.next_datagrams);
        if !more {
            self.cx.captures.end(&mut self.cx.events);
        }
        self.leave();
        more
    }

    fn in_tcp<R>(
        &mut self,
        now: Instant,
        call: impl FnOnce(&mut Tcp, &mut Context, &mut Link, &mut Inet) -> R,
    ) -> R {
        self.enter(now);
        let Self { cx, link, inet, tcp, .. } = self;
        let result = call(tcp, cx, link, inet);
        self.leave();
        result
    }
}

/// Echo sessions and captures, whose readers wait outside.
impl Stack {
    /// Takes what has come back on an echo session, without waiting.
    pub fn echo_receive(&mut self, echo: Key) -> Result<Vec<EchoReply>, Errno> {
        self.sockets.echo.receive(echo)
    }

    /// Moves what has happened to routes and addresses to `out`; false once the monitor is closed.
    pub fn monitor_read(&mut self, monitor: Key, out: &mut Vec<RouteNews>) -> bool {
        self.cx.monitors.read(monitor, out)
    }

    /// Moves captured packets to `out`; false once the capture is complete or closed.
    pub fn capture_read(&mut self, capture: Key, out: &mut Vec<Captured>) -> bool {
        let Context { captures, memory, config, .. } = &mut self.cx;
        captures.read(capture, out, (memory, &config.memory))
    }
}
