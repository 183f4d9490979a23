//! `cargo xtask bench [--json] [--repetitions N] [ROW…]`: builds the bench and runs it.
//!
//! The bench itself is the package `rumpnet-bench`. It makes network namespaces and taps, so that it needs root: sudo(8) is asked
//! where we are somebody else.

use std::{os::unix::fs::MetadataExt, process::Command};

/// Builds everything in release and measures; fails if that could not be done, whatever the figures are.
pub fn run(words: &[&str]) -> Result<(), String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--quiet", "--package", "rumpnet-bench", "--package", "rumpnet-cli"]);
    succeed(&mut cargo)?;
    succeed(as_root(&program()).args(words))
}

/// Runs `command` to its good end.
fn succeed(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{} ended with {status}", command.get_program().display())),
        Err(error) => Err(format!("{}: {error}", command.get_program().display())),
    }
}

/// Where cargo puts the bench.
fn program() -> std::path::PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    std::path::PathBuf::from(target).join("release/rumpnet-bench")
}

/// A command that runs `program` with the right to make namespaces and taps.
fn as_root(program: &std::path::Path) -> Command {
    let user = std::fs::metadata("/proc/self").map(|owner| owner.uid());
    if matches!(user, Ok(0)) {
        return Command::new(program);
    }
    let mut sudo = Command::new("sudo");
    sudo.arg("--").arg(program);
    sudo
}
