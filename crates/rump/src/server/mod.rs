//! `rump server`: a kernel as a process, until `rump halt` or a signal.
//!
//! In the foreground as `rump server`; as `rump_server` it takes the words of NetBSD's ([`netbsd`]) and daemonises once it can be reached.

mod netbsd;
mod options;

use clap::{Arg, ArgAction, ArgMatches, Command};
use rumpnet::{
    Kernel,
    client::Address,
    server::{Limits, Listener, Server},
};
use rumpnet_proto::{Request, Severity};
use rumpnet_tools::Status;

use crate::{locate, output};
pub(crate) use netbsd::{NAMES, command as netbsd_command, run as run_as_netbsd};
use options::{Options, host_end, preset};

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
        .arg(Arg::new("URL").help("Where it listens, unix://PATH; the default place if absent"))
}

/// Runs `rump server`.
pub(crate) fn run(matches: &ArgMatches) -> Status {
    let url = matches.get_one::<String>("URL");
    let address = match url {
        Some(url) => url.parse().map_err(|error| format!("{url}: {error}")),
        None => locate::default_address(),
    };
    let options = Options {
        name: matches.get_one::<String>("name").cloned(),
        host_ends: matches.get_many("tap").into_iter().flatten().cloned().collect(),
        config: preset(matches.get_one::<String>("preset").map_or("server", String::as_str)),
        verbose: matches.get_flag("verbose"),
    };
    let served = address.and_then(|address| {
        let listener = bind(&address, url.is_none())?;
        serve(listener, &options)
    });
    served.map_or_else(|reason| output::failed("rump server", reason), |()| Status::SUCCESS)
}

/// Takes the socket, in a directory made for it if that is the default one.
fn bind(address: &Address, is_default: bool) -> Result<Listener, String> {
    let said = |reason: &dyn std::fmt::Display| format!("{address}: {reason}");
    let address = address.absolute().map_err(|error| said(&error))?;
    if is_default && let Some(directory) = address.path().parent() {
        options::make_private_directory(directory).map_err(|error| said(&error))?;
    }
    Listener::bind(address.path()).map_err(|error| said(&std::io::Error::from(error)))
}

/// Runs a kernel and serves it until it is halted.
fn serve(listener: Listener, options: &Options) -> Result<(), String> {
    let url = format!("unix://{}", listener.path().display());
    let kernel = options.boot()?;
    kernel.log(Severity::Info, format!("rumpnet {} serves at {url}", env!("CARGO_PKG_VERSION")));
    let server = Server::start(listener, kernel.clone(), Limits::default())
        .map_err(|error| format!("{url}: {error}"))?;
    kernel.wait_halt(None);
    server.stop();
    kernel.shutdown();
    Ok(())
}
