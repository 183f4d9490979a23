//! A packet socket on one end of a veth pair: frames of an interface where `/dev/net/tun` cannot be opened.
//!
//! With `PACKET_VNET_HDR` it speaks the same header as a tap and carries the same super-frames. The other end of the
//! pair is what a tap's own interface would be: the host's. The carrier is our end brought up and down.
//!
//! What differs from a tap: the socket's buffer (`rmem_default`), not a queue length, bounds what waits for us; and the
//! host's kernel takes VLAN tags out of frames, which are put back here.

mod tag;

use std::{
    collections::BTreeMap,
    io::{IoSlice, IoSliceMut},
    mem,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, PoisonError},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt::socket_error},
};

use crate::{
    Framing, Granted, HostError, IoFailure, Operation, interface::Control, netlink::Netlink, sockopt,
};

/// Which interface to send and receive on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketOptions {
    /// Our end.
    pub name: String,
    /// The host's end, joined to ours as a new pair if ours does not exist; without it ours has to exist.
    pub peer: Option<String>,
    /// Whether both ends are brought up.
    pub up: bool,
    /// The MTU, in octets, of a pair that is made here.
    pub mtu: Option<u32>,
}

/// A packet socket bound to an interface.
#[derive(Debug)]
pub struct PacketSocket {
    /// Held until [`PacketSocket::into_fd`] takes it out.
    fd: Option<OwnedFd>,
    control: Control,
    name: String,
    index: u32,
    peer: Option<String>,
    framing: Framing,
    /// We made the pair, and take it with us.
    created: Option<Netlink>,
    /// How ends that were there before us were found, by their names; what we did not change is not in it.
    before: Mutex<BTreeMap<String, Before>>,
}

/// How an end was found.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    up: Option<bool>,
    mtu: Option<u32>,
}

impl PacketSocket {
    /// Binds to our end, having made the pair if need be, in the thread's network namespace.
    pub fn open(options: &PacketOptions) -> Result<Self, HostError> {
        let fail = |operation| move |errno| refused(operation, &options.name, errno);
        let control = Control::open().map_err(fail(Operation::Find))?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Protocol zero receives nothing until it is bound to the interface.
        let fd = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)
            .map_err(fail(Operation::OpenPacketSocket))?;
        let created = create(&control, options).map_err(fail(Operation::CreatePair))?;
        let index = control.index(&options.name).map_err(fail(Operation::Find))?;
        let mut packet = Self {
            fd: Some(fd),
            control,
            name: options.name.clone(),
            index,
            peer: options.peer.clone(),
            framing: Framing::Bare,
            created,
            before: Mutex::default(),
        };
        packet.prepare(options)?;
        Ok(packet)
    }

    /// Reads one frame into `buffer`, the header first, and returns the octets of both.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, IoFailure> {
        self.readv(&mut [IoSliceMut::new(buffer)])
    }

    /// Reads one frame into the slices in turn. The first takes at least the header.
    #[inline]
    pub fn readv(&self, slices: &mut [IoSliceMut<'_>]) -> Result<usize, IoFailure> {
        let mut tag = None;
        let len = self.framing.read_by(slices, |slices| {
            let (len, taken_out) = sockopt::receive_packet(self.as_fd(), slices)?;
            tag = taken_out;
            Ok(len)
        })?;
        Ok(tag.map_or(len, |tag| tag::insert(slices, len, tag)))
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

    /// Shows the host's end a carrier, or none.
    pub fn set_carrier(&self, carrier: bool) -> Result<(), HostError> {
        self.change_up(&self.name, carrier).map_err(|errno| self.error(Operation::SetCarrier, errno))?;
        if carrier {
            self.forget_error();
        }
        Ok(())
    }

    /// Brings the host's end up or down.
    pub fn set_up(&self, up: bool) -> Result<(), HostError> {
        self.change_up(self.host_end(), up).map_err(|errno| self.error(Operation::SetUp, errno))
    }

    /// Whether the host's end is up.
    pub fn is_up(&self) -> Result<bool, HostError> {
        self.control.is_up(self.host_end()).map_err(|errno| self.error(Operation::Find, errno))
    }

    /// The MTU of our end, in octets.
    pub fn mtu(&self) -> Result<u32, HostError> {
        self.control.mtu(&self.name).map_err(|errno| self.error(Operation::Find, errno))
    }

    /// Changes the MTU of both ends.
    pub fn set_mtu(&self, mtu: u32) -> Result<(), HostError> {
        let ends = [Some(&self.name), self.peer.as_ref()];
        ends.into_iter().flatten().try_for_each(|end| {
            self.change_mtu(end, mtu).map_err(|errno| self.error(Operation::SetMtu, errno))
        })
    }

    /// Frames that were dropped because we did not read them in time, since this was last asked.
    pub fn take_dropped(&self) -> Result<u64, HostError> {
        let dropped = sockopt::packet_drops(self.as_fd());
        dropped.map(u64::from).map_err(|errno| self.error(Operation::Find, errno))
    }

    /// The link address of the host's end; of ours where the other is unknown.
    pub fn link_address(&self) -> Result<[u8; 6], HostError> {
        self.control.link_address(self.host_end()).map_err(|errno| self.error(Operation::Find, errno))
    }

    /// The index of our end.
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// The name of our end.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the host's end; ours where there is no other.
    pub fn host_end(&self) -> &str {
        self.peer.as_deref().unwrap_or(&self.name)
    }

    /// What the descriptor puts in front of a frame, before the difference is hidden.
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// What may be left undone in either direction: everything, because the kernel completes what it does not pass on.
    pub const fn granted(&self) -> Granted {
        Granted { checksum: true, tso4: true, tso6: true, tso_ecn: true, uso4: true, uso6: true }
    }

    /// Whether our end was there before us.
    pub const fn existed_before(&self) -> bool {
        self.created.is_none()
    }

    /// Deletes the pair if we made it, or leaves it as it was found, and gives the descriptor away, to be closed elsewhere.
    pub fn into_fd(mut self) -> OwnedFd {
        self.leave();
        self.fd.take().expect("only this takes it, and consumes the socket")
    }

    /// Agrees on a header, binds, and brings up what is asked for.
    fn prepare(&mut self, options: &PacketOptions) -> Result<(), HostError> {
        self.framing = sockopt::set_packet_header(self.as_fd())
            .map_err(|errno| self.error(Operation::SetHeader, errno))?;
        if let (true, Some(mtu)) = (self.created.is_some(), options.mtu) {
            self.set_mtu(mtu)?;
        }
        if options.up {
            self.set_up(true)?;
            self.set_carrier(true)?;
        }
        sockopt::bind_packet(self.as_fd(), self.index)
            .map_err(|errno| self.error(Operation::OpenPacketSocket, errno))?;
        self.forget_error();
        Ok(())
    }

    /// The kernel keeps it as an error that the interface is or was down, and tells it at the next call, whatever that is.
    fn forget_error(&self) {
        let _told = socket_error(self.as_fd());
    }

    fn change_up(&self, end: &str, up: bool) -> rustix::io::Result<()> {
        let before = self.control.is_up(end)?;
        if before != up {
            self.control.set_up(end, up)?;
            self.note(end, |found| _ = found.up.get_or_insert(before));
        }
        Ok(())
    }

    fn change_mtu(&self, end: &str, mtu: u32) -> rustix::io::Result<()> {
        let before = self.control.mtu(end)?;
        if before != mtu {
            self.control.set_mtu(end, mtu)?;
            self.note(end, |found| _ = found.mtu.get_or_insert(before));
        }
        Ok(())
    }

    fn note(&self, end: &str, note: impl FnOnce(&mut Before)) {
        note(self.before.lock().unwrap_or_else(PoisonError::into_inner).entry(end.to_owned()).or_default());
    }

    /// Takes along what we made, and puts back what we found. Whatever is gone already is as well.
    fn leave(&mut self) {
        let before = mem::take(self.before.get_mut().unwrap_or_else(PoisonError::into_inner));
        if let Some(mut netlink) = self.created.take() {
            let _gone = netlink.delete_link(self.index);
            return;
        }
        for (end, Before { up, mtu }) in before {
            let _gone = mtu.map(|mtu| self.control.set_mtu(&end, mtu));
            let _gone = up.map(|up| self.control.set_up(&end, up));
        }
    }

    fn error(&self, operation: Operation, errno: Errno) -> HostError {
        refused(operation, &self.name, errno)
    }
}

impl AsFd for PacketSocket {
    /// For readiness: readable when a frame waits.
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("only into_fd takes it, and consumes the socket").as_fd()
    }
}

impl Drop for PacketSocket {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Makes the pair if our end is not there; returns what can delete it again.
fn create(control: &Control, options: &PacketOptions) -> rustix::io::Result<Option<Netlink>> {
    let Some(peer) = &options.peer else { return Ok(None) };
    if control.exists(&options.name)? {
        return Ok(None);
    }
    let mut netlink = Netlink::open()?;
    netlink.create_pair(&options.name, peer)?;
    Ok(Some(netlink))
}

fn refused(operation: Operation, name: &str, errno: Errno) -> HostError {
    let error = HostError::new(operation, name, errno);
    match (operation, errno) {
        (Operation::OpenPacketSocket, Errno::PERM | Errno::ACCESS) => {
            error.with_hint("it takes CAP_NET_RAW, which an own user and network namespace gives")
        }
        (Operation::OpenPacketSocket, Errno::AFNOSUPPORT) => error.with_hint("modprobe af_packet"),
        (Operation::CreatePair, Errno::PERM) => error.with_hint(format!(
            "ip link add {name} type veth (as root), or an own user and network namespace"
        )),
        (Operation::CreatePair, Errno::OPNOTSUPP) => error.with_hint("modprobe veth"),
        (Operation::SetUp | Operation::SetCarrier, Errno::PERM) => {
            error.with_hint(format!("ip link set {name} up (as root)"))
        }
        _ => error,
    }
}
