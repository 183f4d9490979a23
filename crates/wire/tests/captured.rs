//! What real hosts sent, read field by field and written again octet by octet.
//!
//! `frames.txt` and `taps.txt` hold what Linux sent; nothing in them was made by this crate. The payload of a
//! super-frame in `taps.txt` is cut after two octets.

use std::net::{Ipv4Addr, Ipv6Addr};

use rumpnet_wire::checksum::{self, Sum};
use rumpnet_wire::ethernet::{self, EtherType};
use rumpnet_wire::ip::{Protocol, pseudo_header};
use rumpnet_wire::ipv4::IpOption;
use rumpnet_wire::ipv6::extension::{
    Extension, Extensions, Fragment, HeaderOption, HeaderOptions, OptionsHeader,
};
use rumpnet_wire::multicast::{GroupAddress, RecordKind, Records, emit_addresses};
use rumpnet_wire::ndp::{NdpOption, NeighborFlags};
use rumpnet_wire::tcp::{Flags, Seq, TcpOption, Timestamps};
use rumpnet_wire::{Malformed, TooShort, arp, icmpv4, icmpv6, igmp, ipv4, ipv6, mld, ndp, tcp, udp, virtio};

/// Names and octets of a file of captures.
fn captures(text: &str) -> Vec<(&str, Vec<u8>)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split_once(": ").expect("name: octets"))
        .map(|(name, hex)| (name, octets(hex)))
        .collect()
}

/// Hexadecimal octets, the last of them perhaps repeated: `0a0b 78*520`.
fn octets(text: &str) -> Vec<u8> {
    let (hex, run) = text.split_once(' ').unwrap_or((text, "00*0"));
    let (repeated, count) = run.split_once('*').expect("a run");
    let octet = |digits| u8::from_str_radix(digits, 16).expect("hexadecimal");
    let run = vec![octet(repeated); count.parse().expect("a count")];
    (0..hex.len()).step_by(2).map(|at| octet(&hex[at..at + 2])).chain(run).collect()
}

fn frames() -> Vec<(&'static str, Vec<u8>)> {
    captures(include_str!("frames.txt"))
}

fn frame(name: &str) -> Vec<u8> {
    frames().into_iter().find(|(known, _)| *known == name).expect("a known name").1
}

/// What a value emits, into room that is larger than it needs.
fn emitted(emit: impl FnOnce(&mut [u8]) -> Result<usize, TooShort>) -> Vec<u8> {
    let mut out = vec![0; 4096];
    let len = emit(&mut out).expect("room enough");
    out.truncate(len);
    out
}

/// Parses every layer of a frame and writes it again from the values alone.
fn rewritten(frame: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (header, payload) = ethernet::Header::parse(frame)?;
    let payload = match header.ethertype {
        EtherType::ARP => arp::Packet::parse(payload).map(|(packet, _)| packet.to_bytes().to_vec()),
        EtherType::IPV4 => rewritten_ipv4(payload),
        EtherType::IPV6 => rewritten_ipv6(payload),
        other => panic!("a frame of type {other}"),
    }?;
    Ok([&header.to_bytes()[..], &payload].concat())
}

fn rewritten_ipv4(packet: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (header, payload) = ipv4::Header::parse(packet)?;
    let mut options = ipv4::Options::EMPTY;
    for option in &header.options {
        options.push(&option?).expect("they fitted before");
    }
    let pseudo =
        pseudo_header(header.source.into(), header.destination.into(), header.protocol, payload.len() as u32);
    let payload = match header.protocol {
        _ if header.is_fragment() => payload.to_vec(),
        Protocol::ICMP => {
            let (message, data) = icmpv4::Message::parse(payload)?;
            [&message.to_bytes(*Sum::new().add(data))[..], data].concat()
        }
        Protocol::IGMP => {
            let (message, data) = igmp::Message::parse(payload)?;
            let data = match message {
                igmp::Message::ReportV3 { records } => rewritten_records::<Ipv4Addr>(records, data)?,
                _ => data.to_vec(),
            };
            [emitted(|out| message.emit(*Sum::new().add(&data), out)), data].concat()
        }
        protocol => rewritten_transport(protocol, pseudo, payload)?,
    };
    Ok([emitted(|out| ipv4::Header { options, ..header }.emit(out)), payload].concat())
}

fn rewritten_ipv6(packet: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (header, payload) = ipv6::Header::parse(packet)?;
    let mut out = header.to_bytes().to_vec();
    let mut extensions = Extensions::new(header.next_header, payload);
    while let Some(extension) = extensions.next() {
        let next_header = extensions.upper().0;
        match extension? {
            Extension::HopByHop(options) | Extension::DestinationOptions(options) => {
                out.extend(rewritten_options(next_header, options)?);
            }
            Extension::Fragment(fragment) => {
                out.extend(fragment.to_bytes());
                out.extend(extensions.upper().1);
                return Ok(out);
            }
            Extension::Routing(..) => panic!("no capture has a routing header"),
        }
    }
    let (protocol, upper) = extensions.upper();
    let (source, destination) = (header.source, header.destination);
    let pseudo = pseudo_header(source.into(), destination.into(), protocol, upper.len() as u32);
    out.extend(match protocol {
        Protocol::ICMPV6 => rewritten_icmpv6(source, destination, upper)?,
        protocol => rewritten_transport(protocol, pseudo, upper)?,
    });
    Ok(out)
}

fn rewritten_options(next_header: Protocol, options: HeaderOptions<'_>) -> Result<Vec<u8>, Malformed> {
    let mut body = Vec::new();
    for option in options {
        let option = option?;
        body.extend(emitted(|out| option.emit(out)));
    }
    let header = OptionsHeader { next_header, options_len: body.len() as u16 };
    Ok([header.to_bytes().to_vec(), body].concat())
}

fn rewritten_icmpv6(source: Ipv6Addr, destination: Ipv6Addr, bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (message, data) = icmpv6::Message::parse(source, destination, bytes)?;
    let data = match message {
        icmpv6::Message::Ndp(_) => {
            let mut options = Vec::new();
            for option in ndp::Options::new(data) {
                let option = option?;
                options.extend(emitted(|out| option.emit(out)));
            }
            options
        }
        icmpv6::Message::Mld(mld::Message::ReportV2 { records }) => {
            rewritten_records::<Ipv6Addr>(records, data)?
        }
        _ => data.to_vec(),
    };
    let sum = *Sum::new().add(&data);
    let header = emitted(|out| message.emit(source, destination, sum, data.len(), out));
    Ok([header, data].concat())
}

fn rewritten_records<A: GroupAddress + 'static>(count: u16, data: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    for record in Records::<A>::new(count, data) {
        let (record, sources) = record?;
        let sources: Vec<A> = sources.iter().collect();
        out.extend(emitted(|out| record.emit(out)));
        out.extend(emitted(|out| emit_addresses(&sources, out)));
    }
    Ok(out)
}

fn rewritten_transport(protocol: Protocol, pseudo: Sum, segment: &[u8]) -> Result<Vec<u8>, Malformed> {
    assert!(checksum::verify(pseudo, segment), "the sender's checksum");
    if protocol == Protocol::UDP {
        let (header, payload) = udp::Header::parse(segment)?;
        let header = udp::Header { checksum: 0, ..header };
        let header = header.with_checksum(pseudo, *Sum::new().add(payload));
        return Ok([&header.to_bytes()[..], payload].concat());
    }
    let (header, payload) = tcp::Header::parse(segment)?;
    let mut options = tcp::Options::EMPTY;
    for option in &header.options {
        options.push(&option?).expect("they fitted before");
    }
    let header = tcp::Header { checksum: 0, options, ..header };
    let header = header.with_checksum(pseudo, *Sum::new().add(payload));
    Ok([emitted(|out| header.emit(out)), payload.to_vec()].concat())
}

#[test]
fn every_frame_is_written_again_as_it_was_captured() {
    for (name, frame) in frames() {
        assert_eq!(rewritten(&frame).as_deref(), Ok(&frame[..]), "{name}");
    }
}

#[test]
fn every_frame_cut_short_is_refused() {
    for (name, frame) in frames() {
        for len in 0..frame.len() {
            assert!(rewritten(&frame[..len]).is_err(), "{name} cut to {len}");
        }
    }
}

/// The network header's payload of an IPv4 frame.
fn ipv4_payload(frame: &[u8]) -> (ipv4::Header, &[u8]) {
    ipv4::Header::parse(&frame[ethernet::Header::LEN..]).expect("IPv4")
}

/// The ICMPv6 message of a frame, behind its extension headers.
fn icmpv6_message(frame: &[u8]) -> (icmpv6::Message, &[u8]) {
    let (header, payload) = ipv6::Header::parse(&frame[ethernet::Header::LEN..]).expect("IPv6");
    let mut extensions = Extensions::new(header.next_header, payload);
    extensions.by_ref().for_each(|extension| assert!(extension.is_ok()));
    let (protocol, upper) = extensions.upper();
    assert_eq!(protocol, Protocol::ICMPV6);
    icmpv6::Message::parse(header.source, header.destination, upper).expect("ICMPv6")
}

#[test]
fn an_arp_request_asks_for_its_target() {
    let frame = frame("arp-request");
    let (header, payload) = ethernet::Header::parse(&frame).unwrap();
    assert!(header.destination.is_broadcast());
    let (packet, _) = arp::Packet::parse(payload).unwrap();
    assert_eq!(packet.operation, arp::Operation::Request);
    assert_eq!(packet.sender_hardware, "2:0:0:0:0:a".parse().unwrap());
    assert_eq!(packet.sender_protocol, Ipv4Addr::new(10, 9, 0, 1));
    assert!(packet.target_hardware.is_unspecified());
    assert_eq!(packet.target_protocol, Ipv4Addr::new(10, 9, 0, 2));
}

#[test]
fn a_tcp_syn_states_what_linux_offers() {
    let frame = frame("tcp-syn");
    let (ip, segment) = ipv4_payload(&frame);
    assert_eq!((ip.ttl, ip.dont_fragment, ip.identification), (64, true, 0xb899));
    let (header, payload) = tcp::Header::parse(segment).unwrap();
    assert_eq!((header.source_port, header.destination_port), (53826, 80));
    assert_eq!((header.sequence, header.flags, header.window), (Seq(0x62bf5515), Flags::SYN, 64240));
    assert!(payload.is_empty());
    let options: Vec<_> = header.options.iter().map(Result::unwrap).collect();
    let expected = [
        TcpOption::MaximumSegmentSize(1460),
        TcpOption::SackPermitted,
        TcpOption::Timestamps(Timestamps { value: 0x6812ae15, echo: 0 }),
        TcpOption::Nop,
        TcpOption::WindowScale(10),
    ];
    assert_eq!(options, expected);
}

#[test]
fn a_tcp_segment_carries_its_data_and_times() {
    let frame = frame("tcp-data");
    let (header, payload) = tcp::Header::parse(ipv4_payload(&frame).1).unwrap();
    assert_eq!(payload, b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(header.flags, Flags::PSH | Flags::ACK);
    assert_eq!(header.acknowledgment, Seq(0x20f6eb07));
    assert_eq!(header.options.timestamps(), Some(Timestamps { value: 0x6812ae15, echo: 0xd435b3c1 }));
}

#[test]
fn routes_and_times_are_read_from_ipv4_options() {
    let first = |name: &str| {
        let frame = frame(name);
        let options = ipv4_payload(&frame).0.options;
        match options.iter().next() {
            Some(Ok(IpOption::RecordRoute(route) | IpOption::LooseSourceRoute(route))) => {
                (route.next_slot(), route.addresses().collect::<Vec<_>>())
            }
            Some(Ok(IpOption::Timestamp { pointer, overflow, flag, slots })) => {
                assert_eq!((pointer, overflow, flag), (13, 0, 1));
                (None, vec![Ipv4Addr::from_octets([slots[0], slots[1], slots[2], slots[3]])])
            }
            other => panic!("{name}: {other:?}"),
        }
    };
    let (near, far, unset) = (Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, 2), Ipv4Addr::UNSPECIFIED);
    assert_eq!(first("udp-record-route"), (Some(1), vec![near, unset]));
    assert_eq!(first("udp-loose-source-route"), (Some(0), vec![far, far]));
    assert_eq!(first("udp-timestamp"), (None, vec![near]));
}

#[test]
fn fragments_state_their_place() {
    let v4 = frame("fragment");
    let header = ipv4_payload(&v4).0;
    assert_eq!((header.fragment_offset, header.more_fragments, header.payload_len()), (1480, false, 16));
    let v6 = frame("fragment-v6");
    let (header, payload) = ipv6::Header::parse(&v6[14..]).unwrap();
    assert_eq!(header.next_header, Protocol::FRAGMENT);
    let (fragment, _) = Fragment::parse(payload).unwrap();
    let next_header = Protocol::UDP;
    assert_eq!(fragment, Fragment { next_header, offset: 1448, more: false, identification: 0x39079fdd });
}

#[test]
fn icmp_errors_state_their_cause_and_quote_the_packet() {
    use icmpv4::Message;
    let cases = [
        (
            "icmp-port-unreachable",
            Message::DestinationUnreachable { code: icmpv4::UnreachableCode::PORT, next_hop_mtu: 0 },
        ),
        (
            "icmp-fragmentation-needed",
            Message::DestinationUnreachable {
                code: icmpv4::UnreachableCode::FRAGMENTATION_NEEDED,
                next_hop_mtu: 600,
            },
        ),
        ("icmp-time-exceeded", Message::TimeExceeded { code: icmpv4::TimeExceededCode::TTL }),
        (
            "icmp-redirect",
            Message::Redirect { code: icmpv4::RedirectCode::HOST, gateway: Ipv4Addr::new(10, 9, 0, 3) },
        ),
    ];
    for (name, expected) in cases {
        let frame = frame(name);
        let (message, quoted) = icmpv4::Message::parse(ipv4_payload(&frame).1).unwrap();
        assert_eq!(message, expected, "{name}");
        let (ip, quoted) = ipv4::Header::parse_quoted(quoted).unwrap();
        assert_eq!((ip.protocol, ip.source), (Protocol::UDP, Ipv4Addr::new(10, 9, 0, 1)), "{name}");
        assert_eq!(udp::Header::parse_quoted(quoted).unwrap().0.destination_port, 9, "{name}");
    }
}

#[test]
fn a_time_is_answered_with_three() {
    let frame = frame("icmp-timestamp-reply");
    let (message, data) = icmpv4::Message::parse(ipv4_payload(&frame).1).unwrap();
    assert_eq!(message, icmpv4::Message::TimestampReply { identifier: 7, sequence: 1 });
    let (times, _) = icmpv4::Timestamps::parse(data).unwrap();
    assert_eq!((times.originate, times.receive, times.transmit), (0x0102_0304, 0x0482_4f1d, 0x0482_4f1d));
}

#[test]
fn icmpv6_errors_state_their_cause() {
    use icmpv6::{Message, ParameterCode, UnreachableCode};
    let problem = Message::ParameterProblem { code: ParameterCode::OPTION, pointer: 42 };
    let cases = [
        ("icmp6-port-unreachable", Message::DestinationUnreachable { code: UnreachableCode::PORT }),
        ("icmp6-prohibited", Message::DestinationUnreachable { code: UnreachableCode::PROHIBITED }),
        ("icmp6-time-exceeded", Message::TimeExceeded { code: 0 }),
        ("icmp6-packet-too-big", Message::PacketTooBig { mtu: 1300 }),
        ("icmp6-parameter-problem", problem),
    ];
    for (name, expected) in cases {
        assert_eq!(icmpv6_message(&frame(name)).0, expected, "{name}");
    }
}

#[test]
fn neighbours_are_asked_for_and_answer() {
    let target = "fd00:9::2".parse().unwrap();
    let solicitation = frame("ndp-solicitation");
    let (message, options) = icmpv6_message(&solicitation);
    assert_eq!(message, icmpv6::Message::Ndp(ndp::Message::NeighborSolicitation { target }));
    let source = "02:00:00:00:00:0a".parse().unwrap();
    assert_eq!(ndp::Options::new(options).next(), Some(Ok(NdpOption::SourceLinkAddress(source))));

    let advertisement = frame("ndp-advertisement");
    let (message, options) = icmpv6_message(&advertisement);
    let flags = NeighborFlags::SOLICITED.union(NeighborFlags::OVERRIDE);
    assert_eq!(message, icmpv6::Message::Ndp(ndp::Message::NeighborAdvertisement { flags, target }));
    let target = "02:00:00:00:00:0b".parse().unwrap();
    assert_eq!(ndp::Options::new(options).next(), Some(Ok(NdpOption::TargetLinkAddress(target))));
}

#[test]
fn a_probe_for_duplicates_carries_a_nonce() {
    let frame = frame("ndp-solicitation-nonce");
    let nonce = [0xb0, 0xf9, 0xf0, 0xa7, 0x50, 0x6d];
    assert_eq!(ndp::Options::new(icmpv6_message(&frame).1).next(), Some(Ok(NdpOption::Nonce(&nonce))));
}

#[test]
fn a_redirect_quotes_the_packet_it_is_about() {
    let frame = frame("ndp-redirect");
    let (message, options) = icmpv6_message(&frame);
    let (target, destination) = ("fe80::3".parse().unwrap(), "2001:db8:1::7".parse().unwrap());
    assert_eq!(message, icmpv6::Message::Ndp(ndp::Message::Redirect { target, destination }));
    let Some(Ok(NdpOption::RedirectedHeader(quoted))) = ndp::Options::new(options).nth(1) else {
        panic!("no redirected header");
    };
    assert_eq!(ipv6::Header::parse_quoted(quoted).unwrap().0.destination, destination);
}

#[test]
fn groups_are_reported_in_every_version_of_igmp() {
    let group = Ipv4Addr::new(239, 1, 2, 3);
    let message = |name| {
        let frame = frame(name);
        let (ip, payload) = ipv4_payload(&frame);
        assert_eq!(ip.options.iter().next(), Some(Ok(IpOption::RouterAlert(0))), "{name}");
        let (message, data) = igmp::Message::parse(payload).unwrap();
        (message, data.to_vec())
    };
    assert_eq!(message("igmp1-report").0, igmp::Message::ReportV1 { group });
    assert_eq!(message("igmp2-report").0, igmp::Message::ReportV2 { group });
    assert_eq!(message("igmp2-leave").0, igmp::Message::Leave { group });
    let (report, data) = message("igmp3-sources");
    assert_eq!(report, igmp::Message::ReportV3 { records: 1 });
    let (record, sources) = Records::<Ipv4Addr>::new(1, &data).next().unwrap().unwrap();
    assert_eq!((record.kind, record.group), (RecordKind::AllowNewSources, group));
    let sources: Vec<_> = sources.iter().map(|source| source.octets()[3]).collect();
    assert_eq!(sources, [1, 2]);
}

#[test]
fn a_querier_asks_in_versions_two_and_three() {
    for (name, version_3) in [("igmp2-query", false), ("igmp3-query", true)] {
        let frame = frame(name);
        let Ok((igmp::Message::Query { max_response: 100, group, extension }, [])) =
            igmp::Message::parse(ipv4_payload(&frame).1)
        else {
            panic!("{name}");
        };
        assert!(group.is_unspecified(), "{name}");
        assert_eq!(
            extension.map(|e| (e.suppress, e.robustness, e.interval_code)),
            version_3.then_some((false, 2, 125))
        );
    }
}

#[test]
fn groups_are_reported_in_every_version_of_mld() {
    let group = "ff15::42".parse().unwrap();
    assert_eq!(icmpv6_message(&frame("mld1-report")).0, icmpv6::Message::Mld(mld::Message::Report { group }));
    assert_eq!(icmpv6_message(&frame("mld1-done")).0, icmpv6::Message::Mld(mld::Message::Done { group }));
    let frame = frame("mld2-report");
    let (message, data) = icmpv6_message(&frame);
    assert_eq!(message, icmpv6::Message::Mld(mld::Message::ReportV2 { records: 3 }));
    let groups: Vec<_> = Records::<Ipv6Addr>::new(3, data).map(|record| record.unwrap().0.group).collect();
    let expected = ["ff02::1:ff00:0", "ff05::2", "ff02::2"].map(|group| group.parse::<Ipv6Addr>().unwrap());
    assert_eq!(groups, expected);
}

#[test]
fn a_hop_by_hop_header_alerts_routers() {
    let frame = frame("mld2-report");
    let (header, payload) = ipv6::Header::parse(&frame[14..]).unwrap();
    assert_eq!((header.next_header, header.hop_limit), (Protocol::HOP_BY_HOP, 1));
    let Some(Ok(Extension::HopByHop(options))) = Extensions::new(header.next_header, payload).next() else {
        panic!("no hop-by-hop header");
    };
    let options: Vec<_> = options.iter().map(Result::unwrap).collect();
    assert_eq!(options, [HeaderOption::RouterAlert(0), HeaderOption::PadN(0)]);
}

#[cfg(target_endian = "little")]
#[test]
fn a_tap_tells_what_is_left_to_be_done() {
    let taps = captures(include_str!("taps.txt"));
    let header = |name| {
        let (_, read) = taps.iter().find(|(known, _)| *known == name).expect("a known name");
        let (header, frame) = virtio::Header::parse(read).unwrap();
        assert_eq!(header.to_bytes(), read[..12], "{name}");
        assert!(ethernet::Header::parse(frame).is_ok(), "{name}");
        header
    };
    assert_eq!(header("plain"), virtio::Header::default());
    let partial = |csum_start, csum_offset: usize| virtio::Header {
        flags: virtio::Flags::NEEDS_CSUM,
        csum_start,
        csum_offset: csum_offset as u16,
        ..virtio::Header::default()
    };
    assert_eq!(header("tcp-syn"), partial(34, tcp::Header::CHECKSUM_OFFSET));
    assert_eq!(header("tcp-syn-v6"), partial(54, tcp::Header::CHECKSUM_OFFSET));
    assert_eq!(header("udp"), partial(34, udp::Header::CHECKSUM_OFFSET));
    let segments = |hdr_len, csum_start| virtio::Header {
        gso_type: virtio::GsoType::UdpL4,
        hdr_len,
        gso_size: 100,
        ..partial(csum_start, udp::Header::CHECKSUM_OFFSET)
    };
    assert_eq!(header("udp-segments"), segments(42, 34));
    assert_eq!(header("udp-segments-v6"), segments(62, 54));
}

#[test]
fn a_partial_checksum_is_the_sum_of_the_pseudo_header() {
    let taps = captures(include_str!("taps.txt"));
    let (_, read) = taps.iter().find(|(name, _)| *name == "tcp-syn").unwrap();
    let (ip, segment) = ipv4_payload(&read[virtio::Header::LEN..]);
    let (header, _) = tcp::Header::parse(segment).unwrap();
    let pseudo = pseudo_header(ip.source.into(), ip.destination.into(), ip.protocol, segment.len() as u32);
    assert_eq!(header.checksum, pseudo.fold());
}
