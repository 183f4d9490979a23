//! `rump nc HOST PORT`: connects to one port after the other, and passes data if it is only to look at none.

use std::{io, net::SocketAddr, thread, time::Duration};

use rumpnet::{
    Interest,
    remote::{Datagram, DatagramHandle as _, Kernel, Tcp, TcpHandle as _, TcpWait as _},
};

use super::{
    Failure, failed, far_end::FarEnd, options::Options, relay::relay, say, tcp_socket, udp_socket, words_of,
};

/// For how many seconds a UDP port may say that it is closed, unless -w says otherwise.
const UDP_PATIENCE: u64 = 3;

/// Succeeds if the last port could be connected to, as netcat does.
pub(super) fn run(kernel: &Kernel, options: &Options) -> Result<(), Failure> {
    let mut outcome = Err(None);
    for port in options.ports.clone() {
        let peer = SocketAddr::new(options.host, port);
        outcome = match connect(kernel, options, peer)? {
            Some(far_end) => {
                if options.verbose {
                    let protocol = if options.udp { "udp" } else { "tcp" };
                    say(&format!("Connection to {} {port} port [{protocol}/*] succeeded!", options.host));
                }
                if !options.scans {
                    relay(&far_end, options).map_err(|error| failed(&error))?;
                }
                Ok(())
            }
            None => Err(None),
        };
    }
    outcome
}

/// The connection, or none if the peer does not want it, which -v reports.
fn connect(kernel: &Kernel, options: &Options, peer: SocketAddr) -> Result<Option<FarEnd>, Failure> {
    if options.udp {
        let socket = udp_socket(kernel, options).map_err(|error| failed(&error))?;
        return connect_udp(socket, options, peer);
    }
    let socket = tcp_socket(kernel, options).map_err(|error| failed(&error))?;
    if has_source(options) {
        socket.bind(options.source.into()).map_err(|error| unbound(&error))?;
    }
    match handshake(&socket, options, peer) {
        Ok(()) => Ok(Some(FarEnd::Stream(socket))),
        Err(reason) => {
            if options.verbose {
                say(&format!("nc: connect to {} port {} (tcp) {reason}", peer.ip(), peer.port()));
            }
            Ok(None)
        }
    }
}

fn has_source(options: &Options) -> bool {
    options.source.1 != 0 || !options.source.0.is_unspecified()
}

fn unbound(error: &io::Error) -> Failure {
    Some(format!("bind failed: {}", words_of(error)))
}

fn handshake(socket: &Tcp, options: &Options, peer: SocketAddr) -> Result<(), String> {
    let refused = |error: io::Error| format!("failed: {}", words_of(&error));
    socket.connect(peer).map_err(refused)?;
    // netcat says what poll(2) left in errno.
    let in_time = socket.wait(Interest::Writable, options.wait.filter(|wait| !wait.is_zero()));
    in_time.map_err(|_| "timed out: Operation now in progress".to_owned())?;
    socket.connected().map_err(refused)
}

fn connect_udp(socket: Datagram, options: &Options, peer: SocketAddr) -> Result<Option<FarEnd>, Failure> {
    if has_source(options) {
        socket.bind_to(options.source.into()).map_err(|error| unbound(&error))?;
    }
    if let Err(error) = socket.connect_to(peer) {
        if options.verbose {
            say(&format!(
                "nc: connect to {} port {} (udp) failed: {}",
                peer.ip(),
                peer.port(),
                words_of(&error)
            ));
        }
        return Ok(None);
    }
    if (options.verbose || options.scans) && !may_be_open(&socket, options) {
        return Ok(None);
    }
    Ok(Some(FarEnd::Datagrams(socket)))
}

/// Whether nothing says that a UDP port is closed, though it is asked for it a few times.
fn may_be_open(socket: &Datagram, options: &Options) -> bool {
    let may_be = || socket.send(b"X", None).is_ok();
    let patience = options.wait.map_or(UDP_PATIENCE, |wait| wait.as_secs());
    may_be()
        && may_be()
        && (0..patience).all(|_| {
            thread::sleep(Duration::from_secs(1));
            may_be()
        })
}
