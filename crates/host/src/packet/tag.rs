//! Putting a VLAN tag back where the kernel has taken it out: behind the two addresses, IEEE 802.1Q 9.

use std::io::IoSliceMut;

use crate::HEADER_LEN;

/// Where in a read the tag belongs: behind the virtio-net header and two addresses.
const PLACE: usize = HEADER_LEN + 12;

/// Octets of a tag.
const LEN: usize = 4;

/// The virtio-net header's flag that a checksum is to be completed, and where it says from what octet on.
const NEEDS_CSUM: u8 = 1;
const CSUM_START: usize = 6;
/// Where it says how the payload is to be cut, if it is, and how many octets of headers there are then.
const GSO_TYPE: usize = 1;
const HDR_LEN: usize = 2;

/// Inserts the tag into a read of `len` octets and returns how long it is then; what no longer fits is lost, as it is of a
/// frame that was too long from the start.
pub(super) fn insert(slices: &mut [IoSliceMut<'_>], len: usize, tag: [u8; LEN]) -> usize {
    let room: usize = slices.iter().map(|slice| slice.len()).sum();
    if len < PLACE || slices.first().is_none_or(|first| first.len() < HEADER_LEN) {
        return len;
    }
    shift_offsets(&mut slices[0]);
    // Each slice takes in front what is pushed out of the one before it.
    let (mut carried, mut start, end) = (tag, PLACE, (len + LEN).min(room));
    let mut offset = 0;
    for slice in slices {
        let (from, to) = (start.saturating_sub(offset), end.saturating_sub(offset).min(slice.len()));
        offset += slice.len();
        if from < to {
            let part = &mut slice[from..to];
            carried = push(part, carried, part.len().min(LEN));
            start = offset;
        }
    }
    end
}

/// Moves everything in `part` back by the length of a tag, and puts `carried` in front; returns what falls out behind.
fn push(part: &mut [u8], carried: [u8; LEN], moved: usize) -> [u8; LEN] {
    let mut queue = [0; 2 * LEN];
    queue[..LEN].copy_from_slice(&carried);
    let kept = part.len() - moved;
    queue[LEN..LEN + moved].copy_from_slice(&part[kept..]);
    part.copy_within(..kept, moved);
    // A part shorter than a tag passes on a rest of what it was given.
    part[..moved].copy_from_slice(&queue[..moved]);
    let mut out = [0; LEN];
    out.copy_from_slice(&queue[moved..moved + LEN]);
    out
}

/// The header's places count from the front of the frame, which has grown.
fn shift_offsets(header: &mut [u8]) {
    let (needs_checksum, is_super_frame) = (header[0] & NEEDS_CSUM != 0, header[GSO_TYPE] != 0);
    let mut shift = |at: usize| {
        let place = u16::from_ne_bytes([header[at], header[at + 1]]);
        header[at..at + 2].copy_from_slice(&place.saturating_add(LEN as u16).to_ne_bytes());
    };
    if needs_checksum {
        shift(CSUM_START);
    }
    if is_super_frame {
        shift(HDR_LEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Octets numbered from zero, as a read without anything left undone.
    fn read(len: usize) -> Vec<u8> {
        (0..len).map(|n| if n < HEADER_LEN { 0 } else { n as u8 }).collect()
    }

    #[test]
    fn however_a_read_is_cut_the_tag_comes_behind_the_addresses() {
        let plain = read(60);
        let expected = [&plain[..PLACE], &[0x81, 0, 0, 5], &plain[PLACE..]].concat();
        for first in HEADER_LEN..64 {
            for second in 0..64 - first {
                let mut buffer = [plain.clone(), vec![0xff; 4]].concat();
                let (a, rest) = buffer.split_at_mut(first);
                let (b, c) = rest.split_at_mut(second);
                let slices = &mut [a, b, c].map(IoSliceMut::new);
                assert_eq!(insert(slices, 60, [0x81, 0, 0, 5]), 64);
                assert_eq!(buffer, expected, "{first} {second}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_lost_and_what_has_no_addresses_is_left() {
        let mut full = read(60);
        assert_eq!(insert(&mut [IoSliceMut::new(&mut full)], 60, [1, 2, 3, 4]), 60);
        assert_eq!((&full[PLACE..PLACE + 4], full[59]), (&[1, 2, 3, 4][..], 55));
        let mut short = read(PLACE - 1);
        assert_eq!(insert(&mut [IoSliceMut::new(&mut short)], PLACE - 1, [1, 2, 3, 4]), PLACE - 1);
        assert_eq!(short, read(PLACE - 1));
        assert_eq!(insert(&mut [], 60, [1, 2, 3, 4]), 60);
    }

    #[test]
    fn places_in_the_header_move_with_the_frame() {
        let mut buffer = read(100);
        buffer[..8].copy_from_slice(&[1, 5, 42, 0, 232, 3, 34, 0]);
        insert(&mut [IoSliceMut::new(&mut buffer)], 90, [0x81, 0, 0, 5]);
        assert_eq!(buffer[..8], [1, 5, 46, 0, 232, 3, 38, 0]);
    }
}
