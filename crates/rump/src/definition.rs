//! What every command is and takes: one definition for parsing, help, manual pages and completions.

use clap::{Arg, ArgAction, Command, value_parser};

use crate::{bus, completions, demo, doctor, host, lab, links, list, manual, nc, server};

/// The commands that are not tools of a kernel.
pub(crate) fn own_commands() -> Vec<Command> {
    vec![
        bus::command(),
        completions::command(),
        demo::command(),
        doctor::command(),
        host::command(),
        lab::command(),
        links::command(),
        list::command(),
        manual::command(),
        nc::command(),
        server::command(),
    ]
}

/// The whole program.
pub(crate) fn program() -> Command {
    let mut commands = own_commands();
    commands.extend(rumpnet_tools::commands());
    commands.sort_by(|one, other| one.get_name().cmp(other.get_name()));
    Command::new("rump")
        .about("A network kernel in user space, its servers and tools")
        .version(env!("CARGO_PKG_VERSION"))
        .args(options())
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommands(commands)
        .after_help(
            "Tools ask the server at --server, at RUMP_SERVER, or at the default place: \
             $XDG_RUNTIME_DIR/rump/default, for root /run/rump/default.",
        )
}

/// Options before the command.
fn options() -> [Arg; 2] {
    let server = Arg::new("server")
        .long("server")
        .value_name("URL")
        .action(ArgAction::Set)
        .help("Ask the server at this URL, unix://PATH");
    let timeout = Arg::new("timeout")
        .long("timeout")
        .value_name("SECONDS")
        .value_parser(value_parser!(u32).range(1..))
        .help("Wait so long for the server; 10 by default");
    [server, timeout]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent_and_every_command_says_what_it_does() {
        program().debug_assert();
        assert!(program().get_subcommands().all(|command| command.get_about().is_some()));
    }
}
