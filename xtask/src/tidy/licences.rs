//! Everything we are built from may be used on permissive terms.

use super::Finding;
use crate::tree::Tree;

/// Terms that ask for no more than a notice.
const PERMISSIVE: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "0BSD",
    "Unlicense",
    "CC0-1.0",
];

/// The texts of our own.
const OURS: &[&str] = &["LICENSE-MIT", "LICENSE-APACHE"];

/// Finds packages whose licence cannot be satisfied from [`PERMISSIVE`].
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in tree.packages.0.values() {
        let expression = package.license.as_deref().unwrap_or_default();
        if !is_permissive(expression) {
            let message = format!("{} {} is licensed as `{expression}`", package.name, package.version);
            findings.push(Finding::new("Cargo.lock", 0, message));
        }
    }
    let missing = OURS.iter().filter(|path| !tree.exists(path));
    findings.extend(missing.map(|path| Finding::new(path, 0, "is missing")));
    findings
}

/// Whether an SPDX expression can be satisfied; `/` is read as `OR`, as cargo once wrote it.
fn is_permissive(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    any(&mut words) == Some(true) && words.is_empty()
}

/// Reads `all OR all OR …` from the end of `words`, which are in reverse; none if they are no expression.
fn any(words: &mut Vec<&str>) -> Option<bool> {
    let mut satisfied = all(words)?;
    while words.pop_if(|word| *word == "OR").is_some() {
        satisfied |= all(words)?;
    }
    Some(satisfied)
}

fn all(words: &mut Vec<&str>) -> Option<bool> {
    let mut satisfied = one(words)?;
    while words.pop_if(|word| *word == "AND").is_some() {
        satisfied &= one(words)?;
    }
    Some(satisfied)
}

fn one(words: &mut Vec<&str>) -> Option<bool> {
    let word = words.pop()?;
    if word == "(" {
        let satisfied = any(words)?;
        return (words.pop()? == ")").then_some(satisfied);
    }
    if words.pop_if(|word| *word == "WITH").is_some() {
        let exception = words.pop()?;
        return Some(PERMISSIVE.contains(&&*format!("{word} WITH {exception}")));
    }
    Some(PERMISSIVE.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_satisfied_by_permissive_terms() {
        for expression in [
            "MIT",
            "MIT OR Apache-2.0",
            "MIT/Apache-2.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "LGPL-2.1 OR MIT",
        ] {
            assert!(is_permissive(expression), "{expression}");
        }
    }

    #[test]
    fn what_asks_for_more_is_refused() {
        for expression in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "MPL-2.0",
            "(MIT OR GPL-2.0) AND MPL-2.0",
            "GPL-2.0 WITH LLVM-exception",
            "MIT OR",
            "(MIT",
            "MIT)",
        ] {
            assert!(!is_permissive(expression), "{expression}");
        }
    }

    #[test]
    fn missing_texts_are_found() {
        assert_eq!(check(&Tree::of(&[("LICENSE-MIT", "")])).len(), 1);
    }
}
