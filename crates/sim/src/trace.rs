//! The trace: a running hash over everything that a world shows, so that two runs can be compared.
//!
//! Each entry is chained to all before it. The first million are remembered with their times, so that the moment at
//! which two runs part can be named.

use core::hash::{BuildHasher as _, Hasher};

use foldhash::quality::{FixedState, FoldHasher};
use rumpnet_stack::time::Instant;

/// Entries remembered one by one.
const REMEMBERED: usize = 1 << 20;

/// What an entry is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mark {
    /// A frame was given to a cable.
    Sent,
    /// A frame came out of a cable.
    Delivered,
    /// A frame was lost on a cable.
    Lost,
    /// A kernel reported something.
    Message,
    /// A tool ended, with what it printed.
    Tool,
}

/// A running hash with some memory. Nobody chooses what is hashed to make it collide, and every byte that crosses a cable is: it is a fast one.
pub(crate) struct Trace {
    hasher: FoldHasher<'static>,
    entries: u64,
    remembered: Vec<(Instant, u64)>,
}

impl Trace {
    /// An empty trace.
    pub(crate) fn new() -> Self {
        Self { hasher: FixedState::with_seed(0).build_hasher(), entries: 0, remembered: Vec::new() }
    }

    /// Adds an entry.
    pub(crate) fn add<'a>(
        &mut self,
        now: Instant,
        mark: Mark,
        about: [usize; 2],
        slices: impl Iterator<Item = &'a [u8]>,
    ) {
        self.hasher.write_u64(now.as_nanos());
        self.hasher.write_u8(mark as u8);
        about.iter().for_each(|number| self.hasher.write_u64(*number as u64));
        let mut len = 0;
        for slice in slices {
            self.hasher.write(slice);
            len += slice.len() as u64;
        }
        // Lengths keep two entries from running into each other.
        self.hasher.write_u64(len);
        self.entries += 1;
        if self.remembered.len() < REMEMBERED {
            self.remembered.push((now, self.hasher.finish()));
        }
    }

    /// The hash of all entries.
    pub(crate) fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    /// When two traces parted, and at which entry; none if they are the same.
    pub(crate) fn parting(&self, other: &Self) -> Option<(u64, Instant)> {
        if (self.entries, self.hash()) == (other.entries, other.hash()) {
            return None;
        }
        let pairs = self.remembered.iter().zip(&other.remembered);
        let same = pairs.take_while(|(ours, theirs)| ours == theirs).count();
        let at = |trace: &Self| trace.remembered.get(same).map(|(time, _)| *time);
        Some((same as u64, at(self).or_else(|| at(other)).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(frames: &[&[u8]]) -> Trace {
        let mut trace = Trace::new();
        for (number, frame) in frames.iter().enumerate() {
            trace.add(Instant::from_secs(number as u64), Mark::Sent, [0, 0], core::iter::once(*frame));
        }
        trace
    }

    #[test]
    fn equal_traces_do_not_part_and_others_part_at_the_first_difference() {
        assert_eq!(trace(&[b"a", b"b"]).parting(&trace(&[b"a", b"b"])), None);
        let later = Some((1, Instant::from_secs(1)));
        assert_eq!(trace(&[b"a", b"b"]).parting(&trace(&[b"a", b"c"])), later);
        assert_eq!(trace(&[b"a"]).parting(&trace(&[b"a", b"c"])), later);
    }

    #[test]
    fn where_a_frame_ends_matters() {
        assert_ne!(trace(&[b"ab", b"c"]).hash(), trace(&[b"a", b"bc"]).hash());
    }
}
