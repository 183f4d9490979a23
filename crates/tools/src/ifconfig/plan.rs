//! From the words after an interface's name to what shall be done, in the order in which NetBSD's ifconfig does it.
//!
//! All words are read before anything is asked of the kernel, so that a mistake among them changes nothing.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rumpnet_proto::{Capabilities, CreateOptions, InterfaceFlags, Media};
use rumpnet_wire::{ethernet, ip::Cidr};

use super::definition::{Family, Keyword, Meaning, keyword, usage};
use crate::failure::Failure;

/// What shall become of an interface.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Something that no interface here has was asked for.
    pub(super) absent: Option<&'static str>,
    pub(super) create: Option<CreateOptions>,
    pub(super) destroy: bool,
    /// Flags, MTU, metric and link string, in the order of the words.
    pub(super) steps: Vec<Step>,
    /// Done after the other steps.
    pub(super) media: Option<Media>,
    pub(super) address: Option<AddressStep>,
    pub(super) enable: Capabilities,
    pub(super) disable: Capabilities,
    pub(super) notes: Vec<&'static str>,
    /// The family that was named, to limit what is shown.
    pub(super) family: Option<Family>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Flag(InterfaceFlags, bool),
    Mtu(u32),
    Metric(u32),
    /// None takes the string away.
    LinkString(Option<String>),
}

/// What shall happen to an address; at most one in an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AddressStep {
    Add(Addition),
    Delete(Option<IpAddr>),
    AddLink { address: ethernet::Address, active: bool },
    DeleteLink(ethernet::Address),
}

/// An address to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Addition {
    pub(super) address: IpAddr,
    pub(super) prefix_len: Option<u8>,
    /// The second address: a mask where the link can broadcast, the far end elsewhere.
    pub(super) mask_or_peer: Option<IpAddr>,
    pub(super) broadcast: Option<IpAddr>,
    pub(super) alias: bool,
}

impl Plan {
    /// Whether nothing is to be changed: the interface is to be shown.
    pub(super) fn is_empty(&self) -> bool {
        let unchanged = Self { family: self.family, ..Self::default() };
        *self == unchanged
    }
}

/// What has been read so far of the address.
#[derive(Default)]
struct Draft<'a> {
    /// The words that are no keywords: address, mask or peer, broadcast.
    positional: Vec<&'a str>,
    prefix_len: Option<u8>,
    broadcast: Option<IpAddr>,
    host_end: Option<String>,
    alias: bool,
    delete: bool,
    active: bool,
}

/// A usage error.
pub(super) fn wrong(message: impl Into<String>) -> Failure {
    Failure::Usage { message: message.into(), usage: usage() }
}

/// Reads the words after the name of an interface.
pub(super) fn parse(words: &[&str]) -> Result<Plan, Failure> {
    let (mut plan, mut draft) = (Plan::default(), Draft::default());
    let mut rest = words.iter().copied();
    while let Some(word) = rest.next() {
        match keyword(word) {
            Some((keyword, positive)) => {
                let arguments = take_arguments(keyword, &mut rest)?;
                take_keyword(&mut plan, &mut draft, keyword, positive, &arguments)?;
            }
            None if draft.positional.len() < 3 && looks_like_address(word, plan.family) => {
                draft.positional.push(word);
            }
            None => return Err(wrong(format!("{word}: neither a parameter nor an address"))),
        }
    }
    if plan.destroy && words.len() > 1 {
        return Err(wrong("destroy: takes no other parameters"));
    }
    finish(plan, draft)
}

fn take_arguments<'a>(
    keyword: &Keyword,
    rest: &mut impl Iterator<Item = &'a str>,
) -> Result<Vec<&'a str>, Failure> {
    let missing = |name: &&str| wrong(format!("{}: {name} is missing", keyword.name));
    keyword.arguments.iter().map(|name| rest.next().ok_or_else(|| missing(name))).collect()
}

/// Whether a word may stand where addresses stand; what it is exactly is judged once the family is known.
fn looks_like_address(word: &str, family: Option<Family>) -> bool {
    let address = word.split_once('/').map_or(word, |(address, _)| address);
    match family {
        Some(Family::Link) => word.parse::<ethernet::Address>().is_ok(),
        _ => address.parse::<IpAddr>().is_ok() || parse_mask(word).is_some(),
    }
}

fn take_keyword(
    plan: &mut Plan,
    draft: &mut Draft<'_>,
    keyword: &Keyword,
    positive: bool,
    arguments: &[&str],
) -> Result<(), Failure> {
    let argument = arguments.first().copied().unwrap_or_default();
    match keyword.meaning {
        Meaning::Create => plan.create = Some(CreateOptions::default()),
        Meaning::HostEnd => draft.host_end = Some(argument.into()),
        Meaning::Destroy => plan.destroy = true,
        Meaning::Family(family) if plan.family.is_some_and(|other| other != family) => {
            return Err(wrong(format!("{}: one family at a time", family.name())));
        }
        Meaning::Family(family) => plan.family = Some(family),
        Meaning::Netmask => {
            let mask =
                parse_mask(argument).ok_or_else(|| wrong(format!("netmask {argument}: not a mask")))?;
            set_prefix_len(draft, mask_len(mask)?)?;
        }
        Meaning::PrefixLen => {
            let len = argument.parse().map_err(|_| wrong(format!("prefixlen {argument}: not a number")))?;
            set_prefix_len(draft, len)?;
        }
        Meaning::Broadcast => {
            let address = argument.parse().map_err(|_| not_an_address(argument))?;
            draft.broadcast = Some(address);
        }
        Meaning::Alias => draft.alias = true,
        Meaning::Delete => draft.delete = true,
        Meaning::Active => draft.active = true,
        Meaning::Flag(flag, set) => plan.steps.push(Step::Flag(flag, set == positive)),
        Meaning::Mtu => {
            let mtu: i32 = number("mtu", argument)?;
            // No link takes so large an MTU: the kernel refuses it as it refuses any other that is out of range.
            plan.steps.push(Step::Mtu(u32::try_from(mtu).unwrap_or(u32::MAX)));
        }
        Meaning::Metric => plan.steps.push(Step::Metric(number("metric", argument)?)),
        Meaning::Capability(bits) => {
            let (wanted, unwanted) = if positive {
                (&mut plan.enable, &mut plan.disable)
            } else {
                (&mut plan.disable, &mut plan.enable)
            };
            // Of two words about the same, the last counts.
            wanted.insert(bits);
            unwanted.remove(bits);
        }
        Meaning::LinkString => plan.steps.push(Step::LinkString(Some(argument.into()))),
        Meaning::NoLinkString => plan.steps.push(Step::LinkString(None)),
        Meaning::Media => plan.media = Some(parse_media(argument)?),
        Meaning::Trailers => plan.notes.push("Note: trailers are no longer sent, but always received"),
        Meaning::Absent(text) => plan.absent = plan.absent.or(Some(text)),
    }
    Ok(())
}

/// The media of a bus; `autoselect` is their long name for `auto`.
fn parse_media(word: &str) -> Result<Media, Failure> {
    match word {
        "auto" | "autoselect" => Ok(Media::Auto),
        "none" => Ok(Media::None),
        _ => Err(Failure::Refused(format!("unknown Ethernet media subtype: {word}"))),
    }
}

fn number<T: core::str::FromStr>(what: &str, word: &str) -> Result<T, Failure> {
    word.parse().map_err(|_| wrong(format!("{what} {word}: not a number in range")))
}

fn set_prefix_len(draft: &mut Draft<'_>, len: u8) -> Result<(), Failure> {
    match draft.prefix_len.replace(len) {
        Some(before) if before != len => Err(wrong(format!("two masks: /{before} and /{len}"))),
        _ => Ok(()),
    }
}

/// A mask, dotted or hexadecimal.
fn parse_mask(word: &str) -> Option<Ipv4Addr> {
    let hexadecimal = |digits: &str| u32::from_str_radix(digits, 16).ok().map(Ipv4Addr::from);
    word.strip_prefix("0x").map_or_else(|| word.parse().ok(), hexadecimal)
}

/// The length of the prefix that a mask describes; a mask with holes describes none.
pub(super) fn mask_len(mask: Ipv4Addr) -> Result<u8, Failure> {
    let cidr = Cidr::from_netmask(Ipv4Addr::UNSPECIFIED.into(), mask.into());
    let holes = || Failure::Refused(format!("netmask {mask}: Invalid argument (it has holes)"));
    cidr.map(|cidr| cidr.prefix_len()).ok_or_else(holes)
}

fn not_an_address(word: &str) -> Failure {
    wrong(format!("{word}: not an address (names are not looked up)"))
}

/// Puts the address together once all words are read.
fn finish(mut plan: Plan, draft: Draft<'_>) -> Result<Plan, Failure> {
    if draft.host_end.is_some() && plan.create.is_none() {
        return Err(wrong("hostend: only with create"));
    }
    plan.address = match plan.family.unwrap_or(Family::Inet) {
        Family::Link => link_step(&draft)?,
        family => inet_step(family, &draft)?,
    };
    if let Some(create) = &mut plan.create {
        create.host_end = draft.host_end;
        // An address in use from the first moment is asked for at birth.
        if let Some(AddressStep::AddLink { address, active: true }) = plan.address {
            create.link_address = Some(address);
            plan.address = None;
        }
    }
    Ok(plan)
}

fn link_step(draft: &Draft<'_>) -> Result<Option<AddressStep>, Failure> {
    if draft.prefix_len.is_some() || draft.broadcast.is_some() || draft.positional.len() > 1 {
        return Err(wrong("link: takes one address, without mask or broadcast"));
    }
    let Some(word) = draft.positional.first() else {
        return match (draft.active, draft.delete, draft.alias) {
            (false, false, false) => Ok(None),
            _ => Err(wrong("link: the address is missing")),
        };
    };
    let address = word.parse().map_err(|_| not_an_address(word))?;
    if draft.delete {
        return Ok(Some(AddressStep::DeleteLink(address)));
    }
    Ok(Some(AddressStep::AddLink { address, active: draft.active }))
}

fn inet_step(family: Family, draft: &Draft<'_>) -> Result<Option<AddressStep>, Failure> {
    if draft.active {
        return Err(wrong("active: only with link"));
    }
    let Some(word) = draft.positional.first() else {
        return match (draft.delete, draft.prefix_len.is_some() || draft.broadcast.is_some() || draft.alias) {
            // Only IPv4 has a first address that can go unnamed.
            (true, false) if family == Family::Inet => Ok(Some(AddressStep::Delete(None))),
            (false, false) => Ok(None),
            _ => Err(wrong("the address is missing")),
        };
    };
    let (address, in_word) = parse_address(word, family)?;
    if draft.delete {
        return Ok(Some(AddressStep::Delete(Some(address))));
    }
    if let (Some(one), Some(other)) = (in_word, draft.prefix_len)
        && one != other
    {
        return Err(wrong(format!("two masks: /{one} and /{other}")));
    }
    let second = draft.positional.get(1).copied();
    let mask_or_peer = second.map(|word| parse_second(word, family)).transpose()?;
    let third = draft.positional.get(2).copied();
    let third = third.map(|word| word.parse().map_err(|_| not_an_address(word))).transpose()?;
    let prefix_len = in_word.or(draft.prefix_len);
    check_len(address, prefix_len)?;
    let (broadcast, alias) = (draft.broadcast.or(third), draft.alias);
    Ok(Some(AddressStep::Add(Addition { address, prefix_len, mask_or_peer, broadcast, alias })))
}

/// An address of the family, with the length of its prefix if it has one.
fn parse_address(word: &str, family: Family) -> Result<(IpAddr, Option<u8>), Failure> {
    let (address, len) = word.split_once('/').map_or((word, None), |(address, len)| (address, Some(len)));
    let bad = |_| not_an_address(address);
    let address = match family {
        Family::Inet6 => address.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(bad)?,
        _ => address.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(bad)?,
    };
    let len: Option<u8> = len.map(|len| number("prefix length", len)).transpose()?;
    check_len(address, len)?;
    Ok((address, len))
}

/// As NetBSD's ifconfig refuses a prefix that is longer than the address: its AF_INET is 2, its AF_INET6 24.
fn check_len(address: IpAddr, len: Option<u8>) -> Result<(), Failure> {
    let (number, width) = if address.is_ipv4() { (2, 32) } else { (24, 128) };
    match len {
        Some(len) if len > width => {
            let message = format!("paddr_match: prefixlen_to_mask({number}, {len}): Invalid argument");
            Err(Failure::Refused(message))
        }
        _ => Ok(()),
    }
}

fn parse_second(word: &str, family: Family) -> Result<IpAddr, Failure> {
    let mask = if family == Family::Inet { parse_mask(word).map(IpAddr::V4) } else { None };
    mask.or_else(|| word.parse().ok()).ok_or_else(|| not_an_address(word))
}

#[cfg(test)]
mod tests;
