//! Labs: a topology as kernels of this process, on buses that nobody else can be on.
//!
//! All kernels are run by the one thread of this process's reactor; a kernel that does nothing costs its memory alone. [`Lab::up`] is all
//! or nothing: what a kernel refuses takes the others down again.
//!
//! *Not* here: the file (`rumpnet-tools` reads it), who serves a lab to other processes ([`crate::server`]), and its checks, which are tools'.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::atomic::{AtomicU64, Ordering},
};

use rumpnet_proto::{
    ControlError,
    topology::{Host, Refusal, Topology},
};
use rumpnet_stack::Config;

use crate::Kernel;

/// Labs that this process has had.
static LABS: AtomicU64 = AtomicU64::new(0);

/// The hosts of a topology, each a kernel. It ends with the last handle on it and on its kernels.
pub struct Lab {
    topology: Topology,
    /// What no other lab of this process is called.
    identity: String,
    kernels: Vec<Kernel>,
    by_name: BTreeMap<String, usize>,
}

/// Why a lab is not up.
#[derive(Debug)]
pub enum LabError {
    /// A kernel could not be booted: the host has no entropy, or no thread or descriptor left.
    Boot(io::Error),
    /// A kernel refused what the topology says of its host.
    Refused(Box<Refusal>),
}

impl Lab {
    /// Boots and configures all hosts, with the limits of [`Config::lab`].
    pub fn up(topology: Topology) -> Result<Self, LabError> {
        let number = LABS.fetch_add(1, Ordering::Relaxed) + 1;
        let identity = format!("{}.{number}", topology.name);
        let mut kernels = Vec::with_capacity(topology.hosts.len());
        for host in &topology.hosts {
            let kernel = boot(host)?;
            let refused = |error: ControlError| LabError::Refused(Box::new(topology.refusal(host, error)));
            let mut requests = topology.requests(&identity, host).into_iter();
            requests.try_for_each(|request| kernel.control(request).map(drop)).map_err(refused)?;
            kernels.push(kernel);
        }
        let names = topology.hosts.iter().enumerate();
        let by_name = names.map(|(place, host)| (host.name.clone(), place)).collect();
        Ok(Self { topology, identity, kernels, by_name })
    }

    /// What it is made of.
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The kernel of a host.
    pub fn host(&self, name: &str) -> Option<&Kernel> {
        self.by_name.get(name).map(|place| &self.kernels[*place])
    }

    /// The kernels, in the order of the topology.
    pub fn kernels(&self) -> &[Kernel] {
        &self.kernels
    }

    /// The names of its hosts, sorted, from the one behind `after` on.
    pub fn names(&self, after: Option<&str>) -> impl Iterator<Item = &str> {
        let begin = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.by_name.range::<str, _>((begin, std::ops::Bound::Unbounded)).map(|(name, _)| name.as_str())
    }
}

fn boot(host: &Host) -> Result<Kernel, LabError> {
    Kernel::builder().name(host.name.clone()).config(Config::lab()).boot().map_err(LabError::Boot)
}

impl fmt::Debug for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lab").field("name", &self.identity).field("hosts", &self.kernels.len()).finish()
    }
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boot(error) => write!(f, "no kernel: {error}"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for LabError {}
