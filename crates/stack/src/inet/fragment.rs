//! Fragments of IPv4 packets (RFC 791 section 3.2): cutting ([`fragments`]) and putting together ([`Reassembly`]).
//!
//! Reassembly trusts nobody. A datagram whose fragments overlap or contradict each other is given up whole, as RFC 5722
//! has it for IPv6, because overlap is only ever an attack; an exact duplicate is refused alone. A first fragment too short
//! to show the ports and flags of TCP, and one that would overwrite them, are refused (RFC 1858, RFC 3128). What is
//! not complete after 30 s is given up. Bytes, datagrams, those of one sender and fragments of a datagram are limited, and the datagram
//! that has waited longest makes room, of the same sender if it has its share: whole ones arrive within milliseconds, so under a flood
//! of fragments they still do. Fragments are copied out of their receive buffers, so that eight bytes never pin 64 KiB.
//!
//! Congestion marks survive: one marked fragment marks the packet (RFC 3168 section 5.3).
//!
//! Not here: the IPv6 fragment header, counting, and ICMP; what was given up is returned.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use bytes::Bytes;
use rumpnet_proto::DropReason;
use rumpnet_wire::ip::{Ecn, Protocol};
use rumpnet_wire::ipv4::{Header, IpOption, Options};

use crate::buffer::{Frame, Headers, Payload};
use crate::time::{Duration, Instant};

/// How long a datagram may take to become complete (NetBSD and Linux; RFC 1122 section 3.3.2 recommends 60 s and more).
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most fragments of one datagram: 64 KiB in pieces of an MTU of 576, and some.
const MAX_FRAGMENTS: usize = 128;
/// The longest packet that the header can state.
const MAX_PACKET: usize = u16::MAX as usize;
/// What a datagram and a fragment cost beside their payload, in bytes.
const DATAGRAM_COST: usize = 384;
const FRAGMENT_COST: usize = 96;
/// Fragments but the last are multiples of this long (RFC 791 section 3.1).
const UNIT: usize = 8;
/// What a first fragment must show of TCP: ports, numbers, flags (RFC 1858 section 3).
const TCP_SHOWN: usize = 16;

/// The datagrams being put together.
#[derive(Debug)]
pub(crate) struct Reassembly {
    datagrams: BTreeMap<Name, Datagram>,
    /// By the number under which they began: the order of age and of deadlines.
    order: BTreeMap<u64, Name>,
    /// The same numbers by sender.
    peers: BTreeMap<Ipv4Addr, BTreeSet<u64>>,
    number: u64,
    charged: usize,
    limits: Limits,
}

/// What all datagrams together may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Payload and bookkeeping, in bytes.
    pub(crate) bytes: u32,
    pub(crate) datagrams: u32,
    /// Datagrams of one sender.
    pub(crate) of_peer: u32,
}

/// What came of a fragment.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) input: Input,
    /// Datagrams that were given up for it, or with it.
    pub(crate) given_up: Vec<GivenUp>,
}

/// What became of a fragment.
#[derive(Debug)]
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

/// Fragments that were held and will not become a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GivenUp {
    /// By which the first of them to arrive came.
    pub(crate) interface: u32,
    /// How many of them.
    pub(crate) fragments: u32,
    pub(crate) reason: DropReason,
}

/// A datagram whose time is over.
#[derive(Debug)]
pub(crate) struct Expired {
    pub(crate) given_up: GivenUp,
    /// Header and payload of the fragment at offset 0, if it has come: what an ICMP error quotes (RFC 792, "Time
    /// Exceeded").
    pub(crate) first: Option<(Header, Payload)>,
}

/// What names a datagram (RFC 791 section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: Protocol,
    identification: u16,
}

#[derive(Debug)]
struct Datagram {
    number: u64,
    interface: u32,
    deadline: Instant,
    /// Of the fragment at offset 0, once it is there.
    first: Option<Header>,
    /// By offset; they do not overlap.
    parts: BTreeMap<usize, Bytes>,
    /// Bytes in all parts.
    held: usize,
    /// The whole length, once the last fragment is there.
    total: Option<usize>,
    /// A bit for each congestion mark seen.
    marks: u8,
}

/// What a fragment is to the datagram that it belongs to.
#[derive(Debug, PartialEq, Eq)]
enum Fit {
    New,
    Duplicate,
    Contradiction,
}

impl Reassembly {
    /// Nothing yet.
    pub(crate) const fn new(limits: Limits) -> Self {
        Self {
            datagrams: BTreeMap::new(),
            order: BTreeMap::new(),
            peers: BTreeMap::new(),
            number: 0,
            charged: 0,
            limits,
        }
    }

    /// So many datagrams from now on; those beyond make room as others come.
    pub(crate) const fn limit_datagrams(&mut self, datagrams: u32) {
        self.limits.datagrams = datagrams;
    }

    /// A fragment has come in by an interface; `payload` is what follows its header.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        interface: u32,
        header: &Header,
        payload: &Payload,
    ) -> Outcome {
        if !is_possible(header, payload.len()) {
            return Outcome::dropped(DropReason::Ipv4FragmentMalformed);
        }
        let (name, part) = (Name::of(header), copied(payload));
        let datagram = self.datagrams.get(&name);
        match datagram.map_or(Fit::New, |datagram| datagram.fit(header, &part)) {
            Fit::Duplicate => return Outcome::dropped(DropReason::Ipv4FragmentDuplicate),
            Fit::Contradiction => return self.refuse(name, DropReason::Ipv4FragmentOverlap),
            Fit::New if datagram.is_some_and(|datagram| datagram.parts.len() >= MAX_FRAGMENTS) => {
                return self.refuse(name, DropReason::Ipv4FragmentLimit);
            }
            Fit::New => {}
        }
        let given_up = self.make_room(name, part.len());
        if !self.has_room(name, part.len()) {
            let refused = self.refuse(name, DropReason::Ipv4FragmentLimit);
            return Outcome { given_up: given_up.into_iter().chain(refused.given_up).collect(), ..refused };
        }
        if !self.insert(now, interface, name, header, part) {
            return Outcome { input: Input::Kept, given_up };
        }
        let complete = self.complete(name);
        Outcome { given_up: given_up.into_iter().chain(complete.given_up).collect(), ..complete }
    }

    /// Gives up one datagram that took too long; call until there are no more.
    pub(crate) fn next_expired(&mut self, now: Instant) -> Option<Expired> {
        let name = *self.order.first_key_value()?.1;
        if self.datagrams.get(&name)?.deadline > now {
            return None;
        }
        let mut datagram = self.forget(name)?;
        let given_up = datagram.given_up(DropReason::Ipv4FragmentTimeout);
        let first = datagram.first.zip(datagram.parts.remove(&0).map(Payload::from));
        Some(Expired { given_up, first })
    }

    /// When the next datagram is to be given up.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let (_, name) = self.order.first_key_value()?;
        self.datagrams.get(name).map(|datagram| datagram.deadline)
    }

    /// The packet, if its fragments agree on what it is.
    fn complete(&mut self, name: Name) -> Outcome {
        let Some(datagram) = self.forget(name) else {
            return Outcome::dropped(DropReason::Ipv4FragmentMalformed);
        };
        // The one that came last is counted by itself.
        let others = GivenUp {
            fragments: datagram.parts.len() as u32 - 1,
            ..datagram.given_up(DropReason::Ipv4FragmentMalformed)
        };
        match datagram.whole() {
            Some((header, payload)) => {
                Outcome { input: Input::Complete { header, payload }, given_up: Vec::new() }
            }
            None => Outcome { given_up: alloc::vec![others], ..Outcome::dropped(others.reason) },
        }
    }

    /// Gives up the datagram that a refused fragment belongs to, if there is one.
    fn refuse(&mut self, name: Name, reason: DropReason) -> Outcome {
        let given_up = self.forget(name).map(|datagram| datagram.given_up(reason));
        Outcome { input: Input::Dropped(reason), given_up: given_up.into_iter().collect() }
    }

    /// Gives up others, the oldest first, until a fragment of so many bytes fits or none is left. A sender that has its share begins anew at its own cost.
    fn make_room(&mut self, name: Name, len: usize) -> Vec<GivenUp> {
        let mut given_up = Vec::new();
        while let Some(oldest) = self.oldest_of_full_peer(name) {
            let forgotten = self.forget(oldest);
            given_up.extend(forgotten.map(|datagram| datagram.given_up(DropReason::Ipv4FragmentLimit)));
        }
        while !self.has_room(name, len) {
            let Some(oldest) = self.order.values().find(|other| **other != name).copied() else { break };
            let forgotten = self.forget(oldest);
            given_up.extend(forgotten.map(|datagram| datagram.given_up(DropReason::Ipv4FragmentLimit)));
        }
        given_up
    }

    /// The oldest datagram of a sender that may not begin another one.
    fn oldest_of_full_peer(&self, name: Name) -> Option<Name> {
        if self.datagrams.contains_key(&name) {
            return None;
        }
        let numbers = self.peers.get(&name.source)?;
        let is_full = numbers.len() >= self.limits.of_peer as usize;
        self.order.get(numbers.first().filter(|_| is_full)?).copied()
    }

    fn has_room(&self, name: Name, len: usize) -> bool {
        let begins = usize::from(!self.datagrams.contains_key(&name));
        let cost = FRAGMENT_COST + len + begins * DATAGRAM_COST;
        let Limits { bytes, datagrams, of_peer } = self.limits;
        let may_begin = begins == 0 || of_peer > 0;
        self.charged + cost <= bytes as usize
            && self.datagrams.len() + begins <= datagrams as usize
            && may_begin
    }

    /// Adds a fragment that fits to its datagram, which begins with it if need be; whether that is complete now.
    fn insert(&mut self, now: Instant, interface: u32, name: Name, header: &Header, part: Bytes) -> bool {
        let datagram = self.datagrams.entry(name).or_insert_with(|| {
            self.number += 1;
            self.order.insert(self.number, name);
            self.peers.entry(name.source).or_default().insert(self.number);
            self.charged += DATAGRAM_COST;
            Datagram::new(self.number, interface, now + TIMEOUT)
        });
        self.charged += FRAGMENT_COST + part.len();
        datagram.insert(header, part);
        datagram.total == Some(datagram.held)
    }

    fn forget(&mut self, name: Name) -> Option<Datagram> {
        let datagram = self.datagrams.remove(&name)?;
        self.order.remove(&datagram.number);
        if let Some(numbers) = self.peers.get_mut(&name.source) {
            numbers.remove(&datagram.number);
            if numbers.is_empty() {
                self.peers.remove(&name.source);
            }
        }
        self.charged -= datagram.cost();
        Some(datagram)
    }
}

impl Outcome {
    const fn dropped(reason: DropReason) -> Self {
        Self { input: Input::Dropped(reason), given_up: Vec::new() }
    }
}

impl Name {
    const fn of(header: &Header) -> Self {
        let Header { source, destination, protocol, identification, .. } = *header;
        Self { source, destination, protocol, identification }
    }
}

impl Datagram {
    const fn new(number: u64, interface: u32, deadline: Instant) -> Self {
        let parts = BTreeMap::new();
        Self { number, interface, deadline, first: None, parts, held: 0, total: None, marks: 0 }
    }

    fn insert(&mut self, header: &Header, part: Bytes) {
        let offset = usize::from(header.fragment_offset);
        if offset == 0 {
            self.first = Some(*header);
        }
        if !header.more_fragments {
            self.total = Some(offset + part.len());
        }
        self.marks |= mark(header.ecn());
        self.held += part.len();
        self.parts.insert(offset, part);
    }

    /// How a fragment fits among those that are here.
    fn fit(&self, header: &Header, part: &Bytes) -> Fit {
        let offset = usize::from(header.fragment_offset);
        let end = offset + part.len();
        let is_last = !header.more_fragments;
        let farthest = self.parts.last_key_value().map_or(0, |(at, part)| at + part.len());
        let ends_elsewhere = match self.total {
            Some(total) => end > total || is_last != (end == total),
            None => is_last && end <= farthest,
        };
        if ends_elsewhere {
            return Fit::Contradiction;
        }
        if self.parts.get(&offset) == Some(part) {
            return Fit::Duplicate;
        }
        let before = self.parts.range(..offset).next_back().map_or(0, |(at, part)| at + part.len());
        let after = self.parts.range(offset..).next().map_or(usize::MAX, |(at, _)| *at);
        if before <= offset && end <= after { Fit::New } else { Fit::Contradiction }
    }

    /// The packet: the first fragment's header with what the others add. None if that is too long for a packet, or
    /// if some fragments were of a transport that takes congestion marks and others not.
    fn whole(self) -> Option<(Header, Payload)> {
        let first = self.first?;
        let total_len = u16::try_from(first.header_len() + self.held).ok()?;
        let unmarkable = mark(Ecn::NotCapable);
        if self.marks & unmarkable != 0 && self.marks != unmarkable {
            return None;
        }
        let congested = self.marks & mark(Ecn::CongestionExperienced) != 0;
        let tos = if congested { Ecn::CongestionExperienced.applied_to(first.tos) } else { first.tos };
        let mut payload = Payload::Empty;
        self.parts.into_values().for_each(|part| payload.push(part));
        Some((Header { tos, total_len, more_fragments: false, fragment_offset: 0, ..first }, payload))
    }

    fn given_up(&self, reason: DropReason) -> GivenUp {
        GivenUp { interface: self.interface, fragments: self.parts.len() as u32, reason }
    }

    fn cost(&self) -> usize {
        DATAGRAM_COST + self.parts.len() * FRAGMENT_COST + self.held
    }
}

/// A bit for each congestion mark.
const fn mark(ecn: Ecn) -> u8 {
    1 << ecn as u8
}

/// Whether a fragment of so many bytes can be one of any packet.
fn is_possible(header: &Header, len: usize) -> bool {
    let offset = usize::from(header.fragment_offset);
    let hides_tcp = header.protocol == Protocol::TCP && (offset == UNIT || (offset == 0 && len < TCP_SHOWN));
    let is_whole_units = !header.more_fragments || len.is_multiple_of(UNIT);
    len > 0 && is_whole_units && header.header_len() + offset + len <= MAX_PACKET && !hides_tcp
}

/// A copy in memory of its own.
fn copied(payload: &Payload) -> Bytes {
    match payload.slices() {
        [only] => Bytes::copy_from_slice(only),
        slices => slices.concat().into(),
    }
}

/// The fragments of a packet whose payload is all of `frame`, for an MTU in bytes; of a fragment, its fragments.
///
/// The first has all options and the others those that are to be copied (RFC 791 section 3.1). Payload is shared. The
/// checksum of the transport must be complete. An MTU that leaves no room for eight bytes is refused.
pub(crate) fn fragments<'f>(
    header: &Header,
    frame: &'f Frame,
    mtu: u32,
) -> Result<impl Iterator<Item = (Header, Frame)> + use<'f>, DropReason> {
    let room = (mtu as usize).saturating_sub(header.header_len()) / UNIT * UNIT;
    if room == 0 {
        return Err(DropReason::Ipv4MessageSize);
    }
    let first = *header;
    let others = Header { options: copied_options(&first.options), ..first };
    let len = frame.len();
    Ok((0..len).step_by(room).map(move |offset| {
        let end = len.min(offset + room);
        let template = if offset == 0 { first } else { others };
        let header = Header {
            total_len: (template.header_len() + end - offset) as u16,
            fragment_offset: first.fragment_offset + offset as u16,
            more_fragments: end < len || first.more_fragments,
            ..template
        };
        // The last fragment carries the charge of all.
        let charge = frame.charge.filter(|_| end == len);
        (header, Frame { charge, ..cut(frame, offset, end) })
    }))
}

/// The bytes of a frame from one offset to another, those of its inline headers inline.
fn cut(frame: &Frame, offset: usize, end: usize) -> Frame {
    let inline = frame.headers.as_slice();
    let headers = &inline[offset.min(inline.len())..end.min(inline.len())];
    let payload = offset.saturating_sub(inline.len())..end.saturating_sub(inline.len());
    Frame {
        headers: Headers::copy_from(headers).expect("a part of inline headers fits where they all do"),
        payload: frame.payload.slice(payload),
        offload: frame.offload,
        charge: None,
    }
}

/// The options that every fragment carries.
fn copied_options(options: &Options) -> Options {
    let mut copied = Options::default();
    for option in options.iter().filter_map(Result::ok).filter(IpOption::is_copied) {
        copied.push(&option).expect("some of the options need no more room than all");
    }
    copied
}

#[cfg(test)]
mod tests;
