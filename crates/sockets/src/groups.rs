//! Multicast for sockets of every shape: `std`'s and tokio's methods, and for what these have not those of the socket2 crate.

/// The methods about groups of every datagram socket; the field `udp` has what they stand on.
macro_rules! group_calls {
    () => {
        /// Joins a group by the interface that has an address, or for an unspecified one by that of the route to it (IP_ADD_MEMBERSHIP).
        ///
        /// InvalidInput for what is no group, AddrInUse if joined already, ENODEV without such an interface, ENOBUFS beyond the limit.
        pub fn join_multicast_v4(
            &self,
            group: impl core::borrow::Borrow<core::net::Ipv4Addr>,
            interface: impl crate::groups::Named,
        ) -> std::io::Result<()> {
            self.change_group(*group.borrow(), interface, rumpnet_proto::Membership::Join)
        }

        /// Leaves a group (IP_DROP_MEMBERSHIP). AddrNotAvailable if it is not joined.
        pub fn leave_multicast_v4(
            &self,
            group: impl core::borrow::Borrow<core::net::Ipv4Addr>,
            interface: impl crate::groups::Named,
        ) -> std::io::Result<()> {
            self.change_group(*group.borrow(), interface, rumpnet_proto::Membership::Leave)
        }

        /// Joins a group as far as one source is concerned (IP_ADD_SOURCE_MEMBERSHIP).
        ///
        /// AddrNotAvailable if it is joined so already, InvalidInput if all but some sources are wanted, ENOBUFS beyond the limit.
        pub fn join_ssm_v4(
            &self,
            source: &core::net::Ipv4Addr,
            group: &core::net::Ipv4Addr,
            interface: impl crate::groups::Named,
        ) -> std::io::Result<()> {
            self.change_group(*group, interface, rumpnet_proto::Membership::JoinSource(*source))
        }

        /// Leaves a group as far as one source is concerned (IP_DROP_SOURCE_MEMBERSHIP). AddrNotAvailable if it is not joined so.
        pub fn leave_ssm_v4(
            &self,
            source: &core::net::Ipv4Addr,
            group: &core::net::Ipv4Addr,
            interface: impl crate::groups::Named,
        ) -> std::io::Result<()> {
            self.change_group(*group, interface, rumpnet_proto::Membership::LeaveSource(*source))
        }

        /// Hears no more of one source in a group that is joined (IP_BLOCK_SOURCE). AddrNotAvailable if it is blocked already.
        pub fn block_source_v4(
            &self,
            source: &core::net::Ipv4Addr,
            group: &core::net::Ipv4Addr,
            interface: impl crate::groups::Named,
        ) -> std::io::Result<()> {
            self.change_group(*group, interface, rumpnet_proto::Membership::Block(*source))
        }

        /// Hears a source again that was blocked (IP_UNBLOCK_SOURCE). AddrNotAvailable if it is not.
        pub fn unblock_source_v4(
            &self,
            source: &core::net::Ipv4Addr,
            group: &core::net::Ipv4Addr,
            interface: impl crate::groups::Named,
        ) -> std::io::Result<()> {
            self.change_group(*group, interface, rumpnet_proto::Membership::Unblock(*source))
        }

        /// Sets which sources of a joined group are wanted; none leaves it (IP_MSFILTER). InvalidInput if it is not joined, ENOBUFS for too many.
        pub fn set_source_filter_v4(
            &self,
            group: &core::net::Ipv4Addr,
            interface: impl crate::groups::Named,
            filter: rumpnet_proto::SourceFilter,
        ) -> std::io::Result<()> {
            self.change_group(*group, interface, rumpnet_proto::Membership::Filter(filter))
        }

        /// Which sources of a joined group are wanted (IP_MSFILTER). AddrNotAvailable if it is not joined.
        pub fn source_filter_v4(
            &self,
            group: &core::net::Ipv4Addr,
            interface: impl crate::groups::Named,
        ) -> std::io::Result<rumpnet_proto::SourceFilter> {
            self.udp.group_filter(*group, interface.interface())
        }

        /// The interface by which packets to groups leave, and if it is named by an address, from there; unspecified: that of the route
        /// (IP_MULTICAST_IF). AddrNotAvailable without such an interface.
        pub fn set_multicast_if_v4(&self, interface: impl crate::groups::Named) -> std::io::Result<()> {
            self.set_multicast_option(rumpnet_proto::MulticastOption::Interface(interface.interface()))
        }

        /// The interface chosen for packets to groups, if one was.
        pub fn multicast_if_v4(&self) -> std::io::Result<rumpnet_proto::GroupInterface> {
            let settings = self.multicast_settings()?;
            let by_index = settings.interface.map(rumpnet_proto::GroupInterface::Index);
            let chosen = settings.source.map(rumpnet_proto::GroupInterface::Address).or(by_index);
            Ok(chosen.unwrap_or_default())
        }

        /// The time to live of packets to groups, 1 unless it is set; with 0 they do not leave the kernel (IP_MULTICAST_TTL). InvalidInput above 255.
        pub fn set_multicast_ttl_v4(&self, ttl: u32) -> std::io::Result<()> {
            let ttl = u8::try_from(ttl).map_err(|_| N::Udp::error(rumpnet_proto::Errno::Inval))?;
            self.set_multicast_option(rumpnet_proto::MulticastOption::Ttl(ttl))
        }

        /// The time to live of packets to groups.
        pub fn multicast_ttl_v4(&self) -> std::io::Result<u32> {
            Ok(self.multicast_settings()?.ttl.into())
        }

        /// Whether a kernel that is itself in a group that the socket sends to gets a copy (IP_MULTICAST_LOOP).
        pub fn set_multicast_loop_v4(&self, loops: bool) -> std::io::Result<()> {
            self.set_multicast_option(rumpnet_proto::MulticastOption::Loop(loops))
        }

        /// Whether it gets one.
        pub fn multicast_loop_v4(&self) -> std::io::Result<bool> {
            Ok(self.multicast_settings()?.loops)
        }

        /// Whether the socket hears groups that it has not joined, but another socket of its kernel has (IP_MULTICAST_ALL).
        pub fn set_multicast_all_v4(&self, all: bool) -> std::io::Result<()> {
            self.set_multicast_option(rumpnet_proto::MulticastOption::All(all))
        }

        /// Whether it does.
        pub fn multicast_all_v4(&self) -> std::io::Result<bool> {
            Ok(self.multicast_settings()?.all)
        }

        fn change_group(
            &self,
            group: core::net::Ipv4Addr,
            interface: impl crate::groups::Named,
            membership: rumpnet_proto::Membership,
        ) -> std::io::Result<()> {
            let change = rumpnet_proto::GroupChange { group, interface: interface.interface(), membership };
            self.udp.change_group(&change)
        }

        fn set_multicast_option(&self, option: rumpnet_proto::MulticastOption) -> std::io::Result<()> {
            self.udp.set_multicast_option(option)
        }

        fn multicast_settings(&self) -> std::io::Result<rumpnet_proto::MulticastSettings> {
            self.udp.multicast_settings()
        }
    };
}

use core::net::Ipv4Addr;

use rumpnet_proto::GroupInterface;

/// What names the interface of a membership: one of its addresses, or a [`GroupInterface`].
pub trait Named {
    /// The interface.
    fn interface(&self) -> GroupInterface;
}

impl Named for Ipv4Addr {
    fn interface(&self) -> GroupInterface {
        (*self).into()
    }
}

impl Named for GroupInterface {
    fn interface(&self) -> GroupInterface {
        *self
    }
}

impl<T: Named> Named for &T {
    fn interface(&self) -> GroupInterface {
        (*self).interface()
    }
}
