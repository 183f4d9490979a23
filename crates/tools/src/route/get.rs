//! `route get`: the route to a destination, in the words of NetBSD's route(8).

use core::{fmt::Write, net::IpAddr};

use rumpnet_proto::{Reply, Request, RouteKind, RouteOrigin, RouteReport};
use rumpnet_wire::ip::Cidr;
use serde::Serialize;

use super::destination::Destination;
use crate::{
    console::Console,
    failure::{Failure, unexpected_reply},
    task::{Report, Task},
};

/// The metrics that routes of BSD have; of them we have the number of hops, the MTU and the time that is left.
const METRICS: &str = " recvpipe  sendpipe  ssthresh  rtt,msec    rttvar  hopcount      mtu     expire";

/// The route to a destination, in JSON as in docs/guide/json.md.
#[derive(Serialize)]
pub(super) struct Found {
    /// What was asked for.
    asked: String,
    destination: IpAddr,
    prefix_bits: u8,
    gateway: Option<IpAddr>,
    local_address: Option<IpAddr>,
    interface: String,
    flags: Vec<&'static str>,
    hop_count: u32,
    mtu: Option<u32>,
    expires_s: Option<u32>,
}

/// The route that packets to a destination take, or the one to exactly a network.
pub(super) async fn find(task: &Task<'_, impl Console>, wanted: &Destination) -> Result<Found, Failure> {
    let (address, len) = wanted.prefix;
    let destination = (address, (!wanted.is_host()).then_some(len));
    match task.ask(Request::Route { destination }).await? {
        Reply::Route { route, source } => Ok(Found::new(wanted.address_name(), &route, source)),
        _ => Err(unexpected_reply()),
    }
}

impl Found {
    fn new(asked: String, route: &RouteReport, source: Option<IpAddr>) -> Self {
        let (destination, prefix_bits) = route.destination;
        Self {
            asked,
            destination,
            prefix_bits,
            gateway: route.gateway,
            local_address: source,
            interface: route.interface.as_str().into(),
            flags: flags(route),
            hop_count: route.hop_count,
            mtu: route.mtu,
            expires_s: route.expires,
        }
    }
}

/// The names of its flags, in the order of their bits (route(4)).
pub(super) fn flags(route: &RouteReport) -> Vec<&'static str> {
    let has = [
        (true, "UP"),
        (route.gateway.is_some(), "GATEWAY"),
        (is_host(route.destination), "HOST"),
        (route.kind == RouteKind::Reject, "REJECT"),
        (route.origin == RouteOrigin::Redirect, "DYNAMIC"),
        (true, "DONE"),
        (route.origin == RouteOrigin::Connected, "CONNECTED"),
        (route.origin == RouteOrigin::Static, "STATIC"),
        (route.kind == RouteKind::Blackhole, "BLACKHOLE"),
    ];
    has.into_iter().filter_map(|(has, name)| has.then_some(name)).collect()
}

/// Whether a prefix is one address.
pub(super) const fn is_host((address, len): (IpAddr, u8)) -> bool {
    len == if address.is_ipv4() { 32 } else { 128 }
}

impl Found {
    fn write(&self, text: &mut String) -> core::fmt::Result {
        let prefix = (self.destination, self.prefix_bits);
        let mask = Cidr::new(self.destination, self.prefix_bits).map(|cidr| cidr.netmask());
        let (destination, mask) = match mask {
            Some(_) if self.prefix_bits == 0 => ("default".into(), Some("default".into())),
            mask => (self.destination.to_string(), mask.map(|mask| mask.to_string())),
        };
        writeln!(text, "   route to: {}\ndestination: {destination}", self.asked)?;
        if let Some(mask) = mask.filter(|_| !is_host(prefix)) {
            writeln!(text, "       mask: {mask}")?;
        }
        if let Some(gateway) = self.gateway {
            writeln!(text, "    gateway: {gateway}")?;
        }
        if let Some(address) = self.local_address {
            writeln!(text, " local addr: {address}")?;
        }
        writeln!(text, "  interface: {}\n      flags: <{}>", self.interface, self.flags.join(","))?;
        let (hops, mtu, expires) = (self.hop_count, self.mtu.unwrap_or(0), self.expires_s.unwrap_or(0));
        writeln!(text, "{METRICS}")?;
        writeln!(text, "{0:8}  {0:8}  {0:8}  {0:8}  {0:8}  {hops:8}  {mtu:8}  {expires:8} ", 0)
    }
}

impl Report for Found {
    fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a string takes everything");
        text
    }
}
