//! Who holds a tap: the processes whose descriptors say so in `/proc/*/fdinfo`.
//!
//! Only what this user may see is found; a holder in another process namespace stays unknown.

use std::{fmt, fs, path::Path};

/// A process that holds a tap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its command, as `ps -o comm` shows it.
    pub command: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} ({})", self.pid, self.command)
    }
}

/// The processes that hold the tap or tun `name`, in order of their numbers.
///
/// Another network may have a tap of the same name, and the host does not tell which is meant: those of our own network
/// are named, and others only if there are none, for a descriptor may have been handed over.
pub fn holders(name: &str) -> Vec<Holder> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found: Vec<Holder> = pids.filter_map(|pid| holder(pid, name)).collect();
    found.sort_by_key(|holder| holder.pid);
    let (ours, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|holder| is_on_our_network(holder.pid));
    if ours.is_empty() { others } else { ours }
}

/// Whether a process is in the network namespace of this thread, as far as can be seen.
fn is_on_our_network(pid: u32) -> bool {
    let network = |path: &str| fs::read_link(path).ok();
    network(&format!("/proc/{pid}/ns/net"))
        .is_none_or(|theirs| Some(theirs) == network("/proc/thread-self/ns/net"))
}

fn holder(pid: u32, name: &str) -> Option<Holder> {
    let directory = format!("/proc/{pid}/fdinfo");
    let mut descriptors = fs::read_dir(directory).ok()?.flatten();
    descriptors.any(|entry| is_attached(&entry.path(), name)).then(|| {
        let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Holder { pid, command: command.trim_end().to_owned() }
    })
}

/// Whether the descriptor's information has the line `iff:` with the name, as the tun driver writes it.
fn is_attached(information: &Path, name: &str) -> bool {
    let Ok(text) = fs::read_to_string(information) else { return false };
    text.lines().filter_map(|line| line.strip_prefix("iff:")).any(|holds| holds.trim() == name)
}
