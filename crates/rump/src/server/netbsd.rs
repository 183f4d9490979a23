//! `rump_server` and `rump_allserver`: the words that NetBSD's take (rump_server(1)).
//!
//! The URL must be given. Once the socket is bound and the kernel booted it daemonises, and the parent ends with 0 when the
//! server can be reached; `-s` keeps it in the foreground.

use std::io;

use clap::{Arg, ArgAction, ArgMatches, Command};
use rumpnet::{Config, client::Address};
use rumpnet_host::process::{self, Background};
use rumpnet_tools::Status;

use super::{Running, bind, options::Options};
use crate::output;

/// The names by which NetBSD's servers are called.
pub(crate) const NAMES: &[&str] = &["rump_allserver", "rump_server"];

/// Components whose work is done here, and the base they stand on.
const COMPONENTS: &[&str] = &[
    "rump",
    "rumpdev",
    "rumpdev_bpf",
    "rumpnet",
    "rumpnet_config",
    "rumpnet_net",
    "rumpnet_netinet",
    "rumpnet_virtif",
    "rumpvfs",
];

/// What the program takes by these names.
pub(crate) fn command() -> Command {
    let value = |id: &'static str, name: &'static str, help: &'static str| {
        Arg::new(id).short(id.chars().next()).value_name(name).help(help)
    };
    Command::new("rump_server")
        .about("Run a kernel and serve it, with the words of NetBSD's rump_server")
        .version(env!("CARGO_PKG_VERSION"))
        .arg(Arg::new("s").short('s').action(ArgAction::SetTrue).help("Stay in the foreground"))
        .arg(Arg::new("v").short('v').action(ArgAction::SetTrue).help("Print what the kernel reports"))
        .arg(value("c", "NUMBER", "Virtual CPUs; one kernel uses one, whatever is given"))
        .arg(value(
            "r",
            "SIZE",
            "Memory for packets in the shared queues, one port and one socket; the largest preset of limits that fits is taken",
        ))
        .arg(value("l", "LIBRARY", "A component; what it names must be built in").action(ArgAction::Append))
        .arg(value("m", "MODULE", "Refused: there are no kernel modules").action(ArgAction::Append))
        .arg(value("d", "DRIVE", "Refused: there are no file systems").action(ArgAction::Append))
        .arg(Arg::new("URL").required(true).help("Where it listens, unix://PATH"))
}

/// Runs the server with NetBSD's words.
pub(crate) fn run(program: &str, arguments: &[String]) -> Status {
    let words = [&[program.to_owned()], arguments].concat();
    let matches = match command().name(program.to_owned()).try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => return output::report(None, &error.render().to_string()),
        Err(error) => {
            let text = error.render().to_string();
            return output::failed(program, text.strip_prefix("error: ").unwrap_or(&text).trim_end());
        }
    };
    let judged = address(&matches).and_then(|address| Ok((address, options(&matches)?)));
    match judged {
        Err(reason) => output::failed(program, reason),
        Ok((address, options)) if matches.get_flag("s") => in_foreground(program, &address, &options),
        Ok((address, options)) => in_background(program, &address, &options),
    }
}

fn address(matches: &ArgMatches) -> Result<Address, String> {
    let url = matches.get_one::<String>("URL").map(String::as_str).unwrap_or_default();
    let address: Address = url.parse().map_err(|error| format!("{url}: {error}"))?;
    address.absolute().map_err(|error| format!("{url}: {error}"))
}

fn start(address: &Address, options: &Options) -> Result<Running, String> {
    Running::start(bind(address)?, options)
}

fn in_foreground(program: &str, address: &Address, options: &Options) -> Status {
    match start(address, options) {
        Ok(running) => {
            running.run();
            Status::SUCCESS
        }
        Err(reason) => output::failed(program, reason),
    }
}

/// The child serves; the parent ends when the child can be reached, or has said why not.
fn in_background(program: &str, address: &Address, options: &Options) -> Status {
    let child = match process::fork_to_background() {
        Ok(Background::Parent(parent)) => return Status(parent.wait()),
        Ok(Background::Child(child)) => child,
        Err(errno) => return output::failed(program, io::Error::from(errno)),
    };
    match start(address, options) {
        Ok(running) => {
            // If the terminal cannot be let go, the server can be reached all the same.
            let _still_there = child.ready();
            running.run();
            Status::SUCCESS
        }
        Err(reason) => {
            let status = output::failed(program, reason);
            // The parent fails even if it hears nothing.
            let _unheard = child.failed(status.0);
            status
        }
    }
}

/// The options, all of which are judged before anything is done.
fn options(matches: &ArgMatches) -> Result<Options, String> {
    for (id, reason) in [("m", "there are no kernel modules"), ("d", "there are no file systems")] {
        if let Some(value) = matches.get_one::<String>(id) {
            return Err(format!("-{id} {value}: {reason}"));
        }
    }
    let libraries: Vec<_> = matches.get_many::<String>("l").into_iter().flatten().collect();
    let unknown: Vec<_> = libraries
        .iter()
        .map(|library| component(library))
        .filter(|name| !COMPONENTS.contains(name))
        .collect();
    if !unknown.is_empty() {
        return Err(format!("unknown components: {}", unknown.join(", ")));
    }
    if let Some(count) = matches.get_one::<String>("c") {
        let is_count = count == "host" || count.parse::<u16>().is_ok_and(|count| count > 0);
        is_count.then_some(()).ok_or_else(|| format!("-c {count}: not a number of CPUs"))?;
    }
    let config =
        matches.get_one::<String>("r").map_or_else(|| Ok(Config::server()), |size| config_within(size))?;
    Ok(Options { name: None, host_ends: Vec::new(), config, verbose: matches.get_flag("v") })
}

/// The name of a component: `rumpnet`, `librumpnet.so` and `/usr/lib/librumpnet.so.0` are one.
fn component(library: &str) -> &str {
    let file = library.rsplit('/').next().unwrap_or(library);
    let Some((stem, _)) = file.split_once(".so") else { return file };
    stem.strip_prefix("lib").unwrap_or(stem)
}

/// Limits whose packets fit in so much memory.
fn config_within(size: &str) -> Result<Config, String> {
    let bytes = parse_size(size).ok_or_else(|| format!("-r {size}: not a size"))?;
    let least = Config::LEAST_BYTES;
    Config::within(bytes).ok_or_else(|| format!("-r {size}: a kernel needs {least} bytes for packets"))
}

/// A number with a suffix k, m or g, or none.
fn parse_size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.chars().last()?.to_ascii_lowercase() {
        'k' => (&text[..text.len() - 1], 10),
        'm' => (&text[..text.len() - 1], 20),
        'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(words: &[&str]) -> Result<Options, String> {
        let words = [&["rump_server"], words, &["unix://k"]].concat();
        options(&command().try_get_matches_from(words).map_err(|error| error.to_string())?)
    }

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn netbsds_usual_words_are_taken() {
        let words = [
            "-s",
            "-v",
            "-c",
            "2",
            "-r",
            "64m",
            "-lrumpnet",
            "-lrumpnet_net",
            "-lrumpnet_netinet",
            "-lrumpnet_virtif",
        ];
        assert!(judged(&words).is_ok_and(|options| options.verbose));
        assert!(judged(&["-l", "/usr/lib/librumpnet_virtif.so.0", "-c", "host"]).is_ok());
    }

    #[test]
    fn unknown_components_are_named_all_of_them() {
        let refused = judged(&["-lrumpnet", "-lrumpnet_shmif", "-l", "./libmine.so"]).err();
        assert_eq!(refused.as_deref(), Some("unknown components: rumpnet_shmif, mine"));
    }

    #[test]
    fn a_memory_limit_is_kept_or_refused() {
        for (size, bytes) in [("1g", 1 << 30), ("64M", 64 << 20), ("512K", 512 << 10)] {
            let config = judged(&["-r", size]).map(|options| options.config).ok();
            assert_eq!(config.map(|config| config.bytes()), Some(bytes), "{size}");
        }
        for size in ["4k", "x", "", "k", "-1", "99999999999g"] {
            assert!(judged(&["-r", size]).is_err(), "{size}");
        }
    }

    #[test]
    fn what_is_not_here_is_refused_with_its_reason() {
        for (words, reason) in [
            (["-m", "m.kmod"], "modules"),
            (["-d", "key=k"], "file systems"),
            (["-c", "0"], "number of CPUs"),
        ] {
            let refused = judged(&words).err();
            assert!(refused.as_ref().is_some_and(|text| text.contains(reason)), "{refused:?}");
        }
    }
}
