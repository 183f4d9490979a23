//! The core has no hands: no std, clock, thread, log, global, lock or shared ownership in the crates that run everywhere.

use super::Finding;
use crate::{
    packages::Use,
    rust::{SourceFile, lexer::Kind},
    tree::Tree,
};

/// Crates that run without an operating system.
const PURE: &[&str] = &["wire", "proto", "stack", "services"];

/// Words that do not occur in them, and why.
const FORBIDDEN: &[(&str, &str)] = &[
    ("std", "there is no std here: use core or alloc"),
    ("SystemTime", "time is an argument"),
    ("thread_local", "no globals: state belongs to the value that owns it"),
    ("OnceLock", "no globals: state belongs to the value that owns it"),
    ("LazyLock", "no globals: state belongs to the value that owns it"),
    ("OnceCell", "no globals: state belongs to the value that owns it"),
    ("Rc", "one owner: use a key into a table"),
    ("RefCell", "one owner: take &mut"),
    ("Mutex", "no locks: sharing is the business of whoever runs this"),
    ("RwLock", "no locks: sharing is the business of whoever runs this"),
    ("println", "no output: return a value"),
    ("eprintln", "no output: return a value"),
    ("print", "no output: return a value"),
    ("eprint", "no output: return a value"),
    ("tracing", "no log: count it, or return an event"),
    ("RandomState", "hashers are keyed from the stack's seed"),
    ("DefaultHashBuilder", "hashers are keyed from the stack's seed"),
    ("DefaultHasher", "hashers are keyed from the stack's seed"),
];

/// Sequences of tokens that do not occur in them, and why.
const FORBIDDEN_SEQUENCES: &[(&[&str], &str)] = &[
    (&["Instant", ":", ":", "now"], "time is an argument"),
    (&["static", "mut"], "no globals: state belongs to the value that owns it"),
    (&["log", ":", ":"], "no log: count it, or return an event"),
    (&["HashMap", ":", ":", "new", "("], "hashers are keyed from the stack's seed: with_hasher"),
    (&["HashSet", ":", ":", "new", "("], "hashers are keyed from the stack's seed: with_hasher"),
    (
        &["HashMap", ":", ":", "with_capacity", "("],
        "hashers are keyed from the stack's seed: with_capacity_and_hasher",
    ),
    (
        &["HashSet", ":", ":", "with_capacity", "("],
        "hashers are keyed from the stack's seed: with_capacity_and_hasher",
    ),
];

/// Dependencies that bring what is forbidden, and features that do.
const FORBIDDEN_DEPENDENCIES: &[&str] =
    &["log", "tracing", "parking_lot", "once_cell", "lazy_static", "rand", "getrandom"];
const FORBIDDEN_FEATURES: &[(&str, &str)] = &[("hashbrown", "default"), ("hashbrown", "default-hasher")];

/// Finds what a crate without an operating system must not touch.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = check_manifests(tree);
    for file in tree.sources.iter().filter(|file| is_pure(file)) {
        if file.path.ends_with("/src/lib.rs") && !is_no_std(file) {
            findings.push(Finding::new(&file.path, 1, "`#![no_std]` is missing"));
        }
        check_tokens(file, &mut findings);
    }
    findings
}

fn is_pure(file: &SourceFile) -> bool {
    PURE.iter().any(|name| file.path.starts_with(&format!("crates/{name}/src/")))
}

fn is_no_std(file: &SourceFile) -> bool {
    file.idents("no_std").any(|index| index >= 3 && file.has(index - 3, &["#", "!", "[", "no_std", "]"]))
}

fn check_manifests(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in tree.packages.ours() {
        let Some(folder) = package.folder.as_deref().filter(|folder| is_pure_folder(folder)) else {
            continue;
        };
        let manifest = format!("{folder}/Cargo.toml");
        for (name, _, features) in package.manifest.iter().filter(|(_, why, _)| *why == Use::Normal) {
            if FORBIDDEN_DEPENDENCIES.contains(&name.as_str()) {
                findings.push(Finding::new(
                    &manifest,
                    0,
                    format!("`{name}` has no place in a crate without hands"),
                ));
            }
            for (_, feature) in FORBIDDEN_FEATURES.iter().filter(|(dependency, _)| dependency == name) {
                if features.iter().any(|asked| asked == feature) {
                    findings.push(Finding::new(
                        &manifest,
                        0,
                        format!("`{name}` without its feature `{feature}`"),
                    ));
                }
            }
        }
    }
    findings
}

fn is_pure_folder(folder: &str) -> bool {
    folder.strip_prefix("crates/").is_some_and(|name| PURE.contains(&name))
}

fn check_tokens(file: &SourceFile, findings: &mut Vec<Finding>) {
    for index in file.shipped() {
        let token = &file.tokens[index];
        if token.kind != Kind::Ident {
            continue;
        }
        let word = file.token(index);
        let forbidden = FORBIDDEN.iter().find(|(name, _)| *name == word && !is_harmless(file, index));
        let sequence = FORBIDDEN_SEQUENCES.iter().find(|(texts, _)| file.has(index, texts));
        let atomic = word.strip_prefix("Atomic").is_some_and(|rest| !rest.is_empty());
        let why = forbidden.map(|(_, why)| *why).or_else(|| sequence.map(|(_, why)| *why));
        let why = why.or_else(|| atomic.then_some("no globals, no sharing: plain numbers do"));
        if let Some(why) = why {
            findings.push(Finding::new(&file.path, token.line, format!("`{word}`: {why}")));
        }
    }
}

/// The word is a feature's name, a field or a method, or a macro's argument that only looks like it.
fn is_harmless(file: &SourceFile, index: usize) -> bool {
    let before = if index == 0 { "" } else { file.token(index - 1) };
    let is_macro_name = matches!(file.token(index), "print" | "println" | "eprint" | "eprintln");
    before == "." || before == "fn" || (is_macro_name && file.token(index + 1) != "!")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        check(&Tree::of(&[("crates/stack/src/a.rs", text)])).len()
    }

    #[test]
    fn each_kind_of_hand_is_found() {
        for text in [
            "use std::vec::Vec;",
            "extern crate std;",
            "fn f() { Instant::now() }",
            "static mut A: u8 = 0;",
            "static A: AtomicU64 = AtomicU64::new(0);",
            "use alloc::rc::Rc;",
            "fn f() { log::info!(\"x\") }",
            "fn f() { println!(\"x\") }",
            "fn f() { let map: HashMap<u8, u8> = HashMap::new(); }",
        ] {
            assert!(found(text) > 0, "{text}");
        }
    }

    #[test]
    fn words_in_comments_strings_and_tests_are_free() {
        assert_eq!(found("// std::thread\nconst A: &str = \"std\"; #[cfg(test)] extern crate std;"), 0);
        assert_eq!(found("fn f(now: Instant) { self.print(now) }"), 0);
        assert_eq!(found("fn f() { let order = Ordering::Less; }"), 0);
    }

    #[test]
    fn a_root_without_no_std_is_found() {
        let of = |text| check(&Tree::of(&[("crates/wire/src/lib.rs", text)])).len();
        assert_eq!(of("//! Formats."), 1);
        assert_eq!(of("#![no_std]\n//! Formats."), 0);
    }

    #[test]
    fn other_crates_may_have_hands() {
        assert!(check(&Tree::of(&[("crates/host/src/lib.rs", "use std::time::Instant;")])).is_empty());
    }
}
