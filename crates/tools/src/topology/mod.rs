//! Topology files: a network of hosts on buses, written in TOML, becomes a [`Topology`] or a list of [`Mistakes`] with their lines.
//!
//! docs/guide/lab.md has the format. A file is read in steps, each of which complains of all that it meets: TOML (`section`), the
//! buses (`bus`), the hosts with their interfaces (`host`), addresses that are not said (`address`), routes (`route`), checks
//! (`check`). Nothing is read from a disk here; who has the text says what the file is called.

mod address;
mod bus;
mod check;
mod draw;
mod group;
mod host;
mod mistake;
mod quantity;
mod route;
mod section;

use rumpnet_proto::topology::Topology;
use toml::de::DeTable;

pub use draw::draw;
pub use mistake::{Mistake, Mistakes};
use mistake::{Notes, Span};
use section::Section;

/// Bytes of a file at most.
const FILE_LIMIT: usize = 4 << 20;

/// The keys of a file.
const KEYS: &[&str] = &["bus", "check", "host", "lab"];

/// The keys of `[lab]`.
const LAB_KEYS: &[&str] = &["limit", "name", "routes", "seed"];

/// What `[lab]` says for the whole.
struct Defaults {
    /// For how long a check may take, in nanoseconds.
    limit_ns: u64,
    /// Whether hosts without routes are given those to all buses.
    routes: bool,
}

/// Reads a topology; `file` is what it is called in complaints, and the network after it unless it has a name of its own.
pub fn parse(file: &str, text: &str) -> Result<Topology, Mistakes> {
    let notes = Notes::new(file, text);
    let topology = read(file, text, &notes);
    notes.into_result()?;
    Ok(topology.unwrap_or_default())
}

/// The network, as far as it can be read.
fn read(file: &str, text: &str, notes: &Notes<'_>) -> Option<Topology> {
    if text.len() > FILE_LIMIT {
        notes.add(&(0..0), format!("{} bytes are too long, {FILE_LIMIT} are allowed", text.len()));
        return None;
    }
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => {
            notes.add(&error.span().unwrap_or(0..0), error.message());
            return None;
        }
    };
    let table = document.get_ref();
    let root = Section { what: "the file".to_owned(), at: 0..0, table, notes };
    root.refuse_unknown(KEYS);
    let mut topology = Topology { name: name_after(file), file: file.to_owned(), ..Topology::default() };
    let defaults = read_lab(&root, &mut topology);
    let buses = bus::read(&root, &mut topology);
    let mut hosts = host::read(&root, &buses, &mut topology);
    // What follows builds upon the names, and would complain of them again.
    if notes.is_clean() {
        address::assign(&buses, &mut hosts, &mut topology, notes);
    }
    if notes.is_clean() {
        route::assign(&hosts, defaults.routes, &mut topology, notes);
        check::read(&root, &hosts, defaults.limit_ns, &mut topology);
    }
    Some(topology)
}

fn read_lab(root: &Section<'_, '_>, topology: &mut Topology) -> Defaults {
    let mut defaults = Defaults { limit_ns: 10_000_000_000, routes: false };
    let Some(lab) = root.section("lab", "[lab]") else { return defaults };
    lab.refuse_unknown(LAB_KEYS);
    if let Some(name) = lab.text("name") {
        group::check_name(name.value, "lab", &name.at, lab.notes);
        name.value.clone_into(&mut topology.name);
    }
    topology.seed = lab.number("seed", 0, i64::MAX).map(|seed| seed.value.unsigned_abs());
    if let Some(limit) = lab.span_ns("limit") {
        defaults.limit_ns = limit;
    }
    if let Some(routes) = lab.text("routes") {
        match routes.value {
            "auto" => defaults.routes = true,
            "none" => {}
            other => lab
                .notes
                .add(&routes.at, format!("`routes` of [lab] is `{other}`, and must be `auto` or `none`")),
        }
    }
    defaults
}

/// The name of a file without its folder and ending, as far as a name may have its letters.
fn name_after(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    let name = name.strip_suffix(".toml").unwrap_or(name);
    let kept: String =
        name.chars().map(|letter| if group::may_be_in_name(letter) { letter } else { '-' }).collect();
    let kept = kept.trim_matches(['-', '.']).to_owned();
    if kept.is_empty() { "lab".to_owned() } else { kept }
}

/// The place of nothing, for what the file does not say.
const NOWHERE: Span = 0..0;

#[cfg(test)]
mod tests;
