//! A TCP sink that only answers the handshake and acknowledges: what any receiver must do at least.
//!
//! It is the same for the bare loop and for the rump kernel's buffers, which differ in how bytes come and go. Payload is
//! counted in order and not looked at. There is one connection, no loss, and no end.

use std::net::Ipv4Addr;

use rumpnet_wire::{
    ethernet::{self, EtherType},
    ip::Protocol,
    ipv4,
    tcp::{Flags, Header, Options, Seq, TcpOption},
};

use crate::frames;

/// Our initial sequence number.
const ISS: Seq = Seq(1000);
/// Bits that our windows are shifted by.
const WINDOW_SCALE: u8 = 10;
/// The window as it stands in segments: 8 MiB, more than the sender ever has under way.
const WINDOW: u16 = 0x2000;
/// The largest segment that we take; super-frames are many of them.
const SEGMENT: u16 = 1460;
/// The longest answer: Ethernet, IPv4 and TCP with the options of a handshake.
const ANSWER: usize = 14 + 20 + 28;

/// The receiver's half of one connection.
#[derive(Default)]
pub(crate) struct Sink {
    rcv_nxt: u32,
}

/// What a frame calls for.
pub(crate) struct Outcome {
    /// Bytes of payload that were next in order.
    pub(crate) accepted: usize,
    /// A frame to send.
    pub(crate) answer: Option<Answer>,
}

/// A frame without virtio header, checksums complete.
pub(crate) struct Answer {
    bytes: [u8; ANSWER],
    len: usize,
}

impl Answer {
    /// Its bytes.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn copied(bytes: &[u8]) -> Self {
        let mut answer = Self { bytes: [0; ANSWER], len: bytes.len() };
        answer.bytes[..bytes.len()].copy_from_slice(bytes);
        answer
    }
}

impl Sink {
    /// Looks at a frame, of which the headers must lie in `frame` and the IPv4 header tells the length.
    pub(crate) fn receive(&mut self, frame: &[u8]) -> Outcome {
        if let Some(reply) = frames::arp_reply(frame) {
            return Outcome { accepted: 0, answer: Some(Answer::copied(&reply)) };
        }
        self.receive_segment(frame).unwrap_or(Outcome { accepted: 0, answer: None })
    }

    fn receive_segment(&mut self, frame: &[u8]) -> Option<Outcome> {
        let (link, rest) = ethernet::Header::parse(frame).ok()?;
        if link.ethertype != EtherType::IPV4 {
            return None;
        }
        let (network, rest) = ipv4::Header::parse(rest).ok()?;
        if network.protocol != Protocol::TCP {
            return None;
        }
        let (segment, _) = Header::parse(rest).ok()?;
        let len = network.payload_len().checked_sub(segment.header_len())?;
        if segment.flags.contains(Flags::SYN) {
            self.rcv_nxt = segment.sequence.0.wrapping_add(1);
            let answer = self.answer(&link, &network, &segment, Flags::SYN.union(Flags::ACK));
            return Some(Outcome { accepted: 0, answer: Some(answer) });
        }
        if len == 0 {
            return None;
        }
        let is_next = segment.sequence.0 == self.rcv_nxt;
        let accepted = if is_next { len } else { 0 };
        self.rcv_nxt = self.rcv_nxt.wrapping_add(accepted as u32);
        Some(Outcome { accepted, answer: Some(self.answer(&link, &network, &segment, Flags::ACK)) })
    }

    fn answer(&self, link: &ethernet::Header, network: &ipv4::Header, to: &Header, flags: Flags) -> Answer {
        let (source, destination) = (network.destination, network.source);
        let opening = flags.contains(Flags::SYN);
        let header = Header {
            sequence: if opening { ISS } else { Seq(ISS.0 + 1) },
            acknowledgment: Seq(self.rcv_nxt),
            window: if opening { u16::MAX } else { WINDOW },
            options: if opening { options() } else { Options::EMPTY },
            ..Header::new(to.destination_port, to.source_port, flags)
        };
        encode(link, source, destination, header)
    }
}

/// What a handshake offers.
fn options() -> Options {
    let mut options = Options::EMPTY;
    options.push(&TcpOption::MaximumSegmentSize(SEGMENT)).expect("there is room");
    options.push(&TcpOption::WindowScale(WINDOW_SCALE)).expect("there is room");
    options
}

fn encode(link: &ethernet::Header, source: Ipv4Addr, destination: Ipv4Addr, header: Header) -> Answer {
    let link =
        ethernet::Header { destination: link.source, source: link.destination, ethertype: EtherType::IPV4 };
    let network = ipv4::Header::new(source, destination, Protocol::TCP, 0);
    let mut answer = Answer { bytes: [0; ANSWER], len: 0 };
    let start = link.emit(&mut answer.bytes).expect("there is room for the header");
    let len =
        header.emit_packet(network, b"", &mut answer.bytes[start..]).expect("there is room for the packet");
    answer.len = start + len;
    answer
}
