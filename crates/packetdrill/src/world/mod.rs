//! A stack behind a plain IP link, in virtual time, with a table of descriptors: everything a script can reach, and nothing of C.
//!
//! No call here waits: one that would answers EAGAIN, and who calls may try again once time has passed. Waiting is `Drill`'s.

mod datagram;
mod descriptor;
mod info;
mod options;
mod pipe;
mod readiness;
mod socket;

use std::{collections::VecDeque, net::Ipv4Addr};

use rumpnet_proto::{AddressChange, ControlError, LinkKind, NextHop, Request, RouteAttributes};
use rumpnet_stack::{
    Event, Offloads, PortConfig, SocketId, Stack,
    buffer::{Offload, Received},
    time::{Duration, Instant},
};
use rumpnet_wire::ethernet;

pub use descriptor::Patience;
pub use info::{info_record, state_number};
pub use options::Control;
pub(crate) use options::is_ioctl_with_input;
pub use readiness::Interest;
pub use socket::Taken;

use crate::{refusal::Answer, settings::Settings};
use descriptor::Descriptors;
use pipe::Pipes;

/// The interface's name, after the device that packetdrill makes on a host.
const INTERFACE: &str = "tun0";
/// When time begins, so that nothing is ever before it.
const START: Instant = Instant::from_secs(1000);

/// A stack, its clock, and what a script has opened.
pub struct World {
    stack: Stack,
    now: Instant,
    sent: VecDeque<(Instant, Vec<u8>)>,
    descriptors: Descriptors,
    pipes: Pipes,
    local: Ipv4Addr,
}

impl World {
    /// A world at its beginning: the link is up, everything not local is reached by the gateway. Refused if the settings contradict each other.
    pub fn new(settings: &Settings) -> Result<Self, ControlError> {
        let mut seed = *b"packetdrillseed0";
        seed[8..].copy_from_slice(&settings.seed.to_le_bytes());
        let mut stack = Stack::boot(settings.config.clone(), seed, START);
        let port = PortConfig {
            kind: LinkKind::Ip,
            link_address: None,
            offloads: Offloads::NONE,
            mtu: settings.mtu,
            ..PortConfig::ethernet(ethernet::Address([0; 6]))
        };
        stack.create_interface(START, INTERFACE, port)?;
        let (local, prefix_len) = settings.local;
        let change = AddressChange {
            address: local.into(),
            prefix_len: Some(prefix_len),
            broadcast: None,
            peer: Some(settings.gateway.into()),
            alias: false,
        };
        stack.control(START, Request::AddAddress { name: INTERFACE.into(), change })?;
        let everything = (Ipv4Addr::UNSPECIFIED.into(), 0);
        let via = NextHop::Interface(INTERFACE.into());
        stack.control(
            START,
            Request::AddRoute { destination: everything, via, attributes: RouteAttributes::default() },
        )?;
        Ok(Self {
            stack,
            now: START,
            sent: VecDeque::new(),
            descriptors: Descriptors::default(),
            pipes: Pipes::default(),
            local,
        })
    }

    /// The time.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The stack, for those who want to know what no descriptor tells.
    pub const fn stack(&mut self) -> &mut Stack {
        &mut self.stack
    }

    /// The stack's own name of a stream's descriptor.
    pub fn socket_id(&self, number: i32) -> Answer<SocketId> {
        self.descriptors.find(number)?.tcp()
    }

    /// Our address.
    pub const fn local(&self) -> Ipv4Addr {
        self.local
    }

    /// When something is due next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.stack.next_deadline()
    }

    /// Time goes on to `until`; what is due by then happens, up to the next change. False if nothing was due: then it is `until`.
    pub fn step(&mut self, until: Instant) -> bool {
        let due = self.stack.next_deadline().filter(|deadline| *deadline <= until);
        self.now = self.now.max(due.unwrap_or(until));
        if due.is_some() {
            self.stack.on_timeout(self.now);
            self.settle();
        }
        due.is_some()
    }

    /// Time goes on to `until`, with all that is due before.
    pub fn advance(&mut self, until: Instant) {
        while self.step(until) {}
    }

    /// Time goes on by so much.
    pub fn pass(&mut self, span: Duration) {
        self.advance(self.now + span);
    }

    /// A packet arrives from the network.
    pub fn inject(&mut self, packet: Vec<u8>) {
        self.stack.receive(self.now, 0, [Received::new(packet.into(), Offload::default())]);
        self.settle();
    }

    /// The next packet that the stack has sent, and when.
    pub fn next_sent(&mut self) -> Option<(Instant, Vec<u8>)> {
        self.sent.pop_front()
    }

    /// The packet that [`Self::next_sent`] would give.
    pub fn peek_sent(&self) -> Option<&(Instant, Vec<u8>)> {
        self.sent.front()
    }

    /// After every call: takes what the stack sends, and notes which sockets have news.
    fn settle(&mut self) {
        while let Some(port) = self.stack.next_ready_port() {
            while let Some(frame) = self.stack.next_frame(port) {
                self.sent.push_back((self.now, frame.to_vec()));
            }
        }
        while let Some(event) = self.stack.next_event() {
            if let Event::Socket(endpoint) = event {
                self.descriptors.on_news(endpoint);
            }
        }
    }
}
