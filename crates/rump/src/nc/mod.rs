//! `rump nc`: netcat over a kernel's sockets, with the options, texts and exit statuses of netcat-openbsd(1).
//!
//! It is a client like any other: its sockets are descriptors that the server has passed ([`rumpnet::remote`]). Names are not resolved, and services have no
//! names: everything is as with -n.

mod client;
mod definition;
mod far_end;
mod options;
mod relay;
mod server;

use std::{io, net::SocketAddr, time::Duration};

use clap::ArgMatches;
use rumpnet::{
    SocketOption, TcpOption,
    client::Address,
    remote::{Datagram, DatagramHandle as _, Kernel, Tcp, TcpHandle as _},
};
use rumpnet_tools::Status;

use crate::output;
pub(crate) use definition::command;
use options::Options;

/// The name that complaints begin with, as netcat's do.
const NAME: &str = "nc";

/// Why it ends with a failure; none if it was said already, or is not to be said.
type Failure = Option<String>;

/// Runs it against the server at `address`.
pub(crate) fn run(matches: &ArgMatches, address: Result<Address, String>, patience: Duration) -> Status {
    let ran = Options::read(matches).map_err(Some).and_then(|options| {
        let address = address.map_err(Some)?;
        let connected = Kernel::builder().patience(patience).connect_to(&address);
        let kernel = connected.map_err(|error| Some(error.to_string()))?;
        if options.listen { server::run(&kernel, &options) } else { client::run(&kernel, &options) }
    });
    match ran {
        Ok(()) => Status::SUCCESS,
        Err(None) => Status::FAILURE,
        Err(Some(reason)) => output::failed(NAME, reason),
    }
}

/// A complaint or, with -v, a report, on standard error.
fn say(line: &str) {
    output::complain(&format!("{line}\n"));
}

/// An error in the host's words alone.
fn words_of(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

fn failed(error: &io::Error) -> Failure {
    Some(words_of(error))
}

/// `HOST PORT`, as netcat prints it.
fn spaced(address: SocketAddr) -> String {
    format!("{} {}", address.ip(), address.port())
}

/// A TCP socket with the options asked for.
fn tcp_socket(kernel: &Kernel, options: &Options) -> io::Result<Tcp> {
    let socket = Tcp::open(kernel)?;
    let wished = [
        options.tos.map(TcpOption::Tos),
        options.ttl.map(TcpOption::Ttl),
        options.receive_buffer.map(TcpOption::ReceiveBuffer),
        options.send_buffer.map(TcpOption::SendBuffer),
    ];
    wished.into_iter().flatten().try_for_each(|option| socket.set_option(option))?;
    Ok(socket)
}

/// A UDP socket with the options asked for.
fn udp_socket(kernel: &Kernel, options: &Options) -> io::Result<Datagram> {
    let socket = Datagram::open(kernel, rumpnet::proto::passed::SocketKind::Datagram)?;
    let wished = [
        options.tos.map(SocketOption::Tos),
        options.ttl.map(SocketOption::Ttl),
        options.receive_buffer.map(SocketOption::ReceiveBuffer),
        options.send_buffer.map(SocketOption::SendBuffer),
        options.broadcast.then_some(SocketOption::Broadcast(true)),
    ];
    wished.into_iter().flatten().try_for_each(|option| socket.set_option(option))?;
    Ok(socket)
}
