//! Socket calls about multicast groups (ip(7)), the same for every kind of socket that takes them.

use core::net::Ipv4Addr;

use rumpnet_proto::{Errno, GroupChange, GroupInterface, MulticastOption, MulticastSettings, SourceFilter};

use crate::{SocketId, Stack, endpoint::Endpoint, time::Instant};

impl Stack {
    /// Changes a socket's membership in a group: IP_ADD_MEMBERSHIP and its kin, IP_MSFILTER.
    ///
    /// EINVAL for what is no group or contradicts the filter there is, ENODEV without an interface, EADDRINUSE if joined already, EADDRNOTAVAIL if not
    /// joined or for a source that is there or not, ENOBUFS beyond a limit, EPROTO of a TCP socket. What is refused changes nothing.
    pub fn change_group(
        &mut self,
        now: Instant,
        socket: Endpoint,
        change: &GroupChange,
    ) -> Result<(), Errno> {
        self.enter(now);
        let id = self.check_member(socket)?;
        let Self { cx, link, inet, .. } = self;
        let changed = inet.change_membership(cx, link, id, change);
        self.leave();
        changed
    }

    /// getsockopt(2) of IP_MSFILTER: what a socket wants of a group. EINVAL, ENODEV, EADDRNOTAVAIL if it is not in it.
    pub fn group_filter(
        &self,
        socket: Endpoint,
        group: Ipv4Addr,
        interface: GroupInterface,
    ) -> Result<SourceFilter, Errno> {
        let id = self.check_member(socket)?;
        self.inet.source_filter(&self.link, id, group, interface)
    }

    /// setsockopt(2) of IP_MULTICAST_IF, IP_MULTICAST_TTL, IP_MULTICAST_LOOP and IP_MULTICAST_ALL. EADDRNOTAVAIL for an interface that is not there, EPROTO of
    /// a TCP socket.
    pub fn set_multicast_option(&mut self, socket: Endpoint, option: MulticastOption) -> Result<(), Errno> {
        let id = self.check_member(socket)?;
        self.inet.set_multicast_option(&self.link, id, option)
    }

    /// getsockopt(2) of these options.
    pub fn multicast_settings(&self, socket: Endpoint) -> Result<MulticastSettings, Errno> {
        self.check_member(socket).map(|id| self.inet.multicast_settings(id))
    }

    /// A socket that is open, and of a kind that has to do with groups.
    fn check_member(&self, socket: Endpoint) -> Result<SocketId, Errno> {
        match socket {
            Endpoint::Udp(id) | Endpoint::Raw(id) | Endpoint::Icmp(id) if self.sockets.contains(id) => Ok(id),
            Endpoint::Udp(_) | Endpoint::Raw(_) | Endpoint::Icmp(_) => Err(Errno::BadF),
            Endpoint::Tcp(_) | Endpoint::Packet(_) => Err(Errno::Proto),
        }
    }
}
