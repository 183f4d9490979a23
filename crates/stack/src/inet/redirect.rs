//! Redirects that we obey: a router knows of another one on our link that is nearer to a destination (RFC 792, RFC 1122 section 3.2.2.2).
//!
//! What is learned is a route to one host, which goes by itself after some time. Only the router that we would have asked
//! is believed, and only of routers on the link that it is on. Who is a router himself knows better (RFC 1812 section 5.2.7.2).

use alloc::collections::BTreeSet;
use core::net::{IpAddr, Ipv4Addr};

use rumpnet_proto::{Counter, RouteEvent, RouteOrigin};
use rumpnet_wire::ipv4::Header;

use super::{
    Inet,
    route::{Hop, Route},
};
use crate::{
    buffer::Received,
    context::Context,
    link::Link,
    time::{Duration, Instant},
};

/// Routes learned at most; with more of them the one goes that would be the first to.
const MAX_REDIRECTS: usize = 256;
/// Octets of an ICMP message in front of the packet that it quotes.
const QUOTE: usize = 8;

/// The routes that redirects have made, in the order in which they go.
#[derive(Default)]
pub(super) struct Redirects {
    learned: BTreeSet<(Instant, IpAddr)>,
}

impl Redirects {
    /// When the next one goes.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.learned.first().map(|(at, _)| *at)
    }
}

impl Inet {
    /// A redirect has come in, its cursor at the ICMP header; false if it is not to be believed.
    pub(super) fn obey_redirect(
        &mut self,
        cx: &mut Context,
        link: &Link,
        interface: u32,
        header: &Header,
        gateway: Ipv4Addr,
        packet: &Received,
    ) -> bool {
        let Some(destination) = self.determine_redirected(cx, interface, header, gateway, packet) else {
            return false;
        };
        if self.redirects.learned.len() >= MAX_REDIRECTS {
            cx.count(Counter::RedirectsEvicted);
            self.forget_next_redirect();
        }
        let expires = cx.now + Duration::from_secs(cx.config.redirect_lifetime.into());
        let hop = Hop { interface, gateway: Some(gateway.into()) };
        let mut route = Route::by(hop, RouteOrigin::Redirect);
        route.expires = Some(expires);
        self.routes.insert(destination, 32, route);
        self.redirects.learned.insert((expires, destination));
        if let Some(found) = link.interfaces.by_index(interface)
            && let Some(route) = self.routes.exact(destination, 32)
        {
            let report = || route.report((destination, 32), route.hop, found.name, cx.now);
            let (route, author) = (report(), header.source.into());
            cx.tell(|| RouteEvent::Redirect { route, index: interface, author });
        }
        cx.count(Counter::RedirectsObeyed);
        true
    }

    /// The destination that a redirect is about, if it is to be believed.
    fn determine_redirected(
        &self,
        cx: &Context,
        interface: u32,
        header: &Header,
        gateway: Ipv4Addr,
        packet: &Received,
    ) -> Option<IpAddr> {
        let (quoted, _) = Header::parse_quoted(packet.bytes().get(QUOTE..)?).ok()?;
        if !cx.config.accept_redirects
            || cx.config.forwarding
            || !self.addresses.is_ours(quoted.source.into())
        {
            return None;
        }
        let destination = IpAddr::V4(quoted.destination);
        let present = self.routes.lookup(destination)?.hop;
        let asked = present == Hop { interface, gateway: Some(header.source.into()) };
        let link = self.routes.lookup(gateway.into())?.hop;
        let is_near = link == Hop { interface, gateway: None } && !self.addresses.is_ours(gateway.into());
        // What was said by hand stays.
        let stays =
            self.routes.exact(destination, 32).is_some_and(|route| route.origin != RouteOrigin::Redirect);
        (asked && is_near && !stays).then_some(destination)
    }

    /// The routes go whose time is over.
    pub(super) fn on_redirect_timer(&mut self, cx: &Context) {
        while self.redirects.next_deadline().is_some_and(|at| at <= cx.now) {
            self.forget_next_redirect();
        }
    }

    /// It may have been learned anew since, and then stays until that is over.
    fn forget_next_redirect(&mut self) {
        let Some((at, destination)) = self.redirects.learned.pop_first() else { return };
        if self.routes.exact(destination, 32).is_some_and(|route| route.expires == Some(at)) {
            self.routes.remove(destination, 32);
        }
    }
}
