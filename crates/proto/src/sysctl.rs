//! The variables of sysctl(7): what each is, in which unit, and between what it may be set.
//!
//! This is the one list of them: the kernel refuses by it, `sysctl -d` and the manual page tell of it.
//! Where the values are kept is the kernel's business.

/// A variable of sysctl(7). All are whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name, such as `net.inet.ip.ttl`.
    pub name: &'static str,
    /// What it means, in one sentence without its full stop.
    pub meaning: &'static str,
    /// What it is counted in; empty for switches and choices.
    pub unit: &'static str,
    /// What it is in a kernel for a server, of which nobody has asked anything else.
    pub default: i64,
    /// The least and the greatest value that it may be set to; none for what is only measured.
    pub range: Option<(i64, i64)>,
}

impl Variable {
    /// What it takes, as a refusal says it; none if it cannot be set.
    pub fn takes(&self) -> Option<alloc::string::String> {
        let unit = if self.unit.is_empty() { "" } else { " " };
        self.range
            .map(|(least, greatest)| alloc::format!("it takes {least} to {greatest}{unit}{}", self.unit))
    }
}

/// The variable of that name.
pub fn variable(name: &str) -> Option<&'static Variable> {
    let place = VARIABLES.binary_search_by(|variable| variable.name.cmp(name)).ok()?;
    VARIABLES.get(place)
}

const U32: i64 = u32::MAX as i64;
/// The greatest buffer of one socket.
const BUFFER: i64 = 1 << 26;
/// The most that all buffers together may be given.
const MEMORY: i64 = 1 << 50;

const fn of(
    name: &'static str,
    unit: &'static str,
    default: i64,
    (least, greatest): (i64, i64),
    meaning: &'static str,
) -> Variable {
    Variable { name, meaning, unit, default, range: Some((least, greatest)) }
}

const fn measured(name: &'static str, unit: &'static str, meaning: &'static str) -> Variable {
    Variable { name, meaning, unit, default: 0, range: None }
}

/// Every variable, sorted by name; what is not here does not exist.
pub const VARIABLES: &[Variable] = &[
    of(
        "net.inet.arp.keep",
        "s",
        1200,
        (1, U32),
        "How long a neighbour is believed after it was last confirmed",
    ),
    of(
        "net.inet.icmp.bmcastecho",
        "",
        0,
        (0, 1),
        "Whether echo requests to broadcast addresses and groups are answered",
    ),
    of("net.inet.icmp.errpplimit", "packets/s", 100, (0, U32), "ICMP errors sent to one peer"),
    of("net.inet.icmp.errppslimit", "packets/s", 1000, (0, U32), "ICMP errors sent to all peers together"),
    of("net.inet.icmp.maskrepl", "", 0, (0, 1), "Whether requests for the address mask are answered"),
    of("net.inet.icmp.rediraccept", "", 1, (0, 1), "Whether redirects of our routers are obeyed"),
    of("net.inet.icmp.redirtimeout", "s", 600, (1, U32), "How long a route lives that a redirect has made"),
    of(
        "net.inet.icmp.returndatabytes",
        "bytes",
        528,
        (8, 528),
        "Octets of an offending packet's payload that an ICMP error quotes",
    ),
    of("net.inet.icmp.tstamprepl", "", 1, (0, 1), "Whether requests for the time are answered"),
    of(
        "net.inet.igmp.max_memberships",
        "groups",
        4095,
        (0, 1 << 20),
        "Multicast groups that one socket is in at most",
    ),
    of(
        "net.inet.igmp.max_msf",
        "sources",
        128,
        (0, 1 << 16),
        "Sources that one socket names of one group at most, and of which a query is remembered",
    ),
    of(
        "net.inet.ip.dad_count",
        "packets",
        3,
        (0, 100),
        "Probes of conflict detection before an address is announced; 0 does without",
    ),
    of(
        "net.inet.ip.dad_optimistic",
        "",
        1,
        (0, 1),
        "Whether an address may be used while conflict detection still runs",
    ),
    of(
        "net.inet.ip.directed-broadcast",
        "",
        0,
        (0, 1),
        "Whether a router passes broadcasts on to the network that they are for",
    ),
    of("net.inet.ip.forwarding", "", 0, (0, 1), "Whether packets for other hosts are passed on"),
    of("net.inet.ip.maxfragpackets", "packets", 512, (0, U32), "Packets that may be in reassembly at once"),
    of(
        "net.inet.ip.mtudisc",
        "",
        1,
        (0, 1),
        "Whether the MTU of paths is looked for: TCP's packets bear DF, and ICMP is believed",
    ),
    of("net.inet.ip.mtudisctimeout", "s", 600, (1, U32), "How long a path is believed to be narrow"),
    of("net.inet.ip.redirect", "", 1, (0, 1), "Whether senders hear of better routers on their own link"),
    of(
        "net.inet.ip.rpfilter",
        "",
        0,
        (0, 2),
        "Which sources are believed: 0 any, 1 those whose best route leads by the interface that they came by, 2 those with a route",
    ),
    of("net.inet.ip.ttl", "hops", 64, (1, 255), "Time to live of packets that say none themselves"),
    of(
        "net.inet.tcp.ecn.enable",
        "",
        2,
        (0, 2),
        "Explicit congestion notification: 0 off, 1 asked for and agreed to, 2 agreed to",
    ),
    of(
        "net.inet.tcp.mem_low",
        "bytes",
        536_870_912,
        (0, MEMORY),
        "What all socket buffers hold when the pressure of memory ends; at most mem_pressure",
    ),
    of(
        "net.inet.tcp.mem_max",
        "bytes",
        1_073_741_824,
        (0, MEMORY),
        "What all socket buffers may hold together; at least mem_pressure",
    ),
    measured("net.inet.tcp.mem_peak", "bytes", "The most that all socket buffers ever held"),
    of(
        "net.inet.tcp.mem_pressure",
        "bytes",
        715_827_882,
        (0, MEMORY),
        "What all socket buffers hold when the pressure of memory begins; from mem_low to mem_max",
    ),
    measured("net.inet.tcp.mem_used", "bytes", "What all socket buffers hold now"),
    of(
        "net.inet.tcp.pacing",
        "",
        0,
        (0, 1),
        "Whether data is paced, not only where SO_MAX_PACING_RATE says so",
    ),
    of(
        "net.inet.tcp.recvspace",
        "bytes",
        1_048_576,
        (2048, BUFFER),
        "Receive buffer of a connection to begin with",
    ),
    of(
        "net.inet.tcp.sendbuf_max",
        "bytes",
        16_777_216,
        (2048, BUFFER),
        "What the send buffer of a connection grows to",
    ),
    of(
        "net.inet.tcp.sendspace",
        "bytes",
        262_144,
        (2048, BUFFER),
        "Send buffer of a connection to begin with",
    ),
    of("net.inet.udp.recvspace", "bytes", 2_097_152, (256, BUFFER), "Receive buffer of a datagram socket"),
    of("net.inet.udp.sendspace", "bytes", 524_288, (256, BUFFER), "Send buffer of a datagram socket"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_sorted_found_by_name_and_may_have_their_defaults() {
        assert!(VARIABLES.is_sorted_by(|one, other| one.name < other.name));
        for known in VARIABLES {
            assert_eq!(variable(known.name), Some(known));
            let fits =
                known.range.is_none_or(|(least, greatest)| (least..=greatest).contains(&known.default));
            assert!(fits && !known.meaning.ends_with('.'), "{known:?}");
        }
        assert_eq!(variable("net.inet.ip"), None);
    }

    #[test]
    fn what_a_variable_takes_is_said_with_its_unit() {
        let takes = |name| variable(name).and_then(Variable::takes);
        assert_eq!(takes("net.inet.ip.ttl").as_deref(), Some("it takes 1 to 255 hops"));
        assert_eq!(takes("net.inet.ip.forwarding").as_deref(), Some("it takes 0 to 1"));
        assert_eq!(takes("net.inet.tcp.mem_used"), None);
    }
}
