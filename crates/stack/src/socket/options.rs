//! Options of datagram sockets: what setsockopt(2) sets and getsockopt(2) tells.
//!
//! What a kind of socket does not have answers ENOPROTOOPT; a value that cannot be, EINVAL.

use rumpnet_proto::Errno;
use rumpnet_wire::ip::Protocol;
use serde::{Deserialize, Serialize};

use super::{
    SocketId, Sockets,
    datagram::{Kind, Raw, Socket},
    errors::ErrorQueue,
};
use crate::{context::Context, inet::path_mtu::MtuDiscovery, link::Link};

/// An option of a datagram socket, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketOption {
    /// SO_BROADCAST: whether broadcasts may be sent.
    Broadcast(bool),
    /// IP_TTL: time to live of what is sent, 1..=255.
    Ttl(u8),
    /// IP_TOS: type of service of what is sent.
    Tos(u8),
    /// SO_RCVBUF: memory that received datagrams may pin, in bytes; what is beyond its range is brought into it.
    ReceiveBuffer(u32),
    /// SO_SNDBUF: payload that may wait to be sent, in bytes; what is beyond its range is brought into it.
    SendBuffer(u32),
    /// SO_BINDANY, IP_TRANSPARENT: whether it may be bound to an address that is not ours; before it is bound.
    BindAny(bool),
    /// IP_MTU_DISCOVER; `Want` unless it is set, or `Dont` where nobody looks for the MTU of paths (net.inet.ip.mtudisc=0).
    MtuDiscovery(MtuDiscovery),
    /// SO_REUSEADDR: whether others that say so too may be bound where it is; of those at one address the last hears.
    ReuseAddress(bool),
    /// SO_REUSEPORT: whether others that say so too may be bound where it is, and share what comes by the hash of the flow.
    ReusePort(bool),
    /// SO_DONTROUTE: whether only what is on a link of ours is reached.
    DontRoute(bool),
    /// SO_BINDTODEVICE: the index of the one interface that it speaks and hears by, 0 for all. ENODEV if there is none such.
    Interface(u32),
    /// IP_RECVERR: whether errors are kept with their causes, and told to a socket without a peer too.
    ReceiveErrors(bool),
    /// IP_HDRINCL: whether what is sent begins with its IP header; of raw sockets.
    HeaderIncluded(bool),
    /// ICMP_FILTER: the types below 32 that are not received, a bit each; of raw sockets of ICMP, EOPNOTSUPP of other raw ones.
    IcmpFilter(u32),
}

/// The options of a datagram socket as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketSettings {
    /// [`SocketOption::Broadcast`].
    pub broadcast: bool,
    /// [`SocketOption::Ttl`], or the kernel's.
    pub ttl: u8,
    /// [`SocketOption::Tos`].
    pub tos: u8,
    /// [`SocketOption::ReceiveBuffer`].
    pub receive_buffer: u32,
    /// [`SocketOption::SendBuffer`].
    pub send_buffer: u32,
    /// [`SocketOption::BindAny`].
    pub bind_any: bool,
    /// [`SocketOption::MtuDiscovery`].
    pub mtu_discovery: MtuDiscovery,
    /// [`SocketOption::ReuseAddress`].
    pub reuse_address: bool,
    /// [`SocketOption::ReusePort`].
    pub reuse_port: bool,
    /// [`SocketOption::DontRoute`].
    pub dont_route: bool,
    /// [`SocketOption::Interface`].
    pub interface: u32,
    /// [`SocketOption::ReceiveErrors`].
    pub receive_errors: bool,
    /// [`SocketOption::HeaderIncluded`]; none of what is no raw socket.
    pub header_included: Option<bool>,
    /// [`SocketOption::IcmpFilter`]; none of what is no raw socket of ICMP.
    pub icmp_filter: Option<u32>,
    /// The IP protocol (SO_PROTOCOL).
    pub protocol: u8,
}

/// The least buffers that a socket may be given, in bytes.
const MIN_BUFFER: u32 = 256;
/// The greatest, in bytes (kern.sbmax).
const MAX_BUFFER: u32 = 64 * 1024 * 1024;

impl Socket {
    fn set_option(&mut self, option: SocketOption) -> Result<(), Errno> {
        match option {
            SocketOption::Broadcast(on) => self.may_broadcast = on,
            SocketOption::Ttl(0) => return Err(Errno::Inval),
            SocketOption::Ttl(ttl) => self.ttl = Some(ttl),
            SocketOption::Tos(tos) => self.tos = tos,
            SocketOption::ReceiveBuffer(bytes) => {
                self.receive_limit = bytes.clamp(MIN_BUFFER, MAX_BUFFER) as usize
            }
            SocketOption::SendBuffer(bytes) => self.send_limit = bytes.clamp(MIN_BUFFER, MAX_BUFFER) as usize,
            // What is held for an address is let go by the same rule.
            SocketOption::BindAny(_) if self.local.is_some() => return Err(Errno::Inval),
            SocketOption::BindAny(on) => self.bind_any = on,
            SocketOption::MtuDiscovery(how) => self.mtu_discovery = how,
            SocketOption::ReuseAddress(on) => self.reuse.set_address(on),
            SocketOption::ReusePort(on) => self.reuse.set_port(on),
            SocketOption::DontRoute(on) => self.direct = on,
            SocketOption::Interface(index) => self.interface = (index != 0).then_some(index),
            SocketOption::ReceiveErrors(true) => {
                self.errors.get_or_insert_with(ErrorQueue::default);
            }
            SocketOption::ReceiveErrors(false) => self.errors = None,
            SocketOption::HeaderIncluded(on) => self.raw_mut()?.header_included = on,
            SocketOption::IcmpFilter(types) => {
                let raw = self.raw_mut()?;
                if raw.protocol != Protocol::ICMP {
                    return Err(Errno::OpNotSupp);
                }
                raw.icmp_filter = types;
            }
        }
        Ok(())
    }

    const fn raw_mut(&mut self) -> Result<&mut Raw, Errno> {
        match &mut self.kind {
            Kind::Raw(raw) => Ok(raw),
            Kind::Udp | Kind::Icmp => Err(Errno::NoProtoOpt),
        }
    }

    fn settings(&self, cx: &Context) -> SocketSettings {
        let (protocol, raw) = match self.kind {
            Kind::Udp => (Protocol::UDP, None),
            Kind::Icmp => (Protocol::ICMP, None),
            Kind::Raw(raw) => (raw.protocol, Some(raw)),
        };
        SocketSettings {
            broadcast: self.may_broadcast,
            ttl: self.ttl.unwrap_or(cx.config.ttl),
            tos: self.tos,
            receive_buffer: self.receive_limit as u32,
            send_buffer: self.send_limit as u32,
            bind_any: self.bind_any,
            mtu_discovery: self.mtu_discovery,
            reuse_address: self.reuse.address(),
            reuse_port: self.reuse.port(),
            dont_route: self.direct,
            interface: self.interface.unwrap_or(0),
            receive_errors: self.errors.is_some(),
            header_included: raw.map(|raw| raw.header_included),
            icmp_filter: raw.filter(|raw| raw.protocol == Protocol::ICMP).map(|raw| raw.icmp_filter),
            protocol: protocol.0,
        }
    }
}

impl Sockets {
    /// Sets an option. EINVAL for an impossible value, ENODEV for an interface that is not there, ENOPROTOOPT for what this kind of socket has not.
    pub(crate) fn set_udp_option(
        &mut self,
        cx: &mut Context,
        link: &Link,
        id: SocketId,
        option: SocketOption,
    ) -> Result<(), Errno> {
        if let SocketOption::Interface(index) = option
            && index != 0
        {
            link.interfaces.by_index(index).ok_or(Errno::NoDev)?;
        }
        // Who may share its address, and where it hears, is counted where it is.
        let moves = matches!(
            option,
            SocketOption::ReuseAddress(_) | SocketOption::ReusePort(_) | SocketOption::Interface(_)
        );
        if moves {
            self.move_out(cx, id);
        }
        let socket = self.all.value_mut(id).ok_or(Errno::BadF)?;
        let set = socket.set_option(option);
        socket.account(cx);
        if moves {
            self.move_in(cx, id);
        }
        set
    }

    /// getsockopt(2).
    pub(crate) fn settings(&self, cx: &Context, id: SocketId) -> Result<SocketSettings, Errno> {
        self.all.value(id).map(|socket| socket.settings(cx)).ok_or(Errno::BadF)
    }
}
