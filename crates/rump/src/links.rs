//! `rump links DIR`: names by which NetBSD's users know the tools, as symbolic links to this program.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgMatches, Command};
use rumpnet_tools::Status;

use crate::{bus, output, server};

pub(crate) fn command() -> Command {
    Command::new("links")
        .about("Make links by NetBSD's names (rump.ifconfig, rump_server …) in a directory")
        .arg(Arg::new("DIR").required(true).help("The directory; made if it is not there"))
}

pub(crate) fn run(matches: &ArgMatches) -> Status {
    let directory = PathBuf::from(matches.get_one::<String>("DIR").map(String::as_str).unwrap_or_default());
    match make(&directory) {
        Ok(()) => Status::SUCCESS,
        Err(reason) => output::failed("rump links", reason),
    }
}

/// Every name.
pub(crate) fn names() -> impl Iterator<Item = String> {
    rumpnet_tools::names()
        .chain(["nc"])
        .map(|tool| format!("rump.{tool}"))
        .chain(server::NAMES.iter().chain(bus::NAMES).map(|name| (*name).to_owned()))
}

fn make(directory: &Path) -> Result<(), String> {
    let said = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    fs::create_dir_all(directory).map_err(|error| said(directory, error))?;
    for name in names() {
        let link = directory.join(name);
        let made = match symlink(&program, &link) {
            // A link made before, perhaps to another copy of the program, is renewed; anything else is somebody's.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && link.is_symlink() => {
                fs::remove_file(&link).and_then(|()| symlink(&program, &link))
            }
            made => made,
        };
        made.map_err(|error| said(&link, error))?;
    }
    Ok(())
}
