//! When the reactor steps back from a link: threads that wait read it themselves all the time ([`crate::seat`]), and the reactor is
//! woken for the moments in which none of them waits, for little (docs/adr/0012). Decisions only; the reactor carries them out.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use rumpnet_stack::time::{Duration, Instant};

/// For so long the reactor looks away before it asks whether somebody read meanwhile. Frames that come when no thread waits and none
/// comes to wait are held up for twice as long at most, and by how much the host's timers are late.
pub(crate) const PAUSE: Duration = Duration::from_micros(100);

/// Bytes read at once from which on a second reader is worth his waking: he copies while the first one works.
const LITTLE: usize = 4096;

/// Calls that are not further apart follow each other.
const SOON: Duration = Duration::from_millis(1);

/// How many calls for little that follow each other make the reactor step back.
const OFTEN: u32 = 4;

/// How many it takes at most after it stepped back in vain again and again.
const RARELY: u32 = 4096;

/// What a port remembers of the reactor's calls. Only the thread that turns the reactor asks it.
pub(crate) struct Deference {
    /// When the reactor was woken for this link the last time, in nanoseconds.
    woken: AtomicU64,
    /// Calls for little that have followed each other, and how many make the reactor step back.
    times: AtomicU32,
    needed: AtomicU32,
    /// Whether the reactor does not listen to the link now, but will again.
    pub(crate) away: AtomicBool,
}

impl Default for Deference {
    fn default() -> Self {
        Self {
            woken: AtomicU64::new(0),
            times: AtomicU32::new(0),
            needed: AtomicU32::new(OFTEN),
            away: AtomicBool::new(false),
        }
    }
}

impl Deference {
    /// The reactor was woken now and read so many bytes. Whether it steps back.
    pub(crate) fn on_woken(&self, now: Instant, bytes: usize) -> bool {
        let woken = Instant::from_nanos(self.woken.swap(now.as_nanos(), Ordering::Relaxed));
        let follows = now - woken < SOON && bytes < LITTLE;
        let times = if follows { self.times.load(Ordering::Relaxed) + 1 } else { 0 };
        let enough = times >= self.needed.load(Ordering::Relaxed);
        self.times.store(if enough { 0 } else { times }, Ordering::Relaxed);
        enough
    }

    /// The first pause is over. If no thread has waited in it, the next one takes more calls.
    pub(crate) fn on_first_look(&self, waited: bool) {
        let needed = if waited { OFTEN } else { (2 * self.needed.load(Ordering::Relaxed)).min(RARELY) };
        self.needed.store(needed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many calls, so far apart and for so much, the reactor steps back.
    fn steps_back(deference: &Deference, apart: Duration, bytes: usize) -> Option<u32> {
        let call = |call: &u32| deference.on_woken(Instant::from_nanos(1 << 40) + apart * *call, bytes);
        (1..4 * RARELY).find(call)
    }

    const APART: Duration = Duration::from_micros(20);

    #[test]
    fn the_reactor_steps_back_when_it_is_woken_for_little_again_and_again() {
        assert_eq!(steps_back(&Deference::default(), APART, 66), Some(OFTEN + 1));
    }

    #[test]
    fn it_stays_where_much_comes_or_little_rarely() {
        assert_eq!(steps_back(&Deference::default(), APART, LITTLE), None);
        assert_eq!(steps_back(&Deference::default(), SOON, 66), None);
    }

    #[test]
    fn where_nobody_waits_it_hardly_ever_steps_back() {
        let deference = Deference::default();
        (0..20).for_each(|_| deference.on_first_look(false));
        assert_eq!(steps_back(&deference, APART, 66), Some(RARELY + 1));
        deference.on_first_look(true);
        // The calls before were a moment ago.
        assert_eq!(steps_back(&deference, APART, 66), Some(OFTEN));
    }
}
