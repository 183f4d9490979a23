//! A kernel on a tap, its server, and a client of that: what tests of sockets for other processes are made in.

use std::{
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rumpnet::{
    Kernel,
    client::Address,
    remote,
    server::{Limits, Listener, Server},
};
use rumpnet_host::namespace::enter_own_network;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The host's address, on the kernel's tap.
pub(crate) const HOSTS: &str = "10.0.0.1";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A kernel of 10.0.0.2 on a tap whose host is 10.0.0.1, and its server.
pub(crate) struct Site {
    pub(crate) kernel: Kernel,
    pub(crate) server: Option<Server>,
    pub(crate) address: Address,
    directory: PathBuf,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        enter_own_network().expect("these tests need root");
        let kernel = Kernel::boot().expect("boots");
        kernel.create("virt0").expect("these tests need root");
        kernel.add_address("virt0", "10.0.0.2/24".parse().expect("a prefix")).expect("free");
        ip("addr add 10.0.0.1/24 dev tap0");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("rumpnet-remote-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a temporary directory");
        let address = Address::at(directory.join("s")).expect("a short path");
        let mut site = Self { kernel, server: None, address, directory };
        site.start(limits);
        site
    }

    /// Starts a server where the last one was.
    pub(crate) fn start(&mut self, limits: Limits) {
        let listener = Listener::bind(self.address.path()).expect("a free path");
        self.server = Some(Server::start(listener, self.kernel.clone(), limits).expect("it starts"));
    }

    /// A client, as another process would be.
    pub(crate) fn client(&self) -> remote::Kernel {
        Kernel::connect(&self.address.to_string()).expect("it listens")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.server.take());
        let _kept = std::fs::remove_dir_all(&self.directory);
    }
}

/// Runs ip(8) in this thread's namespace.
#[track_caller]
pub(crate) fn ip(words: &str) {
    let ran =
        Command::new("ip").args(words.split_whitespace()).output().expect("ip is there (package iproute2)");
    assert!(ran.status.success(), "ip {words}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Waits for what comes by itself.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
