//! arp(8): shows and changes the neighbours that ARP knows, in the layout of NetBSD's.

use core::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr},
};

use clap::{Arg, ArgAction, ArgMatches, Command};
use rumpnet_proto::{NeighborChange, NeighborReport, NeighborState, Reply, Request};
use rumpnet_wire::ethernet;
use serde::Serialize;

use crate::{
    Status,
    console::Console,
    definition::{letter, parse, tool, value, word, words as given},
    failure::{Failure, unexpected_reply},
    task::{Report, Task},
};

const USAGE: &str = "arp [-nv] -a
       arp [-nv] ADDRESS
       arp [-v] -d -a
       arp [-v] -d ADDRESS [proxy]
       arp -s ADDRESS LINK-ADDRESS [temp] [pub [proxy]]";

pub(crate) fn command() -> Command {
    let operands = Arg::new("operand")
        .value_name("ADDRESS")
        .action(ArgAction::Append)
        .num_args(0..)
        .help("The neighbour; with -s its link address and how it shall be kept");
    tool("arp", "Show and change the neighbours that ARP knows")
        .override_usage(USAGE)
        .arg(letter("a", "All neighbours"))
        .arg(letter("d", "Delete a neighbour, or with -a all"))
        .arg(letter("s", "Set a neighbour by hand").conflicts_with_all(["a", "d"]))
        .arg(value("f", "FILE", "Refused: the tools open no files"))
        .arg(letter("n", "Accepted for compatibility: addresses are always shown as numbers"))
        .arg(letter("v", "Show states, lifetimes and waiting packets; say what was deleted"))
        .arg(operands)
        .after_help(
            "An entry set with -s stays until it is deleted, unless it is temp. For one that is pub,\n\
             requests of others are answered with its link address.",
        )
}

fn wrong(message: String) -> Failure {
    Failure::Usage { message, usage: format!("Usage: {USAGE}\n\nFor more information, try '--help'.") }
}

/// Neighbours, in JSON as in docs/guide/json.md.
#[derive(Serialize)]
struct Neighbors {
    neighbors: Vec<Entry>,
    #[serde(skip)]
    verbose: bool,
}

#[derive(Serialize)]
struct Entry {
    address: IpAddr,
    link_address: Option<String>,
    interface: String,
    state: &'static str,
    published: bool,
    expires_in_ns: Option<u64>,
    waiting_packets: u32,
}

impl From<NeighborReport> for Entry {
    fn from(report: NeighborReport) -> Self {
        Self {
            address: report.address,
            link_address: report.link_address.map(|address| address.to_string()),
            interface: report.interface.as_str().into(),
            state: match report.state {
                NeighborState::Incomplete => "incomplete",
                NeighborState::Reachable => "reachable",
                NeighborState::Stale => "stale",
                NeighborState::Probe => "probe",
                NeighborState::Failed => "failed",
                NeighborState::Permanent => "permanent",
            },
            published: report.published,
            expires_in_ns: report.expires_in_ns,
            waiting_packets: report.waiting,
        }
    }
}

impl Entry {
    fn write(&self, text: &mut String, verbose: bool) -> core::fmt::Result {
        let link = self.link_address.as_deref().unwrap_or("(incomplete)");
        write!(text, "? ({}) at {link} on {}", self.address, self.interface)?;
        if self.state == "permanent" {
            text.push_str(" permanent");
        }
        if self.published {
            text.push_str(" published");
        }
        if verbose {
            write!(text, " [{}", self.state)?;
            if let Some(ns) = self.expires_in_ns {
                write!(text, ", {} s left", ns / 1_000_000_000)?;
            }
            if self.waiting_packets > 0 {
                write!(text, ", {} packets waiting", self.waiting_packets)?;
            }
            text.push(']');
        }
        text.push('\n');
        Ok(())
    }
}

impl Report for Neighbors {
    fn text(&self) -> String {
        let mut text = String::new();
        let written = self.neighbors.iter().try_for_each(|entry| entry.write(&mut text, self.verbose));
        written.expect("a string takes everything");
        text
    }
}

/// What `-d -a` came to.
#[derive(Serialize)]
struct Flushed {
    deleted_neighbors: u64,
    #[serde(skip)]
    verbose: bool,
}

impl Report for Flushed {
    fn text(&self) -> String {
        if self.verbose { format!("{} entries deleted\n", self.deleted_neighbors) } else { String::new() }
    }
}

pub(crate) async fn run(task: &Task<'_, impl Console>, words: &[&str]) -> Result<Status, Failure> {
    let matches = parse(command(), words)?;
    if let Some(file) = word(&matches, "f") {
        return Err(Failure::Refused(format!("{file}: the tools open no files; use -s for each entry")));
    }
    let operands = given(&matches, "operand");
    let (all, delete) = (matches.get_flag("a"), matches.get_flag("d"));
    match operands[..] {
        [address, link, ref how @ ..] if matches.get_flag("s") => set(task, address, link, how).await,
        _ if matches.get_flag("s") => Err(wrong("-s: takes an address and a link address".into())),
        [] if all && delete => flush(task, &matches).await,
        [] if all => show(task, &matches, None).await,
        [address] | [address, "proxy"] if delete && !all => delete_one(task, &matches, address).await,
        [address] if !all => show(task, &matches, Some(parse_address(address)?)).await,
        [] => Err(wrong("which neighbour?".into())),
        [.., last] => Err(wrong(format!("{last}: not expected here"))),
    }
}

fn parse_address(word: &str) -> Result<IpAddr, Failure> {
    let why = |_| Failure::Refused(format!("{word}: not an IPv4 address (names are not looked up)"));
    word.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(why)
}

async fn show(
    task: &Task<'_, impl Console>,
    matches: &ArgMatches,
    only: Option<IpAddr>,
) -> Result<Status, Failure> {
    let wanted = |report: &NeighborReport| only.is_none_or(|only| report.address == only);
    let all = task.neighbors().await?.into_iter().filter(|report| report.address.is_ipv4());
    let neighbors: Vec<_> = all.filter(wanted).map(Entry::from).collect();
    match only {
        Some(address) if neighbors.is_empty() => {
            Err(Failure::Refused(format!("{address} ({address}) -- no entry")))
        }
        _ => {
            task.report(&Neighbors { neighbors, verbose: matches.get_flag("v") })?;
            Ok(Status::SUCCESS)
        }
    }
}

async fn set(
    task: &Task<'_, impl Console>,
    address: &str,
    link: &str,
    how: &[&str],
) -> Result<Status, Failure> {
    let address = parse_address(address)?;
    let invalid = |_| Failure::Refused(format!("invalid link-level address '{link}'"));
    let link_address = link.parse::<ethernet::Address>().map_err(invalid)?;
    let mut change = NeighborChange { address, link_address, temporary: false, published: false };
    for word in how {
        match *word {
            "temp" => change.temporary = true,
            "pub" => change.published = true,
            "proxy" if change.published => {}
            other => return Err(wrong(format!("{other}: neither temp nor pub nor pub proxy"))),
        }
    }
    task.change(Request::AddNeighbor(change)).await?;
    task.report_changed(Vec::new())?;
    Ok(Status::SUCCESS)
}

async fn delete_one(
    task: &Task<'_, impl Console>,
    matches: &ArgMatches,
    word: &str,
) -> Result<Status, Failure> {
    let address = parse_address(word)?;
    task.change(Request::DeleteNeighbor { address }).await?;
    if matches.get_flag("v") && !task.json {
        task.console.print(&format!("{address} ({address}) deleted\n"))?;
    }
    task.report_changed(Vec::new())?;
    Ok(Status::SUCCESS)
}

async fn flush(task: &Task<'_, impl Console>, matches: &ArgMatches) -> Result<Status, Failure> {
    let mut deleted_neighbors = 0;
    loop {
        let Reply::Value(count) = task.ask(Request::FlushNeighbors { permanent: true }).await? else {
            return Err(unexpected_reply());
        };
        if count <= 0 {
            break;
        }
        deleted_neighbors += count.unsigned_abs();
        if task.console.is_interrupted() {
            break;
        }
    }
    task.report(&Flushed { deleted_neighbors, verbose: matches.get_flag("v") })?;
    Ok(Status::SUCCESS)
}

#[cfg(test)]
mod tests;
