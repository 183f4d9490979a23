//! MLD: which IPv6 groups a node listens to (RFC 2710, RFC 3810), inside [`crate::icmpv6::Message`].

use core::net::Ipv6Addr;

use crate::Malformed;
use crate::bytes::{fixed, put, u16_at};
use crate::multicast::QueryExtension;

/// The fixed part of a multicast listener discovery message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// A router asks who listens.
    Query {
        /// Time to answer in milliseconds; in version 2 a code ([`decode_max_response`]).
        max_response: u16,
        /// The group asked about; unspecified: all.
        group: Ipv6Addr,
        /// Version 2; the data is the sources ([`crate::multicast::Addresses`]).
        extension: Option<QueryExtension>,
    },
    /// Version 1: the sender listens.
    Report {
        /// The group.
        group: Ipv6Addr,
    },
    /// Version 1: the sender no longer listens.
    Done {
        /// The group.
        group: Ipv6Addr,
    },
    /// Version 2: state or change; the data is [`crate::multicast::Records`].
    ReportV2 {
        /// Records in the data.
        records: u16,
    },
}

/// Kinds (IANA "ICMPv6 Type Numbers").
mod kind {
    pub(super) const QUERY: u8 = 130;
    pub(super) const REPORT: u8 = 131;
    pub(super) const DONE: u8 = 132;
    pub(super) const REPORT_V2: u8 = 143;
}

/// Octets of a message with one group.
const GROUP_LEN: usize = 24;

impl Message {
    /// Whether an ICMPv6 kind is multicast listener discovery.
    pub(crate) const fn is_kind(kind: u8) -> bool {
        matches!(kind, kind::QUERY | kind::REPORT | kind::DONE | kind::REPORT_V2)
    }

    /// The message of a kind with the four octets after the checksum, and what follows them.
    ///
    /// A query is of version 2 if it has 28 octets or more (RFC 3810 section 8.1).
    pub(crate) fn parse(kind: u8, content: [u8; 4], rest: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        if kind == kind::REPORT_V2 {
            return Ok((Self::ReportV2 { records: u16_at(&content, 2) }, rest));
        }
        let (group, rest) = fixed::<16>(rest)?;
        let group = Ipv6Addr::from(*group);
        match kind {
            kind::QUERY => Self::parse_query(u16_at(&content, 0), group, rest),
            kind::REPORT => Ok((Self::Report { group }, rest)),
            kind::DONE => Ok((Self::Done { group }, rest)),
            _ => Err(Malformed::Value),
        }
    }

    /// A query with what follows its group.
    fn parse_query(max_response: u16, group: Ipv6Addr, rest: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let Ok((extension, rest)) = fixed(rest) else {
            return Ok((Self::Query { max_response, group, extension: None }, rest));
        };
        let extension = QueryExtension::from_bytes(extension);
        if rest.len() < usize::from(extension.sources) * 16 {
            return Err(Malformed::Truncated);
        }
        Ok((Self::Query { max_response, group, extension: Some(extension) }, rest))
    }

    /// Octets of the ICMPv6 message before sources or records.
    pub const fn header_len(&self) -> usize {
        match self {
            Self::Query { extension: Some(_), .. } => GROUP_LEN + QueryExtension::LEN,
            Self::ReportV2 { .. } => 8,
            _ => GROUP_LEN,
        }
    }

    /// Writes the message with a checksum of zero into zeroed room of its length.
    pub(crate) fn write_blank(&self, out: &mut [u8]) {
        match *self {
            Self::Query { max_response, group, extension } => {
                out[0] = kind::QUERY;
                put(out, 4, max_response.to_be_bytes());
                put(out, 8, group.octets());
                if let Some(extension) = extension {
                    put(out, GROUP_LEN, extension.to_bytes());
                }
            }
            Self::Report { group } => {
                out[0] = kind::REPORT;
                put(out, 8, group.octets());
            }
            Self::Done { group } => {
                out[0] = kind::DONE;
                put(out, 8, group.octets());
            }
            Self::ReportV2 { records } => {
                out[0] = kind::REPORT_V2;
                put(out, 6, records.to_be_bytes());
            }
        }
    }
}

/// The milliseconds that a version 2 query's code states: itself below 32768, else a floating-point number
/// (RFC 3810 section 5.1.3).
pub const fn decode_max_response(code: u16) -> u32 {
    if code < 0x8000 { code as u32 } else { (code as u32 & 0xfff | 0x1000) << ((code >> 12 & 7) + 3) }
}
