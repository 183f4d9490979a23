//! Closing links, which may take long: the host's kernel needs some 22 ms for close(2) of a tap.
//!
//! Whoever holds a port last drops its link: the reactor, a sender, or the one who destroys the interface. Only the last
//! may wait in place; for the others a thread does it, so that nothing stops and no drop ever blocks.

use std::{
    cell::Cell,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
};

use crate::{link::Link, port::Port};

thread_local! {
    /// Whether this thread has come to wait for a close.
    static PATIENT: Cell<bool> = const { Cell::new(false) };
}

/// Closes now, or on a thread of its own if the caller may not wait.
pub(crate) fn close(number: u32, link: Box<dyn Link>) {
    if PATIENT.get() || !link.is_slow_to_close() {
        return drop(link);
    }
    let name = format!("rumpnet-close-{number}");
    let link = Arc::new(Mutex::new(Some(link)));
    let closer = link.clone();
    let spawned = thread::Builder::new().name(name).stack_size(64 * 1024).spawn(move || take(&closer));
    if spawned.is_err() {
        take(&link);
    }
}

fn take(link: &Mutex<Option<Box<dyn Link>>>) {
    drop(link.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// Drops a port that nobody can find any more, and returns when its link is closed.
pub(crate) fn close_and_wait(port: Arc<Port>) {
    let mut port = port;
    loop {
        match Arc::try_unwrap(port) {
            Ok(last) => {
                PATIENT.set(true);
                drop(last);
                return PATIENT.set(false);
            }
            // A sender or the reactor is just using it, for a system call or two.
            Err(shared) => port = shared,
        }
        thread::yield_now();
    }
}

/// A signal that is given once.
#[derive(Default)]
pub(crate) struct Latch {
    given: Mutex<bool>,
    changed: Condvar,
}

impl Latch {
    pub(crate) fn give(&self) {
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits for it, at most so long; whether it was given.
    pub(crate) fn wait(&self, patience: Option<std::time::Duration>) -> bool {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        match patience {
            None => *self.changed.wait_while(given, |given| !*given).unwrap_or_else(PoisonError::into_inner),
            Some(span) => {
                let waited = self.changed.wait_timeout_while(given, span, |given| !*given);
                *waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }
}
