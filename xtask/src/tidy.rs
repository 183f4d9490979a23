//! The laws of the house as checks: `cargo xtask tidy`, and the same in `cargo test -p xtask`.
//!
//! A [`Law`] is a pure function of the [`Tree`]; each has a file here, with tests that show it can fail. Why they are laws
//! stands in CONTRIBUTING.md. What rustc and clippy can check is left to them (`[workspace.lints]`).

use std::fmt::{Display, Formatter, Result};

use crate::tree::Tree;

mod arrows;
mod counters;
mod documents;
mod duplicates;
mod features;
mod hands;
mod hash_order;
mod layers;
mod licences;
mod names;
mod scenarios;
mod sizes;
mod unsafety;
mod words;

pub use sizes::summary;

/// Something that breaks a law.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file.
    pub path: String,
    /// The line, from 1; 0 for the whole file.
    pub line: u32,
    /// What is wrong, and what to do instead.
    pub message: String,
}

impl Finding {
    fn new(path: &str, line: u32, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// A rule with a short name, as in CONTRIBUTING.md.
#[derive(Clone, Copy)]
pub struct Law {
    /// Its short name.
    pub name: &'static str,
    /// What it finds in a tree.
    pub check: fn(&Tree) -> Vec<Finding>,
}

/// All laws.
pub const LAWS: &[Law] = &[
    Law { name: "arrows", check: arrows::check },
    Law { name: "layers", check: layers::check },
    Law { name: "no-hands", check: hands::check },
    Law { name: "hash-order", check: hash_order::check },
    Law { name: "unsafe-at-the-edge", check: unsafety::check },
    Law { name: "sizes", check: sizes::check },
    Law { name: "names", check: names::check },
    Law { name: "words", check: words::check },
    Law { name: "licences", check: licences::check },
    Law { name: "one-version", check: duplicates::check },
    Law { name: "documents", check: documents::check },
    Law { name: "features-proven", check: features::check },
    Law { name: "counters-proven", check: counters::check },
    Law { name: "scenarios-twice", check: scenarios::check },
];

impl Law {
    /// The law of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        LAWS.iter().find(|law| law.name == name)
    }
}

/// Prints what breaks which law, and the sizes; how many findings there were.
pub fn run(tree: &Tree) -> usize {
    let mut total = 0;
    for law in LAWS {
        let mut findings = (law.check)(tree);
        findings.sort();
        total += findings.len();
        for finding in findings {
            println!("{}: {finding}", law.name);
        }
    }
    print!("{}", summary(tree));
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_have_names_of_their_own() {
        let mut names: Vec<_> = LAWS.iter().map(|law| law.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), LAWS.len());
    }
}
