//! The Address Resolution Protocol for IPv4 over Ethernet (RFC 826, RFC 5227).
//!
//! Other hardware and protocol types are refused as [`Malformed::Value`].

use core::net::Ipv4Addr;

use crate::bytes::{array, fixed, ipv4_at, put, u16_at, write};
use crate::ethernet::{Address, EtherType};
use crate::{Malformed, TooShort};

/// A request or an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// What is asked or told.
    pub operation: Operation,
    /// The sender's own MAC address.
    pub sender_hardware: Address,
    /// The sender's own IPv4 address; unspecified in a probe.
    pub sender_protocol: Ipv4Addr,
    /// The answer's receiver; ignored in a request.
    pub target_hardware: Address,
    /// The address asked for.
    pub target_protocol: Ipv4Addr,
}

/// What a packet asks or tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has its address.
    Reply,
    /// Reverse and inverse ARP and others that a host does not speak.
    Other(u16),
}

impl From<u16> for Operation {
    fn from(number: u16) -> Self {
        match number {
            1 => Self::Request,
            2 => Self::Reply,
            other => Self::Other(other),
        }
    }
}

impl From<Operation> for u16 {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::Request => 1,
            Operation::Reply => 2,
            Operation::Other(number) => number,
        }
    }
}

/// Hardware type Ethernet, protocol type IPv4, and their address lengths.
const ETHERNET_IPV4: [u8; 6] = [0, 1, (EtherType::IPV4.0 >> 8) as u8, EtherType::IPV4.0 as u8, 6, 4];

impl Packet {
    /// Octets of a packet.
    pub const LEN: usize = 28;

    /// Splits a frame's payload into the packet and its padding.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (h, rest) = fixed::<{ Self::LEN }>(bytes)?;
        if h[..6] != ETHERNET_IPV4 {
            return Err(Malformed::Value);
        }
        let packet = Self {
            operation: u16_at(h, 6).into(),
            sender_hardware: Address(array(h, 8)),
            sender_protocol: ipv4_at(h, 14),
            target_hardware: Address(array(h, 18)),
            target_protocol: ipv4_at(h, 24),
        };
        Ok((packet, rest))
    }

    /// Octets that [`emit`](Self::emit) writes.
    pub const fn header_len(&self) -> usize {
        Self::LEN
    }

    /// The packet as it travels.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        put(&mut out, 0, ETHERNET_IPV4);
        put(&mut out, 6, u16::from(self.operation).to_be_bytes());
        put(&mut out, 8, self.sender_hardware.0);
        put(&mut out, 14, self.sender_protocol.octets());
        put(&mut out, 18, self.target_hardware.0);
        put(&mut out, 24, self.target_protocol.octets());
        out
    }

    /// Writes the packet to the front of `out`.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, TooShort> {
        write(out, &self.to_bytes())
    }

    /// Whether it asks for an address on behalf of nobody (RFC 5227 section 1.1).
    pub fn is_probe(&self) -> bool {
        self.operation == Operation::Request && self.sender_protocol.is_unspecified()
    }

    /// Whether it only states the sender's own address (RFC 5227 section 1.1).
    pub fn is_announcement(&self) -> bool {
        self.sender_protocol == self.target_protocol && !self.sender_protocol.is_unspecified()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::strategies::{assert_inverse, emitted, ipv4, mac, octets};

    proptest! {
        #[test]
        fn an_emitted_packet_parses_back(
            operation: u16, sender_hardware in mac(), sender_protocol in ipv4(),
            target_hardware in mac(), target_protocol in ipv4(), padding in octets(18),
        ) {
            let operation = operation.into();
            let packet =
                Packet { operation, sender_hardware, sender_protocol, target_hardware, target_protocol };
            let bytes = emitted(packet.header_len(), |out| packet.emit(out));
            assert_inverse(&packet, bytes, &padding, Packet::parse);
        }
    }

    fn request() -> Packet {
        Packet {
            operation: Operation::Request,
            sender_hardware: Address([2, 0, 0, 0, 0, 0x0a]),
            sender_protocol: Ipv4Addr::new(10, 9, 0, 1),
            target_hardware: Address::UNSPECIFIED,
            target_protocol: Ipv4Addr::new(10, 9, 0, 2),
        }
    }

    #[test]
    fn other_hardware_and_protocols_are_refused() {
        for at in 0..6 {
            let mut bytes = request().to_bytes();
            bytes[at] ^= 0x10;
            assert_eq!(Packet::parse(&bytes), Err(Malformed::Value), "octet {at}");
        }
    }

    #[test]
    fn probes_and_announcements_are_told_apart() {
        let probe = Packet { sender_protocol: Ipv4Addr::UNSPECIFIED, ..request() };
        let announcement = Packet { target_protocol: request().sender_protocol, ..request() };
        assert!(probe.is_probe() && !probe.is_announcement());
        assert!(announcement.is_announcement() && !announcement.is_probe());
        assert!(!request().is_probe() && !request().is_announcement());
    }
}
