//! What the definitions of all tools have in common.

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::failure::Failure;

/// The option by which any tool prints JSON.
pub(crate) const JSON: &str = "--json";

/// A tool without arguments of its own. `-h` is left free: some tools give it another meaning.
pub(crate) fn tool(name: &'static str, about: &'static str) -> Command {
    let help = Arg::new("help").long("help").action(ArgAction::Help).help("Print this help");
    let json = flag("json").long("json").help("Print the report, or the error, as one JSON value");
    Command::new(name).about(about).disable_help_flag(true).disable_version_flag(true).args([help, json])
}

/// A switch.
pub(crate) fn flag(id: &'static str) -> Arg {
    Arg::new(id).action(ArgAction::SetTrue)
}

/// A switch of one letter, which is its name, too.
pub(crate) fn letter(id: &'static str, help: &'static str) -> Arg {
    flag(id).short(id.chars().next()).help(help)
}

/// An option with a value.
pub(crate) fn value(id: &'static str, name: &'static str, help: &'static str) -> Arg {
    Arg::new(id).short(id.chars().next()).value_name(name).help(help)
}

/// Reads words by a definition.
pub(crate) fn parse(command: Command, words: &[&str]) -> Result<ArgMatches, Failure> {
    command.no_binary_name(true).try_get_matches_from(words).map_err(|error| {
        let text = error.render().to_string();
        if error.use_stderr() { Failure::usage(text) } else { Failure::Help(text) }
    })
}

/// The words given for an argument.
pub(crate) fn words<'a>(matches: &'a ArgMatches, id: &str) -> Vec<&'a str> {
    matches.get_many::<String>(id).into_iter().flatten().map(String::as_str).collect()
}

/// The word given for an argument.
pub(crate) fn word<'a>(matches: &'a ArgMatches, id: &str) -> Option<&'a str> {
    matches.get_one::<String>(id).map(String::as_str)
}
