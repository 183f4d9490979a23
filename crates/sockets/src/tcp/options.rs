//! What can be asked of and set on a stream or a listener of either shape.

/// The methods that every kind of stream has; its field `tcp` is the socket.
macro_rules! stream_options {
    () => {
        /// Our address (getsockname(2)).
        pub fn local_addr(&self) -> std::io::Result<std::net::SocketAddr> {
            self.tcp.local_addr()
        }

        /// The peer's address (getpeername(2)); NotConnected without one.
        pub fn peer_addr(&self) -> std::io::Result<std::net::SocketAddr> {
            self.tcp.peer_addr()
        }

        /// Whether small segments do not wait for the acknowledgment of others (TCP_NODELAY).
        pub fn set_nodelay(&self, nodelay: bool) -> std::io::Result<()> {
            self.set_option(rumpnet_stack::TcpOption::NoDelay(nodelay))
        }

        /// Whether small segments do not wait (TCP_NODELAY).
        pub fn nodelay(&self) -> std::io::Result<bool> {
            Ok(self.settings()?.no_delay)
        }

        /// Whether the next byte to be read is the urgent one (sockatmark(3)): what comes before the mark was read.
        pub fn at_mark(&self) -> std::io::Result<bool> {
            Ok(self.urgent_ahead()? == Some(0))
        }

        /// Bytes that are to be read before the urgent one, whether or not they have come; none if no urgent data was announced.
        pub fn urgent_ahead(&self) -> std::io::Result<Option<u32>> {
            self.tcp.urgent_ahead()
        }

        /// Whether the urgent byte stays in the stream (SO_OOBINLINE); else it is taken out of it, and read out of band.
        pub fn set_urgent_inline(&self, inline: bool) -> std::io::Result<()> {
            self.set_option(rumpnet_stack::TcpOption::UrgentInline(inline))
        }

        /// Whether the urgent byte stays in the stream (SO_OOBINLINE).
        pub fn urgent_inline(&self) -> std::io::Result<bool> {
            Ok(self.settings()?.urgent_inline)
        }

        /// How long closing waits for the peer to acknowledge everything (SO_LINGER). With a span of zero, closing resets the connection and
        /// forgets what was not sent.
        ///
        /// The drop of the last handle is what closes. It waits if all handles are those for threads, and their calls wait; after the span,
        /// and in all other cases, the rest is sent in the background.
        pub fn set_linger(&self, linger: Option<std::time::Duration>) -> std::io::Result<()> {
            self.set_option(rumpnet_stack::TcpOption::Linger(linger.map(Into::into)))
        }

        /// How long closing waits (SO_LINGER); zero if it resets the connection.
        pub fn linger(&self) -> std::io::Result<Option<std::time::Duration>> {
            Ok(self.settings()?.linger.map(Into::into))
        }

        /// The time to live of what is sent (IP_TTL), 1 to 255.
        pub fn set_ttl(&self, ttl: u32) -> std::io::Result<()> {
            self.tcp.set_ttl(ttl)
        }

        /// The time to live of what is sent (IP_TTL).
        pub fn ttl(&self) -> std::io::Result<u32> {
            Ok(self.settings()?.ttl.into())
        }

        /// Whether a silent peer is asked for a sign of life (SO_KEEPALIVE); the rest are [`rumpnet_stack::TcpOption`]s.
        pub fn set_keepalive(&self, keepalive: bool) -> std::io::Result<()> {
            self.set_option(rumpnet_stack::TcpOption::KeepAlive(keepalive))
        }

        /// Whether a silent peer is asked for a sign of life (SO_KEEPALIVE).
        pub fn keepalive(&self) -> std::io::Result<bool> {
            Ok(self.settings()?.keepalive)
        }

        /// setsockopt(2). InvalidInput for an impossible value, or one that comes too late.
        pub fn set_option(&self, option: rumpnet_stack::TcpOption) -> std::io::Result<()> {
            self.tcp.set_option(option)
        }

        /// getsockopt(2): all options at once.
        pub fn settings(&self) -> std::io::Result<rumpnet_stack::TcpSettings> {
            self.tcp.settings()
        }

        /// What is known of the connection (TCP_INFO).
        pub fn info(&self) -> std::io::Result<rumpnet_stack::TcpInfo> {
            self.tcp.info()
        }

        /// What the path carries, in bytes, as far as it is known (IP_MTU). NotConnected.
        pub fn path_mtu(&self) -> std::io::Result<u32> {
            self.tcp.path_mtu()
        }

        /// Takes the pending error (SO_ERROR).
        pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
            self.tcp.take_error()
        }

        /// shutdown(2): after `Write` the peer reads the end of the stream, after `Read` we do. NotConnected.
        pub fn shutdown(&self, how: std::net::Shutdown) -> std::io::Result<()> {
            self.tcp.shut_down(how)
        }

        /// Closes with a reset once it is dropped, whatever was not sent.
        pub fn abort(self) -> std::io::Result<()> {
            self.set_linger(Some(std::time::Duration::ZERO))
        }
    };
}

/// The methods that every kind of listener has.
macro_rules! listener_options {
    () => {
        /// The address that it listens at.
        pub fn local_addr(&self) -> std::io::Result<std::net::SocketAddr> {
            self.tcp.local_addr()
        }

        /// The time to live of what its connections send (IP_TTL), 1 to 255.
        pub fn set_ttl(&self, ttl: u32) -> std::io::Result<()> {
            self.tcp.set_ttl(ttl)
        }

        /// The time to live of what its connections send (IP_TTL).
        pub fn ttl(&self) -> std::io::Result<u32> {
            Ok(self.tcp.settings()?.ttl.into())
        }

        /// setsockopt(2); the connections that it accepts inherit it.
        pub fn set_option(&self, option: rumpnet_stack::TcpOption) -> std::io::Result<()> {
            self.tcp.set_option(option)
        }

        /// Takes the pending error (SO_ERROR).
        pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
            self.tcp.take_error()
        }
    };
}

pub(crate) use {listener_options, stream_options};
