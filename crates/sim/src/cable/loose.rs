//! A cable that hangs in no world: it decides what befalls each frame, and whoever holds it keeps the time and delivers.
//!
//! With it the faults of a simulated cable can be laid between real interfaces. Not here: rules, carriers and offloads; a frame is one
//! packet, complete as it is.

use std::time::Duration;

use bytes::Bytes;
use rumpnet_stack::{
    buffer::{Offload, Received},
    time::Instant,
};

use super::state::{CableCounters, CableState, End, Plug, Verdicts};
use crate::{Conditions, random::Random};

/// A cable with two ends, 0 and 1, outside of any world.
///
/// The same frames at the same times with the same seed meet the same fate.
pub struct LooseCable(CableState);

impl LooseCable {
    /// A cable that carries Ethernet frames, with the conditions for what the ends 0 and 1 send.
    pub fn new(seed: u64, conditions: [Conditions; 2]) -> Self {
        let mut state = CableState::new("loose".to_owned(), Random::new(seed));
        for (number, conditions) in conditions.into_iter().enumerate() {
            let end = state.add_end(End::new(Plug::Stranger(number), format!("end {number}"), true, true, 0));
            state.ends[end].conditions = conditions;
        }
        state.negotiate();
        Self(state)
    }

    /// Changes the conditions for what one end sends.
    pub fn set_from(&mut self, end: usize, conditions: Conditions) {
        self.0.ends[end].conditions = conditions;
    }

    /// An end sends a frame at the time `now`, counted from any beginning: what arrives of it at the other end, and when. Nothing, if it is lost.
    pub fn send(&mut self, now: Duration, end: usize, frame: Bytes) -> Vec<(Duration, Bytes)> {
        let now = Instant::ZERO + now.into();
        let received = Received::new(frame, Offload::default());
        let sent = self.0.send(now, end, received, 0, Verdicts::default());
        self.0.counters.delivered += sent.arrivals.len() as u64;
        let arrivals = sent.arrivals.into_iter();
        arrivals.map(|(at, frame)| ((at - Instant::ZERO).into(), frame.into_payload().to_bytes())).collect()
    }

    /// What has happened on it; what is under way counts as delivered.
    pub const fn counters(&self) -> CableCounters {
        self.0.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn frame() -> Bytes {
        Bytes::from(vec![7; 1000])
    }

    #[test]
    fn frames_wait_for_each_other_and_for_the_way_and_a_full_queue_drops() {
        let slow =
            Conditions { bandwidth: Some(8_000_000), latency: MS(10), queue: Some(2), ..Conditions::PERFECT };
        let mut cable = LooseCable::new(1, [slow, Conditions::PERFECT]);
        let arrivals: Vec<_> =
            (0..4).map(|_| cable.send(MS(5), 0, frame()).pop().map(|(at, _)| at)).collect();
        assert_eq!(arrivals, [Some(MS(16)), Some(MS(17)), Some(MS(18)), None]);
        assert_eq!(cable.send(MS(5), 1, frame()), [(MS(5), frame())]);
        let counters = cable.counters();
        assert_eq!((counters.sent, counters.delivered, counters.queue_full), (5, 4, 1));
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let bad = Conditions { loss: 0.3, duplication: 0.3, corruption: 0.3, ..Conditions::PERFECT };
        let fates = |seed| {
            let mut cable = LooseCable::new(seed, [bad; 2]);
            (0..100).map(|_| cable.send(MS(1), 0, frame())).collect::<Vec<_>>()
        };
        assert_eq!(fates(4), fates(4));
        assert_ne!(fates(4), fates(5));
    }

    #[test]
    fn what_one_end_sends_can_be_changed_by_itself() {
        let mut cable = LooseCable::new(1, [Conditions::PERFECT; 2]);
        cable.set_from(1, Conditions { loss: 1.0, ..Conditions::PERFECT });
        assert_eq!((cable.send(MS(1), 0, frame()).len(), cable.send(MS(1), 1, frame()).len()), (1, 0));
    }
}
