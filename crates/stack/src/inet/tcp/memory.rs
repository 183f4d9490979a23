//! Connections and the memory of all buffers together: each is charged what it holds whenever something has changed it, and learns
//! then how much it may hold.
//!
//! Under pressure windows are not offered again beyond a connection's share, though what was promised is kept (RFC 9293 section 3.8.6),
//! and writers wait until there is room. When nothing is left, data that came before its turn is given up, as RFC 2018 section 8 allows,
//! and what comes is refused beyond what each connection is guaranteed, so that each makes progress.

use alloc::collections::{BTreeMap, VecDeque};

use rumpnet_proto::{Counter, DropReason};

use super::{Socket, Tcp, connection::Connection, receive_queue::SLICE_COST};
use crate::{buffer::Payload, context::Context, slab::Key};

/// What a connection may hold in each direction however little is left, unless two full segments are more.
const GUARANTEED: u32 = 4096;
/// Waiting writers that one call asks whether there is room for them now.
const ASKED_AT_ONCE: usize = 16;
/// Connections whose early data one arrival may cost.
const PRUNED_AT_ONCE: usize = 4;
/// What is given up of one of them at a time, in bytes.
const PRUNED: usize = 256 * 1024;

/// Who waits for memory, and who has some to give.
pub(super) struct Shortage {
    /// Connections whose writers wait, how many of them are to be asked whether there is enough now, and what there was when they were asked
    /// last.
    awaiting: VecDeque<Key>,
    unasked: usize,
    asked_with: u32,
    /// Connections that hold data that came before its turn, in the order in which they began to; the places of that order, and the last one.
    prunable: BTreeMap<u64, Key>,
    places: BTreeMap<Key, u64>,
    numbered: u64,
}

impl Default for Shortage {
    fn default() -> Self {
        Self {
            awaiting: VecDeque::new(),
            unasked: 0,
            asked_with: u32::MAX,
            prunable: BTreeMap::new(),
            places: BTreeMap::new(),
            numbered: 0,
        }
    }
}

impl Shortage {
    /// A connection holds early data now, or holds none.
    fn note_early(&mut self, early: bool, noted: &mut bool, key: Key) {
        if early == core::mem::replace(noted, early) {
            return;
        }
        if early {
            self.numbered += 1;
            self.prunable.insert(self.numbered, key);
            self.places.insert(key, self.numbered);
        } else if let Some(place) = self.places.remove(&key) {
            self.prunable.remove(&place);
        }
    }

    /// Whoever has had early data longest, who is noted no more.
    fn next_prunable(&mut self) -> Option<Key> {
        let (_, key) = self.prunable.pop_first()?;
        self.places.remove(&key);
        Some(key)
    }
}

impl Connection {
    /// Bytes of memory that its queues hold.
    fn held(&self) -> usize {
        let early = self.reassembly.as_ref().map_or(0, |ranges| ranges.pinned());
        self.queue.pinned() + self.received.pinned() + early
    }

    /// Bytes that it may have in each direction in any case.
    pub(super) fn guaranteed(&self) -> u32 {
        GUARANTEED.max(2 * self.mss)
    }

    /// Bytes that a writer may append now, when so many are left for all.
    pub(super) fn room_to_write(&self, left: u64) -> usize {
        let (held, guaranteed) = (self.queue.held(), self.guaranteed() as usize);
        let room = (self.send_limit() as usize).saturating_sub(held);
        room.min((left as usize).max(guaranteed.saturating_sub(held)))
    }

    /// Whether its writer would not wait if there were more memory.
    fn is_short_of_memory(&self) -> bool {
        self.has_room_to_write(self.send_limit_of_path()) && !self.has_room_to_write(self.send_limit())
    }

    /// What of a segment in order may be kept; it pins `pins` bytes.
    ///
    /// If nothing is left, as much as is guaranteed, in memory of its own.
    pub(super) fn determine_keepable(
        &self,
        payload: Payload,
        pins: usize,
    ) -> Result<(Payload, usize), DropReason> {
        if self.allowed > 0 {
            return Ok((payload, pins));
        }
        let room = (self.guaranteed() as usize).saturating_sub(self.received.len());
        if room == 0 {
            return Err(DropReason::TcpMemoryFull);
        }
        let kept = payload.slice(0..room);
        let copy = bytes::Bytes::copy_from_slice(&kept.slices().concat());
        let pins = copy.len() + SLICE_COST;
        Ok((copy.into(), pins))
    }
}

impl Tcp {
    /// A connection is charged what it holds now, and told what it may hold.
    pub(super) fn account(&mut self, cx: &mut Context, key: Key) {
        let Self { sockets, shortage, .. } = self;
        let Some(Socket::Connection(connection)) = sockets.value_mut(key) else { return };
        let held = connection.held();
        cx.recharge(&mut connection.charged, held);
        let was_short = connection.is_short_of_memory();
        connection.allowed = cx.allowance();
        let is_short = connection.is_short_of_memory();
        let begins = is_short && !core::mem::replace(&mut connection.awaits_memory, true);
        let early = connection.reassembly.as_ref().is_some_and(|ranges| !ranges.is_empty());
        shortage.note_early(early, &mut connection.prunable, key);
        if begins {
            cx.count(Counter::TcpWritersHeldBack);
            shortage.awaiting.push_back(key);
        }
        if was_short && !is_short {
            self.tell(key);
        }
    }

    /// What it has is given back; it is going.
    pub(super) fn release(&mut self, cx: &mut Context, key: Key, connection: &mut Connection) {
        cx.recharge(&mut connection.charged, 0);
        self.shortage.note_early(false, &mut connection.prunable, key);
    }

    /// A segment with data has come: if there is no memory for it, early data is given up, that of whoever has had it longest first.
    pub(super) fn make_room(&mut self, cx: &mut Context) {
        for _ in 0..PRUNED_AT_ONCE {
            if !cx.memory_is_full() {
                return;
            }
            let Some(key) = self.shortage.next_prunable() else { return };
            let Some(connection) = self.connection_mut(key) else { continue };
            connection.prunable = false;
            if let Some(ranges) = &mut connection.reassembly {
                cx.add(Counter::TcpPruned, ranges.prune(PRUNED));
            }
            self.account(cx, key);
        }
    }

    /// There may be room again for some who wait for it.
    pub(super) fn wake_waiting(&mut self, cx: &Context) {
        let allowance = cx.allowance();
        if allowance > self.shortage.asked_with {
            self.shortage.unasked = self.shortage.awaiting.len();
        }
        self.shortage.asked_with = allowance;
        for _ in 0..ASKED_AT_ONCE.min(self.shortage.unasked) {
            self.shortage.unasked -= 1;
            let Some(key) = self.shortage.awaiting.pop_front() else { return };
            let Some(connection) = self.connection_mut(key) else { continue };
            connection.allowed = allowance;
            connection.awaits_memory = connection.is_short_of_memory();
            if connection.awaits_memory {
                self.shortage.awaiting.push_back(key);
            } else {
                self.tell(key);
            }
        }
    }

    /// Whether some who wait for memory are still to be asked.
    pub(crate) fn has_unasked(&self, cx: &Context) -> bool {
        self.shortage.unasked > 0
            || (!self.shortage.awaiting.is_empty() && cx.allowance() > self.shortage.asked_with)
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use core::net::SocketAddr;

    use rumpnet_wire::tcp::Seq;

    use super::*;
    use crate::{config::Config, inet::tcp::State, random::Random, time::Instant};

    #[test]
    fn nothing_is_kept_of_connections_that_had_early_data_and_went() {
        let config = Config::default();
        let mut random = Random::new([1; 16]);
        let mut tcp = Tcp::new(&config, &mut random);
        let mut cx = Context::new(config, random, Instant::ZERO);
        let at = |port| SocketAddr::from(([10, 0, 0, 1], port));
        for port in 1..=100 {
            let (settings, now) = (tcp.defaults, Instant::ZERO);
            let mut connection =
                Connection::new(at(80), at(port), State::Established, settings, Seq(0), 1500, now);
            let early = bytes::Bytes::from_static(b"early").into();
            connection.reassembly.get_or_insert_default().insert(Seq(9), &early, 5);
            let key = tcp.sockets.insert(Socket::Connection(Box::new(connection))).ok().expect("room");
            tcp.account(&mut cx, key);
            assert_eq!(tcp.shortage.prunable.len(), 1);
            tcp.remove(&mut cx, key);
        }
        assert!(tcp.shortage.prunable.is_empty());
    }
}
