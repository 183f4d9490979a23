//! The host's end of an interface: which tap belongs to `virt<n>`, opening it, and what the host's refusals mean.

use std::{collections::BTreeMap, io};

use rumpnet_host::{HostError, Layer, Tap, TapOptions, machine};
use rumpnet_proto::{CloneName, ControlError, Errno, LinkKind, Operation};

use crate::{errno, link::tap::TapLink};

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

/// Opens an end: a name, or `fd:N` for a descriptor that this process has inherited.
pub(crate) fn open(name: &str, end: &str, kind: LinkKind) -> Result<TapLink, ControlError> {
    let layer = if kind == LinkKind::Ethernet { Layer::Ethernet } else { Layer::Ip };
    let tap = match end.strip_prefix("fd:") {
        Some(number) => number
            .parse()
            .map_err(|_| refused(name, Errno::Inval))
            .and_then(|number| Tap::inherited(number).map_err(|error| explained(name, &error)))?,
        None => {
            let options = TapOptions { layer, queue_len: Some(QUEUE), ..TapOptions::new(end) };
            Tap::open(&options).map_err(|error| explained(name, &error))?
        }
    };
    if tap.layer() != layer {
        return Err(refused(name, Errno::Inval).with_hint(format!("{end} is of the other kind: tap or tun")));
    }
    Ok(TapLink::new(tap))
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
