//! Waits for one of two descriptors: what is waited for, and what ends the wait early.

use std::{
    io,
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use rumpnet_host::{
    clock,
    readiness::{Interest, Poller},
};

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// There is something to read, or an end.
    Ready,
    /// The other descriptor has something.
    Interrupted,
    /// The time is over.
    TimedOut,
}

const WANTED: u64 = 0;
const INTERRUPT: u64 = 1;

/// Waits until `wanted` has something to read, `interrupt` has, or so long. What is wanted goes first.
pub(super) fn wait_readable(
    wanted: BorrowedFd<'_>,
    interrupt: Option<BorrowedFd<'_>>,
    patience: Option<Duration>,
) -> io::Result<Waited> {
    let poller = Poller::new()?;
    poller.add(wanted, WANTED, Interest::READABLE)?;
    if let Some(interrupt) = interrupt {
        poller.add(interrupt, INTERRUPT, Interest::READABLE)?;
    }
    let until = patience.map(|patience| Instant::now() + patience);
    let mut events = Vec::with_capacity(2);
    loop {
        poller.wait(&mut events, until.map(left))?;
        match events.iter().map(|event| event.token).min() {
            Some(WANTED) => return Ok(Waited::Ready),
            Some(_) => return Ok(Waited::Interrupted),
            None if until.is_some_and(|until| left(until).is_zero()) => return Ok(Waited::TimedOut),
            // A signal ended the wait.
            None => {}
        }
    }
}

/// The time of the host's clock after so long.
pub(crate) fn deadline_after(span: Duration) -> u64 {
    clock::monotonic().saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

/// What is left until a point in time.
pub(super) fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}
