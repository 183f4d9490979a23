//! Network namespaces and the links in them.
//!
//! Every trial runs in a namespace of its own that dies with its processes, so that nothing is left behind however a
//! trial ends. Links are set up with ip(8).

use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};

use crate::Failure;

/// The host's end of every link.
pub(crate) const HOST: [u8; 4] = [10, 0, 0, 1];
/// The far end: the rump kernel, the other namespace, smoltcp or a bare loop.
pub(crate) const PEER: [u8; 4] = [10, 0, 0, 2];
/// The link address of the host's end.
pub(crate) const HOST_LINK: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The link address of the far end.
pub(crate) const PEER_LINK: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The tap of a trial.
pub(crate) const TAP: &str = "tap0";
/// Frames that wait in the tap, the same for every arm.
const TAP_QUEUE: &str = "1000";

/// Leaves for a new, empty network namespace.
pub(crate) fn leave() -> Result<(), Failure> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    ip("link set lo up")
}

/// Lets connections in this namespace leave from nearly every port, so that none is used twice while a trial lasts.
pub(crate) fn widen_ports() -> Result<(), Failure> {
    let path = "/proc/sys/net/ipv4/ip_local_port_range";
    std::fs::write(path, "1024 65535").map_err(|error| format!("{path}: {error}").into())
}

/// Runs ip(8) with `words`.
pub(crate) fn ip(words: &str) -> Result<(), Failure> {
    let output = Command::new("ip").args(words.split_whitespace()).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {words}: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
}

/// Creates the persistent tap that every tap arm opens, with the host's address on it.
pub(crate) fn create_tap() -> Result<(), Failure> {
    ip("tuntap add dev tap0 mode tap vnet_hdr")?;
    raise(TAP, HOST_LINK, HOST)?;
    ip(&format!("link set {TAP} txqueuelen {TAP_QUEUE}"))
}

/// Waits until the host sends by `link`: for up to a second after its far end has come up, what is sent is dropped.
pub(crate) fn await_carrier(link: &str) -> Result<(), Failure> {
    for _ in 0..300 {
        let output = Command::new("ip").args(["link", "show", link]).stdin(Stdio::null()).output()?;
        if String::from_utf8_lossy(&output.stdout).contains("state UP") {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err(format!("{link} has no carrier").into())
}

/// Creates a veth pair whose far end goes to the namespace of process `peer`.
pub(crate) fn create_veth(peer: u32) -> Result<(), Failure> {
    ip(&format!("link add veth0 type veth peer name veth1 netns {peer}"))?;
    raise("veth0", HOST_LINK, HOST)
}

/// Gives `name` its addresses and sets it up.
pub(crate) fn raise(name: &str, link: [u8; 6], address: [u8; 4]) -> Result<(), Failure> {
    let [a, b, c, d] = address;
    ip(&format!("link set {name} address {}", link_text(link)))?;
    ip(&format!("addr add {a}.{b}.{c}.{d}/24 dev {name}"))?;
    ip(&format!("link set {name} up"))
}

/// A link address in words.
pub(crate) fn link_text(link: [u8; 6]) -> String {
    link.map(|byte| format!("{byte:02x}")).join(":")
}
