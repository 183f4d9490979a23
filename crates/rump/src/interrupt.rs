//! The user's wish to end what goes on (SIGINT, SIGTERM, SIGHUP), as a descriptor that becomes readable.

use std::os::fd::{AsFd, BorrowedFd};

use rumpnet_host::process::Signals;

/// Whether and how the user can interrupt.
#[derive(Default)]
pub(crate) struct Interrupt(Option<Signals>);

impl Interrupt {
    /// Takes the signals from this thread and those it starts. Without descriptors for them they end the program, as is usual.
    pub(crate) fn on_signal() -> Self {
        Self(Signals::take().ok())
    }

    /// Readable from the user's wish on; none if the signals end the program by themselves.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }
}
