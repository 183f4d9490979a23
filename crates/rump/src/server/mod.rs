//! `rump server`: a kernel as a process, until `rump halt` or a signal.
//!
//! In the foreground as `rump server`; as `rump_server` it takes the words of NetBSD's ([`netbsd`]) and daemonises once it can be reached.

mod netbsd;
mod options;

use std::{
    io::{self, IsTerminal},
    os::fd::AsFd,
    thread,
    time::Duration,
};

use clap::{Arg, ArgAction, ArgMatches, Command};
use rumpnet::{
    Kernel,
    client::Address,
    server::{Limits, Listener, Server},
};
use rumpnet_host::process::{self, Signal, Signals};
use rumpnet_proto::Severity;
use rumpnet_tools::Status;

use crate::{console, locate, output};
pub(crate) use netbsd::{NAMES, command as netbsd_command, run as run_as_netbsd};
pub(crate) use options::make_private_directory;
use options::{Options, given_twice, host_end, name, preset};

/// Stack of the thread that waits for signals.
const SIGNAL_STACK_BYTES: usize = 64 * 1024;

/// For how long an ending kernel's peers may take to acknowledge what was sent.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn command() -> Command {
    Command::new("server")
        .about("Run a kernel and serve it, until it is halted or a signal comes")
        .arg(
            Arg::new("tap")
                .long("tap")
                .value_name("VIRT=TAP")
                .action(ArgAction::Append)
                .value_parser(host_end)
                .help(
                    "The host's end of an interface: virt0=NAME, or virt0=fd:N for an inherited descriptor",
                ),
        )
        .arg(
            Arg::new("name")
                .long("name")
                .value_name("NAME")
                .value_parser(name)
                .help("The kernel's name; its link addresses follow from it"),
        )
        .arg(
            Arg::new("preset")
                .long("preset")
                .value_name("PRESET")
                .value_parser(["tiny", "server"])
                .default_value("server")
                .help("The limits of its tables and queues; -v prints them"),
        )
        .arg(Arg::new("verbose").short('v').action(ArgAction::SetTrue).help("Print what the kernel reports"))
        .arg(
            Arg::new("URL")
                .help("Where it listens, unix://PATH; if absent, where the tools would look for it"),
        )
}

/// Runs `rump server`; where no URL is among its words, it listens where tools look for `named`.
pub(crate) fn run(matches: &ArgMatches, named: Option<&str>) -> Status {
    let address = match matches.get_one::<String>("URL") {
        Some(url) => url.parse().map_err(|error| format!("{url}: {error}")),
        None => locate::address(named),
    };
    let options = Options {
        name: matches.get_one::<String>("name").cloned(),
        host_ends: matches.get_many("tap").into_iter().flatten().cloned().collect(),
        config: preset(matches.get_one::<String>("preset").map_or("server", String::as_str)),
        verbose: matches.get_flag("verbose"),
    };
    if let Some(interface) = given_twice(&options.host_ends) {
        return output::failed("rump server", format!("--tap: {interface} is given two ends"));
    }
    let served = address.and_then(|address| {
        let listener = bind(&address)?;
        Running::start(listener, &options)
    });
    match served {
        Ok(running) => {
            running.run();
            Status::SUCCESS
        }
        Err(reason) => output::failed("rump server", reason),
    }
}

/// Takes the socket, in a directory made for it if that is the default one.
fn bind(address: &Address) -> Result<Listener, String> {
    let said = |reason: &dyn std::fmt::Display| format!("{address}: {reason}");
    let address = address.absolute().map_err(|error| said(&error))?;
    let is_default = locate::default_address().is_ok_and(|default| default.path() == address.path());
    if is_default && let Some(directory) = address.path().parent() {
        options::make_private_directory(directory).map_err(|error| said(&error))?;
    }
    Listener::bind(address.path()).map_err(|error| said(&std::io::Error::from(error)))
}

/// A kernel that is served.
pub(crate) struct Running {
    kernel: Kernel,
    server: Server,
}

impl Running {
    /// Boots a kernel and serves it. From now on it ends by a signal as by a halt.
    fn start(listener: Listener, options: &Options) -> Result<Self, String> {
        let url = format!("unix://{}", listener.path().display());
        let said = |error: io::Error| format!("{url}: {error}");
        let signals = Self::signals()?;
        let kernel = options.boot()?;
        kernel.log(Severity::Info, format!("rumpnet {} serves at {url}", env!("CARGO_PKG_VERSION")));
        let server = Server::start(listener, kernel.clone(), Limits::default()).map_err(said)?;
        Self::of(signals, kernel, server)
    }

    /// The signals that end a server, taken from all threads that start later.
    pub(crate) fn signals() -> Result<Signals, String> {
        Signals::take().map_err(|errno| format!("signals: {}", io::Error::from(errno)))
    }

    /// A kernel that is served already. From now on it ends by a signal as by a halt.
    pub(crate) fn of(signals: Signals, kernel: Kernel, server: Server) -> Result<Self, String> {
        let halted = kernel.clone();
        let wait = thread::Builder::new().name("rump-signals".to_owned()).stack_size(SIGNAL_STACK_BYTES);
        let wait = wait.spawn(move || halt_on_signal(&signals, &halted));
        wait.map_err(|error| format!("no thread for signals: {error}"))?;
        Ok(Self { kernel, server })
    }

    /// Returns when the kernel is halted and everything is given back.
    pub(crate) fn run(self) {
        // Without a service manager there is nobody to be told.
        let _told = process::notify("READY=1");
        self.kernel.wait_halt(None);
        let _told = process::notify("STOPPING=1");
        self.server.stop();
        // What is lost is told where everything is told.
        let _told = self.kernel.shutdown_within(DRAIN_PATIENCE);
    }
}

/// Halts the kernel when a signal comes; a server without a terminal does not mind that it hangs up.
fn halt_on_signal(signals: &Signals, kernel: &Kernel) {
    loop {
        console::is_readable(signals.as_fd(), Duration::MAX);
        match signals.receive() {
            Ok(Some(Signal::HangUp)) if !io::stdin().is_terminal() => {}
            // The wait was ended by something else, such as SIGCONT.
            Ok(None) => {}
            _ => return kernel.halt(),
        }
    }
}
