//! Address conflict detection (RFC 5227): probes, announcements, defence.
//!
//! By default an address may be used while it is probed, as RFC 4429 allows for IPv6: nobody waits for five seconds.
//! `net.inet.ip.dad_optimistic=0` restores strict waiting, `net.inet.ip.dad_count=0` does without probes.

use core::net::{IpAddr, Ipv4Addr};

use rumpnet_proto::{AddressFlags, Counter};
use rumpnet_wire::{
    arp::{Operation, Packet},
    ethernet,
};

use super::{Inet, arp::send_arp};
use crate::{
    context::{Context, Notice, Timer},
    link::Link,
    time::Duration,
};

/// PROBE_MIN and PROBE_MAX: the least and the greatest pause between two probes.
const PROBE_MIN: Duration = Duration::from_secs(1);
const PROBE_MAX: Duration = Duration::from_secs(2);
/// ANNOUNCE_WAIT: from the last probe to the first announcement.
const ANNOUNCE_WAIT: Duration = Duration::from_secs(2);
/// ANNOUNCE_NUM and ANNOUNCE_INTERVAL: how many announcements, and the pause between them.
const ANNOUNCE_NUM: u8 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// DEFEND_INTERVAL: an address is defended at most once in this time.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

impl Inet {
    /// An address was added, or its interface came up: begin conflict detection.
    pub(crate) fn start_conflict_detection(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        interface: u32,
        address: IpAddr,
    ) {
        let resolves = link.interfaces.by_index(interface).is_some_and(|interface| interface.resolves());
        let probes = cx.config.dad_count;
        let Some(entry) = self.addresses.find_mut(interface, address) else { return };
        if let Some(timer) = entry.timer.take() {
            cx.timers.cancel(timer);
        }
        entry.flags.remove(AddressFlags::DUPLICATED | AddressFlags::DETACHED);
        let detect = resolves && address.is_ipv4();
        entry.probes_left = if detect { probes } else { 0 };
        entry.announcements_left = if detect { ANNOUNCE_NUM } else { 0 };
        entry.flags.set(AddressFlags::TENTATIVE, entry.probes_left > 0);
        self.addresses.follow(interface, address, cx.config.dad_optimistic);
        if detect {
            self.on_address_timer(cx, link, interface, address);
        }
    }

    /// The next probe or announcement of an address is due.
    pub(super) fn on_address_timer(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        interface: u32,
        address: IpAddr,
    ) {
        let pause = PROBE_MIN
            + Duration::from_millis(u64::from(
                cx.random.below((PROBE_MAX.as_millis() - PROBE_MIN.as_millis()) as u32 + 1),
            ));
        let Some(entry) = self.addresses.find_mut(interface, address) else { return };
        entry.timer = None;
        let next = if entry.probes_left > 0 {
            entry.probes_left -= 1;
            if entry.probes_left > 0 { Some((true, pause)) } else { Some((true, ANNOUNCE_WAIT)) }
        } else if entry.announcements_left > 0 {
            entry.flags.remove(AddressFlags::TENTATIVE);
            entry.announcements_left -= 1;
            Some((false, ANNOUNCE_INTERVAL))
        } else {
            None
        };
        let Some((probe, wait)) = next else { return };
        entry.timer = Some(cx.timers.insert(Timer::Address { interface, address }, cx.now + wait));
        self.addresses.follow(interface, address, cx.config.dad_optimistic);
        cx.count(if probe { Counter::ArpProbesSent } else { Counter::ArpAnnouncementsSent });
        self.announce(cx, link, interface, address, probe);
    }

    /// A packet shows that another station uses an address of ours.
    pub(super) fn on_conflict(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        interface: u32,
        address: Ipv4Addr,
        by: ethernet::Address,
    ) {
        let address = IpAddr::V4(address);
        let now = cx.now;
        cx.count(Counter::ArpConflicts);
        let Some(entry) = self.addresses.find_mut(interface, address) else { return };
        let lost = entry.flags.contains(AddressFlags::TENTATIVE);
        let recently = entry.defended.is_some_and(|then| now - then < DEFEND_INTERVAL);
        if lost {
            entry.flags.remove(AddressFlags::TENTATIVE);
            entry.flags.insert(AddressFlags::DUPLICATED);
            (entry.probes_left, entry.announcements_left) = (0, 0);
            if let Some(timer) = entry.timer.take() {
                cx.timers.cancel(timer);
            }
        } else if recently || entry.flags.contains(AddressFlags::DUPLICATED) {
            return;
        } else {
            entry.defended = Some(now);
        }
        self.addresses.follow(interface, address, cx.config.dad_optimistic);
        if !lost {
            cx.count(Counter::ArpDefended);
            self.announce(cx, link, interface, address, false);
        }
        if let Some(interface) = link.interfaces.by_index(interface) {
            cx.notice(Notice::AddressConflict { interface: interface.name, address, by, lost });
        }
    }

    /// Announces every address of an interface whose link address has changed.
    pub(crate) fn announce_all(&self, cx: &mut Context, link: &mut Link, interface: u32) {
        let optimistic = cx.config.dad_optimistic;
        for entry in self.addresses.of(interface).filter(|entry| entry.is_usable(optimistic)) {
            cx.count(Counter::ArpAnnouncementsSent);
            self.announce(cx, link, interface, entry.address, false);
        }
    }

    /// Sends an ARP probe (sender address 0) or an announcement (sender and target the same).
    fn announce(&self, cx: &mut Context, link: &mut Link, index: u32, address: IpAddr, probe: bool) {
        let Some(interface) = link.interfaces.by_index(index).filter(|interface| interface.resolves()) else {
            return;
        };
        let (Some(hardware), IpAddr::V4(address)) = (interface.link_address, address) else { return };
        let packet = Packet {
            operation: Operation::Request,
            sender_hardware: hardware,
            sender_protocol: if probe { Ipv4Addr::UNSPECIFIED } else { address },
            target_hardware: ethernet::Address([0; 6]),
            target_protocol: address,
        };
        send_arp(cx, link, index, ethernet::Address::BROADCAST, &packet);
    }
}
