//! Multicast groups: which of them a socket wants, from whom, by which interface, and what the kernel tells of them.
//!
//! The words are those of RFC 3376 section 2 and of ip(7). Not here: the messages by which routers learn of it, which are in `rumpnet-wire`.

use alloc::{collections::BTreeSet, vec::Vec};
use core::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::InterfaceName;

/// What the sources of a filter are: those wanted, or those not wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FilterMode {
    /// Only these sources.
    #[default]
    Include,
    /// All but these sources.
    Exclude,
}

/// Which sources of a group are wanted (RFC 3376 section 2). The default wants none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFilter {
    /// What the sources are.
    pub mode: FilterMode,
    /// The sources.
    pub sources: BTreeSet<Ipv4Addr>,
}

impl SourceFilter {
    /// Every source is wanted.
    pub const fn everything() -> Self {
        Self { mode: FilterMode::Exclude, sources: BTreeSet::new() }
    }

    /// Only these sources are wanted.
    pub fn include(sources: impl IntoIterator<Item = Ipv4Addr>) -> Self {
        Self { mode: FilterMode::Include, sources: sources.into_iter().collect() }
    }

    /// All but these sources are wanted.
    pub fn exclude(sources: impl IntoIterator<Item = Ipv4Addr>) -> Self {
        Self { mode: FilterMode::Exclude, sources: sources.into_iter().collect() }
    }

    /// Whether what comes from a source is wanted.
    pub fn admits(&self, source: Ipv4Addr) -> bool {
        self.sources.contains(&source) == (self.mode == FilterMode::Include)
    }

    /// Whether no source is wanted, which is the same as not to be a member.
    pub fn is_nothing(&self) -> bool {
        self.mode == FilterMode::Include && self.sources.is_empty()
    }
}

/// How a socket names the interface of a membership.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupInterface {
    /// The one by which the group is reached (INADDR_ANY).
    #[default]
    Unspecified,
    /// The one that has this address.
    Address(Ipv4Addr),
    /// The one with this index.
    Index(u32),
}

impl From<Ipv4Addr> for GroupInterface {
    fn from(address: Ipv4Addr) -> Self {
        if address.is_unspecified() { Self::Unspecified } else { Self::Address(address) }
    }
}

/// A change of a socket's membership in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupChange {
    /// The group.
    pub group: Ipv4Addr,
    /// The interface.
    pub interface: GroupInterface,
    /// What changes.
    pub membership: Membership,
}

/// What changes in a membership, by the names of ip(7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Membership {
    /// IP_ADD_MEMBERSHIP: every source.
    Join,
    /// IP_DROP_MEMBERSHIP: no source any more.
    Leave,
    /// IP_ADD_SOURCE_MEMBERSHIP: this source, too.
    JoinSource(Ipv4Addr),
    /// IP_DROP_SOURCE_MEMBERSHIP: this source no longer.
    LeaveSource(Ipv4Addr),
    /// IP_BLOCK_SOURCE: every source but this one.
    Block(Ipv4Addr),
    /// IP_UNBLOCK_SOURCE: this one again.
    Unblock(Ipv4Addr),
    /// IP_MSFILTER: exactly this.
    Filter(SourceFilter),
}

/// An option of a socket about multicast, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MulticastOption {
    /// IP_MULTICAST_IF: by which interface packets to groups leave, and if it is named by an address, from there.
    Interface(GroupInterface),
    /// IP_MULTICAST_TTL: their time to live; 1 unless it is set. With 0 they do not leave the kernel.
    Ttl(u8),
    /// IP_MULTICAST_LOOP: whether a kernel that is in the group itself gets a copy; so it is unless it is switched off.
    Loop(bool),
    /// IP_MULTICAST_ALL: whether the socket hears groups that it has not joined itself, but another one has; so it is unless it is switched off.
    All(bool),
}

/// The values of these options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MulticastSettings {
    /// The interface chosen, by its index.
    pub interface: Option<u32>,
    /// The address by which it was chosen.
    pub source: Option<Ipv4Addr>,
    /// The time to live of packets to groups.
    pub ttl: u8,
    /// Whether they are looped back.
    pub loops: bool,
    /// Whether groups are heard that others have joined.
    pub all: bool,
}

impl Default for MulticastSettings {
    fn default() -> Self {
        Self { interface: None, source: None, ttl: 1, loops: true, all: true }
    }
}

/// A group that somebody here is in, as ifmcstat(8) and netstat(1) show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupReport {
    /// The interface.
    pub interface: InterfaceName,
    /// The group.
    pub group: IpAddr,
    /// How many are in it: sockets, and the kernel itself.
    pub members: u32,
    /// What the sources are.
    pub mode: FilterMode,
    /// The first of the sources, [`GroupReport::SOURCES`] at most.
    pub sources: Vec<IpAddr>,
    /// How many sources there are.
    pub source_count: u32,
    /// The version of IGMP that is spoken on the interface, 1 to 3; none where nobody is told.
    pub version: Option<u8>,
}

impl GroupReport {
    /// Sources that are told of one group.
    pub const SOURCES: usize = 64;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_admits_what_it_includes_or_does_not_exclude() {
        let (one, two) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        assert!(SourceFilter::include([one]).admits(one) && !SourceFilter::include([one]).admits(two));
        assert!(!SourceFilter::exclude([one]).admits(one) && SourceFilter::exclude([one]).admits(two));
        assert!(SourceFilter::default().is_nothing() && !SourceFilter::everything().is_nothing());
    }

    #[test]
    fn an_unspecified_address_names_no_interface() {
        assert_eq!(GroupInterface::from(Ipv4Addr::UNSPECIFIED), GroupInterface::Unspecified);
        assert_eq!(GroupInterface::from(Ipv4Addr::LOCALHOST), GroupInterface::Address(Ipv4Addr::LOCALHOST));
    }
}
