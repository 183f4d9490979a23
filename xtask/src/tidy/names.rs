//! Words that say nothing are no names; and nothing unfinished, unchecked or skipped is kept.

use super::Finding;
use crate::{
    rust::{SourceFile, lexer::Kind},
    tree::Tree,
};

/// Beginnings of functions' names, and what to say instead.
const FUNCTIONS: &[(&str, &str)] = &[
    ("handle_", "say what is done: receive, on_…"),
    ("process_", "say what is done: receive, on_…"),
    ("do_", "say what is done"),
    ("get_", "name the thing alone"),
];

/// The beginning that says of a test's name what its attribute says.
const TEST: &str = "test_";

/// Endings of types' and modules' names.
const TYPES: &[&str] = &["Manager", "Helper", "Helpers", "Util", "Utils"];
const MODULES: &[&str] = &["manager", "helper", "helpers", "util", "utils", "misc"];

/// Macros for what is not there yet.
const UNFINISHED: &[&str] = &["todo", "unimplemented"];

/// Finds empty names and unfinished work.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.sources {
        check_functions(file, &mut findings);
        check_tokens(file, &mut findings);
    }
    findings
}

fn check_functions(file: &SourceFile, findings: &mut Vec<Finding>) {
    for function in &file.functions {
        if let Some((_, instead)) = FUNCTIONS.iter().find(|(start, _)| function.name.starts_with(start)) {
            let message = format!("`fn {}`: {instead}", function.name);
            findings.push(Finding::new(&file.path, function.line, message));
        }
        if function.is_case && function.name.starts_with(TEST) {
            let message = format!("`fn {}`: a test's name is the claim", function.name);
            findings.push(Finding::new(&file.path, function.line, message));
        }
    }
}

fn check_tokens(file: &SourceFile, findings: &mut Vec<Finding>) {
    for (index, token) in file.tokens.iter().enumerate() {
        let message = match (token.kind, file.token(index)) {
            (Kind::Ident, "struct" | "enum" | "trait" | "type" | "union") => {
                empty_type(file.token(index + 1))
            }
            (Kind::Ident, "mod") => empty_module(file.token(index + 1)),
            (Kind::Ident, name) if UNFINISHED.contains(&name) && file.token(index + 1) == "!" => {
                Some(format!("`{name}!`: what is not there yet is an issue, not code"))
            }
            (Kind::Ident, "ignore") if is_attribute(file, index) => {
                Some("`#[ignore]`: a test runs or is not there".to_owned())
            }
            (Kind::Punct, ".") if !file.is_test(index) && file.has(index, &[".", "unwrap", "(", ")"]) => {
                Some("`unwrap()`: `expect(\"why it holds\")`, or an error".to_owned())
            }
            _ => None,
        };
        findings.extend(message.map(|message| Finding::new(&file.path, token.line, message)));
    }
}

fn empty_type(name: &str) -> Option<String> {
    TYPES.iter().any(|end| name.ends_with(end)).then(|| format!("`{name}`: name what it is"))
}

fn empty_module(name: &str) -> Option<String> {
    MODULES.contains(&name).then(|| format!("`mod {name}`: name what is in it"))
}

/// `#[ignore]`, `#[ignore = "…"]`, `#[cfg_attr(…, ignore)]`.
fn is_attribute(file: &SourceFile, index: usize) -> bool {
    let open = (0..index).rev().find(|&at| matches!(file.token(at), "[" | "]" | ";" | "{" | "}"));
    open.is_some_and(|open| {
        open > 0 && file.has(open - 1, &["#", "["]) && matches!(file.token(open + 1), "ignore" | "cfg_attr")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        check(&Tree::of(&[("a/src/a.rs", text)])).len()
    }

    #[test]
    fn empty_names_are_found() {
        for text in [
            "fn handle_packet() {}",
            "fn process_input() {}",
            "fn do_it() {}",
            "fn get_mtu() {}",
            "#[test] fn test_it() {}",
            "struct BufferManager;",
            "enum RouteHelper {}",
            "trait TimeUtils {}",
            "mod utils;",
        ] {
            assert_eq!(found(text), 1, "{text}");
        }
    }

    #[test]
    fn unfinished_work_is_found() {
        let hole = ["to", "do!"].concat();
        for text in [
            &*format!("fn a() {{ {hole}() }}"),
            "fn a() { b.unwrap() }",
            "#[ignore] #[test] fn a() {}",
            "#[cfg_attr(x, ignore = \"y\")] #[test] fn a() {}",
        ] {
            assert_eq!(found(text), 1, "{text}");
        }
    }

    #[test]
    fn names_that_say_something_are_free() {
        for text in [
            "fn handler() {}",
            "fn domain() {}",
            "fn getsockname() {}",
            "fn processed() {}",
            "fn a() { b.unwrap_or(c) }",
            "use clap::ignore;",
            "fn test_lines() {}",
            "#[test] fn a() { b.unwrap() }",
        ] {
            assert_eq!(found(text), 0, "{text}");
        }
    }
}
