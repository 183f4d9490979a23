//! [`Writer`]: version 3 reports, as few as hold the records (RFC 3376 section 4.2.16).

use alloc::{vec, vec::Vec};
use core::net::Ipv4Addr;

use rumpnet_wire::{
    checksum::Sum,
    igmp::Message,
    ipv4,
    multicast::{GroupAddress as _, Record, RecordKind, emit_addresses},
};

/// Octets of the router alert option (RFC 2113).
const ROUTER_ALERT: usize = 4;
/// The least room for records: one with a source, whatever the MTU.
const LEAST_ROOM: usize = Record::<Ipv4Addr>::LEN + Ipv4Addr::LEN;

/// Reports being written.
pub(super) struct Writer {
    /// Octets of records in one report.
    room: usize,
    records: u16,
    data: Vec<u8>,
    whole: Vec<Vec<u8>>,
}

impl Writer {
    /// Reports that cross a link of this MTU unfragmented.
    pub(super) fn new(mtu: u32) -> Self {
        let headers = ipv4::Header::LEN + ROUTER_ALERT + Message::LEN;
        let room = (mtu.min(u16::MAX.into()) as usize).saturating_sub(headers).max(LEAST_ROOM);
        Self { room, records: 0, data: Vec::new(), whole: Vec::new() }
    }

    /// Adds a record. One that fits no report is split, but for those that exclude: of these as many sources are named as fit.
    pub(super) fn push(&mut self, kind: RecordKind, group: Ipv4Addr, sources: &[Ipv4Addr]) {
        let most = (self.room - Record::<Ipv4Addr>::LEN) / Ipv4Addr::LEN;
        let splits = !matches!(kind, RecordKind::ModeIsExclude | RecordKind::ChangeToExclude);
        let mut rest = if splits { sources } else { &sources[..sources.len().min(most)] };
        loop {
            let (now, later) = rest.split_at(rest.len().min(most));
            self.push_whole(kind, group, now);
            rest = later;
            if rest.is_empty() {
                return;
            }
        }
    }

    fn push_whole(&mut self, kind: RecordKind, group: Ipv4Addr, sources: &[Ipv4Addr]) {
        let record = Record { kind, auxiliary_words: 0, sources: sources.len() as u16, group };
        let start = self.data.len();
        if start + Record::<Ipv4Addr>::LEN + record.body_len() > self.room {
            self.flush();
            return self.push_whole(kind, group, sources);
        }
        self.records += 1;
        self.data.resize(start + Record::<Ipv4Addr>::LEN + record.body_len(), 0);
        let (head, body) = self.data[start..].split_at_mut(Record::<Ipv4Addr>::LEN);
        record.emit(head).expect("the room has the record's length");
        emit_addresses(sources, body).expect("the room has the sources' length");
    }

    fn flush(&mut self) {
        let message = Message::ReportV3 { records: self.records };
        let mut bytes = vec![0; Message::LEN];
        message.emit(*Sum::new().add(&self.data), &mut bytes).expect("the room has the message's length");
        bytes.append(&mut self.data);
        self.records = 0;
        self.whole.push(bytes);
    }

    /// All reports, each a whole message; none without a record.
    pub(super) fn finish(mut self) -> Vec<Vec<u8>> {
        if self.records > 0 {
            self.flush();
        }
        self.whole
    }
}

#[cfg(test)]
mod tests {
    use rumpnet_wire::multicast::Records;

    use super::*;

    fn sources(count: u32) -> Vec<Ipv4Addr> {
        (0..count).map(|number| Ipv4Addr::from(0x0a00_0000 + number)).collect()
    }

    /// The number of sources of every record, report by report.
    fn written(mtu: u32, push: impl FnOnce(&mut Writer)) -> Vec<Vec<usize>> {
        let mut writer = Writer::new(mtu);
        push(&mut writer);
        let reports = writer.finish();
        assert!(reports.iter().all(|report| report.len() + 24 <= mtu as usize), "each fits the MTU");
        let records = |report: &Vec<u8>| {
            let (Message::ReportV3 { records }, data) = Message::parse(report).unwrap() else {
                panic!("a report")
            };
            Records::<Ipv4Addr>::new(records, data).map(|record| record.unwrap().1.len()).collect()
        };
        reports.iter().map(records).collect()
    }

    #[test]
    fn records_go_into_as_few_reports_as_hold_them() {
        let groups = |writer: &mut Writer| {
            (0..400_u32).for_each(|number| {
                writer.push(RecordKind::ChangeToExclude, Ipv4Addr::from(0xe100_0000 + number), &[])
            });
        };
        let counts: Vec<_> = written(1500, groups).iter().map(Vec::len).collect();
        // 1500 octets less 24 of IP and 8 of IGMP, at 8 a record.
        assert_eq!(counts, [183, 183, 34]);
        assert!(written(1500, |_| {}).is_empty());
    }

    #[test]
    fn a_record_too_long_for_a_report_is_split_unless_it_excludes() {
        let group = Ipv4Addr::new(232, 0, 0, 1);
        let of = |kind| written(1500, |writer| writer.push(kind, group, &sources(800)));
        assert_eq!(of(RecordKind::AllowNewSources), [[365], [365], [70]]);
        assert_eq!(of(RecordKind::ModeIsInclude), [[365], [365], [70]]);
        assert_eq!(of(RecordKind::ModeIsExclude), [[365]]);
        assert_eq!(of(RecordKind::ChangeToExclude), [[365]]);
    }

    #[test]
    fn the_least_mtu_holds_a_record() {
        let group = Ipv4Addr::new(232, 0, 0, 1);
        assert_eq!(
            written(68, |writer| writer.push(RecordKind::BlockOldSources, group, &sources(8))),
            [[7], [1]]
        );
    }
}
