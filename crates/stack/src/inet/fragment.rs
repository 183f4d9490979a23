//! Fragments of IPv4 packets (RFC 791 section 3.2): cutting, and putting together within limits.
//!
//! A datagram whose fragments overlap is given up whole (as RFC 5722 has it for IPv6), since overlap is only ever an attack;
//! an exact duplicate is ignored. What is not complete in 30 s is given up. The oldest datagram makes room for a new one.

use alloc::{collections::BTreeMap, vec::Vec};
use core::net::Ipv4Addr;

use rumpnet_proto::DropReason;
use rumpnet_wire::ipv4::Header;

use crate::{
    buffer::{Frame, Payload},
    time::{Duration, Instant},
};

/// How long a datagram may take to become complete (RFC 1122 section 3.3.2 allows 60 s; NetBSD and Linux take 30 s).
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most fragments of one datagram: 64 KiB in pieces of an MTU of 576 and some.
const MAX_FRAGMENTS: usize = 128;

/// What names a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    identification: u16,
}

struct Datagram {
    interface: u32,
    deadline: Instant,
    /// The header of the first fragment, once it is there.
    header: Option<Header>,
    /// Payloads by their offsets; they do not overlap.
    parts: BTreeMap<usize, Payload>,
    held: usize,
    /// The whole length, once the last fragment is there.
    total: Option<usize>,
}

/// The datagrams being put together.
pub(crate) struct Reassembly {
    datagrams: BTreeMap<Name, Datagram>,
    held: usize,
    max_bytes: usize,
    max_datagrams: usize,
}

/// What became of a fragment.
pub(crate) enum Input {
    /// It waits for the others.
    Kept,
    /// It was refused; what it belonged to may be gone too.
    Dropped(DropReason),
    /// It was the last one missing.
    Complete {
        /// The header of the whole packet.
        header: Header,
        payload: Payload,
    },
}

impl Reassembly {
    pub(crate) const fn new(max_bytes: u32, max_datagrams: u32) -> Self {
        Self {
            datagrams: BTreeMap::new(),
            held: 0,
            max_bytes: max_bytes as usize,
            max_datagrams: max_datagrams as usize,
        }
    }

    /// A fragment has come in; `payload` is what follows its header.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        interface: u32,
        header: &Header,
        payload: Payload,
    ) -> Input {
        let offset = usize::from(header.fragment_offset);
        let end = offset + payload.len();
        let odd_middle = header.more_fragments && (payload.is_empty() || !payload.len().is_multiple_of(8));
        if odd_middle || end + header.header_len() > usize::from(u16::MAX) {
            return Input::Dropped(DropReason::Ipv4FragmentMalformed);
        }
        let name = Name {
            source: header.source,
            destination: header.destination,
            protocol: header.protocol.0,
            identification: header.identification,
        };
        if self.held + payload.len() > self.max_bytes {
            return Input::Dropped(DropReason::Ipv4FragmentLimit);
        }
        let crowded = self.datagrams.len() >= self.max_datagrams && !self.datagrams.contains_key(&name);
        let datagram = self.datagrams.entry(name).or_insert_with(|| Datagram::new(interface, now + TIMEOUT));
        let len = payload.len();
        match datagram.insert(header, offset, payload) {
            Ok(false) => {}
            Ok(true) => {
                datagram.held += len;
                self.held += len;
            }
            Err(reason) => {
                self.forget(name);
                return Input::Dropped(reason);
            }
        }
        if datagram_is_complete(&self.datagrams, name) {
            return self.complete(name);
        }
        if crowded {
            self.forget_oldest();
            return Input::Dropped(DropReason::Ipv4FragmentLimit);
        }
        Input::Kept
    }

    fn complete(&mut self, name: Name) -> Input {
        let Some(datagram) = self.forget(name) else { return Input::Kept };
        let mut payload = Payload::Empty;
        datagram.parts.into_values().for_each(|part| payload.append(part));
        let Some(mut header) = datagram.header else {
            return Input::Dropped(DropReason::Ipv4FragmentMalformed);
        };
        header.total_len = (header.header_len() + payload.len()) as u16;
        header.more_fragments = false;
        Input::Complete { header, payload }
    }

    fn forget(&mut self, name: Name) -> Option<Datagram> {
        let datagram = self.datagrams.remove(&name)?;
        self.held -= datagram.held;
        Some(datagram)
    }

    fn forget_oldest(&mut self) {
        let oldest = self.datagrams.iter().min_by_key(|(name, datagram)| (datagram.deadline, **name));
        if let Some(name) = oldest.map(|(name, _)| *name) {
            self.forget(name);
        }
    }

    /// When the next datagram is to be given up.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.datagrams.values().map(|datagram| datagram.deadline).min()
    }

    /// Gives up a datagram that took too long; returns the interface of its first fragment to arrive.
    pub(crate) fn next_expired(&mut self, now: Instant) -> Option<u32> {
        let expired =
            self.datagrams.iter().find(|(_, datagram)| datagram.deadline <= now).map(|(name, _)| *name)?;
        self.forget(expired).map(|datagram| datagram.interface)
    }
}

fn datagram_is_complete(datagrams: &BTreeMap<Name, Datagram>, name: Name) -> bool {
    datagrams.get(&name).is_some_and(|datagram| datagram.total == Some(datagram.held))
}

impl Datagram {
    const fn new(interface: u32, deadline: Instant) -> Self {
        Self { interface, deadline, header: None, parts: BTreeMap::new(), held: 0, total: None }
    }

    /// Whether the fragment was new; the reason if it contradicts the others.
    fn insert(&mut self, header: &Header, offset: usize, payload: Payload) -> Result<bool, DropReason> {
        let end = offset + payload.len();
        if self.parts.get(&offset).is_some_and(|part| part.len() == payload.len()) {
            return Ok(false);
        }
        let before = self.parts.range(..offset).next_back().map_or(0, |(at, part)| at + part.len());
        let after = self.parts.range(offset..).next().map_or(usize::MAX, |(at, _)| *at);
        let past_total =
            self.total.is_some_and(|total| end > total || (!header.more_fragments && end != total));
        if before > offset || after < end || past_total {
            return Err(DropReason::Ipv4FragmentOverlap);
        }
        if self.parts.len() >= MAX_FRAGMENTS {
            return Err(DropReason::Ipv4FragmentLimit);
        }
        if !header.more_fragments {
            if self.parts.last_key_value().is_some_and(|(at, part)| at + part.len() > end) {
                return Err(DropReason::Ipv4FragmentOverlap);
            }
            self.total = Some(end);
        }
        if offset == 0 {
            self.header = Some(*header);
        }
        self.parts.insert(offset, payload);
        Ok(true)
    }
}

/// The fragments of a packet whose transport header and payload are in `frame`, for an MTU in bytes.
///
/// Each payload but the last is a multiple of 8 bytes; the first one carries the transport header.
pub(crate) fn fragments(header: &Header, frame: Frame, mtu: u32) -> Vec<(Header, Frame)> {
    let room = ((mtu as usize).saturating_sub(header.header_len()) / 8 * 8).max(8);
    let mut whole = Payload::from(bytes::Bytes::copy_from_slice(frame.headers.as_slice()));
    whole.append(frame.payload);
    let len = whole.len();
    let part = |offset: usize| {
        let payload = whole.slice(offset..offset + room);
        let header = Header {
            total_len: (header.header_len() + payload.len()) as u16,
            fragment_offset: offset as u16,
            more_fragments: offset + room < len,
            ..*header
        };
        (header, Frame { payload, charge: frame.charge.filter(|_| offset + room >= len), ..Frame::default() })
    };
    (0..len).step_by(room).map(part).collect()
}

#[cfg(test)]
mod tests;
