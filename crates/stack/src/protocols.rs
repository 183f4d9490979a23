//! Which IP protocols raw sockets hear: IP input asks here before it copies a packet for them.
//!
//! Not here: which socket a packet is for.

use alloc::collections::BTreeMap;

/// How many raw sockets hear each protocol.
#[derive(Debug)]
pub(crate) struct RawProtocols {
    counts: BTreeMap<u8, u32>,
    /// A bit for each that anybody hears.
    heard: [u64; 4],
}

impl RawProtocols {
    pub(crate) const fn new() -> Self {
        Self { counts: BTreeMap::new(), heard: [0; 4] }
    }

    /// One more socket hears a protocol.
    pub(crate) fn hear(&mut self, protocol: u8) {
        *self.counts.entry(protocol).or_insert(0) += 1;
        self.heard[usize::from(protocol / 64)] |= 1 << (protocol % 64);
    }

    /// One less does.
    pub(crate) fn unhear(&mut self, protocol: u8) {
        let Some(count) = self.counts.get_mut(&protocol) else { return };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&protocol);
            self.heard[usize::from(protocol / 64)] &= !(1 << (protocol % 64));
        }
    }

    /// Whether any socket hears it.
    #[inline]
    pub(crate) const fn are_heard(&self, protocol: u8) -> bool {
        self.heard[(protocol / 64) as usize] & 1 << (protocol % 64) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_heard_until_its_last_socket_goes() {
        let mut protocols = RawProtocols::new();
        for protocol in [0, 63, 64, 255] {
            protocols.hear(protocol);
            protocols.hear(protocol);
            protocols.unhear(protocol);
            assert!(protocols.are_heard(protocol));
            protocols.unhear(protocol);
            protocols.unhear(protocol);
            assert!(!protocols.are_heard(protocol));
        }
    }
}
