//! Whole packets of TCP over IPv4, for those who play a peer: tests, fuzzers, benchmarks. The stack itself builds headers in place.

use core::net::SocketAddrV4;

use super::{Flags, Header, Options, Seq};
use crate::{
    TooShort,
    checksum::Sum,
    ip::{self, Protocol},
    ipv4,
};

impl Header {
    /// The most that both headers take of [`emit_packet`](Self::emit_packet)'s room.
    pub const MAX_PACKET_HEADERS: usize = 2 * 60;

    /// A segment between two ports: numbers are 0, the window is the greatest without scaling, there are no options.
    pub const fn new(source_port: u16, destination_port: u16, flags: Flags) -> Self {
        Self {
            source_port,
            destination_port,
            sequence: Seq(0),
            acknowledgment: Seq(0),
            flags,
            window: u16::MAX,
            checksum: 0,
            urgent: 0,
            options: Options::EMPTY,
        }
    }

    /// Writes this segment in an IPv4 packet to the front of `out`, with both checksums, and returns its length. The packet's length and protocol are
    /// set here; everything else of `network` stays.
    pub fn emit_packet(
        self,
        network: ipv4::Header,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<usize, TooShort> {
        let segment_len = self.header_len() + payload.len();
        let len = network.header_len() + segment_len;
        let total_len = u16::try_from(len).map_err(|_| TooShort)?;
        let out = out.get_mut(..len).ok_or(TooShort)?;
        let network = ipv4::Header { total_len, protocol: Protocol::TCP, ..network };
        let (source, destination) = (network.source.into(), network.destination.into());
        let pseudo = ip::pseudo_header(source, destination, Protocol::TCP, segment_len as u32);
        let mut sum = Sum::new();
        sum.add(payload);
        let start = network.emit(out)?;
        let written = self.with_checksum(pseudo, sum).emit(&mut out[start..])?;
        out[start + written..].copy_from_slice(payload);
        Ok(len)
    }

    /// As [`emit_packet`](Self::emit_packet) with a plain IPv4 header between two addresses, whose ports become the segment's.
    pub fn emit_between(
        self,
        source: SocketAddrV4,
        destination: SocketAddrV4,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<usize, TooShort> {
        let header = Self { source_port: source.port(), destination_port: destination.port(), ..self };
        let network = ipv4::Header::new(*source.ip(), *destination.ip(), Protocol::TCP, 0);
        header.emit_packet(network, payload, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checksum, tcp::TcpOption};

    #[test]
    fn a_packet_parses_back_with_both_checksums_good() {
        let mut options = Options::EMPTY;
        options.push(&TcpOption::MaximumSegmentSize(1460)).expect("room");
        let from = "10.0.0.1:5000".parse().expect("an address");
        let to: SocketAddrV4 = "10.0.0.2:80".parse().expect("an address");
        let header = Header { sequence: Seq(7), options, ..Header::new(0, 0, Flags::SYN) };
        let mut out = [0; 256];
        let len = header.emit_between(from, to, b"hello", &mut out).expect("room");
        let (network, segment) = ipv4::Header::parse(&out[..len]).expect("a header and its checksum");
        assert_eq!((network.source, network.ttl, segment.len()), (*from.ip(), 64, 29));
        let pseudo = ip::pseudo_header((*from.ip()).into(), (*to.ip()).into(), Protocol::TCP, 29);
        assert!(checksum::verify(pseudo, segment));
        let (parsed, payload) = Header::parse(segment).expect("a segment");
        assert_eq!((parsed.source_port, parsed.sequence, payload), (5000, Seq(7), &b"hello"[..]));
    }

    #[test]
    fn without_room_nothing_is_written() {
        let address = "10.0.0.1:1".parse().expect("an address");
        let mut out = [0; 40];
        let header = Header::new(0, 0, Flags::ACK);
        assert_eq!(header.emit_between(address, address, b"x", &mut out), Err(TooShort));
        assert_eq!(out, [0; 40]);
    }
}
