//! Counting over a window of time that begins only when the load has settled.

use std::time::{Duration, Instant};

use crate::{Failure, Figures, cpu};

/// How long what arrives is not counted, from the first arrival on.
pub(crate) const SETTLE: Duration = Duration::from_millis(100);
/// How long it is counted.
pub(crate) const MEASURE: Duration = Duration::from_millis(600);
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
    /// The busy seconds of all CPUs when counting began, and when it ended.
    busy: [Option<f64>; 2],
}

impl Count {
    /// A count of nothing yet.
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self { begun: now, first: None, from: None, last: now, packets: 0, bytes: 0, busy: [None; 2] }
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
            Some(_) if self.busy[1].is_some() => {}
            Some(from) => {
                self.packets += packets;
                self.bytes += bytes;
                self.last = now;
                if now >= from + MEASURE {
                    self.busy[1] = cpu::busy_seconds().ok();
                }
            }
            None if now >= first + SETTLE => {
                self.from = Some(now);
                self.last = now;
                self.busy[0] = cpu::busy_seconds().ok();
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

    /// The same for a stream, and the CPU seconds that the whole system was busy for each 10^9 bytes.
    pub(crate) fn stream_figures(&self) -> Result<Figures, Failure> {
        let mut figures = self.figures();
        let [Some(begun), Some(ended)] = self.busy else {
            return Err("too little came to be counted".into());
        };
        figures.insert("cpu_s_per_gb".into(), (ended - begun) / (self.bytes as f64 / 1e9).max(1e-9));
        Ok(figures)
    }
}
