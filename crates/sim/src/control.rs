//! Control requests: those that concern ends of cables are answered here, as a server answers those about its taps.

use rumpnet_proto::{
    CloneName, ControlError, CreateOptions, Errno, KernelInfo, LinkKind, Operation, Reply, Request,
};

use crate::{Host, core::Core, interface};

/// Asks a host's kernel something.
pub(crate) fn answer(host: &Host, request: Request) -> Result<Reply, ControlError> {
    host.shared.with(|core| match request {
        Request::Kernel => Ok(Reply::Kernel(kernel_info(core, host.number))),
        Request::Messages { since } => {
            let messages = &core.hosts[host.number].messages;
            let wanted = messages.iter().filter(|message| message.number >= since).cloned().collect();
            let next = messages.back().map_or(1, |message| message.number + 1);
            Ok(Reply::Messages { messages: wanted, next })
        }
        Request::CreateInterface { name, options } => create(core, host.number, &name, &options),
        Request::SetLinkString { name, string } => set_link_string(core, host.number, name, string),
        Request::DestroyInterface { name } => destroy(core, host.number, &name),
        other => core.call(host.number, |stack, now| stack.control(now, other)),
    })
}

fn kernel_info(core: &Core, host: usize) -> KernelInfo {
    let state = &core.hosts[host];
    KernelInfo {
        name: state.name.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: 0,
        uptime_ns: (core.now - state.booted).as_nanos(),
    }
}

/// ifconfig create: an interface whose far end is a cable that waits for it.
fn create(core: &mut Core, host: usize, name: &str, options: &CreateOptions) -> Result<Reply, ControlError> {
    let refuse = |errno| ControlError::new(Operation::CreateInterface, name, errno);
    if core.hosts[host].stack.may_create(name)? == LinkKind::Loopback {
        let request = Request::CreateInterface { name: name.to_owned(), options: options.clone() };
        return core.call(host, |stack, now| stack.control(now, request));
    }
    let clone = CloneName::parse(name).map_err(refuse)?;
    if clone.is_bus() {
        return interface::create(core, host, name, options.link_address).map(|_| Reply::Done);
    }
    let canonical = clone.interface_name().map_err(refuse)?;
    let is_awaited = |(whose, what): &(usize, String)| *whose == host && what == canonical.as_str();
    let found =
        core.cables.iter().enumerate().find_map(|(number, cable)| {
            cable.awaited.iter().position(is_awaited).map(|place| (number, place))
        });
    let Some((cable, place)) = found else {
        let hint = "no cable of this world waits for an interface of that name";
        return Err(refuse(Errno::Nxio).with_hint(hint));
    };
    let port = interface::create(core, host, name, options.link_address)?;
    core.cables[cable].awaited.remove(place);
    interface::plug_in(core, host, port, cable);
    Ok(Reply::Done)
}

/// ifconfig destroy: the cable is left hanging, and waits for the next interface of that name.
fn destroy(core: &mut Core, host: usize, name: &str) -> Result<Reply, ControlError> {
    let plug = interface::find(core, host, name).and_then(|port| core.hosts[host].ports[&port].plug);
    let port = core.call(host, |stack, now| stack.destroy_interface(now, name))?;
    if let Some(port) = port {
        core.unplug(host, port);
        core.hosts[host].ports.remove(&port);
    }
    if let Some((cable, _)) = plug.filter(|(cable, _)| !core.cables[*cable].is_bus) {
        core.cables[cable].awaited.push((host, name.to_owned()));
    }
    Ok(Reply::Done)
}

/// ifconfig linkstr: an interface is plugged into the bus of that name, or pulled out of the one it is in.
fn set_link_string(
    core: &mut Core,
    host: usize,
    name: String,
    string: Option<String>,
) -> Result<Reply, ControlError> {
    core.hosts[host].stack.may_set_link_string(&name, string.as_deref())?;
    let port = interface::find(core, host, &name);
    let bus = string.as_deref().map(|string| core.bus(string));
    let request = Request::SetLinkString { name, string };
    let reply = core.call(host, |stack, now| stack.control(now, request))?;
    match (port, bus) {
        (Some(port), Some(bus)) => interface::plug_in(core, host, port, bus),
        (Some(port), None) => core.unplug(host, port),
        (None, _) => {}
    }
    Ok(reply)
}
