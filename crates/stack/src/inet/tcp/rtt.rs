//! Round-trip times and the retransmission time-out (RFC 6298).

use crate::time::{Duration, Instant};

/// The least time-out; RFC 6298 says a second, every host of today 200 ms.
pub(crate) const MIN_RTO: Duration = Duration::from_millis(200);
/// The greatest time-out.
pub(crate) const MAX_RTO: Duration = Duration::from_secs(120);
/// The time-out before anything was measured (RFC 6298 section 2.1).
const INITIAL_RTO: Duration = Duration::from_secs(1);
/// The same for data, if the SYN had to be repeated and so gave no measure (RFC 6298 section 5.7).
const FALLBACK_RTO: Duration = Duration::from_secs(3);
/// How long a minimum counts before it is measured anew.
const MINIMUM_LIFETIME: Duration = Duration::from_secs(300);

/// What is known of a path's round-trip time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoundTrip {
    srtt: Duration,
    rttvar: Duration,
    minimum: Duration,
    minimum_at: Instant,
    measured: bool,
    /// Whether the SYN had to be repeated, for the time-out as long as nothing was measured.
    fallen_back: bool,
    /// Time-outs in a row, each of which doubles the next one.
    backoff: u8,
}

impl RoundTrip {
    pub(crate) const fn new() -> Self {
        Self {
            srtt: Duration::ZERO,
            rttvar: Duration::ZERO,
            minimum: Duration::MAX,
            minimum_at: Instant::ZERO,
            measured: false,
            fallen_back: false,
            backoff: 0,
        }
    }

    /// A segment that was sent once was acknowledged after `rtt` (Karn's algorithm is the caller's).
    pub(crate) fn measure(&mut self, now: Instant, rtt: Duration) {
        if self.measured {
            let deviation = if rtt > self.srtt { rtt - self.srtt } else { self.srtt - rtt };
            self.rttvar = (self.rttvar * 3 + deviation) / 4;
            self.srtt = (self.srtt * 7 + rtt) / 8;
        } else {
            self.srtt = rtt;
            self.rttvar = rtt / 2;
            self.measured = true;
        }
        if rtt <= self.minimum || now - self.minimum_at > MINIMUM_LIFETIME {
            (self.minimum, self.minimum_at) = (rtt, now);
        }
        self.backoff = 0;
    }

    /// The retransmission time-out, doubled for each that has expired in a row.
    pub(crate) fn rto(&self) -> Duration {
        let base = if self.measured {
            // The deviation's part is at least the clock's granularity, here the least time-out.
            self.srtt + (self.rttvar * 4).max(MIN_RTO)
        } else if self.fallen_back {
            FALLBACK_RTO
        } else {
            INITIAL_RTO
        };
        let doubled = base * (1u32 << self.backoff.min(16));
        doubled.min(MAX_RTO)
    }

    /// The handshake is over, and a SYN was repeated.
    pub(crate) const fn fall_back(&mut self) {
        self.fallen_back = true;
        self.backoff = 0;
    }

    /// A retransmission time-out has expired (RFC 6298 section 5.5).
    pub(crate) const fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
    }

    /// An acknowledgment of new data came, though perhaps without a measure.
    pub(crate) const fn forget_back_off(&mut self) {
        self.backoff = 0;
    }

    pub(crate) const fn backoff(&self) -> u8 {
        self.backoff
    }

    /// The smoothed time, once there is one.
    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.measured.then_some(self.srtt)
    }

    pub(crate) const fn variation(&self) -> Duration {
        self.rttvar
    }

    /// The least time of the last minutes, once there is one.
    pub(crate) fn minimum(&self) -> Option<Duration> {
        self.measured.then_some(self.minimum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn before_the_first_measure_the_timeout_is_a_second_and_doubles() {
        let mut rtt = RoundTrip::new();
        assert_eq!(rtt.rto(), MS(1000));
        rtt.back_off();
        rtt.back_off();
        assert_eq!(rtt.rto(), MS(4000));
        (0..30).for_each(|_| rtt.back_off());
        assert_eq!(rtt.rto(), MAX_RTO);
    }

    #[test]
    fn the_first_measure_sets_and_later_ones_smooth_as_rfc_6298_says() {
        let mut rtt = RoundTrip::new();
        rtt.measure(Instant::ZERO, MS(400));
        assert_eq!((rtt.smoothed(), rtt.variation(), rtt.rto()), (Some(MS(400)), MS(200), MS(1200)));
        rtt.measure(Instant::ZERO, MS(800));
        // RTTVAR = 3/4 * 200 + 1/4 * 400, SRTT = 7/8 * 400 + 1/8 * 800.
        assert_eq!((rtt.smoothed(), rtt.variation()), (Some(MS(450)), MS(250)));
        assert_eq!(rtt.rto(), MS(1450));
    }

    #[test]
    fn a_measure_ends_the_backing_off_and_the_minimum_is_kept_for_minutes() {
        let mut rtt = RoundTrip::new();
        rtt.back_off();
        rtt.measure(Instant::ZERO, MS(10));
        rtt.measure(Instant::from_secs(1), MS(50));
        assert_eq!((rtt.backoff(), rtt.minimum()), (0, Some(MS(10))));
        rtt.measure(Instant::from_secs(400), MS(50));
        assert_eq!(rtt.minimum(), Some(MS(50)));
    }
}
