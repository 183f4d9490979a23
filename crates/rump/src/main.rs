#![forbid(unsafe_code)]
//! The command `rump`: servers, tools, the demo, and what must be said to the host.
//!
//! [`dispatch`] finds out by the first word, or by the name that the program was called by, what is wanted; [`definition`] has the
//! definitions of all commands, from which manual pages and completions are made ([`manual`]).
//!
//! *Not* here: anything that a kernel does; that is the library's, and this program cannot do more than it.

mod bus;
mod completions;
mod console;
mod definition;
mod demo;
mod dispatch;
mod doctor;
mod host;
mod interrupt;
mod lab;
mod links;
mod list;
mod locate;
mod manual;
mod nc;
mod output;
mod server;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = Vec::new();
    for word in std::env::args_os() {
        match word.into_string() {
            Ok(word) => words.push(word),
            Err(word) => {
                output::complain(&format!("rump: {}: not text\n", word.display()));
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::from(dispatch::run(&words).0)
}
