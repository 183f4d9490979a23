//! Sets of 16-bit numbers, such as the ports and identifiers in use, in which a free one is found in bounded work.
//!
//! A number is a bit; bits lie in parts of 256, and only parts with a number in them take memory. Looking for a free number reads at most
//! the 256 parts of each set, whatever is in them.

use alloc::collections::BTreeMap;

/// A set of numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    parts: BTreeMap<u8, [u64; PART]>,
}

/// Words in a part.
const PART: usize = 4;
/// Numbers in a word.
const WORD: u16 = u64::BITS as u16;
/// Words of all numbers.
const WORDS: u16 = u16::MAX / WORD + 1;

/// The part, the word in it and the bit of a number.
const fn place(number: u16) -> (u8, usize, u64) {
    ((number >> 8) as u8, (number / WORD) as usize % PART, 1 << (number % WORD))
}

impl Numbers {
    pub(crate) fn insert(&mut self, number: u16) {
        let (part, word, bit) = place(number);
        self.parts.entry(part).or_default()[word] |= bit;
    }

    pub(crate) fn remove(&mut self, number: u16) {
        let (part, word, bit) = place(number);
        if let Some(words) = self.parts.get_mut(&part) {
            words[word] &= !bit;
            if *words == [0; PART] {
                self.parts.remove(&part);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    fn word(&self, index: u16) -> u64 {
        let (part, word, _) = place(index * WORD);
        self.parts.get(&part).map_or(0, |words| words[word])
    }
}

/// The first number from `first` on, and after the last of all again from `least` on, that is in none of the sets; none if all are.
///
/// `least` is a multiple of 64, and `first` is brought above it.
pub(crate) fn next_free<'a>(
    sets: impl Iterator<Item = &'a Numbers> + Clone,
    least: u16,
    first: u16,
) -> Option<u16> {
    let first = least + (u32::from(first) % (u32::from(u16::MAX - least) + 1)) as u16;
    let (begin, from) = (least / WORD, first / WORD);
    let free = |index: u16| !sets.clone().fold(0, |taken, set| taken | set.word(index));
    let above = u64::MAX << (first % WORD);
    let found = |index: u16, mask: u64| {
        let bits = free(index) & mask;
        (bits != 0).then(|| index * WORD + bits.trailing_zeros() as u16)
    };
    found(from, above)
        .or_else(|| (from + 1..WORDS).chain(begin..from).find_map(|index| found(index, u64::MAX)))
        .or_else(|| found(from, !above))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: u16 = 49_152;

    #[test]
    fn the_next_free_number_is_found_round_the_end() {
        let mut taken = Numbers::default();
        let next = |taken: &Numbers, first| next_free([taken].into_iter(), LEAST, first);
        assert_eq!(next(&taken, 0), Some(LEAST));
        (LEAST..=u16::MAX).filter(|number| *number != 50_000).for_each(|number| taken.insert(number));
        for first in [0, 848, 849, 16_383, 65_535] {
            assert_eq!(next(&taken, first), Some(50_000), "{first}");
        }
        taken.insert(50_000);
        assert_eq!(next(&taken, 7), None);
        taken.remove(LEAST);
        assert_eq!(next(&taken, 7), Some(LEAST));
    }

    #[test]
    fn a_number_of_any_set_is_taken() {
        let (mut one, mut other) = (Numbers::default(), Numbers::default());
        one.insert(1);
        other.insert(2);
        assert_eq!(next_free([&one, &other].into_iter(), 0, 1), Some(3));
        assert_eq!(next_free([&one].into_iter(), 0, 1), Some(2));
    }

    #[test]
    fn a_set_without_numbers_takes_no_memory() {
        let mut set = Numbers::default();
        for number in [0, 255, 256, u16::MAX] {
            set.insert(number);
            set.remove(number);
        }
        assert!(set.is_empty());
    }
}
