//! What was perhaps meant by a word that names nothing.

use alloc::{vec, vec::Vec};

/// The known word that takes the fewest changes, if these are few for its length.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = 1 + word.chars().count() / 3;
    let distances = known.into_iter().map(|known| (distance(word, known), known));
    let (least, near) = distances.min_by_key(|(distance, _)| *distance)?;
    (least <= limit).then_some(near)
}

/// Characters to be changed, added, left out, or exchanged with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut least = (row[j] + usize::from(a != b)).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(before[j - 1] + 1);
            }
            next.push(least);
        }
        before = core::mem::replace(&mut row, next);
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_takes_the_fewest_changes() {
        let known = ["router", "route", "pc1"];
        assert_eq!(nearest("rounter", known), Some("router"));
        assert_eq!(nearest("ruoter", known), Some("router"));
        assert_eq!(nearest("pc2", known), Some("pc1"));
        assert_eq!(nearest("switch", known), None);
        assert_eq!(nearest("switch", []), None);
    }
}
