//! Socket options and addresses that rustix lacks, or whose answers it trusts more than the kernel deserves.

use std::{
    io::IoSliceMut,
    mem::size_of,
    os::fd::{AsRawFd, BorrowedFd},
};

use rustix::io::{Errno, Result};

use crate::{Framing, ioctl::last};

/// From `linux/if_packet.h`; the C library's headers do not have them all.
const PACKET_ADD_MEMBERSHIP: libc::c_int = 1;
const PACKET_STATISTICS: libc::c_int = 6;
const PACKET_AUXDATA: libc::c_int = 8;
const PACKET_VNET_HDR: libc::c_int = 15;
const PACKET_QDISC_BYPASS: libc::c_int = 20;
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
const PACKET_VNET_HDR_SZ: libc::c_int = 24;
const PACKET_MR_PROMISC: u16 = 1;
const TP_STATUS_VLAN_VALID: u32 = 1 << 4;
const TP_STATUS_VLAN_TPID_VALID: u32 = 1 << 6;

/// `struct packet_mreq`.
#[repr(C)]
struct Membership {
    index: libc::c_int,
    kind: u16,
    address_len: u16,
    address: [u8; 8],
}

/// `struct tpacket_stats`.
#[repr(C)]
#[derive(Default)]
struct Statistics {
    packets: u32,
    drops: u32,
}

/// `struct tpacket_auxdata`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Auxiliary {
    status: u32,
    len: u32,
    captured: u32,
    link: u16,
    network: u16,
    tag: u16,
    protocol: u16,
}

/// Types that are numbers all through: any octets are a value, and every octet may be shown to the kernel.
///
/// # Safety
/// Implementors have no padding, no pointers and no invalid values.
unsafe trait Plain {}
// SAFETY: a number.
unsafe impl Plain for libc::c_int {}
// SAFETY: three numbers of four octets.
unsafe impl Plain for libc::ucred {}
// SAFETY: two numbers of four octets.
unsafe impl Plain for Statistics {}
// SAFETY: numbers of 4, 2, 2 and 8 octets, which leave no gap.
unsafe impl Plain for Membership {}

/// Who is at the far end of a local socket. The process is zero where it is in a namespace that we do not see.
pub(crate) fn peer_credentials(fd: BorrowedFd<'_>) -> Result<libc::ucred> {
    ask(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, libc::ucred { pid: 0, uid: 0, gid: 0 })
}

/// Frames that a packet socket has dropped since this was last asked.
pub(crate) fn packet_drops(fd: BorrowedFd<'_>) -> Result<u32> {
    ask(fd, libc::SOL_PACKET, PACKET_STATISTICS, Statistics::default()).map(|statistics| statistics.drops)
}

/// Puts a virtio-net header in front of each frame of a packet socket: of twelve octets, or of ten before Linux 6.4.
pub(crate) fn set_packet_header(fd: BorrowedFd<'_>) -> Result<Framing> {
    let len = Framing::Twelve.header_len() as libc::c_int;
    if tell(fd, libc::SOL_PACKET, PACKET_VNET_HDR_SZ, &len).is_ok() {
        return Ok(Framing::Twelve);
    }
    tell(fd, libc::SOL_PACKET, PACKET_VNET_HDR, &1).map(|()| Framing::Ten)
}

/// Binds a packet socket to all that comes in by an interface, whomever it is for, and to nothing that we send.
pub(crate) fn bind_packet(fd: BorrowedFd<'_>, index: u32) -> Result<()> {
    tell(fd, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1)?;
    tell(fd, libc::SOL_PACKET, PACKET_AUXDATA, &1)?;
    // The queue of an interface that has just come up drops everything without a word, up to a second long.
    tell(fd, libc::SOL_PACKET, PACKET_QDISC_BYPASS, &1)?;
    let index = libc::c_int::try_from(index).map_err(|_| Errno::INVAL)?;
    let promiscuous = Membership { index, kind: PACKET_MR_PROMISC, address_len: 0, address: [0; 8] };
    tell(fd, libc::SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous)?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the kernel reads `len` octets, which is what `address` holds, and keeps no pointer.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) })
}

/// Reads a frame of a packet socket, and the VLAN tag that the kernel has taken out of it.
pub(crate) fn receive_packet(
    fd: BorrowedFd<'_>,
    slices: &mut [IoSliceMut<'_>],
) -> Result<(usize, Option<[u8; 4]>)> {
    // Room for the one message that was asked for, aligned as its header wants it.
    let mut control = [0u64; 8];
    // SAFETY: a `struct msghdr` is pointers and numbers; zeros are valid for all of them.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = slices.as_mut_ptr().cast();
    message.msg_iovlen = slices.len() as _;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: an `IoSliceMut` is laid out as a `struct iovec` and stands for memory that is ours to write; the control
    // buffer has the length stated. The kernel keeps no pointer.
    let len = unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, 0) };
    if len < 0 {
        return Err(last());
    }
    Ok((len as usize, tag_in(&message)))
}

/// The tag as it stood in the frame.
fn tag_in(message: &libc::msghdr) -> Option<[u8; 4]> {
    // SAFETY: the kernel has filled the control buffer and set its length; only its first message is looked at.
    let first = unsafe { libc::CMSG_FIRSTHDR(message).as_ref() }?;
    let fits = first.cmsg_len as usize >= size_of::<libc::cmsghdr>() + size_of::<Auxiliary>();
    if (first.cmsg_level, first.cmsg_type) != (libc::SOL_PACKET, PACKET_AUXDATA) || !fits {
        return None;
    }
    // SAFETY: its type says that this struct of numbers follows, and its length that all of it is there.
    let auxiliary = unsafe { libc::CMSG_DATA(first).cast::<Auxiliary>().read_unaligned() };
    let has = |status| auxiliary.status & status != 0;
    let protocol = if has(TP_STATUS_VLAN_TPID_VALID) { auxiliary.protocol } else { libc::ETH_P_8021Q as u16 };
    let ([a, b], [c, d]) = (protocol.to_be_bytes(), auxiliary.tag.to_be_bytes());
    has(TP_STATUS_VLAN_VALID).then_some([a, b, c, d])
}

fn ask<T: Plain>(fd: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int, mut value: T) -> Result<T> {
    let mut len = size_of::<T>() as libc::socklen_t;
    let place = (&raw mut value).cast();
    // SAFETY: the kernel writes at most `len` octets, which is what `value` holds, and any octets are valid in it.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, option, place, &mut len) })?;
    if len as usize == size_of::<T>() { Ok(value) } else { Err(Errno::INVAL) }
}

fn tell<T: Plain>(fd: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int, value: &T) -> Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads `len` octets, which is what `value` holds, and keeps no pointer.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const *value).cast(), len) })
}

fn check(returned: libc::c_int) -> Result<()> {
    if returned < 0 { Err(last()) } else { Ok(()) }
}
