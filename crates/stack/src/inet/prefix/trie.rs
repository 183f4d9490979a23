//! [`Trie`]: prefixes of 128-bit strings, in nodes that each tell six bits apart.
//!
//! A [`Node`] at depth `d` holds the prefixes of `d + 1` to `d + 6` bits whose first `d` bits are its own: one bit of
//! a 126-bit map for each, and the entries themselves side by side in the order of those bits. Longer prefixes are
//! below, one child for each value of the next six bits. Depths are multiples of six. A node that would hold nothing
//! and have one child is left out (path compression), so a child may lie deeper than the next six bits and the bits
//! between are not looked at on the way down; the entry found at the end has all its bits and settles the matter. The
//! layout is that of tree bitmaps (Eatherton, Varghese, Dittia, "Tree bitmap: hardware/software IP lookups with
//! incremental updates", 2004) with the path compression of PATRICIA.
//!
//! The prefix of length 0 lies beside the root. Nothing here knows addresses.

use alloc::{boxed::Box, vec::Vec};

/// A string of 128 bits; the first bit is the most significant.
pub(super) type Bits = u128;

/// Bits that one node tells apart.
const STRIDE: u8 = 6;
/// The places of a node in the order of [`Trie::iter_after`]: a prefix, then what it contains.
const PREORDER: [Place; PLACES] = preorder();
const PLACES: usize = 126 + 64;

/// For each value of the six bits, the map bits of the prefixes that contain it.
const CONTAINING: [u128; 64] = containing();

/// Prefixes with their values.
#[derive(Clone, Debug)]
pub(super) struct Trie<V> {
    root: Node<V>,
    whole: Option<Entry<V>>,
}

/// A prefix and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry<V> {
    // As bytes, because the alignment of u128 would add a quarter to a small entry.
    bits: [u8; 16],
    length: u8,
    /// What was stored.
    pub(super) value: V,
}

#[derive(Clone, Debug)]
struct Node<V> {
    /// Which prefixes of one to six bits are here; see [`map_bit`].
    held: u128,
    /// For which values of the six bits there is a child.
    below: u64,
    entries: Box<[Entry<V>]>,
    children: Box<[Self]>,
    depth: u8,
}

/// A place in a node: of an entry, by its number in the map, or of a child, by the value of its six bits.
#[derive(Clone, Copy)]
enum Place {
    Entry(u8),
    Child(u8),
}

impl<V> Trie<V> {
    pub(super) fn new() -> Self {
        Self { root: Node::new(0), whole: None }
    }

    /// Stores a value under a prefix, whose bits beyond its length are 0, and returns the one that was there.
    pub(super) fn insert(&mut self, bits: Bits, length: u8, value: V) -> Option<V> {
        let entry = Entry { bits: bits.to_be_bytes(), length, value };
        if length == 0 {
            return self.whole.replace(entry).map(|entry| entry.value);
        }
        self.root.insert(entry)
    }

    pub(super) fn remove(&mut self, bits: Bits, length: u8) -> Option<V> {
        if length == 0 {
            return self.whole.take().map(|entry| entry.value);
        }
        self.root.remove(bits, length)
    }

    pub(super) fn exact_mut(&mut self, bits: Bits, length: u8) -> Option<&mut V> {
        if length == 0 {
            return self.whole.as_mut().map(|entry| &mut entry.value);
        }
        let mut node = &mut self.root;
        while node.depth < depth_for(length) {
            node = node.child_mut(digit(bits, node.depth))?;
        }
        let entry = node.entry_mut(bits, length)?;
        entry.is(bits, length).then_some(&mut entry.value)
    }

    pub(super) fn exact(&self, bits: Bits, length: u8) -> Option<&V> {
        let entry = self.longest(bits, length)?;
        entry.is(bits, length).then_some(&entry.value)
    }

    /// The longest prefix of at most `at_most` bits that these bits begin with.
    pub(super) fn longest(&self, bits: Bits, mut at_most: u8) -> Option<&Entry<V>> {
        loop {
            let Some(entry) = self.root.longest_unchecked(bits, at_most) else { return self.whole.as_ref() };
            let common = entry.common(bits);
            if common >= entry.length {
                return Some(entry);
            }
            // The bits that were skipped differ. What was passed on the way down contains this entry up to where they
            // do, so that the longest one found there is right, and this loop ends.
            at_most = common;
        }
    }

    /// Entries in order of their bits, shorter before longer, from the first one after the given prefix.
    pub(super) fn iter_after(&self, after: Option<(Bits, u8)>) -> impl Iterator<Item = &Entry<V>> {
        let mut walk = Walk { path: Vec::new() };
        match after {
            Some((bits, length)) => walk.enter_after(&self.root, bits, length),
            None => walk.path.push((&self.root, 0)),
        }
        self.whole.as_ref().filter(|_| after.is_none()).into_iter().chain(walk)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.root.heap_bytes()
    }
}

impl<V> Entry<V> {
    pub(super) const fn bits(&self) -> Bits {
        u128::from_be_bytes(self.bits)
    }

    pub(super) const fn length(&self) -> u8 {
        self.length
    }

    /// How many of the first bits are the same.
    const fn common(&self, bits: Bits) -> u8 {
        (self.bits() ^ bits).leading_zeros() as u8
    }

    const fn is(&self, bits: Bits, length: u8) -> bool {
        self.length == length && self.bits() == bits
    }
}

impl<V> Node<V> {
    fn new(depth: u8) -> Self {
        Self { held: 0, below: 0, entries: Box::new([]), children: Box::new([]), depth }
    }

    /// Follows the bits down, without looking at those that are skipped, and takes the longest prefix passed.
    fn longest_unchecked(&self, bits: Bits, at_most: u8) -> Option<&Entry<V>> {
        let mut node = self;
        let mut found = None;
        while node.depth < at_most {
            let digit = digit(bits, node.depth);
            let held = node.held & CONTAINING[usize::from(digit)] & up_to(at_most - node.depth);
            if held != 0 {
                found = Some((node, held.ilog2() as u8));
            }
            let Some(child) = node.child(digit) else { break };
            node = child;
        }
        let (node, place) = found?;
        node.entries.get(node.entry_index(place))
    }

    fn insert(&mut self, entry: Entry<V>) -> Option<V> {
        let (bits, depth) = (entry.bits(), depth_for(entry.length));
        if depth == self.depth {
            return self.insert_here(entry);
        }
        let digit = digit(bits, self.depth);
        let Some(child) = self.child_mut(digit) else {
            let mut child = Self::new(depth);
            child.insert_here(entry);
            self.add_child(digit, child);
            return None;
        };
        // A node between is needed where the entry leaves the bits that the child skips.
        let fork = depth.min(depth_of_bit(child.sample().common(bits)));
        if fork < child.depth {
            child.interpose(fork);
        }
        child.insert(entry)
    }

    /// Puts an empty node of the given depth above this one.
    fn interpose(&mut self, depth: u8) {
        let digit = digit(self.sample().bits(), depth);
        let child = core::mem::replace(self, Self::new(depth));
        self.add_child(digit, child);
    }

    fn insert_here(&mut self, entry: Entry<V>) -> Option<V> {
        let place = map_place(entry.bits(), entry.length, self.depth);
        let index = self.entry_index(place);
        if self.held & 1 << place != 0 {
            return Some(core::mem::replace(&mut self.entries[index], entry).value);
        }
        self.held |= 1 << place;
        insert_at(&mut self.entries, index, entry);
        None
    }

    fn add_child(&mut self, digit: u8, child: Self) {
        let index = self.child_index(digit);
        self.below |= 1 << digit;
        insert_at(&mut self.children, index, child);
    }

    fn remove(&mut self, bits: Bits, length: u8) -> Option<V> {
        if self.depth >= depth_for(length) {
            return self.remove_here(bits, length);
        }
        let digit = digit(bits, self.depth);
        let child = self.child_mut(digit)?;
        let removed = child.remove(bits, length)?;
        if child.entries.is_empty() && child.children.len() <= 1 {
            self.drop_or_replace_child(digit);
        }
        Some(removed)
    }

    fn remove_here(&mut self, bits: Bits, length: u8) -> Option<V> {
        if !self.entry_mut(bits, length)?.is(bits, length) {
            return None;
        }
        let place = map_place(bits, length, self.depth);
        let index = self.entry_index(place);
        self.held &= !(1 << place);
        Some(remove_at(&mut self.entries, index).value)
    }

    /// Takes a child that holds nothing out of the way: its own only child takes its place.
    fn drop_or_replace_child(&mut self, digit: u8) {
        let index = self.child_index(digit);
        match core::mem::take(&mut self.children[index].children).into_vec().pop() {
            Some(grandchild) => self.children[index] = grandchild,
            None => {
                self.below &= !(1 << digit);
                drop(remove_at(&mut self.children, index));
            }
        }
    }

    /// The entry in the place of this prefix; its bits above this node may be others.
    fn entry_mut(&mut self, bits: Bits, length: u8) -> Option<&mut Entry<V>> {
        if depth_for(length) != self.depth {
            return None;
        }
        let place = map_place(bits, length, self.depth);
        if self.held & 1 << place == 0 {
            return None;
        }
        let index = self.entry_index(place);
        self.entries.get_mut(index)
    }

    fn child(&self, digit: u8) -> Option<&Self> {
        if self.below & 1 << digit == 0 {
            return None;
        }
        self.children.get(self.child_index(digit))
    }

    fn child_mut(&mut self, digit: u8) -> Option<&mut Self> {
        if self.below & 1 << digit == 0 {
            return None;
        }
        let index = self.child_index(digit);
        self.children.get_mut(index)
    }

    /// Any entry of this node or below: all of them have the node's first bits. None but an empty root is without.
    fn sample(&self) -> &Entry<V> {
        let mut node = self;
        loop {
            if let Some(entry) = node.entries.first() {
                return entry;
            }
            node = node.children.first().expect("a node below the root holds an entry or has a child");
        }
    }

    const fn entry_index(&self, place: u8) -> usize {
        (self.held & ((1 << place) - 1)).count_ones() as usize
    }

    const fn child_index(&self, digit: u8) -> usize {
        (self.below & ((1 << digit) - 1)).count_ones() as usize
    }

    fn heap_bytes(&self) -> usize {
        let below: usize = self.children.iter().map(Self::heap_bytes).sum();
        size_of_val(&*self.entries) + size_of_val(&*self.children) + below
    }
}

/// A walk in order: the nodes from the root to where it is, each with the next of its places.
struct Walk<'a, V> {
    path: Vec<(&'a Node<V>, usize)>,
}

impl<'a, V> Walk<'a, V> {
    /// Goes down to the first place after the prefix.
    fn enter_after(&mut self, mut node: &'a Node<V>, bits: Bits, length: u8) {
        loop {
            if length == 0 {
                return self.path.push((node, 0));
            }
            if node.depth == depth_for(length) {
                let own = map_place(bits, length, node.depth);
                return self
                    .path
                    .push((node, position(|place| matches!(place, Place::Entry(n) if n == own)) + 1));
            }
            let digit = digit(bits, node.depth);
            self.path.push((node, position(|place| matches!(place, Place::Child(n) if n == digit)) + 1));
            let Some(child) = node.child(digit) else { return };
            let theirs = child.sample().bits();
            let agree =
                (theirs ^ bits).leading_zeros() as u8 >= child.depth && depth_for(length) >= child.depth;
            if !agree {
                // All of the child lies on one side of the prefix; what the prefix contains comes after it.
                if front(theirs, child.depth) >= bits {
                    self.path.push((child, 0));
                }
                return;
            }
            node = child;
        }
    }
}

impl<'a, V> Iterator for Walk<'a, V> {
    type Item = &'a Entry<V>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (node, next) = self.path.last_mut()?;
            let node = *node;
            let Some(place) = PREORDER.get(*next) else {
                self.path.pop();
                continue;
            };
            *next += 1;
            match *place {
                Place::Entry(place) if node.held & 1 << place != 0 => {
                    return node.entries.get(node.entry_index(place));
                }
                Place::Entry(_) => {}
                Place::Child(digit) => self.path.extend(node.child(digit).map(|child| (child, 0))),
            }
        }
    }
}

/// The first `length` bits, the others cleared.
pub(super) const fn front(bits: Bits, length: u8) -> Bits {
    match u128::MAX.checked_shl(u128::BITS - length as u32) {
        Some(mask) => bits & mask,
        None => 0,
    }
}

/// The depth of the node that holds prefixes of this length, which is not 0.
const fn depth_for(length: u8) -> u8 {
    depth_of_bit(length - 1)
}

/// The depth of the node that tells this bit apart.
const fn depth_of_bit(bit: u8) -> u8 {
    bit / STRIDE * STRIDE
}

/// The six bits that a node of this depth tells apart; past the end of the string they are 0.
const fn digit(bits: Bits, depth: u8) -> u8 {
    (bits << depth >> (u128::BITS - STRIDE as u32)) as u8
}

/// The number of a prefix in the map of the node that holds it: the shorter first, then by bits.
const fn map_place(bits: Bits, length: u8, depth: u8) -> u8 {
    place_of(digit(bits, depth), length - depth)
}

/// The number in the map of the prefix that is the first `length` (1 to 6) bits of `digit`.
const fn place_of(digit: u8, length: u8) -> u8 {
    (1 << length) - 2 + (digit >> (STRIDE - length))
}

/// The map bits of prefixes of at most `length` bits below the node.
const fn up_to(length: u8) -> u128 {
    if length >= STRIDE { u128::MAX } else { (1 << ((1_u32 << (length + 1)) - 2)) - 1 }
}

const fn containing() -> [u128; 64] {
    let mut table = [0; 64];
    let mut digit = 0;
    while digit < 64 {
        let mut length = 1;
        while length <= STRIDE {
            table[digit as usize] |= 1 << place_of(digit, length);
            length += 1;
        }
        digit += 1;
    }
    table
}

const fn preorder() -> [Place; PLACES] {
    let mut order = [Place::Child(0); PLACES];
    let (mut next, mut digit) = (0, 0);
    while digit < 64 {
        // Prefixes that begin at this value: as long as they must be not to begin at a smaller one.
        let mut length = 1;
        while length <= STRIDE {
            if digit & ((1 << (STRIDE - length)) - 1) == 0 {
                order[next] = Place::Entry(place_of(digit, length));
                next += 1;
            }
            length += 1;
        }
        order[next] = Place::Child(digit);
        next += 1;
        digit += 1;
    }
    order
}

/// Where in the order of places the sought one is; it is always there.
fn position(sought: impl Fn(Place) -> bool) -> usize {
    PREORDER.iter().position(|place| sought(*place)).unwrap_or(PLACES)
}

fn insert_at<T>(array: &mut Box<[T]>, index: usize, value: T) {
    let mut growing = core::mem::take(array).into_vec();
    growing.reserve_exact(1);
    growing.insert(index, value);
    *array = growing.into_boxed_slice();
}

fn remove_at<T>(array: &mut Box<[T]>, index: usize) -> T {
    let mut shrinking = core::mem::take(array).into_vec();
    let removed = shrinking.remove(index);
    *array = shrinking.into_boxed_slice();
    removed
}
