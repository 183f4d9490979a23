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

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use proptest::prelude::*;

    use super::*;
    use crate::strategies::ip;

    /// Any prefix, lengths at the ends included.
    fn cidr() -> impl Strategy<Value = Cidr> {
        (ip(), 0..=128u8).prop_map(|(address, len)| Cidr::new(address, len.min(width(address))).unwrap())
    }

    fn read(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    proptest! {
        #[test]
        fn a_prefix_reads_back_as_it_is_printed(cidr in cidr()) {
            prop_assert_eq!(cidr.to_string().parse(), Ok(cidr));
        }

        #[test]
        fn a_mask_gives_its_length_back(cidr in cidr()) {
            prop_assert_eq!(Cidr::from_netmask(cidr.address(), cidr.netmask()), Some(cidr));
        }

        #[test]
        fn an_address_is_contained_if_its_network_is_the_same(cidr in cidr(), other in ip()) {
            let same = Cidr::new(other, cidr.prefix_len()).is_some_and(|theirs| theirs.network() == cidr.network());
            prop_assert_eq!(cidr.contains(other), same);
            prop_assert!(cidr.contains(cidr.address()) && cidr.contains(cidr.network().address()));
        }

        #[test]
        fn a_broadcast_address_is_the_last_of_its_network(address in crate::strategies::ipv4(), len in 0..31u8) {
            let cidr = Cidr::new(address.into(), len).unwrap();
            let broadcast = cidr.broadcast().unwrap();
            prop_assert!(cidr.contains(broadcast.into()));
            let next = broadcast.to_bits().checked_add(1).map(Ipv4Addr::from_bits);
            prop_assert!(next.is_none_or(|next| !cidr.contains(next.into())));
        }

        #[test]
        fn no_text_breaks_the_reader(text in "[0-9a-f:./+ -]{0,40}") {
            let _ = text.parse::<Cidr>();
        }
    }

    #[test]
    fn a_network_has_its_names() {
        let cidr = read("10.1.2.3/20");
        assert_eq!(cidr.network(), read("10.1.0.0/20"));
        assert_eq!(cidr.broadcast(), Some(Ipv4Addr::new(10, 1, 15, 255)));
        assert_eq!(cidr.netmask().to_string(), "255.255.240.0");
        assert_eq!(read("fe80::1:2/64").network(), read("fe80::/64"));
        assert_eq!(read("fe80::1/64").netmask().to_string(), "ffff:ffff:ffff:ffff::");
    }

    #[test]
    fn point_to_point_prefixes_and_ipv6_have_no_broadcast() {
        for text in ["10.0.0.0/31", "10.0.0.0/32", "2001:db8::/64"] {
            assert_eq!(read(text).broadcast(), None, "{text}");
        }
    }

    #[test]
    fn a_mask_with_holes_is_refused() {
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
        for mask in ["255.0.255.0", "0.0.0.255", "255.255.255.253"] {
            assert_eq!(Cidr::from_netmask(address, mask.parse().unwrap()), None, "{mask}");
        }
        assert_eq!(Cidr::from_netmask(address, "ffff::".parse().unwrap()), None);
        assert_eq!(
            Cidr::from_netmask(address, "0.0.0.0".parse().unwrap()).map(|all| all.prefix_len()),
            Some(0)
        );
    }

    #[test]
    fn families_do_not_contain_each_other() {
        assert!(!read("0.0.0.0/0").contains("::".parse().unwrap()));
        assert!(!read("::/0").contains("0.0.0.0".parse().unwrap()));
    }

    #[test]
    fn texts_that_are_no_prefix_are_refused() {
        for text in [
            "",
            "/",
            "10.0.0.1",
            "10.0.0.1/",
            "10.0.0.1/33",
            "::1/129",
            "10.0.0/8",
            "10.0.0.1/+8",
            "10.0.0.1/8/8",
            "10.0.0.1/-1",
            "10.0.0.1/ 8",
        ] {
            assert_eq!(text.parse::<Cidr>(), Err(CidrParseError), "{text}");
        }
    }

    #[test]
    fn a_host_prefix_covers_its_address_alone() {
        let host = Cidr::host(IpAddr::V6(Ipv6Addr::LOCALHOST));
        assert!(host.is_host() && host.contains(Ipv6Addr::LOCALHOST.into()));
        assert!(!host.contains(Ipv6Addr::UNSPECIFIED.into()));
        assert!(!read("10.0.0.1/31").is_host());
    }
}
