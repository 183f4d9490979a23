//! Interfaces of hosts, as a test sees them.

use std::fmt;

use rumpnet_proto::{
    AddressChange, CloneName, ControlError, CreateOptions, InterfaceFlags, InterfaceReport, LinkKind,
    LinkState, Reply, Request,
};
use rumpnet_stack::{Offloads, PortConfig};
use rumpnet_wire::{ethernet, ip::Cidr};

use crate::{
    Host,
    cable::state::Plug,
    core::{Core, PortState},
};

/// An interface of a [`Host`]. Clones are the same interface.
#[derive(Clone)]
pub struct Interface {
    host: Host,
    name: String,
}

impl Interface {
    pub(crate) fn of(host: &Host, name: &str) -> Self {
        let known = Request::Interface { name: name.to_owned(), reset: false };
        if host.control(known).is_err() {
            let made = host.shared.with(|core| match core.hosts[host.number].stack.may_create(name)? {
                LinkKind::Loopback => {
                    let options = CreateOptions::default();
                    let request = Request::CreateInterface { name: name.to_owned(), options };
                    core.call(host.number, |stack, now| stack.control(now, request)).map(|_| ())
                }
                _ => create(core, host.number, name, None).map(|_| ()),
            });
            made.unwrap_or_else(|error| panic!("{}: {error}", host.name()));
        }
        Self { host: host.clone(), name: name.to_owned() }
    }

    /// Gives it an address, such as `10.0.0.1/24`, besides those it has, and brings it up.
    ///
    /// # Panics
    ///
    /// If the text is no address with its prefix, or the kernel refuses it.
    pub fn address(&self, cidr: &str) -> Self {
        let parsed: Cidr =
            cidr.parse().unwrap_or_else(|_| panic!("{cidr} is not an address with its prefix"));
        let change = AddressChange {
            address: parsed.address(),
            prefix_len: Some(parsed.prefix_len()),
            broadcast: None,
            peer: None,
            alias: true,
        };
        self.must(Request::AddAddress { name: self.name.clone(), change });
        self.clone()
    }

    /// Puts it, a `bus<n>`, on a bus: `ifconfig bus0 linkstr STRING`.
    ///
    /// # Panics
    ///
    /// If it is up, is on a bus already, or is no `bus<n>`.
    pub fn link_string(&self, string: &str) -> Self {
        self.must(Request::SetLinkString { name: self.name.clone(), string: Some(string.to_owned()) });
        self.clone()
    }

    /// Brings it up.
    pub fn up(&self) -> Self {
        self.set_flags(InterfaceFlags::UP, InterfaceFlags::empty());
        self.clone()
    }

    /// Brings it down.
    pub fn down(&self) -> Self {
        self.set_flags(InterfaceFlags::empty(), InterfaceFlags::UP);
        self.clone()
    }

    fn set_flags(&self, set: InterfaceFlags, clear: InterfaceFlags) {
        self.must(Request::SetFlags { name: self.name.clone(), set, clear });
    }

    /// Sets its MTU, in bytes.
    ///
    /// # Panics
    ///
    /// If it is out of range.
    pub fn mtu(&self, mtu: u32) -> Self {
        self.must(Request::SetMtu { name: self.name.clone(), mtu });
        self.clone()
    }

    /// Destroys it.
    pub fn destroy(&self) {
        self.must(Request::DestroyInterface { name: self.name.clone() });
    }

    /// What this end of a cable can do; the ends agree anew. A new interface can do everything.
    ///
    /// # Panics
    ///
    /// If it is not plugged in.
    pub fn set_offloads(&self, offloads: Offloads) -> Self {
        let (cable, end) = self.plug().unwrap_or_else(|| panic!("{self} is not plugged in"));
        self.host.shared.with(|core| {
            core.cables[cable].ends[end].offloads = offloads;
            core.follow_offloads(cable);
        });
        self.clone()
    }

    /// Its link address, on Ethernet.
    pub fn link_address(&self) -> Option<ethernet::Address> {
        self.report().link_address
    }

    /// Everything that ifconfig(8) shows of it.
    ///
    /// # Panics
    ///
    /// If there is no such interface.
    pub fn report(&self) -> InterfaceReport {
        match self.must(Request::Interface { name: self.name.clone(), reset: false }) {
            Reply::Interfaces { mut interfaces, .. } if interfaces.len() == 1 => interfaces.remove(0),
            other => unreachable!("one interface is answered with its report, not {other:?}"),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its host.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    fn must(&self, request: Request) -> Reply {
        self.host.control(request).unwrap_or_else(|error| panic!("{self}: {error}"))
    }

    pub(crate) fn plug(&self) -> Option<(usize, usize)> {
        let Host { shared, number } = &self.host;
        shared.with(|core| {
            let port = find(core, *number, &self.name)?;
            core.hosts[*number].ports[&port].plug
        })
    }

    pub(crate) fn plug_into(&self, cable: usize) {
        let Host { shared, number } = &self.host;
        shared.with(|core| {
            let port = find(core, *number, &self.name);
            let port = port.unwrap_or_else(|| panic!("{} has no port to be plugged in", self.name));
            core.unplug(*number, port);
            plug_in(core, *number, port, cable);
        });
    }

    pub(crate) fn unplug(&self) {
        let Host { shared, number } = &self.host;
        shared.with(|core| {
            if let Some(port) = find(core, *number, &self.name) {
                core.unplug(*number, port);
            }
        });
    }
}

impl fmt::Display for Interface {
    /// `host/interface`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host.name(), self.name)
    }
}

impl fmt::Debug for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Interface({self})")
    }
}

/// The port of an interface.
pub(crate) fn find(core: &Core, host: usize, name: &str) -> Option<u32> {
    let ports = &core.hosts[host].ports;
    ports.iter().find(|(_, port)| port.name.as_str() == name).map(|(number, _)| *number)
}

/// Makes an interface with a port and nothing plugged in, and returns the port.
pub(crate) fn create(
    core: &mut Core,
    host: usize,
    name: &str,
    link_address: Option<ethernet::Address>,
) -> Result<u32, ControlError> {
    let kind = core.hosts[host].stack.may_create(name)?;
    // The stack has just read the name.
    let (unit, canonical) = CloneName::parse(name)
        .and_then(|clone| Ok((clone.unit, clone.interface_name()?)))
        .expect("a name that may be created is a cloner and a unit");
    let drawn = ethernet::Address(link_address_of(host, unit));
    let config = PortConfig {
        kind,
        link_address: (kind == LinkKind::Ethernet).then(|| link_address.unwrap_or(drawn)),
        link_state: LinkState::Down,
        ..PortConfig::ethernet(drawn)
    };
    let port = core.call(host, |stack, now| stack.create_interface(now, name, config))?;
    core.hosts[host].ports.insert(port, PortState { name: canonical, plug: None, up: false });
    Ok(port)
}

/// A local address that tells host and unit apart, readable in a capture.
const fn link_address_of(host: usize, unit: u32) -> [u8; 6] {
    let (host, unit) = ((host as u16).to_be_bytes(), (unit as u16).to_be_bytes());
    [0xb2, 0x0a, host[0], host[1], unit[0], unit[1]]
}

/// Plugs a port into a cable.
pub(crate) fn plug_in(core: &mut Core, host: usize, port: u32, cable: usize) {
    let state = &core.hosts[host];
    let (name, up) = (state.ports[&port].name, state.ports[&port].up);
    let label = format!("{}/{name}", state.name);
    let ethernet = !name.as_str().starts_with("tun");
    core.plug(cable, Plug::Port { host, port }, label, ethernet, up);
}
