//! No order of a hash map shows in what `stack` does: the same inputs give the same outputs.
//!
//! A heuristic by names: whatever is declared with a type that names a hash map or set, a field, a local, an alias of the
//! type, is not iterated in the module that declares it and those below; with a public field, in the whole crate. Where the
//! order cannot show, a comment `// order: …` at the statement says why.

use std::collections::BTreeSet;

use super::Finding;
use crate::{
    rust::{SourceFile, lexer::Kind},
    tree::Tree,
};

const CRATES: &[&str] = &["stack", "services", "proto"];
const TYPES: &[&str] = &["HashMap", "HashSet", "HashTable"];
const ITERATIONS: &[&str] = &[
    "iter",
    "iter_mut",
    "keys",
    "values",
    "values_mut",
    "drain",
    "into_iter",
    "into_keys",
    "into_values",
    "retain",
    "extract_if",
    "union",
    "intersection",
    "difference",
    "symmetric_difference",
    "iter_hash",
];

/// A thing that holds a hash map.
struct Holder<'tree> {
    name: &'tree str,
    /// The path of the file that declares it, without its ending.
    stem: &'tree str,
    is_public: bool,
}

/// Finds iterations over what is declared as a hash map.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    CRATES.iter().flat_map(|name| check_crate(&tree.crate_sources(name).collect::<Vec<_>>())).collect()
}

fn check_crate(files: &[&SourceFile]) -> Vec<Finding> {
    let types = type_names(files);
    let holders: Vec<_> = files.iter().flat_map(|file| holders(file, &types)).collect();
    let mut findings = Vec::new();
    for file in files {
        let reaches = |holder: &Holder<'_>| {
            let below = file
                .path
                .strip_prefix(holder.stem)
                .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'));
            holder.is_public || below
        };
        let names: BTreeSet<&str> =
            holders.iter().filter(|holder| reaches(holder)).map(|holder| holder.name).collect();
        check_file(file, &names, &mut findings);
    }
    findings
}

/// [`TYPES`] and the aliases that are made for them.
fn type_names<'tree>(files: &[&'tree SourceFile]) -> BTreeSet<&'tree str> {
    let mut names: BTreeSet<&str> = TYPES.iter().copied().collect();
    for file in files {
        for index in file.idents("type") {
            let end = (index..file.tokens.len()).find(|&end| file.token(end) == ";").unwrap_or(index);
            if (index..end).any(|inside| TYPES.contains(&file.token(inside))) {
                names.insert(file.token(index + 1));
            }
        }
    }
    names
}

fn holders<'tree>(file: &'tree SourceFile, types: &BTreeSet<&str>) -> Vec<Holder<'tree>> {
    let stem = file.path.trim_end_matches(".rs").trim_end_matches("/mod").trim_end_matches("/lib");
    let of_type = file.shipped().filter(|&index| types.contains(file.token(index)));
    of_type
        .filter_map(|index| {
            let name = holder_before(file, index)?;
            let before = if name == 0 { "" } else { file.token(name - 1) };
            Some(Holder { name: file.token(name), stem, is_public: matches!(before, "pub" | ")") })
        })
        .collect()
}

/// The word that `… : … HashMap` or `… = HashMap` declares, if `index` is the type.
fn holder_before(file: &SourceFile, index: usize) -> Option<usize> {
    let mut at = index.checked_sub(1)?;
    loop {
        let is_part_of_type = matches!(file.token(at), "<" | "&" | "mut")
            || matches!(file.tokens[at].kind, Kind::Ident | Kind::Lifetime);
        if file.token(at) == ":" && at > 0 && file.token(at - 1) == ":" {
            at = at.checked_sub(2)?;
        } else if matches!(file.token(at), ":" | "=") {
            let name = at.checked_sub(1)?;
            return (file.tokens[name].kind == Kind::Ident).then_some(name);
        } else if is_part_of_type {
            at = at.checked_sub(1)?;
        } else {
            return None;
        }
    }
}

fn check_file(file: &SourceFile, names: &BTreeSet<&str>, findings: &mut Vec<Finding>) {
    for index in file.shipped().filter(|&index| names.contains(file.token(index))) {
        let is_called = file.token(index + 1) == "."
            && ITERATIONS.contains(&file.token(index + 2))
            && file.token(index + 3) == "(";
        if !is_called && !is_looped_over(file, index) {
            continue;
        }
        let line = file.tokens[index].line;
        if !file.is_annotated(line, "order:") && !file.is_annotated(file.statement_line(index), "order:") {
            let message = format!("`{}` is iterated in an order that depends on hashes", file.token(index));
            findings.push(Finding::new(&file.path, line, message));
        }
    }
}

/// `for … in &mut self.name {`.
fn is_looped_over(file: &SourceFile, index: usize) -> bool {
    if file.token(index + 1) != "{" {
        return false;
    }
    let is_operand = |&at: &usize| {
        matches!(file.token(at), "." | "&" | "mut")
            || file.tokens[at].kind == Kind::Ident && file.token(at) != "in"
    };
    let before = (0..index).rev().find(|at| !is_operand(at));
    before.is_some_and(|at| file.token(at) == "in")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARATION: &str =
        "struct T { ours: HashMap<u8, u8, H>, pub(crate) seen: hashbrown::HashSet<u8, H>, list: Vec<u8> }";

    fn found(body: &str) -> usize {
        check(&Tree::of(&[(
            "crates/stack/src/a.rs",
            &format!("{DECLARATION} impl T {{ fn f(&self) {{ {body} }} }}"),
        )]))
        .len()
    }

    #[test]
    fn iterating_a_hash_map_is_found() {
        for body in [
            "self.ours.iter().next();",
            "for x in &self.ours { }",
            "for x in self.seen { }",
            "self.seen\n.drain();",
            "self.ours.retain(|_, _| true);",
        ] {
            assert_eq!(found(body), 1, "{body}");
        }
    }

    #[test]
    fn looking_up_and_lists_are_free() {
        for body in [
            "self.ours.get(&1);",
            "self.list.iter();",
            "for x in &self.list { }",
            "self.ours.len();",
            "if self.seen { }",
        ] {
            assert_eq!(found(body), 0, "{body}");
        }
    }

    #[test]
    fn a_reason_excuses() {
        assert_eq!(
            found("\n// order: the minimum is the same in any.\nlet least = self.ours.values().min();"),
            0
        );
        assert_eq!(found("\n// order:\nlet least = self.ours.values().min();"), 1, "a reason must be given");
    }

    #[test]
    fn locals_and_aliases_are_hash_maps_too() {
        assert_eq!(found("let mut m = HashMap::with_hasher(h); m.drain();"), 1);
        let text = "type Table<T> = HashMap<u8, T, H>; struct U { rows: Option<Table<u8>> } fn f(u: U) { u.rows.iter() }";
        assert_eq!(check(&Tree::of(&[("crates/stack/src/a.rs", text)])).len(), 1);
    }

    #[test]
    fn a_private_field_is_private_to_its_module() {
        let other = |path| {
            check(&Tree::of(&[("crates/stack/src/a.rs", DECLARATION), (path, "fn f() { x.ours.iter(); }")]))
                .len()
        };
        assert_eq!(other("crates/stack/src/a/below.rs"), 1);
        assert_eq!(other("crates/stack/src/b.rs"), 0);
        let public =
            [("crates/stack/src/a.rs", DECLARATION), ("crates/stack/src/b.rs", "fn f() { x.seen.iter(); }")];
        assert_eq!(check(&Tree::of(&public)).len(), 1);
    }
}
