//! A kernel as the handle under its sockets.

use std::{io, task::Waker, time::Duration};

use rumpnet_proto::Errno;
use rumpnet_sockets::{Interest, Net, Wait};
use rumpnet_stack::{Endpoint, Stack, time::Instant};

use crate::{Kernel, errno, wait::Deadline};

impl Net for Kernel {
    fn enter<R>(&self, call: impl FnOnce(&mut Stack, Instant) -> R) -> R {
        self.shared.enter(call)
    }

    fn register(&self, socket: Endpoint, interest: Interest, waker: &Waker) {
        self.shared.lock().sockets.register(socket, interest, waker);
    }

    fn forget(&self, socket: Endpoint) {
        let mut waiting = Vec::new();
        self.shared.lock().sockets.take_all(socket, &mut waiting);
        waiting.into_iter().for_each(Waker::wake);
    }

    fn linger(&self, socket: Endpoint, patience: Duration) {
        rumpnet_sockets::linger(self, socket, patience);
    }

    fn error(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno::to_host(errno))
    }
}

impl Wait for Kernel {
    fn wait(
        &self,
        socket: Endpoint,
        interest: Interest,
        patience: Option<Duration>,
        ready: &mut dyn FnMut() -> bool,
    ) -> io::Result<()> {
        let register = |waker: &Waker| self.register(socket, interest, waker);
        if self.shared.wait(Deadline::after(patience), register, ready) {
            Ok(())
        } else {
            Err(Self::error(Errno::TimedOut))
        }
    }
}
