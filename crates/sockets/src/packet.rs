//! Packet sockets for async code (bpf(4)), and what those for threads share with them.

use std::{io, sync::Arc};

use rumpnet_proto::Errno;
use rumpnet_stack::{Captured, Endpoint, SocketId, Stack, time::Instant};

use crate::{Interest, Net};

/// An open packet socket, closed when it is dropped.
pub(crate) struct Packet<N: Net> {
    net: N,
    id: SocketId,
}

impl<N: Net> Packet<N> {
    pub(crate) fn open(net: &N) -> io::Result<Self> {
        let id = net.enter(|stack, _| stack.packet_open()).map_err(N::error)?;
        Ok(Self { net: net.clone(), id })
    }

    pub(crate) const fn endpoint(&self) -> Endpoint {
        Endpoint::Packet(self.id)
    }

    pub(crate) const fn net(&self) -> &N {
        &self.net
    }

    pub(crate) fn call<R>(
        &self,
        call: impl FnOnce(&mut Stack, SocketId, Instant) -> Result<R, Errno>,
    ) -> io::Result<R> {
        self.net.enter(|stack, now| call(stack, self.id, now)).map_err(N::error)
    }

    pub(crate) fn read(&self, out: &mut Vec<Captured>) -> io::Result<usize> {
        self.call(|stack, id, _| stack.packet_read(id, out))
    }

    pub(crate) fn is_ready(&self, interest: Interest) -> bool {
        interest.is_met(self.net.enter(|stack, _| stack.readiness(self.endpoint())))
    }
}

impl<N: Net> Drop for Packet<N> {
    fn drop(&mut self) {
        // It cannot be closed twice, since this is the only place that closes it.
        let _closed = self.net.enter(|stack, _| stack.packet_close(self.id));
        self.net.forget(self.endpoint());
    }
}

/// Calls of every packet socket that never wait.
macro_rules! packet_calls {
    () => {
        /// Attaches the socket to an interface (BIOCSETIF); what waits and what was counted is forgotten. ENXIO for one that is not there.
        pub fn attach(&self, interface: &str) -> std::io::Result<()> {
            self.packet.call(|stack, id, _| stack.packet_attach(id, interface))
        }

        /// Sets an option. InvalidInput for an impossible value, ENXIO for what needs an interface.
        pub fn set_option(&self, option: rumpnet_stack::PacketOption) -> std::io::Result<()> {
            self.packet.call(|stack, id, _| stack.packet_set_option(id, option))
        }

        /// Sets the program that says what is wanted, or none (BIOCSETF); what waits and what was counted is forgotten.
        pub fn set_filter(&self, program: Option<rumpnet_stack::bpf::Program>) -> std::io::Result<()> {
            self.packet.call(|stack, id, _| stack.packet_set_filter(id, program))
        }

        /// Forgets what waits and what was counted (BIOCFLUSH).
        pub fn flush(&self) -> std::io::Result<()> {
            self.packet.call(|stack, id, _| stack.packet_flush(id))
        }

        /// Bytes that may wait to be read (BIOCGBLEN).
        pub fn buffer_length(&self) -> std::io::Result<u32> {
            self.packet.call(|stack, id, _| stack.packet_buffer_length(id))
        }

        /// What frames of its interface begin with (BIOCGDLT). ENXIO without an interface.
        pub fn link_type(&self) -> std::io::Result<rumpnet_stack::LinkType> {
            self.packet.call(|stack, id, _| stack.packet_link_type(id))
        }

        /// What it has heard, kept and lost (BIOCGSTATS).
        pub fn statistics(&self) -> std::io::Result<rumpnet_stack::PacketStatistics> {
            self.packet.call(|stack, id, _| stack.packet_statistics(id))
        }

        /// Puts a frame on the link, with its Ethernet header where there is one. It never waits: ENOBUFS if the interface's queue is full, NetworkDown, EMSGSIZE,
        /// ENXIO without an interface.
        pub fn send(&self, frame: &[u8]) -> std::io::Result<usize> {
            let bytes = bytes::Bytes::copy_from_slice(frame);
            self.packet.call(|stack, id, now| stack.packet_send(now, id, bytes))?;
            Ok(frame.len())
        }

        /// Takes all that waits, whether it is worth waking for or not; WouldBlock if there is nothing.
        pub fn try_recv(&self, out: &mut Vec<rumpnet_stack::Captured>) -> std::io::Result<usize> {
            self.packet.read(out)
        }
    };
}

/// A packet socket (bpf(4)): what passes an interface, and frames of one's own put on its link.
///
/// Clones are the same socket; it is closed with the last of them.
pub struct PacketSocket<N: Net> {
    packet: Arc<Packet<N>>,
}

impl<N: Net> Clone for PacketSocket<N> {
    fn clone(&self) -> Self {
        Self { packet: self.packet.clone() }
    }
}

impl<N: Net> PacketSocket<N> {
    /// A socket that is attached to no interface yet. EMFILE beyond the limit of captures.
    pub fn open(net: &N) -> io::Result<Self> {
        Ok(Self { packet: Arc::new(Packet::open(net)?) })
    }

    pub(crate) const fn from_core(packet: Arc<Packet<N>>) -> Self {
        Self { packet }
    }

    packet_calls!();

    /// Takes what has passed, at least one packet, and tells how many; waits for the first, or for a buffer that is half full (BIOCIMMEDIATE).
    /// ENXIO once its interface is gone.
    pub async fn recv(&self, out: &mut Vec<Captured>) -> io::Result<usize> {
        std::future::poll_fn(|cx| {
            self.packet.net().register(self.packet.endpoint(), Interest::Readable, cx.waker());
            if self.packet.is_ready(Interest::Readable) {
                std::task::Poll::Ready(self.packet.read(out))
            } else {
                std::task::Poll::Pending
            }
        })
        .await
    }
}
