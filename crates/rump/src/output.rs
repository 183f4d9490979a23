//! Standard output and standard error, written at once; a reader who has gone ends a command quietly.

use std::io::{self, ErrorKind, Write};

use rumpnet_tools::{Closed, Status};
use serde_json::{Value, json};

/// Writes to standard output.
pub(crate) fn print(text: &str) -> Result<(), Closed> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| {
        if error.kind() != ErrorKind::BrokenPipe {
            complain(&format!("rump: standard output: {error}\n"));
        }
        Closed
    })
}

/// Writes to standard error. If that fails, there is nobody left to be told.
pub(crate) fn complain(text: &str) {
    let _unheard = io::stderr().lock().write_all(text.as_bytes());
}

/// Prints a text, or a JSON value as the tools print theirs: versioned, one value, an end of line.
pub(crate) fn report(json: Option<Value>, text: &str) -> Status {
    let printed = match json {
        Some(Value::Object(mut members)) => {
            members.insert("version".to_owned(), Value::from(1));
            print(&format!("{:#}\n", Value::Object(members)))
        }
        Some(value) => print(&format!("{value:#}\n")),
        None => print(text),
    };
    printed.map_or(Status::FAILURE, |()| Status::SUCCESS)
}

/// Says why a command failed.
pub(crate) fn failed(program: &str, reason: impl std::fmt::Display) -> Status {
    complain(&format!("{program}: {reason}\n"));
    Status::FAILURE
}

/// The same for a command whose words ask for JSON: the error is its report (docs/guide/json.md).
pub(crate) fn failed_as_asked(program: &str, words: &[String], reason: &str) -> Status {
    if !words.iter().any(|word| word == "--json") {
        return failed(program, reason);
    }
    let nothing = Value::Null;
    let error = json!({ "message": reason, "operation": nothing, "object": nothing, "errno": nothing, "hint": nothing });
    report(Some(json!({ "error": error })), "");
    Status::FAILURE
}
