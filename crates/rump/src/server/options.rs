//! How a server's kernel shall be booted.

use std::{fs::DirBuilder, io, os::unix::fs::DirBuilderExt, path::Path};

use rumpnet::{Config, Kernel};

use crate::output;

/// How a server's kernel shall be booted.
pub(super) struct Options {
    pub(super) name: Option<String>,
    /// Interfaces and their ends at the host.
    pub(super) host_ends: Vec<(String, String)>,
    pub(super) config: Config,
    pub(super) verbose: bool,
}

impl Options {
    /// Boots it.
    pub(super) fn boot(&self) -> Result<Kernel, String> {
        let mut builder = Kernel::builder().config(self.config.clone());
        if let Some(name) = &self.name {
            builder = builder.name(name.clone());
        }
        for (interface, end) in &self.host_ends {
            builder = builder.host_end(interface.clone(), end.clone());
        }
        if self.verbose {
            builder = builder.echo_messages();
            output::complain(&format!("{}\n", self.config));
        }
        builder.boot().map_err(|error| format!("cannot boot: {error}"))
    }
}

/// The limits by name.
pub(super) fn preset(name: &str) -> Config {
    if name == "tiny" { Config::tiny() } else { Config::server() }
}

/// `virt0=tap7` or `virt0=fd:3`.
pub(super) fn host_end(word: &str) -> Result<(String, String), String> {
    let (interface, end) = word.split_once('=').ok_or("it must be VIRT=NAME or VIRT=fd:N")?;
    let is_descriptor = end.strip_prefix("fd:").map(|number| number.parse::<u16>().is_ok());
    if interface.is_empty() || end.is_empty() || is_descriptor == Some(false) {
        return Err("it must be VIRT=NAME or VIRT=fd:N".to_owned());
    }
    Ok((interface.to_owned(), end.to_owned()))
}

/// Makes a directory for this user alone, if it is not there.
pub(crate) fn make_private_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_end_is_a_name_or_a_descriptor() {
        assert_eq!(host_end("virt0=tap7"), Ok(("virt0".into(), "tap7".into())));
        assert_eq!(host_end("virt0=fd:3"), Ok(("virt0".into(), "fd:3".into())));
        for word in ["virt0", "virt0=", "=tap0", "virt0=fd:", "virt0=fd:x", "virt0=fd:-1"] {
            assert!(host_end(word).is_err(), "{word}");
        }
    }
}
