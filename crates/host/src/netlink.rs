//! The host's interfaces, addresses and routes, by rtnetlink(7).
//!
//! [`Netlink`] asks and changes, [`LinkMonitor`] is told. Both belong to the network namespace in which they were opened.
//! Calls take the host kernel up to milliseconds: they have no place on a thread that carries frames.

mod links;
mod message;
mod monitor;

use std::{net::IpAddr, os::fd::OwnedFd};

use rustix::{
    io::{Errno, Result},
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with},
};

pub use links::{HostLink, TunLink};
pub use monitor::{LinkMonitor, LinkNews};

use links::{IFINFO, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_TXQLEN};
use message::{Message, Request, messages, u32_of};

/// Octets of a buffer: the kernel never fills more with one message of a dump.
const BUFFER: usize = 64 * 1024;

/// How often a dump is tried again that changed under our eyes.
const ATTEMPTS: usize = 8;

/// Octets of `struct ifaddrmsg` and of `struct rtmsg`.
const IFADDR: usize = 8;
const ROUTE: usize = 12;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_TABLE: u16 = 15;
const VETH_INFO_PEER: u16 = 1;

/// An address of an interface of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostAddress {
    /// The interface's index.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// Bits of the network's prefix.
    pub prefix_len: u8,
}

/// A route of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostRoute {
    /// Where to.
    pub destination: IpAddr,
    /// Bits of the destination that count; zero for the default route.
    pub prefix_len: u8,
    /// By way of whom.
    pub gateway: Option<IpAddr>,
    /// Out of which interface.
    pub index: Option<u32>,
    /// In which table: 254 is the main one.
    pub table: u32,
}

/// A socket to ask about interfaces, and to change them.
#[derive(Debug)]
pub struct Netlink {
    fd: OwnedFd,
    sequence: u32,
}

/// Protocol zero is NETLINK_ROUTE.
fn socket() -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)
}

impl Netlink {
    /// One in the thread's network namespace.
    pub fn open() -> Result<Self> {
        Ok(Self { fd: socket()?, sequence: 0 })
    }

    /// All interfaces.
    pub fn links(&mut self) -> Result<Vec<HostLink>> {
        self.dump(libc::RTM_GETLINK, IFINFO, HostLink::parse)
    }

    /// The interface `name`; `ENODEV` if there is none.
    pub fn link(&mut self, name: &str) -> Result<HostLink> {
        let request = Request::new(libc::RTM_GETLINK, 0, &[0; IFINFO]).name(IFLA_IFNAME, name);
        let mut link = None;
        self.ask(request, |message| link = link.take().or_else(|| HostLink::parse(message)))?;
        link.ok_or(Errno::NODEV)
    }

    /// All addresses of all interfaces.
    pub fn addresses(&mut self) -> Result<Vec<HostAddress>> {
        self.dump(libc::RTM_GETADDR, IFADDR, parse_address)
    }

    /// All routes that lead somewhere or refuse to: not those to our own addresses, to broadcast and to multicast.
    pub fn routes(&mut self) -> Result<Vec<HostRoute>> {
        self.dump(libc::RTM_GETROUTE, ROUTE, parse_route)
    }

    /// Gives an interface an address; `EEXIST` if it has it.
    pub fn add_address(&mut self, index: u32, address: IpAddr, prefix_len: u8) -> Result<()> {
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        self.ask(address_request(libc::RTM_NEWADDR, flags, index, address, prefix_len), |_| {})
    }

    /// Takes an address from an interface; `EADDRNOTAVAIL` if it has it not.
    pub fn delete_address(&mut self, index: u32, address: IpAddr, prefix_len: u8) -> Result<()> {
        self.ask(address_request(libc::RTM_DELADDR, libc::NLM_F_ACK, index, address, prefix_len), |_| {})
    }

    /// Makes two interfaces joined to each other; `EEXIST` if one of the names is taken.
    pub fn create_pair(&mut self, one: &str, other: &str) -> Result<()> {
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let request = Request::new(libc::RTM_NEWLINK, flags, &[0; IFINFO]).name(IFLA_IFNAME, one).nest(
            IFLA_LINKINFO,
            |information| {
                information.name(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |data| {
                    data.nest(VETH_INFO_PEER, |peer| peer.raw(&[0; IFINFO]).name(IFLA_IFNAME, other))
                })
            },
        );
        self.ask(request, |_| {})
    }

    /// Makes an interface of a kind that needs no more than a name, such as a bridge.
    pub fn create_link(&mut self, name: &str, kind: &str) -> Result<()> {
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let request = Request::new(libc::RTM_NEWLINK, flags, &[0; IFINFO])
            .name(IFLA_IFNAME, name)
            .nest(IFLA_LINKINFO, |information| information.name(IFLA_INFO_KIND, kind));
        self.ask(request, |_| {})
    }

    /// Changes the length of an interface's queue: root of its network namespace may, where netdevice(7) wants root of the host.
    pub fn set_queue_len(&mut self, index: u32, frames: u32) -> Result<()> {
        let request = Request::new(libc::RTM_NEWLINK, libc::NLM_F_ACK, &header_of(index));
        self.ask(request.attribute(IFLA_TXQLEN, &frames.to_ne_bytes()), |_| {})
    }

    /// Deletes an interface, and with one end of a pair the other.
    pub fn delete_link(&mut self, index: u32) -> Result<()> {
        self.ask(Request::new(libc::RTM_DELLINK, libc::NLM_F_ACK, &header_of(index)), |_| {})
    }

    /// Everything of one type, each message parsed.
    fn dump<T>(
        &mut self,
        kind: u16,
        header: usize,
        parse: impl Fn(&Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>> {
        for _ in 0..ATTEMPTS {
            let (mut all, mut interrupted) = (Vec::new(), false);
            self.ask(Request::new(kind, libc::NLM_F_DUMP, &vec![0; header]), |message| {
                interrupted |= message.flags & libc::NLM_F_DUMP_INTR as u16 != 0;
                all.extend(parse(message));
            })?;
            if !interrupted {
                return Ok(all);
            }
        }
        Err(Errno::BUSY)
    }

    /// Sends a request and reads until it is answered: by an error, an end, or a lone message.
    fn ask(&mut self, request: Request, mut on_message: impl FnMut(&Message<'_>)) -> Result<()> {
        self.sequence += 1;
        let bytes = request.finish(self.sequence);
        send(&self.fd, &bytes, SendFlags::empty())?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let len = match recv(&self.fd, &mut buffer[..], RecvFlags::empty()) {
                Ok((len, _)) => len,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            };
            for message in messages(&buffer[..len]).filter(|message| message.sequence == self.sequence) {
                match i32::from(message.kind) {
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => return outcome(&message),
                    _ => on_message(&message),
                }
                if message.flags & libc::NLM_F_MULTI as u16 == 0 {
                    return Ok(());
                }
            }
        }
    }
}

/// The header of a request about one interface.
fn header_of(index: u32) -> [u8; IFINFO] {
    let mut header = [0; IFINFO];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header
}

fn outcome(message: &Message<'_>) -> Result<()> {
    match message.errno() {
        0 => Ok(()),
        errno => Err(Errno::from_raw_os_error(errno)),
    }
}

fn address_request(kind: u16, flags: libc::c_int, index: u32, address: IpAddr, prefix_len: u8) -> Request {
    let mut header = [0; IFADDR];
    header[0] = family(address);
    header[1] = prefix_len;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let octets = octets(address);
    let request =
        Request::new(kind, flags, &header).attribute(IFA_LOCAL, &octets).attribute(IFA_ADDRESS, &octets);
    match address {
        IpAddr::V4(address) if prefix_len < 31 => {
            let host = u32::MAX.checked_shr(prefix_len.into()).unwrap_or(0);
            request.attribute(IFA_BROADCAST, &(address.to_bits() | host).to_be_bytes())
        }
        _ => request,
    }
}

fn parse_address(message: &Message<'_>) -> Option<HostAddress> {
    let family = *message.body.first()?;
    let find = |wanted| message.attributes(IFADDR).find(|(kind, _)| *kind == wanted);
    // On a point-to-point interface only IFA_LOCAL is ours; IPv6 knows no IFA_LOCAL otherwise.
    let (_, octets) = find(IFA_LOCAL).or_else(|| find(IFA_ADDRESS))?;
    Some(HostAddress {
        index: u32_of(message.body.get(4..)?),
        address: address(family, octets)?,
        prefix_len: *message.body.get(1)?,
    })
}

fn parse_route(message: &Message<'_>) -> Option<HostRoute> {
    let [family, prefix_len, _, _, table, _, _, kind] = message::number(message.body, 0)?;
    let is_cached = u32_of(message.body.get(8..)?) & libc::RTM_F_CLONED != 0;
    let kinds = [libc::RTN_UNICAST, libc::RTN_BLACKHOLE, libc::RTN_UNREACHABLE, libc::RTN_PROHIBIT];
    if is_cached || !kinds.contains(&kind) {
        return None;
    }
    let unspecified = address(family, &[0; 16])?;
    let mut route =
        HostRoute { destination: unspecified, prefix_len, gateway: None, index: None, table: table.into() };
    for (kind, value) in message.attributes(ROUTE) {
        match kind {
            RTA_DST => route.destination = address(family, value)?,
            RTA_GATEWAY => route.gateway = address(family, value),
            RTA_OIF => route.index = Some(u32_of(value)),
            RTA_TABLE => route.table = u32_of(value),
            _ => {}
        }
    }
    Some(route)
}

/// An address of the family at the front of `octets`.
fn address(family: u8, octets: &[u8]) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => Some(message::number::<4>(octets, 0)?.into()),
        libc::AF_INET6 => Some(message::number::<16>(octets, 0)?.into()),
        _ => None,
    }
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
