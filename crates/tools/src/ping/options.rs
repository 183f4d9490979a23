//! What ping takes.

use core::{net::IpAddr, time::Duration};

use clap::{Arg, Command, value_parser};

use crate::{
    definition::{letter, parse as parse_words, tool, value, word},
    failure::Failure,
};

/// The most data that an IPv4 packet holds behind its header and ICMP's, in bytes.
const MAX_SIZE: u16 = 65_507;
/// What ping sends if nothing else is said, in bytes.
const DEFAULT_SIZE: u16 = 56;
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
/// In a flood, how long is waited for a reply before the next request.
const FLOOD_INTERVAL: Duration = Duration::from_millis(10);
/// The longest interval, deadline or wait, in seconds: a year.
const MAX_SECONDS: f64 = 31_536_000.0;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) destination: IpAddr,
    pub(super) source: Option<IpAddr>,
    pub(super) count: Option<u64>,
    pub(super) interval: Duration,
    pub(super) size: u16,
    pub(super) ttl: Option<u8>,
    pub(super) deadline: Option<Duration>,
    pub(super) linger: Option<Duration>,
    pub(super) flood: bool,
    pub(super) one: bool,
    pub(super) quiet: bool,
}

/// The definition of ping.
pub(crate) fn command() -> Command {
    let host = Arg::new("host").value_name("ADDRESS").required(true).help("Whom to ask, by number");
    let ttl = value("T", "TTL", "Time to live of the requests")
        .visible_short_alias('t')
        .value_parser(value_parser!(u8).range(1..));
    let size = value("s", "BYTES", "Bytes of data in each request; 56 if not given")
        .value_parser(value_parser!(u16).range(..=i64::from(MAX_SIZE)));
    tool("ping", "Ask a host for echoes")
        .arg(value("c", "COUNT", "End after so many requests").value_parser(value_parser!(u64).range(1..)))
        .arg(value("i", "SECONDS", "Between two requests; fractions are allowed"))
        .args([size, ttl])
        .arg(value("w", "SECONDS", "End after so long, whatever has come back"))
        .arg(value("W", "SECONDS", "Await the last replies so long"))
        .arg(value("I", "ADDRESS", "Send from this address of ours").visible_short_alias('S'))
        .arg(letter("f", "Flood: ask again as soon as a reply comes, or after 10 ms"))
        .arg(letter("o", "End after the first reply"))
        .arg(letter("q", "Print only the first line and the statistics"))
        .arg(letter("n", "Accepted for compatibility: addresses are always shown as numbers"))
        .arg(host)
        .after_help("Exit status: 0 if anybody answered, 2 if nobody did, 1 for an error.")
}

/// Reads the words.
pub(super) fn parse(words: &[&str]) -> Result<Options, Failure> {
    let matches = parse_words(command(), words)?;
    let address = |word: &str| {
        let why = || Failure::Refused(format!("{word}: not an address (names are not looked up)"));
        word.parse::<IpAddr>().map_err(|_| why())
    };
    let span = |id| word(&matches, id).map(seconds).transpose();
    let flood = matches.get_flag("f");
    let interval = span("i")?.unwrap_or(if flood { FLOOD_INTERVAL } else { DEFAULT_INTERVAL });
    Ok(Options {
        destination: address(word(&matches, "host").unwrap_or_default())?,
        source: word(&matches, "I").map(address).transpose()?,
        count: matches.get_one("c").copied(),
        interval,
        size: matches.get_one("s").copied().unwrap_or(DEFAULT_SIZE),
        ttl: matches.get_one("T").copied(),
        deadline: span("w")?,
        linger: span("W")?,
        flood,
        one: matches.get_flag("o"),
        quiet: matches.get_flag("q"),
    })
}

/// A span in seconds, with a fraction if wanted.
fn seconds(word: &str) -> Result<Duration, Failure> {
    let number: Option<f64> = word.parse().ok().filter(|seconds| *seconds > 0.0 && *seconds <= MAX_SECONDS);
    let why = || Failure::Refused(format!("{word}: not a number of seconds above 0"));
    number.map(Duration::from_secs_f64).ok_or_else(why)
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
        let line = "-c 3 -i 0.05 -s 8 -T 9 -w 2 -W 1.5 -I 10.0.0.2 -foqn 10.0.0.1";
        let options = parse(&line.split(' ').collect::<Vec<_>>()).unwrap();
        let expected = Options {
            destination: "10.0.0.1".parse().unwrap(),
            source: Some("10.0.0.2".parse().unwrap()),
            count: Some(3),
            interval: Duration::from_millis(50),
            size: 8,
            ttl: Some(9),
            deadline: Some(Duration::from_secs(2)),
            linger: Some(Duration::from_millis(1500)),
            flood: true,
            one: true,
            quiet: true,
        };
        assert_eq!(options, expected);
        let other = parse(&["-t", "9", "-S", "10.0.0.2", "10.0.0.1"]).unwrap();
        assert_eq!((other.ttl, other.source), (expected.ttl, expected.source));
    }

    #[test]
    fn nothing_said_is_a_second_and_56_bytes_and_a_flood_is_hasty() {
        let options = parse(&["10.0.0.1"]).unwrap();
        assert_eq!((options.interval, options.size, options.count), (DEFAULT_INTERVAL, 56, None));
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
            &["-w", "x"],
            &["-W", "0"],
        ] {
            let message = refusal(&[words, &["10.0.0.1"]].concat());
            assert!(message.contains(words[1]), "{words:?}: {message}");
        }
        assert!(refusal(&[]).contains("ADDRESS"));
    }
}
