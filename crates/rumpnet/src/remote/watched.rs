//! Wakers of a descriptor, for async code: the reactor's thread tells them of its news.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::Waker,
};

use rumpnet_host::readiness::{Event, Interest as Readiness};
use rumpnet_sockets::Interest;

use crate::reactor::{News, Reactor};

/// Who waits for what.
type Waiting = Vec<(Interest, Waker)>;

/// A descriptor that the reactor looks at.
pub(super) struct Watched {
    reactor: Arc<Reactor>,
    token: usize,
    wakers: Arc<Wakers>,
}

#[derive(Default)]
struct Wakers(Mutex<Waiting>);

impl Watched {
    /// Has the process's reactor look at a descriptor, until [`Self::forget`].
    pub(super) fn new(end: &OwnedFd) -> io::Result<Self> {
        let reactor = Reactor::of_process()?;
        let wakers = Arc::new(Wakers::default());
        let weak: Weak<Wakers> = Arc::downgrade(&wakers);
        let whose: Weak<dyn News> = weak;
        let token = reactor.watch_news(end, Readiness::BOTH, whose)?;
        Ok(Self { reactor, token, wakers })
    }

    /// Calls `waker` at the next news.
    pub(super) fn register(&self, interest: Interest, waker: &Waker) {
        let mut waiting = self.wakers.lock();
        if !waiting.iter().any(|(other, known)| *other == interest && known.will_wake(waker)) {
            waiting.push((interest, waker.clone()));
        }
    }

    /// The descriptor is about to be closed.
    pub(super) fn forget(&self, end: impl AsFd) {
        self.reactor.forget_news(end, self.token);
    }
}

impl Wakers {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl News for Wakers {
    fn on_event(&self, event: Event) {
        let is_met = |interest| match interest {
            Interest::Readable | Interest::Urgent => event.readable || event.failed,
            Interest::Writable => event.writable || event.failed,
            Interest::Delivered | Interest::QueuedError => event.failed,
        };
        let met: Vec<_> = self.lock().extract_if(.., |(interest, _)| is_met(*interest)).collect();
        met.into_iter().for_each(|(_, waker)| waker.wake());
    }
}
