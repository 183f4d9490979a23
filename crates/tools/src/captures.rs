//! Captures as other programs write them: classic pcap and pcapng, of either order of octets and any resolution of time.
//!
//! What this project writes itself is in `rumpnet_wire::pcapng`; here is what has to be read of anybody's files, and the classic form that
//! NetBSD's shmif_dumpbus(1) writes. A file is input: nothing in it is believed before it was looked at.

use core::fmt;

/// A packet of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// When it was captured: nanoseconds since 1970.
    pub time_ns: u64,
    /// What it begins with: a LINKTYPE_ number of tcpdump.org, 1 for Ethernet.
    pub link_type: u16,
    /// Its octets before it was cut.
    pub original_len: u32,
    /// What was captured.
    pub data: &'a [u8],
}

/// Why a file is no capture, or where it stops being one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The octet at which it was noticed.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at octet {})", self.what, self.at)
    }
}

impl core::error::Error for Fault {}

/// The packets of a capture, in its order; ends after the first fault.
pub struct Packets<'a> {
    fields: Fields<'a>,
    format: Format,
    ended: bool,
}

enum Format {
    Pcap { link_type: u16, nanoseconds: bool },
    Pcapng { interfaces: Vec<Interface> },
}

/// An interface of a pcapng section.
struct Interface {
    link_type: u16,
    snap_len: u32,
    /// `if_tsresol`.
    resolution: u8,
    /// Seconds to be added to times.
    offset: i64,
}

/// Octets of the longest packet that is believed in: the most that libpcap takes for any link but USB.
const MAX_PACKET: u32 = 262_144;

/// The first four octets of each format; those of classic pcap tell the order of octets and the unit of time.
mod magic {
    pub(super) const MICROSECONDS: u32 = 0xa1b2_c3d4;
    pub(super) const NANOSECONDS: u32 = 0xa1b2_3c4d;
    pub(super) const SECTION: u32 = 0x0a0d_0d0a;
    pub(super) const BYTE_ORDER: u32 = 0x1a2b_3c4d;
}

/// Reads a capture.
pub fn packets(file: &[u8]) -> Result<Packets<'_>, Fault> {
    let mut fields = Fields { bytes: file, at: 0, big: false };
    let first = fields.u32()?;
    if first == magic::SECTION {
        fields.at = 0;
        return Ok(Packets { fields, format: Format::Pcapng { interfaces: Vec::new() }, ended: false });
    }
    let nanoseconds = match (first, first.swap_bytes()) {
        (magic::MICROSECONDS, _) => false,
        (magic::NANOSECONDS, _) => true,
        (_, magic::MICROSECONDS) => {
            fields.big = true;
            false
        }
        (_, magic::NANOSECONDS) => {
            fields.big = true;
            true
        }
        _ => return Err(Fault { at: 0, what: "neither pcap nor pcapng" }),
    };
    // Version, time zone, accuracy, snap length.
    fields.take(16)?;
    let link_type = fields.u32()? as u16;
    Ok(Packets { fields, format: Format::Pcap { link_type, nanoseconds }, ended: false })
}

impl<'a> Packets<'a> {
    fn next_packet(&mut self) -> Result<Option<Packet<'a>>, Fault> {
        match &mut self.format {
            Format::Pcap { link_type, nanoseconds } => {
                next_classic(&mut self.fields, *link_type, *nanoseconds).map(Some)
            }
            Format::Pcapng { interfaces } => next_block(&mut self.fields, interfaces),
        }
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended && self.fields.at < self.fields.bytes.len() {
            let next = self.next_packet();
            self.ended = next.is_err();
            if let Some(packet) = next.transpose() {
                return Some(packet);
            }
        }
        None
    }
}

fn next_classic<'a>(fields: &mut Fields<'a>, link_type: u16, nanoseconds: bool) -> Result<Packet<'a>, Fault> {
    let (seconds, fraction) = (fields.u32()?, fields.u32()?);
    let (captured, original_len) = (fields.u32()?, fields.u32()?);
    let unit = if nanoseconds { 1 } else { 1000 };
    let time_ns = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * unit;
    Ok(Packet { time_ns, link_type, original_len, data: fields.take_packet(captured)? })
}

/// The packet of the next block, if it is of a kind that has one.
fn next_block<'a>(
    fields: &mut Fields<'a>,
    interfaces: &mut Vec<Interface>,
) -> Result<Option<Packet<'a>>, Fault> {
    let start = fields.at;
    let kind = fields.u32()?;
    if kind == magic::SECTION {
        fields.big = is_big(fields.bytes.get(start + 8..start + 12), start)?;
        interfaces.clear();
    }
    let len = fields.u32()? as usize;
    let end =
        start.checked_add(len).filter(|end| len >= 12 && len.is_multiple_of(4) && *end <= fields.bytes.len());
    let end = end.ok_or(Fault { at: start, what: "a block of an impossible length" })?;
    let mut body = Fields { bytes: &fields.bytes[..end - 4], at: start + 8, big: fields.big };
    fields.at = end;
    match kind {
        1 => {
            interfaces.push(parse_interface(&mut body)?);
            Ok(None)
        }
        2 => {
            let number = u32::from(body.u16()?);
            body.take(2)?;
            packet_of(&mut body, interfaces, number).map(Some)
        }
        3 => simple_packet(&mut body, interfaces).map(Some),
        6 => {
            let number = body.u32()?;
            packet_of(&mut body, interfaces, number).map(Some)
        }
        _ => Ok(None),
    }
}

fn is_big(order: Option<&[u8]>, at: usize) -> Result<bool, Fault> {
    let order: [u8; 4] = order
        .and_then(|order| order.try_into().ok())
        .ok_or(Fault { at, what: "a section that is cut off" })?;
    match (u32::from_le_bytes(order), u32::from_be_bytes(order)) {
        (magic::BYTE_ORDER, _) => Ok(false),
        (_, magic::BYTE_ORDER) => Ok(true),
        _ => Err(Fault { at, what: "a section of an unknown order of octets" }),
    }
}

fn parse_interface(body: &mut Fields<'_>) -> Result<Interface, Fault> {
    let link_type = body.u16()?;
    body.take(2)?;
    let mut interface = Interface { link_type, snap_len: body.u32()?, resolution: 6, offset: 0 };
    while body.at < body.bytes.len() {
        let (code, len) = (body.u16()?, usize::from(body.u16()?));
        let value = body.take(len)?;
        // What fills up an option may be missing from the last.
        body.at = body.at.next_multiple_of(4).min(body.bytes.len());
        match (code, value) {
            (0, _) => break,
            (9, [resolution, ..]) => interface.resolution = *resolution,
            (14, value) => {
                let bytes = value.try_into().map_err(|_| body.fault("a time offset that is none"))?;
                interface.offset =
                    if body.big { i64::from_be_bytes(bytes) } else { i64::from_le_bytes(bytes) };
            }
            _ => {}
        }
    }
    Ok(interface)
}

fn packet_of<'a>(body: &mut Fields<'a>, interfaces: &[Interface], number: u32) -> Result<Packet<'a>, Fault> {
    let (high, low) = (body.u32()?, body.u32()?);
    let (captured, original_len) = (body.u32()?, body.u32()?);
    let interface = find(body, interfaces, number)?;
    let time_ns = interface.nanoseconds(u64::from(high) << 32 | u64::from(low));
    Ok(Packet { time_ns, link_type: interface.link_type, original_len, data: body.take_packet(captured)? })
}

/// A packet without a time, of the first interface.
fn simple_packet<'a>(body: &mut Fields<'a>, interfaces: &[Interface]) -> Result<Packet<'a>, Fault> {
    let original_len = body.u32()?;
    let interface = find(body, interfaces, 0)?;
    let limit = if interface.snap_len == 0 { u32::MAX } else { interface.snap_len };
    let data = body.take_packet(original_len.min(limit))?;
    Ok(Packet { time_ns: 0, link_type: interface.link_type, original_len, data })
}

fn find<'a>(body: &Fields<'_>, interfaces: &'a [Interface], number: u32) -> Result<&'a Interface, Fault> {
    interfaces
        .get(number as usize)
        .ok_or_else(|| body.fault("a packet of an interface that was not described"))
}

impl Interface {
    /// A time of this interface; one that is out of all range becomes the last there is.
    fn nanoseconds(&self, ticks: u64) -> u64 {
        let (ticks, exponent) = (u128::from(ticks), u32::from(self.resolution & 0x7f));
        let units = if self.resolution & 0x80 == 0 {
            10_u128.checked_pow(exponent)
        } else {
            1_u128.checked_shl(exponent)
        };
        // With units that fine every time is zero.
        let nanoseconds = units.map_or(0, |units| ticks * 1_000_000_000 / units);
        let offset = i128::from(self.offset) * 1_000_000_000;
        (nanoseconds as i128).saturating_add(offset).clamp(0, u64::MAX.into()) as u64
    }
}

/// Numbers of either order of octets, taken from the front.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl<'a> Fields<'a> {
    const fn fault(&self, what: &'static str) -> Fault {
        Fault { at: self.at, what }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let taken = self.at.checked_add(len).and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| self.fault("it is cut off"))?;
        self.at += len;
        Ok(taken)
    }

    fn take_packet(&mut self, len: u32) -> Result<&'a [u8], Fault> {
        if len > MAX_PACKET {
            return Err(self.fault("a packet of an impossible length"));
        }
        self.take(len as usize)
    }

    fn u16(&mut self) -> Result<u16, Fault> {
        let bytes = self.take(2)?.try_into().expect("two octets were taken");
        Ok(if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn u32(&mut self) -> Result<u32, Fault> {
        let bytes = self.take(4)?.try_into().expect("four octets were taken");
        Ok(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }
}

/// What a classic capture of Ethernet frames begins with: microseconds, version 2.4.
pub fn classic_header(snap_len: u32) -> [u8; 24] {
    let mut header = [0; 24];
    header[..4].copy_from_slice(&magic::MICROSECONDS.to_le_bytes());
    header[4..8].copy_from_slice(&[2, 0, 4, 0]);
    header[16..20].copy_from_slice(&snap_len.to_le_bytes());
    header[20] = 1;
    header
}

/// What stands before a packet in a classic capture.
pub fn classic_record(time_ns: u64, len: u32) -> [u8; 16] {
    // Seconds have 32 bits there, until 2106.
    let (seconds, micros) = ((time_ns / 1_000_000_000) as u32, (time_ns % 1_000_000_000 / 1000) as u32);
    let mut record = [0; 16];
    for (place, number) in record.chunks_exact_mut(4).zip([seconds, micros, len, len]) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    record
}

#[cfg(test)]
mod tests;
