//! tcpdump: captures what passes an interface, or what is dropped and why, as pcapng.
//!
//! Nothing is taken apart here: tcpdump(8) and tshark(1) of the host do that better. What is written are nanoseconds,
//! directions, and the reason of each drop as the packet's comment.

use std::fmt::Write;

use clap::{Arg, Command, value_parser};
use rumpnet_proto::{CaptureOptions, InterfaceFlags};
use serde::Serialize;

use crate::{
    Status,
    console::Console,
    definition::{self, flag, letter, value, word},
    failure::Failure,
    task::{Report, Task, json},
};

/// What is said without `-w`.
const HOW_TO_READ: &str =
    "packets are not printed here: write them with -w FILE, or pipe them to a program that reads them:
    rump tcpdump -i virt0 -w - | tcpdump -n -r -
    rump tcpdump -i virt0 -w - | tshark -r -
    rump tcpdump -i virt0 -w - | wireshark -k -i -";

pub(crate) fn command() -> Command {
    let count = value("c", "COUNT", "End after so many packets").value_parser(value_parser!(u64).range(1..));
    let snap_len =
        value("s", "LENGTH", "Keep so many bytes of each packet; 0 for all").value_parser(value_parser!(u32));
    definition::tool("tcpdump", "Capture packets as pcapng")
        .arg(value("i", "INTERFACE", "The interface; any for all, which is the default"))
        .arg(value("w", "FILE", "Write to this file, or to standard output if it is -"))
        .args([count, snap_len])
        .arg(flag("drops").long("drops").help("Capture what is dropped, with the reason as comment"))
        .arg(letter("D", "List the interfaces"))
        .arg(letter("n", "Accepted for compatibility"))
        .arg(letter("U", "Accepted for compatibility: packets are written at once"))
        .arg(Arg::new("expression").num_args(0..).hide(true))
        .after_help(HOW_TO_READ)
}

#[derive(Serialize)]
struct Interfaces {
    interfaces: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    number: usize,
    name: String,
    up: bool,
    running: bool,
    loopback: bool,
}

impl Report for Interfaces {
    fn text(&self) -> String {
        self.interfaces.iter().fold(String::new(), |mut text, listed| {
            let states = [(listed.up, "Up"), (listed.running, "Running"), (listed.loopback, "Loopback")];
            let states: Vec<_> = states.iter().filter(|state| state.0).map(|state| state.1).collect();
            let states = if states.is_empty() { String::new() } else { format!(" [{}]", states.join(", ")) };
            let _infallible = writeln!(text, "{}.{}{states}", listed.number, listed.name);
            text
        })
    }
}

#[derive(Serialize)]
struct Captured {
    captured_packets: u64,
    overrun_packets: u64,
}

pub(crate) async fn run(task: &Task<'_, impl Console>, words: &[&str]) -> Result<Status, Failure> {
    let matches = definition::parse(command(), words)?;
    if matches.get_flag("D") {
        task.report(&list(task).await?)?;
        return Ok(Status::SUCCESS);
    }
    if matches.contains_id("expression") {
        let advice =
            "filters belong to the program that reads the capture; only -i, -c, -s and --drops select here";
        return Err(Failure::Refused(advice.into()));
    }
    let Some(path) = word(&matches, "w") else { return Err(Failure::Refused(HOW_TO_READ.into())) };
    let options = CaptureOptions {
        interface: word(&matches, "i").filter(|name| *name != "any").map(Into::into),
        drops: matches.get_flag("drops"),
        snap_len: matches.get_one("s").copied().filter(|length| *length > 0),
        count: matches.get_one("c").copied(),
    };
    let summary = task.console.capture(options, path).await?;
    if task.json && path != "-" {
        let captured = Captured { captured_packets: summary.captured, overrun_packets: summary.overruns };
        task.console.print(&json(&captured))?;
        return Ok(Status::SUCCESS);
    }
    let (captured, overruns) = (summary.captured, summary.overruns);
    task.console.complain(&format!("{captured} packets captured\n{overruns} packets dropped by kernel\n"));
    Ok(Status::SUCCESS)
}

async fn list(task: &Task<'_, impl Console>) -> Result<Interfaces, Failure> {
    let listed = |(number, report): (usize, rumpnet_proto::InterfaceReport)| Listed {
        number,
        name: report.name.as_str().into(),
        up: report.flags.contains(InterfaceFlags::UP),
        running: report.flags.contains(InterfaceFlags::RUNNING),
        loopback: report.flags.contains(InterfaceFlags::LOOPBACK),
    };
    let interfaces = (1..).zip(task.interfaces(false).await?).map(listed).collect();
    Ok(Interfaces { interfaces })
}

#[cfg(test)]
mod tests {
    use rumpnet_proto::{Reply, Request};

    use super::*;
    use crate::{
        console::CaptureSummary,
        scripted::{Script, lo0, virt0},
    };

    fn captured(options: CaptureOptions, path: &str) -> Script {
        let script = Script::default();
        script.expect_capture(options, path, Ok(CaptureSummary { captured: 7, overruns: 2 }));
        script
    }

    #[test]
    fn a_capture_ends_with_its_counts_on_standard_error() {
        let options = CaptureOptions { interface: Some("virt0".into()), ..CaptureOptions::default() };
        let said = captured(options, "-").said(&["tcpdump", "-i", "virt0", "-w", "-"]);
        assert_eq!(
            (said.status, said.out.as_str()),
            (Status::SUCCESS, ""),
            "standard output is the capture's"
        );
        assert_eq!(said.err, "7 packets captured\n2 packets dropped by kernel\n");
    }

    #[test]
    fn all_options_reach_the_kernel() {
        let options = CaptureOptions { interface: None, drops: true, snap_len: Some(96), count: Some(5) };
        let words = ["tcpdump", "-i", "any", "--drops", "-s", "96", "-c", "5", "-w", "f", "--json"];
        let report = captured(options, "f").said(&words).json();
        assert_eq!((&report["captured_packets"], &report["overrun_packets"]), (&7.into(), &2.into()));
        let options = CaptureOptions::default();
        captured(options, "f").said(&["tcpdump", "-s", "0", "-w", "f"]);
    }

    #[test]
    fn without_a_file_it_says_how_to_read_packets() {
        let said = Script::default().said(&["tcpdump", "-i", "virt0"]);
        assert_eq!(said.status, Status::FAILURE);
        assert!(
            said.err.contains("-w - | tcpdump -n -r -") && said.err.contains("tshark -r -"),
            "{}",
            said.err
        );
    }

    #[test]
    fn a_filter_is_refused_with_its_reason() {
        let said = Script::default().said(&["tcpdump", "-w", "-", "udp", "port", "53"]);
        assert_eq!(said.status, Status::FAILURE);
        assert!(said.err.contains("filters belong to the program that reads"), "{}", said.err);
    }

    #[test]
    fn a_count_of_zero_is_refused() {
        let said = Script::default().said(&["tcpdump", "-w", "-", "-c", "0"]);
        assert_eq!(said.status, Status::FAILURE);
        assert!(said.err.contains('0'), "{}", said.err);
    }

    #[test]
    fn interfaces_are_listed_with_their_states() {
        let page = Reply::Interfaces { interfaces: vec![lo0(), virt0()], next: None };
        let script = Script::new([(Request::Interfaces { from: 0, reset: false }, Ok(page))]);
        let said = script.said(&["tcpdump", "-D"]);
        assert_eq!(said.out, "1.lo0 [Up, Running, Loopback]\n2.virt0 [Up, Running]\n");
    }
}
