//! What is wanted: by the name that the program was called by, or by its first word.

use std::{path::Path, time::Duration};

use clap::{ArgMatches, error::ErrorKind};
use rumpnet::client::{Address, PATIENCE};
use rumpnet_tools::Status;

use crate::{
    bus, completions,
    console::{self, Terminal},
    definition, demo, doctor, host,
    interrupt::Interrupt,
    lab, links, list, locate, manual, nc, output, server,
};

/// The tools that go on until they are interrupted, and then have something to say.
const INTERRUPTIBLE: &[&str] = &["ping", "ping6", "tcpdump", "top", "traceroute"];

/// Options for finding the server, wherever they stand.
#[derive(Default)]
struct Finding {
    server: Option<String>,
    patience: Option<Duration>,
}

/// Runs what `words`, the program's name and its arguments, ask for.
pub(crate) fn run(words: &[String]) -> Status {
    let program = words.first().map_or("rump", |word| base_name(word));
    let arguments = words.get(1..).unwrap_or_default();
    if server::NAMES.contains(&program) {
        return server::run_as_netbsd(program, arguments);
    }
    if bus::NAMES.contains(&program) {
        return bus::run_as_netbsd(program, arguments);
    }
    match program.strip_prefix("rump.") {
        Some(tool) if is_tool(tool) => run_tool(program, arguments),
        Some("nc") => run_command(&with_word("nc", arguments)),
        _ => run_command(arguments),
    }
}

/// A command's own words behind those for finding the server, which may come first under a name of its own, too.
fn with_word(word: &str, arguments: &[String]) -> Vec<String> {
    let mut finding = Finding::default();
    let mut rest = arguments;
    while let Ok(Some(more)) = finding.take(rest) {
        rest = more;
    }
    let (found, own) = arguments.split_at(arguments.len() - rest.len());
    [found, &[word.to_owned()], own].concat()
}

fn base_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path)
}

fn is_tool(name: &str) -> bool {
    rumpnet_tools::names().any(|tool| tool == name)
}

/// Runs `rump WORD …` with the server at `address`.
pub(crate) fn run_at(address: &Address, arguments: &[String]) -> Status {
    run_finding(Finding { server: Some(address.to_string()), patience: None }, arguments)
}

/// `rump WORD …`: a tool reads its words by itself, for some give letters meanings of their own.
fn run_command(arguments: &[String]) -> Status {
    run_finding(Finding::default(), arguments)
}

fn run_finding(mut finding: Finding, arguments: &[String]) -> Status {
    let mut rest = arguments;
    while let Some(more) = match finding.take(rest) {
        Ok(more) => more,
        Err(reason) => return output::failed("rump", reason),
    } {
        rest = more;
    }
    match rest.split_first() {
        // As clap, cargo and git have it: help on what follows.
        Some((word, arguments)) if word == "help" => {
            run_command(&[arguments, &["--help".to_owned()]].concat())
        }
        Some((word, arguments)) if is_tool(word) => run_found_tool(word, arguments, &finding),
        _ => match definition::program().try_get_matches_from([&["rump".to_owned()], arguments].concat()) {
            Ok(matches) => run_own(&matches, &finding),
            Err(error) => {
                let is_asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
                let text = error.render().to_string();
                if is_asked_for {
                    return output::report(None, &text);
                }
                output::complain(&format!(
                    "rump: {}\n",
                    text.strip_prefix("error: ").unwrap_or(&text).trim_end()
                ));
                Status::FAILURE
            }
        },
    }
}

fn run_own(matches: &ArgMatches, finding: &Finding) -> Status {
    match matches.subcommand() {
        Some(("server", matches)) => server::run(matches, finding.server.as_deref()),
        Some(("bus", matches)) => bus::run(matches),
        Some(("list", matches)) => list::run(matches, finding.address().ok().as_ref()),
        Some(("demo", matches)) => demo::run(matches),
        Some(("doctor", matches)) => doctor::run(matches),
        Some(("host", matches)) => host::run(matches),
        Some(("lab", matches)) => lab::run(matches),
        Some(("links", matches)) => links::run(matches),
        Some(("man", matches)) => manual::run(matches),
        Some(("nc", matches)) => nc::run(matches, finding.address(), finding.patience.unwrap_or(PATIENCE)),
        Some(("completions", matches)) => completions::run(matches),
        // Every command of the definition is here or a tool.
        _ => output::failed("rump", "no such command; see rump --help"),
    }
}

/// A tool called by a name of its own, such as `rump.ping`: options for finding the server may come first.
fn run_tool(program: &str, arguments: &[String]) -> Status {
    let mut finding = Finding::default();
    let mut rest = arguments;
    loop {
        match finding.take(rest) {
            Ok(Some(more)) => rest = more,
            Ok(None) => return run_found_tool(program, rest, &finding),
            Err(reason) => return output::failed(program, reason),
        }
    }
}

fn run_found_tool(program: &str, arguments: &[String], finding: &Finding) -> Status {
    let words: Vec<&str> = [program].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    let interrupt = if INTERRUPTIBLE.contains(&program.trim_start_matches("rump.")) {
        Interrupt::on_signal()
    } else {
        Interrupt::default()
    };
    let terminal = match finding.address() {
        Ok(address) => Terminal::of_server(address, finding.patience.unwrap_or(PATIENCE), interrupt),
        // Who asks for help has perhaps no server yet.
        Err(_) if arguments.iter().any(|word| word == "--help") => Terminal::of_nobody(),
        Err(reason) => return output::failed_as_asked(program, arguments, &reason),
    };
    console::run(rumpnet_tools::run(&terminal, &words)).flatten().unwrap_or(Status::FAILURE)
}

impl Finding {
    /// Takes an option off the front of the words: those behind it, none if there is no such option.
    fn take<'words>(&mut self, words: &'words [String]) -> Result<Option<&'words [String]>, String> {
        let Some((word, rest)) = words.split_first() else { return Ok(None) };
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (word.as_str(), None),
        };
        if !matches!(option, "--server" | "--timeout") {
            return Ok(None);
        }
        let (value, rest) = match (value, rest.split_first()) {
            (Some(value), _) => (value, rest),
            (None, Some((value, rest))) => (value.as_str(), rest),
            (None, None) => return Err(format!("{option}: a value is missing")),
        };
        if option == "--server" {
            self.server = Some(value.to_owned());
        } else {
            let seconds = value.parse().ok().filter(|seconds| *seconds > 0);
            let seconds: u32 =
                seconds.ok_or_else(|| format!("--timeout {value}: not a number of seconds"))?;
            self.patience = Some(Duration::from_secs(seconds.into()));
        }
        Ok(Some(rest))
    }

    fn address(&self) -> Result<Address, String> {
        locate::address(self.server.as_deref())
    }
}
