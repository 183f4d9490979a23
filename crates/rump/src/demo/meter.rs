//! The live line of the demo: what passes virt0 in a second.

use std::time::{Duration, Instant};

use rumpnet::Kernel;
use rumpnet_proto::InterfaceCounters;

/// Back to the beginning of the line, and nothing behind it.
pub(super) const REDRAW: &str = "\r\x1b[K";

/// Counts what passed since the last look.
pub(super) struct Meter {
    at: Instant,
    seen: InterfaceCounters,
}

impl Meter {
    /// Begins to count.
    pub(super) fn new(kernel: &Kernel) -> Self {
        Self { at: Instant::now(), seen: counters(kernel) }
    }

    /// What passed since the last line, by the second.
    pub(super) fn line(&mut self, kernel: &Kernel) -> String {
        let (now, counters) = (Instant::now(), counters(kernel));
        let line = describe(&self.seen, &counters, now.duration_since(self.at));
        *self = Self { at: now, seen: counters };
        line
    }
}

/// What has passed at all.
pub(super) fn total(kernel: &Kernel) -> String {
    let counters = counters(kernel);
    format!("virt0 received {} packets and sent {}", counters.input_packets, counters.output_packets)
}

/// All zero for an interface that somebody has destroyed meanwhile.
fn counters(kernel: &Kernel) -> InterfaceCounters {
    kernel.interface("virt0").map(|report| report.counters).unwrap_or_default()
}

fn describe(before: &InterfaceCounters, after: &InterfaceCounters, span: Duration) -> String {
    let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / span.as_secs_f64().max(0.001);
    format!(
        "virt0: in {:.0} packets/s, {:.0} bytes/s; out {:.0} packets/s, {:.0} bytes/s",
        rate(before.input_packets, after.input_packets),
        rate(before.input_bytes, after.input_bytes),
        rate(before.output_packets, after.output_packets),
        rate(before.output_bytes, after.output_bytes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_by_the_second_and_never_negative() {
        let before = InterfaceCounters { input_packets: 10, output_bytes: 9, ..InterfaceCounters::default() };
        let after = InterfaceCounters { input_packets: 30, input_bytes: 840, ..InterfaceCounters::default() };
        assert_eq!(
            describe(&before, &after, Duration::from_secs(2)),
            "virt0: in 10 packets/s, 420 bytes/s; out 0 packets/s, 0 bytes/s"
        );
    }
}
