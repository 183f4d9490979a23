//! Segmentation and checksums in software, for a port whose far end does neither: the one place where super-frames
//! fall apart.
//!
//! [`segments`] yields the packets that a super-frame stands for. Headers are copied and mended, payload is shared:
//! lengths, one IPv4 identification each (RFC 6864 section 4) unless they had the same, TCP's sequence number, FIN and PSH on the last
//! segment only and CWR on the first only (RFC 3168 section 6.1.2), and all checksums in full.
//! [`complete_checksum`] finishes a frame of which only the pseudo-header was summed.
//!
//! Headers may lie in a frame's inline part or at the front of its payload, behind VLAN tags or none, with IPv4
//! options or IPv6 extension headers. Not here: whether a far end has an offload, coalescing, and counting; what
//! cannot be done is said with the reason to drop the frame for.

use core::net::IpAddr;

use bytes::Bytes;
use rumpnet_proto::DropReason;
use rumpnet_wire::checksum::{self, Sum};
use rumpnet_wire::ethernet::{self, EtherType, vlan};
use rumpnet_wire::ip::{self, Protocol};
use rumpnet_wire::ipv6::extension::{Extension, Extensions};
use rumpnet_wire::tcp::Flags;
use rumpnet_wire::{ipv4, ipv6, tcp, udp};

use crate::buffer::{Checksum, Frame, GsoKind, HEADER_ROOM, Headers, Offload, Payload};

/// Where the fields that differ from segment to segment lie in their headers (RFC 791, 8200, 9293, 768).
const IPV4_TOTAL_LEN: usize = 2;
const IPV4_IDENTIFICATION: usize = 4;
const IPV4_CHECKSUM: usize = 10;
const IPV6_PAYLOAD_LEN: usize = 4;
const TCP_SEQUENCE: usize = 4;
const TCP_FLAGS: usize = 13;
const UDP_LENGTH: usize = 4;

/// The segments of a super-frame, whose link header has `link_len` bytes before any VLAN tag; they take it over.
///
/// What its headers do not say is what its offload says, and what would fall into segments of more than 64 KiB, is
/// left with its owner, with the reason to drop it for.
pub(crate) fn segments(frame: &mut Frame, link_len: usize) -> Result<Segments, DropReason> {
    let gso = frame.offload.gso.ok_or(DropReason::OffloadGsoKind)?;
    let layout = separate_headers(frame, link_len, gso.kind).ok_or(DropReason::OffloadGsoKind)?;
    let (size, len) = (usize::from(gso.size), frame.payload.len());
    if size == 0 || layout.end - layout.network + size.min(len) > usize::from(u16::MAX) {
        return Err(DropReason::OffloadGsoSize);
    }
    let count = len.div_ceil(size).max(1);
    let fixed_identification = gso.fixed_identification;
    Ok(Segments { frame: core::mem::take(frame), layout, size, fixed_identification, next: 0, count })
}

/// Finishes a partial checksum, if the frame has one: it may then go by any wire.
///
/// A place outside the frame is a reason to drop it.
pub(crate) fn complete_checksum(frame: &mut Frame) -> Result<(), DropReason> {
    let Checksum::Partial { start, offset } = frame.offload.checksum else { return Ok(()) };
    let place = usize::from(start) + usize::from(offset);
    if place + 2 > frame.len() {
        return Err(DropReason::OffloadChecksumRange);
    }
    let mut sum = Sum::new();
    let headers = frame.headers.as_slice();
    sum.add(headers.get(usize::from(start)..).unwrap_or_default());
    let past = usize::from(start).saturating_sub(headers.len());
    add_slices(&mut sum, &frame.payload.slice(past..frame.payload.len()));
    // A sum of zero goes as all ones, which UDP demands and the others take for the same (RFC 768, RFC 1071).
    overwrite(frame, place, sum.finish_nonzero());
    frame.offload.checksum = Checksum::Verified;
    Ok(())
}

/// What [`segments`] gives: frames that need no offload.
#[derive(Debug)]
pub(crate) struct Segments {
    /// The super-frame, its headers inline and nothing else with them.
    frame: Frame,
    layout: Layout,
    size: usize,
    fixed_identification: bool,
    next: usize,
    count: usize,
}

impl Iterator for Segments {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        if self.next == self.count {
            return None;
        }
        let (number, start) = (self.next, self.next * self.size);
        self.next += 1;
        let payload = self.frame.payload.slice(start..start + self.size);
        let mut headers = self.frame.headers.clone();
        let bytes = headers.as_mut_slice();
        self.mend_network(bytes, payload.len(), number);
        match self.layout.protocol {
            Protocol::TCP => self.mend_tcp(bytes, start, number),
            _ => put(bytes, self.layout.transport + UDP_LENGTH, self.transport_len(payload.len()) as u16),
        }
        self.put_checksum(bytes, &payload);
        let offload = Offload { checksum: Checksum::Verified, gso: None };
        // The last segment carries the charge of all.
        let charge = self.frame.charge.filter(|_| self.next == self.count);
        Some(Frame { headers, payload, offload, charge })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count - self.next, Some(self.count - self.next))
    }
}

impl ExactSizeIterator for Segments {}

impl Segments {
    fn mend_network(&self, headers: &mut [u8], payload_len: usize, number: usize) {
        let Layout { network, transport, end, ipv6, .. } = self.layout;
        if ipv6 {
            put(
                headers,
                network + IPV6_PAYLOAD_LEN,
                (end + payload_len - network - ipv6::Header::LEN) as u16,
            );
            return;
        }
        put(headers, network + IPV4_TOTAL_LEN, (end + payload_len - network) as u16);
        let first = word(headers, network + IPV4_IDENTIFICATION);
        let step = if self.fixed_identification { 0 } else { number as u16 };
        put(headers, network + IPV4_IDENTIFICATION, first.wrapping_add(step));
        put(headers, network + IPV4_CHECKSUM, 0);
        let sum = checksum::of(&headers[network..transport]);
        put(headers, network + IPV4_CHECKSUM, sum);
    }

    fn mend_tcp(&self, headers: &mut [u8], start: usize, number: usize) {
        let transport = self.layout.transport;
        let [high, low] = [0, 2].map(|half| u32::from(word(headers, transport + TCP_SEQUENCE + half)));
        let sequence = (high << 16 | low).wrapping_add(start as u32);
        put(headers, transport + TCP_SEQUENCE, (sequence >> 16) as u16);
        put(headers, transport + TCP_SEQUENCE + 2, sequence as u16);
        if number + 1 < self.count {
            headers[transport + TCP_FLAGS] &= !((Flags::FIN | Flags::PSH).0 as u8);
        }
        if number > 0 {
            headers[transport + TCP_FLAGS] &= !(Flags::CWR.0 as u8);
        }
    }

    /// The transport's checksum, in full; UDP over IPv4 may have none (RFC 768).
    fn put_checksum(&self, headers: &mut [u8], payload: &Payload) {
        let layout = &self.layout;
        let partial = matches!(self.frame.offload.checksum, Checksum::Partial { .. });
        if layout.protocol == Protocol::UDP && !layout.ipv6 && !partial && word(headers, layout.checksum) == 0
        {
            return;
        }
        put(headers, layout.checksum, 0);
        let (source, destination) = layout.addresses(headers);
        let len = self.transport_len(payload.len()) as u32;
        let mut sum = ip::pseudo_header(source, destination, layout.protocol, len);
        sum.add(&headers[layout.transport..]);
        add_slices(&mut sum, payload);
        let checksum = if layout.protocol == Protocol::UDP { sum.finish_nonzero() } else { sum.finish() };
        put(headers, layout.checksum, checksum);
    }

    const fn transport_len(&self, payload_len: usize) -> usize {
        self.layout.end - self.layout.transport + payload_len
    }
}

/// Where a frame's headers lie, in bytes from its front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    network: usize,
    transport: usize,
    /// Of the transport's checksum.
    checksum: usize,
    /// One past the transport header.
    end: usize,
    ipv6: bool,
    protocol: Protocol,
}

impl Layout {
    /// The layout of a frame that begins with these bytes, if it is one that `kind` fits.
    fn of(front: &[u8], link_len: usize, kind: GsoKind) -> Option<Self> {
        let network = network_offset(front, link_len)?;
        let packet = front.get(network..)?;
        let (header_len, protocol, ipv6) = match ip::version(packet)? {
            4 => ipv4_transport(packet)?,
            _ => ipv6_transport(packet)?,
        };
        let transport = network + header_len;
        let (len, checksum) = match (kind, protocol, ipv6) {
            (GsoKind::Tcp4, Protocol::TCP, false) | (GsoKind::Tcp6, Protocol::TCP, true) => {
                let (header, _) = tcp::Header::parse(front.get(transport..)?).ok()?;
                (header.header_len(), tcp::Header::CHECKSUM_OFFSET)
            }
            (GsoKind::Udp, Protocol::UDP, _) => (udp::Header::LEN, udp::Header::CHECKSUM_OFFSET),
            _ => return None,
        };
        let end = transport + len;
        let layout = Self { network, transport, checksum: transport + checksum, end, ipv6, protocol };
        (end <= front.len()).then_some(layout)
    }

    fn addresses(&self, headers: &[u8]) -> (IpAddr, IpAddr) {
        let header = &headers[self.network..];
        if self.ipv6 {
            let [source, destination] = [8, 24].map(|at| {
                let octets: [u8; 16] = header[at..at + 16].try_into().expect("sixteen bytes were cut");
                IpAddr::from(octets)
            });
            return (source, destination);
        }
        let [source, destination] = [12, 16].map(|at| {
            let octets: [u8; 4] = header[at..at + 4].try_into().expect("four bytes were cut");
            IpAddr::from(octets)
        });
        (source, destination)
    }
}

/// Where the network header begins: after the link header and the VLAN tags that its type announces.
fn network_offset(front: &[u8], link_len: usize) -> Option<usize> {
    let mut network = link_len;
    if link_len < ethernet::Header::LEN {
        return Some(network);
    }
    // Two tags at most: a service's and a customer's (802.1Q).
    for _ in 0..2 {
        front.get(network - 2..network)?;
        if !matches!(EtherType(word(front, network - 2)), EtherType::VLAN | EtherType::SERVICE_VLAN) {
            break;
        }
        network += vlan::Tag::LEN;
    }
    Some(network)
}

/// The header's length and what follows it; none for a fragment, of which no segments can be made.
fn ipv4_transport(packet: &[u8]) -> Option<(usize, Protocol, bool)> {
    let (header, _) = ipv4::Header::parse_quoted(packet).ok()?;
    (!header.is_fragment()).then_some((header.header_len(), header.protocol, false))
}

fn ipv6_transport(packet: &[u8]) -> Option<(usize, Protocol, bool)> {
    let (header, rest) = ipv6::Header::parse_quoted(packet).ok()?;
    let mut extensions = Extensions::new(header.next_header, rest);
    let in_the_way = extensions.any(|extension| matches!(extension, Err(_) | Ok(Extension::Fragment(_))));
    let (protocol, _) = extensions.upper();
    (!in_the_way).then_some((ipv6::Header::LEN + extensions.offset(), protocol, true))
}

/// Moves bytes between a frame's inline part and its payload until the former holds the headers and nothing else.
fn separate_headers(frame: &mut Frame, link_len: usize, kind: GsoKind) -> Option<Layout> {
    let mut front = [0; HEADER_ROOM];
    let inline = frame.headers.len();
    front[..inline].copy_from_slice(frame.headers.as_slice());
    let filled = inline + frame.payload.copy_to(&mut front[inline..]);
    let layout = Layout::of(&front[..filled], link_len, kind)?;
    if layout.end != inline {
        let moved = layout.end.saturating_sub(inline);
        let mut payload = Payload::from(Bytes::copy_from_slice(&front[layout.end.min(inline)..inline]));
        payload.append(frame.payload.slice(moved..frame.payload.len()));
        frame.payload = payload;
        frame.headers = Headers::copy_from(&front[..layout.end])?;
    }
    Some(layout)
}

fn add_slices(sum: &mut Sum, payload: &Payload) {
    payload.slices().iter().for_each(|slice| {
        sum.add(slice);
    });
}

/// Writes a word into a frame, wherever it lies; payload is copied for it, because others may share it.
fn overwrite(frame: &mut Frame, at: usize, word: u16) {
    let bytes = word.to_be_bytes();
    let inline = frame.headers.len();
    if at + 2 <= inline {
        frame.headers.as_mut_slice()[at..at + 2].copy_from_slice(&bytes);
        return;
    }
    let mut payload = frame.payload.to_bytes().to_vec();
    for (place, byte) in (at..).zip(bytes) {
        match place.checked_sub(inline) {
            Some(place) => payload[place] = byte,
            None => frame.headers.as_mut_slice()[place] = byte,
        }
    }
    frame.payload = Payload::from(Bytes::from(payload));
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn put(bytes: &mut [u8], at: usize, word: u16) {
    bytes[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

#[cfg(test)]
mod tests;
