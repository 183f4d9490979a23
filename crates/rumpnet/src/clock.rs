//! The clock of every kernel in this process: nanoseconds since its first use.

use std::{
    sync::OnceLock,
    time::{Duration, Instant as HostInstant, SystemTime, UNIX_EPOCH},
};

use rumpnet_stack::time::Instant;

/// Where the clock began: by the host's monotonic clock, and by its calendar.
static ORIGIN: OnceLock<(HostInstant, SystemTime)> = OnceLock::new();

fn origin() -> &'static (HostInstant, SystemTime) {
    ORIGIN.get_or_init(|| (HostInstant::now(), SystemTime::now()))
}

/// The time now.
pub(crate) fn now() -> Instant {
    Instant::from_nanos(origin().0.elapsed().as_nanos() as u64)
}

/// A point in time by the calendar, as the span since 1970; steps of the host's calendar after the start are not followed.
pub(crate) fn since_1970(at: Instant) -> Duration {
    let began = origin().1.duration_since(UNIX_EPOCH).unwrap_or_default();
    began + Duration::from_nanos(at.as_nanos())
}
