//! An address with the length of its network prefix (RFC 4632), for both families.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// An address and the length of its network prefix: `10.0.0.2/24`, `fe80::1/64`.
///
/// The address keeps its host bits; [`network`](Self::network) clears them. The order is by family, address,
/// then length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "(IpAddr, u8)", into = "(IpAddr, u8)")
)]
pub struct Cidr {
    address: IpAddr,
    prefix_len: u8,
}

impl Cidr {
    /// An address with a prefix length, unless that is longer than the address.
    pub const fn new(address: IpAddr, prefix_len: u8) -> Option<Self> {
        if prefix_len <= width(address) { Some(Self { address, prefix_len }) } else { None }
    }

    /// The address alone, with every bit in the prefix.
    pub const fn host(address: IpAddr) -> Self {
        Self { address, prefix_len: width(address) }
    }

    /// An address with a mask of its family, unless the mask has holes.
    pub fn from_netmask(address: IpAddr, netmask: IpAddr) -> Option<Self> {
        let mask = match (address, netmask) {
            (IpAddr::V4(_), IpAddr::V4(mask)) => u128::from(mask.to_bits()) << 96,
            (IpAddr::V6(_), IpAddr::V6(mask)) => mask.to_bits(),
            _ => return None,
        };
        let prefix_len = mask.leading_ones() as u8;
        (mask == prefix_mask(prefix_len)).then_some(Self { address, prefix_len })
    }

    /// The address with all its bits.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Bits of the address that name the network.
    pub const fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// Whether the prefix covers the whole address.
    pub const fn is_host(&self) -> bool {
        self.prefix_len == width(self.address)
    }

    /// Whether the network of this prefix contains `address`; never across families.
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()) & self.mask_v4() == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()) & prefix_mask(self.prefix_len) == 0
            }
            _ => false,
        }
    }

    /// The same prefix with its host bits cleared.
    pub fn network(&self) -> Self {
        let address = match self.address {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & self.mask_v4()).into(),
            IpAddr::V6(address) => {
                Ipv6Addr::from_bits(address.to_bits() & prefix_mask(self.prefix_len)).into()
            }
        };
        Self { address, ..*self }
    }

    /// The directed broadcast address: none for IPv6, nor for prefixes of 31 (RFC 3021) and 32 bits.
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(address) if self.prefix_len < 31 => {
                Some(Ipv4Addr::from_bits(address.to_bits() | !self.mask_v4()))
            }
            _ => None,
        }
    }

    /// The mask, in the family of the address.
    pub fn netmask(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(_) => Ipv4Addr::from_bits(self.mask_v4()).into(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(prefix_mask(self.prefix_len)).into(),
        }
    }

    /// The IPv4 mask as bits.
    #[inline]
    fn mask_v4(&self) -> u32 {
        (prefix_mask(self.prefix_len) >> 96) as u32
    }
}

/// Bits in an address of this family.
const fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// A mask of `len` leading ones.
#[inline]
fn prefix_mask(len: u8) -> u128 {
    !u128::MAX.checked_shr(u32::from(len)).unwrap_or(0)
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// A text is not an address with a prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CidrParseError;

impl fmt::Display for CidrParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an address with a prefix length")
    }
}

impl core::error::Error for CidrParseError {}

impl FromStr for Cidr {
    type Err = CidrParseError;

    /// Reads `address/length`; an address alone is refused, since its mask would be a guess.
    fn from_str(text: &str) -> Result<Self, CidrParseError> {
        let (address, len) = text.split_once('/').ok_or(CidrParseError)?;
        if !len.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(CidrParseError);
        }
        let (address, len) = (address.parse().ok(), len.parse().ok());
        address.zip(len).and_then(|(address, len)| Self::new(address, len)).ok_or(CidrParseError)
    }
}

impl TryFrom<(IpAddr, u8)> for Cidr {
    type Error = CidrParseError;

    fn try_from((address, prefix_len): (IpAddr, u8)) -> Result<Self, CidrParseError> {
        Self::new(address, prefix_len).ok_or(CidrParseError)
    }
}

impl From<Cidr> for (IpAddr, u8) {
    fn from(cidr: Cidr) -> Self {
        (cidr.address, cidr.prefix_len)
    }
}
