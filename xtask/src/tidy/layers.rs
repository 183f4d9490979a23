//! Which module of `stack` may use which: `socket → inet → link → ` the rest; `control`, `intake`, `packet` and the root use all.

use super::Finding;
use crate::{rust::SourceFile, tree::Tree};

const CRATE: &str = "stack";

/// The layers above the ground, from below; a module at the root that is not here belongs to the ground.
const LAYERS: &[&str] = &["link", "inet", "socket"];

/// What may use everything, the root's own items too, and is used by the root alone.
const TOP: &[&str] = &["control", "intake", "packet"];

/// Finds paths that point from a lower layer to a higher one.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let modules: Vec<&str> =
        tree.crate_sources(CRATE).filter_map(|file| file.module()?.first().copied()).collect();
    tree.crate_sources(CRATE).flat_map(|file| check_file(file, &modules)).collect()
}

fn check_file(file: &SourceFile, modules: &[&str]) -> Vec<Finding> {
    let Some(module) = file.module() else { return Vec::new() };
    let Some(own) = module.first() else { return Vec::new() };
    let own_height = height(own);
    let mut findings = Vec::new();
    for path in file.paths() {
        if file.is_test(path.start) {
            continue;
        }
        let here: Vec<&str> = module.iter().copied().chain(path.inside.iter().map(String::as_str)).collect();
        let Some(target) = resolve(&path.segments, &here) else { continue };
        let target_height = if modules.contains(&target) { height(target) } else { LAYERS.len() + 1 };
        if target_height > own_height {
            let message = format!("`{own}` may not use `{}`: arrows point down", path.segments.join("::"));
            findings.push(Finding::new(&file.path, path.line, message));
        }
    }
    findings
}

fn height(module: &str) -> usize {
    if TOP.contains(&module) {
        return LAYERS.len() + 1;
    }
    LAYERS.iter().position(|layer| *layer == module).map_or(0, |index| index + 1)
}

/// The first name below the crate's root that `segments` lead to from module `here`; none if they leave the crate or stay within.
fn resolve<'path>(segments: &'path [String], here: &[&'path str]) -> Option<&'path str> {
    let mut depth = here.len();
    let mut rest = segments;
    match segments[0].as_str() {
        "crate" => {
            depth = 0;
            rest = &segments[1..];
        }
        "super" => {
            while let Some(("super", after)) =
                rest.split_first().map(|(first, after)| (first.as_str(), after))
            {
                depth = depth.checked_sub(1)?;
                rest = after;
            }
        }
        _ => return None,
    }
    if depth > 0 {
        return Some(here[0]);
    }
    rest.first().map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        let root = "mod link; mod inet; mod socket; mod control; mod time;";
        let files = [
            ("crates/stack/src/lib.rs", root),
            ("crates/stack/src/link/mod.rs", ""),
            ("crates/stack/src/inet/mod.rs", ""),
            ("crates/stack/src/socket/mod.rs", ""),
            ("crates/stack/src/control/mod.rs", ""),
            ("crates/stack/src/time.rs", ""),
            (path, text),
        ];
        check(&Tree::of(&files)).len()
    }

    #[test]
    fn arrows_down_are_allowed() {
        assert_eq!(
            found("crates/stack/src/socket/udp.rs", "use crate::{inet::route, link, time::Instant};"),
            0
        );
        assert_eq!(found("crates/stack/src/control/route.rs", "use crate::{Stack, socket};"), 0);
        assert_eq!(
            found("crates/stack/src/inet/tcp/send.rs", "use super::super::route; use super::segment;"),
            0
        );
    }

    #[test]
    fn arrows_up_are_found_in_every_spelling() {
        assert_eq!(found("crates/stack/src/link/ether.rs", "use crate::{time, inet::arp};"), 1);
        assert_eq!(found("crates/stack/src/inet/arp.rs", "fn a() { crate::socket::udp::b() }"), 1);
        assert_eq!(found("crates/stack/src/inet/tcp/send.rs", "use super::super::super::socket;"), 1);
        assert_eq!(found("crates/stack/src/time.rs", "use super::link;"), 1);
        assert_eq!(found("crates/stack/src/socket/udp.rs", "use crate::control;"), 1);
        assert_eq!(found("crates/stack/src/inet/arp.rs", "mod deep { use super::super::super::socket; }"), 1);
    }

    #[test]
    fn items_of_the_root_are_above_all_layers() {
        assert_eq!(found("crates/stack/src/inet/arp.rs", "use crate::Stack;"), 1);
    }

    #[test]
    fn tests_may_look_up() {
        assert_eq!(found("crates/stack/src/inet/arp.rs", "#[cfg(test)] mod tests { use crate::Stack; }"), 0);
    }
}
