//! The ioctls of taps and interfaces, each with an argument of the type that the kernel expects.
//!
//! Only here are requests put beside pointers; what they mean is told in `tap` and `interface`.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, Result};

/// Requests whose argument is a `struct ifreq`, as netdevice(7) and tun.txt say.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Interface {
    Attach = libc::TUNSETIFF as u32,
    Attached = libc::TUNGETIFF as u32,
    Index = libc::SIOCGIFINDEX as u32,
    Flags = libc::SIOCGIFFLAGS as u32,
    SetFlags = libc::SIOCSIFFLAGS as u32,
    Mtu = libc::SIOCGIFMTU as u32,
    SetMtu = libc::SIOCSIFMTU as u32,
    QueueLength = libc::SIOCGIFTXQLEN as u32,
    SetQueueLength = libc::SIOCSIFTXQLEN as u32,
    LinkAddress = libc::SIOCGIFHWADDR as u32,
}

/// Requests whose argument is a pointer to an `int`.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Number {
    HeaderLength = libc::TUNGETVNETHDRSZ as u32,
    SetHeaderLength = libc::TUNSETVNETHDRSZ as u32,
    SetCarrier = libc::TUNSETCARRIER as u32,
}

/// Requests whose argument is a number itself.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Value {
    Offload = libc::TUNSETOFFLOAD as u32,
    Persistence = libc::TUNSETPERSIST as u32,
    Owner = libc::TUNSETOWNER as u32,
    Group = libc::TUNSETGROUP as u32,
}

/// An empty `struct ifreq` for the interface `name`; `EINVAL` where the name does not fit.
pub(crate) fn named(name: &str) -> Result<libc::ifreq> {
    // SAFETY: a `struct ifreq` is an array of characters and a union of plain numbers; zeros are valid for both.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The kernel would cut a longer name short and take another interface.
    if name.len() >= libc::IFNAMSIZ || name.bytes().any(|byte| byte == 0) {
        return Err(Errno::INVAL);
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte as libc::c_char;
    }
    Ok(request)
}

/// The name in a `struct ifreq`.
pub(crate) fn name_in(request: &libc::ifreq) -> String {
    let bytes: Vec<u8> =
        request.ifr_name.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The flags in a `struct ifreq`.
pub(crate) fn flags_in(request: &libc::ifreq) -> libc::c_int {
    // SAFETY: every bit pattern is a valid short, and the request was zeroed before it was filled.
    libc::c_int::from(unsafe { request.ifr_ifru.ifru_flags } as u16)
}

/// The number in a `struct ifreq`: an index, an MTU or a queue length.
pub(crate) fn number_in(request: &libc::ifreq) -> u32 {
    // SAFETY: every bit pattern is a valid int, and the request was zeroed before it was filled.
    unsafe { request.ifr_ifru.ifru_mtu as u32 }
}

/// The link address in a `struct ifreq`.
pub(crate) fn link_address_in(request: &libc::ifreq) -> [u8; 6] {
    // SAFETY: every bit pattern is a valid socket address, and the request was zeroed before it was filled.
    let data = unsafe { request.ifr_ifru.ifru_hwaddr.sa_data };
    std::array::from_fn(|place| data[place] as u8)
}

/// Asks or tells the kernel something of the interface that `argument` names.
pub(crate) fn interface(fd: BorrowedFd<'_>, request: Interface, argument: &mut libc::ifreq) -> Result<()> {
    // SAFETY: each request of the enum reads and writes one `struct ifreq` and keeps no pointer to it.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request as libc::Ioctl, argument) })
}

/// Asks or tells the kernel a number.
pub(crate) fn number(fd: BorrowedFd<'_>, request: Number, argument: &mut libc::c_int) -> Result<()> {
    // SAFETY: each request of the enum reads or writes one `int` and keeps no pointer to it.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request as libc::Ioctl, argument) })
}

/// Tells the kernel a number, passed by value.
pub(crate) fn value(fd: BorrowedFd<'_>, request: Value, argument: u32) -> Result<()> {
    // SAFETY: each request of the enum takes its argument for a number and follows no pointer.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request as libc::Ioctl, libc::c_ulong::from(argument)) })
}

/// The network namespace in which a tap's interface is; `EPERM` for who has no CAP_NET_ADMIN there.
pub(crate) fn network_of(tap: BorrowedFd<'_>) -> Result<OwnedFd> {
    // SAFETY: the request takes no argument and returns a new descriptor.
    let fd = unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNGETDEVNETNS, 0) };
    check(fd)?;
    // SAFETY: the call has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn check(returned: libc::c_int) -> Result<()> {
    if returned < 0 { Err(last()) } else { Ok(()) }
}

/// The errno of the call that failed just now.
pub(crate) fn last() -> Errno {
    std::io::Error::last_os_error().raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}
