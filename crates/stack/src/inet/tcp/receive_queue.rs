//! What has come in order and waits for the user: shared slices, charged what they pin.

use alloc::collections::VecDeque;

use bytes::Bytes;

use crate::buffer::Payload;

/// Bytes that keeping a slice takes beside what it pins: its place in the queue, and the count of those that share it.
pub(super) const SLICE_COST: usize = 96;

/// Places that an empty queue keeps for what comes next.
const KEPT: usize = 1024;

/// The receive queue of a connection.
#[derive(Debug, Default)]
pub(crate) struct ReceiveQueue {
    /// Each with the memory that goes when it does.
    slices: VecDeque<(Bytes, u32)>,
    len: u32,
    pinned: u32,
}

impl ReceiveQueue {
    /// Appends what pins so many bytes until the last slice of it is gone.
    pub(super) fn push(&mut self, payload: Payload, pins: usize) {
        self.len += payload.len() as u32;
        match payload {
            Payload::Empty => return,
            Payload::One(slice) => self.slices.push_back((slice, 0)),
            Payload::Chain(slices) => self.slices.extend(slices.into_iter().map(|slice| (slice, 0))),
        }
        // No window is so wide that this could matter.
        let pins = u32::try_from(pins).map_or(0, |pins| pins.min(u32::MAX - self.pinned));
        self.pinned += pins;
        if let Some((_, pinned)) = self.slices.back_mut() {
            *pinned = pins;
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len as usize
    }

    /// Bytes of memory that it holds.
    pub(super) const fn pinned(&self) -> usize {
        self.pinned as usize
    }

    /// Takes up to `limit` bytes.
    pub(super) fn take(&mut self, limit: usize) -> Payload {
        let mut payload = Payload::Empty;
        let mut left = limit;
        while let Some((front, pins)) = self.slices.front_mut().filter(|_| left > 0) {
            if front.len() > left {
                payload.push(front.split_to(left));
                left = 0;
                break;
            }
            left -= front.len();
            payload.push(core::mem::take(front));
            self.pinned -= *pins;
            self.slices.pop_front();
        }
        self.len -= (limit - left) as u32;
        if self.slices.is_empty() && self.slices.capacity() > KEPT {
            self.slices = VecDeque::new();
        }
        payload
    }

    /// The same without taking it, from behind the first `passed` bytes on (MSG_PEEK).
    pub(super) fn peek(&self, mut passed: usize, mut left: usize) -> Payload {
        let mut payload = Payload::Empty;
        for slice in self.iter() {
            let from = passed.min(slice.len());
            let to = slice.len().min(from.saturating_add(left));
            payload.push(slice.slice(from..to));
            (passed, left) = (passed - from, left - (to - from));
        }
        payload
    }

    /// The slices in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.slices.iter().map(|(slice, _)| slice)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(parts: &[&'static str]) -> Payload {
        let mut payload = Payload::Empty;
        parts.iter().for_each(|part| payload.push(Bytes::from_static(part.as_bytes())));
        payload
    }

    #[test]
    fn what_a_train_pins_is_charged_until_its_last_slice_is_gone() {
        let mut queue = ReceiveQueue::default();
        queue.push(chain(&["abc", "def"]), 500);
        queue.push(chain(&["gh"]), 70);
        queue.push(Payload::Empty, 9);
        assert_eq!((queue.len(), queue.pinned()), (8, 570));
        assert_eq!(&queue.peek(0, 7).to_bytes()[..], b"abcdefg");
        assert_eq!(&queue.peek(2, 9).to_bytes()[..], b"cdefgh");
        assert_eq!(&queue.peek(2, usize::MAX).to_bytes()[..], b"cdefgh");
        for (limit, bytes, pinned) in [(4, "abcd", 570), (1, "e", 570), (2, "fg", 70), (9, "h", 0)] {
            assert_eq!(&queue.take(limit).to_bytes()[..], bytes.as_bytes());
            assert_eq!(queue.pinned(), pinned, "after {bytes}");
        }
        assert_eq!(queue.len(), 0);
    }
}
