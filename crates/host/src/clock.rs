//! The host's clocks, in nanoseconds.
//!
//! The stack is told the monotonic one; the wall clock only dates what people read, such as captures.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds in a second.
const SECOND: i128 = 1_000_000_000;

/// Nanoseconds since the host booted, without the time it slept: never back, never adjusted in steps.
#[inline]
pub fn monotonic() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic)) as u64
}

/// What to add to a [`monotonic`] time to get nanoseconds since 1970, now. The wall clock may be set at any time.
pub fn wall_offset() -> i128 {
    let before = nanoseconds(clock_gettime(ClockId::Monotonic));
    let wall = nanoseconds(clock_gettime(ClockId::Realtime));
    let after = nanoseconds(clock_gettime(ClockId::Monotonic));
    // The middle, because reading takes time, and more when we are interrupted.
    wall - (before + after) / 2
}

fn nanoseconds(time: Timespec) -> i128 {
    i128::from(time.tv_sec) * SECOND + i128::from(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn the_monotonic_clock_never_goes_back() {
        let times: Vec<u64> = (0..1000).map(|_| monotonic()).collect();
        assert!(times.is_sorted());
        assert!(times[0] > 0);
    }

    #[test]
    fn the_offset_leads_to_the_wall_clock() {
        let ours = wall_offset() + i128::from(monotonic());
        let system = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as i128;
        assert!((system - ours).unsigned_abs() < Duration::from_secs(1).as_nanos(), "{ours} {system}");
    }
}
