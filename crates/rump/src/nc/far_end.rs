//! What data is exchanged with: a stream or datagrams.

use std::{
    io,
    net::Shutdown,
    os::fd::{AsFd, BorrowedFd},
};

use rumpnet::remote::{Datagram, DatagramHandle as _, Tcp, TcpHandle as _};

/// The network's end of a relay. Its calls do not wait.
pub(super) enum FarEnd {
    Stream(Tcp),
    Datagrams(Datagram),
}

impl FarEnd {
    /// What has come; none at the end. A datagram without data is not the end.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self {
            Self::Stream(socket) => Ok(Some(socket.receive(buffer)?).filter(|len| *len > 0)),
            Self::Datagrams(socket) => Ok(Some(socket.receive(buffer)?.0)),
        }
    }

    /// Sends what there is room for.
    pub(super) fn send(&self, payload: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stream(socket) => socket.send(payload),
            Self::Datagrams(socket) => socket.send(payload, None),
        }
    }

    /// How much of standard input is sent at once: of datagrams, as netcat has it, what many hosts take.
    pub(super) const fn piece(&self) -> usize {
        match self {
            Self::Stream(_) => 64 * 1024,
            Self::Datagrams(_) => 16 * 1024,
        }
    }

    /// Tells the peer that no more will come. Datagrams have no end.
    pub(super) fn end(&self) {
        if let Self::Stream(socket) = self {
            // A connection that is over has nothing to be told.
            let _over = socket.shut_down(Shutdown::Write);
        }
    }
}

impl AsFd for FarEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stream(socket) => socket.as_fd(),
            Self::Datagrams(socket) => socket.as_fd(),
        }
    }
}
