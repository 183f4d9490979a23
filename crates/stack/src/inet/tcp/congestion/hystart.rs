//! HyStart++: leaving slow start when round trips grow, before packets are lost (RFC 9406).

use super::Acked;
use crate::time::Duration;

const MIN_RTT_THRESH: Duration = Duration::from_millis(4);
const MAX_RTT_THRESH: Duration = Duration::from_millis(16);
const MIN_RTT_DIVISOR: u32 = 8;
/// Samples of a round before it is judged.
const N_RTT_SAMPLE: u32 = 8;
const CSS_GROWTH_DIVISOR: u32 = 4;
const CSS_ROUNDS: u32 = 5;

/// What slow start shall do with an acknowledgment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// Grow by so many bytes.
    By(u32),
    /// Round trips have grown for long enough: congestion avoidance.
    Leave,
}

/// The state of a slow start.
#[derive(Clone, Copy, Debug)]
pub(super) struct HyStart {
    last_round_min: Duration,
    this_round_min: Duration,
    samples: u32,
    /// The least round trip when conservative slow start began, and rounds since.
    conservative: Option<(Duration, u32)>,
}

impl HyStart {
    pub(super) const fn new() -> Self {
        Self { last_round_min: Duration::MAX, this_round_min: Duration::MAX, samples: 0, conservative: None }
    }

    pub(super) fn on_acked(&mut self, acked: &Acked) -> Growth {
        if acked.round {
            self.begin_round();
        }
        if let Some(rtt) = acked.rtt {
            self.this_round_min = self.this_round_min.min(rtt);
            self.samples += 1;
        }
        self.judge();
        match self.conservative {
            None => Growth::By(acked.bytes),
            Some((_, rounds)) if rounds >= CSS_ROUNDS => Growth::Leave,
            Some(_) => Growth::By(acked.bytes / CSS_GROWTH_DIVISOR),
        }
    }

    const fn begin_round(&mut self) {
        self.last_round_min = self.this_round_min;
        self.this_round_min = Duration::MAX;
        self.samples = 0;
        if let Some((baseline, rounds)) = self.conservative {
            self.conservative = Some((baseline, rounds + 1));
        }
    }

    fn judge(&mut self) {
        let judged = self.samples >= N_RTT_SAMPLE && self.last_round_min < Duration::MAX;
        if !judged {
            return;
        }
        match self.conservative {
            None => {
                let thresh = (self.last_round_min / MIN_RTT_DIVISOR).max(MIN_RTT_THRESH).min(MAX_RTT_THRESH);
                if self.this_round_min >= self.last_round_min + thresh {
                    self.conservative = Some((self.this_round_min, 0));
                }
            }
            // The growth was a spike: back to plain slow start.
            Some((baseline, _)) if self.this_round_min < baseline => self.conservative = None,
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    fn round(hystart: &mut HyStart, rtt_ms: u64) -> Growth {
        let mut growth = Growth::By(0);
        for number in 0..N_RTT_SAMPLE {
            growth = hystart.on_acked(&Acked {
                now: Instant::ZERO,
                bytes: 4000,
                mss: 1000,
                rtt: Some(Duration::from_millis(rtt_ms)),
                srtt: Duration::from_millis(rtt_ms),
                limited: true,
                round: number == 0,
            });
        }
        growth
    }

    #[test]
    fn steady_round_trips_keep_slow_start_and_growing_ones_end_it_after_five_rounds() {
        let mut hystart = HyStart::new();
        (0..10).for_each(|_| assert_eq!(round(&mut hystart, 40), Growth::By(4000)));
        // An eighth of 40 ms is 5 ms.
        assert_eq!(round(&mut hystart, 44), Growth::By(4000));
        assert_eq!(round(&mut hystart, 50), Growth::By(1000));
        (0..4).for_each(|_| assert_eq!(round(&mut hystart, 60), Growth::By(1000)));
        assert_eq!(round(&mut hystart, 60), Growth::Leave);
    }

    #[test]
    fn a_spike_is_forgiven() {
        let mut hystart = HyStart::new();
        round(&mut hystart, 40);
        assert_eq!(round(&mut hystart, 50), Growth::By(1000));
        assert_eq!(round(&mut hystart, 41), Growth::By(4000));
    }
}
