//! Rates: two samples, and what lies between them.

use core::net::SocketAddr;
use std::collections::BTreeMap;

use rumpnet_proto::{DropReason, InterfaceReport, LinkState, SocketReport, TcpState, Transport};
use serde::Serialize;

use super::sample::{SOCKETS, Sample};

/// Everything that is shown of one sample (docs/guide/json.md).
#[derive(Debug, Serialize)]
pub(super) struct Rates {
    pub(super) kernel: String,
    pub(super) uptime_ns: u64,
    /// From the sample before to this one; as much as the uptime for the first.
    pub(super) span_ns: u64,
    pub(super) interfaces: Vec<InterfaceRates>,
    pub(super) sockets: SocketCounts,
    /// The busiest first.
    pub(super) connections: Vec<ConnectionRates>,
    /// Those that happen most first.
    pub(super) drops: Vec<DropRates>,
}

#[derive(Debug, Serialize)]
pub(super) struct InterfaceRates {
    pub(super) name: String,
    pub(super) link_state: &'static str,
    pub(super) input_bits_per_second: f64,
    pub(super) output_bits_per_second: f64,
    pub(super) input_packets_per_second: f64,
    pub(super) output_packets_per_second: f64,
    pub(super) errors_per_second: f64,
    pub(super) drops_per_second: f64,
}

#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct SocketCounts {
    pub(super) tcp_connected: usize,
    pub(super) tcp_listening: usize,
    pub(super) tcp_other: usize,
    pub(super) udp: usize,
    pub(super) raw: usize,
    /// Whether there are more sockets than were looked at.
    pub(super) more: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct ConnectionRates {
    pub(super) local: Option<SocketAddr>,
    pub(super) remote: Option<SocketAddr>,
    pub(super) state: &'static str,
    pub(super) input_bits_per_second: f64,
    pub(super) output_bits_per_second: f64,
    pub(super) retransmitted_per_second: f64,
    pub(super) rtt_ns: Option<u64>,
    pub(super) receive_queue_bytes: u32,
    pub(super) send_queue_bytes: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct DropRates {
    pub(super) reason: String,
    pub(super) text: &'static str,
    pub(super) packets: u64,
    pub(super) packets_per_second: f64,
}

/// From one count to a later one, over a span.
#[derive(Clone, Copy)]
struct Span(f64);

impl Span {
    /// To a tenth. Counters that were reset meanwhile begin at nothing.
    fn rate(self, before: u64, now: u64) -> f64 {
        let counted = now.checked_sub(before).unwrap_or(now);
        if self.0 > 0.0 { (counted as f64 / self.0 * 10.0).round() / 10.0 } else { 0.0 }
    }

    fn bits(self, before: u64, now: u64) -> f64 {
        self.rate(before.saturating_mul(8), now.saturating_mul(8))
    }
}

impl Rates {
    /// What lies between two samples; an empty one stands for the time when the kernel was booted.
    pub(super) fn between(before: &Sample, now: &Sample) -> Self {
        let uptime_ns = now.kernel.as_ref().map_or(0, |kernel| kernel.uptime_ns);
        let then = before.kernel.as_ref().map_or(0, |kernel| kernel.uptime_ns);
        let span_ns = uptime_ns.saturating_sub(then);
        let span = Span(span_ns as f64 / 1e9);
        Self {
            kernel: now.kernel.as_ref().map_or_else(String::new, |kernel| kernel.name.clone()),
            uptime_ns,
            span_ns,
            interfaces: interfaces(before, now, span),
            sockets: counts(&now.sockets),
            connections: connections(before, now, span),
            drops: drops(before, now, span),
        }
    }
}

fn interfaces(before: &Sample, now: &Sample, span: Span) -> Vec<InterfaceRates> {
    let known: BTreeMap<u32, &InterfaceReport> =
        before.interfaces.iter().map(|report| (report.index, report)).collect();
    now.interfaces.iter().map(|report| interface(known.get(&report.index).copied(), report, span)).collect()
}

fn interface(before: Option<&InterfaceReport>, now: &InterfaceReport, span: Span) -> InterfaceRates {
    let counters = &now.counters;
    let then = before.map(|report| report.counters).unwrap_or_default();
    let dropped = |report: &InterfaceReport| {
        let own: u64 = report.drops.iter().map(|(_, packets)| packets).sum();
        own + report.host_drops.unwrap_or(0)
    };
    InterfaceRates {
        name: now.name.to_string(),
        link_state: match now.link_state {
            LinkState::Up => "up",
            LinkState::Down => "down",
            LinkState::Unknown => "unknown",
        },
        input_bits_per_second: span.bits(then.input_bytes, counters.input_bytes),
        output_bits_per_second: span.bits(then.output_bytes, counters.output_bytes),
        input_packets_per_second: span.rate(then.input_packets, counters.input_packets),
        output_packets_per_second: span.rate(then.output_packets, counters.output_packets),
        errors_per_second: span
            .rate(then.input_errors + then.output_errors, counters.input_errors + counters.output_errors),
        drops_per_second: span.rate(before.map_or(0, dropped), dropped(now)),
    }
}

fn counts(sockets: &[SocketReport]) -> SocketCounts {
    let mut counts = SocketCounts { more: sockets.len() >= SOCKETS, ..SocketCounts::default() };
    for socket in sockets {
        *match (socket.transport, socket.state) {
            (Transport::Tcp, Some(TcpState::Established)) => &mut counts.tcp_connected,
            (Transport::Tcp, Some(TcpState::Listen)) => &mut counts.tcp_listening,
            (Transport::Tcp, _) => &mut counts.tcp_other,
            (Transport::Udp, _) => &mut counts.udp,
            _ => &mut counts.raw,
        } += 1;
    }
    counts
}

fn connections(before: &Sample, now: &Sample, span: Span) -> Vec<ConnectionRates> {
    let ends = |socket: &SocketReport| (socket.local, socket.remote);
    let known: BTreeMap<_, _> = before
        .sockets
        .iter()
        .filter_map(|socket| Some((ends(socket), socket.connection.as_ref()?)))
        .collect();
    let mut rates: Vec<_> = now
        .sockets
        .iter()
        .filter_map(|socket| {
            let connection = socket.connection.as_ref()?;
            let then = known.get(&ends(socket));
            let traffic = then.map(|then| &then.traffic);
            Some(ConnectionRates {
                local: socket.local,
                remote: socket.remote,
                state: socket.state.map_or("", TcpState::name),
                input_bits_per_second: span
                    .bits(traffic.map_or(0, |then| then.bytes_received), connection.traffic.bytes_received),
                output_bits_per_second: span
                    .bits(traffic.map_or(0, |then| then.bytes_sent), connection.traffic.bytes_sent),
                retransmitted_per_second: span
                    .rate(then.map_or(0, |then| then.retransmitted), connection.retransmitted),
                rtt_ns: connection.rtt_ns.map(|(smoothed, _)| smoothed),
                receive_queue_bytes: socket.receive_queue,
                send_queue_bytes: socket.send_queue,
            })
        })
        .collect();
    // Of equals the first stays the first, so that idle ones do not dance.
    let busy = |rates: &ConnectionRates| rates.input_bits_per_second + rates.output_bits_per_second;
    rates.sort_by(|one, other| busy(other).total_cmp(&busy(one)));
    rates
}

fn drops(before: &Sample, now: &Sample, span: Span) -> Vec<DropRates> {
    let known: BTreeMap<DropReason, u64> = before.drops.iter().copied().collect();
    let mut rates: Vec<_> = now
        .drops
        .iter()
        .map(|(reason, packets)| DropRates {
            reason: format!("{reason:?}"),
            text: reason.text(),
            packets: *packets,
            packets_per_second: span.rate(known.get(reason).copied().unwrap_or(0), *packets),
        })
        .collect();
    rates.sort_by(|one, other| other.packets_per_second.total_cmp(&one.packets_per_second));
    rates
}
