//! One version of each package in what users get.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use crate::tree::Tree;

/// Packages that come in several versions for now, and whose doing that is.
const EXCUSED: &[(&str, &str)] = &[];

/// Finds packages of several incompatible versions among the normal dependencies of our crates.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for id in tree.packages.shipped() {
        let package = &tree.packages.0[id];
        versions.entry(&package.name).or_default().insert(compatible(&package.version));
    }
    let several = versions.into_iter().filter(|(name, versions)| versions.len() > 1 && !is_excused(name));
    several
        .map(|(name, versions)| {
            let versions: Vec<_> = versions.into_iter().collect();
            Finding::new("Cargo.lock", 0, format!("`{name}` comes as {}", versions.join(" and ")))
        })
        .collect()
}

fn is_excused(name: &str) -> bool {
    EXCUSED.iter().any(|(excused, _)| *excused == name)
}

/// As much of a version as must agree: `1` of 1.2.3, `0.4` of 0.4.2, `0.0.7` of 0.0.7.
fn compatible(version: &str) -> &str {
    let end = |dots: usize| version.match_indices('.').nth(dots - 1).map_or(version.len(), |(at, _)| at);
    match version {
        _ if version.starts_with("0.0.") => version,
        _ if version.starts_with("0.") => &version[..end(2)],
        _ => &version[..end(1)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::{Package, Packages, Use};

    fn tree(versions: &[&str], why: Use) -> Tree {
        let id = |version: &&str| (format!("a {version}"), why);
        let ours = Package {
            folder: Some("crates/us".to_owned()),
            chosen: versions.iter().map(id).collect(),
            ..Package::default()
        };
        let package = |version: &&str| {
            let package =
                Package { name: "a".to_owned(), version: (*version).to_owned(), ..Package::default() };
            (format!("a {version}"), package)
        };
        let mut packages: BTreeMap<_, _> = versions.iter().map(package).collect();
        packages.insert("us".to_owned(), ours);
        Tree { packages: Packages(packages), ..Tree::default() }
    }

    #[test]
    fn incompatible_versions_are_found() {
        assert_eq!(check(&tree(&["1.2.0", "2.0.0"], Use::Normal)).len(), 1);
        assert_eq!(check(&tree(&["0.4.0", "0.5.1"], Use::Normal)).len(), 1);
    }

    #[test]
    fn tests_may_bring_another_version() {
        assert!(check(&tree(&["1.2.0", "2.0.0"], Use::Dev)).is_empty());
    }

    #[test]
    fn compatible_parts_follow_cargo() {
        assert_eq!(["1.2.3", "0.4.2", "0.0.7", "12.0.1"].map(compatible), ["1", "0.4", "0.0.7", "12"]);
    }
}
