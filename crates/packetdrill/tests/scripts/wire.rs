//! Segments between a script's numbers and the wire: both initial numbers, the clock of our timestamps, and checksums.

use std::net::Ipv4Addr;

use rumpnet_wire::{
    checksum::{self, Sum},
    icmpv4::Message,
    ip::{self, Protocol},
    ipv4,
    tcp::{Flags, Header, Options, SackBlock, SackBlocks, Seq, TcpOption, Timestamps},
};

use crate::packet::{Opt, Packet};

/// Our address, and the peer's, as packetdrill has them.
const LOCAL: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
pub(crate) const REMOTE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The router that sends ICMP errors.
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);
/// The peer's number 0 is just before the wrap, so that every script crosses it.
const REMOTE_BASE: u32 = 0xffff_ff00;
/// What our numbers are from and to when no SYN of ours was seen.
const UNKNOWN: u32 = 0x1234_5678;

/// The bytes of a stream, by a script's numbers.
pub(crate) fn stream(from: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|place| byte(from.wrapping_add(place))).collect()
}

const fn byte(place: u32) -> u8 {
    (place.wrapping_mul(2_654_435_761) >> 24) as u8
}

/// How numbers and ports of a script and of the wire belong together.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// What number 0 of ours is on the wire.
    local: u32,
    /// The next SYN of ours may be that of a new connection.
    pub(crate) fresh: bool,
    /// What our timestamp 0 is on the wire.
    clock: Option<u32>,
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
}

impl Numbers {
    pub(crate) const fn new() -> Self {
        Self { local: UNKNOWN, fresh: true, clock: None, local_port: 8080, remote_port: 41_000 }
    }

    /// A segment of the script as a packet from the peer.
    pub(crate) fn encode(&self, packet: &Packet) -> Vec<u8> {
        let payload = stream(
            packet.start.wrapping_add(u32::from(packet.flags.contains(Flags::SYN))),
            packet.len as usize,
        );
        let header = Header {
            sequence: Seq(packet.start.wrapping_add(REMOTE_BASE)),
            acknowledgment: Seq(packet.ack.map_or(0, |ack| ack.wrapping_add(self.local))),
            window: packet.window.unwrap_or(65_535),
            urgent: packet.urgent.unwrap_or(0),
            options: self.encode_options(packet.options.as_deref().unwrap_or_default()),
            ..Header::new(self.remote_port, self.local_port, packet.flags)
        };
        let network =
            ipv4::Header { tos: packet.ecn.unwrap_or(0), ..network(REMOTE, LOCAL, Protocol::TCP, 0) };
        let mut bytes = vec![0; Header::MAX_PACKET_HEADERS + payload.len()];
        let len = header.emit_packet(network, &payload, &mut bytes).expect("there is room for the packet");
        bytes.truncate(len);
        bytes
    }

    fn encode_options(&self, options: &[Opt]) -> Options {
        let mut encoded = Options::EMPTY;
        for option in options {
            let option = match option {
                Opt::Nop => TcpOption::Nop,
                Opt::Eol => TcpOption::EndOfList,
                Opt::Mss(size) => TcpOption::MaximumSegmentSize(*size),
                Opt::SackOk => TcpOption::SackPermitted,
                Opt::WindowScale(shift) => TcpOption::WindowScale(*shift),
                Opt::Timestamps { value, echo } => {
                    let echo = if *echo == 0 { 0 } else { echo.wrapping_add(self.clock.unwrap_or(0)) };
                    TcpOption::Timestamps(Timestamps { value: *value, echo })
                }
                Opt::Sack(blocks) => TcpOption::Sack(blocks.iter().map(|block| self.block(*block)).collect()),
                Opt::Unknown(kind) => TcpOption::Unknown { kind: *kind, data: &[] },
            };
            encoded.push(&option).expect("a script's options fit a header");
        }
        encoded
    }

    const fn block(&self, (left, right): (u32, u32)) -> SackBlock {
        SackBlock { left: Seq(left.wrapping_add(self.local)), right: Seq(right.wrapping_add(self.local)) }
    }

    /// An ICMP error of a router about a segment of ours.
    pub(crate) fn encode_icmp(&self, message: Message, (start, len): (u32, u32)) -> Vec<u8> {
        let mut quote = [self.local_port.to_be_bytes(), self.remote_port.to_be_bytes()].concat();
        quote.extend(start.wrapping_add(self.local).to_be_bytes());
        let offended = network(LOCAL, REMOTE, Protocol::TCP, Header::LEN + len as usize);
        let offender = [&emitted(&offended)[..], &quote].concat();
        let mut sum = Sum::new();
        sum.add(&offender);
        let error = [&message.to_bytes(sum)[..], &offender].concat();
        [&emitted(&network(ROUTER, LOCAL, Protocol::ICMP, error.len()))[..], &error].concat()
    }

    /// A packet of ours in the script's numbers; its payload must be that of the stream. `expected` decides to what a first SYN or timestamp is mapped.
    pub(crate) fn decode(&mut self, bytes: &[u8], expected: Option<&Packet>) -> Result<Packet, String> {
        let (network, segment) = ipv4::Header::parse(bytes).map_err(|error| format!("IPv4: {error:?}"))?;
        if network.protocol != Protocol::TCP {
            return Err(format!("protocol {} was sent", network.protocol.0));
        }
        let pseudo = ip::pseudo_header(
            network.source.into(),
            network.destination.into(),
            Protocol::TCP,
            segment.len() as u32,
        );
        if !checksum::verify(pseudo, segment) {
            return Err("the checksum is wrong".into());
        }
        let (header, payload) = Header::parse(segment).map_err(|error| format!("TCP: {error:?}"))?;
        if let Some(expected) = expected {
            self.learn(&header, expected);
        }
        let start = header.sequence.0.wrapping_sub(self.local);
        if payload != stream(start.wrapping_add(u32::from(header.flags.contains(Flags::SYN))), payload.len())
        {
            return Err(format!("the payload from {start} on is not that of the stream"));
        }
        let acks = header.flags.contains(Flags::ACK);
        Ok(Packet {
            ecn: Some(network.tos & 3),
            flags: header.flags,
            start,
            len: payload.len() as u32,
            ack: acks.then_some(header.acknowledgment.0.wrapping_sub(REMOTE_BASE)),
            window: Some(header.window),
            urgent: header.flags.contains(Flags::URG).then_some(header.urgent),
            options: Some(self.decode_options(&header.options)),
        })
    }

    /// A new connection's first SYN tells our initial number, its first timestamp our clock.
    fn learn(&mut self, header: &Header, expected: &Packet) {
        if self.fresh && header.flags.contains(Flags::SYN) && expected.flags.contains(Flags::SYN) {
            self.local = header.sequence.0.wrapping_sub(expected.start);
            self.clock = None;
            self.fresh = false;
            self.local_port = header.source_port;
            self.remote_port = header.destination_port;
        }
        let wanted = expected.options.iter().flatten().find_map(|option| match option {
            Opt::Timestamps { value, .. } => Some(*value),
            _ => None,
        });
        if self.clock.is_none()
            && let (Some(sent), Some(wanted)) = (header.options.timestamps(), wanted)
        {
            self.clock = Some(sent.value.wrapping_sub(wanted));
        }
    }

    fn decode_options(&self, options: &Options) -> Vec<Opt> {
        let read = |option: Result<TcpOption<'_>, _>| match option {
            Ok(TcpOption::Nop) => Opt::Nop,
            Ok(TcpOption::EndOfList) | Err(_) => Opt::Eol,
            Ok(TcpOption::MaximumSegmentSize(size)) => Opt::Mss(size),
            Ok(TcpOption::SackPermitted) => Opt::SackOk,
            Ok(TcpOption::WindowScale(shift)) => Opt::WindowScale(shift),
            Ok(TcpOption::Timestamps(Timestamps { value, echo })) => {
                Opt::Timestamps { value: value.wrapping_sub(self.clock.unwrap_or(0)), echo }
            }
            Ok(TcpOption::Sack(blocks)) => Opt::Sack(sacked(&blocks)),
            Ok(_) => Opt::Unknown(0),
        };
        options.iter().map(read).collect()
    }
}

/// Blocks of the peer's numbers.
fn sacked(blocks: &SackBlocks) -> Vec<(u32, u32)> {
    let number = |place: Seq| place.0.wrapping_sub(REMOTE_BASE);
    blocks.as_slice().iter().map(|block| (number(block.left), number(block.right))).collect()
}

/// The header of a packet of the outside.
fn network(source: Ipv4Addr, destination: Ipv4Addr, protocol: Protocol, len: usize) -> ipv4::Header {
    ipv4::Header { identification: 7, ttl: 255, ..ipv4::Header::new(source, destination, protocol, len) }
}

fn emitted(header: &ipv4::Header) -> [u8; ipv4::Header::LEN] {
    let mut bytes = [0; ipv4::Header::LEN];
    header.emit(&mut bytes).expect("the room has the header's length");
    bytes
}
