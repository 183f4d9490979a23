//! The far side of veth: the host's own kernel in a second namespace.

use crate::{
    Failure, count, kernel_socket, kernel_stream,
    namespace::{self, HOST, PEER, PEER_LINK},
    peer,
    trial::Load,
};

/// Runs the far side of `load`.
pub(crate) fn run(load: Load) -> Result<(), Failure> {
    namespace::leave()?;
    peer::say("namespace")?;
    peer::hear("link")?;
    namespace::raise("veth1", PEER_LINK, PEER)?;
    match load {
        Load::PingPinned | Load::Ping => peer::meet(),
        Load::UdpSend => {
            peer::meet()?;
            kernel_socket::flood(HOST, count::LOAD).map(|_| ())
        }
        Load::TrainSend => {
            peer::meet()?;
            kernel_socket::flood_trains(HOST, count::LOAD).map(|_| ())
        }
        Load::UdpReceive => {
            let socket = kernel_socket::receiver(false)?;
            peer::meet()?;
            peer::report(&kernel_socket::count(&socket)?)
        }
        Load::TrainReceive => {
            let socket = kernel_socket::receiver(true)?;
            peer::meet()?;
            peer::report(&kernel_socket::count_trains(&socket)?)
        }
        Load::StreamSend | Load::StreamGive | Load::StreamsSend => {
            peer::meet()?;
            kernel_stream::send(HOST, load.width())
        }
        Load::Request | Load::RequestPinned | Load::Requests => {
            let listener = kernel_stream::listen()?;
            peer::meet()?;
            kernel_stream::answer(&listener, load.width())
        }
        Load::Connect | Load::Connects => {
            let listener = kernel_stream::listen()?;
            peer::meet()?;
            kernel_stream::close_all(&listener)
        }
        Load::Sink | Load::Stream | Load::Streams => {
            let listener = kernel_stream::listen()?;
            peer::meet()?;
            peer::report(&kernel_stream::receive(&listener, load.width())?)
        }
        other => Err(format!("veth is not measured under {}", other.name()).into()),
    }
}
