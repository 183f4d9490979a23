//! Files of at most 600 lines of code, functions of at most 70, 120 with a reason.

use std::fmt::Write;

use super::Finding;
use crate::{
    rust::{Function, SourceFile},
    tree::Tree,
};

const FILE_LIMIT: usize = 600;
const FUNCTION_LIMIT: usize = 120;
const FUNCTION_LIMIT_WITHOUT_REASON: usize = 70;

/// Finds what has grown too long.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.sources {
        let lines = file.code_lines();
        if lines > FILE_LIMIT {
            let message = format!("{lines} lines of code, {FILE_LIMIT} are allowed: split by topic");
            findings.push(Finding::new(&file.path, 0, message));
        }
        findings.extend(counted_functions(file).filter_map(|function| check_function(file, function)));
    }
    findings
}

fn check_function(file: &SourceFile, function: &Function) -> Option<Finding> {
    let length = function.length();
    let limit = if file.is_annotated(function.line, "long:") {
        FUNCTION_LIMIT
    } else {
        FUNCTION_LIMIT_WITHOUT_REASON
    };
    let message = format!(
        "`{}` has {length} lines, {FUNCTION_LIMIT_WITHOUT_REASON} are allowed, {FUNCTION_LIMIT} with a comment `// long: why` above",
        function.name,
    );
    (length > limit).then(|| Finding::new(&file.path, function.line, message))
}

fn counted_functions(file: &SourceFile) -> impl Iterator<Item = &Function> {
    file.functions.iter().filter(|function| function.has_body && !function.test)
}

/// The lengths of functions and files in a few lines of text.
pub fn summary(tree: &Tree) -> String {
    let mut lengths: Vec<(usize, String)> = Vec::new();
    let (mut code, mut comments) = (0, 0);
    for file in &tree.sources {
        code += file.code_lines();
        comments += comment_lines(file);
        let of_function = |function: &Function| {
            (function.length(), format!("{}:{} {}", file.path, function.line, function.name))
        };
        lengths.extend(counted_functions(file).map(of_function));
    }
    lengths.sort();
    let mut text = String::new();
    let quantile =
        |share: usize| lengths.get((lengths.len() * share / 100).min(lengths.len().saturating_sub(1)));
    if let (Some(median), Some(p99), Some(longest)) = (quantile(50), quantile(99), lengths.last()) {
        let _ = writeln!(
            text,
            "functions: {}, lines: median {}, p99 {}, longest {} ({})",
            lengths.len(),
            median.0,
            p99.0,
            longest.0,
            longest.1
        );
    }
    let largest = tree.sources.iter().max_by_key(|file| file.code_lines());
    if let Some(file) = largest {
        let _ = writeln!(
            text,
            "files: {}, longest {} lines of code ({})",
            tree.sources.len(),
            file.code_lines(),
            file.path
        );
    }
    let test = test_lines(tree);
    let _ = writeln!(text, "lines: {code} of code, {test} of tests, {comments} of comments outside of tests");
    text
}

fn comment_lines(file: &SourceFile) -> usize {
    let is_all_test = !file.tokens.is_empty() && file.shipped().next().is_none();
    let first_test = (0..file.tokens.len())
        .find(|&index| file.is_test(index))
        .map_or(u32::MAX, |index| file.tokens[index].line);
    if is_all_test { 0 } else { file.comments.iter().filter(|comment| comment.line < first_test).count() }
}

fn test_lines(tree: &Tree) -> usize {
    let of_file = |file: &SourceFile| {
        let mut lines: Vec<u32> = (0..file.tokens.len())
            .filter(|&index| file.is_test(index))
            .map(|index| file.tokens[index].line)
            .collect();
        lines.dedup();
        lines.len()
    };
    tree.sources.iter().map(of_file).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(lines: usize) -> String {
        format!("fn a() {{\n{}}}\n", "b();\n".repeat(lines - 2))
    }

    fn found(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn a_function_of_71_lines_needs_a_reason_and_one_of_121_is_too_long() {
        assert_eq!(found("a/src/a.rs", &function(70)), 0);
        assert_eq!(found("a/src/a.rs", &function(71)), 1);
        assert_eq!(found("a/src/a.rs", &format!("// long: one table.\n{}", function(120))), 0);
        assert_eq!(found("a/src/a.rs", &format!("// long: one table.\n{}", function(121))), 1);
    }

    #[test]
    fn a_file_of_601_lines_of_code_is_too_long() {
        assert_eq!(found("a/src/a.rs", &"use a;\n\n// b\n".repeat(600)), 0);
        assert_eq!(found("a/src/a.rs", &"use a;\n".repeat(601)), 1);
    }

    #[test]
    fn tests_may_be_long() {
        assert_eq!(found("a/tests/a.rs", &function(700)), 0);
        assert_eq!(found("a/src/a.rs", &format!("#[cfg(test)] mod t {{\n{}}}", function(700))), 0);
    }

    #[test]
    fn the_summary_names_the_longest() {
        let text = summary(&Tree::of(&[("a/src/a.rs", "fn b() {}\nfn c() {\n}\n")]));
        assert!(text.contains("longest 2 (a/src/a.rs:2 c)"), "{text}");
    }
}
