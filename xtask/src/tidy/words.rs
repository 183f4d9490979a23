//! The repository speaks of the project alone: no places of one machine, no registries' addresses.

use super::Finding;
use crate::tree::Tree;

/// Words that do not belong here. Split, so that this file has none of them itself.
const FORBIDDEN: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/tmp/", "wt"),
    concat!("issues ", "show"),
    concat!("closing ", "note"),
    concat!("shared/", "spec"),
    concat!("shared/", "design"),
    concat!("../", "shared"),
    concat!(".lib", "rary"),
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("registry.", "npmjs"),
    concat!("deb.debian", ".org"),
];

/// Written by cargo, which names its registry there.
const LOCK: &str = "Cargo.lock";

/// Finds lines with words that do not belong here.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts.iter().filter(|(path, _)| path.rsplit('/').next() != Some(LOCK)) {
        for (number, line) in (1..).zip(text.lines()) {
            let found = FORBIDDEN.iter().filter(|word| line.contains(**word));
            findings
                .extend(found.map(|word| Finding::new(path, number, format!("`{word}` has no place here"))));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_found_in_any_file() {
        for word in FORBIDDEN {
            let text = format!("first\nsee {word} there");
            let findings = check(&Tree::of(&[("docs/a.md", &text)]));
            assert_eq!(findings.len(), 1, "{word}");
            assert_eq!(findings[0].line, 2);
        }
    }

    #[test]
    fn a_lock_file_may_name_its_registry() {
        assert!(check(&Tree::of(&[("fuzz/Cargo.lock", FORBIDDEN[8])])).is_empty());
    }
}
