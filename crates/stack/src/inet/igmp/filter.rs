//! [`Merged`]: what an interface wants of a group, given what each of its sockets wants (RFC 3376 section 3.2).
//!
//! Each wish is counted for each of its sources, so that one that comes or goes costs no more than it has sources, however many there are.

use alloc::collections::BTreeMap;
use core::net::Ipv4Addr;

use rumpnet_proto::{FilterMode, SourceFilter};

/// The wishes of all members of a group.
#[derive(Clone, Debug, Default)]
pub(super) struct Merged {
    members: u32,
    /// How many of them want all sources but those that they name.
    excluding: u32,
    sources: BTreeMap<Ipv4Addr, Wishes>,
}

/// How many name a source.
#[derive(Clone, Copy, Debug, Default)]
struct Wishes {
    including: u32,
    excluding: u32,
}

impl Merged {
    pub(super) const fn members(&self) -> u32 {
        self.members
    }

    pub(super) fn add(&mut self, filter: &SourceFilter) {
        self.members += 1;
        self.excluding += u32::from(filter.mode == FilterMode::Exclude);
        for source in &filter.sources {
            *self.sources.entry(*source).or_default().of(filter.mode) += 1;
        }
    }

    /// Takes back what was added.
    pub(super) fn remove(&mut self, filter: &SourceFilter) {
        self.members -= 1;
        self.excluding -= u32::from(filter.mode == FilterMode::Exclude);
        for source in &filter.sources {
            let Some(wishes) = self.sources.get_mut(source) else { continue };
            *wishes.of(filter.mode) -= 1;
            if wishes.including == 0 && wishes.excluding == 0 {
                self.sources.remove(source);
            }
        }
    }

    const fn mode(&self) -> FilterMode {
        if self.excluding > 0 { FilterMode::Exclude } else { FilterMode::Include }
    }

    /// Whether somebody wants what comes from a source.
    pub(super) fn admits(&self, source: Ipv4Addr) -> bool {
        match self.sources.get(&source) {
            Some(wishes) => wishes.including > 0 || wishes.excluding < self.excluding,
            None => self.excluding > 0,
        }
    }

    /// All of them as one: with a member that excludes, what all exclude and none includes is excluded; else what any includes is included.
    pub(super) fn filter(&self) -> SourceFilter {
        let mode = self.mode();
        let is_named = |wishes: &Wishes| match mode {
            FilterMode::Include => wishes.including > 0,
            FilterMode::Exclude => wishes.including == 0 && wishes.excluding == self.excluding,
        };
        let named = self.sources.iter().filter(|(_, wishes)| is_named(wishes));
        SourceFilter { mode, sources: named.map(|(source, _)| *source).collect() }
    }
}

impl Wishes {
    const fn of(&mut self, mode: FilterMode) -> &mut u32 {
        match mode {
            FilterMode::Include => &mut self.including,
            FilterMode::Exclude => &mut self.excluding,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, vec::Vec};

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn source(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, number)
    }

    fn filter(exclude: bool, sources: impl IntoIterator<Item = u8>) -> SourceFilter {
        let sources = sources.into_iter().map(source);
        if exclude { SourceFilter::exclude(sources) } else { SourceFilter::include(sources) }
    }

    /// The rules of RFC 3376 section 3.2, word by word.
    fn by_the_book(members: &[SourceFilter]) -> SourceFilter {
        let of =
            |mode| members.iter().filter(move |member| member.mode == mode).map(|member| &member.sources);
        let included: BTreeSet<_> = of(FilterMode::Include).flatten().copied().collect();
        match of(FilterMode::Exclude).cloned().reduce(|one, other| &one & &other) {
            Some(excluded) => SourceFilter { mode: FilterMode::Exclude, sources: &excluded - &included },
            None => SourceFilter { mode: FilterMode::Include, sources: included },
        }
    }

    fn any_filter() -> impl Strategy<Value = SourceFilter> {
        (any::<bool>(), vec(0..6u8, 0..5)).prop_map(|(exclude, sources)| filter(exclude, sources))
    }

    proptest! {
        #[test]
        fn members_that_come_and_go_merge_by_the_book(steps in vec((any::<bool>(), any_filter(), any::<u8>()), 0..40)) {
            let (mut merged, mut members) = (Merged::default(), Vec::new());
            for (joins, wanted, which) in steps {
                if joins || members.is_empty() {
                    merged.add(&wanted);
                    members.push(wanted);
                } else {
                    merged.remove(&members.swap_remove(usize::from(which) % members.len()));
                }
                let expected = by_the_book(&members);
                prop_assert_eq!(merged.filter(), expected.clone());
                for number in 0..7 {
                    prop_assert_eq!(merged.admits(source(number)), expected.admits(source(number)));
                }
                prop_assert_eq!(merged.members() as usize, members.len());
            }
        }
    }

    /// The example of RFC 3376 section 3.2: a, b, c; b, c, d excluded, then with e, f included.
    #[test]
    fn the_example_of_the_standard_merges_as_it_says() {
        let mut merged = Merged::default();
        merged.add(&filter(true, [1, 2, 3, 4]));
        merged.add(&filter(true, [2, 3, 4, 5]));
        merged.add(&filter(false, [4, 5, 6]));
        assert_eq!(merged.filter(), filter(true, [2, 3]));
        let mut merged = Merged::default();
        merged.add(&filter(false, [1, 2, 3]));
        merged.add(&filter(false, [2, 3, 4]));
        merged.add(&filter(false, [5, 6]));
        assert_eq!(merged.filter(), filter(false, [1, 2, 3, 4, 5, 6]));
    }
}
