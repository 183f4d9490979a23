//! How a server's kernel shall be booted.

use std::{fs::DirBuilder, io, os::unix::fs::DirBuilderExt, path::Path};

use rumpnet::{Config, Kernel};
use rumpnet_proto::CloneName;

use crate::output;

/// Bytes of a kernel's name at most, as many as a host's name has.
const MAX_NAME: usize = 255;

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

/// A kernel's name: a word that fits a line of a listing.
pub(super) fn name(word: &str) -> Result<String, String> {
    let is_printable = !word.contains(|letter: char| letter.is_control() || letter.is_whitespace());
    if is_printable && (1..=MAX_NAME).contains(&word.len()) {
        return Ok(word.to_owned());
    }
    Err(format!("it must be one word of 1 to {MAX_NAME} bytes"))
}

/// The first interface that is given two ends.
pub(super) fn given_twice(ends: &[(String, String)]) -> Option<&str> {
    let is_earlier = |place: usize| ends[..place].iter().any(|(interface, _)| *interface == ends[place].0);
    (0..ends.len()).find(|place| is_earlier(*place)).map(|place| ends[place].0.as_str())
}

/// `virt0=tap7` or `virt0=fd:3`; the interface is named as it will be when it is created.
pub(super) fn host_end(word: &str) -> Result<(String, String), String> {
    let (interface, end) = word.split_once('=').ok_or("it must be VIRT=NAME or VIRT=fd:N")?;
    let unit = CloneName::parse(interface).ok().filter(|unit| ["virt", "tun"].contains(&unit.prefix));
    let interface = unit.and_then(|unit| unit.interface_name().ok());
    let interface = interface.ok_or("only virt<n> and tun<n> have an end at the host")?.as_str().to_owned();
    let is_descriptor = end.strip_prefix("fd:").map(|number| number.parse::<u16>().is_ok());
    if end.is_empty() || is_descriptor == Some(false) {
        return Err("it must be VIRT=NAME or VIRT=fd:N".to_owned());
    }
    Ok((interface, end.to_owned()))
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
        assert_eq!(host_end("virt007=tap7"), Ok(("virt7".into(), "tap7".into())));
        for word in [
            "virt0",
            "virt0=",
            "=tap0",
            "virt0=fd:",
            "virt0=fd:x",
            "virt0=fd:-1",
            "lo0=x",
            "virt=x",
            "foo0=x",
        ] {
            assert!(host_end(word).is_err(), "{word}");
        }
    }

    #[test]
    fn an_interface_has_one_end() {
        let ends = |words: &[&str]| words.iter().map(|word| host_end(word)).collect::<Result<Vec<_>, _>>();
        let twice = ends(&["virt0=a", "virt1=b", "virt00=c"]).expect("each is well formed");
        assert_eq!(given_twice(&twice), Some("virt0"));
        assert_eq!(given_twice(&twice[..2]), None);
    }

    #[test]
    fn a_name_is_one_word() {
        assert_eq!(name("rump-1.host"), Ok("rump-1.host".into()));
        for word in ["", "a b", "a\nb", "\u{1b}[2J", &"x".repeat(256)] {
            assert!(name(word).is_err(), "{word}");
        }
    }
}
