//! What protocols have counted, and what they dropped and why.

use core::fmt::Write;

use rumpnet_proto::{Counter, DropReason};
use serde::Serialize;

use crate::task::Report;

/// The protocols, in the order in which they are printed.
pub(super) const PROTOCOLS: &[&str] = &["link", "arp", "ip", "icmp", "igmp", "udp", "tcp"];

/// To which protocol a counter belongs, by the beginning of its name.
const BEGINNINGS: &[(&str, &str)] = &[
    ("Arp", "arp"),
    ("Neighbor", "arp"),
    ("OwnLink", "arp"),
    ("Icmp", "icmp"),
    ("Echo", "icmp"),
    ("Igmp", "igmp"),
    ("Ip", "ip"),
    ("Raw", "ip"),
    ("Socket", "ip"),
    ("Ports", "ip"),
    ("Udp", "udp"),
    ("Tcp", "tcp"),
];

/// Statistics by protocol, in JSON as in docs/guide/json.md.
#[derive(Serialize)]
pub(super) struct Statistics {
    protocols: Vec<Protocol>,
}

#[derive(Serialize)]
struct Protocol {
    name: &'static str,
    counters: Vec<Count>,
    drops: Vec<Count>,
}

#[derive(Serialize)]
struct Count {
    name: &'static str,
    text: &'static str,
    count: u64,
}

fn protocol(name: &str) -> &'static str {
    let found = BEGINNINGS.iter().find(|(beginning, _)| name.starts_with(beginning));
    found.map_or("link", |(_, protocol)| protocol)
}

impl Statistics {
    /// All counters, also those that the kernel left out because they are zero; without those if it shall be `brief`.
    pub(super) fn new(
        counters: &[(Counter, u64)],
        drops: &[(DropReason, u64)],
        only: Option<&str>,
        brief: bool,
    ) -> Self {
        let value =
            |counter: &Counter| counters.iter().find(|(other, _)| other == counter).map(|found| found.1);
        let dropped =
            |reason: &DropReason| drops.iter().find(|(other, _)| other == reason).map(|found| found.1);
        let wanted = |count: &Count, name: &str| protocol(count.name) == name && (count.count > 0 || !brief);
        let section = |name: &&'static str| Protocol {
            name,
            counters: Counter::ALL
                .iter()
                .map(|counter| Count::new(counter.name(), counter.text(), value(counter)))
                .filter(|count| wanted(count, name))
                .collect(),
            drops: DropReason::ALL
                .iter()
                .map(|reason| Count::new(reason.name(), reason.text(), dropped(reason)))
                .filter(|count| wanted(count, name))
                .collect(),
        };
        let names = PROTOCOLS.iter().filter(|name| only.is_none_or(|only| only == **name));
        let sections = names.map(section).filter(|section| !section.is_empty());
        Self { protocols: sections.collect() }
    }
}

impl Count {
    fn new(name: &'static str, text: &'static str, count: Option<u64>) -> Self {
        Self { name, text, count: count.unwrap_or_default() }
    }
}

impl Protocol {
    const fn is_empty(&self) -> bool {
        self.counters.is_empty() && self.drops.is_empty()
    }
}

impl Report for Statistics {
    fn text(&self) -> String {
        let mut text = String::new();
        for Protocol { name, counters, drops } in &self.protocols {
            let _infallible = writeln!(text, "{name}:");
            for Count { text: words, count, .. } in counters {
                let _infallible = writeln!(text, "\t{count} {words}");
            }
            for Count { text: words, count, .. } in drops {
                let _infallible = writeln!(text, "\t{count} dropped: {words}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_and_reason_is_printed_once() {
        let all = Statistics::new(&[], &[], None, false).text();
        for text in Counter::ALL.iter().map(|counter| format!("\t0 {}\n", counter.text())) {
            assert_eq!(all.matches(&text).count(), 1, "{text}");
        }
        for text in DropReason::ALL.iter().map(|reason| format!("\t0 dropped: {}\n", reason.text())) {
            assert_eq!(all.matches(&text).count(), 1, "{text}");
        }
    }

    #[test]
    fn counters_stand_with_their_protocol() {
        for (name, expected) in [
            ("ArpRequestsSent", "arp"),
            ("NeighborEvicted", "arp"),
            ("IpReceived", "ip"),
            ("Ipv4Checksum", "ip"),
            ("IcmpSent", "icmp"),
            ("EchoSocketFull", "icmp"),
            ("IgmpReportsSent", "igmp"),
            ("IpMulticastLooped", "ip"),
            ("UdpSent", "udp"),
            ("LinkRunt", "link"),
            ("OffloadGsoSize", "link"),
        ] {
            assert_eq!(protocol(name), expected, "{name}");
        }
    }
}
