//! [`Wheel`]: deadlines in a hierarchical timing wheel that needs no tick.
//!
//! Eleven levels of 64 slots cover all of [`Instant`]: a slot of level 0 is one nanosecond wide, each level up 64
//! times wider, so level 3 has slots of 262 µs, level 5 of 1.07 s and level 10 of 37 years. A timer is filed at the
//! level of the highest six-bit digit in which its deadline differs from the time the wheel has reached, and is filed
//! anew, lower, when its slot comes up. Inserting, cancelling and moving a timer therefore never depend on how many
//! there are, and neither does asking for the next deadline (Varghese and Lauck, "Hashed and hierarchical timing
//! wheels", SOSP 1987).
//!
//! Moving a timer to a later deadline is a store: it stays where it is filed and moves on when that slot comes up.
//! That is what a connection does with every acknowledgement, so a timer that is put off for ever is re-filed about
//! once for each span it is put off by, not once a packet.
//!
//! Not here: callbacks, periodic timers, and the clock. Expired keys are pulled with [`Wheel::expired`]; among those
//! expired at the same call the order is fixed by the calls made before, but it is not the order of deadlines.

use crate::slab::{Key, Slab};
use crate::time::Instant;

/// Six bits of the deadline a level.
const DIGIT_BITS: u32 = 6;
const SLOTS: u16 = 1 << DIGIT_BITS;
/// Enough six-bit digits for 64 bits; the topmost level has only four bits left and so 16 slots.
const LEVELS: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;
/// The list of timers that were due already when they were filed; it follows the last slot of the last level.
const DUE: u16 = (u64::BITS / DIGIT_BITS) as u16 * SLOTS + (1 << (u64::BITS % DIGIT_BITS));
const LISTS: usize = DUE as usize + 1;
/// The end of a list, or an empty one.
const NO_TIMER: u32 = u32::MAX;
/// How many timers [`Wheel::next_deadline`] looks at before it settles for the start of a slot.
const LOOK: u32 = 8;

/// Names one timer of one [`Wheel`]; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TimerId(Key);

/// Timers that each carry a `K`; see the module's description. Without timers it weighs less than 3 KiB.
#[derive(Clone, Debug)]
pub struct Wheel<K> {
    timers: Slab<Timer<K>>,
    /// The first timer of each slot's circular list, level by level, then of the due list.
    heads: [u32; LISTS],
    /// A bit for each slot of a level that has timers.
    occupied: [u64; LEVELS],
    /// The time reached, in ns: no slot but the one being emptied starts at or before it.
    elapsed: u64,
    /// The slot that has come up and is not yet empty; it starts at `elapsed`.
    emptying: Option<u16>,
    #[cfg(test)]
    touched: u64,
}

#[derive(Clone, Debug)]
struct Timer<K> {
    key: K,
    /// When it is due, in ns. May lie beyond the slot it is filed in, never before it.
    deadline: u64,
    next: u32,
    prev: u32,
    list: u16,
}

impl<K: Copy> Wheel<K> {
    /// A wheel without timers whose time begins at `origin`.
    pub const fn new(origin: Instant) -> Self {
        Self {
            timers: Slab::new(u32::MAX),
            heads: [NO_TIMER; LISTS],
            occupied: [0; LEVELS],
            elapsed: origin.as_nanos(),
            emptying: None,
            #[cfg(test)]
            touched: 0,
        }
    }

    /// Arms a timer that carries `key`. A deadline in the past is due at once.
    pub fn insert(&mut self, key: K, deadline: Instant) -> TimerId {
        let timer = Timer { key, deadline: deadline.as_nanos(), next: NO_TIMER, prev: NO_TIMER, list: DUE };
        let Ok(id) = self.timers.insert(timer) else { unreachable!("2^32 timers outweigh any memory") };
        self.file(id.index);
        TimerId(id)
    }

    /// Moves a timer to another deadline, earlier or later; false if it has expired or been cancelled.
    ///
    /// Costs a store unless the new deadline lies before the slot in which the timer waits.
    pub fn reset(&mut self, id: TimerId, deadline: Instant) -> bool {
        let Some(timer) = self.timers.value_mut(id.0) else { return false };
        timer.deadline = deadline.as_nanos();
        let list = timer.list;
        if list == DUE || deadline.as_nanos() < self.start_of(list) {
            self.unlink(id.0.index);
            self.file(id.0.index);
        }
        true
    }

    /// Disarms a timer and hands its key back; `None` if it has expired or been cancelled before.
    pub fn cancel(&mut self, id: TimerId) -> Option<K> {
        if !self.timers.contains(id.0) {
            return None;
        }
        self.unlink(id.0.index);
        self.timers.remove(id.0).map(|timer| timer.key)
    }

    /// Takes out one timer whose deadline is at or before `now`, in a fixed but not chronological order.
    ///
    /// Call until it gives `None`. Each timer looked at costs one unit of `budget`, whether it was due or had to be
    /// filed anew, and with none left the answer is `None`: then [`Wheel::next_deadline`] is not after `now` if there
    /// may be more to do. With budget left, `None` says that every timer left is later than `now`. A `now` before
    /// an earlier one counts as that earlier one.
    pub fn expired(&mut self, now: Instant, budget: &mut u32) -> Option<K> {
        let now = now.as_nanos().max(self.elapsed);
        while *budget > 0 {
            let index = self.first_until(now)?;
            *budget -= 1;
            self.unlink(index);
            if self.timer(index).deadline <= now {
                let id = self.timers.key_at(index)?;
                return self.timers.remove(id).map(|timer| timer.key);
            }
            self.file(index);
        }
        None
    }

    /// When to call [`Wheel::expired`] next; `None` without timers.
    ///
    /// Never after the earliest deadline. It is exactly that deadline as long as finding it takes a look at no more
    /// than eight timers, which is so whenever there are no more than eight. Beyond that it may be the start of the
    /// slot which the earliest deadline may be in: early by less than that slot's width, yet always after the last
    /// `now` the wheel was told. A wake at that time files the slot's timers anew, lower, so the answer after it is
    /// later: waking early always makes progress. When `expired` stopped for want of budget it may be any time not
    /// after the `now` given there.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.earliest().0
    }

    /// The deadline of a timer that is still armed.
    pub fn deadline(&self, id: TimerId) -> Option<Instant> {
        self.timers.value(id.0).map(|timer| Instant::from_nanos(timer.deadline))
    }

    /// The number of armed timers.
    pub const fn len(&self) -> u32 {
        self.timers.len()
    }

    /// Whether no timer is armed.
    pub const fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// The bytes of heap memory held for timers, armed or once armed.
    pub fn heap_bytes(&self) -> usize {
        self.timers.heap_bytes()
    }

    /// The next deadline, and how many timers were looked at to find it.
    fn earliest(&self) -> (Option<Instant>, u32) {
        let (mut best, mut looked) = (None, 0);
        let mut list = self.first_list();
        while let Some(current) = list {
            let start = self.start_of(current);
            if best.is_some_and(|best| best <= start) {
                break;
            }
            for deadline in self.deadlines(current) {
                if looked == LOOK {
                    return (Some(Instant::from_nanos(start)), looked);
                }
                looked += 1;
                best = Some(best.map_or(deadline, |best: u64| best.min(deadline)));
            }
            list = self.list_after(current);
        }
        (best.map(Instant::from_nanos), looked)
    }

    /// A timer that may be due by `now`, of the list that comes first. If there is none, the wheel has reached `now`.
    fn first_until(&mut self, now: u64) -> Option<u32> {
        match self.first_list() {
            Some(list) if self.start_of(list) <= now => {
                if list != DUE {
                    self.elapsed = self.start_of(list);
                    self.emptying = Some(list);
                }
                Some(self.heads[list as usize])
            }
            _ => {
                self.elapsed = now;
                None
            }
        }
    }

    /// The list with the earliest start: the due ones, then the slot being emptied, then the slots by level.
    fn first_list(&self) -> Option<u16> {
        if self.heads[DUE as usize] != NO_TIMER {
            return Some(DUE);
        }
        self.emptying.or_else(|| self.slot_from(0))
    }

    fn list_after(&self, list: u16) -> Option<u16> {
        if list == DUE && self.emptying.is_some() {
            return self.emptying;
        }
        let first = if list == DUE || self.emptying == Some(list) { 0 } else { list + 1 };
        self.slot_from(first).filter(|slot| self.emptying != Some(*slot)).or_else(|| {
            // The slot being emptied had its turn already.
            self.emptying
                .filter(|emptying| *emptying >= first)
                .and_then(|emptying| self.slot_from(emptying + 1))
        })
    }

    /// The first occupied slot with at least this number. Numbers run in the order of time, because a level's slots
    /// ahead all lie within the current slot of the level above.
    fn slot_from(&self, first: u16) -> Option<u16> {
        let (level, digit) = (first / SLOTS, first % SLOTS);
        let mut ahead = u64::MAX << digit;
        for level in level..LEVELS as u16 {
            let occupied = self.occupied[level as usize] & ahead;
            if occupied != 0 {
                return Some(level * SLOTS + occupied.trailing_zeros() as u16);
            }
            ahead = u64::MAX;
        }
        None
    }

    /// The earliest time a timer in this list may be due.
    fn start_of(&self, list: u16) -> u64 {
        if list == DUE {
            return 0;
        }
        let shift = u32::from(list / SLOTS) * DIGIT_BITS;
        let above = u64::MAX.checked_shl(shift + DIGIT_BITS).unwrap_or(0);
        self.elapsed & above | u64::from(list % SLOTS) << shift
    }

    /// The list for a deadline: by the highest digit that differs from the time reached.
    const fn list_for(&self, deadline: u64) -> u16 {
        if deadline <= self.elapsed {
            return DUE;
        }
        let level = (deadline ^ self.elapsed).ilog2() / DIGIT_BITS;
        let digit = deadline >> (level * DIGIT_BITS) & (SLOTS as u64 - 1);
        level as u16 * SLOTS + digit as u16
    }

    /// Appends a timer that is in no list to the one its deadline belongs to.
    fn file(&mut self, index: u32) {
        let list = self.list_for(self.timer(index).deadline);
        let head = self.heads[list as usize];
        if head == NO_TIMER {
            self.heads[list as usize] = index;
            self.mark(list, true);
            self.tie(index, index);
        } else {
            let last = self.timer(head).prev;
            self.tie(last, index);
            self.tie(index, head);
        }
        self.timer_mut(index).list = list;
    }

    /// Takes a timer out of its list, which may thereby become empty.
    fn unlink(&mut self, index: u32) {
        let &Timer { next, prev, list, .. } = self.timer(index);
        if next == index {
            self.heads[list as usize] = NO_TIMER;
            self.mark(list, false);
            return;
        }
        self.tie(prev, next);
        if self.heads[list as usize] == index {
            self.heads[list as usize] = next;
        }
    }

    /// Notes that a list has timers now, or has none any more.
    fn mark(&mut self, list: u16, occupied: bool) {
        if list == DUE {
            return;
        }
        let bit = 1 << (list % SLOTS);
        if occupied {
            self.occupied[(list / SLOTS) as usize] |= bit;
            return;
        }
        self.occupied[(list / SLOTS) as usize] &= !bit;
        if self.emptying == Some(list) {
            self.emptying = None;
        }
    }

    fn tie(&mut self, before: u32, after: u32) {
        self.timer_mut(before).next = after;
        self.timer_mut(after).prev = before;
    }

    /// The deadlines in a list, first to last.
    fn deadlines(&self, list: u16) -> impl Iterator<Item = u64> {
        let head = self.heads[list as usize];
        let mut next = (head != NO_TIMER).then_some(head);
        core::iter::from_fn(move || {
            let timer = self.timer(next?);
            next = (timer.next != head).then_some(timer.next);
            Some(timer.deadline)
        })
    }

    fn timer(&self, index: u32) -> &Timer<K> {
        self.timers.at_place(index).expect("lists hold only armed timers")
    }

    fn timer_mut(&mut self, index: u32) -> &mut Timer<K> {
        #[cfg(test)]
        {
            self.touched += 1;
        }
        self.timers.at_place_mut(index).expect("lists hold only armed timers")
    }
}

#[cfg(test)]
mod tests;
