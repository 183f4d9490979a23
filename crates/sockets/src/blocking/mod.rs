//! Sockets for threads, shaped as `std::net`'s: their calls wait in place.

#[macro_use]
mod mode;
mod flow_listener;
mod ip;
mod packet;
mod tcp_listener;
mod tcp_stream;
mod udp;

pub use flow_listener::FlowListener;
pub use ip::{IcmpSocket, RawSocket};
pub(crate) use mode::wait;
pub use packet::PacketSocket;
pub use tcp_listener::{Incoming, TcpListener};
pub use tcp_stream::TcpStream;
pub use udp::UdpSocket;
