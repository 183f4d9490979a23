//! Memberships: which socket is in which group by which interface, and wants what from whom (ip(7), RFC 3678).
//!
//! A socket is named by its key, of whatever kind it is. What it has set for its own sending to groups stands here too, so that a
//! socket that does nothing with groups holds nothing for them.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::net::{IpAddr, Ipv4Addr};

use hashbrown::HashMap;
use rumpnet_proto::{
    Errno, FilterMode, GroupChange, GroupInterface, InterfaceFlags, Membership, MulticastOption,
    MulticastSettings, SourceFilter,
};

use crate::{
    context::Context,
    inet::{
        Inet,
        route::{Path, Scope},
        via::Via,
    },
    link::Link,
    random::TableHasher,
    slab::Key,
};

/// Groups that one call leaves of those of closed sockets and gone interfaces, so that it holds no lock for long.
const LEFT_AT_ONCE: usize = 64;

/// A group on an interface, as sockets list theirs.
type Place = (Ipv4Addr, u32);

/// The memberships of all sockets.
pub(super) struct Members {
    sockets: HashMap<Key, Member, TableHasher>,
    /// Every membership, by its interface.
    by_interface: BTreeSet<(u32, Ipv4Addr, Key)>,
    /// Sockets that have chosen an interface for what they send.
    senders: BTreeSet<(u32, Key)>,
    /// The groups of closed sockets, left a few at a time.
    leaving: VecDeque<(Key, BTreeMap<Place, SourceFilter>)>,
}

/// One socket's.
#[derive(Default)]
struct Member {
    settings: MulticastSettings,
    joined: BTreeMap<Place, SourceFilter>,
}

impl Members {
    pub(super) fn new(hasher: TableHasher) -> Self {
        Self {
            sockets: HashMap::with_hasher(hasher),
            by_interface: BTreeSet::new(),
            senders: BTreeSet::new(),
            leaving: VecDeque::new(),
        }
    }

    fn filter(&self, socket: Key, place: Place) -> Option<&SourceFilter> {
        self.sockets.get(&socket)?.joined.get(&place)
    }

    /// Sets, or with none takes away, what a socket wants of a group; returns what it wanted before.
    fn replace(&mut self, socket: Key, place: Place, wanted: Option<SourceFilter>) -> Option<SourceFilter> {
        let (group, interface) = place;
        if let Some(filter) = wanted {
            self.by_interface.insert((interface, group, socket));
            return self.sockets.entry(socket).or_default().joined.insert(place, filter);
        }
        if !self.by_interface.remove(&(interface, group, socket)) {
            return None;
        }
        match self.sockets.get_mut(&socket) {
            Some(member) => {
                let before = member.joined.remove(&place);
                self.tidy(socket);
                before
            }
            None => {
                let mut leaving = self.leaving.iter_mut().filter(|(other, _)| *other == socket);
                leaving.next()?.1.remove(&place)
            }
        }
    }

    /// Forgets a socket that has nothing particular.
    fn tidy(&mut self, socket: Key) {
        let idle =
            |member: &Member| member.joined.is_empty() && member.settings == MulticastSettings::default();
        if self.sockets.get(&socket).is_some_and(idle) {
            self.sockets.remove(&socket);
        }
    }

    fn choose(&mut self, socket: Key, chosen: Option<(u32, Option<Ipv4Addr>)>) {
        let settings = &mut self.sockets.entry(socket).or_default().settings;
        let before = core::mem::replace(&mut settings.interface, chosen.map(|(index, _)| index));
        settings.source = chosen.and_then(|(_, source)| source);
        before.into_iter().for_each(|index| {
            self.senders.remove(&(index, socket));
        });
        chosen.into_iter().for_each(|(index, _)| {
            self.senders.insert((index, socket));
        });
    }

    /// Whether a socket hears what a source sends to a group by an interface: what it has joined by its own filter, what others have joined
    /// unless it does not want that (IP_MULTICAST_ALL).
    fn admits(&self, socket: Key, place: Place, source: Ipv4Addr) -> bool {
        self.sockets.get(&socket).is_none_or(|member| match member.joined.get(&place) {
            Some(filter) => filter.admits(source),
            None => member.settings.all,
        })
    }

    /// Whether groups of closed sockets are still to be left.
    pub(super) fn has_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }
}

impl Inet {
    /// Changes a socket's membership. EINVAL for what is no group or contradicts the filter there is, ENODEV without an interface, EADDRINUSE if joined
    /// already, EADDRNOTAVAIL if not joined or for a source that is (not) there, ENOBUFS beyond a limit.
    pub(crate) fn change_membership(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        socket: Key,
        change: &GroupChange,
    ) -> Result<(), Errno> {
        let place = self.determine_place(link, socket, change)?;
        let members = &self.multicast.members;
        let present = members.filter(socket, place);
        let wanted = determine_wanted(present, &change.membership, cx.config.group_sources as usize)?;
        let joins = present.is_none() && wanted.is_some();
        let joined = members.sockets.get(&socket).map_or(0, |member| member.joined.len());
        if joins
            && (joined >= cx.config.memberships as usize || !self.multicast.has_room(cx, (place.1, place.0)))
        {
            return Err(Errno::NoBufs);
        }
        self.set_membership(cx, link, socket, place, wanted);
        Ok(())
    }

    fn set_membership(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        socket: Key,
        place: Place,
        wanted: Option<SourceFilter>,
    ) {
        let before = self.multicast.members.replace(socket, place, wanted.clone());
        self.change_group(cx, link, (place.1, place.0), before.as_ref(), wanted.as_ref());
    }

    /// What a socket wants of a group. EINVAL for what is no group, ENODEV without an interface, EADDRNOTAVAIL if it is not in it.
    pub(crate) fn source_filter(
        &self,
        link: &Link,
        socket: Key,
        group: Ipv4Addr,
        interface: GroupInterface,
    ) -> Result<SourceFilter, Errno> {
        let index = self.determine_group_interface(link, group, interface)?;
        self.multicast.members.filter(socket, (group, index)).cloned().ok_or(Errno::AddrNotAvail)
    }

    /// The group and the interface that a change is about.
    fn determine_place(&self, link: &Link, socket: Key, change: &GroupChange) -> Result<Place, Errno> {
        let GroupChange { group, interface, membership } = change;
        let found = self.determine_group_interface(link, *group, *interface).map(|index| (*group, index));
        if *membership != Membership::Leave {
            return found;
        }
        let member = self.multicast.members.sockets.get(&socket);
        let is_in = |place: &Place| member.is_some_and(|member| member.joined.contains_key(place));
        // Whoever leaves without saying where leaves where he is; and nobody is where there is nothing.
        let somewhere = *interface == GroupInterface::Unspecified && !found.is_ok_and(|place| is_in(&place));
        let joined = member.filter(|_| somewhere).and_then(|member| {
            member.joined.range((*group, 0)..=(*group, u32::MAX)).next().map(|(place, _)| *place)
        });
        match (joined, found) {
            (Some(place), _) => Ok(place),
            (None, Err(_)) if *interface != GroupInterface::Unspecified || !group.is_multicast() => {
                Err(Errno::AddrNotAvail)
            }
            (None, found) => found,
        }
    }

    /// EINVAL for what is no group, ENODEV without such an interface.
    fn determine_group_interface(
        &self,
        link: &Link,
        group: Ipv4Addr,
        interface: GroupInterface,
    ) -> Result<u32, Errno> {
        if !group.is_multicast() {
            return Err(Errno::Inval);
        }
        let index = match interface {
            GroupInterface::Index(index) => Some(index),
            GroupInterface::Address(address) => self.addresses.interface_of(IpAddr::V4(address)),
            GroupInterface::Unspecified => self
                .determine_next_hop(link, IpAddr::V4(group), None, || 0)
                .ok()
                .map(|chosen| chosen.interface),
        };
        let found = index.and_then(|index| link.interfaces.by_index(index));
        let able = found.filter(|interface| interface.flags.contains(InterfaceFlags::MULTICAST));
        able.map(|interface| interface.index).ok_or(Errno::NoDev)
    }

    /// Sets an option; EADDRNOTAVAIL for an interface that is not there.
    pub(crate) fn set_multicast_option(
        &mut self,
        link: &Link,
        socket: Key,
        option: MulticastOption,
    ) -> Result<(), Errno> {
        let chosen = match option {
            MulticastOption::Interface(GroupInterface::Unspecified) => None,
            MulticastOption::Interface(GroupInterface::Index(index)) => Some((index, None)),
            MulticastOption::Interface(GroupInterface::Address(address)) => {
                let index = self.addresses.interface_of(IpAddr::V4(address));
                Some((index.ok_or(Errno::AddrNotAvail)?, Some(address)))
            }
            _ => None,
        };
        if chosen.is_some_and(|(index, _)| link.interfaces.by_index(index).is_none()) {
            return Err(Errno::AddrNotAvail);
        }
        let members = &mut self.multicast.members;
        let settings = &mut members.sockets.entry(socket).or_default().settings;
        match option {
            MulticastOption::Interface(_) => members.choose(socket, chosen),
            MulticastOption::Ttl(ttl) => settings.ttl = ttl,
            MulticastOption::Loop(loops) => settings.loops = loops,
            MulticastOption::All(all) => settings.all = all,
        }
        members.tidy(socket);
        Ok(())
    }

    pub(crate) fn multicast_settings(&self, socket: Key) -> MulticastSettings {
        self.multicast
            .members
            .sockets
            .get(&socket)
            .map_or_else(MulticastSettings::default, |member| member.settings)
    }

    /// The path of what a socket sends to a group: by the interface that it has chosen, else as [`Inet::determine_path_via`] says.
    pub(crate) fn determine_group_path(
        &self,
        cx: &Context,
        link: &Link,
        socket: Key,
        group: Ipv4Addr,
        source: Option<IpAddr>,
        via: Via,
    ) -> Result<Path, Errno> {
        let settings = self.multicast_settings(socket);
        let chosen = via.interface.is_none().then_some(settings.source).flatten().map(IpAddr::V4);
        let source = source.or_else(|| chosen.filter(|source| self.addresses.is_ours(*source)));
        let via = Via { interface: via.interface.or(settings.interface), ..via };
        let path = self.determine_path_via(cx, link, IpAddr::V4(group), source, via)?;
        Ok(Path { scope: Scope::Multicast { loops: settings.loops }, ..path })
    }

    /// Whether a socket is to have what a source sends to a group.
    pub(crate) fn admits(&self, socket: Key, interface: u32, group: IpAddr, source: IpAddr) -> bool {
        match (group, source) {
            (IpAddr::V4(group), IpAddr::V4(source)) if group.is_multicast() => {
                self.multicast.members.admits(socket, (group, interface), source)
            }
            _ => true,
        }
    }

    /// A socket is closed: it leaves its groups, a few in each call from now on.
    pub(crate) fn forget_member(&mut self, socket: Key) {
        let members = &mut self.multicast.members;
        let Some(member) = members.sockets.remove(&socket) else { return };
        member.settings.interface.into_iter().for_each(|index| {
            members.senders.remove(&(index, socket));
        });
        if !member.joined.is_empty() {
            members.leaving.push_back((socket, member.joined));
        }
    }

    /// Leaves some of the groups of closed sockets.
    pub(crate) fn leave_some(&mut self, cx: &mut Context, link: &mut Link) {
        for _ in 0..LEFT_AT_ONCE {
            let Some((socket, joined)) = self.multicast.members.leaving.front() else { return };
            match joined.keys().next().copied() {
                Some(place) => self.set_membership(cx, link, *socket, place, None),
                None => drop(self.multicast.members.leaving.pop_front()),
            }
        }
    }

    /// An interface is gone: one more membership or choice of a socket goes with it; false if there is none left.
    pub(crate) fn forget_next_member_of(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        interface: u32,
    ) -> bool {
        let least = Key { index: 0, generation: 0 };
        let members = &mut self.multicast.members;
        let first = members.by_interface.range((interface, Ipv4Addr::UNSPECIFIED, least)..).next().copied();
        if let Some((index, group, socket)) = first
            && index == interface
        {
            self.set_membership(cx, link, socket, (group, interface), None);
            return true;
        }
        match members.senders.range((interface, least)..).next().copied() {
            Some((index, socket)) if index == interface => {
                members.choose(socket, None);
                members.tidy(socket);
                true
            }
            _ => false,
        }
    }
}

/// What a socket wants of a group after a change, none if it leaves. Errors as Linux's ip(7) gives them.
fn determine_wanted(
    present: Option<&SourceFilter>,
    change: &Membership,
    most: usize,
) -> Result<Option<SourceFilter>, Errno> {
    let there = || present.cloned().ok_or(Errno::Inval);
    match change {
        Membership::Join if present.is_some() => Err(Errno::AddrInUse),
        Membership::Join => Ok(Some(SourceFilter::everything())),
        Membership::Leave => present.map(|_| None).ok_or(Errno::AddrNotAvail),
        Membership::JoinSource(source) => {
            with_source(present.cloned().unwrap_or_default(), FilterMode::Include, *source, most)
        }
        Membership::LeaveSource(source) => without_source(there()?, FilterMode::Include, *source),
        Membership::Block(source) => with_source(there()?, FilterMode::Exclude, *source, most),
        Membership::Unblock(source) => without_source(there()?, FilterMode::Exclude, *source),
        Membership::Filter(filter) if filter.sources.len() > most => Err(Errno::NoBufs),
        Membership::Filter(filter) if filter.is_nothing() => present.map(|_| None).ok_or(Errno::AddrNotAvail),
        Membership::Filter(filter) => there().map(|_| Some(filter.clone())),
    }
}

/// The filter in a mode: one without sources takes the other mode too, one with sources does not.
fn in_mode(filter: SourceFilter, mode: FilterMode) -> Result<SourceFilter, Errno> {
    if filter.mode != mode && !filter.sources.is_empty() {
        Err(Errno::Inval)
    } else {
        Ok(SourceFilter { mode, ..filter })
    }
}

fn with_source(
    filter: SourceFilter,
    mode: FilterMode,
    source: Ipv4Addr,
    most: usize,
) -> Result<Option<SourceFilter>, Errno> {
    let mut filter = in_mode(filter, mode)?;
    if filter.sources.len() >= most {
        return Err(Errno::NoBufs);
    }
    if filter.sources.insert(source) { Ok(Some(filter)) } else { Err(Errno::AddrNotAvail) }
}

fn without_source(
    filter: SourceFilter,
    mode: FilterMode,
    source: Ipv4Addr,
) -> Result<Option<SourceFilter>, Errno> {
    let mut filter = in_mode(filter, mode)?;
    let there = filter.sources.remove(&source);
    if there { Ok(Some(filter).filter(|filter| !filter.is_nothing())) } else { Err(Errno::AddrNotAvail) }
}
