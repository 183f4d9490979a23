//! [`Ledger`]: which neighbour must go when the table is full.
//!
//! Entries are kept by sort, interface and last use, and the sizes of those groups too, so that the victim is found
//! in the time of a tree look-up. Entries that are never evicted are not in it.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::slab::Key;
use crate::time::Instant;

/// How much an entry is worth to us, least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Sort {
    /// Known because the neighbour asked for us; nothing was ever sent to it.
    Unused,
    /// Asked for and not answered, or not yet.
    Unanswered,
    /// Known, and used.
    Used,
}

impl Sort {
    /// All sorts, in the order in which they go.
    pub(super) const ALL: [Self; 3] = [Self::Unused, Self::Unanswered, Self::Used];
}

/// Where an entry stands in the order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    sort: Sort,
    interface: u32,
    used: Instant,
    /// Tells entries of one instant apart, the earlier ranked first.
    number: u64,
}

impl Place {
    pub(super) const fn new(sort: Sort, interface: u32, used: Instant) -> Self {
        Self { sort, interface, used, number: 0 }
    }

    const fn group(&self) -> (Sort, u32) {
        (self.sort, self.interface)
    }
}

/// The order of eviction.
#[derive(Debug)]
pub(super) struct Ledger {
    order: BTreeMap<Place, Key>,
    sizes: BTreeMap<(Sort, u32), u32>,
    /// The groups by size.
    largest: BTreeSet<(Sort, u32, u32)>,
    number: u64,
}

impl Ledger {
    pub(super) const fn new() -> Self {
        Self { order: BTreeMap::new(), sizes: BTreeMap::new(), largest: BTreeSet::new(), number: 0 }
    }

    /// Moves an entry from one place to another, either of which may be none; says where it is now.
    pub(super) fn replace(&mut self, old: Option<Place>, new: Option<Place>, id: Key) -> Option<Place> {
        if let Some(old) = old {
            self.order.remove(&old);
        }
        let new = new.map(|place| self.insert(place, id));
        let (left, joined) = (old.as_ref().map(Place::group), new.as_ref().map(Place::group));
        if left != joined {
            left.into_iter().for_each(|group| self.resize(group, |size| size - 1));
            joined.into_iter().for_each(|group| self.resize(group, |size| size + 1));
        }
        new
    }

    /// The entry of this sort that must go first: of the interface that holds most of them, the one whose last use is
    /// longest ago.
    pub(super) fn victim(&self, sort: Sort) -> Option<Key> {
        let of_sort = (sort, 0, 0)..=(sort, u32::MAX, u32::MAX);
        let &(_, _, interface) = self.largest.range(of_sort).next_back()?;
        let first = Place::new(sort, interface, Instant::ZERO);
        self.order.range(first..).next().map(|(_, id)| *id)
    }

    fn insert(&mut self, place: Place, id: Key) -> Place {
        self.number += 1;
        let place = Place { number: self.number, ..place };
        self.order.insert(place, id);
        place
    }

    fn resize(&mut self, group: (Sort, u32), change: impl Fn(u32) -> u32) {
        let (sort, interface) = group;
        let old = self.sizes.remove(&group).unwrap_or(0);
        self.largest.remove(&(sort, old, interface));
        let new = change(old);
        if new > 0 {
            self.sizes.insert(group, new);
            self.largest.insert((sort, new, interface));
        }
    }
}
