//! What has passed the cables of late, kept so that a failed test can show it as pcapng.
//!
//! Every frame is kept once, as its sender gave it to the cable, with what befell it as a comment. The oldest
//! go when too many bytes are held.

use std::collections::VecDeque;

use rumpnet_stack::{buffer::Received, time::Instant};
use rumpnet_wire::pcapng::{Direction, Interface, LinkType, Packet, Section};

/// One frame that passed.
struct Record {
    time: Instant,
    end: u32,
    note: Option<&'static str>,
    frame: Received,
}

/// An end of a cable, as an interface of the capture.
struct RecordedEnd {
    name: String,
    cable: String,
    link_type: LinkType,
}

/// The latest frames of all cables.
pub(crate) struct Recording {
    ends: Vec<RecordedEnd>,
    records: VecDeque<Record>,
    held: usize,
    limit: usize,
    forgotten: u64,
}

impl Recording {
    /// Bytes kept unless the user wants more or less.
    const LIMIT: usize = 32 * 1024 * 1024;

    /// An empty recording.
    pub(crate) const fn new() -> Self {
        Self { ends: Vec::new(), records: VecDeque::new(), held: 0, limit: Self::LIMIT, forgotten: 0 }
    }

    /// A new end of a cable; returns its number.
    pub(crate) fn add_end(&mut self, name: String, cable: String, ethernet: bool) -> u32 {
        let link_type = if ethernet { LinkType::ETHERNET } else { LinkType::RAW };
        self.ends.push(RecordedEnd { name, cable, link_type });
        self.ends.len() as u32 - 1
    }

    /// Keeps at most so many bytes of frames; 0 keeps nothing.
    pub(crate) fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes;
        self.forget();
    }

    /// Keeps a frame.
    pub(crate) fn add(&mut self, time: Instant, end: u32, note: Option<&'static str>, frame: &Received) {
        if self.limit == 0 {
            return;
        }
        self.held += frame.pinned();
        self.records.push_back(Record { time, end, note, frame: frame.clone() });
        self.forget();
    }

    fn forget(&mut self) {
        while self.held > self.limit
            && let Some(oldest) = self.records.pop_front()
        {
            self.held -= oldest.frame.pinned();
            self.forgotten += 1;
        }
    }

    /// All of it as a pcapng file.
    pub(crate) fn to_pcapng(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let application = Some("rumpnet-sim");
        Section { application, ..Section::default() }.emit(&mut out);
        for end in &self.ends {
            let (name, description) = (Some(end.name.as_str()), Some(end.cable.as_str()));
            let link_type = end.link_type;
            Interface { link_type, snap_len: 0, name, description, speed: None, time_offset: None }
                .emit(&mut out);
        }
        for (place, record) in self.records.iter().enumerate() {
            let data: Vec<u8> = record.frame.whole().collect::<Vec<_>>().concat();
            Packet {
                interface: record.end,
                time_ns: record.time.as_nanos(),
                original_len: data.len() as u32,
                direction: Direction::Outbound,
                offload: record.frame.offload.into(),
                drop_count: (place == 0 && self.forgotten > 0).then_some(self.forgotten),
                comment: record.note,
                data: &data,
            }
            .emit(&mut out);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use rumpnet_wire::pcapng::{Block, blocks};

    use super::*;

    fn frame(len: usize) -> Received {
        Received::new(vec![7; len].into(), rumpnet_stack::buffer::Offload::default())
    }

    #[test]
    fn the_oldest_frames_go_first_and_are_counted() {
        let mut recording = Recording::new();
        let end = recording.add_end("a/virt0".into(), "cable0".into(), true);
        recording.set_limit(250);
        for second in 0..4 {
            recording.add(Instant::from_secs(second), end, None, &frame(100));
        }
        let file = recording.to_pcapng();
        let packets: Vec<_> = blocks(&file)
            .filter_map(|block| match block.expect("well formed") {
                Block::Packet(packet) => Some((packet.time_ns, packet.drop_count)),
                _ => None,
            })
            .collect();
        assert_eq!(packets, [(2_000_000_000, Some(2)), (3_000_000_000, None)]);
    }
}
