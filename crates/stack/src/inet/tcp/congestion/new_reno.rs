//! NewReno: slow start and additive increase, multiplicative decrease (RFC 5681, RFC 6582, RFC 3465).

use super::{Acked, Window};

/// The classic algorithm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewReno {
    pub(super) window: Window,
    /// Bytes acknowledged since the window last grew in congestion avoidance.
    acknowledged: u32,
}

impl NewReno {
    pub(crate) const fn new(mss: u32) -> Self {
        Self { window: Window::initial(mss), acknowledged: 0 }
    }

    pub(super) fn on_acked(&mut self, acked: &Acked) {
        if !acked.limited {
            return;
        }
        if self.window.in_slow_start() {
            // Appropriate byte counting with L = 2 (RFC 3465 section 2.2).
            self.window.cwnd += acked.bytes.min(2 * acked.mss);
            return;
        }
        self.acknowledged += acked.bytes;
        if self.acknowledged >= self.window.cwnd {
            self.acknowledged -= self.window.cwnd;
            self.window.cwnd += acked.mss;
        }
    }

    pub(super) fn on_congestion(&mut self, in_flight: u32, mss: u32) {
        self.window.ssthresh = (in_flight / 2).max(2 * mss);
        self.window.cwnd = self.window.ssthresh;
        self.acknowledged = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Duration, Instant};

    const MSS: u32 = 1000;

    fn acked(bytes: u32) -> Acked {
        Acked {
            now: Instant::ZERO,
            bytes,
            mss: MSS,
            rtt: None,
            srtt: Duration::from_millis(100),
            limited: true,
            round: false,
        }
    }

    #[test]
    fn slow_start_doubles_and_avoidance_adds_one_segment_a_window() {
        let mut reno = NewReno::new(MSS);
        (0..10).for_each(|_| reno.on_acked(&acked(MSS)));
        assert_eq!(reno.window.cwnd, 20 * MSS);
        reno.window.ssthresh = 20 * MSS;
        (0..20).for_each(|_| reno.on_acked(&acked(MSS)));
        assert_eq!(reno.window.cwnd, 21 * MSS);
    }

    #[test]
    fn congestion_halves_what_is_in_flight_and_a_window_that_is_not_used_stays() {
        let mut reno = NewReno::new(MSS);
        reno.on_congestion(30 * MSS, MSS);
        assert_eq!((reno.window.cwnd, reno.window.ssthresh), (15 * MSS, 15 * MSS));
        reno.on_congestion(MSS, MSS);
        assert_eq!(reno.window.ssthresh, 2 * MSS);
        let idle = Acked { limited: false, ..acked(MSS) };
        let before = reno.window.cwnd;
        (0..100).for_each(|_| reno.on_acked(&idle));
        assert_eq!(reno.window.cwnd, before);
    }
}
