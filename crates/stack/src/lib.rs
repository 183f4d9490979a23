#![no_std]
#![forbid(unsafe_code)]
//! See the package description.

extern crate alloc;

#[cfg(test)]
extern crate std;

pub mod inet;
pub mod slab;
pub mod time;
pub mod timer;
