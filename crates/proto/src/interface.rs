//! What an interface is: flags, capabilities, addresses, counters, and the report a tool prints.

use alloc::vec::Vec;
use core::net::IpAddr;

use bitflags::bitflags;
use rumpnet_wire::ethernet;
use serde::{Deserialize, Serialize};

use crate::{DropReason, InterfaceName};

bitflags! {
    /// Interface flags with NetBSD's values (net/if.h, ifconfig(8)).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
    pub struct InterfaceFlags: u32 {
        /// Administratively up.
        const UP = 0x0001;
        /// The link can broadcast.
        const BROADCAST = 0x0002;
        /// Debugging is on.
        const DEBUG = 0x0004;
        /// A loopback.
        const LOOPBACK = 0x0008;
        /// A point-to-point link.
        const POINTOPOINT = 0x0010;
        /// No trailers.
        const NOTRAILERS = 0x0020;
        /// Resources are allocated.
        const RUNNING = 0x0040;
        /// No address resolution.
        const NOARP = 0x0080;
        /// Receives every frame.
        const PROMISC = 0x0100;
        /// Receives every multicast frame.
        const ALLMULTI = 0x0200;
        /// Transmission is under way.
        const OACTIVE = 0x0400;
        /// Does not hear its own transmissions.
        const SIMPLEX = 0x0800;
        /// Defined by the link layer.
        const LINK0 = 0x1000;
        /// Defined by the link layer.
        const LINK1 = 0x2000;
        /// Defined by the link layer.
        const LINK2 = 0x4000;
        /// Supports multicast.
        const MULTICAST = 0x8000;
    }
}

impl InterfaceFlags {
    /// The flags that a user may not change (IFF_CANTCHANGE).
    pub const CANTCHANGE: Self = Self::BROADCAST
        .union(Self::POINTOPOINT)
        .union(Self::RUNNING)
        .union(Self::OACTIVE)
        .union(Self::SIMPLEX)
        .union(Self::MULTICAST)
        .union(Self::ALLMULTI)
        .union(Self::PROMISC)
        .union(Self::LOOPBACK);
}

bitflags! {
    /// Interface capabilities with NetBSD's values (IFCAP_*, net/if.h).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
    pub struct Capabilities: u32 {
        /// TCP segmentation offload over IPv4.
        const TSO4 = 0x0_0080;
        /// IPv4 header checksum, receive.
        const IP4CSUM_RX = 0x0_0100;
        /// IPv4 header checksum, send.
        const IP4CSUM_TX = 0x0_0200;
        /// TCP over IPv4 checksum, receive.
        const TCP4CSUM_RX = 0x0_0400;
        /// TCP over IPv4 checksum, send.
        const TCP4CSUM_TX = 0x0_0800;
        /// UDP over IPv4 checksum, receive.
        const UDP4CSUM_RX = 0x0_1000;
        /// UDP over IPv4 checksum, send.
        const UDP4CSUM_TX = 0x0_2000;
        /// TCP over IPv6 checksum, receive.
        const TCP6CSUM_RX = 0x0_4000;
        /// TCP over IPv6 checksum, send.
        const TCP6CSUM_TX = 0x0_8000;
        /// UDP over IPv6 checksum, receive.
        const UDP6CSUM_RX = 0x1_0000;
        /// UDP over IPv6 checksum, send.
        const UDP6CSUM_TX = 0x2_0000;
        /// TCP segmentation offload over IPv6.
        const TSO6 = 0x4_0000;
        /// Large receive offload.
        const LRO = 0x8_0000;
        /// UDP segmentation offload over IPv4 (ours; NetBSD has no such bit).
        const USO4 = 0x10_0000;
        /// UDP segmentation offload over IPv6 (ours; NetBSD has no such bit).
        const USO6 = 0x20_0000;
    }
}

bitflags! {
    /// The state of an interface address (IN_IFF_* and IN6_IFF_*; their numbers differ by family, so tools map them).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
    pub struct AddressFlags: u32 {
        /// Conflict detection is under way.
        const TENTATIVE = 0x01;
        /// Another host has it.
        const DUPLICATED = 0x02;
        /// The link is gone.
        const DETACHED = 0x04;
        /// Anycast (IPv6).
        const ANYCAST = 0x08;
        /// Deprecated (IPv6).
        const DEPRECATED = 0x10;
        /// No conflict detection (IPv6).
        const NODAD = 0x20;
        /// Made by autoconfiguration (IPv6).
        const AUTOCONF = 0x40;
        /// Temporary (IPv6).
        const TEMPORARY = 0x80;
    }
}

/// Whether the other end of the link is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LinkState {
    /// It cannot be told.
    Unknown,
    /// The other end is absent or down.
    Down,
    /// The other end is there.
    Up,
}

/// Whether an interface that stands on a bus is plugged into it (ifconfig(8), `media`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Media {
    /// It is, as soon as it has a link string.
    #[default]
    Auto,
    /// It is not: it has no carrier, sends nothing and hears nothing.
    None,
}

/// What only an interface has that stands on a bus.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusReport {
    /// Which bus: `mem:NAME`, or the path of a file; none before it was given one.
    pub link_string: Option<alloc::string::String>,
    /// Whether it is plugged in.
    pub media: Media,
}

/// What kind of link an interface has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LinkKind {
    /// Ethernet with a far end outside (`virt`).
    Ethernet,
    /// IP packets without Ethernet, with a far end outside (`tun`).
    Ip,
    /// The loopback (`lo`).
    Loopback,
}

/// One address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressReport {
    /// The address.
    pub address: IpAddr,
    /// The length of its prefix, in bits.
    pub prefix_len: u8,
    /// The broadcast address, on links that have one.
    pub broadcast: Option<IpAddr>,
    /// The far end of a point-to-point link.
    pub peer: Option<IpAddr>,
    /// Its state.
    pub flags: AddressFlags,
}

/// What has passed through an interface since it was made or since its counters were reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceCounters {
    /// Packets received; a super-frame counts as the segments it carries.
    pub input_packets: u64,
    /// Bytes received, with link headers.
    pub input_bytes: u64,
    /// Multicast packets received.
    pub input_multicasts: u64,
    /// Packets received in error.
    pub input_errors: u64,
    /// Packets dropped on input for want of room.
    pub input_queue_drops: u64,
    /// Packets received for a protocol that nobody speaks.
    pub unknown_protocol: u64,
    /// Packets sent; a super-frame counts as the segments it carries.
    pub output_packets: u64,
    /// Bytes sent, with link headers.
    pub output_bytes: u64,
    /// Multicast packets sent.
    pub output_multicasts: u64,
    /// Packets that could not be sent.
    pub output_errors: u64,
    /// Collisions; never raised by a link of ours, kept for the layout of ifconfig(8).
    pub collisions: u64,
}

/// Everything that ifconfig(8) shows of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceReport {
    /// Its name.
    pub name: InterfaceName,
    /// Its index; scope identifiers use it.
    pub index: u32,
    /// Its kind of link.
    pub kind: LinkKind,
    /// Its flags.
    pub flags: InterfaceFlags,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Its metric.
    pub metric: u32,
    /// What the link could do.
    pub capabilities: Capabilities,
    /// What is switched on of it.
    pub enabled: Capabilities,
    /// The link address in use.
    pub link_address: Option<ethernet::Address>,
    /// Further link addresses, not in use.
    pub inactive_link_addresses: Vec<ethernet::Address>,
    /// Whether the other end is there.
    pub link_state: LinkState,
    /// Its addresses, in the order in which they were given.
    pub addresses: Vec<AddressReport>,
    /// What has passed.
    pub counters: InterfaceCounters,
    /// What was dropped on it, by reason; only reasons that occurred.
    pub drops: Vec<(DropReason, u64)>,
    /// What the host dropped because we did not read its end in time, where the host tells.
    pub host_drops: Option<u64>,
    /// The name of the host's end, such as `tap0`.
    pub host_end: Option<alloc::string::String>,
    /// Its bus, if it is of a kind that stands on one.
    pub bus: Option<BusReport>,
}
