//! Sockets, as netstat(1) and ss(8) show them.

use alloc::vec::Vec;
use core::ops::Range;

use rumpnet_proto::{Reply, SocketReport, Transport};

use super::PAGE;
use crate::Stack;

/// Places of either transport that a page looks at, taken or free: after many were closed there may be long stretches of free ones.
const PLACES_AT_ONCE: u32 = 4096;

impl Stack {
    /// A page of sockets: those of datagrams first, then TCP, each in the order of their places. It may hold few, or none, and still not be the last.
    pub(super) fn sockets_page(&self, after: Option<(Transport, u32)>) -> Reply {
        let (first, place) =
            after.map_or((Transport::Udp, 0), |(transport, place)| (transport, place.saturating_add(1)));
        let mut sockets = Vec::new();
        for transport in [Transport::Udp, Transport::Tcp] {
            if transport < first {
                continue;
            }
            let from = if transport == first { place } else { 0 };
            let places = self.socket_places(transport);
            let end = places.min(from.saturating_add(PLACES_AT_ONCE));
            if let Some(last) = self.report_sockets(transport, from..end, &mut sockets) {
                return Reply::Sockets { sockets, next: Some((transport, last)) };
            }
            let finished = end == places && (transport == Transport::Tcp || sockets.len() < PAGE);
            if !finished {
                return Reply::Sockets { sockets, next: Some((transport, end.saturating_sub(1))) };
            }
        }
        Reply::Sockets { sockets, next: None }
    }

    const fn socket_places(&self, transport: Transport) -> u32 {
        match transport {
            Transport::Tcp => self.tcp.places(),
            Transport::Udp | Transport::Icmp | Transport::Raw(_) => self.sockets.places(),
        }
    }

    /// Adds the sockets of some places to a page; the last place that had room, if not all had.
    fn report_sockets(
        &self,
        transport: Transport,
        places: Range<u32>,
        page: &mut Vec<SocketReport>,
    ) -> Option<u32> {
        let mut last = None;
        for place in places {
            let report = match transport {
                Transport::Tcp => self.tcp.report_at(self.cx.now, place),
                Transport::Udp | Transport::Icmp | Transport::Raw(_) => self.sockets.report_at(place),
            };
            let Some(report) = report else { continue };
            if page.len() == PAGE {
                return last;
            }
            page.push(report);
            last = Some(place);
        }
        None
    }
}
