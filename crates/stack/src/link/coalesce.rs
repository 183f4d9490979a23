//! Receive coalescing: consecutive TCP segments of a flow, as a peer without segmentation offload sends them, become one super-frame
//! before anybody above looks at them.
//!
//! What is merged can be taken apart again by [`super::segment`] into the very frames that came: headers are equal but for what a
//! segmenter writes, all segments but the last have the same length, and payload is a chain of the slices that came. The rules are those of
//! Linux's tcp_gro_receive. A [`Coalescer`] lives for one batch, and nothing is ever held for longer.
//!
//! Not here: IPv6, which the Ethernet layer refuses so far (its header would be compared but for its length); super-frames, which
//! go past as they are; VLAN tags.

use alloc::vec::Vec;

use arrayvec::ArrayVec;
use bytes::Bytes;
use rumpnet_wire::{
    checksum,
    ethernet::{self, EtherType},
    ip::{self, Protocol},
    ipv4,
    tcp::{self, Flags},
};

use crate::buffer::{Checksum, Gso, GsoKind, Offload, Payload, Received};

/// Flows that a batch may have trains of at the same time; with more of them the oldest train ends.
const FLOWS: usize = 8;

/// Where fields lie in their headers (RFC 791, RFC 9293).
const IPV4_TOTAL_LEN: usize = 2;
const IPV4_IDENTIFICATION: usize = 4;
const IPV4_FRAGMENT: usize = 6;
const IPV4_PROTOCOL: usize = 9;
const IPV4_CHECKSUM: usize = 10;
const IPV4_SOURCE: usize = 12;
const TCP_SEQUENCE: usize = 4;
const TCP_ACKNOWLEDGMENT: usize = 8;
const TCP_OFFSET: usize = 12;
const TCP_FLAGS: usize = 13;
const TCP_WINDOW: usize = 14;
const TCP_CHECKSUM: usize = tcp::Header::CHECKSUM_OFFSET;
const TCP_URGENT: usize = 18;

/// Bits of the fragment word: "don't fragment", and all that make a packet a fragment.
const DONT_FRAGMENT: u16 = 0x4000;
const FRAGMENT: u16 = 0xbfff;

/// Flags that end a train with the segment that bears them, as a segmenter puts them on the last.
const LAST: u8 = Flags::FIN.union(Flags::PSH).0 as u8;
/// Flags of segments that are never part of a train.
const ALONE: u8 = Flags::SYN.union(Flags::RST).union(Flags::URG).union(Flags::CWR).0 as u8;

/// Merges what of one batch can be merged.
pub(crate) struct Coalescer {
    link_len: usize,
    held: ArrayVec<Train, FLOWS>,
    trains: u64,
    segments: u64,
}

/// A segment that may be followed by others, and those that did.
struct Train {
    first: Received,
    place: Place,
    /// Payload of those that followed.
    more: Vec<Bytes>,
    /// Bytes of payload of the first segment, and of all.
    size: usize,
    len: usize,
    followers: u16,
    /// Whether all identifications are the same; decided by the second segment.
    fixed_identification: bool,
    /// FIN and PSH of the last.
    last_flags: u8,
}

/// Where the headers of a TCP segment over IPv4 lie, in bytes from the front of its frame.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    network: usize,
    transport: usize,
    /// One past the TCP header.
    end: usize,
}

impl Coalescer {
    /// For a batch of a port whose frames begin with `link_len` bytes of link header.
    pub(crate) const fn new(link_len: usize) -> Self {
        Self { link_len, held: ArrayVec::new_const(), trains: 0, segments: 0 }
    }

    /// The next frame of the batch; `receive` is given what is finished, each flow in its order.
    pub(crate) fn offer(&mut self, mut frame: Received, mut receive: impl FnMut(Received)) {
        let Some(place) = Place::of(&frame, self.link_len) else { return receive(frame) };
        let known = self.held.iter().position(|train| train.is_flow_of(frame.bytes(), place));
        let fits = is_sound(&mut frame, place);
        if let Some(at) = known {
            let train = &mut self.held[at];
            if fits && train.may_take(&frame, place) {
                train.take(frame, place);
                if train.is_finished() {
                    let train = self.held.remove(at);
                    self.finish(train, &mut receive);
                }
                return;
            }
            let train = self.held.remove(at);
            self.finish(train, &mut receive);
        }
        if !fits || frame.bytes()[place.transport + TCP_FLAGS] & LAST != 0 {
            return receive(frame);
        }
        if self.held.is_full() {
            let oldest = self.held.remove(0);
            self.finish(oldest, &mut receive);
        }
        self.held.push(Train::new(frame, place));
    }

    /// The batch is over: what is held goes up. Returns how many trains were made, and of how many segments.
    pub(crate) fn flush(mut self, mut receive: impl FnMut(Received)) -> (u64, u64) {
        for train in core::mem::take(&mut self.held) {
            self.finish(train, &mut receive);
        }
        (self.trains, self.segments)
    }

    fn finish(&mut self, train: Train, receive: &mut impl FnMut(Received)) {
        if train.followers > 0 {
            self.trains += 1;
            self.segments += u64::from(train.followers) + 1;
        }
        receive(train.into_frame());
    }
}

impl Place {
    /// Where the headers of a whole TCP segment over IPv4 without options lie, if the frame is one and no super-frame.
    fn of(frame: &Received, link_len: usize) -> Option<Self> {
        let bytes = frame.bytes();
        if frame.offload.gso.is_some() {
            return None;
        }
        if link_len >= ethernet::Header::LEN && word(bytes, link_len - 2)? != EtherType::IPV4.0 {
            return None;
        }
        let (network, transport) = (link_len, link_len + ipv4::Header::LEN);
        let header = bytes.get(network..transport)?;
        let whole = word(header, IPV4_FRAGMENT)? & FRAGMENT == 0;
        if header[0] != 0x45 || header[IPV4_PROTOCOL] != Protocol::TCP.0 || !whole {
            return None;
        }
        let end = transport + usize::from(bytes.get(transport + TCP_OFFSET)? >> 4) * 4;
        let place = Self { network, transport, end };
        (end >= transport + tcp::Header::LEN && end <= bytes.len()).then_some(place)
    }
}

/// Whether a segment may be part of a train as far as it alone tells. Its checksum is looked at, and need not be again.
fn is_sound(frame: &mut Received, place: Place) -> bool {
    let bytes = frame.bytes();
    let header = &bytes[place.network..place.transport];
    let total_len = word(header, IPV4_TOTAL_LEN).map(usize::from);
    // A padded frame would not be the same again.
    let exact = total_len == Some(frame.len() - place.network) && frame.len() > place.end;
    exact
        && bytes[place.transport + TCP_FLAGS] & (ALONE | Flags::ACK.0 as u8) == Flags::ACK.0 as u8
        && checksum::of(header) == 0
        && is_checksum_right(frame, place)
}

fn is_checksum_right(frame: &mut Received, place: Place) -> bool {
    match frame.offload.checksum {
        Checksum::Verified => true,
        Checksum::Partial { start, offset } => {
            usize::from(start) == place.transport && usize::from(offset) == TCP_CHECKSUM
        }
        Checksum::Unverified => {
            let mut sum = pseudo_header(&frame.bytes()[place.network..], frame.len() - place.transport);
            let past_link = frame.slices().enumerate();
            past_link.for_each(|(at, slice)| {
                sum.add(if at == 0 { &slice[place.transport..] } else { slice });
            });
            let right = sum.finish() == 0;
            if right {
                frame.offload.checksum = Checksum::Verified;
            }
            right
        }
    }
}

fn pseudo_header(network: &[u8], transport_len: usize) -> checksum::Sum {
    let address = |at: usize| {
        let octets: [u8; 4] = network[at..at + 4].try_into().expect("four bytes were cut");
        octets.into()
    };
    ip::pseudo_header(address(IPV4_SOURCE), address(IPV4_SOURCE + 4), Protocol::TCP, transport_len as u32)
}

impl Train {
    fn new(first: Received, place: Place) -> Self {
        let size = first.len() - place.end;
        Self {
            first,
            place,
            more: Vec::new(),
            size,
            len: size,
            followers: 0,
            fixed_identification: false,
            last_flags: 0,
        }
    }

    /// Whether a segment has the same addresses and ports.
    fn is_flow_of(&self, other: &[u8], place: Place) -> bool {
        let ours = self.first.bytes();
        let ports = self.place.transport..self.place.transport + 4;
        let addresses = self.place.network + IPV4_SOURCE..self.place.transport;
        self.place.transport == place.transport
            && ours[ports.clone()] == other[ports]
            && ours[addresses.clone()] == other[addresses]
    }

    /// Whether a sound segment of the flow is the next one, and differs in nothing that a segmenter could not write.
    fn may_take(&self, next: &Received, place: Place) -> bool {
        let (ours, theirs) = (self.first.bytes(), next.bytes());
        let len = next.len() - place.end;
        place == self.place
            && len <= self.size
            && place.end - place.network + self.len + len <= usize::from(u16::MAX)
            && self.is_next_identification(theirs)
            && long(theirs, place.transport + TCP_SEQUENCE)
                == long(ours, place.transport + TCP_SEQUENCE).wrapping_add(self.len as u32)
            && are_equal(ours, theirs, place)
    }

    /// Whether identifications go on as the second one began: counting, or all the same where they mean nothing (RFC 6864).
    fn is_next_identification(&self, theirs: &[u8]) -> bool {
        let (ours, at) = (self.first.bytes(), self.place.network + IPV4_IDENTIFICATION);
        let step = half(theirs, at).wrapping_sub(half(ours, at));
        let counts = step == self.followers + 1;
        let is_fixed = step == 0 && half(theirs, self.place.network + IPV4_FRAGMENT) & DONT_FRAGMENT != 0;
        match self.followers {
            0 => counts || is_fixed,
            _ => {
                if self.fixed_identification {
                    is_fixed
                } else {
                    counts
                }
            }
        }
    }

    fn take(&mut self, next: Received, place: Place) {
        let theirs = next.bytes();
        let at = place.network + IPV4_IDENTIFICATION;
        self.fixed_identification = half(theirs, at) == half(self.first.bytes(), at);
        self.last_flags = theirs[place.transport + TCP_FLAGS] & LAST;
        self.followers += 1;
        self.len += next.len() - place.end;
        match payload_of(next, place) {
            Payload::Empty => {}
            Payload::One(slice) => self.more.push(slice),
            Payload::Chain(slices) => self.more.extend(slices),
        }
    }

    /// Whether no segment may follow the last one, which was shorter than the first or bears a flag of the end.
    fn is_finished(&self) -> bool {
        self.last_flags != 0 || self.len != self.size * (usize::from(self.followers) + 1)
    }

    /// The only segment as it came, or all of them as a super-frame with a partial checksum.
    fn into_frame(self) -> Received {
        let Self { first, place, more, size, len, followers, fixed_identification, last_flags } = self;
        if followers == 0 {
            return first;
        }
        let mut headers = first.bytes()[..place.end].to_vec();
        mend(&mut headers, place, len, last_flags);
        let mut payload = payload_of(first, place);
        payload.extend(more);
        let gso = Gso { kind: GsoKind::Tcp4, size: size as u16, ecn: false, fixed_identification };
        let checksum = Checksum::Partial { start: place.transport as u16, offset: TCP_CHECKSUM as u16 };
        Received::with_payload(headers.into(), payload, Offload { checksum, gso: Some(gso) })
    }
}

/// Whether two segments that follow each other have equal headers, but for identification, lengths, sequence number, checksums and [`LAST`].
fn are_equal(ours: &[u8], theirs: &[u8], place: Place) -> bool {
    let Place { network, transport, end } = place;
    let same = |from: usize, to: usize| ours[from..to] == theirs[from..to];
    let flags = |bytes: &[u8]| bytes[transport + TCP_FLAGS] & !LAST;
    same(0, network + IPV4_TOTAL_LEN)
        && same(network + IPV4_FRAGMENT, network + IPV4_CHECKSUM)
        && same(transport + TCP_ACKNOWLEDGMENT, transport + TCP_FLAGS)
        && flags(ours) == flags(theirs)
        && same(transport + TCP_WINDOW, transport + TCP_CHECKSUM)
        && same(transport + TCP_URGENT, end)
}

/// Makes the headers of a first segment those of a train with `len` bytes of payload.
fn mend(headers: &mut [u8], place: Place, len: usize, last_flags: u8) {
    let Place { network, transport, end } = place;
    put(headers, network + IPV4_TOTAL_LEN, (end - network + len) as u16);
    put(headers, network + IPV4_CHECKSUM, 0);
    let sum = checksum::of(&headers[network..transport]);
    put(headers, network + IPV4_CHECKSUM, sum);
    headers[transport + TCP_FLAGS] |= last_flags;
    let pseudo = pseudo_header(&headers[network..], end - transport + len);
    put(headers, transport + TCP_CHECKSUM, pseudo.fold());
}

fn payload_of(mut frame: Received, place: Place) -> Payload {
    frame.advance(place.end);
    frame.into_payload()
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// A word that is known to be there.
fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from(half(bytes, at)) << 16 | u32::from(half(bytes, at + 2))
}

fn put(bytes: &mut [u8], at: usize, word: u16) {
    bytes[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

#[cfg(test)]
mod tests;
