//! Frames and payload slices: what moves between a port and a socket without being copied.
//!
//! Downward goes a [`Frame`]: inline [`Headers`], built back to front, a [`Payload`] of shared slices, and the
//! [`Offload`] that the far end may still have to do. Upward comes a [`Received`]: shared bytes with a cursor, so that a
//! dropped packet can still be shown whole. Both may be super-frames. Pools belong to the shell, not here.

use alloc::vec::Vec;
use core::ops::Range;

use bytes::{Buf, Bytes};

use crate::slab::Key;

/// Room for headers in a frame, in bytes: Ethernet, a VLAN tag, and IPv4 with options before UDP, or before TCP with options.
pub const HEADER_ROOM: usize = 138;

/// The most slices that a frame hands to a port; longer chains are copied into one.
pub const MAX_SLICES: usize = 64;

/// Headers of a frame, prepended from the innermost to the outermost.
#[derive(Clone)]
pub struct Headers {
    bytes: [u8; HEADER_ROOM],
    start: u8,
}

impl Headers {
    /// No headers.
    pub const fn new() -> Self {
        Self { bytes: [0; HEADER_ROOM], start: HEADER_ROOM as u8 }
    }

    /// Headers that are a copy of `bytes`, or none if they do not fit.
    pub fn copy_from(bytes: &[u8]) -> Option<Self> {
        let mut headers = Self::new();
        headers.prepend(bytes.len())?.copy_from_slice(bytes);
        Some(headers)
    }

    /// Makes room for an outer header of `len` bytes; none if there is no room.
    pub fn prepend(&mut self, len: usize) -> Option<&mut [u8]> {
        let end = usize::from(self.start);
        let start = end.checked_sub(len)?;
        self.start = start as u8;
        Some(&mut self.bytes[start..end])
    }

    /// The headers, outermost first.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..]
    }

    /// The headers, outermost first, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[usize::from(self.start)..]
    }

    /// Their length in bytes.
    pub const fn len(&self) -> usize {
        HEADER_ROOM - self.start as usize
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Headers {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Headers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

/// A chain of shared slices.
#[derive(Clone, Debug, Default)]
pub enum Payload {
    /// Nothing.
    #[default]
    Empty,
    /// One slice, the common case.
    One(Bytes),
    /// Several slices, none of them empty.
    Chain(Vec<Bytes>),
}

impl Payload {
    /// The slices in order.
    pub fn slices(&self) -> &[Bytes] {
        match self {
            Self::Empty => &[],
            Self::One(slice) => core::slice::from_ref(slice),
            Self::Chain(slices) => slices,
        }
    }

    /// Total length in bytes.
    pub fn len(&self) -> usize {
        self.slices().iter().map(Bytes::len).sum()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a slice; empty ones are left out.
    pub fn push(&mut self, slice: Bytes) {
        if slice.is_empty() {
            return;
        }
        *self = match core::mem::take(self) {
            Self::Empty => Self::One(slice),
            Self::One(first) => Self::Chain(alloc::vec![first, slice]),
            Self::Chain(mut slices) => {
                slices.push(slice);
                Self::Chain(slices)
            }
        };
    }

    /// Appends all slices of another chain.
    pub fn append(&mut self, other: Self) {
        match (&*self, other) {
            (Self::Empty, other) => *self = other,
            (_, Self::Empty) => {}
            (_, Self::One(slice)) => self.push(slice),
            (_, Self::Chain(slices)) => slices.into_iter().for_each(|slice| self.push(slice)),
        }
    }

    /// Appends slices, none of them empty.
    pub(crate) fn extend(&mut self, slices: Vec<Bytes>) {
        *self = match core::mem::take(self) {
            Self::Empty => Self::Chain(slices),
            Self::One(first) => {
                let mut all = Vec::with_capacity(slices.len() + 1);
                all.push(first);
                all.extend(slices);
                Self::Chain(all)
            }
            Self::Chain(mut all) => {
                all.extend(slices);
                Self::Chain(all)
            }
        };
    }

    /// The bytes of `range`, shared; what lies past the end is left out.
    pub fn slice(&self, range: Range<usize>) -> Self {
        let mut part = Self::Empty;
        let mut offset = 0;
        for slice in self.slices() {
            let from = range.start.saturating_sub(offset).min(slice.len());
            let to = range.end.saturating_sub(offset).min(slice.len());
            if from < to {
                part.push(slice.slice(from..to));
            }
            offset += slice.len();
        }
        part
    }

    /// Copies into `out` as much as fits and returns how much that was.
    pub fn copy_to(&self, out: &mut [u8]) -> usize {
        let mut filled = 0;
        for slice in self.slices() {
            let len = slice.len().min(out.len() - filled);
            out[filled..filled + len].copy_from_slice(&slice[..len]);
            filled += len;
        }
        filled
    }

    /// The bytes in one slice, copied only if there are several.
    pub fn to_bytes(&self) -> Bytes {
        match self.slices() {
            [] => Bytes::new(),
            [only] => only.clone(),
            slices => slices.concat().into(),
        }
    }
}

impl From<Bytes> for Payload {
    fn from(slice: Bytes) -> Self {
        if slice.is_empty() { Self::Empty } else { Self::One(slice) }
    }
}

/// What is known of, or still to be done to, a transport checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// It is in the packet and nobody has looked.
    #[default]
    Unverified,
    /// It was found right, or the packet never left memory.
    Verified,
    /// Only the pseudo-header is summed: sum from `start` to the end and store at `start + offset`, both in bytes and
    /// `start` counted from the first byte of the frame.
    Partial {
        /// Where the sum begins.
        start: u16,
        /// Where it is stored, counted from `start`.
        offset: u16,
    },
}

/// What kind of segments a super-frame stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP over either.
    Udp,
}

/// How a super-frame falls into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// The kind of segment.
    pub kind: GsoKind,
    /// Payload bytes of each segment but the last, which may have fewer; never 0.
    pub size: u16,
    /// Whether TCP congestion marks are set on the first segment only.
    pub ecn: bool,
    /// Whether all segments over IPv4 bear the same identification, as atomic ones may (RFC 6864 section 4), instead of one each.
    pub fixed_identification: bool,
}

/// What a frame leaves to whoever puts it on a wire, as the virtio-net header says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// The transport checksum.
    pub checksum: Checksum,
    /// Segmentation, for a super-frame.
    pub gso: Option<Gso>,
}

impl Offload {
    /// The same description for a frame whose first `len` bytes were cut off.
    pub fn without_front(self, len: usize) -> Self {
        let checksum = match self.checksum {
            Checksum::Partial { start, offset } => {
                Checksum::Partial { start: start.saturating_sub(len as u16), offset }
            }
            other => other,
        };
        Self { checksum, ..self }
    }

    /// The same description for a frame that got `len` more bytes at its front.
    pub fn with_front(self, len: usize) -> Self {
        let checksum = match self.checksum {
            Checksum::Partial { start, offset } => Checksum::Partial { start: start + len as u16, offset },
            other => other,
        };
        Self { checksum, ..self }
    }
}

/// A frame on its way out.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// All headers, outermost first.
    pub headers: Headers,
    /// What follows them.
    pub payload: Payload,
    /// What is left to the far end.
    pub offload: Offload,
    /// Whose send buffer it is charged to.
    pub charge: Option<Charge>,
}

/// What a frame takes of a socket's send buffer until it has left or was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The socket.
    pub socket: Key,
    /// Bytes; a packet cut into several charges its last piece with all of them.
    pub bytes: u32,
}

impl Frame {
    /// A frame of bytes that somebody else has made, the first of which are taken for headers and copied, so that whoever receives it in this
    /// process finds them in one piece; `outer` bytes are left for further headers before them.
    pub fn from_bytes(bytes: &Bytes, outer: usize) -> Self {
        let inline = bytes.len().min(HEADER_ROOM.saturating_sub(outer));
        let headers = Headers::copy_from(&bytes[..inline]).unwrap_or_default();
        Self { headers, payload: bytes.slice(inline..).into(), ..Self::default() }
    }

    /// Its length in bytes, without any virtio header.
    pub fn len(&self) -> usize {
        self.headers.len() + self.payload.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many packets it is on the wire: `header_len` bytes of it are repeated in each.
    pub fn segments(&self) -> usize {
        self.offload.gso.map_or(1, |gso| self.payload.len().div_ceil(usize::from(gso.size)).max(1))
    }

    /// Its bytes, copied into one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        bytes.extend_from_slice(self.headers.as_slice());
        self.payload.slices().iter().for_each(|slice| bytes.extend_from_slice(slice));
        bytes
    }
}

/// A frame that came in; `cursor` bytes of it have been read by the layers below.
#[derive(Clone, Debug, Default)]
pub struct Received {
    data: Bytes,
    cursor: usize,
    network: usize,
    more: Payload,
    /// Bytes of memory that keeping the first piece holds beside its own.
    spare: u32,
    /// What the sender left undone, and what is known of the checksum.
    pub offload: Offload,
}

impl Received {
    /// A frame in one piece.
    pub const fn new(data: Bytes, offload: Offload) -> Self {
        Self { data, cursor: 0, network: 0, more: Payload::Empty, spare: 0, offload }
    }

    /// The same frame, whose first piece lies in a buffer of so many bytes that it keeps from being used again.
    pub const fn pinning(mut self, bytes: usize) -> Self {
        self.spare = bytes.saturating_sub(self.data.len()) as u32;
        self
    }

    /// A frame whose headers lie in one piece and whose payload in others.
    pub const fn with_payload(headers: Bytes, payload: Payload, offload: Offload) -> Self {
        Self { data: headers, cursor: 0, network: 0, more: payload, spare: 0, offload }
    }

    /// What has not yet been read of the first piece; every header lies in it.
    pub fn bytes(&self) -> &[u8] {
        &self.data[self.cursor..]
    }

    /// Length of what has not yet been read, in bytes.
    pub fn len(&self) -> usize {
        self.data.len() - self.cursor + self.more.len()
    }

    /// Whether all has been read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many packets it stands for: `header_len` bytes of what has not yet been read were repeated in each.
    pub fn segments(&self, header_len: usize) -> usize {
        let payload = self.len().saturating_sub(header_len);
        self.offload.gso.map_or(1, |gso| payload.div_ceil(usize::from(gso.size).max(1)).max(1))
    }

    /// Bytes that the layers below have read.
    pub const fn cursor(&self) -> usize {
        self.cursor
    }

    /// Remembers that the network header begins here.
    pub fn mark_network(&mut self) {
        self.network = self.cursor;
    }

    /// The same packet with its cursor at its network header; shared.
    pub fn rewound(&self) -> Self {
        Self { cursor: self.network, ..self.clone() }
    }

    /// The packet from its network header on, as slices; what an ICMP error quotes.
    pub fn from_network(&self) -> impl Iterator<Item = &[u8]> {
        core::iter::once(&self.data[self.network..]).chain(self.more.slices().iter().map(|slice| &slice[..]))
    }

    /// Moves past a header of `len` bytes, which lies in the first piece.
    pub fn advance(&mut self, len: usize) {
        self.cursor = (self.cursor + len).min(self.data.len());
    }

    /// Cuts what has not yet been read to `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        let first = (self.data.len() - self.cursor).min(len);
        self.data.truncate(self.cursor + first);
        if self.more.len() > len - first {
            self.more = self.more.slice(0..len - first);
        }
    }

    /// Bytes of memory that keeping it holds: whole pieces, not what of them is used.
    pub fn pinned(&self) -> usize {
        self.data.len() + self.spare as usize + self.more.len()
    }

    /// What has not yet been read, shared.
    pub fn into_payload(self) -> Payload {
        let mut first = self.data;
        first.advance(self.cursor);
        let mut payload = Payload::from(first);
        if !matches!(self.more, Payload::Empty) {
            payload.append(self.more);
        }
        payload
    }

    /// What follows the next `len` bytes, shared.
    pub fn payload_from(&self, len: usize) -> Payload {
        let mut rest = self.clone();
        rest.advance(len);
        rest.into_payload()
    }

    /// What has not yet been read, as slices.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        core::iter::once(self.bytes()).chain(self.more.slices().iter().map(|slice| &slice[..]))
    }

    /// The whole frame from its first byte, as slices.
    pub fn whole(&self) -> impl Iterator<Item = &[u8]> {
        core::iter::once(&self.data[..]).chain(self.more.slices().iter().map(|slice| &slice[..]))
    }
}

impl From<Frame> for Received {
    /// The same frame as its receiver sees it: the headers are copied, the payload is shared.
    fn from(frame: Frame) -> Self {
        let data = Bytes::copy_from_slice(frame.headers.as_slice());
        Self { data, cursor: 0, network: 0, more: frame.payload, spare: 0, offload: frame.offload }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(parts: &[&'static [u8]]) -> Payload {
        let mut payload = Payload::Empty;
        parts.iter().for_each(|part| payload.push(Bytes::from_static(part)));
        payload
    }

    #[test]
    fn headers_grow_outward_until_their_room_is_used() {
        let mut headers = Headers::copy_from(b"udp").expect("fits");
        headers.prepend(2).expect("fits").copy_from_slice(b"ip");
        assert_eq!(headers.as_slice(), b"ipudp");
        assert!(headers.prepend(HEADER_ROOM - 4).is_none());
        assert_eq!(headers.len(), 5);
    }

    #[test]
    fn a_slice_of_a_chain_crosses_its_parts() {
        let payload = chain(&[b"abc", b"", b"def", b"gh"]);
        assert_eq!(payload.slices().len(), 3);
        assert_eq!(&payload.slice(2..7).to_bytes()[..], b"cdefg");
        assert_eq!(payload.slice(7..99).len(), 1);
        assert!(payload.slice(8..9).is_empty());
    }

    #[test]
    fn a_received_frame_is_cut_in_either_piece() {
        let frame = Frame {
            headers: Headers::copy_from(b"head").expect("fits"),
            payload: chain(&[b"tail"]),
            ..Frame::default()
        };
        for len in 0..=7 {
            let mut received = Received::from(frame.clone());
            received.advance(1);
            received.truncate(len);
            assert_eq!(received.len(), len);
            assert_eq!(&received.into_payload().to_bytes()[..], &b"eadtail"[..len]);
        }
    }

    #[test]
    fn a_frame_in_a_large_buffer_pins_all_of_it() {
        let frame = Received::new(Bytes::from_static(b"frame"), Offload::default());
        assert_eq!((frame.pinned(), frame.len()), (5, 5));
        let mut frame = frame.pinning(64);
        frame.advance(2);
        assert_eq!((frame.pinned(), frame.len()), (64, 3));
    }

    #[test]
    fn a_super_frame_counts_its_segments() {
        let gso = Gso { kind: GsoKind::Udp, size: 3, ecn: false, fixed_identification: false };
        let frame = Frame {
            payload: chain(&[b"abcdefgh"]),
            offload: Offload { gso: Some(gso), ..Offload::default() },
            ..Frame::default()
        };
        assert_eq!(frame.segments(), 3);
    }

    #[test]
    fn the_place_of_a_partial_checksum_moves_with_the_front() {
        let offload = Offload { checksum: Checksum::Partial { start: 34, offset: 6 }, gso: None };
        assert_eq!(offload.without_front(14).with_front(14), offload);
    }
}
