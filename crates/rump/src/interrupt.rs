//! The user's wish to end what goes on (SIGINT), as a descriptor that becomes readable.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Whether and how the user can interrupt.
#[derive(Default)]
pub(crate) struct Interrupt(Option<OwnedFd>);

impl Interrupt {
    /// Readable from the user's wish on; none if the signal ends the program by itself.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }
}
