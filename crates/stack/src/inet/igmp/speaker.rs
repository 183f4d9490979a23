//! [`Speaker`]: what an interface has to say of its groups, in which version, and when.
//!
//! A version 1 or 2 querier that was heard makes us speak its version until it was not heard for long enough (RFC 3376 section 7.2.1).

use alloc::collections::BTreeSet;
use core::net::Ipv4Addr;

use rumpnet_proto::SourceFilter;

use super::group::Group;
use crate::{
    time::{Duration, Instant},
    timer::TimerId,
};

/// Robustness Variable and Query Interval until a querier says others (RFC 3376 section 8).
const ROBUSTNESS: u8 = 2;
const QUERY_INTERVAL: Duration = Duration::from_secs(125);

/// A version of IGMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    V1,
    V2,
    V3,
}

impl Version {
    pub(super) const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// The longest wait before an unsolicited report is repeated (RFC 2236 section 8.10, RFC 3376 section 8.11).
    pub(super) const fn report_interval(self) -> Duration {
        match self {
            Self::V1 | Self::V2 => Duration::from_secs(10),
            Self::V3 => Duration::from_secs(1),
        }
    }

    /// Groups that one slice of work is about: a report of version 3 holds many, one of another version a single one.
    pub(super) const fn slice(self) -> usize {
        match self {
            Self::V1 | Self::V2 => 16,
            Self::V3 => 128,
        }
    }
}

/// A place in a walk over all groups, and when the walk goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    pub(super) due: Instant,
    pub(super) from: Ipv4Addr,
}

/// A walk over all groups that prepares something for each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    pub(super) from: Ipv4Addr,
    /// Whether everything is forgotten that was to be told.
    pub(super) resets: bool,
    pub(super) then: Then,
}

/// What a walk prepares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    /// Each group is reported as if it had just been joined.
    Report,
    /// Each group is reported at random within a time: the answer to a general query of an older version.
    Answer(Duration),
}

/// See the module.
pub(super) struct Speaker {
    /// Whether the link is there.
    pub(super) present: bool,
    /// How often each change is told.
    pub(super) robustness: u8,
    query_interval: Duration,
    /// Until when a querier of version 1, and one of version 2, counts as present.
    older_until: [Instant; 2],
    pub(super) version: Version,
    pub(super) walk: Option<Walk>,
    /// Groups whose change has not been told at all.
    pub(super) fresh: BTreeSet<Ipv4Addr>,
    /// Groups whose change is to be told again.
    pub(super) told: BTreeSet<Ipv4Addr>,
    /// When those are next told.
    pub(super) repeat: Option<Cursor>,
    /// When a general query is to be answered.
    pub(super) general: Option<Cursor>,
    /// When queries about single groups are to be answered, and in older versions those about all.
    pub(super) answers: BTreeSet<(Instant, Ipv4Addr)>,
    /// Nothing is done before this time: a slice of work was just done.
    pub(super) rests_until: Instant,
    pub(super) timer: Option<TimerId>,
}

impl Speaker {
    pub(super) fn new(present: bool, now: Instant) -> Self {
        Self {
            present,
            robustness: ROBUSTNESS,
            query_interval: QUERY_INTERVAL,
            older_until: [Instant::ZERO; 2],
            version: Version::V3,
            walk: None,
            fresh: BTreeSet::new(),
            told: BTreeSet::new(),
            repeat: None,
            general: None,
            answers: BTreeSet::new(),
            rests_until: now,
            timer: None,
        }
    }

    /// The version to be spoken now.
    fn determine_version(&self, now: Instant) -> Version {
        match self.older_until {
            [first, _] if first > now => Version::V1,
            [_, second] if second > now => Version::V2,
            _ => Version::V3,
        }
    }

    /// Speaks the version that is to be spoken now; whoever changes it forgets all that he was about to say (RFC 3376 section 7.2.1).
    pub(super) fn follow_version(&mut self, now: Instant) {
        let version = self.determine_version(now);
        if core::mem::replace(&mut self.version, version) != version {
            self.forget_all(Then::Nothing, now);
        }
    }

    /// A query of an older version was heard, which may be answered within `response`.
    pub(super) fn hear_older(&mut self, version: Version, response: Duration, now: Instant) {
        let lasts = self.query_interval * u32::from(self.robustness) + response;
        let place = usize::from(version != Version::V1);
        self.older_until[place] = self.older_until[place].max(now + lasts);
    }

    /// What a version 3 query says of its querier; 0 says nothing (RFC 3376 sections 4.1.6 and 4.1.7).
    pub(super) fn hear_querier(&mut self, robustness: u8, interval: Duration) {
        self.robustness = if robustness == 0 { ROBUSTNESS } else { robustness };
        self.query_interval = if interval.is_zero() { QUERY_INTERVAL } else { interval };
    }

    /// The link came, or went: nothing of what was known of its queriers holds.
    pub(super) fn restart(&mut self, present: bool, now: Instant) {
        *self = Self { timer: self.timer, rests_until: self.rests_until, ..Self::new(present, now) };
        self.forget_all(if present { Then::Report } else { Then::Nothing }, now);
    }

    /// All groups are reported as if they had just been joined.
    pub(super) fn report_all(&mut self, now: Instant) {
        self.begin(Walk { from: Ipv4Addr::UNSPECIFIED, resets: false, then: Then::Report }, now);
    }

    fn forget_all(&mut self, then: Then, now: Instant) {
        self.fresh.clear();
        self.told.clear();
        self.answers.clear();
        (self.repeat, self.general) = (None, None);
        self.begin(Walk { from: Ipv4Addr::UNSPECIFIED, resets: true, then }, now);
    }

    /// Begins a walk, in place of one that is on its way.
    pub(super) fn begin(&mut self, walk: Walk, now: Instant) {
        let resets = walk.resets || self.walk.is_some_and(|walk| walk.resets);
        self.walk = Some(Walk { resets, ..walk });
        self.rests_until = self.rests_until.max(now);
    }

    /// A group was as `before` until now: it is told if it matters in the version that is spoken.
    pub(super) fn note_change(
        &mut self,
        (address, group): (Ipv4Addr, &mut Group),
        before: &SourceFilter,
        now: Instant,
    ) {
        self.follow_version(now);
        let matters = match self.version {
            Version::V3 => group.tell_change(before, self.robustness),
            Version::V1 | Version::V2 => {
                let changes = before.is_nothing() == group.is_joined();
                if changes {
                    group.tell_all(self.robustness);
                }
                changes
            }
        };
        if matters {
            self.fresh.insert(address);
        }
    }

    /// When there is something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let begun = self.walk.is_some() || !self.fresh.is_empty();
        let work = [
            begun.then_some(self.rests_until),
            self.repeat.map(|cursor| cursor.due),
            self.general.map(|cursor| cursor.due),
            self.answers.first().map(|(due, _)| *due),
        ];
        // A version ends exactly when its querier counts as gone.
        let ends = match self.version {
            Version::V1 => Some(self.older_until[0]),
            Version::V2 => Some(self.older_until[1]),
            Version::V3 => None,
        };
        work.into_iter().chain([ends]).flatten().min().map(|due| due.max(self.rests_until))
    }
}
