//! What the fuzz targets do: one function each, fed with arbitrary octets.
//!
//! A target panics if a law is broken, and the fuzzer remembers the octets that did it. `cargo xtask fuzz` builds
//! and runs all of them; the programs in `fuzz_targets/` only join a function to the fuzzer.

#![forbid(unsafe_code)]

pub mod bus;
pub mod control;
pub mod frames;
pub mod ledger;
pub mod pair;
pub mod script;
pub mod sockets;
pub mod stack;
pub mod tcp;
pub mod tools;
pub mod wire;
