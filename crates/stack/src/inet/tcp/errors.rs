//! Errors from the path: ICMP about our segments (RFC 1122 section 4.2.3.9, RFC 5461), forged ones held off (RFC 5927), path MTU
//! discovery (RFC 1191), neighbours that do not answer.

use rumpnet_proto::Errno;
use rumpnet_wire::tcp::Seq;

use super::{
    Tcp,
    connection::{Connection, State},
};
use crate::{
    context::Context,
    inet::{
        Inet,
        icmp::{ErrorReport, Offender, errno_of},
        path_mtu::determine_told,
    },
    link::Link,
    slab::Key,
    time::Instant,
};

impl Tcp {
    /// An ICMP error has come in; false if it is about nothing that we have under way.
    pub(crate) fn on_error(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        inet: &mut Inet,
        report: &ErrorReport,
    ) -> bool {
        let Offender::Tcp { source, destination, sequence } = report.offender else {
            return false;
        };
        let Some(key) = self.find((source, destination)) else { return false };
        let Some(connection) = self.connection_mut(key) else { return false };
        if !connection.has_under_way(Seq(sequence)) {
            return false;
        }
        match (report.kind, report.code, errno_of(report.kind, report.code)) {
            (3, 4, _) => {
                if !cx.config.mtu_discovery {
                    return true;
                }
                let mtu = determine_told(report.next_hop_mtu, connection.packet_len());
                if connection.on_path_mtu(mtu) {
                    let until = inet.learn_path_mtu(cx, destination.ip(), mtu);
                    connection.set_narrow_until(Some(until));
                }
            }
            (_, _, Some(error)) => connection.on_path_error(error),
            _ => return true,
        }
        self.tell(key);
        self.settle(cx, link, inet, key);
        true
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
    /// Whether that is news.
    fn on_path_mtu(&mut self, mtu: u32) -> bool {
        let before = self.mss;
        self.settle_mss(mtu);
        if self.mss >= before {
            self.mss = before;
            return false;
        }
        let mss = self.mss;
        self.board.mark_lost(|sent| sent.len().min(sent.size.into()) > mss);
        true
    }

    /// What is sent from now on fits the link, and the path as far as it is `known`, until when. When that time is over the path may have become
    /// wider, and the next segments try it (RFC 1191 section 6.3).
    pub(super) fn follow_path(&mut self, now: Instant, link: u32, known: Option<(u32, Instant)>) {
        match known.filter(|(mtu, _)| *mtu < link) {
            Some((mtu, until)) => {
                self.set_narrow_until(Some(until));
                self.fit_link(mtu);
            }
            None if self.is_to_be_widened(now) => {
                self.set_narrow_until(None);
                self.settle_mss(link);
            }
            None => self.fit_link(link),
        }
    }

    fn is_to_be_widened(&self, now: Instant) -> bool {
        self.state != State::SynSent && self.narrow_until().is_some_and(|until| now >= until)
    }
}
