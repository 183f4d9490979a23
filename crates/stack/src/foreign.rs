//! Addresses that are not ours, but whose packets sockets take all the same (IP_TRANSPARENT of Linux, SO_BINDANY of OpenBSD).
//!
//! An any-address socket hears what comes by the interface that it names to its port, or to every port; a socket that is bound to a foreign
//! address, or a connection that has one, hears it by every interface. IP input asks here before it forwards or drops what is not for us.
//!
//! Not here: which socket a packet is for, and ARP, which answers for our own addresses alone.

use alloc::collections::BTreeMap;
use core::net::{IpAddr, SocketAddr};

use rumpnet_wire::ip::Protocol;

/// Who hears what is not for us.
#[derive(Debug, Default)]
pub(crate) struct Foreign {
    /// How many any-address sockets there are, by interface, protocol and port; those of port 0 hear every port.
    ears: BTreeMap<(u32, u8, u16), u32>,
    /// How many sockets have each address, protocol and port.
    held: BTreeMap<(IpAddr, u8, u16), u32>,
}

impl Foreign {
    /// One more socket hears everything that comes by an interface to a port, or for 0 to any.
    pub(crate) fn hear(&mut self, interface: u32, protocol: Protocol, port: u16) {
        *self.ears.entry((interface, protocol.0, port)).or_insert(0) += 1;
    }

    /// One less does.
    pub(crate) fn unhear(&mut self, interface: u32, protocol: Protocol, port: u16) {
        lessen(&mut self.ears, &(interface, protocol.0, port));
    }

    /// One more socket has an address.
    pub(crate) fn hold(&mut self, protocol: Protocol, address: SocketAddr) {
        *self.held.entry((address.ip(), protocol.0, address.port())).or_insert(0) += 1;
    }

    /// One less has it.
    pub(crate) fn release(&mut self, protocol: Protocol, address: SocketAddr) {
        lessen(&mut self.held, &(address.ip(), protocol.0, address.port()));
    }

    /// Whether a packet that is not for us shall be taken. An address that no host can have is nobody's.
    ///
    /// Without a port it is a fragment, which is taken if any port's could be; or of a protocol without ports, which concerns whatever has the address.
    pub(crate) fn admits(
        &self,
        interface: u32,
        address: IpAddr,
        protocol: Protocol,
        port: Option<u16>,
    ) -> bool {
        if (self.ears.is_empty() && self.held.is_empty()) || !may_be_held(address) {
            return false;
        }
        let number = protocol.0;
        match port {
            Some(port) => {
                self.ears.contains_key(&(interface, number, port))
                    || self.ears.contains_key(&(interface, number, 0))
                    || self.held.contains_key(&(address, number, port))
            }
            None => {
                let ears = (interface, number, 0)..=(interface, number, u16::MAX);
                let held = (address, 0, 0)..=(address, u8::MAX, u16::MAX);
                self.ears.range(ears).next().is_some() || self.held.range(held).next().is_some()
            }
        }
    }
}

/// Whether an address is one host's, in some network (RFC 6890).
pub(crate) fn may_be_held(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let first = address.octets()[0];
            first != 0 && !address.is_loopback() && !address.is_multicast() && !address.is_broadcast()
        }
        IpAddr::V6(address) => !address.is_unspecified() && !address.is_loopback() && !address.is_multicast(),
    }
}

fn lessen<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_interface_is_heard_until_its_last_socket_goes() {
        let mut foreign = Foreign::default();
        let admits = |foreign: &Foreign, interface, protocol, port| {
            foreign.admits(interface, address("192.0.2.1"), protocol, port)
        };
        assert!(!admits(&foreign, 2, Protocol::TCP, Some(80)));
        foreign.hear(2, Protocol::TCP, 80);
        foreign.hear(2, Protocol::TCP, 80);
        foreign.unhear(2, Protocol::TCP, 80);
        assert!(admits(&foreign, 2, Protocol::TCP, Some(80)));
        assert!(admits(&foreign, 2, Protocol::TCP, None), "a fragment may be for it");
        for (interface, protocol, port) in
            [(3, Protocol::TCP, Some(80)), (2, Protocol::UDP, Some(80)), (2, Protocol::TCP, Some(81))]
        {
            assert!(!admits(&foreign, interface, protocol, port));
        }
        foreign.hear(2, Protocol::UDP, 0);
        assert!(admits(&foreign, 2, Protocol::UDP, Some(9)));
        foreign.unhear(2, Protocol::TCP, 80);
        assert!(!admits(&foreign, 2, Protocol::TCP, Some(80)));
    }

    #[test]
    fn an_address_is_heard_by_every_interface_while_somebody_has_it() {
        let mut foreign = Foreign::default();
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        foreign.hold(Protocol::TCP, at("192.0.2.1:80"));
        assert!(foreign.admits(7, address("192.0.2.1"), Protocol::TCP, Some(80)));
        assert!(foreign.admits(7, address("192.0.2.1"), Protocol::ICMP, None), "an error about it");
        assert!(!foreign.admits(7, address("192.0.2.1"), Protocol::TCP, Some(81)));
        assert!(!foreign.admits(7, address("192.0.2.2"), Protocol::TCP, Some(80)));
        foreign.release(Protocol::TCP, at("192.0.2.1:80"));
        foreign.release(Protocol::TCP, at("192.0.2.1:80"));
        assert!(!foreign.admits(7, address("192.0.2.1"), Protocol::TCP, Some(80)));
    }

    #[test]
    fn what_no_host_has_is_nobodys() {
        let mut foreign = Foreign::default();
        foreign.hear(2, Protocol::TCP, 0);
        for nobodys in
            ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"]
        {
            assert!(!foreign.admits(2, address(nobodys), Protocol::TCP, Some(80)), "{nobodys}");
        }
    }
}
