//! `rump demo`: a kernel that the host can ping, whatever the host allows.
//!
//! First a tap of its own making. Where the host refuses that, a network of its own (a namespace, with a tap or a packet
//! socket). Where it refuses that, too, two kernels joined in this process. Each step down says why, and which command lifts
//! the obstacle; everything is undone at the end. Meanwhile the kernel serves a status page over its own TCP.

mod meter;
mod network;
mod page;
mod steps;

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use clap::{Arg, ArgMatches, Command, value_parser};
use rumpnet::{
    Kernel,
    client::Address,
    server::{Limits, Listener, Server},
    wire::ip::Cidr,
};
use rumpnet_tools::{Console, Status};

use crate::{
    console::{self, Terminal},
    interrupt::Interrupt,
    locate, output,
};
use meter::Meter;
use network::Network;
use steps::Stage;

/// Between two looks at the traffic.
const TICK: Duration = Duration::from_secs(1);

/// The name under which it complains.
const PROGRAM: &str = "rump demo";

pub(crate) fn command() -> Command {
    let cidr = |id: &'static str, help: &'static str| {
        Arg::new(id).long(id).value_name("ADDRESS/LENGTH").value_parser(value_parser!(Cidr)).help(help)
    };
    Command::new("demo")
        .about("Boot a kernel that this host can ping, and show what passes")
        .arg(cidr("address", "The kernel's address; 10.0.0.2/24 if the host does not know that network"))
        .arg(cidr("host-address", "The host's address at the other end; 10.0.0.1/24 likewise"))
        .arg(Arg::new("tap").long("tap").value_name("NAME").help("Use this tap, even if it is there already"))
        .arg(
            Arg::new("require")
                .long("require")
                .value_name("WHAT")
                .value_parser(["tap"])
                .help("Fail where the host refuses this, instead of stepping down"),
        )
}

/// What is wanted.
struct Wanted {
    network: Option<Network>,
    tap: Option<String>,
    require_tap: bool,
}

pub(crate) fn run(matches: &ArgMatches) -> Status {
    let cidr = |id| matches.get_one::<Cidr>(id).copied();
    let network = match Network::wanted(cidr("address"), cidr("host-address")) {
        Ok(network) => network,
        Err(reason) => return output::failed(PROGRAM, reason),
    };
    let tap = matches.get_one::<String>("tap").cloned();
    let wanted = Wanted { network, tap, require_tap: matches.contains_id("require") };
    // Before any thread starts: signals are taken for all of them, and namespaces are entered by a lone thread only.
    let interrupt = Interrupt::on_signal();
    let listener = listen();
    match steps::determine(&wanted) {
        Ok(stage) => show(stage, listener, interrupt),
        Err(reason) => output::failed(PROGRAM, reason),
    }
}

/// A socket for the other commands, at a place of its own; the demo can do without, and says why.
fn listen() -> Result<Listener, String> {
    let directory = locate::runtime_directory().ok_or("XDG_RUNTIME_DIR names no place for its socket")?;
    let address = Address::at(directory.join(format!("demo-{}", std::process::id())));
    let address = address.map_err(|error| format!("{}: {error}", directory.display()))?;
    let said = |error: io::Error| format!("{address}: {error}");
    crate::server::make_private_directory(&directory).map_err(said)?;
    Listener::bind(address.path()).map_err(|errno| said(errno.into()))
}

/// Sets the stage, shows it until the user has seen enough, and undoes everything.
fn show(stage: Stage, listener: Result<Listener, String>, interrupt: Interrupt) -> Status {
    let set = match stage.set() {
        Ok(set) => set,
        Err(reason) => return output::failed(PROGRAM, reason),
    };
    let mut text = set.text.clone();
    text += &set.serve_page();
    let server = listener.and_then(|listener| {
        let url = format!("unix://{}", listener.path().display());
        let server = Server::start(listener, set.kernel.clone(), Limits::default());
        server.map(|server| (server, url)).map_err(|error| error.to_string())
    });
    text += &match &server {
        Ok((_, url)) => format!("  {} --server {url} ifconfig -a\n", locate::program()),
        Err(reason) => format!("Other commands cannot ask it: {reason}.\n"),
    };
    text += "Ctrl-C ends it and undoes everything.\n";
    let terminal = Terminal::of_kernel(set.kernel.clone(), interrupt);
    if output::print(&text).is_ok() {
        if let Some(words) = set.ping_words() {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            // Its output is all that is wanted of it.
            let _status = console::run(rumpnet_tools::run(&terminal, &words));
        }
        watch(&terminal, &set.kernel);
    }
    server.into_iter().for_each(|(server, _)| server.stop());
    let total = meter::total(&set.kernel);
    set.undo();
    // A reader who has gone wants no sum.
    let _unread = output::print(&format!("{total}; everything is undone.\n"));
    Status::SUCCESS
}

/// Until the user interrupts or somebody halts the kernel; the line of traffic is for terminals only.
fn watch(terminal: &Terminal, kernel: &Kernel) {
    let is_drawn = io::stdout().is_terminal();
    let mut meter = Meter::new(kernel);
    while !terminal.is_interrupted() && !kernel.wait_halt(Some(Duration::ZERO)) {
        console::run(terminal.sleep(TICK));
        // An interrupt has ended the wait: what would be said of so short a time is not a rate.
        let is_over = terminal.is_interrupted();
        if is_drawn && !is_over && output::print(&format!("{}{}", meter::REDRAW, meter.line(kernel))).is_err()
        {
            return;
        }
    }
    if is_drawn {
        let _closed = output::print("\n");
    }
}
