//! IPv4 options (RFC 791 section 3.1, RFC 2113).

use core::fmt;
use core::net::Ipv4Addr;

use crate::bytes::{Inline, ipv4_at, next_option, u16_at};
use crate::{Malformed, TooShort};

/// The options of a header, in their order, kept as they travel.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Options(Inline);

impl Options {
    /// The most octets that a header has room for.
    pub const MAX_LEN: usize = Inline::MAX;
    /// Without any option.
    pub const EMPTY: Self = Self(Inline::EMPTY);

    /// Options from a header; they are judged when iterated.
    #[inline]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TooShort> {
        Inline::copy(bytes).map(Self)
    }

    /// The options as they travel, padded to a multiple of four.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.padded()
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// Adds an option behind the others, or refuses it for lack of room.
    pub fn push(&mut self, option: &IpOption<'_>) -> Result<(), TooShort> {
        let (kind, head, data) = match option {
            IpOption::EndOfList => return self.0.append(&[&[kind::END_OF_LIST]]),
            IpOption::Nop => return self.0.append(&[&[kind::NOP]]),
            IpOption::RecordRoute(route) => (kind::RECORD_ROUTE, &[route.pointer][..], route.slots),
            IpOption::LooseSourceRoute(route) => {
                (kind::LOOSE_SOURCE_ROUTE, &[route.pointer][..], route.slots)
            }
            IpOption::StrictSourceRoute(route) => {
                (kind::STRICT_SOURCE_ROUTE, &[route.pointer][..], route.slots)
            }
            IpOption::Timestamp { pointer, overflow, flag, slots } => {
                let head = [*pointer, overflow << 4 | flag & 15];
                return self.push_parts(kind::TIMESTAMP, &head, slots);
            }
            IpOption::RouterAlert(value) => {
                return self.push_parts(kind::ROUTER_ALERT, &value.to_be_bytes(), &[]);
            }
            IpOption::Unknown { kind, data } => (*kind, &[][..], *data),
        };
        self.push_parts(kind, head, data)
    }

    /// Adds an option of two parts.
    fn push_parts(&mut self, kind: u8, head: &[u8], data: &[u8]) -> Result<(), TooShort> {
        let len = u8::try_from(2 + head.len() + data.len()).map_err(|_| TooShort)?;
        self.0.append(&[&[kind, len], head, data])
    }

    /// The options one by one, up to the end of the list or the first malformed one.
    #[inline]
    pub fn iter(&self) -> OptionsIter<'_> {
        OptionsIter { all: self.as_bytes(), rest: self.as_bytes() }
    }
}

impl<'a> IntoIterator for &'a Options {
    type Item = Result<IpOption<'a>, Malformed>;
    type IntoIter = OptionsIter<'a>;

    fn into_iter(self) -> OptionsIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Iterator over [`Options`].
#[derive(Clone, Debug)]
pub struct OptionsIter<'a> {
    all: &'a [u8],
    rest: &'a [u8],
}

impl OptionsIter<'_> {
    /// Where in the header the next option stands, in octets: the pointer of an ICMP parameter problem.
    pub fn offset(&self) -> usize {
        super::Header::LEN + self.all.len() - self.rest.len()
    }
}

impl<'a> Iterator for OptionsIter<'a> {
    type Item = Result<IpOption<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed =
            next_option(self.rest).and_then(|(kind, data, rest)| Ok((IpOption::parse(kind, data)?, rest)));
        self.rest = match parsed {
            Err(_) | Ok((IpOption::EndOfList, _)) => &[],
            Ok((_, rest)) => rest,
        };
        Some(parsed.map(|(option, _)| option))
    }
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpOption<'a> {
    /// Nothing follows.
    EndOfList,
    /// One octet of padding.
    Nop,
    /// Routers write their addresses here.
    RecordRoute(Route<'a>),
    /// Routers to visit, others allowed between them.
    LooseSourceRoute(Route<'a>),
    /// Routers to visit, and no others.
    StrictSourceRoute(Route<'a>),
    /// Routers write the time here.
    Timestamp {
        /// Where the next router writes, counted from one at the option's first octet.
        pointer: u8,
        /// Routers that found no room, 0 to 15.
        overflow: u8,
        /// 0: times only; 1: addresses and times; 3: times of the given addresses.
        flag: u8,
        /// Room for the entries.
        slots: &'a [u8],
    },
    /// Routers shall look at the packet (RFC 2113).
    RouterAlert(u16),
    /// Any other, without its kind and length octets.
    Unknown {
        /// The whole kind octet.
        kind: u8,
        /// At most 38 octets.
        data: &'a [u8],
    },
}

/// The kind octets, copied flag included (IANA "IP Option Numbers").
pub(super) mod kind {
    pub(in super::super) const END_OF_LIST: u8 = 0;
    pub(in super::super) const NOP: u8 = 1;
    pub(in super::super) const RECORD_ROUTE: u8 = 7;
    pub(in super::super) const TIMESTAMP: u8 = 68;
    pub(in super::super) const LOOSE_SOURCE_ROUTE: u8 = 131;
    pub(in super::super) const STRICT_SOURCE_ROUTE: u8 = 137;
    pub(in super::super) const ROUTER_ALERT: u8 = 148;
}

impl<'a> IpOption<'a> {
    /// The option of a kind with its data.
    fn parse(kind: u8, data: &'a [u8]) -> Result<Self, Malformed> {
        Ok(match kind {
            kind::END_OF_LIST => Self::EndOfList,
            kind::NOP => Self::Nop,
            kind::RECORD_ROUTE => Self::RecordRoute(Route::parse(data)?),
            kind::LOOSE_SOURCE_ROUTE => Self::LooseSourceRoute(Route::parse(data)?),
            kind::STRICT_SOURCE_ROUTE => Self::StrictSourceRoute(Route::parse(data)?),
            kind::TIMESTAMP => match data {
                [pointer, state, slots @ ..] => {
                    Self::Timestamp { pointer: *pointer, overflow: state >> 4, flag: state & 15, slots }
                }
                _ => return Err(Malformed::Option),
            },
            kind::ROUTER_ALERT if data.len() == 2 => Self::RouterAlert(u16_at(data, 0)),
            kind::ROUTER_ALERT => return Err(Malformed::Option),
            _ => Self::Unknown { kind, data },
        })
    }

    /// Whether every fragment carries the option, not the first alone.
    pub const fn is_copied(&self) -> bool {
        match self {
            Self::LooseSourceRoute(_) | Self::StrictSourceRoute(_) | Self::RouterAlert(_) => true,
            Self::Unknown { kind, .. } => *kind & 0x80 != 0,
            _ => false,
        }
    }
}

/// The addresses of a route option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// Where the next address is read or written, counted from one at the option's first octet; 4 is the
    /// first slot.
    pub pointer: u8,
    /// Slots of four octets each.
    pub slots: &'a [u8],
}

impl<'a> Route<'a> {
    fn parse(data: &'a [u8]) -> Result<Self, Malformed> {
        let (&pointer, slots) = data.split_first().ok_or(Malformed::Option)?;
        Ok(Self { pointer, slots })
    }

    /// All slots as addresses, visited or not.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + 'a {
        self.slots.chunks_exact(4).map(|slot| ipv4_at(slot, 0))
    }

    /// The index of the slot that is next, if the route is not used up.
    pub fn next_slot(&self) -> Option<usize> {
        let at = usize::from(self.pointer.checked_sub(4)?);
        (at + 4 <= self.slots.len() && at % 4 == 0).then_some(at / 4)
    }
}
