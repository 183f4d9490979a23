//! Which crate may use which: manifests and paths.
//!
//! Arrows among modules of `stack` are [`super::layers`]'.

use super::Finding;
use crate::{packages::Use, tree::Tree};

/// The crates by folder, and those they may be made of. A crate that is not here may not be.
const ALLOWED: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("proto", &["wire"]),
    ("stack", &["wire", "proto"]),
    ("services", &["wire", "proto"]),
    ("sockets", &["stack", "proto", "wire"]),
    ("tools", &["wire", "proto"]),
    ("sim", &["stack", "services", "sockets", "tools", "proto", "wire"]),
    ("host", &["wire"]),
    ("rumpnet", &["stack", "services", "sockets", "proto", "host", "wire"]),
    ("rump", &["rumpnet", "tools", "stack", "services", "sockets", "proto", "host", "wire"]),
    ("packetdrill", &["stack", "proto", "wire"]),
];

/// Even the tests of these run without an operating system's network.
const OFF_THE_HOST: (&[&str], &[&str]) =
    (&["wire", "proto", "stack", "services"], &["host", "rumpnet", "rump"]);

/// Finds manifests and paths that go against [`ALLOWED`].
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for folder in tree.crate_folders() {
        if allowed(folder).is_none() {
            findings.push(Finding::new(
                &format!("crates/{folder}/Cargo.toml"),
                0,
                "a new crate needs a line in the table of allowed arrows (xtask/src/tidy/arrows.rs)",
            ));
        }
    }
    check_manifests(tree, &mut findings);
    check_paths(tree, &mut findings);
    findings
}

fn check_manifests(tree: &Tree, findings: &mut Vec<Finding>) {
    for package in tree.packages.ours() {
        let Some(folder) = package.folder.as_deref().and_then(|folder| folder.strip_prefix("crates/")) else {
            continue;
        };
        for (name, why, _) in &package.manifest {
            let Some(target) = folder_of(name) else { continue };
            if !is_allowed(folder, target, *why == Use::Dev) {
                let message = format!("`{folder}` may not depend on `{target}`");
                findings.push(Finding::new(&format!("crates/{folder}/Cargo.toml"), 0, message));
            }
        }
    }
}

fn check_paths(tree: &Tree, findings: &mut Vec<Finding>) {
    for file in tree.sources.iter().filter(|file| file.path.starts_with("crates/")) {
        let folder = file.crate_folder();
        for path in file.paths() {
            let Some(target) = folder_of(&path.segments[0]) else { continue };
            let is_test = file.is_test(path.start) || file.path.contains("/examples/");
            if target != folder && !is_allowed(folder, target, is_test) {
                let message = format!("`{folder}` may not use `{}`", path.segments.join("::"));
                findings.push(Finding::new(&file.path, path.line, message));
            }
        }
    }
}

fn is_allowed(folder: &str, target: &str, is_test: bool) -> bool {
    if is_test {
        return !(OFF_THE_HOST.0.contains(&folder) && OFF_THE_HOST.1.contains(&target));
    }
    allowed(folder).is_none_or(|targets| targets.contains(&target))
}

fn allowed(folder: &str) -> Option<&'static [&'static str]> {
    ALLOWED.iter().find(|(name, _)| *name == folder).map(|(_, targets)| *targets)
}

/// The folder of a crate of ours by the name of its package or its library.
fn folder_of(name: &str) -> Option<&'static str> {
    let name = name.replace('_', "-");
    let folder = match name.as_str() {
        "rumpnet" => "rumpnet",
        "rumpnet-cli" => "rump",
        _ => name.strip_prefix("rumpnet-")?,
    };
    ALLOWED.iter().map(|(known, _)| *known).find(|known| *known == folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::{Package, Packages};

    fn messages(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn a_path_against_an_arrow_is_found() {
        assert_eq!(
            messages(&[
                ("crates/wire/src/a.rs", "use rumpnet_proto::Errno;"),
                ("crates/stack/src/a.rs", "use rumpnet_wire::arp;")
            ]),
            ["crates/wire/src/a.rs:1: `wire` may not use `rumpnet_proto::Errno`"],
        );
    }

    #[test]
    fn tests_may_use_more_but_those_of_the_core_stay_off_the_host() {
        let test = |path: &'static str, used: &str| {
            messages(&[(path, &format!("#[cfg(test)] use {used}::A;"))]).len()
        };
        assert_eq!(test("crates/stack/src/a.rs", "rumpnet_sim"), 0);
        assert_eq!(test("crates/stack/src/a.rs", "rumpnet_host"), 1);
        assert_eq!(test("crates/stack/src/a.rs", "rumpnet"), 1);
        assert_eq!(test("crates/tools/src/a.rs", "rumpnet"), 0);
    }

    #[test]
    fn an_unknown_crate_is_found() {
        assert_eq!(messages(&[("crates/extra/Cargo.toml", "")]).len(), 1);
    }

    #[test]
    fn a_manifest_against_an_arrow_is_found() {
        let needs = |name: &str, why| Package {
            folder: Some("crates/stack".to_owned()),
            manifest: vec![(name.to_owned(), why, Vec::new())],
            ..Package::default()
        };
        let found = |package| {
            let packages = Packages([("id".to_owned(), package)].into());
            check(&Tree { packages, ..Tree::default() }).len()
        };
        assert_eq!(found(needs("rumpnet-sim", Use::Normal)), 1);
        assert_eq!(found(needs("rumpnet-sim", Use::Dev)), 0);
        assert_eq!(found(needs("rumpnet", Use::Dev)), 1);
        assert_eq!(found(needs("rumpnet-wire", Use::Normal)), 0);
    }

    #[test]
    fn arrows_close_over_what_lies_below() {
        for (folder, targets) in ALLOWED {
            for target in *targets {
                for below in allowed(target).expect("every target is a crate of the table") {
                    let may = targets.contains(below);
                    assert!(may, "{folder} → {target} → {below}, but not {folder} → {below}");
                }
            }
        }
    }
}
