//! Packets of a kernel as pcapng: interfaces described before their first packet, times by the calendar, reasons of drops as comments.

use std::time::SystemTime;

use rumpnet_proto::{CaptureOptions, InterfaceReport, LinkKind};
use rumpnet_stack::{Captured, Direction};
use rumpnet_wire::pcapng::{self, LinkType};

use crate::Kernel;

/// As much as a pipe holds.
const ENOUGH: usize = 64 * 1024;

/// What has become pcapng and has not been taken yet.
pub(crate) struct Writer {
    kernel: Kernel,
    out: Vec<u8>,
    snap_len: u32,
    /// The index of each interface described so far, in the order of their numbers, with the packets seen on it.
    interfaces: Vec<(u32, u64)>,
}

impl Writer {
    /// Begins with the section and every interface that the capture covers, so that even an empty capture names them.
    pub(crate) fn new(kernel: &Kernel, options: &CaptureOptions) -> Self {
        let snap_len = options.snap_len.unwrap_or(0);
        let mut writer = Self { kernel: kernel.clone(), out: Vec::new(), snap_len, interfaces: Vec::new() };
        let application = concat!("rumpnet ", env!("CARGO_PKG_VERSION"));
        pcapng::Section { application: Some(application), ..pcapng::Section::default() }
            .emit(&mut writer.out);
        for report in writer.reports() {
            if options.interface.as_ref().is_none_or(|wanted| wanted == report.name.as_str()) {
                writer.describe(report.index, report.kind, report.name.as_str());
            }
        }
        writer
    }

    /// Whether more has been added than one wants to keep.
    pub(crate) const fn is_worth_writing(&self) -> bool {
        self.out.len() >= ENOUGH
    }

    /// What has been added since the last time.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Adds a packet.
    pub(crate) fn add(&mut self, packet: &Captured) {
        let number = self.number(packet.interface);
        self.interfaces[number].1 += 1;
        let direction = match packet.direction {
            Direction::In => pcapng::Direction::Inbound,
            Direction::Out => pcapng::Direction::Outbound,
        };
        let block = pcapng::Packet {
            interface: number as u32,
            time_ns: nanoseconds(self.kernel.wall_clock(packet.time)),
            original_len: packet.original_len,
            direction,
            offload: packet.offload.into(),
            comment: packet.reason.map(|reason| reason.text()),
            data: &packet.bytes,
            ..pcapng::Packet::default()
        };
        block.emit(&mut self.out);
    }

    /// Ends with the statistics of each interface; what was lost is known for all of them together only, and stands with the first.
    pub(crate) fn end(&mut self, overruns: u64) {
        let time_ns = nanoseconds(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default());
        for (number, (_, delivered)) in self.interfaces.iter().enumerate() {
            let statistics = pcapng::Statistics {
                interface: number as u32,
                time_ns,
                delivered: Some(*delivered),
                overruns: (number == 0).then_some(overruns),
                ..pcapng::Statistics::default()
            };
            statistics.emit(&mut self.out);
        }
    }

    fn reports(&self) -> Vec<InterfaceReport> {
        self.kernel.interfaces().unwrap_or_default()
    }

    /// The number of an interface in this capture; one made since the capture began is described first.
    fn number(&mut self, index: u32) -> usize {
        if let Some(number) = self.interfaces.iter().position(|(known, _)| *known == index) {
            return number;
        }
        match self.reports().iter().find(|report| report.index == index) {
            Some(report) => self.describe(index, report.kind, report.name.as_str()),
            // What was dropped on no interface has index 0 and no link header; a destroyed one is known by its index alone.
            None if index == 0 => self.describe(index, LinkKind::Ip, "none"),
            None => self.describe(index, LinkKind::Ethernet, &format!("if{index}")),
        }
    }

    fn describe(&mut self, index: u32, kind: LinkKind, name: &str) -> usize {
        let link_type = match kind {
            LinkKind::Ethernet => LinkType::ETHERNET,
            LinkKind::Ip | LinkKind::Loopback => LinkType::RAW,
        };
        let interface = pcapng::Interface {
            link_type,
            snap_len: self.snap_len,
            name: Some(name),
            description: None,
            speed: None,
            time_offset: None,
        };
        interface.emit(&mut self.out);
        self.interfaces.push((index, 0));
        self.interfaces.len() - 1
    }
}

/// 64 bits hold nanoseconds since 1970 until the year 2554.
fn nanoseconds(since_1970: std::time::Duration) -> u64 {
    u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)
}
