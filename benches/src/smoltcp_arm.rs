//! smoltcp over a tap, its sockets of UDP, driven as its own examples drive it: poll, then wait for the descriptor.

use std::{
    os::fd::{AsRawFd, RawFd},
    time::Instant as Clock,
};

use smoltcp::{
    iface::{Config, Interface, SocketHandle, SocketSet},
    phy::{Medium, TunTapInterface, wait},
    socket::udp,
    time::{Duration, Instant},
    wire::{EthernetAddress, IpCidr, IpEndpoint, Ipv4Address},
};

use crate::{
    Failure,
    count::{self, Count},
    kernel_socket::{PORT, SMALL},
    namespace::{HOST, PEER, PEER_LINK, TAP},
    peer, smoltcp_stream,
    trial::Load,
};

/// Datagrams that a socket holds in each direction.
const QUEUE: usize = 1024;

/// An interface with one UDP socket, and what else is added.
pub(crate) struct Stack {
    device: TunTapInterface,
    fd: RawFd,
    pub(crate) interface: Interface,
    pub(crate) sockets: SocketSet<'static>,
    socket: SocketHandle,
}

/// Runs the far side of `load`.
pub(crate) fn run(load: Load) -> Result<(), Failure> {
    if matches!(load, Load::Stream | Load::StreamSend | Load::RequestPinned | Load::Request | Load::Requests)
    {
        return smoltcp_stream::run(load);
    }
    let mut stack = Stack::open()?;
    peer::meet()?;
    match load {
        Load::PingPinned | Load::Ping => stack.answer(),
        Load::UdpReceive => stack.receive(),
        Load::UdpSend => stack.send(),
        other => Err(format!("smoltcp is not measured under {}", other.name()).into()),
    }
}

impl Stack {
    pub(crate) fn open() -> Result<Self, Failure> {
        let mut device = TunTapInterface::new(TAP, Medium::Ethernet)?;
        let fd = device.as_raw_fd();
        let config = Config::new(EthernetAddress(PEER_LINK).into());
        let mut interface = Interface::new(config, &mut device, Instant::now());
        let address = IpCidr::new(Ipv4Address::from(PEER).into(), 24);
        interface.update_ip_addrs(|addresses| addresses.push(address).expect("the first address fits"));
        let mut sockets = SocketSet::new(vec![]);
        let socket = sockets.add(udp_socket()?);
        Ok(Self { device, fd, interface, sockets, socket })
    }

    pub(crate) fn poll(&mut self) {
        self.interface.poll(Instant::now(), &mut self.device, &mut self.sockets);
    }

    /// Waits for a frame or for what smoltcp has to do next.
    pub(crate) fn wait(&mut self) -> Result<(), Failure> {
        let delay = self.interface.poll_delay(Instant::now(), &self.sockets);
        Ok(wait(self.fd, delay)?)
    }

    /// The same, at most so long.
    pub(crate) fn wait_at_most(&mut self, limit: Duration) -> Result<(), Failure> {
        let delay = self.interface.poll_delay(Instant::now(), &self.sockets);
        Ok(wait(self.fd, Some(delay.map_or(limit, |delay| delay.min(limit))))?)
    }

    /// Answers until it is killed.
    fn answer(&mut self) -> Result<(), Failure> {
        loop {
            self.poll();
            self.wait()?;
        }
    }

    fn receive(&mut self) -> Result<(), Failure> {
        let mut count = Count::begin();
        while count.is_running() {
            self.poll();
            let (mut packets, mut bytes) = (0, 0);
            let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.socket);
            while let Ok((payload, _)) = socket.recv() {
                packets += 1;
                bytes += payload.len() as u64;
            }
            if packets > 0 {
                count.add(packets, bytes);
            } else {
                wait(self.fd, Some(smoltcp::time::Duration::from_millis(50)))?;
            }
        }
        peer::report(&count.figures())
    }

    fn send(&mut self) -> Result<(), Failure> {
        let to = IpEndpoint::new(Ipv4Address::from(HOST).into(), PORT);
        let payload = [0x55; SMALL];
        let until = Clock::now() + count::LOAD;
        while Clock::now() < until {
            let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.socket);
            while socket.can_send() && socket.send_slice(&payload, to).is_ok() {}
            self.poll();
        }
        Ok(())
    }
}

fn udp_socket() -> Result<udp::Socket<'static>, Failure> {
    let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; QUEUE], vec![0; QUEUE * 2048]);
    let mut socket = udp::Socket::new(buffer(), buffer());
    socket.bind(PORT).map_err(|error| format!("smoltcp will not bind: {error}"))?;
    Ok(socket)
}
