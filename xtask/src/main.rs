#![forbid(unsafe_code)]
//! `cargo xtask COMMAND`: see `cargo xtask help`.

use std::process::ExitCode;

use xtask::{bench, fuzz, man, no_std, suite, tidy, tree::Tree};

const USAGE: &str = "usage: cargo xtask COMMAND

  test    run every test: format, lints, laws, units, worlds, whole system, documents, no-std, fuzzing
  missing print the Debian packages that the tests need and this machine lacks
  bench   [--json] [--repetitions N] [ROW…]: measure beside veth, smoltcp and the bare tap
  tidy    check the laws of the house (CONTRIBUTING.md) and print the sizes of files and functions
  fuzz    [--seconds N] [TARGET…]: replay the corpora, then fuzz for N seconds (120) shared by the targets
  soak    [--minutes N] [TARGET…]: fuzz for N minutes (60) and add to the corpora what reaches new code
  man     write docs/man anew from the definitions of the commands
  no-std  build and run the program without the standard library
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["bench", ref arguments @ ..] => ended("bench", bench::run(arguments)),
        ["test"] => ended("test", suite::test()),
        ["missing"] => ended("missing", suite::print_missing()),
        ["tidy"] => tidy(),
        ["fuzz", ref arguments @ ..] => ended("fuzz", fuzz::fuzz(arguments)),
        ["soak", ref arguments @ ..] => ended("soak", fuzz::soak(arguments)),
        ["man"] => ended("man", man::run()),
        ["no-std"] => ended("no-std", no_std::run()),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// The exit status of a command, its reason printed if it failed.
fn ended(command: &str, result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("cargo xtask {command}: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn tidy() -> ExitCode {
    match Tree::load().map(|tree| tidy::run(&tree)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(findings) => {
            println!("{findings} findings; CONTRIBUTING.md gives the reasons of each law");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("cargo xtask tidy: {error}");
            ExitCode::FAILURE
        }
    }
}
