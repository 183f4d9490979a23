//! `unsafe` is forbidden by every crate but those at the edge, and there clippy asks for the reason of each block.

use super::Finding;
use crate::tree::Tree;

/// Crates that talk to an operating system or a C program directly.
const EDGE: &[&str] = &["host", "packetdrill"];

/// Packages outside of `crates` that are ours and shall forbid it too.
const OUTSIDE: &[&str] = &["xtask", "tests"];

/// Finds roots of crates without `#![forbid(unsafe_code)]`.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let roots =
        tree.sources.iter().filter(|file| is_root(&file.path) && !EDGE.contains(&file.crate_folder()));
    roots
        .filter(|file| {
            let forbids = |index: usize| {
                index >= 3 && file.has(index - 3, &["#", "!", "[", "forbid", "(", "unsafe_code", ")", "]"])
            };
            !file.idents("forbid").any(forbids)
        })
        .map(|file| Finding::new(&file.path, 1, "`#![forbid(unsafe_code)]` is missing"))
        .collect()
}

/// Whether rustc begins a library or a program there.
fn is_root(path: &str) -> bool {
    let inside = match path.strip_prefix("crates/").and_then(|rest| rest.split_once('/')) {
        Some((_, inside)) => inside,
        None => match path.split_once('/') {
            Some((folder, inside)) if OUTSIDE.contains(&folder) => inside,
            _ => return false,
        },
    };
    let is_program =
        inside.strip_prefix("src/bin/").is_some_and(|rest| !rest.contains('/') || rest.ends_with("/main.rs"));
    matches!(inside, "src/lib.rs" | "src/main.rs") || is_program
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn every_root_forbids_unsafe_except_at_the_edge() {
        for path in [
            "crates/stack/src/lib.rs",
            "crates/rump/src/main.rs",
            "crates/rump/src/bin/x.rs",
            "xtask/src/main.rs",
        ] {
            assert_eq!(found(path, "fn a() {}"), 1, "{path}");
            assert_eq!(found(path, "#![forbid(unsafe_code)]"), 0, "{path}");
        }
        for path in ["crates/host/src/lib.rs", "crates/stack/src/slab.rs", "fuzz/fuzz_targets/a.rs"] {
            assert_eq!(found(path, "fn a() {}"), 0, "{path}");
        }
    }

    #[test]
    fn a_comment_does_not_forbid() {
        assert_eq!(found("xtask/src/lib.rs", "// #![forbid(unsafe_code)]"), 1);
    }
}
