//! Multicast: NetBSD's tables of multicast routing, which are always empty here, and the groups that interfaces are in.

use core::fmt::Write;

use rumpnet_proto::{GroupReport, InterfaceReport};
use serde::Serialize;

use crate::{groups::Group, task::Report};

/// The groups of all interfaces.
#[derive(Serialize)]
pub(super) struct Groups {
    groups: Vec<Group>,
}

impl Groups {
    pub(super) fn new(interfaces: &[InterfaceReport], groups: &[GroupReport]) -> Self {
        let is_ethernet = |report: &&GroupReport| {
            let found = interfaces.iter().find(|interface| interface.name == report.interface);
            found.is_some_and(|interface| interface.link_address.is_some())
        };
        Self { groups: groups.iter().map(|report| Group::new(report, is_ethernet(&report))).collect() }
    }
}

impl Report for Groups {
    fn text(&self) -> String {
        let mut text = String::from(
            "\nVirtual Interface Table is empty\n\nMulticast Forwarding Cache is empty\n\n\
             IPv4 Multicast Group Memberships\n",
        );
        let mut line =
            |group: &str, link: &str, interface: &str, members: &str, mode: &str, sources: &str| {
                let _infallible =
                    writeln!(text, "{group:<19} {link:<18} {interface:<8} {members:>6} {mode:<7} {sources}");
            };
        line("Group", "Link-layer Address", "Netif", "Refcnt", "Mode", "Sources");
        for group in &self.groups {
            let link = group.link_address.as_deref().unwrap_or("<none>");
            let members = group.members.to_string();
            line(&group.group, link, &group.interface, &members, group.mode, &group.sources_text());
        }
        text
    }
}
