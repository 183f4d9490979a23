//! What happens to options on their way: where they are wrong, and what a host that they pass writes into them (RFC 791 section 3.1).
//!
//! Both work on the octets behind a header as they travel. Source routes are judged like any other option, and never followed.

use core::net::Ipv4Addr;

use super::{Header, options::kind};

/// What a host writes into the options of a packet that it sends, passes on, or answers.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Its address, as the network knows it that the packet goes to.
    pub address: Ipv4Addr,
    /// The time: milliseconds since midnight UT, or of any clock with the highest bit set.
    pub time: u32,
}

/// The octet of the header at which its options are wrong, if they are: where an ICMP parameter problem points (RFC 792).
///
/// Wrong are lengths beyond the header or too short for their kind, pointers into an option's own head, room for a part of an entry,
/// timestamps of an unknown form, and a sixteenth host that found no room for its time.
pub fn find_fault(options: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match next(options, at) {
            Step::Option(option) => match fault_within(option) {
                Some(place) => return Some(Header::LEN + at + place),
                None => at += option.len(),
            },
            Step::Nop => at += 1,
            Step::Fault(place) => return Some(Header::LEN + at + place),
            Step::End => return None,
        }
    }
}

/// A host leaves its mark: its address in each record-route option with room for it, its time in each timestamp option, or one more in the
/// count of those that found no room.
///
/// `is_ours` tells which addresses are the host's, for timestamps of given addresses. What is malformed stays as it is.
pub fn stamp(options: &mut [u8], stamp: Stamp, is_ours: impl Fn(Ipv4Addr) -> bool) {
    let mut at = 0;
    loop {
        let len = match next(options, at) {
            Step::Option(option) => option.len(),
            Step::Nop => 1,
            Step::Fault(_) | Step::End => return,
        };
        let option = &mut options[at..at + len];
        if fault_within(option).is_none() {
            match option[0] {
                kind::RECORD_ROUTE => write_entry(option, &[&stamp.address.octets()]),
                kind::TIMESTAMP => write_time(option, stamp, &is_ours),
                _ => {}
            }
        }
        at += len;
    }
}

/// What stands at a place among options.
enum Step<'a> {
    /// A whole option.
    Option(&'a [u8]),
    /// An octet of padding.
    Nop,
    /// An option that has no end here; its octet that is wrong.
    Fault(usize),
    /// Nothing more.
    End,
}

fn next(options: &[u8], at: usize) -> Step<'_> {
    let rest = options.get(at..).unwrap_or_default();
    match *rest {
        [] | [kind::END_OF_LIST, ..] => Step::End,
        [kind::NOP, ..] => Step::Nop,
        [_] => Step::Fault(0),
        [_, len, ..] if len < 2 => Step::Fault(1),
        [_, len, ..] => rest.get(..len.into()).map_or(Step::Fault(1), Step::Option),
    }
}

/// The octet of a whole option that is wrong, if one is.
fn fault_within(option: &[u8]) -> Option<usize> {
    match *option {
        [kind::RECORD_ROUTE | kind::LOOSE_SOURCE_ROUTE | kind::STRICT_SOURCE_ROUTE, ..] => {
            // Kind, length and pointer come first.
            fault_of_entries(option, 3, 4)
        }
        [kind::TIMESTAMP, _, pointer, state, ..] => {
            let entry = match state & 15 {
                0 => 4,
                1 | 3 => 8,
                _ => return Some(3),
            };
            let is_full = usize::from(pointer) > option.len();
            // Nobody counts more hosts without room than four bits hold.
            let overflows = is_full && state >> 4 == 15 && state & 15 != 3;
            fault_of_entries(option, 4, entry).or_else(|| overflows.then_some(3))
        }
        [kind::TIMESTAMP, ..] => Some(1),
        [kind::ROUTER_ALERT, len, ..] => (len != 4).then_some(1),
        _ => None,
    }
}

/// The octet that is wrong in an option of entries of so many octets behind a head of so many.
fn fault_of_entries(option: &[u8], head: usize, entry: usize) -> Option<usize> {
    let Some(&pointer) = option.get(2) else { return Some(1) };
    // The pointer counts from one.
    let (len, pointer) = (option.len(), usize::from(pointer));
    let is_full = pointer > len;
    (pointer <= head || (!is_full && pointer - 1 + entry > len)).then_some(2)
}

/// Writes an entry where the pointer of a sound option points, and moves that; nothing if the option is full.
fn write_entry(option: &mut [u8], parts: &[&[u8]]) {
    let mut place = usize::from(option[2]) - 1;
    for part in parts {
        let Some(room) = option.get_mut(place..place + part.len()) else { return };
        room.copy_from_slice(part);
        place += part.len();
    }
    option[2] = place as u8 + 1;
}

fn write_time(option: &mut [u8], stamp: Stamp, is_ours: impl Fn(Ipv4Addr) -> bool) {
    let (time, place) = (stamp.time.to_be_bytes(), usize::from(option[2]) - 1);
    let form = option[3] & 15;
    if place >= option.len() {
        // Of given addresses each has its place.
        option[3] += if form == 3 { 0 } else { 1 << 4 };
        return;
    }
    match form {
        0 => write_entry(option, &[&time]),
        1 => write_entry(option, &[&stamp.address.octets(), &time]),
        _ => {
            let given = option[place..].first_chunk::<4>().copied().map(Ipv4Addr::from);
            if let Some(given) = given.filter(|given| is_ours(*given)) {
                write_entry(option, &[&given.octets(), &time]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const US: Stamp = Stamp { address: Ipv4Addr::new(10, 0, 0, 1), time: 0x8000_0102 };

    fn stamped(options: &[u8]) -> Vec<u8> {
        let mut options = options.to_vec();
        stamp(&mut options, US, |address| address == US.address);
        options
    }

    #[test]
    fn a_fault_is_found_at_the_octet_that_is_wrong() {
        let faults: [(&[u8], Option<usize>); 17] = [
            (&[], None),
            (&[0, 7], None),
            (&[1, 1, 7, 7, 4, 0, 0, 0, 0], None),
            (&[1, 1, 1, 7], Some(23)),
            (&[7, 1, 0, 0], Some(21)),
            (&[1, 7, 40, 4], Some(22)),
            (&[7, 2, 0, 0], Some(21)),
            (&[7, 7, 3, 0, 0, 0, 0, 0], Some(22)),
            (&[7, 7, 5, 0, 0, 0, 0, 0], Some(22)),
            (&[131, 7, 8, 10, 0, 0, 1, 0], None),
            (&[68, 3, 5, 0], Some(21)),
            (&[68, 8, 4, 0, 0, 0, 0, 0], Some(22)),
            (&[68, 8, 5, 2, 0, 0, 0, 0], Some(23)),
            (&[68, 8, 5, 1, 0, 0, 0, 0], Some(22)),
            (&[68, 8, 9, 0xf0, 0, 0, 0, 0], Some(23)),
            (&[68, 12, 13, 0xf3, 0, 0, 0, 0, 0, 0, 0, 0], None),
            (&[148, 3, 0, 0], Some(21)),
        ];
        for (options, fault) in faults {
            assert_eq!(find_fault(options), fault, "{options:?}");
        }
    }

    #[test]
    fn an_address_goes_where_the_pointer_is_until_there_is_no_room() {
        let empty = [1, 7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0];
        let once = stamped(&empty);
        assert_eq!(once, [1, 7, 11, 8, 10, 0, 0, 1, 0, 0, 0, 0]);
        let twice = stamped(&once);
        assert_eq!(twice, [1, 7, 11, 12, 10, 0, 0, 1, 10, 0, 0, 1]);
        assert_eq!(stamped(&twice), twice);
    }

    #[test]
    fn times_are_written_alone_with_addresses_or_to_given_ones_and_the_rest_is_counted() {
        assert_eq!(stamped(&[68, 8, 5, 0, 0, 0, 0, 0]), [68, 8, 9, 0, 0x80, 0, 1, 2]);
        assert_eq!(stamped(&[68, 8, 9, 0, 1, 1, 1, 1]), [68, 8, 9, 0x10, 1, 1, 1, 1]);
        let both = [68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(stamped(&both), [68, 12, 13, 1, 10, 0, 0, 1, 0x80, 0, 1, 2]);
        let ours = [68, 12, 5, 3, 10, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(stamped(&ours), [68, 12, 13, 3, 10, 0, 0, 1, 0x80, 0, 1, 2]);
        let others = [68, 12, 5, 3, 10, 0, 0, 9, 0, 0, 0, 0];
        assert_eq!(stamped(&others), others);
    }

    #[test]
    fn nothing_is_written_into_what_is_malformed() {
        for options in [&[7, 7, 3, 0, 0, 0, 0, 0][..], &[7, 1], &[7, 9, 4, 0], &[68, 8, 9, 0xf0, 0, 0, 0, 0]]
        {
            assert_eq!(stamped(options), options);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_octets_are_judged_and_stamped_without_harm(
            options in proptest::collection::vec(proptest::num::u8::ANY, 0..41)
        ) {
            let after = stamped(&options);
            proptest::prop_assert_eq!(after.len(), options.len());
            if find_fault(&options).is_some_and(|at| at == Header::LEN) {
                proptest::prop_assert_eq!(after, options);
            }
        }
    }
}
