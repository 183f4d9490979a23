//! Every statistic of a kernel, and every reason for which it drops a packet.
//!
//! `netstat -s` and `ifconfig -v` print these; a capture of drops carries the reason's text. A kernel raises no counter
//! that is not here, and drops nothing without one.

use serde::{Deserialize, Serialize};

macro_rules! counters {
    ($(#[$meta:meta])* $name:ident { $($variant:ident $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum $name {
            $(#[doc = $text] $variant,)*
        }

        impl $name {
            /// All of them, in the order in which they are printed.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// What is counted, in words.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The symbol, as in the JSON reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),* }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.text())
            }
        }
    };
}

counters! {
    /// What a kernel counts besides drops.
    Counter {
        ArpRequestsReceived "ARP requests received";
        ArpRepliesReceived "ARP replies received";
        ArpRequestsSent "ARP requests sent";
        ArpRepliesSent "ARP replies sent";
        ArpProxied "ARP replies sent for published addresses";
        ArpProbesSent "ARP probes sent";
        ArpAnnouncementsSent "ARP announcements sent";
        ArpConflicts "address conflicts seen";
        ArpDefended "address conflicts defended against";
        ArpRefused "link addresses refused that contradict a permanent entry";
        ArpMoved "neighbours whose link address changed";
        OwnLinkAddressSeen "frames from a stranger using our link address";
        NeighborEvicted "neighbours evicted from a full table";
        IpReceived "IP packets received";
        IpDelivered "IP packets for this host";
        IpForeign "IP packets for others, taken for an any-address socket";
        IpSent "IP packets sent from this host";
        IpForwarded "IP packets forwarded";
        IpFragmentsReceived "IP fragments received";
        IpReassembled "IP packets reassembled";
        IpFragmented "IP packets fragmented";
        IpFragmentsSent "IP fragments sent";
        IpPathMtuLearned "IP paths found to be narrower than their link";
        IpPathMtuEvicted "IP paths forgotten for want of room before their time";
        IcmpReceived "ICMP messages received";
        IcmpSent "ICMP messages sent";
        IcmpEchoRequests "ICMP echo requests answered";
        IcmpEchoReplies "ICMP echo replies received";
        IcmpTimestampRequests "ICMP timestamp requests answered";
        IcmpMaskRequests "ICMP address mask requests answered";
        IcmpErrorsReceived "ICMP errors received";
        IcmpErrorsSent "ICMP errors sent";
        IcmpRedirectsSent "ICMP redirects sent";
        RedirectsObeyed "ICMP redirects obeyed";
        RedirectsEvicted "routes of redirects that went before their time";
        RawDelivered "IP packets delivered to a raw socket";
        RawSent "IP packets sent by raw sockets";
        IcmpSocketDelivered "ICMP echo replies delivered to an ICMP socket";
        IcmpSocketSent "ICMP echo requests sent by ICMP sockets";
        PacketSocketSent "frames sent by packet sockets";
        CaptureOverruns "packets that captures had no room for";
        SocketErrorsKept "errors kept with their causes for a socket";
        SocketErrorsLost "errors whose causes a socket had no room for";
        PortsExhausted "sockets for which no port or identifier was free";
        IpMulticastLooped "IP multicast packets looped back to ourselves";
        IpMulticastKept "IP multicast packets kept in the kernel by a time to live of 0";
        IgmpReceived "IGMP messages received";
        IgmpQueriesReceived "IGMP queries received";
        IgmpOlderQueriesReceived "IGMP queries received that are of version 1 or 2";
        IgmpQueriesOverflowed "IGMP queries answered for all sources, since they name too many";
        IgmpReportsReceived "IGMP reports of other hosts received";
        IgmpReportsSuppressed "IGMP reports not sent since another host's came first";
        IgmpReportsSent "IGMP reports sent";
        IgmpLeavesSent "IGMP leaves sent";
        UdpReceived "UDP datagrams received";
        UdpDelivered "UDP datagrams delivered to a socket";
        UdpSent "UDP datagrams sent";
        UdpBroadcastReceived "UDP broadcast or multicast datagrams received";
        TcpReceived "TCP segments received";
        TcpSent "TCP segments sent";
        TcpRetransmitted "TCP transmissions repeated";
        TcpTimeouts "TCP retransmission time-outs";
        TcpDuplicatesReported "TCP segments reported by peers to have come twice";
        TcpUndoneByEcho "TCP window reductions taken back for the echo of an older clock";
        TcpUndoneByDuplicates "TCP window reductions taken back for D-SACKs of all that was repeated";
        TcpUndoneByNewData "TCP window reductions taken back because new data arrived after a time-out";
        TcpConnecting "TCP connections begun";
        TcpConnected "TCP connections established that we began";
        TcpAccepted "TCP connections established that peers began";
        TcpResetsSent "TCP resets sent";
        TcpChallengesSent "TCP challenge acknowledgments sent";
        TcpChallengesSpared "TCP challenge acknowledgments not sent for their rate";
        TcpAnswersSpared "TCP segments that cannot be right not answered for their rate";
        TcpScoreboardFull "TCP transmissions held back for too many under way";
        TcpWritersHeldBack "TCP writers held back for want of memory";
        TcpPruned "TCP bytes given up that came before their turn";
        TcpUndelivered "TCP connections reset at the end with something undelivered";
        TcpTimeWaitsCut "TCP connections not kept in TIME-WAIT for want of room";
        TcpUnroutable "TCP segments without a way to their destination";
        TcpMarksReceived "TCP segments received with a mark of congestion";
        TcpEchoesReceived "TCP acknowledgments received that echo a mark of congestion";
        TcpReducedByMarks "TCP window reductions for marks of congestion";
        TcpUrgentReceived "TCP urgent pointers received that were new";
        TcpUrgentDisplaced "TCP urgent pointers that a later one displaced before their byte was read";
        TcpCookiesSent "TCP connection requests answered with a cookie";
        TcpCookiesAccepted "TCP connections established by a cookie";
        TcpCookiesRefused "TCP acknowledgments of a cookie that is wrong or old";
        TcpFlowsHeld "TCP connection requests to any address, held for a decision";
        TcpFlowsAccepted "TCP connection requests accepted after they were held";
        TcpFlowsReset "TCP connection requests reset after they were held";
        TcpFlowsDropped "TCP connection requests dropped after they were held";
        TcpFlowsExpired "TCP connection requests held for too long";
        TcpFlowsAbandoned "TCP connection requests that their peers took back while they were held";
        SegmentedInSoftware "super-frames segmented in software";
        ChecksummedInSoftware "checksums completed in software";
        CoalescedTrains "trains of segments merged on receipt";
        CoalescedSegments "segments merged into trains on receipt";
        MemoryPressure "times that socket buffers came under memory pressure";
        NoticesLost "notices lost because nobody took them";
        PassedSockets "sockets opened for other processes";
        PassedSocketsRefused "sockets refused to other processes for their limits";
    }
}

counters! {
    /// Why a packet was dropped.
    DropReason {
        LinkDown "interface is down";
        LinkNoPort "interface has no far end";
        LinkRunt "frame shorter than its link header";
        LinkOversize "frame longer than the MTU allows";
        LinkNotForUs "unicast frame for another station";
        LinkMulticastNotJoined "multicast frame for a group that was not joined";
        LinkSourceInvalid "frame with a group address as its source";
        LinkSourceOurs "frame with our own link address as its source";
        LinkUnknownProtocol "frame of a protocol that nobody speaks";
        LinkVlan "frame with a VLAN tag that nobody asked for";
        LinkNoCarrier "frame on an interface that is not plugged into its bus";
        LinkQueueFull "output queue full";
        LinkSendFailed "the host refused the frame";
        OffloadChecksumRange "offload header: checksum lies outside the frame";
        OffloadGsoSize "offload header: segment size is impossible";
        OffloadGsoKind "offload header: kind contradicts the protocol";
        OffloadSegments "offload header: more segments than a super-frame may have";
        ArpMalformed "malformed ARP packet";
        ArpSenderInvalid "ARP packet from an impossible sender";
        ArpNotForUs "ARP request for another host";
        ArpDisabled "ARP packet on an interface without ARP";
        NeighborQueueFull "packet replaced while waiting for address resolution";
        NeighborTableFull "neighbour table full";
        NeighborUnreachable "neighbour did not answer";
        Ipv4Truncated "IPv4 packet shorter than its header or length says";
        Ipv4Version "IPv4 frame with another version number";
        Ipv4HeaderLength "IPv4 header length out of range";
        Ipv4Checksum "IPv4 header checksum wrong";
        Ipv4SourceInvalid "IPv4 packet from an impossible source";
        Ipv4DestinationInvalid "IPv4 packet to an impossible destination";
        Ipv4NotForUs "IPv4 packet for another host, and forwarding is off";
        Ipv4NotForwardable "IPv4 packet for another host that no router passes on";
        Ipv4ReversePath "IPv4 packet whose source is not reached by the interface it came by";
        Ipv4Unroutable "IPv4 packet for another host to which no usable route leads";
        Ipv4TooLongToForward "IPv4 packet for another host that may not be fragmented and does not fit";
        Ipv4Reject "IPv4 packet for another host whose route refuses it";
        Ipv4Blackhole "IPv4 packet whose route is a black hole";
        Ipv4TtlExceeded "IPv4 packet whose time to live ran out on its way";
        Ipv4SourceRoute "IPv4 packet with a source route";
        Ipv4Options "IPv4 packet with malformed options";
        Ipv4GroupNotJoined "IPv4 multicast packet for a group that was not joined";
        Ipv4GroupSourceFiltered "IPv4 multicast packet from a source that nobody wants";
        Ipv4MulticastNotForwarded "IPv4 multicast packet that only a multicast router would pass on";
        Ipv4UnknownProtocol "IPv4 packet for a protocol that nobody speaks";
        Ipv4NoRoute "no route to the destination";
        Ipv4MessageSize "packet larger than the MTU, and may not be fragmented";
        Ipv4NoAddress "no usable source address";
        Ipv4FragmentMalformed "IPv4 fragment of an impossible size or place";
        Ipv4FragmentDuplicate "IPv4 fragment that was here before";
        Ipv4FragmentOverlap "IPv4 fragments that overlap";
        Ipv4FragmentLimit "IPv4 fragments beyond the limits";
        Ipv4FragmentTimeout "IPv4 packets never completed by their fragments";
        Ipv6Unsupported "IPv6 packet, and IPv6 is not spoken here";
        IcmpTruncated "ICMP message too short";
        IcmpChecksum "ICMP checksum wrong";
        IcmpBroadcastEcho "ICMP echo request to a broadcast address";
        IcmpUnknownType "ICMP message of an unknown type";
        IcmpQueryRefused "ICMP request for the time or a mask, which is not told";
        IcmpRedirectRefused "ICMP redirect that is not to be believed";
        IcmpNoSocket "ICMP message that no socket waits for";
        IcmpRateLimited "ICMP errors not sent for their rate";
        RawSocketFull "raw or ICMP socket buffer full";
        RawMemoryFull "packet for a raw or ICMP socket for which there was no memory";
        IgmpTruncated "IGMP message of an impossible length";
        IgmpChecksum "IGMP checksum wrong";
        IgmpTtl "IGMP message whose time to live is not 1";
        IgmpNoRouterAlert "IGMP message without the router alert option";
        IgmpDestinationInvalid "IGMP message to an impossible destination";
        IgmpGroupInvalid "IGMP message about what is no group";
        IgmpSourceInvalid "IGMP report from a host that is not on the link";
        IgmpForRouters "IGMP message for routers";
        IgmpUnknownType "IGMP message of an unknown type";
        UdpTruncated "UDP datagram shorter than its header";
        UdpLength "UDP length field contradicts the packet";
        UdpChecksum "UDP checksum wrong";
        UdpNoSocket "UDP datagram to a port without a socket";
        UdpSourceFiltered "UDP datagram to a group that no socket at its port wants from this source";
        UdpSocketFull "UDP socket buffer full";
        UdpMemoryFull "UDP datagram for which there was no memory";
        TcpToMany "TCP segment to a group or a broadcast address";
        TcpMalformed "TCP segment whose header makes no sense";
        TcpChecksum "TCP checksum wrong";
        TcpNoConnection "TCP segment of no connection";
        TcpUnexpected "TCP segment that the state has no use for";
        TcpAckUnacceptable "TCP acknowledgment of what was never sent";
        TcpResetUnacceptable "TCP reset at a number that is not the expected one";
        TcpSynUnacceptable "TCP SYN on an established connection";
        TcpTimestampOld "TCP segment with an old timestamp, or without the one that was agreed on";
        TcpDuplicate "TCP segment that came before";
        TcpOutOfWindow "TCP segment outside of the window";
        TcpClosed "TCP data that nobody will read";
        TcpReassemblyFull "TCP segment that makes too many gaps";
        TcpMemoryFull "TCP data for which there was no memory";
        TcpListenQueueFull "TCP connection request to a full listener";
        TcpFlowHeld "TCP connection request repeated while it is held";
        EchoSocketFull "echo socket buffer full";
        LoopbackQueueFull "loopback queue full";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_reasons_share_a_text() {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            assert!(DropReason::ALL[..index].iter().all(|other| other.text() != reason.text()));
        }
    }
}
