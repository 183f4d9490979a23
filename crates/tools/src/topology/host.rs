//! `[host.NAME]`: hosts, their interfaces and variables.

use rumpnet_proto::{
    CloneName, sysctl,
    topology::{Host, Interface, Topology},
};
use rumpnet_wire::{ethernet, ip::Cidr};
use toml::de::DeValue;

use super::{
    address::required_v4,
    bus::{self, Buses, CONDITION_KEYS},
    group::{Group, Named, Names},
    mistake::{Span, suggestion},
    section::{Placed, Section, integer, kind},
};

/// The keys of a host beside its interfaces.
const KEYS: &[&str] = &["count", "forwarding", "routes", "sysctl"];

const INTERFACE_KEYS: &[&str] = &["address", "bus", "link", "mtu"];

/// The variable that `forwarding` sets.
pub(super) const FORWARDING: &str = "net.inet.ip.forwarding";

/// The hosts by name, and what is said of them that is not an address yet.
pub(super) struct Hosts<'a> {
    pub(super) names: Names,
    pub(super) wishes: Vec<Wish>,
    pub(super) routes: Vec<Routes<'a>>,
}

/// An address to be given to an interface.
pub(super) struct Wish {
    /// The place of the host, and that of the interface in it.
    pub(super) host: usize,
    pub(super) interface: usize,
    /// Which one of those that are repeated it is, counted from 0: of all, and on this bus.
    pub(super) number: usize,
    pub(super) number_on_bus: usize,
    pub(super) wanted: Wanted,
    pub(super) at: Span,
}

/// Which address is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    /// This one, or for those repeated the ones that follow.
    This(Cidr),
    /// The one with this number in the network of the bus, or those that follow.
    Nth(u32),
    /// One that is free in this network.
    FreeIn(Cidr),
    /// One that is free in the network of the bus, if that has one.
    Free,
}

/// The routes of a group of hosts: destinations and where they lead, as written.
pub(super) struct Routes<'a> {
    pub(super) group: Group,
    pub(super) entries: Vec<(&'a str, Span, Placed<&'a str>)>,
}

/// Reads all hosts into the topology; their addresses are wishes still.
pub(super) fn read<'a>(root: &Section<'a, '_>, buses: &Buses, topology: &mut Topology) -> Hosts<'a> {
    let mut hosts = Hosts { names: Names::default(), wishes: Vec::new(), routes: Vec::new() };
    let Some(all) = root.section("host", "[host]") else {
        root.notes.add(&root.at, "a lab needs a host: [host.NAME]");
        return hosts;
    };
    for (name, at, value) in all.entries() {
        if let Some(section) = Section::of(format!("host `{name}`"), at, value, root.notes) {
            add(&section, name, buses, &mut hosts, topology);
        }
    }
    hosts
}

fn add<'a>(
    section: &Section<'a, '_>,
    name: &str,
    buses: &Buses,
    hosts: &mut Hosts<'a>,
    topology: &mut Topology,
) {
    let Some(group) = hosts.names.add(section, name, "host") else { return };
    let sysctls = sysctls(section);
    let repeated = section.table.contains_key("count");
    let line = section.notes.line(&section.at);
    for name in group.names(repeated) {
        topology.hosts.push(Host { name, line, sysctls: sysctls.clone(), ..Host::default() });
    }
    for (key, at, value) in section.entries() {
        if KEYS.contains(&key) {
            continue;
        }
        let Some(canonical) = interface_name(section, key, &at) else { continue };
        let what = format!("`{key}` of {}", section.what);
        if let Some(interface) = Section::of(what, at, value, section.notes) {
            add_interface(&interface, canonical, &group, buses, hosts, topology);
        }
    }
    if let Some(routes) = section.section("routes", &format!("`routes` of {}", section.what)) {
        hosts.routes.push(Routes { group, entries: route_entries(&routes) });
    }
}

/// The name of an interface on a bus, if the key is one; a complaint if not.
fn interface_name(section: &Section<'_, '_>, key: &str, at: &Span) -> Option<rumpnet_proto::InterfaceName> {
    let Ok(parsed) = CloneName::parse(key) else {
        section.refuse_key(key, at, KEYS);
        return None;
    };
    if !parsed.is_bus() {
        let message =
            format!("{}: `{key}` is no interface on a bus; these are bus<n>, such as bus0", section.what);
        section.notes.add(at, message);
        return None;
    }
    let name = parsed.interface_name().ok();
    if name.is_none_or(|name| name.as_str() != key) {
        section.notes.add(at, format!("{}: `{key}` is no name of an interface", section.what));
        return None;
    }
    name
}

fn add_interface(
    section: &Section<'_, '_>,
    name: rumpnet_proto::InterfaceName,
    group: &Group,
    buses: &Buses,
    hosts: &mut Hosts<'_>,
    topology: &mut Topology,
) {
    section.refuse_unknown(&[INTERFACE_KEYS, CONDITION_KEYS].concat());
    let Some(on) = section.text("bus") else {
        if !section.table.contains_key("bus") {
            let what = &section.what;
            section.notes.add(&section.at, format!("{what} is on no bus; say `bus = \"NAME\"`"));
        }
        return;
    };
    let link_address = link_address(section, group);
    let own_mtu = bus::mtu(section);
    let has_conditions = CONDITION_KEYS.iter().any(|key| section.table.contains_key(*key));
    let wanted = wanted(section);
    let Some(found) = buses.names.find(on.value, "bus", &on.at, section.notes) else { return };
    let places = buses.names.places(found);
    if matches!(found, Named::Group(_)) && group.count < places.len() {
        let message = format!(
            "{} host cannot be on the {} buses of `{}`; name one of them, such as `{}1`",
            group.count,
            places.len(),
            on.value,
            on.value
        );
        return section.notes.add(&on.at, message);
    }
    let (mut last, mut number_on_bus) = (usize::MAX, 0);
    for number in 0..group.count {
        // Blocks of neighbours share a bus.
        let bus = places.start + number * places.len() / group.count;
        number_on_bus = if bus == last { number_on_bus + 1 } else { 0 };
        last = bus;
        let host = &mut topology.hosts[group.first + number];
        let conditions = has_conditions.then(|| bus::conditions(section, topology.buses[bus].conditions));
        host.interfaces.push(Interface {
            name,
            bus,
            addresses: Vec::new(),
            mtu: own_mtu.or(buses.mtus[bus]),
            link_address,
            conditions,
        });
        let interface = host.interfaces.len() - 1;
        hosts.wishes.extend(wanted.iter().map(|wanted| Wish {
            host: group.first + number,
            interface,
            number,
            number_on_bus,
            wanted: wanted.value,
            at: wanted.at.clone(),
        }));
    }
}

/// The key `link`, which is one host's alone.
fn link_address(section: &Section<'_, '_>, group: &Group) -> Option<ethernet::Address> {
    let link = section.parsed::<ethernet::Address>("link", "a link address, such as 02:00:00:00:00:01")?;
    if group.count > 1 {
        let message =
            format!("`link` of {}: {} hosts cannot have one link address", section.what, group.count);
        section.notes.add(&link.at, message);
    } else if !link.value.is_unicast() {
        section
            .notes
            .add(&link.at, format!("`link` of {}: {} is not one station's", section.what, link.value));
    }
    Some(link.value)
}

/// The key `address`: which addresses an interface shall have; any that is free on its bus if it is not there.
fn wanted(section: &Section<'_, '_>) -> Vec<Placed<Wanted>> {
    if !section.table.contains_key("address") {
        return vec![Placed { value: Wanted::Free, at: section.at.clone() }];
    }
    let read = |text: Placed<&str>| {
        let value = wanted_address(text.value);
        if value.is_none() {
            let message = format!(
                "`address` of {}: `{}` is not an address with the length of its prefix, such as 10.0.0.1/24, nor a number in the network of the bus, such as +1",
                section.what, text.value
            );
            section.notes.add(&text.at, message);
        }
        let value = value?;
        if let Wanted::This(cidr) | Wanted::FreeIn(cidr) = value {
            required_v4(cidr.address(), &text.at, section.notes)?;
        }
        Some(Placed { value, at: text.at })
    };
    section.texts("address").unwrap_or_default().into_iter().filter_map(read).collect()
}

fn wanted_address(text: &str) -> Option<Wanted> {
    if let Some(number) = text.strip_prefix('+') {
        return number.parse().ok().filter(|number| *number > 0).map(Wanted::Nth);
    }
    let cidr: Cidr = text.parse().ok()?;
    let is_network = cidr.network() == cidr && cidr.broadcast().is_some();
    Some(if is_network { Wanted::FreeIn(cidr) } else { Wanted::This(cidr) })
}

/// The variables of a host, by their whole names.
fn sysctls(section: &Section<'_, '_>) -> Vec<(String, i64)> {
    let mut found = Vec::new();
    if let Some(on) = section.switch("forwarding") {
        found.push((FORWARDING.to_owned(), i64::from(on)));
    }
    if let Some(table) = section.section("sysctl", &format!("`sysctl` of {}", section.what)) {
        flatten(&table, "", &mut found);
    }
    found
}

/// `net.inet.ip.ttl = 3` without quotes is a table in a table.
fn flatten(section: &Section<'_, '_>, prefix: &str, found: &mut Vec<(String, i64)>) {
    for (key, at, value) in section.entries() {
        let name = format!("{prefix}{key}");
        match value {
            DeValue::Table(table) => {
                let below = Section { what: section.what.clone(), at, table, notes: section.notes };
                flatten(&below, &format!("{name}."), found);
            }
            other => {
                let number =
                    if let DeValue::Boolean(on) = other { Some(i64::from(*on)) } else { integer(other) };
                match number {
                    Some(number) => {
                        check_variable(&name, number, &at, section);
                        found.push((name, number));
                    }
                    None => {
                        let (what, is) = (&section.what, kind(other));
                        section.notes.add(&at, format!("{what}: `{name}` must be a whole number, not {is}"));
                    }
                }
            }
        }
    }
}

/// Complains of a variable that is not there, or does not take the value.
fn check_variable(name: &str, value: i64, at: &Span, section: &Section<'_, '_>) {
    let Some(variable) = sysctl::variable(name) else {
        let near = suggestion(name, sysctl::VARIABLES.iter().map(|variable| variable.name));
        return section.notes.add(at, format!("{}: unknown variable `{name}`{near}", section.what));
    };
    let fits = variable.range.is_some_and(|(least, greatest)| (least..=greatest).contains(&value));
    if !fits {
        let takes = variable.takes().unwrap_or_else(|| "it cannot be set".to_owned());
        section.notes.add(at, format!("{}: `{name}` is {value}, and {takes}", section.what));
    }
}

fn route_entries<'a>(section: &Section<'a, '_>) -> Vec<(&'a str, Span, Placed<&'a str>)> {
    let entries = section.entries().into_iter();
    let read = entries.filter_map(|(key, at, _)| section.text(key).map(|via| (key, at, via)));
    read.collect()
}
