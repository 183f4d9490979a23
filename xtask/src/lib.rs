#![forbid(unsafe_code)]
//! Everything that would otherwise be a shell script: the law, the suite, and what else `cargo xtask` does.
//!
//! [`tidy`] holds the laws of the house, on [`tree`], which reads the repository, [`rust`], which takes source to pieces,
//! and [`packages`], which asks cargo. The program in `main.rs` only dispatches.

pub mod bench;
pub mod fuzz;
pub mod man;
pub mod no_std;
pub mod packages;
pub mod rust;
pub mod suite;
pub mod tidy;
pub mod tree;
