//! What ifconfig has to say of interfaces: plain values, in JSON as in docs/guide/json.md.

use core::net::IpAddr;

use rumpnet_proto::{
    AddressFlags, AddressReport, BusReport, Capabilities, InterfaceCounters, InterfaceReport, LinkKind,
    LinkState, Media,
};
use rumpnet_wire::ethernet;
use serde::{Serialize, Serializer};

/// One interface.
#[derive(Serialize)]
pub(crate) struct Interface {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) kind: &'static str,
    pub(super) flags_value: u32,
    pub(super) flags: Vec<&'static str>,
    pub(super) mtu_bytes: u32,
    pub(super) metric: u32,
    pub(super) capabilities_value: u32,
    pub(super) capabilities: Vec<&'static str>,
    pub(super) enabled_value: u32,
    pub(super) enabled: Vec<&'static str>,
    #[serde(serialize_with = "optional_text")]
    pub(super) link_address: Option<ethernet::Address>,
    #[serde(serialize_with = "texts")]
    pub(super) inactive_link_addresses: Vec<ethernet::Address>,
    pub(super) link_state: &'static str,
    pub(super) addresses: Vec<Address>,
    pub(super) input: Input,
    pub(super) output: Output,
    pub(super) drops: Vec<Drop>,
    pub(super) host_end: Option<String>,
    pub(super) host_dropped_packets: Option<u64>,
    pub(super) bus: Option<Bus>,
}

/// The bus of an interface that is of a kind that stands on one.
#[derive(Serialize)]
pub(super) struct Bus {
    pub(super) link_string: Option<String>,
    /// `auto` or `none`.
    pub(super) media: &'static str,
}

/// One address.
#[derive(Serialize)]
pub(super) struct Address {
    pub(super) family: &'static str,
    pub(super) address: IpAddr,
    pub(super) prefix_bits: u8,
    pub(super) broadcast: Option<IpAddr>,
    pub(super) peer: Option<IpAddr>,
    pub(super) flags_value: u32,
    pub(super) flags: Vec<&'static str>,
}

/// What came in.
#[derive(Serialize)]
pub(super) struct Input {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) multicasts: u64,
    pub(super) errors: u64,
    pub(super) queue_drops: u64,
    pub(super) unknown_protocol: u64,
}

/// What went out.
#[derive(Serialize)]
pub(super) struct Output {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) multicasts: u64,
    pub(super) errors: u64,
    pub(super) collisions: u64,
}

/// What was dropped for one reason.
#[derive(Serialize)]
pub(super) struct Drop {
    pub(super) reason: &'static str,
    pub(super) text: &'static str,
    pub(super) packets: u64,
}

impl From<InterfaceReport> for Interface {
    fn from(report: InterfaceReport) -> Self {
        Self {
            name: report.name.as_str().into(),
            index: report.index,
            kind: match report.kind {
                LinkKind::Ethernet => "ethernet",
                LinkKind::Ip => "ip",
                LinkKind::Loopback => "loopback",
            },
            flags_value: report.flags.bits(),
            flags: report.flags.iter_names().map(|(name, _)| name).collect(),
            mtu_bytes: report.mtu,
            metric: report.metric,
            capabilities_value: report.capabilities.bits(),
            capabilities: capability_names(report.capabilities),
            enabled_value: report.enabled.bits(),
            enabled: capability_names(report.enabled),
            link_address: report.link_address,
            inactive_link_addresses: report.inactive_link_addresses,
            link_state: match report.link_state {
                LinkState::Unknown => "unknown",
                LinkState::Down => "down",
                LinkState::Up => "up",
            },
            addresses: report.addresses.into_iter().map(Address::from).collect(),
            input: Input::from(&report.counters),
            output: Output::from(&report.counters),
            drops: report
                .drops
                .iter()
                .map(|(reason, packets)| Drop {
                    reason: reason.name(),
                    text: reason.text(),
                    packets: *packets,
                })
                .collect(),
            host_end: report.host_end,
            host_dropped_packets: report.host_drops,
            bus: report.bus.map(Bus::from),
        }
    }
}

impl From<BusReport> for Bus {
    fn from(report: BusReport) -> Self {
        let media = match report.media {
            Media::Auto => "auto",
            Media::None => "none",
        };
        Self { link_string: report.link_string, media }
    }
}

impl From<AddressReport> for Address {
    fn from(report: AddressReport) -> Self {
        let is_ipv4 = report.address.is_ipv4();
        let (flags_value, flags) = address_flags(report.flags, is_ipv4);
        Self {
            family: if is_ipv4 { "inet" } else { "inet6" },
            address: report.address,
            prefix_bits: report.prefix_len,
            broadcast: report.broadcast,
            peer: report.peer,
            flags_value,
            flags,
        }
    }
}

impl From<&InterfaceCounters> for Input {
    fn from(counters: &InterfaceCounters) -> Self {
        Self {
            packets: counters.input_packets,
            bytes: counters.input_bytes,
            multicasts: counters.input_multicasts,
            errors: counters.input_errors,
            queue_drops: counters.input_queue_drops,
            unknown_protocol: counters.unknown_protocol,
        }
    }
}

impl From<&InterfaceCounters> for Output {
    fn from(counters: &InterfaceCounters) -> Self {
        Self {
            packets: counters.output_packets,
            bytes: counters.output_bytes,
            multicasts: counters.output_multicasts,
            errors: counters.output_errors,
            collisions: counters.collisions,
        }
    }
}

/// NetBSD writes `_Rx` where our constants say `_RX`.
fn capability_names(capabilities: Capabilities) -> Vec<&'static str> {
    let netbsd = |name| match name {
        "IP4CSUM_RX" => "IP4CSUM_Rx",
        "IP4CSUM_TX" => "IP4CSUM_Tx",
        "TCP4CSUM_RX" => "TCP4CSUM_Rx",
        "TCP4CSUM_TX" => "TCP4CSUM_Tx",
        "UDP4CSUM_RX" => "UDP4CSUM_Rx",
        "UDP4CSUM_TX" => "UDP4CSUM_Tx",
        "TCP6CSUM_RX" => "TCP6CSUM_Rx",
        "TCP6CSUM_TX" => "TCP6CSUM_Tx",
        "UDP6CSUM_RX" => "UDP6CSUM_Rx",
        "UDP6CSUM_TX" => "UDP6CSUM_Tx",
        other => other,
    };
    capabilities.iter_names().map(|(name, _)| netbsd(name)).collect()
}

/// The numbers of address flags differ by family: IN_IFF_* (netinet/in_var.h) and IN6_IFF_* (netinet6/in6_var.h).
fn address_flags(flags: AddressFlags, is_ipv4: bool) -> (u32, Vec<&'static str>) {
    let inet = [
        (AddressFlags::TENTATIVE, 0x01, "TENTATIVE"),
        (AddressFlags::DUPLICATED, 0x02, "DUPLICATED"),
        (AddressFlags::DETACHED, 0x04, "DETACHED"),
    ];
    let inet6 = [
        (AddressFlags::ANYCAST, 0x01, "ANYCAST"),
        (AddressFlags::TENTATIVE, 0x02, "TENTATIVE"),
        (AddressFlags::DUPLICATED, 0x04, "DUPLICATED"),
        (AddressFlags::DETACHED, 0x08, "DETACHED"),
        (AddressFlags::DEPRECATED, 0x10, "DEPRECATED"),
        (AddressFlags::NODAD, 0x20, "NODAD"),
        (AddressFlags::AUTOCONF, 0x40, "AUTOCONF"),
        (AddressFlags::TEMPORARY, 0x80, "TEMPORARY"),
    ];
    let family = if is_ipv4 { &inet[..] } else { &inet6[..] };
    let set = family.iter().filter(|(flag, ..)| flags.contains(*flag));
    set.fold((0, Vec::new()), |(value, mut names), (_, number, name)| {
        names.push(*name);
        (value | number, names)
    })
}

fn optional_text<S: Serializer>(value: &Option<ethernet::Address>, to: S) -> Result<S::Ok, S::Error> {
    value.map(|address| address.to_string()).serialize(to)
}

fn texts<S: Serializer>(values: &[ethernet::Address], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(values.iter().map(ToString::to_string))
}
