//! What touches many connections is done a slice in each call, so that no call holds a lock for long: connections that nobody will accept any more, those
//! whose port is gone, and the first visit of all at the end of a kernel (`drain`).
//!
//! While something is left, [`crate::Stack::next_deadline`] says now.

use alloc::collections::VecDeque;

use super::{Tcp, drain::Drain};
use crate::{context::Context, inet::Inet, link::Link, slab::Key};

/// Connections that one call visits for a chore.
pub(super) const VISITED_AT_ONCE: u32 = 64;

/// What is left to be done.
#[derive(Default)]
pub(super) struct Chores {
    /// Established or held, and their listeners are gone: to be reset or dropped.
    abandoned: VecDeque<VecDeque<Key>>,
    /// They were listed to send at a port that was closed; by its number.
    unlisted: VecDeque<(u32, VecDeque<Key>)>,
    /// The end of the kernel.
    pub(super) drain: Option<Drain>,
}

/// The next key of several queues.
fn next_of(queues: &mut VecDeque<VecDeque<Key>>) -> Option<Key> {
    loop {
        match queues.front_mut()?.pop_front() {
            Some(key) => return Some(key),
            None => queues.pop_front(),
        };
    }
}

impl Chores {
    fn is_done(&self) -> bool {
        self.abandoned.is_empty()
            && self.unlisted.is_empty()
            && self.drain.as_ref().is_none_or(Drain::is_begun)
    }
}

impl Tcp {
    /// Whether [`Self::carry_on`] must be called again.
    pub(crate) fn has_chores(&self) -> bool {
        !self.chores.is_done()
    }

    /// A slice of what is left to be done.
    pub(crate) fn carry_on(&mut self, cx: &mut Context, link: &mut Link, inet: &mut Inet) {
        if !self.has_chores() {
            return;
        }
        let mut budget = VISITED_AT_ONCE;
        while budget > 0
            && let Some(key) = next_of(&mut self.chores.abandoned)
        {
            budget -= 1;
            if self.is_held(key) {
                self.drop_held(cx, key);
                continue;
            }
            if let Some(connection) = self.connection_mut(key) {
                connection.listener = None;
            }
            self.abort(cx, link, inet, key);
        }
        while budget > 0
            && let Some(key) = self.next_unlisted()
        {
            budget -= 1;
            if let Some(connection) = self.connection_mut(key) {
                connection.listed = false;
            }
            self.settle(cx, link, inet, key);
        }
        self.visit_for_drain(cx, link, inet, budget);
    }

    /// Nobody accepts what waits at a listener: it is reset from now on, or dropped if it was never answered.
    pub(super) fn abandon_waiting(&mut self, listener: Key) {
        if let Some(listener) = self.listener_mut(listener) {
            let waiting = core::mem::take(&mut listener.accepted);
            let flows = core::mem::take(&mut listener.flows);
            self.chores.abandoned.extend([waiting, flows]);
        }
    }

    /// A port is gone: who was to send there looks for another way.
    pub(crate) fn on_port_closed(&mut self, port: u32) {
        if let Some(listed) = self.ready.get_mut(port as usize) {
            let listed = core::mem::take(listed);
            self.chores.unlisted.push_back((port, listed));
        }
    }

    /// The next connection that was listed at a closed port. An emptied list serves whoever has its number next: to give its memory back in one
    /// piece would take as long as many connections.
    fn next_unlisted(&mut self) -> Option<Key> {
        loop {
            if let Some(key) = self.chores.unlisted.front_mut()?.1.pop_front() {
                return Some(key);
            }
            let (port, emptied) = self.chores.unlisted.pop_front()?;
            if let Some(ready) = self.ready.get_mut(port as usize).filter(|ready| ready.is_empty()) {
                *ready = emptied;
            }
        }
    }
}
