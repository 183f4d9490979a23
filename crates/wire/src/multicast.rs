//! What IGMPv3 (RFC 3376) and MLDv2 (RFC 3810) share: group records, lists of sources, and time codes.
//!
//! Both protocols say the same of addresses of different length, so everything here is generic over
//! [`GroupAddress`], which IPv4 and IPv6 addresses implement.

use core::fmt;
use core::marker::PhantomData;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::bytes::{put, split, u16_at};
use crate::{Malformed, TooShort};

/// An address of a group or of a source.
pub trait GroupAddress: Copy + Eq + fmt::Debug {
    /// Octets of the address.
    const LEN: usize;

    /// Reads the address from [`LEN`](Self::LEN) octets; fewer are read as the unspecified address.
    fn from_bytes(bytes: &[u8]) -> Self;

    /// Writes the address to the front of `out`.
    fn write(self, out: &mut [u8]) -> Result<usize, TooShort>;
}

impl GroupAddress for Ipv4Addr {
    const LEN: usize = 4;

    fn from_bytes(bytes: &[u8]) -> Self {
        <[u8; 4]>::try_from(bytes).map_or(Self::UNSPECIFIED, Self::from)
    }

    fn write(self, out: &mut [u8]) -> Result<usize, TooShort> {
        crate::bytes::write(out, &self.octets())
    }
}

impl GroupAddress for Ipv6Addr {
    const LEN: usize = 16;

    fn from_bytes(bytes: &[u8]) -> Self {
        <[u8; 16]>::try_from(bytes).map_or(Self::UNSPECIFIED, Self::from)
    }

    fn write(self, out: &mut [u8]) -> Result<usize, TooShort> {
        crate::bytes::write(out, &self.octets())
    }
}

/// A list of addresses as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses<'a, A> {
    bytes: &'a [u8],
    family: PhantomData<A>,
}

impl<'a, A: GroupAddress + 'a> Addresses<'a, A> {
    /// The whole addresses in `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        let (whole, _) = bytes.split_at(bytes.len() / A::LEN * A::LEN);
        Self { bytes: whole, family: PhantomData }
    }

    /// The addresses as they travel.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.bytes.len() / A::LEN
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The addresses one by one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = A> + 'a {
        self.bytes.chunks_exact(A::LEN).map(A::from_bytes)
    }
}

/// Writes addresses one behind the other to the front of `out`.
pub fn emit_addresses<A: GroupAddress>(addresses: &[A], out: &mut [u8]) -> Result<usize, TooShort> {
    let out = out.get_mut(..addresses.len() * A::LEN).ok_or(TooShort)?;
    for (address, room) in addresses.iter().zip(out.chunks_exact_mut(A::LEN)) {
        address.write(room)?;
    }
    Ok(out.len())
}

/// What a listener's record of a group says (RFC 3376 section 4.2.12, RFC 3810 section 5.2.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// Current state: only these sources.
    ModeIsInclude,
    /// Current state: all but these sources.
    ModeIsExclude,
    /// From now on only these sources; none: the listener leaves.
    ChangeToInclude,
    /// From now on all but these sources; none: the listener joins.
    ChangeToExclude,
    /// These sources too.
    AllowNewSources,
    /// These sources no longer.
    BlockOldSources,
    /// Not known, to be ignored.
    Other(u8),
}

impl From<u8> for RecordKind {
    fn from(number: u8) -> Self {
        match number {
            1 => Self::ModeIsInclude,
            2 => Self::ModeIsExclude,
            3 => Self::ChangeToInclude,
            4 => Self::ChangeToExclude,
            5 => Self::AllowNewSources,
            6 => Self::BlockOldSources,
            other => Self::Other(other),
        }
    }
}

impl From<RecordKind> for u8 {
    fn from(kind: RecordKind) -> Self {
        match kind {
            RecordKind::ModeIsInclude => 1,
            RecordKind::ModeIsExclude => 2,
            RecordKind::ChangeToInclude => 3,
            RecordKind::ChangeToExclude => 4,
            RecordKind::AllowNewSources => 5,
            RecordKind::BlockOldSources => 6,
            RecordKind::Other(number) => number,
        }
    }
}

/// The fixed part of a group record; its sources and auxiliary data follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record<A> {
    /// What is said.
    pub kind: RecordKind,
    /// 32-bit words of auxiliary data behind the sources: none is sent.
    pub auxiliary_words: u8,
    /// Sources that follow.
    pub sources: u16,
    /// The group.
    pub group: A,
}

impl<A: GroupAddress> Record<A> {
    /// Octets of the fixed part.
    pub const LEN: usize = 4 + A::LEN;

    /// Splits off the fixed part; the rest holds the sources and auxiliary data, and further records.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (h, rest) = split(bytes, Self::LEN)?;
        let record = Self {
            kind: h[0].into(),
            auxiliary_words: h[1],
            sources: u16_at(h, 2),
            group: A::from_bytes(&h[4..]),
        };
        if rest.len() < record.body_len() { Err(Malformed::Truncated) } else { Ok((record, rest)) }
    }

    /// Octets that [`emit`](Self::emit) writes.
    pub const fn header_len(&self) -> usize {
        Self::LEN
    }

    /// Octets of sources and auxiliary data.
    pub fn body_len(&self) -> usize {
        usize::from(self.sources) * A::LEN + usize::from(self.auxiliary_words) * 4
    }

    /// Writes the fixed part to the front of `out`; [`emit_addresses`] writes the sources behind it.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, TooShort> {
        let out = out.get_mut(..Self::LEN).ok_or(TooShort)?;
        put(out, 0, [self.kind.into(), self.auxiliary_words]);
        put(out, 2, self.sources.to_be_bytes());
        self.group.write(&mut out[4..])?;
        Ok(Self::LEN)
    }
}

/// The records of a report, one by one with their sources, up to the stated number or the first malformed.
#[derive(Clone, Debug)]
pub struct Records<'a, A> {
    rest: &'a [u8],
    remaining: u16,
    family: PhantomData<A>,
}

impl<'a, A> Records<'a, A> {
    /// So many records in the data of a report.
    pub const fn new(count: u16, data: &'a [u8]) -> Self {
        Self { rest: data, remaining: count, family: PhantomData }
    }
}

impl<'a, A: GroupAddress + 'a> Iterator for Records<'a, A> {
    type Item = Result<(Record<A>, Addresses<'a, A>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.remaining = self.remaining.checked_sub(1)?;
        let parsed = Record::parse(self.rest).and_then(|(record, rest)| {
            let (body, rest) = split(rest, record.body_len())?;
            self.rest = rest;
            Ok((record, Addresses::new(&body[..usize::from(record.sources) * A::LEN])))
        });
        if parsed.is_err() {
            self.remaining = 0;
        }
        Some(parsed)
    }
}

/// What a query says in IGMPv3 and MLDv2 beyond the older versions; its sources follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueryExtension {
    /// Routers shall not restart their timers.
    pub suppress: bool,
    /// The querier's robustness variable, 0 to 7.
    pub robustness: u8,
    /// The querier's interval in seconds as a code: see [`decode_octet`].
    pub interval_code: u8,
    /// Sources that follow.
    pub sources: u16,
}

impl QueryExtension {
    /// Octets of the extension.
    pub const LEN: usize = 4;

    /// Reads the extension.
    pub(crate) fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        Self {
            suppress: bytes[0] & 8 != 0,
            robustness: bytes[0] & 7,
            interval_code: bytes[1],
            sources: u16_at(bytes, 2),
        }
    }

    /// The extension as it travels.
    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let [high, low] = self.sources.to_be_bytes();
        [u8::from(self.suppress) << 3 | self.robustness & 7, self.interval_code, high, low]
    }
}

/// The number that an octet states: itself below 128, else a floating-point number (RFC 3376 section 4.1.1).
pub const fn decode_octet(code: u8) -> u16 {
    if code < 128 { code as u16 } else { (code as u16 & 15 | 16) << ((code >> 4 & 7) + 3) }
}

/// The octet that states a number, rounded down; what is beyond 31744 counts as that.
pub const fn encode_octet(number: u16) -> u8 {
    match number {
        0..128 => number as u8,
        128..31744 => {
            let exponent = 8 - number.leading_zeros() as u8;
            0x80 | exponent << 4 | (number >> (exponent + 3) & 15) as u8
        }
        _ => 0xff,
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::strategies::{emitted, ipv4, ipv6};

    /// Groups with their sources, written as records and read back.
    fn assert_records_read_back<A: GroupAddress>(groups: &[(u8, A, Vec<A>)]) {
        let mut bytes = Vec::new();
        for (kind, group, sources) in groups {
            let sources_len = sources.len() as u16;
            let record =
                Record { kind: (*kind).into(), auxiliary_words: 0, sources: sources_len, group: *group };
            bytes.extend(emitted(record.header_len(), |out| record.emit(out)));
            bytes.extend(emitted(sources.len() * A::LEN, |out| emit_addresses(sources, out)));
        }
        let read: Vec<_> = Records::<A>::new(groups.len() as u16, &bytes)
            .map(|record| record.expect("what was emitted parses"))
            .map(|(record, sources)| (record.kind.into(), record.group, sources.iter().collect()))
            .collect();
        assert_eq!(read, groups);
    }

    proptest! {
        #[test]
        fn emitted_ipv4_records_parse_back(groups in vec((any::<u8>(), ipv4(), vec(ipv4(), 0..4)), 0..5)) {
            assert_records_read_back(&groups);
        }

        #[test]
        fn emitted_ipv6_records_parse_back(groups in vec((any::<u8>(), ipv6(), vec(ipv6(), 0..4)), 0..5)) {
            assert_records_read_back(&groups);
        }

        #[test]
        fn a_time_code_is_the_largest_not_above_its_number(number in 0..=31744u16) {
            let code = encode_octet(number);
            prop_assert!(decode_octet(code) <= number);
            prop_assert!(code == 255 || decode_octet(code + 1) > number);
        }
    }

    #[test]
    fn every_time_code_reads_back() {
        for code in 0..=255 {
            assert_eq!(encode_octet(decode_octet(code)), code);
        }
        assert_eq!(encode_octet(u16::MAX), 255);
    }

    #[test]
    fn auxiliary_data_is_skipped() {
        let bytes = [4, 1, 0, 0, 224, 0, 0, 5, 9, 9, 9, 9, 3, 0, 0, 0, 224, 0, 0, 6];
        let groups: Vec<_> =
            Records::<Ipv4Addr>::new(2, &bytes).map(|r| r.unwrap().0.group.octets()[3]).collect();
        assert_eq!(groups, [5, 6]);
    }

    #[test]
    fn a_report_ends_at_its_first_malformed_record() {
        let bytes = [4, 0, 0, 2, 224, 0, 0, 5, 10, 0, 0, 1];
        let read: Vec<_> = Records::<Ipv4Addr>::new(7, &bytes).collect();
        assert_eq!(read, [Err(Malformed::Truncated)]);
    }
}
