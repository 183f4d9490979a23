//! [`Trie`]: prefixes of strings of 32 or 128 bits, in nodes that each tell six bits apart.
//!
//! A [`Node`] at depth `d` holds the values of prefixes of `d + 1` to `d + 6` bits whose first `d` bits are its own: one bit of
//! a 126-bit map for each, and the values themselves side by side in the order of those bits. Longer prefixes are
//! below, one child for each value of the next six bits. Depths are multiples of six. A node that would hold nothing
//! and have one child is left out (path compression), so a child may lie deeper than the next six bits; it knows its
//! own first bits, against which an address is held on its way down. Nothing is stored with a value: its place says
//! what prefix it has, so that small values make a small trie, of which much stays in a cache. The
//! layout is that of tree bitmaps (Eatherton, Varghese, Dittia, "Tree bitmap: hardware/software IP lookups with
//! incremental updates", 2004) with the path compression of PATRICIA.
//!
//! The prefix of length 0 lies beside the root. Nothing here knows addresses.

use alloc::{boxed::Box, vec::Vec};

/// A string of bits of a fixed width; the first bit is the most significant.
pub(super) trait Bits: Copy + Eq + Ord {
    /// Bits in it.
    const WIDTH: u8;

    /// Takes no room, but makes a node begin where it must.
    type Alignment: Copy + core::fmt::Debug + Default;

    /// The first `length` bits, the others cleared.
    fn front(self, length: u8) -> Self;

    /// The six bits that a node of this depth tells apart; past the end of the string they are 0.
    fn digit(self, depth: u8) -> u8;

    /// The same with these six bits there, where all were 0; what lies past the end of the string is left out.
    fn with_digit(self, depth: u8, digit: u8) -> Self;

    /// How many of the first bits are the same.
    fn common(self, other: Self) -> u8;
}

macro_rules! impl_bits {
    ($kind:ty, $alignment:ty) => {
        impl Bits for $kind {
            const WIDTH: u8 = Self::BITS as u8;
            type Alignment = $alignment;

            #[inline]
            fn front(self, length: u8) -> Self {
                self & Self::MAX.checked_shl(Self::BITS - u32::from(length)).unwrap_or(0)
            }

            #[inline]
            fn digit(self, depth: u8) -> u8 {
                (self << depth >> (Self::BITS - u32::from(STRIDE))) as u8
            }

            fn with_digit(self, depth: u8, digit: u8) -> Self {
                self | Self::from(digit) << (Self::BITS - u32::from(STRIDE)) >> depth
            }

            #[inline]
            fn common(self, other: Self) -> u8 {
                (self ^ other).leading_zeros() as u8
            }
        }
    };
}

// A node of 32 bits fits a cache line, which it shall not share; one of 128 bits does not.
impl_bits!(u32, Line);
impl_bits!(u128, ());

/// The beginning of a cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
pub(super) struct Line;

/// Bits that one node tells apart.
const STRIDE: u8 = 6;
/// The places of a node in the order of [`Trie::iter_after`]: a prefix, then what it contains.
const PREORDER: [Place; PLACES] = preorder();
/// Where entries and children stand in that order, by their numbers.
const ENTRY_POSITION: [u8; ENTRIES] = positions().0;
const CHILD_POSITION: [u8; 64] = positions().1;
const ENTRIES: usize = 126;
const PLACES: usize = ENTRIES + 64;

/// For each value of the six bits, the map bits of the prefixes that contain it.
const CONTAINING: [u128; 64] = containing();

/// Prefixes with their values.
#[derive(Clone, Debug)]
pub(super) struct Trie<K: Bits, V> {
    root: Node<K, V>,
    whole: Option<V>,
}

/// A prefix that was found, with its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a, K, V> {
    /// Its bits; those beyond its length are 0.
    pub(super) bits: K,
    pub(super) length: u8,
    pub(super) value: &'a V,
}

#[derive(Clone, Debug)]
struct Node<K: Bits, V> {
    /// Which prefixes of one to six bits are here; see [`place_of`].
    held: u128,
    /// For which values of the six bits there is a child.
    below: u64,
    values: Box<[V]>,
    children: Box<[Self]>,
    /// The bits that all prefixes here and below begin with, as many as the depth says.
    bits: K,
    depth: u8,
    _alignment: K::Alignment,
}

/// A place in a node: of an entry, by its number in the map, or of a child, by the value of its six bits.
#[derive(Clone, Copy)]
enum Place {
    Entry(u8),
    Child(u8),
}

impl<K: Bits, V> Trie<K, V> {
    pub(super) fn new(zero: K) -> Self {
        Self { root: Node::new(zero, 0), whole: None }
    }

    /// Stores a value under a prefix, whose bits beyond its length are 0, and returns the one that was there.
    pub(super) fn insert(&mut self, bits: K, length: u8, value: V) -> Option<V> {
        if length == 0 {
            return self.whole.replace(value);
        }
        self.root.insert(bits, length, value)
    }

    pub(super) fn remove(&mut self, bits: K, length: u8) -> Option<V> {
        if length == 0 {
            return self.whole.take();
        }
        self.root.remove(bits, length)
    }

    pub(super) fn exact_mut(&mut self, bits: K, length: u8) -> Option<&mut V> {
        if length == 0 {
            return self.whole.as_mut();
        }
        let mut node = &mut self.root;
        while node.depth < depth_for(length) {
            node = node.child_mut(bits.digit(node.depth))?;
        }
        let index = node.index_of(bits, length)?;
        node.values.get_mut(index)
    }

    pub(super) fn exact(&self, bits: K, length: u8) -> Option<&V> {
        if length == 0 {
            return self.whole.as_ref();
        }
        let mut node = &self.root;
        while node.depth < depth_for(length) {
            node = node.child(bits.digit(node.depth))?;
        }
        node.values.get(node.index_of(bits, length)?)
    }

    /// The value of the longest prefix that these bits begin with: what is done for every packet.
    #[inline]
    pub(super) fn lookup(&self, bits: K) -> Option<&V> {
        let mut node = &self.root;
        let mut found = None;
        loop {
            let digit = bits.digit(node.depth);
            let held = node.held & CONTAINING[usize::from(digit)];
            if held != 0 {
                found = Some((node, held));
            }
            match node.child(digit) {
                Some(child) if child.holds(bits) => node = child,
                _ => break,
            }
        }
        let Some((node, held)) = found else { return self.whole.as_ref() };
        node.values.get(node.value_index(held.ilog2() as u8))
    }

    /// As [`Self::lookup`] for several at once, a level of nodes at a time: what they wait for from memory they wait for together.
    pub(super) fn lookup_all<const N: usize>(&self, bits: &[K; N]) -> [Option<&V>; N] {
        let mut nodes = [Some(&self.root); N];
        let mut found = [None; N];
        let mut more = true;
        while more {
            more = false;
            for ((node, found), bits) in nodes.iter_mut().zip(&mut found).zip(bits) {
                let Some(present) = node.filter(|node| node.holds(*bits)) else {
                    *node = None;
                    continue;
                };
                let digit = bits.digit(present.depth);
                let held = present.held & CONTAINING[usize::from(digit)];
                if held != 0 {
                    *found = Some((present, held));
                }
                *node = present.child(digit);
                more |= node.is_some();
            }
        }
        found.map(|found| match found {
            Some((node, held)) => node.values.get(node.value_index(held.ilog2() as u8)),
            None => self.whole.as_ref(),
        })
    }

    /// The longest prefix of at most `at_most` bits that these bits begin with.
    pub(super) fn longest(&self, bits: K, at_most: u8) -> Option<Found<'_, K, V>> {
        let mut node = Some(&self.root);
        let mut found = None;
        while let Some(next) = node.filter(|node| node.depth < at_most && node.holds(bits)) {
            let digit = bits.digit(next.depth);
            let held = next.held & CONTAINING[usize::from(digit)] & up_to(at_most - next.depth);
            if held != 0 {
                found = Some((next, held.ilog2() as u8));
            }
            node = next.child(digit);
        }
        match found {
            Some((node, place)) => node.found(place),
            None => self.whole.as_ref().map(|value| Found { bits: bits.front(0), length: 0, value }),
        }
    }

    /// Prefixes in order of their bits, shorter before longer, from the first one after the given prefix.
    pub(super) fn iter_after(&self, after: Option<(K, u8)>) -> impl Iterator<Item = Found<'_, K, V>> {
        let mut walk = Walk { path: Vec::new() };
        match after {
            Some((bits, length)) => walk.enter_after(&self.root, bits, length),
            None => walk.path.push((&self.root, 0)),
        }
        let whole = self.whole.as_ref().filter(|_| after.is_none());
        let whole = whole.map(|value| Found { bits: self.root.bits, length: 0, value });
        whole.into_iter().chain(walk)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.root.heap_bytes()
    }
}

impl<K: Bits, V> Node<K, V> {
    fn new(bits: K, depth: u8) -> Self {
        Self {
            held: 0,
            below: 0,
            values: Box::new([]),
            children: Box::new([]),
            bits: bits.front(depth),
            depth,
            _alignment: K::Alignment::default(),
        }
    }

    /// Whether these bits begin as all prefixes here do.
    #[inline]
    fn holds(&self, bits: K) -> bool {
        self.bits.common(bits) >= self.depth
    }

    /// The prefix at a place of the map, which is taken.
    fn found(&self, place: u8) -> Option<Found<'_, K, V>> {
        let (digit, length) = prefix_at(place);
        let value = self.values.get(self.value_index(place))?;
        Some(Found { bits: self.bits.with_digit(self.depth, digit), length: self.depth + length, value })
    }

    fn insert(&mut self, bits: K, length: u8, value: V) -> Option<V> {
        let depth = depth_for(length);
        if depth == self.depth {
            return self.insert_here(bits, length, value);
        }
        let digit = bits.digit(self.depth);
        let Some(child) = self.child_mut(digit) else {
            let mut child = Self::new(bits, depth);
            child.insert_here(bits, length, value);
            self.add_child(digit, child);
            return None;
        };
        // A node between is needed where the prefix leaves the bits that the child skips, or ends among them.
        let fork = depth.min(depth_of_bit(child.bits.common(bits)));
        if fork < child.depth {
            child.interpose(fork);
        }
        child.insert(bits, length, value)
    }

    /// Puts an empty node of the given depth above this one.
    fn interpose(&mut self, depth: u8) {
        let (bits, digit) = (self.bits, self.bits.digit(depth));
        let child = core::mem::replace(self, Self::new(bits, depth));
        self.add_child(digit, child);
    }

    fn insert_here(&mut self, bits: K, length: u8, value: V) -> Option<V> {
        let place = map_place(bits, length, self.depth);
        let index = self.value_index(place);
        if self.held & 1 << place != 0 {
            return Some(core::mem::replace(&mut self.values[index], value));
        }
        self.held |= 1 << place;
        insert_at(&mut self.values, index, value);
        None
    }

    fn add_child(&mut self, digit: u8, child: Self) {
        let index = self.child_index(digit);
        self.below |= 1 << digit;
        insert_at(&mut self.children, index, child);
    }

    fn remove(&mut self, bits: K, length: u8) -> Option<V> {
        if self.depth >= depth_for(length) {
            return self.remove_here(bits, length);
        }
        let digit = bits.digit(self.depth);
        let child = self.child_mut(digit)?;
        let removed = child.remove(bits, length)?;
        if child.values.is_empty() && child.children.len() <= 1 {
            self.drop_or_replace_child(digit);
        }
        Some(removed)
    }

    fn remove_here(&mut self, bits: K, length: u8) -> Option<V> {
        let index = self.index_of(bits, length)?;
        self.held &= !(1 << map_place(bits, length, self.depth));
        Some(remove_at(&mut self.values, index))
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

    /// Where the value of exactly this prefix is, if it is here.
    fn index_of(&self, bits: K, length: u8) -> Option<usize> {
        if depth_for(length) != self.depth || !self.holds(bits) {
            return None;
        }
        let place = map_place(bits, length, self.depth);
        (self.held & 1 << place != 0).then(|| self.value_index(place))
    }

    #[inline]
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

    const fn value_index(&self, place: u8) -> usize {
        (self.held & ((1 << place) - 1)).count_ones() as usize
    }

    const fn child_index(&self, digit: u8) -> usize {
        (self.below & ((1 << digit) - 1)).count_ones() as usize
    }

    fn heap_bytes(&self) -> usize {
        let below: usize = self.children.iter().map(Self::heap_bytes).sum();
        size_of_val(&*self.values) + size_of_val(&*self.children) + below
    }
}

/// A walk in order: the nodes from the root to where it is, each with the next of its places.
struct Walk<'a, K: Bits, V> {
    path: Vec<(&'a Node<K, V>, usize)>,
}

impl<'a, K: Bits, V> Walk<'a, K, V> {
    /// Goes down to the first place after the prefix.
    fn enter_after(&mut self, mut node: &'a Node<K, V>, bits: K, length: u8) {
        loop {
            if length == 0 {
                return self.path.push((node, 0));
            }
            if node.depth == depth_for(length) {
                let own = map_place(bits, length, node.depth);
                return self.path.push((node, usize::from(ENTRY_POSITION[usize::from(own)]) + 1));
            }
            let digit = bits.digit(node.depth);
            self.path.push((node, usize::from(CHILD_POSITION[usize::from(digit)]) + 1));
            let Some(child) = node.child(digit) else { return };
            if !child.holds(bits) || depth_for(length) < child.depth {
                // All of the child lies on one side of the prefix; what the prefix contains comes after it.
                if child.bits >= bits {
                    self.path.push((child, 0));
                }
                return;
            }
            node = child;
        }
    }
}

impl<'a, K: Bits, V> Iterator for Walk<'a, K, V> {
    type Item = Found<'a, K, V>;

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
                Place::Entry(place) if node.held & 1 << place != 0 => return node.found(place),
                Place::Entry(_) => {}
                Place::Child(digit) => self.path.extend(node.child(digit).map(|child| (child, 0))),
            }
        }
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

/// The number of a prefix in the map of the node that holds it: the shorter first, then by bits.
fn map_place(bits: impl Bits, length: u8, depth: u8) -> u8 {
    place_of(bits.digit(depth), length - depth)
}

/// The number in the map of the prefix that is the first `length` (1 to 6) bits of `digit`.
const fn place_of(digit: u8, length: u8) -> u8 {
    (1 << length) - 2 + (digit >> (STRIDE - length))
}

/// The prefix of that number: its six bits, those beyond its length 0, and its length.
const fn prefix_at(place: u8) -> (u8, u8) {
    let length = (place + 2).ilog2() as u8;
    ((place + 2 - (1 << length)) << (STRIDE - length), length)
}

/// The map bits of prefixes of at most `length` bits below the node.
const fn up_to(length: u8) -> u128 {
    if length >= STRIDE { u128::MAX } else { (1 << ((1_u32 << (length + 1)) - 2)) - 1 }
}

const fn positions() -> ([u8; ENTRIES], [u8; 64]) {
    let (mut entries, mut children) = ([0; ENTRIES], [0; 64]);
    let mut at = 0;
    while at < PLACES {
        match PREORDER[at] {
            Place::Entry(place) => entries[place as usize] = at as u8,
            Place::Child(digit) => children[digit as usize] = at as u8,
        }
        at += 1;
    }
    (entries, children)
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
