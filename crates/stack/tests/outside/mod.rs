//! One stack, and a stranger on its wire that makes every frame by hand.
//!
//! [`Outside::raises`] tells exactly what has been counted since it was asked last, so that a test states both what a
//! frame raises and that it raises nothing else.

#![allow(dead_code, reason = "each test file uses its part of the fixture")]

use std::net::Ipv4Addr;

use rumpnet_proto::{AddressChange, CaptureOptions, Counter, DropReason, InterfaceFlags, Reply, Request};
use rumpnet_stack::{
    Captured, Config, PortConfig, Stack, UdpSend,
    buffer::{Offload, Received},
    slab::Key,
    time::Instant,
};
use rumpnet_wire::{
    arp,
    checksum::Sum,
    ethernet::{self, EtherType},
    icmpv4::Message,
    ip::{self, Protocol},
    ipv4, udp,
};

pub(crate) const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const OUR_MAC: ethernet::Address = ethernet::Address([0xb2, 0x0a, 0, 0, 0, 1]);
pub(crate) const THEIRS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
pub(crate) const THEIR_MAC: ethernet::Address = ethernet::Address([2, 0, 0, 0, 0, 9]);

/// The stack, its time, and what it had counted when it was last asked.
pub(crate) struct Outside {
    pub(crate) stack: Stack,
    pub(crate) now: Instant,
    drops: Key,
    seen: Vec<u64>,
}

/// Limits of a server, without conflict detection, whose frames are not what these tests are about.
pub(crate) fn quiet() -> Config {
    Config { dad_count: 0, ..Config::default() }
}

impl Outside {
    /// A stack with `virt0`, 10.0.0.1/24, that knows the stranger and has said all that a new interface says.
    pub(crate) fn new() -> Self {
        Self::with(quiet(), PortConfig::ethernet(OUR_MAC))
    }

    pub(crate) fn with(config: Config, port: PortConfig) -> Self {
        let mut stack = Stack::boot(config, [7; 16], Instant::ZERO);
        stack.create_interface(Instant::ZERO, "virt0", port).expect("room");
        let options = CaptureOptions { drops: true, ..CaptureOptions::default() };
        let Ok(Reply::Capture { capture }) = stack.control(Instant::ZERO, Request::CaptureOpen(options))
        else {
            panic!("no capture")
        };
        let mut outside = Self { stack, now: Instant::ZERO, drops: capture.into(), seen: Vec::new() };
        outside.add_address(OURS);
        outside.wait(10);
        outside.receive(arp(arp::Operation::Request, THEIRS, OURS));
        outside.forget();
        outside
    }

    pub(crate) fn add_address(&mut self, address: Ipv4Addr) {
        let address = address.into();
        let change =
            AddressChange { address, prefix_len: Some(24), broadcast: None, peer: None, alias: true };
        self.control(Request::AddAddress { name: "virt0".into(), change });
    }

    /// A request that must succeed.
    #[track_caller]
    pub(crate) fn control(&mut self, request: Request) -> Reply {
        self.stack.control(self.now, request).expect("a good request")
    }

    pub(crate) fn set_flags(&mut self, set: InterfaceFlags, clear: InterfaceFlags) {
        self.control(Request::SetFlags { name: "virt0".into(), set, clear });
    }

    /// A frame comes in by `virt0`, as it is.
    pub(crate) fn receive(&mut self, frame: Vec<u8>) {
        self.receive_as(frame, Offload::default());
    }

    /// A frame comes in with an offload header.
    pub(crate) fn receive_as(&mut self, frame: Vec<u8>, offload: Offload) {
        self.stack.receive(self.now, 0, [Received::new(frame.into(), offload)]);
    }

    /// Lets time pass, and everything happen that is due in it.
    pub(crate) fn wait(&mut self, seconds: u64) {
        let end = self.now + rumpnet_stack::time::Duration::from_secs(seconds);
        while let Some(next) = self.stack.next_deadline().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.stack.on_timeout(self.now);
        }
        self.now = end;
    }

    /// Lets the next thing happen that is due.
    pub(crate) fn expire(&mut self) {
        self.now = self.now.max(self.stack.next_deadline().expect("something is due"));
        self.stack.on_timeout(self.now);
    }

    /// What the stack has to send, pulled.
    pub(crate) fn sent(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.stack.next_frame(0)).map(|frame| frame.to_vec()).collect()
    }

    /// A UDP socket at a port of any address.
    pub(crate) fn udp(&mut self, port: u16) -> Key {
        let socket = self.stack.udp_open().expect("room");
        self.stack.udp_bind(socket, ([0, 0, 0, 0], port).into()).expect("free");
        socket
    }

    pub(crate) fn send(
        &mut self,
        socket: Key,
        len: usize,
        to: Ipv4Addr,
    ) -> Result<usize, rumpnet_proto::Errno> {
        let payload = vec![7; len].into();
        let send = UdpSend {
            payload,
            segment: None,
            destination: Some((to, 9).into()),
            source: None,
            info: Default::default(),
        };
        self.stack.udp_send(self.now, socket, [send])
    }

    /// Drops that were captured since the last call.
    pub(crate) fn captured(&mut self) -> Vec<Captured> {
        let mut captured = Vec::new();
        self.stack.capture_read(self.drops, &mut captured);
        captured
    }

    /// Forgets what was counted until now, and what waits to be sent.
    pub(crate) fn forget(&mut self) {
        self.sent();
        self.captured();
        self.seen = self.tally();
    }

    /// Asserts that since it was last asked these were counted, each once for every time it is named, that nothing else
    /// was, and that the capture of drops showed every packet dropped with its reason.
    #[track_caller]
    pub(crate) fn raises(&mut self, counters: &[Counter], drops: &[DropReason]) {
        let shown: Vec<_> = self.captured().iter().filter_map(|packet| packet.reason).collect();
        let mut told = drops.to_vec();
        let mut shown_in_order = shown;
        told.sort();
        shown_in_order.sort();
        self.raises_unseen(counters, drops);
        assert_eq!(shown_in_order, told, "what the capture of drops shows");
    }

    /// The same where a drop has no packet to be shown.
    #[track_caller]
    pub(crate) fn raises_unseen(&mut self, counters: &[Counter], drops: &[DropReason]) {
        let now = self.tally();
        let raised: Vec<_> =
            names().zip(now.iter().zip(&self.seen)).map(|(name, (now, then))| (name, now - then)).collect();
        let count = |name: &str| {
            let counters = counters.iter().filter(|counter| counter.name() == name).count();
            (counters + drops.iter().filter(|reason| reason.name() == name).count()) as u64
        };
        let wanted: Vec<_> =
            names().map(|name| (name, count(name))).filter(|(_, count)| *count > 0).collect();
        let raised: Vec<_> = raised.into_iter().filter(|(_, count)| *count > 0).collect();
        self.seen = now;
        assert_eq!(raised, wanted);
    }

    fn tally(&self) -> Vec<u64> {
        let counters = Counter::ALL.iter().map(|counter| self.stack.counter(*counter));
        counters.chain(DropReason::ALL.iter().map(|reason| self.stack.drops(*reason))).collect()
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    Counter::ALL
        .iter()
        .map(|counter| counter.name())
        .chain(DropReason::ALL.iter().map(|reason| reason.name()))
}

/// A frame between any two stations.
pub(crate) fn frame(
    destination: ethernet::Address,
    source: ethernet::Address,
    ethertype: EtherType,
    payload: &[u8],
) -> Vec<u8> {
    let header = ethernet::Header { destination, source, ethertype };
    [&header.to_bytes()[..], payload].concat()
}

/// A frame from the stranger to us.
pub(crate) fn to_us(ethertype: EtherType, payload: &[u8]) -> Vec<u8> {
    frame(OUR_MAC, THEIR_MAC, ethertype, payload)
}

/// An ARP packet from the stranger, which says that it has address `sender`.
pub(crate) fn arp(operation: arp::Operation, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    arp_from(operation, (THEIR_MAC, sender), target)
}

pub(crate) fn arp_from(
    operation: arp::Operation,
    (sender_hardware, sender_protocol): (ethernet::Address, Ipv4Addr),
    target: Ipv4Addr,
) -> Vec<u8> {
    let packet = arp::Packet {
        operation,
        sender_hardware,
        sender_protocol,
        target_hardware: ethernet::Address([0; 6]),
        target_protocol: target,
    };
    to_us(EtherType::ARP, &packet.to_bytes())
}

/// The header of a packet from the stranger to us.
pub(crate) fn header(protocol: Protocol, payload_len: usize) -> ipv4::Header {
    let plain = ipv4::Header::new(THEIRS, OURS, protocol, payload_len);
    ipv4::Header { identification: 99, dont_fragment: false, ..plain }
}

/// A packet with any header; its length and checksum are those of the bytes.
pub(crate) fn packet(header: ipv4::Header, payload: &[u8]) -> Vec<u8> {
    let header = ipv4::Header { total_len: (header.header_len() + payload.len()) as u16, ..header };
    let mut packet = vec![0; header.header_len()];
    header.emit(&mut packet).expect("room");
    packet.extend_from_slice(payload);
    packet
}

/// The IPv4 packet in a frame of the stranger's, to us.
pub(crate) fn ipv4(header: ipv4::Header, payload: &[u8]) -> Vec<u8> {
    to_us(EtherType::IPV4, &packet(header, payload))
}

/// Changes bytes of the IPv4 header in a frame and mends its checksum.
pub(crate) fn altered(mut frame: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let header = &mut frame[ethernet::Header::LEN..][..ipv4::Header::LEN];
    change(header);
    header[10..12].fill(0);
    let sum = rumpnet_wire::checksum::of(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// A datagram with a good checksum, for a packet from the stranger to us.
pub(crate) fn datagram(port: u16, payload: &[u8]) -> Vec<u8> {
    let length = (udp::Header::LEN + payload.len()) as u16;
    let head =
        |checksum| udp::Header { source_port: 5000, destination_port: port, length, checksum }.to_bytes();
    let mut sum = ip::pseudo_header(THEIRS.into(), OURS.into(), Protocol::UDP, length.into());
    sum.add(&head(0)).add(payload);
    [&head(sum.finish_nonzero())[..], payload].concat()
}

/// An ICMP message with a good checksum.
pub(crate) fn message(message: Message, data: &[u8]) -> Vec<u8> {
    let mut sum = Sum::new();
    sum.add(data);
    [&message.to_bytes(sum)[..], data].concat()
}
