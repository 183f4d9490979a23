//! What raw sockets see of IP: copies of packets for this host, and packets whose header their user has written.
//!
//! Which socket a copy is for is known in [`crate::socket`]; here only whether anybody hears a protocol.

use core::net::IpAddr;

use rumpnet_proto::{Counter, DropReason, Errno};
use rumpnet_wire::{checksum, ipv4::Header};

use super::{Inet, route::Path};
use crate::{
    buffer::{Frame, Received},
    context::Context,
    link::Link,
};

/// Where the fields that we write lie in an IPv4 header.
const TOTAL_LEN: usize = 2;
const IDENTIFICATION: usize = 4;
const CHECKSUM: usize = 10;
const SOURCE: usize = 12;

/// How many raw sockets hear each protocol.
#[derive(Debug)]
pub(crate) struct RawProtocols {
    counts: alloc::collections::BTreeMap<u8, u32>,
    /// A bit for each that anybody hears.
    heard: [u64; 4],
}

impl RawProtocols {
    pub(crate) const fn new() -> Self {
        Self { counts: alloc::collections::BTreeMap::new(), heard: [0; 4] }
    }

    /// One more socket hears a protocol.
    pub(crate) fn hear(&mut self, protocol: u8) {
        *self.counts.entry(protocol).or_insert(0) += 1;
        self.heard[usize::from(protocol / 64)] |= 1 << (protocol % 64);
    }

    /// One less does.
    pub(crate) fn unhear(&mut self, protocol: u8) {
        let Some(count) = self.counts.get_mut(&protocol) else { return };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&protocol);
            self.heard[usize::from(protocol / 64)] &= !(1 << (protocol % 64));
        }
    }

    /// Whether any socket hears it.
    #[inline]
    pub(crate) const fn are_heard(&self, protocol: u8) -> bool {
        self.heard[(protocol / 64) as usize] & 1 << (protocol % 64) != 0
    }
}

/// A packet for this host that raw sockets may want; its cursor is at the IP header.
#[derive(Debug)]
pub(crate) struct RawCopy {
    pub(crate) interface: u32,
    pub(crate) header: Header,
    pub(crate) packet: Received,
}

impl Inet {
    /// Keeps a copy of a packet for the raw sockets, if any hears its protocol.
    #[inline]
    pub(super) fn offer_raw(&mut self, cx: &Context, interface: u32, header: &Header, packet: &Received) {
        if cx.raw.are_heard(header.protocol.0) {
            let copy = RawCopy { interface, header: *header, packet: packet.rewound() };
            self.raw_copy = Some(alloc::boxed::Box::new(copy));
        }
    }

    /// Sends a packet with the header that its user has written at the front of the payload: its length and checksum are put right, and its
    /// source and identification, if they are 0. EMSGSIZE if it exceeds the MTU, since it is not fragmented.
    pub(crate) fn send_included(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        path: &Path,
        mut frame: Frame,
    ) -> Result<(), Errno> {
        let len = frame.payload.len();
        let IpAddr::V4(source) = path.source else { return Err(Errno::AfNoSupport) };
        if len > path.mtu as usize {
            cx.drop_sent(path.interface, DropReason::Ipv4MessageSize, &frame);
            return Err(Errno::MsgSize);
        }
        let packet = frame.payload.to_bytes();
        let header_len = usize::from(packet.first().map_or(0, |first| first & 15)) * 4;
        let Some(written) = packet.get(..header_len).filter(|header| header.len() >= Header::LEN) else {
            cx.drop_sent(path.interface, DropReason::Ipv4HeaderLength, &frame);
            return Err(Errno::Inval);
        };
        let room = frame.headers.prepend(header_len).expect("an IPv4 header fits an empty frame");
        room.copy_from_slice(written);
        room[TOTAL_LEN..][..2].copy_from_slice(&(len as u16).to_be_bytes());
        if room[SOURCE..][..4] == [0; 4] {
            room[SOURCE..][..4].copy_from_slice(&source.octets());
        }
        if room[IDENTIFICATION..][..2] == [0; 2]
            && let Ok((header, _)) = Header::parse_quoted(room)
        {
            let name = (header.source, header.destination, header.protocol);
            room[IDENTIFICATION..][..2].copy_from_slice(&self.identifications.next(name, 1).to_be_bytes());
        }
        room[CHECKSUM..][..2].fill(0);
        let sum = checksum::of(room);
        room[CHECKSUM..][..2].copy_from_slice(&sum.to_be_bytes());
        frame.payload = packet.slice(header_len..).into();
        frame.offload.checksum = crate::buffer::Checksum::Unverified;
        cx.count(Counter::IpSent);
        let written = Header::parse_quoted(frame.headers.as_slice()).map(|(header, _)| header);
        if let Ok(header) = written
            && !self.goes_beyond(cx, link, path, (header.destination, header.ttl), || frame.clone())
        {
            cx.released.extend(frame.charge);
            return Ok(());
        }
        self.send_on_link(cx, link, path, frame)
    }
}
