//! [`Routes`]: all routes by destination.
//!
//! A million routes of an Internet table lead to a handful of routers. What is the same of them, all but the destination, is kept
//! once and shared; the table itself holds numbers, four bytes a route, so that what a look-up touches stays in a cache.
//!
//! Not here: the way of a packet ([`super`]), and what is made of a user's words (`control`).

use alloc::{boxed::Box, collections::BTreeSet, vec};
use core::{
    hash::{BuildHasher as _, Hash},
    net::{IpAddr, Ipv4Addr},
};

use hashbrown::HashTable;
use rumpnet_proto::{Change, Errno};

use super::{Hop, Route};
use crate::{
    inet::prefix::{Match, PrefixTable},
    journal::Journal,
    random::{PeerTableHasher, Random, TableHasher},
    slab::Slab,
};

/// All routes: by destination, and by the interface with which they go.
pub(crate) struct Routes {
    /// Places in `shared`.
    table: PrefixTable<u32>,
    shared: Slab<Shared>,
    /// The places in `shared`, by the hash of the route there.
    places: HashTable<u32>,
    /// Interfaces, each with the places of the routes by it.
    by_interface: BTreeSet<(u32, u32)>,
    /// The last destination that [`Routes::remove_some_of_gone`] has looked at.
    swept: Option<(IpAddr, u8)>,
    equality: TableHasher,
    /// Spreads flows over several next hops, in a way that nobody outside foresees.
    hasher: PeerTableHasher,
    pub(crate) journal: Journal<RouteChange>,
    /// What [`Routes::look_ahead`] has found of late, until any route changes.
    ahead: Ahead,
}

/// Destinations with the places of their routes, each where its bits say, so that a later one may take the place of an earlier one.
#[derive(Default)]
struct Ahead(Box<[(u32, u32)]>);

impl Ahead {
    /// A power of two, several times what is looked up at once.
    const PLACES: usize = 64;

    #[inline]
    fn slot(&self, destination: u32) -> Option<usize> {
        let mixed = destination.wrapping_mul(0x9e37_79b1) >> (u32::BITS - Self::PLACES.ilog2());
        Some(mixed as usize).filter(|slot| *slot < self.0.len())
    }

    #[inline]
    fn find(&self, destination: u32) -> Option<u32> {
        let (known, place) = *self.0.get(self.slot(destination)?)?;
        // 0.0.0.0 is nobody's destination, and stands where nothing is known.
        (known == destination && known != 0).then_some(place)
    }

    fn keep(&mut self, destination: u32, place: u32) {
        if self.0.is_empty() {
            self.0 = vec![(0, 0); Self::PLACES].into();
        }
        if let Some(slot) = self.slot(destination) {
            self.0[slot] = (destination, place);
        }
    }

    /// Some route has changed.
    fn forget(&mut self) {
        if !self.0.is_empty() {
            self.0 = Box::default();
        }
    }
}

/// What has become of the route to a destination.
pub(crate) type RouteChange = (Change, (IpAddr, u8), Route);

/// A route, and how many destinations have it.
#[derive(Clone, Debug)]
struct Shared {
    route: Route,
    users: u32,
}

/// Destinations looked at in one call of [`Routes::remove_some_of_gone`].
const SWEPT_AT_ONCE: usize = 16;
/// Destinations whose table is larger than the cache of a core.
const UNCACHED: usize = 16_384;

impl Routes {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            table: PrefixTable::new(),
            shared: Slab::new(u32::MAX),
            places: HashTable::new(),
            by_interface: BTreeSet::new(),
            swept: None,
            hasher: PeerTableHasher::new(random.next_seed()),
            equality: random.table_hasher(),
            journal: Journal::new(),
            ahead: Ahead::default(),
        }
    }

    /// A number of whatever tells a flow from others.
    pub(in crate::inet) fn flow(&self, of: impl Hash) -> u64 {
        self.hasher.hash_one(of)
    }

    /// Adds a route in place of one with the same destination, whose address has no bits beyond its length.
    pub(crate) fn insert(&mut self, network: IpAddr, length: u8, route: Route) {
        self.ahead.forget();
        let place = self.share(route);
        let before = self.table.insert(network, length, place);
        let change = if before.is_some() { Change::Changed } else { Change::Added };
        let Self { shared, journal, .. } = self;
        if let Some(shared) = shared.at_place(place) {
            journal.note(|| (change, (network, length), shared.route.clone()));
        }
        if let Some(before) = before {
            self.part_with(before);
        }
    }

    pub(crate) fn remove(&mut self, network: IpAddr, length: u8) -> Option<Route> {
        self.ahead.forget();
        let place = self.table.remove(network, length)?;
        let route = self.part_with(place)?;
        self.journal.note(|| (Change::Deleted, (network, length), route.clone()));
        Some(route)
    }

    /// One more next hop for a route. ESRCH if there is none, and what [`Route::add`] says.
    pub(crate) fn add_hop(&mut self, network: IpAddr, length: u8, hop: Hop) -> Result<(), Errno> {
        let mut route = self.exact(network, length).ok_or(Errno::Srch)?.clone();
        route.add(hop)?;
        self.insert(network, length, route);
        Ok(())
    }

    /// Removes the next hops of a route that `goes` names, and the route with the last; false if there are none such.
    pub(crate) fn remove_hops(&mut self, network: IpAddr, length: u8, goes: impl Fn(&Hop) -> bool) -> bool {
        let Some(route) = self.exact(network, length).filter(|route| route.hops().iter().any(&goes)) else {
            return false;
        };
        match route.clone().without(goes) {
            Some(rest) => self.insert(network, length, rest),
            None => drop(self.remove(network, length)),
        }
        true
    }

    /// Removes the next route that leads to an interface which is gone, if a look at a few finds one; false if nothing by `interface` is left.
    pub(crate) fn remove_some_of_gone(&mut self, interface: u32, is_gone: impl Fn(u32) -> bool) -> bool {
        if self.by_interface.range((interface, 0)..=(interface, u32::MAX)).next().is_none() {
            self.swept = None;
            return false;
        }
        let mut goes = None;
        let mut swept = None;
        for found in self.list_after(self.swept).take(SWEPT_AT_ONCE) {
            swept = Some((found.network, found.length));
            if found.value.hops().iter().any(|hop| is_gone(hop.interface)) {
                goes = swept;
                break;
            }
        }
        self.swept = swept;
        if let Some((network, length)) = goes {
            self.remove_hops(network, length, |hop| is_gone(hop.interface));
        }
        true
    }

    pub(crate) fn exact(&self, network: IpAddr, length: u8) -> Option<&Route> {
        self.at(*self.table.exact(network, length)?)
    }

    /// The route to an address, by longest match.
    #[inline]
    pub(crate) fn lookup(&self, address: IpAddr) -> Option<&Route> {
        if let IpAddr::V4(destination) = address
            && let Some(place) = self.ahead.find(destination.to_bits())
        {
            return self.at(place);
        }
        self.at(*self.table.lookup(address)?)
    }

    /// The route with the longest match of those that are wanted.
    pub(crate) fn longest(&self, address: IpAddr, wanted: impl Fn(&Route) -> bool) -> Option<&Route> {
        self.table.matches(address).filter_map(|found| self.at(*found.value)).find(|route| wanted(route))
    }

    /// The same with its destination.
    pub(crate) fn find(&self, address: IpAddr) -> Option<((IpAddr, u8), &Route)> {
        let found = self.table.matches(address).next()?;
        Some(((found.network, found.length), self.at(*found.value)?))
    }

    /// Whether a look-up is likely to wait for memory.
    pub(crate) fn exceed_a_cache(&self) -> bool {
        self.table.len() >= UNCACHED
    }

    /// Looks up several destinations together, for whoever looks them up one by one afterwards.
    pub(crate) fn look_ahead<const N: usize>(&mut self, destinations: &[Ipv4Addr; N]) {
        let Self { table, ahead, .. } = self;
        for (destination, found) in destinations.iter().zip(table.lookup_all(destinations)) {
            if let Some(place) = found {
                ahead.keep(destination.to_bits(), *place);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Routes in their order, from the start or after one already seen.
    pub(crate) fn list_after(&self, after: Option<(IpAddr, u8)>) -> impl Iterator<Item = Match<'_, Route>> {
        let (first, rest) = match after {
            None => (Some(self.table.iter()), None),
            Some((network, length)) => (None, Some(self.table.iter_after(network, length))),
        };
        let all = first.into_iter().flatten().chain(rest.into_iter().flatten());
        all.filter_map(|found| {
            let value = self.at(*found.value)?;
            Some(Match { network: found.network, length: found.length, value })
        })
    }

    /// Bytes of memory held, all told.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        let list = |shared: &Shared| shared.route.hops.as_ref().map_or(0, |hops| size_of_val(&**hops));
        let lists: usize = self.shared.iter().map(|(_, shared)| list(shared)).sum();
        size_of_val(self)
            + self.table.heap_bytes()
            + self.shared.heap_bytes()
            + lists
            + self.places.allocation_size()
    }

    #[inline]
    fn at(&self, place: u32) -> Option<&Route> {
        self.shared.at_place(place).map(|shared| &shared.route)
    }

    /// The place of a route, which has one user more.
    fn share(&mut self, route: Route) -> u32 {
        let hash = self.equality.hash_one(Some(&route));
        let same = |place: &u32| self.shared.at_place(*place).is_some_and(|shared| shared.route == route);
        if let Some(&place) = self.places.find(hash, same) {
            let shared = self.shared.at_place_mut(place).expect("a place that was found is taken");
            shared.users += 1;
            return place;
        }
        let hops: arrayvec::ArrayVec<u32, { super::MAX_HOPS }> =
            route.hops().iter().map(|hop| hop.interface).collect();
        let key = self.shared.insert(Shared { route, users: 1 });
        let place = key.expect("there are fewer routes than numbers").index;
        self.by_interface.extend(hops.into_iter().map(|interface| (interface, place)));
        let Self { places, shared, equality, .. } = self;
        let route_at = |place: u32| shared.at_place(place).map(|shared| &shared.route);
        places.insert_unique(hash, place, |place| equality.hash_one(route_at(*place)));
        place
    }

    /// The route at a place, which has one user less; it goes with the last.
    fn part_with(&mut self, place: u32) -> Option<Route> {
        let shared = self.shared.at_place_mut(place)?;
        shared.users -= 1;
        if shared.users > 0 {
            return Some(shared.route.clone());
        }
        let key = self.shared.key_at(place)?;
        let Shared { route, .. } = self.shared.remove(key)?;
        for hop in route.hops() {
            self.by_interface.remove(&(hop.interface, place));
        }
        if let Ok(found) =
            self.places.find_entry(self.equality.hash_one(Some(&route)), |other| *other == place)
        {
            found.remove();
        }
        Some(route)
    }
}

#[cfg(test)]
mod tests;
