//! Sockets as they print themselves: by their addresses, as `std`'s do.

use std::{fmt, io, net::SocketAddr};

use crate::{
    Datagrams, Flow, FlowListener, IcmpSocket, Net, OwnedReadHalf, OwnedWriteHalf, PacketSocket, RawSocket,
    ReadHalf, Streams, TcpListener, TcpSocket, TcpStream, UdpSocket, Wait, WaitDatagrams, WaitStreams,
    WriteHalf, blocking,
};

fn print(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    local: io::Result<SocketAddr>,
    peer: Option<io::Result<SocketAddr>>,
) -> fmt::Result {
    let mut printed = f.debug_struct(name);
    if let Ok(local) = local {
        printed.field("addr", &local);
    }
    if let Some(Ok(peer)) = peer {
        printed.field("peer", &peer);
    }
    printed.finish_non_exhaustive()
}

macro_rules! connected {
    ($bound:ident: $($type:ty),*) => {$(
        impl<N: $bound> fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                print(f, "TcpStream", self.local_addr(), Some(self.peer_addr()))
            }
        }
    )*};
}

macro_rules! unconnected {
    ($bound:ident: $($type:ty, $name:literal),*) => {$(
        impl<N: $bound> fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                print(f, $name, self.local_addr(), None)
            }
        }
    )*};
}

connected!(Streams: TcpStream<N>, OwnedReadHalf<N>, OwnedWriteHalf<N>, ReadHalf<'_, N>, WriteHalf<'_, N>);
connected!(WaitStreams: blocking::TcpStream<N>);
unconnected!(Net: FlowListener<N>, "FlowListener");
unconnected!(Wait: blocking::FlowListener<N>, "FlowListener");
unconnected!(Streams: TcpListener<N>, "TcpListener", TcpSocket<N>, "TcpSocket");
unconnected!(Datagrams: UdpSocket<N>, "UdpSocket", RawSocket<N>, "RawSocket", IcmpSocket<N>, "IcmpSocket");
unconnected!(WaitStreams: blocking::TcpListener<N>, "TcpListener");
unconnected!(WaitDatagrams: blocking::UdpSocket<N>, "UdpSocket");
unconnected!(WaitDatagrams: blocking::RawSocket<N>, "RawSocket", blocking::IcmpSocket<N>, "IcmpSocket");

macro_rules! unnamed {
    ($bound:ident: $type:ty) => {
        impl<N: $bound> fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("PacketSocket").finish_non_exhaustive()
            }
        }
    };
}

unnamed!(Net: PacketSocket<N>);
unnamed!(Wait: blocking::PacketSocket<N>);

impl<N: Net> fmt::Debug for Flow<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, "Flow", Ok(self.original()), Some(Ok(self.peer())))
    }
}
