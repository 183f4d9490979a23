//! `rump lab`: networks of many hosts from one file. docs/guide/lab.md has the file.
//!
//! `up` runs a lab in this process and serves it; `exec`, `hosts`, `list` and `down` find labs that are up ([`place`]); `test` runs a lab's checks
//! and is done ([mod@test]); `graph` draws it.

mod console;
mod place;
mod running;
mod test;
mod up;

use std::fs;

use clap::{Arg, ArgMatches, Command, value_parser};
use rumpnet_proto::topology::Topology;
use rumpnet_tools::{Status, topology};

use crate::output;
pub(crate) use place::directory;

/// What complaints begin with.
const PROGRAM: &str = "rump lab";

pub(crate) fn command() -> Command {
    Command::new("lab")
        .about("Run networks of many hosts, each a kernel, from one file")
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommands([
            running::down_command(),
            running::exec_command(),
            graph_command(),
            running::hosts_command(),
            running::list_command(),
            test::command(),
            up::command(),
        ])
        .after_help(
            "A lab that is up is found by --lab, by RUMP_LAB, or because it is the only one. Each of its hosts is a server of its own: \
             the URL of a host is that of the lab, a # and the host's name.",
        )
}

pub(crate) fn run(matches: &ArgMatches) -> Status {
    match matches.subcommand() {
        Some(("down", matches)) => running::down(matches),
        Some(("exec", matches)) => running::exec(matches),
        Some(("graph", matches)) => graph(matches),
        Some(("hosts", matches)) => running::hosts(matches),
        Some(("list", matches)) => running::list(matches),
        Some(("test", matches)) => test::run(matches),
        Some(("up", matches)) => up::run(matches),
        // Every command of the definition is here.
        _ => output::failed(PROGRAM, "no such command; see rump lab --help"),
    }
}

/// The operand that names a topology file.
fn file_operand() -> Arg {
    Arg::new("FILE").required(true).help("The topology (docs/guide/lab.md)")
}

/// Reads the topology that the words name.
fn load(matches: &ArgMatches) -> Result<Topology, String> {
    let file = matches.get_one::<String>("FILE").map(String::as_str).unwrap_or_default();
    let text = fs::read_to_string(file).map_err(|error| format!("{PROGRAM}: {file}: {error}"))?;
    topology::parse(file, &text).map_err(|mistakes| mistakes.to_string())
}

/// Says why something of a topology went wrong; what has a place in the file begins with it.
fn failed(reason: &str) -> Status {
    output::complain(&format!("{reason}\n"));
    Status::FAILURE
}

fn graph_command() -> Command {
    Command::new("graph")
        .about("Draw a lab as an SVG picture: its hosts, buses and addresses")
        .arg(
            Arg::new("output")
                .short('o')
                .value_name("OUTPUT")
                .value_parser(value_parser!(String))
                .help("The file to be written; standard output if absent"),
        )
        .arg(file_operand())
}

fn graph(matches: &ArgMatches) -> Status {
    let drawn = match load(matches) {
        Ok(plan) => topology::draw(&plan),
        Err(reason) => return failed(&reason),
    };
    match matches.get_one::<String>("output") {
        None => output::report(None, &drawn),
        Some(path) => match fs::write(path, drawn) {
            Ok(()) => Status::SUCCESS,
            Err(error) => output::failed(PROGRAM, format!("{path}: {error}")),
        },
    }
}
