//! A listener to any address for threads.

use std::{io, sync::Arc};

use super::mode::Mode;
use crate::{
    Flow, Interest, Wait,
    tcp::{core::Tcp, handle::TcpHandle as _, options::listener_options},
};

/// As [`crate::FlowListener`], with calls that wait in place; a [`Flow`] is answered by [`Flow::accept_blocking`].
pub struct FlowListener<N: Wait> {
    tcp: Arc<Tcp<N>>,
    mode: Arc<Mode>,
}

impl<N: Wait> FlowListener<N> {
    /// Hears requests for `port`, or with 0 for any port. ENXIO without that interface, AddrInUse, ENFILE beyond the limit.
    pub fn bind(net: &N, interface: &str, port: u16) -> io::Result<Self> {
        let tcp = crate::FlowListener::bind(net, interface, port)?.tcp;
        Ok(Self { tcp, mode: Arc::default() })
    }

    /// Waits for a request. ENXIO once the interface is gone.
    pub fn accept(&self) -> io::Result<Flow<N>> {
        let listener = self.to_async();
        let accept = || listener.try_accept();
        self.mode.when(self.tcp.net(), self.tcp.endpoint(), Interest::Readable, accept)
    }

    /// Another handle on the same socket.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { tcp: self.tcp.clone(), mode: self.mode.clone() })
    }

    /// The same socket for async code.
    pub fn to_async(&self) -> crate::FlowListener<N> {
        crate::FlowListener { tcp: self.tcp.clone() }
    }

    /// Whether accepting answers WouldBlock instead of waiting.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.mode.set_nonblocking(nonblocking);
        Ok(())
    }

    listener_options!();
}
