//! What raw sockets see of IP: copies of packets for this host, and packets whose header their user has written.
//!
//! Which socket a copy is for is known in [`crate::socket`]; here only whether anybody hears a protocol.

use core::net::{IpAddr, Ipv4Addr};

use rumpnet_proto::{Counter, DropReason, Errno};
use rumpnet_wire::{checksum, ip::Protocol, ipv4::Header};

use super::{Inet, route::Path};
use crate::{
    buffer::{Frame, Received},
    context::Context,
    link::Link,
};

/// Where the fields that we write lie in an IPv4 header.
const TOTAL_LEN: usize = 2;
const IDENTIFICATION: usize = 4;
const PROTOCOL: usize = 9;
const CHECKSUM: usize = 10;
const SOURCE: usize = 12;
const DESTINATION: usize = 16;

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

    /// Sends a packet whose header its user has written, which is inline: its length and checksum are put right, and its source and identification, if they
    /// are 0. EMSGSIZE if it exceeds the MTU, since it is not fragmented; EINVAL for a header that is none.
    pub(crate) fn send_included(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        path: &Path,
        mut frame: Frame,
    ) -> Result<(), Errno> {
        let IpAddr::V4(source) = path.source else { return Err(Errno::AfNoSupport) };
        if frame.len() > path.mtu as usize {
            cx.drop_sent(path.interface, DropReason::Ipv4MessageSize, &frame);
            return Err(Errno::MsgSize);
        }
        if self.complete_header(source, &mut frame).is_none() {
            cx.drop_sent(path.interface, DropReason::Ipv4HeaderLength, &frame);
            return Err(Errno::Inval);
        }
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

    /// Writes what is ours of a header; none if it is no header.
    fn complete_header(&mut self, source: Ipv4Addr, frame: &mut Frame) -> Option<()> {
        let len = frame.len() as u16;
        let inline = frame.headers.as_mut_slice();
        let header_len = usize::from(inline.first()? & 15) * 4;
        let header = inline.get_mut(..header_len).filter(|header| header.len() >= Header::LEN)?;
        header[TOTAL_LEN..][..2].copy_from_slice(&len.to_be_bytes());
        if header[SOURCE..][..4] == [0; 4] {
            header[SOURCE..][..4].copy_from_slice(&source.octets());
        }
        if header[IDENTIFICATION..][..2] == [0; 2] {
            let at = |start: usize| [0, 1, 2, 3].map(|place| header[start + place]);
            let name = (at(SOURCE).into(), at(DESTINATION).into(), Protocol(header[PROTOCOL]));
            let identification = self.identifications.next(name, 1);
            header[IDENTIFICATION..][..2].copy_from_slice(&identification.to_be_bytes());
        }
        header[CHECKSUM..][..2].fill(0);
        let sum = checksum::of(header);
        header[CHECKSUM..][..2].copy_from_slice(&sum.to_be_bytes());
        Some(())
    }
}
