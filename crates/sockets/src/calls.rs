//! Calls that datagram sockets of all kinds have, blocking and async: those that never wait, those that do, and the addresses of IP alone.
//!
//! They are macros, so that each type documents them as its own; the field `udp` has what they stand on.

use std::net::IpAddr;

/// Calls of every datagram socket that never wait.
macro_rules! datagram_calls {
    () => {
        group_calls!();

        /// The socket of this world that it is a handle on.
        pub fn socket(&self) -> &N::Udp {
            &self.udp
        }

        /// connect(2) to nobody (AF_UNSPEC): it has no peer any more, and no address but what it was bound to.
        pub fn disconnect(&self) -> std::io::Result<()> {
            self.udp.disconnect()
        }

        /// shutdown(2): receive calls end with nothing once all is read, send calls with BrokenPipe. NotConnected without a peer, though it takes
        /// effect all the same, as on Linux.
        pub fn shutdown(&self, how: std::net::Shutdown) -> std::io::Result<()> {
            self.udp.shutdown(how)
        }

        /// The address bound; of an ICMP socket the port is its identifier, of a raw socket it is 0. InvalidInput before it is bound.
        pub fn local_addr(&self) -> std::io::Result<std::net::SocketAddr> {
            self.udp.local_addr()
        }

        /// The connected peer; NotConnected without one.
        pub fn peer_addr(&self) -> std::io::Result<std::net::SocketAddr> {
            self.udp.peer_addr()
        }

        /// setsockopt(2). ENOPROTOOPT for what this kind of socket has not, InvalidInput for a value that cannot be.
        pub fn set_option(&self, option: rumpnet_stack::SocketOption) -> std::io::Result<()> {
            self.udp.set_option(option)
        }

        /// getsockopt(2): all options as they are.
        pub fn settings(&self) -> std::io::Result<rumpnet_stack::SocketSettings> {
            self.udp.settings()
        }

        /// Binds to one interface, by which alone it speaks and hears from now on, or to none (SO_BINDTODEVICE). ENODEV.
        pub fn bind_device(&self, interface: Option<&str>) -> std::io::Result<()> {
            self.udp.bind_device(interface)
        }

        /// What the path to the connected peer carries, in bytes, as far as it is known (IP_MTU). NotConnected.
        pub fn path_mtu(&self) -> std::io::Result<u32> {
            self.udp.path_mtu()
        }

        /// Takes the pending error (SO_ERROR).
        pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
            self.udp.take_error()
        }

        /// Takes the next error with its cause (MSG_ERRQUEUE), if the socket keeps them
        /// ([`rumpnet_stack::SocketOption::ReceiveErrors`]); never waits: WouldBlock if there is none.
        pub fn recv_error(&self) -> std::io::Result<rumpnet_stack::QueuedError> {
            self.udp.receive_error()
        }
    };
}

/// Calls of every async datagram socket that wait.
macro_rules! async_calls {
    () => {
        /// Sends to the connected peer, waiting for room.
        pub async fn send(&self, payload: &[u8]) -> std::io::Result<usize> {
            self.when(crate::Interest::Writable, || self.udp.send(payload, None)).await
        }

        /// Sends with an interface, a source, a time to live or a type of service of this call alone (IP_PKTINFO, IP_TTL, IP_TOS); to the
        /// connected peer if `to` is absent. NetworkUnreachable for a source that is not the kernel's, ENODEV.
        pub async fn send_info(
            &self,
            payload: &[u8],
            to: Option<std::net::SocketAddr>,
            info: rumpnet_stack::SendInfo,
        ) -> std::io::Result<usize> {
            self.when(crate::Interest::Writable, || self.udp.send_info(payload, to, info)).await
        }

        /// Receives from the connected peer.
        pub async fn recv(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
            Ok(self.recv_meta(buffer).await?.0)
        }

        /// Receives with all that is known; [`crate::Meta::len`] tells whether something did not fit into `buffer`, and is lost.
        pub async fn recv_meta(&self, buffer: &mut [u8]) -> std::io::Result<(usize, crate::Meta)> {
            self.when(crate::Interest::Readable, || self.udp.receive(buffer)).await
        }

        /// Looks at what the next receive call will give, without taking it (MSG_PEEK).
        pub async fn peek_meta(&self, buffer: &mut [u8]) -> std::io::Result<(usize, crate::Meta)> {
            self.when(crate::Interest::Readable, || self.udp.peek(buffer)).await
        }

        /// Waits until a receive call would not wait.
        pub async fn readable(&self) -> std::io::Result<()> {
            std::future::poll_fn(|cx| self.poll_ready(cx, crate::Interest::Readable)).await
        }

        /// Waits until a send call would not wait.
        pub async fn writable(&self) -> std::io::Result<()> {
            std::future::poll_fn(|cx| self.poll_ready(cx, crate::Interest::Writable)).await
        }

        /// Waits until there is an error for [`Self::recv_error`].
        pub async fn error_queued(&self) -> std::io::Result<()> {
            std::future::poll_fn(|cx| self.poll_ready(cx, crate::Interest::QueuedError)).await
        }

        /// Whether the socket is ready; the task is woken when it is.
        pub fn poll_ready(
            &self,
            cx: &mut std::task::Context<'_>,
            interest: crate::Interest,
        ) -> std::task::Poll<std::io::Result<()>> {
            self.udp.register(interest, cx.waker());
            if self.udp.is_ready(interest) {
                std::task::Poll::Ready(Ok(()))
            } else {
                std::task::Poll::Pending
            }
        }

        async fn when<R>(
            &self,
            interest: crate::Interest,
            mut call: impl FnMut() -> std::io::Result<R>,
        ) -> std::io::Result<R> {
            std::future::poll_fn(|cx| self.udp.poll_when(cx, interest, &mut call)).await
        }
    };
}

/// Calls of every blocking datagram socket that wait.
macro_rules! waiting_calls {
    () => {
        /// Whether calls answer WouldBlock instead of waiting.
        pub fn set_nonblocking(&self, nonblocking: bool) -> std::io::Result<()> {
            self.mode.set_nonblocking(nonblocking);
            Ok(())
        }

        waiting_options!();

        /// Sends to the connected peer.
        pub fn send(&self, payload: &[u8]) -> std::io::Result<usize> {
            self.when(crate::Interest::Writable, || self.udp.send(payload, None))
        }

        /// Sends with an interface, a source, a time to live or a type of service of this call alone (IP_PKTINFO, IP_TTL, IP_TOS); to the
        /// connected peer if `to` is absent. NetworkUnreachable for a source that is not the kernel's, ENODEV.
        pub fn send_info(
            &self,
            payload: &[u8],
            to: Option<std::net::SocketAddr>,
            info: rumpnet_stack::SendInfo,
        ) -> std::io::Result<usize> {
            self.when(crate::Interest::Writable, || self.udp.send_info(payload, to, info))
        }

        /// Receives from the connected peer.
        pub fn recv(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
            Ok(self.recv_meta(buffer)?.0)
        }

        /// Receives with all that is known; [`crate::Meta::len`] tells whether something did not fit into `buffer`, and is lost.
        pub fn recv_meta(&self, buffer: &mut [u8]) -> std::io::Result<(usize, crate::Meta)> {
            self.when(crate::Interest::Readable, || self.udp.receive(buffer))
        }

        /// Looks at what the next receive call will give, without taking it (MSG_PEEK).
        pub fn peek_meta(&self, buffer: &mut [u8]) -> std::io::Result<(usize, crate::Meta)> {
            self.when(crate::Interest::Readable, || self.udp.peek(buffer))
        }

        fn when<R>(
            &self,
            interest: crate::Interest,
            call: impl FnMut() -> std::io::Result<R>,
        ) -> std::io::Result<R> {
            let wait = |patience| {
                // A time-out of a socket call is EAGAIN (socket(7), SO_RCVTIMEO).
                self.udp.wait(interest, patience).map_err(|_| N::Udp::error(rumpnet_proto::Errno::Again))
            };
            self.mode.alternate(interest, wait, call)
        }
    };
}

/// Where there are no ports: an address with port 0.
pub(crate) const fn without_port(address: IpAddr) -> std::net::SocketAddr {
    std::net::SocketAddr::new(address, 0)
}
