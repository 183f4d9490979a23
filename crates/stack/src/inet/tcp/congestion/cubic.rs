//! CUBIC (RFC 9438) with HyStart++ (RFC 9406): the window grows by a cubic function of the time since the last congestion,
//! and never slower than NewReno would.
//!
//! Arithmetic is in integers, so that a replay is exact: times in milliseconds, windows in bytes.

use super::{
    Acked, Window,
    hystart::{Growth, HyStart},
};
use crate::time::{Duration, Instant};

/// The multiplicative decrease factor 0.7, in tenths (RFC 9438 section 4.6).
const BETA_TENTHS: u64 = 7;

/// The algorithm that Linux begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cubic {
    pub(super) window: Window,
    hystart: Option<HyStart>,
    /// The window before the last congestion, in bytes.
    w_max: u32,
    /// The window when the epoch began.
    cwnd_epoch: u32,
    epoch: Option<Instant>,
    /// Milliseconds from the epoch until the window is `w_max` again.
    k_ms: u64,
    /// What NewReno would have (section 4.3).
    w_est: u32,
    /// Bytes acknowledged that have not yet made `w_est` grow.
    est_acked: u64,
    /// Bytes acknowledged that have not yet made the window grow.
    acked: u64,
}

impl Cubic {
    pub(crate) const fn new(mss: u32) -> Self {
        Self {
            window: Window::initial(mss),
            hystart: Some(HyStart::new()),
            w_max: 0,
            cwnd_epoch: 0,
            epoch: None,
            k_ms: 0,
            w_est: 0,
            est_acked: 0,
            acked: 0,
        }
    }

    pub(super) fn on_acked(&mut self, acked: &Acked) {
        if !acked.limited {
            // Time in which the sender had nothing to send does not count (section 5.8).
            self.epoch = None;
            return;
        }
        if self.window.in_slow_start() {
            self.slow_start(acked);
        } else {
            self.avoid(acked);
        }
    }

    fn slow_start(&mut self, acked: &Acked) {
        let growth = match &mut self.hystart {
            Some(hystart) => hystart.on_acked(acked),
            None => Growth::By(acked.bytes),
        };
        match growth {
            Growth::By(bytes) => self.window.cwnd = self.window.cwnd.saturating_add(bytes),
            Growth::Leave => {
                self.window.ssthresh = self.window.cwnd;
                self.hystart = None;
            }
        }
    }

    /// Congestion avoidance (sections 4.2 to 4.5).
    fn avoid(&mut self, acked: &Acked) {
        let mss = acked.mss.max(1);
        let epoch = match self.epoch {
            Some(epoch) => epoch,
            None => self.begin_epoch(acked.now, mss),
        };
        self.grow_estimate(acked.bytes, mss);
        let elapsed = acked.now - epoch;
        if self.w_cubic(elapsed, mss) < self.w_est {
            // The Reno-friendly region.
            self.window.cwnd = self.window.cwnd.max(self.w_est);
            return;
        }
        let target = self.w_cubic(elapsed + acked.srtt, mss);
        let target = target.clamp(self.window.cwnd, self.window.cwnd.saturating_mul(3) / 2);
        // (target - cwnd) / cwnd of what was acknowledged, whole bytes at a time.
        self.acked += u64::from(acked.bytes) * u64::from(target - self.window.cwnd);
        let grown = self.acked / u64::from(self.window.cwnd.max(1));
        self.acked %= u64::from(self.window.cwnd.max(1));
        self.window.cwnd = self.window.cwnd.saturating_add(grown.min(u64::from(u32::MAX)) as u32);
    }

    fn begin_epoch(&mut self, now: Instant, mss: u32) -> Instant {
        let cwnd = self.window.cwnd;
        self.w_max = self.w_max.max(cwnd);
        self.cwnd_epoch = cwnd;
        self.w_est = cwnd;
        self.est_acked = 0;
        self.acked = 0;
        // K = cbrt((W_max - cwnd_epoch) / C) with C = 0.4 segments/s³; in ms: cbrt(segments * 2.5 * 10^9).
        let bytes = u64::from(self.w_max - cwnd);
        self.k_ms = cube_root(bytes.saturating_mul(2_500_000_000) / u64::from(mss));
        *self.epoch.insert(now)
    }

    /// W_cubic(t) = C (t - K)³ + W_max, in bytes.
    fn w_cubic(&self, elapsed: Duration, mss: u32) -> u32 {
        let offset = elapsed.as_millis() as i128 - i128::from(self.k_ms);
        let cubed = offset * offset * offset;
        let bytes = cubed * i128::from(mss) / 2_500_000_000;
        (i128::from(self.w_max) + bytes).clamp(i128::from(2 * mss), i128::from(u32::MAX / 4)) as u32
    }

    /// α segments a window, with α = 3 (1 - β) / (1 + β) until the estimate has reached W_max, 1 from there on.
    fn grow_estimate(&mut self, bytes: u32, mss: u32) {
        let (numerator, denominator) = if self.w_est < self.w_max { (9, 17) } else { (1, 1) };
        self.est_acked += u64::from(bytes) * numerator;
        let window = u64::from(self.window.cwnd.max(1)) * denominator;
        let segments = self.est_acked / window;
        self.est_acked %= window;
        self.w_est =
            self.w_est.saturating_add((segments * u64::from(mss)).min(u64::from(u32::MAX / 4)) as u32);
    }

    pub(super) fn on_congestion(&mut self, _now: Instant, mss: u32) {
        let cwnd = self.window.cwnd;
        // Fast convergence (section 4.7): a window that did not get as far as the last one makes room.
        self.w_max =
            if cwnd < self.w_max { (u64::from(cwnd) * (10 + BETA_TENTHS) / 20) as u32 } else { cwnd };
        self.window.ssthresh = ((u64::from(cwnd) * BETA_TENTHS / 10) as u32).max(2 * mss);
        self.window.cwnd = self.window.ssthresh;
        self.epoch = None;
        self.hystart = None;
    }
}

/// The integer cube root, by bits.
const fn cube_root(value: u64) -> u64 {
    let mut root = 0u64;
    let mut bit = 1 << 21;
    while bit > 0 {
        let next = (root | bit) as u128;
        if next * next * next <= value as u128 {
            root |= bit;
        }
        bit >>= 1;
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    fn acked(now_ms: u64, bytes: u32) -> Acked {
        Acked {
            now: Instant::from_millis(now_ms),
            bytes,
            mss: MSS,
            rtt: Some(Duration::from_millis(100)),
            srtt: Duration::from_millis(100),
            limited: true,
            round: false,
        }
    }

    #[test]
    fn cube_roots_are_exact() {
        assert_eq!(cube_root(0), 0);
        for root in [1u64, 2, 100, 9999, 2_000_000] {
            assert_eq!(cube_root(root * root * root), root);
            assert_eq!(cube_root(root * root * root + 1), root);
        }
    }

    #[test]
    fn congestion_leaves_seven_tenths_and_k_is_the_rfcs() {
        let mut cubic = Cubic::new(MSS);
        cubic.window.cwnd = 100 * MSS;
        cubic.on_congestion(Instant::ZERO, MSS);
        assert_eq!((cubic.window.cwnd, cubic.window.ssthresh, cubic.w_max), (70 * MSS, 70 * MSS, 100 * MSS));
        cubic.on_acked(&acked(0, MSS));
        // K = cbrt(30 / 0.4) = 4.217 s.
        assert_eq!(cubic.k_ms, 4217);
        assert_eq!(cubic.w_cubic(Duration::from_millis(4217), MSS), 100 * MSS);
    }

    #[test]
    fn the_window_is_back_after_k_and_grows_slowly_around_it() {
        let mut cubic = Cubic::new(MSS);
        cubic.window.cwnd = 100 * MSS;
        cubic.on_congestion(Instant::ZERO, MSS);
        let mut at_k = 0;
        for now in (0..6000).step_by(100) {
            // A window of acknowledgments each round trip.
            for _ in 0..cubic.window.cwnd / MSS {
                cubic.on_acked(&acked(now, MSS));
            }
            if now == 4200 {
                at_k = cubic.window.cwnd;
            }
        }
        assert!((98 * MSS..=103 * MSS).contains(&at_k), "{at_k}");
        assert!(cubic.window.cwnd > at_k);
    }

    #[test]
    fn a_window_that_fell_short_of_the_last_one_makes_room() {
        let mut cubic = Cubic::new(MSS);
        cubic.window.cwnd = 100 * MSS;
        cubic.on_congestion(Instant::ZERO, MSS);
        cubic.on_congestion(Instant::ZERO, MSS);
        assert_eq!((cubic.w_max, cubic.window.cwnd), (59_500, 49 * MSS));
    }

    #[test]
    fn on_short_paths_it_is_no_slower_than_reno() {
        let mut cubic = Cubic::new(MSS);
        cubic.window.cwnd = 20 * MSS;
        cubic.on_congestion(Instant::ZERO, MSS);
        let start = cubic.window.cwnd;
        // A hundred round trips of 1 ms.
        for now in 0..100 {
            for _ in 0..cubic.window.cwnd / MSS {
                cubic.on_acked(&Acked { srtt: Duration::from_millis(1), ..acked(now, MSS) });
            }
        }
        let grown = cubic.window.cwnd - start;
        assert!(grown >= 50 * MSS, "{grown}");
    }
}
