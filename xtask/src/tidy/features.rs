//! `docs/features.md` names for every protocol element, option and command a test, and the test exists.

use std::collections::BTreeSet;

use super::Finding;
use crate::{rust::SourceFile, tree::Tree};

const TABLE: &str = "docs/features.md";
const COLUMNS: usize = 4;

/// A row of the table.
struct Row<'text> {
    line: u32,
    area: &'text str,
    element: &'text str,
    source: &'text str,
    tests: Vec<&'text str>,
}

/// Finds rows without a test, rows out of order, and rows told twice.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.texts.get(TABLE) else {
        return vec![Finding::new(TABLE, 0, "is missing")];
    };
    let mut findings = Vec::new();
    let rows = rows(text, &mut findings);
    for row in &rows {
        check_row(tree, row, &mut findings);
    }
    let mut seen = BTreeSet::new();
    let told_twice = rows.iter().filter(|row| !seen.insert((row.area, row.element)));
    findings.extend(
        told_twice.map(|row| Finding::new(TABLE, row.line, format!("`{}` is told twice", row.element))),
    );
    let unsorted = rows.windows(2).filter(|pair| pair[0].area > pair[1].area);
    findings.extend(unsorted.map(|pair| {
        Finding::new(TABLE, pair[1].line, format!("area `{}` comes before `{}`", pair[1].area, pair[0].area))
    }));
    findings
}

/// The rows behind the table's head.
fn rows<'text>(text: &'text str, findings: &mut Vec<Finding>) -> Vec<Row<'text>> {
    let mut rows = Vec::new();
    let lines = (1..).zip(text.lines()).skip_while(|(_, line)| !line.starts_with("|--")).skip(1);
    for (line, row) in lines.filter(|(_, line)| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim().trim_matches('|').split(" | ").map(str::trim).collect();
        let [area, element, source, tests] = cells[..] else {
            findings.push(Finding::new(TABLE, line, format!("{} columns instead of {COLUMNS}", cells.len())));
            continue;
        };
        rows.push(Row { line, area, element, source, tests: tests.split('`').skip(1).step_by(2).collect() });
    }
    rows
}

fn check_row(tree: &Tree, row: &Row<'_>, findings: &mut Vec<Finding>) {
    if row.tests.is_empty() || row.source.is_empty() {
        findings.push(Finding::new(TABLE, row.line, format!("`{}` has no test or no source", row.element)));
    }
    for test in row.tests.iter().filter(|test| !is_test(tree, test)) {
        findings.push(Finding::new(TABLE, row.line, format!("there is no test `{test}`")));
    }
}

/// Whether `name` is `fuzz/target`, `crate::module::test` or `file::test` of something that exists.
fn is_test(tree: &Tree, name: &str) -> bool {
    if let Some(target) = name.strip_prefix("fuzz/") {
        return tree.exists(&format!("fuzz/fuzz_targets/{target}.rs"));
    }
    let segments: Vec<&str> = name.split("::").collect();
    let Some((test, place)) = segments.split_last() else { return false };
    let bears =
        |file: &SourceFile| file.functions.iter().any(|function| function.is_case && function.name == *test);
    !place.is_empty() && tree.sources.iter().any(|file| is_place(tree, file, place) && bears(file))
}

/// Whether `place`, a crate and modules or the name of a file with tests, leads to `file`.
fn is_place(tree: &Tree, file: &SourceFile, place: &[&str]) -> bool {
    let modules = match folder_of(tree, place[0]) {
        Some(folder) if folder != file.crate_folder() => return false,
        Some(_) => &place[1..],
        None => place,
    };
    match file.module() {
        Some(module) => place.len() > modules.len() && modules.starts_with(&module),
        None => {
            let stem = file
                .path
                .trim_end_matches(".rs")
                .trim_end_matches("/main")
                .rsplit('/')
                .next()
                .unwrap_or_default();
            modules.first().is_none_or(|first| *first == stem || file.path.contains(&format!("/{first}/")))
        }
    }
}

/// The folder of a crate by the name of its library or folder; other first words name files.
fn folder_of<'tree>(tree: &'tree Tree, name: &str) -> Option<&'tree str> {
    let short = match name {
        "rumpnet" => "rumpnet",
        "rumpnet_cli" => "rump",
        _ => name.strip_prefix("rumpnet_").unwrap_or(name),
    };
    tree.crate_folders().into_iter().chain(["tests", "xtask"]).find(|folder| *folder == short)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# Features\n\n| area | element | source | test |\n|---|---|---|---|\n";

    fn found(rows: &str) -> Vec<String> {
        let table = format!("{HEAD}{rows}");
        let tree = Tree::of(&[
            (TABLE, &table),
            ("crates/wire/Cargo.toml", ""),
            ("crates/wire/src/arp.rs", "#[cfg(test)] mod tests { #[test] fn a_claim() {} fn no_claim() {} }"),
            ("crates/wire/tests/captured.rs", "#[test] fn from_the_net() {}"),
            ("fuzz/fuzz_targets/arp.rs", ""),
        ]);
        check(&tree).into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn rows_with_their_tests_stand() {
        let rows = "| a | one | RFC 1 | `rumpnet_wire::arp::tests::a_claim` |\n| a | two | RFC 1 | `wire::arp::tests::a_claim`, `fuzz/arp` |\n| b | three | RFC 1 | `captured::from_the_net` |\n";
        assert!(found(rows).is_empty(), "{:?}", found(rows));
    }

    #[test]
    fn tests_that_do_not_exist_are_found() {
        for test in [
            "rumpnet_wire::arp::tests::other",
            "rumpnet_wire::arp::tests::no_claim",
            "rumpnet_wire::ipv4::tests::a_claim",
            "elsewhere::from_the_net",
            "from_the_net",
            "fuzz/none",
        ] {
            assert_eq!(found(&format!("| a | one | RFC 1 | `{test}` |\n")).len(), 1, "{test}");
        }
    }

    #[test]
    fn rows_without_a_test_twice_or_out_of_order_are_found() {
        assert_eq!(found("| a | one | RFC 1 | |\n").len(), 1);
        assert_eq!(found("| a | one | `fuzz/arp` |\n").len(), 1);
        assert_eq!(found("| a | one | RFC 1 | `fuzz/arp` |\n| a | one | RFC 2 | `fuzz/arp` |\n").len(), 1);
        assert_eq!(found("| b | one | RFC 1 | `fuzz/arp` |\n| a | one | RFC 1 | `fuzz/arp` |\n").len(), 1);
    }
}
