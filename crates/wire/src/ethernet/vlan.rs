//! The 802.1Q tag: what follows an Ethernet header whose type is [`EtherType::VLAN`].

use crate::bytes::{fixed, put, u16_at, write};
use crate::ethernet::EtherType;
use crate::{Malformed, TooShort};

/// The tag control information and the type of what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// Priority code point, 0 to 7.
    pub priority: u8,
    /// Whether the frame may be dropped first under congestion.
    pub drop_eligible: bool,
    /// The VLAN, 0 to 4095: 0 carries a priority only, 4095 is reserved.
    pub id: u16,
    /// What the payload is.
    pub ethertype: EtherType,
}

impl Tag {
    /// Octets of the tag after the Ethernet header.
    pub const LEN: usize = 4;

    /// Splits the payload of a tagged frame into the tag and what it wraps.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (h, rest) = fixed::<{ Self::LEN }>(bytes)?;
        let control = u16_at(h, 0);
        let tag = Self {
            priority: (control >> 13) as u8,
            drop_eligible: control & 0x1000 != 0,
            id: control & 0x0fff,
            ethertype: EtherType(u16_at(h, 2)),
        };
        Ok((tag, rest))
    }

    /// Octets that [`emit`](Self::emit) writes.
    pub const fn header_len(&self) -> usize {
        Self::LEN
    }

    /// The tag as it travels; bits beyond a field's width are not sent.
    #[inline]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let control =
            u16::from(self.priority & 7) << 13 | u16::from(self.drop_eligible) << 12 | self.id & 0x0fff;
        let mut out = [0; Self::LEN];
        put(&mut out, 0, control.to_be_bytes());
        put(&mut out, 2, self.ethertype.0.to_be_bytes());
        out
    }

    /// Writes the tag to the front of `out`.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, TooShort> {
        write(out, &self.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::strategies::{assert_inverse, emitted, octets};

    proptest! {
        #[test]
        fn an_emitted_tag_parses_back(
            priority in 0..8u8, drop_eligible: bool, id in 0..4096u16, ethertype: u16, payload in octets(9),
        ) {
            let tag = Tag { priority, drop_eligible, id, ethertype: EtherType(ethertype) };
            let bytes = emitted(tag.header_len(), |out| tag.emit(out));
            assert_inverse(&tag, bytes, &payload, Tag::parse);
        }
    }

    #[test]
    fn a_tag_lies_in_the_bits_that_802_1q_gives_it() {
        let tag = Tag { priority: 5, drop_eligible: true, id: 42, ethertype: EtherType::IPV4 };
        assert_eq!(tag.to_bytes(), [0xb0, 0x2a, 0x08, 0x00]);
    }

    #[test]
    fn bits_beyond_a_field_do_not_spill() {
        let tag = Tag { priority: 9, drop_eligible: false, id: 0xf001, ethertype: EtherType::ARP };
        assert_eq!(tag.to_bytes(), [0x20, 0x01, 0x08, 0x06]);
    }
}
