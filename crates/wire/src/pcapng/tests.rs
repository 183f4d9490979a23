//! pcapng against the format's own octets, and against itself.

use std::string::String;
use std::vec::Vec;

use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::strategies::octets;

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Unknown), Just(Direction::Inbound), Just(Direction::Outbound)]
}

fn offload() -> impl Strategy<Value = Offload> {
    any::<(bool, bool, bool)>().prop_map(|(checksum_not_ready, checksum_valid, tcp_segmentation)| Offload {
        checksum_not_ready,
        checksum_valid,
        tcp_segmentation,
    })
}

fn texts() -> impl Strategy<Value = Option<String>> {
    option::of(".{0,20}")
}

#[track_caller]
fn assert_reads_back(written: &[u8], block: Block<'_>) {
    assert_eq!(written.len() % 4, 0);
    assert_eq!(Block::parse(written), Ok((block, &[][..])));
}

proptest! {
    #[test]
    fn a_written_section_reads_back(hardware in texts(), os in texts(), application in texts()) {
        let section = Section {
            hardware: hardware.as_deref(), os: os.as_deref(), application: application.as_deref(),
        };
        let mut out = Vec::new();
        section.emit(&mut out);
        assert_reads_back(&out, Block::Section(section));
    }

    #[test]
    fn a_written_interface_reads_back(
        link_type: u16, snap_len: u32, name in texts(), description in texts(),
        speed in option::of(any::<u64>()), time_offset in option::of(any::<i64>()),
    ) {
        let interface = Interface {
            link_type: LinkType(link_type),
            snap_len,
            name: name.as_deref(),
            description: description.as_deref(),
            speed,
            time_offset,
        };
        let mut out = Vec::new();
        interface.emit(&mut out);
        assert_reads_back(&out, Block::Interface(interface));
    }

    #[test]
    fn a_written_packet_reads_back(
        (interface, time_ns, original_len) in any::<(u32, u64, u32)>(),
        direction in direction(), offload in offload(), drop_count in option::of(any::<u64>()),
        comment in texts(), data in octets(70),
    ) {
        let comment = comment.as_deref();
        let packet = Packet {
            interface, time_ns, original_len, direction, offload, drop_count, comment, data: &data,
        };
        let mut out = Vec::new();
        packet.emit(&mut out);
        assert_reads_back(&out, Block::Packet(packet));
    }

    #[test]
    fn written_statistics_read_back(
        (interface, time_ns) in any::<(u32, u64)>(), counts in any::<[Option<u64>; 4]>(),
    ) {
        let [received, accepted, overruns, delivered] = counts;
        let statistics = Statistics { interface, time_ns, received, accepted, overruns, delivered };
        let mut out = Vec::new();
        statistics.emit(&mut out);
        assert_reads_back(&out, Block::Statistics(statistics));
    }

    #[test]
    fn any_octets_are_read_or_refused(kind in 0u32..7, mut bytes in octets(90)) {
        let total = (bytes.len() as u32 & !3).to_le_bytes();
        if let [head @ .., _, _, _, _] = &mut bytes[..] && head.len() >= 8 {
            head[..4].copy_from_slice(&kind.to_le_bytes());
            head[4..8].copy_from_slice(&total);
        }
        let read = blocks(&bytes).count();
        prop_assert!(read <= bytes.len());
    }
}

#[test]
fn a_section_begins_as_the_format_says() {
    let mut out = Vec::new();
    Section { application: Some("rump"), ..Section::default() }.emit(&mut out);
    let expected = [
        &[0x0a, 0x0d, 0x0d, 0x0a, 40, 0, 0, 0][..], // type and length
        &[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0],      // byte order, version 1.0
        &[0xff; 8],                                 // length of the section: unknown
        &[4, 0, 4, 0, b'r', b'u', b'm', b'p'],      // shb_userappl
        &[0, 0, 0, 0, 40, 0, 0, 0],                 // end of options, length again
    ];
    assert_eq!(out, expected.concat());
}

#[test]
fn an_interface_counts_nanoseconds() {
    let mut out = Vec::new();
    let name = Some("virt0");
    let nothing = (None, None, None);
    let (description, speed, time_offset) = nothing;
    Interface { link_type: LinkType::ETHERNET, snap_len: 96, name, description, speed, time_offset }
        .emit(&mut out);
    let expected = [
        &[1, 0, 0, 0, 44, 0, 0, 0][..],
        &[1, 0, 0, 0, 96, 0, 0, 0], // link type, reserved, snap length
        &[2, 0, 5, 0, b'v', b'i', b'r', b't', b'0', 0, 0, 0], // if_name, padded
        &[9, 0, 1, 0, 9, 0, 0, 0],  // if_tsresol
        &[0, 0, 0, 0, 44, 0, 0, 0],
    ];
    assert_eq!(out, expected.concat());
}

#[test]
fn a_packet_carries_its_time_direction_reason_and_losses() {
    let mut out = Vec::new();
    let packet = Packet {
        interface: 2,
        time_ns: 0x0102_0304_0506_0708,
        original_len: 60,
        direction: Direction::Outbound,
        offload: Offload { checksum_not_ready: true, checksum_valid: false, tcp_segmentation: true },
        drop_count: Some(3),
        comment: Some("why"),
        data: b"abcde",
    };
    packet.emit(&mut out);
    let expected = [
        &[6, 0, 0, 0, 72, 0, 0, 0][..],
        &[2, 0, 0, 0],
        &[4, 3, 2, 1, 8, 7, 6, 5],  // high word, low word
        &[5, 0, 0, 0, 60, 0, 0, 0], // captured, original length
        b"abcde\0\0\0",
        &[1, 0, 3, 0, b'w', b'h', b'y', 0],    // comment
        &[2, 0, 4, 0, 0b10, 0b1010, 0, 0],     // flags: outbound, bits 9 and 11
        &[4, 0, 8, 0, 3, 0, 0, 0, 0, 0, 0, 0], // drop count
        &[0, 0, 0, 0, 72, 0, 0, 0],
    ];
    assert_eq!(out, expected.concat());
}

#[test]
fn blocks_that_contradict_themselves_are_refused() {
    let mut out = Vec::new();
    Section::default().emit(&mut out);
    let changed = |place: usize, octet: u8| {
        let mut bytes = out.clone();
        bytes[place] = octet;
        Block::parse(&bytes).map(|_| ()).expect_err("changed")
    };
    assert_eq!(changed(4, 30), Malformed::Length, "not a multiple of four");
    assert_eq!(changed(4, 8), Malformed::Length, "shorter than itself");
    assert_eq!(changed(5, 1), Malformed::Truncated, "longer than what is there");
    assert_eq!(changed(out.len() - 4, 0), Malformed::Length, "two lengths");
    assert_eq!(changed(8, 0x1a), Malformed::Value, "another order of octets");
    assert_eq!(changed(12, 2), Malformed::Value, "another version");
    (0..out.len()).for_each(|len| assert!(Block::parse(&out[..len]).is_err(), "{len} octets"));
}

#[test]
fn times_in_other_units_are_refused() {
    let mut out = Vec::new();
    let link_type = LinkType::RAW;
    Interface { link_type, snap_len: 0, name: None, description: None, speed: None, time_offset: None }
        .emit(&mut out);
    out[20] = 6;
    assert_eq!(Block::parse(&out), Err(Malformed::Value));
}

#[test]
fn a_comment_too_long_for_its_field_is_cut_between_characters() {
    let comment = "ä".repeat(40_000);
    let mut out = Vec::new();
    Packet { comment: Some(&comment), ..Packet::default() }.emit(&mut out);
    let Ok((Block::Packet(packet), [])) = Block::parse(&out) else { panic!("unreadable") };
    assert_eq!(packet.comment.map(str::len), Some(65_534));
}

#[test]
fn a_capture_is_walked_to_its_first_malformed_block() {
    let mut out = Vec::new();
    Section::default().emit(&mut out);
    let unknown = [[7, 0, 0, 0], [12, 0, 0, 0], [12, 0, 0, 0]].concat();
    out.extend_from_slice(&unknown);
    out.push(1);
    let read: Vec<_> = blocks(&out).collect();
    let expected =
        [Ok(Block::Section(Section::default())), Ok(Block::Other(7, &[])), Err(Malformed::Truncated)];
    assert_eq!(read, expected);
}
