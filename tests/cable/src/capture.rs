//! A recording of what one machine sends and gets, as a pcapng file in memory.

use std::time::Duration;

use rumpnet_wire::pcapng::{Direction, Interface, LinkType, Packet, Section};

/// A recording.
pub(crate) struct Capture(Vec<u8>);

impl Capture {
    /// A recording of nothing yet.
    pub(crate) fn begin() -> Self {
        let mut file = Vec::new();
        Section { application: Some("rumpnet-cable"), ..Section::default() }.emit(&mut file);
        let interface = Interface {
            link_type: LinkType::ETHERNET,
            snap_len: 0,
            name: Some("end 0"),
            description: None,
            speed: None,
            time_offset: None,
        };
        interface.emit(&mut file);
        Self(file)
    }

    /// Adds a frame.
    pub(crate) fn add(&mut self, at: Duration, direction: Direction, frame: &[u8]) {
        let packet = Packet {
            time_ns: u64::try_from(at.as_nanos()).unwrap_or(u64::MAX),
            original_len: frame.len() as u32,
            direction,
            data: frame,
            ..Packet::default()
        };
        packet.emit(&mut self.0);
    }

    /// The file.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}
