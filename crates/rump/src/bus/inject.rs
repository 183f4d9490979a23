//! `rump bus inject`: the frames of a capture put on a bus.

use std::{fs, io, io::Read as _, thread, time::Duration};

use clap::ArgMatches;
use rumpnet_host::bus::{Access, BusFile};
use rumpnet_tools::{
    Status,
    captures::{self, Packet},
};
use rumpnet_wire::{bus::MAX_FRAME, pcapng::LinkType, virtio};

use super::{open, reason};
use crate::output;

/// How long others who write are given way.
const PAUSE: Duration = Duration::from_micros(50);

pub(super) fn run(program: &str, matches: &ArgMatches) -> Status {
    let text = |id| matches.get_one::<String>(id).map(String::as_str).unwrap_or_default();
    inject(program, text("BUS"), text("FILE"), matches.get_flag("times"))
}

/// Puts a capture on a bus, and says how many frames that were.
pub(super) fn inject(program: &str, bus: &str, file: &str, keep_times: bool) -> Status {
    match inject_all(bus, file, keep_times) {
        Ok(count) => output::report(None, &format!("{count} frames put on {bus}\n")),
        Err(reason) => output::failed(program, reason),
    }
}

fn inject_all(bus_path: &str, file: &str, keep_times: bool) -> Result<usize, String> {
    let bytes = read(file).map_err(|error| format!("{file}: {error}"))?;
    let packets = captures::packets(&bytes).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let packets = packets.map_err(|fault| format!("{file}: {fault}"))?;
    for (number, packet) in (1..).zip(&packets) {
        judge(packet).map_err(|reason| format!("{file}: packet {number}: {reason}"))?;
    }
    let bus = open(bus_path, Access::Member)?;
    let mut rest = &packets[..];
    while !rest.is_empty() {
        let sent = send(&bus, rest, keep_times).map_err(|error| format!("{bus_path}: {}", reason(&error)))?;
        rest = &rest[sent..];
    }
    Ok(packets.len())
}

fn read(file: &str) -> io::Result<Vec<u8>> {
    match file {
        "-" => {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
        }
        path => fs::read(path),
    }
}

/// Why a packet cannot be put on a bus, if it cannot.
fn judge(packet: &Packet<'_>) -> Result<(), String> {
    if packet.link_type != LinkType::ETHERNET.0 {
        return Err(format!("its link type is {}, and not Ethernet (1)", packet.link_type));
    }
    if (packet.data.len() as u64) < u64::from(packet.original_len) {
        return Err(format!(
            "only {} of its {} octets were captured",
            packet.data.len(),
            packet.original_len
        ));
    }
    if packet.data.len() > MAX_FRAME {
        return Err(format!("it has {} octets, more than the {MAX_FRAME} of any frame", packet.data.len()));
    }
    Ok(())
}

/// Puts some packets on a bus, and returns how many; none while others write.
fn send(bus: &BusFile, packets: &[Packet<'_>], keep_times: bool) -> io::Result<usize> {
    let mut turn = match bus.begin() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            thread::sleep(PAUSE);
            return Ok(0);
        }
        begun => begun?,
    };
    let mut count = 0;
    for packet in packets {
        turn.push(keep_times.then_some(packet.time_ns), &virtio::Header::default(), &[packet.data])?;
        count += 1;
        if turn.is_long() {
            break;
        }
    }
    turn.finish().map(|_| count)
}
