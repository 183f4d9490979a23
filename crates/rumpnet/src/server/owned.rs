//! What a client has opened in the kernel, and what becomes of it when the client goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::capture::Stream;

/// What one client has opened.
#[derive(Default)]
pub(super) struct Owned {
    /// Nothing may be opened any more: everything has been closed.
    pub(super) gone: bool,
    /// Echo sessions, by the kernel's numbers.
    pub(super) echo_sessions: BTreeSet<u64>,
    /// Captures, by the kernel's numbers; complete ones stay until their client has asked for their counts.
    pub(super) streams: BTreeMap<u64, Arc<Stream>>,
    /// Calls that wait in the kernel on threads of their own.
    pub(super) waiting_calls: usize,
}

impl Owned {
    /// Keeps a capture for its client; false if the client has gone.
    pub(super) fn adopt(&mut self, stream: &Arc<Stream>) -> bool {
        if !self.gone {
            self.streams.insert(stream.id(), Arc::clone(stream));
        }
        !self.gone
    }

    /// Takes all of it; whatever is opened from now on must be closed by who opened it.
    pub(super) fn take_all(&mut self) -> (BTreeSet<u64>, Vec<Arc<Stream>>) {
        self.gone = true;
        let streams = std::mem::take(&mut self.streams);
        (std::mem::take(&mut self.echo_sessions), streams.into_values().collect())
    }
}
