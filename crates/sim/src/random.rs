//! Random numbers that depend on the world's seed alone.
//!
//! A stream of SplitMix64 (Steele, Lea, Flood 2014): small, fast, and of no use against an adversary, who is not expected in a
//! simulation. Every cable has a stream of its own, so that a change on one does not shift the faults on another.

use std::time::Duration;

use rumpnet_stack::Seed;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The stream of a seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A stream for a part of the world.
    pub(crate) const fn fork(&mut self) -> Self {
        Self(self.next_u64())
    }

    /// A seed for a stack.
    pub(crate) fn next_seed(&mut self) -> Seed {
        (u128::from(self.next_u64()) << 64 | u128::from(self.next_u64())).to_be_bytes()
    }

    /// A number below `bound`, or 0 if that is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Whether something of this probability happens; nothing is drawn where that is certain.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        if probability <= 0.0 {
            return false;
        }
        // The upper 53 bits make an evenly spread number below 1.
        let drawn = (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        drawn < probability
    }

    /// A span from zero to `greatest`, both included.
    pub(crate) fn span(&mut self, greatest: Duration) -> Duration {
        if greatest.is_zero() {
            return greatest;
        }
        let bound = u64::try_from(greatest.as_nanos()).unwrap_or(u64::MAX).saturating_add(1);
        Duration::from_nanos(self.below(bound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_of_a_seed_is_always_the_same() {
        // The reference implementation's first outputs for the seed 1234567.
        let mut random = Random::new(1_234_567);
        let drawn = [random.next_u64(), random.next_u64(), random.next_u64()];
        assert_eq!(drawn, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn something_of_probability_a_tenth_happens_about_a_tenth_of_the_time() {
        let mut random = Random::new(7);
        let happened = (0..10_000).filter(|_| random.happens(0.1)).count();
        assert!((900..1_100).contains(&happened), "{happened}");
        assert!((0..1_000).all(|_| random.happens(1.0)) && !random.happens(0.0));
    }

    #[test]
    fn a_span_stays_within_its_bound_and_reaches_it() {
        let mut random = Random::new(7);
        let spans: Vec<_> = (0..200).map(|_| random.span(Duration::from_nanos(3)).as_nanos()).collect();
        assert!(spans.iter().all(|span| *span <= 3) && spans.contains(&0) && spans.contains(&3));
    }
}
