//! [`PrefixTable`]: values by address prefix, found by longest match, for both families.
//!
//! The route table is one of these. Each family has a trie of its own whose nodes tell six bits apart at a time
//! and skip the bits that all their prefixes share, so that a look-up in a million routes touches about five cache
//! lines, and ten routes fit in a kilobyte. What an insertion or a removal moves is bounded by one node, so the lock
//! is never held for long, whatever the table's size.
//!
//! Lengths are bits from the front: 0 to 32 for IPv4, 0 to 128 for IPv6; anything longer counts as the whole address.
//! Bits of an address beyond its length are ignored. An IPv4 address never matches an IPv6 prefix, mapped or not.
//!
//! Not here: what a route is, and which of several equally long routes is best.

mod trie;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use trie::{Bits, Trie};

/// Values by prefix; see the module's description.
#[derive(Clone, Debug)]
pub struct PrefixTable<V> {
    v4: Trie<V>,
    v6: Trie<V>,
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
        Self { v4: Trie::new(), v6: Trie::new(), len: 0 }
    }

    /// Stores a value under a prefix and returns the one that was there.
    pub fn insert(&mut self, network: IpAddr, length: u8, value: V) -> Option<V> {
        let (bits, length) = prefix_bits(network, length);
        let replaced = self.trie_mut(network).insert(bits, length, value);
        self.len += usize::from(replaced.is_none());
        replaced
    }

    /// Takes a prefix out and returns its value.
    pub fn remove(&mut self, network: IpAddr, length: u8) -> Option<V> {
        let (bits, length) = prefix_bits(network, length);
        let removed = self.trie_mut(network).remove(bits, length);
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// The value stored under exactly this prefix, to be changed.
    pub fn exact_mut(&mut self, network: IpAddr, length: u8) -> Option<&mut V> {
        let (bits, length) = prefix_bits(network, length);
        self.trie_mut(network).exact_mut(bits, length)
    }

    /// The value stored under exactly this prefix.
    pub fn exact(&self, network: IpAddr, length: u8) -> Option<&V> {
        let (bits, length) = prefix_bits(network, length);
        self.trie(network).exact(bits, length)
    }

    /// The value of the longest prefix that `address` is in.
    pub fn lookup(&self, address: IpAddr) -> Option<&V> {
        let entry = self.trie(address).longest(address_bits(address), u128::BITS as u8)?;
        Some(&entry.value)
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
        let (trie, bits, mut at_most) = (self.trie(address), address_bits(address), Some(u128::BITS as u8));
        core::iter::from_fn(move || {
            let entry = trie.longest(bits, at_most?)?;
            at_most = entry.length().checked_sub(1);
            Some(Match {
                network: network(address, entry.bits()),
                length: entry.length(),
                value: &entry.value,
            })
        })
    }

    /// All prefixes in order: IPv4 before IPv6, by first address, shorter before longer.
    pub fn iter(&self) -> impl Iterator<Item = Match<'_, V>> {
        self.family(ANY_V4, None).chain(self.family(ANY_V6, None))
    }

    /// The prefixes that follow a given one in the order of [`PrefixTable::iter`], whether or not it is (still) in the
    /// table: to go on with a listing that was interrupted.
    pub fn iter_after(&self, network: IpAddr, length: u8) -> impl Iterator<Item = Match<'_, V>> {
        let after = Some(prefix_bits(network, length));
        let later = network.is_ipv4().then(|| self.family(ANY_V6, None));
        self.family(network, after).chain(later.into_iter().flatten())
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

    fn family(&self, of: IpAddr, after: Option<(Bits, u8)>) -> impl Iterator<Item = Match<'_, V>> {
        self.trie(of).iter_after(after).map(move |entry| Match {
            network: network(of, entry.bits()),
            length: entry.length(),
            value: &entry.value,
        })
    }

    const fn trie(&self, address: IpAddr) -> &Trie<V> {
        match address {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        }
    }

    const fn trie_mut(&mut self, address: IpAddr) -> &mut Trie<V> {
        match address {
            IpAddr::V4(_) => &mut self.v4,
            IpAddr::V6(_) => &mut self.v6,
        }
    }
}

impl<V> Default for PrefixTable<V> {
    fn default() -> Self {
        Self::new()
    }
}

const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
/// An IPv4 address takes the upper 32 of a trie's 128 bits.
const V4_SHIFT: u32 = u128::BITS - Ipv4Addr::BITS;

fn address_bits(address: IpAddr) -> Bits {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << V4_SHIFT,
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The prefix in the terms of the trie: bits beyond the length cleared, the length no more than the address has.
fn prefix_bits(network: IpAddr, length: u8) -> (Bits, u8) {
    let width = if network.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS };
    let length = length.min(width as u8);
    (trie::front(address_bits(network), length), length)
}

/// The address that a trie of the family of `like` means by these bits.
const fn network(like: IpAddr, bits: Bits) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits((bits >> V4_SHIFT) as u32)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}

#[cfg(test)]
mod tests;
