//! IPv6 extension headers (RFC 8200 section 4) and the walk along their chain.
//!
//! [`Extensions`] yields each header with the octets it holds; [`Extensions::upper`] is what remains. A
//! fragment header ends the walk unless its packet is whole, since what follows is a part of something else.

use crate::bytes::{fixed, put, split, u16_at, u32_at, write};
use crate::ip::Protocol;
use crate::{Malformed, TooShort};

/// A header of options for routers (hop-by-hop) or for the receiver (destination options).
///
/// What follows it in `parse`'s rest is not the next header but the options: see [`OptionsHeader::parse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OptionsHeader {
    /// What follows the options.
    pub next_header: Protocol,
    /// Octets of options: six, and eight more each step, up to 2046.
    pub options_len: u16,
}

/// Octets of an extension header after its first two, from its length in units of eight octets beyond the
/// first eight.
const fn body_len(units: u8) -> usize {
    units as usize * 8 + 6
}

impl OptionsHeader {
    /// Octets in front of the options.
    pub const LEN: usize = 2;

    /// Splits off the header; the rest holds `options_len` octets of options and what comes after them.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let ([next_header, units], rest) = fixed::<{ Self::LEN }>(bytes)?;
        let options_len = body_len(*units);
        if rest.len() < options_len {
            return Err(Malformed::Truncated);
        }
        Ok((Self { next_header: Protocol(*next_header), options_len: options_len as u16 }, rest))
    }

    /// Octets that [`emit`](Self::emit) writes.
    pub const fn header_len(&self) -> usize {
        Self::LEN
    }

    /// The two octets in front of the options.
    pub const fn to_bytes(&self) -> [u8; Self::LEN] {
        [self.next_header.0, (self.options_len.saturating_sub(6) / 8) as u8]
    }

    /// Writes the two octets in front of the options.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, TooShort> {
        write(out, &self.to_bytes())
    }
}

/// A routing header (RFC 8200 section 4.4); the data is the business of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Routing {
    /// What follows the data.
    pub next_header: Protocol,
    /// Octets of data: four, and eight more each step, up to 2044.
    pub data_len: u16,
    /// The kind of route.
    pub kind: u8,
    /// Nodes still to be visited; a receiver ignores an unknown kind if this is zero.
    pub segments_left: u8,
}

impl Routing {
    /// Octets in front of the data.
    pub const LEN: usize = 4;

    /// Splits off the header; the rest holds `data_len` octets of data and what comes after them.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let ([next_header, units, kind, segments_left], rest) = fixed::<{ Self::LEN }>(bytes)?;
        let data_len = body_len(*units) - 2;
        if rest.len() < data_len {
            return Err(Malformed::Truncated);
        }
        let header = Self {
            next_header: Protocol(*next_header),
            data_len: data_len as u16,
            kind: *kind,
            segments_left: *segments_left,
        };
        Ok((header, rest))
    }

    /// Octets that [`emit`](Self::emit) writes.
    pub const fn header_len(&self) -> usize {
        Self::LEN
    }

    /// The four octets in front of the data.
    pub const fn to_bytes(&self) -> [u8; Self::LEN] {
        [self.next_header.0, (self.data_len.saturating_sub(4) / 8) as u8, self.kind, self.segments_left]
    }

    /// Writes the four octets in front of the data.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, TooShort> {
        write(out, &self.to_bytes())
    }
}

/// A fragment header (RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fragment {
    /// What the whole packet's fragmentable part starts with.
    pub next_header: Protocol,
    /// Where this part belongs, in octets: a multiple of eight up to 65528.
    pub offset: u16,
    /// Another fragment follows.
    pub more: bool,
    /// What the fragments of one packet have in common.
    pub identification: u32,
}

impl Fragment {
    /// Octets of the header.
    pub const LEN: usize = 8;

    /// Splits off the header; the rest is the part that this fragment carries.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let (h, rest) = fixed::<{ Self::LEN }>(bytes)?;
        let field = u16_at(h, 2);
        let header = Self {
            next_header: Protocol(h[0]),
            offset: field & !7,
            more: field & 1 != 0,
            identification: u32_at(h, 4),
        };
        Ok((header, rest))
    }

    /// Octets that [`emit`](Self::emit) writes.
    pub const fn header_len(&self) -> usize {
        Self::LEN
    }

    /// The header as it travels.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[0] = self.next_header.0;
        put(&mut out, 2, (self.offset & !7 | u16::from(self.more)).to_be_bytes());
        put(&mut out, 4, self.identification.to_be_bytes());
        out
    }

    /// Writes the header to the front of `out`.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, TooShort> {
        write(out, &self.to_bytes())
    }

    /// Whether the packet is whole after all (an atomic fragment, RFC 6946).
    pub const fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }
}

/// One header of the chain with what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension<'a> {
    /// Options for every router.
    HopByHop(HeaderOptions<'a>),
    /// Options for the receiver.
    DestinationOptions(HeaderOptions<'a>),
    /// A route and its data.
    Routing(Routing, &'a [u8]),
    /// A fragment.
    Fragment(Fragment),
}

/// The chain of extension headers between an IPv6 header and its upper layer.
///
/// The iterator ends at the upper layer or after the first malformed header; [`upper`](Self::upper) and
/// [`offset`](Self::offset) tell where it stands.
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    next: Protocol,
    all: &'a [u8],
    rest: &'a [u8],
    ended: bool,
}

impl<'a> Extensions<'a> {
    /// The chain that starts with `next_header` at the front of `payload`.
    #[inline]
    pub const fn new(next_header: Protocol, payload: &'a [u8]) -> Self {
        Self { next: next_header, all: payload, rest: payload, ended: false }
    }

    /// The protocol and payload at which the iteration stands: the upper layer, once it has ended without an
    /// error and without a fragment of a larger packet.
    #[inline]
    pub const fn upper(&self) -> (Protocol, &'a [u8]) {
        (self.next, self.rest)
    }

    /// Octets of the payload that the iteration has passed.
    #[inline]
    pub const fn offset(&self) -> usize {
        self.all.len() - self.rest.len()
    }

    /// Parses the header at the front, of the kind that its predecessor stated, and moves past it.
    fn step(&mut self) -> Result<Extension<'a>, Malformed> {
        let (extension, next, rest) = match self.next {
            Protocol::ROUTING => {
                let (routing, rest) = Routing::parse(self.rest)?;
                let (data, rest) = split(rest, usize::from(routing.data_len))?;
                (Extension::Routing(routing, data), routing.next_header, rest)
            }
            Protocol::FRAGMENT => {
                let (fragment, rest) = Fragment::parse(self.rest)?;
                self.ended = !fragment.is_atomic();
                (Extension::Fragment(fragment), fragment.next_header, rest)
            }
            kind => {
                let (header, rest) = OptionsHeader::parse(self.rest)?;
                let (options, rest) = split(rest, usize::from(header.options_len))?;
                let options = HeaderOptions(options);
                let extension = match kind {
                    Protocol::HOP_BY_HOP => Extension::HopByHop(options),
                    _ => Extension::DestinationOptions(options),
                };
                (extension, header.next_header, rest)
            }
        };
        (self.next, self.rest) = (next, rest);
        Ok(extension)
    }
}

/// Whether a next header number is one of the extension headers known here.
const fn is_extension(next_header: Protocol) -> bool {
    matches!(
        next_header,
        Protocol::HOP_BY_HOP | Protocol::ROUTING | Protocol::FRAGMENT | Protocol::DESTINATION_OPTIONS
    )
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Result<Extension<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended || !is_extension(self.next) {
            return None;
        }
        let extension = self.step();
        self.ended |= extension.is_err();
        Some(extension)
    }
}

/// The options of a hop-by-hop or destination options header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderOptions<'a>(pub &'a [u8]);

impl<'a> HeaderOptions<'a> {
    /// The options one by one, padding among them, up to the first malformed one.
    pub const fn iter(&self) -> HeaderOptionsIter<'a> {
        HeaderOptionsIter { rest: self.0 }
    }
}

impl<'a> IntoIterator for HeaderOptions<'a> {
    type Item = Result<HeaderOption<'a>, Malformed>;
    type IntoIter = HeaderOptionsIter<'a>;

    fn into_iter(self) -> HeaderOptionsIter<'a> {
        self.iter()
    }
}

/// Iterator over [`HeaderOptions`].
#[derive(Clone, Debug)]
pub struct HeaderOptionsIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for HeaderOptionsIter<'a> {
    type Item = Result<HeaderOption<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = HeaderOption::parse(self.rest);
        self.rest = parsed.map_or(&[], |(_, rest)| rest);
        Some(parsed.map(|(option, _)| option))
    }
}

/// One option of an extension header (RFC 8200 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderOption<'a> {
    /// One octet of padding.
    Pad1,
    /// Two octets of padding and so many more.
    PadN(u8),
    /// Routers shall look at the packet (RFC 2711).
    RouterAlert(u16),
    /// The payload length, where sixteen bits are too few (RFC 2675).
    JumboPayload(u32),
    /// Any other, without its kind and length octets.
    Unknown {
        /// The whole kind octet.
        kind: u8,
        /// Up to 255 octets.
        data: &'a [u8],
    },
}

/// What a node does with an option it does not know (RFC 8200 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnknownAction {
    /// Skip the option.
    Skip,
    /// Discard the packet.
    Discard,
    /// Discard it and report a parameter problem.
    Report,
    /// Discard it and report a parameter problem, unless it was for a group.
    ReportIfUnicast,
}

/// Kinds (IANA "Destination Options and Hop-by-Hop Options").
mod kind {
    pub(super) const PAD1: u8 = 0;
    pub(super) const PADN: u8 = 1;
    pub(super) const ROUTER_ALERT: u8 = 5;
    pub(super) const JUMBO_PAYLOAD: u8 = 0xc2;
}

impl<'a> HeaderOption<'a> {
    /// Splits one option off its header's options.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let (&kind, rest) = bytes.split_first().ok_or(Malformed::Truncated)?;
        if kind == kind::PAD1 {
            return Ok((Self::Pad1, rest));
        }
        let (&len, rest) = rest.split_first().ok_or(Malformed::Option)?;
        let (data, rest) = rest.split_at_checked(usize::from(len)).ok_or(Malformed::Option)?;
        let option = match (kind, len) {
            (kind::PADN, _) => Self::PadN(len),
            (kind::ROUTER_ALERT, 2) => Self::RouterAlert(u16_at(data, 0)),
            (kind::JUMBO_PAYLOAD, 4) => Self::JumboPayload(u32_at(data, 0)),
            (kind::ROUTER_ALERT | kind::JUMBO_PAYLOAD, _) => return Err(Malformed::Option),
            _ => Self::Unknown { kind, data },
        };
        Ok((option, rest))
    }

    /// Octets that [`emit`](Self::emit) writes.
    pub const fn header_len(&self) -> usize {
        match self {
            Self::Pad1 => 1,
            Self::PadN(len) => 2 + *len as usize,
            Self::RouterAlert(_) => 4,
            Self::JumboPayload(_) => 6,
            Self::Unknown { data, .. } => 2 + data.len(),
        }
    }

    /// Writes the option to the front of `out`; data beyond 255 octets cannot be stated and is refused.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, TooShort> {
        let len = self.header_len();
        let out = out.get_mut(..len).ok_or(TooShort)?;
        let data_len = u8::try_from(len.saturating_sub(2)).map_err(|_| TooShort)?;
        match self {
            Self::Pad1 => out[0] = kind::PAD1,
            Self::PadN(_) => {
                out.fill(0);
                put(out, 0, [kind::PADN, data_len]);
            }
            Self::RouterAlert(value) => {
                put(out, 0, [kind::ROUTER_ALERT, data_len]);
                put(out, 2, value.to_be_bytes());
            }
            Self::JumboPayload(octets) => {
                put(out, 0, [kind::JUMBO_PAYLOAD, data_len]);
                put(out, 2, octets.to_be_bytes());
            }
            Self::Unknown { kind, data } => {
                put(out, 0, [*kind, data_len]);
                out[2..].copy_from_slice(data);
            }
        }
        Ok(len)
    }

    /// What a node that does not know the option does.
    pub const fn unknown_action(&self) -> UnknownAction {
        match self {
            Self::Unknown { kind, .. } => match *kind >> 6 {
                0 => UnknownAction::Skip,
                1 => UnknownAction::Discard,
                2 => UnknownAction::Report,
                _ => UnknownAction::ReportIfUnicast,
            },
            _ => UnknownAction::Skip,
        }
    }
}

#[cfg(test)]
mod tests;
