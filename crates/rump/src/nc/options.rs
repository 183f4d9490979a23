//! The options of `rump nc`, read and refused in netcat's words.

use std::{
    net::{IpAddr, Ipv4Addr},
    ops::RangeInclusive,
    time::Duration,
};

use clap::ArgMatches;

/// What is wanted.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) listen: bool,
    pub(super) udp: bool,
    pub(super) keep: bool,
    pub(super) ends: bool,
    pub(super) scans: bool,
    pub(super) verbose: bool,
    pub(super) reads_input: bool,
    pub(super) crlf: bool,
    pub(super) broadcast: bool,
    /// How long connecting, and silence, may last.
    pub(super) wait: Option<Duration>,
    /// How long after the end of standard input it goes on.
    pub(super) quit: Option<Duration>,
    pub(super) receive_limit: Option<u64>,
    pub(super) tos: Option<u8>,
    pub(super) ttl: Option<u8>,
    pub(super) receive_buffer: Option<u32>,
    pub(super) send_buffer: Option<u32>,
    /// The peer's address, or where it listens.
    pub(super) host: IpAddr,
    pub(super) ports: RangeInclusive<u16>,
    /// Whence a connection is begun.
    pub(super) source: (IpAddr, u16),
}

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl Options {
    /// What the words ask for, or netcat's complaint about them.
    pub(super) fn read(matches: &ArgMatches) -> Result<Self, String> {
        let has = |letter: &str| matches.get_flag(letter);
        let (listen, scans) = (has("l"), has("z"));
        if listen && scans {
            return Err("cannot use -z and -l".to_owned());
        }
        if has("k") && !listen {
            return Err("must use -l with -k".to_owned());
        }
        let (host, port) = operands(matches, listen)?;
        let source = source(matches)?;
        let ports = match port {
            Some(port) => ports(port, listen)?,
            None => source.1..=source.1,
        };
        let host = match host {
            Some(host) => literal(host, port.unwrap_or("0"))?,
            None => source.0,
        };
        Ok(Self {
            listen,
            udp: has("u"),
            keep: has("k"),
            ends: has("N"),
            scans,
            verbose: has("v"),
            reads_input: !has("d") && !scans,
            crlf: has("C"),
            broadcast: has("b"),
            wait: seconds(matches, "w", "timeout")?.filter(|wait| *wait >= 0).map(whole_seconds),
            quit: seconds(matches, "q", "quit timer")?.filter(|quit| *quit >= 0).map(whole_seconds),
            receive_limit: number(matches, "W", "receive limit", 1..=i32::MAX.into())?,
            tos: number(matches, "T", "tos value", 0..=255)?,
            ttl: number(matches, "M", "ttl", 1..=255)?,
            receive_buffer: number(matches, "I", "TCP receive window", 1..=1 << 30)?,
            send_buffer: number(matches, "O", "TCP send window", 1..=1 << 30)?,
            host,
            ports,
            source,
        })
    }
}

/// Host and port. A server may name its port alone, or neither with -p.
fn operands(matches: &ArgMatches, listen: bool) -> Result<(Option<&str>, Option<&str>), String> {
    let words: Vec<_> = matches.get_many::<String>("OPERAND").into_iter().flatten().collect();
    match *words.as_slice() {
        [host, port] => Ok((Some(host), Some(port))),
        [port] if listen => Ok((None, Some(port))),
        [] if listen && value(matches, "p").is_some() => Ok((None, None)),
        _ => Err("missing port number".to_owned()),
    }
}

fn value<'words>(matches: &'words ArgMatches, letter: &str) -> Option<&'words str> {
    matches.get_one::<String>(letter).map(String::as_str)
}

fn source(matches: &ArgMatches) -> Result<(IpAddr, u16), String> {
    let address = value(matches, "s").map_or(Ok(ANY), |word| literal(word, "0"))?;
    let port = value(matches, "p").map_or(Ok(0), |word| {
        word.parse().map_err(|_| "getaddrinfo: Servname not supported for ai_socktype".to_owned())
    });
    Ok((address, port?))
}

fn literal(word: &str, port: &str) -> Result<IpAddr, String> {
    word.parse()
        .map_err(|_| format!("getaddrinfo for host \"{word}\" port {port}: Name or service not known"))
}

fn ports(word: &str, listen: bool) -> Result<RangeInclusive<u16>, String> {
    match word.split_once('-') {
        Some((low, high)) if !listen => {
            let (low, high) = (port(low)?, port(high)?);
            Ok(low.min(high)..=low.max(high))
        }
        _ => port(word).map(|port| port..=port),
    }
}

fn port(word: &str) -> Result<u16, String> {
    match word.parse::<i64>() {
        Ok(..=0) => Err(format!("port number too small: {word}")),
        Ok(number) => u16::try_from(number).map_err(|_| format!("port number too large: {word}")),
        Err(_) => Err(format!("port number invalid: {word}")),
    }
}

fn seconds(matches: &ArgMatches, letter: &str, what: &str) -> Result<Option<i32>, String> {
    let invalid = |word: &str| format!("{what} invalid: {word}");
    value(matches, letter).map(|word| word.parse().map_err(|_| invalid(word))).transpose()
}

fn whole_seconds(count: i32) -> Duration {
    Duration::from_secs(count.unsigned_abs().into())
}

fn number<T: TryFrom<i64>>(
    matches: &ArgMatches,
    letter: &str,
    what: &str,
    range: RangeInclusive<i64>,
) -> Result<Option<T>, String> {
    let Some(word) = value(matches, letter) else { return Ok(None) };
    let read = match word.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    let number = match read {
        Ok(number) if number < *range.start() => Err("too small"),
        Ok(number) if number > *range.end() => Err("too large"),
        Ok(number) => T::try_from(number).map_err(|_| "too large"),
        Err(_) => Err("invalid"),
    };
    number.map(Some).map_err(|reason| format!("{what} {reason}: {word}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<Options, String> {
        let words = std::iter::once("nc").chain(words.split_whitespace());
        Options::read(&super::super::command().try_get_matches_from(words).expect("words of the grammar"))
    }

    #[test]
    fn what_netcat_refuses_is_refused_in_its_words() {
        for (words, complaint) in [
            ("10.0.0.1 abc", "port number invalid: abc"),
            ("10.0.0.1 99999", "port number too large: 99999"),
            ("10.0.0.1 0", "port number too small: 0"),
            ("10.0.0.1", "missing port number"),
            ("-l", "missing port number"),
            ("", "missing port number"),
            ("-lz 10.0.0.1 80", "cannot use -z and -l"),
            ("-k 10.0.0.1 80", "must use -l with -k"),
            ("-w x 10.0.0.1 80", "timeout invalid: x"),
            ("-q x 10.0.0.1 80", "quit timer invalid: x"),
            ("-p x 10.0.0.1 80", "getaddrinfo: Servname not supported for ai_socktype"),
            ("host 80", "getaddrinfo for host \"host\" port 80: Name or service not known"),
            ("-M 0 10.0.0.1 80", "ttl too small: 0"),
        ] {
            assert_eq!(read(words).expect_err(words), complaint);
        }
    }

    #[test]
    fn a_server_takes_its_address_and_port_in_several_ways() {
        for words in ["-l 80", "-l -p 80", "-l 0.0.0.0 80"] {
            let options = read(words).expect(words);
            assert_eq!((options.host, options.ports), (ANY, 80..=80), "{words}");
        }
        let options = read("-l -s 10.0.0.2 -p 80").expect("good words");
        assert_eq!((options.host.to_string(), options.ports), ("10.0.0.2".to_owned(), 80..=80));
        assert_eq!(read("10.0.0.1 90-80").expect("a range").ports, 80..=90);
    }
}
