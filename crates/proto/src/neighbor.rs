//! What arp(8) and ndp(8) show of a neighbour.

use core::net::IpAddr;

use rumpnet_wire::ethernet;
use serde::{Deserialize, Serialize};

use crate::InterfaceName;

/// How far the resolution of an address has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NeighborState {
    /// Asked, not yet answered.
    Incomplete,
    /// Known and confirmed.
    Reachable,
    /// Known, not confirmed lately.
    Stale,
    /// Being confirmed.
    Probe,
    /// Asked without an answer.
    Failed,
    /// Set by hand; never expires.
    Permanent,
}

/// One neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighborReport {
    /// Its address.
    pub address: IpAddr,
    /// Its link address, once known.
    pub link_address: Option<ethernet::Address>,
    /// The interface it is on.
    pub interface: InterfaceName,
    /// How far resolution has come.
    pub state: NeighborState,
    /// Whether we answer for it (proxy ARP).
    pub published: bool,
    /// Nanoseconds until it expires, for those that do.
    pub expires_in_ns: Option<u64>,
    /// Packets that wait for it.
    pub waiting: u32,
}
