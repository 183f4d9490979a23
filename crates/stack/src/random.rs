//! Random numbers from the seed given at boot: a keyed hash of a counter, so that a replay draws the same ones.

use core::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;
use siphasher::sip::{SipHasher13, SipHasher24};

/// The secret that everything random is drawn from.
pub type Seed = [u8; 16];

/// A stream of random numbers.
#[derive(Clone)]
pub(crate) struct Random {
    key: Seed,
    counter: u64,
}

impl Random {
    /// A stream that depends on `seed` alone.
    pub(crate) const fn new(seed: Seed) -> Self {
        Self { key: seed, counter: 0 }
    }

    /// The next 64 bits.
    pub(crate) fn next_u64(&mut self) -> u64 {
        self.counter += 1;
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write_u64(self.counter);
        hasher.finish()
    }

    /// A number below `bound`, which is not 0; its bias is below 2^-32 for bounds of 32 bits.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u32
    }

    /// A seed of its own for a part of the kernel.
    pub(crate) fn next_seed(&mut self) -> Seed {
        (u128::from(self.next_u64()) << 64 | u128::from(self.next_u64())).to_be_bytes()
    }

    /// A hasher state for one table of what this host itself has chosen, such as its ports.
    ///
    /// Peers only look up in such a table, so a fast hash will do; what peers fill is keyed by SipHash.
    pub(crate) fn table_hasher(&mut self) -> TableHasher {
        FixedState::with_seed(self.next_u64())
    }
}

/// Makes the hashers of one table.
pub(crate) type TableHasher = FixedState;

/// Makes the hashers of one table that peers fill: without the seed nobody finds keys that collide.
#[derive(Clone, Debug)]
pub(crate) struct PeerTableHasher(Seed);

impl PeerTableHasher {
    pub(crate) const fn new(seed: Seed) -> Self {
        Self(seed)
    }
}

impl BuildHasher for PeerTableHasher {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_numbers() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            [random.next_u64(), random.next_u64(), u64::from(random.below(10))]
        };
        assert_eq!(draw([1; 16]), draw([1; 16]));
        assert_ne!(draw([1; 16]), draw([2; 16]));
    }

    #[test]
    fn another_seed_hashes_otherwise() {
        let hash = |seed| PeerTableHasher::new(seed).hash_one(7_u32);
        assert_eq!(hash([1; 16]), hash([1; 16]));
        assert_ne!(hash([1; 16]), hash([2; 16]));
        let mut random = Random::new([3; 16]);
        assert_ne!(random.next_seed(), random.next_seed());
    }

    #[test]
    fn a_bounded_number_reaches_every_value_below_its_bound() {
        let mut random = Random::new([7; 16]);
        let mut seen = [false; 6];
        (0..200).for_each(|_| seen[random.below(6) as usize] = true);
        assert_eq!(seen, [true; 6]);
    }
}
