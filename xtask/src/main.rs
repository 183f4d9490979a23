#![forbid(unsafe_code)]
//! `cargo xtask COMMAND`: see `cargo xtask help`.

use std::process::ExitCode;

use xtask::{tidy, tree::Tree};

const USAGE: &str = "usage: cargo xtask COMMAND

  tidy    check the laws of the house (CONTRIBUTING.md) and print the sizes of files and functions
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["tidy"] => tidy(),
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
