//! The Linux tap: one end of a cable whose other end is an interface of the host.
//!
//! [`Tap::open`] makes or attaches one, [`Tap::adopt`] takes a descriptor that somebody else opened. A frame is read
//! or written with one system call, behind a virtio-net header of [`HEADER_LEN`](crate::HEADER_LEN) octets in every case.
//! A tun, which carries packets without Ethernet headers, is the same thing of another [`Layer`].
//!
//! A tap that was there before is left as it was found; one that we made goes with its last descriptor. close(2)
//! takes the kernel some 20 ms, so a `Tap` is better dropped, or [taken apart](Tap::into_fd), where nobody waits.

mod attach;

use std::{
    io::{IoSlice, IoSliceMut},
    os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::io::Errno;

use crate::{
    Framing, HostError, IoFailure, Operation,
    interface::Control,
    ioctl::{self, Interface, Number, Value, name_in, named},
    netlink::Netlink,
};

/// What travels on the cable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layer {
    /// Ethernet frames: a tap.
    #[default]
    Ethernet,
    /// IP packets: a tun.
    Ip,
}

/// Which tap to open, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapOptions {
    /// Its name, such as `tap0`. `tap%d`, or nothing, lets the kernel number a new one.
    pub name: String,
    /// Tap or tun.
    pub layer: Layer,
    /// Whether it may be made; otherwise one that is not there is `ENXIO`.
    pub create: bool,
    /// Whether it is brought up.
    pub up: bool,
    /// The queue length, in frames, of one that is made here.
    pub queue_len: Option<u32>,
    /// The MTU, in octets, of one that is made here.
    pub mtu: Option<u32>,
}

impl TapOptions {
    /// The tap `name`: made if it is not there, and brought up.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), layer: Layer::Ethernet, create: true, up: true, queue_len: None, mtu: None }
    }
}

/// What the host's kernel lets us leave undone, and may leave undone itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Granted {
    /// Transport checksums.
    pub checksum: bool,
    /// Segmentation of TCP over IPv4.
    pub tso4: bool,
    /// Segmentation of TCP over IPv6.
    pub tso6: bool,
    /// Segmentation of TCP whose first segment carries CWR.
    pub tso_ecn: bool,
    /// Segmentation of UDP over IPv4.
    pub uso4: bool,
    /// Segmentation of UDP over IPv6.
    pub uso6: bool,
}

/// How an interface that was there before was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Before {
    up: Option<bool>,
    mtu: Option<u32>,
    queue_len: Option<u32>,
    header_len: Option<i32>,
}

/// An open tap or tun.
#[derive(Debug)]
pub struct Tap {
    /// Held until [`Tap::into_fd`] takes it out.
    fd: Option<OwnedFd>,
    control: Control,
    name: String,
    layer: Layer,
    framing: Framing,
    granted: Granted,
    multi_queue: bool,
    existed: AtomicBool,
    elsewhere: bool,
    /// Locked for the rare calls that change the interface while frames pass.
    before: Mutex<Before>,
}

impl Tap {
    /// Opens the tap that `options` name, in the thread's network namespace.
    pub fn open(options: &TapOptions) -> Result<Self, HostError> {
        let mut tap = attach::open(options)?;
        tap.negotiate()?;
        if !tap.existed_before() {
            options.queue_len.map_or(Ok(()), |frames| tap.set_queue_len(frames))?;
            options.mtu.map_or(Ok(()), |mtu| tap.set_mtu(mtu))?;
        }
        if options.up {
            tap.set_up(true)?;
        }
        Ok(tap)
    }

    /// Takes over a descriptor that is attached to a tap or tun, and finds out which.
    pub fn adopt(fd: OwnedFd) -> Result<Self, HostError> {
        let mut tap = attach::adopt(fd)?;
        tap.negotiate()?;
        Ok(tap)
    }

    /// Takes over a copy of descriptor `number`, which this process has inherited.
    pub fn inherited(number: RawFd) -> Result<Self, HostError> {
        let copy = attach::duplicate(number)
            .map_err(|errno| HostError::new(Operation::Attach, format!("fd:{number}"), errno))?;
        Self::adopt(copy)
    }

    /// Reads one frame into `buffer`, the header first, and returns the octets of both.
    ///
    /// A frame that does not fit loses its end without notice: 64 KiB and the headers are enough for any.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, IoFailure> {
        self.readv(&mut [IoSliceMut::new(buffer)])
    }

    /// Reads one frame into the slices in turn. The first takes at least the header.
    #[inline]
    pub fn readv(&self, slices: &mut [IoSliceMut<'_>]) -> Result<usize, IoFailure> {
        self.framing.readv(self.as_fd(), slices)
    }

    /// Writes one frame in one piece, the header first; returns the octets written.
    #[inline]
    pub fn write(&self, frame: &[u8]) -> Result<usize, IoFailure> {
        self.framing.write(self.as_fd(), frame)
    }

    /// Writes one frame gathered from the slices, the first being the header alone; returns the octets written.
    #[inline]
    pub fn writev(&self, slices: &[IoSlice<'_>]) -> Result<usize, IoFailure> {
        self.framing.writev(self.as_fd(), slices)
    }

    /// Shows the host a carrier, or none.
    pub fn set_carrier(&self, carrier: bool) -> Result<(), HostError> {
        ioctl::number(self.as_fd(), Number::SetCarrier, &mut i32::from(carrier))
            .map_err(|errno| self.error(Operation::SetCarrier, errno))
    }

    /// Brings the host's end up or down.
    pub fn set_up(&self, up: bool) -> Result<(), HostError> {
        let before = self.is_up()?;
        if before != up {
            self.tell(Operation::SetUp, |name| self.control.set_up(name, up))?;
            self.before().up.get_or_insert(before);
        }
        Ok(())
    }

    /// Whether the host's end is up.
    pub fn is_up(&self) -> Result<bool, HostError> {
        self.ask(Control::is_up)
    }

    /// The MTU of the host's end, in octets.
    pub fn mtu(&self) -> Result<u32, HostError> {
        self.ask(Control::mtu)
    }

    /// Changes the MTU of the host's end, which takes 68 to 65,521.
    pub fn set_mtu(&self, mtu: u32) -> Result<(), HostError> {
        let before = self.mtu()?;
        if before != mtu {
            self.tell(Operation::SetMtu, |name| self.control.set_mtu(name, mtu))?;
            self.before().mtu.get_or_insert(before);
        }
        Ok(())
    }

    /// How many frames wait for us at most before the host drops them.
    pub fn queue_len(&self) -> Result<u32, HostError> {
        self.ask(Control::queue_len)
    }

    /// Changes how many frames wait for us at most.
    pub fn set_queue_len(&self, frames: u32) -> Result<(), HostError> {
        let before = self.queue_len()?;
        if before != frames {
            let set = match self.control.set_queue_len(&self.name, frames) {
                Err(Errno::PERM) if !self.elsewhere => self.set_queue_len_by_netlink(frames),
                set => set,
            };
            set.map_err(|errno| self.error(Operation::SetQueueLength, errno))?;
            self.before().queue_len.get_or_insert(before);
        }
        Ok(())
    }

    /// For root of a user namespace, whom the request of netdevice(7) refuses. It asks in the thread's network namespace, where an
    /// interface that is not ours may have the name.
    fn set_queue_len_by_netlink(&self, frames: u32) -> rustix::io::Result<()> {
        let mut netlink = Netlink::open()?;
        let index = self.control.index(&self.name)?;
        if netlink.link(&self.name)?.index != index {
            return Err(Errno::PERM);
        }
        netlink.set_queue_len(index, frames)
    }

    /// Lets it stay when its last descriptor is closed, or not.
    pub fn set_persistent(&self, stays: bool) -> Result<(), HostError> {
        ioctl::value(self.as_fd(), Value::Persistence, u32::from(stays))
            .map_err(|errno| self.error(Operation::SetPersistence, errno))
    }

    /// Lets the user `uid` attach to it.
    pub fn set_owner(&self, uid: u32) -> Result<(), HostError> {
        ioctl::value(self.as_fd(), Value::Owner, uid).map_err(|errno| self.error(Operation::SetOwner, errno))
    }

    /// Lets the group `gid` attach to it.
    pub fn set_group(&self, gid: u32) -> Result<(), HostError> {
        ioctl::value(self.as_fd(), Value::Group, gid).map_err(|errno| self.error(Operation::SetOwner, errno))
    }

    /// The link address of the host's end, which is not that of ours.
    pub fn link_address(&self) -> Result<[u8; 6], HostError> {
        self.ask(Control::link_address)
    }

    /// The interface's index.
    pub fn index(&self) -> Result<u32, HostError> {
        self.ask(Control::index)
    }

    /// Frames that the host dropped because we did not read them in time. Asked in the thread's network namespace, and
    /// slow: it takes a lock of the host that a change of any interface may hold for milliseconds.
    pub fn tx_dropped(&self) -> Result<u64, HostError> {
        if self.elsewhere {
            return Err(self.error(Operation::Find, Errno::NODEV));
        }
        let link = |name: &str| Netlink::open().and_then(|mut netlink| netlink.link(name));
        self.tell(Operation::Find, link).map(|link| link.tx_dropped)
    }

    /// What the kernel called it when it was opened.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tap or tun.
    pub const fn layer(&self) -> Layer {
        self.layer
    }

    /// What the descriptor puts in front of a frame, before the difference is hidden.
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// Gives back what was granted: from now on every frame that is read is complete, and as short as the MTU says.
    pub fn refuse_offloads(&mut self) -> Result<(), HostError> {
        ioctl::value(self.as_fd(), Value::Offload, 0)
            .map_err(|errno| self.error(Operation::SetHeader, errno))?;
        self.granted = Granted::default();
        Ok(())
    }

    /// What was granted.
    pub const fn granted(&self) -> Granted {
        self.granted
    }

    /// Whether others may hold queues of it too.
    pub const fn is_multi_queue(&self) -> bool {
        self.multi_queue
    }

    /// Whether its interface is in another network namespace than the thread that adopted it. Then its index means
    /// nothing here, and for who lacks privilege there it cannot be asked for anything: `ENODEV`.
    pub const fn is_elsewhere(&self) -> bool {
        self.elsewhere
    }

    /// Whether it was there before us.
    pub fn existed_before(&self) -> bool {
        self.existed.load(Ordering::Relaxed)
    }

    /// Stands on the interface that has the old name now, after ours was deleted; the descriptor keeps its number, and a
    /// poller that knew it knows it no more. To be called in the network namespace in which it was opened.
    ///
    /// `EEXIST`: ours is still there. `ENXIO`: there is no new one. `EINVAL`: it is another kind of interface, or lacks what was
    /// granted before.
    pub fn attach_again(&self) -> Result<(), HostError> {
        attach::again(self)
    }

    /// Restores what was found and gives the descriptor away, to be closed elsewhere.
    pub fn into_fd(mut self) -> OwnedFd {
        self.restore();
        self.fd.take().expect("only this takes it, and consumes the tap")
    }

    /// What it is called now: an interface that was renamed is still ours, and one that has its old name is not.
    fn present_name(&self) -> rustix::io::Result<String> {
        let mut request = named("")?;
        ioctl::interface(self.as_fd(), Interface::Attached, &mut request).map_err(|_| Errno::NODEV)?;
        Ok(name_in(&request))
    }

    fn ask<T>(&self, question: impl FnOnce(&Control, &str) -> rustix::io::Result<T>) -> Result<T, HostError> {
        self.tell(Operation::Find, |name| question(&self.control, name))
    }

    fn tell<T>(
        &self,
        operation: Operation,
        call: impl FnOnce(&str) -> rustix::io::Result<T>,
    ) -> Result<T, HostError> {
        self.present_name().and_then(|name| call(&name)).map_err(|errno| self.error(operation, errno))
    }

    fn before(&self) -> MutexGuard<'_, Before> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, operation: Operation, errno: Errno) -> HostError {
        attach::explained(operation, &self.name, self.layer, errno)
    }
}

impl AsFd for Tap {
    /// For readiness: readable when a frame waits, in error when the interface is gone.
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("only into_fd takes it, and consumes the tap").as_fd()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if self.fd.is_some() {
            self.restore();
        }
    }
}
