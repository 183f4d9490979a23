//! Addresses as callers write them. No name is resolved here: the host's resolver does not know the rump kernel's network.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
};

/// What can be read as one socket address: values, and literals such as `10.0.0.2:53` and `("10.0.0.2", 53)`.
pub trait ToSocketAddrs {
    /// The address; InvalidInput for text that is not a literal.
    fn to_socket_addr(&self) -> io::Result<SocketAddr>;
}

macro_rules! values {
    ($($type:ty),*) => {
        $(impl ToSocketAddrs for $type {
            fn to_socket_addr(&self) -> io::Result<SocketAddr> {
                Ok((*self).into())
            }
        })*
    };
}

values!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl ToSocketAddrs for str {
    fn to_socket_addr(&self) -> io::Result<SocketAddr> {
        self.parse().map_err(|_| not_literal(self))
    }
}

impl ToSocketAddrs for String {
    fn to_socket_addr(&self) -> io::Result<SocketAddr> {
        self.as_str().to_socket_addr()
    }
}

impl ToSocketAddrs for (&str, u16) {
    fn to_socket_addr(&self) -> io::Result<SocketAddr> {
        let address: IpAddr = self.0.parse().map_err(|_| not_literal(self.0))?;
        Ok((address, self.1).into())
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    fn to_socket_addr(&self) -> io::Result<SocketAddr> {
        (**self).to_socket_addr()
    }
}

fn not_literal(text: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{text}: not a literal address (names are not resolved)"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_of_both_families_are_read_and_names_are_not() {
        let four: SocketAddr = ([10, 0, 0, 2], 53).into();
        assert_eq!("10.0.0.2:53".to_socket_addr().expect("a literal"), four);
        assert_eq!(("10.0.0.2", 53).to_socket_addr().expect("a literal"), four);
        assert!("[fe80::1]:53".to_socket_addr().is_ok());
        for name in ["localhost:53", "10.0.0.2", "", "10.0.0.2:65536"] {
            let error = name.to_socket_addr().expect_err("no literal");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
        }
    }
}
