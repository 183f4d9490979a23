//! `rump lab up`: a lab in this process, served until it is taken down or a signal comes.

use std::{io, sync::Arc, time::Instant};

use clap::{Arg, ArgMatches, Command};
use rumpnet::{
    Config, Kernel, Lab,
    client::Address,
    server::{Limits, Listener, Server},
};
use rumpnet_proto::Severity;
use rumpnet_tools::Status;

use super::{PROGRAM, failed, file_operand, load, place};
use crate::{
    output,
    server::{Running, make_private_directory},
};

pub(super) fn command() -> Command {
    Command::new("up")
        .about("Bring a lab up, and serve its hosts until it is taken down or a signal comes")
        .arg(Arg::new("name").long("name").value_name("NAME").help(
            "The name it is found by; the one of the topology if absent. Two labs of one name are not up at the same time",
        ))
        .arg(
            Arg::new("at")
                .long("at")
                .value_name("URL")
                .help("Where it listens, unix://PATH; if absent, where the other commands look for it"),
        )
        .arg(file_operand())
}

pub(super) fn run(matches: &ArgMatches) -> Status {
    let mut topology = match load(matches) {
        Ok(topology) => topology,
        Err(reason) => return failed(&reason),
    };
    if let Some(name) = matches.get_one::<String>("name") {
        name.clone_into(&mut topology.name);
    }
    let begun = Instant::now();
    let named = matches.get_one::<String>("at").map(String::as_str);
    // Before any thread starts: signals are taken for all of them.
    let started = Running::signals().and_then(|signals| {
        let listener = bind(&topology.name, named)?;
        let url = format!("unix://{}", listener.path().display());
        let name = topology.name.clone();
        let kernel = Kernel::builder().name(name).config(Config::tiny()).boot();
        let kernel = kernel.map_err(|error| format!("{url}: {error}"))?;
        let lab = Arc::new(Lab::up(topology).map_err(|error| error.to_string())?);
        let said = describe(&lab, &url, begun);
        kernel.log(Severity::Info, said.clone());
        let server = Server::start_lab(listener, kernel.clone(), lab, Limits::default());
        let server = server.map_err(|error| format!("{url}: {error}"))?;
        Ok((Running::of(signals, kernel, server)?, said))
    });
    match started {
        Ok((running, said)) => {
            // Whoever reads it or not, the lab is up.
            let _unread = output::print(&format!("{said}\n"));
            running.run();
            Status::SUCCESS
        }
        Err(reason) => output::failed(PROGRAM, reason),
    }
}

fn describe(lab: &Lab, url: &str, begun: Instant) -> String {
    let plan = lab.topology();
    let (hosts, buses, taken) = (plan.hosts.len(), plan.buses.len(), begun.elapsed());
    format!("{}: {hosts} hosts on {buses} buses, up after {} ms at {url}", plan.name, taken.as_millis())
}

/// Takes the socket, in a directory made for it unless it was named.
fn bind(name: &str, named: Option<&str>) -> Result<Listener, String> {
    let address: Address = match named {
        Some(url) => url.parse().map_err(|error| format!("{url}: {error}"))?,
        None => place::of_word(name)?,
    };
    let said = |reason: &dyn std::fmt::Display| format!("{address}: {reason}");
    if address.host().is_some() {
        return Err(said(&"a lab listens at unix://PATH, and its hosts are found there behind a #"));
    }
    let address = address.absolute().map_err(|error| said(&error))?;
    if named.is_none()
        && let Some(directory) = address.path().parent()
    {
        make_private_directory(directory).map_err(|error| said(&error))?;
    }
    Listener::bind(address.path()).map_err(|error| {
        let error = io::Error::from(error);
        let in_use = error.kind() == io::ErrorKind::AddrInUse;
        let hint = if in_use { " (a lab is up there; --name gives this one another name)" } else { "" };
        format!("{}{hint}", said(&error))
    })
}
