//! The UDP header (RFC 768).

use crate::bytes::{fixed, put, u16_at, write};
use crate::checksum::Sum;
use crate::{Malformed, TooShort};

/// The header of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// The sender's port; zero if it takes no answer.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// Octets of header and payload.
    pub length: u16,
    /// The checksum as it travels: zero means none (IPv4 only).
    pub checksum: u16,
}

impl Header {
    /// Octets of the header.
    pub const LEN: usize = 8;
    /// Where the checksum stands: virtio's `csum_offset`.
    pub const CHECKSUM_OFFSET: usize = 6;

    /// Splits a packet's payload into the header and the datagram, cut to the stated length.
    ///
    /// The checksum needs the pseudo-header: see [`crate::checksum::verify`] with
    /// [`crate::ip::pseudo_header`], over the first `length` octets of `bytes`.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (header, rest) = Self::parse_quoted(bytes)?;
        if usize::from(header.length) < Self::LEN {
            return Err(Malformed::Length);
        }
        let payload = rest.get(..usize::from(header.length) - Self::LEN).ok_or(Malformed::Truncated)?;
        Ok((header, payload))
    }

    /// The header alone, its length not compared with what follows, as quoted in ICMP errors.
    #[inline]
    pub fn parse_quoted(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (h, rest) = fixed::<{ Self::LEN }>(bytes)?;
        let header = Self {
            source_port: u16_at(h, 0),
            destination_port: u16_at(h, 2),
            length: u16_at(h, 4),
            checksum: u16_at(h, 6),
        };
        Ok((header, rest))
    }

    /// Octets that [`emit`](Self::emit) writes.
    pub const fn header_len(&self) -> usize {
        Self::LEN
    }

    /// The header as it travels.
    #[inline]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        put(&mut out, 0, self.source_port.to_be_bytes());
        put(&mut out, 2, self.destination_port.to_be_bytes());
        put(&mut out, 4, self.length.to_be_bytes());
        put(&mut out, 6, self.checksum.to_be_bytes());
        out
    }

    /// Writes the header to the front of `out`.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, TooShort> {
        write(out, &self.to_bytes())
    }

    /// The header with the checksum of itself, its pseudo-header and its payload.
    #[inline]
    pub fn with_checksum(self, mut pseudo_header: Sum, payload: Sum) -> Self {
        let blank = Self { checksum: 0, ..self };
        let checksum = pseudo_header.add(&blank.to_bytes()).add_sum(payload).finish_nonzero();
        Self { checksum, ..self }
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::checksum;
    use crate::ip::{Protocol, pseudo_header};
    use crate::strategies::{assert_inverse, emitted, ip, octets};

    proptest! {
        #[test]
        fn an_emitted_header_parses_back(
            source_port: u16, destination_port: u16, checksum: u16, payload in octets(90),
        ) {
            let length = (Header::LEN + payload.len()) as u16;
            let header = Header { source_port, destination_port, length, checksum };
            let bytes = emitted(header.header_len(), |out| header.emit(out));
            assert_inverse(&header, bytes, &payload, Header::parse);
        }

        #[test]
        fn its_checksum_verifies(source in ip(), destination in ip(), payload in octets(90)) {
            let length = (Header::LEN + payload.len()) as u16;
            let pseudo = pseudo_header(source, destination, Protocol::UDP, length.into());
            let header = Header { source_port: 7, destination_port: 9, length, checksum: 0xdead };
            let header = header.with_checksum(pseudo, *Sum::new().add(&payload));
            let datagram = [&header.to_bytes()[..], &payload].concat();
            prop_assert_ne!(header.checksum, 0);
            prop_assert!(checksum::verify(pseudo, &datagram));
        }
    }

    #[test]
    fn a_sum_of_zero_is_sent_as_all_ones() {
        let any = Ipv4Addr::UNSPECIFIED.into();
        let header = Header { source_port: 0xffff - 17 - 8 - 8, destination_port: 0, length: 8, checksum: 0 };
        let pseudo = pseudo_header(any, any, Protocol::UDP, 8);
        assert_eq!(header.with_checksum(pseudo, Sum::new()).checksum, 0xffff);
    }

    #[test]
    fn padding_behind_the_datagram_is_cut() {
        let header = Header { source_port: 1, destination_port: 2, length: 9, checksum: 0 };
        let bytes = [&header.to_bytes()[..], b"xpadding"].concat();
        assert_eq!(Header::parse(&bytes), Ok((header, &b"x"[..])));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let header = Header { source_port: 1, destination_port: 2, length: 9, checksum: 0 };
        assert_eq!(Header::parse(&header.to_bytes()), Err(Malformed::Truncated));
        let short = Header { length: 7, ..header };
        assert_eq!(Header::parse(&short.to_bytes()), Err(Malformed::Length));
        assert_eq!(Header::parse_quoted(&short.to_bytes()), Ok((short, &[][..])));
    }
}
