//! sysctl: reads and sets variables by their sysctl(7) names, with the syntax of NetBSD's sysctl(8).

use std::fmt::Write;

use clap::{Arg, ArgAction, Command};
use rumpnet_proto::{ControlError, Errno, Operation, Reply, Request, sysctl};
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
        .required_unless_present("a")
        .help("A variable, such as net.inet.ip.ttl, and the number it shall be set to; or the beginning of some");
    definition::tool("sysctl", "Read and set variables of the kernel")
        .arg(letter("a", "Print all variables").conflicts_with("variable"))
        .arg(letter("d", "Print what variables mean, and what they may be, instead of their values"))
        .arg(letter("e", "Print name=value, as it is typed to set the variable").conflicts_with("n"))
        .arg(letter("n", "Print values without names"))
        .arg(letter("q", "Print nothing when setting"))
        .arg(letter("w", "Accepted for compatibility: a value after = is set without it"))
        .arg(variables)
        .after_help("All variables are whole numbers; rumpnet-sysctl(7) lists them.")
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
    /// Between name and value.
    #[serde(skip)]
    between: &'static str,
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
                None => writeln!(text, "{name}{}{value}", self.between),
            };
        }
        text
    }
}

pub(crate) async fn run(task: &Task<'_, impl Console>, words: &[&str]) -> Result<Status, Failure> {
    let matches = definition::parse(command(), words)?;
    let wanted: Vec<_> =
        definition::words(&matches, "variable").into_iter().map(parse).collect::<Result<_, _>>()?;
    if matches.get_flag("d") {
        task.report(&describe(&wanted)?)?;
        return Ok(Status::SUCCESS);
    }
    let mut variables = Vec::new();
    if matches.get_flag("a") {
        variables = read_beneath(task, "").await?;
    }
    for Wanted { name, value } in wanted {
        match exchange(task, name, value).await {
            Ok(variable) => variables.push(variable),
            Err(failure) if value.is_none() && is_unknown(&failure) => {
                let beneath = read_beneath(task, &format!("{name}.")).await?;
                if beneath.is_empty() {
                    return Err(failure);
                }
                variables.extend(beneath);
            }
            Err(failure) => return Err(failure),
        }
    }
    let between = if matches.get_flag("e") { "=" } else { " = " };
    task.report(&Variables {
        variables,
        bare: matches.get_flag("n"),
        quiet: matches.get_flag("q"),
        between,
    })?;
    Ok(Status::SUCCESS)
}

/// What `-d` tells of variables.
#[derive(Serialize)]
struct Described {
    described_variables: Vec<Description>,
}

#[derive(Serialize)]
struct Description {
    name: &'static str,
    meaning: &'static str,
    unit: &'static str,
    default: i64,
    least: Option<i64>,
    greatest: Option<i64>,
}

impl From<&'static sysctl::Variable> for Description {
    fn from(variable: &'static sysctl::Variable) -> Self {
        let sysctl::Variable { name, meaning, unit, default, range } = *variable;
        let (least, greatest) = range.unzip();
        Self { name, meaning, unit, default, least, greatest }
    }
}

impl Report for Described {
    fn text(&self) -> String {
        self.described_variables.iter().fold(String::new(), |mut text, of| {
            let unit = if of.unit.is_empty() { String::new() } else { format!(" {}", of.unit) };
            let range = match (of.least, of.greatest) {
                (Some(least), Some(greatest)) => {
                    format!("{least} to {greatest}{unit}; default {}", of.default)
                }
                _ => format!("only measured{}{unit}", if unit.is_empty() { "" } else { ", in" }),
            };
            let _infallible = writeln!(text, "{}: {} ({range})", of.name, of.meaning);
            text
        })
    }
}

/// What the named variables mean, those beneath a name too; all of them if none is named.
fn describe(wanted: &[Wanted<'_>]) -> Result<Described, Failure> {
    let mut described = Vec::new();
    for name in if wanted.is_empty() { vec![""] } else { wanted.iter().map(|wanted| wanted.name).collect() } {
        let is_meant = |known: &&sysctl::Variable| {
            known
                .name
                .strip_prefix(name)
                .is_some_and(|rest| name.is_empty() || rest.is_empty() || rest.starts_with('.'))
        };
        let before = described.len();
        described.extend(sysctl::VARIABLES.iter().filter(is_meant).map(Description::from));
        if described.len() == before {
            return Err(ControlError::new(Operation::Sysctl, name, Errno::NoEnt).into());
        }
    }
    Ok(Described { described_variables: described })
}

/// Reads a variable, and sets it if there is a value.
async fn exchange(
    task: &Task<'_, impl Console>,
    name: &str,
    value: Option<i64>,
) -> Result<Variable, Failure> {
    let Reply::Value(before) = task.ask(Request::Sysctl { name: name.into(), value }).await? else {
        return Err(unexpected_reply());
    };
    Ok(Variable { name: name.into(), value: value.unwrap_or(before), before: value.map(|_| before) })
}

/// Whether there is no variable of that name.
fn is_unknown(failure: &Failure) -> bool {
    matches!(failure, Failure::Kernel(error) if error.operation == Operation::Sysctl && error.errno == Errno::NoEnt)
}

/// Reads all variables whose names begin so.
async fn read_beneath(task: &Task<'_, impl Console>, beginning: &str) -> Result<Vec<Variable>, Failure> {
    let Reply::Names(names) = task.ask(Request::SysctlNames).await? else { return Err(unexpected_reply()) };
    let mut variables = Vec::new();
    for name in names.iter().filter(|name| name.starts_with(beginning)) {
        variables.push(exchange(task, name, None).await?);
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
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
    fn a_value_out_of_range_is_refused_with_the_range() {
        let takes = sysctl::variable(TTL).and_then(sysctl::Variable::takes).unwrap();
        let refused = ControlError::new(Operation::Sysctl, TTL, Errno::Inval).with_hint(takes);
        let call = (Request::Sysctl { name: TTL.into(), value: Some(300) }, Err(refused));
        let said = Script::new([call]).said(&["sysctl", "-w", "net.inet.ip.ttl=300"]);
        assert_eq!(said.err, "sysctl: net.inet.ip.ttl: Invalid argument (it takes 1 to 255 hops)\n");
        assert_eq!((said.status, said.out.as_str()), (Status::FAILURE, ""));
    }

    #[test]
    fn a_variable_is_printed_as_it_is_typed_to_be_set() {
        assert_eq!(asked(None).said(&["sysctl", "-e", TTL]).out, "net.inet.ip.ttl=64\n");
    }

    #[test]
    fn what_variables_mean_is_told_without_a_kernel() {
        let said = Script::default().said(&["sysctl", "-d", TTL, "net.inet.tcp.mem_used"]);
        let ttl =
            "net.inet.ip.ttl: Time to live of packets that say none themselves (1 to 255 hops; default 64)";
        let used = "net.inet.tcp.mem_used: What all socket buffers hold now (only measured, in bytes)";
        assert_eq!(said.out, format!("{ttl}\n{used}\n"));
        let all = Script::default().said(&["sysctl", "-d", "-a"]).out;
        assert_eq!(all.lines().count(), sysctl::VARIABLES.len());
        let beneath = Script::default().said(&["sysctl", "-d", "net.inet.udp"]).out;
        assert_eq!(beneath.lines().count(), 2);
        assert_eq!(Script::default().said(&["sysctl", "-d", "net.inet.u"]).status, Status::FAILURE);
        let report = Script::default().said(&["sysctl", "-d", "--json", TTL]).json();
        crate::guide::assert_documented(&report, "described_variables");
    }

    fn unknown(name: &str) -> (Request, Result<Reply, ControlError>) {
        let refused = ControlError::new(Operation::Sysctl, name, Errno::NoEnt);
        (Request::Sysctl { name: name.into(), value: None }, Err(refused))
    }

    fn names() -> (Request, Result<Reply, ControlError>) {
        let names = ["net.inet.ip.dad_count", TTL, "net.inet.ipx"].map(String::from).to_vec();
        (Request::SysctlNames, Ok(Reply::Names(names)))
    }

    fn value(name: &str) -> (Request, Result<Reply, ControlError>) {
        (Request::Sysctl { name: name.into(), value: None }, Ok(Reply::Value(3)))
    }

    #[test]
    fn the_beginning_of_names_lists_what_is_beneath_it() {
        let calls = [unknown("net.inet.ip"), names(), value("net.inet.ip.dad_count"), value(TTL)];
        let said = Script::new(calls).said(&["sysctl", "net.inet.ip"]);
        assert_eq!(said.out, "net.inet.ip.dad_count = 3\nnet.inet.ip.ttl = 3\n");
    }

    #[test]
    fn all_variables_are_listed_with_a() {
        let calls = [names(), value("net.inet.ip.dad_count"), value(TTL), value("net.inet.ipx")];
        assert_eq!(Script::new(calls).said(&["sysctl", "-a"]).out.lines().count(), 3);
        assert_eq!(Script::default().said(&["sysctl"]).status, Status::FAILURE);
    }

    #[test]
    fn an_unknown_variable_is_named() {
        let said = Script::new([unknown("kern.fun"), names()]).said(&["sysctl", "kern.fun"]);
        assert_eq!(said.err, "sysctl: kern.fun: No such file or directory\n");
        assert_eq!(said.status, Status::FAILURE);
    }
}
