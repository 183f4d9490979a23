//! Where callers' bytes are copied to: the only copy on the way to the link, outside of the stack's lock.
//!
//! Small payloads share a block. Long ones get blocks of their own, which come back when their last slice is gone and are
//! used again in last-in, first-out order: memory that was just in use costs neither page faults nor cache misses.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

/// Bytes of a block.
pub(crate) const BLOCK: usize = 64 * 1024;

/// What a block has beside, so that the longest datagram and what stands before it fit into one.
const SPARE: usize = 128;

/// Payloads up to this length share blocks.
const SMALL: usize = BLOCK / 4;

/// Blocks kept for later, of all sockets of the process together: 4 MiB.
const KEPT: usize = 64;

/// The blocks kept. What they hold is of no meaning, and nothing depends on which one is used.
static POOL: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// The block that a socket fills with small payloads.
#[derive(Default)]
pub struct Block(Mutex<BytesMut>);

/// A block on loan.
struct Loan(Box<[u8]>);

impl Block {
    /// The bytes, copied once.
    pub(crate) fn copy(&self, payload: &[u8]) -> Bytes {
        if payload.len() <= SMALL {
            self.share(payload)
        } else if payload.len() <= BLOCK {
            Loan::take().hold(payload)
        } else {
            Bytes::copy_from_slice(payload)
        }
    }

    /// What `read` puts into a block and says the length of: in place if it is long, copied to where small payloads are if not.
    pub fn fill<E>(&self, read: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<Bytes, E> {
        let mut loan = Loan::take();
        let len = read(&mut loan.0)?;
        if len <= SMALL { Ok(self.share(&loan.0[..len])) } else { Ok(loan.into_bytes(len)) }
    }

    fn share(&self, payload: &[u8]) -> Bytes {
        let mut block = lock(&self.0);
        if block.capacity() - block.len() < payload.len() {
            *block = BytesMut::with_capacity(BLOCK);
        }
        block.extend_from_slice(payload);
        block.split().freeze()
    }
}

impl Loan {
    fn take() -> Self {
        let kept = lock(&POOL).pop();
        Self(kept.unwrap_or_else(|| vec![0; BLOCK + SPARE].into_boxed_slice()))
    }

    /// A payload that fits, in this block until its last slice is gone.
    fn hold(mut self, payload: &[u8]) -> Bytes {
        self.0[..payload.len()].copy_from_slice(payload);
        self.into_bytes(payload.len())
    }

    fn into_bytes(self, len: usize) -> Bytes {
        Bytes::from_owner(self).slice(..len)
    }
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let mut kept = lock(&POOL);
        if kept.len() < KEPT {
            kept.push(std::mem::take(&mut self.0));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_of_every_length_are_copied_whole() {
        let block = Block::default();
        let payload: Vec<u8> = (0..2 * BLOCK).map(|place| (place % 251) as u8).collect();
        for len in [0, 1, SMALL, SMALL + 1, BLOCK, BLOCK + 1, 2 * BLOCK] {
            assert_eq!(block.copy(&payload[..len]), payload[..len], "{len}");
        }
    }

    #[test]
    fn no_more_blocks_are_kept_than_the_limit_and_a_held_one_is_never_lent_again() {
        let block = Block::default();
        let held = block.copy(&[7; BLOCK]);
        for _ in 0..2 {
            let many: Vec<Bytes> = (0..2 * KEPT).map(|_| block.copy(&[9; BLOCK])).collect();
            drop(many);
            assert!(lock(&POOL).len() <= KEPT);
        }
        assert!(held.iter().all(|byte| *byte == 7));
    }
}
