//! Where labs are: `labs/NAME` in the directory of the user's servers.

use std::path::{Path, PathBuf};

use rumpnet::client::{Address, Client, PATIENCE};
use rumpnet_proto::{ControlError, Reply, Request};

use crate::{list, locate};

/// The variable that names the lab.
const VARIABLE: &str = "RUMP_LAB";

/// The directory in which the labs of this user are.
pub(crate) fn directory() -> Option<PathBuf> {
    locate::runtime_directory().map(|directory| directory.join("labs"))
}

/// The place of a lab by its name.
pub(super) fn of_name(name: &str) -> Result<Address, String> {
    let directory = directory()
        .ok_or("there is no place for labs: set XDG_RUNTIME_DIR, or say unix://PATH instead of a name")?;
    Address::at(directory.join(name)).map_err(|error| format!("{name}: {error}"))
}

/// The place of a lab by its name or URL.
pub(super) fn of_word(word: &str) -> Result<Address, String> {
    if word.contains("://") {
        return word.parse().map_err(|error| format!("{word}: {error}"));
    }
    if word.is_empty() || word.contains('/') {
        return Err(format!("`{word}` is no name of a lab"));
    }
    of_name(word)
}

/// The lab that is meant: the one that is named, the one of the environment, or the only one that is up.
pub(super) fn find(named: Option<&str>) -> Result<Address, String> {
    if let Some(word) = named {
        return of_word(word);
    }
    if let Ok(word) = std::env::var(VARIABLE) {
        return of_word(&word).map_err(|reason| format!("{VARIABLE}: {reason}"));
    }
    let up: Vec<Address> = all().into_iter().filter(is_up).collect();
    match up.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err("no lab is up; start one with `rump lab up FILE`".to_owned()),
        several => {
            let names: Vec<_> = several.iter().map(name).collect();
            Err(format!("several labs are up, name one with --lab or {VARIABLE}: {}", names.join(", ")))
        }
    }
}

/// Every place that has a socket, sorted.
pub(super) fn all() -> Vec<Address> {
    let mut paths = directory().map(|directory| list::sockets(&directory)).unwrap_or_default();
    paths.sort_unstable();
    paths.into_iter().filter_map(|path| Address::at(path).ok()).collect()
}

/// The name of a lab by its place.
pub(super) fn name(address: &Address) -> String {
    address.path().file_name().map(Path::new).map_or_else(String::new, |name| name.display().to_string())
}

fn is_up(address: &Address) -> bool {
    let answer = Client::connect(address, PATIENCE).and_then(|client| client.call(Request::Kernel));
    !answer.is_err_and(|error| list::is_gone(&error))
}

/// The names of a lab's hosts.
pub(super) fn hosts(client: &Client) -> Result<Vec<String>, ControlError> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let page = match client.call(Request::Hosts { after: all.last().cloned() })? {
            Reply::Names(page) => page,
            _ => return Ok(all),
        };
        // A cursor that does not move on would never end.
        match (page.first(), all.last()) {
            (Some(first), Some(last)) if first <= last => return Ok(all),
            (None, _) => return Ok(all),
            _ => all.extend(page),
        }
    }
}
