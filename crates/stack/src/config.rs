//! The limits of a kernel, given at boot.
//!
//! Every queue, table and buffer of the stack has its limit here; two presets suit small machines and servers.
//! [`Config::bytes`] says how much of it packets may pin in the shared queues, one port and all sockets; captures are of
//! the sockets' memory, and further ports come on top, each with its own limit.

use core::fmt;

use crate::{memory::MemoryLimits, time::Duration};

/// What a kernel may use, and how it behaves until a sysctl says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Interfaces, `lo0` included.
    pub interfaces: u32,
    /// Addresses of all interfaces together.
    pub addresses: u32,
    /// Routes.
    pub routes: u32,
    /// Neighbours.
    pub neighbors: u32,
    /// Packets that wait for one neighbour.
    pub neighbor_queue: u32,
    /// Bytes that wait for all neighbours together.
    pub neighbor_queue_bytes: u32,
    /// Destinations whose path MTU is remembered.
    pub path_mtus: u32,
    /// Multicast groups of all interfaces together, each as often as there are interfaces by which it is joined.
    pub groups: u32,
    /// Groups that one socket is in at most (net.inet.igmp.max_memberships, IP_MAX_MEMBERSHIPS).
    pub memberships: u32,
    /// Sources that one socket names of one group at most (net.inet.igmp.max_msf), and that a pending answer to a query remembers.
    pub group_sources: u32,
    /// Sockets.
    pub sockets: u32,
    /// Raw IP sockets, each of which is asked about each packet of its protocol.
    pub raw_sockets: u32,
    /// Echo sessions, of ping(8) and traceroute(8).
    pub echo_sessions: u32,
    /// Requests that an echo session remembers for their replies, and replies that it keeps for its reader.
    pub echo_window: u32,
    /// Receive buffer of a datagram socket, in bytes of memory (net.inet.udp.recvspace).
    pub udp_receive_bytes: u32,
    /// Send buffer of a datagram socket, in bytes (net.inet.udp.sendspace).
    pub udp_send_bytes: u32,
    /// Receive buffer of a TCP connection to begin with, in bytes; it grows with what its reader drains (net.inet.tcp.recvspace).
    pub tcp_receive_bytes: u32,
    /// Send buffer of a TCP connection to begin with, in bytes (net.inet.tcp.sendspace).
    pub tcp_send_bytes: u32,
    /// What it grows to with the path's window, in bytes (net.inet.tcp.sendbuf_max). As much as the greatest window of a peer, so that on a long
    /// path it is never the sender's buffer that limits; little of it is used on a short one.
    pub tcp_send_most_bytes: u32,
    /// Whether data is paced, not only where SO_MAX_PACING_RATE says so (net.inet.tcp.pacing).
    pub tcp_pacing: bool,
    /// What the buffers of all sockets and captures together may hold (net.inet.tcp.mem_low, mem_pressure and mem_max).
    pub memory: MemoryLimits,
    /// Who may ask for explicit congestion notification (net.inet.tcp.ecn.enable).
    pub tcp_ecn: EcnMode,
    /// Frames that wait at one port (ifq_maxlen).
    pub port_queue: u32,
    /// Bytes that wait at one port.
    pub port_queue_bytes: u32,
    /// Fragments' bytes in all datagrams being put together.
    pub fragment_bytes: u32,
    /// Datagrams being put together (net.inet.ip.maxfragpackets).
    pub fragment_datagrams: u32,
    /// Datagrams of one sender among them.
    pub fragment_datagrams_per_peer: u32,
    /// Captures and packet sockets open at once.
    pub captures: u32,
    /// Packets a capture holds until its reader takes them.
    pub capture_queue: u32,
    /// Bytes that a capture holds until its reader takes them; they are of [`Self::memory`].
    pub capture_bytes: u32,
    /// Events that a monitor of routes holds until its reader takes them.
    pub monitor_queue: u32,
    /// Default time to live (net.inet.ip.ttl).
    pub ttl: u8,
    /// Probes of conflict detection; 0 does without (net.inet.ip.dad_count).
    pub dad_count: u8,
    /// Whether an address may be used while conflict detection runs (net.inet.ip.dad_optimistic).
    pub dad_optimistic: bool,
    /// How long a neighbour is believed (net.inet.arp.keep).
    pub neighbor_lifetime: Duration,
    /// ICMP errors sent per second (net.inet.icmp.errppslimit).
    pub icmp_errors_per_second: u32,
    /// The same to one peer (net.inet.icmp.errpplimit).
    pub icmp_errors_per_peer: u32,
    /// What ICMP errors quote of a packet behind its IP header, in bytes (net.inet.icmp.returndatabytes); never more than fits 576 bytes.
    pub icmp_return_bytes: u16,
    /// Whether timestamp requests are answered (net.inet.icmp.tstamprepl).
    pub icmp_timestamp_reply: bool,
    /// Whether address mask requests are answered (net.inet.icmp.maskrepl).
    pub icmp_mask_reply: bool,
    /// Whether redirects of our routers are obeyed (net.inet.icmp.rediraccept).
    pub accept_redirects: bool,
    /// For how many seconds (net.inet.icmp.redirtimeout).
    pub redirect_lifetime: u32,
    /// Whether echo requests to broadcast addresses are answered (net.inet.icmp.bmcastecho).
    pub icmp_broadcast_echo: bool,
    /// Whether the MTU of paths is looked for and remembered: TCP's packets bear DF, and ICMP is believed (net.inet.ip.mtudisc).
    pub mtu_discovery: bool,
    /// For how many seconds a path is believed to be narrow (net.inet.ip.mtudisctimeout).
    pub mtu_discovery_lifetime: u32,
    /// Whether packets for other hosts are passed on (net.inet.ip.forwarding).
    pub forwarding: bool,
    /// Whether senders hear of better routers on their own link (net.inet.ip.redirect).
    pub redirects: bool,
    /// Whether broadcasts to a network of ours are passed on from other networks (net.inet.ip.directed-broadcast).
    pub directed_broadcast: bool,
    /// Which sources are believed (net.inet.ip.rpfilter).
    pub reverse_path: ReversePath,
}

/// Explicit congestion notification of TCP, by the numbers of Linux's tcp_ecn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EcnMode {
    /// Nobody: our SYNs do not ask, and a peer's that do are not agreed with.
    Off,
    /// Both sides.
    Ask,
    /// Peers alone.
    #[default]
    Agree,
}

/// Whether a packet's source must be reached by the interface that it came by (RFC 3704).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReversePath {
    /// Any source is believed.
    #[default]
    Off,
    /// The best route to the source must lead by that interface.
    Strict,
    /// There must be a route to the source.
    Loose,
}

impl Config {
    /// For a machine with little memory, or for thousands of kernels in one process.
    pub const fn tiny() -> Self {
        Self {
            interfaces: 8,
            addresses: 32,
            routes: 64,
            neighbors: 64,
            neighbor_queue: 3,
            neighbor_queue_bytes: 16 * 1024,
            path_mtus: 16,
            groups: 64,
            memberships: 20,
            group_sources: 10,
            sockets: 64,
            raw_sockets: 16,
            echo_sessions: 64,
            echo_window: 256,
            udp_receive_bytes: 32 * 1024,
            udp_send_bytes: 32 * 1024,
            tcp_receive_bytes: 32 * 1024,
            tcp_send_bytes: 32 * 1024,
            tcp_send_most_bytes: 256 * 1024,
            memory: MemoryLimits::up_to(8 * 1024 * 1024),
            port_queue: 64,
            port_queue_bytes: 128 * 1024,
            fragment_bytes: 128 * 1024,
            fragment_datagrams: 8,
            fragment_datagrams_per_peer: 4,
            captures: 16,
            capture_queue: 64,
            capture_bytes: 256 * 1024,
            monitor_queue: 64,
            ..Self::server()
        }
    }

    /// For a host of a lab, of which there are thousands in one process: as [`Self::tiny`], with room for the routes and neighbours of a
    /// router, and without probes for addresses, which whoever planned the lab has given once each.
    pub const fn lab() -> Self {
        Self {
            interfaces: 1024,
            addresses: 4096,
            routes: 65_536,
            neighbors: 16_384,
            neighbor_queue: 100,
            neighbor_queue_bytes: 256 * 1024,
            path_mtus: 64,
            sockets: 1024,
            port_queue: 256,
            port_queue_bytes: 512 * 1024,
            capture_queue: 4096,
            capture_bytes: 1024 * 1024,
            dad_count: 0,
            ..Self::tiny()
        }
    }

    /// For a server; the default.
    pub const fn server() -> Self {
        Self {
            interfaces: 4096,
            addresses: 65_536,
            routes: 2_000_000,
            neighbors: 8192,
            neighbor_queue: 100,
            neighbor_queue_bytes: 4 * 1024 * 1024,
            path_mtus: 4096,
            groups: 65_536,
            memberships: 4095,
            group_sources: 128,
            sockets: 2_000_000,
            raw_sockets: 1024,
            echo_sessions: 1024,
            echo_window: 1024,
            udp_receive_bytes: 2 * 1024 * 1024,
            udp_send_bytes: 512 * 1024,
            tcp_receive_bytes: 1024 * 1024,
            tcp_send_bytes: 256 * 1024,
            tcp_send_most_bytes: 16 * 1024 * 1024,
            memory: MemoryLimits::up_to(1024 * 1024 * 1024),
            tcp_ecn: EcnMode::Agree,
            tcp_pacing: false,
            port_queue: 1024,
            port_queue_bytes: 4 * 1024 * 1024,
            fragment_bytes: 4 * 1024 * 1024,
            fragment_datagrams: 512,
            fragment_datagrams_per_peer: 64,
            captures: 64,
            capture_queue: 4096,
            capture_bytes: 16 * 1024 * 1024,
            monitor_queue: 4096,
            ttl: 64,
            dad_count: 3,
            dad_optimistic: true,
            neighbor_lifetime: Duration::from_secs(1200),
            icmp_errors_per_second: 1000,
            icmp_errors_per_peer: 100,
            icmp_return_bytes: 528,
            icmp_timestamp_reply: true,
            icmp_mask_reply: false,
            accept_redirects: true,
            redirect_lifetime: 600,
            icmp_broadcast_echo: false,
            mtu_discovery: true,
            mtu_discovery_lifetime: 600,
            forwarding: false,
            redirects: true,
            directed_broadcast: false,
            reverse_path: ReversePath::Off,
        }
    }

    /// Bytes that packets may pin when every shared queue is full: one port's, all neighbours', all fragments', all sockets'.
    pub const fn bytes(&self) -> u64 {
        self.queue_bytes() + self.memory.max
    }

    /// The same without the sockets'.
    const fn queue_bytes(&self) -> u64 {
        self.port_queue_bytes as u64 + self.neighbor_queue_bytes as u64 + self.fragment_bytes as u64
    }

    /// The greater of the two presets that leaves at least a fifth of so many bytes for sockets, which get the rest; none below [`Self::LEAST_BYTES`].
    pub fn within(bytes: u64) -> Option<Self> {
        let fits = |config: &Self| config.queue_bytes() / 4 * 5 <= bytes;
        let config = [Self::server(), Self::tiny()].into_iter().find(fits)?;
        let max = (bytes - config.queue_bytes()).min(config.memory.max);
        Some(Self { memory: MemoryLimits::up_to(max), ..config })
    }

    /// With fewer bytes for packets than this there is no kernel.
    pub const LEAST_BYTES: u64 = Self::tiny().queue_bytes() / 4 * 5;
}

impl Default for Config {
    fn default() -> Self {
        Self::server()
    }
}

impl fmt::Display for Config {
    /// One limit a line, for the boot message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "interfaces {}, addresses {}, routes {}", self.interfaces, self.addresses, self.routes)?;
        writeln!(
            f,
            "neighbours {}, waiting for one {} packets, for all {} bytes",
            self.neighbors, self.neighbor_queue, self.neighbor_queue_bytes
        )?;
        writeln!(f, "port queue {} frames, {} bytes", self.port_queue, self.port_queue_bytes)?;
        writeln!(
            f,
            "reassembly {} datagrams, {} of one sender, {} bytes",
            self.fragment_datagrams, self.fragment_datagrams_per_peer, self.fragment_bytes
        )?;
        writeln!(
            f,
            "sockets {}, raw ones {}, echo sessions {} of {} requests, datagram buffers {} bytes in, {} bytes out",
            self.sockets,
            self.raw_sockets,
            self.echo_sessions,
            self.echo_window,
            self.udp_receive_bytes,
            self.udp_send_bytes
        )?;
        writeln!(f, "all socket buffers {} bytes, pressure above {}", self.memory.max, self.memory.pressure)?;
        writeln!(
            f,
            "groups {}, of one socket {} with {} sources each",
            self.groups, self.memberships, self.group_sources
        )?;
        writeln!(
            f,
            "captures {}, each {} packets, {} bytes",
            self.captures, self.capture_queue, self.capture_bytes
        )?;
        writeln!(f, "monitors {} events", self.monitor_queue)?;
        write!(f, "{} bytes for one port, all sockets and all shared queues", self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn presets_print_their_bytes() {
        assert!(
            Config::tiny()
                .to_string()
                .ends_with("8667136 bytes for one port, all sockets and all shared queues")
        );
        assert!(Config::tiny().bytes() < Config::server().bytes() / 20);
    }

    #[test]
    fn what_the_queues_leave_of_a_size_is_the_sockets() {
        for bytes in [Config::LEAST_BYTES, 1 << 20, 64 << 20, 1 << 30] {
            assert_eq!(Config::within(bytes).map(|config| config.bytes()), Some(bytes));
        }
        assert_eq!(Config::within(u64::MAX), Some(Config::server()));
        assert_eq!(Config::within(1 << 20).map(|config| config.sockets), Some(Config::tiny().sockets));
        assert_eq!(Config::within(64 << 20).map(|config| config.sockets), Some(Config::server().sockets));
        assert_eq!(Config::within(Config::LEAST_BYTES - 1), None);
    }
}
