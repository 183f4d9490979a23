//! `route monitor`: what happens to routes, neighbours, addresses and interfaces, as BSD's routing socket tells it.
//!
//! The layout is that of NetBSD's route(8). The lengths are those that NetBSD's messages have on a machine of 64 bits.
//! As JSON each event is one line: docs/guide/json.md.

use core::{fmt::Write, net::IpAddr, time::Duration};

use rumpnet_proto::{
    AddressReport, Change, InterfaceFlags, LinkName, LinkState, NeighborReport, NeighborState, RouteEvent,
    RouteNews, RouteReport,
};
use rumpnet_wire::ip::Cidr;
use serde_json::{Value, json};

use super::get::{flags, is_host};
use crate::{
    Status,
    console::{Closed, Console, Heard},
    date::ctime,
    failure::Failure,
    task::Task,
};

/// Lengths of NetBSD's headers: of rt_msghdr, ifa_msghdr, if_msghdr and if_announcemsghdr; of a socket address of IPv4 and of a link.
const ROUTE: usize = 120;
const ADDRESS: usize = 24;
const LINK: usize = 152;
const ANNOUNCE: usize = 24;
const INET: usize = 16;
const INET6: usize = 32;
const DL: usize = 24;

/// Prints what happens, or so many events of it.
pub(super) async fn monitor(task: &Task<'_, impl Console>, count: Option<u64>) -> Result<Status, Failure> {
    let (mut left, mut printed) = (count, Ok(()));
    let heard = task.console.monitor(|news| {
        let text = if task.json { line(&news) } else { text(&news, task.console.since_1970()) };
        printed = task.console.print(&text);
        left = left.map(|left| left - 1);
        if printed.is_err() || left == Some(0) { Heard::Enough } else { Heard::More }
    });
    let lost = heard.await;
    printed.map_err(|Closed| Failure::Closed)?;
    lost?;
    Ok(Status::SUCCESS)
}

/// An event as NetBSD's route prints its message.
fn text(news: &RouteNews, now: Duration) -> String {
    let message = Message::of(&news.event);
    let mut text = format!("got message of size {} on {}\n", message.len, ctime(now));
    message.write(&mut text).expect("a string takes everything");
    text
}

/// A message in the terms of route(4).
struct Message {
    title: &'static str,
    len: usize,
    /// What stands between the length and the addresses.
    body: String,
    /// Whether metrics are told of, which are never set.
    metrics: bool,
    addresses: Vec<(&'static str, String)>,
}

impl Message {
    fn of(event: &RouteEvent) -> Self {
        match event {
            RouteEvent::Route { change, route, index } => {
                Self::of_route(title_of(*change), *change, route, *index)
            }
            RouteEvent::Redirect { route, index, author } => {
                let title = "RTM_REDIRECT: Told to use different route";
                let mut message = Self::of_route(title, Change::Added, route, *index);
                message.add("AUTHOR", *author);
                message
            }
            RouteEvent::Miss { destination, link } => {
                let mut message = Self::of_look_up("RTM_MISS: Lookup failed on this address", &["DONE"]);
                message.add("DST", *destination);
                if let Some(link) = link {
                    message.add_link("GATEWAY", link_number(link.index));
                }
                message
            }
            RouteEvent::Neighbor { change, neighbor, .. } => Self::of_neighbor(*change, neighbor),
            RouteEvent::Address { change, address, link } => Self::of_address(*change, address, *link),
            RouteEvent::Link { link, flags, state } => Self::of_link(*link, *flags, *state),
            RouteEvent::Arrival { link } => Self::announced(*link, "arrival"),
            RouteEvent::Departure { link } => Self::announced(*link, "departure"),
            RouteEvent::Lost { events } => Self {
                title: "RTM_LOSING: Kernel Suspects Partitioning",
                len: ROUTE,
                body: format!("{events} events lost"),
                metrics: false,
                addresses: Vec::new(),
            },
        }
    }

    fn of_look_up(title: &'static str, flags: &[&str]) -> Self {
        let body = format!("pid 0, seq 0, errno 0, flags: {}", bits(flags));
        Self { title, len: ROUTE, body, metrics: true, addresses: Vec::new() }
    }

    fn of_route(title: &'static str, change: Change, route: &RouteReport, index: u32) -> Self {
        let mut flags = flags(route);
        flags.retain(|flag| change != Change::Deleted || *flag != "UP");
        let (network, len) = route.destination;
        let mut message = Self::of_look_up(title, &flags);
        if len == 0 {
            message.push("DST", inet_len(network), "default".into());
        } else {
            message.add("DST", network);
        }
        match route.gateway {
            Some(gateway) => message.add("GATEWAY", gateway),
            None => message.add_link("GATEWAY", link_number(index)),
        }
        if !is_host(route.destination)
            && let Some(cidr) = Cidr::new(network, len)
        {
            message.add("NETMASK", cidr.netmask());
        }
        message
    }

    fn of_neighbor(change: Change, neighbor: &NeighborReport) -> Self {
        let has = [
            (change != Change::Deleted, "UP"),
            (true, "HOST"),
            (true, "DONE"),
            (true, "LLINFO"),
            (neighbor.state == NeighborState::Permanent, "STATIC"),
            (true, "CLONED"),
        ];
        let flags: Vec<_> = has.into_iter().filter_map(|(has, flag)| has.then_some(flag)).collect();
        let mut message = Self::of_look_up(title_of(change), &flags);
        message.add("DST", neighbor.address);
        let link = neighbor.link_address.map_or_else(|| "(incomplete)".into(), |address| address.to_string());
        message.add_link("GATEWAY", link);
        message
    }

    fn of_address(change: Change, address: &AddressReport, link: LinkName) -> Self {
        let title = match change {
            Change::Added => "RTM_NEWADDR: address being added to iface",
            Change::Deleted => "RTM_DELADDR: address being removed from iface",
            Change::Changed => "RTM_CHGADDR: address being changed on iface",
        };
        let body = "pid 0, metric 0, flags: none".into();
        let mut message = Self { title, len: ADDRESS, body, metrics: false, addresses: Vec::new() };
        if let Some(cidr) = Cidr::new(address.address, address.prefix_len) {
            message.add("NETMASK", cidr.netmask());
        }
        message.add_link("IFP", link.name.as_str().into());
        message.add("IFA", address.address);
        // The far end of a point-to-point link stands where others have their broadcast address.
        if let Some(broadcast) = address.broadcast.or(address.peer) {
            message.add("BRD", broadcast);
        }
        message
    }

    fn of_link(link: LinkName, flags: InterfaceFlags, state: LinkState) -> Self {
        let carrier = match state {
            LinkState::Unknown => "unknown",
            LinkState::Down => "no carrier",
            LinkState::Up => "active",
        };
        let names: Vec<_> = flags.iter_names().map(|(name, _)| name).collect();
        let body = format!("if# {}, carrier: {carrier}, flags: {}", link.index, bits(&names));
        Self {
            title: "RTM_IFINFO: iface status change",
            len: LINK,
            body,
            metrics: false,
            addresses: Vec::new(),
        }
    }

    fn announced(link: LinkName, what: &str) -> Self {
        let body = format!("if# {}, what: {what}", link.index);
        let title = "RTM_IFANNOUNCE: iface arrival/departure";
        Self { title, len: ANNOUNCE, body, metrics: false, addresses: Vec::new() }
    }

    fn add(&mut self, name: &'static str, address: IpAddr) {
        self.push(name, inet_len(address), address.to_string());
    }

    fn add_link(&mut self, name: &'static str, link: String) {
        self.push(name, DL, link);
    }

    fn push(&mut self, name: &'static str, len: usize, text: String) {
        self.len += len;
        self.addresses.push((name, text));
    }

    fn write(&self, text: &mut String) -> core::fmt::Result {
        write!(text, "{}: len {}, {}", self.title, self.len, self.body)?;
        if self.metrics {
            write!(text, "\nlocks: none inits: none")?;
        }
        if !self.addresses.is_empty() {
            let names: Vec<_> = self.addresses.iter().map(|(name, _)| *name).collect();
            writeln!(text, "\nsockaddrs: {}", bits(&names))?;
            self.addresses.iter().try_for_each(|(_, address)| write!(text, " {address}"))?;
        }
        writeln!(text)
    }
}

const fn title_of(change: Change) -> &'static str {
    match change {
        Change::Added => "RTM_ADD: Add Route",
        Change::Deleted => "RTM_DELETE: Delete Route",
        Change::Changed => "RTM_CHANGE: Change Metrics, Flags or Gateway",
    }
}

const fn inet_len(address: IpAddr) -> usize {
    if address.is_ipv4() { INET } else { INET6 }
}

fn link_number(index: u32) -> String {
    format!("link#{index}")
}

/// Names of bits as NetBSD prints them.
fn bits(names: &[&str]) -> String {
    if names.is_empty() { "none".into() } else { format!("<{}>", names.join(",")) }
}

/// An event as a line of JSON.
fn line(news: &RouteNews) -> String {
    let (event, body) = match &news.event {
        RouteEvent::Route { change, route, .. } => {
            (name_of("route", *change), json!({ "route": route_json(route) }))
        }
        RouteEvent::Redirect { route, author, .. } => {
            ("redirect".into(), json!({ "route": route_json(route), "author": author }))
        }
        RouteEvent::Miss { destination, link } => {
            let interface = link.map(|link| link.name.as_str().to_owned());
            ("miss".into(), json!({ "destination": destination, "interface": interface }))
        }
        RouteEvent::Neighbor { change, neighbor, .. } => {
            let link_address = neighbor.link_address.map(|address| address.to_string());
            let body = json!({
                "address": neighbor.address,
                "link_address": link_address,
                "interface": neighbor.interface.as_str(),
                "permanent": neighbor.state == NeighborState::Permanent,
                "published": neighbor.published,
            });
            (name_of("neighbor", *change), json!({ "neighbor": body }))
        }
        RouteEvent::Address { change, address, link } => {
            let body = json!({
                "address": address.address,
                "prefix_bits": address.prefix_len,
                "broadcast": address.broadcast,
                "peer": address.peer,
                "flags": address.flags.iter_names().map(|(name, _)| name).collect::<Vec<_>>(),
            });
            (name_of("address", *change), json!({ "interface": link.name.as_str(), "address": body }))
        }
        RouteEvent::Link { link, flags, state } => {
            let state = match state {
                LinkState::Unknown => "unknown",
                LinkState::Down => "down",
                LinkState::Up => "up",
            };
            let flags: Vec<_> = flags.iter_names().map(|(name, _)| name).collect();
            let body = json!({ "interface": link.name.as_str(), "flags": flags, "link_state": state });
            ("link".into(), body)
        }
        RouteEvent::Arrival { link } => ("arrival".into(), json!({ "interface": link.name.as_str() })),
        RouteEvent::Departure { link } => ("departure".into(), json!({ "interface": link.name.as_str() })),
        RouteEvent::Lost { events } => ("lost".into(), json!({ "lost_events": events })),
    };
    let mut all = json!({ "version": 1, "time_ns": news.time_ns, "event": event });
    if let (Value::Object(all), Value::Object(body)) = (&mut all, body) {
        all.extend(body);
    }
    format!("{all}\n")
}

fn name_of(table: &str, change: Change) -> String {
    let change = match change {
        Change::Added => "added",
        Change::Deleted => "deleted",
        Change::Changed => "changed",
    };
    format!("{table}_{change}")
}

fn route_json(route: &RouteReport) -> Value {
    let (destination, prefix_bits) = route.destination;
    json!({
        "destination": destination,
        "prefix_bits": prefix_bits,
        "gateway": route.gateway,
        "interface": route.interface.as_str(),
        "flags": flags(route),
        "mtu": route.mtu,
        "hop_count": route.hop_count,
    })
}

#[cfg(test)]
mod tests;
