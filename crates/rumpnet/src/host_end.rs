//! The host's end of an interface: which tap belongs to `virt<n>`, opening it, and what the host's refusals mean.

use std::{collections::BTreeMap, io};

use rumpnet_host::{
    FrameDevice, HostError, Layer, Tap, TapOptions, machine,
    packet::{PacketOptions, PacketSocket},
};
use rumpnet_proto::{CloneName, ControlError, Errno, LinkKind, Operation};

use crate::{
    errno,
    link::{Link as _, device::DeviceLink},
};

/// Frames that wait in a tap of our making until we read them; the host's default of 1000 is short for a flood.
const QUEUE: u32 = 2000;

/// Host ends that were chosen before their interfaces are created.
#[derive(Debug, Default)]
pub(crate) struct HostEnds(BTreeMap<String, String>);

impl HostEnds {
    pub(crate) fn set(&mut self, interface: String, end: String) {
        self.0.insert(interface, end);
    }

    /// The end of interface `name`: the one given with the request, the one chosen at boot, or the one of its number.
    pub(crate) fn determine(
        &self,
        name: &str,
        wanted: Option<&str>,
        kind: LinkKind,
    ) -> Result<String, Errno> {
        let unit = CloneName::parse(name)?;
        let canonical = unit.interface_name()?;
        let chosen = wanted.or_else(|| self.0.get(canonical.as_str()).map(String::as_str));
        let device = if kind == LinkKind::Ethernet { "tap" } else { "tun" };
        Ok(chosen.map_or_else(|| format!("{device}{}", unit.unit), str::to_owned))
    }
}

/// The number in `fd:N`.
pub(crate) fn descriptor(end: &str) -> Option<i32> {
    end.strip_prefix("fd:")?.parse().ok()
}

/// Opens an end: a name, `fd:N` for a descriptor that this process has inherited, or `packet:NAME` for a packet socket on
/// an interface of the host.
pub(crate) fn open(name: &str, end: &str, kind: LinkKind) -> Result<DeviceLink, ControlError> {
    let explain = |error: HostError| explained(name, &error);
    let device = if let Some(number) = end.strip_prefix("fd:") {
        let number = number.parse().map_err(|_| refused(name, Errno::Inval))?;
        Tap::inherited(number).map(FrameDevice::from).map_err(explain)?
    } else if let Some(interface) = end.strip_prefix("packet:") {
        open_packet_socket(interface, None).map_err(explain)?
    } else {
        open_tap(name, end, kind).map_err(explain)?
    };
    let link = DeviceLink::new(device).map_err(explain)?;
    if link.properties().kind != kind {
        return Err(refused(name, Errno::Inval).with_hint(format!("{end} is of the other kind: tap or tun")));
    }
    Ok(link)
}

/// A tap or tun; where its node cannot be opened, an Ethernet interface gets a packet socket on a veth pair of that name.
fn open_tap(name: &str, end: &str, kind: LinkKind) -> Result<FrameDevice, HostError> {
    let layer = if kind == LinkKind::Ethernet { Layer::Ethernet } else { Layer::Ip };
    let options = TapOptions { layer, queue_len: Some(QUEUE), ..TapOptions::new(end) };
    match Tap::open(&options) {
        Ok(tap) => Ok(tap.into()),
        // The tap's own refusal has the better hint.
        Err(error) if error.operation == rumpnet_host::Operation::OpenNode && layer == Layer::Ethernet => {
            open_packet_socket(name, Some(end)).map_err(|_| error)
        }
        Err(error) => Err(error),
    }
}

fn open_packet_socket(name: &str, peer: Option<&str>) -> Result<FrameDevice, HostError> {
    let options = PacketOptions { name: name.to_owned(), peer: peer.map(str::to_owned), up: true, mtu: None };
    PacketSocket::open(&options).map(FrameDevice::from)
}

fn refused(name: &str, errno: Errno) -> ControlError {
    ControlError::new(Operation::CreateInterface, name, errno)
}

/// The host's refusal in the kernel's words, with the command that lifts it.
fn explained(name: &str, error: &HostError) -> ControlError {
    let refusal = refused(name, errno::from_host(error.errno));
    match &error.hint {
        Some(hint) => refusal.with_hint(hint.clone()),
        None => refusal.with_hint(format!("{} {}", error.operation, error.object)),
    }
}

/// The link of a port could not be put to work.
pub(crate) fn unusable(name: &str, error: &io::Error) -> ControlError {
    refused(name, errno::of_io(error))
}

/// What tells this machine and network from others.
pub(crate) fn place() -> Vec<u8> {
    let mut place = machine::machine_id();
    place.extend(machine::network_namespace().to_be_bytes());
    place
}
