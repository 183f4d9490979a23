//! Segments as values: what came in, checked and read, and the frame of what goes out.

use core::net::{IpAddr, SocketAddr};

use rumpnet_proto::{Counter, DropReason};
use rumpnet_wire::{
    ip::{self, Ecn, Protocol},
    ipv4,
    tcp::{Flags, Header, Options, SackBlocks, Seq, TcpOption, Timestamps},
};

use crate::{
    buffer::{Checksum, Frame, Gso, GsoKind, Offload, Payload, Received},
    context::Context,
    inet::Delivery,
};

/// A segment that came in, without its payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) interface: u32,
    /// Whether its destination is not ours.
    pub(crate) foreign: bool,
    pub(crate) sequence: Seq,
    pub(crate) acknowledgment: Seq,
    pub(crate) flags: Flags,
    /// As it travels, not scaled.
    pub(crate) window: u16,
    /// Of meaning with the flag URG only.
    pub(crate) urgent: u16,
    /// Bytes of payload.
    pub(crate) len: u32,
    /// Payload bytes of each segment of a super-frame.
    pub(crate) gso_size: Option<u16>,
    /// What routers marked.
    pub(crate) ecn: Ecn,
    pub(crate) options: SegmentOptions,
}

/// The options that are understood.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SegmentOptions {
    pub(crate) mss: Option<u16>,
    pub(crate) window_scale: Option<u8>,
    pub(crate) sack_permitted: bool,
    pub(crate) sack: SackBlocks,
    pub(crate) timestamps: Option<Timestamps>,
}

impl Segment {
    /// Bytes of sequence space: payload, SYN and FIN.
    pub(crate) const fn space(&self) -> u32 {
        self.len + self.has(Flags::SYN) as u32 + self.has(Flags::FIN) as u32
    }

    /// The number after its last.
    pub(crate) fn end(&self) -> Seq {
        self.sequence + self.space()
    }

    pub(crate) const fn has(&self, flags: Flags) -> bool {
        self.flags.contains(flags)
    }
}

impl SegmentOptions {
    /// Reads options up to the first malformed one, as other stacks do.
    fn read(options: &Options) -> Self {
        let mut read = Self::default();
        for option in options.iter().map_while(Result::ok) {
            match option {
                TcpOption::MaximumSegmentSize(size) => read.mss = Some(size),
                // A shift above 14 is taken for 14 (RFC 7323 section 2.3).
                TcpOption::WindowScale(shift) => read.window_scale = Some(shift.min(14)),
                TcpOption::SackPermitted => read.sack_permitted = true,
                TcpOption::Sack(blocks) => read.sack = blocks,
                TcpOption::Timestamps(timestamps) => read.timestamps = Some(timestamps),
                _ => {}
            }
        }
        read
    }
}

/// A TCP packet for us, its cursor at the TCP header; left at the payload.
pub(crate) fn receive(
    cx: &mut Context,
    interface: u32,
    network: &ipv4::Header,
    packet: &mut Received,
    foreign: bool,
) -> Option<Delivery> {
    let (source, destination) = (IpAddr::V4(network.source), IpAddr::V4(network.destination));
    match parse(packet, source, destination) {
        Err(reason) => {
            cx.add(Counter::TcpReceived, packet.segments(Header::LEN) as u64);
            cx.drop_received(interface, reason, packet);
            None
        }
        Ok(header) => {
            cx.add(Counter::TcpReceived, packet.segments(header.header_len()) as u64);
            packet.advance(header.header_len());
            Some(Delivery::Tcp(Segment {
                source: SocketAddr::new(source, header.source_port),
                destination: SocketAddr::new(destination, header.destination_port),
                interface,
                foreign,
                sequence: header.sequence,
                acknowledgment: header.acknowledgment,
                flags: header.flags,
                window: header.window,
                urgent: header.urgent,
                len: packet.len() as u32,
                gso_size: packet.offload.gso.map(|gso| gso.size),
                ecn: network.ecn(),
                options: SegmentOptions::read(&header.options),
            }))
        }
    }
}

fn parse(packet: &Received, source: IpAddr, destination: IpAddr) -> Result<Header, DropReason> {
    let (header, _) = Header::parse(packet.bytes()).map_err(|_| DropReason::TcpMalformed)?;
    if packet.offload.checksum == Checksum::Unverified {
        let mut sum = ip::pseudo_header(source, destination, Protocol::TCP, packet.len() as u32);
        packet.slices().for_each(|slice| {
            sum.add(slice);
        });
        if sum.finish() != 0 {
            return Err(DropReason::TcpChecksum);
        }
    }
    if header.source_port == 0 || header.destination_port == 0 {
        return Err(DropReason::TcpMalformed);
    }
    Ok(header)
}

/// What a segment to be sent says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outline {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) sequence: Seq,
    pub(crate) acknowledgment: Seq,
    pub(crate) flags: Flags,
    pub(crate) window: u16,
    pub(crate) urgent: u16,
    pub(crate) options: Options,
}

impl Outline {
    /// The frame, a super-frame if the payload exceeds `mss`; its checksum is partial.
    pub(crate) fn build(&self, payload: Payload, mss: u32) -> Frame {
        let header = Header {
            source_port: self.source.port(),
            destination_port: self.destination.port(),
            sequence: self.sequence,
            acknowledgment: self.acknowledgment,
            flags: self.flags,
            window: self.window,
            checksum: 0,
            urgent: self.urgent,
            options: self.options,
        };
        let header_len = header.header_len();
        let len = header_len + payload.len();
        let pseudo = ip::pseudo_header(self.source.ip(), self.destination.ip(), Protocol::TCP, len as u32);
        let header = Header { checksum: pseudo.fold(), ..header };
        let gso = (payload.len() as u32 > mss).then(|| Gso {
            kind: if self.source.is_ipv4() { GsoKind::Tcp4 } else { GsoKind::Tcp6 },
            size: mss as u16,
            ecn: self.flags.contains(Flags::CWR),
            fixed_identification: false,
        });
        let mut frame = Frame { payload, ..Frame::default() };
        let room = frame.headers.prepend(header_len).expect("the longest TCP header fits an empty frame");
        header.emit(room).expect("the room has the header's length");
        let checksum = Checksum::Partial { start: 0, offset: Header::CHECKSUM_OFFSET as u16 };
        frame.offload = Offload { checksum, gso };
        frame
    }
}
