//! What is asked of a kernel in another process beside sockets, with results of their own types.

use rumpnet_proto::{Counter, DropReason, KernelInfo, Message, Operation, Reply, Request};

use super::Kernel;
use crate::ControlError;

/// Counters and drops that are not zero.
type Statistics = (Vec<(Counter, u64)>, Vec<(DropReason, u64)>);

impl Kernel {
    /// Who it is.
    pub fn info(&self) -> Result<KernelInfo, ControlError> {
        match self.control(Request::Kernel)? {
            Reply::Kernel(info) => Ok(info),
            _ => Err(crate::Kernel::unexpected(Operation::Server)),
        }
    }

    /// A counter of the whole kernel.
    pub fn counter(&self, counter: Counter) -> Result<u64, ControlError> {
        let (counters, _) = self.statistics()?;
        Ok(counters.iter().find(|(name, _)| *name == counter).map_or(0, |(_, count)| *count))
    }

    /// How many packets the kernel has dropped for a reason.
    pub fn drops(&self, reason: DropReason) -> Result<u64, ControlError> {
        let (_, drops) = self.statistics()?;
        Ok(drops.iter().find(|(name, _)| *name == reason).map_or(0, |(_, count)| *count))
    }

    fn statistics(&self) -> Result<Statistics, ControlError> {
        match self.control(Request::Statistics)? {
            Reply::Statistics { counters, drops } => Ok((counters, drops)),
            _ => Err(crate::Kernel::unexpected(Operation::Server)),
        }
    }

    /// What the kernel has reported, from message number `since` on, a page of them.
    pub fn messages(&self, since: u64) -> Result<Vec<Message>, ControlError> {
        match self.control(Request::Messages { since })? {
            Reply::Messages { messages, .. } => Ok(messages),
            _ => Err(crate::Kernel::unexpected(Operation::Server)),
        }
    }

    /// Ends the kernel and its server.
    pub fn halt(&self) -> Result<(), ControlError> {
        self.control(Request::Halt).map(drop)
    }
}
