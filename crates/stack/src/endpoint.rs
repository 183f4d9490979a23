//! Sockets of all transports as the outside names them, and what they can be ready for.

use crate::slab::Key;

/// A socket of any protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// A UDP socket.
    Udp(Key),
    /// A raw IP socket.
    Raw(Key),
    /// An ICMP socket.
    Icmp(Key),
    /// A packet socket.
    Packet(Key),
    /// A TCP socket.
    Tcp(Key),
}

/// What a socket is ready for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// A receive call would not wait.
    pub readable: bool,
    /// A send call would not wait.
    pub writable: bool,
    /// An error waits to be taken (SO_ERROR).
    pub error: bool,
    /// The socket is closed.
    pub closed: bool,
    /// An urgent byte has come and was not read out of band (POLLPRI).
    pub urgent: bool,
    /// The peer has said all that it will ever say (POLLRDHUP).
    pub ended: bool,
    /// The peer has acknowledged all that was sent, and its end.
    pub delivered: bool,
    /// An error waits with its cause (MSG_ERRQUEUE, POLLERR).
    pub queued_errors: bool,
}
