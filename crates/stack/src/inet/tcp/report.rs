//! What others are told of TCP sockets: TCP_INFO, and the dump of netstat(1) and ss(8).

use rumpnet_proto::{ConnectionReport, Errno, SocketReport, TcpState, Transport};
use serde::{Deserialize, Serialize};

use super::{Socket, Tcp, connection::Connection, flow::Held, listen::Listener};
use crate::{slab::Key, time::Instant};

/// What is known of a connection (TCP_INFO).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpInfo {
    /// Where it stands.
    pub state: TcpState,
    /// What it knows of its path.
    pub path: ConnectionReport,
}

/// Bytes that wait in a socket (SIOCINQ, SIOCOUTQ, SIOCOUTQNSD).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpQueues {
    /// To be read.
    pub received: usize,
    /// Written and not acknowledged yet, be they sent or not.
    pub unacknowledged: usize,
    /// Written and never sent yet.
    pub unsent: usize,
}

impl Tcp {
    /// What waits in a socket; nothing does in one that is no connection.
    pub(crate) fn queues(&self, key: Key) -> Result<TcpQueues, Errno> {
        match self.sockets.value(key).ok_or(Errno::BadF)? {
            Socket::Connection(connection) => Ok(connection.queues()),
            _ => Ok(TcpQueues::default()),
        }
    }

    /// Places of sockets, taken or free.
    pub(crate) const fn places(&self) -> u32 {
        self.sockets.places()
    }

    /// The socket at a place.
    pub(crate) fn report_at(&self, now: Instant, place: u32) -> Option<SocketReport> {
        self.sockets.value(self.sockets.key_at(place)?).map(|socket| socket.report(now))
    }
}

impl Socket {
    fn report(&self, now: Instant) -> SocketReport {
        let (local, state) = match self {
            Self::Connection(connection) => return connection.report(now),
            Self::Listener(listener) => return listener.report(),
            Self::Held(held) => return held.report(),
            Self::Idle { local, .. } => (*local, TcpState::Closed),
        };
        SocketReport { local, ..empty(state) }
    }
}

impl Listener {
    fn report(&self) -> SocketReport {
        SocketReport {
            local: Some(self.local),
            receive_queue: (self.accepted.len() + self.flows.len()) as u32,
            send_queue: self.backlog,
            ..empty(TcpState::Listen)
        }
    }
}

impl Held {
    fn report(&self) -> SocketReport {
        let (local, remote) = (Some(self.syn.destination), Some(self.syn.source));
        let state = if self.ended.is_some() { TcpState::Closed } else { TcpState::SynReceived };
        SocketReport { local, remote, ..empty(state) }
    }
}

impl Connection {
    fn queues(&self) -> TcpQueues {
        let unacknowledged = self.queue.len();
        // A SYN or a FIN that is under way takes a number, but no byte.
        let under_way = (self.snd_nxt - self.snd_una) as usize;
        let unsent = unacknowledged.saturating_sub(under_way);
        TcpQueues { received: self.received.len(), unacknowledged, unsent }
    }

    fn report(&self, now: Instant) -> SocketReport {
        SocketReport {
            local: Some(self.local),
            remote: Some(self.remote),
            receive_queue: self.received.len() as u32,
            send_queue: self.queue.len() as u32,
            connection: Some(self.path_report(now)),
            ..empty(self.state)
        }
    }

    pub(super) fn path_report(&self, now: Instant) -> ConnectionReport {
        let window = self.congestion.window();
        let nanos = |span: crate::time::Duration| span.as_nanos();
        ConnectionReport {
            congestion: self.congestion.name().into(),
            rtt_ns: self.rtt.smoothed().map(|srtt| (nanos(srtt), nanos(self.rtt.variation()))),
            rto_ns: nanos(self.rtt.rto()),
            mss: self.mss,
            cwnd: window.cwnd,
            ssthresh: Some(window.ssthresh).filter(|ssthresh| *ssthresh != u32::MAX),
            in_flight: self.board.in_flight(),
            pacing_rate: self.pacing_rate(),
            send_window: self.snd_wnd,
            receive_window: self.receive_window(),
            retransmitted: self.retransmitted(),
            duplicates: self.duplicates(),
            reordering: self.rack.has_seen_reordering(),
            undone: self.undone_count(),
            sack: self.sack_permitted,
            minimum_rtt_ns: self.rtt.minimum().map(nanos),
            unsent: self.queues().unsent as u32,
            ecn: self.marks.agreed,
            timestamps: self.timestamps.is_some(),
            window_scale: (self.snd_wscale, self.rcv_wscale),
            traffic: self.traffic_report(now),
        }
    }
}

const fn empty(state: TcpState) -> SocketReport {
    SocketReport {
        transport: Transport::Tcp,
        local: None,
        remote: None,
        receive_queue: 0,
        send_queue: 0,
        receive_drops: 0,
        state: Some(state),
        connection: None,
    }
}
