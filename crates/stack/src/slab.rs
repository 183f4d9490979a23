//! [`Slab`]: a table whose entries are named by a [`Key`] that no later entry ever bears.
//!
//! A key is a place and the generation of that place, so that a key kept too long finds nothing instead of somebody
//! else's entry. Looking up, inserting and removing do not depend on how many entries there are; growing adds a
//! chunk and moves nothing. Iteration runs in the order of places, which depends on the history of calls alone, so
//! two runs with the same calls see the same order.
//!
//! Not a map: keys are made here. Not shrinking: places are reused, the newest free one first, and their memory
//! stays until [`Slab::clear`].

pub(crate) mod chunks;

use chunks::Chunks;

/// Names one entry of one [`Slab`]: 32 bits of place, 32 bits of generation.
///
/// The conversion to `u64` has the generation in the upper half; every `u64` converts back to some key, of which a
/// slab then says whether it knows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// The place in the slab.
    pub index: u32,
    /// How many entries have left that place before this one.
    pub generation: u32,
}

impl From<Key> for u64 {
    fn from(key: Key) -> Self {
        Self::from(key.generation) << 32 | Self::from(key.index)
    }
}

impl From<u64> for Key {
    fn from(number: u64) -> Self {
        Self { index: number as u32, generation: (number >> 32) as u32 }
    }
}

/// A table of `T` with a limit; see the module's description.
#[derive(Clone, Debug)]
pub struct Slab<T> {
    slots: Chunks<Slot<T>>,
    /// The newest free place, or [`NO_SLOT`].
    first_free: u32,
    len: u32,
    limit: u32,
}

#[derive(Clone, Debug)]
struct Slot<T> {
    generation: u32,
    content: Content<T>,
}

#[derive(Clone, Debug)]
enum Content<T> {
    /// Free; the next older free place, or [`NO_SLOT`].
    Vacant(u32),
    Occupied(T),
}

/// No place: the end of the list of free ones.
const NO_SLOT: u32 = u32::MAX;

impl<T> Slab<T> {
    /// An empty slab of at most `limit` entries; it owns no memory yet.
    pub const fn new(limit: u32) -> Self {
        // The last number is taken by NO_SLOT.
        let limit = if limit == NO_SLOT { NO_SLOT - 1 } else { limit };
        Self { slots: Chunks::new(), first_free: NO_SLOT, len: 0, limit }
    }

    /// Adds an entry and names it; at the limit the value is handed back.
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        self.insert_with(value, |value, _| value)
    }

    /// Adds the entry that `build` makes of `seed` and the key it will have; at the limit `seed` is handed back.
    pub fn insert_with<S>(&mut self, seed: S, build: impl FnOnce(S, Key) -> T) -> Result<Key, S> {
        let Some(key) = self.next_key() else { return Err(seed) };
        let content = Content::Occupied(build(seed, key));
        if key.index == self.slots.len() {
            self.slots.push(Slot { generation: key.generation, content });
        } else {
            self.occupy(key.index, content);
        }
        self.len += 1;
        Ok(key)
    }

    /// Takes an entry out; `None` if the key is not of an entry that is still here.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.value(key)?;
        let first_free = self.first_free;
        let slot = &mut self.slots[key.index];
        let left = core::mem::replace(&mut slot.content, Content::Vacant(first_free));
        // A place whose generations are used up stays empty for ever, so that no key is ever made twice.
        if let Some(generation) = slot.generation.checked_add(1) {
            slot.generation = generation;
            self.first_free = key.index;
        }
        self.len -= 1;
        match left {
            Content::Occupied(value) => Some(value),
            Content::Vacant(_) => None,
        }
    }

    /// Removes every entry and gives the memory back. Keys made before may name later entries, so this is for a
    /// slab whose keys are all forgotten.
    pub fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    /// Changes how many entries there may be. Entries beyond a lower limit stay; only insertion is refused.
    pub const fn set_limit(&mut self, limit: u32) {
        self.limit = if limit == NO_SLOT { NO_SLOT - 1 } else { limit };
    }

    /// The entry to be changed.
    pub fn value_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.at_mut(key.index)? {
            Slot { generation, content: Content::Occupied(value) } if *generation == key.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    /// The entry at a place, whatever its generation, to be changed; for lists threaded through a slab by place.
    pub(crate) fn at_place_mut(&mut self, index: u32) -> Option<&mut T> {
        match &mut self.slots.at_mut(index)?.content {
            Content::Occupied(value) => Some(value),
            Content::Vacant(_) => None,
        }
    }

    /// All entries to be changed, in the order of places.
    pub fn values_mut(&mut self, mut visit: impl FnMut(Key, &mut T)) {
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if let Content::Occupied(value) = &mut slot.content {
                visit(Key { index, generation: slot.generation }, value);
            }
        }
    }

    /// The entry of that name.
    pub fn value(&self, key: Key) -> Option<&T> {
        match self.slots.at(key.index)? {
            Slot { generation, content: Content::Occupied(value) } if *generation == key.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    /// The entry at a place, whatever its generation; for lists threaded through a slab by place.
    pub(crate) fn at_place(&self, index: u32) -> Option<&T> {
        match &self.slots.at(index)?.content {
            Content::Occupied(value) => Some(value),
            Content::Vacant(_) => None,
        }
    }

    /// Whether the entry of that name is still here.
    pub fn contains(&self, key: Key) -> bool {
        self.value(key).is_some()
    }

    /// The name of the entry at a place, if there is one.
    pub fn key_at(&self, index: u32) -> Option<Key> {
        let slot = self.slots.at(index)?;
        matches!(slot.content, Content::Occupied(_)).then_some(Key { index, generation: slot.generation })
    }

    /// Entries in the order of places.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.iter_from(0).take_places(u32::MAX)
    }

    /// Entries from place `index` on, to go on where a slice of the work ended.
    pub const fn iter_from(&self, index: u32) -> Iter<'_, T> {
        Iter { slab: self, next: index, end: self.slots.len() }
    }

    /// The number of entries.
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are no entries.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the limit is reached.
    pub const fn is_full(&self) -> bool {
        self.len >= self.limit
    }

    /// The number of entries there may be.
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// One more than the highest place ever used: where a walk by places ends.
    pub const fn places(&self) -> u32 {
        self.slots.len()
    }

    /// The bytes of heap memory held, without what the entries own themselves.
    pub fn heap_bytes(&self) -> usize {
        self.slots.heap_bytes()
    }

    fn next_key(&self) -> Option<Key> {
        if self.is_full() {
            return None;
        }
        match self.slots.at(self.first_free) {
            Some(slot) => Some(Key { index: self.first_free, generation: slot.generation }),
            None => (self.slots.len() < NO_SLOT).then_some(Key { index: self.slots.len(), generation: 0 }),
        }
    }

    fn occupy(&mut self, index: u32, content: Content<T>) {
        let slot = &mut self.slots[index];
        if let Content::Vacant(next) = core::mem::replace(&mut slot.content, content) {
            self.first_free = next;
        }
    }
}

/// Entries of a [`Slab`] in the order of places.
#[derive(Clone, Debug)]
pub struct Iter<'a, T> {
    slab: &'a Slab<T>,
    next: u32,
    end: u32,
}

impl<T> Iter<'_, T> {
    /// Ends the walk after so many places, occupied or not, so that a slice of work is bounded.
    pub const fn take_places(mut self, places: u32) -> Self {
        let end = self.next.saturating_add(places);
        if end < self.end {
            self.end = end;
        }
        self
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = (Key, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        while self.next < self.end {
            let index = self.next;
            self.next += 1;
            let slot = &self.slab.slots[index];
            if let Content::Occupied(value) = &slot.content {
                return Some((Key { index, generation: slot.generation }, value));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn a_key_survives_the_way_through_a_number() {
        let key = Key { index: 7, generation: 0xdead_beef };
        assert_eq!(u64::from(key), 0xdead_beef_0000_0007);
        assert_eq!(Key::from(u64::from(key)), key);
    }

    #[test]
    fn a_key_kept_too_long_finds_nothing() {
        let mut slab = Slab::new(10);
        let old = slab.insert("old").unwrap();
        assert_eq!(slab.remove(old), Some("old"));
        let new = slab.insert("new").unwrap();
        assert_eq!(new.index, old.index);
        assert_eq!(slab.remove(old), None);
        assert_eq!(slab.value(old), None);
        assert_eq!(slab.value_mut(old), None);
        assert_eq!(slab.value(new), Some(&"new"));
        assert_eq!(slab.value(Key { index: 99, generation: 0 }), None);
    }

    #[test]
    fn at_the_limit_the_value_is_handed_back() {
        let mut slab = Slab::new(1);
        let first = slab.insert(1).unwrap();
        assert!(slab.is_full());
        assert_eq!(slab.insert(2), Err(2));
        slab.set_limit(2);
        slab.insert(2).unwrap();
        slab.set_limit(1);
        slab.remove(first);
        assert_eq!((slab.insert(3), slab.len(), slab.limit()), (Err(3), 1, 1));
    }

    #[test]
    fn an_entry_may_know_its_own_key() {
        let mut slab = Slab::new(4);
        let key = slab.insert_with("name", |name, key| (key, name)).unwrap();
        assert_eq!(slab.value(key), Some(&(key, "name")));
    }

    #[test]
    fn a_place_whose_generations_are_used_up_is_never_used_again() {
        let mut slab = Slab::new(4);
        let key = slab.insert(1).unwrap();
        slab.slots[key.index].generation = u32::MAX;
        let last = Key { index: key.index, generation: u32::MAX };
        assert_eq!(slab.remove(last), Some(1));
        assert_eq!(slab.insert(2).unwrap(), Key { index: 1, generation: 0 });
        assert_eq!(slab.value(last), None);
        assert_eq!(slab.remove(last), None);
    }

    #[test]
    fn a_walk_in_slices_sees_what_one_walk_sees() {
        let mut slab = Slab::new(100);
        let keys: Vec<Key> = (0..50).map(|value| slab.insert(value).unwrap()).collect();
        keys.iter().step_by(3).for_each(|key| assert!(slab.remove(*key).is_some()));
        let whole: Vec<_> = slab.iter().map(|(key, value)| (key, *value)).collect();
        let mut sliced = Vec::new();
        for start in (0..slab.places()).step_by(7) {
            sliced.extend(slab.iter_from(start).take_places(7).map(|(key, value)| (key, *value)));
        }
        assert_eq!(whole, sliced);
        assert!(whole.is_sorted());
    }

    #[test]
    fn clearing_gives_the_memory_back() {
        let mut slab = Slab::new(10);
        slab.insert([0_u8; 64]).unwrap();
        assert!(slab.heap_bytes() >= 64);
        slab.clear();
        assert_eq!((slab.heap_bytes(), slab.len(), slab.is_empty(), slab.limit()), (0, 0, true, 10));
    }

    #[test]
    fn every_entry_can_be_changed_in_one_walk() {
        let mut slab = Slab::new(10);
        let keys: Vec<Key> = (0..4).map(|value| slab.insert(value).unwrap()).collect();
        slab.remove(keys[1]);
        slab.values_mut(|key, value| *value += key.index as i32 * 10);
        assert_eq!(slab.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [0, 22, 33]);
        assert_eq!((slab.key_at(1), slab.key_at(2), slab.key_at(9)), (None, Some(keys[2]), None));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u16),
        Remove(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![any::<u16>().prop_map(Step::Insert), any::<prop::sample::Index>().prop_map(Step::Remove)]
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_map_of_every_key_ever_made(steps in prop::collection::vec(step(), 0..200)) {
            let mut slab = Slab::new(20);
            let mut model = BTreeMap::new();
            let mut made: Vec<Key> = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(value) => match slab.insert(value) {
                        Ok(key) => {
                            prop_assert!(!made.contains(&key));
                            made.push(key);
                            model.insert(key, value);
                        }
                        Err(refused) => prop_assert_eq!((refused, model.len()), (value, 20)),
                    },
                    Step::Remove(pick) if !made.is_empty() => {
                        let key = *pick.get(&made);
                        prop_assert_eq!(slab.remove(key), model.remove(&key));
                    }
                    Step::Remove(_) => {}
                }
                prop_assert_eq!(slab.len() as usize, model.len());
                prop_assert!(made.iter().all(|key| slab.value(*key) == model.get(key)));
            }
            let walked: BTreeMap<Key, u16> = slab.iter().map(|(key, value)| (key, *value)).collect();
            prop_assert_eq!(walked, model);
        }
    }
}
