//! A network as a value: buses, hosts on them with addresses and routes, and checks of what they must be able to do.
//!
//! `rumpnet-tools` reads it from a file, a world of the simulator and a lab of real kernels are made of it. Everything is spelled out
//! here: repeated hosts one by one, every address, every route; numbers refer to places in the lists.
//!
//! *Not* here: the file's syntax, and whether a network makes sense; who makes such a value by hand is told by the kernels.

use alloc::{format, string::String, vec, vec::Vec};
use core::net::IpAddr;

use rumpnet_wire::{ethernet, ip::Cidr};

use crate::{
    AddressChange, ControlError, CreateOptions, InterfaceFlags, InterfaceName, NextHop, Request,
    RouteAttributes, RouteKind,
};

/// A network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Its name, one word.
    pub name: String,
    /// The file that says it, as its reader called it; empty if it is of none.
    pub file: String,
    /// What everything random in it follows from, where nothing else says so.
    pub seed: Option<u64>,
    /// What joins hosts.
    pub buses: Vec<Bus>,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// What must hold once all hosts are up.
    pub checks: Vec<Check>,
}

/// An Ethernet hub: what one interface sends, all others hear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bus {
    /// Its name, which no other bus of the network has.
    pub name: String,
    /// The network that its interfaces have their addresses in, if it is said for all of them.
    pub prefix: Option<Cidr>,
    /// What it does to frames, in a simulation.
    pub conditions: Conditions,
}

/// A host: a kernel of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Its name, which no other host of the network has.
    pub name: String,
    /// The line of the file that says it; 0 if none does.
    pub line: u32,
    /// Its interfaces beside `lo0`.
    pub interfaces: Vec<Interface>,
    /// Routes beside those to its own networks.
    pub routes: Vec<Route>,
    /// Variables of sysctl(7) and their values, set before anything else.
    pub sysctls: Vec<(String, i64)>,
}

/// An interface of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, a cloner and a unit.
    pub name: InterfaceName,
    /// The place of its bus in [`Topology::buses`].
    pub bus: usize,
    /// Its addresses.
    pub addresses: Vec<Cidr>,
    /// Its MTU in bytes, if it is not the usual one.
    pub mtu: Option<u32>,
    /// Its link address, if it is not drawn.
    pub link_address: Option<ethernet::Address>,
    /// What befalls the frames that it sends, in a simulation, if not what befalls all on its bus.
    pub conditions: Option<Conditions>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub destination: Cidr,
    /// The next hop.
    pub via: NextHop,
    /// What becomes of its packets.
    pub kind: RouteKind,
}

/// What befalls frames on their way. The default is a perfect cable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// How long a frame is under way, in nanoseconds.
    pub latency_ns: u64,
    /// The most that it may take longer, in nanoseconds.
    pub jitter_ns: u64,
    /// Bits per second; none for no limit.
    pub bandwidth: Option<u64>,
    /// Frames that wait in the cable while an earlier one is being sent; more are dropped. Without it the sender waits.
    pub queue: Option<u32>,
    /// Frames lost, in parts per million.
    pub loss_ppm: u32,
    /// Frames that arrive twice, in parts per million.
    pub duplication_ppm: u32,
    /// Frames that later ones overtake, in parts per million.
    pub reordering_ppm: u32,
    /// Frames in which a bit is flipped, in parts per million.
    pub corruption_ppm: u32,
}

/// What must hold: a tool that is run on a host, and what must come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it is called when it fails.
    pub name: String,
    /// The place of its host in [`Topology::hosts`].
    pub host: usize,
    /// The tool and its words.
    pub words: Vec<String>,
    /// The exit status that is expected.
    pub status: u8,
    /// Texts that must stand in a line of standard output; `*` in one stands for any text.
    pub output: Vec<String>,
    /// Texts that must not.
    pub absent: Vec<String>,
    /// Texts that must stand in a line of standard error.
    pub error: Vec<String>,
    /// How long it may take, in nanoseconds.
    pub limit_ns: u64,
    /// Whether it is repeated until it holds or its time is over.
    pub retry: bool,
}

/// What a tool came to.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// Its exit status.
    pub status: u8,
    /// What it wrote to standard output.
    pub out: &'a str,
    /// What it wrote to standard error.
    pub err: &'a str,
}

/// What a check misses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The exit status is this one.
    Status(u8),
    /// No line of standard output has this text.
    Output(String),
    /// A line of standard output has this text.
    Present(String),
    /// No line of standard error has this text.
    Error(String),
}

/// A host cannot be as the network has it: what its kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The file and the line that say the host; empty and 0 if none does.
    pub place: (String, u32),
    /// The host.
    pub host: String,
    /// Why.
    pub error: ControlError,
}

impl Topology {
    /// What the kernel of a host refused, with the place in the file.
    pub fn refusal(&self, host: &Host, error: ControlError) -> Refusal {
        Refusal { place: (self.file.clone(), host.line), host: host.name.clone(), error }
    }

    /// The place of a host by its name.
    pub fn host(&self, name: &str) -> Option<usize> {
        self.hosts.iter().position(|host| host.name == name)
    }

    /// The link string of a bus in the lab `identity`, which no other lab of the same process may be: ifconfig(8) shows it.
    pub fn link_string(&self, identity: &str, bus: usize) -> String {
        format!("mem:{identity}/{}", self.buses[bus].name)
    }

    /// All that is asked of the kernel of a host in the lab `identity`, from its variables to its routes.
    pub fn requests(&self, identity: &str, host: &Host) -> Vec<Request> {
        let variables = host
            .sysctls
            .iter()
            .map(|(name, value)| Request::Sysctl { name: name.clone(), value: Some(*value) });
        let mut requests: Vec<_> = variables.collect();
        for interface in &host.interfaces {
            requests.extend(interface.requests(self.link_string(identity, interface.bus)));
        }
        requests.extend(host.routes.iter().map(Route::request));
        requests
    }

    /// The place of a bus by its name.
    pub fn bus(&self, name: &str) -> Option<usize> {
        self.buses.iter().position(|bus| bus.name == name)
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (file, line) = &self.place;
        if !file.is_empty() {
            write!(f, "{file}:{line}: ")?;
        }
        write!(f, "host `{}`: {}", self.host, self.error)
    }
}

impl core::error::Error for Refusal {}

impl Host {
    /// Its first address, by which others name it.
    pub fn first_address(&self) -> Option<IpAddr> {
        self.interfaces.iter().flat_map(|interface| &interface.addresses).map(Cidr::address).next()
    }
}

impl Interface {
    /// It is made, put on its bus and given its addresses, and is up.
    fn requests(&self, link_string: String) -> Vec<Request> {
        let name = || String::from(self.name.as_str());
        let options = CreateOptions { link_address: self.link_address, host_end: None };
        let mut requests = vec![
            Request::CreateInterface { name: name(), options },
            Request::SetLinkString { name: name(), string: Some(link_string) },
        ];
        requests.extend(self.mtu.map(|mtu| Request::SetMtu { name: name(), mtu }));
        requests.extend(self.addresses.iter().map(|cidr| Request::AddAddress {
            name: name(),
            change: AddressChange {
                address: cidr.address(),
                prefix_len: Some(cidr.prefix_len()),
                broadcast: None,
                peer: None,
                alias: true,
            },
        }));
        // An address brings its interface up.
        if self.addresses.is_empty() {
            let (set, clear) = (InterfaceFlags::UP, InterfaceFlags::empty());
            requests.push(Request::SetFlags { name: name(), set, clear });
        }
        requests
    }
}

impl Route {
    fn request(&self) -> Request {
        Request::AddRoute {
            destination: (self.destination.address(), self.destination.prefix_len()),
            via: self.via.clone(),
            attributes: RouteAttributes { kind: self.kind, ..RouteAttributes::default() },
        }
    }
}

impl Check {
    /// What is not as it should be; none if the check holds.
    pub fn judge(&self, outcome: Outcome<'_>) -> Option<Miss> {
        let missing =
            |texts: &[String], said: &str| texts.iter().find(|text| !is_in_a_line(text, said)).cloned();
        if let Some(text) = missing(&self.output, outcome.out) {
            return Some(Miss::Output(text));
        }
        if let Some(text) = self.absent.iter().find(|text| is_in_a_line(text, outcome.out)) {
            return Some(Miss::Present(text.clone()));
        }
        if let Some(text) = missing(&self.error, outcome.err) {
            return Some(Miss::Error(text));
        }
        (outcome.status != self.status).then_some(Miss::Status(outcome.status))
    }
}

impl core::fmt::Display for Miss {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exit status {status}"),
            Self::Output(text) => write!(f, "no line of its output has `{text}`"),
            Self::Present(text) => write!(f, "a line of its output has `{text}`"),
            Self::Error(text) => write!(f, "no line of its complaints has `{text}`"),
        }
    }
}

/// Whether a line has the pieces of `pattern`, which `*` parts, one after the other.
fn is_in_a_line(pattern: &str, text: &str) -> bool {
    text.lines().any(|line| {
        let mut rest = Some(line);
        for piece in pattern.split('*') {
            rest = rest.and_then(|rest| rest.split_once(piece)).map(|(_, behind)| behind);
        }
        rest.is_some()
    })
}

#[cfg(test)]
mod tests {
    use alloc::{borrow::ToOwned, string::ToString};

    use super::*;

    fn check() -> Check {
        Check {
            name: "it answers".to_owned(),
            host: 0,
            words: vec!["ping".to_owned()],
            status: 0,
            output: vec!["1 packets*received".to_owned()],
            absent: vec!["duplicates".to_owned()],
            error: Vec::new(),
            limit_ns: 1,
            retry: false,
        }
    }

    #[test]
    fn a_check_holds_if_status_and_texts_are_as_expected() {
        let out = "PING\n1 packets transmitted, 1 packets received\n";
        assert_eq!(check().judge(Outcome { status: 0, out, err: "" }), None);
    }

    #[test]
    fn a_refusal_is_told_with_the_place_of_its_host() {
        let host = Host { name: "pc".to_owned(), line: 7, ..Host::default() };
        let error = ControlError::new(crate::Operation::Sysctl, "net.x", crate::Errno::NoEnt);
        let lab = Topology { file: "a.toml".to_owned(), ..Topology::default() };
        assert!(lab.refusal(&host, error.clone()).to_string().starts_with("a.toml:7: host `pc`: "));
        assert!(Topology::default().refusal(&host, error).to_string().starts_with("host `pc`: "));
    }

    #[test]
    fn a_host_is_configured_from_its_variables_to_its_routes() {
        let interface = |addresses: &[&str], mtu| Interface {
            name: "bus0".parse().unwrap(),
            bus: 0,
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            mtu,
            link_address: None,
            conditions: None,
        };
        let route = Route {
            destination: "10.1.0.0/16".parse().unwrap(),
            via: NextHop::Interface("lo0".to_owned()),
            kind: RouteKind::Reject,
        };
        let host = Host {
            interfaces: vec![interface(&["10.0.0.1/24"], Some(1400)), interface(&[], None)],
            routes: vec![route],
            sysctls: vec![("net.inet.ip.ttl".to_owned(), 9)],
            ..Host::default()
        };
        let buses = vec![Bus { name: "lan".to_owned(), ..Bus::default() }];
        let asked = Topology { buses, ..Topology::default() }.requests("office.1", &host);
        assert!(matches!(asked[0], Request::Sysctl { value: Some(9), .. }));
        assert!(matches!(asked[1], Request::CreateInterface { .. }));
        assert!(
            matches!(&asked[2], Request::SetLinkString { string: Some(string), .. } if string == "mem:office.1/lan")
        );
        assert!(matches!(asked[3], Request::SetMtu { mtu: 1400, .. }));
        assert!(matches!(asked[4], Request::AddAddress { .. }));
        assert!(matches!(asked[7], Request::SetFlags { set: InterfaceFlags::UP, .. }), "it has no address");
        assert!(matches!(asked[8], Request::AddRoute { .. }));
        assert_eq!(asked.len(), 9);
    }

    #[test]
    fn what_is_missing_is_named() {
        let judged = |status, out, err| check().judge(Outcome { status, out, err });
        assert_eq!(judged(2, "1 packets received", ""), Some(Miss::Status(2)));
        let missed = judged(0, "1 packets\nreceived", "").expect("a star does not cross lines");
        assert_eq!(missed.to_string(), "no line of its output has `1 packets*received`");
        let present = judged(0, "1 packets received, +1 duplicates", "").map(|miss| miss.to_string());
        assert_eq!(present.as_deref(), Some("a line of its output has `duplicates`"));
        let strict = Check { error: vec!["refused".to_owned()], ..check() };
        let outcome = Outcome { status: 0, out: "1 packets received", err: "ping: no route" };
        assert_eq!(strict.judge(outcome), Some(Miss::Error("refused".to_owned())));
    }
}
