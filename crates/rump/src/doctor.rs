//! `rump doctor`: what this host lets us do, and the command that lifts each limit.
//!
//! Each examination is a finding of its own, made by trying where trying changes nothing, else by reading what the kernel says.

use std::{fs, fs::OpenOptions, io::ErrorKind, process::Command as Program};

use clap::{Arg, ArgAction, ArgMatches, Command};
use rumpnet_host::{machine, namespace};
use rumpnet_tools::Status;
use serde_json::{Value, json};

use crate::{locate, output};

/// The node by which taps are made.
const NODE: &str = "/dev/net/tun";

/// Bits of the effective capabilities (capabilities(7)).
const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;

/// The hidden word by which a copy of this program tries a namespace: the copy is in it afterwards, and ends.
const TRY_NAMESPACE: &str = "try-namespace";

pub(crate) fn command() -> Command {
    Command::new("doctor")
        .about("Say what this host lets us do, and which command lifts each limit")
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print the report as one JSON value"),
        )
        .arg(Arg::new("probe").long("probe").hide(true).value_parser([TRY_NAMESPACE]))
}

/// What an examination found.
struct Finding {
    /// What was examined.
    subject: &'static str,
    /// Whether it is as we would like it.
    is_fine: bool,
    /// How it is.
    state: String,
    /// The command that changes it.
    remedy: Option<String>,
}

impl Finding {
    fn fine(subject: &'static str, state: impl Into<String>) -> Self {
        Self { subject, is_fine: true, state: state.into(), remedy: None }
    }

    fn limit(subject: &'static str, state: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { subject, is_fine: false, state: state.into(), remedy: Some(remedy.into()) }
    }

    fn json(&self) -> Value {
        json!({ "subject": self.subject, "fine": self.is_fine, "state": self.state, "remedy": self.remedy })
    }

    fn text(&self) -> String {
        let mark = if self.is_fine { "ok" } else { "limited" };
        let remedy = self.remedy.as_ref().map(|remedy| format!("    {remedy}\n")).unwrap_or_default();
        format!("{}: {mark}: {}\n{remedy}", self.subject, self.state)
    }
}

pub(crate) fn run(matches: &ArgMatches) -> Status {
    if matches.contains_id("probe") {
        return match namespace::enter_own_network() {
            Ok(_) => Status::SUCCESS,
            Err(error) => output::failed("rump doctor", error),
        };
    }
    let capabilities = effective_capabilities();
    let findings = [
        tap_node(),
        capability(
            "capability CAP_NET_ADMIN",
            capabilities,
            CAP_NET_ADMIN,
            "taps are made only beforehand, by root",
        ),
        capability(
            "capability CAP_NET_RAW",
            capabilities,
            CAP_NET_RAW,
            "no packet socket takes a tap's place",
        ),
        user_namespaces(),
        bridge_netfilter(),
        congestion_control(),
    ];
    let json = matches
        .get_flag("json")
        .then(|| json!({ "findings": findings.iter().map(Finding::json).collect::<Vec<_>>() }));
    output::report(json, &findings.iter().map(Finding::text).collect::<String>())
}

fn tap_node() -> Finding {
    let subject = "tap node";
    match OpenOptions::new().read(true).write(true).open(NODE) {
        Ok(_) => Finding::fine(subject, format!("{NODE} can be opened")),
        Err(error) => {
            let remedy = match error.kind() {
                ErrorKind::NotFound => "modprobe tun (as root; in a container: --device /dev/net/tun)",
                ErrorKind::PermissionDenied => "chmod 666 /dev/net/tun (as root)",
                _ => "modprobe tun (as root)",
            };
            Finding::limit(subject, format!("{NODE}: {error}"), remedy)
        }
    }
}

/// The effective capabilities of this process.
fn effective_capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0)
}

fn capability(subject: &'static str, held: u64, bit: u32, without: &str) -> Finding {
    if held >> bit & 1 == 1 {
        return Finding::fine(subject, "held");
    }
    // The user by his number: root's USER is another.
    let program = locate::program();
    let grant = format!("setcap cap_net_admin,cap_net_raw+ep {program} (as root)");
    let remedy = if bit == CAP_NET_ADMIN {
        let owner = machine::user();
        format!("{program} host tap create tap0 --owner {owner} --up (as root), or {grant}")
    } else {
        grant
    };
    Finding::limit(subject, format!("not held: {without}"), remedy)
}

/// Tried by a copy of this program, which is in the namespace afterwards.
fn user_namespaces() -> Finding {
    let subject = if machine::user() == 0 { "network namespaces" } else { "user namespaces" };
    let tried = std::env::current_exe()
        .and_then(|program| Program::new(program).args(["doctor", "--probe", TRY_NAMESPACE]).output());
    match tried {
        Ok(tried) if tried.status.success() => Finding::fine(subject, "can be made"),
        Ok(tried) => {
            let text = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
            let text = text.strip_prefix("rump doctor: ").unwrap_or(&text);
            let (state, remedy) = text.split_once("; ").unwrap_or((text, "see user_namespaces(7)"));
            Finding::limit(subject, state, remedy)
        }
        Err(error) => Finding::limit(subject, format!("not tried: {error}"), "see user_namespaces(7)"),
    }
}

/// With it, frames that cross a bridge of the host go through its IP packet filter.
fn bridge_netfilter() -> Finding {
    let subject = "bridge netfilter";
    let path = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    match fs::read_to_string(path) {
        Ok(value) if value.trim() != "0" => Finding::limit(
            subject,
            "on: frames of a bridged tap go through the host's packet filter, and may be dropped there",
            "sysctl -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-arptables=0 (as root)",
        ),
        Ok(_) => Finding::fine(subject, "off"),
        Err(_) => Finding::fine(subject, "not loaded"),
    }
}

fn congestion_control() -> Finding {
    let subject = "congestion control";
    let Ok(value) = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control") else {
        return Finding::fine(subject, "not known");
    };
    let name = value.trim();
    if name != "bbr" {
        return Finding::fine(subject, name);
    }
    let state = "bbr: the host's own end holds one stream far below what a tap carries";
    Finding::limit(subject, state, "sysctl -w net.ipv4.tcp_congestion_control=cubic (as root)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_is_a_bit_and_its_lack_names_the_remedy() {
        assert!(capability("c", 1 << CAP_NET_ADMIN, CAP_NET_ADMIN, "").is_fine);
        let finding = capability("c", 1 << CAP_NET_RAW, CAP_NET_ADMIN, "no taps");
        let remedy = finding.text();
        let owner = format!(" host tap create tap0 --owner {} --up (as root)", machine::user());
        assert!(!finding.is_fine && remedy.contains(&owner), "{remedy}");
        // The program that is given the capability is this one, wherever it is.
        let program = std::env::current_exe().expect("/proc is there");
        assert!(remedy.contains(&format!("+ep {} (as root)", program.display())), "{remedy}");
    }

    #[test]
    fn a_finding_reads_as_subject_state_and_remedy() {
        assert_eq!(Finding::fine("a", "b").text(), "a: ok: b\n");
        assert_eq!(Finding::limit("a", "b", "c").text(), "a: limited: b\n    c\n");
    }
}
