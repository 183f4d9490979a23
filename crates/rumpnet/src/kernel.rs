//! A kernel on this host: booting it, running it, ending it.

use std::{io, process, sync::Arc, time::Duration};

use rumpnet_proto::{KernelInfo, Severity};
use rumpnet_stack::{Config, Seed, Stack, time::Instant};

use crate::{
    clock,
    host_end::{HostEnds, place},
    identity::Identity,
    reactor::Reactor,
    shared::Shared,
};

/// A network kernel of this process. Clones are handles on the same one, and it ends with the last of them.
///
/// Sockets are handles, too. Dropping never waits: what the kernel held of the host is given back by another thread.
#[derive(Clone)]
pub struct Kernel {
    pub(crate) shared: Arc<Shared>,
    pub(crate) host_ends: Arc<HostEnds>,
}

/// How a kernel shall be booted.
#[derive(Debug, Default)]
pub struct Builder {
    name: Option<String>,
    config: Config,
    seed: Option<Seed>,
    driven: bool,
    echo: bool,
    host_ends: HostEnds,
}

impl Builder {
    /// Its name, which its link addresses follow from; `rump-<pid>.<host>` otherwise.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Its limits; [`Config::server`] otherwise.
    pub const fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// What everything random in it follows from; the host's entropy otherwise.
    pub const fn seed(mut self, seed: Seed) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Runs it by the caller's loop ([`Kernel::turn`]) instead of this process's reactor thread.
    pub const fn driven(mut self) -> Self {
        self.driven = true;
        self
    }

    /// Writes what it reports to standard error, too.
    pub const fn echo_messages(mut self) -> Self {
        self.echo = true;
        self
    }

    /// The host's end of an interface that may be created later: a name such as `tap7`, or `fd:N` for an inherited descriptor.
    pub fn host_end(mut self, interface: impl Into<String>, end: impl Into<String>) -> Self {
        self.host_ends.set(interface.into(), end.into());
        self
    }

    /// Boots it. Fails if the host has no entropy, or no thread or descriptor left.
    pub fn boot(self) -> io::Result<Kernel> {
        let reactor = if self.driven { Arc::new(Reactor::new()?) } else { Reactor::of_process()? };
        let seed = match self.seed {
            Some(seed) => seed,
            None => rumpnet_host::entropy::random::<16>()?,
        };
        let name = self.name.unwrap_or_else(default_name);
        let booted = clock::now();
        let stack = Stack::boot(self.config, seed, booted);
        let identity = Identity { name, place: place() };
        let shared = Shared::new(identity, reactor, self.driven, stack, booted);
        shared.log.echo(self.echo);
        let kernel = Kernel { shared, host_ends: Arc::new(self.host_ends) };
        // What booting reported.
        kernel.shared.enter(|_, _| ());
        Ok(kernel)
    }
}

impl Kernel {
    /// Boots a kernel with the usual limits, run by this process's reactor thread.
    pub fn boot() -> io::Result<Self> {
        Self::builder().boot()
    }

    /// Says how to boot one.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.identity.name
    }

    /// Who it is.
    pub fn info(&self) -> KernelInfo {
        KernelInfo {
            name: self.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: process::id(),
            uptime_ns: (clock::now() - self.shared.booted).as_nanos(),
        }
    }

    /// Runs a driven kernel: waits until there is work, at most so long, and does it. A kernel with a thread needs it not.
    pub fn turn(&self, patience: Option<Duration>) {
        let limit = patience.map(|span| clock::now() + span.into());
        self.shared.reactor.turn(limit);
    }

    /// How long a driven kernel may be left alone if its descriptor stays quiet; none for ever.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.shared.reactor.next_deadline().map(|deadline| (deadline - clock::now()).into())
    }

    /// A point of the kernel's time by the calendar, since 1970.
    pub fn wall_clock(&self, at: Instant) -> Duration {
        clock::since_1970(at)
    }

    /// Adds a line to what the kernel has reported (dmesg(8)).
    pub fn log(&self, severity: Severity, text: impl Into<String>) {
        self.shared.log.push(severity, text.into());
    }

    /// Marks the kernel as ended (reboot(2)): whoever waits in [`Self::wait_halt`] goes on.
    pub fn halt(&self) {
        self.shared.halted.give();
    }

    /// Waits until somebody halts the kernel, at most so long; whether it was halted.
    pub fn wait_halt(&self, patience: Option<Duration>) -> bool {
        self.shared.halted.wait(patience)
    }
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl std::os::fd::AsFd for Kernel {
    /// Polls readable when a driven kernel has something to do; its deadline is [`Kernel::next_deadline`].
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.shared.reactor.poller().as_fd()
    }
}

fn default_name() -> String {
    format!("rump-{}.{}", process::id(), rumpnet_host::machine::host_name())
}
