//! Halves of a connection: one that reads, one that writes.

use std::{error, fmt, net::Shutdown, ops::Deref, sync::Arc};

use super::{TcpStream, handle::Streams};

macro_rules! borrowed {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        pub struct $name<'a, N: Streams>(&'a TcpStream<N>);

        impl<'a, N: Streams> $name<'a, N> {
            pub(super) const fn new(stream: &'a TcpStream<N>) -> Self {
                Self(stream)
            }
        }

        impl<N: Streams> Deref for $name<'_, N> {
            type Target = TcpStream<N>;

            fn deref(&self) -> &TcpStream<N> {
                self.0
            }
        }
    )*};
}

borrowed! {
    /// The half of a borrowed connection that reads.
    ReadHalf
    /// The half of a borrowed connection that writes.
    WriteHalf
}

/// The half of a connection that reads.
pub struct OwnedReadHalf<N: Streams>(TcpStream<N>);

/// The half of a connection that writes; dropping it ends the stream that the peer reads.
pub struct OwnedWriteHalf<N: Streams> {
    stream: TcpStream<N>,
    ends_with_it: bool,
}

/// The halves are not of one connection; here they are back.
pub struct ReuniteError<N: Streams>(pub OwnedReadHalf<N>, pub OwnedWriteHalf<N>);

impl<N: Streams> OwnedReadHalf<N> {
    pub(super) const fn new(stream: TcpStream<N>) -> Self {
        Self(stream)
    }

    /// Puts two halves of one connection together again.
    pub fn reunite(self, other: OwnedWriteHalf<N>) -> Result<TcpStream<N>, ReuniteError<N>> {
        if !Arc::ptr_eq(&self.tcp, &other.tcp) {
            return Err(ReuniteError(self, other));
        }
        other.forget();
        Ok(self.0)
    }
}

impl<N: Streams> OwnedWriteHalf<N> {
    pub(super) const fn new(stream: TcpStream<N>) -> Self {
        Self { stream, ends_with_it: true }
    }

    /// Drops it without ending the stream.
    pub fn forget(mut self) {
        self.ends_with_it = false;
    }
}

impl<N: Streams> Deref for OwnedReadHalf<N> {
    type Target = TcpStream<N>;

    fn deref(&self) -> &TcpStream<N> {
        &self.0
    }
}

impl<N: Streams> Deref for OwnedWriteHalf<N> {
    type Target = TcpStream<N>;

    fn deref(&self) -> &TcpStream<N> {
        &self.stream
    }
}

impl<N: Streams> Drop for OwnedWriteHalf<N> {
    fn drop(&mut self) {
        if self.ends_with_it {
            // A connection that is over has nothing to be told.
            let _over = self.stream.shutdown(Shutdown::Write);
        }
    }
}

impl<N: Streams> fmt::Debug for ReuniteError<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReuniteError")
    }
}

impl<N: Streams> fmt::Display for ReuniteError<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the halves are not of one connection")
    }
}

impl<N: Streams> error::Error for ReuniteError<N> {}
