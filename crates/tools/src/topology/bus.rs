//! `[bus.NAME]`: what joins hosts, and what befalls frames there.

use rumpnet_proto::topology::{Bus, Conditions, Topology};
use rumpnet_wire::ip::Cidr;

use super::{
    address::{nth_network, required_v4},
    group::Names,
    section::Section,
};

/// The keys of the conditions, which an interface may have of its own.
pub(super) const CONDITION_KEYS: &[&str] =
    &["bandwidth", "corruption", "duplication", "jitter", "latency", "loss", "queue", "reordering"];

const KEYS: &[&str] = &["count", "mtu", "prefix"];

/// The buses by name, and what their interfaces have in common.
pub(super) struct Buses {
    pub(super) names: Names,
    /// By the place of the bus: the MTU of its interfaces.
    pub(super) mtus: Vec<Option<u32>>,
}

/// The least and the greatest MTU of an interface, in bytes (RFC 791, tap(4)).
const MTU: (i64, i64) = (68, 65_521);

/// Reads all buses into the topology.
pub(super) fn read(root: &Section<'_, '_>, topology: &mut Topology) -> Buses {
    let mut buses = Buses { names: Names::default(), mtus: Vec::new() };
    let Some(all) = root.section("bus", "[bus]") else { return buses };
    for (name, at, value) in all.entries() {
        let what = format!("bus `{name}`");
        if let Some(section) = Section::of(what, at, value, root.notes) {
            add(&section, name, &mut buses, topology);
        }
    }
    buses
}

fn add(section: &Section<'_, '_>, name: &str, buses: &mut Buses, topology: &mut Topology) {
    section.refuse_unknown(&[KEYS, CONDITION_KEYS].concat());
    let mtu = mtu(section);
    let conditions = conditions(section, Conditions::default());
    let prefix = prefix(section);
    let Some(group) = buses.names.add(section, name, "bus") else { return };
    let repeated = section.table.contains_key("count");
    for (number, name) in group.names(repeated).into_iter().enumerate() {
        let own = prefix.and_then(|prefix| {
            let own = nth_network(prefix, number);
            if own.is_none() && number > 0 {
                let message = format!("there is no {number}. network behind {prefix} for `{name}`");
                section.notes.add(&section.at, message);
            }
            own
        });
        topology.buses.push(Bus { name, prefix: own, conditions });
        buses.mtus.push(mtu);
    }
}

/// The network of a bus.
fn prefix(section: &Section<'_, '_>) -> Option<Cidr> {
    let prefix =
        section.parsed::<Cidr>("prefix", "a network with the length of its prefix, such as 10.0.0.0/24")?;
    required_v4(prefix.value.address(), &prefix.at, section.notes)?;
    if prefix.value.network() != prefix.value {
        let message = format!(
            "`prefix` of {}: {} has bits behind its prefix; the network is {}",
            section.what,
            prefix.value,
            prefix.value.network()
        );
        section.notes.add(&prefix.at, message);
        return None;
    }
    Some(prefix.value)
}

/// The key `mtu`.
pub(super) fn mtu(section: &Section<'_, '_>) -> Option<u32> {
    section.number("mtu", MTU.0, MTU.1).map(|mtu| mtu.value as u32)
}

/// The conditions of a section, over those that hold without it.
pub(super) fn conditions(section: &Section<'_, '_>, without: Conditions) -> Conditions {
    Conditions {
        latency_ns: section.span_ns("latency").unwrap_or(without.latency_ns),
        jitter_ns: section.span_ns("jitter").unwrap_or(without.jitter_ns),
        bandwidth: section.rate("bandwidth").or(without.bandwidth),
        queue: section
            .number("queue", 1, i64::from(u32::MAX))
            .map(|queue| queue.value as u32)
            .or(without.queue),
        loss_ppm: section.share_ppm("loss").unwrap_or(without.loss_ppm),
        duplication_ppm: section.share_ppm("duplication").unwrap_or(without.duplication_ppm),
        reordering_ppm: section.share_ppm("reordering").unwrap_or(without.reordering_ppm),
        corruption_ppm: section.share_ppm("corruption").unwrap_or(without.corruption_ppm),
    }
}
