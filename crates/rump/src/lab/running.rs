//! Labs that are up: running tools on their hosts, listing them, taking them down.

use std::{
    thread,
    time::{Duration, Instant},
};

use clap::{Arg, ArgAction, ArgMatches, Command};
use rumpnet::client::{Address, Client, PATIENCE};
use rumpnet_proto::{ControlError, KernelInfo, Reply, Request};
use rumpnet_tools::Status;
use serde_json::{Value, json};

use super::{PROGRAM, place};
use crate::{dispatch, list, output};

/// Between two looks at whether a lab is still there.
const PAUSE: Duration = Duration::from_millis(5);

/// For how long a lab that was told to go down is waited for.
const FAREWELL: Duration = Duration::from_secs(10);

fn lab_option() -> Arg {
    Arg::new("lab").long("lab").value_name("LAB").help(
        "The lab, by its name or its URL; if absent, the one that RUMP_LAB names, or the only one that is up",
    )
}

fn json_option() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the report as one JSON value")
}

/// The lab that the words mean.
fn meant(matches: &ArgMatches) -> Result<Address, String> {
    place::find(matches.get_one::<String>("lab").map(String::as_str))
}

pub(super) fn exec_command() -> Command {
    Command::new("exec")
        .about("Run a tool on a host of a lab that is up")
        .arg(lab_option())
        .arg(Arg::new("HOST").required(true).help("The host"))
        .arg(
            Arg::new("TOOL")
                .required(true)
                .num_args(1..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .help("The tool and its words, as behind `rump`"),
        )
}

pub(super) fn exec(matches: &ArgMatches) -> Status {
    let host = matches.get_one::<String>("HOST").cloned().unwrap_or_default();
    let words: Vec<String> = matches.get_many("TOOL").into_iter().flatten().cloned().collect();
    match meant(matches) {
        Ok(address) => dispatch::run_at(&address.of_host(host), &words),
        Err(reason) => output::failed_as_asked(PROGRAM, &words, &reason),
    }
}

pub(super) fn hosts_command() -> Command {
    Command::new("hosts")
        .about("Print the names of the hosts of a lab that is up, one a line")
        .arg(lab_option())
        .arg(json_option())
}

pub(super) fn hosts(matches: &ArgMatches) -> Status {
    let found = meant(matches).and_then(|address| {
        let client = Client::connect(&address, PATIENCE);
        client.and_then(|client| place::hosts(&client)).map_err(|error| error.to_string())
    });
    match found {
        Ok(hosts) => {
            let text: String = hosts.iter().map(|host| format!("{host}\n")).collect();
            output::report(matches.get_flag("json").then(|| json!({ "hosts": hosts })), &text)
        }
        Err(reason) => output::failed(PROGRAM, reason),
    }
}

pub(super) fn list_command() -> Command {
    Command::new("list").about("List the labs that are up").arg(json_option())
}

/// A lab, and what it said of itself.
struct Found {
    address: Address,
    answer: Result<(KernelInfo, usize), ControlError>,
}

pub(super) fn list(matches: &ArgMatches) -> Status {
    let found = place::all().into_iter().map(|address| Found { answer: ask(&address), address });
    let gone = |found: &Found| found.answer.as_ref().is_err_and(list::is_gone);
    let found: Vec<_> = found.filter(|found| !gone(found)).collect();
    let json = json!({ "labs": found.iter().map(in_json).collect::<Vec<_>>() });
    output::report(matches.get_flag("json").then_some(json), &found.iter().map(in_text).collect::<String>())
}

fn ask(address: &Address) -> Result<(KernelInfo, usize), ControlError> {
    let client = Client::connect(address, PATIENCE)?;
    match client.call(Request::Kernel)? {
        Reply::Kernel(info) => Ok((info, place::hosts(&client)?.len())),
        _ => Err(list::unexpected(address)),
    }
}

fn in_text(found: &Found) -> String {
    let (name, address) = (place::name(&found.address), &found.address);
    match &found.answer {
        Ok((info, hosts)) => {
            let seconds = info.uptime_ns / 1_000_000_000;
            format!("{name}: {hosts} hosts, process {}, up {seconds} s, {address}\n", info.pid)
        }
        Err(error) => format!("{name}: {}, {address}\n", error.errno),
    }
}

fn in_json(found: &Found) -> Value {
    let (name, url) = (place::name(&found.address), found.address.to_string());
    match &found.answer {
        Ok((info, hosts)) => json!({
            "name": name, "url": url, "hosts": hosts, "process_id": info.pid, "uptime_ns": info.uptime_ns,
        }),
        Err(error) => json!({
            "name": name, "url": url,
            "error": { "message": error.errno.text(), "errno": error.errno.name() },
        }),
    }
}

pub(super) fn down_command() -> Command {
    Command::new("down").about("Take a lab down").arg(
        Arg::new("LAB")
            .help("The lab, by its name or its URL; if absent, as for exec, the one that is meant without"),
    )
}

pub(super) fn down(matches: &ArgMatches) -> Status {
    let ended = place::find(matches.get_one::<String>("LAB").map(String::as_str)).and_then(|address| {
        Client::connect(&address, PATIENCE)
            .and_then(|client| client.call(Request::Halt))
            .map_err(|error| error.to_string())?;
        await_end(&address)
    });
    match ended {
        Ok(()) => Status::SUCCESS,
        Err(reason) => output::failed(PROGRAM, reason),
    }
}

/// Returns when the lab's socket is gone.
fn await_end(address: &Address) -> Result<(), String> {
    let end = Instant::now() + FAREWELL;
    while address.path().exists() {
        if Instant::now() >= end {
            return Err(format!(
                "{address}: told to go down, and still there after {} s",
                FAREWELL.as_secs()
            ));
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}
