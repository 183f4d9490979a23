//! The table against a sorted map and a linear scan.

use super::*;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use proptest::prelude::*;
use rumpnet_wire::ip::Cidr;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A table from `address/length` words, each valued by its position.
fn table(routes: &[&str]) -> PrefixTable<u32> {
    let mut table = PrefixTable::new();
    for (route, value) in routes.iter().zip(0..) {
        let (address, length) = route.split_once('/').unwrap();
        assert_eq!(table.insert(ip(address), length.parse().unwrap(), value), None);
    }
    table
}

#[test]
fn the_longest_of_nested_prefixes_wins() {
    let table = table(&["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32"]);
    for (address, value) in
        [("10.1.2.3", 4), ("10.1.2.4", 3), ("10.1.3.3", 2), ("10.2.2.3", 1), ("11.1.2.3", 0)]
    {
        assert_eq!(table.lookup(ip(address)), Some(&value), "{address}");
    }
    assert_eq!(table.lookup(ip("::1")), None);
}

#[test]
fn families_never_meet_not_even_mapped() {
    let table = table(&["::/0", "10.0.0.0/8", "::ffff:10.0.0.0/104"]);
    assert_eq!(table.lookup(ip("10.0.0.1")), Some(&1));
    assert_eq!(table.lookup(ip("::ffff:10.0.0.1")), Some(&2));
    assert_eq!(table.lookup(ip("192.0.2.1")), None);
    assert_eq!(table.lookup(ip("2001:db8::1")), Some(&0));
}

#[test]
fn bits_beyond_the_length_are_ignored_and_so_is_length_beyond_the_address() {
    let mut table = PrefixTable::new();
    assert_eq!(table.insert(ip("10.1.2.3"), 8, "net"), None);
    assert_eq!(table.insert(ip("10.0.0.0"), 8, "same"), Some("net"));
    assert_eq!(table.insert(ip("10.1.2.3"), 255, "host"), None);
    assert_eq!(table.exact(ip("10.1.2.3"), 32), Some(&"host"));
    assert_eq!(table.exact(ip("10.9.9.9"), 8), Some(&"same"));
    assert_eq!(table.len(), 2);
}

#[test]
fn a_skipped_bit_that_differs_does_not_match() {
    let mut table = table(&["10.0.0.0/8", "10.1.2.128/25"]);
    for address in ["10.1.2.1", "10.1.3.128", "10.0.2.128"] {
        assert_eq!(table.lookup(ip(address)), Some(&0), "{address}");
    }
    assert_eq!(table.remove(ip("10.0.0.0"), 8), Some(0));
    assert_eq!(table.lookup(ip("10.0.2.128")), None);
    assert_eq!(table.exact(ip("10.0.2.128"), 25), None);
    assert_eq!(table.exact_mut(ip("10.0.2.128"), 25), None);
    assert_eq!(table.remove(ip("10.0.2.128"), 25), None);
}

#[test]
fn a_refused_match_gives_way_to_the_next_shorter_one() {
    let table = table(&["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24"]);
    let accepting = |accepted: &[u32]| {
        table.lookup_with(ip("10.1.2.3"), |found| accepted.contains(found.value)).map(|found| found.length)
    };
    assert_eq!(accepting(&[0, 1, 2, 3]), Some(24));
    assert_eq!(accepting(&[0, 1]), Some(8));
    assert_eq!(accepting(&[0]), Some(0));
    assert_eq!(accepting(&[]), None);
    let networks: Vec<IpAddr> = table.matches(ip("10.1.2.3")).map(|found| found.network).collect();
    assert_eq!(networks, [ip("10.1.2.0"), ip("10.1.0.0"), ip("10.0.0.0"), ip("0.0.0.0")]);
}

#[test]
fn a_value_can_be_changed_in_place() {
    let mut table = table(&["0.0.0.0/0", "2001:db8::/32"]);
    *table.exact_mut(ip("2001:db8::"), 32).unwrap() += 10;
    *table.exact_mut(ip("0.0.0.0"), 0).unwrap() += 10;
    assert_eq!(table.lookup(ip("2001:db8::1")), Some(&11));
    assert_eq!(table.lookup(ip("1.2.3.4")), Some(&10));
    assert_eq!(table.exact_mut(ip("2001:db8::"), 33), None);
}

#[test]
fn ten_routes_weigh_less_than_a_kilobyte_all_told() {
    let table = table(&[
        "0.0.0.0/0",
        "10.0.0.0/24",
        "10.0.0.2/32",
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.168.7.0/24",
        "224.0.0.0/4",
        "::1/128",
        "2001:db8::/64",
        "fe80::/64",
    ]);
    let bytes = size_of_val(&table) + table.heap_bytes();
    assert!(bytes < 1024, "{bytes} bytes");
}

#[test]
fn what_was_removed_leaves_no_memory_behind() {
    let mut table = PrefixTable::new();
    let routes: Vec<IpAddr> =
        (0..1_000_u32).map(|n| Ipv4Addr::from_bits(n.wrapping_mul(0x9e37_79b9)).into()).collect();
    for (route, length) in routes.iter().zip((1..=32).cycle()) {
        table.insert(*route, length, ());
    }
    for (route, length) in routes.iter().zip((1..=32).cycle()) {
        table.remove(*route, length);
    }
    assert_eq!((table.len(), table.is_empty(), table.heap_bytes()), (0, true, 0));
}

#[test]
fn a_hundred_thousand_routes_cost_at_most_a_hundred_bytes_each() {
    let mut table = PrefixTable::new();
    for n in 0..100_000_u32 {
        let noise = n.wrapping_mul(0x9e37_79b9);
        table.insert(Ipv4Addr::from_bits(noise).into(), 16 + (noise % 9) as u8, n);
    }
    assert!(table.len() > 90_000);
    let each = table.heap_bytes() / table.len();
    assert!(each <= 100, "{each} bytes a route");
}

/// Addresses that share many leading bits, and lengths of every size.
fn prefix() -> impl Strategy<Value = (IpAddr, u8)> {
    let v4 = (any::<u32>(), 0_u32..=32, 0_u8..=32).prop_map(|(noise, shared, length)| {
        (Ipv4Addr::from_bits(0x0a00_0000 ^ spread(noise, shared)).into(), length)
    });
    let v6 = (any::<u128>(), 0_u32..=128, 0_u8..=128).prop_map(|(noise, shared, length)| {
        let noise = noise.checked_shr(shared).unwrap_or(0);
        (Ipv6Addr::from_bits((0x2001_0db8 << 96) ^ noise).into(), length)
    });
    prop_oneof![v4, v6]
}

fn spread(noise: u32, shared: u32) -> u32 {
    noise.checked_shr(shared).unwrap_or(0)
}

#[derive(Clone, Debug)]
enum Step {
    Insert((IpAddr, u8), u32),
    Remove(prop::sample::Index),
    RemoveAny((IpAddr, u8)),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (prefix(), any::<u32>()).prop_map(|(prefix, value)| Step::Insert(prefix, value)),
        2 => any::<prop::sample::Index>().prop_map(Step::Remove),
        1 => prefix().prop_map(Step::RemoveAny),
    ]
}

type Model = BTreeMap<(IpAddr, u8), u32>;

/// The prefix as the model names it: first address and length.
fn named((address, length): (IpAddr, u8)) -> (IpAddr, u8) {
    let cidr = Cidr::new(address, length.min(if address.is_ipv4() { 32 } else { 128 })).unwrap();
    (cidr.network().address(), cidr.prefix_len())
}

fn scan(model: &Model, address: IpAddr) -> Vec<((IpAddr, u8), u32)> {
    let contains = |name: &(IpAddr, u8)| Cidr::new(name.0, name.1).unwrap().contains(address);
    let mut found: Vec<_> =
        model.iter().filter(|(name, _)| contains(name)).map(|(name, value)| (*name, *value)).collect();
    found.sort_by_key(|((_, length), _)| core::cmp::Reverse(*length));
    found
}

fn told(found: Match<'_, u32>) -> ((IpAddr, u8), u32) {
    ((found.network, found.length), *found.value)
}

fn built(steps: Vec<Step>) -> (PrefixTable<u32>, Model) {
    let (mut table, mut model) = (PrefixTable::new(), Model::new());
    for step in steps {
        match step {
            Step::Insert(prefix, value) => {
                assert_eq!(table.insert(prefix.0, prefix.1, value), model.insert(named(prefix), value));
            }
            Step::Remove(pick) if !model.is_empty() => {
                let name = *model.keys().nth(pick.index(model.len())).unwrap();
                assert_eq!(table.remove(name.0, name.1), model.remove(&name));
            }
            Step::Remove(_) => {}
            Step::RemoveAny(prefix) => {
                assert_eq!(table.remove(prefix.0, prefix.1), model.remove(&named(prefix)));
            }
        }
        assert_eq!(table.len(), model.len());
    }
    (table, model)
}

proptest! {
    #[test]
    fn every_look_up_finds_what_a_linear_scan_finds(
        steps in prop::collection::vec(step(), 0..120),
        addresses in prop::collection::vec(prefix(), 20),
    ) {
        let (table, model) = built(steps);
        let stored: Vec<_> = model.keys().copied().collect();
        for (address, length) in addresses.into_iter().chain(stored) {
            let expected = scan(&model, address);
            prop_assert_eq!(table.lookup(address), expected.first().map(|(_, value)| value));
            if let IpAddr::V4(v4) = address {
                let other = Ipv4Addr::from_bits(!v4.to_bits());
                let together = table.lookup_all(&[v4, other, v4]).map(Option::<&u32>::copied);
                let alone = [v4, other, v4].map(|address| table.lookup(address.into()).copied());
                prop_assert_eq!(together, alone);
            }
            prop_assert_eq!(table.matches(address).map(told).collect::<Vec<_>>(), expected);
            prop_assert_eq!(table.exact(address, length), model.get(&named((address, length))));
        }
    }

    #[test]
    fn iteration_is_in_order_and_can_start_after_any_prefix(
        steps in prop::collection::vec(step(), 0..120),
        cursors in prop::collection::vec(prefix(), 10),
    ) {
        let (table, model) = built(steps);
        let all: Vec<_> = model.iter().map(|(name, value)| (*name, *value)).collect();
        prop_assert_eq!(&table.iter().map(told).collect::<Vec<_>>(), &all);
        let stored: Vec<_> = model.keys().copied().collect();
        for cursor in cursors.into_iter().chain(stored) {
            let name = named(cursor);
            let rest: Vec<_> = all.iter().copied().filter(|(other, _)| *other > name).collect();
            prop_assert_eq!(table.iter_after(cursor.0, cursor.1).map(told).collect::<Vec<_>>(), rest);
        }
    }

    #[test]
    fn removing_everything_frees_everything(steps in prop::collection::vec(step(), 0..120)) {
        let (mut table, model) = built(steps);
        for (name, value) in model {
            prop_assert_eq!(table.remove(name.0, name.1), Some(value));
        }
        prop_assert_eq!(table.heap_bytes(), 0);
    }
}
