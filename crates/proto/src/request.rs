//! Requests and replies: everything the tools can say to a kernel.

use alloc::{string::String, vec::Vec};
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use rumpnet_wire::ethernet;
use serde::{Deserialize, Serialize};

use crate::{
    Capabilities, Counter, DropReason, Errno, GroupReport, InterfaceFlags, InterfaceReport, Media,
    NeighborReport, NextHop, RouteAttributes, RouteReport, SocketReport, Transport,
    passed::{SocketReply, SocketRequest},
};

/// What a caller wants. Interface names are text as the user wrote it: the kernel judges them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Who are you? Answered with [`Reply::Kernel`].
    Kernel,
    /// End the kernel.
    Halt,
    /// What the kernel has reported since message number `since`. Answered with [`Reply::Messages`].
    Messages {
        /// The first message wanted; 0 for all that are kept.
        since: u64,
    },
    /// The names of the cloners, most recently registered first. Answered with [`Reply::Names`].
    Cloners,
    /// Makes an interface (SIOCIFCREATE).
    CreateInterface {
        /// Its name, a cloner and a unit.
        name: String,
        /// What is wanted of it.
        options: CreateOptions,
    },
    /// Removes an interface (SIOCIFDESTROY).
    DestroyInterface {
        /// Its name.
        name: String,
    },
    /// A page of interfaces, by index. Answered with [`Reply::Interfaces`].
    Interfaces {
        /// The lowest index wanted.
        from: u32,
        /// Whether to zero the counters of those reported.
        reset: bool,
    },
    /// One interface. Answered with [`Reply::Interfaces`] of one.
    Interface {
        /// Its name.
        name: String,
        /// Whether to zero its counters.
        reset: bool,
    },
    /// Changes flags (SIOCSIFFLAGS).
    SetFlags {
        /// The interface.
        name: String,
        /// Flags to set.
        set: InterfaceFlags,
        /// Flags to clear.
        clear: InterfaceFlags,
    },
    /// Changes the MTU (SIOCSIFMTU), in bytes.
    SetMtu {
        /// The interface.
        name: String,
        /// The new MTU.
        mtu: u32,
    },
    /// Changes the metric (SIOCSIFMETRIC).
    SetMetric {
        /// The interface.
        name: String,
        /// The new metric.
        metric: u32,
    },
    /// Switches capabilities (SIOCSIFCAP).
    SetCapabilities {
        /// The interface.
        name: String,
        /// To be switched on.
        enable: Capabilities,
        /// To be switched off.
        disable: Capabilities,
    },
    /// Says which bus an interface stands on, or with none that it stands on none any more (SIOCSLINKSTR).
    SetLinkString {
        /// The interface.
        name: String,
        /// `mem:NAME`, or the path of a file from the root.
        string: Option<String>,
    },
    /// Plugs an interface into its bus, or pulls it out (SIOCSIFMEDIA).
    SetMedia {
        /// The interface.
        name: String,
        /// What it shall be.
        media: Media,
    },
    /// Adds or changes an address (SIOCAIFADDR).
    AddAddress {
        /// The interface.
        name: String,
        /// The address.
        change: AddressChange,
    },
    /// Removes an address, the primary one if none is named (SIOCDIFADDR).
    DeleteAddress {
        /// The interface.
        name: String,
        /// The address.
        address: Option<IpAddr>,
    },
    /// Adds a link address, and makes it the active one if asked (SIOCALIFADDR).
    AddLinkAddress {
        /// The interface.
        name: String,
        /// The address.
        address: ethernet::Address,
        /// Whether it becomes the one in use.
        active: bool,
    },
    /// Removes an inactive link address (SIOCDLIFADDR).
    DeleteLinkAddress {
        /// The interface.
        name: String,
        /// The address.
        address: ethernet::Address,
    },
    /// A page of neighbours. Answered with [`Reply::Neighbors`].
    Neighbors {
        /// The last one already seen: its interface index and address.
        after: Option<(u32, IpAddr)>,
    },
    /// Adds or replaces a neighbour by hand.
    AddNeighbor(NeighborChange),
    /// Removes a neighbour.
    DeleteNeighbor {
        /// Its address.
        address: IpAddr,
    },
    /// Removes a page of the neighbours that were not set by hand, or of all. Answered with [`Reply::Value`]: how many
    /// were removed; to be repeated until that is 0.
    FlushNeighbors {
        /// Whether those set by hand go too.
        permanent: bool,
    },
    /// Adds a route.
    AddRoute {
        /// Destination and length of its prefix.
        destination: (IpAddr, u8),
        /// Where its packets go.
        via: NextHop,
        /// What else is said of it.
        attributes: RouteAttributes,
    },
    /// Changes where a route leads, and what else was said of it.
    ChangeRoute {
        /// Destination and length of its prefix.
        destination: (IpAddr, u8),
        /// Where its packets go from now on.
        via: NextHop,
        /// What else is said of it.
        attributes: RouteAttributes,
    },
    /// Removes a route.
    DeleteRoute {
        /// Destination and length of its prefix.
        destination: (IpAddr, u8),
        /// Of several next hops only this one.
        gateway: Option<IpAddr>,
    },
    /// The route that packets to a destination take. Answered with [`Reply::Route`].
    Route {
        /// An address, or with the length of a prefix the route to exactly this network.
        destination: (IpAddr, Option<u8>),
    },
    /// A page of routes. Answered with [`Reply::Routes`].
    Routes {
        /// The last one already seen.
        after: Option<(IpAddr, u8)>,
    },
    /// A page of sockets. Answered with [`Reply::Sockets`].
    Sockets {
        /// The last one already seen: its protocol and place.
        after: Option<(Transport, u32)>,
    },
    /// All statistics. Answered with [`Reply::Statistics`].
    Statistics,
    /// Reads, and if `value` is given sets, a variable by its sysctl(7) name. Answered with [`Reply::Value`]: the old value.
    Sysctl {
        /// Its name, such as `net.inet.ip.forwarding`.
        name: String,
        /// The new value.
        value: Option<i64>,
    },
    /// Opens an echo session. Answered with [`Reply::Echo`].
    EchoOpen(EchoOptions),
    /// Sends an echo request on a session.
    EchoSend {
        /// The session.
        echo: u64,
        /// Its sequence number.
        sequence: u16,
    },
    /// Takes what has come back, waiting at most so long for the first. Answered with [`Reply::EchoReplies`].
    EchoReceive {
        /// The session.
        echo: u64,
        /// The longest wait, in nanoseconds; 0 does not wait.
        timeout_ns: u64,
    },
    /// Closes an echo session.
    EchoClose {
        /// The session.
        echo: u64,
    },
    /// Starts a capture; a server writes pcapng to the pipe that came with the request. Answered with [`Reply::Capture`].
    CaptureOpen(CaptureOptions),
    /// Ends a capture. Answered with [`Reply::CaptureEnded`].
    CaptureClose {
        /// The capture.
        capture: u64,
    },
    /// Begins to tell of changes of routes, neighbours, addresses and interfaces; a server writes them to the pipe that came with the request, one
    /// [`crate::RouteNews`] after the other as [`crate::codec::append`] does. Answered with [`Reply::Monitor`].
    MonitorOpen,
    /// Ends a monitor. Answered with [`Reply::MonitorEnded`].
    MonitorClose {
        /// The monitor.
        monitor: u64,
    },
    /// The names of all variables of sysctl(7), sorted. Answered with [`Reply::Names`].
    SysctlNames,
    /// From now on all calls of this client are for a host of the lab that the server is.
    Enter {
        /// The host.
        host: String,
    },
    /// A page of the hosts of a lab, sorted. Answered with [`Reply::Names`]; none are left when it is empty.
    Hosts {
        /// The last one already seen.
        after: Option<String>,
    },
    /// Something about a socket of another process, which a server alone can answer. Answered with [`Reply::Done`] or [`Reply::Socket`].
    Socket(SocketRequest),
    /// A page of multicast groups, by interface and address. Answered with [`Reply::Groups`].
    Groups {
        /// The last one already seen: its interface index and address.
        after: Option<(u32, IpAddr)>,
    },
}

/// How an interface shall be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateOptions {
    /// Its link address; drawn by the kernel if absent.
    pub link_address: Option<ethernet::Address>,
    /// The host's end: a name such as `tap7`, or `fd:N` for an inherited descriptor; by default it follows the unit.
    pub host_end: Option<String>,
}

/// An address to be added to an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressChange {
    /// The address.
    pub address: IpAddr,
    /// The length of its prefix; classful for IPv4 and 64 for IPv6 if absent.
    pub prefix_len: Option<u8>,
    /// The broadcast address; the all-ones host part if absent.
    pub broadcast: Option<IpAddr>,
    /// The far end of a point-to-point link.
    pub peer: Option<IpAddr>,
    /// Whether the primary address stays (`alias`); otherwise the new one takes its place.
    pub alias: bool,
}

/// A neighbour to be set by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighborChange {
    /// Its address.
    pub address: IpAddr,
    /// Its link address.
    pub link_address: ethernet::Address,
    /// Whether it expires like a learned one (`temp`).
    pub temporary: bool,
    /// Whether we answer for it (`pub`, `proxy`).
    pub published: bool,
}

/// How an echo session (ping, traceroute) shall send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EchoOptions {
    /// What it sends.
    pub probe: Probe,
    /// To whom.
    pub destination: IpAddr,
    /// From which of our addresses; chosen by the kernel if absent.
    pub source: Option<IpAddr>,
    /// Time to live; the kernel's default if absent.
    pub ttl: Option<u8>,
    /// Bytes of data in each request.
    pub size: u16,
    /// What the data are.
    pub data: EchoData,
    /// Type of service.
    pub tos: u8,
    /// Whether routers shall not fragment the requests (DF).
    pub dont_fragment: bool,
    /// Whether the route is recorded, there and back (RFC 791 section 3.1).
    pub record_route: bool,
    /// Whether only hosts on a link of ours are asked, whatever routes say (SO_DONTROUTE).
    pub direct: bool,
    /// Whether a request to a group that this kernel is in comes back to it, too (IP_MULTICAST_LOOP).
    pub loops: bool,
}

impl EchoOptions {
    /// Echo requests of 56 bytes, and otherwise as the kernel sends them.
    pub const fn to(destination: IpAddr) -> Self {
        Self {
            probe: Probe::Echo,
            destination,
            source: None,
            ttl: None,
            size: 56,
            data: EchoData::Places,
            tos: 0,
            dont_fragment: false,
            record_route: false,
            direct: false,
            loops: true,
        }
    }
}

/// What an echo session sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probe {
    /// ICMP echo requests.
    Echo,
    /// UDP datagrams to a port and those after it, one for each sequence number from 0 on: whoever has no such port says so.
    Udp {
        /// The first port.
        port: u16,
    },
}

/// What the data of a request are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EchoData {
    /// Each byte is the number of its place.
    Places,
    /// These bytes over and over; sixteen at most, and at least one.
    Pattern(Vec<u8>),
    /// Numbers that the kernel draws.
    Random,
}

/// What came back on an echo session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EchoReply {
    /// The sequence number of the request it concerns.
    pub sequence: u16,
    /// Who sent it.
    pub from: IpAddr,
    /// Bytes of the ICMP message, its header included.
    pub size: u16,
    /// Its time to live on arrival.
    pub ttl: u8,
    /// From the sending of the request to this, in nanoseconds of the kernel's clock; none for a duplicate of a forgotten request.
    pub rtt_ns: Option<u64>,
    /// What it says.
    pub outcome: EchoOutcome,
    /// The route that was recorded, as far as there was room.
    pub route: Vec<Ipv4Addr>,
    /// In an error that says so: the MTU of the link that the request did not fit (RFC 1191).
    pub next_hop_mtu: Option<u16>,
}

/// What an answer on an echo session says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EchoOutcome {
    /// An echo reply with the data that was sent.
    Reply,
    /// A further reply to a request that was answered before.
    Duplicate,
    /// An echo reply whose data differ from what was sent.
    Corrupted,
    /// An ICMP error about the request: its type and code.
    Error {
        /// The ICMP type.
        kind: u8,
        /// The ICMP code.
        code: u8,
    },
}

/// What a capture shall hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureOptions {
    /// The interface; all of them if absent.
    pub interface: Option<String>,
    /// Whether only dropped packets are wanted, each with its reason.
    pub drops: bool,
    /// Bytes kept of each packet; all if absent.
    pub snap_len: Option<u32>,
    /// Packets after which the capture ends by itself.
    pub count: Option<u64>,
}

/// What a kernel answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done.
    Done,
    /// Who the kernel is.
    Kernel(KernelInfo),
    /// Names, in the order in which they are printed.
    Names(Vec<String>),
    /// A page of interfaces; `next` is the `from` of the following page.
    Interfaces {
        /// The interfaces.
        interfaces: Vec<InterfaceReport>,
        /// Where to go on.
        next: Option<u32>,
    },
    /// A page of neighbours; `next` is the `after` of the following page.
    Neighbors {
        /// The neighbours.
        neighbors: Vec<NeighborReport>,
        /// Where to go on.
        next: Option<(u32, IpAddr)>,
    },
    /// A page of routes; `next` is the `after` of the following page.
    Routes {
        /// The routes.
        routes: Vec<RouteReport>,
        /// Where to go on.
        next: Option<(IpAddr, u8)>,
    },
    /// The route to a destination.
    Route {
        /// The route.
        route: RouteReport,
        /// The address that packets by it are sent from, if there is one.
        source: Option<IpAddr>,
    },
    /// A page of sockets; `next` is the `after` of the following page.
    Sockets {
        /// The sockets.
        sockets: Vec<SocketReport>,
        /// Where to go on.
        next: Option<(Transport, u32)>,
    },
    /// All statistics that are not zero.
    Statistics {
        /// Counters.
        counters: Vec<(Counter, u64)>,
        /// Drops by reason.
        drops: Vec<(DropReason, u64)>,
    },
    /// A variable's value.
    Value(i64),
    /// What the kernel reported; `next` is the `since` of the following call.
    Messages {
        /// The messages.
        messages: Vec<Message>,
        /// Where to go on.
        next: u64,
    },
    /// An echo session.
    Echo {
        /// Its number.
        echo: u64,
        /// The source address it sends from.
        source: IpAddr,
    },
    /// What came back.
    EchoReplies(Vec<EchoReply>),
    /// A capture.
    Capture {
        /// Its number.
        capture: u64,
    },
    /// A capture has ended.
    CaptureEnded {
        /// Packets it took.
        captured: u64,
        /// Packets it lost because its reader was slow.
        overruns: u64,
    },
    /// About a socket of another process.
    Socket(SocketReply),
    /// A page of multicast groups; `next` is the `after` of the following page.
    Groups {
        /// The groups.
        groups: Vec<GroupReport>,
        /// Where to go on.
        next: Option<(u32, IpAddr)>,
    },
    /// A monitor.
    Monitor {
        /// Its number.
        monitor: u64,
    },
    /// A monitor has ended.
    MonitorEnded {
        /// Events that were lost because its reader was slow.
        overruns: u64,
    },
}

/// Who a kernel is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelInfo {
    /// Its name, `rump-<pid>.<host>` unless set.
    pub name: String,
    /// The version of rumpnet it runs.
    pub version: String,
    /// The process it runs in; 0 in a simulation.
    pub pid: u32,
    /// Nanoseconds since it booted.
    pub uptime_ns: u64,
}

/// How grave a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// Something went wrong.
    Error,
    /// Something may be wrong.
    Warning,
    /// Something happened.
    Info,
}

/// What a kernel reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its number, counted from 1.
    pub number: u64,
    /// When, in nanoseconds since boot.
    pub time_ns: u64,
    /// How grave it is.
    pub severity: Severity,
    /// What happened, in one line.
    pub text: String,
}

/// The operation that was refused; its name is the ioctl's, as ifconfig(8) prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// SIOCIFCREATE
    CreateInterface,
    /// SIOCIFDESTROY
    DestroyInterface,
    /// SIOCGIFFLAGS
    InterfaceStatus,
    /// SIOCSIFFLAGS
    SetFlags,
    /// SIOCSIFMTU
    SetMtu,
    /// SIOCSIFMETRIC
    SetMetric,
    /// SIOCSIFCAP
    SetCapabilities,
    /// SIOCSLINKSTR
    LinkString,
    /// SIOCGIFMEDIA
    MediaStatus,
    /// SIOCSIFMEDIA
    Media,
    /// SIOCAIFADDR
    AddAddress,
    /// SIOCDIFADDR
    DeleteAddress,
    /// SIOCGIFADDR
    PrimaryAddress,
    /// SIOCALIFADDR
    AddLinkAddress,
    /// SIOCDLIFADDR
    DeleteLinkAddress,
    /// A change of the neighbour table.
    Neighbor,
    /// A change of the routing table.
    Route,
    /// A variable.
    Sysctl,
    /// An echo session.
    Echo,
    /// A capture.
    Capture,
    /// A socket of another process.
    Socket,
    /// A monitor of routes.
    Monitor,
    /// The conversation with the server itself.
    Server,
}

impl Operation {
    /// The words before the error text in NetBSD's tools.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CreateInterface => "SIOCIFCREATE",
            Self::DestroyInterface => "SIOCIFDESTROY",
            Self::InterfaceStatus => "SIOCGIFFLAGS",
            Self::SetFlags => "SIOCSIFFLAGS",
            Self::SetMtu => "SIOCSIFMTU",
            Self::SetMetric => "SIOCSIFMETRIC",
            Self::SetCapabilities => "SIOCSIFCAP",
            Self::LinkString => "SIOCSLINKSTR",
            Self::MediaStatus => "SIOCGIFMEDIA",
            Self::Media => "SIOCSIFMEDIA",
            Self::AddAddress => "SIOCAIFADDR",
            Self::DeleteAddress => "SIOCDIFADDR",
            Self::PrimaryAddress => "SIOCGIFADDR",
            Self::AddLinkAddress => "SIOCALIFADDR",
            Self::DeleteLinkAddress => "SIOCDLIFADDR",
            Self::Neighbor | Self::Route => "writing to routing socket",
            Self::Sysctl => "sysctl",
            Self::Echo => "echo",
            Self::Capture => "capture",
            Self::Socket => "socket",
            Self::Monitor => "route monitor",
            Self::Server => "rump client",
        }
    }
}

/// A refused request: what was refused, about what, why, and what would help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlError {
    /// The operation.
    pub operation: Operation,
    /// What it was about, such as an interface's name; may be empty.
    pub object: String,
    /// Why.
    pub errno: Errno,
    /// A sentence that explains or helps, such as the command that lifts the obstacle.
    pub hint: Option<String>,
}

impl ControlError {
    /// An error without a hint.
    pub fn new(operation: Operation, object: impl Into<String>, errno: Errno) -> Self {
        Self { operation, object: object.into(), errno, hint: None }
    }

    /// The same with a hint.
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operation.name())?;
        if !self.object.is_empty() {
            write!(f, " {}", self.object)?;
        }
        write!(f, ": {}", self.errno)?;
        self.hint.iter().try_for_each(|hint| write!(f, " ({hint})"))
    }
}

impl core::error::Error for ControlError {}
