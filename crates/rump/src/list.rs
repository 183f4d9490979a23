//! `rump list`: the servers that answer, in the directories where servers are by default, and the one that is named.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Arg, ArgAction, ArgMatches, Command};
use rumpnet::client::{Address, Client};
use rumpnet_host::machine;
use rumpnet_proto::{ControlError, Errno, KernelInfo, Operation, Reply, Request};
use rumpnet_tools::Status;
use serde_json::{Value, json};

use crate::{lab, locate, output};

/// How long one server is waited for; the others are asked meanwhile by nobody.
const PATIENCE: Duration = Duration::from_secs(1);

/// The directories of the users' runtime directories, which only root may all read.
const OF_USERS: &str = "/run/user";

pub(crate) fn command() -> Command {
    Command::new("list").about("List the servers that run").arg(
        Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the report as one JSON value"),
    )
}

/// A socket, and who answered at it.
struct Found {
    address: Address,
    answer: Result<KernelInfo, ControlError>,
}

pub(crate) fn run(matches: &ArgMatches, named: Option<&Address>) -> Status {
    let mut addresses: BTreeSet<PathBuf> =
        directories().iter().flat_map(|directory| sockets(directory)).collect();
    addresses.extend(named.map(|address| address.path().to_owned()));
    let found = addresses.into_iter().filter_map(|path| Address::at(path).ok()).map(ask);
    // A dead server's socket is no server.
    let found: Vec<_> = found.filter(|found| !is_dead(found)).collect();
    let json =
        matches.get_flag("json").then(|| json!({ "servers": found.iter().map(in_json).collect::<Vec<_>>() }));
    output::report(json, &found.iter().map(in_text).collect::<String>())
}

/// Where servers may be that this user may ask.
fn directories() -> Vec<PathBuf> {
    let mut directories: Vec<_> = locate::runtime_directory().into_iter().chain(lab::directory()).collect();
    if machine::user() == 0 {
        let users = fs::read_dir(OF_USERS).into_iter().flatten().flatten();
        directories.extend(users.map(|user| user.path().join("rump")));
    }
    directories
}

/// The sockets in a directory.
pub(crate) fn sockets(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let is_socket = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_socket());
    entries.filter(is_socket).map(|entry| entry.path()).collect()
}

fn ask(address: Address) -> Found {
    let answer =
        Client::connect(&address, PATIENCE).and_then(|client| match client.call(Request::Kernel)? {
            Reply::Kernel(kernel) => Ok(kernel),
            _ => Err(unexpected(&address)),
        });
    Found { address, answer }
}

fn is_dead(found: &Found) -> bool {
    found.answer.as_ref().is_err_and(is_gone)
}

/// Whether an answer says that there is no server any more.
pub(crate) fn is_gone(error: &ControlError) -> bool {
    matches!(error.errno, Errno::ConnRefused | Errno::NoEnt)
}

/// An answer that is none to what was asked.
pub(crate) fn unexpected(address: &Address) -> ControlError {
    ControlError::new(Operation::Server, address.to_string(), Errno::Proto)
}

fn in_text(found: &Found) -> String {
    match &found.answer {
        Ok(kernel) => format!(
            "{}: {}, process {}, rumpnet {}, up {} s\n",
            found.address,
            kernel.name,
            kernel.pid,
            kernel.version,
            kernel.uptime_ns / 1_000_000_000
        ),
        Err(error) => format!("{}: {}\n", found.address, error.errno),
    }
}

fn in_json(found: &Found) -> Value {
    let url = found.address.to_string();
    match &found.answer {
        Ok(kernel) => json!({
            "url": url, "name": kernel.name, "process_id": kernel.pid,
            "rumpnet_version": kernel.version, "uptime_ns": kernel.uptime_ns,
        }),
        Err(error) => {
            json!({ "url": url, "error": { "message": error.errno.text(), "errno": error.errno.name() } })
        }
    }
}
