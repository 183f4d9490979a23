//! Carrying out a plan: one request after the other, up to the first that is refused.

use core::net::IpAddr;

use rumpnet_proto::{
    AddressChange, CloneName, ControlError, Errno, InterfaceFlags, InterfaceReport, Operation, Request,
};
use rumpnet_wire::ip::Cidr;

use super::plan::{Addition, AddressStep, Plan, Step, mask_len};
use crate::{console::Console, failure::Failure, task::Task};

/// Carries out a plan and returns what there is to remark.
///
/// What no interface of ours can do, and what this kind of interface cannot, is refused before anything is changed.
pub(super) async fn carry_out(
    task: &Task<'_, impl Console>,
    name: &str,
    plan: Plan,
) -> Result<Vec<String>, Failure> {
    if let Some(absent) = plan.absent {
        if plan.create.is_none() {
            task.interface(name, false).await?;
        }
        return Err(Failure::Refused(absent.into()));
    }
    refuse_without_bus(task, name, &plan).await?;
    let (mut address, mut canonical) = (None, None);
    if let Some(options) = plan.create {
        task.change(Request::CreateInterface { name: name.into(), options }).await?;
        canonical = canonical_name(name);
    }
    let name = canonical.as_deref().unwrap_or(name);
    if let Some(step) = plan.address {
        address = Some(address_request(task, name, step).await?);
    }
    if plan.destroy {
        task.change(Request::DestroyInterface { name: name.into() }).await?;
    }
    for step in plan.steps {
        task.change(request(task, name, step)?).await?;
    }
    if let Some(media) = plan.media {
        task.change(Request::SetMedia { name: name.into(), media }).await?;
    }
    let mut notes: Vec<String> = plan.notes.iter().map(ToString::to_string).collect();
    if let Some(request) = address {
        let maskless = maskless(&request);
        task.change(request).await?;
        if let Some(address) = maskless {
            notes.extend(mask_taken(&task.interface(name, false).await?, address));
        }
    }
    if !plan.enable.union(plan.disable).is_empty() {
        let (name, enable, disable) = (name.into(), plan.enable, plan.disable);
        task.change(Request::SetCapabilities { name, enable, disable }).await?;
    }
    Ok(notes)
}

/// The name that the kernel gives an interface: of `virt01` it makes `virt1`, which what follows must mean.
fn canonical_name(name: &str) -> Option<String> {
    let clone = CloneName::parse(name).and_then(|clone| clone.interface_name());
    clone.ok().map(|name| name.as_str().into())
}

/// What is asked of a bus is refused for an interface of another kind, before anything is changed.
async fn refuse_without_bus(task: &Task<'_, impl Console>, name: &str, plan: &Plan) -> Result<(), Failure> {
    let asked = match plan.media {
        _ if plan.steps.iter().any(|step| matches!(step, Step::LinkString(_))) => Operation::LinkString,
        // ifconfig asks what media there are before it changes them.
        Some(_) => Operation::MediaStatus,
        None => return Ok(()),
    };
    let has_bus = match plan.create {
        Some(_) => CloneName::parse(name).is_ok_and(|clone| clone.is_bus()),
        None => task.interface(name, false).await?.bus.is_some(),
    };
    if has_bus { Ok(()) } else { Err(ControlError::new(asked, name, Errno::NoTty).into()) }
}

fn request(task: &Task<'_, impl Console>, name: &str, step: Step) -> Result<Request, Failure> {
    let name = name.into();
    let none = InterfaceFlags::empty();
    Ok(match step {
        Step::LinkString(string) => {
            let string = string.map(|string| absolute(task, &string)).transpose()?;
            Request::SetLinkString { name, string }
        }
        Step::Flag(flag, true) => Request::SetFlags { name, set: flag, clear: none },
        Step::Flag(flag, false) => Request::SetFlags { name, set: none, clear: flag },
        Step::Mtu(mtu) => Request::SetMtu { name, mtu },
        Step::Metric(metric) => Request::SetMetric { name, metric },
    })
}

/// A path means what it means where the tool runs, wherever the kernel is.
fn absolute(task: &Task<'_, impl Console>, string: &str) -> Result<String, Failure> {
    if string.is_empty() || string.starts_with("mem:") {
        return Ok(string.into());
    }
    task.console.absolute(string).map_err(|reason| Failure::Refused(format!("{string}: {reason}")))
}

/// The request of an address step; asks what the interface is where the meaning of a word depends on it.
async fn address_request(
    task: &Task<'_, impl Console>,
    name: &str,
    step: AddressStep,
) -> Result<Request, Failure> {
    let text = name.into();
    Ok(match step {
        AddressStep::Add(addition) if addition.mask_or_peer.is_none() && addition.broadcast.is_none() => {
            Request::AddAddress { name: text, change: change(&addition) }
        }
        AddressStep::Add(addition) => {
            let change = settle(&addition, &task.interface(name, false).await?)?;
            Request::AddAddress { name: text, change }
        }
        AddressStep::Delete(address) => Request::DeleteAddress { name: text, address },
        AddressStep::AddLink { address, active } => Request::AddLinkAddress { name: text, address, active },
        AddressStep::DeleteLink(address) => Request::DeleteLinkAddress { name: text, address },
    })
}

fn change(addition: &Addition) -> AddressChange {
    let Addition { address, prefix_len, broadcast, alias, .. } = *addition;
    AddressChange { address, prefix_len, broadcast, peer: None, alias }
}

/// The second address is a mask where the link can broadcast and the far end elsewhere; the third needs a broadcast link.
fn settle(addition: &Addition, interface: &InterfaceReport) -> Result<AddressChange, Failure> {
    let can_broadcast = interface.flags.contains(InterfaceFlags::BROADCAST);
    if addition.broadcast.is_some() && !can_broadcast {
        return Err(Failure::Refused("not a broadcast interface".into()));
    }
    let mut change = change(addition);
    match addition.mask_or_peer {
        None => {}
        Some(peer) if !can_broadcast => change.peer = Some(peer),
        Some(IpAddr::V4(mask)) => {
            let len = mask_len(mask)?;
            if change.prefix_len.is_some_and(|other| other != len) {
                return Err(Failure::Refused(format!("netmask {mask}: the address has another length")));
            }
            change.prefix_len = Some(len);
        }
        Some(IpAddr::V6(mask)) => return Err(Failure::Refused(format!("{mask}: not a mask"))),
    }
    Ok(change)
}

/// The address whose mask is left to the kernel.
fn maskless(request: &Request) -> Option<IpAddr> {
    match request {
        Request::AddAddress { change, .. } if change.prefix_len.is_none() => Some(change.address),
        _ => None,
    }
}

/// What to say of the mask that the kernel took.
fn mask_taken(interface: &InterfaceReport, address: IpAddr) -> Option<String> {
    let taken = interface.addresses.iter().find(|entry| entry.address == address)?.prefix_len;
    let mask = Cidr::new(address, taken)?.netmask();
    Some(format!("{address}: no mask given, took that of its class: {mask} (/{taken})"))
}
