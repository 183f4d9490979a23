//! [`Waiting`]: what all packets that wait for link addresses cost together, and which goes first.
//!
//! Each neighbour has a [`Queue`]; the packets of all queues are numbered, so that the oldest of all is known when the
//! common budget is spent.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use super::NeighborLimits;
use crate::slab::{Key, Slab};

/// What a waiting packet costs in memory, in bytes, beside its own size as a value.
pub trait Weight {
    /// Bytes.
    fn weight(&self) -> usize;
}

/// The packets that wait for one neighbour, oldest first.
#[derive(Debug)]
pub(super) struct Queue<P> {
    packets: VecDeque<(u64, P)>,
    bytes: u64,
}

/// The common budget.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Whose packet each is, oldest first.
    order: BTreeMap<u64, Key>,
    bytes: u64,
    number: u64,
}

impl<P> Queue<P> {
    pub(super) const fn new() -> Self {
        Self { packets: VecDeque::new(), bytes: 0 }
    }

    pub(super) fn len(&self) -> u32 {
        self.packets.len() as u32
    }
}

impl Waiting {
    pub(super) const fn new() -> Self {
        Self { order: BTreeMap::new(), bytes: 0, number: 0 }
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a packet to the queue of `id` and returns those given up for it: the oldest of that queue while it is
    /// over its limits, then the oldest of all while all together are. A packet that fits nowhere gives up itself.
    pub(super) fn enqueue<E, P: Weight>(
        &mut self,
        entries: &mut Slab<E>,
        queue_of: impl Fn(&mut E) -> &mut Queue<P>,
        limits: &NeighborLimits,
        id: Key,
        packet: P,
    ) -> Vec<P> {
        let mut dropped = Vec::new();
        let fits = cost(&packet) <= limits.queue_bytes.min(limits.total_queue_bytes).into();
        let queue = entries.value_mut(id).map(&queue_of).filter(|_| fits && limits.queue_packets > 0);
        let Some(queue) = queue else { return alloc::vec![packet] };
        self.push(queue, id, packet);
        let over =
            |queue: &Queue<P>| queue.len() > limits.queue_packets || queue.bytes > limits.queue_bytes.into();
        while over(queue) {
            dropped.extend(self.pop(queue));
        }
        while self.bytes > limits.total_queue_bytes.into() {
            let oldest =
                self.order.first_key_value().and_then(|(_, id)| entries.value_mut(*id)).map(&queue_of);
            let Some(queue) = oldest else { break };
            dropped.extend(self.pop(queue));
        }
        dropped
    }

    /// Empties a queue.
    pub(super) fn release<P: Weight>(&mut self, queue: &mut Queue<P>) -> Vec<P> {
        core::iter::from_fn(|| self.pop(queue)).collect()
    }

    fn push<P: Weight>(&mut self, queue: &mut Queue<P>, id: Key, packet: P) {
        let cost = cost(&packet);
        queue.bytes += cost;
        self.bytes += cost;
        self.number += 1;
        self.order.insert(self.number, id);
        queue.packets.push_back((self.number, packet));
    }

    fn pop<P: Weight>(&mut self, queue: &mut Queue<P>) -> Option<P> {
        let (number, packet) = queue.packets.pop_front()?;
        let cost = cost(&packet);
        queue.bytes -= cost;
        self.bytes -= cost;
        self.order.remove(&number);
        if queue.packets.is_empty() {
            queue.packets = VecDeque::new();
        }
        Some(packet)
    }
}

/// An empty packet is not free either.
fn cost<P: Weight>(packet: &P) -> u64 {
    (packet.weight() + size_of::<P>()) as u64
}
