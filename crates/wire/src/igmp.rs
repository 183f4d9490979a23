//! IGMP: which IPv4 groups a host listens to (RFC 1112, RFC 2236, RFC 3376).

use core::net::Ipv4Addr;

use crate::bytes::{array, fixed, ipv4_at, put, u16_at, write};
use crate::checksum::{self, Sum};
use crate::multicast::QueryExtension;
use crate::{Malformed, TooShort};

/// The fixed part of a message, without the checksum, which [`parse`](Self::parse) verifies and
/// [`emit`](Self::emit) computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// A router asks who listens.
    Query {
        /// Time to answer in tenths of a second: zero in version 1, in version 3 a code
        /// ([`crate::multicast::decode_octet`]).
        max_response: u8,
        /// The group asked about; unspecified: all.
        group: Ipv4Addr,
        /// Version 3; the data is the sources ([`crate::multicast::Addresses`]).
        extension: Option<QueryExtension>,
    },
    /// Version 1: the sender listens.
    ReportV1 {
        /// The group.
        group: Ipv4Addr,
    },
    /// Version 2: the sender listens.
    ReportV2 {
        /// The group.
        group: Ipv4Addr,
    },
    /// Version 2: the sender no longer listens.
    Leave {
        /// The group.
        group: Ipv4Addr,
    },
    /// Version 3: state or change; the data is [`crate::multicast::Records`].
    ReportV3 {
        /// Records in the data.
        records: u16,
    },
    /// Any other kind.
    Unknown {
        /// The kind.
        kind: u8,
        /// The octet after it.
        code: u8,
        /// The octets after the checksum.
        content: [u8; 4],
    },
}

/// Kinds (IANA "IGMP Type Numbers").
mod kind {
    pub(super) const QUERY: u8 = 0x11;
    pub(super) const REPORT_V1: u8 = 0x12;
    pub(super) const REPORT_V2: u8 = 0x16;
    pub(super) const LEAVE: u8 = 0x17;
    pub(super) const REPORT_V3: u8 = 0x22;
}

impl Message {
    /// Octets of the smallest message.
    pub const LEN: usize = 8;
    /// Octets of the largest fixed part: a version 3 query's.
    pub const MAX_LEN: usize = 12;

    /// Splits a packet's payload into the message and its data, after verifying the checksum over both.
    ///
    /// A query is of version 3 if it has twelve octets or more, of version 1 if its time is zero
    /// (RFC 3376 section 7.1).
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let parsed = Self::parse_unverified(bytes)?;
        if checksum::of(bytes) == 0 { Ok(parsed) } else { Err(Malformed::Checksum) }
    }

    /// As [`parse`](Self::parse), without the checksum.
    pub fn parse_unverified(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (h, rest) = fixed::<{ Self::LEN }>(bytes)?;
        let group = ipv4_at(h, 4);
        let message = match h[0] {
            kind::QUERY => return Self::parse_query(h[1], group, rest),
            kind::REPORT_V1 => Self::ReportV1 { group },
            kind::REPORT_V2 => Self::ReportV2 { group },
            kind::LEAVE => Self::Leave { group },
            kind::REPORT_V3 => Self::ReportV3 { records: u16_at(h, 6) },
            kind => Self::Unknown { kind, code: h[1], content: array(h, 4) },
        };
        Ok((message, rest))
    }

    /// A query with what follows its first eight octets.
    fn parse_query(max_response: u8, group: Ipv4Addr, rest: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let Ok((extension, rest)) = fixed(rest) else {
            return Ok((Self::Query { max_response, group, extension: None }, rest));
        };
        let extension = QueryExtension::from_bytes(extension);
        if rest.len() < usize::from(extension.sources) * 4 {
            return Err(Malformed::Truncated);
        }
        Ok((Self::Query { max_response, group, extension: Some(extension) }, rest))
    }

    /// Octets that [`emit`](Self::emit) writes: 8 or 12.
    pub const fn header_len(&self) -> usize {
        match self {
            Self::Query { extension: Some(_), .. } => Self::LEN + QueryExtension::LEN,
            _ => Self::LEN,
        }
    }

    /// Writes the message to the front of `out`, its checksum over itself and data with the sum `data`.
    pub fn emit(&self, data: Sum, out: &mut [u8]) -> Result<usize, TooShort> {
        let mut room = [0; Self::MAX_LEN];
        let message = &mut room[..self.header_len()];
        let (kind, code, content) = self.fields();
        put(message, 0, [kind, code]);
        put(message, 4, content);
        if let Self::Query { extension: Some(extension), .. } = self {
            put(message, 8, extension.to_bytes());
        }
        let checksum = Sum::new().add(message).add_sum(data).finish();
        put(message, 2, checksum.to_be_bytes());
        write(out, message)
    }

    /// Kind, the octet after it, and the four after the checksum.
    fn fields(&self) -> (u8, u8, [u8; 4]) {
        match *self {
            Self::Query { max_response, group, .. } => (kind::QUERY, max_response, group.octets()),
            Self::ReportV1 { group } => (kind::REPORT_V1, 0, group.octets()),
            Self::ReportV2 { group } => (kind::REPORT_V2, 0, group.octets()),
            Self::Leave { group } => (kind::LEAVE, 0, group.octets()),
            Self::ReportV3 { records } => (kind::REPORT_V3, 0, u32::from(records).to_be_bytes()),
            Self::Unknown { kind, code, content } => (kind, code, content),
        }
    }
}
