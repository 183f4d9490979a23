//! The Internet layer: addresses, routes, neighbours, ARP, IPv4, ICMP and the formats of the transports.
//!
//! [`Inet::receive`] takes a packet from a link and returns what the sockets shall see of it, a [`Delivery`];
//! [`Inet::send`] takes a transport packet with its [`route::Path`] down to the link.

pub(crate) mod address;
mod arp;
mod conflict;
mod error_budget;
mod forward;
pub(crate) mod fragment;
pub(crate) mod icmp;
mod identification;
pub(crate) mod igmp;
pub(crate) mod ipv4;
pub mod neighbor;
mod options;
pub(crate) mod path_mtu;
pub mod prefix;
mod query;
pub(crate) mod raw;
mod redirect;
pub(crate) mod route;
pub(crate) mod tcp;
pub(crate) mod udp;
pub(crate) mod via;

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use rumpnet_proto::DropReason;
use rumpnet_wire::{ethernet::EtherType, ipv4::Options};

use crate::{
    buffer::{Frame, Received},
    config::Config,
    context::{Context, Timer},
    link::{Incoming, Link},
    random::Random,
    slab::Key,
    timer::TimerId,
};
use address::Addresses;
use fragment::Reassembly;
use neighbor::{NeighborCache, NeighborLimits, Weight};
use route::Routes;

/// The Internet layer of a kernel.
pub(crate) struct Inet {
    pub(crate) addresses: Addresses,
    pub(crate) routes: Routes,
    pub(crate) neighbors: NeighborCache<Frame>,
    pub(crate) path_mtus: path_mtu::PathMtus,
    pub(crate) reassembly: Reassembly,
    identifications: identification::Identifications,
    pub(crate) multicast: igmp::Multicast,
    error_budget: error_budget::ErrorBudget,
    redirects: redirect::Redirects,
    /// Sockets that sent to a neighbour which did not answer.
    pub(crate) unreachable: Vec<Key>,
    /// Segments of TCP that such a neighbour did not get.
    pub(crate) undelivered: Vec<icmp::Offender>,
    /// The packet that was just taken, if raw sockets may want a copy of it.
    pub(crate) raw_copy: Option<alloc::boxed::Box<raw::RawCopy>>,
    neighbor_timer: Option<TimerId>,
    fragment_timer: Option<TimerId>,
    redirect_timer: Option<TimerId>,
}

impl Weight for Frame {
    fn weight(&self) -> usize {
        self.len()
    }
}

/// What a received packet means to the sockets; its cursor is past the transport header.
pub(crate) enum Delivery {
    /// A UDP datagram.
    Udp {
        /// The interface it came by.
        interface: u32,
        source: SocketAddr,
        destination: SocketAddr,
        /// Whom it was sent to.
        audience: ipv4::Audience,
        ttl: u8,
        tos: u8,
    },
    /// A TCP segment.
    Tcp(tcp::segment::Segment),
    /// An echo reply.
    EchoReply { source: IpAddr, identifier: u16, sequence: u16, ttl: u8, options: Options, interface: u32 },
    /// An ICMP error about a packet that we sent.
    Error { report: icmp::ErrorReport, interface: u32 },
    /// A packet that nobody wants, unless a raw socket has taken its copy.
    Unclaimed(Unclaimed),
}

/// What becomes of a packet that nobody wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unclaimed {
    pub(crate) interface: u32,
    pub(crate) audience: ipv4::Audience,
    pub(crate) reason: DropReason,
}

impl Inet {
    pub(crate) fn new(config: &Config, random: &mut Random) -> Self {
        let limits = NeighborLimits {
            entries: config.neighbors,
            queue_packets: config.neighbor_queue,
            queue_bytes: config.neighbor_queue_bytes,
            total_queue_bytes: config.neighbor_queue_bytes,
            lifetime: config.neighbor_lifetime,
        };
        Self {
            addresses: Addresses::new(config.addresses, random),
            routes: Routes::new(random),
            neighbors: NeighborCache::new(limits, random.next_seed()),
            path_mtus: path_mtu::PathMtus::default(),
            reassembly: Reassembly::new(fragment::Limits {
                bytes: config.fragment_bytes,
                datagrams: config.fragment_datagrams,
                of_peer: config.fragment_datagrams_per_peer,
            }),
            identifications: identification::Identifications::new(random),
            multicast: igmp::Multicast::new(random),
            error_budget: error_budget::ErrorBudget::new(random),
            redirects: redirect::Redirects::default(),
            unreachable: Vec::new(),
            undelivered: Vec::new(),
            raw_copy: None,
            neighbor_timer: None,
            fragment_timer: None,
            redirect_timer: None,
        }
    }

    /// A packet has come in by a link.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        incoming: &Incoming,
        packet: &mut Received,
    ) -> Option<Delivery> {
        match incoming.ethertype {
            EtherType::ARP => {
                self.receive_arp(cx, link, incoming.interface, packet);
                None
            }
            _ => self.receive_ipv4(cx, link, incoming, packet),
        }
    }

    /// Something was due.
    pub(crate) fn on_timer(&mut self, cx: &mut Context, link: &mut Link, timer: Timer) {
        match timer {
            Timer::Neighbors => {
                self.neighbor_timer = None;
                self.on_neighbor_timer(cx, link);
            }
            Timer::Address { interface, address } => self.on_address_timer(cx, link, interface, address),
            // TCP's own, which the stack has run.
            Timer::Connection(_) => {}
            Timer::Groups(interface) => self.on_group_timer(cx, link, interface),
            Timer::Fragments => {
                self.fragment_timer = None;
                self.on_fragment_timer(cx, link);
            }
            Timer::Redirects => {
                self.redirect_timer = None;
                self.on_redirect_timer(cx);
            }
        }
    }

    /// Keeps the timers at the earliest deadlines of the neighbour cache, the reassembly queue and the routes of redirects.
    pub(crate) fn rearm(&mut self, cx: &mut Context) {
        rearm(cx, &mut self.neighbor_timer, Timer::Neighbors, self.neighbors.next_deadline());
        rearm(cx, &mut self.fragment_timer, Timer::Fragments, self.reassembly.next_deadline());
        rearm(cx, &mut self.redirect_timer, Timer::Redirects, self.redirects.next_deadline());
    }
}

fn rearm(cx: &mut Context, slot: &mut Option<TimerId>, timer: Timer, deadline: Option<crate::time::Instant>) {
    match (*slot, deadline) {
        (Some(id), Some(deadline)) if cx.timers.reset(id, deadline) => {}
        (_, Some(deadline)) => *slot = Some(cx.timers.insert(timer, deadline)),
        (Some(id), None) => {
            cx.timers.cancel(id);
            *slot = None;
        }
        (None, None) => {}
    }
}
