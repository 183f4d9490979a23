//! The routing table as `route show` and `netstat -r` print it.

use core::{fmt::Write, net::IpAddr};

use rumpnet_proto::{InterfaceReport, RouteKind, RouteOrigin, RouteReport};
use serde::Serialize;

use super::get::is_host;

use crate::{
    console::Console,
    failure::Failure,
    task::{Report, Task},
};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Inet,
    Inet6,
}

impl Family {
    pub(super) fn is_of(self, address: IpAddr) -> bool {
        (self == Self::Inet) == address.is_ipv4()
    }
}

/// The routes, in JSON as in docs/guide/json.md.
#[derive(Serialize)]
pub(crate) struct Routes {
    routes: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    destination: IpAddr,
    prefix_bits: u8,
    gateway: Option<IpAddr>,
    interface: String,
    interface_index: Option<u32>,
    flags: String,
    mtu: Option<u32>,
}

/// All routes, or those of a family.
pub(crate) async fn routes(task: &Task<'_, impl Console>, family: Option<Family>) -> Result<Routes, Failure> {
    let interfaces = task.interfaces(false).await?;
    let wanted = |route: &RouteReport| family.is_none_or(|family| family.is_of(route.destination.0));
    let all = task.routes().await?.into_iter().filter(wanted);
    Ok(Routes { routes: all.map(|route| Entry::new(&route, &interfaces)).collect() })
}

impl Entry {
    fn new(route: &RouteReport, interfaces: &[InterfaceReport]) -> Self {
        let (destination, prefix_bits) = route.destination;
        let interface = interfaces.iter().find(|interface| interface.name == route.interface);
        Self {
            destination,
            prefix_bits,
            gateway: route.gateway,
            interface: route.interface.as_str().into(),
            interface_index: interface.map(|interface| interface.index),
            flags: flags(route),
            mtu: route.mtu,
        }
    }

    /// The router, or the link by its number.
    fn gateway(&self) -> String {
        let link =
            || self.interface_index.map_or_else(|| self.interface.clone(), |index| format!("link#{index}"));
        self.gateway.map_or_else(link, |gateway| gateway.to_string())
    }
}

/// `default`, `10.0.0/24` or `10.0.0.1`: octets that an IPv4 prefix does not reach are left out.
pub(crate) fn network_name(address: IpAddr, len: u8) -> String {
    match (address, len) {
        (_, 0) => "default".into(),
        (IpAddr::V4(_), 32) | (IpAddr::V6(_), 128) => address.to_string(),
        (IpAddr::V4(address), len) => {
            let octets = address.octets();
            let kept = octets.iter().take(usize::from(len.div_ceil(8))).map(u8::to_string);
            format!("{}/{len}", kept.collect::<Vec<_>>().join("."))
        }
        (IpAddr::V6(_), len) => format!("{address}/{len}"),
    }
}

/// U for usable, G for a gateway, H for a host, R for refusing, D for a redirect's, B for a black hole, as netstat(1) lists them.
fn flags(route: &RouteReport) -> String {
    let has = [
        (true, 'U'),
        (route.gateway.is_some(), 'G'),
        (is_host(route.destination), 'H'),
        (route.kind == RouteKind::Reject, 'R'),
        (route.origin == RouteOrigin::Redirect, 'D'),
        (route.kind == RouteKind::Blackhole, 'B'),
    ];
    has.into_iter().filter_map(|(has, letter)| has.then_some(letter)).collect()
}

impl Routes {
    /// The section of a family; nothing if it is empty.
    fn write(&self, text: &mut String, family: Family) -> core::fmt::Result {
        let (title, width, gateway_width) = match family {
            Family::Inet => ("Internet", 18, 18),
            Family::Inet6 => ("Internet6", 39, 30),
        };
        let is_inet = family == Family::Inet;
        let mut rows = self.routes.iter().filter(|entry| entry.destination.is_ipv4() == is_inet).peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        writeln!(text, "\n{title}:")?;
        let (destination, gateway) = ("Destination", "Gateway");
        writeln!(
            text,
            "{destination:<width$} {gateway:<gateway_width$} {:<6} {:>6} {:>8} {:>6} Interface",
            "Flags", "Refs", "Use", "Mtu"
        )?;
        rows.try_for_each(|entry| {
            let (destination, gateway) =
                (network_name(entry.destination, entry.prefix_bits), entry.gateway());
            writeln!(
                text,
                "{destination:<width$} {gateway:<gateway_width$} {:<6} {:>6} {:>8} {:>6}  {}",
                entry.flags,
                "-",
                "-",
                entry.mtu.map_or_else(|| "-".into(), |mtu| mtu.to_string()),
                entry.interface
            )
        })
    }
}

impl Report for Routes {
    fn text(&self) -> String {
        let mut text = String::from("Routing tables\n");
        let families = [Family::Inet, Family::Inet6];
        let written = families.into_iter().try_for_each(|family| self.write(&mut text, family));
        written.expect("a string takes everything");
        text
    }
}
