//! `cargo xtask man`: writes docs/man anew from the definitions of the commands.

use std::{fs, process::Command};

use crate::{packages, tree};

/// Builds the command and lets it write its pages; pages of commands that are gone go, too.
pub fn run() -> Result<(), String> {
    let directory = tree::root().join("docs/man");
    if directory.exists() {
        fs::remove_dir_all(&directory).map_err(|error| format!("docs/man: {error}"))?;
    }
    let words = ["run", "--quiet", "--package", "rumpnet-cli", "--", "man", "docs/man"];
    let status = Command::new(packages::cargo()).args(words).current_dir(tree::root()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("rump man: {status}")),
        Err(error) => Err(format!("cargo: {error}")),
    }
}
