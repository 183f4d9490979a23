//! Conversations with the cache, and what must hold after any of them.

use super::*;
use alloc::vec;
use proptest::prelude::*;

/// A packet that is a number and a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packet(u32, usize);

impl Weight for Packet {
    fn weight(&self) -> usize {
        self.1
    }
}

const LIMITS: NeighborLimits = NeighborLimits {
    entries: 8,
    queue_packets: 3,
    queue_bytes: 10_000,
    total_queue_bytes: 16_000,
    lifetime: Duration::from_secs(1_200),
};

const HOST: NeighborKey = (1, IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9)));
const MAC: Address = Address([2, 0, 0, 0, 0, 9]);
const OTHER: Address = Address([2, 0, 0, 0, 0, 66]);

fn cache() -> NeighborCache<Packet> {
    NeighborCache::new(LIMITS, [7; 16])
}

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn host(interface: u32, n: u32) -> NeighborKey {
    (interface, IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n)))
}

fn state(cache: &NeighborCache<Packet>, key: NeighborKey) -> Option<NeighborState> {
    cache.listing(key).map(|listing| listing.state)
}

/// Everything due until `until`, with the time at which it was.
fn run(cache: &mut NeighborCache<Packet>, until: Instant) -> Vec<(u64, NeighborKey, TimeoutAction<Packet>)> {
    let mut seen = Vec::new();
    while let Some(now) = cache.next_deadline().filter(|next| *next <= until) {
        while let Some((key, action)) = cache.next_timeout(now) {
            seen.push((now.as_millis(), key, action));
        }
    }
    seen
}

/// A neighbour that was asked for and answered at `now`.
fn reachable(cache: &mut NeighborCache<Packet>, now: Instant, key: NeighborKey) {
    assert!(matches!(cache.resolve(now, key, Packet(0, 100)), Resolve::Queued { ask: true, .. }));
    assert_eq!(cache.learn(now, key, MAC, Evidence::Reply).released.len(), 1);
}

#[test]
fn the_first_packet_asks_and_all_that_wait_are_released_in_order_by_the_answer() {
    let mut cache = cache();
    let first = cache.resolve(at(0), HOST, Packet(1, 100));
    assert_eq!(first, Resolve::Queued { ask: true, dropped: vec![], evicted: false });
    let second = cache.resolve(at(1), HOST, Packet(2, 100));
    assert_eq!(second, Resolve::Queued { ask: false, dropped: vec![], evicted: false });
    assert_eq!(cache.listing(HOST).unwrap().waiting, 2);
    let learned = cache.learn(at(2), HOST, MAC, Evidence::Reply);
    assert_eq!(learned.released, [Packet(1, 100), Packet(2, 100)]);
    assert_eq!((learned.moved, learned.refused, learned.evicted), (None, false, false));
    let packet = Packet(3, 100);
    assert_eq!(cache.resolve(at(3), HOST, packet), Resolve::Known { address: MAC, packet });
    assert_eq!((state(&cache, HOST), cache.waiting_bytes()), (Some(NeighborState::Reachable), 0));
}

#[test]
fn nobody_answers_three_requests_a_second_apart_and_the_neighbour_is_down_for_twenty_seconds() {
    let mut cache = cache();
    cache.resolve(at(0), HOST, Packet(1, 100));
    let asked = TimeoutAction::Ask { at: None };
    let gave_up = TimeoutAction::GiveUp { packets: vec![Packet(1, 100)] };
    let seen = run(&mut cache, at(3_000));
    assert_eq!(
        seen,
        [(1_000, HOST, asked), (2_000, HOST, TimeoutAction::Ask { at: None }), (3_000, HOST, gave_up)]
    );
    let packet = Packet(2, 100);
    assert_eq!(cache.resolve(at(22_000), HOST, packet), Resolve::Unreachable { packet });
    assert_eq!(run(&mut cache, at(23_000)), [(23_000, HOST, TimeoutAction::Forget)]);
    assert!(matches!(cache.resolve(at(23_001), HOST, packet), Resolve::Queued { ask: true, .. }));
}

#[test]
fn a_neighbour_that_is_down_is_up_again_when_it_is_heard() {
    let mut cache = cache();
    cache.resolve(at(0), HOST, Packet(1, 100));
    run(&mut cache, at(3_000));
    assert_eq!(state(&cache, HOST), Some(NeighborState::Failed));
    cache.learn(at(4_000), HOST, MAC, Evidence::Request);
    let packet = Packet(2, 100);
    assert_eq!(cache.resolve(at(4_001), HOST, packet), Resolve::Known { address: MAC, packet });
}

#[test]
fn an_unused_entry_lapses_after_its_lifetime_without_a_question() {
    let mut cache = cache();
    reachable(&mut cache, at(0), HOST);
    assert_eq!(cache.listing(HOST).unwrap().expires, Some(Instant::from_secs(1_200)));
    assert_eq!(run(&mut cache, Instant::from_secs(1_199)), []);
    assert_eq!(state(&cache, HOST), Some(NeighborState::Stale));
    assert_eq!(run(&mut cache, Instant::from_secs(1_200)), [(1_200_000, HOST, TimeoutAction::Forget)]);
    assert!(cache.is_empty());
}

#[test]
fn a_used_entry_is_confirmed_before_it_lapses_by_asking_its_host_alone() {
    let mut cache = cache();
    reachable(&mut cache, at(0), HOST);
    cache.resolve(Instant::from_secs(600), HOST, Packet(1, 100));
    let asked = TimeoutAction::Ask { at: Some(MAC) };
    assert_eq!(run(&mut cache, Instant::from_secs(1_196)), [(1_196_000, HOST, asked)]);
    let packet = Packet(2, 100);
    assert_eq!(cache.resolve(at(1_196_001), HOST, packet), Resolve::Known { address: MAC, packet });
    cache.learn(at(1_196_002), HOST, MAC, Evidence::Reply);
    assert_eq!(cache.listing(HOST).unwrap().expires, Some(at(2_396_002)));
}

#[test]
fn a_used_entry_whose_host_is_gone_lapses_after_three_questions() {
    let mut cache = cache();
    reachable(&mut cache, at(0), HOST);
    cache.resolve(Instant::from_secs(600), HOST, Packet(1, 100));
    let seen = run(&mut cache, Instant::from_secs(1_200));
    let times: Vec<u64> = seen.iter().map(|(ms, ..)| *ms).collect();
    assert_eq!(times, [1_196_000, 1_197_000, 1_198_000, 1_199_000]);
    assert_eq!(seen[3].2, TimeoutAction::Forget);
}

#[test]
fn a_stale_entry_is_used_at_once_and_confirmed_five_seconds_later() {
    let mut cache = cache();
    cache.learn(at(0), HOST, MAC, Evidence::Request);
    assert_eq!(state(&cache, HOST), Some(NeighborState::Stale));
    let packet = Packet(1, 100);
    assert_eq!(cache.resolve(at(100), HOST, packet), Resolve::Known { address: MAC, packet });
    assert_eq!(state(&cache, HOST), Some(NeighborState::Probe));
    assert_eq!(run(&mut cache, at(5_100)), [(5_100, HOST, TimeoutAction::Ask { at: Some(MAC) })]);
}

#[test]
fn traffic_that_is_acknowledged_spares_the_question() {
    let mut cache = cache();
    cache.learn(at(0), HOST, MAC, Evidence::Request);
    cache.resolve(at(100), HOST, Packet(1, 100));
    cache.confirm(at(200), HOST);
    cache.confirm(at(200), host(1, 77));
    assert_eq!(state(&cache, HOST), Some(NeighborState::Reachable));
    assert_eq!(run(&mut cache, at(10_000)), []);
}

#[test]
fn only_a_request_for_us_makes_a_new_entry() {
    let mut cache = cache();
    cache.learn(at(0), HOST, MAC, Evidence::Reply);
    cache.learn(at(0), HOST, MAC, Evidence::Overheard);
    assert!(cache.is_empty());
    cache.learn(at(0), HOST, MAC, Evidence::Request);
    assert!(cache.contains(HOST));
}

#[test]
fn a_neighbour_that_moved_is_believed_if_it_answered_and_verified_if_not() {
    let mut cache = cache();
    reachable(&mut cache, at(0), HOST);
    assert_eq!(cache.learn(at(1), HOST, OTHER, Evidence::Reply).moved, Some(MAC));
    assert_eq!(state(&cache, HOST), Some(NeighborState::Reachable));
    assert_eq!(cache.learn(at(2), HOST, MAC, Evidence::Overheard).moved, Some(OTHER));
    assert_eq!(state(&cache, HOST), Some(NeighborState::Stale));
    assert_eq!(cache.learn(at(3), HOST, MAC, Evidence::Overheard).moved, None);
    assert_eq!(state(&cache, HOST), Some(NeighborState::Reachable));
}

#[test]
fn a_permanent_entry_neither_moves_nor_lapses() {
    let mut cache = cache();
    cache.resolve(at(0), HOST, Packet(1, 100));
    let inserted = cache.insert_static(at(1), HOST, MAC, false, false).unwrap();
    assert_eq!(inserted.released, [Packet(1, 100)]);
    let learned = cache.learn(at(2), HOST, OTHER, Evidence::Reply);
    assert_eq!((learned.refused, learned.moved), (true, None));
    assert!(!cache.learn(at(2), HOST, MAC, Evidence::Reply).refused);
    cache.confirm(at(3), HOST);
    assert_eq!((run(&mut cache, Instant::from_secs(1_000_000)), cache.next_deadline()), (vec![], None));
    let listing = cache.listing(HOST).unwrap();
    assert!(listing.is_permanent() && listing.expires.is_none());
    let packet = Packet(2, 100);
    assert_eq!(cache.resolve(at(4), HOST, packet), Resolve::Known { address: MAC, packet });
    assert_eq!(cache.remove(HOST), Some(vec![]));
    assert_eq!(cache.remove(HOST), None);
}

#[test]
fn a_temporary_entry_lapses_and_a_published_one_is_answered_for() {
    let mut cache = cache();
    cache.insert_static(at(0), HOST, MAC, true, true).unwrap();
    assert_eq!(cache.published(HOST), Some(MAC));
    assert!(cache.listing(HOST).unwrap().published);
    run(&mut cache, Instant::from_secs(1_200));
    assert_eq!(cache.published(HOST), None);
    cache.insert_static(at(0), HOST, MAC, false, false).unwrap();
    assert_eq!(cache.published(HOST), None);
}

#[test]
fn a_queue_over_its_limit_gives_up_its_oldest_packet() {
    let mut cache = cache();
    for n in 0..3 {
        cache.resolve(at(0), HOST, Packet(n, 100));
    }
    let Resolve::Queued { dropped, .. } = cache.resolve(at(0), HOST, Packet(3, 100)) else {
        panic!("queued")
    };
    assert_eq!(dropped, [Packet(0, 100)]);
    let Resolve::Queued { dropped, .. } = cache.resolve(at(0), HOST, Packet(4, 9_900)) else {
        panic!("queued")
    };
    assert_eq!(dropped, [Packet(1, 100), Packet(2, 100), Packet(3, 100)]);
    let Resolve::Queued { dropped, .. } = cache.resolve(at(0), HOST, Packet(5, 10_001)) else {
        panic!("queued")
    };
    assert_eq!(dropped, [Packet(5, 10_001)]);
    assert_eq!(cache.learn(at(1), HOST, MAC, Evidence::Reply).released, [Packet(4, 9_900)]);
}

#[test]
fn all_queues_together_give_up_the_oldest_packet_of_all() {
    let mut cache = cache();
    cache.resolve(at(0), host(1, 1), Packet(1, 7_000));
    cache.resolve(at(1), host(1, 2), Packet(2, 7_000));
    let Resolve::Queued { dropped, .. } = cache.resolve(at(2), host(1, 3), Packet(3, 7_000)) else {
        panic!("queued")
    };
    assert_eq!(dropped, [Packet(1, 7_000)]);
    assert_eq!(cache.listing(host(1, 1)).unwrap().waiting, 0);
    assert!(cache.waiting_bytes() <= LIMITS.total_queue_bytes.into());
}

#[test]
fn a_flood_of_requests_displaces_nothing_but_itself() {
    let mut cache = cache();
    for n in 0..4 {
        reachable(&mut cache, at(0), host(1, n));
    }
    cache.resolve(at(0), host(1, 4), Packet(1, 100));
    let mut evictions = 0;
    for n in 0..1_000_000 {
        evictions += u32::from(cache.learn(at(1), host(1, 1_000 + n), OTHER, Evidence::Request).evicted);
    }
    assert_eq!((cache.len(), evictions), (LIMITS.entries, 1_000_000 - 3));
    assert!((0..5).all(|n| cache.contains(host(1, n))));
}

#[test]
fn a_flood_of_requests_finds_no_room_in_a_table_of_used_entries() {
    let mut cache = cache();
    (0..8).for_each(|n| reachable(&mut cache, at(0), host(1, n)));
    let learned = cache.learn(at(1), host(2, 99), OTHER, Evidence::Request);
    assert!(!learned.evicted && !cache.contains(host(2, 99)));
}

#[test]
fn a_new_neighbour_displaces_an_unused_one_then_an_unanswered_one_then_the_one_used_longest_ago() {
    let mut cache = cache();
    (0..6).for_each(|n| reachable(&mut cache, at(n.into()), host(1, n)));
    cache.resolve(at(10), host(1, 6), Packet(6, 100));
    cache.learn(at(11), host(1, 7), MAC, Evidence::Request);
    cache.resolve(at(5_000), host(1, 0), Packet(0, 100));
    let mut need = |n| match cache.resolve(at(6_000), host(2, n), Packet(n, 100)) {
        Resolve::Queued { ask: true, dropped, evicted: true } => {
            cache.learn(at(6_000), host(2, n), MAC, Evidence::Reply);
            dropped
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(need(0), []);
    assert_eq!(need(1), [Packet(6, 100)]);
    assert_eq!(need(2), []);
    let left: Vec<NeighborKey> = cache.list_after(None).map(|(key, _)| key).collect();
    let expected =
        [host(1, 0), host(1, 2), host(1, 3), host(1, 4), host(1, 5), host(2, 0), host(2, 1), host(2, 2)];
    assert_eq!(left, expected);
}

#[test]
fn the_interface_that_holds_most_of_a_sort_pays_first() {
    let mut cache = cache();
    (0..2).for_each(|n| reachable(&mut cache, at(0), host(1, n)));
    (0..6).for_each(|n| reachable(&mut cache, at(50_000), host(2, n)));
    cache.resolve(at(50_001), host(3, 0), Packet(0, 100));
    assert!((0..2).all(|n| cache.contains(host(1, n))));
    assert!(!cache.contains(host(2, 0)));
}

#[test]
fn a_table_of_permanent_entries_takes_no_more() {
    let mut cache = cache();
    (0..8).for_each(|n| drop(cache.insert_static(at(0), host(1, n), MAC, n % 2 == 0, true).unwrap()));
    let packet = Packet(1, 100);
    assert_eq!(cache.resolve(at(1), HOST, packet), Resolve::TableFull { packet });
    assert_eq!(cache.insert_static(at(1), HOST, MAC, false, false), Err(TableFull));
    assert!(cache.insert_static(at(1), host(1, 3), OTHER, false, false).is_ok());
}

#[test]
fn an_interface_is_flushed_in_slices_and_others_keep_theirs() {
    let mut cache = cache();
    cache.insert_static(at(0), host(1, 0), MAC, false, true).unwrap();
    cache.resolve(at(0), host(1, 1), Packet(7, 100));
    reachable(&mut cache, at(0), host(2, 0));
    cache.learn(at(0), (1, "fe80::1".parse().unwrap()), MAC, Evidence::Request);
    assert_eq!(cache.remove_next_of(1), Some(vec![]));
    assert_eq!(cache.remove_next_of(1), Some(vec![Packet(7, 100)]));
    assert_eq!((cache.remove_next_of(1), cache.remove_next_of(1)), (Some(vec![]), None));
    assert!(cache.contains(host(2, 0)));
    assert_eq!(cache.waiting_bytes(), 0);
}

#[test]
fn a_listing_goes_on_after_any_key_even_one_that_is_gone() {
    let mut cache = cache();
    (0..6).for_each(|n| reachable(&mut cache, at(0), host(1 + n % 2, n)));
    let all: Vec<NeighborKey> = cache.list_after(None).map(|(key, _)| key).collect();
    assert!(all.is_sorted());
    cache.remove(all[2]);
    let rest: Vec<NeighborKey> = cache.list_after(Some(all[2])).map(|(key, _)| key).collect();
    assert_eq!(rest, all[3..]);
}

#[test]
fn a_shorter_lifetime_holds_from_the_next_confirmation() {
    let mut cache = cache();
    reachable(&mut cache, at(0), HOST);
    cache.set_lifetime(Duration::from_secs(5));
    assert_eq!(cache.listing(HOST).unwrap().expires, Some(Instant::from_secs(1_200)));
    cache.learn(at(1_000), HOST, MAC, Evidence::Reply);
    assert_eq!(run(&mut cache, at(6_000)), [(6_000, HOST, TimeoutAction::Forget)]);
}

#[derive(Clone, Debug)]
enum Step {
    Resolve(NeighborKey, usize),
    Learn(NeighborKey, u8, Evidence),
    Confirm(NeighborKey),
    Static(NeighborKey, bool, bool),
    Remove(NeighborKey),
    Flush(u32),
    Wait(u64),
}

fn key() -> impl Strategy<Value = NeighborKey> {
    (1_u32..4, 0_u32..8).prop_map(|(interface, n)| host(interface, n))
}

fn step() -> impl Strategy<Value = Step> {
    let evidence = prop_oneof![Just(Evidence::Reply), Just(Evidence::Request), Just(Evidence::Overheard)];
    prop_oneof![
        6 => (key(), 0_usize..12_000).prop_map(|(key, size)| Step::Resolve(key, size)),
        4 => (key(), 1_u8..4, evidence).prop_map(|(key, mac, how)| Step::Learn(key, mac, how)),
        1 => key().prop_map(Step::Confirm),
        1 => (key(), any::<bool>(), any::<bool>()).prop_map(|(key, temporary, published)| Step::Static(key, temporary, published)),
        1 => key().prop_map(Step::Remove),
        1 => (1_u32..4).prop_map(Step::Flush),
        3 => (0_u32..22, any::<u64>()).prop_map(|(bits, noise)| Step::Wait(noise & ((1 << bits) - 1))),
    ]
}

/// The cache with an account of every packet given to it.
struct Account {
    cache: NeighborCache<Packet>,
    given: u32,
    back: Vec<u32>,
    now: Instant,
}

impl Account {
    fn take(&mut self, packets: impl IntoIterator<Item = Packet>) {
        self.back.extend(packets.into_iter().map(|packet| packet.0));
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Resolve(key, size) => self.resolve(key, size),
            Step::Learn(key, mac, how) => {
                let known = self.cache.contains(key);
                let learned = self.cache.learn(self.now, key, Address([mac; 6]), how);
                assert!(how == Evidence::Request || known == self.cache.contains(key));
                self.take(learned.released);
            }
            Step::Confirm(key) => self.cache.confirm(self.now, key),
            Step::Static(key, temporary, published) => {
                let inserted = self.cache.insert_static(self.now, key, MAC, temporary, published);
                if let Ok(Inserted { released, dropped, .. }) = inserted {
                    self.take(released.into_iter().chain(dropped));
                }
            }
            Step::Remove(key) => {
                let packets = self.cache.remove(key);
                self.take(packets.unwrap_or_default());
            }
            Step::Flush(interface) => {
                while let Some(packets) = self.cache.remove_next_of(interface) {
                    self.take(packets);
                }
                assert!(self.cache.list_after(None).all(|(key, _)| key.0 != interface));
            }
            Step::Wait(ms) => self.wait(ms),
        }
    }

    fn resolve(&mut self, key: NeighborKey, size: usize) {
        self.given += 1;
        match self.cache.resolve(self.now, key, Packet(self.given, size)) {
            Resolve::Known { packet, .. }
            | Resolve::Unreachable { packet }
            | Resolve::TableFull { packet } => {
                self.take([packet]);
            }
            Resolve::Queued { dropped, .. } => self.take(dropped),
        }
    }

    fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        for _ in 0..1_000 {
            while let Some((key, action)) = self.cache.next_timeout(self.now) {
                match action {
                    TimeoutAction::Ask { .. } => assert!(self.cache.contains(key)),
                    TimeoutAction::GiveUp { packets } => self.take(packets),
                    TimeoutAction::Forget => assert!(!self.cache.contains(key)),
                }
            }
        }
        assert!(self.cache.next_deadline().is_none_or(|next| next > self.now));
    }

    fn check(&mut self) {
        assert!(self.cache.len() <= LIMITS.entries);
        assert!(self.cache.waiting_bytes() <= LIMITS.total_queue_bytes.into());
        assert_eq!(self.cache.len() as usize, self.cache.list_after(None).count());
        let mut waiting = 0;
        for (key, listing) in self.cache.list_after(None) {
            let entry = self.cache.entry(self.cache.index.find(key).unwrap());
            assert_eq!(entry.place.is_none(), listing.published || listing.is_permanent());
            assert_eq!(entry.timer.is_none(), listing.is_permanent());
            assert!(listing.waiting == 0 || entry.state == State::Incomplete);
            assert_eq!(
                listing.link_address.is_none(),
                matches!(entry.state, State::Incomplete | State::Failed)
            );
            waiting += listing.waiting;
        }
        self.back.sort_unstable();
        assert!(self.back.is_sorted_by(|a, b| a < b), "a packet came back twice");
        assert_eq!(self.back.len() as u32 + waiting, self.given);
    }
}

proptest! {
    #[test]
    fn no_packet_is_lost_and_no_limit_passed(steps in prop::collection::vec(step(), 0..150)) {
        let mut account = Account { cache: cache(), given: 0, back: vec![], now: Instant::ZERO };
        for step in steps {
            account.perform(step);
            account.check();
        }
    }

    #[test]
    fn what_must_not_be_evicted_stays_until_it_is_removed(steps in prop::collection::vec(step(), 0..150)) {
        let mut account = Account { cache: cache(), given: 0, back: vec![], now: Instant::ZERO };
        account.perform(Step::Static(HOST, false, true));
        for step in steps {
            if !matches!(step, Step::Flush(1)) {
                account.perform(step);
            }
            prop_assert!(account.cache.listing(HOST).is_some_and(|listing| listing.is_permanent()));
        }
    }
}
