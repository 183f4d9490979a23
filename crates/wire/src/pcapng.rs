//! Captures as pcapng (draft-ietf-opsawg-pcapng): the blocks that a capture is written with, and the same read back.
//!
//! A capture is a [`Section`], an [`Interface`] for each interface before its first packet, then [`Packet`]s, and at its
//! end a [`Statistics`] for each interface. Blocks are appended to anything that takes octets, so that they go down a pipe
//! as well as into a file. Times are nanoseconds always: an interface says so in `if_tsresol`, without which readers
//! take them for microseconds.
//!
//! Reading is for what was written here: little-endian sections, nanoseconds. Other blocks are kept as [`Block::Other`];
//! other options are skipped. What is *not* here: state, files, and which interface has which number.

use crate::Malformed;

/// The type of a link (tcpdump.org's LINKTYPE_ numbers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// Ethernet frames without a check sequence.
    pub const ETHERNET: Self = Self(1);
    /// IPv4 or IPv6 packets without a link header, told apart by their version.
    pub const RAW: Self = Self(101);
}

/// The section header, with which a capture begins (4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Section<'a> {
    /// The machine, `shb_hardware`.
    pub hardware: Option<&'a str>,
    /// The system, `shb_os`.
    pub os: Option<&'a str>,
    /// The program that writes, `shb_userappl`.
    pub application: Option<&'a str>,
}

/// The description of an interface (4.2). Its number is its place among those of the section, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface<'a> {
    /// What its packets begin with.
    pub link_type: LinkType,
    /// Octets kept of each packet; 0 for all.
    pub snap_len: u32,
    /// Its name, `if_name`.
    pub name: Option<&'a str>,
    /// What it is, `if_description`.
    pub description: Option<&'a str>,
    /// Its speed in bits per second, `if_speed`.
    pub speed: Option<u64>,
    /// Seconds to be added to the times of its packets, `if_tsoffset`.
    pub time_offset: Option<i64>,
}

/// Which way a packet went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Not known.
    #[default]
    Unknown,
    /// Received.
    Inbound,
    /// Sent.
    Outbound,
}

/// What is left to the hardware, or was done by it (bits 9 to 11 of `epb_flags`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Offload {
    /// The transport checksum is partial; a reader should not verify it.
    pub checksum_not_ready: bool,
    /// The transport checksum has been verified.
    pub checksum_valid: bool,
    /// A super-frame that TCP segmentation offload will cut, or has joined.
    pub tcp_segmentation: bool,
}

/// A packet (4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The number of its interface.
    pub interface: u32,
    /// When it passed: nanoseconds since 1970, less the interface's `time_offset`.
    pub time_ns: u64,
    /// Its octets before it was cut; `data` has those captured.
    pub original_len: u32,
    /// Which way it went.
    pub direction: Direction,
    /// What its checksum and length mean.
    pub offload: Offload,
    /// Packets lost on the interface since the one before, `epb_dropcount`.
    pub drop_count: Option<u64>,
    /// A remark, such as the reason for which it was dropped.
    pub comment: Option<&'a str>,
    /// What was captured.
    pub data: &'a [u8],
}

/// What has passed an interface (4.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// The number of the interface.
    pub interface: u32,
    /// When this was read, as in [`Packet`].
    pub time_ns: u64,
    /// Packets seen, `isb_ifrecv`.
    pub received: Option<u64>,
    /// Packets accepted by the filter, `isb_filteraccept`.
    pub accepted: Option<u64>,
    /// Packets lost because the reader was slow, `isb_osdrop`.
    pub overruns: Option<u64>,
    /// Packets handed to the reader, `isb_usrdeliv`.
    pub delivered: Option<u64>,
}

/// Any block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block<'a> {
    /// The header of a section.
    Section(Section<'a>),
    /// An interface.
    Interface(Interface<'a>),
    /// A packet.
    Packet(Packet<'a>),
    /// The statistics of an interface.
    Statistics(Statistics),
    /// A block of another type, and its body.
    Other(u32, &'a [u8]),
}

/// Block types (11.1).
mod kind {
    pub(super) const SECTION: u32 = 0x0a0d_0d0a;
    pub(super) const INTERFACE: u32 = 1;
    pub(super) const STATISTICS: u32 = 5;
    pub(super) const PACKET: u32 = 6;
}

/// Option codes; most are numbered anew by each block (3.5, 4.1 to 4.6).
mod code {
    pub(super) const END: u16 = 0;
    pub(super) const COMMENT: u16 = 1;
    pub(super) const SHB_HARDWARE: u16 = 2;
    pub(super) const SHB_OS: u16 = 3;
    pub(super) const SHB_USERAPPL: u16 = 4;
    pub(super) const IF_NAME: u16 = 2;
    pub(super) const IF_DESCRIPTION: u16 = 3;
    pub(super) const IF_SPEED: u16 = 8;
    pub(super) const IF_TSRESOL: u16 = 9;
    pub(super) const IF_TSOFFSET: u16 = 14;
    pub(super) const EPB_FLAGS: u16 = 2;
    pub(super) const EPB_DROPCOUNT: u16 = 4;
    pub(super) const ISB_IFRECV: u16 = 4;
    pub(super) const ISB_FILTERACCEPT: u16 = 6;
    pub(super) const ISB_OSDROP: u16 = 7;
    pub(super) const ISB_USRDELIV: u16 = 8;
}

/// Tells a reader the order of octets.
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// Version 1.0 of the format.
const VERSION: [u16; 2] = [1, 0];
/// A section of unknown length: it ends where the next begins.
const UNKNOWN_LEN: i64 = -1;
/// Times count 10^-9 s.
const NANOSECONDS: u8 = 9;

impl Section<'_> {
    /// Appends the block to `out`.
    pub fn emit(&self, out: &mut impl for<'a> Extend<&'a u8>) {
        emit_block(kind::SECTION, out, |put| {
            put(&BYTE_ORDER_MAGIC.to_le_bytes());
            VERSION.iter().for_each(|half| put(&half.to_le_bytes()));
            put(&UNKNOWN_LEN.to_le_bytes());
            put_text(put, code::SHB_HARDWARE, self.hardware);
            put_text(put, code::SHB_OS, self.os);
            put_text(put, code::SHB_USERAPPL, self.application);
        });
    }
}

impl Interface<'_> {
    /// Appends the block to `out`.
    pub fn emit(&self, out: &mut impl for<'a> Extend<&'a u8>) {
        emit_block(kind::INTERFACE, out, |put| {
            put(&self.link_type.0.to_le_bytes());
            put(&[0, 0]);
            put(&self.snap_len.to_le_bytes());
            put_text(put, code::IF_NAME, self.name);
            put_text(put, code::IF_DESCRIPTION, self.description);
            put_number(put, code::IF_SPEED, self.speed);
            put_option(put, code::IF_TSRESOL, &[NANOSECONDS]);
            put_number(put, code::IF_TSOFFSET, self.time_offset.map(i64::cast_unsigned));
        });
    }
}

impl Packet<'_> {
    /// Appends the block to `out`.
    pub fn emit(&self, out: &mut impl for<'a> Extend<&'a u8>) {
        emit_block(kind::PACKET, out, |put| {
            put(&self.interface.to_le_bytes());
            put_time(put, self.time_ns);
            // Nothing captured is longer than a super-frame, so that its length fits.
            put(&(self.data.len() as u32).to_le_bytes());
            put(&self.original_len.to_le_bytes());
            put(self.data);
            put(padding(self.data.len()));
            put_text(put, code::COMMENT, self.comment);
            put_option(put, code::EPB_FLAGS, &self.flags().to_le_bytes());
            put_number(put, code::EPB_DROPCOUNT, self.drop_count);
        });
    }

    /// `epb_flags` (4.3.1).
    fn flags(&self) -> u32 {
        let direction = match self.direction {
            Direction::Unknown => 0,
            Direction::Inbound => 1,
            Direction::Outbound => 2,
        };
        direction
            | u32::from(self.offload.checksum_not_ready) << 9
            | u32::from(self.offload.checksum_valid) << 10
            | u32::from(self.offload.tcp_segmentation) << 11
    }
}

impl Statistics {
    /// Appends the block to `out`.
    pub fn emit(&self, out: &mut impl for<'a> Extend<&'a u8>) {
        emit_block(kind::STATISTICS, out, |put| {
            put(&self.interface.to_le_bytes());
            put_time(put, self.time_ns);
            put_number(put, code::ISB_IFRECV, self.received);
            put_number(put, code::ISB_FILTERACCEPT, self.accepted);
            put_number(put, code::ISB_OSDROP, self.overruns);
            put_number(put, code::ISB_USRDELIV, self.delivered);
        });
    }
}

/// Where the octets of a block go.
type Put<'a> = &'a mut dyn FnMut(&[u8]);

/// A block around `body`, which is written twice: once to learn its length, which stands before it.
fn emit_block(kind: u32, out: &mut impl for<'a> Extend<&'a u8>, body: impl Fn(Put<'_>)) {
    let mut len = 0;
    body(&mut |bytes| len += bytes.len());
    let end_of_options = [0; 4];
    let total = ((12 + len + end_of_options.len()) as u32).to_le_bytes();
    out.extend(&kind.to_le_bytes());
    out.extend(&total);
    body(&mut |bytes| out.extend(bytes));
    out.extend(&end_of_options);
    out.extend(&total);
}

/// An option, cut to what its length field can say; a text is cut before, between characters.
fn put_option(put: Put<'_>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    put(&code.to_le_bytes());
    put(&(value.len() as u16).to_le_bytes());
    put(value);
    put(padding(value.len()));
}

fn put_text(put: Put<'_>, code: u16, text: Option<&str>) {
    if let Some(text) = text {
        put_option(put, code, &text.as_bytes()[..text.floor_char_boundary(usize::from(u16::MAX))]);
    }
}

fn put_number(put: Put<'_>, code: u16, number: Option<u64>) {
    if let Some(number) = number {
        put_option(put, code, &number.to_le_bytes());
    }
}

/// A time travels as two words, the high one first whatever the order of octets.
fn put_time(put: Put<'_>, time_ns: u64) {
    put(&((time_ns >> 32) as u32).to_le_bytes());
    put(&(time_ns as u32).to_le_bytes());
}

/// What fills `len` octets up to a multiple of four.
fn padding(len: usize) -> &'static [u8] {
    &[0; 3][..len.next_multiple_of(4) - len]
}

impl<'a> Block<'a> {
    /// Splits the first block off `bytes`.
    ///
    /// `Length` if its two lengths differ or cannot be; `Value` for a section of another order of octets or version, or an
    /// interface whose times are not nanoseconds.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let mut reader = Reader(bytes);
        let (kind, total) = (reader.u32()?, reader.u32()?);
        let body_len = total.checked_sub(12).filter(|len| len % 4 == 0).ok_or(Malformed::Length)?;
        let body = reader.take(body_len as usize)?;
        if reader.u32()? != total {
            return Err(Malformed::Length);
        }
        let fields = Reader(body);
        let block = match kind {
            kind::SECTION => Self::Section(parse_section(fields)?),
            kind::INTERFACE => Self::Interface(parse_interface(fields)?),
            kind::PACKET => Self::Packet(parse_packet(fields)?),
            kind::STATISTICS => Self::Statistics(parse_statistics(fields)?),
            other => Self::Other(other, body),
        };
        Ok((block, reader.0))
    }
}

/// The blocks of a capture, one after the other; ends after the first that is malformed.
pub fn blocks(bytes: &[u8]) -> impl Iterator<Item = Result<Block<'_>, Malformed>> {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let parsed = Block::parse(rest);
        rest = parsed.as_ref().map_or(&[], |(_, rest)| rest);
        Some(parsed.map(|(block, _)| block))
    })
}

fn parse_section(mut fields: Reader<'_>) -> Result<Section<'_>, Malformed> {
    let (magic, version) = (fields.u32()?, [fields.u16()?, fields.u16()?]);
    if magic != BYTE_ORDER_MAGIC || version != VERSION {
        return Err(Malformed::Value);
    }
    fields.take(8)?;
    let mut section = Section::default();
    fields.options(|code, value| {
        match code {
            code::SHB_HARDWARE => section.hardware = Some(text(value)?),
            code::SHB_OS => section.os = Some(text(value)?),
            code::SHB_USERAPPL => section.application = Some(text(value)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(section)
}

fn parse_interface(mut fields: Reader<'_>) -> Result<Interface<'_>, Malformed> {
    let link_type = LinkType(fields.u16()?);
    fields.take(2)?;
    let snap_len = fields.u32()?;
    let mut interface =
        Interface { link_type, snap_len, name: None, description: None, speed: None, time_offset: None };
    let mut resolution = None;
    fields.options(|code, value| {
        match code {
            code::IF_NAME => interface.name = Some(text(value)?),
            code::IF_DESCRIPTION => interface.description = Some(text(value)?),
            code::IF_SPEED => interface.speed = Some(number(value)?),
            code::IF_TSRESOL => resolution = value.first().copied(),
            code::IF_TSOFFSET => interface.time_offset = Some(number(value)?.cast_signed()),
            _ => {}
        }
        Ok(())
    })?;
    if resolution == Some(NANOSECONDS) { Ok(interface) } else { Err(Malformed::Value) }
}

fn parse_packet(mut fields: Reader<'_>) -> Result<Packet<'_>, Malformed> {
    let (interface, time_ns) = (fields.u32()?, fields.time()?);
    let (captured, original_len) = (fields.u32()?, fields.u32()?);
    let data = fields.take_padded(captured as usize)?;
    let mut packet = Packet { interface, time_ns, original_len, data, ..Packet::default() };
    fields.options(|code, value| {
        match code {
            code::COMMENT => packet.comment = Some(text(value)?),
            code::EPB_DROPCOUNT => packet.drop_count = Some(number(value)?),
            code::EPB_FLAGS => {
                let flags = u32::from_le_bytes(value.try_into().map_err(|_| Malformed::Option)?);
                packet.direction = match flags & 3 {
                    1 => Direction::Inbound,
                    2 => Direction::Outbound,
                    _ => Direction::Unknown,
                };
                let bit = |number: u32| flags >> number & 1 == 1;
                packet.offload = Offload {
                    checksum_not_ready: bit(9),
                    checksum_valid: bit(10),
                    tcp_segmentation: bit(11),
                };
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(packet)
}

fn parse_statistics(mut fields: Reader<'_>) -> Result<Statistics, Malformed> {
    let (interface, time_ns) = (fields.u32()?, fields.time()?);
    let mut statistics = Statistics { interface, time_ns, ..Statistics::default() };
    fields.options(|code, value| {
        match code {
            code::ISB_IFRECV => statistics.received = Some(number(value)?),
            code::ISB_FILTERACCEPT => statistics.accepted = Some(number(value)?),
            code::ISB_OSDROP => statistics.overruns = Some(number(value)?),
            code::ISB_USRDELIV => statistics.delivered = Some(number(value)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(statistics)
}

fn text(value: &[u8]) -> Result<&str, Malformed> {
    core::str::from_utf8(value).map_err(|_| Malformed::Option)
}

fn number(value: &[u8]) -> Result<u64, Malformed> {
    value.try_into().map(u64::from_le_bytes).map_err(|_| Malformed::Option)
}

/// Little-endian fields, taken from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn take_padded(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let taken = self.take(len)?;
        self.take(padding(len).len())?;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    fn time(&mut self) -> Result<u64, Malformed> {
        let (high, low) = (self.u32()?, self.u32()?);
        Ok(u64::from(high) << 32 | u64::from(low))
    }

    /// Gives each option to `take`, up to the end of the list or of the block.
    fn options(
        &mut self,
        mut take: impl FnMut(u16, &'a [u8]) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        while !self.0.is_empty() {
            let (code, len) = (self.u16()?, self.u16()?);
            if code == code::END {
                break;
            }
            take(code, self.take_padded(usize::from(len))?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
