//! Halves of a connection: one that reads, one that writes.

use std::{error, fmt, net::Shutdown, ops::Deref, sync::Arc};

use super::TcpStream;
use crate::Net;

macro_rules! borrowed {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        pub struct $name<'a, N: Net>(&'a TcpStream<N>);

        impl<'a, N: Net> $name<'a, N> {
            pub(super) const fn new(stream: &'a TcpStream<N>) -> Self {
                Self(stream)
            }
        }

        impl<N: Net> Deref for $name<'_, N> {
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
pub struct OwnedReadHalf<N: Net>(TcpStream<N>);

/// The half of a connection that writes; dropping it ends the stream that the peer reads.
pub struct OwnedWriteHalf<N: Net> {
    stream: TcpStream<N>,
    ends_with_it: bool,
}

/// The halves are not of one connection; here they are back.
pub struct ReuniteError<N: Net>(pub OwnedReadHalf<N>, pub OwnedWriteHalf<N>);

impl<N: Net> OwnedReadHalf<N> {
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

impl<N: Net> OwnedWriteHalf<N> {
    pub(super) const fn new(stream: TcpStream<N>) -> Self {
        Self { stream, ends_with_it: true }
    }

    /// Drops it without ending the stream.
    pub fn forget(mut self) {
        self.ends_with_it = false;
    }
}

impl<N: Net> Deref for OwnedReadHalf<N> {
    type Target = TcpStream<N>;

    fn deref(&self) -> &TcpStream<N> {
        &self.0
    }
}

impl<N: Net> Deref for OwnedWriteHalf<N> {
    type Target = TcpStream<N>;

    fn deref(&self) -> &TcpStream<N> {
        &self.stream
    }
}

impl<N: Net> Drop for OwnedWriteHalf<N> {
    fn drop(&mut self) {
        if self.ends_with_it {
            // A connection that is over has nothing to be told.
            let _over = self.stream.shutdown(Shutdown::Write);
        }
    }
}

impl<N: Net> fmt::Debug for ReuniteError<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReuniteError")
    }
}

impl<N: Net> fmt::Display for ReuniteError<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the halves are not of one connection")
    }
}

impl<N: Net> error::Error for ReuniteError<N> {}
