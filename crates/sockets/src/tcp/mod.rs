//! TCP sockets for async code, shaped as tokio's; they need no runtime, only somebody who polls.

pub(crate) mod core;
mod flow;
pub(crate) mod handle;
mod listener;
pub(crate) mod options;
mod socket;
mod split;
mod stream;

pub use flow::{Flow, FlowListener};
pub use listener::TcpListener;
pub use socket::TcpSocket;
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use stream::TcpStream;
