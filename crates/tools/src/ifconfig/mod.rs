//! ifconfig(8): shows interfaces, makes and removes them, changes their flags, MTU, capabilities and addresses.
//!
//! `definition` says what there is, `plan` reads the words after an interface's name, `change` carries a plan out, `report`
//! and `text` are what is shown. The layout and the texts are NetBSD 10's.

mod change;
mod definition;
mod plan;
mod report;
mod text;

use core::time::Duration;

use clap::ArgMatches;
use rumpnet_proto::{AddressFlags, InterfaceFlags, InterfaceReport, LinkState, Reply, Request};
use serde::Serialize;

use self::{definition::Family, plan::wrong, text::View};
use crate::{
    Status,
    console::Console,
    definition::{parse, word, words as given},
    failure::{Failure, unexpected_reply},
    task::{Report, Task},
};

pub(crate) use definition::command;
pub(crate) use report::Interface;

/// The longest name of an interface.
const MAX_NAME: usize = 15;
/// How often `-w` looks at the addresses.
const POLL: Duration = Duration::from_millis(10);

#[derive(Serialize)]
struct Interfaces {
    interfaces: Vec<Interface>,
    #[serde(skip)]
    view: View,
}

impl Report for Interfaces {
    fn text(&self) -> String {
        self.interfaces.iter().map(|interface| text::interface(interface, self.view)).collect()
    }
}

/// A line of names: of interfaces or of cloners.
#[derive(Serialize)]
struct Names {
    names: Vec<String>,
}

impl Report for Names {
    fn text(&self) -> String {
        self.names.join(" ") + "\n"
    }
}

/// What `-s` says of one interface: nothing but an exit status.
#[derive(Serialize)]
struct Carrier {
    link_state: &'static str,
}

impl Report for Carrier {
    fn text(&self) -> String {
        String::new()
    }
}

pub(crate) async fn run(task: &Task<'_, impl Console>, words: &[&str]) -> Result<Status, Failure> {
    let matches = parse(command(), words)?;
    let operands = given(&matches, "operand");
    if matches.get_flag("A") {
        task.complain("-A is deprecated");
    }
    let dumps = ["a", "l"].iter().any(|id| matches.get_flag(id));
    if !dumps && ["b", "d", "u"].iter().any(|id| matches.get_flag(id)) {
        return Err(wrong("-b, -d and -u: only with -a or -l"));
    }
    if matches.get_flag("C") {
        return cloners(task, &operands).await;
    }
    if let Some(seconds) = word(&matches, "w") {
        return wait(task, seconds, word(&matches, "W"), &operands).await;
    }
    match operands[..] {
        [] => show_all(task, &matches, None).await,
        [family] if matches.get_flag("a") => {
            let family = Family::parse(family).ok_or_else(|| wrong(format!("{family}: not a family")))?;
            show_all(task, &matches, Some(family)).await
        }
        [name, ref parameters @ ..] if !dumps => one(task, &matches, name, parameters).await,
        [other, ..] => Err(wrong(format!("{other}: -a and -l name no interface"))),
    }
}

async fn cloners(task: &Task<'_, impl Console>, operands: &[&str]) -> Result<Status, Failure> {
    if let Some(operand) = operands.first() {
        return Err(wrong(format!("{operand}: -C takes no operand")));
    }
    let Reply::Names(names) = task.ask(Request::Cloners).await? else { return Err(unexpected_reply()) };
    task.report(&Names { names })?;
    Ok(Status::SUCCESS)
}

async fn show_all(
    task: &Task<'_, impl Console>,
    matches: &ArgMatches,
    family: Option<Family>,
) -> Result<Status, Failure> {
    let reports = task.interfaces(matches.get_flag("z")).await?;
    let wanted = reports.into_iter().filter(|report| is_wanted(report, matches));
    if matches.get_flag("l") {
        let names = wanted.map(|report| report.name.as_str().into()).collect();
        task.report(&Names { names })?;
    } else {
        let interfaces = wanted.map(Interface::from).collect();
        task.report(&Interfaces { interfaces, view: view(matches, family) })?;
    }
    Ok(Status::SUCCESS)
}

fn is_wanted(report: &InterfaceReport, matches: &ArgMatches) -> bool {
    let is_up = report.flags.contains(InterfaceFlags::UP);
    let unwanted = [
        ("b", !report.flags.contains(InterfaceFlags::BROADCAST)),
        ("d", is_up),
        ("u", !is_up),
        ("s", report.link_state == LinkState::Down),
    ];
    !unwanted.iter().any(|(option, unwanted)| *unwanted && matches.get_flag(option))
}

fn view(matches: &ArgMatches, family: Option<Family>) -> View {
    View {
        counters: matches.get_flag("v") || matches.get_flag("z"),
        human: matches.get_flag("h"),
        lifetimes: matches.get_flag("L"),
        media: matches.get_flag("m"),
        family,
    }
}

/// Shows or changes one interface.
async fn one(
    task: &Task<'_, impl Console>,
    matches: &ArgMatches,
    name: &str,
    parameters: &[&str],
) -> Result<Status, Failure> {
    if name.len() > MAX_NAME {
        return Err(wrong(format!("{name}: an interface's name has at most {MAX_NAME} characters")));
    }
    let plan = plan::parse(parameters)?;
    if !plan.is_empty() {
        let notes = change::carry_out(task, name, plan).await?;
        task.report_changed(notes)?;
        return Ok(Status::SUCCESS);
    }
    let report = task.interface(name, matches.get_flag("z")).await?;
    if matches.get_flag("s") {
        let is_down = report.link_state == LinkState::Down;
        task.report(&Carrier { link_state: Interface::from(report).link_state })?;
        return Ok(if is_down { Status::FAILURE } else { Status::SUCCESS });
    }
    let interfaces = vec![Interface::from(report)];
    task.report(&Interfaces { interfaces, view: view(matches, plan.family) })?;
    Ok(Status::SUCCESS)
}

/// Waits until no address is tentative, nor, for a while, detached.
async fn wait(
    task: &Task<'_, impl Console>,
    tentative: &str,
    detached: Option<&str>,
    operands: &[&str],
) -> Result<Status, Failure> {
    if let Some(operand) = operands.first() {
        return Err(wrong(format!("{operand}: -w takes no operand")));
    }
    let limit = seconds(tentative)?;
    let patience = detached.map(seconds).transpose()?.unwrap_or_default();
    let start = task.console.now();
    loop {
        let waited = task.console.now() - start;
        let mut pending = AddressFlags::TENTATIVE;
        pending.set(AddressFlags::DETACHED, waited < patience);
        let reports = task.interfaces(false).await?;
        if !reports
            .iter()
            .flat_map(|report| &report.addresses)
            .any(|address| address.flags.intersects(pending))
        {
            task.report_changed(Vec::new())?;
            return Ok(Status::SUCCESS);
        }
        if !limit.is_zero() && waited >= limit {
            return Err(Failure::Refused("timed out".into()));
        }
        if task.console.is_interrupted() {
            return Ok(Status::FAILURE);
        }
        task.console.sleep(POLL).await;
    }
}

fn seconds(word: &str) -> Result<Duration, Failure> {
    let number: Result<u32, _> = word.parse();
    let seconds = number.map_err(|_| Failure::Refused(format!("{word}: not a number")))?;
    Ok(Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests;
