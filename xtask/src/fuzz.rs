//! `cargo xtask fuzz` and `cargo xtask soak`: coverage-guided fuzzing of the targets in `fuzz/` on the stable compiler.
//!
//! `fuzz` is the short run of CI: it replays the committed corpora, then looks for more in the time it has, and
//! keeps nothing but the inputs that break a law. `soak` is the long run: what it finds to reach new code joins the
//! corpora. A target is a program in `fuzz/fuzz_targets/`; a crash leaves its input in `fuzz/artifacts/`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use crate::{packages, tree};

/// What cargo-fuzz passes to a nightly compiler, for ours: edges counted inline, and comparisons reported.
const INSTRUMENTATION: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

/// Seconds that one input may take, and megabytes that a target may: beyond them it counts as broken.
const LIMITS: [&str; 2] = ["-timeout=10", "-rss_limit_mb=1024"];

/// Runs `fuzz [--seconds N] [TARGET…]`: N seconds (120) shared by the targets, all of them if none is named.
pub fn fuzz(arguments: &[&str]) -> Result<(), String> {
    let plan = Plan::parse(arguments, "--seconds", 120)?;
    let programs = build(&plan.targets)?;
    let slice = (plan.amount / plan.targets.len() as u64).max(1);
    println!(
        "{:<12} {:>6} {:>7} {:>11} {:>11} {:>12} {:>9}",
        "target", "seeds", "edges", "cov: seeds", "cov: fuzz", "runs", "runs/s"
    );
    let broken = plan
        .targets
        .iter()
        .filter(|target| !report(Target { programs: &programs, name: target }.fuzz(slice)))
        .count();
    if broken == 0 { Ok(()) } else { Err(format!("{broken} of {} targets are broken", plan.targets.len())) }
}

/// Runs `soak [--minutes N] [TARGET…]`: N minutes (60) in rounds, each target a share of every round; new inputs that
/// reach new code join the committed corpora.
pub fn soak(arguments: &[&str]) -> Result<(), String> {
    let plan = Plan::parse(arguments, "--minutes", 60)?;
    let programs = build(&plan.targets)?;
    let end = Instant::now() + Duration::from_secs(plan.amount * 60);
    let mut broken = 0;
    while Instant::now() < end && broken == 0 {
        let left = end.saturating_duration_since(Instant::now()).as_secs();
        let slice = (left / plan.targets.len() as u64).clamp(1, 300);
        for name in &plan.targets {
            let target = Target { programs: &programs, name };
            broken += usize::from(!report(target.fuzz(slice)));
            target.merge()?;
        }
    }
    if broken == 0 { Ok(()) } else { Err(format!("{broken} targets are broken")) }
}

/// What was asked for on the command line.
struct Plan {
    amount: u64,
    targets: Vec<String>,
}

impl Plan {
    /// Reads `[option N] [TARGET…]`; all targets if none is named.
    fn parse(arguments: &[&str], option: &str, default: u64) -> Result<Self, String> {
        let known = known_targets()?;
        let mut plan = Self { amount: default, targets: Vec::new() };
        let mut words = arguments.iter().copied();
        while let Some(word) = words.next() {
            if word == option {
                let value = words.next().ok_or_else(|| format!("{option} takes a number"))?;
                plan.amount = value.parse().map_err(|_| format!("{option} {value}: not a number"))?;
            } else if known.iter().any(|target| target == word) {
                plan.targets.push(word.into());
            } else {
                return Err(format!("{word}: no such target; there are: {}", known.join(" ")));
            }
        }
        if plan.targets.is_empty() {
            plan.targets = known;
        }
        Ok(plan)
    }
}

/// The folder of the fuzz package.
fn folder() -> PathBuf {
    tree::root().join("fuzz")
}

/// The names of the programs in `fuzz_targets`, sorted.
fn known_targets() -> Result<Vec<String>, String> {
    let entries = files(&folder().join("fuzz_targets"))?;
    let stems = entries.iter().filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
    Ok(stems.collect())
}

/// The files in a folder, sorted; none if it does not exist.
fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(|error| format!("{}: {error}", folder.display()))?;
    paths.sort();
    Ok(paths)
}

/// Builds the targets with instrumentation and gives the folder of their programs.
///
/// The host is named as the target, so that build scripts and macros stay free of instrumentation.
fn build(targets: &[String]) -> Result<PathBuf, String> {
    let host = packages::host().map_err(|error| format!("rustc: {error}"))?;
    let mut cargo = Command::new(packages::cargo());
    cargo.args(["build", "--release", "--locked", "--target", &host]);
    cargo.arg("--manifest-path").arg(folder().join("Cargo.toml"));
    targets.iter().for_each(|target| {
        cargo.args(["--bin", target]);
    });
    cargo.env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION.join("\u{1f}")).env_remove("RUSTFLAGS");
    cargo.env("CARGO_TARGET_DIR", folder().join("target"));
    let status = cargo.status().map_err(|error| format!("cargo: {error}"))?;
    if !status.success() {
        return Err("the fuzz targets do not build".into());
    }
    Ok(folder().join("target").join(host).join("release"))
}

/// A built target.
#[derive(Clone, Copy)]
struct Target<'a> {
    programs: &'a Path,
    name: &'a str,
}

impl<'a> Target<'a> {
    /// The committed inputs.
    fn corpus(self) -> PathBuf {
        folder().join("corpus").join(self.name)
    }

    /// Inputs found by former runs here, not committed.
    fn grown(self) -> PathBuf {
        folder().join("target/grown").join(self.name)
    }

    /// Replays the corpus, then looks for more for some seconds.
    fn fuzz(self, seconds: u64) -> Result<Figures<'a>, String> {
        let corpus = self.corpus();
        let seeds = files(&corpus)?.len();
        let replayed = if seeds == 0 { Run::default() } else { self.run(&["-runs=0".into()], &[&corpus])? };
        let fuzzed = self.run(&[format!("-max_total_time={seconds}")], &[&self.grown(), &corpus])?;
        Ok(Figures { name: self.name, seeds, replayed, fuzzed })
    }

    /// Copies from the grown inputs those that reach what the corpus does not.
    fn merge(self) -> Result<(), String> {
        self.run(&["-set_cover_merge=1".into(), "-use_counters=0".into()], &[&self.corpus(), &self.grown()])
            .map(|_| ())
    }

    /// Runs the target over folders of inputs; the first takes new ones.
    fn run(self, options: &[String], folders: &[&Path]) -> Result<Run, String> {
        let artifacts = folder().join("artifacts").join(self.name);
        for folder in folders.iter().copied().chain([&*artifacts]) {
            fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let program = self.programs.join(self.name);
        let mut command = Command::new(&program);
        command.args(LIMITS).args(options).arg("-print_final_stats=1").args(folders);
        command.arg(format!("-artifact_prefix={}/", artifacts.display()));
        let output = command.output().map_err(|error| format!("{}: {error}", program.display()))?;
        Run::read(&output).map_err(|reason| format!("{}: {reason}", self.name))
    }
}

/// What one run of a target printed.
#[derive(Default)]
struct Run {
    /// Edges in the program.
    edges: u64,
    /// Edges that were reached.
    cov: u64,
    runs: u64,
    rate: u64,
}

impl Run {
    /// The figures of a run that ended well, or the end of what a broken one said.
    fn read(output: &Output) -> Result<Self, String> {
        let text = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let lines: Vec<_> = text.lines().collect();
            return Err(format!("{}\n{}", output.status, lines[lines.len().saturating_sub(60)..].join("\n")));
        }
        let last = |key: &str| text.lines().rev().find_map(|line| number_after(line, key)).unwrap_or(0);
        Ok(Self {
            edges: last("INFO: Loaded 1 modules   ("),
            cov: last(" cov: "),
            runs: last("stat::number_of_executed_units: "),
            rate: last("stat::average_exec_per_sec: "),
        })
    }
}

/// The number behind `key` in a line.
fn number_after(line: &str, key: &str) -> Option<u64> {
    let (_, rest) = line.split_once(key)?;
    let digits = rest.trim_start();
    digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())].parse().ok()
}

/// A row of the table.
struct Figures<'a> {
    name: &'a str,
    seeds: usize,
    replayed: Run,
    fuzzed: Run,
}

/// Prints a row, or why there is none; gives whether the target held.
fn report(figures: Result<Figures<'_>, String>) -> bool {
    match &figures {
        Ok(Figures { name, seeds, replayed, fuzzed }) => println!(
            "{name:<12} {seeds:>6} {:>7} {:>11} {:>11} {:>12} {:>9}",
            fuzzed.edges, replayed.cov, fuzzed.cov, fuzzed.runs, fuzzed.rate
        ),
        Err(reason) => println!("{reason}"),
    }
    figures.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_the_fuzzer_prints() {
        let line = "#1923029\tDONE   cov: 211 ft: 549 corp: 169/11529b lim: 4096 exec/s: 384605 rss: 28Mb";
        assert_eq!(number_after(line, " cov: "), Some(211));
        assert_eq!(
            number_after("stat::number_of_executed_units: 77", "stat::number_of_executed_units: "),
            Some(77)
        );
        assert_eq!(number_after("nothing", " cov: "), None);
    }

    #[test]
    fn every_target_has_a_program_and_seeds() {
        let known = known_targets().expect("the folder of targets");
        assert!(known.iter().any(|target| target == "tcp"));
        let bare: Vec<_> = known
            .iter()
            .filter(|t| files(&folder().join("corpus").join(t)).is_ok_and(|f| f.is_empty()))
            .collect();
        assert!(bare.is_empty(), "without seeds: {bare:?}");
    }

    #[test]
    fn a_target_that_does_not_exist_is_refused() {
        let refused = Plan::parse(&["nonsense"], "--seconds", 1).map(|_| ());
        assert!(refused.expect_err("no such target").starts_with("nonsense: no such target"));
        let missing = Plan::parse(&["--seconds"], "--seconds", 1).map(|_| ());
        assert_eq!(missing, Err("--seconds takes a number".into()));
    }
}
