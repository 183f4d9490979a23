//! ICMP for IPv4 (RFC 792, RFC 950, RFC 1191, RFC 1256).
//!
//! A [`Message`] is the eight octets that every kind has; what follows is its data: the echoed octets, the
//! quoted packet of an error, the times of a timestamp ([`Timestamps`]).

use core::net::Ipv4Addr;

use crate::bytes::{array, fixed, ipv4_at, put, u16_at, u32_at, write};
use crate::checksum::{self, Sum};
use crate::{Malformed, TooShort};

/// The first eight octets of a message, without the checksum, which [`parse`](Self::parse) verifies and
/// [`emit`](Self::emit) computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// The answer to an echo request, with its data.
    EchoReply {
        /// Which program asked.
        identifier: u16,
        /// Which of its requests.
        sequence: u16,
    },
    /// A packet could not be delivered; its front is the data.
    DestinationUnreachable {
        /// What could not be reached.
        code: UnreachableCode,
        /// With [`UnreachableCode::FRAGMENTATION_NEEDED`]: the MTU of the next link, zero if untold (RFC 1191).
        next_hop_mtu: u16,
    },
    /// Send slower: obsolete, to be ignored (RFC 6633).
    SourceQuench,
    /// A better router for the quoted packet's destination.
    Redirect {
        /// For what traffic.
        code: RedirectCode,
        /// The better router.
        gateway: Ipv4Addr,
    },
    /// The receiver shall answer with the data.
    EchoRequest {
        /// Which program asks.
        identifier: u16,
        /// Which of its requests.
        sequence: u16,
    },
    /// A router is there (RFC 1256); the data is its addresses with their preferences.
    RouterAdvertisement {
        /// Addresses in the data.
        addresses: u8,
        /// 32-bit words an entry takes: 2.
        entry_words: u8,
        /// Seconds for which the addresses hold.
        lifetime: u16,
    },
    /// Routers shall say that they are there (RFC 1256).
    RouterSolicitation,
    /// A packet died on the way; its front is the data.
    TimeExceeded {
        /// What ran out.
        code: TimeExceededCode,
    },
    /// A packet's header is bad; its front is the data.
    ParameterProblem {
        /// 0: the pointer tells; 1: an option is missing; 2: bad length.
        code: u8,
        /// The octet that is wrong.
        pointer: u8,
    },
    /// The receiver shall answer with its time.
    TimestampRequest {
        /// Which program asks.
        identifier: u16,
        /// Which of its requests.
        sequence: u16,
    },
    /// The answer to a timestamp request.
    TimestampReply {
        /// Which program asked.
        identifier: u16,
        /// Which of its requests.
        sequence: u16,
    },
    /// The receiver shall answer with its netmask (RFC 950; deprecated by RFC 6918).
    AddressMaskRequest {
        /// Which program asks.
        identifier: u16,
        /// Which of its requests.
        sequence: u16,
    },
    /// The answer to an address mask request; the mask is the data.
    AddressMaskReply {
        /// Which program asked.
        identifier: u16,
        /// Which of its requests.
        sequence: u16,
    },
    /// Any other kind.
    Unknown {
        /// The kind.
        kind: u8,
        /// The code.
        code: u8,
        /// The octets after the checksum.
        content: [u8; 4],
    },
}

/// Why a destination is unreachable (IANA "ICMP Parameters", type 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnreachableCode(pub u8);

impl UnreachableCode {
    /// No route to the network.
    pub const NETWORK: Self = Self(0);
    /// The host does not answer.
    pub const HOST: Self = Self(1);
    /// The host does not speak the protocol.
    pub const PROTOCOL: Self = Self(2);
    /// Nobody listens at the port.
    pub const PORT: Self = Self(3);
    /// The packet is too long for the next link and may not be fragmented.
    pub const FRAGMENTATION_NEEDED: Self = Self(4);
    /// The source route cannot be followed.
    pub const SOURCE_ROUTE_FAILED: Self = Self(5);
    /// The network does not exist.
    pub const NETWORK_UNKNOWN: Self = Self(6);
    /// The host does not exist.
    pub const HOST_UNKNOWN: Self = Self(7);
    /// The source is cut off.
    pub const SOURCE_ISOLATED: Self = Self(8);
    /// The network is forbidden.
    pub const NETWORK_PROHIBITED: Self = Self(9);
    /// The host is forbidden.
    pub const HOST_PROHIBITED: Self = Self(10);
    /// No route to the network for this type of service.
    pub const NETWORK_TOS: Self = Self(11);
    /// No route to the host for this type of service.
    pub const HOST_TOS: Self = Self(12);
    /// A filter forbids it (RFC 1812).
    pub const ADMINISTRATIVELY_PROHIBITED: Self = Self(13);
}

/// For what traffic a redirect holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RedirectCode(pub u8);

impl RedirectCode {
    /// For the network; treated as [`HOST`](Self::HOST) (RFC 1122 section 3.2.2.2).
    pub const NETWORK: Self = Self(0);
    /// For the host.
    pub const HOST: Self = Self(1);
    /// For the network and type of service.
    pub const NETWORK_TOS: Self = Self(2);
    /// For the host and type of service.
    pub const HOST_TOS: Self = Self(3);
}

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeExceededCode(pub u8);

impl TimeExceededCode {
    /// The hops.
    pub const TTL: Self = Self(0);
    /// The time to gather all fragments.
    pub const REASSEMBLY: Self = Self(1);
}

/// Kinds (IANA "ICMP Type Numbers").
mod kind {
    pub(super) const ECHO_REPLY: u8 = 0;
    pub(super) const DESTINATION_UNREACHABLE: u8 = 3;
    pub(super) const SOURCE_QUENCH: u8 = 4;
    pub(super) const REDIRECT: u8 = 5;
    pub(super) const ECHO_REQUEST: u8 = 8;
    pub(super) const ROUTER_ADVERTISEMENT: u8 = 9;
    pub(super) const ROUTER_SOLICITATION: u8 = 10;
    pub(super) const TIME_EXCEEDED: u8 = 11;
    pub(super) const PARAMETER_PROBLEM: u8 = 12;
    pub(super) const TIMESTAMP_REQUEST: u8 = 13;
    pub(super) const TIMESTAMP_REPLY: u8 = 14;
    pub(super) const ADDRESS_MASK_REQUEST: u8 = 17;
    pub(super) const ADDRESS_MASK_REPLY: u8 = 18;
}

impl Message {
    /// Octets in front of the data.
    pub const LEN: usize = 8;

    /// Splits a packet's payload into the message and its data, after verifying the checksum over both.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let parsed = Self::parse_unverified(bytes)?;
        if checksum::of(bytes) == 0 { Ok(parsed) } else { Err(Malformed::Checksum) }
    }

    /// As [`parse`](Self::parse), without the checksum: for messages quoted in errors.
    pub fn parse_unverified(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (h, rest) = fixed::<{ Self::LEN }>(bytes)?;
        Ok((Self::from_fields(h[0], h[1], array(h, 4)), rest))
    }

    /// The message of a kind and code with the four octets after the checksum.
    fn from_fields(kind: u8, code: u8, content: [u8; 4]) -> Self {
        let (identifier, sequence) = (u16_at(&content, 0), u16_at(&content, 2));
        match (kind, code) {
            (kind::ECHO_REPLY, 0) => Self::EchoReply { identifier, sequence },
            (kind::DESTINATION_UNREACHABLE, _) => {
                Self::DestinationUnreachable { code: UnreachableCode(code), next_hop_mtu: sequence }
            }
            (kind::SOURCE_QUENCH, 0) => Self::SourceQuench,
            (kind::REDIRECT, _) => Self::Redirect { code: RedirectCode(code), gateway: ipv4_at(&content, 0) },
            (kind::ECHO_REQUEST, 0) => Self::EchoRequest { identifier, sequence },
            (kind::ROUTER_ADVERTISEMENT, 0) => Self::RouterAdvertisement {
                addresses: content[0],
                entry_words: content[1],
                lifetime: sequence,
            },
            (kind::ROUTER_SOLICITATION, 0) => Self::RouterSolicitation,
            (kind::TIME_EXCEEDED, _) => Self::TimeExceeded { code: TimeExceededCode(code) },
            (kind::PARAMETER_PROBLEM, _) => Self::ParameterProblem { code, pointer: content[0] },
            (kind::TIMESTAMP_REQUEST, 0) => Self::TimestampRequest { identifier, sequence },
            (kind::TIMESTAMP_REPLY, 0) => Self::TimestampReply { identifier, sequence },
            (kind::ADDRESS_MASK_REQUEST, 0) => Self::AddressMaskRequest { identifier, sequence },
            (kind::ADDRESS_MASK_REPLY, 0) => Self::AddressMaskReply { identifier, sequence },
            _ => Self::Unknown { kind, code, content },
        }
    }

    /// Kind, code and the four octets after the checksum.
    fn fields(&self) -> (u8, u8, [u8; 4]) {
        match *self {
            Self::EchoReply { identifier, sequence } => (kind::ECHO_REPLY, 0, pair(identifier, sequence)),
            Self::DestinationUnreachable { code, next_hop_mtu } => {
                (kind::DESTINATION_UNREACHABLE, code.0, pair(0, next_hop_mtu))
            }
            Self::SourceQuench => (kind::SOURCE_QUENCH, 0, [0; 4]),
            Self::Redirect { code, gateway } => (kind::REDIRECT, code.0, gateway.octets()),
            Self::EchoRequest { identifier, sequence } => (kind::ECHO_REQUEST, 0, pair(identifier, sequence)),
            Self::RouterAdvertisement { addresses, entry_words, lifetime } => {
                (kind::ROUTER_ADVERTISEMENT, 0, pair(u16::from_be_bytes([addresses, entry_words]), lifetime))
            }
            Self::RouterSolicitation => (kind::ROUTER_SOLICITATION, 0, [0; 4]),
            Self::TimeExceeded { code } => (kind::TIME_EXCEEDED, code.0, [0; 4]),
            Self::ParameterProblem { code, pointer } => (kind::PARAMETER_PROBLEM, code, [pointer, 0, 0, 0]),
            Self::TimestampRequest { identifier, sequence } => {
                (kind::TIMESTAMP_REQUEST, 0, pair(identifier, sequence))
            }
            Self::TimestampReply { identifier, sequence } => {
                (kind::TIMESTAMP_REPLY, 0, pair(identifier, sequence))
            }
            Self::AddressMaskRequest { identifier, sequence } => {
                (kind::ADDRESS_MASK_REQUEST, 0, pair(identifier, sequence))
            }
            Self::AddressMaskReply { identifier, sequence } => {
                (kind::ADDRESS_MASK_REPLY, 0, pair(identifier, sequence))
            }
            Self::Unknown { kind, code, content } => (kind, code, content),
        }
    }

    /// Octets that [`emit`](Self::emit) writes.
    pub const fn header_len(&self) -> usize {
        Self::LEN
    }

    /// The message as it travels in front of data with the sum `data`, its checksum over both.
    pub fn to_bytes(&self, data: Sum) -> [u8; Self::LEN] {
        let (kind, code, content) = self.fields();
        let mut out = [0; Self::LEN];
        put(&mut out, 0, [kind, code]);
        put(&mut out, 4, content);
        let checksum = Sum::new().add(&out).add_sum(data).finish();
        put(&mut out, 2, checksum.to_be_bytes());
        out
    }

    /// Writes the message to the front of `out`, as [`to_bytes`](Self::to_bytes).
    pub fn emit(&self, data: Sum, out: &mut [u8]) -> Result<usize, TooShort> {
        write(out, &self.to_bytes(data))
    }

    /// Whether it reports an error, so that no error may be sent about it (RFC 1122 section 3.2.2).
    pub const fn is_error(&self) -> bool {
        matches!(
            self,
            Self::DestinationUnreachable { .. }
                | Self::SourceQuench
                | Self::Redirect { .. }
                | Self::TimeExceeded { .. }
                | Self::ParameterProblem { .. }
        )
    }
}

/// Two numbers in four octets.
fn pair(first: u16, second: u16) -> [u8; 4] {
    (u32::from(first) << 16 | u32::from(second)).to_be_bytes()
}

/// The data of a timestamp message: milliseconds since midnight UT (RFC 792).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timestamps {
    /// When the request was sent.
    pub originate: u32,
    /// When it arrived.
    pub receive: u32,
    /// When the answer was sent.
    pub transmit: u32,
}

impl Timestamps {
    /// Octets of the data.
    pub const LEN: usize = 12;

    /// Splits the times off a message's data.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (h, rest) = fixed::<{ Self::LEN }>(bytes)?;
        Ok((Self { originate: u32_at(h, 0), receive: u32_at(h, 4), transmit: u32_at(h, 8) }, rest))
    }

    /// Octets that [`emit`](Self::emit) writes.
    pub const fn header_len(&self) -> usize {
        Self::LEN
    }

    /// The times as they travel.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        put(&mut out, 0, self.originate.to_be_bytes());
        put(&mut out, 4, self.receive.to_be_bytes());
        put(&mut out, 8, self.transmit.to_be_bytes());
        out
    }

    /// Writes the times to the front of `out`.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, TooShort> {
        write(out, &self.to_bytes())
    }
}

#[cfg(test)]
mod tests;
