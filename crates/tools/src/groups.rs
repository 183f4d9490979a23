//! Multicast groups, as netstat(1) and ifmcstat(8) tell of them.

use rumpnet_proto::{FilterMode, GroupReport};
use serde::Serialize;

/// A group on an interface, in JSON as in docs/guide/json.md.
#[derive(Serialize)]
pub(crate) struct Group {
    pub(crate) group: String,
    pub(crate) interface: String,
    pub(crate) link_address: Option<String>,
    pub(crate) members: u32,
    pub(crate) mode: &'static str,
    pub(crate) sources: Vec<String>,
    pub(crate) source_count: u32,
    pub(crate) igmp_version: Option<u8>,
}

impl Group {
    /// A group; with the link address that it maps to, if its interface has such addresses.
    pub(crate) fn new(report: &GroupReport, is_ethernet: bool) -> Self {
        let link_address = rumpnet_wire::ethernet::Address::multicast(report.group);
        Self {
            group: report.group.to_string(),
            interface: report.interface.to_string(),
            link_address: is_ethernet.then(|| link_address.to_string()),
            members: report.members,
            mode: match report.mode {
                FilterMode::Include => "include",
                FilterMode::Exclude => "exclude",
            },
            sources: report.sources.iter().map(ToString::to_string).collect(),
            source_count: report.source_count,
            igmp_version: report.version,
        }
    }

    /// Its sources in words: `-` for none, and how many more there are.
    pub(crate) fn sources_text(&self) -> String {
        let more = self.source_count as usize - self.sources.len().min(self.source_count as usize);
        match (self.sources.join(","), more) {
            (sources, 0) if sources.is_empty() => "-".into(),
            (sources, 0) => sources,
            (sources, more) => format!("{sources} and {more} more"),
        }
    }
}
