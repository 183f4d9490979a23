//! [`Journal`]: what has changed in a table during a call, kept only while somebody wants to know.
//!
//! A table notes its own changes, wherever they are asked for; the call that caused them reports them when it ends ([`crate::monitor`]).

use alloc::vec::Vec;

/// Changes of one table.
#[derive(Debug)]
pub(crate) struct Journal<T> {
    watched: bool,
    entries: Vec<T>,
}

impl<T> Journal<T> {
    pub(crate) const fn new() -> Self {
        Self { watched: false, entries: Vec::new() }
    }

    /// Somebody wants to know of changes, or nobody does any more.
    pub(crate) fn watch(&mut self, watched: bool) {
        self.watched = watched;
        self.entries = Vec::new();
    }

    /// Notes a change, if anybody wants to know.
    #[inline]
    pub(crate) fn note(&mut self, change: impl FnOnce() -> T) {
        if self.watched {
            self.entries.push(change());
        }
    }

    /// The newest change that was not yet taken.
    pub(crate) fn last_mut(&mut self) -> Option<&mut T> {
        self.entries.last_mut()
    }

    /// Takes what was noted.
    pub(crate) fn take(&mut self) -> Vec<T> {
        core::mem::take(&mut self.entries)
    }
}
