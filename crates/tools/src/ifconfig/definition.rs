//! What ifconfig takes: its options, and the keywords of its own grammar, each with its help.

use clap::{Arg, ArgAction, Command};
use rumpnet_proto::{Capabilities, InterfaceFlags};

use crate::definition::{letter, tool, value};

/// A keyword that may follow the name of an interface.
pub(super) struct Keyword {
    pub(super) name: &'static str,
    /// Whether the same with a dash before it means the contrary.
    pub(super) negatable: bool,
    /// What the words are that belong to it.
    pub(super) arguments: &'static [&'static str],
    pub(super) meaning: Meaning,
    help: &'static str,
}

/// What a keyword asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Create,
    HostEnd,
    Destroy,
    Family(Family),
    Netmask,
    PrefixLen,
    Broadcast,
    Alias,
    Delete,
    Active,
    /// A flag, and whether the bare keyword sets it.
    Flag(InterfaceFlags, bool),
    Mtu,
    Metric,
    Capability(Capabilities),
    LinkString,
    NoLinkString,
    Media,
    Trailers,
    /// Something that no interface here has: how NetBSD's ifconfig says so.
    Absent(&'static str),
}

/// The address families of ifconfig.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Inet,
    Inet6,
    Link,
}

impl Family {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Inet6 => "inet6",
            Self::Link => "link",
        }
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        [Self::Inet, Self::Inet6, Self::Link].into_iter().find(|family| family.name() == word)
    }
}

const fn plain(name: &'static str, meaning: Meaning, help: &'static str) -> Keyword {
    Keyword { name, negatable: false, arguments: &[], meaning, help }
}

const fn with(
    name: &'static str,
    arguments: &'static [&'static str],
    meaning: Meaning,
    help: &'static str,
) -> Keyword {
    Keyword { name, negatable: false, arguments, meaning, help }
}

const fn switch(name: &'static str, meaning: Meaning, help: &'static str) -> Keyword {
    Keyword { name, negatable: true, arguments: &[], meaning, help }
}

const fn capability(name: &'static str, bits: Capabilities, help: &'static str) -> Keyword {
    switch(name, Meaning::Capability(bits), help)
}

const NO_MEDIA: Meaning = Meaning::Absent("SIOCGIFMEDIA: Inappropriate ioctl for device");
const NO_TUNNEL: Meaning = Meaning::Absent("SIOCSLIFPHYADDR: Inappropriate ioctl for device");
const NO_WIRELESS: Meaning = Meaning::Absent("SIOCS80211NWID: Inappropriate ioctl for device");
const NO_CARP: Meaning = Meaning::Absent("SIOCGVH: Inappropriate ioctl for device");
const NO_VLAN: Meaning = Meaning::Absent("valid only with vlan(4) interfaces");
const NO_PREFERENCE: Meaning =
    Meaning::Absent("SIOCSIFADDRPREF: Operation not supported (addresses have no preference here)");
const NO_LIFETIME: Meaning =
    Meaning::Absent("SIOCAIFADDR_IN6: Address family not supported by protocol family");

/// Every keyword.
pub(super) const KEYWORDS: &[Keyword] = &[
    plain("create", Meaning::Create, "Make the interface; further parameters may follow"),
    with("hostend", &["NAME"], Meaning::HostEnd, "With create: the host's end, such as tap7 or fd:3"),
    plain("destroy", Meaning::Destroy, "Remove the interface"),
    plain("inet", Meaning::Family(Family::Inet), "What follows is IPv4; the default"),
    plain("inet6", Meaning::Family(Family::Inet6), "What follows is IPv6"),
    plain("link", Meaning::Family(Family::Link), "What follows is a link address"),
    with("netmask", &["MASK"], Meaning::Netmask, "The mask of the address, dotted or hexadecimal"),
    with("prefixlen", &["LENGTH"], Meaning::PrefixLen, "The length of its prefix"),
    with("broadcast", &["ADDRESS"], Meaning::Broadcast, "The broadcast address of its network"),
    plain("alias", Meaning::Alias, "Add the address beside those there are"),
    plain("-alias", Meaning::Delete, "Remove the address, the first if none is given"),
    plain("delete", Meaning::Delete, "The same"),
    plain("active", Meaning::Active, "With link: use this link address"),
    plain("up", Meaning::Flag(InterfaceFlags::UP, true), "Bring the interface up"),
    plain("down", Meaning::Flag(InterfaceFlags::UP, false), "Bring it down"),
    switch("arp", Meaning::Flag(InterfaceFlags::NOARP, false), "Use ARP"),
    switch("debug", Meaning::Flag(InterfaceFlags::DEBUG, true), "Set the debug flag"),
    switch("link0", Meaning::Flag(InterfaceFlags::LINK0, true), "Set a flag of the link layer"),
    switch("link1", Meaning::Flag(InterfaceFlags::LINK1, true), "Set a flag of the link layer"),
    switch("link2", Meaning::Flag(InterfaceFlags::LINK2, true), "Set a flag of the link layer"),
    with("mtu", &["BYTES"], Meaning::Mtu, "The longest packet without its link header"),
    with("metric", &["NUMBER"], Meaning::Metric, "The metric, for programs that want one"),
    capability("tso4", Capabilities::TSO4, "TCP segmentation offload over IPv4"),
    capability("tso6", Capabilities::TSO6, "TCP segmentation offload over IPv6"),
    capability("uso4", Capabilities::USO4, "UDP segmentation offload over IPv4"),
    capability("uso6", Capabilities::USO6, "UDP segmentation offload over IPv6"),
    capability("lro", Capabilities::LRO, "Large receive offload"),
    capability("ip4csum", IP4CSUM, "IPv4 header checksum offload; also ip4csum-rx, ip4csum-tx"),
    capability("ip4csum-rx", Capabilities::IP4CSUM_RX, "The same, receiving"),
    capability("ip4csum-tx", Capabilities::IP4CSUM_TX, "The same, sending"),
    capability("tcp4csum", TCP4CSUM, "TCP over IPv4 checksum offload"),
    capability("tcp4csum-rx", Capabilities::TCP4CSUM_RX, "The same, receiving"),
    capability("tcp4csum-tx", Capabilities::TCP4CSUM_TX, "The same, sending"),
    capability("udp4csum", UDP4CSUM, "UDP over IPv4 checksum offload"),
    capability("udp4csum-rx", Capabilities::UDP4CSUM_RX, "The same, receiving"),
    capability("udp4csum-tx", Capabilities::UDP4CSUM_TX, "The same, sending"),
    capability("tcp6csum", TCP6CSUM, "TCP over IPv6 checksum offload"),
    capability("tcp6csum-rx", Capabilities::TCP6CSUM_RX, "The same, receiving"),
    capability("tcp6csum-tx", Capabilities::TCP6CSUM_TX, "The same, sending"),
    capability("udp6csum", UDP6CSUM, "UDP over IPv6 checksum offload"),
    capability("udp6csum-rx", Capabilities::UDP6CSUM_RX, "The same, receiving"),
    capability("udp6csum-tx", Capabilities::UDP6CSUM_TX, "The same, sending"),
    switch("trailers", Meaning::Trailers, "Accepted with a note, otherwise ignored"),
    with("linkstr", &["STRING"], Meaning::LinkString, "Put bus0 on a bus: mem:NAME, or the path of a file"),
    plain("-linkstr", Meaning::NoLinkString, "Take it off its bus"),
    with("media", &["TYPE"], Meaning::Media, "Plug bus0 in with auto, pull it out with none"),
    with("mediaopt", &["OPTIONS"], NO_MEDIA, "Refused: no media has options"),
    with("-mediaopt", &["OPTIONS"], NO_MEDIA, "Refused, as mediaopt"),
    with("mode", &["MODE"], NO_MEDIA, "Refused, as mediaopt"),
    with("instance", &["NUMBER"], NO_MEDIA, "Refused, as mediaopt"),
    with("vlan", &["TAG"], NO_VLAN, "Refused: not a vlan(4)"),
    with("vlanif", &["INTERFACE"], NO_VLAN, "Refused: not a vlan(4)"),
    plain("-vlanif", NO_VLAN, "Refused: not a vlan(4)"),
    with("tunnel", &["SOURCE", "DESTINATION"], NO_TUNNEL, "Refused: not a tunnel"),
    plain("deletetunnel", NO_TUNNEL, "Refused: not a tunnel"),
    with("ssid", &["NAME"], NO_WIRELESS, "Refused: not a radio"),
    with("vhid", &["NUMBER"], NO_CARP, "Refused: not a carp(4)"),
    with("advbase", &["SECONDS"], NO_CARP, "Refused: not a carp(4)"),
    with("advskew", &["NUMBER"], NO_CARP, "Refused: not a carp(4)"),
    with("pass", &["PHRASE"], NO_CARP, "Refused: not a carp(4)"),
    with("carpdev", &["INTERFACE"], NO_CARP, "Refused: not a carp(4)"),
    with("state", &["STATE"], NO_CARP, "Refused: not a carp(4)"),
    with("preference", &["NUMBER"], NO_PREFERENCE, "Refused: addresses have no preference"),
    switch("anycast", NO_LIFETIME, "Refused: IPv6 is not spoken"),
    switch("deprecated", NO_LIFETIME, "Refused: IPv6 is not spoken"),
    switch("tentative", NO_LIFETIME, "Refused: IPv6 is not spoken"),
    with("pltime", &["SECONDS"], NO_LIFETIME, "Refused: IPv6 is not spoken"),
    with("vltime", &["SECONDS"], NO_LIFETIME, "Refused: IPv6 is not spoken"),
    plain("eui64", NO_LIFETIME, "Refused: IPv6 is not spoken"),
];

const IP4CSUM: Capabilities = Capabilities::IP4CSUM_RX.union(Capabilities::IP4CSUM_TX);
const TCP4CSUM: Capabilities = Capabilities::TCP4CSUM_RX.union(Capabilities::TCP4CSUM_TX);
const UDP4CSUM: Capabilities = Capabilities::UDP4CSUM_RX.union(Capabilities::UDP4CSUM_TX);
const TCP6CSUM: Capabilities = Capabilities::TCP6CSUM_RX.union(Capabilities::TCP6CSUM_TX);
const UDP6CSUM: Capabilities = Capabilities::UDP6CSUM_RX.union(Capabilities::UDP6CSUM_TX);

/// The keyword of a word, and whether it stands there in the affirmative.
pub(super) fn keyword(word: &str) -> Option<(&'static Keyword, bool)> {
    let named = |name: &str| KEYWORDS.iter().find(|keyword| keyword.name == name);
    let negated = || word.strip_prefix('-').and_then(named).filter(|keyword| keyword.negatable);
    named(word).map(|keyword| (keyword, true)).or_else(|| negated().map(|keyword| (keyword, false)))
}

impl Keyword {
    /// How it is written: `[-]arp`, `mtu BYTES`.
    fn synopsis(&self) -> String {
        let dash = if self.negatable { "[-]" } else { "" };
        self.arguments.iter().fold(format!("{dash}{}", self.name), |text, word| text + " " + word)
    }
}

const USAGE: &str = "ifconfig [-a] [-bdhLmNsuvz] [FAMILY]
       ifconfig -l [-bdsu]
       ifconfig -C
       ifconfig -w SECONDS [-W SECONDS]
       ifconfig [-hLmNsvz] INTERFACE [FAMILY]
       ifconfig INTERFACE create | destroy
       ifconfig INTERFACE [FAMILY] [ADDRESS[/LENGTH] [MASK-OR-PEER [BROADCAST]]] [PARAMETER ...]";

/// The definition of ifconfig.
pub(crate) fn command() -> Command {
    let parameters = KEYWORDS.iter().map(|keyword| format!("  {:<20} {}", keyword.synopsis(), keyword.help));
    let parameters: Vec<_> = parameters.collect();
    let operands = Arg::new("operand")
        .value_name("INTERFACE [PARAMETER ...]")
        .action(ArgAction::Append)
        .num_args(0..)
        .trailing_var_arg(true)
        .help("An interface and what shall become of it; or with -a, a family");
    let alone = ["a", "m", "v", "z", "L"];
    tool("ifconfig", "Show and change interfaces and their addresses")
        .override_usage(USAGE)
        .arg(letter("a", "All interfaces, as without any operand"))
        .arg(letter("l", "Only the names").conflicts_with_all(alone).conflicts_with_all(["C", "w"]))
        .arg(letter("C", "Only the kinds that can be created").conflicts_with_all(alone).conflicts_with("w"))
        .arg(letter("b", "With -a or -l: only those that can broadcast"))
        .arg(letter("d", "With -a or -l: only those that are down"))
        .arg(letter("u", "With -a or -l: only those that are up"))
        .arg(letter("s", "Exit with 1 if the link is known to be down; with -a or -l: leave those out"))
        .arg(letter("v", "Show counters, too, and what was dropped and why"))
        .arg(letter("z", "The same, and set the counters to zero"))
        .arg(letter("h", "Round byte counts for people"))
        .arg(letter("m", "List supported media; only bus0 has any"))
        .arg(letter("L", "Show the lifetimes of IPv6 addresses"))
        .arg(letter("N", "Show names of addresses; the kernel knows none yet"))
        .arg(letter("n", "Accepted for compatibility: addresses are shown as numbers"))
        .arg(letter("A", "Accepted with a warning"))
        .arg(
            value("w", "SECONDS", "Wait until no address is tentative; 0 waits for ever")
                .conflicts_with_all(alone)
                .allow_hyphen_values(true),
        )
        .arg(
            value("W", "SECONDS", "With -w: wait so long for detached addresses, too")
                .requires("w")
                .allow_hyphen_values(true),
        )
        .arg(operands)
        .after_help(format!("Parameters:\n{}", parameters.join("\n")))
}

/// The usage, for words that the parser of options does not judge.
pub(super) fn usage() -> String {
    format!("Usage: {USAGE}\n\nFor more information, try '--help'.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_keyword_is_defined_twice() {
        for (place, keyword) in KEYWORDS.iter().enumerate() {
            assert!(KEYWORDS[..place].iter().all(|other| other.name != keyword.name), "{}", keyword.name);
        }
    }

    #[test]
    fn a_dash_negates_only_what_has_a_contrary() {
        assert!(keyword("-arp").is_some_and(|(keyword, positive)| keyword.name == "arp" && !positive));
        assert!(keyword("-alias").is_some_and(|(keyword, positive)| keyword.name == "-alias" && positive));
        assert!(keyword("-mtu").is_none());
        assert!(keyword("--arp").is_none());
    }

    #[test]
    fn the_help_names_every_keyword() {
        let help = command().render_long_help().to_string();
        for keyword in KEYWORDS {
            assert!(help.contains(&keyword.synopsis()), "{}", keyword.name);
        }
    }
}
