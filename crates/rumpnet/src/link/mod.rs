//! Links: what stands at the far side of an interface's port.
//!
//! A [`Link`] is a device of the host (`device`), a bus that others are on, too (`bus`), one end of a channel whose other end is this
//! program ([`channel`]), or whatever a program implements. It moves whole frames and knows nothing of protocols; super-frames and partial checksums pass
//! as the offloads that it declares allow.

pub(crate) mod bus;
pub mod channel;
pub(crate) mod device;
mod offload;

use std::{collections::VecDeque, io, os::fd::BorrowedFd};

use rumpnet_host::netlink::HostLink;
use rumpnet_proto::{ControlError, LinkKind, LinkState};
use rumpnet_stack::{
    Offloads,
    buffer::{Frame, Received},
};

use crate::{host_end, pool::Pool, reactor::Doorbell};

/// The host's tap `name`, made if it is not there, as a link for a program's own use or for [`crate::Kernel::attach`].
///
/// `fd:N` is a descriptor that this process has inherited, `packet:NAME` a packet socket on any interface. The errors are those of [`crate::Kernel::create_with`].
pub fn tap(name: &str) -> Result<Box<dyn Link>, ControlError> {
    Ok(Box::new(host_end::open(name, name, LinkKind::Ethernet)?))
}

/// What a link is and can do.
#[derive(Clone, Debug)]
pub struct LinkProperties {
    /// Ethernet frames, or plain IP packets.
    pub kind: LinkKind,
    /// What the far end takes and gives.
    pub offloads: Offloads,
    /// The MTU to begin with, in bytes.
    pub mtu: u32,
    /// The greatest MTU that it can carry, in bytes.
    pub max_mtu: u32,
    /// What the far end is called, such as `tap0`; shown by ifconfig(8).
    pub host_end: Option<String>,
}

/// How a link tells that it has something to read, or room again.
pub enum Signal<'a> {
    /// A descriptor that polls readable and writable.
    Descriptor(BorrowedFd<'a>),
    /// It rings the [`Doorbell`] that it was given.
    Doorbell,
}

/// The far side of an interface.
///
/// All calls come from one thread at a time for each direction, and none waits.
pub trait Link: Send + Sync + 'static {
    /// What it is; asked once, when an interface is put on it.
    fn properties(&self) -> LinkProperties;

    /// How it signals.
    fn signal(&self) -> Signal<'_>;

    /// Whether the far end is there; asked again whenever the link signals.
    fn state(&self) -> LinkState {
        LinkState::Up
    }

    /// What to ring, for links that signal by it; called once before the first frame.
    fn set_doorbell(&self, _doorbell: Doorbell) {}

    /// Takes a frame; WouldBlock if there is no room, to be signalled when there is. Other errors are counted as failed sends.
    fn send(&self, frame: &Frame) -> io::Result<()>;

    /// Takes as many as it likes of the frames at the front, at least one, and returns how many; an error concerns the first alone. As
    /// [`Self::send`], for links that do better with several.
    fn send_some(&self, frames: &VecDeque<Frame>) -> io::Result<usize> {
        frames.front().map_or(Ok(0), |frame| self.send(frame).map(|()| 1))
    }

    /// Appends up to `limit` frames that have come in; none is not an error. An error means that the far end is gone for now.
    fn receive(&self, pool: &Pool, limit: usize, out: &mut Vec<Received>) -> io::Result<()>;

    /// Whether dropping it may take long, as closing a tap does, so that only who came to wait for it does so in place.
    fn is_slow_to_close(&self) -> bool {
        true
    }

    /// The interface went up or down by its user's will.
    fn set_up(&self, _up: bool) -> io::Result<()> {
        Ok(())
    }

    /// The interface's MTU was changed.
    fn set_mtu(&self, _mtu: u32) -> io::Result<()> {
        Ok(())
    }

    /// The bus that the link shall join, or with none that it shall leave the one it is on (ifconfig(8), `linkstr`).
    fn set_link_string(&self, _string: Option<&str>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The index of the host's interface that the link is, if it is one; changes of it are told to [`Self::on_host_link`].
    fn host_index(&self) -> Option<u32> {
        None
    }

    /// The host's interface has changed, or is gone.
    fn on_host_link(&self, _link: Option<&HostLink>) {}

    /// The host's interface was deleted, and there is one of its name again: the link stands on that one from now on. An error leaves
    /// everything as it was. Neither quick nor called where anybody waits.
    fn attach_again(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Frames that the far end dropped because we did not read in time, where it tells.
    fn far_drops(&self) -> Option<u64> {
        None
    }
}
