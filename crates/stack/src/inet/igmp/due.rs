//! What is due on an interface: changes told, and told again; queries answered. And how an IGMP message is sent.

use alloc::{vec, vec::Vec};
use core::net::{IpAddr, Ipv4Addr};

use rumpnet_proto::Counter;
use rumpnet_wire::{
    checksum::Sum,
    igmp::Message,
    ip::Protocol,
    ipv4::{IpOption, Options},
};

use super::{
    ALL_HOSTS, Multicast,
    group::Group,
    report::Writer,
    speaker::{Cursor, Speaker, Then, Version, Walk},
    within,
};
use crate::{
    buffer::{Checksum, Frame},
    context::{Context, Timer},
    inet::{
        Inet,
        ipv4::Outgoing,
        rearm,
        route::{Path, Scope},
    },
    link::Link,
    time::Duration,
};

/// The pause after a slice of work, so that a kernel with many groups does other things in between.
const PAUSE: Duration = Duration::from_millis(1);
/// To whom reports of version 3 go, and leaves (RFC 3376 section 4.2.14, RFC 2236 section 9).
const ALL_REPORTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
/// Type of service of IGMP: internetwork control (RFC 3376 section 4).
const INTERNETWORK_CONTROL: u8 = 0xc0;

/// What one run has to send.
struct Letters {
    version: Version,
    writer: Writer,
    older: Vec<(Ipv4Addr, Message)>,
}

impl Letters {
    /// Tells the change of a group once; true if it is to be told again.
    fn tell(&mut self, address: Ipv4Addr, group: &mut Group) -> bool {
        if self.version == Version::V3 {
            return group.tell(address, &mut self.writer);
        }
        if group.is_joined() {
            self.report(address, group);
            return group.count_told();
        }
        // Only whoever spoke last takes it back (RFC 2236 section 3).
        if self.version == Version::V2 && group.reporter {
            self.older.push((ALL_ROUTERS, Message::Leave { group: address }));
        }
        false
    }

    /// Reports a group in an older version.
    fn report(&mut self, address: Ipv4Addr, group: &mut Group) {
        group.reporter = true;
        self.older.push((
            address,
            match self.version {
                Version::V1 => Message::ReportV1 { group: address },
                _ => Message::ReportV2 { group: address },
            },
        ));
    }
}

impl Inet {
    /// Something is due on an interface.
    pub(in crate::inet) fn on_group_timer(&mut self, cx: &mut Context, link: &mut Link, interface: u32) {
        let Some(mtu) = link.interfaces.by_index(interface).map(|interface| interface.mtu) else { return };
        let Some(speaker) = self.multicast.speakers.get_mut(&interface) else { return };
        speaker.timer = None;
        speaker.follow_version(cx.now);
        let version = speaker.version;
        let mut letters = Letters { version, writer: Writer::new(mtu), older: Vec::new() };
        self.multicast.walk_some(cx, interface);
        self.multicast.tell_fresh(cx, interface, &mut letters);
        self.multicast.tell_again(cx, interface, &mut letters);
        self.multicast.answer_general(cx, interface, &mut letters);
        self.multicast.answer_single(cx, interface, &mut letters);
        if let Some(speaker) = self.multicast.speakers.get_mut(&interface)
            && speaker.deadline().is_some_and(|due| due <= cx.now)
        {
            speaker.rests_until = cx.now + PAUSE;
        }
        self.arm_speaker(cx, interface);
        for report in letters.writer.finish() {
            self.send_igmp(cx, link, interface, ALL_REPORTS, report);
        }
        for (to, message) in letters.older {
            let mut bytes = vec![0; message.header_len()];
            message.emit(Sum::new(), &mut bytes).expect("the room has the message's length");
            self.send_igmp(cx, link, interface, to, bytes);
        }
    }

    /// Keeps an interface's timer at its earliest deadline.
    pub(super) fn arm_speaker(&mut self, cx: &mut Context, interface: u32) {
        if let Some(speaker) = self.multicast.speakers.get_mut(&interface) {
            let deadline = speaker.deadline();
            rearm(cx, &mut speaker.timer, Timer::Groups(interface), deadline);
        }
    }

    /// Sends a message, from our first usable address or from none (RFC 3376 section 4.2.13); what the link refuses is counted there.
    fn send_igmp(
        &mut self,
        cx: &mut Context,
        link: &mut Link,
        interface: u32,
        to: Ipv4Addr,
        message: Vec<u8>,
    ) {
        let leaves = message.first() == Some(&LEAVE);
        cx.count(if leaves { Counter::IgmpLeavesSent } else { Counter::IgmpReportsSent });
        let destination = IpAddr::V4(to);
        let ours = self.addresses.source_for(interface, destination, cx.config.dad_optimistic);
        let source = ours.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let mut options = Options::default();
        options.push(&IpOption::RouterAlert(0)).expect("an empty header has room for an option");
        let outgoing = Outgoing {
            protocol: Protocol::IGMP,
            destination,
            ttl: 1,
            tos: INTERNETWORK_CONTROL,
            dont_fragment: false,
            transport_len: Message::LEN,
            options,
        };
        // The reports were written for the link's MTU.
        let (mtu, scope) = (u32::from(u16::MAX), Scope::Multicast { loops: false });
        let path = Path { interface, next_hop: destination, source, mtu, scope };
        let mut frame = Frame { payload: bytes::Bytes::from(message).into(), ..Frame::default() };
        frame.offload.checksum = Checksum::Verified;
        let _counted = self.send(cx, link, &path, &outgoing, frame);
    }
}

/// The kind of a leave, which is counted apart.
const LEAVE: u8 = 0x17;

impl Multicast {
    /// Prepares something for some of all groups.
    fn walk_some(&mut self, cx: &mut Context, interface: u32) {
        let Some(speaker) = self.speakers.get_mut(&interface) else { return };
        let Some(walk) = speaker.walk.take() else { return };
        let (slice, more) = slice(&self.order, (interface, walk.from), speaker.version.slice());
        if let Some(from) = more {
            speaker.walk = Some(Walk { from, ..walk });
        }
        for address in slice {
            self.prepare(cx, interface, address, &walk);
        }
    }

    fn prepare(&mut self, cx: &mut Context, interface: u32, address: Ipv4Addr, walk: &Walk) {
        let key = (interface, address);
        let Some(speaker) = self.speakers.get_mut(&interface) else { return };
        let Some(group) = self.groups.get_mut(&key) else { return };
        // What is fresh was to be told only after the walk had begun.
        if walk.resets && !speaker.fresh.contains(&address) {
            group.forget_untold();
            speaker.forget_stale_answer(address, group);
            if !group.is_joined() {
                return self.remove(key);
            }
        }
        if !group.is_joined() || address == ALL_HOSTS {
            return;
        }
        match walk.then {
            Then::Nothing => {}
            Then::Report => {
                group.tell_all(speaker.robustness);
                speaker.told.remove(&address);
                speaker.fresh.insert(address);
            }
            Then::Answer(within) => speaker.schedule_answer(cx, (address, group), within),
        }
    }

    /// Tells some of the changes that have not been told yet.
    fn tell_fresh(&mut self, cx: &mut Context, interface: u32, letters: &mut Letters) {
        let Some(speaker) = self.speakers.get_mut(&interface) else { return };
        let mut gone = Vec::new();
        for _ in 0..letters.version.slice() {
            let Some(address) = speaker.fresh.pop_first() else { break };
            let Some(group) = self.groups.get_mut(&(interface, address)) else { continue };
            speaker.follow_told((address, group), letters, &mut gone);
        }
        if !speaker.told.is_empty() && speaker.repeat.is_none() {
            let due = within(cx, letters.version.report_interval());
            speaker.repeat = Some(Cursor { due, from: Ipv4Addr::UNSPECIFIED });
        }
        gone.into_iter().for_each(|address| self.remove((interface, address)));
    }

    /// Tells some of the changes again, all of them in one round.
    fn tell_again(&mut self, cx: &mut Context, interface: u32, letters: &mut Letters) {
        let Some(speaker) = self.speakers.get_mut(&interface) else { return };
        let Some(Cursor { due, from }) = speaker.repeat.filter(|cursor| cursor.due <= cx.now) else { return };
        let mut round: Vec<_> =
            speaker.told.range(from..).take(letters.version.slice() + 1).copied().collect();
        let more = if round.len() > letters.version.slice() { round.pop() } else { None };
        let mut gone = Vec::new();
        for address in round {
            let Some(group) = self.groups.get_mut(&(interface, address)) else { continue };
            speaker.follow_told((address, group), letters, &mut gone);
        }
        speaker.repeat = match more {
            Some(from) => Some(Cursor { due, from }),
            None if speaker.told.is_empty() => None,
            None => {
                let due = within(cx, letters.version.report_interval());
                Some(Cursor { due, from: Ipv4Addr::UNSPECIFIED })
            }
        };
        gone.into_iter().for_each(|address| self.remove((interface, address)));
    }

    /// Answers a general query about some of all groups (RFC 3376 section 5.2).
    fn answer_general(&mut self, cx: &Context, interface: u32, letters: &mut Letters) {
        let Some(speaker) = self.speakers.get_mut(&interface) else { return };
        let Some(Cursor { due, from }) = speaker.general.filter(|cursor| cursor.due <= cx.now) else {
            return;
        };
        let (slice, more) = slice(&self.order, (interface, from), letters.version.slice());
        speaker.general = more.map(|from| Cursor { due, from });
        for address in slice.into_iter().filter(|address| *address != ALL_HOSTS) {
            if let Some(group) = self.groups.get(&(interface, address)).filter(|group| group.is_joined()) {
                group.write_state(address, &mut letters.writer);
            }
        }
    }

    /// Answers some of the queries about single groups that are due.
    fn answer_single(&mut self, cx: &Context, interface: u32, letters: &mut Letters) {
        let Some(speaker) = self.speakers.get_mut(&interface) else { return };
        for _ in 0..letters.version.slice() {
            if speaker.answers.first().is_none_or(|(due, _)| *due > cx.now) {
                return;
            }
            let Some((_, address)) = speaker.answers.pop_first() else { return };
            let Some(group) = self.groups.get_mut(&(interface, address)) else { continue };
            let Some(answer) = group.answer.take().filter(|_| group.is_joined()) else { continue };
            match letters.version {
                Version::V3 => group.write_answer(address, &answer, &mut letters.writer),
                Version::V1 | Version::V2 => letters.report(address, group),
            }
        }
    }
}

impl Speaker {
    /// Tells a change once and keeps account of whether it is told again; groups that are left and of which all is told are gone.
    fn follow_told(
        &mut self,
        (address, group): (Ipv4Addr, &mut Group),
        letters: &mut Letters,
        gone: &mut Vec<Ipv4Addr>,
    ) {
        if letters.tell(address, group) {
            self.told.insert(address);
            return;
        }
        self.told.remove(&address);
        group.forget_untold();
        if !group.is_joined() {
            group.answer.take().into_iter().for_each(|answer| {
                self.answers.remove(&(answer.due, address));
            });
            gone.push(address);
        }
    }
}

/// Some groups of an interface from one on, and the first of those that are left over.
fn slice(
    order: &alloc::collections::BTreeSet<(u32, Ipv4Addr)>,
    from: (u32, Ipv4Addr),
    len: usize,
) -> (Vec<Ipv4Addr>, Option<Ipv4Addr>) {
    let of_interface = order.range(from..=(from.0, Ipv4Addr::BROADCAST));
    let mut slice: Vec<_> = of_interface.take(len + 1).map(|(_, address)| *address).collect();
    let more = if slice.len() > len { slice.pop() } else { None };
    (slice, more)
}
