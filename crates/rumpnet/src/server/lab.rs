//! What clients may ask of a server that is a lab: its hosts, and to be let in to one of them.

use rumpnet_proto::{ControlError, Errno, Operation, Reply, nearest};

use super::Shared;
use crate::Kernel;

/// Names in one answer: they fit into a message even if each is as long as may be.
const PAGE: usize = 512;

impl Shared {
    /// The kernel of a host; ENOENT with the nearest name, EOPNOTSUPP if this is no lab.
    pub(super) fn host(&self, name: &str) -> Result<Kernel, ControlError> {
        let refuse = |errno| ControlError::new(Operation::Server, name, errno);
        let lab = self.lab.as_ref().ok_or_else(|| refuse(Errno::OpNotSupp).with_hint("it is no lab"))?;
        lab.host(name).cloned().ok_or_else(|| {
            let near = nearest(name, lab.names(None));
            let meant = near.map(|near| format!("the lab has no such host; did you mean {near}?"));
            refuse(Errno::NoEnt).with_hint(meant.unwrap_or_else(|| "the lab has no such host".to_owned()))
        })
    }

    /// A page of the hosts' names; EOPNOTSUPP if this is no lab.
    pub(super) fn hosts(&self, after: Option<&str>) -> Result<Reply, ControlError> {
        let refuse = |errno| ControlError::new(Operation::Server, "", errno);
        let lab = self.lab.as_ref().ok_or_else(|| refuse(Errno::OpNotSupp).with_hint("it is no lab"))?;
        Ok(Reply::Names(lab.names(after).take(PAGE).map(str::to_owned).collect()))
    }
}
