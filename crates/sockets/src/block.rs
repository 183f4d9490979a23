//! Where callers' bytes are copied to: the only copy on the way to the link, outside of the stack's lock.

use std::sync::Mutex;

use bytes::{Bytes, BytesMut};

/// Small payloads share blocks of so many bytes.
pub(crate) const BLOCK: usize = 64 * 1024;

/// The block that a socket fills.
#[derive(Default)]
pub(crate) struct Block(Mutex<BytesMut>);

impl Block {
    /// The bytes, copied once. What is long gets memory of its own.
    pub(crate) fn copy(&self, payload: &[u8]) -> Bytes {
        if payload.len() > BLOCK / 4 {
            return Bytes::copy_from_slice(payload);
        }
        let mut block = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if block.capacity() - block.len() < payload.len() {
            *block = BytesMut::with_capacity(BLOCK);
        }
        block.extend_from_slice(payload);
        block.split().freeze()
    }
}
