use rumpnet_wire::pcapng;

use super::*;

const TIME_NS: u64 = 1_700_000_000_123_456_000;

/// A classic capture with one packet of five octets.
fn classic(big: bool, magic: u32, fraction: u32) -> Vec<u8> {
    let word = |number: u32| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let numbers = [magic, if big { 0x0002_0004 } else { 0x0004_0002 }, 0, 0, 65_535, 1];
    let record = [(TIME_NS / 1_000_000_000) as u32, fraction, 5, 60];
    let mut file: Vec<u8> = numbers.iter().chain(&record).flat_map(|number| word(*number)).collect();
    file.extend(b"hello");
    file
}

fn read(file: &[u8]) -> Result<Vec<Packet<'_>>, Fault> {
    packets(file)?.collect()
}

#[test]
fn classic_captures_are_read_whatever_their_order_of_octets_and_their_unit() {
    let expected = Packet { time_ns: TIME_NS, link_type: 1, original_len: 60, data: b"hello" };
    for (magic, fraction) in [(0xa1b2_c3d4, 123_456), (0xa1b2_3c4d, 123_456_000)] {
        for big in [false, true] {
            assert_eq!(read(&classic(big, magic, fraction)), Ok(vec![expected]), "{magic:x} {big}");
        }
    }
}

#[test]
fn a_capture_of_ours_is_read_with_its_times() {
    let mut file = Vec::new();
    pcapng::Section::default().emit(&mut file);
    let interface = pcapng::Interface {
        link_type: pcapng::LinkType::ETHERNET,
        snap_len: 0,
        name: Some("bus"),
        description: None,
        speed: None,
        time_offset: None,
    };
    interface.emit(&mut file);
    for number in 0..3 {
        let packet = pcapng::Packet {
            time_ns: TIME_NS + number,
            original_len: 5,
            data: b"hello",
            ..Default::default()
        };
        packet.emit(&mut file);
    }
    pcapng::Statistics::default().emit(&mut file);
    let read = read(&file).expect("ours");
    assert_eq!(read.iter().map(|packet| packet.time_ns - TIME_NS).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(read.iter().all(|packet| (packet.link_type, packet.data) == (1, &b"hello"[..])));
}

/// A pcapng block of either order of octets.
fn block(big: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let word = |number: u32| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let len = word(12 + body.len() as u32);
    [&word(kind)[..], &len, body, &len].concat()
}

/// A big-endian section whose times have no resolution of their own, or this one.
fn big_endian(resolution: Option<u8>) -> Vec<u8> {
    let section = [&0x1a2b_3c4d_u32.to_be_bytes()[..], &[0, 1, 0, 0], &[0xff; 8]].concat();
    let mut interface = vec![0, 1, 0, 0, 0, 0, 0, 0];
    if let Some(resolution) = resolution {
        interface.extend([0, 9, 0, 1, resolution, 0, 0, 0, 0, 0, 0, 0]);
    }
    [block(true, 0x0a0d_0d0a, &section), block(true, 1, &interface)].concat()
}

fn big_packet(time: u64) -> Vec<u8> {
    let head = [0, (time >> 32) as u32, time as u32, 5, 5];
    let mut body: Vec<u8> = head.iter().flat_map(|number: &u32| number.to_be_bytes()).collect();
    body.extend(b"hello\0\0\0");
    block(true, 6, &body)
}

#[test]
fn times_are_read_in_the_unit_of_their_interface() {
    for (resolution, ticks, time_ns) in [
        (None, TIME_NS / 1000, TIME_NS),
        (Some(9), TIME_NS, TIME_NS),
        (Some(0), 7, 7_000_000_000),
        (Some(0x80 | 1), 3, 1_500_000_000),
        (Some(0x7f), u64::MAX, 0),
        (Some(0), u64::MAX, u64::MAX),
    ] {
        let file = [big_endian(resolution), big_packet(ticks)].concat();
        assert_eq!(read(&file).expect("a capture")[0].time_ns, time_ns, "{resolution:?}");
    }
}

#[test]
fn what_is_no_capture_is_said_with_its_place() {
    assert_eq!(
        read(b"GET / HTTP/1.0\r\n").expect_err("none").to_string(),
        "neither pcap nor pcapng (at octet 0)"
    );
    assert_eq!(read(b"").expect_err("none").what, "it is cut off");
    let mut file = classic(false, 0xa1b2_c3d4, 0);
    file.pop();
    assert_eq!(read(&file), Err(Fault { at: 40, what: "it is cut off" }));
    file[32..36].copy_from_slice(&[0xff; 4]);
    assert_eq!(read(&file).expect_err("none").what, "a packet of an impossible length");
    let nobodys = [big_endian(None)[..28].to_vec(), big_packet(7)].concat();
    assert_eq!(read(&nobodys).expect_err("none").what, "a packet of an interface that was not described");
    let mut endless = big_endian(None);
    endless[7] = 13;
    assert_eq!(read(&endless).expect_err("none").what, "a block of an impossible length");
}

#[test]
fn what_is_written_in_the_classic_form_is_read_back() {
    let record = classic_record(TIME_NS, 5);
    let file = [&classic_header(65_535)[..], &record, b"hello"].concat();
    let expected = Packet { time_ns: TIME_NS, link_type: 1, original_len: 5, data: b"hello" };
    assert_eq!(read(&file), Ok(vec![expected]));
}
