//! The wheel against a sorted map, and the promises its documentation makes.

use super::*;
use crate::time::Duration;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use proptest::prelude::*;

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

fn drain(wheel: &mut Wheel<u32>, now: Instant) -> Vec<u32> {
    let mut keys = Vec::new();
    while let Some(key) = wheel.expired(now, &mut 1_000_000) {
        keys.push(key);
    }
    keys
}

#[test]
fn a_timer_expires_at_its_deadline_and_not_a_nanosecond_before() {
    let mut wheel = Wheel::new(Instant::ZERO);
    wheel.insert(7, at(1_000_000_007));
    assert_eq!(wheel.next_deadline(), Some(at(1_000_000_007)));
    assert_eq!(drain(&mut wheel, at(1_000_000_006)), []);
    assert_eq!(drain(&mut wheel, at(1_000_000_007)), [7]);
    assert_eq!((wheel.next_deadline(), wheel.is_empty()), (None, true));
}

#[test]
fn a_deadline_in_the_past_is_due_at_once() {
    let mut wheel = Wheel::new(at(500));
    wheel.insert(1, at(3));
    wheel.insert(2, at(500));
    assert_eq!(wheel.next_deadline(), Some(at(3)));
    assert_eq!(drain(&mut wheel, at(500)), [1, 2]);
}

#[test]
fn a_clock_that_steps_back_expires_nothing_twice_and_hangs_nowhere() {
    let mut wheel = Wheel::new(at(1_000));
    let id = wheel.insert(1, at(900));
    assert!(wheel.reset(id, at(950)));
    assert_eq!(drain(&mut wheel, at(100)), [1]);
}

#[test]
fn the_last_instant_and_the_first_can_both_be_deadlines() {
    let mut wheel = Wheel::new(Instant::ZERO);
    wheel.insert(1, Instant::MAX);
    wheel.insert(2, Instant::ZERO);
    assert_eq!(drain(&mut wheel, at(1)), [2]);
    assert_eq!(wheel.next_deadline(), Some(Instant::MAX));
    assert_eq!(drain(&mut wheel, Instant::MAX - Duration::from_nanos(1)), []);
    assert_eq!(drain(&mut wheel, Instant::MAX), [1]);
}

#[test]
fn an_id_is_good_until_its_timer_expires_or_is_cancelled() {
    let mut wheel = Wheel::new(Instant::ZERO);
    let expiring = wheel.insert(1, at(10));
    let cancelled = wheel.insert(2, at(10));
    assert_eq!(wheel.cancel(cancelled), Some(2));
    assert_eq!(drain(&mut wheel, at(10)), [1]);
    let later = wheel.insert(3, at(20));
    for stale in [expiring, cancelled] {
        assert_eq!(
            (wheel.cancel(stale), wheel.reset(stale, at(1)), wheel.deadline(stale)),
            (None, false, None)
        );
    }
    assert_eq!(wheel.deadline(later), Some(at(20)));
}

#[test]
fn putting_a_timer_off_touches_that_timer_alone_and_its_old_deadline_passes_unnoticed() {
    let mut wheel = Wheel::new(Instant::ZERO);
    let id = wheel.insert(1, Instant::from_millis(200));
    let touched = wheel.touched;
    for ms in 201..5_000 {
        assert!(wheel.reset(id, Instant::from_millis(ms)));
    }
    assert_eq!(wheel.touched, touched);
    assert_eq!(wheel.next_deadline(), Some(Instant::from_millis(4_999)));
    assert_eq!(drain(&mut wheel, Instant::from_millis(4_998)), []);
    assert_eq!(drain(&mut wheel, Instant::from_millis(4_999)), [1]);
}

#[test]
fn a_timer_moved_earlier_expires_earlier() {
    let mut wheel = Wheel::new(Instant::ZERO);
    let id = wheel.insert(1, Instant::from_secs(3_600));
    wheel.insert(2, Instant::from_secs(60));
    assert!(wheel.reset(id, Instant::from_micros(50)));
    assert_eq!(wheel.next_deadline(), Some(Instant::from_micros(50)));
    assert_eq!(drain(&mut wheel, Instant::from_micros(50)), [1]);
}

#[test]
fn timers_with_one_deadline_expire_in_the_order_they_were_armed() {
    let mut wheel = Wheel::new(Instant::ZERO);
    for key in 0..100 {
        wheel.insert(key, at(77_777));
    }
    assert!(drain(&mut wheel, at(77_777)).is_sorted());
}

#[test]
fn a_mass_expiry_can_be_taken_in_slices() {
    let mut wheel = Wheel::new(Instant::ZERO);
    for key in 0..1_000_u32 {
        wheel.insert(key, Instant::from_millis(10) + Duration::from_micros(key.into()));
    }
    let (now, mut slices, mut keys) = (Instant::from_secs(1), 0, Vec::new());
    while wheel.next_deadline().is_some_and(|next| next <= now) {
        let mut budget = 100;
        while let Some(key) = wheel.expired(now, &mut budget) {
            keys.push(key);
        }
        slices += 1;
    }
    keys.sort_unstable();
    assert_eq!(keys, (0..1_000).collect::<Vec<_>>());
    assert!((10..=12).contains(&slices), "{slices} slices");
}

#[test]
fn an_early_wake_makes_progress_and_wakes_are_few() {
    let mut wheel = Wheel::new(Instant::ZERO);
    let last = Instant::from_secs(100) + Duration::from_nanos(1_999);
    for key in 0..2_000_u32 {
        wheel.insert(key, Instant::from_secs(100) + Duration::from_nanos(key.into()));
    }
    let (mut wakes, mut early) = (0, 0);
    while let Some(next) = wheel.next_deadline() {
        early += u32::from(drain(&mut wheel, next).is_empty());
        assert!(wheel.next_deadline().is_none_or(|after| after > next), "no progress at {next}");
        wakes += 1;
    }
    assert!(wakes <= 2_000 + early && early <= 40, "{wakes} wakes of which {early} too early");
    assert_eq!(drain(&mut wheel, last), []);
}

#[test]
fn few_timers_are_told_exactly_however_far_they_are() {
    let mut wheel = Wheel::new(Instant::ZERO);
    for key in 0..8_u32 {
        wheel.insert(key, Instant::from_secs(86_400 * 365) + Duration::from_nanos((8 - key).into()));
    }
    assert_eq!(wheel.next_deadline(), Some(Instant::from_secs(86_400 * 365) + Duration::from_nanos(1)));
}

#[test]
fn an_empty_wheel_weighs_less_than_3_kib_and_owns_no_memory() {
    assert!(size_of::<Wheel<u64>>() < 3 * 1024, "{}", size_of::<Wheel<u64>>());
    assert_eq!(Wheel::<u64>::new(Instant::ZERO).heap_bytes(), 0);
    assert!(size_of::<Timer<u64>>() <= 32);
}

/// A wheel with `n` timers spread over an hour, all of them some way off.
fn crowd(n: u32) -> (Wheel<u32>, Vec<TimerId>) {
    let mut wheel = Wheel::new(Instant::ZERO);
    let spread = u64::from(n);
    let ids = (0..n)
        .map(|key| wheel.insert(key, at(1_000_000 + u64::from(key) * 3_600_000_000_000 / spread)))
        .collect();
    (wheel, ids)
}

#[test]
fn the_cost_of_each_operation_does_not_depend_on_how_many_timers_there_are() {
    for n in [1, 100, 100_000] {
        let (mut wheel, ids) = crowd(n);
        let before = wheel.touched;
        let id = wheel.insert(n, Instant::from_secs(30));
        assert!(wheel.reset(id, Instant::from_secs(1)));
        assert_eq!(wheel.cancel(ids[ids.len() / 2]), Some(n / 2));
        assert_eq!(wheel.cancel(id), Some(n));
        assert!(wheel.touched - before <= 16, "{} touches among {n}", wheel.touched - before);
        assert!(wheel.earliest().1 <= LOOK);
    }
}

#[test]
fn every_timer_of_a_crowd_is_filed_a_bounded_number_of_times() {
    let n = 20_000;
    let (mut wheel, _) = crowd(n);
    let mut units = 0_u64;
    for second in 0..=3_601 {
        let mut budget = u32::MAX;
        while wheel.expired(Instant::from_secs(second), &mut budget).is_some() {}
        units += u64::from(u32::MAX - budget);
    }
    assert!(wheel.is_empty());
    assert!(units <= u64::from(n) * LEVELS as u64, "{units} units for {n} timers");
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    Reset(prop::sample::Index, u64),
    Cancel(prop::sample::Index),
    Advance(u64, u32),
    SleepUntilNext(u32),
}

/// Spans of every magnitude, from a nanosecond to years, and sometimes into the past.
fn span() -> impl Strategy<Value = u64> {
    (0_u32..=62, any::<u64>()).prop_map(|(bits, noise)| noise & ((1 << bits) - 1))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => span().prop_map(Step::Insert),
        3 => (any::<prop::sample::Index>(), span()).prop_map(|(pick, span)| Step::Reset(pick, span)),
        1 => any::<prop::sample::Index>().prop_map(Step::Cancel),
        2 => (span(), 0_u32..40).prop_map(|(span, budget)| Step::Advance(span, budget)),
        3 => (0_u32..40).prop_map(Step::SleepUntilNext),
    ]
}

/// What the wheel should hold, beside the wheel.
struct Pair {
    wheel: Wheel<u32>,
    model: BTreeMap<u32, u64>,
    made: Vec<TimerId>,
    now: u64,
}

impl Pair {
    fn new(origin: u64) -> Self {
        Self { wheel: Wheel::new(at(origin)), model: BTreeMap::new(), made: Vec::new(), now: origin }
    }

    fn insert(&mut self, deadline: u64) {
        let key = self.made.len() as u32;
        self.made.push(self.wheel.insert(key, at(deadline)));
        self.model.insert(key, deadline);
    }

    fn reset(&mut self, pick: prop::sample::Index, deadline: u64) {
        if !self.made.is_empty() {
            let key = pick.index(self.made.len());
            let armed = self.model.get_mut(&(key as u32)).map(|model| *model = deadline).is_some();
            assert_eq!(self.wheel.reset(self.made[key], at(deadline)), armed);
        }
    }

    fn cancel(&mut self, pick: prop::sample::Index) {
        if !self.made.is_empty() {
            let key = pick.index(self.made.len());
            let armed = self.model.remove(&(key as u32)).map(|_| key as u32);
            assert_eq!(self.wheel.cancel(self.made[key]), armed);
        }
    }

    /// Lets the time be `now`, pulling with a small budget first and then without limit.
    fn advance(&mut self, now: u64, mut budget: u32) {
        self.now = self.now.max(now);
        let due = |model: &BTreeMap<u32, u64>, now| model.values().any(|deadline| *deadline <= now);
        while let Some(key) = self.wheel.expired(at(self.now), &mut budget) {
            assert!(self.model.remove(&key).is_some_and(|deadline| deadline <= self.now));
        }
        if due(&self.model, self.now) {
            assert_eq!(budget, 0);
            assert!(self.wheel.next_deadline().is_some_and(|next| next <= at(self.now)));
        }
        for key in drain(&mut self.wheel, at(self.now)) {
            assert!(self.model.remove(&key).is_some_and(|deadline| deadline <= self.now));
        }
        assert!(!due(&self.model, self.now));
    }

    fn check(&self) {
        assert_eq!(self.wheel.len() as usize, self.model.len());
        let earliest = self.model.values().min().copied();
        let (next, looked) = self.wheel.earliest();
        assert_eq!(next.is_some(), earliest.is_some());
        assert!(next.map(Instant::as_nanos) <= earliest, "{next:?} is later than {earliest:?}");
        assert!(looked <= LOOK);
        if self.model.len() <= LOOK as usize {
            assert_eq!(next.map(Instant::as_nanos), earliest);
        }
    }
}

proptest! {
    #[test]
    fn it_agrees_with_a_sorted_map(origin in span(), steps in prop::collection::vec(step(), 0..150)) {
        let mut pair = Pair::new(origin);
        for step in steps {
            match step {
                Step::Insert(span) => pair.insert(pair.now.saturating_add(span).saturating_sub(5)),
                Step::Reset(pick, span) => pair.reset(pick, pair.now.saturating_add(span)),
                Step::Cancel(pick) => pair.cancel(pick),
                Step::Advance(span, budget) => pair.advance(pair.now.saturating_add(span), budget),
                Step::SleepUntilNext(budget) => {
                    if let Some(next) = pair.wheel.next_deadline() {
                        pair.advance(next.as_nanos(), budget);
                        prop_assert!(pair.wheel.next_deadline().is_none_or(|after| after.as_nanos() > pair.now));
                    }
                }
            }
            pair.check();
        }
    }
}
