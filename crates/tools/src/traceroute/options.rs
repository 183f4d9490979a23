//! What traceroute takes.

use core::{net::IpAddr, time::Duration};

use clap::{Arg, Command, value_parser};

use crate::{
    definition::{letter, parse as parse_words, tool, value, word},
    failure::Failure,
    probing::{Absent, address, refuse_absent, seconds},
};

/// Octets of IPv4's and a transport's header, in front of a probe's data.
pub(super) const HEADERS: u16 = 28;
/// Octets of a probe if nothing is said.
const DEFAULT_LEN: u16 = 40;
/// The same where the path's MTU is looked for: what Ethernet carries.
const DEFAULT_DISCOVERY_LEN: u16 = 1500;
const DEFAULT_WAIT: Duration = Duration::from_secs(5);
const DEFAULT_PORT: u16 = 33_434;
const DEFAULT_QUERIES: u16 = 3;

/// Options of NetBSD's traceroute that cannot apply here, and why.
const ABSENT: &[Absent] = &[
    Absent { letter: "A", value: true, why: "names and numbers of systems are not looked up" },
    Absent { letter: "a", value: false, why: "names and numbers of systems are not looked up" },
    Absent { letter: "D", value: false, why: "rump tcpdump shows the packets" },
    Absent { letter: "d", value: false, why: "there is no socket to debug; rump tcpdump shows the packets" },
    Absent { letter: "g", value: true, why: "source routes are refused" },
    Absent { letter: "v", value: false, why: "an echo session hears of its own probes alone" },
    Absent { letter: "x", value: false, why: "probes always bear their checksum" },
];

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) destination: IpAddr,
    /// Octets of a probe from its IP header on.
    pub(super) packet_len: u16,
    pub(super) source: Option<IpAddr>,
    /// The interface whose first address is the source.
    pub(super) interface: Option<String>,
    pub(super) first_ttl: u8,
    /// The kernel's default time to live if absent, as NetBSD has it.
    pub(super) max_ttl: Option<u8>,
    pub(super) queries: u16,
    pub(super) port: u16,
    pub(super) tos: u8,
    pub(super) wait: Duration,
    pub(super) icmp: bool,
    pub(super) dont_fragment: bool,
    /// Whether probes shrink to what fits the path.
    pub(super) discovers_mtu: bool,
    pub(super) direct: bool,
    pub(super) numeric: bool,
    pub(super) shows_ttl: bool,
}

/// The definition of traceroute.
pub(crate) fn command() -> Command {
    let hops = |id, name, help| value(id, name, help).value_parser(value_parser!(u8).range(1..));
    let host = Arg::new("host").value_name("ADDRESS").required(true).help("Whose path, by number");
    let len = Arg::new("len")
        .value_name("BYTES")
        .help("Of each probe with its headers; 40 if not given, with -P 1500");
    tool("traceroute", "Print the route that packets take to a host")
        .arg(letter("F", "Forbid routers to fragment the probes"))
        .arg(hops("f", "TTL", "Begin with this time to live"))
        .arg(letter("I", "Send ICMP echo requests instead of UDP datagrams"))
        .arg(value("i", "INTERFACE", "Send from this interface's first address").conflicts_with("s"))
        .arg(letter("l", "Show the time to live of each answer"))
        .arg(hops("m", "TTL", "End with this time to live; net.inet.ip.ttl if not given"))
        .arg(letter("n", "Print each address once, without the name that NetBSD would look up"))
        .arg(letter("P", "Forbid routers to fragment, and shrink the probes to what they say fits"))
        .arg(value("p", "PORT", "First UDP port that is probed; 33434 if not given").value_parser(value_parser!(u16).range(1..)))
        .arg(value("q", "COUNT", "Probes for each hop; 3 if not given").value_parser(value_parser!(u16).range(1..=256)))
        .arg(letter("r", "Bypass the routes: probe only a host on a link of ours"))
        .arg(value("s", "ADDRESS", "Send from this address of ours"))
        .arg(value("t", "TOS", "Type of service of the probes, in decimal").value_parser(value_parser!(u8)))
        .arg(value("w", "SECONDS", "Wait so long for the answer to a probe; 5 if not given"))
        .args(ABSENT.iter().map(Absent::argument))
        .arg(host)
        .arg(len.value_parser(value_parser!(u16).range(i64::from(HEADERS)..)))
        .after_help(
            "After the time: !H, !N, !P a host, network or protocol is unreachable, !S a source route failed, !F a probe did not fit, \
             !X somebody forbids it, !<N> code N of unreachable, ! an answer that had one hop left.",
        )
}

/// Reads the words.
pub(super) fn parse(words: &[&str]) -> Result<Options, Failure> {
    let matches = parse_words(command(), words)?;
    refuse_absent(&matches, ABSENT)?;
    let discovers_mtu = matches.get_flag("P");
    let default_len = if discovers_mtu { DEFAULT_DISCOVERY_LEN } else { DEFAULT_LEN };
    let options = Options {
        destination: address(word(&matches, "host").unwrap_or_default())?,
        packet_len: matches.get_one("len").copied().unwrap_or(default_len),
        source: word(&matches, "s").map(address).transpose()?,
        interface: word(&matches, "i").map(str::to_owned),
        first_ttl: matches.get_one("f").copied().unwrap_or(1),
        max_ttl: matches.get_one("m").copied(),
        queries: matches.get_one("q").copied().unwrap_or(DEFAULT_QUERIES),
        port: matches.get_one("p").copied().unwrap_or(DEFAULT_PORT),
        tos: matches.get_one("t").copied().unwrap_or_default(),
        wait: word(&matches, "w").map(seconds).transpose()?.unwrap_or(DEFAULT_WAIT),
        icmp: matches.get_flag("I"),
        dont_fragment: matches.get_flag("F") || discovers_mtu,
        discovers_mtu,
        direct: matches.get_flag("r"),
        numeric: matches.get_flag("n"),
        shows_ttl: matches.get_flag("l"),
    };
    match options.max_ttl {
        Some(most) if most < options.first_ttl => {
            Err(Failure::Refused(format!("-f {}: more than -m {most}", options.first_ttl)))
        }
        _ => Ok(options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> String {
        match parse(&line.split(' ').collect::<Vec<_>>()) {
            Err(Failure::Usage { message, .. } | Failure::Refused(message)) => message,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn every_option_is_read() {
        let line = "-IlnPr -f 2 -m 9 -p 4000 -q 5 -s 10.0.0.2 -t 16 -w 0.5 10.0.1.1 1000";
        let expected = Options {
            destination: "10.0.1.1".parse().unwrap(),
            packet_len: 1000,
            source: Some("10.0.0.2".parse().unwrap()),
            interface: None,
            first_ttl: 2,
            max_ttl: Some(9),
            queries: 5,
            port: 4000,
            tos: 16,
            wait: Duration::from_millis(500),
            icmp: true,
            dont_fragment: true,
            discovers_mtu: true,
            direct: true,
            numeric: true,
            shows_ttl: true,
        };
        assert_eq!(parse(&line.split(' ').collect::<Vec<_>>()), Ok(expected));
        let plain = parse(&["-F", "-i", "virt0", "10.0.1.1"]).unwrap();
        assert_eq!((plain.packet_len, plain.queries, plain.port), (40, 3, 33_434));
        assert_eq!((plain.dont_fragment, plain.interface.as_deref()), (true, Some("virt0")));
        assert_eq!(parse(&["-P", "10.0.1.1"]).unwrap().packet_len, 1500);
    }

    #[test]
    fn what_cannot_apply_is_refused_by_its_name() {
        for line in ["-A x", "-a", "-D", "-d", "-g 10.0.0.9", "-v", "-x"] {
            let message = refusal(&format!("{line} 10.0.1.1"));
            assert!(message.starts_with(&format!("{}: ", &line[..2])), "{message}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for (line, named) in [
            ("-f 0 10.0.1.1", "0"),
            ("-m 256 10.0.1.1", "256"),
            ("-q 0 10.0.1.1", "0"),
            ("-p 0 10.0.1.1", "0"),
            ("-t 256 10.0.1.1", "256"),
            ("-w 0 10.0.1.1", "0"),
            ("10.0.1.1 27", "27"),
            ("10.0.1.1 65536", "65536"),
            ("-f 3 -m 2 10.0.1.1", "-f 3"),
            ("example.org", "example.org: not an address"),
        ] {
            assert!(refusal(line).contains(named), "{line}: {}", refusal(line));
        }
    }
}
