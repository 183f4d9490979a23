//! The virtio-net header in front of every frame of a tap or packet socket that speaks `IFF_VNET_HDR`.
//!
//! It describes work left undone: a checksum to be completed, a payload to be cut into segments. The layout
//! is that of virtio 1.2 section 5.1.6 with twelve octets; the numbers are in the host's own byte order, which
//! is what a tap uses unless told otherwise (`TUNSETVNETLE`, `TUNSETVNETBE`).
//!
//! A header is input like any other: [`Header::parse`] refuses kinds it does not know, and what the offsets
//! claim has to be compared with the frame by whoever follows them.

use crate::bytes::{array, fixed, put, write};
use crate::{Malformed, TooShort};

/// What is left to be done to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Header {
    /// The state of the checksum.
    pub flags: Flags,
    /// How the payload is to be cut.
    pub gso_type: GsoType,
    /// With segmentation: some segments carry a congestion mark, so that CWR goes on the first alone.
    pub ecn: bool,
    /// With segmentation: octets of all headers, a hint.
    pub hdr_len: u16,
    /// With segmentation: octets of payload in each segment.
    pub gso_size: u16,
    /// With [`Flags::NEEDS_CSUM`]: where in the frame summing starts.
    pub csum_start: u16,
    /// With [`Flags::NEEDS_CSUM`]: where behind `csum_start` the checksum goes; the sum of the pseudo-header
    /// stands there already.
    pub csum_offset: u16,
    /// Buffers that a received frame fills; a tap always says zero.
    pub num_buffers: u16,
}

/// The state of a frame's transport checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// Nothing is known.
    pub const NONE: Self = Self(0);
    /// The checksum is to be completed; what travels is the sum of the pseudo-header.
    pub const NEEDS_CSUM: Self = Self(1);
    /// The checksum has been verified.
    pub const DATA_VALID: Self = Self(2);

    /// Whether all bits of `other` are set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits of both.
    #[inline]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// How a frame's payload is to be cut into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum GsoType {
    /// Not at all.
    #[default]
    None = 0,
    /// TCP over IPv4.
    Tcp4 = 1,
    /// One UDP datagram over IP fragments.
    Udp = 3,
    /// TCP over IPv6.
    Tcp6 = 4,
    /// UDP datagrams of equal size, over IPv4 or IPv6.
    UdpL4 = 5,
}

/// The bit beside the type that states [`Header::ecn`].
const ECN: u8 = 0x80;

impl TryFrom<u8> for GsoType {
    type Error = Malformed;

    #[inline]
    fn try_from(number: u8) -> Result<Self, Malformed> {
        Ok(match number {
            0 => Self::None,
            1 => Self::Tcp4,
            3 => Self::Udp,
            4 => Self::Tcp6,
            5 => Self::UdpL4,
            _ => return Err(Malformed::Value),
        })
    }
}

impl Header {
    /// Octets of the header, `num_buffers` included.
    pub const LEN: usize = 12;

    /// Splits a read of a tap into the header and the frame.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (h, frame) = fixed::<{ Self::LEN }>(bytes)?;
        let number = |at| u16::from_ne_bytes(array(h, at));
        let header = Self {
            flags: Flags(h[0]),
            gso_type: GsoType::try_from(h[1] & !ECN)?,
            ecn: h[1] & ECN != 0,
            hdr_len: number(2),
            gso_size: number(4),
            csum_start: number(6),
            csum_offset: number(8),
            num_buffers: number(10),
        };
        Ok((header, frame))
    }

    /// Octets that [`emit`](Self::emit) writes.
    pub const fn header_len(&self) -> usize {
        Self::LEN
    }

    /// The header as a tap takes it.
    #[inline]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        put(&mut out, 0, [self.flags.0, self.gso_type as u8 | if self.ecn { ECN } else { 0 }]);
        put(&mut out, 2, self.hdr_len.to_ne_bytes());
        put(&mut out, 4, self.gso_size.to_ne_bytes());
        put(&mut out, 6, self.csum_start.to_ne_bytes());
        put(&mut out, 8, self.csum_offset.to_ne_bytes());
        put(&mut out, 10, self.num_buffers.to_ne_bytes());
        out
    }

    /// Writes the header to the front of `out`.
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

    /// Any kind of segmentation.
    fn gso_type() -> impl Strategy<Value = GsoType> {
        prop::sample::select(&[GsoType::None, GsoType::Tcp4, GsoType::Udp, GsoType::Tcp6, GsoType::UdpL4][..])
    }

    proptest! {
        #[test]
        fn an_emitted_header_parses_back(
            flags: u8, gso_type in gso_type(), ecn: bool, numbers: [u16; 5], frame in octets(40),
        ) {
            let [hdr_len, gso_size, csum_start, csum_offset, num_buffers] = numbers;
            let flags = Flags(flags);
            let header =
                Header { flags, gso_type, ecn, hdr_len, gso_size, csum_start, csum_offset, num_buffers };
            let bytes = emitted(header.header_len(), |out| header.emit(out));
            assert_inverse(&header, bytes, &frame, Header::parse);
        }
    }

    #[test]
    fn the_layout_is_virtios() {
        let header = Header {
            flags: Flags::NEEDS_CSUM,
            gso_type: GsoType::Tcp4,
            ecn: true,
            hdr_len: 66,
            gso_size: 1448,
            csum_start: 34,
            csum_offset: 16,
            num_buffers: 0,
        };
        let numbers = [66u16, 1448, 34, 16, 0].map(u16::to_ne_bytes).concat();
        assert_eq!(header.to_bytes()[..2], [1, 0x81]);
        assert_eq!(header.to_bytes()[2..], numbers);
    }

    #[test]
    fn kinds_of_segmentation_that_are_not_known_are_refused() {
        for kind in [2, 6, 0x20, 0x40, 0x7f, 0x82] {
            let mut bytes = Header::default().to_bytes();
            bytes[1] = kind;
            assert_eq!(Header::parse(&bytes), Err(Malformed::Value), "{kind:#x}");
        }
    }
}
