//! How the calls of a blocking socket wait; as with dup(2), clones share it.

use std::{
    io,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use rumpnet_proto::Errno;
use rumpnet_stack::Endpoint;

use crate::{Interest, TcpWait, Wait};

/// The methods of every socket whose calls wait; its field `mode` says how.
macro_rules! waiting_options {
    () => {
        /// How long receive calls wait (SO_RCVTIMEO); InvalidInput for a zero span, as `std` has it.
        pub fn set_read_timeout(&self, patience: Option<std::time::Duration>) -> std::io::Result<()> {
            self.mode.set_patience(crate::Interest::Readable, patience)
        }

        /// How long send calls wait for room (SO_SNDTIMEO).
        pub fn set_write_timeout(&self, patience: Option<std::time::Duration>) -> std::io::Result<()> {
            self.mode.set_patience(crate::Interest::Writable, patience)
        }

        /// How long receive calls wait.
        pub fn read_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
            Ok(self.mode.patience(crate::Interest::Readable))
        }

        /// How long send calls wait for room.
        pub fn write_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
            Ok(self.mode.patience(crate::Interest::Writable))
        }
    };
}

/// Whether calls wait, and for how long.
#[derive(Default)]
pub(crate) struct Mode {
    nonblocking: AtomicBool,
    /// Nanoseconds; 0 waits for ever.
    read_timeout: AtomicU64,
    write_timeout: AtomicU64,
}

impl Mode {
    pub(crate) fn set_nonblocking(&self, nonblocking: bool) {
        self.nonblocking.store(nonblocking, Ordering::Relaxed);
    }

    pub(crate) fn is_nonblocking(&self) -> bool {
        self.nonblocking.load(Ordering::Relaxed)
    }

    const fn timeout_of(&self, interest: Interest) -> &AtomicU64 {
        match interest {
            Interest::Readable | Interest::Urgent | Interest::QueuedError => &self.read_timeout,
            Interest::Writable | Interest::Delivered => &self.write_timeout,
        }
    }

    /// InvalidInput for a zero span, as `std` has it.
    pub(crate) fn set_patience(&self, interest: Interest, patience: Option<Duration>) -> io::Result<()> {
        let nanos = match patience {
            Some(Duration::ZERO) => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "a time-out cannot be zero"));
            }
            Some(span) => u64::try_from(span.as_nanos()).unwrap_or(u64::MAX),
            None => 0,
        };
        self.timeout_of(interest).store(nanos, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn patience(&self, interest: Interest) -> Option<Duration> {
        match self.timeout_of(interest).load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// Calls until it does not say WouldBlock, and waits in between if calls wait.
    pub(crate) fn when<N: Wait, R>(
        &self,
        net: &N,
        socket: Endpoint,
        interest: Interest,
        call: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        let wait = |patience| wait(net, socket, interest, patience).map_err(|_| N::error(Errno::Again));
        self.alternate(interest, wait, call)
    }

    /// The same of a TCP socket of whatever world.
    pub(crate) fn when_tcp<T: TcpWait, R>(
        &self,
        tcp: &T,
        interest: Interest,
        call: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        let wait = |patience| tcp.wait(interest, patience).map_err(|_| T::error(Errno::Again));
        self.alternate(interest, wait, call)
    }

    /// Calls until it does not say WouldBlock, and waits by `wait` in between if calls wait.
    pub(crate) fn alternate<R>(
        &self,
        interest: Interest,
        mut wait: impl FnMut(Option<Duration>) -> io::Result<()>,
        mut call: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        let patience = self.patience(interest);
        loop {
            match call() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.is_nonblocking() {
                        return Err(error);
                    }
                }
                result => return result,
            }
            // A time-out of a socket call is EAGAIN (socket(7), SO_RCVTIMEO).
            wait(patience)?;
        }
    }
}

/// Waits until a socket is ready.
pub(crate) fn wait<N: Wait>(
    net: &N,
    socket: Endpoint,
    interest: Interest,
    patience: Option<Duration>,
) -> io::Result<()> {
    let mut ready = || interest.is_met(net.enter(|stack, _| stack.readiness(socket)));
    net.wait(socket, interest, patience, &mut ready)
}
