//! ICMP requests that we answer: echo, the time, our mask (RFC 1122 sections 3.2.2.6, 3.2.2.8 and 3.2.2.9).
//!
//! Not here: errors, and replies to our own requests ([`super::icmp`]).

use core::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use rumpnet_proto::{Counter, DropReason};
use rumpnet_wire::{
    icmpv4::{Message, Timestamps},
    ipv4::Header,
};

use super::{
    Inet,
    icmp::{build, outgoing},
    ipv4::{Audience, Outgoing},
    options::{options_of_answer, time_of_day},
};
use crate::{
    buffer::{Payload, Received},
    context::Context,
    link::Link,
};

impl Inet {
    /// Answers a request, its cursor at the ICMP header; why not, if it is none that is answered.
    pub(super) fn answer_query(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        (interface, audience): (u32, Audience),
        header: &Header,
        query: Message,
        packet: &mut Received,
    ) -> Result<(), DropReason> {
        let (answer, data) = match query {
            Message::EchoRequest { .. } if audience == Audience::Many && !cx.config.icmp_broadcast_echo => {
                return Err(DropReason::IcmpBroadcastEcho);
            }
            Message::EchoRequest { identifier, sequence } => {
                packet.advance(Message::LEN);
                cx.count(Counter::IcmpEchoRequests);
                let data = core::mem::take(packet).into_payload();
                (Message::EchoReply { identifier, sequence }, data)
            }
            Message::TimestampRequest { identifier, sequence } => {
                let times = determine_times(cx, packet, audience)?;
                cx.count(Counter::IcmpTimestampRequests);
                let data = Bytes::copy_from_slice(&times.to_bytes());
                (Message::TimestampReply { identifier, sequence }, data.into())
            }
            Message::AddressMaskRequest { identifier, sequence } => {
                let mask = self.determine_mask(cx, interface, header).ok_or(DropReason::IcmpQueryRefused)?;
                cx.count(Counter::IcmpMaskRequests);
                let data = Bytes::copy_from_slice(&mask.octets());
                (Message::AddressMaskReply { identifier, sequence }, data.into())
            }
            _ => return Err(DropReason::IcmpUnknownType),
        };
        self.answer(cx, link, header, answer, data);
        Ok(())
    }

    /// Answers a request from the address that it was sent to, with what has come of its records of route and time.
    fn answer(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        request: &Header,
        message: Message,
        data: Payload,
    ) {
        let own = IpAddr::V4(request.destination);
        let source = (self.addresses.is_ours(own) || request.destination.is_loopback()).then_some(own);
        let options = options_of_answer(&request.options);
        let outgoing = Outgoing { options, ..outgoing(request.source.into(), cx.config.ttl, request.tos) };
        self.send_icmp(cx, link, source, &outgoing, build(message, data));
    }

    /// The mask of the subnet that a request is about, if masks are told (net.inet.icmp.maskrepl): of the address that was asked, or of the
    /// interface's first one. Who does not know its own address cannot be answered: no broadcast is made for it (RFC 1122 section 3.2.2.9 permits not to).
    fn determine_mask(&self, cx: &Context, interface: u32, request: &Header) -> Option<Ipv4Addr> {
        if !cx.config.icmp_mask_reply || request.source.is_unspecified() {
            return None;
        }
        let asked = self.addresses.find(interface, request.destination.into());
        let entry = asked.or_else(|| self.addresses.of(interface).next())?;
        Some(Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(entry.prefix_len)).unwrap_or(0)))
    }
}

/// The three times of an answer to a timestamp request, whose cursor is at the ICMP header (RFC 1122 section 3.2.2.8).
fn determine_times(
    cx: &Context,
    packet: &mut Received,
    audience: Audience,
) -> Result<Timestamps, DropReason> {
    if !cx.config.icmp_timestamp_reply || audience != Audience::Us {
        return Err(DropReason::IcmpQueryRefused);
    }
    packet.advance(Message::LEN);
    let (times, _) = Timestamps::parse(packet.bytes()).map_err(|_| DropReason::IcmpTruncated)?;
    let now = time_of_day(cx);
    Ok(Timestamps { receive: now, transmit: now, ..times })
}
