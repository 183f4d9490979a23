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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::multicast::Addresses;
    use crate::strategies::{assert_inverse, emitted, ipv4};

    /// Any message, with the octets that its counts call for.
    fn message() -> impl Strategy<Value = (Message, usize)> {
        let extension = (any::<bool>(), 0..8u8, any::<u8>(), 0..9u16).prop_map(
            |(suppress, robustness, interval_code, sources)| QueryExtension {
                suppress,
                robustness,
                interval_code,
                sources,
            },
        );
        prop_oneof![
            (any::<u8>(), ipv4(), prop::option::of(extension)).prop_map(
                |(max_response, group, extension)| {
                    let sources = extension.map_or(0, |extension| extension.sources);
                    (Message::Query { max_response, group, extension }, usize::from(sources) * 4)
                }
            ),
            ipv4().prop_map(|group| (Message::ReportV1 { group }, 0)),
            ipv4().prop_map(|group| (Message::ReportV2 { group }, 0)),
            ipv4().prop_map(|group| (Message::Leave { group }, 0)),
            any::<u16>().prop_map(|records| (Message::ReportV3 { records }, 12)),
            (0x30u8.., any::<u8>(), any::<[u8; 4]>())
                .prop_map(|(kind, code, content)| (Message::Unknown { kind, code, content }, 5)),
        ]
    }

    proptest! {
        #[test]
        fn an_emitted_message_parses_back((message, data_len) in message(), seed: u8) {
            let data: std::vec::Vec<u8> = (0..data_len).map(|n| (n as u8).wrapping_mul(seed)).collect();
            let sum = *Sum::new().add(&data);
            let bytes = emitted(message.header_len(), |out| message.emit(sum, out));
            assert_inverse(&message, bytes, &data, Message::parse);
        }

        #[test]
        fn a_flipped_bit_is_noticed((message, _) in message(), bit in 0..64usize) {
            let mut bytes = [0; Message::MAX_LEN];
            let len = message.emit(Sum::new(), &mut bytes).unwrap();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let parsed = Message::parse(&bytes[..len]);
            prop_assert!(matches!(parsed, Err(Malformed::Checksum | Malformed::Truncated)), "{:?}", parsed);
        }
    }

    #[test]
    fn the_version_of_a_query_shows_in_its_length() {
        let query = Message::Query { max_response: 100, group: Ipv4Addr::UNSPECIFIED, extension: None };
        let mut bytes = [0; 8];
        query.emit(Sum::new(), &mut bytes).unwrap();
        assert_eq!(bytes, [0x11, 100, 0xee, 0x9b, 0, 0, 0, 0]);
        assert_eq!(Message::parse(&bytes), Ok((query, &[][..])));
    }

    #[test]
    fn a_query_that_claims_more_sources_than_it_has_is_truncated() {
        let extension = QueryExtension { suppress: false, robustness: 2, interval_code: 125, sources: 2 };
        let query =
            Message::Query { max_response: 100, group: Ipv4Addr::UNSPECIFIED, extension: Some(extension) };
        let (mut bytes, source) = ([0; 16], Ipv4Addr::new(10, 0, 0, 1));
        bytes[12..].copy_from_slice(&source.octets());
        query.emit(*Sum::new().add(&source.octets()), &mut bytes).unwrap();
        assert_eq!(Message::parse(&bytes), Err(Malformed::Truncated));
        assert_eq!(Addresses::<Ipv4Addr>::new(&bytes[12..]).iter().next(), Some(source));
    }
}
