//! [`Index`]: neighbours by key, for looking up and for listing.
//!
//! Looking up is a keyed hash, because peers choose the addresses, and the neighbour of the last packet is remembered
//! before that. The order of listing is kept beside it, so that no hash order ever shows.

use alloc::collections::BTreeSet;
use core::ops::RangeBounds;

use hashbrown::HashMap;

use super::NeighborKey;
use crate::random::{PeerTableHasher, Seed};
use crate::slab::Key;

/// Where each neighbour's entry is.
#[derive(Debug)]
pub(super) struct Index {
    places: HashMap<NeighborKey, Key, PeerTableHasher>,
    order: BTreeSet<NeighborKey>,
    /// What [`Index::find_again`] found last.
    recent: Option<(NeighborKey, Key)>,
}

impl Index {
    pub(super) const fn new(seed: Seed) -> Self {
        let places = HashMap::with_hasher(PeerTableHasher::new(seed));
        Self { places, order: BTreeSet::new(), recent: None }
    }

    pub(super) fn insert(&mut self, key: NeighborKey, place: Key) {
        self.places.insert(key, place);
        self.order.insert(key);
    }

    pub(super) fn remove(&mut self, key: NeighborKey) {
        self.places.remove(&key);
        self.order.remove(&key);
        self.recent = self.recent.filter(|(recent, _)| *recent != key);
    }

    /// As [`Index::find`], for the path of every packet: most go where the last one went.
    #[inline]
    pub(super) fn find_again(&mut self, key: NeighborKey) -> Option<Key> {
        match self.recent {
            Some((recent, place)) if recent == key => Some(place),
            _ => {
                let place = self.find(key)?;
                self.recent = Some((key, place));
                Some(place)
            }
        }
    }

    pub(super) fn find(&self, key: NeighborKey) -> Option<Key> {
        self.places.get(&key).copied()
    }

    /// Keys in order.
    pub(super) fn range(&self, range: impl RangeBounds<NeighborKey>) -> impl Iterator<Item = NeighborKey> {
        self.order.range(range).copied()
    }
}
