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
