//! Errors from the path: ICMP about our segments (RFC 1122 section 4.2.3.9, RFC 5461), forged ones held off (RFC 5927), path MTU
//! discovery (RFC 1191), neighbours that do not answer.

use core::net::IpAddr;

use rumpnet_proto::{Counter, Errno};
use rumpnet_wire::tcp::Seq;

use super::{
    Tcp,
    connection::{Connection, HEADERS, State},
};
use crate::{
    context::Context,
    inet::{
        Inet,
        icmp::{ErrorReport, Offender, errno_of},
    },
    link::Link,
    slab::Key,
};

/// The least path MTU that is believed, against those who would make us send crumbs (as Linux has it).
const MIN_PATH_MTU: u32 = 552;
/// MTUs of real links, for routers that do not name theirs (RFC 1191 section 7).
const PLATEAUS: [u32; 8] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 576];

impl Tcp {
    /// An ICMP error has come in; false if it is about nothing that we have under way.
    pub(crate) fn on_error(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &Inet,
        report: &ErrorReport,
    ) -> bool {
        let Offender::Tcp { source, destination, sequence, next_hop_mtu } = report.offender else {
            return false;
        };
        let Some(key) = self.find((source, destination)) else { return false };
        let Some(connection) = self.connection_mut(key) else { return false };
        if !connection.has_under_way(Seq(sequence)) {
            return false;
        }
        match (report.kind, report.code, errno_of(report.kind, report.code)) {
            (3, 4, _) => {
                if let Some(mtu) = connection.on_path_mtu(next_hop_mtu.into()) {
                    self.learn_path_mtu(cx, destination.ip(), mtu);
                }
            }
            (_, _, Some(error)) => connection.on_path_error(error),
            _ => return true,
        }
        self.tell(key);
        self.settle(cx, link, inet, key);
        true
    }

    fn learn_path_mtu(&mut self, cx: &mut Context, destination: IpAddr, mtu: u32) {
        cx.count(Counter::TcpPathMtuLearned);
        if self.path_mtus.learn(cx.now, destination, mtu, cx.config.path_mtus) {
            cx.count(Counter::TcpPathMtuEvicted);
        }
    }

    /// A neighbour did not answer, and a segment was dropped for it.
    pub(crate) fn on_undelivered(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &Inet,
        offender: Offender,
    ) {
        let Offender::Tcp { source, destination, .. } = offender else { return };
        let Some(key) = self.find((source, destination)) else { return };
        let Some(connection) = self.connection_mut(key) else { return };
        connection.on_path_error(Errno::HostUnreach);
        self.tell(key);
        self.settle(cx, link, inet, key);
    }

    /// The neighbour on the way was asked for in vain not long ago.
    pub(super) fn on_silent_neighbor(&mut self, cx: &mut Context, link: &mut Link, inet: &Inet, key: Key) {
        let Some(connection) = self.connection_mut(key) else { return };
        connection.on_path_error(Errno::HostUnreach);
        if connection.state == State::Closed {
            connection.listed = false;
            self.tell(key);
        }
        self.settle(cx, link, inet, key);
    }
}

impl Connection {
    /// Whether a segment that begins so may still be on the path.
    fn has_under_way(&self, sequence: Seq) -> bool {
        sequence.is_at_or_after(self.snd_una) && sequence.is_before(self.snd_nxt)
    }

    /// An attempt to connect fails at once; a connection lives on, and remembers why if it should time out.
    pub(super) fn on_path_error(&mut self, error: Errno) {
        match self.state {
            State::SynSent => self.end(Some(error)),
            // A peer that came to us is given up for a hard error only (RFC 1122 section 4.2.3.9).
            State::SynReceived if error == Errno::ConnRefused => self.end(Some(error)),
            _ => self.soft_error = Some(error),
        }
    }

    /// A segment did not fit: those to come do, and what is too long is sent again, which is no sign of congestion.
    ///
    /// The MTU of the path, if that is news.
    fn on_path_mtu(&mut self, told: u32) -> Option<u32> {
        let present = self.mss + HEADERS;
        let plateau = PLATEAUS.into_iter().find(|mtu| *mtu < present).unwrap_or(MIN_PATH_MTU);
        let mtu = if told == 0 { plateau } else { told }.max(MIN_PATH_MTU);
        let before = self.mss;
        self.settle_mss(mtu);
        if self.mss >= before {
            self.mss = before;
            return None;
        }
        let mss = self.mss;
        self.board.mark_lost(|sent| sent.len().min(sent.size.into()) > mss);
        Some(mtu)
    }
}
