//! Sockets: the report that netstat(1) and ss share, and how each prints it.

use core::{fmt::Write, net::SocketAddr};

use rumpnet_proto::{ConnectionReport, Reply, Request, SocketReport, TcpState, TrafficReport, Transport};
use serde::Serialize;

use crate::{
    console::Console,
    failure::{Failure, unexpected_reply},
    task::{Report, Task},
};

/// Which of them are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) udp: bool,
    pub(crate) tcp: bool,
    /// Those of IP and ICMP.
    pub(crate) raw: bool,
    /// Those that wait for peers.
    pub(crate) waiting: bool,
    /// Those that have one.
    pub(crate) connected: bool,
    /// Of these, those in TIME-WAIT, too.
    pub(crate) ended: bool,
}

/// How they are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// As NetBSD's netstat does; whether servers are included.
    Netstat { servers: bool },
    /// As ss of iproute2 does; whether with what a connection knows of its path.
    Ss { internals: bool },
}

/// The sockets found.
#[derive(Serialize)]
pub(crate) struct Sockets {
    sockets: Vec<Socket>,
    #[serde(skip)]
    layout: Layout,
}

#[derive(Serialize)]
struct Socket {
    transport: &'static str,
    /// The IP protocol of a raw socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<u8>,
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    state: Option<&'static str>,
    receive_queue: u32,
    send_queue: u32,
    receive_drops: u64,
    connection: Option<Connection>,
}

#[derive(Serialize)]
struct Connection {
    congestion: String,
    rtt_ns: Option<u64>,
    rtt_variation_ns: Option<u64>,
    rto_ns: u64,
    mss_bytes: u32,
    cwnd_bytes: u32,
    ssthresh_bytes: Option<u32>,
    in_flight_bytes: u32,
    pacing_rate_bytes_per_second: Option<u64>,
    send_window_bytes: u32,
    receive_window_bytes: u32,
    retransmitted: u64,
    duplicates_reported: u32,
    reordering_seen: bool,
    reductions_undone: u32,
    sack: bool,
    min_rtt_ns: Option<u64>,
    unsent_bytes: u32,
    ecn: bool,
    timestamps: bool,
    send_window_scale: u8,
    receive_window_scale: u8,
    traffic: TrafficReport,
}

impl Wanted {
    fn takes(self, report: &SocketReport) -> bool {
        let transport = match report.transport {
            Transport::Udp => self.udp,
            Transport::Tcp => self.tcp,
            Transport::Icmp | Transport::Raw(_) => self.raw,
        };
        let ended = report.state == Some(TcpState::TimeWait);
        transport
            && (self.ended || !ended)
            && if report.remote.is_some() { self.connected } else { self.waiting }
    }
}

/// All sockets that are wanted, page after page.
pub(crate) async fn sockets(
    task: &Task<'_, impl Console>,
    wanted: Wanted,
    layout: Layout,
) -> Result<Sockets, Failure> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let Reply::Sockets { sockets, next } = task.ask(Request::Sockets { after }).await? else {
            return Err(unexpected_reply());
        };
        found.extend(sockets.into_iter().filter(|report| wanted.takes(report)).map(Socket::from));
        match next {
            // A cursor that does not move on would never end.
            Some(_) if next > after => after = next,
            _ => return Ok(Sockets { sockets: found, layout }),
        }
    }
}

impl From<SocketReport> for Socket {
    fn from(report: SocketReport) -> Self {
        Self {
            transport: match report.transport {
                Transport::Udp => "udp",
                Transport::Tcp => "tcp",
                // As NetBSD's netstat names them.
                Transport::Icmp | Transport::Raw(1) => "icmp",
                Transport::Raw(_) => "raw",
            },
            protocol: match report.transport {
                Transport::Raw(protocol) => Some(protocol),
                _ => None,
            },
            local: report.local,
            remote: report.remote,
            state: report.state.map(TcpState::name),
            receive_queue: report.receive_queue,
            send_queue: report.send_queue,
            receive_drops: report.receive_drops,
            connection: report.connection.map(Connection::from),
        }
    }
}

impl From<ConnectionReport> for Connection {
    fn from(report: ConnectionReport) -> Self {
        Self {
            congestion: report.congestion,
            rtt_ns: report.rtt_ns.map(|(srtt, _)| srtt),
            rtt_variation_ns: report.rtt_ns.map(|(_, variation)| variation),
            rto_ns: report.rto_ns,
            mss_bytes: report.mss,
            cwnd_bytes: report.cwnd,
            ssthresh_bytes: report.ssthresh,
            in_flight_bytes: report.in_flight,
            pacing_rate_bytes_per_second: report.pacing_rate,
            send_window_bytes: report.send_window,
            receive_window_bytes: report.receive_window,
            retransmitted: report.retransmitted,
            duplicates_reported: report.duplicates,
            reordering_seen: report.reordering,
            reductions_undone: report.undone,
            sack: report.sack,
            min_rtt_ns: report.minimum_rtt_ns,
            unsent_bytes: report.unsent,
            ecn: report.ecn,
            timestamps: report.timestamps,
            send_window_scale: report.window_scale.0,
            receive_window_scale: report.window_scale.1,
            traffic: report.traffic,
        }
    }
}

impl Report for Sockets {
    fn text(&self) -> String {
        let mut text = String::new();
        let written = match self.layout {
            Layout::Netstat { servers } => self.write_netstat(&mut text, servers),
            Layout::Ss { internals } => self.write_ss(&mut text, internals),
        };
        written.expect("writing to a String cannot fail");
        text
    }
}

impl Sockets {
    fn write_netstat(&self, text: &mut String, servers: bool) -> core::fmt::Result {
        let including = if servers { " (including servers)" } else { "" };
        writeln!(text, "Active Internet connections{including}")?;
        let heads = ("Proto", "Recv-Q", "Send-Q", "Local Address", "Foreign Address", "State");
        writeln!(
            text,
            "{:<5} {:>6} {:>6}  {:<22} {:<22} {}",
            heads.0, heads.1, heads.2, heads.3, heads.4, heads.5
        )?;
        for socket in &self.sockets {
            let Socket { transport, receive_queue, send_queue, .. } = socket;
            // A listener's numbers are of connections, which this layout has no column for.
            let (received, sent) =
                if socket.state == Some("LISTEN") { (&0, &0) } else { (receive_queue, send_queue) };
            let (local, remote) = (bsd(socket.local), bsd(socket.remote));
            let state = socket.state.unwrap_or_default();
            let line = format!("{transport:<5} {received:>6} {sent:>6}  {local:<22} {remote:<22} {state}");
            writeln!(text, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn write_ss(&self, text: &mut String, internals: bool) -> core::fmt::Result {
        let local = |socket: &Socket| linux(socket.local);
        let remote = |socket: &Socket| linux(socket.remote);
        let widest = |column: &dyn Fn(&Socket) -> String, head: &str| {
            self.sockets.iter().map(|socket| column(socket).len()).max().unwrap_or(0).max(head.len())
        };
        let (here, there) = ("Local Address:Port", "Peer Address:Port");
        let (first, second) = (widest(&local, here), widest(&remote, there));
        let heads = ("Netid", "State", "Recv-Q", "Send-Q");
        let line = format!(
            "{:<5} {:<11} {:<6} {:<6} {here:<first$} {there:<second$}",
            heads.0, heads.1, heads.2, heads.3
        );
        writeln!(text, "{}", line.trim_end())?;
        for socket in &self.sockets {
            let Socket { transport, receive_queue, send_queue, .. } = socket;
            let (state, local, remote) = (socket.short_state(), local(socket), remote(socket));
            let line = format!(
                "{transport:<5} {state:<11} {receive_queue:<6} {send_queue:<6} {local:<first$} {remote:<second$}"
            );
            writeln!(text, "{}", line.trim_end())?;
            if let Some(connection) = socket.connection.as_ref().filter(|_| internals) {
                connection.write(text)?;
            }
        }
        Ok(())
    }
}

impl Socket {
    /// The state as ss abbreviates it.
    fn short_state(&self) -> &'static str {
        match self.state {
            None => "UNCONN",
            Some("ESTABLISHED") => "ESTAB",
            Some("SYN_SENT") => "SYN-SENT",
            Some("SYN_RECEIVED") => "SYN-RECV",
            Some("FIN_WAIT_1") => "FIN-WAIT-1",
            Some("FIN_WAIT_2") => "FIN-WAIT-2",
            Some("CLOSE_WAIT") => "CLOSE-WAIT",
            Some("LAST_ACK") => "LAST-ACK",
            Some("TIME_WAIT") => "TIME-WAIT",
            Some("CLOSED") => "UNCONN",
            Some(other) => other,
        }
    }
}

impl Connection {
    /// One line, in the words of ss: milliseconds, and windows in segments.
    fn write(&self, text: &mut String) -> core::fmt::Result {
        let ms = |nanos: u64| nanos as f64 / 1e6;
        let mss = self.mss_bytes.max(1);
        write!(text, "\t")?;
        for (on, word) in [(self.timestamps, "ts "), (self.sack, "sack "), (self.ecn, "ecn ")] {
            text.push_str(if on { word } else { "" });
        }
        write!(text, "{} wscale:{},{}", self.congestion, self.send_window_scale, self.receive_window_scale)?;
        write!(text, " rto:{:.0}", ms(self.rto_ns))?;
        if let (Some(rtt), Some(variation)) = (self.rtt_ns, self.rtt_variation_ns) {
            write!(text, " rtt:{:.3}/{:.3}", ms(rtt), ms(variation))?;
        }
        write!(text, " mss:{} cwnd:{}", self.mss_bytes, self.cwnd_bytes / mss)?;
        self.ssthresh_bytes.iter().try_for_each(|bytes| write!(text, " ssthresh:{}", bytes / mss))?;
        let told = &self.traffic;
        write_counts(
            text,
            &[
                ("bytes_sent", told.bytes_sent),
                ("bytes_retrans", told.bytes_retransmitted),
                ("bytes_acked", told.bytes_acked),
                ("bytes_received", told.bytes_received),
                ("segs_out", told.segments_sent),
                ("segs_in", told.segments_received),
                ("data_segs_out", told.data_segments_sent),
                ("data_segs_in", told.data_segments_received),
            ],
        )?;
        if self.in_flight_bytes > 0 {
            write!(text, " unacked:{}", self.in_flight_bytes.div_ceil(mss))?;
        }
        // In bits, as ss(8) of iproute2 prints rates.
        let pace = self.pacing_rate_bytes_per_second;
        pace.iter().try_for_each(|rate| write!(text, " pacing_rate {}bps", rate.saturating_mul(8)))?;
        if told.delivery_rate > 0 {
            write!(text, " delivery_rate {}bps", told.delivery_rate.saturating_mul(8))?;
        }
        write_counts(text, &[("delivered", told.delivered), ("delivered_ce", told.delivered_marked)])?;
        self.write_waits(text)?;
        if self.retransmitted > 0 {
            write!(text, " retrans:0/{}", self.retransmitted)?;
        }
        write_counts(
            text,
            &[
                ("dsack_dups", self.duplicates_reported.into()),
                ("undone", self.reductions_undone.into()),
                ("rcv_ooopack", told.out_of_order),
                ("notsent", self.unsent_bytes.into()),
            ],
        )?;
        self.min_rtt_ns.iter().try_for_each(|rtt| write!(text, " minrtt:{:.3}", ms(*rtt)))?;
        writeln!(text, " snd_wnd:{} rcv_wnd:{}", self.send_window_bytes, self.receive_window_bytes)
    }
}

impl Connection {
    /// For how long it was busy, and how much of that time something other than the path held it back.
    fn write_waits(&self, text: &mut String) -> core::fmt::Result {
        let told = &self.traffic;
        if told.busy_ns < 1_000_000 {
            return Ok(());
        }
        write!(text, " busy:{}ms", told.busy_ns / 1_000_000)?;
        for (word, nanos) in
            [("rwnd_limited", told.window_limited_ns), ("sndbuf_limited", told.buffer_limited_ns)]
        {
            if nanos > 0 {
                let share = nanos as f64 * 100.0 / told.busy_ns as f64;
                write!(text, " {word}:{}ms({share:.1}%)", nanos / 1_000_000)?;
            }
        }
        Ok(())
    }
}

/// Counts by the words of ss; what is nothing is left out, as it does.
fn write_counts(text: &mut String, counts: &[(&str, u64)]) -> core::fmt::Result {
    counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .try_for_each(|(word, count)| write!(text, " {word}:{count}"))
}

/// An address as BSD's tools print it: a dot before the port, stars for what is open, as the ports of raw sockets are.
fn bsd(address: Option<SocketAddr>) -> String {
    let Some(address) = address else { return "*.*".into() };
    let host = if address.ip().is_unspecified() { "*".into() } else { address.ip().to_string() };
    format!("{host}.{}", port(address))
}

/// An address as ss prints it.
fn linux(address: Option<SocketAddr>) -> String {
    match address {
        None => "0.0.0.0:*".into(),
        Some(address) if address.is_ipv4() => format!("{}:{}", address.ip(), port(address)),
        Some(address) => address.to_string(),
    }
}

/// A port; a star for none.
fn port(address: SocketAddr) -> String {
    if address.port() == 0 { "*".into() } else { address.port().to_string() }
}
