//! Routes as users speak of them: where they lead, of what kind they are, and how they came to be.

use alloc::string::String;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::InterfaceName;

/// Where the packets of a route go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NextHop {
    /// To a router.
    Gateway(IpAddr),
    /// To hosts on the link of an interface.
    Interface(String),
}

/// What becomes of packets that a route applies to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RouteKind {
    /// They are sent to the next hop.
    #[default]
    Forward,
    /// They are refused: EHOSTUNREACH to our own programs, an ICMP error to others (RTF_REJECT).
    Reject,
    /// They vanish without a word (RTF_BLACKHOLE).
    Blackhole,
}

/// How a route came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RouteOrigin {
    /// With an address, whose network it leads to (RTF_CONNECTED).
    Connected,
    /// By hand (RTF_STATIC).
    Static,
    /// By a router that knew a better one (RTF_DYNAMIC).
    Redirect,
}

/// What can be said of a route beside where it leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteAttributes {
    /// What becomes of packets.
    pub kind: RouteKind,
    /// The greatest packet that its path carries, in bytes, 68 or more; the interface's MTU if absent.
    pub mtu: Option<u32>,
    /// How many routers are on its path, for whoever wants to know.
    pub hop_count: u32,
    /// Whether it is one more next hop of a route that is there already, so that flows are spread over all of them.
    pub multipath: bool,
}

/// One next hop of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteReport {
    /// Destination and length of its prefix.
    pub destination: (IpAddr, u8),
    /// The router, if there is one.
    pub gateway: Option<IpAddr>,
    /// The interface.
    pub interface: InterfaceName,
    /// What becomes of packets.
    pub kind: RouteKind,
    /// How it came to be.
    pub origin: RouteOrigin,
    /// The MTU that was set for it, in bytes.
    pub mtu: Option<u32>,
    /// How many routers are on its path.
    pub hop_count: u32,
    /// Seconds until it goes by itself.
    pub expires: Option<u32>,
}
