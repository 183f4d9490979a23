//! Where datagram sockets are: bind(2), connect(2), and how both stand in the way of others.
//!
//! UDP sockets stand at ports, ICMP sockets at identifiers, raw sockets at a protocol. Who may be where is in [`crate::reuse`].

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use rumpnet_proto::{Counter, Errno};
use rumpnet_wire::ip::Protocol;

use super::{
    SocketId, Sockets,
    datagram::{Kind, Named, Raw, Socket},
    path::determine_allowed_path,
};
use crate::{
    context::Context,
    foreign::may_be_held,
    inet::Inet,
    link::{Link, NO_INTERFACE},
};

const ALL: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl Sockets {
    /// A new UDP socket; ENFILE beyond the limit.
    pub(crate) fn open_udp(&mut self, cx: &Context) -> Result<SocketId, Errno> {
        self.all.insert(Socket::new(cx, Kind::Udp)).map_err(|_| Errno::NFile)
    }

    /// A new ICMP socket; ENFILE beyond the limit.
    pub(crate) fn open_icmp(&mut self, cx: &Context) -> Result<SocketId, Errno> {
        self.all.insert(Socket::new(cx, Kind::Icmp)).map_err(|_| Errno::NFile)
    }

    /// A new raw socket, which hears from now on. EPROTONOSUPPORT for protocol 0, ENFILE beyond the limit of sockets, ENOBUFS beyond that of raw ones.
    pub(crate) fn open_raw(&mut self, cx: &mut Context, protocol: u8) -> Result<SocketId, Errno> {
        if protocol == 0 {
            return Err(Errno::ProtoNoSupport);
        }
        if self.raw.len() >= cx.config.raw_sockets as usize {
            return Err(Errno::NoBufs);
        }
        // Who names no protocol of his own writes whole packets, and hears none (raw(7)).
        let header_included = protocol == u8::MAX;
        let raw = Raw { protocol: Protocol(protocol), header_included, icmp_filter: 0 };
        let id = self.all.insert(Socket::new(cx, Kind::Raw(raw))).map_err(|_| Errno::NFile)?;
        self.raw.insert((protocol, id));
        cx.raw.hear(protocol);
        Ok(id)
    }

    /// bind(2): EINVAL if bound already, EADDRNOTAVAIL for an address that is not ours, EADDRINUSE.
    pub(crate) fn bind_udp(
        &mut self,
        cx: &mut Context,
        inet: &Inet,
        id: SocketId,
        local: SocketAddr,
    ) -> Result<SocketAddr, Errno> {
        let named = Named { address: !local.ip().is_unspecified(), port: local.port() != 0 };
        let bound = self.bind(cx, inet, id, local)?;
        if let Some(socket) = self.all.value_mut(id) {
            socket.named = named;
        }
        Ok(bound)
    }

    /// Binds a socket that sends or connects without having been bound: to a port that nobody else has. EADDRNOTAVAIL if there is none.
    pub(super) fn bind_by_itself(
        &mut self,
        cx: &mut Context,
        inet: &Inet,
        id: SocketId,
    ) -> Result<SocketAddr, Errno> {
        self.bind(cx, inet, id, SocketAddr::new(ALL, 0)).map_err(|errno| match errno {
            Errno::AddrInUse => Errno::AddrNotAvail,
            errno => errno,
        })
    }

    fn bind(
        &mut self,
        cx: &mut Context,
        inet: &Inet,
        id: SocketId,
        local: SocketAddr,
    ) -> Result<SocketAddr, Errno> {
        let socket = self.all.value(id).ok_or(Errno::BadF)?;
        // A raw socket has no port that would be taken: it may be bound anew, as on Linux.
        let is_raw = matches!(socket.kind, Kind::Raw(_));
        if (socket.local.is_some() && !is_raw) || socket.remote.is_some() {
            return Err(Errno::Inval);
        }
        if !may_be_bound(inet, socket, local.ip())? {
            return Err(Errno::AddrNotAvail);
        }
        let local = self.determine_local(cx, socket, local)?;
        self.move_out(cx, id);
        if let Some(socket) = self.all.value_mut(id) {
            socket.local = Some(local);
        }
        self.move_in(cx, id);
        Ok(local)
    }

    /// Lets a socket hear every unicast datagram, and every broadcast that nobody else wants, that comes by an interface to a port, or for 0 to
    /// any. EINVAL if bound already, EADDRINUSE, EOPNOTSUPP of what is not UDP.
    pub(crate) fn bind_udp_any(
        &mut self,
        cx: &mut Context,
        id: SocketId,
        interface: u32,
        port: u16,
    ) -> Result<(), Errno> {
        let socket = self.all.value_mut(id).ok_or(Errno::BadF)?;
        if socket.kind != Kind::Udp {
            return Err(Errno::OpNotSupp);
        }
        if socket.local.is_some() {
            return Err(Errno::Inval);
        }
        if !self.demux.bind_any(interface, port, id) {
            return Err(Errno::AddrInUse);
        }
        socket.local = Some(SocketAddr::new(ALL, port));
        socket.any = Some(interface);
        cx.foreign.hear(interface, Protocol::UDP, port);
        Ok(())
    }

    /// An interface is gone: one of the sockets that hear any address by it is bound no more, and learns why; false if there is none.
    pub(crate) fn deafen_next(&mut self, cx: &mut Context, interface: u32) -> bool {
        let Some(id) = self.demux.next_any(interface) else { return false };
        self.unbind_any(cx, id);
        self.set_error(id, Some(Errno::Nxio));
        true
    }

    pub(super) fn unbind_any(&mut self, cx: &mut Context, id: SocketId) {
        let Some(socket) = self.all.value_mut(id) else { return };
        if let Some(interface) = socket.any.take()
            && let Some(local) = socket.local.take()
        {
            self.demux.unbind_any(interface, local.port());
            cx.foreign.unhear(interface, Protocol::UDP, local.port());
        }
    }

    /// The address wanted with its port or identifier, or one that is free (RFC 6056 section 3.3.1). EADDRINUSE, which is counted if there is none.
    fn determine_local(
        &self,
        cx: &mut Context,
        socket: &Socket,
        local: SocketAddr,
    ) -> Result<SocketAddr, Errno> {
        let port = match (socket.kind, local.port()) {
            (Kind::Raw(_), _) => Some(0),
            (Kind::Udp, 0) => {
                let first = cx.random.next_u64() as u16;
                self.uses.next_free(local.ip(), socket.interface, first)
            }
            (Kind::Udp, port) => self.uses.permits(local, socket.interface, socket.reuse).then_some(port),
            (Kind::Icmp, 0) => {
                let first = cx.random.next_u64() as u16;
                self.echo.next_identifier(first)
            }
            (Kind::Icmp, identifier) => (!self.has_identifier(identifier)).then_some(identifier),
        };
        if port.is_none() && local.port() == 0 {
            cx.count(Counter::PortsExhausted);
        }
        port.map(|port| SocketAddr::new(local.ip(), port)).ok_or(Errno::AddrInUse)
    }

    /// Whether an ICMP socket or an echo session has an identifier.
    fn has_identifier(&self, identifier: u16) -> bool {
        self.identifiers.contains_key(&identifier) || self.echo.has(identifier)
    }

    /// connect(2): binds if need be, to the address that reaches the peer.
    pub(crate) fn connect_udp(
        &mut self,
        cx: &mut Context,
        link: &Link,
        inet: &Inet,
        id: SocketId,
        remote: SocketAddr,
    ) -> Result<(), Errno> {
        let socket = self.all.value(id).ok_or(Errno::BadF)?;
        if socket.any.is_some() {
            return Err(Errno::OpNotSupp);
        }
        let has_port = socket.kind == Kind::Udp;
        if (has_port && remote.port() == 0) || remote.ip().is_unspecified() {
            return Err(Errno::AddrNotAvail);
        }
        let path = determine_allowed_path(cx, link, inet, (id, socket), remote.ip())?;
        let port = match socket.local {
            Some(local) => local.port(),
            None => self.bind_by_itself(cx, inet, id)?.port(),
        };
        self.move_out(cx, id);
        if let Some(socket) = self.all.value_mut(id) {
            // One that hears a group goes on to hear it.
            let heard = socket.bound_ip().filter(|ip| ip.is_multicast());
            socket.local = Some(SocketAddr::new(heard.unwrap_or(path.source), port));
            socket.remote = Some(if has_port { remote } else { SocketAddr::new(remote.ip(), 0) });
        }
        self.move_in(cx, id);
        Ok(())
    }

    /// connect(2) to AF_UNSPEC: it has no peer any more, and no address but what a bind call has named.
    pub(crate) fn disconnect_udp(&mut self, cx: &mut Context, id: SocketId) -> Result<(), Errno> {
        let socket = self.all.value(id).ok_or(Errno::BadF)?;
        if socket.remote.is_none() {
            return Ok(());
        }
        self.move_out(cx, id);
        if let Some(socket) = self.all.value_mut(id) {
            socket.local = socket.address_without_peer();
            socket.remote = None;
        }
        self.move_in(cx, id);
        Ok(())
    }

    /// A socket has its address from now on: it stands in the way of others, and hears.
    pub(super) fn move_in(&mut self, cx: &mut Context, id: SocketId) {
        let Some(socket) = self.all.value(id) else { return };
        let Some(local) = socket.local.filter(|_| socket.any.is_none()) else { return };
        match socket.kind {
            Kind::Udp => {
                self.uses.add(local, socket.interface, socket.standing());
                let interface = socket.interface.unwrap_or(NO_INTERFACE);
                match socket.remote {
                    Some(remote) => self.demux.connect(local, remote, interface, id),
                    None => self.demux.bind(local, interface, id, socket.reuse.port()),
                }
                let held = socket.held_address();
                held.into_iter().for_each(|address| cx.foreign.hold(Protocol::UDP, address));
            }
            Kind::Icmp => {
                self.identifiers.insert(local.port(), id);
                self.echo.taken.insert(local.port());
            }
            // It hears by its protocol from the day it was opened.
            Kind::Raw(_) => {}
        }
    }

    /// The reverse, before anything of that is changed.
    pub(super) fn move_out(&mut self, cx: &mut Context, id: SocketId) {
        let Some(socket) = self.all.value(id) else { return };
        let Some(local) = socket.local.filter(|_| socket.any.is_none()) else { return };
        match socket.kind {
            Kind::Udp => {
                self.uses.remove(local, socket.interface, socket.standing());
                let interface = socket.interface.unwrap_or(NO_INTERFACE);
                self.demux.unbind(local, socket.remote, interface, id);
                let held = socket.held_address();
                held.into_iter().for_each(|address| cx.foreign.release(Protocol::UDP, address));
            }
            Kind::Icmp => {
                self.identifiers.remove(&local.port());
                self.echo.taken.remove(local.port());
            }
            Kind::Raw(_) => {}
        }
    }

    /// Closes a socket; what it has queued to receive is lost, what waits at a port is still sent.
    pub(crate) fn close_udp(&mut self, cx: &mut Context, id: SocketId) -> Result<(), Errno> {
        self.move_out(cx, id);
        self.unbind_any(cx, id);
        let mut socket = self.all.remove(id).ok_or(Errno::BadF)?;
        if let Kind::Raw(raw) = socket.kind {
            self.raw.remove(&(raw.protocol.0, id));
            cx.raw.unhear(raw.protocol.0);
        }
        cx.recharge(&mut socket.charged, 0);
        Ok(())
    }
}

/// Whether a socket may have an address: one of ours, all of them, or what many hear. EAFNOSUPPORT for IPv6.
fn may_be_bound(inet: &Inet, socket: &Socket, address: IpAddr) -> Result<bool, Errno> {
    let IpAddr::V4(v4) = address else { return Err(Errno::AfNoSupport) };
    let ours = v4.is_unspecified() || v4.is_loopback() || inet.addresses.is_ours(address);
    let many = v4.is_multicast() || inet.addresses.is_broadcast(address);
    // Nobody answers an echo request to a group with the group's address.
    let hears_many = many && socket.kind != Kind::Icmp;
    Ok(ours || hears_many || (socket.bind_any && may_be_held(address)))
}
