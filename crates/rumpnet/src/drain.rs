//! The end of a kernel's connections: what was sent is delivered, as long as there is patience; the rest is reset, and told.

use std::{task::Waker, time::Duration};

use rumpnet_proto::Severity;
use rumpnet_stack::{Resets, Stack, Undelivered};

use crate::{Kernel, log::Log, port::Port, wait::Deadline};

/// Frames that leave by a port after the last handle is gone.
const LAST_FRAMES: usize = 1024;

impl Kernel {
    /// Ends the kernel and loses nothing: every connection sends what it holds and the end of its stream, and this returns when
    /// the peers have acknowledged all, or when the patience is over. What is left then is reset, reported and returned.
    ///
    /// Then the kernel is ended as by [`Self::shutdown`].
    pub fn shutdown_within(&self, patience: Duration) -> Undelivered {
        self.shared.enter(|stack, now| stack.tcp_drain(now));
        self.shared.wait(
            Deadline::after(Some(patience)),
            |waker| self.await_drain(waker),
            || self.shared.enter(|stack, _| stack.tcp_undrained()) == 0,
        );
        let undelivered = self.reset_connections();
        self.shutdown();
        undelivered
    }

    pub(crate) fn reset_connections(&self) -> Undelivered {
        let mut resets = Resets::default();
        // Each slice is a hold of the lock of its own, and lets go what it has put into the ports.
        while self.shared.enter(|stack, now| stack.tcp_reset_some(now, &mut resets)) {}
        say(&self.shared.log, resets.undelivered);
        resets.undelivered
    }

    fn await_drain(&self, waker: &Waker) {
        let mut core = self.shared.lock();
        if !core.drains.iter().any(|known| known.will_wake(waker)) {
            core.drains.push(waker.clone());
        }
    }
}

/// Reports what was lost, if anything was.
pub(crate) fn say(log: &Log, undelivered: Undelivered) {
    let Undelivered { connections, bytes } = undelivered;
    if connections > 0 {
        let text = format!("{connections} connections were reset with {bytes} bytes undelivered");
        log.push(Severity::Warning, text);
    }
}

/// What a kernel without handles has still to say, as far as the link takes it at once: resets.
pub(crate) fn send_last(stack: &mut Stack, port: &Port) {
    for _ in 0..LAST_FRAMES {
        let Some(frame) = stack.next_frame(port.number) else { return };
        if port.link().send(&frame).is_err() {
            return;
        }
    }
}
