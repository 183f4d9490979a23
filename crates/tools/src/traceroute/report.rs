//! What traceroute found out: one answer as it is printed behind its hop, all of them as JSON.

use core::net::IpAddr;

use rumpnet_proto::{EchoOutcome, EchoReply};
use serde::Serialize;

use super::options::Options;
use crate::task::Report;

/// ICMP types (RFC 792).
const UNREACHABLE: u8 = 3;
const TIME_EXCEEDED: u8 = 11;
/// Codes of unreachable.
const PROTOCOL: u8 = 2;
const PORT: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;

/// Everything that was found out; in JSON as in docs/guide/json.md.
#[derive(Serialize)]
pub(super) struct Findings {
    destination: IpAddr,
    pub(super) source: Option<IpAddr>,
    probe: &'static str,
    pub(super) max_hops: u8,
    /// Of the last probe: with -P what fits the path.
    pub(super) packet_bytes: u16,
    /// Whether the destination itself has answered.
    pub(super) reached: bool,
    pub(super) hops: Vec<Hop>,
}

/// What came back from one hop.
#[derive(Serialize)]
pub(super) struct Hop {
    pub(super) ttl: u8,
    pub(super) probes: Vec<Answer>,
}

/// What came back of one probe; nothing but nulls if nothing did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Answer {
    from: Option<IpAddr>,
    rtt_ns: Option<u64>,
    reply_ttl: Option<u8>,
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
    /// Such as `!H`.
    annotation: Option<String>,
}

impl Findings {
    pub(super) const fn new(options: &Options) -> Self {
        Self {
            destination: options.destination,
            source: options.source,
            probe: if options.icmp { "icmp" } else { "udp" },
            max_hops: 0,
            packet_bytes: options.packet_len,
            reached: false,
            hops: Vec::new(),
        }
    }
}

impl Report for Findings {
    /// Printed hop by hop already.
    fn text(&self) -> String {
        String::new()
    }
}

/// What an answer means to the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A router on the way.
    Router,
    /// The destination.
    Arrived,
    /// The way ends here.
    DeadEnd,
    /// The probe is too long for the next link.
    TooLong,
}

/// What an answer means; none for what is no answer to a probe.
pub(super) const fn meaning(outcome: EchoOutcome) -> Option<Meaning> {
    match outcome {
        EchoOutcome::Reply | EchoOutcome::Corrupted => Some(Meaning::Arrived),
        EchoOutcome::Error { kind: TIME_EXCEEDED, .. } => Some(Meaning::Router),
        EchoOutcome::Error { kind: UNREACHABLE, code: PROTOCOL | PORT } => Some(Meaning::Arrived),
        EchoOutcome::Error { kind: UNREACHABLE, code: FRAGMENTATION_NEEDED } => Some(Meaning::TooLong),
        EchoOutcome::Error { kind: UNREACHABLE, .. } => Some(Meaning::DeadEnd),
        EchoOutcome::Error { .. } | EchoOutcome::Duplicate => None,
    }
}

impl Answer {
    pub(super) fn of(reply: &EchoReply) -> Self {
        let (icmp_type, icmp_code) = match reply.outcome {
            EchoOutcome::Error { kind, code } => (kind, code),
            _ => (0, 0),
        };
        Self {
            from: Some(reply.from),
            rtt_ns: reply.rtt_ns,
            reply_ttl: Some(reply.ttl),
            icmp_type: Some(icmp_type),
            icmp_code: Some(icmp_code),
            annotation: annotation(icmp_type, icmp_code, reply.ttl),
        }
    }

    /// As it is printed behind the answer before it, which came `before`.
    pub(super) fn text(&self, before: Option<IpAddr>, options: &Options) -> String {
        let Some(from) = self.from else { return " *".into() };
        let who = match before {
            Some(before) if before == from => String::new(),
            before => {
                let line = if before.is_some() { "\n   " } else { "" };
                let name = if options.numeric { format!(" {from}") } else { format!(" {from} ({from})") };
                format!("{line}{name}")
            }
        };
        let time = self.rtt_ns.map(|ns| format!("  {:.3} ms", ns as f64 / 1e6)).unwrap_or_default();
        let ttl = self.reply_ttl.filter(|_| options.shows_ttl).map(|ttl| format!(" ({ttl})"));
        let note = self.annotation.as_ref().map(|note| format!(" {note}"));
        format!("{who}{time}{}{}", ttl.unwrap_or_default(), note.unwrap_or_default())
    }

    /// Who sent it.
    pub(super) const fn from(&self) -> Option<IpAddr> {
        self.from
    }
}

/// What is remarked of an answer, in the signs of traceroute(8).
fn annotation(kind: u8, code: u8, ttl: u8) -> Option<String> {
    let sign = match (kind, code) {
        // A host that answers with what was left of the probe's time to live.
        (UNREACHABLE, PORT) => return (ttl <= 1).then(|| "!".into()),
        (UNREACHABLE, 0) => "!N",
        (UNREACHABLE, 1) => "!H",
        (UNREACHABLE, PROTOCOL) => "!P",
        (UNREACHABLE, FRAGMENTATION_NEEDED) => "!F",
        (UNREACHABLE, 5) => "!S",
        (UNREACHABLE, 13) => "!X",
        (UNREACHABLE, code) => return Some(format!("!<{code}>")),
        _ => return None,
    };
    Some(sign.into())
}
