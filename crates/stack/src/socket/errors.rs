//! The error queue of a socket (IP_RECVERR of ip(7)): each error with its cause, and what it is about.
//!
//! A queue holds no more than its socket's receive buffer may; what comes beyond that is counted and lost, the pending error (SO_ERROR) is not.

use alloc::collections::VecDeque;
use core::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use rumpnet_proto::Errno;

use crate::time::Instant;

/// Who has found an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorOrigin {
    /// This kernel (SO_EE_ORIGIN_LOCAL).
    Local,
    /// Whoever sent an ICMP message (SO_EE_ORIGIN_ICMP).
    Icmp {
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
    },
}

/// An error as `recvmsg` with MSG_ERRQUEUE tells it (struct sock_extended_err).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedError {
    /// What went wrong.
    pub errno: Errno,
    /// Who says so.
    pub origin: ErrorOrigin,
    /// The MTU that a datagram did not fit, in bytes, or the octet of its header that is wrong; else 0.
    pub info: u32,
    /// The address that the ICMP message came from.
    pub offender: Option<IpAddr>,
    /// To whom the datagram was sent.
    pub destination: SocketAddr,
    /// The front of the datagram, as far as it was quoted.
    pub payload: Bytes,
    /// When it became known.
    pub received: Instant,
}

/// The errors that wait for their reader.
#[derive(Debug, Default)]
pub(super) struct ErrorQueue {
    errors: VecDeque<QueuedError>,
    bytes: usize,
}

impl QueuedError {
    fn cost(&self) -> usize {
        size_of::<Self>() + self.payload.len()
    }
}

impl ErrorQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// What it holds of memory.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps an error, if all of them are then no more than `limit` bytes; the first is always kept.
    pub(super) fn push(&mut self, error: QueuedError, limit: usize) -> bool {
        let cost = error.cost();
        if !self.errors.is_empty() && self.bytes + cost > limit {
            return false;
        }
        self.bytes += cost;
        self.errors.push_back(error);
        true
    }

    pub(super) fn pop(&mut self) -> Option<QueuedError> {
        let error = self.errors.pop_front()?;
        self.bytes -= error.cost();
        Some(error)
    }

    /// What the next one to be read says.
    pub(super) fn next_errno(&self) -> Option<Errno> {
        self.errors.front().map(|error| error.errno)
    }
}
