//! Interfaces of the host as rtnetlink(7) describes them.

use super::message::{Message, attributes, number, text_of, u32_of};

/// Octets of `struct ifinfomsg`.
pub(super) const IFINFO: usize = 16;

pub(super) const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
pub(super) const IFLA_TXQLEN: u16 = 13;
pub(super) const IFLA_LINKINFO: u16 = 18;
const IFLA_STATS64: u16 = 23;
pub(super) const IFLA_INFO_KIND: u16 = 1;
pub(super) const IFLA_INFO_DATA: u16 = 2;

/// Where the counters stand in `struct rtnl_link_stats64`, in numbers of eight octets.
const DROPPED_RECEIVING: usize = 6;
const DROPPED_SENDING: usize = 7;

/// An interface of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostLink {
    /// Its index, which no other has at the time.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The kind of virtual interface it is: `tun`, `veth`, `bridge`; none for hardware.
    pub kind: Option<String>,
    /// Brought up by somebody.
    pub is_up: bool,
    /// Up with a carrier: frames can pass.
    pub has_carrier: bool,
    /// The MTU in octets.
    pub mtu: u32,
    /// The queue length in frames.
    pub queue_len: u32,
    /// The link address; zeros if it has none of six octets.
    pub link_address: [u8; 6],
    /// The index of the bridge, bond or other interface that it is a part of.
    pub master: Option<u32>,
    /// Frames dropped before its far end took them.
    pub tx_dropped: u64,
    /// Frames dropped before the host took them.
    pub rx_dropped: u64,
    /// Of a tap or tun, what only those have.
    pub tun: Option<TunLink>,
}

/// What the host tells of a tap or tun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunLink {
    /// A tap, not a tun.
    pub is_tap: bool,
    /// It stays without holders.
    pub is_persistent: bool,
    /// It may have several holders.
    pub is_multi_queue: bool,
    /// How many of its queues are held, of a multi-queue one.
    pub queues: u32,
    /// It was opened with a header in front of each frame.
    pub has_header: bool,
    /// It was opened with the driver's own four octets in front of each frame.
    pub has_packet_information: bool,
    /// The user who may attach to it; none: anyone who may open the node.
    pub owner: Option<u32>,
    /// The group that may attach to it.
    pub group: Option<u32>,
}

impl HostLink {
    /// What an `RTM_NEWLINK` or `RTM_DELLINK` says.
    pub(super) fn parse(message: &Message<'_>) -> Option<Self> {
        let flags = i32::from_ne_bytes(number(message.body, 8)?);
        let mut link = Self {
            index: u32::from_ne_bytes(number(message.body, 4)?),
            is_up: flags & libc::IFF_UP != 0,
            has_carrier: flags & libc::IFF_UP != 0 && flags & libc::IFF_LOWER_UP != 0,
            ..Self::default()
        };
        message.attributes(IFINFO).for_each(|(kind, value)| link.take(kind, value));
        Some(link)
    }

    fn take(&mut self, kind: u16, value: &[u8]) {
        match kind {
            IFLA_ADDRESS => self.link_address = number(value, 0).unwrap_or_default(),
            IFLA_IFNAME => self.name = text_of(value),
            IFLA_MTU => self.mtu = u32_of(value),
            IFLA_MASTER => self.master = Some(u32_of(value)),
            IFLA_TXQLEN => self.queue_len = u32_of(value),
            IFLA_STATS64 => {
                let counter = |place: usize| number(value, place * 8).map_or(0, u64::from_ne_bytes);
                (self.rx_dropped, self.tx_dropped) = (counter(DROPPED_RECEIVING), counter(DROPPED_SENDING));
            }
            IFLA_LINKINFO => self.take_kind(value),
            _ => {}
        }
    }

    /// The kind comes before its own attributes.
    fn take_kind(&mut self, information: &[u8]) {
        for (kind, value) in attributes(information) {
            match kind {
                IFLA_INFO_KIND => self.kind = Some(text_of(value)),
                IFLA_INFO_DATA if self.kind.as_deref() == Some("tun") => {
                    self.tun = Some(TunLink::parse(value))
                }
                _ => {}
            }
        }
    }
}

impl TunLink {
    /// The attributes of `if_link.h` that begin with `IFLA_TUN_`.
    fn parse(data: &[u8]) -> Self {
        let mut tun = Self::default();
        for (kind, value) in attributes(data) {
            let is_set = value.first().is_some_and(|byte| *byte != 0);
            match kind {
                1 => tun.owner = Some(u32_of(value)),
                2 => tun.group = Some(u32_of(value)),
                3 => tun.is_tap = value.first() == Some(&(libc::IFF_TAP as u8)),
                4 => tun.has_packet_information = is_set,
                5 => tun.has_header = is_set,
                6 => tun.is_persistent = is_set,
                7 => tun.is_multi_queue = is_set,
                8 => tun.queues = u32_of(value),
                _ => {}
            }
        }
        tun
    }
}
