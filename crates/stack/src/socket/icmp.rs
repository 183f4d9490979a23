//! ICMP sockets (SOCK_DGRAM of IPPROTO_ICMP on Linux): echo without privilege.
//!
//! A socket sends echo requests with an identifier of its own, which it has in place of a port, and receives the replies to it, each
//! from the ICMP header on. The identifier and the checksum of what it sends are written here.

use core::net::{IpAddr, SocketAddr};

use rumpnet_proto::{Counter, Errno};
use rumpnet_wire::{icmpv4::Message, ip::Protocol, ipv4};

use super::{
    Datagram, SocketId, Sockets,
    send::{UdpSend, cost_of},
};
use crate::{
    buffer::{Payload, Received},
    context::Context,
    inet::{Inet, icmp, route::Path},
    link::Link,
};

/// The type of an echo request.
const ECHO_REQUEST: u8 = 8;

/// Whether it is an echo request that fits a packet: EINVAL, EMSGSIZE.
pub(super) fn determine_size(send: &UdpSend) -> Result<(), Errno> {
    let is_echo = send.payload.len() >= Message::LEN && send.payload[..2] == [ECHO_REQUEST, 0];
    match send.segment {
        None if send.payload.len() > usize::from(u16::MAX) - ipv4::Header::LEN => Err(Errno::MsgSize),
        None if is_echo => Ok(()),
        _ => Err(Errno::Inval),
    }
}

impl Sockets {
    pub(super) fn send_echo(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        id: SocketId,
        send: UdpSend,
        (destination, path): (SocketAddr, &Path),
    ) -> Result<(), Errno> {
        let socket = self.all.value(id).ok_or(Errno::BadF)?;
        let identifier = match socket.local {
            Some(local) => local.port(),
            None => self.bind_by_itself(cx, inet, id)?.port(),
        };
        let sequence = u16::from_be_bytes([send.payload[6], send.payload[7]]);
        let frame = icmp::build(
            Message::EchoRequest { identifier, sequence },
            send.payload.slice(Message::LEN..).into(),
        );
        let (cost, way) = (cost_of(&send), (destination.ip(), path));
        let transport = (Protocol::ICMP, Message::LEN);
        self.send_frame(cx, link, inet, id, (frame, cost), &send.info, transport, way)?;
        cx.count(Counter::IcmpSocketSent);
        Ok(())
    }

    /// An echo reply has come in; false if no ICMP socket waits for it.
    pub(super) fn receive_echo_reply(&mut self, cx: &mut Context, packet: &Received, interface: u32) -> bool {
        let whole = packet.rewound();
        let Ok((header, _)) = ipv4::Header::parse_quoted(whole.bytes()) else { return false };
        let mut message = whole;
        message.advance(header.header_len());
        let Some(&[_, _, _, _, high, low]) = message.bytes().first_chunk::<6>() else { return false };
        let Some(id) = self.identifiers.get(&u16::from_be_bytes([high, low])).copied() else { return false };
        let (source, destination) = (IpAddr::V4(header.source), IpAddr::V4(header.destination));
        let fits = self.all.value(id).is_some_and(|socket| {
            socket.interface.is_none_or(|bound| bound == interface)
                && socket.bound_ip().is_none_or(|bound| bound == destination)
                && socket.remote.is_none_or(|remote| remote.ip() == source)
        });
        if !fits {
            return false;
        }
        let about = Datagram {
            payload: Payload::Empty,
            segment: None,
            source: SocketAddr::new(source, 0),
            destination: SocketAddr::new(destination, 0),
            interface,
            ttl: header.ttl,
            tos: header.tos,
            received: cx.now,
        };
        self.queue(cx, id, &mut message, about);
        true
    }
}
