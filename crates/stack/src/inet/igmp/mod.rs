//! Multicast groups of IPv4: who here is in which, what comes in for them, and IGMP, by which routers and switches learn of it
//! (RFC 1112, RFC 2236, RFC 3376 host side).
//!
//! Sockets change their memberships ([`members`]); what an interface wants of a group is the sum of what its sockets want ([`filter`]), and of that each
//! difference is reported ([`group`], [`due`]). Queries are answered after a random delay ([`query`]), in the version that the querier speaks. Work on
//! many groups is done in slices, with a pause between them.
//!
//! Not here: querying, and the forwarding of packets between groups, which are a multicast router's.

mod due;
mod filter;
mod group;
mod members;
mod query;
mod report;
mod speaker;

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::net::{IpAddr, Ipv4Addr};

use hashbrown::HashMap;
use rumpnet_proto::{DropReason, GroupReport, InterfaceFlags, LinkKind, LinkState, SourceFilter};
use rumpnet_wire::ethernet;

use super::Inet;
use crate::{
    context::Context,
    link::{Link, interface::Interface},
    random::{Random, TableHasher},
    time::Instant,
};
use group::Group;
use members::Members;
use speaker::Speaker;

/// The group that every IPv4 host is in, and of which no report is made (RFC 1112 section 4, RFC 3376 section 5).
pub(crate) const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);

/// All groups of a kernel.
pub(crate) struct Multicast {
    /// By interface and address.
    groups: HashMap<(u32, Ipv4Addr), Group, TableHasher>,
    /// The same in order, for dumps and for answers about all of them.
    order: BTreeSet<(u32, Ipv4Addr)>,
    /// What is spoken on each interface where anything was.
    speakers: BTreeMap<u32, Box<Speaker>>,
    members: Members,
}

impl Multicast {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            groups: HashMap::with_hasher(random.table_hasher()),
            order: BTreeSet::new(),
            speakers: BTreeMap::new(),
            members: Members::new(random.table_hasher()),
        }
    }

    /// Whether there is room for a group, or it is there.
    fn has_room(&self, cx: &Context, key: (u32, Ipv4Addr)) -> bool {
        self.groups.len() < cx.config.groups as usize || self.groups.contains_key(&key)
    }

    /// Whether anybody here is in a group by an interface.
    pub(crate) fn is_joined(&self, interface: u32, group: Ipv4Addr) -> bool {
        self.groups.get(&(interface, group)).is_some_and(Group::is_joined)
    }

    /// Why a packet to a group is not taken, if it is not. Queries are about sources, not from them, so that their own source does not matter.
    pub(crate) fn determine_refusal(
        &self,
        (interface, group): (u32, Ipv4Addr),
        source: Option<Ipv4Addr>,
    ) -> Option<DropReason> {
        match self.groups.get(&(interface, group)) {
            Some(found) if found.is_joined() => {
                let unwanted = source.is_some_and(|source| !found.merged.admits(source));
                unwanted.then_some(DropReason::Ipv4GroupSourceFiltered)
            }
            _ => Some(DropReason::Ipv4GroupNotJoined),
        }
    }

    /// Whether work waits that every call does a part of.
    pub(crate) fn has_leaving(&self) -> bool {
        self.members.has_leaving()
    }

    fn group_mut(&mut self, key: (u32, Ipv4Addr)) -> &mut Group {
        self.order.insert(key);
        self.groups.entry(key).or_default()
    }

    fn remove(&mut self, key: (u32, Ipv4Addr)) {
        self.groups.remove(&key);
        self.order.remove(&key);
    }
}

impl Inet {
    /// A new interface: it is in the group of all hosts.
    pub(crate) fn join_all_hosts(&mut self, cx: &mut Context, link: &mut Link, interface: u32) {
        self.change_group(cx, link, (interface, ALL_HOSTS), None, Some(&SourceFilter::everything()));
    }

    /// Somebody wants `after` of a group where he wanted `before`: the link's filter follows, and routers are to be told.
    fn change_group(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        key: (u32, Ipv4Addr),
        before: Option<&SourceFilter>,
        after: Option<&SourceFilter>,
    ) {
        if before.is_none() && after.is_none() {
            return;
        }
        let group = self.multicast.group_mut(key);
        let (was_joined, merged) = (group.is_joined(), group.merged.filter());
        after.into_iter().for_each(|filter| group.merged.add(filter));
        before.into_iter().for_each(|filter| group.merged.remove(filter));
        let is_joined = group.is_joined();
        if let Some(interface) = link.interfaces.by_index_mut(key.0).filter(|_| was_joined != is_joined) {
            interface.pass(ethernet::Address::multicast_v4(key.1), is_joined);
        }
        self.tell_change(cx, link, key, &merged);
    }

    /// What an interface wants of a group is no longer what it was: routers are told from now on, if there is anybody to tell.
    fn tell_change(&mut self, cx: &mut Context, link: &Link, key: (u32, Ipv4Addr), before: &SourceFilter) {
        let (index, address) = key;
        let interface = link.interfaces.by_index(index);
        let now = cx.now;
        let Multicast { groups, speakers, .. } = &mut self.multicast;
        let Some(group) = groups.get_mut(&key) else { return };
        let told = interface.filter(|interface| speaks_igmp(interface) && address != ALL_HOSTS);
        let speaker = told.map(|interface| {
            speakers.entry(index).or_insert_with(|| Box::new(Speaker::new(is_present(interface), now)))
        });
        match speaker.filter(|speaker| speaker.present) {
            Some(speaker) => {
                speaker.note_change((address, group), before, now);
                self.arm_speaker(cx, index);
            }
            None if !group.is_joined() => self.multicast.remove(key),
            None => {}
        }
    }

    /// A link came or went: groups are reported anew, or nothing is said any more.
    pub(crate) fn on_group_link(&mut self, cx: &mut Context, interface: u32, present: bool) {
        if let Some(speaker) = self.multicast.speakers.get_mut(&interface) {
            speaker.restart(present, cx.now);
            self.arm_speaker(cx, interface);
        }
    }

    /// The address has changed that reports come from: whoever looks at it hears of all groups again.
    pub(crate) fn report_groups_again(&mut self, cx: &mut Context, interface: u32) {
        if let Some(speaker) = self.multicast.speakers.get_mut(&interface).filter(|speaker| speaker.present) {
            speaker.report_all(cx.now);
            self.arm_speaker(cx, interface);
        }
    }

    /// An interface is gone: one more group of it goes, whose members have gone; false if there is none left.
    pub(crate) fn forget_next_group(&mut self, cx: &mut Context, link: &mut Link, interface: u32) -> bool {
        if let Some(speaker) = self.multicast.speakers.remove(&interface) {
            speaker.timer.into_iter().for_each(|timer| {
                cx.timers.cancel(timer);
            });
        }
        if self.forget_next_member_of(cx, link, interface) {
            return true;
        }
        let first = self.multicast.order.range((interface, Ipv4Addr::UNSPECIFIED)..).next().copied();
        let Some(key) = first.filter(|(index, _)| *index == interface) else { return false };
        self.multicast.remove(key);
        true
    }

    /// Up to `limit` groups that somebody is in, after one already seen.
    pub(crate) fn group_reports(
        &self,
        link: &Link,
        after: Option<(u32, IpAddr)>,
        limit: usize,
    ) -> Vec<(u32, GroupReport)> {
        let first = match after {
            Some((index, IpAddr::V4(group))) => core::ops::Bound::Excluded((index, group)),
            Some((index, IpAddr::V6(_))) => core::ops::Bound::Excluded((index, Ipv4Addr::BROADCAST)),
            None => core::ops::Bound::Unbounded,
        };
        let listed = self.multicast.order.range((first, core::ops::Bound::Unbounded));
        listed
            .filter_map(|key| self.group_report(link, *key).map(|report| (key.0, report)))
            .take(limit)
            .collect()
    }

    fn group_report(&self, link: &Link, key: (u32, Ipv4Addr)) -> Option<GroupReport> {
        let group = self.multicast.groups.get(&key).filter(|group| group.is_joined())?;
        let interface = link.interfaces.by_index(key.0)?;
        let SourceFilter { mode, sources } = group.merged.filter();
        let speaker = self.multicast.speakers.get(&key.0);
        Some(GroupReport {
            interface: interface.name,
            group: IpAddr::V4(key.1),
            members: group.merged.members(),
            mode,
            source_count: sources.len() as u32,
            sources: sources.into_iter().take(GroupReport::SOURCES).map(IpAddr::V4).collect(),
            version: speaks_igmp(interface).then(|| speaker.map_or(3, |speaker| speaker.version.number())),
        })
    }
}

/// Whether routers may be on a link to be told of groups.
fn speaks_igmp(interface: &Interface) -> bool {
    !matches!(interface.kind, LinkKind::Loopback) && interface.flags.contains(InterfaceFlags::MULTICAST)
}

fn is_present(interface: &Interface) -> bool {
    interface.is_up() && interface.link_state != LinkState::Down
}

/// A time not before now, at random within a span.
fn within(cx: &mut Context, span: crate::time::Duration) -> Instant {
    let micros = span.as_micros().min(u32::MAX.into()) as u32;
    cx.now
        + crate::time::Duration::from_micros(
            u64::from(cx.random.below(micros.max(1))) + u64::from(micros > 0),
        )
}
