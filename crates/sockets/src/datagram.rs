//! What comes with a datagram, and trains of datagrams.

use std::{net::SocketAddr, ops::Range};

use rumpnet_stack::{Datagram, buffer::Payload, time::Instant};

/// What a receiver may want to know of a datagram beside its bytes (IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, SO_TIMESTAMPNS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Who sent it.
    pub source: SocketAddr,
    /// To which of our addresses, or to which group; for an any-address socket it may be no address of ours.
    pub destination: SocketAddr,
    /// The index of the interface it came by.
    pub interface: u32,
    /// Its time to live on arrival.
    pub ttl: u8,
    /// Its type of service.
    pub tos: u8,
    /// Its length in bytes, be it more than the buffer has room for (MSG_TRUNC); of a train, that of all its datagrams.
    pub len: usize,
    /// When it came, by the kernel's clock (SO_TIMESTAMPNS).
    pub received: Instant,
}

/// One or more datagrams from one sender that arrived as one super-frame; the bytes are shared with the link's buffer.
#[derive(Clone, Debug)]
pub struct Train {
    /// Where it came from, and how.
    pub meta: Meta,
    payload: Payload,
    segment: usize,
}

impl Train {
    /// How many datagrams it has; at least 1.
    pub fn datagrams(&self) -> usize {
        self.payload.len().div_ceil(self.segment).max(1)
    }

    /// Payload bytes of all of them.
    pub fn len(&self) -> usize {
        self.payload.len()
    }

    /// Whether they are without payload.
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    /// Payload bytes of each datagram but the last, which may have fewer.
    pub const fn segment(&self) -> usize {
        self.segment
    }

    /// The payload of all of them, as slices that hold the link's buffer until they are dropped.
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The payload of datagram number `index`, counted from 0; empty past the last.
    pub fn datagram(&self, index: usize) -> Payload {
        let start = index.saturating_mul(self.segment);
        let range: Range<usize> = start..start.saturating_add(self.segment);
        self.payload.slice(range)
    }
}

impl From<Datagram> for Train {
    fn from(datagram: Datagram) -> Self {
        let segment = datagram.segment.map_or_else(|| datagram.payload.len().max(1), usize::from);
        Self { meta: Meta::from(&datagram), payload: datagram.payload, segment }
    }
}

impl From<&Datagram> for Meta {
    fn from(datagram: &Datagram) -> Self {
        let Datagram { source, destination, interface, ttl, tos, received, .. } = *datagram;
        Self { source, destination, interface, ttl, tos, len: datagram.payload.len(), received }
    }
}
