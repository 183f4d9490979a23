//! Names, and what stands for several by one name: `pc` with a count of three is `pc1`, `pc2` and `pc3`.

use std::collections::BTreeMap;

use super::{
    mistake::{Notes, Span, suggestion},
    section::Section,
};

/// Hosts or buses of a network at most.
pub(super) const MOST: usize = 100_000;

/// Bytes of a name at most, as of a host's.
const NAME_LIMIT: usize = 63;

/// One, or several that are repeated, by their place in the list of all.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: String,
    /// The place of the first.
    pub(super) first: usize,
    pub(super) count: usize,
    /// Where its name stands in the file.
    pub(super) at: Span,
}

/// What all names stand for: a group, or one of it.
#[derive(Default)]
pub(super) struct Names {
    groups: Vec<Group>,
    by_name: BTreeMap<String, Named>,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A group, by its number.
    Group(usize),
    /// One, by its place.
    One(usize),
}

impl Names {
    /// Adds what a section names, with its `count`: the names of all of them. None, with a complaint, if that cannot be.
    pub(super) fn add(&mut self, section: &Section<'_, '_>, name: &str, kind: &str) -> Option<Group> {
        let notes = section.notes;
        check_name(name, kind, &section.at, notes);
        let first = self.groups.last().map_or(0, |group| group.first + group.count);
        let count = section.number("count", 1, MOST as i64);
        let repeated = count.is_some();
        let count = count.map_or(1, |count| count.value as usize);
        if first + count > MOST {
            notes.add(
                &section.at,
                format!("with {} this makes more than {MOST} of kind {kind}", section.what),
            );
            return None;
        }
        let group = Group { name: name.to_owned(), first, count, at: section.at.clone() };
        let number = self.groups.len();
        let whole = if repeated { Named::Group(number) } else { Named::One(first) };
        let mut fits = self.claim(name.to_owned(), whole, &group, kind, notes);
        if repeated {
            for place in 0..count {
                let one = format!("{name}{}", place + 1);
                fits &= self.claim(one, Named::One(first + place), &group, kind, notes);
            }
        }
        self.groups.push(group.clone());
        fits.then_some(group)
    }

    fn claim(&mut self, name: String, named: Named, group: &Group, kind: &str, notes: &Notes<'_>) -> bool {
        if let Some(other) = self.by_name.get(&name) {
            let line = notes.line(&self.group_of(*other).at);
            notes.add(&group.at, format!("there is a {kind} `{name}` already, by line {line}"));
            return false;
        }
        self.by_name.insert(name, named);
        true
    }

    /// What a name stands for; none, with a complaint, if there is nothing of that name.
    pub(super) fn find(&self, name: &str, kind: &str, at: &Span, notes: &Notes<'_>) -> Option<Named> {
        let found = self.by_name.get(name).copied();
        if found.is_none() {
            let near = suggestion(name, self.by_name.keys().map(String::as_str));
            notes.add(at, format!("unknown {kind} `{name}`{near}"));
        }
        found
    }

    /// The places that a name stands for.
    pub(super) fn places(&self, named: Named) -> core::ops::Range<usize> {
        match named {
            Named::One(place) => place..place + 1,
            Named::Group(number) => {
                let group = &self.groups[number];
                group.first..group.first + group.count
            }
        }
    }

    /// The group that a place belongs to.
    fn group_of(&self, named: Named) -> &Group {
        match named {
            Named::Group(number) => &self.groups[number],
            Named::One(place) => {
                let after = self.groups.partition_point(|group| group.first <= place);
                &self.groups[after.saturating_sub(1)]
            }
        }
    }
}

impl Group {
    /// The names of all in it, in order.
    pub(super) fn names(&self, repeated: bool) -> Vec<String> {
        if repeated {
            (1..=self.count).map(|number| format!("{}{number}", self.name)).collect()
        } else {
            vec![self.name.clone()]
        }
    }
}

/// Complains of what is no name.
pub(super) fn check_name(name: &str, kind: &str, at: &Span, notes: &Notes<'_>) {
    let begins_well = name.chars().next().is_some_and(|letter| letter.is_ascii_alphanumeric());
    if !begins_well || !name.chars().all(may_be_in_name) || name.len() > NAME_LIMIT {
        let message = format!(
            "`{name}` is no name of a {kind}: letters, digits, `-` and `_`, at most {NAME_LIMIT}, a letter or digit first"
        );
        notes.add(at, message);
    }
}

/// Whether names may have that letter.
pub(super) const fn may_be_in_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_')
}
