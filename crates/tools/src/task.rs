//! A tool at work: its console, the name it was called by, and in which form it reports.

use rumpnet_proto::{Reply, Request};
use serde::Serialize;

use crate::{
    Status,
    console::Console,
    failure::{ErrorReport, Failure, text, unexpected_reply},
};

/// What a tool has found out, in both forms.
pub(crate) trait Report: Serialize {
    /// The report as NetBSD's tool prints it; each line with its end.
    fn text(&self) -> String;
}

/// A tool at work.
pub(crate) struct Task<'a, C> {
    pub(crate) console: &'a C,
    pub(crate) program: &'a str,
    pub(crate) json: bool,
}

/// The version of the JSON reports. It changes when a member is removed or changes its meaning, not when one is added.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    report: T,
}

/// The report of a tool that only changes something: what it has to remark.
#[derive(Serialize)]
pub(crate) struct Changed {
    pub(crate) notes: Vec<String>,
}

/// A report as one JSON value and the end of the line.
pub(crate) fn json(report: &impl Serialize) -> String {
    let versioned = Versioned { version: VERSION, report };
    let text = serde_json::to_string_pretty(&versioned).expect("reports have text keys and no failing parts");
    text + "\n"
}

/// A report of several that follow each other: one line.
pub(crate) fn json_line(report: &impl Serialize) -> String {
    let versioned = Versioned { version: VERSION, report };
    let text = serde_json::to_string(&versioned).expect("reports have text keys and no failing parts");
    text + "\n"
}

impl<C: Console> Task<'_, C> {
    /// Asks the kernel.
    pub(crate) async fn ask(&self, request: Request) -> Result<Reply, Failure> {
        Ok(self.console.call(request).await?)
    }

    /// Asks the kernel for something that is answered with [`Reply::Done`].
    pub(crate) async fn change(&self, request: Request) -> Result<(), Failure> {
        match self.ask(request).await? {
            Reply::Done => Ok(()),
            _ => Err(unexpected_reply()),
        }
    }

    /// Prints a report in the form that is wanted.
    pub(crate) fn report(&self, report: &impl Report) -> Result<(), Failure> {
        let text = if self.json { json(report) } else { report.text() };
        Ok(self.console.print(&text)?)
    }

    /// Remarks something beside the report: on standard error, or inside the JSON value.
    pub(crate) fn report_changed(&self, notes: Vec<String>) -> Result<(), Failure> {
        if self.json {
            return Ok(self.console.print(&json(&Changed { notes }))?);
        }
        notes.iter().for_each(|note| self.complain(note));
        Ok(())
    }

    /// A line on standard error, after the name of the tool.
    pub(crate) fn complain(&self, line: &str) {
        self.console.complain(&format!("{}: {line}\n", self.program));
    }

    /// Says why a tool ended, and makes an exit status of it.
    pub(crate) fn conclude(&self, ended: Result<Status, Failure>) -> Status {
        let failure = match ended {
            Ok(status) => return status,
            Err(Failure::Help(text)) => {
                let printed = self.console.print(&text);
                return printed.map_or(Status::FAILURE, |()| Status::SUCCESS);
            }
            Err(Failure::Closed) => return Status::FAILURE,
            Err(failure) => failure,
        };
        if self.json {
            // Nobody is left to be told when this fails, too.
            let _closed = self.console.print(&json(&ErrorReport::from(&failure)));
            return Status::FAILURE;
        }
        match failure {
            Failure::Usage { message, usage } => {
                self.complain(&message);
                self.console.complain(&format!("{usage}\n"));
            }
            Failure::Kernel(error) => self.complain(&text(&error)),
            Failure::Refused(message) => self.complain(&message),
            Failure::Help(_) | Failure::Closed => {}
        }
        Status::FAILURE
    }
}
