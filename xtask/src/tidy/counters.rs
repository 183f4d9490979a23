//! Every counter and every reason to drop a packet is named in a test: somebody has seen it rise.

use std::collections::BTreeSet;

use super::Finding;
use crate::{
    rust::{SourceFile, lexer::Kind},
    tree::Tree,
};

/// Where they are declared, as `counters! { Name { Variant "text"; … } }`.
const DECLARED: &str = "crates/proto/src/counters.rs";
const MACRO: &str = "counters";

/// A variant of one of the enums.
#[derive(Debug, PartialEq, Eq)]
struct Counter<'text> {
    of: &'text str,
    name: &'text str,
    line: u32,
}

/// Finds counters that no test names.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(file) = tree.sources.iter().find(|file| file.path == DECLARED) else {
        return vec![Finding::new(DECLARED, 0, "is missing")];
    };
    let declared = declared(file);
    if declared.is_empty() {
        return vec![Finding::new(DECLARED, 0, format!("declares nothing in `{MACRO}!`"))];
    }
    let named = named_in_tests(tree);
    let unseen = declared.into_iter().filter(|counter| !named.contains(&(counter.of, counter.name)));
    unseen
        .map(|counter| {
            Finding::new(DECLARED, counter.line, format!("no test names `{}::{}`", counter.of, counter.name))
        })
        .collect()
}

fn declared(file: &SourceFile) -> Vec<Counter<'_>> {
    let mut counters = Vec::new();
    for call in file.idents(MACRO).filter(|&index| file.has(index + 1, &["!", "{"])) {
        let Some(open) = (call + 3..file.tokens.len()).find(|&index| file.token(index) == "{") else {
            continue;
        };
        let of = file.token(open - 1);
        let mut index = open + 1;
        while index < file.tokens.len() && file.token(index) != "}" {
            let token = &file.tokens[index];
            if token.kind == Kind::Ident
                && file.tokens.get(index + 1).is_some_and(|text| text.kind == Kind::Text)
            {
                counters.push(Counter { of, name: file.token(index), line: token.line });
            }
            index += 1;
        }
    }
    counters
}

/// Every `Name::Variant` in test code.
fn named_in_tests(tree: &Tree) -> BTreeSet<(&str, &str)> {
    let mut named = BTreeSet::new();
    for file in &tree.sources {
        let paths =
            (0..file.tokens.len()).filter(|&index| file.is_test(index) && file.has(index + 1, &[":", ":"]));
        named.extend(paths.map(|index| (file.token(index), file.token(index + 3))));
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARATION: &str = "macro_rules! counters { ($x:ident) => {} }
counters! { /// All.
Counter { Sent \"sent\"; Received \"received\"; } }
counters! { DropReason { Runt \"short\"; } }";

    fn found(test: &str) -> Vec<String> {
        let tree = Tree::of(&[(DECLARED, DECLARATION), ("crates/stack/src/a.rs", test)]);
        check(&tree).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn counters_that_no_test_names_are_found() {
        let test = "fn f() { Counter::Sent } #[test] fn t() { assert(Counter::Received, DropReason::Runt) }";
        assert_eq!(found(test), ["no test names `Counter::Sent`"]);
    }

    #[test]
    fn a_declaration_that_cannot_be_read_is_found() {
        assert_eq!(check(&Tree::of(&[(DECLARED, "enum Counter { A }")])).len(), 1);
        assert_eq!(check(&Tree::default()).len(), 1);
    }
}
