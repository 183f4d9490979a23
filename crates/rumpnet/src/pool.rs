//! Buffers that frames are read into: few, warm, and used again in last-in, first-out order.
//!
//! A super-frame stays where it was read and its buffer comes back when the last slice of it is dropped. A small frame
//! is copied out, so that a queue of small datagrams does not pin large buffers.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Bytes of a buffer: virtio header, Ethernet header, tag, and the longest packet, with room to notice one that is longer.
pub(crate) const BUFFER: usize = 66_048;

/// Buffers kept for later, 10 MiB: as many as a batch and a full socket buffer of super-frames hold, since a new one must be cleared.
const KEPT: usize = 160;

/// Frames up to this length are copied out, since keeping them where they are would keep eight times as much memory.
const SMALL: usize = BUFFER / 8;

/// A pool of buffers; clones share it.
#[derive(Clone, Default)]
pub struct Pool(Arc<Mutex<Vec<Box<[u8]>>>>);

/// A buffer on loan.
pub struct Buffer {
    bytes: Box<[u8]>,
    pool: Pool,
}

impl Pool {
    /// A buffer of `BUFFER` bytes; what it holds is of no meaning.
    pub fn take(&self) -> Buffer {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { bytes: kept.unwrap_or_else(|| vec![0; BUFFER].into_boxed_slice()), pool: self.clone() }
    }

    fn put(&self, bytes: Box<[u8]>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(bytes);
        }
    }
}

impl Buffer {
    /// All of it, to be read into.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Whether a frame of so many bytes is copied out rather than kept where it is.
    pub const fn is_small(len: usize) -> bool {
        len <= SMALL
    }

    /// The bytes from `start` to `end`, shared; the buffer comes back when the last slice is gone.
    pub fn into_bytes(self, start: usize, end: usize) -> Bytes {
        Bytes::from_owner(self).slice(start..end)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_slice_is_gone_and_is_used_next() {
        let pool = Pool::default();
        let buffer = pool.take();
        let place = buffer.as_ref().as_ptr();
        let bytes = buffer.into_bytes(10, 20);
        let half = bytes.slice(5..);
        drop(bytes);
        assert_ne!(pool.take().as_ref().as_ptr(), place);
        drop(half);
        assert_eq!(pool.take().as_ref().as_ptr(), place);
    }

    #[test]
    fn no_more_buffers_are_kept_than_the_limit() {
        let pool = Pool::default();
        let many: Vec<_> = (0..2 * KEPT).map(|_| pool.take()).collect();
        drop(many);
        assert_eq!(pool.0.lock().expect("no panic").len(), KEPT);
    }
}
