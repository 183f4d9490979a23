//! The reader's seat of a kernel: a thread that waits in a call sits down and reads the links itself, so that nobody has to wake it
//! (docs/adr/0009).
//!
//! The seat has a poller of its own. Descriptors are in it and in the reactor's, exclusively, and in the seat's first: the host tells of a
//! frame where a thread waits, in the seat if somebody sits there, else in the reactor. So the role passes to and fro without a system
//! call, a lock or a wake-up. Where threads sit all the time, the reactor steps back for a while ([`crate::deference`]). Who was told must read until the link is empty, for nobody else was. Timers, doorbells and links that fail
//! are the reactor's at all times.

use std::{
    os::fd::BorrowedFd,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use rumpnet_host::readiness::{Interest, Poller};

use crate::{reactor::Workspace, shared::Shared};

/// A place for one thread.
pub(crate) struct Seat {
    poller: Poller,
    taken: AtomicBool,
    /// Locked by the thread that sits there alone.
    workspace: Mutex<Workspace>,
}

/// The seat of a kernel, made when a thread wants it first.
#[derive(Default)]
pub(crate) struct Seats {
    /// None if the host had no descriptors left for one.
    seat: OnceLock<Option<Arc<Seat>>>,
    /// Whether there is a descriptor to be read.
    useful: AtomicBool,
    /// How often a thread has waited in it; it wraps.
    visits: AtomicU32,
    /// Held while a seat is made or links are added, so that none is forgotten.
    making: Mutex<()>,
}

/// A thread sits; it rises when this is dropped.
pub(crate) struct Sitting<'a> {
    kernel: &'a Shared,
    pub(crate) seat: &'a Arc<Seat>,
}

impl Seats {
    /// A link's descriptor is to be read from now on.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: u64) {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        self.useful.store(true, Ordering::Release);
        if let Some(Some(seat)) = self.seat.get() {
            seat.add(fd, token);
        }
    }

    /// How often a thread has waited in the seat; two that differ say that it was used in between.
    pub(crate) fn visits(&self) -> u32 {
        self.visits.load(Ordering::Relaxed)
    }

    /// It is not any more.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) {
        if let Some(Some(seat)) = self.seat.get() {
            // Removing what was removed already is of no consequence.
            let _gone = seat.poller.remove(fd);
        }
    }
}

impl Seat {
    fn new(kernel: &Shared) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            poller: Poller::new().ok()?,
            taken: AtomicBool::new(false),
            workspace: Mutex::new(Workspace::sharing(&kernel.reactor.pool)),
        }))
    }

    /// Tells whoever sits here of a descriptor; without it the reactor reads, which is slower and no worse.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: u64) {
        let _slower = self.poller.add_exclusive(fd, token, Interest::READABLE);
    }

    /// Ends the wait of the thread that sits here.
    pub(crate) fn wake(&self) {
        self.poller.wake();
    }
}

impl Shared {
    /// Sits down, if the seat is free and there is something to read.
    pub(crate) fn sit(&self) -> Option<Sitting<'_>> {
        if !self.seats.useful.load(Ordering::Acquire) {
            return None;
        }
        let seat = match self.seats.seat.get() {
            Some(seat) => seat,
            None => self.make_seat(),
        };
        let seat = seat.as_ref()?;
        if seat.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        Some(Sitting { kernel: self, seat })
    }

    #[cold]
    fn make_seat(&self) -> &Option<Arc<Seat>> {
        let ports = self.lock().ports.clone();
        let _making = self.seats.making.lock().unwrap_or_else(PoisonError::into_inner);
        self.seats.seat.get_or_init(|| {
            let seat = Seat::new(self)?;
            ports.iter().flatten().for_each(|port| self.reactor.step_behind(port, &seat));
            Some(seat)
        })
    }
}

impl Sitting<'_> {
    /// Waits until a link can be read or somebody wakes the seat, at most so long. [`Self::read`] must follow.
    pub(crate) fn wait(&self, patience: Option<Duration>) {
        let mut workspace = self.seat.workspace.lock().unwrap_or_else(PoisonError::into_inner);
        self.kernel.seats.visits.fetch_add(1, Ordering::Relaxed);
        if self.seat.poller.wait(&mut workspace.events, patience).is_err() {
            workspace.events.clear();
        }
    }

    /// Reads what the wait has told of.
    pub(crate) fn read(&self) {
        let mut workspace = self.seat.workspace.lock().unwrap_or_else(PoisonError::into_inner);
        self.kernel.reactor.receive_seated(&mut workspace);
    }
}

impl Drop for Sitting<'_> {
    fn drop(&mut self) {
        self.seat.taken.store(false, Ordering::Release);
    }
}
