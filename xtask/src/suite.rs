//! `cargo xtask test`: every test there is, step by step; `cargo xtask missing`: what the machine lacks for them.
//!
//! The order is that of what fails fastest. The first step that fails ends the run with the command that repeats it.
//! Whole-system tests name the programs they need with `require("program", "package")`; nothing is skipped for want
//! of one, it is named with its Debian package. What a step does is elsewhere: in cargo, [`crate::tidy`],
//! [`crate::fuzz`] and [`crate::no_std`].

use std::{
    collections::BTreeMap, env, os::unix::fs::MetadataExt, path::Path, process::Command, time::Instant,
};

use crate::{
    packages::{self},
    rust::lexer::Kind,
    tree::Tree,
};

/// What every whole-system test needs, and its Debian package.
const ALWAYS: &[(&str, &str)] =
    &[("ip", "iproute2"), ("python3", "python3"), ("timeout", "coreutils"), ("gcc", "gcc")];

/// Seconds that the short fuzzing takes, shared by its targets.
const FUZZ_SECONDS: &str = "120";

/// A step: its name, and the words that repeat it alone.
struct Step {
    name: &'static str,
    words: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
}

/// All steps after the look at the machine.
const STEPS: &[Step] = &[
    Step::cargo("format", &["fmt", "--all", "--check"]),
    Step::cargo(
        "lints",
        &["clippy", "--workspace", "--all-targets", "--all-features", "--locked", "--", "-D", "warnings"],
    ),
    Step::cargo("laws", &["xtask", "tidy"]),
    Step::cargo("tests", &["test", "--workspace", "--all-features", "--locked"]),
    Step {
        variables: &[("RUSTDOCFLAGS", "-D warnings")],
        ..Step::cargo("documents", &["doc", "--workspace", "--all-features", "--no-deps", "--locked"])
    },
    Step::cargo("no-std", &["xtask", "no-std"]),
    Step::cargo("fuzzing", &["xtask", "fuzz", "--seconds", FUZZ_SECONDS]),
];

impl Step {
    const fn cargo(name: &'static str, words: &'static [&'static str]) -> Self {
        Self { name, words, variables: &[] }
    }

    /// As one types it into a shell.
    fn line(&self) -> String {
        let variables = self.variables.iter().map(|(name, value)| format!("{name}='{value}' "));
        format!("{}cargo {}", variables.collect::<String>(), self.words.join(" "))
    }

    fn run(&self) -> Result<(), String> {
        let mut cargo = Command::new(packages::cargo());
        cargo.args(self.words).envs(self.variables.iter().copied()).current_dir(crate::tree::root());
        match cargo.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{} failed ({status}); repeat it with\n  {}", self.name, self.line())),
            Err(error) => Err(format!("cargo: {error}")),
        }
    }
}

/// Runs every step; stops at the first that fails.
pub fn test() -> Result<(), String> {
    let tree = Tree::load().map_err(|error| error.to_string())?;
    machine(&tree)?;
    let begun = Instant::now();
    for (number, step) in STEPS.iter().enumerate() {
        println!("[{}/{}] {}: {}", number + 1, STEPS.len(), step.name, step.line());
        let start = Instant::now();
        step.run()?;
        println!("ok: {} ({:.0} s)", step.name, start.elapsed().as_secs_f32());
    }
    println!("ok: all {} steps ({:.0} s)", STEPS.len(), begun.elapsed().as_secs_f32());
    Ok(())
}

/// Prints the Debian packages that the tests need and the machine lacks, one a line.
pub fn print_missing() -> Result<(), String> {
    let tree = Tree::load().map_err(|error| error.to_string())?;
    missing(&required(&tree)).values().for_each(|package| println!("{package}"));
    Ok(())
}

/// Fails with the names of what is missing on this machine.
fn machine(tree: &Tree) -> Result<(), String> {
    let user = std::fs::metadata("/proc/self").map_err(|error| format!("/proc: {error}"))?.uid();
    if user != 0 {
        return Err(
            "whole-system tests make network namespaces, so they need root: sudo -E cargo xtask test".into(),
        );
    }
    let missing = missing(&required(tree));
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<_> = missing.keys().map(|program| format!("{program} is missing")).collect();
    let packages: Vec<_> = missing.values().copied().collect();
    Err(format!("{}\n  apt-get install {}", programs.join(", "), packages.join(" ")))
}

/// Programs by name, with their packages: what the tests in `tests/`, here and of each crate, ask for with `require`.
fn required(tree: &Tree) -> BTreeMap<&str, &str> {
    let mut required: BTreeMap<_, _> = ALWAYS.iter().copied().collect();
    let is_test = |path: &str| path.starts_with("tests/") || path.contains("/tests/");
    for file in tree.sources.iter().filter(|file| is_test(&file.path)) {
        for call in file.idents("require").filter(|&index| file.has(index + 1, &["("])) {
            let text = |index: usize| {
                let token = file.tokens.get(index)?;
                (token.kind == Kind::Text).then(|| file.token(index).trim_matches('"'))
            };
            if let (Some(program), Some(package)) = (text(call + 2), text(call + 4)) {
                required.insert(program, package);
            }
        }
    }
    required
}

/// Those of the programs that are not in the path.
fn missing<'text>(required: &BTreeMap<&'text str, &'text str>) -> BTreeMap<&'text str, &'text str> {
    let path = env::var_os("PATH").unwrap_or_default();
    let is_there = |program: &str| env::split_paths(&path).any(|folder| is_program(&folder.join(program)));
    required
        .iter()
        .filter(|(program, _)| !is_there(program))
        .map(|(name, package)| (*name, *package))
        .collect()
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_those_that_tests_ask_for() {
        let source = "#[test] fn t() { require(\"arping\", \"iputils-arping\"); require(name, package); }";
        let tree =
            Tree::of(&[("tests/a.rs", source), ("crates/a/src/lib.rs", "fn f() { require(\"x\", \"y\") }")]);
        let required = required(&tree);
        assert_eq!(required.get("arping"), Some(&"iputils-arping"));
        assert_eq!(required.len(), ALWAYS.len() + 1);
    }

    #[test]
    fn only_programs_that_are_not_there_are_missing() {
        let required = BTreeMap::from([("sh", "dash"), ("no-such-program", "no-such-package")]);
        assert_eq!(missing(&required), BTreeMap::from([("no-such-program", "no-such-package")]));
    }

    #[test]
    fn a_step_is_repeated_by_the_line_it_prints() {
        let lines: Vec<_> = STEPS.iter().map(Step::line).collect();
        assert!(lines.contains(
            &"RUSTDOCFLAGS='-D warnings' cargo doc --workspace --all-features --no-deps --locked".to_owned()
        ));
        assert!(lines.contains(&"cargo xtask tidy".to_owned()));
    }
}
