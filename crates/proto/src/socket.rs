//! What netstat(1) and ss(8) show of a socket.

use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// ICMP, by a socket that has an identifier in place of a port.
    Icmp,
    /// IP itself, by a raw socket of this protocol.
    Raw(u8),
}

/// Where a TCP socket stands (RFC 9293 section 3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TcpState {
    /// Neither listening nor connected, or connected no more.
    Closed,
    /// Waits for connections.
    Listen,
    /// Has sent a SYN.
    SynSent,
    /// Has answered a SYN.
    SynReceived,
    /// Connected.
    Established,
    /// Has sent a FIN.
    FinWait1,
    /// Its FIN was acknowledged.
    FinWait2,
    /// The peer has sent a FIN.
    CloseWait,
    /// Both have sent a FIN, and neither has been acknowledged.
    Closing,
    /// Has sent a FIN after the peer's.
    LastAck,
    /// Waits until nothing of it can be under way.
    TimeWait,
}

impl TcpState {
    /// As netstat(1) prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Listen => "LISTEN",
            Self::SynSent => "SYN_SENT",
            Self::SynReceived => "SYN_RECEIVED",
            Self::Established => "ESTABLISHED",
            Self::FinWait1 => "FIN_WAIT_1",
            Self::FinWait2 => "FIN_WAIT_2",
            Self::CloseWait => "CLOSE_WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST_ACK",
            Self::TimeWait => "TIME_WAIT",
        }
    }
}

/// One socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketReport {
    /// Its protocol.
    pub transport: Transport,
    /// The address bound.
    pub local: Option<SocketAddr>,
    /// The peer.
    pub remote: Option<SocketAddr>,
    /// Bytes that wait to be read; connections that wait to be accepted.
    pub receive_queue: u32,
    /// Bytes that wait to be sent or acknowledged; for a listener, how many connections may wait.
    pub send_queue: u32,
    /// Datagrams lost because the receive buffer was full.
    pub receive_drops: u64,
    /// Where a TCP socket stands.
    pub state: Option<TcpState>,
    /// What a connection knows of its path.
    pub connection: Option<ConnectionReport>,
}

/// What a TCP connection knows of its path (TCP_INFO).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionReport {
    /// The congestion control algorithm.
    pub congestion: alloc::string::String,
    /// The smoothed round-trip time and its variation in nanoseconds, once measured.
    pub rtt_ns: Option<(u64, u64)>,
    /// The retransmission time-out in nanoseconds.
    pub rto_ns: u64,
    /// Payload bytes of a full segment.
    pub mss: u32,
    /// The congestion window, in bytes.
    pub cwnd: u32,
    /// The slow-start threshold in bytes, once there was congestion.
    pub ssthresh: Option<u32>,
    /// Bytes under way.
    pub in_flight: u32,
    /// Bytes per second at which data leaves, if it is paced.
    pub pacing_rate: Option<u64>,
    /// The peer's window, in bytes.
    pub send_window: u32,
    /// Our window, in bytes.
    pub receive_window: u32,
    /// Transmissions repeated since the connection began.
    pub retransmitted: u64,
    /// Segments that the peer has reported to have come twice (tcpi_dsack_dups).
    pub duplicates: u32,
    /// Whether segments were seen to overtake each other (tcpi_reord_seen, which counts).
    pub reordering: bool,
    /// Reductions of the window that were taken back.
    pub undone: u32,
    /// Whether selective acknowledgments were agreed on.
    pub sack: bool,
    /// The least round-trip time of the last minutes in nanoseconds, once measured.
    pub minimum_rtt_ns: Option<u64>,
    /// Bytes that were never sent.
    pub unsent: u32,
    /// Whether explicit congestion notification was agreed on.
    pub ecn: bool,
    /// Whether timestamps were agreed on.
    pub timestamps: bool,
    /// The window shifts of the peer and ours.
    pub window_scale: (u8, u8),
    /// What it has sent and received.
    pub traffic: TrafficReport,
}

/// What a TCP connection has sent and received, and what kept it from sending more, counted as Linux counts it (TCP_INFO, RFC 4898).
///
/// A stream that ends is one longer than its bytes, and so is one that we began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficReport {
    /// Payload sent, repetitions included, in bytes.
    pub bytes_sent: u64,
    /// Payload sent again, in bytes.
    pub bytes_retransmitted: u64,
    /// What the peer has acknowledged, in bytes.
    pub bytes_acked: u64,
    /// What has come in order, in bytes.
    pub bytes_received: u64,
    /// Segments sent.
    pub segments_sent: u64,
    /// Segments received.
    pub segments_received: u64,
    /// Segments sent that bore data.
    pub data_segments_sent: u64,
    /// Segments received that bore data.
    pub data_segments_received: u64,
    /// Segments that are known to have arrived.
    pub delivered: u64,
    /// Of these, segments whose acknowledgment echoed a mark of congestion.
    pub delivered_marked: u64,
    /// Segments received before their turn.
    pub out_of_order: u64,
    /// Segments received that routers had marked.
    pub marks_received: u64,
    /// Acknowledgments received that echoed a mark.
    pub echoes_received: u64,
    /// Reductions of the window for marks.
    pub reductions_by_marks: u64,
    /// For how long data was to be sent, or unacknowledged, in nanoseconds.
    pub busy_ns: u64,
    /// For how long of it the peer's window held it back.
    pub window_limited_ns: u64,
    /// For how long of it all was sent that the buffer holds, and its writer waited.
    pub buffer_limited_ns: u64,
    /// Bytes per second that arrived in the last round trip; 0 before the first.
    pub delivery_rate: u64,
}
