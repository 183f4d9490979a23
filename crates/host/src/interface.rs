//! An interface of the host by its name: flags, MTU, queue length, as netdevice(7) has them.
//!
//! A [`Control`] is a socket that stays in the network namespace in which it was made, whichever thread uses it
//! later. Addresses, routes and news of interfaces are `netlink`'s.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
};

use rustix::{
    io::{Errno, Result},
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::ioctl::{self, Interface, flags_in, link_address_in, named, number_in};

/// A socket to ask about interfaces; none where they are out of reach, and every answer is `ENODEV`.
#[derive(Debug)]
pub struct Control(Option<OwnedFd>);

impl Control {
    /// One in the thread's network namespace.
    pub fn open() -> Result<Self> {
        // A host without IPv4 still has local sockets, and any socket takes these requests.
        let kind = |family| socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
        kind(AddressFamily::INET).or_else(|_| kind(AddressFamily::UNIX)).map(|fd| Self(Some(fd)))
    }

    /// One in another network namespace, which takes CAP_SYS_ADMIN there and here.
    pub(crate) fn open_in(network: BorrowedFd<'_>) -> Result<Self> {
        // A thread of its own goes there and ends, so that nobody else finds himself abroad.
        thread::scope(|scope| {
            let abroad = scope.spawn(|| {
                move_into_link_name_space(network, Some(LinkNameSpaceType::Network))?;
                Self::open()
            });
            abroad.join().unwrap_or(Err(Errno::IO))
        })
    }

    /// One that reaches nothing.
    pub(crate) const fn out_of_reach() -> Self {
        Self(None)
    }

    /// The index of an interface; `ENODEV` if there is none of the name.
    pub fn index(&self, name: &str) -> Result<u32> {
        self.ask(name, Interface::Index).map(|answer| number_in(&answer))
    }

    /// Whether the interface exists.
    pub fn exists(&self, name: &str) -> Result<bool> {
        match self.index(name) {
            Ok(_) => Ok(true),
            Err(Errno::NODEV) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Its flags, `IFF_UP` among them.
    pub fn flags(&self, name: &str) -> Result<i32> {
        self.ask(name, Interface::Flags).map(|answer| flags_in(&answer))
    }

    /// Whether it is up.
    pub fn is_up(&self, name: &str) -> Result<bool> {
        Ok(self.flags(name)? & libc::IFF_UP != 0)
    }

    /// Brings it up or down; nothing is asked of the host where it is so already.
    pub fn set_up(&self, name: &str, up: bool) -> Result<()> {
        let before = self.flags(name)?;
        let after = if up { before | libc::IFF_UP } else { before & !libc::IFF_UP };
        if before == after {
            return Ok(());
        }
        self.tell(name, Interface::SetFlags, |request| request.ifr_ifru.ifru_flags = after as libc::c_short)
    }

    /// Its MTU in octets.
    pub fn mtu(&self, name: &str) -> Result<u32> {
        self.ask(name, Interface::Mtu).map(|answer| number_in(&answer))
    }

    /// Changes its MTU.
    pub fn set_mtu(&self, name: &str, mtu: u32) -> Result<()> {
        let mtu = libc::c_int::try_from(mtu).map_err(|_| Errno::INVAL)?;
        self.tell(name, Interface::SetMtu, |request| request.ifr_ifru.ifru_mtu = mtu)
    }

    /// The length of its queue in frames.
    pub fn queue_len(&self, name: &str) -> Result<u32> {
        self.ask(name, Interface::QueueLength).map(|answer| number_in(&answer))
    }

    /// Changes the length of its queue.
    pub fn set_queue_len(&self, name: &str, frames: u32) -> Result<()> {
        let frames = libc::c_int::try_from(frames).map_err(|_| Errno::INVAL)?;
        self.tell(name, Interface::SetQueueLength, |request| request.ifr_ifru.ifru_metric = frames)
    }

    /// Its link address; zeros where it has none.
    pub fn link_address(&self, name: &str) -> Result<[u8; 6]> {
        self.ask(name, Interface::LinkAddress).map(|answer| link_address_in(&answer))
    }

    fn ask(&self, name: &str, request: Interface) -> Result<libc::ifreq> {
        let mut argument = named(name)?;
        ioctl::interface(self.fd()?, request, &mut argument)?;
        Ok(argument)
    }

    fn tell(&self, name: &str, request: Interface, fill: impl FnOnce(&mut libc::ifreq)) -> Result<()> {
        let mut argument = named(name)?;
        fill(&mut argument);
        ioctl::interface(self.fd()?, request, &mut argument)
    }

    fn fd(&self) -> Result<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd).ok_or(Errno::NODEV)
    }
}
