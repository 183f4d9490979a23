//! Waiting in place: a thread parks until it is woken, or runs a driven kernel itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant as HostInstant},
};

use crate::{clock, shared::Shared};

/// Until when somebody waits.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Option<HostInstant>);

/// Wakes one thread.
struct Parker {
    thread: Thread,
    woken: AtomicBool,
}

thread_local! {
    static PARKER: (Arc<Parker>, Waker) = {
        let parker = Arc::new(Parker { thread: thread::current(), woken: AtomicBool::new(false) });
        (parker.clone(), Waker::from(parker))
    };
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

impl Deadline {
    /// So long from now; never without a span, or if it is too long for the clock.
    pub(crate) fn after(patience: Option<Duration>) -> Self {
        Self(patience.and_then(|span| HostInstant::now().checked_add(span)))
    }

    fn left(self) -> Option<Duration> {
        self.0.map(|end| end.saturating_duration_since(HostInstant::now()))
    }
}

impl Shared {
    /// Waits until `ready` says yes; false if the deadline came first. `register` is called before each look, so that no
    /// news can fall between the look and the wait.
    pub(crate) fn wait(
        &self,
        deadline: Deadline,
        register: impl Fn(&Waker),
        mut ready: impl FnMut() -> bool,
    ) -> bool {
        if self.driven {
            self.wait_by_turning(deadline, ready)
        } else {
            wait_parked(deadline, register, &mut ready)
        }
    }

    fn wait_by_turning(&self, deadline: Deadline, mut ready: impl FnMut() -> bool) -> bool {
        loop {
            if ready() {
                return true;
            }
            let left = deadline.left();
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            self.reactor.turn(left.map(|left| clock::now() + left.into()));
        }
    }
}

fn wait_parked(deadline: Deadline, register: impl Fn(&Waker), ready: &mut dyn FnMut() -> bool) -> bool {
    PARKER.with(|(parker, waker)| {
        loop {
            parker.woken.store(false, Ordering::Relaxed);
            register(waker);
            if ready() {
                return true;
            }
            while !parker.woken.load(Ordering::Acquire) {
                match deadline.left() {
                    None => thread::park(),
                    Some(Duration::ZERO) => return ready(),
                    Some(left) => thread::park_timeout(left),
                }
            }
        }
    })
}
