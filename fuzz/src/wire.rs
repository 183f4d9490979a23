//! The header formats: parsing never panics, ends, and is the inverse of emitting.

use std::fmt::Debug;
use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

use rumpnet_wire::checksum::{self, Sum};
use rumpnet_wire::ip::Cidr;
use rumpnet_wire::ipv6::extension::{Extension, Extensions, Fragment, OptionsHeader, Routing};
use rumpnet_wire::multicast::{Addresses, Records};
use rumpnet_wire::{
    Malformed, TooShort, arp as arp_format, ethernet as ethernet_format, icmpv4 as icmpv4_format,
    icmpv6 as icmpv6_format, igmp as igmp_format, ipv4 as ipv4_format, ipv6 as ipv6_format, mld, ndp,
    pcapng as pcapng_format, tcp as tcp_format, udp as udp_format, virtio as virtio_format,
};

/// What `parse` takes from `data`, emitted, reads back as the same value; gives it with the rest.
fn inverse<T: PartialEq + Debug>(
    data: &[u8],
    parse: impl Fn(&[u8]) -> Result<(T, &[u8]), Malformed>,
    emit: impl Fn(&T, &[u8], &mut [u8]) -> Result<usize, TooShort>,
) -> Option<(T, &[u8])> {
    let (value, rest) = parse(data).ok()?;
    let rest_len = rest.len();
    let start = rest.as_ptr() as usize - data.as_ptr() as usize;
    let rest = &data[start..start + rest_len];
    let mut bytes = vec![0; 4096];
    let len = emit(&value, rest, &mut bytes).expect("a header is shorter than a page");
    bytes.truncate(len);
    bytes.extend(rest);
    let again = parse(&bytes).expect("what was emitted parses");
    assert_eq!((&again.0, again.1), (&value, rest));
    black_box(format!("{value:?}"));
    Some((value, rest))
}

/// Ethernet headers and VLAN tags.
pub fn ethernet(data: &[u8]) {
    let frame = inverse(data, ethernet_format::Header::parse, |header, _, out| header.emit(out));
    if let Some((_, payload)) = frame {
        inverse(payload, ethernet_format::vlan::Tag::parse, |tag, _, out| tag.emit(out));
    }
}

/// ARP packets.
pub fn arp(data: &[u8]) {
    inverse(data, arp_format::Packet::parse, |packet, _, out| packet.emit(out));
}

/// IPv4 headers and their options.
pub fn ipv4(data: &[u8]) {
    let parse = ipv4_format::Header::parse_unverified;
    let Some((header, _)) = inverse(data, parse, |header, _, out| header.emit(out)) else { return };
    let mut options = ipv4_format::Options::EMPTY;
    for option in header.options.iter().map_while(Result::ok) {
        options.push(&option).expect("options that were read fit");
        if let ipv4_format::IpOption::LooseSourceRoute(route) = option {
            assert!(route.next_slot().is_none_or(|slot| slot < route.addresses().count()));
        }
    }
    assert!(header.options.as_bytes().starts_with(unpadded(options.as_bytes())));
}

/// Octets without the zeros at their end.
fn unpadded(bytes: &[u8]) -> &[u8] {
    let len = bytes.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
    &bytes[..len]
}

/// IPv6 headers, their extension headers and options.
pub fn ipv6(data: &[u8]) {
    let packet = inverse(data, ipv6_format::Header::parse, |header, _, out| header.emit(out));
    let Some((header, payload)) = packet else { return };
    let mut extensions = Extensions::new(header.next_header, payload);
    while let Some(Ok(extension)) = extensions.next() {
        if let Extension::HopByHop(options) | Extension::DestinationOptions(options) = extension {
            let mut bytes = vec![0; options.0.len()];
            for option in options.iter().map_while(Result::ok) {
                let len = option.emit(&mut bytes).expect("an option fits where it was");
                assert_eq!(len, option.header_len());
            }
        }
    }
    assert!(extensions.offset() <= payload.len());
    inverse(payload, Fragment::parse, |header, _, out| header.emit(out));
    inverse(payload, Routing::parse, |header, _, out| header.emit(out));
    inverse(payload, OptionsHeader::parse, |header, _, out| header.emit(out));
}

/// ICMP messages.
pub fn icmpv4(data: &[u8]) {
    let emit = |message: &icmpv4_format::Message, data: &[u8], out: &mut [u8]| {
        message.emit(*Sum::new().add(data), out)
    };
    let Some((message, data)) = inverse(data, icmpv4_format::Message::parse_unverified, emit) else { return };
    inverse(data, icmpv4_format::Timestamps::parse, |times, _, out| times.emit(out));
    let bytes = [&message.to_bytes(*Sum::new().add(data)), data].concat();
    assert_eq!(icmpv4_format::Message::parse(&bytes), Ok((message, data)));
    if message.is_error() {
        ipv4(data);
    }
}

/// ICMPv6 messages, neighbour discovery with its options, and listener discovery with its records.
pub fn icmpv6(data: &[u8]) {
    let (source, destination) = (Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED);
    let emit = |message: &icmpv6_format::Message, data: &[u8], out: &mut [u8]| {
        message.emit(source, destination, *Sum::new().add(data), data.len(), out)
    };
    let Some((message, data)) = inverse(data, icmpv6_format::Message::parse_unverified, emit) else { return };
    match message {
        icmpv6_format::Message::Ndp(_) => ndp_options(data),
        icmpv6_format::Message::Mld(mld::Message::ReportV2 { records }) => {
            records_of::<Ipv6Addr>(records, data)
        }
        icmpv6_format::Message::Mld(_) => {
            black_box(Addresses::<Ipv6Addr>::new(data).iter().count());
        }
        _ => ipv6(data),
    }
}

/// Options of neighbour discovery, each the inverse of what it emits.
fn ndp_options(mut data: &[u8]) {
    assert!(ndp::Options::new(data).count() <= data.len() / 8 + 1);
    while let Ok((option, rest)) = ndp::NdpOption::parse(data) {
        let mut bytes = vec![0; 4096];
        let len = option.emit(&mut bytes).expect("what was parsed can be stated");
        assert_eq!(ndp::NdpOption::parse(&bytes[..len]), Ok((option, &[][..])));
        data = rest;
    }
}

/// Group records and their sources.
fn records_of<A: rumpnet_wire::multicast::GroupAddress + 'static>(count: u16, data: &[u8]) {
    for (record, sources) in Records::<A>::new(count, data).map_while(Result::ok) {
        assert_eq!(sources.iter().count(), usize::from(record.sources));
        black_box(sources.iter().last());
    }
}

/// IGMP messages of every version.
pub fn igmp(data: &[u8]) {
    let emit = |message: &igmp_format::Message, data: &[u8], out: &mut [u8]| {
        message.emit(*Sum::new().add(data), out)
    };
    let Some((message, data)) = inverse(data, igmp_format::Message::parse_unverified, emit) else { return };
    if let igmp_format::Message::ReportV3 { records } = message {
        records_of::<Ipv4Addr>(records, data);
    }
}

/// UDP headers.
pub fn udp(data: &[u8]) {
    inverse(data, udp_format::Header::parse, |header, _, out| header.emit(out));
    inverse(data, udp_format::Header::parse_quoted, |header, _, out| header.emit(out));
}

/// Blocks of pcapng: what was written here reads back, whatever else stands beside it is skipped.
pub fn pcapng(data: &[u8]) {
    for block in pcapng_format::blocks(data).map_while(Result::ok) {
        let mut out = Vec::new();
        match &block {
            pcapng_format::Block::Section(section) => section.emit(&mut out),
            pcapng_format::Block::Interface(interface) => interface.emit(&mut out),
            pcapng_format::Block::Packet(packet) => packet.emit(&mut out),
            pcapng_format::Block::Statistics(statistics) => statistics.emit(&mut out),
            pcapng_format::Block::Other(..) => continue,
        }
        assert_eq!(pcapng_format::Block::parse(&out), Ok((block, &[][..])));
        black_box(format!("{block:?}"));
    }
}

/// TCP headers and their options.
pub fn tcp(data: &[u8]) {
    let segment = inverse(data, tcp_format::Header::parse, |header, _, out| header.emit(out));
    let Some((header, payload)) = segment else { return };
    let mut options = tcp_format::Options::EMPTY;
    for option in header.options.iter().map_while(Result::ok) {
        options.push(&option).expect("options that were read fit");
    }
    assert!(header.options.as_bytes().starts_with(unpadded(options.as_bytes())));
    black_box((header.options.timestamps(), header.options.sack_blocks()));
    let header = header.with_checksum(Sum::new(), *Sum::new().add(payload));
    let mut bytes = vec![0; header.header_len()];
    header.emit(&mut bytes).expect("the room is that of the header");
    bytes.extend(payload);
    assert!(checksum::verify(Sum::new(), &bytes));
}

/// Virtio-net headers.
pub fn virtio(data: &[u8]) {
    inverse(data, virtio_format::Header::parse, |header, _, out| header.emit(out));
}

/// The checksum of a chain against that of one slice, and updates against sums anew. The first octets say where
/// the chain is cut.
pub fn checksum(data: &[u8]) {
    let Some((cuts, bytes)) = data.split_first_chunk::<4>() else { return };
    let (mut chain, mut start) = (Sum::new(), 0);
    for cut in cuts {
        let end = (start + usize::from(*cut)).min(bytes.len());
        chain.add(&bytes[start..end]);
        start = end;
    }
    chain.add(&bytes[start..]);
    let naive = bytes.chunks(2).fold(0u32, |sum, pair| {
        let word = u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        let sum = sum + word;
        (sum & 0xffff) + (sum >> 16)
    });
    assert_eq!(u32::from(chain.fold()), naive);
    assert_eq!(u32::from(!checksum::of(bytes)), naive);
    update(bytes);
}

/// An update of the second word against the sum of the whole.
fn update(bytes: &[u8]) {
    let Some(([first, _, old @ ..], rest)) = bytes.split_first_chunk::<4>() else { return };
    let new = [rest.len() as u8, *first];
    let with = |word: &[u8]| checksum::of(&[&[0x45, 0], word, rest].concat());
    let number = |word: &[u8; 2]| u16::from_be_bytes(*word);
    assert_eq!(checksum::update(with(old), number(old), number(&new)), with(&new));
}

/// Addresses and prefixes as text: what reads prints the same again.
pub fn text(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(address) = text.parse::<ethernet_format::Address>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    if let Ok(cidr) = text.parse::<Cidr>() {
        assert_eq!(cidr.to_string().parse(), Ok(cidr));
        assert!(cidr.contains(cidr.network().address()));
        assert_eq!(Cidr::from_netmask(cidr.address(), cidr.netmask()), Some(cidr));
    }
}
