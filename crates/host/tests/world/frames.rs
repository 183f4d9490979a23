//! Super-frames between a device and a UDP socket of the host's own kernel.

use std::{
    io::IoSlice,
    net::{Ipv4Addr, UdpSocket},
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use rumpnet_host::{FrameDevice, HEADER_LEN, IoFailure, netlink::Netlink};
use rumpnet_wire::virtio::{Flags, GsoType, Header};
use rustix::event::PollFlags;

use super::{is_ready_within, run};

const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const OUR_LINK: [u8; 6] = [0xb2, 0x0a, 0, 0, 0, 2];
const PORT: u16 = 7000;
const SEGMENT: u16 = 1000;
const SEGMENTS: usize = 30;

/// Gives the host's end of `device` an address and tells the host ours.
pub(crate) fn address(device: &FrameDevice) {
    let mut netlink = Netlink::open().expect("a socket");
    let end = netlink.link(device.host_end()).expect("the host's end");
    netlink.add_address(end.index, HOST.into(), 24).expect("a free address");
    let words = ["neigh", "add", "10.0.0.2", "lladdr", "b2:0a:00:00:00:02", "dev", device.host_end()];
    run("ip", &words);
}

/// The next frame of this kind of packet, without its header. The host also speaks IPv6 by itself.
pub(crate) fn next(device: &FrameDevice, kind: &[u8; 2]) -> Vec<u8> {
    let mut buffer = [0; 2000];
    loop {
        assert!(is_ready_within(device.as_fd(), PollFlags::IN, 10), "no frame came");
        let len = device.read(&mut buffer).expect("a frame");
        if buffer[HEADER_LEN + 12..][..2] == *kind {
            return buffer[HEADER_LEN..len].to_vec();
        }
    }
}

/// Sends a super-frame of thirty datagrams, with a checksum left undone, to a socket of the host, and counts what arrives.
pub(crate) fn assert_that_the_host_takes_a_super_frame(device: &FrameDevice) {
    let socket = UdpSocket::bind((HOST, PORT)).expect("a free port");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    let payload: Vec<u8> = (0..SEGMENTS).flat_map(|n| [n as u8; SEGMENT as usize]).collect();
    let headers = headers(device.link_address().expect("an end"), payload.len());
    let virtio = Header {
        flags: Flags::NEEDS_CSUM,
        gso_type: GsoType::UdpL4,
        hdr_len: 42,
        gso_size: SEGMENT,
        csum_start: 34,
        csum_offset: 6,
        ..Header::default()
    };
    let (front, back) = payload.split_at(777);
    let virtio = virtio.to_bytes();
    let slices = [&virtio[..], &headers, front, back].map(IoSlice::new);
    assert_eq!(device.writev(&slices), Ok(HEADER_LEN + headers.len() + payload.len()));
    let mut buffer = [0; 2000];
    for n in 0..SEGMENTS {
        let (len, from) = socket.recv_from(&mut buffer).expect("a datagram");
        assert_eq!((len, from.ip()), (SEGMENT.into(), OURS.into()));
        assert!(buffer[..len].iter().all(|byte| usize::from(*byte) == n));
    }
}

/// Lets a socket of the host send thirty datagrams with one call, and expects them in one read.
pub(crate) fn assert_that_the_host_gives_a_super_frame(device: &FrameDevice) {
    let socket = UdpSocket::bind((HOST, 0)).expect("a port");
    let (size, len) = (libc::c_int::from(SEGMENT), size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: the kernel reads `len` octets, which is what `size` holds.
    let set = unsafe {
        let size = (&raw const size).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, size, len)
    };
    assert_eq!(set, 0);
    socket.send_to(&[7; SEGMENT as usize * SEGMENTS], (OURS, PORT)).expect("the host sends");
    let mut buffer = vec![0xff; 80_000];
    let len = loop {
        assert!(is_ready_within(device.as_fd(), PollFlags::IN, 10), "no frame came");
        let len = device.read(&mut buffer).expect("a frame");
        // The host also speaks IPv6 by itself.
        if buffer[HEADER_LEN + 12..][..2] == [8, 0] {
            break len;
        }
    };
    let (header, frame) = Header::parse(&buffer[..len]).expect("a header");
    assert_eq!(frame.len(), 42 + usize::from(SEGMENT) * SEGMENTS);
    assert_eq!((header.gso_type, header.gso_size), (GsoType::UdpL4, SEGMENT));
    assert!(header.flags.contains(Flags::NEEDS_CSUM));
    assert_eq!((header.csum_start, header.csum_offset, header.num_buffers), (34, 6, 0));
    assert_eq!(device.read(&mut buffer), Err(IoFailure::WouldBlock));
}

/// One datagram to a socket of the host, its checksum left out, and one back.
pub(crate) fn assert_that_a_plain_frame_passes_in_either_direction(device: &FrameDevice) {
    let socket = UdpSocket::bind((HOST, PORT)).expect("a free port");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    let mut headers = headers(device.link_address().expect("an end"), 5);
    headers[40..42].fill(0);
    let slices = [&[0; HEADER_LEN][..], &headers, b"hello"].map(IoSlice::new);
    assert_eq!(device.writev(&slices), Ok(HEADER_LEN + 47));
    let mut buffer = [0xff; 2000];
    let (len, from) = socket.recv_from(&mut buffer).expect("a datagram");
    assert_eq!((&buffer[..len], from.ip()), (&b"hello"[..], OURS.into()));
    socket.send_to(b"back", from).expect("the host sends");
    let len = loop {
        assert!(is_ready_within(device.as_fd(), PollFlags::IN, 10), "no frame came");
        buffer.fill(0xff);
        let len = device.read(&mut buffer).expect("a frame");
        if buffer[HEADER_LEN + 12..][..2] == [8, 0] {
            break len;
        }
    };
    assert_eq!(buffer[..HEADER_LEN], [0; HEADER_LEN]);
    assert_eq!((len, &buffer[len - 4..len]), (HEADER_LEN + 46, &b"back"[..]));
}

/// Ethernet, IPv4 and UDP in front of so much payload, the sum of the pseudo-header in the place of UDP's checksum.
fn headers(host_link: [u8; 6], payload: usize) -> Vec<u8> {
    let udp = (8 + payload) as u16;
    let mut ip = [0; 20];
    (ip[0], ip[8], ip[9]) = (0x45, 64, 17);
    ip[2..4].copy_from_slice(&(20 + udp).to_be_bytes());
    ip[12..16].copy_from_slice(&OURS.octets());
    ip[16..20].copy_from_slice(&HOST.octets());
    let checksum = !sum(&ip);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    let pseudo = [&ip[12..20], &[0, 17], &udp.to_be_bytes()].concat();
    let words = [PORT, PORT, udp, sum(&pseudo)].map(u16::to_be_bytes);
    [&host_link[..], &OUR_LINK, &[8, 0], &ip, words.as_flattened()].concat()
}

fn sum(bytes: &[u8]) -> u16 {
    let total = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum::<u32>();
    let folded = (total & 0xffff) + (total >> 16);
    ((folded & 0xffff) + (folded >> 16)) as u16
}
