//! A device of the host as a link, a tap or a packet socket: one system call a frame, super-frames whole, nothing copied
//! but small frames.

use std::{
    io::{self, IoSlice},
    os::fd::AsFd,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use arrayvec::ArrayVec;
use bytes::Bytes;
use rumpnet_host::{
    FrameDevice, HostError, IoFailure, Layer,
    netlink::{HostLink, Netlink},
};
use rumpnet_proto::{LinkKind, LinkState};
use rumpnet_stack::{
    Offloads,
    buffer::{Frame, MAX_SLICES, Offload, Received},
};
use rumpnet_wire::virtio::Header;

use super::{Link, LinkProperties, Signal, offload};
use crate::pool::{BUFFER, Buffer, Pool};

/// The greatest MTU of a tap, in bytes (tap(4); ETH_MAX_MTU less the Ethernet header).
const MAX_MTU: u32 = 65_521;

/// Bytes up to which a frame and its header are put together and written in one piece, which is cheaper than to gather them.
const JOINED: usize = 256;

/// A device of the host.
pub(crate) struct DeviceLink {
    device: FrameDevice,
    properties: LinkProperties,
    /// The interface of the host whose state tells whether the far end is there; none where it is in another network
    /// namespace, of which nobody here has news.
    index: Option<AtomicU32>,
    /// Whether it is.
    present: AtomicBool,
}

impl DeviceLink {
    /// ENODEV and the like if the device went while it was being opened.
    pub(crate) fn new(device: FrameDevice) -> Result<Self, HostError> {
        let granted = device.granted();
        let offloads = Offloads {
            checksum: granted.checksum,
            tso4: granted.tso4,
            tso6: granted.tso6,
            uso4: granted.uso4,
            uso6: granted.uso6,
        };
        let kind = match &device {
            FrameDevice::Tap(tap) if tap.layer() == Layer::Ip => LinkKind::Ip,
            FrameDevice::Tap(_) | FrameDevice::Packet(_) => LinkKind::Ethernet,
        };
        let index = match &device {
            FrameDevice::Tap(tap) if tap.is_elsewhere() => None,
            FrameDevice::Tap(tap) => Some(tap.index()?.into()),
            FrameDevice::Packet(packet) => Some(packet.index().into()),
        };
        let host_end = Some(device.host_end().to_owned());
        let properties = LinkProperties { kind, offloads, mtu: 1500, max_mtu: MAX_MTU, host_end };
        let present = AtomicBool::new(index.is_none() || device.is_up()?);
        Ok(Self { device, properties, index, present })
    }

    /// Copies nothing, unless there are more slices than the host takes.
    fn send_gathered(&self, header: &[u8], frame: &Frame) -> Result<usize, IoFailure> {
        let joined;
        let mut slices = ArrayVec::<IoSlice<'_>, { MAX_SLICES + 2 }>::new();
        slices.push(IoSlice::new(header));
        slices.push(IoSlice::new(frame.headers.as_slice()));
        let payload = frame.payload.slices();
        if payload.len() <= MAX_SLICES {
            slices.extend(payload.iter().map(|slice| IoSlice::new(slice)));
            return self.device.writev(&slices);
        }
        joined = frame.payload.to_bytes();
        slices.push(IoSlice::new(&joined));
        self.device.writev(&slices)
    }

    fn note(&self, failure: IoFailure) -> io::Error {
        // Without news of its return it would stay away for good.
        if self.index.is_some() && matches!(failure, IoFailure::Down | IoFailure::Gone) {
            self.present.store(false, Ordering::Release);
        }
        io_error(failure)
    }
}

impl Link for DeviceLink {
    fn properties(&self) -> LinkProperties {
        self.properties.clone()
    }

    fn signal(&self) -> Signal<'_> {
        Signal::Descriptor(self.device.as_fd())
    }

    fn state(&self) -> LinkState {
        if self.present.load(Ordering::Acquire) { LinkState::Up } else { LinkState::Down }
    }

    fn send(&self, frame: &Frame) -> io::Result<()> {
        let header = offload::to_header(frame).to_bytes();
        let sent = if header.len() + frame.len() <= JOINED {
            self.device.write(&join(&header, frame))
        } else {
            self.send_gathered(&header, frame)
        };
        sent.map(drop).map_err(|failure| self.note(failure))
    }

    fn receive(&self, pool: &Pool, limit: usize, out: &mut Vec<Received>) -> io::Result<()> {
        let mut buffer = pool.take();
        for _ in 0..limit {
            let len = match self.device.read(buffer.as_mut_slice()) {
                Ok(len) => len,
                Err(IoFailure::WouldBlock) => return Ok(()),
                Err(failure) => return Err(self.note(failure)),
            };
            let read = &buffer.as_ref()[..len];
            let (start, offload) = determine_frame(read);
            out.push(if Buffer::is_small(len) {
                Received::new(Bytes::copy_from_slice(&read[start..]), offload)
            } else {
                let kept = std::mem::replace(&mut buffer, pool.take()).into_bytes(start, len);
                Received::new(kept, offload).pinning(BUFFER)
            });
        }
        Ok(())
    }

    fn set_up(&self, up: bool) -> io::Result<()> {
        Ok(self.device.set_carrier(up)?)
    }

    fn set_mtu(&self, mtu: u32) -> io::Result<()> {
        Ok(self.device.set_mtu(mtu)?)
    }

    fn far_drops(&self) -> Option<u64> {
        self.index.as_ref()?;
        let link = Netlink::open().and_then(|mut netlink| netlink.link(self.device.host_end()));
        link.ok().map(|link| link.tx_dropped)
    }

    fn host_index(&self) -> Option<u32> {
        self.index.as_ref().map(|index| index.load(Ordering::Acquire))
    }

    fn attach_again(&self) -> io::Result<()> {
        let (FrameDevice::Tap(tap), Some(index)) = (&self.device, &self.index) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        tap.attach_again()?;
        index.store(tap.index()?, Ordering::Release);
        self.present.store(tap.is_up()?, Ordering::Release);
        Ok(())
    }

    fn on_host_link(&self, link: Option<&HostLink>) {
        let present = link.is_some_and(|link| match self.device {
            FrameDevice::Tap(_) => link.is_up,
            // Our end is up by our user's will; its carrier is the host's end.
            FrameDevice::Packet(_) => !link.is_up || link.has_carrier,
        });
        self.present.store(present, Ordering::Release);
    }
}

/// Where the frame begins in a read of a device, and what is left to do to it; bytes too short for a header become a frame
/// that the stack counts as a runt.
fn determine_frame(read: &[u8]) -> (usize, Offload) {
    match Header::parse(read) {
        Ok((header, _)) => (Header::LEN, offload::to_offload(&header)),
        Err(_) => (read.len().min(Header::LEN), offload::impossible()),
    }
}

/// A header and a frame of at most [`JOINED`] bytes in one piece.
fn join(header: &[u8], frame: &Frame) -> ArrayVec<u8, JOINED> {
    let mut joined = ArrayVec::new();
    let payload = frame.payload.slices().iter().map(|slice| &slice[..]);
    for part in [header, frame.headers.as_slice()].into_iter().chain(payload) {
        joined.try_extend_from_slice(part).expect("the caller has looked at the length");
    }
    joined
}

fn io_error(failure: IoFailure) -> io::Error {
    match failure {
        IoFailure::WouldBlock => io::ErrorKind::WouldBlock.into(),
        other => io::Error::from_raw_os_error(other.errno()),
    }
}
