#![forbid(unsafe_code)]
//! The tools: ifconfig, ifmcstat, arp, ping, traceroute, tcpdump, netstat, route, sysctl, dmesg, halt.
//!
//! A tool is three pure steps around a [`Console`]: *words → request*, *reply → report*, *report → text or JSON*. [`run`]
//! runs one by its name; [`commands`] describes all of them, for help, manual pages and completions. The same tools run on
//! the command line and inside a simulation. There is no I/O here, and no knowledge of a host.

mod arp;
pub mod captures;
mod console;
mod date;
mod definition;
mod dmesg;
mod failure;
mod groups;
mod halt;
mod ifconfig;
mod ifmcstat;
mod netstat;
mod pages;
mod ping;
mod probing;
mod route;
mod sockets;
mod ss;
mod sysctl;
mod task;
mod tcpdump;
mod top;
pub mod topology;
mod traceroute;

#[cfg(test)]
mod guide;
#[cfg(test)]
mod scripted;

use clap::Command;

pub use console::{CaptureSummary, Closed, Console, Heard};
use task::Task;

/// The exit status of a tool: 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u8);

impl Status {
    /// All went well.
    pub const SUCCESS: Self = Self(0);
    /// Something was refused.
    pub const FAILURE: Self = Self(1);
    /// ping(8): nobody answered.
    pub const NO_ANSWER: Self = Self(2);
}

/// Prefix of the names that NetBSD gives the tools of a rump kernel, such as `rump.ifconfig`.
const PREFIX: &str = "rump.";

/// The tools, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Arp,
    Dmesg,
    Halt,
    Ifconfig,
    Ifmcstat,
    Netstat,
    Ping,
    Route,
    Ss,
    Sysctl,
    Tcpdump,
    Top,
    Traceroute,
}

impl Tool {
    const ALL: &[Self] = &[
        Self::Arp,
        Self::Dmesg,
        Self::Halt,
        Self::Ifconfig,
        Self::Ifmcstat,
        Self::Netstat,
        Self::Ping,
        Self::Route,
        Self::Ss,
        Self::Sysctl,
        Self::Tcpdump,
        Self::Top,
        Self::Traceroute,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::Dmesg => "dmesg",
            Self::Halt => "halt",
            Self::Ifconfig => "ifconfig",
            Self::Ifmcstat => "ifmcstat",
            Self::Netstat => "netstat",
            Self::Ping => "ping",
            Self::Route => "route",
            Self::Ss => "ss",
            Self::Sysctl => "sysctl",
            Self::Tcpdump => "tcpdump",
            Self::Top => "top",
            Self::Traceroute => "traceroute",
        }
    }

    fn command(self) -> Command {
        match self {
            Self::Arp => arp::command(),
            Self::Dmesg => dmesg::command(),
            Self::Halt => halt::command(),
            Self::Ifconfig => ifconfig::command(),
            Self::Ifmcstat => ifmcstat::command(),
            Self::Netstat => netstat::command(),
            Self::Ping => ping::command(),
            Self::Route => route::command(),
            Self::Ss => ss::command(),
            Self::Sysctl => sysctl::command(),
            Self::Tcpdump => tcpdump::command(),
            Self::Top => top::command(),
            Self::Traceroute => traceroute::command(),
        }
    }
}

/// The names of the tools, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    Tool::ALL.iter().map(|tool| tool.name())
}

/// What every tool is, takes and prints: one definition for parsing, help, manual pages and completions.
pub fn commands() -> Vec<Command> {
    Tool::ALL.iter().map(|tool| tool.command()).collect()
}

/// Runs the tool that `words[0]` names, with or without the prefix `rump.`; the other words are its arguments.
///
/// Everything the tool has to say goes through the console; with `--json` its report, or its error, is one JSON value on
/// standard output. None if there is no such tool.
pub async fn run(console: &impl Console, words: &[&str]) -> Option<Status> {
    let (program, arguments) = words.split_first()?;
    let name = program.strip_prefix(PREFIX).unwrap_or(program);
    let tool = *Tool::ALL.iter().find(|tool| tool.name() == name)?;
    let json = arguments.contains(&definition::JSON);
    let arguments: Vec<&str> = arguments.iter().copied().filter(|word| *word != definition::JSON).collect();
    let task = Task { console, program, json };
    let ended = match tool {
        Tool::Arp => arp::run(&task, &arguments).await,
        Tool::Dmesg => dmesg::run(&task, &arguments).await,
        Tool::Halt => halt::run(&task, &arguments).await,
        Tool::Ifconfig => ifconfig::run(&task, &arguments).await,
        Tool::Ifmcstat => ifmcstat::run(&task, &arguments).await,
        Tool::Netstat => netstat::run(&task, &arguments).await,
        Tool::Ping => ping::run(&task, &arguments).await,
        Tool::Route => route::run(&task, &arguments).await,
        Tool::Ss => ss::run(&task, &arguments).await,
        Tool::Sysctl => sysctl::run(&task, &arguments).await,
        Tool::Tcpdump => tcpdump::run(&task, &arguments).await,
        Tool::Top => top::run(&task, &arguments).await,
        Tool::Traceroute => traceroute::run(&task, &arguments).await,
    };
    Some(task.conclude(ended))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted::Script;

    #[test]
    fn every_definition_is_consistent_and_names_its_tool() {
        let mut sorted: Vec<_> = names().collect();
        sorted.sort_unstable();
        assert_eq!(names().collect::<Vec<_>>(), sorted);
        for (command, name) in commands().into_iter().zip(names()) {
            assert_eq!(command.get_name(), name);
            assert!(command.get_about().is_some(), "{name}");
            command.debug_assert();
        }
    }

    #[test]
    fn a_tool_that_does_not_exist_is_none() {
        let script = Script::default();
        assert_eq!(script.run_to_end(run(&script, &["brctl"])), None);
        assert_eq!(script.run_to_end(run(&script, &[])), None);
    }

    #[test]
    fn every_tool_prints_its_help_and_refuses_what_it_does_not_know() {
        for name in names() {
            let said = Script::default().said(&[name, "--help"]);
            assert_eq!(said.status, Status::SUCCESS, "{name}");
            assert!(said.out.contains("Usage:") && said.out.contains("--json"), "{}", said.out);
            let said = Script::default().said(&[name, "--nonsense"]);
            assert_eq!((said.status, said.out.as_str()), (Status::FAILURE, ""), "{name}");
            assert!(said.err.contains("--nonsense"), "{}", said.err);
            assert!(said.err.starts_with(&format!("{name}: ")), "{}", said.err);
        }
    }

    #[test]
    fn a_tool_complains_by_the_name_it_was_called_by() {
        let said = Script::default().said(&["rump.halt", "now"]);
        assert!(said.err.starts_with("rump.halt: "), "{}", said.err);
    }

    #[test]
    fn errors_are_json_too() {
        let said = Script::default().said(&["halt", "now", "--json"]);
        let error: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(error["version"], 1);
        assert!(error["error"]["message"].as_str().unwrap().contains("now"), "{error}");
        assert_eq!((said.status, said.err.as_str()), (Status::FAILURE, ""));
    }
}
