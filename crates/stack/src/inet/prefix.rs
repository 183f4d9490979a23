//! [`PrefixTable`]: values by address prefix, found by longest match, for both families.
//!
//! The route table is one of these. Each family has a trie of its own whose nodes tell six bits apart at a time
//! and skip the bits that all their prefixes share, so that a look-up in a million routes touches about five cache
//! lines, of which only two are not those of every other look-up, and ten routes fit in a kilobyte. What an insertion or a removal moves is bounded by one node, so the lock
//! is never held for long, whatever the table's size. It is small if its values are: a table of millions holds numbers of what is kept elsewhere.
//!
//! Lengths are bits from the front: 0 to 32 for IPv4, 0 to 128 for IPv6; anything longer counts as the whole address.
//! Bits of an address beyond its length are ignored. An IPv4 address never matches an IPv6 prefix, mapped or not.
//!
//! Not here: what a route is, and which of several equally long routes is best.

mod trie;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use trie::{Bits, Found, Trie};

/// Values by prefix; see the module's description.
#[derive(Clone, Debug)]
pub struct PrefixTable<V> {
    v4: Trie<u32, V>,
    v6: Trie<u128, V>,
    len: usize,
}

/// A prefix of a [`PrefixTable`] with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match<'a, V> {
    /// The first address of the prefix: all bits beyond `length` are 0.
    pub network: IpAddr,
    /// Its length in bits.
    pub length: u8,
    /// What was stored under it.
    pub value: &'a V,
}

impl<V> PrefixTable<V> {
    /// An empty table; it owns no memory yet.
    pub fn new() -> Self {
        Self { v4: Trie::new(0), v6: Trie::new(0), len: 0 }
    }

    /// Stores a value under a prefix and returns the one that was there.
    pub fn insert(&mut self, network: IpAddr, length: u8, value: V) -> Option<V> {
        let replaced = match Prefix::new(network, length) {
            Prefix::V4(bits, length) => self.v4.insert(bits, length, value),
            Prefix::V6(bits, length) => self.v6.insert(bits, length, value),
        };
        self.len += usize::from(replaced.is_none());
        replaced
    }

    /// Takes a prefix out and returns its value.
    pub fn remove(&mut self, network: IpAddr, length: u8) -> Option<V> {
        let removed = match Prefix::new(network, length) {
            Prefix::V4(bits, length) => self.v4.remove(bits, length),
            Prefix::V6(bits, length) => self.v6.remove(bits, length),
        };
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// The value stored under exactly this prefix, to be changed.
    pub fn exact_mut(&mut self, network: IpAddr, length: u8) -> Option<&mut V> {
        match Prefix::new(network, length) {
            Prefix::V4(bits, length) => self.v4.exact_mut(bits, length),
            Prefix::V6(bits, length) => self.v6.exact_mut(bits, length),
        }
    }

    /// The value stored under exactly this prefix.
    pub fn exact(&self, network: IpAddr, length: u8) -> Option<&V> {
        match Prefix::new(network, length) {
            Prefix::V4(bits, length) => self.v4.exact(bits, length),
            Prefix::V6(bits, length) => self.v6.exact(bits, length),
        }
    }

    /// The value of the longest prefix that `address` is in.
    #[inline]
    pub fn lookup(&self, address: IpAddr) -> Option<&V> {
        match address {
            IpAddr::V4(address) => self.v4.lookup(address.to_bits()),
            IpAddr::V6(address) => self.v6.lookup(address.to_bits()),
        }
    }

    /// As [`PrefixTable::lookup`] for several addresses. In a table that no cache holds this takes little longer than one look-up.
    pub fn lookup_all<const N: usize>(&self, addresses: &[Ipv4Addr; N]) -> [Option<&V>; N] {
        self.v4.lookup_all(&addresses.map(Ipv4Addr::to_bits))
    }

    /// The longest prefix that `address` is in and whose value the caller accepts: the longer ones that it refuses,
    /// say for an interface that is down, give way to shorter ones.
    pub fn lookup_with(
        &self,
        address: IpAddr,
        mut accept: impl FnMut(&Match<'_, V>) -> bool,
    ) -> Option<Match<'_, V>> {
        self.matches(address).find(|found| accept(found))
    }

    /// Every prefix that `address` is in, the longest first.
    pub fn matches(&self, address: IpAddr) -> impl Iterator<Item = Match<'_, V>> {
        let mut at_most = Some(u128::BITS as u8);
        core::iter::from_fn(move || {
            let found = match address {
                IpAddr::V4(address) => self.v4.longest(address.to_bits(), at_most?).map(Match::from),
                IpAddr::V6(address) => self.v6.longest(address.to_bits(), at_most?).map(Match::from),
            }?;
            at_most = found.length.checked_sub(1);
            Some(found)
        })
    }

    /// All prefixes in order: IPv4 before IPv6, by first address, shorter before longer.
    pub fn iter(&self) -> impl Iterator<Item = Match<'_, V>> {
        self.v4.iter_after(None).map(Match::from).chain(self.v6.iter_after(None).map(Match::from))
    }

    /// The prefixes that follow a given one in the order of [`PrefixTable::iter`], whether or not it is (still) in the
    /// table: to go on with a listing that was interrupted.
    pub fn iter_after(&self, network: IpAddr, length: u8) -> impl Iterator<Item = Match<'_, V>> {
        let (v4, v6) = match Prefix::new(network, length) {
            Prefix::V4(bits, length) => (Some(self.v4.iter_after(Some((bits, length)))), None),
            Prefix::V6(bits, length) => (None, Some((bits, length))),
        };
        let v6 = self.v6.iter_after(v6);
        v4.into_iter().flatten().map(Match::from).chain(v6.map(Match::from))
    }

    /// The number of prefixes of both families.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes of heap memory held, without what the values own themselves; counts by walking the whole table.
    pub fn heap_bytes(&self) -> usize {
        self.v4.heap_bytes() + self.v6.heap_bytes()
    }
}

impl<'a, V> From<Found<'a, u32, V>> for Match<'a, V> {
    fn from(found: Found<'a, u32, V>) -> Self {
        let network = Ipv4Addr::from_bits(found.bits).into();
        Self { network, length: found.length, value: found.value }
    }
}

impl<'a, V> From<Found<'a, u128, V>> for Match<'a, V> {
    fn from(found: Found<'a, u128, V>) -> Self {
        let network = Ipv6Addr::from_bits(found.bits).into();
        Self { network, length: found.length, value: found.value }
    }
}

impl<V> Default for PrefixTable<V> {
    fn default() -> Self {
        Self::new()
    }
}

/// A prefix in the terms of the tries: bits beyond the length cleared, the length no more than the address has.
#[derive(Clone, Copy)]
enum Prefix {
    V4(u32, u8),
    V6(u128, u8),
}

impl Prefix {
    fn new(network: IpAddr, length: u8) -> Self {
        match network {
            IpAddr::V4(address) => {
                let length = length.min(u32::WIDTH);
                Self::V4(address.to_bits().front(length), length)
            }
            IpAddr::V6(address) => {
                let length = length.min(u128::WIDTH);
                Self::V6(address.to_bits().front(length), length)
            }
        }
    }
}

#[cfg(test)]
mod tests;
