//! A monitor of a kernel in another process: messages out of a pipe.

use std::{
    io::{self, PipeReader, Read},
    os::fd::{AsFd, BorrowedFd},
};

use rumpnet_proto::{ControlError, Errno, Operation, Reply, Request, RouteNews, codec};

use super::{
    Client,
    wait::{Waited, wait_readable},
};

/// Octets taken at once.
const PIECE: usize = 4096;

/// A monitor under way; dropping it ends it.
pub struct RemoteMonitor<'client> {
    client: &'client Client,
    id: u64,
    pipe: PipeReader,
    /// What has been read and is not a whole message yet.
    begun: Vec<u8>,
}

impl Client {
    /// Begins to be told of changes of routes, neighbours, addresses and interfaces. EMFILE: too many monitors.
    pub fn monitor(&self) -> Result<RemoteMonitor<'_>, ControlError> {
        let (pipe, far_end) = io::pipe().map_err(|error| self.broken(&error))?;
        match self.call_with(Request::MonitorOpen, &[far_end.as_fd()], None)? {
            Reply::Monitor { monitor: id } => Ok(RemoteMonitor { client: self, id, pipe, begun: Vec::new() }),
            _ => Err(self.refuse(Errno::Proto)),
        }
    }
}

impl RemoteMonitor<'_> {
    /// The next event, waiting for it; none if the server has ended, or `interrupt` is readable.
    pub fn next(&mut self, interrupt: Option<BorrowedFd<'_>>) -> Result<Option<RouteNews>, ControlError> {
        loop {
            let first = codec::take_first(&mut self.begun);
            if let Some(news) = first.map_err(|errno| self.client.refuse(errno))? {
                return Ok(Some(news));
            }
            let waited = wait_readable(self.pipe.as_fd(), interrupt, None);
            if waited.map_err(|error| self.client.broken(&error))? != Waited::Ready {
                return Ok(None);
            }
            let mut piece = [0; PIECE];
            let len = self.pipe.read(&mut piece).map_err(|error| self.client.broken(&error))?;
            if len == 0 {
                return Ok(None);
            }
            self.begun.extend_from_slice(&piece[..len]);
        }
    }

    /// Ends the monitor; how many events were lost because they were not read fast enough.
    pub fn close(&self) -> Result<u64, ControlError> {
        match self.client.call(Request::MonitorClose { monitor: self.id })? {
            Reply::MonitorEnded { overruns } => Ok(overruns),
            _ => Err(ControlError::new(Operation::Monitor, "", Errno::Proto)),
        }
    }
}
