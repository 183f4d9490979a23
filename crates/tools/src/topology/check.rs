//! `[[check]]`: what must hold once the lab is up.

use core::ops::Range;

use rumpnet_proto::topology::{Check, Topology};
use toml::de::DeValue;

use super::{
    NOWHERE,
    group::Named,
    host::Hosts,
    mistake::suggestion,
    section::{Placed, Section, kind},
};

const KEYS: &[&str] = &["absent", "error", "host", "limit", "name", "output", "retry", "run", "status"];

/// Checks of a lab at most.
const MOST: usize = 200_000;

/// A word of a tool's line, taken apart.
enum Piece<'a> {
    /// Text that stays.
    Text(&'a str),
    /// The first address of a host, or that of one of its interfaces.
    Address { hosts: Range<usize>, interface: Option<&'a str> },
}

/// Reads all checks into the topology.
pub(super) fn read(root: &Section<'_, '_>, hosts: &Hosts<'_>, limit_ns: u64, topology: &mut Topology) {
    let Some(value) = root.table.get("check") else { return };
    let DeValue::Array(checks) = value.get_ref() else {
        let message = format!("`check` must be a list of tables, [[check]], not {}", kind(value.get_ref()));
        return root.notes.add(&value.span(), message);
    };
    for (number, check) in checks.iter().enumerate() {
        let what = format!("check number {}", number + 1);
        let Some(section) = Section::of(what, check.span(), check.get_ref(), root.notes) else { continue };
        section.refuse_unknown(KEYS);
        add(&section, hosts, limit_ns, topology);
        if topology.checks.len() > MOST {
            return root
                .notes
                .add(&section.at, format!("with {} there are more than {MOST} checks", section.what));
        }
    }
}

fn add(section: &Section<'_, '_>, hosts: &Hosts<'_>, limit_ns: u64, topology: &mut Topology) {
    let texts = |key: &str| {
        let texts = section.texts(key).unwrap_or_default();
        texts.into_iter().map(|text| text.value.to_owned()).collect::<Vec<_>>()
    };
    let template = Check {
        name: section.text("name").map_or_else(String::new, |name| name.value.to_owned()),
        host: 0,
        words: Vec::new(),
        status: section.number("status", 0, 255).map_or(0, |status| status.value as u8),
        output: texts("output"),
        absent: texts("absent"),
        error: texts("error"),
        limit_ns: section.span_ns("limit").unwrap_or(limit_ns),
        retry: section.switch("retry").unwrap_or(false),
    };
    let Some(words) = words(section) else { return };
    let pieces: Option<Vec<_>> = words.iter().map(|word| pieces(word, section, hosts)).collect();
    let on = section.text("host");
    if on.is_none() && !section.table.contains_key("host") {
        section.notes.add(&section.at, format!("{} says no `host`", section.what));
    }
    let named = on.and_then(|on| hosts.names.find(on.value, "host", &on.at, section.notes));
    let (Some(pieces), Some(named)) = (pieces, named) else { return };
    for host in hosts.names.places(named) {
        add_of_host(host, &template, &pieces, section, topology);
        if topology.checks.len() > MOST {
            return;
        }
    }
}

/// The words of a tool's line: a text, parted by blanks, or a list.
fn words<'a>(section: &Section<'a, '_>) -> Option<Vec<Placed<&'a str>>> {
    let Some(run) = section.table.get("run") else {
        section.notes.add(&section.at, format!("{} has nothing to `run`", section.what));
        return None;
    };
    let words: Vec<_> = match run.get_ref() {
        DeValue::String(line) => {
            line.split_whitespace().map(|value| Placed { value, at: run.span() }).collect()
        }
        _ => section.texts("run")?,
    };
    let Some(tool) = words.first() else {
        section.notes.add(&run.span(), format!("{} has nothing to `run`", section.what));
        return None;
    };
    if !crate::names().any(|name| name == tool.value) {
        let near = suggestion(tool.value, crate::names());
        section.notes.add(&tool.at, format!("unknown tool `{}`{near}", tool.value));
        return None;
    }
    Some(words)
}

/// Takes a word apart at `{HOST}` and `{HOST.INTERFACE}`.
fn pieces<'a>(
    word: &Placed<&'a str>,
    section: &Section<'_, '_>,
    hosts: &Hosts<'_>,
) -> Option<Vec<Piece<'a>>> {
    let (mut pieces, mut rest) = (Vec::new(), word.value);
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((inside, behind)) = behind.split_once('}') else {
            section.notes.add(&word.at, format!("`{}` has a `{{` without its `}}`", word.value));
            return None;
        };
        let (name, interface) = match inside.split_once('.') {
            Some((name, interface)) => (name, Some(interface)),
            None => (inside, None),
        };
        let named: Named = hosts.names.find(name, "host", &word.at, section.notes)?;
        pieces.push(Piece::Text(before));
        pieces.push(Piece::Address { hosts: hosts.names.places(named), interface });
        rest = behind;
    }
    pieces.push(Piece::Text(rest));
    Some(pieces)
}

/// Adds the check of one host: one for each of several that a word stands for, but not of a host with itself.
fn add_of_host(
    host: usize,
    template: &Check,
    words: &[Vec<Piece<'_>>],
    section: &Section<'_, '_>,
    topology: &mut Topology,
) {
    let several = words.iter().flatten().find_map(|piece| match piece {
        Piece::Address { hosts, .. } if hosts.len() > 1 => Some(hosts.clone()),
        _ => None,
    });
    let others = several.unwrap_or(0..1);
    for other in others.clone().filter(|other| others.len() == 1 || *other != host) {
        let spelled: Option<Vec<String>> =
            words.iter().map(|word| spell(word, other, section, topology)).collect();
        let Some(words) = spelled else { return };
        let on = &topology.hosts[host].name;
        let name = if template.name.is_empty() { words.join(" ") } else { template.name.clone() };
        let check = Check { name: format!("{on}: {name}"), host, words, ..template.clone() };
        topology.checks.push(check);
        if topology.checks.len() > MOST {
            return;
        }
    }
}

/// A word with its addresses; where it stands for several hosts, with that of `other`.
fn spell(word: &[Piece<'_>], other: usize, section: &Section<'_, '_>, topology: &Topology) -> Option<String> {
    let mut spelled = String::new();
    for piece in word {
        match piece {
            Piece::Text(text) => spelled += text,
            Piece::Address { hosts, interface } => {
                let place =
                    if hosts.len() > 1 { other.clamp(hosts.start, hosts.end - 1) } else { hosts.start };
                let host = &topology.hosts[place];
                let address = match interface {
                    None => host.first_address(),
                    Some(name) => {
                        let found = host.interfaces.iter().find(|interface| interface.name.as_str() == *name);
                        found.and_then(|interface| interface.addresses.first()).map(|cidr| cidr.address())
                    }
                };
                let Some(address) = address else {
                    let on = interface.map_or_else(String::new, |name| format!(" on `{name}`"));
                    let at = section.table.get("run").map_or(NOWHERE, |run| run.span());
                    section.notes.add(&at, format!("`{}` has no address{on}", host.name));
                    return None;
                };
                spelled += &address.to_string();
            }
        }
    }
    Some(spelled)
}
