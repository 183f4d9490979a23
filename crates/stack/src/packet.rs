//! Packet sockets (bpf(4)): what passes an interface, frame by frame, and frames of one's own put on its link.
//!
//! A socket is attached to one interface. It hears what a program of its own wants (BIOCSETF), cut to a length, in one direction or both, and
//! for other stations too if it is promiscuous. What waits is limited (BIOCSBLEN) and charged to the memory of all sockets. Frames on
//! Ethernet are written with their link header (DLT_EN10MB), of which the source is the interface's unless the user says that he writes it
//! (BIOCSHDRCMPLT); on other links packets are written without one (DLT_RAW).

use alloc::vec::Vec;

use bytes::Bytes;
use rumpnet_proto::{Counter, DropReason, Errno, LinkKind};
use rumpnet_wire::ethernet::{self, EtherType};

use crate::{
    Stack,
    bpf::Program,
    buffer::Frame,
    capture::{Captured, Direction, Filter, Wishes},
    context::Context,
    link::{LinkDestination, NO_INTERFACE},
    socket::SocketId,
    time::Instant,
};

/// An option of a packet socket, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketOption {
    /// BIOCPROMISC, and its reverse: whether it sees what is for other stations; ENXIO without an interface.
    Promiscuous(bool),
    /// BIOCIMMEDIATE: whether each packet makes it readable, or only a buffer that is half full. On unless it is switched off.
    Immediate(bool),
    /// BIOCSHDRCMPLT: whether the source address of what it sends is written by its user.
    HeaderComplete(bool),
    /// BIOCSDIRECTION: the one direction that it hears, or both.
    Direction(Option<Direction>),
    /// How many bytes of each packet are kept; EINVAL for 0.
    SnapLength(u32),
    /// BIOCSBLEN: bytes that may wait to be read, brought into its range; EINVAL once it is attached.
    BufferLength(u32),
}

/// What a packet socket has counted (BIOCGSTATS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketStatistics {
    /// Packets that its program was asked about (bs_recv).
    pub received: u64,
    /// Of these, packets that it wanted and had no room for (bs_drop).
    pub dropped: u64,
    /// Of these, packets that it kept (bs_capt).
    pub captured: u64,
}

/// Link types of captures, by their numbers (DLT_EN10MB, DLT_RAW).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum LinkType {
    /// Ethernet frames.
    Ethernet = 1,
    /// IP packets.
    Raw = 12,
}

/// The least that may wait, in bytes (BPF_MINBUFSIZE).
const MIN_BUFFER: u32 = 32;

impl Stack {
    /// open(2) of a packet socket, which is not attached yet. EMFILE beyond the limit of captures.
    pub fn packet_open(&mut self) -> Result<SocketId, Errno> {
        let filter = Filter {
            interface: Some(NO_INTERFACE),
            drops: false,
            snap_len: u32::MAX,
            count: u64::MAX,
            program: None,
            foreign: false,
            direction: None,
        };
        let wishes = Wishes { immediate: true, header_complete: false, promiscuous: false, error: None };
        self.cx.captures.open(filter, Some(wishes)).ok_or(Errno::MFile)
    }

    /// BIOCSETIF: attaches the socket to an interface; what waits and what was counted is forgotten. ENXIO for one that is not there.
    pub fn packet_attach(&mut self, id: SocketId, interface: &str) -> Result<(), Errno> {
        let index = self.interface_index(interface)?;
        let (_, wishes) = self.cx.captures.socket(id)?;
        self.watch(id, false)?;
        let (filter, kept, _) = self.cx.captures.socket_mut(id)?;
        filter.interface = Some(index);
        kept.error = None;
        self.watch(id, wishes.promiscuous)?;
        self.packet_flush(id)
    }

    /// BIOCFLUSH: what waits and what was counted is forgotten.
    pub fn packet_flush(&mut self, id: SocketId) -> Result<(), Errno> {
        self.cx.captures.socket(id)?;
        let Context { captures, memory, config, .. } = &mut self.cx;
        captures.reset(id, (memory, &config.memory));
        Ok(())
    }

    /// BIOCSETF: sets the program that says what is wanted, or none; what waits and what was counted is forgotten.
    pub fn packet_set_filter(&mut self, id: SocketId, program: Option<Program>) -> Result<(), Errno> {
        self.cx.captures.socket_mut(id)?.0.program = program;
        self.packet_flush(id)
    }

    /// Sets an option. EINVAL for an impossible value, ENXIO for what needs an interface.
    pub fn packet_set_option(&mut self, id: SocketId, option: PacketOption) -> Result<(), Errno> {
        let most = self.cx.config.capture_bytes;
        let (filter, wishes, limit) = self.cx.captures.socket_mut(id)?;
        let attached = filter.interface != Some(NO_INTERFACE);
        match option {
            PacketOption::Promiscuous(_) if !attached => return Err(Errno::Nxio),
            PacketOption::Promiscuous(on) => return self.watch(id, on),
            PacketOption::Immediate(on) => wishes.immediate = on,
            PacketOption::HeaderComplete(on) => wishes.header_complete = on,
            PacketOption::Direction(direction) => filter.direction = direction,
            PacketOption::SnapLength(0) => return Err(Errno::Inval),
            PacketOption::SnapLength(bytes) => filter.snap_len = bytes,
            PacketOption::BufferLength(_) if attached => return Err(Errno::Inval),
            PacketOption::BufferLength(bytes) => *limit = bytes.min(most).max(MIN_BUFFER),
        }
        Ok(())
    }

    /// BIOCGBLEN: bytes that may wait to be read.
    pub fn packet_buffer_length(&self, id: SocketId) -> Result<u32, Errno> {
        Ok(self.cx.captures.socket(id)?.0.limit)
    }

    /// BIOCGDLT, and all that BIOCGDLTLIST would list: what frames of its interface begin with. ENXIO without an interface.
    pub fn packet_link_type(&self, id: SocketId) -> Result<LinkType, Errno> {
        let (capture, _) = self.cx.captures.socket(id)?;
        let interface = capture.filter.interface.and_then(|index| self.link.interfaces.by_index(index));
        Ok(match interface.ok_or(Errno::Nxio)?.kind {
            LinkKind::Ethernet => LinkType::Ethernet,
            LinkKind::Ip | LinkKind::Loopback => LinkType::Raw,
        })
    }

    /// BIOCGSTATS.
    pub fn packet_statistics(&self, id: SocketId) -> Result<PacketStatistics, Errno> {
        let (capture, _) = self.cx.captures.socket(id)?;
        Ok(PacketStatistics {
            received: capture.received,
            dropped: capture.overruns,
            captured: capture.captured,
        })
    }

    /// read(2): moves all that waits to `out`, and tells how many packets that is. EAGAIN if there are none, ENXIO without an interface.
    pub fn packet_read(&mut self, id: SocketId, out: &mut Vec<Captured>) -> Result<usize, Errno> {
        let (capture, _) = self.cx.captures.socket(id)?;
        let (waiting, attached) = (capture.waiting(), capture.filter.interface != Some(NO_INTERFACE));
        let (_, wishes, _) = self.cx.captures.socket_mut(id)?;
        match wishes.error.take() {
            Some(errno) if waiting == 0 => return Err(errno),
            None if waiting == 0 => return Err(if attached { Errno::Again } else { Errno::Nxio }),
            _ => {}
        }
        let Context { captures, memory, config, .. } = &mut self.cx;
        captures.read(id, out, (memory, &config.memory));
        Ok(waiting)
    }

    /// write(2): puts a frame on the link. ENXIO without an interface, ENETDOWN if that is down, EMSGSIZE for what exceeds its MTU or has no link header,
    /// ENOBUFS if its queue is full, EAFNOSUPPORT for what is no IP packet where there is no Ethernet.
    pub fn packet_send(&mut self, now: Instant, id: SocketId, frame: Bytes) -> Result<(), Errno> {
        self.enter(now);
        let sent = self.send_packet(id, frame);
        self.leave();
        sent
    }

    fn send_packet(&mut self, id: SocketId, bytes: Bytes) -> Result<(), Errno> {
        let (capture, wishes) = self.cx.captures.socket(id)?;
        let interface = capture.filter.interface.and_then(|index| self.link.interfaces.by_index(index));
        let interface = interface.ok_or(Errno::Nxio)?;
        let (index, mtu) = (interface.index, interface.mtu as usize);
        if !interface.is_up() {
            let frame = Frame { payload: bytes.into(), ..Frame::default() };
            self.cx.drop_sent(index, DropReason::LinkDown, &frame);
            return Err(Errno::NetDown);
        }
        let (to, frame) = match interface.kind {
            LinkKind::Ethernet => {
                let own = interface.link_address.filter(|_| !wishes.header_complete);
                determine_frame(&bytes, mtu, own)?
            }
            LinkKind::Ip | LinkKind::Loopback => determine_packet(&bytes, mtu)?,
        };
        self.link.send_framed(&mut self.cx, index, to, frame)?;
        self.cx.count(Counter::PacketSocketSent);
        Ok(())
    }

    /// close(2).
    pub fn packet_close(&mut self, id: SocketId) -> Result<(), Errno> {
        self.cx.captures.socket(id)?;
        self.watch(id, false)?;
        let Context { captures, memory, config, .. } = &mut self.cx;
        captures.close(id, (memory, &config.memory)).map(drop).ok_or(Errno::BadF)
    }

    /// Holds the socket's interface promiscuous, or lets it be.
    fn watch(&mut self, id: SocketId, on: bool) -> Result<(), Errno> {
        let (filter, wishes, _) = self.cx.captures.socket_mut(id)?;
        let before = core::mem::replace(&mut wishes.promiscuous, on);
        let index = filter.interface.unwrap_or(NO_INTERFACE);
        if let Some(interface) = self.link.interfaces.by_index_mut(index)
            && before != on
        {
            interface.watchers = interface.watchers.saturating_add_signed(if on { 1 } else { -1 });
        }
        Ok(())
    }
}

/// A frame as it goes on an Ethernet link, from `own` if its user does not write the source. EMSGSIZE.
fn determine_frame(
    bytes: &Bytes,
    mtu: usize,
    own: Option<ethernet::Address>,
) -> Result<(LinkDestination, Frame), Errno> {
    let (mut header, _) = ethernet::Header::parse(bytes).map_err(|_| Errno::MsgSize)?;
    if bytes.len() - ethernet::Header::LEN > mtu {
        return Err(Errno::MsgSize);
    }
    header.source = own.unwrap_or(header.source);
    let mut frame = Frame::from_bytes(bytes, 0);
    frame.headers.as_mut_slice()[..ethernet::Header::LEN].copy_from_slice(&header.to_bytes());
    Ok((LinkDestination { address: header.destination, ethertype: header.ethertype }, frame))
}

/// A packet as it goes on a link without Ethernet. EMSGSIZE, EAFNOSUPPORT.
fn determine_packet(bytes: &Bytes, mtu: usize) -> Result<(LinkDestination, Frame), Errno> {
    let ethertype = match bytes.first().map(|first| first >> 4) {
        _ if bytes.len() > mtu => return Err(Errno::MsgSize),
        Some(4) => EtherType::IPV4,
        Some(6) => EtherType::IPV6,
        Some(_) => return Err(Errno::AfNoSupport),
        None => return Err(Errno::MsgSize),
    };
    let to = LinkDestination { address: ethernet::Address::BROADCAST, ethertype };
    Ok((to, Frame::from_bytes(bytes, 0)))
}
