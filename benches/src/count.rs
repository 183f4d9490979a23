//! Counting over a window of time that begins only when the load has settled.

use std::time::{Duration, Instant};

use crate::Figures;

/// How long what arrives is not counted, from the first arrival on.
const SETTLE: Duration = Duration::from_millis(100);
/// How long it is counted.
const MEASURE: Duration = Duration::from_millis(600);
/// How long to wait for the first arrival.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a load must last to fill the window of the slowest starter.
pub(crate) const LOAD: Duration = Duration::from_millis(1500);

/// A count in progress.
pub(crate) struct Count {
    begun: Instant,
    first: Option<Instant>,
    from: Option<Instant>,
    last: Instant,
    packets: u64,
    bytes: u64,
}

impl Count {
    /// A count of nothing yet.
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self { begun: now, first: None, from: None, last: now, packets: 0, bytes: 0 }
    }

    /// Whether there is still something to wait for.
    pub(crate) fn is_running(&self) -> bool {
        let now = Instant::now();
        match (self.first, self.from) {
            (None, _) => now < self.begun + PATIENCE,
            (Some(first), None) => now < first + SETTLE + MEASURE,
            (_, Some(from)) => now < from + MEASURE,
        }
    }

    /// Adds what has just arrived.
    pub(crate) fn add(&mut self, packets: u64, bytes: u64) {
        let now = Instant::now();
        let first = *self.first.get_or_insert(now);
        match self.from {
            Some(_) => {
                self.packets += packets;
                self.bytes += bytes;
                self.last = now;
            }
            None if now >= first + SETTLE => {
                self.from = Some(now);
                self.last = now;
            }
            None => {}
        }
    }

    /// Packets a second and Gbit/s of what was counted; zeros if nothing was.
    pub(crate) fn figures(&self) -> Figures {
        let seconds = self.from.map_or(0.0, |from| (self.last - from).as_secs_f64()).max(1e-9);
        let rate = |amount: f64| if self.packets == 0 { 0.0 } else { amount / seconds };
        Figures::from([
            ("packets_per_second".into(), rate(self.packets as f64)),
            ("gbit_per_second".into(), rate(self.bytes as f64 * 8.0 / 1e9)),
        ])
    }
}
