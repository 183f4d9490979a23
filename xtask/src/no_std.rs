//! `cargo xtask no-std`: builds the program in `tests/no_std`, which has no standard library, and runs it.
//!
//! That it links is the proof that nothing below the stack needs `std`: the program has a panic handler of its own, and
//! there may be only one. That it ends well says that the stack answered.

use std::{
    path::Path,
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use crate::{packages, tree};

/// How long the program may take; it takes a millisecond.
const LIMIT: Duration = Duration::from_secs(10);

/// Builds and runs the program; fails if it does not link, panics, or hangs.
pub fn run() -> Result<(), String> {
    let folder = tree::root().join("tests/no_std");
    let program = build(&folder)?;
    let mut child =
        Command::new(&program).spawn().map_err(|error| format!("{}: {error}", program.display()))?;
    match wait(&mut child)? {
        status if status.success() => Ok(()),
        status => Err(format!("the program ended with {status}")),
    }
}

/// Builds the program and gives its path.
fn build(folder: &Path) -> Result<std::path::PathBuf, String> {
    let mut cargo = Command::new(packages::cargo());
    cargo.args(["build", "--release", "--locked", "--manifest-path"]).arg(folder.join("Cargo.toml"));
    cargo.env("CARGO_TARGET_DIR", folder.join("target"));
    match cargo.status() {
        Ok(status) if status.success() => Ok(folder.join("target/release/rumpnet-no-std")),
        Ok(_) => Err("a stack without std does not link".into()),
        Err(error) => Err(format!("cargo: {error}")),
    }
}

/// Waits for the end of a child, and brings it about after [`LIMIT`].
fn wait(child: &mut Child) -> Result<ExitStatus, String> {
    let end = Instant::now() + LIMIT;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() < end => thread::sleep(Duration::from_millis(1)),
            Ok(None) => {
                let _ = child.kill();
                return Err(format!("the program runs for more than {LIMIT:?}"));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}
