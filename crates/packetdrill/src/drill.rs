//! One world for several threads: a lock around it, and calls that wait in virtual time.
//!
//! Time passes only when some thread lets it: [`Drill::pass`], [`Drill::next_sent`], and a microsecond with each look at the clock. A thread
//! whose call cannot be answered waits at a condition. Before time goes on, every thread that waits has tried again since the last change, so
//! a call ends at the very moment at which the stack lets it, however the host schedules threads.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
    time::Duration as HostDuration,
};

use rumpnet_stack::time::{Duration, Instant};

use crate::{
    refusal::{Answer, Refusal},
    world::{Patience, World},
};

/// How long the host may take to bring another thread in, when nothing is due in virtual time.
const STRAGGLERS: HostDuration = HostDuration::from_secs(1);
/// What a look at the clock takes, so that a loop which waits for a time by looking comes to its end.
const LOOK: Duration = Duration::from_micros(1);

/// A thread that waits in a call.
struct Waiter {
    thread: ThreadId,
    /// The last change after which it tried.
    seen: u64,
    until: Option<Instant>,
}

struct State {
    world: World,
    /// Counts changes.
    changes: u64,
    waiters: Vec<Waiter>,
    /// When calls that had waited have ended, until their threads look at the clock.
    ended: Vec<(ThreadId, Instant)>,
    /// Nobody may wait any more.
    closing: bool,
}

/// A world, and who waits in it.
pub struct Drill {
    state: Mutex<State>,
    changed: Condvar,
}

impl Drill {
    /// Around a world.
    pub const fn new(world: World) -> Self {
        let state = State { world, changes: 0, waiters: Vec::new(), ended: Vec::new(), closing: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call that never waits.
    pub fn enter<R>(&self, call: impl FnOnce(&mut World) -> R) -> R {
        let mut state = self.lock();
        let result = call(&mut state.world);
        self.tell(&mut state);
        result
    }

    /// Something has changed for those who wait.
    fn tell(&self, state: &mut State) {
        state.changes += 1;
        self.changed.notify_all();
    }

    /// A call that waits while `attempt` answers EAGAIN, as long as `patience` allows; EAGAIN when that is over, EINTR when the drill is freed.
    pub fn wait<R>(
        &self,
        patience: impl FnOnce(&World) -> Answer<Patience>,
        mut attempt: impl FnMut(&mut World) -> Answer<R>,
    ) -> Answer<R> {
        let mut state = self.lock();
        let first = attempt(&mut state.world);
        self.tell(&mut state);
        if !matches!(first, Err(Refusal::AGAIN)) {
            return first;
        }
        let until = match patience(&state.world)? {
            Patience::None => return first,
            Patience::Span(span) => Some(state.world.now() + span),
            Patience::Forever => None,
        };
        let thread = thread::current().id();
        let seen = state.changes;
        state.waiters.push(Waiter { thread, seen, until });
        let outcome = loop {
            while state.seen(thread) == state.changes {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let outcome = attempt(&mut state.world);
            let over = until.is_some_and(|until| state.world.now() >= until);
            if state.closing && matches!(outcome, Err(Refusal::AGAIN)) {
                break Err(Refusal::INTERRUPTED);
            }
            if over || !matches!(outcome, Err(Refusal::AGAIN)) {
                break outcome;
            }
            state.note_seen(thread);
            self.changed.notify_all();
        };
        state.leave(thread);
        self.tell(&mut state);
        outcome
    }

    /// Lets everyone who waits try once more.
    fn settle<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.tell(&mut state);
        self.let_waiters_try(state)
    }

    fn let_waiters_try<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while state.waiters.iter().any(|waiter| waiter.seen < state.changes) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Time goes on by so much; with it whatever is due.
    pub fn pass(&self, span: Duration) {
        let mut state = self.lock();
        let until = state.world.now() + span;
        loop {
            state = self.let_waiters_try(state);
            if !state.step(until) {
                break;
            }
            state = self.settle(state);
        }
        drop(self.settle(state));
    }

    /// A packet arrives from the network.
    pub fn inject(&self, packet: Vec<u8>) {
        let mut state = self.lock();
        state.world.inject(packet);
        drop(self.settle(state));
    }

    /// The next packet that the stack sends, and when; time goes on until there is one. None if nothing is due any more.
    pub fn next_sent(&self) -> Option<(Instant, Vec<u8>)> {
        let mut state = self.lock();
        loop {
            state = self.let_waiters_try(state);
            if let Some(sent) = state.world.next_sent() {
                return Some(sent);
            }
            state = match state.next_deadline() {
                Some(deadline) => {
                    state.step(deadline);
                    self.settle(state)
                }
                None => self.await_strangers(state)?,
            };
        }
    }

    /// Nothing is due, but another thread may be on its way in.
    fn await_strangers<'a>(&self, state: MutexGuard<'a, State>) -> Option<MutexGuard<'a, State>> {
        let before = state.changes;
        let (state, _) = self
            .changed
            .wait_timeout_while(state, STRAGGLERS, |state| state.changes == before && !state.closing)
            .unwrap_or_else(PoisonError::into_inner);
        (state.changes != before).then_some(state)
    }

    /// What the clock shows. A thread whose call has waited sees first when that call ended.
    pub fn look(&self) -> Instant {
        let mut state = self.lock();
        let thread = thread::current().id();
        if let Some(place) = state.ended.iter().position(|(known, _)| *known == thread) {
            return state.ended.swap_remove(place).1;
        }
        let now = state.world.now();
        drop(state);
        self.pass(LOOK);
        now
    }

    /// Ends every wait, and returns when nobody is inside.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        self.tell(&mut state);
        while !state.waiters.is_empty() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    fn seen(&self, thread: ThreadId) -> u64 {
        self.waiters.iter().find(|waiter| waiter.thread == thread).map_or(0, |waiter| waiter.seen)
    }

    fn note_seen(&mut self, thread: ThreadId) {
        let changes = self.changes;
        if let Some(waiter) = self.waiters.iter_mut().find(|waiter| waiter.thread == thread) {
            waiter.seen = changes;
        }
    }

    fn leave(&mut self, thread: ThreadId) {
        self.waiters.retain(|waiter| waiter.thread != thread);
        self.ended.retain(|(known, _)| *known != thread);
        self.ended.push((thread, self.world.now()));
    }

    /// When something is due next, be it that a wait is over.
    fn next_deadline(&self) -> Option<Instant> {
        let waits = self.waiters.iter().filter_map(|waiter| waiter.until);
        waits.chain(self.world.next_deadline()).min()
    }

    /// Runs what is due next until then; false if nothing is.
    fn step(&mut self, until: Instant) -> bool {
        let waits = self.waiters.iter().filter_map(|waiter| waiter.until).min();
        let until = waits.map_or(until, |wait| wait.min(until));
        let due = waits == Some(until) || self.world.next_deadline().is_some_and(|due| due <= until);
        self.world.step(until);
        due
    }
}
