//! `rump bus`: what has passed a bus, and what shall; and the same by NetBSD's names, shmif_dumpbus and shmif_pcapin.

mod dump;
mod inject;
mod netbsd;

use std::{io, path::Path};

use clap::{Arg, ArgAction, ArgMatches, Command};
use rumpnet_host::bus::{Access, BusFile};
use rumpnet_tools::Status;

pub(crate) use netbsd::{NAMES, commands as netbsd_commands, run as run_as_netbsd};

pub(crate) fn command() -> Command {
    Command::new("bus")
        .about("Look at a bus of bus<n> interfaces, and put frames on it")
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommand(dump_command())
        .subcommand(inject_command())
}

fn dump_command() -> Command {
    Command::new("dump")
        .about("Write the frames that a bus has kept as pcapng, with their times and senders")
        .arg(Arg::new("f").short('f').long("follow").action(ArgAction::SetTrue).help("Go on with those that come"))
        .arg(Arg::new("w").short('w').value_name("FILE").help("Write to this file; standard output if it is -, the default"))
        .arg(Arg::new("BUS").required(true).help("The file that the bus is"))
        .after_help(
            "Super-frames are written as they crossed the bus, longer than its MTU, and checksums that were left to the \
             far end are marked as such. Every sender is an interface of the capture. Reading needs no right to write, and \
             disturbs nobody.",
        )
}

fn inject_command() -> Command {
    Command::new("inject")
        .about("Put the Ethernet frames of a capture, pcap or pcapng, on a bus")
        .arg(
            Arg::new("times")
                .long("keep-times")
                .action(ArgAction::SetTrue)
                .help("Let the bus say when they were captured, and not that it is now"),
        )
        .arg(Arg::new("BUS").required(true).help("The file that the bus is; made if it is not there"))
        .arg(Arg::new("FILE").required(true).help("The capture; standard input if it is -"))
        .after_help(
            "Nothing is put on the bus unless the whole file makes sense. Frames follow each other as fast as they can: a bus \
             keeps some 3 MiB of them, and who reads more slowly counts overruns.",
        )
}

pub(crate) fn run(matches: &ArgMatches) -> Status {
    match matches.subcommand() {
        Some(("dump", matches)) => dump::run("rump bus dump", matches),
        Some(("inject", matches)) => inject::run("rump bus inject", matches),
        // Clap wants one of the commands above.
        _ => Status::FAILURE,
    }
}

/// Opens a bus, or says why not.
fn open(bus: &str, access: Access) -> Result<BusFile, String> {
    if let Some(name) = bus.strip_prefix("mem:") {
        return Err(format!(
            "{bus}: the bus {name} is private to its process; rump tcpdump shows what passes it"
        ));
    }
    BusFile::open(Path::new(bus), access).map_err(|error| format!("{bus}: {}", reason(&error)))
}

/// What an error of a bus means.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(NO_BUS) => "the file is no bus (ENOEXEC)".to_owned(),
        Some(HELD) => "somebody has held its lock for seconds (EBUSY)".to_owned(),
        _ => error.to_string(),
    }
}

/// ENOEXEC, Linux's number.
const NO_BUS: i32 = 8;
/// EBUSY.
const HELD: i32 = 16;
