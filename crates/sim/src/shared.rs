//! What all handles of a world share: its state, and its tasks. User code runs only while the state is not borrowed.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use rumpnet_stack::time::Instant;

use crate::{cable::determine_verdicts, core::Core, task::Tasks};

/// Things that may happen without time passing, unless the user sets another limit.
const PATIENCE: u64 = 10_000_000;

/// A world, as its handles know it.
pub(crate) struct Shared {
    core: RefCell<Core>,
    pub(crate) tasks: Tasks,
    pub(crate) seed: u64,
    /// Whether somebody drives the world, so that nobody else may.
    driven: Cell<bool>,
    /// Things that may happen without time passing.
    pub(crate) patience: Cell<u64>,
}

impl Shared {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            core: RefCell::new(Core::new(seed)),
            tasks: Tasks::new(),
            seed,
            driven: Cell::new(false),
            patience: Cell::new(PATIENCE),
        }
    }

    /// Does something to the world, and carries what it caused to be sent.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Core) -> R) -> R {
        let answer = act(&mut self.core.borrow_mut());
        self.carry();
        answer
    }

    /// Reads the world, if nobody was interrupted in the middle of changing it.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&Core) -> R) -> Option<R> {
        self.core.try_borrow().ok().map(|core| read(&core))
    }

    /// Nobody waits for that alarm any more; one that stays behind after a panic does no harm.
    pub(crate) fn clear_alarm(&self, alarm: u64) {
        if let Ok(mut core) = self.core.try_borrow_mut() {
            core.clear_alarm(alarm);
        }
    }

    /// The time.
    pub(crate) fn now(&self) -> Instant {
        self.core.borrow().now
    }

    /// Shows frames to the rules of their cables, sends them, and wakes whom that concerns.
    fn carry(&self) {
        loop {
            let mut core = self.core.borrow_mut();
            let Some((cable, end, frame, headers)) = core.next_outgoing() else { break };
            let mut rules = core::mem::take(&mut core.cables[cable].rules);
            let (now, from) = (core.now, Rc::clone(&core.cables[cable].ends[end].label));
            drop(core);
            let verdicts = determine_verdicts(&mut rules, since_start(now), &from, &frame);
            let mut core = self.core.borrow_mut();
            // A rule may have made another one.
            rules.append(&mut core.cables[cable].rules);
            core.cables[cable].rules = rules;
            core.launch(cable, end, frame, headers, verdicts);
        }
        let woken = self.core.borrow_mut().take_woken();
        woken.into_iter().for_each(std::task::Waker::wake);
    }

    /// Runs tasks that can go on, and lets things happen that are due by `limit`, until `done` says so.
    ///
    /// Returns false if nothing is left that happens by then.
    ///
    /// # Panics
    ///
    /// If called from inside a task or a condition: the world cannot move while it is moving. If it runs in circles: too
    /// many things happen at one time.
    pub(crate) fn drive(self: &Rc<Self>, limit: Instant, mut done: impl FnMut() -> bool) -> bool {
        assert!(
            !self.driven.replace(true),
            "the world cannot be run from inside itself: use the async calls in tasks"
        );
        let _released = Released(&self.driven);
        let (mut since, mut happened) = (self.now(), 0);
        loop {
            if self.now() > since {
                (since, happened) = (self.now(), 0);
            }
            happened += 1;
            assert!(
                happened <= self.patience.get(),
                "the world runs in circles: {happened} things have happened at {since}"
            );
            if self.tasks.run_next(self) {
                continue;
            }
            if done() {
                return true;
            }
            // The condition may have woken a task.
            if !self.tasks.is_any_ready() && !self.with(|core| core.step(limit)) {
                return false;
            }
        }
    }

    /// The time becomes `limit`, up to which nothing is left to happen.
    pub(crate) fn advance_to(&self, limit: Instant) {
        let mut core = self.core.borrow_mut();
        core.now = core.now.max(limit);
    }
}

/// A time as users see it.
pub(crate) const fn since_start(at: Instant) -> Duration {
    Duration::from_nanos(at.as_nanos())
}

/// Sets a flag back, whatever happens.
struct Released<'a>(&'a Cell<bool>);

impl Drop for Released<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
