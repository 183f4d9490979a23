//! Neighbour discovery for IPv6 (RFC 4861), inside [`crate::icmpv6::Message`].
//!
//! [`Message`] is the fixed part; the data of the ICMPv6 message that carries it holds [`Options`].

mod options;

use core::net::Ipv6Addr;

use crate::Malformed;
use crate::bytes::{fixed, ipv6_at, put, u16_at, u32_at};

pub use options::{NdpOption, Options, PrefixInformation, RouteInformation, RouterPreference};

/// The fixed part of a neighbour discovery message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Routers shall say that they are there.
    RouterSolicitation,
    /// A router is there, and what hosts on its link shall do.
    RouterAdvertisement {
        /// The hop limit for packets; zero: not told.
        hop_limit: u8,
        /// Where addresses come from, and the preference.
        flags: RouterFlags,
        /// Seconds for which it is a default router; zero: it is none.
        router_lifetime: u16,
        /// Milliseconds for which a neighbour counts as reachable; zero: not told.
        reachable_time: u32,
        /// Milliseconds between solicitations; zero: not told.
        retransmit_timer: u32,
    },
    /// Who has the address?
    NeighborSolicitation {
        /// The address asked for.
        target: Ipv6Addr,
    },
    /// Where an address is.
    NeighborAdvertisement {
        /// What sort of answer.
        flags: NeighborFlags,
        /// The address.
        target: Ipv6Addr,
    },
    /// A better first hop for a destination.
    Redirect {
        /// The better first hop, the destination itself if it is on the link.
        target: Ipv6Addr,
        /// The destination.
        destination: Ipv6Addr,
    },
}

/// Flags of a router advertisement (RFC 4861 section 4.2, RFC 4191 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct RouterFlags(pub u8);

impl RouterFlags {
    /// Addresses come from DHCPv6.
    pub const MANAGED: Self = Self(0x80);
    /// Other configuration comes from DHCPv6.
    pub const OTHER: Self = Self(0x40);
    /// The router is a Mobile IPv6 home agent (RFC 6275).
    pub const HOME_AGENT: Self = Self(0x20);

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// How the router ranks among the default routers.
    pub const fn preference(self) -> RouterPreference {
        RouterPreference::from_bits(self.0 >> 3)
    }
}

/// Flags of a neighbour advertisement (RFC 4861 section 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct NeighborFlags(pub u8);

impl NeighborFlags {
    /// The sender is a router.
    pub const ROUTER: Self = Self(0x80);
    /// It answers a solicitation.
    pub const SOLICITED: Self = Self(0x40);
    /// A known link-layer address shall be replaced.
    pub const OVERRIDE: Self = Self(0x20);

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits of both.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Kinds (IANA "ICMPv6 Type Numbers").
mod kind {
    pub(super) const ROUTER_SOLICITATION: u8 = 133;
    pub(super) const ROUTER_ADVERTISEMENT: u8 = 134;
    pub(super) const NEIGHBOR_SOLICITATION: u8 = 135;
    pub(super) const NEIGHBOR_ADVERTISEMENT: u8 = 136;
    pub(super) const REDIRECT: u8 = 137;
}

impl Message {
    /// Whether an ICMPv6 kind is neighbour discovery.
    pub(crate) const fn is_kind(kind: u8) -> bool {
        matches!(kind, kind::ROUTER_SOLICITATION..=kind::REDIRECT)
    }

    /// The message of a kind with the four octets after the checksum, and what follows them.
    pub(crate) fn parse(kind: u8, content: [u8; 4], rest: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        Ok(match kind {
            kind::ROUTER_SOLICITATION => (Self::RouterSolicitation, rest),
            kind::ROUTER_ADVERTISEMENT => {
                let (times, rest) = fixed::<8>(rest)?;
                let message = Self::RouterAdvertisement {
                    hop_limit: content[0],
                    flags: RouterFlags(content[1]),
                    router_lifetime: u16_at(&content, 2),
                    reachable_time: u32_at(times, 0),
                    retransmit_timer: u32_at(times, 4),
                };
                (message, rest)
            }
            kind::NEIGHBOR_SOLICITATION => {
                let (target, rest) = fixed::<16>(rest)?;
                (Self::NeighborSolicitation { target: (*target).into() }, rest)
            }
            kind::NEIGHBOR_ADVERTISEMENT => {
                let (target, rest) = fixed::<16>(rest)?;
                let flags = NeighborFlags(content[0]);
                (Self::NeighborAdvertisement { flags, target: (*target).into() }, rest)
            }
            kind::REDIRECT => {
                let (both, rest) = fixed::<32>(rest)?;
                (Self::Redirect { target: ipv6_at(both, 0), destination: ipv6_at(both, 16) }, rest)
            }
            _ => return Err(Malformed::Value),
        })
    }

    /// Octets of the ICMPv6 message before the options.
    pub const fn header_len(&self) -> usize {
        match self {
            Self::RouterSolicitation => 8,
            Self::RouterAdvertisement { .. } => 16,
            Self::NeighborSolicitation { .. } | Self::NeighborAdvertisement { .. } => 24,
            Self::Redirect { .. } => 40,
        }
    }

    /// Writes the message with a checksum of zero into zeroed room of its length.
    pub(crate) fn write_blank(&self, out: &mut [u8]) {
        match *self {
            Self::RouterSolicitation => out[0] = kind::ROUTER_SOLICITATION,
            Self::RouterAdvertisement {
                hop_limit,
                flags,
                router_lifetime,
                reachable_time,
                retransmit_timer,
            } => {
                out[0] = kind::ROUTER_ADVERTISEMENT;
                put(out, 4, [hop_limit, flags.0]);
                put(out, 6, router_lifetime.to_be_bytes());
                put(out, 8, reachable_time.to_be_bytes());
                put(out, 12, retransmit_timer.to_be_bytes());
            }
            Self::NeighborSolicitation { target } => {
                out[0] = kind::NEIGHBOR_SOLICITATION;
                put(out, 8, target.octets());
            }
            Self::NeighborAdvertisement { flags, target } => {
                out[0] = kind::NEIGHBOR_ADVERTISEMENT;
                out[4] = flags.0;
                put(out, 8, target.octets());
            }
            Self::Redirect { target, destination } => {
                out[0] = kind::REDIRECT;
                put(out, 8, target.octets());
                put(out, 24, destination.octets());
            }
        }
    }
}

/// The group that a node with this address listens on for solicitations (RFC 4291 section 2.7.1).
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | high & 0xff, low)
}

#[cfg(test)]
mod tests;
