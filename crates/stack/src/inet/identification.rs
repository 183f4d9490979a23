//! Identifications of the IPv4 packets that we send (RFC 6864, RFC 6274 section 3.5.2, RFC 7739 section 5.3).
//!
//! What fragments of two packets must never share is counted for each source, destination and protocol, from a place that a keyed hash of the three
//! names: nobody foresees the numbers that others get, and nobody learns from his own how much we send to others. Counters are shared by what falls
//! together, which uses numbers up faster and repeats none sooner.

use alloc::boxed::Box;
use core::{hash::BuildHasher as _, net::Ipv4Addr};

use rumpnet_wire::ip::Protocol;

use crate::random::{PeerTableHasher, Random};

/// Counters: many more than hosts that are talked to at once are not needed, and most kernels are small.
const COUNTERS: usize = 256;

/// Who sends what to whom.
type Name = (Ipv4Addr, Ipv4Addr, Protocol);

/// The next numbers.
pub(super) struct Identifications {
    counters: Box<[u16]>,
    hasher: PeerTableHasher,
    /// The last name with its hash: packets of one flow follow each other.
    recent: Option<(Name, u64)>,
}

impl Identifications {
    pub(super) fn new(random: &mut Random) -> Self {
        Self { counters: Box::default(), hasher: PeerTableHasher::new(random.next_seed()), recent: None }
    }

    /// The first of `count` numbers in a row, one for each segment of a super-frame.
    #[inline]
    pub(super) fn next(&mut self, name: Name, count: usize) -> u16 {
        let hash = self.hash(name);
        if self.counters.is_empty() {
            // A kernel that sends nothing needs none.
            self.counters = alloc::vec![0; COUNTERS].into();
        }
        let counter = &mut self.counters[hash as usize % COUNTERS];
        let first = *counter;
        *counter = first.wrapping_add(count as u16);
        first.wrapping_add((hash >> 32) as u16)
    }

    #[inline]
    fn hash(&mut self, name: Name) -> u64 {
        match self.recent {
            Some((recent, hash)) if recent == name => hash,
            _ => {
                let (source, destination, protocol) = name;
                let hash = self.hasher.hash_one((source.to_bits(), destination.to_bits(), protocol.0));
                self.recent = Some((name, hash));
                hash
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn name(last: u8) -> Name {
        (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, last), Protocol::UDP)
    }

    #[test]
    fn no_number_is_given_twice_to_one_destination_before_all_were() {
        let mut numbers = Identifications::new(&mut Random::new([1; 16]));
        let mut seen = alloc::vec![false; 1 << 16];
        for round in 0..1 << 14 {
            let first = numbers.next(name(2), 3);
            (0..3).for_each(|step| {
                let place = usize::from(first.wrapping_add(step));
                assert!(!core::mem::replace(&mut seen[place], true), "round {round}");
            });
            // What others get in between takes none of them away.
            numbers.next(name(3), 1);
        }
    }

    #[test]
    fn numbers_for_one_destination_do_not_tell_those_for_another_nor_another_kernels() {
        let first =
            |seed: u8, last: u8| Identifications::new(&mut Random::new([seed; 16])).next(name(last), 1);
        assert_eq!(first(1, 2), first(1, 2), "the same seed gives the same");
        let differ = (2..=200).filter(|last| {
            let gap = |seed| first(seed, *last).wrapping_sub(first(seed, last + 1));
            first(1, *last) != first(2, *last) && gap(1) != gap(2)
        });
        assert!(differ.count() > 190);
    }
}
