//! What is asked of the kernel for one sample.

use rumpnet_proto::{DropReason, InterfaceReport, KernelInfo, Reply, Request, SocketReport};

use crate::{
    console::Console,
    failure::{Failure, unexpected_reply},
    task::Task,
};

/// Sockets looked at; a kernel may have a million, and nobody reads so many.
pub(super) const SOCKETS: usize = 4096;

/// What the kernel has counted at one time.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub(super) kernel: Option<KernelInfo>,
    pub(super) interfaces: Vec<InterfaceReport>,
    pub(super) sockets: Vec<SocketReport>,
    pub(super) drops: Vec<(DropReason, u64)>,
}

pub(super) async fn sample(task: &Task<'_, impl Console>) -> Result<Sample, Failure> {
    let Reply::Kernel(kernel) = task.ask(Request::Kernel).await? else { return Err(unexpected_reply()) };
    let interfaces = task.interfaces(false).await?;
    let sockets = sockets(task).await?;
    let Reply::Statistics { drops, .. } = task.ask(Request::Statistics).await? else {
        return Err(unexpected_reply());
    };
    Ok(Sample { kernel: Some(kernel), interfaces, sockets, drops })
}

/// The first [`SOCKETS`] sockets.
async fn sockets(task: &Task<'_, impl Console>) -> Result<Vec<SocketReport>, Failure> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let Reply::Sockets { sockets, next } = task.ask(Request::Sockets { after }).await? else {
            return Err(unexpected_reply());
        };
        all.extend(sockets);
        match next {
            // A cursor that does not move on would never end.
            Some(_) if next > after && all.len() < SOCKETS => after = next,
            _ => return Ok(all),
        }
    }
}
