//! What ifconfig prints, in the layout of NetBSD 10.

use core::fmt::Write;

use super::{
    definition::Family,
    report::{Address, Bus, Input, Interface, Output},
};

/// What is shown of an interface.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct View {
    pub(super) counters: bool,
    pub(super) human: bool,
    pub(super) lifetimes: bool,
    /// Whether the media that there are are listed.
    pub(super) media: bool,
    /// The only family whose addresses are shown.
    pub(super) family: Option<Family>,
}

/// The lines of an interface.
pub(super) fn interface(interface: &Interface, view: View) -> String {
    let mut text = String::new();
    write(&mut text, interface, view).expect("a string takes everything");
    text
}

fn write(text: &mut String, interface: &Interface, view: View) -> core::fmt::Result {
    write!(text, "{}: flags={}", interface.name, bits(interface.flags_value, &interface.flags))?;
    if interface.metric != 0 {
        write!(text, " metric {}", interface.metric)?;
    }
    if interface.mtu_bytes != 0 {
        write!(text, " mtu {}", interface.mtu_bytes)?;
    }
    text.push('\n');
    if interface.capabilities_value != 0 {
        write_lines(text, "capabilities", interface.capabilities_value, &interface.capabilities)?;
        write_lines(text, "enabled", interface.enabled_value, &interface.enabled)?;
    }
    if let Some(address) = interface.link_address {
        writeln!(text, "\taddress: {address}")?;
    }
    if let Some(bus) = &interface.bus {
        write_bus(text, bus, interface.link_state, view)?;
    } else if interface.kind != "loopback" {
        writeln!(text, "\tlinkstate: {}", interface.link_state)?;
    }
    if view.counters {
        write_counters(text, interface, view.human)?;
    }
    write_addresses(text, interface, view)
}

/// The link string and the media of a bus, in NetBSD's words.
fn write_bus(text: &mut String, bus: &Bus, link_state: &str, view: View) -> core::fmt::Result {
    if let Some(string) = &bus.link_string {
        writeln!(text, "\tlinkstr: {string}")?;
    }
    let media = if bus.media == "none" { "none" } else { "autoselect" };
    let status = if link_state == "up" { "active" } else { "no carrier" };
    writeln!(text, "\tmedia: Ethernet {media}\n\tstatus: {status}")?;
    if view.media {
        writeln!(text, "\tsupported Ethernet media:\n\t\tmedia none\n\t\tmedia autoselect")?;
    }
    Ok(())
}

/// A number with the names of its bits: `0x8802<BROADCAST,SIMPLEX,MULTICAST>`, or `0`.
fn bits(value: u32, names: &[&str]) -> String {
    match value {
        0 => "0".into(),
        _ => format!("{value:#x}<{}>", names.join(",")),
    }
}

/// The widest list of bits on a line, as snprintb_m(3) breaks them for ifconfig.
const LIST_WIDTH: usize = 58;

/// A list of bits, on as many lines as it needs.
fn write_lines(text: &mut String, label: &str, value: u32, names: &[&str]) -> core::fmt::Result {
    let mut line: Vec<&str> = Vec::new();
    for name in names {
        line.push(name);
        if line.len() > 1 && bits(value, &line).len() > LIST_WIDTH {
            line.pop();
            writeln!(text, "\t{label}={}", bits(value, &line))?;
            line = vec![name];
        }
    }
    writeln!(text, "\t{label}={}", bits(value, &line))
}

/// `1 packet`, `2 packets`.
fn plural(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn bytes(count: u64, human: bool) -> String {
    if !human {
        return plural(count, "byte");
    }
    let number = humanize(count);
    let noun = if number == "1" { "byte" } else { "bytes" };
    format!("{number} {noun}")
}

/// At most four characters, as humanize_number(3) makes them: `999`, `1.0K`, `12M`.
fn humanize(count: u64) -> String {
    let mut hundredths = u128::from(count) * 100;
    let mut prefixes = ["", "K", "M", "G", "T", "P", "E"].into_iter();
    let mut prefix = prefixes.next().unwrap_or_default();
    while hundredths >= 99_950 {
        hundredths /= 1024;
        prefix = prefixes.next().unwrap_or("E");
    }
    if hundredths < 995 && !prefix.is_empty() {
        let tenths = (hundredths + 5) / 10;
        return format!("{}.{}{prefix}", tenths / 10, tenths % 10);
    }
    format!("{}{prefix}", (hundredths + 50) / 100)
}

/// Counters that are not zero, after those that always show.
fn write_counts(text: &mut String, counts: &[(u64, &str)]) -> core::fmt::Result {
    counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .try_for_each(|(count, noun)| write!(text, ", {}", plural(*count, noun)))
}

fn write_counters(text: &mut String, interface: &Interface, human: bool) -> core::fmt::Result {
    let Input { packets, multicasts, errors, queue_drops, unknown_protocol, .. } = interface.input;
    write!(text, "\tinput: {}, {}", plural(packets, "packet"), bytes(interface.input.bytes, human))?;
    write_counts(text, &[(multicasts, "multicast"), (errors, "error"), (queue_drops, "queue drop")])?;
    if unknown_protocol > 0 {
        write!(text, ", {unknown_protocol} unknown protocol")?;
    }
    let Output { packets, multicasts, errors, collisions, .. } = interface.output;
    write!(text, "\n\toutput: {}, {}", plural(packets, "packet"), bytes(interface.output.bytes, human))?;
    write_counts(text, &[(multicasts, "multicast"), (errors, "error"), (collisions, "collision")])?;
    text.push('\n');
    interface
        .drops
        .iter()
        .try_for_each(|drop| writeln!(text, "\tdropped: {} {}", drop.packets, drop.text))?;
    if let (Some(_), Some(overruns)) = (&interface.bus, interface.host_dropped_packets) {
        writeln!(text, "\tbus: {} overrun", plural(overruns, "packet"))?;
    }
    if let Some(host_end) = &interface.host_end {
        let dropped = interface.host_dropped_packets;
        let dropped = dropped.map(|count| format!(", {} dropped there", plural(count, "packet")));
        writeln!(text, "\thost: {host_end}{}", dropped.unwrap_or_default())?;
    }
    Ok(())
}

/// Families in the order in which NetBSD's kernel registers them; within one, addresses as they were given.
fn write_addresses(text: &mut String, interface: &Interface, view: View) -> core::fmt::Result {
    let shown = |family| view.family.is_none_or(|only| only == family);
    if shown(Family::Link) {
        interface.inactive_link_addresses.iter().try_for_each(|link| writeln!(text, "\tlink {link}"))?;
    }
    for family in [Family::Inet6, Family::Inet].into_iter().filter(|family| shown(*family)) {
        let addresses = interface.addresses.iter().filter(|address| address.family == family.name());
        for address in addresses {
            write_address(text, interface, address, view)?;
        }
    }
    Ok(())
}

fn write_address(
    text: &mut String,
    interface: &Interface,
    address: &Address,
    view: View,
) -> core::fmt::Result {
    let scoped = matches!(address.address, core::net::IpAddr::V6(address) if address.is_unicast_link_local());
    let scope = if scoped { format!("%{}", interface.name) } else { String::new() };
    write!(text, "\t{} {}{scope}/{}", address.family, address.address, address.prefix_bits)?;
    if let Some(peer) = address.peer {
        write!(text, " -> {peer}")?;
    }
    if let Some(broadcast) = address.broadcast {
        write!(text, " broadcast {broadcast}")?;
    }
    write!(text, " flags {}", bits(address.flags_value, &address.flags))?;
    if scoped {
        write!(text, " scopeid {:#x}", interface.index)?;
    }
    if view.lifetimes && address.address.is_ipv6() {
        // Addresses given by hand, the only ones there are, last for ever.
        text.push_str(" pltime infty vltime infty");
    }
    text.push('\n');
    Ok(())
}

#[cfg(test)]
mod tests;
