//! The Internet layer.

pub mod prefix;
