//! The Internet layer.

pub mod neighbor;
pub mod prefix;
