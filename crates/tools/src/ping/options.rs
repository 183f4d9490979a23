//! What ping takes.

use core::{net::IpAddr, time::Duration};

use clap::{Arg, Command, value_parser};
use rumpnet_proto::{EchoData, EchoOptions};

use crate::{
    definition::{letter, parse as parse_words, tool, value, word},
    failure::Failure,
    probing::{Absent, address, refuse_absent, seconds},
};

/// The most data that an IPv4 packet holds behind its header and ICMP's, in bytes.
const MAX_SIZE: u16 = 65_507;
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
/// In a flood, how long is waited for a reply before the next request.
const FLOOD_INTERVAL: Duration = Duration::from_millis(10);
/// Bytes of a pattern at most.
const MAX_PATTERN: usize = 16;

/// Options of NetBSD's ping that cannot apply here, and why.
const ABSENT: &[Absent] = &[
    Absent { letter: "C", value: false, why: "times are the kernel's own, and travel in no packet" },
    Absent { letter: "d", value: false, why: "there is no socket to debug; rump tcpdump shows the packets" },
    Absent { letter: "E", value: true, why: "IPsec is not spoken here" },
    Absent { letter: "g", value: true, why: "source routes are refused" },
    Absent { letter: "v", value: false, why: "an echo session hears of its own requests alone" },
];

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// What the kernel shall send.
    pub(super) echo: EchoOptions,
    pub(super) count: Option<u64>,
    pub(super) interval: Duration,
    /// Requests that are sent at once to begin with.
    pub(super) preload: u64,
    pub(super) deadline: Option<Duration>,
    pub(super) linger: Option<Duration>,
    pub(super) audible: bool,
    pub(super) flood: bool,
    pub(super) one: bool,
    pub(super) quiet: bool,
    /// Whether ICMP errors are shown as they come.
    pub(super) shows_errors: bool,
}

/// The definition of ping.
pub(crate) fn command() -> Command {
    let host =
        Arg::new("host").value_name("ADDRESS").required_unless_present("h").help("Whom to ask, by number");
    let size = value("s", "BYTES", "Bytes of data in each request; 56 if not given")
        .value_parser(value_parser!(u16).range(..=i64::from(MAX_SIZE)));
    let number = |id, name, help| value(id, name, help).value_parser(value_parser!(u64).range(1..));
    tool("ping", "Ask a host for echoes")
        .arg(letter(
            "a",
            "Beep, on standard error, at each reply; not in a flood, nor more often than once a second",
        ))
        .arg(number("c", "COUNT", "End after so many requests"))
        .arg(letter("D", "Forbid routers to fragment the requests"))
        .arg(letter("f", "Flood: ask again as soon as a reply comes, or after 10 ms"))
        .arg(value("h", "ADDRESS", "Whom to ask, instead of as the last argument").conflicts_with("host"))
        .arg(
            value("I", "ADDRESS", "Send from this address of ours, and to a group by its interface")
                .visible_short_alias('S'),
        )
        .arg(value("i", "SECONDS", "Between two requests; fractions are allowed"))
        .arg(number("l", "COUNT", "Send so many requests at once to begin with"))
        .arg(letter("L", "Keep requests to a group from coming back to the kernel that sends them"))
        .arg(letter("n", "Accepted for compatibility: addresses are always shown as numbers"))
        .arg(letter("o", "End after the first reply"))
        .arg(letter("P", "Fill the requests with random numbers"))
        .arg(
            value("p", "PATTERN", "Fill the requests with these bytes, up to 16 in hexadecimal")
                .conflicts_with("P"),
        )
        .arg(letter("Q", "Do not show ICMP errors about the requests; the statistics count them"))
        .arg(letter("q", "Print only the first line and the statistics"))
        .arg(letter("R", "Record the route, and show it"))
        .arg(letter("r", "Bypass the routes: ask only a host on a link of ours"))
        .arg(size)
        .arg(value("T", "TTL", "Time to live of the requests").value_parser(value_parser!(u8).range(1..)))
        .arg(value("t", "TOS", "Type of service of the requests, in hexadecimal"))
        .arg(value("W", "SECONDS", "Await the last replies so long"))
        .arg(value("w", "SECONDS", "End after so long, whatever has come back"))
        .args(ABSENT.iter().map(Absent::argument))
        .arg(host)
        .after_help("Exit status: 0 if anybody answered, 2 if nobody did, 1 for an error.")
}

/// Reads the words.
pub(super) fn parse(words: &[&str]) -> Result<Options, Failure> {
    let matches = parse_words(command(), words)?;
    refuse_absent(&matches, ABSENT)?;
    let span = |id| word(&matches, id).map(seconds).transpose();
    let destination = word(&matches, "host").or_else(|| word(&matches, "h")).unwrap_or_default();
    let flood = matches.get_flag("f");
    let interval = span("i")?.unwrap_or(if flood { FLOOD_INTERVAL } else { DEFAULT_INTERVAL });
    let plain = EchoOptions::to(address(destination)?);
    let data = match word(&matches, "p") {
        Some(pattern) => EchoData::Pattern(parse_pattern(pattern)?),
        None if matches.get_flag("P") => EchoData::Random,
        None => EchoData::Places,
    };
    let echo = EchoOptions {
        source: word(&matches, "I").map(address).transpose()?,
        ttl: matches.get_one("T").copied(),
        size: matches.get_one("s").copied().unwrap_or(plain.size),
        data,
        tos: word(&matches, "t").map(hexadecimal).transpose()?.unwrap_or_default(),
        dont_fragment: matches.get_flag("D"),
        record_route: matches.get_flag("R"),
        direct: matches.get_flag("r"),
        loops: !matches.get_flag("L"),
        ..plain
    };
    Ok(Options {
        echo,
        count: matches.get_one("c").copied(),
        interval,
        preload: matches.get_one("l").copied().unwrap_or_default(),
        deadline: span("w")?,
        linger: span("W")?,
        audible: matches.get_flag("a") && !flood && interval >= DEFAULT_INTERVAL,
        flood,
        one: matches.get_flag("o"),
        quiet: matches.get_flag("q"),
        shows_errors: !matches.get_flag("Q"),
    })
}

impl Options {
    pub(super) const fn destination(&self) -> IpAddr {
        self.echo.destination
    }
}

/// A type of service.
fn hexadecimal(word: &str) -> Result<u8, Failure> {
    let why = |_| Failure::Refused(format!("-t {word}: not a type of service in hexadecimal"));
    u8::from_str_radix(word.trim_start_matches("0x"), 16).map_err(why)
}

/// Bytes in hexadecimal; an odd digit at the end is a byte of its own.
fn parse_pattern(word: &str) -> Result<Vec<u8>, Failure> {
    let why = || Failure::Refused(format!("-p {word}: patterns must be up to 16 bytes in hexadecimal"));
    let byte = |digits: &[u8]| {
        let digits = core::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'));
        digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())
    };
    let bytes: Option<Vec<u8>> = word.as_bytes().chunks(2).map(byte).collect();
    bytes.filter(|bytes| (1..=MAX_PATTERN).contains(&bytes.len())).ok_or_else(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(words: &[&str]) -> String {
        match parse(words) {
            Err(Failure::Usage { message, .. } | Failure::Refused(message)) => message,
            other => panic!("{words:?}: {other:?}"),
        }
    }

    #[test]
    fn every_option_is_read() {
        let line = "-c 3 -i 0.05 -l 5 -p ff0 -s 8 -T 9 -t 0x10 -w 2 -W 1.5 -I 10.0.0.2 -aDfLoQqRrn 10.0.0.1";
        let options = parse(&line.split(' ').collect::<Vec<_>>()).unwrap();
        let echo = EchoOptions {
            source: Some("10.0.0.2".parse().unwrap()),
            size: 8,
            ttl: Some(9),
            data: EchoData::Pattern(vec![0xff, 0]),
            tos: 0x10,
            dont_fragment: true,
            record_route: true,
            direct: true,
            loops: false,
            ..EchoOptions::to("10.0.0.1".parse().unwrap())
        };
        let expected = Options {
            echo,
            count: Some(3),
            interval: Duration::from_millis(50),
            preload: 5,
            deadline: Some(Duration::from_secs(2)),
            linger: Some(Duration::from_millis(1500)),
            audible: false,
            flood: true,
            one: true,
            quiet: true,
            shows_errors: false,
        };
        assert_eq!(options, expected);
        let other = parse(&["-t", "9", "-S", "10.0.0.2", "-Pa", "-h", "10.0.0.1"]).unwrap();
        assert_eq!((other.echo.tos, other.echo.source), (9, expected.echo.source));
        assert_eq!((other.echo.data, other.audible), (EchoData::Random, true));
    }

    #[test]
    fn what_cannot_apply_is_refused_by_its_name() {
        for (words, why) in [
            (&["-C"][..], "-C: times are the kernel's own"),
            (&["-d"], "-d: there is no socket to debug"),
            (&["-E", "x"], "-E: IPsec"),
            (&["-g", "10.0.0.9"], "-g: source routes are refused"),
            (&["-v"], "-v: an echo session hears of its own requests alone"),
        ] {
            let message = refusal(&[words, &["10.0.0.1"]].concat());
            assert!(message.starts_with(why), "{message}");
        }
    }

    #[test]
    fn patterns_are_bytes_in_hexadecimal() {
        let pattern = |word| parse(&["-p", word, "10.0.0.1"]).map(|options| options.echo.data);
        assert_eq!(pattern("00ff1"), Ok(EchoData::Pattern(vec![0, 0xff, 1])));
        for word in ["", "x", "+1", "é", &"0".repeat(33)] {
            assert!(pattern(word).is_err(), "{word}");
        }
    }

    #[test]
    fn nothing_said_is_a_second_and_56_bytes_and_a_flood_is_hasty() {
        let options = parse(&["10.0.0.1"]).unwrap();
        assert_eq!((options.interval, options.echo.size, options.count), (DEFAULT_INTERVAL, 56, None));
        assert_eq!(parse(&["-f", "10.0.0.1"]).unwrap().interval, FLOOD_INTERVAL);
    }

    #[test]
    fn names_are_not_looked_up() {
        assert_eq!(refusal(&["example.org"]), "example.org: not an address (names are not looked up)");
        assert!(refusal(&["-I", "me", "10.0.0.1"]).contains("me: not an address"));
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for words in [
            &["-c", "0"][..],
            &["-c", "x"],
            &["-i", "0"],
            &["-i", "-1"],
            &["-i", "nan"],
            &["-i", "1e99"],
            &["-s", "65508"],
            &["-T", "0"],
            &["-T", "256"],
            &["-t", "100"],
            &["-l", "0"],
            &["-w", "x"],
            &["-W", "0"],
        ] {
            let message = refusal(&[words, &["10.0.0.1"]].concat());
            assert!(message.contains(words[1]), "{words:?}: {message}");
        }
        assert!(refusal(&[]).contains("ADDRESS"));
    }
}
