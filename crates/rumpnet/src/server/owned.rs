//! What a client has opened in the kernel, and what becomes of it when the client goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::stream::{Id, Stream};

/// What one client has opened.
#[derive(Default)]
pub(super) struct Owned {
    /// Nothing may be opened any more: everything has been closed.
    pub(super) gone: bool,
    /// Echo sessions, by the kernel's numbers.
    pub(super) echo_sessions: BTreeSet<u64>,
    /// Captures and monitors; complete ones stay until their client has asked for their counts.
    pub(super) streams: BTreeMap<Id, Arc<Stream>>,
    /// Those that have been closed and are still on their way to a slow reader; each has its thread.
    parting: BTreeMap<Id, Arc<Stream>>,
    /// Calls that wait in the kernel on threads of their own.
    pub(super) waiting_calls: usize,
}

impl Owned {
    /// Keeps a stream for its client; false if the client has gone.
    pub(super) fn adopt(&mut self, stream: &Arc<Stream>) -> bool {
        if !self.gone {
            self.streams.insert(stream.id(), Arc::clone(stream));
        }
        !self.gone
    }

    /// Whether a further stream may be opened, if so many may be open. As many again may be on their way to slow readers.
    pub(super) fn may_stream(&self, limit: usize) -> bool {
        self.streams.len() < limit && self.streams.len() + self.parting.len() < 2 * limit
    }

    /// Gives up a stream's number. What is not written yet goes on being written.
    pub(super) fn part_with(&mut self, id: Id) -> Option<Arc<Stream>> {
        let stream = self.streams.remove(&id)?;
        if !stream.is_written() {
            self.parting.insert(id, Arc::clone(&stream));
        }
        Some(stream)
    }

    /// A stream's thread has ended; its client may still ask for its counts.
    pub(super) fn on_written(&mut self, id: Id) {
        self.parting.remove(&id);
    }

    /// Takes all of it; whatever is opened from now on must be closed by who opened it.
    pub(super) fn take_all(&mut self) -> (BTreeSet<u64>, Vec<Arc<Stream>>) {
        self.gone = true;
        let mut streams = std::mem::take(&mut self.streams);
        streams.append(&mut self.parting);
        (std::mem::take(&mut self.echo_sessions), streams.into_values().collect())
    }
}
