//! route(8): shows, finds, adds, changes and deletes routes, in the layout and the words of NetBSD's.

mod destination;
mod flush;
mod get;
mod monitor;
mod table;

use core::net::IpAddr;

use clap::{Arg, ArgAction, Command};
use rumpnet_proto::{ControlError, Errno, NextHop, Operation, Request, RouteAttributes, RouteKind};

use self::destination::Destination;
pub(crate) use self::table::{Family, network_name, routes};
use crate::{
    Status,
    console::Console,
    definition::{letter, parse, tool, words as given},
    failure::{Failure, text},
    task::Task,
};

const USAGE: &str = "route [-n] show [-inet | -inet6]
       route [-n] get [-net | -host] DESTINATION[/LENGTH]
       route [-nq] add | change [-net | -host] DESTINATION[/LENGTH] GATEWAY [MODIFIER...]
       route [-nq] add | change [-net | -host] DESTINATION[/LENGTH] -interface INTERFACE [MODIFIER...]
       route [-nq] delete [-net | -host] DESTINATION[/LENGTH] [GATEWAY]
       route [-nq] flush [-inet | -inet6]
       route [-n] monitor [-c COUNT]";

pub(crate) fn command() -> Command {
    let words = Arg::new("word")
        .value_name("COMMAND")
        .action(ArgAction::Append)
        .num_args(1..)
        .required(true)
        .trailing_var_arg(true)
        .help("show, get, add, change, delete, flush or monitor, and what it takes");
    tool("route", "Show and change routes")
        .override_usage(USAGE)
        .arg(letter("n", "Accepted for compatibility: addresses are always shown as numbers"))
        .arg(letter("q", "Do not say what was added or deleted"))
        .arg(words)
        .after_help(
            "A destination is an address, a network such as 10.0.0/24, or default.\n\n\
             A gateway tells one of several next hops apart; where there is only one, delete does not look at it. -reject and -blackhole \
             take a gateway, too, and do not use it. Modifiers: -netmask MASK, -prefixlen LENGTH; -reject refuses packets and says so, -blackhole drops them without a word; \
             -mtu BYTES, the greatest packet on the path; -hopcount COUNT; -mpath adds one more gateway to a route, so that flows are spread.",
        )
}

fn wrong(message: String) -> Failure {
    Failure::Usage { message, usage: format!("Usage: {USAGE}\n\nFor more information, try '--help'.") }
}

pub(crate) async fn run(task: &Task<'_, impl Console>, words: &[&str]) -> Result<Status, Failure> {
    let matches = parse(command(), words)?;
    let quiet = matches.get_flag("q");
    match given(&matches, "word")[..] {
        ["show", ref qualifiers @ ..] => {
            let family = parse_family(qualifiers)?;
            task.report(&routes(task, family).await?)?;
            Ok(Status::SUCCESS)
        }
        ["get", ref arguments @ ..] => find(task, &parse_change(arguments)?).await,
        ["add", ref arguments @ ..] => set(task, "add", parse_change(arguments)?, quiet).await,
        ["change", ref arguments @ ..] => set(task, "change", parse_change(arguments)?, quiet).await,
        ["delete", ref arguments @ ..] => delete(task, &parse_change(arguments)?, quiet).await,
        ["monitor"] => monitor::monitor(task, None).await,
        ["monitor", "-c", count] => monitor::monitor(task, Some(parse_count(count)?)).await,
        ["monitor", ..] => Err(wrong("monitor takes -c COUNT alone".into())),
        ["flush", ref qualifiers @ ..] => flush::flush(task, parse_family(qualifiers)?, quiet).await,
        [other, ..] => Err(wrong(format!("botched keyword: {other}"))),
        [] => Err(wrong("a command is missing".into())),
    }
}

fn parse_family(qualifiers: &[&str]) -> Result<Option<Family>, Failure> {
    match qualifiers {
        [] => Ok(None),
        ["-inet"] => Ok(Some(Family::Inet)),
        ["-inet6"] => Ok(Some(Family::Inet6)),
        [other, ..] => Err(wrong(format!("{other}: not expected here"))),
    }
}

/// What shall be added or deleted.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    destination: Destination,
    via: Option<NextHop>,
    attributes: RouteAttributes,
}

/// Reads the words after `add`, `change`, `delete` or `get`.
fn parse_change(words: &[&str]) -> Result<Change, Failure> {
    let mut wanted = destination::Wanted::default();
    let (mut addresses, mut interface, mut attributes) = (Vec::new(), None, RouteAttributes::default());
    let mut rest = words.iter().copied();
    while let Some(word) = rest.next() {
        let mut argument = || rest.next().ok_or_else(|| wrong(format!("{word}: its argument is missing")));
        match word {
            "-net" => wanted.net = true,
            "-host" => wanted.host = true,
            "-inet" | "-inet6" | "-static" => {}
            "-netmask" => wanted.set_mask(argument()?)?,
            "-prefixlen" => wanted.set_len(argument()?)?,
            "-interface" | "-iface" => interface = Some(argument()?),
            "-reject" => attributes.kind = RouteKind::Reject,
            "-blackhole" => attributes.kind = RouteKind::Blackhole,
            "-mpath" => attributes.multipath = true,
            "-mtu" => attributes.mtu = Some(parse_number(argument()?)?),
            "-hopcount" => attributes.hop_count = parse_number(argument()?)?,
            option if option.starts_with('-') => return Err(wrong(format!("botched keyword: {option}"))),
            address => addresses.push(address),
        }
    }
    let (destination, gateway) = match (addresses[..].split_first(), interface) {
        (Some((destination, [])), interface) => {
            (destination, interface.map(|name| NextHop::Interface(name.into())))
        }
        (Some((destination, [gateway])), None) => {
            (destination, Some(NextHop::Gateway(parse_gateway(gateway)?)))
        }
        (None, _) => return Err(wrong("a destination is missing".into())),
        (Some((_, [.., last])), _) => return Err(wrong(format!("{last}: not expected here"))),
    };
    Ok(Change { destination: destination::parse(destination, &wanted)?, via: gateway, attributes })
}

fn parse_number(word: &str) -> Result<u32, Failure> {
    word.parse().map_err(|_| Failure::Refused(format!("{word}: bad value")))
}

/// A number of events, not 0.
fn parse_count(word: &str) -> Result<u64, Failure> {
    let count = word.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| Failure::Refused(format!("{word}: bad value")))
}

fn parse_gateway(word: &str) -> Result<IpAddr, Failure> {
    word.parse().map_err(|_| Failure::Refused(format!("{word}: bad value")))
}

async fn find(task: &Task<'_, impl Console>, change: &Change) -> Result<Status, Failure> {
    let found = get::find(task, &change.destination).await;
    let found = found.map_err(|failure| match failure {
        Failure::Kernel(error) if error.errno == Errno::Srch => Failure::Refused(in_words(&error)),
        other => other,
    });
    task.report(&found?)?;
    Ok(Status::SUCCESS)
}

/// Adds or changes a route.
async fn set(
    task: &Task<'_, impl Console>,
    verb: &str,
    change: Change,
    quiet: bool,
) -> Result<Status, Failure> {
    let Change { destination, via: Some(via), attributes } = change else {
        return Err(wrong(format!("{}: a gateway or an interface is missing", change.destination)));
    };
    let gateway = match &via {
        NextHop::Gateway(gateway) => gateway.to_string(),
        NextHop::Interface(name) => name.clone(),
    };
    let line = format!("{verb} {destination}: gateway {gateway}");
    let destination = destination.prefix;
    let request = match verb {
        "change" => Request::ChangeRoute { destination, via, attributes },
        _ => Request::AddRoute { destination, via, attributes },
    };
    announce(task, &line, request, quiet).await
}

async fn delete(task: &Task<'_, impl Console>, change: &Change, quiet: bool) -> Result<Status, Failure> {
    let destination = &change.destination;
    let gateway = match change.via {
        Some(NextHop::Gateway(gateway)) => Some(gateway),
        _ => None,
    };
    let request = Request::DeleteRoute { destination: destination.prefix, gateway };
    announce(task, &format!("delete {destination}"), request, quiet).await
}

/// Does something and says what, as NetBSD's route does whether it succeeds or not.
async fn announce(
    task: &Task<'_, impl Console>,
    line: &str,
    request: Request,
    quiet: bool,
) -> Result<Status, Failure> {
    let done = task.change(request).await;
    if task.json {
        done?;
        task.report_changed(Vec::new())?;
        return Ok(Status::SUCCESS);
    }
    match done {
        Ok(()) if quiet => Ok(Status::SUCCESS),
        Ok(()) => {
            task.console.print(&format!("{line}\n"))?;
            Ok(Status::SUCCESS)
        }
        Err(Failure::Kernel(error)) if error.operation == Operation::Route => {
            task.console.print(&format!("{line}: {}\n", reason(&error)))?;
            Err(Failure::Refused(in_words(&error)))
        }
        Err(other) => Err(other),
    }
}

/// A refusal as NetBSD's route says it.
fn in_words(error: &ControlError) -> String {
    text(error).replacen(error.errno.text(), reason(error), 1)
}

/// The words of NetBSD's route for what has others elsewhere.
fn reason(error: &ControlError) -> &'static str {
    match error.errno {
        Errno::Srch => "not in table",
        Errno::NoBufs => "routing table overflow",
        other => other.text(),
    }
}

#[cfg(test)]
mod tests;
