//! Options of neighbour discovery (RFC 4861 section 4.6, RFC 4191, RFC 7527, RFC 8106).

use core::net::Ipv6Addr;

use crate::bytes::{array, ipv6_at, put, u32_at};
use crate::ethernet::Address;
use crate::ip::Cidr;
use crate::multicast::Addresses;
use crate::{Malformed, TooShort};

/// The options of a message, one by one, up to the first malformed one.
///
/// A message with a malformed option shall be dropped whole (RFC 4861 section 6.1).
#[derive(Clone, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Options<'a> {
    /// The options in the data of an ICMPv6 message.
    pub const fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<NdpOption<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = NdpOption::parse(self.rest);
        self.rest = parsed.map_or(&[], |(_, rest)| rest);
        Some(parsed.map(|(option, _)| option))
    }
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NdpOption<'a> {
    /// The sender's MAC address.
    SourceLinkAddress(Address),
    /// The target's MAC address.
    TargetLinkAddress(Address),
    /// A prefix of the link.
    PrefixInformation(PrefixInformation),
    /// The front of the packet that was redirected, cut to a multiple of eight octets.
    RedirectedHeader(&'a [u8]),
    /// The MTU of the link.
    Mtu(u32),
    /// Ties an advertisement to its solicitation (RFC 3971), or shows one's own looping back (RFC 7527).
    Nonce(&'a [u8]),
    /// A route through the router (RFC 4191).
    RouteInformation(RouteInformation),
    /// Resolvers (RFC 8106).
    RecursiveDnsServers {
        /// Seconds for which they may be asked.
        lifetime: u32,
        /// Their addresses.
        servers: Addresses<'a, Ipv6Addr>,
    },
    /// Search domains (RFC 8106).
    DnsSearchList {
        /// Seconds for which they hold.
        lifetime: u32,
        /// Names as labels, padded with zeros.
        names: &'a [u8],
    },
    /// Any other, without its kind and length octets.
    Unknown {
        /// The kind.
        kind: u8,
        /// Six octets and a multiple of eight more.
        data: &'a [u8],
    },
}

/// A prefix of the link (RFC 4861 section 4.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrefixInformation {
    /// The prefix; its host bits are to be ignored.
    pub prefix: Cidr,
    /// Addresses in it are on the link.
    pub on_link: bool,
    /// Hosts may make addresses of it.
    pub autonomous: bool,
    /// Seconds for which the prefix is on the link; all ones: for ever.
    pub valid_lifetime: u32,
    /// Seconds for which addresses made of it are preferred; all ones: for ever.
    pub preferred_lifetime: u32,
}

/// A route through a router (RFC 4191 section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteInformation {
    /// The destination; only octets that the prefix needs are sent.
    pub prefix: Cidr,
    /// How the route ranks.
    pub preference: RouterPreference,
    /// Seconds for which it holds; all ones: for ever.
    pub lifetime: u32,
}

/// How a router or route ranks (RFC 4191 section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouterPreference {
    /// A value that is not to be sent: a router counts as medium, a route is ignored.
    Reserved,
    /// Below others.
    Low,
    /// As others.
    Medium,
    /// Above others.
    High,
}

impl RouterPreference {
    /// The preference in the lower two bits.
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Medium,
            1 => Self::High,
            2 => Self::Reserved,
            _ => Self::Low,
        }
    }

    /// The two bits that state it.
    pub const fn to_bits(self) -> u8 {
        match self {
            Self::Medium => 0,
            Self::High => 1,
            Self::Reserved => 2,
            Self::Low => 3,
        }
    }
}

/// Kinds (IANA "IPv6 Neighbor Discovery Option Formats").
mod kind {
    pub(super) const SOURCE_LINK_ADDRESS: u8 = 1;
    pub(super) const TARGET_LINK_ADDRESS: u8 = 2;
    pub(super) const PREFIX_INFORMATION: u8 = 3;
    pub(super) const REDIRECTED_HEADER: u8 = 4;
    pub(super) const MTU: u8 = 5;
    pub(super) const NONCE: u8 = 14;
    pub(super) const ROUTE_INFORMATION: u8 = 24;
    pub(super) const RECURSIVE_DNS_SERVERS: u8 = 25;
    pub(super) const DNS_SEARCH_LIST: u8 = 31;
}

impl<'a> NdpOption<'a> {
    /// Splits one option off a message's data.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let (&kind, units) = bytes.split_first().ok_or(Malformed::Truncated)?;
        let len = usize::from(*units.first().ok_or(Malformed::Option)?) * 8;
        let data = bytes.get(2..len).ok_or(Malformed::Option)?;
        Ok((Self::from_data(kind, data)?, &bytes[len..]))
    }

    /// The option of a kind with its data: six octets at least.
    fn from_data(kind: u8, data: &'a [u8]) -> Result<Self, Malformed> {
        Ok(match (kind, data.len()) {
            (kind::SOURCE_LINK_ADDRESS, 6) => Self::SourceLinkAddress(Address(array(data, 0))),
            (kind::TARGET_LINK_ADDRESS, 6) => Self::TargetLinkAddress(Address(array(data, 0))),
            (kind::PREFIX_INFORMATION, 30) => Self::PrefixInformation(PrefixInformation::from_data(data)?),
            (kind::REDIRECTED_HEADER, _) => Self::RedirectedHeader(&data[6..]),
            (kind::MTU, 6) => Self::Mtu(u32_at(data, 2)),
            (kind::NONCE, _) => Self::Nonce(data),
            (kind::ROUTE_INFORMATION, 6 | 14 | 22) => {
                Self::RouteInformation(RouteInformation::from_data(data)?)
            }
            (kind::RECURSIVE_DNS_SERVERS, 22..) if data.len() % 16 == 6 => {
                Self::RecursiveDnsServers { lifetime: u32_at(data, 2), servers: Addresses::new(&data[6..]) }
            }
            (kind::DNS_SEARCH_LIST, 14..) => {
                Self::DnsSearchList { lifetime: u32_at(data, 2), names: &data[6..] }
            }
            (
                kind::SOURCE_LINK_ADDRESS..=kind::MTU
                | kind::ROUTE_INFORMATION
                | kind::RECURSIVE_DNS_SERVERS
                | kind::DNS_SEARCH_LIST,
                _,
            ) => return Err(Malformed::Option),
            _ => Self::Unknown { kind, data },
        })
    }

    /// Octets that [`emit`](Self::emit) writes: a multiple of eight.
    pub fn header_len(&self) -> usize {
        match self {
            Self::SourceLinkAddress(_) | Self::TargetLinkAddress(_) | Self::Mtu(_) => 8,
            Self::PrefixInformation(_) => 32,
            Self::RedirectedHeader(packet) => 8 + packet.len() / 8 * 8,
            Self::Nonce(data) | Self::Unknown { data, .. } => (2 + data.len()).next_multiple_of(8),
            Self::RouteInformation(route) => 8 + route.prefix_octets(),
            Self::RecursiveDnsServers { servers, .. } => 8 + servers.as_bytes().len(),
            Self::DnsSearchList { names, .. } => (8 + names.len()).next_multiple_of(8),
        }
    }

    /// Writes the option, padded with zeros, to the front of `out`. An option longer than the 2040 octets
    /// that can be stated is refused.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, TooShort> {
        let len = self.header_len();
        let units = u8::try_from(len / 8).map_err(|_| TooShort)?;
        let out = out.get_mut(..len).ok_or(TooShort)?;
        out.fill(0);
        put(out, 0, [self.kind(), units]);
        self.write_data(&mut out[2..]);
        Ok(len)
    }

    /// The kind octet.
    const fn kind(&self) -> u8 {
        match self {
            Self::SourceLinkAddress(_) => kind::SOURCE_LINK_ADDRESS,
            Self::TargetLinkAddress(_) => kind::TARGET_LINK_ADDRESS,
            Self::PrefixInformation(_) => kind::PREFIX_INFORMATION,
            Self::RedirectedHeader(_) => kind::REDIRECTED_HEADER,
            Self::Mtu(_) => kind::MTU,
            Self::Nonce(_) => kind::NONCE,
            Self::RouteInformation(_) => kind::ROUTE_INFORMATION,
            Self::RecursiveDnsServers { .. } => kind::RECURSIVE_DNS_SERVERS,
            Self::DnsSearchList { .. } => kind::DNS_SEARCH_LIST,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// Writes what follows kind and length into zeroed room.
    fn write_data(&self, out: &mut [u8]) {
        match self {
            Self::SourceLinkAddress(address) | Self::TargetLinkAddress(address) => put(out, 0, address.0),
            Self::PrefixInformation(prefix) => prefix.write_data(out),
            Self::RedirectedHeader(packet) => {
                let whole = packet.len() / 8 * 8;
                out[6..].copy_from_slice(&packet[..whole]);
            }
            Self::Mtu(mtu) => put(out, 2, mtu.to_be_bytes()),
            Self::Nonce(data) | Self::Unknown { data, .. } => out[..data.len()].copy_from_slice(data),
            Self::RouteInformation(route) => route.write_data(out),
            Self::RecursiveDnsServers { lifetime, servers } => {
                put(out, 2, lifetime.to_be_bytes());
                out[6..].copy_from_slice(servers.as_bytes());
            }
            Self::DnsSearchList { lifetime, names } => {
                put(out, 2, lifetime.to_be_bytes());
                out[6..6 + names.len()].copy_from_slice(names);
            }
        }
    }
}

const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;

impl PrefixInformation {
    /// Reads thirty octets.
    fn from_data(data: &[u8]) -> Result<Self, Malformed> {
        let prefix = Cidr::new(ipv6_at(data, 14).into(), data[0]).ok_or(Malformed::Option)?;
        Ok(Self {
            prefix,
            on_link: data[1] & ON_LINK != 0,
            autonomous: data[1] & AUTONOMOUS != 0,
            valid_lifetime: u32_at(data, 2),
            preferred_lifetime: u32_at(data, 6),
        })
    }

    fn write_data(&self, out: &mut [u8]) {
        let on_link = if self.on_link { ON_LINK } else { 0 };
        let autonomous = if self.autonomous { AUTONOMOUS } else { 0 };
        put(out, 0, [self.prefix.prefix_len(), on_link | autonomous]);
        put(out, 2, self.valid_lifetime.to_be_bytes());
        put(out, 6, self.preferred_lifetime.to_be_bytes());
        put(out, 14, prefix_bytes(&self.prefix));
    }
}

impl RouteInformation {
    /// Reads 6, 14 or 22 octets: the prefix is cut to none, eight or sixteen octets.
    fn from_data(data: &[u8]) -> Result<Self, Malformed> {
        let mut address = [0; 16];
        address[..data.len() - 6].copy_from_slice(&data[6..]);
        let prefix = Cidr::new(Ipv6Addr::from(address).into(), data[0]).ok_or(Malformed::Option)?;
        let route = Self {
            prefix: prefix.network(),
            preference: RouterPreference::from_bits(data[1] >> 3),
            lifetime: u32_at(data, 2),
        };
        if route.prefix_octets() > data.len() - 6 { Err(Malformed::Option) } else { Ok(route) }
    }

    /// Octets of the prefix that are sent.
    const fn prefix_octets(&self) -> usize {
        (self.prefix.prefix_len() as usize).div_ceil(64) * 8
    }

    fn write_data(&self, out: &mut [u8]) {
        let prefix = prefix_bytes(&self.prefix);
        put(out, 0, [self.prefix.prefix_len(), self.preference.to_bits() << 3]);
        put(out, 2, self.lifetime.to_be_bytes());
        out[6..].copy_from_slice(&prefix[..self.prefix_octets()]);
    }
}

/// The address of a prefix; an IPv4 one is mapped, since these options carry IPv6 alone.
fn prefix_bytes(prefix: &Cidr) -> [u8; 16] {
    match prefix.address() {
        core::net::IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        core::net::IpAddr::V6(address) => address.octets(),
    }
}
