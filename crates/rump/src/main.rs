#![forbid(unsafe_code)]
//! The command `rump`.

fn main() {}
