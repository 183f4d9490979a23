//! Attaching to a tap, agreeing on headers and offloads, and leaving it as it was found.
//!
//! Refusals are explained here: each errno of TUNSETIFF means one thing, and one command helps.

use std::{
    mem::ManuallyDrop,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::{Mutex, atomic::Ordering},
};

use rustix::{
    fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, fstat, open as open_file},
    io::{DupFlags, Errno, FdFlags, dup3, fcntl_dupfd_cloexec, fcntl_setfd},
};

use super::{Before, Granted, Layer, Tap, TapOptions};
use crate::{
    Framing, HostError, Operation, holder,
    interface::Control,
    ioctl::{self, Interface, Number, Value, flags_in, link_address_in, name_in, named},
    machine,
    netlink::Netlink,
};

/// The node of the driver.
const NODE: &str = "/dev/net/tun";

/// How often a name is tried that comes and goes while we look.
const ATTEMPTS: usize = 8;

/// Opens the node and attaches it as `options` say; the header is not agreed on yet.
pub(super) fn open(options: &TapOptions) -> Result<Tap, HostError> {
    let fail = |operation, errno| explained(operation, &options.name, options.layer, errno);
    let control = Control::open().map_err(|errno| fail(Operation::Find, errno))?;
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = open_file(NODE, flags, Mode::empty())
        .map_err(|errno| refused_node(errno, &options.name, options.layer))?;
    let (request, existed) =
        attach(fd.as_fd(), &control, options).map_err(|errno| fail(Operation::Attach, errno))?;
    Ok(Tap {
        fd: Some(fd),
        control,
        name: name_in(&request),
        layer: options.layer,
        framing: Framing::Bare,
        granted: Granted::default(),
        multi_queue: flags_in(&request) & libc::IFF_MULTI_QUEUE != 0,
        existed: existed.into(),
        elsewhere: false,
        before: Mutex::default(),
    })
}

/// Attaches the descriptor of a deleted tap to the one of the same name that somebody has made since.
pub(super) fn again(tap: &Tap) -> Result<(), HostError> {
    let fail = |errno| explained(Operation::Attach, &tap.name, tap.layer, errno);
    if tap.elsewhere || tap.present_name().is_ok() {
        return Err(HostError::new(Operation::Attach, &tap.name, Errno::EXIST));
    }
    let options = TapOptions { layer: tap.layer, create: false, up: false, ..TapOptions::new(&tap.name) };
    let mut fresh = open(&options)?;
    fresh.negotiate()?;
    if (fresh.framing, fresh.granted) != (tap.framing, tap.granted) {
        return Err(fail(Errno::INVAL).with_hint("it lacks what the one before it had"));
    }
    let Some(fd) = fresh.fd.take() else { return Err(fail(Errno::BADF)) };
    // SAFETY: the tap keeps its descriptor open, and what is made of its number here is never dropped.
    let mut place = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(tap.as_fd().as_raw_fd()) });
    // In one step, so that whoever reads or writes meanwhile meets the old interface or the new one.
    dup3(&fd, &mut place, DupFlags::CLOEXEC).map_err(fail)?;
    // It is left as it is found now.
    *tap.before() = std::mem::take(&mut *fresh.before());
    tap.existed.store(true, Ordering::Relaxed);
    Ok(())
}

/// Attaches to what is there, or makes what is not; says which.
fn attach(
    fd: BorrowedFd<'_>,
    control: &Control,
    options: &TapOptions,
) -> rustix::io::Result<(libc::ifreq, bool)> {
    let numbered = options.name.is_empty() || options.name.contains('%');
    let kind = if options.layer == Layer::Ethernet { libc::IFF_TAP } else { libc::IFF_TUN };
    let kind = kind | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    for _ in 0..ATTEMPTS {
        if numbered || !control.exists(&options.name)? {
            if !options.create {
                return Err(Errno::NXIO);
            }
            // Exclusive, so that one that appears just now is not taken for ours.
            match attach_as(fd, &options.name, kind | libc::IFF_TUN_EXCL) {
                Err(Errno::BUSY) => continue,
                made => return Ok((made?, false)),
            }
        }
        let attached = match attach_as(fd, &options.name, kind) {
            // One of several queues has to be asked for as such.
            Err(Errno::INVAL) => attach_as(fd, &options.name, kind | libc::IFF_MULTI_QUEUE),
            attached => attached,
        }?;
        return Ok((attached, true));
    }
    Err(Errno::BUSY)
}

fn attach_as(fd: BorrowedFd<'_>, name: &str, flags: libc::c_int) -> rustix::io::Result<libc::ifreq> {
    let mut request = named(name)?;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    ioctl::interface(fd, Interface::Attach, &mut request)?;
    Ok(request)
}

/// Finds out what an inherited descriptor is attached to.
pub(super) fn adopt(fd: OwnedFd) -> Result<Tap, HostError> {
    let fail = |errno| HostError::new(Operation::Adopt, "descriptor", errno);
    let mut request = named("").map_err(fail)?;
    ioctl::interface(fd.as_fd(), Interface::Attached, &mut request)
        .map_err(|errno| fail(errno).with_hint("it has to be open on /dev/net/tun and attached to a tap"))?;
    let (name, flags) = (name_in(&request), flags_in(&request));
    let (control, elsewhere) = reach(fd.as_fd(), &name).map_err(fail)?;
    if !elsewhere && has_packet_information(&name) {
        let error = HostError::new(Operation::Adopt, name, Errno::INVAL);
        return Err(error.with_hint("it was attached without IFF_NO_PI"));
    }
    let status = fcntl_getfl(&fd).map_err(fail)?;
    fcntl_setfl(&fd, status | OFlags::NONBLOCK).map_err(fail)?;
    fcntl_setfd(&fd, FdFlags::CLOEXEC).map_err(fail)?;
    Ok(Tap {
        fd: Some(fd),
        control,
        name,
        layer: if flags & libc::IFF_TAP != 0 { Layer::Ethernet } else { Layer::Ip },
        framing: if flags & libc::IFF_VNET_HDR != 0 { Framing::Ten } else { Framing::Bare },
        granted: Granted::default(),
        multi_queue: flags & libc::IFF_MULTI_QUEUE != 0,
        existed: true.into(),
        elsewhere,
        before: Mutex::default(),
    })
}

/// What the interface of an attached descriptor is reached by, and whether it is in another network namespace than ours,
/// where an interface of the same name may be a different one.
fn reach(tap: BorrowedFd<'_>, name: &str) -> rustix::io::Result<(Control, bool)> {
    let here = Control::open()?;
    if let Ok(network) = ioctl::network_of(tap) {
        return match fstat(&network)?.st_ino == machine::network_namespace() {
            true => Ok((here, false)),
            false => Ok((Control::open_in(network.as_fd()).unwrap_or(Control::out_of_reach()), true)),
        };
    }
    // Without privilege the descriptor at least says what the interface's link address is.
    let mut request = named(name)?;
    let known =
        ioctl::interface(tap, Interface::LinkAddress, &mut request).map(|()| link_address_in(&request));
    let same = here.link_address(name).is_ok_and(|address| known.is_ok_and(|known| known == address));
    Ok(if same { (here, false) } else { (Control::out_of_reach(), true) })
}

/// Whether four octets of the driver's own stand before each frame, as nobody wants them.
///
/// TUNGETIFF cannot tell: it answers with IFF_NOFILTER, which is the same bit as IFF_NO_PI. An interface of another
/// network namespace cannot be asked and is taken to be without.
fn has_packet_information(name: &str) -> bool {
    let link = Netlink::open().and_then(|mut netlink| netlink.link(name));
    link.is_ok_and(|link| link.tun.is_some_and(|tun| tun.has_packet_information))
}

/// A copy of a descriptor that is named by its number; EBADF if none is open there.
pub(super) fn duplicate(number: RawFd) -> Result<OwnedFd, Errno> {
    if number < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the borrow ends with this call, and fcntl(2) answers EBADF for a number that is not open.
    let inherited = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl_dupfd_cloexec(inherited, 0)
}

impl Tap {
    /// Agrees on the longest header and the most offloads that the kernel grants.
    pub(super) fn negotiate(&mut self) -> Result<(), HostError> {
        let adopted_bare = self.framing == Framing::Bare && !self.has_header()?;
        if adopted_bare {
            return Ok(());
        }
        let mut before = 0;
        ioctl::number(self.as_fd(), Number::HeaderLength, &mut before)
            .map_err(|errno| self.error(Operation::SetHeader, errno))?;
        self.framing = [Framing::Twelve, Framing::Ten]
            .into_iter()
            .find(|framing| {
                let mut len = framing.header_len() as libc::c_int;
                ioctl::number(self.as_fd(), Number::SetHeaderLength, &mut len).is_ok()
            })
            .ok_or_else(|| self.error(Operation::SetHeader, Errno::INVAL))?;
        self.granted = Granted::ask(self.as_fd());
        if self.existed_before() {
            self.before().header_len = Some(before);
        }
        Ok(())
    }

    fn has_header(&self) -> Result<bool, HostError> {
        let mut request = named("").map_err(|errno| self.error(Operation::SetHeader, errno))?;
        ioctl::interface(self.as_fd(), Interface::Attached, &mut request)
            .map_err(|errno| self.error(Operation::SetHeader, errno))?;
        Ok(flags_in(&request) & libc::IFF_VNET_HDR != 0)
    }

    /// Whether others hold queues of it, who would not like it to change under them.
    fn is_shared(&self) -> bool {
        let link = || Netlink::open().and_then(|mut netlink| netlink.link(&self.name));
        self.multi_queue
            && (self.elsewhere || !link().is_ok_and(|link| link.tun.is_some_and(|tun| tun.queues <= 1)))
    }

    /// Puts back what was found, if it was there before us and nobody else holds it.
    ///
    /// What fails now has nobody left to hear of it; most often the interface has been deleted meanwhile.
    pub(super) fn restore(&mut self) {
        if !self.existed_before() || self.is_shared() {
            return;
        }
        let Ok(name) = self.present_name() else { return };
        let Before { up, mtu, queue_len, header_len } = std::mem::take(&mut *self.before());
        let _gone = mtu.map(|mtu| self.control.set_mtu(&name, mtu));
        let _gone = queue_len.map(|frames| self.control.set_queue_len(&name, frames));
        let _gone = up.map(|up| self.control.set_up(&name, up));
        // The kernel keeps both for the next holder, who may not expect them.
        let _gone = header_len.map(|mut len| {
            let _gone = ioctl::value(self.as_fd(), Value::Offload, 0);
            ioctl::number(self.as_fd(), Number::SetHeaderLength, &mut len)
        });
    }
}

impl Granted {
    /// What to ask for, the best first: the kernel takes or refuses each as a whole.
    const STEPS: [u32; 7] = {
        let tso = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
        let uso = libc::TUN_F_USO4 | libc::TUN_F_USO6;
        [
            tso | libc::TUN_F_TSO_ECN | uso,
            tso | uso,
            tso | libc::TUN_F_TSO_ECN,
            tso,
            libc::TUN_F_CSUM | libc::TUN_F_TSO4,
            libc::TUN_F_CSUM,
            0,
        ]
    };

    /// Asks for all offloads, then for fewer, and says what was granted.
    fn ask(fd: BorrowedFd<'_>) -> Self {
        let granted = |mask: &u32| ioctl::value(fd, Value::Offload, *mask).is_ok();
        Self::from_mask(Self::STEPS.into_iter().find(granted).unwrap_or(0))
    }

    const fn from_mask(mask: u32) -> Self {
        Self {
            checksum: mask & libc::TUN_F_CSUM != 0,
            tso4: mask & libc::TUN_F_TSO4 != 0,
            tso6: mask & libc::TUN_F_TSO6 != 0,
            tso_ecn: mask & libc::TUN_F_TSO_ECN != 0,
            uso4: mask & libc::TUN_F_USO4 != 0,
            uso6: mask & libc::TUN_F_USO6 != 0,
        }
    }
}

/// Why the node could not be opened, and what helps.
fn refused_node(errno: Errno, name: &str, layer: Layer) -> HostError {
    let error = HostError::new(Operation::OpenNode, NODE, errno);
    match errno {
        Errno::NOENT | Errno::NODEV | Errno::NXIO => {
            error.with_hint("modprobe tun; mkdir -p /dev/net; mknod /dev/net/tun c 10 200 (a container needs --device /dev/net/tun)")
        }
        Errno::ACCESS | Errno::PERM => {
            error.with_hint(format!("chmod 666 /dev/net/tun, then {}", creating(name, layer)))
        }
        _ => error,
    }
}

/// The command with which root makes a tap or tun for this user.
fn creating(name: &str, layer: Layer) -> String {
    let is_numbered = name.is_empty() || name.contains('%');
    let user = machine::user();
    match layer {
        Layer::Ethernet => {
            let name = if is_numbered { "tap0" } else { name };
            format!("rump host tap create {name} --owner {user} --up (as root)")
        }
        Layer::Ip => {
            let name = if is_numbered { "tun0" } else { name };
            format!("ip tuntap add dev {name} mode tun user {user} && ip link set {name} up (as root)")
        }
    }
}

/// An errno of an operation on the tap `name`, with what helps.
pub(super) fn explained(operation: Operation, name: &str, layer: Layer, errno: Errno) -> HostError {
    let error = HostError::new(operation, name, errno);
    let kind = if layer == Layer::Ethernet { "tap" } else { "tun" };
    match (operation, errno) {
        (Operation::Attach, Errno::BUSY) => match &holder::holders(name)[..] {
            [] => error.with_hint("another process holds it"),
            found => {
                let found: Vec<String> = found.iter().map(ToString::to_string).collect();
                error.with_hint(format!("held by {}", found.join(", ")))
            }
        },
        (Operation::Attach, Errno::INVAL) => {
            error.with_hint(format!("an interface of this name that is no {kind}, or a malformed name"))
        }
        (Operation::Attach, Errno::PERM | Errno::NXIO) => error.with_hint(creating(name, layer)),
        (Operation::Attach, Errno::NODEV) => error.with_hint("modprobe tun"),
        (Operation::Find, Errno::NODEV) => {
            error.with_hint("it has been deleted, or is in a network namespace out of our reach")
        }
        (Operation::SetUp, Errno::PERM) => error.with_hint(format!("ip link set {name} up (as root)")),
        (Operation::SetMtu, Errno::PERM) => error.with_hint(format!("ip link set {name} mtu N (as root)")),
        (Operation::SetQueueLength, Errno::PERM) => {
            error.with_hint(format!("ip link set {name} txqueuelen N (as root)"))
        }
        (Operation::SetOwner | Operation::SetPersistence, Errno::PERM) => {
            error.with_hint(creating(name, layer))
        }
        _ => error,
    }
}
