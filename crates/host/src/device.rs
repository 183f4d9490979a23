//! What carries frames between us and the host, whichever it is: a tap or a packet socket, with one face.

use std::{
    io::{IoSlice, IoSliceMut},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use crate::{Granted, HostError, IoFailure, Tap, packet::PacketSocket};

/// A device that takes and gives frames behind a virtio-net header of [`HEADER_LEN`](crate::HEADER_LEN) octets.
#[derive(Debug)]
pub enum FrameDevice {
    /// A tap or tun.
    Tap(Tap),
    /// A packet socket on one end of a pair.
    Packet(PacketSocket),
}

/// Calls the same method of whichever it is.
macro_rules! either {
    ($self:expr, $device:ident => $call:expr) => {
        match $self {
            FrameDevice::Tap($device) => $call,
            FrameDevice::Packet($device) => $call,
        }
    };
}

impl FrameDevice {
    /// Reads one frame into `buffer`, the header first, and returns the octets of both.
    #[inline]
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, IoFailure> {
        either!(self, device => device.read(buffer))
    }

    /// Reads one frame into the slices in turn. The first takes at least the header.
    #[inline]
    pub fn readv(&self, slices: &mut [IoSliceMut<'_>]) -> Result<usize, IoFailure> {
        either!(self, device => device.readv(slices))
    }

    /// Writes one frame in one piece, the header first; returns the octets written.
    #[inline]
    pub fn write(&self, frame: &[u8]) -> Result<usize, IoFailure> {
        either!(self, device => device.write(frame))
    }

    /// Writes one frame gathered from the slices, the first being the header alone; returns the octets written.
    #[inline]
    pub fn writev(&self, slices: &[IoSlice<'_>]) -> Result<usize, IoFailure> {
        either!(self, device => device.writev(slices))
    }

    /// Shows the host a carrier, or none.
    pub fn set_carrier(&self, carrier: bool) -> Result<(), HostError> {
        either!(self, device => device.set_carrier(carrier))
    }

    /// Brings the host's end up or down.
    pub fn set_up(&self, up: bool) -> Result<(), HostError> {
        either!(self, device => device.set_up(up))
    }

    /// Whether the host's end is up.
    pub fn is_up(&self) -> Result<bool, HostError> {
        either!(self, device => device.is_up())
    }

    /// The MTU in octets.
    pub fn mtu(&self) -> Result<u32, HostError> {
        either!(self, device => device.mtu())
    }

    /// Changes the MTU.
    pub fn set_mtu(&self, mtu: u32) -> Result<(), HostError> {
        either!(self, device => device.set_mtu(mtu))
    }

    /// The link address of the host's end.
    pub fn link_address(&self) -> Result<[u8; 6], HostError> {
        either!(self, device => device.link_address())
    }

    /// What the host's end is called.
    pub fn host_end(&self) -> &str {
        match self {
            Self::Tap(tap) => tap.name(),
            Self::Packet(packet) => packet.host_end(),
        }
    }

    /// What may be left undone.
    pub const fn granted(&self) -> Granted {
        either!(self, device => device.granted())
    }

    /// Whether it was there before us.
    pub fn existed_before(&self) -> bool {
        either!(self, device => device.existed_before())
    }

    /// Restores what was found and gives the descriptor away, to be closed elsewhere.
    pub fn into_fd(self) -> OwnedFd {
        either!(self, device => device.into_fd())
    }
}

impl AsFd for FrameDevice {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        either!(self, device => device.as_fd())
    }
}

impl From<Tap> for FrameDevice {
    fn from(tap: Tap) -> Self {
        Self::Tap(tap)
    }
}

impl From<PacketSocket> for FrameDevice {
    fn from(packet: PacketSocket) -> Self {
        Self::Packet(packet)
    }
}
