//! A tap of the host as a link: one system call a frame, super-frames whole, nothing copied but small frames.

use std::{
    io::{self, IoSlice},
    os::fd::AsFd,
    sync::atomic::{AtomicBool, Ordering},
};

use arrayvec::ArrayVec;
use bytes::Bytes;
use rumpnet_host::{IoFailure, Layer, Tap};
use rumpnet_proto::{LinkKind, LinkState};
use rumpnet_stack::{
    Offloads,
    buffer::{Frame, MAX_SLICES, Received},
};
use rumpnet_wire::virtio::Header;

use super::{Link, LinkProperties, Signal, offload};
use crate::pool::{Buffer, Pool};

/// The greatest MTU of a tap, in bytes (tap(4); ETH_MAX_MTU less the Ethernet header).
const MAX_MTU: u32 = 65_521;

/// A tap or tun of the host.
pub(crate) struct TapLink {
    tap: Tap,
    properties: LinkProperties,
    /// Whether the host's interface is there and up.
    present: AtomicBool,
}

impl TapLink {
    pub(crate) fn new(tap: Tap) -> Self {
        let granted = tap.granted();
        let offloads = Offloads {
            checksum: granted.checksum,
            tso4: granted.tso4,
            tso6: granted.tso6,
            uso4: granted.uso4,
            uso6: granted.uso6,
        };
        let properties = LinkProperties {
            kind: if tap.layer() == Layer::Ethernet { LinkKind::Ethernet } else { LinkKind::Ip },
            offloads,
            mtu: 1500,
            max_mtu: MAX_MTU,
            host_end: Some(tap.name().to_owned()),
        };
        Self { tap, properties, present: AtomicBool::new(true) }
    }
}

impl Link for TapLink {
    fn properties(&self) -> LinkProperties {
        self.properties.clone()
    }

    fn signal(&self) -> Signal<'_> {
        Signal::Descriptor(self.tap.as_fd())
    }

    fn state(&self) -> LinkState {
        if self.present.load(Ordering::Acquire) { LinkState::Up } else { LinkState::Down }
    }

    fn send(&self, frame: &Frame) -> io::Result<()> {
        let header = offload::to_header(frame).to_bytes();
        let joined;
        let mut slices = ArrayVec::<IoSlice<'_>, { MAX_SLICES + 2 }>::new();
        slices.push(IoSlice::new(&header));
        slices.push(IoSlice::new(frame.headers.as_slice()));
        let payload = frame.payload.slices();
        if payload.len() <= MAX_SLICES {
            slices.extend(payload.iter().map(|slice| IoSlice::new(slice)));
            return self.tap.writev(&slices).map(drop).map_err(io_error);
        }
        joined = frame.payload.to_bytes();
        slices.push(IoSlice::new(&joined));
        self.tap.writev(&slices).map(drop).map_err(io_error)
    }

    fn receive(&self, pool: &Pool, limit: usize, out: &mut Vec<Received>) -> io::Result<()> {
        let mut buffer = pool.take();
        for _ in 0..limit {
            let len = match self.tap.read(buffer.as_mut_slice()) {
                Ok(len) => len,
                Err(IoFailure::WouldBlock) => return Ok(()),
                Err(failure) => return Err(io_error(failure)),
            };
            if Buffer::is_small(len) {
                out.push(received(Bytes::copy_from_slice(&buffer.as_ref()[..len])));
            } else {
                let full = std::mem::replace(&mut buffer, pool.take());
                out.push(received(full.into_bytes(0, len)));
            }
        }
        Ok(())
    }

    fn set_up(&self, up: bool) -> io::Result<()> {
        Ok(self.tap.set_carrier(up)?)
    }

    fn set_mtu(&self, mtu: u32) -> io::Result<()> {
        Ok(self.tap.set_mtu(mtu)?)
    }
}

/// A read of a tap, taken apart; bytes too short for a header become a frame that the stack counts as a runt.
fn received(read: Bytes) -> Received {
    match Header::parse(&read) {
        Ok((header, _)) => Received::new(read.slice(Header::LEN..), offload::to_offload(&header)),
        Err(_) => Received::new(read.slice(read.len().min(Header::LEN)..), offload::impossible()),
    }
}

fn io_error(failure: IoFailure) -> io::Error {
    match failure {
        IoFailure::WouldBlock => io::ErrorKind::WouldBlock.into(),
        other => io::Error::from_raw_os_error(other.errno()),
    }
}
