//! sysctl: reads and sets variables by their sysctl(7) names, with the syntax of NetBSD's sysctl(8).

use std::fmt::Write;

use clap::{Arg, ArgAction, Command};
use rumpnet_proto::{Reply, Request};
use serde::Serialize;

use crate::{
    Status,
    console::Console,
    definition::{self, letter},
    failure::{Failure, unexpected_reply},
    task::{Report, Task},
};

pub(crate) fn command() -> Command {
    let variables = Arg::new("variable")
        .value_name("NAME[=VALUE]")
        .action(ArgAction::Append)
        .required(true)
        .help("A variable, such as net.inet.ip.ttl, and the number it shall be set to");
    definition::tool("sysctl", "Read and set variables of the kernel")
        .arg(letter("n", "Print values without names"))
        .arg(letter("q", "Print nothing when setting"))
        .arg(letter("w", "Accepted for compatibility: a value after = is set without it"))
        .arg(variables)
}

/// One variable as it was named.
struct Wanted<'a> {
    name: &'a str,
    value: Option<i64>,
}

fn parse(word: &str) -> Result<Wanted<'_>, Failure> {
    let Some((name, value)) = word.split_once('=') else { return Ok(Wanted { name: word, value: None }) };
    let number = value.parse().map_err(|_| Failure::Refused(format!("{name}: `{value}' is not a number")))?;
    Ok(Wanted { name, value: Some(number) })
}

#[derive(Serialize)]
struct Variables {
    variables: Vec<Variable>,
    #[serde(skip)]
    bare: bool,
    #[serde(skip)]
    quiet: bool,
}

#[derive(Serialize)]
struct Variable {
    name: String,
    value: i64,
    /// What it was, if it was set.
    before: Option<i64>,
}

impl Report for Variables {
    fn text(&self) -> String {
        let mut text = String::new();
        for Variable { name, value, before } in &self.variables {
            let _infallible = match before {
                Some(_) if self.quiet => Ok(()),
                Some(before) if self.bare => writeln!(text, "{before} -> {value}"),
                Some(before) => writeln!(text, "{name}: {before} -> {value}"),
                None if self.bare => writeln!(text, "{value}"),
                None => writeln!(text, "{name} = {value}"),
            };
        }
        text
    }
}

pub(crate) async fn run(task: &Task<'_, impl Console>, words: &[&str]) -> Result<Status, Failure> {
    let matches = definition::parse(command(), words)?;
    let wanted: Vec<_> =
        definition::words(&matches, "variable").into_iter().map(parse).collect::<Result<_, _>>()?;
    let mut variables = Vec::new();
    for Wanted { name, value } in wanted {
        let Reply::Value(before) = task.ask(Request::Sysctl { name: name.into(), value }).await? else {
            return Err(unexpected_reply());
        };
        let name = name.into();
        variables.push(Variable { name, value: value.unwrap_or(before), before: value.map(|_| before) });
    }
    task.report(&Variables { variables, bare: matches.get_flag("n"), quiet: matches.get_flag("q") })?;
    Ok(Status::SUCCESS)
}

#[cfg(test)]
mod tests {
    use rumpnet_proto::{ControlError, Errno, Operation};
    use serde_json::json;

    use super::*;
    use crate::scripted::Script;

    const TTL: &str = "net.inet.ip.ttl";

    fn asked(value: Option<i64>) -> Script {
        Script::new([(Request::Sysctl { name: TTL.into(), value }, Ok(Reply::Value(64)))])
    }

    #[test]
    fn a_variable_is_read() {
        assert_eq!(asked(None).said(&["sysctl", TTL]).out, "net.inet.ip.ttl = 64\n");
        assert_eq!(asked(None).said(&["sysctl", "-n", TTL]).out, "64\n");
    }

    #[test]
    fn a_variable_is_set_and_what_it_was_is_told() {
        assert_eq!(
            asked(Some(9)).said(&["sysctl", "-w", "net.inet.ip.ttl=9"]).out,
            "net.inet.ip.ttl: 64 -> 9\n"
        );
        assert_eq!(asked(Some(9)).said(&["sysctl", "-q", "net.inet.ip.ttl=9"]).out, "");
        let report = asked(Some(9)).said(&["sysctl", "--json", "net.inet.ip.ttl=9"]).json();
        assert_eq!(report["variables"], json!([{"name": TTL, "value": 9, "before": 64}]));
    }

    #[test]
    fn a_value_that_is_no_number_changes_nothing_not_even_the_variable_before_it() {
        let said = Script::default().said(&["sysctl", "net.inet.ip.ttl=9", "net.inet.ip.dad_count=many"]);
        let expected = (Status::FAILURE, "sysctl: net.inet.ip.dad_count: `many' is not a number\n");
        assert_eq!((said.status, said.err.as_str()), expected);
    }

    #[test]
    fn an_unknown_variable_is_named() {
        let refused = ControlError::new(Operation::Sysctl, "kern.fun", Errno::NoEnt);
        let script = Script::new([(Request::Sysctl { name: "kern.fun".into(), value: None }, Err(refused))]);
        let said = script.said(&["sysctl", "kern.fun"]);
        assert_eq!(said.err, "sysctl: sysctl kern.fun: No such file or directory\n");
    }
}
