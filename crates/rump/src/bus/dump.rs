//! `rump bus dump`: what a bus has kept, and on demand what comes, as pcapng.

use std::{
    fs::File,
    io::{self, ErrorKind, IsTerminal as _, Write},
};

use clap::ArgMatches;
use rumpnet_host::bus::{Access, BusFile, Fault, Reader};
use rumpnet_tools::Status;
use rumpnet_wire::{
    bus::{MAX_RECORD, Record},
    pcapng::{self, LinkType},
    virtio::{Flags, GsoType, Header},
};

use super::open;
use crate::output;

pub(super) fn run(program: &str, matches: &ArgMatches) -> Status {
    let text = |id| matches.get_one::<String>(id).map(String::as_str);
    match dump(text("BUS").unwrap_or_default(), text("w").unwrap_or("-"), matches.get_flag("f")) {
        Ok(()) => Status::SUCCESS,
        Err(reason) => output::failed(program, reason),
    }
}

fn dump(path: &str, to: &str, follow: bool) -> Result<(), String> {
    let bus = open(path, Access::Reader)?;
    let mut out = open_output(to)?;
    let mut writer = Writer::new(path);
    let mut reader = bus.reader(true);
    let mut buffer = vec![0; 4 * MAX_RECORD];
    // What comes after the program was started is only waited for if it is wanted.
    let end = bus.state().map_or(0, |state| state.tail);
    loop {
        let seen = bus.news();
        loop {
            let read = writer.read(&mut reader, &bus, &mut buffer);
            match out.write_all(&writer.take()).and_then(|()| out.flush()) {
                Ok(()) => {}
                // Whoever has read enough is no failure.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(format!("{to}: {error}")),
            }
            match read {
                Ok(0) => break,
                Ok(_) if !follow && reader.position() >= end => break,
                Ok(_) => {}
                Err(_) if follow => break,
                Err(Fault::Spoilt) => {
                    return Err(format!("{path}: the file is spoilt: it says nothing that makes sense"));
                }
                Err(Fault::Failed(kind)) => return Err(format!("{path}: {}", io::Error::from(kind))),
            }
        }
        if !follow {
            output::complain(&writer.summary(&reader));
            return Ok(());
        }
        bus.wait(seen, None);
    }
}

/// A capture is nothing for a terminal.
fn open_output(to: &str) -> Result<Box<dyn Write>, String> {
    match to {
        "-" if io::stdout().is_terminal() => {
            Err("standard output is a terminal: name a file with -w, or give the output to a program".into())
        }
        "-" => Ok(Box::new(io::stdout().lock())),
        path => File::create(path)
            .map(|file| Box::new(file) as Box<dyn Write>)
            .map_err(|error| format!("{path}: {error}")),
    }
}

/// What has become pcapng, and what is known of senders.
struct Writer {
    out: Vec<u8>,
    /// Each sender in the order of appearance, which is its number as an interface.
    senders: Vec<u64>,
    frames: u64,
    /// Overruns that were told of.
    overruns: u64,
    path: String,
}

impl Writer {
    fn new(path: &str) -> Self {
        let mut out = Vec::new();
        let application = concat!("rumpnet ", env!("CARGO_PKG_VERSION"));
        pcapng::Section { application: Some(application), ..pcapng::Section::default() }.emit(&mut out);
        Self { out, senders: Vec::new(), frames: 0, overruns: 0, path: path.to_owned() }
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Reads some of what there is, and returns how many frames.
    fn read(&mut self, reader: &mut Reader, bus: &BusFile, buffer: &mut [u8]) -> Result<usize, Fault> {
        let batch = reader.read(bus, buffer)?;
        let bytes = batch.bytes();
        let overruns = reader.overruns() - std::mem::replace(&mut self.overruns, reader.overruns());
        let mut drop_count = (overruns > 0).then_some(overruns);
        let mut count = 0;
        for (record, frame) in batch {
            self.add(&record, &bytes[frame], drop_count.take());
            count += 1;
        }
        self.frames += count as u64;
        Ok(count)
    }

    fn add(&mut self, record: &Record, data: &[u8], drop_count: Option<u64>) {
        let header = Header::parse(&record.offload).map(|(header, _)| header).unwrap_or_default();
        let block = pcapng::Packet {
            interface: self.number(record.sender),
            time_ns: record.time_ns,
            original_len: record.len,
            offload: pcapng::Offload {
                checksum_not_ready: header.flags.contains(Flags::NEEDS_CSUM),
                checksum_valid: header.flags.contains(Flags::DATA_VALID),
                tcp_segmentation: header.gso_type != GsoType::None,
            },
            drop_count,
            data,
            ..pcapng::Packet::default()
        };
        block.emit(&mut self.out);
    }

    /// The number of a sender; a new one is described first.
    fn number(&mut self, sender: u64) -> u32 {
        if let Some(number) = self.senders.iter().position(|known| *known == sender) {
            return number as u32;
        }
        let name = format!("{}#{}", self.path, self.senders.len());
        let interface = pcapng::Interface {
            link_type: LinkType::ETHERNET,
            snap_len: 0,
            name: Some(&name),
            description: Some(&format!("member {sender:016x} of the bus")),
            speed: None,
            time_offset: None,
        };
        interface.emit(&mut self.out);
        self.senders.push(sender);
        self.senders.len() as u32 - 1
    }

    fn summary(&self, reader: &Reader) -> String {
        let spoilt = if reader.spoilt() > 0 { ", and places that made no sense" } else { "" };
        format!("{} frames written, {} overrun{spoilt}\n", self.frames, reader.overruns())
    }
}
