//! Packet sockets for threads (bpf(4)).

use std::{io, sync::Arc};

use rumpnet_stack::Captured;

use super::mode::{Mode, wait};
use crate::{Interest, Net, Wait, packet::Packet};

/// A packet socket whose calls wait in place; [`crate::PacketSocket`] says what it is.
pub struct PacketSocket<N: Net> {
    packet: Arc<Packet<N>>,
    mode: Arc<Mode>,
}

impl<N: Wait> PacketSocket<N> {
    /// A socket that is attached to no interface yet. EMFILE beyond the limit of captures.
    pub fn open(net: &N) -> io::Result<Self> {
        Ok(Self { packet: Arc::new(Packet::open(net)?), mode: Arc::default() })
    }

    /// Another handle on the same socket.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { packet: self.packet.clone(), mode: self.mode.clone() })
    }

    /// The same socket for async code.
    pub fn to_async(&self) -> crate::PacketSocket<N> {
        crate::PacketSocket::from_core(self.packet.clone())
    }

    packet_calls!();

    /// Whether [`Self::recv`] answers WouldBlock instead of waiting.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.mode.set_nonblocking(nonblocking);
        Ok(())
    }

    waiting_options!();

    /// Takes what has passed, and tells how many packets that is; waits for the first, or for a buffer that is half full (BIOCIMMEDIATE), at most
    /// for the read time-out (BIOCSRTIMEOUT), after which it takes what there is: WouldBlock if that is nothing. ENXIO once its interface is gone.
    pub fn recv(&self, out: &mut Vec<Captured>) -> io::Result<usize> {
        let (endpoint, interest) = (self.packet.endpoint(), Interest::Readable);
        if !self.mode.is_nonblocking() && !self.packet.is_ready(interest) {
            let patience = self.mode.patience(interest);
            match wait(self.packet.net(), endpoint, interest, patience) {
                Err(error) if error.kind() != io::ErrorKind::TimedOut => return Err(error),
                _ => {}
            }
        }
        self.packet.read(out)
    }
}
