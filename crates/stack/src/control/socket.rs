//! Sockets, as netstat(1) and ss(8) show them.

use rumpnet_proto::{Reply, SocketReport, Transport};

use super::PAGE;
use crate::Stack;

impl Stack {
    /// A page of sockets: UDP first, then TCP, each in the order of their places.
    pub(super) fn sockets_page(&self, after: Option<(Transport, u32)>) -> Reply {
        let (udp_from, tcp_from) = match after {
            None => (Some(0), 0),
            Some((Transport::Udp, place)) => (place.checked_add(1), 0),
            Some((Transport::Tcp, place)) => (None, place.saturating_add(1)),
        };
        let udp = udp_from.into_iter().flat_map(|from| self.sockets.reports_from(from));
        let udp = udp.map(|(place, report)| ((Transport::Udp, place), report));
        let tcp = self.tcp.reports_from(tcp_from).map(|(place, report)| ((Transport::Tcp, place), report));
        let mut page: alloc::vec::Vec<((Transport, u32), SocketReport)> =
            udp.chain(tcp).take(PAGE + 1).collect();
        let more = page.len() > PAGE;
        page.truncate(PAGE);
        let next = page.last().filter(|_| more).map(|(place, _)| *place);
        Reply::Sockets { sockets: page.into_iter().map(|(_, report)| report).collect(), next }
    }
}
