//! Where a cable's ends are: at an interface of the host's own kernel, or bridged with the tap of another. Links are set up with ip(8).

use std::{
    io,
    os::fd::AsFd,
    process::{Command, Stdio},
};

use rumpnet_host::Tap;
use rustix::net::sockopt;

use crate::end;

/// What an end is called in its namespace.
const END: &str = "cable0";

/// An end at which the host's own kernel speaks, in the thread's network namespace, under an address such as `10.0.0.1/24`.
pub fn host_end(address: &str) -> io::Result<Tap> {
    let tap = open()?;
    ip(&format!("addr add {address} dev {END}"))?;
    Ok(tap)
}

/// An end that is bridged with `tap`, so that who holds the other side of that speaks over the cable.
pub fn bridged_end(tap: &str) -> io::Result<Tap> {
    let end = open()?;
    // Nobody asks for groups here, and nobody wants the host's own chatter on the cable.
    ip("link add br0 type bridge mcast_snooping 0")?;
    ip(&format!("link set {tap} master br0"))?;
    ip(&format!("link set {END} master br0"))?;
    ip("link set br0 up")?;
    Ok(end)
}

/// Lets a socket of the host's kernel, or what a listener accepts from now on, use CUBIC whatever the host prefers.
pub fn use_cubic(socket: &impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_tcp_congestion(socket, "cubic")?)
}

fn open() -> io::Result<Tap> {
    let tap = end(END).map_err(io::Error::other)?;
    // Neighbour discovery and listener reports of IPv6 would meet the faults in the place of what is measured.
    std::fs::write(format!("/proc/sys/net/ipv6/conf/{END}/disable_ipv6"), "1")?;
    Ok(tap)
}

/// Runs ip(8) in the thread's network namespace.
fn ip(words: &str) -> io::Result<()> {
    let ran = Command::new("ip").args(words.split_whitespace()).stdin(Stdio::null()).output()?;
    if ran.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("ip {words}: {}", String::from_utf8_lossy(&ran.stderr).trim())))
}
