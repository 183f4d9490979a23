//! What stands in front of a frame on a descriptor, hidden: callers always see a virtio-net header of twelve octets.
//!
//! A tap speaks it as it is. An older packet socket has ten octets, and an inherited tap may have none; both are
//! bridged here with the vectors of the one system call, without copying a frame.

use std::{
    io::{IoSlice, IoSliceMut},
    os::fd::BorrowedFd,
};

use rumpnet_wire::virtio::Header;
use rustix::io::{read, readv, write, writev};

use crate::IoFailure;

/// Octets of the header that every read fills and every write begins with.
pub const HEADER_LEN: usize = Header::LEN;

/// The most slices of one write: the header, headers of the frame, and 64 slices of payload.
pub const MAX_SLICES: usize = 72;

/// What the descriptor itself puts in front of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// A header of twelve octets: nothing to do.
    Twelve,
    /// A header of ten octets, without `num_buffers`.
    Ten,
    /// No header, and no offloads.
    Bare,
}

impl Framing {
    /// Octets of the header on the descriptor.
    pub const fn header_len(self) -> usize {
        match self {
            Self::Twelve => HEADER_LEN,
            Self::Ten => 10,
            Self::Bare => 0,
        }
    }

    /// Reads one frame behind its header; returns the octets of both. The first slice takes at least the header.
    #[inline]
    pub(crate) fn readv(self, fd: BorrowedFd<'_>, slices: &mut [IoSliceMut<'_>]) -> Result<usize, IoFailure> {
        self.read_by(slices, |slices| match slices {
            // The kernel has a shorter way for this, the common case.
            [only] => read(fd, &mut **only),
            several => readv(fd, several),
        })
    }

    /// The same with a system call of the caller's choice.
    #[inline]
    pub(crate) fn read_by(
        self,
        slices: &mut [IoSliceMut<'_>],
        read: impl FnOnce(&mut [IoSliceMut<'_>]) -> rustix::io::Result<usize>,
    ) -> Result<usize, IoFailure> {
        if self == Self::Twelve {
            return Ok(read(slices)?);
        }
        let Some((first, rest)) = slices.split_first_mut() else { return Err(IoFailure::Refused) };
        let Some((header, body)) = first.split_at_mut_checked(HEADER_LEN) else {
            return Err(IoFailure::Refused);
        };
        header.fill(0);
        let header = &mut header[..self.header_len()];
        let (header, body) = (IoSliceMut::new(header), IoSliceMut::new(body));
        let len = match rest {
            [] => read(&mut [header, body])?,
            [second] => read(&mut [header, body, IoSliceMut::new(second)])?,
            _ => return Err(IoFailure::Refused),
        };
        Ok(len + HEADER_LEN - self.header_len())
    }

    /// Writes one frame in one piece with its header; returns the octets of both.
    #[inline]
    pub(crate) fn write(self, fd: BorrowedFd<'_>, frame: &[u8]) -> Result<usize, IoFailure> {
        if self == Self::Twelve {
            return Ok(write(fd, frame)?);
        }
        let (header, body) = frame.split_at_checked(HEADER_LEN).ok_or(IoFailure::Refused)?;
        self.writev(fd, &[IoSlice::new(header), IoSlice::new(body)])
    }

    /// Writes one frame behind its header; returns the octets of both. The first slice is the header alone.
    pub(crate) fn writev(self, fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> Result<usize, IoFailure> {
        if self == Self::Twelve {
            return Ok(writev(fd, slices)?);
        }
        let Some((header, rest)) = slices.split_first() else { return Err(IoFailure::Refused) };
        if header.len() != HEADER_LEN || rest.len() >= MAX_SLICES {
            return Err(IoFailure::Refused);
        }
        let mut vector = [IoSlice::new(&[]); MAX_SLICES];
        vector[0] = IoSlice::new(&header[..self.header_len()]);
        vector[1..=rest.len()].copy_from_slice(rest);
        Ok(writev(fd, &vector[..=rest.len()])? + HEADER_LEN - self.header_len())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::{
        io::{read, write},
        net::{AddressFamily, SocketFlags, SocketType, socketpair},
    };

    use super::*;

    /// A device that keeps frames apart, and its far end.
    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("a pair")
    }

    #[test]
    fn ten_octets_look_like_twelve_in_either_direction() {
        let (device, far) = pair();
        write(&far, b"0123456789frame").unwrap();
        let mut buffer = [0xff; 30];
        assert_eq!(Framing::Ten.readv(device.as_fd(), &mut [IoSliceMut::new(&mut buffer)]), Ok(17));
        assert_eq!(buffer[..17], *b"0123456789\0\0frame");
        let slices = [&b"0123456789ab"[..], b"fr", b"ame"].map(IoSlice::new);
        assert_eq!(Framing::Ten.writev(device.as_fd(), &slices), Ok(17));
        let len = read(&far, &mut buffer).unwrap();
        assert_eq!(buffer[..len], *b"0123456789frame");
    }

    #[test]
    fn no_header_looks_like_one_that_says_nothing() {
        let (device, far) = pair();
        write(&far, b"frame").unwrap();
        let (mut head, mut rest) = ([0xff; 14], [0xff; 10]);
        let slices = &mut [IoSliceMut::new(&mut head), IoSliceMut::new(&mut rest)];
        assert_eq!(Framing::Bare.readv(device.as_fd(), slices), Ok(17));
        assert_eq!((head, &rest[..3]), (*b"\0\0\0\0\0\0\0\0\0\0\0\0fr", &b"ame"[..]));
        let slices = [&b"0123456789ab"[..], b"frame"].map(IoSlice::new);
        assert_eq!(Framing::Bare.writev(device.as_fd(), &slices), Ok(17));
        assert_eq!(read(&far, &mut head), Ok(5));
    }

    #[test]
    fn vectors_that_cannot_be_are_refused() {
        let (device, _far) = pair();
        for framing in [Framing::Ten, Framing::Bare] {
            let (device, short) = (device.as_fd(), &mut [0; 5]);
            assert_eq!(framing.readv(device, &mut [IoSliceMut::new(short)]), Err(IoFailure::Refused));
            assert_eq!(framing.readv(device, &mut []), Err(IoFailure::Refused));
            assert_eq!(framing.writev(device, &[]), Err(IoFailure::Refused));
            assert_eq!(framing.writev(device, &[IoSlice::new(&[0; 13])]), Err(IoFailure::Refused));
            let many = vec![IoSlice::new(&[0; HEADER_LEN]); MAX_SLICES + 1];
            assert_eq!(framing.writev(device, &many), Err(IoFailure::Refused));
        }
    }
}
