//! Monitors of routes: what happens to a kernel's routes, neighbours, addresses and interfaces.

use std::time::Duration;

use rumpnet_proto::{ControlError, Operation, Reply, Request, RouteNews};
use rumpnet_sockets::Interest;
use rumpnet_stack::slab::Key;

use crate::{Kernel, wait::Deadline};

/// An open monitor; closed when it is dropped.
#[derive(Debug)]
pub struct Monitor {
    kernel: Kernel,
    key: Key,
    open: bool,
}

impl Kernel {
    /// Begins to be told of changes. EMFILE if too many monitors are open.
    pub fn open_monitor(&self) -> Result<Monitor, ControlError> {
        match self.control(Request::MonitorOpen)? {
            Reply::Monitor { monitor } => {
                Ok(Monitor { kernel: self.clone(), key: Key::from(monitor), open: true })
            }
            _ => Err(Self::unexpected(Operation::Monitor)),
        }
    }
}

impl Monitor {
    /// Its number, by which [`Request::MonitorClose`] ends it.
    pub fn id(&self) -> u64 {
        self.key.into()
    }

    /// What has happened since the last call, waiting for the first event: empty after `patience`, none once the monitor was closed.
    pub fn next(&mut self, patience: Option<Duration>) -> Option<Vec<RouteNews>> {
        let mut news = Vec::new();
        let mut goes_on = true;
        let Self { kernel, key, .. } = &*self;
        let shared = &kernel.shared;
        shared.wait(
            Deadline::after(patience),
            |waker| shared.lock().monitors.register(*key, Interest::Readable, waker),
            || {
                goes_on = shared.enter(|stack, _| stack.monitor_read(*key, &mut news));
                !goes_on || !news.is_empty()
            },
        );
        goes_on.then_some(news)
    }

    /// Ends it; how many events were lost because they were read too slowly, or not at all.
    pub fn close(mut self) -> Result<u64, ControlError> {
        self.open = false;
        match self.kernel.control(Request::MonitorClose { monitor: self.id() })? {
            Reply::MonitorEnded { overruns } => Ok(overruns),
            _ => Err(Kernel::unexpected(Operation::Monitor)),
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        if self.open {
            // It may have been closed by its number.
            let _closed = self.kernel.control(Request::MonitorClose { monitor: self.id() });
        }
    }
}
