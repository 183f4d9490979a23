//! Echo sessions: what ping(8) needs, without raw sockets.
//!
//! A session sends ICMP echo requests with an identifier of its own and pattern data, and matches what comes back. Round-trip times are
//! taken from the stack's clock, so that no caller's delay is in them.

use alloc::{collections::VecDeque, vec::Vec};
use core::net::IpAddr;

use bytes::Bytes;
use rumpnet_proto::{DropReason, EchoOptions, EchoOutcome, EchoReply, Errno};
use rumpnet_wire::icmpv4::Message;

use crate::{
    buffer::Received,
    config::Config,
    context::{Context, Event},
    inet::{
        Inet,
        icmp::{self, ErrorReport},
        route::reason_of,
    },
    link::{Link, NO_INTERFACE},
    numbers::{self, Numbers},
    slab::{Key, Slab},
    time::Instant,
};

/// Requests remembered for their replies, and replies kept for the reader.
const WINDOW: usize = 1024;
/// The most data in a request, in bytes: what an IPv4 packet holds.
const MAX_SIZE: u16 = 65_507;

struct Session {
    options: EchoOptions,
    identifier: u16,
    sent: VecDeque<Sent>,
    replies: VecDeque<EchoReply>,
    announced: bool,
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
    by_identifier: alloc::collections::BTreeMap<u16, Key>,
    /// Identifiers in use, those of ICMP sockets among them.
    pub(super) taken: Numbers,
}

impl EchoSessions {
    pub(super) fn new(config: &Config) -> Self {
        let mut taken = Numbers::default();
        // Many programs take it for none.
        taken.insert(0);
        let by_identifier = alloc::collections::BTreeMap::new();
        Self { sessions: Slab::new(config.echo_sessions), by_identifier, taken }
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
        if options.size > MAX_SIZE {
            return Err(Errno::MsgSize);
        }
        if options.destination.is_ipv6() {
            return Err(Errno::AfNoSupport);
        }
        if options.source.is_some_and(|source| !inet.addresses.is_ours(source) && !source.is_loopback()) {
            return Err(Errno::AddrNotAvail);
        }
        let path = inet.determine_path(cx, link, options.destination, options.source)?;
        options.source = options.source.or(Some(path.source));
        let first = cx.random.next_u64() as u16;
        let identifier = self.next_identifier(first).ok_or(Errno::NoBufs)?;
        let session = Session {
            options,
            identifier,
            sent: VecDeque::new(),
            replies: VecDeque::new(),
            announced: false,
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
        let EchoOptions { destination, source, ttl, size } = session.options;
        let path = inet.determine_path(cx, link, destination, source).inspect_err(|errno| {
            cx.count_drop(NO_INTERFACE, reason_of(*errno));
        })?;
        if session.sent.len() == WINDOW {
            session.sent.pop_front();
        }
        session.sent.push_back(Sent { sequence, at: cx.now, answered: false });
        let message = Message::EchoRequest { identifier: session.identifier, sequence };
        let frame = icmp::build(message, pattern(size).into());
        inet.send(cx, link, &path, &icmp::outgoing(destination, ttl.unwrap_or(cx.config.ttl), 0), frame)
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
        ttl: u8,
        packet: &Received,
    ) -> bool {
        let Some(key) = self.by_identifier.get(&identifier).copied() else { return false };
        let Some(session) = self.sessions.value_mut(key) else { return false };
        let intact = is_pattern(packet, session.options.size);
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
        session.push(cx, key, EchoReply { sequence, from, size, ttl, rtt_ns, outcome });
        true
    }

    /// An ICMP error about one of our requests has come in; false if no session sent it.
    pub(super) fn on_error(
        &mut self,
        cx: &mut Context,
        (destination, identifier, sequence): (IpAddr, u16, u16),
        report: &ErrorReport,
    ) -> bool {
        let Some(key) = self.by_identifier.get(&identifier).copied() else { return false };
        let Some(session) =
            self.sessions.value_mut(key).filter(|session| session.options.destination == destination)
        else {
            return false;
        };
        let sent = session.sent.iter().find(|sent| sent.sequence == sequence);
        let rtt_ns = sent.map(|sent| (cx.now - sent.at).as_nanos());
        let outcome = EchoOutcome::Error { kind: report.kind, code: report.code };
        let from = IpAddr::V4(report.from);
        session.push(cx, key, EchoReply { sequence, from, size: 0, ttl: report.ttl, rtt_ns, outcome });
        true
    }
}

impl Session {
    fn push(&mut self, cx: &mut Context, key: Key, reply: EchoReply) {
        if self.replies.len() == WINDOW {
            return cx.count_drop(NO_INTERFACE, DropReason::EchoSocketFull);
        }
        self.replies.push_back(reply);
        if !core::mem::replace(&mut self.announced, true) {
            cx.events.push_back(Event::Echo(key));
        }
    }
}

/// The data of a request: the low byte of each place, as ping(8) fills it.
fn pattern(size: u16) -> Bytes {
    (0..size).map(|place| place as u8).collect::<Vec<_>>().into()
}

fn is_pattern(packet: &Received, size: u16) -> bool {
    let bytes = packet.slices().flatten();
    packet.len() == usize::from(size) && bytes.enumerate().all(|(place, byte)| *byte == place as u8)
}
