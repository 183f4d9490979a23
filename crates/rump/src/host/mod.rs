//! `rump host`: the host's side of the cable, for whoever is privileged there.

mod tap;

use clap::{ArgMatches, Command};
use rumpnet_tools::Status;

pub(crate) fn command() -> Command {
    Command::new("host")
        .about("Change the host's side, such as the taps of unprivileged servers")
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommand(tap::command())
}

pub(crate) fn run(matches: &ArgMatches) -> Status {
    match matches.subcommand() {
        Some(("tap", matches)) => tap::run(matches),
        // Clap wants one of the commands above.
        _ => Status::FAILURE,
    }
}
