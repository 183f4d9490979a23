//! dmesg: what the kernel has reported, oldest first.

use std::fmt::Write;

use clap::Command;
use rumpnet_proto::{Message, Severity};
use serde::Serialize;

use crate::{
    Status,
    console::Console,
    definition,
    failure::Failure,
    task::{Report, Task},
};

pub(crate) fn command() -> Command {
    definition::tool("dmesg", "Print what the kernel has reported")
        .after_help("Each line begins with the seconds since the kernel booted.")
}

#[derive(Serialize)]
struct Messages {
    messages: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    number: u64,
    time_ns: u64,
    severity: &'static str,
    text: String,
}

impl From<Message> for Line {
    fn from(message: Message) -> Self {
        let severity = match message.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        };
        Self { number: message.number, time_ns: message.time_ns, severity, text: message.text }
    }
}

impl Report for Messages {
    fn text(&self) -> String {
        self.messages.iter().fold(String::new(), |mut text, line| {
            let (seconds, micros) = (line.time_ns / 1_000_000_000, line.time_ns / 1000 % 1_000_000);
            let _infallible = writeln!(text, "[{seconds:5}.{micros:06}] {}", line.text);
            text
        })
    }
}

pub(crate) async fn run(task: &Task<'_, impl Console>, words: &[&str]) -> Result<Status, Failure> {
    definition::parse(command(), words)?;
    let messages = task.messages().await?.into_iter().map(Line::from).collect();
    task.report(&Messages { messages })?;
    Ok(Status::SUCCESS)
}

#[cfg(test)]
mod tests {
    use rumpnet_proto::{Reply, Request};
    use serde_json::json;

    use super::*;
    use crate::scripted::Script;

    fn message(number: u64, text: &str) -> Message {
        Message { number, time_ns: number * 1_500_000_000, severity: Severity::Warning, text: text.into() }
    }

    fn script() -> Script {
        let page = |messages, next| Ok(Reply::Messages { messages, next });
        Script::new([
            (Request::Messages { since: 0 }, page(vec![message(1, "virt0: born")], 2)),
            (Request::Messages { since: 2 }, page(vec![message(2, "virt0: link state: up")], 3)),
            (Request::Messages { since: 3 }, page(vec![], 3)),
        ])
    }

    #[test]
    fn every_page_is_printed_with_its_times() {
        let said = script().said(&["dmesg"]);
        assert_eq!(said.out, "[    1.500000] virt0: born\n[    3.000000] virt0: link state: up\n");
        assert_eq!(said.status, Status::SUCCESS);
    }

    #[test]
    fn the_json_has_times_in_nanoseconds() {
        let report = script().said(&["dmesg", "--json"]).json();
        let first =
            json!({"number": 1, "time_ns": 1_500_000_000u64, "severity": "warning", "text": "virt0: born"});
        assert_eq!((&report["version"], &report["messages"][0]), (&json!(1), &first));
        assert_eq!(report["messages"].as_array().map(Vec::len), Some(2));
    }
}
