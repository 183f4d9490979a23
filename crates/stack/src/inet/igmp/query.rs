//! IGMP messages that come in: queries, which are answered, and reports of others, which spare ours in older versions.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use rumpnet_proto::{Counter, DropReason};
use rumpnet_wire::{
    Malformed,
    igmp::Message,
    ipv4::{Header, IpOption},
    multicast::{Addresses, QueryExtension, decode_octet},
};

use super::{
    ALL_HOSTS, Multicast,
    group::{Answer, Group},
    is_present,
    speaker::{Cursor, Speaker, Then, Version, Walk},
    speaks_igmp, within,
};
use crate::{
    buffer::Received,
    context::Context,
    inet::{Delivery, Inet, Unclaimed, ipv4::Audience},
    link::Link,
    time::{Duration, Instant},
};

/// The time that a version 1 query leaves for an answer (RFC 3376 section 7.2.1).
const VERSION_1_RESPONSE: Duration = Duration::from_secs(10);

/// A query that may be answered.
struct Query {
    version: Version,
    /// Within which time.
    response: Duration,
    /// About which group; unspecified: all.
    group: Ipv4Addr,
    /// About which of its sources; none: all.
    sources: Vec<Ipv4Addr>,
    /// What a version 3 querier says of itself.
    extension: Option<QueryExtension>,
}

impl Inet {
    /// An IGMP message for us, its cursor at the IGMP header.
    pub(in crate::inet) fn receive_igmp(
        &mut self,
        cx: &mut Context,
        link: &Link,
        interface: u32,
        header: &Header,
        packet: &Received,
        audience: Audience,
    ) -> Option<Delivery> {
        cx.count(Counter::IgmpReceived);
        let bytes: Vec<u8> = packet.slices().flatten().copied().collect();
        let refused = match Message::parse(&bytes) {
            Err(Malformed::Checksum) => DropReason::IgmpChecksum,
            Err(_) => DropReason::IgmpTruncated,
            Ok(_) if header.ttl != 1 => DropReason::IgmpTtl,
            Ok((Message::Query { max_response, group, extension }, data)) => {
                match determine_query(header, audience, (max_response, group, extension), data) {
                    Err(reason) => reason,
                    Ok(query) => {
                        self.on_query(cx, link, interface, &query);
                        return None;
                    }
                }
            }
            Ok((message @ (Message::ReportV1 { group } | Message::ReportV2 { group }), _)) => {
                let alerts = matches!(message, Message::ReportV1 { .. }) || has_router_alert(header);
                match self.determine_report_fault(interface, header, group, alerts) {
                    Some(reason) => reason,
                    None => {
                        self.on_report(cx, interface, group);
                        return None;
                    }
                }
            }
            Ok((Message::Leave { .. } | Message::ReportV3 { .. }, _)) => DropReason::IgmpForRouters,
            Ok((Message::Unknown { .. }, _)) => DropReason::IgmpUnknownType,
        };
        // Raw sockets may be a router's.
        Some(Delivery::Unclaimed(Unclaimed { interface, audience, reason: refused }))
    }

    fn on_query(&mut self, cx: &mut Context, link: &Link, interface: u32, query: &Query) {
        cx.count(Counter::IgmpQueriesReceived);
        if query.version != Version::V3 {
            cx.count(Counter::IgmpOlderQueriesReceived);
        }
        let Some(found) = link.interfaces.by_index(interface).filter(|interface| speaks_igmp(interface))
        else {
            return;
        };
        let Multicast { groups, speakers, .. } = &mut self.multicast;
        let now = cx.now;
        let speaker =
            speakers.entry(interface).or_insert_with(|| Speaker::new(is_present(found), now).into());
        match &query.extension {
            None => speaker.hear_older(query.version, query.response, now),
            Some(extension) => {
                let interval = Duration::from_secs(decode_octet(extension.interval_code).into());
                speaker.hear_querier(extension.robustness, interval);
            }
        }
        speaker.follow_version(now);
        if query.group.is_unspecified() {
            speaker.on_general_query(cx, query.response);
        } else if query.group != ALL_HOSTS
            && let Some(group) = groups.get_mut(&(interface, query.group)).filter(|group| group.is_joined())
        {
            speaker.on_group_query(cx, (query.group, group), query);
        }
        self.arm_speaker(cx, interface);
    }

    /// Another host is in a group of ours: in older versions nobody need say so again (RFC 2236 section 3).
    fn on_report(&mut self, cx: &mut Context, interface: u32, address: Ipv4Addr) {
        cx.count(Counter::IgmpReportsReceived);
        let Multicast { groups, speakers, .. } = &mut self.multicast;
        let Some(speaker) = speakers.get_mut(&interface) else { return };
        speaker.follow_version(cx.now);
        let Some(group) = groups.get_mut(&(interface, address)).filter(|group| group.is_joined()) else {
            return;
        };
        if speaker.version == Version::V3 {
            return;
        }
        group.reporter = false;
        group.forget_untold();
        let untold = speaker.fresh.remove(&address) | speaker.told.remove(&address);
        let answer = group.answer.take();
        answer.iter().for_each(|answer| {
            speaker.answers.remove(&(answer.due, address));
        });
        if untold || answer.is_some() {
            cx.count(Counter::IgmpReportsSuppressed);
        }
        self.arm_speaker(cx, interface);
    }

    /// What is wrong with a report, if anything (RFC 2236 sections 9 and 10).
    fn determine_report_fault(
        &self,
        interface: u32,
        header: &Header,
        group: Ipv4Addr,
        alerts: bool,
    ) -> Option<DropReason> {
        if !alerts {
            return Some(DropReason::IgmpNoRouterAlert);
        }
        if !group.is_multicast() {
            return Some(DropReason::IgmpGroupInvalid);
        }
        if header.destination != group {
            return Some(DropReason::IgmpDestinationInvalid);
        }
        let near = self.addresses.is_near(interface, IpAddr::V4(header.source));
        (!near).then_some(DropReason::IgmpSourceInvalid)
    }
}

/// What a query asks, or why it is not answered (RFC 3376 sections 4.1.12, 7.1 and 9.1).
fn determine_query(
    header: &Header,
    audience: Audience,
    (max_response, group, extension): (u8, Ipv4Addr, Option<QueryExtension>),
    data: &[u8],
) -> Result<Query, DropReason> {
    let tenths = |tenths: u16| Duration::from_millis(u64::from(tenths) * 100);
    let (version, response) = match extension {
        Some(_) => (Version::V3, tenths(decode_octet(max_response))),
        // Neither the eight octets of an older version nor the twelve of this one.
        None if !data.is_empty() => return Err(DropReason::IgmpTruncated),
        None if max_response == 0 => (Version::V1, VERSION_1_RESPONSE),
        None => (Version::V2, tenths(max_response.into())),
    };
    if version != Version::V1 && !has_router_alert(header) {
        return Err(DropReason::IgmpNoRouterAlert);
    }
    // A version 1 query is about all groups, whatever it says (RFC 1112 appendix I).
    let group = if version == Version::V1 { Ipv4Addr::UNSPECIFIED } else { group };
    if !group.is_unspecified() && !group.is_multicast() {
        return Err(DropReason::IgmpGroupInvalid);
    }
    let to_all = header.destination == ALL_HOSTS || audience == Audience::Us;
    if !to_all && (group.is_unspecified() || header.destination != group) {
        return Err(DropReason::IgmpDestinationInvalid);
    }
    let count = extension.map_or(0, |extension| usize::from(extension.sources));
    let sources = Addresses::new(data).iter().take(count).collect();
    Ok(Query { version, response, group, sources, extension })
}

fn has_router_alert(header: &Header) -> bool {
    header.options.iter().any(|option| matches!(option, Ok(IpOption::RouterAlert(_))))
}

impl Speaker {
    /// RFC 3376 section 5.2, rules 1 and 2.
    fn on_general_query(&mut self, cx: &mut Context, response: Duration) {
        if self.version != Version::V3 {
            return self.begin(
                Walk { from: Ipv4Addr::UNSPECIFIED, resets: false, then: Then::Answer(response) },
                cx.now,
            );
        }
        let due = within(cx, response);
        if self.general.is_none_or(|pending| pending.due > due) {
            self.general = Some(Cursor { due, from: Ipv4Addr::UNSPECIFIED });
        }
    }

    /// RFC 3376 section 5.2, rules 1 and 3 to 5.
    fn on_group_query(&mut self, cx: &mut Context, (address, group): (Ipv4Addr, &mut Group), query: &Query) {
        if self.version != Version::V3 {
            return self.schedule_answer(cx, (address, group), query.response);
        }
        let due = within(cx, query.response);
        if self.general.is_some_and(|general| general.due <= due) {
            return;
        }
        self.forget_stale_answer(address, group);
        self.forget_answer(address, group.answer.as_ref());
        if group.ask(due, &query.sources, cx.config.group_sources as usize) {
            cx.count(Counter::IgmpQueriesOverflowed);
        }
        self.answers.extend(group.answer.iter().map(|answer| (answer.due, address)));
    }

    /// A report in an older version is to be made within a time, unless one is to be made sooner (RFC 2236 section 3).
    pub(super) fn schedule_answer(
        &mut self,
        cx: &mut Context,
        (address, group): (Ipv4Addr, &mut Group),
        response: Duration,
    ) {
        self.forget_stale_answer(address, group);
        let latest: Instant = cx.now + response;
        if group.answer.as_ref().is_some_and(|pending| pending.due <= latest) {
            return;
        }
        self.forget_answer(address, group.answer.as_ref());
        let due = within(cx, response);
        group.answer = Some(Answer { due, sources: None });
        self.answers.insert((due, address));
    }

    /// An answer that a change of version has called off is none.
    pub(super) fn forget_stale_answer(&self, address: Ipv4Addr, group: &mut Group) {
        group.answer.take_if(|answer| !self.answers.contains(&(answer.due, address)));
    }

    fn forget_answer(&mut self, address: Ipv4Addr, answer: Option<&Answer>) {
        answer.into_iter().for_each(|answer| {
            self.answers.remove(&(answer.due, address));
        });
    }
}
