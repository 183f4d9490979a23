//! ifmcstat(8): the multicast groups of each interface, by its addresses and by its link's filter.

use core::{fmt::Write, net::IpAddr};
use std::collections::BTreeMap;

use clap::Command;
use rumpnet_proto::{GroupReport, InterfaceReport};
use serde::Serialize;

use crate::{
    Status,
    console::Console,
    definition::{letter, parse, tool, value, word},
    failure::Failure,
    groups::Group,
    task::{Report, Task},
};

pub(crate) fn command() -> Command {
    let family = value("f", "FAMILY", "Only what is of this family: inet, inet6 or link");
    tool("ifmcstat", "Show the multicast groups of each interface")
        .override_usage("ifmcstat [-v] [-i INTERFACE] [-f FAMILY]")
        .arg(value("i", "INTERFACE", "Only this interface"))
        .arg(family.value_parser(["inet", "inet6", "link"]))
        .arg(letter("v", "Which sources are wanted of each group, and in which version routers are told"))
}

pub(crate) async fn run(task: &Task<'_, impl Console>, words: &[&str]) -> Result<Status, Failure> {
    let matches = parse(command(), words)?;
    let interfaces = match word(&matches, "i") {
        Some(name) => vec![task.interface(name, false).await?],
        None => task.interfaces(false).await?,
    };
    let groups = task.groups().await?;
    let shown = Shown { family: word(&matches, "f").map(String::from), sources: matches.get_flag("v") };
    let interfaces = interfaces.iter().map(|interface| Interface::new(interface, &groups, &shown)).collect();
    task.report(&Memberships { interfaces, shown })?;
    Ok(Status::SUCCESS)
}

/// What is wanted of each interface.
struct Shown {
    family: Option<String>,
    sources: bool,
}

impl Shown {
    fn has(&self, family: &str) -> bool {
        self.family.as_deref().is_none_or(|wanted| wanted == family)
    }
}

/// The report.
#[derive(Serialize)]
struct Memberships {
    interfaces: Vec<Interface>,
    #[serde(skip)]
    shown: Shown,
}

#[derive(Serialize)]
struct Interface {
    name: String,
    addresses: Vec<IpAddr>,
    groups: Vec<Group>,
    link: Option<Filter>,
}

/// Which multicast addresses pass on a link.
#[derive(Serialize)]
struct Filter {
    address: String,
    groups: Vec<Passing>,
}

#[derive(Serialize)]
struct Passing {
    address: String,
    groups: u32,
}

impl Interface {
    fn new(interface: &InterfaceReport, groups: &[GroupReport], shown: &Shown) -> Self {
        let is_ethernet = interface.link_address.is_some();
        let mine = || groups.iter().filter(|report| report.interface == interface.name);
        let wanted = |address: &IpAddr| shown.has(if address.is_ipv4() { "inet" } else { "inet6" });
        let mut passing = BTreeMap::new();
        for address in mine().map(|report| rumpnet_wire::ethernet::Address::multicast(report.group).0) {
            *passing.entry(address).or_insert(0) += 1;
        }
        let passing = passing.into_iter().map(|(address, groups)| Passing {
            address: rumpnet_wire::ethernet::Address(address).to_string(),
            groups,
        });
        let filter = interface.link_address.filter(|_| shown.has("link"));
        Self {
            name: interface.name.to_string(),
            addresses: interface.addresses.iter().map(|entry| entry.address).filter(wanted).collect(),
            groups: mine()
                .filter(|report| wanted(&report.group))
                .map(|report| Group::new(report, is_ethernet))
                .collect(),
            link: filter.map(|address| Filter { address: address.to_string(), groups: passing.collect() }),
        }
    }

    fn write(&self, text: &mut String, sources: bool) -> core::fmt::Result {
        writeln!(text, "{}:", self.name)?;
        for address in &self.addresses {
            writeln!(text, "\t{} {address}", if address.is_ipv4() { "inet" } else { "inet6" })?;
        }
        for group in &self.groups {
            write!(text, "\t\tgroup {} refcnt {}", group.group, group.members)?;
            if sources {
                write!(text, " mode {} sources {}", group.mode, group.sources_text())?;
                group.igmp_version.iter().try_for_each(|version| write!(text, " igmpv{version}"))?;
            }
            text.push('\n');
        }
        if let Some(filter) = &self.link {
            writeln!(text, "\tenaddr {} multicnt {}", filter.address, filter.groups.len())?;
            for Passing { address, groups } in &filter.groups {
                writeln!(text, "\t\t{address} -- {address} {groups}")?;
            }
        }
        Ok(())
    }
}

impl Report for Memberships {
    fn text(&self) -> String {
        let mut text = String::new();
        for interface in &self.interfaces {
            interface.write(&mut text, self.shown.sources).expect("a string takes everything");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use rumpnet_proto::{ControlError, Errno, FilterMode, Operation, Reply, Request};
    use serde_json::json;

    use super::*;
    use crate::scripted::{Said, Script, lo0, virt0};

    type Call = (Request, Result<Reply, ControlError>);

    fn group(interface: &str, group: &str, sources: &[&str]) -> GroupReport {
        GroupReport {
            interface: interface.parse().unwrap(),
            group: group.parse().unwrap(),
            members: 1,
            mode: if sources.is_empty() { FilterMode::Exclude } else { FilterMode::Include },
            sources: sources.iter().map(|source| source.parse().unwrap()).collect(),
            source_count: sources.len() as u32,
            version: (interface != "lo0").then_some(3),
        }
    }

    /// Two pages of groups.
    fn groups() -> [Call; 2] {
        let first = vec![group("lo0", "224.0.0.1", &[]), group("virt0", "224.0.0.1", &[])];
        let last =
            vec![group("virt0", "232.1.2.3", &["10.0.0.7", "10.0.0.8"]), group("virt0", "239.129.2.3", &[])];
        let seen = Some((2, "224.0.0.1".parse().unwrap()));
        [
            (Request::Groups { after: None }, Ok(Reply::Groups { groups: first, next: seen })),
            (Request::Groups { after: seen }, Ok(Reply::Groups { groups: last, next: None })),
        ]
    }

    fn said(line: &str) -> Said {
        let page = Reply::Interfaces { interfaces: vec![lo0(), virt0()], next: None };
        let all = (Request::Interfaces { from: 0, reset: false }, Ok(page));
        let one = Reply::Interfaces { interfaces: vec![virt0()], next: None };
        let one = (Request::Interface { name: "virt0".into(), reset: false }, Ok(one));
        let first = if line.contains("-i") { one } else { all };
        Script::new([first].into_iter().chain(groups())).said(&line.split_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn every_page_is_shown_in_netbsds_layout() {
        assert_eq!(
            said("ifmcstat").out,
            "lo0:\n\tinet 127.0.0.1\n\t\tgroup 224.0.0.1 refcnt 1\n\
             virt0:\n\tinet 10.0.0.2\n\t\tgroup 224.0.0.1 refcnt 1\n\t\tgroup 232.1.2.3 refcnt 1\n\
             \t\tgroup 239.129.2.3 refcnt 1\n\
             \tenaddr b2:0a:5c:7d:01:9e multicnt 2\n\
             \t\t01:00:5e:00:00:01 -- 01:00:5e:00:00:01 1\n\
             \t\t01:00:5e:01:02:03 -- 01:00:5e:01:02:03 2\n"
        );
    }

    #[test]
    fn one_interface_and_one_family_are_shown_alone() {
        let text = said("ifmcstat -i virt0 -f link").out;
        assert!(text.starts_with("virt0:\n\tenaddr ") && !text.contains("group"), "{text}");
        let text = said("ifmcstat -i virt0 -f inet -v").out;
        assert!(!text.contains("enaddr"), "{text}");
        assert!(
            text.contains("group 232.1.2.3 refcnt 1 mode include sources 10.0.0.7,10.0.0.8 igmpv3\n"),
            "{text}"
        );
        assert!(text.contains("group 224.0.0.1 refcnt 1 mode exclude sources - igmpv3\n"), "{text}");
        assert_eq!(said("ifmcstat -i virt0 -f inet6").out, "virt0:\n");
    }

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        let error = ControlError::new(Operation::InterfaceStatus, "bogus0", Errno::Nxio);
        let call = (Request::Interface { name: "bogus0".into(), reset: false }, Err(error));
        let said = Script::new([call]).said(&["ifmcstat", "-i", "bogus0"]);
        assert_eq!(
            (said.status, said.err.as_str()),
            (Status::FAILURE, "ifmcstat: SIOCGIFFLAGS bogus0: Device not configured\n")
        );
    }

    #[test]
    fn the_json_has_groups_with_their_sources_and_the_links_filter() {
        let report = said("ifmcstat --json").json();
        let group = json!({
            "group": "232.1.2.3", "interface": "virt0", "link_address": "01:00:5e:01:02:03", "members": 1,
            "mode": "include", "sources": ["10.0.0.7", "10.0.0.8"], "source_count": 2, "igmp_version": 3,
        });
        assert_eq!(report.pointer("/interfaces/1/groups/1"), Some(&group));
        assert_eq!(report.pointer("/interfaces/1/link/groups/1/groups"), Some(&json!(2)));
        assert_eq!(report.pointer("/interfaces/0/link"), Some(&json!(null)));
    }

    #[test]
    fn netstat_shows_the_same_groups_line_by_line() {
        let page = Reply::Interfaces { interfaces: vec![lo0(), virt0()], next: None };
        let all = (Request::Interfaces { from: 0, reset: false }, Ok(page));
        let calls = || [all.clone()].into_iter().chain(groups());
        let text = Script::new(calls()).said(&["netstat", "-gn"]).out;
        assert_eq!(
            text,
            "\nVirtual Interface Table is empty\n\nMulticast Forwarding Cache is empty\n\n\
             IPv4 Multicast Group Memberships\n\
             Group               Link-layer Address Netif    Refcnt Mode    Sources\n\
             224.0.0.1           <none>             lo0           1 exclude -\n\
             224.0.0.1           01:00:5e:00:00:01  virt0         1 exclude -\n\
             232.1.2.3           01:00:5e:01:02:03  virt0         1 include 10.0.0.7,10.0.0.8\n\
             239.129.2.3         01:00:5e:01:02:03  virt0         1 exclude -\n"
        );
        let report = Script::new(calls()).said(&["netstat", "-g", "--json"]).json();
        assert_eq!(report.pointer("/groups/2/mode"), Some(&json!("include")));
    }
}
