//! Documents are there, short enough to be read, and point at what exists.

use std::collections::BTreeMap;

use super::{Finding, LAWS};
use crate::tree::Tree;

const CONTRIBUTING: &str = "CONTRIBUTING.md";
const CHANGELOG: &str = "CHANGELOG.md";
/// Documents at the root without which a newcomer is lost.
const REQUIRED: &[&str] = &["README.md", "ARCHITECTURE.md", CHANGELOG, CONTRIBUTING];
const CONTRIBUTING_LIMIT: usize = 300;

const DECISIONS: &str = "docs/adr/";
/// A page.
const DECISION_LIMIT: usize = 90;

/// Finds documents that are missing, too long or point nowhere.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = check_presence(tree);
    check_contributing(tree, &mut findings);
    check_changelog(tree, &mut findings);
    check_decisions(tree, &mut findings);
    for (path, text) in tree.texts.iter().filter(|(path, _)| path.ends_with(".md")) {
        check_links(tree, path, text, &mut findings);
    }
    findings
}

fn check_presence(tree: &Tree) -> Vec<Finding> {
    let of_crates = tree.crate_folders().into_iter().map(|folder| format!("crates/{folder}/README.md"));
    let required = REQUIRED.iter().map(|path| (*path).to_owned()).chain(of_crates);
    required.filter(|path| !tree.exists(path)).map(|path| Finding::new(&path, 0, "is missing")).collect()
}

/// Whoever is stopped by a law must find its reason by its name.
fn check_contributing(tree: &Tree, findings: &mut Vec<Finding>) {
    let Some(text) = tree.texts.get(CONTRIBUTING) else { return };
    let lines = text.lines().count();
    if lines > CONTRIBUTING_LIMIT {
        findings.push(Finding::new(CONTRIBUTING, 0, format!("{lines} lines, {CONTRIBUTING_LIMIT} are read")));
    }
    let untold = LAWS.iter().filter(|law| !text.contains(&format!("**{}**", law.name)));
    findings.extend(
        untold.map(|law| Finding::new(CONTRIBUTING, 0, format!("the law `{}` is not explained", law.name))),
    );
}

fn check_changelog(tree: &Tree, findings: &mut Vec<Finding>) {
    let Some(text) = tree.texts.get(CHANGELOG) else { return };
    let is_unreleased = |line: &str| line.starts_with("## ") && line.contains("Unreleased");
    if !text.lines().any(is_unreleased) {
        findings.push(Finding::new(CHANGELOG, 0, "has no section `## [Unreleased]`"));
    }
}

fn check_decisions(tree: &Tree, findings: &mut Vec<Finding>) {
    let mut numbers: BTreeMap<&str, &str> = BTreeMap::new();
    for (path, text) in &tree.texts {
        let Some(name) = path.strip_prefix(DECISIONS).filter(|name| *name != "README.md") else { continue };
        let Some(number) = number(name) else {
            findings.push(Finding::new(path, 0, "a decision is named `NNNN-what-was-decided.md`"));
            continue;
        };
        if let Some(other) = numbers.insert(number, path) {
            findings.push(Finding::new(path, 0, format!("has the number of {other}")));
        }
        let lines = text.lines().count();
        if lines > DECISION_LIMIT {
            findings.push(Finding::new(
                path,
                0,
                format!("{lines} lines, a decision has one page: {DECISION_LIMIT}"),
            ));
        }
    }
}

/// The four digits of `0001-words-in-lower-case.md`.
fn number(name: &str) -> Option<&str> {
    let (number, words) = name.strip_suffix(".md")?.split_at_checked(4)?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    let is_title = words.len() > 1 && words.starts_with('-');
    let is_kebab =
        words.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (is_number && is_title && is_kebab).then_some(number)
}

fn check_links(tree: &Tree, path: &str, text: &str, findings: &mut Vec<Finding>) {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    for (line, target) in links(text) {
        let is_elsewhere = target.contains("://") || target.starts_with("mailto:") || target.starts_with('#');
        let file = target.split('#').next().unwrap_or_default();
        if !is_elsewhere && !resolve(folder, file).is_some_and(|file| tree.exists(&file)) {
            findings.push(Finding::new(path, line, format!("the link `{target}` leads nowhere")));
        }
    }
}

/// The targets of `[text](target)` and `[label]: target` outside of code, with their lines.
fn links(text: &str) -> Vec<(u32, &str)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let definition = line.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        found.extend(definition.map(|(_, target)| (number, target.split(' ').next().unwrap_or_default())));
        let prose = line.split('`').step_by(2);
        found.extend(prose.flat_map(inline_links).map(|target| (number, target)));
    }
    found
}

fn inline_links(prose: &str) -> impl Iterator<Item = &str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next())
}

/// A relative path from `folder`, without dots; none if it leaves the repository.
fn resolve(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)], about: &str) -> Vec<String> {
        let findings = check(&Tree::of(files)).into_iter().map(|finding| finding.to_string());
        findings.filter(|finding| finding.contains(about)).collect()
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let links = "[a](b.md) [c](../e.md#f) [h](https://x.y/z) `[i](j)`\n```\n[k](l)\n```\n[m](#n)\n[o]: p.md\n[q](..)";
        assert_eq!(
            found(&[("docs/a.md", links), ("docs/b.md", ""), ("e.md", "")], "leads nowhere"),
            ["docs/a.md:6: the link `p.md` leads nowhere"],
        );
        assert_eq!(found(&[("a.md", "[a](../b)")], "leads nowhere").len(), 1, "out of the repository");
    }

    #[test]
    fn a_link_whose_text_is_code_is_a_link() {
        assert_eq!(found(&[("a.md", "[`b`](b.md)")], "leads nowhere").len(), 1);
    }

    #[test]
    fn decisions_have_numbers_of_their_own_and_one_page() {
        let page = "line\n".repeat(91);
        let files = [
            ("docs/adr/0001-a.md", ""),
            ("docs/adr/0001-b.md", ""),
            ("docs/adr/2-c.md", ""),
            ("docs/adr/0003-d.md", &*page),
        ];
        assert_eq!(found(&files, "docs/adr").len(), 3);
        assert!(found(&files[..1], "docs/adr").is_empty());
    }

    #[test]
    fn missing_documents_are_found() {
        assert_eq!(found(&[("crates/a/Cargo.toml", "")], "crates/a/README.md").len(), 1);
        assert_eq!(found(&[], "is missing").len(), REQUIRED.len());
    }

    #[test]
    fn a_changelog_has_an_unreleased_section() {
        assert_eq!(found(&[(CHANGELOG, "# Changelog\n")], CHANGELOG).len(), 1);
        assert!(found(&[(CHANGELOG, "# Changelog\n\n## [Unreleased]\n")], CHANGELOG).is_empty());
    }

    #[test]
    fn a_law_without_a_reason_is_found() {
        assert_eq!(found(&[(CONTRIBUTING, "**arrows**")], "is not explained").len(), LAWS.len() - 1);
    }
}
