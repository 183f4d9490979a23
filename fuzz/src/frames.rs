//! Frames that are almost good: addressed to us, checksums mended, everything else as the script says.

use rumpnet_stack::buffer::{Checksum, Gso, GsoKind, Offload};
use rumpnet_wire::{
    arp, checksum,
    checksum::Sum,
    ethernet::{self, EtherType},
    icmpv4::{Message, RedirectCode, TimeExceededCode, UnreachableCode},
    igmp,
    ip::{self, Protocol},
    ipv4,
    multicast::QueryExtension,
    udp,
};

use crate::script::{GROUP, Script};

/// A frame for the Ethernet port, or a packet for the one without Ethernet.
pub fn frame(script: &mut Script<'_>, is_ethernet: bool) -> (Vec<u8>, Offload) {
    let shape = script.byte();
    let (ethertype, payload) = match shape % 8 {
        0 => return (script.data(), offload(script)),
        1 => (EtherType(script.one_of(&[0x800, 0x806, 0x8100, 0x86dd, 0x1234])), script.data()),
        2 => (EtherType::ARP, arp(script)),
        _ => (EtherType::IPV4, packet(script, shape)),
    };
    let offload = offload(script);
    if !is_ethernet {
        return (payload, offload);
    }
    let (destination, source) = match shape >> 6 {
        0 => (script.station(), script.station()),
        _ => (ethernet::Address([0xb2, 0x0a, 0, 0, 0, 1]), ethernet::Address([2, 0, 0, 0, 0, 9])),
    };
    let header = ethernet::Header { destination, source, ethertype };
    ([&header.to_bytes()[..], &payload].concat(), offload)
}

fn arp(script: &mut Script<'_>) -> Vec<u8> {
    let operation = arp::Operation::from(u16::from(script.byte() % 4));
    let packet = arp::Packet {
        operation,
        sender_hardware: script.station(),
        sender_protocol: script.address(),
        target_hardware: script.station(),
        target_protocol: script.address(),
    };
    let mut bytes = packet.to_bytes().to_vec();
    bytes.truncate(28 - usize::from(script.byte() == 255));
    bytes
}

/// An IPv4 packet with a good header checksum.
fn packet(script: &mut Script<'_>, shape: u8) -> Vec<u8> {
    let plain = shape >> 6 == 3;
    let (source, destination) = if plain {
        ([10, 0, 0, 9].into(), [10, 0, 0, 1].into())
    } else {
        (script.address(), script.address())
    };
    let (protocol, payload) = match shape % 8 {
        3 => (Protocol(script.byte()), script.data()),
        4 | 6 => (Protocol::UDP, datagram(script, source, destination)),
        5 => return to_group(script, source),
        _ => (Protocol::ICMP, message(script)),
    };
    let is_fragment = shape % 8 == 6;
    let header = ipv4::Header {
        tos: script.byte(),
        total_len: 0,
        identification: u16::from(script.byte() % 4),
        dont_fragment: false,
        more_fragments: is_fragment && script.byte().is_multiple_of(2),
        fragment_offset: if is_fragment { script.word() % 8190 * 8 } else { 0 },
        ttl: script.byte(),
        protocol,
        source,
        destination,
        options: if shape & 32 == 0 { ipv4::Options::EMPTY } else { options(script) },
    };
    let mut bytes = vec![0; header.header_len()];
    header.emit(&mut bytes).expect("room for a header");
    let total_len = (bytes.len() + payload.len()).min(usize::from(u16::MAX)) as u16;
    bytes[2..4].copy_from_slice(&total_len.to_be_bytes());
    bytes.extend_from_slice(&payload);
    if shape % 8 == 7 {
        // Any byte of the header, and words of the payload as options.
        let place = usize::from(script.byte()) % ipv4::Header::LEN;
        bytes[place] = script.byte();
    }
    mend(&mut bytes);
    bytes
}

/// Options that are nearly right, a few of them.
fn options(script: &mut Script<'_>) -> ipv4::Options {
    let mut bytes = Vec::new();
    for _ in 0..1 + script.byte() % 3 {
        let kind = script.one_of(&[7, 68, 131, 137, 148, 1, 130, 30]);
        let room = script.byte() % 12;
        let (pointer, state) = (script.byte() % 16, script.byte());
        let option = [&[kind, 4 + room, pointer, state][..], &vec![0; room.into()]].concat();
        bytes.extend(option);
    }
    if script.byte() > 200
        && let Some(length) = bytes.get_mut(1)
    {
        *length = script.byte();
    }
    bytes.truncate(ipv4::Options::MAX_LEN);
    ipv4::Options::from_bytes(&bytes).unwrap_or_default()
}

/// An IGMP message, mostly as a querier or another member would send it.
fn to_group(script: &mut Script<'_>, source: std::net::Ipv4Addr) -> Vec<u8> {
    let all = std::net::Ipv4Addr::new(224, 0, 0, 1);
    let group = script.one_of(&[std::net::Ipv4Addr::UNSPECIFIED, GROUP, all, [239, 1, 2, 4].into()]);
    let (kind, max_response) = (script.byte(), script.one_of(&[0, 1, 100, 255]));
    let sources = u16::from(script.byte() % 16);
    let extension = QueryExtension {
        suppress: kind & 128 != 0,
        robustness: kind >> 4 & 7,
        interval_code: script.byte(),
        sources,
    };
    let message = match kind % 8 {
        0 => igmp::Message::Query { max_response, group, extension: None },
        1 => igmp::Message::ReportV1 { group },
        2 => igmp::Message::ReportV2 { group },
        3 => igmp::Message::Leave { group },
        4 => igmp::Message::ReportV3 { records: sources },
        _ => igmp::Message::Query { max_response, group, extension: Some(extension) },
    };
    let data: Vec<u8> =
        if kind % 8 < 4 { Vec::new() } else { script.take(usize::from(sources) * 4).to_vec() };
    let mut payload = vec![0; message.header_len()];
    message.emit(*Sum::new().add(&data), &mut payload).expect("room for a message");
    payload.extend_from_slice(&data);
    let mut options = ipv4::Options::default();
    if script.byte() % 8 > 0 {
        options.push(&ipv4::IpOption::RouterAlert(0)).expect("room for an option");
    }
    let destination = if script.byte() % 8 == 0 {
        script.address()
    } else if group.is_multicast() {
        group
    } else {
        all
    };
    let header = ipv4::Header {
        ttl: if script.byte() % 8 == 0 { script.byte() } else { 1 },
        total_len: (ipv4::Header::LEN + options.as_bytes().len() + payload.len()) as u16,
        options,
        ..ipv4::Header::new(source, destination, Protocol::IGMP, 0)
    };
    let mut bytes = vec![0; header.header_len()];
    header.emit(&mut bytes).expect("room for a header");
    [bytes, payload].concat()
}

/// Puts the right checksum into whatever the header's length says is a header.
fn mend(bytes: &mut [u8]) {
    let len = (usize::from(bytes[0] & 15) * 4).clamp(ipv4::Header::LEN, bytes.len());
    bytes[10..12].fill(0);
    let sum = checksum::of(&bytes[..len]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn datagram(script: &mut Script<'_>, source: std::net::Ipv4Addr, destination: std::net::Ipv4Addr) -> Vec<u8> {
    let (destination_port, kind) = (script.one_of(&[9, 10, 49_152, 7]), script.byte());
    let payload = script.data();
    let length = (udp::Header::LEN + payload.len()) as u16;
    let length = if kind == 255 { script.word() } else { length };
    let head = |checksum| udp::Header { source_port: 9, destination_port, length, checksum }.to_bytes();
    let mut sum = ip::pseudo_header(source.into(), destination.into(), Protocol::UDP, length.into());
    sum.add(&head(0)).add(&payload);
    let checksum = if kind.is_multiple_of(4) { 0 } else { sum.finish_nonzero() };
    [&head(checksum)[..], &payload].concat()
}

fn message(script: &mut Script<'_>) -> Vec<u8> {
    let (identifier, sequence) = (script.word(), u16::from(script.byte() % 4));
    let message = match script.byte() % 9 {
        0 => Message::EchoRequest { identifier, sequence },
        1 => Message::EchoReply { identifier, sequence },
        2 => Message::DestinationUnreachable { code: UnreachableCode::PORT, next_hop_mtu: sequence },
        3 => Message::TimeExceeded { code: TimeExceededCode::REASSEMBLY },
        4 => Message::TimestampRequest { identifier, sequence },
        6 => Message::AddressMaskRequest { identifier, sequence },
        7 => Message::Redirect {
            code: RedirectCode::HOST,
            gateway: std::net::Ipv4Addr::from([10, 0, 0, identifier as u8]),
        },
        8 => Message::ParameterProblem { code: 0, pointer: sequence as u8 },
        _ => return script.data(),
    };
    let data = if message.is_error() { quote(script) } else { script.data() };
    let mut sum = Sum::new();
    sum.add(&data);
    [&message.to_bytes(sum)[..], &data].concat()
}

/// A packet that we might have sent, cut anywhere.
fn quote(script: &mut Script<'_>) -> Vec<u8> {
    let protocol = script.one_of(&[Protocol::UDP, Protocol::ICMP, Protocol::TCP]);
    let (source, destination) = (script.address(), script.address());
    let plain = ipv4::Header::new(source, destination, protocol, 8);
    let header = ipv4::Header { dont_fragment: false, ..plain };
    let mut bytes = vec![0; ipv4::Header::LEN];
    header.emit(&mut bytes).expect("room for a header");
    bytes.extend_from_slice(script.take(8));
    bytes.truncate(bytes.len() - usize::from(script.byte() % 4) * 3);
    bytes
}

/// An offload header: mostly none, else what the script says of it.
fn offload(script: &mut Script<'_>) -> Offload {
    let kind = script.byte();
    let checksum = match kind % 8 {
        1 => Checksum::Verified,
        2 => Checksum::Partial { start: 34, offset: 6 },
        3 => Checksum::Partial { start: script.word(), offset: script.word() },
        _ => Checksum::Unverified,
    };
    let gso = (kind >> 6 == 3).then(|| Gso {
        kind: script.one_of(&[GsoKind::Udp, GsoKind::Tcp4, GsoKind::Tcp6]),
        size: script.word() % 2000,
        ecn: false,
        fixed_identification: false,
    });
    Offload { checksum, gso }
}
