//! What was given to be sent and is not yet acknowledged: shared slices, from `snd_una` on.
//!
//! A caller's bytes are appended as they are; segments and retransmissions share them, so that nothing is copied again.

use alloc::collections::VecDeque;

use bytes::{Buf as _, Bytes};

use crate::buffer::Payload;

/// The send queue of a connection. Offsets count from the first byte that is not acknowledged.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    slices: VecDeque<Bytes>,
    len: usize,
    /// Where the farthest look ended: a slice, and the offset of its first byte. New data is sent in order, so the next look begins there;
    /// what is sent again is mostly near the front.
    cursor: (u32, u32),
}

impl SendQueue {
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.len += bytes.len();
            self.slices.push_back(bytes);
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Bytes that count against the buffer: the payload, or what its slices take if they are very small.
    pub(crate) fn held(&self) -> usize {
        self.len.max(self.slices.len() * size_of::<Bytes>())
    }

    /// Bytes of memory that it holds, as far as it can know: what else a slice keeps alive is not to be seen.
    pub(crate) fn pinned(&self) -> usize {
        self.len + self.slices.len() * size_of::<Bytes>()
    }

    /// Forgets `count` bytes from the front, or all.
    pub(crate) fn acknowledge(&mut self, count: usize) {
        let count = count.min(self.len);
        let (mut left, mut gone) = (count, 0u32);
        self.len -= count;
        while let Some(front) = self.slices.front_mut().filter(|_| left > 0) {
            if front.len() > left {
                front.advance(left);
                left = 0;
            } else {
                left -= front.len();
                gone += 1;
                self.slices.pop_front();
            }
        }
        let (index, start) = self.cursor;
        self.cursor = if index > gone { (index - gone, start - count as u32) } else { (0, 0) };
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// `len` bytes from `offset` on, shared, in at most `slices` slices; less where the queue or the slices end.
    pub(crate) fn slice(&mut self, offset: usize, len: usize, slices: usize) -> Payload {
        let mut payload = Payload::Empty;
        let (index, start) = (self.cursor.0 as usize, self.cursor.1 as usize);
        let goes_on = offset >= start;
        let (mut index, mut start) = if goes_on { (index, start) } else { (0, 0) };
        let (mut offset, mut left) = (offset, len);
        let mut taken = 0;
        while let Some(slice) = self.slices.get(index).filter(|_| left > 0 && taken < slices) {
            let end = start + slice.len();
            if offset < end {
                let part = (end - offset).min(left);
                payload.push(slice.slice(offset - start..offset - start + part));
                taken += 1;
                offset += part;
                left -= part;
            }
            if offset >= end {
                (index, start) = (index + 1, end);
            }
        }
        if goes_on {
            self.cursor = (index as u32, start as u32);
        }
        payload
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_segment_may_span_slices_and_is_limited_in_their_number() {
        let mut queue = SendQueue::default();
        for part in ["abc", "", "def", "ghi"] {
            queue.push(Bytes::from_static(part.as_bytes()));
        }
        assert_eq!(queue.len(), 9);
        assert_eq!(&queue.slice(1, 7, 9).to_bytes()[..], b"bcdefgh");
        assert_eq!(&queue.slice(1, 7, 2).to_bytes()[..], b"bcdef");
        assert!(queue.slice(9, 5, 9).is_empty());
        queue.acknowledge(4);
        assert_eq!(&queue.slice(0, 9, 9).to_bytes()[..], b"efghi");
    }

    proptest! {
        #[test]
        fn any_order_of_calls_gives_the_bytes_of_the_stream(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..10),
            looks in prop::collection::vec((any::<prop::sample::Index>(), 0usize..30, 0usize..15), 0..20),
        ) {
            let mut stream: Vec<u8> = parts.concat();
            let mut queue = SendQueue::default();
            parts.into_iter().for_each(|part| queue.push(part.into()));
            for (place, len, acknowledged) in looks {
                let offset = place.index(stream.len() + 1);
                let end = (offset + len).min(stream.len());
                prop_assert_eq!(&queue.slice(offset, len, 99).to_bytes()[..], &stream[offset..end]);
                let acknowledged = acknowledged.min(stream.len());
                queue.acknowledge(acknowledged);
                stream.drain(..acknowledged);
                prop_assert_eq!(queue.len(), stream.len());
            }
        }
    }
}
