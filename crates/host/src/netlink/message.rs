//! Messages of rtnetlink(7): headers, attributes, and how they are told apart in a buffer.
//!
//! Numbers are in the host's byte order and everything is padded to four octets. What the kernel sends is taken with the
//! same care as a frame: a length that lies ends the walk.

/// Octets of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Octets of `struct rtattr`.
const ATTRIBUTE: usize = 4;

/// A message in the making.
#[derive(Debug)]
pub(super) struct Request(Vec<u8>);

impl Request {
    /// A message of the type, with a family's header behind netlink's own.
    pub(super) fn new(kind: u16, flags: libc::c_int, family_header: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&((flags | libc::NLM_F_REQUEST) as u16).to_ne_bytes());
        bytes.extend_from_slice(family_header);
        pad(&mut bytes);
        Self(bytes)
    }

    /// Appends an attribute.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.open(kind, |request| request.0.extend_from_slice(value));
        self
    }

    /// Appends a name, ended by a zero.
    pub(super) fn name(self, kind: u16, name: &str) -> Self {
        self.attribute(kind, &[name.as_bytes(), &[0]].concat())
    }

    /// Appends an attribute that holds others.
    pub(super) fn nest(mut self, kind: u16, inside: impl FnOnce(Self) -> Self) -> Self {
        self.open(kind, |request| *request = inside(Self(std::mem::take(&mut request.0))));
        self
    }

    /// Appends octets as they are, padded.
    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        pad(&mut self.0);
        self
    }

    /// The message, numbered.
    pub(super) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let len = self.0.len() as u32;
        self.0[..4].copy_from_slice(&len.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }

    fn open(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; ATTRIBUTE]);
        fill(self);
        let len = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self.0[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
        pad(&mut self.0);
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// A message that came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes behind a family's header of `header` octets.
    pub(super) fn attributes(&self, header: usize) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        attributes(self.body.get(header..).unwrap_or_default())
    }

    /// What an `NLMSG_ERROR`, or the end of a dump, says: zero for success, or an errno.
    pub(super) fn errno(&self) -> i32 {
        number::<4>(self.body, 0).map_or(0, |bytes| i32::from_ne_bytes(bytes).wrapping_neg())
    }
}

/// The messages in a buffer.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let len = u32::from_ne_bytes(number(bytes, 0)?) as usize;
        let message = Message {
            kind: u16::from_ne_bytes(number(bytes, 4)?),
            flags: u16::from_ne_bytes(number(bytes, 6)?),
            sequence: u32::from_ne_bytes(number(bytes, 8)?),
            body: bytes.get(HEADER..len)?,
        };
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes in a buffer, without the flags in their types.
pub(super) fn attributes<'a>(mut bytes: &'a [u8]) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(number(bytes, 0)?));
        let kind = u16::from_ne_bytes(number(bytes, 2)?) & libc::NLA_TYPE_MASK as u16;
        let value = bytes.get(ATTRIBUTE..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// So many octets at a place, if they are there.
pub(super) fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// A number of four octets at the front; zero if it is not there.
pub(super) fn u32_of(value: &[u8]) -> u32 {
    number(value, 0).map_or(0, u32::from_ne_bytes)
}

/// A text that a zero ends.
pub(super) fn text_of(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_found_again() {
        let request = Request::new(16, libc::NLM_F_ACK, &[9; 16])
            .name(3, "tap0")
            .nest(18, |info| info.name(1, "veth").nest(2, |data| data.attribute(1, &[1, 2, 3])));
        let bytes = [request.finish(7), Request::new(20, 0, &[]).finish(8)].concat();
        let [first, second] = messages(&bytes).collect::<Vec<_>>().try_into().unwrap();
        assert_eq!((first.kind, first.sequence, second.kind, second.sequence), (16, 7, 20, 8));
        assert_eq!(first.flags, (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16);
        let found: Vec<_> = first.attributes(16).collect();
        assert_eq!(text_of(found[0].1), "tap0");
        let info: Vec<_> = attributes(found[1].1).collect();
        assert_eq!(text_of(info[0].1), "veth");
        assert_eq!(attributes(info[1].1).collect::<Vec<_>>(), [(1, &[1, 2, 3][..])]);
    }

    #[test]
    fn lengths_that_lie_end_the_walk() {
        for len in [0u32, 3, 15, 17, u32::MAX] {
            let mut bytes = Request::new(16, 0, &[]).finish(1);
            bytes[..4].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(messages(&bytes).count(), 0, "{len}");
        }
        for len in [0u16, 3, 9, u16::MAX] {
            let bytes = [len.to_ne_bytes(), [1, 0], [0; 2], [0; 2]].concat();
            assert_eq!(attributes(&bytes).count(), 0, "{len}");
        }
    }
}
