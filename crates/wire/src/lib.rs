//! Header formats: bytes to plain values and back, and Internet checksums.
//!
//! Every format is a module with the same face:
//!
//! * a plain value with public fields (`Header`, `Packet`, `Message`, `Tag`);
//! * `parse(bytes) -> Result<(value, rest), Malformed>`, where `rest` is what follows the header, cut to
//!   the length the header states;
//! * `header_len()` and `emit(&self, out) -> Result<usize, TooShort>`, which writes exactly that many octets;
//! * `to_bytes() -> [u8; LEN]`, the form that cannot fail, where the header has a fixed size.
//!
//! `parse` and `emit` are inverse: `parse(emit(x)) == x`. Formats with a trailing list (IP and TCP options,
//! neighbour discovery options, group records) give it as an iterator over borrowed bytes that ends after
//! its first malformed entry.
//!
//! What is *not* here: state, policy, and any opinion on a well-formed but unwelcome packet. Nothing in this
//! crate allocates, and nothing a peer sends makes it panic.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod arp;
pub mod bus;
pub mod checksum;
pub mod ethernet;
pub mod icmpv4;
pub mod icmpv6;
pub mod igmp;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
pub mod mld;
pub mod multicast;
pub mod ndp;
pub mod pcapng;
pub mod tcp;
pub mod udp;
pub mod virtio;

mod bytes;
#[cfg(test)]
mod strategies;

use core::fmt;

/// Why bytes are not a well-formed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// The bytes end before the header, or before the length that the header states.
    Truncated,
    /// The version field names another protocol version.
    Version,
    /// A length field contradicts the format itself.
    Length,
    /// The checksum does not match.
    Checksum,
    /// An option's length contradicts its kind or the room it has.
    Option,
    /// A field holds a value that the format does not allow.
    Value,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "truncated",
            Self::Version => "wrong version",
            Self::Length => "bad length field",
            Self::Checksum => "bad checksum",
            Self::Option => "malformed option",
            Self::Value => "field value not allowed",
        })
    }
}

impl core::error::Error for Malformed {}

/// The room given to an `emit` or a `push` is smaller than what it writes; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TooShort;

impl fmt::Display for TooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room for the header")
    }
}

impl core::error::Error for TooShort {}
