//! How many frames to ask a descriptor for before the poller is asked again.
//!
//! A read that finds nothing costs as much as half of one that finds something. Where frames come one at a time, as in a
//! conversation, one is read and the poller says whether there are more; where they come in a flood, as many as can be
//! had are. Which it is shows by asking for two now and then.

use std::sync::atomic::{AtomicU32, Ordering};

/// Single frames between two attempts to find more.
const SINGLES: u32 = 8;

/// Frames from which on a link is read until it is empty, and the poller not asked in between.
const FLOOD: usize = 8;

/// The state of one link; one thread reads at a time.
#[derive(Default)]
pub(crate) struct Appetite {
    /// Frames that were there the last time that more than one was asked for.
    found: AtomicU32,
    /// Single frames since.
    singles: AtomicU32,
}

impl Appetite {
    /// Frames to ask for next, at most `most`.
    pub(crate) fn determine(&self, most: usize) -> usize {
        let found = self.found.load(Ordering::Relaxed) as usize;
        match (found, self.singles.load(Ordering::Relaxed)) {
            (0 | 1, singles) if singles < SINGLES => 1,
            (found, _) => (2 * found.max(1)).min(most),
        }
    }

    /// `got` frames of `asked` were there; whether to go on without the poller.
    pub(crate) fn note(&self, asked: usize, got: usize) -> bool {
        if asked == 1 {
            self.singles.fetch_add(1, Ordering::Relaxed);
        } else {
            self.found.store(got as u32, Ordering::Relaxed);
            self.singles.store(0, Ordering::Relaxed);
        }
        got == asked && got >= FLOOD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_come_one_at_a_time_are_asked_for_one_at_a_time_mostly() {
        let appetite = Appetite::default();
        let asked: Vec<usize> = (0..18)
            .map(|_| {
                let asked = appetite.determine(64);
                assert!(!appetite.note(asked, 1));
                asked
            })
            .collect();
        assert_eq!(asked.iter().filter(|asked| **asked == 1).count(), 16, "{asked:?}");
        assert!(asked.iter().all(|asked| *asked <= 2), "{asked:?}");
    }

    #[test]
    fn a_flood_is_soon_read_in_whole_batches_and_its_end_is_noticed() {
        let appetite = Appetite::default();
        let mut turns = 0;
        while appetite.determine(64) < 64 {
            let asked = appetite.determine(64);
            appetite.note(asked, asked);
            turns += 1;
        }
        assert!(turns <= 16, "{turns}");
        assert!(appetite.note(64, 64), "without the poller");
        assert!(!appetite.note(64, 1));
        assert_eq!(appetite.determine(64), 1);
    }
}
