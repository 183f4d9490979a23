//! Sockets that a server passes to other processes: what is asked about them, and what stands before data on their descriptors.
//!
//! A client holds one end of a pair of local sockets, and the server keeps the other joined to a rump socket. Data crosses the pair by
//! itself; what is not data is a [`SocketRequest`]. A stream's bytes cross bare. A datagram has a [`DatagramHeader`] before it, and on
//! the descriptor of a listener each connection comes as an [`Accepted`] with a descriptor of its own.

use alloc::{string::String, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use serde::{Deserialize, Serialize};

use crate::{Errno, GroupChange, GroupInterface, MulticastOption, MulticastSettings, SourceFilter};

/// What kind of socket is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketKind {
    /// TCP.
    Stream,
    /// UDP.
    Datagram,
    /// Raw IP.
    Raw {
        /// The protocol.
        protocol: u8,
    },
    /// ICMP echo without privilege.
    Icmp,
}

/// What a client wants of a socket, which it names by the number that [`SocketReply::Opened`] gave it. EBADF for a number that is not the
/// client's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketRequest {
    /// socket(2). Answered with [`SocketReply::Opened`], beside which the descriptor is passed.
    Open(SocketKind),
    /// bind(2).
    Bind {
        /// The socket.
        socket: u64,
        /// The address; port 0 lets the kernel choose one.
        local: SocketAddr,
    },
    /// listen(2); connections then come on the descriptor.
    Listen {
        /// The socket.
        socket: u64,
        /// Connections that may wait to be accepted.
        backlog: u32,
    },
    /// connect(2), which does not wait: a stream's descriptor is writable, or in error, when the handshake is over.
    Connect {
        /// The socket.
        socket: u64,
        /// The peer.
        remote: SocketAddr,
    },
    /// getsockname(2) and getpeername(2). Answered with [`SocketReply::Addresses`].
    Addresses {
        /// The socket.
        socket: u64,
    },
    /// getsockopt(2) of SO_ERROR: takes the pending error. Answered with [`SocketReply::Error`].
    TakeError {
        /// The socket.
        socket: u64,
    },
    /// setsockopt(2).
    SetOption {
        /// The socket.
        socket: u64,
        /// The stack's own option value for this kind of socket, as [`crate::codec::encode`] writes it.
        option: Vec<u8>,
    },
    /// getsockopt(2): all options at once. Answered with [`SocketReply::Value`].
    Settings {
        /// The socket.
        socket: u64,
    },
    /// getsockopt(2) of TCP_INFO. Answered with [`SocketReply::Value`].
    Info {
        /// The socket.
        socket: u64,
    },
    /// connect(2) of datagrams to AF_UNSPEC.
    Disconnect {
        /// The socket.
        socket: u64,
    },
    /// shutdown(2) of what a socket of datagrams sends; a stream's is the descriptor's.
    EndSending {
        /// The socket.
        socket: u64,
    },
    /// Binds a socket of datagrams to what comes by an interface to any address (IP_TRANSPARENT).
    BindAny {
        /// The socket.
        socket: u64,
        /// The interface.
        interface: String,
        /// The port, or 0 for any.
        port: u16,
    },
    /// SO_BINDTODEVICE.
    BindDevice {
        /// The socket.
        socket: u64,
        /// The interface; none for all.
        interface: Option<String>,
    },
    /// Joins or leaves a group.
    ChangeGroup {
        /// The socket.
        socket: u64,
        /// What is changed.
        change: GroupChange,
    },
    /// IP_MSFILTER. Answered with [`SocketReply::Filter`].
    GroupFilter {
        /// The socket.
        socket: u64,
        /// The group.
        group: Ipv4Addr,
        /// The interface it is joined by.
        interface: GroupInterface,
    },
    /// How packets to groups are sent and heard.
    SetMulticast {
        /// The socket.
        socket: u64,
        /// The option.
        option: MulticastOption,
    },
    /// The same, as it is. Answered with [`SocketReply::Multicast`].
    Multicast {
        /// The socket.
        socket: u64,
    },
    /// getsockopt(2) of IP_MTU. Answered with [`SocketReply::PathMtu`].
    PathMtu {
        /// The socket.
        socket: u64,
    },
    /// close(2), whatever copies of the descriptor there are.
    Close {
        /// The socket.
        socket: u64,
    },
}

/// What a server answers about a socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketReply {
    /// A new socket, whose descriptor came along.
    Opened {
        /// Its number, which means something to this client alone.
        socket: u64,
    },
    /// Its addresses.
    Addresses {
        /// The address bound.
        local: Option<SocketAddr>,
        /// The peer.
        remote: Option<SocketAddr>,
    },
    /// Its pending error.
    Error(Option<Errno>),
    /// A value of the stack's, as [`crate::codec::encode`] writes it.
    Value(Vec<u8>),
    /// What the path carries, in bytes.
    PathMtu(u32),
    /// Which sources of a group are wanted.
    Filter(SourceFilter),
    /// How packets to groups are sent and heard.
    Multicast(MulticastSettings),
}

/// A connection that a listener's descriptor gives, with its descriptor beside it. It is one message of [`Self::LEN`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The connection's number.
    pub socket: u64,
    /// Its peer.
    pub peer: SocketAddr,
}

impl Accepted {
    /// Bytes of the message.
    pub const LEN: usize = 8 + ADDRESS_LEN;

    /// As it stands on the descriptor.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.socket.to_be_bytes());
        bytes[8..].copy_from_slice(&address_to_bytes(Some(self.peer)));
        bytes
    }

    /// What a message says; none for what no server sends.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let (socket, peer) = bytes.split_first_chunk::<8>()?;
        Some(Self { socket: u64::from_be_bytes(*socket), peer: address_from_bytes(peer)?? })
    }
}

/// What stands before the payload of each datagram on a descriptor, in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatagramHeader {
    /// Towards the client: who sent it. Towards the server: which address to send from, if the socket shall not choose.
    pub source: Option<SocketAddr>,
    /// Towards the client: to which address of the kernel's it came. Towards the server: to whom it goes, the connected peer if absent.
    pub destination: Option<SocketAddr>,
    /// The index of the interface it came by, or shall go by; 0 for none.
    pub interface: u32,
    /// Its time to live; 0 for the socket's own.
    pub ttl: u8,
    /// Its type of service; none for the socket's own.
    pub tos: Option<u8>,
    /// Towards the server: the source may be no address of the kernel's, port included (IP_TRANSPARENT).
    pub foreign: bool,
    /// Towards the server: payload bytes of each datagram but the last of a train (UDP_SEGMENT); 0 for a single one.
    pub segment: u16,
    /// Towards the client: when it came, in nanoseconds of the kernel's clock.
    pub received_ns: u64,
    /// Towards the client: this is no datagram but the error of an earlier one (SO_ERROR).
    pub error: Option<Errno>,
}

impl DatagramHeader {
    /// Bytes of it.
    pub const LEN: usize = 2 * ADDRESS_LEN + 19;

    /// As it stands on the descriptor.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..ADDRESS_LEN].copy_from_slice(&address_to_bytes(self.source));
        bytes[ADDRESS_LEN..2 * ADDRESS_LEN].copy_from_slice(&address_to_bytes(self.destination));
        let rest = &mut bytes[2 * ADDRESS_LEN..];
        rest[..4].copy_from_slice(&self.interface.to_be_bytes());
        let flags = u8::from(self.tos.is_some()) | u8::from(self.foreign) << 1;
        rest[4..7].copy_from_slice(&[self.ttl, self.tos.unwrap_or(0), flags]);
        rest[7..9].copy_from_slice(&self.error.map_or(0, Errno::number).to_be_bytes());
        rest[9..11].copy_from_slice(&self.segment.to_be_bytes());
        rest[11..].copy_from_slice(&self.received_ns.to_be_bytes());
        bytes
    }

    /// What a header says; none for what is malformed.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let (source, rest) = bytes.split_first_chunk::<ADDRESS_LEN>()?;
        let (destination, rest) = rest.split_first_chunk::<ADDRESS_LEN>()?;
        let (&[a, b, c, d, ttl, tos, flags, high, low, upper, lower], rest) =
            rest.split_first_chunk::<11>()?;
        let error = match u16::from_be_bytes([high, low]) {
            0 => None,
            number => Some(*Errno::ALL.iter().find(|errno| errno.number() == number)?),
        };
        Some(Self {
            source: address_from_bytes(source)?,
            destination: address_from_bytes(destination)?,
            interface: u32::from_be_bytes([a, b, c, d]),
            ttl,
            tos: (flags & 1 != 0).then_some(tos),
            foreign: flags & 2 != 0,
            segment: u16::from_be_bytes([upper, lower]),
            received_ns: u64::from_be_bytes(*rest.first_chunk()?),
            error,
        })
    }
}

/// Bytes of an address: family (0, 4 or 6), a zero, port, scope, and sixteen of the address, whose first four IPv4 uses.
const ADDRESS_LEN: usize = 24;

fn address_to_bytes(address: Option<SocketAddr>) -> [u8; ADDRESS_LEN] {
    let mut bytes = [0; ADDRESS_LEN];
    let Some(address) = address else { return bytes };
    bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address {
        SocketAddr::V4(four) => {
            bytes[0] = 4;
            bytes[8..12].copy_from_slice(&four.ip().octets());
        }
        SocketAddr::V6(six) => {
            bytes[0] = 6;
            bytes[4..8].copy_from_slice(&six.scope_id().to_be_bytes());
            bytes[8..].copy_from_slice(&six.ip().octets());
        }
    }
    bytes
}

/// An address, or none; the outer none for a family that is not known.
fn address_from_bytes(bytes: &[u8]) -> Option<Option<SocketAddr>> {
    let bytes: &[u8; ADDRESS_LEN] = bytes.try_into().ok()?;
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    let (four, sixteen) = (bytes[8..12].first_chunk::<4>()?, bytes[8..].first_chunk::<16>()?);
    match bytes[0] {
        0 => Some(None),
        4 => Some(Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(*four)), port))),
        6 => {
            let scope = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            Some(Some(SocketAddrV6::new(Ipv6Addr::from(*sixteen), port, 0, scope).into()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_on_a_descriptor_is_read_as_it_was_written() {
        for address in ["10.0.0.2:80", "[fe80::1%7]:65535", "[::]:0"] {
            let peer: SocketAddr = address.parse().expect("a literal");
            let accepted = Accepted { socket: u64::MAX - 1, peer };
            assert_eq!(Accepted::from_bytes(&accepted.to_bytes()), Some(accepted));
            let header = DatagramHeader {
                source: Some(peer),
                destination: None,
                interface: 0x0102_0304,
                ttl: 64,
                tos: Some(0x2e),
                foreign: true,
                segment: 1448,
                received_ns: 1 << 40,
                error: Some(Errno::ConnRefused),
            };
            assert_eq!(DatagramHeader::from_bytes(&header.to_bytes()), Some(header));
        }
    }

    #[test]
    fn nonsense_on_a_descriptor_is_nothing() {
        let accepted = Accepted { socket: 1, peer: ([10, 0, 0, 2], 80).into() }.to_bytes();
        assert_eq!(Accepted::from_bytes(&accepted[1..]), None);
        assert_eq!(Accepted::from_bytes(&[0; Accepted::LEN]), None, "nobody");
        let mut header = DatagramHeader::default().to_bytes();
        header[0] = 5;
        assert_eq!(DatagramHeader::from_bytes(&header), None, "a family that is not known");
        let mut header = DatagramHeader::default().to_bytes();
        header[DatagramHeader::LEN - 11] = 255;
        assert_eq!(DatagramHeader::from_bytes(&header), None, "an error that is not known");
    }
}
