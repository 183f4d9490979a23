//! What ping found out: each reply as a line, all of them as statistics.

use core::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr},
};

use rumpnet_proto::{EchoOutcome, EchoReply, Errno};
use serde::Serialize;

use super::{errors, options::Options};
use crate::task::Report;

/// The most replies, and errors, that a report lists one by one.
const KEPT: usize = 10_000;

/// Everything that was found out; in JSON as in docs/guide/json.md.
#[derive(Serialize)]
pub(super) struct Findings {
    destination: IpAddr,
    pub(super) source: Option<IpAddr>,
    data_bytes: u16,
    pub(super) transmitted: u64,
    pub(super) received: u64,
    duplicates: u64,
    corrupted: u64,
    /// Requests about which an ICMP error came back.
    pub(super) refused: u64,
    /// Requests that the kernel could not send.
    pub(super) unsent: u64,
    #[serde(flatten)]
    times: Times,
    replies: Vec<Line>,
    send_errors: Vec<SendError>,
}

/// A request that could not be sent.
#[derive(Serialize)]
pub(super) struct SendError {
    sequence: u16,
    errno: &'static str,
    message: &'static str,
}

impl SendError {
    pub(super) const fn new(sequence: u16, errno: Errno) -> Self {
        Self { sequence, errno: errno.name(), message: errno.text() }
    }
}

/// One reply.
#[derive(Serialize)]
struct Line {
    sequence: u16,
    from: IpAddr,
    message_bytes: u16,
    ttl: u8,
    rtt_ns: Option<u64>,
    outcome: &'static str,
    error: Option<IcmpError>,
    /// Recorded with -R.
    route: Vec<Ipv4Addr>,
}

#[derive(Serialize)]
struct IcmpError {
    icmp_type: u8,
    icmp_code: u8,
    message: String,
    /// Of the link that the request did not fit.
    next_hop_mtu: Option<u16>,
}

impl From<&EchoReply> for Line {
    fn from(reply: &EchoReply) -> Self {
        let EchoReply { sequence, from, size: message_bytes, ttl, rtt_ns, outcome, next_hop_mtu, .. } =
            *reply;
        let error = match outcome {
            EchoOutcome::Error { kind, code } => {
                let message = errors::text(kind, code);
                Some(IcmpError { icmp_type: kind, icmp_code: code, message, next_hop_mtu })
            }
            _ => None,
        };
        let outcome = match outcome {
            EchoOutcome::Reply => "reply",
            EchoOutcome::Duplicate => "duplicate",
            EchoOutcome::Corrupted => "corrupted",
            EchoOutcome::Error { .. } => "error",
        };
        Self { sequence, from, message_bytes, ttl, rtt_ns, outcome, error, route: reply.route.clone() }
    }
}

/// Round-trip times: their extremes, their mean, and how far they scatter.
#[derive(Serialize)]
struct Times {
    rtt_min_ns: Option<u64>,
    rtt_mean_ns: Option<f64>,
    rtt_max_ns: Option<u64>,
    rtt_stddev_ns: Option<f64>,
    #[serde(skip)]
    count: f64,
    /// The sum of the squared distances from the mean, by Welford's method.
    #[serde(skip)]
    squares: f64,
}

impl Times {
    fn add(&mut self, rtt_ns: u64) {
        let (time, before) = (rtt_ns as f64, self.rtt_mean_ns.unwrap_or_default());
        self.count += 1.0;
        let mean = before + (time - before) / self.count;
        self.squares += (time - before) * (time - mean);
        self.rtt_mean_ns = Some(mean);
        self.rtt_min_ns = Some(self.rtt_min_ns.map_or(rtt_ns, |least| least.min(rtt_ns)));
        self.rtt_max_ns = self.rtt_max_ns.max(Some(rtt_ns));
        self.rtt_stddev_ns = Some((self.squares / (self.count - 1.0).max(1.0)).sqrt());
    }
}

impl Findings {
    pub(super) const fn new(options: &Options) -> Self {
        let times = Times {
            rtt_min_ns: None,
            rtt_mean_ns: None,
            rtt_max_ns: None,
            rtt_stddev_ns: None,
            count: 0.0,
            squares: 0.0,
        };
        Self {
            destination: options.destination(),
            source: None,
            data_bytes: options.echo.size,
            transmitted: 0,
            received: 0,
            duplicates: 0,
            corrupted: 0,
            refused: 0,
            unsent: 0,
            times,
            replies: Vec::new(),
            send_errors: Vec::new(),
        }
    }

    pub(super) const fn rtt_max_ns(&self) -> Option<u64> {
        self.times.rtt_max_ns
    }

    /// Counts a reply, and keeps it if wanted. A duplicate counts for the times, as in NetBSD's ping.
    pub(super) fn on_reply(&mut self, reply: &EchoReply, keep: bool) {
        match reply.outcome {
            EchoOutcome::Reply => self.received += 1,
            EchoOutcome::Duplicate => self.duplicates += 1,
            EchoOutcome::Corrupted => {
                self.received += 1;
                self.corrupted += 1;
            }
            // Redirects and quenches (types 5 and 4) do not end a request: its reply may still come.
            EchoOutcome::Error { kind: 4 | 5, .. } => {}
            EchoOutcome::Error { .. } => self.refused += 1,
        }
        let timed = reply.rtt_ns.filter(|_| !matches!(reply.outcome, EchoOutcome::Error { .. }));
        timed.into_iter().for_each(|rtt_ns| self.times.add(rtt_ns));
        if keep && self.replies.len() < KEPT {
            self.replies.push(Line::from(reply));
        }
    }

    pub(super) fn on_send_error(&mut self, error: SendError) {
        self.unsent += 1;
        if self.send_errors.len() < KEPT {
            self.send_errors.push(error);
        }
    }

    fn loss_percent(&self) -> f64 {
        let lost = self.transmitted.saturating_sub(self.received);
        lost as f64 * 100.0 / self.transmitted as f64
    }

    fn write(&self, text: &mut String) -> core::fmt::Result {
        let Self { transmitted, received, duplicates, corrupted, refused, .. } = *self;
        writeln!(text, "\n----{} PING Statistics----", self.destination)?;
        write!(text, "{transmitted} packets transmitted, {received} packets received")?;
        for (count, what) in [(duplicates, "duplicates"), (corrupted, "corrupted"), (refused, "errors")] {
            if count > 0 {
                write!(text, ", +{count} {what}")?;
            }
        }
        if transmitted > 0 {
            write!(text, ", {:.1}% packet loss", self.loss_percent())?;
        }
        text.push('\n');
        let Times { rtt_min_ns, rtt_mean_ns, rtt_max_ns, rtt_stddev_ns, .. } = self.times;
        if let (Some(min), Some(mean), Some(max), Some(stddev)) =
            (rtt_min_ns, rtt_mean_ns, rtt_max_ns, rtt_stddev_ns)
        {
            let [min, mean, max, stddev] = [min as f64, mean, max as f64, stddev].map(|ns| ns / 1e6);
            writeln!(text, "round-trip min/avg/max/stddev = {min:.6}/{mean:.6}/{max:.6}/{stddev:.6} ms")?;
        }
        Ok(())
    }
}

impl Report for Findings {
    fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a string takes everything");
        text
    }
}

/// A reply as ping prints it while it goes on; `before` is the route that was shown last.
pub(super) fn line(reply: &EchoReply, before: &[Ipv4Addr]) -> String {
    let EchoReply { sequence, from, size, ttl, .. } = reply;
    let time = reply.rtt_ns.map(|ns| format!(" time={:.6} ms", ns as f64 / 1e6)).unwrap_or_default();
    let route = route(&reply.route, before);
    match reply.outcome {
        EchoOutcome::Reply => {
            format!("{size} bytes from {from}: icmp_seq={sequence} ttl={ttl}{time}{route}\n")
        }
        EchoOutcome::Duplicate => {
            format!("{size} bytes from {from}: icmp_seq={sequence} DUP! ttl={ttl}{time}{route}\n")
        }
        EchoOutcome::Corrupted => {
            let wrong = "wrong data: what came back is not what was sent";
            format!("{size} bytes from {from}: icmp_seq={sequence} ttl={ttl}{time}{route}\n{wrong}\n")
        }
        EchoOutcome::Error { kind, code } => {
            let mtu = reply.next_hop_mtu.map(|mtu| format!(" (next hop MTU {mtu})")).unwrap_or_default();
            format!("from {from}: {}{mtu} for icmp_seq={sequence}\n", errors::text(kind, code))
        }
    }
}

/// A recorded route behind the line of its reply, one address a line.
fn route(route: &[Ipv4Addr], before: &[Ipv4Addr]) -> String {
    if route.is_empty() {
        return String::new();
    }
    if route == before {
        return "\t(same route)".into();
    }
    let addresses: Vec<String> = route.iter().map(|address| format!("\t{address}")).collect();
    format!("\nRR: {}", addresses.join("\n"))
}
