//! ICMP for IPv6 (RFC 4443), the carrier of [`crate::ndp`] and [`crate::mld`].
//!
//! A [`Message`] is the part of fixed size: eight octets for errors and echoes, more for neighbour discovery.
//! What follows is its data: the quoted packet, the echoed octets, options, or group records.

use core::net::Ipv6Addr;

use crate::bytes::{array, fixed, put, u16_at, u32_at, write};
use crate::checksum::{self, Sum};
use crate::ip::{self, Protocol};
use crate::{Malformed, TooShort, mld, ndp};

/// The fixed part of a message, without the checksum, which [`parse`](Self::parse) verifies and
/// [`emit`](Self::emit) computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// A packet could not be delivered; its front is the data.
    DestinationUnreachable {
        /// What could not be reached.
        code: UnreachableCode,
    },
    /// A packet is too long for the next link; its front is the data.
    PacketTooBig {
        /// The MTU of that link.
        mtu: u32,
    },
    /// A packet died on the way; its front is the data.
    TimeExceeded {
        /// 0: the hops; 1: the time to gather all fragments.
        code: u8,
    },
    /// A packet's header is bad; its front is the data.
    ParameterProblem {
        /// What is wrong with it.
        code: ParameterCode,
        /// The octet that is wrong.
        pointer: u32,
    },
    /// The receiver shall answer with the data.
    EchoRequest {
        /// Which program asks.
        identifier: u16,
        /// Which of its requests.
        sequence: u16,
    },
    /// The answer to an echo request, with its data.
    EchoReply {
        /// Which program asked.
        identifier: u16,
        /// Which of its requests.
        sequence: u16,
    },
    /// Neighbour discovery; options are the data.
    Ndp(ndp::Message),
    /// Multicast listener discovery; sources or records are the data.
    Mld(mld::Message),
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

/// Why a destination is unreachable (RFC 4443 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnreachableCode(pub u8);

impl UnreachableCode {
    /// No route.
    pub const NO_ROUTE: Self = Self(0);
    /// A filter forbids it.
    pub const PROHIBITED: Self = Self(1);
    /// The source address's scope ends before the destination.
    pub const BEYOND_SCOPE: Self = Self(2);
    /// The host does not answer.
    pub const ADDRESS: Self = Self(3);
    /// Nobody listens at the port.
    pub const PORT: Self = Self(4);
    /// The source address is refused.
    pub const SOURCE_POLICY: Self = Self(5);
    /// The route is one of rejection.
    pub const REJECT_ROUTE: Self = Self(6);
}

/// What is wrong with a header (RFC 4443 section 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParameterCode(pub u8);

impl ParameterCode {
    /// A field's value.
    pub const FIELD: Self = Self(0);
    /// The next header is not known.
    pub const NEXT_HEADER: Self = Self(1);
    /// An option is not known.
    pub const OPTION: Self = Self(2);
}

/// Kinds (IANA "ICMPv6 Type Numbers").
mod kind {
    pub(super) const DESTINATION_UNREACHABLE: u8 = 1;
    pub(super) const PACKET_TOO_BIG: u8 = 2;
    pub(super) const TIME_EXCEEDED: u8 = 3;
    pub(super) const PARAMETER_PROBLEM: u8 = 4;
    pub(super) const ECHO_REQUEST: u8 = 128;
    pub(super) const ECHO_REPLY: u8 = 129;
}

impl Message {
    /// Octets of the smallest message.
    pub const LEN: usize = 8;
    /// Octets of the largest fixed part: a redirect's.
    pub const MAX_LEN: usize = 40;

    /// Splits a packet's payload into the message and its data, after verifying the checksum over both and
    /// the pseudo-header.
    pub fn parse(source: Ipv6Addr, destination: Ipv6Addr, bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let parsed = Self::parse_unverified(bytes)?;
        let pseudo_header = pseudo_header(source, destination, bytes.len());
        if checksum::verify(pseudo_header, bytes) { Ok(parsed) } else { Err(Malformed::Checksum) }
    }

    /// As [`parse`](Self::parse), without the checksum: for messages quoted in errors.
    pub fn parse_unverified(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (h, rest) = fixed::<{ Self::LEN }>(bytes)?;
        let (kind, code, content) = (h[0], h[1], array(h, 4));
        if ndp::Message::is_kind(kind) && code == 0 {
            let (message, rest) = ndp::Message::parse(kind, content, rest)?;
            return Ok((Self::Ndp(message), rest));
        }
        if mld::Message::is_kind(kind) && code == 0 {
            let (message, rest) = mld::Message::parse(kind, content, rest)?;
            return Ok((Self::Mld(message), rest));
        }
        Ok((Self::from_fields(kind, code, content), rest))
    }

    /// The message of eight octets with the four after the checksum.
    fn from_fields(kind: u8, code: u8, content: [u8; 4]) -> Self {
        let (identifier, sequence) = (u16_at(&content, 0), u16_at(&content, 2));
        match (kind, code) {
            (kind::DESTINATION_UNREACHABLE, _) => {
                Self::DestinationUnreachable { code: UnreachableCode(code) }
            }
            (kind::PACKET_TOO_BIG, 0) => Self::PacketTooBig { mtu: u32_at(&content, 0) },
            (kind::TIME_EXCEEDED, _) => Self::TimeExceeded { code },
            (kind::PARAMETER_PROBLEM, _) => {
                Self::ParameterProblem { code: ParameterCode(code), pointer: u32_at(&content, 0) }
            }
            (kind::ECHO_REQUEST, 0) => Self::EchoRequest { identifier, sequence },
            (kind::ECHO_REPLY, 0) => Self::EchoReply { identifier, sequence },
            _ => Self::Unknown { kind, code, content },
        }
    }

    /// Octets that [`emit`](Self::emit) writes: 8 to 40.
    pub fn header_len(&self) -> usize {
        match self {
            Self::Ndp(message) => message.header_len(),
            Self::Mld(message) => message.header_len(),
            _ => Self::LEN,
        }
    }

    /// Writes the message to the front of `out`, with its checksum over itself, the pseudo-header of its
    /// addresses, and the `data_len` octets with the sum `data` that follow it.
    pub fn emit(
        &self,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        data: Sum,
        data_len: usize,
        out: &mut [u8],
    ) -> Result<usize, TooShort> {
        let mut room = [0; Self::MAX_LEN];
        let len = self.header_len();
        let message = &mut room[..len];
        self.write_blank(message);
        let mut sum = pseudo_header(source, destination, len + data_len);
        let checksum = sum.add(message).add_sum(data).finish();
        put(message, 2, checksum.to_be_bytes());
        write(out, message)
    }

    /// Writes the message with a checksum of zero into zeroed room of its length.
    fn write_blank(&self, out: &mut [u8]) {
        let (kind, code, content) = match *self {
            Self::Ndp(message) => return message.write_blank(out),
            Self::Mld(message) => return message.write_blank(out),
            Self::DestinationUnreachable { code } => (kind::DESTINATION_UNREACHABLE, code.0, [0; 4]),
            Self::PacketTooBig { mtu } => (kind::PACKET_TOO_BIG, 0, mtu.to_be_bytes()),
            Self::TimeExceeded { code } => (kind::TIME_EXCEEDED, code, [0; 4]),
            Self::ParameterProblem { code, pointer } => {
                (kind::PARAMETER_PROBLEM, code.0, pointer.to_be_bytes())
            }
            Self::EchoRequest { identifier, sequence } => (kind::ECHO_REQUEST, 0, pair(identifier, sequence)),
            Self::EchoReply { identifier, sequence } => (kind::ECHO_REPLY, 0, pair(identifier, sequence)),
            Self::Unknown { kind, code, content } => (kind, code, content),
        };
        put(out, 0, [kind, code]);
        put(out, 4, content);
    }

    /// Whether it reports an error, so that no error may be sent about it (RFC 4443 section 2.4).
    pub const fn is_error(&self) -> bool {
        match self {
            Self::DestinationUnreachable { .. }
            | Self::PacketTooBig { .. }
            | Self::TimeExceeded { .. }
            | Self::ParameterProblem { .. } => true,
            Self::Unknown { kind, .. } => *kind < 128,
            _ => false,
        }
    }
}

/// Two numbers in four octets.
fn pair(first: u16, second: u16) -> [u8; 4] {
    (u32::from(first) << 16 | u32::from(second)).to_be_bytes()
}

/// The pseudo-header of a message of `len` octets.
fn pseudo_header(source: Ipv6Addr, destination: Ipv6Addr, len: usize) -> Sum {
    ip::pseudo_header(source.into(), destination.into(), Protocol::ICMPV6, len as u32)
}

#[cfg(test)]
mod tests;
