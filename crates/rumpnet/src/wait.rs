//! Waiting in place: a thread reads the links itself ([`crate::seat`]), parks until it is woken, or runs a driven kernel.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant as HostInstant},
};

use crate::{
    clock,
    seat::{Seat, Sitting},
    shared::Shared,
};

/// Until when somebody waits.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Option<HostInstant>);

/// Wakes one thread.
struct Parker {
    thread: Thread,
    woken: AtomicBool,
    /// Where the thread waits, if not parked.
    seat: Mutex<Option<Arc<Seat>>>,
}

thread_local! {
    static PARKER: (Arc<Parker>, Waker) = {
        let parker = Arc::new(Parker { thread: thread::current(), woken: AtomicBool::new(false), seat: Mutex::default() });
        (parker.clone(), Waker::from(parker))
    };
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            match &*self.seat() {
                Some(seat) => seat.wake(),
                None => self.thread.unpark(),
            }
        }
    }
}

impl Parker {
    fn seat(&self) -> MutexGuard<'_, Option<Arc<Seat>>> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
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
            self.wait_for_news(deadline, register, &mut ready)
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

    /// A thread that waits reads the links itself as long as nobody else of this kernel does, and is woken else.
    fn wait_for_news(
        &self,
        deadline: Deadline,
        register: impl Fn(&Waker),
        ready: &mut dyn FnMut() -> bool,
    ) -> bool {
        PARKER.with(|(parker, waker)| {
            let mut sitting = None;
            loop {
                sitting = sitting.or_else(|| self.sit());
                parker.expect_news(sitting.as_ref().map(|sitting: &Sitting<'_>| sitting.seat));
                register(waker);
                if ready() {
                    parker.rise();
                    return true;
                }
                let left = deadline.left();
                if left == Some(Duration::ZERO) {
                    parker.rise();
                    return false;
                }
                match &sitting {
                    Some(sitting) => {
                        sitting.wait(left);
                        parker.rise();
                        sitting.read();
                    }
                    None => parker.park(deadline),
                }
            }
        })
    }
}

impl Parker {
    /// From now on news wakes the thread where it is going to wait. The place is said first: news that comes at once must find it.
    fn expect_news(&self, seat: Option<&Arc<Seat>>) {
        *self.seat() = seat.cloned();
        self.woken.store(false, Ordering::Release);
    }

    /// The thread does not wait in a seat any more.
    fn rise(&self) {
        *self.seat() = None;
    }

    /// Waits until somebody wakes the thread, or the deadline has come.
    fn park(&self, deadline: Deadline) {
        while !self.woken.load(Ordering::Acquire) {
            match deadline.left() {
                None => thread::park(),
                Some(Duration::ZERO) => return,
                Some(left) => thread::park_timeout(left),
            }
        }
    }
}
