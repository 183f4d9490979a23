//! netstat(1): sockets, the statistics of protocols, the counters of interfaces, the routing table, and multicast groups.

mod groups;
mod interfaces;
mod statistics;

use clap::{Arg, ArgAction, Command};
use rumpnet_proto::{Reply, Request};

use self::{groups::Groups, interfaces::Table, statistics::Statistics};
use crate::{
    Status,
    console::Console,
    definition::{letter, parse, tool, value, word},
    failure::{Failure, unexpected_reply},
    route::{Family, routes},
    sockets::{Layout, Wanted, sockets},
    task::Task,
};

const USAGE: &str = "netstat [-an]
       netstat -s [-s] [-p PROTOCOL]
       netstat -r [-n] [-f FAMILY]
       netstat -i [-bdn]
       netstat [-bdn] -I INTERFACE
       netstat -g [-n]";

pub(crate) fn command() -> Command {
    let family =
        value("f", "FAMILY", "With -r: only routes of inet or inet6").value_parser(["inet", "inet6"]);
    let statistics = Arg::new("s")
        .short('s')
        .action(ArgAction::Count)
        .help("What protocols have counted and dropped; twice: without what never happened");
    tool("netstat", "Show the sockets of the kernel, or what its network has counted")
        .override_usage(USAGE)
        .arg(letter("a", "Sockets that wait for peers, too").conflicts_with_all(["s", "p", "r", "i", "I"]))
        .arg(statistics)
        .arg(value("p", "PROTOCOL", "Only this protocol; implies -s"))
        .arg(letter("r", "The routing table").conflicts_with_all(["s", "p"]))
        .arg(family.requires("r"))
        .arg(letter("i", "The counters of all interfaces").conflicts_with_all(["s", "p", "r"]))
        .arg(value("I", "INTERFACE", "The counters of one").conflicts_with_all(["s", "p", "r", "i"]))
        .arg(
            letter("g", "Multicast: what is routed, which is nothing, and the groups that interfaces are in")
                .conflicts_with_all(["a", "s", "p", "r", "i", "I", "b", "d"]),
        )
        .arg(letter("b", "With -i or -I: bytes instead of packets"))
        .arg(letter("d", "With -i or -I: what was dropped, too"))
        .arg(letter("n", "Accepted for compatibility: addresses are always shown as numbers"))
}

pub(crate) async fn run(task: &Task<'_, impl Console>, words: &[&str]) -> Result<Status, Failure> {
    let matches = parse(command(), words)?;
    let (bytes, drops) = (matches.get_flag("b"), matches.get_flag("d"));
    if matches.get_count("s") > 0 || matches.contains_id("p") {
        let protocol = word(&matches, "p");
        let statistics = statistics(task, protocol, matches.get_count("s") > 1).await?;
        task.report(&statistics)?;
    } else if matches.get_flag("r") {
        let family =
            word(&matches, "f").map(|name| if name == "inet" { Family::Inet } else { Family::Inet6 });
        task.report(&routes(task, family).await?)?;
    } else if matches.get_flag("g") {
        let interfaces = task.interfaces(false).await?;
        task.report(&Groups::new(&interfaces, &task.groups().await?))?;
    } else if matches.get_flag("i") {
        task.report(&Table::new(task.interfaces(false).await?, bytes, drops))?;
    } else if let Some(name) = word(&matches, "I") {
        task.report(&Table::new(vec![task.interface(name, false).await?], bytes, drops))?;
    } else {
        let servers = matches.get_flag("a");
        let wanted =
            Wanted { udp: true, tcp: true, raw: true, waiting: servers, connected: true, ended: true };
        task.report(&sockets(task, wanted, Layout::Netstat { servers }).await?)?;
    }
    Ok(Status::SUCCESS)
}

async fn statistics(
    task: &Task<'_, impl Console>,
    protocol: Option<&str>,
    brief: bool,
) -> Result<Statistics, Failure> {
    if let Some(name) = protocol
        && !statistics::PROTOCOLS.contains(&name)
    {
        return Err(Failure::Refused(format!("{name}: unknown or uninstrumented protocol")));
    }
    let Reply::Statistics { counters, drops } = task.ask(Request::Statistics).await? else {
        return Err(unexpected_reply());
    };
    Ok(Statistics::new(&counters, &drops, protocol, brief))
}

#[cfg(test)]
mod tests;
