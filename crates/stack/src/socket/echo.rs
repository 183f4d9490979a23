//! Echo sessions: what ping(8) and traceroute(8) need, without raw sockets.
//!
//! A session sends ICMP echo requests, or UDP datagrams to ports that nobody is likely to have, with an identifier of its own and data that
//! it knows, and matches what comes back. Round-trip times are taken from the stack's clock, so that no caller's delay is in them.

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use rumpnet_proto::{DropReason, EchoData, EchoOptions, EchoOutcome, EchoReply, Errno, Probe};
use rumpnet_wire::{
    icmpv4::Message,
    ip::Protocol,
    ipv4::{IpOption, Options, Route},
    udp::Header as UdpHeader,
};

use crate::{
    buffer::{Frame, Received},
    config::Config,
    context::{Context, Event},
    inet::{
        Inet,
        icmp::{self, ErrorReport},
        ipv4::Outgoing,
        route::{Path, Scope, reason_of},
        udp,
        via::Via,
    },
    link::{Link, NO_INTERFACE},
    numbers::{self, Numbers},
    slab::{Key, Slab},
    time::Instant,
};

/// The most data in a request without options, in bytes: what an IPv4 packet holds.
const MAX_SIZE: u16 = 65_507;
/// Bytes of a pattern at most, as ping(8) takes them.
const MAX_PATTERN: usize = 16;
/// Identifiers, which are source ports too: not those that sockets draw theirs from.
const IDENTIFIERS: core::ops::Range<u16> = 32_768..49_152;
/// A record-route option with room for nine addresses, and the end of the list behind it.
const ROUTE_SLOTS: [u8; 36] = [0; 36];
/// Where the first address of a recorded route goes.
const FIRST_SLOT: u8 = 4;

struct Session {
    options: EchoOptions,
    identifier: u16,
    /// What random data begin with.
    seed: u64,
    sent: VecDeque<Sent>,
    replies: VecDeque<EchoReply>,
    announced: bool,
    /// Requests remembered for their replies, and replies kept for the reader.
    window: usize,
}

struct Sent {
    sequence: u16,
    at: Instant,
    answered: bool,
}

/// All echo sessions.
pub(crate) struct EchoSessions {
    sessions: Slab<Session>,
    /// The session of each identifier in use.
    by_identifier: BTreeMap<u16, Key>,
    /// Identifiers in use, those of ICMP sockets among them.
    pub(super) taken: Numbers,
}

impl EchoSessions {
    pub(super) fn new(config: &Config) -> Self {
        let mut taken = Numbers::default();
        // Many programs take it for none.
        taken.insert(0);
        Self { sessions: Slab::new(config.echo_sessions), by_identifier: BTreeMap::new(), taken }
    }

    /// Whether a session has an identifier.
    pub(super) fn has(&self, identifier: u16) -> bool {
        self.by_identifier.contains_key(&identifier)
    }

    /// An identifier that nobody has, from a random place on.
    pub(super) fn next_identifier(&self, first: u16) -> Option<u16> {
        numbers::next_free(core::iter::once(&self.taken), 0, first)
    }

    /// Opens a session; returns it with the address that it sends from.
    pub(crate) fn open(
        &mut self,
        cx: &mut Context,
        link: &Link,
        inet: &Inet,
        mut options: EchoOptions,
    ) -> Result<(Key, IpAddr), Errno> {
        judge(&options)?;
        if options.source.is_some_and(|source| !inet.addresses.is_ours(source) && !source.is_loopback()) {
            return Err(Errno::AddrNotAvail);
        }
        let path = determine_path(cx, link, inet, &options);
        let path = path.inspect_err(|errno| cx.tell_of_miss(options.destination, *errno))?;
        options.source = options.source.or(Some(path.source));
        let room = IDENTIFIERS.end - IDENTIFIERS.start;
        let first = IDENTIFIERS.start + cx.random.below(room.into()) as u16;
        let identifier = self.next_identifier(first).ok_or(Errno::NoBufs)?;
        let session = Session {
            options,
            identifier,
            seed: cx.random.next_u64(),
            sent: VecDeque::new(),
            replies: VecDeque::new(),
            announced: false,
            window: cx.config.echo_window as usize,
        };
        let key = self.sessions.insert(session).map_err(|_| Errno::NFile)?;
        self.by_identifier.insert(identifier, key);
        self.taken.insert(identifier);
        Ok((key, path.source))
    }

    pub(crate) fn close(&mut self, key: Key) -> Result<(), Errno> {
        let session = self.sessions.remove(key).ok_or(Errno::BadF)?;
        self.by_identifier.remove(&session.identifier);
        self.taken.remove(session.identifier);
        Ok(())
    }

    /// Sends one request; what routing, the link or a neighbour refuse.
    pub(crate) fn send(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        key: Key,
        sequence: u16,
    ) -> Result<(), Errno> {
        let session = self.sessions.value_mut(key).ok_or(Errno::BadF)?;
        let path = determine_path(cx, link, inet, &session.options).inspect_err(|errno| {
            cx.count_drop(NO_INTERFACE, reason_of(*errno));
            cx.tell_of_miss(session.options.destination, *errno);
        })?;
        if session.sent.len() >= session.window {
            session.sent.pop_front();
        }
        session.sent.push_back(Sent { sequence, at: cx.now, answered: false });
        let outgoing = session.outgoing(cx.config.ttl);
        let frame = session.request(&path, sequence);
        inet.send(cx, link, &path, &outgoing, frame)
    }

    /// Takes what has come back.
    pub(crate) fn receive(&mut self, key: Key) -> Result<Vec<EchoReply>, Errno> {
        let session = self.sessions.value_mut(key).ok_or(Errno::BadF)?;
        session.announced = false;
        Ok(session.replies.drain(..).collect())
    }

    /// An echo reply has come in, its cursor at the data; false if no session waits for it.
    pub(super) fn on_reply(
        &mut self,
        cx: &mut Context,
        (from, identifier, sequence): (IpAddr, u16, u16),
        (ttl, options): (u8, &Options),
        packet: &Received,
    ) -> bool {
        let Some((key, session)) = self.find(identifier) else { return false };
        if session.options.probe != Probe::Echo {
            return false;
        }
        let intact = session.is_intact(packet);
        let size = (packet.len() + Message::LEN).min(usize::from(u16::MAX)) as u16;
        let sent = session.sent.iter_mut().find(|sent| sent.sequence == sequence);
        let rtt_ns = sent.as_ref().map(|sent| (cx.now - sent.at).as_nanos());
        let outcome = match sent {
            Some(sent) if !sent.answered => {
                sent.answered = true;
                if intact { EchoOutcome::Reply } else { EchoOutcome::Corrupted }
            }
            _ => EchoOutcome::Duplicate,
        };
        let route = recorded(options);
        session.push(
            cx,
            key,
            EchoReply { sequence, from, size, ttl, rtt_ns, outcome, route, next_hop_mtu: None },
        );
        true
    }

    /// An ICMP error about one of our echo requests has come in; false if no session sent it.
    pub(super) fn on_error(
        &mut self,
        cx: &mut Context,
        (destination, identifier, sequence): (IpAddr, u16, u16),
        report: &ErrorReport,
    ) -> bool {
        self.tell(cx, (destination, identifier), report, |probe| (*probe == Probe::Echo).then_some(sequence))
    }

    /// The same about a UDP datagram, by its source and destination.
    pub(super) fn on_udp_error(
        &mut self,
        cx: &mut Context,
        (source, destination): (SocketAddr, SocketAddr),
        report: &ErrorReport,
    ) -> bool {
        self.tell(cx, (destination.ip(), source.port()), report, |probe| match probe {
            Probe::Udp { port } => Some(destination.port().wrapping_sub(*port)),
            Probe::Echo => None,
        })
    }

    /// Tells a session of an error about a request that it has sent; `sequence` says which, of its kind of probe.
    fn tell(
        &mut self,
        cx: &mut Context,
        (destination, identifier): (IpAddr, u16),
        report: &ErrorReport,
        sequence: impl FnOnce(&Probe) -> Option<u16>,
    ) -> bool {
        let Some((key, session)) = self.find(identifier) else { return false };
        if session.options.destination != destination {
            return false;
        }
        let Some(sequence) = sequence(&session.options.probe) else { return false };
        let sent = session.sent.iter().find(|sent| sent.sequence == sequence);
        let rtt_ns = sent.map(|sent| (cx.now - sent.at).as_nanos());
        let outcome = EchoOutcome::Error { kind: report.kind, code: report.code };
        let next_hop_mtu =
            Some(report.next_hop_mtu).filter(|mtu| (report.kind, report.code) == (3, 4) && *mtu > 0);
        let (from, ttl, route) = (IpAddr::V4(report.from), report.ttl, Vec::new());
        session.push(
            cx,
            key,
            EchoReply { sequence, from, size: 0, ttl, rtt_ns, outcome, route, next_hop_mtu },
        );
        true
    }

    fn find(&mut self, identifier: u16) -> Option<(Key, &mut Session)> {
        let key = *self.by_identifier.get(&identifier)?;
        self.sessions.value_mut(key).map(|session| (key, session))
    }
}

impl Session {
    fn push(&mut self, cx: &mut Context, key: Key, reply: EchoReply) {
        if self.replies.len() >= self.window {
            return cx.count_drop(NO_INTERFACE, DropReason::EchoSocketFull);
        }
        self.replies.push_back(reply);
        if !core::mem::replace(&mut self.announced, true) {
            cx.events.push_back(Event::Echo(key));
        }
    }

    /// What the IP header of a request says.
    fn outgoing(&self, default_ttl: u8) -> Outgoing {
        let EchoOptions { destination, ttl, tos, dont_fragment, record_route, probe, .. } = self.options;
        let (protocol, transport_len) = match probe {
            Probe::Echo => (Protocol::ICMP, Message::LEN),
            Probe::Udp { .. } => (Protocol::UDP, UdpHeader::LEN),
        };
        let mut options = Options::EMPTY;
        if record_route {
            let empty = Route { pointer: FIRST_SLOT, slots: &ROUTE_SLOTS };
            options.push(&IpOption::RecordRoute(empty)).expect("nine addresses fit a header");
        }
        let ttl = ttl.unwrap_or(default_ttl);
        Outgoing { protocol, destination, ttl, tos, dont_fragment, transport_len, options }
    }

    /// A request behind its transport's header.
    fn request(&self, path: &Path, sequence: u16) -> Frame {
        let data: Bytes = self.data().take(self.options.size.into()).collect::<Vec<_>>().into();
        match self.options.probe {
            Probe::Echo => {
                icmp::build(Message::EchoRequest { identifier: self.identifier, sequence }, data.into())
            }
            Probe::Udp { port } => {
                let source = SocketAddr::new(path.source, self.identifier);
                let destination = SocketAddr::new(self.options.destination, port.wrapping_add(sequence));
                udp::build(source, destination, data.into(), None)
            }
        }
    }

    /// The bytes that its requests are filled with.
    fn data(&self) -> impl Iterator<Item = u8> + '_ {
        (0_usize..).map(|place| match &self.options.data {
            EchoData::Places => place as u8,
            EchoData::Pattern(pattern) => pattern[place % pattern.len()],
            EchoData::Random => (mixed(self.seed, place as u64 / 8) >> (place % 8 * 8)) as u8,
        })
    }

    fn is_intact(&self, packet: &Received) -> bool {
        let bytes = packet.slices().flatten().copied();
        packet.len() == usize::from(self.options.size) && bytes.eq(self.data().take(packet.len()))
    }
}

/// Whether such requests can be sent at all. EMSGSIZE, EAFNOSUPPORT, EINVAL.
fn judge(options: &EchoOptions) -> Result<(), Errno> {
    let room = MAX_SIZE - if options.record_route { ROUTE_SLOTS.len() as u16 + 4 } else { 0 };
    let is_filled = match &options.data {
        EchoData::Pattern(pattern) => (1..=MAX_PATTERN).contains(&pattern.len()),
        EchoData::Places | EchoData::Random => true,
    };
    match options {
        _ if options.size > room => Err(Errno::MsgSize),
        _ if options.destination.is_ipv6() => Err(Errno::AfNoSupport),
        _ if !is_filled || options.ttl == Some(0) => Err(Errno::Inval),
        _ => Ok(()),
    }
}

fn determine_path(cx: &Context, link: &Link, inet: &Inet, options: &EchoOptions) -> Result<Path, Errno> {
    let via = Via { interface: None, direct: options.direct };
    let mut path = inet.determine_path_via(cx, link, options.destination, options.source, via)?;
    if let Scope::Multicast { loops } = &mut path.scope {
        *loops &= options.loops;
    }
    Ok(path)
}

/// The addresses in a recorded route.
fn recorded(options: &Options) -> Vec<Ipv4Addr> {
    let routes = options.iter().filter_map(Result::ok).filter_map(|option| match option {
        IpOption::RecordRoute(route) => Some(route),
        _ => None,
    });
    let used = |route: Route<'_>| usize::from(route.pointer.saturating_sub(FIRST_SLOT)) / 4;
    routes.take(1).flat_map(|route| route.addresses().take(used(route)).collect::<Vec<_>>()).collect()
}

/// One of a row of random numbers (SplitMix64).
const fn mixed(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
