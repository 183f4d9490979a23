//! The counters of interfaces, a line for each and one for each of its addresses.

use core::{fmt::Write, net::IpAddr};

use rumpnet_proto::{InterfaceFlags, InterfaceReport};
use rumpnet_wire::ip::Cidr;
use serde::Serialize;

use crate::{ifconfig::Interface, task::Report};

/// The table; in JSON the same interfaces as of ifconfig.
#[derive(Serialize)]
pub(super) struct Table {
    interfaces: Vec<Interface>,
    #[serde(skip)]
    rows: Vec<Row>,
    #[serde(skip)]
    bytes: bool,
    #[serde(skip)]
    drops: bool,
}

/// A line.
struct Row {
    name: String,
    mtu: u32,
    network: String,
    address: String,
    input: u64,
    input_errors: u64,
    output: u64,
    output_errors: u64,
    collisions: u64,
    drops: u64,
}

impl Table {
    pub(super) fn new(reports: Vec<InterfaceReport>, bytes: bool, drops: bool) -> Self {
        let rows = reports.iter().flat_map(|report| rows(report, bytes)).collect();
        Self { rows, interfaces: reports.into_iter().map(Interface::from).collect(), bytes, drops }
    }

    fn write(&self, text: &mut String) -> core::fmt::Result {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max(5);
        let (input, output) = if self.bytes { ("Ibytes", "Obytes") } else { ("Ipkts", "Opkts") };
        write!(text, "{:<width$} {:<5} {:<13} {:<17} ", "Name", "Mtu", "Network", "Address")?;
        write!(text, "{input:>8} {:>5} {output:>8} {:>5} {:>5}", "Ierrs", "Oerrs", "Colls")?;
        text.push_str(if self.drops { " Drops\n" } else { "\n" });
        for row in &self.rows {
            let Row {
                name,
                mtu,
                network,
                address,
                input,
                input_errors,
                output,
                output_errors,
                collisions,
                ..
            } = row;
            write!(text, "{name:<width$} {mtu:<5} {network:<13} {address:<17} ")?;
            write!(text, "{input:>8} {input_errors:>5} {output:>8} {output_errors:>5} {collisions:>5}")?;
            if self.drops {
                write!(text, " {:>5}", row.drops)?;
            }
            text.push('\n');
        }
        Ok(())
    }
}

impl Report for Table {
    fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a string takes everything");
        text
    }
}

/// The link's line, and one for each address; a star marks what is down.
fn rows(report: &InterfaceReport, bytes: bool) -> Vec<Row> {
    let star = if report.flags.contains(InterfaceFlags::UP) { "" } else { "*" };
    let name = format!("{}{star}", report.name);
    let counters = &report.counters;
    let row = |network: String, address: String| Row {
        name: name.clone(),
        mtu: report.mtu,
        network,
        address,
        input: if bytes { counters.input_bytes } else { counters.input_packets },
        input_errors: counters.input_errors,
        output: if bytes { counters.output_bytes } else { counters.output_packets },
        output_errors: counters.output_errors,
        collisions: counters.collisions,
        drops: report.drops.iter().map(|(_, count)| count).sum(),
    };
    let link = report.link_address.map(|address| address.to_string()).unwrap_or_default();
    let addresses = report.addresses.iter();
    let addresses =
        addresses.map(|entry| row(network(entry.address, entry.prefix_len), entry.address.to_string()));
    core::iter::once(row("<Link>".into(), link)).chain(addresses).collect()
}

/// `10.0.0/24`, as in the routing table.
fn network(address: IpAddr, prefix_len: u8) -> String {
    let network = Cidr::new(address, prefix_len).map_or(address, |cidr| cidr.network().address());
    crate::route::network_name(network, prefix_len)
}
