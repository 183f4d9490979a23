//! `rump completions SHELL`: completions of every command, for a shell to read.

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;
use rumpnet_tools::Status;

use crate::{definition, output};

pub(crate) fn command() -> Command {
    Command::new("completions")
        .about("Print the completions of every command for a shell")
        .arg(Arg::new("SHELL").required(true).value_parser(value_parser!(Shell)).help("The shell"))
}

pub(crate) fn run(matches: &ArgMatches) -> Status {
    let Some(shell) = matches.get_one::<Shell>("SHELL") else { return Status::FAILURE };
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut definition::program(), "rump", &mut script);
    output::report(None, &String::from_utf8_lossy(&script))
}
