//! `shmif_dumpbus` and `shmif_pcapin`, with NetBSD's words.

use std::{
    fs::File,
    io::{self, Write},
};

use clap::{Arg, ArgAction, ArgMatches, Command};
use rumpnet_host::bus::{Access, Fault};
use rumpnet_tools::{Status, captures};
use rumpnet_wire::bus::{MAX_FRAME, MAX_RECORD, RING, RING_AT};

use super::{inject, open};
use crate::output;

/// The names of the programs.
pub(crate) const NAMES: &[&str] = &["shmif_dumpbus", "shmif_pcapin"];

/// What they take.
pub(crate) fn commands() -> [Command; 2] {
    let dump = Command::new("shmif_dumpbus")
        .about("Print what a bus has kept, or write it as a classic capture")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .arg(Arg::new("h").short('h').action(ArgAction::SetTrue).help("Print only how far the bus has come"))
        .arg(
            Arg::new("p")
                .short('p')
                .value_name("FILE")
                .help("Write the frames to this file, in the format of pcap; to standard output if it is -"),
        )
        .arg(Arg::new("help").long("help").action(ArgAction::Help).help("Print help"))
        .arg(Arg::new("BUS").required(true).help("The file that the bus is"));
    let put = Command::new("shmif_pcapin")
        .about("Put the frames of a capture on a bus, with the times of their capture")
        .version(env!("CARGO_PKG_VERSION"))
        .arg(Arg::new("FILE").required(true).help("The capture, pcap or pcapng; standard input if it is -"))
        .arg(Arg::new("BUS").required(true).help("The file that the bus is; made if it is not there"));
    [dump, put]
}

/// Runs the program of that name.
pub(crate) fn run(program: &str, arguments: &[String]) -> Status {
    let words = [&[program.to_owned()], arguments].concat();
    let command = commands().into_iter().find(|command| command.get_name() == program);
    let Some(command) = command else { return output::failed(program, "no such program") };
    let matches = match command.try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => return output::report(None, &error.render().to_string()),
        Err(error) => {
            let text = error.render().to_string();
            return output::failed(program, text.strip_prefix("error: ").unwrap_or(&text).trim_end());
        }
    };
    let text = |id| matches.get_one::<String>(id).map(String::as_str).unwrap_or_default();
    if program == "shmif_pcapin" {
        return inject::inject(program, text("BUS"), text("FILE"), true);
    }
    match dump(text("BUS"), &matches) {
        Ok(()) => Status::SUCCESS,
        Err(reason) => output::failed(program, reason),
    }
}

fn dump(path: &str, matches: &ArgMatches) -> Result<(), String> {
    let bus = open(path, Access::Reader)?;
    let spoilt = |fault| match fault {
        Fault::Spoilt => format!("{path}: the file is spoilt: it says nothing that makes sense"),
        Fault::Failed(kind) => format!("{path}: {}", io::Error::from(kind)),
    };
    let mut reader = bus.reader(true);
    let state = bus.state().map_err(spoilt)?;
    let mut out = Output::new(matches.get_one::<String>("p").map(String::as_str))?;
    let place = |position: u64| RING_AT + position % RING;
    out.say(&format!(
        "bus version 1, generation: {}, firstoff: {:#06x}, lastoff: {:#06x}\n",
        state.tail / RING,
        place(reader.position()),
        place(state.tail),
    ));
    if matches.get_flag("h") {
        return Ok(());
    }
    let mut buffer = vec![0; 4 * MAX_RECORD];
    let mut number = 0_u64;
    loop {
        let batch = reader.read(&bus, &mut buffer).map_err(spoilt)?;
        let bytes = batch.bytes();
        if bytes.is_empty() {
            return out.end();
        }
        for (record, frame) in batch {
            // What came after the program was started is left to the next.
            if record.position >= state.tail {
                return out.end();
            }
            let (seconds, micros) = (record.time_ns / 1_000_000_000, record.time_ns % 1_000_000_000 / 1000);
            out.say(&format!(
                "packet {number}, offset {:#06x}, length {:#06x}, ts {seconds}/{micros:06}\n",
                place(record.position),
                record.len,
            ));
            out.write(&captures::classic_record(record.time_ns, record.len))?;
            out.write(&bytes[frame])?;
            number += 1;
        }
    }
}

/// Where the capture goes, and where lines go that say what is in it: not into the same place.
struct Output {
    capture: Option<(String, Box<dyn Write>)>,
    is_silent: bool,
}

impl Output {
    fn new(path: Option<&str>) -> Result<Self, String> {
        let capture: Option<Box<dyn Write>> = match path {
            None => None,
            Some("-") => Some(Box::new(io::stdout().lock())),
            Some(path) => Some(Box::new(File::create(path).map_err(|error| format!("{path}: {error}"))?)),
        };
        let capture = capture.map(|file| (path.unwrap_or_default().to_owned(), file));
        let mut output = Self { capture, is_silent: path == Some("-") };
        output.write(&captures::classic_header(MAX_FRAME as u32))?;
        Ok(output)
    }

    /// Prints a line; a reader who is gone is noticed by what is written next.
    fn say(&mut self, line: &str) {
        if !self.is_silent {
            self.is_silent = output::print(line).is_err();
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Some((path, file)) = &mut self.capture else { return Ok(()) };
        file.write_all(bytes).map_err(|error| format!("{path}: {error}"))
    }

    fn end(self) -> Result<(), String> {
        let Some((path, mut file)) = self.capture else { return Ok(()) };
        file.flush().map_err(|error| format!("{path}: {error}"))
    }
}
