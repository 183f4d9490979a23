//! [`NeighborCache`]: the link addresses of hosts on our links, for both families, and the packets that wait for them.
//!
//! ARP uses it now and neighbour discovery can later: it is told what was asked for, heard and due, and answers with
//! what to do. An entry is Incomplete while it is asked for; Reachable for a lifetime once confirmed; Stale when that
//! is nearly over or was never confirmed; Delay and Probe while a used entry is being confirmed anew; Failed when
//! nobody answered; Permanent when it was set by hand (RFC 4861 section 7.3.2, with ARP's lifetime of NetBSD's
//! `net.inet.arp.keep`). Confirmation asks the one host that had the address last, before the entry ends, so an entry
//! in use never lapses under traffic.
//!
//! # What is not believed, and who must go
//!
//! A packet that nobody asked for updates the entry it concerns, but makes a new one only if it is a request for an
//! address of ours (RFC 826, "merge"); replies and what is merely overheard make none. Such an entry is *unused*
//! until something is sent to it. With the table full, an unused entry may only take the place of another unused one;
//! an entry that we need ourselves takes that of an unused, else of an unanswered, else of a used one, each time on
//! the interface that holds most of that sort, and there the one whose last use is longest ago. Permanent and
//! published entries stay. So a flood of requests from a million addresses displaces nothing but itself, and a scan
//! through us displaces unanswered entries of the link that is scanned.
//!
//! Not here: packet formats, sending, counting, and whether an address is on a link at all.

mod eviction;
mod index;
mod waiting;

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::ops::Bound;

use rumpnet_proto::{Change, NeighborState};
use rumpnet_wire::ethernet::Address;

use crate::journal::Journal;
use crate::random::Seed;
use crate::slab::{Key, Slab};
use crate::time::{Duration, Instant};
use crate::timer::{TimerId, Wheel};
use eviction::{Ledger, Sort};
use index::Index;
use waiting::{Queue, Waiting};

pub use waiting::Weight;

/// Time between two requests for the same address (NetBSD's RETRANS_TIMER, RFC 4861 section 10).
pub const RETRY: Duration = Duration::from_secs(1);
/// Requests before a neighbour counts as unreachable (RFC 4861 MAX_MULTICAST_SOLICIT and MAX_UNICAST_SOLICIT).
pub const TRIES: u8 = 3;
/// From the first use of an unconfirmed entry to its confirmation (RFC 4861 DELAY_FIRST_PROBE_TIME).
pub const DELAY: Duration = Duration::from_secs(5);
/// How long an unreachable neighbour is not asked for again (NetBSD's `net.inet.arp.down`).
pub const DOWN: Duration = Duration::from_secs(20);
/// How long before its end a used entry is confirmed, at most: all requests and a second more.
const LEAD: Duration = Duration::from_secs(TRIES as u64 + 1);
/// Use is noted no more often than this, which spares the busy path the bookkeeping.
const USE_GRAIN: Duration = Duration::from_secs(1);
/// Timers looked at in one call of [`NeighborCache::next_timeout`].
const TIMER_BUDGET: u32 = 64;

/// Names a neighbour: the interface's index and the address.
pub type NeighborKey = (u32, IpAddr);

/// How large the cache may grow, and how long it remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborLimits {
    /// Entries of all interfaces together.
    pub entries: u32,
    /// Packets that wait for one neighbour.
    pub queue_packets: u32,
    /// Bytes that wait for one neighbour.
    pub queue_bytes: u32,
    /// Bytes that wait for all neighbours together.
    pub total_queue_bytes: u32,
    /// How long an entry is good after its last confirmation.
    pub lifetime: Duration,
}

/// What to do with a packet for a neighbour.
#[derive(Debug, PartialEq, Eq)]
pub enum Resolve<P> {
    /// Send it.
    Known {
        /// To this link address.
        address: Address,
        /// The packet given.
        packet: P,
    },
    /// It waits for the link address.
    Queued {
        /// Whether to ask all hosts on the link for the address now.
        ask: bool,
        /// Packets given up to stay within the limits, oldest first; the one given may be among them.
        dropped: Vec<P>,
        /// Whether another entry had to go.
        evicted: bool,
    },
    /// The neighbour did not answer lately.
    Unreachable {
        /// The packet given.
        packet: P,
    },
    /// The table is full of permanent and published entries.
    TableFull {
        /// The packet given.
        packet: P,
    },
}

/// What makes us believe in a link address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The neighbour answered, or says that it does.
    Reply,
    /// The neighbour asked for an address of ours.
    Request,
    /// It told somebody else, or everybody.
    Overheard,
}

/// What came of a [`NeighborCache::learn`].
#[derive(Debug, PartialEq, Eq)]
pub struct Learned<P> {
    /// Packets that waited, oldest first; they can be sent to the address now.
    pub released: Vec<P>,
    /// The link address that the neighbour had before, if it had another one.
    pub moved: Option<Address>,
    /// A permanent entry says otherwise, and stays.
    pub refused: bool,
    /// Whether another entry had to go.
    pub evicted: bool,
}

/// What came of a [`NeighborCache::insert_static`].
#[derive(Debug, PartialEq, Eq)]
pub struct Inserted<P> {
    /// Packets that waited, oldest first; they can be sent to the address now.
    pub released: Vec<P>,
    /// Packets that waited for an entry that had to go.
    pub dropped: Vec<P>,
    /// Whether another entry had to go.
    pub evicted: bool,
}

/// The table is full of permanent and published entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableFull;

/// What to do about a neighbour that is due.
#[derive(Debug, PartialEq, Eq)]
pub enum TimeoutAction<P> {
    /// Ask again: the host that had the address last, or all hosts.
    Ask {
        /// The link address to send the question to; all hosts if none.
        at: Option<Address>,
    },
    /// Nobody answered: the neighbour is unreachable, and these packets with it, oldest first.
    GiveUp {
        /// The packets that waited.
        packets: Vec<P>,
    },
    /// Nothing; the entry has lapsed and is gone.
    Forget,
}

/// An entry as arp(8) and ndp(8) list it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its link address, once known.
    pub link_address: Option<Address>,
    /// How far resolution has come.
    pub state: NeighborState,
    /// Whether we answer for it.
    pub published: bool,
    /// When it lapses unless confirmed, for those that do.
    pub expires: Option<Instant>,
    /// Packets that wait for it.
    pub waiting: u32,
}

impl Listing {
    /// Whether it was set by hand for good.
    pub const fn is_permanent(&self) -> bool {
        matches!(self.state, NeighborState::Permanent)
    }
}

/// The neighbours of all interfaces; see the module's description.
#[derive(Debug)]
pub struct NeighborCache<P> {
    entries: Slab<Entry<P>>,
    index: Index,
    ledger: Ledger,
    waiting: Waiting,
    timers: Wheel<Key>,
    limits: NeighborLimits,
    pub(crate) journal: Journal<NeighborNote>,
}

/// What has become of a neighbour whose link address is known.
pub(crate) type NeighborNote = (Change, NeighborKey, Listing);

#[derive(Debug)]
struct Entry<P> {
    key: NeighborKey,
    state: State,
    /// Known in every state but Incomplete and Failed.
    address: Option<Address>,
    published: bool,
    /// Requests sent in this state.
    tries: u8,
    /// When it was last confirmed.
    confirmed: Instant,
    /// When it lapses unless confirmed.
    expires: Instant,
    /// When it was last used, to the grain of [`USE_GRAIN`]; none if it never was.
    used: Option<Instant>,
    timer: Option<TimerId>,
    queue: Queue<P>,
    /// Where the ledger has it; none for entries that are never evicted.
    place: Option<eviction::Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Incomplete,
    Reachable,
    Stale,
    Delay,
    Probe,
    Failed,
    Permanent,
}

impl<P: Weight> NeighborCache<P> {
    /// An empty cache; peers that do not know the seed cannot choose addresses that are slow to look up.
    pub const fn new(limits: NeighborLimits, seed: Seed) -> Self {
        Self {
            entries: Slab::new(limits.entries),
            index: Index::new(seed),
            ledger: Ledger::new(),
            waiting: Waiting::new(),
            timers: Wheel::new(Instant::ZERO),
            limits,
            journal: Journal::new(),
        }
    }

    /// Something shall be sent to a neighbour: the link address, or the packet waits for it.
    pub fn resolve(&mut self, now: Instant, key: NeighborKey, packet: P) -> Resolve<P> {
        let Some(id) = self.index.find_again(key) else { return self.resolve_new(now, key, packet) };
        let entry = self.entry_mut(id);
        match (entry.state, entry.address) {
            (State::Failed, _) => Resolve::Unreachable { packet },
            (State::Incomplete, _) | (_, None) => {
                let dropped = self.enqueue(id, packet);
                Resolve::Queued { ask: false, dropped, evicted: false }
            }
            (_, Some(address)) => {
                self.note_use(now, id);
                Resolve::Known { address, packet }
            }
        }
    }

    /// The link address of a neighbour to which something is sent now, if it is known: the short way of [`Self::resolve`].
    #[inline]
    pub fn lookup(&mut self, now: Instant, key: NeighborKey) -> Option<Address> {
        let id = self.index.find_again(key)?;
        let address = self.entry(id).address?;
        self.note_use(now, id);
        Some(address)
    }

    /// A neighbour's link address was heard.
    pub fn learn(&mut self, now: Instant, key: NeighborKey, address: Address, how: Evidence) -> Learned<P> {
        let nothing = Learned { released: Vec::new(), moved: None, refused: false, evicted: false };
        match (self.index.find(key), how) {
            (Some(id), _) => self.learn_known(now, id, address, how),
            (None, Evidence::Request) => Learned { evicted: self.learn_new(now, key, address), ..nothing },
            (None, Evidence::Reply | Evidence::Overheard) => nothing,
        }
    }

    /// The neighbour was found reachable by other means, such as an acknowledgement of new data by TCP
    /// (RFC 4861 section 7.3.1).
    pub fn confirm(&mut self, now: Instant, key: NeighborKey) {
        let Some(id) = self.index.find(key) else { return };
        let entry = self.entry_mut(id);
        if entry.address.is_some() && entry.state != State::Permanent {
            self.make_reachable(now, id);
        }
    }

    /// The next neighbour for which something is due; call until it gives none.
    pub fn next_timeout(&mut self, now: Instant) -> Option<(NeighborKey, TimeoutAction<P>)> {
        let mut budget = TIMER_BUDGET;
        while let Some(id) = self.timers.expired(now, &mut budget) {
            let entry = self.entry_mut(id);
            entry.timer = None;
            let key = entry.key;
            if let Some(action) = self.on_timeout(now, id) {
                return Some((key, action));
            }
        }
        None
    }

    /// Sets an entry by hand, in place of any other; a temporary one lapses like one that was learned.
    pub fn insert_static(
        &mut self,
        now: Instant,
        key: NeighborKey,
        address: Address,
        temporary: bool,
        published: bool,
    ) -> Result<Inserted<P>, TableFull> {
        let (id, evicted, dropped) = match self.index.find(key) {
            Some(id) => (id, false, Vec::new()),
            None => {
                let room = self.make_room(&Sort::ALL).ok_or(TableFull)?;
                (self.create(now, key), room.evicted, room.dropped)
            }
        };
        let released = self.release(id);
        let entry = self.entry_mut(id);
        let known = entry.address.replace(address).is_some();
        entry.published = published;
        // An entry that somebody typed in counts as used.
        entry.used = Some(now);
        if temporary {
            self.make_reachable(now, id);
        } else {
            entry.state = State::Permanent;
            self.disarm(id);
        }
        self.rank(now, id);
        self.note(if known { Change::Changed } else { Change::Added }, id);
        Ok(Inserted { released, dropped, evicted })
    }

    /// Forgets a neighbour; the packets that waited for it are handed back, or none if there was no such entry.
    pub fn remove(&mut self, key: NeighborKey) -> Option<Vec<P>> {
        let id = self.index.find(key)?;
        Some(self.discard(id))
    }

    /// Forgets one neighbour of an interface, permanent or not, and hands back the packets that waited for it; none
    /// when there are no more. An interface is flushed by calling until then, in slices of any size.
    pub fn remove_next_of(&mut self, interface: u32) -> Option<Vec<P>> {
        let first = (interface, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let key = self.index.range(first..).next().filter(|key| key.0 == interface)?;
        self.remove(key)
    }

    /// Changes how long entries are good; those already there keep their time until they are confirmed again.
    pub const fn set_lifetime(&mut self, lifetime: Duration) {
        self.limits.lifetime = lifetime;
    }

    /// The link address to answer with for this address, if we answer for it.
    pub fn published(&self, key: NeighborKey) -> Option<Address> {
        let entry = self.entry(self.index.find(key)?);
        entry.address.filter(|_| entry.published)
    }

    /// Whether there is an entry, in whatever state.
    pub fn contains(&self, key: NeighborKey) -> bool {
        self.index.find(key).is_some()
    }

    /// One entry as it is listed.
    pub fn listing(&self, key: NeighborKey) -> Option<Listing> {
        self.index.find(key).map(|id| self.entry(id).listing())
    }

    /// Entries in the order of interface and address, from the first or from the one after a given key.
    pub fn list_after(&self, after: Option<NeighborKey>) -> impl Iterator<Item = (NeighborKey, Listing)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.index.range((start, Bound::Unbounded)).filter_map(|key| Some((key, self.listing(key)?)))
    }

    /// When to call [`NeighborCache::next_timeout`]: never later than the first entry is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// The number of entries.
    pub const fn len(&self) -> u32 {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all packets that wait, as they are charged.
    pub const fn waiting_bytes(&self) -> u64 {
        self.waiting.bytes()
    }

    /// The first packet for an address that nobody is asking for.
    fn resolve_new(&mut self, now: Instant, key: NeighborKey, packet: P) -> Resolve<P> {
        let Some(room) = self.make_room(&Sort::ALL) else { return Resolve::TableFull { packet } };
        let id = self.create(now, key);
        self.entry_mut(id).tries = 1;
        self.arm(id, now + RETRY);
        self.rank(now, id);
        let mut dropped = room.dropped;
        dropped.extend(self.enqueue(id, packet));
        Resolve::Queued { ask: true, dropped, evicted: room.evicted }
    }

    /// A stranger asked for us; it is remembered if that costs nobody but another such entry. True if it did.
    fn learn_new(&mut self, now: Instant, key: NeighborKey, address: Address) -> bool {
        let Some(room) = self.make_room(&[Sort::Unused]) else { return false };
        let id = self.create(now, key);
        self.entry_mut(id).address = Some(address);
        self.make_stale(now, id);
        self.rank(now, id);
        self.note(Change::Added, id);
        room.evicted
    }

    fn learn_known(&mut self, now: Instant, id: Key, address: Address, how: Evidence) -> Learned<P> {
        let entry = self.entry_mut(id);
        let moved = entry.address.filter(|old| *old != address);
        if entry.state == State::Permanent {
            let refused = moved.is_some();
            return Learned { released: Vec::new(), moved: None, refused, evicted: false };
        }
        let known = entry.address.replace(address).is_some();
        let was_asked_for = matches!(entry.state, State::Incomplete | State::Failed);
        // Who says the same again confirms it; another address is believed on an answer and verified otherwise.
        if how == Evidence::Reply || (moved.is_none() && !was_asked_for) {
            self.make_reachable(now, id);
        } else {
            self.make_stale(now, id);
        }
        if !known || moved.is_some() {
            self.note(if known { Change::Changed } else { Change::Added }, id);
        }
        let released = self.release(id);
        if !released.is_empty() {
            self.note_use(now, id);
        } else if was_asked_for {
            self.entry_mut(id).used.get_or_insert(now);
            self.rank(now, id);
        }
        Learned { released, moved, refused: false, evicted: false }
    }

    /// The entry's time has come: what to do, if anything.
    fn on_timeout(&mut self, now: Instant, id: Key) -> Option<TimeoutAction<P>> {
        let entry = self.entry_mut(id);
        match entry.state {
            State::Incomplete if entry.tries < TRIES => Some(self.ask_again(now, id)),
            State::Incomplete => {
                entry.state = State::Failed;
                self.arm(id, now + DOWN);
                Some(TimeoutAction::GiveUp { packets: self.release(id) })
            }
            State::Reachable if entry.used.is_none_or(|used| used <= entry.confirmed) => {
                entry.state = State::Stale;
                let expires = entry.expires;
                self.arm(id, expires);
                None
            }
            State::Reachable | State::Delay => {
                entry.state = State::Probe;
                entry.tries = 0;
                Some(self.ask_again(now, id))
            }
            State::Probe if entry.tries < TRIES => Some(self.ask_again(now, id)),
            State::Stale | State::Probe | State::Failed => {
                // Packets wait only while an entry is incomplete.
                self.discard(id);
                Some(TimeoutAction::Forget)
            }
            State::Permanent => None,
        }
    }

    fn ask_again(&mut self, now: Instant, id: Key) -> TimeoutAction<P> {
        let entry = self.entry_mut(id);
        entry.tries += 1;
        let at = entry.address;
        self.arm(id, now + RETRY);
        TimeoutAction::Ask { at }
    }

    fn make_reachable(&mut self, now: Instant, id: Key) {
        let lifetime = self.limits.lifetime;
        let entry = self.entry_mut(id);
        entry.state = State::Reachable;
        entry.confirmed = now;
        entry.expires = now + lifetime;
        let end = entry.expires - LEAD.min(lifetime / 4);
        self.arm(id, end);
    }

    fn make_stale(&mut self, now: Instant, id: Key) {
        let lifetime = self.limits.lifetime;
        let entry = self.entry_mut(id);
        entry.state = State::Stale;
        entry.expires = now + lifetime;
        self.arm(id, now + lifetime);
    }

    /// Something is sent to a known address: an unconfirmed one will have to be confirmed.
    fn note_use(&mut self, now: Instant, id: Key) {
        let entry = self.entry_mut(id);
        if entry.state == State::Stale {
            entry.state = State::Delay;
            self.arm(id, now + DELAY);
        }
        let entry = self.entry_mut(id);
        if entry.used.is_none_or(|used| used + USE_GRAIN <= now) {
            entry.used = Some(now);
            self.rank(now, id);
        }
    }

    /// Puts the entry last among its sort in the order of eviction.
    fn rank(&mut self, now: Instant, id: Key) {
        let entry = self.entries.value_mut(id).expect(INDEXED);
        let sort = match entry.state {
            _ if entry.published => None,
            State::Permanent => None,
            State::Incomplete | State::Failed => Some(Sort::Unanswered),
            _ if entry.used.is_none() => Some(Sort::Unused),
            _ => Some(Sort::Used),
        };
        let place = sort.map(|sort| eviction::Place::new(sort, entry.key.0, now));
        entry.place = self.ledger.replace(entry.place, place, id);
    }

    /// Sees to it that one more entry fits, by evicting one of the given sorts if need be.
    fn make_room(&mut self, sorts: &[Sort]) -> Option<Room<P>> {
        if !self.entries.is_full() {
            return Some(Room { evicted: false, dropped: Vec::new() });
        }
        let victim = sorts.iter().find_map(|sort| self.ledger.victim(*sort))?;
        Some(Room { evicted: true, dropped: self.discard(victim) })
    }

    /// An entry that knows nothing yet; there is room for it.
    fn create(&mut self, now: Instant, key: NeighborKey) -> Key {
        let id = self.entries.insert(Entry::new(now, key)).unwrap_or_else(|_| unreachable!("room was made"));
        self.index.insert(key, id);
        id
    }

    fn discard(&mut self, id: Key) -> Vec<P> {
        if self.entry(id).address.is_some() {
            self.note(Change::Deleted, id);
        }
        let packets = self.release(id);
        self.disarm(id);
        let entry = self.entries.remove(id).expect(INDEXED);
        self.ledger.replace(entry.place, None, id);
        self.index.remove(entry.key);
        packets
    }

    fn note(&mut self, change: Change, id: Key) {
        let Self { entries, journal, .. } = self;
        let entry = entries.value(id).expect(INDEXED);
        journal.note(|| (change, entry.key, entry.listing()));
    }

    fn enqueue(&mut self, id: Key, packet: P) -> Vec<P> {
        self.waiting.enqueue(&mut self.entries, |entry| &mut entry.queue, &self.limits, id, packet)
    }

    fn release(&mut self, id: Key) -> Vec<P> {
        let entry = self.entries.value_mut(id).expect(INDEXED);
        self.waiting.release(&mut entry.queue)
    }

    fn arm(&mut self, id: Key, deadline: Instant) {
        let entry = self.entries.value_mut(id).expect(INDEXED);
        match entry.timer {
            Some(timer) if self.timers.reset(timer, deadline) => {}
            _ => entry.timer = Some(self.timers.insert(id, deadline)),
        }
    }

    fn disarm(&mut self, id: Key) {
        if let Some(timer) = self.entry_mut(id).timer.take() {
            self.timers.cancel(timer);
        }
    }

    fn entry(&self, id: Key) -> &Entry<P> {
        self.entries.value(id).expect(INDEXED)
    }

    fn entry_mut(&mut self, id: Key) -> &mut Entry<P> {
        self.entries.value_mut(id).expect(INDEXED)
    }
}

const INDEXED: &str = "the index, the ledger and the timers name only entries that are there";

/// What making room has cost.
struct Room<P> {
    evicted: bool,
    dropped: Vec<P>,
}

impl<P> Entry<P> {
    const fn new(now: Instant, key: NeighborKey) -> Self {
        Self {
            key,
            state: State::Incomplete,
            address: None,
            published: false,
            tries: 0,
            confirmed: now,
            expires: now,
            used: None,
            timer: None,
            queue: Queue::new(),
            place: None,
        }
    }

    fn listing(&self) -> Listing {
        let lapses = matches!(self.state, State::Reachable | State::Stale | State::Delay | State::Probe);
        Listing {
            link_address: self.address,
            state: self.state.into(),
            published: self.published,
            expires: lapses.then_some(self.expires),
            waiting: self.queue.len(),
        }
    }
}

impl From<State> for NeighborState {
    fn from(state: State) -> Self {
        match state {
            State::Incomplete => Self::Incomplete,
            State::Reachable => Self::Reachable,
            State::Stale => Self::Stale,
            State::Delay | State::Probe => Self::Probe,
            State::Failed => Self::Failed,
            State::Permanent => Self::Permanent,
        }
    }
}

#[cfg(test)]
mod tests;
