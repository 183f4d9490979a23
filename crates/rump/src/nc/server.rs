//! `rump nc -l`: waits for a peer, and passes data.

use std::net::SocketAddr;

use rumpnet::{
    Interest, TcpOption,
    remote::{DatagramHandle as _, DatagramWait as _, Kernel, TcpHandle as _, TcpWait as _},
};

use super::{
    Failure, failed, far_end::FarEnd, options::Options, relay::relay, say, spaced, tcp_socket, udp_socket,
};

/// Connections that may wait, as netcat has it with -k.
const BACKLOG: u32 = 1;

/// Serves one peer, or with -k one after the other for ever.
pub(super) fn run(kernel: &Kernel, options: &Options) -> Result<(), Failure> {
    let local = SocketAddr::new(options.host, *options.ports.start());
    let served =
        if options.udp { serve_udp(kernel, options, local) } else { serve_tcp(kernel, options, local) };
    served.map_err(|error| failed(&error))
}

fn serve_tcp(kernel: &Kernel, options: &Options, local: SocketAddr) -> std::io::Result<()> {
    let listener = tcp_socket(kernel, options)?;
    listener.set_option(TcpOption::ReuseAddress(true))?;
    listener.bind(local)?;
    listener.listen(BACKLOG)?;
    if options.verbose {
        say(&format!("Listening on {}", spaced(local)));
    }
    loop {
        listener.wait(Interest::Readable, None)?;
        let (stream, peer) = match listener.accept() {
            // Another process that has the descriptor took it.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            accepted => accepted?,
        };
        report(options, peer);
        relay(&FarEnd::Stream(stream), options)?;
        if !options.keep {
            return Ok(());
        }
    }
}

/// The first who sends is the peer; with -k everybody is heard and nobody answered.
fn serve_udp(kernel: &Kernel, options: &Options, local: SocketAddr) -> std::io::Result<()> {
    let socket = udp_socket(kernel, options)?;
    socket.set_option(rumpnet::SocketOption::ReuseAddress(true))?;
    socket.bind_to(local)?;
    if options.verbose {
        say(&format!("Bound on {}", spaced(local)));
    }
    if !options.keep {
        let peer = loop {
            socket.wait(Interest::Readable, None)?;
            match socket.peek(&mut []) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                peeked => break peeked?.1.source,
            }
        };
        socket.connect_to(peer)?;
        report(options, peer);
    }
    relay(&FarEnd::Datagrams(socket), options)
}

fn report(options: &Options, peer: SocketAddr) {
    if options.verbose {
        say(&format!("Connection received on {}", spaced(peer)));
    }
}
