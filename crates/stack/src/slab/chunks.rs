//! [`Chunks`]: an array that grows without moving what it holds.
//!
//! A `Vec` of a million elements doubles by copying them all while the stack is held; this one adds another chunk of
//! at most 32 KiB. The first chunk grows like a `Vec`, so a handful of elements costs what a `Vec` would.
//!
//! Not a ring and not sparse: elements are only pushed, read and changed in place.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

/// What one full chunk may weigh; larger elements get a chunk each.
const CHUNK_BYTES: usize = 32 * 1024;

/// A growing array addressed by `u32`, in chunks of a power of two elements.
#[derive(Clone, Debug)]
pub(crate) struct Chunks<T> {
    chunks: Vec<Vec<T>>,
    len: u32,
}

impl<T> Chunks<T> {
    const SHIFT: u32 = {
        let weight = if size_of::<T>() == 0 { 1 } else { size_of::<T>() };
        let fitting = CHUNK_BYTES / weight;
        if fitting == 0 { 0 } else { fitting.ilog2() }
    };
    const PER_CHUNK: usize = 1 << Self::SHIFT;

    /// An array without elements, which owns no memory.
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }

    /// The number of elements.
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    /// Appends an element and returns its index. The caller keeps the array below 2^32 elements.
    pub(crate) fn push(&mut self, value: T) -> u32 {
        let index = self.len;
        if index as usize & (Self::PER_CHUNK - 1) == 0 {
            self.chunks.push(Self::chunk(index));
        }
        self.chunks.last_mut().expect("a chunk was added when the last one was full").push(value);
        self.len += 1;
        index
    }

    /// The first chunk starts small, for arrays that stay small; every later one is made in its final size.
    fn chunk(first: u32) -> Vec<T> {
        if first == 0 { Vec::new() } else { Vec::with_capacity(Self::PER_CHUNK) }
    }

    /// The element at `index`, or `None` past the end.
    pub(crate) fn at(&self, index: u32) -> Option<&T> {
        self.chunks.get((index >> Self::SHIFT) as usize)?.get(index as usize & (Self::PER_CHUNK - 1))
    }

    /// The element at `index` to be changed, or `None` past the end.
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.chunks.get_mut((index >> Self::SHIFT) as usize)?.get_mut(index as usize & (Self::PER_CHUNK - 1))
    }

    /// The bytes of heap memory held, without what the elements own themselves.
    pub(crate) fn heap_bytes(&self) -> usize {
        let elements: usize = self.chunks.iter().map(Vec::capacity).sum();
        elements * size_of::<T>() + self.chunks.capacity() * size_of::<Vec<T>>()
    }
}

impl<T> Index<u32> for Chunks<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        &self.chunks[(index >> Self::SHIFT) as usize][index as usize & (Self::PER_CHUNK - 1)]
    }
}

impl<T> IndexMut<u32> for Chunks<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.chunks[(index >> Self::SHIFT) as usize][index as usize & (Self::PER_CHUNK - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_keep_their_index_over_many_chunks() {
        let mut array = Chunks::new();
        for value in 0..10_000_u64 {
            assert_eq!(u64::from(array.push(value)), value);
        }
        assert!(array.chunks.len() > 1);
        assert!((0..10_000).all(|index| array[index] == u64::from(index)));
        assert_eq!(array.at(10_000), None);
        array[9_999] = 7;
        assert_eq!(array.at_mut(9_999), Some(&mut 7));
    }

    #[test]
    fn growing_never_moves_an_element_of_a_full_chunk() {
        let mut array = Chunks::new();
        for value in 0..Chunks::<u64>::PER_CHUNK {
            array.push(value as u64);
        }
        let before: *const u64 = &array[0];
        for value in 0..100_000_u64 {
            array.push(value);
        }
        assert!(core::ptr::eq(before, &array[0]));
    }

    #[test]
    fn a_large_element_has_a_chunk_to_itself() {
        let mut array = Chunks::new();
        array.push([1_u8; 40_000]);
        array.push([2_u8; 40_000]);
        assert_eq!((array.chunks.len(), array[0][0], array[1][39_999]), (2, 1, 2));
    }

    #[test]
    fn memory_follows_use() {
        let mut array = Chunks::<u64>::new();
        assert_eq!(array.heap_bytes(), 0);
        array.push(1);
        assert!(array.heap_bytes() < 256);
    }
}
