//! [`Group`]: one group on one interface: what is wanted of it, and what routers have still to be told (RFC 3376 section 5).

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::net::Ipv4Addr;

use rumpnet_proto::{FilterMode, SourceFilter};
use rumpnet_wire::multicast::RecordKind;

use super::{filter::Merged, report::Writer};
use crate::time::Instant;

/// Sources of which changes are told one by one; of more than these all is told anew, as after a change of mode.
const MOST_UNTOLD: usize = 256;

/// A group on an interface; one without members is kept until that is told.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) merged: Merged,
    untold: Untold,
    /// When a query about it is to be answered.
    pub(super) answer: Option<Answer>,
    /// Whether the last report of it that was heard was ours (RFC 2236 section 3).
    pub(super) reporter: bool,
}

/// A change that has still to be told, so many times.
#[derive(Clone, Debug, Default)]
struct Untold {
    /// That of the mode.
    mode: u8,
    /// That of each source.
    sources: BTreeMap<Ipv4Addr, u8>,
}

/// An answer that waits for its time.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) due: Instant,
    /// The sources asked for; all of them if absent.
    pub(super) sources: Option<BTreeSet<Ipv4Addr>>,
}

impl Group {
    pub(super) const fn is_joined(&self) -> bool {
        self.merged.members() > 0
    }

    /// Nothing is told that was to be told.
    pub(super) fn forget_untold(&mut self) {
        self.untold = Untold::default();
    }

    /// The whole state is to be told so many times.
    pub(super) fn tell_all(&mut self, times: u8) {
        self.untold = Untold { mode: times, sources: BTreeMap::new() };
    }

    /// The group was as `before` until now: what is new is to be told so many times (RFC 3376 section 5.1). False if there is nothing new.
    pub(super) fn tell_change(&mut self, before: &SourceFilter, times: u8) -> bool {
        let after = self.merged.filter();
        if before.mode != after.mode {
            self.tell_all(times);
            return true;
        }
        let changed: Vec<_> = before.sources.symmetric_difference(&after.sources).copied().collect();
        self.untold.sources.extend(changed.iter().map(|source| (*source, times)));
        if self.untold.sources.len() > MOST_UNTOLD {
            self.tell_all(times);
        }
        !changed.is_empty()
    }

    /// Writes the records that tell the change once; true if it is to be told again.
    pub(super) fn tell(&mut self, address: Ipv4Addr, writer: &mut Writer) -> bool {
        let filter = self.merged.filter();
        if self.untold.mode > 0 {
            let kind = match filter.mode {
                FilterMode::Include => RecordKind::ChangeToInclude,
                FilterMode::Exclude => RecordKind::ChangeToExclude,
            };
            writer.push(kind, address, &in_order(&filter.sources));
        } else {
            let untold = || self.untold.sources.keys().copied();
            let (new, old): (Vec<_>, Vec<_>) = untold().partition(|source| filter.admits(*source));
            for (kind, sources) in [(RecordKind::AllowNewSources, new), (RecordKind::BlockOldSources, old)] {
                if !sources.is_empty() {
                    writer.push(kind, address, &sources);
                }
            }
        }
        self.count_told()
    }

    /// The change was told once; true if it is to be told again.
    pub(super) fn count_told(&mut self) -> bool {
        self.untold.mode = self.untold.mode.saturating_sub(1);
        self.untold.sources.retain(|_, left| {
            *left -= 1;
            *left > 0
        });
        self.untold.mode > 0 || !self.untold.sources.is_empty()
    }

    /// Writes the record that says how it is.
    pub(super) fn write_state(&self, address: Ipv4Addr, writer: &mut Writer) {
        let filter = self.merged.filter();
        let kind = match filter.mode {
            FilterMode::Include => RecordKind::ModeIsInclude,
            FilterMode::Exclude => RecordKind::ModeIsExclude,
        };
        writer.push(kind, address, &in_order(&filter.sources));
    }

    /// Writes the answer to a query: of the sources asked for those that are wanted, if any is (RFC 3376 section 5.2).
    pub(super) fn write_answer(&self, address: Ipv4Addr, answer: &Answer, writer: &mut Writer) {
        let Some(asked) = &answer.sources else { return self.write_state(address, writer) };
        let wanted: Vec<_> = asked.iter().copied().filter(|source| self.merged.admits(*source)).collect();
        if !wanted.is_empty() {
            writer.push(RecordKind::ModeIsInclude, address, &wanted);
        }
    }

    /// A query asks for sources, or for all if there are none, to be answered by `due` (RFC 3376 section 5.2, rules 3 to 5). True if they are too many
    /// to be remembered, so that all are told.
    pub(super) fn ask(&mut self, due: Instant, sources: &[Ipv4Addr], limit: usize) -> bool {
        let mut asked = Some(sources)
            .filter(|sources| !sources.is_empty())
            .map(|sources| sources.iter().take(limit + 1).copied().collect::<BTreeSet<_>>());
        let due = match self.answer.take() {
            None => due,
            Some(pending) => {
                asked = asked.zip(pending.sources).map(|(one, other)| &one | &other);
                due.min(pending.due)
            }
        };
        let too_many = asked.as_ref().is_some_and(|asked| asked.len() > limit);
        self.answer = Some(Answer { due, sources: asked.filter(|_| !too_many) });
        too_many
    }
}

fn in_order(sources: &BTreeSet<Ipv4Addr>) -> Vec<Ipv4Addr> {
    sources.iter().copied().collect()
}

#[cfg(test)]
mod tests {
    use std::vec;

    use rumpnet_wire::{
        igmp::Message,
        multicast::{Addresses, Records},
    };

    use super::*;

    const G: Ipv4Addr = Ipv4Addr::new(232, 1, 2, 3);

    fn sources(numbers: &[u8]) -> Vec<Ipv4Addr> {
        numbers.iter().map(|number| Ipv4Addr::new(10, 0, 0, *number)).collect()
    }

    fn include(numbers: &[u8]) -> SourceFilter {
        SourceFilter::include(sources(numbers))
    }

    fn exclude(numbers: &[u8]) -> SourceFilter {
        SourceFilter::exclude(sources(numbers))
    }

    /// The records of one report, each with the last octets of its sources.
    fn records(write: impl FnOnce(&mut Writer)) -> Vec<(RecordKind, Vec<u8>)> {
        let mut writer = Writer::new(1500);
        write(&mut writer);
        let Some(report) = writer.finish().pop() else { return Vec::new() };
        let (Message::ReportV3 { records }, data) = Message::parse(&report).unwrap() else {
            panic!("a report")
        };
        let octets =
            |addresses: Addresses<'_, Ipv4Addr>| addresses.iter().map(|source| source.octets()[3]).collect();
        let records = Records::<Ipv4Addr>::new(records, data).map(Result::unwrap);
        records.map(|(record, sources)| (record.kind, octets(sources))).collect()
    }

    /// What is told of a change, report by report.
    fn told(before: &SourceFilter, after: &SourceFilter) -> Vec<Vec<(RecordKind, Vec<u8>)>> {
        let mut group = Group::default();
        group.merged.add(after);
        if !group.tell_change(before, 2) {
            return Vec::new();
        }
        let mut reports = Vec::new();
        let mut more = true;
        while more {
            reports.push(records(|writer| more = group.tell(G, writer)));
        }
        reports
    }

    /// The four rows of the table in RFC 3376 section 5.1.
    #[test]
    fn a_change_is_told_as_the_table_of_the_standard_says() {
        use RecordKind::{
            AllowNewSources as Allow, BlockOldSources as Block, ChangeToExclude as ToEx,
            ChangeToInclude as ToIn,
        };
        for (before, after, expected) in [
            (include(&[1, 2]), include(&[2, 3]), vec![(Allow, vec![3]), (Block, vec![1])]),
            (exclude(&[1, 2]), exclude(&[2, 3]), vec![(Allow, vec![1]), (Block, vec![3])]),
            (include(&[1, 2]), exclude(&[2, 3]), vec![(ToEx, vec![2, 3])]),
            (exclude(&[1, 2]), include(&[2, 3]), vec![(ToIn, vec![2, 3])]),
            (include(&[1]), include(&[1, 2]), vec![(Allow, vec![2])]),
        ] {
            assert_eq!(told(&before, &after), [expected.clone(), expected], "{before:?} -> {after:?}");
        }
        assert!(told(&exclude(&[7]), &exclude(&[7])).is_empty());
    }

    #[test]
    fn changes_of_sources_wait_behind_a_change_of_mode_and_each_is_told_as_often_as_it_must() {
        use RecordKind::{AllowNewSources as Allow, ChangeToExclude as ToEx};
        let mut group = Group::default();
        group.merged.add(&exclude(&[1, 2]));
        assert!(group.tell_change(&include(&[]), 2));
        assert_eq!(records(|writer| assert!(group.tell(G, writer))), [(ToEx, vec![1, 2])]);
        group.merged.remove(&exclude(&[1, 2]));
        group.merged.add(&exclude(&[1]));
        assert!(group.tell_change(&exclude(&[1, 2]), 2));
        assert_eq!(records(|writer| assert!(group.tell(G, writer))), [(ToEx, vec![1])]);
        assert_eq!(records(|writer| assert!(!group.tell(G, writer))), [(Allow, vec![2])]);
    }

    #[test]
    fn too_many_changes_of_sources_are_told_as_a_whole() {
        let all = (0..=MOST_UNTOLD as u32).map(|number| Ipv4Addr::from(0x0a00_0000 + number));
        let mut group = Group::default();
        group.merged.add(&SourceFilter::include(all));
        assert!(group.tell_change(&include(&[]), 2));
        assert_eq!(records(|writer| assert!(group.tell(G, writer)))[0].0, RecordKind::ChangeToInclude);
    }

    fn answered(state: &SourceFilter, asked: &[&[u8]]) -> Vec<(RecordKind, Vec<u8>)> {
        let mut group = Group::default();
        group.merged.add(state);
        asked.iter().for_each(|asked| {
            group.ask(Instant::ZERO, &sources(asked), 4);
        });
        let answer = group.answer.clone().unwrap();
        records(|writer| group.write_answer(G, &answer, writer))
    }

    /// The table in RFC 3376 section 5.2, and the merging of pending answers.
    #[test]
    fn a_query_about_sources_is_answered_with_those_that_are_wanted() {
        use RecordKind::{ModeIsExclude as IsEx, ModeIsInclude as IsIn};
        assert_eq!(answered(&include(&[1, 2]), &[&[2, 3]]), [(IsIn, vec![2])]);
        assert_eq!(answered(&exclude(&[1, 2]), &[&[2, 3]]), [(IsIn, vec![3])]);
        assert_eq!(answered(&include(&[1]), &[&[2, 3]]), []);
        assert_eq!(answered(&exclude(&[1, 2]), &[&[2, 3], &[4]]), [(IsIn, vec![3, 4])]);
        assert_eq!(answered(&exclude(&[1]), &[&[2, 3], &[]]), [(IsEx, vec![1])], "the group as a whole");
        assert_eq!(answered(&exclude(&[1]), &[&[], &[2]]), [(IsEx, vec![1])], "it stays a whole");
        assert_eq!(
            answered(&exclude(&[1]), &[&[2, 3, 4], &[5, 6]]),
            [(IsEx, vec![1])],
            "too many to remember"
        );
    }

    #[test]
    fn of_two_answers_the_earlier_time_counts() {
        let mut group = Group::default();
        for due in [30, 20, 40] {
            group.ask(Instant::from_nanos(due), &[], 4);
        }
        assert_eq!(group.answer.unwrap().due, Instant::from_nanos(20));
    }
}
