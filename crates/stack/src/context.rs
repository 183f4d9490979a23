//! What every layer needs at hand: the present time, limits, statistics, randomness, timers and the news for the shell.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::{fmt, net::IpAddr};

use rumpnet_proto::{Counter, DropReason, Errno, InterfaceCounters, RouteEvent};
use rumpnet_wire::ethernet;

use crate::{
    buffer::{Charge, Frame, Received},
    capture::{Captures, Direction, Passing},
    config::Config,
    endpoint::Endpoint,
    foreign::Foreign,
    memory::{Memory, MemoryLimits},
    monitor::Monitors,
    protocols::RawProtocols,
    random::Random,
    slab::Key,
    time::Instant,
    timer::Wheel,
};

/// What is counted under no interface, and what captures nothing: real ones begin with 1.
pub(crate) const NO_INTERFACE: u32 = 0;

/// The most notices that wait for the shell; further ones are counted as lost.
const MAX_NOTICES: u32 = 1024;

/// Passed down from the call that entered the stack.
pub(crate) struct Context {
    pub(crate) now: Instant,
    pub(crate) config: Config,
    pub(crate) random: Random,
    pub(crate) statistics: Statistics,
    pub(crate) timers: Wheel<Timer>,
    pub(crate) captures: Captures,
    pub(crate) monitors: Monitors,
    pub(crate) foreign: Foreign,
    pub(crate) raw: RawProtocols,
    pub(crate) events: VecDeque<Event>,
    /// How many of the events are notices.
    pub(crate) notices: u32,
    /// Charges of frames that were dropped, to be given back to their sockets when the call ends.
    pub(crate) released: Vec<Charge>,
    /// What the buffers of all sockets hold.
    pub(crate) memory: Memory,
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The neighbour cache's earliest deadline.
    Neighbors,
    /// The next step of conflict detection for an address.
    Address { interface: u32, address: IpAddr },
    /// The reassembly queue's earliest deadline.
    Fragments,
    /// What an interface has to say of its groups.
    Groups(u32),
    /// The end of a route that a redirect has made.
    Redirects,
    /// A TCP connection's earliest deadline.
    Connection(Key),
}

/// News for whoever runs the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The readiness of a socket has changed; asked for with [`crate::Stack::readiness`].
    Socket(Endpoint),
    /// An echo session has something to receive.
    Echo(Key),
    /// A capture has something to read, once until it is read.
    Capture(Key),
    /// A monitor has something to read, once until it is read.
    Monitor(Key),
    /// An interface with a port went up or down by the user's will; the far end's carrier shall follow.
    PortUp {
        /// The port.
        port: u32,
        /// Whether it is up.
        up: bool,
    },
    /// The MTU of an interface with a port has changed; the far end shall follow.
    PortMtu {
        /// The port.
        port: u32,
        /// The new MTU in bytes.
        mtu: u32,
    },
    /// All peers have what [`crate::Stack::tcp_drain`] was to deliver.
    Drained,
    /// Something that an administrator wants to read.
    Notice(Notice),
}

/// What an administrator wants to read; each is reported once per change, never per packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An interface was made.
    Created {
        /// Its name.
        interface: rumpnet_proto::InterfaceName,
        /// Its link address.
        link_address: Option<ethernet::Address>,
    },
    /// An interface was removed.
    Destroyed {
        /// Its name.
        interface: rumpnet_proto::InterfaceName,
    },
    /// The link state of an interface has changed.
    LinkState {
        /// Its name.
        interface: rumpnet_proto::InterfaceName,
        /// The new state.
        state: rumpnet_proto::LinkState,
    },
    /// Another host uses an address of ours.
    AddressConflict {
        /// The interface it was seen on.
        interface: rumpnet_proto::InterfaceName,
        /// The address.
        address: IpAddr,
        /// The other host's link address.
        by: ethernet::Address,
        /// Whether we gave the address up.
        lost: bool,
    },
    /// A stranger sends with our link address.
    LinkAddressConflict {
        /// The interface it was seen on.
        interface: rumpnet_proto::InterfaceName,
        /// The address.
        address: ethernet::Address,
    },
}

impl fmt::Display for Notice {
    /// One line, as NetBSD's kernel writes it to its message buffer where it has the same thing to say.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created { interface, link_address: None } => write!(f, "{interface}: created"),
            Self::Created { interface, link_address: Some(address) } => {
                write!(f, "{interface}: Ethernet address {address}")
            }
            Self::Destroyed { interface } => write!(f, "{interface}: detached"),
            Self::LinkState { interface, state } => {
                write!(f, "{interface}: link state {}", alloc::format!("{state:?}").to_uppercase())
            }
            Self::AddressConflict { interface, address, by, lost } => {
                let outcome = if *lost { "given up" } else { "defended" };
                write!(f, "{interface}: {by} uses our address {address}: {outcome}")
            }
            Self::LinkAddressConflict { interface, address } => {
                write!(f, "{interface}: a stranger uses our link address {address}")
            }
        }
    }
}

/// All counters of a kernel.
pub(crate) struct Statistics {
    counters: [u64; Counter::COUNT],
    drops: [u64; DropReason::COUNT],
    interfaces: Vec<Option<Box<InterfaceStatistics>>>,
}

/// The counters of one interface.
pub(crate) struct InterfaceStatistics {
    pub(crate) counters: InterfaceCounters,
    pub(crate) drops: [u64; DropReason::COUNT],
    /// What the host dropped before it reached the port.
    pub(crate) host_drops: Option<u64>,
}

impl Default for InterfaceStatistics {
    fn default() -> Self {
        Self { counters: InterfaceCounters::default(), drops: [0; DropReason::COUNT], host_drops: None }
    }
}

impl Statistics {
    pub(crate) const fn new() -> Self {
        Self { counters: [0; Counter::COUNT], drops: [0; DropReason::COUNT], interfaces: Vec::new() }
    }

    pub(crate) const fn counter(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    pub(crate) const fn drops(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    pub(crate) fn interface_mut(&mut self, index: u32) -> Option<&mut InterfaceStatistics> {
        self.interfaces.get_mut(index as usize)?.as_deref_mut()
    }

    pub(crate) fn open_interface(&mut self, index: u32) {
        let index = index as usize;
        if self.interfaces.len() <= index {
            self.interfaces.resize_with(index + 1, || None);
        }
        self.interfaces[index] = Some(Box::default());
    }

    pub(crate) fn close_interface(&mut self, index: u32) {
        if let Some(slot) = self.interfaces.get_mut(index as usize) {
            *slot = None;
        }
    }
}

impl Context {
    pub(crate) fn new(config: Config, random: Random, now: Instant) -> Self {
        Self {
            now,
            foreign: Foreign::default(),
            raw: RawProtocols::new(),
            captures: Captures::new(&config),
            monitors: Monitors::new(config.monitor_queue, now),
            config,
            random,
            statistics: Statistics::new(),
            timers: Wheel::new(now),
            events: VecDeque::new(),
            notices: 0,
            released: Vec::new(),
            memory: Memory::default(),
        }
    }

    pub(crate) const fn count(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    pub(crate) const fn add(&mut self, counter: Counter, amount: u64) {
        self.statistics.counters[counter as usize] += amount;
    }

    /// A socket's buffers were `charged` and hold `held` bytes now.
    pub(crate) fn recharge(&mut self, charged: &mut u32, held: usize) {
        if self.memory.recharge(&self.config.memory, charged, held) {
            self.count(Counter::MemoryPressure);
        }
    }

    /// Sets what all buffers together may hold; writers that wait for it are asked at the end of the call.
    pub(crate) fn limit_memory(&mut self, limits: MemoryLimits) {
        self.config.memory = limits;
        if self.memory.judge(&limits) {
            self.count(Counter::MemoryPressure);
        }
    }

    /// How large one buffer may be beyond what it is guaranteed, in bytes.
    pub(crate) fn allowance(&self) -> u32 {
        self.memory.allowance(&self.config.memory)
    }

    /// Bytes that all buffers together may still grow by.
    pub(crate) const fn memory_left(&self) -> u64 {
        self.config.memory.max.saturating_sub(self.memory.used())
    }

    /// Whether buffers may not grow beyond what they are guaranteed.
    pub(crate) const fn memory_is_full(&self) -> bool {
        self.memory.is_full(&self.config.memory)
    }

    /// Counts a drop that no packet can be shown for.
    pub(crate) fn count_drop(&mut self, interface: u32, reason: DropReason) {
        self.statistics.drops[reason as usize] += 1;
        if let Some(statistics) = self.statistics.interface_mut(interface) {
            statistics.drops[reason as usize] += 1;
        }
    }

    /// Drops a received packet: counts it and shows it whole to those who capture drops.
    pub(crate) fn drop_received(&mut self, interface: u32, reason: DropReason, packet: &Received) {
        self.count_drop(interface, reason);
        if self.captures.want_drops(interface) {
            let (time, direction, offload) = (self.now, Direction::In, packet.offload);
            let passing =
                Passing { time, interface, direction, reason: Some(reason), offload, foreign: false };
            self.show(passing, packet.whole());
        }
    }

    /// Drops a frame on its way out; its sender gets the room back when the call ends.
    pub(crate) fn drop_sent(&mut self, interface: u32, reason: DropReason, frame: &Frame) {
        self.count_drop(interface, reason);
        self.released.extend(frame.charge);
        if self.captures.want_drops(interface) {
            let bytes = core::iter::once(frame.headers.as_slice());
            let slices = bytes.chain(frame.payload.slices().iter().map(|slice| &slice[..]));
            let (time, direction, offload) = (self.now, Direction::Out, frame.offload);
            let passing =
                Passing { time, interface, direction, reason: Some(reason), offload, foreign: false };
            self.show(passing, slices);
        }
    }

    /// Shows a packet to the captures that want it.
    pub(crate) fn show<'a>(&mut self, passing: Passing, slices: impl Iterator<Item = &'a [u8]>) {
        let Self { captures, events, memory, config, .. } = self;
        let shown = captures.take(passing, slices, events, (memory, &config.memory));
        self.add(Counter::CaptureOverruns, shown.overruns);
        self.add(Counter::MemoryPressure, shown.pressure.into());
    }

    /// Tells who monitors routes, if anybody does.
    #[inline]
    pub(crate) fn tell(&mut self, event: impl FnOnce() -> RouteEvent) {
        if self.monitors.are_open() {
            self.monitors.tell(self.now, &event(), &mut self.events);
        }
    }

    /// Tells them of a packet for which there is no route.
    pub(crate) fn tell_of_miss(&mut self, destination: IpAddr, errno: Errno) {
        if matches!(errno, Errno::HostUnreach | Errno::NetUnreach) {
            self.tell(|| RouteEvent::Miss { destination, link: None });
        }
    }

    pub(crate) fn notice(&mut self, notice: Notice) {
        if self.notices >= MAX_NOTICES {
            return self.count(Counter::NoticesLost);
        }
        self.notices += 1;
        self.events.push_back(Event::Notice(notice));
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn notices_read_as_lines_of_a_message_buffer() {
        let interface = "virt0".parse().expect("a name");
        let by = ethernet::Address([2, 0, 0, 0, 0, 9]);
        let down = Notice::LinkState { interface, state: rumpnet_proto::LinkState::Down };
        assert_eq!(down.to_string(), "virt0: link state DOWN");
        let address = IpAddr::from([10, 0, 0, 1]);
        let lost = Notice::AddressConflict { interface, address, by, lost: true };
        assert_eq!(lost.to_string(), "virt0: 02:00:00:00:00:09 uses our address 10.0.0.1: given up");
    }
}
